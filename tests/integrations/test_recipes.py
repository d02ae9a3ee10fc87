"""The recipes of docs/reference/loaders.md for data that is loaded already, as they stand there."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.errors import InputError
from dsguard.formats import encode_image
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

    given = datasets.load_dataset(
        "parquet",
        data_files=str(protected / "*.parquet"),
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    undecoded = given.cast_column("image", datasets.Image(decode=False))
    clean = undecoded.map(Restore(tmp_path / "dataset.key"), batched=True).cast(given.features)
    assert clean.features == given.features
    rows = list(clean)
    found = {np.asarray(row["image"]).tobytes() for row in rows}
    assert found == {image.tobytes() for image in scenes}
    assert sorted(row["label"] for row in rows) == [0] * 4 + [1] * 4


def test_the_recipe_is_that_of_the_docs():
    text = ROOT.joinpath("docs", "reference", "loaders.md").read_text("utf-8")
    assert 'undecoded.map(Restore("dataset.key"), batched=True).cast(protected.features)' in text
    assert "streaming=True" in text


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
