"""nginx in front of the platform, with the file of docs/how-to/platform-behind-nginx.md."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import ssl
import subprocess
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

import dsguard
from tests.dmcp.service import account, running
from tests.markdown import DOCS, blocks

PAGE = DOCS / "how-to" / "platform-behind-nginx.md"
TOOLS = [shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("nginx", "openssl")]

pytestmark = pytest.mark.skipif(None in TOOLS, reason="nginx or openssl is not installed")

OTHER_FILES = "".join(
    f"{kind}_temp_path {{folder}}/{kind}; "
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
AROUND = f"""
daemon off; pid {{folder}}/pid; error_log {{folder}}/error.log;
events {{{{}}}}
http {{{{ access_log off; {OTHER_FILES} include {{folder}}/dsguard.conf; }}}}
"""


@contextmanager
def proxied(folder, upstream: int):
    """Run nginx over the platform at a port; yield its address and the certificate."""
    folder.mkdir()
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [TOOLS[1], "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-keyout", key, "-out", cert, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (given,) = [block.text for block in blocks(PAGE) if block.language == "nginx"]
    for told, own in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("keys.example.org;", "localhost;"),
        ("/etc/ssl/keys.example.org.pem", str(cert)),
        ("/etc/ssl/private/keys.example.org.key", str(key)),
        ("127.0.0.1:8642", f"127.0.0.1:{upstream}"),
    ):
        assert given.count(told) == 1, told
        given = given.replace(told, own)
    (folder / "dsguard.conf").write_text(given)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    nginx = subprocess.Popen(
        [TOOLS[0], "-e", "stderr", "-c", folder / "nginx.conf"], stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(200):
            assert nginx.poll() is None, nginx.stderr and nginx.stderr.read()
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"https://localhost:{port}", ssl.create_default_context(cafile=cert)
    finally:
        nginx.terminate()
        nginx.communicate(timeout=30)


def test_page_login_and_keys_work_behind_nginx(tmp_path, scenes, key):
    done = dsguard.protect_batch(scenes, key)
    ids = b"".join(dsguard.image_ids(done.images))
    with (
        running(tmp_path / "service", proxies="127.0.0.1") as server,
        proxied(tmp_path / "nginx", server.port) as (url, trusted),
    ):
        with server.client(server.owner_token) as owner, account(server) as user:
            owner.deposit("photos", key)
            owner.grant("photos", user.name, "restore")
        elsewhere = httpx.HTTPTransport(verify=trusted, local_address="127.0.0.2")
        with httpx.Client(base_url=url, transport=elsewhere) as client:
            browser = {"accept": "text/html", "origin": url}
            page = client.get("/", headers=browser)
            assert page.status_code == 401
            assert "Log in" in page.text
            assert page.headers["strict-transport-security"]
            for path in ("/healthz", "/readyz", "/metrics"):
                assert client.get(path).status_code == 404
            begun = client.post("/login", data={"token": user.token}, headers=browser)
            assert begun.status_code == 303
            assert "Secure" in begun.headers["set-cookie"]
            assert user.name in client.get("/", headers=browser).text
            other = client.post("/logout", headers=browser | {"origin": "https://example.org"})
            assert other.status_code == 403
            given = client.post(
                "/v1/datasets/photos/image-keys",
                content=ids,
                headers={
                    "authorization": f"Bearer {user.token}",
                    "content-type": "application/octet-stream",
                    "x-forwarded-for": "198.51.100.7",
                },
            )
        assert given.status_code == 200, given.text
        keys = [given.content[n : n + 32] for n in range(0, len(given.content), 32)]
        back = dsguard.restore_batch(done.images, image_keys=keys, sidecars=done.sidecars)
        np.testing.assert_array_equal(back, scenes)
        with sqlite3.connect(tmp_path / "service" / "dmcp.sqlite") as database:
            query = "SELECT address FROM audit WHERE action = 'image-keys'"
            assert database.execute(query).fetchall() == [("127.0.0.2",)]
        database.close()
