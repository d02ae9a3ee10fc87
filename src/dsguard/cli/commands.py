"""The commands of ``dsguard``. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence

import click

from dsguard.cli.console import Exit, complain, errors, exit_code, printable
from dsguard.cli.dmcp import dmcp
from dsguard.cli.doctor import doctor, version
from dsguard.cli.evaluate import demo, evaluate
from dsguard.cli.inspect import inspect_command
from dsguard.cli.keygen import keygen
from dsguard.cli.protect import protect
from dsguard.cli.restore import restore, verify
from dsguard.errors import DsguardError


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cli.main(list(arguments), prog_name="dsguard", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        errors.print("interrupted; what was written is whole, the same command does what is left")
        return Exit.INTERRUPTED
    except Exception as error:
        return _told(error)
    return code if isinstance(code, int) else Exit.OK


def _show(error: click.ClickException) -> None:
    """Show an error of usage, whose arguments a shell may have made of names of files."""
    text = io.StringIO()
    error.show(text)
    click.echo("\n".join(map(printable, text.getvalue().splitlines())), err=True)


def _told(error: Exception) -> Exit:
    """Say what went wrong in one line; return the exit code."""
    code = Exit.INTERNAL
    if isinstance(error, DsguardError):
        message, code = str(error), exit_code(error, Exit.USAGE)
    elif isinstance(error, OSError):
        message, code = f"{error.filename or 'writing'}: {error.strerror or error}", Exit.USAGE
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += "; make room, and the same command goes on with what is left"
    elif isinstance(error, MemoryError):
        message = "there is not enough memory; give fewer --workers, or smaller images"
    elif os.environ.get("DSGUARD_DEBUG"):
        raise error
    else:
        message = (
            f"internal error: {type(error).__name__}: {error}; please report it, with what is "
            "shown when DSGUARD_DEBUG=1 is set"
        )
    complain(message)
    return code


_FIRST_STEPS = """\
dsguard publishes image datasets without giving them away.

Make a key, and keep a copy of it in a safe place:
  dsguard keygen my.key
Protect a folder of images; publish what is in `protected`, and nothing else:
  dsguard protect photos protected --key my.key
Restore them, wherever the key is:
  dsguard restore protected restored --key my.key

The whole method on a small dataset: dsguard demo
All commands: dsguard --help"""


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(version())
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show version, kernels and instruction set.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Publish image datasets without giving them away.

    Protected images are meant to mislead a network that is trained on them; `dsguard evaluate`
    measures how far they do. Whoever has the key restores the clean images and trains as usual.

    \b
    Exit codes:
      0    all went well
      1    internal error
      2    wrong usage, or files that cannot be read or written
      3    some images failed, each of them named, or are missing
      4    wrong key or passphrase, or a platform that gives no keys
      5    damaged images
      6    all images are done; something beside them could hold a picture and was left out, named
      130  interrupted; what was written is whole, the same command does what is left
    """  # noqa: D301 - click wants the control character itself
    if context.invoked_subcommand is None:
        click.echo(_FIRST_STEPS)


for _command in (protect, restore, verify, dmcp, keygen, inspect_command, demo, evaluate, doctor):
    cli.add_command(_command)
