"""Colours that alpha takes out of a picture do not show."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard._opaque import over_white
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.covers import FolderOfCovers, Other, Preview, Samples
from dsguard.formats import decode_image, encode_image
from dsguard.formats.views import view_of

KEY = dsguard.DatasetKey(bytes(range(32)))


def cut_out(count, color):
    """Return images of one colour, the middle of which alpha takes out; dark to see."""
    images = np.full((count, 32, 32, 4), 255, np.uint8)
    images[..., :3] = np.arange(count)[:, None, None, None] + color
    images[:, 8:24, 8:24, 3] = 0
    return images


@pytest.mark.parametrize("size", ["own", "fit"])
@pytest.mark.parametrize("name", ["samples", "preview", "other", "given"])
def test_colours_below_alpha_are_not_published(tmp_path, name, size):
    clean = cut_out(8, 20)
    (tmp_path / "clean").mkdir()
    (tmp_path / "covers").mkdir()
    for n, image in enumerate(clean):
        (tmp_path / "clean" / f"{n}.png").write_bytes(encode_image(image))
    (tmp_path / "covers" / "x.png").write_bytes(encode_image(cut_out(1, 60)[0]))
    cover = {
        "samples": Samples(KEY, names=("0.png", "1.png")),
        "preview": Preview(8),
        "other": Other(KEY),
        "given": FolderOfCovers.of(KEY, tmp_path / "covers"),
    }[name]
    clean, safe = tmp_path / "clean", tmp_path / "safe"
    report = protect_dataset(clean, safe, KEY, cover=cover, cover_size=size)
    assert report.failed == 0
    for n in range(2 if name == "samples" else 8):
        shown = decode_image((tmp_path / "safe" / f"{n}.png").read_bytes())
        assert (shown[..., 3:] == 255).all()
        middle = len(shown) // 2
        assert shown[:2, :2, :3].max() < 150
        assert shown[middle - 2 : middle + 2, middle - 2 : middle + 2, :3].min() > 150
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    for n in range(8):
        before, after = (tmp_path / each / f"{n}.png" for each in ("clean", "back"))
        assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize("kind", ["16 bits", "pages"])
def test_views_have_no_colours_below_alpha(kind):
    image = cut_out(1, 20)[0]
    file = io.BytesIO()
    if kind == "pages":
        pages = [Image.fromarray(image)] * 2
        pages[0].save(file, "tiff", save_all=True, append_images=pages[1:])
    else:
        file.write(_png_of_16_bits(image))
    view = view_of(file.getvalue())
    assert view.shape == (32, 32, 3)
    assert view[:4].max() < 30
    assert view[12:20, 12:20].min() == 255


def _png_of_16_bits(image):
    """Return a PNG file with alpha, whose samples are twice as long."""
    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image.astype(np.uint16) * 257)
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("size", ["own", "fit"])
@pytest.mark.parametrize("flat", ["over white", "without alpha"])
def test_a_flat_copy_of_a_cut_out_is_found_among_the_covers(tmp_path, scenes, flat, size):
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[8:24, 8:24] = 0
    for folder in ("clean", "covers"):
        (tmp_path / folder).mkdir()
    for n, scene in enumerate(scenes[:4]):
        image = np.concatenate([scene, alpha], axis=2)
        (tmp_path / "clean" / f"{n}.png").write_bytes(encode_image(image))
        shown = over_white(image[None])[0] if flat == "over white" else image
        Image.fromarray(shown[..., :3]).save(tmp_path / "covers" / f"copy {n}.jpg", quality=95)
    Image.fromarray(scenes[7]).save(tmp_path / "covers" / "other.png")
    cover = FolderOfCovers.of(KEY, tmp_path / "covers")
    clean, safe = tmp_path / "clean", tmp_path / "safe"
    report = protect_dataset(clean, safe, KEY, cover=cover, cover_size=size)
    assert report.done == 0
    assert all("is among the covers" in str(error) for error in report.failures.values())


def test_a_flat_copy_of_an_animated_cut_out_is_found_among_the_covers(tmp_path, scenes):
    for folder in ("clean", "covers"):
        (tmp_path / folder).mkdir()
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[8:24, 8:24] = 0
    for n, scene in enumerate(scenes[:4]):
        frames = [
            Image.fromarray(np.concatenate([each, alpha], axis=2)) for each in (scene, ~scene)
        ]
        frames[0].save(tmp_path / "clean" / f"{n}.png", save_all=True, append_images=frames[1:])
        Image.fromarray(scenes[4 + n]).save(tmp_path / "clean" / f"seen {n}.png")
        Image.fromarray(scene).save(tmp_path / "covers" / f"copy {n}.jpg", quality=95)
    cover = FolderOfCovers.of(KEY, tmp_path / "covers")
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, cover=cover)
    assert report.done == 4, "those that are not decoded, under drawn pictures"
    assert all("has no cover" in str(error) for error in report.failures.values())


@pytest.mark.parametrize("factor", [257, 120, 16])
def test_eight_bits_of_more_are_found_among_the_covers(tmp_path, factor):
    """As OpenCV, ImageMagick or ImageJ export them: the upper ones, or from least to largest."""
    for folder in ("clean", "covers"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    scenes = rng.integers(60, 120, (6, 8, 8)).astype(np.uint16).repeat(4, 1).repeat(4, 2)
    for n, scene in enumerate(scenes):
        deep = scene * factor + n
        Image.fromarray(deep).save(tmp_path / "clean" / f"{n}.png")
        Image.new("L", (32, 32), 40 * n).save(tmp_path / "clean" / f"seen {n}.png")
        shown = [deep >> 8, deep >> 4, (deep - deep.min()) / (deep.max() - deep.min()) * 255]
        for how, each in enumerate(shown):
            if each.max() - each.min() > 32 and each.max() < 256:
                name = tmp_path / "covers" / f"export {how} of {n}.png"
                Image.fromarray(each.astype(np.uint8)).save(name)
    Image.new("RGB", (32, 32), (250, 0, 0)).save(tmp_path / "covers" / "red.png")
    cover = FolderOfCovers.of(KEY, tmp_path / "covers")
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, cover=cover)
    assert (report.done, report.failed) == (12, 0)
    for n in range(6):
        shown = decode_image((tmp_path / "safe" / f"seen {n}.png").read_bytes())
        assert shown.max() - shown.min() < 8, "the red one, in gray"


def test_images_are_compared_with_covers_in_their_own_size(tmp_path):
    """What they are fitted to has lost what tells them apart from others."""
    for folder in ("clean", "covers"):
        (tmp_path / folder).mkdir()
    fine = np.random.default_rng(0).integers(0, 256, (12, 64, 64), np.uint8)
    for n, image in enumerate(fine.repeat(3).reshape(*fine.shape, 3)):
        Image.fromarray(image).save(tmp_path / "clean" / f"{n}.jpg", quality=95)
        Image.fromarray(image).save(tmp_path / "covers" / f"copy {n}.png")
    cover = FolderOfCovers.of(KEY, tmp_path / "covers")
    clean, safe = tmp_path / "clean", tmp_path / "safe"
    report = protect_dataset(clean, safe, KEY, cover=cover, cover_size="fit")
    assert (report.done, report.failed) == (0, 12)


@pytest.mark.parametrize("named", [True, False])
def test_pictures_of_images_that_are_not_decoded_are_not_shown(tmp_path, scenes, named):
    """By their own names, or by a view; others of the set would show them."""
    for folder in ("clean", "covers"):
        (tmp_path / folder).mkdir()
    for n, scene in enumerate(scenes[:4]):
        frames = [Image.fromarray(scene), Image.fromarray(scene[:, ::-1])]
        frames[0].save(tmp_path / "clean" / f"{n}.gif", save_all=True, append_images=frames[1:])
        Image.fromarray(scenes[4 + n] // 2).save(tmp_path / "clean" / f"seen {n}.png")
        name = f"{n}.jpg" if named else f"copy {n}.jpg"
        shown = 255 - scene if named else scene  # of a kind that has no view, say
        Image.fromarray(shown).save(tmp_path / "covers" / name, quality=95)
    Image.new("RGB", (32, 32), (250, 0, 0)).save(tmp_path / "covers" / "red.png")
    cover = FolderOfCovers.of(KEY, tmp_path / "covers")
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, cover=cover, keep="files")
    assert (report.done, report.failed) == (8, 0)
    for n in range(4):
        shown = decode_image((tmp_path / "safe" / f"seen {n}.png").read_bytes())
        assert shown[..., 0].min() > 180, "another picture than the red one"
        assert shown[..., 1].max() < 80


def test_half_of_a_colour_is_half_seen():
    half = np.uint8([[[[100, 0, 255, 128]]]])
    assert over_white(half)[0, 0, 0].tolist() == [177, 127, 255, 255]
    opaque = np.full((1, 2, 2, 4), 255, np.uint8)
    assert over_white(opaque) is opaque
    gray = np.zeros((1, 2, 2, 1), np.uint8)
    assert over_white(gray) is gray
