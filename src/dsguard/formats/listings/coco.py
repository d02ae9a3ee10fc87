"""COCO: images, and JSON files that list them, with boxes and categories."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.disclosure import ClassPlace
from dsguard.formats.json_files import read_json, written_json
from dsguard.formats.limits import check_json, id_key
from dsguard.formats.listings.base import (
    NO_CLASS,
    ImageIndex,
    Listing,
    follow,
    locate,
    read_listing,
    within_size,
)
from dsguard.formats.names import LONGEST_PART

if TYPE_CHECKING:
    from dsguard.formats.folder.reader import TreeSource
    from dsguard.formats.review import Review

_LISTS = ("images", "annotations")
_KEYS = frozenset({*_LISTS, "categories", "licenses", "info"})
"""What goes with each image, as far as that takes it."""
_MOST_INFO = 1 << 10
"""Bytes of what is told of a dataset: it goes with each image."""
_MOST_FILES = 100
"""JSON files of a folder; where there are more, each is about one image, and none lists them."""


class CocoListing(Listing):
    """The class of an image is the category of its largest annotation, ``none`` without one."""

    kind = "coco"

    @staticmethod
    def recognises(source: TreeSource) -> bool:
        """Tell whether a JSON file lists images of the dataset and annotations."""
        for file in _candidates(source):
            content = listed(read_listing(source, file), *_LISTS)
            if is_coco(content):
                found = locate(_texts(content), file, source.index_of(file))
                if found.images or found.ambiguous:
                    return True
        return False

    def files(self) -> list[str]:
        return list(self._known[0])

    def whole(self) -> list[str]:
        """Return the files that have nothing but what goes with each image."""
        return self._known[2]

    def class_of(self, name: str) -> str:
        return self._known[1].get(name, NO_CLASS)

    def class_places(self) -> list[ClassPlace]:
        return [
            ClassPlace(f"{file}{above}", key, is_named=False)
            for file in self.files()
            for above, key in (("", ""), ("", "annotations"), ("/annotations", "category_id"))
        ]

    def classes_in(self, file: str, data: bytes) -> object:
        told = (listed(data, *_LISTS) or {}).get("annotations") or ()
        ids = ("image_id", "category_id")
        return Counter(repr([each.get(name) for name in ids]) for each in told)

    def remarks(self) -> list[str]:
        return [
            f"names in {file} that could mean several images: {len(texts)}, the first of them "
            f"{texts[0]!r}; they stay as they are, and these images get no class from it"
            for file, texts in self._known[0].items()
            if texts
        ]

    def fields(self, wanted: Collection[str], review: Review | None = None) -> dict[str, bytes]:
        found: dict[str, _Told] = defaultdict(_Told)
        size = 0
        for file, content, length in self._contents():
            size += length
            if review is not None and review.account.says(file) is False:
                continue
            images = locate(_texts(content), file, self.source.index_of(file)).images
            own: dict[Any, list[Any]] = defaultdict(list)
            for annotation in content["annotations"]:
                own[id_key(annotation["image_id"])].append(annotation)
            categories = _Entries(content.get("categories") or [])
            licenses = _Entries(_with_id(content.get("licenses")))
            info = content.get("info") if _is_short(content.get("info")) else None
            infos = {dumped(info): info} if info else {}
            for entry in content["images"]:
                image = images.get(entry["file_name"])
                if image is not None:  # an entry that is there twice tells nothing more
                    annotations = own.pop(id_key(entry["id"]), [])
                    told = _Told(
                        {name: value for name, value in entry.items() if name != "file_name"},
                        annotations,
                        categories.of(each.get("category_id") for each in annotations),
                        licenses.of([entry.get("license")]),
                        infos,
                    )
                    found[image].add(told if review is None else told.undropped(file, review))
        dumps = ((image, own.dumped()) for image, own in found.items() if image in wanted)
        return within_size(dumps, size)

    @cached_property
    def _known(self) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
        """The files and the ambiguous names of each; class by image; files that `whole` returns."""
        files, whole = dict[str, list[str]](), list[str]()
        best: dict[str, tuple[bool, float, str]] = {}
        for file, content, _ in self._contents():
            labels = _labels(content, file)
            found = locate(_texts(content), file, self.source.index_of(file))
            files[file] = found.ambiguous
            if _KEYS.issuperset(content) and _is_short(content.get("info")):
                whole.append(file)
            for text, image in found.images.items():
                given = (found.by_path, *labels.get(text, (-1.0, NO_CLASS)))
                if image not in best or given[:2] >= best[image][:2]:
                    best[image] = given
        return files, {image: label for image, (_, _, label) in best.items()}, whole

    def _contents(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Yield the files that list images, with their content and length."""
        for file in _candidates(self.source):
            data = self.read(file)
            content = listed(data, *_LISTS)
            if is_coco(content):
                yield file, content, len(data)


def _candidates(source: TreeSource) -> list[str]:
    """Return the JSON files that may list images, not those with the name of one image.

    They lie in ``annotations``, or in a folder that has images in it or below it.
    """
    files = [name for name in source.companions() if name.endswith(".json")]
    if not files:
        return []
    stems = {name.rpartition("/")[2].rpartition(".")[0] for name in source.index.names}
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in files:
        folder, _, file = name.rpartition("/")
        in_place = folder in source.index.folders or _is_annotations(folder)
        if in_place and not _is_of_an_image(file, stems):
            by_folder[folder].append(name)
    return [name for own in by_folder.values() if len(own) <= _MOST_FILES for name in own]


def _is_annotations(folder: str) -> bool:
    return folder.rpartition("/")[2].lower() == "annotations"


def _is_of_an_image(file: str, stems: set[str]) -> bool:
    """Tell whether a file is called as an image, but for its suffixes: ``x.meta.json``."""
    stem = file[:LONGEST_PART]
    while "." in stem:
        stem = stem.rpartition(".")[0]
        if stem in stems:
            return True
    return False


def loaded(data: bytes, *keys: str) -> Any:
    """Return the content of a JSON file that may have some keys, None of any other.

    Raises
    ------
    InputError
        If it may have them, and would take too much memory.
    """
    plain = json.detect_encoding(data).startswith("utf-8")
    if plain and not all(b'"%b"' % key.encode() in data for key in keys):
        return None  # saves the time of parsing it
    check_json(data)
    try:
        return read_json(data)
    except (ValueError, RecursionError):
        return None


def listed(data: bytes, *keys: str) -> Any:
    """Return what `loaded` does, and None of a file that is too large: its copy tells of it."""
    try:
        return loaded(data, *keys)
    except InputError:
        return None


def is_coco(content: Any) -> bool:
    """Tell whether a JSON file has the lists of COCO."""
    return lists_images(content) and isinstance(content.get("annotations"), list)


def lists_images(content: Any) -> bool:
    """Tell whether a JSON file lists images as COCO does; that of a test set has nothing more."""
    images = content.get("images") if isinstance(content, dict) else None
    return (
        isinstance(images, list)
        and bool(images)
        and isinstance(images[0], dict)
        and isinstance(images[0].get("file_name"), str)
    )


def _texts(content: dict[str, Any]) -> list[str]:
    """Return the names that a file has for its images."""
    entries = (entry for entry in content["images"] if isinstance(entry, dict))
    return [entry["file_name"] for entry in entries if isinstance(entry.get("file_name"), str)]


def _labels(content: dict[str, Any], file: str) -> dict[str, tuple[float, str]]:
    """Return size and category of the largest annotation of each image, by its name."""
    try:
        categories = _by_id(content.get("categories") or [], "name")
        images = _by_id(content["images"], "file_name")
        largest: dict[str, tuple[float, str]] = {}
        for found in content["annotations"]:
            label = categories.get(id_key(found.get("category_id")))
            text = images.get(id_key(found["image_id"]))
            area = _area(found)
            if label and text is not None and area >= largest.get(text, (-1.0, ""))[0]:
                largest[text] = (area, label)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        msg = (
            f"{file} does not have the layout of COCO: {reason}; mend it, or have the dataset read "
            "as a folder (--in-format)"
        )
        raise InputError(msg) from error
    return largest


def _by_id(entries: list[dict[str, Any]], name: str) -> dict[Any, str]:
    """Return the names of images or categories by id; refuse one that stands for two."""
    found: dict[Any, str] = {}
    for entry in entries:
        if not isinstance(entry[name], str | int):
            msg = f"{name} is {entry[name]!r}"
            raise TypeError(msg)
        text, key = str(entry[name]), id_key(entry["id"])
        if found.setdefault(key, text) != text:
            msg = f"{found[key]!r} and {text!r} have the same id, {entry['id']!r}"
            raise ValueError(msg)
    return found


def _area(annotation: Mapping[str, Any]) -> float:
    """Return the area of an annotation, where it has none that of its box."""
    given = annotation.get("area")
    if given is None:
        box = annotation.get("bbox")
        given = float(box[2]) * float(box[3]) if isinstance(box, list) and len(box) == 4 else 0
    area = float(given)
    if not math.isfinite(area):
        msg = f"an area is {area}"
        raise ValueError(msg)
    return area


class _Entries:
    """The categories or licenses of a file, by id."""

    def __init__(self, entries: list[Any]) -> None:
        self._texts = {dumped(each): each for each in entries}
        self._of: dict[Any, list[bytes]] = defaultdict(list)
        for text, each in self._texts.items():
            self._of[id_key(each["id"])].append(text)
        self._places = {text: place for place, text in enumerate(self._texts)}

    def of(self, ids: Iterable[Any]) -> dict[bytes, Any]:
        """Return those of some ids, by their text, in the order of the file."""
        texts = [text for each in set(map(id_key, ids)) for text in self._of.get(each, ())]
        return {text: self._texts[text] for text in sorted(texts, key=self._places.__getitem__)}


def _with_id(entries: Any) -> list[Any]:
    """Return the licenses that an image can have; others have no meaning."""
    given = entries if isinstance(entries, list) else []
    return [each for each in given if isinstance(each, dict) and "id" in each]


def _is_short(info: Any) -> bool:
    """Tell whether what is told of a dataset is short enough to go with each image."""
    return info is None or (isinstance(info, dict) and len(dumped(info)) <= _MOST_INFO)


@dataclass
class _Told:
    """What files tell about one image, with the categories and the license that it takes."""

    facts: dict[str, Any] = field(default_factory=dict)
    annotations: list[Any] = field(default_factory=list)
    categories: dict[bytes, Any] = field(default_factory=dict)
    licenses: dict[bytes, Any] = field(default_factory=dict)
    infos: dict[bytes, Any] = field(default_factory=dict)

    def add(self, more: _Told) -> None:
        """Add what another file or entry tells; of what was told before, that stays."""
        self.facts = more.facts | self.facts
        self.annotations += more.annotations
        self.categories.update(more.categories)
        self.licenses.update(more.licenses)
        self.infos.update(more.infos)

    def undropped(self, file: str, review: Review) -> _Told:
        """Return it without what its owner drops, by the names that it has in a file."""

        def left(key: str, values: list[Any]) -> list[Any]:
            found = review.drops.undropped(file, {key: values}, sealing=True) or {}
            return [each for each in found.get(key, ()) if each is not None]

        def left_of(key: str, by_text: dict[bytes, Any]) -> dict[bytes, Any]:
            kept = ((text, left(key, [each])) for text, each in by_text.items())
            return {text: own[0] for text, own in kept if own}

        facts = left("images", [self.facts])
        return _Told(
            facts[0] if facts else {},
            left("annotations", self.annotations),
            left_of("categories", self.categories),
            left_of("licenses", self.licenses),
            left_of("info", self.infos),
        )

    def dumped(self) -> bytes:
        """Return it as JSON."""
        more: dict[str, Any] = {
            "annotations": self.annotations,
            "categories": list(self.categories.values()),
        }
        if self.licenses:
            more["licenses"] = list(self.licenses.values())
        if self.infos:
            infos = list(self.infos.values())
            more["info"] = infos[0] if len(infos) == 1 else infos
        return dumped(self.facts | more)


def dumped(content: Any, encoding: str = "utf-8") -> bytes:
    """Return JSON; refuse what is nested too deep to be written."""
    try:
        try:
            return written_json(content).encode(encoding)
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can have
            return written_json(content, ensure_ascii=True).encode(encoding)
    except RecursionError as error:
        msg = "its JSON is nested too deep to be written again"
        raise InputError(msg) from error


def with_names(
    content: dict[str, Any], file: str, names: Mapping[str, str], index: ImageIndex
) -> bool:
    """Give the images of a COCO file their new names; tell whether any has one.

    Images of the dataset that have no new name were not written, and leave the lists, with all that
    tells their id.
    """
    images = locate(_texts(content), file, index).images
    kept, lost, changed = [], set[Any](), False
    for entry in content["images"]:
        text = entry.get("file_name") if isinstance(entry, dict) else None
        old = images.get(text) if isinstance(text, str) else None
        if old is not None and old not in names:
            lost.add(_text_of(entry.get("id")))
            continue
        if old is not None:
            entry["file_name"] = follow(entry["file_name"], old, names[old])
            changed |= entry["file_name"] != text
        kept.append(entry)
    if lost:
        gone = {text for text, old in images.items() if old not in names}
        content["images"] = kept
        for name, entries in content.items():
            if isinstance(entries, list) and name != "images":
                content[name] = [each for each in entries if not _tells_of(each, lost, gone)]
    return changed or bool(lost)


def _tells_of(entry: Any, lost: set[str], gone: set[str]) -> bool:
    """Tell whether an entry is about an image with one of some ids, or one of some names."""
    if not isinstance(entry, dict):
        return False
    name = entry.get("file_name")
    return _text_of(entry.get("image_id")) in lost or (isinstance(name, str) and name in gone)


def _text_of(given: Any) -> str:
    """Return an id as text, the same for 1, 1.0 and "1"."""
    is_whole = isinstance(given, float) and given.is_integer()
    return str(int(given) if is_whole else given)
