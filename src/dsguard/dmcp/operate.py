"""What operators do on the machine of the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def _opened(settings: Settings) -> Iterator[Service]:
    """Yield a transaction of the operator, with the vault open."""
    vault, engine = Vault.of(settings), connect(settings.url())
    try:
        with transaction(engine) as session:
            vault.open(session)
            yield Service(session, vault, _OPERATOR)
    finally:
        engine.dispose()


def first_owner(settings: Settings) -> str | None:
    """Make the user ``owner``, who may deposit datasets; return the token, None if there is one."""
    migrate(settings.url())
    with _opened(settings) as service:
        if service.session.scalar(select(User).limit(1)) is not None:
            return None
        return service.register("owner", publisher=True)[1]


def make_publisher(settings: Settings, name: str) -> None:
    """Let a user deposit datasets."""
    with _opened(settings) as service:
        user = service.session.scalar(select(User).where(User.name == name))
        if user is None:
            msg = f"there is no user {name}"
            raise InputError(msg)
        user.publisher = True
        service.audit("publisher", name)


def rotate(settings: Settings, new: Path) -> int:
    """Wrap all keys under the master key of a file, which is made if it is not there."""
    if not new.exists():
        write_new(new, (os.urandom(32).hex() + "\n").encode())
    with _opened(settings) as service:
        service.audit("rotate-master-key")
        return service.vault.rewrap(service.session, read_master_key(new))


def verify_audit(settings: Settings) -> tuple[int, str | None]:
    """Return how many lines of the audit trail are good, and what is wrong with the next."""
    with _opened(settings) as service:
        return verify(service.session, service.vault)
