"""Write the files of tests/data/sealed: images protected by codec sealed of format version 1.

Run it once and never again after a release: later versions must keep reading what it wrote then.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dsguard
from dsguard.codecs import Sealed
from dsguard.covers import Given
from dsguard.formats import encode_image

HERE = Path(__file__).parent / "sealed"
IMAGES = {
    "colour": (44, (20, 24, 3)),
    "low": (13, (40, 32, 3)),
    "high": (64, (16, 16, 3)),
    "gray": (29, (21, 37, 1)),
    "alpha": (49, (18, 30, 4)),
    "constant": (20, (28, 25, 3)),
    "small": (36, (9, 10, 3)),
    "tiny": (36, (3, 2, 3)),
    "noise": (24, (24, 24, 3)),
    "file": (44, (20, 24, 3)),
    "long-file": (20, (20, 24, 3)),
    "parts": (40, (24, 30, 3)),
    "layout": (40, (16, 18, 3)),
}
"""Rate and shape."""

FILES = {
    "file": dsguard.File("größe.jpg", bytes(range(200))),
    "long-file": dsguard.File("x", bytes(range(256)) * 3),
    "parts": dsguard.File("a.png", (HERE / "file.png").read_bytes(), coded=True),
    "layout": dsguard.File("b.ppm", b"P6 9 8 255 %s, and more" % bytes(range(216)), coded=True),
}
"""Carried in place of the samples."""


def clean(name: str) -> np.ndarray:
    """Return the image of docs/format.md, section Test vectors."""
    shape = IMAGES[name][1]
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    texture = 60 + 3 * y + 2 * x + (x * x + 3 * y * x + y) % 5
    if name == "noise":
        n = np.arange(np.prod(shape), dtype=np.uint64) * 2654435761 % 2**32
        n = (n ^ n >> np.uint64(15)) * 2246822519 % 2**32
        return (n >> np.uint64(24)).astype(np.uint8).reshape(shape)
    if name == "constant":
        values = texture + 35 * (c == 0) + (c == 2) * ((x * x + x * y) % 7)
    else:
        values = texture + 9 * c + (x * y * (c + 2) + 5 * x + 7 * y) % (4 + 3 * c)
        values += 100 * ((x // 6 + y // 5) % 2) * ((c + x // 9) % 2)
        values += x * x * (c + 1) * (x >= 18) * (7 * y + 3)
    return (values % 256).astype(np.uint8)


def cover(name: str) -> np.ndarray:
    """Return the cover: gray, and 0, 255 and odd values here and there; alpha is opaque."""
    shape = IMAGES[name][1]
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    values = np.where((x + y) % 5 == 0, 255 * (x % 2), 128 + (x + 2 * y + c) % 4)
    return np.where(c == 3, 255, values).astype(np.uint8)


def main() -> None:
    """Write the files."""
    HERE.mkdir(exist_ok=True)
    key = dsguard.DatasetKey(bytes(range(32)))
    dsguard.set_backend("reference")
    vectors = {"key": key.secret.hex(), "images": {}}
    for name, (rate, shape) in IMAGES.items():
        image = clean(name)[np.newaxis]
        shown = Given(cover(name)[np.newaxis])
        files = {0: FILES[name]} if name in FILES else {}
        out = dsguard.protect_batch(image, key, cover=shown, codec=Sealed(rate), files=files)
        sidecar = out.sidecars.get(0, b"")
        image_id = dsguard.image_ids(out.images, sidecars=out.sidecars)[0]
        assert image_id is not None
        vectors["images"][name] = {
            "rate": rate,
            "shape": shape,
            "image_id": image_id.hex(),
            "image_key": dsguard.image_key(key, image_id).hex(),
            "sidecar": sidecar.hex(),
        }
        (HERE / f"{name}.png").write_bytes(encode_image(out.images[0], "png", sidecar))
    (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
