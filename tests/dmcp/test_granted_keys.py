"""Datasets restored here, with keys that a platform releases for their images."""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.codecs import Sealed
from dsguard.dmcp import GrantedKeys, connection
from dsguard.errors import InputError, NoKeysError, NotProtectedError, WrongKeyError
from dsguard.formats import decode_image, encode_images
from dsguard.integrations.torch import RestoredDataset
from dsguard.keys import KeySource
from tests.dmcp.service import refused, running


@pytest.fixture
def granted(server, owner, mary, dataset):
    """Keys of a dataset, as Mary gets them."""
    owner.grant(dataset, mary.name)
    return GrantedKeys(dataset, server.url, mary.token)


@pytest.fixture
def home(tmp_path, monkeypatch, scenes, key):
    """A working folder with 48 clean images of two classes and three sizes, protected."""
    monkeypatch.chdir(tmp_path)
    for n in range(48):
        image = np.roll(scenes[n % 8], n, axis=1)[: 32 - n % 3]
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_images(image[None])[0])
    protect_dataset("clean", "safe", key, keep="pixels")
    return tmp_path


def releases(owner, dataset: str) -> list[dict]:
    return [line for line in owner.audit(dataset, 0, 1000) if line["action"] == "image-keys"]


def used(owner, dataset: str) -> int:
    return owner.grants(dataset)[-1]["used"]


def pixels(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): decode_image(path.read_bytes()).tobytes()
        for path in Path(folder).rglob("*.png")
    }


def sealed(scenes, key) -> np.ndarray:
    """Protect images, at a rate that holds each of them."""
    return dsguard.protect_batch(scenes, key, codec=Sealed(rate=64)).images


# The client


def test_a_client_gets_keys_by_id(owner, mary, dataset, key, granted):
    ids = [bytes([n]) * 16 for n in range(4)]
    expected = {image_id: dsguard.image_key(key, image_id) for image_id in ids}
    assert mary.keys(dataset, iter([*ids, ids[0]])) == expected
    assert mary.keys(dataset, [], key.key_id) == {}
    assert len(releases(owner, dataset)) == 1
    with pytest.raises(InputError, match="an image id is made of 16 bytes, not bytes of 15"):
        mary.keys(dataset, [ids[0], bytes(15)])
    with refused(404, "no-key"):
        mary.keys(dataset, ids, "0" * 12)


def test_more_ids_than_a_request_may_have_go_in_several(owner, mary, dataset, key, granted):
    ids = [n.to_bytes(16) for n in range(100_001)]
    keys = mary.keys(dataset, ids)
    assert len(keys) == len(ids)
    assert keys[ids[-1]] == dsguard.image_key(key, ids[-1])
    assert [line["images"] for line in releases(owner, dataset)] == [100_000, 1]


def test_a_service_that_takes_fewer_ids_is_sent_fewer(tmp_path):
    ids = [bytes([n]) * 16 for n in range(20)]
    key = dsguard.DatasetKey.generate()
    with (
        running(tmp_path / "service", request_images="6") as server,
        server.client(server.owner_token) as owner,
    ):
        owner.deposit("d", key)
        for _ in range(2):
            assert owner.keys("d", ids) == {each: dsguard.image_key(key, each) for each in ids}
        assert [line["images"] for line in releases(owner, "d")] == 2 * [5, 5, 5, 5]
        assert {row["right"]: row["used"] for row in owner.grants("d")}["restore"] == 40
        outcomes = [line["outcome"] for line in owner.audit("d")]
        assert outcomes.count("too-many") == 1
    with (
        running(tmp_path / "other", request_images="1") as server,
        server.client(server.owner_token) as owner,
    ):
        owner.deposit("d", key)
        assert len(owner.keys("d", ids[:3])) == 3


def test_who_asks_too_often_waits(tmp_path, monkeypatch):
    class WaitedError(Exception):
        pass

    def wait(seconds):
        raise WaitedError

    settings = {"requests_per_minute": "3"}
    with (
        running(tmp_path / "service", **settings) as server,
        server.client(server.owner_token) as owner,
    ):
        monkeypatch.setattr(connection, "time", SimpleNamespace(sleep=wait))
        owner.deposit("d")
        assert len(owner.keys("d", [bytes(16)])) == 1
        owner.me()
        with pytest.raises(WaitedError):
            owner.keys("d", [bytes(16)])
        with refused(429, "rate"):
            owner.me()


def test_an_answer_that_is_no_keys_is_refused(mary, dataset, granted, monkeypatch):
    monkeypatch.setattr(mary._service, "send", lambda *_: bytes(33))
    with pytest.raises(connection.RefusedError, match="no keys of images"):
        mary.keys(dataset, [bytes(16)])


# In place of a key


def test_batches(owner, dataset, granted, scenes, key):
    images = sealed(scenes, key)
    np.testing.assert_array_equal(dsguard.restore_batch(images, granted), scenes)
    np.testing.assert_array_equal(dsguard.restore_batch(images, image_keys=granted), scenes)
    assert used(owner, dataset) == len(scenes)  # what is known is not asked again
    with pytest.raises(InputError, match="not both"):
        dsguard.restore_batch(images, key, image_keys=granted)


def test_only_images_with_ids_are_asked_for(owner, dataset, granted, scenes, key):
    images = sealed(scenes, key)
    images[1] = scenes[1]
    images[2] = sealed(scenes[2:3], dsguard.DatasetKey.generate())[0]
    images[3] = images[4]
    images[5] = dsguard.protect_batch(scenes[5:6], key, target=scenes[6:7]).images[0]
    found = dsguard.restore_batch(images, granted, on_error="report")
    assert {n: type(error) for n, error in found.errors.items()} == {
        1: NotProtectedError,
        2: WrongKeyError,
        5: WrongKeyError,
    }
    assert f"which is none of dataset {dataset}" in found.errors[2].message
    assert "give the dataset key" in found.errors[5].message
    np.testing.assert_array_equal(found.images[[0, 4, 6, 7]], scenes[[0, 4, 6, 7]])
    assert used(owner, dataset) == 4  # of equal images once


def test_images_of_older_keys_of_a_dataset(owner, dataset, granted, scenes, key):
    new = dsguard.DatasetKey.generate()
    owner.deposit(dataset, new)
    images = np.concatenate([sealed(scenes[:4], key), sealed(scenes[4:], new)])
    np.testing.assert_array_equal(dsguard.restore_batch(images, granted), scenes)
    assert {line["key_version"] for line in releases(owner, dataset)} == {1, 2}


def test_a_key_for_an_id_that_was_made_up_opens_nothing(owner, dataset, granted, scenes, key):
    image = sealed(scenes[:1], key)
    own = dsguard.image_ids(image)[0]
    forged = image.copy()
    flat = forged.reshape(-1)
    flat[8 * 18] ^= 1  # the first bit of the id
    (made_up,) = dsguard.image_ids(forged)
    assert made_up != own
    with pytest.raises(dsguard.TamperedError, match="does not open"):
        dsguard.restore_batch(forged, granted)
    assert used(owner, dataset) == 1


def test_whole_datasets(home, owner, dataset, granted):
    report = restore_dataset("safe", "back", granted, shard_size=16, workers=2)
    assert (report.done, report.failed) == (48, 0)
    assert pixels("back") == pixels("clean")
    assert sum(line["images"] for line in releases(owner, dataset)) == 48
    assert len(releases(owner, dataset)) == 3  # of all sizes in a shard together
    again = restore_dataset("safe", "back", granted, shard_size=16, workers=2)
    assert again.done == 48
    assert used(owner, dataset) == 48  # what is done is not asked for again
    assert verify_dataset("safe", granted).done == 48
    assert used(owner, dataset) == 96
    with pytest.raises(InputError, match="expected a DatasetKey, got GrantedKeys"):
        protect_dataset("clean", "other", granted)


@pytest.mark.parametrize("out_format", ["parquet", "webdataset"])
def test_other_formats(home, granted, key, out_format):
    images = np.stack([decode_image(file.read_bytes())[:30] for file in Path("clean/a").iterdir()])
    for n, file in enumerate(encode_images(images)):
        Path("even").mkdir(exist_ok=True)
        Path("even", f"{n:02}.png").write_bytes(file)
    protect_dataset("even", "shards", key, out_format=out_format)
    restore_dataset("shards", "one", key)
    report = restore_dataset("shards", "other", granted)
    assert (report.done, report.failed) == (24, 0)
    files = [path for path in Path("one").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert Path("other", path.relative_to("one")).read_bytes() == path.read_bytes()


def test_a_run_whose_grant_is_taken_ends_and_goes_on_later(home, owner, mary, dataset, granted):
    def revoke(report, shards):
        if shards == 1:
            owner.revoke(dataset, mary.name)

    with pytest.raises(NoKeysError, match="was revoked on"):
        restore_dataset("safe", "back", granted, shard_size=12, progress=revoke)
    assert used(owner, dataset) == 12
    assert len(pixels("back")) == 12
    assert owner.audit(dataset, 0, 1000)[-1]["outcome"] == "no-grant"
    owner.grant(dataset, mary.name)
    report = restore_dataset("safe", "back", granted, shard_size=12, workers=2)
    assert (report.done, report.failed) == (48, 0)
    assert used(owner, dataset) == 36
    assert pixels("back") == pixels("clean")


def test_a_quota_ends_a_run(home, owner, mary, dataset, granted):
    owner.grant(dataset, mary.name, quota=20)
    with pytest.raises(NoKeysError, match="the grant is for 20 images; 8 are left"):
        restore_dataset("safe", "back", granted, shard_size=12)
    assert used(owner, dataset) == 12


def test_who_restores_is_told_how_a_run_without_keys_goes_on(
    home, server, owner, mary, dataset, granted, monkeypatch, capsys
):
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)
    owner.grant(dataset, mary.name, quota=20)
    command = ["restore", "safe", "back", "--dataset", dataset, "--shard-size", "12"]
    assert cli(command) == Exit.KEY_REFUSED
    shown = capsys.readouterr().err
    assert "ask somebody who manages the dataset for more, or take fewer images" in shown
    assert "12 images are restored, and the same command goes on with the rest" in shown
    owner.grant(dataset, mary.name)
    assert cli(command) == Exit.OK
    assert used(owner, dataset) == 36
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token[:-6] + "000000")  # an old one
    assert cli(command) == Exit.KEY_REFUSED


def test_neither_token_nor_keys_are_stored_or_told(home, mary, granted, key):
    told = repr(granted) + repr(RestoredDataset([], granted).key) + str(granted)
    assert mary.token not in told
    restore_dataset("safe", "back", granted, shard_size=12, workers=2)
    written = b"".join(
        path.read_bytes()
        for folder in ("back", "back.dsguard")
        for path in Path(folder).rglob("*")
        if path.is_file()
    )
    assert mary.token.encode() not in written
    assert granted.name.encode() in written
    image = decode_image(Path("safe/a/00.png").read_bytes())
    image_key = dsguard.image_key(key, dsguard.image_ids(image[None])[0])
    for secret in (image_key, key.secret):
        assert secret not in written
        assert secret.hex().encode() not in written


def test_a_source_that_gives_nothing(scenes, key, tmp_path):
    images = sealed(scenes, key)
    nowhere = GrantedKeys("d", "http://127.0.0.1:9", "dsg_x")
    with pytest.raises(NoKeysError, match="does not answer"):
        dsguard.restore_batch(images, nowhere)
    with pytest.raises(NoKeysError, match="begins with http"):
        dsguard.restore_batch(images, GrantedKeys("d", "nowhere", "dsg_x"))
    with pytest.raises(InputError, match="without the address"):
        GrantedKeys("d", token="dsg_x")


def test_logins_are_found_where_the_keys_are_used(
    server, mary, dataset, granted, scenes, key, monkeypatch, tmp_path
):
    images = sealed(scenes, key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DSGUARD_DMCP_URL", "DSGUARD_DMCP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    keys = pickle.loads(pickle.dumps(GrantedKeys(dataset)))
    with pytest.raises(NoKeysError, match="you are not logged in"):
        dsguard.restore_batch(images, keys)
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)
    assert mary.token.encode() not in pickle.dumps(keys)
    np.testing.assert_array_equal(dsguard.restore_batch(images, keys), scenes)
    with pytest.raises(NoKeysError, match="not logged in"):  # the token is for another address
        dsguard.restore_batch(images, GrantedKeys(dataset, "http://127.0.0.1:9"))


def test_few_keys_are_kept(server, owner, mary, dataset, granted, key):
    keys = GrantedKeys(dataset, server.url, mary.token, most_kept=20)
    ids = [bytes([n]) * 16 for n in range(24)]
    for start in range(0, 24, 8):
        keys.image_keys(key.key_id, ids[start : start + 8])
    assert len(keys._kept) == 20
    assert used(owner, dataset) == 24
    assert keys.image_keys(key.key_id, ids[16:])[ids[20]] == dsguard.image_key(key, ids[20])
    assert used(owner, dataset) == 24
    assert len(keys.image_keys(key.key_id, ids)) == 24
    assert used(owner, dataset) == 28  # the first four were forgotten
    assert len(keys._kept) == 20


def test_many_threads_keep_keys_at_once():
    """Without the GIL, one that forgets keys meets those that others add."""
    keys = GrantedKeys("d", "http://127.0.0.1:9", "token", most_kept=50)

    def keep(first: int) -> None:
        for n in range(first, 4000, 8):
            keys._keep({n.to_bytes(22): bytes(32), (n + 4000).to_bytes(22): bytes(32)})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    keys._keep({})
    assert len(keys._kept) == 50


# The command


def test_the_command(home, server, owner, mary, dataset, granted, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.delenv("DSGUARD_DMCP_URL", raising=False)
    monkeypatch.delenv("DSGUARD_KEY_FILE", raising=False)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)
    command = ["restore", "safe", "back", "--dmcp", server.url, "--dataset", dataset, "--json"]
    assert cli([*command, "--workers", "2", "--shard-size", "16"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["restored"] == 48
    assert pixels("back") == pixels("clean")
    owner.revoke(dataset, mary.name)
    assert cli([*command, "--overwrite"]) == Exit.KEY_REFUSED
    assert "was revoked" in capsys.readouterr().err
    assert cli([*command, "--key", "k"]) == Exit.USAGE
    assert "not both" in capsys.readouterr().err
    assert cli(["restore", "safe", "other"]) == Exit.USAGE
    assert "--dataset NAME, or give the key" in capsys.readouterr().err
    assert cli(["restore", "safe", "other", "--dmcp", server.url]) == Exit.USAGE
    assert "name the dataset" in capsys.readouterr().err
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "dsg_" + 43 * "x")
    assert cli([*command[:2], "other", *command[3:]]) == Exit.KEY_REFUSED
    assert "not valid" in capsys.readouterr().err
    assert not Path("other").exists()


# Where data is loaded


@pytest.fixture
def files(scenes, key):
    return encode_images(sealed(scenes, key))


def test_torch_with_workers(server, mary, dataset, granted, files, scenes):
    torch = pytest.importorskip("torch")
    data = RestoredDataset([(file, n) for n, file in enumerate(files)], granted)
    np.testing.assert_array_equal(data[0][0], scenes[0])  # there is a connection before the fork
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2)
    found = torch.cat([images for images, _ in loader])
    np.testing.assert_array_equal(found.numpy(), scenes)
    sizes = [(decode_image(file)[: 20 + n], n) for n, file in enumerate(files)]
    with pytest.raises(dsguard.TamperedError):
        RestoredDataset(sizes, granted).__getitems__([0, 1])


def test_huggingface(granted, files, scenes):
    datasets = pytest.importorskip("datasets")
    from dsguard.integrations.huggingface import Restore

    rows = {"image": [{"bytes": file, "path": None} for file in files]}
    given = datasets.Dataset.from_dict(rows)
    restored = given.map(Restore(granted), batched=True, batch_size=3)
    for row, image in zip(restored["image"], scenes, strict=True):
        np.testing.assert_array_equal(decode_image(row["bytes"]), image)


def test_webdataset(granted, files, scenes):
    from dsguard.integrations.webdataset import restore

    stage = pickle.loads(pickle.dumps(restore(granted, batch_size=3)))
    samples = [{"__key__": str(n), "png": file} for n, file in enumerate(files)]
    found = [decode_image(sample["png"]) for sample in stage(samples)]
    np.testing.assert_array_equal(found, scenes)


def test_ray(granted, files, scenes):
    """What Ray does with the class, without a cluster: its arguments are pickled."""
    from dsguard.integrations.ray import Restore

    restore = Restore(**pickle.loads(pickle.dumps({"key_path": granted})))
    found = restore({"image": np.array(files, object)})["image"]
    for file, image in zip(found, scenes, strict=True):
        np.testing.assert_array_equal(decode_image(file), image)


# Epochs


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


@pytest.mark.parametrize("loader", [huggingface, webdataset, torch_workers])
def test_epochs_batch_by_batch(
    server, owner, mary, dataset, key, scenes, tmp_path, monkeypatch, loader
):
    """The budget has each image once; whatever comes again later is asked for again."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    owner.grant(dataset, mary.name, quota=len(scenes), distinct=True)
    images = sealed(scenes, key)
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


# Processes


def test_a_process_has_one_connection_for_all_it_is_sent(granted):
    sent = pickle.dumps(granted)
    assert pickle.loads(sent) is pickle.loads(sent)
    assert isinstance(granted, KeySource)


def test_journals_have_a_code_of_the_user(tmp_path, monkeypatch):
    """Without it, a stranger could say of their own pictures that these were restored."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code = GrantedKeys("photos").proof_of(b"told")
    assert code == GrantedKeys("others").proof_of(b"told") != GrantedKeys("photos").proof_of(b"")
    secret = tmp_path / "dsguard" / "secret"
    if os.name == "posix":
        assert secret.stat().st_mode & 0o777 == 0o600
    secret.unlink()
    assert GrantedKeys("photos").proof_of(b"told") != code
    secret.write_bytes(b"short")
    with pytest.raises(dsguard.InputError, match="is damaged"):
        GrantedKeys("photos").proof_of(b"told")


def test_a_dataset_that_there_is_not_leaves_nothing_behind(home, granted, server, user):
    before = {path.name for path in Path().iterdir()}
    nobody = GrantedKeys("nosuch", server.url, user.token)
    with pytest.raises(NoKeysError, match="no such dataset"):
        restore_dataset("safe", "clean-again", nobody)
    assert {path.name for path in Path().iterdir()} == before
    assert restore_dataset("safe", "clean-again", granted).done > 0
