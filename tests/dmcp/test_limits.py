"""What the platform counts, limits and notes of requests, good and bad ones."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import struct
import tarfile
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.dmcp import frames, tiff
from dsguard.dmcp.restoring import _measured
from dsguard.formats import decode_image, encode_images
from tests.dmcp.service import new_name, post, protected, refusals, refused, running, tar_of


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dmcp"), image_pixels="1000000") as one:
        yield one


@pytest.fixture
def dataset(owner, mary, key):
    name = new_name()
    owner.deposit(name, key)
    owner.grant(name, mary.name)
    return name


def used(owner, dataset: str) -> int:
    return owner.grants(dataset)[-1]["used"]


def restores(owner, dataset: str) -> list[dict]:
    return [line for line in owner.audit(dataset, 0, 1000) if line["action"] == "restore"]


def test_a_megabyte_of_empty_frames_is_paid_for_and_told_in_short(server, owner, mary, dataset):
    nameless = post(server, mary.token, dataset, bytes(8) * (1 << 17), frames.CONTENT_TYPE)
    assert nameless.status_code == 400
    body = frames.packed("x", "", b"") * ((1 << 20) // 9)
    answer = post(server, mary.token, dataset, body, frames.CONTENT_TYPE)
    assert answer.status_code == 200
    assert len(answer.content) < 3 * len(body)
    last = list(frames.read(io.BytesIO(answer.content), len(body)))[-1]
    assert "100000 images are allowed in one go" in last.status
    assert used(owner, dataset) == 100_000
    (line,) = restores(owner, dataset)
    assert line["images"] == 0
    assert line["outcome"].startswith("0 of ")
    day = sqlite3.connect(server.folder / "dmcp.sqlite")
    query = "SELECT images FROM usage JOIN users ON users.id = user_id WHERE name = ?"
    assert day.execute(query, (mary.name,)).fetchone() == (100_000,)
    day.close()


def test_failures_are_told_in_full_until_there_are_many(mary, dataset, scenes, key):
    good = protected(scenes, key)[:1]
    found = list(mary.restore(dataset, [("x.png", b"x")] * 1200 + good + [("y.png", b"y")]))
    told = [image.error for image in found]
    assert all("not an image file" in error for error in told[:100])
    assert set(told[100:1200]) == {"failed too"}
    assert (told[1200], told[1201]) == ("", "failed too")


def test_failed_images_count_as_good_ones(server, owner, mary, dataset, scenes, key):
    owner.grant(dataset, mary.name, quota=4)
    bad = [("x.png", b"x")] * 3
    assert all(image.error for image in mary.restore(dataset, bad))
    assert used(owner, dataset) == 3
    with refused(403, "quota"):
        list(mary.restore(dataset, bad))
    assert len(list(mary.restore(dataset, protected(scenes, key)[:1]))) == 1
    assert used(owner, dataset) == 4
    for body in (b"", b"x"):  # of who has nothing left, nothing is worked on
        answer = post(server, mary.token, dataset, body, "application/x-tar")
        assert (answer.status_code, answer.json()["code"]) == (403, "quota")
    owner.revoke(dataset, mary.name)


def test_a_damaged_request_is_paid_for(server, owner, mary, dataset, scenes, key):
    whole = tar_of(protected(scenes, key))
    answer = post(server, mary.token, dataset, whole[:-20000], "application/x-tar")
    assert answer.json()["code"] == "damaged"
    paid = used(owner, dataset)
    assert 0 < paid < 9
    owner.grant(dataset, mary.name, quota=paid - 1)
    answer = post(server, mary.token, dataset, whole[:-20000], "application/x-tar")
    assert answer.json()["code"] == "damaged"
    assert used(owner, dataset) == paid - 1


def test_images_of_a_request_and_of_a_job_are_limited(tmp_path, scenes):
    limits = {"request_images": "3", "job_images": "5"}
    with running(tmp_path / "service", **limits) as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            assert len(list(owner.restore("d", images[:3]))) == 3
            with refused(413, "too-many"):
                list(owner.restore("d", images))
            paths = [tmp_path / "five.tar", tmp_path / "six.tar"]
            for path, count in zip(paths, (5, 6), strict=True):
                path.write_bytes(tar_of(images[:count]))
            states = []
            for path in paths:
                number = owner.begin_job("d", path)
                while (state := owner.job(number))["state"] in ("queued", "running"):
                    pass
                states.append((state["state"], state["done"]))
                told = state["message"]
            assert states == [("done", 5), ("refused", 0)]
            assert "5 images are allowed" in told


def test_strangers_do_not_fill_the_trail_of_a_dataset(tmp_path):
    with running(tmp_path / "service") as server:
        with server.client(server.owner_token) as owner, server.client() as stranger:
            owner.deposit("d")
            token = stranger.register("mary")
            before = len(owner.audit("d"))
            for path in ("grants", "audit", "keys"):
                for _ in range(20):
                    url = f"{server.url}/v1/datasets/d/{path}"
                    assert httpx.get(url).status_code == 401
                    bad = httpx.get(url, headers={"authorization": "Bearer dsg_x"})
                    assert bad.status_code == 401
            assert len(owner.audit("d")) == before
            for _ in range(20):
                with server.client(token) as mary, refused(403, "no-grant"):
                    mary.grants("d")
            assert [line["outcome"] for line in owner.audit("d")[before:]] == ["no-grant"]
            page = httpx.get(
                f"{server.url}/datasets/d",
                headers={"authorization": f"Bearer {server.owner_token}"},
            ).text
            trail, _, others = page.partition("What was refused")
            assert "deposit" in trail
            assert "no-grant" not in trail
            assert "no-grant" in others
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'dsguard_refusals_total{code="no-token"} 60.0' in metrics
        assert 'dsguard_refusals_total{code="bad-token"} 60.0' in metrics
        lines = [json.loads(line) for line in server.operate("audit", "all").stdout.splitlines()]
        tokenless = [line["outcome"] for line in lines if not line["actor"]]
        assert sorted(tokenless[1:]) == ["bad-token", "no-token"]  # the first is a registration


def test_protected_tiff_files_are_restored(mary, dataset, scenes, key):
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    done = dsguard.protect_batch(noise, key, target=noise[:, ::-1])
    assert done.sidecars
    (file,) = encode_images(done.images, "tiff", sidecars=done.sidecars)
    (found,) = mary.restore(dataset, [("a.tiff", file)])
    np.testing.assert_array_equal(decode_image(found.data), noise[0])


def other_formats(pixels: np.ndarray) -> dict[str, bytes]:
    files = {}
    for name in ("jpeg", "gif", "bmp", "webp", "ppm"):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, name)
        files[name] = out.getvalue()
    return files


def tags_of(order: str, *rows: tuple[int, int, int]) -> bytes:
    """Return a TIFF of one row of tags, each with a type and a value."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    parts = [start, struct.pack(f"{order}IH", 8, len(rows))]
    for tag, kind, value in rows:
        field = struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", value)
        parts.append(struct.pack(f"{order}HHI", tag, kind, 1) + field)
    return b"".join(parts) + bytes(64)


SIZE = [(256, 4, 64), (257, 4, 64), (258, 3, 8), (259, 3, 8)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([*SIZE, (322, 4, 46336), (323, 4, 46336)], "tiles"),
        ([*SIZE, (324, 4, 8)], "tiles"),
        ([*SIZE, (278, 4, 2**31 - 1)], "strips of 2147483647 rows, and has 64"),
        ([*SIZE, (278, 3, 65)], "strips of 65 rows"),
        ([*SIZE, (278, 4, 64), (278, 4, 2**30)], "twice"),
        ([*reversed(SIZE)], "out of order"),
        ([(257, 4, 64), (258, 3, 8)], "without a size"),
        ([*SIZE[:3], (259, 3, 7)], "compression"),
        ([*SIZE, (277, 3, 60000)], "samples"),
        ([*SIZE[:2], (258, 3, 16), (259, 3, 8)], "samples"),
        ([*SIZE[:3], (259, 9, 7)], "another kind"),
        ([*SIZE, (278, 16, 64)], "another kind"),
        ([*SIZE, (279, 17, 64)], "another kind"),
        ([(256, 1, 64), *SIZE[1:]], "another kind"),
    ],
)
def test_odd_tiff_files_meet_no_decoder(order, rows, told):
    data = tags_of(order, *rows)
    with pytest.raises(tiff.OddTiffError, match=told):
        tiff.pixels_of(data)
    assert told in _measured(data)[1]
    for size in range(len(data) - 64):  # cut off anywhere
        with pytest.raises(tiff.OddTiffError):
            tiff.pixels_of(data[:size])


def test_the_pixels_of_a_tiff_are_counted():
    for order in "<>":
        assert _measured(tags_of(order, *SIZE, (278, 4, 64))) == (64 * 64, "")
        assert _measured(tags_of(order, *SIZE, (278, 4, 2**32 - 1))) == (64 * 64, "")


def test_an_image_of_a_strange_size_fails_alone(owner, mary, dataset, scenes, key):
    small = [encode_images(np.zeros((1, *shape), np.uint8))[0] for shape in ((4, 4, 3), (7, 40, 1))]
    files = [small[0], protected(scenes, key)[0][1], small[1]]
    found = list(mary.restore(dataset, [(f"{n}.png", file) for n, file in enumerate(files)]))
    assert [image.error == "" for image in found] == [False, True, False]
    assert "so small that its header is in its sidecar" in found[0].error
    assert owner.audit(dataset)[-1]["images"] == 1


def test_no_other_format_is_decoded(mary, dataset, scenes, key):
    files = other_formats(scenes[0])
    files["tiles"] = tags_of("<", *SIZE, (322, 4, 46336), (323, 4, 46336))
    files["large"] = tags_of("<", (256, 4, 2000), (257, 4, 2000), *SIZE[2:])
    good = protected(scenes, key)[:1]
    found = list(mary.restore(dataset, [*files.items(), *good]))
    told = {image.name: image.error for image in found}
    assert told.pop(good[0][0]) == ""
    assert "4000000 pixels" in told.pop("large")
    assert "tiles" in told.pop("tiles")
    assert all("those are PNG or TIFF" in error for error in told.values())
    assert len(told) == 5


def test_names_in_a_tar_go_back_to_who_sent_them_alone(server, mary, dataset, scenes, key):
    good = protected(scenes, key)[0][1]
    for name in ("../x.png", "/x.png", "a/../../x.png", "a\0/../x.png"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo("x.png")
            member.pax_headers = {"path": name}
            member.size = len(good)
            archive.addfile(member, io.BytesIO(good))
        answer = post(server, mary.token, dataset, out.getvalue(), "application/x-tar")
        assert (answer.status_code, answer.json()["code"]) == (400, "damaged"), name
    answer = post(server, mary.token, dataset, tar_of([("x.png", good)]), "application/x-tar")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/x-tar"


def test_names_of_no_dataset_do_not_fill_the_trail(server, owner, mary, dataset):
    before = len(refusals(server))
    for n in range(4):
        for path in ("keys", "grants", "restore", f"keys/{n}/export"):
            url = f"{server.url}/v1/datasets/planted-{n}/{path}"
            for method in ("GET", "POST"):
                headers = {"authorization": f"Bearer {mary.token}"}
                httpx.request(method, url, headers=headers)
    noted = refusals(server)[before:]
    assert {name for _, name, _ in noted} == {""}
    assert len(noted) == len({code for code, _, _ in noted})  # each once a minute
    for path in ("keys", "grants"):
        with refused(403, "no-grant"):
            mary._service.objects(f"/v1/datasets/{dataset}/{path}")
    owner.deposit("planted-0")
    assert [line["action"] for line in owner.audit("planted-0")] == ["deposit"]
    assert [line["outcome"] for line in owner.audit(dataset)][-1:] == ["no-grant"]


def test_a_network_does_not_fill_the_trail(tmp_path):
    with running(tmp_path / "service", proxies="127.0.0.1") as server:
        for n in range(1, 6):
            headers = {"x-forwarded-for": f"2001:db8::{n}", "authorization": "Bearer dsg_x"}
            assert httpx.get(f"{server.url}/v1/me", headers=headers).status_code == 401
        assert [address for _, _, address in refusals(server)] == ["2001:db8::1"]


STEERING = ["a\x1b[31m.png", "a\n.png", "a\x9b31m.png", "gnp.\u202egpj"]
ELSEWHERE = ["..\\x.png", "a\\..\\..\\x.png", "\\x.png", "a\\..\\x.png"]


@pytest.mark.parametrize("name", STEERING + ELSEWHERE)
@pytest.mark.parametrize("kind", [frames.CONTENT_TYPE, "application/x-tar"])
def test_names_that_steer_a_terminal_or_lead_out_elsewhere(server, mary, dataset, name, kind):
    body = tar_of([(name, b"x")]) if "tar" in kind else frames.packed(name, "", b"x")
    answer = post(server, mary.token, dataset, body, kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "damaged")
    assert "control characters" in answer.text or "outside its folder" in answer.text
    assert answer.json()["message"].isprintable()


def test_backslashes_that_lead_nowhere_are_names(mary, dataset, scenes, key):
    ((_, file),) = protected(scenes, key)[:1]
    (found,) = mary.restore(dataset, [("a\\b.png", file)])
    assert (found.name, found.error) == ("a\\b.png", "")


def test_a_job_too_many_is_refused_before_its_images_come(tmp_path, scenes):
    with running(tmp_path / "service", jobs_per_user="2") as server:
        key = dsguard.DatasetKey.generate()
        path = tmp_path / "x.tar"
        path.write_bytes(tar_of(protected(scenes, key)[:1]))
        headers = {
            "authorization": f"Bearer {server.owner_token}",
            "content-type": "application/x-tar",
        }
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            owner.begin_job("d", path)
            with socket.create_connection(("127.0.0.1", server.port)) as held:  # comes in for long
                head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                start = f"POST /v1/datasets/d/jobs HTTP/1.1\r\nhost: x\r\n{head}"
                held.sendall(f"{start}content-length: 1000000\r\n\r\nx".encode())
                while not list((server.folder / "jobs").glob("*.part")):
                    time.sleep(0.01)
                with socket.create_connection(("127.0.0.1", server.port)) as other:
                    other.settimeout(30)
                    other.sendall(f"{start}content-length: 1000000\r\n\r\n".encode())  # no more
                    assert b" 429 " in other.recv(1 << 16).partition(b"\r\n")[0]
            while list((server.folder / "jobs").glob("*.part")):
                time.sleep(0.01)
            owner.begin_job("d", path)  # that which was given up has left its room
            with refused(429, "jobs"):
                owner.begin_job("d", path)


@pytest.mark.parametrize("end", ["jobs", "restore", "samples", "image-keys"])
@pytest.mark.parametrize("path", ["/v1/requests/", "/requests/", "/v1/datasets/a/b/"])
def test_the_end_of_a_path_allows_no_large_body(server, mary, path, end):
    """Some paths end as their sender likes."""
    sent = httpx.post(
        f"{server.url}{path}{end}",
        content=b" " * (1 << 20),
        headers={"authorization": f"Bearer {mary.token}", "content-type": "application/json"},
    )
    assert sent.status_code == 413
