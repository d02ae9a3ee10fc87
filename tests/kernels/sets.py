"""The sets of kernels that are held to the reference."""

from __future__ import annotations

from dsguard.errors import InputError
from dsguard.kernels import native, numba

ISAS = ["scalar", "avx2", "avx512", "neon"]


def kernel_sets():
    """Yield every set of kernels but the reference: Numba, and C for each instruction set."""
    yield numba
    for name in ISAS:
        try:
            native.set_isa(name)
        except InputError:
            continue
        assert native.isa() == name
        yield native
    native.set_isa(None)
