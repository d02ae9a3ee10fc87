"""``--keep auto``, the default: every file comes back, and PNG files take less room."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import Protect, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.journal import Journal
from dsguard.bulk.keeping import keep_of
from dsguard.cli.commands import Exit, run
from dsguard.codecs import Sealed, codec_named
from dsguard.covers import Blank
from dsguard.formats.places import place_of

from .folders import files_in
from .image_kinds import KINDS

KEY = dsguard.DatasetKey(bytes(32))


def saved(picture: np.ndarray, kind: str, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, **options)
    return data.getvalue()


@pytest.fixture
def pngs(tmp_path, scenes):
    """Return a folder of PNG files as several programs write them."""
    root = tmp_path / "pngs"
    for n, noisy in enumerate(scenes):
        scene = noisy[..., :1] + np.array([0, 9, 20], np.uint8)  # colours go together, as in photos
        folder = root / f"class {n % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        options = [{}, {"compress_level": 1}, {"compress_level": 9}, {"optimize": True}][n % 4]
        (folder / f"{n}.png").write_bytes(saved(scene, "png", **options))
    return root


def published(path) -> int:
    return sum(len(data) for name, data in files_in(path).items() if name.endswith(".png"))


def kept_by(path) -> str:
    return Journal.of(place_of(path)).settings()["keep"]


def test_every_kind_of_file_comes_back(tmp_path):
    source = tmp_path / "photos" / "class"
    source.mkdir(parents=True)
    for kind in KINDS.values():
        for name, data in kind().items():
            (source / name).write_bytes(data)
    was = files_in(tmp_path / "photos")
    report = protect_dataset(tmp_path / "photos", tmp_path / "out", KEY)
    assert (report.done, report.failed, report.left_out) == (len(was), 0, {})
    assert kept_by(tmp_path / "out") == "auto"
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == was


def test_png_files_take_less_room(tmp_path, pngs):
    sizes = {}
    for keep in ("auto", "files"):
        out = tmp_path / keep
        protect_dataset(pngs, out, KEY, keep=keep, cover_size="fit")
        sizes[keep] = published(out)
        assert verify_dataset(out, KEY, against=pngs).different == {}
    assert sizes["auto"] < 0.9 * sizes["files"]
    assert sizes["auto"] < 1.2 * published(pngs)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_give_the_files_back(tmp_path, pngs, kind):
    protect_dataset(pngs, tmp_path / "out", KEY, out_format=kind)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="folder")
    back = [data for data in files_in(tmp_path / "back").values() if data.startswith(b"\x89PNG")]
    assert sorted(back) == sorted(files_in(pngs).values())


def test_archives_come_back_as_their_folder(tmp_path, pngs):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", pngs)
    protect_dataset(archive, tmp_path / "out", KEY)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(pngs)


def test_arrays_carry_their_samples(tmp_path, scenes):
    np.save(tmp_path / "x.npy", scenes[:8])
    sizes = []
    for keep in (None, "pixels"):
        out, back = tmp_path / f"out-{keep}", tmp_path / f"back-{keep}"
        protect_dataset(tmp_path / "x.npy", out, KEY, keep=keep)
        restore_dataset(out, back, KEY)
        np.testing.assert_array_equal(np.load(back / "x.npy"), scenes[:8])
        sizes.append(np.load(out / "x.npy").tobytes())
    assert sizes[0] == sizes[1]


def test_codecs_that_carry_no_files_carry_samples(tmp_path, pngs, scenes):
    protect_dataset(pngs, tmp_path / "out", KEY, profile="veil")
    assert kept_by(tmp_path / "out") == "pixels"
    task = Protect(KEY, Blank(), codec_named("exact"))
    assert task.keep == "auto"
    assert not task.keeps_files
    with pytest.raises(dsguard.InputError, match="keep files"):
        Protect(KEY, Blank(), codec_named("exact"), cover_size="fit")


@pytest.mark.parametrize("keep", ["pixels", "files"])
def test_a_run_that_goes_on_keeps_what_it_began_with(tmp_path, pngs, keep):
    """Runs that began before there was ``auto`` have one of these in their journal."""
    out = tmp_path / "out"
    protect_dataset(pngs, out, KEY, keep=keep, shard_size=3)
    was = files_in(out)
    (tmp_path / "out.dsguard" / "shards" / "00001.jsonl").unlink()
    report = protect_dataset(pngs, out, KEY, shard_size=3)
    assert (report.resumed, kept_by(out)) == (2, keep)
    assert files_in(out) == was
    with pytest.raises(dsguard.InputError, match="keep"):
        protect_dataset(pngs, out, KEY, keep="auto", shard_size=3)
    assert protect_dataset(pngs, out, KEY, shard_size=3, overwrite=True).resumed == 0
    assert kept_by(out) == "auto"


def test_what_is_asked_for_goes_before_the_journal(tmp_path, pngs):
    out = tmp_path / "out"
    assert keep_of(None, out, Sealed()) == "auto"
    protect_dataset(pngs, out, KEY, keep="pixels")
    assert keep_of(None, out, Sealed()) == "pixels"
    assert keep_of("files", out, Sealed()) == "files"
    assert keep_of(None, out, Sealed(), overwrite=True) == "auto"
    assert keep_of(None, None, Sealed()) == "auto"
    assert keep_of(None, out, codec_named("exact")) == "pixels"


def test_the_command_keeps_files_by_default(tmp_path, pngs):
    KEY.save(tmp_path / "key")
    key, out = ["--key", str(tmp_path / "key")], str(tmp_path / "out")
    assert run(["protect", str(pngs), out, *key, "--cover-size", "fit"]) == Exit.OK
    assert run(["verify", out, *key, "--against", str(pngs)]) == Exit.OK
    assert run(["restore", out, str(tmp_path / "back"), *key]) == Exit.OK
    assert files_in(tmp_path / "back") == files_in(pngs)
    assert run(["protect", str(pngs), out, *key, "--keep", "pixels", "--overwrite"]) == Exit.OK
    assert kept_by(out) == "pixels"
