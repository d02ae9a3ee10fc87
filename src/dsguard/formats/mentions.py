"""Whether a file could have in it what a pattern names, where no reader can tell.

It may find too much, and leaves out what it finds: letters of a name in bytes, words that stand
where names of values do in texts, and all that is packed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from dsguard.formats.beside import is_text
from dsguard.formats.images import is_image_name
from dsguard.formats.pairs import NAMING
from dsguard.formats.patterns import folded, letters_of, only_letters

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
_WIDE = (
    (0, "utf-16-le"), (1, "utf-16-le"), (0, "utf-16-be"), (1, "utf-16-be"),
    (0, "utf-32-le"), (0, "utf-32-be"),
)  # fmt: skip
"""From which byte on, and how, what has zeros in it may be text."""
_ORDERS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_AT_ONCE = 1 << 20  # bytes, of which folding takes many times as many
_BYTES_OF_LETTER = 64  # with what it is put together of, and twice for digits

_OF_NAMES = r"""[^\n:=;,&?"'`{}\[\]()<>|]"""
_KEYS = tuple(
    re.compile(pattern)
    for pattern in (
        # From where words begin to a colon; what is in a lookahead is not tried in other lengths.
        rf"""(?<!{_OF_NAMES})(?=({_OF_NAMES}{{1,256}}))\1["'`\])]{{0,2}}[ \t]{{0,64}}(?:[:=]|<-)""",
        r"</?([^\s<>/]{1,256})",
        r"(?m:^)[ \t]{0,64}\? ([^\n]{1,256})",
        # Of pairs: behind a key that names things.
        rf"""(?i:(?<![^\W_]){NAMING})["'`\])]{{0,2}}[ \t]{{0,64}}[:=]\s{{0,64}}["'`]?"""
        rf"""(?P<words>{_OF_NAMES}{{1,256}})""",
    )
)
"""Where any text has names of values: before a colon, as a tag, in pairs."""
_NAMES = (
    *_KEYS,
    *map(
        re.compile,
        (
            r'"([^"\n]{1,256})"',
            r"'([^'\n]{1,256})'",
            r">([^<>]{1,256})(?=<)",
            r"(?m:^|(?<=[|\t]))([^|\t\n]{1,256})(?=[|\t])",
            r"(?<=[|\t])([^|\t\n]{1,256})(?=\n)",
            r"(?m:^)[ \t]{0,64}([^\s,;][^\n,;]{0,255})[,;](?=\S)",  # prose has a blank there
            r"(?m:^)[ \t]{0,64}\[{1,2}([^\[\]\n]{1,256})\]",
            r"(?m:^)(?=([ \t]{0,64}))\1(?P<name>[^\s:=](?:[^\n:=]{0,62}?[^\s:=])?)[ \t]{1,64}"
            r"(?:--?>?|=>|[–—])[ \t]",
            r"(?m:^)([^\n]{1,256})\n[ \t]{0,64}[=~-]{3}",
            r"(?:\*\*|__)([^*_\n]{1,256})(?:\*\*|__)",
            r"\\([A-Za-z]{1,64})\{",
        ),
    ),
)
"""Where files of text have them: in quotes, within tags, in a table, as a title."""
_LISTS = re.compile(r"\[([^\[\]\n]{1,4096})\]|\(([^()\n]{1,4096})\)")
"""Lists of names: in brackets, or with commas in others."""
_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2})")
_AROUND = " \t\r-+*?#%/!.\"'`\ufeff"
_LINES = re.compile(r"\S[^\r\n]*")  # from their first letter: each sign is looked at once
_CELLS = (re.compile(r"[^,;|\t]{1,256}"), re.compile(r"\S{1,256}"))


def rests_of(pattern: str, name: str, *, sure: bool = False) -> Iterator[str]:
    """Yield what of a pattern is held against names within a file; a star may stand for slashes.

    Parameters
    ----------
    pattern, name : str
    sure : bool
        Whether to pass over patterns that seem to name whole files, such as ``*.npy``.
    """
    yield from _rests_of(pattern, name, sure=sure)
    yield from _rests_of(folded(pattern), folded(name), sure=sure)


def _rests_of(pattern: str, name: str, *, sure: bool) -> Iterator[str]:
    if sure and not pattern.startswith(f"{name}/") and _names_files(pattern):
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
    wanted = [set(_pieces(letters_of(rest))) for rest in rests]
    missing = set[str]().union(*wanted)
    for text in _readings(data, missing) if missing else ():
        missing -= {piece for piece in missing if piece in text}
        if any(missing.isdisjoint(each) for each in wanted):
            return True
    return any(missing.isdisjoint(each) for each in wanted)


def has_escapes(data: bytes) -> bool:
    """Tell whether a text writes some letters as numbers: they could be any."""
    return any(each.search(data) for each in _ESCAPES)


def _pieces(rest: str) -> Iterator[str]:
    """Yield the pieces of a pattern between its wildcards."""
    return filter(None, _SPELLED.split(_WILD.sub("\0", rest)))


def _readings(data: bytes, pieces: Collection[str]) -> Iterator[str]:
    """Yield the letters of what bytes may be as text, a part at a time.

    Parts overlap by the longest of the pieces that are looked for. Digits of less than the shortest
    are no text.
    """
    sizes, letters = sorted(map(len, pieces)), "".join(sorted(set().union(*pieces)))
    size = _AT_ONCE + _BYTES_OF_LETTER * (sizes[-1] + 1)
    of_digits = re.compile(rb"(?:[0-9a-fA-F]{2}){%d,}[0-9a-fA-F]?" % sizes[0])
    for start in range(0, len(data), _AT_ONCE):
        part = data[start : start + size]
        yield from _texts(part, letters)
        digits = of_digits.findall(part)
        for n in range(2) if digits else ():
            yield from _texts(b"\n".join(_from_digits(run[n:]) for run in digits), letters)


def _from_digits(digits: bytes) -> bytes:
    return bytes.fromhex(digits[: len(digits) & ~1].decode())


def _texts(data: bytes, letters: str) -> Iterator[str]:
    plain = data.replace(b"\0", b"")  # so UTF-16 and UTF-32 have ASCII
    for encoding in ("utf-8",) if plain.isascii() else ("utf-8", "latin-1"):
        yield only_letters(plain.decode(encoding, "ignore"), letters)
    if len(plain) < len(data) or data.startswith(_ORDERS):
        for start, encoding in _WIDE:
            yield only_letters(data[start:].decode(encoding, "ignore"), letters)


def is_packed(name: str, data: bytes) -> bool:
    """Tell whether names in a file cannot be seen in its bytes, as it begins or is called."""
    suffix = name.rpartition(".")[2].lower()
    is_tar = data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR
    return suffix in _PACKED_SUFFIXES or is_tar or data.startswith(_PACKED)


def has_no_names(name: str, data: bytes) -> bool:
    """Tell whether a file has nothing with a name in it: images, films, sounds, plain arrays."""
    is_film = name.rpartition(".")[2].lower() in _FILMS
    return is_film or is_image_name(name, of_any_kind=True) or bool(_NUMBERS.match(data))


def keys_in(text: str) -> Iterator[str]:
    """Yield the words of any text that may be names of values; the same one more than once."""
    return _found_by(_KEYS, text)


def _found_by(patterns: Collection[re.Pattern[str]], text: str) -> Iterator[str]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield from _spellings(match[match.lastgroup or 1])
            if match.lastgroup == "words":
                yield match[match.lastgroup].partition(" ")[0]


def names_in(text: str) -> Iterator[str]:
    """Yield those of a file of text, which has them at more places than other texts."""
    yield from _found_by(_NAMES, text)
    for match in _LISTS.finditer(text):
        words = (match[1] or match[2]).split(",")
        yield from words if match[1] or len(words) > 1 else ()
    lines = _LINES.finditer(text)
    first = next(lines, None)
    if first and next(lines, None):  # it may be the head of a table
        for pattern in _CELLS:
            for match in pattern.finditer(text, first.start(), first.end()):
                yield from _spellings(match[0])


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
