"""JSON that is read and written again keeps its numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import encode_image
from dsguard.formats.json_files import Written, read_json, written_json

from ..bulk.test_sealed_fields import members_of

NUMBERS = ["1E+400", "0.1000000000000000055511151231257827", "1E-400", "123456789012345678901.5"]


@given(st.integers(-(10**40), 10**40), st.integers(-400, 400))
def test_any_number_keeps_its_value(digits, exponent):
    (value,) = read_json(written_json([read_json(f"{digits}.0e{exponent}")]))
    wanted = read_json(f"{digits}.0e{exponent}")
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_no_float_holds_are_written_as_they_were(number):
    value = read_json(f'{{"a": [{number}, 1.5]}}')
    assert isinstance(value["a"][0], Written)
    assert written_json(value) == f'{{"a": [{number}, 1.5]}}'


def test_usual_numbers_are_floats():
    text = "[1.10, 0.30000000000000004, 1.7976931348623157e+308, 12345678901234567890]"
    assert read_json(text.encode("utf-16")) == json.loads(text)
    assert not any(isinstance(each, Written) for each in read_json(text))


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_numbers_of_a_listing_come_back(tmp_path, key, scenes, kind):
    clean = tmp_path / "clean"
    clean.mkdir()
    (clean / "0.png").write_bytes(encode_image(scenes[0]))
    row = f'{{"file_name": "0.png", "v": [{", ".join(NUMBERS)}]}}\n'
    (clean / "metadata.jsonl").write_text(row)
    protect_dataset(clean, tmp_path / "safe", key, out_format=kind)
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    if kind == "folder":
        assert (tmp_path / "back" / "metadata.jsonl").read_text() == row
    else:
        (shard,) = (tmp_path / "back").glob("*.tar")
        fields = dict(members_of(shard))
        assert f"[{', '.join(NUMBERS)}]".encode() in fields["0.json"]
