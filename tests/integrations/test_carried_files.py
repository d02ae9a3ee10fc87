"""Loaders give the picture of an image that carries a file, or the very file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.codecs import Sealed
from dsguard.formats import decode_image, encode_image, encode_images
from dsguard.integrations.images import restored_files, restored_images
from dsguard.integrations.torch import RestoredDataset

PIXELS = 3
"""The number of the image that carries its pixels; all others carry a file."""


@pytest.fixture
def originals(scenes):
    """What comes back as files."""
    files = []
    for scene in scenes:
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "JPEG", quality=60)
        files.append(file.getvalue())
    files[PIXELS] = encode_image(scenes[PIXELS])
    return files


@pytest.fixture
def pictures(originals):
    return [decode_image(file) for file in originals]


@pytest.fixture
def published(scenes, originals, key):
    carried = {n: dsguard.File(f"{n}.jpg", data) for n, data in enumerate(originals) if n != PIXELS}
    out = dsguard.protect_batch(scenes, key, codec=Sealed(48), files=carried)
    return encode_images(out.images, sidecars=out.sidecars)


@pytest.fixture(params=["files", "arrays"])
def base(request, published):
    """What a dataset below gives: files, or what was decoded of them; with labels."""
    as_files = request.param == "files"
    return [(file if as_files else decode_image(file), n) for n, file in enumerate(published)]


def test_files_that_are_not_decoded_are_read_by_whoever_can(scenes, key):
    """DICOM and images of 16 bits: their values come back, as docs/how-to/train.md does it."""
    pydicom = pytest.importorskip("pydicom")
    deep = scenes[0][..., 0].astype(np.uint16) << 4
    scan = pydicom.Dataset()
    scan.Rows, scan.Columns, scan.SamplesPerPixel = *deep.shape, 1
    scan.BitsAllocated = scan.BitsStored = 16
    scan.HighBit, scan.PixelRepresentation = 15, 0
    scan.PhotometricInterpretation, scan.PixelData = "MONOCHROME2", deep.tobytes()
    scan.SOPClassUID, scan.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    carried = {0: dsguard.File("scan.dcm", file.getvalue())}
    out = dsguard.protect_batch(scenes[:1], key, files=carried)
    base = [(encode_images(out.images, sidecars=out.sidecars)[0], 7)]
    transform = lambda data: pydicom.dcmread(io.BytesIO(data)).pixel_array  # noqa: E731
    pixels, label = RestoredDataset(base, key, decode=False, transform=transform)[0]
    assert (pixels == deep).all()
    assert label == 7


def test_torch_gives_pictures(base, pictures, key):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(
        RestoredDataset(base, key, transform=torch.from_numpy), batch_size=3
    )
    batches = list(loader)
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches]).numpy(), pictures)
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(len(pictures)))
    one, label = RestoredDataset(base, key)[2]
    np.testing.assert_array_equal(one, pictures[2])
    assert (label, one.flags.writeable) == (2, True)


def test_torch_gives_files(base, originals, key):
    dataset = RestoredDataset(base, key, decode=False)
    assert [file for file, _ in dataset.__getitems__(range(len(base)))] == originals
    sizes = RestoredDataset(base, key, transform=len, decode=False)
    assert sizes[1] == (len(originals[1]), 1)


def test_a_dataset_may_have_files_and_arrays(published, pictures, key):
    base = [(file if n % 2 else decode_image(file), n) for n, file in enumerate(published)]
    damaged = base[4][0].copy()
    damaged[3, 3] ^= 1
    found = RestoredDataset(base, key).__getitems__([5, 2, 4])
    for (image, n), number in zip(found, (5, 2, 4), strict=True):
        assert n == number
        np.testing.assert_array_equal(image, pictures[number])
    base[4] = (damaged, 4)
    with pytest.raises(dsguard.TamperedError, match="image 4: "):
        RestoredDataset(base, key).__getitems__([5, 4])


def test_hugging_face_gives_files(tmp_path, published, originals, pictures, key):
    datasets = pytest.importorskip("datasets")
    from dsguard.integrations.huggingface import Restore

    key.save(tmp_path / "k")
    rows = {"image": [{"bytes": file, "path": None} for file in published]}
    restored = datasets.Dataset.from_dict(rows).map(Restore(tmp_path / "k"), batched=True)
    assert [row["image"]["bytes"] for row in restored] == originals
    shown = restored.cast_column("image", datasets.Image())
    np.testing.assert_array_equal([np.asarray(image) for image in shown["image"]], pictures)


def test_webdataset_gives_files(published, originals, pictures, key):
    webdataset = pytest.importorskip("webdataset")
    from dsguard.integrations.webdataset import restore

    samples = [{"__key__": str(n), "png": file} for n, file in enumerate(published)]
    stage = restore(key, batch_size=3)
    assert [sample["png"] for sample in stage(samples)] == originals
    shown = webdataset.DataPipeline(
        lambda: iter(samples), stage, webdataset.decode("rgb8", only=["png"])
    )
    np.testing.assert_array_equal([sample["png"] for sample in shown], pictures)


@pytest.mark.parametrize("decode", [False, True])
def test_ray_gives_files_or_pictures(tmp_path, published, originals, pictures, key, decode):
    from dsguard.integrations.ray import Restore

    key.save(tmp_path / "k")
    batch = {"image": np.array(published, object), "n": np.arange(len(published))}
    found = Restore(tmp_path / "k", decode=decode)(batch)
    assert found["n"] is batch["n"]
    if decode:
        np.testing.assert_array_equal(np.stack(found["image"]), pictures)
    else:
        assert found["image"].tolist() == originals


@pytest.mark.parametrize("kind", ["loader", "ray"])
def test_no_file_of_several_pictures_becomes_one(tmp_path, scenes, key, kind):
    film = b"".join(b"P6 32 32 255 " + scene.tobytes() for scene in scenes)
    carried = {0: dsguard.File("film.ppm", film)}
    done = dsguard.protect_batch(scenes[:1], key, codec=Sealed(48), files=carried)
    files = encode_images(done.images, sidecars=done.sidecars)
    key.save(tmp_path / "k")

    def read(decode):
        if kind == "loader":
            return RestoredDataset([(files[0], 0)], key, decode=decode)[0][0]
        from dsguard.integrations.ray import Restore

        rows = {"image": np.array(files, object)}
        return Restore(tmp_path / "k", decode=decode)(rows)["image"][0]

    assert read(decode=False) == film
    with pytest.raises(dsguard.DsguardError, match="carries is animated or has several pages"):
        read(decode=True)


@pytest.mark.parametrize("read", [restored_images, restored_files])
def test_no_archive_of_files_beside_images_becomes_one(scenes, key, read):
    """Whoever reads images could run it: an archive may begin as a program does."""
    archive = {0: dsguard.File("1.png", b"%!PS-Adobe-3.0 EPSF-3.0", is_beside=True)}
    done = dsguard.protect_batch(scenes[:1], key, codec=Sealed(48), files=archive)
    with pytest.raises(dsguard.FormatError, match="image 0: carries files that lie beside images"):
        read(encode_images(done.images, sidecars=done.sidecars), key)
