"""``python -m dsguard`` is ``dsguard``."""

from dsguard.cli import main

main()
