"""Profile veil: images hidden in each other."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import dsguard
from dsguard.bulk.spool import Spool
from dsguard.cli.commands import Exit, run
from dsguard.covers import Batch, DrawnPatterns, Other, Patterns, shown
from dsguard.covers.other import drawn_order
from dsguard.formats import decode_image, encode_image, open_source


def psnr(image, other) -> float:
    """Return how alike two images are, in dB: `dsguard.evaluation.psnr` would need torch."""
    squares = (image.astype(np.float64) - other) ** 2
    return float(10 * np.log10(255**2 / max(squares.mean(), 1e-9)))


@pytest.mark.parametrize("count", [0, 2, 3, 1000])
def test_others_is_one_secret_cycle(key, count):
    first = np.zeros((1, 8, 8, 3), np.uint8)
    order = drawn_order(count, first, key)
    assert sorted(order) == list(range(count))
    seen, at = set(), 0
    while count and at not in seen:
        seen.add(at)
        at = int(order[at])
    assert len(seen) == count, "it is a cycle through all images"
    if count > 100:
        assert (order == drawn_order(count, first, key)).all()
        different = (
            drawn_order(count, first, dsguard.DatasetKey(bytes(32))),
            drawn_order(count, first + 1, key),
        )
        assert all((order != other).mean() > 0.9 for other in different)
        assert (order != np.roll(np.arange(count), 1)).mean() > 0.9


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_hide_in_each_other_and_come_back(scenes, key, labelled, channels):
    images = np.concatenate([scenes, scenes[:, ::-1], scenes[:, :, ::-1]])
    if channels == 4:
        images = np.concatenate([images, images[..., :1]], axis=3)
    images = np.ascontiguousarray(images[..., :channels])
    labels = np.arange(len(images)) % 3 if labelled else None
    out = dsguard.protect_batch(images, key, labels=labels, profile="veil")
    back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars)
    np.testing.assert_array_equal(back, images)
    shown = images[drawn_order(len(images), images[:1], key)]
    nearer = [psnr(o, s) > psnr(o, i) for o, s, i in zip(out.images, shown, images, strict=True)]
    assert np.mean(nearer) > (0.6 if channels == 1 else 0.9), "what shows is the other image"
    np.testing.assert_array_equal(out.images[..., 3:], images[..., 3:])
    if not out.sidecars:
        assert dsguard.inspect(out.images[0]).profile == "veil"


@pytest.mark.parametrize("copies", [1, 3, 11])
def test_no_image_is_shown_by_its_duplicate(scenes, key, copies):
    rest = scenes[:1] if copies == 11 else scenes
    images = np.concatenate([np.repeat(scenes[:1], copies, axis=0), rest])
    for number in range(8):  # of orders
        cover = Other(dsguard.DatasetKey(bytes([number] * 32)))
        covers = shown(cover, images, None, 4)
        assert not (covers == images).reshape(len(images), -1).all(axis=1).any()
        if copies == 11:
            assert (covers == 128).all(), "there is nothing else to show"
    out = dsguard.protect_batch(images, key, profile="veil")
    back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars)
    np.testing.assert_array_equal(back, images)


def test_a_duplicate_with_another_alpha_is_one(scenes):
    alpha = np.arange(3, dtype=np.uint8)[:, None, None, None]
    images = np.concatenate(
        [np.repeat(scenes[:1], 3, axis=0), np.broadcast_to(alpha, (3, *scenes.shape[1:3], 1))], 3
    )
    covers = shown(Other(dsguard.DatasetKey(bytes(32))), images, None, 4)
    assert (covers[..., :3] == 128).all()
    assert (covers[..., 3] == 255).all()


def test_slices_and_threads_do_not_show(cifar, key, monkeypatch):
    images, labels = cifar
    whole = dsguard.protect_batch(images, key, labels=labels, profile="veil", threads=1)
    monkeypatch.setattr("dsguard._parallel.threads._SLICE_BYTES", 20_000)
    parts = dsguard.protect_batch(images, key, labels=labels, profile="veil", threads=4)
    np.testing.assert_array_equal(parts.images, whole.images)
    assert parts.sidecars == whole.sidecars


def test_patterns_belong_to_labels_and_keys(key):
    first, again, other = (
        Patterns.drawn(labels, k)
        for labels, k in (([3, -5], key), ([-5, 3], key), ([3, -5], dsguard.DatasetKey(bytes(32))))
    )
    np.testing.assert_array_equal(first.signs, again.signs[::-1])
    assert (first.signs != other.signs).mean() > 0.3
    assert set(np.unique(first.signs)) == {-1, 1}
    gray = np.full((2, 32, 32, 3), 100, np.uint8)
    mark = DrawnPatterns(key, epsilon=9)
    levels = mark.put(Batch(gray, np.array([3, -5])), gray, 4).astype(int) - 100
    assert set(np.unique(levels)) == {-9, 9}


def test_what_cannot_be_veiled_is_refused(scenes, key):
    with pytest.raises(dsguard.InputError, match=r"image 0: .*there is no other"):
        dsguard.protect_batch(scenes[:1], key, profile="veil")
    with pytest.raises(dsguard.InputError, match="integer labels"):
        dsguard.protect_batch(scenes, key, labels=[0.5] * len(scenes), profile="veil")
    with pytest.raises(dsguard.InputError, match="integer labels"):
        dsguard.protect_batch(scenes, key, labels=[1], profile="veil")
    with pytest.raises(dsguard.InputError, match="takes no surrogate"):
        dsguard.protect_batch(
            scenes, key, labels=[0] * len(scenes), surrogate=object(), profile="veil"
        )


def test_a_folder_is_veiled_and_restored(tmp_path, scenes, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dsguard.DatasetKey(bytes(32)).save("k")
    before = {}
    for n, image in enumerate(np.concatenate([scenes, scenes[:, ::-1]])):
        height = 32 if n % 2 else 24
        before[f"{'cat' if n < 8 else 'dog'}/{n}.png"] = image[:height]
    before["dog/alone.png"] = scenes[0][:16]
    for name, image in before.items():
        path = tmp_path / "clean" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    monkeypatch.setattr("dsguard.formats.folder.reader.CHUNK_IMAGES", 3)
    command = ["protect", "clean", "veiled", "--key", "k", "--profile", "veil", "--json"]
    assert run(command) == Exit.SOME_FAILED
    result = json.loads(capsys.readouterr().out)
    assert result["protected"] == len(before) - 1
    assert "there is no other" in result["failures"]["dog/alone.png"]
    assert run(["restore", "veiled", "back", "--key", "k"]) == Exit.OK
    del before["dog/alone.png"]
    assert sorted(open_source(tmp_path / "back").names()) == sorted(before)
    for name, image in before.items():
        restored = decode_image((tmp_path / "back" / name).read_bytes())
        np.testing.assert_array_equal(restored, image)
        veiled = decode_image((tmp_path / "veiled" / name).read_bytes())
        assert psnr(veiled, image) < 25
    assert {path.suffix for path in (tmp_path / "veiled").rglob("*.*")} == {".png"}


def test_a_veil_needs_no_torch(tmp_path, scenes):
    for n, image in enumerate(scenes):
        path = tmp_path / "clean" / "cat" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import dsguard; dsguard.DatasetKey.generate().save('k')\n"
        "from dsguard.cli.commands import run\n"
        "sys.exit(run(['protect', 'clean', 'out', '--key', 'k', '--profile', 'veil']))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_a_spool_returns_images_in_any_order(tmp_path, scenes):
    spool = Spool(tmp_path)
    assert spool.append(scenes[:2]) == range(2)
    assert spool.append(scenes[:1, :16]) == range(1)
    assert spool.append(scenes[2:3]) == range(2, 3)
    whole = pickle.loads(pickle.dumps(spool.finish()))
    assert whole.counts == {(32, 32, 3): 3, (16, 32, 3): 1}
    np.testing.assert_array_equal(whole.read((16, 32, 3), slice(0, 1)), scenes[:1, :16])
    order = np.array([2, 0, 1, 0])
    np.testing.assert_array_equal(whole.read((32, 32, 3), order), scenes[order])
    os.truncate(whole.pixels, 5000)
    with pytest.raises(OSError, match="shorter"):
        whole.read((32, 32, 3), order)
    spool.remove()
    assert not list(tmp_path.iterdir())
