"""What a run tells the owner: files that are published, and images that do not show as expected."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.cli.commands import Exit, run
from dsguard.covers import Other, Preview, Samples
from dsguard.formats import encode_image
from dsguard.integrations.images import restored_images

from .test_sealed_fields import tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
DICOM = bytes(128) + b"DICM" + bytes(200)


def deep(scene) -> bytes:
    """Return a 16-bit file."""
    out = io.BytesIO()
    Image.fromarray(scene[..., 0].astype(np.uint16) << 8).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def photos(tmp_path, scenes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    for n, scene in enumerate(scenes[:3]):
        (folder / f"{n}.png").write_bytes(encode_image(scene))
    KEY.save(tmp_path / "k")
    return folder


def told(capsys, *options: str, code: int = Exit.OK) -> tuple[str, str]:
    assert run(["protect", "photos", "out", "--key", "k", "--overwrite", *options]) == code
    out = capsys.readouterr()
    return " ".join(out.out.split()), " ".join(out.err.split())


def test_files_beside_the_images_are_named_that_all_can_read(photos, capsys):
    assert "published beside" not in told(capsys)[0]
    (photos.parent / "patients.csv").write_text("file,name\nx/0.png,Erika\n")
    (photos.parent / "consent.pdf").write_bytes(b"%PDF-1.4" + bytes(99))
    assert "published beside the images, for all to read: patients.csv (--only" in told(capsys)[0]
    report = protect_dataset("photos", "other", KEY)
    assert report.published == ["patients.csv"]
    assert "published beside" not in told(capsys, "--only-named")[0]
    out, _ = told(capsys, "--only-named", "--publish", "*.csv")
    assert "for all to read: patients.csv" in out
    assert "--only-named keeps" not in out
    facts = json.loads(told(capsys, "--json", "--quiet")[0])
    assert facts["published"] == ["patients.csv"]
    assert restore_dataset("out", "back", KEY).published == []


@pytest.mark.parametrize(
    ("kind", "listed"),
    [
        ("folder", ["00000/0.cls", "00000/0.txt", "00000/README.md"]),
        ("webdataset", ["*.cls", "*.txt", "00000/README.md"]),
        ("parquet", ["00000/README.md", "*.cls", "*.txt"]),
    ],
)
def test_texts_of_shards_are_named_that_all_can_read(photos, kind, listed):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    image = (photos / "0.png").read_bytes()
    members = [("0.png", image), ("0.cls", b"1"), ("0.txt", b"Bob"), ("0.bin", bytes(99))]
    tarred(Path("shards/00000.tar"), [*members, ("README.md", b"words")])
    report = protect_dataset("shards", "out", KEY, out_format=kind)
    assert [re.sub(r"^00000/1/", "00000/", name) for name in report.published] == listed
    again = protect_dataset("shards", "out", KEY, out_format=kind)  # of shards that are done
    assert again.published == report.published
    assert again.resumed == 1


def test_columns_and_arrays_are_named_that_all_can_read(photos, scenes):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    np.savez("a.npz", images=scenes, labels=np.arange(len(scenes)) % 2)
    assert protect_dataset("a.npz", "arrays", KEY).published == ["labels"]
    image = (photos / "0.png").read_bytes()
    Path("tables").mkdir()
    pq.write_table(pa.table({"image": [image], "label": [3], "name": ["Bob"]}), "tables/0.parquet")
    assert protect_dataset("tables", "table", KEY).published == ["label", "name"]


@pytest.mark.parametrize("cut", [b"", b"hello", "half"])
def test_damaged_images_are_named_and_come_back(photos, capsys, cut):
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[: len(whole) // 2] if cut == "half" else cut)
    report = protect_dataset("photos", "out", KEY)
    assert (report.done, report.not_shown["damaged"].first) == (3, "x/1.png")
    assert "x/1.png: damaged, or no image" in told(capsys)[1]
    restore_dataset("out", "back", KEY)
    assert (photos.parents[1] / "back/x/1.png").read_bytes() == (photos / "1.png").read_bytes()


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_tiny_images_that_are_not_decoded_are_protected(photos, side):
    """Web pages have such pictures: what stands for one has fewer samples than a digest."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 4), np.uint8), "CMYK").save(out, "jpeg")
    (photos / "tiny.jpg").write_bytes(out.getvalue())
    (photos / "deep.png").write_bytes(deep(np.zeros((side, side, 3), np.uint8)))
    assert protect_dataset("photos", "out", KEY).done == 5
    assert restore_dataset("out", "back", KEY).done == 5
    assert (photos.parents[1] / "back/x/tiny.jpg").read_bytes() == out.getvalue()


@pytest.mark.parametrize("kind", ["deep.png", "scan.dcm", "scan.ima", "a.heic"])
@pytest.mark.parametrize("cover", [Other(KEY), Preview(2), Samples(KEY, names=("x/0.png",))])
def test_images_of_which_nothing_shows_are_named(photos, scenes, kind, cover):
    (photos / kind).write_bytes(deep(scenes[0]) if kind == "deep.png" else DICOM)
    assert protect_dataset("photos", "blank", KEY).not_shown == {}
    found = protect_dataset("photos", "out", KEY, cover=cover).not_shown
    sees = isinstance(cover, Preview) and kind == "deep.png"
    assert {key: (each.count, each.first) for key, each in found.items()} == (
        {} if sees else {"not decoded": (1, f"x/{kind}")}
    )


def test_dicom_files_without_a_suffix_are_told(photos, capsys):
    """Archives of hospitals write them; no file without a suffix is an image here."""
    (photos / "IM1").write_bytes(DICOM)
    (photos / "IM2").write_bytes(DICOM)
    assert (
        "x/IM1 and 1 more: DICOM without a suffix is no image here; give it .dcm"
        in (told(capsys)[1])
    )
    for file in photos.glob("*.png"):
        file.unlink()
    assert "holds no images; x/IM1 and 1 more: DICOM" in told(capsys, code=Exit.USAGE)[1]


def test_a_carried_file_that_is_not_decoded_is_to_be_had_as_it_is(scenes):
    out = dsguard.protect_batch(scenes[:1], KEY, files={0: dsguard.File("a.dcm", DICOM)})
    with pytest.raises(dsguard.InputError, match="decode=False of RestoredDataset"):
        restored_images([encode_image(out.images[0])], KEY)


def test_lists_of_images_without_annotations_have_the_new_names(photos, scenes):
    """COCO has such a file for each test set; and annotations may be dropped."""
    Image.fromarray(scenes[0]).save(photos / "a.jpg")
    entries = [{"id": 1, "file_name": "x/a.jpg"}]
    (photos.parent / "test.json").write_text(json.dumps({"images": entries}))
    protect_dataset("photos", "out", KEY)
    listed = json.loads((photos.parents[1] / "out" / "test.json").read_text())["images"]
    assert [entry["file_name"] for entry in listed] == ["x/a.png"]


def test_dicom_may_begin_as_tiff():
    from dsguard.formats.images import suffix_by_content

    start = b"II*\0" + bytes(124)
    assert suffix_by_content(start + b"DICM") == ".dcm"
    assert suffix_by_content(start + b"....") == ".tiff"
    assert suffix_by_content(bytes(128) + b"DICM") == ""


@pytest.mark.parametrize("name", ["metadata.csv", "annotations/instances.json", "features.bin"])
@pytest.mark.parametrize("pointer", [
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    b"/annex/objects/MD5E-s12345--d41d8cd98f00b204e9800998ecf8427e.csv\n",
])  # fmt: skip
def test_pointers_beside_images_are_no_files(tmp_path, scenes, name, pointer):
    (tmp_path / "clean" / "annotations").mkdir(parents=True)
    (tmp_path / "clean" / "0.png").write_bytes(encode_image(scenes[0]))
    (tmp_path / "clean" / name).write_bytes(pointer)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    assert (report.done, list(report.failures)) == (1, [name])
    assert "is a pointer of Git LFS or git-annex" in str(report.failures[name])
    assert not (tmp_path / "out" / name).exists()


def test_a_table_that_was_not_fetched_is_named(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "t.parquet").symlink_to(".git/annex/objects/of/nothing")
    KEY.save(tmp_path / "k")
    given = [str(tmp_path / "clean"), str(tmp_path / "out"), "--key", str(tmp_path / "k")]
    assert run(["protect", *given]) == Exit.SOME_FAILED
    told = capsys.readouterr().err.replace("\n", "")
    assert "clean/t.parquet cannot be read: No such file" in told


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_pointers_of_git_lfs_that_become_fields_are_no_texts(tmp_path, scenes, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "clean").mkdir()
    for n, text in enumerate((b"a cat", b"version https://git-lfs.github.com/spec/v1\n")):
        (tmp_path / "clean" / f"{n}.png").write_bytes(encode_image(scenes[n]))
        (tmp_path / "clean" / f"{n}.txt").write_bytes(text)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format=kind)
    assert (report.done, list(report.failures)) == (1, ["1.png"])
    assert "its file 1.txt is a pointer of Git LFS" in str(report.failures["1.png"])
    less = tmp_path / "less"
    report = protect_dataset(tmp_path / "clean", less, KEY, out_format=kind, drop=["1.txt"])
    assert (report.done, report.failures) == (2, {})


def test_names_of_columns_steer_no_terminal(photos, capsys):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    Path("tables").mkdir()
    image = {"bytes": next(Path("photos").rglob("*.png")).read_bytes(), "path": None}
    odd = "x\x9b\u202e\r\n100.0% intact"
    pq.write_table(pa.table({"image": [image], odd: [3]}), "tables/a.parquet")
    run(["protect", "tables", "safe-tables", "--key", "k"])
    out = capsys.readouterr().out
    assert "for all to read" in out
    assert not any(sign in out for sign in ("\x9b", "\u202e", "\r"))
    assert not any(line.startswith("100.0%") for line in out.splitlines())
