"""Arrays: what files of them have in common, and ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.errors import DsguardError, InputError
from dsguard.formats.arrays.npy import Array, Header, Npz, check_alone, load_npy
from dsguard.formats.base import (
    CHUNK_IMAGES,
    Image,
    Part,
    Record,
    Rows,
    Source,
    as_folder,
)
from dsguard.formats.beside import strays_among, texts_among
from dsguard.formats.disclosure import ClassPlace
from dsguard.formats.limits import check_rows
from dsguard.formats.names import safe_name
from dsguard.formats.places import Place
from dsguard.kernels.geometry import SMALLEST_SIDE

if TYPE_CHECKING:
    from dsguard.formats.review import Review

SIDECARS = "dsguard-sidecar"
"""Beginning of the names that sidecars have in an ``.npz`` file: ``dsguard-sidecar/images/17``."""

_LABEL_NAMES = ("labels", "label", "y", "targets", "target")
_MOST_PIXELS = 1 << 16


@dataclass
class ArrayRows(Record):
    """Where some rows lie: in which array of which file."""

    array: str
    start: int


class ArraySource(Source):
    """Files of arrays; each file is a part, and comes out as one."""

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place)
        self.array_files = files
        self._held: tuple[str, Mapping[Any, Any]] = ("", {})
        self._found: dict[str, list[str]] = {}  # names in that file, which may have thousands

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_held": ("", {}), "_found": {}}

    def load(self, file: str) -> Mapping[Any, Any]:
        """Return all that a file holds, read at once or when it is asked for."""
        raise NotImplementedError

    def content(self, file: str) -> Mapping[Any, Any]:
        """Return all that a file holds; that of the last one is kept."""
        if self._held[0] != file:
            self._held, self._found = (file, self.load(file)), {}
        return self._held[1]

    def arrays(self, file: str) -> dict[str, Image]:
        """Return by name the arrays of a file that hold images, (N, H, W) or (N, H, W, C)."""
        raise NotImplementedError

    def array_names(self, file: str) -> list[str]:
        """Return the names of the arrays of a file that hold images."""
        return list(self.arrays(file))

    def own_companions(self) -> list[str]:
        """Return the files beside those with images that are read as well."""
        raise NotImplementedError

    def shards(self) -> list[str]:
        return self.array_files

    def companions(self) -> list[str]:
        return [*self.own_companions(), *texts_among(self._listing.files)]

    def left_out(self) -> list[str]:
        return strays_among(self._listing.files, {*self.array_files, *self.own_companions()})

    def reviewed_companion(self, name: str, data: bytes, review: Review) -> bytes | None:
        if name in self.own_companions():
            return self.reviewed_own(name, review)
        return super().reviewed_companion(name, data, review)

    def reviewed_own(self, name: str, review: Review) -> bytes | None:
        """Return one of `own_companions` with what goes along, None where nothing does."""
        raise NotImplementedError

    def read_as_classes(self) -> set[str]:
        """Return the files beside those with images whose content becomes classes of images."""
        raise NotImplementedError

    def sidecar_files(self) -> list[str]:
        """Return the files in which sidecars of protected images lie."""
        return [f"{file}.sidecars.npz" for file in self.array_files if file.endswith(".npy")]

    def read_with(self, part: Part) -> list[str]:
        sidecars = f"{part.file}.sidecars.npz"
        own = [sidecars] if self.place.has_file(sidecars) else []
        return [*self.own_companions(), *own]

    def classes(self, file: str, array: str) -> list[str]:
        """Return the class of each image of an array, empty where nothing tells."""
        raise NotImplementedError

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        """Return the sidecars of an array, by row."""
        raise NotImplementedError

    def reviewed_others(self, file: str, others: list[Any], review: Review) -> dict[Any, Any]:
        """Return what goes along of that which a file holds beside images, by these names."""
        raise NotImplementedError

    def image_name(self, file: str, array: str, row: int, class_name: str) -> str:
        """Return the name of an image."""
        folder = f"{as_folder(class_name)}/" if class_name else ""
        return f"{file.rpartition('.')[0]}/{array}/{folder}{row:07d}.png"

    def names(self) -> list[str]:
        return sorted(name for file in self.array_files for name in self._names_in(file))

    def _names_in(self, file: str) -> Iterator[str]:
        for array in self.array_names(file):
            for row, name in enumerate(self.classes(file, array)):
                yield self.image_name(file, array, row, name)

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        if wanted is None:
            return [Part(file) for file in self.array_files]
        parts, chosen = [], set(wanted)
        for file in self.array_files:
            names = tuple(sorted(chosen.intersection(self._names_in(file))))
            parts += [Part(file, names=names)] if names else []
        return parts

    def rows(self, part: Part) -> Iterator[Rows]:
        wanted = None if part.names is None else set(part.names)
        for array, images in self.arrays(part.file).items():
            classes = self.classes(part.file, array)
            given = self.sidecars(part.file, array)
            for start in range(0, len(images), CHUNK_IMAGES):
                block = images[start : start + CHUNK_IMAGES]
                labels = classes[start : start + CHUNK_IMAGES]
                names = [
                    self.image_name(part.file, array, start + row, label)
                    for row, label in enumerate(labels)
                ]
                rows = Rows(
                    names,
                    labels,
                    images=np.ascontiguousarray(block.reshape(*block.shape[:3], -1)),
                    sidecars={n: given[start + n] for n in range(len(block)) if start + n in given},
                    record=ArrayRows(array, start),
                )
                if wanted is not None:
                    rows = rows.taken([n for n, name in enumerate(names) if name in wanted])
                yield rows


class NumpySource(ArraySource):
    """``.npy`` and ``.npz`` files; of the latter, all arrays of uint8 with the shape of images.

    Labels of ``images`` are ``labels``, those of ``x_train`` and ``train_images`` are ``y_train``
    and ``train_labels``; of ``photos.npy``, ``photos_labels.npy`` or ``labels.npy`` beside it.
    """

    kind = "numpy"

    def __init__(self, place: Place, files: list[str]) -> None:
        labels = {name for file in files for name in label_files(file)}
        super().__init__(place, [file for file in files if file not in labels])
        self.label_files = [file for file in files if file in labels]

    def own_companions(self) -> list[str]:
        return self.label_files

    def read_as_classes(self) -> set[str]:
        return {self._beside(file) for file in self.array_files}

    def _beside(self, file: str) -> str:
        """Return the file with the labels of an ``.npy`` file, empty where there is none."""
        beside = label_files(file) if file.endswith(".npy") else ()
        return next((name for name in beside if name in self.label_files), "")

    def class_places(self) -> list[ClassPlace]:
        found = [ClassPlace(file) for file in sorted(self.read_as_classes() - {""})]
        for file in self.array_files:
            with contextlib.suppress(DsguardError):  # told by whoever reads its images
                own = () if file.endswith(".npy") else self.array_names(file)
                labels = {self._labels_of(file, array) for array in own} - {""}
                found += [ClassPlace(file, name) for name in sorted(labels)]
        return found

    def own_arrays(self, file: str) -> list[str]:
        """Return the names of the arrays of a file whose images are protected, but for sidecars."""
        return [name for name in self.content(file) if not name.startswith(SIDECARS)]

    def beside_images(self, file: str, *, published: bool) -> list[str]:
        if file.endswith(".npy"):
            return []
        images = self.array_names(file)
        own = {*images, *(self._labels_of(file, array) for array in images)}
        names = self.own_arrays(file) if published else self.content(file)
        return [name for name in names if name not in own]

    def load(self, file: str) -> Mapping[str, Array]:
        if file.endswith(".npy"):
            return {"array": load_npy(self.place, file)}
        return Npz(self.place, file)

    def reviewed_others(self, file: str, others: list[Any], review: Review) -> dict[Any, Any]:
        content = self.content(file)
        assert isinstance(content, Npz)
        images = self.array_names(file)
        counts = {content.header(name).shape[0] for name in images}
        labels = {self._labels_of(file, array) for array in images}
        found = {}
        for name in others:
            try:
                if _is_published(content, name, file, counts, review, has_classes=name in labels):
                    found[name] = content[name]
            except InputError as error:  # it is damaged: the others go on
                review.account.leave_out_once(f"{file}/{name}", error.message, sealable=False)
        for name in sorted(labels.intersection(others).difference(found)):
            review.account.leave_class_out(f"{file}/{name}")
        return found

    def reviewed_own(self, name: str, review: Review) -> bytes | None:
        """Return labels, written anew: behind its end a file may have more."""
        array = load_npy(self.place, name)
        counts = set[int]()
        for file in self.array_files:
            if name in label_files(file):
                with contextlib.suppress(InputError):  # it holds none, as its own report says
                    counts.update(len(images) for images in self.arrays(file).values())
        folder, _, own = name.rpartition("/")
        has_classes = name in self.read_as_classes()
        if not review.array(folder, own, array, counts, has_classes=has_classes):
            return None
        out = io.BytesIO()
        np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
        return out.getvalue()

    def array_names(self, file: str) -> list[str]:
        content, path = self.content(file), f"{self.place}/{file}"
        if "images" in self._found:
            return self._found["images"]
        names = [name for name in content if not name.startswith(SIDECARS)]
        found = [name for name in names if _holds_images(self._header(file, name))]
        if not found:
            msg = (
                f"{path} has no array of images; expected uint8 of shape (N, H, W) or "
                f"(N, H, W, C), sides of {SMALLEST_SIDE} or more"
            )
            raise InputError(msg)
        for name in found:
            safe_name(name, path)  # which names of images begin with
        if isinstance(content, Npz):
            counts = (content.header(name).shape[0] for name in found)
            for name, images in zip(found, itertools.accumulate(counts), strict=True):
                check_rows(images, content.size, content.shown(name))
        self._found["images"] = found
        return found

    def arrays(self, file: str) -> dict[str, Image]:
        content, names = self.content(file), self.array_names(file)
        if names and file.endswith(".npy"):
            check_alone(self.place, file)
        return {name: content[name] for name in names}

    def _header(self, file: str, name: str) -> Header:
        """Return what an array is; only that is read, where the file has many."""
        content = self.content(file)
        if isinstance(content, Npz):
            return content.header(name)
        return Header(content[name].shape, content[name].dtype)

    def classes(self, file: str, array: str) -> list[str]:
        count = self._header(file, array).shape[0]
        name, labels = self._labels(file, array)
        if labels is None:
            return [""] * count
        given = len(labels) if labels.ndim else 1
        if given != count or not labels.ndim:
            msg = f"{self.place}/{file} has {count} images in {array} and {given} labels in {name}"
            raise InputError(msg)
        return class_names(labels, f"{name} of {self.place}/{file}")

    def _labels(self, file: str, array: str) -> tuple[str, Array | None]:
        """Return the name and the content of what holds the labels of an array."""
        if file.endswith(".npy"):
            beside = self._beside(file)
            return (beside, load_npy(self.place, beside)) if beside else ("", None)
        name = self._labels_of(file, array)
        return (name, self.content(file)[name]) if name else ("", None)

    def _labels_of(self, file: str, array: str) -> str:
        """Return which array of an ``.npz`` file has the labels of another, empty for none."""
        content = self.content(file)
        guesses = [array.replace("images", "labels").replace("image", "label")]
        guesses += ["y" + array[1:]] if array[:1] in "xX" else []
        guesses += _LABEL_NAMES
        images = self.array_names(file)  # with masks, say, which come out as images, too
        return next((name for name in guesses if name in content and name not in images), "")

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        start = f"{SIDECARS}/{array}/"
        content, path = self.content(file), f"{self.place}/{file}"
        if file.endswith(".npy"):
            path += ".sidecars.npz"
            beside = file + ".sidecars.npz"
            content = Npz(self.place, beside) if self.place.has_file(beside) else {}
            names = list(content)
        else:
            if "sidecars" not in self._found:
                self._found["sidecars"] = [name for name in content if name.startswith(SIDECARS)]
            names = self._found["sidecars"]
        rows = {name: name.removeprefix(start) for name in names if name.startswith(start)}
        if not all(_ROW.fullmatch(row) for row in rows.values()) or any(
            content[name].dtype != np.uint8 for name in rows
        ):
            msg = f"{path} has sidecars of an unknown layout"
            raise InputError(msg)
        return {int(row): content[name].tobytes() for name, row in rows.items()}


def _is_published(
    content: Npz,
    name: str,
    file: str,
    counts: Collection[int],
    review: Review,
    *,
    has_classes: bool,
) -> bool:
    """Tell whether an array goes along; read it only where its header leaves that open."""
    said = review.account.says_of(file, name)
    if said is None and (reason := content.reason_against(name)):
        review.account.leave_out(name.rpartition("/")[2], f"{file}/{name}", reason)
        return False
    header = content.header(name)
    # Of two dimensions, it may be one-hot; of strings, each is looked at.
    if said is None and len(header.shape) != 2 and header.dtype.kind not in "SU":
        return review.array(
            file, name, header.blank(), counts, lambda: content[name], has_classes=has_classes
        )
    return said is not False and review.array(
        file, name, content[name], counts, has_classes=has_classes
    )


_ROW = re.compile("[0-9]{1,18}")


def class_names(labels: Array, what: str) -> list[str]:
    """Return the names of the classes that labels stand for.

    Parameters
    ----------
    labels : ndarray, shape (N,), (N, 1) or (N, C)
        One value for each image; or one-hot, for which the classes are 0 to C - 1.
    what : str
        What the labels are called in messages.

    Raises
    ------
    InputError
        If an image has no value, or several that are not one-hot, or text that is damaged.
    """
    if len(labels) and not labels.size:
        msg = f"{what} is of shape {labels.shape}, which has no value for any image; remove it"
        raise InputError(msg)
    if labels[:1].size > 1:
        return [str(number) for number in _one_hot(labels, what)]
    try:
        values = labels.reshape(-1).tolist()
    except (ValueError, SystemError) as error:  # of characters that there are not
        msg = f"{what} holds text that is damaged: {error}"
        raise InputError(msg) from error
    return [_class_name(value) for value in values]


def _class_name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return str(int(value))
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _one_hot(labels: Array, what: str) -> Iterator[int]:
    """Yield the columns of the ones."""
    for start in range(0, len(labels), CHUNK_IMAGES):
        rows = labels[start : start + CHUNK_IMAGES]
        good = rows.ndim == 2 and rows.dtype.kind in "biuf"
        good = good and bool(((rows == 0) | (rows == 1)).all())
        if not good or ((rows == 1).sum(axis=1) != 1).any():
            msg = (
                f"{what} has {rows[0].size} values for each image, which are no one-hot labels; "
                "save one class for each image, or give the array a name that is not of labels"
            )
            raise InputError(msg)
        yield from rows.argmax(axis=1).tolist()


def is_array_file(name: str) -> bool:
    """Tell whether a file is one of arrays, and not of sidecars beside one."""
    return name.endswith((".npy", ".npz")) and not name.endswith(".npy.sidecars.npz")


def label_files(file: str) -> tuple[str, ...]:
    """Return the names that a file of labels beside an ``.npy`` file may have."""
    path = PurePosixPath(file)
    stem = path.stem
    names = [f"{stem}_labels.npy"] if path.suffix == ".npy" else []
    if path.suffix == ".npy" and stem not in _LABEL_NAMES:
        names += [stem.replace("images", "labels") + ".npy"] if "images" in stem else []
        names += ["y" + stem[1:] + ".npy"] if stem[:1] in ("x", "X") else []
        names += [f"{name}.npy" for name in _LABEL_NAMES]
    return tuple(str(path.with_name(name)) for name in names if name != path.name)


def _holds_images(header: Header) -> bool:
    shape = header.shape
    return (
        header.dtype == np.uint8
        and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)))
        and min(shape[1:3]) >= SMALLEST_SIDE
        and max(shape[1:3]) < _MOST_PIXELS
    )
