"""Pictures of what profiles do: docs/pictures/profiles.png, protection.png, sealed.png.

    python -m bench.pictures docs/pictures/profiles.png

Crops of scikit-learn's two sample photographs, a target that differs by ε 16 in every block and
channel, and for each profile the protected image, its difference from the target and what restoring
leaves, both sixteenfold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import dsguard
from dsguard.choices import STRENGTHS
from dsguard.codecs import Sealed
from dsguard.covers import DrawnPatterns, Itself, Marked, Preview
from dsguard.evaluation import triptychs

from .exact import block_target


def crops() -> np.ndarray:
    """Return four crops of 64×64."""
    photos = load_sample_images().images
    places = [(0, 130, 260), (0, 250, 100), (1, 120, 240), (1, 60, 380)]
    return np.stack([photos[n][y : y + 64, x : x + 64] for n, y, x in places])


def sixteenfold(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the difference around middle gray, times 16."""
    difference = 128 + 16 * (image.astype(np.int16) - other)
    return np.clip(difference, 0, 255).astype(np.uint8)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    clean, key = crops(), dsguard.DatasetKey(bytes(range(32)))
    sheets = []
    for profile, block in (("exact", 4), ("exact-fine", 2), ("paper", 4)):
        target = block_target(clean, block, 16)
        out = dsguard.protect_batch(clean, key, target=target, profile=profile)
        back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars)
        columns = {
            "clean": clean,
            "target": target,
            profile: out.images,
            "- target, x16": sixteenfold(out.images, target),
            "restored": back,
            "- clean, x16": sixteenfold(back, clean),
        }
        print(profile, len(out.sidecars), "sidecars")
        sheets.append(triptychs(columns, rows=3))
    height = sum(sheet.height for sheet in sheets)
    whole = Image.new("RGB", (sheets[0].width, height), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    options.out.parent.mkdir(parents=True, exist_ok=True)
    whole.save(options.out, optimize=True)
    protection(clean, key).save(options.out.with_name("protection.png"), optimize=True)
    published(clean, key).save(options.out.with_name("sealed.png"), optimize=True)


def protection(clean: np.ndarray, key: dsguard.DatasetKey) -> Image.Image:
    """Draw what a class-wise perturbation and a veil look like: drawn patterns, two classes."""
    labels = np.arange(len(clean)) % 2
    columns = {"clean": clean}
    for name, epsilon in STRENGTHS.items():
        cover = Marked(Itself(), DrawnPatterns(key, epsilon))
        done = dsguard.protect_batch(clean, key, cover=cover, labels=labels, codec="exact")
        columns[f"exact, {name}"] = done.images
    columns["veil"] = dsguard.protect_batch(clean, key, labels=labels, profile="veil").images
    return triptychs(columns)


def published(clean: np.ndarray, key: dsguard.DatasetKey) -> Image.Image:
    """Draw what can be published in the place of images, and what comes back."""
    labels = np.arange(len(clean)) % 2
    codec = Sealed().fitted([clean], part=1)
    perturbed = Marked(Itself(), DrawnPatterns(key))
    preview = dsguard.protect_batch(clean, key, cover=Preview(8), codec=codec)
    sealed = dsguard.protect_batch(clean, key, labels=labels, codec=codec)
    return triptychs({
        "clean": clean,
        "perturbed": dsguard.protect_batch(
            clean, key, cover=perturbed, labels=labels, codec="exact"
        ).images,
        "preview": preview.images,
        "sealed": sealed.images,
        "restored": dsguard.restore_batch(sealed.images, key),
    })  # fmt: skip


if __name__ == "__main__":
    main()
