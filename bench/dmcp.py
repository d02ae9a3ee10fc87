"""Load and faults of the DMCP: rates, memory, many clients, kills.

    python -m bench.dmcp ../shared/data/cifar10.tar.xz --out bench/results/dmcp.json --page

starts a service in a process of its own and has protected 32×32 images restored over loopback;
service and clients share the machine. `--images` and `--seconds` make it shorter. Keys of images
are measured by `bench/dmcp_keys.py`; each keeps the rows of the other in `--out`.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import dsguard
from dsguard.bulk import load_training_set, select
from dsguard.covers.patterns import Patterns
from dsguard.dmcp.client import Client
from dsguard.dmcp.connection import RefusedError
from dsguard.formats import encode_images, open_source
from dsguard.formats.tar import END, packed

from .dmcp_service import Service, keep, parser_of, started

CLIENTS, KILLS = 50, 20
PARTS = ("at a tenth", "at half", "at the end")


def main() -> None:
    """Measure, print and keep."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=1_000_000, help="of the long stream")
    parser.add_argument("--seconds", type=float, default=60, help="of the many clients")
    options = parser.parse_args()
    with started() as service:
        keep(measure(service, options), options.out, page=options.page)


def measure(service: Service, options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    files = protected(service, options.data)
    named = [(f"{n}.png", file) for n, file in enumerate(files)]
    stream = rate(service, named, options.images)
    return {
        "frames, images/s": max(rate(service, named, 20_000)["rate"] for _ in range(3)),
        "tar, images/s": max(tar_rate(service, named) for _ in range(3)),
        f"stream of {options.images:,} images, images/s": stream["rate"],
        "memory of the service in this stream, MiB": dict(
            zip(PARTS, stream["memory"], strict=False)
        ),
        **clients(service, named[:100], options.seconds),
        **kills(service),
    }


def protected(service: Service, data: Path) -> list[bytes]:
    """Return protected image files whose dataset is deposited."""
    source = open_source(data)
    images, classes = load_training_set(source, select(source.names(), 5000))
    labels = np.unique(classes, return_inverse=True)[1]
    key = dsguard.DatasetKey.generate()
    target = Patterns.drawn(range(10), key).added(images, images, labels, 16, 4)
    done = dsguard.protect_batch(images, key, target=target)
    with Client(service.url, service.token) as owner:
        owner.deposit("d", key)
    return encode_images(done.images, sidecars=done.sidecars)


def rate(service: Service, named: list[tuple[str, bytes]], count: int) -> dict[str, Any]:
    """Restore through the client; return images a second, and memory on the way."""
    marks = {count // 10, count // 2, count}
    memory = []
    start = time.perf_counter()
    with Client(service.url, service.token) as client:
        for n, image in enumerate(client.restore("d", islice(cycle(named), count)), 1):
            assert not image.error, image
            if n in marks:
                memory.append(service.memory())
    return {"rate": round(count / (time.perf_counter() - start)), "memory": memory}


def tar_rate(service: Service, named: list[tuple[str, bytes]]) -> int:
    """Restore one tar, as curl would; return images a second."""
    body = b"".join(piece for image in named for piece in packed(*image)) + END
    headers = {
        "authorization": f"Bearer {service.token}",
        "content-type": "application/x-tar",
    }
    start = time.perf_counter()
    answer = httpx.post(
        f"{service.url}/v1/datasets/d/restore", content=body, headers=headers, timeout=120
    )
    seconds = time.perf_counter() - start
    answer.raise_for_status()
    return round(len(named) / seconds)


def clients(service: Service, named: list[tuple[str, bytes]], seconds: float) -> dict[str, Any]:
    """Have many clients at once ask for 100 images again and again."""
    times: list[float] = []
    failures: list[str] = []
    end = time.monotonic() + seconds

    def one(_: int) -> None:
        with Client(service.url, service.token) as client:
            while time.monotonic() < end:
                start = time.perf_counter()
                try:
                    assert all(not image.error for image in client.restore("d", named))
                except RefusedError as error:
                    failures.append(str(error))
                times.append(time.perf_counter() - start)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(CLIENTS)))
    told = f"{CLIENTS} clients for {seconds:g} s"
    return {
        f"{told}: requests of 100 images": len(times),
        f"{told}: failed": len(failures),
        f"{told}: seconds a request": {
            name: round(float(np.percentile(times, part)), 2)
            for name, part in (("median", 50), ("p99", 99))
        },
    }


def kills(service: Service) -> dict[str, Any]:
    """Kill the service while grants are given; see what it confirmed and does not have."""
    rng = random.Random(0)
    confirmed: list[str] = []
    lost = broken = 0
    for round_ in range(KILLS):
        with Client(service.url) as stranger:
            users = [f"u{round_}-{n}" for n in range(20)]
            for user in users:
                stranger.register(user)
        writer = threading.Thread(target=grant, args=(service, users, confirmed))
        writer.start()
        time.sleep(rng.uniform(0, 0.3))
        service.kill()
        writer.join()
        service.start()
        with Client(service.url, service.token) as owner:
            there = {row["user"] for row in owner.grants("d")}
        lost += len(set(confirmed) - there)
        broken += not service.verified()
    return {
        "kills of the service while grants were given": KILLS,
        "grants": {"confirmed": len(confirmed), "of them lost": lost},
        "audit trails broken": broken,
    }


def grant(service: Service, users: list[str], confirmed: list[str]) -> None:
    """Give grants until the service is gone."""
    with Client(service.url, service.token) as owner:
        for user in users:
            try:
                owner.grant("d", user)
            except RefusedError:
                return
            confirmed.append(user)


if __name__ == "__main__":
    main()
