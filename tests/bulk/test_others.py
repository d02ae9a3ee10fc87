"""Where images are chosen, no text tells of the others: neither published nor sealed."""

from __future__ import annotations

import json

import pytest

import dsguard
from dsguard.bulk import Selection, protect_dataset
from dsguard.cli import task
from dsguard.cli.commands import Exit, run
from dsguard.formats.disclosure import NOT_CHOSEN
from dsguard.formats.others import Others
from tests.bulk.folders import files_in
from tests.bulk.test_sealed_fields import jpeg, tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
NOT_PRIVATE = Selection(exclude=("*private*",))
NAMES = ["pub/0.png", "pub/1.png", "private/0.png", "private/p 2.png", "private/Ä3.png"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image,who\nprivate/0.png,Smith\n", True),
        ("image,who\npub/0.png,Bob\n", False),
        ("image,who\n0.png,Smith\n", True),  # which of the two, it does not say
        ("id,who\n1,Bob\n", False),
        ('{"private\\/0.png": "Smith"}', True),
        ('{"priv\\u0061te/0": {"who": "Smith"}}', True),
        ('{"a": ["see private\\\\0.jpg"]}', True),
        ("- /home/x/private/p 2.png: Smith", True),
        ("1. p 2.png 3 Smith", True),
        ("https://example.org/private/p%202.png?size=1", True),
        ("<filename>&#228;3.PNG</filename>", True),
        ("A\u0308" + "3 Smith", True),
        ("pub/p 3.png, p2.png, 10 of 20", False),
        ("a cat, no privacy", False),
        ('[{"file": "private/p 2.png", "a": "b"}, {"file": "pub/1.png", "a": "fine"}]', True),
        ('[{"file": "pub/0.png", "a": "b"}, {"file": "pub/1.png", "a": "fine"}]', False),
        ("private/p 2.png,pub/1.png,a look alike", True),
        ("private/p 2.png pub/1.png", True),
        ("pub/0.png pub/1.png same person", False),
        ("/data/my set/pub/1.png", False),
    ],
)
def test_names_in_texts(text, named):
    assert Others(NAMES, NAMES[:2]).are_named_in(text) == named


def test_names_are_looked_for_from_the_folder_of_a_text_first():
    others = Others(NAMES, NAMES[:2])
    assert not others.are_named_in("0.png,cat", "pub")
    assert others.are_named_in("0.png,cat", "private")
    assert others.are_told_by("labels/private/0.txt", "a cat")
    assert not others.are_told_by("labels/pub/0.txt", "class 2, not 0")


def test_numbers_may_count_for_nothing():
    others = Others(["1.png", "2.png"], ["1.png"])
    assert others.are_named_in('{"id": 2}')
    assert not others.are_named_in('{"id": 2}', numbers=False)
    assert others.are_named_in('{"id": "2.jpg"}', numbers=False)


@pytest.fixture
def photos(tmp_path, scenes):
    for n, scene in enumerate(scenes[:4]):
        path = tmp_path / "clean" / ("private" if n % 2 else "pub") / f"a{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(scene))
    root = tmp_path / "clean"
    (root / "labels").mkdir()
    (root / "all.csv").write_text("image,who\npub/a0.jpg,Bob\nprivate/a1.jpg,Smith\n")
    (root / "keys.json").write_text(json.dumps({"a3": "Smith"}))
    (root / "good.csv").write_text("image,who\npub/a0.jpg,Bob\n")
    (root / "README.md").write_text("Pictures of Bob.\n")
    (root / "pub" / "a0.txt").write_text("Bob beside a1\n")
    (root / "labels" / "a0.txt").write_text("Bob\n")
    (root / "labels" / "a1.txt").write_text("Smith\n")
    (root / "metadata.jsonl").write_text(
        '{"file_name": "pub/a0.jpg", "n": 1}\n{"file_name": "private/a1.jpg", "who": "Smith"}\n'
    )
    return root


TOLD = {"all.csv", "keys.json", "labels/a1.txt"}


@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_a_text_beside_images_that_names_others_stays_behind(tmp_path, photos, keep):
    report = protect_dataset(photos, tmp_path / "out", KEY, keep=keep, selection=NOT_PRIVATE)
    assert {each.reason for each in report.left_out.values()} >= {NOT_CHOSEN}
    published = files_in(tmp_path / "out")
    assert not any(b"Smith" in data for data in published.values())
    assert TOLD.isdisjoint(published)
    assert {"good.csv", "README.md", "pub/a0.txt", "labels/a0.txt", "metadata.jsonl"} < set(
        published
    )


def test_its_owner_may_publish_it(tmp_path, photos):
    report = protect_dataset(
        photos, tmp_path / "out", KEY, selection=NOT_PRIVATE, publish=("all.csv", "keys.json")
    )
    assert {"all.csv", "keys.json"} < set(files_in(tmp_path / "out"))
    assert [each.first for each in report.left_out.values()] == ["labels/a1.txt"]


def test_rows_that_a_table_keeps_are_looked_at(tmp_path, photos):
    with (photos / "metadata.jsonl").open("a") as table:
        table.write('{"image": "private/a3.jpg", "who": "Smith"}\n')
    report = protect_dataset(photos, tmp_path / "out", KEY, selection=NOT_PRIVATE)
    assert report.left_out["*.jsonl"].reason == NOT_CHOSEN
    assert "metadata.jsonl" not in files_in(tmp_path / "out")


def test_a_croissant_document_names_no_others(tmp_path, photos):
    document = {
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "a0",
        "description": "Smith is in a1.",
        "distribution": [],
    }
    (photos / "croissant.json").write_text(json.dumps(document))
    report = protect_dataset(photos, tmp_path / "out", KEY, selection=NOT_PRIVATE)
    told = report.left_out["croissant.json"]
    assert (told.count, told.reason) == (1, NOT_CHOSEN)
    assert "croissant.json" not in files_in(tmp_path / "out")


@pytest.mark.parametrize("out_format", ["webdataset", "folder", "parquet"])
@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_members_of_no_image_that_name_others_stay_behind(tmp_path, scenes, keep, out_format):
    if out_format == "parquet":
        pytest.importorskip("pyarrow")
    for shard in range(2):
        members = [
            (f"pub{shard}.jpg", jpeg(scenes[shard])),
            (f"private{shard}.jpg", jpeg(scenes[2 + shard])),
            (f"all{shard}.csv", b"image,who\nprivate%d.jpg,Smith\n" % (1 - shard)),
            (f"keys{shard}.json", b'{"private0": "Smith"}'),
            (f"notes{shard}.txt", b"Pictures of Bob, pub0 and pub1.\n"),
        ]
        tarred(tmp_path / "shards" / f"{shard}.tar", members)
    report = protect_dataset(
        tmp_path / "shards", tmp_path / "out", KEY, selection=NOT_PRIVATE, keep=keep,
        out_format=out_format, workers=1,
    )  # fmt: skip
    found = {kind: (each.count, each.reason) for kind, each in report.left_out.items()}
    assert found == {"*.csv": (2, NOT_CHOSEN), "*.json": (2, NOT_CHOSEN)}
    published = b"".join(files_in(tmp_path / "out").values())
    assert b"Smith" not in published
    assert published.count(b"Pictures of Bob") == 2


@pytest.mark.parametrize(
    ("more", "is_named"),
    [
        ({"annotations": [{"image_id": 1.0, "who": "Smith"}]}, False),
        ({"annotations": [{"image_id": "1", "who": "Smith"}]}, False),
        ({"captions": [{"image_id": 1, "who": "Smith"}]}, False),
        ({"videos": [{"file_name": "private/a1.jpg", "who": "Smith"}]}, False),
        ({"videos": [{"start": "a1.jpg", "who": "Smith"}]}, True),
        ({"faces": {"a1": "Smith"}}, True),
    ],
)
def test_coco_tells_of_no_other_image_in_any_of_its_lists(tmp_path, photos, more, is_named):
    (photos / "metadata.jsonl").unlink()
    entries = [{"id": 0, "file_name": "pub/a0.jpg"}, {"id": 1, "file_name": "private/a1.jpg"}]
    own = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "x"}]} | more
    content["annotations"] = [own, *content["annotations"]]
    (photos / "coco.json").write_text(json.dumps(content))
    chosen = Selection(exclude=NOT_PRIVATE.exclude)
    protect_dataset(photos, tmp_path / "out", KEY, selection=chosen, drop=tuple(TOLD))
    published = files_in(tmp_path / "out")
    assert ("coco.json" not in published) == is_named
    assert not any(b"Smith" in data for data in published.values())
    assert is_named or b'"bbox": [1, 2, 3, 4]' in published["coco.json"]


@pytest.mark.parametrize(("size", "code"), [(1, Exit.OK), (9, Exit.LEFT_OUT)])
def test_a_sample_is_no_choice(tmp_path, photos, monkeypatch, size, code):
    monkeypatch.setattr(task, "_SAMPLE", size)
    KEY.save(tmp_path / "key")
    (photos / "good.csv").write_text("pub/a0.jpg\npub/a2.jpg\n")
    given = ["--key", str(tmp_path / "key"), "--exclude", "*private*", "--dry-run"]
    assert run(["protect", str(photos), str(tmp_path / "out"), *given]) == code
