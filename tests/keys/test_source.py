"""Keys that are asked for when they are needed, in place of the key of a dataset."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard.bulk import restore_dataset
from dsguard.codecs import Sealed
from dsguard.errors import NoKeysError, WrongKeyError
from dsguard.formats import encode_images
from dsguard.integrations.images import restored_images
from dsguard.keys import KeySource


class Derived(KeySource):
    """Derives keys here, and notes what it was asked for."""

    name = "derived"

    def __init__(self, key: dsguard.DatasetKey) -> None:
        self.key = key
        self.asked: list[int] = []

    def image_keys(self, key_id, image_ids):
        self.asked.append(len(image_ids))
        if key_id != self.key.key_id:
            msg = "of another dataset"
            raise WrongKeyError(msg)
        return {each: dsguard.image_key(self.key, each) for each in image_ids}


class Closed(KeySource):
    """Gives nothing."""

    name = "closed"

    def image_keys(self, key_id, image_ids):
        msg = "it is closed"
        raise NoKeysError(msg)


@pytest.fixture
def files(scenes, key):
    """Image files of eight heights."""
    codec = Sealed(rate=64)
    images = [scenes[n : n + 1, : 32 - n] for n in range(8)]
    done = [dsguard.protect_batch(image, key, codec=codec).images for image in images]
    return [encode_images(image)[0] for image in done]


def test_images_of_many_shapes_are_asked_for_together(scenes, key, files):
    source = Derived(key)
    for n, image in enumerate(restored_images(files, source)):
        np.testing.assert_array_equal(image, scenes[n, : 32 - n])
    assert source.asked == [8]


def test_a_key_that_it_does_not_have_fails_its_images_alone(scenes, key):
    other = dsguard.DatasetKey.generate()
    codec = Sealed(rate=64)
    images = [dsguard.protect_batch(scenes[:2], own, codec=codec).images for own in (key, other)]
    found = dsguard.restore_batch(np.concatenate(images), Derived(key), on_error="report")
    assert {n: error.message for n, error in found.errors.items()} == {
        2: "of another dataset",
        3: "of another dataset",
    }
    np.testing.assert_array_equal(found.images[:2], scenes[:2])


def test_without_keys_a_run_ends(tmp_path, files):
    for n, file in enumerate(files):
        (tmp_path / "safe").mkdir(exist_ok=True)
        (tmp_path / "safe" / f"{n}.png").write_bytes(file)
    with pytest.raises(NoKeysError, match="it is closed"):
        restore_dataset(tmp_path / "safe", tmp_path / "back", Closed())
    assert not list((tmp_path / "back").glob("*.png"))


def test_many_keys_are_those_of_each(key):
    ids = [bytes([n]) * 16 for n in range(20)]
    together = key.keyring.image_keys(b"".join(ids))
    assert together == b"".join(dsguard.image_key(key, image_id) for image_id in ids)
    assert key.keyring.image_keys(b"") == b""
