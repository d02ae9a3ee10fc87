"""Journals: forged ones harm nobody, others cannot read them, what they call done is on disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import ClassVar

import pytest

import dsguard
from dsguard import _atomic
from dsguard._atomic import write_new, write_whole
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.checks import check
from dsguard.bulk.journal import Journal
from dsguard.bulk.settings import Settings
from dsguard.errors import InputError
from dsguard.formats import encode_images, open_source
from dsguard.formats.places import LocalPlace, RemotePlace, without_password

posix = pytest.mark.skipif(os.name != "posix", reason="needs permissions and links of POSIX")


@pytest.fixture
def home(tmp_path, scenes):
    """A folder with a clean dataset in `clean`, and a file `mine` that is not part of it."""
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / "deep" / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    for folder in (tmp_path, tmp_path / "deep"):
        (folder / "mine").write_bytes(b"mine")
    return tmp_path / "deep"


def protect(home: Path, key, **settings):
    return protect_dataset(home / "clean", home / "out", key, profile="veil", **settings)


def manifest(home: Path) -> Path:
    return home / "out.dsguard" / "shards" / "00000.jsonl"


def mine_is_there(home: Path) -> bool:
    return all((folder / "mine").read_bytes() == b"mine" for folder in (home, home.parent))


def line(**changes) -> str:
    row = {"name": "a/0.png", "file": "a/0.png", "status": "protected", "error": None} | changes
    return json.dumps(row) + "\n"


FORGED = ["../mine", "../../mine", "a/../../mine", "{home}/mine", "a/./../../mine", "..\\mine",
          "", ".."]  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_forged_manifest_removes_nothing_outside(home, key, name, overwrite):
    name = name.format(home=home)
    protect(home, key)
    (home / "out" / "b" / "1.png").unlink()  # so that the shard is done again
    manifest(home).write_text(
        line(file=name) + line(beside=[name]) + line(name="b/1.png", file="b/1.png")
    )
    report = protect(home, key, overwrite=overwrite)
    assert mine_is_there(home)
    assert (report.done, report.resumed) == (8, 0)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_list_of_companions_removes_nothing_outside(home, key, name):
    protect(home, key)
    names = [name.format(home=home), "a/x.txt", {"a": 1}, None]
    (home / "out.dsguard" / "done").write_text(json.dumps(names))
    assert protect(home, key, overwrite=True).done == 8
    assert mine_is_there(home)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_forged_list_of_a_killed_shard_removes_nothing_outside(home, key, overwrite):
    protect(home, key)
    manifest(home).unlink()
    names = [*(name.format(home=home) for name in FORGED), "a", {"a": 1}, None]
    (home / "out.dsguard" / "intended").mkdir()
    (home / "out.dsguard" / "intended" / "00000-0.json").write_text(json.dumps(names))
    (home / "out.dsguard" / "intended" / "00000-1.json").write_bytes(b"\xff[")
    for file in (home / "out").rglob("*.png"):  # or they may be of anybody
        file.unlink()
    report = protect(home, key, overwrite=overwrite)
    assert mine_is_there(home)
    assert (report.done, report.resumed) == (8, 0)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_list_of_a_killed_shard_does_not_remove_through_links(home, key, overwrite):
    protect(home, key)
    manifest(home).unlink()
    (home / "other").mkdir()
    (home / "other" / "mine").write_bytes(b"mine")
    (home / "out" / "c").symlink_to(home / "other")
    (home / "out.dsguard" / "intended").mkdir()
    names = ["c/mine", *(f"{'ab'[n % 2]}/{n}.png" for n in range(8))]
    (home / "out.dsguard" / "intended" / "00000-0.json").write_text(json.dumps(names))
    with pytest.raises(InputError, match="leads out of"):
        protect(home, key, overwrite=overwrite)
    assert (home / "other" / "mine").exists()


def test_a_manifest_does_not_remove_through_links(home, key):
    protect(home, key)
    (home / "other").mkdir()
    (home / "other" / "mine").write_bytes(b"mine")
    (home / "out" / "c").symlink_to(home / "other")
    manifest(home).write_text(line(file="c/mine"))
    with pytest.raises(InputError, match="leads out of"):
        protect(home, key, overwrite=True)
    assert (home / "other" / "mine").exists()


@pytest.mark.parametrize(
    "text",
    [
        line(status="annotations", error="x"),
        line(status="__builtins__", error="x"),
        line(status="Any", error="x"),
        line(error=5),
        line(error=["x"]),
        line(beside=5),
        line(beside=[5]),
        line(file=None),
        "[" * 100_000,
        "5\n",
        '"name"\n',
        "\xff",
    ],
)
def test_odd_manifests_are_explained_or_done_again(home, key, text):
    protect(home, key)
    manifest(home).write_bytes(text.encode("latin-1"))
    report = verify_dataset(home / "out", key)
    assert report.done == 8
    assert protect(home, key).done in (8, 0)
    assert protect(home, key).done == 8


def test_odd_numbers_of_shards_are_no_shards(home, key):
    protect(home, key)
    shards = home / "out.dsguard" / "shards"
    for number in ("²", "1", "9" * 200, "-1", "0000a", "000001", "٣٤٥٦٧"):
        (shards / f"{number}.jsonl").write_text("")
    assert Journal(LocalPlace(home / "out.dsguard")).done() == {0}
    assert protect(home, key).resumed == 1
    assert verify_dataset(home / "out", key).done == 8


@pytest.mark.parametrize("text", ["[" * 100_000, "5", "\xff"])
def test_odd_settings_are_explained(home, key, text):
    protect(home, key)
    (home / "out.dsguard" / "settings.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(dsguard.FormatError, match="is damaged"):
        protect(home, key)
    (home / "out.dsguard" / "done").write_bytes(text.encode("latin-1"))
    assert protect(home, key, overwrite=True).done == 8


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in [folder, *folder.rglob("*")] if mode(path) & 0o077]


@posix
def test_only_the_owner_reads_a_journal(home, key):
    before = os.umask(0)
    try:
        protect(home, key, shard_size=3)
        assert not open_to_others(home / "out.dsguard")
        published = [path for path in (home / "out").rglob("*") if path.is_file()]
        assert {mode(path) for path in published} == {0o666}  # as the umask has it
        journal = home / "out.dsguard"
        for path in [journal, *journal.rglob("*")]:  # as an earlier version left it
            path.chmod(0o777 if path.is_dir() else 0o666)
        (journal / "surrogate.pt").write_bytes(b"as private as the key")
        assert protect(home, key, shard_size=3).resumed == 3
        assert not [path for path in open_to_others(journal) if path.is_file()]
        assert mode(journal) == 0o700  # nobody else gets to folders within
    finally:
        os.umask(before)


@posix
@pytest.mark.parametrize(("url", "noted"), [
    ("http://me:secret@host/a@b", "http://me:***@host/a@b"),
    ("simplecache::ftp://me:p@host/x", "simplecache::ftp://me:***@host/x"),
    ("http://me@host:80/a@b", "http://me@host:80/a@b"), ("s3://b/p:q@r", "s3://b/p:q@r"),
    ("a:b@c", "a:b@c"),
])  # fmt: skip
def test_a_journal_has_no_password(url, noted):
    assert without_password(url) == noted


def test_a_journal_in_a_repository_is_not_committed(home, key):
    """In a repository, the folder above the destination is what is published."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not here")
    subprocess.run([git, "-C", home, "init", "-q"], check=True)
    protect_dataset(home / "clean", home / "data", key, profile="veil")
    told = subprocess.run(
        [git, "-C", home, "status", "--porcelain", "-uall"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert " data/" in told
    assert "data.dsguard" not in told
    assert verify_dataset(home / "data", key).failed == 0


def test_what_is_not_whole_is_the_owners(home, key, monkeypatch):
    before = os.umask(0)
    try:
        place = LocalPlace(home / "new" / "out")
        (home / "old" / ".dsguard-tmp").mkdir(parents=True)
        for scratch in (place.scratch(), LocalPlace(home / "old").scratch()):
            assert mode(scratch) == 0o700
        assert mode(place.path) == 0o777
        monkeypatch.setattr("tempfile.tempdir", str(home))
        assert mode(RemotePlace("memory://out").scratch()) == 0o700
        with write_whole(home / "private", private=True) as file:
            file.write(b"secret")
            assert [mode(path) for path in home.glob(".dsguard-*.tmp")] == [0o600]
        assert mode(home / "private") == 0o600
    finally:
        os.umask(before)


@posix
def test_a_folder_that_somebody_else_made_is_not_used(home, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(home))
    (home / "theirs").mkdir()
    (home / f"dsguard-{os.getuid()}").symlink_to(home / "theirs")
    with pytest.raises(InputError, match="TMPDIR"):
        RemotePlace("memory://out").scratch()


@posix
def test_surrogates_are_the_owners(home):
    torch = pytest.importorskip("torch")
    from dsguard.networks.training import save_whole

    before = os.umask(0)
    try:
        save_whole({"x": torch.zeros(1)}, home / "surrogate.pt")
    finally:
        os.umask(before)
    assert mode(home / "surrogate.pt") == 0o600


@posix
def test_a_lock_that_is_a_link_is_not_opened(home, key):
    (home / "out.dsguard").mkdir()
    (home / "out.dsguard" / "lock").symlink_to(home / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        protect(home, key)
    assert mine_is_there(home)


def test_a_journal_does_not_lie_among_images(home, key):
    """A class may be called like the journal of another, restored beside it."""
    (home / "a.dsguard").mkdir()
    (home / "a.dsguard" / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match="of no run"):
        protect_dataset(home / "clean", home / "a", key, profile="veil")
    assert [path.name for path in (home / "a.dsguard").iterdir()] == ["0.png"]


@posix
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_a_journal_that_is_a_link_is_not_written_through(home, key, exists, overwrite):
    theirs = home / "theirs"
    if exists:
        for name in ("done", "lock", "settings.json", "shards/00000.jsonl", "stamps/00000"):
            (theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (theirs / name).write_text("{}")
        theirs.chmod(0o755)
    (home / "out.dsguard").symlink_to(theirs)
    before = {path: path.lstat().st_mode for path in home.rglob("*")}
    with pytest.raises(InputError, match="is a link, and the journal"):
        protect(home, key, overwrite=overwrite)
    with pytest.raises(InputError, match="is a link, and the journal"):
        check(open_source(home / "clean"), home / "out", Settings(overwrite=overwrite))
    assert {path: path.lstat().st_mode for path in home.rglob("*")} == before


FOREIGN = ["shards/00000.tar", "shards/00000.parquet", "stamps/x.npz", "stamps/mine", "mine",
           "left-out/mine.json", "shards/a/0.jsonl", "settings.json.bak"]  # fmt: skip


@pytest.mark.parametrize("name", [*FOREIGN, "done/mine", "done", "shards/00000.jsonl"])
def test_a_folder_of_others_does_not_become_a_journal(home, key, name):
    _is_refused(home, key, name)


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_in_a_journal_are_not_removed(home, key, name):
    protect(home, key)
    _is_refused(home, key, name)


def _is_refused(home: Path, key, name: str) -> None:
    path = home / "out.dsguard" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    before = mode(path)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="of no run"):
            protect(home, key, overwrite=overwrite)
    assert path.read_bytes() == b"mine"
    assert mode(path) == before


def test_a_folder_of_others_does_not_become_a_journal_elsewhere(home, key):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe_file("/journals/out.dsguard/shards/00000.tar", b"mine")
    with pytest.raises(InputError, match="of no run"):
        protect_dataset(home / "clean", "memory://journals/out", key, profile="veil")
    assert store.cat_file("/journals/out.dsguard/shards/00000.tar") == b"mine"


def test_hidden_files_of_the_desktop_may_lie_in_a_journal(home, key):
    protect(home, key)
    (home / "out.dsguard" / ".DS_Store").write_bytes(b"")
    assert protect(home, key).resumed == 1


@pytest.mark.parametrize("source", ["out.dsguard", "out.dsguard/shards"])
def test_the_source_does_not_lie_in_the_journal(home, key, source):
    """What is there may look like a journal: the source is not to be written to all the same."""
    (home / source).mkdir(parents=True)
    for name in ("settings.json", "done"):
        (home / "out.dsguard" / name).write_bytes(b"{}")
    shard = home / source / "00000.tar"
    with tarfile.open(shard, "w") as archive:
        archive.add(home / "clean" / "a" / "0.png", "0.png")
    before = shard.read_bytes()
    for given in (home / source, shard):
        with pytest.raises(InputError, match="lie in each other"):
            protect_dataset(given, home / "out", key, profile="veil", overwrite=True)
    assert shard.read_bytes() == before
    assert (home / "out.dsguard" / "done").read_bytes() == b"{}"


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_what_a_manifest_calls_done_is_on_the_disk_before_it(home, key, monkeypatch, out_format):
    """Order is all that can be seen without cutting the power."""
    events: list[str] = []
    replace, fsync = os.replace, os.fsync

    def noted_replace(old, new, **folders):
        replace(old, new, **folders)
        events.append(f"named {Path(new).name}")

    def noted_fsync(file):
        fsync(file)
        events.append("flushed")

    def noted_sync(folder):
        if Path(folder).name == "out":  # where nothing is half written then
            assert not list((Path(folder) / ".dsguard-tmp").glob("*"))
        events.append("synced")

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr("dsguard.formats.places.local.sync_disk", noted_sync)
    protect(home, key, out_format=out_format, shard_size=8)
    done = events.index("named 00000.jsonl")
    assert "synced" in events[:done]
    assert not [event for event in events[events.index("synced") : done] if ".png" in event]
    assert events[done - 1] == "flushed"  # the manifest itself, before it has its name
    assert "synced" in events[done : events.index("named done")]
    assert events[-1] == "synced"


def test_whole_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    events: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *a: (events.append("named"), replace(*a)))
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("flushed"), fsync(file)))
    with write_whole(tmp_path / "x") as file:
        file.write(b"content")
    assert events == ["flushed", "named", *(["flushed"] if os.name == "posix" else [])]
    write_new(tmp_path / "y", b"secret")
    assert events[-1] == "flushed"


def test_syncing_a_disk(tmp_path, monkeypatch):
    _atomic.sync_disk(tmp_path)
    monkeypatch.setattr(_atomic, "_syncfs", lambda: None)  # of other systems
    _atomic.sync_disk(tmp_path)
    if os.name == "posix":
        monkeypatch.setattr(_atomic, "_syncfs", lambda: lambda descriptor: -1)
        with pytest.raises(OSError, match=str(tmp_path)):
            _atomic.sync_disk(tmp_path)


def test_a_lock_of_windows_is_on_no_byte_that_somebody_reads(tmp_path, monkeypatch):
    locked: set[int] = set()

    def locking(number, mode, count):
        at = os.lseek(number, 0, os.SEEK_CUR)
        assert (mode, count) == (2, 1)
        if at in locked:
            raise PermissionError
        locked.add(at)

    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / "lock").write_bytes(b"0123")
    with (tmp_path / "lock").open("rb", buffering=0) as file:
        file.seek(2)
        assert _atomic.lock(file)
        assert file.read() == b"23", "the place in the file stays"
        assert not _atomic.lock(file), "it is locked already"
    assert min(locked) >= 1 << 40


@posix
def test_a_file_system_without_locks_is_told_from_another_run(home, key, monkeypatch):
    import fcntl

    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match=r"lock cannot be locked \(No locks available\).*mount"):
        protect(home, key)
    assert not (home / "out").exists()


def test_an_interrupted_run_goes_on_with_a_journal_of_an_earlier_version(home, key):
    protect(home, key, shard_size=3)
    (home / "out.dsguard" / "shards" / "00001.jsonl").unlink()
    report = protect(home, key, shard_size=3)
    assert (report.resumed, report.done) == (2, 8)
    assert restore_dataset(home / "out", home / "back", key).done == 8


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("beside/00000.json", b'{"left_out": {"x": {"count": "a", "first": "b", "reason": "c"}}}'),
        ("beside/00000.json", b'{"left_out": {"x": {}}, "also": ["a"]}'),
        ("beside/00000.json", b'{"left_out": {"x": {"count": 1e400, "first": 1, "reason": 2}}}'),
        ("done", b'["a"]'),
        ("companions.json", b'["a", "b"]'),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_forged_journal_ends_no_run(home, key, file, content, overwrite):
    """Here `a` and `b` are folders of images."""
    protect(home, key)
    path = home / "out.dsguard" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    report = protect(home, key, overwrite=overwrite)
    assert (report.done, report.failed) == (8, 0)


@pytest.fixture
def buckets():
    """A store whose first part of a path is a bucket: all that is there, by bucket and name."""
    fsspec = pytest.importorskip("fsspec")

    class Buckets(fsspec.get_filesystem_class("memory")):
        protocol = "oss"
        store: ClassVar[dict[str, object]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("oss://", "memory://"))

    fsspec.register_implementation("oss", Buckets, clobber=True)
    system = fsspec.filesystem("oss", skip_instance_cache=True)
    yield system
    system.store.clear()


@pytest.mark.parametrize("end", ["", "/"])
def test_no_journal_lies_in_another_bucket(home, key, buckets, end):
    with pytest.raises(InputError, match=r"whole bucket.*like oss://mine/protected$"):
        protect_dataset(home / "clean", f"oss://mine{end}", key, profile="veil", overwrite=True)
    with pytest.raises(InputError, match="whole bucket"):
        check(open_source(home / "clean"), f"oss://mine{end}", Settings())
    assert not buckets.store
    assert protect_dataset(home / "clean", "oss://mine/out", key, profile="veil").done == 8
    assert {name.split("/")[1] for name in buckets.store} == {"mine"}


def test_the_journal_of_a_bucket_is_looked_for_in_no_other(home, key, buckets):
    for path in (home / "clean").rglob("*.png"):
        buckets.pipe_file(f"/mine/{path.parent.name}/{path.name}", path.read_bytes())
    buckets.pipe_file("/mine.dsguard/settings.json", b"{}")
    report = protect_dataset("oss://mine", home / "out", key, profile="veil")
    assert (report.done, report.unfinished, report.journal_damaged) == (8, False, False)
    for path in (home / "out").rglob("*.png"):
        buckets.pipe_file(f"/safe/{path.name}", path.read_bytes())
    buckets.pipe_file("/safe.dsguard/shards/00000.jsonl", line(file="gone.png").encode())
    assert verify_dataset("oss://safe", key).lost == 0


ROOTS = {
    "s3://mine": True, "s3://mine//": True, "s3://mine/a": False, "gs://mine": True,
    "simplecache::s3://mine": True,
    "s3://arn:aws:s3:eu-west-1:1:accesspoint/mine": True,
    "s3://arn:aws:s3:eu-west-1:1:accesspoint/mine/a": False,
    "hf://datasets/me/mine": True, "hf://datasets/me/mine/a": False, "hf://me/mine": True,
    "hf://me/mine/a": False, "smb://host/share": True, "smb://host/share/a": False,
    "https://host:8080/": True, "https://host?x=1": True, "https://host/a": False,
    "memory://": True, "memory://a": False,
}  # fmt: skip


@pytest.mark.parametrize("url", ROOTS)
def test_beside_a_root_lies_nothing(url):
    place = RemotePlace(url)
    assert place.is_root() == ROOTS[url]
    if ROOTS[url]:
        with pytest.raises(InputError, match="give a folder in it"):
            place.beside(".dsguard")
    else:
        assert str(place.beside(".dsguard")) == f"{url}.dsguard"


def test_a_journal_that_was_made_without_the_key_is_refused(home, key):
    """All but its code is public: a stranger could say that their own pictures were restored."""
    assert protect(home, key).done == 8
    assert restore_dataset(home / "out", home / "back", key).done == 8
    settings = home / "back.dsguard" / "settings.json"
    told = json.loads(settings.read_text())
    before = {path: path.read_bytes() for path in (home / "back").rglob("*.png")}
    for code in ("", "0" * 64, None):
        forged = {**told, "code": code} if code is not None else dict(told)
        if code is None:
            del forged["code"]
        settings.write_text(json.dumps(forged))
        with pytest.raises(InputError, match="was made by no run with this key"):
            restore_dataset(home / "out", home / "back", key)
        assert {path: path.read_bytes() for path in (home / "back").rglob("*.png")} == before
    settings.write_text(json.dumps(told))
    assert restore_dataset(home / "out", home / "back", key).resumed == 1
