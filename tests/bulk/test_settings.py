"""Settings as keyword arguments: type checkers know them."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from dsguard import InputError
from dsguard.bulk.settings import Settings, SettingsOptions


def test_options_are_those_of_the_settings():
    hints = get_type_hints(Settings)
    assert get_type_hints(SettingsOptions) == {
        each.name: hints[each.name] for each in fields(Settings)
    }


@pytest.mark.parametrize("name", ["publish", "drop"])
def test_patterns_come_as_a_sequence(name):
    assert Settings(**{name: ["*.txt"]}).disclosure() == Settings(**{name: ("*.txt",)}).disclosure()
    with pytest.raises(InputError, match="lists or tuples of patterns"):
        Settings(**{name: "*.txt"})
