"""A service, accounts, and a dataset with its key."""

from __future__ import annotations

import functools
import ssl

import pytest

import dsguard
from tests.dmcp.service import account, new_name, running


@pytest.fixture(scope="session", autouse=True)
def authorities():
    """Read the certificates of authorities once: each client of httpx would, in 40 ms."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(ssl.create_default_context)
        patch.setattr(ssl, "create_default_context", once)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {
        "body_bytes": str(6 << 20),
        "image_bytes": str(1 << 20),
        "image_pixels": "1000000",
        "secure_cookies": "false",  # httpx has no exception for this machine, as browsers have
    }
    with running(tmp_path_factory.mktemp("dmcp"), **settings) as one:
        yield one


@pytest.fixture
def owner(server):
    with server.client(server.owner_token) as client:
        yield client


@pytest.fixture
def user(server):
    """A client with an account, whose name is `user.name`."""
    with account(server) as client:
        yield client


@pytest.fixture
def mary(server):
    with account(server) as client:
        yield client


@pytest.fixture
def bob(server):
    with account(server) as client:
        yield client


@pytest.fixture
def key():
    return dsguard.DatasetKey.generate()


@pytest.fixture
def dataset(owner, key):
    name = new_name()
    owner.deposit(name, key, "Some images")
    return name
