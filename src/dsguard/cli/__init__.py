"""The command line. Entry point only: the commands are in `dsguard.cli.commands`."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run ``dsguard``."""
    _use_utf8()
    try:
        from dsguard.cli.commands import run
    except ImportError as error:
        if error.name not in ("click", "packaging", "rich"):
            raise
        sys.exit("dsguard: the command line needs: pip install 'dsguard[cli]'")
    signal.signal(signal.SIGTERM, _interrupt)  # so that nothing half-written is left behind
    sys.exit(run(sys.argv[1:]))


def _use_utf8() -> None:
    """Take names of files for UTF-8 whatever the locale is, and print what it cannot as codes.

    Names of other encodings would be kept in datasets as something else than they are.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        shown = getattr(sys.stdout, "encoding", "ascii")
        if shown not in ("ascii", "us-ascii"):  # of a locale that names none; Python takes UTF-8
            os.environ.setdefault("PYTHONIOENCODING", shown)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
