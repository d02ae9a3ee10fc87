"""``python -m dsguard`` is ``dsguard``."""

from dsguard.cli import main

if __name__ == "__main__":  # worker processes import it as well
    main()
