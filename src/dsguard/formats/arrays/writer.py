"""Files of arrays, written."""

from __future__ import annotations

import io
import math
import os
import pickle
import secrets
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dsguard.errors import DsguardError, InputError
from dsguard.formats.arrays.cifar import CifarSource
from dsguard.formats.arrays.npy import Npz, SealedArrays
from dsguard.formats.arrays.reader import SIDECARS, ArrayRows, ArraySource
from dsguard.formats.arrays.sealed_pickle import SealedPickle, cut_of, entries_of, is_same, text_of
from dsguard.formats.base import Part, Rows, Source
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.sealing import numbered
from dsguard.formats.sink import Output, Results, Sink


class ArraySink(Sink):
    """A file of arrays like that of the source, with other pixels."""

    takes_files = False

    @staticmethod
    def file_of(part: Part, number: int) -> str:
        return part.file

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        assert isinstance(source, ArraySource)
        self._source: ArraySource = source
        self._arrays: dict[str, npt.NDArray[np.uint8]] = {}
        self._sidecars: dict[str, dict[int, bytes]] = {}
        self._done: dict[str, int] = {}
        self._scratch = f"{number:05d}-{secrets.token_hex(8)}.npy"

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        assert isinstance(rows.record, ArrayRows)
        array, start = rows.record.array, rows.record.start
        out = self._array(array)
        for row, image in results.images.items():
            out[start + row] = image.reshape(out.shape[1:])
        for row, data in results.sidecars.items():
            self._sidecars.setdefault(array, {})[start + row] = data
        self._done[array] = self._done.get(array, 0) + len(results.images)
        return {}

    def _array(self, array: str) -> npt.NDArray[np.uint8]:
        """Return what takes the images; zero, as failed images stay."""
        if array not in self._arrays:
            given = self._source.arrays(self.part.file)[array]
            made: npt.NDArray[np.uint8]
            if self.part.file.endswith(".npy"):
                made = _mapped(self.output.place.new_file(self._scratch), given.shape)
            else:
                made = np.zeros(given.shape, np.uint8)
            self._arrays[array] = made
        return self._arrays[array]

    def close(self) -> None:
        if not any(self._done.values()):
            self.abort()
            return
        place, file = self.output.place, self.part.file
        if isinstance(self._source, CifarSource):
            place.write(file, self._pickled())
        elif file.endswith(".npy"):
            for array in self._arrays.values():
                assert isinstance(array, np.memmap)
                array.flush()
            self._arrays.clear()
            place.take(self._scratch, file)
            if self._sidecars:
                place.write(file + ".sidecars.npz", _zipped(self._named_sidecars()))
                self.also.append(file + ".sidecars.npz")
        else:
            place.write(file, _zipped(self._content(self._arrays) | self._named_sidecars()))

    def can_seal(self) -> bool:
        return self.part.file.endswith(".npz") or isinstance(self._source, CifarSource)

    def _content(self, images: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return what the file holds, with these images, and beside them what is published."""
        given = self._source.content(self.part.file)
        beside = [name for name in given if name not in images]
        names = [name for name in beside if not _is_sidecar(name)]
        if self.review is None:
            readable = ((name, self._readable(given, name)) for name in names)
            others = {name: array for name, array in readable if array is not None}
        else:
            others = self._source.reviewed_others(self.part.file, names, self.review)
            self._leave_out_sidecars([name for name in beside if _is_sidecar(name)])
            self.published |= {name if isinstance(name, str) else text_of(name) for name in others}
        if self.sealer is not None and isinstance(given, Npz):
            self._seal_entries(given, [name for name in beside if name not in others])
        both = {**others, **images}
        published = {name: both[name] for name in given if name in both}
        sealed = self.unsealed
        if isinstance(sealed, SealedArrays) and not sealed.is_strange:
            return sealed.among(published)
        return published

    def _readable(self, given: Mapping[Any, Any], name: Any) -> Any:
        """Return an array, None where it is damaged: then it is named, and the others go on."""
        try:
            return given[name]
        except InputError as error:
            self.refuse(f"{self.part.file}/{name}", error.message)
            return None

    def _leave_out_sidecars(self, names: list[Any]) -> None:
        """Name what would be taken for the sidecars of protected images."""
        assert self.review is not None
        for name in names:
            text = name if isinstance(name, str) else name.decode("latin-1")
            reason = "has the name of a sidecar of dsguard; rename it"
            kind, path = text.rpartition("/")[2], f"{self.part.file}/{text}"
            if self.review.account.says(path) is not False:
                self.review.account.leave_out(kind, path, reason, sealable=isinstance(name, str))

    def _seal_entries(self, given: Npz, names: list[str]) -> None:
        """Give away the arrays of a file that are not published."""
        assert self.review is not None
        places = {name: place for place, name in enumerate(given)}
        for name in names:
            try:
                self._seal_entry(given, name, places[name])
            except InputError as error:  # it is damaged: the others go on
                path = f"{self.part.file}/{name}"
                self.review.account.leave_out_once(path, error.message, sealable=False)

    def _seal_entry(self, given: Npz, name: str, place: int) -> None:
        """Give away an array that is not published."""
        assert self.review is not None
        path, last = f"{self.part.file}/{name}", name.rpartition("/")[2]
        if reason := given.reason_against(name):
            self.review.account.leave_out(last, path, reason, sealable=False)
            return
        array = given[name] if given.header(name).dtype.kind in "SUV" else None
        if array is not None and self.review.drops.has_dropped(path, array, told=False):
            return  # which is named
        data = given.raw(name)
        if self.review.drops.holds_key(data):
            self.review.account.leave_out(last, path, A_KEY)
        elif self.review.account.says_of(self.part.file, name) is not False:
            self.give(numbered(place, name), path, data)

    def _named_sidecars(self) -> dict[str, npt.NDArray[np.uint8]]:
        return {
            f"{SIDECARS}/{array}/{row}": np.frombuffer(data, np.uint8)
            for array, own in self._sidecars.items()
            for row, data in own.items()
        }

    def _pickled(self) -> bytes:
        planes = self._arrays["data"].transpose(0, 3, 1, 2)
        pixels = np.ascontiguousarray(planes).reshape(len(planes), -1)
        if isinstance(self.unsealed, SealedPickle) and not self.unsealed.is_strange:
            whole = self.unsealed.with_pixels(pixels)
            if whole is not None:
                return whole
        content = self._content({b"data": pixels})
        if self.sealer is not None:
            self._seal_pickle(content)
        if self._sidecars:
            content[SIDECARS.encode()] = self._sidecars["data"]
        return pickle.dumps(content, protocol=2)

    def _seal_pickle(self, published: Mapping[bytes, Any]) -> None:
        """Give away a pickle without its pixels."""
        source, file = self._source, self.part.file
        assert isinstance(source, CifarSource)
        assert self.review is not None
        cut = cut_of(source.raw(file), file, source.labels_key, self.review)
        if cut is None:
            reason = "cannot be told from its pixels, or has the key of a dataset"
            self.review.account.leave_out(file, file, reason, sealable=False)
            return
        given = source.content(file)
        changed = [key for key in given if key != b"data" and not is_same(given, published, key)]
        for entry, data, count in entries_of(cut, list(map(text_of, changed))):
            self.give(entry, file, data, count)

    def abort(self) -> None:
        self._arrays.clear()
        self.output.place.drop(self._scratch)


def _mapped(file: BinaryIO, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an array of zeros that is the content of a new ``.npy`` file."""
    with file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        if hasattr(os, "posix_fallocate"):  # a full disk is told now, not by a signal later
            os.posix_fallocate(file.fileno(), 0, file.tell() + math.prod(shape))
        return np.memmap(file, np.uint8, "r+", file.tell(), shape)


def _is_sidecar(name: str | bytes) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return text.startswith(SIDECARS)


def _zipped(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Return an ``.npz`` file: that of `numpy.savez`, but for its times, which are always one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
