"""Write the files `made-*` of csrc/fuzz/corpus: inputs from which mutations get far.

The files `found-*` beside them are what libFuzzer found in addition, one for each piece of code
that it reached; nothing makes them again.
"""

from __future__ import annotations

import struct
import zlib
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent / "corpus"
FLAT, SLOPE, NOISE, RARE, EXTREME = (
    bytes([kind, base, slopes, mask, 1, 0])
    for kind, base, slopes, mask in (
        (0, 90, 0x00, 0),
        (0, 40, 0x53, 3),
        (0, 0, 0x00, 255),
        (4, 128, 0x11, 31),
        (2, 7, 0x35, 1),
    )
)
"""Textures, see `texture_of` in fuzz.h: kind, base, slopes, mask of the noise, its seed."""


def shape(height: int, width: int, channels: int, colours: int, planes: int = 1) -> bytes:
    """Return the bytes that `geometry_of` makes a geometry of."""
    kind = next(
        k
        for k in range(256)
        if (k % 4 + 1, k // 4 % (k % 4 + 1) + 1, k // 16 % 2 + 1) == (channels, colours, planes)
    )
    return bytes([height - 4, width - 4, kind])


SHAPES = [shape(8, 8, 1, 1), shape(12, 17, 3, 3), shape(16, 9, 4, 2, 2)]


def png() -> list[bytes]:
    """Return inputs of fuzz_png: kind, bytes of a pixel, width, height; a texture; more."""
    textures = (FLAT, SLOPE, NOISE, RARE)
    made = [
        bytes([store, 2, 15, 11]) + texture + bytes([40, 0, 9])
        for store, texture in product((0, 128), textures)
    ]
    made += [bytes([1, 2, 15, 11]) + texture + bytes(range(12)) for texture in textures]
    made.append(bytes([0, 0, 255, 31]) + NOISE)  # more than one block
    rows = b"".join(bytes([y % 5]) + bytes(x * y % 256 for x in range(48)) for y in range(12))
    for level, strategy in ((0, 0), (1, 0), (9, zlib.Z_FIXED), (9, zlib.Z_HUFFMAN_ONLY), (9, 0)):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
        packed = packer.compress(rows[:300]) + packer.flush(zlib.Z_FULL_FLUSH)
        packed += packer.compress(rows[300:]) + packer.flush()
        made.append(bytes([2, 2, 15, 11]) + SLOPE + packed)
    return made


def decode() -> list[bytes]:
    """Return inputs of fuzz_decode: a geometry, kind; mode, texture, Sequence."""
    some = bytes(37 * n % 256 for n in range(120))
    made = [
        geometry + bytes([1 + 4 * (mode % 2), mode]) + RARE + some
        for geometry in SHAPES
        for mode in (0, 1, 2, 4, 5)
    ]
    made.append(SHAPES[1] + bytes([1, 6]) + EXTREME + some)
    return made + [geometry + bytes([4, 200]) + SLOPE + NOISE for geometry in SHAPES]


def reveal() -> list[bytes]:
    """Return inputs of fuzz_reveal: a geometry, kind, mode, 8 thresholds, length; textures."""
    thresholds = bytes([3, 3, 4, 5, 6, 8, 10, 15])
    made = []
    for geometry, mode, texture in product(SHAPES, (0, 8), (FLAT, SLOPE, EXTREME)):
        claim = bytes([mode]) + thresholds + struct.pack("<H", 12)
        made.append(
            geometry + bytes([1 + mode // 4]) + claim + texture + NOISE + bytes([30, 0, 255])
        )
    return made + [
        geometry + b"\0" + bytes([mode + 8]) + thresholds + struct.pack("<H", 40) + texture
        for geometry, mode, texture in product(SHAPES, (1, 2), (RARE, EXTREME))
    ]


def round_trip() -> list[bytes]:
    """Return inputs of fuzz_round_trip: a geometry, kind; choice; clean image, target."""
    pairs = ((SLOPE, RARE), (RARE, RARE), (NOISE, SLOPE), (EXTREME, FLAT))
    made = [
        geometry + bytes([isa, block]) + clean + target
        for geometry, (isa, block), (clean, target) in product(SHAPES, ((1, 0), (5, 8)), pairs)
    ]
    made.append(SHAPES[1] + bytes([5, 15]) + SLOPE + RARE)
    made += [SHAPES[1] + bytes([1, 136]) + clean + target for clean, target in pairs]
    made.append(shape(8, 8, 3, 3)[:1] + bytes([244]) + SHAPES[1][2:] + bytes([1, 0]) + SLOPE + FLAT)
    return made + [SHAPES[1] + bytes([isa, 200]) + SLOPE + RARE + NOISE for isa in (0, 4)]


def compress() -> list[bytes]:
    """Return inputs of fuzz_compress: height, width, channels, kind; a texture, or a stream."""
    shapes = [bytes([11, 16, 1]), bytes([7, 7, 0]), bytes([0, 0, 1]), bytes([8, 20, 2])]
    textures = (FLAT, SLOPE, NOISE, RARE, EXTREME)
    made = [
        shape + bytes([4]) + texture + bytes([40, 0, 9])
        for shape, texture in product(shapes, textures)
    ]
    some = bytes(37 * n % 256 for n in range(400))
    return made + [shape + bytes([5, flags]) + some for shape, flags in product(shapes, (0, 1, 2))]


def spread() -> list[bytes]:
    """Return inputs of fuzz_spread: samples, choice of masks, bytes left free; cover, payload."""
    some = bytes(37 * n % 256 for n in range(300))
    return [
        bytes([count % 256, count // 256, choice, free]) + texture + some
        for (count, free), choice, texture in product(
            ((64, 0), (65, 3), (300, 0)), (0, 64, 33, 36, 40, 52, 56), (SLOPE, EXTREME)
        )
    ]


def main() -> None:
    """Write them."""
    for target in (png, decode, reveal, round_trip, compress, spread):
        folder = HERE / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(target()):
            (folder / f"made-{number:02d}").write_bytes(data)


if __name__ == "__main__":
    main()
