"""PNG files in parts: how often, how large, and what compressing them again would give.

    python -m bench.parts

needs ``../shared/data``. PNG files are made of images of the test splits, as several programs write
them. Results go to ``bench/results/parts.json`` and into tables of
``docs/reference/kinds-of-files.md``.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.codecs.parts import from_parts, in_parts
from dsguard.formats import png
from dsguard.formats.parted import joined, parted
from dsguard.kernels.reference.trace import filtered

from .report import put_into_page, table
from .sealed import KEY, ROOT, SETS, read

COUNT = 100
START, END = "<!-- parts: bench/parts.py -->", "<!-- end of parts -->"

Picture = npt.NDArray[np.uint8]


def by_pillow(**options: Any) -> Callable[[Picture], bytes]:
    """Return a way to write PNG files, by Pillow."""

    def write(picture: Picture) -> bytes:
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "png", **options)
        return data.getvalue()

    return write


def least_sums(picture: Picture) -> list[int]:
    """Return the filter of each row as libpng chooses it: that of the least sum of sizes."""
    flat = picture.reshape(len(picture), -1)
    sums = []
    for kind in range(5):
        rows = np.frombuffer(filtered(flat, 3, [kind] * len(flat)), np.uint8)
        signed = rows.reshape(len(flat), -1)[:, 1:].astype(np.int8).astype(int)
        sums.append(np.abs(signed).sum(axis=1))
    return np.argmin(sums, axis=0).tolist()  # type: ignore[no-any-return]


def by_rows(
    kinds: Callable[[Picture], list[int]], pack: Callable[[bytes], bytes]
) -> Callable[[Picture], bytes]:
    """Return a way to write PNG files: a choice of filters, and a compressor."""

    def write(picture: Picture) -> bytes:
        height, width, _ = picture.shape
        packed = pack(filtered(picture.reshape(height, -1), 3, kinds(picture)))
        parts = [packed[n : n + 8192] for n in range(0, len(packed), 8192)]
        head = png.as_chunk(b"IHDR", png.header_of(height, width, 2))
        pieces = b"".join(png.as_chunk(b"IDAT", part) for part in parts)
        return png.SIGNATURE + head + pieces + png.END

    return write


def by_zlib(level: int, strategy: int) -> Callable[[bytes], bytes]:
    """Return a compressor."""

    def pack(rows: bytes) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, 15, 8, strategy)
        return packer.compress(rows) + packer.flush()

    return pack


WRITERS = {
    "Pillow": by_pillow(),
    "Pillow, level 1": by_pillow(compress_level=1),
    "Pillow, level 9": by_pillow(compress_level=9),
    "Pillow, optimize": by_pillow(optimize=True),
    "as libpng: least sums, level 6, filtered": by_rows(least_sums, by_zlib(6, zlib.Z_FILTERED)),
    "as OpenCV: Sub, level 1, runs": by_rows(lambda each: [1] * len(each), by_zlib(1, zlib.Z_RLE)),
    "level 3, default strategy": by_rows(least_sums, by_zlib(3, 0)),
    "no filters, level 9": by_rows(lambda each: [0] * len(each), by_zlib(9, 0)),
    "ISA-L, level 1": by_rows(least_sums, lambda rows: bytes(isal_zlib.compress(rows, 1))),
}


def again(data: bytes) -> bool:
    """Tell whether some setting of this zlib, or of ISA-L, writes the stream of a file again."""
    stream = b"".join(_pieces(data))
    rows = zlib.decompress(stream)
    for level in range(1, 10):
        for strategy in (zlib.Z_FILTERED, zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE):
            if by_zlib(level, strategy)(rows)[2:] == stream[2:]:
                return True
    return any(isal_zlib.compress(rows, level)[2:] == stream[2:] for level in range(4))


def _pieces(data: bytes) -> list[bytes]:
    place, found = 33, []
    while place < len(data) - 12:
        length = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            found.append(data[place + 8 : place + 8 + length])
        place += 12 + length
    return found


def measured(pictures: Picture, write: Callable[[Picture], bytes]) -> dict[str, float]:
    """Return what becomes of the files of some images."""
    files = [write(picture) for picture in pictures]
    parts = [parted(data) for data in files]
    back = [p and joined(p.samples, p.layout, len(d)) for p, d in zip(parts, files, strict=True)]
    packed = [in_parts(data) for data in files]
    return {
        "bytes": round(sum(map(len, files)) / len(files)),
        "come back from parts, %": round(
            100 * sum(b == data for b, data in zip(back, files, strict=True)) / len(files), 1
        ),
        "parts over file": round(
            sum(len(p or d) for p, d in zip(packed, files, strict=True)) / sum(map(len, files)), 3
        ),
        "compressed again the same, %": round(100 * sum(map(again, files)) / len(files), 1),
    }


def published(pictures: Picture, write: Callable[[Picture], bytes], **options: str) -> float:
    """Return bytes published over bytes of the source."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in", "a")
        source.mkdir(parents=True)
        for n, picture in enumerate(pictures):
            (source / f"{n}.png").write_bytes(write(picture))
        report = protect_dataset(source.parent, Path(folder, "out"), KEY, **options)
        return round(report.bytes_written / report.bytes_read, 2)


def durations(pictures: Picture) -> dict[str, float]:
    """Return microseconds for a file of Pillow: into parts, and joined; processor time."""
    files = [by_pillow()(picture) for picture in pictures]
    packed = {n: each for n, data in enumerate(files) if (each := in_parts(data))}
    runs = {
        "into parts": lambda: [in_parts(data) for data in files],
        "joined": lambda: from_parts(packed),
    }
    return {name: round(_shortest(call) / len(files) * 1e6) for name, call in runs.items()}


def _shortest(call: Callable[[], object]) -> float:
    found = []
    for _ in range(5):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure, and put the tables into the page."""
    results: dict[str, Any] = {"images": COUNT, "dsguard": dsguard.__version__}
    for name in SETS:
        pictures = read(name, "test")[0]
        pictures = pictures[:: len(pictures) // COUNT][:COUNT]
        results[name] = {each: measured(pictures, write) for each, write in WRITERS.items()}
        results[f"{name}, microseconds"] = durations(pictures)
        results[f"{name}, published over source"] = {
            f"{keep}, {size}": published(pictures, WRITERS["Pillow"], keep=keep, cover_size=size)
            for keep, size in (("auto", "own"), ("auto", "fit"), ("files", "own"), ("files", "fit"),
                               ("pixels", "own"))
        }  # fmt: skip
    path = ROOT / "bench" / "results" / "parts.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    put_into_page(START, END, tables(results), ROOT / "docs/reference/kinds-of-files.md")


_HEADS = {
    "come back from parts, %": "restored from parts, %",
    "parts over file": "parts over file, bytes",
    "compressed again the same, %": "reproduced by compressing again, %",
}
"""Columns of the page, where they are called otherwise than in the results."""


def tables(results: dict[str, Any]) -> str:
    """Return the tables of the page."""
    measures = list(results[SETS[0]]["Pillow"])
    rows = [
        (f"{name}, {writer}", *(f"{values[each]:,}" for each in measures))
        for name in SETS
        for writer, values in results[name].items()
    ]
    sizes = {name: results[f"{name}, published over source"] for name in SETS}
    compared = [
        (each, *(f"{sizes[name][each]:.2f}" for name in SETS))
        for each in next(iter(sizes.values()))
    ]
    return "\n\n".join(
        [
            table(("PNG files by Pillow: published over source, bytes", *SETS), compared),
            table(("PNG files", *(_HEADS.get(each, each) for each in measures)), rows),
            "To bring a PNG file of 32×32 into parts and to compare them takes {into parts} µs of "
            "processor time.\nTo join them takes {joined} µs.\nWithout the C core, both take many "
            "times as long.".format(**results["cifar10, microseconds"]),
        ]
    )


if __name__ == "__main__":
    main()
