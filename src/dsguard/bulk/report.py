"""The report of a run: what became of a dataset."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsguard.errors import DsguardError
from dsguard.formats.disclosure import LeftOut, add_up

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardResult

_LISTED = 10_000


@dataclass
class Report:
    """The outcome of a run: counts, failures, things left out.

    Attributes
    ----------
    done : int
        Images written, or found intact.
    failed : int
        Images without a result.
    sidecars : int
        Images that could not hold their payload; it is beside the pixels, in the same file. Of
        shards that an earlier run had done they are not counted.
    failures : dict of str to DsguardError
        By name, why; the first 10,000. The manifest has all.
    kinds : Counter of type
        How many images failed with each class of error.
    broken : int
        How many of the failures are files that hold images, of which more may be lost.
    lost : int
        Images that the manifest of the source lists, and whose files are not there. Only tasks that
        read all of a dataset and write nothing look for them.
    unfinished : bool
        Whether the run that writes the source is not at its end: images are still to come.
    journal_damaged : bool
        Whether the journal beside the source cannot tell all that it had.
    met : set of str
        Patterns of what is dropped that something was like.
    unmatched_drop : list of str
        Those that nothing was like: they may be spelled otherwise in the dataset.
    drop_of_images : list of str
        Those that images are like, which are published all the same.
    unmatched_choice : list of str
        Patterns of names, as ``exclude '*.gif'``, that nothing in the source is like.
    leftovers : list of str
        Journals, scratch folders and temporary files that lie in the source or in the destination
        and are no part of a dataset: remove them before it is published.
    foreign : list of str
        Files in a finished destination that no run has written.
    kinds_published : set of str
        The same of shards that are done: kinds of fields (``*.txt``), columns, arrays.
    published : list of str
        Files beside the images that a protected set has for all to read: tables, texts, labels; and
        fields of shards (``*.txt``), columns and arrays.
    metadata_dropped : int
        Images read that had a colour profile, EXIF, XMP or further pictures, which are not written;
        counted as `sidecars` are.
    as_they_are : int
        Protected images with an alpha that is not one value, or of which an eighth is published as
        it is: in margins that fill no block, or black and white that could not be changed. Counted
        as `sidecars` are.
    samples : int
        Images that show themselves, where others do not (cover samples); counted as `sidecars` are.
    not_shown : dict of str to LeftOut
        By kind, images of which a drawn picture shows, though the owner may expect another: damaged
        ones, and those that are not decoded where the cover shows something of each. Counted as
        `sidecars` are.
    bytes_read, bytes_written : int
        Of image files before and after; counted as `sidecars` are.
    shards, resumed : int
        Shards of the dataset, and those of them that earlier runs had done.
    sealed_files : int
        Files beside the images that are not published, or not as they were, and were sealed, or
        have come back.
    sealed_fields : int
        Fields of images, values of columns, and arrays beside them that were sealed, or have come
        back: what is not published of files that hold images.
    digests : Counter of bytes
        Of all images that come back, where a dataset is compared with another.
    fields : dict of str to Counter of bytes
        Of what belongs to them in shards, by kind, and of texts of no image, by name.
    facts : set of tuple of str and bytes
        What Parquet files say of themselves and of their columns: names, and digests of the values.
    compared_images : int
        Images of the other dataset that were looked for so far.
    compared : {"", "images", "contents", "all"}
        What was compared of it: images alone where fields of shards, or arrays, became a folder;
        images, fields and labels where it became shards of another format.
    different : dict of str to str
        By name, what of that other one does not come back, or changed; the first 10,000.
    differences : int
        How many there are.
    left_out : dict of str to LeftOut
        By kind, what lies beside the images and was not written: files that are not read as images
        and, of protection, whatever could hold a picture.

    Examples
    --------
    >>> from dsguard.bulk import Report
    >>> report = Report(shards=1)
    >>> report.done, report.failures
    (0, {})
    """

    done: int = 0
    failed: int = 0
    sidecars: int = 0
    failures: dict[str, DsguardError] = field(default_factory=dict)
    kinds: Counter[type[DsguardError]] = field(default_factory=Counter)
    shards: int = 0
    resumed: int = 0
    broken: int = 0
    lost: int = 0
    unfinished: bool = False
    journal_damaged: bool = False
    metadata_dropped: int = 0
    as_they_are: int = 0
    samples: int = 0
    not_shown: dict[str, LeftOut] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_written: int = 0
    sealed_files: int = 0
    sealed_fields: int = 0
    digests: Counter[bytes] = field(default_factory=Counter, repr=False)
    fields: defaultdict[str, Counter[bytes]] = field(
        default_factory=lambda: defaultdict(Counter), repr=False
    )
    facts: set[tuple[str, bytes]] = field(default_factory=set, repr=False)
    compared_images: int = 0
    compared: str = ""
    different: dict[str, str] = field(default_factory=dict)
    differences: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    met: set[str] = field(default_factory=set, repr=False)
    unmatched_drop: list[str] = field(default_factory=list)
    drop_of_images: list[str] = field(default_factory=list)
    unmatched_choice: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    kinds_published: set[str] = field(default_factory=set, repr=False)
    published: list[str] = field(default_factory=list)

    def add_broken(self, name: str, error: DsguardError) -> None:
        """Add a file that cannot be read and is no image."""
        self.failed += 1
        self.broken += 1
        self.kinds[type(error)] += 1
        self.failures[name] = error

    def add_different(self, name: str, how: str) -> None:
        """Add something that does not come back as it is."""
        self.differences += 1
        if len(self.different) < _LISTED:
            self.different[name] = how

    def add(self, result: ShardResult) -> None:
        """Add what became of a shard."""
        self.digests.update(result.digests)
        for kind, digests in result.fields.items():
            self.fields[kind].update(digests)
        self.facts |= result.facts
        self.done += result.done
        self.sidecars += result.sidecars
        self.metadata_dropped += result.metadata_dropped
        self.as_they_are += result.as_they_are
        self.samples += result.samples
        add_up(self.not_shown, result.not_shown)
        self.bytes_read += result.bytes_read
        self.bytes_written += result.bytes_written
        self.sealed_fields += result.sealed_fields
        self.failed += len(result.failures)
        self.kinds.update(type(error) for error in result.failures.values())
        self.broken += result.broken
        add_up(self.left_out, result.left_out)
        self.met |= result.met
        self.kinds_published |= result.published
        for name, error in result.failures.items():
            if len(self.failures) < _LISTED:
                self.failures[name] = error


Progress = Callable[[Report, int], None]
