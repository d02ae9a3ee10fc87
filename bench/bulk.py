"""How fast whole datasets are restored, in what memory, and whether killed runs end alike.

    python -m bench.bulk ../shared/data/cifar10.tar.xz --out bench/results/bulk.json --page

makes a million protected 32×32 images of the real ones (each of them many times) as Parquet and
tar shards and fewer as loose files, restores them through the command line with as many workers as
CPUs, and prints the table. `--images` makes a smaller one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from PIL import Image

import dsguard
from dsguard.bulk import load_training_set, select
from dsguard.covers.patterns import Patterns
from dsguard.formats import encode_images, open_source
from dsguard.formats.images import decode_files
from dsguard.formats.tar import END, packed

from .report import cpu, put_into_page, table

SHARD = 10_000
COMMAND = [sys.executable, "-m", "dsguard"]
KILLS = 20
ENGINES = ("local", "ray")


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", action="store_true", help="table into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsguard-bulk-") as folder:
        bench = Bench(Path(folder), options.images)
        bench.prepare(options.data)
        results = bench.measure()
    facts: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "machine": cpu(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("dsguard", "numpy", "pyarrow", "ray", "isal")},
        "images": options.images,
    }
    for name, value in results.items():
        print(f"{name}: {value}")
    facts["results"] = results
    if options.out:
        options.out.write_text(json.dumps(facts, indent=2) + "\n")
    if options.page:
        fill_page(facts)


def fill_page(facts: dict[str, Any]) -> None:
    """Put the figures into docs/performance.md."""
    results = facts["results"]
    rows = [
        (name, f"{r['images_per_s']:,}", f"{r['seconds']:g}", f"{r['peak_MiB']:,}")
        for name, r in results.items()
        if r and "peak_MiB" in r
    ]
    engines, codec, killed = (results[name] for name in ("ray over local", "codec", "killed"))
    copied = results["loose files copied"]["copied_per_s"]
    text = "\n".join(
        (
            table(("restored", "images/s", "seconds", "peak MiB"), rows),
            "",
            f"Ray has {engines['ratio']} times the rate of the local pool, with its start and end "
            "included.",
            f"On a cluster that runs already it has {engines['ratio, running']} times the rate.",
            f"`dsguard --help`: {results['start-up']['help_ms']:g} ms.",
            f"Killed runs: {killed['kills']}. Of the {killed['finished']} that ended, "
            f"{killed['equal']} were equal to the last byte.",
            f"PNG files of 32×32, µs: encode {codec['encode']} (Pillow {codec['encode, Pillow']}), "
            f"decode {codec['decode']} (Pillow {codec['decode, Pillow']}).",
            f"The same number of processes then copied the loose files: {copied:,} files a second.",
        )
    )
    put_into_page(
        "<!-- bulk: bench/bulk.py -->", "<!-- end of bulk -->", text, Path("docs/performance.md")
    )


@dataclass
class Bench:
    """Datasets in a folder, and what is measured on them."""

    folder: Path
    count: int

    def prepare(self, data: Path) -> None:
        """Write all images and a tenth of them as Parquet and tar, a fifth as loose files."""
        source = open_source(data)
        images, classes = load_training_set(source, select(source.names(), SHARD))
        labels = np.unique(classes, return_inverse=True)[1]
        key = dsguard.DatasetKey.generate()
        key.save(self.folder / "key")
        patterns = Patterns.drawn(range(int(labels.max()) + 1), key)
        target = patterns.added(images, images, labels, 16, 4)
        done = dsguard.protect_batch(images, key, target=target)
        files = encode_images(done.images, sidecars=done.sidecars)
        self._write_shards(files, labels, "large", self.count)
        self._write_shards(files, labels, "small", self.count // 10)
        for n in range(self.count // 5):
            path = self.folder / "loose" / f"{labels[n % len(files)]}" / f"{n:07d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[n % len(files)])
        self.clean, self.protected = images, files

    def _write_shards(self, files: list[bytes], labels: Any, name: str, count: int) -> None:
        for kind in ("parquet", "tar"):
            (self.folder / f"{name}-{kind}").mkdir()
        for shard in range(-(-count // len(files))):
            kept = files[: count - shard * len(files)]
            path = self.folder / f"{name}-parquet" / f"train-{shard:05d}.parquet"
            image = pa.StructArray.from_arrays(
                [pa.array(kept, pa.binary()), pa.nulls(len(kept), pa.string())], ["bytes", "path"]
            )
            table = pa.table({"image": image, "label": labels[: len(kept)]})
            pq.write_table(table, path, row_group_size=1000, compression="none")
            with (self.folder / f"{name}-tar" / f"{shard:05d}.tar").open("wb") as tar:
                for n, file in enumerate(kept):
                    tar.writelines(packed(f"{n:06d}.png", file))
                    tar.writelines(packed(f"{n:06d}.cls", b"%d" % labels[n]))
                tar.write(END)

    def measure(self) -> dict[str, Any]:
        """Return all figures."""
        small, large = f"{self.count // 10} images", f"{self.count} images"
        results: dict[str, Any] = {"start-up": self._startup(), "codec": self._codec()}
        for kind in ("parquet", "tar"):
            for level in (1, 0):
                end = "" if level else ", stored"
                results[f"{kind}, {small}{end}"] = self._restore(
                    f"small-{kind}", self.count // 10, level=level
                )
                results[f"{kind}, {large}{end}"] = self._restore(
                    f"large-{kind}", self.count, level=level
                )
        few = self.count // 5
        results[f"loose files, {few} images"] = self._restore("loose", few)
        results["loose files copied"] = self._copied(few)
        results[f"loose files in memory, {few} images"] = self._in_memory(few)
        results["ray over local"] = self._engines()
        results["killed"] = self._killed()
        return results

    def _engines(self) -> dict[str, float]:
        """Return the rates of the local pool and of Ray, in turns: a cluster made, or running."""
        rounds: list[dict[str, float]] = []
        for _ in range(2):
            rates = {
                engine: self._restore("large-parquet", self.count, engine)["images_per_s"]
                for engine in ENGINES
            }
            with _cluster() as address:
                kept = self._restore("large-parquet", self.count, "ray", RAY_ADDRESS=address)
            rounds.append({**rates, "ray, running": kept["images_per_s"]})
        best = {name: max(rates[name] for rates in rounds) for name in rounds[0]}
        ratios = {
            "ratio": best["ray"] / best["local"],
            "ratio, running": best["ray, running"] / best["local"],
        }
        return {**best, **{name: round(ratio, 2) for name, ratio in ratios.items()}}

    def _startup(self) -> dict[str, float]:
        seconds = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        return {"help_ms": round(1000 * min(seconds), 1)}

    def _codec(self) -> dict[str, float]:
        """Return the microseconds that an image takes here and in Pillow, in turns."""
        images = self.clean[:1000]
        timed: dict[str, list[float]] = {}
        for _ in range(5):
            for name, work in (
                ("encode", lambda: encode_images(images)),
                ("encode, Pillow", lambda: [_by_pillow(image) for image in images]),
                ("decode", lambda: decode_files(self.protected[:1000])),
                ("decode, Pillow", lambda: [_read_by_pillow(f) for f in self.protected[:1000]]),
            ):
                start = time.perf_counter()
                work()
                timed.setdefault(name, []).append(time.perf_counter() - start)
        return {name: round(1e6 * min(runs) / len(images), 1) for name, runs in timed.items()}

    def _command(self, name: str, out: Path, engine: str = "local", level: int = 1) -> list[str]:
        chosen = ["--key", str(self.folder / "key"), "--engine", engine, "--quiet"]
        chosen += ["--png-level", str(level)]
        return [*COMMAND, "restore", str(self.folder / name), str(out), *chosen]

    def _restore(
        self, name: str, count: int, engine: str = "local", level: int = 1, **environment: str
    ) -> dict[str, float]:
        """Restore a dataset; return images a second and the memory of all its processes."""
        out = self.folder / "out"
        start = time.perf_counter()
        process = subprocess.Popen(
            self._command(name, out, engine, level),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)  # looking more often would cost time
        seconds = time.perf_counter() - start
        assert process.stdout is not None
        told = process.stdout.read()
        process.stdout.close()
        assert f"restored {count} of {count}" in told, told
        self._remove(out)
        return {
            "images_per_s": round(count / seconds),
            "seconds": round(seconds, 1),
            "peak_MiB": round(peak / 2**20),
        }

    def _copied(self, count: int) -> dict[str, float]:
        """Copy the loose files and do nothing else, in as many processes: what the disk allows."""
        names = [path.relative_to(self.folder) for path in (self.folder / "loose").rglob("*.png")]
        out, cpus = self.folder / "out", os.cpu_count() or 1
        start = time.perf_counter()
        with ProcessPoolExecutor(cpus) as pool:
            pieces = [names[n :: 4 * cpus] for n in range(4 * cpus)]
            list(pool.map(_copy, pieces, repeat(self.folder), repeat(out)))
        rate = count / (time.perf_counter() - start)
        shutil.rmtree(out)
        return {"copied_per_s": round(rate)}

    def _in_memory(self, count: int) -> dict[str, float] | None:
        """Restore loose files from and to a file system in memory, where there is one."""
        memory = Path("/dev/shm")
        if not memory.is_dir():
            return None
        with tempfile.TemporaryDirectory(prefix="dsguard-bulk-", dir=memory) as folder:
            shutil.copytree(self.folder / "loose", Path(folder, "loose"))
            shutil.copy(self.folder / "key", folder)
            return Bench(Path(folder), self.count)._restore("loose", count)

    def _remove(self, out: Path) -> None:
        shutil.rmtree(out)
        shutil.rmtree(out.with_name(out.name + ".dsguard"))

    def _killed(self) -> dict[str, int]:
        """Kill runs at random moments until one comes through; compare what all leave behind."""
        out = self.folder / "killed"
        command = [*self._command("small-parquet", out), "--shard-size", "1000"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        expected = _digests(out)
        self._remove(out)
        rng = random.Random(0)
        killed = finished = same = 0
        while killed < KILLS:
            process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0.1, seconds))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            finished += 1
            same += _digests(out) == expected
            self._remove(out)
        subprocess.run(command, check=True, capture_output=True)
        same += _digests(out) == expected
        self._remove(out)
        return {"kills": killed, "finished": finished + 1, "equal": same}


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
    """Yield the address of a Ray cluster with as many CPUs as this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = ray.init(include_dashboard=False, log_to_driver=False, object_store_memory=1 << 28)
    try:
        yield started.address_info["gcs_address"]
    finally:
        ray.shutdown()


def _copy(names: list[Path], source: Path, destination: Path) -> None:
    for name in names:
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((source / name).read_bytes())


def _memory(pid: int) -> int:
    """Return the memory of a process and all below it, what they share counted once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _by_pillow(image: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _read_by_pillow(file: bytes) -> Any:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


if __name__ == "__main__":
    main()
