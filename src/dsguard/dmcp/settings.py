"""Settings of the service, from the environment: ``DSGUARD_DMCP_DATABASE`` and so on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import ByteSize, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from dsguard.dmcp import private_files

Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """All that an operator can set.

    Attributes
    ----------
    folder : Path
        Where the database, the master key and uploads on their way lie unless told otherwise.
    database : str
        URL as SQLAlchemy takes it; empty for SQLite in `folder`.
    master_key : str
        The master key, 64 hexadecimal digits; empty to read `master_key_file`.
    master_key_file : Path or None
        None for ``master.key`` in `folder`, which the first start makes.
    host, port
        Where to listen.
    workers : int
        Processes that restore.
    waiting, waiting_per_user : int
        Restorations at once; more are told to come again.
    patience : float
        Seconds after which a request that does not come, or the reader of an answer, is given up;
        one more for each 4 KiB that moved.
    body_bytes : int
        The largest request.
    image_bytes, image_pixels : int
        The largest image file in it, and the most pixels of one.
    request_images, job_images : int
        The most images of a request, and of a background job.
    job_bytes : int
        The largest request of a background job.
    job_days : int
        How long its result is kept.
    jobs_per_user : int
        Kept at once, in work or done.
    requests_per_minute : int
        Of one user, or of one address that has no token.
    registrations_per_hour : int
        Accounts asked for from one address.
    images_per_day : int
        That one user may send.
    open_registration : bool
        Whether anybody may make an account; without a grant it is good for asking for one.
    session_hours : float
        How long a browser stays logged in.
    secure_cookies : bool
        Whether browsers send the session over TLS alone (or to this machine itself); False only to
        try things out.
    proxies : str
        Addresses of proxies whose ``X-Forwarded-For`` is believed, with commas between; none by
        default.
    """

    model_config = SettingsConfigDict(env_prefix="DSGUARD_DMCP_", extra="ignore")

    folder: Path = Path("dmcp")
    database: str = ""
    master_key: str = Field(default="", repr=False)
    master_key_file: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8642
    workers: Count = 2
    waiting: Count = 16
    waiting_per_user: Count = 8
    patience: Annotated[float, Field(gt=0)] = 60
    body_bytes: ByteSize = ByteSize(64 << 20)
    image_bytes: ByteSize = ByteSize(16 << 20)
    image_pixels: Count = 40_000_000
    request_images: Count = 100_000
    job_images: Count = 2_000_000
    job_bytes: ByteSize = ByteSize(16 << 30)
    job_days: int = 7
    jobs_per_user: int = 8
    requests_per_minute: Count = 1200
    registrations_per_hour: Count = 30
    images_per_day: Count = 10_000_000
    open_registration: bool = True
    session_hours: Annotated[float, Field(gt=0, le=10_000)] = 12
    secure_cookies: bool = True
    proxies: str = ""

    def make_folder(self) -> None:
        """Make the folder and the file of SQLite, which are nobody else's to read.

        Raises
        ------
        InputError
            If others can read them and that cannot be changed.
        """
        private_files.make_folder(self.folder)
        path = self.database_file()
        if path is not None:
            private_files.make_database(path)

    def database_file(self) -> Path | None:
        """Return where an SQLite database lies, None for others."""
        try:
            url = make_url(self.url())
        except SQLAlchemyError:  # `check_url` says what is wrong with it
            return None
        is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        is_plain = is_file and not str(url.database).startswith("file:")
        return Path(str(url.database)) if is_plain else None

    def url(self) -> str:
        """Return the URL of the database."""
        return self.database or f"sqlite:///{os.path.realpath(self.folder / 'dmcp.sqlite')}"
