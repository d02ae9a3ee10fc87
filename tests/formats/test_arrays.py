"""Arrays of strangers: labels of any layout, entries that nobody asked for, damage of any kind."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import limits, open_source
from dsguard.formats.arrays.npy import Npz
from dsguard.formats.arrays.reader import class_names
from dsguard.formats.places import LocalPlace


def entry(array, version=(1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version)
    return file.getvalue()


def header(text: str, content: bytes = b"") -> bytes:
    """An array with a header of one's own."""
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + content


def said(shape: str, descr: str = "'|u1'", content: bytes = b"") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", content)


def zeros(shape: str, descr: str = "'|u1'", megabytes: int = 0) -> bytes:
    """A long entry, packed; `pack` takes it as it is."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(said(shape, descr))
    for _ in range(megabytes):
        data += packer.compress(bytes(1 << 20))
    return data + packer.flush()


def pack(path, entries: dict[str, bytes], method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def classes(path) -> list[str]:
    return [name.split("/")[-2] for name in open_source(path).names()]


IMAGES = entry(np.zeros((3, 8, 8), np.uint8))

LABELS = [
    ([2, 0, 1], ["2", "0", "1"]),
    ([[2], [0], [1]], ["2", "0", "1"]),
    ([[[2]], [[0]], [[1]]], ["2", "0", "1"]),
    ([2.0, 0.0, -0.0], ["2", "0", "0"]),
    ([2.5, 1e300, float("nan")], ["2.5", "1e+300", "nan"]),
    (np.array([2, 0, 1], np.float16), ["2", "0", "1"]),
    ([True, False, True], ["True", "False", "True"]),
    (["cat", "dog", "a/b"], ["cat", "dog", "a/b"]),
    ([b"cat", b"d\xc3\xb6g", b"\xff"], ["cat", "dög", "\\xff"]),
    ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], ["2", "0", "1"]),
    ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], ["1", "0", "1"]),
    ([[False, True], [True, False], [False, True]], ["1", "0", "1"]),
    (np.zeros((0, 4)), []),
    ([], []),
]


@pytest.mark.parametrize(("labels", "expected"), LABELS)
def test_labels_of_one_class_for_each_image(labels, expected):
    assert class_names(np.array(labels), "labels") == expected


@pytest.mark.parametrize(
    "labels",
    [
        [[1, 1, 0], [1, 0, 0], [0, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
        [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]],
        [[0, 255], [255, 0], [0, 255]],
        [[0.0, float("nan")], [1, 0], [1, 0]],
        [["a", "b"], ["a", "b"], ["a", "b"]],
        np.zeros((3, 2, 2), np.int64),
        np.eye(3, dtype=complex),
    ],
)
def test_labels_of_several_values_are_refused(labels):
    with pytest.raises(dsguard.InputError, match=r"y of x has . values for each image.*one-hot"):
        class_names(np.array(labels), "y of x")


def test_one_hot_labels_are_classes_and_come_back(tmp_path, scenes):
    key = dsguard.DatasetKey(bytes(32))
    one_hot = np.eye(4)[[3, 0, 1, 2, 3, 0, 1, 2]]
    np.savez(tmp_path / "one-hot.npz", x_train=scenes, y_train=one_hot)
    assert sorted(classes(tmp_path / "one-hot.npz")) == list("00112233")
    protect_dataset(tmp_path / "one-hot.npz", tmp_path / "safe", key, profile="veil")
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    with np.load(tmp_path / "back" / "one-hot.npz") as found:
        np.testing.assert_array_equal(found["y_train"], one_hot)
        np.testing.assert_array_equal(found["x_train"], scenes)


def test_labels_beside_npy_files_are_read_alike(tmp_path):
    (tmp_path / "images.npy").write_bytes(IMAGES)
    np.save(tmp_path / "labels.npy", np.eye(3))
    assert classes(tmp_path) == ["0", "1", "2"]


def test_masks_are_no_labels(tmp_path):
    masks = entry(np.zeros((3, 8, 8), np.uint8))
    names = open_source(pack(tmp_path / "x.npz", {"x.npy": IMAGES, "y.npy": masks})).names()
    assert names[0] == "x/x/0000000.png"
    assert names[-1] == "x/y/0000002.png"


def test_names_of_classes_and_arrays_stay_in_their_folder(tmp_path):
    labels = entry(np.array(["../../a", "/b", "c"]))
    names = open_source(pack(tmp_path / "x.npz", {"x.npy": IMAGES, "y.npy": labels})).names()
    assert names == ["x/x/%2E.%2F..%2Fa/0000000.png", "x/x/%2Fb/0000001.png", "x/x/c/0000002.png"]
    with pytest.raises(dsguard.InputError, match="outside its folder"):
        open_source(pack(tmp_path / "y.npz", {"../../x.npy": IMAGES})).names()


@pytest.mark.parametrize("again", ["images.npy", "images"])
def test_two_arrays_of_one_name_are_refused(tmp_path, scenes, key, again):
    """NumPy shows one of both."""
    np.savez(tmp_path / "x.npz", images=scenes)
    with zipfile.ZipFile(tmp_path / "x.npz") as packed:
        whole = packed.read("images.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed.writestr(again, whole)
    report = protect_dataset(tmp_path / "x.npz", tmp_path / "out", key, workers=1)
    assert report.done == 0
    assert "has two arrays 'images'" in str(report.failures["x.npz"])


@pytest.mark.parametrize("keep", ["auto", "pixels"])
def test_arrays_one_behind_the_other_are_refused(tmp_path, scenes, key, keep):
    """As the page of `numpy.save` writes them: readers see the first alone."""
    with (tmp_path / "images.npy").open("wb") as file:
        np.save(file, scenes[:4])
        np.save(file, scenes[4:])
    report = protect_dataset(tmp_path / "images.npy", tmp_path / "out", key, keep=keep, workers=1)
    assert report.done == 0
    assert "has more behind its array" in str(report.failures["images.npy"])


def test_what_nobody_asks_for_is_not_unpacked(tmp_path, monkeypatch):
    path = pack(
        tmp_path / "x.npz",
        {"x.npy": IMAGES, "z.npy": entry(np.zeros(9)), "y.npy": entry([3, 1, 2])},
    )
    read = []
    whole = np.lib.format.read_array

    def noted(file, **settings):
        array = whole(file, **settings)
        read.append(array.shape)
        return array

    monkeypatch.setattr(np.lib.format, "read_array", noted)
    assert classes(path) == ["1", "2", "3"]
    assert read == [(3,)]
    assert len(list(open_source(path).read())) == 3
    assert sorted(read[1:]) == [(3,), (3,), (3, 8, 8)][1:]


def bomb(path, name: str, shape: str, descr: str = "'|u1'", megabytes: int = 80):
    """A file of images and an entry that unpacks to a thousand times its size."""
    pack(path, {"x.npy": IMAGES, "y.npy": entry([0, 1, 2])})
    packed = zeros(shape, descr, megabytes)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, packed)
    data = bytearray(path.read_bytes())
    size = struct.pack("<L", len(packed))
    for signature, method, sizes in ((b"PK\3\4", 8, 18), (b"PK\1\2", 10, 20)):
        at = data.rindex(signature)
        data[at + method : at + method + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        data[at + sizes : at + sizes + 8] = size + struct.pack("<L", 0x7FFFFFFF)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("shape", ["(3, 100000000)", "(300, 1000000)", "(3, 10000, 10000)"])
def test_long_entries_are_left_out_and_do_not_matter(tmp_path, shape):
    path = bomb(tmp_path / "x.npz", "more.npy", shape, "'<f4'")
    report = protect_dataset(path, tmp_path / "safe", dsguard.DatasetKey(bytes(32)), profile="veil")
    assert (report.done, report.failed) == (3, 0)
    assert report.left_out["more"].first == "x.npz/more"
    assert "unpacks to" in report.left_out["more"].reason


def test_long_entries_of_images_are_refused(tmp_path):
    path = bomb(tmp_path / "x.npz", "images.npy", "(80, 1024, 1024)")
    source = open_source(path)
    with pytest.raises(dsguard.InputError, match=r"entry 'images' of .*x\.npz unpacks to 83886080"):
        list(source.read())


def test_long_headers_are_not_read(tmp_path):
    for data in (b"\x93NUMPY\2\0" + struct.pack("<L", 1 << 30) + bytes(1 << 20),
                 header("{" + " " * 60_000 + "}")):  # fmt: skip
        path = pack(tmp_path / "x.npz", {"x.npy": IMAGES, "z.npy": data}, zipfile.ZIP_DEFLATED)
        with pytest.raises(dsguard.InputError, match="entry 'z' of"):
            open_source(path).names()


BROKEN = {
    "not NumPy": b"hello, this is text",
    "empty": b"",
    "another version": b"\x93NUMPY\7\0" + entry([1])[8:],
    "objects": entry(np.zeros(3))[:0] + said("(3,)", "'|O'", b"cos\nsystem\n."),
    "objects in a field": said("(3,)", "[('a', '|O')]"),
    "tokens": header("{'descr': (((, '\n"),
    "no syntax": header("{'descr'"),
    "an unfinished string": header("'''"),
    "brackets": header("(" * 9000),
    "signs": header("-" * 9000 + "1"),
    "code": header("__import__('os').system('true')"),
    "no dictionary": header("[1, 2]"),
    "no shape": header("{'descr': '|u1', 'fortran_order': False}"),
    "unhashable": header("{[]: 1}"),
    "a negative shape": said("(-1, 8, 8)"),
    "a huge shape": said("(99999999999, 8, 8)"),
    "a shape beyond numbers": said("(99999999999999999999999, 8, 8)"),
    "many dimensions": said("(" + "1, " * 100 + ")"),
    "a shape of text": said("('3', 8, 8)"),
    "no such type": said("(3,)", "'|q7'"),
    "a huge type": said("(3,)", "'|V99999999999'"),
    "null bytes": header("{\0}"),
    "no text": b"\x93NUMPY\1\0\4\0\xff\xfe\xfd\n",
}  # fmt: skip
CONTENTS = {
    "too short": said("(3, 8, 8)", content=bytes(100)),
    "too long": said("(3, 8, 8)", content=bytes(1000)),
}


def check_one_error(path, match: str = "") -> None:
    with pytest.raises(dsguard.InputError, match=match) as caught:
        list(open_source(path).read())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", BROKEN | CONTENTS)
@pytest.mark.filterwarnings("ignore")
def test_broken_entries_are_one_error(tmp_path, kind):
    data = (BROKEN | CONTENTS)[kind]
    entries = {"images.npy": data} if kind in CONTENTS else {"x.npy": IMAGES, "images.npy": data}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        check_one_error(pack(tmp_path / "x.npz", entries, method), r"entry 'images' of .*x\.npz")


@pytest.mark.parametrize("kind", [*BROKEN, "too short"])
@pytest.mark.filterwarnings("ignore")
def test_broken_npy_files_are_one_error(tmp_path, kind):
    (tmp_path / "x.npy").write_bytes((BROKEN | CONTENTS)[kind])
    check_one_error(tmp_path / "x.npy", r"x\.npy")


def test_labels_that_are_broken_are_one_error(tmp_path):
    for labels in (said("(3,)", "'<U1'", b"\xff" * 12), entry(5), entry([1, 2]),
                   entry(np.zeros((2, 0)))):  # fmt: skip
        check_one_error(
            pack(tmp_path / "x.npz", {"x.npy": IMAGES, "y.npy": labels}), "y of|in y|entry 'y'"
        )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_entries_packed_as_numpy_does_not_are_refused(tmp_path, method):
    check_one_error(pack(tmp_path / "x.npz", {"images.npy": IMAGES}, method), "as NumPy does not")


@pytest.mark.parametrize("flag", ["encrypted", "unknown method", "damaged", "checksum", "name"])
def test_damaged_zip_members_are_one_error(tmp_path, flag):
    path = pack(tmp_path / "x.npz", {"images.npy": IMAGES}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    if flag == "encrypted":
        data[local + 6] |= 1
        data[central + 8] |= 1
    elif flag == "unknown method":
        data[central + 10] = data[local + 8] = 98
    elif flag == "damaged":
        data[local + 41 : local + 45] = b"\xff" * 4
    elif flag == "checksum":
        data[central + 16] ^= 1
    else:
        data[local + 30] ^= 1
    path.write_bytes(data)
    check_one_error(path, r"entry 'images' of .*x\.npz")


def test_files_that_are_not_what_they_are_called(tmp_path):
    (tmp_path / "a.npz").write_bytes(IMAGES)
    pack(tmp_path / "b.npy", {"images.npy": IMAGES})
    for name in ("a.npz", "b.npy"):
        check_one_error(tmp_path / name, name)


@pytest.mark.parametrize("name", ["²", "٣", "9" * 5000, "-1", "x", ""])
def test_sidecars_of_no_row_are_one_error(tmp_path, name):
    entries = {"x.npy": IMAGES, f"dsguard-sidecar/x/{name}.npy": entry(np.zeros(3, np.uint8))}
    check_one_error(pack(tmp_path / "x.npz", entries), "sidecars of an unknown layout")


@given(st.data())
def test_changed_files_give_arrays_or_one_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "changed.npz"
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    labels = data.draw(st.sampled_from([np.eye(3), [1, 2, 3], ["a", "b", "c"]]))
    pack(path, {"x.npy": IMAGES, "y.npy": entry(labels)}, method)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        content = Npz(LocalPlace(folder), "changed.npz")
        found = {name: content[name] for name in content}
        list(open_source(path).read())
    except dsguard.DsguardError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


@pytest.mark.parametrize("arrays", [1, 2])
def test_a_file_has_an_image_for_each_eight_of_its_bytes(tmp_path, monkeypatch, arrays):
    """Each takes memory and time beside its pixels: of blank ones a kilobyte holds thousands."""
    monkeypatch.setattr(limits, "_FREE_ROWS", 100)
    blank, noise = np.zeros((100, 8, 8), np.uint8), np.random.default_rng(0).bytes(101 * 64)
    np.savez_compressed(tmp_path / "a.npz", images=blank)
    assert len(open_source(tmp_path).names()) == 100
    more = np.frombuffer(noise, np.uint8).reshape(101, 8, 8)
    np.savez_compressed(tmp_path / "a.npz", images=more)
    assert len(open_source(tmp_path).names()) == 101
    parts = {"0": np.zeros((101, 8, 8), np.uint8)} if arrays == 1 else {"0": blank, "1": blank[:1]}
    np.savez_compressed(tmp_path / "a.npz", **parts)
    with pytest.raises(
        dsguard.InputError, match=r"claims 101 rows in \d+ bytes; images are longer"
    ):
        open_source(tmp_path).names()


def with_padding(dtype, shape):
    """Values whose bytes were of something else before, as NumPy leaves them."""
    memory = np.random.default_rng(0).integers(1, 256, np.dtype(dtype).itemsize * np.prod(shape))
    array = memory.astype(np.uint8).view(dtype).reshape(shape)
    if array.dtype.names:
        for name in array.dtype.names:
            array[name] = 1
    else:
        array[...] = 0
    return array


aligned = np.dtype([("a", "u1"), ("b", "f8")], align=True)
NO_PADDING = np.dtype("g").itemsize == 8


@pytest.mark.skipif(NO_PADDING, reason="here a longdouble is a double")
@pytest.mark.parametrize("dtype", ["g", "G", aligned, np.dtype([("a", aligned)])])
@pytest.mark.parametrize("options", [{}, {"publish": ("scores",)}])
def test_memory_between_values_is_not_published(tmp_path, scenes, key, dtype, options):
    scores = with_padding(dtype, (8, 2))
    np.savez(tmp_path / "x.npz", images=scenes[:8], scores=scores)
    report = protect_dataset(tmp_path / "x.npz", tmp_path / "safe", key, **options)
    assert report.published == []
    with np.load(tmp_path / "safe" / "x.npz") as found:
        assert found.files == ["images"]
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    with np.load(tmp_path / "back" / "x.npz") as found:
        np.testing.assert_array_equal(found["scores"], scores)
        is_structure = dtype not in ("g", "G")  # of which NumPy copies the values alone
        assert is_structure or found["scores"].tobytes() == scores.tobytes()


@pytest.mark.skipif(NO_PADDING, reason="here a longdouble is a double")
@pytest.mark.parametrize("only_named", [False, True])
def test_classes_with_memory_between_them_are_not_published(tmp_path, scenes, key, only_named):
    labels = with_padding("g", (8,))
    np.save(tmp_path / "images.npy", scenes[:8])
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "clean").mkdir()
    for name in ("images.npy", "labels.npy"):
        (tmp_path / name).rename(tmp_path / "clean" / name)
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, only_named=only_named)
    assert not (tmp_path / "safe" / "labels.npy").exists()
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert np.load(tmp_path / "back" / "labels.npy").tobytes() == labels.tobytes()


@pytest.mark.parametrize("name", ["labels", "answers"])
@pytest.mark.parametrize("only_named", [False, True])
@pytest.mark.parametrize("kind", ["signs", "truth"])
def test_zeros_and_ones_of_several_kinds_are_no_one_hot_array(
    tmp_path, scenes, key, name, only_named, kind
):
    picture = np.random.default_rng(0).integers(0, 2, (8, 80))
    one_hot = np.where(picture, -0.0, 0.0)
    one_hot[:, 3] = 1
    if kind == "truth":
        one_hot = np.eye(8, 80, dtype=np.uint8)
        one_hot[np.arange(8), np.arange(8)] = np.arange(100, 108)
        one_hot = one_hot.view(bool)
    np.savez(tmp_path / "x.npz", images=scenes[:8], **{name: one_hot})
    protect_dataset(tmp_path / "x.npz", tmp_path / "safe", key, only_named=only_named)
    with np.load(tmp_path / "safe" / "x.npz") as found:
        assert found.files == ["images"]
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    with np.load(tmp_path / "back" / "x.npz") as found:
        assert found[name].tobytes() == one_hot.tobytes()


def strange(kind: str) -> bytes:
    odd = np.zeros(5, "U4")
    odd.view(np.uint32)[:] = 0xFFFFFFFF
    return {"characters": entry(odd), "cut off": entry(np.arange(5))[:-5]}[kind]


@pytest.mark.parametrize("profile", ["sealed", "veil"])
@pytest.mark.parametrize("kind", ["characters", "cut off"])
def test_a_damaged_array_beside_images_is_named_and_costs_no_other(
    tmp_path, scenes, key, kind, profile
):
    (tmp_path / "clean").mkdir()
    for name in "abc":
        arrays = {"images.npy": entry(scenes[:5]), "x.npy": entry(np.arange(5))}
        pack(tmp_path / "clean" / f"{name}.npz", arrays)
    pack(tmp_path / "clean" / "b.npz", {**arrays, "x.npy": strange(kind)})
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile=profile)
    assert (report.done, report.failures) == (15, {})
    assert [(each.count, each.first) for each in report.left_out.values()] == [(1, "b.npz/x")]
    with np.load(tmp_path / "safe" / "b.npz") as found:
        kept = {f"{name}.npy": entry(found[name]) for name in found.files}
    pack(tmp_path / "safe" / "b.npz", {**kept, "z.npy": strange(kind)})
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert (report.done, report.failures.keys()) == (15, {"b.npz/z"}), report.failures
