"""WebDataset shards, written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import Part, Record, Rows, Source, class_of
from dsguard.formats.images import LOSSLESS_FORMATS, original_name, suffix_of, with_suffix
from dsguard.formats.names import CLASS_NAME, LONGEST_PART, Taken, fault_of
from dsguard.formats.sealing import marked
from dsguard.formats.sink import FileSink, Output, Results
from dsguard.formats.tar import END, packed
from dsguard.formats.webdataset.reader import Kept, Samples, as_class
from dsguard.formats.webdataset.sealed import changed


def class_number(name: str, numbers: Mapping[str, int]) -> bytes | None:
    """Return the content of ``cls`` for a class; None where it has no number."""
    if name in numbers:
        return b"%d" % numbers[name]
    return name.encode() if name.isascii() and name.isdigit() else None


class TarSink(FileSink):
    """A WebDataset shard: images and what belongs to them, side by side."""

    suffix = ".tar"

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._names, self._keys = Taken(), Taken()
        self._last = Samples()

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(rows.record, Samples)

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        errors: dict[int, DsguardError] = {}
        record = rows.record
        if not isinstance(record, Samples):
            self._write_of_no_image(rows)
            record = self._samples(rows, names, results, errors)
        self._last = record
        images = [kept for kept in record.members if kept.data is None]
        good = {kept.sample for kept in images if kept.row in results.files}
        lost = {kept.sample for kept in images} - good
        usual = LOSSLESS_FORMATS[self.output.image_format]
        given_names = {kept.name for kept in images}
        usual_names = Counter(with_suffix(name, usual) for name in given_names)
        named: dict[int, str] = {}
        for kept in images:
            if kept.row in results.files:
                original = results.originals.get(kept.row)
                suffix, name = usual, with_suffix(kept.name, usual)
                several = usual_names[name] > 1  # a.jpg and a.png of one sample
                if original is not None and not fault_of(original):
                    name = original_name(kept.name, original)
                    suffix, several = suffix_of(name), name in given_names
                if several and name != kept.name:
                    name = kept.name + suffix
                named[kept.row] = self._names.free(name, f".{{}}{suffix}")
        taken, pieces = set(named.values()), list[bytes]()
        for kept in record.members:
            if kept.data is None and kept.row in named:
                pieces += packed(named[kept.row], results.files[kept.row])
            elif kept.data is not None and kept.name in taken:
                self.refuse(f"{record.shard}/{kept.name}" if record.shard else kept.name)
            elif kept.data is not None and kept.sample not in lost:
                pieces += packed(kept.name, kept.data)
        self._file.write(b"".join(pieces))
        self.is_empty = self.is_empty and not pieces
        return errors

    def seal(
        self, whole: Record | None, rows: Rows, names: dict[int, str], results: Results
    ) -> None:
        images = [kept for kept in self._last.members if kept.data is None]
        written = [kept for kept in images if kept.row in results.files]
        if isinstance(whole, Samples):
            assert self.review is not None
            good = {kept.sample for kept in written}
            for entry, name, data in changed(whole, self._last, good, self.review):
                self.give(entry, name, data)
            return
        there = {kept.name: kept.data for kept in self._last.members if kept.data is not None}
        for kept in written:
            stem = with_suffix(rows.names[kept.row], "")
            own, published = results.whole.get(kept.row, {}), results.extras.get(kept.row, {})
            for place, suffix, data in self.changed(stem, own, published):
                name = f"{kept.sample}.{suffix}"
                self.give(marked(place, name, there.get(name)), f"{stem}.{suffix}", data)

    def _class(self, key: str, name: str) -> dict[str, bytes]:
        """Return the class as fields: ``cls`` is a number, which readers take it for."""
        if not name:  # where it lies in a folder, that is not to be taken for its class
            return {CLASS_NAME: b""} if class_of(key) else {}
        named = {CLASS_NAME: name.encode("utf-8", "surrogateescape")}
        number = class_number(name, self.numbers)
        if number is None:
            return named
        return {"cls": number, **named} if name in self.numbers else {"cls": number}

    def _samples(
        self,
        rows: Rows,
        names: dict[int, str],
        results: Results,
        errors: dict[int, DsguardError],
    ) -> Samples:
        """Return rows of another format as samples: keys are names, classes are in ``cls``.

        A row of which a member would have too long a name goes to `errors`.
        """
        members: list[Kept] = []
        for row in range(len(rows.names)):
            if row not in names:
                continue
            path = PurePosixPath(names[row])
            suffix = suffix_of(path.name)
            plain = str(path.with_name(path.name.removesuffix(suffix).replace(".", "_")))
            key = self._keys.free(plain, "_{}")
            extras = results.extras.get(row, {})
            if as_class(extras) not in (None, rows.classes[row]):  # it was moved to another folder
                extras = {n: data for n, data in extras.items() if n not in ("cls", CLASS_NAME)}
            fields = self._class(key, rows.classes[row]) | extras
            longest = max((suffix, *(f".{field}" for field in fields)), key=len)
            if len(os.fsencode(PurePosixPath(key).name + longest)) > LONGEST_PART:
                errors[row] = InputError(
                    f"its name is too long for {longest} behind it; shorten it"
                )
                continue
            members.append(Kept(key, key + suffix, None, row))
            members += [Kept(key, f"{key}.{field}", data) for field, data in fields.items()]
        return Samples(members)

    def close(self) -> None:
        self._file.write(END)
        super().close()
