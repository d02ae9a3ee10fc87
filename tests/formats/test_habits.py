"""Pictures that lie beside images by habit, and the keys of their owners: none is published."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import textwrap

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.formats import encode_image, open_source
from dsguard.formats.allowance import Allowance, CouldHoldPictureError
from dsguard.formats.number_lists import charge_numbers
from dsguard.formats.places import place_of
from dsguard.formats.strings import check_class

HIDDEN = "an image"


@pytest.fixture
def photos(tmp_path, scenes):
    root = tmp_path / "clean"
    for n, scene in enumerate(scenes):
        path = root / "ab"[n % 2] / f"photo{n}x.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(scene))
    return root


def left_out_of(tmp_path, key, name="out", **options):
    return protect_dataset(
        tmp_path / "clean", tmp_path / name, key, keep="pixels", **options
    ).left_out


def wrapped(data: bytes, width: int = 64) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[n : n + width] for n in range(0, len(text), width)) + "\n"


@pytest.mark.parametrize(
    "url", ["http://me:secret@a:99999/x", "http://me:secret@[a/x", "ftp://me:secret@a:b/x"]
)
def test_what_is_no_address_is_refused_and_shows_no_password(url):
    with pytest.raises(dsguard.InputError, match="is no address") as caught:
        place_of(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", [
    "reference://ds::http://127.0.0.1:9/photos.json",
    "reference::http://127.0.0.1:9/photos.json",
    "simplecache::reference://ds",
    "zip://x::https://127.0.0.1:9/a.zip",
    "github://a:b@/c", "git://x", "dask://x", "jupyter://x", "data://x", "libarchive://x",
    "REFERENCE://ds", "nonsense://x", "dir::file:///etc", "blockcache::dir://x",
])  # fmt: skip
def test_stores_that_do_what_a_file_says_are_refused(url):
    with pytest.raises(dsguard.InputError, match="dsguard does not go to"):
        place_of(url)
    with pytest.raises(dsguard.InputError, match="dsguard does not go to"):
        open_source(url)


@pytest.mark.parametrize("url", [
    "simplecache::file://", "filecache::local://", "blockcache::FILE://",
    "simplecache::filecache::file://",
])  # fmt: skip
def test_a_folder_of_this_machine_is_opened_as_such(tmp_path, photos, key, url):
    """Behind a cache links would be followed wherever they lead."""
    (tmp_path / "out").mkdir()
    for pair in ((f"{url}{photos}", tmp_path / "new"), (photos, f"{url}{tmp_path}/out")):
        with pytest.raises(dsguard.InputError, match="give its path alone"):
            protect_dataset(*pair, key, overwrite=True)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("url", ["memory://a/b", "simplecache::https://127.0.0.1/x", "s3://a/b"])
def test_others_are_gone_to(url):
    assert str(place_of(url)) == url


@pytest.mark.parametrize("name", ["key.txt", "dataset.json", "a/photo0x.txt", "README"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_key_is_never_published(tmp_path, photos, key, name, code):
    key.save(tmp_path / "key")
    text = (tmp_path / "key").read_text()
    (photos / name).write_bytes(text.encode(code))
    for number, publish in enumerate(((), ("*",))):
        out = f"out{number}"
        left_out = left_out_of(tmp_path, key, out, publish=publish)
        assert any("key of a dataset" in each.reason for each in left_out.values())
        assert not (tmp_path / out / name).exists()


def test_nor_is_a_key_in_a_shard(tmp_path, photos, key):
    key.save(tmp_path / "key")
    secret = key.secret.hex().encode()
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        for file in sorted(photos.rglob("*.png")):
            tar.add(file, f"{file.stem}.png")
        tar.add(tmp_path / "key", "dataset.key")
        tar.add(tmp_path / "key", "notes.txt")
        tar.add(tmp_path / "key", "photo0x.txt")
    for kind in ("webdataset", "folder", "parquet"):
        out = tmp_path / kind
        report = protect_dataset(tmp_path / "shards", out, key, out_format=kind)
        assert report.done == 8
        assert report.left_out
        assert not any(secret in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_a_key_in_a_table_is_left_out(tmp_path, key):
    with pytest.raises(CouldHoldPictureError, match="key of a dataset"):
        check_class(f"dsguard-key 1\nsecret: {key.secret.hex()}")


def test_members_of_no_image_are_text(tmp_path, photos, key):
    (tmp_path / "shards").mkdir()
    rows = ['"' + "abcdefgh" * 4 + '"'] * 32
    picture = "/* XPM */\nstatic char *icon[] = {\n" + ",\n".join(rows) + "\n};\n"
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        for file in sorted(photos.rglob("*.png")):
            tar.add(file, f"{file.stem}.png")
        entry = tarfile.TarInfo("icon.xpm")
        entry.size = len(picture)
        tar.addfile(entry, io.BytesIO(picture.encode()))
    report = protect_dataset(tmp_path / "shards", tmp_path / "out", key, keep="pixels")
    assert "*.xpm" in report.left_out
    assert b"XPM" not in (tmp_path / "out" / "a.tar").read_bytes()


def test_thumbnails_in_base64_are_left_out(tmp_path, photos, key, scenes):
    for n, scene in enumerate(scenes[:3]):
        data = io.BytesIO()
        Image.fromarray(scene).resize((40, 26)).save(data, "webp", quality=20)
        (photos / "ab"[n % 2] / f"photo{n}x.txt").write_text(wrapped(data.getvalue()))
    assert left_out_of(tmp_path, key)["*.txt"].count == 3


@pytest.mark.parametrize(
    "text", ["LEHV6nWB2yk8pyo0adR*.7kCMdnj", "UBL_:rOpGG-oBUNG,qRj2so|=eE1w^n4S5NH"]
)
def test_blurred_pictures_in_words_are_left_out(tmp_path, photos, key, text):
    (photos / "a" / "photo0x.json").write_text(json.dumps({"blur_hash": text, "likes": 7}))
    assert "blur_hash" in left_out_of(tmp_path, key)
    assert json.loads((tmp_path / "out" / "a" / "photo0x.json").read_text())["likes"] == 7


@pytest.mark.parametrize("encode", [bytes.hex, lambda data: base64.b32encode(data).decode()])
@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("form", ["txt", "yaml", "json"])
def test_pictures_in_hexadecimal_are_left_out(tmp_path, photos, key, scenes, encode, side, form):
    gray = scenes[0, :: 32 // side, :: 32 // side, 0].tobytes()
    lines = textwrap.wrap(encode(gray), 60)
    texts = {"yaml": "\n".join(["thumb:", *(f"- {each}" for each in lines)])}
    texts |= {"txt": "\n".join(lines), "json": json.dumps({"thumb": lines})}
    (photos / "a" / f"photo0x.{form}").write_text(texts[form])
    assert left_out_of(tmp_path, key)


def test_digests_go_along(tmp_path, photos, key):
    for n, path in enumerate(sorted(photos.rglob("*.png"))):
        data = bytes([n])
        told = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps({**told, "likes": n}))
    assert not left_out_of(tmp_path, key)


@pytest.mark.parametrize("text", [
    "IMG_20190704_153000_HDR.jpg", "MyDogPhotoFromTheBeach2020.jpg",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "d41d8cd98f00b204e9800998ecf8427e",
    "https://images.example.org/photo/LEHV6nWB2yk8pyo0adR7kCMdnj/raw", "n01440764_10026.JPEG",
    "a photograph of McDonald's new self-service terminals (2019)",
])  # fmt: skip
def test_names_hashes_and_sentences_go_along(tmp_path, photos, key, text):
    (photos / "a" / "photo0x.json").write_text(json.dumps({"text": text}))
    assert not left_out_of(tmp_path, key)


def maps(scene: np.ndarray) -> np.ndarray:
    words = np.array(["water", "shade", "wall", "leaf", "sky"])
    return words[scene[..., 0] // 52]


def test_pictures_in_words_are_left_out(tmp_path, photos, key, scenes):
    rows = maps(scenes[0]).tolist()
    (photos / "a" / "photo0x.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    letters = ["".join("wshlk"[value // 52] for value in row) for row in scenes[2][..., 0].tolist()]
    (photos / "a" / "photo2x.txt").write_text("\n".join(letters) + "\n")
    places = {f"r{y}_c{x}": word for y, row in enumerate(rows) for x, word in enumerate(row)}
    (photos / "b" / "photo1x.json").write_text(json.dumps({"patches": places}))
    assert {"*.csv", "*.txt"} <= left_out_of(tmp_path, key).keys()
    kept = tmp_path / "out" / "b" / "photo1x.json"
    assert not kept.exists() or len(kept.read_text()) < 1000


LETTERS = ["".join(chr(97 + (x * y + x // 2) % 11) for x in range(24)) for y in range(20)]
NAMED = [[("black", "gray", "azure", "white")[(x * y + x // 2) % 4] for x in range(24)]
         for y in range(20)]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [
    ("x.txt", "\n".join(LETTERS)),
    ("x.json", json.dumps({"rows": LETTERS})),
    ("all.json", json.dumps({"cat.png": LETTERS, "dog.png": LETTERS[::-1]})),
    ("maps.jsonl", json.dumps({"file_name": "cat.png", "map": NAMED})),
    ("x.json", json.dumps({"text": "\n".join(LETTERS)})),
    ("x.json", json.dumps({"json": json.dumps(LETTERS)})),
    ("x.yaml", "rows:\n" + "".join(f"  - {row}\n" for row in LETTERS)),
    ("x.csv", "y,row\n" + "".join(f"{y},{row}\n" for y, row in enumerate(LETTERS))),
])  # fmt: skip
def test_rows_of_letters_are_left_out_wherever_they_stand(tmp_path, photos, key, name, text):
    (photos / name).write_text(text)
    assert left_out_of(tmp_path, key)
    published = "".join(each.read_text() for each in (tmp_path / "out").glob(f"**/{name}"))
    assert all(row not in published for row in LETTERS)
    assert " ".join(NAMED[3]) not in published.replace('", "', " ")


@pytest.mark.parametrize(("name", "text"), [
    ("x.json", json.dumps({"classes": ["elephant", "antelope", "aardvark", "kangaroo"] * 2})),
    ("x.json", json.dumps({"tokens": [["a", "man", "on", "a", "horse"], ["two", "dogs"]] * 9})),
    ("x.csv", "file,label\n" + "".join(f"{n}.png,{'posinega'[n % 2 * 4:][:4]}tive\n"
                                       for n in range(40))),
    ("x.csv", "n,finding\n" + "".join(f"{n},{'pneumo' if n % 3 else 'hydro-'}thorax\n"
                                      for n in range(40))),
])  # fmt: skip
def test_classes_and_captions_in_rows_go_along(tmp_path, photos, key, name, text):
    (photos / name).write_text(text)
    assert not left_out_of(tmp_path, key)
    assert (tmp_path / "out" / name).read_text() == text


def test_tables_of_words_go_along(tmp_path, photos, key):
    names = [path.name for path in sorted(photos.rglob("*.png"))]
    row = ["cat", "small", "brown", "indoors", "awake", "left", "day", "owner", "calm"]
    lines = [",".join([name, *row]) for name in names]
    (photos / "attributes.csv").write_text("\n".join(lines) + "\n")
    classes = ["anemone", "bluebell", "crocus", "daffodil", "primrose", "snowdrop", "sunflower"]
    (photos / "classes.txt").write_text("\n".join(classes * 3) + "\n")
    assert not left_out_of(tmp_path, key)


def outline(count: int) -> list[float]:
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = 60 + 9 * np.sin(5 * turns)
    points = np.stack([300 + radii * np.cos(turns), 190 + radii * np.sin(turns)], axis=1)
    return points.round(2).ravel().tolist()


def test_pixels_that_are_called_an_outline_are_left_out(scenes):
    small = np.asarray(Image.fromarray(scenes[0]).convert("L").resize((28, 28)))
    for pixels in (small.tolist(), small.ravel().tolist(), [small.ravel().tolist()]):
        with pytest.raises(CouldHoldPictureError, match="like rows of pixels"):
            charge_numbers(pixels, Allowance(), shape="segmentation")
    with pytest.raises(CouldHoldPictureError, match="with more than 255"):
        charge_numbers(small.ravel().tolist(), Allowance(), shape="all_points_x")


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize(("mode", "side"), [
    ("L", 10), ("L", 16), ("L", 31), ("RGB", 10), ("RGB", 18), ("RGBA", 15),
])  # fmt: skip
def test_photographs_that_are_called_an_outline_are_left_out(cifar, mode, side, by_column):
    """But for a few small ones, of which the docs say so."""
    published = 0
    for image in cifar[0]:
        picture = np.asarray(Image.fromarray(image).convert(mode).resize((side, side)))
        pixels = picture.swapaxes(0, 1) if by_column else picture
        for numbers in (pixels.ravel(), pixels.ravel() / 255):
            with contextlib.suppress(CouldHoldPictureError):
                charge_numbers([numbers.tolist()], Allowance(), shape="segmentation")
                published += 1
    assert published <= (20 if side < 16 else 4 if side < 18 else 0)


def scattered(rng) -> dict[str, np.ndarray]:
    """Outlines of any form and direction, heads of a crowd, and key points in some order."""
    turns = np.linspace(0, 2 * np.pi, rng.integers(33, 400), endpoint=False)
    waves = [rng.normal(0, 0.3 / n) * np.cos(n * turns + rng.uniform(0, 6)) for n in range(1, 6)]
    circle = np.stack([np.cos(turns), rng.uniform(0.2, 1) * np.sin(turns)])
    angle = rng.uniform(0, np.pi)
    turned = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]] @ circle
    body = 200 + np.cumsum(rng.normal(0, 8, (rng.integers(33, 133), 2)), axis=0)
    sure = rng.uniform(0, 1, (len(body), 1))
    return {
        "outline": (turned * (1 + sum(waves))).T * rng.uniform(10, 200) + rng.uniform(0, 400, 2),
        "crowd": rng.uniform(0, 1, (rng.integers(130, 400), 2)) * [640, 480],
        "key points": np.concatenate([body, sure], axis=1),
        "visible": np.concatenate([body, (3 * sure).astype(int)], axis=1),
    }


@pytest.mark.parametrize("kind", ["outline", "crowd", "key points", "visible"])
def test_points_of_any_kind_go_along(kind):
    """But for some crowds: points that lie anywhere may be alike by chance."""
    held = 0
    for seed in range(200):
        points = scattered(np.random.default_rng(seed))[kind]
        for numbers in (points.round(2), points.round()):
            held += 1
            with contextlib.suppress(CouldHoldPictureError):
                assert charge_numbers(numbers.ravel().tolist(), Allowance(), shape="keypoints")
                held -= 1
    assert held <= (20 if kind == "crowd" else 0)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_no_outline(odd):
    with pytest.raises(CouldHoldPictureError, match="like rows of pixels"):
        charge_numbers([*outline(200), odd], Allowance(), shape="points")


def test_nulls_in_an_outline_are_no_pixels():
    for numbers in ([None] * 100, [*outline(20), *[None] * 90]):
        with contextlib.suppress(CouldHoldPictureError):
            assert charge_numbers([numbers], Allowance(), shape="points")


def test_outlines_go_along():
    for shape in ([outline(400)], [outline(100), outline(90)], outline(300)):
        assert charge_numbers(shape, Allowance(), shape="segmentation")
    pairs = np.reshape(outline(300), (-1, 2)).tolist()
    assert charge_numbers(pairs, Allowance(), shape="points")
    assert charge_numbers(outline(120)[::2], Allowance(), shape="all_points_x")


def test_numbers_behind_their_places_are_numbers(tmp_path, photos, key):
    names = [path.name for path in sorted(photos.rglob("*.png"))]
    rng = np.random.default_rng(0)
    lines = [
        f"{name} 1 "
        + " ".join(f"{n + 1}:{value}" for n, value in enumerate(rng.integers(1, 17, 64)))
        for name in names
    ]
    (photos / "features.txt").write_text("\n".join(lines) + "\n")
    colours = [f"#{value:06x}" for value in rng.integers(0, 1 << 24, 64)]
    (photos / "a" / "photo0x.json").write_text(json.dumps({"colours": " ".join(colours[:32])}))
    left_out = left_out_of(tmp_path, key)
    assert "*.txt" in left_out
    assert "colours" in left_out


@pytest.mark.parametrize("name", ["0 1 2 3 4 5 6 7 8 9", " ".join(["16"] * 60)])
def test_names_of_classes_are_no_rows_of_numbers(name):
    with pytest.raises(CouldHoldPictureError, match="numbers"):
        check_class(name)
    check_class("2009 HUMMER H3T Crew Cab")


def test_strings_of_bytes_count_as_strings(scenes):
    from dsguard.formats.disclosure import Disclosure
    from dsguard.formats.review import Review

    text = " ".join(map(str, range(64)))
    for value in (text, text.encode()):
        review = Review(Disclosure())
        assert review.row("data_batch/filenames", value, Allowance()) is None
        assert review.account.left_out


def test_blanks_of_a_column_of_json_are_taken_out(scenes):
    from dsguard.formats.disclosure import Disclosure
    from dsguard.formats.review import Review

    bits = np.unpackbits(scenes[0, :8].reshape(-1))
    blanks = "".join(" \t"[bit] + ("\n" if n % 60 == 59 else "") for n, bit in enumerate(bits))
    review = Review(Disclosure())
    kept = review.row("x.parquet/meta", '{"a": 1,' + blanks + '"b": 2}', Allowance())
    assert kept is not None
    assert json.loads(kept) == {"a": 1, "b": 2}
    assert len(kept) < 40
    usual = json.dumps({"a": 1, "b": 2}, indent=2)
    assert review.row("x.parquet/meta", usual, Allowance()) == usual


def test_fsspec_is_not_asked_for_a_template(tmp_path):
    """What a reference file says is not done: not even read."""
    (tmp_path / "photos.json").write_text(json.dumps({
        "version": 1,
        "templates": {"f": "{{ cycler.__init__.__globals__.os.system('touch ran') }}"},
        "refs": {"a/x.png": ["{{f()}}"]},
    }))  # fmt: skip
    url = f"reference://ds::{(tmp_path / 'photos.json').as_uri()}"
    code = "import sys; from dsguard.cli.commands import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "protect", url, "out", "--key", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert not (tmp_path / "ran").exists()
