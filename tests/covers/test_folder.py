"""Pictures of a folder as covers: they may come from anybody."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.cli.commands import Exit, run
from dsguard.covers import FolderOfCovers, Itself
from dsguard.covers.base import Batch

KEY = dsguard.DatasetKey(bytes(32))


@pytest.fixture
def home(tmp_path, monkeypatch, scenes):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "x").mkdir(parents=True)
    for n, scene in enumerate(scenes[:3]):
        Image.fromarray(scene).save(tmp_path / "photos" / "x" / f"{n}.png")
    (tmp_path / "mine").mkdir()
    KEY.save(tmp_path / "k")
    return tmp_path


def protect(*options: str) -> int:
    return run(["protect", "photos", "out", "--key", "k", "--cover", "given", *options])


@pytest.mark.parametrize("text", [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n",
    b"\xd7\xcd\xc6\x9a" + bytes(60), b"BUFR" + bytes(60), b"\x89HDF\r\n\x1a\n" + bytes(60),
])  # fmt: skip
def test_only_pictures_are_opened(home, text, monkeypatch):
    """Pillow would hand some files to other programs, whatever they are called."""
    if os.name == "posix":
        (home / "bin").mkdir()
        program = home / "bin" / "gs"
        program.write_text(f"#!/bin/sh\ntouch {home}/was-run\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{home}/bin{os.pathsep}{os.environ['PATH']}")
    (home / "mine" / "nice.png").write_bytes(text)
    code = (
        "from dsguard.cli.commands import run; import sys; sys.exit(run("
        "['protect', 'photos', 'out', '--key', 'k', '--cover', 'given', '--covers', 'mine',"
        " '--workers', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == Exit.SOME_FAILED
    assert "is not an image file" in done.stderr
    assert not (home / "was-run").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_that_lead_out_are_not_followed(home, scenes):
    (home / "private").mkdir()
    Image.fromarray(scenes[4]).save(home / "private" / "passport.png")
    (home / "mine" / "nice.png").symlink_to(home / "private" / "passport.png")
    report = protect_dataset("photos", "out", KEY, cover=FolderOfCovers.of(KEY, home / "mine"))
    assert report.done == 0
    assert all("leads out of" in error.message for error in report.failures.values())


def test_a_short_file_does_not_fill_the_memory(home):
    with io.BytesIO() as data:
        Image.new("L", (13000, 13500)).save(data, "png")
        (home / "mine" / "nice.png").write_bytes(data.getvalue())
    report = protect_dataset("photos", "out", KEY, cover=FolderOfCovers.of(KEY, home / "mine"))
    assert report.done == 0
    assert all("claims" in error.message for error in report.failures.values())


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_no_image_shows_itself(home, scenes, kind):
    """Its own picture may lie in another folder, or in an archive."""
    for n, scene in enumerate(scenes[:2]):
        (home / "mine" / "x").mkdir(exist_ok=True)
        Image.fromarray(scene).save(home / "mine" / "x" / f"{n}.{kind}", quality=95)
    Image.fromarray(scenes[5]).save(home / "mine" / "x" / "2.png")
    cover = FolderOfCovers.of(KEY, home / "mine")
    report = protect_dataset("photos", "out", KEY, cover=cover)
    assert (report.done, report.failed) == (1, 2)
    assert all("would show itself" in error.message for error in report.failures.values())


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("size", [(32, 32), (48, 48)])
def test_no_image_is_shown_by_another(home, scenes, kind, size):
    """Covers may be a copy of images of the dataset, under other names."""
    for n, scene in enumerate(scenes[:2]):
        copy = Image.fromarray(scene).resize(size)
        copy.save(home / "mine" / f"copy{n}.{kind}", quality=95)
    Image.fromarray(scenes[5]).save(home / "mine" / "nice.png")
    cover = FolderOfCovers.of(KEY, home / "mine")
    report = protect_dataset("photos", "out", KEY, cover=cover)
    assert report.done == 1
    assert set(report.failures) == {"x/0.png", "x/1.png"}
    told = [error.message for error in report.failures.values()]
    assert all("is among the covers" in each or "would show itself" in each for each in told)


@pytest.mark.parametrize("covers", ["photos", ".", "photos/x", "photos/../photos"])
@pytest.mark.parametrize("is_url", [False, True])
def test_covers_and_source_do_not_lie_in_each_other(home, capsys, covers, is_url):
    source = f"file://{home}/photos" if is_url else "photos"
    given = ["--key", "k", "--cover", "given", "--covers", covers]
    assert run(["protect", source, "out", *given]) == Exit.USAGE
    told = " ".join(capsys.readouterr().err.split())
    assert "show itself" in told or "lie in each other" in told
    assert not (home / "out").exists()


def test_covers_are_brought_to_the_size_of_the_image(home, scenes):
    Image.fromarray(scenes[3]).resize((50, 70)).save(home / "mine" / "a.webp")
    cover = FolderOfCovers.of(KEY, home / "mine")
    out = dsguard.protect_batch(scenes[:2], KEY, cover=cover)
    like = np.asarray(Image.fromarray(scenes[3]).resize((32, 32)), np.int16)
    assert np.abs(out.images[0] - like).mean() < 16
    np.testing.assert_array_equal(
        dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars), scenes[:2]
    )


def test_what_cannot_be_shown_is_named_and_no_image_fails_for_it(home, scenes, capsys):
    Image.fromarray(scenes[4]).save(home / "mine" / "good.png")
    Image.fromarray(scenes[4].astype("f4")[..., 0]).save(home / "mine" / "deep.tif")
    (home / "mine" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    assert protect("--covers", "mine") == Exit.OK
    told = " ".join(capsys.readouterr().err.split())
    assert "not shown: the cover mine/cut.jpg" in told
    assert "and 1 more" in told
    cover = FolderOfCovers.of(KEY, home / "mine")
    assert cover.files == ("good.png",)
    assert "fractions" in cover.unread[1]


def test_one_that_changes_fails_its_own_image_alone(home, scenes):
    """What it tells of was to be read when the run began."""
    for name in ("x/0", "x/1", "x/2"):
        (home / "mine" / name).parent.mkdir(exist_ok=True)
        Image.fromarray(scenes[4]).save(home / "mine" / f"{name}.png")
    cover = FolderOfCovers.of(KEY, home / "mine")
    (home / "mine" / "x" / "1.png").write_bytes(b"")
    report = protect_dataset("photos", "out", KEY, cover=cover)
    assert report.failures.keys() == {"x/1.png"}


COPIES = {
    "thumbnail": lambda picture: picture.resize((32, 24), Image.Resampling.LANCZOS),
    "small thumbnail": lambda picture: picture.resize((8, 8), Image.Resampling.BOX),
    "larger": lambda picture: picture.resize((96, 100)),
    "gray": lambda picture: picture.convert("L"),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "all of it": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    .convert("L").resize((20, 20), Image.Resampling.BOX),
}  # fmt: skip


def detailed(scenes, side=64):
    """Return scenes of the real kind: shapes in large, and much in small that thumbnails lack."""
    rng = np.random.default_rng(8)
    large = [np.asarray(Image.fromarray(each).resize((side, side)), float) for each in scenes]
    fine = rng.normal(0, 16, (len(scenes), side, side, 1))
    return np.clip(np.stack(large) + fine, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", ["x/{}", "other-{}"])
def test_no_copy_of_an_image_is_shown(home, scenes, copy, name):
    images = detailed(scenes)
    for n in range(3):
        Image.fromarray(images[n]).save(home / "photos" / "x" / f"{n}.png")
    (home / "mine" / "x").mkdir()
    for n, at in enumerate((0, 1, 5)):  # the last is of another scene
        picture = copy(Image.fromarray(images[at]))
        picture.save(home / "mine" / f"{name.format(n)}.jpg", quality=90)
    report = protect_dataset("photos", "out", KEY, cover=FolderOfCovers.of(KEY, home / "mine"))
    assert set(report.failures) == {"x/0.png", "x/1.png"}
    assert all("a copy" in error.message for error in report.failures.values())


def refused(images, covers, folder):
    """Return which images are refused where these are the pictures."""
    for n, picture in enumerate(covers):
        Image.fromarray(picture).save(folder / f"{n:03}.png")
    cover = FolderOfCovers.of(KEY, folder)
    return set(cover.refused(Batch(np.stack(images), None, np.empty(0, np.intp))))


@pytest.mark.parametrize("side", [8, 16, 32])
def test_other_photos_are_no_copies(tmp_path, cifar, side):
    images, _ = cifar
    covers = [np.asarray(Image.fromarray(each).resize((side, side))) for each in images[100:]]
    assert refused(images[:100], covers, tmp_path) == set()


@pytest.mark.parametrize("noise", [0, 1, 3])
@pytest.mark.parametrize("side", [8, 16, 48])
def test_flat_pictures_are_no_copies(tmp_path, noise, side):
    """Those of one grey level are all alike, and show nothing."""
    rng = np.random.default_rng(1)

    def flat(side):
        return np.clip(120 + rng.normal(0, noise, (side, side, 3)), 0, 255).astype(np.uint8)

    assert refused([flat(32) for _ in range(8)], [flat(side) for _ in range(8)], tmp_path) == set()


def test_pages_of_text_are_no_copies(tmp_path):
    """They are alike but for what is small."""
    rng = np.random.default_rng(2)

    def page():
        lines = np.full((64, 64), 250.0)
        lines[8:56:4, 6:58] -= rng.integers(0, 2, (12, 52)) * 200
        return np.stack([lines] * 3, axis=2).astype(np.uint8)

    assert refused([page() for _ in range(8)], [page() for _ in range(8)], tmp_path) == set()


def test_a_copy_is_found_among_many(tmp_path, scenes):
    rng = np.random.default_rng(3)
    images = detailed(scenes)
    like = images[0].astype(int).mean(axis=(0, 1))
    others = [
        np.clip(rng.normal(like, 20, (16, 16, 3)), 0, 255).astype(np.uint8) for _ in range(200)
    ]
    thumbnail = np.asarray(Image.fromarray(images[0]).resize((16, 16), Image.Resampling.BOX))
    assert refused(images, [*others, thumbnail], tmp_path) == {0}


def shown_by(folder):
    """Return what the published images of a folder, shards or tables show, (32, 32, 3) each."""
    from dsguard.formats import open_source
    from dsguard.formats.base import decode_rows

    source = open_source(folder)
    for part in source.parts(100):
        for rows in source.rows(part):
            for groups, _ in decode_rows(rows):
                for group in groups:
                    yield from group.images.astype(np.int16)


def nearest_to(pictures, images):
    """Return how far the nearest of some images is from any of these pictures."""
    return min(np.abs(image - picture).mean() for image in images for picture in pictures)


FORMS = ["folder", "archive", "webdataset", "parquet", "numpy"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("copies", [1, 7])
def test_a_picture_that_is_an_image_is_shown_by_none(home, scenes, form, copies):
    """It is refused itself, and no other image shows it, however often it is among the covers."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
    clean = np.concatenate([scenes[:3], [scenes[n % 8][::-1] for n in range(40)]])
    clean[3:, 8:24, 8:24] = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3))
    for n, image in enumerate(clean):
        Image.fromarray(image).save(home / "photos" / "x" / f"{n:02}.png")
    source = home / "photos"
    for old in ("0.png", "1.png", "2.png"):
        (source / "x" / old).unlink()
    if form == "numpy":
        source = home / "images.npy"
        np.save(source, clean)
    elif form != "folder":
        out_format = "folder" if form == "archive" else form
        if form == "archive":
            import shutil

            source = shutil.make_archive(str(home / "photos"), "zip", home / "photos")
        else:
            protect_dataset(source, home / "made", KEY, out_format=out_format, cover=Itself())
            dsguard.bulk.restore_dataset(home / "made", home / "clean", KEY)
            source = home / "clean"
    for n in range(copies):
        Image.fromarray(scenes[0]).save(home / "mine" / f"copy{n}.png")
    Image.fromarray(scenes[1]).save(home / "mine" / "other.png")
    Image.fromarray(scenes[5]).save(home / "mine" / "nice.png")
    cover = FolderOfCovers.of(KEY, home / "mine")
    report = protect_dataset(source, "out", KEY, cover=cover, workers=2, shard_size=16)
    if form != "numpy":  # where those that are refused are black
        assert (report.done, report.failed) == (41, 2)
    published = list(shown_by(home / "out"))
    assert nearest_to(scenes[:2], published) > 16
    assert nearest_to(scenes[5:6], published) < 16


def test_a_run_that_goes_on_hides_what_turns_out_to_be_an_image(home, scenes):
    """Shards that were done show it, and are done anew."""
    broken = home / "photos" / "x" / "1.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    Image.fromarray(scenes[1]).save(home / "mine" / "copy.png")
    Image.fromarray(scenes[5]).save(home / "mine" / "nice.png")
    cover = FolderOfCovers.of(KEY, home / "mine")
    options = {"cover": cover, "shard_size": 1, "keep": "pixels"}
    assert protect_dataset("photos", "out", KEY, **options).failed == 1
    broken.write_bytes(whole)
    report = protect_dataset("photos", "out", KEY, **options)
    assert report.resumed == 0
    assert list(report.failures) == ["x/1.png"]
    assert nearest_to(scenes[1:2], shown_by(home / "out")) > 16
    assert protect_dataset("photos", "out", KEY, **options).failed == 1


def test_other_pictures_of_the_same_length_are_noticed(home, scenes):
    """All BMP files of a size have one length; and pictures are kept in memory."""
    Image.fromarray(scenes[4]).save(home / "mine" / "nice.bmp")
    cover = FolderOfCovers.of(KEY, home / "mine")
    protect_dataset("photos", "out", KEY, cover=cover)
    Image.fromarray(scenes[5]).save(home / "mine" / "nice.bmp")
    other = FolderOfCovers.of(KEY, home / "mine")
    with pytest.raises(dsguard.InputError, match="pictures was"):
        protect_dataset("photos", "out", KEY, cover=other)
    protect_dataset("photos", "out", KEY, cover=other, overwrite=True)
    assert nearest_to(scenes[5:6], shown_by(home / "out")) < 16
    assert nearest_to(scenes[4:5], shown_by(home / "out")) > 16


def test_covers_that_are_all_images_leave_none(home, scenes):
    Image.fromarray(scenes[1]).save(home / "mine" / "copy.png")
    report = protect_dataset("photos", "out", KEY, cover=FolderOfCovers.of(KEY, home / "mine"))
    assert report.done == 0
    told = {name: error.message for name, error in report.failures.items()}
    assert "is among the covers" in told["x/1.png"]
    assert all("give other pictures" in told[f"x/{n}.png"] for n in (0, 2))
