"""No regular expression takes for ever on a text of strangers."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as op
from re import _parser
from typing import Any

import dsguard

_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
AGAIN = 40
"""An expression with two ways through each repetition tries 2^40 of them."""


def expressions() -> dict[str, re.Pattern[Any]]:
    """Return all expressions of modules that can be imported here, by name."""
    found = {}
    for module in pkgutil.walk_packages(dsguard.__path__, "dsguard.", onerror=lambda _: None):
        if module.name.endswith("__main__"):
            continue
        try:
            names = vars(importlib.import_module(module.name))
        except (ImportError, dsguard.DsguardError):
            continue
        own = {f"{module.name}.{name}": value for name, value in names.items()}
        found |= {name: value for name, value in own.items() if isinstance(value, re.Pattern)}
    return found


def shortest(node: Any) -> str:
    """Return a text that a part of an expression takes, as short as it can be."""
    return "".join(map(_taken, node))


def _taken(item: tuple[Any, Any]) -> str:
    kind, value = item
    return _TAKEN.get(kind, lambda _: "")(value)


def _one_of(choices: list[tuple[Any, Any]]) -> str:
    if choices[0][0] is op.NEGATE:
        texts = (each for each in map(chr, range(32, 127)))
        taken = "".join(chr(v) for k, v in choices if k is op.LITERAL)
        return next(each for each in texts if each not in taken)
    kind, value = choices[0]
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.RANGE:
        return chr(value[0])
    return {op.CATEGORY_DIGIT: "0", op.CATEGORY_SPACE: " "}.get(value, "a")


_TAKEN: dict[Any, Callable[[Any], str]] = {
    op.LITERAL: chr,
    op.NOT_LITERAL: lambda value: "b" if value == ord("a") else "a",
    op.ANY: lambda _: "a",
    op.IN: _one_of,
    op.BRANCH: lambda value: min(map(shortest, value[1]), key=len),
    op.SUBPATTERN: lambda value: shortest(value[3]),
    op.ATOMIC_GROUP: shortest,
    **dict.fromkeys(_REPEATS, lambda value: shortest(value[2]) * value[0]),
}


def within(item: tuple[Any, Any]) -> list[Any]:
    """Return the parts in an item of an expression."""
    kind, value = item
    if kind is op.BRANCH:
        return list(value[1])
    if kind in _REPEATS:
        return [value[2]]
    found = {op.SUBPATTERN: lambda: value[3], op.ATOMIC_GROUP: lambda: value}
    found |= dict.fromkeys((op.ASSERT, op.ASSERT_NOT), lambda: value[1])
    return [found[kind]()] if kind in found else []


def repeated(node: Any) -> Iterator[str]:
    """Yield texts that a part of an expression takes again and again, one for each alternative."""
    for item in node:
        if item[0] in _REPEATS and item[1][1] > AGAIN:
            yield from alternatives(item[1][2])
        for each in within(item):
            yield from repeated(each)


def alternatives(node: Any) -> Iterator[str]:
    """Yield the shortest text of a part with each of its branches, the others at their shortest."""
    yield shortest(node)
    for n, item in enumerate(node):
        before, after = shortest(node[:n]), shortest(node[n + 1 :])
        for each in within(item):
            yield from (before + text + after for text in alternatives(each))


def hard_texts(pattern: re.Pattern[Any]) -> list[str]:
    """Return texts that an expression nearly takes, in as many ways as it has."""
    tree = _parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    start = shortest(tree)
    texts = {each * AGAIN for each in repeated(tree) if each}
    return sorted(before + each + "\x01" for each in texts for before in ("", start))


def test_a_slow_expression_would_be_seen():
    slow = re.compile(r"(?:<a>|<!--.*?-->\s*)*<html", re.DOTALL)
    assert "<!---->" * AGAIN + "\x01" in hard_texts(slow)


def test_no_expression_has_many_ways_through_a_text():
    """In a process of its own, which can be ended: an expression cannot."""
    code = "from tests.test_expressions import try_all; try_all()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-2000:]


def try_all() -> None:
    """Match every expression against its hard texts; the last name printed is the slow one."""
    for name, pattern in expressions().items():
        sys.stderr.write(f"{name}\n")
        for text in hard_texts(pattern):
            data = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
            pattern.search(data)
            pattern.match(data)
            pattern.fullmatch(data)
