"""Profiles: everything that decides the bytes of a protected image."""

from __future__ import annotations

from dataclasses import dataclass

from dsguard.errors import FormatError, InputError


@dataclass(frozen=True)
class Profile:
    """One named way to protect an image; its `code` travels in every header.

    Attributes
    ----------
    name : str
        What users say: ``profile="paper"``.
    code : int
        What headers say, 1 to 63; belongs to the format and is never reused.
    block : int
        Side of a block, in samples.
    tile : int
        Side of a tile, in blocks: blocks are paired within their tile.
    pairing : str
        How source blocks meet target blocks. ``"rank"``: in the order of their standard deviations.
        ``"nearest"``: each stays, or two classes of standard deviation change places, whichever
        comes nearer to the target.
    embedding : str
        How the payload enters the image. ``"lsb"``: it replaces the lowest bits. ``"rdh"``: it is
        hidden reversibly, so that every bit comes back.
    max_planes : int
        The most bit planes that the payload may take, where it replaces bits.
    target : str
        What an image is made to resemble. ``"perturbed"``: itself, perturbed. ``"other"``: another
        image of the batch.
    """

    name: str
    code: int
    block: int
    tile: int
    pairing: str
    embedding: str
    max_planes: int
    target: str = "perturbed"

    @property
    def perturbation_block(self) -> int:
        """Side of the squares that a perturbation has to be constant on to be carried whole.

        1 for ``paper``, whose recipe is pixel-wise, though pairing by rank carries only part of it.
        """
        return self.block if self.embedding == "rdh" else 1

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

    @staticmethod
    def coded(code: int) -> Profile:
        """Return the profile of header code `code`.

        Raises
        ------
        FormatError
            If this version of dsguard knows no such profile.
        """
        for profile in PROFILES:
            if profile.code == code:
                return profile
        msg = f"unknown profile code {code}; a newer dsguard wrote this image, update to read it"
        raise FormatError(msg)


PAPER = Profile(
    name="paper", code=1, block=4, tile=8, pairing="rank", embedding="lsb", max_planes=2
)
"""The method of Xue et al. (arXiv 2109.07921): restores each sample to within 1 grey level where
one plane carries the payload (2 where it takes two)."""

EXACT = Profile(
    name="exact", code=2, block=4, tile=8, pairing="nearest", embedding="rdh", max_planes=1
)
"""Restores every bit. The usual choice: little change besides the perturbation."""

EXACT_FINE = Profile(
    name="exact-fine", code=3, block=2, tile=8, pairing="nearest", embedding="rdh", max_planes=1
)
"""As exact with 2×2 blocks, which carry a perturbation that is constant on them; changes more."""

EXACT_COARSE = Profile(
    name="exact-coarse", code=4, block=8, tile=8, pairing="nearest", embedding="rdh", max_planes=1
)
"""As exact with 8×8 blocks, for large images."""

VEIL = Profile(
    name="veil",
    code=5,
    block=4,
    tile=8,
    pairing="nearest",
    embedding="rdh",
    max_planes=1,
    target="other",
)
"""As exact, but each image is hidden in another one: nothing is left to a perturbation."""

PROFILES = (EXACT, EXACT_FINE, EXACT_COARSE, VEIL, PAPER)

STRENGTHS = {"subtle": 8, "standard": 16, "strong": 32}
"""Named radii ε of a perturbation, in grey levels: about 30, 24 and 18 dB to the clean image."""

DEFAULT = EXACT.name
