"""Files and members that readers of datasets load as pickles, which are programs."""

from __future__ import annotations

import io
import re

from dsguard.formats.arrays.npy import read_header

_MEMBERS = frozenset({"pickle", "pkl", "pt", "pth", "pyd"})
"""Kinds of fields that decoders of WebDataset, or of torch, give to `pickle` or `torch.load`."""

_FILES = _MEMBERS | {"cache", "ckpt", "dill", "joblib", "p"}
"""Kinds of files that trainers load so: Ultralytics its ``labels.cache`` before all others."""

_PACKED = (".bz2", ".gz", ".xz", ".zip", ".zst")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")

STARTS_IN = 1 << 14
"""Bytes of a file that tell whether it is one."""

A_PICKLE = (
    "is a pickle, which readers of WebDataset run, and was not sealed: anybody can have put it "
    "there. It does not come back; take it from the published data yourself if you trust its author"
)
A_PICKLED_FILE = (
    "is a pickle, which trainers run, and was not sealed: anybody can have put it there. It does "
    "not come back; take it from the published data yourself if you trust its author"
)


def is_loaded(name: str) -> bool:
    """Tell whether readers of WebDataset load a member, or a field, as a pickle.

    They look at the end of a name in any case, and at what lies in gzip files.

    >>> is_loaded("0.PKL"), is_loaded("pth.gz"), is_loaded("0.npy")
    (True, True, False)
    """
    return _ending(name) in _MEMBERS


def is_pickle(name: str, start: bytes) -> bool:
    r"""Tell whether a file beside images is a pickle, by its name or by what it begins with.

    >>> is_pickle("train.cache", b""), is_pickle("meta", b"\x80\x04"), is_pickle("a.txt", b"cat")
    (True, True, False)
    """
    return _ending(name) in _FILES or bool(_PROTOCOL.match(start)) or _has_objects(start)


def _ending(name: str) -> str:
    name = name.lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    return name.rpartition(".")[2]


def _has_objects(start: bytes) -> bool:
    """Tell whether a file is an array of Python objects, or one that cannot be read."""
    if not start.startswith(b"\x93NUMPY"):
        return False
    try:
        read_header(io.BytesIO(start))
    except Exception:  # NumPy and Python's parser raise nearly anything
        return True
    return False
