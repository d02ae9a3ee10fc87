"""Key files and passphrases as editors and environments make of them."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys

import pytest

import dsguard
from dsguard._atomic import MOST_TEXT, read_text
from dsguard.errors import FormatError, InputError
from dsguard.keys import passphrase_of_environment
from tests import MALFORMED

CASES = MALFORMED


@pytest.fixture
def text(tmp_path, key):
    key.save(tmp_path / "plain")
    return (tmp_path / "plain").read_text()


@pytest.fixture
def loaded(tmp_path):
    def load(data: bytes, passphrase=None):
        (tmp_path / "k").write_bytes(data)
        return dsguard.DatasetKey.load(tmp_path / "k", passphrase)

    return load


@pytest.mark.parametrize("name", ["blank-after-title.key", "bom.key"])
def test_files_of_editors(name):
    key = dsguard.DatasetKey.load(CASES / name)
    assert f"key-id: {key.key_id}" in (CASES / name).read_text("utf-8-sig")


@pytest.mark.parametrize(
    "coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \t\r\n", "\n\n"])
def test_any_editor_may_have_saved_it(loaded, text, key, coding, end):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(coding, b"")
    assert loaded(mark + text.replace("\n", end).encode(coding)) == key


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\n" + text,
        lambda text: text.rstrip("\n"),
        lambda text: text.replace(": ", ":"),
        lambda text: text.replace(": ", " :  "),
        lambda text: text.replace("dsguard-key 1", "dsguard-key  1"),
    ],
)
def test_blanks_are_no_matter(loaded, text, key, change):
    assert loaded(change(text).encode()) == key


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\0", b"dsguard-key 1\n\xe9", "dsguard-key 1\n".encode("utf-16-le"), b"\0"]
)
def test_what_is_no_text_is_told(loaded, data):
    with pytest.raises(FormatError, match="is no text in UTF-8; save it as UTF-8"):
        loaded(data)


def test_a_large_file_is_not_read(loaded):
    with pytest.raises(FormatError, match="larger than any"):
        loaded(b"dsguard-key 1\n" * MOST_TEXT)


@pytest.mark.parametrize("title", ["dsguard-key 2", "dsguard-key 1 2", "dsguard-key 1\u00e9"])
def test_another_version_is_named(loaded, text, title):
    with pytest.raises(FormatError, match=f"'{title}', this dsguard reads 'dsguard-key 1'"):
        loaded(text.replace("dsguard-key 1", title).encode())


@pytest.mark.parametrize("data", [b"", b"\n\n", b"ssh-ed25519 AAAA", b"<html>"])
def test_other_files_are_none(loaded, data):
    with pytest.raises(FormatError, match="is not a dsguard key file"):
        loaded(data)


def test_text_that_other_parts_read(tmp_path):
    (tmp_path / "t").write_bytes("café\r\n".encode("utf-16"))
    assert read_text(tmp_path / "t") == "café\r\n"


def test_a_passphrase_that_is_no_text_is_told(tmp_path, key):
    phrase = os.fsdecode(b"caf\xe9")
    with pytest.raises(InputError, match="the passphrase is no text"):
        key.save(tmp_path / "k", phrase)
    key.save(tmp_path / "k", "café")
    with pytest.raises(InputError, match="the passphrase is no text"):
        dsguard.DatasetKey.load(tmp_path / "k", phrase)


CODE = "from dsguard.keys import passphrase_of_environment as p; print(ascii(p()))"


@pytest.mark.skipif(os.name != "posix", reason="environments of bytes")
@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}]
)
def test_a_passphrase_is_the_same_in_all_locales(locale):
    environment = {**os.environ, **locale}
    environment = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    environment[b"DSGUARD_PASSPHRASE"] = "café ☕".encode()
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ascii("café ☕")


def test_no_passphrase(monkeypatch):
    monkeypatch.delenv("DSGUARD_PASSPHRASE", raising=False)
    assert passphrase_of_environment() is None
    monkeypatch.setenv("DSGUARD_PASSPHRASE", "")
    assert passphrase_of_environment() == ""


@pytest.mark.parametrize("damage", ["joined", "cut", "half", "no id"])
def test_a_damaged_key_file_shows_no_secret(tmp_path, damage):
    key = dsguard.DatasetKey(bytes(range(32)))
    key.save(tmp_path / "k")
    lines = (tmp_path / "k").read_text().splitlines()
    secret = next(line for line in lines if line.startswith("secret"))
    text = {
        "joined": " ".join(lines),
        "cut": "\n".join(line for line in lines if line != secret),
        "half": "\n".join(lines).replace(secret, secret[:-5]),
        "no id": "\n".join([lines[0], secret]),
    }[damage]
    (tmp_path / "k").write_text(text)
    with pytest.raises(dsguard.FormatError, match="is damaged") as caught:
        dsguard.DatasetKey.load(tmp_path / "k")
    assert secret[8:20] not in str(caught.value)
