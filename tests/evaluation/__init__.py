import pytest

pytest.importorskip("torch")  # all that is evaluated is learned
