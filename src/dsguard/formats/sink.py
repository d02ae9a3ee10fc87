"""The contract of writers: the files of a part appear whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import Extras, Image, Part, Rows, Source
from dsguard.formats.images import encode_images
from dsguard.formats.names import shard_name
from dsguard.formats.places import Place
from dsguard.formats.programs.data import is_data
from dsguard.formats.programs.suffixes import is_loaded
from dsguard.formats.sealing import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsguard.formats.base import Record
    from dsguard.formats.review import Review
    from dsguard.formats.sealing import Sealer, Unsealed


_A_SHARD = "has a name as shards have it here, and would be read as one; rename it"
_AN_IMAGE = "has the name of an image, or of what belongs to one; rename it"


@dataclass(frozen=True)
class Output:
    """Where and how to write.

    Attributes
    ----------
    place : Place
    kind : str
        One of `OUTPUT_FORMATS`.
    image_format : str
        One of `LOSSLESS_FORMATS`.
    class_names : tuple of str
        All classes of the dataset, where they are known.
    png_level : {0, 1}
        Effort of compression; 0 stores the pixels as they are.
    """

    place: Place
    kind: str
    image_format: str = "png"
    class_names: tuple[str, ...] = ()
    png_level: int = 1


@dataclass
class Results:
    """The outcome of some rows, by row.

    Attributes
    ----------
    rows : set of int
        Those that have a result.
    sidecars : dict of int to bytes
    images : dict of int to ndarray of uint8, shape (H, W, C)
        For sinks that take arrays.
    files : dict of int to bytes
        The images as files, for sinks that take files.
    originals : dict of int to str
        Names of those that are files as they were before protection.
    extras : dict of int to Extras
        What else belongs to them, for sinks that want it.
    whole : dict of int to Extras
        The same before it was reviewed, where what does not go along is sealed.
    digests : dict of int to bytes
        Of what comes back, where it is to be compared.
    beside : dict of int to list of str
        The files that a sink has made of that.
    """

    rows: set[int] = field(default_factory=set)
    sidecars: dict[int, bytes] = field(default_factory=dict)
    images: dict[int, Image] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    originals: dict[int, str] = field(default_factory=dict)
    extras: dict[int, Extras] = field(default_factory=dict)
    whole: dict[int, Extras] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    beside: dict[int, list[str]] = field(default_factory=dict)

    def drop(self, row: int) -> None:
        """Forget a row."""
        self.rows.discard(row)
        self.sidecars.pop(row, None)
        self.images.pop(row, None)
        self.files.pop(row, None)
        self.originals.pop(row, None)
        self.extras.pop(row, None)
        self.whole.pop(row, None)


class Sink(ABC):
    """Takes the rows of one part."""

    takes_files: ClassVar[bool] = True

    suffix: ClassVar[str] = ""
    """Of the one file of a part; empty where each image has its own."""

    review: Review | None = None
    """Decides what goes along; None where everything does."""

    sealer: Sealer | None = None
    """Takes what does not go along; None where it is not kept."""

    unsealed: Unsealed | None = None
    """What was sealed beside the file of this part."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        self.output, self.source, self.part, self.number = output, source, part, number
        self.also: list[str] = []  # files that belong to no image
        self.published: set[str] = (
            set()
        )  # kinds of what its file has beside images, for all to read
        self.beside_digests: list[bytes] = []  # of the files that were written beside images
        self.refused: dict[str, DsguardError] = {}  # what lies beside images and has their names

    @classmethod
    def file_of(cls, part: Part, number: int) -> str:
        """Return the file of a part: the source's, with a number where that is cut."""
        if not cls.suffix:
            return ""
        if not part.file:
            return f"{number:05d}{cls.suffix}"
        stem = shard_name(part.file).removesuffix(".parquet")
        cut = f"-{part.start:05d}" if part.stop else ""  # the first as well: they sort in order
        name = f"{stem}{cut}{cls.suffix}"
        if is_loaded(name):  # of x.pkl.parquet: nobody would take x.pkl.tar for a shard
            return f"{stem.replace('.', '_')}{cut}{cls.suffix}"
        return name

    @abstractmethod
    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        """Write the rows that have a result, under these names; return what cannot be written."""

    def files(self, rows: Rows, names: dict[int, str], results: Results) -> set[str]:
        """Return the files that may come of rows that are to be written under these names."""
        of_no_image = {name for name, _ in rows.record.of_no_image()} if rows.record else set()
        file = self.file_of(self.part, self.number)
        return of_no_image | ({file, f"{file}.sidecars.npz"} if file else set())

    def wants_extras(self, rows: Rows) -> bool:
        """Tell whether it writes what else belongs to rows, and does not have it from them."""
        return False

    def can_seal(self) -> bool:
        """Tell whether `seal` gives away all that does not go along."""
        return True

    def seal(  # noqa: B027 - some have nothing to give
        self, whole: Record | None, rows: Rows, names: dict[int, str], results: Results
    ) -> None:
        """Give to `sealer` what does not go along with rows that were written.

        Parameters
        ----------
        whole : Record or None
            That of the rows before it was reviewed.
        rows, names, results
            As they were written.
        """

    def give(self, entry: str, name: str, data: bytes, count: int = 1) -> None:
        """Give something to `sealer`: under the name of an entry, and its own for the account."""
        assert self.sealer is not None
        assert self.review is not None
        if reason := self.sealer.add(entry, data, count):
            self.review.account.leave_out(name.rpartition("/")[2], name, reason, sealable=False)

    def changed(
        self, stem: str, whole: Extras, published: Extras
    ) -> Iterator[tuple[int, str, bytes]]:
        """Yield the fields of an image that do not go along as they are, and their places.

        Those that could be programs are among them: published ones are not restored.
        """
        assert self.review is not None
        for number, (suffix, data) in enumerate(whole.items(), 1):
            kept = self.review.drops.to_seal(f"{stem}.{suffix}", data)
            if kept is not None and (
                published.get(suffix) != kept or not is_data(f"{stem}.{suffix}", kept)
            ):
                yield number, suffix, kept

    def close(self) -> None:  # noqa: B027 - some have nothing to do
        """Let the files appear."""

    def abort(self) -> None:  # noqa: B027
        """Leave nothing behind."""

    def _write_of_no_image(self, rows: Rows) -> None:
        """Write the texts of a shard that belong to no image."""
        for name, data in rows.record.of_no_image() if rows.record else ():
            if self.suffix and name.endswith(self.suffix):  # it would be read as a shard
                self.refuse(name, _A_SHARD)
                continue
            self.write_beside(name, data)
            self.also.append(name)

    def write_beside(self, name: str, data: bytes) -> None:
        """Write a file that lies beside images."""
        self.output.place.write(name, data)
        self.beside_digests.append(digest_of_file(name, data))

    def refuse(self, name: str, reason: str = _AN_IMAGE) -> None:
        """Note that something beside images cannot be written, as a rule for its name."""
        if self.review is None:
            self.refused[name] = InputError(reason)
        elif self.review.account.says(name) is not False:
            self.review.account.leave_out(name.rpartition("/")[2], name, reason, sealable=False)

    def encoded(self, images: Image, sidecars: dict[int, bytes]) -> list[bytes]:
        """Return images as files."""
        return encode_images(images, self.output.image_format, sidecars, self.output.png_level)


class FileSink(Sink):
    """One file for the whole part, made in the scratch folder."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._scratch = f"{number:05d}-{secrets.token_hex(8)}"
        self._file: BinaryIO = output.place.new_file(self._scratch)
        self.is_empty = True
        self.numbers = {name: n for n, name in enumerate(output.class_names)}

    def close(self) -> None:
        self._file.close()
        if self.is_empty:
            self.output.place.drop(self._scratch)
        else:
            self.output.place.take(self._scratch, self.file_of(self.part, self.number))

    def abort(self) -> None:
        try:
            with contextlib.suppress(OSError):  # a full disk is full still
                self._file.close()
        finally:
            self.output.place.drop(self._scratch)
