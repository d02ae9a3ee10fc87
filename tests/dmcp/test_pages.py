"""The page, in a browser and without."""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard import protect_batch
from dsguard.formats import decode_image, encode_images
from tests.dmcp.service import (
    browser,
    protected,
    refusals,
    running,
)


def test_the_page(server, owner, user, dataset, scenes, key):
    images = protected(scenes, key)
    with browser(server) as page:
        assert "Log in" in page.get("/").text
        wrong = page.post("/login", data={"token": "dsg_" + "x" * 43})
        assert wrong.status_code == 401
        assert "not valid" in wrong.text
    with browser(server, user.token) as mine, browser(server, server.owner_token) as theirs:
        cookie = next(iter(mine.cookies.jar))
        assert cookie.has_nonstandard_attr("HttpOnly")
        refused_page = mine.get(f"/datasets/{dataset}/restore")
        assert refused_page.status_code == 403
        assert "was never given" in refused_page.text
        message = "<script>alert(1)</script>"
        asked = mine.post(f"/datasets/{dataset}/ask", data={"message": message})
        assert "with the owners" in asked.text
        shown = theirs.get("/").text
        assert message not in shown
        assert "&lt;script&gt;" in shown
        number = owner.requests()[-1]["number"]
        accepted = theirs.post(f"/requests/{number}", data={"accept": "yes", "reason": ""})
        assert "The request was accepted" in accepted.text
        reference = mine.get("/docs").text
        assert "POST /v1/datasets/{name}/restore" in reference
        assert "<script" not in reference
        files = [("files", (name, file)) for name, file in [*images[:2], ("x.png", b"x")]]
        restored = mine.post(f"/datasets/{dataset}/restore", files=files)
        assert "not an image file" in restored.text
        assert "InputError" not in restored.text
        found = re.findall(r'alt="restored"|href="data:image/png;base64,([^"]+)"', restored.text)
        pixels = decode_image(base64.b64decode(next(part for part in found if part)))
        np.testing.assert_array_equal(pixels, scenes[0])
        assert "restore" in theirs.get(f"/datasets/{dataset}").text
        for origin in ("http://[", "https://evil.example"):
            other = theirs.post(
                f"/datasets/{dataset}/revoke",
                data={"user": user.name, "right": "restore"},
                headers={"origin": origin},
            )
            assert other.status_code == 403
        assert refusals(server)[-1][:2] == ("other-site", dataset)
        files = [("files", (name, file)) for name, file in images + images]
        assert "send 1 to 12" in mine.post(f"/datasets/{dataset}/restore", files=files).text
        files = [("files", ("heavy.png", bytes((1 << 20) + 1)))]
        heavy = mine.post(f"/datasets/{dataset}/restore", files=files)
        assert "1048576 are allowed" in heavy.text
        theirs.post(f"/datasets/{dataset}/revoke", data={"user": user.name, "right": "restore"})
        assert "was revoked" in mine.get(f"/datasets/{dataset}/restore").text
        assert "script-src" not in restored.headers["content-security-policy"]
        assert "default-src 'none'" in restored.headers["content-security-policy"]
        mine.post("/logout")
        assert "Log in" in mine.get("/").text


def test_the_page_in_a_browser(tmp_path, scenes):
    """In headless Chromium, where there is one with its driver; with cookies for TLS alone."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("there is no chromium with chromedriver here")
    key = dsguard.DatasetKey.generate()
    paths = []
    for name, file in protected(scenes, key)[:6]:
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(file)
        paths.append(str(path))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=900,900"):
        options.add_argument(f"--{flag}")
    with (
        running(tmp_path / "service") as server,
        webdriver.Chrome(options, webdriver.ChromeService(driver)) as page,
    ):
        with server.client(server.owner_token) as owner:
            owner.deposit("scenes", key, "Some images")
        page.implicitly_wait(20)
        page.get(server.url)
        page.find_element("name", "token").send_keys(server.owner_token + "\n")
        page.find_element("css selector", "a[href='/datasets/scenes/restore']").click()
        page.find_element("name", "files").send_keys("\n".join(paths))
        page.find_element("css selector", "main button").click()
        shown = page.find_elements("css selector", "figure img")
        assert len(shown) == 12
        assert all(
            page.execute_script("return arguments[0].naturalWidth", image) == 32 for image in shown
        )
        page.find_element("css selector", "h2 a").click()
        done = protect_batch(scenes[:6], key)
        sealed = [str(tmp_path / f"sealed-{n}.png") for n in range(6)]
        files = encode_images(done.images, sidecars=done.sidecars)
        for path, file in zip(sealed, files, strict=True):
            Path(path).write_bytes(file)
        page.find_elements("name", "files")[1].send_keys("\n".join(sealed))
        page.find_element("css selector", "main form[action$='/samples'] button").click()
        for width, scheme in itertools.product((390, 1280), ("dark", "light")):
            look(page, width, scheme)
            shown = page.find_elements("css selector", "figure img")
            assert len(shown) == 12
            assert page.execute_script("return document.documentElement.scrollWidth") <= width
        page.save_screenshot(os.environ.get("DSGUARD_SCREENSHOT", str(tmp_path / "page.png")))
        assert [line["level"] for line in page.get_log("browser")] == ["SEVERE"]  # the login


def look(page, width: int, scheme: str) -> None:
    """Show a page as a telephone or a wide screen does, light or dark."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 1300, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
