"""Arrays: ``.npy`` and ``.npz`` files, and the pickles of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from dsguard.datasets.place import LocalPlace, Place
from dsguard.datasets.source import (
    CHUNK_IMAGES,
    Image,
    Part,
    Rows,
    Source,
    as_folder,
    is_folder_name,
)
from dsguard.errors import FormatError, InputError
from dsguard.mrit.geometry import SMALLEST_SIDE

SIDECARS = "dsguard-sidecar"
"""Beginning of the names that sidecars have in an ``.npz`` file: ``dsguard-sidecar/images/17``."""

_LABEL_NAMES = ("labels", "label", "y", "targets", "target")
_MOST_PIXELS = 1 << 16


@dataclass
class ArrayRows:
    """Where some rows lie: in which array of which file."""

    array: str
    start: int


class ArraySource(Source):
    """Files of arrays; each file is a part, and comes out as one."""

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place)
        self.array_files = files
        self._held: tuple[str, dict[Any, Any]] = ("", {})

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_held": ("", {})}

    def load(self, file: str) -> dict[Any, Any]:
        """Read all that a file holds."""
        raise NotImplementedError

    def content(self, file: str) -> dict[Any, Any]:
        """Return all that a file holds; that of the last one is kept."""
        if self._held[0] != file:
            self._held = (file, self.load(file))
        return self._held[1]

    def arrays(self, file: str) -> dict[str, Image]:
        """Return by name the arrays of a file that hold images, (N, H, W) or (N, H, W, C)."""
        raise NotImplementedError

    def classes(self, file: str, array: str) -> list[str]:
        """Return the class of each image of an array, empty where nothing tells."""
        raise NotImplementedError

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        """Return the sidecars of an array, by row."""
        raise NotImplementedError

    def image_name(self, file: str, array: str, row: int, class_name: str) -> str:
        """Return the name of an image."""
        folder = f"{as_folder(class_name)}/" if class_name else ""
        return f"{file.rpartition('.')[0]}/{array}/{folder}{row:07d}.png"

    def names(self) -> list[str]:
        return sorted(name for file in self.array_files for name in self._names_in(file))

    def _names_in(self, file: str) -> Iterator[str]:
        for array in self.arrays(file):
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
                yield rows if wanted is None else _picked(rows, wanted)


def _picked(rows: Rows, wanted: set[str]) -> Rows:
    keep = [n for n, name in enumerate(rows.names) if name in wanted]
    assert rows.images is not None
    return Rows(
        [rows.names[n] for n in keep],
        [rows.classes[n] for n in keep],
        images=rows.images[keep],
        sidecars={k: rows.sidecars[n] for k, n in enumerate(keep) if n in rows.sidecars},
        record=rows.record,
    )


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

    def companions(self) -> list[str]:
        return self.label_files

    def load(self, file: str) -> dict[str, npt.NDArray[Any]]:
        return _loaded(self.place, file)

    def arrays(self, file: str) -> dict[str, Image]:
        content = self.content(file)
        found = {name: array for name, array in content.items() if _holds_images(array)}
        if not found:
            msg = (
                f"{self.place}/{file} has no array of images; expected uint8 of shape (N, H, W) or "
                f"(N, H, W, C), sides of {SMALLEST_SIDE} or more"
            )
            raise InputError(msg)
        return found

    def classes(self, file: str, array: str) -> list[str]:
        count = len(self.content(file)[array])
        labels = self._labels(file, array)
        if labels is None:
            return [""] * count
        if len(labels) != count:
            msg = f"{self.place}/{file} has {count} images in {array} and {len(labels)} labels"
            raise InputError(msg)
        flat = labels.reshape(count, -1)[:, 0]
        return [str(value) for value in flat.tolist()]

    def _labels(self, file: str, array: str) -> npt.NDArray[Any] | None:
        if file.endswith(".npy"):
            beside = [name for name in label_files(file) if name in self.label_files]
            return _loaded(self.place, beside[0])["array"] if beside else None
        content = self.content(file)
        guesses = [array.replace("images", "labels").replace("image", "label")]
        guesses += ["y" + array[1:]] if array[:1] in "xX" else []
        guesses += _LABEL_NAMES
        return next((content[g] for g in guesses if g in content and g != array), None)

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        start = f"{SIDECARS}/{array}/"
        content = self.content(file)
        beside = file + ".sidecars.npz"
        if file.endswith(".npy") and self.place.exists(beside):
            content = _loaded(self.place, beside)
        return {
            int(name.removeprefix(start)): data.tobytes()
            for name, data in content.items()
            if name.startswith(start) and name.removeprefix(start).isdigit()
        }


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


def _holds_images(array: npt.NDArray[Any]) -> bool:
    return (
        array.dtype == np.uint8
        and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3, 4)))
        and min(array.shape[1:3]) >= SMALLEST_SIDE
        and max(array.shape[1:3]) < _MOST_PIXELS
    )


def _loaded(place: Place, file: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file; those of a local ``.npy`` file stay on disk."""
    try:
        if file.endswith(".npy") and isinstance(place, LocalPlace):
            return {"array": np.load(place.path / file, mmap_mode="r", allow_pickle=False)}
        with place.open(file) as opened:
            content = np.load(opened, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"array": content}
            return {name: content[name] for name in content.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        msg = f"{place}/{file} is damaged, or holds what dsguard does not load: {error}"
        raise InputError(msg) from error


class CifarSource(ArraySource):
    """CIFAR-10 and CIFAR-100 as their authors publish them: pickled batches of rows of planes."""

    kind = "cifar"

    def __init__(self, place: Place) -> None:
        hundred = place.exists("meta")
        files = (
            ["train", "test"]
            if hundred
            else [*(f"data_batch_{n}" for n in range(1, 10)), "test_batch"]
        )
        super().__init__(place, [file for file in files if place.exists(file)])
        self._meta = "meta" if hundred else "batches.meta"
        self._labels = b"fine_labels" if hundred else b"labels"

    @staticmethod
    def recognises(place: Place) -> bool:
        """Tell whether a folder holds the pickled batches."""
        return (place.exists("batches.meta") and place.exists("data_batch_1")) or (
            place.exists("meta") and place.exists("train") and place.exists("test")
        )

    def companions(self) -> list[str]:
        return [self._meta]

    def image_name(self, file: str, array: str, row: int, class_name: str) -> str:
        split = "test" if file.startswith("test") else "train"
        return f"{split}/{class_name}/{file}-{row:05d}.png"

    def load(self, file: str) -> dict[bytes, Any]:
        return _unpickle(self.place, file)

    def arrays(self, file: str) -> dict[str, Image]:
        batch = self.content(file)
        rows, labels = batch.get(b"data"), batch.get(self._labels)
        if not _is_cifar_batch(rows, labels, len(self._class_names())):
            msg = f"{self.place}/{file} does not have the layout of a CIFAR batch"
            raise FormatError(msg)
        assert rows is not None
        return {"data": rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)}

    def classes(self, file: str, array: str) -> list[str]:
        names = self._class_names()
        return [names[label] for label in self.content(file)[self._labels]]

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        given = self.content(file).get(SIDECARS.encode(), {})
        if not isinstance(given, dict) or not all(
            type(row) is int and isinstance(data, bytes) for row, data in given.items()
        ):
            msg = f"{self.place}/{file} has sidecars of an unknown layout"
            raise FormatError(msg)
        return given

    def _class_names(self) -> list[str]:
        content = _unpickle(self.place, self._meta)
        names = content.get(b"label_names", content.get(b"fine_label_names"))
        try:
            classes = [n.decode() if isinstance(n, bytes) else n for n in names or ()]
            fit = all(isinstance(name, str) and is_folder_name(name) for name in classes)
        except (TypeError, UnicodeDecodeError):
            fit = False
        if not fit or not classes:
            msg = f"{self.place}/{self._meta} has no list of class names that can name folders"
            raise FormatError(msg)
        return classes


def _is_cifar_batch(rows: Any, labels: Any, classes: int) -> bool:
    return (
        isinstance(rows, np.ndarray)
        and rows.dtype == np.uint8
        and rows.ndim == 2
        and rows.shape[1] == 3072
        and isinstance(labels, list)
        and len(labels) == len(rows)
        and all(type(label) is int and 0 <= label < classes for label in labels)
    )


class _CifarUnpickler(pickle.Unpickler):
    """Loads lists, bytes and uint8 arrays; anything else that a pickle could call is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            msg = f"refused to load {module}.{name} from a pickle"
            raise FormatError(msg)
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpickle(place: Place, name: str) -> dict[bytes, Any]:
    with place.open(name) as file:
        try:
            content = _CifarUnpickler(file, encoding="bytes").load()
        except FormatError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way
            msg = f"{place}/{name} is not a CIFAR batch, or is damaged: {error}"
            raise FormatError(msg) from error
    if not isinstance(content, dict):
        msg = f"{place}/{name} is not a CIFAR batch"
        raise FormatError(msg)
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}
