"""Batches and rows of strangers take no more memory than their size accounts for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dsguard
from dsguard.codecs import Sealed
from dsguard.formats import decode_image, encode_images, images
from dsguard.integrations import images as batches
from dsguard.integrations.huggingface import rows_in
from dsguard.integrations.images import restored_files, restored_images, which_protected

SIDE = 32


@pytest.fixture
def protected(key, scenes):
    return encode_images(dsguard.protect_batch(scenes[:8], key, codec=Sealed(rate=64)).images)


@pytest.fixture
def most_at_once(monkeypatch):
    """Have three images be read at once at most; return how many were, at each time."""
    monkeypatch.setattr(images, "_PIXELS_AT_ONCE", 3 * SIDE * SIDE)
    counts, real = [], batches.decode_files

    def counted(files):
        counts.append(len(files))
        return real(files)

    monkeypatch.setattr(batches, "decode_files", counted)
    return counts


def test_a_batch_is_restored_in_runs(most_at_once, protected, key, scenes):
    assert scenes.shape[1:3] == (SIDE, SIDE)
    np.testing.assert_array_equal(restored_images(protected, key), scenes[:8])
    assert most_at_once == [3, 3, 2]
    np.testing.assert_array_equal([*map(decode_image, restored_files(protected, key))], scenes[:8])
    assert which_protected([*protected, *encode_images(scenes[:1])]) == [True] * 8 + [False]
    assert max(most_at_once) == 3


def test_what_is_decoded_already_counts_for_nothing(most_at_once, protected, key, scenes):
    mixed = [decode_image(file) if n % 2 else file for n, file in enumerate(protected)]
    np.testing.assert_array_equal(restored_images(mixed, key), scenes[:8])
    assert max(most_at_once) == 3


@pytest.mark.parametrize("row", [0, 4, 7])
def test_errors_name_the_place_in_the_batch(most_at_once, protected, key, scenes, row):
    protected[row] = encode_images(scenes[:1])[0]
    with pytest.raises(dsguard.NotProtectedError) as raised:
        restored_files(protected, key)
    assert raised.value.index == row
    assert len(most_at_once) == row // 3 + 1


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
@pytest.mark.parametrize("kind", ["rows", "row"])
def test_rows_that_unpack_to_very_much_are_refused(tmp_path, kind):
    text = "a" * (20 << 20 if kind == "rows" else 150 << 20)
    table = pa.table(
        {"image": [b"x"] * 64, "label": pa.DictionaryArray.from_arrays([0] * 64, [text])}
    )
    file = tmp_path / "x.parquet"
    pq.write_table(table, file, compression="zstd", store_schema=False)
    assert file.stat().st_size < 20_000
    read = f"""
from dsguard.integrations.huggingface import rows_in
try:
    print(len(list(rows_in([{str(file)!r}]))))
except Exception as error:
    print(error)
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True)
    told, most = done.stdout.splitlines()
    assert "x.parquet: " in told
    assert "it could be meant to fill the memory" in told
    assert int(most) < 512 << 10


def test_rows_come_as_they_are(tmp_path):
    table = pa.table({"image": [bytes([n]) for n in range(200)], "label": list(range(200))})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=70)
    assert list(rows_in([tmp_path / "x.parquet"])) == table.to_pylist()
