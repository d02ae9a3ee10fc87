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
    "colour": (36, (20, 24, 3)),
    "low": (13, (40, 32, 3)),
    "high": (64, (16, 16, 3)),
    "gray": (29, (21, 37, 1)),
    "alpha": (41, (18, 30, 4)),
    "small": (36, (9, 10, 3)),
    "tiny": (36, (3, 2, 3)),
    "noise": (24, (24, 24, 3)),
}
"""Rate and shape."""


def clean(name: str) -> np.ndarray:
    """Return the image of docs/format.md, section Test vectors."""
    shape = IMAGES[name][1]
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    if name == "noise":
        return np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    values = 60 + 3 * y + 2 * x + 9 * c + (x * x + 3 * y * x + y) % 5
    return (values % 256).astype(np.uint8)


def main() -> None:
    """Write the files."""
    HERE.mkdir(exist_ok=True)
    key = dsguard.DatasetKey(bytes(range(32)))
    dsguard.set_backend("reference")
    vectors = {"key": key.secret.hex(), "images": {}}
    for name, (rate, shape) in IMAGES.items():
        image = clean(name)[np.newaxis]
        cover = Given(np.full_like(image, 128))
        out = dsguard.protect_batch(image, key, cover=cover, codec=Sealed(rate))
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
