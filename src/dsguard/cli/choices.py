"""The choices that all commands for whole datasets have, and their options."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsguard.cli.console import errors

if TYPE_CHECKING:
    from dsguard.bulk import Settings
    from dsguard.formats import Source


@dataclass(frozen=True)
class Choices:
    """The values of the options that all commands for whole datasets have."""

    source: str
    destination: str | None
    key_path: Path | None
    in_format: str
    limit: int | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    workers: int | None
    shard_size: int
    engine: str
    on_error: str
    max_errors: int | None
    as_json: bool
    quiet: bool
    out_format: str = "auto"
    image_format: str = "png"
    png_level: int = 1
    overwrite: bool = False
    dry_run: bool = False
    publish: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    only_named: bool = False
    croissant: bool = False
    access: str = ""

    def settings(self) -> Settings:
        """Return them as `dsguard.bulk.run` takes them."""
        from dsguard._parallel.threads import thread_count
        from dsguard.bulk import Selection, Settings

        return Settings(
            self.out_format,
            self.image_format,
            self.shard_size,
            Selection(self.include, self.exclude, self.limit),
            self.engine,
            thread_count(self.workers),
            self.overwrite,
            0 if self.on_error == "fail" else self.max_errors,
            self.png_level,
            self.publish,
            self.drop,
            self.only_named,
            self.croissant,
            self.access,
        )

    def opened_source(self, *, images_of_any_kind: bool = False) -> Source:
        """Open the source, before any work is done."""
        from dsguard.formats import open_source
        from dsguard.kernels import kernels

        kernels()  # a backend that is not there is found now
        told = (
            contextlib.nullcontext() if self.quiet else errors.status("reading the list of images")
        )
        with told:
            return open_source(self.source, self.in_format, images_of_any_kind=images_of_any_kind)


def common(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that all have, but for the key."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option(
            "--max-errors",
            type=click.IntRange(min=0),
            metavar="N",
            help="Stop when more than N images have failed.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(["skip", "fail"]),
            default="skip",
            show_default=True,
            help="Leave out images that fail, or stop after the shard that has the first.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Work on this machine, or on a Ray cluster (RAY_ADDRESS, else one made here).",
        ),
        click.option(
            "--shard-size",
            type=click.IntRange(min=1),
            default=5000,
            show_default=True,
            help="Images of one unit of work, which is done whole or not at all. Tar shards are "
            "not cut.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes; by default one per CPU.",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PATTERN",
            help="Leave out images, and text files, whose name or folder is like this, "
            "'*/masks/*'. May be repeated.",
        ),
        click.option(
            "--include",
            multiple=True,
            metavar="PATTERN",
            help="Take only images whose name is like this, 'train/*'. May be repeated.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            help="Take only N images, evenly from all folders.",
        ),
        click.option(
            "--in-format",
            default="auto",
            show_default=True,
            help="auto, folder, archive, webdataset, parquet, numpy, cifar, coco or imagefolder.",
        ),
    ):
        command = option(command)
    return command


def writing(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of those that write."""
    for option in (
        click.option(
            "--dry-run", is_flag=True, help="Write nothing: try a sample, count, estimate."
        ),
        click.option(
            "--overwrite/--resume",
            help="Begin anew over what is in DESTINATION, or go on with what an earlier run left "
            "to do, which is the default.",
        ),
        click.option(
            "--png-level",
            type=click.IntRange(0, 1),
            default=1,
            show_default=True,
            help="0 stores pixels without compression: fastest, a third larger.",
        ),
        click.option(
            "--image-format",
            default="png",
            show_default=True,
            help="Of the written image files: png or tiff. Lossy ones are refused.",
        ),
        click.option(
            "--out-format",
            default="auto",
            show_default=True,
            help="auto (that of the source; of an archive a folder), folder, webdataset, parquet, "
            "numpy or cifar.",
        ),
    ):
        command = option(command)
    return command
