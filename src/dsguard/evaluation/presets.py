"""How large a study is, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsguard.fsp import Recipe


@dataclass(frozen=True)
class Preset:
    """How large a study is.

    Attributes
    ----------
    name : str
    train_images, test_images : int or None
        The most images of each, evenly from all classes; None takes all.
    width : int
        Of the networks.
    training, surrogate : Recipe
    seeds : tuple of int
        One comparison each; the seeds of weights, order and the key.
    known_images : int
        The most clean images of an attacker's own.
    """

    name: str
    train_images: int | None
    test_images: int | None
    width: int
    training: Recipe
    surrogate: Recipe
    seeds: tuple[int, ...]
    known_images: int = 500

    def computed_in(self, *, bfloat16: bool | None) -> Preset:
        """Return this preset with that precision of all trainings; see `Recipe`."""
        return replace(
            self,
            training=replace(self.training, bfloat16=bfloat16),
            surrogate=replace(self.surrogate, bfloat16=bfloat16),
        )


QUICK = Preset("quick", 5000, 2000, 16, Recipe(epochs=14), Recipe(epochs=14, seed=100), (0,))
"""Minutes on two CPU cores: a lead, not a result."""

PAPER = Preset("paper", None, None, 64, Recipe(epochs=80), Recipe(epochs=30, seed=100), (0, 1, 2))
"""The settings of Xue et al.: ResNet-18, Adam from 0.01, batch 128, 80 epochs; wants a GPU."""

FULL = Preset("full", None, None, 16, Recipe(epochs=20), Recipe(epochs=14, seed=100), (0,))
"""All images on two CPU cores: a network in a quarter of an hour or more."""

_FIELD = Recipe(epochs=120, learning_rate=0.1, augment=True, optimizer="sgd", weight_decay=5e-4)
FIELD = Preset("field", None, None, 64, _FIELD, Recipe(epochs=30, seed=100), (0, 1, 2))
"""The settings that most of the field reports: SGD, crops and flips, 120 epochs; wants a GPU."""

PRESETS = {preset.name: preset for preset in (QUICK, FULL, PAPER, FIELD)}
