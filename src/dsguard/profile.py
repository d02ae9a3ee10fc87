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
    embedding : str
        How the payload enters the image. ``"lsb"``: it replaces the lowest bits.
    max_planes : int
        The most bit planes that the payload may take.
    """

    name: str
    code: int
    block: int
    tile: int
    pairing: str
    embedding: str
    max_planes: int

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

PROFILES = (PAPER,)
