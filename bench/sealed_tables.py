"""Make the tables of codec sealed, which belong to its format, from real images.

    python bench/sealed_tables.py ../shared/data

They come from 8,000 CIFAR-10 and 2,000 TinyImageNet training images and from sample photographs of
scikit-learn and scikit-image. Test splits, and the other samples, are kept for measuring.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsguard.kernels.reference.sealed.model import (
    KINDS,
    LUMA,
    PROBABILITY_BITS,
    RED,
    SIZES,
    SYMBOLS,
    symbol_of,
    to_planes,
)

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "src/dsguard/kernels/reference/sealed/tables.json"
HEADER = ROOT / "csrc/sealed/tables.h"

QUANTILES = (*(n / 32 for n in range(1, 32)), 0.985, 0.995)
"""Of the expected sizes, where one context ends and another begins."""

FINE = (0, 3, 7, 12, 18, 26)
"""Expected sizes of smooth images, of which photographs have few."""

SAMPLES = ("coffee", "chelsea", "rocket", "cell", "brick", "grass", "retina")
PHOTOGRAPHS = 0.3
"""Weight of all photographs, where that of each set is 1."""

ROUNDS = 3

Array = npt.NDArray[Any]


def images_of(archive: Path, split: str, each: int) -> Array:
    """Return the first images of each class, (N, H, W, 3)."""
    found: dict[str, list[Array]] = defaultdict(list)
    with tarfile.open(archive) as tar:
        members = sorted((m for m in tar if m.name.startswith(f"{split}/")), key=lambda m: m.name)
        for member in members:
            images, file = found[member.name.split("/")[1]], tar.extractfile(member)
            if file is not None and len(images) < each:
                images.append(np.array(Image.open(io.BytesIO(file.read())).convert("RGB")))
    return np.stack([image for images in found.values() for image in images])


def photographs() -> list[Array]:
    """Return sample photographs, each as a batch of one."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    images = [*load_sample_images().images, *(getattr(data, name)() for name in SAMPLES)]
    coloured = (
        image if image.ndim == 3 else image.repeat(3).reshape(*image.shape, 3) for image in images
    )
    return [image[np.newaxis, ..., :3].astype(np.uint8) for image in coloured]


def shifted(values: Array, down: int, right: int) -> Array:
    """Return at each place the value so far from it; beyond the edges 0."""
    out = np.zeros_like(values)
    height, width = values.shape[1:]
    rows, columns = (
        slice(max(0, -down), height - max(0, down)),
        slice(max(0, -right), width - max(0, right)),
    )
    from_rows = slice(rows.start + down, rows.stop + down)
    from_columns = slice(columns.start + right, columns.stop + right)
    out[:, rows, columns] = values[:, from_rows, from_columns]
    return out


def around(plane: Array, kind: int) -> tuple[Array, ...]:
    """Return W, N, NW, NE, WW and NN of all samples; see `Around.of`."""
    west, north = shifted(plane, 0, -1), shifted(plane, -1, 0)
    west[:, 1:, 0], west[:, 0, 0] = plane[:, :-1, 0], 128 if kind == LUMA else 0
    north[:, 0] = west[:, 0]
    north_west, north_east = shifted(plane, -1, -1), shifted(plane, -1, 1)
    north_west[:, :, 0], north_east[:, :, -1] = north[:, :, 0], north[:, :, -1]
    west_west, north_north = shifted(plane, 0, -2), shifted(plane, -2, 0)
    west_west[:, :, :2], north_north[:, 1] = west[:, :, :1], north[:, 1]
    north_west[:, 0] = north_east[:, 0] = north_north[:, 0] = west[:, 0]
    return west, north, north_west, north_east, west_west, north_north


class Part:
    """One kind of plane of some images, and what the fit makes of it."""

    def __init__(self, plane: Array, kind: int, before: list[Array], weight: float) -> None:
        self.plane, self.kind, self.weight = plane, kind, weight
        self.around = around(plane, kind)
        west, north, corner = self.around[:3]
        self.edge = np.median([west, north, west + north - corner], axis=0).astype(np.int32)
        self.before = before
        steps = self.steps()
        self.scale = (sum(steps) / len(steps) + 1.5).ravel()

    def steps(self) -> list[Array]:
        """Return the differences that the expected size is made of."""
        west, north, north_west, north_east = self.around[:4]
        return [abs(west - north_west), abs(north - north_west), abs(north - north_east)]

    def predict(self, weights: Array) -> None:
        """Make errors with some weights."""
        turned = sum(int(w) * (x - self.edge) for w, x in zip(weights, self.around, strict=True))
        least, most = (0, 255) if self.kind == LUMA else (-128, 127)
        prediction = np.clip(self.edge + ((turned + 32) >> 6), least, most)
        self.errors = (self.plane - prediction + 128 & 255) - 128

    def parts(self) -> Array:
        """Return what the expected size is made of, one row for each sample."""
        size = abs(self.errors)
        places = ((0, -1), (-1, 0), (-1, 1), (-1, -1))
        near = [shifted(size, *place) for place in places]
        return np.stack([x.ravel() for x in (*self.steps(), *near, *self.before)], axis=1)


def solved(parts: list[tuple[Array, Array, Array]]) -> Array:
    """Return the least squares solution of several parts: inputs, values, weights."""
    left = sum((x * w[:, None]).T @ x for x, _, w in parts)
    right = sum((x * w[:, None]).T @ y for x, y, w in parts)
    return np.linalg.solve(left, right)


def fitted(parts: list[Part]) -> dict[str, Any]:
    """Return the model of one kind of plane."""
    for _ in range(ROUNDS):  # errors are weighted by the size that is expected of them
        inputs = [np.stack([(x - p.edge).ravel() for x in p.around], axis=1) for p in parts]
        weights = np.round(64 * solved([
            (x.astype(np.float64), (p.plane - p.edge).ravel(), p.weight / p.scale**2)
            for x, p in zip(inputs, parts, strict=True)
        ])).astype(int)  # fmt: skip
        for part in parts:
            part.predict(weights)
        made = [part.parts().astype(np.float64) for part in parts]
        sizes = np.full(made[0].shape[1], 0.1)
        for _ in range(5):
            sizes = solved([
                (x, abs(p.errors).ravel(), p.weight / (np.maximum(x @ sizes, 0.3) + 0.7) ** 1.6)
                for x, p in zip(made, parts, strict=True)
            ])  # fmt: skip
        sizes = np.maximum(0, np.round(64 * sizes)).astype(int)
        for x, part in zip(made, parts, strict=True):
            part.scale = np.maximum(x @ sizes / 64, 0.3) + 0.5
    expected = [np.minimum(x @ sizes, SIZES - 1).astype(int) for x in made]
    found = np.concatenate(expected)
    quantiles = np.quantile(found[found > 0], QUANTILES).astype(int)
    thresholds = sorted({n for n in (*FINE, *quantiles.tolist()) if n < SIZES - 1})
    counts = np.zeros((len(thresholds) + 1, SYMBOLS))
    symbols = np.array([symbol_of(e)[0] for e in range(-128, 128)])
    for sizes_of, part in zip(expected, parts, strict=True):
        rows = np.searchsorted(thresholds, sizes_of)
        np.add.at(counts, (rows, symbols[part.errors.ravel() + 128]), part.weight)
    return {
        "weights": weights.tolist(),
        "sizes": sizes.tolist(),
        "thresholds": thresholds,
        "frequencies": [frequencies_of(row) for row in counts],
    }


def frequencies_of(counts: Array) -> list[int]:
    """Return frequencies of at least 1 that add up to what the format says."""
    total = 1 << PROBABILITY_BITS
    wanted = (counts + 0.02) / (counts + 0.02).sum() * total
    found = np.maximum(1, np.floor(wanted)).astype(int)
    while found.sum() < total:
        found[np.argmax(wanted / found)] += 1
    while found.sum() > total:
        found[np.argmin(np.where(found > 1, wanted / found, np.inf))] -= 1
    return found.tolist()


def braced(numbers: list[int]) -> str:
    """Return numbers as an initialiser of C."""
    return "{" + ", ".join(map(str, numbers)) + "}"


def header_of(kinds: list[dict[str, Any]]) -> str:
    """Return the tables as C."""
    contexts = max(len(kind["frequencies"]) for kind in kinds)
    lines = [
        "/* tables.h - the model of codec sealed, part of the format (bench/sealed_tables.py). */",
        "#ifndef DSGUARD_SEALED_TABLES_H",
        "#define DSGUARD_SEALED_TABLES_H",
        "",
        f"enum {{ SEALED_KINDS = {len(kinds)}, SEALED_CONTEXTS = {contexts} }};",
        f"enum {{ SEALED_SIZES = {SIZES} }};",
        "",
    ]
    for name, length in (("weights", 6), ("sizes", 8)):
        rows = ", ".join(braced(kind[name]) for kind in kinds)
        lines.append(f"static const int16_t sealed_{name}[SEALED_KINDS][{length}] = {{{rows}}};")
    lines.append("/* The context of each expected size. */")
    lines.append("static const uint8_t sealed_contexts[SEALED_KINDS][SEALED_SIZES] = {")
    sizes = np.arange(SIZES)
    lines += [braced(np.searchsorted(kind["thresholds"], sizes).tolist()) + "," for kind in kinds]
    lines.append("};")
    lines.append("/* Where the frequencies of symbols begin; the last is followed by their sum. */")
    lines.append(
        f"static const uint16_t sealed_starts[SEALED_KINDS][SEALED_CONTEXTS][{SYMBOLS + 1}] = {{"
    )
    for kind in kinds:
        starts = [[0, *np.cumsum(row).tolist()] for row in kind["frequencies"]]
        lines.append("{" + ",\n".join(map(braced, starts)) + "},")
    lines.append("};")
    return "\n".join([*lines, "", "#endif", ""])


def main() -> None:
    """Write the tables."""
    folder = Path(sys.argv[1])
    sets = [
        images_of(folder / "cifar10.tar.xz", "train", 800),
        images_of(folder / "tinyimagenet10.tar.xz", "train", 200),
    ]
    photos = photographs()
    most = max(images.size for images in sets)
    weighted = [(images, most / images.size) for images in sets]
    weighted += [(photo, PHOTOGRAPHS * most / len(photos) / photo.size) for photo in photos]
    planes = [np.stack([to_planes(image) for image in images]) for images, _ in weighted]
    before: list[list[Array]] = [[] for _ in weighted]
    kinds = []
    for kind in KINDS[3]:
        parts = [
            Part(p[..., kind], kind, own, weight)
            for p, own, (_, weight) in zip(planes, before, weighted, strict=True)
        ]
        kinds.append(fitted(parts))
        print(kinds[-1]["weights"], kinds[-1]["sizes"], len(kinds[-1]["frequencies"]))
        if kind == RED:
            before = [[abs(part.errors)] for part in parts]
    TABLES.write_text(json.dumps(kinds) + "\n")
    HEADER.write_text(header_of(kinds))


if __name__ == "__main__":
    main()
