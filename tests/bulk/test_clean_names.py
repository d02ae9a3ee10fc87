"""Lists of the names that clean images had: they may be forged by who has the key."""

from __future__ import annotations

import pytest

from dsguard.bulk.clean_names import clean_names, packed_names
from dsguard.bulk.sealed_lists import packed
from dsguard.errors import InputError


def test_names_come_back():
    published = {"a/1.jpg": "a/1.png", "a/2.jpg": "a/2.png", "a/3.gif": "a/3_2.png"}
    back = clean_names("", packed_names(published), published.values())
    assert back == {name: clean for clean, name in published.items()}


@pytest.mark.parametrize("line", [
    "\t." + "x" * 300, "\t/../../x.jpg", "a.png\t../a.jpg", "a.png\t/etc/a.jpg",
    "a.png\t" + "x" * 300,
])  # fmt: skip
def test_names_that_no_file_can_have_are_refused(line):
    """A long suffix would be kept with every image."""
    with pytest.raises(InputError, match="names that are damaged"):
        clean_names("", packed([line]), ["a.png", "b.png"])
