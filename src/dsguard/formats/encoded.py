"""Bytes in letters and signs: base64 and base85 in short words, uuencode, quoted-printable, rows.

A word of base64 of 24 characters and more is known by itself. Here texts are looked at as a whole:
bytes of pictures use all signs of their alphabet about equally often, which no language does, nor
source code, nor formulas; and files of pictures begin alike.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

_FEWEST_BYTES = 48
"""The smallest pictures of 8×8 that tools write have some 60."""
_FEWEST = 72
"""Characters of base64 or base85 that hold a picture."""
_SHORTEST = 12
"""Characters of a word of code; ids of films have 11, captchas fewer."""
_WORD = re.compile(rf"(?<![!-~])(?=[!-~]*[A-Z])(?=[!-~]*[a-z])[!-~]{{{_SHORTEST},}}")
_NAMED = re.compile(r"://|^www\.|\.[a-z][a-z0-9]{1,4}\W?$")  # addresses, names of files
_ALNUM = re.compile("[A-Za-z0-9]")
_CHANGES, _CHANGES_OF_WORD = 0.4, 0.25
"""How often capitals, small letters, digits and signs take turns; base64 has 0.6, prose 0.15."""
_ALIKE, _ALIKE_WITH_SIGNS = 0.03, 0.02
"""How often two characters are the same: in base64 0.016, base85 0.012, source code 0.03 to 0.1."""
_SIGNS = 0.08
"""Of all characters, from which on they are none of base64."""

_KINDS = {
    n: "a" if chr(n).islower() else "A" if chr(n).isupper() else "1" if chr(n).isdigit() else "."
    for n in range(128)
}
_AROUND = "\"',+\\;"
"""Signs around each of several words of code, in source code."""

_JPEG = b"\xff\xd8\xff"
_BEGINNINGS = (
    b"RIFF",  # WebP
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    *(_JPEG + kind for kind in (b"\xc0", b"\xfe")),  # and all between
    *(bytes([0, 0, 0, size]) + b"ftyp" for size in b"\x18\x1c\x20"),  # AVIF, HEIC
)
_BASE85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def z85(data: bytes) -> bytes:
    """Return bytes in Z85, https://rfc.zeromq.org/spec/32/, the last group as in base85.

    Examples
    --------
    >>> z85(bytes.fromhex("864fd26fb559f75b"))
    b'HelloWorld'
    """
    return base64.b85encode(data).translate(bytes.maketrans(_BASE85, _Z85))


def _heads() -> set[bytes]:
    """Return how files of pictures begin in base64, and in the kinds of base85."""
    found = set()
    for each in _BEGINNINGS:
        fixed = 3 if each.startswith(_JPEG) else len(each)  # bytes
        found.add(base64.b64encode(each)[: fixed * 8 // 6])
        for encode in (base64.a85encode, base64.b85encode, z85):
            found.add(encode(each[: len(each) // 4 * 4])[: fixed // 4 * 5 or 4])
    return found


_HEADS = sorted(head.decode() for head in _heads())
_HEADED = re.compile(
    rf"(?<![A-Za-z0-9+/])(?:{'|'.join(map(re.escape, _HEADS))})"
    r"[!-~]{3,}(?:[\s\"',+\\]{1,16}[!-~]{8,}){0,8}"
)
_FULL = 45  # bytes of each line but the last
_UU_LINE = re.compile(r"^[!-M][ -`]{4,60}$", re.MULTILINE)
_QUOTED = re.compile(r"(?:=[0-9A-F]{2}(?:=\r?\n)?){2,}")
_QUOTED_BYTE = re.compile("=([0-9A-F]{2})")
_CONTROLS = frozenset(f"{n:02X}" for n in range(32)) - {"09", "0A", "0D", "1B"} | {"7F"}
_FEWEST_CONTROLS = 3
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2})")
_FEWEST_ESCAPES = 16
_HEX_ROW = re.compile(
    r"(?:^|[,;:=\t\"'{\[])[ \t]{0,64}+(?:[0-9a-f]{6,16}:?[ \t]+)?"
    r"(?:(?:(?:0x)?[0-9a-f]{2}[ ,]{1,2}){7,}|(?:(?:0x)?[0-9a-f]{4}[ ,]{1,2}){4,}"
    r"|(?:(?:0x)?[0-9a-f]{8}[ ,]{1,2}){3,})"
    r"(?:0x)?[0-9a-f]{2,8}\b",
    re.IGNORECASE | re.MULTILINE,
)
_HEX = re.compile(r"(?<![^\W_])(?:0x)?([0-9a-f]{2,8})\b", re.IGNORECASE)
_HEX_LETTER = re.compile("[a-f]", re.IGNORECASE)
_LETTERED = 1 / 8
"""Words of hexadecimal digits that have a letter: 0.15 with many zeros, none in numbers."""


def is_encoded(text: str) -> bool:
    """Tell whether a text has bytes of a picture in it, as tools encode them.

    Examples
    --------
    >>> import base64, random
    >>> is_encoded(base64.b85encode(random.Random(0).randbytes(90)).decode())
    True
    >>> is_encoded("https://example.com/A-Long-Word/AnotherLongWord/SomeLongWord " * 9)
    False
    """
    if len(text) < _FEWEST:
        return False
    return (
        any(len(found[0]) >= _FEWEST for found in _headed(text))
        or Code().add(text)
        or _is_uuencoded(text)
        or _is_quoted(text)
        or _is_hexadecimal(text)
        or _is_escaped(text)
    )


def _headed(text: str) -> list[re.Match[str]]:
    return list(_HEADED.finditer(text)) if any(head in text for head in _HEADS) else []


@dataclass
class Code:
    """Words of code, with no other word between: of one text, or of the texts of a list.

    Attributes
    ----------
    run : str
        The last of them.
    """

    run: str = ""

    def add(self, text: str) -> bool:
        """Add a text; tell whether words of code in turn hold as much as a picture."""
        end = 0
        for found in _WORD.finditer(text):
            if _NAMED.search(found[0]) or not _is_wild(found[0], _CHANGES_OF_WORD):
                continue  # and a word between those around it
            if _ALNUM.search(text, end, found.start()):
                self.run = ""
            end = found.end()
            self.run += found[0].strip(_AROUND)
            if len(self.run) >= _FEWEST:
                if _is_even(self.run):
                    return True
                self.run = self.run[len(self.run) // 2 :]
        if self.run and _ALNUM.search(text, end):
            self.run = ""
        return False


def _is_even(text: str) -> bool:
    """Tell whether a text uses many characters, all about equally often, and in wild change."""
    kinds = text.translate(_KINDS)
    if not _is_wild(text, _CHANGES) or min(map(kinds.count, "aA")) * 9 < len(text):
        return False
    pairs = sum(count * (count - 1) for count in Counter(text).values())
    most = _ALIKE_WITH_SIGNS if kinds.count(".") > _SIGNS * len(text) else _ALIKE
    return pairs <= most * len(text) * (len(text) - 1)


def _is_wild(word: str, share: float) -> bool:
    kinds = word.translate(_KINDS)
    return sum(one != other for one, other in pairwise(kinds)) >= share * len(word)


def _is_uuencoded(text: str) -> bool:
    """Tell whether lines in turn have the length that their first character says."""
    size = end = 0
    for found in _UU_LINE.finditer(text):
        line = found[0]
        count = ord(line[0]) - 32
        missing = -(-count // 3) * 4 + 1 - len(line)
        if not 0 <= missing <= 3:  # blanks at the end may be lost
            continue
        is_next = size and found.start() <= end + 2
        if is_next and size + count >= _FEWEST_BYTES:
            return True
        size, end = (size if is_next else 0) + count if count == _FULL else 0, found.end()
    return False


def _is_quoted(text: str) -> bool:
    """Tell whether a text is quoted-printable, and no text in any language."""
    if text.count("=") < _FEWEST_BYTES // 2:
        return False
    quoted = [each for run in _QUOTED.findall(text) for each in _QUOTED_BYTE.findall(run)]
    return sum(each in _CONTROLS for each in quoted) >= _FEWEST_CONTROLS


def _is_escaped(text: str) -> bool:
    r"""Tell whether a line has bytes as programs write them in strings: ``\x93``, ``\223``."""
    return "\\" in text and any(
        len(_ESCAPE.findall(line)) >= _FEWEST_ESCAPES for line in text.splitlines()
    )


def _is_hexadecimal(text: str) -> bool:
    """Tell whether rows of a text are bytes in hexadecimal, two, four or eight digits a word."""
    text = text.replace("\\x", " ")  # as strings of programs have them
    words = [word for row in _HEX_ROW.findall(text) for word in _HEX.findall(row)]
    if sum(map(len, words)) < 2 * _FEWEST_BYTES:
        return False
    return sum(map(bool, map(_HEX_LETTER.search, words))) >= _LETTERED * len(words)
