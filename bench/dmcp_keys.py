"""Keys that a DMCP releases: how many a second, and what restoring with them takes.

    python -m bench.dmcp ../shared/data/cifar10.tar.xz --only-keys

Datasets are Parquet files of sealed 32×32 images, restored by two worker processes; service, client
and workers share the machine. Runs with the key at hand and through the platform take turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import dsguard
from dsguard.bulk import load_training_set, protect_dataset, restore_dataset, select
from dsguard.dmcp import Client, GrantedKeys
from dsguard.formats import open_source

IDS, RUNS = 100_000, 5
OF_SHARD = 5000


def measure(url: str, token: str, data: Path, images: int) -> dict[str, Any]:
    """Return all figures; a dataset named ``sealed`` is deposited."""
    key = dsguard.DatasetKey.generate()
    with Client(url, token) as owner:
        owner.deposit("sealed", key)
        ids = max(_ids_per_second(owner) for _ in range(RUNS))
    with tempfile.TemporaryDirectory(prefix="dsguard-keys-") as folder:
        _protect(data, Path(folder), key, images)
        pairs = [
            (
                _rate(Path(folder), key, images),
                _rate(Path(folder), GrantedKeys("sealed", url, token), images),
            )
            for _ in range(RUNS)
        ]
    at_hand, released = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    told = f"{images:,} sealed images in Parquet, images/s"
    return {
        f"keys of {IDS:,} images through one client, keys/s": round(ids),
        f"{told}: key at hand": round(at_hand),
        f"{told}: keys released": round(released),
        "the second part of the first, median of pairs": round(
            statistics.median(second / first for first, second in pairs), 3
        ),
    }


def _ids_per_second(client: Client) -> float:
    ids = [os.urandom(16) for _ in range(IDS)]
    start = time.perf_counter()
    keys = client.keys("sealed", ids)
    seconds = time.perf_counter() - start
    assert len(keys) == IDS
    return IDS / seconds


def _protect(data: Path, folder: Path, key: dsguard.DatasetKey, count: int) -> None:
    """Make a dataset of that many images: real ones, over again from other places and mirrored."""
    source = open_source(data)
    some, _ = load_training_set(source, select(source.names(), min(count, 20_000)))
    (folder / "clean").mkdir()
    for n in range(0, count, OF_SHARD):
        rows = np.arange(n, min(n + OF_SHARD, count))
        images = np.roll(some[rows % len(some)], n // len(some), axis=1)
        labels = rows % 10
        np.savez(folder / "clean" / f"{n:07}.npz", images=images, labels=labels)
    protect_dataset(folder / "clean", folder / "safe", key, out_format="parquet", workers=2)


def _rate(folder: Path, key: dsguard.DatasetKey | GrantedKeys, count: int) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as there:
        start = time.perf_counter()
        report = restore_dataset(folder / "safe", Path(there, "back"), key, workers=2)
        seconds = time.perf_counter() - start
    assert (report.done, report.failed) == (count, 0), report
    return count / seconds
