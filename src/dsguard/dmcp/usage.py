"""How many images of a dataset were opened on each day, as the audit trail has it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from dsguard.dmcp.model import Entry, now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DAYS = 30
_OPENING = ("restore", "image-keys")
"""Actions whose images count."""


class Day(NamedTuple):
    """A day, UTC, and the images that were restored on it or whose keys were released."""

    date: str
    images: int


def by_day(session: Session, dataset: str, actor: str | None = None) -> list[Day]:
    """Return the last 30 days, the oldest first; of one user, if one is given."""
    today = now().date()
    dates = [(today - timedelta(days)).isoformat() for days in reversed(range(DAYS))]
    first = select(Entry.number).where(Entry.time >= dates[0]).order_by(Entry.time).limit(1)
    number = session.scalar(first)  # lines are found by number, of which times go up with
    if number is None:
        return [Day(date, 0) for date in dates]
    date = func.substr(Entry.time, 1, 10)
    query = select(date, func.sum(Entry.images)).where(
        Entry.dataset == dataset, Entry.number >= number, Entry.action.in_(_OPENING)
    )
    if actor is not None:
        query = query.where(Entry.actor == actor)
    found = {day: int(images or 0) for day, images in session.execute(query.group_by(date))}
    return [Day(date, found.get(date, 0)) for date in dates]
