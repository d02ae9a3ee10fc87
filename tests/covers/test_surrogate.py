"""Surrogate files that somebody else made: refused with one error, in bounded memory."""

from __future__ import annotations

import resource
import zipfile

import numpy as np
import pytest

import dsguard

torch = pytest.importorskip("torch")

from dsguard.covers.patterns import Patterns  # noqa: E402
from dsguard.fsp import Attack, Surrogate, perturb  # noqa: E402
from dsguard.networks.resnet import LAYERS, build  # noqa: E402

WIDTH = 8


@pytest.fixture
def surrogate(key):
    """A network that was not trained: a file of a few hundred kilobytes."""
    centroids = {name: torch.zeros(2, WIDTH << n) for n, name in enumerate(LAYERS)}
    model = build((8, 8, 3), 2, WIDTH, seed=0).eval()
    patterns = Patterns.drawn([0, 1], key)
    return Surrogate(model, np.arange(2), centroids, patterns, (8, 8, 3), WIDTH, ("cat", "dog"))


def test_what_was_saved_is_loaded(surrogate, tmp_path):
    surrogate.save(tmp_path / "some.pt")
    loaded = Surrogate.load(tmp_path / "some.pt", "cpu")
    weights = loaded.model.state_dict()
    for name, saved in surrogate.model.state_dict().items():
        assert torch.equal(weights[name], saved)
    with torch.no_grad():
        assert loaded.model(torch.rand(3, 3, 8, 8)).shape == (3, 2)
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    assert not loaded.model.training
    assert loaded.class_names == surrogate.class_names
    np.testing.assert_array_equal(loaded.patterns.signs, surrogate.patterns.signs)


def wide(width):
    """Return weights of any width that take no room in a file."""
    with torch.device("meta"):
        claimed = build((8, 8, 3), 2, width, seed=0).state_dict()
    return {
        name: torch.zeros(1, dtype=value.dtype).expand(value.shape or (1,)).reshape(value.shape)
        for name, value in claimed.items()
    }


FORGED = {
    "a width that is not that of the weights": lambda: {"width": 640},
    "weights that are wider than the file": lambda: {"width": 640, "weights": wide(640)},
    "more classes than the file has": lambda: {"classes": torch.zeros(1).expand(10**8)},
    "classes that are no numbers": lambda: {"classes": torch.tensor([0.5, 1.5])},
    "classes in disorder": lambda: {"classes": torch.tensor([1, 0])},
    "patterns of nothing": lambda: {"patterns": torch.zeros(2, 3, 8, 8, dtype=torch.int8)},
    "patterns of one value": lambda: {"patterns": torch.ones(2, 3, 8, 8, dtype=torch.int8)},
    "patterns of other values": lambda: {"patterns": torch.full((2, 3, 8, 8), 2, dtype=torch.int8)},
    "patterns of another shape": lambda: {"patterns": torch.zeros(2, 3, dtype=torch.int8)},
    "names that are no text": lambda: {"class_names": ["cat", None]},
    "no weights": lambda: {"weights": None},
    "centroids that are no numbers": lambda: {
        "centroids": {n: torch.full((2, WIDTH << k), torch.nan) for k, n in enumerate(LAYERS)}
    },
    "no centroids": lambda: {"centroids": {}},
    "an image of no sides": lambda: {"image_shape": [8]},
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_files_are_refused_in_little_memory(surrogate, tmp_path, what):
    path = tmp_path / "forged.pt"
    surrogate.save(path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, **FORGED[what]()}, path)
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(dsguard.FormatError, match="damaged surrogate"):
        Surrogate.load(path, "cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB


def test_files_that_unpack_to_more_than_they_are_meet_no_decoder(surrogate, tmp_path, monkeypatch):
    path = tmp_path / "packed.pt"
    surrogate.save(path)
    with zipfile.ZipFile(path) as stored:
        members = {member.filename: stored.read(member) for member in stored.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data + bytes(1 << 20))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(dsguard.FormatError, match="not a dsguard surrogate"):
        Surrogate.load(path, "cpu")


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_surrogate_that_tells_nothing_leaves_no_image_as_it_is(surrogate, scenes, value):
    with torch.no_grad():
        for weight in surrogate.model.parameters():
            weight.fill_(value)
    images, labels = np.ascontiguousarray(scenes[:2, :8, :8]), surrogate.classes[:2]
    with pytest.raises(dsguard.InputError, match="the surrogate tells nothing of these images"):
        perturb(images, labels, surrogate, Attack(8, "sample-wise", steps=2))
