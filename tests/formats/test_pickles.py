"""Pickles of strangers: read as data, whoever wrote them; whatever else they are, one error."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard.formats import open_source
from dsguard.formats.arrays import pickles
from dsguard.formats.arrays.pickles import load_pickle

ROWS = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
BATCH = {b"data": ROWS, b"labels": [0, 1], b"filenames": [b"a.png", b"b.png"], b"batch_label": b""}


def load(data: bytes):
    return load_pickle(io.BytesIO(data), "batch")


def same(found, expected) -> bool:
    if isinstance(expected, np.ndarray):
        return type(found) is np.ndarray and np.array_equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[key], value) for key, value in expected.items()
        )
    return type(found) is type(expected) and found == expected


def text(value: bytes) -> bytes:
    """A string as Python 2 wrote it."""
    return b"U" + bytes([len(value)]) + value


def line(*parts: bytes) -> bytes:
    return b"".join(part + b"\n" for part in parts)


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


RECONSTRUCT = b"c" + line(b"numpy.core.multiarray", b"_reconstruct")
NDARRAY, DTYPE = b"c" + line(b"numpy", b"ndarray"), b"c" + line(b"numpy", b"dtype")
ENCODE = b"c" + line(b"_codecs", b"encode")
BEGUN = RECONSTRUCT + b"(" + NDARRAY + b"K\0\x85" + text(b"b") + b"tR"
PLAIN_STATE = b"(K\x03" + text(b"|") + b"NNN" + 2 * number(-1) + b"K\0tb"
U1 = DTYPE + b"(" + text(b"u1") + b"K\0K\x01tR" + PLAIN_STATE


def array_state(shape: bytes = b"K\x02\x85", dtype: bytes = U1, data: bytes = text(b"xy")) -> bytes:
    return b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def within(value: bytes) -> bytes:
    """A pickle of a dictionary with one entry."""
    return b"\x80\x02}" + text(b"data") + value + b"s."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_batches_of_any_protocol_are_read(protocol, order):
    batch = BATCH | {b"data": np.asarray(ROWS, order=order), b"fortran": np.asfortranarray(ROWS)}
    assert same(load(pickle.dumps(batch, protocol)), batch)


def test_batches_of_older_numpy_are_read():
    data = pickle.dumps(BATCH, 2)
    assert b"numpy._core" in data or np.lib.NumpyVersion(np.__version__) < "2.0.0"
    assert same(load(data.replace(b"numpy._core", b"numpy.core")), BATCH)
    assert same(load(data.replace(b"numpy.core", b"numpy._core")), BATCH)


def test_batches_of_python_2_are_read():
    body = BEGUN + b"q\x05" + array_state()
    assert same(load(within(body)), {b"data": np.frombuffer(b"xy", np.uint8)})
    meta = b"(dp1\nS'label_names'\np2\n(lp3\nS'cat'\np4\naS'd\\xffg'\np5\nasS'n'\nI10000\ns."
    assert load(meta) == {b"label_names": [b"cat", b"d\xffg"], b"n": 10000}
    rows = b"".join(b"I%d\naL7L\na" % n for n in range(3))
    assert load(b"(lp0\n" + rows + b".") == [0, 7, 1, 7, 2, 7]


def test_one_value_in_several_places_is_read():
    names = [b"a", b"b"]
    batch = {b"fine": names, b"coarse": names, b"data": ROWS, b"again": ROWS, b"one": [ROWS, ROWS]}
    found = load(pickle.dumps(batch, 2))
    assert found[b"fine"] == found[b"coarse"] == names
    assert same(found[b"one"][1], ROWS)


def test_what_is_written_is_read_again():
    sidecars = {b"dsguard-sidecar": {0: b"\0\xff", 70000: b""}}
    assert same(load(pickle.dumps(BATCH | sidecars, 2)), BATCH | sidecars)


OBJECT_STATE = (
    b"(K\x03" + text(b"|") + b"N(" + text(b"f0") + b"t}" + text(b"f0") + DTYPE
    + b"(" + text(b"O8") + b"K\0K\x01tR" + b"K\0\x86s" + 2 * number(8) + b"K\x3ftb"
)  # fmt: skip
HUGE = b"\xff\xff\xff\x7f"


def nested(levels: int) -> bytes:
    """A tuple of two that are the same tuple of two, and so on: 2 ** levels leaves."""
    return b")" + b"".join(b"q\x01h\x01\x86" for _ in range(levels))


ATTACKS = {
    # of NumPy: objects by way of dtypes, memory that nobody wrote, sizes that are not there
    "fields of objects": DTYPE + b"(" + text(b"V8") + b"K\0K\x01tR" + OBJECT_STATE,
    "objects among the state": DTYPE + b"(" + text(b"u1") + b"K\0K\x01tR" + OBJECT_STATE,
    "an array of objects": BEGUN + array_state(dtype=DTYPE + b"(" + text(b"O8") + b"K\0K\x01tR"),
    "a flag of objects": DTYPE + b"(" + text(b"u1") + b"K\0K\x01tR" + PLAIN_STATE[:-3] + b"K\x3ftb",
    "metadata": DTYPE + b"(" + text(b"u1") + b"K\0K\x01tR" + PLAIN_STATE[:-2] + b"}tb",
    "never written": NDARRAY + b"(K\x64\x85" + text(b"u1") + b"tR",
    "never filled": BEGUN,
    "an offset": NDARRAY + b"(K\x02\x85" + text(b"u1") + text(b"xy") + number(-64) + b"tR",
    "another shape at first": RECONSTRUCT + b"(" + NDARRAY + b"K\x64\x85" + text(b"b") + b"tR",
    "a subclass": RECONSTRUCT + b"(" + DTYPE + b"K\0\x85" + text(b"b") + b"tR",
    "too few bytes": BEGUN + array_state(b"K\x03\x85"),
    "too many bytes": BEGUN + array_state(b"K\x01\x85"),
    "a negative shape": BEGUN + array_state(number(-1) + number(-2) + b"\x86"),
    "a shape that wraps": BEGUN + array_state(b"\x8a\x09" + bytes(8) + b"\x01\x85", data=text(b"")),
    "a huge shape": BEGUN + array_state(b"K\0\x8a\x08" + HUGE + HUGE + b"\x86", data=text(b"")),
    "a shape of floats": BEGUN + array_state(b"G" + struct.pack(">d", 2.0) + b"\x85"),
    "a shape of flags": BEGUN + array_state(b"\x88K\x02\x86"),
    "a list for a shape": BEGUN + array_state(b"]K\x02a"),
    "text for bytes": BEGUN + array_state(data=b"X\x02\0\0\0xy"),
    "many dimensions": BEGUN + array_state(b"(" + b"K\x01" * 40 + b"t", data=text(b"x")),
    "no dtype": BEGUN + array_state(dtype=text(b"u1")),
    "filled twice": BEGUN + array_state() + array_state(),
    "a part of an array": U1,
    "a function": RECONSTRUCT,
    # of the machine
    "a state for a dictionary": b"}}b",
    "a state for a function": RECONSTRUCT + b"}b",
    "a state with attributes": BEGUN + b"}" + text(b"fill") + RECONSTRUCT + b"sb",
    "a state with slots": BEGUN + b"N}" + text(b"_made") + text(b"x") + b"s\x86b",
    "a call of a string": text(b"x") + b")R",
    "a call of an array": BEGUN + b")R",
    "a call without a tuple": ENCODE + b"]R",
    "a call without arguments": ENCODE + b")R",
    "a new object": NDARRAY + b")\x81",
    "a new object by name": NDARRAY + b")}\x92",
    "an instance": b"(i" + line(b"os", b"system"),
    "an object": b"(" + NDARRAY + b"o",
    "something kept elsewhere": b"Pos.system\n",
    "something kept elsewhere, named": text(b"os") + b"Q",
    "an extension": b"\x82\x01",
    "a wide extension": b"\x84" + HUGE,
    "a buffer from outside": b"\x97",
    "a buffer from outside, read": text(b"x") + b"\x98",
    "a set": b"\x8f",
    "another encoding": ENCODE + b"(X\x01\0\0\0x" + text(b"utf-8") + b"tR",
    "a codec that runs": ENCODE + b"(X\x01\0\0\0xX\x05\0\0\0rot13tR",
    "what is not latin-1": ENCODE + b"(X\x02\0\0\0\xd0\x96X\x06\0\0\0latin1tR",
    "os.system": b"cos\nsystem\n(" + text(b"true") + b"tR",
    "eval": b"c__builtin__\neval\n(" + text(b"1") + b"tR",
    "by attribute": b"\x8c\x05numpy\x8c\x0dndarray.dumps\x93",
    "nothing on the stack": b"R",
    "no mark": b"t",
    "no list": text(b"x") + b"K\x01a",
    "no dictionary": b"]K\x01K\x02s",
    "an odd number": b"}(K\x01u",
    "beyond a mark": b"(K\x01R",
    "an unknown memo": b"j" + HUGE,
    "a negative memo": b"p-1\n",
    "an unknown operation": b"\xf0",
    "a number in words": b"Ione\n",
    "a string without quotes": b"Sx\n",
    # of time and memory
    "a huge string": b"T" + HUGE,
    "a negative string": b"T\xff\xff\xff\xff",
    "huge bytes": b"\x8e" + b"\xff" * 8,
    "a huge byte array": b"\x96" + b"\xff" * 7 + b"\x7f",
    "a huge number": b"\x8b" + HUGE,
    "a number of many digits": b"L" + b"9" * 100_000 + b"L\n",
    "a float of many digits": b"F" + b"9" * 100_000 + b"\n",
    "keys that are alike": b"}(" + b"\x8a\x09" + struct.pack("<Q", (1 << 61) - 1) + b"\0K\x01u",
    "a key that is nested": b"}" + nested(60) + b"K\x01s",
    "nested once in each": nested(60),
    "nested in a name": nested(60) + text(b"x") + b"\x93",
    "nested in a dtype": DTYPE + nested(60) + b"K\0K\x01\x87R",
    "nested in a state": BEGUN + nested(60) + b"b",
    "nested in its state": DTYPE + text(b"u1") + b"\x85R(K\x03" + nested(60) + b"NNNNNNtb",
    "nested in a call": ENCODE + nested(60) + b"\x85R",
    "nested deeply": b"]" * 100_000 + b"a" * 99_999,
    "in itself": b"]q\x01h\x01a",
    "in itself many times": b"]q\x01(" + b"h\x01" * 1000 + b"e",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_one_error(attack):
    with pytest.raises(dsguard.FormatError, match=r"^batch "):
        load(within(ATTACKS[attack]))


def test_nothing_that_a_pickle_names_is_imported(monkeypatch):
    def find(name, *args, **kwargs):
        raise AssertionError(name)

    monkeypatch.setattr("builtins.__import__", find)
    for attack in ("os.system", "by attribute", "eval"):
        with pytest.raises(dsguard.FormatError):
            load(within(ATTACKS[attack]))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(pickles, "_MOST_STEPS", 10_000)
    for data in (b"(" * 50_000, b"}" * 50_000, b"]\x94" + b"\x94" * 50_000,
                 b"]r" + HUGE + b"."):  # fmt: skip
        tracemalloc.start()
        with contextlib.suppress(dsguard.FormatError):
            load(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


def test_a_text_is_not_encoded_again_and_again():
    piece = 1 << 20
    latin = b"X\x06\0\0\0latin1q\x02"
    begin = b"X" + struct.pack("<I", piece) + b"x" * piece + b"q\x01" + latin
    data = b"\x80\x02(" + begin + (ENCODE + b"h\x01h\x02\x86R") * 100 + b"l."
    with pytest.raises(dsguard.FormatError, match="again and again"):
        load(data)


def test_a_pickle_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(pickles, "MOST_PICKLE_BYTES", 1000)
    with pytest.raises(dsguard.FormatError, match="more than the 1000"):
        load(pickle.dumps(bytes(1000)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False)
    | st.binary() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(VALUES, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


def check_plain(value) -> None:
    if type(value) in (list, tuple):
        for entry in value:
            check_plain(entry)
    elif type(value) is dict:
        assert {type(key) for key in value} <= {int, str, bytes}
        check_plain(list(value.values()))
    elif type(value) is np.ndarray:
        assert value.dtype == np.uint8
        assert not value.flags.writeable
    else:
        assert type(value) in (str, bytes, int, float, bool, type(None))


SEEDS = [
    *(pickle.dumps(BATCH | {b"data": ROWS[:1, :30]}, n) for n in range(6)),
    *(within(attack) for attack in ATTACKS.values() if len(attack) < 1000),
]
PIECES = [NDARRAY, DTYPE, RECONSTRUCT, ENCODE, BEGUN, U1, array_state(), b"R", b"b", b"(", b"t"]


@given(st.data())
def test_changed_pickles_give_plain_values_or_one_error(data):
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(seed)))
        new = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        seed[place : place + data.draw(st.integers(0, 4))] = new
    told = ""
    try:
        check_plain(load(bytes(seed)))
    except dsguard.FormatError as error:
        told = str(error)
    assert len(told) < 400


@pytest.mark.parametrize(
    "names", [ROWS, 7, {b"a": 1}, None, ["\ud800"], [["a"]], "ab", [b"ok", b"\xff"]]
)
def test_class_names_that_are_none_are_refused(tmp_path, names):
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}))
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(BATCH))
    with pytest.raises(dsguard.FormatError, match="can name folders"):
        open_source(tmp_path).names()


def test_keys_that_are_no_utf8_are_no_traceback(tmp_path):
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"\ud800": 1, "label_names": ["a", "b"]}))
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(BATCH))
    assert len(open_source(tmp_path).names()) == 2
