"""A study: what protection does to a network's training, by preset, resumable after every epoch.

A study lives in a folder. Whatever it has done lies there: settings, surrogate, perturbed images,
each training as far as it got. Started again it goes on, with more trials if more are asked for;
with other settings it refuses.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsguard._atomic import write_whole
from dsguard.bulk.checks import check_unpublished
from dsguard.errors import InputError
from dsguard.evaluation.attacks import CounterMeasure, attack_named
from dsguard.evaluation.comparison import Row, cautions, psnr
from dsguard.evaluation.data import Data
from dsguard.evaluation.pictures import check_plots
from dsguard.evaluation.presets import Preset
from dsguard.evaluation.protection import Protects
from dsguard.evaluation.report import html_report
from dsguard.evaluation.results import check_lengths, results_in
from dsguard.evaluation.trainings import Shared, Training, run_all
from dsguard.evaluation.trials import TABLE_1, Trial
from dsguard.evaluation.versions import Maker, Step
from dsguard.fsp import choose_device
from dsguard.kernels.contract import Images


@dataclass(frozen=True)
class Study:
    """The result of `run_study`.

    Attributes
    ----------
    settings : dict
        All that decides the figures.
    rows : dict of Trial to dict of int to Row
        By trial and seed, those of an earlier time as well.
    facts : dict of str to str
    versions : dict of str to ndarray
        The training images: clean, protected, restored; those of the first seed.
    """

    settings: dict[str, Any]
    rows: dict[Trial, dict[int, Row]]
    facts: dict[str, str]
    versions: dict[str, Images]

    def mean_rows(self) -> list[Row]:
        """Return one row per trial, the mean of its seeds; the name tells if it is one."""
        return [_mean(trial.title, list(of.values())) for trial, of in self.rows.items()]


def _mean(title: str, rows: list[Row]) -> Row:
    return Row(
        title if len(rows) == 1 else f"{title} (mean of {len(rows)})",
        float(np.mean([row.train_accuracy for row in rows])),
        float(np.mean([row.test_accuracy for row in rows])),
        float(np.mean([row.peak_accuracy for row in rows])),
        tuple(np.mean([row.by_epoch for row in rows], axis=0).tolist()),
    )


def run_study(
    data: Data,
    out: Path,
    preset: Preset,
    protection: Protects,
    *,
    trials: Sequence[Trial] = TABLE_1,
    device: str | None = None,
    workers: int = 1,
    on_step: Step | None = None,
) -> Study:
    """Run a study, or what is left of it.

    Parameters
    ----------
    data : Data
        As many images as the preset says.
    out : Path
        The folder that it lives in. Its files ``report.html`` and ``versions.npz``, of each seed,
        have clean images, and only their owner can read them.
    preset : Preset
    protection : Protects
        Makes protected images: a `Protection`, or anything to compare it with.
    trials : sequence of Trial
        What to train; by default a network on clean, protected and restored images.
    device : str, optional
    workers : int
        How many networks to train at a time, each in a process of its own.
    on_step : callable, optional
        Called with (name of the step, done, of how many).

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If the folder holds a study with other settings or lies in what is published, or a trial
        needs images of an attacker's own and there are none.
    MissingExtraError
        Without matplotlib, which draws the curves.
    """
    check_plots()
    check_unpublished(out, "study", with_below=True)
    _refuse(trials, data)
    tell = on_step or (lambda name, done, total: None)
    settings = _settings(data, preset, protection, device)
    _claim(out, settings)
    maker = Maker(data, out, preset, protection, device, tell)
    versions = maker.versions()
    known = None
    if any(attack_named(trial.against).needs for trial in trials):
        known = maker.known()
    same = all(versions.same(seed) for seed in preset.seeds)
    # What is equal to the last bit trains to the same network, and is trained once.
    wanted = [
        (seed, trial, trial.twin if same else trial) for trial in trials for seed in preset.seeds
    ]
    each = list(dict.fromkeys(Training(twin, seed) for seed, _, twin in wanted))
    shared = Shared(versions.of, data, preset, out, device, known)
    found = run_all(each, shared, workers, lambda done, total: tell("train", done, total))
    rows = results_in(out / "results.json")  # only now: another call may have added to them
    for seed, trial, twin in wanted:
        rows.setdefault(trial, {})[seed] = replace(found[Training(twin, seed)], name=trial.title)
    check_lengths(rows, out / "results.json")
    shown = versions.of(preset.seeds[0])
    facts = _facts(data, shown, same=same)
    if TABLE_1[0] in rows:
        facts |= cautions(data, _mean("clean", list(rows[TABLE_1[0]].values())))
    study = Study(settings, rows, facts, shown)
    _write(out, study, data.train_labels)
    return study


def _refuse(trials: Sequence[Trial], data: Data) -> None:
    """Refuse attacks by somebody who has images that are not there."""
    for trial in trials:
        missing = missing_for(attack_named(trial.against), data)
        if missing:
            msg = f"attack {trial.against} needs {missing}"
            raise InputError(msg)


def missing_for(attack: CounterMeasure, data: Data) -> str:
    """Return the images that an attack needs and that are not there; empty where all are."""
    if attack.needs and data.known_images is None:
        return (
            "clean images of an attacker's own, and all are trained on; give others with --known, "
            "or take fewer to train on"
        )
    if attack.needs == "labels" and not data.same_classes:
        return "images of an attacker's own of the same classes"
    return ""


def _settings(
    data: Data, preset: Preset, protection: Protects, device: str | None
) -> dict[str, Any]:
    """Return what a study has one of: not how many seeds and trials, which may grow."""
    at = choose_device(device)
    size = asdict(preset)
    del size["seeds"]
    name = torch.cuda.get_device_name(at) if at.type == "cuda" else platform.machine()
    return {
        "data": data.name,
        "images": [len(data.train_images), len(data.test_images)],
        "digest": data.digest(),
        "preset": size,
        **protection.settings(),
        "keys": "one for each seed",
        "device": f"{at.type}: {name}",
    }


def _is_odd(path: Path) -> bool:
    """Tell whether something is no file and no folder, and is still there."""
    return path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir()))


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Write the settings into the folder, or refuse one that has others."""
    file = out / "settings.json"
    text = json.dumps(settings, indent=1)
    inside = [*out.iterdir(), *out.glob("seed*/*")] if out.is_dir() else []
    odd = [path.relative_to(out) for path in inside if _is_odd(path)]
    if odd:
        msg = f"{out} holds a link or a pipe, {str(odd[0])!r}, as no study does; remove it"
        raise InputError(msg)
    if file.exists():
        try:
            before, now = json.loads(file.read_text()), json.loads(text)
            others = [name for name in now | before if before.get(name) != now.get(name)]
        except (AttributeError, RecursionError, TypeError, ValueError) as error:
            msg = f"{file} is damaged; choose another folder, or remove {out}"
            raise InputError(msg) from error
        if others:
            msg = (
                f"{out} holds a study with other settings ({', '.join(others)}); choose another "
                "folder, or remove it"
            )
            raise InputError(msg)
        return
    if inside:
        msg = f"{out} is not empty and holds no study; choose another folder"
        raise InputError(msg)
    with write_whole(file) as written:
        written.write(text.encode())


def _facts(data: Data, versions: dict[str, Images], *, same: bool) -> dict[str, str]:
    clean, protected, restored = versions.values()
    return {
        "Images": f"{len(clean)} to train on, {len(data.test_images)} to test on",
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
        "trials": [
            {
                **asdict(trial),
                "seeds": [{"seed": seed, **asdict(row)} for seed, row in rows.items()],
                "mean": asdict(mean),
            }
            for (trial, rows), mean in zip(study.rows.items(), study.mean_rows(), strict=True)
        ],
    }
    with write_whole(out / "results.json") as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
    _, first_of_class = np.unique(labels, return_index=True)
    names = {"clean": "clean", "protected": "what shows", "restored": "restored"}
    page = html_report(
        "What networks learn from protected images",
        f"Networks were trained on clean and on protected images of {study.settings['data']}, and "
        "tested on clean ones. Whoever has no key has the protected images.",
        dict(zip(study.rows, study.mean_rows(), strict=True)),
        {names[name]: images[first_of_class] for name, images in study.versions.items()},
        study.facts,
        study.settings,
    )
    with write_whole(out / "report.html", private=True) as file:  # it shows clean images
        file.write(page.encode())
