"""Settings of a run: how it goes about its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from dsguard.bulk.engines import Engine
from dsguard.bulk.selection import Selection
from dsguard.errors import InputError
from dsguard.formats.disclosure import Disclosure

SHARD_SIZE = 5000
"""Images of one shard, where the files of the dataset do not say otherwise."""


class SettingsOptions(TypedDict, total=False):
    """The settings by name, as functions take them that make `Settings` of them."""

    out_format: str
    image_format: str
    shard_size: int
    selection: Selection
    engine: str | Engine
    workers: int | None
    overwrite: bool
    most_errors: int | None
    png_level: int
    publish: Sequence[str]
    drop: Sequence[str]
    only_named: bool
    croissant: bool
    access: str


@dataclass(frozen=True)
class Settings:
    """How a run goes about its work.

    Attributes
    ----------
    out_format : str
        Format of what is written; ``"auto"`` for that of the source.
    image_format : {"png", "tiff"}
    png_level : {0, 1}
        Effort of compression; 0 is fastest and a third larger.
    shard_size : int
        Images of one shard; files of tar shards and row groups of Parquet are not cut.
    selection : Selection
    engine : {"local", "ray"} or callable
        What works on the shards; a callable takes specs and `workers`, and yields the result that
        `process_shard` returns for each, in any order.
    workers : int or None
        Processes; None does everything in this one, on all cores.
    overwrite : bool
        Begin anew, over what is in the destination.
    most_errors : int or None
        Stop when more images than this have failed.
    publish, drop : sequence of str
        Patterns of what lies beside images, as `Disclosure` takes them: protection publishes the
        first whatever they hold, and leaves out the second without a word.
    only_named : bool
        Whether protection publishes nothing beside images, their names and classes but what
        `publish` names; all else is sealed, or left out.
    croissant : bool
        Whether protection writes a Croissant document (``croissant.json``) where the source has
        none.
    access : str
        Where the key is to be had, for that document: a text, or the address of a platform. It is
        written then in any case.

    Examples
    --------
    >>> from dsguard.bulk import Settings
    >>> Settings(workers=2, shard_size=100).shard_size
    100
    """

    out_format: str = "auto"
    image_format: str = "png"
    shard_size: int = SHARD_SIZE
    selection: Selection = field(default_factory=Selection)
    engine: str | Engine = "local"
    workers: int | None = None
    overwrite: bool = False
    most_errors: int | None = None
    png_level: int = 1
    publish: Sequence[str] = ()
    drop: Sequence[str] = ()
    only_named: bool = False
    croissant: bool = False
    access: str = ""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("shard_size", self.shard_size, 1),
            ("workers", 1 if self.workers is None else self.workers, 1),
            ("png_level", self.png_level, 0),
        ):
            if type(value) is not int or value < least or (name == "png_level" and value > 1):
                msg = f"{name} is a whole number, {least} or more, not {value!r}"
                raise InputError(msg)
        for patterns in (self.publish, self.drop):
            if isinstance(patterns, str):
                msg = f"publish and drop are lists or tuples of patterns, not {patterns!r}"
                raise InputError(msg)
        self.disclosure()

    def disclosure(self) -> Disclosure:
        """Return the decisions of the owner on what lies beside images."""
        return Disclosure(tuple(self.publish), tuple(self.drop), self.only_named)
