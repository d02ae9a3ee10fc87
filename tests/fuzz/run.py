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
import faulthandler
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.fuzz.seeds import all_seeds
from tests.fuzz.trial import MOST_SECONDS, Outcome, peak_memory, try_mutated

_KEPT_OF_ONE_CAUSE = 2
_ADDRESS_SPACE = 4 << 30
"""What a process may have beyond what it begins with, so that no bomb ends the machine."""


@dataclass
class Tally:
    """What became of the datasets so far."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0

    def add(self, kind: str, number: int, outcome: Outcome, took: float, peak: int) -> None:
        self.counts.setdefault(kind, Counter())[outcome.status] += 1
        self.slowest = max(self.slowest, (took, f"{kind} {number}"))
        self.peak = max(self.peak, peak)
        if outcome.status == "fault":
            self.causes[f"{kind}: {outcome.cause}"] += 1

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
        base = Path(tempfile.mkdtemp(prefix="dsguard-fuzz-"))
        for seed in seeds:
            outcome = try_mutated(seed, options.only, options.seed, base)
            told = f"{seed.kind} {options.only}: {outcome.status}\n{outcome.detail}\nin {base}\n"
            sys.stdout.write(told)
        return 0
    tally, start = Tally(), time.monotonic()
    _run(options, [seed.kind for seed in seeds], tally)
    sys.stdout.write(tally.text(time.monotonic() - start))
    return 1 if tally.causes else 0


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


def _run(options: argparse.Namespace, kinds: list[str], tally: Tally) -> None:
    """Run workers until they are at their end; one that died goes on behind what it died of."""
    stop = options.runs if options.runs is not None else sys.maxsize
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dsguard-fuzz-", dir=memory) as scratch:
        workers = {}
        for n in range(options.workers):
            numbers = range(n, stop, options.workers)
            worker = _Worker(numbers, kinds, options, Path(scratch, str(n)))
            workers[worker.results] = worker
        while workers:
            for results in wait(list(workers)):
                worker = workers.pop(results)
                if worker.told(tally) or worker.started_again(tally):
                    workers[worker.results] = worker


class _Worker:
    """A process that tries datasets, and what is known of it here."""

    def __init__(
        self, numbers: range, kinds: list[str], options: argparse.Namespace, base: Path
    ) -> None:
        self._left, self._kinds, self._options, self._base = numbers, kinds, options, base
        self._deadline = time.time() + (options.seconds or float("inf"))
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.results, results = context.Pipe(duplex=False)
        given = (results, self._left, self._options, self._base, self._deadline)
        self._process = context.Process(target=_work, args=given)
        self._process.start()
        results.close()

    def told(self, tally: Tally) -> bool:
        """Take a result; false where the process ended instead."""
        try:
            number, outcome, took, peak = self.results.recv()
        except EOFError:
            return False
        tally.add(self._kind(number), number, outcome, took, peak)
        self._left = self._left[self._left.index(number) + 1 :]
        return True

    def started_again(self, tally: Tally) -> bool:
        """Start the process again where something ended it; false where it was at its end."""
        self._process.join()
        if self._process.exitcode == 0:
            return False
        outcome = Outcome("fault", f"died with code {self._process.exitcode}")
        number = self._left[0]
        _keep(self._base, self._options.failed / f"{self._kind(number)}-{number}", outcome)
        tally.add(self._kind(number), number, outcome, 0.0, 0)
        self._left = self._left[1:]
        self._start()
        return True

    def _kind(self, number: int) -> str:
        return self._kinds[number % len(self._kinds)]


def _work(
    results: Connection, numbers: range, options: argparse.Namespace, base: Path, deadline: float
) -> None:
    seeds = [seed for seed in all_seeds() if options.format in (None, seed.kind)]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESS_SPACE,) * 2)
    causes = Counter[str]()
    for number in numbers:
        if time.time() >= deadline:
            break
        faulthandler.dump_traceback_later(2 * MOST_SECONDS, exit=True)  # C code that hangs
        seed = seeds[number % len(seeds)]
        start = time.monotonic()
        outcome = try_mutated(seed, number, options.seed, base)
        took = time.monotonic() - start
        if outcome.status == "fault":
            causes[outcome.cause] += 1
            if causes[outcome.cause] <= _KEPT_OF_ONE_CAUSE:
                _keep(base, options.failed / f"{seed.kind}-{number}", outcome)
        results.send((number, outcome, took, peak_memory()))


def _keep(base: Path, folder: Path, outcome: Outcome) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder, symlinks=True)
    (folder / "what").write_text(outcome.detail, errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
