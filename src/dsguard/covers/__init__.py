"""Covers: what protected images show. One file each, and a registry.

`Marked` puts a mark on any of them: class patterns, or the activation attack.
"""

from __future__ import annotations

from dsguard.covers.attack import Attacked
from dsguard.covers.base import (
    EPSILON,
    ArraySet,
    Batch,
    Cover,
    ImageSet,
    Mark,
    Marked,
    check_cover,
    check_labels,
    shown,
)
from dsguard.covers.blank import Blank
from dsguard.covers.folder import FolderOfCovers
from dsguard.covers.given import Given
from dsguard.covers.itself import Itself
from dsguard.covers.other import Other
from dsguard.covers.patterns import DrawnPatterns, FittedPatterns, Patterns
from dsguard.covers.preview import Preview
from dsguard.covers.samples import Samples

__all__ = [
    "EPSILON",
    "ArraySet",
    "Attacked",
    "Batch",
    "Blank",
    "Cover",
    "DrawnPatterns",
    "FittedPatterns",
    "FolderOfCovers",
    "Given",
    "ImageSet",
    "Itself",
    "Mark",
    "Marked",
    "Other",
    "Patterns",
    "Preview",
    "Samples",
    "check_cover",
    "check_labels",
    "shown",
]
