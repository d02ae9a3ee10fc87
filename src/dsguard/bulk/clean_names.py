"""Names of clean images by those of the published ones, sealed with what lies beside the images.

Tables that are sealed have the clean names: without these nobody could tell which image they mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from dsguard.bulk.sealed_lists import packed, unpacked
from dsguard.errors import InputError
from dsguard.formats.images import suffix_of, with_suffix
from dsguard.formats.names import fault_of

_LINE = re.compile(rb"^([^\t\n]*)\t([^\t\n]+)$", re.MULTILINE)


def packed_names(published: Mapping[str, str]) -> bytes:
    """Return the clean names of images; empty where all are those of the published ones.

    The first line has the suffix of most; the others have an image each whose name is not that of
    the published one with this suffix.

    Parameters
    ----------
    published : mapping of str to str
        By clean name, that under which an image is published.
    """
    named = {clean: name for clean, name in published.items() if not fault_of(clean)}
    if all(clean == name for clean, name in named.items()):
        return b""
    [(usual, _)] = Counter(map(suffix_of, named)).most_common(1)
    others = ((name, clean) for clean, name in named.items() if with_suffix(name, usual) != clean)
    return packed([f"\t{usual}", *(f"{name}\t{clean}" for name, clean in sorted(others))])


def clean_names(above: str, data: bytes, published: Iterable[str]) -> dict[str, str]:
    """Return by published name that which a clean image had, of those in and below a folder.

    Parameters
    ----------
    above : str
        The folder, with its slash.
    data : bytes
        As they were packed.
    published : iterable of str
        All published images.

    Raises
    ------
    InputError
        If they are damaged, or unpack to too much.
    """
    lines = unpacked(data, _LINE)
    own = dict.fromkeys(name[len(above) :] for name in published if name.startswith(above))
    known = {name: clean for name, clean in lines or () if not name or name in own}
    usual = known.pop("", "")
    if lines is None or "/" in usual or any(map(fault_of, (f"x{usual}", *known.values()))):
        msg = "has names that are damaged; get a whole copy, or restore to a folder"
        raise InputError(msg)
    return {above + name: above + (known.get(name) or with_suffix(name, usual)) for name in own}
