"""``dsguard doctor``: the machine, the kernels, the optional packages, and every codec tried."""

from __future__ import annotations

import importlib.util
import json
import platform
import time
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli.console import Exit, complain, say

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from dsguard.codecs import Codec

_FOR_DEVELOPERS = ("bench", "dev", "docs", "release")
_WIDTH = 18  # of the first column
_SIDE = 64  # pixels of the images that are tried
_PAPER_LEVELS = (
    8  # codec paper rounds when it rotates and shifts; the image that is tried is smooth
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, as_json: bool) -> int:
    """Tell whether dsguard works on this machine, and how fast its kernels are chosen to be.

    Every codec protects and restores an image that is made here, and has to notice a changed bit.
    Nothing is written.
    """
    facts = _facts()
    packages = dict(_packages())
    codecs = dict(_tried())
    faults = [name for name, told in codecs.items() if told["fault"]]
    if as_json:
        click.echo(json.dumps({**facts, "packages": packages, "codecs": codecs}, indent=2))
    else:
        _show(facts, packages, codecs)
    for name in faults:
        complain(
            f"codec {name}: {codecs[name]['fault']}; please report it, with the output of: "
            "dsguard doctor --json"
        )
    return Exit.INTERNAL if faults else Exit.OK


def version() -> str:
    """Return the version in a line, with the kernels and the instruction set in use."""
    facts = _facts_of_kernels()
    used = f"{facts['kernels']} kernels"
    used += f", {facts['instruction_set']}" if facts["instruction_set"] else ""
    return f"dsguard {facts['dsguard']} ({used}; Python {facts['python']})"


def _show(
    facts: dict[str, Any], packages: dict[str, str | None], codecs: dict[str, dict[str, Any]]
) -> None:
    for name, value in facts.items():
        say(f"{name.replace('_', ' '):{_WIDTH}} {'none' if value is None else value}")
    for extra, missing in packages.items():
        told = f"needs {missing}; run: pip install 'dsguard[{extra}]'" if missing else "installed"
        say(f"{'extra ' + extra:{_WIDTH}} {told}")
    for name, tried in codecs.items():
        say(f"{'codec ' + name:{_WIDTH}} {tried['fault'] or 'restores, notices a changed bit'}")


def _facts() -> dict[str, Any]:
    from dsguard._parallel.threads import thread_count

    return {
        **_facts_of_kernels(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": thread_count(None),
        "gpu": _gpu(),
    }


def _facts_of_kernels() -> dict[str, Any]:
    from dsguard.kernels import get_backend

    return {
        "dsguard": metadata.version("dsguard"),
        "python": platform.python_version(),
        "kernels": get_backend(),
        "instruction_set": _instruction_set(),
    }


def _instruction_set() -> str | None:
    from dsguard.kernels import get_backend

    if get_backend() != "native":
        return None
    from dsguard.kernels import native

    return native.isa()


def _gpu() -> str | None:
    """Return the name of the GPU that networks would be trained on."""
    if importlib.util.find_spec("torch") is None:
        return None
    from dsguard.networks.training import gpu_name

    return gpu_name()


def _packages() -> Iterator[tuple[str, str | None]]:
    """Yield the extras that users may want, and their packages that are not here or too old."""
    from packaging.requirements import Requirement

    needs = [Requirement(text) for text in metadata.requires("dsguard") or ()]
    for extra in metadata.metadata("dsguard").get_all("Provides-Extra") or ():
        if extra in _FOR_DEVELOPERS:
            continue
        wanted = [need for need in needs if need.marker and need.marker.evaluate({"extra": extra})]
        missing = ", ".join(str(need.name) for need in wanted if not _is_here(need))
        yield extra, missing or None


def _is_here(need: Requirement) -> bool:
    try:
        return need.specifier.contains(metadata.version(need.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _tried() -> Iterator[tuple[str, dict[str, Any]]]:
    from dsguard.codecs import CODECS

    for codec in CODECS:
        start = time.perf_counter()
        try:
            fault = _fault_of(codec)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        yield codec.name, {"fault": fault, "seconds": round(time.perf_counter() - start, 3)}


def _fault_of(codec: Codec) -> str | None:
    """Return what is wrong with a codec on this machine."""
    import numpy as np

    from dsguard.api import protect_batch, restore_batch
    from dsguard.errors import DsguardError
    from dsguard.keys import DatasetKey

    key = DatasetKey.generate()
    y, x = np.mgrid[:_SIDE, :_SIDE]
    image = np.stack([2 * x, 2 * y, x + y], axis=2).astype(np.uint8)[None]
    out = protect_batch(image, key, target=image[:, ::-1].copy(), codec=codec)
    back = restore_batch(out.images, key, sidecars=out.sidecars)
    worst = int(np.abs(back.astype(int) - image).max())
    if worst > (0 if codec.restores_every_bit else _PAPER_LEVELS):
        return f"a restored image is wrong by {worst} of 255 levels"
    changed = out.images.copy()
    changed[0, _SIDE // 2, _SIDE // 2] ^= 1
    try:
        restore_batch(changed, key, sidecars=out.sidecars)
    except DsguardError:
        return None
    return "changed bits are not noticed"
