"""The kernels in plain NumPy: the specification that the fast ones are held to.

Written to be read, one block at a time. The contract of the functions is in
`dsguard.kernels.contract`; the format they implement in ``docs/format.md``.
"""

from dsguard.kernels.reference.exact.hiding import hide, reveal
from dsguard.kernels.reference.exact.transform import decode, encode
from dsguard.kernels.reference.paper import embed, extract, invert, transform

__all__ = ["decode", "embed", "encode", "extract", "hide", "invert", "reveal", "transform"]
