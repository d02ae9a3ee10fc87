"""Pages of the documentation, taken apart: blocks of code, links, and places to link to."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import ROOT

DOCS = ROOT / "docs"
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md")})


@dataclass(frozen=True)
class Block:
    """A block of code; `note` is the comment right before it."""

    page: Path
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def tokens(page: Path) -> list[Token]:
    """Return a page as CommonMark has it, with tables."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of code; those that are indented have no language."""
    note = ""
    for token in tokens(page):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, note)
        note = token.content if token.type == "html_block" else ""


def inlines(page: Path) -> Iterator[Token]:
    """Yield what runs of text are made of: words, code, links, pictures."""
    for token in tokens(page):
        yield from token.children or ()


def links(page: Path) -> Iterator[str]:
    """Yield where links and pictures lead to."""
    for token in inlines(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target:
            yield str(target)


@cache
def anchors(page: Path) -> set[str]:
    """Return the places of a page that can be linked to, as hosts of code name them."""
    seen, found = Counter[str](), set()
    given = tokens(page)
    for token, inline in itertools.pairwise(given):
        if token.type == "heading_open":
            words = "".join(each.content for each in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found
