"""What the exact profiles do to real images: losslessness, sidecars, distortion, bits and speed.

    python -m bench.exact ../shared/data --out bench/results/exact

goes through all 60,000 CIFAR-10 and 5,500 TinyImageNet images and some that are made here, prints
the table of targets, and puts it into ``docs/performance.md``. Distortion is that of hiding alone,
everything included: the protected image against the temporary one, images with a sidecar left out.
Targets are random: ± ε for each block and channel (what a perturbation that blocks carry looks
like), uniform noise within ε, or another image of the set.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import dsguard
from dsguard.kernels import kernels, native
from dsguard.mrit import Geometry

from .report import put_into_page, table

KEY = dsguard.DatasetKey(bytes(range(32)))
BLOCK = {"exact": 4, "exact-fine": 2, "exact-coarse": 8}
START, END = "<!-- figures: bench/exact.py -->", "<!-- end of exact figures -->"


@dataclass
class Result:
    """One profile on one set of images towards one kind of target."""

    images: str
    profile: str
    target: str
    count: int
    lossless: int
    sidecars: int
    classes: int
    sequence_bits: float
    hidden_rate: float
    mean_psnr: float
    low_psnr: float
    protect_per_s: float
    restore_per_s: float


def read_images(path: Path) -> np.ndarray:
    """Return all images of an archive, in RGB."""
    images = []
    with tarfile.open(path, "r:xz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
    return np.stack(images)


def made_images(count: int = 100) -> np.ndarray:
    """Return images that are hard on hiding: constant, saturated, checkerboards, slopes, noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:32, :32]
    kinds = [
        np.broadcast_to(rng.integers(0, 256, (count, 1, 1, 3)), (count, 32, 32, 3)),
        rng.choice([0, 255], (count, 32, 32, 3)),
        np.broadcast_to((((x // 2 + y // 2) % 2) * 255)[None, :, :, None], (count, 32, 32, 3)),
        np.clip(rng.uniform(-8, 8, (count, 1, 1, 3)) * (x - y)[None, :, :, None] + 128, 0, 255),
        rng.integers(0, 256, (count, 32, 32, 3)),
    ]
    return np.concatenate(kinds).astype(np.uint8)


def block_target(images: np.ndarray, block: int, epsilon: int) -> np.ndarray:
    """Return targets that differ by + or - ε in every block and channel."""
    rng = np.random.default_rng(2)
    n, h, w, c = images.shape
    signs = rng.choice(
        np.array([-epsilon, epsilon], np.int16), (n, -(-h // block), -(-w // block), c)
    )
    spread = signs.repeat(block, 1).repeat(block, 2)[:, :h, :w]
    return np.clip(images + spread, 0, 255).astype(np.uint8)


def noise_target(images: np.ndarray, epsilon: int) -> np.ndarray:
    """Return targets with uniform noise within ε in every sample."""
    rng = np.random.default_rng(3)
    noise = rng.integers(-epsilon, epsilon + 1, images.shape, dtype=np.int16)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def psnr_each(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the PSNR of each image in dB."""
    errors = [((a.astype(np.int32) - b) ** 2).mean() for a, b in zip(images, others, strict=True)]
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-9))


def measure(name: str, images: np.ndarray, target: np.ndarray, kind: str, profile: str) -> Result:
    """Protect and restore in one thread, and look at what came out."""
    start = time.perf_counter()
    out = dsguard.protect_batch(images, KEY, target=target, profile=profile, threads=1)
    middle = time.perf_counter()
    back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, threads=1)
    end = time.perf_counter()
    temporary, _, lengths, modes = kernels().encode(
        images, np.ascontiguousarray(target), Geometry.of(images), BLOCK[profile]
    )
    carried = np.array([i not in out.sidecars for i in range(len(images))])
    values = psnr_each(out.images[carried], temporary[carried])
    hidden = 8 * (lengths[carried] + 23 + 16)  # with what the header replaces, and the tag
    return Result(
        name,
        profile,
        kind,
        len(images),
        int((back == images).all(axis=(1, 2, 3)).sum()),
        len(out.sidecars),
        int((modes & 4 > 0).sum()),
        float(8 * lengths.mean()),
        float(hidden.mean() / images[0].size) if carried.any() else float("nan"),
        float(values.mean()) if carried.any() else float("nan"),
        float(np.percentile(values, 5)) if carried.any() else float("nan"),
        len(images) / (middle - start),
        len(images) / (end - middle),
    )


def measure_all(data: Path) -> list[Result]:
    """Measure every profile on every set of images."""
    results = []
    sets = {
        "CIFAR-10": read_images(data / "cifar10.tar.xz"),
        "TinyImageNet": read_images(data / "tinyimagenet10.tar.xz"),
        "made": made_images(),
    }
    for name, images in sets.items():
        near = {
            ("exact", "block ε 8"): block_target(images, 4, 8),
            ("exact", "noise ε 8"): noise_target(images, 8),
            ("exact", "block ε 16"): block_target(images, 4, 16),
            ("exact", "another image"): images[::-1],
            ("exact-fine", "block ε 8"): block_target(images, 2, 8),
            ("exact-fine", "block ε 16"): block_target(images, 2, 16),
            ("exact-coarse", "block ε 16"): block_target(images, 8, 16),
        }
        for (profile, kind), target in near.items():
            results.append(measure(name, images, target, kind, profile))
            print(results[-1], flush=True)
    return results


def targets(results: list[Result]) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table of targets."""
    by = {(r.images, r.profile, r.target): r for r in results}
    cifar = {key[1:]: r for key, r in by.items() if key[0] == "CIFAR-10"}
    block8, noise8 = cifar["exact", "block ε 8"], cifar["exact", "noise ε 8"]
    block16, other = cifar["exact", "block ε 16"], cifar["exact", "another image"]
    fine8, fine = cifar["exact-fine", "block ε 8"], cifar["exact-fine", "block ε 16"]
    lossless = [(r.lossless, r.count) for r in results]
    worst = max(r.sidecars / r.count for r in (block8, noise8))
    rows = [
        (
            "restored bit for bit, all profiles and targets",
            "all",
            f"{sum(a for a, _ in lossless):,} of {sum(b for _, b in lossless):,}",
            all(a == b for a, b in lossless),
        ),
        (
            "CIFAR-10 images with a sidecar, `exact`, ε 8 (block, noise)",
            "≤ 0.5 %",
            f"{block8.sidecars / block8.count:.2%}, {noise8.sidecars / noise8.count:.2%}",
            worst <= 0.005,
        ),
        (
            "the same, `exact-fine`, ε 8 and 16",
            "–",
            f"{fine8.sidecars / fine8.count:.2%}, {fine.sidecars / fine.count:.2%}",
            None,
        ),
        (
            "2×2 blocks, ε 16: PSNR of hiding, mean and 5th percentile",
            "≥ 40, ≥ 35 dB",
            f"{fine.mean_psnr:.1f}, {fine.low_psnr:.1f} dB",
            fine.mean_psnr >= 40 and fine.low_psnr >= 35,
        ),
        (
            "4×4 blocks, ε 16: mean",
            "≥ 46 dB",
            f"{block16.mean_psnr:.1f} dB",
            block16.mean_psnr >= 46,
        ),
        (
            "classes towards another image: mean, hidden bits per sample, sidecars",
            "≥ 36 dB at ≤ 0.45",
            f"{other.mean_psnr:.1f} dB, {other.hidden_rate:.2f}, "
            f"{other.sidecars / other.count:.1%}",
            other.mean_psnr >= 36 and other.hidden_rate <= 0.45,
        ),
        (
            "Sequence: another image by classes; noise within ε 8",
            "≤ 1,050, ≤ 500 bits",
            f"{other.sequence_bits:.0f}, {noise8.sequence_bits:.0f}",
            other.sequence_bits <= 1050 and noise8.sequence_bits <= 500,
        ),
        (
            "Sequence: block-constant target, 4×4; 2×2 (ε 16)",
            "≤ 320, ≤ 1,000 bits",
            f"{block16.sequence_bits:.0f}, {fine.sequence_bits:.0f}",
            block16.sequence_bits <= 320 and fine.sequence_bits <= 1000,
        ),
        (
            "`exact`, one thread: protect, restore",
            "≥ 30,000, ≥ 40,000 images/s",
            f"{block8.protect_per_s:,.0f}, {block8.restore_per_s:,.0f}",
            block8.protect_per_s >= 3e4 and block8.restore_per_s >= 4e4,
        ),
        (
            "`exact-fine`, one thread: protect, restore",
            "≥ 30,000, ≥ 40,000 images/s",
            f"{fine.protect_per_s:,.0f}, {fine.restore_per_s:,.0f}",
            fine.protect_per_s >= 3e4 and fine.restore_per_s >= 4e4,
        ),
    ]
    words = {True: "yes", False: "**no**", None: "–"}
    return [(what, target, got, words[met]) for what, target, got, met in rows]


def details(results: list[Result]) -> list[tuple[str, ...]]:
    """Return a row for every measurement."""
    return [
        (
            r.images,
            r.profile,
            r.target,
            f"{r.lossless:,}/{r.count:,}",
            f"{r.sidecars:,}",
            f"{r.classes / r.count:.0%}",
            f"{r.sequence_bits:.0f}",
            f"{r.mean_psnr:.1f} ({r.low_psnr:.1f})",
            f"{r.protect_per_s:,.0f}",
            f"{r.restore_per_s:,.0f}",
        )
        for r in results
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, help="path without suffix")
    options = parser.parse_args()
    results = measure_all(options.data)
    where = (
        f"{platform.machine()}, {native.isa()}, Python {platform.python_version()}, dsguard "
        f"{dsguard.__version__}, NumPy {np.__version__}; JPEG copies of the datasets, smoother "
        "than the originals."
    )
    head = ("what, 32×32×3 unless said", "target", "reached", "met")
    summary = table(head, targets(results)) + "\n\n" + where
    columns = (
        "images",
        "profile",
        "target",
        "bit for bit",
        "sidecars",
        "by classes",
        "Sequence, bits",
        "hiding, dB: mean (5 %)",
        "protect/s",
        "restore/s",
    )
    print(summary)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(r) for r in results]
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        text = f"{summary}\n\n{table(columns, details(results))}\n"
        options.out.with_suffix(".md").write_text(text)
        put_into_page(START, END, summary)


if __name__ == "__main__":
    main()
