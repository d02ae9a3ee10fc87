"""Names of images, as texts, tables and JSON tell of them, and what each image has left.

What is beside an image is charged to its allowance, over all files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import cached_property

from dsguard.formats.allowance import NUMBERED, STRING, WORD, Allowance
from dsguard.formats.images import is_image_name
from dsguard.formats.words import numbers_in

_LONGEST_PATH = 4096
"""Characters of a path, as systems have it: longer texts are not looked through for one."""
_MOST_SEEN = 1 << 16  # words
_MOST_PARTS = 8  # of a path within a dataset


class NamedImages:
    """The images of a dataset, by name.

    Parameters
    ----------
    names : collection of str

    Attributes
    ----------
    of_all : Allowance
        What the dataset as a whole has left.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = names
        self.of_all = Allowance()
        self._of_images: dict[str, Allowance] = {}
        self._seen: dict[str, bool] = {}

    def is_image(self, word: str) -> bool:
        """Tell whether a word names an image of the dataset; texts have the same words often."""
        found = self._seen.get(word)
        if found is None:
            found = self._names_image(word)
            if len(word) <= WORD and len(self._seen) < _MOST_SEEN:
                self._seen[word] = found
        return found

    def _names_image(self, word: str) -> bool:
        last = word.rpartition("/")[2]
        is_image = is_image_name(last, of_any_kind=True)
        return last in self._stems or (is_image and stem_of(last) in self._stems)

    def is_name(self, text: str) -> bool:
        """Tell whether a string is the name of an image, published in any case; not a number."""
        return len(text) <= _LONGEST_PATH and not numbers_in(text) and self.is_path(text)

    def is_path(self, word: str) -> bool:
        """Tell whether a word names an image by a path of the dataset, or by one met before.

        Folders that the dataset does not have are charged once.
        """
        if not self.is_image(word):
            return False
        folder = word.rpartition("/")[0]
        if folder not in self._folders:
            if len(folder) > STRING:
                return False
            self.of_all.take(0, len(folder))
            self._folders.add(folder)
        return True

    @cached_property
    def _folders(self) -> set[str]:
        """Return the folders of the dataset as paths tell them, whole or from some part on."""
        found = {""}
        for folder in {name.rpartition("/")[0] for name in self._names}:
            parts = folder.split("/")[-_MOST_PARTS:]
            found.update("/".join(parts[n:]) for n in range(len(parts)))
        return found

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(stem_of(name.rpartition("/")[2]) for name in self._names)

    def of_file(self, name: str) -> Allowance | None:
        """Return the allowance of the image that a file is called like, if there is one."""
        if stem_of(name.rpartition("/")[2]) not in self._stems:
            return None
        return self._of_images.setdefault(f"0 {self._resolved(name)}", Allowance())

    def allowance_of_line(self, words: list[str]) -> Allowance:
        """Return the allowance of the image that some words name, over all files."""
        image = next((word for word in words if self.is_image(word)), "")
        if not image:
            return self.of_all
        return self._of_images.setdefault(self.account_of(image), allowance_of(image))

    def account_of(self, image: str) -> str:
        """Return the account of an image; a number, which may be none, has one of its own."""
        return f"{image.isdigit():d} {self._resolved(image)}"

    def _resolved(self, name: str) -> str:
        """Return as much of a path as belongs to an image here: the last parts, at least one."""
        folder, _, last = name.rpartition("/")
        stem = last if last in self._stems else stem_of(last)
        two = f"{folder.rpartition('/')[2]}/{stem}"
        return two if stem in self._twice and two in self._pairs else stem

    @cached_property
    def _twice(self) -> frozenset[str]:
        """Return the names that images of several folders have."""
        counts = Counter({name.rpartition(".")[0] or name for name in self._names})
        found = Counter(name.rpartition("/")[2] for name in counts)
        return frozenset(name for name, count in found.items() if count > 1)

    @cached_property
    def _pairs(self) -> frozenset[str]:
        folders = (name.rpartition("/") for name in self._names)
        return frozenset(f"{a.rpartition('/')[2]}/{stem_of(last)}" for a, _, last in folders)


def allowance_of(image: str) -> Allowance:
    """Return the allowance of an image of this name; a number may be meant as a number."""
    return Allowance(numbers=NUMBERED) if image.isdigit() else Allowance()


def stem_of(name: str) -> str:
    """Return a name without its last suffix, if it has one and more than that."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem and not stem.endswith("/") else name
