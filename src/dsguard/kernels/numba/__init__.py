"""The kernels in Numba: for machines where the C core cannot be built.

Compiled at the first call and cached on disk. The algorithms are those of the C core; the contract
is in `dsguard.kernels.contract`. Codec exact is not compiled: its four functions are those of the
reference.
"""

from pathlib import Path

if Path(".numba_config.yaml").exists():  # Numba reads it whenever it compiles
    msg = (
        "the current folder has a .numba_config.yaml, which could have Numba load files of "
        "strangers; work in another folder, or remove it"
    )
    raise ImportError(msg)

from dsguard.kernels.numba.paper import embed, extract, invert, transform
from dsguard.kernels.numba.sealed import compress, expand, gather, spread
from dsguard.kernels.reference import decode, encode, hide, reveal

__all__ = [
    "compress", "decode", "embed", "encode", "expand", "extract", "gather", "hide", "invert",
    "reveal", "spread", "transform",
]  # fmt: skip
