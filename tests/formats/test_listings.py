"""Text files that name images: names and classes follow, protected and restored."""

from __future__ import annotations

import csv
import gc
import io
import json
import posixpath
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dsguard import DatasetKey
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import InputError
from dsguard.formats import decode_image, open_source
from dsguard.formats.allowance import Allowance
from dsguard.formats.disclosure import Account, Disclosure
from dsguard.formats.listings import base, imagefolder
from dsguard.formats.listings.base import ImageIndex, locate
from dsguard.formats.listings.coco import _by_id, _Entries
from dsguard.formats.named_images import NamedImages
from dsguard.formats.walk import Walk

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def put(root, names, seed=0):
    """Write small images, as `names` say; return what is in each."""
    rng = np.random.default_rng(seed)
    images = {}
    for name in names:
        pixels = np.kron(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), "u1"))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
        images[name] = decode_image((root / name).read_bytes())
    return images


def coco(names, labels, **more):
    """Return COCO content: one annotation for each image that has a label."""
    images = [{"id": n, "file_name": name, "width": 32} for n, name in enumerate(names)]
    boxes = [
        {"id": n, "image_id": n, "category_id": label, "bbox": [0, 0, 9, 9], "area": 81}
        for n, label in enumerate(labels)
        if label
    ]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES} | more


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def classes(root):
    return {name: class_name for name, class_name, _ in open_source(root).read()}


def there_and_back(source, tmp_path, key, **settings):
    report = protect_dataset(source, tmp_path / "safe", key, profile="veil", **settings)
    assert not report.failures
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert not restored.failures
    assert restored.done == report.done
    return tmp_path / "safe", tmp_path / "back"


def test_coco_beside_the_images_of_each_split(tmp_path, key):
    root, made = tmp_path / "clean", {}
    for split, labels in (("train", [1, 2, 1]), ("valid", [2, 2, 1])):  # the same names in both
        names = [f"img{n}_jpg.rf.jpg" for n in range(3)]
        made |= put(root, [f"{split}/{name}" for name in names], seed=len(made))
        write(root / split / "_annotations.coco.json", coco(names, labels))
    source = open_source(root)
    assert source.kind == "coco"
    assert source.remarks() == []
    assert [classes(root)[f"train/img{n}_jpg.rf.jpg"] for n in range(3)] == ["cat", "dog", "cat"]
    assert [classes(root)[f"valid/img{n}_jpg.rf.jpg"] for n in range(3)] == ["dog", "dog", "cat"]
    safe, back = there_and_back(root, tmp_path, key)
    assert open_source(safe).kind == "coco"
    for folder in (safe, back):
        for split, labels in (("train", [1, 2, 1]), ("valid", [2, 2, 1])):
            found = json.loads((folder / split / "_annotations.coco.json").read_text())
            assert found == coco([f"img{n}_jpg.rf.png" for n in range(3)], labels)
            for entry in found["images"]:
                shown = decode_image((folder / split / entry["file_name"]).read_bytes())
                clean = made[f"{split}/{entry['file_name']}".replace(".png", ".jpg")]
                assert (shown == clean).all() == (folder == back)


@pytest.mark.parametrize("spelled", [int, float])
def test_all_of_coco_that_tells_of_an_image_goes_with_it(tmp_path, key, spelled):
    root = tmp_path / "clean"
    names = ["0.png", "1.png", "2.png"]
    put(root, names)
    content = coco(names, [1, 2, 1])
    for annotation in content["annotations"]:
        annotation["image_id"] = spelled(annotation["image_id"])
    told = [{"image_id": spelled(n), "text": f"of {n}"} for n in range(3)]
    content |= {"captions": told, "odd": [1, None, {"image_id": [1]}]}
    write(root / "instances.json", content)
    chosen = Selection(exclude=("1.png",))
    assert not protect_dataset(root, tmp_path / "safe", key, selection=chosen).left_out
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    for folder in (tmp_path / "safe", tmp_path / "back"):
        found = json.loads((folder / "instances.json").read_text())
        assert [each["image_id"] for each in found["annotations"]] == [0, 2]
        assert [each["text"] for each in found["captions"]] == ["of 0", "of 2"]
        assert found["odd"] == content["odd"]


@pytest.mark.parametrize("file", ["instances.json", "_annotations.coco.json", "data/labels.json"])
def test_coco_at_the_root_or_above_its_images(tmp_path, key, file):
    root = tmp_path / "clean"
    made = put(root, ["data/a/0.jpg", "data/b/1.bmp"])
    content = coco(["a/0.jpg", "b\\1.bmp"] if "/" in file else ["data/a/0.jpg", "1.bmp"], [1, 2])
    if file == "instances.json":
        content["images"][1]["file_name"] = "./data/b/../b/1.bmp"
    elif file == "_annotations.coco.json":
        content["images"][1]["file_name"] = "data\\b\\1.bmp"
    write(root / file, content)
    assert classes(root) == dict(zip(made, ["cat", "dog"], strict=True))
    for folder in there_and_back(root, tmp_path, key):
        found = json.loads((folder / file).read_text())
        for entry, old in zip(found["images"], content["images"], strict=True):
            assert entry["file_name"] == old["file_name"][:-4] + ".png"  # else as it was


def test_coco_names_are_paths(tmp_path, key):
    """Two suffixes of one name, and one name in several folders."""
    root = tmp_path / "clean"
    names = ["a/1.jpg", "b/1.jpg", "b/1.png", "seq/a/1.jpg"]
    made = put(root, [f"train/{name}" for name in names] + [f"val/{name}" for name in names])
    write(root / "annotations" / "instances_train.json", coco(names, [1, 2, 1, 2]))
    write(root / "annotations" / "instances_val.json", coco(names, [2, 1, 2, 0]))
    found = classes(root)
    assert [found[f"train/{name}"] for name in names] == ["cat", "dog", "cat", "dog"]
    assert [found[f"val/{name}"] for name in names] == ["dog", "cat", "dog", "none"]
    safe, back = there_and_back(root, tmp_path, key)
    new = ["a/1.png", "b/1.jpg.png", "b/1.png", "seq/a/1.png"]
    for split, labels in (("train", [1, 2, 1, 2]), ("val", [2, 1, 2, 0])):
        for folder in (safe, back):
            content = json.loads((folder / f"annotations/instances_{split}.json").read_text())
            assert content == coco(new, labels)
        for name, written in zip(names, new, strict=True):
            shown = decode_image((back / split / written).read_bytes())
            np.testing.assert_array_equal(shown, made[f"{split}/{name}"])
    assert classes(safe)["train/b/1.jpg.png"] == "dog"


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/instances_train.json", "train2017"),
        ("annotations/person_train2017.json", "train"),
        ("annotations/instances_val.json", "valid"),
        ("annotations/train.json", "train/images"),
        ("train_annotations.json", "train"),
        ("one/annotations/instances_train.json", "one/train"),
    ],
)
def test_a_coco_file_is_about_the_folder_that_it_is_named_for(tmp_path, file, folder):
    names = ["1.jpg", "2.jpg"]
    others = ["test", "two/train", "testing/train2014"] if "/" in folder else ["test"]
    put(tmp_path, [f"{place}/{name}" for place in (folder, *others) for name in names])
    put(tmp_path, ["1.jpg"])  # a picture that has nothing to do with it
    write(tmp_path / file, coco([*names, "3.jpg"], [1, 2, 1]))
    found = classes(tmp_path)
    assert Counter(found.values()) == {"cat": 1, "dog": 1, "none": 1 + 2 * len(others)}
    assert (found[f"{folder}/1.jpg"], found[f"{folder}/2.jpg"]) == ("cat", "dog")


def test_an_image_that_is_not_there_gives_no_other_its_class(tmp_path):
    put(tmp_path, ["train/1.jpg", "test/2.jpg"])
    write(tmp_path / "annotations" / "instances_train.json", coco(["1.jpg", "2.jpg"], [1, 2]))
    assert classes(tmp_path) == {"train/1.jpg": "cat", "test/2.jpg": "none"}


def test_names_that_only_end_alike(tmp_path, key):
    """Names of another machine: the last part is taken where it tells the image."""
    root = tmp_path / "clean"
    put(root, ["x/1.jpg", "y/2.jpg", "y/3.jpg"])
    listed = ["/home/me/1.jpg", "C:\\me\\2.jpg", "/a/3.jpg", "/b/3.jpg", "http://host/1.jpg"]
    write(root / "all.json", coco(listed, [1, 2, 1, 1, 2]))
    assert classes(root) == {"x/1.jpg": "cat", "y/2.jpg": "dog", "y/3.jpg": "none"}
    assert "'/a/3.jpg'" in open_source(root).remarks()[0]
    for folder in there_and_back(root, tmp_path, key):
        found = [e["file_name"] for e in json.loads((folder / "all.json").read_text())["images"]]
        assert found == ["/home/me/1.png", "C:\\me\\2.png", *listed[2:]]


def test_ambiguous_names_are_told_and_stay(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["a/1.jpg", "b/1.jpg", "b/2.jpg"])
    write(root / "annotations" / "all.json", coco(["1.jpg", "2.jpg"], [1, 2]))
    assert classes(root) == {"a/1.jpg": "none", "b/1.jpg": "none", "b/2.jpg": "dog"}
    (remark,) = open_source(root).remarks()
    assert remark.startswith("names in annotations/all.json that could mean several images: 1, ")
    for folder in there_and_back(root, tmp_path, key):
        found = json.loads((folder / "annotations/all.json").read_text())
        assert found == coco(["1.jpg", "2.png"], [1, 2])


def test_the_larger_box_of_two_coco_files(tmp_path):
    put(tmp_path, ["train/1.jpg", "train/2.jpg"])
    first = coco(["1.jpg", "2.jpg"], [1, 1])
    first["annotations"][1] |= {"area": None, "bbox": [0, 0, 4, 4]}
    second = coco(["1.jpg", "2.jpg"], [2, 2])
    second["annotations"][0]["area"] = 9
    write(tmp_path / "annotations" / "a_train.json", first)
    write(tmp_path / "annotations" / "b_train.json", second)
    assert classes(tmp_path) == {"train/1.jpg": "cat", "train/2.jpg": "dog"}


def test_images_that_are_not_written_leave_the_lists(tmp_path, key):
    root = tmp_path / "clean"
    names = ["1.jpg", "2.jpg", "3.jpg", "3.png"]
    put(root, [f"train/{name}" for name in names])
    (root / "train" / "1.jpg").write_bytes(b"no image")
    file = root / "train" / "_annotations.coco.json"
    write(file, coco([*names, "gone.jpg"], [1, 2, 1, 2, 1]))
    (root / "train" / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": name, "text": name}) + "\n" for name in names)
    )
    chosen = Selection(exclude=("*/3.png",))
    report = protect_dataset(root, tmp_path / "safe", key, profile="veil", selection=chosen)
    assert set(report.failures) == {"train/1.jpg"}
    found = json.loads((tmp_path / "safe/train/_annotations.coco.json").read_text())
    assert [(e["id"], e["file_name"]) for e in found["images"]] == [
        (1, "2.png"), (2, "3.png"), (4, "gone.jpg"),
    ]  # fmt: skip
    assert [a["image_id"] for a in found["annotations"]] == [1, 2, 4]
    lines = (tmp_path / "safe/train/metadata.jsonl").read_text().splitlines()
    assert lines == [
        '{"file_name": "2.png", "text": "2.jpg"}', '{"file_name": "3.png", "text": "3.jpg"}',
    ]  # fmt: skip


def test_json_that_lists_no_images_leaves_a_folder_alone(tmp_path):
    put(tmp_path, ["cat/0.jpg", "dog/1.jpg"])
    write(tmp_path / "a.json", coco(["other.jpg"], [1]))
    write(tmp_path / "b.json", {"images": ["0.jpg"], "annotations": []})
    write(tmp_path / "cat" / "0.json", coco(["0.jpg"], [2]))  # beside one image, about that
    write(tmp_path / "annotations" / "c.json", {"images": [], "annotations": []})
    (tmp_path / "annotations" / "d.json").write_text('{"images": [], "annotations": ')
    (tmp_path / "e.json").symlink_to("nowhere")
    (tmp_path / "metadata.jsonl").write_text('{"text": "about the whole"}\n')
    source = open_source(tmp_path)
    assert source.kind == "folder"
    assert classes(tmp_path) == {"cat/0.jpg": "cat", "dog/1.jpg": "dog"}
    for kind in ("coco", "imagefolder"):
        with pytest.raises(InputError, match="that lists any of its images"):
            open_source(tmp_path, kind)


def test_many_json_files_are_not_read_in_search_of_one(tmp_path, monkeypatch):
    put(tmp_path, ["a/0.jpg", "b/1.jpg"])
    for n in range(101):
        write(tmp_path / "a" / f"about{n}.json", coco(["0.jpg"], [1]))
    monkeypatch.setattr("dsguard.formats.listings.coco.loaded", lambda *_: pytest.fail("was read"))
    assert open_source(tmp_path).kind == "folder"


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": [{"image_id": 0, "category_id": [1], "area": 1}]},
        {"annotations": [{"image_id": 0, "category_id": 1, "area": "x"}]},
        {"annotations": [{"image_id": 0, "category_id": 1, "area": float("nan")}]},
        {"annotations": [{"image_id": 0, "category_id": 1, "area": 10**400}]},
        {"annotations": [{"image_id": {}, "category_id": 1, "area": 1}]},
        {"annotations": [{"category_id": 1, "area": 1}]},
        {"annotations": [7]},
        {"categories": [{"id": 1}]},
        {"categories": {"1": "cat"}},
        {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
        {"images": [{"id": 0, "file_name": "0.jpg"}, {"id": 0, "file_name": "1.jpg"}]},
        {"images": [{"id": 0, "file_name": "0.jpg"}, {"id": 1, "file_name": None}]},
        {"images": [{"id": 0, "file_name": "0.jpg"}, "1.jpg"]},
        {"images": [{"file_name": "0.jpg"}]},
    ],
)
def test_a_coco_file_of_wrong_types_is_one_error(tmp_path, key, change):
    put(tmp_path / "clean", ["0.jpg", "1.jpg"])
    write(tmp_path / "clean" / "all.json", coco(["0.jpg", "1.jpg"], [1, 2]) | change)
    with pytest.raises(InputError, match=r"all.json does not have the layout of COCO: .*folder"):
        protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    folder = open_source(tmp_path / "clean", "folder")
    assert protect_dataset(folder, tmp_path / "safe", key, profile="veil").done == 2


@pytest.mark.parametrize("box", [None, [], ["a", 1, 2], "0,0,9,9"])
def test_boxes_do_not_matter(tmp_path, box):
    put(tmp_path, ["0.jpg", "1.jpg"])
    content = coco(["0.jpg", "1.jpg"], [1, 2])
    for annotation in content["annotations"]:
        annotation |= {"bbox": box, "area": None}
    write(tmp_path / "all.json", content)
    assert classes(tmp_path) == {"0.jpg": "cat", "1.jpg": "dog"}


DEEP = b'{"images": [{"file_name": "0.jpg", "id": 0}], "annotations": ' + b"[" * 100_000
NOT_READ = {
    "deep": DEEP,
    "deep and whole": DEEP + b"]" * 100_000 + b"}",
    "latin-1": json.dumps(coco(["0.jpg"], [1], info="x")).encode().replace(b'"x"', b'"\xe9"'),
    "cut": json.dumps(coco(["0.jpg"], [1])).encode()[:-5],
    "empty": b"",
    "bytes": bytes(range(255, 127, -1)),
}


@pytest.mark.parametrize("name", ["annotations/instances.json", "metadata.jsonl", "0.json"])
@pytest.mark.parametrize("data", NOT_READ.values(), ids=NOT_READ)
def test_what_cannot_be_read_goes_along(tmp_path, key, name, data):
    root = tmp_path / "clean"
    put(root, ["0.jpg", "1.jpg"])
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    assert open_source(root).kind == "folder"
    for folder in there_and_back(root, tmp_path, key, publish=(name,)):
        assert (folder / name).read_bytes() == data


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_coco_in_other_encodings(tmp_path, key, encoding):
    root = tmp_path / "clean"
    put(root, ["ä.jpg", "1.jpg"])
    content = coco(["ä.jpg", "1.jpg"], [1, 2])
    (root / "all.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert set(classes(root).values()) == {"cat", "dog"}
    for folder in there_and_back(root, tmp_path, key):
        found = json.loads((folder / "all.json").read_text(encoding))
        assert found == coco(["ä.png", "1.png"], [1, 2])


def test_half_a_surrogate_pair_in_a_coco_file(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["0.jpg", "1.jpg"])
    write(root / "all.json", coco(["0.jpg", "1.jpg"], [1, 2], info="\ud800"))
    for folder in there_and_back(root, tmp_path, key):
        found = json.loads((folder / "all.json").read_text())
        assert found == coco(["0.png", "1.png"], [1, 2], info="\ud800")


# Hugging Face image folders


def rows_of(folder, split="train"):
    """Load an image folder as its users do; return its rows with pixels instead of images."""
    from datasets import load_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # datasets leaves CSV files open
        found = load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(folder) + ".cache")
        gc.collect()
    rows = [dict(row) for row in found[split]]
    for row in rows:
        for name, value in row.items():
            if isinstance(value, Image.Image):
                row[name] = np.asarray(value)
    return rows


def table(path, rows):
    """Write a table of metadata."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"of": "it"}), path)


@pytest.mark.parametrize("labels", [["cat", "dog"], [7, 30]])
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("folder", ["", "train"])
def test_an_image_folder_loads(tmp_path, key, suffix, labels, folder):
    root = tmp_path / "clean"
    names = [f"{n:04d}.jpg" for n in range(4)]
    made = list(put(root / folder, names).values())
    rows = [
        {"file_name": name, "text": f'picture "{n}", so', "label": labels[n % 2], "n": n}
        for n, name in enumerate(names)
    ]
    table(root / folder / f"metadata.{suffix}", rows)
    source = open_source(root)
    assert source.kind == "imagefolder"
    assert source.left_out() == []
    assert [label for _, label, _ in source.read()] == [str(row["label"]) for row in rows]
    safe, back = there_and_back(root, tmp_path, key)
    for place in (safe, back):
        assert open_source(place).kind == "imagefolder"
        found = rows_of(place)
        assert len(found) == 4
        for n, row in enumerate(found):
            image = row.pop("image")
            assert row == {k: v for k, v in rows[n].items() if k != "file_name"}
            assert (image == made[n]).all() == (place == back)
    first = (safe / folder / f"metadata.{suffix}").read_bytes()
    assert (back / folder / f"metadata.{suffix}").read_bytes() == first  # no name is new
    if suffix == "parquet":
        assert not pq.read_schema(io.BytesIO(first)).metadata, "it could hold a picture"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_image_folder_with_several_images_in_a_row(tmp_path, key, suffix):
    root = tmp_path / "clean"
    names = ["in/0.jpg", "out/0.jpg", "out/0.png", "in/1.bmp", "out/1.jpg"]
    made = put(root, names)
    table(
        root / f"metadata.{suffix}",
        [
            {"input_file_name": "in/0.jpg", "output_file_name": "out/0.jpg",
             "more_file_names": ["out/0.png"], "label": "a"},
            {"input_file_name": "in/1.bmp", "output_file_name": "./out/1.jpg",
             "more_file_names": ["in/1.bmp"], "label": "b"},
        ],
    )  # fmt: skip
    assert classes(root) == dict(zip(names, "aaabb", strict=True))
    for place in there_and_back(root, tmp_path, key):
        first, second = rows_of(place)
        if place.name == "back":
            np.testing.assert_array_equal(first["output"], made["out/0.jpg"])
            np.testing.assert_array_equal(np.asarray(first["more"][0]), made["out/0.png"])
            np.testing.assert_array_equal(second["input"], made["in/1.bmp"])


@pytest.mark.parametrize("main", ["file_name", "image_file_name"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_rows_stay_without_the_masks_that_are_left_out(tmp_path, key, suffix, main):
    put(tmp_path / "clean", ["0.png", "1.png", "2.png", "masks/0.png", "masks/1.png"])
    rows = [
        {main: f"{n}.png", "mask_file_name": f"masks/{n}.png", "caption": f"one {n}"}
        for n in (0, 1)
    ]
    rows.append({main: "2.png", "mask_file_name": None, "caption": "one 2"})
    table(tmp_path / "clean" / f"metadata.{suffix}", rows)
    chosen = Selection(exclude=("masks/*", "1.png"))
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, selection=chosen)
    assert (report.done, report.broken) == (2, 0)
    data = (tmp_path / "out" / f"metadata.{suffix}").read_bytes()
    found = list(imagefolder._rows(f"metadata.{suffix}", data))
    assert [row["caption"] for row in found] == ["one 0", "one 2"]
    assert [row[main] for row in found] == ["0.png", "2.png"]
    assert not any(row["mask_file_name"] for row in found)
    assert b"masks" not in data


def test_labels_of_a_row_without_any_or_with_several(tmp_path):
    put(tmp_path, [f"x/{n}.jpg" for n in range(4)])
    table(
        tmp_path / "metadata.jsonl",
        [
            {"file_name": "x/0.jpg", "label": 3},
            {"file_name": "x/1.jpg", "label": None},
            {"file_name": "x/2.jpg", "label": 4},
            {"file_name": "x/2.jpg", "label": 5},
        ],
    )
    assert list(classes(tmp_path).values()) == ["3", "none", "none", "none"]
    assert open_source(tmp_path).remarks() == ["x/2.jpg has several labels, and gets none of them"]


@pytest.mark.parametrize("label", [{"label": [1, 2]}, {"text": "x"}, {"label": 0.5}])
def test_without_labels_the_class_is_the_folder(tmp_path, label):
    put(tmp_path, ["cat/0.jpg", "dog/1.jpg"])
    rows = [{"file_name": name, **label} for name in ("cat/0.jpg", "dog/1.jpg")]
    table(tmp_path / "metadata.jsonl", rows)
    assert open_source(tmp_path).kind == "imagefolder"
    assert classes(tmp_path) == {"cat/0.jpg": "cat", "dog/1.jpg": "dog"}


def test_class_names_of_a_parquet_table(tmp_path):
    put(tmp_path, ["0.jpg", "1.jpg"])
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    made = pa.table({"file_name": ["0.jpg", "1.jpg"], "label": [1, 0]})
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(made.replace_schema_metadata(told), tmp_path / "metadata.parquet")
    assert classes(tmp_path) == {"0.jpg": "dog", "1.jpg": "cat"}


def test_parquet_files_beside_images_that_are_no_metadata(tmp_path):
    put(tmp_path, ["0.jpg"])
    pq.write_table(pa.table({"file_name": ["0.jpg"]}), tmp_path / "metadata.parquet")
    assert open_source(tmp_path, "folder").left_out() == ["metadata.parquet"]
    pq.write_table(pa.table({"file_name": ["0.jpg"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="several kinds of datasets: parquet, folder"):
        open_source(tmp_path)


def test_a_csv_table_keeps_what_is_not_a_name(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["0.jpg", "1.jpg"])
    text = '\ufefffile_name,label,x,x\r\n0.jpg,"a,b",0.jpg,01\r\n1.jpg,c,,1.50\r\n'
    (root / "metadata.csv").write_bytes(text.encode())
    assert classes(root) == {"0.jpg": "a,b", "1.jpg": "c"}
    for folder in there_and_back(root, tmp_path, key):
        found = (folder / "metadata.csv").read_bytes().decode()
        assert found == text.replace("\n0.jpg", "\n0.png").replace("\n1.jpg", "\n1.png")


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
@pytest.mark.parametrize("kind", ["coco", "jsonl", "csv", "parquet"])
def test_shards_have_what_is_told_of_each_image(tmp_path, key, kind, out_format):
    root = tmp_path / "clean"
    names = ["0.jpg", "1.jpg"]
    put(root, names)
    if kind == "coco":
        write(root / "all.json", coco(names, [1, 2]))
    else:
        rows = [{"file_name": n, "label": c, "text": "so"} for n, c in zip(names, ("cat", "dog"))]  # noqa: B905
        table(root / f"metadata.{kind}", rows)
    (root / "README.md").write_text("about it")
    safe = tmp_path / "safe"
    report = protect_dataset(root, safe, key, profile="veil", out_format=out_format)
    assert report.done == 2
    assert sorted(path.name for path in safe.iterdir()) == [
        {"webdataset": "00000.tar", "parquet": "00000.parquet"}[out_format], "README.md",
        "sealed-files.dsguard",
    ]  # fmt: skip
    fields = []
    for part in open_source(safe).parts(10):
        for rows in open_source(safe).rows(part):
            fields += [json.loads(rows.extras(row)["json"]) for row in range(2)]
            assert rows.classes == ["cat", "dog"]
    if kind == "coco":
        assert fields[1]["annotations"] == coco(names, [1, 2])["annotations"][1:]
        assert fields[1]["categories"] == CATEGORIES[1:]
        assert "file_name" not in fields[1]
    else:
        assert fields == [{"label": name, "text": "so"} for name in ("cat", "dog")]
    assert restore_dataset(safe, tmp_path / "back", key, out_format="folder").done == 2


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_shards_have_all_rows_about_an_image(tmp_path, suffix, out_format):
    root, key = tmp_path / "clean", DatasetKey(bytes(range(32)))
    put(root, ["0.jpg", "1.jpg"])
    rows = [{"file_name": f"{n % 2}.jpg", "caption": f"caption {n} of it"} for n in range(5)]
    table(root / f"metadata.{suffix}", rows)
    protect_dataset(root, tmp_path / "safe", key, out_format=out_format)
    source = open_source(tmp_path / "safe")
    (found,) = [rows for part in source.parts(10) for rows in source.rows(part)]
    told = [json.loads(found.extras(row)["json"]) for row in range(2)]
    assert told == [[{"caption": f"caption {n} of it"} for n in ns] for ns in ((0, 2, 4), (1, 3))]
    report = verify_dataset(tmp_path / "safe", key, against=root)
    assert (report.compared, report.different) == ("contents", {})


def test_shards_have_rows_about_images_that_are_chosen(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["0.jpg", "1.jpg", "m/0.jpg", "m/1.jpg"])
    rows = [
        {"file_name": f"{n}.jpg", "mask_file_name": f"m/{n}.jpg", "caption": f"it is {n}"}
        for n in range(2)
    ]
    table(root / "metadata.jsonl", rows)
    first, second = {"caption": "it is 0"}, {"caption": "it is 1"}
    pair = [second | {"mask_file_name": "m/1.jpg"}, second | {"file_name": "1.jpg"}]
    for exclude, told in (("m/*", [first, second]), ("0.jpg", [pair[0], None, pair[1]])):
        source = open_source(root)
        wanted = Selection(exclude=(exclude,)).names(source)
        (part,) = source.with_fields(source.parts(10, wanted))
        assert [json.loads(own or b"null") for own in part.fields] == told


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("jsonl", '{"file_name": "0.jpg", "a": 1}\n{"file_name": "gone.jpg", "a": 2}\n'),
        ("csv", "file_name,a,a\n0.jpg,1,2\n"),
        ("csv", "file_name,a\n0.jpg,1,2\n"),
    ],
)
def test_a_table_that_tells_more_lies_beside_shards(tmp_path, suffix, text, out_format):
    root, key = tmp_path / "clean", DatasetKey(bytes(range(32)))
    put(root, ["0.jpg"])
    (root / f"metadata.{suffix}").write_text(text)
    protect_dataset(root, tmp_path / "safe", key, out_format=out_format)
    report = verify_dataset(tmp_path / "safe", key, against=root)
    assert (report.compared, report.different) == ("contents", {})
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert (tmp_path / "back" / f"metadata.{suffix}").read_text() == text


def test_a_table_of_parquet_that_tells_more_is_named(tmp_path):
    root, key = tmp_path / "clean", DatasetKey(bytes(range(32)))
    put(root, ["0.jpg"])
    table(root / "metadata.parquet", [{"file_name": f"{n}.jpg", "a": n} for n in range(2)])
    report = protect_dataset(root, tmp_path / "safe", key, out_format="parquet")
    assert list(report.left_out) == ["metadata.parquet"]
    report = verify_dataset(tmp_path / "safe", key, against=root)
    assert list(report.different) == ["metadata.parquet"]


def test_a_table_that_is_damaged_further_on(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["0.jpg", "1.jpg"])
    (root / "metadata.jsonl").write_text('{"file_name": "0.jpg"}\n{"file_name": \n')
    with pytest.raises(InputError, match=r"metadata\.jsonl cannot be read as a table"):
        protect_dataset(root, tmp_path / "safe", key, profile="veil")


@pytest.mark.parametrize("packed", ["zip", "tar"])
@pytest.mark.parametrize("kind", ["coco", "imagefolder"])
def test_archives_are_read_alike(tmp_path, key, packed, kind):
    root = tmp_path / "clean"
    put(root, ["train/0.jpg", "train/1.jpg"])
    if kind == "coco":
        write(root / "train" / "_annotations.coco.json", coco(["0.jpg", "1.jpg"], [1, 2]))
    else:
        rows = [{"file_name": "0.jpg", "label": "cat"}, {"file_name": "1.jpg", "label": "dog"}]
        table(root / "train" / "metadata.parquet", rows)
    archive = shutil.make_archive(str(tmp_path / "packed"), packed, root)
    assert (zipfile.is_zipfile if packed == "zip" else tarfile.is_tarfile)(archive)
    assert [label for _, label, _ in open_source(archive).read()] == ["cat", "dog"]
    safe, _ = there_and_back(archive, tmp_path, key)
    if kind == "coco":
        found = json.loads((safe / "train" / "_annotations.coco.json").read_text())
        assert found == coco(["0.png", "1.png"], [1, 2])
    else:
        assert pq.read_table(safe / "train/metadata.parquet").to_pylist() == [
            {"file_name": "0.png", "label": "cat"}, {"file_name": "1.png", "label": "dog"},
        ]  # fmt: skip


# What lies beside single images


@pytest.mark.parametrize(
    ("file", "given", "new"),
    [
        ("a/0.json", "0.jpg", "0.png"),
        ("a/0.json", "..\\a\\0.jpg", "..\\a\\0.png"),
        ("labels/0.json", "../a/0.jpg", "../a/0.png"),
        ("a/1.json", "1.jpg", "1.jpg.png"),
        ("a/1.json", "1.png", "1.png"),
        ("a/1.json", "7.jpg", "7.jpg"),
    ],
)
def test_labelme(tmp_path, key, file, given, new):
    root = tmp_path / "clean"
    put(root, ["a/0.jpg", "a/1.jpg", "a/1.png", "b/0.jpg", "b/2.jpg"])
    content = {"version": "5", "shapes": [{"label": "é"}], "imagePath": given, "imageData": None}
    write(root / file, content)
    for folder in there_and_back(root, tmp_path, key):
        assert json.loads((folder / file).read_text()) == content | {"imagePath": new}


def test_pascal_voc(tmp_path, key):
    root = tmp_path / "clean"
    put(root, ["JPEGImages/0 & 1.jpg", "JPEGImages/2.jpg", "Masks/2.png"])
    (root / "Annotations").mkdir()
    for name in ("0 &amp; 1.jpg", "2.jpg"):
        text = f"<annotation>\n <filename>{name}</filename><object><name>é</name></object>"
        (root / "Annotations" / f"{name[0]}.xml").write_text(text + "</annotation>")
    for folder in there_and_back(root, tmp_path, key):
        for name in ("0 &amp; 1.png", "2.png"):
            text = (folder / "Annotations" / f"{name[0]}.xml").read_text()
            assert f"\n <filename>{name}</filename><object><name>é<" in text


def test_remarks_are_printed(tmp_path, key, monkeypatch, capsys):
    from dsguard.cli.commands import run

    put(tmp_path / "clean", ["a/1.jpg", "b/1.jpg"])
    write(tmp_path / "clean" / "all.json", coco(["1.jpg"], [1]))
    key.save(tmp_path / "key")
    arguments = ["protect", tmp_path / "clean", tmp_path / "safe", "--key", tmp_path / "key"]
    run([*map(str, arguments), "--profile", "veil"])
    assert "names in all.json that could mean several images: 1" in capsys.readouterr().err
    assert verify_dataset(tmp_path / "safe", key).done == 2


def test_a_csv_table_with_a_long_cell(tmp_path):
    put(tmp_path, ["0.jpg", "1.jpg"])
    rows = [{"file_name": f"{n}.jpg", "label": n, "text": "x" * 200_000} for n in range(2)]
    table(tmp_path / "metadata.csv", rows)
    limit = csv.field_size_limit()
    assert classes(tmp_path) == {"0.jpg": "0", "1.jpg": "1"}
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.binary(3), pa.list_(pa.struct([("bytes", pa.large_binary())])),
     pa.map_(pa.string(), pa.binary())],
    ids=str,
)  # fmt: skip
def test_a_parquet_table_goes_along_without_its_bytes(tmp_path, key, kind):
    """They could be the clean images."""
    root = tmp_path / "clean"
    put(root, ["a/0.jpg", "b/1.jpg"])
    given = {"file_name": ["1.jpg"], "thumbnail": pa.array([None], kind)}
    pq.write_table(pa.table(given), root / "b" / "metadata.parquet")
    table(root / "a" / "metadata.jsonl", [{"file_name": "0.jpg"}])
    report = protect_dataset(root, tmp_path / "safe", key, profile="veil")
    assert (report.done, report.failed) == (2, 0)
    assert report.left_out["thumbnail"].first == "b/metadata.parquet/thumbnail"
    found = pq.read_table(tmp_path / "safe" / "b" / "metadata.parquet")
    assert found.to_pylist() == [{"file_name": "1.png"}]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_table_of_which_nothing_is_written(tmp_path, key, suffix):
    root = tmp_path / "clean"
    put(root, ["a/0.jpg", "b/1.jpg", "b/2.jpg"])
    table(root / "a" / f"metadata.{suffix}", [{"file_name": "0.jpg", "label": "x"}])
    chosen = Selection(include=("b/*",))
    report = protect_dataset(root, tmp_path / "safe", key, profile="veil", selection=chosen)
    assert (report.done, report.failed) == (2, 0)
    data = (tmp_path / "safe" / "a" / f"metadata.{suffix}").read_bytes()
    if suffix == "parquet":
        assert pq.read_table(io.BytesIO(data)).to_pylist() == []
    else:
        assert data == {"csv": b"file_name,label\n", "jsonl": b""}[suffix].replace(b"\n", b"\r\n")


@pytest.mark.parametrize("out_format", ["folder", "parquet", "webdataset"])
def test_labels_that_are_no_text_in_a_table_are_written_as_their_code(tmp_path, key, out_format):
    root = tmp_path / "in"
    put(root, ["0.jpg", "1.jpg"])
    labels = {"0.jpg": "\ud800", "1.jpg": "a"}
    lines = [json.dumps({"file_name": name, "label": label}) for name, label in labels.items()]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    safe, _ = there_and_back(root, tmp_path, key, out_format=out_format)
    if out_format == "parquet":
        assert set(classes(safe).values()) == {"\\ud800", "a"}


class Counted(frozenset):
    """A set that counts how often something is looked for in it."""

    looks = 0

    def __contains__(self, item):
        self.looks += 1
        return super().__contains__(item)


@pytest.mark.parametrize("text", [".\\{}.png", "..\\..\\{}.png", "{}.png", "./{}.png"])
def test_names_are_looked_for_in_few_folders(text, monkeypatch):
    normalised, normpath = [], posixpath.normpath
    monkeypatch.setattr(
        posixpath, "normpath", lambda path: normalised.append(path) or normpath(path)
    )
    index = ImageIndex(["x/0.png", "a/a/1.png"])
    index.names = Counted(index.names)
    texts = [text.format(n) for n in range(10, 110)]
    assert not locate(texts, "a/" * 127 + "annotations/i.json", index).images
    assert len(normalised) <= 2 * len(texts)
    assert index.names.looks <= 40 * len(texts)


def test_names_in_very_many_folders_are_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "_MOST_SEARCHES", 100)
    names = [f"{n}/train/x/{n}.png" for n in range(20)]
    put(tmp_path / "clean", names)
    write(tmp_path / "clean" / "train.json", coco(["none.png"] * 4 + names[:1], [1] * 5))
    assert open_source(tmp_path / "clean").kind == "coco"
    write(tmp_path / "clean" / "train.json", coco([f"{n}.jpg" for n in range(6)], [1] * 6))
    with pytest.raises(InputError, match=r"train\.json lists 6 names, too many .*in-format"):
        open_source(tmp_path / "clean")


ALIKE = [n * ((1 << 61) - 1) for n in range(1, 9)]
"""Numbers of one hash."""


def are_apart(keys) -> bool:
    return len(set(map(hash, keys))) == len(keys) == len(ALIKE)


def test_ids_of_one_hash_are_found_apart():
    names = [f"{n}.png" for n in range(8)]
    entries = [{"id": key, "file_name": name} for key, name in zip(ALIKE, names, strict=True)]
    assert are_apart(_by_id(entries, "file_name"))
    assert are_apart(_Entries([{"id": key} for key in ALIKE])._of)
    walk = Walk(Account(Disclosure()), NamedImages(names), Allowance(), by_image=True)
    walk.pruned({"images": entries}, "i.json")
    assert are_apart(walk._ids)


@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
def test_very_large_ids(tmp_path, key, out_format):
    names = [f"{n}.png" for n in range(8)]
    put(tmp_path / "clean", names)
    content = coco(names, [n % 2 + 1 for n in range(8)])
    for own in (content["images"], content["annotations"]):
        for each in own:
            place = "id" if "file_name" in each else "image_id"
            each[place] = ALIKE[each[place]]
    content["categories"] = [
        {"id": ALIKE[n], "name": name} for n, name in enumerate(["cat", "dog"])
    ]
    for each in content["annotations"]:
        each["category_id"] = ALIKE[each["category_id"] - 1]
    write(tmp_path / "clean" / "i.json", content)
    wanted = [["cat", "dog"][n % 2] for n in range(8)]
    assert list(classes(tmp_path / "clean").values()) == wanted
    protect_dataset(
        tmp_path / "clean", tmp_path / "out", key, profile="veil", out_format=out_format
    )
    assert list(classes(tmp_path / "out").values()) == wanted
