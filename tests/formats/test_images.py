"""Pictures as cameras, phones and other programs write them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import dsguard
from dsguard.bulk import protect_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import decode_image
from dsguard.formats.images import UnreadableImageError, decode_files, is_image_name, suffix_of
from dsguard.formats.png import encode_pngs
from tests import MALFORMED

CASES = MALFORMED


def chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png(samples, depth, colour, before=b"", after=b""):
    """Write samples (H, W, C) as a PNG file of this depth, as ISO/IEC 15948 has it."""
    height, width, _ = samples.shape
    bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=3)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            before,
            chunk(b"IDAT", stream),
            after,
            chunk(b"IEND", b""),
        ]
    )


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "b/A.JFIF", "a.JPE", "a.jpg"])
def test_all_suffixes_of_jpeg_are_read(name):
    assert is_image_name(name)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.b.PNG", ".PNG"), ("x.jpg.", ""), ("x..", ""), (".x", ""), ("d.e/x", ""), ("x. ", ". ")],
)
def test_a_last_dot_is_no_suffix(name, suffix):
    """Whatever the version of Python takes it for: names would depend on that."""
    assert suffix_of(name) == suffix


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_gray_is_compared_before_scaling(depth):
    values = np.arange(min(1 << depth, 32)).repeat(4).reshape(4, -1, 1)
    for clear in range(min(1 << depth, 32)):
        file = png(values, depth, 0, chunk(b"tRNS", struct.pack(">H", clear)))
        found = decode_image(file)
        scaled = values[..., 0] * 255 // ((1 << depth) - 1)
        np.testing.assert_array_equal(found[..., :3], np.repeat(scaled[..., None], 3, 2))
        np.testing.assert_array_equal(found[..., 3], np.where(values[..., 0] == clear, 0, 255))


def test_high_bits_of_a_transparent_value_do_not_count():
    values = np.arange(16).reshape(4, 4, 1)
    found = decode_image(png(values, 4, 0, chunk(b"tRNS", struct.pack(">H", 0xFF09))))
    np.testing.assert_array_equal(found[..., 3] == 0, values[..., 0] == 9)


def test_a_transparent_colour_is_alpha(scenes):
    samples = scenes[0].copy()
    samples[3:9, 5] = (7, 8, 9)
    samples[4, 5] = (7, 8, 10)
    found = decode_image(png(samples, 8, 2, chunk(b"tRNS", struct.pack(">HHH", 7, 8, 9))))
    np.testing.assert_array_equal(found[..., :3], samples)
    np.testing.assert_array_equal(found[..., 3] == 0, (samples == (7, 8, 9)).all(axis=2))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [b"\0", b"\xff\0", b"\x80\x40"])
def test_a_palette_keeps_its_alpha(depth, alphas):
    colours = np.random.default_rng(0).integers(0, 256, (1 << depth, 3), np.uint8)
    values = np.arange(1 << depth).repeat(2).reshape(2, -1, 1)
    file = png(values, depth, 3, chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", alphas))
    found = decode_image(file)
    np.testing.assert_array_equal(found[..., :3], colours[values[..., 0]])
    alpha = np.full(1 << depth, 255)
    alpha[: len(alphas)] = list(alphas)
    np.testing.assert_array_equal(found[..., 3], alpha[values[..., 0]])


def test_gray_of_four_bits_with_a_transparent_value():
    image = Image.open(CASES / "gray4-trns9.png")
    found = decode_image((CASES / "gray4-trns9.png").read_bytes())
    gray = np.asarray(image)
    np.testing.assert_array_equal(found[..., 0], gray)
    np.testing.assert_array_equal(found[..., 3] == 0, gray == 8 * 17)
    assert (found[..., 3] == 0).any()


def test_the_first_picture_of_a_camera_is_taken():
    data = (CASES / "mpo-phone.jpg").read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        first = np.array(image)
        image.seek(1)
        second = np.array(image)
    (group,), _ = decode_files([data])
    np.testing.assert_array_equal(group.images[0], first)
    assert (first.shape, first.tolist()) != (second.shape, second.tolist())
    assert group.with_more == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_sequences_are_refused(scenes, kind):
    pictures = [Image.fromarray(image) for image in scenes[:3]]
    file = saved(pictures[0], kind, save_all=True, append_images=pictures[1:])
    with pytest.raises(UnreadableImageError, match="animated or has several pages"):
        decode_image(file)


def with_tag(image, tag, value) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    return saved(image, "TIFF", tiffinfo=tags)


HIDDEN = {
    "slices": lambda image: with_tag(image, 32997, 16),
    "picture below": lambda image: with_tag(image, 330, 8),
    "planes": lambda image: with_tag(image, 33629, 3),
    "ImageJ": lambda image: with_tag(image, 270, "ImageJ=1.53\nimages=16\nslices=16\n"),
    "tifffile": lambda image: with_tag(image, 270, '{"shape": [2, 8, 8], "truncated": true}'),
    "PPM": lambda image: 2 * saved(image, "PPM"),
    "PPM with blanks": lambda image: saved(image, "PPM") + b"\n" + saved(image, "PPM"),
    "PGM": lambda image: 2 * saved(image.convert("L"), "PPM"),
    "PBM": lambda image: 2 * saved(image.convert("1"), "PPM"),
    "PGM of few values": lambda image: 2 * (b"P5 2 2 3\n" + bytes(4)),
    "plain PGM": lambda image: 2 * b"P2\n# one\n2 1\n255\n1 2\n",
    **{
        kind: lambda image, kind=kind: 2 * saved(image, kind)
        for kind in ("PNG", "GIF", "BMP", "WEBP")
    },
}
"""Files of several pictures of which Pillow shows one, and tells of no other."""


@pytest.mark.parametrize("kind", HIDDEN)
def test_pictures_of_which_pillow_does_not_tell_are_not_lost(scenes, kind):
    with pytest.raises(UnreadableImageError, match="animated or has several pages"):
        decode_image(HIDDEN[kind](Image.fromarray(scenes[0])))


@pytest.mark.parametrize("kind", ["PPM", "PNG", "BMP", "WEBP", "TIFF"])
def test_bytes_behind_a_picture_are_no_other(scenes, kind):
    image = Image.fromarray(scenes[0])
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(saved(image, kind, **options) + b"\n\nAP5\n")
    np.testing.assert_array_equal(decoded, scenes[0])
    for tag, value in ((32997, 1), (270, "ImageJ=1.53\nimages=1\n")):
        assert (decode_image(with_tag(image, tag, value)) == scenes[0]).all()


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(scenes, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(scenes[0, :20])
    found = decode_image(saved(image, kind, exif=exif.tobytes(), **options))
    np.testing.assert_array_equal(found, TURNED[orientation](scenes[0, :20]))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_is_none(scenes, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(saved(Image.fromarray(scenes[0]), "PNG", exif=exif.tobytes()))
    np.testing.assert_array_equal(found, scenes[0])


@pytest.mark.parametrize("kind", ["iTXt", "tEXt"])
@pytest.mark.parametrize("after", [True, False])
def test_orientation_of_xmp_counts_where_there_is_no_exif(scenes, kind, after):
    xmp = b"<x tiff:Orientation='1' tiff:Orientation=\"6\"> caf\xe9"
    sort = {"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0", "tEXt": b"XML:com.adobe.xmp\0"}[kind]
    text = chunk(kind.encode(), sort + (xmp if kind == "tEXt" else xmp[:-1]))
    file = png(scenes[0, :20], 8, 2, *((b"", text) if after else (text, b"")))
    np.testing.assert_array_equal(decode_image(file), TURNED[6](scenes[0, :20]))


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_exif_as_text_is_seen(scenes, kind):
    exif = Image.Exif()
    exif[0x0112] = 8
    raw = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    packed = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
    file = png(scenes[0, :20], 8, 2, chunk(kind, b"Raw profile type exif\0" + packed))
    np.testing.assert_array_equal(decode_image(file), TURNED[8](scenes[0, :20]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("damage", range(8))
def test_odd_metadata_does_not_cost_the_picture(scenes, kind, damage):
    rng = np.random.default_rng(damage)
    image = Image.fromarray(scenes[0])
    plain = decode_image(saved(image, kind))
    exif = bytearray(b"MM\0*\0\0\0\x08\0\x02\x01\x0e\0\x0a\0\0\0\1\0\0\0\x26" + bytes(40))
    exif[8:] = rng.integers(0, 256, len(exif) - 8, np.uint8).tobytes() if damage else exif[8:]
    xmp = b"<x:xmpmeta>caf\xe9" + rng.bytes(20)
    if kind == "TIFF":
        tags = {700: xmp, 34665: 3}
        file = saved(image, kind, tiffinfo=tags)
    elif kind == "PNG":
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
        file = png(scenes[0], 8, 2, chunk(b"eXIf", bytes(exif)), chunk(b"iTXt", text))
    elif kind == "WEBP":
        plain = decode_image(saved(image, kind, lossless=True))
        file = saved(image, kind, lossless=True, exif=bytes(exif), xmp=xmp)
    else:
        start = saved(image, kind)
        parts = [(b"Exif\0\0", bytes(exif)), (b"http://ns.adobe.com/xap/1.0/\0", xmp)]
        file = start[:2] + b"".join(
            b"\xff\xe1" + struct.pack(">H", 2 + len(a + b)) + a + b for a, b in parts
        )
        file += start[2:]
    assert sorted(decode_image(file).ravel()) == sorted(plain.ravel())  # turned or not


@pytest.mark.parametrize("name", ["signed-rational-o6.jpg", "xmp-not-utf8.jpg"])
def test_odd_metadata_of_cameras(name):
    data = (CASES / name).read_bytes()
    found = decode_image(data)
    with Image.open(io.BytesIO(data)) as image:
        image.info.clear()
        image.load()
        expected = np.asarray(image)
    turns = TURNED[6] if "o6" in name else TURNED[1]
    np.testing.assert_array_equal(found, turns(expected))


def test_what_pixels_cannot_keep_is_counted(scenes):
    image = Image.fromarray(scenes[0])
    exif = Image.Exif()
    exif[0x010E] = "a"
    files = [
        encode_pngs(scenes[:1])[0],
        saved(image, "PNG"),
        saved(image, "PNG", icc_profile=b"profile"),
        saved(image, "PNG", exif=exif.tobytes()),
        png(scenes[0], 8, 2, chunk(b"gAMA", struct.pack(">I", 45455))),
        png(scenes[0], 8, 2, chunk(b"gAMA", struct.pack(">I", 100000))),
        saved(image, "JPEG"),
        saved(image, "JPEG", icc_profile=b"profile"),
        saved(image, "TIFF", icc_profile=b"profile"),
        (CASES / "signed-rational-o6.jpg").read_bytes(),
    ]
    told = [decode_files([file])[0][0].with_more for file in files]
    assert told == [0, 0, 1, 1, 0, 1, 0, 1, 1, 1]
    groups, _ = decode_files(files[:-1])
    assert [group.with_more for group in groups] == [5]


def test_a_run_says_what_is_not_kept(tmp_path, scenes, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = dsguard.DatasetKey(bytes(32))
    key.save("k")
    Path("in").mkdir()
    for n, image in enumerate(scenes):
        options = {"icc_profile": b"profile"} if n < 3 else {}
        Path("in", f"{n}.{'jfif' if n % 2 else 'png'}").write_bytes(
            saved(Image.fromarray(image), "JPEG" if n % 2 else "PNG", **options)
        )
    assert run(["protect", "in", "out", "--key", "k", "--profile", "veil", "--quiet"]) == Exit.OK
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "3 images had a colour profile, EXIF, XMP or further pictures, which are not kept" in told
    )
    command = ["protect", "in", "out2", "--key", "k", "--profile", "veil", "--json"]
    assert run(command) == Exit.OK
    assert json.loads(capsys.readouterr().out)["metadata_dropped"] == 3
    report = protect_dataset("in", "out3", key, profile="veil", shard_size=2, workers=2)
    assert (report.done, report.metadata_dropped) == (8, 3)
    assert verify_dataset("out3", key).metadata_dropped == 0
