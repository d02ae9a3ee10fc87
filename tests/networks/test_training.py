"""Files of networks: whatever is in one, there is one error, which names it."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from dsguard.errors import FormatError, InputError

torch = pytest.importorskip("torch")

from dsguard.networks.stored import MOST_PICKLE_BYTES, MOST_STEPS, check_pickle  # noqa: E402
from dsguard.networks.training import Recipe, load_whole, save_whole, train  # noqa: E402

GOOD = {"image_shape": [8, 8, 3], "width": 4, "class_names": ["a"], "classes": torch.arange(2)}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 1 << 70},
        {"width": -1},
        {"width": "x"},
        {"width": float("inf")},
        {"image_shape": [8, 8]},
        {"image_shape": [8, 8, 1 << 70]},
        {"image_shape": {}},
        {"classes": None},
        {"classes": torch.zeros(0)},
        {"weights": {}},
        {"weights": 3},
        {"class_names": None},
    ],
)
def test_a_damaged_surrogate_is_one_error(tmp_path, change):
    from dsguard.covers.surrogate import _KIND, _VERSION
    from dsguard.fsp import Surrogate

    path = tmp_path / "s.pt"
    torch.save({"kind": _KIND, "version": _VERSION, **GOOD, **change}, path)
    with pytest.raises(FormatError, match=r"s\.pt is a damaged surrogate"):
        Surrogate.load(path, "cpu")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_goes_on_from_its_file(tmp_path, optimizer):
    """Whatever optimizers and schedules store, their files are read again."""
    images, labels = np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2
    recipe, path = Recipe(epochs=2, optimizer=optimizer), tmp_path / "s.pt"
    cpu = torch.device("cpu")

    def go(told):
        layers = torch.nn.Conv2d(3, 2, 4), torch.nn.BatchNorm2d(2), torch.nn.Flatten()
        model = torch.nn.Sequential(*layers)
        return train(model, images, labels, recipe, cpu, lambda n: told.append(n) or n / 2, path)

    first, again = [], []
    assert go(first) == go(again) == [0.5, 1.0]
    assert (first, again) == ([1, 2], [])
    path.write_bytes(stored_as(OURS + b"c_codecs\nencode\n0."))
    with pytest.raises(InputError, match=r"s\.pt is damaged, or of another training; remove it"):
        go([])


def text(told: str) -> bytes:
    return b"X" + struct.pack("<I", len(told)) + told.encode()


def stored_as(steps: bytes, name: str = "data.pkl") -> bytes:
    """Return a file of torch with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"archive/{name}", steps)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


OURS = b"\x80\x02"
TIMES = 40
NAMED = b"ccollections\nCounter\n"
BOMBS = {
    "encoded again and again": OURS + b"c_codecs\nencode\n" * (TIMES + 1) + text("A" * 1000)
    + text("latin1") + b"\x86R" + (text("hex") + b"\x86R") * TIMES + b".",
    "a name from the stack": b"\x80\x04" + text("_codecs") + text("encode") + b"\x93.",
    "an instance": OURS + b"(i_codecs\nencode\n.",
    "another function": OURS + b"cbuiltins\nbytearray\n" + b"\x8a\x05" + b"\xff" * 4 + b"\0\x85R.",
    "counted again and again": OURS + b"]" + (NAMED + text("abc") + b"\x85Ra") * TIMES + b".",
    "a counter met again": OURS + NAMED + b"q\0" + (b"h\0" + text("ab") + b"\x85R") * 9 + b".",
    "a list met again": OURS + b"](K\1K\2eq\0" + b"h\0h\0\x86.",
    "tuples in tuples": OURS + b")" + b"q\0h\0\x86" * TIMES + b".",
    "a tuple in place of a text": OURS + text("a") + b"q\0)q\0h\0\x86.",
    "too many steps": OURS + b"]" + b"Na" * MOST_STEPS + b".",
    "a long pickle": OURS + text("a" * MOST_PICKLE_BYTES) + b".",
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_a_pickle_that_could_fill_the_memory_meets_no_torch(tmp_path, monkeypatch, what):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    (tmp_path / "s.pt").write_bytes(stored_as(BOMBS[what]))
    with pytest.raises(ValueError, match="its pickle "):
        load_whole(tmp_path / "s.pt")


def test_torch_sees_the_members_that_were_looked_at(tmp_path, monkeypatch):
    path, seen = tmp_path / "s.pt", []
    save_whole({"a": torch.arange(3)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/DATA.PKL", BOMBS["encoded again and again"])
        archive.writestr("archive/data/A", b"")
    monkeypatch.setattr(
        torch, "load", lambda file, **_: seen.extend(zipfile.ZipFile(file).namelist())
    )
    load_whole(path)
    wanted = {"data.pkl", "version", "byteorder", "data/0"}
    assert sorted(seen) == sorted(f"archive/{name}" for name in wanted)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", BOMBS["encoded again and again"])
    with pytest.raises(ValueError, match="has a member twice"):
        load_whole(path)


def test_what_our_files_consist_of_passes():
    check_pickle(pickle.dumps({"a": [1, 2.0, None, True, ("b", "b")], "c": {}}, 2))
