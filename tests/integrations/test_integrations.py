"""Where data is already loaded, and the ways in which it is lost there."""

from __future__ import annotations

import gc
import io
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import engines, process_shard, restore_dataset
from dsguard.codecs import Sealed
from dsguard.formats import decode_image, encode_images
from dsguard.integrations.images import restored_files, restored_images
from dsguard.integrations.torch import RestoredDataset


@pytest.fixture
def clean(cifar):
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([cifar[0][::10], noise])


@pytest.fixture
def protected(clean, key):
    """Protected image files; the last has a sidecar."""
    target = np.clip(clean.astype(int) + 16, 0, 255).astype(np.uint8)
    done = dsguard.protect_batch(clean, key, target=target)
    assert done.sidecars
    return encode_images(done.images, sidecars=done.sidecars)


def as_jpeg(file: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(file)).save(out, "JPEG", quality=100)
    return out.getvalue()


def test_an_image_of_a_strange_size_is_named(clean, protected, key):
    small = encode_images(np.zeros((1, 4, 4, 3), np.uint8))[0]
    with pytest.raises(dsguard.NotProtectedError, match="so small that its header") as told:
        restored_files([protected[0], small], key)
    assert told.value.index == 1


def test_files_are_restored_and_lossy_ones_explained(clean, protected, key):
    np.testing.assert_array_equal(restored_images(protected, key), clean)
    mixed = [protected[0], encode_images(clean[:1, :16])[0]]
    with pytest.raises(dsguard.NotProtectedError, match="image 1: carries no dsguard header"):
        restored_files(mixed, key)
    with pytest.raises(dsguard.NotProtectedError, match=r"image 1: .* the file is lossy"):
        restored_files([protected[0], as_jpeg(protected[1])], key)


def test_huggingface(tmp_path, clean, protected, key):
    datasets = pytest.importorskip("datasets")
    from dsguard.integrations.huggingface import Restore

    key.save(tmp_path / "k")
    given = datasets.Dataset.from_dict(
        {"image": [{"bytes": file, "path": None} for file in protected], "n": range(len(clean))}
    ).cast_column("image", datasets.Image())
    undecoded = given.cast_column("image", datasets.Image(decode=False))
    restored = undecoded.map(Restore(tmp_path / "k"), batched=True, batch_size=8)
    shown = restored.cast_column("image", datasets.Image())
    np.testing.assert_array_equal([np.asarray(image) for image in shown["image"]], clean)
    assert shown["n"][:] == list(range(len(clean)))
    with pytest.raises(dsguard.InputError, match="decode=False"):
        given.map(Restore(tmp_path / "k"), batched=True)
    # Decoded and edited JPEG images are what ``datasets`` would save as JPEG again.
    lossy = datasets.Dataset.from_dict(
        {"image": [{"bytes": as_jpeg(file), "path": None} for file in protected[:2]]}
    )
    with pytest.raises(dsguard.NotProtectedError, match="the file is lossy"):
        lossy.map(Restore(tmp_path / "k"), batched=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_webdataset(tmp_path, clean, protected, key):
    webdataset = pytest.importorskip("webdataset")
    from dsguard.integrations.webdataset import restore

    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for n, file in enumerate(protected):
            for suffix, data in (("png", file), ("cls", b"7")):
                member = tarfile.TarInfo(f"{n:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    data = webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False)
    found = list(data.compose(restore(key, batch_size=4)).decode("rgb8", only=["png", "cls"]))
    np.testing.assert_array_equal([sample["png"] for sample in found], clean)
    assert [sample["__key__"] for sample in found] == [f"{n:03d}" for n in range(len(clean))]
    assert {sample["cls"] for sample in found} == {7}
    with pytest.raises(dsguard.InputError, match="rename them to png"):
        restore(key, "jpg")
    decoded = webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False)
    decoded = decoded.decode("rgb8", only=["png"])
    with pytest.raises(dsguard.InputError, match=r"restore before \.decode"):
        list(decoded.compose(restore(key)))
    with pytest.raises(dsguard.InputError, match="has no such field"):
        list(restore(key)([{"__key__": "a"}]))
    # Written again, an image under the name of a lossy format would be one.
    with webdataset.TarWriter(str(tmp_path / "1.tar")) as writer:
        writer.write({"__key__": "a", "jpg": decode_image(protected[0])})
    with tarfile.open(tmp_path / "1.tar") as archive:
        lossy = archive.extractfile("a.jpg").read()
    with pytest.raises(dsguard.NotProtectedError, match="the file is lossy"):
        restored_files([lossy], key)
    gc.collect()


def test_torch(clean, protected, key):
    torch = pytest.importorskip("torch")
    labels = [n % 10 for n in range(len(clean))]
    base = list(zip(protected, labels, strict=True))
    dataset = RestoredDataset(base, key, transform=torch.from_numpy)
    loader = torch.utils.data.DataLoader(dataset, batch_size=8)
    batches = list(loader)
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches]).numpy(), clean)
    assert torch.cat([numbers for _, numbers in batches]).tolist() == labels
    assert (dataset[3][0].numpy() == clean[3]).all()
    arrays = [(decode_image(file), 0) for file in protected[:4]]
    found = RestoredDataset(arrays, key).__getitems__([2, 0])
    np.testing.assert_array_equal([image for image, _ in found], clean[[2, 0]])
    damaged = decode_image(protected[1]).copy()
    damaged[3, 3] ^= 1
    base[1] = (encode_images(damaged[None])[0], 0)
    with pytest.raises(dsguard.TamperedError, match="image 1: "):
        RestoredDataset(base, key).__getitems__([4, 1])
    with pytest.raises(dsguard.InputError, match="got Tensor"):
        RestoredDataset([(torch.zeros(3, 32, 32), 0)], key)[0]


@pytest.fixture(scope="module")
def cluster():
    """A real cluster of this machine, of two worker processes."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100 << 20,
    )
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestRay:
    @pytest.fixture
    def safe(self, tmp_path, protected):
        for n, file in enumerate(protected * 4):
            path = tmp_path / "safe" / "abc"[n % 3] / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file)
        return tmp_path / "safe"

    def test_it_gives_the_bytes_of_one_process(self, cluster, tmp_path, safe, key):
        restore_dataset(safe, tmp_path / "one", key, shard_size=9)
        report = restore_dataset(safe, tmp_path / "ray", key, shard_size=9, engine="ray")
        assert (report.done, report.failed) == (84, 0)
        for path in (tmp_path / "one").rglob("*.png"):
            other = tmp_path / "ray" / path.relative_to(tmp_path / "one")
            assert other.read_bytes() == path.read_bytes()

    def test_a_worker_that_is_killed_mid_run_is_replaced(
        self, cluster, tmp_path, safe, key, monkeypatch
    ):
        mark = str(tmp_path / "died")

        def die_once(spec):
            if spec.number == 3 and not Path(mark).exists():
                Path(mark).write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return process_shard(spec)

        monkeypatch.setattr(engines, "process_shard", die_once)
        report = restore_dataset(safe, tmp_path / "back", key, shard_size=9, engine="ray")
        assert Path(mark).exists()
        assert (report.done, report.failed) == (84, 0)
        assert len(list((tmp_path / "back").rglob("*.png"))) == 84

    @pytest.mark.parametrize("decode", [False, True])
    def test_ray_data(self, cluster, tmp_path, clean, protected, key, decode):
        data = pytest.importorskip("ray.data")
        from dsguard.integrations.ray import Restore

        key.save(tmp_path / "k")
        rows = [{"image": file, "n": n} for n, file in enumerate(protected)]
        restored = data.from_items(rows).map_batches(
            Restore,
            fn_constructor_kwargs={"key_path": str(tmp_path / "k"), "decode": decode},
            batch_format="numpy",
            compute=data.ActorPoolStrategy(size=1),
            num_cpus=0.5,
        )
        rows = [(row["n"], row["image"]) for row in restored.take_all()]
        found = {n: image if decode else decode_image(image) for n, image in rows}
        np.testing.assert_array_equal([found[n] for n in range(len(clean))], clean)

    def test_ray_data_with_keys_from_a_platform(self, cluster, tmp_path, clean, key):
        """Batch by batch; the actor has a connection and a few keys of its own."""
        data = pytest.importorskip("ray.data")
        from dsguard.dmcp import GrantedKeys
        from dsguard.integrations.ray import Restore
        from tests.dmcp.service import running

        some = clean[:8]
        files = encode_images(dsguard.protect_batch(some, key, codec=Sealed(rate=64)).images)
        rows = [{"image": file, "n": n} for n, file in enumerate(files)]
        with running(tmp_path / "service") as server, server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            granted = GrantedKeys("d", server.url, server.owner_token, most_kept=4)
            restored = data.from_items(rows).map_batches(
                Restore,
                fn_constructor_kwargs={"key_path": granted, "decode": True},
                batch_size=2,
                batch_format="numpy",
                compute=data.ActorPoolStrategy(size=1),
                num_cpus=0.5,
            )
            found = {row["n"]: row["image"] for row in restored.take_all()}
            lines = [line for line in owner.audit("d") if line["action"] == "image-keys"]
        np.testing.assert_array_equal([found[n] for n in range(len(some))], some)
        assert [line["images"] for line in lines] == [2] * 4
