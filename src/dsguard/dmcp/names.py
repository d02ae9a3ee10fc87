"""Names of datasets and accounts."""

from __future__ import annotations

import re

from dsguard.errors import InputError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_dataset_name(name: str) -> str:
    """Return the name of a dataset.

    Raises
    ------
    InputError
        If it cannot be one.
    """
    if NAME.fullmatch(name):
        return name
    msg = (
        f"{name!r} cannot be the name of a dataset on a platform; one has up to 64 small letters, "
        "digits, dots, dashes and underscores, and begins with a letter or digit"
    )
    raise InputError(msg)
