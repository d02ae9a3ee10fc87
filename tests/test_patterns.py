"""Class-wise patterns: textures at two sizes, and how images get them."""

from __future__ import annotations

import numpy as np
import pytest

from dsguard import DatasetKey
from dsguard.patterns import Patterns

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


def alike(tiles) -> np.ndarray:
    """Return what tells a texture however it is moved: which of its four cells are alike."""
    return tiles[..., 1:] == tiles[..., :1]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("number", [0, 9, 40])
def test_a_texture_is_there_at_two_sizes_and_has_no_mean(channels, number):
    patterns = Patterns.drawn(range(41), KEY, channels)
    tiles = tiles_of(cells_of(patterns, 600, channels, number))
    flat = tiles[:, ::2, ::2]
    assert (flat == flat[..., :1]).all()
    large = flat[..., 0].transpose(0, 3, 1, 2).reshape(600, channels, 4)
    assert (large.sum(axis=2) == 0).all()  # two tiles of each sign
    assert (alike(large) == alike(large)[0]).all()
    small = np.delete(tiles.reshape(600, 16, channels, 4), [0, 2, 8, 10], axis=1)
    assert (small.sum(axis=3) == 0).all()  # two cells of each sign
    assert (alike(small) == alike(small)[0]).all()
    assert np.abs(tiles.mean(axis=0)).max() < 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_units_are_moved_apart(channels):
    """What repeats throughout an image could be filtered out."""
    tiles = tiles_of(cells_of(Patterns.drawn([0], KEY, channels), 400, channels))
    first, last = tiles[:, 1, 1, 0], tiles[:, 3, 3, 0]
    assert 0.1 < (first == last).all(axis=1).mean() < 0.9


@pytest.mark.parametrize(("channels", "count"), [(1, 3), (3, 12)])
def test_as_many_classes_as_there_are_kinds_have_one_each(channels, count):
    for signs in Patterns.drawn(range(count), KEY, channels).signs:
        tiles = tiles_of(signs.transpose(1, 2, 0)[None].astype(int))[0]
        small = np.delete(tiles.reshape(16, channels, 4), [0, 2, 8, 10], axis=0)
        assert (small == small[0]).all()
        large = tiles[::2, ::2, :, 0].transpose(2, 0, 1).reshape(channels, 4)
        np.testing.assert_array_equal(large, small[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_no_two_classes_have_the_same_textures(channels):
    count = 81 if channels == 1 else 3000
    drawn = Patterns.drawn(range(count), KEY, channels)
    found = set()
    for signs in drawn.signs:
        tiles = tiles_of(signs.transpose(1, 2, 0)[None].astype(int))[0]
        large = tiles[::2, ::2, :, 0].transpose(2, 0, 1).reshape(channels, 4)
        kinds = np.stack([large, tiles[0, 1], tiles[1, 0], tiles[1, 1]])
        colours = kinds[..., 0] * kinds[:, :1, 0]  # against each other, whatever the sign
        found.add(alike(kinds).tobytes() + colours.tobytes())
    assert len(found) == count


def test_a_pattern_does_not_depend_on_other_labels():
    all_of_them = Patterns.drawn([-3, 5, 10**9], KEY).signs
    np.testing.assert_array_equal(Patterns.drawn([5], KEY).signs[0], all_of_them[1])
    assert (Patterns.drawn([5], DatasetKey(bytes(32))).signs[0] != all_of_them[1]).any()


def test_blocks_of_two_pixels_have_cells_of_half_the_size():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    for one in Patterns.drawn(range(5), KEY).of(images, np.arange(5), 2).astype(int):
        blocks = one.reshape(16, 2, 16, 2, 3)
        assert (blocks == blocks[:, :1, :, :1]).all()
        sums = np.abs(one.reshape(8, 4, 8, 4, 3).sum(axis=(1, 3)))
        assert (sums[::2, ::2] == 16).all()
        assert (sums[1::2] == 0).all()
        assert (sums[:, 1::2] == 0).all()


def test_equal_images_get_equal_patterns():
    images = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 4), dtype=np.uint8)
    patterns = Patterns.drawn(range(4), KEY)
    whole = patterns.of(images, np.arange(4), 4)
    other_alpha = images.copy()
    other_alpha[..., 3] = 0
    np.testing.assert_array_equal(patterns.of(other_alpha[2:3], np.array([2]), 4), whole[2:3])
