"""Reading what people have, writing what survives."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from zlib import compress, crc32

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import dsguard
from dsguard.bulk import load_training_set, output_names, select
from dsguard.errors import DsguardError
from dsguard.formats import (
    check_output_format,
    decode_image,
    decode_protected,
    encode_image,
    open_source,
)
from dsguard.formats.archive import _ClosingZip
from dsguard.formats.images import SIDECAR_TAG, UnreadableImageError, with_suffix


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(image))


@pytest.fixture
def folder(tmp_path, scenes):
    root = tmp_path / "data"
    for n, image in enumerate(scenes):
        save(root / "train" / ("cat" if n % 2 else "dog") / f"{n}.png", image)
    (root / "train" / "notes.txt").write_text("not an image")
    return root


def read_all(source):
    return {name: image for name, _, image in source.read(set(source.names()))}


def archive(folder: Path, kind: str) -> Path:
    path = folder.parent / f"data.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for image in folder.rglob("*.*"):
                file.write(image, image.relative_to(folder))
    else:
        with tarfile.open(path, "w:" + kind.removeprefix("tar").lstrip(".")) as file:
            file.add(folder, ".")
    return path


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.xz", "tar.gz", "zip"])
def test_folders_and_archives_read_alike(folder, scenes, kind):
    source = open_source(folder if kind == "folder" else archive(folder, kind))
    assert source.names() == sorted(
        f"train/{'cat' if n % 2 else 'dog'}/{n}.png" for n in range(len(scenes))
    )
    images = read_all(source)
    np.testing.assert_array_equal(images["train/cat/3.png"], scenes[3])
    assert [name for name, _, _ in source.read({"train/dog/0.png"})] == ["train/dog/0.png"]


def test_cifar_pickles(tmp_path, scenes):
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    rows = scenes.transpose(0, 3, 1, 2).reshape(len(scenes), -1)
    meta = {b"label_names": [b"airplane", b"cat"]}
    (root / "batches.meta").write_bytes(pickle.dumps(meta))
    for file, part in {"data_batch_1": slice(0, 6), "test_batch": slice(6, 8)}.items():
        batch = {b"data": rows[part], b"labels": [n % 2 for n in range(8)][part]}
        (root / file).write_bytes(pickle.dumps(batch, protocol=2))
    images = read_all(open_source(root))
    assert len(images) == 8
    np.testing.assert_array_equal(images["train/cat/data_batch_1-00003.png"], scenes[3])
    np.testing.assert_array_equal(images["test/airplane/test_batch-00000.png"], scenes[6])


@pytest.mark.parametrize("name", [b"../evil", b"", b"a/b", b"\xff", b"a\0b", 7])
def test_cifar_class_names_cannot_leave_their_folder(tmp_path, name):
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name]}))
    batch = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    with pytest.raises(dsguard.FormatError, match="can name folders"):
        open_source(tmp_path).names()


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/dsguard-pickle-was-executed"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({b"data": Bomb(), b"labels": []}), "refused to load"),
        (b"garbage", "damaged"),
        (pickle.dumps([1]), "not a CIFAR batch"),
        (pickle.dumps({b"data": np.zeros((1, 5), np.uint8), b"labels": [0]}), "layout"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [2]}), "layout"),
        (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [0]}), "layout"),
        (pickle.dumps({b"labels": [0]}), "layout"),
    ],
)
def test_cifar_pickles_are_not_trusted(tmp_path, content, message):
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}))
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(dsguard.FormatError, match=message):
        open_source(tmp_path).names()


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_cannot_leave_their_folder(tmp_path, scenes, name, kind):
    data = encode_image(scenes[0])
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, data)
    else:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    with pytest.raises(dsguard.InputError, match="outside its folder"):
        open_source(path).names()


def test_sources_that_cannot_be_read(tmp_path, folder):
    with pytest.raises(dsguard.InputError, match="there is nothing at"):
        open_source(tmp_path / "missing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(dsguard.InputError, match="neither a folder nor"):
        open_source(tmp_path / "text")
    path = archive(folder, "tar")
    whole = path.read_bytes()
    third = [n for n in range(0, len(whole), 512) if whole[n + 257 : n + 262] == b"ustar"][5]
    flipped = whole[: third + 150] + bytes([whole[third + 150] ^ 1]) + whole[third + 151 :]
    for damaged in (whole[:third], whole[: third + 100], flipped):
        path.write_bytes(damaged)
        with pytest.raises(dsguard.InputError, match="damaged or truncated"):
            open_source(path).names()
    path = archive(folder, "zip")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"PK\1\2", b"PK\1\0", 1))
    with pytest.raises(dsguard.InputError, match="damaged or truncated"):
        open_source(path).names()
    path = archive(folder, "tar.xz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(dsguard.InputError, match="damaged or truncated"):
        open_source(path).names()


def test_the_directory_of_a_zip_archive_is_read_once(folder, monkeypatch):
    path = archive(folder, "zip")
    source = open_source(path)
    parts, before, opened = source.parts(2), read_all(source), []
    monkeypatch.setattr(
        "dsguard.formats.archive._ClosingZip",
        lambda file, opens=_ClosingZip: opened.append(file) or opens(file),
    )
    with zipfile.ZipFile(path, "a") as file:  # another archive now
        file.writestr("more.txt", "x")
    rows = [rows for part in parts for rows in pickle.loads(pickle.dumps(source)).rows(part)]
    assert len(rows) == len(parts) > 2
    assert len(opened) == 1
    assert sorted(name for some in rows for name in some.names) == sorted(before)


def test_members_met_twice_are_refused_and_links_followed(tmp_path, folder):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as file:
        file.add(folder, ".")
        link = tarfile.TarInfo("train/cat/linked.png")
        link.type, link.linkname = tarfile.LNKTYPE, "./train/cat/1.png"
        file.addfile(link)
    images = read_all(open_source(path))
    np.testing.assert_array_equal(images["train/cat/linked.png"], images["train/cat/1.png"])
    with tarfile.open(path, "a") as file:
        file.add(folder / "train" / "cat" / "1.png", "train/cat/1.png")
    with pytest.raises(dsguard.InputError, match="more than one member named"):
        open_source(path).names()


def test_members_that_unpack_to_too_much_are_not_read(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("dsguard.formats.limits.MOST_BYTES", 1000)
    for kind in ("tar", "zip"):
        images = read_all(open_source(archive(folder, kind)))
        assert {type(image) for image in images.values()} == {dsguard.InputError}
        assert "more than the 1000" in str(images["train/cat/1.png"])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["png", "tiff"])
def test_encoding_is_lossless(channels, name):
    image = np.random.default_rng(0).integers(0, 256, (9, 14, channels), dtype=np.uint8)
    if channels == 4:
        image[:4, :, 3] = 0  # colours under full transparency must survive, too
    np.testing.assert_array_equal(decode_image(encode_image(image, name)), image)


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_sidecars_survive(name):
    image = np.zeros((8, 8, 1), np.uint8)
    for size in (1, 2, 3, 1000):
        sidecar = np.random.default_rng(size).bytes(size)
        pixels, found = decode_protected(encode_image(image, name, sidecar))
        np.testing.assert_array_equal(pixels, image)
        assert found == sidecar
    assert decode_protected(encode_image(image, name))[1] == b""


def test_a_number_is_no_sidecar():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[SIDECAR_TAG] = 1 << 31
    data = pillow_bytes(Image.fromarray(np.zeros((8, 8), np.uint8)), "TIFF", tiffinfo=tags)
    assert decode_protected(data)[1] == b""


@pytest.mark.parametrize("name", ["jpg", "JPEG", ".webp", "gif", "heic"])
def test_lossy_formats_are_refused(name):
    with pytest.raises(dsguard.InputError, match="choose one of: png, tiff"):
        check_output_format(name)


def pillow_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def deep_png() -> bytes:
    """A 16-bit RGB image, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", compress(bytes(9 * (1 + 9 * 6))))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def test_odd_images_are_expanded_or_refused(scenes):
    colour = Image.fromarray(scenes[0])
    palette = pillow_bytes(colour.quantize(17))
    assert decode_image(palette).shape == (32, 32, 3)
    assert decode_image(pillow_bytes(colour.convert("1"))).shape == (32, 32, 1)
    assert decode_image(pillow_bytes(colour.convert("LA"))).shape == (32, 32, 4)
    keyed = decode_image(pillow_bytes(colour, transparency=tuple(scenes[0][0, 0].tolist())))
    assert keyed.shape == (32, 32, 4)
    assert (keyed[0, 0, 3], keyed[..., 3].max()) == (0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    upright = decode_image(pillow_bytes(colour.crop((0, 0, 32, 16)), exif=exif))
    np.testing.assert_array_equal(upright, np.rot90(scenes[0][:16], -1))
    frames = [Image.fromarray(image) for image in scenes]
    for data, message in [
        (b"hello", "is not an image"),
        (pillow_bytes(colour)[:500], "cannot be read"),
        (pillow_bytes(colour.convert("CMYK"), "TIFF"), "mode CMYK"),
        (pillow_bytes(Image.fromarray(np.zeros((9, 9), np.uint16))), "more than 8 bits"),
        (deep_png(), "more than 8 bits"),
        (b"P6 9 9 65535 " + bytes(9 * 9 * 6), "more than 8 bits"),
        (pillow_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]), "animated"),
    ]:
        with pytest.raises(UnreadableImageError, match=message):
            decode_image(data)


def tiff(planes: np.ndarray, kind: int, order: str, *, planar: bool) -> bytes:
    """Return an uncompressed TIFF file of planes of samples, (C, H, W), of a kind of sample."""
    bands, height, width = planes.shape
    samples = planes if planar else planes.transpose(1, 2, 0)
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    bits = 8 * planes.dtype.itemsize
    strips = [len(data) // bands] * bands if planar else [len(data)]
    tags: list[tuple[int, int, list[int]]] = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * bands), (259, 3, [1]),
        (262, 3, [2 if bands > 1 else 1]), (273, 4, strips), (277, 3, [bands]), (278, 3, [height]),
        (279, 4, strips), (284, 3, [2 if planar else 1]), (338, 3, [2] * (bands - 3)),
        (339, 3, [kind] * bands),
    ]  # fmt: skip
    tags = [tag for tag in tags if tag[2]]
    place = 8 + 2 + 12 * len(tags) + 4
    more = sum(
        size for tag in tags if (size := struct.calcsize("HI"[tag[1] - 3]) * len(tag[2])) > 4
    )
    starts = [place + more + sum(strips[:n]) for n in range(len(strips))]
    entries, values = b"", b""
    for tag, form, numbers in tags:
        told = starts if tag == 273 else numbers
        packed = struct.pack(f"{order}{len(told)}{'HI'[form - 3]}", *told)
        if len(packed) > 4:
            values += packed
            packed = struct.pack(f"{order}I", place + len(values) - len(packed))
        entries += struct.pack(f"{order}HHI", tag, form, len(told)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + values + data


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(
    ("samples", "kind"),
    [("u1", 1), ("i1", 2), ("u2", 1), ("i2", 2), ("f2", 3), ("u4", 1), ("f4", 3), ("f8", 3)],
)
def test_tiff_files_are_decoded_to_their_samples_or_refused(planar, order, bands, samples, kind):
    planes = np.arange(bands * 20 * 12).reshape(bands, 20, 12).astype(samples)
    data = tiff(planes, kind, order, planar=planar)
    if samples != "u1":
        with pytest.raises(UnreadableImageError):
            decode_image(data)
        return
    np.testing.assert_array_equal(decode_image(data), planes.transpose(1, 2, 0))


def test_unreadable_images_do_not_stop_the_others(folder):
    (folder / "train" / "cat" / "1.png").write_bytes(b"broken")
    images = read_all(open_source(folder))
    assert isinstance(images["train/cat/1.png"], DsguardError)
    assert sum(isinstance(image, DsguardError) for image in images.values()) == 1


def test_linked_folders_are_read_and_loops_refused(tmp_path, folder):
    (folder / "train" / "dog").rename(folder / ".annex")
    (folder / "train" / "dog").symlink_to("../.annex")
    (tmp_path / "link").symlink_to(folder)
    assert len(open_source(tmp_path / "link").names()) == 8
    (folder / "train" / "again").symlink_to(folder)
    with pytest.raises(dsguard.InputError, match="met before"):
        open_source(folder).names()


@pytest.mark.parametrize(
    ("name", "changed"),
    [("a/b.jpg", "a/b.png"), ("a.b/c", "a.b/c.png"), ("c", "c.png"), ("a.b.tif", "a.b.png")],
)
def test_suffixes_are_changed(name, changed):
    assert with_suffix(name, ".png") == changed


def test_select_draws_evenly():
    names = [f"train/{c}/{n}" for c in "abc" for n in range(10)] + ["train/d/0"]
    chosen = select(names, 10)
    assert chosen == sorted(chosen)
    assert [sum(f"/{c}/" in name for name in chosen) for c in "abcd"] == [3, 3, 3, 1]
    assert select(names, None) == names
    assert select(names, 99) == names


def test_output_names_never_collide():
    names = output_names(["x/a.jpg", "x/a.bmp", "x/b.jpeg", "y/a.jpg"], "png")
    assert names == {
        "x/a.jpg": "x/a.jpg.png",
        "x/a.bmp": "x/a.bmp.png",
        "x/b.jpeg": "x/b.png",
        "y/a.jpg": "y/a.png",
    }
    assert output_names(["a.jpg", "a.png"], "png") == {"a.jpg": "a.jpg.png", "a.png": "a.png"}
    stubborn = ["x.png", "x.bmp", "x.png.png", "x.png.2.png"]
    assert len(set(output_names(stubborn, "png").values())) == len(stubborn)


def test_training_sets_of_mixed_images(tmp_path):
    rng = np.random.default_rng(0)
    for n, shape in enumerate([(20, 30, 1), (40, 40, 3), (32, 32, 4), (1, 40, 3)]):
        save(tmp_path / f"class{n}" / "x.png", rng.integers(0, 256, shape, dtype=np.uint8))
    images, classes = load_training_set(open_source(tmp_path), open_source(tmp_path).names())
    assert images.shape == (3, 64, 64, 3)
    assert classes == ["class0", "class1", "class2"]
