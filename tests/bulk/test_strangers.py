"""Whatever a stranger changes of published shards, only data comes back of it."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path

import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.errors import DsguardError
from dsguard.formats import decode_image, encode_image, encode_images
from dsguard.formats.programs.data import is_data

from .folders import files_in
from .test_ahead import Derived
from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(32))
LONG = "long words " * 80
OWN = json.dumps({"text": LONG}).encode()
STEMS = (
    "a",
    "package",
    "requirements",
    "Makefile",
    "run",
    "conftest",
    "data",
    "a.b",
    "a..",
    "x.tar",
)
FIELDS = ("json", "pkl", "py", "cache", "yaml", "csv", "", ".json", "txt.sh", "npy", "html", "md")
PROGRAMS = (
    pickle.dumps(Path("a"), 0), b"import os\n", b'{"_target_": "os.system"}', b"download: os\n",
    b"all:\n\tid\n", b"a,=1\n", b"---\nconfigs: x\n---\n", b"%!PS-Adobe\n",
    b'{"scripts": {"a": "id"}}',
)  # fmt: skip


def strange_image(draw: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Return an image under another name, or saved anew, or as it is."""
    if draw.random() < 0.5:
        name = f"{draw.choice(STEMS)}{draw.choice(('', '.q', '.'))}.png"
    if draw.random() < 0.3:
        data = encode_images(decode_image(data)[None], "tiff")[0]
    return name, data


def strange_members(draw: random.Random, members):
    """Return members of a shard, with others that a stranger has added."""
    found: dict[str, dict[str, bytes]] = {}
    for member in members:
        own = strange_image(draw, *member) if member[0].endswith(".png") else member
        added = [own]
        for _ in range(draw.randrange(3)):
            stem = draw.choice((own[0].split(".")[0], draw.choice(STEMS)))
            field = draw.choice(FIELDS)
            added.append((f"{stem}.{field}" if field else stem, draw.choice(PROGRAMS)))
        for name, data in added:
            found.setdefault(name.split(".")[0], {})[name] = data
    return [pair for sample in found.values() for pair in sample.items()]


def strange_table(draw: random.Random, file: Path) -> None:
    """Change the rows, columns and metadata of a published table."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(file)
    rows = table.to_pylist()
    for row in rows:
        if draw.random() < 0.5:
            image = decode_image(row["image"]["bytes"])
            row["image"]["bytes"] = encode_images(image[None], "tiff")[0]
        if draw.random() < 0.5:
            row["image"]["path"] = f"{draw.choice(STEMS)}{draw.randrange(1000)}.png"
        if "fields" in row and draw.random() < 0.7:
            fields = {}
            for _ in range(draw.randrange(1, 4)):
                name, data = draw.choice(FIELDS), draw.choice(PROGRAMS)
                fields[f"{name}:hex"] = data.hex()
            row["fields"] = json.dumps(fields)
    told = dict(table.schema.metadata or {})
    if draw.random() < 0.5:
        told.pop(b"dsguard.named", None)
    elif draw.random() < 0.5:
        told[b"dsguard.named"] = b"1"
    table = pa.Table.from_pylist(rows, schema=table.schema.with_metadata(told))
    for name in ("_target_", "py/object", "scripts", "fields", "note", "mask"):
        if draw.random() < 0.4 and name not in table.schema.names:
            table = table.append_column(name, pa.array([draw.choice(PROGRAMS).hex()] * len(rows)))
    pq.write_table(table, file)


@pytest.fixture(scope="module")
def published(tmp_path_factory, scenes):
    """Return folders with shards: with sealed fields and without, of both kinds."""
    root = tmp_path_factory.mktemp("published")
    for kind in ("webdataset", "parquet"):
        for sealed in (False, True):
            clean = root / f"{kind}-{sealed}"
            clean.mkdir()
            for n in range(3):
                (clean / f"{n}.png").write_bytes(encode_image(scenes[n]))
                (clean / f"{n}.json").write_text(json.dumps({"text": LONG if sealed else "cat"}))
            protect_dataset(clean, root / f"{kind}-{sealed}-out", KEY, out_format=kind, workers=1)
    return root


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("has_own_key", [True, False])
def test_only_data_comes_back(tmp_path, published, kind, sealed, out_format, has_own_key):
    if "parquet" in (kind, out_format):
        pytest.importorskip("pyarrow")
    came = 0
    for seed in range(6):
        draw, safe, back = random.Random(seed), tmp_path / f"s{seed}", tmp_path / f"b{seed}"
        shutil.copytree(published / f"{kind}-{sealed}-out", safe)
        (shard,) = (each for each in safe.iterdir() if each.suffix in (".tar", ".parquet"))
        if kind == "parquet":
            strange_table(draw, shard)
        else:
            tarred(shard, strange_members(draw, members_of(shard)))
        try:
            key = KEY if has_own_key else Derived(KEY)
            report = restore_dataset(safe, back, key, out_format=out_format, workers=1)
        except DsguardError:  # two images of one name, or the like
            continue
        came += report.done
        for name, data in found_in(back, out_format):
            is_owners = data == OWN  # whose name the stranger may choose
            assert is_data(name, data) or is_owners, (seed, name, data[:60])
    assert came


def found_in(back: Path, out_format: str):
    """Yield the names and contents of all that came back, out of shards as well."""
    for name, data in files_in(back).items():
        if out_format == "webdataset" and name.endswith(".tar"):
            yield from members_of(back / name)
        elif not name.endswith(".parquet"):
            yield name, data
