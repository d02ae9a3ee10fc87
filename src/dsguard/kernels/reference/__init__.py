"""The kernels in plain NumPy: the specification that the fast ones are held to.

Written to be read, one block at a time. The contract of the functions is in
`dsguard.kernels.contract`; the format they implement in ``docs/format.md``.
"""

from dsguard.kernels.reference.exact.hiding import hide, reveal
from dsguard.kernels.reference.exact.transform import decode, encode
from dsguard.kernels.reference.paper import embed, extract, invert, transform
from dsguard.kernels.reference.sealed.coding import compress, expand
from dsguard.kernels.reference.sealed.spreading import gather, spread

__all__ = [
    "compress", "decode", "embed", "encode", "expand", "extract", "gather", "hide", "invert",
    "reveal", "spread", "transform",
]  # fmt: skip
