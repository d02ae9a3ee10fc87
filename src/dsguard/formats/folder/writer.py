"""Folders of image files, written."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial

from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import Extras, Part, Record, Rows, Source
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.images import with_suffix
from dsguard.formats.names import shown
from dsguard.formats.places.spelling import Apart, alike
from dsguard.formats.sink import Output, Results, Sink
from dsguard.formats.webdataset.reader import sample_of

_OWN_FAULTS = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
"""What can be wrong with the name of one image, and with no other."""


def error_of_writing(write: Callable[[], object]) -> DsguardError | None:
    """Write a file, or return why it cannot be written under its name.

    Raises
    ------
    OSError
        If no other could be written either: a full disk will be full for the next one as well.
    """
    try:
        write()
    except DsguardError as error:  # of a name, or of a link where it was to go
        return error.to_keep()
    except OSError as error:
        if error.errno not in _OWN_FAULTS:
            raise
        return InputError(f"cannot be written: {error.strerror}")
    return None


class FolderSink(Sink):
    """Each image is a file; what belongs to it lies beside it, under its name.

    Of a WebDataset sample that is the name of the sample: it may have several images.
    """

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._names: set[str] = set()
        self._taken: set[str] = set()  # by what belongs to images
        self._apart = Apart(output.place)

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(self.source, TreeSource)  # whose text files are copied as they are

    def files(self, rows: Rows, names: dict[int, str], results: Results) -> set[str]:
        beside = {
            file
            for row, name in names.items()
            for file, _ in self._beside(name, results.extras.get(row, {}))
        }
        return super().files(rows, names, results) | set(names.values()) | beside

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        errors: dict[int, DsguardError] = {}
        written: dict[str, bytes] = {}
        for row, file in results.files.items():
            if names[row] in self._names:
                errors[row] = InputError(
                    f"another image comes out as {shown(names[row])}; rename it"
                )
                continue
            if other := self._apart.other(names[row]):
                errors[row] = alike(other, names[row], self.output.place)
                continue
            self._names.add(names[row])
            image = partial(self._write_image, row, names[row], file, results, written)
            if error := error_of_writing(image):
                errors[row] = error
        self._write_of_no_image(rows)
        return errors

    def _write_image(
        self, row: int, image: str, file: bytes, results: Results, written: dict[str, bytes]
    ) -> None:
        """Write an image, after what belongs to it."""
        own = list(self._beside(image, results.extras.get(row, {})))
        for name, data in own:
            self._check(name)
            if written.get(name, data) != data:
                msg = f"a text of another image comes out as {shown(name)} as well; rename one"
                raise InputError(msg)
        for name, data in own:
            if written.get(name) is not data:  # of a sample with several images
                self.write_beside(name, data)
                written[name] = data
            results.beside.setdefault(row, []).append(name)
        self.output.place.write(image, file)

    def _check(self, name: str) -> None:
        """Refuse a file that belongs to an image, where a text of no image has its name."""
        if name in self.also:
            msg = f"a text that belongs to no image is called {shown(name)} as well; rename it"
            raise InputError(msg)
        if other := self._apart.other(name):
            raise alike(other, name, self.output.place)
        self._taken.add(name)

    def _write_of_no_image(self, rows: Rows) -> None:
        for name, data in rows.record.of_no_image() if rows.record else ():
            if name in self._taken | self._names:
                self.refuse(name)
            elif other := self._apart.other(name):
                self.refuse(name, alike(other, name, self.output.place).message)
            else:
                self.write_beside(name, data)
                self.also.append(name)

    def can_seal(self) -> bool:
        return not isinstance(self.source, TreeSource)  # whose files are sealed with those of all

    def seal(
        self, whole: Record | None, rows: Rows, names: dict[int, str], results: Results
    ) -> None:
        assert self.review is not None
        given: dict[str, bytes] = {}
        for row in sorted(results.files):
            own, published = results.whole.get(row, {}), results.extras.get(row, {})
            stem = with_suffix(rows.names[row], "")
            left = {suffix: data for _, suffix, data in self.changed(stem, own, published)}
            for name, data in self._beside(names[row], left):
                if given.get(name) != data:  # of a sample with several images
                    self.give(name, name, data)
                    given[name] = data
        published_files = dict(rows.record.of_no_image()) if rows.record else {}
        for name, data in whole.of_no_image() if whole else ():
            kept = None
            if published_files.get(name) != data:
                kept = self.review.drops.loose_to_seal(name, data)
            if kept is not None and published_files.get(name) != kept:
                self.give(name, name, kept)

    def _beside(self, name: str, extras: Extras) -> Iterator[tuple[str, bytes]]:
        """Yield the files of what belongs to an image."""
        webdataset = self.source.kind == "webdataset"
        stem = sample_of(name) if webdataset else with_suffix(name, "")
        for suffix, data in extras.items():
            yield f"{stem}.{suffix}" if suffix else stem, data
