"""Feature-space perturbation: make targets for images with the help of a surrogate network.

These are the names of `dsguard.covers` and `dsguard.networks` that need torch:
``pip install 'dsguard[fsp]'``.
"""

import dsguard.networks  # noqa: F401 - says plainly where torch is missing
from dsguard.covers.attack_settings import Attack
from dsguard.covers.perturbation import perturb
from dsguard.covers.surrogate import Surrogate, fit_surrogate
from dsguard.networks.resnet import ResNet18
from dsguard.networks.training import Recipe, accuracy, choose_device, train

__all__ = [
    "Attack",
    "Recipe",
    "ResNet18",
    "Surrogate",
    "accuracy",
    "choose_device",
    "fit_surrogate",
    "perturb",
    "train",
]
