"""Web servers that send without end: listings, trees of folders, packed answers, long ranges."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dsguard.bulk import protect_dataset
from dsguard.errors import InputError
from dsguard.formats import decode_image, encode_images, open_source
from dsguard.formats.base import decode_rows

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

from dsguard.formats.places import http, http_client

Answer = tuple[bytes, dict[str, str]]


@contextlib.contextmanager
def serving(answer: Callable[[str], Answer | None]) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            assert self.headers["accept-encoding"] == "identity"
            found = answer(self.path)
            body, headers = found or (b"", {})
            self.send_response(404 if found is None else 206 if "content-range" in headers else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(OSError):  # the other side has had enough
                    self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/d", asked
    finally:
        server.shutdown()
        server.server_close()


def links(*names: str) -> bytes:
    return "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()


def is_folder(path: str) -> bool:
    return "." not in path and "meta" not in path


def test_a_tree_of_folders_is_read(scenes):
    image = encode_images(scenes)[0]
    pages = {
        "/d": links("../", "a/", "/d/b/", "c.png", "https://elsewhere/x.png"),
        "/d/a": links("1.png", "two words.png", "a/"),
        "/d/b": links("2.png", "../", "?C=N;O=D"),
    }
    with serving(
        lambda path: (
            (image, {}) if path.endswith("png") else
            (pages[path.rstrip("/")], {}) if path.rstrip("/") in pages else None
        )
    ) as (address, _):  # fmt: skip
        source = open_source(address)
        assert source.names() == ["a/1.png", "a/two words.png", "b/2.png", "c.png"]
        decoded = [image for _, _, image in source.read()]
    assert all((each == decode_image(image)).all() for each in decoded)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_packed_listings_are_refused(encoding):
    packed = gzip.compress(links("a.png"))
    with (
        serving(lambda _: (packed, {"content-encoding": encoding})) as (address, _),
        pytest.raises(InputError, match=f"/d.* is sent in the encoding '{encoding}'.*download it"),
    ):
        open_source(address)


def test_packed_files_are_refused_alone(scenes):
    image = encode_images(scenes)[0]

    def answer(path):
        if is_folder(path):
            return links("a.png", "b.png"), {}
        if path.endswith("a.png"):
            return gzip.compress(image), {"content-encoding": "gzip"}
        return (image, {}) if path.endswith("b.png") else None

    with serving(answer) as (address, _):
        source = open_source(address)
        (rows,) = [rows for part in source.parts(9) for rows in source.rows(part)]
    ((groups, errors),) = list(decode_rows(rows))
    assert groups[0].rows == [1]
    assert "/d/a.png is sent in the encoding 'gzip'" in str(errors[0])


def test_a_listing_is_not_read_without_end(monkeypatch):
    monkeypatch.setattr(http_client, "MOST_LISTED", 1 << 16)
    with (
        serving(lambda path: (bytes(1 << 24), {}) if is_folder(path) else None) as (address, _),
        pytest.raises(InputError, match=r"/d.* sends more than 65536 bytes"),
    ):
        open_source(address)


def test_a_listing_has_a_bounded_number_of_links(monkeypatch):
    monkeypatch.setattr(http_client, "MOST_LINKS", 100)
    many = links(*(f"{n}.png" for n in range(101)))
    with (
        serving(lambda path: (many, {}) if is_folder(path) else None) as (address, _),
        pytest.raises(InputError, match=r"/d.* lists more than 100 files; pack them"),
    ):
        open_source(address)


@pytest.mark.parametrize("cache", ["", "simplecache::"])
def test_folders_in_folders_end(cache):
    endless = links("a/", "b/", "c/")
    with (
        serving(lambda path: (endless, {}) if is_folder(path) else None) as (address, asked),
        pytest.raises(InputError, match="folders in folders without end"),
    ):
        open_source(cache + address)
    assert len(asked) < 100


@pytest.mark.parametrize("limit", ["MOST_FOLDERS", "MOST_FILES"])
def test_folders_beside_folders_end(monkeypatch, limit):
    monkeypatch.setattr(http, limit, 100)

    def answer(path):
        if not is_folder(path):
            return None
        return links(*(f"{n}{end}" for n in range(40) for end in ("/", ".png"))), {}

    with (
        serving(answer) as (address, asked),
        pytest.raises(InputError, match=r"more than \d+ folders or \d+ files"),
    ):
        open_source(address)
    assert len(asked) < 30


def test_a_range_is_not_longer_than_was_asked_for(scenes):
    image = encode_images(scenes)[0]

    def answer(path):
        if is_folder(path):
            return links("a.png"), {}
        more = {"content-range": f"bytes 0-{len(image) - 1}/{len(image)}"}
        return (image * 2, more) if path.endswith("a.png") else None

    with serving(answer) as (address, _):
        system, root = open_source(address).place._opened
        reason = rf"a\.png sends more than {len(image)} bytes"
        with (
            system.open(f"{root}/a.png", size=len(image)) as file,
            pytest.raises(InputError, match=reason),
        ):
            file.read(len(image))


LISTINGS = [
    b'<html><body><a href="?C=N;O=D">Name</a><a href="/x/">Parent</a><img src="x"><a href="a.png">',
    b'<A class="x y" HREF=\'b%20c.png\'>b c</A> <a\n  target=_blank\n  href="d/">d</a>',
    b"see http://h/d/e.png and https://h/d/f.png, no <b href='g'>g</b>",
    b'<a href="two words.png"><a id="1" title="a > b" href="z"><a name="n">',
]


@pytest.mark.parametrize("page", LISTINGS)
def test_links_are_those_that_fsspec_finds(page):
    from fsspec.implementations.http import ex, ex2

    text = page.decode()
    expected = set(ex2.findall(text)) | {found[2] for found in ex.findall(text)}
    assert set(http_client.links_in(page, "u")) == expected
    again = "\n".join(f'<a href="{link}">' for link in http_client.links_in(page, "u"))
    assert set(ex2.findall(again)) | {found[2] for found in ex.findall(again)} == expected


@pytest.mark.parametrize(
    "page", [b"<a " + b" " * (1 << 20), b"<a " * (1 << 18), b'<a href="' * 99999]
)
def test_odd_pages_take_no_longer(page):
    """Each of these took the search of fsspec for ever."""
    assert not http_client.links_in(page, "u")


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ('"it\'s.png"', "it%27s.png"),  # Apache writes it so
        ('"x&amp;y.png"', "x&y.png"),
        ("'a&#x22;b.png'", "a%22b.png"),
        ('"./a.png"', "a.png"),  # and Caddy so
        ('"&lt;i&gt;.png"', "%3Ci%3E.png"),
        ('"../a.png"', "../a.png"),
    ],
)
def test_links_are_what_browsers_take_them_for(link, found):
    assert http_client.links_in(f"<a href={link}>x</a>".encode(), "u") == [found]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))


def failing(files, status: int):
    """Return the answers of a server that does not list one of two classes; 0 lists it."""
    pages = {"/d": links("a/", "b/"), "/d/a": links("0.png"), "/d/b": links("1.png")}

    def answer(path):
        path = path.rstrip("/")
        if path == "/d/b" and status:
            return None if status == 404 else (b"<p>please log in</p>", {})
        if path.endswith(".png"):
            return files[int(path[-5])], {}
        return (pages[path], {}) if path in pages else None

    return answer


@pytest.mark.parametrize("status", [404, 200])
def test_a_folder_that_lists_nothing_is_named(tmp_path, scenes, key, status, at_once):
    """A class would be missing without a word, of a login page or of a page that is gone."""
    answer = failing(encode_images(scenes), status)
    with serving(answer) as (address, _):
        report = protect_dataset(address, tmp_path / "out", key, workers=1)
    assert report.done == 1
    assert "lists nothing" in str(report.failures["b/"])


@pytest.mark.parametrize(("times", "is_read"), [(2, True), (99, False)])
def test_a_busy_server_is_asked_again(scenes, monkeypatch, at_once, times, is_read):
    """Resets, times that are over, 429 and 5xx pass as a rule; what does not pass is told."""
    from aiohttp import ClientError

    files, left = encode_images(scenes), [times]
    with serving(failing(files, 0)) as (address, _):
        real = http_client._Response.text

        async def text(self, *given, **more):
            if str(self.url).rstrip("/").endswith("/b") and left[0]:
                left[0] -= 1
                raise ClientError(503)
            return await real(self, *given, **more)

        monkeypatch.setattr(http_client._Response, "text", text)
        if is_read:
            assert open_source(address).names() == ["a/0.png", "b/1.png"]
        else:
            with pytest.raises(InputError, match=r"/d/b cannot be listed: 503; try again later"):
                open_source(address)
