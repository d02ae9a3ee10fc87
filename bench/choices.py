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
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

import dsguard
from dsguard.evaluation import Data, own_images, psnr
from dsguard.evaluation.presets import QUICK
from dsguard.evaluation.trainings import Shared, Training
from dsguard.evaluation.trials import Trial
from dsguard.files import write_whole
from dsguard.fsp import Attack, Surrogate, fit_surrogate, perturb
from dsguard.patterns import Patterns
from dsguard.veil import others, veils

KEY = dsguard.DatasetKey(bytes(32))
PRESET = QUICK.computed_in(bfloat16=True)
Make = Callable[[Data, Surrogate], np.ndarray]

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
        (data, surrogate) to images.
    profile : str or None
        The profile that hides the clean images in them; None leaves them as they are.
    trials : dict of str to Trial
    """

    make: Make
    profile: str | None
    trials: dict[str, Trial]

    def images(self, data: Data, surrogate: Surrogate) -> np.ndarray:
        """Return the training images."""
        made = self.make(data, surrogate)
        if self.profile is None:
            return made
        clean = data.train_images
        return dsguard.protect_batch(clean, KEY, target=made, profile=self.profile).images


def class_wise(
    epsilon: int, block: int = 4, *, drawn: bool = False, to: Make | None = None
) -> Make:
    """Return what adds a pattern to each image, or to what `to` makes of it."""

    def make(data: Data, surrogate: Surrogate) -> np.ndarray:
        images, labels = data.train_images, data.train_labels
        patterns = surrogate.patterns
        if drawn:
            patterns = Patterns.drawn(surrogate.classes.tolist(), KEY)
        numbers = surrogate.class_numbers(labels, len(images))
        shown = to(data, surrogate) if to else images
        return patterns.added(images, shown, numbers, epsilon, block)

    return make


def sample_wise(epsilon: int, block: int) -> Make:
    """Return what attacks each image by itself."""
    attack = Attack(epsilon, kind="sample-wise", block=block)
    return lambda data, surrogate: perturb(data.train_images, data.train_labels, surrogate, attack)


def veil(epsilon: int) -> Make:
    """Return what takes another image for each."""
    return lambda data, _: veils(data.train_images, data.train_labels, KEY, 4, epsilon)


def clean(data: Data, _: Surrogate) -> np.ndarray:
    """Return the clean images."""
    return data.train_images


def gray(data: Data, _: Surrogate) -> np.ndarray:
    """Return images of one gray."""
    return np.full_like(data.train_images, 128)


def another(data: Data, _: Surrogate) -> np.ndarray:
    """Return another image of the set for each."""
    images = data.train_images
    return images[others(len(images), images[:1], KEY)]


CANDIDATES = {
    "clean": Candidate(clean, None, PLAIN | AGAINST),
    "no protected images: the clean fifth alone": Candidate(clean, None, ALONE),
    "class-wise, ε 16": Candidate(class_wise(16), "exact", ALL),
    "class-wise, 2×2, ε 8": Candidate(class_wise(8, 2), "exact-fine", ALL),
    "class-wise, ε 8": Candidate(class_wise(8), "exact", ALL),
    "class-wise, ε 32": Candidate(class_wise(32), "exact", ALL),
    "class-wise, drawn without a network, ε 16": Candidate(
        class_wise(16, drawn=True), "exact", PLAIN | AGAINST
    ),
    "sample-wise, 2×2, ε 16": Candidate(sample_wise(16, 2), "exact-fine", ALL),
    "sample-wise, pixel-wise, ε 16, hidden as the paper does": Candidate(
        sample_wise(16, 1), "paper", PLAIN
    ),
    "sample-wise, pixel-wise, ε 16, nothing hidden": Candidate(sample_wise(16, 1), None, PLAIN),
    "veil, ε 16": Candidate(veil(16), "veil", ALL),
    "veil without patterns": Candidate(veil(0), "veil", PLAIN),
    "the patterns on other images, ε 16": Candidate(class_wise(16, to=another), None, SHARED),
    "the patterns on gray, ε 16": Candidate(class_wise(16, to=gray), None, SHARED),
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
        shared = Shared({"clean": data.train_images, "protected": images}, data, PRESET)
        for measure, trial in missing.items():
            row = shared.run(Training(trial))
            entry["trials"][measure] = {"last": row.test_accuracy, "peak": row.peak_accuracy}
            print(f"{name:55} {measure:20} {row.test_accuracy:6.1%} {row.peak_accuracy:6.1%}")
            with write_whole(options.out) as file:
                file.write((json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


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
