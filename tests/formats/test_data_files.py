"""Files that are known to be data alone, by their names and by their content."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsguard.formats.programs.data import is_data

CALLS = pickle.dumps(Path("a"), 0)


def image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, kind)
    return file.getvalue()


def saved(save, *arrays) -> bytes:
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


NIFTI = struct.pack("<i", 348) + bytes(344)
YOLO = b"""# cats
---
path: ../cats  # where they are
names:
  0: cat!
kpt_names:
- nose

nc: 1
"""
DATA = [
    *[
        ("a.txt", b"cat\n"),
        ("txt", b"cat"),
        ("b/x.CSV", b"a,b\n1,2\n"),
        ("cls", b"7"),
        ("", b"7"),
        ("a.url", b"http://a.b/c.jpg"),
    ],
    *[("README", b"# cats"), ("a.txt", "# Bären".encode("utf-16"))],
    *[("a.tsv", b"a\t-1\n@b\t+2\n-\t-1.5\tx (y)\n"), ("x.caption", b"a")],
    *[("a.json", b'{"py": 1, "a": "py/b"}'), ("a.yaml", YOLO), ("a.xml", b"<a/>")],
    *[("a.json", b'{"a": "\xff"}'), ("a.json", '{"a": 1}'.encode("utf-16-be"))],
    *[("a.xml", b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>')],
    *[("a.sha256", b"00  a\n")],
    *[("README.md", b"# cats\n\n---\n![cat](a.png) features\n")],
    *[
        ("a.csv", "x;Bär = x\n".encode("latin-1")),
        ("a.csv", "a,b\n".encode("utf-16")),
        ("a.csv", b"ID;Preis\n"),
    ],
    *[("SHA256SUMS", b"00  a.png\n"), ("a.rst", b"=")],
    *[("a.txt", "猫\n".encode("shift_jis")), ("a.txt", "Bär\n".encode("latin-1"))],
    *[(f"a.{kind}", image(kind)) for kind in ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm")],
    *[("seg.png", image("png")), ("a.ico", image("ico")), ("a.jp2", image("jpeg2000"))],
    *[("a.nii.gz", gzip.compress(NIFTI)), ("a.nii", NIFTI), ("a.dcm", bytes(128) + b"DICM")],
    *[("a.npy", saved(np.save, np.ones(3))), ("a.npz", saved(np.savez, np.ones(3)))],
    *[("a.mp4", b"\0\0\0\x18ftypisom"), ("a.wav", b"RIFF\0\0\0\0WAVEfmt "), ("a.mp3", b"ID3\3\0")],
    *[("a.flo", b"PIEH\0\0\0\0"), ("a.ply", b"ply\nformat ascii 1.0\n")],
    *[("a.safetensors", b"\x02\0\0\0\0\0\0\0{}"), ("cmake.txt", b"a"), ("a.txt", b"a pipe: b")],
]
PROGRAMS = [
    *[("run.sh", b"ls"), ("a.py", b""), ("a", b"cat")],
    *[("a.pkl", b""), ("a.toml", b""), ("a.so", b"")],
    *[("a.zip", b""), ("a.tar", b""), ("a.txt.gz", gzip.compress(b"cat")), ("a.h5", b"\x89HDF")],
    *[("a.ipynb", b"{}"), ("a.svg", b"<svg/>"), ("a.html", b"")],
    *[("a.pdf", b"%PDF-"), ("a.mat", b"")],
    *[("data/requirements.txt", b"x"), ("CMakeLists.txt", b""), ("package.json", b"{}")],
    *[("a.txt.", b""), ("a.py.", b""), ("a.txt ", b""), ("a.url", b"[InternetShortcut]")],
    *[("a.json", b'{"shards": ["pipe:ls"]}')],
    *[("a.txt", CALLS), ("a.csv", b"\x80\4."), ("a.json", pickle.dumps([1])), ("a.txt", b"cat\0")],
    *[("a.txt", zlib.compress(b"cat")), ("a.bin", b"\0\1"), ("a.dat", b"\x89HDF")],
    *[("a.yaml", b"download: ls"), ("a.yaml", b'"\\x64ownload": ls')],
    *[("a.yml", b"down\xffload: ls")],
    *[("a.yaml", b"down\x07load: ls"), ("a.yaml", "download: ls".encode("utf-16-le"))],
    *[("a.yaml", b"\xff\xfe" + b"download: ls"), ("a.yaml", "down\u0085load".encode("latin-1"))],
    *[("a.yaml", b"a: !!python/name:os.system"), ("a.yaml", b"%TAG ! tag:x,2002:\n--- !a\nb: c")],
    *[("a.yaml", b"- !<tag:yaml.org,2002:python/name:os.system>"), ("a.yaml", b"[!a b]")],
    *[("a.yaml", b"  download: ls\n  path: a\n"), ("a.yaml", b"--- {download: ls}\n")],
    *[("a.yaml", b"sources:\n  a: 1\n"), ("a.yaml", b"path: a\n? download\n: ls\n")],
    *[("a.yaml", b"- download: ls\n"), ("a.yaml", b"names:\n  _target_: os.getpid\n")],
    *[("a.yaml", b"path: a\n---\n x: 1\n...\n"), ("a.yaml", b"names: [a]\n'download': ls\n")],
    *[("a.json", b'{"_target_": "os.system"}'), ("a.json", b'[ "$import os"]')],
    *[("a.csv", b"a,-2+3+cmd|' /C calc'!A0\n"), ("a.csv", b'"\t+1+HYPERLINK(""x"")"\n')],
    *[("a.csv", "\ufeff=1".encode()), ("a.csv", "\ufeff=1".encode("utf-16-be"))],
    *[("a.csv", b"sep=^\na^=1\n"), ("a.csv", b"ID;PWXL;N;E\n"), ("a.csv", b"\n <table>")],
    *[("a.csv", "\uff1d1+1".encode()), ("a.csv", b"@x.y(1)"), ("a.csv", b"- A(1)")],
    *[("README.md", b"\n\n---\ndataset_info: 1\n---\n")],
    *[("README.md", b"---\nconfigs:\n- data_files: reference://a\n---\n")],
    *[("README.md", b"---\na: |\n ---\ndataset_info: 1\n---\n")],
    *[("a.json", b'{"py/object": "a.B"}'), ("a.jsonl", b'{"\\u0070y\\/reduce" : []}')],
    *[("a.json", b'{"\xff": 1, "py/id": 1}'), ("a.json", '{"py/id": 1}'.encode("utf-16"))],
    *[("a.json", '{"py/id": 1}'.encode("utf-16-be")), ("a.xml", "<!DOCTYPE a>".encode("utf-16"))],
    *[("requirements-dev.txt", b""), ("pom.xml", b"<a/>"), ("CMakePresets.json", b"{}")],
    *[("a.csv", b"a,b\r=1\r"), ("a.csv", "a\x85=1".encode()), ("a.csv", b"a\n\x0b=1")],
    *[("a.csv", b"-" + b"1+" * 200 + b"x|y!A0"), ("a.csv", b" " * 90 + b"=1")],
    *[("a.csv", "\u200b\xa0=1".encode()), ("a.tsv", b'a\t"-x,\ty(1)"'), ("a.csv", b"-x,=1")],
    *[("a.xml", "<?xml encoding='cp037'?><!DOCTYPE a><a/>".encode("cp037"))],
    *[("a.txt", b"a\rpipe:ls"), ("a.txt", b" " * 90 + b"pipe:ls"), ("a.lst", b"x::pipe:ls")],
    *[("a.txt", b"{a,pipe:ls}"), ("a.txt", b"p{i,x}p{e,y}:ls"), ("a.list", "\xa0pipe:ls".encode())],
    *[("shards.txt", b"a.tar\n pipe:ls\n"), ("a.flo", b"\x89HDF"), ("a.safetensors", b"\x80\2")],
    *[("a.xml", b'<a xmlns:s="http://www.w3.org/2000/svg"/>'), ("a.xml", b"<a b='&#49;'/>")],
    *[("a.xml", b"<?xml version='1.0'" + b" " * 1100 + b"encoding='utf-7'?><a/>")],
    *[("a.xml", b"<?php a?>"), ("a.xml", b"<script>")],
    *[("a.xml", b"<!DOCTYPE a>"), ("a.xml", b"<?xml version='1.0' encoding='utf-7'?><a/>")],
    *[("a.csv", b"a,b\n\"=cmd|'/C calc'!A0\",1\n"), ("a.tsv", b"a\t@SUM(1+9)*cmd|' /C calc'!A0\n")],
    *[("README.md", b"---\ndataset_info:\n  features:\n  - dtype: show_info\n---\n# cats\n")],
    *[("README.md", b'---\n"dataset\\x5finfo": 1\n---\n'), ("x/dataset_infos.json", b"{}")],
    *[("a.md", "---\n# cats\n".encode("utf-16")), ("a.arrow", b"ARROW1\0\0 huggingface")],
    *[("a.png", b"%!PS-Adobe"), ("a.jpg", b"push graphic-context"), ("a.jpg", b"cat")],
    *[("a.nii.gz", gzip.compress(CALLS)), ("a.nii", b"\x1c\2\0\0\0" * 5000 + b"\x1c\x08\x0a\0\1")],
    *[("a.mp4", b"#EXTM3U\n"), ("a.npy", saved(np.save, np.array([None]))), ("a.npy", b"cat")],
    *[("a.npz", saved(np.savez, np.array([None]))), ("a.npz", b"cat"), ("a.parquet", b"cat")],
]


@pytest.mark.parametrize(
    ("name", "content"), DATA, ids=[f"{n}-{name}" for n, (name, _) in enumerate(DATA)]
)
def test_is_data(name, content):
    assert is_data(name, content)
    assert is_data(name, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "content"), PROGRAMS, ids=[f"{n}-{name}" for n, (name, _) in enumerate(PROGRAMS)]
)
def test_could_be_a_program(name, content):
    assert not is_data(name, content)
    assert not is_data(name, io.BytesIO(content))


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.yaml", "a.xml", "a.md", "a.txt"])
@pytest.mark.parametrize(
    "unit", ["\n", "\t", "-'", '"', ', "', ": ", '"py/a" ', "---\n", " #", "\\u00"]
)
def test_long_runs_take_no_minutes(name, unit):
    is_data(name, unit.encode() * 300_000)
    is_data(name, b"---" + unit.encode() * 300_000)


def test_a_long_text_is_looked_at_whole():
    names = b"names:\n" + b"- cat\n" * 50_000
    assert is_data("a.yaml", names)
    assert not is_data("a.yaml", names + b"download: ls\n")
