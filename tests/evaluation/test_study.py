"""The comparison, its report, and the demo around them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

import dsguard
from dsguard._parallel.threads import thread_count
from dsguard.cli.commands import Exit, run
from dsguard.errors import InputError
from dsguard.evaluation import Data, digits, learn, own_images, psnr
from dsguard.evaluation.comparison import Row
from dsguard.evaluation.pictures import check_plots
from dsguard.evaluation.presets import Preset
from dsguard.evaluation.protection import Protection
from dsguard.evaluation.results import results_in
from dsguard.evaluation.study import run_study
from dsguard.evaluation.trials import TABLE_1, Trial
from dsguard.evaluation.versions import Versions
from dsguard.formats import encode_image
from dsguard.fsp import Attack, Recipe


def test_a_network_learns_what_labels_mean():
    rng = np.random.default_rng(0)
    labels = (np.arange(96) % 2).astype(np.int64)
    base = rng.integers(0, 60, (96, 8, 8, 3)) + labels[:, None, None, None] * 120
    images = base.astype(np.uint8)
    versions = {"clean": images, "swapped": (180 - images).astype(np.uint8)}
    recipe = Recipe(epochs=3, batch_size=16)
    seen = []
    clean, swapped = (
        learn(
            name,
            version,
            labels,
            images[:32],
            labels[:32],
            recipe=recipe,
            width=8,
            device="cpu",
            on_epoch=lambda: seen.append(1),
        )
        for name, version in versions.items()
    )
    assert clean.test_accuracy > 0.9
    assert swapped.train_accuracy > 0.9
    assert swapped.test_accuracy < 0.3
    assert swapped.peak_accuracy >= swapped.test_accuracy
    assert len(seen) == 6


def test_psnr():
    a = np.zeros((4, 4), np.uint8)
    assert psnr(a, a) == float("inf")
    assert psnr(a, a + 1) == pytest.approx(48.13, abs=0.01)


def test_digits():
    data = digits()
    assert data.train_images.shape == (1297, 32, 32, 3)
    assert len(data.test_images) == 500
    assert set(data.train_labels) == set(range(10))


@pytest.mark.parametrize("split", [True, False])
def test_own_images(tmp_path, split):
    rng = np.random.default_rng(0)
    for part in ("train", "test") if split else ("all",):
        for label in ("cat", "dog"):
            for n in range(6):
                path = tmp_path / part / label / f"{n}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_image(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)))
    data = own_images(tmp_path, 2000, 1000)
    assert len(data.train_images) == (12 if split else 8)
    assert len(data.test_images) == (12 if split else 4)


def test_demo_on_own_images(quick_networks, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for n in range(12):
            path = tmp_path / "data" / label / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert run(["demo", *arguments, "--epochs", "1", "--device", "cpu"]) == Exit.OK
    shown, told = capsys.readouterr()
    assert all(
        name in shown for name in ("clean", "protected", "sealed", "restored", "report.html")
    )
    # No terminal: lines, not bars; of each step the first at once.
    assert re.search(r"^surrogate: 1 of 1$", told, re.MULTILINE)
    assert re.search(r"^train: 1 of 6$", told, re.MULTILINE)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "equal to the last bit" in page
    assert "shows clean images: keep it to yourself" in " ".join(shown.split())
    for name in ("report.html", "triptychs.png"):
        assert is_private(tmp_path / "out" / name)


def is_private(file):
    """Tell whether only its owner can read a file, where there are such permissions."""
    return os.name != "posix" or file.stat().st_mode & 0o777 == 0o600


def test_the_demo_follows_no_link_that_was_not_given(tmp_path, monkeypatch, capsys):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "report.html").write_text("mine")
    for link, leads in (("out", "home"), ("out/demo", "../home")):
        path = tmp_path / link
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(leads)
        monkeypatch.chdir(tmp_path)
        assert run(["demo"]) == Exit.USAGE
        assert "is a link, and the report would lie where it leads" in capsys.readouterr().err
        path.unlink()
    assert (tmp_path / "home" / "report.html").read_text() == "mine"


def test_demo_needs_classes(tmp_path):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.png").write_bytes(encode_image(np.zeros((16, 16, 3), np.uint8)))
    with pytest.raises(dsguard.InputError):
        own_images(tmp_path, 2000, 1000)


class Interrupted(Exception):
    pass


def two_classes(scenes):
    """Return 32 images of 16×16, dark and bright ones."""
    labels = np.array([0, 1] * 16, np.int64)
    images = np.concatenate([scenes] * 4)[:, :16, :16] // 2 + (labels * 100)[:, None, None, None]
    return Data("made", images.astype(np.uint8), labels, images[:8].astype(np.uint8), labels[:8])


def test_a_study_goes_on_where_it_was_interrupted(quick_networks, tmp_path, scenes):
    data = two_classes(scenes)
    recipe = Recipe(epochs=3, batch_size=8)
    preset = Preset("tiny", None, None, 8, recipe, Recipe(epochs=4, batch_size=8), (0, 1))
    protection = Protection("exact", Attack.carried_by("exact", epsilon=8, steps=1))
    fine = replace(protection, profile="exact-fine")
    whole = run_study(data, tmp_path / "whole", preset, protection, device="cpu")
    names = ["clean (mean of 2)", "protected (mean of 2)", "restored (mean of 2)"]
    assert [row.name for row in whole.mean_rows()] == names
    clean, protected, restored = (whole.rows[trial] for trial in TABLE_1)
    assert restored[0].by_epoch == clean[0].by_epoch
    assert len(protected[1].by_epoch) == 3
    stops = iter(range(100))

    def stop_now_and_then(name, done, total):
        if name != "patterns" and next(stops) % 3 == 2:  # whose rounds are not kept
            raise Interrupted

    for _ in range(30):
        try:
            pieces = run_study(
                data,
                tmp_path / "pieces",
                preset,
                protection,
                device="cpu",
                on_step=stop_now_and_then,
            )
        except Interrupted:
            continue
        break
    assert next(stops) > 6, "it was never interrupted"
    assert pieces.rows == whole.rows
    content = json.loads((tmp_path / "pieces" / "results.json").read_text())
    assert content["trials"][1]["mean"]["test_accuracy"] == whole.mean_rows()[1].test_accuracy
    assert "<th>protected (mean of 2)</th>" in (tmp_path / "pieces" / "report.html").read_text()
    more = [*TABLE_1, Trial("protected", "mixup"), Trial("unprotected", percent=50)]
    grown = run_study(data, tmp_path / "pieces", preset, protection, device="cpu", trials=more)
    assert [grown.rows[trial] for trial in TABLE_1] == list(whole.rows.values())
    assert len(grown.rows) == 5
    three = replace(preset, seeds=(0, 1, 2))
    grown = run_study(data, tmp_path / "pieces", three, protection, device="cpu")
    assert [len(rows) for rows in grown.rows.values()] == [3, 3, 3, 2, 2]  # nothing is forgotten
    by_seed = [Versions(tmp_path / "pieces", data.train_images).of(seed) for seed in (0, 1, 2)]
    assert len({versions["protected"].tobytes() for versions in by_seed}) == 3  # a key for each
    assert all((versions["restored"] == data.train_images).all() for versions in by_seed)
    assert all(grown.rows[trial][1] == whole.rows[trial][1] for trial in TABLE_1)
    assert grown.mean_rows()[0].name == "clean (mean of 3)"
    with pytest.raises(dsguard.InputError, match="other settings"):
        run_study(data, tmp_path / "pieces", preset, fine, device="cpu")
    other = replace(data, train_images=255 - data.train_images)
    with pytest.raises(dsguard.InputError, match=r"other settings \(digest\)"):
        run_study(other, tmp_path / "pieces", preset, protection, device="cpu")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(dsguard.InputError, match="holds no study"):
        run_study(data, tmp_path / "mine", preset, protection, device="cpu")


def test_trainings_side_by_side(quick_networks, tmp_path, scenes):
    recipe = Recipe(epochs=3, batch_size=8)
    preset = Preset("tiny", None, None, 8, recipe, Recipe(epochs=1, batch_size=8), (0, 1, 2))
    protection = Protection("exact", Attack.carried_by("exact", epsilon=8))

    def study(folder, **options):
        data, out = two_classes(scenes), tmp_path / folder
        return run_study(data, out, preset, protection, device="cpu", **options)

    def stop_after_an_epoch(name, done, total):
        if name == "train" and done:
            raise Interrupted

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, thread_count(None) // 2))  # as many as each of two workers has
    try:
        one_by_one = study("one by one")
        with pytest.raises(Interrupted):
            study("side by side", workers=2, on_step=stop_after_an_epoch)
        told = []
        found = study("side by side", workers=2, on_step=lambda *step: told.append(step))
    finally:
        torch.set_num_threads(threads)
    assert found.rows == one_by_one.rows
    assert told[-1] == ("train", 18, 18)
    assert not list((tmp_path / "side by side").glob(".*"))
    file = tmp_path / "side by side" / "seed1" / "protected.pt"
    other = (tmp_path / "one by one" / "surrogate.pt").read_bytes()
    for damaged in (b"", b"no checkpoint", file.read_bytes()[:9000], other):
        file.write_bytes(damaged)
        for workers in (1, 2):
            with pytest.raises(dsguard.InputError, match=r"protected\.pt is damaged"):
                study("side by side", workers=workers)


def test_evaluate_from_the_command_line(quick_networks, tmp_path, scenes, capsys):
    for n, image in enumerate(np.concatenate([scenes, 255 - scenes])):
        path = tmp_path / "data" / ("light", "dark")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    out = tmp_path / "study"
    options = ["--out", str(out), "--profile", "veil", "--device", "cpu", "--epochs", "2"]
    options += ["--seeds", "2", "--workers", "2"]
    assert run(["evaluate", str(tmp_path / "data"), *options]) == Exit.OK
    shown = capsys.readouterr().out
    assert "protected (mean of 2)" in shown
    assert "10 to train on, 6 to test on" in shown
    assert "Caution" in shown  # that is too few to tell anything
    assert "shows clean images: keep it to yourself" in " ".join(shown.split())
    content = json.loads((out / "results.json").read_text())
    assert content["settings"]["preset"]["training"]["epochs"] == 2
    assert [len(row["by_epoch"]) for row in content["trials"][1]["seeds"]] == [2, 2]
    private = ("seed0/versions.npz", "seed1/versions.npz", "report.html")
    for name in private:
        assert is_private(out / name)
        (out / name).chmod(0o644)  # as an earlier version has it
    assert run(["evaluate", str(tmp_path / "data"), *options]) == Exit.OK
    assert all(is_private(out / name) for name in private)


def test_what_curves_need_is_asked_for_before_the_trainings(tmp_path, scenes, monkeypatch, capsys):
    for n, image in enumerate(np.concatenate([scenes, 255 - scenes])):
        path = tmp_path / "data" / ("light", "dark")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    found = importlib.util.find_spec
    without = lambda name: None if name == "matplotlib" else found(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", without)
    out = tmp_path / "study"
    assert run(["evaluate", str(tmp_path / "data"), "--out", str(out)]) == Exit.USAGE
    assert "pip install 'dsguard[demo]'" in capsys.readouterr().err
    assert not out.exists()


ODD = {
    "markup": {"version": "x [/nothing] y"},
    "steering characters": {"version": "x \x1b[2J y"},
    "no attack": {"against": "x"},
    "a list for an attack": {"against": []},
    "no network": {"network": "x"},
    "a text of percent": {"percent": "x\x1b[2J"},
    "no percent": {"percent": 0},
    "a flag": {"percent": True},
    "all others": {"version": "unprotected", "percent": 100},
    "seeds that are none": {"seeds": 3},
}
ODD_ROWS = {
    "a text": {"train_accuracy": "abc"},
    "no number": {"test_accuracy": float("nan")},
    "a large number": {"peak_accuracy": 1 << 2000},
    "a seed that is none": {"seed": "0\x1b[2J"},
    "no epochs": {"by_epoch": []},
    "odd epochs": {"by_epoch": [None]},
    "more epochs than others": {"by_epoch": [0.5, 0.5]},
}


@pytest.mark.parametrize("what", [*ODD, *ODD_ROWS])
def test_results_are_figures_of_trials(tmp_path, what):
    row = {"name": "\x1b[2J", "train_accuracy": 0.5, "test_accuracy": 0, "peak_accuracy": 1.0}
    rows = [{**row, "by_epoch": [0.5], "seed": seed} for seed in (0, 1)]
    entry = {"version": "protected", "against": "none", "network": "resnet18", "percent": 50}
    file, good = tmp_path / "results.json", {**entry, "seeds": rows}
    file.write_text(json.dumps({"trials": [good]}))
    assert results_in(file)[Trial(**entry)][1] == Row("50 % protected", 0.5, 0, 1.0, (0.5,))
    odd = {**good, "seeds": [rows[0], {**rows[1], **ODD_ROWS.get(what, {})}], **ODD.get(what, {})}
    file.write_text(json.dumps({"trials": [odd]}))
    with pytest.raises(dsguard.InputError, match=r"results\.json is damaged; remove it"):
        results_in(file)


def test_results_of_before_are_kept_or_refused(quick_networks, tmp_path, scenes):
    recipe = Recipe(epochs=1, batch_size=8)
    preset = Preset("tiny", None, None, 8, recipe, recipe, (0, 1))
    protection = Protection("exact", Attack.carried_by("exact", epsilon=8))

    def study(preset):
        return run_study(two_classes(scenes), tmp_path, preset, protection, device="cpu")

    whole, file = study(preset), tmp_path / "results.json"
    content = json.loads(file.read_text())
    for trial in content["trials"]:
        for row in trial["seeds"]:
            del row["seed"]  # as they once were
    file.write_text(json.dumps(content))
    assert study(replace(preset, seeds=(0,))).rows == whole.rows
    for damaged in ("", "[]", "{}", file.read_text()[:1000]):
        file.write_text(damaged)
        with pytest.raises(dsguard.InputError, match=r"results\.json is damaged; remove it"):
            study(preset)
    versions = tmp_path / "seed1" / "versions.npz"
    for damaged in (b"", versions.read_bytes()[:1000], bytes(1000)):
        versions.write_bytes(damaged)
        with pytest.raises(dsguard.InputError, match=r"versions\.npz is damaged; remove it"):
            study(preset)
    np.savez(versions, protected=np.zeros((1, 8, 8, 3), np.uint8), restored=np.zeros(3))
    with pytest.raises(dsguard.InputError, match=r"versions\.npz has other images; remove it"):
        study(preset)
    with zipfile.ZipFile(versions, "w") as entries:  # of anybody
        entries.writestr("protected.npy", b"\x93NUMPY\x01\x00\x04\x00((((")
    with pytest.raises(dsguard.InputError, match=r"versions\.npz is damaged; remove it"):
        study(preset)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "seed2").symlink_to("elsewhere")
    with pytest.raises(dsguard.InputError, match="holds a link or a pipe, 'seed2'"):
        study(preset)
    (tmp_path / "seed2").unlink()
    link = tmp_path / "seed0" / "clean-mixup.pt"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        dsguard.InputError, match=r"holds a link or a pipe, 'seed0/clean-mixup\.pt'"
    ):
        study(preset)
    link.unlink()
    for damaged in ("", "[]", "3"):
        (tmp_path / "settings.json").write_text(damaged)
        with pytest.raises(dsguard.InputError, match=r"settings\.json is damaged"):
            study(preset)
    for name in ("settings.json", "results.json", "seed0/pipe"):
        kept = tmp_path / name
        kept.unlink(missing_ok=True)
        os.mkfifo(kept)
        with pytest.raises(dsguard.InputError, match=f"holds a link or a pipe, '{name}'"):
            study(preset)
        kept.unlink()


@pytest.mark.parametrize("kind", ["no text", "pipe", "large"])
def test_a_matplotlibrc_of_strangers_is_told_before_the_trainings(tmp_path, monkeypatch, kind):
    settings = tmp_path / "matplotlibrc"
    if kind == "pipe":
        os.mkfifo(settings)
    else:
        settings.write_bytes(b"font.family: \xe9\n" if kind == "no text" else b"#" * (2 << 20))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="matplotlibrc that is no text"):
        check_plots()
    settings.unlink()
    settings.write_text("font.size: 9\n")
    check_plots()
