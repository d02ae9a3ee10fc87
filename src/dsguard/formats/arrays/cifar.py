"""CIFAR-10 and CIFAR-100: pickles of images as rows of planes, and what lies beside these."""

from __future__ import annotations

import io
import pickle
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dsguard.errors import FormatError
from dsguard.formats.allowance import STRING, Allowance, allowance_of_classes
from dsguard.formats.arrays.pickles import MOST_PICKLE_BYTES, load_pickle
from dsguard.formats.arrays.reader import SIDECARS, ArraySource
from dsguard.formats.disclosure import ClassPlace
from dsguard.formats.names import is_folder_name

if TYPE_CHECKING:
    from dsguard.formats.base import Image
    from dsguard.formats.places import Place
    from dsguard.formats.review import Review


_LOADED = re.compile(r"batches\.meta|meta|train|test|test_batch|data_batch_\d+")


def check_loaded(name: str, data: bytes) -> None:
    """Refuse a file that readers of CIFAR load as a pickle, where it is none of data alone.

    Raises
    ------
    FormatError
    """
    if _LOADED.fullmatch(name):
        load_pickle(io.BytesIO(data), name)


def is_data_alone(name: str, data: bytes) -> bool:
    """Tell whether a file is one that readers of CIFAR load, and calls nothing."""
    try:
        check_loaded(name, data)
    except FormatError:
        return False
    return _LOADED.fullmatch(name) is not None


class CifarSource(ArraySource):
    """CIFAR-10 and CIFAR-100 as their authors publish them: pickled batches of rows of planes."""

    kind = "cifar"

    def __init__(self, place: Place) -> None:
        hundred = place.has_file("meta")
        files = (
            ["train", "test"]
            if hundred
            else [*(f"data_batch_{n}" for n in range(1, 10)), "test_batch"]
        )
        super().__init__(place, [file for file in files if place.has_file(file)])
        self._meta = "meta" if hundred else "batches.meta"
        self._labels = b"fine_labels" if hundred else b"labels"

    @staticmethod
    def recognises(place: Place) -> bool:
        """Tell whether a folder holds the pickled batches."""
        layouts = (("batches.meta", "data_batch_1"), ("meta", "train", "test"))
        return any(all(map(place.has_file, layout)) for layout in layouts)

    def own_companions(self) -> list[str]:
        return [self._meta]

    def read_as_classes(self) -> set[str]:
        return {self._meta}

    def class_places(self) -> list[ClassPlace]:
        return [ClassPlace(file, self._labels.decode()) for file in self.array_files]

    def beside_images(self, file: str, *, published: bool) -> list[str]:
        own = {b"data", self._labels, *((SIDECARS.encode(),) if published else ())}
        others = (key for key in self.content(file) if key not in own)
        return [key.decode("utf-8", "backslashreplace")[:STRING] for key in others]

    def image_name(self, file: str, array: str, row: int, class_name: str) -> str:
        split = "test" if file.startswith("test") else "train"
        return f"{split}/{class_name}/{file}-{row:05d}.png"

    def load(self, file: str) -> dict[bytes, Any]:
        return _batch(self.place, file)

    def content_of(self, raw: bytes, file: str) -> dict[bytes, Any]:
        """Return what a pickle holds, as `content` does."""
        return _batch_in(io.BytesIO(raw), f"{self.place}/{file}")

    def raw(self, file: str) -> bytes:
        """Return a pickle as it is."""
        with self.place.open(file) as opened:
            return opened.read(MOST_PICKLE_BYTES)

    def pixels(self, file: str) -> Image:
        """Return the pixels of a pickle as they lie in it, (N, 3072)."""
        planes = self.arrays(file)["data"].transpose(0, 3, 1, 2)
        return np.ascontiguousarray(planes).reshape(len(planes), -1)

    @property
    def labels_key(self) -> bytes:
        """The key of the labels."""
        return self._labels

    def reviewed_others(self, file: str, others: list[Any], review: Review) -> dict[Any, Any]:
        content = self.content(file)
        count = len(content[self._labels])
        found = {self._labels: content[self._labels]}
        each_image: list[Allowance] = []
        for key in sorted(others, key=lambda key: not isinstance(content[key], np.ndarray)):
            value = content[key]
            own_name = key.decode("utf-8", "backslashreplace")
            name = f"{file}/{own_name}"
            if key == self._labels:
                review.account.keep_class(name)
                continue
            if review.account.says_of(file, own_name) is False:
                continue
            kept: Any = None
            if review.account.says_of(file, own_name) is None and review.account.withholds(
                own_name, name
            ):
                continue
            if len(key) > STRING:
                review.account.leave_out("*", name[:STRING], f"has a name of {len(key)} characters")
                continue
            if isinstance(value, np.ndarray):
                kept = value if review.array(file, own_name, value, {count}) else None
            elif isinstance(value, list) and len(value) == count:
                each_image = each_image or [review.left_of(file) for _ in range(count)]
                pairs = zip(value, each_image, strict=True)
                kept = [review.row(name, each, own, alone=True) for each, own in pairs]
            else:
                kept = review.content(name, value)
            if kept is not None:
                found[key] = kept
        return {key: found[key] for key in content if key in found}

    def reviewed_own(self, name: str, review: Review) -> bytes | None:
        """Return the names of classes, and what else is harmless, written anew."""
        content = _batch(self.place, name)
        found = {}
        for key, value in content.items():
            own_name = key.decode("utf-8", "backslashreplace")
            path = f"{name}/{own_name}"
            if key in (b"label_names", b"fine_label_names", b"coarse_label_names"):
                review.account.keep_class(path)
                count = len(value) if isinstance(value, list) else 1
                found[key] = review.row(path, value, allowance_of_classes(count))
            elif review.account.says_of(name, own_name) is False:
                continue
            elif len(key) > STRING:
                review.account.leave_out("*", path[:STRING], f"has a name of {len(key)} characters")
            else:
                found[key] = review.content(path, value)
        return pickle.dumps(found, protocol=2)

    def arrays(self, file: str) -> dict[str, Image]:
        batch = self.content(file)
        rows, labels = batch.get(b"data"), batch.get(self._labels)
        if not _is_cifar_batch(rows, labels, len(self._class_names)):
            msg = f"{self.place}/{file} does not have the layout of a CIFAR batch"
            raise FormatError(msg)
        assert rows is not None
        return {"data": rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)}

    def classes(self, file: str, array: str) -> list[str]:
        names = self._class_names
        return [names[label] for label in self.content(file)[self._labels]]

    def sidecars(self, file: str, array: str) -> dict[int, bytes]:
        given = self.content(file).get(SIDECARS.encode(), {})
        if not isinstance(given, dict) or not all(
            type(row) is int and isinstance(data, bytes) for row, data in given.items()
        ):
            msg = f"{self.place}/{file} has sidecars of an unknown layout"
            raise FormatError(msg)
        return given

    @cached_property
    def _class_names(self) -> list[str]:
        content = _batch(self.place, self._meta)
        names = content.get(b"label_names", content.get(b"fine_label_names"))
        listed = names if isinstance(names, list) else []
        try:
            classes = [n.decode() if isinstance(n, bytes) else n for n in listed]
            fit = all(isinstance(n, str) and n.encode() and is_folder_name(n) for n in classes)
        except UnicodeError:
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


def _batch(place: Place, name: str) -> dict[bytes, Any]:
    with place.open(name) as file:
        return _batch_in(file, f"{place}/{name}")


def _batch_in(file: BinaryIO, path: str) -> dict[bytes, Any]:
    content = load_pickle(file, path)
    if not isinstance(content, dict):
        msg = f"{path} is not a CIFAR batch"
        raise FormatError(msg)
    return {
        key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass"): value
        for key, value in content.items()
    }
