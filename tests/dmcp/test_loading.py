"""Loaders with keys from a platform: batch by batch, few kept in memory, none on the disk."""

from __future__ import annotations

import numpy as np
import pytest

import dsguard
from dsguard.codecs import Sealed
from dsguard.dmcp import GrantedKeys
from dsguard.formats import decode_image, encode_images
from dsguard.integrations.torch import RestoredDataset

BATCH, KEPT, EPOCHS = 3, 4, 2


def huggingface(files, keys, folder):
    datasets = pytest.importorskip("datasets")
    from dsguard.integrations.huggingface import Restore

    rows = {"image": [{"bytes": file, "path": None} for file in files]}
    given = datasets.Dataset.from_dict(rows)
    for number in range(EPOCHS):
        cache = str(folder / f"{number}.arrow")
        done = given.map(Restore(keys), batched=True, batch_size=BATCH, cache_file_name=cache)
        yield [decode_image(row["bytes"]) for row in done["image"]]


def webdataset(files, keys, folder):
    from dsguard.integrations.webdataset import restore

    stage = restore(keys, batch_size=BATCH)
    samples = [{"__key__": str(n), "png": file} for n, file in enumerate(files)]
    for _ in range(EPOCHS):
        yield [decode_image(sample["png"]) for sample in stage(samples)]


def torch_workers(files, keys, folder):
    torch = pytest.importorskip("torch")
    data = RestoredDataset([(file, n) for n, file in enumerate(files)], keys)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, num_workers=2)
    for _ in range(EPOCHS):
        yield [image.numpy() for images, _ in loader for image in images]


def ray_actor(files, keys, folder):
    from dsguard.integrations.ray import Restore

    restore = Restore(keys, decode=True)
    for _ in range(EPOCHS):
        starts = range(0, len(files), BATCH)
        batches = [np.array(files[start : start + BATCH], object) for start in starts]
        yield [image for batch in batches for image in restore({"image": batch})["image"]]


@pytest.mark.parametrize("loader", [huggingface, webdataset, torch_workers, ray_actor])
def test_epochs_batch_by_batch(
    server, owner, mary, dataset, key, scenes, tmp_path, monkeypatch, loader
):
    """The budget has each image once; whatever comes again later is asked for again."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    owner.grant(dataset, mary.name, quota=len(scenes), distinct=True)
    images = dsguard.protect_batch(scenes, key, codec=Sealed(rate=64)).images
    keys = GrantedKeys(dataset, server.url, mary.token, most_kept=KEPT)
    for epoch in loader(encode_images(images), keys, tmp_path):
        np.testing.assert_array_equal(epoch, scenes)
    lines = [line for line in owner.audit(dataset, 0, 1000) if line["action"] == "image-keys"]
    assert max(line["images"] for line in lines) == BATCH
    assert sum(line["images"] for line in lines) > len(scenes)
    assert owner.grants(dataset)[-1]["used"] == len(scenes)
    assert len(keys._kept) <= KEPT
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for image_id in dsguard.image_ids(images):
        own = dsguard.image_key(key, image_id)
        assert own not in written
        assert own.hex().encode() not in written
    assert mary.token.encode() not in written
