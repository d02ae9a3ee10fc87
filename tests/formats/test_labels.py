"""Labels and names that no text file can hold: half a surrogate pair, bytes that are no UTF-8."""

from __future__ import annotations

import io
import json
import os
import tarfile

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image, open_source

LABELS = ["\ud800", "\udce9", "a\udfff/b", "\U0001f408"]


@pytest.fixture
def images(scenes):
    return np.concatenate([scenes, scenes[:, ::-1]])


def webdataset(path, images, fields):
    with tarfile.open(path, "w") as archive:
        for n, image in enumerate(images):
            for suffix, data in (("png", encode_image(image)), *fields(n)):
                member = tarfile.TarInfo(f"{n:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def in_json(folder, images):
    folder.mkdir()
    webdataset(
        folder / "0.tar",
        images,
        lambda n: [("json", json.dumps({"label": LABELS[n % 4]}).encode())],
    )


def in_classname(folder, images):
    folder.mkdir()
    names = [name.encode("utf-8", "surrogatepass") for name in LABELS]
    webdataset(folder / "0.tar", images, lambda n: [("classname.txt", names[n % 4])])


def in_npz(folder, images):
    folder.mkdir()
    labels = np.array([LABELS[n % 4] for n in range(len(images))])
    np.savez(folder / "a.npz", images=images, labels=labels)


def in_folders(folder, images):
    for n, image in enumerate(images):
        at = folder / os.fsdecode([b"\xed\xa0\x80", b"\xe9", b"\xff", b"a"][n % 4])
        at.mkdir(parents=True, exist_ok=True)
        (at / os.fsdecode(b"\xe9%d.png" % n)).write_bytes(encode_image(image))


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("made", [in_json, in_classname, in_npz, in_folders])
def test_they_do_not_end_a_run(tmp_path, images, key, made, out_format):
    made(tmp_path / "in", images)
    options = {"out_format": out_format}
    done = protect_dataset(
        tmp_path / "in", tmp_path / "safe", key, profile="veil", overwrite=False, **options
    )
    assert (done.done, done.failed) == (len(images), 0)
    back = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert (back.done, back.failed) == (len(images), 0)
    found = list(open_source(tmp_path / "back").read())
    assert len(found) == len(images)
    counts = {name: [c for _, c, _ in found].count(name) for name in {c for _, c, _ in found}}
    assert sorted(counts.values()) == [4, 4, 4, 4]


@pytest.mark.parametrize("made", [in_json])
def test_a_surrogate_learns_them(quick_networks, tmp_path, images, made, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    dsguard.DatasetKey(bytes(32)).save("k")
    made(tmp_path / "in", images)
    options = ["--key", "k", "--epochs", "1", "--device", "cpu", "--surrogate", "s.pt"]
    assert run(["protect", "in", "out", *options]) == Exit.OK
    assert run(["protect", "in", "out2", *options, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["protected"] == len(images)
