"""Keys at rest: wrapped under the master key, which lies elsewhere than the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from sqlalchemy import select

from dsguard._atomic import write_new
from dsguard.dmcp.model import Dataset, Fact, Key, Webhook
from dsguard.dmcp.secret_text import text_of
from dsguard.errors import InputError, WrongKeyError
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.settings import Settings

_AUDIT_KEY, _JOBS_KEY = "audit-key", "jobs-key"
"""Keys of the service itself, wrapped by the master key, so that changing that breaks nothing."""


def webhook_of(dataset: str) -> str:
    """Return what the secret of a webhook is wrapped under, which no dataset is called."""
    return f"webhook/{dataset}"


class Vault:
    """Wraps and unwraps dataset keys (AES-SIV under keys derived from the master key).

    Parameters
    ----------
    master : bytes
        32 bytes.
    """

    def __init__(self, master: bytes) -> None:
        if len(master) != 32:
            msg = "the master key has 32 bytes, 64 hexadecimal digits"
            raise InputError(msg)
        self._wrapping = _derive(master, b"wrap", 64)
        self._audit = self._jobs = b""
        self._proof = ""

    @classmethod
    def of(cls, settings: Settings, *, new: bool = False) -> Vault:
        """Return the vault of the master key that the settings name.

        Parameters
        ----------
        settings : Settings
        new : bool
            Whether one may be made, for a database that has none.

        Raises
        ------
        InputError
            If there is none, or it is no master key.
        """
        if settings.master_key:
            text = settings.master_key.encode(errors="replace")
            return cls(_from_hex(text, "DSGUARD_DMCP_MASTER_KEY"))
        path = settings.master_key_file or settings.folder / "master.key"
        if not path.exists():
            if not new:
                msg = (
                    f"there is no master key at {path}, and without it the keys in the database "
                    "cannot be read; put it back, or name it: DSGUARD_DMCP_MASTER_KEY_FILE"
                )
                raise InputError(msg)
            path.parent.mkdir(parents=True, exist_ok=True)
            new_master_key(path)
        return read_master_key(path)

    def wrap(self, key: DatasetKey, dataset: str, version: int) -> bytes:
        """Return a key as it is stored; bound to its dataset and version."""
        cipher = AES.new(self._wrapping, AES.MODE_SIV)
        cipher.update(f"{dataset}/{version}".encode())
        sealed, tag = cipher.encrypt_and_digest(key.secret)
        return bytes(tag + sealed)

    def unwrap(self, wrapped: bytes, dataset: str, version: int) -> DatasetKey:
        """Return a stored key.

        Raises
        ------
        WrongKeyError
            If it was stored under another master key, for another dataset, or was changed.
        """
        cipher = AES.new(self._wrapping, AES.MODE_SIV)
        cipher.update(f"{dataset}/{version}".encode())
        try:
            return DatasetKey(cipher.decrypt_and_verify(wrapped[16:], wrapped[:16]))
        except ValueError as error:
            msg = f"the master key does not open version {version} of the key of {dataset}"
            raise WrongKeyError(msg) from error

    def mac(self, data: bytes) -> str:
        """Return the authentication code of a line of the audit trail; after `open`."""
        assert self._audit, "the vault is not open"
        return hmac.new(self._audit, data, hashlib.sha256).hexdigest()

    @staticmethod
    def is_needed(session: Session) -> bool:
        """Tell whether a database has been made with some master key."""
        return session.get(Fact, _AUDIT_KEY) is not None

    def open(self, session: Session) -> None:
        """Take the keys of the trail and of jobs from the database; a new database gets them.

        Raises
        ------
        WrongKeyError
            If the database was made with another master key.
        """
        try:
            self._audit, self._proof = self._own(session, _AUDIT_KEY)
            self._jobs, _ = self._own(session, _JOBS_KEY)
        except WrongKeyError:
            msg = (
                "the master key does not open this database; give the one that it was made with "
                "(DSGUARD_DMCP_MASTER_KEY or DSGUARD_DMCP_MASTER_KEY_FILE)"
            )
            raise WrongKeyError(msg) from None

    def _own(self, session: Session, name: str) -> tuple[bytes, str]:
        """Return a key of the service itself and how it is stored; it is made if there is none."""
        found = session.get(Fact, name)
        if found is None:
            found = Fact(name=name, value=self.wrap(DatasetKey.generate(), name, 0).hex())
            session.add(found)
            session.flush()
        return self.unwrap(bytes.fromhex(found.value), name, 0).secret, found.value

    def job_key(self, number: str, part: str) -> bytes:
        """Return the key (64 bytes) that a file of a job is sealed with; after `open`."""
        assert self._jobs, "the vault is not open"
        return _derive(self._jobs, f"job/{number}/{part}".encode(), 64)

    def opens(self, session: Session) -> bool:
        """Tell whether the master key is still that of the database: it may have been rotated."""
        found = session.get(Fact, _AUDIT_KEY)
        return found is not None and found.value == self._proof

    def rewrap(self, session: Session, new: Vault) -> int:
        """Wrap all keys of an open vault under another master key; return how many there are."""
        names = {dataset.id: dataset.name for dataset in session.scalars(select(Dataset))}
        keys = session.scalars(select(Key)).all()
        for key in keys:
            name = names[key.dataset_id]
            key.wrapped = new.wrap(self.unwrap(key.wrapped, name, key.version), name, key.version)
        for hook in session.scalars(select(Webhook)):
            name = webhook_of(names[hook.dataset_id])
            hook.wrapped = new.wrap(self.unwrap(hook.wrapped, name, 0), name, 0)
        for name, secret in ((_AUDIT_KEY, self._audit), (_JOBS_KEY, self._jobs)):
            session.get_one(Fact, name).value = new.wrap(DatasetKey(secret), name, 0).hex()
        return len(keys)


def new_master_key(path: Path) -> None:
    """Write a file with a new master key, which nobody else can read."""
    write_new(path, (secrets.token_hex(32) + "\n").encode())


def read_master_key(path: Path) -> Vault:
    """Return the vault of a file with a master key."""
    return Vault(_from_hex(path.read_bytes(), str(path)))


def _from_hex(text: bytes, where: str) -> bytes:
    digits = text_of(text, where)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        msg = f"{where} does not hold a master key, which is 64 hexadecimal digits"
        raise InputError(msg) from None


def _derive(master: bytes, purpose: bytes, size: int) -> bytes:
    derived = HKDF(master, size, b"", SHA256, context=b"dsguard/dmcp/v1/" + purpose)
    assert isinstance(derived, bytes)
    return derived
