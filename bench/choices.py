"""Which perturbation protects? Candidates for the default, on a held-out part of the training set.

    python -m bench.choices ../shared/data/cifar10.tar.xz --out bench/results/efficacy/choices.json

trains the network of the `quick` preset on each candidate, plainly and under some counter-measures,
and tests it on training images that no candidate contains. Test images are not read. What is done
is in the file, and is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

import dsguard
from dsguard.evaluation import Data, own_images, psnr
from dsguard.evaluation.comparison import learn
from dsguard.evaluation.networks import NETWORKS
from dsguard.evaluation.study import QUICK
from dsguard.fsp import Attack, Surrogate, fit_surrogate, perturb
from dsguard.patterns import Patterns
from dsguard.veil import veils

KEY = dsguard.DatasetKey(bytes(32))
PRESET = QUICK.computed_in(bfloat16=True)
MEASURES = ("none", "crop-and-flip", "projection", "jpeg", "evened", "informed", "vit")
Make = Callable[[Data, Surrogate], np.ndarray]


def class_wise(epsilon: int, block: int = 4, *, drawn: bool = False) -> Make:
    """Return what adds a pattern to each image: with flat tiles fitted, or drawn."""

    def make(data: Data, surrogate: Surrogate) -> np.ndarray:
        images, labels = data.train_images, data.train_labels
        patterns = surrogate.patterns
        if drawn:
            patterns = Patterns.drawn(surrogate.classes.tolist(), KEY)
        numbers = surrogate.class_numbers(labels, len(images))
        return patterns.added(images, images, numbers, epsilon, block)

    return make


def sample_wise(epsilon: int, block: int) -> Make:
    """Return what attacks each image by itself."""
    attack = Attack(epsilon, kind="sample-wise", block=block)
    return lambda data, surrogate: perturb(data.train_images, data.train_labels, surrogate, attack)


def veil(epsilon: int) -> Make:
    """Return what takes another image for each."""
    return lambda data, _: veils(data.train_images, data.train_labels, KEY, 4, epsilon)


CANDIDATES: dict[str, tuple[str, Make]] = {
    "clean": ("exact", lambda data, _: data.train_images),
    "class-wise, ε 16": ("exact", class_wise(16)),
    "class-wise, drawn without a network, ε 16": ("exact", class_wise(16, drawn=True)),
    "class-wise, ε 8": ("exact", class_wise(8)),
    "class-wise, 2×2, ε 8": ("exact-fine", class_wise(8, 2)),
    "class-wise, 2×2, ε 16": ("exact-fine", class_wise(16, 2)),
    "sample-wise, 4×4, ε 16": ("exact", sample_wise(16, 4)),
    "sample-wise, 2×2, ε 16": ("exact-fine", sample_wise(16, 2)),
    "sample-wise, 2×2, ε 8": ("exact-fine", sample_wise(8, 2)),
    "sample-wise, pixel-wise, ε 16": ("paper", sample_wise(16, 1)),
    "veil without patterns": ("veil", veil(0)),
    "veil, ε 16": ("veil", veil(16)),
}


def main() -> None:
    """Train what is missing in the file, and write it after each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    data = own_images(options.data, PRESET.train_images, PRESET.test_images, held_out=True)
    surrogate = fit_surrogate(
        data.train_images, data.train_labels, recipe=PRESET.surrogate, width=PRESET.width
    )
    for name, (profile, make) in CANDIDATES.items():
        missing = [m for m in MEASURES if m not in found.get(name, {}).get("trials", {})]
        if not missing:
            continue
        batch = dsguard.protect_batch(
            data.train_images, KEY, target=make(data, surrogate), profile=profile
        )
        images = data.train_images if name == "clean" else batch.images
        entry = found.setdefault(name, {"profile": profile, "trials": {}})
        if name != "clean":
            entry |= distance(images, data.train_images) | {"sidecars": len(batch.sidecars)}
        for measure in missing:
            row = learn(
                name,
                images,
                data.train_labels,
                data.test_images,
                data.test_labels,
                recipe=PRESET.training,
                against="none" if measure in NETWORKS else measure,
                network=measure if measure in NETWORKS else "resnet18",
                width=PRESET.width,
            )
            entry["trials"][measure] = {"last": row.test_accuracy, "peak": row.peak_accuracy}
            print(f"{name:55} {measure:12} {row.test_accuracy:6.1%} {row.peak_accuracy:6.1%}")
            options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def distance(images: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Return how far images are from the clean ones, the first 500 of them."""
    pairs = list(zip(images[:: len(images) // 500], clean[:: len(images) // 500], strict=True))
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b in pairs])),
        "ssim": float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in pairs])),
    }


if __name__ == "__main__":
    main()
