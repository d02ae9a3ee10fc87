"""The task that protects: what each image of a batch shows, and what it carries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard import covers
from dsguard._published import PROTECTED
from dsguard.api import are_protected, protect_batch
from dsguard.bulk.carried import file_of, fitted_to_files
from dsguard.bulk.tasks import Batch, Image, Processed, Task
from dsguard.choices import COVER_SIZES, KEPT
from dsguard.covers import Blank, Cover, Given
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import decode_rows
from dsguard.formats.disclosure import LeftOut, add_up
from dsguard.formats.images import READABLE_SUFFIXES, UnreadableImageError, suffix_of
from dsguard.formats.names import shown
from dsguard.formats.views import all_views_of, sees_dicom

if TYPE_CHECKING:
    from dsguard.codecs import Codec, File
    from dsguard.covers.base import Found
    from dsguard.formats.base import Rows, Source
    from dsguard.formats.images import Group
    from dsguard.keys import DatasetKey


@dataclass(frozen=True)
class Protect(Task):
    """Protect images.

    Attributes
    ----------
    cover : Cover
        What protected images show.
    codec : Codec
        How clean images are carried in them.
    class_names : tuple of str
        The names that the labels 0, 1, ... of the cover stand for; empty for all of the dataset.
    places : mapping of bytes to int
        Where each image stands among those of its shape, where the cover needs the whole set; as
        `known_by` knows it.
    keep : {"auto", "files", "pixels"}
        Whether the files that images came in come back, or samples. With ``"auto"`` a file goes in
        parts where it is shorter so; a codec that carries no files carries samples.
    cover_size : {"own", "fit"}
        Whether a protected image is as large as the image, or as small as the file allows that it
        carries; the size of that file shows then.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import Protect
    >>> from dsguard.codecs import codec_named
    >>> from dsguard.covers import Preview
    >>> key, sealed = dsguard.DatasetKey(bytes(32)), codec_named("sealed")
    >>> Protect(key, Preview(4), sealed, keep="pixels").keeps_files
    False
    """

    verb = PROTECTED
    key: DatasetKey
    cover: Cover
    codec: Codec
    class_names: tuple[str, ...] = ()
    places: Mapping[bytes, int] = field(default_factory=dict, repr=False)
    keep: str = "auto"
    cover_size: str = "own"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("keep", self.keep, KEPT),
            ("cover_size", self.cover_size, COVER_SIZES),
        ):
            if value not in choices:
                msg = f"{name} is one of {', '.join(choices)}, not {value!r}"
                raise InputError(msg)
        if self.keep == "files" and not self.codec.carries_files:
            msg = f"codec {self.codec.name} carries samples, not files; take codec sealed"
            raise InputError(msg)
        if self.cover_size == "fit" and not self.keeps_files:
            msg = "an image whose pixels are carried shows a picture of its own size; keep files"
            raise InputError(msg)

    @property
    def needs_network(self) -> bool:
        return self.cover.needs_network

    @property
    def needs_other_shards(self) -> bool:
        """Whether what an image shows depends on images or classes of other shards."""
        cover = self.cover
        numbers_classes = cover.needs_labels and not (self.class_names or cover.any_labels)
        return cover.needs_whole_set or numbers_classes

    def process(self, batch: Batch, threads: int | None) -> Processed:
        errors = self._refused(batch)
        good = [n for n in range(len(batch.names)) if n not in errors]
        part = self._numbered(batch if not errors else batch.taken(good))
        shows = self.cover if batch.is_seen else Blank(self.key)
        refused = shows.refused(part) if good else {}
        if refused:
            errors |= {good[n]: error for n, error in refused.items()}
            good = [n for n in good if n not in errors]
            part = self._numbered(batch.taken(good))
        images, sidecars, as_they_are, samples = batch.images, {}, 0, 0
        if good:
            cover = Given(shows.images(part, self.codec.grid))
            samples = shows.samples_in(part)
            done = protect_batch(
                part.images,
                self.key,
                cover=cover,
                codec=self.codec,
                files=self.carried(batch, good),
                threads=threads,
            )
            images = done.images if not errors else _spread(done.images, good, batch.images)
            still = set[int]()
            if not self.codec.shows_cover_alone:
                still = _as_they_were(done.images, part.images)
                as_they_are = _count_as_they_are(done.images, part.images, self.codec.grid)
            errors |= {good[n]: InputError(_AS_IT_WAS) for n in still}
            sidecars = {good[n]: data for n, data in done.sidecars.items() if n not in still}
        profiles = [self.codec.name] * len(batch.names)
        outcome = Processed(images, errors, sidecars, profiles)
        outcome.as_they_are, outcome.samples = as_they_are, samples
        outcome.not_shown = self._not_shown([batch.names[n] for n in good], batch)
        return outcome

    def _not_shown(self, names: list[str], batch: Batch) -> dict[str, LeftOut]:
        """Return those of which drawn pictures show, though the owner may expect others."""
        found: dict[str, LeftOut] = {}
        for name in names if not batch.is_seen else ():
            if batch.is_damaged and suffix_of(name).lower() in READABLE_SUFFIXES:
                add_up(found, {"damaged": LeftOut(1, name, _DAMAGED)})
            elif not isinstance(self.cover, Blank):
                add_up(found, {"not decoded": LeftOut(1, name, _NOT_DECODED)})
        return found

    @property
    def keeps_files(self) -> bool:
        return self.keep != "pixels" and self.codec.carries_files

    def decoded(self, rows: Rows) -> Iterator[tuple[list[Group], dict[int, DsguardError]]]:
        views = self.cover.takes_views
        found = decode_rows(rows, as_files=self.keeps_files, views=views)
        return map(partial(self._as_carried, rows), found)

    def _as_carried(
        self, rows: Rows, decoded: tuple[list[Group], dict[int, DsguardError]]
    ) -> tuple[list[Group], dict[int, DsguardError]]:
        """Return images in the size of their covers, and errors with what can be done."""
        groups, errors = decoded
        for group in groups if self.cover.has_pictures else ():
            group.found = [
                _found(self.cover, rows, row, image if group.is_seen else None)
                for row, image in zip(group.rows, group.images, strict=True)
            ]
        if self.cover_size == "fit" and rows.images is None:
            told = self.cover.needs_whole_set  # which a shard of any other does not need
            groups = fitted_to_files(groups, self.codec, partial(self.file_of, rows), told=told)
        if self.codec.carries_files and not self.keeps_files:
            errors = {n: _advised(error) for n, error in errors.items()}
        return groups, errors

    def carried(self, batch: Batch, rows: Sequence[int]) -> dict[int, File]:
        """Return the files of some rows of a batch that are carried as they are, by place."""
        if not self.keeps_files or not batch.files:
            return {}
        return {k: self.file_of(batch, n) for k, n in enumerate(rows)}

    def file_of(self, of: Batch | Rows, number: int) -> File:
        """Return a file of a dataset as it is carried here; errors as of `carried.file_of`."""
        return file_of(of, number, coded=self.keep == "auto")

    def settings(self) -> dict[str, str]:
        kept = self.keep if self.keeps_files else "pixels"
        own = {**self.codec.settings(), **self.cover.settings(), "keep": kept}
        if self.cover_size != "own":
            own["cover size"] = self.cover_size
        if self.class_names:
            own["classes"] = hashlib.sha256(repr(self.class_names).encode()).hexdigest()
        return {**super().settings(), **own}

    def remarks(self, source: Source) -> list[str]:
        told = self.cover.remarks()
        if not (self.keeps_files and self.cover.takes_views) or sees_dicom():
            return told
        dicom = [name for name in source.names() if name.lower().endswith(_DICOM)]
        more = f" and {len(dicom) - 1:,} more" if len(dicom) > 1 else ""
        return [*told, f"{shown(dicom[0])}{more}: {_NO_DICOM}"] if dicom else told

    def _refused(self, batch: Batch) -> dict[int, DsguardError]:
        """Return by index the images that are protected already, or not known well enough."""
        twice = "is protected already; give the clean images"
        errors: dict[int, DsguardError] = {
            int(n): InputError(twice) for n in are_protected(batch.images).nonzero()[0]
        }
        if self.cover.needs_labels and not self.cover.any_labels:
            for n, name in enumerate(batch.classes):
                if name not in self._numbers:
                    errors[n] = InputError(
                        f"the surrogate was not trained on its class, {shown(name)}"
                    )
        if self.cover.needs_whole_set:
            for n, known in enumerate(map(known_by, batch.names, batch.images)):
                if known not in self.places:
                    errors[n] = InputError(_NOT_SEEN)
        for n in range(len(batch.files) if self.keeps_files else 0):
            try:
                self.file_of(batch, n)
            except InputError as error:
                errors[n] = error.to_keep()
        return errors

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}

    def _numbered(self, batch: Batch) -> covers.Batch:
        """Return images, labels and places as covers take them."""
        labels, places = None, np.empty(0, np.intp)
        if self.cover.needs_labels:
            number = number_of if self.cover.any_labels else self._numbers.__getitem__
            labels = np.array([number(name) for name in batch.classes], np.int64)
        if self.cover.needs_whole_set:
            known = map(known_by, batch.names, batch.images)
            places = np.array([self.places[each] for each in known], np.intp)
        return covers.Batch(batch.images, labels, places, batch.names, batch.found)


def _found(cover: Cover, rows: Rows, row: int, image: Image | None) -> Found:
    """Return the pictures of the owner's that are an image as it came; None is not decoded."""
    name = rows.names[row]
    if image is not None:
        return cover.of_image(image, name)
    data, own = rows.files[row], cover.named(name)
    pictures = set() if own is None else {own}
    for view in all_views_of(data) if isinstance(data, bytes) else ():
        found = cover.of_image(view, name)
        pictures |= set() if isinstance(found, DsguardError) else found
    return frozenset(pictures)


_DICOM = (".dcm", ".dicom", ".ima")
_NO_DICOM = (
    "DICOM without pydicom shows drawn pictures, no previews; pip install 'dsguard[dicom]' (files "
    "with compression show drawn pictures in any case)"
)


def _advised(error: DsguardError) -> DsguardError:
    """Return an error with what can be done about files that are not decoded."""
    if not isinstance(error, UnreadableImageError):
        return error
    return UnreadableImageError(f"{error.message} (or take --keep files, which carries any file)")


_DAMAGED = "damaged, or no image; it is carried, and comes back, as it is"
_NOT_DECODED = "not decoded: a drawn picture shows, and not what the cover shows of others"
_NOT_SEEN = "could not be read, or was another, when the run began; start it again"


def known_by(name: str, image: Image) -> bytes:
    """Return that by which an image is known in a shard, where several may have one name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape") + b"\0")
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()[:16]


def number_of(class_name: str) -> int:
    """Return a number for a class, for covers that take any: no other class need be known."""
    digest = hashlib.sha256(class_name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little") >> 1


_AS_IT_WAS = (
    "would come out as it was: its values are at the ends of their range, where the codec cannot "
    "change them; take profile sealed"
)
_SAME = 0.95
"""Part of the samples of an image that are equal from which on it is published as it was."""


def _as_they_were(protected: Image, clean: Image) -> set[int]:
    """Return the protected images that are the clean ones, but for a few samples."""
    same = (protected == clean)[..., :3].mean(axis=(1, 2, 3), dtype=np.float32)
    return set(np.flatnonzero(same > _SAME).tolist())


def _count_as_they_are(protected: Image, clean: Image, grid: int) -> int:
    """Count images of which an eighth and more is published as it is.

    That is alpha that is not one value, what is in no block, or what the codec could not change.
    """
    height, width, channels = clean.shape[1:]
    down, across = height // grid * grid, width // grid * grid
    if down * across * 8 < height * width * 7:
        return len(clean)
    within = np.s_[:, :down, :across, :3]
    same = (protected[within] == clean[within]).mean(axis=(1, 2, 3), dtype=np.float32)
    shows: npt.NDArray[np.bool_] = same * 8 >= 1
    if channels == 4:
        alpha = clean[..., -1].reshape(len(clean), -1)
        shows |= (alpha != alpha[:, :1]).any(axis=1)
    return int(shows.sum())


def _spread(images: Image, rows: list[int], like: Image) -> Image:
    """Return images in the places that they have among others."""
    out = np.zeros_like(like)
    out[rows] = images
    return out
