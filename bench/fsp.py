"""How long FSP takes, the training of the surrogate excluded.

    python -m bench.fsp ../shared/data/cifar10.tar.xz --out bench/results/efficacy/fsp.json

times, with a surrogate of the width that the device suggests, the fit of the patterns, once for a
dataset; adding them to all its training images; and attacking images one by one, as profile `paper`
does: all of them on CUDA, elsewhere as many as `--one-by-one` says. How well the surrogate was
trained does not matter: it sees each of 2,000 images once.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from dsguard.evaluation import Data, own_images
from dsguard.fsp import Attack, Recipe, Surrogate, choose_device, fit_surrogate, perturb


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--one-by-one", type=int, default=256)
    options = parser.parse_args()
    device = choose_device(None)
    on_gpu = device.type == "cuda"
    data = own_images(options.data, None, 100)
    surrogate, fit = fitted(data)
    every = len(data.train_images)
    one_by_one = every if on_gpu else min(every, options.one_by_one)
    seconds = {
        "patterns fitted": fit,
        f"patterns added to {every} images": min(
            perturbed(data, surrogate, "exact", every) for _ in range(3)
        ),
        f"{one_by_one} images attacked one by one": perturbed(data, surrogate, "paper", one_by_one),
    }
    for name, taken in seconds.items():
        print(f"{name:40} {taken:7.2f} s")
    found = {
        "seconds": seconds,
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "width": surrogate.width,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n")


def fitted(data: Data) -> tuple[Surrogate, float]:
    """Return a surrogate, and the seconds that all took but its training."""
    some = np.random.default_rng(0).permutation(len(data.train_images))[:2000]
    trained = 0.0

    def after_epoch(_: int) -> None:
        nonlocal trained
        trained = time.perf_counter()

    surrogate = fit_surrogate(
        data.train_images[some],
        data.train_labels[some],
        recipe=Recipe(epochs=1),
        on_epoch=after_epoch,
    )
    return surrogate, time.perf_counter() - trained


def perturbed(data: Data, surrogate: Surrogate, profile: str, count: int) -> float:
    """Return the seconds that it takes to perturb so many images."""
    images, labels = data.train_images[:count], data.train_labels[:count]
    start = time.perf_counter()
    perturb(images, labels, surrogate, Attack.carried_by(profile, epsilon=16))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
