from __future__ import annotations

import functools
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import dsguard
from dsguard import kernels
from dsguard.kernels import native

# Threads of torch wait by spinning: beside anything else that runs, small networks take minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

SLOW = (
    "bulk", "dmcp", "evaluation", "fuzz", "integrations", "cli/test_cli.py", "cli/test_locale.py",
    "formats/test_bounds.py", "formats/test_disclosure.py", "formats/test_http.py",
    "formats/test_listings.py", "formats/test_parquet.py", "test_api.py", "test_example_files.py",
    "test_malformed.py",
)  # fmt: skip
"""Folders and files whose tests take most of the time: datasets, services, trainings, attacks."""

settings.register_profile("dsguard", deadline=None, max_examples=40)
settings.load_profile("dsguard")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent

    @functools.cache
    def is_slow(path):
        return any(path.is_relative_to(here / name) for name in SLOW)

    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")


@pytest.fixture
def key():
    return dsguard.DatasetKey(bytes(range(32)))


@pytest.fixture
def backend():
    """Set the backend of one test; the automatic choice returns after it."""
    yield kernels.set_backend
    kernels.set_backend(None)
    native.set_isa(None)


@pytest.fixture
def quick_networks(monkeypatch):
    """Have commands train narrower networks than those of users, and fit patterns in few rounds."""
    pytest.importorskip("torch")
    for module in ("covers.surrogate", "evaluation.comparison", "evaluation.demo"):
        monkeypatch.setattr(f"dsguard.{module}.default_width", lambda device: 12)
    for module in ("covers.pattern_fitting", "evaluation.versions"):
        monkeypatch.setattr(f"dsguard.{module}.ROUNDS", 8)


@pytest.fixture(scope="session")
def cifar():
    """200 real images of CIFAR-10's training set, 20 per class, with labels."""
    archive = SHARED / "cifar10.tar.xz"
    if not archive.exists():
        pytest.skip(f"the real images are not here: {archive}")
    images, labels, classes = [], [], []
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 3 or parts[-3] != "train":
                continue
            if parts[-2] not in classes:
                classes.append(parts[-2])
            if labels.count(classes.index(parts[-2])) < 20:
                file = tar.extractfile(member)
                assert file is not None
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
                labels.append(classes.index(parts[-2]))
            if len(images) == 200:
                break
    return np.stack(images), np.array(labels)


@pytest.fixture(scope="session")
def scenes():
    """Small images with structure, made here: gradients, edges and noise; 8 of 32x32x3."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:32, :32]
    images = []
    for n in range(8):
        slopes = rng.uniform(-4, 4, (3, 2))
        edge = (x * np.cos(n) + y * np.sin(n) > 16) * 60
        image = np.stack([128 + a * (x - 16) + b * (y - 16) + edge for a, b in slopes], axis=2)
        images.append(np.clip(image + rng.normal(0, 4, image.shape), 0, 255))
    return np.stack(images).astype(np.uint8)
