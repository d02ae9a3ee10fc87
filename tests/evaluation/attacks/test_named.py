"""What a trainer can do against protection, and the networks that might be trained."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsguard import DatasetKey
from dsguard.cli.commands import Exit, run
from dsguard.covers.patterns import FLAT, Patterns
from dsguard.errors import InputError
from dsguard.evaluation import (
    COUNTERMEASURES,
    NETWORKS,
    Trial,
    build_network,
    matrix,
)
from dsguard.evaluation.attacks import Known, Setting, attack_named
from dsguard.fsp import Recipe
from dsguard.networks.training import train

LABELS = (np.arange(2048) % 2).astype(np.int64)
KEY = DatasetKey(bytes(32))


def prepared(name, images, labels, test):
    """Return training and test images as an attack prepares them."""
    made = attack_named(name).prepare(Setting(images, labels, test, lambda *_: None))
    return made.images, made.test_images


def marked():
    """Return images, and the same with one pattern for each of two classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(30, 220, (len(LABELS), 8, 8, 3))
    patterns = rng.choice([-20, 20], (2, 8, 8, 3))
    return images.astype(np.uint8), (images + patterns[LABELS]).astype(np.uint8)


@pytest.mark.parametrize("name", COUNTERMEASURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_one_trains(scenes, name, channels):
    measure = attack_named(name)
    images = np.ascontiguousarray(scenes[..., :channels])
    labels = LABELS[: len(images)]
    before = images.copy()
    if measure.prepare is not None:
        known = Known(images[:6], labels[:6], 255 - images[:6])
        other = build_network("resnet18", images.shape[1:], 4, 8, 0)
        given = Setting(images, labels, images[:2], lambda *_: other)
        made = measure.prepare(replace(given, known=known))
        images, labels = made.images, made.labels
        assert images.shape[1:] == before.shape[1:]
        assert images.dtype == np.uint8
        assert len(images) == len(labels) >= len(before)
        assert made.test_images.shape == before[:2].shape
    model = build_network(measure.network or "resnet18", before.shape[1:], 2, 8, 0)
    recipe = Recipe(epochs=1, batch_size=4)
    train(model, images, labels, recipe, torch.device("cpu"), alter=measure.alter)
    assert (scenes[..., :channels] == before).all()
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_an_unknown_one_is_named():
    with pytest.raises(InputError, match=r"no counter-measure 'magic'.*cutout"):
        attack_named("magic")


def test_gray_is_gray(scenes):
    gray, _ = prepared("gray", scenes, LABELS[: len(scenes)], scenes)
    assert (gray == gray[..., :1]).all()


@pytest.mark.parametrize("name", ["class-mean", "projection"])
def test_class_patterns_are_found_and_removed(name):
    images, patterned = marked()
    cleaned, _ = prepared(name, patterned, LABELS, images)

    def pattern_left(batch):
        means = [batch[label == LABELS].mean(axis=0) for label in (0, 1)]
        return np.abs(means[0] - means[1]).mean()

    assert pattern_left(patterned) > 15
    assert pattern_left(cleaned) < 5


def test_textures_are_evened_out_and_flat_tiles_are_not():
    images = np.random.default_rng(0).integers(30, 220, (10, 32, 32, 3), dtype=np.uint8)
    numbers = np.arange(10)
    patterned = Patterns.drawn(numbers, KEY).added(images, images, numbers, 16, 4)
    both = [prepared("evened", batch, numbers, batch) for batch in (images, patterned)]
    (clean, _), (evened, test) = both
    np.testing.assert_array_equal(evened, test)
    left = np.abs(evened.astype(int) - clean).max(axis=(0, 3))[::4, ::4]
    assert (left[FLAT] == 16).all()
    assert (left[~FLAT] <= 1).all()
    tiles = np.abs(clean.astype(int) - images).mean()
    assert 0 < tiles < 12  # what lies within cells stays


def test_the_informed_attack_takes_textures_and_flat_tiles():
    images = np.random.default_rng(0).integers(60, 190, (600, 32, 32, 3), dtype=np.uint8)
    numbers = np.arange(600) % 2
    patterned = Patterns.drawn([0, 1], KEY).added(images, images, numbers, 16, 4)
    cleaned, _ = prepared("informed", patterned, numbers, images)
    projected, _ = prepared("projection", patterned, numbers, images)

    def cells(batch):
        return batch.reshape(600, 8, 4, 8, 4, 3).mean(axis=(2, 4))

    def flat_left(batch):
        means = [cells(batch)[numbers == number].mean(axis=0) for number in (0, 1)]
        return np.abs(means[0] - means[1])[:2, :2].mean()

    def texture_left(batch):
        return cells(batch)[:, :2, 2:4].std(axis=(1, 2)).mean()

    assert flat_left(cleaned) < 0.6 * flat_left(patterned)
    assert texture_left(cleaned) < 0.1 * texture_left(projected)


def test_mixtures_keep_the_share_of_answers():
    pixels = torch.zeros(64, 1, 16, 16)
    pixels[:32] = 1  # so that the mean of an image is its share of class 0
    answers = torch.nn.functional.one_hot(torch.arange(64) // 32).float()
    for name in ("mixup", "cutmix"):
        mixed, wanted = COUNTERMEASURES[name].alter(
            None, pixels, answers, torch.Generator().manual_seed(1)
        )
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), wanted[:, 0])
        assert 0 < wanted[:, 0].std() < 0.5


def test_cutout_erases_a_quarter_at_most():
    pixels = torch.ones(256, 1, 32, 32)
    cut, _ = COUNTERMEASURES["cutout"].alter(None, pixels, None, torch.Generator().manual_seed(0))
    erased = 1 - cut.mean(dim=(1, 2, 3))
    assert erased.max() == 0.25
    assert erased.min() > 0.05


def test_the_attack_stays_in_its_ball_and_hurts(scenes):
    labels = LABELS[: len(scenes)]
    model = build_network("resnet18", scenes.shape[1:], 2, 8, 0)
    train(model, scenes, labels, Recipe(epochs=4, batch_size=4), torch.device("cpu"))
    pixels = torch.from_numpy(scenes).permute(0, 3, 1, 2).float() / 255
    answers = torch.nn.functional.one_hot(torch.from_numpy(labels)).float()
    attacked, _ = COUNTERMEASURES["adversarial"].alter(
        model, pixels, answers, torch.Generator().manual_seed(0)
    )
    assert (attacked - pixels).abs().max() <= 4 / 255 + 1e-6
    loss = torch.nn.functional.cross_entropy
    assert loss(model(attacked), answers) > loss(model(pixels), answers)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 48, 1)])
def test_networks_take_images_and_repeat(name, shape):
    height, width, channels = shape
    one, other = (build_network(name, shape, 5, 8, seed=3) for _ in range(2))
    pixels = torch.rand(2, channels, height, width)
    assert one(pixels).shape == (2, 5)
    torch.testing.assert_close(one(pixels), other(pixels))
    assert not torch.equal(one(pixels), build_network(name, shape, 5, 8, seed=4)(pixels))


def test_an_unknown_network_is_named():
    with pytest.raises(InputError, match=r"no network 'magic'.*vgg11"):
        build_network("magic", (32, 32, 3), 2, 8, 0)
    with pytest.raises(InputError, match="width of 8 or more"):
        build_network("resnet18", (32, 32, 3), 2, 4, 0)


def test_a_share_is_protected():
    versions = {"clean": np.zeros((10, 1)), "protected": np.ones((10, 1))}
    labels = np.arange(10)
    mixed, same = Trial("protected", percent=80).training_set(versions, labels)
    assert mixed.sum() == 8
    assert (same == labels).all()
    alone, own = Trial("unprotected", percent=80).training_set(versions, labels)
    assert alone.sum() == 0
    assert (own == np.flatnonzero(mixed[:, 0] == 0)).all()
    recipe = Recipe(epochs=14, batch_size=128)
    assert Trial("protected", percent=80).epochs(recipe, 5000) == 14
    assert Trial("unprotected", percent=80).epochs(recipe, 5000) == 14 * 40 // 8
    assert Trial("unprotected", percent=99).epochs(recipe, 5000) == 14 * 40


def test_the_matrix_has_each_trial_once():
    trials = matrix(["none", "jpeg"], ["resnet18", "vit"], [50])
    assert len({trial.slug for trial in trials}) == len(trials) == 3 + 2 + 2 + 4
    assert Trial("restored").twin == Trial("clean")
    assert Trial("clean", "jpeg").title == "clean, JPEG 10"
    assert Trial("unprotected", percent=80).title == "the other 20 % alone"
    assert trials[-1].title == "the other 50 % alone, crop and flip"


def test_the_help_names_every_counter_measure_and_network(capsys):
    assert run(["evaluate", "--help"]) == Exit.OK
    words = set(re.findall(r"[\w-]+", re.sub(r"-\n\s+", "-", capsys.readouterr().out)))
    assert words >= {*COUNTERMEASURES, *NETWORKS} - {"none", "resnet18"}
