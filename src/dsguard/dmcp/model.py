"""The tables of the service, and how they are reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    create_engine,
    event,
    false,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from dsguard.errors import InputError, MissingExtraError

RIGHTS = ("restore", "manage", "export-key")
"""What a grant can allow: restoring images, managing the dataset, taking its key away."""

LONGEST_WAIT = 30
"""Seconds that a transaction waits for another."""

_LOCK = 0x64736775617264  # any number that others do not use


class Base(DeclarativeBase):
    """Base of all tables."""


def now() -> datetime:
    """Return the time, UTC, without its zone, as all tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


class User(Base):
    """Somebody with an account; a publisher may deposit datasets."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    publisher: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)


class Token(Base):
    """A token of a user, by its hash."""

    __tablename__ = "tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)
    revoked: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)  # every request asks for both


class BrowserSession(Base):
    """Somebody logged in with a browser, by the hash of the cookie; it ends with its token."""

    __tablename__ = "sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    expires: Mapped[datetime]
    token: Mapped[Token] = relationship()


class Dataset(Base):
    """A dataset whose keys are kept here; `owner_id` is who deposited it."""

    __tablename__ = "datasets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[datetime] = mapped_column(default=now)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


class Key(Base):
    """One version of the key of a dataset, wrapped under the master key."""

    __tablename__ = "keys"
    __table_args__ = (UniqueConstraint("dataset_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    version: Mapped[int]
    key_id: Mapped[str] = mapped_column(String(12), unique=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[datetime] = mapped_column(default=now)


class Grant(Base):
    """A right of a user to a dataset, for a time and a number of images; see `budgets.Limits`.

    `source` names the hub that gave it and may end it; empty where a manager gave it here.
    `withdrawn` says that the hub told of its end, and may give another.
    """

    __tablename__ = "grants"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    right: Mapped[str] = mapped_column(String(16))
    not_before: Mapped[datetime | None]
    expires: Mapped[datetime | None]
    quota: Mapped[int | None] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger, default=0)
    distinct: Mapped[bool] = mapped_column(default=False, server_default=false())
    lease_hours: Mapped[int | None]
    revoked: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(default=now)
    source: Mapped[str] = mapped_column(String(300), default="")
    withdrawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    user: Mapped[User] = relationship()
    dataset: Mapped[Dataset] = relationship()


class Counted(Base):
    """An image that a grant of distinct images was charged for, and when, in seconds since 1970.

    Rows lie by id: there may be millions of them.
    """

    __tablename__ = "counted"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - as SQLAlchemy has it
    grant_id: Mapped[int] = mapped_column(ForeignKey("grants.id"), primary_key=True)
    image_id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    time: Mapped[int] = mapped_column(BigInteger)


class Sample(Base):
    """A protected image that shows a dataset to everybody with an account: a plain PNG file."""

    __tablename__ = "samples"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    file: Mapped[bytes] = mapped_column(LargeBinary)


class Webhook(Base):
    """The webhook of a dataset: its secret, wrapped, whose grants it gives, its last message.

    `last` is the time of that, in microseconds since 1970.
    """

    __tablename__ = "webhooks"
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    last: Mapped[int] = mapped_column(BigInteger, default=0)
    user: Mapped[User] = relationship()


class Request(Base):
    """Somebody's wish to have access, and what was said to it."""

    __tablename__ = "requests"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    message: Mapped[str] = mapped_column(String(2000), default="")
    state: Mapped[str] = mapped_column(String(10), default="pending")
    reason: Mapped[str] = mapped_column(String(2000), default="")
    created: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()
    dataset: Mapped[Dataset] = relationship()


class Usage(Base):
    """How many images a user had restored on a day."""

    __tablename__ = "usage"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger, default=0)


class Job(Base):
    """A large restoration in the background.

    Attributes
    ----------
    kind : str
        Type of what came in and goes out.
    done, failed : int
        Images worked on, and those of them without a result.
    size : int
        Bytes of the result that hold them.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    kind: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(10), default="queued")
    message: Mapped[str] = mapped_column(String(1000), default="")
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(BigInteger, default=0)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[datetime] = mapped_column(default=now)


class Entry(Base):
    """One line of the audit trail, chained to the one before."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_dataset_number", "dataset", "number"),)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[str] = mapped_column(String(32), index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    dataset: Mapped[str] = mapped_column(String(64), default="")
    key_version: Mapped[int | None]
    images: Mapped[int | None]
    digest: Mapped[str] = mapped_column(String(64), default="")
    outcome: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(64), default="")
    request: Mapped[str] = mapped_column(String(32), default="")
    mac: Mapped[str] = mapped_column(String(64))


class Head(Base):
    """The end of the audit trail; its one row is what writers wait for each other at."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    mac: Mapped[str] = mapped_column(String(64))


class Fact(Base):
    """Facts of the installation, such as the proof that the master key is the right one."""

    __tablename__ = "facts"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))


def connect(url: str) -> Engine:
    """Return an engine whose transactions wait for each other, as quotas and the trail need it.

    They are short: no image is restored within one.
    """
    is_sqlite = url.startswith("sqlite")
    # What is stored does not belong into messages, which logs keep.
    engine = create_engine(url, pool_pre_ping=not is_sqlite, hide_parameters=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _settings(connection: Any, _: object) -> None:
            connection.isolation_level = None  # transactions are begun below
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")  # what is audited survives a power cut
            cursor.execute(f"PRAGMA busy_timeout={1000 * LONGEST_WAIT}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # readers that write would collide

    elif engine.dialect.name == "postgresql":

        @event.listens_for(engine, "begin")
        def _wait(connection: Any) -> None:
            wait_for_others(connection)

    return engine


def wait_for_others(connection: Any) -> None:
    """Wait until no other service is in a transaction; PostgreSQL alone."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def check_url(url: str) -> None:
    """Refuse a database that cannot be reached, or has no driver here."""
    try:
        engine = create_engine(url)
        with engine.connect():
            engine.dispose()
    except ModuleNotFoundError as error:
        if error.name == "psycopg":
            raise MissingExtraError.of(package="psycopg", extra="postgres") from None
        msg = f"there is no driver for this database here: {error.name}; install it"
        raise InputError(msg) from None
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        msg = f"the database cannot be reached: {told}; see DSGUARD_DMCP_DATABASE"
        raise InputError(msg) from None


def migrate(url: str) -> None:
    """Bring the database to the layout of this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Yield a session that is committed at the end, or not at all."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
