"""Detection: which kind of dataset lies somewhere."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from dsguard.errors import InputError, raise_if_of_machine
from dsguard.formats.archive import TarSource, ZipSource
from dsguard.formats.arrays.cifar import CifarSource
from dsguard.formats.arrays.reader import NumpySource, is_array_file, label_files
from dsguard.formats.base import Source
from dsguard.formats.folder.opened import OpenedSource
from dsguard.formats.folder.reader import FolderSource, TreeSource
from dsguard.formats.images import is_image_name
from dsguard.formats.listings.coco import CocoListing
from dsguard.formats.listings.imagefolder import MetadataListing, is_metadata
from dsguard.formats.names import shard_name
from dsguard.formats.parquet.reader import ParquetSource
from dsguard.formats.places import (
    LocalPlace,
    Place,
    RemotePlace,
    is_url,
    local_path,
    without_password,
)
from dsguard.formats.programs.suffixes import is_loaded
from dsguard.formats.sealing import SEALED_FIELDS, has_sealed
from dsguard.formats.tar import is_tar
from dsguard.formats.webdataset.reader import WebDatasetSource

INPUT_FORMATS = (
    "folder", "archive", "webdataset", "parquet", "numpy", "cifar", "coco", "imagefolder"
)  # fmt: skip
_LISTINGS = (CocoListing, MetadataListing)
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tgz")
_FILES = (*_TAR_SUFFIXES, ".zip", ".parquet", ".npy", ".npz")


def open_source(
    location: str | os.PathLike[str], kind: str = "auto", *, images_of_any_kind: bool = False
) -> Source:
    """Open a dataset.

    Parameters
    ----------
    location : path-like or URL
        A folder of images in class folders; a tar or zip archive of one; a folder of WebDataset
        shards, of Parquet files or of ``.npy`` and ``.npz`` files, or one such file; the pickles of
        CIFAR-10 or CIFAR-100; a COCO dataset; a Hugging Face image folder with a table of metadata.
        A URL is opened by fsspec.
    kind : str
        ``"auto"`` finds it out by looking; else folder, archive, webdataset, parquet, numpy, cifar,
        coco or imagefolder.
    images_of_any_kind : bool
        Whether files count as images that are not decoded, but can be carried as files: ``.heic``,
        ``.dcm``, camera raw and the like (`dsguard.formats.images.CARRIED_SUFFIXES`).

    Raises
    ------
    InputError
        If there is nothing, nothing that dsguard reads, or more than one kind of it.

    Examples
    --------
    >>> import numpy as np, pathlib
    >>> from dsguard.formats import encode_image, open_source
    >>> pathlib.Path("photos/cat").mkdir(parents=True)
    >>> image = encode_image(np.zeros((32, 32, 3), np.uint8))
    >>> _ = pathlib.Path("photos/cat/1.png").write_bytes(image)
    >>> source = open_source("photos")
    >>> source.kind, source.names()
    ('folder', ['cat/1.png'])
    """
    if kind not in ("auto", *INPUT_FORMATS):
        msg = f"there is no format {kind!r}; the formats are: {', '.join(INPUT_FORMATS)}"
        raise InputError(msg)
    place, file = _located(local_path(location))
    source = _of_file(place, file, kind) if file else _of_folder(place, kind, images_of_any_kind)
    source.is_file = bool(file)
    source.has_images_of_any_kind = images_of_any_kind
    if isinstance(source, TreeSource):
        source.asked_for = kind
        _list(source)
    return source


def open_clean(location: str | os.PathLike[str], published: Source, kind: str = "auto") -> Source:
    """Open the clean dataset of a published one: where that is a shard, a tar file is one, too."""
    clean = open_source(location, kind, images_of_any_kind=True)
    is_shard = published.is_file and isinstance(published, WebDatasetSource)
    if kind == "auto" and is_shard and isinstance(clean, TarSource):
        return open_source(location, "webdataset", images_of_any_kind=True)
    return clean


def with_opened(
    source: TreeSource,
    opened: Place,
    clean: Mapping[str, str],
    of_samples: Collection[str],
    strange: Collection[str],
) -> OpenedSource:
    """Return a tree with the files that were sealed beside its images, its format found out anew.

    Parameters as `OpenedSource` has them.
    """
    whole = OpenedSource(source, opened, clean, of_samples, strange)
    _list(whole)
    return whole


def _list(source: TreeSource) -> None:
    """Have a tree take its classes from the files that list its images, if there are any."""
    kind = source.asked_for
    for listing in _LISTINGS:
        if kind in ("auto", "archive", listing.kind) and listing.recognises(source):
            source.listing = listing
            if not source.is_file:
                source.kind = listing.kind
            return
    if kind in ("coco", "imagefolder"):
        files = {
            "coco": "JSON file in annotations/, beside the images or above them",
            "imagefolder": "metadata.csv, metadata.jsonl or metadata.parquet",
        }
        msg = f"{source} has no {files[kind]} that lists any of its images"
        raise InputError(msg)


def _located(location: str | os.PathLike[str]) -> tuple[Place, str]:
    """Return a folder and, where a file is meant, its name in it."""
    if is_url(location):
        parent, _, name = os.fspath(location).rstrip("/").rpartition("/")
        address, query, _ = os.fspath(location).partition("?")
        if query and address.endswith(_FILES):
            msg = f"{without_password(address)}?…: addresses with a query are not read; download it"
            raise InputError(msg)
        whole = RemotePlace(os.fspath(location).rstrip("/"))
        if name and name.endswith(_FILES):
            return RemotePlace(parent), name
        if not whole.exists(""):
            msg = f"there is nothing at {whole}"
            raise InputError(msg)
        return whole, ""
    path = Path(location)
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise InputError(msg)
    if path.is_dir():
        return LocalPlace(path), ""
    return LocalPlace(path.parent, asked_for=path.name), path.name


def _of_file(place: Place, file: str, kind: str) -> Source:
    if kind == "parquet" or file.endswith(".parquet"):
        return ParquetSource(place, [file])
    if kind == "numpy" or is_array_file(file):
        return NumpySource(place, [file, *filter(place.has_file, label_files(file))])
    try:
        with place.open(file) as opened:
            begins_as_zip = opened.read(4) in (b"PK\3\4", b"PK\5\6")
            opened.seek(0)
            is_zip = zipfile.is_zipfile(opened)
        if begins_as_zip and is_zip:
            return ZipSource(place, file)
        if begins_as_zip:
            msg = f"{place}/{file} is a zip archive that is damaged or truncated"
            raise InputError(msg)
        if is_tar(place, file):
            first_piece = f"{shard_name(file)}.0.{SEALED_FIELDS}"  # which no archive has
            if kind == "webdataset" or (kind == "auto" and has_sealed(place, first_piece)):
                return WebDatasetSource(place, [file])
            return TarSource(place, file)
        if is_zip:  # with something before it
            return ZipSource(place, file)
    except (EOFError, OSError, zipfile.BadZipFile) as error:
        raise_if_of_machine(error, f"{place}/{file}")
        msg = f"{place}/{file} cannot be read: {error}"
        raise InputError(msg) from error
    msg = f"{place}/{file} is neither a folder nor a tar, zip, Parquet or NumPy file"
    raise InputError(msg)


def _of_folder(place: Place, kind: str, images_of_any_kind: bool) -> Source:
    if kind in ("auto", "cifar") and CifarSource.recognises(place):
        return CifarSource(place)
    found = place.listing()
    if found.refused and not found.files:
        raise next(iter(found.refused.values()))
    files = [name for name in found.files if not name.rpartition("/")[2].startswith(".")]
    by_kind = {
        "parquet": [name for name in files if name.endswith(".parquet")],
        "webdataset": [
            name for name in files if name.endswith(_TAR_SUFFIXES) and not is_loaded(name)
        ],  # torch calls its checkpoints .pth.tar
        "numpy": [name for name in files if is_array_file(name)],
        "folder": [name for name in files if is_image_name(name, of_any_kind=images_of_any_kind)],
    }
    if kind == "auto":
        kind = _only_kind(place, by_kind)
    if kind in ("parquet", "webdataset", "numpy") and not by_kind[kind]:
        msg = f"{place} holds no {kind} files"
        raise InputError(msg)
    if kind == "parquet":
        return ParquetSource(place, by_kind["parquet"])
    if kind == "webdataset":
        return WebDatasetSource(place, by_kind["webdataset"])
    if kind == "numpy":
        return NumpySource(place, by_kind["numpy"])
    if kind == "cifar":
        msg = f"{place} does not hold the pickled batches of CIFAR-10 or CIFAR-100"
        raise InputError(msg)
    return FolderSource(place)


def _have_images(place: Place, arrays: list[str]) -> bool:
    try:
        return bool(NumpySource(place, arrays).names())
    except InputError:
        return False


def _only_kind(place: Place, by_kind: dict[str, list[str]]) -> str:
    """Return the kind of the files in a folder.

    Loose arrays among images are no dataset, neither are those without images beside shards, nor a
    table of metadata.
    """
    if by_kind["folder"]:
        by_kind["parquet"] = [name for name in by_kind["parquet"] if not is_metadata(name)]
    found = [kind for kind, names in by_kind.items() if names]
    is_one_of_several = "numpy" in found and len(found) > 1
    if is_one_of_several and ("folder" in found or not _have_images(place, by_kind["numpy"])):
        found.remove("numpy")
    if len(found) > 1:
        msg = (
            f"{place} holds several kinds of datasets: {', '.join(found)}; choose one (--in-format)"
        )
        raise InputError(msg)
    return found[0] if found else "folder"
