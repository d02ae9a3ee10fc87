"""What restoring costs where data is loaded, beside plain files and files under plain encryption.

    python -m bench.loading

makes JPEG files of 224×224 of sample photographs, publishes them with the file carried and with
the pixels carried, encrypts them with AES-GCM as well, and reads each with one worker of a
``DataLoader``, in turns. Then it restores many of the published files as a whole dataset. Results
go to ``bench/results/loading.json`` and into ``docs/why-not-encrypt.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from PIL import Image
from torch.utils.data import DataLoader

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.integrations.torch import RestoredDataset

from .report import cpu, put_into_page, table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "loading.json"
PAGE = ROOT / "docs" / "why-not-encrypt.md"
START, END = "<!-- loading: bench/loading.py -->", "<!-- end of loading -->"

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
"""Of scikit-image; scikit-learn has two more."""

SIDE = 224
QUALITIES = (75, 80, 85, 90)
BATCH = 64
NONCE = 12
PLAIN, SEALED, UNOPENED, FITTED, FILES, PIXELS = (
    "the JPEG files as they are",
    "JPEG files encrypted with AES-GCM, decrypted",
    "published PNG files, not restored",
    "published PNG files, restored: the file is carried, `--cover-size fit`",
    "published PNG files, restored: the file is carried",
    "published PNG files, restored: the pixels are carried",
)
"""What a worker reads, as the table calls it."""

PUBLISHED = (("files", "own", FILES), ("files", "fit", FITTED), ("pixels", "own", PIXELS))
"""What is published: what is kept, the size of covers, and the name of the row."""

CLOCK = "images a second, by the clock"
PROCESSOR = "images a second of a processor"

Picture = npt.NDArray[np.uint8]


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--copies", type=int, default=32, help="of each image, in bulk")
    given = parser.parse_args()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # so that no disk is measured
    with tempfile.TemporaryDirectory(prefix="dsguard-loading-", dir=memory) as folder:
        found = measured(Path(folder), given.images, given.rounds, given.copies)
    facts = {
        "command": " ".join(["python -m bench.loading", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": cpu(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        **found,
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    RESULTS.write_text(text + "\n")
    put_into_page(START, END, told(facts), PAGE)
    print(text)


VERSIONS = ("dsguard", "numpy", "pillow", "torch", "cryptography", "isal")


def measured(folder: Path, count: int, rounds: int, copies: int) -> dict[str, Any]:
    """Return all figures."""
    key = dsguard.DatasetKey.generate()
    originals = folder / "originals"
    write_originals(originals, count)
    sizes = {PLAIN: 1.0, SEALED: 0.0, UNOPENED: 0.0}
    for keep, cover_size, name in PUBLISHED:
        out = folder / f"{keep}-{cover_size}"
        report = protect_dataset(originals, out, key, workers=1, keep=keep, cover_size=cover_size)
        assert report.done == count, report.failures
        sizes[name] = report.bytes_written / report.bytes_read
    sizes[UNOPENED] = sizes[FILES]
    password = AESGCM.generate_key(256)
    encrypt(originals, folder / "encrypted", password)
    sizes[SEALED] = bytes_in(folder / "encrypted") / bytes_in(originals)
    published = Files.of(folder / "files-own")
    read = {
        PLAIN: Decoded(Files.of(originals)),
        SEALED: Decoded(Files.of(folder / "encrypted"), password),
        UNOPENED: Decoded(published),
        FITTED: RestoredDataset(Files.of(folder / "files-fit"), key),
        FILES: RestoredDataset(published, key),
        PIXELS: RestoredDataset(Files.of(folder / "pixels-own"), key),
    }
    check(read)
    rates = fastest(read, rounds)
    return {
        "images": count,
        "bytes": bytes_in(originals),
        **rates,
        "of the rate of plain files": ratios(rates[PROCESSOR], PLAIN),
        "of the rate of AES-GCM": ratios(rates[PROCESSOR], SEALED),
        "bytes over those of the JPEG files": {n: round(size, 2) for n, size in sizes.items()},
        "bulk": bulk(folder / "files-fit", key, copies),
    }


def write_originals(folder: Path, count: int) -> None:
    """Write JPEG files: squares of photographs, drawn in place and size, brought to one size."""
    rng = np.random.default_rng(0)
    photographs = pictures()
    for n in range(count):
        name, photograph = list(photographs.items())[n % len(photographs)]
        side = int(rng.integers(SIDE, min(photograph.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
        square = photograph.crop((left, top, left + side, top + side))
        path = folder / name / f"{n:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = QUALITIES[n // len(photographs) % len(QUALITIES)]
        square.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(path, quality=quality)


def pictures() -> dict[str, Image.Image]:
    """Return sample photographs by name."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    names = (Path(name).stem for name in samples.filenames)
    found = dict(zip(names, samples.images, strict=True))
    found |= {name: getattr(data, name)() for name in PHOTOGRAPHS}
    return {name: Image.fromarray(np.asarray(image)) for name, image in found.items()}


def encrypt(source: Path, destination: Path, password: bytes) -> None:
    """Encrypt each file of a folder: a nonce, then what AES-GCM makes of it."""
    cipher = AESGCM(password)
    for path in source.rglob("*.jpg"):
        nonce = os.urandom(NONCE)
        out = destination / path.relative_to(source)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(nonce + cipher.encrypt(nonce, path.read_bytes(), None))


def bytes_in(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    return sum(path.stat().st_size for path in folder.rglob("*.jpg"))


@dataclass(frozen=True)
class Files:
    """A sequence of files, each with the number of its class; read when they are asked for."""

    paths: list[Path]
    classes: list[str]

    @classmethod
    def of(cls, folder: Path) -> Files:
        """Return all files of a folder of classes."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls(paths, sorted({path.parent.name for path in paths}))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[bytes, int]:
        path = self.paths[number]
        return path.read_bytes(), self.classes.index(path.parent.name)


@dataclass(frozen=True)
class Decoded:
    """What most trainers have: a dataset that reads a file, and decodes it with Pillow."""

    files: Files
    key: bytes | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Picture, int]:
        data, label = self.files[number]
        if self.key is not None:
            data = AESGCM(self.key).decrypt(data[:NONCE], data[NONCE:], None)
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image), label


def check(read: dict[str, Any]) -> None:
    """See that the same pictures come, in whatever way they were kept."""
    for number in range(0, len(read[PLAIN]), 16):
        expected = read[PLAIN][number]
        for name in (SEALED, FITTED, FILES, PIXELS):
            found = read[name][number]
            assert found[1] == expected[1], name
            np.testing.assert_array_equal(found[0], expected[0], err_msg=name)


def fastest(read: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Return images a second of one worker for each dataset: the best of rounds, in turns.

    They are those by the clock, and those by the time that processors work for the worker, which
    others who use the machine do not lengthen.
    """
    loaders = {
        name: DataLoader(dataset, BATCH, num_workers=1, persistent_workers=True)
        for name, dataset in read.items()
    }
    for loader in loaders.values():
        list(loader)  # its worker starts
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in read}
    for _ in range(rounds):
        for name, loader in loaders.items():
            taken[name].append(pass_through(loader))
    count = len(read[PLAIN])
    best = {name: tuple(map(min, zip(*seconds, strict=True))) for name, seconds in taken.items()}
    return {
        CLOCK: {name: round(count / elapsed) for name, (elapsed, _) in best.items()},
        PROCESSOR: {name: round(count / busy) for name, (_, busy) in best.items()},
    }


def pass_through(loader: DataLoader[Any]) -> tuple[float, float]:
    """Load a dataset once; return seconds by the clock, and by the processors of its worker."""
    worker = loader._iterator._workers[0].pid
    start, before = time.perf_counter(), processor_seconds(worker)
    for _ in loader:
        pass
    return time.perf_counter() - start, processor_seconds(worker) - before


def processor_seconds(process: int) -> float:
    """Return how long processors have worked for a process; Linux only."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def bulk(published: Path, key: dsguard.DatasetKey, copies: int) -> dict[str, Any]:
    """Restore a dataset of copies with two processes; return files a second, start included."""
    many, back, password = (published.with_name(name) for name in ("many", "back", "key"))
    key.save(password)
    for path in published.rglob("*.png"):
        for copy in range(copies):
            link = many / f"{copy:02d}" / path.relative_to(published)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)
    command = [sys.executable, "-m", "dsguard", "restore", str(many), str(back)]
    command += ["--key", str(password), "--workers", "2", "--quiet", "--overwrite"]
    found = [timed(command) for _ in range(3)]
    count = sum(1 for path in back.rglob("*.jpg"))
    elapsed, busy = map(min, zip(*found, strict=True))
    return {
        "files": count,
        "processes": 2,
        "files a second": round(count / elapsed),
        "files for a second of one processor": round(count / busy),
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return seconds by the clock, and by processors for all its processes."""
    start, seconds = time.perf_counter(), dict[int, float]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error, OSError):  # that ended while it was looked at
                for each in (family, *family.children(recursive=True)):
                    worked = processor_seconds(each.pid)  # nothing where it has ended
                    seconds[each.pid] = max(worked, seconds.get(each.pid, 0.0))
            time.sleep(0.05)
    assert process.returncode == 0
    return time.perf_counter() - start, sum(seconds.values())


def ratios(rates: dict[str, float], to: str) -> dict[str, float]:
    """Return each rate over that of one."""
    return {name: round(rate / rates[to], 2) for name, rate in rates.items()}


def told(facts: dict[str, Any]) -> str:
    """Return the table and what stands below it."""
    rates, ratio, sizes = (
        facts[name]
        for name in (
            PROCESSOR,
            "of the rate of plain files",
            "bytes over those of the JPEG files",
        )
    )
    rows = [
        (name, f"{rate:,}", f"{ratio[name]:.2f}", f"{sizes[name]:.2f}")
        for name, rate in rates.items()
    ]
    head = ("one worker of a `DataLoader` reads", "images/s", "of plain files", "bytes, of JPEG")
    many, versions = facts["bulk"], ", ".join(f"{name} {facts[name]}" for name in VERSIONS)
    bulk = (
        f"With `--cover-size fit`, restored as a dataset of {many['files']:,} files, by "
        f"{many['processes']} processes and with their start, they are "
        f"{many['files for a second of one processor']:,} JPEG files "
        f"for each second that a processor works; by the clock {many['files a second']:,} a second."
    )
    machine = f"{facts['machine']}, {facts['cpus']} CPUs, Python {facts['python']}, {versions}"
    return f"{table(head, rows)}\n\n{bulk}\n\n{machine}; {facts['date']}."


if __name__ == "__main__":
    main()
