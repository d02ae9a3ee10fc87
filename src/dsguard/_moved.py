"""Former names of modules: importing one says where it is now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_NOW = {
    "approximate": "codecs.paper",
    "batch": "_checks",
    "datasets": "formats",
    "demo": "evaluation.demo",
    "envelope": "keys",
    "exact": "codecs.exact",
    "files": "_atomic",
    "mrit": "kernels.geometry",
    "patterns": "covers.patterns",
    "profile": "profiles",
    "protection": "api",
    "slices": "_parallel.threads",
    "veil": "covers.other",
    "workers": "_parallel.processes",
}


class Former:
    """Finds none of the modules of before, and says why."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Raise for a former name; any other is left to whoever comes next."""
        del path, target
        package, _, module = name.partition(".")
        if package == "dsguard" and module in _NOW:
            msg = f"{name} is dsguard.{_NOW[module]} now"
            raise ModuleNotFoundError(msg, name=name)


sys.meta_path.append(Former)
