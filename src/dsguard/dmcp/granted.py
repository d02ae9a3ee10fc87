"""Keys that a platform releases, in place of the key of a dataset: images stay where they are."""

from __future__ import annotations

import hmac
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

from dsguard.dmcp.client import Client
from dsguard.dmcp.connection import RefusedError
from dsguard.dmcp.login import allows_http, login_for, secret_of_user
from dsguard.dmcp.names import check_dataset_name
from dsguard.errors import DsguardError, InputError, NoKeysError, WrongKeyError
from dsguard.keys import KeySource


class GrantedKeys(KeySource):
    """The keys of images of a dataset, from the platform that has granted it.

    It stands in place of the key in `restore_batch`, `restore_dataset` and `dsguard.integrations`.
    Keys are fetched batch by batch, and each counts as an image against grant and quota. Some are
    kept in memory, none elsewhere; images that come again later than these count again, unless the
    grant counts distinct images.

    Parameters
    ----------
    dataset : str
        Its name on the platform.
    url, token : str, optional
        By default those of the environment, or of the last login, where the keys are used: other
        processes that have these too are sent no token.
    most_kept : int
        Keys in memory, of about 250 bytes each.
    allow_http : bool
        As for `Client`; or as ``DSGUARD_DMCP_ALLOW_HTTP`` says.

    Examples
    --------
    >>> from dsguard.bulk import restore_dataset
    >>> from dsguard.dmcp import GrantedKeys
    >>> restore_dataset("published", "clean", GrantedKeys("photos"))  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: str,
        url: str | None = None,
        token: str | None = None,
        *,
        most_kept: int = 100_000,
        allow_http: bool = False,
    ) -> None:
        if token and not url:
            msg = "a token was given without the address of the service that it is for; give url="
            raise InputError(msg)
        self.name = f"dataset {check_dataset_name(dataset)}"
        self._given = (dataset, url, token, most_kept, allow_http)
        self._clients: dict[int, Client] = {}
        self._kept: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        """Name dataset and address, never the token."""
        dataset, url, *_ = self._given
        return f"GrantedKeys({dataset!r}, url={url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what was given: connections and keys stay here."""
        return _same, self._given

    def image_keys(self, key_id: str, image_ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the keys of images, by image id; see `KeySource`."""
        start = bytes.fromhex(key_id)
        found = {each: self._kept.get(start + each) for each in image_ids}
        known = {each: key for each, key in found.items() if key is not None}
        missing = [each for each in image_ids if each not in known]
        if missing:
            fetched = self._fetched(key_id, missing)
            self._keep({start + each: key for each, key in fetched.items()})
            known |= fetched
        return known

    def proof_of(self, told: bytes) -> str:
        """Return a code by a secret of this user's, which lies beside the login."""
        return hmac.new(secret_of_user(), told, "sha256").hexdigest()

    def _fetched(self, key_id: str, image_ids: list[bytes]) -> dict[bytes, bytes]:
        dataset = self._given[0]
        try:
            return self._client().keys(dataset, image_ids, key_id)
        except RefusedError as refusal:
            if refusal.code == "no-key":
                msg = f"was protected under key {key_id}, which is none of dataset {dataset}"
                raise WrongKeyError(msg) from None
            raise NoKeysError(refusal.message) from refusal
        except DsguardError as error:  # of the address, or there is no login
            raise NoKeysError(error.message) from error

    def _keep(self, keys: dict[bytes, bytes]) -> None:
        """Keep keys, and forget the oldest where there are too many; threads may do so at once."""
        kept, most = self._kept, self._given[3]
        kept.update(keys)
        if len(kept) > most:
            now = kept.copy()  # in one piece; without the GIL, others change `kept` meanwhile
            for oldest in islice(now, max(0, len(now) - most)):
                kept.pop(oldest, None)

    def _client(self) -> Client:
        """Return the connection of this process: a fork must not share that of its parent."""
        process = os.getpid()
        if process not in self._clients:
            _, url, token, _, allow_http = self._given
            if not (url and token):
                url, token = login_for(url)
            client = Client(url, token, allow_http=allow_http or allows_http())
            weakref.finalize(self, client.close)
            self._clients[process] = client
        return self._clients[process]


@lru_cache(maxsize=8)
def _same(
    dataset: str, url: str | None, token: str | None, most_kept: int, allow_http: bool
) -> GrantedKeys:
    """Return the keys that this process has been sent before, with their connection."""
    return GrantedKeys(dataset, url, token, most_kept=most_kept, allow_http=allow_http)
