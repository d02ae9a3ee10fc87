"""What changes at a server is noticed, by what the server tells of its files."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import encode_images, open_source
from dsguard.formats.archive import _tar
from dsguard.formats.places import LocalPlace, RemotePlace
from dsguard.formats.places.http import AT_ONCE
from dsguard.formats.places.stamps import stamp_in

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Files(dict[str, bytes]):
    """The files of a server by name, headers that are sent with them, and the requests."""

    def __init__(self, **headers: str) -> None:
        super().__init__()
        self.headers, self.asked = headers, Counter[tuple[str, str]]()
        self.status, self.address = 200, ""
        self.at_once = self.most_at_once = 0
        self.together = threading.Barrier(1)
        """Answers to `HEAD` wait until so many are asked for."""

    def heads(self) -> dict[str, int]:
        return {name: times for (way, name), times in self.asked.items() if way == "HEAD"}


@contextlib.contextmanager
def serving(files: Files) -> Iterator[Files]:
    """Serve files, and a page that lists them, from a folder of their own."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            name = self.path.removeprefix("/d").lstrip("/")
            with lock:
                files.asked[self.command, name] += 1
                files.at_once += 1
                files.most_at_once = max(files.most_at_once, files.at_once)
            listing = "".join(f'<a href="{each}">x</a> ' for each in files).encode()
            body = files.get(name, b"") if name else listing
            self.send_response(files.status if not name or name in files else 404)
            self.send_header("content-length", str(len(body)))
            for header, value in files.headers.items():
                self.send_header(header, value.format(hash(body)))
            if self.command == "HEAD":
                files.together.wait(timeout=10)
            with lock:
                files.at_once -= 1
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # of 5 that wait, others try again a second later

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files.address = f"http://127.0.0.1:{server.server_port}/d"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()


TELLING = [{"ETag": '"{}"'}, {"Last-Modified": "date {}"}, {"Digest": "sha-256={}"}]


@pytest.mark.parametrize("headers", TELLING, ids=["ETag", "Last-Modified", "Digest"])
def test_what_changed_at_a_web_server_is_protected_again(tmp_path, scenes, key, headers):
    images = encode_images(scenes)
    with serving(Files(**headers)) as files:
        files.update({"a.png": images[0], "b.png": images[1]})

        def run():
            return protect_dataset(files.address, tmp_path / "out", key)

        assert run().resumed == 0
        assert run().resumed == 1, "nothing changed"
        files["a.png"] = images[2]
        assert run().resumed == 0
        assert run().resumed == 1
        report = verify_dataset(tmp_path / "out", key, against=files.address)
    assert (report.done, report.failed) == (2, 0)


def test_what_changed_at_a_web_server_is_restored_again(tmp_path, scenes, key):
    for release in (0, 1):
        clean = tmp_path / f"clean{release}"
        clean.mkdir()
        (clean / "a.png").write_bytes(encode_images(scenes)[release])
        protect_dataset(clean, tmp_path / f"out{release}", key)
    with serving(Files(ETag='"{}"')) as files:
        for release in (0, 1):
            files["a.png"] = (tmp_path / f"out{release}/a.png").read_bytes()
            restore_dataset(files.address, tmp_path / "back", key)
            (found,) = (image for _, _, image in open_source(tmp_path / "back").read())
            assert np.array_equal(np.asarray(found), scenes[release])


def tar_of(image: bytes, text: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, data in (("d/a.png", image), ("d/b.png", image), ("notes.txt", text)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return whole.getvalue()


def test_an_archive_that_changed_is_protected_again(tmp_path, scenes, key):
    images = encode_images(scenes)
    with serving(Files(ETag='"{}"')) as files:
        for each, resumed in ((0, 0), (0, 1), (1, 0)):
            files["x.tar"] = tar_of(images[each], b"1")
            report = protect_dataset(f"{files.address}/x.tar", tmp_path / "out", key)
            assert report.resumed == resumed


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_length_alone_tells_nothing(tmp_path, scenes, key, kind):
    """Most archives of other images have one length, and so have images that are not packed."""
    images = encode_images(scenes)
    with serving(Files()) as files:
        files.update({"a.png": images[0], "x.tar": tar_of(images[0], b"1")})
        address = files.address
        if kind == "archive":
            address += "/x.tar"
        else:
            del files["x.tar"]
        for _ in range(2):
            report = protect_dataset(address, tmp_path / "out", key)
            assert (report.resumed, report.failed) == (0, 0)


def test_texts_that_changed_at_a_web_server_are_packed_again(tmp_path, scenes, key):
    with serving(Files(ETag='"{}"')) as files:
        files.update({"a.png": encode_images(scenes)[0], "a.txt": b"a dog"})
        for resumed, text in ((0, b"a dog"), (1, b"a dog"), (0, b"a cat")):
            files["a.txt"] = text
            report = protect_dataset(
                files.address, tmp_path / "out", key, out_format="webdataset", publish=["*.txt"]
            )
            assert report.resumed == resumed


@pytest.mark.parametrize(
    "cache", ["", "simplecache::", "filecache::", "blockcache::", "simplecache::filecache::"]
)
def test_one_request_tells_of_a_file_and_several_are_sent_at_once(scenes, cache):
    image = encode_images(scenes)[0]
    names = [f"{number:03d}.png" for number in range(4 * AT_ONCE)]
    with serving(Files(ETag='"{}"')) as files:
        files.update(dict.fromkeys(names, image))
        source = open_source(f"{cache}{files.address}")
        parts = source.parts(2 * AT_ONCE)
        files.asked.clear()
        files.together = threading.Barrier(AT_ONCE)
        assert len(set(map(source.stamp, parts))) == 2
        assert files.heads() == dict.fromkeys(names, 1)
        assert sum(files.asked.values()) == len(names)
    assert files.most_at_once == AT_ONCE


@pytest.mark.parametrize("headers", [{}, {"ETag": '"{}"'}])
def test_the_members_of_an_archive_are_read_once_for_all_its_files(scenes, headers):
    image = encode_images(scenes)[0]
    _tar.cache_clear()
    with serving(Files(**headers)) as files:
        files["x.tar"] = tar_of(image, b"text")
        source = open_source(f"{files.address}/x.tar")
        assert source.read_companion("notes.txt") == b"text"
        before = _tar.cache_info().misses
        for _ in range(3):
            assert source.read_companion("notes.txt") == b"text"
        assert _tar.cache_info().misses == before
        files["x.tar"] = tar_of(image, b"news")
        if headers:
            assert open_source(f"{files.address}/x.tar").read_companion("notes.txt") == b"news"


@pytest.mark.parametrize("status", [403, 429, 503])
def test_of_what_a_server_does_not_give_nothing_is_known(scenes, status):
    with serving(Files(ETag='"{}"')) as files:
        files["a.png"] = b"x"
        known = RemotePlace(files.address).stamps(["a.png"])
        assert known == RemotePlace(files.address).stamps(["a.png"])
        files.status = status
        stamps = [RemotePlace(files.address).stamp("a.png") for _ in range(2)]
    assert len({*known, *stamps}) == 3


def test_places_in_other_processes_ask_themselves(scenes):
    with serving(Files(ETag='"{}"')) as files:
        files["a.png"] = b"x"
        place = RemotePlace(files.address)
        assert pickle.loads(pickle.dumps(place)).stamp("a.png") == place.stamp("a.png")


INFOS = {
    "s3": {"size": 1, "ETag": '"1"', "LastModified": "2026", "StorageClass": "STANDARD"},
    "gs": {"size": 1, "generation": "1", "md5Hash": "x", "updated": "2026"},
    "abfs": {"size": 1, "etag": "0x1", "last_modified": "2026"},
    "adl": {"size": 1, "modificationTime": 1},
    "oss": {"size": 1, "LastModified": 1},
    "oci": {"size": 1, "etag": "1", "timeModified": "2026"},
    "hf": {"size": 1, "blob_id": "1", "lfs": None, "last_commit": None},
    "hf bucket": {"size": 1, "xet_hash": "1", "mtime": "2026"},
    "ftp": {"size": 1, "modify": "20260101000000"},
    "sftp": {"size": 1, "mtime": 1, "time": 2},
    "smb": {"size": 1, "mtime": 1, "time": 2},
    "hdfs": {"size": 1, "mtime": 1},
    "webhdfs": {"size": 1, "modificationTime": 1, "accessTime": 2},
    "memory": {"size": 1, "created": 1},
    "http": {"size": 1, "Last-Modified": "2026", "url": "http://localhost/d/a?signed=1"},
}
"""What the file systems of each store tell of a file, beside its name and kind."""

UNRELATED = {"time": 9, "accessTime": 9, "url": "http://localhost/d/a?signed=2", "name": "b"}


@pytest.mark.parametrize("store", INFOS)
def test_what_a_store_tells(store):
    told = {"name": "a", "type": "file", **INFOS[store]}
    stamp = stamp_in(told)
    assert stamp
    assert stamp == stamp_in({**told, **{each: UNRELATED[each] for each in UNRELATED}}), "no change"
    assert stamp != stamp_in({**told, "size": 2})
    telling = next(each for each in list(INFOS[store])[1:] if INFOS[store][each])
    assert stamp != stamp_in({**told, telling: "another"})


@pytest.mark.parametrize(
    "told", [{}, {"size": 5}, {"size": 5, "ETag": ""}, {"time": 5, "url": "x"}]
)
def test_what_tells_nothing(told):
    assert stamp_in({"name": "a", "type": "file", **told}) == ""


def test_other_stores_notice_what_changed():
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe_file("/stamps/a.png", b"1")
    place = RemotePlace("memory://stamps")
    first = place.stamp("a.png")
    assert place.stamps(["a.png", "a.png"]) == [first, first]
    store.pipe_file("/stamps/a.png", b"2")
    assert place.stamp("a.png") != first
    store.rm("/stamps", recursive=True)


def test_a_file_of_the_same_length_and_date_is_another(tmp_path):
    """Archives that tell no dates leave one date on all that is unpacked from them."""
    stamps = set()
    for content in (b"1", b"2"):
        new = tmp_path / "new"
        new.write_bytes(content)
        new.replace(tmp_path / "images.npy")
        os.utime(tmp_path / "images.npy", (0, 0))
        stamps.add(LocalPlace(tmp_path).stamp("images.npy"))
        assert LocalPlace(tmp_path).stamp("images.npy") in stamps
    assert len(stamps) == 2
