"""What a run keeps of images where that is not told: as the run that it goes on with, else all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dsguard.bulk.journal import Journal
from dsguard.choices import KEPT
from dsguard.formats.places import place_of

if TYPE_CHECKING:
    from dsguard.codecs import Codec


def keep_of(
    asked: str | None,
    destination: str | os.PathLike[str] | None,
    codec: Codec,
    *,
    overwrite: bool = False,
) -> str:
    """Return what is kept of images: as asked, else as the earlier run of a destination has it.

    Parameters
    ----------
    asked : {"auto", "files", "pixels"} or None
    destination : path-like or URL, optional
    codec : Codec
        One that carries no files keeps pixels.
    overwrite : bool
        Whether the earlier run does not count.
    """
    if asked is not None:
        return asked
    if not codec.carries_files:
        return "pixels"
    if destination is None or overwrite:
        return KEPT[0]
    earlier = Journal.of(place_of(destination)).settings()
    told = (earlier or {}).get("keep")
    return told if told in KEPT else KEPT[0]
