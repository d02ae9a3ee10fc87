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
from dsguard.formats.names import fault_of, shard_name, shown, some_of
from dsguard.formats.programs.data import is_data
from dsguard.formats.sealing import (
    LOOSE,
    Entries,
    Unsealed,
    is_marked_otherwise,
    marked,
    numbered_name,
)
from dsguard.formats.webdataset.reader import (
    Kept,
    Samples,
    WebDatasetSource,
    sample_of,
)

if TYPE_CHECKING:
    from dsguard.formats.review import Review


def changed(
    whole: Samples, published: Samples, good: Collection[str], review: Review
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the members that are not published as they are, and those that could be programs.

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
        to_seal = review.drops.to_seal if kept.sample in with_image else review.drops.loose_to_seal
        again = not is_data(kept.name, kept.data)  # a published one does not come back
        data = None if own is kept.data and not again else to_seal(name, kept.data)
        if data is not None and (data != own or again):
            place = places[kept.sample] - 1 if kept.sample in with_image else LOOSE
            yield marked(place, kept.name, own), name, data


_AT_ONCE = 1 << 24


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
        self._loose: dict[str, dict[str, str]] = defaultdict(dict)
        self._placed = set[str]()
        self._shared = Shared(entries.size())
        self._others: list[str] = []
        self._changed: list[str] = []
        met = set[str]()
        for entry in entries:
            place, name = numbered_name(entry)
            fault = fault_of(name) or ("it would be an image" if source.is_image(name) else "")
            if fault := fault or ("it is there twice" if name in met else ""):
                msg = f"has a field that dsguard has not sealed: {fault}: {name[:200]!r}"
                raise InputError(msg)
            met.add(name)
            if place < 0:
                self._loose[sample_of(name)][name] = entry
            else:
                self._of[sample_of(name)].append((place, entry, name))

    def put_into(self, rows: Rows, known: set[int]) -> Iterator[Rows]:
        """Yield rows with the sealed members of their samples, over those of their names.

        Published rows are short: with these members they may be too long to be had all at once.
        """
        record = rows.record
        assert isinstance(record, Samples)
        start, size, found = 0, 0, Samples(shard=record.shard, lost=record.lost)
        sealed: dict[str, Extras] = {}
        for sample, group in itertools.groupby(record.members, key=lambda kept: kept.sample):
            own = list(group)
            fields = self._put_into_sample(sample, own, known)
            images = [kept.row for kept in own if kept.data is None]
            if size > _AT_ONCE and images and found.members:
                yield self._taken(rows, start, images[0], found, sealed)
                start, size, found, sealed = images[0], 0, Samples(shard=record.shard), {}
            found.members += own
            sealed[sample] = fields
            size += sum(map(len, fields.values()))
        yield self._taken(rows, start, len(rows.names), found, sealed)

    def _put_into_sample(self, sample: str, members: list[Kept], known: set[int]) -> Extras:
        """Put the sealed members of a sample among the others; return them."""
        fields: Extras = {}
        rows = [kept.row for kept in members if kept.data is None]
        if not rows:
            if not self.is_strange:
                self._put_loose(sample, members)
            return fields
        if known.isdisjoint(rows):
            self._others += [sample] * (sample in self._of)
            return fields
        self._placed.add(sample)
        for place, entry, name in sorted(self._of.get(sample, ())):
            member = Kept(sample, name, data := self._entries[entry])
            self._put(member, entry, place, members)
            fields[member.field] = data
            self.used += 1
        return fields

    def _put(self, member: Kept, entry: str, place: int, members: list[Kept]) -> None:
        """Put a member in place of that of its name, else where it was."""
        for n, other in enumerate(members):
            if other.data is not None and other.name == member.name:
                self._note_changed(other, entry)
                members[n] = member
                return
        members.insert(min(place, len(members)), member)

    def _note_changed(self, published: Kept, entry: str) -> None:
        """Note a member that is not as it was published, where a sealed one goes."""
        assert published.data is not None
        if is_marked_otherwise(entry, published.data):
            self._changed.append(published.name)

    def _put_loose(self, sample: str, members: list[Kept]) -> None:
        """Put members of a sample without images in place of those of their names, others behind.

        At the end of the shard they would be a sample in two places, which no reader puts together.
        """
        own = self._loose.pop(sample, {})
        if self._part.names is not None:
            return
        self.used += len(own)
        for n, kept in enumerate(members):
            if entry := own.pop(kept.name, ""):
                self._note_changed(kept, entry)
                members[n] = replace(kept, data=self._entries[entry])
        members += [Kept(sample, name, self._entries[entry]) for name, entry in own.items()]

    def left(self) -> Iterator[tuple[str, str]]:
        for sample, fields in self._of.items():
            if sample not in self._placed and sample not in self._others:
                for _, _, name in fields:
                    yield name, "its sample has no image in the published shard"

    def _taken(
        self, rows: Rows, start: int, stop: int, record: Samples, sealed: dict[str, Extras]
    ) -> Rows:
        """Return some of the rows, to which these fields belong by sample."""
        plain, met = rows.extras, set[str]()
        of_row = {kept.row: kept.sample for kept in record.members if kept.data is None}
        members = [
            replace(kept, row=kept.row - start) if kept.data is None else kept
            for kept in record.members
        ]

        def extras(row: int) -> Extras:
            sample = of_row[row + start]
            if sample in met:
                self._shared.take(sealed[sample])
            met.add(sample)
            return plain(row + start) | sealed[sample]

        return replace(
            rows,
            names=rows.names[start:stop],
            classes=rows.classes[start:stop],
            files=rows.files[start:stop],
            record=replace(record, members=members),
            extras=extras,
        )

    def trouble(self) -> str:
        if self.is_strange:
            return super().trouble()
        return "; ".join(filter(None, [self._told_of_others(), self._told_of_changed()]))

    def _told_of_others(self) -> str:
        if not self._others:
            return ""
        return (
            f"has fields of {shown(self._others[0])}, of {len(self._others)} in all, whose images "
            "are others here: they stay sealed; get a whole copy"
        )

    def _told_of_changed(self) -> str:
        if not self._changed:
            return ""
        return (
            f"has other content than was published in {some_of(self._changed)}: what was sealed "
            "comes back in its place; give the new content a name of its own"
        )

    def rest(self) -> Iterator[Rows]:
        if self._loose and self._part.names is None:
            members = [
                Kept(sample, name, self._entries[entry])
                for sample, own in self._loose.items()
                for name, entry in own.items()
            ]
            self.used += len(members)
            yield Rows([], [], record=Samples(members, shard_name(self._part.file)))
