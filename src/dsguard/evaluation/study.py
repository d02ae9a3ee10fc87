"""A study: what protection does to a network's training, by preset, resumable after every epoch.

A study lives in a folder. Whatever it has done lies there: settings, surrogate, perturbed images,
each training as far as it got. Started again it goes on; with other settings it refuses.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsguard.envelope import DatasetKey
from dsguard.errors import InputError
from dsguard.evaluation.comparison import Row, compare, psnr
from dsguard.evaluation.data import Data
from dsguard.evaluation.pictures import triptychs
from dsguard.evaluation.report import html_report
from dsguard.files import write_whole
from dsguard.fsp import Attack, Recipe, Surrogate, choose_device, fit_surrogate, perturb
from dsguard.kernels.contract import Images
from dsguard.protection import protect_batch, restore_batch

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Preset:
    """How large a study is.

    Attributes
    ----------
    name : str
    train_images, test_images : int or None
        The most images of each, evenly from all classes; None takes all.
    width : int
        Of the networks.
    training, surrogate : Recipe
    seeds : tuple of int
        One comparison each; the seeds of weights and order.
    """

    name: str
    train_images: int | None
    test_images: int | None
    width: int
    training: Recipe
    surrogate: Recipe
    seeds: tuple[int, ...]


QUICK = Preset("quick", 5000, 2000, 16, Recipe(epochs=14), Recipe(epochs=14, seed=100), (0,))
"""Minutes on two CPU cores: a lead, not a result."""

PAPER = Preset("paper", None, None, 64, Recipe(epochs=80), Recipe(epochs=30, seed=100), (0, 1, 2))
"""The settings of Xue et al.: ResNet-18, Adam from 0.01, batch 128, 80 epochs; wants a GPU."""

PRESETS = {preset.name: preset for preset in (QUICK, PAPER)}


@dataclass(frozen=True)
class Study:
    """What `run_study` found.

    Attributes
    ----------
    settings : dict
        All that decides the figures.
    rows : dict of int to list of Row
        By seed, one row per version: clean, protected, restored.
    facts : dict of str to str
    """

    settings: dict[str, Any]
    rows: dict[int, list[Row]]
    facts: dict[str, str]
    versions: dict[str, Images]

    def mean_rows(self) -> list[Row]:
        """Return one row per version, averaged over the seeds."""
        by_version = zip(*self.rows.values(), strict=True)
        return [
            Row(
                group[0].name,
                float(np.mean([row.train_accuracy for row in group])),
                float(np.mean([row.test_accuracy for row in group])),
                float(np.mean([row.peak_accuracy for row in group])),
                tuple(np.mean([row.by_epoch for row in group], axis=0).tolist()),
            )
            for group in by_version
        ]


def run_study(
    data: Data,
    out: Path,
    preset: Preset,
    attack: Attack,
    profile: str,
    *,
    augment: bool = False,
    device: str | None = None,
    on_step: Step | None = None,
) -> Study:
    """Run a study, or what is left of it.

    Parameters
    ----------
    data : Data
        As many images as the preset says.
    out : Path
        The folder that it lives in.
    preset : Preset
    attack : Attack
    profile : str
    augment : bool
        Whether the evaluated networks train with random crops and flips.
    device : str, optional
    on_step : callable, optional
        Called with (name of the step, done, of how many).

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If the folder holds a study with other settings.
    """
    tell = on_step or (lambda name, done, total: None)
    preset = replace(preset, training=replace(preset.training, augment=augment))
    settings = _settings(data, preset, attack, profile, device)
    _claim(out, settings)
    versions = _versions(data, out, preset, attack, profile, device, tell)
    same = bool((versions["restored"] == versions["clean"]).all())
    trained = {n: images for n, images in versions.items() if not (same and n == "restored")}
    epochs, done = preset.training.epochs * len(trained) * len(preset.seeds), 0

    def after_epoch() -> None:
        nonlocal done
        done += 1
        tell("train", done, epochs)

    rows = {}
    for seed in preset.seeds:
        rows[seed] = compare(
            trained,
            data.train_labels,
            data.test_images,
            data.test_labels,
            recipe=replace(preset.training, seed=seed),
            width=preset.width,
            device=device,
            on_epoch=after_epoch,
            checkpoints=out / f"seed{seed}",
        )
        if same:  # to the last bit: the same training, so the same row
            rows[seed].append(replace(rows[seed][0], name="restored"))
    study = Study(settings, rows, _facts(versions, same=same), versions)
    _write(out, study, data.train_labels)
    return study


def _settings(
    data: Data, preset: Preset, attack: Attack, profile: str, device: str | None
) -> dict[str, Any]:
    at = choose_device(device)
    name = torch.cuda.get_device_name(at) if at.type == "cuda" else platform.machine()
    return {
        "data": data.name,
        "images": [len(data.train_images), len(data.test_images)],
        "preset": asdict(preset),
        "attack": asdict(attack),
        "profile": profile,
        "device": f"{at.type}: {name}",
    }


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Write the settings into the folder, or refuse one that has others."""
    file = out / "settings.json"
    text = json.dumps(settings, indent=1)
    if file.exists():
        if json.loads(file.read_text()) != json.loads(text):
            msg = f"{out} holds a study with other settings; choose another folder, or remove it"
            raise InputError(msg)
        return
    if out.is_dir() and any(out.iterdir()):
        msg = f"{out} is not empty and holds no study; choose another folder"
        raise InputError(msg)
    with write_whole(file) as written:
        written.write(text.encode())


def _versions(
    data: Data,
    out: Path,
    preset: Preset,
    attack: Attack,
    profile: str,
    device: str | None,
    tell: Step,
) -> dict[str, Images]:
    """Return clean, protected and restored training images."""
    file = out / "perturbed.npy"
    if file.exists():
        target = np.load(file)
    else:
        surrogate = _surrogate(data, out, preset, device, tell)
        count = len(data.train_images)
        target = perturb(
            data.train_images,
            data.train_labels,
            surrogate,
            attack,
            on_batch=lambda done: tell("perturb", done, count),
        )
        with write_whole(file) as written:
            np.save(written, target)
    key = DatasetKey(bytes(32))  # nothing is published: the study is to be repeatable
    batch = protect_batch(data.train_images, key, target=target, profile=profile)
    restored = restore_batch(batch.images, key, sidecars=batch.sidecars)
    return {"clean": data.train_images, "protected": batch.images, "restored": restored}


def _surrogate(data: Data, out: Path, preset: Preset, device: str | None, tell: Step) -> Surrogate:
    file = out / "surrogate.pt"
    if file.exists():
        return Surrogate.load(file, device)
    surrogate = fit_surrogate(
        data.train_images,
        data.train_labels,
        recipe=preset.surrogate,
        width=preset.width,
        device=device,
        on_epoch=lambda done: tell("surrogate", done, preset.surrogate.epochs),
    )
    surrogate.save(file)
    return surrogate


def _facts(versions: dict[str, Images], *, same: bool) -> dict[str, str]:
    clean, protected, restored = versions.values()
    return {
        "Protected against clean": f"{psnr(protected, clean):.1f} dB",
        "Restored against clean": "equal to the last bit, not trained again"
        if same
        else f"{psnr(restored, clean):.1f} dB",
    }


def _write(out: Path, study: Study, labels: npt.NDArray[np.int64]) -> None:
    from dsguard import __version__

    content = {
        "settings": study.settings,
        "versions": {
            "dsguard": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "facts": study.facts,
        "seeds": {str(seed): [asdict(row) for row in rows] for seed, rows in study.rows.items()},
        "mean": [asdict(row) for row in study.mean_rows()],
    }
    with write_whole(out / "results.json") as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
    _, first_of_class = np.unique(labels, return_index=True)
    page = html_report(
        "dsguard evaluate",
        "One network for each version of the same training set, averaged over the seeds. Whoever "
        "trains on the protected images without the key gets the second row.",
        study.mean_rows(),
        triptychs({name: images[first_of_class] for name, images in study.versions.items()}),
        study.facts | {name: json.dumps(value) for name, value in study.settings.items()},
    )
    with write_whole(out / "report.html") as file:
        file.write(page.encode())
