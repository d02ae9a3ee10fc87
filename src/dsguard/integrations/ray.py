"""Ray Data: a class for ``map_batches``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dsguard.integrations.images import as_bytes, key_at, restored_files, restored_images
from dsguard.keys import KeySource


class Restore:
    """Restores a column of image files; every actor loads the key once.

    Ray Data takes its time for each row; for whole datasets ``dsguard restore --engine ray`` is
    faster.

    Start Ray before, or name a cluster: else it joins one that any user of the machine may have
    named. A folder that others cannot enter keeps them from its session.

    >>> ray.init("local", _temp_dir=f"{tempfile.mkdtemp()}/ray")  # doctest: +SKIP
    >>> dataset.map_batches(  # doctest: +SKIP
    ...     Restore, fn_constructor_kwargs={"key_path": "dataset.key"}, batch_format="numpy",
    ...     num_cpus=0.5, compute=ActorPoolStrategy(size=2),
    ... )

    On a small machine give actors less than all CPUs (``num_cpus=0.5``): tasks that read get none
    otherwise, and nothing moves.

    Parameters
    ----------
    key_path : path-like, or KeySource
        Key file, on every machine; a passphrase is read from ``DSGUARD_PASSPHRASE``. Or what stands
        in its place.
    column : str
    decode : bool
        Whether to give pictures, arrays of uint8 of shape (H, W, C), in place of files.
    """

    def __init__(
        self,
        key_path: str | os.PathLike[str] | KeySource,
        column: str = "image",
        *,
        decode: bool = False,
    ) -> None:
        self._key = key_at(key_path)
        self._column, self._decode = column, decode

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with the restored images: files that were carried, else PNG files."""
        files = [as_bytes(value, row) for row, value in enumerate(batch[self._column])]
        restored = np.empty(len(files), object)
        for row, image in enumerate(self._restored(files)):
            restored[row] = image
        return {**batch, self._column: restored}

    def _restored(self, files: list[bytes]) -> list[Any]:
        return list((restored_images if self._decode else restored_files)(files, self._key))
