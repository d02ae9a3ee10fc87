"""Datasets on a web server: what it sends one on to elsewhere is not read."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dsguard.bulk import protect_dataset
from dsguard.formats import encode_images

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@contextlib.contextmanager
def serving(
    pages: dict[str, bytes | str], header: str = "location"
) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and the paths it was asked for; text is a redirect."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(self.path.rstrip("/"))
            self.send_response({bytes: 200, str: 302}.get(type(page), 404))
            if isinstance(page, str):
                self.send_header(header, page)
            body = page if isinstance(page, bytes) else b""
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("header", ["location", "uri"])
def test_redirects_to_another_server_are_not_followed(tmp_path, scenes, key, header):
    image = encode_images(scenes)[0]
    index = b"".join(b'<a href="%s.png">%s</a> ' % (name, name) for name in (b"a", b"b", b"c"))
    with (
        serving({"/private.png": image}) as (private, asked),
        serving({
            "/d": index, "/d/a.png": image, "/d/b.png": f"{private}/private.png",
            "/d/c.png": "/d/a.png",
        }, header) as (public, _),
    ):  # fmt: skip
        report = protect_dataset(f"{public}/d", tmp_path / "out", key, profile="veil")
    assert report.done == 2, "a redirect within the server is followed"
    assert "leads to another server" in str(report.failures["b.png"])
    assert private in str(report.failures["b.png"])
    assert not asked
