"""Help in which options stand under what they are about."""

from __future__ import annotations

import click

GROUPS = {
    "The key": ("key_path", "dataset", "url"),
    "What shows": (
        "profile", "shows", "cells", "samples", "sample_names", "covers_folder", "unlabelled",
    ),
    "What comes back": ("keep", "cover_size", "codec", "against"),
    "What lies beside the images": ("publish", "drop", "only_named", "croissant", "access"),
    "Images and formats": (
        "include", "exclude", "limit", "in_format", "out_format", "image_format", "png_level",
    ),
    "Profiles that perturb images": (
        "surrogate_path", "epsilon", "kind", "steps", "epochs", "device",
    ),
    "The run": (
        "dry_run", "overwrite", "workers", "shard_size", "engine", "on_error", "max_errors",
        "as_json", "quiet",
    ),
}  # fmt: skip
"""Names of parameters by what they are about, in the order of the help."""


class Grouped(click.Command):
    """A command with many options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group, then those of none."""
        given = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        records = {each.name: each.get_help_record(ctx) for each in given}
        grouped = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in records if name not in grouped)
        for title, names in [*GROUPS.items(), ("Other", rest)]:
            lines = [line for name in names if (line := records.get(name)) is not None]
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
