"""Imports go the way that docs/architecture.md draws."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dsguard import errors

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dsguard"


def layers() -> list[list[str]]:
    """Return the packages and modules of each line of the picture, from top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Layers, and who may import whom\n\n")[1]
    picture = section.split("\n\n")[0]
    return [re.split(r" {2,}", line.strip())[0].split(", ") for line in picture.splitlines()]


class Imports(ast.NodeVisitor):
    """Collects the parts of dsguard that a module imports, anywhere but for types."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.whole: set[str] = set()  # modules, and names in them

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "dsguard":
            self.found.update(alias.name for alias in node.names)
            self.whole.update(alias.name for alias in node.names)
        elif node.module and node.module.startswith("dsguard."):
            self.found.add(node.module.split(".")[1])
            module = node.module.removeprefix("dsguard.")
            folder = SOURCE / module.replace(".", "/")
            for name in (alias.name for alias in node.names):
                is_module = (folder / name).is_dir() or (folder / f"{name}.py").exists()
                self.whole.add(f"{module}.{name}" if is_module else module)

    def visit_Import(self, node: ast.Import) -> None:
        names = (alias.name.split(".") for alias in node.names)
        self.found.update(name[1] for name in names if name[0] == "dsguard" and len(name) > 1)


def imports() -> dict[str, set[str]]:
    """Return by part of dsguard the others that it imports."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        part = path.relative_to(SOURCE).with_suffix("").parts[0]
        visitor = Imports()
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        found.setdefault(part, set()).update(visitor.found - {part, "__version__", "_core"})
    return {part: others for part, others in found.items() if not part.startswith("__")}


def test_the_picture_has_every_part_once():
    drawn = [part for layer in layers() for part in layer]
    assert sorted(drawn) == sorted(imports())


def test_no_arrow_runs_up_and_none_in_a_circle():
    level = {part: n for n, layer in enumerate(layers()) for part in layer}
    found = imports()
    up = {(a, b) for a, others in found.items() for b in others if level[b] < level[a]}
    assert not up
    graphlib.TopologicalSorter(found).prepare()  # raises CycleError


def module_imports() -> dict[str, set[str]]:
    """Return by module of dsguard the others that it imports, within functions as well."""
    paths = {
        ".".join(("dsguard", *path.relative_to(SOURCE).with_suffix("").parts)): path
        for path in SOURCE.rglob("*.py")
        if "migrations" not in path.parts
    }
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        visitor = Imports()
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        named = {".".join(("dsguard", name)) for name in visitor.whole} & modules.keys()
        found[module] = named - {module, "dsguard"}
    return found


def test_no_module_imports_itself_by_way_of_others():
    found = module_imports()
    assert len(found) > 100
    assert sum(map(len, found.values())) > 400
    graphlib.TopologicalSorter(found).prepare()


@pytest.mark.parametrize(
    ("script", "page"), [("files.py", "files.md"), ("messages.py", "reference/messages.md")]
)
def test_pages_made_from_the_code_are_true(script, page):
    docs = ROOT / "docs"
    made = subprocess.run([sys.executable, docs / script], check=True, capture_output=True).stdout
    assert made.decode() == (docs / page).read_text("utf-8"), f"python docs/{script} > docs/{page}"


def test_every_class_of_errors_has_its_messages():
    text = (ROOT / "docs" / "reference" / "messages.md").read_text("utf-8")
    own = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    assert len(own) > 5
    passed_on = ["NoKeysError"]  # with the words of a platform
    assert [name for name in own if f"({name})" not in text] == passed_on


def test_the_tree_has_every_folder():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("## The tree\n\n")[1].split("\n\n")[0]
    drawn = set(re.findall(r"\b(\w+)/", tree))
    for folder in (SOURCE, ROOT / "csrc"):
        names = {path.name for path in folder.iterdir() if path.is_dir()}
        assert names - drawn <= {"__pycache__", "_parallel"}


def test_a_new_file_has_a_job():
    assert not re.search(r": *$", (ROOT / "docs" / "files.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["datasets", "protection", "slices", "mrit", "demo"])
def test_former_modules_say_where_they_are_now(name):
    if name == "demo":
        pytest.importorskip("torch")
    with pytest.raises(
        ModuleNotFoundError, match=rf"^dsguard\.{name} is dsguard\.[a-z_.]+ now$"
    ) as told:
        importlib.import_module(f"dsguard.{name}")
    importlib.import_module(str(told.value).split()[2])


def test_torch_is_imported_by_networks_and_those_above_alone():
    for path in SOURCE.rglob("*.py"):
        part = path.relative_to(SOURCE).parts[0]
        if part in ("networks", "evaluation", "covers"):
            continue
        run = re.sub(
            r"^if TYPE_CHECKING:\n(    .*\n|\n)+", "", path.read_text(), flags=re.MULTILINE
        )
        assert not re.search(r"^\s*(import|from) torch", run, re.MULTILINE), path


def test_no_program_is_started():
    """Those of a machine read what strangers have put beside images: git runs what it names."""
    programs = re.compile(r"(import|from) subprocess|os\.(system|popen|spawn|exec)")
    found = {path for path in SOURCE.rglob("*.py") if programs.search(path.read_text())}
    assert found == {SOURCE / "cli" / "__init__.py"}  # which starts itself anew, in UTF-8


def test_links_to_themselves_end_nothing():
    """`Path.resolve` raises a RuntimeError for them, and `places.real_path` does not."""
    found = {path for path in SOURCE.rglob("*.py") if ".resolve()" in path.read_text()}
    assert found == set()
