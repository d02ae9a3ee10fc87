"""Sphinx makes a site of these pages: ``make docs``.

Nothing is fetched from elsewhere, neither when it is built nor when it is read.
"""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "dsguard"
author = copyright = "the authors of dsguard"
version = release = version_of("dsguard")

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_click"]
myst_heading_anchors = 4  # as code hosts have them
highlight_language = "text"  # of indented blocks

autodoc_typehints = "none"  # the docstrings have types, shapes and ranges
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

default_role = "py:obj"  # `name` in a docstring is a link where there is such a name

smartquotes = False  # they make one dash of the two of an option

html_theme = "furo"
html_title = f"dsguard {version}"
html_show_copyright = False
html_show_sourcelink = False

ABOVE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "project/security-policy.md",
}
"""Pages that lie above this folder, and where they are on the site."""

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]+)?\)")


def with_links(text: str, folder: Path) -> str:
    """Return a page with links that work on the site as they do beside the code.

    Of what lies outside of this folder, pages are linked, files can be downloaded, and of folders
    the name is left.
    """

    def linked(match: re.Match[str]) -> str:
        words, path, anchor = match[1], (folder / match[2]).resolve(), match[3] or ""
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        if name in ABOVE or path.is_relative_to(DOCS):
            return f"[{words}](/{ABOVE.get(name) or path.relative_to(DOCS).as_posix()}{anchor})"
        words = words.replace("`", "")
        return f"{{download}}`{words} </../{name}>`" if path.is_file() else f"`{words}`"

    return _LINK.sub(linked, text)


def setup(app: Sphinx) -> None:
    """Have links changed in each page as it is read."""

    def read(app: Sphinx, name: str, source: list[str]) -> None:
        source[0] = with_links(source[0], Path(app.env.doc2path(name)).parent)

    def include(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
        source[0] = with_links(source[0], (DOCS / path).resolve().parent)

    def help_of_options(app: Sphinx, context: object, lines: list[str]) -> None:
        lines[:] = [line.replace("*", r"\*") for line in lines]  # of patterns, not of emphasis

    app.connect("source-read", read)
    app.connect("include-read", include)
    app.connect("sphinx-click-process-options", help_of_options)
