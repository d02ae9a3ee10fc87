"""Small files that people and editors write: tokens and master keys, in UTF-8 or UTF-16."""

from __future__ import annotations

import codecs

from dsguard.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def text_of(data: bytes, where: str) -> str:
    """Return the text of a file, without its byte order mark and the blanks around it.

    Raises
    ------
    InputError
        If it is no text, or UTF-16 without a mark.
    """
    encoding = "utf-8"
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        msg = f"{where} is not plain text; store it anew in UTF-8"
        raise InputError(msg)
    return text.strip("\ufeff \t\r\n\v\f")


def check_token(token: str) -> str:
    """Return a token without blanks around it; refuse what cannot be one, without telling it.

    Raises
    ------
    InputError
        If it holds something else than visible ASCII.
    """
    token = token.strip("\ufeff \t\r\n\v\f")
    for position, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            msg = (
                f"this is no token: its character {position} is U+{ord(character):04X}; copy the "
                "token anew, it is one word that begins with dsg_"
            )
            raise InputError(msg)
    return token
