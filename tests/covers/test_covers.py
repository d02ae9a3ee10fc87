"""Covers and codecs: one contract each, any cover with any codec, and what they refuse."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.choices import PROFILE_NAMES
from dsguard.codecs import CODECS, codec_named
from dsguard.covers import (
    ArraySet,
    Batch,
    Blank,
    DrawnPatterns,
    FittedPatterns,
    Given,
    Itself,
    Marked,
    Other,
    Patterns,
    Preview,
    Samples,
    shown,
)
from dsguard.covers.smooth import enlarged
from dsguard.formats import encode_images
from dsguard.profiles import PROFILES

KEY = dsguard.DatasetKey(bytes(32))
PATTERNS = Patterns.drawn(range(3), KEY)
COVERS = {
    "itself": Itself(),
    "gray": Blank(),
    "blank": Blank(KEY),
    "blank by label": Blank(KEY, labelled=True),
    "samples": Samples(KEY, 1),
    "samples, no labels": Samples(KEY, 2, labelled=False),
    "preview": Preview(4),
    "other": Other(KEY),
    "patterns": Marked(Itself(), FittedPatterns(PATTERNS)),
    "patterns on other": Marked(Other(KEY), DrawnPatterns(KEY)),
    "patterns on blank": Marked(Blank(), DrawnPatterns(KEY, 32)),
}
LABELS = np.arange(8) % 2


@pytest.fixture(params=COVERS)
def cover(request):
    return COVERS[request.param]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.filterwarnings("ignore:codec .* leaves the inside")
def test_any_cover_goes_with_any_codec(scenes, cover, codec):
    out = dsguard.protect_batch(scenes, KEY, cover=cover, labels=LABELS, codec=codec)
    assert dsguard.inspect(out.images[0], out.sidecars.get(0)).profile == codec.name
    back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars)
    most = np.abs(back.astype(int) - scenes).max()
    assert most == 0 if codec.restores_every_bit else most <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_cover_keeps_the_shape_and_says_what_decides_it(scenes, cover, channels):
    images = np.concatenate([scenes, scenes[..., :1]], axis=3)[..., :channels]
    before = images.copy()
    made = shown(cover, np.ascontiguousarray(images), LABELS, 4)
    assert made.shape == images.shape
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    settings = cover.settings()
    assert settings
    assert all(isinstance(part, str) for pair in settings.items() for part in pair)
    assert pickle.loads(pickle.dumps(cover)).settings() == settings


def test_a_part_of_a_batch_shows_the_same(scenes, cover):
    whole = shown(cover, scenes, LABELS, 4)
    with cover.prepared(ArraySet(scenes, LABELS)) as ready:
        for places in (slice(2, 5), np.array([6, 1])):
            part = Batch(scenes[places], LABELS[places], places)
            assert not ready.refused(part)
            np.testing.assert_array_equal(ready.images(part, 4), whole[places])


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_previews_are_the_means_of_cells(scenes, grid):
    made = shown(Preview(4), scenes, None, grid)
    side = max(8, 2 * grid)  # a cell has two squares a side, or the inside of one would show
    cells = 32 // side
    means = scenes.reshape(8, cells, side, cells, side, 3).mean(axis=(2, 4))
    assert np.abs(made[:, ::side, ::side] - means).max() <= 0.5
    odd = np.ascontiguousarray(scenes[:, :29, :30])
    made = shown(Preview(8), odd, None, grid)
    changes = np.flatnonzero((made[0, 1:] != made[0, :-1]).any(axis=(1, 2))) + 1
    assert (changes % grid == 0).all(), "cells are whole squares of the codec"
    assert len(changes) <= 7


def test_smooth_previews_show_the_means_of_cells_and_nothing_else(scenes):
    made = shown(Preview(4), scenes, None, 1)
    cells = scenes.reshape(8, 4, 8, 4, 8, 3).astype(float)
    means = cells.mean(axis=(2, 4))
    again = np.broadcast_to(np.floor(means + 0.5)[:, :, None, :, None], cells.shape).astype(
        np.uint8
    )
    np.testing.assert_array_equal(shown(Preview(4), again.reshape(scenes.shape), None, 1), made)
    assert np.corrcoef(made[:, 4::8, 4::8].ravel(), means.ravel())[0, 1] > 0.8
    steps = np.abs(np.diff(made.astype(int), axis=1))
    assert steps.max() <= np.abs(np.diff(means, axis=1)).max() / 4 + 1, "no borders of cells"


def test_given_covers_are_cut_like_images(scenes, monkeypatch):
    monkeypatch.setattr("dsguard._parallel.threads._SLICE_BYTES", 5000)
    target = scenes // 2 + 60
    out = dsguard.protect_batch(scenes, KEY, cover=Given(target), codec="exact", threads=2)
    same = dsguard.protect_batch(scenes, KEY, target=target)
    np.testing.assert_array_equal(out.images, same.images)


def test_an_image_that_is_protected_already_is_refused(scenes):
    out = dsguard.protect_batch(scenes, KEY, target=scenes)
    mixed = scenes.copy()
    mixed[5] = out.images[5]
    for profile in ("exact", "paper"):
        with pytest.raises(dsguard.InputError, match="image 5: is protected already"):
            dsguard.protect_batch(mixed, KEY, target=scenes, profile=profile)


def test_a_header_says_that_another_image_shows_only_where_one_does(scenes):
    out = dsguard.protect_batch(scenes, KEY, target=scenes, profile="veil")
    assert dsguard.inspect(out.images[0]).profile == "exact"
    out = dsguard.protect_batch(scenes, KEY, labels=LABELS, profile="veil", epsilon=8)
    assert dsguard.inspect(out.images[0], out.sidecars.get(0)).profile == "veil"


def test_a_radius_is_checked_wherever_it_is_given(scenes):
    for epsilon in (300, -5, 1.5, True):
        for mark in (DrawnPatterns, FittedPatterns):
            with pytest.raises(dsguard.InputError, match="whole number of 0 to 255"):
                mark(KEY if mark is DrawnPatterns else PATTERNS, epsilon)
        with pytest.raises(dsguard.InputError, match="whole number of 0 to 255"):
            dsguard.protect_batch(scenes, KEY, labels=LABELS, profile="veil", epsilon=epsilon)
    with pytest.raises(dsguard.InputError, match="has its own"):
        dsguard.protect_batch(scenes, KEY, target=scenes, epsilon=8)


def test_a_radius_decides_how_much_shows(scenes):
    marks = [
        dsguard.protect_batch(scenes, KEY, cover=Marked(Itself(), DrawnPatterns(KEY, radius)),
                              labels=LABELS).images.astype(int) - scenes
        for radius in (4, 32)
    ]  # fmt: skip
    assert np.abs(marks[0]).mean() < np.abs(marks[1]).mean() / 3


def test_covers_that_do_not_fit_are_refused(scenes):
    with pytest.raises(dsguard.InputError, match="this cover needs labels"):
        dsguard.protect_batch(scenes, KEY, cover=COVERS["patterns"])
    with pytest.raises(dsguard.InputError, match="integer labels"):
        dsguard.protect_batch(scenes, KEY, cover=COVERS["patterns"], labels=[0.5] * 8)
    with pytest.raises(dsguard.InputError, match="not both"):
        dsguard.protect_batch(scenes, KEY, cover=Blank(), target=scenes)
    with pytest.raises(dsguard.InputError, match=r"image 0: .*there is no other"):
        dsguard.protect_batch(scenes[:1], KEY, cover=Other(KEY), codec="veil")
    with pytest.raises(dsguard.InputError, match="no codec 'exakt'; the codecs are: exact"):
        dsguard.protect_batch(scenes, KEY, cover=Itself(), codec="exakt")
    with pytest.raises(dsguard.InputError, match="cells is a whole number"):
        Preview(0)


def test_unwise_pairs_are_told(scenes):
    for cover in (Blank(), Preview()):
        with pytest.warns(UserWarning, match="codec exact leaves the inside"):
            dsguard.protect_batch(scenes, KEY, cover=cover, codec="exact")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dsguard.protect_batch(scenes, KEY, cover=Other(KEY), codec="veil")
        dsguard.protect_batch(scenes, KEY, cover=Itself(), codec="exact")
        dsguard.protect_batch(scenes, KEY, cover=Blank(KEY))


def test_codes_and_names_are_one_to_one():
    assert len({codec.code for codec in CODECS}) == len(CODECS)
    assert all(codec_named(codec.name) is codec for codec in CODECS)
    assert all(1 <= codec.code <= 63 for codec in CODECS)


def test_the_names_that_the_command_line_offers_are_those_of_profiles():
    assert [profile.name for profile in PROFILES] == list(PROFILE_NAMES)


@pytest.mark.parametrize("cover", ["itself", 3, Blank])
def test_covers_that_are_none_are_explained(scenes, key, tmp_path, cover):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(encode_images(scenes[:1])[0])
    with pytest.raises(dsguard.InputError, match="expected a Cover"):
        dsguard.protect_batch(scenes, key, cover=cover)
    with pytest.raises(dsguard.InputError, match="expected a Cover"):
        protect_dataset(tmp_path / "in", tmp_path / "out", key, cover=cover)


@pytest.mark.parametrize("codec", ["exact", "exact-fine", "exact-coarse", "paper"])
@pytest.mark.filterwarnings("ignore:codec")
def test_previews_do_not_show_the_image(scenes, codec):
    """With cells of one square of the codec nothing would move: 98 % of samples came out as is."""
    out = dsguard.protect_batch(scenes, KEY, cover=Preview(16), codec=codec)
    near = np.abs(out.images.astype(int) - scenes) <= 1
    assert near.mean() < 0.5
    small = np.ascontiguousarray(scenes[:, :8, :8])
    if codec == "exact-coarse":
        with pytest.raises(dsguard.InputError, match="would show all of it"):
            dsguard.protect_batch(small, KEY, cover=Preview(), codec=codec)


def test_patterns_tell_nothing_of_an_image_that_does_not_show(scenes):
    """Their cells are moved by the key: the same image under another key has other moves."""
    mark = {key: DrawnPatterns(key) for key in (KEY, dsguard.DatasetKey(bytes([1]) * 32))}
    gray = np.full_like(scenes, 128)
    batch = Batch(scenes, np.zeros(8, np.int64))
    twice = [mark[KEY].put(batch, gray, 4) for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    # Sums are equal, and so would be moves that the image itself decides.
    flipped = Batch(np.ascontiguousarray(scenes[:, ::-1]), batch.labels)
    moved = (mark[KEY].put(flipped, gray, 4) != twice[0]).any(axis=(1, 2, 3))
    assert moved.sum() >= 6


def test_smooth_pictures_are_as_light_at_their_edges():
    for colours in (1, 2, 4, 7):
        for size in (1, 2, 5, 32, 99):
            white = np.full((1, colours, colours, 3), 255, np.uint8)
            assert enlarged(white, size, size).min() == 255


def test_pictures_of_other_shapes_are_others():
    key = KEY
    flat, wide = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 16, 64, 3), np.uint8)
    first, second = (shown(Blank(key), images, None, 1) for images in (flat, wide))
    corners = [image[0, ::8, ::8, :].mean(axis=2).reshape(-1)[:8] for image in (first, second)]
    assert np.abs(corners[0] - corners[1]).max() > 5
