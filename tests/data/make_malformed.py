"""Write the files of tests/data/malformed: inputs that something went wrong with once.

Each folder is a case: what is below ``in`` is a dataset. ``tests/test_malformed.py`` says what may
become of it. Cases are added here and never taken out.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dsguard import DatasetKey
from dsguard.formats import encode_image

HERE = Path(__file__).parent / "malformed"
CLEAN = np.random.default_rng(18).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
FILES = [encode_image(image) for image in CLEAN]
TREE = {"train/cat/0.png": FILES[0], "train/dog/1.png": FILES[1]}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return data.getvalue()


def tarred(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    packed = data.getvalue().rstrip(b"\0")  # padded to 10 KiB
    return packed + bytes(-len(packed) % 512 + 1024)


def with_header(tar: bytes, place: int, field: bytes) -> bytes:
    """Return an archive whose first header has another field, and the sum that fits."""
    header = bytearray(tar[:512])
    header[place : place + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


def npy(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def npy_of(header: str, body: bytes = b"") -> bytes:
    """Return an array file with any header."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


def zeros(size: int) -> bytes:
    """Return an array file of zeros, short to pack and long to unpack."""
    return npy_of(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}", bytes(size))


# ---- Pickles ----


class Call:
    """Pickled as a call; what is built afterwards takes `state`."""

    def __init__(self, function: object, *given: object, state: object = None) -> None:
        self.called = (function, given) if state is None else (function, given, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.called


def cifar(labels: object = None, other: object = b"batch") -> dict[str, bytes]:
    rows = np.zeros((2, 3072), np.uint8)
    batch = {b"batch_label": other, b"data": rows, b"labels": [0, 1] if labels is None else labels}
    meta = {b"label_names": [b"cat", b"dog"]}
    content = {"data_batch_1": batch, "test_batch": batch, "batches.meta": meta}
    return {name: pickle.dumps(value, 2) for name, value in content.items()}


def pickles() -> dict[str, dict[str, bytes]]:
    fields = (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 63)
    by_name = {
        # A type whose fields are objects: its bytes are taken for addresses. These are zeros.
        "dtype-with-objects": Call(np.ndarray, (2,), Call(np.dtype, "V8", state=fields), bytes(16)),
        "array-without-bytes": Call(np.ndarray, (2, 3072), np.dtype("u1")),
        "array-too-large": Call(np.ndarray, (1 << 40,), np.dtype("u1")),
        "command": Call(print, "a command"),
    }
    cases = {f"cifar-{name}": cifar(other=other) for name, other in by_name.items()}
    cases["cifar-labels-of-numpy"] = cifar(labels=np.array([0, 1]))
    cases["cifar-deep"] = cifar()
    cases["cifar-deep"]["batches.meta"] = b"\x80\2" + b"(" * 20000 + b"."
    cases["cifar-memo"] = cifar()  # a place in the memo that takes a list of 8 GiB
    cases["cifar-memo"]["batches.meta"] = b"\x80\2]r\xff\xff\xff\x3f."
    return cases


# ---- Archives and names ----


def archives() -> dict[str, dict[str, bytes]]:
    above = {f"../{n}.png": data for n, data in enumerate(FILES)}
    whole = tarred(TREE)
    shard = {f"{n}.png": data for n, data in enumerate(FILES)}
    return {
        "zip-names-above": {"set.zip": zipped(above)},
        "zip-name-empty": {"set.zip": zipped({**TREE, "": b"x"})},
        "zip-name-root": {"set.zip": zipped({**TREE, "/e.png": FILES[0]})},
        "zip-names-backslash": {
            "set.zip": zipped({"cat\\0.png": FILES[0], "dog\\1.png": FILES[1]})
        },
        "zip-method-unknown": {
            "set.zip": zipped(TREE).replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x63\0")
        },
        "zip-size-claimed": {"set.zip": claimed(zipped(TREE), b"\xf0\xff\xff\xff")},
        "tar-names-above": {"set.tar": tarred(above)},
        "tar-link-out": {"set.tar": tarred(TREE, {"train/cat/9.png": "../../../../keep"})},
        "tar-size-negative": {"set.tar": with_header(whole, 124, b"-0000000100\0")},
        "tar-size-binary": {"set.tar": with_header(whole, 124, b"\xff" * 12)},
        "tar-size-huge": {"set.tar": with_header(whole, 124, b"\x80" + b"\xff" * 11)},
        "tar-pax-size": {"set.tar": pax(b"16 size=-1000000\n") + whole},
        "tar-pax-length": {"set.tar": pax(b"99999999999999999999 path=x\n") + whole},
        "webdataset-pixels-beside": {
            "0.tar": tarred({"0.npy": npy(CLEAN[0]), "0.original": FILES[0], **shard})
        },
    }


def claimed(archive: bytes, size: bytes) -> bytes:
    """Return a zip whose directory tells another size of its first member."""
    place = archive.index(b"PK\1\2") + 24
    return archive[:place] + size + archive[place + 4 :]


def pax(record: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    return info.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")


# ---- Arrays ----


def arrays() -> dict[str, dict[str, bytes]]:
    images, text = npy(CLEAN), "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8, 3)"
    bomb = zipped({"images.npy": images, "unused.npy": zeros(700 << 20)}, zipfile.ZIP_BZIP2)
    packed = zipped({"images.npy": images}, zipfile.ZIP_DEFLATED)
    at = packed.index(b"images.npy") + 30
    cases = {
        "npz-zlib": packed[:at] + b"\xff" * 8 + packed[at + 8 :],
        "npz-method-unknown": zipped({"x.npy": images}).replace(
            b"\x14\0\0\0\0\0", b"\x14\0\0\0\x63\0"
        ),
        "npz-objects": zipped({"images.npy": images, "o.npy": npy(np.array([{}], object))}),
        "npz-member-no-array": zipped({"images.npy": images, "notes.txt": b"made by hand"}),
        "npz-one-hot": zipped({"images.npy": images, "labels.npy": npy(np.eye(4))}),
        "npz-characters": zipped(
            {"images.npy": images, "captions.npy": npy(np.full(4, 0x7FFFFFFF, "<u4").view("<U1"))}
        ),
        "npz-floats": zipped({"images.npy": images, "scaled.npy": npy(CLEAN / np.float32(255))}),
        "npz-channels-first": zipped(
            {"images.npy": images, "planes.npy": npy(CLEAN.transpose(0, 3, 1, 2).copy())}
        ),
        "npz-entry-bomb": bomb,
    }
    plain = {
        "npy-header-open": npy_of(text, bytes(768)),
        "npy-shape-huge": npy_of(text.replace("(4,", "(1099511627776,") + "}", bytes(768)),
        "npy-shape-negative": npy_of(text.replace("(4,", "(-4,") + "}", bytes(768)),
        "npy-header-nested": npy_of("(" * 110),
    }
    found = {name: {"set.npz": data} for name, data in cases.items()}
    return found | {name: {"set.npy": data} for name, data in plain.items()}


# ---- Parquet ----


def parquet() -> dict[str, dict[str, bytes]]:
    structs = [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(FILES)]
    crops = [[{"bytes": data, "path": None}] for data in FILES]
    tables = {
        "parquet-crops": pa.table({"image": structs, "crops": crops}),
        "parquet-large-binary": pa.table(
            {"image": structs, "thumbnail": pa.array(FILES, pa.large_binary())}
        ),
        "parquet-dictionary-bomb": pa.table(
            {"image": pa.array([FILES[0] + bytes(1 << 20)] * 2000, pa.binary())}
        ),
        "parquet-names-above": pa.table(
            {"image": [{"bytes": data, "path": f"../{n}.png"} for n, data in enumerate(FILES)]}
        ).replace_schema_metadata({"dsguard.named": "1"}),
    }
    found: dict[str, dict[str, bytes]] = {}
    for name, table in tables.items():
        data = io.BytesIO()
        pq.write_table(table, data, compression="zstd", dictionary_pagesize_limit=1 << 30)
        found[name] = {"set.parquet": data.getvalue()}
    return found


# ---- Folders ----


def folders() -> dict[str, dict[str, bytes]]:
    deep = b'{"images": ' + b"[" * 20000
    told = {"images": [], "annotations": []}
    rows = {"file_name": "0.png", "id": 0}
    annotation = {"image_id": 0, "category_id": 0, "area": "large"}
    values = ",".join(str(value) for value in CLEAN[0].ravel())
    label_me = json.dumps({"imageData": base64_of(FILES[0]), "imagePath": "0.png"})
    return {
        "coco-deep": {**TREE, "annotations/a.json": deep},
        "coco-area": {
            **TREE,
            "annotations/a.json": as_json({**told, "images": [rows], "annotations": [annotation]}),
        },
        "coco-no-lists": {
            **TREE,
            "annotations/a.json": as_json({"images": 3, "annotations": None}),
        },
        "coco-names": {
            **TREE,
            "annotations/a.json": as_json({**told, "images": [{"file_name": ["0.png"]}]}),
        },
        "label-me": {**TREE, "train/cat/1.json": label_me.encode()},
        "pixels-csv": {**TREE, "pixels.csv": f"label,pixels\n0,{values}\n".encode()},
        "picture-called-text": {**TREE, "notes.txt": FILES[0]},
        "class-called-journal": {f"cat.dsguard/{n}.png": data for n, data in enumerate(FILES)},
        "tiff-tile-bomb": {**TREE, "train/cat/bomb.tif": tile_bomb()},
        "tiff-strip-bomb": {**TREE, "train/cat/bomb.tif": tile_bomb(strips=True)},
        "png-two-headers": {**TREE, "train/cat/two.png": two_headers()},
        "png-huge": {**TREE, "train/cat/huge.png": resized(FILES[0], 60000, 60000)},
        "gif-many-frames": {**TREE, "train/cat/many.gif": frames()},
        "jpeg-exif": {**TREE, "train/cat/exif.jpg": odd_exif()},
    }


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def base64_of(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def tile_bomb(*, strips: bool = False) -> bytes:
    """Return a TIFF of 64×64 pixels whose one tile, or strip, has 46336×46336."""
    side = 46336
    packed = zlib.compress(bytes(1 << 16), 9)
    size = [(278, 3, side)] if strips else [(322, 3, side), (323, 3, side)]
    place, length = (273, 279) if strips else (324, 325)
    tags = [(256, 3, 64), (257, 3, 64), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags = sorted([*tags, *size, (place, 4, 8), (length, 4, len(packed))])
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def resized(png: bytes, width: int, height: int) -> bytes:
    return png[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29]) + png[33:]


def two_headers() -> bytes:
    png = FILES[0]
    return png[:33] + resized(png, 3000, 3000)[8:33] + png[33:]


def frames() -> bytes:
    data = io.BytesIO()
    pictures = [Image.fromarray(image) for image in CLEAN]
    pictures[0].save(data, "gif", save_all=True, append_images=pictures[1:] * 3)
    return data.getvalue()


def odd_exif() -> bytes:
    data = io.BytesIO()
    # A signed rational of nothing, and an orientation of text.
    fields = struct.pack("<HHII", 0x112, 2, 2, 0x36) + struct.pack("<HHII", 0x9201, 10, 0, 4)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + fields + bytes(4)
    Image.fromarray(CLEAN[0]).save(data, "jpeg", exif=exif)
    return data.getvalue()


# ---- Journals ----


def journals() -> dict[str, dict[str, bytes]]:
    """Return folders with a forged journal at the destination, ``out.dsguard``."""
    line = {"name": "x", "status": "protected", "error": None}
    above = as_json({**line, "file": "../keep"}) + b"\n"
    settings = as_json({"task": "protected"})
    named = {"out/x": b"", **{f"in/{name}": data for name, data in TREE.items()}}
    forged = {
        "journal-deletes-above": {"shards/00000.jsonl": above, "done": b'["../keep", "/etc/x"]'},
        "journal-deep": {"settings.json": b"[" * 20000},
        "journal-no-text": dict.fromkeys(("shards/00000.jsonl", "stamps/00000", "done"), b"\xff"),
        "journal-number-huge": {f"shards/{'9' * 60}.jsonl": above},
    }  # fmt: skip
    return {
        name: named
        | {
            f"out.dsguard/{file}": data
            for file, data in {"settings.json": settings, **files}.items()
        }
        for name, files in forged.items()
    }


# ---- Keys ----


def keys() -> dict[str, bytes]:
    key_id = DatasetKey(bytes(32)).key_id.encode()
    plain = b"dsguard-key 1\nkey-id: %s\nsecret: %s\n" % (key_id, b"0" * 64)
    wrapped = b"dsguard-key 1\nkey-id: 000000000000\nscrypt: N=%d r=8 p=1 salt=00\nwrapped: 00\n"
    return {
        "bom.key": b"\xef\xbb\xbf" + plain,
        "utf-16.key": plain.decode().encode("utf-16"),
        "scrypt-huge.key": wrapped % (1 << 40),
        "scrypt-not-a-power.key": wrapped % 12345,
        "no-fields.key": b"dsguard-key 1\n",
        "secret-short.key": plain.replace(b"0" * 64, b"00"),
        "empty.key": b"",
    }


def main() -> None:
    cases: dict[str, dict[str, bytes]] = {}
    for made in (pickles, archives, arrays, parquet, folders):
        cases |= {name: {f"in/{n}": d for n, d in files.items()} for name, files in made().items()}
    for name, files in (cases | journals()).items():
        for file, data in files.items():
            path = HERE / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (HERE / "keys").mkdir(exist_ok=True)
    for name, data in keys().items():
        (HERE / "keys" / name).write_bytes(data)


if __name__ == "__main__":
    main()
