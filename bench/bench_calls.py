"""What does a user get? protect_batch and restore_batch by size, batch, backend and threads."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard._parallel import threads as pool
from dsguard.kernels import native
from dsguard.profiles import PROFILES

from .conftest import setup

# About the same number of samples at each size.
SIZES = {32: 10_000, 64: 2500, 224: 200, 512: 40}


def calls(s, threads):
    """Return the two public calls on a batch, each with memory of its own."""
    out = np.empty_like(s.clean)
    return {
        "protect": (
            lambda: dsguard.protect_batch(
                s.clean, s.key, target=s.target, profile="paper", out=out, threads=threads
            ),
            out,
            s.protected,
        ),
        "restore": (
            lambda: dsguard.restore_batch(s.protected, s.key, out=out, threads=threads),
            out,
            s.clean,
        ),
    }


def run(measure, s, call, threads=1, **facts):
    function, out, expected = calls(s, threads)[call]
    measure(function, len(s.clean), name=call, threads=threads, side=s.clean.shape[1], **facts)
    assert np.abs(out.astype(np.int16) - expected).max() <= (call == "restore")


@pytest.mark.benchmark(group="size")
@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("call", ["protect", "restore"])
def bench_size(measure, call, side):
    run(measure, setup(side, SIZES[side]), call)


@pytest.mark.benchmark(group="profile, 10,000 of 32×32×3, targets of blocks within ε")
@pytest.mark.parametrize("profile", [profile.name for profile in PROFILES])
@pytest.mark.parametrize("call", ["protect", "restore"])
def bench_profile(measure, call, profile):
    s = setup(32, 10_000)
    signs = np.random.default_rng(1).choice(np.array([-8, 8], np.int16), (10_000, 8, 8, 3))
    target = np.clip(s.clean + signs.repeat(4, 1).repeat(4, 2), 0, 255).astype(np.uint8)
    out = dsguard.protect_batch(s.clean, s.key, target=target, profile=profile)
    calls = {
        "protect": lambda: dsguard.protect_batch(
            s.clean, s.key, target=target, profile=profile, threads=1
        ),
        "restore": lambda: dsguard.restore_batch(
            out.images, s.key, sidecars=out.sidecars, threads=1
        ),
    }
    result = measure(calls[call], len(s.clean), name=f"{call}, {profile}", threads=1)
    if call == "restore":
        assert np.abs(result.astype(np.int16) - s.clean).max() <= (profile == "paper")


@pytest.mark.benchmark(group="batch, 32×32×3")
@pytest.mark.parametrize("count", [1, 10, 100, 1000, 10_000, 50_000])
@pytest.mark.parametrize("call", ["protect", "restore"])
def bench_batch(measure, call, count):
    run(measure, setup(32, count), call)


@pytest.mark.benchmark(group="threads, 50,000 of 32×32×3")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["protect", "restore"])
def bench_threads(measure, call, threads):
    run(measure, setup(32, 50_000), call, threads)


@pytest.mark.benchmark(group="threads, 50,000 of 32×32×3", min_rounds=25)  # the second core wanders
@pytest.mark.parametrize("threads", [1, 2])
def bench_threads_of_c_stages(measure, threads):
    """Transform, embed, extract and invert alone, over the same slices and pool."""
    s = setup(32, 50_000)
    out, back = np.empty_like(s.clean), np.empty_like(s.clean)
    parts = pool.cut(len(s.clean), s.clean[0].size, threads)

    def work(part):
        _, sequences = native.transform(s.clean[part], s.target[part], s.geometry, out[part])
        native.embed(out[part], s.payloads[part], s.geometry)
        native.extract(out[part], s.payloads.shape[1], s.geometry)
        native.invert(out[part], sequences, s.geometry, back[part])

    measure(
        lambda: list(pool.run(work, parts, threads)),
        len(s.clean),
        name="C stages",
        threads=threads,
    )
    np.testing.assert_array_equal(out, s.protected)


@pytest.mark.benchmark(group="backend, 32×32×3")
@pytest.mark.parametrize("which", ["native", "numba", "reference"])
@pytest.mark.parametrize("call", ["protect", "restore"])
def bench_backend(measure, backend, call, which):
    s = setup(32, 50 if which == "reference" else 2000)
    backend(which)
    run(measure, s, call, backend=which)
