"""A dataset is shown by samples: as published to all, restored to who may restore."""

from __future__ import annotations

import base64
import io
import re
import socket
import sqlite3
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import dsguard
from dsguard.bulk.sealed_files import sealed
from dsguard.cli.commands import Exit, run
from dsguard.dmcp import samples
from dsguard.dmcp.connection import RefusedError
from dsguard.dmcp.model import Base, Entry
from dsguard.dmcp.usage import DAYS, Usage, by_day
from dsguard.formats import decode_image, encode_images
from tests.dmcp.service import browser, new_name, protected, refused

SHOWN = re.compile(r'<img [^>]*src="data:image/png;base64,([^"]+)" alt="([^"]+)"')


def pictures(text: str) -> dict[str, np.ndarray]:
    """Return the images of a page by their alternative texts."""
    found = SHOWN.findall(text)
    return {told: decode_image(base64.b64decode(data)) for data, told in found}


@pytest.fixture
def images(owner, dataset, scenes, key):
    """Six protected images, two with sidecars; the dataset is shown by them."""
    files = protected(scenes, key)[-6:]
    assert owner.replace_samples(dataset, files) == 6
    return files


def test_all_see_them_as_published_and_some_restored(
    server, owner, user, dataset, images, scenes, key
):
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    clean = np.concatenate([scenes, noise])[-6:]
    address = f"/datasets/{dataset}"
    with browser(server, user.token) as page:
        seen = pictures(page.get(address).text)
        assert list(seen) == [f"sample {n}, protected" for n in range(1, 7)]
        for image, (_, file) in zip(seen.values(), images, strict=True):
            np.testing.assert_array_equal(image, decode_image(file))
        owner.grant(dataset, user.name, quota=1)
        for _ in range(2):
            seen = pictures(page.get(address).text)
            for n, image in enumerate(clean, 1):
                np.testing.assert_array_equal(seen[f"sample {n}, restored"], image)
        owner.revoke(dataset, user.name)
        assert not any("restored" in told for told in pictures(page.get(address).text))
    assert owner.grants(dataset)[-1]["used"] == 0  # the same few images, whoever looks
    lines = [each for each in owner.audit(dataset) if each["action"] == "show-samples"]
    assert [(each["actor"], each["images"]) for each in lines] == [(user.name, 6)]  # once an hour


def test_what_is_not_protected_under_a_key_of_the_dataset_is_refused(
    server, owner, dataset, images, scenes, key
):
    others = protected(scenes, dsguard.DatasetKey.generate())
    clean = [("clean.png", encode_images(scenes[:1])[0])]
    damaged = decode_image(images[0][1]).copy()
    damaged[0, 0] ^= 255
    faults = {
        "clean.png cannot be a sample: carries no dsguard header": clean,
        "was protected under a key that is none of this": others[:1],
        "was changed|carries no dsguard header": [("d.png", encode_images(damaged[None])[0])],
        "not an image file": [("x.png", b"x")],
        "beside images, and is no image": [("sealed.png", sealed({"a.txt": b"text"}, key))],
        "at most 12 samples": images * 3,
    }
    for told, bad in faults.items():
        with pytest.raises(RefusedError, match=told) as refusal:
            owner.replace_samples(dataset, [*images[:1], *bad])
        assert refusal.value.status == 422
        assert "Error" not in refusal.value.message
        assert "12 samples" in told or bad[0][0] in refusal.value.message
    with browser(server, server.owner_token) as page:
        assert len(pictures(page.get(f"/datasets/{dataset}").text)) == 12


def test_nothing_but_pixels_of_a_file_is_shown(server, owner, user, dataset, images):
    image = Image.open(io.BytesIO(protected_without_sidecar := images[0][1]))
    info = PngInfo()
    info.add_text("Comment", "taken in room 12")
    info.add_itxt("XML:com.adobe.xmp", "a thumbnail")
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.save(out, "png", pnginfo=info, exif=exif)
    tiff = io.BytesIO()
    image.save(tiff, "tiff")
    owner.replace_samples(
        dataset, [("a.png", out.getvalue() + b"tail"), ("b.tif", tiff.getvalue())]
    )
    with sqlite3.connect(server.folder / "dmcp.sqlite") as database:
        query = "SELECT file FROM samples JOIN datasets d ON d.id = dataset_id WHERE d.name = ?"
        files = [row[0] for row in database.execute(query, (dataset,))]
    database.close()
    assert len(files) == 2
    for file in files:
        assert not re.search(b"tEXt|iTXt|zTXt|eXIf|room|tail|descr", file)
        np.testing.assert_array_equal(decode_image(file), decode_image(protected_without_sidecar))


def test_they_are_chosen_by_managers_alone(server, owner, user, mary, dataset, images):
    owner.grant(dataset, user.name)
    for client in (user, mary):
        with refused(403, "no-grant"):
            client.replace_samples(dataset, images[:1])
    with server.client() as stranger, refused(401, "no-token"):
        stranger.replace_samples(dataset, images[:1])
    address = f"/datasets/{dataset}/samples"
    files = [("files", file) for file in images[:2]]
    with browser(server, mary.token) as page:
        assert page.post(address, files=files).status_code == 403
        assert "Grants" not in page.get(f"/datasets/{dataset}").text
    with browser(server, server.owner_token) as page:
        other = {"origin": "https://evil.example"}
        assert page.post(address, files=files, headers=other).status_code == 403
        assert len(pictures(page.post(address, files=files).text)) == 4
        wrong = page.post(address, files=[("files", ("clean.png", b"x"))])
        assert "clean.png cannot be a sample" in wrong.text
        none = page.post(address, data={"remove": "yes"}, files=[("files", ("", b""))])
        assert "shown by no samples" in none.text
        assert pictures(none.text) == {}


def test_they_are_small_together(owner, dataset, key):
    noise = np.random.default_rng(0).integers(0, 256, (8, 400, 400, 3), dtype=np.uint8)
    done = dsguard.protect_batch(noise, key)
    files = encode_images(done.images, sidecars=done.sidecars)
    assert sum(map(len, files)) > samples.MOST_BYTES
    with refused(413, "too-large"):
        owner.replace_samples(dataset, [(f"{n}.png", file) for n, file in enumerate(files)])


def begun(server, user, dataset) -> socket.socket:
    """Begin a restoration, and send nothing more."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        f"POST /v1/datasets/{dataset}/restore HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {user.token}\r\ncontent-length: 9\r\n"
        "content-type: application/x-dsguard-frames\r\n\r\n".encode()
    )
    return connection


def test_a_busy_service_shows_the_page_without_them_restored(server, owner, mary, dataset, images):
    for right in ("manage", "restore"):
        owner.grant(dataset, mary.name, right)
    address = f"/datasets/{dataset}"
    with browser(server, mary.token) as page:
        with ExitStack() as held:
            shown, end = "", time.monotonic() + 60
            while "8 restorations running" not in shown:
                assert time.monotonic() < end
                held.enter_context(begun(server, mary, dataset))
                shown = page.get(address).text
            assert len(pictures(shown)) == 6
            assert "Revoke" in shown  # who manages can still do so
        while len(pictures(page.get(address).text)) != 12:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_command(server, owner, dataset, images, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    paths = []
    for n, (_, file) in enumerate(images):
        paths.append(tmp_path / f"{n}.png")
        paths[-1].write_bytes(file)
    assert run(["dmcp", "samples", dataset, *map(str, paths)]) == Exit.OK
    assert f"{dataset} is shown by 6 samples" in capsys.readouterr().out
    assert run(["dmcp", "samples", dataset, "--remove"]) == Exit.OK
    assert "shown by 0 samples" in capsys.readouterr().out
    assert run(["dmcp", "samples", dataset]) == Exit.USAGE
    assert run(["dmcp", "samples", dataset, str(paths[0]), "--remove"]) == Exit.USAGE


# The page around them


def test_a_right_is_given_on_the_page(server, owner, user, dataset):
    address = f"/datasets/{dataset}/grants"
    with browser(server, server.owner_token) as page:
        form = {"user": user.name, "right": "manage", "until": "2100-01-31", "images": "7"}
        assert "The right was given" in page.post(address, data=form).text
        given = owner.grants(dataset)[-1]
        assert (given["expires"][:10], given["quota"]) == ("2100-01-31", 7)
        assert given["right"] == "restore"  # others are not given by who has a cookie
        page.post(address, data={"user": user.name, "until": "", "images": ""})
        given = owner.grants(dataset)[-1]
        assert (given["right"], given["expires"], given["quota"]) == ("restore", None, None)
        for bad in ({"until": "tomorrow"}, {"images": "many"}, {"images": "0"}, {"images": "²"}):
            assert page.post(address, data={"user": user.name, **bad}).status_code == 422
        assert page.post(address, data={"user": new_name()}).status_code == 404
        other = page.post(address, data=form, headers={"sec-fetch-site": "cross-site"})
        assert other.status_code == 403
    with browser(server, user.token) as page:
        assert page.post(address, data=form).status_code == 403


def test_a_request_is_answered_on_the_page_of_its_dataset(server, owner, user, dataset):
    user.request(dataset, "<b>please</b>")
    with browser(server, user.token) as page:
        assert "Your request is with the owners" in page.get(f"/datasets/{dataset}").text
        assert "Ask for access" not in page.get(f"/datasets/{dataset}").text
    with browser(server, server.owner_token) as page:
        shown = page.get(f"/datasets/{dataset}").text
        assert "&lt;b&gt;please&lt;/b&gt;" in shown
        number = owner.requests()[-1]["number"]
        done = page.post(f"/requests/{number}", data={"accept": "yes", "back": "//evil.example"})
        assert done.url.path == f"/datasets/{dataset}"
        assert "The request was accepted" in done.text
        assert "alert" not in page.get(f"/datasets/{dataset}?note=alert").text


def test_the_plot_can_be_read_and_heard(server, owner, user, mary, dataset, images):
    owner.grant(dataset, user.name)
    user.keys(dataset, [bytes(16)] * 1234)
    today = datetime.now(UTC).date().isoformat()
    with browser(server, server.owner_token) as page:
        shown = page.get(f"/datasets/{dataset}").text
    assert re.search(r'<svg [^>]*role="img" aria-labelledby="plot-title">\s*<title', shown)
    assert f"<title>{today}: 1234</title>" in shown
    assert '<td class="number">1,234</td>' in shown
    assert not re.search(r"<script|\son\w+=|https?://", shown)
    for client, told in ((user, "Images opened by you"), (mary, "Access")):
        with browser(server, client.token) as page:
            text = page.get(f"/datasets/{dataset}").text
        assert told in text
        assert ("1,234 in all" in text) == (client is user)


def test_days_are_counted_from_the_trail(monkeypatch):
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    now = datetime.now(UTC).replace(tzinfo=None)
    lines = [  # days ago, dataset, action, who, images
        (DAYS, "d", "restore", "ann", 1000), (DAYS - 1, "d", "restore", "ann", 7),
        (1, "d", "image-keys", "ann", 5), (1, "other", "restore", "ann", 100),
        (0, "d", "show-samples", "ann", 50), (0, "d", "restore", "bob", 3),
        (0, "d", "restore", "ann", None), (0, "d", "restore", "ann", 4),
    ]  # fmt: skip
    with Session(engine) as session:
        assert {day.images for day in by_day(session, "d")} == {0}
        for number, (days, dataset, action, actor, images) in enumerate(lines, 1):
            session.add(
                Entry(
                    number=number, time=(now - timedelta(days)).isoformat(), actor=actor,
                    action=action, dataset=dataset, images=images, outcome="", mac="",
                )
            )  # fmt: skip
        days = by_day(session, "d")
        own = by_day(session, "d", "ann")
        usage = Usage()
        kept = usage.by_day(session, "d", "ann")
        session.query(Entry).delete()
        assert usage.by_day(session, "d", "ann") == kept == own
        monkeypatch.setattr(time, "monotonic", lambda: 1e9)
        assert usage.by_day(session, "d", "ann") != own
    engine.dispose()
    assert len(days) == DAYS
    assert [day.date for day in days] == sorted({day.date for day in days})
    assert days[-1].date == now.date().isoformat()
    assert [day.images for day in days if day.images] == [7, 5, 7]
    assert [day.images for day in own if day.images] == [7, 5, 4]


def test_a_sample_whose_name_is_no_text_is_refused_as_others_are(owner, dataset):
    with refused(422, "not-protected"):
        owner.replace_samples(dataset, [("\udcff", b"no image")])
