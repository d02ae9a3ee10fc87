"""The surrogate and the activation attack."""

from __future__ import annotations

import io

import numpy as np
import pytest

import dsguard
from dsguard.covers.attack_settings import KINDS
from dsguard.covers.patterns import Patterns

torch = pytest.importorskip("torch")

from dsguard.fsp import (  # noqa: E402
    Attack,
    Recipe,
    Surrogate,
    accuracy,
    fit_surrogate,
    perturb,
)
from dsguard.networks.resnet import build  # noqa: E402
from dsguard.networks.training import frozen, save_whole, train  # noqa: E402


def stripes(count: int, shape=(16, 16, 3), seed: int = 0):
    """Return images of three classes that a small network tells apart: stripe directions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    y, x = np.mgrid[: shape[0], : shape[1]]
    images = []
    for label in labels:
        wave = [x, y, x + y][label] + rng.integers(0, 4)
        image = 128 + 60 * np.sin(wave * np.pi / 2)[..., None] + rng.normal(0, 20, shape)
        images.append(np.clip(image, 0, 255))
    return np.stack(images).astype(np.uint8), labels * 10


@pytest.fixture(scope="module")
def fitted():
    images, labels = stripes(240)
    recipe = Recipe(epochs=4, batch_size=32)
    return fit_surrogate(images, labels, recipe=recipe, width=8, device="cpu"), images, labels


def test_surrogate_learns(fitted):
    surrogate, _, _ = fitted
    test_images, test_labels = stripes(60, seed=1)
    numbers = surrogate.class_numbers(test_labels, len(test_labels))
    assert accuracy(surrogate.model, test_images, numbers, surrogate.device) > 0.9


def test_perturbation_stays_within_epsilon_and_moves_towards_the_target(fitted):
    surrogate, images, labels = fitted
    attack = Attack(epsilon=8, kind="sample-wise", steps=12)
    out = perturb(images[:40], labels[:40], surrogate, attack)
    assert np.abs(out.astype(int) - images[:40]).max() == 8
    numbers = surrogate.class_numbers(labels[:40], 40)
    goal = surrogate.centroids["layer4"][(numbers + 1) % 3]

    def distance(batch):
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        with frozen(surrogate.model), torch.no_grad():
            return (surrogate.model.features(pixels) - goal).norm(dim=1).mean().item()

    assert distance(out) < 0.9 * distance(images[:40])
    again = perturb(images[:40], labels[:40], surrogate, attack)
    np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("kind", KINDS)
def test_perturbation_is_constant_on_squares(fitted, kind):
    surrogate, images, labels = fitted
    middle = np.clip(images[:6], 20, 235)
    out = perturb(middle, labels[:6], surrogate, Attack(epsilon=8, kind=kind, steps=2, block=4))
    delta = (out.astype(int) - middle).reshape(6, 4, 4, 4, 4, 3)
    np.testing.assert_array_equal(delta, delta[:, :, :1, :, :1].repeat(4, 2).repeat(4, 4))
    assert (delta != 0).any()


def test_patterns_drive_the_features(fitted):
    surrogate, images, labels = fitted
    numbers = surrogate.class_numbers(labels, len(labels))
    gray = np.clip(images, 20, 235)
    cells = perturb(gray, labels, surrogate, Attack(epsilon=16)).astype(int) - gray
    assert set(np.unique(cells)) == {-16, 16}
    goal = surrogate.centroids["layer4"][(numbers + 1) % 3]

    def distance(batch):
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        with frozen(surrogate.model), torch.no_grad():
            return (surrogate.model.features(pixels) - goal).norm(dim=1).mean().item()

    signs = surrogate.patterns.signs
    fitted_ones = Patterns(signs).added(images, images, numbers, 16, 1)
    opposite_ones = Patterns(-signs).added(images, images, numbers, 16, 1)
    assert distance(fitted_ones) < 0.97 * distance(opposite_ones)


@pytest.mark.parametrize("size", [(8, 8), (9, 30), (32, 32), (250, 70)])
def test_patterns_fit_any_image(fitted, size):
    surrogate, _, _ = fitted
    images = np.full((3, *size, 3), 100, np.uint8)
    for block in (1, 2, 4, 8):
        out = perturb(images, [0, 10, 20], surrogate, Attack(block=block)).astype(int) - images
        assert (np.abs(out) == 16).all()
        rows, columns = (side // block * block for side in size)
        squares = out[:, :rows, :columns].reshape(3, rows // block, block, -1, block, 3)
        assert (squares == squares[:, :, :1, :, :1]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(16, 16, 4), (16, 16, 1), (24, 20, 3), (16, 16)])
def test_other_shapes_are_perturbed(fitted, shape, kind):
    surrogate, _, _ = fitted
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    out = perturb(images, [0, 10, 20], surrogate, Attack(kind=kind, steps=2))
    assert out.shape == images.shape
    assert (out != images).any()
    if shape[-1] == 4:
        np.testing.assert_array_equal(out[..., 3], images[..., 3])


@pytest.mark.parametrize(
    ("profile", "kind", "block"),
    [("exact", "class-wise", 4), ("exact-fine", "class-wise", 2), ("paper", "sample-wise", 1)],
)
def test_protect_batch_perturbs_what_the_profile_carries(fitted, key, profile, kind, block):
    surrogate, images, labels = fitted
    use = {"profile": profile}
    out = dsguard.protect_batch(images[:6], key, labels=labels[:6], surrogate=surrogate, **use)
    assert Attack.carried_by(profile) == Attack(kind=kind, block=block)
    target = perturb(images[:6], labels[:6], surrogate, Attack(kind=kind, block=block))
    expected = dsguard.protect_batch(images[:6], key, target=target, **use)
    np.testing.assert_array_equal(out.images, expected.images)
    assert out.sidecars == expected.sidecars


def test_the_model_is_left_as_it_was(fitted):
    surrogate, images, labels = fitted
    surrogate.model.train()
    before = {name: value.clone() for name, value in surrogate.model.state_dict().items()}
    perturb(images[:4], labels[:4], surrogate, Attack(kind="sample-wise", steps=1))
    assert surrogate.model.training
    assert all(parameter.requires_grad for parameter in surrogate.model.parameters())
    for name, value in surrogate.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    surrogate.model.eval()


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_stops_torch_while_it_writes_is_told(tmp_path, monkeypatch, stop):
    class Stopping(io.BytesIO):
        def write(self, data):
            raise stop

    monkeypatch.setattr("dsguard._atomic.open_new", lambda *_: Stopping())
    with pytest.raises(type(stop)):
        save_whole({"weights": torch.zeros(1000)}, tmp_path / "file.pt")
    assert not list(tmp_path.iterdir())


def test_surrogates_survive_storage(fitted, tmp_path):
    surrogate, images, labels = fitted
    surrogate.save(tmp_path / "s.pt")
    loaded = Surrogate.load(tmp_path / "s.pt", "cpu")
    assert loaded.image_shape == surrogate.image_shape
    np.testing.assert_array_equal(loaded.classes, surrogate.classes)
    for kind in KINDS:
        attack = Attack(kind=kind, steps=2)
        np.testing.assert_array_equal(
            perturb(images[:4], labels[:4], loaded, attack),
            perturb(images[:4], labels[:4], surrogate, attack),
        )
    (tmp_path / "no.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(dsguard.FormatError, match="not a dsguard surrogate"):
        Surrogate.load(tmp_path / "no.pt")
    torch.save({"kind": "dsguard-surrogate", "version": 99}, tmp_path / "new.pt")
    with pytest.raises(dsguard.FormatError, match="version 99"):
        Surrogate.load(tmp_path / "new.pt")


def test_bad_arguments_are_refused(fitted):
    surrogate, images, labels = fitted
    with pytest.raises(dsguard.InputError, match="image 1: its label 11 is not one"):
        perturb(images[:2], [0, 11], surrogate)
    with pytest.raises(dsguard.InputError, match="expected 2 integer labels"):
        perturb(images[:2], labels[:3], surrogate)
    with pytest.raises(dsguard.InputError, match="the layers are"):
        Attack(layer="layer9")
    with pytest.raises(dsguard.InputError, match="the kinds are"):
        Attack(kind="magic")
    with pytest.raises(dsguard.InputError, match="epsilon"):
        Attack(epsilon=-1)
    with pytest.raises(dsguard.InputError, match="at least two classes"):
        fit_surrogate(images[:3], [1, 1, 1])
    with pytest.raises(dsguard.InputError, match="integer labels"):
        fit_surrogate(images[:3], [0.5, 1, 1])
    with pytest.raises(dsguard.InputError, match="integer labels"):
        fit_surrogate(images[:3], [0, 1])
    gray = fit_surrogate(
        images[:6, :, :, 0], labels[:6], recipe=Recipe(epochs=1), width=8, device="cpu"
    )
    with pytest.raises(dsguard.InputError, match="gray images"):
        perturb(images[:2], labels[:2], gray)


def test_training_is_reproducible_and_augmentation_changes_it():
    images, labels = stripes(48)
    numbers = labels.astype(np.int64) // 10
    weights = []
    for augment in (False, False, True):
        model = build((16, 16, 3), 3, 8, seed=5)
        recipe = Recipe(epochs=1, batch_size=16, augment=augment, seed=5)
        train(model, images, numbers, recipe, torch.device("cpu"))
        weights.append(model.head.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_augmentation_crops_and_flips_only():
    from dsguard.networks.training import crop_and_flip

    ramp = torch.arange(1.0, 17).reshape(1, 1, 1, 16).expand(64, 2, 16, 16).contiguous()
    out = crop_and_flip(ramp, torch.Generator().manual_seed(0))
    steps = out.diff(dim=3)[:, 0, 8, 4:11]
    assert {float(v) for v in steps.unique()} == {-1.0, 1.0}
    assert torch.equal(out[:, 0], out[:, 1])
    flipped = (steps[:, 0] < 0).float().mean().item()
    assert 0.2 < flipped < 0.8


def test_large_images_take_the_large_stem():
    model = build((96, 96, 3), 2, 8, seed=0)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 2)
    assert model.features(torch.zeros(1, 3, 96, 96), "layer1").shape == (1, 8)
