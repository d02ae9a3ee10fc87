"""Colours that alpha takes out of a picture do not show."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.codecs.opaque import over_white
from dsguard.covers import FolderOfCovers, Other, Preview, Samples
from dsguard.formats import decode_image, encode_image

KEY = dsguard.DatasetKey(bytes(range(32)))


def cut_out(count, color):
    """Return images of one colour, the middle of which alpha takes out; dark to see."""
    images = np.full((count, 32, 32, 4), 255, np.uint8)
    images[..., :3] = np.arange(count)[:, None, None, None] + color
    images[:, 8:24, 8:24, 3] = 0
    return images


@pytest.mark.parametrize("name", ["samples", "preview", "other", "given"])
def test_colours_below_alpha_are_not_published(tmp_path, name):
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
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, cover=cover)
    assert report.failed == 0
    for n in range(2 if name == "samples" else 8):
        shown = decode_image((tmp_path / "safe" / f"{n}.png").read_bytes())
        assert (shown[..., 3:] == 255).all()
        assert shown[:4, :4, :3].max() < 150
        assert shown[12:20, 12:20, :3].min() > 150, "the colours that alpha took out"
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    for n in range(8):
        before, after = (tmp_path / each / f"{n}.png" for each in ("clean", "back"))
        assert before.read_bytes() == after.read_bytes()


def test_half_of_a_colour_is_half_seen():
    half = np.uint8([[[[100, 0, 255, 128]]]])
    assert over_white(half)[0, 0, 0].tolist() == [177, 127, 255, 255]
    opaque = np.full((1, 2, 2, 4), 255, np.uint8)
    assert over_white(opaque) is opaque
    gray = np.zeros((1, 2, 2, 1), np.uint8)
    assert over_white(gray) is gray
