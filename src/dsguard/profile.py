"""Profiles: named pairs of a codec and of what protected images show."""

from __future__ import annotations

from dataclasses import dataclass

from dsguard.codecs import Codec, codec_named
from dsguard.errors import InputError


@dataclass(frozen=True)
class Profile:
    """One named way to protect an image.

    Attributes
    ----------
    codec : Codec
        How the clean image is carried. Its name, which headers tell, is that of the profile.
    target : str
        The image that protected ones resemble. ``"perturbed"``: the clean one, perturbed.
        ``"other"``: another image of the batch.
    """

    codec: Codec
    target: str = "perturbed"

    @property
    def name(self) -> str:
        """As users call it: ``profile="paper"``."""
        return self.codec.name

    @property
    def code(self) -> int:
        """The number in headers, 1 to 63."""
        return self.codec.code

    @property
    def perturbation_block(self) -> int:
        """Side of the squares that a perturbation has to be constant on to be carried whole."""
        return self.codec.grid

    @staticmethod
    def named(name: str | Profile) -> Profile:
        """Return the profile called `name`; one of `PROFILES` is returned as it is.

        Raises
        ------
        InputError
            If there is no such profile.
        """
        for profile in PROFILES:
            if name in (profile.name, profile):
                return profile
        known = ", ".join(profile.name for profile in PROFILES)
        msg = f"there is no profile {name!r}; the profiles are: {known}"
        raise InputError(msg)


PAPER = Profile(codec_named("paper"))
"""The method of Xue et al. (arXiv 2109.07921): restores each sample to within 1 grey level where
one plane carries the payload (2 where it takes two)."""

EXACT = Profile(codec_named("exact"))
"""Restores every bit. The usual choice: little change besides the perturbation."""

EXACT_FINE = Profile(codec_named("exact-fine"))
"""As exact with 2×2 blocks, which carry a perturbation that is constant on them; changes more."""

EXACT_COARSE = Profile(codec_named("exact-coarse"))
"""As exact with 8×8 blocks, for large images."""

VEIL = Profile(codec_named("veil"), target="other")
"""As exact, but each image is hidden in another one: nothing is left to a perturbation."""

PROFILES = (EXACT, EXACT_FINE, EXACT_COARSE, VEIL, PAPER)

STRENGTHS = {"subtle": 8, "standard": 16, "strong": 32}
"""Named radii ε of a perturbation, in grey levels: about 30, 24 and 18 dB to the clean image."""

DEFAULT = EXACT.name
