"""Mutate datasets of every format for as long as is wanted, in processes of their own.

::

    python -m tests.fuzz.run --seconds 60
    python -m tests.fuzz.run --runs 100000 --seed 1 --workers 2
    python -m tests.fuzz.run --seed 1 --format npz --only 4711     # the same dataset again

A dataset that ends with anything but a result or a `DsguardError` is kept in ``build/fuzz/failed``
with what happened: a few of each cause. The process ends with code 1 then. Datasets lie in memory
(``/dev/shm``), where there is such a folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from tests.fuzz.children import Died, in_child
from tests.fuzz.seeds import Seed, all_seeds
from tests.fuzz.trial import MOST_SECONDS, Outcome, peak_memory, try_mutated

_KEPT_OF_ONE_CAUSE = 2


@dataclass(frozen=True)
class Result:
    """What became of a dataset, how long it took, and the memory that the process has had."""

    outcome: Outcome
    seconds: float = 0.0
    peak: int = 0


class Work:
    """What a process does: the dataset of a number."""

    def __init__(self, seeds: list[Seed], random_seed: int, base: Path, failed: Path) -> None:
        self._seeds, self._random_seed, self._base, self._failed = seeds, random_seed, base, failed
        self._causes: Counter[str] = Counter()

    def kind(self, number: int) -> str:
        """Return the kind of dataset that a number stands for."""
        return self._seed(number).kind

    def _seed(self, number: int) -> Seed:
        return self._seeds[number % len(self._seeds)]

    def __call__(self, number: int) -> Result:
        start = time.monotonic()
        outcome = try_mutated(self._seed(number), number, self._random_seed, self._base)
        took = time.monotonic() - start
        if outcome.status == "fault":
            self._causes[outcome.cause] += 1
            if self._causes[outcome.cause] <= _KEPT_OF_ONE_CAUSE:
                self.keep(number, outcome)
        return Result(outcome, took, peak_memory())

    def keep(self, number: int, outcome: Outcome) -> None:
        """Copy what lies below the folder of this process to those that failed."""
        folder = self._failed / f"{self.kind(number)}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._base, folder, symlinks=True)
        (folder / "what").write_text(outcome.detail, errors="backslashreplace")


@dataclass
class Tally:
    """What became of the datasets so far."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0

    def add(self, kind: str, number: int, result: Result) -> None:
        self.counts.setdefault(kind, Counter())[result.outcome.status] += 1
        self.slowest = max(self.slowest, (result.seconds, f"{kind} {number}"))
        self.peak = max(self.peak, result.peak)
        if result.outcome.status == "fault":
            self.causes[f"{kind}: {result.outcome.cause}"] += 1

    def text(self, seconds: float) -> str:
        """Return a table of all kinds, and what was found."""
        statuses = ("done", "some failed", "refused", "fault")
        lines = [f"{'':24}{''.join(f'{status:>13}' for status in statuses)}"]
        for kind, counter in sorted(self.counts.items()):
            lines.append(f"{kind:24}{''.join(f'{counter[status]:13}' for status in statuses)}")
        total = sum(counter.total() for counter in self.counts.values())
        took, slowest = self.slowest
        lines += [
            f"{total} datasets in {seconds:.0f} s, {total / max(seconds, 1e-9):.0f} a second; "
            f"slowest {took:.2f} s ({slowest}); peak {self.peak >> 20} MiB; "
            f"faults: {self.causes.total()}",
            *(f"FAULT {count:6}  {cause}" for cause, count in self.causes.most_common()),
        ]
        return "\n".join(lines) + "\n"


def main() -> int:
    options = _options()
    seeds = [seed for seed in all_seeds() if options.format in (None, seed.kind)]
    if options.only is not None:
        return _again(seeds, options)
    tally, start = Tally(), time.monotonic()
    deadline = start + (options.seconds or float("inf"))
    stop = options.runs if options.runs is not None else sys.maxsize
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dsguard-fuzz-", dir=memory) as scratch:
        threads = []
        for n in range(options.workers):
            work = Work(seeds, options.seed, Path(scratch, str(n)), options.failed)
            numbers = range(n, stop, options.workers)
            threads.append(Thread(target=_watch, args=(work, numbers, deadline, tally)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    sys.stdout.write(tally.text(time.monotonic() - start))
    return 1 if tally.causes else 0


def _watch(work: Work, numbers: range, deadline: float, tally: Tally) -> None:
    with closing(in_child(work, numbers, 2 * MOST_SECONDS)) as results:
        for number, found in results:
            result = found
            if isinstance(found, Died):
                result = Result(Outcome("fault", found))
                work.keep(number, result.outcome)
            tally.add(work.kind(number), number, result)
            if time.monotonic() > deadline:
                break


def _again(seeds: list[Seed], options: argparse.Namespace) -> int:
    """Try one dataset again, in this process, and leave it where it is."""
    for seed in seeds:
        base = Path(tempfile.mkdtemp(prefix="dsguard-fuzz-"))
        outcome = try_mutated(seed, options.only, options.seed, base)
        told = f"{seed.kind} {options.only}: {outcome.status}\n{outcome.detail}\nin {base}\n"
        sys.stdout.write(told)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--runs", type=int, help="stop after so many datasets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", help="one kind of dataset alone, as the table names it")
    parser.add_argument("--only", type=int, help="try the dataset of this number again")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--failed", type=Path, default=Path("build/fuzz/failed"))
    options = parser.parse_args()
    if options.seconds is None and options.runs is None:
        options.seconds = 60.0
    return options


if __name__ == "__main__":
    sys.exit(main())
