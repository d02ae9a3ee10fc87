"""A million 32×32×3 images through protect and restore: wall time and peak memory.

    python bench/million.py ../shared/data/cifar10.tar.xz --out bench/results/million.json

Real CIFAR-10 images, tiled to a million with a shift of their own each time around, lie in
memory-mapped files; targets are other images of the set, or differ by ± 8 in blocks for the exact
profiles. Peak memory is that of the process: what
it allocated and what of the mapped files lay in its address space at once. Half of the work is
checked against the clean images.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import dsguard
from dsguard.bulk import load_training_set, select
from dsguard.formats import open_source
from dsguard.kernels import native

CHUNK = 20_000
SHAPE = (32, 32, 3)


class Peak(threading.Thread):
    """Watches the resident memory of this process; Linux only."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0
        self.start()

    def run(self) -> None:
        """Look every 5 ms."""
        page = os.sysconf("SC_PAGESIZE")
        while True:
            resident = int(Path("/proc/self/statm").read_text().split()[1])
            self.mib = max(self.mib, resident * page / 2**20)
            time.sleep(0.005)


def forget(array: np.memmap) -> None:
    """Tell the system that the pages of a mapped file are not needed in memory any more."""
    array._mmap.madvise(mmap.MADV_DONTNEED)


def target_of(clean: np.ndarray, profile: str) -> np.ndarray:
    """Return other images of the set, or for the exact profiles ± 8 in 4×4 blocks."""
    if profile == "paper":
        return clean[::-1]
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-8, 8], np.int16), (len(clean), 8, 8, 3))
    return np.clip(clean + signs.repeat(4, 1).repeat(4, 2), 0, 255).astype(np.uint8)


def fill(clean: np.memmap, images: np.ndarray) -> None:
    """Write the images over and over, each round moved by one more column."""
    for start in range(0, len(clean), CHUNK):
        count = min(CHUNK, len(clean) - start)
        numbers = np.arange(start, start + count)
        part = images[numbers % len(images)]
        clean[start : start + count] = np.roll(part, start // len(images), axis=2)
        clean.flush()
        forget(clean)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--profile", default="exact")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the mapped files lie; 9 GB")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    source = open_source(options.data)
    images, _ = load_training_set(source, select(source.names(), 10_000))
    key = dsguard.DatasetKey.generate()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        shape = (options.images, *SHAPE)
        clean, protected, back = (
            np.memmap(Path(folder, name), np.uint8, "w+", shape=shape)
            for name in ("clean", "protected", "back")
        )
        fill(clean, images)
        del images
        peak = Peak()
        seconds = {"protect": 0.0, "restore": 0.0}
        sidecars: dict[int, dict[int, bytes]] = {}
        for start in range(0, options.images, CHUNK):
            part = slice(start, start + CHUNK)
            target = target_of(clean[part], options.profile)
            begun = time.perf_counter()
            sidecars[start] = dsguard.protect_batch(
                clean[part],
                key,
                target=target,
                profile=options.profile,
                out=protected[part],
                threads=options.threads,
            ).sidecars
            seconds["protect"] += time.perf_counter() - begun
            forget(clean)
            forget(protected)
        for start in range(0, options.images, CHUNK):
            part = slice(start, start + CHUNK)
            begun = time.perf_counter()
            dsguard.restore_batch(
                protected[part],
                key,
                sidecars=sidecars[start],
                out=back[part],
                threads=options.threads,
            )
            seconds["restore"] += time.perf_counter() - begun
            forget(protected)
            forget(back)
        mib = peak.mib
        worst = 0
        for start in range(0, options.images, 2 * CHUNK):
            part = slice(start, start + CHUNK)
            difference = np.abs(back[part].astype(np.int16) - clean[part])
            worst = max(worst, int(difference.max()))
    result = {
        "images": options.images,
        "profile": options.profile,
        "sidecars": sum(map(len, sidecars.values())),
        "protect_s": round(seconds["protect"], 2),
        "restore_s": round(seconds["restore"], 2),
        "peak_mib": round(mib),
        "worst_grey_levels": worst,
        "threads": options.threads,
        "machine": f"{platform.machine()}, {native.isa()}",
        "versions": f"dsguard {dsguard.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}",
    }
    print(json.dumps(result, indent=1))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
