"""Files of networks: whatever is in one, there is one error, which names it."""

from __future__ import annotations

import pytest

from dsguard.errors import FormatError

torch = pytest.importorskip("torch")

GOOD = {"image_shape": [8, 8, 3], "width": 4, "class_names": ["a"], "classes": torch.arange(2)}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 1 << 70},
        {"width": -1},
        {"width": "x"},
        {"width": float("inf")},
        {"image_shape": [8, 8]},
        {"image_shape": [8, 8, 1 << 70]},
        {"image_shape": {}},
        {"classes": None},
        {"classes": torch.zeros(0)},
        {"weights": {}},
        {"weights": 3},
        {"class_names": None},
    ],
)
def test_a_damaged_surrogate_is_one_error(tmp_path, change):
    from dsguard.covers.surrogate import _KIND, _VERSION
    from dsguard.fsp import Surrogate

    path = tmp_path / "s.pt"
    torch.save({"kind": _KIND, "version": _VERSION, **GOOD, **change}, path)
    with pytest.raises(FormatError, match=r"s\.pt is a damaged surrogate"):
        Surrogate.load(path, "cpu")
