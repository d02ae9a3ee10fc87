"""Nothing clean or secret is written into a folder that a run protects images into."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import dataset_surrogate, plan, process_shard, protect_dataset, restore_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import open_source
from dsguard.integrations.huggingface import rows_in

KEY = dsguard.DatasetKey(bytes(32))


@pytest.fixture
def home(tmp_path, monkeypatch, scenes):
    """A folder with a key, photos of two classes, and shards of them that are published."""
    monkeypatch.chdir(tmp_path)
    KEY.save("k")
    for n, scene in enumerate(scenes[:8]):
        path = Path("photos", f"class{n % 2}", f"{n}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(path)
    protect_dataset("photos", "shards", KEY, out_format="webdataset")
    return tmp_path


def files(folder: str | Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*")}


def is_refused(command: list[str], capsys) -> bool:
    """Tell whether a command is refused in one error, and has written nothing where it would."""
    before = files("shards")
    capsys.readouterr()
    assert run(command) == Exit.USAGE
    told = " ".join(capsys.readouterr().err.split())
    assert "would be published: a run protects images into" in told
    assert "choose a place outside of that folder" in told
    return files("shards") == before and not Path("shards/new.dsguard").exists()


@pytest.mark.parametrize("source", ["shards/00000.tar", "copy"])
@pytest.mark.parametrize("spelled", [
    "shards/new", "shards/a/b", "photos/../shards/new", "link/new", "file://{home}/shards/new",
])  # fmt: skip
def test_nothing_is_restored_into_what_is_published(home, capsys, source, spelled):
    Path("copy").mkdir()
    Path("copy/00000.tar").write_bytes(Path("shards/00000.tar").read_bytes())
    Path("link").symlink_to("shards")
    destination = spelled.format(home=home)
    assert is_refused(["restore", source, destination, "--key", "k"], capsys)
    with pytest.raises(dsguard.InputError, match="would be published"):
        restore_dataset(source, destination, KEY)


def test_nothing_is_restored_over_what_is_published(home, capsys):
    protect_dataset("photos", "other", KEY)
    for more in ([], ["--overwrite"]):
        assert is_refused(["restore", "other", "shards", "--key", "k", *more], capsys)


@pytest.mark.parametrize("destination", ["shards/new", "file://{home}/shards/new"])
def test_nothing_is_protected_below_what_is_published(home, capsys, destination):
    """Its journal would lie there."""
    destination = destination.format(home=home)
    assert is_refused(["protect", "photos", destination, "--key", "k"], capsys)
    with pytest.raises(dsguard.InputError, match="would be published"):
        protect_dataset("photos", destination, KEY)


def test_what_is_published_may_go_on_and_begin_anew(home):
    for more in ({}, {"overwrite": True}):
        report = protect_dataset("photos", "shards", KEY, out_format="webdataset", **more)
        assert report.done == 8


def test_beside_it_all_is_as_it_was(home):
    assert restore_dataset("shards/00000.tar", "shards-clean", KEY).done == 8
    assert restore_dataset("shards", "back", KEY).done == 8
    assert restore_dataset("shards/00000.tar", "back/again", KEY).done == 8  # of a task restored


def test_no_key_lies_in_what_is_published(home, capsys):
    for path in ("shards/new", "shards/a/new", "shards/../shards/new"):
        assert is_refused(["keygen", path], capsys)
    assert run(["keygen", "shards.key"]) == Exit.OK


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_key_where_a_link_leads_nowhere(home, capsys):
    Path("loop").symlink_to("loop")
    assert run(["keygen", "loop"]) == Exit.USAGE
    assert "there is something at loop" in " ".join(capsys.readouterr().err.split())


def test_no_surrogate_lies_in_what_is_published(home, capsys):
    given = ["--key", "k", "--profile", "exact", "--surrogate", "shards/s.pt"]
    assert is_refused(["protect", "photos", "out", *given], capsys)
    with pytest.raises(dsguard.InputError, match="would be published"):
        dataset_surrogate(open_source("photos"), Path("shards/s.pt"))


@pytest.mark.parametrize("command", [
    ["evaluate", "photos", "--out", "shards/study"], ["evaluate", "photos", "--out", "shards"],
    ["demo", "--data", "photos", "--out", "shards/demo"], ["demo", "--out", "shards/demo"],
])  # fmt: skip
def test_no_study_lies_in_what_is_published(home, capsys, command):
    assert is_refused([*command, "--epochs", "1"], capsys)


def test_nothing_from_a_platform_lies_in_what_is_published(home, capsys):
    assert is_refused(["dmcp", "restore", "photos", "photos", "shards/new"], capsys)
    assert is_refused(["dmcp", "export-key", "photos", "1", "shards/new"], capsys)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"task": "protected"'])
def test_a_damaged_journal_is_that_of_one(home, capsys, text):
    Path("shards.dsguard/settings.json").write_text(text)
    assert is_refused(["keygen", "shards/new"], capsys)


def test_a_restoration_with_a_damaged_journal_begins_anew(home):
    restore_dataset("shards", "back", KEY)
    Path("back.dsguard/settings.json").write_text("[")
    with pytest.raises(dsguard.FormatError, match="start anew with --overwrite"):
        restore_dataset("shards", "back", KEY)
    assert restore_dataset("shards", "back", KEY, overwrite=True).done == 8


def test_a_folder_without_a_run_is_not_published(home):
    Path("mine").mkdir()
    Path("mine.dsguard").mkdir()  # of somebody else's making
    np.save("mine/images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    assert run(["keygen", "mine/new"]) == Exit.OK


@pytest.mark.parametrize("command", [
    ["dmcp", "serve", "--folder", "shards/dmcp"], ["dmcp", "serve", "--folder", "shards"],
    ["dmcp", "rotate-master-key", "shards/new.key", "--folder", "service"],
])  # fmt: skip
def test_no_service_keeps_its_keys_in_what_is_published(home, capsys, command):
    assert is_refused(command, capsys)


@pytest.mark.parametrize(("name", "value"), [
    ("DATABASE", "sqlite:///shards/x.sqlite"), ("MASTER_KEY_FILE", "shards/m.key"),
])  # fmt: skip
def test_no_file_of_a_service_lies_in_what_is_published(home, capsys, monkeypatch, name, value):
    monkeypatch.setenv(f"DSGUARD_DMCP_{name}", value)
    assert is_refused(["dmcp", "serve", "--folder", "service"], capsys)


@pytest.mark.parametrize("named", ["", "/proc"])
def test_nothing_is_unpacked_into_the_current_folder(home, capsys, monkeypatch, named):
    """Where /tmp is full or read-only, tempfile takes the folder where the owner stands."""
    subprocess.run(["tar", "czf", "photos.tar.gz", "photos"], check=True)
    monkeypatch.chdir(home / "shards")
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, named)
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd()))
    before = files(".")
    assert run(["verify", ".", "--key", "../k", "--against", "../photos.tar.gz"]) == Exit.USAGE
    assert "set TMPDIR to another folder" in " ".join(capsys.readouterr().err.split())
    assert files(".") == before
    monkeypatch.setenv("TMPDIR", str(home / "shards"))
    assert run(["verify", ".", "--key", "../k", "--against", "../photos.tar.gz"]) == Exit.USAGE
    told = capsys.readouterr().err
    assert "(TMPDIR)" in told
    assert "damaged" not in told
    assert files(".") == before
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setattr("tempfile.tempdir", str(home))
    assert run(["verify", ".", "--key", "../k", "--against", "../photos.tar.gz"]) == Exit.OK


@pytest.mark.parametrize("inside", [".", "tmp"])
def test_nothing_is_unpacked_into_a_new_destination(home, capsys, monkeypatch, inside):
    subprocess.run(["tar", "czf", "photos.tar.gz", "photos"], check=True)
    (home / "new" / inside).mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(home / "new" / inside))
    given = ["protect", "photos.tar.gz", "new", "--key", "k", "--overwrite"]
    assert run(given) == Exit.USAGE
    assert "lies in the destination new; set TMPDIR" in " ".join(capsys.readouterr().err.split())
    assert not list((home / "new").rglob("dsguard-*"))


# Clean images in the place of published ones


@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_nothing_is_restored_above_what_is_published(home, capsys, is_gone, overwrite):
    """A dataset may have a folder that is called as the published one."""
    protect_dataset("photos", "pub/class0", KEY)
    if is_gone:  # uploaded, and removed; its journal is kept
        shutil.rmtree("pub/class0")
    before = files("pub")
    assert run(["restore", "shards", "pub", "--key", "k", *overwrite]) == Exit.USAGE
    assert "has a folder that a run protects images into" in " ".join(
        capsys.readouterr().err.split()
    )
    assert files("pub") == before
    with pytest.raises(dsguard.InputError, match="would be published as well"):
        restore_dataset("shards", "pub", KEY)


@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
def test_files_that_others_put_in_their_place_are_not_said_to_be_protected(home, out_format):
    """The wrong folder was unpacked, or copied, over what a run has written."""
    protect_dataset("photos", "out", KEY, out_format=out_format)
    published = contents("out")
    assert protect_dataset("photos", "out", KEY, out_format=out_format).resumed == 1
    restore_dataset("out", "clean", KEY, out_format=out_format)
    for path in Path("out").rglob("*.*"):
        clean = "clean" / path.relative_to("out")
        if clean.is_file():
            shutil.copy(clean, path)
    assert contents("out") != published
    report = protect_dataset("photos", "out", KEY, out_format=out_format)
    assert (report.done, report.resumed) == (8, 0)
    assert contents("out") == published


def test_permissions_that_change_are_no_other_files(home):
    protect_dataset("photos", "out", KEY)
    for path in Path("out").rglob("*.png"):
        path.chmod(0o444)
    assert protect_dataset("photos", "out", KEY).resumed == 1


def test_a_destination_that_cannot_be_looked_through_is_named(home):
    protect_dataset("photos", "out", KEY)
    shutil.copy("photos/class0/0.png", "out/class0/stray.png")
    assert protect_dataset("photos", "out", KEY).foreign == [str(Path("out/class0/stray.png"))]
    Path("out/latest").symlink_to("class0")
    report = protect_dataset("photos", "out", KEY)
    assert "cannot be looked through" in str(report.failures["out"])


def test_a_destination_that_is_a_link_to_itself_is_refused(home, capsys):
    Path("loop").symlink_to("loop")
    for command in (["protect", "photos", "loop"], ["restore", "shards", "loop"]):
        assert run([*command, "--key", "k"]) == Exit.USAGE
        assert "internal" not in capsys.readouterr().err


def test_a_pipe_in_place_of_a_journal_above_ends_nothing(home, capsys):
    Path("x.dsguard").mkdir()
    Path("x").mkdir()
    os.mkfifo("x.dsguard/settings.json")
    assert run(["keygen", "x/new"]) == Exit.USAGE
    assert "would be published" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_what_is_called_as_sidecars_is_named_where_there_are_none(home, out_format):
    protect_dataset("photos", "out", KEY, out_format=out_format)
    [shard] = (path for path in Path("out").iterdir() if not path.name.endswith(".dsguard"))
    stray = Path(f"{shard}.sidecars.npz")
    shutil.copy("photos/class0/0.png", stray)
    report = protect_dataset("photos", "out", KEY, out_format=out_format)
    assert (report.resumed, report.foreign) == (1, [str(stray)])


def test_facts_are_not_read_from_pipes(home, capsys):
    os.mkfifo("pipe.png")
    os.mkfifo("pipe.parquet")
    assert run(["inspect", "pipe.png"]) == Exit.SOME_FAILED
    assert "pipe" in capsys.readouterr().err
    with pytest.raises(dsguard.InputError, match="is no file, but a pipe"):
        next(rows_in(["pipe.parquet"]))


def test_facts_are_not_read_from_huge_files(home, capsys):
    with Path("huge.png").open("wb") as file:
        file.truncate(3 << 30)
    assert run(["inspect", "huge.png"]) == Exit.SOME_FAILED
    assert "huge.png" in capsys.readouterr().err


def test_a_folder_that_became_published_meanwhile_gets_no_clean_images(home):
    def engine(specs, workers):
        for spec in specs:
            yield process_shard(spec)
            Path("pub.dsguard").mkdir(exist_ok=True)  # another run begins
            Path("pub.dsguard/settings.json").write_text('{"task": "protected"}')

    protect_dataset("photos", "images", KEY)
    with pytest.raises(dsguard.InputError, match="would be published"):
        restore_dataset("images", "pub/new", KEY, engine=engine, shard_size=2)


def contents(folder: str) -> dict[str, bytes]:
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(("task", "published"), [
    (protect_dataset, "site"), (restore_dataset, "site"), (restore_dataset, "site/sub/below"),
])  # fmt: skip
def test_a_destination_that_became_published_before_its_run(home, monkeypatch, task, published):
    """A run may fit its rate for long: only its journal, and the lock on it, tell others."""
    real, source = plan.fitted, "photos" if task is protect_dataset else "shards"

    def slow(*given):
        monkeypatch.setattr(plan, "fitted", real)
        protect_dataset("photos", published, KEY)
        return real(*given)

    monkeypatch.setattr(plan, "fitted", slow)
    with pytest.raises(dsguard.InputError, match="would be published"):
        task(source, "site/sub", KEY)
    assert not Path("site/sub.dsguard").exists()
    assert Path(published).exists()
