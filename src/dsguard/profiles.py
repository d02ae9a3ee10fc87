"""Profiles: named pairs of a cover, which shows, and of a codec, which carries the clean image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsguard.choices import DEFAULT_PROFILE, PERTURBING_PROFILE, STRENGTHS
from dsguard.codecs import Codec, codec_named
from dsguard.covers import EPSILON, Cover
from dsguard.covers.named import NEED_SURROGATE, Ingredients, cover_named
from dsguard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey

__all__ = ["PROFILES", "STRENGTHS", "Profile"]

_PLAIN = {"veil": "exact"}
"""Codecs whose header also says what shows, and those that are the same and do not."""


@dataclass(frozen=True)
class Profile:
    """One named way to protect an image.

    Attributes
    ----------
    codec : Codec
        Its name, which headers tell, is that of the profile.
    shows : str
        A name of `dsguard.covers.named`: ``"blank"`` is a picture drawn by the key, ``"patterns"``
        the image itself with class patterns, ``"attack"`` each image attacked by itself,
        ``"other"`` another image of the set.

    Examples
    --------
    >>> import dsguard
    >>> sealed = dsguard.Profile.named("sealed")
    >>> sealed.name, sealed.needs_surrogate
    ('sealed', False)
    """

    codec: Codec
    shows: str = "patterns"

    @property
    def name(self) -> str:
        """As users call it: ``profile="paper"``."""
        return self.codec.name

    @property
    def code(self) -> int:
        """The number in headers, 1 to 63."""
        return self.codec.code

    @property
    def needs_surrogate(self) -> bool:
        """Whether its covers are made with a surrogate network."""
        return self.shows in NEED_SURROGATE

    @property
    def plain_codec(self) -> Codec:
        """Its codec for other covers: headers are not to say what does not show."""
        return codec_named(_PLAIN.get(self.name, self.name))

    def cover(
        self,
        key: DatasetKey,
        surrogate: Surrogate | Path | None = None,
        *,
        epsilon: int = EPSILON,
        labelled: bool = True,
    ) -> Cover:
        """Return what images show under this profile.

        Parameters
        ----------
        key : DatasetKey
        surrogate : Surrogate or Path, optional
            Where the profile needs one; the file of one where each image is attacked by itself.
        epsilon : int
            Radius of the mark, in grey levels.
        labelled : bool
            Whether there are labels for a mark.

        Raises
        ------
        InputError
            If there is no surrogate and one is needed, or one that is not.
        """
        if self.needs_surrogate and surrogate is None:
            msg = f"profile {self.name} needs a surrogate"
            raise InputError(msg)
        if not self.needs_surrogate and surrogate is not None:
            msg = f"profile {self.name} takes no surrogate"
            raise InputError(msg)
        return cover_named(self.shows, Ingredients(key, surrogate, epsilon, labelled))

    @staticmethod
    def named(name: str | Profile | None, *, perturbs: bool = False) -> Profile:
        """Return the profile called `name`; one of `PROFILES` is returned as it is.

        Parameters
        ----------
        name : str or Profile or None
            None stands for the default.
        perturbs : bool
            Whether there is a target or a surrogate, for which the default is another one.

        Raises
        ------
        InputError
            If there is no such profile.
        """
        if name is None:
            name = PERTURBING_PROFILE if perturbs else DEFAULT_PROFILE
        for profile in PROFILES:
            if name in (profile.name, profile):
                return profile
        known = ", ".join(profile.name for profile in PROFILES)
        msg = f"there is no profile {name!r}; the profiles are: {known}"
        raise InputError(msg)


PROFILES = (
    Profile(codec_named("sealed"), "blank"),  # the usual choice: nothing shows but a drawn picture
    Profile(codec_named("exact")),  # little change besides the patterns
    Profile(codec_named("exact-fine")),  # finer patterns; changes more
    Profile(codec_named("exact-coarse")),  # for large images
    Profile(codec_named("veil"), "other"),
    Profile(codec_named("paper"), "attack"),
)
