"""Images that are restored for others: keys, formats, names, sizes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

import dsguard
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.dmcp.outgoing import names_in, read_images
from dsguard.formats import decode_image, encode_images
from dsguard.formats.places.spelling import Spelling
from tests.dmcp.service import (
    post,
    protected,
    tar_of,
)


def test_a_ring_of_keys(owner, user, dataset, scenes, key):
    newer = dsguard.DatasetKey.generate()
    assert owner.deposit(dataset, newer)["version"] == 2
    owner.grant(dataset, user.name)
    other = dsguard.DatasetKey.generate()
    images = protected(scenes, key)[:4] + protected(scenes, newer)[4:] + protected(scenes, other)
    found = list(user.restore(dataset, images))
    assert [bool(image.error) for image in found] == [False] * 9 + [True] * 9
    assert "none of this dataset's" in found[-1].error
    for n, image in enumerate(scenes):
        np.testing.assert_array_equal(decode_image(found[n].data), image)


def test_sealed_images_and_their_sidecars(owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    noise = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    for images in (scenes, noise, noise[:, :5, :4].copy()):
        out = dsguard.protect_batch(images, key)
        files = encode_images(out.images, sidecars=out.sidecars)
        named = [(f"{n}.png", file) for n, file in enumerate(files)]
        found = list(user.restore(dataset, named))
        for image, clean in zip(found, images, strict=True):
            np.testing.assert_array_equal(decode_image(image.data), clean)


def test_carried_files_come_back_as_they_were(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    files = {0: dsguard.File("photo.JPG", b"no image, but a file"), 2: dsguard.File("bare", b"x")}
    out = dsguard.protect_batch(scenes[:4], key, files=files)
    named = [
        (f"{n}.png", file)
        for n, file in enumerate(encode_images(out.images, sidecars=out.sidecars))
    ]
    found = list(user.restore(dataset, named))
    assert [image.error for image in found] == [""] * 4
    assert (found[0].data, found[2].data) == (files[0].data, files[2].data)
    np.testing.assert_array_equal(decode_image(found[1].data), scenes[1])
    answer = post(server, user.token, dataset, tar_of(named), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == ["0.JPG", "1.png", "2.file", "3.png"]
        assert tar.extractfile("0.JPG").read() == files[0].data


def test_what_begins_as_an_image_has_the_suffix_of_one(server, owner, user, dataset, scenes, key):
    """A script can begin so as well, and tables call images by any name."""
    owner.grant(dataset, user.name)
    bitmap = b"BM" + bytes(60)
    names = ["labels.cache", "x.py", "x.desktop", "photo.jpg"]
    files = {n: dsguard.File(name, bitmap) for n, name in enumerate(names)}
    out = dsguard.protect_batch(scenes[:4], key, files=files)
    sent = [
        (f"{n}.png", file)
        for n, file in enumerate(encode_images(out.images, sidecars=out.sidecars))
    ]
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == ["0.bmp", "1.bmp", "2.bmp", "3.jpg"]


ODD = {
    "x.\x1b]0;owned\x07": "0.png",
    "x.\\..\\..\\evil": "1.png",
    "x.png\nfake": "2.png",
    "x.error.txt": "3.error.png",
    "x.txt": "bad.png.error.png",
    "x." + "y" * 250: "five-5.png",
    "x.\u202egnp": "6.png",
    "x.a:b": "7.png",
    "x.jpg.": "8.png",
    "x.sh.x": "9.png",
}


def test_the_suffix_of_a_carried_file_makes_no_odd_name(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    files = {n: dsguard.File(name, b"%d" % n) for n, name in enumerate(ODD)}
    images = np.concatenate([scenes, scenes[: len(ODD) - len(scenes)]])
    done = dsguard.protect_batch(images, key, files=files)
    sent = zip(ODD.values(), encode_images(done.images, sidecars=done.sidecars), strict=True)
    sent = [*sent, ("bad.png", b"x")]
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
        assert len(found) == len(tar.getnames())
    assert b"not an image" in found.pop("bad.png.error.txt")
    told = {f"{name.rpartition('.')[0]}.file": files[n].data for n, name in enumerate(ODD.values())}
    assert found == told


def test_a_protected_image_that_is_called_a_text_has_a_name_of_its_own(
    server, owner, user, dataset, scenes, key
):
    owner.grant(dataset, user.name)
    files = [file for _, file in protected(scenes, key)]
    sent = list(zip(["a.txt", "a.png", "a.txt.png"], files, strict=False))
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == ["a.txt.png", "a.png", "a.txt.2.png"]


def test_images_of_which_none_can_be_restored_are_told_one_by_one(
    owner, user, dataset, scenes, key
):
    owner.deposit(dataset, dsguard.DatasetKey.generate())  # the newest key opens none of them
    owner.grant(dataset, user.name)
    clean = [("small.png", encode_images(scenes[:1, :16, :16])[0])]
    (alone,) = user.restore(dataset, clean)
    assert "carries no dsguard header" in alone.error
    found = list(user.restore(dataset, [*protected(scenes, key)[:2], *clean]))
    assert [bool(image.error) for image in found] == [False, False, True]


def test_tar_and_forms(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    images = [*protected(scenes, key), ("bad.png", b"x")]
    answers = [
        post(server, user.token, dataset, tar_of(images), "application/x-tar"),
        httpx.post(
            f"{server.url}/v1/datasets/{dataset}/restore",
            files=[("files", (name, file)) for name, file in images],
            headers={"authorization": f"Bearer {user.token}"},
        ),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            found = {m.name: archive.extractfile(m).read() for m in archive}
        assert b"not an image" in found.pop("bad.png.error.txt")
        assert list(found) == [name for name, _ in images[:-1]]
        np.testing.assert_array_equal(decode_image(found["a/3.png"]), scenes[3])


def test_images_that_are_too_large_do_not_spoil_the_rest(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    heavy = bytes((1 << 20) + 1)
    bomb = encode_images(np.zeros((1, 2000, 2000, 3), np.uint8))[0]
    small = encode_images(np.zeros((1, 1, 1, 3), np.uint8))[0]
    twice = small[:33] + bomb[8:]  # some decoders take the second header
    images = protected(scenes, key)
    sent = [images[0], ("heavy.png", heavy), ("bomb.png", bomb), ("two.png", twice), images[1]]
    found = list(user.restore(dataset, sent))
    assert [image.name for image in found] == [name for name, _ in sent]
    assert [bool(image.data) for image in found] == [True, False, False, False, True]
    assert "1048576 are allowed" in found[1].error
    assert "4000000 pixels" in found[2].error
    assert "4000000 pixels" in found[3].error
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = archive.getnames()
    failed = [f"{name}.png.error.txt" for name in ("heavy", "bomb", "two")]
    assert names == ["a/0.png", *failed, "a/1.png"]


def test_images_whose_names_differ_in_the_suffix_alone(
    tmp_path, server, owner, user, dataset, scenes, key, monkeypatch
):
    owner.grant(dataset, user.name)
    files = [file for _, file in protected(scenes, key)]
    sent = list(zip(["a.png", "a.tif", "a", "a.tif.png"], files, strict=False))
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        found = [decode_image(archive.extractfile(member).read()) for member in archive]
        assert len(set(archive.getnames())) == 4
    np.testing.assert_array_equal(found, scenes[:4])
    for name, file in sent:
        tmp_path.joinpath("in", name).parent.mkdir(exist_ok=True)
        tmp_path.joinpath("in", name).write_bytes(file)
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", user.token)
    monkeypatch.chdir(tmp_path)
    assert cli(["dmcp", "restore", dataset, "in", "out"]) == Exit.OK
    found = {path.name: decode_image(path.read_bytes()) for path in Path("out").iterdir()}
    assert len(found) == 3  # what has no suffix is no image to a folder
    np.testing.assert_array_equal(found["a.png"], scenes[0])


def test_carried_files_have_suffixes_of_what_they_hold(
    tmp_path, server, owner, user, dataset, scenes, key, monkeypatch, capsys
):
    owner.grant(dataset, user.name, quota=4)
    data = io.BytesIO()
    Image.fromarray(scenes[0]).save(data, "jpeg")
    files = {0: dsguard.File("photo.jpg", data.getvalue()), 1: dsguard.File("scan.dcm", bytes(200))}
    out = dsguard.protect_batch(scenes[:3], key, files=files)
    (tmp_path / "in").mkdir()
    for n, file in enumerate(encode_images(out.images, sidecars=out.sidecars)):
        (tmp_path / "in" / f"{n}.png").write_bytes(file)
    (tmp_path / "in" / "labels.csv").write_text("a,b\n")
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", user.token)
    monkeypatch.chdir(tmp_path)
    assert cli(["dmcp", "restore", dataset, "in", "out"]) == Exit.SOME_FAILED
    told = capsys.readouterr().err
    assert f"--dataset {dataset}" in told
    assert "labels.csv: lies beside the images" in told
    assert {path.name for path in Path("out").iterdir()} == {"0.jpg", "2.png"}
    assert Path("out/0.jpg").read_bytes() == data.getvalue()
    assert cli(["dmcp", "restore", dataset, "in", "out"]) == Exit.SOME_FAILED
    assert owner.grants(dataset)[-1]["used"] == 4  # what is there is not asked for again


def test_clean_images_of_a_wrong_folder_are_not_sent(tmp_path, scenes, key):
    """Whoever gives source and destination in each other's place keeps the pictures."""
    (tmp_path / "in").mkdir()
    for name, file in [*protected(scenes, key)[:2], ("clean.png", encode_images(scenes[:1])[0]),
                       ("bad.png", b"no image")]:  # fmt: skip
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(file)
    failed: dict[str, dsguard.DsguardError] = {}
    sent = read_images(tmp_path / "in", names_in(tmp_path / "in"), failed)
    assert {name for name, _ in sent} == {name for name, _ in protected(scenes, key)[:2]}
    assert "was not sent" in str(failed["clean.png"])
    assert set(failed) == {"clean.png", "bad.png"}


def test_of_two_names_that_are_one_on_this_disk_the_second_is_named(
    tmp_path, server, owner, user, dataset, scenes, key, monkeypatch, capsys
):
    owner.grant(dataset, user.name)
    (tmp_path / "in").mkdir()
    for name, (_, file) in zip(["A.png", "a.png"], protected(scenes, key), strict=False):
        (tmp_path / "in" / name).write_bytes(file)
    monkeypatch.setattr(Spelling, "of", lambda _: Spelling(ignores_case=True))
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", user.token)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli(["dmcp", "restore", dataset, "in", "out"]) == Exit.SOME_FAILED
        told = capsys.readouterr()
        assert "a.png: 'A' and 'a' would be one file" in told.err
        assert "restored 1 of 2 images" in told.out
    assert [path.name for path in Path("out").iterdir()] == ["A.png"]
