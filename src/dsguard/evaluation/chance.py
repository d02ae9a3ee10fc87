"""Whether networks are better than chance, or lucky with their key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]
"""Of test images by class and answer, (classes, classes)."""


@dataclass(frozen=True)
class Luck:
    """Figures of one attack.

    Attributes
    ----------
    accuracy : float
        The mean of its networks, 0 to 1.
    mean, deviation : float
        Of the accuracy with relabelled answers.
    as_high : float
        The share of relabellings that are as accurate, 0 to 1.
    """

    accuracy: float
    mean: float
    deviation: float
    as_high: float


def relabelled(
    answers: Mapping[str, Mapping[int, Shares]], permutations: int = 10_000
) -> tuple[dict[str, Luck], float]:
    """Compare networks with themselves, their answers relabelled at random.

    A drawn picture tells the class, by colours that the key draws for it, and nothing else of the
    clean image. Another key would as well have drawn the colours of one class for another one. So
    the answers of all networks of a key are relabelled by the same permutation of the classes. If
    relabelled networks are often as accurate, chance explains the accuracy.

    Parameters
    ----------
    answers : mapping of str to mapping of int to ndarray of float64, shape (classes, classes)
        Shares of test images by class and answer, by attack and key.
    permutations : int

    Returns
    -------
    attacks : dict of str to Luck
    as_lucky : float
        The share of relabellings, 0 to 1, under which some attack is as lucky as the luckiest one.

    Examples
    --------
    >>> import numpy as np
    >>> knows, guesses = np.eye(10) / 10, np.full((10, 10), 0.01)
    >>> attacks, as_lucky = relabelled({"a": {0: knows}, "b": {0: guesses}})
    >>> attacks["a"].accuracy, attacks["b"].as_high, as_lucky < 0.001
    (1.0, 1.0, True)
    """
    rng = np.random.default_rng(0)
    classes = len(next(iter(next(iter(answers.values())).values())))
    keys = sorted({key for of in answers.values() for key in of})
    drawn = {key: np.array([rng.permutation(classes) for _ in range(permutations)]) for key in keys}
    attacks, shares = {}, []
    for name, of in answers.items():
        each = [shown[np.arange(classes), drawn[key]].sum(axis=1) for key, shown in of.items()]
        others = np.mean(each, axis=0)
        own = float(np.mean([np.trace(shown) for shown in of.values()]))
        # All are ranked among all, so that the luckiest attack of each relabelling is known.
        both = np.append(others, own)
        share = 1 - np.searchsorted(np.sort(both), both - 1e-9) / len(both)
        attacks[name] = Luck(own, float(others.mean()), float(others.std()), float(share[-1]))
        shares.append(share)
    least = np.min(shares, axis=0)
    return attacks, float((least <= least[-1] + 1e-9).mean())
