"""Mark attack: each image is perturbed by itself, in the feature space of a surrogate network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.covers.attack_settings import Attack
from dsguard.covers.base import Batch, Mark

if TYPE_CHECKING:
    from dsguard.covers.surrogate import Surrogate
    from dsguard.kernels.contract import Images


@dataclass(frozen=True, eq=False)
class Attacked(Mark):
    """The activation attack on each image.

    Attributes
    ----------
    surrogate : Surrogate or Path
        A path where other processes put the mark: each loads the network for itself.
    attack : Attack
        Its `block` is that of the codec.
    device : str or None
        Of a surrogate that is loaded.

    Examples
    --------
    >>> from dsguard.covers import Attacked, Itself, Marked
    >>> cover = Marked(Itself(), Attacked(surrogate, attack))  # doctest: +SKIP
    """

    surrogate: Surrogate | Path
    attack: Attack
    device: str | None = None
    needs_network = True

    def settings(self) -> dict[str, str]:
        """Return the attack, and a digest of the surrogate."""
        found = {"mark": repr(self.attack)}
        if isinstance(self.surrogate, Path):
            found["surrogate"] = hashlib.sha256(self.surrogate.read_bytes()).hexdigest()
        return found

    def put(self, batch: Batch, on: Images, grid: int) -> Images:
        """Return `on`, perturbed; labels are the numbers of classes that the surrogate knows."""
        from dsguard.covers.perturbation import perturb

        surrogate = self.surrogate
        if isinstance(surrogate, Path):
            surrogate = _loaded(surrogate, self.device)
        labels = surrogate.classes[batch.numbers()]
        return perturb(on, labels, surrogate, replace(self.attack, block=grid))


@lru_cache(maxsize=1)
def _loaded(path: Path, device: str | None) -> Surrogate:
    from dsguard.covers.surrogate import Surrogate

    return Surrogate.load(path, device)
