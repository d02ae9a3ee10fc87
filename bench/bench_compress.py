"""How far and how fast are images coded without loss? Beside PNG, WebP and JPEG XL."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dsguard.kernels import native

from .conftest import SHARED

FEW = 200
"""Images that the slower coders get."""

SETS = {"cifar10": 2000, "tinyimagenet10": 500}
Images = npt.NDArray[np.uint8]


@cache
def images_of(name: str) -> Images:
    """Return images of a test split, evenly from all classes: no table was made from these."""
    archive = SHARED / f"{name}.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    with tarfile.open(archive) as tar:
        members = [m for m in tar if m.isfile() and m.name.startswith("test/")]
        chosen = members[:: max(1, len(members) // SETS[name])][: SETS[name]]
        files = [tar.extractfile(member) for member in chosen]
        return np.stack([
            np.array(Image.open(io.BytesIO(file.read())).convert("RGB")) for file in files if file
        ])  # fmt: skip


def saved(images: Images, kind: str, **options: int | bool) -> list[bytes]:
    """Return files of Pillow."""
    files = []
    for image in images:
        out = io.BytesIO()
        Image.fromarray(image).save(out, kind, **options)
        files.append(out.getvalue())
    return files


def opened(files: list[bytes]) -> list[Images]:
    return [np.array(Image.open(io.BytesIO(file))) for file in files]


def jxl(images: Images, effort: int) -> list[bytes]:
    """Return files of JPEG XL, without loss."""
    imagecodecs = pytest.importorskip("imagecodecs")
    return [
        imagecodecs.jpegxl_encode(image, lossless=True, effort=effort, numthreads=1)
        for image in images
    ]


def of_jxl(images: Images, effort: int) -> tuple[Callable[[], object], Callable[[], object], int]:
    """Return coding, decoding, and the bytes that it comes to."""
    files = jxl(images, effort)
    decode = pytest.importorskip("imagecodecs").jpegxl_decode
    return (
        lambda: jxl(images, effort),
        lambda: [decode(file, numthreads=1) for file in files],
        sum(map(len, files)),
    )


def coders(images: Images) -> dict[str, tuple[Callable[[], object], Callable[[], object], int]]:
    """Return by name: coding, decoding, and the bytes that it comes to."""
    data, lengths = native.compress(images)
    few = images[:: len(images) // FEW][:FEW]
    png, webp = saved(few, "png"), saved(few, "webp", lossless=True)
    restored, malformed = native.expand(data, lengths, images.shape[1:])
    assert not malformed.any()
    assert (restored == images).all()
    return {
        "dsguard": (
            lambda: native.compress(images),
            lambda: native.expand(data, lengths, images.shape[1:]),
            int(lengths.sum()),
        ),
        "PNG": (lambda: saved(few, "png"), lambda: opened(png), sum(map(len, png))),
        "WebP": (
            lambda: saved(few, "webp", lossless=True),
            lambda: opened(webp),
            sum(map(len, webp)),
        ),
        **{f"JPEG XL, effort {effort}": of_jxl(few, effort) for effort in (1, 3, 7)},
    }


@pytest.mark.benchmark(group="lossless coding, one thread")
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "coder", ["dsguard", "PNG", "WebP", *(f"JPEG XL, effort {effort}" for effort in (1, 3, 7))]
)
@pytest.mark.parametrize("way", ["code", "decode"])
def bench_lossless(measure, name, coder, way):
    images = images_of(name)
    code, decode, size = coders(images)[coder]
    count = len(images) if coder == "dsguard" else FEW
    bits = round(8 * size / (count * images[0].size), 3)
    measure(code if way == "code" else decode, count, name=f"{way}, {coder}", data=name, bits=bits)
