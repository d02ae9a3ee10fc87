"""The settings of an activation attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsguard.choices import LAYERS, STRENGTHS
from dsguard.codecs import codec_named
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.profiles import Profile

KINDS = ("class-wise", "sample-wise")


@dataclass(frozen=True)
class Attack:
    """How to perturb.

    Attributes
    ----------
    epsilon : int
        Radius of the L∞ ball, in grey levels of 0..255.
    kind : {"class-wise", "sample-wise"}
    block : int
        The perturbation is constant on squares of this side, per channel. 1 is the classic,
        pixel-wise attack; a multiple of the profile's block passes through mRIT undiminished.
    batch_size : int
        Images perturbed at once.
    steps : int
        This and what follows is for the sample-wise attack.
    step_size : float or None
        In grey levels; None is ε/8, at least half a level.
    decay : float
        Of the momentum.
    layer : str
        Stage of the surrogate whose pooled features are driven, ``"layer1"`` to ``"layer4"``.
    class_step : int
        The target of class number k is k + class_step, modulo the number of classes.
    """

    epsilon: int = STRENGTHS["standard"]
    kind: str = "class-wise"
    block: int = 1
    batch_size: int = 256
    steps: int = 20
    step_size: float | None = None
    decay: float = 1.0
    layer: str = "layer4"
    class_step: int = 1

    @classmethod
    def carried_by(cls, profile: str | Profile, **settings: Any) -> Attack:
        """Return an attack, with these settings, whose perturbation a profile carries whole.

        It is class-wise, but for ``paper``, whose recipe is sample-wise.
        """
        codec = codec_named(profile if isinstance(profile, str) else profile.codec)
        settings.setdefault("kind", "sample-wise" if codec.grid == 1 else "class-wise")
        return cls(block=codec.grid, **settings)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"there is no kind {self.kind!r}; the kinds are: {', '.join(KINDS)}"
            raise InputError(msg)
        if self.layer not in LAYERS:
            msg = f"there is no layer {self.layer!r}; the layers are: {', '.join(LAYERS)}"
            raise InputError(msg)
        if not (0 <= self.epsilon <= 255 and min(self.steps, self.block, self.batch_size) >= 1):
            msg = "epsilon is 0 to 255; steps, block and batch_size are 1 or more"
            raise InputError(msg)
        if self.step_size is not None and not self.step_size > 0:  # NaN is not, either
            msg = f"step_size is above 0, or None, not {self.step_size}"
            raise InputError(msg)
