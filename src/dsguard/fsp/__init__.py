"""Feature-space perturbation: make targets for images with the help of a surrogate network.

Needs torch: ``pip install 'dsguard[fsp]'``.
"""

try:
    import torch  # noqa: F401 - only to fail with a clear message where it is missing
except ImportError as error:
    from dsguard.errors import MissingExtraError

    raise MissingExtraError.of("torch", "fsp") from error  # noqa: EM101

from dsguard.fsp.attack import Attack, perturb
from dsguard.fsp.resnet import ResNet18
from dsguard.fsp.surrogate import Surrogate, fit_surrogate
from dsguard.fsp.training import Recipe, accuracy, choose_device, train

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
