"""Print docs/reference/messages.md: the texts of all errors, for whoever looks for one."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dsguard"
INTRO = """# Error messages

Made by `python docs/messages.py > docs/reference/messages.md` from the code; a test compares.
Each message names the image, file or option, here `…`, and the remedy, where there is one.
[Exit codes](exit-codes.md) tell what the commands end with; [the classes](api/dsguard.md) are those
that Python raises. `Refused` is an answer of the platform.
"""
AREAS = {
    "bulk": ("Datasets", "[Whole datasets](../bulk.md) has the commands."),
    "cli": ("Commands", "[Commands](cli.md) has all options."),
    "covers": ("Covers", "[Choose what shows](../how-to/choose-what-shows.md)."),
    "dmcp": ("The platform", "[The platform](../dmcp.md)."),
    "evaluation": (
        "Evaluation", "[Measure protection](../how-to/measure-protection.md).",
    ),
    "formats": (
        "Formats", "[Formats](formats.md) and [limits](limits.md) have the rules.",
    ),
    "integrations": ("Loaders", "[Train from a protected set](../how-to/train.md)."),
    "keys": ("Keys", "[Publish safely](../how-to/publish-safely.md)."),
}  # fmt: skip
OTHERS = ("Arrays", "[Protect arrays from Python](../how-to/use-from-python.md).")
_KINDS = re.compile(r"\w*Error|Refused|BadParameter|TooManyErrors|refused|_refused")
_FEWEST_WORDS = 3


def text_of(node: ast.expr, known: dict[str, ast.expr]) -> str:
    """Return a text as it is written, with ``…`` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part, known) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left, known) + text_of(node.right, known)
    if isinstance(node, ast.Name) and node.id in known:
        return text_of(known[node.id], {})
    return "…"


def calls(tree: ast.AST, known: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of the errors that are made in a tree, in the order of its lines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known = known | {node.targets[0].id: node.value}
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            texts = [text_of(each, known) for each in node.args]
            if _KINDS.fullmatch(name):
                yield name, ": ".join(text for text in texts if " " in text.strip("… "))
        yield from calls(node, known)


def constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the constants of a module, which errors of others have as well."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def messages() -> str:
    """Return the page."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
        if "migrations" not in path.parts
    }
    shared = {name: text for tree in trees.values() for name, text in constants(tree)}
    for path, tree in trees.items():
        area = AREAS.get(path.relative_to(SOURCE).parts[0], OTHERS)
        for kind, text in calls(tree, shared | dict(constants(tree))):
            words = " ".join(text.split())
            if len(re.findall(r"[A-Za-z]{2,}", words)) >= _FEWEST_WORDS:
                found.setdefault(area, {}).setdefault(words, kind)
    lines = [INTRO]
    for title, told in sorted(found):
        lines += [f"## {title}\n", f"{told}\n"]
        texts = sorted(found[title, told].items(), key=lambda item: item[0].strip("…:' ").lower())
        lines += [f"- {_code(text)} ({kind})" for text, kind in texts]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(messages())
