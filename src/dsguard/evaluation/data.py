"""Datasets to evaluate on: images with labels, split in training and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsguard.bulk import load_training_set, select
from dsguard.errors import InputError, MissingExtraError
from dsguard.formats import Source, open_source
from dsguard.kernels.contract import Images

_DIGITS_FOR_TRAINING = 1297


@dataclass(frozen=True)
class Data:
    """Labelled images, split; labels are class numbers from 0.

    Attributes
    ----------
    name : str
    train_images, test_images : ndarray of uint8, shape (N, H, W, C)
    train_labels, test_labels : ndarray of int64, shape (N,)
    left_out : int
        Images that could not be read or are too small.
    known_images, known_labels : ndarray, optional
        Clean images of an attacker's own, in neither of the others.
    same_classes : bool
        Whether their labels are numbered as the others.
    """

    name: str
    train_images: Images
    train_labels: npt.NDArray[np.int64]
    test_images: Images
    test_labels: npt.NDArray[np.int64]
    left_out: int = 0
    known_images: Images | None = None
    known_labels: npt.NDArray[np.int64] | None = None
    same_classes: bool = True

    def digest(self) -> str:
        """Return what tells these images and labels from others of the same name and number."""
        parts: tuple[npt.NDArray[Any], ...] = (
            self.train_images,
            self.train_labels,
            self.test_images,
            self.test_labels,
        )
        if self.known_images is not None and self.known_labels is not None:
            parts += (self.known_images, self.known_labels)
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
    known_limit: int = 0,
    known: Path | None = None,
) -> Data:
    """Return a sample of the user's dataset.

    Its ``train`` and ``test`` folders are used where it has both, else a third of it is set aside
    at random. At most so many images of each are taken, evenly from all classes; None takes all.
    With `held_out`, a part of the training images takes the place of the test images, which are not
    read: to choose settings by. Up to `known_limit` images of an attacker's own are training images
    that are left over, or those of the dataset `known`, brought to the same size.
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
    own, own_classes = _known(source, splits["train"], chosen[0], known_limit, known, train.shape)
    if train.shape[1:] != test.shape[1:]:
        msg = f"training and test images of {path} differ in shape"
        raise InputError(msg)
    classes = sorted(set(train_classes))
    unknown = set(test_classes) - set(classes)
    if len(classes) < 2 or unknown:
        msg = f"{path} needs at least two class folders, the same for training and test images"
        raise InputError(msg)
    numbered = classes if set(own_classes) <= set(classes) else sorted(set(own_classes))
    return Data(
        f"{path.name} ({len(train)} + {len(test)} images{', held out' if held_out else ''})",
        train,
        np.array([classes.index(name) for name in train_classes]),
        test,
        np.array([classes.index(name) for name in test_classes]),
        left_out=sum(map(len, chosen)) - len(train) - len(test),
        known_images=own if len(own_classes) else None,
        known_labels=np.array([numbered.index(name) for name in own_classes], np.int64)
        if len(own_classes)
        else None,
        same_classes=numbered is classes,
    )


def _known(
    source: Source,
    train: list[str],
    chosen: list[str],
    limit: int,
    path: Path | None,
    shape: tuple[int, ...],
) -> tuple[Images, list[str]]:
    """Return images of an attacker's own of this shape, and the names of their classes."""
    if path is not None:
        source = open_source(path)
        names = [name for name in source.names() if not _lies_in(name, "test")]
    else:
        names = sorted(set(train) - set(chosen))
    picked = select(names, limit) if limit else []
    if not picked:
        return np.empty((0, *shape[1:]), np.uint8), []
    images, classes = load_training_set(source, picked)
    if images.shape[1:] == shape[1:]:
        return images, list(classes)
    if images.shape[3] != shape[3]:
        msg = f"images of {path} have {images.shape[3]} channels, and the others {shape[3]}"
        raise InputError(msg)
    size = shape[2], shape[1]
    resized = [
        np.asarray(Image.fromarray(image.squeeze()).resize(size, Image.Resampling.BOX))
        for image in images
    ]
    return np.stack(resized).reshape(-1, *shape[1:]), list(classes)


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
