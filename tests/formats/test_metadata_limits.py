"""Metadata of images that would take much memory or time is refused before Pillow parses it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dsguard.formats import decode_image
from dsguard.formats import pillow as pillow_module
from dsguard.formats.images import UnreadableImageError, decode_files
from dsguard.formats.limits import most_blocks
from dsguard.formats.metadata_limits import MOST_PIECES
from dsguard.formats.png import NotPlainError, read_plain

MANY = MOST_PIECES + 1
TOO_MUCH = most_blocks(4 << 20)
PIECES = f"more than {MOST_PIECES} segments or chunks"
UNITS = "too much Exif, too many tags or numbers in them, or too small blocks"


def saved(kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, (16, 16)).save(file, kind, **options)
    return file.getvalue()


def segment(marker, data=b""):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments, at=2):
    file = saved("JPEG")
    return file[:at] + b"".join(segments) + file[at:]


def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


GAMMA = chunk(b"gAMA", struct.pack(">I", 45455))  # leaves a file to Pillow


def png(*chunks):
    file = saved("PNG")
    return file[:33] + GAMMA + b"".join(chunks) + file[33:]


def webp(*chunks):
    pixels = saved("WEBP", lossless=True)[12:]
    size = struct.pack("<H", 15) + b"\0"
    body = b"WEBPVP8X" + struct.pack("<II", 10, 8) + size + size + pixels + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(before=b"", pixels=b""):
    file = saved("GIF", "P")
    start = file.index(b",\0\0\0\0")
    return file[:start] + before + file[start:-2] + pixels + file[-2:]


def tiff(*more, big=False, after=b""):
    """Write a gray TIFF with more tags: number, type, count, value."""
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1)]
    tags += [(273, 4, 1, 0), (278, 4, 1, 16), (279, 4, 1, 256), *more]
    entry, head = ("<HHQQ", 16 + 8) if big else ("<HHII", 8 + 2)
    pixels = head + struct.calcsize(entry) * len(tags) + (8 if big else 4)
    tags[5] = (273, 4, 1, pixels)
    file = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags))
    file = file if big else b"II*\0" + struct.pack("<IH", 8, len(tags))
    return file + b"".join(struct.pack(entry, *tag) for tag in tags) + bytes(pixels - head -
        struct.calcsize(entry) * len(tags)) + bytes(256) + after  # fmt: skip


END_OF_PAGE = 8 + 2 + 12 * 9 + 4 + 256
MANY_TAGS = 1 << 17
PAGE = struct.pack("<H", 65535) + struct.pack("<HHII", 40000, 3, 16, 0) * 65535 + bytes(4)
NUMBERS = struct.pack("<HHHII", 1, 37510, 3, TOO_MUCH, 8) + bytes(2 * TOO_MUCH)

PROFILE = zlib.compress(bytes(1 << 20))

BOMBS = {
    "jpeg segments": (lambda: jpeg(segment(0xE3) * MANY), PIECES),
    "jpeg comments": (lambda: jpeg(segment(0xFE) * MANY), PIECES),
    "jpeg tables": (lambda: jpeg(segment(0xDB) * MANY), PIECES),
    "jpeg no length": (lambda: jpeg(b"\xff\xe3\0\0" * MANY), PIECES),
    "jpeg markers": (lambda: jpeg(b"\xff\xd0" * MANY), PIECES),
    "jpeg padding": (lambda: jpeg(segment(0xE0), bytes(MANY << 16)), PIECES),
    "jpeg fill": (lambda: jpeg(segment(0xE0), b"\xff" * (MANY << 16)), PIECES),
    "jpeg exif": (lambda: jpeg(segment(0xE1, b"Exif\0\0" + bytes(60000)) * 18), UNITS),
    "png chunks": (lambda: png(chunk(b"prVt") * MANY), PIECES),
    "png texts": (lambda: png(chunk(b"tEXt", b"a\0b") * MANY), PIECES),
    "png profiles": (lambda: png(chunk(b"iCCP", b"a\0\0" + PROFILE) * MANY), PIECES),
    "png exif": (lambda: png(chunk(b"eXIf", bytes(TOO_MUCH))), UNITS),
    "png pixels": (lambda: png(chunk(b"IDAT") * (TOO_MUCH + (1 << 17))), UNITS),
    "webp chunks": (lambda: webp((b"abcd" + bytes(4)) * MANY), PIECES),
    "webp exif": (lambda: webp(b"EXIF" + struct.pack("<I", TOO_MUCH) + bytes(TOO_MUCH)), UNITS),
    "gif comment": (lambda: gif(b"!\xfe" + b"\1a" * TOO_MUCH + b"\0"), UNITS),
    "gif comments": (lambda: gif(b"!\xfe\0" * TOO_MUCH), UNITS),
    "gif application": (lambda: gif(b"!\xff" + b"\1a" * TOO_MUCH + b"\0"), UNITS),
    "gif padding": (lambda: gif(b"\1" * TOO_MUCH), UNITS),
    "gif pixels": (lambda: gif(pixels=b"\1a" * TOO_MUCH), UNITS),
    "tiff tags": (lambda: tiff(*[(n >> 1, 1, 1, 0) for n in range(MANY_TAGS)], big=True), UNITS),
    "tiff one tag": (lambda: tiff(*[(40000, 1, 1, 0)] * MANY_TAGS, big=True), UNITS),
    "tiff numbers": (lambda: tiff((65000, 3, TOO_MUCH, 8), after=bytes(2 * TOO_MUCH)), UNITS),
    "tiff exif": (lambda: tiff((34665, 13, 1, END_OF_PAGE), after=PAGE), UNITS),
    "tiff exif numbers": (lambda: tiff((34665, 4, 1, END_OF_PAGE), after=NUMBERS), UNITS),
    "ppm comment": (lambda: b"P5 #" + bytes(TOO_MUCH) + b"\n16 16 255\n" + bytes(256), UNITS),
    "ppm blanks": (lambda: b"P4\n16 " + b" " * TOO_MUCH + b"16\n" + bytes(32), UNITS),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_metadata_is_refused_before_pillow_sees_it(name, monkeypatch):
    bomb, reason = BOMBS[name]

    def opened(*_, **__):
        pytest.fail("Pillow was given it")

    monkeypatch.setattr(pillow_module.Image, "open", opened)
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(bomb())


def test_a_second_page_is_walked_and_no_circle():
    following = tiff(after=PAGE)
    end = 8 + 2 + 12 * 8
    file = following[:end] + struct.pack("<I", end + 4 + 256) + following[end + 4 :]
    with pytest.raises(UnreadableImageError, match=UNITS):
        decode_image(file)
    circle = tiff()
    circle = circle[:end] + struct.pack("<I", 8) + circle[end + 4 :]
    assert decode_image(circle).shape == (16, 16, 1)


def test_a_damaged_directory_of_exif_does_not_cost_the_picture():
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()
    file = tiff((34665, 4, 1, END_OF_PAGE), after=b"\xff\xff" + noise)
    assert decode_image(file).shape == (16, 16, 1)


def test_segments_among_the_pixels_are_bounded():
    file = jpeg()
    with pytest.raises(UnreadableImageError, match="segments among its pixels"):
        decode_image(file[:-2] + b"\xff\xe3\0\0" * (TOO_MUCH + (1 << 12)) + file[-2:])


def test_plain_png_files_of_many_chunks_are_not_read_at_once():
    file = saved("PNG")
    with pytest.raises(NotPlainError):
        read_plain(file[:33] + chunk(b"IDAT") * (TOO_MUCH + (1 << 17)) + file[33:], b"")


def test_images_with_much_metadata_are_read():
    """A panorama has megabytes of XMP, a profile may have some, a scan one strip for each row."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b"http://ns.adobe.com/xmp/extension/\0" + bytes(65000)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 1, "a" * 60000
    texts = PngImagePlugin.PngInfo()
    for n in range(200):
        texts.add_text(f"key {n}", "text" * 100)
    files = [
        jpeg(segment(0xE1, xmp) * 300),
        saved("JPEG", exif=exif, icc_profile=profile * 100, comment=b"a" * 60000),
        saved("PNG", exif=exif, icc_profile=profile, pnginfo=texts),
        saved("WEBP", exif=exif.tobytes(), icc_profile=profile, xmp=b"a" * (1 << 20)),
        saved("TIFF", exif=exif, icc_profile=profile, tiffinfo={37724: bytes(1 << 22)}),
        gif(b"!\xff\x0bXMP DataXMP" + b"a" * (1 << 20) + bytes(range(255, -1, -1)) + b"\0"),
        b"P5 # a comment\n16 # another\n16\n255\n" + bytes(256),
    ]
    groups, errors = decode_files(files)
    assert not errors
    assert sum(len(group.rows) for group in groups) == len(files)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("ending", [bytes(1 << 16), b"\xff\xe3\0\2" * (1 << 14)])
def test_what_comes_after_an_image_is_not_counted(kind, ending):
    file = png() if kind == "PNG" else saved(kind, lossless=True)
    assert decode_image(file + ending).shape == decode_image(file).shape


def test_long_strips_lists_and_many_blocks_are_read():
    rows = 20000
    file = io.BytesIO()
    Image.new("1", (8, rows)).save(file, "TIFF", compression="group4", strip_size=1)
    assert decode_image(file.getvalue()).shape == (rows, 8, 1)
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "GIF")
    np.testing.assert_array_equal(decode_image(file.getvalue())[..., 0], noise)
