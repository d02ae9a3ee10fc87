"""Attacks by those who know the method: they take perturbations off, and find nothing in sealed."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard.covers import Blank, DrawnPatterns, Itself, Marked, Other
from dsguard.evaluation.attacks import block_means_removed, likeliest_undone, patterns_undone

KEY = dsguard.DatasetKey(bytes(32))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Return 240 pieces of photographs, 32×32: halved in size, so as sharp as small images are."""
    pictures = pytest.importorskip("sklearn.datasets").load_sample_images().images
    pieces = []
    for picture in pictures:
        small = picture[:426, :640].reshape(213, 2, 320, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
        whole = small[:192, :320].reshape(6, 32, 10, 32, 3).transpose(0, 2, 1, 3, 4)
        pieces += [whole.reshape(-1, 32, 32, 3), whole[:, :, ::-1].reshape(-1, 32, 32, 3)]
    return np.ascontiguousarray(np.concatenate(pieces))


def decibels(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    squares = (images.astype(float) - others) ** 2
    return 10 * np.log10(255**2 / squares.mean(axis=(1, 2, 3)).clip(1e-3))


def textures(images: np.ndarray) -> np.ndarray:
    """Return how strong the textures of the blocks of each image are, whatever their places."""
    blocks = block_means_removed(images).reshape(-1, 8, 4, 8, 4, 3).std(axis=(2, 4, 5))
    return np.sort(blocks.reshape(len(images), -1), axis=1)


def test_patterns_are_undone_without_a_key(photographs):
    labels = np.arange(len(photographs)) % 10
    cover = Marked(Itself(), DrawnPatterns(KEY, 16))
    out = dsguard.protect_batch(photographs, KEY, cover=cover, labels=labels, codec="exact")
    before, after = (
        decibels(out.images, photographs),
        decibels(patterns_undone(out.images, 16), photographs),
    )
    assert np.median(before) < 25.5
    assert np.median(after) > 31


def test_hidden_images_are_told_by_their_textures(photographs):
    once = photographs[:60]  # the others are their mirror images
    out = dsguard.protect_batch(once, KEY, cover=Other(KEY), codec="veil")
    away = np.abs(textures(out.images)[:, None] - textures(once)).sum(axis=2)
    assert (away.argmin(axis=1) == np.arange(len(once))).mean() > 0.5


def test_neither_finds_anything_in_sealed_images(photographs):
    """Each image is compared with the one that it hides, and with the next."""
    labels = np.arange(len(photographs)) % 10
    out = dsguard.protect_batch(photographs, KEY, cover=Blank(KEY, labelled=True), labels=labels)
    for found in (patterns_undone(out.images, 16), block_means_removed(out.images)):
        own = decibels(found, photographs)
        other = decibels(found, np.roll(photographs, 7, axis=0))
        off = (own - other).mean() / ((own - other).std() / np.sqrt(len(own)))
        assert abs(off) < 4.9, "one chance in 10^6"
    once = photographs[:60]
    away = np.abs(textures(out.images[:60])[:, None] - textures(once)).sum(axis=2)
    assert (away.argmin(axis=1) == np.arange(60)).sum() < 9


def test_the_radius_is_found_and_other_images_stay(photographs):
    labels = np.arange(len(photographs)) % 10
    for epsilon in (8, 16, 32):
        cover = Marked(Itself(), DrawnPatterns(KEY, epsilon))
        out = dsguard.protect_batch(photographs, KEY, cover=cover, labels=labels, codec="exact")
        hidden = [n for n in range(len(photographs)) if n not in out.sidecars]
        found, expected = likeliest_undone(out.images), patterns_undone(out.images, epsilon)
        np.testing.assert_array_equal(found[hidden], expected[hidden])
    sealed = dsguard.protect_batch(photographs, KEY).images
    for others in (photographs, sealed, photographs[..., :1].copy(), photographs[:, :31].copy()):
        np.testing.assert_array_equal(likeliest_undone(others), others)
