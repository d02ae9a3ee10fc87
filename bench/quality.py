"""What a profile does to real images: PSNR, bits and throughput, in one run.

    python bench/quality.py ../shared/data/cifar10.tar.xz --limit 2000

Fits a surrogate to the images, perturbs, protects and restores them with a new key, and prints a
Markdown table. Throughput is the best of several runs in one thread, targets given.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dsguard
from dsguard.bulk import load_training_set, select
from dsguard.evaluation import psnr
from dsguard.formats import open_source
from dsguard.fsp import Attack, Recipe, fit_surrogate, perturb
from dsguard.kernels import native


def best(run: Callable[[], Any], repeats: int = 7) -> float:
    """Return the shortest wall time of `run` in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def mean_psnr(images: np.ndarray, others: np.ndarray) -> str:
    """Return the PSNR of each image against the other, summed up over the batch."""
    values = [psnr(a, b) for a, b in zip(images, others, strict=True)]
    return f"{np.mean(values):.2f} dB (5th percentile {np.percentile(values, 5):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--epsilon", type=int, default=8)
    parser.add_argument("--profile", default="paper")
    options = parser.parse_args()
    source = open_source(options.data)
    images, classes = load_training_set(source, select(source.names(), options.limit))
    known = sorted(set(classes))
    labels = [known.index(name) for name in classes]
    surrogate = fit_surrogate(images, labels, recipe=Recipe())
    target = perturb(images, labels, surrogate, Attack(options.epsilon, kind="sample-wise"))
    key = dsguard.DatasetKey.generate()
    use = {"target": target, "profile": options.profile, "threads": 1}
    batch = dsguard.protect_batch(images, key, **use)
    out, sidecars = batch.images, batch.sidecars
    back = dsguard.restore_batch(out, key, sidecars=sidecars)
    protect = best(lambda: dsguard.protect_batch(images, key, **use))
    restore = best(lambda: dsguard.restore_batch(out, key, sidecars=sidecars, threads=1))
    info = dsguard.inspect(out[0])
    worst = int(np.abs(back.astype(np.int16) - images).max())
    count = len(images)
    rows = {
        "images": f"{count} of {images.shape[1:]} from {options.data.name}",
        "perturbation": f"ε {options.epsilon}/255",
        "perturbed against clean": mean_psnr(target, images),
        "protected against clean": mean_psnr(out, images),
        "protected against perturbed": mean_psnr(out, target),
        "restored against clean": f"{mean_psnr(back, images)}, at most {worst} grey level(s)",
        "profile": options.profile,
        "payload of the first image": f"{info.payload_bits} bits for {images[0].size} samples",
        "sidecars": str(len(sidecars)),
        "protect_batch": f"{count / protect:,.0f} images/s",
        "restore_batch": f"{count / restore:,.0f} images/s",
        "machine": f"{platform.processor() or platform.machine()}, {native.isa()}, one thread",
        "versions": f"dsguard {dsguard.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}",
    }
    print("| what | value |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
