"""What operators do on the machine of the service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from dsguard.dmcp.access import Service
from dsguard.dmcp.audit import Origin, verify
from dsguard.dmcp.model import User, connect, migrate, transaction
from dsguard.dmcp.vault import Vault, read_master_key
from dsguard.errors import InputError
from dsguard.files import write_new

if TYPE_CHECKING:
    from dsguard.dmcp.settings import Settings

_OPERATOR = Origin(actor="(operator)")


def first_owner(settings: Settings) -> str | None:
    """Make the user ``owner``, who may deposit datasets; return the token, None if there is one."""
    vault, engine = Vault.of(settings), connect(settings.url())
    migrate(settings.url())
    try:
        with transaction(engine) as session:
            vault.open(session)
            if session.scalar(select(User).limit(1)) is not None:
                return None
            return Service(session, vault, _OPERATOR).register("owner", publisher=True)[1]
    finally:
        engine.dispose()


def make_publisher(settings: Settings, name: str) -> None:
    """Let a user deposit datasets."""
    vault, engine = Vault.of(settings), connect(settings.url())
    try:
        with transaction(engine) as session:
            vault.open(session)
            user = session.scalar(select(User).where(User.name == name))
            if user is None:
                msg = f"there is no user {name}"
                raise InputError(msg)
            user.publisher = True
            Service(session, vault, _OPERATOR).audit("publisher", name)
    finally:
        engine.dispose()


def rotate(settings: Settings, new: Path) -> int:
    """Wrap all keys under the master key of a file, which is made if it is not there."""
    if not new.exists():
        write_new(new, (os.urandom(32).hex() + "\n").encode())
    vault, engine = Vault.of(settings), connect(settings.url())
    try:
        with transaction(engine) as session:
            vault.open(session)
            Service(session, vault, _OPERATOR).audit("rotate-master-key")
            return vault.rewrap(session, read_master_key(new))
    finally:
        engine.dispose()


def verify_audit(settings: Settings) -> tuple[int, str | None]:
    """Return how many lines of the audit trail are good, and what is wrong with the next."""
    vault, engine = Vault.of(settings), connect(settings.url())
    try:
        with transaction(engine) as session:
            vault.open(session)
            return verify(session, vault)
    finally:
        engine.dispose()
