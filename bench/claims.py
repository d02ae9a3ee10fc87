"""What is claimed of each protection, and what the worst known attack leaves of it.

    python -m bench.claims ../shared/data/cifar10.tar.xz --claim exact-16 --workers 2 --bfloat16

trains networks under every attack of `dsguard.evaluation.attacks`, as ``dsguard evaluate --against
all`` does, and writes one record for each claim to ``bench/results/claims``. A study goes on where
it was interrupted, and ``--against none`` makes its record anew; those of one folder share the
trainings on clean images, which are not done again where a record has their figures. Without
``--claim`` the tables, the picture and the README's sentence are made from the records.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from dsguard.choices import STRENGTHS
from dsguard.evaluation import COUNTERMEASURES, Data, build_network, matrix, own_images
from dsguard.evaluation.presets import PRESETS, Preset
from dsguard.evaluation.protection import Protection, Protects
from dsguard.evaluation.study import Study, run_study
from dsguard.evaluation.trials import Trial, worst
from dsguard.evaluation.versions import key_of
from dsguard.fsp import Attack, Surrogate, accuracy, choose_device
from dsguard.networks.training import load_whole

from .poisons import POISONS, Poison
from .report import cpu, put_into_page, table

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "bench" / "results" / "claims"
LEAST_GAIN = 0.05
"""An attack that gains less has not been shown to work: single figures vary by three points."""

ALL = tuple(
    name for name, attack in COUNTERMEASURES.items() if name != "none" and not attack.part_of
)


def _perturbing(profile: str, epsilon: int) -> Protection:
    return Protection(profile, Attack.carried_by(profile, epsilon=epsilon))


def _sealed(shows: str, **options: int) -> Protection:
    attack = Attack.carried_by("sealed", epsilon=STRENGTHS["standard"])
    return Protection("sealed", attack, shows, **options)


CLAIMS: dict[str, Protects] = {
    **{f"exact-{epsilon}": _perturbing("exact", epsilon) for epsilon in (8, 16, 32)},
    "veil-16": _perturbing("veil", 16),
    "paper-16": _perturbing("paper", 16),
    "sealed-blank": _sealed("blank"),
    "sealed-other": _sealed("other"),
    **{f"sealed-preview-{cells}": _sealed("preview", cells=cells) for cells in (2, 4, 8, 16)},
    "sealed-samples-1": _sealed("samples", samples=1),
    **{f"poison-{name}": Poison(name) for name in POISONS},
}
"""Claims by name; poisons of others stand beside them, to see that attacks work."""

TITLES = {
    "sealed-blank": "`sealed` with a drawn picture",
    "sealed-preview-4": "a preview of 4 cells",
    "sealed-preview-8": "a preview of 8 cells",
    "exact-16": "`exact`",
    "veil-16": "`veil`",
    "paper-16": "`paper`",
}
"""Those of the README."""


def main() -> None:
    """Run a study, or make the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "claims")
    parser.add_argument("--claim", choices=CLAIMS, action="append", default=[])
    parser.add_argument("--against", action="append", choices=COUNTERMEASURES)
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true")
    given = parser.parse_args()
    for claim in given.claim:
        run(claim, given)
    make_tables(records())


def run(claim: str, given: argparse.Namespace) -> None:
    """Do the trainings of a claim, and write its record."""
    preset = PRESETS[given.preset].computed_in(bfloat16=given.bfloat16 or None)
    preset = replace(preset, seeds=tuple(range(given.seeds)))
    folder = given.out / f"{given.preset}-{claim}"
    data = own_images(
        given.data, preset.train_images, preset.test_images, known_limit=preset.known_images
    )
    names = given.against or [
        name for name in ALL if data.known_images is not None or not COUNTERMEASURES[name].needs
    ]
    protection = CLAIMS[claim]
    run_study(data, folder, preset, protection, trials=())
    share_clean(given.out, folder)
    known = figures_of_clean(records(), preset)
    trials, workers = [t for t in matrix(names) if not _is_known(t, known)], given.workers
    study = run_study(data, folder, preset, protection, trials=trials, workers=workers)
    command = f"python -m bench.claims {given.data.name} --claim {claim} --preset {given.preset}"
    file = RECORDS / f"{given.preset}-{claim}.json"
    before = json.loads(file.read_text())["attacks"] if file.exists() else {}
    record = record_of(claim, study, preset, command, before, known)
    record["recognised"] = recognised(folder, data, preset, protection)
    RECORDS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    file.write_text(text + "\n")
    print(text)


def figures_of_clean(found: dict[str, dict[str, Any]], preset: Preset) -> dict[str, dict[str, Any]]:
    """Return by attack the figures of clean images under it that are of most seeds.

    They are the same in each study of a recipe, but those of a remover, which learns from protected
    pairs. Those without an attack are not among them: others need the networks.
    """
    figures: dict[str, dict[str, Any]] = {}
    for each in found.values():
        attacks = each["attacks"] if each["recipe"] == preset.name else {}
        for name, figure in attacks.items():
            fits = name != "none" and COUNTERMEASURES[name].needs != "pairs"
            fits = fits and figure["seeds"] >= max(
                len(preset.seeds), figures.get(name, {}).get("seeds", 0)
            )
            if fits and "clean" in figure:
                clean = {key: value for key, value in figure.items() if key.startswith("clean")}
                figures[name] = {"clean of": each["claim"], "seeds": figure["seeds"], **clean}
    return figures


def _is_known(trial: Trial, known: dict[str, dict[str, Any]]) -> bool:
    return trial.version == "clean" and trial.network == "resnet18" and trial.against in known


def recognised(folder: Path, data: Data, preset: Preset, protection: Protects) -> float:
    """Return how many protected test images networks know that were trained on clean images.

    It is the mean over the seeds.
    """
    place = choose_device()
    classes = int(data.train_labels.max()) + 1
    network = build_network("resnet18", data.train_images.shape[1:], classes, preset.width, 0)
    surrogate = None
    if protection.needs_surrogate:
        surrogate = Surrogate.load(folder / "surrogate.pt", str(place))
    known = []
    for seed in preset.seeds:
        key, images, labels = key_of(seed), data.test_images, data.test_labels
        protected, _ = protection.protect(images, labels, key, surrogate)
        network.load_state_dict(load_whole(folder / f"seed{seed}" / "clean.pt")["model"])
        known.append(accuracy(network.to(place), protected, labels, place))
    return round(float(np.mean(known)), 4)


def share_clean(root: Path, folder: Path) -> None:
    """Copy trainings on clean images from the studies beside this one: they are the same.

    A remover learns from protected pairs, so it is another one in each study.
    """
    preset, _, _ = folder.name.partition("-")
    for file in root.glob(f"{preset}-*/seed*/clean*.pt"):
        own = folder / file.parent.name / file.name
        alone = file.stem.removeprefix("clean-")
        if alone in COUNTERMEASURES and COUNTERMEASURES[alone].needs == "pairs":
            continue
        if not own.exists():
            own.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, own)


def record_of(
    claim: str,
    study: Study,
    preset: Preset,
    command: str,
    before: dict[str, dict[str, Any]],
    known: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return what is known of a claim.

    Attacks of `before`, measured by an earlier run, stay where this one has fewer seeds of them:
    each stands beside the clean images of its own run, or of the study in `known`.
    """
    made = made_here()
    found: dict[str, dict[str, Any]] = {}
    for trial, rows in study.rows.items():
        if trial.version in ("clean", "protected") and trial.percent == 100:
            each = found.setdefault(trial.against, {"commit": made["commit"], "cpu": cpu()})
            last = [row.test_accuracy for row in rows.values()]
            each[trial.version] = round(float(np.mean(last)), 4)
            each[f"{trial.version}, best epoch"] = round(
                float(np.mean([row.peak_accuracy for row in rows.values()])), 4
            )
            each["seeds"] = len(last)
            if len(last) > 1:
                each[f"{trial.version}, standard deviation"] = round(float(np.std(last, ddof=1)), 4)
    for name in [name for name in found if "clean" not in found[name]]:
        if name in known:
            found[name] |= {key: known[name][key] for key in known[name] if key != "seeds"}
        else:  # of an earlier run with fewer seeds
            del found[name]
    for name, each in before.items():
        if each["seeds"] > found.get(name, {}).get("seeds", 0):
            found[name] = each
    most = worst({name: each["protected"] for name, each in found.items() if "protected" in each})
    settings = study.settings
    attack = settings.get("attack", {})
    return {
        "claim": claim,
        "profile": settings.get("profile", "none"),
        "cover": settings.get("cover"),
        "epsilon": attack.get("epsilon"),
        "cells": settings.get("cells"),
        "data": settings["data"],
        "recipe": preset.name,
        "epochs": preset.training.epochs,
        "width": preset.width,
        "bfloat16": bool(preset.training.bfloat16),
        "clean": found["none"]["clean"],
        "protected": found["none"]["protected"],
        "worst attack": most,
        "protected under it": found[most]["protected"],
        "clean under it": found[most]["clean"],
        "reported by others": None,
        "command": command,
        **made,
        "attacks": found,
    }


def made_here() -> dict[str, str]:
    """Return when, from what commit, where and with what figures are made."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return {
        "date": date.today().isoformat(),
        "commit": subprocess.check_output(git, text=True).strip(),
        "machine": f"{cpu()}; torch {version('torch')}, dsguard {version('dsguard')}",
    }


def records(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """Return all records, by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def make_tables(found: dict[str, dict[str, Any]]) -> None:
    """Put tables, a sentence and a picture made from records into the pages."""
    own = _own(found)
    for page, mark, text in (
        ("docs/efficacy.md", "claims", claims_table(own)),
        ("docs/efficacy.md", "attacks", attacks_table(own)),
        ("docs/efficacy.md", "poisons", attacks_table(_own(found, poisons=True))),
        ("docs/efficacy.md", "works", works_table(found)),
        ("docs/efficacy.md", "shows", shows_table(own)),
        ("README.md", "protection", sentence(own)),
    ):
        start, end = f"<!-- {mark}: bench/claims.py -->", f"<!-- end of {mark} -->"
        put_into_page(start, end, text, ROOT / page)
    draw(own, ROOT / "docs" / "pictures" / "shows.png")


def sentence(own: list[dict[str, Any]]) -> str:
    """Return what the README says."""
    said = [
        f"- {title}: {_worst(each)} ({_figure(each['attacks']['none'], 'protected')})"
        for each in own
        if (title := TITLES.get(each["claim"]))
    ]
    text = (
        "A small network that is trained on clean images of CIFAR-10 recognises "
        f"{_figure(_most_measured(own), 'clean')} of the test images.",
        "Chance is 10 %.",
        "Trained on protected images, it recognises these shares after the worst known attack, and "
        "without one in brackets.",
        "± is the deviation of three seeds or more.",
        "",
    )
    return "\n".join((*text, *said))


def shows_table(own: list[dict[str, Any]]) -> str:
    """Return a row for each claim: recognised, and learned."""
    head = (
        "protection",
        "recognised by a network trained on clean images",
        "best network of an attacker",
    )
    rows = [
        (f"`{each['claim']}`", f"{each['recognised']:.1%}", f"{each['protected under it']:.1%}")
        for each in own
    ]
    return table(head, rows)


def draw(own: list[dict[str, Any]], path: Path) -> None:
    """Plot how much is recognised against how much is learned."""
    figure = Figure(figsize=(7, 4.5), dpi=100, layout="constrained")
    axes = figure.add_subplot(
        xlabel="recognised by a network trained on clean images, %",
        ylabel="best network of an attacker, on clean test images, %",
        xlim=(0, 70),
        ylim=(0, 70),
    )
    points = [(100 * each["recognised"], 100 * each["protected under it"]) for each in own]
    for each, point in zip(own, points, strict=True):
        axes.plot(*point, "o", color="tab:green" if each["profile"] == "sealed" else "tab:red")
    clean = 100 * _most_measured(own)["clean"]
    axes.axhline(clean, color="k", linestyle=":", label="clean images")
    axes.axhline(10, color="tab:gray", linestyle="--", label="chance")
    axes.legend(fontsize="small", loc="lower right")
    figure.draw_without_rendering()  # lays out the axes, among which the labels look for places
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axes.transData.transform(points)]
    for each, point in zip(own, points, strict=True):
        taken.append(_label(axes, each["claim"], point, taken))
    figure.savefig(path)


def _label(axes: Axes, text: str, point: tuple[float, float], taken: Sequence[Bbox]) -> Bbox:
    """Write a text beside a point, clear of the places that are taken; return its own."""
    label = axes.annotate(text, point, (0, 0), textcoords="offset points", fontsize=8)
    for (x, side), y in product(((7, "left"), (-7, "right")), (4, -11, 16, -23)):
        label.xyann = x, y
        label.set_horizontalalignment(side)
        place = label.get_window_extent()
        if axes.bbox.x0 < place.x0 and not any(place.overlaps(other) for other in taken):
            break
    return label.get_window_extent()


def _own(found: dict[str, dict[str, Any]], *, poisons: bool = False) -> list[dict[str, Any]]:
    order = list(CLAIMS)
    chosen = [
        each
        for each in found.values()
        if each["recipe"] == "quick" and each["claim"].startswith("poison") == poisons
    ]
    return sorted(chosen, key=lambda each: order.index(each["claim"]))


def _most_measured(claims: Sequence[dict[str, Any]], attack: str = "none") -> dict[str, Any]:
    """Return the figures of an attack that are of most seeds, the first of them."""
    measured = [each["attacks"].get(attack, {}) for each in claims]
    return max((each for each in measured if "clean" in each), key=lambda each: each["seeds"])


def claims_table(own: list[dict[str, Any]]) -> str:
    """Return a row for each claim: as the images are, and under the worst attack."""
    head = (
        "protection",
        "without an attack",
        "under the worst attack",
        "clean images under it",
        "worst attack",
    )
    rows = [
        (
            f"`{each['claim']}`",
            _figure(each["attacks"]["none"], "protected"),
            f"**{_worst(each)}**",
            _figure(each["attacks"][each["worst attack"]], "clean"),
            COUNTERMEASURES[each["worst attack"]].title,
        )
        for each in own
    ]
    return table(head, rows)


def _worst(claim: dict[str, Any]) -> str:
    """Return the accuracy that the worst attack leaves."""
    return _figure(claim["attacks"][claim["worst attack"]], "protected")


def _figure(measured: dict[str, Any], version: str) -> str:
    """Return an accuracy, and how far those of its seeds lie apart where there are several."""
    spread = measured.get(f"{version}, standard deviation")
    return f"{measured[version]:.1%}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def attacks_table(columns: list[dict[str, Any]]) -> str:
    """Return a row for each attack that was run, and a column for each claim or poison."""
    head = ("attack", "clean", *(f"`{each['claim']}`" for each in columns))
    rows = []
    for name, measure in COUNTERMEASURES.items():
        cells = [each["attacks"].get(name, {}).get("protected") for each in columns]
        if any("clean" in each["attacks"].get(name, {}) for each in columns):
            clean = _most_measured(columns, name)["clean"]
            shown = ("–" if cell is None else f"{cell:.1%}" for cell in cells)
            rows.append((measure.title, f"{clean:.1%}", *shown))
    return table(head, rows)


def works_table(found: dict[str, dict[str, Any]]) -> str:
    """Return a row for each attack: the protection or poison that it takes most from.

    Those by somebody with labelled clean images are compared with these images alone instead.
    """
    head = ("attack", "undoes", "without it", "under it")
    columns = [*_own(found), *_own(found, poisons=True)]
    rows = []
    for name, measure in COUNTERMEASURES.items():
        tried = [
            (each["attacks"][name]["protected"] - each["protected"], each)
            for each in columns
            if "protected" in each["attacks"].get(name, {})
        ]
        if name not in ALL or measure.needs == "labels" or not tried:
            continue
        gain, most = max(tried, key=lambda pair: pair[0])
        under = most["attacks"][name]["protected"]
        told = (f"`{most['claim']}`", f"{most['protected']:.1%}", f"{under:.1%}")
        rows.append((measure.title, *(told if gain > LEAST_GAIN else ("–", "–", "–"))))
    return table(head, rows)


if __name__ == "__main__":
    main()
