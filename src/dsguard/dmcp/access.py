"""Who may do what: accounts, tokens, datasets, grants, requests; each change with its audit."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import joinedload

from dsguard.dmcp import budgets
from dsguard.dmcp.audit import Origin, record
from dsguard.dmcp.budgets import NO_LIMITS, Limits
from dsguard.dmcp.model import (
    RIGHTS,
    BrowserSession,
    Dataset,
    Grant,
    Key,
    Request,
    Token,
    Usage,
    User,
    now,
)
from dsguard.dmcp.names import NAME
from dsguard.keys import DatasetKey
from dsguard.keys.image_keys import IMAGE_ID_BYTES

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.vault import Vault

_TOKEN = re.compile(r"dsg_[A-Za-z0-9_-]{43}")
_SESSIONS = 10
"""Kept of one token; the oldest ends where there are more."""


class Credential(NamedTuple):
    """A token of the API, or the session of a browser, as somebody shows it; None for nothing."""

    secret: str | None
    is_session: bool = False


class Refused(Exception):
    """A request that is not granted.

    Attributes
    ----------
    status : int
        Of HTTP.
    code : str
    message : str
        What is wrong.
    remedy : str
        What to do next.
    dataset : str
        Whose trail it belongs to.
    """

    def __init__(
        self, status: int, code: str, message: str, remedy: str, dataset: str = ""
    ) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.message, self.remedy = _encodable(message), _encodable(remedy)
        self.dataset = dataset


def _encodable(text: str) -> str:
    """Return a text as one that can be sent: names of files may have bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Service:
    """One transaction's view of the platform, for one request."""

    session: Session
    vault: Vault
    origin: Origin

    def audit(self, action: str, outcome: str = "done", **facts: object) -> None:
        """Append a line to the audit trail."""
        record(self.session, self.vault, self.origin, action, outcome, **facts)  # type: ignore[arg-type]

    def check_vault(self) -> None:
        """Refuse to touch keys after the master key was rotated beside a running service."""
        if not self.vault.opens(self.session):
            raise Refused(
                503, "not-ready", "the master key was changed while the service ran",
                "the operator has to start it anew, with the new master key",
            )  # fmt: skip

    # Accounts

    def register(self, name: str, *, publisher: bool = False) -> tuple[User, str]:
        """Make an account; return it with its token, which is not kept."""
        _check_name(name, "user")
        if self.session.scalar(select(User).where(User.name == name)):
            raise Refused(409, "name-taken", f"there is a user {name}", "choose another name")
        user = User(name=name, publisher=publisher)
        self.session.add(user)
        self.session.flush()
        token = self._token(user)
        self.audit("register", name)
        return user, token

    def new_token(self, user: User) -> str:
        """Give a user a new token; the earlier ones are revoked."""
        self.session.execute(
            update(Token).where(Token.user_id == user.id, Token.revoked.is_(None)).values(
                revoked=now()
            )
        )  # fmt: skip
        self.audit("new-token", user.name)
        return self._token(user)

    def _token(self, user: User) -> str:
        token = "dsg_" + secrets.token_urlsafe(32)
        self.session.add(Token(user_id=user.id, sha256=_hash(token)))
        return token

    def user_of(self, credential: Credential) -> User:
        """Return who shows this."""
        return self._valid_token(credential).user

    def _valid_token(self, credential: Credential) -> Token:
        token = self._token_behind(credential)
        if token is not None and token.revoked is None:
            return token
        if credential.is_session:
            raise Refused(401, "no-token", "this session is over", "log in again, with your token")
        raise Refused(
            401,
            "bad-token" if credential.secret else "no-token",
            "this token is not valid, or was revoked" if credential.secret else
            "no token was given",
            "log in with a token: `dsguard dmcp login`, or `dsguard dmcp register` for a new one",
        )  # fmt: skip

    def _token_behind(self, credential: Credential) -> Token | None:
        secret, is_session = credential
        if not secret:
            return None
        if is_session:
            query = select(BrowserSession).where(BrowserSession.sha256 == _hash(secret))
            found = self.session.scalar(query)
            return found.token if found is not None and found.expires > now() else None
        if not _TOKEN.fullmatch(secret):
            return None
        return self.session.scalar(select(Token).where(Token.sha256 == _hash(secret)))

    def begin_session(self, credential: Credential, hours: float) -> str:
        """Return the secret of a new session of a browser, which ends with the token or before."""
        token = self._valid_token(credential)
        own = select(BrowserSession.id).where(BrowserSession.token_id == token.id)
        kept = self.session.scalars(own.order_by(BrowserSession.id.desc()).limit(_SESSIONS - 1))
        is_over = BrowserSession.expires <= now()
        is_more = (BrowserSession.token_id == token.id) & BrowserSession.id.not_in(kept.all())
        self.session.execute(delete(BrowserSession).where(or_(is_over, is_more)))
        secret = secrets.token_urlsafe(32)
        expires = now() + timedelta(hours=hours)
        self.session.add(BrowserSession(token_id=token.id, sha256=_hash(secret), expires=expires))
        return secret

    def end_session(self, credential: Credential) -> None:
        """Forget a session."""
        if credential.is_session and credential.secret:
            is_it = BrowserSession.sha256 == _hash(credential.secret)
            self.session.execute(delete(BrowserSession).where(is_it))

    def user_named(self, name: str) -> User | None:
        """Return a user by name."""
        if not _is_name(name):
            return None
        return self.session.scalar(select(User).where(User.name == name))

    # Datasets

    def deposit(self, user: User, name: str, title: str, key: DatasetKey | None) -> Key:
        """Take a dataset, or a new version of the key of one that the user manages."""
        if not user.publisher:
            raise Refused(
                403, "not-a-publisher", f"{user.name} may not deposit datasets",
                "ask the operator of this service: `dsguard dmcp publisher NAME`",
            )  # fmt: skip
        _check_name(name, "dataset")
        self.check_vault()
        key = key or DatasetKey.generate()
        if self.session.scalar(select(Key).where(Key.key_id == key.key_id)):
            raise Refused(
                409, "key-taken", f"the key {key.key_id} is deposited already",
                "deposit another key: `dsguard keygen` makes one",
            )  # fmt: skip
        dataset = self.session.scalar(select(Dataset).where(Dataset.name == name))
        if dataset is None:
            dataset = Dataset(name=name, title=title, owner_id=user.id)
            self.session.add(dataset)
            self.session.flush()
            for right in RIGHTS:
                self.session.add(Grant(dataset_id=dataset.id, user_id=user.id, right=right))
            self.session.flush()
        else:
            self.granted(user, dataset, "manage")
        last = self.session.scalars(
            select(Key.version).where(Key.dataset_id == dataset.id).order_by(Key.version.desc())
        ).first()
        version = (last or 0) + 1
        row = Key(
            dataset_id=dataset.id,
            version=version,
            key_id=key.key_id,
            wrapped=self.vault.wrap(key, name, version),
        )
        self.session.add(row)
        self.audit("deposit", f"key {key.key_id}", dataset=name, key_version=version)
        return row

    def dataset_named(self, name: str) -> Dataset:
        """Return a dataset by name."""
        dataset = self._found(name)
        if dataset is None:
            raise Refused(
                404, "no-dataset", "there is no such dataset",
                "check the name; `dsguard dmcp datasets` lists them",
            )  # fmt: skip
        return dataset

    def has_dataset(self, name: str) -> bool:
        """Tell whether there is a dataset of that name."""
        return self._found(name) is not None

    def _found(self, name: str) -> Dataset | None:
        if not _is_name(name):
            return None
        return self.session.scalar(select(Dataset).where(Dataset.name == name))

    def ring(self, dataset: Dataset) -> dict[str, tuple[int, DatasetKey]]:
        """Return version and key by key id, the newest first."""
        self.check_vault()
        rows = self.session.scalars(
            select(Key).where(Key.dataset_id == dataset.id).order_by(Key.version.desc())
        )
        return {row.key_id: self._unwrapped(dataset, row) for row in rows}

    def _unwrapped(self, dataset: Dataset, row: Key) -> tuple[int, DatasetKey]:
        return row.version, self.vault.unwrap(row.wrapped, dataset.name, row.version)

    def key_named(self, dataset: Dataset, key_id: str | None) -> tuple[int, DatasetKey]:
        """Return version and key of that key id, the newest where none is named."""
        self.check_vault()
        query = select(Key).where(Key.dataset_id == dataset.id)
        if key_id is not None:
            query = query.where(Key.key_id == key_id)
        found = self.session.scalars(query.order_by(Key.version.desc()).limit(1)).first()
        if found is None:
            raise Refused(
                404, "no-key", f"{key_id} is no key of {dataset.name}",
                "name the one that the images tell (`dsguard inspect`), or their dataset",
                dataset.name,
            )  # fmt: skip
        return self._unwrapped(dataset, found)

    # Grants

    def rights(self, user: User) -> dict[int, list[str]]:
        """Return what a user may do now, by the id of the dataset."""
        rights: dict[int, list[str]] = {}
        grants = self.session.scalars(select(Grant).where(Grant.user_id == user.id))
        for grant in sorted(grants, key=lambda grant: RIGHTS.index(grant.right)):
            if _why_not(grant) is None:
                rights.setdefault(grant.dataset_id, []).append(grant.right)
        return rights

    def requests(self, user: User) -> list[Request]:
        """Return the requests of a user, and those that the user can answer."""
        managed = [number for number, rights in self.rights(user).items() if "manage" in rights]
        wanted = or_(Request.user_id == user.id, Request.dataset_id.in_(managed))
        options = joinedload(Request.user), joinedload(Request.dataset)
        query = select(Request).where(wanted).options(*options).order_by(Request.id)
        return list(self.session.scalars(query))

    def granted(self, user: User, dataset: Dataset, right: str) -> Grant:
        """Return the grant that lets a user do something now."""
        grants = self.session.scalars(
            select(Grant).where(
                Grant.user_id == user.id, Grant.dataset_id == dataset.id, Grant.right == right
            )
        ).all()
        reasons: list[str] = []
        for grant in grants:
            reason = _why_not(grant)
            if reason is None:
                return grant
            reasons.append(reason)
        why = reasons[-1] if reasons else "was never given"
        raise Refused(
            403,
            "no-grant",
            f"{user.name} may not {right} {dataset.name}: the right {why}",
            f"ask for it: `dsguard dmcp request {dataset.name}`"
            if right == "restore"
            else "ask somebody who manages it to grant that",
            dataset.name,
        )

    def grant(
        self,
        manager: User,
        dataset: Dataset,
        name: str,
        right: str,
        limits: Limits = NO_LIMITS,
        source: str = "",
    ) -> Grant:
        """Give a right; an earlier grant of it to the same user is revoked.

        Who may not manage the dataset is told nothing of the user. The key is given by those
        alone who have it: `manage` does not lead to it.
        """
        self.granted(manager, dataset, "manage")
        if right == "export-key":
            self.granted(manager, dataset, right)
        user = self.user_named(name)
        if user is None:
            raise Refused(
                404, "no-user", "there is no such user", "ask them to register, or check the name",
                dataset.name,
            )  # fmt: skip
        _check_limits(limits, right, dataset)
        _check_change(manager, dataset, user, right)
        self._revoke(dataset, user, right)
        grant = Grant(
            dataset_id=dataset.id,
            user_id=user.id,
            right=right,
            **limits._asdict(),
            source=source,
        )
        self.session.add(grant)
        by = [f"by {source}"] if source else []
        told = ", ".join([f"{right} to {user.name}", *limits.told(), *by])
        self.audit("grant", told, dataset=dataset.name)
        return grant

    def revoke(self, manager: User, dataset: Dataset, name: str, right: str) -> int:
        """Take a right back; return how many grants that ended: none, too, of who is not there."""
        self.granted(manager, dataset, "manage")
        user = self.user_named(name)
        if user is None:
            return 0
        _check_change(manager, dataset, user, right)
        count = self._revoke(dataset, user, right)
        if count:
            self.audit("revoke", f"{right} of {user.name}", dataset=dataset.name)
        return count

    def _revoke(self, dataset: Dataset, user: User, right: str) -> int:
        grants = self.session.scalars(
            select(Grant).where(
                Grant.dataset_id == dataset.id,
                Grant.user_id == user.id,
                Grant.right == right,
                Grant.revoked.is_(None),
            )
        ).all()
        for grant in grants:
            grant.revoked = now()
        budgets.forget(self.session, grants)
        return len(grants)

    # Requests

    def ask(self, user: User, dataset: Dataset, message: str) -> Request:
        """Ask for the right to restore."""
        pending = self.session.scalar(
            select(Request).where(
                Request.user_id == user.id,
                Request.dataset_id == dataset.id,
                Request.state == "pending",
            )
        )
        if pending is not None:
            raise Refused(
                409, "asked-already", "you have asked for this dataset; nobody has answered yet",
                "wait for the answer: `dsguard dmcp requests`",
            )  # fmt: skip
        request = Request(user_id=user.id, dataset_id=dataset.id, message=message)
        self.session.add(request)
        self.session.flush()
        self.audit("request", f"request {request.id}", dataset=dataset.name)
        return request

    def answer(
        self, manager: User, number: int, reason: str, limits: Limits = NO_LIMITS, *, accept: bool
    ) -> Request:
        """Accept a request, within limits, or refuse it."""
        request = self.session.get(Request, number)
        if request is None:
            raise Refused(404, "no-request", "there is no such request", "list them first")
        self.granted(manager, request.dataset, "manage")
        if request.state != "pending":
            raise Refused(
                409, "answered", f"this request was {request.state}",
                "grant or revoke the right instead",
            )  # fmt: skip
        request.state, request.reason = ("accepted" if accept else "refused"), reason
        if accept:
            self.grant(manager, request.dataset, request.user.name, "restore", limits)
        outcome = f"request {number} was {request.state}"
        self.audit("answer", outcome, dataset=request.dataset.name)
        return request

    # Restoring

    def take(self, grant: Grant, user: User, images: int, a_day: int) -> None:
        """Count images that were sent against the grant and the day of the user, or refuse them."""
        usage = self.check_room(grant, user, images, a_day)
        grant.used += images
        usage.images += images

    def take_ids(self, grant: Grant, user: User, ids: bytes, a_day: int) -> int:
        """Count ids as images that were sent, or refuse them; return what the grant was charged.

        One of distinct images is charged for those alone that are new to it. The day of the user
        has all of them: it is the work of the service that it bounds.
        """
        asked = len(ids) // IMAGE_ID_BYTES
        if not grant.distinct or grant.quota is None:
            self.take(grant, user, asked, a_day)
            return asked
        usage, left = self.check_day(user, asked, a_day), grant.quota - grant.used
        charged = budgets.count_new(self.session, grant, ids, left)
        if charged > left:
            raise _over_quota(grant, "more of these are new")
        grant.used += charged
        usage.images += asked
        return charged

    def charge(self, grant: Grant, user: User, images: int, a_day: int) -> None:
        """Count images of a request that was given up, as far as there is room for them."""
        usage = self._usage(user)
        room = [images, a_day - usage.images]
        room += [] if grant.quota is None else [grant.quota - grant.used]
        grant.used += max(0, min(room))
        usage.images += max(0, min(room))

    def check_room(self, grant: Grant, user: User, images: int, a_day: int) -> Usage:
        """Refuse more images than the grant and the day of the user have room for."""
        if grant.quota is not None and grant.used + images > grant.quota:
            raise _over_quota(grant, f"these are {images}")
        return self.check_day(user, images, a_day)

    def check_day(self, user: User, images: int, a_day: int) -> Usage:
        """Refuse more images than the day of the user has room for."""
        usage = self._usage(user)
        if usage.images + images > a_day:
            raise Refused(
                429, "daily-quota",
                f"{a_day} images a day are allowed; {usage.images} were sent, and these are "
                f"{images}",
                "come again tomorrow (UTC)",
            )  # fmt: skip
        return usage

    def _usage(self, user: User) -> Usage:
        day = now().date().isoformat()
        usage = self.session.get(Usage, (user.id, day), with_for_update=True)
        if usage is None:
            usage = Usage(user_id=user.id, day=day, images=0)
            self.session.add(usage)
        return usage


def _over_quota(grant: Grant, these: str) -> Refused:
    quota, kind = grant.quota or 0, "distinct " * grant.distinct
    return Refused(
        403, "quota",
        f"the grant is for {quota} {kind}images; {quota - grant.used} are left, and {these}",
        "ask somebody who manages the dataset for more, or take fewer images",
    )  # fmt: skip


def _check_limits(limits: Limits, right: str, dataset: Dataset) -> None:
    """Refuse limits under which nothing would be allowed, or which contradict each other."""
    expires = limits.expires
    if expires is not None and expires <= max(now(), limits.not_before or now()):
        raise Refused(
            422, "over", f"a grant until {expires:%Y-%m-%d %H:%M} UTC would be over already",
            "give a later time", dataset.name,
        )  # fmt: skip
    fault = limits.fault(right)
    if fault is not None:
        raise Refused(
            422, "limits", fault, "give the number of images, and say that they are distinct",
            dataset.name,
        )  # fmt: skip


def _check_change(manager: User, dataset: Dataset, user: User, right: str) -> None:
    """Refuse to change the rights of who deposited a dataset, and one's own to manage it."""
    if user.id == dataset.owner_id and user.id != manager.id:
        raise Refused(
            403, "owner", f"{user.name} deposited {dataset.name}; nobody else changes their rights",
            "ask them", dataset.name,
        )  # fmt: skip
    if right == "manage" and user.id == manager.id:
        raise Refused(
            409, "own-right", "nobody can change their own right to manage",
            "let another manager of the dataset do it", dataset.name,
        )  # fmt: skip


def is_active(grant: Grant) -> bool:
    """Tell whether a grant lets its user do something, now or later."""
    return grant.revoked is None and (grant.expires is None or now() < grant.expires)


def _why_not(grant: Grant) -> str | None:
    time = now()
    if grant.revoked is not None:
        return f"was revoked on {grant.revoked:%Y-%m-%d %H:%M} UTC"
    if grant.not_before is not None and time < grant.not_before:
        return f"begins on {grant.not_before:%Y-%m-%d %H:%M} UTC"
    if grant.expires is not None and time >= grant.expires:
        return f"expired on {grant.expires:%Y-%m-%d %H:%M} UTC"
    return None


def _is_name(name: str) -> bool:
    """Tell whether anything can be called so; what cannot, some databases choke on."""
    return NAME.fullmatch(name) is not None


def _check_name(name: str, what: str) -> None:
    if not _is_name(name):
        raise Refused(
            422, "bad-name", f"this is no name of a {what}",
            "use 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit",
        )  # fmt: skip


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
