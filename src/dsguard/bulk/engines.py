"""Engines, which work on shards: this process, a pool of processes, or a Ray cluster."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from dsguard._atomic import temporary_folder, temporary_subfolder
from dsguard._parallel.processes import ATTEMPTS, Workers
from dsguard.bulk.shard import ShardResult, ShardSpec, process_shard
from dsguard.errors import InputError, MissingExtraError

Engine = Callable[[Sequence[ShardSpec], int | None], Generator[ShardResult]]

_LONGEST = 18
"""Characters of the folder above those of Ray, which add 85; names of sockets have 103."""


def local(specs: Sequence[ShardSpec], workers: int | None) -> Generator[ShardResult]:
    """Yield the results of shards as they come, from worker processes where that pays.

    When the iteration ends early, shards in work are finished, others are not begun.
    """
    if workers is None or workers == 1 or len(specs) < 2:
        yield from map(process_shard, specs)
        return
    pool = Workers(min(workers, len(specs)), "dsguard.bulk.shard")
    waiting, running = list(reversed(specs)), set[Future[ShardResult]]()
    try:
        while waiting or running:
            while waiting and len(running) <= workers:  # one more, so that nobody waits
                running.add(pool.submit(process_shard, waiting.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.stop()


def ray(specs: Sequence[ShardSpec], workers: int | None) -> Generator[ShardResult]:
    """Yield the results of shards as they come from a Ray cluster: one task for each.

    The cluster is that of ``RAY_ADDRESS`` or one that the caller connected to; without either one
    is started here with `workers` CPUs, for this run alone. Source, destination and journal must be
    reachable from all its machines under the same names. A task whose worker dies is tried again.
    Where a network perturbs the images and the cluster has GPUs, actors with one GPU each do it.
    """
    try:
        cluster: Any = importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError.of(package="ray", extra="ray") from None
    with _cluster(cluster, workers):
        gpus = int(cluster.cluster_resources().get("GPU", 0))
        networks = gpus > 0 and any(spec.task.needs_network for spec in specs)
        at_once = gpus if networks else int(cluster.cluster_resources().get("CPU", 1))
        submit = _actors(cluster, gpus) if networks else _tasks(cluster)
        waiting, running = list(reversed(specs)), list[Any]()
        while waiting or running:
            while waiting and len(running) < 2 * at_once:
                running.append(submit(waiting.pop()))
            done, running = cluster.wait(running)
            yield from cluster.get(done)


@contextlib.contextmanager
def _cluster(cluster: Any, workers: int | None) -> Iterator[None]:
    """Connect to a cluster, where the caller has not, from an empty folder.

    Ray has its workers import what lies in the current one, which may be a dataset of strangers.
    """
    if cluster.is_initialized():
        yield
        return
    here = Path.cwd()
    with temporary_subfolder("ray") as empty, _session_folder() as session:
        os.chdir(empty)
        try:
            _connect(cluster, workers, session)
        finally:
            os.chdir(here)
        try:
            yield
        finally:
            cluster.shutdown()


@contextlib.contextmanager
def _session_folder() -> Iterator[Path]:
    """Make a folder for the session of a Ray that is started here.

    Ray opens its own to all users of the machine, and believes what it finds there: ports, links.
    It lies in one that they cannot enter, and whose name is short, as those of sockets have to be.
    """
    above = str(temporary_folder().parent)
    if os.name == "posix" and len(above) > _LONGEST:
        above = "/tmp"
    with tempfile.TemporaryDirectory(
        prefix="dsguard-", dir=above, ignore_cleanup_errors=True
    ) as name:
        yield Path(name, "ray")


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a Ray that is started meanwhile listen to this machine alone.

    It does so on macOS and Windows; elsewhere it turns the address 127.0.0.1, where it is given
    that, into one that other machines reach.
    """
    try:
        constants: Any = importlib.import_module("ray._private.ray_constants")
    except ImportError:  # of another version: its token keeps others out
        yield
        return
    before = getattr(constants, "ENABLE_RAY_CLUSTER", True)
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _in_folder(
    here: Path, process: Callable[[ShardSpec], ShardResult], spec: ShardSpec
) -> ShardResult:
    """Process a shard in the folder that names of files are told from."""
    with contextlib.suppress(OSError):  # on another machine
        os.chdir(here)
    return process(spec)


def _connect(cluster: Any, workers: int | None, session: Path) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    remote = os.environ.get("RAY_ADDRESS")
    if remote and remote != "local":
        cluster.init(address=remote, log_to_driver=False)
        return
    with _on_loopback():
        cluster.init(
            address="local",  # without it, any user could name one to join in the folder of all
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=1 << 28,  # specs and results are small
            _temp_dir=str(session),
        )


def _tasks(cluster: Any) -> Callable[[ShardSpec], Any]:
    remote = cluster.remote(num_cpus=1, max_retries=ATTEMPTS)(_in_folder).remote
    return partial(remote, Path.cwd(), process_shard)


def _actors(cluster: Any, count: int) -> Callable[[ShardSpec], Any]:
    worker = cluster.remote(num_gpus=1, max_restarts=-1, max_task_retries=ATTEMPTS)(_Worker)
    actors = [worker.remote() for _ in range(count)]
    turns, here = itertools.cycle(actors), Path.cwd()
    return lambda spec: next(turns).process.remote(here, spec)


class _Worker:
    """An actor, which keeps the network that it loaded."""

    def process(self, here: Path, spec: ShardSpec) -> ShardResult:
        return _in_folder(here, process_shard, spec)


ENGINES: dict[str, Engine] = {"local": local, "ray": ray}


def engine_of(name: str | Engine) -> Engine:
    """Return the engine of this name, or the one given.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if callable(name):
        return name
    if name not in ENGINES:
        msg = f"there is no engine {name!r}; the engines are: {', '.join(ENGINES)}"
        raise InputError(msg)
    return ENGINES[name]
