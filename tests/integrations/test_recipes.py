"""The recipes of docs/reference/loaders.md for data that is loaded already, as they stand there."""

from __future__ import annotations

import gc
import gzip
import io
import json
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.errors import InputError
from dsguard.formats import decode_image, encode_image
from dsguard.integrations.huggingface import rows_in
from tests import ROOT


@pytest.fixture
def protected(tmp_path, scenes, key):
    """Protected images in a Parquet file."""
    for n, image in enumerate(scenes):
        path = tmp_path / "in" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    key.save(tmp_path / "dataset.key")
    protect_dataset(tmp_path / "in", tmp_path / "safe", key, profile="veil", out_format="parquet")
    return tmp_path / "safe"


@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face(tmp_path, scenes, protected, streaming):
    datasets = pytest.importorskip("datasets")
    from dsguard.integrations.huggingface import Restore

    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"image": datasets.Image(decode=False), "label": label})
    files = sorted(map(str, protected.glob("*.parquet")))
    kind = datasets.IterableDataset if streaming else datasets.Dataset
    more = {} if streaming else {"cache_dir": str(tmp_path / "cache")}
    given = kind.from_generator(rows_in, features=features, gen_kwargs={"files": files}, **more)
    decoded = datasets.Features({**features, "image": datasets.Image()})
    clean = given.map(Restore(tmp_path / "dataset.key"), batched=True).cast(decoded)
    assert clean.features == decoded
    rows = list(clean)
    found = {np.asarray(row["image"]).tobytes() for row in rows}
    assert found == {image.tobytes() for image in scenes}
    assert sorted(row["label"] for row in rows) == [0] * 4 + [1] * 4


def test_the_recipe_is_that_of_the_docs():
    text = ROOT.joinpath("docs", "reference", "loaders.md").read_text("utf-8")
    assert 'protected.map(Restore("dataset.key"), batched=True)' in text
    assert 'clean.cast(Features({**features, "image": Image()}))' in text
    assert 'rows_in, features=features, gen_kwargs={"files": files}' in text


@pytest.mark.parametrize("dtype", ["create_library_symlinks", "have_libhdfs"])
def test_types_in_a_file_of_a_stranger_are_not_made(tmp_path, protected, monkeypatch, dtype):
    """`datasets` calls functions of pyarrow that are called as a type is."""
    datasets = pytest.importorskip("datasets")
    import pyarrow
    import pyarrow.parquet

    called = []
    monkeypatch.setattr(pyarrow, dtype, lambda: called.append(dtype) or pyarrow.string())
    (file,) = protected.glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    told = json.loads(table.schema.metadata[b"huggingface"])
    told["info"]["features"]["note"] = {"_type": "Value", "dtype": dtype}
    table = table.append_column("note", pyarrow.array(["x"] * len(table)))
    table = table.replace_schema_metadata({b"huggingface": json.dumps(told).encode()})
    pyarrow.parquet.write_table(table, file)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    cache = str(tmp_path / "cache")
    datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=cache)
    assert called
    called.clear()
    given = datasets.Dataset.from_generator(
        rows_in, features=features, gen_kwargs={"files": [str(file)]}, cache_dir=cache
    )
    assert len(given) == len(table)
    assert not called


def test_extension_types_in_a_file_of_a_stranger_are_not_made(tmp_path, protected, monkeypatch):
    """Arrow makes all types of a file that it opens, whatever columns are asked for."""
    pytest.importorskip("datasets")
    import pyarrow
    import pyarrow.parquet

    called = []
    monkeypatch.setattr(pyarrow, "show_info", lambda: called.append(1) or pyarrow.string())
    (file,) = protected.glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    told = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": '[[2, 2], "show_info"]',
    }
    kind = pyarrow.list_(pyarrow.list_(pyarrow.string()))
    column = pyarrow.array([[["x", "y"], ["z", "z"]]] * len(table), kind)
    table = table.append_column(pyarrow.field("note", kind, metadata=told), column)
    pyarrow.parquet.write_table(table, file)
    assert len(list(rows_in([file]))) == len(table)
    assert not called


def test_files_that_cannot_be_read_are_named(tmp_path, protected):
    (file,) = protected.glob("*.parquet")
    with pytest.raises(InputError, match="has no column 'masks'; give columns="):
        list(rows_in([file], ("image", "masks")))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"is damaged: .*; get a whole copy"):
        list(rows_in([file]))


def test_a_stage_of_webdataset_can_be_sent_to_workers(scenes, key):
    from dsguard.integrations.webdataset import restore

    target = scenes[::-1].copy()
    done = dsguard.protect_batch(scenes, key, target=target)
    samples = [
        {"__key__": str(n), "png": encode_image(image), "cls": n}
        for n, image in enumerate(done.images)
    ]
    stage = pickle.loads(pickle.dumps(restore(key, batch_size=3)))
    found = list(stage(samples))
    assert [sample["png"] for sample in found] == [encode_image(image) for image in scenes]
    assert [sample["cls"] for sample in found] == list(range(len(scenes)))
    assert key.secret.hex() not in repr(stage)
    for options in ({"field": "jpg"}, {"batch_size": 0}):
        with pytest.raises(InputError):
            restore(key, **options)


class Program:
    """A pickle that makes a file where it is loaded."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def test_fields_that_hold_objects_are_refused(scenes, key):
    from dsguard.integrations.webdataset import restore

    image = encode_image(dsguard.protect_batch(scenes[:1], key, target=scenes[1:2]).images[0])

    def restored(array, **options):
        stored = io.BytesIO()
        np.save(stored, array, allow_pickle=True)
        sample = {"__key__": "a", "png": image, "npy": stored.getvalue(), "cls": 3}
        return list(restore(key, **options)([sample]))

    with pytest.raises(InputError, match=r"field 'npy': sample 'a' has a pickle"):
        restored(np.array([None]))
    assert restored(np.array([None]), trusted=True)
    assert restored(np.arange(3))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its files
@pytest.mark.parametrize("kind", ["pyd", "PKL", "pickle", "pth", "pkl.gz", "x.pkl"])
def test_pickles_of_strangers_are_not_run(tmp_path, scenes, key, kind):
    webdataset = pytest.importorskip("webdataset")
    from dsguard.integrations.webdataset import restore

    program = pickle.dumps(Program(tmp_path / "ran"))
    if kind == "pth":
        stored = io.BytesIO()
        pytest.importorskip("torch").save(Program(tmp_path / "ran"), stored)
        program = stored.getvalue()
    if kind.endswith(".gz"):
        program = gzip.compress(program)
    done = dsguard.protect_batch(scenes[:1], key, target=scenes[1:2])
    image = encode_image(done.images[0])
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for suffix, data in (("png", image), (kind, program)):
            member = tarfile.TarInfo(f"a.{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

    def read(**options):
        data = webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False)
        return data.compose(restore(key, **options))

    with pytest.raises(InputError, match=r"sample 'a' has a pickle.*trusted=True"):
        list(read().decode("rgb8"))
    (sample,) = read(trusted=True).decode("rgb8", only=["png"])
    assert (sample["png"] == scenes[0]).all()
    assert not (tmp_path / "ran").exists()
    list(read(trusted=True).decode("rgb8"))  # which is what the caller asked for
    assert (tmp_path / "ran").exists()
    gc.collect()


def test_all_images_of_a_sample_come_back(tmp_path, scenes, key):
    """A mask that comes as its cover would be a wrong picture without a word."""
    from dsguard.integrations.webdataset import restore

    masks = (scenes > 128).astype(np.uint8) * 255
    plain = encode_image(scenes[0])
    done, hidden = (
        dsguard.protect_batch(each, key, profile="veil").images for each in (scenes, masks)
    )
    samples = [
        {"__key__": str(n), "png": encode_image(image), "plain.png": plain, "text.png": b"none"}
        | ({"seg.PNG": encode_image(hidden[n])} if n % 2 else {})
        for n, image in enumerate(done)
    ]
    back = list(restore(key, batch_size=3)(samples))
    for n, sample in enumerate(back):
        assert sample.keys() == samples[n].keys()
        np.testing.assert_array_equal(decode_image(sample["png"]), scenes[n])
        assert (sample["plain.png"], sample["text.png"]) == (plain, b"none")
        if n % 2:
            np.testing.assert_array_equal(decode_image(sample["seg.PNG"]), masks[n])


def test_docs_decode_named_fields_alone():
    """Those of shards that anybody made: without a name, WebDataset runs pickles in them."""
    files = [*ROOT.rglob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.rglob("src/**/*.py")]
    files += [*ROOT.rglob("examples/*"), *ROOT.rglob("tests/**/*.py")]
    own = Path(__file__)
    texts = [file.read_text("utf-8") for file in files if file.is_file() and file != own]
    found = [call for text in texts for call in re.findall(r"decode\(\"rgb8?\"[^)]*\)", text)]
    assert len(found) >= 6
    assert [call for call in found if "only=" not in call] == []
