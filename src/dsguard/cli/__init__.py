"""The command line. Entry point only: the commands are in `dsguard.cli.commands`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run ``dsguard``."""
    try:
        from dsguard.cli.commands import run
    except ImportError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit("dsguard: the command line needs: pip install 'dsguard[cli]'")
    signal.signal(signal.SIGTERM, _interrupt)  # so that nothing half-written is left behind
    sys.exit(run(sys.argv[1:]))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
