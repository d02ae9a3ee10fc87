"""Blurred pictures of web pages and perceptual hashes are pictures, whatever they are called."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import protect_dataset
from dsguard.formats import encode_image
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.review import Review
from dsguard.formats.small_pictures import has_blurhash, has_picture_field, is_called_picture

HASHES = (  # of the documentation, and of the tests, of their makers
    "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    "LGF5]+Yk^6#M@-5c,1J5@[or[Q6.",
    "L6PZfSi_.AyE_3t7t7R**0o#DgR4",
    "LKN]Rv%2Tw=w]~RBVZRi};RPxuwH",
    "UBL_:rOpGG-oBUNG,qRj2so|=eE1w^n4S5NH",
)
THUMB = [17, 200, 33] * 8 + [5]


@pytest.fixture
def review():
    return Review(Disclosure())


@pytest.mark.parametrize("text", HASHES)
@pytest.mark.parametrize(
    "around",
    ["{}", "hash {}", '"{}"', "a.jpg\t{}\tcat", "<b>{}</b>", "x: {}", "x={}", "[{}]", "{}."],
)
def test_a_hash_is_known_by_its_form(text, around):
    assert has_blurhash(around.format(text))


def test_a_hash_is_known_among_cells():
    assert has_blurhash(f"a.jpg,{HASHES[0]},7")
    assert has_blurhash(f'a.jpg,"{HASHES[1]}",7')


@pytest.mark.parametrize("text", [
    "IMG_20190704_153000_HDR.jpg", "MyDogPhotoFromTheBeach2020.jpg", "A+ and C#: 3 of 4",
    "Dog,12,34,cat,0.5,image.jpg", "Date=2019-07-04T15:30:00", "Ann.Example+tag@example.org",
    "https://images.example.org/photo/L6PZfSi/raw?size=3", "Labels[0]", "Cells{1,2,3}", "Box(3,4)",
    "L" + "a1" * 13, HASHES[0][:-1], HASHES[0] + "x",
])  # fmt: skip
def test_other_texts_are_no_hash(text):
    assert not has_blurhash(text)


@pytest.mark.parametrize("name", [
    "blurhash", "blur_hash", "xyz.amorgan.blurhash", "image_blurhash", "BlurHash", "thumb-hash",
    "thumbhash", "lqip",
])  # fmt: skip
def test_names(name):
    assert is_called_picture(name)
    assert has_picture_field(f"file_name,{name}\na.jpg,1\n")
    assert has_picture_field(f"likes: 7\n{name}: 12\n")
    assert has_picture_field(f"caption: \u0130stanbul\n{name}: 12\n")
    assert not has_picture_field(f"We have no {name} here.")
    assert not is_called_picture("hash of a blurred face")


@pytest.mark.parametrize("name", [
    "p.yaml", "p.xml", "p.txt", "p.csv", "p.md", "p.json", "p.jsonl", "thumbhash.txt",
])  # fmt: skip
def test_texts(review, name):
    texts = {
        "yaml": f'photographer: ann\nshown: "{HASHES[0]}"\n',
        "xml": f"<photo><shown>{HASHES[1]}</shown></photo>\n",
        "csv": f'name,shown\np.jpg,"{HASHES[1]}"\n',
        "json": json.dumps({"placeholder": HASHES[3]}),
        "jsonl": json.dumps({"placeholder": HASHES[4]}) + "\n",
    }
    text = "1 2 3\n" if name == "thumbhash.txt" else texts.get(name.partition(".")[2], HASHES[2])
    kept = review.file(name, text.encode())
    assert kept is None or b"null" in kept
    assert review.account.left_out


@pytest.mark.parametrize("value", [
    {"thumbhash": THUMB}, {"thumbhash": {"type": "Buffer", "data": THUMB}},
    {"blurhash": {"hash": "abc", "width": 4}}, {"lqip": 123456}, {"a": [{"image_blurhash": "abc"}]},
])  # fmt: skip
def test_values_under_such_a_key(review, value):
    kept = review.file("p.json", json.dumps({**value, "likes": 7, "blurhash_done": True}).encode())
    found = json.loads(kept)
    assert found["likes"] == 7
    assert found["blurhash_done"] is True
    assert "abc" not in str(found)
    assert "200" not in str(found)
    assert "123456" not in str(found)


def test_columns_and_arrays(tmp_path, scenes, key, review):
    source = tmp_path / "shards"
    source.mkdir()
    images = [{"bytes": encode_image(scene), "path": f"{n}.png"} for n, scene in enumerate(scenes)]
    columns = {
        "image": images,
        "thumbhash": pa.array([THUMB] * len(images), pa.list_(pa.uint8())),
        "shown": [HASHES[n % 5] for n in range(len(images))],
        "likes": list(range(len(images))),
    }
    pq.write_table(pa.table(columns), source / "a.parquet")
    protect_dataset(source, tmp_path / "out", key)
    published = pq.read_table(next((tmp_path / "out").rglob("*.parquet"))).to_pylist()
    assert not any(row.get("thumbhash") or row.get("shown") for row in published)
    assert [row["likes"] for row in published] == list(range(len(images)))
    array = np.array([THUMB] * 300, np.uint8)
    assert not review.array("a.npz", "thumbhash", array, {300})
    assert review.array("a.npz", "features", array, {300})


DIGEST = "ffd8c4a09080f0e1"


@pytest.mark.parametrize("name", [
    "ahash", "a_hash", "phash", "p-hash", "pHash", "PHASH", "dhash", "whash", "average_hash",
    "averageHash", "perceptual_hash", "perceptual hash", "perceptualHash", "difference_hash",
    "wavelet_hash", "image_hash", "imagehash", "imageHash", "img_hash", "colorhash", "color_hash",
    "x_phash", "image.phash", "imagePHash", "ahash8", "phash_16", "phash_hex", "dhashes",
    "crop_resistant_hash", "pHashHex", "pdqhash", "imagehash.phash",
])  # fmt: skip
def test_perceptual_hashes_are_known_by_their_names(review, name):
    assert is_called_picture(name)
    for value in (DIGEST, int(DIGEST, 16), [DIGEST], {"hash": DIGEST}):
        kept = review.file("p.json", json.dumps({name: value, "likes": 7}).encode())
        assert json.loads(kept) == {name: None, "likes": 7}
    for text in (
        f"file,{name}\na.jpg,{DIGEST}\n", f"{name},file\n{DIGEST},a.jpg\n", f"{name}\n{DIGEST}\n",
        f"likes: 7\n{name}: {DIGEST}\n", f'<p {name}="{DIGEST}"/>\n',
        f"file\t{name}\na\t{DIGEST}\n",
    ):  # fmt: skip
        assert review.file("p.txt", text.encode()) is None
    assert not review.array("a.npz", name, np.zeros(300, np.uint64), {300})


@pytest.mark.parametrize("name", [
    "md5", "sha256", "hash", "file_hash", "data_hash", "metahash", "commit_hash", "hashtag",
    "phash_distance", "ahash_similarity", "phash_threshold", "rehash", "content_hash", "pixel_hash",
    "pHashDistance", "PHASHTAG", "p_hashtags", "image_hashtag", "whashing",
])  # fmt: skip
def test_other_hashes_go_along(review, name):
    text = json.dumps({name: DIGEST}).encode()
    assert review.file("p.json", text) == text
    table = f"file,{name}\na.jpg,{DIGEST}\n".encode()
    assert review.file("p.csv", table) == table


def test_prose_on_hashes_goes_along(review):
    text = b"Duplicates were removed by pHash, dHash and a hash: see image hash, of 2019.\n"
    assert review.file("README.txt", text) == text
    assert review.file("phash.txt", DIGEST.encode()) is None
