"""WebDataset: a stage that restores samples, put before anything decodes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.programs.pickled import is_pickle
from dsguard.formats.programs.suffixes import is_loaded
from dsguard.integrations.images import restored_files, which_protected

if TYPE_CHECKING:
    from dsguard.keys import DatasetKey, KeySource

Sample = dict[str, Any]

_LOSSY = ("jpg", "jpeg", "webp", "gif")
_LOSSLESS = ("png", "tif", "tiff")


@dataclass(frozen=True)
class restore:
    """A stage for a WebDataset pipeline; worker processes can be sent it.

    All images of a sample are restored, a mask as well as a photo.

    Where images carry files, `field` has these as they were, JPEG or other: ``decode`` looks at
    what they are, not at the name of the field.

    Decode the fields that are needed, and no others. By itself ``decode`` unpickles some kinds of
    fields, which runs what whoever made the shard has put into them.

    >>> data = WebDataset(urls).compose(restore(key))  # doctest: +SKIP
    >>> data = data.decode("rgb8", only=["png", "cls"])  # doctest: +SKIP

    Parameters
    ----------
    key : DatasetKey or KeySource
    field : str
        Suffix of the image that each sample has. Where a writer is to store the samples again it
        must be ``"png"``: one named ``jpg`` would be saved as JPEG.
    batch_size : int
        Samples restored at once.
    trusted : bool
        Whether samples may have fields that ``decode`` unpickles: where the shards are your own.

    Raises
    ------
    InputError
        If `field` is one that WebDataset saves as JPEG, or a sample lacks it or has it decoded. Or
        a sample has a pickle, and is not `trusted`.
    DsguardError
        If an image cannot be restored; the message names its place in the batch.
    """

    key: DatasetKey | KeySource
    field: str = "png"
    batch_size: int = 256
    trusted: bool = False

    def __post_init__(self) -> None:
        if _ending(self.field) in _LOSSY:
            msg = (
                f"field {self.field!r}: protected images are never stored under it; rename them "
                "to png"
            )
            raise InputError(msg)
        if self.batch_size < 1:
            msg = f"batch_size is 1 or more, not {self.batch_size}"
            raise InputError(msg)

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield the samples with restored images: files that were carried, else PNG files."""
        source = iter(samples)
        while batch := list(itertools.islice(source, self.batch_size)):
            if not self.trusted:
                _check_loaded(batch)
            back = [dict(sample) for sample in batch]
            images = [(sample, self.field) for sample in back] + self._others(back)
            files = [_file(sample, field) for sample, field in images]
            for (sample, field), file in zip(images, restored_files(files, self.key), strict=True):
                sample[field] = file
            yield from back

    def _others(self, samples: list[Sample]) -> list[tuple[Sample, str]]:
        """Return the samples and fields with further protected images, such as a mask."""
        found = [
            (sample, field)
            for sample in samples
            for field, data in sample.items()
            if field != self.field and isinstance(data, bytes) and _ending(field) in _LOSSLESS
        ]
        protected = which_protected([sample[field] for sample, field in found])
        return list(itertools.compress(found, protected))


def _ending(field: str) -> str:
    return field.rpartition(".")[2].lower()


def _check_loaded(samples: list[Sample]) -> None:
    """Refuse fields that a decoder behind this stage would run."""
    for sample in samples:
        for field, data in sample.items():
            name = f"{sample.get('__key__', '')}.{field}"
            if not (is_pickle(name, data) if isinstance(data, bytes) else is_loaded(name)):
                continue
            msg = (
                f"field {field!r}: sample {sample.get('__key__')!r} has a pickle, and whoever "
                "decodes it (.decode() of WebDataset) runs what is in it; leave it out "
                "(select_files= of WebDataset), or give trusted=True if you made the shard yourself"
            )
            raise InputError(msg)


def _file(sample: Sample, field: str) -> bytes:
    found = sample.get(field)
    if isinstance(found, bytes):
        return found
    what = "has no such field" if found is None else "has it decoded; restore before .decode()"
    msg = f"field {field!r}: sample {sample.get('__key__')!r} {what}"
    raise InputError(msg)
