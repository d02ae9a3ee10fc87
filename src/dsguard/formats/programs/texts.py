"""Texts with programs in them, which some readers run."""

from __future__ import annotations

import io  # noqa: F401
import json
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from dsguard.formats.limits import MOST_BYTES

_NAMES = re.compile(
    r"(?:cmake(?:lists|(?:user)?presets)|composer|conanfile|constraints|deno|package(?:-lock)?|npm-shrinkwrap"
    r"|requirements.*|dataset_infos?|tsconfig|build|pom|phpunit)\.(?:txt|json|xml)"
)
"""Texts that tools look for, to run or install something, or to call what is named in them."""

_OF_YAML = re.compile(
    r"(?:path|train|val|valid|test|minival|nc|names|colors|channels|kpt_shape|kpt_names|flip_idx"
    r"|roboflow|license|version)\s*:(?:\s|$)"
)
_WITHIN_YAML = re.compile(r"[ \t]|-(?:\s|$)")
"""How lines begin of YAML that tells of a dataset, as trainers of YOLO read it. Ultralytics runs
the value of ``download``; other YAML makes objects, has commands, or sets up a program."""
_EMPTY = re.compile(r"-{3}|\s*(?:#.*)?")
_NOT_OF_YAML = re.compile(
    r"[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    r"|\\|_target_|(?:^|[\s\[\]{},:&*-])!",
    re.MULTILINE,
)
"""Signs that readers of YAML pass over, so that words are others; and words that make objects."""

_NO_TABLE = re.compile(r"(?i:sep=)|ID;P[A-Z0-9]{0,32}(?:[;\r\n]|$)|\s{0,64}<")
_MARK = "\ufeff"
_BLANKS = "\ufeff \t\r\n\f\v\x1c\x1d\x1e\x85\u2028\u2029"

_CELL_ENDS = re.compile(r"[,;\t]")
_PASSED_OVER = "".join(filter(str.isspace, map(chr, range(0x3001)))) + (
    "\ufeff\u200b\u200c\u200d\u2060\xad\"'"
)
"""What is passed over before a word: blanks, quotes and signs without a width."""
_NUMBER = re.compile(r"[+-]?[0-9.]{1,64}(?:[eE][+-]?[0-9]{1,8})?%?")

_COMMAND = re.compile(r"\W*pipe\s*:")
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_IN_JSON = re.compile(r'"py\\?/\w*"\s*:|"_target_"|[:\[,]\s*"(?:\$|pipe:)')
"""Keys of jsonpickle and of Hydra, which make objects, values that MONAI evaluates, and commands
that WebDataset runs in place of addresses."""

_IN_XML = re.compile(r"<!DOCTYPE|<!ENTITY|<\?(?!xml[\s?])|xmlns|<script|&#", re.IGNORECASE)
"""Parts by which a reader has other files, or runs something: web pages and drawings lie in XML by
their names, which may be written in numbers of letters."""
_ENCODING = re.compile(
    r"encoding\s*=\s*[\"'](?!(?:utf-8|utf-16|us-ascii|iso-8859-\d+|windows-125\d|gb2312)[\"'])",
    re.IGNORECASE,
)
"""Encodings in which those parts may be written otherwise."""


def is_run_by_name(name: str) -> bool:
    """Tell whether tools run, or install from, a text of this name: ``requirements.txt``."""
    return _NAMES.fullmatch(name.rpartition("/")[2].lower()) is not None


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
    yield data.decode("utf-8", "ignore").removeprefix(_MARK)
    encoding = json.detect_encoding(data)
    if "utf-8" not in encoding:
        yield data.decode(encoding, "ignore").removeprefix(_MARK)


def _in_card(text: str) -> bool:
    """Tell of Markdown: `datasets` takes a head of YAML for columns, addresses and functions."""
    return text.lstrip(_BLANKS).startswith("---")


def _in_table(text: str) -> bool:
    """Tell of tables; spreadsheets take some for another kind of file by how they begin."""
    return bool(_NO_TABLE.match(text)) or any(map(_has_formula, text.splitlines()))


def _has_formula(line: str) -> bool:
    """Tell whether spreadsheets take a cell for a formula which may call something."""
    start, last = 0, max(map(line.rfind, "(|"))
    for cell in _CELL_ENDS.split(line):
        own = cell.strip(_PASSED_OVER)
        if own.startswith(("=", "＝")):
            return True
        if own.startswith(("@", "+", "-", "＠", "＋", "－")) and not _NUMBER.fullmatch(own):
            is_quoted = cell.lstrip().startswith(('"', "'"))  # then it may go on in the next ones
            if last >= start if is_quoted else max(map(cell.find, "(|")) >= 0:
                return True
        start += len(cell) + 1
    return False


def _in_list(text: str) -> bool:
    """Tell of lists of shards: WebDataset runs what begins so."""
    return any(map(_has_command, text.splitlines()))


def _has_command(line: str) -> bool:
    return any(_COMMAND.match(part) or _may_become_one(part) for part in line.split("::"))


def _may_become_one(address: str) -> bool:
    """Tell whether an address may be a command once words in braces stand in their place."""
    scheme, colon, _ = address.partition(":")
    place = 0
    for sign in "pipe":
        place = scheme.find(sign, place) + 1
        if not place:
            return False
    return bool(colon) and "{" in scheme


def _in_yaml(text: str) -> bool:
    lines = [line for line in text.splitlines() if not _EMPTY.fullmatch(line)]
    keys = lines[:1] + [line for line in lines if not _WITHIN_YAML.match(line)]
    return bool(_NOT_OF_YAML.search(text)) or not all(map(_OF_YAML.match, keys))


def _in_json(text: str) -> bool:
    plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text) if r"\u00" in text else text
    return bool(_IN_JSON.search(plain))


def _in_xml(text: str) -> bool:
    if not text.lstrip(_BLANKS + "\0").startswith("<"):  # it is in an encoding of its own
        return True
    return bool(_IN_XML.search(text) or _ENCODING.search(text))


_LOOKS: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("csv", "tsv"), _in_table),
    **dict.fromkeys(("geojson", "jsn", "json", "jsonl"), _in_json),
    "url": lambda text: "[" in text,  # a section, as shortcuts of Windows begin with
    **dict.fromkeys(("list", "lst", "txt"), _in_list),
    "xml": _in_xml,
}
_STRICT_LOOKS: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("yaml", "yml"), _in_yaml),
    "md": _in_card,
}
"""Those of YAML, which its readers take for UTF-8."""
