"""Members of WebDataset shards that are not published: which they are, and where they belong."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dsguard.errors import InputError
from dsguard.formats.base import Extras, Part, Rows
from dsguard.formats.limits import Shared
from dsguard.formats.names import fault_of, shard_name
from dsguard.formats.sealing import LOOSE, Entries, Unsealed, numbered, numbered_name
from dsguard.formats.webdataset.reader import (
    Kept,
    Samples,
    WebDatasetSource,
    sample_of,
)

if TYPE_CHECKING:
    from dsguard.formats.disclosure import Review


def changed(
    whole: Samples, published: Samples, good: Collection[str], review: Review
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the members that are not published as they are.

    Parameters
    ----------
    whole, published : Samples
    good : collection of str
        The samples with images that were written.
    review : Review

    Yields
    ------
    tuple of str, str and bytes
        The name of the entry, that of the member in messages, and its content.
    """
    there: dict[str, deque[bytes]] = defaultdict(deque)
    for kept in published.members:
        if kept.data is not None:
            there[kept.name].append(kept.data)
    with_image = {kept.sample for kept in whole.members if kept.data is None}
    places = Counter[str]()
    for kept in whole.members:
        places[kept.sample] += 1
        if kept.data is None:
            continue
        own = there[kept.name].popleft() if there[kept.name] else None
        if kept.sample in with_image and kept.sample not in good:
            continue
        name = f"{whole.shard}/{kept.name}"
        data = None if own is kept.data else review.to_seal(name, kept.data)
        if data is not None and data != own:
            place = places[kept.sample] - 1 if kept.sample in with_image else LOOSE
            yield numbered(place, kept.name), name, data


class SealedMembers(Unsealed):
    """The members that were sealed beside a shard, by the samples that they belong to.

    Raises
    ------
    InputError
        If one is no field.
    """

    def __init__(self, source: WebDatasetSource, part: Part, entries: Entries) -> None:
        self._part, self._entries = part, entries
        self._of: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        self._loose: list[tuple[str, str]] = []
        self._shared = Shared(entries.size())
        for entry in entries:
            place, name = numbered_name(entry)
            if fault := fault_of(name) or ("it would be an image" if source.is_image(name) else ""):
                msg = f"has a field that dsguard has not sealed: {fault}: {name[:200]!r}"
                raise InputError(msg)
            if place < 0:
                self._loose.append((entry, name))
            else:
                self._of[sample_of(name)].append((place, entry, name))

    def put_into(self, rows: Rows) -> Rows:
        """Return rows with the sealed members of their samples, over those of their names."""
        record, plain = rows.record, rows.extras
        assert isinstance(record, Samples)
        found: dict[str, Extras] = {}
        members: list[Kept] = []
        for sample, group in itertools.groupby(record.members, key=lambda kept: kept.sample):
            own = list(group)
            is_of_image = any(kept.data is None for kept in own)
            for place, entry, name in sorted(self._of.get(sample, ())) if is_of_image else ():
                member = Kept(sample, name, self._entries[entry])
                _put(member, place, own)
                found.setdefault(sample, {})[member.field] = self._entries[entry]
                self.used += 1
            members += own
        if not found:
            return rows
        samples = {kept.row: kept.sample for kept in record.members if kept.data is None}
        met = set[str]()

        def extras(row: int) -> Extras:
            sealed = found.get(samples[row], {})
            if samples[row] in met:
                self._shared.take(sealed)
            met.add(samples[row])
            return plain(row) | sealed

        return replace(rows, record=replace(record, members=members), extras=extras)

    def rest(self) -> Iterator[Rows]:
        if self._loose and self._part.names is None:
            self.used += len(self._loose)
            members = [Kept(sample_of(n), n, self._entries[entry]) for entry, n in self._loose]
            yield Rows([], [], record=Samples(members, shard_name(self._part.file)))


def _put(member: Kept, place: int, members: list[Kept]) -> None:
    """Put a member in place of that of its name, else where it was."""
    for n, other in enumerate(members):
        if other.data is not None and other.name == member.name:
            members[n] = member
            return
    members.insert(min(place, len(members)), member)
