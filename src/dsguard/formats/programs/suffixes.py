"""Names of what readers of datasets load as pickles."""

from __future__ import annotations

_KINDS = frozenset(
    {"cache", "ckpt", "dill", "jbl", "jl", "joblib", "p", "pbz2", "pck", "pckl", "pgz", "pickle"}
    | {"pickle5", "pk", "pkl", "pklz", "plzma", "pt", "pth", "pxz", "pyd", "sav"}
)
"""Suffixes of what readers of WebDataset, torch or trainers load so: Ultralytics its
``labels.cache`` before all others."""

_PACKED = (".bz2", ".gz", ".lz4", ".lzma", ".tar", ".xz", ".z", ".zip", ".zst")
"""Suffixes behind these: torch's checkpoints are often called ``.pth.tar``, and are no archives."""


def is_loaded(name: str) -> bool:
    """Tell whether readers load a file or a member of this name as a pickle.

    They look at the end of a name in any case, and at what lies in packed files. Where there is
    content, ask `pickled.is_pickle`, and `data.is_data` of what anybody may have put there.

    >>> is_loaded("0.PKL"), is_loaded("0.pth.gz"), is_loaded("0.pth.tar"), is_loaded("cache.tar")
    (True, True, True, False)
    """
    return ending(name) in _KINDS


def ending(name: str) -> str:
    """Return the last suffix of a name, in small letters, but for that of a packing.

    It is empty where there is none: shards may be called ``cache.tar``.
    """
    name = name.rpartition("/")[2].lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    stem, _, suffix = name.rpartition(".")
    return suffix if stem else ""
