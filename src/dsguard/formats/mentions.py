"""Whether a file could have in it what a pattern names, where no reader can tell.

It may find too much, and leaves out what it finds: letters of a name in bytes, words that stand
where names of values do in texts, and all that is packed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from dsguard.formats.beside import is_text
from dsguard.formats.images import is_image_name

_FILMS = frozenset({"aac", "avi", "flac", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg",
                    "ogg", "opus", "wav", "webm"})  # fmt: skip
_PACKED_SUFFIXES = frozenset({"7z", "age", "br", "bz2", "docx", "enc", "gpg", "gz", "h5", "hdf5",
                    "lz", "lz4", "lzma", "lzo", "mat", "ods", "orc", "parquet", "pdf", "pgp", "rar",
                    "rds", "snappy", "tar", "tgz", "xlsx", "xz", "z", "zip", "zst"})  # fmt: skip
_OTHER_FILES = frozenset({"arrow", "bin", "db", "doc", "feather", "npy", "npz", "pickle", "pkl",
                    "pt", "pth", "sqlite", "xls"})  # fmt: skip
_PACKED = (
    b"\x1f\x8b", b"\x1f\x9d", b"PK", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf",
    b"Rar!", b"\x04\x22\x4d\x18", b"\xff\x06\0\0sNaPpY", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda",
    b"PAR1", b"\x89HDF", b"MATLAB", b"%PDF", b"ARROW1", b"FEA1", b"ORC", b"Obj\x01",
)  # fmt: skip
"""What files begin with in which names or values may be packed."""
_NUMBERS = re.compile(rb"\x93NUMPY.{4,6}\{'descr': '[<>=|][biufcmM]", re.DOTALL)
_TAR, _TAR_AT = b"ustar", 257

_WILD = re.compile(r"\[!?\]?[^\]]*\]|[*?/]")  # of a pattern
_SPELLED = re.compile(r"[\"'\\&<>\x00-\x1f]+")  # which formats write in ways of their own
_ESCAPES = (re.compile(rb"\\\0{0,3}[uUxN]"), re.compile(rb"&\0{0,3}#"))  # of any letter
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")

_LONGEST = 256  # characters of a name
_NAMES = tuple(
    re.compile(pattern % _LONGEST)
    for pattern in (
        r"""(?<![^\n:=;,&?"'`{}\[\]()<>|])([^\n:=;,&?"'`{}\[\]()<>|]{1,%d})["'`\])]{0,2}\s{0,64}[:=]""",
        r'"([^"\n]{1,%d})"',
        r"'([^'\n]{1,%d})'",
        r"</?([^\s<>/]{1,%d})",
        r">([^<>\n]{1,%d})(?=<)",
        r"[|\t]([^|\t\n]{1,%d})(?=[|\t\n])",
        r"(?m:^)\s{0,64}\[{1,2}([^\[\]\n]{1,%d})\]",
    )
)
"""Where texts have names: before a colon, in quotes, as a tag or in one, in a table, as a title."""
_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2})")
_AROUND = " \t\r-+*?#%/!.\"'`\ufeff"
_CELLS = re.compile(r"[,;|\t]")


def rests_of(pattern: str, name: str, *, sure: bool = False) -> Iterator[str]:
    """Yield what of a pattern is held against names within a file; a star may stand for slashes.

    Parameters
    ----------
    pattern, name : str
    sure : bool
        Whether to pass over patterns that seem to name whole files, such as ``*.npy``.
    """
    is_of_files = sure and not pattern.startswith(f"{name}/") and _names_files(pattern)
    if is_of_files:
        return
    if "/" not in pattern:
        yield pattern
    for n, sign in enumerate(pattern) if "/" in pattern else ():
        if sign in "/*" and fnmatchcase(f"{name}/", pattern[: n + 1]):
            yield pattern[n + (sign == "/") :]


def _names_files(pattern: str) -> bool:
    suffix = pattern.rpartition("/")[2].rpartition(".")[2].lower()
    is_known = suffix in _PACKED_SUFFIXES | _FILMS | _OTHER_FILES
    name = f"x.{suffix}"
    return "." in pattern and (is_known or is_text(name) or is_image_name(name, of_any_kind=True))


def has_letters(data: bytes, rests: Collection[str]) -> bool:
    """Tell whether the letters of a name that is like one of `rests` are in some bytes."""
    return any(all(any(map(data.__contains__, n)) for n in _forms(rest)) for rest in rests)


def has_escapes(data: bytes) -> bool:
    """Tell whether a text writes some letters as numbers: they could be any."""
    return any(each.search(data) for each in _ESCAPES)


@lru_cache(maxsize=1 << 10)
def _forms(rest: str) -> tuple[tuple[bytes, ...], ...]:
    """Return the pieces of a pattern between its wildcards, each as it is encoded."""
    found = []
    for piece in filter(None, _SPELLED.split(_WILD.sub("\0", rest))):
        forms = dict[bytes, None]()
        for encoding in _ENCODINGS:
            with contextlib.suppress(UnicodeEncodeError):
                form = piece.encode(encoding)
                forms |= dict.fromkeys((form, form.hex().encode(), form.hex().upper().encode()))
        found.append(tuple(forms))
    return tuple(found)


def is_packed(name: str, data: bytes) -> bool:
    """Tell whether names in a file cannot be seen in its bytes, as it begins or is called."""
    suffix = name.rpartition(".")[2].lower()
    is_tar = data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR
    return suffix in _PACKED_SUFFIXES or is_tar or data.startswith(_PACKED)


def has_no_names(name: str, data: bytes) -> bool:
    """Tell whether a file has nothing with a name in it: images, films, sounds, plain arrays."""
    is_film = name.rpartition(".")[2].lower() in _FILMS
    return is_film or is_image_name(name, of_any_kind=True) or bool(_NUMBERS.match(data))


def names_in(text: str) -> Iterator[str]:
    """Yield the words of a text that may be names of values; the same one more than once."""
    for pattern in _NAMES:
        for match in pattern.finditer(text):
            yield from _spellings(match[1])
    lines = (line for line in text.splitlines() if line.strip())
    first = next(lines, "")
    if next(lines, None) is not None:  # it may be the head of a table
        for cell in _CELLS.split(first):
            yield from _spellings(cell)
        yield from first.split()


def _spellings(found: str) -> Iterator[str]:
    """Yield what a name may be, of some words: all of them, the last, a part of a dotted one."""
    if _ESCAPED.search(found):
        found = _ESCAPED.sub(lambda each: chr(int(each[0][2:], 16)), found)
    whole = found.strip(_AROUND)
    yield found
    yield whole
    last = whole.rpartition(" ")[2].strip(_AROUND)
    yield last
    for sign in ".:" if whole else "":
        yield from last.split(sign)
