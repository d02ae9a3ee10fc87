"""COCO: a folder of images and JSON files that list them, with boxes and categories."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from dsguard.datasets.folder import FolderSource
from dsguard.datasets.place import Place
from dsguard.datasets.source import Part
from dsguard.errors import DsguardError, InputError


class CocoSource(FolderSource):
    """The class of an image is the category of its largest annotation, ``none`` without one."""

    kind = "coco"

    @staticmethod
    def recognises(place: Place, files: list[str]) -> bool:
        """Tell whether there is a JSON file that lists images and annotations."""
        for name in files:
            if name.endswith(".json") and PurePosixPath(name).parent.name == "annotations":
                try:
                    content = _loaded(place, name)
                except DsguardError:
                    continue
                if {"images", "annotations"} <= content.keys():
                    return True
        return False

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        """Cut the dataset; the annotations, which may be large, are read once for all parts."""
        return [
            replace(part, classes=tuple(map(self.class_of, part.names or ())))
            for part in super().parts(size, wanted)
        ]

    def class_of(self, name: str) -> str:
        path = PurePosixPath(name)
        split = path.parent.name
        known = self._known
        return known.get((split, path.name)) or known.get(("", path.name)) or "none"

    @cached_property
    def _known(self) -> dict[tuple[str, str], str]:
        """Class by split (the folder that a file of annotations is named for) and file name."""
        known: dict[tuple[str, str], str] = {}
        for name in self.companions():
            if not name.endswith(".json"):
                continue
            content = _loaded(self.place, name)
            if not {"images", "annotations"} <= content.keys():
                continue
            split = PurePosixPath(name).stem.rpartition("_")[2]
            for file, label in _classes(content).items():
                known[split, PurePosixPath(file).name] = label
                known.setdefault(("", PurePosixPath(file).name), label)
        return known


def _loaded(place: Place, name: str) -> dict[str, Any]:
    try:
        content = json.loads(place.read(name))
    except ValueError as error:
        msg = f"{place}/{name} is not JSON: {error}"
        raise InputError(msg) from error
    return content if isinstance(content, dict) else {}


def _classes(content: dict[str, Any]) -> dict[str, str]:
    """Return the class of each image of an annotation file, by file name."""
    try:
        categories = {c["id"]: str(c["name"]) for c in content.get("categories", ())}
        largest: dict[Any, tuple[float, str]] = {}
        for found in content["annotations"]:
            label = categories.get(found.get("category_id"), "")
            area = float(found.get("area") or 0)
            if label and area >= largest.get(found["image_id"], (-1.0, ""))[0]:
                largest[found["image_id"]] = (area, label)
        return {
            str(image["file_name"]): largest[image["id"]][1]
            for image in content["images"]
            if image["id"] in largest
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"an annotation file does not have the layout of COCO: {error!r}"
        raise InputError(msg) from error


def renamed(data: bytes, names: dict[str, str], split: str) -> bytes:
    """Return an annotation file with the new names of its images; as it is where none is new.

    Parameters
    ----------
    data : bytes
    names : dict of str to str
        New by old relative path.
    split : str
        Folder that the annotations are of, where images of several have the same name.
    """
    own = {PurePosixPath(old).name: PurePosixPath(new).name for old, new in names.items()}
    own |= {
        PurePosixPath(old).name: PurePosixPath(new).name
        for old, new in names.items()
        if PurePosixPath(old).parent.name == split
    }
    try:
        content = json.loads(data)
        images = content["images"] if isinstance(content, dict) else []
        changed = False
        for image in images:
            path = PurePosixPath(image["file_name"])
            new = own.get(path.name, path.name)
            changed |= new != path.name
            image["file_name"] = str(path.with_name(new))
    except (KeyError, TypeError, ValueError):
        return data
    return json.dumps(content, ensure_ascii=False).encode() if changed else data
