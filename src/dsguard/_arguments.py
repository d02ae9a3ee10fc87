"""Arguments of the public functions, checked, and those that are left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsguard._checks import as_batch
from dsguard.codecs import File, codec_named, restoring
from dsguard.covers import EPSILON, Cover, Given, check_cover, check_labels
from dsguard.errors import InputError, WrongKeyError
from dsguard.keys import DatasetKey, ImageKeys, KeySource
from dsguard.keys.image_keys import checked_image_keys

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.codecs import Codec
    from dsguard.covers.base import Labels
    from dsguard.fsp import Surrogate
    from dsguard.kernels.contract import Images
    from dsguard.profiles import Profile


def keys_for(
    key: DatasetKey | KeySource | ImageKeys,
    batches: Iterable[tuple[npt.NDArray[np.uint8], Mapping[int, bytes]]],
) -> DatasetKey | ImageKeys:
    """Have a source of keys give those of some batches together, for `restore_batch` to take.

    Parameters
    ----------
    key : DatasetKey, KeySource or ImageKeys
        What is no source is returned as it is.
    batches : iterable of tuple of ndarray and mapping
        Images and their sidecars, as `restore_batch` takes them.

    Raises
    ------
    NoKeysError
        If the source gives none.
    """
    if not isinstance(key, KeySource):
        return key
    wanted: dict[str, list[bytes]] = {}
    for images, sidecars in batches:
        with suppress(InputError):  # of images that no key restores
            batch = np.ascontiguousarray(as_batch(images, "images"))
            for key_id, ids in restoring.ids_by_key(batch, dict(sidecars)).items():
                wanted.setdefault(key_id, []).extend(ids)
    keys: dict[bytes, bytes] = {}
    missing: dict[bytes, str] = {}
    for key_id, ids in wanted.items():
        try:
            keys |= key.image_keys(key_id, list(dict.fromkeys(ids)))
        except WrongKeyError as error:
            missing |= dict.fromkeys(ids, error.message)
    return ImageKeys(keys, missing)


def keys_of(
    key: DatasetKey | KeySource | ImageKeys | None,
    image_keys: Sequence[bytes] | Mapping[bytes, bytes] | KeySource | None,
    batch: Images,
    sidecars: dict[int, bytes],
) -> DatasetKey | ImageKeys:
    if key is not None and image_keys is not None:
        msg = "give the key of the dataset, or those of images, not both"
        raise InputError(msg)
    if isinstance(image_keys, KeySource):
        key, image_keys = image_keys, None
    if isinstance(key, KeySource | ImageKeys):
        return keys_for(key, [(batch, sidecars)])
    if image_keys is None:
        check_key(key)
        assert isinstance(key, DatasetKey)
        return key
    if isinstance(image_keys, Mapping):
        return checked_image_keys(image_keys)
    given: object = image_keys
    if not isinstance(given, Sequence) or len(given) != len(batch):
        count = len(given) if isinstance(given, Sequence) else type(given).__name__
        msg = f"image_keys: expected one for each of {len(batch)} images, got {count}"
        raise InputError(msg)
    ids = restoring.image_ids(np.ascontiguousarray(batch), sidecars)
    known = zip(ids, image_keys, strict=True)
    return checked_image_keys({image_id: own for image_id, own in known if image_id is not None})


def check_key(key: object) -> None:
    if not isinstance(key, DatasetKey):
        msg = f"key: expected a DatasetKey, got {type(key).__name__}; use DatasetKey.load(path)"
        raise InputError(msg)


@dataclass(frozen=True)
class Choice:
    """A cover, a codec, and labels as the cover takes them."""

    cover: Cover
    codec: Codec
    labels: Labels | None = None


def choice_of(
    batch: Images,
    key: DatasetKey,
    cover: Cover | None,
    codec: str | Codec | None,
    target: npt.NDArray[np.uint8] | None,
    labels: npt.ArrayLike | None,
    surrogate: Surrogate | None,
    profile: Profile,
    epsilon: int | None,
) -> Choice:
    check_cover(cover)
    given = [each is not None for each in (cover, target, surrogate)]
    if sum(given) > 1 or (target is not None and labels is not None):
        msg = "give a cover, or a target, or labels and surrogate, not both"
        raise InputError(msg)
    if epsilon is not None and (cover is not None or target is not None):
        msg = "epsilon is the radius of what a profile makes; a cover or a target has its own"
        raise InputError(msg)
    other = profile.plain_codec if codec is None else codec_named(codec)
    if target is not None:
        return Choice(Given(_same_shape(target, batch)), other)
    if cover is not None:
        if cover.needs_labels and labels is None:
            msg = "this cover needs labels"
            raise InputError(msg)
        if other.wants_likeness and not cover.is_like:
            warnings.warn(unwise(other), UserWarning, stacklevel=3)
        known = None if labels is None else check_labels(labels, len(batch))
        return Choice(cover, other, known)
    own = profile.codec if codec is None else other
    if profile.needs_surrogate and (labels is None or surrogate is None):
        msg = "give target or cover, or both labels and surrogate"
        raise InputError(msg)
    made = profile.cover(
        key,
        surrogate,
        epsilon=EPSILON if epsilon is None else epsilon,
        labelled=labels is not None,
    )
    if labels is None:
        return Choice(made, own)
    if surrogate is None:
        return Choice(made, own, check_labels(labels, len(batch)))
    surrogate.check_channels(batch.shape[3])
    return Choice(made, own, surrogate.class_numbers(labels, len(batch)))


def unwise(codec: Codec) -> str:
    """Return the warning for a cover that is to hide images, where the codec wants likeness."""
    return (
        f"codec {codec.name} leaves the inside of the blocks of clean images in sight, whatever "
        "the cover shows; it changes more, and needs more sidecars, than with one that is like them"
    )


def _same_shape(target: npt.NDArray[np.uint8], batch: Images) -> Images:
    wanted = as_batch(target, "target")
    if wanted.shape != batch.shape:
        msg = f"target has the shape {wanted.shape}, images have {batch.shape}"
        raise InputError(msg)
    return wanted


def checked_files(files: Mapping[int, File] | None, count: int) -> dict[int, File]:
    """Return files by the index of their image, if they are files and there are such images."""
    asked: object = files
    if asked is not None and not isinstance(asked, Mapping):
        msg = f"files: expected a mapping of indices to File, got {type(asked).__name__}"
        raise InputError(msg)
    given = {} if files is None else dict(files)
    each: Iterable[tuple[object, object]] = given.items()
    for index, file in each:
        if type(index) is not int or not 0 <= index < count:
            msg = f"files: there is no image {index!r}; give each by the index of its image"
            raise InputError(msg)
        if not isinstance(file, File):
            msg = f"files: expected a File, got {type(file).__name__}"
            raise InputError(msg, index)
    return given


def checked_sidecars(sidecars: Mapping[int, bytes] | None, count: int) -> dict[int, bytes]:
    if sidecars is None:
        return {}
    if not hasattr(sidecars, "items"):
        msg = f"sidecars: expected a mapping of index to bytes, got {type(sidecars).__name__}"
        raise InputError(msg)
    return dict(_checked_sidecar(index, data, count) for index, data in sidecars.items())


def _checked_sidecar(index: object, data: object, count: int) -> tuple[int, bytes]:
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        msg = f"sidecars: expected whole numbers as indices, got {index!r}"
        raise InputError(msg)
    if not 0 <= index < count:
        msg = f"sidecars: there is no image {index} in a batch of {count}"
        raise InputError(msg)
    if not isinstance(data, bytes | bytearray | memoryview):
        msg = f"sidecars: expected bytes, got {type(data).__name__}"
        raise InputError(msg, int(index))
    return int(index), bytes(data)
