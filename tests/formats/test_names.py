"""Names that strangers gave: nothing is written, moved or removed but where it may be."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import InputError
from dsguard.formats import encode_image, encode_images, names, open_source
from dsguard.formats.names import checked, fault_of, safe_name
from dsguard.formats.places import LocalPlace, RemotePlace

OUTSIDE = ["..", "../x.png", "a/../../x.png", "a/..", "/x.png", "//x.png", "", "C:x.png", "c:/x",
           "a\0/x.png"]  # fmt: skip
UNFIT = ["..x", "a/...", "a//x.png", "a/./x.png", "a/", "./x.png", "a\n.png", "\x1b[31m.png",
         "\x7f", "a\x9b31m", "a\u2028b", "gnp.\u202egpj", ".dsguard-tmp/x", "a/.git/x.png",
         ".x.png", "x" * 256, "é" * 128, "a/" * 200 + "x.png", "x.dsguard/settings.json",
         "a/x.dsguard/lock", "\ud800.png", "pipe:touch x;cat #.tar", "GS:x.tar", "a/-e sh x.png",
         "-Ish<x.txt", "simplecache::s3://a/b.tar", "--checkpoint-action=exec=sh x"]  # fmt: skip
FIT = ["a/x.png", "-x.png", "--help", "~/x.png", "x" * 255, "é" * 127 + "x", "a b/c (1).png",
       "a\\b.png", "\udcff\udce9.png", "日本/猫.png", "x.dsguard/0.png", "x.dsguard/settings.png",
       "aux/con.png", "trailing./dot ", "ab:c.png", "- Kopie.png", "--a_Bc.png", "chr1:10-20.png",
       *(unicodedata.normalize(form, "é/ü.png") for form in ("NFC", "NFD"))]  # fmt: skip


@pytest.fixture
def files(scenes):
    return encode_images(scenes)


def folder_of(path: Path, images: dict[str, bytes]) -> Path:
    for name, data in images.items():
        file = path / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def table_of(path: Path, images: dict[str, bytes], fields: list[str | None] | None = None) -> Path:
    """Write a Parquet file whose paths are taken for names, as those that were written here."""
    rows = [{"bytes": data, "path": name} for name, data in images.items()]
    columns = {"image": rows, "label": ["a", "b"] * (len(rows) // 2) + ["a"] * (len(rows) % 2)}
    if fields is not None:
        columns["fields"] = fields
    table = pa.table(columns).replace_schema_metadata({"dsguard.named": "1"})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def everything_but(home: Path, *own: str) -> dict[str, bytes]:
    """Return the files under a folder that do not lie in those."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.relative_to(home).parts[0] not in own
    }


@pytest.mark.parametrize("name", [*OUTSIDE, *UNFIT])
def test_names_that_are_refused(name):
    assert fault_of(name)
    with pytest.raises(InputError, match="cannot be written") as caught:
        checked(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(os.name != "posix", reason="of this platform")
@pytest.mark.parametrize("name", FIT)
def test_names_that_are_not(name, tmp_path):
    assert checked(name) == name
    LocalPlace(tmp_path).write(name, b"content")
    assert LocalPlace(tmp_path).files() == [name]
    assert LocalPlace(tmp_path).read(name) == b"content"


@pytest.mark.parametrize("name", ["con", "a/NUL.txt", "com1.png", "x.", "a /x", "a\\b", "a\\..\\x",
                                  "ab:c", "what?.png"])  # fmt: skip
def test_names_that_windows_alone_refuses(name, monkeypatch):
    assert not fault_of(name)
    monkeypatch.setattr(names, "_ON_WINDOWS", True)
    assert fault_of(name)
    assert not fault_of("console/comma.png")


def test_a_name_to_read_has_no_dot_before_it():
    assert safe_name("././a/x.png", "x.tar") == "a/x.png"
    assert safe_name("a//./x.png", "x.tar") == "a/x.png"
    for name in [*OUTSIDE, "./../x", ".//x"]:
        with pytest.raises(InputError, match="outside its folder"):
            safe_name(name, "x.tar")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_place_does_nothing_outside(tmp_path, name):
    inner = LocalPlace(tmp_path / "deep" / "er")
    inner.write("here", b"")
    (tmp_path / "x.png").write_bytes(b"mine")
    (tmp_path / "moved").write_bytes(b"moved")
    before = everything_but(tmp_path)
    for act in (
        lambda: inner.write(name, b"theirs"),
        lambda: inner.take(tmp_path / "moved", name),
        lambda: inner.discard(name),
        lambda: inner.clear(name),
    ):
        with pytest.raises(InputError):
            act()
    if name:
        with pytest.raises((InputError, OSError, ValueError)):
            inner.read(f"{name}/../../../x.png")
    assert everything_but(tmp_path) == before


def test_links_in_a_destination_are_not_written_through(tmp_path, files, key):
    folder_of(tmp_path / "clean", {f"{c}/{n}.png": files[n] for c in "ab" for n in range(2)})
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "0.png").write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="is not empty"):
        protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil",
                             overwrite=True)  # fmt: skip
    assert (report.done, sorted(report.failures)) == (2, ["a/0.png", "a/1.png"])
    assert "leads out of" in str(report.failures["a/0.png"])
    assert everything_but(tmp_path / "other") == {"0.png": b"mine"}
    place = LocalPlace(tmp_path / "out")
    for act in (place.discard, place.read, place.clear):
        with pytest.raises(InputError, match="leads out of"):
            act("a/0.png")
    (tmp_path / "out" / "b" / "0.png").unlink()
    (tmp_path / "out" / "b" / "0.png").symlink_to(tmp_path / "other" / "0.png")
    place.write("b/0.png", b"new")  # which replaces the link
    assert everything_but(tmp_path / "other") == {"0.png": b"mine"}


def test_a_scratch_folder_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".dsguard-tmp").symlink_to(tmp_path / "other")
    place = LocalPlace(tmp_path / "out")
    place.clear_scratch()
    assert not (tmp_path / "out" / ".dsguard-tmp").is_symlink()
    (tmp_path / "out" / ".dsguard-tmp").symlink_to(tmp_path / "other")
    assert not place.scratch().is_symlink()
    assert (tmp_path / "other" / "mine").exists()


def test_links_out_of_a_source_are_refused_and_named(tmp_path, files, key):
    folder_of(tmp_path / "clean", {f"{c}/{n}.png": files[n] for c in "ab" for n in range(2)})
    folder_of(tmp_path / "other", {"0.png": files[4], "deep/1.png": files[5], "notes.txt": b"own"})
    clean = tmp_path / "clean"
    (clean / "a" / "out.png").symlink_to(tmp_path / "other" / "0.png")
    (clean / "a" / "in.png").symlink_to("../b/1.png")
    (clean / "c").symlink_to(tmp_path / "other" / "deep")
    (clean / "notes.txt").symlink_to(tmp_path / "other" / "notes.txt")
    (clean / "notes.pdf").symlink_to(tmp_path / "other" / "notes.txt")  # which nobody reads
    report = protect_dataset(clean, tmp_path / "out", key, profile="veil")
    assert report.done == 5
    assert sorted(report.failures) == ["a/out.png", "c/", "notes.txt"]
    for error in report.failures.values():
        assert "is a link that leads out of" in error.message
        assert "cp -rL" in error.message
    assert not (tmp_path / "out" / "notes.txt").exists()
    assert "c/" in verify_dataset(clean, key).failures
    some = Selection(exclude=("c/*", "notes.txt"))
    report = protect_dataset(clean, tmp_path / "some", key, profile="veil", selection=some)
    assert "c/" not in report.failures
    (tmp_path / "link").symlink_to(clean)
    assert protect_dataset(tmp_path / "link", tmp_path / "two", key, profile="veil").done == 5
    whole = tmp_path / "whole"
    whole.mkdir()
    for name in ("clean", "other"):
        (tmp_path / name).rename(whole / name)
    (whole / "clean" / "a" / "out.png").unlink()
    (whole / "clean" / "a" / "out.png").symlink_to("../../other/0.png")
    (whole / "clean" / "c").unlink()
    for name in ("notes.txt", "notes.pdf"):
        (whole / "clean" / name).unlink()
    assert not protect_dataset(whole, tmp_path / "three", key, profile="veil").failures


def test_a_folder_of_links_alone_says_what_to_do(tmp_path, files):
    folder_of(tmp_path / "other", {"a/0.png": files[0]})
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to(tmp_path / "other" / "a")
    with pytest.raises(InputError, match="cp -rL"):
        open_source(tmp_path / "links")


def test_shards_and_arrays_that_are_links(tmp_path, files, scenes, key):
    np.save(tmp_path / "secret.npy", scenes)
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "x.npy").symlink_to(tmp_path / "secret.npy")
    tar_of(tmp_path / "secret.tar", {f"{n}.png": file for n, file in enumerate(files)})
    tar_of(tmp_path / "tars" / "0.tar", {f"{n}.png": file for n, file in enumerate(files)})
    (tmp_path / "tars" / "1.tar").symlink_to(tmp_path / "secret.tar")
    for folder, name in (("arrays", "x.npy"), ("tars", "1.tar")):
        report = protect_dataset(tmp_path / folder, tmp_path / f"{folder}-out", key, profile="veil")
        assert list(report.failures) == [name]
        assert "leads out of" in str(report.failures[name])
    (tmp_path / "here.tar").symlink_to(tmp_path / "secret.tar")  # asked for by its name
    assert len(open_source(tmp_path / "here.tar").names()) == len(files)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.npy").symlink_to(tmp_path / "secret.npy")
    found = open_source(tmp_path / "elsewhere" / "x.npy")
    assert len(list(found.read())) == len(scenes)


@pytest.fixture
def store():
    """A store that lists what it likes."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.get_filesystem_class("memory")

    class Hostile(memory):
        protocol = "hostile"
        more: tuple[str, ...] = ()

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("oci://", "memory://"))

        def find(self, path, *args, **kwargs):
            return [*super().find(path, *args, **kwargs), *(f"{path}/{name}" for name in self.more),
                    "/etc/passwd"]  # fmt: skip

    fsspec.register_implementation("oci", Hostile, clobber=True)
    system = fsspec.filesystem("oci", skip_instance_cache=True)
    yield system, Hostile
    system.store.clear()


def test_a_store_cannot_name_files_outside(tmp_path, files, key, store):
    system, kind = store
    for n, file in enumerate(files):
        system.pipe_file(f"/set/{'ab'[n % 2]}/{n}.png", file)
    system.pipe_file("/set/a\n/evil.png", files[0])
    kind.more = ("../../escaped.png", "a/../../../escaped.png", "..")
    home = tmp_path / "deep" / "er"
    home.mkdir(parents=True)
    (tmp_path / "escaped.png").write_bytes(b"mine")
    before = everything_but(tmp_path, "deep")
    report = protect_dataset("oci://set", home / "out", key, profile="veil")
    assert report.done == len(files)
    named = " ".join(report.failures)
    assert all(name in named for name in (*kind.more, "/etc/passwd", "a\n/evil.png"))
    assert everything_but(tmp_path, "deep") == before
    written = {path.name for path in home.rglob("*.png")}
    assert written == {f"{n}.png" for n in range(len(files))}
    source = open_source("oci://set")
    assert not any(".." in name for name in source.names())


def test_nothing_is_written_outside_of_a_store(tmp_path, files, key):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe_file("/names/mine.png", b"mine")
    place = RemotePlace("memory://names/inner")
    (tmp_path / "x").write_bytes(b"x")
    for act in (
        lambda name: place.write(name, b"theirs"),
        lambda name: place.take(tmp_path / "x", name),
        place.discard,
        place.clear,
    ):
        for name in ("../mine.png", "a/../../mine.png", "/names/mine.png"):
            with pytest.raises(InputError):
                act(name)
    for act in (place.open, place.exists, place.stamp):
        with pytest.raises(InputError, match="leads out"):
            act("../mine.png")
    assert system.cat("/names/mine.png") == b"mine"


STEERING = "b/\x1b]0;owned\x07.png"


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "webdataset", "parquet"])
@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_a_name_that_no_file_may_have_fails_alone(tmp_path, files, key, kind, out_format):
    images = {f"a/{n}.png": file for n, file in enumerate(files[:4])}
    bad = [STEERING, "b/\u202egnp.png"]
    images |= dict.fromkeys(bad, files[5])
    source = tmp_path / "clean"
    if kind == "folder":
        folder_of(source, images)
    elif kind == "webdataset":
        tar_of(source / "0.tar", images)
    elif kind == "parquet":
        table_of(source / "0.parquet", images)
    else:
        source = (tar_of if kind == "tar" else zip_of)(tmp_path / f"clean.{kind}", images)
    report = protect_dataset(source, tmp_path / "out", key, profile="veil", out_format=out_format)
    assert report.done == 4
    assert sorted(name[name.index("b/") :] for name in report.failures) == sorted(bad)
    assert all("control characters" in str(error) for error in report.failures.values())
    assert "owned" not in " ".join(everything_but(tmp_path / "out"))
    assert b"owned" not in b"".join(everything_but(tmp_path / "out").values())


@pytest.mark.parametrize("name", ["../../x.png", "/x.png", ""])
def test_paths_of_a_table_do_not_lead_out(tmp_path, files, key, name):
    table = table_of(tmp_path / "deep" / "clean" / "0.parquet", {"a/0.png": files[0], name: b""})
    with pytest.raises(InputError, match="outside its folder"):
        open_source(table).names()
    report = restore_dataset(tmp_path / "deep" / "clean", tmp_path / "deep" / "out", key,
                             out_format="webdataset")  # fmt: skip
    assert "outside its folder" in str(report.failures["0.parquet"])
    assert list(everything_but(tmp_path, "deep")) == []


@pytest.mark.parametrize("name", [".git/hooks/x.png", ".bashrc.png", "a/.dsguard-tmp/x.png"])
def test_paths_of_a_table_are_not_hidden(tmp_path, files, key, name):
    images = {"a/0.png": files[0], "a/1.png": files[1], name: files[2]}
    table_of(tmp_path / "clean" / "0.parquet", images, [None, None, json.dumps({"": "#!/bin/sh"})])
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil",
                             out_format="folder")  # fmt: skip
    assert report.done == 2
    assert [error.message for error in report.failures.values() if "hidden" in error.message]
    assert sorted(everything_but(tmp_path / "out")) == ["a/0.png", "a/b/1.png"]


def test_paths_that_lead_out_do_not_travel_on(tmp_path, files, key):
    paths = ["a/0.jpg", "/home/somebody/1.jpg", "../../2.jpg", "..", None, "x\\y.jpg"]
    rows = [{"bytes": file, "path": path} for file, path in zip(files, paths, strict=False)]
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table({"image": rows}), tmp_path / "clean" / "0.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    table = pq.read_table(tmp_path / "out" / "0.parquet")
    found = [row["path"] for row in table.column("image").to_pylist()]
    assert found == ["a/0.png", "1.png", "2.png", None, None, "x\\y.png"]


def test_fields_of_a_sample_with_unfit_names_fail_with_it(tmp_path, files, key):
    shard = {"0.png": files[0], "0.\x1b]0;owned\x07": b"1", "1.png": files[1], "2.png": files[2]}
    tar_of(tmp_path / "clean" / "0.tar", shard)
    for out_format in ("webdataset", "folder", "parquet"):
        report = protect_dataset(tmp_path / "clean", tmp_path / out_format, key, profile="veil",
                                 out_format=out_format)  # fmt: skip
        assert (report.done, list(report.failures)) == (2, ["0/0.png"])
    tar_of(tmp_path / "evil" / "0.tar", {"0.png": files[0], "../../1.png": files[1]})
    report = protect_dataset(tmp_path / "evil", tmp_path / "out", key, profile="veil")
    assert "outside its folder" in str(report.failures["0.tar"])


def test_very_deep_and_very_long_names(tmp_path, files, key):
    deep = "d/" * 1500 + "x.png"
    long = "y" * 100_000 + ".png"
    tar_of(tmp_path / "clean.tar", {"a/0.png": files[0], "a/1.png": files[1], deep: files[2],
                                    long: files[3]})  # fmt: skip
    report = protect_dataset(tmp_path / "clean.tar", tmp_path / "out", key, profile="veil")
    assert (report.done, set(report.failures)) == (2, {deep, long})
    path, folders = str(tmp_path / "pit"), []
    for _ in range(1200):  # more than Python goes into by calls
        path += "/d"
        folders.append(path)
    (tmp_path / "pit").mkdir()
    for folder in folders:
        Path(folder).mkdir()
    try:
        assert LocalPlace(tmp_path / "pit").files() == []
    finally:
        for folder in reversed(folders):
            Path(folder).rmdir()


@pytest.mark.parametrize("name", ["s\x1b[31m.tar"])
def test_a_shard_with_an_unfit_name_is_named(tmp_path, files, key, name):
    tar_of(tmp_path / "clean" / name, {"0.png": files[0], "1.png": files[1]})
    with pytest.raises(InputError, match="control characters"):
        protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")


def test_text_with_an_unfit_name_fails_alone(tmp_path, files, key):
    folder_of(tmp_path / "clean", {"a/0.png": files[0], "b/1.png": files[1], "x\n.txt": b"text"})
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    assert (report.done, list(report.failures)) == (2, ["x\n.txt"])


CLASSES = ["x.dsguard", "plain", "a.dsguard.dsguard"]


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "webdataset", "parquet", "remote"])
def test_a_class_may_be_called_like_a_journal(tmp_path, scenes, files, key, kind):
    images = {f"{CLASSES[n % 3]}/{n}.png": file for n, file in enumerate(files)}
    source = folder_of(tmp_path / "clean", images)
    if kind in ("tar", "zip"):
        source = (tar_of if kind == "tar" else zip_of)(tmp_path / f"clean.{kind}", images)
    out = "memory://called/out" if kind == "remote" else tmp_path / "out"
    if kind == "remote":
        pytest.importorskip("fsspec")
    given = {"out_format": kind} if kind in ("webdataset", "parquet") else {}
    protected = protect_dataset(source, out, key, profile="veil", **given)
    restored = restore_dataset(out, tmp_path / "back", key, out_format="folder")
    assert (protected.done, restored.done, restored.failed) == (len(files), len(files), 0)
    found = {name for _, name, _ in open_source(tmp_path / "back").read()}
    assert found == set(CLASSES)
    back = {image.tobytes() for _, _, image in open_source(tmp_path / "back").read()}
    assert back == {image.tobytes() for image in scenes}


@pytest.mark.parametrize("kind", ["tar", "zip", "remote"])
def test_a_journal_in_an_archive_or_store_is_no_part_of_it(tmp_path, files, key, kind):
    clean = folder_of(tmp_path / "clean", {f"c/{n}.png": f for n, f in enumerate(files)})
    protect_dataset(clean, tmp_path / "set" / "safe", key, profile="veil")
    packed = {name: data for name, data in everything_but(tmp_path / "set").items()
              if not name.endswith("lock")}  # fmt: skip
    assert any("safe.dsguard/shards" in name for name in packed)
    if kind == "remote":
        system = pytest.importorskip("fsspec").filesystem("memory")
        for name, data in packed.items():
            system.pipe_file(f"/packed/{name}", data)
        source = "memory://packed"
    else:
        source = (tar_of if kind == "tar" else zip_of)(tmp_path / f"set.{kind}", packed)
    report = restore_dataset(source, tmp_path / "back", key)
    assert report.done == len(files)
    assert [Path(name).name for name in report.leftovers] == ["safe.dsguard"]
    assert not [name for name in everything_but(tmp_path / "back") if "json" in name]


def test_classes_with_control_characters_come_back(tmp_path, scenes, files, key):
    labels = ["a\nb", "c\x1b[31m", "%0A", "\x9b", "d\x7f", "plain", "../../up", ".."]
    rows = [{"bytes": file, "path": None} for file in files]
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": rows, "label": labels})
    pq.write_table(table, tmp_path / "clean" / "0.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil", out_format="folder")
    assert {name for _, name, _ in open_source(tmp_path / "out").read()} == set(labels)
    assert all(name.isprintable() for name in everything_but(tmp_path / "out"))
    np.savez(tmp_path / "x.npz", images=scenes, labels=np.array(labels))
    report = protect_dataset(tmp_path / "x.npz", tmp_path / "two", key, profile="veil",
                             out_format="folder")  # fmt: skip
    assert (report.done, report.failed) == (len(scenes), 0)
    assert {name for _, name, _ in open_source(tmp_path / "two").read()} == set(labels)


def test_odd_names_keep_working(tmp_path, scenes, key):
    odd = [b"-rf/--help.png", b"\xff\xe9/\xfe.png", "é".encode(), b"x" * 251, b"aux/nul.png"]
    odd += [unicodedata.normalize("NFD", "ü/é.png").encode(), b"a b/ .png", b"~/$HOME.png"]
    images = {name if name.endswith(b".png") else name + b".png": encode_image(image)
              for name, image in zip(odd, scenes, strict=True)}  # fmt: skip
    folder_of(tmp_path / "clean", images)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    assert (report.done, report.failures) == (len(odd), {})
    assert restore_dataset(tmp_path / "out", tmp_path / "back", key).done == len(odd)
    found = {os.fsencode(path.relative_to(tmp_path / "back")) for path in
             (tmp_path / "back").rglob("*") if path.is_file()}  # fmt: skip
    assert found == set(images)


def test_classes_that_no_folder_can_be_called_go_to_a_store(files):
    pytest.importorskip("fsspec")
    place = RemotePlace("memory://coded/out")
    place.write("%2Fm%2F01g317/1.png", files[0])
    place.write("100%25/a%20b.png", files[0])
    assert place.files() == ["%2Fm%2F01g317/1.png", "100%25/a%20b.png"]
    with pytest.raises(InputError, match="leads out"):
        place.write("a%2F..%2F..%2Fb/1.png", files[0])
