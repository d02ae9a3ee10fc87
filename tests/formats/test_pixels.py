"""Tiny pictures in colour are written as numbers in many ways; boxes are numbers as well."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import protect_dataset
from dsguard.formats import encode_image
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.pixels import is_pixel, pixels_in_words
from dsguard.formats.review import Review


@pytest.fixture
def review():
    return Review(Disclosure(), ["p.jpg"])


CODE = "#{:02x}{:02x}{:02x}"


def thumbnail(side: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    planes = [60 + (n + 5) * x + (9 - n) * y + 29 * n for n in range(channels)]
    return np.stack(planes, axis=2)


def told(side: int) -> dict[str, str]:
    """Return a thumbnail in ways that are found beside images, by the end of the file's name."""
    whole = thumbnail(side)
    pixels = whole.reshape(-1, 3).tolist()
    opaque = np.dstack([whole, np.full((side, side), 255)])
    places = [(x, y, *whole[y, x].tolist()) for y in range(side) for x in range(side)]
    return {
        "nested.json": json.dumps({"thumb": whole.tolist()}),
        "opaque.json": json.dumps({"thumb": opaque.tolist()}),
        "flat.json": json.dumps({"thumb": pixels}),
        "shares.json": json.dumps({"thumb": (whole / 255).tolist()}),
        "float.json": json.dumps({"thumb": whole.astype(float).tolist()}),
        "objects.json": json.dumps({"thumb": [dict(zip("rgb", p, strict=True)) for p in pixels]}),
        "placed.json": json.dumps({"thumb": [dict(zip("xyrgb", p, strict=True)) for p in places]}),
        "hex.json": json.dumps({"palette": [CODE.format(*each) for each in pixels]}),
        "css.json": json.dumps({"palette": ["rgb({}, {}, {})".format(*each) for each in pixels]}),
        "yaml": "thumb:\n" + "".join(f"  - {each}\n" for each in pixels),
        "nested.yaml": "thumb:\n" + "".join(
            "- - " + "\n  - ".join(map(str, row)) + "\n" for row in whole.tolist()
        ),
        "txt": "".join("{} {} {}\n".format(*each) for each in pixels),
        "shares.txt": "".join("{} {} {}\n".format(*each) for each in (whole / 255).reshape(-1, 3)),
        "hex.txt": "".join("#{:02x}{:02x}{:02x}\n".format(*each) for each in pixels),
        "css.txt": "".join("rgb({}, {}, {})\n".format(*each) for each in pixels),
        "xml": "".join('<p r="{}" g="{}" b="{}"/>\n'.format(*each) for each in pixels),
        "csv": "x,y,r,g,b\n" + "".join("{},{},{},{},{}\n".format(*each) for each in places),
        "index.csv": ",x,y,r,g,b\n" + "".join(
            "{},{},{},{},{},{}\n".format(n, *each) for n, each in enumerate(places)
        ),
        "gray.csv": "x,y,value\n" + "".join("{},{},{}\n".format(*each) for each in places),
    }  # fmt: skip


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("kind", list(told(1)))
def test_tiny_pictures_are_held_back(review, side, kind):
    """Beside their image, and where they are of none."""
    for name in (f"p.{kind}", f"other.{kind}"):
        kept = review.file(name, told(side)[kind].encode())
        assert kept is None or json.loads(kept) in ({"thumb": None}, {"palette": None})
    assert review.account.left_out


@pytest.mark.parametrize("kind", list(told(1)))
def test_a_few_colours_go_along(review, kind):
    for name in (f"p.{kind}", f"other.{kind}"):
        assert review.file(name, told(5)[kind].encode()) == told(5)[kind].encode()


def test_in_metadata_and_columns(tmp_path, scenes, key):
    thumbs = [thumbnail(8).tolist()] * len(scenes)
    images = [{"bytes": encode_image(scene), "path": f"{n}x.png"} for n, scene in enumerate(scenes)]
    (tmp_path / "photos").mkdir()
    for image in images:
        (tmp_path / "photos" / image["path"]).write_bytes(image["bytes"])
    lines = [
        json.dumps({"file_name": image["path"], "likes": 7, "thumb": thumbs[0]}) for image in images
    ]
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    protect_dataset(tmp_path / "photos", tmp_path / "safe", key)
    published = [*(tmp_path / "safe").glob("metadata.*")]
    assert not any(json.dumps(thumbs[0])[1:-1] in each.read_text() for each in published)
    (tmp_path / "table").mkdir()
    nested = pa.array(thumbs, pa.list_(pa.list_(pa.list_(pa.uint8()))))
    pq.write_table(pa.table({"image": images, "thumb": nested}), tmp_path / "table" / "a.parquet")
    protect_dataset(tmp_path / "table", tmp_path / "columns", key)
    table = pq.read_table(next((tmp_path / "columns").rglob("*.parquet")))
    assert not any(row.get("thumb") for row in table.to_pylist())


def boxes(count: int, width: int, height: int) -> list[list[int]]:
    """Return boxes of whole numbers in an image of such a size."""
    rng = np.random.default_rng(3)
    places = rng.integers(0, (width - 40, height - 40), (count, 2))
    return np.hstack([places, rng.integers(8, 40, (count, 2))]).tolist()


def annotated(width: int, height: int) -> dict[str, str]:
    """Return 100 small boxes as tools write them."""
    found = boxes(100, width, height)
    corners = [(x, y, x + w, y + h) for x, y, w, h in found]
    coco = [
        {"id": n, "image_id": 1, "category_id": 3, "bbox": box, "area": box[2] * box[3],
         "iscrowd": 0}
        for n, box in enumerate(found)
    ]  # fmt: skip
    shapes = [
        {"label": "cell", "points": [[a, b], [c, d]], "group_id": None, "shape_type": "rectangle"}
        for a, b, c, d in corners
    ]
    voc = "".join(
        f"<object>\n<name>cell</name>\n<bndbox>\n<xmin>{a}</xmin>\n<ymin>{b}</ymin>\n"
        f"<xmax>{c}</xmax>\n<ymax>{d}</ymax>\n</bndbox>\n</object>\n"
        for a, b, c, d in corners[:60]  # the lines of more are too many
    )
    cvat = "".join(
        f'<box label="cell" xtl="{a}.00" ytl="{b}.00" xbr="{c}.00" ybr="{d}.00"/>\n'
        for a, b, c, d in corners
    )
    sides = [dict(zip(("x", "y", "width", "height"), box, strict=True)) for box in found]
    return {
        "coco.json": json.dumps({"images": [{"id": 1, "file_name": "p.jpg"}], "annotations": coco}),
        "json": json.dumps({"imagePath": "p.jpg", "shapes": shapes}),
        "sides.json": json.dumps({"objects": sides}),
        "txt": "".join(
            f"0 {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} "
            f"{w / width:.6f} {h / height:.6f}\n"
            for x, y, w, h in found
        ),
        "xml": f"<annotation>\n<filename>p.jpg</filename>\n{voc}</annotation>\n",
        "cvat.xml": cvat,
        "csv": "x1,y1,x2,y2,label\n" + "".join("{},{},{},{},cell\n".format(*c) for c in corners),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(annotated(640, 480)))
def test_many_small_boxes_go_along(review, kind):
    text = annotated(640, 480)[kind].encode()
    assert review.file(f"p.{kind}", text) == text


@pytest.mark.parametrize("kind", ["coco.json", "json", "sides.json", "txt", "xml"])
def test_in_small_images_their_names_tell_boxes(review, kind):
    text = annotated(256, 256)[kind].encode()
    assert review.file(f"p.{kind}", text) == text


def test_kitti_and_tables_of_labels_go_along(review):
    line = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
    classes = "".join(f"n{1440764 + 8 * n:08d} {n} {'abcdefgh'[n % 8]}fish\n" for n in range(50))
    for name, text in (("p.txt", line * 4), ("classes.txt", classes)):
        assert review.file(name, text.encode()) == text.encode()


@pytest.mark.parametrize(("numbers", "found"), [
    ([255, 0, 17], True), ([0.5, -0.25, 1.0], True), ([300, 1, 2], False), ([1, 2], False),
    ([12, 13, 14, 255], True), ([12.5, 13, 14, 255], False), ([1, 1, 9, 9, 9], True),
    ([-1, 13, 14, 25], False), ([1, None, 3], False), ([1] * 8, False), ([1, 2, "3"], False),
    ([float("nan")] * 4, False), ([float("inf")] * 4, False),
])  # fmt: skip
def test_pixels(numbers, found):
    assert is_pixel(numbers) is found


@pytest.mark.parametrize(("line", "count"), [
    ("#ff8000", 1), ("#fff #000", 2), ("issue #12", 0), ("0xff8000", 1), ("rgb 1 2 3", 1),
    ("12% 13% 14%", 1), ("2019-07-04 1 2", 0), ("1e999 2 3", 0), ("- + .", 0), ("1 2 3 400", 0),
])  # fmt: skip
def test_pixels_of_a_line(line, count):
    assert pixels_in_words(line.split()) == count
