"""Restoring with keys that a DMCP releases, beside the key at hand: images a second, CPU time.

Datasets are Parquet files of sealed 32×32 images, restored by two worker processes; service, client
and workers share the machine. Runs with the key at hand and through the platform take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

import dsguard
from dsguard.bulk import load_training_set, protect_dataset, restore_dataset, select
from dsguard.bulk.report import Report
from dsguard.dmcp import GrantedKeys
from dsguard.formats import open_source

from .dmcp_service import Service

OF_SHARD = 5000
REAL = 60_000
"""All images of CIFAR-10; rolled by up to 31 rows they make 1.9 million that differ."""


class Run(NamedTuple):
    """What restoring took: seconds, and CPU time in microseconds an image, here and there."""

    seconds: float
    client: float
    service: float


def restoring(
    service: Service, key: dsguard.DatasetKey, options: argparse.Namespace
) -> dict[str, Any]:
    """Return how many images are restored, with the key at hand and with keys released."""
    granted = GrantedKeys("sealed", service.url, service.token)
    images = options.images
    with tempfile.TemporaryDirectory(prefix="dsguard-keys-") as folder:
        there = Path(folder)
        _protect(options.data, there, key, images)
        pairs = []
        for _ in range(options.runs):
            pairs.append(tuple(_run(service, there, each, images) for each in (key, granted)))
            print(pairs[-1], flush=True)
    at_hand, released = (
        Run(*map(statistics.median, zip(*runs, strict=True))) for runs in zip(*pairs, strict=True)
    )
    told = f"{images:,} sealed images in Parquet, pairs of runs: {options.runs}"
    return {
        f"{told}; seconds": {
            "key at hand": round(at_hand.seconds, 1),
            "keys released": round(released.seconds, 1),
        },
        f"{told}; time with the key, divided by time with released keys": round(
            statistics.median(first.seconds / second.seconds for first, second in pairs), 3
        ),
        f"{told}; the same of the CPU time of all processes": round(
            statistics.median(
                first.client / (second.client + second.service) for first, second in pairs
            ),
            3,
        ),
        f"{told}; CPU µs an image": {
            "key at hand": round(at_hand.client, 1),
            "keys released": round(released.client, 1),
            "their service": round(released.service, 1),
        },
    }


def _protect(data: Path, folder: Path, key: dsguard.DatasetKey, count: int) -> None:
    """Make a dataset of that many images: real ones, over again with their rows rolled."""
    source = open_source(data)
    some, _ = load_training_set(source, select(source.names(), min(count, REAL)))
    (folder / "clean").mkdir()
    for n in range(0, count, OF_SHARD):
        rows = np.arange(n, min(n + OF_SHARD, count))
        images = np.stack(
            [np.roll(some[row % len(some)], row // len(some), axis=0) for row in rows]
        )
        np.savez(folder / "clean" / f"{n:07}.npz", images=images, labels=rows % 10)
    protect_dataset(folder / "clean", folder / "safe", key, out_format="parquet", workers=2)


def _run(service: Service, folder: Path, key: dsguard.DatasetKey | GrantedKeys, count: int) -> Run:
    """Restore once; of workers counts what they did until the last shard was done."""
    others = {service.process.pid} | {child.pid for child in _below(service.process.pid)}
    before = _seconds(others)
    own = _seconds({psutil.Process().pid})
    spent: dict[int, float] = {}

    def look(_: Report, __: int) -> None:
        for worker in _below(psutil.Process().pid):
            if worker.pid not in others:
                spent[worker.pid] = _seconds({worker.pid})

    look(Report(), 0)
    old, spent = spent, {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as there:
        back = Path(there, "back")
        report = restore_dataset(folder / "safe", back, key, workers=2, progress=look)
        seconds = time.perf_counter() - start
    assert (report.done, report.failed) == (count, 0), report
    client = _seconds({psutil.Process().pid}) - own
    client += sum(now - old.get(pid, 0.0) for pid, now in spent.items())
    return Run(seconds, 1e6 * client / count, 1e6 * (_seconds(others) - before) / count)


def _below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _seconds(pids: set[int]) -> float:
    """Return the CPU time of processes that are there."""
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
