"""The story of the paper, over real HTTP, as the docs tell it."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import httpx
import numpy as np

import dsguard
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.formats import decode_image, encode_images
from tests import ROOT
from tests.bulk.folders import files_in
from tests.dmcp.service import (
    protected,
    running,
)

STORY = ROOT / "docs/dmcp.md"


def test_the_story_in_the_docs(tmp_path, scenes, monkeypatch, capsys):
    """Each command of the walk-through, as it stands there, by whom it is to be given."""
    told = STORY.read_text(encoding="utf-8").partition("## An example")[2].partition("![")[0]
    lines = re.findall(
        r"^(?:(The owner|A user|The user)\b.*|    (dsguard .*))$", told, re.MULTILINE
    )
    assert len(lines) > 15
    monkeypatch.chdir(tmp_path)
    for n, image in enumerate(np.concatenate([scenes] * 4)):
        path = Path("photos", "odd" if n % 2 else "even", f"{n}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_images(image[None] ^ np.uint8(n))[0])
    with running(tmp_path / "service", whole=True) as server:
        for who, line in lines:
            if who:
                home = "owner" if who == "The owner" else "user"
                monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
                continue
            command, _, comment = line.replace("http://127.0.0.1:8642", server.url).partition("#")
            if " login " in command:
                monkeypatch.setattr(sys, "stdin", io.StringIO(server.owner_token + "\n"))
            code = cli(shlex.split(command)[1:])
            shown = capsys.readouterr()
            assert (code != 0) == ("refused" in comment), (command, shown)
    for path in Path("photos").rglob("*.png"):
        clean = Path("clean") / path.relative_to("photos")
        np.testing.assert_array_equal(
            decode_image(clean.read_bytes()), decode_image(path.read_bytes())
        )


def test_the_whole_story(tmp_path, server, scenes, monkeypatch, capsys):
    """The same, and what it says on the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    dsguard.DatasetKey.generate().save("dataset.key")
    key = dsguard.DatasetKey.load("dataset.key")
    for name, file in protected(scenes, key):
        Path("published", name).parent.mkdir(parents=True, exist_ok=True)
        Path("published", name).write_bytes(file)

    def run(arguments: str, home: str, code: int = 0) -> str:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
        assert cli(["dmcp", *arguments.split()]) == code, capsys.readouterr()
        shown = capsys.readouterr()
        return shown.out + shown.err

    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    assert "version 1" in run("deposit xrays --key dataset.key --title Chests", "owner")
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "registered as mary" in run(f"register mary --url {server.url}", "mary")
    assert (tmp_path / "mary/dsguard/dmcp.json").stat().st_mode & 0o077 == 0
    assert "xrays: no rights" in run("datasets", "mary")
    assert "may not restore" in run("restore xrays published clean", "mary", Exit.USAGE)
    assert "is with the owners" in run("request xrays --message please", "mary")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    told = run("requests", "owner")
    assert "who manages the dataset answers: dsguard dmcp answer NUMBER --accept" in told
    number = told.split(":")[0]
    assert "accepted" in run(f"answer {number} --accept", "owner")
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "restored 9 of 9" in run("restore xrays published clean", "mary")
    for n, image in enumerate(scenes):
        np.testing.assert_array_equal(decode_image(Path(f"clean/a/{n}.png").read_bytes()), image)
    Path("published/a/0.png").write_bytes(encode_images(scenes[:1])[0])
    assert "was not sent" in run("restore xrays published again", "mary", 3)
    told = run("restore xrays published clean", "mary")
    assert "restored 9 of 9 images into clean; 9 were there, and were not compared" in told
    before = files_in(Path(shutil.copytree("published", "copy")))
    told = run("restore xrays published copy --overwrite", "mary", 3)
    assert "is there already, and is protected: restore into another folder" in told
    assert files_in(Path("copy")).items() >= {n: before[n] for n in before if "0" not in n}.items()
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    assert "version 1" in run("keys xrays", "owner")
    assert json.loads(run("grants xrays", "owner").splitlines()[-1])["used"] == 17  # of 18
    assert "ended 1 grant" in run("revoke xrays mary", "owner")
    lines = [json.loads(line) for line in run("audit show xrays", "owner").splitlines()]
    actions = [line["action"] for line in lines]
    assert actions[:3] == ["deposit", "refused", "request"] or "request" in actions
    restored = [line for line in lines if line["action"] == "restore"]
    assert [line["images"] for line in restored] == [9, 8]
    assert {line["actor"] for line in restored} == {"mary"}
    assert all(len(line["digest"]) == 64 and line["key_version"] == 1 for line in restored)
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "was revoked" in run("restore xrays published more", "mary", Exit.USAGE)
    assert "all good" in server.operate("audit", "verify").stdout


def test_the_commands_explain_themselves(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DSGUARD_DMCP_URL", "DSGUARD_DMCP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "you are not logged in" in capsys.readouterr().err
    monkeypatch.delenv("DSGUARD_KEY_FILE", raising=False)
    assert cli(["dmcp", "deposit", "x"]) == Exit.USAGE
    assert "--new-key" in capsys.readouterr().err
    (tmp_path / "dsguard").mkdir()
    (tmp_path / "dsguard/dmcp.json").write_text('{"url": "http://127.0.0.1:1", "token": "t"}')
    assert cli(["dmcp", "register", "x"]) == Exit.USAGE
    assert "--replace" in capsys.readouterr().err
    (tmp_path / "key").write_text("x")
    assert cli(["dmcp", "export-key", "x", "1", str(tmp_path / "key")]) == Exit.USAGE
    assert "no key was asked for" in " ".join(capsys.readouterr().err.split())
    assert cli(["dmcp", "restore", "x", str(tmp_path), str(tmp_path) + "-out"]) == Exit.USAGE
    assert "no image files" in capsys.readouterr().err
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "dsg_x")
    monkeypatch.setenv("DSGUARD_DMCP_URL", "127.0.0.1:1")
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "begins with http" in capsys.readouterr().err
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "dsg_x")
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "does not answer" in capsys.readouterr().err


def test_nothing_secret_is_stored_or_logged(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            list(owner.restore("d", protected(scenes, key)))
            owner.export_key("d", 1)
        metrics = httpx.get(f"{server.url}/metrics").text
        assert "dsguard_images_total 9.0" in metrics
        document = httpx.get(f"{server.url}/openapi.json").json()
        images = document["paths"]["/v1/datasets/{name}/restore"]["post"]
        assert "application/x-tar" in images["requestBody"]["content"]
        assert "application/x-tar" in images["responses"]["200"]["content"]
        server.stop()
        logged = "".join(server.log)
        assert '"status": 200' in logged
        own = ("master.key", "owner.token")
        files = [
            path for path in server.folder.iterdir() if path.is_file() and path.name not in own
        ]
        kept = b"".join(path.read_bytes() for path in files) + logged.encode()
        master = (server.folder / "master.key").read_text().strip()
        for secret in (key.secret.hex(), server.owner_token.removeprefix("dsg_"), master):
            assert secret.encode() not in kept
        assert key.secret not in kept
