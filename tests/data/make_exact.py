"""Write the files of tests/data/exact: images protected by the exact profiles of format version 1.

Run it once and never again after a release: later versions must keep reading what it wrote then.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dsguard
from dsguard.formats import encode_image
from dsguard.kernels import reference
from dsguard.kernels.geometry import Geometry

HERE = Path(__file__).parent / "exact"
SHAPES = {
    "fine": ("exact-fine", (24, 24, 3)),
    "near": ("exact", (32, 32, 3)),
    "classes": ("exact", (36, 29, 3)),
    "gray": ("exact-coarse", (40, 72, 1)),
    "alpha": ("exact", (33, 35, 4)),
    "corner": ("exact", (36, 36, 3)),
    "classes-coarse": ("exact-coarse", (40, 48, 3)),
    "speckled": ("exact", (40, 40, 3)),
    "sidecar": ("exact", (16, 16, 3)),
    "tiny": ("exact", (8, 8, 1)),
}


def pattern(name: str, which: int) -> np.ndarray:
    """Return the clean (0) or target (1) image of docs/format.md, section Test vectors."""
    _, shape = SHAPES[name]
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    if name == "sidecar":  # textured beyond hiding
        values = 37 * y + 11 * x * x + 59 * c if which == 0 else 200 + 5 * y * x + 20 * c
    elif which == 0:
        values = 60 + 3 * y + 2 * x + 9 * c + (x * x + 3 * y * x + y) % 5
        if name == "speckled":  # here and there a sample that has no room to be shifted
            values = np.where((7 * x + 11 * y + 5 * c) % 61 == 0, 255 * (y % 2), values)
    elif name in ("classes", "classes-coarse", "corner"):
        values = 40 + 4 * x + 10 * c + (7 * y * y + x * y) % 11
    else:
        values = pattern(name, 0).astype(int) + 12 - 24 * ((y // 8 + x // 8 + c) % 2)
    return (values % 256).astype(np.uint8)


def main() -> None:
    """Write the files."""
    HERE.mkdir(exist_ok=True)
    key = dsguard.DatasetKey(bytes(range(32)))
    dsguard.set_backend("reference")
    vectors = {"key": key.secret.hex(), "images": {}}
    for name, (profile, shape) in SHAPES.items():
        clean, target = (pattern(name, which)[np.newaxis] for which in (0, 1))
        out = dsguard.protect_batch(clean, key, target=target, profile=profile)
        block = dsguard.Profile.named(profile).codec.grid
        _, sequences, lengths, modes = reference.encode(clean, target, Geometry.of(clean), block)
        sidecar = out.sidecars.get(0, b"")
        vectors["images"][name] = {
            "profile": profile,
            "shape": shape,
            "mode": int(modes[0]),
            "sequence": sequences[0, : lengths[0]].tobytes().hex(),
            "sidecar": sidecar.hex(),
        }
        (HERE / f"{name}.png").write_bytes(encode_image(out.images[0], "png", sidecar))
    (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
