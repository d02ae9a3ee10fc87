"""``--keep files``: the folder that comes back is the folder that went in, byte for byte."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import dsguard
from dsguard.bulk import Protect, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.cli.commands import Exit, run
from dsguard.codecs import Exact, Sealed
from dsguard.covers import Blank
from dsguard.covers.named import Ingredients, cover_named
from dsguard.formats import decode_image, encode_image, open_source
from dsguard.formats.images import runs_of
from dsguard.formats.pillow import stated_size_of
from dsguard.integrations.images import restored_files, restored_images

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(32))


def saved(picture: np.ndarray, kind: str, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, **options)
    return data.getvalue()


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    """Return a folder of image files of many kinds, with all that cameras put into them."""
    root = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = scenes[0, ..., 0].copy()
    for name, data in {
        "cat/a.jpg": saved(scenes[0], "jpeg", exif=exif, icc_profile=profile),
        "cat/b.JPEG": saved(scenes[1], "jpeg", quality=30, progressive=True),
        "cat/c.png": saved(scenes[2], "png", icc_profile=profile, compress_level=1),
        "cat/gray.png": saved(gray, "png"),
        "dog/d.webp": saved(scenes[3], "webp", lossless=True),
        "dog/e.tiff": saved(scenes[4], "tiff", compression="tiff_lzw"),
        "dog/f.bmp": saved(scenes[5], "bmp"),
        "dog/g.gif": saved(gray, "gif"),
        "dog/ü ö.ppm": saved(scenes[6], "ppm"),
        "dog/one.png": saved(scenes[7][:1, :1], "png"),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_folder_comes_back_as_it_was(tmp_path, photos):
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed, report.metadata_dropped) == (10, 0, 0)
    published = files_in(tmp_path / "out")
    assert all(name.endswith(".png") for name in published.keys() - {SEALED_FILES})
    for data in files_in(photos).values():
        middle = data[len(data) // 2 :][:24]
        assert not any(middle in file for file in published.values())
    assert verify_dataset(tmp_path / "out", KEY).done == 10
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).done == 10
    assert files_in(tmp_path / "back") == files_in(photos)


def odd_files(scenes) -> dict[str, bytes]:
    """Return files that are not read as images, by what is odd about them."""
    deep = Image.fromarray(scenes[0, ..., 0].astype(np.uint16) * 257)
    values = Image.fromarray(scenes[1, ..., 0].astype(np.float32))
    several = [Image.fromarray(scene) for scene in scenes[2:5]]
    whole = saved(scenes[5], "jpeg")
    bomb = bytearray(saved(scenes[6], "png"))
    bomb[16:24] = (60000).to_bytes(4, "big") * 2

    def of(image, kind, **options):
        data = io.BytesIO()
        image.save(data, kind, **options)
        return data.getvalue()

    more = {"save_all": True, "append_images": several[1:]}
    return {
        "deep.png": of(deep, "png"),
        "deep.tiff": of(deep, "tiff"),
        "values.tiff": of(values, "tiff"),
        "print.jpg": of(several[0].convert("CMYK"), "jpeg"),
        "moves.gif": of(several[0], "gif", **more),
        "moves.webp": of(several[0], "webp", **more),
        "moves.png": of(several[0], "png", **more),
        "pages.tiff": of(several[0], "tiff", **more),
        "cut.jpg": whole[: len(whole) // 2],
        "text.jpg": b"this is no image",
        "empty.png": b"",
        "bomb.png": bytes(bomb),
    }


NO_IMAGES = {
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "page.png": b"\xef\xbb\xbf\n<!DOCTYPE HTML><title>Log in</title>",
    "old.jpg": b"<html><body>404</body></html>",
    "denied.jpg": b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
    "noted.jpg": b"<!-- a\nb --><!doctype html>",
    "limit.jpg": b' {"error": "rate limit"}\n',
    "packed.bmp": gzip.compress(b"BM" + bytes(3000)),
}


@pytest.mark.parametrize("keep", ["auto", "files", "pixels"])
def test_what_a_download_left_in_place_of_images_is_named(tmp_path, scenes, keep):
    root = tmp_path / "photos"
    root.mkdir()
    for name, data in NO_IMAGES.items():
        (root / name).write_bytes(data)
    (root / "plain.png").write_bytes(saved(scenes[0], "png"))
    report = protect_dataset(root, tmp_path / "out", KEY, keep=keep)
    assert report.done == 1
    assert set(report.failures) == set(NO_IMAGES)
    if keep != "pixels":
        assert "git lfs pull" in str(report.failures["pointer.jpg"])
        assert "answer of a web server" in str(report.failures["page.png"])


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_files_that_are_not_read_are_carried_as_well(tmp_path, scenes, kind):
    root = tmp_path / "photos" / "x"
    root.mkdir(parents=True)
    for name, data in odd_files(scenes).items():
        (root / name).write_bytes(data)
    (root / "plain.png").write_bytes(saved(scenes[0], "png"))
    was = files_in(tmp_path / "photos")
    report = protect_dataset(
        tmp_path / "photos", tmp_path / "out", KEY, keep="files", out_format=kind
    )
    assert (report.done, report.failed) == (len(was), 0)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="folder")
    back = files_in(tmp_path / "back")
    if kind == "folder":
        assert back == was
        names = files_in(tmp_path / "out").keys() - {SEALED_FILES}
        published = [decode_image((tmp_path / "out" / name).read_bytes()) for name in names]
        shapes = {image.shape for image in published}
        assert shapes == {(16, 16, 3), (32, 32, 3), (128, 128, 3)}
    else:
        images = {
            name: data for name, data in back.items() if not name.endswith(("cls", "classname.txt"))
        }
        assert sorted(images.values()) == sorted(was.values())


@pytest.mark.parametrize("name", [
    "Screenshot 10.00.00\u202fPM.jpg", "a\u00a0b.jpg", "c\u3000d.jpg",
    "\U0001f469\u200d\U0001f52c.jpg", "so\u00adft.jpg", "caf\udce9.jpg", "z" * 251 + ".jpg",
])  # fmt: skip
def test_names_of_any_language_come_back(tmp_path, photos, scenes, name):
    (photos / "cat" / name).write_bytes(saved(scenes[0], "jpeg"))
    assert protect_dataset(photos, tmp_path / "out", KEY, keep="files").failed == 0
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(photos)


def test_a_file_that_is_too_large_fails_alone(tmp_path, photos, monkeypatch):
    largest = max(map(len, files_in(photos).values()))
    monkeypatch.setattr("dsguard.codecs.content.MOST_FILE_BYTES", largest - 1)
    for codec in (None, Sealed(64)):
        report = protect_dataset(
            photos, tmp_path / f"out{codec is None}", KEY, keep="files", codec=codec
        )
        assert (report.done, report.failed) == (9, 1)
        (error,) = report.failures.values()
        assert f"{largest - 1} at most" in error.message


@pytest.mark.parametrize("shard_size", [1, 5000])
def test_files_that_were_put_together_do_not_take_each_others_place(tmp_path, scenes, shard_size):
    for n, folder in enumerate("abc"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        (tmp_path / "photos" / folder / "1.jpg").write_bytes(saved(scenes[n], "jpeg"))
    protect_dataset(tmp_path / "photos", tmp_path / "out", KEY, keep="files")
    (tmp_path / "flat").mkdir()
    for folder in "abc":
        (tmp_path / "out" / folder / "1.png").rename(tmp_path / "flat" / f"{folder}.png")
    report = restore_dataset(tmp_path / "flat", tmp_path / "back", KEY, shard_size=shard_size)
    assert report.done == 3
    was = files_in(tmp_path / "photos")
    assert files_in(tmp_path / "back") == {f"{k}.jpg": was[f"{k}/1.jpg"] for k in "abc"}


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("shard_size", [1, 5000])
def test_two_files_of_one_name_are_told(tmp_path, scenes, shard_size, workers):
    """One was given another name since, and that is the name which the other once had."""
    folder = tmp_path / "photos" / "c"
    folder.mkdir(parents=True)
    for n, (name, kind) in enumerate([("a.jpg", "jpeg"), ("b.jpg", "jpeg"), ("b.bmp", "bmp")]):
        (folder / name).write_bytes(saved(scenes[n], kind))
    protect_dataset(tmp_path / "photos", tmp_path / "out", KEY, keep="files")
    (tmp_path / "out" / "c" / "a.png").rename(tmp_path / "out" / "c" / "b.png")
    report = restore_dataset(
        tmp_path / "out", tmp_path / "back", KEY, shard_size=shard_size, workers=workers
    )
    assert report.failed == 1
    (error,) = report.failures.values()
    assert "name" in error.message
    back = files_in(tmp_path / "back")
    assert set(back.values()) <= set(files_in(tmp_path / "photos").values())


@pytest.mark.parametrize("paths", [True, False])
def test_rows_of_parquet_have_the_names_of_their_files(tmp_path, photos, paths):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    was = {Path(name).name: data for name, data in files_in(photos).items()}
    rows = [{"bytes": data, "path": name if paths else None} for name, data in was.items()]
    (tmp_path / "rows").mkdir()
    table = pa.table({"image": rows, "label": [n % 2 for n in range(len(rows))]})
    pq.write_table(table, tmp_path / "rows" / "x.parquet")
    protect_dataset(tmp_path / "rows", tmp_path / "out", KEY, keep="files")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    (file,) = (tmp_path / "back").rglob("*.parquet")
    assert pq.read_table(file)["image"].to_pylist() == rows
    restore_dataset(tmp_path / "out", tmp_path / "folder", KEY, out_format="folder")
    back = {
        name: data for name, data in files_in(tmp_path / "folder").items() if data in was.values()
    }
    assert sorted(back.values()) == sorted(was.values())
    kinds = {Path(name).suffix for name, data in back.items() if data.startswith(b"\xff\xd8")}
    assert kinds == ({".jpg", ".JPEG"} if paths else {".jpg"})


def test_names_of_shards_come_back(tmp_path, scenes):
    (tmp_path / "shards").mkdir()
    was = {}
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        for n, (name, kind) in enumerate(
            [("one.jpg", "jpeg"), ("multi.jpg", "jpeg"), ("multi.png", "png"), ("two.JPG", "jpeg")]
        ):
            was[name] = saved(scenes[n], kind)
            entry = tarfile.TarInfo(name)
            entry.size = len(was[name])
            tar.addfile(entry, io.BytesIO(was[name]))
    protect_dataset(tmp_path / "shards", tmp_path / "out", KEY, keep="files")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    with tarfile.open(tmp_path / "back" / "a.tar") as tar:
        back = {member.name: tar.extractfile(member).read() for member in tar}
    assert back == was


def test_members_of_too_long_a_name_fail_rather_than_be_lost(tmp_path, scenes):
    """Beside an image lies its class, in a member with a longer suffix."""
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    for n, name in enumerate(("short.jpg", "l" * 251 + ".jpg")):
        (folder / name).write_bytes(saved(scenes[n], "jpeg"))
    report = protect_dataset(
        tmp_path / "photos", tmp_path / "out", KEY, keep="files", out_format="webdataset"
    )
    assert (report.done, report.failed) == (1, 1)
    (error,) = report.failures.values()
    assert "too long for .classname.txt" in error.message
    assert verify_dataset(tmp_path / "out", KEY).done == 1


@pytest.mark.parametrize("shows", ["samples", "other", "preview"])
def test_every_cover_takes_files_that_are_not_read(tmp_path, scenes, shows):
    for n, (name, data) in enumerate(odd_files(scenes).items()):
        path = tmp_path / "photos" / "ab"[n % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    wide = np.zeros((1, 70000, 3), np.uint8)
    (tmp_path / "photos" / "a" / "wide.png").write_bytes(saved(wide, "png"))
    of = Ingredients(KEY, samples=1, labelled=False)
    report = protect_dataset(
        tmp_path / "photos", tmp_path / "out", KEY, cover=cover_named(shows, of), keep="files"
    )
    assert (report.done, report.failed) == (13, 0)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(tmp_path / "photos")


def test_what_cannot_be_seen_takes_little_room():
    """Of a file that claims many pixels, the cover is small."""
    header = b"P5 9000 9000 65535\n" + bytes(5000)
    assert stated_size_of(header) == (128, 128)


@pytest.mark.parametrize(
    ("size", "side"), [(0, 16), (1, 16), (4, 16), (5, 17), (16, 32), (255, 127), (256, 128)]
)
@pytest.mark.parametrize("head", [b"", b"P5 9000 9000 65535\n"])
def test_tiny_files_have_tiny_covers(size, side, head):
    """Ten thousand of them make an archive of some kilobytes."""
    data = head.ljust(size, b"\0")[: max(size, 0)]
    assert stated_size_of(data) == (side, side)


def test_large_images_that_are_not_decoded_are_worked_on_few_at_a_time():
    """Their covers are drawn as large as they say, and would fill the memory together."""
    large = b"P5 3000 4000 65535\n" + bytes(200_000)
    assert stated_size_of(large) == (4000, 3000)
    assert list(runs_of([large] * 3, as_files=True)) == [(0, 1), (1, 2), (2, 3)]


def test_very_large_images_that_are_not_decoded_have_smaller_covers():
    height, width = stated_size_of(b"P5 9000 6000 65535\n" + bytes(1_000_000))
    assert 0.9 * 2**24 < height * width <= 2**24
    assert abs(width / height - 1.5) < 0.01


def test_many_empty_files_are_published_in_little_room(tmp_path):
    root = tmp_path / "photos" / "x"
    root.mkdir(parents=True)
    for n in range(50):
        (root / f"{n}.png").touch()
    report = protect_dataset(tmp_path / "photos", tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed) == (50, 0)
    assert sum(len(data) for data in files_in(tmp_path / "out").values()) < 50 * 2048
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(tmp_path / "photos")


def test_without_it_they_are_told_and_left_out(tmp_path, scenes):
    root = tmp_path / "photos" / "x"
    root.mkdir(parents=True)
    for name, data in odd_files(scenes).items():
        (root / name).write_bytes(data)
    report = protect_dataset(tmp_path / "photos", tmp_path / "out", KEY, keep="pixels")
    assert (report.done, report.failed) == (0, 12)


def test_again_from_the_command_line(tmp_path, photos):
    KEY.save(tmp_path / "key")
    key = ["--key", str(tmp_path / "key")]
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert run(["protect", str(photos), out, *key, "--keep", "files"]) == Exit.OK
    assert run(["protect", str(photos), out, *key, "--keep", "files"]) == Exit.OK  # nothing to do
    assert run(["protect", str(photos), out, *key, "--keep", "pixels"]) != Exit.OK  # of another run
    assert run(["restore", out, back, *key]) == Exit.OK
    assert files_in(tmp_path / "back") == files_in(photos)


def test_images_of_one_name_come_back_beside_each_other(tmp_path, scenes):
    root = tmp_path / "photos" / "x"
    root.mkdir(parents=True)
    (root / "a.jpg").write_bytes(saved(scenes[0], "jpeg"))
    (root / "a.png").write_bytes(saved(scenes[1], "png"))
    (root / "a.bmp").write_bytes(saved(scenes[2], "bmp"))
    protect_dataset(tmp_path / "photos", tmp_path / "out", KEY, keep="files")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(tmp_path / "photos")


def test_a_table_names_the_files_again(tmp_path, photos):
    """Of a Hugging Face image folder: names of images follow them, there and back."""
    rows = [{"file_name": name, "text": "words"} for name in files_in(photos)]
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (photos / "metadata.jsonl").write_text(table)
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    names = [json.loads(line)["file_name"] for line in open_lines(tmp_path / "out")]
    assert sorted(names) == sorted(
        files_in(tmp_path / "out").keys() - {"metadata.jsonl", SEALED_FILES}
    )
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert [json.loads(line) for line in open_lines(tmp_path / "back")] == rows
    assert files_in(tmp_path / "back") == files_in(photos)


def open_lines(folder: Path) -> list[str]:
    return (folder / "metadata.jsonl").read_text().splitlines()


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_hold_the_files(tmp_path, photos, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    was = files_in(photos)
    protect_dataset(photos, tmp_path / "out", KEY, keep="files", out_format=kind)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    source = open_source(tmp_path / "back")
    found = [
        file
        for part in source.parts(100, None)
        for rows in source.rows(part)
        for file in rows.files
    ]
    assert sorted(found) == sorted(was.values())
    suffixes = {Path(name).suffix for name in source.names()}
    assert {".jpg", ".JPEG", ".png", ".webp", ".bmp"} <= suffixes


def test_arrays_hold_no_files(tmp_path, scenes):
    """Which only somebody with the key can have put there."""
    files = {1: dsguard.File("a.jpg", b"x")}
    out = dsguard.protect_batch(scenes[:3], KEY, codec=Sealed(64), files=files)
    np.save(tmp_path / "images.npy", out.images)
    report = restore_dataset(tmp_path / "images.npy", tmp_path / "back", KEY)
    assert (report.done, report.failed) == (2, 1)
    (error,) = report.failures.values()
    assert "carries a file" in error.message


def test_the_rate_is_that_of_files(tmp_path, scenes):
    """JPEG files are shorter than their samples without loss, and so show a better cover."""
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    for n, scene in enumerate(scenes):
        large = np.asarray(Image.fromarray(scene).resize((128, 128)))
        (folder / f"{n}.jpg").write_bytes(saved(large, "jpeg", quality=50))

    def rate(keep):
        protect_dataset(tmp_path / "photos", tmp_path / keep, KEY, keep=keep)
        told = json.loads((tmp_path / f"{keep}.dsguard" / "settings.json").read_text())
        return int(told["rate"])

    assert rate("files") < rate("pixels")


def test_loaders_get_pixels_or_the_file(photos, tmp_path):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    published = files_in(tmp_path / "out")
    del published[SEALED_FILES]  # dates
    was = files_in(photos)
    back = restored_files(list(published.values()), KEY)
    assert sorted(back) == sorted(was.values())
    images = restored_images([published["cat/a.png"]], KEY)
    turned = Image.open(io.BytesIO(was["cat/a.jpg"])).transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(images[0], np.asarray(turned))


def test_a_file_that_is_no_picture_is_told_with_its_place(scenes):
    out = dsguard.protect_batch(
        scenes[:2], KEY, codec=Sealed(64), files={1: dsguard.File("a.jpg", b"text")}
    )
    files = [encode_image(image) for image in out.images]
    assert restored_files(files, KEY)[1] == b"text"
    with pytest.raises(dsguard.InputError, match="image 1: the file that it carries"):
        restored_images(files, KEY)


def test_other_codecs_carry_no_files():
    with pytest.raises(dsguard.InputError, match="codec exact carries samples"):
        Protect(KEY, Blank(KEY), Exact("exact", 2, 4), keep="files")
    with pytest.raises(dsguard.InputError, match="keep is one of auto, files, pixels, not 'all'"):
        Protect(KEY, Blank(KEY), Sealed(), keep="all")


def test_names_that_are_too_long_with_a_second_suffix_come_back(tmp_path, scenes):
    """Published, they are cut; the file has its name inside."""
    root = tmp_path / "photos"
    root.mkdir()
    names = ["a" * 248 + ".nii.gz", "b" * 251 + ".jpg", "b" * 251 + ".bmp", "\u00e9" * 125 + ".jxl"]
    names += ["\u00e9" * 125 + ".tga"]
    for n, name in enumerate(names):
        image = io.BytesIO()
        Image.fromarray(scenes[n]).save(image, "bmp" if name.endswith(".bmp") else "jpeg")
        (root / name).write_bytes(image.getvalue())
    report = protect_dataset(root, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed) == (len(names), 0)
    assert verify_dataset(tmp_path / "out", KEY, against=root).different == {}
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    assert files_in(tmp_path / "back") == files_in(root)
