"""Text files of people and editors: tokens and master keys, in UTF-8 or UTF-16."""

from __future__ import annotations

from dsguard._atomic import text_in
from dsguard.errors import InputError

_BLANKS = "\ufeff \t\r\n\v\f"


def text_of(data: bytes, where: str) -> str:
    """Return the text of a file, without its byte order mark and the blanks around it.

    Raises
    ------
    InputError
        If it is no text, or UTF-16 without a mark.
    """
    text = text_in(data)
    if text is None:
        msg = f"{where} is not plain text; store it anew in UTF-8"
        raise InputError(msg)
    return text.strip(_BLANKS)


def check_token(token: str) -> str:
    """Return a token without blanks around it; refuse what cannot be one, without telling it.

    Raises
    ------
    InputError
        If it holds something else than visible ASCII.
    """
    token = token.strip(_BLANKS)
    for position, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            msg = (
                f"this is no token: its character {position} is U+{ord(character):04X}; copy the "
                "token anew, it is one word that begins with dsg_"
            )
            raise InputError(msg)
    return token
