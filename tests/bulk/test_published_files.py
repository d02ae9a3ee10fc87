"""Files beside published images come back if the owner published them as they are."""

from __future__ import annotations

import json
import shutil
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.companions import Companions
from dsguard.bulk.published_files import A_STRANGER, NO_LIST
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.formats import encode_image
from dsguard.formats.programs.data import OF_ANY_KEY

from .folders import files_in
from .test_ahead import Derived

KEY = dsguard.DatasetKey(bytes(32))
CHOSEN = Selection(include=("a/*",))
TEXTS = {"names.txt": "cat dog\n", "a/0.txt": "a cat\n", "notes/more.txt": "more\n"}


@pytest.fixture
def clean(tmp_path, scenes) -> Path:
    """Return a folder with images, and texts that are published beside them."""
    root = tmp_path / "clean"
    for n, scene in enumerate(scenes[:4]):
        (root / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[n % 2] / f"{n}.png").write_bytes(encode_image(scene))
    for name, text in TEXTS.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def told(report) -> dict[str, str]:
    """Return what a report tells of files, by name."""
    return {name: error.message for name, error in report.failures.items()}


@pytest.mark.parametrize("profile", ["sealed", "veil"])
@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_published_files_come_back(tmp_path, clean, profile, keep):
    if (profile, keep) == ("veil", "files"):
        pytest.skip("profile veil keeps pixels")
    protect_dataset(clean, tmp_path / "out", KEY, profile=profile, keep=keep)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (report.done, told(report)) == (4, {})
    assert files_in(tmp_path / "back").keys() == files_in(clean).keys()
    assert told(verify_dataset(tmp_path / "out", KEY, against=clean)) == {}


@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
@pytest.mark.parametrize("packed", ["", ".zip", ".tar"])
def test_what_others_add_or_change_stays_behind(tmp_path, clean, packed, out_format):
    protect_dataset(clean, tmp_path / "out", KEY)
    (tmp_path / "out" / "a" / "0.txt").write_text("a dog\n")
    (tmp_path / "out" / "b" / "1.txt").write_text("a cat\n")
    shutil.move(tmp_path / "out" / "notes" / "more.txt", tmp_path / "out" / "more.txt")
    source = tmp_path / f"out{packed}"
    if packed == ".zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in files_in(tmp_path / "out").items():
                archive.writestr(name, data)
    elif packed:
        with tarfile.open(source, "w") as archive:
            archive.add(tmp_path / "out", "all")
    report = restore_dataset(source, tmp_path / "back", KEY, out_format=out_format)
    above = "all/" if packed == ".tar" else ""
    strange = {f"{above}{name}" for name in ("a/0.txt", "b/1.txt", "more.txt")}
    assert told(report) == dict.fromkeys(strange, A_STRANGER)
    assert report.done == 4
    back = b"".join(files_in(tmp_path / "back").values())
    assert b"cat dog" in back
    assert not any(text in back for text in (b"a dog", b"a cat", b"more\n"))
    assert strange <= told(verify_dataset(source, KEY)).keys()


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_without_a_list_none_comes_back(tmp_path, clean, out_format):
    protect_dataset(clean, tmp_path / "out", KEY)
    (tmp_path / "out" / SEALED_FILES).unlink()
    shutil.rmtree(tmp_path / "out.dsguard")  # which would tell that it is missed
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=out_format)
    assert told(report) == dict.fromkeys(TEXTS, NO_LIST)
    assert report.done == 4
    assert b"a cat" not in b"".join(files_in(tmp_path / "back").values())
    assert told(verify_dataset(tmp_path / "out", KEY, against=clean)).keys() == TEXTS.keys()


def test_of_a_tar_archive_without_a_list_fields_alone_come_back(tmp_path, clean):
    """It may be a shard, of which no list tells; what belongs to no image is no field."""
    protect_dataset(clean, tmp_path / "out", KEY)
    (tmp_path / "out" / SEALED_FILES).unlink()
    (tmp_path / "out" / "a" / "2.py").write_text("import os\n")
    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        archive.add(tmp_path / "out", ".")
    report = restore_dataset(tmp_path / "out.tar", tmp_path / "back", KEY)
    program = report.failures.pop("a/2.py")
    assert "could be a program" in str(program)
    assert told(report) == dict.fromkeys({"names.txt", "notes/more.txt"}, NO_LIST)
    assert (tmp_path / "back" / "a" / "0.txt").read_text() == "a cat\n"


def test_a_part_of_a_set_comes_back_with_its_texts(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    (tmp_path / "out" / "b" / "1.txt").write_text("a cat\n")
    chosen = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, selection=CHOSEN)
    assert (chosen.done, told(chosen)) == (2, {})
    assert (tmp_path / "back" / "a" / "0.txt").read_text() == "a cat\n"
    folder = told(restore_dataset(tmp_path / "out" / "a", tmp_path / "alone", KEY))
    assert folder.pop("0.txt") == NO_LIST
    assert "lies above" in folder.pop(str(tmp_path / "out" / SEALED_FILES))


def test_labels_that_others_change_are_not_taken(tmp_path, scenes):
    root = tmp_path / "clean"
    root.mkdir()
    for n, scene in enumerate(scenes[:2]):
        (root / f"{n}.png").write_bytes(encode_image(scene))
    lines = [json.dumps({"file_name": f"{n}.png", "label": "cat"}) for n in range(2)]
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    protect_dataset(root, tmp_path / "out", KEY)
    listed = tmp_path / "out" / "metadata.jsonl"
    listed.write_text(listed.read_text().replace("cat", "dog"))
    for out_format in ("folder", "webdataset"):
        back = tmp_path / out_format
        report = restore_dataset(tmp_path / "out", back, KEY, out_format=out_format)
        assert (report.done, told(report)) == (2, {"metadata.jsonl": A_STRANGER})
        assert b"dog" not in b"".join(files_in(back).values())


def test_programs_of_the_owner_come_back(tmp_path, clean):
    (clean / "run.sh").write_text("ls\n")
    protect_dataset(clean, tmp_path / "out", KEY, publish=["run.sh"])
    assert told(restore_dataset(tmp_path / "out", tmp_path / "back", KEY)) == {}
    assert (tmp_path / "back" / "run.sh").read_text() == "ls\n"
    keys = Derived(KEY)
    others = restore_dataset(tmp_path / "out", tmp_path / "others", keys)
    assert told(others) == {"run.sh": OF_ANY_KEY}
    assert (tmp_path / "others" / "names.txt").read_text() == TEXTS["names.txt"]


def test_fields_that_became_files_are_listed(tmp_path, clean):
    restored = {"out_format": "webdataset", "shard_size": 2}
    protect_dataset(clean, tmp_path / "first", KEY)
    restore_dataset(tmp_path / "first", tmp_path / "shards", KEY, **restored)
    protect_dataset(tmp_path / "shards", tmp_path / "out", KEY, out_format="folder")
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert told(report) == {}
    [text] = (tmp_path / "out").rglob("0.txt")
    name = text.relative_to(tmp_path / "out").as_posix()
    assert (tmp_path / "back" / name).read_text() == "a cat\n"
    text.write_text("a dog\n")
    again = restore_dataset(tmp_path / "out", tmp_path / "again", KEY)
    assert told(again) == {name: A_STRANGER}


def test_files_of_a_run_that_goes_on_are_listed(tmp_path, clean, monkeypatch):
    restore = {"out_format": "webdataset", "shard_size": 2}
    protect_dataset(clean, tmp_path / "first", KEY)
    restore_dataset(tmp_path / "first", tmp_path / "shards", KEY, **restore)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Companions, "copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            protect_dataset(tmp_path / "shards", tmp_path / "out", KEY, out_format="folder")
    report = protect_dataset(tmp_path / "shards", tmp_path / "out", KEY, out_format="folder")
    assert report.resumed == 2
    assert told(restore_dataset(tmp_path / "out", tmp_path / "back", KEY)) == {}


def test_a_run_that_goes_on_with_files_of_an_older_dsguard_says_so(tmp_path, clean):
    protect_dataset(clean, tmp_path / "first", KEY)
    restore_dataset(tmp_path / "first", tmp_path / "shards", KEY, out_format="webdataset")
    out = tmp_path / "out"
    protect_dataset(tmp_path / "shards", out, KEY, out_format="folder")
    told_beside = tmp_path / "out.dsguard" / "beside" / "00000.json"
    older = json.loads(told_beside.read_text())
    del older["digests"]
    told_beside.write_text(json.dumps(older))
    again = protect_dataset(tmp_path / "shards", out, KEY, out_format="folder")
    assert "an older dsguard" in again.left_out[SEALED_FILES].reason


def test_too_many_files_for_the_list_are_named(tmp_path, clean, monkeypatch):
    monkeypatch.setattr(Companions, "_room", 40)
    report = protect_dataset(clean, tmp_path / "out", KEY, keep="pixels")
    assert "no room for the list" in report.left_out[SEALED_FILES].reason


def test_names_in_another_form_are_the_same(tmp_path, clean):
    name = unicodedata.normalize("NFC", "caf\u00e9.txt")
    (clean / name).write_text("words\n")
    protect_dataset(clean, tmp_path / "out", KEY)
    other = unicodedata.normalize("NFD", name)
    shutil.move(tmp_path / "out" / name, tmp_path / "out" / other)
    assert told(restore_dataset(tmp_path / "out", tmp_path / "back", KEY)) == {}
    assert (tmp_path / "back" / other).read_text() == "words\n"


def test_a_card_that_is_added_to_the_clean_images_is_published(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    (clean / "README.md").write_text("---\nlicense: mit\n---\nImages.\n")
    report = protect_dataset(clean, tmp_path / "out", KEY)
    assert (report.resumed, report.left_out) == (report.shards, {})
    assert told(restore_dataset(tmp_path / "out", tmp_path / "back", KEY)) == {}
    assert (tmp_path / "back" / "README.md").read_bytes() == (clean / "README.md").read_bytes()


def test_intact_says_nothing_of_classes_names_and_order(tmp_path, clean):
    """Images alone are sealed: whoever has them may put them elsewhere, as the docs say."""
    protect_dataset(clean, tmp_path / "out", KEY)
    (tmp_path / "out/a/0.png").rename(tmp_path / "out/b/7.png")
    alone = verify_dataset(tmp_path / "out", KEY)
    assert (alone.done, alone.failures) == (4, {})
    held = verify_dataset(tmp_path / "out", KEY, against=clean)
    assert {"a/0.png", "b/7.png"} & {*held.different, *held.failures}
