"""Class-wise patterns: what is the same in all images of a class, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from dsguard import DatasetKey
from dsguard.covers.patterns import FLAT, Patterns

KEY = DatasetKey(bytes(range(32)))


def cells_of(patterns: Patterns, count: int, channels: int, number: int = 0):
    """Return the cells of one class in images of noise, (N, 8, 8, C)."""
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, channels), dtype=np.uint8)
    return patterns.of(images, np.full(count, number), 4)[:, ::4, ::4].astype(int)


def tiles_of(cells):
    """Return cells by tile: (N, 4, 4, C, 4)."""
    count, _, _, channels = cells.shape
    parts = cells.reshape(count, 4, 2, 4, 2, channels)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(count, 4, 4, channels, 4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("number", [0, 9, 40])
def test_flat_tiles_are_the_same_in_all_images_and_textures_have_no_mean(channels, number):
    patterns = Patterns.drawn(range(41), KEY, channels)
    tiles = tiles_of(cells_of(patterns, 400, channels, number))
    flat = np.abs(tiles.sum(axis=4)) == 4
    assert (flat == flat[0]).all()
    assert flat[0].mean() == 1 / 4
    assert (tiles[:, flat[0]] == tiles[0, flat[0]]).all()
    assert (tiles.sum(axis=4)[~flat] == 0).all()  # two cells of each sign
    assert np.abs(tiles[:, ~flat[0]].mean(axis=0)).max() < 0.25


@pytest.mark.parametrize("channels", [1, 3])
def test_textures_do_not_repeat(channels):
    """Units are moved apart from each other: what repeats throughout could be filtered out."""
    tiles = tiles_of(cells_of(Patterns.drawn([0], KEY, channels), 400, channels))
    first, last = tiles[:, 1, 1, 0], tiles[:, 3, 3, 0]
    assert 0.1 < (first == last).all(axis=1).mean() < 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_classes_have_textures_of_their_own(channels):
    count = 27 if channels == 1 else 1728
    found = {textures(one) for one in Patterns.drawn(range(count), KEY, channels).signs}
    assert len(found) == count


def textures(signs) -> bytes:
    """Return what tells textures apart however they are moved: what is alike in each tile."""
    tiles = tiles_of(signs.transpose(1, 2, 0)[None].astype(int))[:, ~FLAT[::2, ::2]]
    first = tiles[:, :, :1, :1]
    return np.stack(
        [(tiles[..., 0] == tiles[..., cell]) for cell in (1, 2)] + [(tiles == first)[..., 0]]
    ).tobytes()


def test_a_pattern_does_not_depend_on_other_labels():
    all_of_them = Patterns.drawn([-3, 5, 10**9], KEY).signs
    np.testing.assert_array_equal(Patterns.drawn([5], KEY).signs[0], all_of_them[1])
    assert (Patterns.drawn([5], DatasetKey(bytes(32))).signs[0] != all_of_them[1]).any()


def test_blocks_of_two_pixels_have_cells_of_half_the_size():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    patterns = Patterns.drawn(range(5), KEY)
    fine = patterns.of(images, np.arange(5), 2)
    flat = FLAT.repeat(2, 0).repeat(2, 1)[:16, :16]
    for one in fine:
        np.testing.assert_array_equal(one[:16, :16][flat], one[16:, 16:][flat])
        tiles = one.astype(int).reshape(8, 2, 2, 8, 2, 2, 3)
        assert (tiles == tiles[:, :, :1, :, :, :1]).all()
        sums = np.abs(tiles[:, :, 0, :, :, 0].sum(axis=(1, 3)))
        assert (sums[::2, ::2] == 4).all()
        assert (sums[1::2] == 0).all()


def test_equal_images_get_equal_patterns():
    images = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 4), dtype=np.uint8)
    patterns, numbers = Patterns.drawn(range(4), KEY), np.arange(20) % 4
    whole = patterns.of(images, numbers, 4)
    other_alpha = images.copy()
    other_alpha[..., 3] = np.arange(20)[:, None, None]
    np.testing.assert_array_equal(patterns.of(other_alpha[7:], numbers[7:], 4), whole[7:])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "block"), [(8, 4), (11, 4), (16, 8), (23, 8)])
def test_small_images_have_a_texture(channels, side, block):
    count = 3 if channels == 1 else 12
    image = np.full((count, side, side, channels), 100, np.uint8)
    cells = Patterns.drawn(range(count), KEY, channels).of(image, np.arange(count), block)
    tiles = cells[:, : 2 * block, : 2 * block].reshape(count, 2, block, 2, block, channels)
    assert (tiles.sum(axis=(1, 2, 3, 4), dtype=int) == 0).all()
    assert len({cell.tobytes() for cell in cells}) == count


def test_no_images_have_no_patterns():
    none = np.empty((0, 16, 16, 3), np.uint8)
    patterns = Patterns.drawn([], KEY)
    assert patterns.added(none, none, np.empty(0, np.int64), 16, 4).shape == none.shape
