"""The command line. Entry point only: the commands are in `dsguard.cli.commands`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``dsguard``."""
    try:
        from dsguard.cli.commands import run
    except ImportError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit("dsguard: the command line needs: pip install 'dsguard[cli]'")
    sys.exit(run(sys.argv[1:]))
