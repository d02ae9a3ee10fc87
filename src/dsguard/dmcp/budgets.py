"""What a grant is limited to, and which images it has been charged for already."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import delete, text

from dsguard.dmcp.model import Counted, Grant
from dsguard.keys.image_keys import IMAGE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import CursorResult
    from sqlalchemy.orm import Session

_AT_ONCE = 5000
_HOUR = 3600
_COUNT = text(
    "INSERT INTO counted (grant_id, image_id, time) VALUES (:grant, :id, :time) "
    "ON CONFLICT (grant_id, image_id) DO UPDATE SET time = excluded.time "
    "WHERE counted.time <= :over"
)
"""Touches the rows that are charged, and no others; SQLite and PostgreSQL read it alike."""


class Limits(NamedTuple):
    """How far a grant goes.

    Attributes
    ----------
    not_before, expires : datetime or None
        UTC, without a zone.
    quota : int or None
        Images.
    distinct : bool
        Whether an image whose key is asked for again is not counted again.
    lease_hours : int or None
        After so many hours it is, where `distinct`; None for not before the grant ends.
    """

    not_before: datetime | None = None
    expires: datetime | None = None
    quota: int | None = None
    distinct: bool = False
    lease_hours: int | None = None

    def fault(self, right: str) -> str | None:
        """Return what is wrong with them for a right, None where nothing is."""
        if self.lease_hours is not None and not self.distinct:
            return "a lease is of a grant that counts distinct images, and this one does not"
        if self.distinct and (self.quota is None or right != "restore"):
            return "distinct images are counted where a right to restore is for a number of them"
        return None

    def told(self) -> list[str]:
        """Return them in words."""
        told = [f"from {self.not_before:%Y-%m-%d %H:%M}"] if self.not_before else []
        told += [f"until {self.expires:%Y-%m-%d %H:%M}"] if self.expires else []
        told += [f"{self.quota} {'distinct ' * self.distinct}images"] if self.quota else []
        told += [f"a lease of {self.lease_hours} h"] if self.lease_hours else []
        return told


NO_LIMITS = Limits()


def count_new(session: Session, grant: Grant, ids: bytes, room: int) -> int:
    """Note the ids that a grant has not been charged for; return how many they are.

    Once there are more than `room`, the rest is not looked at: the transaction is to be given up.
    Which version of the key is asked for makes no difference: an id is one of one version alone,
    and its keys of others open nothing.
    """
    starts = range(0, len(ids), IMAGE_ID_BYTES)
    wanted = sorted({ids[start : start + IMAGE_ID_BYTES] for start in starts})  # as the table is
    clock = int(time.time())
    over = -1 if grant.lease_hours is None else clock - grant.lease_hours * _HOUR
    count = 0
    for start in range(0, len(wanted), _AT_ONCE):
        rows = [
            {"grant": grant.id, "id": each, "time": clock, "over": over}
            for each in wanted[start : start + _AT_ONCE]
        ]
        result = session.execute(_COUNT, rows)
        count += cast("CursorResult[Any]", result).rowcount
        if count > room:
            break
    return count


def forget(session: Session, grants: Iterable[Grant]) -> None:
    """Forget what grants that have ended were charged for: they are never charged again."""
    ended = [grant.id for grant in grants if grant.distinct]
    session.execute(delete(Counted).where(Counted.grant_id.in_(ended)))
