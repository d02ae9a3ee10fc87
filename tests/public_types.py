"""The types that callers see; read by mypy and pyright, run by nobody.

With ``make lint`` for mypy, and as a caller of an installed package sees them for pyright.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

import dsguard
from dsguard.bulk import Report, protect_dataset, restore_dataset, verify_dataset
from dsguard.covers import Blank, Cover, Preview
from dsguard.formats import Source, decode_image, encode_image, open_source
from dsguard.integrations.torch import RestoredDataset

if TYPE_CHECKING:
    Images = npt.NDArray[np.uint8]


def arrays(images: Images, labels: npt.NDArray[np.int64]) -> None:
    """Check the functions on arrays."""
    key = dsguard.DatasetKey.generate()
    assert_type(key, dsguard.DatasetKey)
    assert_type(key.key_id, str)
    batch = dsguard.protect_batch(images, key, labels=labels, cover=Preview(cells=4))
    assert_type(batch, dsguard.ProtectedBatch)
    assert_type(batch.images, npt.NDArray[np.uint8])
    assert_type(batch.sidecars, dict[int, bytes])
    # Whoever asks for a report gets one, and images otherwise.
    assert_type(dsguard.restore_batch(batch.images, key), npt.NDArray[np.uint8])
    report = dsguard.restore_batch(batch.images, key, on_error="report")
    assert_type(report, dsguard.RestoredBatch)
    assert_type(report.images, npt.NDArray[np.uint8])
    info = dsguard.inspect(batch.images[0])
    assert_type(info, dsguard.ImageInfo)
    assert_type(info.image_id, bytes | None)
    assert_type(dsguard.image_ids(batch.images), list[bytes | None])
    assert_type(dsguard.get_backend(), str)


def files(folder: Path, key: dsguard.DatasetKey) -> None:
    """Check the functions on datasets."""
    assert_type(protect_dataset(folder, "out", key, publish=["*.txt"], workers=2), Report)
    assert_type(restore_dataset("out", folder, key, engine="ray"), Report)
    report = verify_dataset("out", key, against=folder)
    assert_type(report.done, int)
    assert_type(decode_image(encode_image(np.zeros((8, 8, 3), np.uint8))), npt.NDArray[np.uint8])
    assert_type(open_source(folder), Source)


def covers() -> list[Cover]:
    """See that a cover is one, by its type."""
    return [Blank(), Preview()]


def loaders(pairs: list[tuple[bytes, int]], key: dsguard.DatasetKey) -> None:
    """Check what torch is given."""
    data = RestoredDataset(pairs, key)
    assert_type(data[0][1], int)
    DataLoader(data, batch_size=2)
