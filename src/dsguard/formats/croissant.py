"""Croissant: ``croissant.json``, which describes a dataset and its files (ML Commons, JSON-LD).

One of the source describes clean files. What is published of it tells of the protected ones: their
hashes and sizes, and where the key is to be had.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.croissant_values import (
    Kept,
    is_infinite,
    local_name,
    without_addresses_of_contexts,
    without_clean,
)
from dsguard.formats.images import is_image_name, suffix_of, with_suffix
from dsguard.formats.texts import json_of, parsed

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
_MOST_PATTERNS = 1000
_LONGEST_PATTERN = 256
_MOST_TRIED = 5_000_000
"""How often a name is held against a pattern, in all of a document."""
_MOST_FOLDERS = 32
_OF_DATASET = ("distribution", "recordSet")
_OF_FILES = ("@type", "@id", "name", "description")
"""What goes along of a file or a set of files as it is; the rest told of clean ones."""
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
    document = _plainly_named(document) if isinstance(document, dict) else {}
    if "distribution" not in document:
        return None
    is_one = _is_a(document, "Dataset") and _is_nested(document, _MOST_NESTED)
    return document if is_one else None


def _plainly_named(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with files and records under their plain names, however they are spelled.

    Those of several spellings are put together.
    """
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = local_name(key) if local_name(key) in _OF_DATASET else key
        found[name] = [*_list(found[name]), *_list(value)] if name in found else value
    return found


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
    return (json_of(document, indent=2) + "\n").encode("utf-8", "surrogatepass")


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
    >>> import json
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
    patterns = _Patterns({*files, *images})
    clean = without_addresses_of_contexts(without_clean(document, patterns.names))
    if "@context" in document and not clean.get("@context"):
        clean = {"@context": None, **clean} | {"@context": _CONTEXT}
    items = list(_mended_items(clean, files, patterns, new_name, gone))
    told = {**clean, "distribution": items}
    if "recordSet" in told:
        told["recordSet"] = _records(_list(told["recordSet"]), gone)
    whole = whole and not is_infinite(told)
    kept = told if whole else Kept(_published_texts(files, images), new_name).of(told)
    items = kept["distribution"] = _list(kept.get("distribution", []))
    known = {item.get("contentUrl") for item in items}
    is_covered = _any_of([pattern for item in items for pattern in _texts(item.get("includes"))])
    for name, facts in files.items():
        if name not in known and not (is_image_name(name) and is_covered(name)):
            items.append(_file_object(name, facts))
    return written({**kept, **_statement(access)}), kept != told or patterns.is_too_much


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
        **_where(name),
        "contentSize": f"{facts.size} B",
        "sha256": facts.sha256,
    }


def _where(name: str) -> dict[str, str]:
    return {"contentUrl": name, "encodingFormat": _kind_of(name)}


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
    patterns: _Patterns,
    new_name: Callable[[str], str],
    gone: set[str],
) -> Iterator[dict[str, Any]]:
    """Yield the items of a distribution that are published; note the others as gone."""
    for item in filter(lambda each: isinstance(each, dict), _list(document.get("distribution"))):
        of_item = {local_name(key): each for key, each in item.items()}
        kept = {key: each for key, each in item.items() if local_name(key) in _OF_FILES}
        url, kind = str(of_item.get("contentUrl", "")), str(of_item.get("encodingFormat", ""))
        if _is_a(item, "FileSet"):
            if of_set := patterns.of_set(of_item):
                yield {**kept, **of_set}
                continue
        elif name := _published_file(url, patterns.names, new_name):
            facts = files.get(name)
            yield {**kept, **(_of_file(name, facts) if facts else _where(name))}
            continue
        elif _REPOSITORY.match(kind):
            where = {"contentUrl": url} if url else {}
            yield {**kept, **where, "encodingFormat": kind, "sha256": _HASH_OF_REPOSITORY}
            continue
        gone.add(str(item.get("@id", of_item.get("name", ""))))


def _published_file(url: str, names: Collection[str], new_name: Callable[[str], str]) -> str:
    """Return the published file that an address means, by its path or the end of it."""
    path = url.partition("://")[2] or url.removeprefix("./")
    parts = path.split("?")[0].split("/")[-_MOST_FOLDERS:]
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        for each in (new_name(name), name):
            if each in names:
                return each
    return ""


class _Patterns:
    """Gives patterns of clean files as those of published ones, so many of them at most.

    Parameters
    ----------
    names : collection of str
        All published files.

    Attributes
    ----------
    names
    is_too_much : bool
        Whether there were more patterns, or more names to hold them against.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names, self.is_too_much = names, False
        self._suffixes = sorted({suffix_of(name) for name in names if is_image_name(name)})
        self._left, self._left_to_try = _MOST_PATTERNS, _MOST_TRIED
        self._found: dict[str, str] = {}

    def of_set(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return what is told of a set of files, by its patterns; empty where none is published."""
        includes, excludes = (
            [found for each in _texts(item.get(key)) if (found := self._published(each))]
            for key in ("includes", "excludes")
        )
        if not includes:
            return {}
        told = {"includes": includes, **({"excludes": excludes} if excludes else {})}
        plain = {key: each[0] if len(each) == 1 else each for key, each in told.items()}
        return {**plain, "encodingFormat": _kind_of(includes[0])}

    def _published(self, pattern: str) -> str:
        """Return a pattern as that of published files; empty where none is like it."""
        if pattern not in self._found:
            self._left -= 1
            if self._left < 0 or len(pattern) > _LONGEST_PATTERN:
                self.is_too_much = True
                return ""
            is_image = is_image_name(pattern, of_any_kind=True)
            others = [with_suffix(pattern, suffix) for suffix in self._suffixes if is_image]
            self._found[pattern] = next(filter(self._is_of_any, [pattern, *others]), "")
        return self._found[pattern]

    def _is_of_any(self, pattern: str) -> bool:
        is_like = _any_of([pattern])
        for name in self.names:
            self._left_to_try -= 1
            if self._left_to_try < 0:
                self.is_too_much = True
                return False
            if is_like(name):
                return True
        return False


def _texts(value: Any) -> list[str]:
    return [each for each in _list(value) if isinstance(each, str)]


def _any_of(patterns: list[str]) -> Callable[[str], bool]:
    """Return what tells whether a file is like a pattern, ``**/`` being any folders, or none."""
    both = {form for each in patterns for form in (each, each.replace("**/", ""))}
    either = re.compile("|".join(map(translate, sorted(both))) if both else "(?!)")
    return lambda name: either.match(name) is not None


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


def _is_a(value: dict[str, Any], kind: str) -> bool:
    kinds = [each for each in _list(value.get("@type", ())) if isinstance(each, str)]
    return any(local_name(each) == kind for each in kinds)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
