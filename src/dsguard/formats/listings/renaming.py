"""Text files that name images, with the names that the images have in a destination."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, unescape

from dsguard.formats.listings import coco, imagefolder
from dsguard.formats.listings.base import ImageIndex, follow, locate
from dsguard.formats.texts import decoded

_FILENAME = re.compile(rb"(?<=<filename>)[^<]+(?=</filename>)")


def renamed(companion: str, data: bytes, names: Mapping[str, str], index: ImageIndex) -> bytes:
    """Return the content of a file, in which images have their new names.

    That are COCO files, tables of image folders, and what LabelMe (``imagePath``) and Pascal VOC
    (``filename``) have beside each image. Any other file comes back as it is, and so does one in
    which no name is new.

    Parameters
    ----------
    companion : str
    data : bytes
    names : mapping of str to str
        New by old name, of the images that are written.
    index : ImageIndex
        All images of the dataset.

    Raises
    ------
    InputError
        If it names images, but cannot be written again.
    """
    if imagefolder.is_metadata(companion):
        return imagefolder.with_names(data, companion, names, index)
    if companion.endswith(".json"):
        return _json(data, companion, names, index)
    if companion.endswith(".xml"):
        return _xml(data, companion, names, index)
    return data


def unlisted(companion: str, data: bytes, index: ImageIndex) -> tuple[str, bool]:
    """Return the text of a file; whether it lists images, and what tells of them is out.

    Raises
    ------
    CouldHoldPictureError
        If it is no text.
    InputError
        If it names images, but cannot be written again.
    """
    left = renamed(companion, data, {}, index)
    if imagefolder.is_metadata(companion) and companion.endswith(".parquet"):
        return imagefolder.as_text(companion, left), left != data
    return decoded(left), left != data


def _json(data: bytes, file: str, names: Mapping[str, str], index: ImageIndex) -> bytes:
    content = coco.loaded(data, "images", "annotations") or coco.loaded(data, "imagePath")
    content = content or coco.listed(data, "images")
    if coco.lists_images(content):
        changed = coco.with_names(content, file, names, index)
    elif isinstance(content, dict) and isinstance(content.get("imagePath"), str):
        text = content["imagePath"]
        content["imagePath"] = _new(text, file, names, index)
        changed = content["imagePath"] != text
    else:
        changed = False
    return coco.dumped(content, json.detect_encoding(data)) if changed else data


def _xml(data: bytes, file: str, names: Mapping[str, str], index: ImageIndex) -> bytes:
    found = _FILENAME.findall(data)
    if len(found) != 1:  # of another kind
        return data
    try:
        text = unescape(found[0].decode()).strip()
    except UnicodeDecodeError:
        return data
    new = _new(text, file, names, index)
    return data if new == text else _FILENAME.sub(lambda _: escape(new).encode(), data)


def _new(text: str, file: str, names: Mapping[str, str], index: ImageIndex) -> str:
    """Return the new name of the one image that a file is about."""
    old = locate([text], file, index).images.get(text)
    return text if old is None or old not in names else follow(text, old, names[old])
