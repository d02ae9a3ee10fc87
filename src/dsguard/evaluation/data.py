"""Datasets to evaluate on: images with labels, split in training and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsguard.bulk import load_training_set, select
from dsguard.errors import InputError, MissingExtraError
from dsguard.formats import open_source
from dsguard.kernels.contract import Images

_DIGITS_FOR_TRAINING = 1297


@dataclass(frozen=True)
class Data:
    """Labelled images, split; labels are class numbers from 0.

    `left_out` counts images that could not be read or are too small.
    """

    name: str
    train_images: Images
    train_labels: npt.NDArray[np.int64]
    test_images: Images
    test_labels: npt.NDArray[np.int64]
    left_out: int = 0

    def digest(self) -> str:
        """Return what tells these images and labels from others of the same name and number."""
        parts = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        whole = hashlib.sha256()
        for part in parts:
            whole.update(np.ascontiguousarray(part).data)
        return whole.hexdigest()[:16]


def digits(seed: int = 0) -> Data:
    """Return scikit-learn's handwritten digits, enlarged to 32×32 in RGB, in a random split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError.of("scikit-learn", "demo") from error  # noqa: EM101
    bunch = load_digits()
    small = (bunch.images * 255 / 16).round().astype(np.uint8)
    size, kernel = (32, 32), Image.Resampling.BICUBIC
    images = np.stack(
        [np.asarray(Image.fromarray(x).resize(size, kernel).convert("RGB")) for x in small]
    )
    order = np.random.default_rng(seed).permutation(len(images))
    images, labels = images[order], bunch.target[order].astype(np.int64)
    n = _DIGITS_FOR_TRAINING
    return Data("handwritten digits, 32×32", images[:n], labels[:n], images[n:], labels[n:])


def own_images(
    path: Path,
    train_limit: int | None,
    test_limit: int | None,
    seed: int = 0,
    *,
    held_out: bool = False,
) -> Data:
    """Return a sample of the user's dataset.

    Its ``train`` and ``test`` folders are used where it has both, else a third of it is set aside
    at random. At most so many images of each are taken, evenly from all classes; None takes all.
    With `held_out`, a part of the training images takes the place of the test images, which are not
    read: to choose settings by.
    """
    source = open_source(path)
    names = source.names()
    if not names:
        msg = f"{path} holds no images; expected class folders with image files"
        raise InputError(msg)
    splits = {split: [n for n in names if _lies_in(n, split)] for split in ("train", "test")}
    if not (splits["train"] and splits["test"]):
        whole = train_limit is None or test_limit is None
        sample = names if whole else select(names, (train_limit or 0) + (test_limit or 0))
        order = np.random.default_rng(seed).permutation(len(sample))
        cut = len(sample) * 2 // 3
        splits = {
            "train": sorted(sample[i] for i in order[:cut]),
            "test": sorted(sample[i] for i in order[cut:]),
        }
    if held_out:
        splits = _set_aside(splits["train"], train_limit, test_limit)
    chosen = [
        select(splits[split], limit)
        for split, limit in (("train", train_limit), ("test", test_limit))
    ]
    (train, train_classes), (test, test_classes) = (
        load_training_set(source, part) for part in chosen
    )
    if train.shape[1:] != test.shape[1:]:
        msg = f"training and test images of {path} differ in shape"
        raise InputError(msg)
    classes = sorted(set(train_classes))
    unknown = set(test_classes) - set(classes)
    if len(classes) < 2 or unknown:
        msg = f"{path} needs at least two class folders, the same for training and test images"
        raise InputError(msg)
    return Data(
        f"{path.name} ({len(train)} + {len(test)} images{', held out' if held_out else ''})",
        train,
        np.array([classes.index(name) for name in train_classes]),
        test,
        np.array([classes.index(name) for name in test_classes]),
        left_out=sum(map(len, chosen)) - len(train) - len(test),
    )


def _lies_in(name: str, split: str) -> bool:
    """Tell whether a name is of a split: ``train/…``, or ``train-00000-of-00002/…`` in Parquet."""
    return any(
        part == split or part.startswith(f"{split}-") for part in PurePosixPath(name).parts[:-2]
    )


def _set_aside(
    names: list[str], train_limit: int | None, test_limit: int | None
) -> dict[str, list[str]]:
    """Return training images, and others of them to test on: a fifth where all are wanted."""
    count = len(names) * 4 // 5
    train = select(names, count if train_limit is None else min(train_limit, count))
    return {"train": train, "test": select(sorted(set(names) - set(train)), test_limit)}
