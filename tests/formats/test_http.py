"""Datasets on a web server: what it sends one on to elsewhere is not read."""

from __future__ import annotations

import contextlib
import pickle
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import InputError
from dsguard.formats import encode_images, open_source
from dsguard.formats.places import RemotePlace, addresses

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@contextlib.contextmanager
def serving(
    pages: Mapping[str, bytes | str],
    header: str = "location",
    at: tuple[str, int] = ("127.0.0.1", 0),
    codes: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and the paths it was asked for; text is a redirect.

    Paths that end as one of `codes` are answered by that alone.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            path = self.path.rstrip("/")
            own = next((code for end, code in (codes or {}).items() if path.endswith(end)), None)
            page = pages.get(path) if own is None else b""
            self.send_response(own or {bytes: 200, str: 302}.get(type(page), 404))
            if isinstance(page, str):
                self.send_header(header, page)
            body = page if isinstance(page, bytes) else b""
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(at, Handler)
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


@pytest.mark.parametrize("at", ["folder", "image"])
@pytest.mark.parametrize(
    "location",
    ["http://a:99999/x", "http://[::1/x", "mailto:a@b", "data:,x", "http://xn--/", "http://\xff/"],
)
def test_a_redirect_to_no_address_is_named(tmp_path, scenes, key, location, at):
    """The server is told of, or the image alone; dsguard is not to blame."""
    index = b"".join(b'<a href="%s.png">%s</a> ' % (name, name) for name in (b"a", b"b", b"c"))
    answers = dict.fromkeys(("/d/a.png", "/d/c.png"), encode_images(scenes)[0])
    answers |= {"/d": index, "/d/b.png": location} if at == "image" else {"/d": location}
    with serving(answers) as (url, _):
        if at == "image":
            report = protect_dataset(f"{url}/d", tmp_path / "out", key, profile="veil")
            assert (report.done, list(report.failures)) == (2, ["b.png"])
            return
        with pytest.raises(InputError, match="leads to"):
            protect_dataset(f"{url}/d", tmp_path / "out", key, profile="veil")


LEADING_OUT = [
    "%2e%2e/%2e%2e/alone/secret",
    ".%2E/../alone/secret",
    "%252e%252e/%25252e%25252e/alone/secret",
    "a%2f..%2f..%2f..%2falone%2fsecret",
    "a%252f..%252f..%252falone%252fsecret",
    "a%5c..%5c..%5calone%5csecret",
    "a\\..\\..\\alone\\secret",
    "..%3f/secret",
    "a/..?/../../alone/secret",
    "a/..#/../../alone/secret",
    "..;x=1/..;/alone/secret",
    "..%20/..%09/alone/secret",
    "a%00/secret",
    "%" + "25" * 30 + "2e/secret",
]
"""What a listing can link to, so that one server or another looks elsewhere for it."""


@pytest.mark.parametrize("link", LEADING_OUT)
@pytest.mark.parametrize("ending", [".png", ".txt", "/"])
def test_nothing_beside_the_given_folder_is_read(tmp_path, scenes, key, link, ending):
    image = encode_images(scenes)[0]
    whole = f"/mallory/d/{link}{ending}"
    links = "".join(f'<a href="{each}">x</a>' for each in ("a.png", "b.png", whole))
    pages: dict[str, bytes | str] = {
        "/mallory/d": links.encode(),
        "/mallory/d/a.png": image,
        "/mallory/d/b.png": image,
        "/alone/secret.png": image,
        "/alone/secret.txt": b"the word is swordfish",
        "/alone/secret": b'<a href="more.txt">more</a>',
    }
    with serving(pages) as (address, asked):
        report = protect_dataset(f"{address}/mallory/d", tmp_path / "out", key, profile="veil")
    assert report.done == 2
    (name,) = report.failures
    assert "secret" in name
    assert "leads out of" in str(report.failures[name])
    assert not any("secret" in path for path in asked)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.png", "b.png"]


@pytest.mark.parametrize("link", LEADING_OUT)
def test_names_in_tables_lead_nowhere_else_either(link):
    with serving({"/d": b'<a href="a.png">a</a>', "/d/a.png": b"x"}) as (address, asked):
        place = open_source(f"{address}/d").place
        before = len(asked)
        for act in (place.read, place.exists, place.has_file, place.stamp):
            with pytest.raises(InputError, match="leads out of"):
                act(f"{link}.png")
    assert len(asked) == before


ORDINARY = {
    "100%25.png": "/d/100%25.png",
    "100%.png": "/d/100%25.png",
    "a%20b.png": "/d/a%20b.png",
    "two words.png": "/d/two%20words.png",
    "a%2fb.png": "/d/a%2Fb.png",
    "a..b.png": "/d/a..b.png",
    "%2Fm%2F01g317/1.png": "/d/%2Fm%2F01g317/1.png",  # a class is called /m/01g317
    "b..png": "/d/b..png",
    "x/%E4%BD%A0%e5%a5%bd.png": "/d/x/%E4%BD%A0%E5%A5%BD.png",
    "50%2525.png": "/d/50%2525.png",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_names_with_percent_signs_are_as_they_are_listed(scenes, name):
    image = encode_images(scenes)[0]
    page = f'<a href="{name}">x</a> <a href="?C=N;O=D">Name</a>'.encode()
    with serving({"/d": page, ORDINARY[name]: image}) as (address, asked):
        source = open_source(f"{address}/d")
        assert source.names() == [name]
        assert source.place.read(name) == image
        assert not source.refused()
    assert ORDINARY[name] in asked


@pytest.mark.parametrize("end", ["", "/"])
def test_a_whole_server_is_read_and_has_no_journal(tmp_path, scenes, key, end):
    image = encode_images(scenes)[0]
    page = b'<a href="a.png">a</a> <a href="/b.png">b</a>'
    with serving({"": page, "/a.png": image, "/b.png": image}) as (address, asked):
        report = protect_dataset(f"{address}{end}", tmp_path / "out", key, profile="veil")
        with pytest.raises(InputError, match=r"whole bucket.*give a folder in it, like .*/prot"):
            protect_dataset(tmp_path / "out", f"{address}{end}", key, profile="veil")
    assert (report.done, report.failed) == (2, 0)
    assert not any(".dsguard" in path for path in asked)


@pytest.fixture
def means(monkeypatch):
    """Addresses of `evil.example`, as whoever has the name says at the moment."""
    own = ["127.0.0.1"]
    real = socket.getaddrinfo

    def lookup(host, *args, **more):
        names = own if host in ("evil.example", b"evil.example") else [host]
        return [each for name in names for each in real(name, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    addresses.KEPT.clear()
    yield own
    addresses.KEPT.clear()


def read(place: RemotePlace) -> bytes:
    """Read a file as a new thread or process would, which has no connection yet."""
    import fsspec

    fsspec.get_filesystem_class("http").clear_instance_cache()
    with place.open("a.txt") as file:
        return file.read()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not this machine")
class TestNames:
    def test_a_server_keeps_the_address_that_its_name_had_first(self, means):
        with serving({"/d/a.txt": b"public"}) as (public, _):
            port = int(public.rpartition(":")[2])
            with serving({"/d/a.txt": b"secret"}, at=("127.0.0.2", port)) as (_, asked):
                place = RemotePlace(f"http://evil.example:{port}/d")
                assert read(place) == b"public"
                means[:] = ["127.0.0.2"]
                assert read(RemotePlace(place.url)) == b"public"
                sent = pickle.dumps(place)
                addresses.KEPT.clear()  # as in a new process
                assert read(pickle.loads(sent)) == b"public"
                assert not asked

    def test_of_several_addresses_one_is_kept(self, means):
        means[:] = ["127.0.0.3", "127.0.0.1", "127.0.0.2"]
        with serving({"/d/a.txt": b"public"}) as (public, _):
            port = int(public.rpartition(":")[2])
            with serving({"/d/a.txt": b"secret"}, at=("127.0.0.2", port)) as (_, asked):
                for _ in range(4):
                    place = RemotePlace(f"http://evil.example:{port}/d")
                    assert read(place) == b"public"
                assert not asked
                assert addresses.KEPT["evil.example"]["host"] == "127.0.0.1"
            means[:] = ["127.0.0.1"]
        with pytest.raises(OSError, match=r"evil\.example"):
            read(place)


@pytest.fixture
def published(tmp_path, scenes, key):
    """Pages of a published table whose long texts are sealed beside it."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": file, "path": None} for file in encode_images(scenes[:2])]
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": images, "report": ["long text " * 200] * 2})
    pq.write_table(table, tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, workers=1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "safe").iterdir()}
    index = "".join(f'<a href="{name}">{name}</a>' for name in files).encode()
    return {"/safe": index, **{f"/safe/{name}": data for name, data in files.items()}}


@pytest.mark.parametrize("code", [401, 403, 404, 410, 500, 503])
@pytest.mark.parametrize("is_file", [False, True])
def test_sealed_fields_that_cannot_be_had_are_missed(tmp_path, published, key, code, is_file):
    """Some servers list a file and refuse it; others fail for a while."""
    with serving(published, codes={".dsguard": code}) as (address, _):
        url = f"{address}/safe{'/t.parquet' if is_file else ''}"
        if is_file and code < 500:  # nothing tells that there is more
            assert restore_dataset(url, tmp_path / "back", key, workers=1).failed == 0
            return
        if is_file:
            with pytest.raises(InputError, match=r"t\.parquet\.0\.sealed-fields.*try again"):
                restore_dataset(url, tmp_path / "back", key, workers=1)
            return
        report = restore_dataset(url, tmp_path / "back", key, workers=1)
        assert report.broken == 1
        assert verify_dataset(url, key, workers=1).broken == 1
    with serving(published) as (address, _):
        again = restore_dataset(f"{address}/safe", tmp_path / "other", key, workers=1)
        assert (again.failed, again.sealed_fields) == (0, 2)


@pytest.mark.parametrize("code", [403, 404, 429, 500])
@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_that_a_server_refuses_are_named(tmp_path, scenes, key, kind, code):
    """The library of the web has errors of its own, which came as internal ones."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "clean").mkdir()
    for n, data in enumerate(encode_images(scenes[:4])):
        (tmp_path / "clean" / f"{n}.png").write_bytes(data)
    shards = {"out_format": kind, "shard_size": 2, "workers": 1}
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, **shards)
    files = {each.name: each.read_bytes() for each in sorted((tmp_path / "safe").iterdir())}
    first, second = files
    index = f'<a href="{first}">{first}</a> <a href="{second}">{second}</a>'.encode()
    pages = {"/safe": index, **{f"/safe/{name}": data for name, data in files.items()}}
    with serving(pages, codes={second: code}) as (address, _):
        report = restore_dataset(f"{address}/safe", tmp_path / "back", key, workers=1)
        assert (report.done, list(report.failures)) == (2, [second])
        assert verify_dataset(f"{address}/safe", key, workers=2).broken >= 1


@pytest.mark.parametrize(("code", "stops"), [(429, True), (503, True), (403, False), (404, False)])
@pytest.mark.parametrize("name", ["metadata.csv", "annotations.json"])
def test_a_list_that_cannot_be_read_now_ends_the_run(tmp_path, scenes, key, name, code, stops):
    """Without it, images would have other classes, and nothing would tell."""
    content = b"file_name,label\na/0.png,cat\n" if name == "metadata.csv" else b"{}"
    links = "".join(f'<a href="{each}">x</a>' for each in ("a/0.png", "a/1.png", name))
    pages = {"/d": links.encode(), f"/d/{name}": content}
    pages |= {f"/d/a/{n}.png": data for n, data in enumerate(encode_images(scenes[:2]))}
    with serving(pages, codes={name: code}) as (address, _):
        if stops:
            with pytest.raises(InputError, match="may list the images, cannot be read"):
                protect_dataset(f"{address}/d", tmp_path / "out", key)
            assert not (tmp_path / "out").exists()
            return
        report = protect_dataset(f"{address}/d", tmp_path / "out", key, workers=1)
    assert (report.done, list(report.failures)) == (2, [name])


def test_a_server_that_has_everything_is_not_asked_for_ever(tmp_path, published, key):
    """Applications of one page answer any address with it."""
    with serving(published, codes={f"{n}.sealed-fields.dsguard": 200 for n in range(1, 10)}) as (
        address,
        _,
    ):
        report = restore_dataset(f"{address}/safe", tmp_path / "back", key, workers=1)
    assert (report.failed, report.sealed_fields) == (0, 2)


def test_sealed_fields_without_the_first_are_missed(tmp_path, published, key):
    index = published["/safe"].replace(b"t.parquet.0.sealed", b"t.parquet.1.sealed")
    pages = {"/safe": index, "/safe/t.parquet": published["/safe/t.parquet"]}
    pages["/safe/t.parquet.1.sealed-fields.dsguard"] = next(
        page for path, page in published.items() if path.endswith("fields.dsguard")
    )
    with serving(pages) as (address, _):
        report = restore_dataset(f"{address}/safe", tmp_path / "back", key, workers=1)
    assert list(report.failures) == ["t.*.sealed-fields.dsguard"] or report.broken == 1


def test_addresses_with_a_query_are_refused_without_it():
    with pytest.raises(InputError, match=r"t\.tar\?…: addresses with a query") as refused:
        open_source("http://127.0.0.1:9/t.tar?signature=secret")
    assert "secret" not in str(refused.value)


def test_a_page_in_the_place_of_a_piece_is_none(tmp_path, published, key):
    """Of a single shard, pieces are asked for by name, and some servers have a page for any."""
    pages = {path: page for path, page in published.items() if path.endswith("t.parquet")}
    for number in range(3):
        pages[f"/safe/t.parquet.{number}.sealed-fields.dsguard"] = b"<!doctype html><title>Home"
    with serving(pages) as (address, _):
        report = restore_dataset(f"{address}/safe/t.parquet", tmp_path / "back", key, workers=1)
    assert (report.done, report.sealed_fields) == (2, 0)
