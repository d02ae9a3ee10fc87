"""Disks that do not tell capitals, or forms of accents, apart: nothing is lost without a word."""

from __future__ import annotations

import pickle
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

import dsguard
from dsguard.bulk import output_names, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import InputError
from dsguard.formats.places import LocalPlace, RemotePlace
from dsguard.formats.places.inside import Folder
from dsguard.formats.places.spelling import Apart, Spelling
from tests.bulk.folders import files_in

KEY = dsguard.DatasetKey(bytes(32))
NAMES = ("aB.png", "Ab.png", "x.jpg", "X.JPG", "y.png")


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    root = tmp_path / "photos"
    (root / "cat").mkdir(parents=True)
    for n, name in enumerate(NAMES):
        Image.fromarray(scenes[n]).save(root / "cat" / name)
    (root / "cat" / "README.txt").write_text("one text")
    (root / "cat" / "readme.txt").write_text("another text")
    return root


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Path:
    """A folder of a disk that ignores case: a file is found, and replaced, by any spelling."""
    root = tmp_path / "disk"
    root.mkdir()

    def spelled(folder: str, name: str) -> str:
        here = Path(folder)
        there = here.iterdir() if here.is_relative_to(root) and here.exists() else ()
        found = (each.name for each in there if each.name.casefold() == name.casefold())
        return next(found, name)

    def in_folder(folder: Folder, name: str) -> str:
        return spelled(folder.path, name)

    def path_of(place: LocalPlace, name: str) -> str:
        folder, _, file = f"{place.path}/{name}".rpartition("/")
        return f"{folder}/{spelled(folder, file)}"

    def spelling_of(folder: Path) -> Spelling:
        return Spelling(ignores_case=folder.is_relative_to(root))

    inner = Folder.inner

    def inner_folder(folder: Folder, name: str, mode: int | None) -> Folder:
        return inner(folder, spelled(folder.path, name), mode)

    monkeypatch.setattr(Folder, "at", in_folder)
    monkeypatch.setattr(Folder, "inner", inner_folder)
    monkeypatch.setattr(LocalPlace, "_at", path_of)
    monkeypatch.setattr(Spelling, "of", spelling_of)
    return root


def images_in(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_in(root).items() if not name.endswith(".txt")}


def test_the_second_image_is_protected_under_another_name(tmp_path, photos, disk):
    report = protect_dataset(photos, disk / "out", KEY)
    assert report.done == len(NAMES)
    published = {name for name in images_in(disk / "out") if name.endswith(".png")}
    assert len({name.casefold() for name in published}) == len(NAMES)
    assert {"cat/Ab.png", "cat/aB.png.png", "cat/X.png", "cat/x.jpg.png"} < published
    assert verify_dataset(disk / "out", KEY).done == len(NAMES)
    assert restore_dataset(disk / "out", tmp_path / "back", KEY).done == len(NAMES)
    assert images_in(tmp_path / "back") == images_in(photos)


def test_of_two_texts_the_second_is_named(photos, disk):
    for _ in range(2):  # a run that was finished removes nothing of the first
        report = protect_dataset(photos, disk / "out", KEY)
        assert list(report.failures) == ["cat/readme.txt"]
        assert "'cat/README.txt' and 'cat/readme.txt' would be one file" in str(
            report.failures["cat/readme.txt"]
        )
        assert (disk / "out/cat/README.txt").read_text() == "one text"


def test_where_names_are_apart_they_stay(tmp_path, photos):
    report = protect_dataset(photos, tmp_path / "out", KEY)
    published = images_in(tmp_path / "out")
    assert not report.failures
    assert {"cat/aB.png", "cat/Ab.png", "cat/x.png", "cat/X.png"} < published.keys()


@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_images_with_other_names_are_compared(tmp_path, photos, disk, keep):
    del tmp_path
    protect_dataset(photos, disk / "out", KEY, keep=keep)
    report = verify_dataset(disk / "out", KEY, against=photos)
    assert not [name for name in report.different if not name.endswith(".txt")]


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_the_second_image_that_comes_back_is_named(tmp_path, photos, disk, kind, keep):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    protect_dataset(photos, tmp_path / "safe", KEY, keep=keep, out_format=kind)
    for _ in range(2):  # the same command once more does not take it for done
        report = restore_dataset(tmp_path / "safe", disk / "back", KEY, out_format="folder")
        assert report.done == len(NAMES) - 2
        failed = {Path(name).stem for name in report.failures if not name.endswith(".txt")}
        assert failed == {"aB", "x"}
        assert all("does not keep names apart" in str(each) for each in report.failures.values())
    back = {Path(name).name: data for name, data in images_in(disk / "back").items()}
    assert {name.partition(".")[0] for name in back if not name.endswith(".json")} == {
        "Ab",
        "X",
        "y",
    }
    if keep == "files":
        clean = {Path(name).name: data for name, data in files_in(photos).items()}
        assert all(clean[name] == data for name, data in back.items() if name in NAMES)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_take_all_of_them(tmp_path, photos, disk, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    protect_dataset(photos, tmp_path / "safe", KEY)
    report = restore_dataset(tmp_path / "safe", disk / "back", KEY, out_format=kind)
    assert (report.done, [*report.failures]) == (len(NAMES), ["cat/readme.txt"])


def test_images_of_two_shards_are_named_both(tmp_path, photos, disk):
    protect_dataset(photos, tmp_path / "safe", KEY)
    for _ in range(2):
        report = restore_dataset(tmp_path / "safe", disk / "back", KEY, shard_size=1)
        told = {name: str(error) for name, error in report.failures.items()}
        assert "'cat/Ab.png' and 'cat/aB.png' came out as one file" in told["cat/aB.png"]
        assert "'cat/X.JPG' and 'cat/x.jpg' came out as one file" in told["cat/x.jpg"]


def test_what_an_earlier_version_has_lost_is_named(photos, disk, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(Spelling, "of", lambda _: Spelling())
        assert not protect_dataset(photos, disk / "out", KEY).failures
    report = protect_dataset(photos, disk / "out", KEY)
    assert report.resumed == 1
    assert {"cat/aB.png", "cat/x.png", "cat/readme.txt"} == report.failures.keys()
    assert (disk / "out/cat/README.txt").exists()


def test_classes_that_become_one_are_named(tmp_path, scenes, disk):
    for n, folder in enumerate(("Cat", "cat", "dog")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        Image.fromarray(scenes[n]).save(tmp_path / "photos" / folder / f"{n}.png")
    report = protect_dataset(tmp_path / "photos", disk / "out", KEY)
    assert list(report.failures) == ["cat/"]
    assert "'Cat' and 'cat' became one folder" in str(report.failures["cat/"])
    assert not protect_dataset(tmp_path / "photos", tmp_path / "out", KEY).failures


def test_shards_that_would_be_one_file_are_refused(tmp_path, photos, disk):
    protect_dataset(photos, tmp_path / "shards", KEY, out_format="webdataset")
    shard = (tmp_path / "shards" / "00000.tar").read_bytes()
    (tmp_path / "in").mkdir()
    for name in ("A.tar", "a.tar"):
        (tmp_path / "in" / name).write_bytes(shard)
    with pytest.raises(InputError, match=r"A\.tar and a\.tar, one file to"):
        restore_dataset(tmp_path / "in", disk / "back", KEY)


def test_sealed_files_of_one_name_are_named_where_they_are_unpacked(tmp_path, photos, monkeypatch):
    for name in ("README.txt", "readme.txt"):
        (photos / "cat" / name).write_text("word" * 2000)  # is sealed
    protect_dataset(photos, tmp_path / "safe", KEY)
    monkeypatch.setattr(Spelling, "of", lambda _: Spelling(ignores_case=True))
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, out_format="webdataset")
    assert "cat/readme.txt" in report.failures


def test_output_names_that_are_one_to_a_disk():
    folded = Spelling(ignores_case=True, ignores_forms=True).folded
    one, two = "caf\u00e9.jpg", unicodedata.normalize("NFD", "caf\u00e9.jpg")
    names = ["x.jpg", "X.JPG", "x.png", one, two, "b/x.jpg", "stra\u00dfe.bmp", "STRASSE.bmp"]
    outputs = output_names(names, "png", folded=folded)
    assert len(set(map(folded, outputs.values()))) == len(names)
    assert outputs["x.png"] == "x.png"
    assert outputs["b/x.jpg"] == "b/x.png"
    assert output_names(["x.jpg", "X.jpg"], "png") == {"x.jpg": "x.png", "X.jpg": "X.png"}


def test_a_disk_is_looked_at_and_left_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    is_one = (tmp_path / "A").exists()
    place = LocalPlace(tmp_path / "not" / "there")
    assert (place.folded("aB") == place.folded("Ab")) is is_one
    assert [each.name for each in tmp_path.iterdir()] == ["a"]

    def is_there(path: Path) -> bool:
        return path.name.casefold() in {each.name.casefold() for each in path.parent.iterdir()}

    monkeypatch.setattr(Path, "exists", is_there)
    assert Spelling.of(tmp_path) == Spelling(ignores_case=True)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_workers_are_told_and_do_not_look(tmp_path, monkeypatch):
    place = LocalPlace(tmp_path)
    monkeypatch.setattr(Spelling, "of", lambda _: Spelling(ignores_case=True))
    assert place.folded("A") == "a"
    monkeypatch.undo()
    assert pickle.loads(pickle.dumps(place)).folded("A") == "a"


def test_stores_keep_names_apart_but_shares_do_not():
    assert RemotePlace("memory://x/y").folded("A") == "A"
    assert RemotePlace("smb://host/share/y").folded("A") == "a"


def test_names_are_taken_once():
    apart = Apart(RemotePlace("smb://host/share/y"))
    assert [apart.other(name) for name in ("a", "B", "a", "A", "b")] == ["", "", "", "a", "B"]
