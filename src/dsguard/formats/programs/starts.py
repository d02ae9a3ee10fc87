"""Starts of files: whether a pickle begins so, or an array of Python objects, which holds one."""

from __future__ import annotations

import io
import pickletools
import re
from functools import lru_cache

from dsguard.formats.arrays.npy import read_header
from dsguard.formats.programs.pickle_steps import LONGEST, calls
from dsguard.formats.programs.unpacked import SEEN

_ARRAY = b"\x93NUMPY"
_STEPS = "".join(step.code for step in pickletools.opcodes).encode("latin-1")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05](?:[" + re.escape(_STEPS) + rb"]|\Z)")


def begins_pickle(start: bytes, longest: int = LONGEST, most: int = SEEN) -> bool | None:
    """Tell whether a pickle begins so; None where that is not seen in so many bytes."""
    if _PROTOCOL.match(start) or has_objects(start):
        return True
    return calls(start, is_cut=len(start) >= most, longest=longest)


def has_objects(start: bytes) -> bool:
    """Tell whether a file is an array of Python objects, or one that cannot be read."""
    return is_array(start) and _tells_of_objects(start[: start.find(b"\n", 12) + 1])


def is_array(start: bytes) -> bool:
    """Tell whether a file begins as NumPy stores arrays."""
    return start.startswith(_ARRAY)


@lru_cache(maxsize=256)  # arrays of a shard have few headers, and to parse one takes long
def _tells_of_objects(header: bytes) -> bool:
    """Tell whether a header, which a line ends with, is of objects, or cannot be read."""
    try:
        read_header(io.BytesIO(header))
    except Exception:  # NumPy and Python's parser raise nearly anything
        return True
    return False


def could_be_steps(start: bytes) -> bool:
    """Tell whether NumPy, which unpickles what is no array, may do so with a file."""
    return start != b"" and start[0] in _STEPS and not is_array(start)
