"""Which perturbation protects? Candidates for the default, on a held-out part of the training set.

    python -m bench.choices ../shared/data/cifar10.tar.xz --out bench/results/efficacy/choices.json

trains the network of the `quick` preset on each candidate, plainly and under some counter-measures,
and with a fifth of the images clean; tests it on training images that no candidate contains. Test
images are not read. What is done is in the file, and is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

import dsguard
from dsguard._atomic import write_whole
from dsguard.covers import (
    Attacked,
    Blank,
    Cover,
    DrawnPatterns,
    FittedPatterns,
    Itself,
    Marked,
    Other,
    shown,
)
from dsguard.evaluation import Data, own_images, psnr
from dsguard.evaluation.presets import QUICK
from dsguard.evaluation.trainings import Shared, Training
from dsguard.evaluation.trials import Trial
from dsguard.fsp import Attack, Surrogate, fit_surrogate

KEY = dsguard.DatasetKey(bytes(32))
PRESET = QUICK.computed_in(bfloat16=True)
Make = Callable[[Surrogate], Cover]

PLAIN = {"none": Trial("protected")}
AGAINST = {
    name: Trial("protected", name)
    for name in ("crop-and-flip", "projection", "jpeg", "evened", "informed")
}
SHARED = {
    "80 %": Trial("protected", percent=80),
    "80 %, crop-and-flip": Trial("protected", "crop-and-flip", percent=80),
}
ALL = PLAIN | AGAINST | SHARED
ALONE = {name: replace(trial, version="unprotected") for name, trial in SHARED.items()}


@dataclass(frozen=True)
class Candidate:
    """One way to make a training set.

    Attributes
    ----------
    make : callable
        Surrogate to cover.
    profile : str or None
        The profile that hides the clean images in them; None leaves them as they are.
    trials : dict of str to Trial
    grid : int
        Side of the squares that covers are constant on, where nothing is hidden.
    """

    make: Make
    profile: str | None
    trials: dict[str, Trial]
    grid: int = 4

    def images(self, data: Data, surrogate: Surrogate) -> np.ndarray:
        """Return the training images."""
        clean, labels = data.train_images, data.train_labels
        cover = self.make(surrogate)
        numbers = surrogate.class_numbers(labels, len(clean))
        if self.profile is not None:
            codec = dsguard.Profile.named(self.profile).codec
            out = dsguard.protect_batch(clean, KEY, cover=cover, labels=numbers, codec=codec)
            return out.images
        return shown(cover, clean, numbers, self.grid)


def class_wise(epsilon: int, base: Cover | None = None, *, drawn: bool = False) -> Make:
    """Return what puts a pattern on each image, or on another cover."""
    base = base or Itself()
    if drawn:
        return lambda _: Marked(base, DrawnPatterns(KEY, epsilon))
    return lambda surrogate: Marked(base, FittedPatterns(surrogate.patterns, epsilon))


def sample_wise(epsilon: int) -> Make:
    """Return what attacks each image by itself."""
    attack = Attack(epsilon, kind="sample-wise")
    return lambda surrogate: Marked(Itself(), Attacked(surrogate, attack))


def clean(_: Surrogate) -> Cover:
    """Return the clean images."""
    return Itself()


CANDIDATES = {
    "clean": Candidate(clean, None, PLAIN | AGAINST),
    "no protected images: the clean fifth alone": Candidate(clean, None, ALONE),
    "class-wise, ε 16": Candidate(class_wise(16), "exact", ALL),
    "class-wise, 2×2, ε 8": Candidate(class_wise(8), "exact-fine", ALL),
    "class-wise, ε 8": Candidate(class_wise(8), "exact", ALL),
    "class-wise, ε 32": Candidate(class_wise(32), "exact", ALL),
    "class-wise, drawn without a network, ε 16": Candidate(
        class_wise(16, drawn=True), "exact", PLAIN | AGAINST
    ),
    "sample-wise, 2×2, ε 16": Candidate(sample_wise(16), "exact-fine", ALL),
    "sample-wise, pixel-wise, ε 16, hidden as the paper does": Candidate(
        sample_wise(16), "paper", PLAIN
    ),
    "sample-wise, pixel-wise, ε 16, nothing hidden": Candidate(
        sample_wise(16), None, PLAIN, grid=1
    ),
    "veil, ε 16": Candidate(class_wise(16, Other(KEY), drawn=True), "veil", ALL),
    "veil without patterns": Candidate(class_wise(0, Other(KEY), drawn=True), "veil", PLAIN),
    "the patterns on other images, ε 16": Candidate(class_wise(16, Other(KEY)), None, SHARED),
    "the patterns on gray, ε 16": Candidate(class_wise(16, Blank()), None, SHARED),
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
    for name, candidate in CANDIDATES.items():
        done = found.get(name, {}).get("trials", {})
        missing = {m: trial for m, trial in candidate.trials.items() if m not in done}
        if not missing:
            continue
        images = candidate.images(data, surrogate)
        entry = found.setdefault(name, {"profile": candidate.profile, "trials": {}})
        if candidate.profile is not None:
            entry |= distance(images, data.train_images)
        shared = Shared(partial(_versions, data.train_images, images), data, PRESET)
        for measure, trial in missing.items():
            row = shared.run(Training(trial))
            entry["trials"][measure] = {"last": row.test_accuracy, "peak": row.peak_accuracy}
            print(f"{name:55} {measure:20} {row.test_accuracy:6.1%} {row.peak_accuracy:6.1%}")
            with write_whole(options.out) as file:
                file.write((json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def _versions(clean: np.ndarray, protected: np.ndarray, _: int) -> dict[str, np.ndarray]:
    return {"clean": clean, "protected": protected}


def distance(images: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Return how far images are from the clean ones: the mean of about 500, evenly taken."""
    every = max(1, len(images) // 500)
    pairs = list(zip(images[::every], clean[::every], strict=True))
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b in pairs])),
        "ssim": float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in pairs])),
    }


if __name__ == "__main__":
    main()
