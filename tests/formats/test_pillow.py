"""Short files that claim much: they are refused, or take bounded memory."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from dsguard.formats import decode_image, encode_image
from dsguard.formats.images import UnreadableImageError, decode_files, pixels_of, runs_of

MOST_MEMORY = 512 << 20


def tiff(width, height, *, tile=None, rows=None, compression=8, data=None):
    """Write a gray TIFF file of one strip or tile, whatever sense it makes."""
    data = zlib.compress(bytes(1 << 12)) if data is None else data
    tags = [(256, [width]), (257, [height]), (258, [8]), (259, [compression]), (262, [1])]
    if tile:
        tags += [(322, [tile[0]]), (323, [tile[1]]), (324, None), (325, [len(data)])]
    else:
        tags += [(273, None), (278, [rows or height]), (279, [len(data)])]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, start if value is None else value[0])
        for tag, value in sorted(tags)
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def tiff_of_shared_bytes(count, size):
    """Write a gray TIFF with tags each of which has the same bytes as its value."""
    plain, end = tiff(16, 16, data=zlib.compress(bytes(256))), 8 + 2 + 12 * 8
    tags = b"".join(struct.pack("<HHII", 50000 + n, 7, size, 8) for n in range(count))
    head = plain[:8] + struct.pack("<H", 8 + count) + plain[10:end]
    place = struct.pack("<I", len(head + tags) + 4)
    head = head.replace(struct.pack("<I", end + 4), place)
    return (head + tags + plain[end:]).ljust(8 + size, b"\0")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *more, depth=8, colour=2, stream=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", stream), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def saved(mode, size, kind, **options):
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def claiming(file, at, fmt, *size):
    """Return a file with another size in its header."""
    return file[:at] + struct.pack(fmt, *size) + file[at + struct.calcsize(fmt) :]


SMALL = (16, 16)
CLAIMS = {
    "tiff tile": lambda: tiff(64, 64, tile=(46336, 46336)),
    "tiff tile packbits": lambda: tiff(64, 64, tile=(46336, 46336), compression=32773),
    "tiff wide tile": lambda: tiff(64, 64, tile=(1 << 24, 16)),
    "tiff narrow": lambda: tiff(1, 1 << 20, tile=(1024, 1024)),
    "tiff strip": lambda: tiff(9000, 9000),
    "png": lambda: png(9000, 9000, stream=zlib.compress(bytes(1 << 20))),
    "png palette": lambda: png(9000, 9000, depth=1, colour=3),
    "gif": lambda: claiming(saved("P", SMALL, "GIF"), 6, "<HH", 9000, 9000),
    "bmp": lambda: claiming(saved("RGB", SMALL, "BMP"), 18, "<ii", 9000, 9000),
    "ppm": lambda: b"P6 9000 9000 255\n",
    "pgm": lambda: b"P2 9000 9000 255\n1 2 3",
    "jpeg": lambda: saved("L", (9000, 5000), "JPEG")[:9000],
    "progressive jpeg": lambda: saved("RGB", (4200, 4200), "JPEG", progressive=True)[:9000],
    "webp": lambda: saved("RGB", (4200, 4200), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_short_file_cannot_claim_much(name):
    with pytest.raises(UnreadableImageError, match="claims"):
        decode_image(CLAIMS[name]())
    assert pixels_of(CLAIMS[name]()) > 1 << 24


@pytest.mark.parametrize("size", [(1 << 15, 1 << 15), (1 << 13, 1 << 14)])
def test_whatever_pillow_warns_of_is_refused(size):
    for file in (tiff(*size), png(*size), claiming(saved("P", SMALL, "GIF"), 6, "<HH", *size)):
        with pytest.raises(UnreadableImageError, match="claims to be very large"):
            decode_image(file)


def test_usual_tiles_and_strips_are_read():
    pixels = bytes(256 * 256)
    for file in (
        tiff(100, 100, tile=(256, 256), data=zlib.compress(pixels)),
        tiff(100, 100, rows=(1 << 32) - 1, data=zlib.compress(pixels[:10000])),
        tiff(100, 100, rows=1 << 20, data=zlib.compress(pixels[:10000])),
    ):
        assert decode_image(file).shape == (100, 100, 1)


def test_a_large_plain_image_is_read():
    """One that is as large as it claims to be: 25 million pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 5000, 1), np.uint8)
    image = np.tile(noise, (50, 1, 1))
    np.testing.assert_array_equal(decode_image(encode_image(image)), image)


@functools.cache
def much():
    return zlib.compress(bytes(1 << 28))


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (b"zTXt", b"a\0\0"),
        (b"iCCP", b"a\0\0"),
        (b"iTXt", b"a\0\1\0\0\0"),
        (b"zTXt", b"Raw profile type exif\0\0"),
    ],
)
def test_texts_and_profiles_of_png_do_not_unpack(kind, before):
    file = png(8, 8, chunk(kind, before + much()), stream=zlib.compress(bytes(8 * 25)))
    _, errors = decode_files([file])
    assert not errors or "too large" in str(errors[0]).lower()


def test_a_jpeg_of_very_many_scans_is_refused():
    side = 4096
    file = saved("RGB", (side, side), "JPEG", progressive=True, quality=50)
    last = file[file.rindex(b"\xff\xda") : -2]
    many = file[:-2] + last * 200 + file[-2:]
    with pytest.raises(UnreadableImageError, match="scans"):
        decode_image(many)
    small = saved("RGB", (64, 64), "JPEG", progressive=True)
    last = small[small.rindex(b"\xff\xda") : -2]
    assert decode_image(small[:-2] + last * 200 + small[-2:]).shape == (64, 64, 3)
    trailing = saved("RGB", (2048, 2048), "JPEG") + b"\xff\xda\0\2" * 5000  # a film after it
    assert decode_image(trailing).shape == (2048, 2048, 3)


def test_claims_are_not_added_up():
    """Many files, each of which may claim as much as one may, are decoded one at a time."""
    files = [tiff(64, 64, tile=(4096, 4096))] * 3
    assert list(runs_of(files)) == [(0, 1), (1, 2), (2, 3)]


PEAK = """
import pickle, sys
from dsguard.formats.images import decode_files
for file in pickle.load(sys.stdin.buffer):
    decode_files([file])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_memory_is_bounded():
    """What may just be claimed takes less than is stated, whatever the format."""
    side = 4096
    files = [
        *(file() for file in CLAIMS.values()),
        saved("RGBA", (side, side), "WEBP", lossless=True),
        saved("RGB", (side, side), "JPEG", progressive=True),
        saved("RGBA", (side, side), "PNG"),
        saved("P", (side, side), "GIF"),
        saved("RGBA", (side, side), "TIFF", compression="tiff_deflate"),
        tiff(64, 64, tile=(side, side)),
        tiff_of_shared_bytes(10_000, 200_000),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PEAK], input=pickle.dumps(files), capture_output=True, check=True
    )
    assert int(done.stdout) << 10 < MOST_MEMORY


def tiff_of(samples, extra=None):
    """Return a TIFF file as it is: RGB of three samples and more, else gray."""
    height, width, count = samples.shape
    many = {258: [8] * count, **({338: extra} if extra else {})}
    tags = {256: [width], 257: [height], 258: [], 259: [1], 262: [2 if count > 2 else 1]}
    tags |= {273: [8], 277: [count], 278: [height], 279: [samples.size], 284: [1], **many}
    entries, beyond, start = b"", b"", 8 + samples.size
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(beyond)
            beyond, packed = beyond + packed, struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", start)
    return head + samples.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4) + beyond


@pytest.mark.parametrize(("bands", "extra"), [
    (4, [0]), (5, [0, 0]), (6, [0, 0, 0]), (5, [2, 0]), (4, [1]), (2, [0]),
])  # fmt: skip
def test_bands_that_would_be_lost_are_refused(bands, extra):
    """Near infrared beside red, green and blue, say, or colours multiplied by their alpha."""
    samples = np.random.default_rng(0).integers(0, 256, (16, 20, bands), np.uint8)
    with pytest.raises(UnreadableImageError, match="bands or alpha that would be lost"):
        decode_image(tiff_of(samples, extra))


@pytest.mark.parametrize(("bands", "extra"), [(1, None), (3, None), (4, [2])])
def test_bands_of_usual_files_are_read(bands, extra):
    samples = np.random.default_rng(0).integers(0, 256, (16, 20, bands), np.uint8)
    np.testing.assert_array_equal(decode_image(tiff_of(samples, extra)), samples)
