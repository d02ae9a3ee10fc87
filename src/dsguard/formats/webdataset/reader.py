"""WebDataset: tar shards, the members of one sample side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    Extras,
    Part,
    Record,
    Rows,
    class_of,
)
from dsguard.formats.beside import is_text, is_text_field
from dsguard.formats.disclosure import ClassPlace, kind_of
from dsguard.formats.images import checked_member, has_image_suffix
from dsguard.formats.limits import Shared, load_json
from dsguard.formats.names import (
    CLASS_NAME,
    distinct,
    fault_of,
    is_hidden,
    safe_name,
    shard_name,
    shown,
)
from dsguard.formats.places import Place
from dsguard.formats.sharded import ShardedSource
from dsguard.formats.tar import (
    DAMAGE,
    Content,
    Member,
    Tars,
    content_of,
    damaged,
    linked,
)

if TYPE_CHECKING:
    from dsguard.formats.review import Review


@dataclass
class Kept:
    """A member that goes along as it is, or the place of an image among others.

    Attributes
    ----------
    sample : str
        Key of its WebDataset sample: the name up to the first dot of its last part.
    name : str
    data : bytes or None
        None for an image.
    row : int
        Of an image.
    """

    sample: str
    name: str
    data: bytes | None = None
    row: int = -1

    @property
    def field(self) -> str:
        """Its name within the sample."""
        return self.name[len(self.sample) :].removeprefix(".")


@dataclass
class Samples(Record):
    """The members of some rows, in the order of the shard.

    Attributes
    ----------
    members : list of Kept
    shard : str
        Name of the shard.
    hidden : list of str
        Images that are passed over, since they are hidden.
    lost : list of tuple of str, str and str
        Members that are passed over: their sample, which fails if it has images, their name, and
        why.
    """

    members: list[Kept] = field(default_factory=list)
    shard: str = ""
    hidden: list[str] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.members or self.hidden or self.lost)

    def reviewed(self, review: Review) -> Samples:
        for name in self.hidden:
            shown, reason = f"{self.shard}/{name}", "is a hidden image; rename it"
            review.account.leave_out(kind_of(name), shown, reason, sealable=False)
        for name, reason in self.passed_over():
            review.account.leave_out(kind_of(name), name, reason, sealable=False)
        with_image = {kept.sample for kept in self.members if kept.data is None}
        fields: dict[str, Extras] = {}
        for kept in self.members:
            if kept.data is not None and kept.sample in with_image:
                fields.setdefault(kept.sample, {})[kept.field] = kept.data
        going = {
            sample: review.fields(f"{self.shard}/{sample}", own) for sample, own in fields.items()
        }
        for sample, own in fields.items() if review.account.shows_class else ():
            if class_in(going[sample]) != class_in(own):
                review.account.leave_class_out(f"{self.shard}/{sample}")
        found: list[Kept] = []
        for kept in self.members:
            data = kept.data
            if data is not None and kept.sample in with_image:
                data = going[kept.sample].get(kept.field)
            elif data is not None:
                data = _reviewed(f"{self.shard}/{kept.name}", data, review)
            if kept.data is None or data is not None:
                found.append(replace(kept, data=data))
        return Samples(found, self.shard)

    def kinds(self) -> set[str]:
        with_image = {kept.sample for kept in self.members if kept.data is None}
        return {
            f"*.{kept.field}" if kept.sample in with_image else f"{self.shard}/{kept.name}"
            for kept in self.members
            if kept.data is not None
        }

    def class_places(self) -> list[ClassPlace]:
        """Return where the class of the first image lies."""
        sample = next(kept.sample for kept in self.members if kept.data is None)
        fields = {k.field: k.data for k in self.members if k.sample == sample and k.data}
        stem = f"{self.shard}/{sample}"
        if named := [name for name in ("cls", CLASS_NAME) if name in fields]:
            return [ClassPlace(f"{stem}.{name}") for name in named]
        if class_in(fields) is None:
            return []
        return [ClassPlace(f"{stem}.json", key, is_named=False) for key in ("", "label")]

    def of_no_image(self) -> Iterator[tuple[str, bytes]]:
        with_image = {kept.sample for kept in self.members if kept.data is None}
        for kept in self.members:
            if kept.data is not None and kept.sample not in with_image:
                yield f"{self.shard}/{kept.name}", kept.data

    def passed_over(self) -> Iterator[tuple[str, str]]:
        with_image = {kept.sample for kept in self.members if kept.data is None}
        for sample, name, reason in self.lost:
            if sample not in with_image:
                yield f"{self.shard}/{name}", reason


def _reviewed(name: str, data: bytes, review: Review) -> bytes | None:
    """Return a member that belongs to no image as it goes along, None where it does not."""
    text = is_text(name) or is_text_field(name.rpartition(".")[2])
    if not text and review.account.says(name) is None:
        review.account.leave_out(kind_of(name), name, "is not read as an image, nor as text")
        return None
    return review.file(name, data)


class WebDatasetSource(ShardedSource):
    """A folder of shards, each of them a part; names of images begin with that of their shard."""

    kind = "webdataset"

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place, files)
        self.tars = Tars(place, small=True)
        self._damaged: set[str] = set()

    def names(self) -> list[str]:
        found = [
            self.shown(file, safe_name(member.name, self))
            for file in self.files
            for member in self._all[file]
            if self._shows(member.name)
        ]
        return distinct(found, str(self))

    def class_places(self) -> list[ClassPlace]:
        """Return where those of the first sample lie; others are as a rule like it."""
        for file in self.files:
            with contextlib.suppress(DsguardError):
                rows = next((rows for rows in self.rows(Part(file)) if rows.names), None)
                if rows is not None and isinstance(rows.record, Samples):
                    return rows.record.class_places()
        return []

    def has_images(self) -> bool:
        try:
            return any(
                self.is_image(m.name) for file in self.files for m in self.tars.members(file)
            )
        except InputError:  # which whoever reads it will say
            return True

    def _shows(self, name: str) -> bool:
        """Tell whether a member is one of the images."""
        return self.is_image(name) and not is_hidden(name.removeprefix("./"))

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        if wanted is None:
            return [Part(file) for file in self.files]
        parts, chosen = [], set(wanted)
        for file in self.files:
            shown = [self.shown(file, safe_name(m.name, self)) for m in self._all[file]]
            names = tuple(name for name in shown if name in chosen)
            if names or file in self._damaged:  # so that whoever reads a damaged one may say so
                parts.append(Part(file, names=names))
        return parts

    @cached_property
    def _all(self) -> dict[str, list[Member]]:
        """The members of each shard, of a damaged one those before the damage."""
        found: dict[str, list[Member]] = {}
        for file in self.files:
            found[file] = []
            try:
                for member in self.tars.members(file):
                    found[file].append(member)
            except InputError:
                self._damaged.add(file)
        return found

    def shown(self, file: str, name: str) -> str:
        """Return what the image in a member is called."""
        return f"{shard_name(file)}/{name}"

    def rows(self, part: Part) -> Iterator[Rows]:
        wanted = None if part.names is None else set(part.names)
        path, sample, seen = self.tars.path(part.file), "", set[str]()
        with contextlib.ExitStack() as stack:
            try:
                archive = stack.enter_context(self.tars.content(part.file))
            except DAMAGE as error:  # of its compression
                raise damaged(path, error) from error
            shared = Shared(len(archive))
            chunk = _Chunk(self, part.file, wanted, shared)
            found = self.tars.walked(part.file, archive)
            while True:
                try:
                    member = next(found, None)
                    if member is None:
                        break
                    member.name = safe_name(member.name, self)
                    key = sample_of(member.name)
                    if key != sample:
                        if key in seen:
                            raise _scattered(path, key)
                        seen.add(key)
                        if chunk.is_full():
                            yield chunk.rows()
                            chunk = _Chunk(self, part.file, wanted, shared)
                    sample = key
                    chunk.add(member, key, archive)
                except DAMAGE as error:
                    if chunk.names:
                        chunk.fail(sample, "lies right before the damage of its shard, which may "
                                   "have had more of it")  # fmt: skip
                        yield chunk.rows()
                    raise damaged(path, error) from error
        if chunk.names or not chunk.samples.is_empty():
            yield chunk.rows()

    def target_of(self, file: str, member: Member) -> Member:
        """Return the member that a link leads to, any other as it is."""
        if not member.link:
            return member
        if file not in self._by_name:
            self._by_name[file] = self.tars.all_members(file)[1]
        return linked(member, self._by_name[file])

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Member]]:
        return {}


class _Chunk:
    """Rows in the making."""

    def __init__(
        self, source: WebDatasetSource, file: str, wanted: set[str] | None, shared: Shared
    ) -> None:
        self._source, self._file, self._wanted, self._shared = source, file, wanted, shared
        self.names: list[str] = []
        self.files: list[bytes | DsguardError] = []
        self.samples = Samples(shard=shard_name(file))
        self._fields: set[tuple[str, str]] = set()
        self._unwanted: set[str] = set()  # samples with images that are not
        self._failed: dict[str, str] = {}
        self._held = 0

    def is_full(self) -> bool:
        return len(self.names) >= CHUNK_IMAGES or self._held >= CHUNK_BYTES

    def add(self, member: Member, sample: str, archive: Content) -> None:
        if is_hidden(member.name):
            if has_image_suffix(member.name):
                self.samples.hidden.append(member.name)
            return
        if self._source.is_image(member.name):
            self._add_image(member, sample, archive)
            return
        if fault := fault_of(member.name):
            self.fail(sample, f"has a field that cannot be kept: {fault}: {member.name[:200]!r}")
            self.samples.lost.append((sample, member.name[:200], f"cannot be kept: {fault}"))
            return
        try:
            target = self._source.target_of(self._file, member)
        except InputError as error:
            self.fail(sample, f"has a field, {member.name}, that {error.message}")
            self.samples.lost.append((sample, member.name, error.message))
            return
        kept = Kept(sample, member.name, content_of(archive, target))
        if (sample, kept.field) in self._fields:  # one of them would stand for both
            told = f"has more than one field {shown(kept.field)}; give each a name of its own"
            self.fail(sample, told)
            again = "has the name of another in its shard; rename it"
            self.samples.lost.append((sample, member.name, again))
            return
        self._fields.add((sample, kept.field))
        self._held += len(kept.data or b"")
        self.samples.members.append(kept)

    def _add_image(self, member: Member, sample: str, archive: Content) -> None:
        name = self._source.shown(self._file, member.name)
        if self._wanted is not None and name not in self._wanted:
            self._unwanted.add(sample)
            return
        try:
            target = self._source.target_of(self._file, member)
            packed = self._source.tars.packed_size(self._file, target.size)
            image: bytes | DsguardError = checked_member(content_of(archive, target), packed)
        except InputError as error:
            image = error
        self.samples.members.append(Kept(sample, member.name, None, len(self.names)))
        self.names.append(name)
        self.files.append(image)
        self._held += len(image) if isinstance(image, bytes) else 0

    def fail(self, sample: str, reason: str) -> None:
        """Have the images of a sample fail, those that are still to come as well."""
        self._failed[sample] = reason

    def rows(self) -> Rows:
        with_image = {kept.sample for kept in self.samples.members if kept.data is None}
        nobodys = self._unwanted - with_image  # what belongs to images that are not wanted
        kept_members = [kept for kept in self.samples.members if kept.sample not in nobodys]
        self.samples.members = kept_members
        self.samples.lost = [each for each in self.samples.lost if each[0] not in nobodys]
        extras = self._extras()
        mine: list[Extras] = [{} for _ in self.names]
        classes, by_sample, again = [""] * len(mine), dict[str, str](), set[int]()
        for kept in kept_members:
            if kept.data is None:
                sample = kept.sample
                if sample in self._failed:
                    self.files[kept.row] = InputError(self._failed[sample])
                mine[kept.row] = extras.get(sample, {})
                if sample in by_sample:
                    again.add(kept.row)
                else:
                    by_sample[sample] = _class(kept.name, mine[kept.row])
                classes[kept.row] = by_sample[sample]

        def extras_of(row: int) -> Extras:
            if row in again:
                self._shared.take(mine[row])
            return mine[row]

        return Rows(self.names, classes, self.files, record=self.samples, extras=extras_of)

    def _extras(self) -> dict[str, Extras]:
        found: dict[str, Extras] = {}
        for kept in self.samples.members:
            if kept.data is not None:
                found.setdefault(kept.sample, {})[kept.field] = kept.data
        return found


def as_class(extras: Extras) -> str | None:
    """Return the name of the class that fields tell, None where they do not."""
    if CLASS_NAME not in extras:
        return None
    return extras[CLASS_NAME].decode("utf-8", "surrogateescape").rstrip("\r\n")


def _class(name: str, extras: Extras) -> str:
    """Return the class of a sample: what its fields tell, or its folder.

    The folder is one within the shard: shards are no classes.
    """
    told = class_in(extras)
    return class_of(name) if told is None else told


def class_in(extras: Extras) -> str | None:
    """Return the class that fields tell: ``cls``, or the label in ``json``; None if they do not."""
    named = as_class(extras)
    if named is not None:
        return named
    if "cls" in extras:
        return extras["cls"].decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        given = load_json(extras.get("json", b"null"))
        if isinstance(given, dict) and isinstance(given.get("label"), str | int):
            return str(given["label"])
    return None


def sample_of(name: str) -> str:
    """Return the key of the WebDataset sample that a member belongs to."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".", 1)[0]


def _scattered(path: str, sample: str) -> InputError:
    return InputError(
        f"{path} has members of sample {sample!r} in two places; pack it anew with the members of "
        "each sample side by side, as WebDataset wants them (tar --sort=name)"
    )
