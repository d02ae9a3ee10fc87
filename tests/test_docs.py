"""README and docs: links lead somewhere, commands exist, examples run, tables are whole."""

from __future__ import annotations

import ast
import configparser
import importlib
import io
import json
import re
import shutil
import tomllib
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import numpy as np
import pytest

import dsguard
import dsguard.bulk
from dsguard.cli.commands import run
from dsguard.cli.console import Exit
from dsguard.errors import MissingExtraError
from tests import ROOT
from tests.commands import check, command_at, commands, every_option
from tests.markdown import DOCS, PAGES, Block, anchors, blocks, inlines, links

BLOCKS = [block for page in PAGES for block in blocks(page)]
DRAWN = {DOCS / "architecture.md", DOCS / "format.md"}
"""Pages whose blocks without a language are no commands but drawings and vectors."""

RUN = [ROOT / "README.md", DOCS / "reference" / "journal.md", *DOCS.glob("how-to/*.md")]
"""Pages whose Python is run, but for what has a comment before it: it needs more than there is."""

TUTORIAL = DOCS / "tutorial.md"
SHELLS = ("sh", "bash", "shell", "console")
FOREIGN = {"--temp-dir"}
"""Options that pages name and that are of other commands."""


def is_python(block: Block) -> bool:
    """Tell whether a block is Python; those that are indented have no language."""
    lines = r"^(from|import|with|class|def) "
    return block.language in ("python", "py") or (
        not block.language and block.page not in DRAWN and bool(re.match(lines, block.text))
    )


def is_shell(block: Block) -> bool:
    """Tell whether a block has commands."""
    plain = not block.language and block.page not in DRAWN
    return block.language in SHELLS or (plain and not is_python(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_navigation_has_every_page_once():
    found: list[Path] = []
    for block in BLOCKS:
        if block.language != "{toctree}":
            continue
        entries = [line for line in block.text.split() if not line.startswith(":")]
        own: list[Path] = []
        for entry in re.findall(r"^([\w/*-]+)$", block.text, re.MULTILINE):
            paths = sorted(block.page.parent.glob(f"{entry}.md"))
            assert paths, f"{block}: {entry}"
            own += [path for path in paths if path not in own]
        assert entries
        found += own
    assert sorted([*found, DOCS / "index.md"]) == sorted(DOCS.rglob("*.md"))


def test_every_block_is_of_a_kind_that_is_checked():
    for block in BLOCKS:
        known = is_python(block) or is_shell(block) or block.page in DRAWN
        others = ("text", "ini", "json", "nginx", "toml", "yaml")
        assert known or block.language.startswith("{") or block.language in others, str(block)


@pytest.mark.parametrize(("language", "read"), [("json", json.loads), ("toml", tomllib.loads)])
def test_data_can_be_read(language, read):
    for block in BLOCKS:
        if block.language == language:
            read(block.text)


@pytest.mark.parametrize("block", [*filter(is_shell, BLOCKS)], ids=str)
def test_commands_are_as_the_program_takes_them(block, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: value)
    monkeypatch.delenv("DSGUARD_KEY_FILE", raising=False)
    given = list(commands(block.text))
    assert given
    for words in given:
        check(words)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("dsguard protect a b --key k --covr blank", "No such option"),
        ("dsguard protect a b --key k --cover white", "is not one of"),
        ("dsguard protect a --key k", "Missing parameter: destination"),
        ("dsguard restore a", "Missing parameter: destination"),
        ("dsguard guard a b", "there is no dsguard guard"),
        ("pip install '.[cli,quick]'", "no extra"),
        ("make coffee", "no such target"),
        ("python -m bench.nothing", "there is no"),
        ("curl $URL/v1/nothing", "no route"),
        ("rm -r /", "nobody checks"),
    ],
)
def test_a_command_that_would_not_do_is_found(words, fault):
    (given,) = commands(words)
    with pytest.raises((AssertionError, click.ClickException), match=fault):
        check(given)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_within_sentences_exist(page):
    known = every_option() | FOREIGN
    for token in inlines(page):
        if token.type != "code_inline":
            continue
        if token.content.startswith("dsguard "):
            command, rest = command_at([w for w in token.content.split()[1:] if w != "…"])
            own = {option for each in command.params for option in each.opts}
            assert {w for w in rest if w.startswith("--")} <= own | {"--help"}, token.content
        elif token.content.startswith("--"):
            names = {word for word in token.content.split() if word.startswith("--")}
            assert names <= known, token.content


@pytest.mark.parametrize("block", [*filter(is_python, BLOCKS)], ids=str)
def test_python_compiles_and_what_it_imports_of_dsguard_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dsguard"):
            try:
                module = importlib.import_module(str(node.module))
            except MissingExtraError as error:
                pytest.skip(str(error))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_no_example_joins_a_cluster_of_others():
    """Without an address, Ray joins whatever cluster a user of the machine has named."""
    using = [block.text for block in BLOCKS if is_python(block) and "ray.data" in block.text]
    assert len(using) == 2
    for text in using:
        assert 'ray.init("local", _temp_dir=' in text.partition("ray.data.")[0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """What the tutorial makes: a clean dataset, its key, and the protected one."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make = next(block for block in blocks(TUTORIAL) if block.language == "python")
        exec(make.text, {})
        assert run(["keygen", "dataset.key"]) == Exit.OK
        protect = "dsguard protect photos protected --key dataset.key"
        (words,) = commands(protect)
        assert run(words[1:]) == Exit.OK
    return folder


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_runs(page, dataset, monkeypatch):
    if "import torch" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    monkeypatch.chdir(dataset)
    names: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "codec exact-coarse leaves", UserWarning)
        for block in filter(is_python, blocks(page)):
            if not block.note.startswith("<!-- needs "):
                exec(compile(block.text, str(block), "exec"), names)


def told(text: str) -> list[str]:
    """Return the lines of an output, without what is another each time."""
    text = re.sub(r"\b([0-9a-f]{32}|[0-9a-f]{12})\b", "#", text)
    return re.sub(r"(planes|payload bits) \d+", r"\1 #", text).splitlines()


def walk(page: Path) -> int:
    """Do what a page says, and hold what it shows against what is seen; return how often."""
    seen: list[str] = []
    compared = 0
    for block in blocks(page):
        if block.language == "python":
            exec(block.text, {})
        elif block.language == "sh":
            seen = []
            for words in commands(block.text):
                if words[0] == "dsguard":
                    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
                        run(words[1:])
                    seen += told(out.getvalue())
        else:
            assert sorted(told(block.text)) == sorted(seen), str(block)
            compared += 1
    return compared


def test_the_tutorial_shows_what_one_sees(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert walk(TUTORIAL) == 7
    for path in Path("photos").rglob("*.jpg"):
        assert Path("restored", *path.parts[1:]).read_bytes() == path.read_bytes()
    assert not Path("guess").exists()


def test_the_page_on_publishing_shows_what_one_sees(tmp_path, dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dataset / "photos", "photos/train")
    Path("photos/train/labels.csv").write_text("file,label\n")
    np.save("photos/train/features.npy", np.linspace(0, 1, 2560, dtype=np.float32))
    assert walk(DOCS / "how-to" / "publish-safely.md") == 2


REFERENCE = DOCS / "reference"


def named(page: Path) -> set[str]:
    """Return what stands in the first columns of the tables of a page, as code or plain."""
    rows = re.findall(r"^\| (.*?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {word.strip("` ") for row in rows for word in row.split(",")}


def test_every_environment_variable_is_in_its_table():
    text = "\n".join(path.read_text() for path in (ROOT / "src" / "dsguard").rglob("*.py"))
    read = set(re.findall(r"\bDSGUARD_[A-Z]+(?:_[A-Z]+)*\b", text))
    settings = set(re.findall(r"DSGUARD_DMCP_[A-Z_]+", " ".join(_settings())))
    listed = {name for name in named(REFERENCE / "environment.md") if name.startswith("DSGUARD")}
    assert read - settings - {"DSGUARD_DMCP"} == listed


def _settings() -> list[str]:
    """Return the variables that set the platform up, without importing what that needs."""
    tree = ast.parse((ROOT / "src/dsguard/dmcp/settings.py").read_text())
    made = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    fields = [n.target.id for n in made.body if isinstance(n, ast.AnnAssign)]
    return [f"DSGUARD_DMCP_{field.upper()}" for field in fields]


def test_every_setting_of_the_platform_is_on_its_page():
    listed = named(DOCS / "dmcp.md")
    names = [name.removeprefix("DSGUARD_DMCP_") for name in _settings()]
    assert len(names) > 15
    assert [name for name in names if name not in listed] == []


def test_the_settings_of_a_service_file_exist():
    (block,) = [block for block in BLOCKS if block.language == "ini"]
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(block.text)
    given = set(re.findall(r"DSGUARD_DMCP_[A-Z_]+", block.text))
    assert given
    assert given <= set(_settings())
    (words,) = commands(unit["Service"]["ExecStart"])
    check(words)


def test_every_exit_code_is_in_its_table():
    codes = {int(name) for name in named(REFERENCE / "exit-codes.md") if name.isdigit()}
    assert codes == set(Exit)


def test_the_journal_is_as_its_page_says(dataset):
    journal, listed = dataset / "protected.dsguard", named(REFERENCE / "journal.md")
    files = {path.relative_to(journal).as_posix() for path in journal.rglob("*") if path.is_file()}
    assert files <= listed
    settings = json.loads((journal / "settings.json").read_text())
    assert settings.keys() <= listed
    lines = (journal / "shards" / "00000.jsonl").read_text().splitlines()
    assert len(lines) == 40
    assert json.loads(lines[0]).keys() <= listed


@pytest.mark.parametrize("module", [dsguard, dsguard.bulk], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module):
    page = REFERENCE / "api" / f"{module.__name__.removeprefix('dsguard.')}.md"
    listed = re.findall(r"^\.\. auto(?!module)\w+:: (\w+)$", page.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(set(module.__all__) - {"__version__"})


def test_every_module_of_the_reference_is_there():
    pages = [page.read_text() for page in (REFERENCE / "api").glob("*.md")]
    modules = re.findall(r"automodule:: ([\w.]+)", "\n".join(pages))
    assert len(modules) > 10
    for name in modules:
        path = (ROOT / "src" / name.replace(".", "/")).with_suffix("")
        assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_the_glossary_is_in_order():
    text = (REFERENCE / "glossary.md").read_text().partition("|---|---|")[2]
    words = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    plain = [re.sub(r"\W", "", word.replace("ε", "epsilon").partition("(")[0]) for word in words]
    assert [word.lower() for word in plain] == sorted(word.lower() for word in plain)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) < 800
