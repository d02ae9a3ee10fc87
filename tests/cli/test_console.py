"""What the command says of failures."""

from __future__ import annotations

import pytest

from dsguard.cli import console
from dsguard.errors import InputError


@pytest.mark.parametrize(("suffix", "kind"), [("png", "images"), ("pdf", "files")])
def test_what_is_not_named_is_counted_as_what_it_is(capsys, suffix, kind):
    console.show({f"{n}.{suffix}": InputError("is broken") for n in range(9)})
    assert f"more {kind}: is broken" in " ".join(capsys.readouterr().err.split())
