"""Image files of sixty kinds, by the rows of the table in docs/reference/kinds-of-files.md."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, TiffImagePlugin

SIZE = (24, 20)
"""Width and height of all of them."""

_COLOURS = Image.fromarray(
    (np.add.outer(np.arange(20) * 7, np.arange(24) * 3)[..., None] + [0, 40, 80]).astype(np.uint8)
)
_GRAY = _COLOURS.convert("L")
_ALPHA = _COLOURS.copy()
_ALPHA.putalpha(_GRAY)
_DEEP = Image.fromarray(np.asarray(_GRAY).astype(np.uint16) * 257)
_VALUES = Image.fromarray(np.asarray(_GRAY).astype(np.float32) / 7)
_COUNTS = Image.fromarray(np.asarray(_GRAY).astype(np.int32) * 70000)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.copy().save(data, kind, **options)  # a writer leaves its settings on an image
    return data.getvalue()


def _more() -> list[Image.Image]:
    return [_COLOURS.rotate(turn) for turn in (90, 180)]


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def plain() -> dict[str, bytes]:
    """Return files of 8 bits a sample."""
    palette = _COLOURS.quantize(16)
    return {
        "gray.png": _saved(_GRAY, "png"),
        "colours.png": _saved(_COLOURS, "png"),
        "alpha.png": _saved(_ALPHA, "png"),
        "gray-alpha.png": _saved(_ALPHA.convert("LA"), "png"),
        "palette.png": _saved(palette, "png"),
        "clear-palette.png": _saved(palette, "png", transparency=3),
        "two.png": _saved(_GRAY.convert("1"), "png"),
        "text.png": _saved(_COLOURS, "png", pnginfo=None, dpi=(72, 72)),
        "gray.jpg": _saved(_GRAY, "jpeg"),
        "colours.jpeg": _saved(_COLOURS, "jpeg", quality=95),
        "small.JPG": _saved(_COLOURS, "jpeg", quality=10),
        "scans.jpg": _saved(_COLOURS, "jpeg", progressive=True),
        "turned.jpe": _saved(_COLOURS, "jpeg", exif=_turned()),
        "profile.jfif": _saved(_COLOURS, "jpeg", icc_profile=b"a profile"),
        "gray.bmp": _saved(_GRAY, "bmp"),
        "colours.bmp": _saved(_COLOURS, "bmp"),
        "palette.bmp": _saved(palette, "bmp"),
        "two.bmp": _saved(_GRAY.convert("1"), "bmp"),
        "still.gif": _saved(palette, "gif"),
        "colours.tif": _saved(_COLOURS, "tiff"),
        "lzw.tiff": _saved(_COLOURS, "tiff", compression="tiff_lzw"),
        "deflate.tiff": _saved(_GRAY, "tiff", compression="tiff_adobe_deflate"),
        "bits.tiff": _saved(_GRAY.convert("1"), "tiff", compression="group4"),
        "alpha.tiff": _saved(_ALPHA, "tiff"),
        "lossy.webp": _saved(_COLOURS, "webp"),
        "lossless.webp": _saved(_ALPHA, "webp", lossless=True),
        "colours.ppm": _saved(_COLOURS, "ppm"),
        "gray.pgm": _saved(_GRAY, "ppm"),
    }


def deep() -> dict[str, bytes]:
    """Return files of more than 8 bits a sample."""
    return {
        "deep.png": _saved(_DEEP, "png"),
        "deep.tiff": _saved(_DEEP, "tiff"),
        "counts.tiff": _saved(_COUNTS, "tiff"),
        "values.tif": _saved(_VALUES, "tiff"),
        "deep.pgm": b"P5 24 20 65535\n" + np.asarray(_DEEP).astype(">u2").tobytes(),
    }


def printed() -> dict[str, bytes]:
    """Return files whose colours are those of inks or of video."""
    inks = _COLOURS.convert("CMYK")
    return {
        "inks.jpg": _saved(inks, "jpeg"),
        "inks.tiff": _saved(inks, "tiff"),
        "lab.tiff": _saved(_COLOURS.convert("LAB"), "tiff"),
    }


def several() -> dict[str, bytes]:
    """Return files that hold more than one picture."""
    kinds = {"moves.gif": "gif", "moves.png": "png", "moves.webp": "webp", "pages.tiff": "tiff"}
    below = TiffImagePlugin.ImageFileDirectory_v2()
    below[330] = 8  # of which Pillow shows the picture above alone
    colours, gray = _saved(_COLOURS, "ppm"), _saved(_GRAY, "ppm")
    return {
        "frames.ppm": colours + colours,
        "frames.pgm": gray + gray,
        "camera.tif": _saved(_COLOURS, "tiff", tiffinfo=below),
    } | {
        name: _saved(_COLOURS, kind, save_all=True, append_images=_more())
        for name, kind in kinds.items()
    }


def damaged() -> dict[str, bytes]:
    """Return files that end too early, or are none."""
    whole = _saved(_COLOURS, "jpeg", quality=90)
    return {
        "cut.jpg": whole[: len(whole) // 2],
        "words.jpg": b"this is no image",
        "empty.png": b"",
    }


def sized() -> dict[str, bytes]:
    """Return files that are not decoded and tell their size."""
    width, height = SIZE
    rest = bytes(range(256)) * 2
    ispe = struct.pack(">I4sIII", 20, b"ispe", 0, width, height)
    sides = ((0x10, height), (0x11, width))
    typed = b"".join(struct.pack("<HH2sHH", 0x28, tag, b"US", 2, side) for tag, side in sides)
    untyped = b"".join(struct.pack("<HHIH", 0x28, tag, 2, side) for tag, side in sides)
    codestream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 47, 0, width, height, 0, 0)
    volume = struct.pack("<i", 348).ljust(42, b"\0") + struct.pack("<hhh", width, height, 9)
    ihdr = struct.pack(">II", height, width)
    raw = _saved(_COLOURS, "tiff")
    return {
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(12) + ispe + rest,
        "phone.heif": b"\0\0\0\x18ftypmif1" + bytes(12) + ispe + rest,
        "web.avif": b"\0\0\0\x18ftypavif" + bytes(12) + ispe + rest,
        "scan.dcm": bytes(128) + b"DICM" + typed + rest,
        "scan.dicom": bytes(128) + b"DICM" + untyped + rest,
        "film.jp2": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x16ihdr" + ihdr + rest,
        "film.j2k": codestream + rest,
        "head.nii": volume.ljust(344, b"\0") + b"n+1\0" + rest,
        "camera.dng": raw,
        "camera.nef": raw,
        "two.pbm": _saved(_GRAY.convert("1"), "ppm"),
        "two.mpo": _saved(_COLOURS, "mpo", save_all=True, append_images=_more()[1:]),
        "moves.apng": _saved(_COLOURS, "png", save_all=True, append_images=_more()),
    }  # fmt: skip


def others() -> dict[str, bytes]:
    """Return files that are not decoded and do not tell their size."""
    rest = bytes(range(256)) * 40
    return {
        "film.jxl": b"\xff\x0a" + rest,
        "head.nii.gz": b"\x1f\x8b\x08" + rest,
        "light.exr": b"\x76\x2f\x31\x01" + rest,
        "camera.cr3": b"\0\0\0\x18ftypcrx " + rest,
        "layers.psd": b"8BPS" + rest,
        "old.tga": _saved(_COLOURS, "tga") + rest,
        "old.pcx": _saved(_COLOURS, "pcx") + rest,
        "icon.ico": b"\0\0\1\0" + rest,
        "volume.nrrd": b"NRRD0004\n" + rest,
        "volume.mha": b"ObjectType = Image\n" + rest,
    }


KINDS = {
    "8 bits a sample": plain,
    "more than 8 bits a sample": deep,
    "CMYK and other colour spaces": printed,
    "several pictures in one file": several,
    "damaged": damaged,
    "not decoded, size known": sized,
    "not decoded, size not known": others,
}
"""By what the table calls them."""
