"""What the exact profiles do to real images: losslessness, sidecars, distortion, bits and speed.

    python -m bench.exact ../shared/data --out bench/results/exact

goes through all 60,000 CIFAR-10 and 5,500 TinyImageNet images and some that are made here, prints
the table of targets, and puts it into ``docs/performance.md``. Distortion is that of hiding alone,
everything included: the protected image against the temporary one, images with a sidecar left out.
Targets are random: ± ε for each block and channel (the easiest that blocks carry), uniform noise
within ε, another image of the set; and, for 2,000 images, what FSP makes of them. Speed is the best
of three runs in one thread.
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
from dsguard.codecs.header import lengths_of
from dsguard.kernels import kernels, native
from dsguard.kernels.geometry import Geometry

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
    coarse: int


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


def fsp_target(images: np.ndarray, labels: list[int], block: int, epsilon: int) -> np.ndarray:
    """Return what FSP makes with a small surrogate trained on the images themselves."""
    from dsguard.fsp import Attack, Recipe, fit_surrogate, perturb

    surrogate = fit_surrogate(images, labels, recipe=Recipe(epochs=5))
    return perturb(images, labels, surrogate, Attack(epsilon, kind="sample-wise", block=block))


def psnr_each(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the PSNR of each image in dB."""
    errors = [((a.astype(np.int32) - b) ** 2).mean() for a, b in zip(images, others, strict=True)]
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-9))


def measure(name: str, images: np.ndarray, target: np.ndarray, kind: str, profile: str) -> Result:
    """Protect and restore in one thread, and look at what came out."""
    seconds = [9e9, 9e9]
    for _ in range(3):
        start = time.perf_counter()
        out = dsguard.protect_batch(images, KEY, target=target, profile=profile, threads=1)
        middle = time.perf_counter()
        back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, threads=1)
        end = time.perf_counter()
        seconds = [min(seconds[0], middle - start), min(seconds[1], end - middle)]
    temporary, lengths, modes, coarse = encode_as_protected(images, target, profile, out)
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
        len(images) / seconds[0],
        len(images) / seconds[1],
        coarse,
    )


def encode_as_protected(
    images: np.ndarray, target: np.ndarray, profile: str, out: dsguard.ProtectedBatch
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return temporary images, lengths and modes as they were hidden, and how many were coarse.

    Of the two ways to encode, it is the one whose length the header of the image says.
    """
    geometry, goal = Geometry.of(images), np.ascontiguousarray(target)
    temporary, _, lengths, modes = kernels().encode(images, goal, geometry, BLOCK[profile])
    said = lengths_of(kernels().extract(out.images, 18, geometry)) & 0xFFFFFF
    other = np.flatnonzero(said != lengths + 23)
    if len(other):
        short, _, ends, kinds = kernels().encode(
            images[other], goal[other], geometry, BLOCK[profile], coarse=True
        )
        temporary[other], lengths[other], modes[other] = short, ends, kinds
    return temporary, lengths, modes, len(other)


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
    images = np.ascontiguousarray(sets["CIFAR-10"][:: len(sets["CIFAR-10"]) // 2000][:2000])
    labels = [n * 10 // len(images) for n in range(len(images))]  # any classes will do here
    for profile, epsilon in (("exact", 8), ("exact-fine", 8), ("exact-fine", 16)):
        target = fsp_target(images, labels, BLOCK[profile], epsilon)
        name = f"FSP ε {epsilon}"
        results.append(measure("CIFAR-10, 2,000", images, target, name, profile))
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
    fsp = {key[1:]: r for key, r in by.items() if key[0].startswith("CIFAR-10, ")}
    fsp8, fsp16 = fsp["exact-fine", "FSP ε 8"], fsp["exact-fine", "FSP ε 16"]
    fine_speed = [min(r.protect_per_s for r in (fine8, fine))]
    fine_speed.append(min(r.restore_per_s for r in (fine8, fine)))
    speed = [min(r.protect_per_s for r in (block8, noise8, block16))]
    speed.append(min(r.restore_per_s for r in (block8, noise8, block16)))
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
            "the same towards targets of FSP, of 2,000 images; coded coarsely",
            "–",
            f"{fsp8.sidecars / fsp8.count:.2%}, {fsp16.sidecars / fsp16.count:.2%}; "
            f"{fsp8.coarse / fsp8.count:.0%}, {fsp16.coarse / fsp16.count:.0%}",
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
            "`exact`, one thread, slowest of blocks ε 8, ε 16, noise: protect, restore",
            "≥ 30,000, ≥ 40,000 images/s",
            f"{speed[0]:,.0f}, {speed[1]:,.0f}",
            speed[0] >= 3e4 and speed[1] >= 4e4,
        ),
        (
            "`exact-fine`, the same, slower of blocks ε 8, ε 16",
            "≥ 30,000, ≥ 40,000 images/s",
            f"{fine_speed[0]:,.0f}, {fine_speed[1]:,.0f}",
            fine_speed[0] >= 3e4 and fine_speed[1] >= 4e4,
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
            f"{r.coarse / r.count:.1%}",
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
        f"{dsguard.__version__}, NumPy {np.__version__}; the images are JPEG copies, "
        "smoother than the originals."
    )
    head = ("figure, for 32×32×3 unless stated", "target", "reached", "met")
    summary = table(head, targets(results)) + "\n\n" + where
    columns = (
        "images",
        "profile",
        "target",
        "bit for bit",
        "sidecars",
        "by classes",
        "coarse",
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
