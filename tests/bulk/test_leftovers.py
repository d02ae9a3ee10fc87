"""No clean pixel lies in what is published, whatever ends a run; what runs leave is told."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.journal import Journal
from dsguard.bulk.spool import Spool
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.errors import DsguardError, InputError
from dsguard.formats import encode_images, open_source
from dsguard.formats.places import LocalPlace, RemotePlace

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and permissions of POSIX")


@pytest.fixture
def home(tmp_path, monkeypatch, scenes, key):
    """A working folder with a key and a clean dataset of 240 images."""
    monkeypatch.chdir(tmp_path)
    key.save("k")
    images = np.concatenate([np.roll(scenes, shift, axis=(1, 2)) for shift in range(30)])
    for n, file in enumerate(encode_images(images)):
        path = tmp_path / "clean" / "abc"[n % 3] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path


def has_clean_pixels(path: Path, scenes) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a run that goes on has renamed it
        return False
    return any(image.tobytes()[:3000] in data for image in scenes)


def with_clean_pixels(folder: Path, scenes) -> list[Path]:
    names = (Path(at, name) for at, _, files in os.walk(folder) for name in files)
    return [path for path in names if has_clean_pixels(path, scenes)]


def spooled_in(folder: Path) -> list[Path]:
    """Return the spools that hold something, which is for their owner alone."""
    names = (Path(at, name) for at, _, files in os.walk(folder) for name in files)
    spools = []
    for path in names:
        with contextlib.suppress(FileNotFoundError):
            if path.name.startswith("spool-") and path.stat().st_size > 3000:
                assert not path.stat().st_mode & 0o077
                assert not path.parent.stat().st_mode & 0o077
                spools.append(path)
    return spools


COMMAND = [sys.executable, "-m", "dsguard", "protect", "clean", "out", "--key", "k", "--profile",
           "veil", "--shard-size", "8", "--workers", "2"]  # fmt: skip


@posix
def test_a_run_that_is_killed_leaves_no_clean_pixels(home, scenes):
    """Not in what is published, and not in the journal: whoever shares the folder above has it."""
    spooled = 0
    for attempt in range(4):
        process = subprocess.Popen(
            COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + 600
        try:
            while process.poll() is None and time.monotonic() < until:
                if spooled_in(home / "out.dsguard"):
                    break
                assert not with_clean_pixels(home / "out", scenes)
            time.sleep(0.05 * attempt)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not with_clean_pixels(home / "out", scenes)
        assert not with_clean_pixels(home / "out.dsguard", scenes)
        spooled += bool(spooled_in(home / "out.dsguard"))
    assert spooled  # it was there, and in the journal
    subprocess.run(COMMAND, check=True, capture_output=True)
    assert not with_clean_pixels(home / "out", scenes) + with_clean_pixels(
        home / "out.dsguard", scenes
    )
    assert not list(home.rglob("*spool*")) + list(home.rglob(".dsguard-tmp"))


@posix
def test_a_full_disk_leaves_no_clean_pixels(home, scenes):
    """Files may be no larger than a shard here, and the spool cannot be written to its end."""
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from dsguard.cli.commands import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, *COMMAND[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "Traceback" not in done.stderr
    assert not with_clean_pixels(home / "out", scenes) + with_clean_pixels(
        home / "out.dsguard", scenes
    )
    assert not list(home.rglob("*spool*"))


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Full:
    """A file that is full when it is closed, as one with a buffer can be."""

    def __init__(self, file) -> None:
        self._file = file

    def __getattr__(self, name: str):
        return full if name in ("flush", "write") else getattr(self._file, name)

    def close(self) -> None:
        self._file.close()
        full()


def test_a_disk_that_is_full_at_the_end_leaves_no_spool(home, key, monkeypatch):
    begin = Spool.__init__

    def limited(self, *given: object) -> None:
        begin(self, *given)
        self._files = [Full(file) for file in self._files]

    monkeypatch.setattr(Spool, "__init__", limited)
    with pytest.raises(OSError, match="No space left"):
        protect_dataset("clean", "out", key, profile="veil")
    assert not list(home.rglob("*spool*"))


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_a_disk_that_is_full_when_a_shard_ends_leaves_none(home, key, monkeypatch, out_format):
    from dsguard.formats.sink import FileSink

    begin = FileSink.__init__

    def limited(self, *given: object) -> None:
        begin(self, *given)
        self._file = Full(self._file)

    monkeypatch.setattr(FileSink, "__init__", limited)
    monkeypatch.setattr(LocalPlace, "clear_scratch", lambda self: None)  # each removes its own
    with pytest.raises(OSError, match="No space left"):
        restore_dataset(protected(home, key), "back", key, out_format=out_format)
    assert not [path for path in (home / "back").rglob("*") if path.is_file()]


def protected(home: Path, key) -> str:
    assert protect_dataset("clean", "safe", key, profile="veil").done == 240
    return "safe"


def test_what_an_earlier_run_has_spooled_is_removed(home, scenes, key):
    old = home / "out" / ".dsguard-tmp" / "spool"  # where it was once
    protect_dataset("clean", "out", key, profile="veil", shard_size=100)
    own = home / "out.dsguard" / ".dsguard-tmp" / "spool-0"
    for path in (old, own):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(scenes.tobytes())
    assert protect_dataset("clean", "out", key, profile="veil", shard_size=100).resumed == 3
    assert not old.exists()
    assert not own.exists()


@posix
def test_spools_of_remote_destinations(home, scenes, key, monkeypatch):
    pytest.importorskip("fsspec")
    (home / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(home / "tmp"))
    scratch = RemotePlace("memory://spooled/out").scratch()
    (scratch / "spool-left").write_bytes(scenes.tobytes())
    live = Spool(scratch)  # of another run
    seen: list[bool] = []

    def look(report, shards) -> None:
        seen.append(bool(spooled_in(home / "tmp")))
        clean = with_clean_pixels(home / "tmp", scenes)
        assert {path.name for path in clean} <= {"spool-left"}

    protect_dataset("clean", "memory://spooled/out", key, profile="veil", progress=look)
    assert any(seen)
    own = {live._pixels.name, live._index.name}
    assert {path.name for path in scratch.iterdir()} == own
    live.remove()
    assert not list(scratch.iterdir())


def test_veils_in_worker_processes_find_the_spool(home, key):
    report = protect_dataset("clean", "out", key, profile="veil", shard_size=60, workers=2)
    assert (report.done, report.failed) == (240, 0)
    assert restore_dataset("out", "back", key).done == 240


def litter(folder: Path, key) -> list[str]:
    """Put into a folder of images what runs may leave there; return its names."""
    protect_dataset("clean/a", "inner", key, profile="veil")
    for name in ("inner", "inner.dsguard"):  # an earlier version began it there
        Path(name).rename(folder / name)
    for path in (folder / ".dsguard-tmp" / "spool", folder / "a" / ".dsguard-0123456789abcdef.tmp",
                 folder / "b" / ".dsguard-tmp" / "5-0"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"clean")
    return [".dsguard-tmp", "a/.dsguard-0123456789abcdef.tmp", "b/.dsguard-tmp", "inner.dsguard"]


def test_verify_and_protect_tell_of_leftovers(home, key, capsys):
    protect_dataset("clean", "out", key, profile="veil")
    assert verify_dataset("out", key).leftovers == []
    names = litter(home / "out", key)
    report = verify_dataset("out", key)
    assert report.leftovers == [f"out/{name}" for name in names]
    assert cli(["verify", "out", "--key", "k", "--json", "--quiet"]) == Exit.OK
    shown = capsys.readouterr()
    assert json.loads(shown.out)["leftovers"] == [f"out/{name}" for name in names]
    assert shown.err.count("no part of the dataset") == 3
    assert "1 more" in shown.err
    assert cli(["protect", "clean", "out", "--key", "k", "--profile", "veil"]) == Exit.LEFT_OUT
    shown = capsys.readouterr().err
    assert "inner.dsguard is of a run" in shown
    assert not (home / "out" / ".dsguard-tmp").exists()  # that is its own, and it is removed


def test_leftovers_are_no_part_of_what_is_read(home, key):
    names = litter(home / "clean", key)
    assert not any("dsguard" in name for name in open_source("clean").names())
    report = protect_dataset("clean", "out", key, profile="veil")
    assert report.leftovers == [f"clean/{name}" for name in names]
    assert not list((home / "out").rglob("*dsguard*"))


def test_leftovers_of_a_store(home, key):
    system = pytest.importorskip("fsspec").filesystem("memory")
    protect_dataset("clean", "memory://left/out", key, profile="veil")
    for name in ("inner.dsguard/settings.json", "inner.dsguard/shards/00000.jsonl",
                 "a/.dsguard-0.tmp"):  # fmt: skip
        system.pipe_file(f"/left/out/{name}", b"{}")
    report = verify_dataset("memory://left/out", key)
    assert (report.done, report.failed, report.lost) == (240, 0, 0)
    names = ["a/.dsguard-0.tmp", "inner.dsguard"]
    assert report.leftovers == [f"memory://left/out/{name}" for name in names]


def test_links_in_the_scratch_folder_are_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("dsguard.formats.places.local._UNGUESSED", "guessed")
    monkeypatch.setattr("dsguard.formats.places.local._count", iter(range(9)))
    scratch = tmp_path / "safe" / ".dsguard-tmp"
    scratch.mkdir(parents=True)
    (scratch / f"{os.getpid()}-guessed-0").symlink_to(victim)
    with pytest.raises(FileExistsError):
        LocalPlace(tmp_path / "safe").write("0.png", b"new")
    assert victim.read_bytes() == b"precious"


@posix
def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(tmp_path):
    """In a destination that somebody else may write in, between two images of one class."""
    place, victim = LocalPlace(tmp_path / "safe"), tmp_path / "pictures"
    victim.mkdir()
    (victim / "1.png").write_bytes(b"precious")
    place.write("a/b/0.png", b"new")
    (tmp_path / "safe" / "a" / "b").rename(tmp_path / "safe" / "moved")
    (tmp_path / "safe" / "a" / "b").symlink_to(victim)
    place.write("a/b/1.png", b"new")
    place.discard("a/b/1.png")
    place.write("a/b/2.png", b"new")
    assert [path.read_bytes() for path in victim.iterdir()] == [b"precious"]
    other = LocalPlace(tmp_path / "safe")
    for name in ("a/b/1.png", "a/b/c/1.png"):
        with pytest.raises(InputError, match="leads out"):
            other.write(name, b"new")
        with pytest.raises(InputError, match="leads out"):
            other.discard(name)
    assert [path.read_bytes() for path in victim.iterdir()] == [b"precious"]


@posix
def test_the_scratch_folder_is_no_link(tmp_path):
    place, victim = LocalPlace(tmp_path / "safe"), tmp_path / "pictures"
    victim.mkdir()
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / ".dsguard-tmp").symlink_to(victim)
    with pytest.raises(InputError, match="leads out"):
        place.write("0.png", b"new")
    with pytest.raises(InputError, match="leads out"):
        place.new_file("0")
    assert not list(victim.iterdir())


@posix
def test_links_within_the_destination_are_followed(tmp_path):
    place = LocalPlace(tmp_path / "safe")
    place.write("a/0.png", b"old")
    (tmp_path / "safe" / "b").symlink_to("a")
    place.write("b/1.png", b"new")
    assert (tmp_path / "safe" / "a" / "1.png").read_bytes() == b"new"
    assert place.read("b/1.png") == b"new"


def test_many_folders_are_written_to_and_one_that_was_removed_is_made_again(tmp_path):
    place = LocalPlace(tmp_path / "safe")
    for n in range(300):
        place.write(f"{n}/x/0.png", b"new")
    shutil.rmtree(tmp_path / "safe")
    place.write("299/x/0.png", b"new")
    assert place.files() == ["299/x/0.png"]


@posix
def test_a_journal_of_somebody_else_is_refused(home, key, monkeypatch):
    """Who can write to it could have files of the destination removed and replaced."""
    (home / "out.dsguard").mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    journal, above = (home / "out.dsguard").stat(), home.stat()
    if journal.st_uid == above.st_uid:
        real = Path.stat
        strange = os.stat_result((*above[:4], own + 2, *above[5:]))
        monkeypatch.setattr(
            Path, "stat", lambda self, **k: strange if self == home else real(self, **k)
        )
    with pytest.raises(InputError, match="belongs to another user"):
        protect_dataset("clean", home / "out", key, profile="veil")


@posix
def test_an_estimate_that_was_killed_is_removed_by_the_next(home, scenes, monkeypatch):
    temporary = home / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    killed = (
        "import os; from dsguard.cli.commands import run; from dsguard.bulk import Protect; "
        "Protect.process = lambda *a: os.kill(os.getpid(), 9); "
        "run('protect clean out --key k --profile veil --dry-run'.split())"
    )
    done = subprocess.run([sys.executable, "-c", killed], check=False, capture_output=True)
    assert done.returncode == -9
    assert spooled_in(temporary)
    assert not with_clean_pixels(temporary, scenes)
    arguments = ["protect", "clean", "out", "--key", "k", "--profile", "veil", "--dry-run"]
    assert cli(arguments) == Exit.OK
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_a_run_that_is_refused_leaves_folders_that_were_there(home, key):
    for name in ("back/a/b", "back/c"):
        (home / name).mkdir(parents=True)
    assert restore_dataset("clean", "back", key).done == 0
    assert {path.name for path in (home / "back").rglob("*")} == {"a", "b", "c"}
    restore_dataset("clean", "other", key)
    assert not (home / "other").exists()
    assert not (home / "other.dsguard").exists()


@posix
def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_followed(tmp_path):
    (tmp_path / "clean" / "d").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    for folder in ("clean/d", "private"):
        (tmp_path / folder / "notes.txt").write_text(folder)
    place = LocalPlace(tmp_path / "clean")
    assert place.read("d/notes.txt") == b"clean/d"
    (tmp_path / "clean" / "d").rename(tmp_path / "clean" / "moved")
    (tmp_path / "clean" / "d").symlink_to(tmp_path / "private")
    assert place.read("d/notes.txt") == b"clean/d", "the folder that was opened"
    with pytest.raises(InputError, match="leads out"):
        LocalPlace(tmp_path / "clean").read("d/notes.txt")


@posix
def test_a_journal_that_becomes_a_link_after_it_was_checked(home, key, monkeypatch):
    victim = home / "pictures"
    victim.mkdir(0o755)
    real = Journal.check

    calls = iter(range(9))

    def swapped(self):
        real(self)
        if next(calls) == 1:  # the last time
            self.place.path.symlink_to(victim)

    monkeypatch.setattr(Journal, "check", swapped)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        protect_dataset("clean", home / "out", key, profile="veil")
    assert victim.stat().st_mode & 0o777 == 0o755
    assert not list(victim.iterdir())


def test_places_at_urls_do_not_lie_in_each_other(home, key):
    system = pytest.importorskip("fsspec").filesystem("memory")
    for path in (home / "clean").rglob("*.png"):
        system.pipe_file(f"/apart/in/{path.name}", path.read_bytes())
    for source, destination in (
        ("memory://apart/in", "memory://apart"),
        ("memory://apart/in", "memory://apart/in/out"),
        ("memory://apart/in", "memory://apart/in/"),
        ("memory://apart/in", "memory:///apart/in"),
        ("memory:///apart/in", "memory://apart//in/out"),
        ("memory://apart/in", "memory://apart/x/../in"),
        ("memory://apart/in", "simplecache::memory:///apart/in"),
        ("clean", (home / "clean" / "out").as_uri()),
    ):
        with pytest.raises(InputError, match="must not lie in each other"):
            protect_dataset(source, destination, key, profile="veil", overwrite=True)
    assert protect_dataset("memory://apart/in", "memory://apart/in2", key, profile="veil").done


_MOUNTED = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


def test_a_source_that_is_mounted_twice_is_no_destination(home):
    """As volumes of containers are, and shares."""
    (home / "mounted").mkdir()
    try:
        subprocess.run([*_MOUNTED, f"mount --bind {home}/clean {home}/mounted"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    before = {path: path.read_bytes() for path in (home / "clean").rglob("*.png")}
    for source, destination in (("clean", "mounted"), ("mounted", "clean/out")):
        command = (
            f"mount --bind {home}/clean {home}/mounted; exec {sys.executable} -m dsguard "
            f"protect {source} {destination} --key k --overwrite"
        )
        done = subprocess.run([*_MOUNTED, command], capture_output=True, text=True, check=False)
        assert done.returncode == Exit.USAGE, done.stderr
        assert "must not lie in each other" in done.stderr
    assert before == {path: path.read_bytes() for path in (home / "clean").rglob("*.png")}


def test_foreign_files_of_a_store_are_named(home, key):
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.pipe_file("/foreign/out/clean.jpg", b"x")
    report = protect_dataset("clean", "memory://foreign/out", key, profile="veil", overwrite=True)
    assert report.foreign == ["memory://foreign/out/clean.jpg"]


@posix
@pytest.mark.parametrize("workers", [1, 2])
def test_a_destination_that_becomes_a_link_after_the_run_began(home, key, monkeypatch, workers):
    victim = home / "pictures"
    victim.mkdir()
    real = Journal.begin

    def swapped(self, facts):
        real(self, facts)
        (home / "out").rename(home / "moved")
        (home / "out").symlink_to(victim)

    monkeypatch.setattr(Journal, "begin", swapped)
    with contextlib.suppress(OSError, DsguardError):
        protect_dataset("clean", home / "out", key, profile="veil", workers=workers, shard_size=60)
    assert not list(victim.iterdir())


def lay(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


OF_TOOLS = (".git/config", ".gitattributes", ".DS_Store", "a/.gitignore",
            ".cache/huggingface/upload/a/0.png.metadata")  # fmt: skip


def test_hidden_files_in_the_destination_are_named(home, key):
    """Whoever uploads a folder may not pass over them; dsguard may have restored into one."""
    hidden = [".thumbnails/x.png", "a/.clean.jpg", ".git/x.png", ".key", ".cache/x/clean.tar"]
    lay(home / "out", *hidden, *OF_TOOLS)
    report = protect_dataset("clean", "out", key, profile="veil", overwrite=True)
    assert report.foreign == [f"out/{name}" for name in sorted(hidden)]


def test_clean_shards_in_a_hidden_folder_are_not_published_around(home, key):
    protect_dataset("clean", "safe", key, profile="veil", out_format="webdataset")
    restore_dataset("safe", "out/.cache", key)
    with pytest.raises(InputError, match=r"out is not empty \(\.cache.* lies there\)"):
        protect_dataset("clean", "out", key, profile="veil")
    assert not (home / "out.dsguard").exists()
    report = protect_dataset("clean", "out", key, profile="veil", overwrite=True)
    assert {"out/.cache/00000.tar", "out/.cache.dsguard/settings.json"} < set(report.foreign)


def test_a_destination_may_have_hidden_files_of_tools(home, key):
    """One that was cloned to be pushed has."""
    lay(home / "out", *OF_TOOLS)
    report = protect_dataset("clean", "out", key, profile="veil")
    assert (report.done, report.foreign) == (240, [])
    assert {name for name in OF_TOOLS if (home / "out" / name).exists()} == set(OF_TOOLS)


def test_hidden_files_in_a_store_are_named(home, key):
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.pipe_file("/hidden/.cache/x.tar", b"x")
    system.pipe_file("/hidden/.git/config", b"x")
    with pytest.raises(InputError, match="is not empty"):
        protect_dataset("clean", "memory://hidden", key, profile="veil")
    report = protect_dataset("clean", "memory://hidden", key, profile="veil", overwrite=True)
    assert report.foreign == ["memory://hidden/.cache/x.tar"]


@posix
def test_a_link_that_changes_while_it_is_looked_at_leads_nowhere_else(tmp_path, monkeypatch):
    (tmp_path / "clean" / "real").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    for folder in ("clean/real", "secret"):
        (tmp_path / folder / "x.txt").write_text(folder)
    link = tmp_path / "clean" / "zz"
    link.symlink_to("real")
    real = os.path.realpath
    calls = iter(range(99))

    def swapped(path, **more):
        found = real(path, **more)
        if str(path).endswith("zz") and next(calls) == 0:
            link.unlink()
            link.symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(os.path, "realpath", swapped)
    with contextlib.suppress(OSError, InputError):
        assert LocalPlace(tmp_path / "clean").read("zz/x.txt") == b"clean/real"


@posix
def test_a_destination_that_becomes_a_link_once_the_journal_is_there(home, key, monkeypatch):
    (home / "public").mkdir()
    real = Journal.locked

    @contextlib.contextmanager
    def swapped(self):
        with real(self):
            if (home / "out").exists():
                (home / "out").rmdir()
            (home / "out").symlink_to(home / "public")
            yield

    monkeypatch.setattr(Journal, "locked", swapped)
    with contextlib.suppress(OSError, DsguardError):
        protect_dataset("clean", home / "out", key, profile="veil")
    assert not list((home / "public").iterdir())


@posix
@pytest.mark.parametrize("is_link", [True, False])
def test_a_journal_that_becomes_another_folder_is_not_cleared(home, key, monkeypatch, is_link):
    protect_dataset("clean", home / "out", key, profile="veil")
    (home / "mine" / "shards").mkdir(parents=True)
    (home / "mine" / "shards" / "x").write_text("mine")
    real = Journal.begin

    def swapped(self, facts):
        self.place.path.rename(home / "moved")
        if is_link:
            self.place.path.symlink_to(home / "mine")
        else:
            (home / "mine").rename(self.place.path)
        real(self, facts)

    monkeypatch.setattr(Journal, "begin", swapped)
    with pytest.raises((InputError, OSError)):
        protect_dataset("clean", home / "out", key, profile="veil", overwrite=True)
    where = home / "mine" if is_link else home / "out.dsguard"
    assert (where / "shards" / "x").read_text() == "mine"


@posix
def test_a_destination_and_its_journal_lie_in_one_folder(home, key, monkeypatch):
    """Or somebody else has put a link above them meanwhile: the journal tells what to remove."""
    (home / "stage").mkdir()
    (home / "mine" / "out").mkdir(parents=True)
    (home / "mine" / "out" / "x").write_text("mine")
    real = LocalPlace.hold

    def swapped(self):
        if self.private:  # the destination is held
            (home / "stage").rename(home / "moved")
            (home / "mine").rename(home / "stage")
        real(self)

    monkeypatch.setattr(LocalPlace, "hold", swapped)
    with pytest.raises(InputError, match="became another folder"):
        protect_dataset("clean", home / "stage" / "out", key, profile="veil", overwrite=True)
    assert (home / "stage" / "out" / "x").read_text() == "mine"


@posix
def test_a_destination_may_be_a_link_of_its_owner(home, key):
    (home / "elsewhere").mkdir()
    (home / "out").symlink_to("elsewhere")
    assert protect_dataset("clean", home / "out", key, profile="veil").done == 240
    assert (home / "elsewhere" / "a").is_dir()


@pytest.fixture
def cut_short(home, key, monkeypatch):
    """Return what begins to restore into a folder, and ends once some images are there."""
    protect_dataset("clean", "safe", key, profile="veil")

    def restore(files: int = 150, out: str = "out", **more) -> list[str]:
        real, left = LocalPlace.take, iter(range(files))

        def take(self, file, name):
            if not self.private and next(left, None) is None:
                raise OSError(errno.ENOSPC, "as if it were killed")
            real(self, file, name)

        with monkeypatch.context() as patch:
            patch.setattr(LocalPlace, "take", take)
            with pytest.raises(OSError, match="killed"):
                restore_dataset("safe", out, key, shard_size=100, **more)
        return names_in(home / out)

    return restore


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


OTHERS = {f"y/{n}.png" for n in range(8)}


def protect_others(home: Path, scenes, key, **settings):
    for name, file in zip(sorted(OTHERS), encode_images(scenes), strict=True):
        path = home / "others" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return protect_dataset("others", "out", key, profile="veil", overwrite=True, **settings)


def test_overwriting_removes_what_a_run_that_was_killed_has_restored(home, scenes, key, cut_short):
    assert len(cut_short()) == 150
    assert len(list((home / "out.dsguard" / "shards").iterdir())) == 1
    report = protect_others(home, scenes, key)
    assert (report.done, report.foreign) == (8, [])
    assert set(names_in(home / "out")) == OTHERS
    assert "intended" not in " ".join(map(str, (home / "out.dsguard").rglob("*")))


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_overwriting_removes_a_shard_without_its_manifest(
    home, scenes, key, monkeypatch, out_format
):
    protect_dataset("clean", "safe", key, profile="veil")

    def killed(*_: object) -> None:
        raise OSError(errno.ENOSPC, "as if it were killed")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", killed)
        with pytest.raises(OSError, match="killed"):
            restore_dataset("safe", "out", key, out_format=out_format)
    assert names_in(home / "out")
    assert protect_others(home, scenes, key).foreign == []
    assert set(names_in(home / "out")) == OTHERS


@pytest.mark.parametrize("how", ["journal", "added", "power"])
def test_overwriting_is_refused_where_files_may_be_of_a_run_that_was_killed(
    home, scenes, key, cut_short, how
):
    cut_short()
    if how == "journal":  # of a version that noted nothing
        shutil.rmtree(home / "out.dsguard" / "intended")
    elif how == "power":
        for path in (home / "out.dsguard" / "intended").iterdir():
            path.write_bytes(b"")
    else:
        (home / "out" / "a" / "mine.txt").write_text("mine")
    before = names_in(home / "out")
    with pytest.raises(InputError, match=r"out/.* may be of the run that was cut short.*remove it"):
        protect_others(home, scenes, key)
    assert names_in(home / "out") == before


def test_files_that_were_there_before_a_run_that_was_killed_stay(home, scenes, key, cut_short):
    (home / "out").mkdir()
    (home / "out" / "mine.png").write_bytes(b"mine")
    cut_short(overwrite=True)
    cut_short(overwrite=True)
    report = protect_others(home, scenes, key)
    assert report.foreign == ["out/mine.png"]
    assert set(names_in(home / "out")) == OTHERS | {"mine.png"}


def test_a_file_that_a_run_that_was_killed_was_to_replace_is_not_removed(
    home, scenes, key, cut_short
):
    (home / "out" / "a").mkdir(parents=True)
    (home / "out" / "a" / "0.png").write_bytes(b"mine")
    cut_short(files=0, overwrite=True)
    with pytest.raises(InputError, match=r"out/a/0\.png may be of the run"):
        protect_others(home, scenes, key)
    assert (home / "out" / "a" / "0.png").read_bytes() == b"mine"


def test_overwriting_removes_what_was_done_again_in_a_finished_run(home, scenes, key, cut_short):
    image = home / "safe" / "a" / "0.png"
    protect_dataset("clean", "safe", key, profile="veil")
    whole = image.read_bytes()
    image.write_bytes(b"broken")
    assert restore_dataset("safe", "out", key, shard_size=100).failed == 1
    image.write_bytes(whole)
    cut_short(files=20)
    assert protect_others(home, scenes, key).foreign == []
    assert set(names_in(home / "out")) == OTHERS


def test_sidecars_of_arrays_go_with_them(home, key):
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    (home / "arrays").mkdir()
    np.save(home / "arrays" / "x.npy", noise)
    assert protect_dataset("arrays", "out", key, profile="veil").sidecars
    assert names_in(home / "out") == ["x.npy", "x.npy.sidecars.npz"]
    assert protect_dataset("arrays", "out", key, profile="veil").foreign == []
    (home / "arrays" / "x.npy").rename(home / "arrays" / "z.npy")
    report = protect_dataset("arrays", "out", key, profile="veil", overwrite=True)
    assert names_in(home / "out") == ["z.npy", "z.npy.sidecars.npz"]
    assert report.foreign == []


def test_what_is_called_as_sidecars_is_named_where_there_are_none(home, scenes, key):
    (home / "arrays").mkdir()
    np.save(home / "arrays" / "x.npy", scenes)
    protect_dataset("arrays", "out", key, profile="veil")
    stray = Path("out", "x.npy.sidecars.npz")
    stray.write_bytes(b"x")
    assert protect_dataset("arrays", "out", key, profile="veil").foreign == [str(stray)]
