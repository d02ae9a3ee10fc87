"""Texts with programs in them, which some readers run."""

from __future__ import annotations

import io  # noqa: F401
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from dsguard.formats.limits import MOST_BYTES

_NAMES = frozenset(
    {"cmakelists.txt", "compose.yaml", "compose.yml", "composer.json", "constraints.txt",
     "dataset_info.json", "dataset_infos.json", "docker-compose.yaml", "docker-compose.yml",
     "dvc.yaml", "environment.yaml", "environment.yml", "mkdocs.yml", "package.json",
     "requirements.txt", "taskfile.yml"}
)  # fmt: skip
"""Texts that tools look for, to run or install something, or to call what is named in them."""

_NOT_YAML = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Signs that YAML does not have; readers that pass over them see other words than those written."""

_IN_YAML = re.compile(r"download|\\|(?:^|[\s\[\]{},:&*-])!", re.MULTILINE)
"""What Ultralytics runs, if the images of the validation are not there; a word written otherwise; a
tag, which makes an object of Python with `yaml.unsafe_load`."""

_IN_CARD = re.compile(r"dataset_info|features")
"""Types of columns in the head of a dataset card: `datasets` calls functions that are so called."""

_IN_TABLE = re.compile(r"(?:^|[,;\t\"'])\s*(?:=|[@+-]\w*[|(])", re.MULTILINE)
"""A cell that spreadsheets take for a formula."""

_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_IN_JSON = re.compile(r'"py\\?/\w*"\s*:')
"""A key of jsonpickle, which makes objects."""

_IN_XML = re.compile(r"<!DOCTYPE|<!ENTITY|<\?xml-stylesheet", re.IGNORECASE)
"""Parts by which a reader has other files; a stylesheet is a program."""
_ENCODING = re.compile(
    r"encoding\s*=\s*[\"'](?!(?:utf-8|utf-16|us-ascii|iso-8859-\d+|windows-125\d|gb2312)[\"'])",
    re.IGNORECASE,
)
"""Encodings in which those parts may be written otherwise."""


def is_run_by_name(name: str) -> bool:
    """Tell whether tools run, or install from, a text of this name: ``requirements.txt``."""
    return name.rpartition("/")[2].lower() in _NAMES


def holds_program(suffix: str, file: BinaryIO) -> bool:
    """Tell whether a text may have a program in it, which readers of such texts run.

    Parameters
    ----------
    suffix : str
        In small letters, without the dot.
    file : binary file

    >>> holds_program("yaml", io.BytesIO(b"download: import os"))
    True
    >>> holds_program("yaml", io.BytesIO(b"names: [cat, dog]"))
    False
    """
    if suffix not in _LOOKS and suffix not in _STRICT_LOOKS:
        return False
    file.seek(0)
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        return True
    if suffix in _LOOKS:
        return any(map(_LOOKS[suffix], _readings(data)))
    try:
        return _STRICT_LOOKS[suffix](data.decode("utf-8-sig"))
    except UnicodeDecodeError:  # readers that pass over errors see other words
        return True


def _readings(data: bytes) -> Iterator[str]:
    """Yield a text as readers see it: in any encoding that has ASCII in it, and in wide ones."""
    yield data.decode("latin-1")
    encoding = json.detect_encoding(data)
    if "utf-8" not in encoding:
        yield data.decode(encoding, "replace")


def _in_card(text: str) -> bool:
    """Tell of Markdown: what is between two lines at its start is YAML."""
    first, *lines = text.splitlines() or [""]
    if first.strip() != "---":
        return False
    head = "\n".join(itertools.takewhile(lambda line: line.strip() != "---", lines))
    return _in_yaml(head) or bool(_IN_CARD.search(head))


def _in_table(text: str) -> bool:
    return bool(_IN_TABLE.search(text))


def _in_yaml(text: str) -> bool:
    return bool(_NOT_YAML.search(text) or _IN_YAML.search(text))


def _in_json(text: str) -> bool:
    plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text) if r"\u00" in text else text
    return bool(_IN_JSON.search(plain))


def _in_xml(text: str) -> bool:
    return bool(_IN_XML.search(text) or _ENCODING.search(text[:_DECLARATION]))


_DECLARATION = 1024
"""Letters among which the encoding of an XML file is told."""
_LOOKS: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("csv", "tsv"), _in_table),
    **dict.fromkeys(("geojson", "jsn", "json", "jsonl"), _in_json),
    "xml": _in_xml,
}
_STRICT_LOOKS: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("cff", "yaml", "yml"), _in_yaml),
    "md": _in_card,
}
"""Those of YAML, which its readers take for UTF-8."""
