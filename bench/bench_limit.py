"""What is the physical limit? Copying the buffers that each direction reads and writes."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import setup


@pytest.mark.benchmark(group="memcpy")
@pytest.mark.parametrize("buffers", [2, 3])
def bench_memcpy(measure, buffers):
    s = setup()
    sources = [s.clean, s.target, s.protected][:buffers]
    copies = [np.empty_like(source) for source in sources]

    def copy():
        for source, to in zip(sources, copies, strict=True):
            np.copyto(to, source)

    measure(copy, len(s.clean), name=f"memcpy of {buffers} buffers", stage=f"memcpy{buffers}")
    assert all((to == source).all() for source, to in zip(sources, copies, strict=True))
