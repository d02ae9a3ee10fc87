"""How many images of a dataset were opened on each day, as the audit trail has it."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from dsguard.dmcp.model import Entry, now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DAYS = 30
_OPENING = ("restore", "image-keys")
"""Actions whose images count."""

_KEPT_FOR = 60.0  # seconds
_MOST_KEPT = 1000


class Day(NamedTuple):
    """A day, UTC, and the images that were restored on it or whose keys were released."""

    date: str
    images: int


class Usage:
    """The days of datasets, each counted once a minute at most: long trails take half a second."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str | None], tuple[float, list[Day]]] = OrderedDict()

    def by_day(self, session: Session, dataset: str, actor: str | None = None) -> list[Day]:
        """Return what `by_day` does, or did within the last minute."""
        counted, days = self._kept.pop((dataset, actor), (-_KEPT_FOR, []))
        if time.monotonic() - counted >= _KEPT_FOR:
            counted, days = time.monotonic(), by_day(session, dataset, actor)
        self._kept[dataset, actor] = counted, days
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return days


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
