"""Installations of dsguard side by side, such as a wheel and a build from source: their speed.

    python bench/builds.py wheel=/tmp/a/bin/python source=.venv/bin/python

Each Python protects and restores the same made images, in turns; the shortest of all rounds counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

IMAGES, SIDE, ROUNDS, TURNS = 256, 64, 5, 5
STEPS = ("protect sealed", "restore sealed", "protect exact", "restore exact")


def measure() -> dict[str, dict[str, float]]:
    """Return by instruction set the seconds of each step, one thread, the shortest of ROUNDS."""
    import numpy as np

    import dsguard
    from dsguard.kernels import native

    random = np.random.default_rng(1)
    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE))[None, :, :, None]
    clean = (ramp * random.random((IMAGES, 1, 1, 3))).astype(np.uint8)
    clean += random.integers(0, 6, clean.shape, np.uint8)
    key = dsguard.DatasetKey(bytes(range(32)))
    native.set_isa(None)
    found: dict[str, dict[str, float]] = {}
    for isa in dict.fromkeys([native.isa(), "scalar"]):
        native.set_isa(isa)
        shortest = dict.fromkeys(STEPS, float("inf"))
        for _ in range(ROUNDS):
            for profile, target in (("sealed", None), ("exact", clean[::-1])):
                start = time.perf_counter()
                out = dsguard.protect_batch(clean, key, profile=profile, target=target, threads=1)
                middle = time.perf_counter()
                back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars, threads=1)
                end = time.perf_counter()
                assert np.array_equal(back, clean)
                for step, seconds in (("protect", middle - start), ("restore", end - middle)):
                    name = f"{step} {profile}"
                    shortest[name] = min(shortest[name], seconds)
        found[isa] = shortest
    return found


def main() -> None:
    """Print a table: images per second, by installation and instruction set."""
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
        return
    pythons = dict(argument.split("=", 1) for argument in sys.argv[1:])
    shortest: dict[tuple[str, str], dict[str, float]] = {}
    for _ in range(TURNS):
        for name, python in pythons.items():
            told = subprocess.run(
                [python, __file__, "--measure"], check=True, capture_output=True, text=True
            )
            for isa, seconds in json.loads(told.stdout).items():
                best = shortest.setdefault((name, isa), dict.fromkeys(STEPS, float("inf")))
                best.update({step: min(best[step], seconds[step]) for step in STEPS})
    print(f"{IMAGES} images of {SIDE}x{SIDE}x3, one thread, images per second\n")
    print("| installation | instruction set | " + " | ".join(STEPS) + " |")
    print("|---" * (2 + len(STEPS)) + "|")
    for (name, isa), best in shortest.items():
        print(f"| {name} | {isa} | " + " | ".join(f"{IMAGES / best[s]:.0f}" for s in STEPS) + " |")


if __name__ == "__main__":
    main()
