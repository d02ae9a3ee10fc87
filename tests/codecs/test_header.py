"""Files that released versions wrote keep their meaning, and docs/format.md says what they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from Crypto.Cipher import AES

import dsguard
from dsguard.formats import decode_image, decode_protected
from tests import ROOT
from tests.data.make_exact import pattern as exact_pattern
from tests.data.make_v1 import pattern

HERE = ROOT / "tests"
V1 = HERE / "data" / "v1"
VECTORS = json.loads((V1 / "vectors.json").read_text())
EXACT = json.loads((HERE / "data" / "exact" / "vectors.json").read_text())
KEY = dsguard.DatasetKey(bytes.fromhex(VECTORS["key"]))


@pytest.mark.parametrize("name", VECTORS["images"])
@pytest.mark.parametrize("which", ["native", "numba", "reference"])
def test_version_1_is_read_and_written_as_ever(name, which, backend):
    backend(which)
    vector = VECTORS["images"][name]
    clean, target = (pattern(vector["shape"], n)[np.newaxis] for n in (0, 1))
    stored = decode_image((V1 / f"{name}.png").read_bytes())[np.newaxis]
    back = dsguard.restore_batch(stored, KEY)
    assert np.abs(back.astype(int) - clean).max() <= vector["planes"]
    again = dsguard.protect_batch(clean, KEY, target=target, profile="paper")
    np.testing.assert_array_equal(again.images, stored)


def test_the_small_vector_by_hand():
    """Open the payload with pycryptodome alone, as docs/format.md describes it."""
    from hashlib import sha256

    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

    vector = VECTORS["images"]["small"]
    payload = bytes.fromhex(vector["payload"])
    image = decode_image((V1 / "small.png").read_bytes()).reshape(-1)
    bits = [int(v) & 1 for v in image] + [int(v) >> 1 & 1 for v in image]
    size = len(payload)
    read = bytes(sum(bits[8 * k + j] << j for j in range(8)) for k in range(size))
    assert read == payload
    header, tag, sealed = payload[:18], payload[18:34], payload[34:]
    assert header[:4] == b"DSG\xb1"
    assert header[4:6] == bytes([1, 1 | 1 << 6])
    assert header[6:12].hex() == VECTORS["key_id"] == KEY.key_id
    assert int.from_bytes(header[12:16], "little") == len(sealed)
    carrier = image.copy()
    in_second = 8 * size - 192
    carrier[:in_second] = carrier[:in_second] & 0xFC | 2
    carrier[in_second:] = carrier[in_second:] | 1
    shape = b"".join(side.to_bytes(4, "little") for side in vector["shape"])
    sealing_key = HKDF(bytes(range(32)), 64, b"", SHA256, context=b"dsguard/v1/seal")
    cipher = AES.new(sealing_key, AES.MODE_SIV)
    cipher.update(header + shape + sha256(carrier.tobytes()).digest())
    assert cipher.decrypt_and_verify(sealed, tag).hex() == vector["sequence"]


def test_the_document_has_the_vectors():
    text = "".join((HERE.parent / "docs" / "format.md").read_text().split())
    small = VECTORS["images"]["small"]
    for part in (VECTORS["key_id"], small["sequence"], small["payload"]):
        assert part in text
    assert EXACT["images"]["gray"]["sequence"] in text


@pytest.mark.parametrize("name", EXACT["images"])
@pytest.mark.parametrize("which", ["native", "reference"])
def test_the_exact_profiles_are_read_and_written_as_ever(name, which, backend):
    backend(which)
    vector = EXACT["images"][name]
    clean, target = (exact_pattern(name, n)[np.newaxis] for n in (0, 1))
    stored, sidecar = decode_protected((HERE / "data" / "exact" / f"{name}.png").read_bytes())
    assert sidecar.hex() == vector["sidecar"]
    sidecars = {0: sidecar} if sidecar else {}
    back = dsguard.restore_batch(stored[np.newaxis], KEY, sidecars=sidecars)
    np.testing.assert_array_equal(back, clean)
    again = dsguard.protect_batch(clean, KEY, target=target, profile=vector["profile"])
    np.testing.assert_array_equal(again.images[0], stored)
    assert again.sidecars == sidecars


def test_an_exact_vector_by_hand():
    """Open a sidecar with pycryptodome alone, as docs/format.md describes it."""
    from hashlib import sha256

    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

    vector = EXACT["images"]["sidecar"]
    payload = bytes.fromhex(vector["sidecar"])
    header, mode, tag, sealed = payload[:18], payload[18], payload[23:39], payload[39:]
    assert header[:6] == b"DSG\xb1" + bytes([1, 2 | 1 << 6])
    assert int.from_bytes(header[12:15], "little") == len(sealed)
    assert header[15] == payload[18] ^ payload[19] ^ payload[20] ^ payload[21] ^ payload[22]
    assert mode & 7 == vector["mode"]
    shape = b"".join(side.to_bytes(4, "little") for side in vector["shape"])
    clean = exact_pattern("sidecar", 0)
    associated = header[:5] + bytes([2]) + header[6:15] + bytes([0, mode & 7]) + shape
    sealing_key = HKDF(bytes(range(32)), 64, b"", SHA256, context=b"dsguard/v1/seal")
    cipher = AES.new(sealing_key, AES.MODE_SIV)
    cipher.update(associated + sha256(clean.tobytes()).digest())
    plain = cipher.decrypt_and_verify(sealed, tag)
    assert plain[23:].hex() == vector["sequence"]
    stored, _ = decode_protected((HERE / "data" / "exact" / "sidecar.png").read_bytes())
    bits = stored.reshape(-1)[: 8 * 23] & 1
    assert np.packbits(bits, bitorder="little").tobytes() == payload[:23]
