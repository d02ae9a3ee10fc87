"""Archives of strangers: names of Windows, bombs, headers without end, damage of any kind."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.formats import archive, encode_images, limits, open_source, png, tar
from dsguard.formats.tar import BLOCK, END, members, packed


def zipped(path, files, *, system: int = 3, method: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system, info.compress_type = name, system, method
            archive.writestr(info, data)
    return path


def tarred(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(piece for name, data in files for piece in packed(name, data)) + END)
    return path


def classes(path) -> list[str]:
    return sorted(name for _, name, _ in open_source(path).read())


@pytest.fixture
def files(scenes) -> list[bytes]:
    return encode_images(scenes)


def errors(path) -> dict[str, str]:
    found = {name: image for name, _, image in open_source(path).read()}
    return {n: i.message for n, i in found.items() if isinstance(i, dsguard.DsguardError)}


def test_names_of_windows_are_paths(tmp_path, files):
    named = [("data\\cat\\0.png", files[0]), ("data\\dog\\0.png", files[1])]
    folders = [("data\\", b""), ("data\\cat\\", b"")]
    path = zipped(tmp_path / "x.zip", [*folders, *named])
    assert open_source(path).names() == ["data/cat/0.png", "data/dog/0.png"]
    assert open_source(path).left_out() == []
    assert classes(path) == ["cat", "dog"]
    mixed = [*named, ("data/cat/1.png", files[2]), ("data\\cat\\0.txt", b"a cat")]
    for system in (0, 10, 14):
        path = zipped(tmp_path / "y.zip", mixed, system=system)
        assert classes(path) == ["cat", "cat", "dog"]
        assert open_source(path).companions() == ["data/cat/0.txt"]
        assert open_source(path).read_companion("data/cat/0.txt") == b"a cat"
    protect_dataset(path, tmp_path / "safe", dsguard.DatasetKey(bytes(32)), profile="veil")
    assert (tmp_path / "safe" / "data" / "cat" / "0.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a backslash is no part of a name")
def test_a_backslash_may_be_part_of_a_name(tmp_path, files):
    path = zipped(tmp_path / "x.zip", [("cat/a\\b.png", files[0])])
    assert open_source(path).names() == ["cat/a\\b.png"]
    path = tarred(tmp_path / "x.tar", [("cat\\a.png", files[0])])
    assert open_source(path).names() == ["cat\\a.png"]


@pytest.mark.parametrize("system", [0, 3])
@pytest.mark.parametrize("name", ["..\\evil.png", "a\\..\\..\\evil.png", "\\evil.png"])
def test_names_of_windows_stay_in_their_folder(tmp_path, files, name, system):
    with pytest.raises(dsguard.InputError, match="outside its folder"):
        open_source(zipped(tmp_path / "x.zip", [(name, files[0])], system=system)).names()


def test_names_that_become_one_are_refused(tmp_path, files):
    two = [("a/b.png", files[0]), ("a\\b.png", files[1])]
    with pytest.raises(dsguard.InputError, match=r"more than one member named a/b\.png"):
        open_source(zipped(tmp_path / "x.zip", two, system=0)).names()


def test_members_without_a_name_are_refused(tmp_path, files):
    path = zipped(tmp_path / "x.zip", [("a", files[0]), ("b.png", files[1])])
    data = bytearray(path.read_bytes())
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    data[local + 26], data[local + 28] = 0, 1  # its name becomes its extra field
    data[central + 28], data[central + 30] = 0, 1
    path.write_bytes(data)
    with pytest.raises(dsguard.InputError, match="without a name"):
        open_source(path).names()


@pytest.mark.parametrize("fault", ["encrypted", "method", "content", "header", "bzip2", "offset"])
def test_a_member_that_cannot_be_read_fails_alone(tmp_path, files, fault):
    two = [("a/0.png", files[0]), ("a/1.png", files[1])]
    method = zipfile.ZIP_BZIP2 if fault == "bzip2" else zipfile.ZIP_DEFLATED
    path = zipped(tmp_path / "x.zip", two[:1], method=method)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(*two[1])
    data = bytearray(path.read_bytes())
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    if fault == "encrypted":
        data[local + 6] |= 1
        data[central + 8] |= 1
    elif fault == "method":
        data[local + 8] = data[central + 10] = 98
    elif fault == "content":
        data[local + 37 : local + 41] = b"\xff" * 4
    elif fault == "header":
        data[local] = 0
    elif fault == "offset":
        data[central + 42 : central + 46] = struct.pack("<L", len(data) - 30)
    path.write_bytes(data)
    assert list(errors(path)) == ["a/0.png"]
    assert len(list(open_source(path).read())) == 2


def test_zip_archives_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_ALWAYS", 1 << 16)
    path = zipped(tmp_path / "x.zip", [("a.png", bytes(1 << 20))], method=zipfile.ZIP_DEFLATED)
    with pytest.raises(dsguard.InputError, match=r"x\.zip unpacks to more than .* unpack it"):
        open_source(path).names()


def test_a_zip_of_several_disks_is_one_error(tmp_path, files):
    path = zipped(tmp_path / "x.zip", [("a.png", files[0])])
    data = path.read_bytes()
    end = data.index(b"PK\5\6")
    locator = struct.pack("<4sLQL", b"PK\6\7", 1, end, 2)
    path.write_bytes(data[:end] + locator + data[end:])
    with pytest.raises(dsguard.InputError, match=r"x\.zip"):
        open_source(path).names()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def folder_for_temporary_files(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", PACKERS)
def test_tar_archives_that_unpack_to_too_much_are_refused(
    tmp_path, files, kind, monkeypatch, folder_for_temporary_files
):
    monkeypatch.setattr(limits, "_ALWAYS", 1 << 20)
    plain = tarred(tmp_path / "plain", [("0.png", files[0]), ("zeros", bytes(8 << 20))])
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / f"x.tar.{kind}"
    path.write_bytes(PACKERS[kind](plain.read_bytes()))
    message = rf"x\.tar\.{kind} unpacks to more than .* unpack it yourself"
    with pytest.raises(dsguard.InputError, match=message):
        open_source(path).names()
    assert files_in(folder_for_temporary_files) == []
    report = protect_dataset(
        tmp_path / "data", tmp_path / "safe", dsguard.DatasetKey(bytes(32)), profile="veil"
    )
    assert "unpacks to more than" in str(report.failures[path.name])


@pytest.mark.parametrize("as_shard", [False, True])
@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", ""])
def test_a_packed_archive_has_a_member_for_each_eight_of_its_bytes(
    tmp_path, monkeypatch, kind, as_shard
):
    """Each takes time and, where it is published, room: of empty ones a kilobyte holds hundreds."""
    monkeypatch.setattr(limits, "_FREE_ROWS", 100)
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "": bytes}[kind]
    name = f"x.tar.{kind}".rstrip(".")
    path = tmp_path / "data" / name
    path.parent.mkdir()

    def names(count, content):
        files = [packed(f"c/{n}.png", content(n)) for n in range(count)]
        path.write_bytes(pack(b"".join(map(b"".join, files)) + END))
        return open_source(path.parent if as_shard else path).names()

    assert len(names(100, lambda _: b"")) == 100
    assert len(names(101, lambda n: os.urandom(200))) == 101
    if not kind:
        assert len(names(2000, lambda _: b"")) == 2000
    elif as_shard:
        names(2000, lambda _: b"")
        report = protect_dataset(path.parent, tmp_path / "out", dsguard.DatasetKey.generate())
        assert "members in" in report.failures[name].message
    else:
        with pytest.raises(dsguard.InputError, match=r"it claims \d+ members in \d+ bytes"):
            names(2000, lambda _: b"")


def test_archives_have_limits_whatever_their_size():
    assert limits.most_unpacked(1, 1 << 40) == 1 << 26
    assert limits.most_unpacked(1 << 30, 1 << 40) == 100 << 30
    assert limits.most_unpacked(1 << 30, tar.MOST_ON_DISK) == tar.MOST_ON_DISK
    assert limits.most_unpacked(1 << 30, tar.MOST_IN_MEMORY) == tar.MOST_IN_MEMORY


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_temporary_files_are_private_and_go(tmp_path, files, folder_for_temporary_files):
    plain = tarred(tmp_path / "plain", [("c/0.png", files[0])])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    before = os.umask(0)
    try:
        source = open_source(tmp_path / "x.tar.gz")
        assert source.names() == ["c/0.png"]
    finally:
        os.umask(before)
    (folder,) = folder_for_temporary_files.iterdir()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    del source
    archive._tar.cache_clear()
    assert files_in(folder_for_temporary_files) == []


@pytest.mark.skipif(os.name != "posix", reason="locks are of POSIX")
def test_an_archive_of_a_killed_run_goes_with_the_next(tmp_path, files, folder_for_temporary_files):
    plain = tarred(tmp_path / "plain", [("c/0.png", files[0])])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "y.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    killed = (
        "import os, sys; from dsguard.formats import open_source; "
        "open_source(sys.argv[1]).names(); os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"TMPDIR": str(folder_for_temporary_files)}
    arguments = [sys.executable, "-c", killed, str(tmp_path / "x.tar.gz")]
    assert subprocess.run(arguments, check=False, env=environment).returncode == -9
    (left,) = files_in(folder_for_temporary_files)
    precious = left.with_name("precious")
    precious.write_bytes(b"")
    first = open_source(tmp_path / "x.tar.gz")
    assert first.names() == ["c/0.png"]
    assert not left.exists()
    second = open_source(tmp_path / "y.tar.gz")
    assert second.names() == first.names() == ["c/0.png"]
    assert len(files_in(folder_for_temporary_files)) == 3, "what is in use stays"
    assert precious.exists()


def test_a_full_disk_is_told_and_nothing_stays(
    tmp_path, files, monkeypatch, folder_for_temporary_files
):
    plain = tarred(tmp_path / "plain", [("c/0.png", files[0])])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))

    def full(path, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tar, "open_new", full)
    with pytest.raises(dsguard.InputError, match=r"temporary files .*: No space left"):
        open_source(tmp_path / "x.tar.gz").names()
    assert files_in(folder_for_temporary_files) == []


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def extended(kind: bytes, content: bytes) -> bytes:
    return header("x", kind, len(content)) + content + bytes(-len(content) % BLOCK)


MEMBER = b"".join(packed("0.png", b"x"))


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_headers_without_end_are_refused(kind):
    for headers in (extended(kind, b"9 a=bcde\n" * 200_000), extended(kind, b"") * 3000,
                    extended(kind, b"9 a=bcde\n" * 20_000) * 10):  # fmt: skip
        with pytest.raises(dsguard.InputError, match=r"headers of a member|more than 1000 records"):
            list(members(headers + MEMBER + END))


def test_records_without_end_are_refused():
    with pytest.raises(dsguard.InputError, match="more than 1000 records"):
        list(members(extended(b"x", b"6 a=b\n" * 5000) + MEMBER + END))
    usual = extended(b"x", b"6 a=b\n" * 500 + b"14 path=a.png\n")
    assert [m.name for m in members((usual + MEMBER) * 40 + END)] == ["a.png"] * 40


def test_long_names_are_read():
    name = "d/" * 2000 + "x.png"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo(name)
        assert [m.name for m in members(info.tobuf(kind) + END)] == [name]


def archive_of(data, kind: str, files: list[bytes]) -> bytes:
    named = [("cat/0.png", files[0]), ("dog/" + "x" * 120 + ".png", files[1]), ("a.txt", b"text")]
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in named:
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode="w:gz" if kind == "gz" else "w") as archive:
            for name, content in named:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    raw = bytearray(file.getvalue())
    heads = [n for n in range(len(raw)) if raw[n : n + 2] == b"PK"] or range(0, len(raw), BLOCK)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(list(heads))) + data.draw(st.integers(0, 511))
        raw[place % len(raw)] = data.draw(st.integers(0, 255))
    return bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))])


@pytest.fixture(scope="module")
def some_files():
    import numpy as np

    return encode_images(np.zeros((2, 8, 8, 3), np.uint8))


@given(st.data(), st.sampled_from(["zip", "tar", "gz"]), st.sampled_from(["auto", "webdataset"]))
def test_changed_archives_give_images_or_one_error(
    tmp_path_factory, some_files, data, kind, read_as
):
    path = Path(tmp_path_factory.getbasetemp(), "changed")
    path.write_bytes(archive_of(data, kind, some_files))
    try:
        source = open_source(path, read_as)
        for name in source.companions():
            source.read_companion(name)
        assert all(not name.startswith("/") for name, _, _ in source.read())
    except dsguard.DsguardError as error:
        told = str(error)
    else:
        told = ""
    assert "\n" not in told


def test_names_in_zip_archives_of_unix_are_utf8(tmp_path, scenes):
    """Which `zip` there does not say, and DOS had others."""
    raw = "Öl und Wein/1.png".encode()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("x" * len(raw))
        member.create_system = 3
        archive.writestr(member, encode_images(scenes[:1])[0])
    data = (tmp_path / "a.zip").read_bytes().replace(b"x" * len(raw), raw)
    (tmp_path / "a.zip").write_bytes(data)
    source = open_source(tmp_path / "a.zip")
    assert source.names() == ["Öl und Wein/1.png"]
    assert [name for _, name, _ in source.read()] == ["Öl und Wein"]


def bmp(width: int, height: int) -> bytes:
    """Return a gray picture of nothing, with a palette."""
    start, size = 54 + 1024, (width + 3) // 4 * 4 * height
    head = struct.pack("<2sIHHI", b"BM", start + size, 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, size, 0, 0, 0, 0)
    return head + info + bytes(start - 54 + size)


def blank_png(side: int) -> bytes:
    """Return a picture of nothing, of which each byte claims nearly as many pixels as it may."""
    rows = zlib.compressobj(9)
    packed = rows.compress(bytes(side * (1 + side))) + rows.flush()
    padding = png.as_chunk(b"tEXt", b"more\0" + bytes(side * side // 512))
    header = png.as_chunk(b"IHDR", png.header_of(side, side, 0))
    return b"".join((png.SIGNATURE, header, padding, png.as_chunk(b"IDAT", packed), png.END))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "webdataset"])
def test_images_are_held_against_their_packed_size(tmp_path, files, kind):
    """A file of 60 kB is not to take gigabytes, whatever it unpacks to."""
    claims = [
        ("a/long.bmp", bmp(6000, 6000)),
        ("a/wide.png", blank_png(5000)),
        ("a/0.png", files[0]),
    ]
    if kind == "zip":
        path = zipped(tmp_path / "s.zip", claims, method=zipfile.ZIP_DEFLATED)
    else:
        path = tmp_path / ("s" if kind == "webdataset" else "") / "s.tar.gz"
        tarred(path, claims)
        path.write_bytes(gzip.compress(path.read_bytes(), 9))
    found = open_source(path.parent if kind == "webdataset" else path)
    given = {name.removeprefix("s/"): image for name, _, image in found.read()}
    told = {name: str(error) for name, error in given.items() if isinstance(error, Exception)}
    assert told.keys() == {"a/long.bmp", *(["a/wide.png"] if kind == "zip" else [])}
    assert "too much for its size; unpack the archive" in told["a/long.bmp"]
    assert kind != "zip" or "claims 25000000 pixels" in told["a/wide.png"]


def test_a_directory_that_lies_on_packed_sizes_is_not_believed(tmp_path, files):
    path = zipped(tmp_path / "s.zip", [("a.bmp", bmp(6000, 6000)), ("b.png", files[0])],
                  method=zipfile.ZIP_DEFLATED)  # fmt: skip
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + 20  # of the packed size, in the directory
    data[place : place + 4] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    assert "too much for its size" in errors(path)["a.bmp"]


def test_long_images_that_do_not_pack_are_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 40_000, np.uint8).tobytes()
    data = bmp(6000, 6000)[:1078] + noise * 900
    path = zipped(tmp_path / "s.zip", [("a.bmp", data)], method=zipfile.ZIP_DEFLATED)
    assert errors(path) == {}


def test_links_in_zip_archives_are_named(tmp_path, files, key):
    """Their content is a path, and they are called as images are: `zip -y` packs them so."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as packing:
        packing.writestr("all/0.png", files[0])
        for name in ("cat/0.png", "cat/0.txt", "dog"):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            packing.writestr(info, b"../all/0.png")
    report = protect_dataset(path, tmp_path / "out", key, workers=1)
    assert report.done == 1
    assert set(report.failures) == {"cat/0.png", "cat/0.txt", "dog"}
    assert all("is a link" in str(error) for error in report.failures.values())
    assert sorted(each.name for each in (tmp_path / "out").rglob("*.*")) == ["0.png"]


@pytest.mark.parametrize("kind", ["GNU.sparse.major", "GNU.sparse.map", "SCHILY.realsize"])
def test_sparse_files_are_refused(tmp_path, files, kind):
    """A map of the zeros that were left out lies before them: they are no images."""
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as packing:
        info = tarfile.TarInfo("cat/0.png")
        info.size, info.pax_headers = len(files[0]), {kind: "1"}
        packing.addfile(info, io.BytesIO(files[0]))
    with pytest.raises(dsguard.InputError, match="a member is sparse"):
        open_source(path).names()


def test_one_zip_archive_behind_another_is_refused(tmp_path, files):
    """Readers see the last alone."""
    one = zipped(tmp_path / "one.zip", [("a/0.png", files[0])]).read_bytes()
    two = zipped(tmp_path / "two.zip", [("a/1.png", files[1])]).read_bytes()
    (tmp_path / "both.zip").write_bytes(one + two)
    with pytest.raises(dsguard.InputError, match="another archive lies before it"):
        open_source(tmp_path / "both.zip").names()
    (tmp_path / "program.zip").write_bytes(b"#!/bin/sh\nexit\n" + two)  # unpacks itself
    assert open_source(tmp_path / "program.zip").names() == ["a/1.png"]


def test_what_macos_packs_beside_files_is_passed_over(tmp_path, files, key):
    beside = [("__MACOSX/a/._0.png", b"\0\5\x16\7"), ("__MACOSX/._a", b"\0\5\x16\7")]
    path = zipped(tmp_path / "x.zip", [("a/0.png", files[0]), *beside])
    report = protect_dataset(path, tmp_path / "out", key, workers=1)
    assert (report.done, report.left_out, report.failures) == (1, {}, {})
    path = zipped(tmp_path / "y.zip", [("a/0.png", files[0]), ("a/._1.png", files[1])])
    assert protect_dataset(path, tmp_path / "more", key, workers=1).left_out
