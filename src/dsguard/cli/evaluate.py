"""``dsguard evaluate`` and ``dsguard demo``: networks are trained and compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from dsguard.cli import options
from dsguard.cli.console import output, say, step_bars
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.evaluation import Data, Row


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Your own images; see `protect`.")
@click.option("--out", default="out/demo", show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--epsilon",
    type=options.Radius(),
    help="Perturbation radius; 32 for the digits, 16 for --data.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Of every training.",
)
@options.perturbing_profile_option
@click.option("--seed", default=0, show_default=True)
@options.device_option
def demo(
    data: Path | None,
    out: Path,
    epsilon: int | None,
    epochs: int,
    profile: str,
    seed: int,
    device: str | None,
) -> None:
    """Show the whole method on a small dataset, in some minutes.

    Fits a surrogate, protects, restores, and trains networks on clean, protected and restored
    images. Attacks as well: patterns are undone, as those can who know the method. Writes a report
    of one page.
    """
    from dsguard.evaluation.demo import demo_data, run_demo

    link = next((path for path in (out, *out.parents) if path.is_symlink()), None)
    if link is not None and not options.was_given("out"):
        msg = f"{link} is a link, and the report would lie where it leads; name a folder, --out"
        raise InputError(msg)
    chosen = demo_data(data, seed)
    # Digits are all contrast: a perturbation has to be larger than on photographs to matter.
    radius = epsilon if epsilon is not None else 32 if data is None else 16
    attack = options.attack_of(profile, radius)
    with step_bars() as tell:
        result = run_demo(
            chosen,
            out,
            attack=attack,
            profile=profile,
            epochs=epochs,
            device=device,
            seed=seed,
            on_step=tell,
        )
    output.print(_table(list(result.rows.values())))
    for title, value in result.facts.items():
        say(f"{title}: {value}")
    say(f"report: {result.report}")
    say(f"picture: {result.picture}")
    if data is not None:
        say(f"{out} {_SHOWS_CLEAN}")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that the study lives in; started again with the same settings, it goes on there.",
)
@click.option(
    "--preset",
    type=click.Choice(["quick", "full", "paper", "field"]),
    default="quick",
    show_default=True,
)
@options.epsilon_option
@options.kind_option
@options.steps_option
@click.option(
    "--against",
    multiple=True,
    metavar="NAME",
    help="Counter-measure of the trainer to try as well, on clean and on protected images: "
    "crop-and-flip, cutout, cutmix, mixup, resized-crop, blur, gray, jpeg, jpeg-30, jpeg-50, "
    "jpeg-70, jpeg-90, bit-depth, low-pass, high-pass, contrast-1, contrast-2, contrast-4, "
    "cells-4, cells-8, jitter, ueraser, class-mean, projection, evened, informed, undone, "
    "block-means, jigsaw, disentangled, remover, few-1, few-5, pseudo-labels-1, pseudo-labels-5, "
    "self-supervised-1, self-supervised-5, "
    "adversarial, adversarial-8, or `all`. May be repeated.",
)
@click.option(
    "--known",
    type=click.Path(path_type=Path),
    help="Dataset of an attacker's own, for the counter-measures that need one (remover, few, "
    "pseudo-labels, self-supervised); by default images of DATA that are not trained on.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME",
    help="Network to train besides ResNet-18: vgg11, mobilenet, densenet, vit, blocks, or `all`. "
    "May be repeated.",
)
@click.option(
    "--percent",
    "percents",
    multiple=True,
    type=click.IntRange(1, 99),
    help="Protect only so many of the images, and compare with the others alone, plainly and with "
    "crops and flips. May be repeated.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="Train every network so many times, each with other weights and another key, and tell "
    "the mean; by default once in quick, three times in paper.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Of every training but the surrogate's; by default 14 in quick, 80 in paper.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many networks to train at a time: each on its share of the cores, by which figures "
    "differ a little, or on one GPU as many as fit there.",
)
@click.option(
    "--bfloat16/--float32",
    default=None,
    help="Precision of training; by default bfloat16 on CUDA. Recent server CPUs gain by it.",
)
@click.option(
    "--held-out",
    is_flag=True,
    help="Test on a part of the training images instead: to choose settings without looking at the "
    "test images.",
)
@options.profile_option
@options.cover_option
@options.cells_option
@options.samples_option
@options.unlabelled_option
@options.device_option
def evaluate(
    data: Path,
    out: Path,
    preset: str,
    epsilon: int,
    kind: str | None,
    steps: int,
    against: tuple[str, ...],
    networks: tuple[str, ...],
    percents: tuple[int, ...],
    seeds: int | None,
    epochs: int | None,
    workers: int,
    profile: str | None,
    shows: str | None,
    cells: int,
    samples: int,
    known: Path | None,
    device: str | None,
    *,
    unlabelled: bool,
    bfloat16: bool | None,
    held_out: bool,
) -> None:
    """Train networks on clean, protected and restored images of DATA, and compare.

    DATA is as for `protect`, and so is the profile. Tests are on its folder `test` where it has
    `train` and `test`, else on a third of the images, drawn at random, that nothing is trained on.

    quick takes minutes on two cores and is a lead, not a result; full trains on all images. paper
    has the settings of the published method, field those that most others report, and both want a
    GPU. Each goes on where it was interrupted, and with the same --out adds what is newly asked
    for: its results have all that was ever asked for there.

    The folder of --out has clean images, and its report shows some: do not publish it.
    """
    from dsguard.evaluation import COUNTERMEASURES, NETWORKS, matrix, own_images
    from dsguard.evaluation.presets import PRESETS
    from dsguard.evaluation.protection import Protection
    from dsguard.evaluation.study import run_study
    from dsguard.profiles import Profile

    perturbs = kind is not None or options.was_given("epsilon")
    profile = Profile.named(profile, perturbs=perturbs and shows is None).name
    chosen = PRESETS[preset].computed_in(bfloat16=bfloat16)
    if seeds is not None:
        chosen = replace(chosen, seeds=tuple(range(seeds)))
    if epochs is not None:
        chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    images = own_images(
        data,
        chosen.train_images,
        chosen.test_images,
        held_out=held_out,
        known_limit=chosen.known_images,
        known=known,
    )
    trials = matrix(
        _possible(_all_of(COUNTERMEASURES, against, "--against"), against, images),
        _all_of(NETWORKS, networks, "--network"),
        percents,
    )
    attack = options.attack_of(profile, epsilon, kind, steps)
    with step_bars() as tell:
        study = run_study(
            images,
            out,
            chosen,
            Protection(profile, attack, shows, cells, samples, not unlabelled),
            trials=trials,
            device=device,
            workers=workers,
            on_step=tell,
        )
    output.print(_table(study.mean_rows()))
    for title, value in study.facts.items():
        say(f"{title}: {value}")
    say(f"results: {out / 'results.json'}")
    say(f"report: {out / 'report.html'}")
    say(f"{out} {_SHOWS_CLEAN}")


_SHOWS_CLEAN = (
    "shows clean images: keep it to yourself, or show it to those who may see them; never publish "
    "it with the protected ones"
)


def _all_of(known: Collection[str], given: tuple[str, ...], option: str) -> list[str]:
    """Return the names given, or all that are known."""
    if "all" in given:
        return list(known)
    for name in given:
        if name not in known:
            msg = f"{option}: there is no {name!r}; there are: all, {', '.join(known)}"
            raise click.UsageError(msg)
    return list(given)


def _possible(names: list[str], given: tuple[str, ...], images: Data) -> list[str]:
    """Leave out of `all` parts of attacks, and those that need images that are not there."""
    from dsguard.evaluation import COUNTERMEASURES
    from dsguard.evaluation.study import missing_for

    names = [name for name in names if name in given or not COUNTERMEASURES[name].part_of]
    left_out = [
        name for name in names if name not in given and missing_for(COUNTERMEASURES[name], images)
    ]
    if left_out:
        say(f"left out, as they need other images of the same classes: {', '.join(left_out)}")
    return [name for name in names if name not in left_out]


def _table(rows: list[Row]) -> Table:
    table = Table("trained on", title="tested on clean images")
    for title in ("train accuracy", "test accuracy", "best of any epoch"):
        table.add_column(title, justify="right")
    for row in rows:
        figures = (row.train_accuracy, row.test_accuracy, row.peak_accuracy)
        table.add_row(escape(row.name), *(f"{figure:.1%}" for figure in figures))
    return table
