"""``--cover-size fit``: published images are as small as the files allow that they carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard.bulk import Protect, protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.codecs import Exact, Sealed
from dsguard.codecs.sealed import FRONT_BYTES, Layout
from dsguard.covers import Blank, Preview
from dsguard.covers.named import Ingredients, cover_named
from dsguard.formats import decode_image

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(32))


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    """Return a folder of JPEG files, some wide and some high, and of other files."""
    root = tmp_path / "photos"
    for n, size in enumerate([(200, 200), (300, 100), (100, 300), (40, 41), (200, 200)]):
        picture = Image.fromarray(scenes[n]).resize(size)
        path = root / "ab"[n % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=60 + 8 * n)
    Image.fromarray(scenes[5][..., 0]).resize((90, 80)).save(root / "a" / "gray.png")
    alpha = Image.fromarray(scenes[6]).resize((64, 64))
    alpha.putalpha(77)
    alpha.save(root / "b" / "alpha.png")
    (root / "b" / "text.jpg").write_bytes(b"this is no image")
    return root


@example(size=1, rate=8, height=2, width=3, channels=1)
@given(
    size=st.integers(0, 3_000_000),
    rate=st.integers(8, 64),
    height=st.integers(1, 65535),
    width=st.integers(1, 65535),
    channels=st.sampled_from([1, 3, 4]),
)
def test_the_smallest_cover_holds_the_file(size, rate, height, width, channels):
    shape = Sealed(rate).smallest_cover(size, (height, width, channels))
    assert shape[2] == min(channels, 3)
    assert Layout(shape, rate).room >= size
    samples = max(8 * FRONT_BYTES, 64 * (size + FRONT_BYTES) / rate)
    least = max(16 * 16 * shape[2], samples)
    if min(shape[:2]) > 16:  # else the sides are the least
        shorter = Layout((shape[0] - 1, *shape[1:]), rate).room  # the front lies in whole blocks
        assert np.prod(shape) <= 1.14 * least + 16 * shape[2] or shorter < size
    asked, made = height / width, shape[0] / shape[1]
    if min(shape[:2]) > 40 and 1 / 8 <= asked <= 8:
        assert 0.85 <= made / asked <= 1.15


@pytest.mark.parametrize("shows", ["blank", "preview", "samples", "given"])
def test_files_come_back_from_smaller_images(tmp_path, photos, scenes, shows):
    (tmp_path / "mine").mkdir()
    Image.fromarray(scenes[7]).save(tmp_path / "mine" / "nice.png")
    of = Ingredients(KEY, labelled=False, folder=tmp_path / "mine" if shows == "given" else None)
    cover = cover_named(shows, of)
    report = protect_dataset(
        photos, tmp_path / "out", KEY, cover=cover, keep="files", cover_size="fit"
    )
    assert (report.done, report.failed, report.sidecars) == (8, 0, 0)
    published = {name: decode_image(data) for name, data in files_in(tmp_path / "out").items()}
    assert published["a/gray.png"].shape[2] == 1
    assert published["b/alpha.png"].shape[2] == 3
    assert published["b/text.png"].shape[:2] == (16, 16)
    wide = published["b/1.png"]
    assert 2 < wide.shape[1] / wide.shape[0] < 4
    assert all(max(image.shape) < 100 for image in published.values())
    assert verify_dataset(tmp_path / "out", KEY).done == 8
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(photos)


def test_the_same_images_show_themselves_in_any_size(tmp_path, photos):
    """Others, in each release, would show more than were chosen."""
    drawn = []
    for number, (keep, size) in enumerate(
        (("files", "own"), ("files", "fit"), ("auto", "fit"), ("pixels", "own"))
    ):
        out = tmp_path / f"out{number}"
        cover = cover_named("samples", Ingredients(KEY, samples=1, labelled=False))
        protect_dataset(photos, out, KEY, cover=cover, keep=keep, cover_size=size)
        drawn.append((out.with_name(f"{out.name}.dsguard") / "drawn.json").read_text())
    assert '"drawn": [[' in drawn[0]
    assert len(set(drawn)) == 1


def test_they_take_less_room_than_images_of_their_own_size(tmp_path, photos):
    written = {
        size: protect_dataset(photos, tmp_path / size, KEY, keep="files", cover_size=size)
        for size in ("own", "fit")
    }
    assert written["fit"].bytes_written < 0.5 * written["own"].bytes_written
    assert written["fit"].bytes_read == written["own"].bytes_read


def test_a_preview_is_that_of_the_picture(tmp_path, photos):
    protect_dataset(
        photos, tmp_path / "out", KEY,
        cover=cover_named("preview", Ingredients(KEY)), keep="files", cover_size="fit",
    )  # fmt: skip
    for name in ("a/0", "b/1", "a/2"):
        shown = Image.open(tmp_path / "out" / f"{name}.png").resize((4, 4), Image.Resampling.BOX)
        clean = Image.open(photos / f"{name}.jpg").resize((4, 4), Image.Resampling.BOX)
        assert np.corrcoef(np.asarray(shown).ravel(), np.asarray(clean).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_hold_them(tmp_path, photos, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    out, back = tmp_path / "out", tmp_path / "back"
    protect_dataset(photos, out, KEY, keep="files", cover_size="fit", out_format=kind)
    restore_dataset(out, back, KEY, out_format="folder")
    found = files_in(back).values()
    assert all(data in found for data in files_in(photos).values())


def test_protected_images_are_refused_as_ever(tmp_path, scenes):
    out = dsguard.protect_batch(scenes[:1], KEY)
    (tmp_path / "photos" / "x").mkdir(parents=True)
    Image.fromarray(out.images[0]).save(tmp_path / "photos" / "x" / "twice.png")
    Image.fromarray(scenes[1]).save(tmp_path / "photos" / "x" / "once.png")
    report = protect_dataset(
        tmp_path / "photos", tmp_path / "out", KEY, keep="files", cover_size="fit"
    )
    assert report.done == 1
    assert "protected already" in report.failures["x/twice.png"].message


def test_arrays_keep_their_size(tmp_path, scenes):
    np.save(tmp_path / "images.npy", scenes[:4])
    protect_dataset(tmp_path / "images.npy", tmp_path / "out", KEY, keep="files", cover_size="fit")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    np.testing.assert_array_equal(np.load(tmp_path / "back" / "images.npy"), scenes[:4])


def test_a_run_goes_on_with_the_same_size(tmp_path, photos):
    KEY.save(tmp_path / "key")
    given = [
        "protect", str(photos), str(tmp_path / "out"), "--key", str(tmp_path / "key"),
        "--keep", "files",
    ]  # fmt: skip
    assert run([*given, "--cover-size", "fit"]) == Exit.OK
    before = files_in(tmp_path / "out")
    assert run([*given, "--cover-size", "fit"]) == Exit.OK
    assert run(given) == Exit.USAGE
    assert files_in(tmp_path / "out") == before


def test_images_whose_pixels_are_carried_have_their_own_size():
    with pytest.raises(dsguard.InputError, match="keep files"):
        Protect(KEY, Blank(KEY), Sealed(), keep="pixels", cover_size="fit")
    with pytest.raises(dsguard.InputError, match="cover_size is one of own, fit, not 'small'"):
        Protect(KEY, Blank(KEY), Sealed(), cover_size="small")
    with pytest.raises(dsguard.InputError, match="codec exact carries samples"):
        Exact("exact", 2, 4).smallest_cover(1, (8, 8, 3))


@pytest.mark.parametrize(("side", "cells"), [(1, 8), (8, 8), (16, 16)])
def test_a_preview_of_a_small_image_shows_no_single_pixel(tmp_path, side, cells):
    """Its cover is larger where the file has much in it that is no pixel."""
    checks = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)
    (tmp_path / "icons").mkdir()
    noise = np.random.default_rng(4).bytes(20_000)
    Image.fromarray(checks).convert("RGB").save(tmp_path / "icons" / "a.png", icc_profile=noise)
    protect_dataset(
        tmp_path / "icons", tmp_path / "out", KEY, cover=Preview(cells), cover_size="fit"
    )
    shown = np.asarray(Image.open(next((tmp_path / "out").rglob("*.png")))).astype(int)
    assert min(shown.shape[:2]) > 2 * side
    assert set(np.unique(shown >> 6)) <= {1, 2}  # gray, but for the low bits
