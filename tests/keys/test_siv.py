"""Sealing is standard AES-SIV, and keys survive storage."""

from __future__ import annotations

import pickle
import stat

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard.codecs import HEADER_BYTES, Header
from dsguard.keys import AesSiv
from dsguard.keys.derived import sealer


def rows(data: bytes, count: int = 1) -> np.ndarray:
    return np.tile(np.frombuffer(data, np.uint8), (count, 1))


def test_rfc_5297_a1_deterministic():
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    associated = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    plain = bytes.fromhex("112233445566778899aabbccddee")
    sealed, tags = AesSiv(key).seal(rows(plain), [rows(associated)])
    assert tags.tobytes().hex() == "85632d07c6e8f37f950acd320a2ecc93"
    assert sealed.tobytes().hex() == "40c02b9690c4dc04daef7f6afe5c"


def test_rfc_5297_a2_nonce_based():
    key = bytes.fromhex("7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f")
    strings = [
        "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
        "102030405060708090a0",
        "09f911029d74e35bd84156c5635688c0",
    ]
    plain = (
        "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074"
        "207573696e67205349562d414553"
    )
    siv = AesSiv(key)
    associated = [rows(bytes.fromhex(text)) for text in strings]
    sealed, tags = siv.seal(rows(bytes.fromhex(plain)), associated)
    assert tags.tobytes().hex() == "7bdb6e3b432667eb06f4d14bff2fbd0f"
    assert sealed.tobytes().hex() == (
        "cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829"
        "ea64ad544a272e9c485b62a3fd5c0d"
    )
    opened, genuine = siv.open(sealed, tags, associated)
    assert genuine.all()
    assert opened.tobytes().hex() == plain


@given(
    st.integers(1, 70) | st.integers(600, 900),  # short records by column, long ones by record
    st.lists(st.integers(1, 70), max_size=3),
    st.sampled_from([32, 48, 64]),
    st.integers(0, 2**32 - 1),
)
def test_batches_equal_pycryptodome(length, associated_lengths, key_bytes, seed):
    rng = np.random.default_rng(seed)
    key = rng.bytes(key_bytes)
    plain = rng.integers(0, 256, (5, length), dtype=np.uint8)
    associated = [rng.integers(0, 256, (5, size), dtype=np.uint8) for size in associated_lengths]
    siv = AesSiv(key)
    sealed, tags = siv.seal(plain, associated)
    for n in range(5):
        cipher = AES.new(key, AES.MODE_SIV)
        for part in associated:
            cipher.update(part[n].tobytes())
        expected = cipher.encrypt_and_digest(plain[n].tobytes())
        assert (sealed[n].tobytes(), tags[n].tobytes()) == expected
    spoiled = sealed.copy()
    spoiled[2, rng.integers(length)] ^= 1 << rng.integers(8)
    opened, genuine = siv.open(spoiled, tags, associated)
    assert genuine.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(opened[genuine], plain[genuine])
    assert not opened[2].any()


def test_key_id_is_derived_and_stable(key):
    assert key.key_id == dsguard.DatasetKey(bytes(range(32))).key_id
    assert len(bytes.fromhex(key.key_id)) == 6
    assert key.key_id != dsguard.DatasetKey.generate().key_id
    assert key.secret.hex() not in repr(key)
    with pytest.raises(dsguard.InputError, match="32 bytes"):
        dsguard.DatasetKey(b"short")
    with pytest.raises(dsguard.InputError, match="not str"):
        dsguard.DatasetKey("x" * 32)


@pytest.mark.parametrize("passphrase", [None, "correct horse", "пароль 密码"])
def test_key_files(tmp_path, passphrase):
    key = dsguard.DatasetKey.generate()
    path = tmp_path / "k"
    key.save(path, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert text.startswith("dsguard-key 1\nkey-id: " + key.key_id)
    assert (key.secret.hex() in text) == (passphrase is None)
    assert dsguard.DatasetKey.load(path, passphrase) == key
    with pytest.raises(FileExistsError, match="choose another path") as told:
        key.save(path)
    assert isinstance(told.value, dsguard.InputError)
    assert str(path) in str(told.value)
    if passphrase is not None:
        with pytest.raises(dsguard.WrongKeyError, match="wrong passphrase"):
            dsguard.DatasetKey.load(path, "wrong")
        with pytest.raises(dsguard.WrongKeyError, match="give its passphrase"):
            dsguard.DatasetKey.load(path)
        with pytest.raises(dsguard.InputError, match="passphrase is empty"):
            key.save(tmp_path / "empty", "")
        assert not (tmp_path / "empty").exists()


def test_the_same_character_in_two_spellings_is_one_passphrase(tmp_path, key):
    key.save(tmp_path / "k", "caf\u00e9")
    assert dsguard.DatasetKey.load(tmp_path / "k", "cafe\u0301") == key


def test_keys_and_errors_cross_process_borders(key):
    assert sealer(key) is sealer(key)  # what a key computes and keeps must not stop it
    assert pickle.loads(pickle.dumps(key)) == key
    for error in (
        dsguard.CapacityError("small", 9, 8, index=3),
        dsguard.TamperedError("changed", 4),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.__dict__) == (str(error), error.__dict__)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "not a dsguard key file"),
        ("", "not a dsguard key file"),
        ("dsguard-key 2\nsecret: 00\n", "update it"),
        ("dsguard-key 1\nkey-id: 000000000000\nsecret: zz\n", "damaged"),
        ("dsguard-key 1\nkey-id: 000000000000\n", "damaged"),
        ("dsguard-key 1\nkey-id: 000000000000\nsecret: " + "00" * 32 + "\n", "do not belong"),
        (
            "dsguard-key 1\nkey-id: 000000000000\nscrypt: N=1073741824 r=8 p=1 salt=00\n"
            "wrapped: " + "00" * 48 + "\n",
            "out of range",
        ),
        *(
            (
                f"dsguard-key 1\nkey-id: 000000000000\nscrypt: {cost} salt=00\n"
                "wrapped: " + "00" * 48 + "\n",
                "out of range",
            )
            for cost in (
                "N=1024 r=1048576 p=1",
                "N=1024 r=65 p=1",
                "N=131072 r=8 p=16",
                "N=2 r=1 p=131072",
                "N=1024 r=8 p=17",
                "N=512 r=8 p=1",
                "N=1024 r=8 p=0",
            )
        ),
    ],
)
def test_damaged_key_files_are_refused(tmp_path, text, message):
    path = tmp_path / "k"
    path.write_text(text)
    with pytest.raises(dsguard.FormatError, match=message):
        dsguard.DatasetKey.load(path, "any")


def test_headers_survive_packing_and_notice_damage():
    header = Header(1, 2, bytes(range(6)), 70_000)
    raw = header.pack()
    assert len(raw) == HEADER_BYTES
    assert Header.parse(raw) == header
    for bit in range(8 * HEADER_BYTES):
        broken = bytearray(raw)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(dsguard.TamperedError):
            Header.parse(bytes(broken))
    with pytest.raises(dsguard.NotProtectedError):
        Header.parse(bytes(HEADER_BYTES))
