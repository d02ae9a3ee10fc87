"""Settings as keyword arguments: type checkers know them."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

from dsguard.bulk.settings import Settings, SettingsOptions


def test_options_are_those_of_the_settings():
    hints = get_type_hints(Settings)
    assert get_type_hints(SettingsOptions) == {
        each.name: hints[each.name] for each in fields(Settings)
    }
