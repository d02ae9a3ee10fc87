"""Write the files of tests/data/v1: images protected by format version 1.

Run it once per format version and never again for one that was released: later versions must keep
reading the files that it wrote then.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dsguard
from dsguard.codecs.paper import OVERHEAD_BYTES, plan
from dsguard.formats import encode_image
from dsguard.kernels import reference

HERE = Path(__file__).parent / "v1"
SHAPES = {"small": (8, 8, 3), "cifar": (32, 32, 3), "gray": (40, 30, 1), "alpha": (66, 71, 4)}


def pattern(shape: tuple[int, int, int], which: int) -> np.ndarray:
    """Return the clean (0) or target (1) image of docs/format.md, section Test vectors."""
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    values = 37 * y + 11 * x * x + 59 * c if which == 0 else 200 + 5 * y * x + 20 * c
    return (values % 256).astype(np.uint8)


def main() -> None:
    key = dsguard.DatasetKey(bytes(range(32)))
    dsguard.set_backend("reference")
    vectors = {"key": key.secret.hex(), "key_id": key.key_id, "images": {}}
    for name, shape in SHAPES.items():
        clean, target = (pattern(shape, which)[np.newaxis] for which in (0, 1))
        protected = dsguard.protect_batch(clean, key, target=target, profile="paper").images
        geometry = plan(*shape)
        _, sequences = reference.transform(clean, target, geometry)
        payload = reference.extract(protected, OVERHEAD_BYTES + sequences.shape[1], geometry)
        vectors["images"][name] = {
            "shape": shape,
            "planes": geometry.planes,
            "sequence": sequences[0].tobytes().hex(),
            "payload": payload[0].tobytes().hex(),
        }
        (HERE / f"{name}.png").write_bytes(encode_image(protected[0]))
    (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
