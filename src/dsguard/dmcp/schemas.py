"""JSON on the wire: its fields and their limits."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, WithJsonSchema

from dsguard.dmcp.budgets import Limits
from dsguard.keys.image_keys import IMAGE_ID_BYTES

from datetime import UTC  # isort: skip

_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of text, so that it reads as another than it is."""


def _plain(text: str) -> str:
    """Refuse what steers a terminal, breaks a line, or has text read as another."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _TURNS:
            msg = f"the character U+{ord(character):04X} controls how text is shown; leave it out"
            raise ValueError(msg)
    return text


Name = Annotated[str, Field(max_length=64, examples=["chest-xrays"]), AfterValidator(_plain)]
Text = Annotated[str, Field(max_length=2000), AfterValidator(_plain)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
KeyId = Annotated[str, Field(pattern="^[0-9a-f]{12}$", examples=["43079a27c55b"])]
ImageId = Annotated[
    bytes,
    Field(min_length=IMAGE_ID_BYTES, max_length=IMAGE_ID_BYTES),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
]
Right = Literal["restore", "manage", "export-key"]


def _utc(value: datetime | None) -> datetime | None:
    """Return a time in UTC without its zone; one without a zone is UTC already."""
    if value is None or value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        msg = "this time is out of range"
        raise ValueError(msg) from None


Time = Annotated[datetime | None, AfterValidator(_utc)]


class Asked(BaseModel):
    """Base of what is asked: nothing that is not known."""

    model_config = ConfigDict(extra="forbid")


class Registration(Asked):
    """A new account."""

    name: Name


class Deposit(Asked):
    """A dataset, or another version of its key."""

    name: Name
    title: Annotated[Text, Field(max_length=200)] = ""
    secret: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="The key; without one the service makes it."
    )


class Limited(Asked):
    """What a grant is limited to."""

    quota: int | None = Field(None, ge=1, le=10**12, description="Images.")
    distinct: bool = Field(
        False, description="An image whose key is asked for again is not counted again."
    )
    lease_hours: int | None = Field(
        None, ge=1, le=10**6, description="After so many hours it is, where `distinct`."
    )


class GrantAsked(Limited):
    """A right for a user."""

    user: Name
    right: Right = "restore"
    not_before: Time = None
    expires: Time = None
    source: Annotated[Text, Field(max_length=300)] = Field(
        "", description="The hub that approved it; empty where you did."
    )

    def limits(self) -> Limits:
        """Return what it is limited to."""
        return Limits(self.not_before, self.expires, self.quota, self.distinct, self.lease_hours)


class RevokeAsked(Asked):
    """The end of a right."""

    user: Name
    right: Right = "restore"


class Approval(Asked):
    """That a hub approved somebody, or does so no more; limits are those of a new grant."""

    user: Name
    approved: bool
    not_before: Time = None
    expires: Time = None
    quota: int | None = Field(None, ge=1, le=10**12, description="Images.")


class AccessAsked(Asked):
    """A wish to restore."""

    message: Text = ""


class Answer(Limited):
    """An answer to a wish; where it is accepted, limits are those of the grant."""

    accept: bool
    reason: Text = ""

    def limits(self) -> Limits:
        """Return what the grant is limited to."""
        return Limits(None, None, self.quota, self.distinct, self.lease_hours)


class IdsAsked(Asked):
    """Ids of images whose keys are wanted."""

    model_config = ConfigDict(extra="forbid", val_json_bytes="hex")
    ids: Annotated[list[ImageId], FailFast(), Field(min_length=1, description="16 bytes each.")]


class TokenGiven(BaseModel):
    """An account's token, shown this once."""

    name: str
    token: str


class DatasetShown(BaseModel):
    """A dataset as others see it."""

    name: str
    title: str
    rights: list[str] = Field(description="Of the user who asks, now.")


class SamplesShown(BaseModel):
    """How many images a dataset is shown by."""

    dataset: str
    samples: int


class KeyShown(BaseModel):
    """A version of a key, without the key."""

    dataset: str
    version: int
    key_id: str


class ImageKeysGiven(BaseModel):
    """Keys of images, in the order of the ids, and the key that they are derived from."""

    key_id: str
    version: int
    keys: list[str] = Field(description="32 bytes each, hexadecimal.")


class KeyExported(KeyShown):
    """A version of a key, with it."""

    secret: str


class GrantShown(BaseModel):
    """A grant and what became of it."""

    user: str
    right: str
    not_before: datetime | None
    expires: datetime | None
    quota: int | None
    distinct: bool
    lease_hours: int | None
    used: int
    revoked: datetime | None
    source: str


Outcome = Literal["granted", "revoked", "kept"]


class ApprovalTaken(BaseModel):
    """What became of an approval; nothing changed where it was kept."""

    user: str
    state: Outcome


class WebhookGiven(BaseModel):
    """The secret of a webhook, shown this once."""

    dataset: str
    secret: str


class RequestShown(BaseModel):
    """A wish to restore, and the answer."""

    number: int
    dataset: str
    user: str
    message: str
    state: str
    reason: str


class JobShown(BaseModel):
    """A background job."""

    number: str
    dataset: str
    state: str = Field(description="queued, running, done, refused or failed")
    message: str
    done: int
    failed: int


class EntryShown(BaseModel):
    """A line of the audit trail."""

    number: int
    time: str
    actor: str
    action: str
    dataset: str
    key_version: int | None
    images: int | None
    digest: str
    outcome: str
    address: str
    request: str


class Problem(BaseModel):
    """Why something was not done."""

    code: str
    message: str
    remedy: str
    request: str
