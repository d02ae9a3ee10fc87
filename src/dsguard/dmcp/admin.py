"""Commands of operators, on the machine of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dsguard._atomic import write_new
from dsguard.dmcp.access import Service
from dsguard.dmcp.audit import Origin, verify
from dsguard.dmcp.model import Entry, User, check_url, connect, migrate, transaction
from dsguard.dmcp.schemas import EntryShown
from dsguard.dmcp.vault import Vault, new_master_key, read_master_key
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.dmcp.settings import Settings
    from dsguard.dmcp.state import Platform

_OPERATOR = Origin(actor="(operator)")


@contextmanager
def _opened(settings: Settings) -> Iterator[Service]:
    """Yield a transaction of the operator, with the vault open."""
    if not settings.database and not (settings.folder / "dmcp.sqlite").exists():
        msg = f"there is no service in {settings.folder}; name its folder: --folder"
        raise InputError(msg)
    settings.make_folder()
    check_url(settings.url())
    migrate(settings.url())
    engine = connect(settings.url())
    try:
        with transaction(engine) as session:
            vault = Vault.of(settings)
            vault.open(session)
            yield Service(session, vault, _OPERATOR)
    finally:
        engine.dispose()


def first_owner(platform: Platform) -> Path | None:
    """Make the user ``owner``, who may deposit datasets, where there is no user.

    The token goes to a file that nobody else can read, whose path is returned: what is printed
    ends in logs.
    """
    path = platform.settings.folder / "owner.token"
    with platform.service(_OPERATOR) as service:
        if service.session.scalar(select(User).limit(1)) is not None:
            return None
        _, token = service.register("owner", publisher=True)
        path.unlink(missing_ok=True)  # that of a database that is gone
        write_new(path, f"{token}\n".encode())  # or else there is no owner
    return path


def give_token(settings: Settings, name: str) -> str:
    """Return a new token of a user, whose account is made if there is none."""
    with _opened(settings) as service:
        user = service.user_named(name)
        if user is None:
            return service.register(name)[1]
        return service.new_token(user)


def make_publisher(settings: Settings, name: str) -> None:
    """Let a user deposit datasets."""
    with _opened(settings) as service:
        user = service.user_named(name)
        if user is None:
            msg = f"there is no user {name}"
            raise InputError(msg)
        user.publisher = True
        service.audit("publisher", name)


def rotate(settings: Settings, new: Path) -> int:
    """Wrap all keys under the master key of a file, which is made if it is not there."""
    with _opened(settings) as service:
        if not new.exists():
            new_master_key(new)
        service.audit("rotate-master-key")
        return service.vault.rewrap(service.session, read_master_key(new))


def verify_audit(settings: Settings) -> tuple[int, str | None]:
    """Return how many lines of the audit trail are good, and what is wrong with the next."""
    with _opened(settings) as service:
        return verify(service.session, service.vault)


def whole_trail(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield all lines of the audit trail, those of no dataset too."""
    with _opened(settings) as service:
        for entry in service.session.scalars(select(Entry).order_by(Entry.number)).yield_per(1000):
            yield EntryShown.model_validate(entry, from_attributes=True).model_dump()
