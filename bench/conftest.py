"""What the benchmarks share: real images, their targets, one way to count."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.codecs import Header, codec_named
from dsguard.codecs.paper import OVERHEAD_BYTES, plan
from dsguard.kernels import native
from dsguard.kernels.geometry import Geometry

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
EPSILON = 8


@cache
def photos(side: int, count: int) -> np.ndarray:
    """Return `count` real images of `side` pixels: CIFAR-10's for 32, TinyImageNet's for others.

    TinyImageNet's are 64 px and resized for larger sides. Where the datasets are absent, smooth
    noise takes their place; the report says so.
    """
    archive = SHARED / ("cifar10.tar.xz" if side == 32 else "tinyimagenet10.tar.xz")
    if not archive.exists():
        rng = np.random.default_rng(side)
        coarse = rng.integers(0, 256, (min(count, 64), 8, 8, 3), dtype=np.uint8)
        images = [np.asarray(Image.fromarray(x).resize((side, side))) for x in coarse]
    else:
        images = []
        with tarfile.open(archive, "r:xz") as tar:
            for member in tar:
                if len(images) == min(count, 1000):
                    break
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    image = Image.open(io.BytesIO(file.read())).convert("RGB")
                    images.append(np.asarray(image.resize((side, side))))
    repeats = -(-count // len(images))
    return np.concatenate([np.stack(images)] * repeats)[:count]


@dataclass(frozen=True)
class Setup:
    """A batch ready for any stage."""

    clean: np.ndarray
    target: np.ndarray
    geometry: Geometry
    header: Header
    key: dsguard.DatasetKey
    protected: np.ndarray
    temporary: np.ndarray
    sequences: np.ndarray
    payloads: np.ndarray


@cache
def setup(side: int = 32, count: int = 2000) -> Setup:
    """Return a batch of real images, targets within ε of them, and what each stage makes of it."""
    clean = photos(side, count)
    noise = np.random.default_rng(0).integers(-EPSILON, EPSILON + 1, clean.shape, dtype=np.int16)
    target = np.clip(clean + noise, 0, 255).astype(np.uint8)
    key = dsguard.DatasetKey(bytes(range(32)))
    geometry = plan(side, side, 3)
    code, key_id = codec_named("paper").code, bytes.fromhex(key.key_id)
    header = Header(code, geometry.planes - 1, key_id, geometry.sequence_bytes)
    protected = dsguard.protect_batch(clean, key, target=target, profile="paper").images
    temporary, sequences = native.transform(clean, target, geometry)
    payloads = native.extract(protected, OVERHEAD_BYTES + header.sealed_bytes, geometry)
    return Setup(clean, target, geometry, header, key, protected, temporary, sequences, payloads)


@pytest.fixture
def measure(benchmark):
    """Time a call on `images` images; `facts` go into the report with it."""

    def run(function, images: int, **facts):
        benchmark.extra_info.update(images=images, real=SHARED.exists(), **facts)
        return benchmark(function)

    return run


@pytest.fixture
def backend():
    """Set the backend of one benchmark; the automatic choice returns after it."""
    yield dsguard.set_backend
    dsguard.set_backend(None)
    native.set_isa(None)
