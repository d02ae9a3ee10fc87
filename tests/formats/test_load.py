"""Training sets: images of one size in one array, which takes bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from dsguard.errors import InputError
from dsguard.formats import encode_images, load, open_source
from dsguard.formats.load import load_training_set


def written(folder, images):
    folder.mkdir()
    for n, image in enumerate(images):
        (folder / f"{n:03}.png").write_bytes(encode_images(image[None])[0])
    return open_source(folder)


def noise(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, np.uint8) for shape in shapes]


def small(image, side=64):
    """Return a gray or RGB image as RGB of another size."""
    resized = Image.fromarray(image.squeeze()).resize((side, side))
    return np.broadcast_to(np.asarray(resized).reshape(side, side, -1), (side, side, 3))


@pytest.mark.parametrize(
    "shapes",
    [
        [(32, 32, 3)] * 3,
        [(64, 64, 1)] * 3,
        [(96, 80, 1), (96, 80, 3), (96, 80, 4), (96, 80, 1)],
        [(256, 256, 3), (256, 256, 1)],
    ],
)
def test_small_images_of_one_size_stay_as_they_are(tmp_path, shapes):
    images = noise(*shapes)
    loaded, classes = load_training_set(written(tmp_path / "a", images))
    channels = max(min(3, shape[2]) for shape in shapes)
    assert loaded.shape == (len(images), *shapes[0][:2], channels)
    assert len(classes) == len(images)
    for one, image in zip(loaded, images, strict=True):
        assert (one == image[..., :3]).all()


def test_images_of_different_sizes_are_resized(tmp_path):
    images = noise((32, 32, 1), (32, 32, 3), (32, 32, 1), (64, 64, 3), (40, 90, 1), (64, 64, 1))
    loaded, _ = load_training_set(written(tmp_path / "a", images))
    np.testing.assert_array_equal(loaded, [small(image) for image in images])


def test_large_images_are_resized_though_they_have_one_size(tmp_path):
    images = noise(*[(100, 257, 3)] * 2, (100, 257, 1))
    loaded, _ = load_training_set(written(tmp_path / "a", images))
    np.testing.assert_array_equal(loaded, [small(image) for image in images])


def test_many_images_are_resized(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "_MOST_PIXELS", 5 * 72 * 72)
    images = noise(*[(72, 72, 3)] * 6)
    few, _ = load_training_set(written(tmp_path / "few", images[:5]))
    assert few.shape == (5, 72, 72, 3)
    many, _ = load_training_set(written(tmp_path / "many", images))
    np.testing.assert_array_equal(many, [small(image) for image in images])
    little, _ = load_training_set(written(tmp_path / "little", noise(*[(32, 32, 3)] * 30)))
    assert little.shape == (30, 32, 32, 3), "images are not made larger to save memory"


def test_50000_images_of_64_pixels_stay_as_they_are():
    assert load._size(np.zeros((64, 64, 3), np.uint8), 50_000) == (64, 64)
    assert load._size(np.zeros((32, 32, 3), np.uint8), 1_000_000) == (32, 32)


def test_unreadable_and_tiny_images_are_left_out(tmp_path):
    source = written(tmp_path / "a", noise((32, 32, 3), (1, 32, 3), (32, 32, 3)))
    (tmp_path / "a" / "000.png").write_bytes(b"none")
    loaded, classes = load_training_set(source)
    assert loaded.shape == (1, 32, 32, 3)
    assert len(classes) == 1
    (tmp_path / "a" / "002.png").write_bytes(b"none")
    with pytest.raises(InputError, match="no readable image; the first"):
        load_training_set(source)


def test_large_images_are_not_held(tmp_path):
    source = written(tmp_path / "a", [np.full((1024, 1024, 3), n, np.uint8) for n in range(40)])
    source.names()
    tracemalloc.start()
    load_training_set(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 110 << 20, "all of them have 120 MiB, which was held twice"
