"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dsguard.choices import (
    CODEC_NAMES,
    COVER_NAMES,
    COVER_SIZES,
    DEFAULT_PROFILE,
    KEPT,
    PERTURBING_PROFILE,
    PROFILE_NAMES,
    STRENGTHS,
)

if TYPE_CHECKING:
    from dsguard.fsp import Attack

_key: dict[str, Any] = {
    "envvar": "DSGUARD_KEY_FILE",
    "show_envvar": True,
    "type": click.Path(path_type=Path),
    "help": "Key file, from `dsguard keygen`. A passphrase is read from DSGUARD_PASSPHRASE.",
}
key_or_platform_option = click.option("--key", "key_path", **_key)
dataset_option = click.option(
    "--dataset",
    metavar="NAME",
    help="In place of a key: the name of the dataset on a platform (`dsguard dmcp`) that grants it "
    "to you. It gives the keys of the images; these stay here.",
)
url_option = click.option(
    "--dmcp",
    "url",
    metavar="URL",
    help="Address of that platform; by default the one that you are logged in to.",
)
deposit_option = click.option(
    "--dataset",
    metavar="NAME",
    help="Deposit the key on a platform (`dsguard dmcp`) under this name, before anything is "
    "protected. Where there is no key yet, one is made: in the file of --key, else in NAME.key.",
)
profile_option = click.option(
    "--profile",
    type=click.Choice(PROFILE_NAMES),
    help=f"How to protect: {DEFAULT_PROFILE}, the default, shows a drawn picture and encrypts the "
    "rest. The others mislead those who train on the images as they are; whoever knows the method "
    f"undoes it. {PERTURBING_PROFILE}, the default where a perturbation is chosen, perturbs images "
    "on blocks of 4 pixels, exact-fine of 2, exact-coarse of 8; veil hides images in each other; "
    "paper is the method as published. All but paper restore every bit.",
)


perturbing_profile_option = click.option(
    "--profile",
    type=click.Choice(PROFILE_NAMES),
    default=PERTURBING_PROFILE,
    show_default=True,
    help="How to protect; see `dsguard protect --help`. The default is not that of `protect`, as "
    f"perturbed images have to be compared; {DEFAULT_PROFILE} has a row beside them.",
)
cover_option = click.option(
    "--cover",
    "shows",
    type=click.Choice(COVER_NAMES),
    help="What protected images show, where not as the profile has it: a picture drawn by the key, "
    "a preview of a few cells, some samples of each class, another image of the set, pictures of "
    "your own, or themselves, with patterns or attacked.",
)
cells_option = click.option(
    "--cells",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Cells of a preview, from side to side.",
)
samples_option = click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images of each class that show themselves, for cover samples.",
)
sample_option = click.option(
    "--sample",
    "sample_names",
    multiple=True,
    metavar="NAME",
    help="An image that shows itself, for cover samples; none is drawn then. May be repeated.",
)
covers_option = click.option(
    "--covers",
    "covers_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of pictures, for cover given: an image shows the one of its name, else any.",
)
unlabelled_option = click.option(
    "--no-labels",
    "unlabelled",
    is_flag=True,
    help="Let drawn pictures and patterns tell nothing of the class of an image.",
)
codec_option = click.option(
    "--codec",
    type=click.Choice(CODEC_NAMES),
    help="How clean images are carried, where not as the profile has it.",
)


keep_option = click.option(
    "--keep",
    type=click.Choice(KEPT),
    show_default="auto, or as the run that goes on",
    help="What of an image comes back: the very file that it came in, with its name, colour "
    "profile and EXIF (auto, files), or its pixels, as PNG or TIFF. With auto, files of PNG, and "
    "those without compression, take less room than with files.",
)

cover_size_option = click.option(
    "--cover-size",
    type=click.Choice(COVER_SIZES),
    default="own",
    show_default=True,
    help="Size of the published images: that of the images, or the smallest that holds the file, "
    "where files are kept. Less to download, and the size of each file shows.",
)


class Radius(click.ParamType):  # type: ignore[type-arg] # generic only in newer versions
    """ε by number or by name."""

    name = "epsilon"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what the help shows for a value."""
        del param, ctx
        return f"[0..255|{'|'.join(STRENGTHS)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number that is meant."""
        if value in STRENGTHS:
            return STRENGTHS[value]
        return int(click.IntRange(0, 255).convert(value, param, ctx))


epsilon_option = click.option(
    "--epsilon",
    type=Radius(),
    default="standard",
    show_default=True,
    help="Perturbation radius, of 255 levels, or its name (subtle 8, standard 16, strong 32): more "
    "withstands more and shows more.",
)
kind_option = click.option(
    "--kind",
    type=click.Choice(["class-wise", "sample-wise"]),
    help="One perturbation per class or per image; by default per class, per image for paper.",
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Steps of a sample-wise perturbation.",
)
device_option = click.option(
    "--device", help="Where networks run, as torch names it; by default CUDA if there is one."
)


def attack_of(profile: str, epsilon: int, kind: str | None = None, steps: int = 20) -> Attack:
    """Return the attack that the options ask for."""
    from dsguard.fsp import Attack

    chosen = {} if kind is None else {"kind": kind}
    return Attack.carried_by(profile, epsilon=epsilon, steps=steps, **chosen)


def was_given(name: str) -> bool:
    """Tell whether an option of the command was given, and is not at its default."""
    context = click.get_current_context()
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE
