"""Feature re-weighting (Sandoval-Segura et al., arXiv 2305.19254) on the networks of a study.

    python -m bench.reweighting DATA STUDY --out bench/results/efficacy/reweighting.json

takes the networks that a study trained on clean and on protected images, and one that was not
trained, and fits a new last layer to the features of a few clean images (of the training set, 50 of
each class). What protected images taught is of use as far as the second beats the third.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsguard.evaluation import own_images
from dsguard.evaluation.presets import PRESETS
from dsguard.networks.resnet import ResNet18, build
from dsguard.networks.training import frozen, to_pixels

PER_CLASS = 50


def features(model: ResNet18, images: np.ndarray) -> np.ndarray:
    """Return the pooled features of the last layer."""
    with frozen(model), torch.no_grad():
        parts = [
            model.features(to_pixels(images[start : start + 500], torch.device("cpu")))
            for start in range(0, len(images), 500)
        ]
    return torch.cat(parts).numpy()


def main() -> None:
    """Fit and test three last layers, and write what they reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    settings = json.loads((options.study / "settings.json").read_text())["preset"]
    preset = PRESETS[settings["name"]]
    data = own_images(options.data, preset.train_images, preset.test_images)
    few = np.concatenate(
        [np.flatnonzero(data.train_labels == label)[:PER_CLASS] for label in range(10)]
    )
    reached = {}
    for name in ("clean", "protected", "untrained"):
        model = build(data.train_images.shape[1:], 10, preset.width, seed=0)
        if name != "untrained":
            kept = torch.load(options.study / "seed0" / f"{name}.pt", weights_only=True)
            model.load_state_dict(kept["model"])
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        head.fit(features(model, data.train_images[few]), data.train_labels[few])
        reached[name] = head.score(features(model, data.test_images), data.test_labels)
        print(f"{name:10} {reached[name]:.1%}")
    text = json.dumps({"clean_images": len(few), "test_accuracy": reached}, indent=1)
    options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
