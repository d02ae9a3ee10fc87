"""Text files beside images: told by their names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from dsguard.formats.images import has_image_suffix
from dsguard.formats.names import is_hidden

COMPANIONS = frozenset(
    {".cls", ".csv", ".json", ".jsonl", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".toml"}
)
"""Suffixes of text files."""

TEXTS = frozenset({"LICENSE", "NOTICE", "README"})
"""Names of text files without a suffix."""


FIELDS = frozenset(
    {"cap", "caption", "class", "cls2", "count", "id", "index", "inx", "jsn", "key", "label", "md5",
     "prompt", "text", "transcript", "url"}
)  # fmt: skip
"""Last suffixes of text in WebDataset samples beside these: of its decoders, and usual ones."""


_OF_ALL = ("CLASSES", "LABELS", "LICENSE", "NOTICE", "README")
"""Text files of a dataset as a whole, whatever image is called so as well."""


def is_of_all(name: str) -> bool:
    """Tell whether a text file is of the dataset as a whole, by its name."""
    return stem_of(name).rpartition("/")[2].upper() in _OF_ALL


def is_text_field(suffix: str) -> bool:
    """Tell whether a field of a sample is text, by its suffix; what has none may be."""
    last = suffix.rpartition(".")[2].lower()
    return not last or last in FIELDS or f".{last}" in COMPANIONS


def is_text(name: str) -> bool:
    """Tell whether a file is text, by its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() in COMPANIONS or path.name in TEXTS


def texts_among(names: list[str]) -> list[str]:
    """Return the text files among those of a folder."""
    return [name for name in names if is_text(name) and not is_hidden(name)]


def others_among(names: list[str], is_image: Callable[[str], bool]) -> list[str]:
    """Return the files of a folder that are neither images nor text."""
    return [
        name
        for name in names
        if not (is_image(name) or is_text(name)) and (not is_hidden(name) or has_image_suffix(name))
    ]


def strays_among(names: list[str], own: Collection[str]) -> list[str]:
    """Return the files of a folder that are neither text nor its own, images among them."""
    return [name for name in names if not (name in own or is_text(name) or is_hidden(name))]


def texts_beside(names: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Return by image the text files that have its name but for the suffix: ``x.txt`` of ``x.png``.

    A suffix may have dots, as fields of WebDataset samples do: ``x.classname.txt``.
    """
    if not texts:
        return {}
    images: dict[str, list[str]] = {}
    for name in names:
        images.setdefault(stem_of(name), []).append(name)
    found: dict[str, list[str]] = {}
    for text in texts:
        stem = stem_of(text)
        for _ in range(_MOST_DOTS):
            if stem in images or "." not in stem.rpartition("/")[2]:
                break
            stem = stem_of(stem)
        for name in images.get(stem, ()):
            found.setdefault(name, []).append(text)
    return {name: tuple(own) for name, own in found.items()}


_MOST_DOTS = 16  # of a suffix: names of strangers may have any number


def stem_of(name: str) -> str:
    """Return a name without its suffix."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.rpartition(".")[0]
