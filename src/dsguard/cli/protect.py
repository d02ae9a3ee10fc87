"""``dsguard protect``: a whole dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli import options
from dsguard.cli.choices import Choices, common, writing
from dsguard.cli.console import Exit, counted, errors, load_key, step_bars, warn
from dsguard.cli.deposit import deposited_key, tell_what_to_publish
from dsguard.cli.grouped import Grouped
from dsguard.cli.task import do_task
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.bulk.journal import Journal
    from dsguard.formats import Source
    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey


@click.command(cls=Grouped)
@click.argument("source")
@click.argument("destination")
@click.option(
    "--surrogate",
    "surrogate_path",
    type=click.Path(path_type=Path),
    help="Surrogate file: used if it exists, else fitted to SOURCE and written there. Keep it as "
    "private as the key. By default it is kept in DESTINATION.dsguard.",
)
@options.epsilon_option
@options.kind_option
@options.steps_option
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Training of a new surrogate.",
)
@options.profile_option
@options.cover_option
@options.cells_option
@options.samples_option
@options.sample_option
@options.covers_option
@options.unlabelled_option
@options.codec_option
@options.keep_option
@options.cover_size_option
@click.option(
    "--drop",
    multiple=True,
    metavar="PATTERN",
    help="Leave these out without a word. Patterns as for --publish. May be repeated.",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="PATTERN",
    help="Publish files, columns, members, arrays or JSON keys of this name ('*.npy', 'caption') "
    "beside the images, even if they could hold a picture. May be repeated.",
)
@click.option(
    "--only-named",
    is_flag=True,
    help="Publish nothing beside the images, their names and classes but what --publish names: "
    "all else is sealed, or left out.",
)
@click.option(
    "--croissant",
    is_flag=True,
    help="Write croissant.json, which describes the dataset and its files, where SOURCE has none.",
)
@click.option(
    "--access",
    default="",
    metavar="TEXT",
    help="Where the key is to be had, for croissant.json: a text, or the URL of a platform.",
)
@writing
@common
@options.url_option
@options.deposit_option
@options.key_or_platform_option
@options.device_option
def protect(
    surrogate_path: Path | None,
    epsilon: int,
    kind: str | None,
    steps: int,
    epochs: int,
    profile: str | None,
    shows: str | None,
    cells: int,
    samples: int,
    sample_names: tuple[str, ...],
    covers_folder: Path | None,
    unlabelled: bool,
    keep: str | None,
    cover_size: str,
    codec: str | None,
    device: str | None,
    dataset: str | None,
    url: str | None,
    **given: Any,
) -> int:
    """Protect the images of SOURCE into DESTINATION.

    SOURCE is a folder of class folders, a tar or zip archive of one, a folder of WebDataset or
    Parquet shards, .npy or .npz files, the pickles of CIFAR-10 or CIFAR-100, a COCO dataset, or a
    Hugging Face image folder, on this machine or at a URL; it is only read. All of it is protected.
    Profiles that perturb images train a surrogate on it: to publish clean test images, give the
    training part alone. Profiles sealed and veil need no surrogate, and no time for one.

    DESTINATION.dsguard gets the journal of the run, from which it goes on after an interruption,
    and the manifest. Do not publish it.

    With --dataset the key is deposited first on the platform that you are logged in to, or that of
    --dmcp, for others to be granted the images.
    """
    from dsguard._arguments import unwise
    from dsguard.bulk import Protect, class_names_of
    from dsguard.bulk.keeping import keep_of
    from dsguard.codecs import codec_named
    from dsguard.covers import Itself
    from dsguard.covers.named import NEED_SURROGATE, Ingredients, cover_named
    from dsguard.profiles import Profile

    choices = Choices(**given)
    if epsilon == 0:
        warn("epsilon is 0: nothing in the protected images misleads a network")
    perturbs = surrogate_path is not None or kind is not None or options.was_given("epsilon")
    chosen = Profile.named(profile, perturbs=perturbs and shows is None and codec is None)
    name = shows or {"class-wise": "patterns", "sample-wise": "attack"}.get(
        kind or "", chosen.shows
    )
    _warn_of_unused(name)
    carrier = codec_named(codec or (chosen.codec if name == chosen.shows else chosen.plain_codec))
    if name in NEED_SURROGATE:
        from dsguard.fsp import choose_device

        choose_device(device)  # a wrong one is found before any work is done
    kept_here = _key_kept_here(choices, dataset, url)
    keep = keep_of(keep, choices.destination, carrier, overwrite=choices.overwrite)
    keeps_files = keep != "pixels" and carrier.carries_files
    _check_folders(choices, covers_folder)
    source = choices.opened_source(images_of_any_kind=keeps_files)
    _check_samples(source, sample_names)
    key = kept_here or _key_kept_there(source, choices, str(dataset), url)
    of = Ingredients(
        key,
        None,
        epsilon,
        steps=steps,
        cells=cells,
        samples=samples,
        names=sample_names,
        folder=covers_folder,
        labelled=not unlabelled,
        device=device,
    )
    names: tuple[str, ...] = ()
    trains = False
    if name in NEED_SURROGATE:
        _check_before_training(source, choices, surrogate_path)
        trains = choices.dry_run and not (surrogate_path and surrogate_path.exists())
        if trains:  # any patterns will do
            name, names = "drawn", _sampled_classes(source, choices)
        else:
            make = partial(_surrogate, source, choices, epochs=epochs, device=device)
            journal = _own_journal(choices) if surrogate_path is None else None
            network = (
                make(surrogate_path) if journal is None else _kept(journal, choices, key, make)
            )
            names = class_names_of(network)
            of = replace(of, surrogate=network)
            if name == "attack":  # each worker loads it
                of = replace(of, surrogate=surrogate_path or _path_in(journal))
    cover = of.marked(Itself()) if name == "drawn" else cover_named(name, of)
    if carrier.wants_likeness and not cover.is_like:
        warn(unwise(carrier))
    task = Protect(key, cover, carrier, names, keep=keep, cover_size=cover_size)
    code = do_task(task, source, choices, trains=trains)
    if not choices.dry_run and code in (Exit.OK, Exit.LEFT_OUT):
        tell_what_to_publish(dataset, choices, has_image_keys=carrier.has_image_keys)
    return code


def _key_kept_here(choices: Choices, dataset: str | None, url: str | None) -> DatasetKey | None:
    """Return the key that is given; None where it is to be deposited, which is done last."""
    if dataset is None and (url is not None or choices.key_path is None):
        msg = "give the key, --key FILE, or name a dataset on a platform, --dataset NAME"
        raise click.UsageError(msg)
    if dataset or choices.key_path is None:
        return None
    from dsguard.bulk.checks import check_private

    key = load_key(choices.key_path)
    check_private(choices.key_path, "key", choices.source, choices.destination)
    return key


def _key_kept_there(source: Source, choices: Choices, dataset: str, url: str | None) -> DatasetKey:
    """Return a key that the platform has now, once nothing else is known to be wrong."""
    _check_destination(source, choices, None)
    return deposited_key(dataset, url, choices)


_USED_BY = {
    "cells": ("preview",),
    "samples": ("samples",),
    "sample_names": ("samples",),
    "covers_folder": ("given",),
    "epsilon": ("patterns", "attack", "other"),
    "steps": ("attack",),
    "epochs": ("patterns", "attack"),
    "surrogate_path": ("patterns", "attack"),
    "device": ("patterns", "attack"),
}
"""Options that only some covers look at."""


def _warn_of_unused(cover: str) -> None:
    """Warn of options that have no effect with a cover."""
    command = click.get_current_context().command
    for option in command.params:
        covers = _USED_BY.get(str(option.name))
        if covers and cover not in covers and options.was_given(str(option.name)):
            warn(f"{option.opts[0]} is of no effect with cover {cover}, but of {covers[0]}")


def _check_folders(choices: Choices, covers: Path | None) -> None:
    """Refuse folders that are given and are of no use, before anything is read."""
    from dsguard.bulk.checks import check_temporary

    check_temporary(choices.destination)
    if covers:
        _check_covers(covers, choices.source)


def _check_covers(covers: Path, clean: str) -> None:
    """Raise an error where clean images would be shown as covers."""
    from dsguard.formats.places import on_disk

    source = on_disk(clean)
    if source is None:
        return
    covers = on_disk(covers) or covers
    if covers == source:
        msg = "the covers are the source itself: every image would show itself"
        raise InputError(msg)
    if covers.is_relative_to(source) or source.is_relative_to(covers):
        msg = "the covers and the source lie in each other: clean images would show; part them"
        raise InputError(msg)


def _check_samples(source: Source, names: tuple[str, ...]) -> None:
    """Raise an error where an image is to show itself that is not there, or no single one."""
    if names and options.was_given("samples"):
        msg = "give --samples, or --sample for each image that shows itself, not both"
        raise InputError(msg)
    if not names:
        return
    counts = Counter(source.names())
    for name in sorted(names):
        if counts[name] != 1:
            has = f"has {counts[name]} images called" if counts[name] else "has no image"
            msg = f"{source} {has} {name!r}, which is to show itself"
            raise InputError(msg)


def _sampled_classes(source: Source, choices: Choices) -> tuple[str, ...]:
    from dsguard.bulk.selection import select, wanted_names
    from dsguard.bulk.surrogates import check_classes

    some = select(wanted_names(source, choices.settings().selection), 512)
    classes = {name for _, name, _ in source.read(some)}
    check_classes(classes)
    return tuple(sorted(classes))


def _check_destination(source: Source, choices: Choices, surrogate: Path | None) -> None:
    """Find out that the destination will not do before a surrogate is trained.

    The surrogate is as private as the key.
    """
    from dsguard.bulk.checks import check, check_private

    if surrogate:
        check_private(surrogate, "surrogate", choices.source, choices.destination)
    if choices.destination is not None:
        check(source, choices.destination, choices.settings())


def _check_before_training(source: Source, choices: Choices, surrogate: Path | None) -> None:
    """Find out what else will not do: to show classes that are not published."""
    from dsguard.bulk.hidden_classes import check_hidden
    from dsguard.formats.writers import output_kind

    _check_destination(source, choices, surrogate)
    settings = choices.settings()
    check_hidden(source, output_kind(source, settings.out_format), settings.disclosure())


def _own_journal(choices: Choices) -> Journal | None:
    """Return the journal of the destination, which keeps the surrogate; None for one at a URL."""
    from dsguard.bulk.journal import Journal
    from dsguard.formats.places import LocalPlace, place_of

    assert choices.destination is not None
    journal = Journal.of(place_of(choices.destination))
    return journal if isinstance(journal.place, LocalPlace) else None


def _path_in(journal: Journal | None) -> Path:
    from dsguard.bulk.surrogates import SURROGATE
    from dsguard.formats.places import LocalPlace

    if journal is None or not isinstance(journal.place, LocalPlace):
        msg = "cover attack needs a surrogate file where the destination is a URL: --surrogate"
        raise InputError(msg)
    return journal.place.path / SURROGATE


def _kept(
    journal: Journal, choices: Choices, key: DatasetKey, make: Callable[[Path], Surrogate]
) -> Surrogate:
    """Return the surrogate of a journal, or make one and keep it there."""
    from dsguard._atomic import temporary_subfolder
    from dsguard.bulk.surrogates import SURROGATE, keep, kept

    if choices.overwrite:
        journal.place.discard(SURROGATE)
    data = kept(journal, key)
    with temporary_subfolder("surrogate") as folder:
        path = folder / SURROGATE
        if data is not None:
            path.write_bytes(data)
        network = make(path)
        if data is None:
            keep(journal, key, path.read_bytes())
    return network


def _surrogate(
    source: Source, choices: Choices, path: Path | None, *, epochs: int, device: str | None
) -> Surrogate:
    """Load the surrogate, or fit one to the source and keep it if a path was given."""
    from dsguard.bulk import dataset_surrogate

    def tell_start(images: int) -> None:
        if not choices.quiet:
            errors.print(
                f"training a surrogate on {images} images, {counted(epochs, 'epoch')}, then "
                "fitting patterns with it; interrupted, it starts over",
                highlight=False,
            )

    with step_bars(quiet=choices.quiet) as tell:
        return dataset_surrogate(
            source,
            path,
            selection=choices.settings().selection,
            epochs=epochs,
            device=device,
            on_start=tell_start,
            on_step=tell,
        )
