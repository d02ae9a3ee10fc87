"""What an installed dsguard must do anywhere: protect images, restore them, compare.

Run by ``make test-wheel`` and by cibuildwheel, with the Python that the wheel is installed for.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import dsguard
from dsguard.errors import InputError
from dsguard.kernels import native

NEEDS = {"avx512": {"avx512bw", "avx512vl", "avx512dq", "bmi2"}, "avx2": {"avx2", "bmi2"}}
"""What /proc/cpuinfo says of a processor that has an instruction set; the best one first."""
COMPILERS = ("cc", "gcc", "clang", "c99", "cl")


def images() -> np.ndarray:
    """Return 12 made images, uint8 of shape (12, 48, 64, 3): smooth, with a little noise."""
    random = np.random.default_rng(1)
    ramp = np.add.outer(np.arange(48), np.arange(64))[None, :, :, None] * random.random(
        (12, 1, 1, 3)
    )
    return (ramp + random.integers(0, 8, (12, 48, 64, 3))).astype(np.uint8)


def expected_isa() -> str | None:
    """Return the instruction set that this machine should be served with, None if unknown."""
    if sys.platform == "win32":
        return "scalar"  # MSVC builds no other
    if platform.machine() in ("aarch64", "arm64"):
        return "neon"
    if not Path("/proc/cpuinfo").exists():
        return None
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    return next((isa for isa, needed in NEEDS.items() if needed <= flags), "scalar")


def check_arrays() -> list[str]:
    """Protect and restore by every instruction set that is here; return their names."""
    clean, key = images(), dsguard.DatasetKey(bytes(range(32)))
    found = {}
    for isa in ("scalar", "avx2", "avx512", "neon"):
        try:
            native.set_isa(isa)
        except InputError:
            continue
        for profile, target in (("sealed", None), ("exact", clean[::-1])):
            out = dsguard.protect_batch(clean, key, profile=profile, target=target)
            back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars)
            assert np.array_equal(back, clean), f"{isa}, {profile}: other images came back"
            assert not np.array_equal(out.images, clean), f"{isa}, {profile}: nothing is protected"
            found.setdefault(profile, {})[isa] = out.images
    native.set_isa(None)
    for profile, by_isa in found.items():
        first = by_isa["scalar"]
        assert all(np.array_equal(first, each) for each in by_isa.values()), f"{profile}: bits"
    return list(found["sealed"])


def check_commands(folder: Path) -> None:
    """Protect, verify and restore a folder of images by the command line."""
    names = []
    for n, pixels in enumerate(images()):
        path = folder / "clean" / f"class{n % 2}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        names.append(path.relative_to(folder / "clean"))
    for command in (
        ["keygen", "k"],
        ["protect", "clean", "protected", "--key", "k"],
        ["verify", "protected", "--key", "k"],
        ["restore", "protected", "restored", "--key", "k"],
    ):
        subprocess.run([sys.executable, "-I", "-m", "dsguard", *command], check=True, cwd=folder)
    for name in names:
        clean, back = Image.open(folder / "clean" / name), Image.open(folder / "restored" / name)
        assert np.array_equal(np.asarray(clean), np.asarray(back)), f"{name} came back otherwise"


def main() -> None:
    """Check, and print what is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-compiler", action="store_true", help="make sure that there is none")
    if parser.parse_args().no_compiler:
        compilers = [name for name in COMPILERS if shutil.which(name)]
        assert not compilers, f"there are compilers in {os.environ['PATH']}: {compilers}"
    assert dsguard.get_backend() == "native", f"the C core is missing: {dsguard.get_backend()}"
    chosen, expected = native.isa(), expected_isa()
    assert expected in (chosen, None), f"{chosen} is in use, not {expected}"
    isas = check_arrays()
    with tempfile.TemporaryDirectory() as folder:
        check_commands(Path(folder))
    python = platform.python_version()
    print(f"dsguard {dsguard.__version__}, Python {python}: {chosen} in use of {', '.join(isas)}")


if __name__ == "__main__":
    main()
