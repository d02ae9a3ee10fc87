"""Dataset keys: made, stored, and turned into what sealing needs."""

from __future__ import annotations

import os
import secrets
import sys
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import scrypt

from dsguard._atomic import read_text, write_new
from dsguard.errors import DsguardError, FormatError, InputError, WrongKeyError
from dsguard.keys.derived import SEALING_KEY_BYTES, derived
from dsguard.keys.image_keys import Keyring

SECRET_BYTES = 32
KEY_ID_BYTES = 6

_TITLE = "dsguard-key 1"
_LONGEST_TITLE = 24
_SCRYPT = {"N": 1 << 16, "r": 8, "p": 1}
_SALT_BYTES = 16
_PASSPHRASE = "DSGUARD_PASSPHRASE"


@dataclass(frozen=True)
class DatasetKey:
    """The secret that protects and restores one dataset.

    Use `generate` to make one, `save` and `load` to keep it. Whoever has it can restore every image
    protected under it; without it nobody can, the owner included.

    Attributes
    ----------
    secret : bytes
        256 bits.

    Examples
    --------
    >>> import dsguard
    >>> key = dsguard.DatasetKey.generate()
    >>> key.save("dataset.key")
    >>> dsguard.DatasetKey.load("dataset.key") == key
    True
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_secret(self.secret)

    def __repr__(self) -> str:
        """Name the key, never the secret."""
        return f"DatasetKey(key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[type[DatasetKey], tuple[bytes]]:
        """Pickle the secret alone, for worker processes: ciphers are made anew there."""
        return type(self), (self.secret,)

    @classmethod
    def generate(cls) -> DatasetKey:
        """Make a new key from the randomness of the operating system."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @cached_property
    def key_id(self) -> str:
        """Public name of this key, 12 hexadecimal digits; it travels in every protected image."""
        return derived(self.secret, KEY_ID_BYTES, b"key-id").hex()

    @cached_property
    def keyring(self) -> Keyring:
        """Ids and keys of single images."""
        both = derived(self.secret, 2 * SECRET_BYTES, b"images")
        return Keyring(both[:SECRET_BYTES], both[SECRET_BYTES:])

    def save(self, path: str | os.PathLike[str], passphrase: str | None = None) -> None:
        """Write the key to a new text file that only its owner can read (mode 0600).

        Parameters
        ----------
        path : path-like
            Must not exist: without the old key nobody can restore its datasets.
        passphrase : str, optional
            Wraps the secret: AES-SIV under a key from scrypt (N = 65536, r = 8, p = 1).

        Raises
        ------
        FileThereError
            If there is something at `path`. It is an `InputError` and a `FileExistsError`.
        InputError
            If the passphrase is empty.
        """
        lines = [_TITLE, f"key-id: {self.key_id}"]
        if passphrase is None:
            lines.append(f"secret: {self.secret.hex()}")
        else:
            salt = secrets.token_bytes(_SALT_BYTES)
            parameters = " ".join(f"{name}={value}" for name, value in _SCRYPT.items())
            lines += [
                f"scrypt: {parameters} salt={salt.hex()}",
                f"wrapped: {_wrap(self.secret, passphrase, salt, self.key_id, _SCRYPT).hex()}",
            ]
        write_new(Path(path), ("\n".join(lines) + "\n").encode("ascii"))

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | None = None) -> DatasetKey:
        """Read a key that `save` wrote.

        Raises
        ------
        FormatError
            If the file is no key file, is damaged, or of a version that this dsguard does not know.
        WrongKeyError
            If the file is wrapped and the passphrase is missing or wrong.
        """
        fields = _read_fields(Path(path))
        try:
            if "secret" in fields:
                secret = _bytes_of(fields["secret"])
            else:
                if "wrapped" not in fields:
                    msg = f"the key file {path} is damaged: it has no secret; take another copy"
                    raise FormatError(msg)
                if passphrase is None:
                    msg = (
                        f"the key in {path} is wrapped: give its passphrase (on the command line "
                        "in the environment variable DSGUARD_PASSPHRASE)"
                    )
                    raise WrongKeyError(msg)
                secret = _unwrap(fields, passphrase)
            key = cls(secret)
            intact = key.key_id == fields["key-id"]
        except (KeyError, ValueError) as error:
            if isinstance(error, DsguardError):
                raise
            reason = f"it has no line {error}" if isinstance(error, KeyError) else error
            msg = f"the key file {path} is damaged: {reason}; take another copy"
            raise FormatError(msg) from error
        if not intact:
            msg = f"the key file {path} is damaged: its secret and key id do not belong together"
            raise FormatError(msg)
        return key


def passphrase_of_environment() -> str | None:
    """Return the passphrase in ``DSGUARD_PASSPHRASE``, None where there is none.

    It is UTF-8 wherever it can be, also where the locale has another encoding.

    Examples
    --------
    >>> import os
    >>> from dsguard.keys import passphrase_of_environment
    >>> os.environ["DSGUARD_PASSPHRASE"] = "correct horse battery staple"
    >>> passphrase_of_environment()
    'correct horse battery staple'
    >>> del os.environ["DSGUARD_PASSPHRASE"]
    """
    given = os.environ.get(_PASSPHRASE)
    if given is None or sys.platform == "win32":  # whose environment is text
        return given
    try:
        return os.environb[_PASSPHRASE.encode()].decode()
    except UnicodeDecodeError:
        return given


def _check_secret(secret: object) -> None:
    if not isinstance(secret, bytes):
        msg = f"a dataset key is made of bytes, not {type(secret).__name__}"
        raise InputError(msg)
    if len(secret) != SECRET_BYTES:
        msg = f"a dataset key has {SECRET_BYTES} bytes, not {len(secret)}"
        raise InputError(msg)


def _read_fields(path: Path) -> dict[str, str]:
    lines = [" ".join(line.split()) for line in read_text(path).splitlines()]
    title = next(filter(None, lines), "")  # blanks and empty lines are no matter
    if not title.startswith("dsguard-key "):
        msg = f"{path} is not a dsguard key file"
        raise FormatError(msg)
    if title != _TITLE:
        if len(title) > _LONGEST_TITLE:  # which could be the secret as well
            msg = f"{path} is damaged: its lines are joined to one; take another copy"
        else:
            msg = f"{path} has the version {title!r}, this dsguard reads {_TITLE!r}: update it"
        raise FormatError(msg)
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _siv(passphrase: str, salt: bytes, key_id: str, cost: dict[str, int]) -> Any:
    # One spelling of a character, whatever keyboard it was typed on, and no limit to Latin-1.
    text = unicodedata.normalize("NFC", passphrase)
    if not text:
        msg = "the passphrase is empty"
        raise InputError(msg)
    try:
        typed = text.encode()
    except UnicodeEncodeError:
        msg = "the passphrase is no text in UTF-8, nor in the encoding of the environment"
        raise InputError(msg) from None
    derived = scrypt(typed, salt, SEALING_KEY_BYTES, cost["N"], cost["r"], cost["p"])
    assert isinstance(derived, bytes)
    cipher = AES.new(derived, AES.MODE_SIV)
    cipher.update(_TITLE.encode() + bytes.fromhex(key_id))
    return cipher


def _wrap(secret: bytes, passphrase: str, salt: bytes, key_id: str, cost: dict[str, int]) -> bytes:
    sealed, tag = _siv(passphrase, salt, key_id, cost).encrypt_and_digest(secret)
    return bytes(tag + sealed)


def _bytes_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        msg = "a line of it is not hexadecimal"
        raise ValueError(msg) from None


_LEAST_N, _MOST_R, _MOST_P = 1 << 10, 64, 16
"""Of scrypt, where 65,536, 8 and 1 are usual."""


def _unwrap(fields: dict[str, str], passphrase: str) -> bytes:
    parameters = dict(item.split("=", 1) for item in fields["scrypt"].split())
    salt = _bytes_of(parameters.pop("salt"))
    cost = {name: int(parameters[name]) for name in _SCRYPT}
    wrapped = _bytes_of(fields["wrapped"])
    # A hostile file must exhaust neither memory, which is 128·r·(N + p) bytes, nor patience: of
    # these, 128·r·p come from PBKDF2, some microseconds each.
    n, r, p = cost.values()
    is_usual = n >= _LEAST_N and 1 <= r <= _MOST_R and 1 <= p <= _MOST_P
    if not is_usual or n * r > 1 << 21 or n * r * p > 1 << 22:
        msg = "its scrypt parameters are out of range"
        raise ValueError(msg)
    cipher = _siv(passphrase, salt, fields["key-id"], cost)
    try:
        return bytes(cipher.decrypt_and_verify(wrapped[16:], wrapped[:16]))
    except ValueError as error:
        msg = "wrong passphrase, or the key file was changed"
        raise WrongKeyError(msg) from error
