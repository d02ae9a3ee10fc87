"""Three sets of kernels, one contract, the same bits.

``native`` is C and the default; ``numba`` stands in where C cannot be built; ``reference`` is plain
NumPy, the specification. The environment variable ``DSGUARD_BACKEND`` or `set_backend` chooses.
"""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache
from typing import cast

from dsguard.errors import InputError, MissingExtraError
from dsguard.kernels.contract import Kernels

BACKENDS = ("native", "numba", "reference")
"""The sets of kernels, each a module; the automatic choice first."""

_SLOW = {
    "numba": (
        "the C core of dsguard is not installed: profiles sealed and paper run in Numba, several "
        "times slower, the exact profiles in plain NumPy, thousands of times slower; reinstall "
        "with a C compiler"
    ),
    "reference": (
        "the C core of dsguard is not installed, nor is Numba, so it runs in plain NumPy, "
        "thousands of times slower; reinstall with a C compiler, or: pip install 'dsguard[numba]'"
    ),
}

_chosen: str | None = None


def set_backend(name: str | None) -> None:
    """Use one set of kernels in every later call of the process.

    Parameters
    ----------
    name : {"native", "numba", "reference"} or None
        None returns to the automatic choice: ``DSGUARD_BACKEND`` where it is set, else the first
        of these that is installed.

    Raises
    ------
    InputError
        If there is no backend of that name.
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> import dsguard
    >>> dsguard.set_backend("reference")
    >>> dsguard.get_backend()
    'reference'
    >>> dsguard.set_backend(None)
    """
    global _chosen  # noqa: PLW0603 - one choice per process, as documented
    if name is not None:
        _load(str(name))
    _chosen = name


def get_backend() -> str:
    """Return the name of the set of kernels in use.

    Examples
    --------
    >>> import dsguard
    >>> dsguard.get_backend() in ("native", "numba", "reference")
    True
    """
    chosen = _chosen  # read once: another thread may change it
    if chosen is not None:
        return chosen
    return os.environ.get("DSGUARD_BACKEND") or _automatic()


def kernels() -> Kernels:
    """Return the set of kernels in use."""
    return _load(get_backend())


@cache
def _automatic() -> str:
    for name in BACKENDS:
        try:
            _load(name)
        except ImportError:
            continue
        if name in _SLOW:
            warnings.warn(_SLOW[name], RuntimeWarning, stacklevel=2)
        return name
    msg = "no set of kernels can be loaded"  # reference needs NumPy alone
    raise AssertionError(msg)


@cache
def _load(name: str) -> Kernels:
    if name not in BACKENDS:
        msg = f"there is no backend {name!r}; the backends are: {', '.join(BACKENDS)}"
        raise InputError(msg)
    try:
        module = importlib.import_module(f"dsguard.kernels.{name}")
    except ImportError as error:
        remedy = "; run: pip install 'dsguard[numba]'" if name == "numba" else ""
        msg = f"the {name} kernels are not installed ({error}){remedy}"
        raise MissingExtraError(msg) from error
    return cast("Kernels", module)
