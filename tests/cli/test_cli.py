"""The command line, as its users type it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.cli.commands import Exit, run
from dsguard.formats import decode_image, encode_image, encode_images
from tests.bulk.test_sealed_fields import tarred


@pytest.fixture
def home(tmp_path, monkeypatch, scenes):
    """A folder with a key, a dataset of two classes, and a protected copy of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSGUARD_PASSPHRASE", raising=False)
    dsguard.DatasetKey(bytes(32)).save("k")
    key = dsguard.DatasetKey.load("k")
    out = dsguard.protect_batch(scenes, key, target=scenes[::-1].copy()).images
    for n in range(len(scenes)):
        folder = "cat" if n % 2 else "dog"
        for root, image in (("clean", scenes[n]), ("safe", out[n])):
            path = tmp_path / root / "train" / folder / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(image))
    return tmp_path


def pixels(path):
    return decode_image(path.read_bytes()).astype(int)


def test_a_perturbation_of_nothing_is_warned_of(home, capsys):
    arguments = ["protect", "clean", "--key", "k", "--profile", "veil"]
    assert run([*arguments, "zero", "--epsilon", "0", "--quiet"]) == Exit.OK
    assert "epsilon is 0" in capsys.readouterr().err
    assert run([*arguments, "out", "--quiet"]) == Exit.OK
    assert not capsys.readouterr().err


def test_protect_and_restore(quick_networks, home, capsys):
    pytest.importorskip("torch")
    clean = home / "clean"
    rgb = Image.open(clean / "train" / "cat" / "1.png")
    rgb.save(clean / "train" / "cat" / "photo.jpg", quality=75)
    before = {path: path.read_bytes() for path in clean.rglob("*.*")}
    options = ["--key", "k", "--kind", "class-wise", "--epochs", "1", "--device", "cpu"]
    assert run(["protect", "clean", "out", *options, "--surrogate", "s.pt"]) == Exit.OK
    assert "protected 9 of 9" in capsys.readouterr().out
    assert run(["protect", "clean", "out2", *options, "--surrogate", "s.pt", "--json"]) == 0
    sizes = [
        sum(
            path.stat().st_size for folder in ("cat", "dog") for path in root.rglob(f"{folder}/*.*")
        )
        for root in (clean, home / "out2")
    ]
    assert json.loads(capsys.readouterr().out) == {
        "bytes_read": sizes[0],
        "bytes_written": sizes[1],
        "sealed_files": 0,
        "sealed_fields": 0,
        "protected": 9,
        "of": 9,
        "failed": 0,
        "sidecars": 0,
        "metadata_dropped": 0,
        "as_they_are": 0,
        "not_shown": {},
        "published": [],
        "shards": 1,
        "resumed": 0,
        "failures": {},
        "left_out": {},
        "broken_files": 0,
        "lost": 0,
        "source_unfinished": False,
        "journal_damaged": False,
        "leftovers": [],
        "foreign": [],
    }
    assert run(["restore", "out", "back", "--key", "k", "--image-format", "tiff"]) == Exit.OK
    assert {path: path.read_bytes() for path in clean.rglob("*.*")} == before
    for path in before:
        name = path.relative_to(clean)
        protected = home / "out" / name.with_suffix(".png")
        assert protected.read_bytes() == (home / "out2" / name.with_suffix(".png")).read_bytes()
        restored = home / "back" / name.with_suffix(".tiff")
        np.testing.assert_array_equal(pixels(restored), pixels(path))
        assert np.abs(pixels(protected) - pixels(path)).max() > 1
    assert not list(home.rglob("*.tmp"))


def test_limit_and_archives(quick_networks, home, capsys):
    pytest.importorskip("torch")
    shutil.make_archive("clean", "gztar", "clean")
    options = ["--key", "k", "--kind", "class-wise", "--epochs", "1", "--device", "cpu"]
    assert run(["protect", "clean.tar.gz", "out", *options, "--limit", "4"]) == Exit.OK
    found = sorted(p.relative_to(home / "out").as_posix() for p in (home / "out").rglob("*.png"))
    expected = ["train/cat/1.png", "train/cat/3.png", "train/dog/0.png", "train/dog/2.png"]
    assert found == expected
    assert capsys.readouterr().out == "protected 4 of 4 images into out\n"


@pytest.mark.parametrize("trouble", ["wrong key", "flipped bit", "clean image", "truncated file"])
def test_each_trouble_has_its_own_error_and_touches_nothing(home, capsys, trouble):
    victim = home / "safe" / "train" / "cat" / "3.png"
    key = "k"
    if trouble == "wrong key":
        key = "other"
        dsguard.DatasetKey.generate().save(key)
    elif trouble == "flipped bit":
        image = pixels(victim).astype(np.uint8)
        image[9, 9, 1] ^= 1
        victim.write_bytes(encode_image(image))
    elif trouble == "clean image":
        shutil.copy(home / "clean" / "train" / "cat" / "3.png", victim)
    else:
        victim.write_bytes(victim.read_bytes()[:-300])
    code, message, restored = {
        "wrong key": (Exit.KEY_REFUSED, "was protected under key", 0),
        "flipped bit": (Exit.DAMAGED, "was changed after it was protected", 7),
        "clean image": (Exit.SOME_FAILED, "carries no dsguard header", 7),
        "truncated file": (Exit.SOME_FAILED, "cannot be read", 7),
    }[trouble]
    before = {path: path.read_bytes() for path in (home / "safe").rglob("*.png")}
    assert run(["restore", "safe", "back", "--key", key]) == code
    shown = capsys.readouterr()
    assert f"train/cat/3.png: {message}" in " ".join(shown.err.split())
    assert "image 0:" not in shown.err
    assert f"restored {restored} of 8" in shown.out
    assert run(["restore", "safe", "json", "--key", key, "--json"]) == code
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert len(failures) == 8 - restored
    assert failures["train/cat/3.png"].startswith(message)
    assert not (home / "back" / "train" / "cat" / "3.png").exists()
    assert (home / "back").exists() == (restored > 0)
    assert {path: path.read_bytes() for path in (home / "safe").rglob("*.png")} == before
    assert not list(home.rglob("*.tmp"))


def test_capacity_is_reported_per_image(quick_networks, home, capsys):
    pytest.importorskip("torch")
    tiny = np.zeros((8, 8, 1), np.uint8)
    (home / "clean" / "train" / "cat" / "tiny.png").write_bytes(encode_image(tiny))
    options = ["--key", "k", "--kind", "class-wise", "--epochs", "1", "--device", "cpu"]
    options += ["--profile", "paper"]
    assert run(["protect", "clean", "out", *options]) == Exit.SOME_FAILED
    shown = capsys.readouterr()
    assert "tiny.png: an image of 8x8x1 needs 312 payload bits and can carry 128" in shown.err
    assert "protected 8 of 9" in shown.out


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sidecars_travel_in_the_file(quick_networks, home, capsys, kind):
    pytest.importorskip("torch")
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (home / "clean" / "train" / "cat" / "noise.png").write_bytes(encode_image(noise))
    (home / "clean" / "train" / "dog" / "tiny.png").write_bytes(encode_image(noise[:8, :8, :1]))
    options = [
        "--key",
        "k",
        "--epochs",
        "1",
        "--steps",
        "1",
        "--epsilon",
        "64",
        "--image-format",
        kind,
    ]
    assert run(["protect", "clean", "out", *options]) == Exit.OK
    shown = capsys.readouterr().out
    assert "protected 10 of 10" in shown
    assert "a part of their payload in a sidecar" in shown
    shutil.make_archive("packed", "zip", "out")
    for source in ("out", "packed.zip"):
        assert run(["restore", source, "back", "--key", "k", "--overwrite"]) == Exit.OK
        for path in (home / "clean").rglob("*.png"):
            back = home / "back" / path.relative_to(home / "clean")
            np.testing.assert_array_equal(pixels(back), pixels(path))
    name = "noise" + (".png" if kind == "png" else ".tiff")
    stripped = home / "out" / "train" / "cat" / name
    stripped.write_bytes(encode_image(decode_image(stripped.read_bytes()), kind))
    assert run(["restore", "out", "again", "--key", "k"]) == Exit.SOME_FAILED
    assert "give the sidecar" in capsys.readouterr().err


def test_usage_errors_come_before_any_work(home, capsys):
    (home / "full").mkdir()
    (home / "full" / "file").write_text("mine")
    for arguments, message in [
        (["protect", "clean", "out", "--key", "none"], "make one with: dsguard keygen none"),
        (["protect", "clean", "clean/out", "--key", "k"], "must not lie in each other"),
        (["protect", "clean", "clean", "--key", "k"], "must not lie in each other"),
        (["protect", "clean", "full", "--key", "k"], "not empty"),
        (["protect", "clean", "full/file", "--key", "k"], "is a file"),
        (["restore", "clean"], "Missing argument"),
        (["nonsense"], "No such command"),
        (["keygen", "k"], "something at k"),
        (["protect", "clean", "full/file/out", "--key", "k"], "not a writable folder"),
        (["protect", "clean", "out", "--key", "k", "--profile", "papre"], "for '--profile'"),
        (["protect", "clean", "out", "--key", "k", "--epochs", "0"], "0 is not in the range"),
    ]:
        assert run(arguments) == Exit.USAGE, arguments
        assert message in " ".join(capsys.readouterr().err.split())
    for arguments, message in [
        (["protect", "missing", "out", "--key", "k"], "there is nothing at missing"),
        (["protect", "full", "out", "--key", "k"], "holds no images"),
        (
            ["protect", "clean", "out", "--key", "k", "--image-format", "jpg"],
            "choose one of: png, tiff",
        ),
        (["protect", "clean", "out", "--key", "k", "--cover", "given"], "needs a folder"),
        (
            ["protect", "clean", "out", "--key", "k", "--cover", "given", "--covers", "full"],
            "holds no pictures",
        ),
        (["restore", "safe", "out", "--key", "full/file"], "not a dsguard key file"),
    ]:
        assert run(arguments) == Exit.USAGE, arguments
        assert message in " ".join(capsys.readouterr().err.split())
    assert (home / "full" / "file").read_text() == "mine"
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("clean", ["--profile", "exact", "--device", "abacus"], "no device 'abacus'"),
        ("clean/train/cat", ["--kind", "class-wise"], "at least two classes"),
    ],
)
def test_usage_errors_of_training_come_before_any_work(home, capsys, source, options, message):
    pytest.importorskip("torch")
    assert run(["protect", source, "out", "--key", "k", *options]) == Exit.USAGE
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (home / "out").exists()


def test_keys_with_passphrases(home, capsys, monkeypatch):
    monkeypatch.setenv("DSGUARD_PASSPHRASE", "open sesame")
    assert run(["keygen", "wrapped", "--passphrase"]) == Exit.OK
    assert dsguard.DatasetKey.load("wrapped", "open sesame").key_id in capsys.readouterr().out
    assert run(["restore", "safe", "back", "--key", "wrapped"]) == Exit.KEY_REFUSED
    monkeypatch.setenv("DSGUARD_PASSPHRASE", "wrong")
    assert run(["restore", "safe", "back", "--key", "wrapped"]) == Exit.KEY_REFUSED
    assert "wrong passphrase" in capsys.readouterr().err


def test_a_key_in_a_repository_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("photos/.git").mkdir(parents=True)
    monkeypatch.setattr(subprocess, "Popen", None)  # git runs programs that a repository names
    assert run(["keygen", "photos/k"]) == Exit.OK
    assert "git repository" in capsys.readouterr().err
    assert run(["keygen", "k"]) == Exit.OK
    assert "git repository" not in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(home, capsys):
    bad = home / "safe" / "train" / "cat" / "\x1b[31m\n.png"
    bad.write_bytes(b"no image")
    assert run(["restore", "safe", "back", "--key", "k"]) == Exit.SOME_FAILED
    shown = capsys.readouterr().err
    assert "\x1b[31m" not in shown
    assert "\\x1b[31m\\n.png: is not an image" in shown


def test_a_name_that_is_a_folder_does_not_stop_the_others(home, capsys):
    clash = home / "safe" / "train" / "cat" / "5.tiff"
    clash.mkdir()
    (home / "safe" / "train" / "cat" / "3.png").rename(clash / "3.png")
    code = run(["restore", "safe", "back", "--key", "k", "--image-format", ".TIFF"])
    assert code == Exit.SOME_FAILED
    shown = capsys.readouterr()
    assert "restored 7 of 8" in shown.out
    assert shown.err.count("cannot be written") == 1


def test_a_name_too_long_to_write_does_not_stop_the_others(home, capsys):
    image = home / "safe" / "train" / "cat" / "1.png"
    name = "x" * 251 + ".png"
    image.rename(image.with_name(name))
    assert (
        run(["restore", "safe", "back", "--key", "k", "--image-format", "tiff"]) == Exit.SOME_FAILED
    )
    shown = capsys.readouterr()
    assert "cannot be written: File name too long" in shown.err
    assert "restored 7 of 8" in shown.out
    assert run(["restore", "safe", "again", "--key", "k"]) == Exit.OK
    assert (home / "again" / "train" / "cat" / name).exists()


def test_a_key_that_others_can_read_is_warned_of(home, capsys):
    (home / "k").chmod(0o644)
    assert run(["restore", "safe", "back", "--key", "k"]) == Exit.OK
    assert "chmod 600 k" in capsys.readouterr().err


def test_inspect(home, capsys):
    protected = "safe/train/cat/1.png"
    assert run(["inspect", protected]) == Exit.OK
    key_id = dsguard.DatasetKey.load("k").key_id
    assert f"profile exact, planes 0, key id {key_id}" in capsys.readouterr().out
    assert run(["inspect", "--json", protected]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["payload_bits"] % 8 == 0
    assert run(["inspect", protected, "clean/train/cat/1.png"]) == Exit.SOME_FAILED
    assert "carries no dsguard header" in capsys.readouterr().err
    assert run(["inspect", "missing.png", "safe", protected]) == Exit.SOME_FAILED
    shown = capsys.readouterr()
    assert "missing.png: cannot be read: No such file" in shown.err
    assert "profile exact" in shown.out
    for none_is_read in (["missing.png"], ["missing.png", "gone"]):
        assert run(["inspect", *none_is_read]) == Exit.USAGE
        assert "missing.png: cannot be read: No such file" in capsys.readouterr().err


def test_inspect_reads_urls(home, capsys):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put("safe", "/inspected", recursive=True)
    for url in ("memory://inspected/train/cat/1.png", f"file://{home}/safe/train/cat/1.png"):
        assert run(["inspect", url]) == Exit.OK
        assert capsys.readouterr().out.startswith(f"{url}: version 1, profile exact")
    assert run(["inspect", "memory://inspected"]) == Exit.OK
    assert "first image" in capsys.readouterr().out
    assert run(["inspect", "memory://inspected/train/cat/none.png"]) == Exit.USAGE
    assert "memory://inspected/train/cat/none.png: " in capsys.readouterr().err


def test_a_surrogate_must_know_the_classes(quick_networks, home, capsys):
    pytest.importorskip("torch")
    options = ["--key", "k", "--kind", "class-wise", "--epochs", "1", "--device", "cpu"]
    assert run(["protect", "clean", "out", *options, "--surrogate", "s.pt"]) == Exit.OK
    (home / "clean" / "train" / "cat").rename(home / "clean" / "train" / "lion")
    assert run(["protect", "clean", "out2", *options, "--surrogate", "s.pt"]) == Exit.USAGE
    assert "was not trained on the class(es): lion" in capsys.readouterr().err


def test_a_run_goes_on_and_another_is_refused(home, capsys):
    assert run(["restore", "safe", "back", "--key", "k"]) == Exit.OK
    assert run(["restore", "safe", "back", "--key", "k"]) == Exit.OK
    assert "1 of 1 shards were done before" in capsys.readouterr().out
    (home / "back" / "train" / "cat" / "3.png").unlink()
    assert run(["restore", "safe", "back", "--key", "k"]) == Exit.OK
    assert "done before" not in capsys.readouterr().out
    assert (home / "back" / "train" / "cat" / "3.png").exists()
    assert run(["restore", "safe", "back", "--key", "k", "--limit", "2"]) == Exit.USAGE
    assert "the output of another run" in " ".join(capsys.readouterr().err.split())
    assert run(["restore", "safe", "back", "--key", "k", "--overwrite"]) == Exit.OK
    assert (home / "back" / "train" / "cat" / "3.png").exists()


def test_the_installed_command_runs():
    command = [sys.executable, "-m", "dsguard", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"dsguard {dsguard.__version__} \(.+; Python .+\)\n", shown.stdout)


def test_every_public_name_is_there():
    assert {name for name in dsguard.__all__ if getattr(dsguard, name) is not None} == set(
        dsguard.__all__
    )
    assert set(dsguard.__all__) <= set(dir(dsguard))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dsguard.nonsense  # noqa: B018


def test_importing_dsguard_is_light():
    code = (
        "import sys, dsguard; dsguard.protect_batch\n"
        "heavy = {'torch', 'numba', 'click', 'rich', 'sklearn', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.fixture
def two_classes(tmp_path, monkeypatch, scenes, key, quick_networks):
    """A folder with images of two classes and a key, from which a surrogate can be trained."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    key.save("k")
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path


def test_a_surrogate_that_lies_in_a_journal_must_be_of_the_key(two_classes, capsys):
    """Somebody else's could leave images nearly as they are."""
    command = ["protect", "clean", "out", "--key", "k", "--profile", "exact"]
    command += ["--epochs", "1", "--quiet"]
    assert run(command) == Exit.OK
    assert run(command) == Exit.OK  # its own is taken
    made = (two_classes / "out.dsguard" / "surrogate.pt").read_bytes()
    (two_classes / "new.dsguard").mkdir()
    (two_classes / "new.dsguard" / "surrogate.pt").write_bytes(made)
    command[2] = "new"
    assert run(command) == Exit.USAGE
    assert "was made by no run with this key" in capsys.readouterr().err
    assert run([*command, "--surrogate", "new.dsguard/surrogate.pt"]) == Exit.OK


@pytest.mark.skipif(os.name != "posix", reason="links are of POSIX")
def test_a_journal_that_becomes_a_link_while_a_surrogate_trains(two_classes, monkeypatch):
    from dsguard.bulk import surrogates

    private = two_classes / "private"
    private.mkdir()
    (private / "surrogate.pt").write_bytes(b"precious")
    real = surrogates.load_training_set

    def swapped(*given):
        (two_classes / "out.dsguard").symlink_to(private)
        return real(*given)

    monkeypatch.setattr(surrogates, "load_training_set", swapped)
    command = ["protect", "clean", "out", "--key", "k", "--profile", "exact"]
    command += ["--epochs", "1", "--quiet"]
    assert run(command) == Exit.USAGE
    assert (private / "surrogate.pt").read_bytes() == b"precious"
    assert len(list(private.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_the_journal_of_a_link_is_told_where_it_lies(tmp_path, monkeypatch, scenes, capsys):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(scenes[0]).save("photos/0.png")
    dsguard.DatasetKey(bytes(32)).save("k")
    Path("there").mkdir()
    Path("link").symlink_to("there")
    for name, journal in (("link", str(tmp_path / "there.dsguard")), ("plain", "plain.dsguard")):
        assert run(["protect", "photos", name, "--key", "k"]) == Exit.OK
        told = "".join(capsys.readouterr().err.split())
        assert f"keeptoyourselfkand{journal}see" in told
        assert Path(journal).is_dir()


@pytest.mark.parametrize("arguments", [["demo"], ["evaluate", "clean", "--out", "study"]])
def test_without_torch_a_study_names_its_extra(home, arguments):
    """The extra fsp has torch as well, but not all that a study needs."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from dsguard.cli.commands import run\n"
        f"sys.exit(run({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "torch is not installed; run: pip install 'dsguard[demo]'" in done.stderr


def test_figures_of_a_part_say_so(home, capsys, monkeypatch):
    """A run that goes on knows nothing of the bytes of what was done before."""
    monkeypatch.setattr("dsguard.cli.report._WORTH_TELLING", 1)
    arguments = ["protect", "clean", "out", "--key", "k", "--shard-size", "2"]
    assert run(arguments) == Exit.OK
    told = capsys.readouterr().out
    assert "image files: " in told
    assert "of this run" not in told
    next((home / "out").rglob("*.png")).unlink()
    assert run(arguments) == Exit.OK
    told = capsys.readouterr().out
    assert "were done before" in told
    assert "image files of this run: " in told


def test_how_far_a_comparison_is(home, capsys, monkeypatch):
    monkeypatch.setattr("dsguard.cli.console._TOLD_EVERY", 0.0)
    arguments = ["verify", "safe", "--key", "k", "--against", "clean"]
    assert run(arguments) == Exit.OK
    told = capsys.readouterr().err
    assert re.search(r"\d+ images, \d+ of \d+ shards, \d+ images/s", told)
    count = len(list((home / "clean").rglob("*.png")))
    assert f"compared {count} images, {count} of {count} images, " in told


@pytest.mark.parametrize("spelled", ["out/s.pt", "out/cat/s.pt", "clean/../out/s.pt", "clean/s.pt"])
def test_no_surrogate_lies_in_the_source_or_the_destination(home, capsys, spelled):
    """It is published or sealed with what lies beside the images otherwise."""
    for out in ("out", f"file://{home}/out"):
        given = ["--key", "k", "--profile", "exact", "--surrogate", spelled]
        assert run(["protect", "clean", out, *given]) == Exit.USAGE
        assert "the surrogate would lie in" in " ".join(capsys.readouterr().err.split())
    assert not (home / "out").exists()


@pytest.mark.parametrize("named", [[], ["--in-format", "webdataset"]])
def test_what_is_advised_after_protecting_can_be_run(tmp_path, monkeypatch, capsys, scenes, named):
    monkeypatch.chdir(tmp_path)
    dsguard.DatasetKey(bytes(32)).save("k.key")
    shard = Path("clean/0.tar")
    shard.parent.mkdir()
    tarred(shard, [("0.png", encode_image(scenes[0])), ("0.txt", b"a cat")])
    assert run(["protect", "clean", "safe", "--key", "k.key", *named]) == Exit.OK
    advice = capsys.readouterr().err.partition("see that it comes back: dsguard ")[2]
    assert run(shlex.split(advice)) == Exit.OK
    assert ("--in-format" in advice) == bool(named)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_arrays_that_were_published_beside_shards_are_no_dataset(
    tmp_path, monkeypatch, capsys, scenes, kind
):
    monkeypatch.chdir(tmp_path)
    dsguard.DatasetKey(bytes(32)).save("k.key")
    Path("clean/a").mkdir(parents=True)
    Path("clean/a/0.png").write_bytes(encode_image(scenes[0]))
    np.save("clean/features.npy", np.ones((8, 64)))
    options = ["--publish", "*.npy", "--out-format", kind]
    assert run(["protect", "clean", "safe", "--key", "k.key", *options]) == Exit.OK
    advice = capsys.readouterr().err.partition("see that it comes back: dsguard ")[2]
    assert run(shlex.split(advice)) == Exit.OK
    assert run(["restore", "safe", "back", "--key", "k.key"]) == Exit.OK
    assert Path("back/features.npy").read_bytes() == Path("clean/features.npy").read_bytes()
