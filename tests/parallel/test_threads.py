"""Many threads that call dsguard at once, with the GIL and without: the bits of one thread."""

from __future__ import annotations

import itertools
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import dsguard
from dsguard import kernels
from dsguard.errors import InputError
from dsguard.kernels import native

THREADS, ROUNDS = 8, 6
PROFILES = ("sealed", "exact", "exact-fine", "veil", "paper")
NEEDS_NO_GIL = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python always has the GIL"
)


def done(clean, key, profile: str):
    """Protect and restore, in threads of its own; return images and sidecars of both."""
    target = clean[::-1] if profile.startswith("exact") or profile == "paper" else None
    labels = np.arange(len(clean)) % 2 if profile in ("sealed", "veil") else None
    out = dsguard.protect_batch(
        clean, key, profile=profile, target=target, labels=labels, threads=2
    )
    back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars, threads=2)
    return out.images.tobytes(), out.sidecars, back.tobytes()


def at_once(call) -> list:
    """Return what comes of it in each of many threads, which begin together."""
    barrier = Barrier(THREADS)

    def begin(number: int):
        barrier.wait(60)
        return call(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_each_of_many_threads_gets_what_one_alone_gets(scenes, key):
    """All share images, key and what is kept for shapes; one keeps changing instruction sets."""
    batches = [np.ascontiguousarray(scenes[:, : 32 - 8 * n]) for n in range(3)]
    work = list(itertools.product(range(len(batches)), PROFILES))
    alone = {(n, profile): done(batches[n], key, profile) for n, profile in work}
    isas = itertools.cycle(isa for isa in ("scalar", "avx2", "avx512", "neon") if is_here(isa))

    def call(number: int):
        rotated = work[number:] + work[:number]
        if number == 0:
            for _ in range(20 * ROUNDS):
                native.set_isa(next(isas))
            return True
        return all(
            done(batches[n], key, profile) == alone[n, profile]
            for _ in range(ROUNDS) for n, profile in rotated
        )  # fmt: skip

    try:
        assert at_once(call) == THREADS * [True]
    finally:
        native.set_isa(None)


def is_here(isa: str) -> bool:
    try:
        native.set_isa(isa)
    except InputError:
        return False
    return True


def test_the_first_use_may_be_that_of_many_threads():
    """What is loaded at the first use is loaded once, whoever comes first."""
    script = f"""
import threading
import dsguard
barrier, got = threading.Barrier({THREADS}), []
def first():
    barrier.wait(60)
    import numpy as np
    key, clean = dsguard.DatasetKey(bytes(32)), np.full((4, 32, 32, 3), 90, np.uint8)
    out = dsguard.protect_batch(clean, key)
    got.append((out.images.tobytes(), bool((dsguard.restore_batch(out.images, key) == 90).all())))
threads = [threading.Thread(target=first) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(got) == {THREADS} and len(set(got)) == 1 and got[0][1], len(got)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_backend_that_another_thread_takes_back_is_not_none(backend, line):
    """It comes right before a line, which no number of tries would be sure to do."""
    backend("reference")
    lines = itertools.count(1)

    def trace(frame, event, _):
        if frame.f_code is not kernels.get_backend.__code__:
            return None
        if event == "line" and next(lines) == line:
            kernels.set_backend(None)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = kernels.get_backend()
    finally:
        sys.settrace(before)
    assert found in kernels.BACKENDS


@NEEDS_NO_GIL
def test_the_gil_stays_off():
    """Python puts it on, with a warning, for a module that does not say it can do without."""
    script = """
import sys, numpy as np, dsguard
key = dsguard.DatasetKey(bytes(32))
out = dsguard.protect_batch(np.full((4, 32, 32, 3), 90, np.uint8), key)
dsguard.restore_batch(out.images, key)
assert not sys._is_gil_enabled()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
