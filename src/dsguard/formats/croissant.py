"""Croissant: ``croissant.json``, which describes a dataset and its files (ML Commons, JSON-LD).

One of the source describes clean files. What is published of it tells of the protected ones: their
hashes and sizes, and where the key is to be had.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from dsguard.formats.harmless import (
    Allowance,
    CouldHoldPictureError,
    charge_string,
    charge_text,
    is_number,
    numbers_in,
    parsed,
    size_of_string,
)
from dsguard.formats.images import is_image_name, suffix_of, with_suffix

CROISSANT = "croissant.json"
"""The file, beside the images."""

PROTECTED = "The images are protected with dsguard"
"""Beginning of the statement on access, by which a document written here is known."""

MOST_LISTED = 10_000
"""Image files that are listed one by one, each with its hash."""

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty",
            "fileObject", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key",
            "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace",
            "samplingRate", "separator", "source", "subField", "transform",
        )
    },
}  # fmt: skip
"""The context of the specification, version 1.1."""

_KINDS = {
    ".dsguard": "application/octet-stream",
    ".jsonl": "application/jsonlines",
    ".md": "text/markdown",
    ".npy": "application/octet-stream",
    ".npz": "application/zip",
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".tiff": "image/tiff",
}
_USUAL = mimetypes.MimeTypes()
_MOST_NESTED = 40
_LONGEST_CHAIN = 16
"""Fields of records, each read from the next."""
_INLINE = ("data", "examples", "cr:data", "cr:examples")
_TEXTS = re.compile(r"(sc:|cr:|rai:)?(description|citeAs|conditionsOfAccess|abstract)|rai:\w+")
_REPOSITORY = re.compile(r"git\b|.*repository", re.IGNORECASE)
_HASH_OF_REPOSITORY = "https://github.com/mlcommons/croissant/issues/80"
"""In place of a hash, where Croissant has none: as Hugging Face writes it."""


@dataclass(frozen=True)
class Facts:
    """The facts of a published file."""

    size: int
    sha256: str


def read(data: bytes) -> dict[str, Any] | None:
    """Return a Croissant document; None for JSON of another kind, or none."""
    try:
        document = parsed(data.decode("utf-8-sig"))
    except (CouldHoldPictureError, RecursionError, ValueError):
        return None
    if not isinstance(document, dict) or "distribution" not in document:
        return None
    is_one = _is_a(document, "Dataset") and _is_nested(document, _MOST_NESTED)
    return document if is_one else None


def _is_nested(value: Any, most: int) -> bool:
    """Tell whether a value is nested to some depth at most."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return most > 0 and all(_is_nested(each, most - 1) for each in inner)


def is_of_protected(data: bytes) -> bool:
    """Tell whether a document describes protected files: it was written here."""
    document = read(data) or {}
    return str(document.get("conditionsOfAccess", "")).startswith(PROTECTED)


def written(document: dict[str, Any]) -> bytes:
    """Return a document as a file."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )


def new(name: str, files: Mapping[str, Facts], images: Collection[str], access: str) -> bytes:
    """Return a document for published files that have none.

    Parameters
    ----------
    name : str
        Of the dataset.
    files : mapping of str to Facts
        Those that are listed one by one.
    images : collection of str
        All image files, listed or not.
    access : str
        Where the key is to be had, a text or an address; empty for nothing said.

    Examples
    --------
    >>> made = json.loads(new("photos", {"a.tar": Facts(3, "00" * 32)}, (), "Ask me."))
    >>> made["distribution"][0]["contentSize"]
    '3 B'
    >>> made["conditionsOfAccess"]
    'The images are protected with dsguard. Ask me.'
    """
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "description": f"{name}: protected images. Restored, they are the clean dataset.",
        **_statement(access),
        "distribution": [_file_object(file, facts) for file, facts in files.items()],
    }
    sets = sorted({suffix_of(image) for image in images})
    document["distribution"] += [_file_set(suffix) for suffix in sets]
    if sets:
        document["recordSet"] = [_record_set(suffix) for suffix in sets]
    return written(document)


def mended(
    document: dict[str, Any],
    files: Mapping[str, Facts],
    images: Collection[str],
    new_name: Callable[[str], str],
    access: str,
    *,
    whole: bool = False,
) -> tuple[bytes, bool]:
    """Return a document of clean files as one of those that are published.

    The second value tells whether something was left out that could hold a picture.

    Files that are not published leave it, with the fields of records that are read from them.

    Parameters
    ----------
    document : dict
    files, images, access
        As `new` takes them.
    new_name : callable
        Returns the name under which a file of the source is published.
    whole : bool
        Whether all texts and records in it go along, even if they could hold a picture.
    """
    gone = set[str]()
    items = list(_mended_items(document, files, images, new_name, gone))
    told = {**document, "distribution": items}
    if "recordSet" in told:
        told["recordSet"] = _records(_list(told["recordSet"]), gone)
    kept = told if whole else _Kept(_published_texts(files, images), new_name).of(told)
    items = kept["distribution"] = _list(kept.get("distribution", []))
    known = {item.get("contentUrl") for item in items}
    patterns = [pattern for item in items for pattern in _patterns(item)]
    for name, facts in files.items():
        covered = is_image_name(name) and any(_is_like(name, each) for each in patterns)
        if name not in known and not covered:
            items.append(_file_object(name, facts))
    return written({**kept, **_statement(access)}), kept != told


def _statement(access: str) -> dict[str, str]:
    """Return what is said on access; an address goes where readers of schema.org look for one."""
    if re.match(r"https?://\S+$", access):
        return {
            "conditionsOfAccess": f"{PROTECTED}. Their keys are released at {access}",
            "usageInfo": access,
        }
    return {"conditionsOfAccess": f"{PROTECTED}. {access or 'Their owner has the key.'}"}


def _file_object(name: str, facts: Facts) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": name, "name": name, **_of_file(name, facts)}


def _of_file(name: str, facts: Facts) -> dict[str, str]:
    return {
        "contentUrl": name,
        "contentSize": f"{facts.size} B",
        "encodingFormat": _kind_of(name),
        "sha256": facts.sha256,
    }


def _kind_of(name: str) -> str:
    usual = _USUAL.guess_type(name)[0]
    return _KINDS.get(suffix_of(name).lower()) or usual or "application/octet-stream"


def _file_set(suffix: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"images{suffix}",
        "name": f"images{suffix}",
        "encodingFormat": _kind_of(f"x{suffix}"),
        "includes": f"**/*{suffix}",
    }


def _record_set(suffix: str) -> dict[str, Any]:
    """Return what tells readers that the images are files of a set."""

    def field(name: str, kind: str, file_property: str) -> dict[str, Any]:
        source = {"fileSet": {"@id": f"images{suffix}"}, "extract": {"fileProperty": file_property}}
        fields = {"@type": "cr:Field", "@id": f"records{suffix}/{name}", "name": name}
        return {**fields, "dataType": kind, "source": source}

    fields = [field("file", "sc:Text", "fullpath"), field("image", "sc:ImageObject", "content")]
    name = f"records{suffix}"
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _mended_items(
    document: dict[str, Any],
    files: Mapping[str, Facts],
    images: Collection[str],
    new_name: Callable[[str], str],
    gone: set[str],
) -> Iterator[dict[str, Any]]:
    """Yield the items of a distribution that are published; note the others as gone."""
    names = {*files, *images}
    for item in filter(lambda each: isinstance(each, dict), _list(document.get("distribution"))):
        rest = {key: each for key, each in item.items() if key not in ("md5", "sha256")}
        if _is_a(item, "FileSet"):
            patterns = [each for each in map(_published_pattern(names), _patterns(item)) if each]
            if patterns:
                rest.pop("containedIn", None)  # an archive that has become a folder
                includes = patterns[0] if len(patterns) == 1 else patterns
                yield {**rest, "includes": includes, "encodingFormat": _kind_of(patterns[0])}
                continue
        elif name := _published_file(str(item.get("contentUrl", "")), names, new_name):
            rest.pop("containedIn", None)
            yield {**rest, **(_of_file(name, files[name]) if name in files else {})}
            continue
        elif _REPOSITORY.match(str(item.get("encodingFormat", ""))):
            yield {**rest, "sha256": _HASH_OF_REPOSITORY}
            continue
        gone.add(str(item.get("@id", item.get("name", ""))))


def _published_file(url: str, names: Collection[str], new_name: Callable[[str], str]) -> str:
    """Return the published file that an address means, by its path or the end of it."""
    path = url.partition("://")[2] or url.removeprefix("./")
    parts = path.split("?")[0].split("/")
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        for each in (new_name(name), name):
            if each in names:
                return each
    return ""


def _published_pattern(names: Collection[str]) -> Callable[[str], str]:
    """Return what gives a pattern of clean files as that of published ones; empty for none."""
    suffixes = {suffix_of(name) for name in names if is_image_name(name)}

    def published(pattern: str) -> str:
        is_image = is_image_name(pattern, of_any_kind=True)
        others = (with_suffix(pattern, suffix) for suffix in sorted(suffixes) if is_image)
        found = (each for each in (pattern, *others) if any(_is_like(name, each) for name in names))
        return next(found, "")

    return published


def _patterns(item: dict[str, Any]) -> list[str]:
    return [each for each in _list(item.get("includes", ())) if isinstance(each, str)]


def _is_like(name: str, pattern: str) -> bool:
    """Tell whether a file is like a pattern, in which ``**/`` is any folders, or none."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern.replace("**/", ""))


def _records(records: list[Any], gone: set[str]) -> list[Any]:
    """Return records without the fields that are read from what is gone, or from such fields.

    Where fields are read from others in a long chain, which nobody has by habit, none are left.
    """
    for _ in range(_LONGEST_CHAIN):
        before = len(gone)
        records = [_without_gone(each, gone) for each in records]
        records = [each for each in records if each is not None]
        if len(gone) == before:
            return records
    return []


def _without_gone(value: Any, gone: set[str]) -> Any:
    """Return a record set or field without what is read from what is gone; None for all of it."""
    if not isinstance(value, dict):
        return value
    own_id = value.get("@id", value.get("name"))
    fields = {key: _list(value[key]) for key in ("field", "subField") if key in value}
    kept = {
        key: [each for each in (_without_gone(one, gone) for one in of) if each is not None]
        for key, of in fields.items()
    }
    is_empty = any(fields[key] and not kept[key] for key in fields)
    if is_empty or any(_refers(value.get(key), gone) for key in ("source", "key")):
        gone.add(str(own_id))
        return None
    rest = {key: each for key, each in value.items() if key not in fields}
    if _refers(rest.get("references"), gone):
        del rest["references"]
    return {**rest, **kept}


def _refers(value: Any, gone: set[str]) -> bool:
    """Tell whether a source, key or reference names something that is gone."""
    if isinstance(value, list):
        return any(_refers(each, gone) for each in value)
    if isinstance(value, dict):
        return any(
            each in gone if key in ("@id", "distribution") and isinstance(each, str)
            else _refers(each, gone)
            for key, each in value.items()
        )  # fmt: skip
    return False


def _published_texts(files: Mapping[str, Facts], images: Collection[str]) -> frozenset[str]:
    """Return the strings that are published in any case, or that any document may have."""
    facts = (text for name in files for text in _of_file(name, files[name]).values())
    terms = (text for text in _CONTEXT.values() if isinstance(text, str))
    return frozenset({*files, *images, *facts, *terms, *_CONTEXT, _HASH_OF_REPOSITORY})


class _Kept:
    """What is kept of a document: not inline records, and nothing that could hold a picture.

    All of it has one allowance, and texts such as descriptions another, as a file beside it has.

    Parameters
    ----------
    free : collection of str
        Strings that cost nothing.
    new_name : callable
        Returns the name under which a file of the source is published; its old one is free, too.
    """

    def __init__(self, free: Collection[str], new_name: Callable[[str], str]) -> None:
        self._free, self._new_name = free, new_name
        self._rest, self._texts = Allowance(), Allowance()
        self._times = Counter[str]()

    def of(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document without the rest; what other parts refer to is looked at first."""
        first = sorted(document, key=lambda name: name not in ("distribution", "recordSet"))
        kept = self._any({name: document[name] for name in first}) or {}
        return {name: kept[name] for name in document if name in kept}

    def _any(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            kept = {
                name: self._any(each, name)
                for name, each in value.items()
                if name not in _INLINE or key == "@context"
                if self._is_harmless(name, "")
            }
            kept = {name: each for name, each in kept.items() if each is not None}
            return None if "@id" in value and "@id" not in kept else kept  # nothing has its name
        if isinstance(value, list):
            found = [self._any(each, key) for each in value]
            return [each for each in found if each is not None]
        return value if self._is_harmless(value, key) else None

    def _is_harmless(self, value: Any, key: str) -> bool:
        """Charge a value; tell whether there was enough left."""
        is_text = isinstance(value, str) and bool(_TEXTS.fullmatch(key))
        left = replace(self._texts if is_text else self._rest)
        try:
            self._charge(value, left, is_text=is_text)
        except CouldHoldPictureError:
            return False
        if is_text:
            self._texts = left
        else:
            self._rest = left
        return True

    def _charge(self, value: Any, left: Allowance, *, is_text: bool) -> None:
        if is_number(value):
            left.take_row(1)
            left.take(1, 0)
        elif is_text:
            charge_text(value, lambda words: left, self._is_free)
        elif isinstance(value, str) and not self._is_free(value):
            size_of_string(value)
            words = _JOINT.sub(" ", value)  # paths and terms of plain words are plain
            times, self._times[value] = self._times[value], self._times[value] + 1
            if times % _REFERENCES == 0 or numbers_in(words):
                charge_string(words, left)

    def _is_free(self, text: str) -> bool:
        is_old_name = is_image_name(text, of_any_kind=True) and self._new_name(text) in self._free
        return text in self._free or is_old_name


_JOINT = re.compile(r"(?<=[^\W\d_])[:/.#](?=[^\W\d_])|^@(?=[a-z])|://")
_REFERENCES = 6
"""How often a name costs nothing more: a column is an id, a name, a source, a key, a reference."""


def _is_a(value: dict[str, Any], kind: str) -> bool:
    kinds = [each for each in _list(value.get("@type", ())) if isinstance(each, str)]
    return any(each.rpartition(":")[2].rpartition("/")[2] == kind for each in kinds)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
