"""Keys that a DMCP releases: how many a second, what restoring with them takes, and its faults.

    python -m bench.dmcp_keys ../shared/data/cifar10.tar.xz --out bench/results/dmcp.json --page

Restoring is measured as `bench/dmcp_restoring.py` says, with `--images` and `--runs`. `--clients`
and `--seconds` say how many ask at once and for how long. Only part of it is measured where parts
are named: ``--only restoring --images 1000000 --runs 1``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sqlite3
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import dsguard
from dsguard.dmcp import Client
from dsguard.dmcp.connection import RefusedError

from .dmcp_restoring import restoring
from .dmcp_service import Service, keep, parser_of, started

IDS, RUNS = 100_000, 5
OF_REQUEST = 1000
RANDOM = 1_000_000
KILLS, ASKING = 20, 8


def main() -> None:
    """Measure, print and keep."""
    parser = parser_of(__doc__)
    parser.add_argument("--clients", type=int, default=50, help="that ask at once")
    parser.add_argument("--seconds", type=float, default=60, help="for so long")
    parser.add_argument("--images", type=int, default=100_000, help="sealed ones that are restored")
    parser.add_argument("--runs", type=int, default=RUNS, help="with and without the key, each")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    options = parser.parse_args()
    results: dict[str, Any] = {}
    key = dsguard.DatasetKey.generate()
    with started() as service:
        with Client(service.url, service.token) as owner:
            owner.deposit("sealed", key)
        for part in options.only:
            results |= PARTS[part](service, key, options)
    keep(results, options.out, page=options.page)


Options = argparse.Namespace


def rates(service: Service, key: dsguard.DatasetKey, options: Options) -> dict[str, Any]:
    """Return how many keys one client gets, by the size of its requests."""
    del key, options
    with Client(service.url, service.token) as owner:
        return {
            f"keys/s through one client, {size:,} a request": round(
                max(_ids_per_second(owner, size) for _ in range(RUNS))
            )
            for size in (1000, 10_000, IDS)
        }


def _ids_per_second(client: Client, size: int) -> float:
    ids = [os.urandom(16) for _ in range(IDS)]
    start = time.perf_counter()
    for first in range(0, IDS, size):
        assert len(client.keys("sealed", ids[first : first + size])) == size
    return IDS / (time.perf_counter() - start)


def clients(service: Service, key: dsguard.DatasetKey, options: Options) -> dict[str, Any]:
    """Have many clients at once ask for keys of 1,000 images again and again."""
    del key
    times: list[float] = []
    failures: list[str] = []
    memory = [service.memory()]
    start = time.monotonic()
    end = start + options.seconds

    def one(_: int) -> None:
        ids = [os.urandom(16) for _ in range(OF_REQUEST)]
        with Client(service.url, service.token) as client:
            while time.monotonic() < end:
                begun = time.perf_counter()
                try:
                    assert len(client.keys("sealed", ids)) == OF_REQUEST
                except RefusedError as error:
                    failures.append(str(error))
                times.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(options.clients) as pool:
        asking = [pool.submit(one, number) for number in range(options.clients)]
        for part in (0.5, 1):
            time.sleep(max(0.0, start + part * options.seconds - time.monotonic()))
            memory.append(service.memory())
        for each in asking:
            each.result()
    for failure in sorted(set(failures)):
        print(failure)
    told = f"{options.clients} clients for {options.seconds:g} s"
    return {
        f"{told}: requests of {OF_REQUEST:,} ids": len(times),
        f"{told}, keys: failed": len(failures),
        f"{told}, keys: seconds a request": {
            name: round(float(np.percentile(times, part)), 2)
            for name, part in (("median", 50), ("p99", 99))
        },
        f"{told}, keys: memory of the service, MiB": dict(
            zip(("before", "at half", "at the end"), memory, strict=True)
        ),
    }


def distinct(service: Service, key: dsguard.DatasetKey, options: Options) -> dict[str, Any]:
    """Spend a budget of a million distinct images on made-up ids, then ask for some again."""
    del key, options
    database = service.folder / "dmcp.sqlite"
    with Client(service.url) as stranger:
        token = stranger.register("many")
    with Client(service.url, service.token) as owner, Client(service.url, token) as user:
        owner.grant("sealed", "many", quota=RANDOM, distinct=True)
        before = _size(database)
        ids = [os.urandom(16) for _ in range(RANDOM)]
        new = [_seconds(user, ids[n : n + OF_REQUEST]) for n in range(0, RANDOM, OF_REQUEST)]
        again = [_seconds(user, random.sample(ids, OF_REQUEST)) for _ in range(100)]
        assert {row["user"]: row["used"] for row in owner.grants("sealed")}["many"] == RANDOM
        assert _is_spent(user)
        size = _size(database) - before
        start = time.perf_counter()
        owner.revoke("sealed", "many")
        ended = time.perf_counter() - start
    told = f"{RANDOM:,} random ids against a quota of distinct images"
    return {
        f"{told}: ids/s": round(RANDOM / sum(new)),
        f"{told}: p99 of 1,000 of them, s": round(float(np.percentile(new, 99)), 3),
        f"{told}: median of 1,000 again, s": round(statistics.median(again), 3),
        f"{told}: bytes for each": round(size / RANDOM),
        f"{told}: s to revoke": round(ended, 2),
    }


def _is_spent(user: Client) -> bool:
    """Tell whether one more image is refused."""
    try:
        user.keys("sealed", [os.urandom(16)])
    except RefusedError as refusal:
        return refusal.code == "quota"
    return False


def _seconds(client: Client, ids: list[bytes]) -> float:
    start = time.perf_counter()
    assert len(client.keys("sealed", ids)) == len(ids)
    return time.perf_counter() - start


def _size(database: Path) -> int:
    """Return the bytes of a database, what is in its log put into it."""
    connection = sqlite3.connect(database, timeout=60)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return database.stat().st_size


def kills(service: Service, key: dsguard.DatasetKey, options: Options) -> dict[str, Any]:
    """Kill the service while keys are asked for and grants given; see what it has lost."""
    del key
    rng = random.Random(0)
    got: list[str] = []
    confirmed: list[str] = []
    broken = 0
    with Client(service.url) as stranger:
        token = stranger.register("killed")
        for number in range(options.kills):
            stranger.register(f"k{number}")
    with Client(service.url, service.token) as owner:
        owner.grant("sealed", "killed", quota=10**9, distinct=True)
    for number in range(options.kills):
        gone = threading.Event()
        with ThreadPoolExecutor(ASKING + 1) as pool:
            for _ in range(ASKING):
                pool.submit(_ask, service, token, got, gone)
            pool.submit(_grant, service, f"k{number}", confirmed)
            time.sleep(rng.uniform(0, 1))
            service.kill()
            gone.set()
        service.start()
        broken += not service.verified()
    with Client(service.url, service.token) as owner:
        lines: list[dict[str, Any]] = []
        while more := owner.audit("sealed", lines[-1]["number"] if lines else 0, 1000):
            lines += more
        grants = {row["user"]: row for row in owner.grants("sealed")}
    released = [line for line in lines if line["actor"] == "killed" and line["images"]]
    without = Counter(got) - Counter(line["digest"] for line in released)
    uncounted = sum(line["images"] for line in released) - grants["killed"]["used"]
    return {
        "kills of the service while keys were asked for": options.kills,
        "releases": {"received": len(got), "of them without a line in the trail": without.total()},
        "keys in the trail": {
            "all": sum(line["images"] for line in released),
            "of them not counted": uncounted,
        },
        "grants during these kills": {
            "confirmed": len(confirmed),
            "of them lost": len(set(confirmed) - set(grants)),
        },
        "audit trails broken by these kills": broken,
    }


def _ask(service: Service, token: str, got: list[str], gone: threading.Event) -> None:
    """Ask for keys until the service is gone; keep digests of the ids whose keys came."""
    with Client(service.url, token) as client:
        while not gone.is_set():
            ids = [os.urandom(16) for _ in range(100)]
            try:
                client.keys("sealed", ids)
            except RefusedError:
                return
            got.append(hashlib.sha256(b"".join(ids)).hexdigest())


def _grant(service: Service, user: str, confirmed: list[str]) -> None:
    with Client(service.url, service.token) as owner:
        try:
            owner.grant("sealed", user)
        except RefusedError:
            return
    confirmed.append(user)


PARTS = {
    "rates": rates,
    "restoring": restoring,
    "clients": clients,
    "distinct": distinct,
    "kills": kills,
}


if __name__ == "__main__":
    main()
