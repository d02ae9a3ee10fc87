"""Names that users choose from. They are here so that ``dsguard --help`` loads no array library."""

from __future__ import annotations

PROFILE_NAMES = ("sealed", "exact", "exact-fine", "exact-coarse", "veil", "paper")
DEFAULT_PROFILE = "sealed"
PERTURBING_PROFILE = "exact"
"""The default where a target or a surrogate is given."""

CODEC_NAMES = ("sealed", "exact", "exact-fine", "exact-coarse", "paper")
COVER_NAMES = ("blank", "preview", "samples", "other", "given", "patterns", "attack")

KEPT = ("auto", "files", "pixels")
"""What of an image comes back: the file that it came in, byte for byte, or its samples.

With ``"auto"`` that file is carried in parts where it is shorter so, with its samples coded; codecs
that carry samples alone carry those.
"""

COVER_SIZES = ("own", "fit")
"""Size of a protected image: that of the image, or the smallest that holds the file it carries."""

LAYERS = ("layer1", "layer2", "layer3", "layer4")
"""Stages of a ResNet-18 whose features can be driven."""

STRENGTHS = {"subtle": 8, "standard": 16, "strong": 32}
"""Named radii ε of a mark, in grey levels: about 30, 24 and 18 dB to the clean image."""
