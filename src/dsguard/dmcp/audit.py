"""The audit trail: append-only, each line bound to the one before by an authentication code."""

from __future__ import annotations

import hmac
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from dsguard.dmcp.model import Entry, Head, now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.vault import Vault

_FIELDS = (
    "number", "time", "actor", "action", "dataset", "key_version", "images", "digest", "outcome",
    "address", "request",
)  # fmt: skip
_START = "0" * 64


@dataclass(frozen=True)
class Origin:
    """Where a request comes from.

    Attributes
    ----------
    actor : str
        Name of the user; empty where there is none.
    address : str
    request : str
        Id of the request, which logs and answers have as well.
    """

    actor: str = ""
    address: str = ""
    request: str = ""

    @property
    def network(self) -> str:
        """What one computer has: the address, or its network of IPv6."""
        try:
            if ipaddress.ip_address(self.address).version == 6:
                plain = self.address.partition("%")[0]
                return str(ipaddress.ip_network((plain, 64), strict=False))
        except ValueError:  # a proxy may say anything
            pass
        return self.address


def record(
    session: Session,
    vault: Vault,
    origin: Origin,
    action: str,
    outcome: str = "done",
    *,
    dataset: str = "",
    key_version: int | None = None,
    images: int | None = None,
    digest: str = "",
) -> None:
    """Append a line in the transaction of `session`: what it tells of happens with it, or not."""
    head = session.scalars(select(Head).where(Head.id == 1).with_for_update()).one_or_none()
    if head is None:
        head = Head(id=1, number=0, mac=_START)
        session.add(head)
    entry = Entry(
        number=head.number + 1,
        time=now().isoformat(timespec="milliseconds"),
        actor=origin.actor[:64],
        action=action,
        dataset=dataset[:64],
        key_version=key_version,
        images=images,
        digest=digest,
        outcome=outcome[:200],
        address=origin.address[:64],
        request=origin.request,
    )
    entry.mac = _mac(vault, head.mac, entry)
    session.add(entry)
    head.number, head.mac = entry.number, entry.mac
    session.flush()


def _mac(vault: Vault, before: str, entry: Entry) -> str:
    content = [getattr(entry, name) for name in _FIELDS]
    return vault.mac(before.encode() + json.dumps(content).encode())


def verify(session: Session, vault: Vault) -> tuple[int, str | None]:
    """Return how many lines are good, and what is wrong with the next, None where nothing is.

    Lines taken off the end together with the record of where it is cannot be told from lines that
    were never written: compare the number with one that was noted elsewhere.
    """
    before, number = _START, 0
    for entry in session.scalars(select(Entry).order_by(Entry.number)).yield_per(1000):
        if entry.number != number + 1:
            return number, f"line {number + 1} is missing; line {entry.number} follows {number}"
        if not hmac.compare_digest(entry.mac, _mac(vault, before, entry)):
            return number, f"line {entry.number} was changed, or those before it"
        before, number = entry.mac, entry.number
    head = session.get(Head, 1)
    if (head.number, head.mac) != (number, before) if head else number:
        return (
            number,
            f"the trail ends at line {number}, and should at {head.number if head else 0}",
        )
    return number, None
