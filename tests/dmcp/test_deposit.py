"""``dsguard protect --dataset``: the key is on the platform before an image is published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dsguard
from dsguard.cli import task
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.formats import decode_image, encode_images
from tests.dmcp.service import new_name


@pytest.fixture
def home(tmp_path, monkeypatch, scenes, server):
    """A working folder with a few clean images, whose user is the owner."""
    monkeypatch.chdir(tmp_path)
    for n, image in enumerate(scenes[:4]):
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_images(image[None])[0])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    for name in ("DSGUARD_KEY_FILE", "DSGUARD_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def name():
    return new_name()


def protect(name: str, *more: str, destination: str = "safe") -> int:
    return cli(["protect", "clean", destination, "--dataset", name, *more])


def versions(owner, name: str) -> dict[str, int]:
    return {row["key_id"]: row["version"] for row in owner.key_versions(name)}


def test_a_key_is_made_deposited_and_told(home, owner, mary, name, server, capsys, monkeypatch):
    assert protect(name, "--dmcp", server.url, "--json") == Exit.OK
    shown = capsys.readouterr()
    assert json.loads(shown.out)["protected"] == 4
    key_file = Path(f"{name}.key")
    assert key_file.stat().st_mode & 0o077 == 0
    key = dsguard.DatasetKey.load(key_file)
    assert versions(owner, name) == {key.key_id: 1}
    told = " ".join(shown.err.split())
    assert f"made key {key.key_id} in {key_file}" in told
    assert f"deposited key {key.key_id} as version 1 of {name}" in told
    assert f"publish safe; keep to yourself {key_file} and safe.dsguard" in told
    owner.grant(name, mary.name)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)
    restore = told.partition("they restore: dsguard ")[2].split()
    assert cli(restore) == Exit.OK
    for path in Path("clean").rglob("*.png"):
        back = Path("restored", path.relative_to("clean"))
        assert (
            decode_image(back.read_bytes()).tobytes() == decode_image(path.read_bytes()).tobytes()
        )


def test_no_key_is_made_where_it_would_be_committed(home, owner, name, tmp_path, capsys):
    """In a repository that is published, whoever adds all files adds the key."""
    (home / ".git").mkdir()
    assert protect(name) == Exit.USAGE
    told = " ".join(capsys.readouterr().err.split())
    assert "the key would lie in the git repository" in told
    assert not Path(f"{name}.key").exists()
    assert not Path("safe").exists()
    assert protect(name, "--key", "mine") == Exit.OK  # as its owner says
    assert "mine lies in the git repository" in " ".join(capsys.readouterr().err.split())


def test_the_same_command_goes_on(home, owner, name, capsys):
    """Nothing is made or deposited twice, whatever an earlier run came to."""
    assert protect(name, "--quiet") == Exit.OK
    before = versions(owner, name)
    assert protect(name, "--quiet") == Exit.OK
    assert versions(owner, name) == before
    assert capsys.readouterr().err == ""
    Path(f"{name}.key").rename("elsewhere.key")
    assert protect(name) == Exit.USAGE
    assert "is on the platform already" in capsys.readouterr().err
    assert not Path(f"{name}.key").exists()
    assert protect(name, "--key", "elsewhere.key", destination="more") == Exit.OK
    assert versions(owner, name) == before
    assert cli(["keygen", "new.key"]) == Exit.OK
    assert protect(name, "--key", "new.key", destination="other") == Exit.OK
    assert sorted(versions(owner, name).values()) == [1, 2]


def test_images_are_protected_after_the_deposit(home, owner, name, monkeypatch):
    def fail(*_, **__):
        assert versions(owner, name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(task, "_told", fail)
    assert protect(name) == Exit.USAGE
    monkeypatch.undo()
    monkeypatch.chdir(home)
    key = dsguard.DatasetKey.load(f"{name}.key")  # the key file stays
    assert set(versions(owner, name)) == {key.key_id}


def test_without_a_deposit_nothing_is_protected(home, owner, mary, name, monkeypatch, capsys):
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)  # who is no publisher
    assert protect(name) == Exit.USAGE
    assert "may not deposit datasets" in " ".join(capsys.readouterr().err.split())
    made = dsguard.DatasetKey.load(f"{name}.key")
    assert not Path("safe").exists()
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", owner._service._token)
    capsys.readouterr()
    assert protect(name) == Exit.USAGE  # it may be of whoever gave the images
    told = " ".join(capsys.readouterr().err.split())
    assert f"{name}.key is here, and its key {made.key_id} is not on the platform" in told
    assert protect(name, "--key", f"{name}.key") == Exit.OK
    assert protect(name) == Exit.OK  # now it is
    assert set(versions(owner, name)) == {made.key_id}
    other = new_name()
    assert protect(other, "--key", f"{name}.key", destination="other") == Exit.USAGE
    assert "is deposited already" in " ".join(capsys.readouterr().err.split())
    assert not Path("other").exists()
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:9")
    assert protect(name, destination="other") == Exit.USAGE
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--key", "clean/k"], "the key would lie in clean"),
        (["--key", "safe/k"], "the key would lie in safe"),
        (["--samples", "1", "--sample", "none.png"], "not both"),
    ],
)
def test_mistakes_are_found_before_anything_is_deposited(home, owner, name, given, told, capsys):
    assert protect(name, *given) == Exit.USAGE
    assert told in " ".join(capsys.readouterr().err.split())
    assert name not in {row["name"] for row in owner.datasets()}
    assert not list(Path().rglob("*.key"))
    assert not list(Path().rglob("k"))


def test_a_key_that_lies_in_the_source_is_not_taken(home, owner, name, monkeypatch, capsys):
    """Whoever gave the images may have laid it there, and could restore them."""
    dsguard.DatasetKey.generate().save(f"clean/{name}.key")
    monkeypatch.chdir(home / "clean")
    for more in (["--dataset", name], ["--key", f"{name}.key"]):
        assert cli(["protect", ".", "../safe", *more]) == Exit.USAGE
        told = " ".join(capsys.readouterr().err.split())
        assert "the key lies in ., and is not secret; give another place, --key" in told
    assert not (home / "safe").exists()
    assert name not in {row["name"] for row in owner.datasets()}


def test_the_key_of_the_environment_is_that_of_another_dataset(home, owner, name, monkeypatch):
    other = dsguard.DatasetKey.generate()
    other.save("faces.key")
    monkeypatch.setenv("DSGUARD_KEY_FILE", "faces.key")
    assert protect(name) == Exit.OK
    key = dsguard.DatasetKey.load(f"{name}.key")
    assert set(versions(owner, name)) == {key.key_id} != {other.key_id}


def test_no_key_is_made_in_a_destination_however_it_is_spelled(home, owner, name, capsys):
    assert protect(name, "--key", "safe/k", destination=f"file://{home}/safe") == Exit.USAGE
    assert "the key would lie in file:" in " ".join(capsys.readouterr().err.split())
    assert not list(Path().rglob("k"))


def test_a_destination_that_will_not_do_is_found_before(home, owner, name):
    Path("safe").mkdir()
    Path("safe/other.txt").write_text("x")
    assert protect(name) == Exit.USAGE
    assert name not in {row["name"] for row in owner.datasets()}
    assert not Path(f"{name}.key").exists()


def test_a_dry_run_deposits_nothing(home, owner, name):
    assert protect(name, "--dry-run") == Exit.OK
    assert name not in {row["name"] for row in owner.datasets()}
    assert not Path(f"{name}.key").exists()


def test_images_without_keys_of_their_own_are_restored_there(home, owner, name, capsys):
    assert protect(name, "--profile", "veil") == Exit.OK
    assert f"dsguard dmcp restore {name} safe restored" in " ".join(capsys.readouterr().err.split())


def test_a_key_or_a_dataset_is_needed(home, server, capsys):
    assert cli(["protect", "clean", "safe"]) == Exit.USAGE
    assert "--key FILE, or name a dataset" in capsys.readouterr().err
    assert cli(["protect", "clean", "safe", "--dmcp", server.url, "--key", "k"]) == Exit.USAGE
    assert "--dataset NAME" in capsys.readouterr().err


def test_verify_with_keys_of_a_platform(home, owner, mary, name, monkeypatch, capsys):
    assert protect(name, "--quiet", "--keep", "pixels") == Exit.OK
    owner.grant(name, mary.name, quota=4, distinct=True)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", mary.token)
    capsys.readouterr()
    assert cli(["verify", "safe", "--dataset", name, "--against", "clean"]) == Exit.OK
    assert "100.0% intact: 4 of 4 images" in capsys.readouterr().out
    assert owner.grants(name)[-1]["used"] == 4
    assert cli(["verify", "safe", "--dataset", name, "--key", f"{name}.key"]) == Exit.USAGE
    assert cli(["verify", "safe"]) == Exit.USAGE
    assert "give the key" in capsys.readouterr().err
    owner.revoke(name, mary.name)
    assert cli(["verify", "safe", "--dataset", name]) == Exit.KEY_REFUSED
