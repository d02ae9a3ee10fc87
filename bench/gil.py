"""Small calls from one thread and from two, with the GIL and without, side by side.

    python3.14t -m bench.gil

needs a Python that can do without: it runs itself with ``PYTHON_GIL`` 0 and 1 in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import dsguard

IMAGES, CALLS, ROUNDS, TURNS = 8, 60, 5, 3


def main() -> None:
    """Measure both, and print how many times the work of one thread two do in the same time."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit("this Python always has the GIL; run python3.14t -m bench.gil")
    if sys.argv[1:] == ["once"]:
        print(json.dumps(seconds()))
        return
    found: dict[str, list[float]] = {"0": [], "1": []}
    for _ in range(TURNS):
        for gil, ratios in found.items():
            command = [sys.executable, "-m", "bench.gil", "once"]
            told = subprocess.check_output(command, env={**os.environ, "PYTHON_GIL": gil})
            one, two = json.loads(told)
            ratios.append(one / two)
    for gil, ratios in found.items():
        print("with" if gil == "1" else "without", "the GIL:", *(f"{each:.2f}" for each in ratios))


def seconds() -> tuple[float, float]:
    """Return the seconds for the calls of one thread, where there is one and where there are two.

    Each protects and restores a few images of 32×32 in turns: most of the time is Python's.
    """
    key = dsguard.DatasetKey(bytes(32))
    steps = np.random.default_rng(0).integers(-6, 7, (IMAGES, 32, 32, 3))
    images = np.clip(np.cumsum(steps, axis=2) + 128, 0, 255).astype(np.uint8)

    def work(calls: int) -> None:
        for _ in range(calls):
            out = dsguard.protect_batch(images, key, threads=1)
            dsguard.restore_batch(out.images, key, sidecars=out.sidecars, threads=1)

    def timed(threads: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, [CALLS] * threads))
        return (time.perf_counter() - start) / threads

    work(5)
    rounds = [(timed(1), timed(2)) for _ in range(ROUNDS)]
    return min(one for one, _ in rounds), min(two for _, two in rounds)


if __name__ == "__main__":
    main()
