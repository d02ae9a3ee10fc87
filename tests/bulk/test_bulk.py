"""Runs over whole datasets: interrupted, killed, repeated, on damaged data, on other engines."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import (
    Protect,
    Restore,
    Selection,
    Settings,
    TooManyErrors,
    Verify,
    WorkerError,
    engines,
    process_shard,
    protect_dataset,
    restore_dataset,
    run,
    verify_dataset,
)
from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.codecs import codec_named
from dsguard.covers import (
    Attacked,
    Blank,
    DrawnPatterns,
    FittedPatterns,
    Itself,
    Marked,
    Other,
    Patterns,
    Preview,
)  # fmt: skip
from dsguard.formats import decode_image, encode_images, open_source
from dsguard.formats.places import LocalPlace, place_of


@pytest.fixture
def home(tmp_path, monkeypatch, scenes, key):
    """A working folder with a key, and 96 protected images of three classes, in `safe`."""
    monkeypatch.chdir(tmp_path)
    key.save("k")
    images = np.concatenate([np.roll(scenes, shift, axis=(1, 2)) for shift in range(12)])
    patterns = Patterns.drawn(range(3), key)
    numbers = np.arange(len(images)) % 3
    target = patterns.added(images, images, numbers, 16, 4)
    done = dsguard.protect_batch(images, key, target=target)
    files = encode_images(done.images, sidecars=done.sidecars)
    for n, (file, clean) in enumerate(zip(files, encode_images(images), strict=True)):
        for root, data in (("safe", file), ("clean", clean)):
            path = tmp_path / root / "abc"[n % 3] / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    """Return the digest of each file under a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_manifest_tells_what_became_of_each_image(home, key):
    (home / "safe" / "a" / "0.png").write_bytes(b"broken")
    report = restore_dataset("safe", "back", key, shard_size=20)
    assert (report.done, report.failed, report.shards) == (95, 1, 5)
    lines = [
        json.loads(line)
        for path in sorted((home / "back.dsguard" / "shards").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == 96
    for line in lines:
        data = (home / "safe" / line["name"]).read_bytes()
        assert line["sha256_in"] == hashlib.sha256(data).hexdigest()
        assert line["key_id"] == key.key_id
        if line["name"] == "a/0.png":
            assert line["status"] == "DamagedImageError"
            assert "not an image" in line["error"]
        else:
            restored = (home / "back" / line["name"]).read_bytes()
            assert line["sha256_out"] == hashlib.sha256(restored).hexdigest()
            assert (line["status"], line["error"], line["profile"]) == ("restored", None, "exact")
    assert not list(home.rglob("*tmp*"))
    assert not (home / "back" / "a" / "0.png").exists()


def test_shards_that_are_done_are_left_alone_and_failed_ones_tried_again(home, key):
    good = (home / "safe" / "b" / "1.png").read_bytes()
    (home / "safe" / "b" / "1.png").write_bytes(good[:-100])
    first = restore_dataset("safe", "back", key, shard_size=20)
    assert first.failed == 1
    before = {path: path.stat().st_mtime_ns for path in (home / "back").rglob("*.png")}
    (home / "safe" / "b" / "1.png").write_bytes(good)
    second = restore_dataset("safe", "back", key, shard_size=20)
    assert (second.done, second.failed, second.resumed) == (96, 0, 4)
    after = {path: path.stat().st_mtime_ns for path in (home / "back").rglob("*.png")}
    assert sum(after[path] == before.get(path) for path in after) == 76
    third = restore_dataset("safe", "back", key, shard_size=20)
    assert third.resumed == 5


def test_another_run_is_refused(home, key):
    restore_dataset("safe", "back", key)
    for changes in ({"shard_size": 7}, {"image_format": "tiff"}, {"out_format": "webdataset"}):
        with pytest.raises(dsguard.InputError, match="output of another run"):
            restore_dataset("safe", "back", key, **changes)
    other = dsguard.DatasetKey.generate()
    with pytest.raises(dsguard.InputError, match=f"key was {key.key_id}, is {other.key_id}"):
        restore_dataset("safe", "back", other)
    (home / "safe" / "a" / "new.png").write_bytes((home / "safe" / "a" / "0.png").read_bytes())
    with pytest.raises(dsguard.InputError, match="the source has other images"):
        restore_dataset("safe", "back", key)
    assert restore_dataset("safe", "back", key, overwrite=True).done == 97


def test_foreign_files_are_not_written_among(home, key):
    (home / "back").mkdir()
    (home / "back" / "mine").write_text("x")
    with pytest.raises(dsguard.InputError, match=r"not empty \(.*\) and was not begun by dsguard"):
        restore_dataset("safe", "back", key)
    assert content(home / "back").keys() == {"mine"}
    assert not (home / "back.dsguard").exists()


def hold(path: str, ready, stop) -> None:
    with Journal(LocalPlace(Path(path))).locked():
        ready.set()
        stop.wait(60)


def test_one_run_at_a_time(home, key):
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(home / "back.dsguard"), ready, stop))
    other.start()
    assert ready.wait(60)
    with pytest.raises(dsguard.InputError, match="another run is writing"):
        restore_dataset("safe", "back", key)
    other.kill()  # which frees the lock
    other.join()
    assert restore_dataset("safe", "back", key).done == 96


COMMAND = [sys.executable, "-m", "dsguard"]


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(home, out_format):
    options = ["--key", "k", "--shard-size", "8", "--out-format", out_format, "--workers", "2"]
    whole = [*COMMAND, "restore", "safe", "whole", *options]
    start = time.monotonic()
    subprocess.run(whole, check=True, capture_output=True)
    seconds = time.monotonic() - start
    expected = content(home / "whole")
    rng = random.Random(out_format)
    command = [*COMMAND, "restore", "safe", "back", *options]
    for _ in range(4):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(0.3, 1) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert content(home / "back") == expected
    assert not list(home.rglob(".dsguard-tmp"))
    with_manifest = content(home / "whole.dsguard").keys()
    assert content(home / "back.dsguard").keys() == with_manifest


@pytest.fixture
def interruptible():
    """Let processes that are begun here hear SIGINT, which those in a shell's background do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_the_shard_or_leaves_it(home, interruptible, number):
    copies = 10  # so many shards that it is still at work when the signal comes
    for n in range(copies):
        shutil.copytree(home / "safe", home / "many" / str(n))
    command = [*COMMAND, "restore", "many", "back", "--key", "k", "--shard-size", "1"]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, text=True)
    while not list((home / "back.dsguard").glob("shards/*.jsonl")):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    _, told = process.communicate(timeout=600)
    assert process.returncode == Exit.INTERRUPTED, told
    assert "interrupted" in told
    written = set((home / "back").rglob("*.png"))
    noted = list((home / "back.dsguard" / "shards").glob("*.jsonl"))
    assert 0 < len(written) == len(noted) < 96 * copies
    assert cli([*command[3:]]) == Exit.OK
    assert len(list((home / "back").rglob("*.png"))) == 96 * copies


def test_a_pool_gives_the_bytes_of_one_process(home, key):
    restore_dataset("safe", "one", key, shard_size=10)
    restore_dataset("safe", "pool", key, shard_size=10, workers=2)
    assert content(home / "one") == content(home / "pool")


def test_an_engine_of_ones_own(home, key):
    def backwards(specs, workers):
        assert workers is None
        yield from map(process_shard, reversed(specs))

    restore_dataset("safe", "one", key, shard_size=10)
    report = restore_dataset("safe", "own", key, shard_size=10, engine=backwards)
    assert report.done == 96
    assert content(home / "one") == content(home / "own")


def die_once(spec):
    mark = Path("died")
    if spec.number == 2 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return process_shard(spec)


def die(spec):
    os.kill(os.getpid(), signal.SIGKILL)


def processes_of(session: int) -> set[int]:
    """Return the processes of a session."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.add(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the processes")
def test_workers_end_with_a_run_that_is_killed(home):
    for n in range(10):
        shutil.copytree(home / "safe", home / "many" / str(n))
    command = [*COMMAND, "restore", "many", "back", "--key", "k", "--shard-size", "1"]
    process = subprocess.Popen([*command, "--workers", "2"], start_new_session=True)
    while not list((home / "back.dsguard").glob("shards/*.jsonl")):
        time.sleep(0.01)
    assert len(processes_of(process.pid)) > 2
    process.kill()
    process.wait()
    while processes_of(process.pid):  # the time limit of tests ends it
        time.sleep(0.01)


def test_a_worker_that_is_killed_is_replaced(home, key, monkeypatch):
    monkeypatch.setattr(engines, "process_shard", die_once)
    report = restore_dataset("safe", "back", key, shard_size=10, workers=2)
    assert (home / "died").exists()
    assert report.done == 96
    monkeypatch.setattr(engines, "process_shard", die)
    with pytest.raises(WorkerError, match="killed 3 times"):
        restore_dataset("safe", "again", key, shard_size=10, workers=2)


def test_class_wise_protection_of_whole_datasets(home, key):
    cover = Marked(Itself(), FittedPatterns(Patterns.drawn(range(3), key)))
    task = Protect(key, cover, codec_named("exact"), ("a", "b", "c"))
    report = run(open_source("clean"), task, "out", Settings(shard_size=30))
    assert report.done == 96
    assert content(home / "out") == content(home / "safe")
    (home / "clean" / "d").mkdir()
    shutil.copy(home / "clean" / "a" / "0.png", home / "clean" / "d" / "0.png")
    report = run(open_source("clean"), task, "more")
    assert (report.done, list(report.failures)) == (96, ["d/0.png"])
    assert "not trained on its class, 'd'" in str(report.failures["d/0.png"])


def test_a_long_class_is_shown_in_short(tmp_path, scenes, key):
    """A label can be a picture: what is said of it goes to the terminal and into the manifest."""
    np.savez(tmp_path / "x.npz", x_train=scenes[:2], y_train=np.array(["a", "b" * 5000]))
    cover = Marked(Itself(), FittedPatterns(Patterns.drawn(range(1), key)))
    task = Protect(key, cover, codec_named("exact"), ("a",))
    report = run(open_source(tmp_path / "x.npz"), task, tmp_path / "out")
    (error,) = report.failures.values()
    assert "not trained on its class, 'bbbb" in str(error)
    assert len(str(error)) < 300


COVERS = {
    "itself": Itself(),
    "blank": Blank(),
    "preview": Preview(4),
    "drawn patterns": Marked(Itself(), DrawnPatterns(dsguard.DatasetKey(bytes(32)))),
    "drawn patterns on blank": Marked(Blank(), DrawnPatterns(dsguard.DatasetKey(bytes(32)))),
    "other": Other(dsguard.DatasetKey(bytes(32))),
}


@pytest.mark.parametrize("cover", COVERS.values(), ids=COVERS)
def test_whole_datasets_take_any_cover(home, key, cover):
    """They come out as from one array, however they are cut."""
    names = sorted(path.relative_to(home / "clean").as_posix()
                   for path in (home / "clean").rglob("*.png"))  # fmt: skip
    images = np.stack([decode_image((home / "clean" / name).read_bytes()) for name in names])
    labels = ["abc".index(name[0]) for name in names]
    one = dsguard.protect_batch(images, key, cover=cover, labels=labels, codec="veil")
    for out, size in (("whole", 1000), ("cut", 7)):
        report = protect_dataset("clean", out, key, cover=cover, codec="veil", shard_size=size)
        assert (report.done, report.failed) == (96, 0)
        files = [(home / out / name).read_bytes() for name in names]
        assert np.array_equal([decode_image(file) for file in files], one.images)
    assert restore_dataset("whole", "back", key).done == 96
    assert content(home / "back") == content(home / "clean")


def test_an_attack_on_each_image_needs_a_file_that_workers_can_read(quick_networks, home, key):
    pytest.importorskip("torch")
    from dsguard.fsp import Attack, Recipe, fit_surrogate

    for path in list(Path("clean").rglob("*.png")):
        if int(path.stem) >= 24:  # each image is attacked for itself, which takes a while
            path.unlink()
    names = sorted(path.relative_to("clean").as_posix() for path in Path("clean").rglob("*.png"))
    images = np.stack([decode_image(Path("clean", name).read_bytes()) for name in names])
    labels = ["abc".index(name[0]) for name in names]
    surrogate = fit_surrogate(
        images, labels, recipe=Recipe(epochs=1), width=8, class_names=("a", "b", "c"), device="cpu"
    )
    surrogate.save("s.pt")
    report = protect_dataset("clean", "out", key, "s.pt", profile="paper", shard_size=12)
    assert (report.done, report.failed) == (24, 0)
    attack = Marked(Itself(), Attacked(surrogate, Attack(16, "sample-wise")))
    one = dsguard.protect_batch(images[:4], key, cover=attack, labels=labels[:4], codec="paper")
    shown = np.stack([decode_image(Path("out", name).read_bytes()) for name in names[:4]])
    far = np.abs(one.images.astype(int) - shown) > 0
    assert far.mean() < 0.02, (
        "the recipe of the paper, here as there; other batches round otherwise"
    )
    with pytest.raises(dsguard.InputError, match="needs a surrogate"):
        protect_dataset("clean", "more", key, profile="paper")
    with pytest.raises(dsguard.InputError, match="takes no surrogate"):
        protect_dataset("clean", "more", key, "s.pt", profile="veil")


def test_it_is_said_of_how_many_images_a_part_is_published_as_it_is(tmp_path, key, scenes):
    alpha = scenes[:4, :, :, :1].copy()
    alpha[0] = 255
    with_alpha = np.concatenate([scenes[:4], alpha], axis=3)
    images = [*with_alpha, *scenes[:2], *scenes[:2, :15, :15], *scenes[:2, :31]]
    (tmp_path / "clean").mkdir()
    for number, image in enumerate(images):
        (file,) = encode_images(image[None], "png")
        (tmp_path / "clean" / f"{number}.png").write_bytes(file)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    assert (report.done, report.as_they_are) == (10, 5), "3 of alpha, 2 of 15x15"


def test_it_is_said_of_how_many_images_little_could_be_changed(tmp_path, key, scenes):
    """Black and white are at the ends of their range: a pattern moves half of the blocks only."""
    harsh = np.where(scenes > 128, 255, 0).astype(np.uint8)
    for number, image in enumerate(np.concatenate([harsh, scenes])):
        path = tmp_path / "clean" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_images(image[None], "png")[0])
    cover = Marked(Itself(), DrawnPatterns(key))
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, cover=cover, codec="exact")
    assert (report.done, report.as_they_are) == (16, 8)
    sealed = protect_dataset(tmp_path / "clean", tmp_path / "sealed", key)
    assert (sealed.done, sealed.as_they_are) == (16, 0)


def test_old_names_say_what_they_are_now():
    from dsguard import bulk

    with pytest.raises(AttributeError, match=r"Marked\(Other\(key\), DrawnPatterns"):
        bulk.Veil  # noqa: B018


def test_a_veil_is_the_same_however_it_is_cut_and_interrupted(home, key):
    def protect(out, **settings):
        return protect_dataset("clean", out, key, profile="veil", **settings)

    protect("one", shard_size=40)
    protect("two", shard_size=40, workers=2)
    assert content(home / "one") == content(home / "two")
    shutil.rmtree(home / "two" / "b")
    (home / "two.dsguard" / "shards" / "00001.jsonl").unlink()
    assert protect("two", shard_size=40).resumed == 1
    assert content(home / "two") == content(home / "one")


def test_selection(home, key):
    chosen = Selection(include=("a/*", "b/*"), exclude=("*/1*.png",), limit=10)
    report = restore_dataset("safe", "back", key, selection=chosen)
    assert report.done == 10
    names = content(home / "back")
    assert sum(name.startswith("a/") for name in names) == 5
    assert not any(name.startswith("c/") or "/1" in name for name in names)
    with pytest.raises(dsguard.InputError, match="no images that are wanted"):
        restore_dataset("safe", "none", key, selection=Selection(include=("z/*",)))


def test_text_beside_images_that_are_not_chosen_stays_behind(home, key):
    texts = ("a/0.txt", "b/1.txt", "c/2.txt", "README.md", "b/notes.txt")
    for name in texts:
        (home / "clean" / name).write_text("a cat\n")
    for destination, out_format in (("folder", "folder"), ("shards", "webdataset")):
        protect_dataset(
            "clean", destination, key, profile="veil", selection=Selection(exclude=("b/*",)),
            out_format=out_format,
        )  # fmt: skip
    found = {name for name in content(home / "folder") if not name.endswith(".png")}
    assert found == {*texts, SEALED_FILES} - {"b/1.txt", "b/notes.txt"}
    beside = {name for name in content(home / "shards") if not name.endswith(".tar")}
    assert beside == {"README.md", SEALED_FILES}


@pytest.mark.parametrize("source", ["clean", "clean.zip"])
def test_what_is_excluded_is_not_published_beside_the_images_either(home, key, source):
    for name in ("private/patients.csv", "private/scan.pdf", "a/private/x.txt", "labels.csv"):
        path = home / "clean" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("name\nAnn\n")
    if source.endswith(".zip"):
        shutil.make_archive("clean", "zip", home / "clean")
    chosen = Selection(exclude=("private/*", "*/private/*"))
    report = protect_dataset(source, "out", key, profile="veil", selection=chosen)
    assert (report.done, report.left_out) == (96, {})
    published = {name for name in content(home / "out") if not name.endswith(".png")}
    assert published == {"labels.csv", SEALED_FILES}
    publish = {"selection": chosen, "publish": ("*.csv", "*.pdf")}
    protect_dataset(source, "told", key, profile="veil", **publish)
    assert not any("private" in name for name in content(home / "told"))
    protect_dataset(source, "all", key, profile="veil")
    assert "private/patients.csv" in content(home / "all")


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_text_beside_images_is_excluded_by_its_own_name(home, key, out_format):
    for n in range(0, 96, 3):
        for kind in ("note", "txt"):
            (home / "clean" / "a" / f"{n}.{kind}.txt").write_text(f"a {kind} of {n}\n")
    chosen = Selection(exclude=("*.note.txt",))
    report = protect_dataset(
        "clean", "out", key, profile="veil", selection=chosen, out_format=out_format
    )
    assert report.done == 96
    protect_dataset("clean", "all", key, profile="veil", out_format=out_format)
    data = [
        b"".join(path.read_bytes() for path in (home / name).rglob("*") if path.is_file())
        for name in ("out", "all")
    ]
    assert [b"a note of 3" in each for each in data] == [False, True]
    assert [b"a txt of 3" in each for each in data] == [True, True]


def test_errors_can_end_a_run(home, key):
    for n in (0, 3, 6):
        (home / "safe" / "a" / f"{n}.png").write_bytes(b"x")
    with pytest.raises(TooManyErrors, match="accepted: 1"):
        restore_dataset("safe", "back", key, most_errors=1)
    assert restore_dataset("safe", "back", key, most_errors=3).failed == 3
    options = ["--key", "k", "--on-error", "fail", "--shard-size", "8"]
    assert cli(["restore", "safe", "cli", *options]) == Exit.SOME_FAILED
    assert len(list((home / "cli").rglob("*.png"))) < 93


def test_damaged_inputs(home, key, capsys):
    safe = home / "safe"
    data = (safe / "a" / "0.png").read_bytes()
    (safe / "a" / "truncated.png").write_bytes(data[:-200])
    (safe / "a" / "empty.png").write_bytes(b"")
    (safe / "a" / "text.png").write_text("hello")
    (safe / "a" / "really.tiff").write_bytes(data)
    image = decode_image(data).copy()
    image[5, 5] ^= 1
    (safe / "a" / "changed.png").write_bytes(encode_images(image[None])[0])
    (safe / "a" / "clean.png").write_bytes((home / "clean" / "a" / "0.png").read_bytes())
    (safe / "a" / "dangling.png").symlink_to("nowhere")
    (safe / "a" / "loop.png").symlink_to("loop.png")
    os.mkfifo(safe / "a" / "pipe.png")
    assert cli(["restore", "safe", "back", "--key", "k", "--json"]) == Exit.DAMAGED
    result = json.loads(capsys.readouterr().out)
    assert result["restored"] == 97  # a PNG file under another suffix is one nevertheless
    expected = {
        "truncated": "cannot be read",
        "empty": "is not an image file",
        "text": "is not an image file",
        "changed": "was changed after it was protected",
        "clean": "carries no dsguard header",
        "dangling": "No such file or directory",
        "loop": "Too many levels of symbolic links",
    }
    assert sorted(result["failures"]) == sorted(f"a/{name}.png" for name in expected)
    for name, message in expected.items():
        assert message in result["failures"][f"a/{name}.png"]
    assert cli(["verify", "safe", "--key", "k"]) == Exit.DAMAGED
    assert "93.3% intact: 97 of 104" in capsys.readouterr().out


def test_a_damaged_shard_gives_what_comes_before_the_damage(home, key):
    restore_dataset("safe", "tars", key, out_format="webdataset", shard_size=50)
    protect_dataset("tars", "veiled", key, profile="veil")
    first = home / "veiled" / "00000.tar"
    first.write_bytes(first.read_bytes()[:-20_000])
    report = restore_dataset("veiled", "back", key)
    last, shard = report.failures
    assert (last[:6], shard) == ("00000/", "00000.tar")
    assert "right before the damage" in str(report.failures[last])  # its label may be lost
    assert "damaged or truncated" in str(report.failures[shard])
    assert 46 + 20 < report.done < 96
    others = Selection(exclude=("00001/*",))
    report = restore_dataset("veiled", "some", key, selection=others)
    assert list(report.failures) == [last, shard]
    options = ["--key", "k", "--exclude", "00000/*"]
    assert cli(["restore", "veiled", "rest", *options, "--dry-run"]) == Exit.SOME_FAILED
    assert cli(["restore", "veiled", "rest", *options]) == Exit.SOME_FAILED
    assert len(list((home / "rest").glob("*.tar"))) == 1


def test_a_damaged_parquet_file_does_not_stop_the_others(home, key):
    pytest.importorskip("pyarrow")
    restore_dataset("safe", "tables", key, out_format="parquet", shard_size=40)
    protect_dataset("tables", "veiled", key, profile="veil")
    first, second = sorted((home / "veiled").glob("*.parquet"))[:2]
    whole = first.read_bytes(), second.read_bytes()
    first.write_bytes(first.read_bytes()[:-2000])
    second.write_bytes(b"")
    assert cli(["restore", "veiled", "back", "--key", "k"]) == Exit.SOME_FAILED
    report = restore_dataset("veiled", "back", key)
    assert sorted(report.failures) == [first.name, second.name]
    assert all("is damaged" in str(error) for error in report.failures.values())
    assert report.done == 96 - 2 * 40
    first.write_bytes(whole[0])
    second.write_bytes(whole[1])
    assert restore_dataset("veiled", "back", key).done == 96  # repaired, it goes on


def test_a_repaired_parquet_file_that_is_cut_lets_its_run_go_on(home, key):
    parquet = pytest.importorskip("pyarrow.parquet")
    protect_dataset("clean", "safe2", key, profile="veil", out_format="parquet", shard_size=40)
    files = sorted((home / "safe2").glob("*.parquet"))
    for file in files:
        parquet.write_table(parquet.read_table(file), file, row_group_size=10)
    restore_dataset("safe2", "whole", key, shard_size=10)
    data = files[0].read_bytes()
    files[0].write_bytes(data[:-50])
    assert restore_dataset("safe2", "back", key, shard_size=10).done == 96 - 40
    files[0].write_bytes(data)
    assert restore_dataset("safe2", "back", key, shard_size=10).done == 96
    assert content(home / "back") == content(home / "whole")


def test_a_shard_that_is_done_again_leaves_nothing_earlier(home, key):
    restore_dataset("safe", "tars", key, out_format="webdataset", shard_size=40)

    def protect():
        return protect_dataset("tars", "out", key, profile="veil", out_format="folder")

    protect()
    first = home / "tars" / "00000.tar"
    with tarfile.open(first) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive]
    gone = members[0][0].name.split(".")[0]
    with tarfile.open(first, "w") as archive:
        for member, data in members:
            if member.name.split(".")[0] != gone:
                archive.addfile(member, io.BytesIO(data))
    assert protect().done == 95
    assert len(list((home / "out").rglob("*.png"))) == 95
    assert verify_dataset("out", key).lost == 0


def test_parquet_that_is_cut_otherwise_leaves_nothing_earlier(home, key):
    parquet = pytest.importorskip("pyarrow.parquet")
    restore_dataset("safe", "tables", key, out_format="parquet", shard_size=40)
    first, second, _ = sorted((home / "tables").glob("*.parquet"))
    parquet.write_table(parquet.read_table(first), first, row_group_size=10)
    parquet.write_table(parquet.read_table(second), second, row_group_size=20)

    def protect():
        return protect_dataset("tables", "out", key, profile="veil", shard_size=10)

    assert protect().shards == 7
    parquet.write_table(parquet.read_table(first), first)
    assert protect().done == 96
    report = verify_dataset("out", key)
    assert (report.done, report.lost) == (96, 0)


def test_text_that_cannot_be_read_does_not_stop_the_rest(home, key):
    (home / "safe" / "labels.csv").symlink_to("nowhere")
    report = restore_dataset("safe", "back", key)
    assert (report.done, list(report.failures)) == (96, ["labels.csv"])
    assert restore_dataset("safe", "back", key).resumed == 1


def test_a_journal_is_no_part_of_a_dataset(home, key):
    restore_dataset("safe/a", "clean/d", key)
    assert (home / "clean" / "d.dsguard").is_dir()
    protect_dataset("clean", "out", key, profile="veil")
    assert not list((home / "out").rglob("*.json*"))


def test_begun_anew_no_text_of_an_earlier_run_is_left(home, key):
    for name in ("README.md", "a/0.txt"):
        (home / "safe" / name).write_text("text")
    restore_dataset("safe", "back", key)
    for name in ("README.md", "a/0.txt"):
        (home / "safe" / name).unlink()
    restore_dataset("safe", "back", key, overwrite=True)
    assert not list((home / "back").rglob("*.txt")) + list((home / "back").rglob("*.md"))


def test_a_damaged_shard_beside_a_selection_can_be_repaired(home, key):
    restore_dataset("safe", "tars", key, out_format="webdataset", shard_size=40)
    protect_dataset("tars", "safe2", key, profile="veil")
    second = home / "safe2" / "00001.tar"
    whole, selection = second.read_bytes(), Selection(include=("00000/*",))
    second.write_bytes(whole[:-3000])
    assert restore_dataset("safe2", "back", key, selection=selection).broken == 1
    second.write_bytes(whole)
    report = restore_dataset("safe2", "back", key, selection=selection)
    assert (report.done, report.broken) == (40, 0)


def test_damage_within_a_parquet_file_does_not_stop_the_others(home, key):
    pytest.importorskip("pyarrow")
    restore_dataset("safe", "tables", key, out_format="parquet", shard_size=40)
    protect_dataset("tables", "veiled", key, profile="veil")
    file = min((home / "veiled").glob("*.parquet"))
    whole = file.read_bytes()
    length = whole.index(b"\x89PNG") - 1  # the high byte of the length of the first image
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = np.random.default_rng(0)
    places = [length, *rng.integers(footer, len(whole) - 8, 25)]
    stopped = 0
    for n, place in enumerate(places):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x7F]) + whole[place + 1 :])
        report = restore_dataset("veiled", f"back{n}", key)
        assert report.done >= 96 - 40
        stopped += file.name in report.failures
    assert stopped > 1


def test_unwritable_destinations(home, key, capsys):
    (home / "file").write_text("x")
    for out in ("file", "file/out"):
        with pytest.raises(dsguard.InputError, match=r"is a file|not a writable folder"):
            restore_dataset("safe", out, key)
    for out in ("safe/out", ".", "safe"):
        with pytest.raises(dsguard.InputError, match="must not lie in each other"):
            restore_dataset("safe", out, key)
    assert not list(home.glob("*.dsguard"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full's kin, a small file system")
def test_a_full_disk_stops_the_run_which_can_go_on(home, key, capsys):
    small = home / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        command = ["restore", "safe", "small/back", "--key", "k", "--shard-size", "8"]
        assert cli([*command, "--workers", "1"]) == Exit.USAGE
        assert "No space left on device" in capsys.readouterr().err
        subprocess.run(["mount", "-o", "remount,size=9m", str(small)], check=True)
        assert cli([*command, "--workers", "1"]) == Exit.OK
        assert len(list((small / "back").rglob("*.png"))) == 96
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_dry_run_writes_nothing(home, capsys):
    before = content(home)
    assert cli(["restore", "safe", "back", "--key", "k", "--dry-run", "--json"]) == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert (facts["images"], facts["sample"], facts["failed_in_sample"]) == (96, 96, 0)
    assert facts["bytes"] == sum(p.stat().st_size for p in (home / "clean").rglob("*.png"))
    assert cli(["protect", "clean", "out", "--key", "k", "--dry-run"]) == Exit.OK
    assert "96 images; of a sample of 96, 0 fail" in capsys.readouterr().out
    assert content(home) == before


def test_the_wrong_key_leaves_nothing_behind(home, key):
    before = content(home)
    report = restore_dataset("safe", "back", dsguard.DatasetKey.generate())
    assert (report.done, report.failed) == (0, 96)
    assert content(home) == before
    assert not (home / "back").exists()
    dsguard.DatasetKey.generate().save("other")
    (home / "safe" / "a" / "0.png").write_bytes(b"x")
    (home / "safe" / "README.txt").write_text("text")
    (home / "kept" / ".git" / "refs").mkdir(parents=True)
    (home / "kept" / ".git" / "HEAD").write_text("mine")
    assert cli(["restore", "safe", "kept", "--key", "other"]) == Exit.KEY_REFUSED
    assert content(home / "kept").keys() == {".git/HEAD"}
    assert (home / "kept" / ".git" / "refs").is_dir()
    for options in ((), ("--on-error", "fail", "--shard-size", "9"), ("--out-format", "parquet")):
        command = ["restore", "safe", "back", "--key", "other", *options]
        assert cli(command) == Exit.KEY_REFUSED
        assert not (home / "back").exists()
    assert restore_dataset("safe", "back", key).done == 95


def test_what_is_missing_from_the_source_is_told(home, key, capsys):
    protect_dataset("clean", "veiled", key, profile="veil", shard_size=20)
    assert verify_dataset("veiled", key).lost == 0
    gone = list((home / "veiled").rglob("*.png"))[:3]
    for path in gone:
        path.unlink()
    assert cli(["verify", "veiled", "--key", "k", "--json"]) == Exit.SOME_FAILED
    result = json.loads(capsys.readouterr().out)
    assert (result["intact"], result["of"], result["lost"]) == (93, 96, 3)
    assert not result["source_unfinished"]
    (home / "veiled.dsguard" / "done").unlink()
    assert cli(["restore", "veiled", "back", "--key", "k", "--json"]) == Exit.SOME_FAILED
    told = capsys.readouterr()
    assert json.loads(told.out)["source_unfinished"]
    assert "is not finished" in told.err
    (home / "veiled.dsguard" / "settings.json").write_text("[1]")
    assert cli(["verify", "veiled", "--key", "k"]) == Exit.SOME_FAILED
    assert "the journal beside the source is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_what_is_missing_within_a_shard_is_told(home, key, kind):
    protect_dataset("clean", "safe2", key, profile="veil", out_format=kind, shard_size=40)
    (first, *_) = sorted(path for path in (home / "safe2").iterdir() if path.is_file())
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(parquet.read_table(first).slice(0, 30), first)
    else:
        data = bytearray(first.read_bytes())
        with tarfile.open(first) as archive:
            start = [m.offset for m in archive if m.name.endswith(".png")][30]
        data[start:] = bytes(len(data) - start)  # as a disk leaves a file that was not written out
        first.write_bytes(data)
    report = verify_dataset("safe2", key)
    assert (report.done, report.lost, report.failed) == (86, 10, 0)


def test_a_header_of_zeros_is_damage(home, key):
    protect_dataset("clean", "tars", key, profile="veil", out_format="webdataset")
    path = home / "tars" / "00000.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        start = [m.offset for m in archive if m.name.endswith(".png")][30]
    data[start : start + 512] = bytes(512)
    path.write_bytes(data)
    report = restore_dataset("tars", "back", key)
    assert report.done == 29  # and the sample right before it
    assert "goes on behind a block of zeros" in str(report.failures["00000.tar"])


def test_the_worst_that_failed_decides_the_exit_code(home, key):
    image = decode_image((home / "safe" / "a" / "0.png").read_bytes()).copy()
    image[5, 5] ^= 1
    (home / "safe" / "a" / "0.png").write_bytes(encode_images(image[None])[0])
    options = ["--key", "k", "--on-error", "fail"]
    assert cli(["restore", "safe", "back", *options]) == Exit.DAMAGED
    dsguard.DatasetKey.generate().save("other")
    options = ["--key", "other", "--max-errors", "5"]
    assert cli(["restore", "safe", "back2", *options]) == Exit.KEY_REFUSED


def test_short_files_of_very_large_images_are_unpacked_one_by_one(home, key):
    tracemalloc = pytest.importorskip("tracemalloc")
    large = encode_images(np.zeros((1, 4000, 4000, 1), np.uint8))[0]
    (home / "bombs").mkdir()
    for n in range(12):
        (home / "bombs" / f"{n}.png").write_bytes(large)
    assert len(large) < 100_000
    tracemalloc.start()
    report = verify_dataset("bombs", key)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.failed == 12
    assert most < 5 * 16_000_000


def test_remote_places(home, key):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path in (home / "safe").rglob("*.png"):
        system.pipe_file(f"/data/{path.relative_to(home)}", path.read_bytes())
    assert restore_dataset("memory://data/safe", "memory://data/back", key).done == 96
    local = {name: hashlib.sha256(system.cat(f"/data/back/{name}")).hexdigest()
             for name in place_of("memory://data/back").files()}  # fmt: skip
    assert local == content(home / "clean")
    assert restore_dataset("memory://data/safe", "memory://data/back", key).resumed == 1
    for kind in ("webdataset", "parquet"):
        restore_dataset(
            "memory://data/safe", f"memory://data/{kind}", key, out_format=kind, shard_size=50
        )
        names = open_source(f"memory://data/{kind}").names()
        assert len(names) == 96
        report = verify_dataset(f"memory://data/{kind}", key)
        assert (report.done, report.failed) == (0, 96)  # clean images
    with pytest.raises(dsguard.InputError, match="there is nothing at"):
        open_source("memory://data/missing")
    with pytest.raises(dsguard.InputError, match="does not go to 'nonsense'"):
        open_source("nonsense://data").names()


def test_verify_writes_nothing(home, key):
    before = content(home)
    report = run(open_source("safe"), Verify(key))
    assert (report.done, report.failed) == (96, 0)
    assert content(home) == before
    with pytest.raises(dsguard.InputError, match="needs a destination"):
        run(open_source("safe"), Restore(key))


def test_startup_is_light():
    code = (
        "import sys; from dsguard.cli.commands import run; run(['--help'])\n"
        "heavy = {'numpy', 'torch', 'numba', 'sklearn', 'PIL', 'pyarrow', 'ray', 'fsspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_a_file_url_is_the_path_that_it_is(home, key):
    before = content(home / "clean")
    for out in ("clean", "clean/out"):
        url = (home / out).as_uri()
        with pytest.raises(dsguard.InputError, match="must not lie in each other"):
            protect_dataset("clean", url, key, profile="veil", overwrite=True)
    assert content(home / "clean") == before
    assert restore_dataset((home / "safe").as_uri(), "back", key).done == 96


@pytest.mark.skipif(os.name != "posix", reason="paths of URLs are those of POSIX")
@pytest.mark.parametrize("scheme", [
    "file://", "FILE://", "local://", "Local://", "file:", "file://localhost",
    "simplecache::file://", "simplecache::FILE://", "filecache::LOCAL://",
])  # fmt: skip
def test_a_folder_is_one_however_it_is_spelt(home, key, scheme):
    before = content(home / "clean")
    for pair in ((f"{scheme}{home}/clean", "clean"), ("clean", f"{scheme}{home}/clean")):
        with pytest.raises((dsguard.InputError, OSError)):
            protect_dataset(*pair, key, profile="veil", overwrite=True)
        assert content(home / "clean") == before


def test_changed_images_are_done_again(home, key):
    restore_dataset("safe", "back", key, shard_size=40)
    first, other = home / "safe" / "a" / "0.png", home / "safe" / "a" / "3.png"
    first.write_bytes(other.read_bytes())
    assert restore_dataset("safe", "back", key, shard_size=40).resumed == 2
    back = home / "back" / "a"
    assert (back / "0.png").read_bytes() == (back / "3.png").read_bytes()


def test_begun_anew_nothing_earlier_is_left(home, key):
    restore_dataset("safe", "back", key)
    (home / "back" / "mine.txt").write_text("mine")
    (home / "safe" / "b" / "1.png").unlink()
    assert restore_dataset("safe", "back", key, overwrite=True).done == 95
    assert not (home / "back" / "b" / "1.png").exists()
    assert (home / "back" / "mine.txt").exists()


def test_a_damaged_journal_is_explained_or_done_again(home, key):
    restore_dataset("safe", "back", key)
    manifest = home / "back.dsguard" / "shards" / "00000.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    assert restore_dataset("safe", "back", key).resumed == 0
    (home / "back.dsguard" / "settings.json").write_text("[1]")
    with pytest.raises(dsguard.FormatError, match="is damaged"):
        restore_dataset("safe", "back", key)


def test_arguments_are_checked(home, key):
    for settings in ({"shard_size": 0}, {"workers": 0}, {"png_level": 9}, {"workers": "2"}):
        with pytest.raises(dsguard.InputError, match=next(iter(settings))):
            restore_dataset("safe", "back", key, **settings)
    with pytest.raises(dsguard.InputError, match="tuples of patterns"):
        Selection(include="a/*")
    with pytest.raises(dsguard.InputError, match="limit is"):
        Selection(limit=0)
    with pytest.raises(dsguard.InputError, match="expected a DatasetKey"):
        restore_dataset("safe", "back", "k")
    with pytest.raises(dsguard.InputError, match="epsilon is"):
        protect_dataset("clean", "out", key, profile="veil", epsilon=300)
    with pytest.raises(WorkerError, match="results for 0 of 1 shards"):
        restore_dataset("safe", "back", key, engine=lambda specs, workers: iter(()))
    assert protect_dataset("safe", "twice", key, profile="veil").failed == 96  # protected already


@pytest.mark.parametrize("codec", ["exact", "exact-coarse"])
def test_images_that_would_come_out_as_they_were_fail(home, key, codec):
    """Blocks at the ends of the range cannot be shifted, and the payload is in the sidecar."""
    rng = np.random.default_rng(0)
    digits = (rng.random((60, 8, 8, 1)) < 0.3).astype(np.uint8) * 255
    digits[:20] = digits[:20] // 8 + 100  # these can be changed
    for n, file in enumerate(encode_images(digits)):
        path = home / "digits" / "ab"[n % 2] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    cover = Marked(Itself(), DrawnPatterns(key))
    report = protect_dataset("digits", "out", key, cover=cover, codec=codec)
    assert report.done + report.failed == 60
    assert report.failed >= 30
    assert report.done >= 20
    assert all("come out as it was" in str(error) for error in report.failures.values())
    for path in (home / "out").rglob("*.png"):
        clean = decode_image((home / "digits" / path.relative_to(home / "out")).read_bytes())
        assert (decode_image(path.read_bytes()) == clean).mean() <= 0.95
    assert restore_dataset("out", "back", key).done == report.done
