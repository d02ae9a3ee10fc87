"""Chunks of a shard that wait for their keys together."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard.bulk import Restore, ahead, restore_dataset
from dsguard.codecs import Sealed
from dsguard.errors import NoKeysError
from dsguard.formats import encode_images, open_source
from dsguard.formats.base import Rows
from dsguard.keys import KeySource

COUNT = 24


class Derived(KeySource):
    """Derives keys here, and notes how many it was asked for."""

    name = "derived"

    def __init__(self, key: dsguard.DatasetKey, most: int = COUNT) -> None:
        self.key, self.most = key, most
        self.asked: list[int] = []

    def image_keys(self, key_id, image_ids):
        self.asked.append(len(image_ids))
        if sum(self.asked) > self.most:
            msg = "there are no more"
            raise NoKeysError(msg)
        return {each: dsguard.image_key(self.key, each) for each in image_ids}


@pytest.fixture
def safe(tmp_path, monkeypatch, scenes, key):
    """A folder with 24 sealed images of two heights, one shard, read in chunks of 5."""
    monkeypatch.setattr("dsguard.formats.folder.reader.CHUNK_IMAGES", 5)
    images = np.stack([np.roll(scenes[n % 8], n, axis=1) for n in range(COUNT)])
    (tmp_path / "safe").mkdir()
    for n, image in enumerate(images):
        done = dsguard.protect_batch(image[None, : 32 - n % 2], key, codec=Sealed(rate=64))
        (tmp_path / "safe" / f"{n:02}.png").write_bytes(encode_images(done.images)[0])
    return tmp_path / "safe"


def restored(safe, source, name="back") -> dict[str, bytes]:
    report = restore_dataset(safe, safe.parent / name, source)
    assert (report.done, report.failed) == (COUNT, 0)
    return {path.name: path.read_bytes() for path in (safe.parent / name).glob("*.png")}


def test_a_shard_of_several_chunks_is_asked_for_at_once(safe, key):
    source = Derived(key)
    assert restored(safe, source) == restored(safe, key, "other")
    assert source.asked == [COUNT]


@pytest.mark.parametrize(("bound", "most"), [("_MOST_CHUNKS", 2), ("_MOST_BYTES", 20_000)])
def test_no_more_waits_than_may(safe, key, monkeypatch, bound, most):
    monkeypatch.setattr(ahead, bound, most)
    source = Derived(key)
    assert restored(safe, source) == restored(safe, key, "other")
    assert source.asked == [10, 10, 4]


def test_large_images_do_not_wait(safe, key, monkeypatch):
    """Of rows that are decoded in several runs, the first alone waits for others."""
    monkeypatch.setattr("dsguard.formats.images._PIXELS_AT_ONCE", 2 * 32 * 32)
    source = Derived(key)
    restored(safe, source)
    assert source.asked == [10, *[2, 1] * 4, 2]


def test_without_more_keys_a_run_ends(safe, key, monkeypatch):
    monkeypatch.setattr(ahead, "_MOST_CHUNKS", 2)
    with pytest.raises(NoKeysError, match="no more"):
        restore_dataset(safe, safe.parent / "back", Derived(key, 10), shard_size=10)
    assert len(list((safe.parent / "back").glob("*.png"))) == 10


def test_with_the_key_at_hand_nothing_is_decoded_ahead(safe, key):
    read: list[Rows] = []

    def chunks():
        source = open_source(safe)
        for part in source.parts(COUNT):
            for rows in source.rows(part):
                read.append(rows)
                yield rows

    for turn, (rows, runs) in enumerate(ahead.with_keys(Restore(key), chunks()), 1):
        assert len(read) == turn
        assert rows is read[-1]
        assert [len(groups) for _, groups, _ in runs] == [2]
