"""Protections of a study, and the images of an attacker's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dsguard
from dsguard.cli.commands import Exit, run
from dsguard.evaluation import own_images
from dsguard.evaluation.presets import FIELD, PRESETS, QUICK, Preset
from dsguard.evaluation.protection import Protection
from dsguard.evaluation.study import run_study
from dsguard.evaluation.trials import Trial
from dsguard.formats import encode_image
from dsguard.fsp import Attack, Recipe

KEY = dsguard.DatasetKey(bytes(32))
ATTACK = Attack.carried_by("sealed", epsilon=16)


@pytest.fixture
def dataset(tmp_path, scenes):
    """Return a folder of 24 images of two classes, and 8 to test on."""
    many = np.concatenate([scenes, 255 - scenes, scenes[:, ::-1], scenes[:, :, ::-1]])
    for n, image in enumerate(many):
        split = "train" if n < 24 else "test"
        path = tmp_path / "data" / split / ("light", "dark")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    return tmp_path / "data"


@pytest.mark.parametrize("shows", ["blank", "preview", "samples", "other"])
def test_covers_show_what_they_are_called(scenes, shows):
    labels = np.arange(len(scenes)) % 2
    protection = Protection("sealed", ATTACK, shows, cells=4)
    protected, restored = protection.protect(scenes, labels, KEY, None)
    np.testing.assert_array_equal(restored, scenes)
    near = np.abs(protected.astype(int) - scenes).mean(axis=(1, 2, 3))
    if shows == "samples":
        assert (near < 16).sum() == 2
    assert protection.settings()["cover"] == shows
    assert protection.settings() != Protection("sealed", ATTACK, shows, cells=8).settings()
    assert not protection.needs_surrogate


def test_a_profile_has_its_own_cover(scenes):
    assert Protection("exact", ATTACK).needs_surrogate
    assert not Protection("exact", ATTACK, "other").needs_surrogate
    assert "cover" not in Protection("veil", ATTACK).settings()
    labelled, unlabelled = (Protection("sealed", ATTACK, labelled=told) for told in (True, False))
    assert labelled.settings() != unlabelled.settings()


def test_an_attacker_has_other_images(dataset, scenes, tmp_path):
    data = own_images(dataset, 16, None, known_limit=5)
    assert (len(data.train_images), len(data.known_images)) == (16, 5)
    assert data.same_classes
    trained = {image.tobytes() for image in data.train_images}
    assert not trained & {image.tobytes() for image in data.known_images}
    assert own_images(dataset, None, None, known_limit=5).known_images is None
    assert own_images(dataset, 16, None).known_images is None
    assert data.digest() != own_images(dataset, 16, None, known_limit=4).digest()
    for n, scene in enumerate(scenes):
        path = tmp_path / "others" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(np.repeat(np.repeat(scene, 2, 0), 2, 1)))
    foreign = own_images(dataset, None, None, known_limit=6, known=tmp_path / "others")
    assert foreign.known_images.shape == (6, *scenes.shape[1:])
    assert not foreign.same_classes
    small = {scene.tobytes() for scene in scenes}
    assert {image.tobytes() for image in foreign.known_images} <= small


def test_attacks_that_need_what_is_not_there_are_refused(dataset, tmp_path):
    recipe = Recipe(epochs=1, batch_size=8)
    preset = Preset("tiny", None, None, 8, recipe, recipe, (0,))
    protection = Protection("sealed", ATTACK)
    data = own_images(dataset, None, None)
    for name in ("remover", "few-5"):
        trials = [Trial("protected", name)]
        with pytest.raises(dsguard.InputError, match=rf"attack {name} needs clean images"):
            run_study(data, tmp_path / "study", preset, protection, trials=trials, device="cpu")
    assert not (tmp_path / "study").exists()


def test_every_attack_of_the_command_line(quick_networks, dataset, tmp_path, capsys):
    out = tmp_path / "study"
    options = ["--out", str(out), "--profile", "sealed", "--cover", "preview", "--cells", "4"]
    options += ["--device", "cpu", "--epochs", "1", "--known", str(dataset / "test")]
    options += [word for name in ("cells-4", "remover", "pseudo-labels-5",
                                              "self-supervised-5", "jigsaw", "ueraser")
                for word in ("--against", name)]  # fmt: skip
    assert run(["evaluate", str(dataset), *options]) == Exit.OK
    assert "tested on clean images" in capsys.readouterr().out
    content = json.loads((out / "results.json").read_text())
    names = {row["name"] for trial in content["trials"] for row in trial["seeds"]}
    assert "protected, means of 4×4 cells" in names
    assert content["settings"]["cover"] == "preview"
    assert len(content["trials"]) == 3 + 2 * 6


def test_presets_of_the_field():
    assert set(PRESETS) == {"quick", "full", "paper", "field"}
    assert QUICK.known_images == 500
    recipe = FIELD.training
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("sgd", 0.1, 5e-4)
    with pytest.raises(dsguard.InputError, match="optimizer is adam or sgd"):
        Recipe(optimizer="lion")


def test_sgd_learns(scenes):
    from dsguard.evaluation import learn

    labels = (np.arange(64) % 2).astype(np.int64)
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 60, (64, 8, 8, 3)) + labels[:, None, None, None] * 150).astype("u1")
    recipe = Recipe(epochs=6, batch_size=16, learning_rate=0.05, optimizer="sgd", weight_decay=5e-4)
    row = learn("clean", images, labels, images, labels, recipe=recipe, width=8, device="cpu")
    assert row.test_accuracy > 0.9


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ([], "sealed"), (["--cover", "preview"], "sealed"), (["--epsilon", "8"], "exact"),
        (["--kind", "class-wise"], "exact"), (["--profile", "veil"], "veil"),
    ],
)  # fmt: skip
def test_evaluate_measures_what_protect_makes(dataset, tmp_path, monkeypatch, options, profile):
    chosen = []

    def stop(data, out, preset, protection, **_):
        chosen.append(protection.profile)
        msg = "enough"
        raise dsguard.InputError(msg)

    monkeypatch.setattr("dsguard.evaluation.study.run_study", stop)
    assert run(["evaluate", str(dataset), "--out", str(tmp_path / "x"), *options]) == Exit.USAGE
    assert chosen == [profile]
