"""The versions of a training set that networks of a study learn from, kept in its folder.

Each seed has a key of its own: what shows by chance under one key says nothing about others.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dsguard._atomic import write_whole
from dsguard.covers.pattern_fitting import ROUNDS
from dsguard.errors import InputError, raise_if_of_machine
from dsguard.evaluation.attacks import Known
from dsguard.evaluation.data import Data
from dsguard.evaluation.presets import Preset
from dsguard.evaluation.protection import Protects
from dsguard.formats.arrays.npy import Header, read_header
from dsguard.fsp import Surrogate, fit_surrogate
from dsguard.kernels.contract import Images
from dsguard.keys import DatasetKey

Step = Callable[[str, int, int], None]


def key_of(seed: int) -> DatasetKey:
    """Return the key of a seed; nothing is published with it: studies are to be repeatable."""
    return DatasetKey(seed.to_bytes(32, "little"))


@dataclass(frozen=True)
class Versions:
    """The training images by seed, as far as they are made.

    Attributes
    ----------
    out : Path
        The folder of the study.
    clean : ndarray of uint8, shape (N, H, W, C)
    """

    out: Path
    clean: Images

    def of(self, seed: int) -> dict[str, Images]:
        """Return clean, protected and restored images."""
        return {"clean": self.clean, **_stored(self.file(seed), self.clean.shape)}

    def file(self, seed: int) -> Path:
        """Return where protected and restored images are kept."""
        return self.out / f"seed{seed}" / "versions.npz"

    def same(self, seed: int) -> bool:
        """Tell whether restored images are equal to the clean ones."""
        return bool((self.of(seed)["restored"] == self.clean).all())


@dataclass(frozen=True)
class Maker:
    """All that it takes to protect images for a study.

    Attributes
    ----------
    data : Data
    out : Path
        The folder of the study.
    preset : Preset
    protection : Protects
    device : str, optional
    tell : callable
        Called with (name of the step, done, of how many).
    """

    data: Data
    out: Path
    preset: Preset
    protection: Protects
    device: str | None
    tell: Step

    def versions(self) -> Versions:
        """Return the training images, those of each seed made if they were not."""
        versions = Versions(self.out, self.data.train_images)
        missing = [seed for seed in self.preset.seeds if not versions.file(seed).exists()]
        for number, seed in enumerate(missing):
            self._make(versions.file(seed), seed, number, len(missing))
        for seed in self.preset.seeds:
            with contextlib.suppress(PermissionError):  # of somebody else
                versions.file(seed).chmod(0o600)  # an earlier version let all read
        return versions

    def known(self) -> Known | None:
        """Return images of an attacker's own, protected with a key and surrogate of their own."""
        images, labels = self.data.known_images, self.data.known_labels
        if images is None or labels is None:
            return None
        surrogate = self._surrogate(images, labels, "known-surrogate.pt")
        key = DatasetKey(bytes([1]) * 32)
        protected, _ = self.protection.protect(images, labels, key, surrogate)
        return Known(images, labels, protected, self.data.same_classes)

    def _make(self, file: Path, seed: int, number: int, seeds: int) -> None:
        images, labels = self.data.train_images, self.data.train_labels
        count = len(images)
        protected, restored = self.protection.protect(
            images,
            labels,
            key_of(seed),
            self._surrogate(images, labels, "surrogate.pt"),
            lambda done: self.tell("perturb", number * count + done, seeds * count),
        )
        file.parent.mkdir(exist_ok=True)
        with write_whole(file, private=True) as written:
            np.savez(written, protected=protected, restored=restored)

    def _surrogate(
        self, images: Images, labels: npt.NDArray[np.int64], name: str
    ) -> Surrogate | None:
        """Return the network that covers are made with, where they are."""
        if not self.protection.needs_surrogate:
            return None
        file = self.out / name
        if file.exists():
            return Surrogate.load(file, self.device)
        trained = file.with_name(f"{file.stem}-training.pt")
        recipe = self.preset.surrogate
        surrogate = fit_surrogate(
            images,
            labels,
            recipe=recipe,
            width=self.preset.width,
            device=self.device,
            on_epoch=lambda done: self.tell("surrogate", done, recipe.epochs),
            on_round=lambda done: self.tell("patterns", done, ROUNDS),
            checkpoint=trained,
        )
        surrogate.save(file)
        trained.unlink(missing_ok=True)
        return surrogate


def _stored(file: Path, shape: tuple[int, ...]) -> dict[str, Images]:
    """Return protected and restored images of an earlier time."""
    names, header = ("protected", "restored"), Header(shape, np.dtype(np.uint8))
    try:
        with zipfile.ZipFile(file) as entries:
            for name in names:  # an entry may claim to be of any size
                with entries.open(f"{name}.npy") as entry:
                    if read_header(entry) != header:
                        msg = f"{file} has other images; remove it, and it is made again"
                        raise InputError(msg)
        with file.open("rb") as stored, np.load(stored) as arrays:
            return {name: arrays[name] for name in names}
    except InputError:
        raise
    except Exception as error:  # NumPy and zipfile raise nearly anything
        raise_if_of_machine(error, str(file))
        msg = f"{file} is damaged; remove it, and it is made again"
        raise InputError(msg) from error
