"""The demo: the whole story on a small dataset, from clean images to the paper's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsguard.bulk import load_training_set, select
from dsguard.datasets import open_source
from dsguard.envelope import DatasetKey
from dsguard.errors import InputError, MissingExtraError
from dsguard.evaluation import Row, compare, html_report, psnr, triptychs
from dsguard.files import write_whole
from dsguard.fsp import Attack, Recipe, Surrogate, fit_surrogate, perturb
from dsguard.kernels.contract import Images
from dsguard.profile import DEFAULT
from dsguard.protection import inspect, protect_batch, restore_batch

_TRAIN_LIMIT, _TEST_LIMIT = 2000, 1000
_DIGITS_FOR_TRAINING = 1297

Step = Callable[[str, int, int], None]


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


@dataclass(frozen=True)
class DemoResult:
    """What `run_demo` found and where it wrote it."""

    rows: list[Row]
    facts: dict[str, str]
    report: Path
    picture: Path


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


def own_images(path: Path, seed: int = 0) -> Data:
    """Return a sample of the user's dataset.

    Its ``train`` and ``test`` folders are used where it has both, else a third of it is set aside
    at random.
    """
    source = open_source(path)
    names = source.names()
    if not names:
        msg = f"{path} holds no images; expected class folders with image files"
        raise InputError(msg)
    splits = {
        split: [n for n in names if split in PurePosixPath(n).parts[:-2]]
        for split in ("train", "test")
    }
    if not (splits["train"] and splits["test"]):
        sample = select(names, _TRAIN_LIMIT + _TEST_LIMIT)
        order = np.random.default_rng(seed).permutation(len(sample))
        cut = len(sample) * 2 // 3
        splits = {
            "train": sorted(sample[i] for i in order[:cut]),
            "test": sorted(sample[i] for i in order[cut:]),
        }
    chosen = [
        select(splits[split], limit)
        for split, limit in (("train", _TRAIN_LIMIT), ("test", _TEST_LIMIT))
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
        f"{path.name} ({len(train)} + {len(test)} images)",
        train,
        np.array([classes.index(name) for name in train_classes]),
        test,
        np.array([classes.index(name) for name in test_classes]),
        left_out=sum(map(len, chosen)) - len(train) - len(test),
    )


def run_demo(
    data: Data,
    out: Path,
    *,
    attack: Attack,
    profile: str = DEFAULT,
    epochs: int = 10,
    device: str | None = None,
    seed: int = 0,
    on_step: Step | None = None,
) -> DemoResult:
    """Protect, restore, train on all versions, and write a picture and a report.

    Parameters
    ----------
    data : Data
    out : Path
        Folder for ``report.html`` and ``triptychs.png``.
    attack : Attack
        How to perturb.
    profile : str
        How to protect.
    epochs : int
        Of the surrogate and of each of the three trainings.
    device : str, optional
    seed : int
        Of the surrogate; the trainings use seed + 1.
    on_step : callable, optional
        Called with (name of the step, done, of how many) as the demo goes on.
    """
    tell = on_step or (lambda name, done, total: None)
    surrogate = _surrogate(data, Recipe(epochs=epochs, seed=seed), device, tell)
    count = len(data.train_images)
    target = perturb(
        data.train_images,
        data.train_labels,
        surrogate,
        attack,
        on_batch=lambda done: tell("perturb", done, count),
    )
    key = DatasetKey.generate()
    batch = protect_batch(data.train_images, key, target=target, profile=profile)
    protected = batch.images
    restored = restore_batch(protected, key, sidecars=batch.sidecars)
    versions = {"clean": data.train_images, "protected": protected, "restored": restored}
    done = 0

    def after_epoch() -> None:
        nonlocal done
        done += 1
        tell("train", done, 3 * epochs)

    rows = compare(
        versions,
        data.train_labels,
        data.test_images,
        data.test_labels,
        recipe=Recipe(epochs=epochs, seed=seed + 1),
        device=device,
        on_epoch=after_epoch,
    )
    facts = _facts(data, versions, target, attack, epochs, surrogate) | _cautions(data, rows)
    return _write(out, data, versions, rows, facts)


def _surrogate(data: Data, recipe: Recipe, device: str | None, tell: Step) -> Surrogate:
    return fit_surrogate(
        data.train_images,
        data.train_labels,
        recipe=recipe,
        device=device,
        on_epoch=lambda done: tell("surrogate", done, recipe.epochs),
    )


def _facts(
    data: Data,
    versions: dict[str, Images],
    target: Images,
    attack: Attack,
    epochs: int,
    surrogate: Surrogate,
) -> dict[str, str]:
    clean, protected, restored = versions.values()
    info = inspect(protected[0])
    worst = int(np.abs(restored.astype(np.int16) - clean).max())
    return {
        "Data": f"{data.name}: {len(clean)} training and {len(data.test_images)} test images",
        "Network": f"ResNet-18 of width {surrogate.width}, {epochs} epochs, no augmentation",
        "Perturbation": f"ε {attack.epsilon}/255, {attack.steps} steps, {attack.layer}, constant "
        f"on squares of {attack.block}",
        "Profile": f"{info.profile}, {info.payload_bits} payload bits in the first image",
        "Perturbed against clean": f"{psnr(target, clean):.1f} dB",
        "Protected against clean": f"{psnr(protected, clean):.1f} dB",
        "Restored against clean": f"{psnr(restored, clean):.1f} dB, at most {worst} grey level(s)"
        if worst
        else "equal to the last bit",
    }


def _cautions(data: Data, rows: list[Row]) -> dict[str, str]:
    """Say how far the table can be trusted."""
    chance = np.bincount(data.test_labels).max() / len(data.test_labels)
    spread = np.sqrt(0.25 / len(data.test_labels))
    facts = {
        "Chance level": f"{chance:.1%}; test accuracies are known to about ±{2 * spread:.1%}",
    }
    if rows[0].peak_accuracy < chance + 4 * spread:
        facts["Caution"] = (
            "even the clean images taught the network little more than chance: this is too little "
            "data or training to conclude anything"
        )
    if data.left_out:
        facts["Left out"] = f"{data.left_out} images that cannot be read or are too small"
    return facts


def _write(
    out: Path, data: Data, versions: dict[str, Images], rows: list[Row], facts: dict[str, str]
) -> DemoResult:
    _, first_of_class = np.unique(data.train_labels, return_index=True)
    picture = triptychs({name: images[first_of_class] for name, images in versions.items()})
    page = html_report(
        "dsguard demo",
        f"One network for each version of the same training set ({data.name}). Whoever trains on "
        "the protected images without the key gets the second row.",
        rows,
        picture,
        facts,
    )
    paths = out / "report.html", out / "triptychs.png"
    with write_whole(paths[0]) as file:
        file.write(page.encode())
    with write_whole(paths[1]) as file:
        picture.save(file, "png")
    return DemoResult(rows, facts, *paths)
