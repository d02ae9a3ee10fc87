"""Install a wheel in fresh environments without a compiler, and run ``smoke.py`` in each.

    python tools/test_wheel.py dist/dsguard-*.whl [PYTHON ...]

Without names of Pythons, those of 3.11 to 3.15 are taken that are found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SMOKE = Path(__file__).with_name("smoke.py")
MINORS = range(11, 16)
ENDINGS = {".html", ".json", ".mako", ".py", ".pyd", ".pyi", ".so", ".typed"}


def pythons() -> dict[str, str | None]:
    """Return by version the Python of the path, or of pyenv, None where there is none."""
    found: dict[str, str | None] = {}
    for version in (f"3.{minor}" for minor in MINORS):
        of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        tried = [shutil.which(f"python{version}"), *map(str, of_pyenv)]
        found[version] = next((path for path in tried if path and runs(path)), None)
    return found


def runs(python: str) -> bool:
    """Tell whether a Python is more than a name, as those of pyenv may be."""
    return not subprocess.run([python, "-c", ""], check=False, stderr=subprocess.DEVNULL).returncode


def check_content(wheel: Path) -> None:
    """Raise where a wheel has files that are not of the package."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    package = [name for name in names if name.startswith("dsguard/")]
    others = [name for name in names if ".dist-info/" not in name and name not in package]
    others += [name for name in package if Path(name).suffix not in ENDINGS]
    assert not others, f"files that users do not need: {others}"
    assert any("/_core." in name for name in package), "the C core is missing"


def check_install(wheel: Path, python: str) -> None:
    """Install a wheel, with its extra for the command line, and try it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        scripts = Path(folder, "Scripts" if sys.platform == "win32" else "bin")
        inside = str(scripts / "python")
        bare = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
        bare["PATH"] = str(scripts)
        install = [inside, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        for command in ([*install, f"{wheel}[cli]"], [inside, "-I", str(SMOKE), "--no-compiler"]):
            subprocess.run(command, check=True, env=bare, cwd=folder)


def main() -> None:
    """Test a wheel with all Pythons, and say which are not here."""
    wheel = Path(sys.argv[1]).resolve()
    check_content(wheel)
    given = dict.fromkeys(sys.argv[2:])
    for name, python in ({path: path for path in given} or pythons()).items():
        if python is None:
            print(f"Python {name} is not here")
        else:
            check_install(wheel, python)


if __name__ == "__main__":
    main()
