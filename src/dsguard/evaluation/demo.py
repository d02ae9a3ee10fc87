"""The demo: the whole story on a small dataset, from clean images to the paper's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dsguard._atomic import write_whole
from dsguard.api import inspect, protect_batch, restore_batch
from dsguard.bulk.checks import check_unpublished
from dsguard.choices import PERTURBING_PROFILE
from dsguard.covers import Preview, shown
from dsguard.evaluation import (
    Data,
    Row,
    Trial,
    cautions,
    digits,
    html_report,
    learn,
    own_images,
    psnr,
    triptychs,
)
from dsguard.evaluation.pictures import check_plots
from dsguard.fsp import Attack, Recipe, Surrogate, choose_device, fit_surrogate, perturb
from dsguard.kernels.contract import Images
from dsguard.keys import DatasetKey
from dsguard.networks.training import default_width
from dsguard.profiles import Profile

_TRAIN_LIMIT, _TEST_LIMIT = 2000, 1000

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoResult:
    """The result of `run_demo`, and its files."""

    rows: dict[Trial, Row]
    facts: dict[str, str]
    report: Path
    picture: Path


def demo_data(path: Path | None, seed: int) -> Data:
    """Return the digits, or a sample of the user's dataset."""
    return digits(seed) if path is None else own_images(path, _TRAIN_LIMIT, _TEST_LIMIT, seed)


def run_demo(
    data: Data,
    out: Path,
    *,
    attack: Attack,
    profile: str = PERTURBING_PROFILE,
    epochs: int = 10,
    device: str | None = None,
    seed: int = 0,
    on_step: Step | None = None,
) -> DemoResult:
    """Protect, restore, train on all versions, attack, and write a picture and a report.

    Parameters
    ----------
    data : Data
    out : Path
        Folder for ``report.html`` and ``triptychs.png``. Both show clean images, and only their
        owner can read them.
    attack : Attack
        How to perturb.
    profile : str
        How to protect.
    epochs : int
        Of the surrogate and of each training.
    device : str, optional
    seed : int
        Of the surrogate; the trainings use seed + 1.
    on_step : callable, optional
        Called with (name of the step, done, of how many) as the demo goes on.

    Raises
    ------
    InputError
        If `out` lies in what is published.
    MissingExtraError
        Without matplotlib, before anything is done.
    """
    check_plots()
    check_unpublished(out, "demo", with_below=True)
    tell = on_step or (lambda name, done, total: None)
    key = DatasetKey.generate()
    chosen = Profile.named(profile)
    if chosen.needs_surrogate:
        surrogate = _surrogate(data, Recipe(epochs=epochs, seed=seed), device, tell)
        target = perturb(data.train_images, data.train_labels, surrogate, attack)
    else:
        cover = chosen.cover(key, epsilon=attack.epsilon)
        target = shown(cover, data.train_images, data.train_labels, chosen.codec.grid)
    batch = protect_batch(data.train_images, key, target=target, codec=chosen.codec)
    protected = batch.images
    restored = restore_batch(protected, key, sidecars=batch.sidecars)
    sealed = protect_batch(data.train_images, key, labels=data.train_labels).images
    versions = {"clean": data.train_images}
    if chosen.name != "sealed":
        versions |= {"protected": protected}
    versions |= {"sealed": sealed, "restored": restored}
    rows = _train(versions, data, Recipe(epochs=epochs, seed=seed + 1), device, tell)
    width = default_width(choose_device(device))
    told = _facts(data, protected, restored, epochs, width)
    if chosen.needs_surrogate:
        told |= _perturbation(data, target, attack)
    facts = told | cautions(data, rows[Trial("clean")])
    preview = protect_batch(data.train_images, key, cover=Preview()).images
    return _write(out, data, versions | {"preview": preview}, rows, facts)


def _surrogate(data: Data, recipe: Recipe, device: str | None, tell: Step) -> Surrogate:
    return fit_surrogate(
        data.train_images,
        data.train_labels,
        recipe=recipe,
        device=device,
        on_epoch=lambda done: tell("surrogate", done, recipe.epochs),
    )


def _train(
    versions: dict[str, Images], data: Data, recipe: Recipe, device: str | None, tell: Step
) -> dict[Trial, Row]:
    """Train on each version as it is, and on all but the restored one after an attack.

    The attack undoes patterns, as whoever has read the documentation can. Restored images that are
    equal to the clean ones train to the same network, which is not trained again.
    """
    trials = [Trial(version) for version in versions]
    trials += [Trial(version, "undone") for version in versions if version != "restored"]
    same = bool((versions["restored"] == versions["clean"]).all())
    total = (len(trials) - same) * recipe.epochs
    rows: dict[Trial, Row] = {}
    done = 0

    def after_epoch() -> None:
        nonlocal done
        done += 1
        tell("train", done, total)

    for trial in trials:
        if same and trial.twin in rows:
            rows[trial] = replace(rows[trial.twin], name=trial.title)
            continue
        rows[trial] = learn(
            trial.title,
            versions[trial.version],
            data.train_labels,
            data.test_images,
            data.test_labels,
            recipe=recipe,
            against=trial.against,
            device=device,
            on_epoch=after_epoch,
        )
    return rows


def _facts(
    data: Data, protected: Images, restored: Images, epochs: int, width: int
) -> dict[str, str]:
    clean = data.train_images
    info = inspect(protected[0])
    worst = int(np.abs(restored.astype(np.int16) - clean).max())
    return {
        "Data": f"{data.name}: {len(clean)} training and {len(data.test_images)} test images",
        "Network": f"ResNet-18 of width {width}, {epochs} epochs, no augmentation",
        "Profile": f"{info.profile}, {info.payload_bits} payload bits in the first image",
        "Protected against clean": f"{psnr(protected, clean):.1f} dB",
        "Restored against clean": f"{psnr(restored, clean):.1f} dB, at most {worst} grey level(s)"
        if worst
        else "equal to the last bit",
    }


def _perturbation(data: Data, target: Images, attack: Attack) -> dict[str, str]:
    return {
        "Perturbation": f"{attack.kind}, ε {attack.epsilon}/255",
        "Target against clean": f"{psnr(target, data.train_images):.1f} dB",
    }


def _write(
    out: Path,
    data: Data,
    versions: dict[str, Images],
    rows: dict[Trial, Row],
    facts: dict[str, str],
) -> DemoResult:
    _, first_of_class = np.unique(data.train_labels, return_index=True)
    shown_in_order = ("clean", "protected", "preview", "sealed", "restored")
    pictures = {name: versions[name][first_of_class] for name in shown_in_order if name in versions}
    page = html_report(
        "dsguard: what a network learns without the key",
        f"Networks were trained on versions of one training set ({data.name}). Whoever has no key "
        "has the protected images, or the sealed ones, of which nothing but a drawn picture shows.",
        rows,
        pictures,
        facts,
    )
    paths = out / "report.html", out / "triptychs.png"
    with write_whole(paths[0], private=True) as file:
        file.write(page.encode())
    with write_whole(paths[1], private=True) as file:
        triptychs(pictures).save(file, "png")
    return DemoResult(rows, facts, *paths)
