"""Figures of codec sealed: sizes, distance to the cover, restoration, speed, and leaks.

    python -m bench.sealed

needs ``../shared/data``. Sizes are those of test splits: no table was made from these. All images,
of both splits, are sealed and restored. Networks are trained on 5,000 images of CIFAR-10, in some
minutes. Results are added to ``bench/results/sealed.json``, and make a table of
``docs/performance.md``. ``--part`` measures one thing anew.
"""

from __future__ import annotations

import argparse
import hmac
import io
import json
import platform
import tarfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from Crypto.Cipher import AES
from PIL import Image

import dsguard
from dsguard.codecs import Sealed
from dsguard.codecs.content import lengths_in
from dsguard.covers import Batch, Blank, Preview
from dsguard.formats import encode_images
from dsguard.kernels import native
from dsguard.keys.image_keys import counters_for

from .report import cpu, put_into_page, table

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SETS = ("cifar10", "tinyimagenet10")
PARTS = ("95.0%", "99.9%")
BITS, RATE, PSNR = "bits per sample, test split", "eighths of a bit", "PSNR to the cover, dB"
START, END = "<!-- figures: bench/sealed.py -->", "<!-- end of sealed figures -->"
KEY = dsguard.DatasetKey(bytes(32))

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def read(name: str, split: str) -> tuple[Images, Labels]:
    """Return the images of a split, and their classes as numbers."""
    images, classes = [], []
    with tarfile.open(DATA / f"{name}.tar.xz") as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(f"{split}/"):
                file = tar.extractfile(member)
                assert file is not None
                images.append(np.array(Image.open(io.BytesIO(file.read())).convert("RGB")))
                classes.append(member.name.split("/")[1])
    return np.stack(images), np.unique(classes, return_inverse=True)[1].astype(np.int64)


def decibels(images: Images, others: Images) -> float:
    """Return the PSNR over all images together."""
    parts = zip(np.array_split(images, 32), np.array_split(others, 32), strict=True)
    squares = [((a.astype(np.float32) - b) ** 2).sum(dtype=np.float64) for a, b in parts]
    return float(10 * np.log10(255**2 * images.size / sum(squares)))


def fastest(work: Callable[[], Any], rounds: int = 7) -> float:
    """Return the shortest time that something took, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def figures_of(name: str) -> dict[str, Any]:
    """Return sizes, distances and restoration of a dataset."""
    splits = [read(name, split) for split in ("test", "train")]
    test = splits[0][0]
    images, labels = (np.concatenate(parts) for parts in zip(*splits, strict=True))
    bits = 8 * np.array(lengths_in(test)) / test[0].size
    found: dict[str, Any] = {
        "images": len(images),
        "bits per sample, test split": round(float(bits.mean()), 3),
        "95 % of images, bits": round(float(np.quantile(bits, 0.95)), 3),
        "99.9 % of images, bits": round(float(np.quantile(bits, 0.999)), 3),
        "JPEG XL, effort 7, of 2,000: 99.9 % and 95 %, bits": jpeg_xl_at(
            test[:: len(test) // 2000 or 1], 7
        ),
    }
    cover = Blank(KEY, labelled=True)
    for part in (0.95, 0.999):
        codec = Sealed().fitted([images], part)
        out = dsguard.protect_batch(images, KEY, cover=cover, labels=labels, codec=codec)
        covers = np.concatenate([
            cover.images(Batch(images[i : i + 1000], labels[i : i + 1000]), 1)
            for i in range(0, len(images), 1000)
        ])  # fmt: skip
        back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars)
        found[f"rate that holds {part:.1%}"] = {
            "eighths of a bit": codec.rate,
            "PSNR to the cover, dB": round(decibels(out.images, covers), 2),
            "sidecars, %": round(100 * len(out.sidecars) / len(images), 3),
            "restored bit for bit": int((back == images).all(axis=(1, 2, 3)).sum()),
        }
    return found


def speeds() -> dict[str, Any]:
    """Return images per second of one thread, side by side."""
    images, labels = (part[:2000] for part in read("cifar10", "test"))
    cover, codec = Blank(KEY, labelled=True), Sealed(43)
    out = dsguard.protect_batch(images, KEY, cover=cover, labels=labels, codec=codec)
    exact = dsguard.protect_batch(images, KEY, target=images)
    data, lengths = native.compress(images)
    samples = images.size / 1e6
    work = {
        "coding, Msamples": lambda: native.compress(images),
        "decoding, Msamples": lambda: native.expand(data, lengths, images.shape[1:]),
        "protect, sealed": lambda: dsguard.protect_batch(
            images, KEY, cover=cover, labels=labels, codec=codec, threads=1
        ),
        "restore, sealed": lambda: dsguard.restore_batch(
            out.images, KEY, sidecars=out.sidecars, threads=1
        ),
        "protect, exact": lambda: dsguard.protect_batch(images, KEY, target=images, threads=1),
        "restore, exact": lambda: dsguard.restore_batch(
            exact.images, KEY, sidecars=exact.sidecars, threads=1
        ),
    }
    return {
        f"{name} a second": round((samples if "Msamples" in name else len(images)) / fastest(do), 1)
        for name, do in work.items()
    }


def primitives() -> dict[str, float]:
    """Return microseconds of what sealing one image of 32×32 takes from libraries."""
    key, content, image = bytes(32), bytes(1650), bytes(3072)
    counters = counters_for(len(content))
    work = {
        "AES-256 under a new key, 1,650 bytes": lambda: AES.new(key, AES.MODE_ECB).encrypt(
            counters
        ),
        "HMAC-SHA256, 1,650 bytes": lambda: hmac.digest(key, content, "sha256"),
        "HMAC-SHA256, 3,072 bytes": lambda: hmac.digest(key, image, "sha256"),
        "AES-SIV of the library, 1,650 bytes": lambda: AES.new(
            key + key, AES.MODE_SIV
        ).encrypt_and_digest(content),
    }
    return {name: round(1e6 * fastest(lambda do=do: [do() for _ in range(1000)]) / 1000, 2)
            for name, do in work.items()}  # fmt: skip


def files() -> dict[str, Any]:
    """Return the bytes of published PNG files, over those of the JPEG files they come from."""
    images, labels = read("cifar10", "test")
    cover = Blank(KEY, labelled=True)
    codec = Sealed().fitted([images])
    out = dsguard.protect_batch(images, KEY, cover=cover, labels=labels, codec=codec)
    published = sum(map(len, encode_images(out.images, sidecars=out.sidecars)))
    with tarfile.open(DATA / "cifar10.tar.xz") as tar:
        source = sum(member.size for member in tar if member.name.startswith("test/"))
    return {"PNG bytes": published, "JPEG bytes": source, "ratio": round(published / source, 2)}


def hard_images() -> dict[str, int]:
    """Return how many of 500 made images, and of sizes from 1×1 to 4000×3000, come back."""
    rng = np.random.default_rng(0)
    kinds = [
        lambda shape: rng.integers(0, 256, shape),
        lambda shape: rng.choice([0, 255], shape),
        lambda shape: np.full(shape, rng.integers(256)),
        lambda shape: (np.indices(shape).sum(axis=0) * int(rng.integers(1, 99))) % 256,
        lambda shape: np.where(rng.random(shape) < 0.02, rng.integers(0, 256, shape), 128),
    ]
    made = back = 0
    for n in range(500):
        shape = (*rng.integers(1, 90, 2).tolist(), (1, 3, 4)[n % 3])
        image = np.ascontiguousarray(kinds[n % len(kinds)](shape), np.uint8)[None]
        back += int(comes_back(image))
        made += 1
    sizes = [(1, 1), (1, 4000), (3000, 1), (333, 777), (3000, 4000)]
    large = sum(
        comes_back(np.ascontiguousarray(kinds[n % 5]((*size, 3)), np.uint8)[None])
        for n, size in enumerate(sizes)
    )
    return {"made": made, "back": back, "sizes": len(sizes), "sizes back": int(large)}


def comes_back(image: Images) -> bool:
    """Tell whether an image is restored to the last bit."""
    out = dsguard.protect_batch(image, KEY)
    restored = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars)
    return bool((restored == image).all())


def photographs() -> dict[str, Any]:
    """Return bits per sample of colour photographs that no table was made from, and of JPEG XL."""
    import imagecodecs
    import skimage.data

    found = {}
    for name in ("astronaut", "hubble_deep_field", "immunohistochemistry"):
        image = np.ascontiguousarray(getattr(skimage.data, name)())
        file = imagecodecs.jpegxl_encode(image, lossless=True, effort=3)
        found[name] = {
            "dsguard": round(8 * lengths_in(image[None])[0] / image.size, 3),
            "JPEG XL, effort 3": round(8 * len(file) / image.size, 3),
        }
    return found


def jpeg_xl_at(images: Images, effort: int) -> list[float]:
    """Return bits per sample that hold 99.9 % of images, and 95 %, in JPEG XL."""
    import imagecodecs

    sizes = [
        8 * len(imagecodecs.jpegxl_encode(image, lossless=True, effort=effort)) / image.size
        for image in images
    ]
    return [round(float(np.quantile(sizes, part)), 3) for part in (0.999, 0.95)]


def leaks() -> dict[str, Any]:
    """Return what linear probes find in the low bits of protected images: nothing, but for chance.

    Probes are fitted to one half of the 10,000 test images of CIFAR-10 and asked about the other.
    """
    images, labels = read("cifar10", "test")
    out = dsguard.protect_batch(
        images, KEY, cover=Blank(KEY, labelled=True), labels=labels, codec=Sealed(43)
    ).images
    clean = images.reshape(len(images), -1).astype(np.float32)
    sizes = np.array(lengths_in(images), np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    fit, ask = np.array_split(order, 2)
    found: dict[str, Any] = {}
    for bit in range(5):
        low = ((out.reshape(len(out), -1) >> bit & 1).astype(np.float32) - 0.5) * 2
        wanted = np.concatenate(
            [np.eye(10, dtype=np.float32)[labels], sizes[:, None], clean[:, 1500:1516]], axis=1
        )
        told = ridge(low[fit], wanted[fit], low[ask])
        hits = float((told[:, :10].argmax(axis=1) == labels[ask]).mean())
        away = [abs(np.corrcoef(told[:, 10 + n], wanted[ask, 10 + n])[0, 1]) for n in range(17)]
        products = (low * (clean - clean.mean(axis=0))).mean(axis=0) / clean.std(axis=0)
        found[f"bit {bit}"] = {
            "class, right": round(hits, 4),
            "class, 99 % interval": [round(v, 4) for v in interval(0.1, len(ask))],
            "compressed size, correlation": round(away[0], 4),
            "16 samples, largest correlation": round(max(away[1:]), 4),
            "largest correlation of 85, 99 % interval": round(
                largest_of(85) / np.sqrt(len(ask)), 4
            ),
            "own sample, largest correlation of 3072": round(float(np.abs(products).max()), 4),
            "own sample, 99 % interval of the largest": round(
                float(largest_of(products.size) / np.sqrt(len(low))), 4
            ),
        }
    return found


def largest_of(count: int) -> float:
    """Return the bound that the largest of so many normal deviates keeps in 99 % of cases."""
    from scipy.stats import norm

    return float(norm.isf((1 - 0.99 ** (1 / count)) / 2))


def interval(chance: float, count: int) -> tuple[float, float]:
    """Return the 99 % interval of a share, where each of `count` is right by chance."""
    away = 2.576 * np.sqrt(chance * (1 - chance) / count)
    return chance - away, chance + away


def ridge(inputs: npt.NDArray[Any], wanted: npt.NDArray[Any], others: npt.NDArray[Any]) -> Any:
    """Return what ridge regression, fitted to inputs, says of others."""
    mean = wanted.mean(axis=0)
    square = inputs.T @ inputs + len(inputs) * np.eye(inputs.shape[1], dtype=np.float32)
    return others @ np.linalg.solve(square, inputs.T @ (wanted - mean)) + mean


def networks() -> dict[str, Any]:
    """Return what networks learn from protected images, and from their low bits alone."""
    import torch

    from dsguard.networks.small import build_network
    from dsguard.networks.training import Recipe, accuracy, choose_device, to_pixels, train

    test, truth = read("cifar10", "test")
    images, labels = (part[::10] for part in read("cifar10", "train"))
    cover, codec = Blank(KEY, labelled=True), Sealed(43)
    out = dsguard.protect_batch(images, KEY, cover=cover, labels=labels, codec=codec).images
    other = dsguard.protect_batch(test, KEY, cover=cover, labels=truth, codec=codec).images
    previews = dsguard.protect_batch(images, KEY, cover=Preview(8), codec=codec).images
    own_previews = dsguard.protect_batch(
        test, dsguard.DatasetKey(bytes([1]) * 32), cover=Preview(8), codec=codec
    ).images
    device = choose_device()
    found: dict[str, Any] = {}
    for name, own, asked in (
        ("clean images", images, test),
        ("protected images, tested on clean ones", out, test),
        ("previews of 8 cells, tested on clean ones", previews, test),
        ("previews of 8 cells, tested on the attacker's own previews", previews, own_previews),
        ("low 4 bits of protected images, tested on those of others", (out & 15) * 16,
         (other & 15) * 16),
    ):  # fmt: skip
        model = build_network("resnet18", own.shape[1:], 10, 16, 1)
        train(model, own, labels, Recipe(epochs=8, seed=1), device)
        model.eval()
        with torch.no_grad():
            told = np.concatenate([
                model(to_pixels(part, device)).argmax(dim=1).cpu().numpy()
                for part in np.array_split(asked, 40)
            ])  # fmt: skip
        found[name] = {
            "on its own images": round(accuracy(model, own, labels, device), 4),
            "right": round(float((told == truth).mean()), 4),
            "99 % interval": [round(v, 4) for v in chance_of(told, truth)],
        }
    return found


def chance_of(told: Labels, truth: Labels) -> tuple[float, float]:
    """Return the 99 % interval of a network whose answers have nothing to do with the classes.

    The key draws which picture stands for which class. So a network that learned the pictures is
    as good as it would be under any other order of the classes.
    """
    rng = np.random.default_rng(0)
    table = np.zeros((10, 10))
    np.add.at(table, (told, truth), 1)
    orders = [rng.permutation(10) for _ in range(20_000)]
    shares = np.array([table[order, np.arange(10)].sum() for order in orders]) / len(truth)
    spread = 2.576 * np.sqrt(0.09 / len(truth))
    low, high = np.quantile(shares, [0.005, 0.995])
    return float(min(low, 0.1 - spread)), float(max(high, 0.1 + spread))


def table_of(found: dict[str, Any]) -> str:
    """Return the targets, and the figures beside them."""
    cifar, tiny = (found[name] for name in SETS)
    made, speed, photos = found["made images"], found["one thread"], found["photographs"]
    probes = found["linear probes of low bits"].values()

    def rate_of(part: str, name: str) -> str:
        return " and ".join(str(found[each][f"rate that holds {part}"][name]) for each in SETS)

    def back(of: dict[str, Any]) -> int:
        return min(of[f"rate that holds {part}"]["restored bit for bit"] for part in PARTS)

    low, high = next(iter(probes))["class, 99 % interval"]
    rows = [
        ("size, bits per sample: CIFAR-10, TinyImageNet, test splits", "≤ 3.5, ≤ 3.6",
         f"{cifar[BITS]}, {tiny[BITS]}"),
        ("the same: astronaut, hubble_deep_field, immunohistochemistry", "≤ JPEG XL, effort 3",
         ", ".join(f"{a} (JPEG XL {b})" for a, b in (each.values() for each in photos.values()))),
        ("coding, decoding, one thread, Msamples/s", "≥ 60 each",
         f"{speed['coding, Msamples a second']}, {speed['decoding, Msamples a second']}"),
        ("protect, restore with cover `blank`, 32×32×3, one thread, images/s", "≥ 15,000 each",
         f"{speed['protect, sealed a second']:,.0f}, {speed['restore, sealed a second']:,.0f}"),
        ("restored bit for bit: CIFAR-10, TinyImageNet", "all",
         f"{back(cifar):,} of {cifar['images']:,}, {back(tiny):,} of {tiny['images']:,}"),
        ("restored: made images, and sizes from 1×1 to 4000×3000", "all",
         f"{made['back']} of {made['made']}, {made['sizes back']} of {made['sizes']}"),
        ("rate in eighths of a bit that holds 99.9 %, and 95 %: CIFAR-10 and TinyImageNet", "–",
         f"{rate_of('99.9%', RATE)}; {rate_of('95.0%', RATE)}"),
        ("PSNR to the cover at the rate for 99.9 %, dB", "≥ 28 each", rate_of("99.9%", PSNR)),
        ("the same for 95 %, dB", "≥ 32", rate_of("95.0%", PSNR)),
        ("sidecars at the rate for 99.9 %, %", "≤ 0.1", rate_of("99.9%", "sidecars, %")),
        ("linear probes of bits 0 to 4: class recognised, of 5,000 images",
         f"{low:.2%} to {high:.2%}",
         ", ".join(f"{each['class, right']:.2%}" for each in probes)),
        ("the same: compressed size, 16 samples; largest correlation",
         f"≤ {next(iter(probes))['largest correlation of 85, 99 % interval']}",
         f"{max(each['compressed size, correlation'] for each in probes)}, "
         f"{max(each['16 samples, largest correlation'] for each in probes)}"),
        ("correlation of a low bit with its own clean sample, largest of 15,360",
         f"≤ {round(largest_of(15360) / 100, 4)}",
         f"{max(each['own sample, largest correlation of 3072'] for each in probes)}"),
    ]  # fmt: skip
    for name, each in found.get("networks", {}).items():
        low, high = each["99 % interval"]
        wanted = "–" if name.startswith(("clean", "previews")) else f"{low:.1%} to {high:.1%}"
        what = f"network trained on {name}: accuracy, of 10,000"
        rows.append((what, wanted, f"{each['right']:.1%}"))
    rows.append(
        ("size of PNG files over that of their JPEG files, CIFAR-10, test split", "–",
         f"{found['files']['ratio']}×")
    )  # fmt: skip
    costs = "; ".join(f"{name} {us} µs" for name, us in found["microseconds"].items())
    return f"{table(('figure', 'target', 'reached'), rows)}\n\n{costs}.\n\n{found['machine']}."


PART_OF: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: partial(figures_of, name) for name in SETS},
    "photographs": photographs,
    "files": files,
    "made images": hard_images,
    "one thread": speeds,
    "microseconds": primitives,
    "linear probes of low bits": leaks,
    "networks": networks,
}


def machine() -> str:
    """Say where and with what the figures were made."""
    packages = ("dsguard", "numpy", "pycryptodome", "torch", "imagecodecs")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{cpu()}, {native.isa()}; Python {platform.python_version()}, {versions}"


def main() -> None:
    """Measure, print, and write; what was measured before and is not wanted now stays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", action="append", choices=PART_OF, help="By default all.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "sealed.json")
    given = parser.parse_args()
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.part or PART_OF:
        found[name] = PART_OF[name]()
        found["machine"] = machine()
        print(name, json.dumps(found[name], indent=1, ensure_ascii=False), flush=True)
        given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if found.keys() >= PART_OF.keys():
        put_into_page(START, END, table_of(found))


if __name__ == "__main__":
    main()
