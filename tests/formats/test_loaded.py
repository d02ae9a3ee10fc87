"""What counts as a pickle, by name and by content."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from dsguard.formats.programs.pickled import is_pickle

UNMARKED = pickle.dumps(Path("a"), 0)
NAMED = pickle.dumps(Path("a"), 4)
"""It calls what it names."""


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


OBJECTS = npy(np.array([None]))


def npz(name="x.npy", data=OBJECTS, packing=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("numbers.npy", npy(np.arange(3)))
        archive.writestr(name, data)
    return file.getvalue()


def damaged(data: bytes) -> bytes:
    """Return an archive whose checksums are wrong: NumPy loads objects before it sees that."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            data = data.replace(entry.CRC.to_bytes(4, "little"), bytes(4))
    return data


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(os.urandom(1000))
    return file.getvalue()


def one(data: bytes, packing=zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file with one entry."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("labels", data)
    return file.getvalue()


def two_directories(data: bytes) -> bytes:
    """Return a zip file with a second directory, which some readers take for the first."""
    plain = one(data)
    end = plain.rfind(b"PK\5\6")
    start = plain.find(b"PK\1\2")
    return plain[:end] + plain[start:end].replace(b"labels", b"readme") + plain[end:]


def overlapping() -> bytes:
    """Return a zip file with an entry that lies within another."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", b"cat" * 99)
        again = zipfile.ZipInfo("y")
        again.file_size, again.compress_size, again.CRC, again.header_offset = 3, 3, 0, 0
        archive.filelist.append(again)
    return file.getvalue()


def two_entries(data: bytes) -> bytes:
    """Return a zip file with two entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", data)
        archive.writestr("y", b"cat")
    return file.getvalue()


def extra(data: bytes) -> bytes:
    """Return a gzip file with an extra field of 64 KiB, before which nothing is unpacked."""
    plain = gzip.compress(data)
    return plain[:3] + b"\4" + plain[4:10] + b"\xff\xff" + bytes(65535) + plain[10:]


def tar(data: bytes, mode: str = "w", name: str = "labels") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


LONG = b"\x80\4X" + (1 << 20).to_bytes(4, "little") + np.random.default_rng(0).bytes(1 << 20)
LARGE_WINDOW = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]
SMALL_WINDOW = {"id": lzma.FILTER_LZMA1, "dict_size": 4096}
OTHER_BITS = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 0, "lp": 2, "pb": 0}
PICKLES = {
    **{f"protocol-{n}": pickle.dumps(Path("a"), n) for n in range(6)},
    "without-its-protocol": NAMED[2:],
    "old-instance": b"(S'true'\nios\nsystem\n.",
    "without-an-end": b"cos\nsystem\n(S'true'\ntR",
    "by-its-state": b"cargparse\nNamespace\n(N(S'__setstate__'\ncposix\nsystem\ndtbS'true'\nb.",
    "by-its-state-alone": b"cargparse\nNamespace\nNb",
    "of-the-memo": b"cos\nsystem\np0\n0(S'true'\nlg0\n(S'true'\ntR.",
    "twice-on-the-stack": b"cos\nsystem\n2(S'true'\ntR.",
    "an-object": b"(cos\nsystem\nS'true'\no.",
    "by-number": b"\x82\1(S'true'\ntR.",
    "adding-to-a-list": b"csys\npath\nS'/tmp'\na.",
    "adding-to-a-list-at-once": b"csys\npath\n(S'/tmp'\ne.",
    "into-a-dictionary": b"cos\nenviron\nS'LD_PRELOAD'\nS'x'\ns.",
    "into-a-dictionary-at-once": b"cos\nenviron\n(S'LD_PRELOAD'\nS'x'\nu.",
    "behind-a-number-of-base-16": b"I0x1\n0" + UNMARKED,
    "behind-a-long-number": b"L0x1L\n0" + UNMARKED,
    "behind-a-zero-byte": b"I1\x002\n0" + UNMARKED,
    "behind-letters": b"S'\xff'\n0S'\\xff'\n0V\\ud800\n0" + UNMARKED,
    "importing-alone": b"cantigravity\nfly\n.",
    "data.gz": gzip.compress(pickle.dumps(Path("a"), 0)),
    "labels.bz2": bz2.compress(NAMED),
    "long.pbz": bz2.compress(LONG),
    "labels.xz": lzma.compress(NAMED),
    "labels.lzma": lzma.compress(NAMED, lzma.FORMAT_ALONE),
    "large-window.xz": lzma.compress(NAMED, filters=LARGE_WINDOW),
    "features.dat": zlib.compress(NAMED),
    "cut.gz": gzip.compress(NAMED + os.urandom(2000))[:1900] + bytes(2000),
    "two-streams.gz": gzip.compress(b"") + bytes(7) + gzip.compress(NAMED),
    "two-streams.bz2": bz2.compress(b"") + bz2.compress(NAMED),
    "two-streams.xz": lzma.compress(b"") + lzma.compress(NAMED),
    "extra-field.gz": extra(NAMED),
    "empty-blocks.zlib": b"\x78\x01" + b"\0\0\0\xff\xff" * 9000 + zlib.compress(NAMED)[2:],
    "no-end.zlib": b"\x78\x01" + b"\0\0\0\xff\xff" * 300_000,
    "behind-bytes.zip": b"#!/bin/sh\n" + one(NAMED),
    "long-name.tar": tar(NAMED, name="n" * 20_000),
    "late": b"I1\n0" * 6000 + UNMARKED,
    "very-late": b"I1\n0" * 300_000 + UNMARKED,
    "behind-another": b"N." + UNMARKED,
    "behind-a-string": b"T" + (20_000).to_bytes(4, "little") + b"a" * 20_000 + b"0" + UNMARKED,
    "behind-a-long-string": b"T" + (2 << 20).to_bytes(4, "little") + b"a" * (2 << 20) + UNMARKED,
    "behind-one-step-over-and-over": b"(" * (1 << 21) + UNMARKED,
    "behind-steps.zip": one(b"N0]0" * 10_000 + UNMARKED),
    "two-directories.zip": two_directories(NAMED),
    "old-torch.bin": tar(b"", name="tensors"),
    "objects-under-any-name.bin": two_entries(OBJECTS),
    "packed.arrow.gz": gzip.compress(b"ARROW1"),
    "other-bits.tar.gz": lzma.compress(tar(NAMED), lzma.FORMAT_ALONE, filters=[OTHER_BITS]),
    "no-zip.zip": NAMED,
    "no-xz.xz": NAMED,
    "small-window.xz": lzma.compress(NAMED, lzma.FORMAT_ALONE, filters=[SMALL_WINDOW]),
    "other-bits.lzma": lzma.compress(NAMED, lzma.FORMAT_ALONE, filters=[OTHER_BITS]),
    "small-window-by-any-name": lzma.compress(NAMED, lzma.FORMAT_ALONE, filters=[SMALL_WINDOW]),
    "labels.v2.zst": b"\x28\xb5\x2f\xfd",
    "train.2024.lz4": b"\x04\x22\x4d\x18",
    "features.dat ": b"ZF" + hex(len(NAMED)).ljust(19).encode() + zlib.compress(NAMED),
    "in-each-other.zip": overlapping(),
    "skipped.zst": b"\x5a\x2a\x4d\x18",
    "labels.zip": one(NAMED),
    "packed.zip": one(NAMED, zipfile.ZIP_LZMA),
    "damaged.zip": damaged(one(NAMED + os.urandom(100_000))),
    "labels.tar": tar(NAMED),
    "labels.tar.xz": tar(NAMED, "w:xz"),
    "labels.zst": b"\x28\xb5\x2f\xfd",
    "labels.lz4": b"\x04\x22\x4d\x18",
    "0.jl": b"",
    "0.pbz2": b"",
    "npy": OBJECTS,
    "structured": npy(np.zeros(2, [("a", "u1"), ("b", "O")])),
    "long.npy": b"S'" + b"a" * 100_000 + b"'\n0" + NAMED,  # NumPy unpickles what is no array
    "x.npz": npz(),
    "any.bin": npz(),
    "entry-of-any-name.npz": npz("x"),
    "stored.npz": npz(packing=zipfile.ZIP_STORED),
    "odd.npz": npz(packing=zipfile.ZIP_LZMA),
    "damaged.npz": damaged(npz()),
    "torch.bin": npz("archive/data.pkl", b"x"),
    "in-any-case": npz("ARCHIVE/DATA.PKL", b"x"),
    "MODEL.PTH.TAR": b"",
    "0.cache": b"",
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(name):
    assert is_pickle(name, PICKLES[name])
    assert is_pickle(name, io.BytesIO(PICKLES[name]))


HONEST = {
    "0.json": b'{"label": 3}',
    "0.txt": b"cos\nsystem\n(a cat)\n",
    "names": b"cat\ndog\nbird\nrabbit\n",
    "more-names": b"cat\ndog\napple\nbird\nstone\nelk\nraven\n",
    "initials": b"Ice cream (a)\n0cos\nsystem\n(tR.",
    "kinds": b"(cat\ndog\ntR)\n",
    "boxes.txt": b"0 0.5 0.5 0.2 0.2\n",
    "0.cls": b"3",
    "empty": b"",
    "0.npy": npy(np.arange(3)),
    "0.npz": npz(data=npy(np.ones(3))),
    "texts.npz": npz(data=npy(np.array(["a"]))),
    "0.zip": npz("notes.txt", b"cat"),
    "pointer.npy": b"version https://git-lfs.github.com/spec/v1\n",
    "empty.npy": b"",
    "no-archive.npz": b"PK\3\4 and nothing else",
    "0.mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "0.wav": wav(),
    "0.bin": np.random.default_rng(0).bytes(100_000),
    "marked.bin": b"\x80\4\0\1\2\3",
    "ones.bin": b"(" * 1000,
    "floats.bin": np.linspace(0, 1, 1000, dtype="f4").tobytes(),
    "0.png": b"\x89PNG\r\n\x1a\n",
    "0.json.gz": gzip.compress(b"[1]"),
    "damaged.gz": b"\x1f\x8b" + bytes(9),
    "one-line.txt": b"The cat. " * 300_000,
    "table.csv": b"X,Y\n1,2\n" * 200_000,
    "B.json": b"Begin: " + b"[1, 2], " * 200_000,
    "mask.tif": b"II*\0" + bytes(1 << 21),
    "mask.bmp": b"BM\0\0\1\0" + bytes(1 << 21),
    "silence.wav": b"RIFF" + bytes(1 << 21),
    "letters": b"CATG" * 100_000,
    "of-no-colour.raw": bytes(100_000),
    "labels.csv.bz2": bz2.compress(b"0,cat\n"),
    "damaged.bz2": b"BZh9" + bytes(9),
    "labels.json.xz": lzma.compress(b"[1]"),
    "labels.json.zst": b"\x28\xb5\x2f\xfd",
    "texts.zip": one(b"cat"),
    "texts.tar": tar(b"cat"),
    "texts.tar.gz": tar(b"cat", "w:gz"),
    "empty.tar": bytes(10240),
    "x.bin": b"x\x9c" + bytes(9),
}


@pytest.mark.parametrize("name", HONEST)
def test_others(name):
    assert not is_pickle(name, HONEST[name])
    assert not is_pickle(name, io.BytesIO(HONEST[name]))
