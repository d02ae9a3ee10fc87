"""Grants as a hub has approved them: what has to be given, and what taken back.

One approval gives one account one grant. Grants that a manager gave are left alone, and what a
manager took back is not given again until the hub approves it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dsguard.dmcp.hub import Approval, HubError
from dsguard.dmcp.names import NAME
from dsguard.errors import DsguardError


class Plan(NamedTuple):
    """What a hub's approvals mean for the grants of a dataset.

    Attributes
    ----------
    grant : dict of str to str
        Users to be granted the right to restore, and the source of each grant.
    revoke : dict of str to str
        Users whose grants came from approvals that are gone, and their sources.
    left : dict of str to str
        Users of the hub for whom nothing is done, and the reason.
    """

    grant: dict[str, str]
    revoke: dict[str, str]
    left: dict[str, str]


class _Given(NamedTuple):
    """The last grant of a user."""

    source: str
    revoked: datetime | None
    expires: datetime | None

    @property
    def is_active(self) -> bool:
        now = datetime.now(UTC).replace(tzinfo=None)
        return self.revoked is None and (self.expires is None or now < self.expires)


def planned(
    approvals: Iterable[Approval],
    accounts: Mapping[str, str],
    grants: Iterable[Mapping[str, Any]],
    prefix: str,
    *,
    may_be_empty: bool = False,
) -> Plan:
    """Return what has to be done.

    Parameters
    ----------
    approvals : iterable of Approval
        All of them.
    accounts : mapping of str to str
        Accounts here by users of the hub; those of others are not known.
    grants : iterable of mapping
        Of the dataset, past ones too, as `Client.grants` returns them.
    prefix : str
        What the sources of grants from this hub and dataset begin with; a user of the hub follows.
    may_be_empty : bool
        Whether a hub that approves nobody is believed, where it has approved somebody before.

    Raises
    ------
    HubError
        If it is not believed.
    """
    approved = {each.user: each for each in approvals}
    all_given = [(str(row["user"]), _given(row)) for row in grants if row["right"] == "restore"]
    last = dict(all_given)
    before = {
        given.source.removeprefix(prefix): user
        for user, given in all_given
        if given.source.startswith(prefix)
    }
    own = {
        user: given.source.removeprefix(prefix)
        for user, given in last.items()
        if given.source.startswith(prefix)
    }
    active = {user: on_hub for user, on_hub in own.items() if last[user].is_active}
    if active and not approved and not may_be_empty:
        msg = (
            "the hub approves nobody any more, and nothing was changed; give --allow-empty if that "
            f"is right: it ends the grants of {', '.join(sorted(active)[:3])}"
            f"{' and others' if len(active) > 3 else ''}"
        )
        raise HubError(msg)
    plan = Plan({}, {}, {})
    for on_hub, approval in approved.items():
        user = accounts.get(on_hub, "")
        if not NAME.fullmatch(user):  # anybody may have written anything
            plan.left[on_hub] = "names no account here"
        elif before.get(on_hub, user) != user:
            plan.left[on_hub] = f"names another account than {before[on_hub]}, which it had"
        elif reason := _why_not(last.get(user), approval):
            plan.left[on_hub] = f"{user} {reason}"
        elif user not in plan.grant and not (user in last and last[user].is_active):
            plan.grant[user] = prefix + on_hub
    named = {on_hub: accounts.get(on_hub) for on_hub in approved}
    still = {name for on_hub, name in named.items() if before.get(on_hub, name) == name}
    for user, on_hub in active.items():
        if on_hub not in approved and user not in still:
            plan.revoke[user] = prefix + on_hub
    return plan


def _why_not(last: _Given | None, approval: Approval) -> str:
    """Return why a user gets no grant, whose last one is over; empty if there is no reason."""
    if last is None or last.is_active:
        return ""
    if last.revoked is None:
        return "had a grant that expired; give another yourself"
    if approval.reviewed is None or approval.reviewed <= last.revoked:
        return f"lost the right on {last.revoked:%Y-%m-%d %H:%M}, after it was approved"
    return ""


def _given(row: Mapping[str, Any]) -> _Given:
    def time(name: str) -> datetime | None:
        return datetime.fromisoformat(row[name]) if row.get(name) else None

    try:
        return _Given(str(row.get("source", "")), time("revoked"), time("expires"))
    except (TypeError, ValueError):
        msg = "the service lists a grant with a time that is none; is it a DMCP?"
        raise DsguardError(msg) from None
