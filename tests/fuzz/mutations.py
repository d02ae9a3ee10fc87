"""Mutations of files: bits, lengths, numbers, names, and the insides of archives."""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
import zipfile
import zlib
from random import Random

from tests.fuzz.seeds import Files, as_tar, as_zip

NAMES = (
    "..", "../e.png", "../../e.png", "a/../../e.png", "/e.png", "./", "", ".", "a//b.png",
    "a\\b.png", "..\\e.png", "C:\\e.png", "con.png", "a\0.png", "a\n.png", "\x1b[2J.png",
    "\udcff.png", ".x.png", "x.dsguard/0.png", ".dsguard-tmp/spool", "0.png/1.png", "CAT/0.PNG",
    "n" * 300 + ".png", "%2E%2E/e.png",
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "255", "256", "65535", "65536", "2147483648", "4294967295", "99999999999",
    "18446744073709551616", "1e999", "-0.5", "9" * 40, "NaN", "0x10", "1_0",
)  # fmt: skip
TOKENS = (
    b"null", b"[]", b"{}", b'""', b"true", b"[" * 3000, b'{"a":' * 3000, b"\xef\xbb\xbf",
    b"\xff\xfe", b"\0", b"\n", b"\x1b]0;x\7", b'"../../e.png"', b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n", b"cos\nsystem\n", b"(tR", b"b.", b"\x8c\x05numpy\x93", b"}u.", b"IHDR",
    b"IDAT", b"dsGD", b"PK\1\2", b"PK\5\6", b"II*\0", b"Exif\0\0", b"\x93NUMPY", b"PAR1",
)  # fmt: skip
_EXTREME = (
    0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 1 << 20, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1,
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def mutated(files: Files, rng: Random) -> Files:
    """Return a dataset with one to three things changed."""
    files = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not files:
            break
        name = rng.choice(sorted(files))
        if rng.random() < 0.12:
            _rename(files, name, rng)
        else:
            files[name] = _changed(files[name], rng, files)
    return files


def _rename(files: Files, name: str, rng: Random) -> None:
    """Remove a file, or have it under another name, beside or instead of the first."""
    folder, _, own = name.rpartition("/")
    others = (
        f"{folder}/{new}" for new in (rng.choice(NAMES), own + ".png", own.upper(), f".{own}")
    )
    new = rng.choice((*others, rng.choice(sorted(files))))
    data = files[name] if rng.random() < 0.3 else files.pop(name)
    if rng.random() < 0.7 and ".." not in new.split("/"):  # what is no name on disk is in archives
        files[new] = data


def _changed(data: bytes, rng: Random, others: Files) -> bytes:
    if rng.random() < 0.5:
        inside = _inside(data, rng)
        if inside is not None:
            return inside
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_CHANGES)(data, rng)
    if rng.random() < 0.05:
        other = rng.choice(list(others.values()))
        data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    return _mended(data) if rng.random() < 0.5 else data


def _inside(data: bytes, rng: Random) -> bytes | None:
    """Change what is in an archive, and pack it again; None where it is no archive."""
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            return as_zip(_changed_members(members, rng), rng.choice((0, 8, 12)))
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(_changed(gzip.decompress(data), rng, {}), 1, mtime=0)
        if data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
            return as_tar(_changed_members(members, rng))
    except Exception:  # damaged by an earlier change, or of a name that cannot be packed
        return None
    return None


def _changed_members(members: Files, rng: Random) -> Files:
    name = rng.choice(sorted(members))
    if rng.random() < 0.4:
        members[rng.choice(NAMES)] = members[name] if rng.random() < 0.3 else members.pop(name)
    else:
        members[name] = _changed(members[name], rng, members)
    return members


def _bits(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if out:
            out[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _place(data: bytes, rng: Random) -> int:
    """Return a place, often near one of the ends, where headers are."""
    size = len(data)
    if size < 200 or rng.random() < 0.4:
        return rng.randrange(max(1, size))
    return rng.randrange(100) if rng.random() < 0.6 else size - 1 - rng.randrange(100)


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _slice(data: bytes, rng: Random) -> bytes:
    """Remove some bytes, or have them twice, or somewhere else."""
    start = rng.randrange(len(data) + 1)
    some = data[start : start + rng.choice((1, 4, 16, 64, 512, 1024))]
    if rng.random() < 0.5:
        return data[:start] + data[start + len(some) :]
    to = rng.randrange(len(data) + 1)
    return data[:to] + some + data[to:]


def _length(data: bytes, rng: Random) -> bytes:
    """Put an extreme value where a length of binary formats could be."""
    width = rng.choice((1, 2, 4, 4, 8))
    value = rng.choice(_EXTREME) & (256**width - 1)
    start = max(0, _place(data, rng) - width + 1)
    order = rng.choice(("little", "big"))
    return data[:start] + value.to_bytes(width, order) + data[start + width :]


def _number(data: bytes, rng: Random) -> bytes:
    """Put another number in the place of one in text."""
    found = list(_NUMBER.finditer(data[: 1 << 16]))
    if not found:
        return _length(data, rng)
    place, number = rng.choice(found), rng.choice(NUMBERS).encode()
    if rng.random() < 0.5:  # so that what follows stays where it is
        number = number[: place.end() - place.start()].rjust(place.end() - place.start(), b"0")
    return data[: place.start()] + number + data[place.end() :]


def _token(data: bytes, rng: Random) -> bytes:
    token = rng.choice(TOKENS) if rng.random() < 0.6 else _as_bytes(rng.choice(NAMES))
    start = _place(data, rng)
    stop = start + (len(token) if rng.random() < 0.5 else rng.choice((0, 1, 8)))
    return data[:start] + token + data[stop:]


def _word(data: bytes, rng: Random) -> bytes:
    """Put a token in the place of a value of JSON, or of a name."""
    found = list(re.finditer(rb'"[^"]{0,40}"|\b[a-z]{3,12}\b|[\w/]+\.png', data[: 1 << 16]))
    if not found:
        return _token(data, rng)
    place = rng.choice(found)
    token = rng.choice(
        (rng.choice(TOKENS), _as_bytes(rng.choice(NAMES)), b'"%s"' % rng.randbytes(2))
    )
    if rng.random() < 0.4:
        token = token[: place.end() - place.start()].ljust(place.end() - place.start(), b"x")
    return data[: place.start()] + token + data[place.end() :]


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


_CHANGES = (_bits, _bits, _cut, _slice, _length, _length, _number, _token, _word)


def _mended(data: bytes) -> bytes:
    """Put checksums right, so that readers go on to what was changed."""
    if data.startswith(b"\x89PNG"):
        return _mended_png(data)
    if data[257:262] == b"ustar":
        return _mended_tar(data)
    return data


def _mended_png(data: bytes) -> bytes:
    out, position = data[:8], 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        body = data[position + 4 : position + 8 + length]
        out += data[position : position + 4] + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return out + data[position:]


def _mended_tar(data: bytes) -> bytes:
    out = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            out[start + 148 : start + 156] = b" " * 8
            out[start + 148 : start + 156] = b"%06o\0 " % sum(out[start : start + 512])
    return bytes(out)
