"""Who may do what: accounts, tokens, datasets, grants, requests; each change with its audit."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update
from sqlalchemy.orm import joinedload

from dsguard.dmcp.audit import Origin, record
from dsguard.dmcp.model import RIGHTS, Dataset, Grant, Key, Request, Token, Usage, User, now
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.vault import Vault

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TOKEN = re.compile(r"dsg_[A-Za-z0-9_-]{43}")


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
        self.status, self.code, self.message, self.remedy = status, code, message, remedy
        self.dataset = dataset


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

    def user_of(self, token: str | None) -> User:
        """Return whose token this is."""
        if token and _TOKEN.fullmatch(token):
            found = self.session.scalar(select(Token).where(Token.sha256 == _hash(token)))
            if found is not None and found.revoked is None:
                return found.user
        raise Refused(
            401,
            "no-token" if not token else "bad-token",
            "no token was given" if not token else "this token is not valid, or was revoked",
            "log in with a token: `dsguard dmcp login`, or `dsguard dmcp register` for a new one",
        )

    def user_named(self, name: str) -> User:
        """Return a user by name."""
        user = (
            self.session.scalar(select(User).where(User.name == name)) if _is_name(name) else None
        )
        if user is None:
            raise Refused(
                404, "no-user", "there is no such user", "ask them to register, or check the name"
            )
        return user

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
            dataset = Dataset(name=name, title=title)
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
        dataset = None
        if _is_name(name):
            dataset = self.session.scalar(select(Dataset).where(Dataset.name == name))
        if dataset is None:
            raise Refused(
                404, "no-dataset", "there is no such dataset",
                "check the name; `dsguard dmcp datasets` lists them",
            )  # fmt: skip
        return dataset

    def ring(self, dataset: Dataset) -> dict[str, tuple[int, DatasetKey]]:
        """Return version and key by key id, the newest first."""
        self.check_vault()
        rows = self.session.scalars(
            select(Key).where(Key.dataset_id == dataset.id).order_by(Key.version.desc())
        )
        return {
            row.key_id: (row.version, self.vault.unwrap(row.wrapped, dataset.name, row.version))
            for row in rows
        }

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
        user: User,
        right: str,
        not_before: datetime | None = None,
        expires: datetime | None = None,
        quota: int | None = None,
    ) -> Grant:
        """Give a right; an earlier grant of it to the same user is revoked."""
        self.granted(manager, dataset, "manage")
        if expires is not None and expires <= max(now(), not_before or now()):
            raise Refused(
                422, "over", f"a grant until {expires:%Y-%m-%d %H:%M} UTC would be over already",
                "give a later time", dataset.name,
            )  # fmt: skip
        if right == "manage" and user.id == manager.id:
            raise _own_right(dataset)
        self._revoke(dataset, user, right)
        grant = Grant(
            dataset_id=dataset.id,
            user_id=user.id,
            right=right,
            not_before=not_before,
            expires=expires,
            quota=quota,
        )
        self.session.add(grant)
        limits = [f"from {not_before:%Y-%m-%d %H:%M}"] if not_before else []
        limits += [f"until {expires:%Y-%m-%d %H:%M}"] if expires else []
        limits += [f"{quota} images"] if quota else []
        told = ", ".join([f"{right} to {user.name}", *limits])
        self.audit("grant", told, dataset=dataset.name)
        return grant

    def revoke(self, manager: User, dataset: Dataset, user: User, right: str) -> int:
        """Take a right back; return how many grants that ended."""
        self.granted(manager, dataset, "manage")
        if right == "manage" and user.id == manager.id:
            raise _own_right(dataset)
        count = self._revoke(dataset, user, right)
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

    def answer(self, manager: User, number: int, reason: str, *, accept: bool) -> Request:
        """Accept or refuse a request."""
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
            self.grant(manager, request.dataset, request.user, "restore")
        outcome = f"request {number} was {request.state}"
        self.audit("answer", outcome, dataset=request.dataset.name)
        return request

    # Restoring

    def take(self, grant: Grant, user: User, images: int, a_day: int) -> None:
        """Count images against the grant and the day of the user, or refuse them."""
        if grant.quota is not None and grant.used + images > grant.quota:
            left = grant.quota - grant.used
            raise Refused(
                403, "quota",
                f"the grant is for {grant.quota} images; {left} are left, and these are {images}",
                "send no more than are left, or ask somebody who manages the dataset for more",
            )  # fmt: skip
        day = now().date().isoformat()
        usage = self.session.get(Usage, (user.id, day), with_for_update=True)
        if usage is None:
            usage = Usage(user_id=user.id, day=day, images=0)
            self.session.add(usage)
        if usage.images + images > a_day:
            raise Refused(
                429, "daily-quota",
                f"{a_day} images a day are allowed; {usage.images} were restored, and these are "
                f"{images}",
                "come again tomorrow (UTC)",
            )  # fmt: skip
        grant.used += images
        usage.images += images


def _own_right(dataset: Dataset) -> Refused:
    return Refused(
        409, "own-right", "nobody can change their own right to manage",
        "let another manager of the dataset do it", dataset.name,
    )  # fmt: skip


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
