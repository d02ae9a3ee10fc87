"""Attacks do what their sources say: each undoes a thing that it was made for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsguard.evaluation.attacks import Known, Setting, attack_named
from dsguard.evaluation.attacks.batches import quarter_turns
from dsguard.evaluation.comparison import learn
from dsguard.networks.training import Recipe

GENERATOR = torch.Generator


def prepared(name, images, labels=None, **options):
    labels = np.zeros(len(images), np.int64) if labels is None else labels
    given = Setting(images, labels, images, lambda *_: None, **options)
    return attack_named(name).prepare(given)


def altered(name, pixels, seed=0):
    answers = torch.zeros(len(pixels), 2)
    out, same = attack_named(name).alter(None, pixels, answers, GENERATOR().manual_seed(seed))
    assert same is answers
    return out


def smooth(count, side=32, seed=0):
    """Return pictures of a few colours that run into each other."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(40, 215, (count, 3, 5, 5)))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return fine.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize(("name", "least", "most"), [("low-pass", 0, 8), ("high-pass", 4, 16)])
def test_bands_keep_their_frequencies(name, least, most):
    across = np.arange(32)
    for waves in (2, 6, 12):
        wave = np.rint(128 + 60 * np.cos(2 * np.pi * waves * across / 32)).astype(np.uint8)
        images = np.broadcast_to(wave[None, None, :, None], (1, 32, 32, 3)).copy()
        made = prepared(name, images).images
        kept = least <= waves <= most
        assert (made.std() > 40) == kept
        assert (made.std() < 2) != kept


def test_bits_are_few_and_reach_from_black_to_white():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.unique(prepared("bit-depth", images).images).tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("name", ["jpeg", "jpeg-30", "jpeg-50", "jpeg-70", "jpeg-90"])
def test_compression_costs_less_the_better_it_is(name, scenes):
    error = np.abs(prepared(name, scenes).images.astype(int) - scenes).mean()
    better = np.abs(prepared("jpeg-90", scenes).images.astype(int) - scenes).mean()
    assert error >= better > 0


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_local_contrast_does_not_see_slow_changes(sigma):
    images = smooth(8)
    ramp = np.linspace(-30, 30, 32)[None, :, None, None]
    moved = (images.astype(int) * 0.7 + 40 + ramp).round().clip(0, 255).astype(np.uint8)
    plain = (images.astype(int) * 0.7 + 40).round().clip(0, 255).astype(np.uint8)
    one, other = (prepared(f"contrast-{sigma}", of).images.astype(int) for of in (plain, moved))
    inside = np.s_[:, 8:-8, 8:-8]
    assert np.abs(one - other)[inside].mean() < np.abs(plain.astype(int) - moved)[inside].mean()


@pytest.mark.parametrize("side", [4, 8])
@pytest.mark.parametrize("shape", [(32, 32), (30, 21)])
def test_cells_are_even_and_keep_their_means(side, shape, scenes):
    images = scenes[:, : shape[0], : shape[1]]
    made = prepared(f"cells-{side}", images).images
    rows, columns = (np.arange(length) * side // length for length in shape)
    for row, column in ((0, 0), (1, 2), (side - 1, side - 1)):
        cell = np.ix_(range(len(images)), rows == row, columns == column, range(3))
        assert (made[cell] == made[cell][:, :1, :1]).all()
        wanted = images[cell].mean(axis=(1, 2))
        assert np.abs(made[cell][:, 0, 0] - wanted).max() <= 0.51


def test_jitter_stays_near():
    ramp = torch.linspace(0, 1, 32).expand(4, 3, 32, 32)
    moved = altered("jitter", ramp)
    away = (moved - ramp).abs()[..., 3:-3]
    assert 0.01 < away.mean() < away.max() <= 2 / 31 + 1e-6


def test_ueraser_takes_the_worst(scenes):
    pixels = torch.from_numpy(scenes).permute(0, 3, 1, 2).float() / 255
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    model(pixels)
    answers = torch.nn.functional.one_hot(torch.zeros(len(scenes), dtype=int), 2).float()
    attack = attack_named("ueraser").alter
    worst, same = attack(model, pixels, answers, GENERATOR().manual_seed(0))
    assert same is answers
    assert worst.shape == pixels.shape
    assert 0 <= worst.min() <= worst.max() <= 1
    loss = torch.nn.functional.cross_entropy
    assert loss(model(worst), answers) > loss(model(pixels), answers)


def test_blocks_are_turned_where_they_are(scenes):
    pixels = torch.from_numpy(scenes).permute(0, 3, 1, 2).float()
    turned = altered("jigsaw", pixels)
    assert not torch.equal(turned, pixels)

    def blocks(of):
        cut = of.reshape(len(of), 3, 8, 4, 8, 4).permute(0, 2, 4, 3, 5, 1)
        return cut.reshape(-1, 4, 4, 3)

    for before, after in zip(blocks(pixels[:2]), blocks(turned[:2]), strict=True):
        assert any(torch.equal(before.rot90(n, (0, 1)), after) for n in range(4))


def test_a_remover_learns_to_take_a_pattern_off():
    rng = np.random.default_rng(1)
    pattern = rng.choice([-24, 24], (4, 4, 3)).repeat(4, 0).repeat(4, 1)
    clean, own = smooth(64, 16, seed=2), smooth(96, 16, seed=3)
    published, pairs = ((of + pattern).clip(0, 255).astype(np.uint8) for of in (clean, own))
    known = Known(own, np.zeros(len(own), np.int64), pairs)
    made = prepared("remover", published, known=known)
    np.testing.assert_array_equal(made.test_images, published)

    def error(images):
        return np.abs(images.astype(int) - clean).mean()

    assert error(published) > 20
    assert error(made.images) < 6


def test_the_part_of_the_class_is_taken_off():
    rng = np.random.default_rng(1)
    labels = np.arange(768) % 4
    patterns = rng.choice([-20, 20], (4, 8, 8, 3)).repeat(2, 1).repeat(2, 2)
    clean = smooth(768, 16, seed=4)
    published = (clean + patterns[labels]).clip(0, 255).astype(np.uint8)
    made = prepared("disentangled", published, labels).images

    def told(images):
        """Return how far means of classes are apart, over the shared mean."""
        means = np.stack([images[labels == label].mean(axis=0) for label in range(4)])
        return (means - means.mean(axis=0)).std()

    assert told(made) < 0.6 * told(published)


@pytest.mark.parametrize("percent", [1, 5])
def test_few_images_are_repeated_and_teach_labels(scenes, percent):
    images = np.concatenate([scenes] * 20)
    labels = np.arange(len(images)) % 3
    own = np.arange(30) % 3
    known = Known(np.repeat(own, 32 * 32 * 3).astype(np.uint8).reshape(30, 32, 32, 3), own, images)
    made = prepared(f"few-{percent}", images, labels, known=known)
    count = max(3, len(images) * percent // 100)
    different = np.unique(made.images[:, 0, 0, 0])
    assert len(made.images) == len(images)
    assert set(made.labels) == {0, 1, 2}
    assert (made.images[:, 0, 0, 0] == made.labels).all()
    assert len(different) == 3 <= count

    def learn(taught, of):
        assert (taught[:, 0, 0, 0] == of).all()
        return Says(2)

    given = Setting(images, labels, images[:3], learn, known)
    made = attack_named(f"pseudo-labels-{percent}").prepare(given)
    assert len(made.images) == 2 * len(images)
    assert (made.labels[len(images) :] == 2).all()
    np.testing.assert_array_equal(made.images[len(images) :], images)


class Says(torch.nn.Module):
    """A network that takes everything to be of one class."""

    def __init__(self, label):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.eye(4)[label])

    def forward(self, pixels):
        return self.answer.expand(len(pixels), 4)


def test_features_are_learned_without_labels(scenes):
    """The published images are turned, and the network that tells how far is gone on with."""
    known = Known(scenes[:3], np.arange(3), scenes[:3])
    alone = Says(0)

    def learn(taught, turns, alter):
        np.testing.assert_array_equal(taught, scenes)
        assert set(turns) == {0, 1, 2, 3}
        pixels = torch.from_numpy(taught).permute(0, 3, 1, 2)
        answers = torch.nn.functional.one_hot(torch.from_numpy(turns)).float()
        turned, told = alter(None, pixels, answers, GENERATOR().manual_seed(0))
        assert len(set(told.argmax(1).tolist())) > 2
        for one, before, answer in zip(turned, pixels, told, strict=True):
            assert (one == before.rot90(int(answer.argmax()), (1, 2))).all()
        return alone

    labels = np.zeros(len(scenes), np.int64)
    given = Setting(scenes, labels, scenes[:3], learn, known)
    made = attack_named("self-supervised-5").prepare(given)
    assert made.begin is alone
    np.testing.assert_array_equal(np.unique(made.labels), np.arange(3))
    assert {image.tobytes() for image in made.images} == {image.tobytes() for image in scenes[:3]}


def test_images_that_are_not_square_are_turned_in_their_middle(scenes):
    pixels = torch.from_numpy(scenes[:, :, :20]).permute(0, 3, 1, 2)
    turned, told = quarter_turns(None, pixels, torch.zeros(len(pixels), 4), GENERATOR())
    assert turned.shape[2:] == (20, 20)
    for one, before, answer in zip(turned, pixels, told, strict=True):
        assert (one == before[:, 6:26].rot90(int(answer.argmax()), (1, 2))).all()


@pytest.mark.parametrize("classes", [2, 10])
def test_a_training_begins_with_the_features(scenes, classes, monkeypatch):
    begun = []

    def train(model, *_, **__):
        begun.append(model.stem[0].weight.detach().clone())
        with torch.no_grad():
            model.stem[0].weight.fill_(0.25)
        return [0.5]

    monkeypatch.setattr("dsguard.evaluation.comparison.train", train)
    labels = np.arange(len(scenes)) % classes
    own = Known(scenes, labels, scenes)
    learn("few", scenes, labels, scenes, labels, recipe=Recipe(epochs=1), known=own, width=8,
          against="self-supervised-5", device="cpu")  # fmt: skip
    assert not (begun[0] == 0.25).any()
    assert (begun[1] == 0.25).all()


def test_disentangling_takes_a_last_batch_of_one_small_image():
    images = np.arange(129 * 12, dtype=np.uint8).reshape(129, 2, 2, 3)
    assert prepared("disentangled", images, np.arange(129) % 2).images.shape == images.shape
