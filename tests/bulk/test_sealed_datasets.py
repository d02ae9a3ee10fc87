"""Whole datasets, sealed: one rate for a run, and covers that need names, classes or all images."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import fitting, protect_dataset, restore_dataset
from dsguard.bulk.journal import Journal
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.codecs import Sealed
from dsguard.covers import FolderOfCovers, Samples
from dsguard.errors import InputError
from dsguard.formats import decode_image, encode_images, open_source


@pytest.fixture
def home(tmp_path, monkeypatch, scenes, key):
    """A working folder with a key, and 24 clean images of two classes."""
    monkeypatch.chdir(tmp_path)
    key.save("k")
    images = np.concatenate([np.roll(scenes, shift, axis=(1, 2)) for shift in range(3)])
    for n, file in enumerate(encode_images(images)):
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder).as_posix(): decode_image(path.read_bytes())
        for path in sorted(folder.rglob("*.png"))
    }


def shows(out: np.ndarray, image: np.ndarray, rate: int) -> bool:
    """Tell whether no sample is further off than its low bits account for."""
    return bool(np.abs(out.astype(int) - image).max() < 1 << -(-rate // 8))


def rate_of(destination: str) -> int:
    return int(json.loads(Path(f"{destination}.dsguard/settings.json").read_text())["rate"])


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_a_command_without_choices_seals(home, capsys):
    assert cli(["protect", "clean", "out", "--key", "k"]) == Exit.OK
    told = json.loads(Path("out.dsguard/settings.json").read_text())
    assert (told["codec"], told["cover"]) == ("sealed", "blank, by label")
    assert cli(["restore", "out", "back", "--key", "k"]) == Exit.OK
    assert cli(["verify", "out", "--key", "k"]) == Exit.OK
    clean, back = pictures(home / "clean"), pictures(home / "back")
    assert clean.keys() == back.keys()
    assert all(np.array_equal(clean[name], back[name]) for name in clean)
    out = pictures(home / "out")
    assert max(abs(alike(clean[name], out[name])) for name in clean) < 0.8
    capsys.readouterr()
    assert cli(["inspect", "out", "--json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["profile"] == "sealed"
    assert len(bytes.fromhex(shown["image_id"])) == 16


def test_the_rate_holds_the_images_and_stays_that_of_the_run(home, key, monkeypatch):
    report = protect_dataset("clean", "out", key, keep="pixels", shard_size=5)
    assert (report.done, report.sidecars) == (24, 0)
    rate = rate_of("out")
    expected = Sealed().fitted([np.stack(list(pictures(home / "clean").values()))])
    assert rate == expected.rate
    assert {dsguard.inspect(image).planes for image in pictures(home / "out").values()} == {
        -(-rate // 8)
    }
    before = pictures(home / "out")
    for name in sorted(before)[3:]:
        (home / "out" / name).unlink()
    # A run that goes on asks its journal: from other samples it would take another rate.
    monkeypatch.setattr(Sealed, "fitted", lambda self, sample: Sealed(64))
    assert protect_dataset("clean", "out", key, keep="pixels", shard_size=5).done == 24
    after = pictures(home / "out")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    protect_dataset("clean", "high", key, codec=Sealed(50))
    assert rate_of("high") == 50


def test_images_of_all_kinds_and_sizes_are_sealed_whole(home, key):
    rng = np.random.default_rng(0)
    for name, shape in (("dot", (1, 1, 3)), ("line", (1, 60, 1)), ("icon", (20, 20, 4))):
        pixels = rng.integers(0, 256, shape, np.uint8)
        Path(f"clean/a/{name}.png").write_bytes(encode_images(pixels[None])[0])
    report = protect_dataset("clean", "out", key)
    assert (report.done, report.failed, report.as_they_are) == (27, 0, 0)
    assert (decode_image(Path("out/a/icon.png").read_bytes())[..., 3] == 255).all()
    assert restore_dataset("out", "back", key).done == 27
    clean, back = pictures(home / "clean"), pictures(home / "back")
    assert all(np.array_equal(clean[name], back[name]) for name in clean)


@pytest.mark.parametrize("shard_size", [1000, 5])
def test_so_many_images_of_each_class_show_themselves(home, key, shard_size):
    protect_dataset("clean", "out", key, cover=Samples(key, 2), shard_size=shard_size)
    clean, out = pictures(home / "clean"), pictures(home / "out")
    shown = [name for name in clean if shows(out[name], clean[name], rate_of("out"))]
    assert [name[0] for name in shown] == ["a", "a", "b", "b"]
    one = dsguard.protect_batch(
        np.stack(list(clean.values())), key, cover=Samples(key, 2), labels=np.repeat([0, 1], 12)
    )
    assert sum(shows(a, b, 36) for a, b in zip(one.images, clean.values(), strict=True)) == 4


def test_no_more_than_a_quarter_of_all_images_are_samples(home, key, capsys):
    """Labels may be measured numbers, or names of persons: a class for each image."""
    images = np.stack(list(pictures(home / "clean").values()))
    np.savez("set.npz", images=images, labels=np.arange(len(images)))
    assert cli(["protect", "set.npz", "out", "--key", "k", "--cover", "samples"]) == Exit.USAGE
    told = " ".join(capsys.readouterr().err.split())
    assert f"{len(images)} of {len(images)} images would show themselves" in told
    assert not list((home / "out").rglob("*.npz"))
    with pytest.raises(InputError, match="would show themselves"):
        dsguard.protect_batch(images, key, cover=Samples(key, 1), labels=np.arange(len(images)))
    given = ["--key", "k", "--cover", "samples", "--no-labels"]
    assert cli(["protect", "set.npz", "out", *given]) == Exit.OK
    assert "1 sample in clear" in capsys.readouterr().out
    for count in ("40", "4"):  # of 24 images of two classes
        given = ["--key", "k", "--cover", "samples", "--samples", count]
        assert cli(["protect", "clean", f"out{count}", *given]) == Exit.USAGE
    assert "no more than a quarter" in " ".join(capsys.readouterr().err.split())
    assert cli(["protect", "clean", "three", *given[:-1], "3"]) == Exit.OK


def test_images_that_the_owner_names_show_themselves(home, key):
    options = ["--cover", "samples", "--sample", "a/4.png", "--sample", "b/1.png"]
    assert cli(["protect", "clean", "out", "--key", "k", *options]) == Exit.OK
    clean, out = pictures(home / "clean"), pictures(home / "out")
    shown = [name for name in clean if shows(out[name], clean[name], rate_of("out"))]
    assert shown == ["a/4.png", "b/1.png"]
    with pytest.raises(InputError, match="count is a whole number"):
        Samples(key, 0)


def test_images_show_the_pictures_of_a_folder(home, key, capsys):
    colours = {"a/4": (200, 30, 30), "one": (30, 200, 30), "two": (30, 30, 200)}
    for name, colour in colours.items():
        path = home / "mine" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        Image.new("RGB", (50, 40), colour).save(data, "jpeg", quality=95)
        path.write_bytes(data.getvalue())
    options = ["--cover", "given", "--covers", "mine"]
    assert cli(["protect", "clean", "out", "--key", "k", *options]) == Exit.OK
    means = {name: image.mean(axis=(0, 1)) for name, image in pictures(home / "out").items()}
    assert np.abs(means["a/4.png"] - colours["a/4"]).max() < 8
    nearest = {
        min(colours, key=lambda name: np.abs(mean - colours[name]).max()) for mean in means.values()
    }
    assert nearest == set(colours)
    assert restore_dataset("out", "back", key).done == 24
    (home / "mine" / "broken.png").write_bytes(b"none")
    again = FolderOfCovers.of(key, home / "mine")
    assert ["broken.png is not an image file" in each for each in again.unread] == [True]
    assert protect_dataset("clean", "out2", key, cover=again).done == 24


def test_pictures_may_tell_nothing_of_the_class(home, capsys):
    assert cli(["protect", "clean", "out", "--key", "k", "--no-labels"]) == Exit.OK
    told = json.loads(Path("out.dsguard/settings.json").read_text())
    assert told["cover"] == "blank, without labels"
    options = ["--cover", "given", "--covers", "clean"]
    assert cli(["protect", "clean", "out2", "--key", "k", *options]) == Exit.USAGE
    assert "every image would show itself" in " ".join(capsys.readouterr().err.split())


def test_options_that_are_of_no_effect_are_told(home, capsys):
    options = ["--cells", "4", "--epochs", "3"]
    assert cli(["protect", "clean", "out", "--key", "k", *options]) == Exit.OK
    told = " ".join(capsys.readouterr().err.split())
    assert "--cells is of no effect with cover blank, but of preview" in told
    assert "--epochs is of no effect with cover blank, but of patterns" in told


def test_damaged_parts_do_not_end_a_run_whose_rate_is_fitted(home, key):
    rng = np.random.default_rng(0)
    np.savez(home / "good.npz", x=rng.integers(0, 256, (20, 16, 16, 3), np.uint8), y=np.arange(20))
    (home / "mixed").mkdir()
    (home / "good.npz").rename(home / "mixed" / "a.npz")
    whole = (home / "mixed" / "a.npz").read_bytes()
    (home / "mixed" / "b.npz").write_bytes(whole[: len(whole) // 2])
    report = protect_dataset("mixed", "out", key)
    assert (report.done, report.failed) == (20, 1)
    (home / "clean" / "a" / "wide.png").write_bytes(
        encode_images(np.zeros((1, 2, 70000, 1), np.uint8))[0]
    )
    (home / "clean" / "a" / "none.png").write_bytes(b"none")
    report = protect_dataset("clean", "out2", key, keep="pixels")
    assert (report.done, report.failed) == (24, 2)


def test_a_rate_is_fitted_to_a_bounded_part_of_the_images(home, key, monkeypatch):
    seen = []
    monkeypatch.setattr(fitting, "_MOST_SAMPLES", 6 * 32 * 32 * 3)
    monkeypatch.setattr(Sealed, "fitted", lambda self, sample: seen.extend(sample) or Sealed(40))
    protect_dataset("clean", "out", key, keep="pixels")
    assert sum(batch.size for batch in seen) <= 2 * 6 * 32 * 32 * 3


def test_images_that_fit_no_rate_do_not_hide_the_covers_of_others(scenes):
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    alone = Sealed().fitted([scenes])
    assert Sealed().fitted([scenes, noise]).rate == alone.rate <= 48
    assert Sealed().fitted([noise]).rate is None


@pytest.mark.parametrize("cover", ["blank", "preview", "samples"])
def test_the_smallest_images_are_sealed_under_any_cover(home, cover):
    for n in range(6):
        for name, shape in (("dot", (1, 1, 1)), ("small", (10, 10, 1))):
            file = encode_images(np.full((1, *shape), 40 * n, np.uint8))[0]
            Path(f"clean/a/{name}-{n}.png").write_bytes(file)
    assert cli(["protect", "clean", "out", "--key", "k", "--cover", cover]) == Exit.OK
    assert cli(["restore", "out", "back", "--key", "k"]) == Exit.OK
    clean, out, back = (pictures(home / name) for name in ("clean", "out", "back"))
    assert all(np.array_equal(clean[name], back[name]) for name in clean)
    if cover == "preview":
        assert {int(out[f"a/dot-{n}.png"][0, 0, 0]) for n in range(6)} == {128}


@pytest.mark.parametrize("is_old", [False, True])
def test_a_run_that_goes_on_shows_no_more_samples_than_it_began_with(home, monkeypatch, is_old):
    """Earlier versions drew by the places of images: of runs that they began a few are refused."""
    clean, target = pictures(home / "clean"), home / "clean" / "a" / "0.png"
    whole = target.read_bytes()
    target.write_bytes(b"damaged")
    keys = [dsguard.DatasetKey(bytes([seed]) * 32) for seed in range(4)]
    before, refused = [], 0
    for seed, own in enumerate(keys):
        with monkeypatch.context() as patched:
            if is_old:
                patched.setattr(Journal, "drawn", lambda self: ('{"(32, 32, 3)": []}', True))
            protect_dataset("clean", f"out{seed}", own, cover=Samples(own, 1), shard_size=4)
        noted = Path(f"out{seed}.dsguard/drawn.json").read_text()
        assert ("(32, 32, 3)" in noted) == is_old
        before.append(shown_in(f"out{seed}", clean))
        protect_dataset("clean", f"out{seed}", own, cover=Samples(own, 1), shard_size=4)
        assert shown_in(f"out{seed}", clean) == before[-1]
        assert Path(f"out{seed}.dsguard/drawn.json").read_text() == noted
    target.write_bytes(whole)
    for seed, own in enumerate(keys):
        try:
            protect_dataset("clean", f"out{seed}", own, cover=Samples(own, 1), shard_size=4)
        except InputError as error:
            assert "would be others than those of the shards" in str(error)  # noqa: PT017
            refused += 1
        left = shown_in(f"out{seed}", clean)  # less a shard that is to be done again
        assert set(left) <= set(before[seed]) if is_old else left == before[seed]
    assert bool(refused) == is_old


def shown_in(destination: str, clean: dict[str, np.ndarray] | None = None) -> list[str]:
    """Return the images that show themselves."""
    clean, out = clean or pictures(Path("clean")), pictures(Path(destination))
    rate = rate_of(destination)
    same = [name for name in out if name in clean and out[name].shape == clean[name].shape]
    return [name for name in same if shows(out[name], clean[name], rate)]


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_releases_of_a_set_that_grows_show_the_same_samples(home, key, options):
    """What was published once cannot be taken back: each other draw shows more."""
    seen = set[str]()
    for release in range(6):
        name = "out" if options else f"out{release}"
        given = options if release else {}
        protect_dataset("clean", name, key, cover=Samples(key, 1), **given)
        seen |= set(shown_in(name))
        noise = np.random.default_rng(release).integers(0, 256, (1, 32, 32, 3), np.uint8)
        for folder in "ab":  # before all others
            Path(f"clean/{folder}/+{release}.png").write_bytes(encode_images(noise)[0])
    old = {name for name in seen if "+" not in name}
    assert sorted(name[0] for name in old) == ["a", "b"]
    assert not options or seen == old  # with --overwrite, no new image takes a place


def test_a_run_that_begins_anew_shows_what_was_shown_whatever_lies_between(home, key):
    protect_dataset("clean", "out", key, cover=Samples(key, 1))
    before = shown_in("out")
    for seed in range(40):
        noise = np.random.default_rng(seed).integers(0, 256, (1, 32, 32, 3), np.uint8)
        Path(f"clean/{'ab'[seed % 2]}/+{seed}.png").write_bytes(encode_images(noise)[0])
    protect_dataset("clean", "out", key, overwrite=True)
    protect_dataset("clean", "out", key, cover=Samples(key, 1), overwrite=True)
    assert shown_in("out") == before
    other = dsguard.DatasetKey(bytes(range(1, 33)))
    protect_dataset("clean", "out", other, cover=Samples(other, 1), overwrite=True)
    assert len(shown_in("out")) == 2


def test_samples_are_the_same_in_every_format_and_order(home, key):
    clean = pictures(home / "clean")
    protect_dataset("clean", "out", key, cover=Samples(key, 2), shard_size=5, workers=2)
    expected = {clean[name].tobytes() for name in shown_in("out")}
    names = sorted(clean, reverse=True)
    images = np.stack([clean[name] for name in names])
    np.savez("set.npz", images=images, labels=["ab".index(name[0]) for name in names])
    protect_dataset("set.npz", "arrays", key, cover=Samples(key, 2))
    [file] = Path("arrays").rglob("*.npz") if Path("arrays").is_dir() else [Path("arrays")]
    out = np.load(file)["images"]
    rate = rate_of("arrays")
    found = {b.tobytes() for a, b in zip(out, images, strict=True) if shows(a, b, rate)}
    assert found == expected
    assert len(found) == 4


def test_samples_that_there_are_not_are_told(home, capsys):
    options = ["protect", "clean", "out", "--key", "k", "--cover", "samples"]
    assert cli([*options, "--sample", "a/99.png"]) == Exit.USAGE
    assert "has no image 'a/99.png'" in capsys.readouterr().err
    assert cli([*options, "--sample", "a/4.png", "--samples", "2"]) == Exit.USAGE


def test_a_rate_is_fitted_without_a_list_of_all_images(home, key, monkeypatch):
    """To list the images of shards takes as long as to read them all."""
    images = encode_images(np.stack(list(pictures(home / "clean").values())))
    (home / "shards").mkdir()
    for shard in range(40):
        with tarfile.open(home / "shards" / f"{shard:03}.tar", "w") as archive:
            for n, file in enumerate(images):
                member = tarfile.TarInfo(f"{shard}-{n}.png")
                member.size = len(file)
                archive.addfile(member, io.BytesIO(file))
    source = open_source(home / "shards")
    monkeypatch.setattr(type(source), "names", lambda self: pytest.fail("all are listed"))
    seen = []
    monkeypatch.setattr(Sealed, "fitted", lambda self, sample: seen.extend(sample) or Sealed(40))
    assert protect_dataset(source, "out", key, keep="pixels").done == 40 * len(images)
    assert 500 <= sum(map(len, seen)) <= 2000


def test_images_of_one_name_are_not_shown_for_one_another(home, key):
    """Of several, all would be shown where one is drawn."""
    images = [path.read_bytes() for path in sorted((home / "clean").rglob("*.png"))[:8]]
    Path("shards").mkdir()
    with tarfile.open("shards/s.tar", "w") as tar:
        for file in images:
            member = tarfile.TarInfo("0001.png")
            member.size = len(file)
            tar.addfile(member, io.BytesIO(file))
    clean = [decode_image(file) for file in images]
    for seed in range(8):  # which of them is drawn is up to the key
        drawn = dsguard.DatasetKey(bytes([seed]) * 32)
        report = protect_dataset("shards", f"out{seed}", drawn, cover=Samples(drawn, 1))
        assert (report.done, report.failed) == (8, 0)
        with tarfile.open(f"out{seed}/s.tar") as tar:
            files = [tar.extractfile(member).read() for member in tar if ".png" in member.name]
        shown = zip(map(decode_image, files), clean, strict=True)
        assert sum(alike(one, other) > 0.8 for one, other in shown) == 1
