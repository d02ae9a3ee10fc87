"""Whole datasets, in any format, on one machine or many.

`protect_dataset`, `restore_dataset` and `verify_dataset` are for scripts. Each cuts the dataset
into shards and runs `process_shard` on them, which is all that an engine of your own has to do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dsguard.bulk.checks import check_temporary
from dsguard.bulk.keeping import keep_of
from dsguard.bulk.protecting import Protect
from dsguard.bulk.report import Progress, Report
from dsguard.bulk.run import TooManyErrors, run
from dsguard.bulk.selection import Selection, output_names, select
from dsguard.bulk.settings import SHARD_SIZE, Settings, SettingsOptions
from dsguard.bulk.shard import ShardResult, ShardSpec, process_shard
from dsguard.bulk.surrogates import dataset_surrogate
from dsguard.bulk.tasks import Restore, Verify
from dsguard.codecs import codec_named
from dsguard.covers import EPSILON, check_cover
from dsguard.errors import InputError, WorkerError
from dsguard.formats import Source, open_source
from dsguard.formats.detect import open_clean
from dsguard.formats.load import load_training_set
from dsguard.profiles import Profile

if TYPE_CHECKING:
    from dsguard.codecs import Codec
    from dsguard.covers import Cover
    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey, KeySource

    Location = str | os.PathLike[str]

__all__ = [
    "SHARD_SIZE",
    "Protect",
    "Report",
    "Restore",
    "Selection",
    "Settings",
    "ShardResult",
    "ShardSpec",
    "TooManyErrors",
    "Verify",
    "WorkerError",
    "dataset_surrogate",
    "load_training_set",
    "output_names",
    "process_shard",
    "protect_dataset",
    "protection_of",
    "restore_dataset",
    "run",
    "select",
    "verify_dataset",
]


def protect_dataset(
    source: Source | Location,
    destination: Location,
    key: DatasetKey,
    surrogate: Surrogate | Location | None = None,
    *,
    epsilon: int | None = None,
    profile: str | Profile | None = None,
    cover: Cover | None = None,
    codec: str | Codec | None = None,
    keep: str | None = None,
    cover_size: str = "own",
    progress: Progress | None = None,
    **settings: Unpack[SettingsOptions],
) -> Report:
    """Protect a dataset.

    Parameters
    ----------
    source : Source, path-like or URL
    destination : path-like or URL
        Folder for the protected dataset. Its journal lies beside it, in ``<destination>.dsguard``:
        keep that, and do not publish it.
    key : DatasetKey
    surrogate : Surrogate or path-like, optional
        Whose class names are those of the dataset; `dataset_surrogate` fits one. Profile ``"veil"``
        takes none. Profile ``"paper"`` runs it for each image: give the path of its file, which all
        workers can read.
    epsilon : int, optional
        In grey levels of 0 to 255; by default 16.
    profile : str or Profile, optional
        Names cover and codec, where these are not given; by default ``"sealed"``, or ``"exact"``
        where there is a surrogate.
    cover : Cover, optional
        What protected images show; its labels are the classes of the dataset, sorted.
    codec : str or Codec, optional
        How clean images are carried in them.
    keep : {"auto", "files", "pixels"}, optional
        What of an image comes back: the very file that it came in, with its name, colour profile
        and EXIF (codec ``sealed`` alone), or with ``"pixels"`` its samples, as a PNG or TIFF file.
        By default ``"auto"``: PNG files, and those without compression, are carried in parts, with
        their samples coded, where that is shorter, and others as they are; ``"files"`` carries all
        as they are. The same bytes come back. Codecs that carry no files carry samples. A run
        that goes on keeps what it began with. Where files are kept, those of kinds that are not
        decoded count as images; a `Source` says itself whether they do.
    cover_size : {"own", "fit"}
        Whether a protected image is as large as the image, or, where files are kept, as small as
        its file allows. Published images are smaller then, and their sizes tell those of the files.
    progress : callable, optional
        As `run` takes it.
    **settings
        As `Settings` takes them. With ``workers=`` of 2 or more the calling script needs
        ``if __name__ == "__main__":``, as all that use `multiprocessing` do.

    Returns
    -------
    Report

    Raises
    ------
    InputError, TooManyErrors, OSError
        As `run` does.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> from pathlib import Path
    >>> from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
    >>> from dsguard.formats import encode_image
    >>> for name in ("cats", "dogs"):
    ...     Path("photos", name).mkdir(parents=True)
    ...     file = encode_image(np.full((32, 32, 3), 90, np.uint8))
    ...     _ = Path("photos", name, "1.png").write_bytes(file)
    >>> key = dsguard.DatasetKey.generate()
    >>> protect_dataset("photos", "protected", key).done
    2
    >>> verify_dataset("protected", key, against="photos").different
    {}
    >>> restore_dataset("protected", "restored", key).done
    2
    """
    given = Settings(**settings)
    chosen = Profile.named(profile, perturbs=surrogate is not None)
    carrier = _carrier(chosen, cover, codec)
    task = protection_of(
        key,
        surrogate,
        epsilon=epsilon,
        profile=chosen,
        cover=cover,
        codec=carrier,
        keep=keep_of(keep, destination, carrier, overwrite=given.overwrite),
        cover_size=cover_size,
    )
    check_temporary(destination)
    opened = _source(source, images_of_any_kind=task.keeps_files)
    return run(opened, task, destination, given, progress)


def protection_of(
    key: DatasetKey,
    surrogate: Surrogate | Location | None = None,
    *,
    epsilon: int | None = None,
    profile: str | Profile | None = None,
    cover: Cover | None = None,
    codec: str | Codec | None = None,
    keep: str = "auto",
    cover_size: str = "own",
) -> Protect:
    """Return the task that protects; arguments as in `protect_dataset`.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import protection_of
    >>> task = protection_of(dsguard.DatasetKey(bytes(32)), keep="files")
    >>> task.codec.name, task.keep
    ('sealed', 'files')
    """
    chosen = Profile.named(profile, perturbs=surrogate is not None)
    carrier = _carrier(chosen, cover, codec)
    check_cover(cover)
    if cover is not None:
        if surrogate is not None or epsilon is not None:
            msg = "give a cover, or surrogate and epsilon for that of a profile, not both"
            raise InputError(msg)
        return Protect(key, cover, carrier, keep=keep, cover_size=cover_size)
    network = None if surrogate is None else _network(surrogate)
    if isinstance(network, Path) and chosen.shows != "attack":
        network = _loaded(network)
    made = chosen.cover(key, network, epsilon=EPSILON if epsilon is None else epsilon)
    names = () if network is None else class_names_of(network)
    return Protect(key, made, carrier, names, keep=keep, cover_size=cover_size)


def _carrier(chosen: Profile, cover: Cover | None, codec: str | Codec | None) -> Codec:
    """Return the codec that was asked for, else that of a profile, with its own cover or not."""
    own = chosen.codec if cover is None else chosen.plain_codec
    return codec_named(own if codec is None else codec)


def _network(surrogate: Surrogate | Location) -> Surrogate | Path:
    return Path(surrogate) if isinstance(surrogate, str | os.PathLike) else surrogate


def _loaded(path: Path) -> Surrogate:
    from dsguard.fsp import Surrogate

    return Surrogate.load(path)


def class_names_of(surrogate: Surrogate | Path) -> tuple[str, ...]:
    """Return the names of the classes that a surrogate was trained on."""
    network = _loaded(surrogate) if isinstance(surrogate, Path) else surrogate
    return network.class_names or tuple(str(label) for label in network.classes)


def restore_dataset(
    source: Source | Location,
    destination: Location,
    key: DatasetKey | KeySource,
    *,
    progress: Progress | None = None,
    **settings: Unpack[SettingsOptions],
) -> Report:
    """Restore a dataset; arguments as in `protect_dataset`.

    A `KeySource`, such as `dsguard.dmcp.GrantedKeys`, stands in place of the key for codec
    ``sealed``. Where it gives no keys any more the run ends with `NoKeysError`; it can go on later.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.bulk import protect_dataset, restore_dataset
    >>> np.save("images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> _ = protect_dataset("images.npy", "protected", key)
    >>> restore_dataset("protected", "restored", key).done
    2
    """
    return run(_source(source), Restore(key), destination, Settings(**settings), progress)


def verify_dataset(
    source: Source | Location,
    key: DatasetKey | KeySource,
    *,
    against: Source | Location | None = None,
    progress: Progress | None = None,
    **settings: Unpack[SettingsOptions],
) -> Report:
    """See which images of a dataset can still be restored; nothing is written.

    Parameters
    ----------
    source : Source, path-like or URL
        The protected dataset.
    key : DatasetKey or KeySource
    against : Source, path-like or URL, optional
        The clean dataset: what of it does not come back as it is, is in `Report.different`. Files
        are held against files, byte for byte, where they were kept, and pixels against pixels.
    progress, **settings
        As in `protect_dataset`.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.bulk import protect_dataset, verify_dataset
    >>> np.save("images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> _ = protect_dataset("images.npy", "protected", key)
    >>> report = verify_dataset("protected", key, against="images.npy")
    >>> report.done, report.differences
    (2, 0)
    """
    published = _source(source)
    clean = None
    if against is not None:
        clean = against if isinstance(against, Source) else open_clean(against, published)
    return run(published, Verify(key), None, Settings(**settings), progress, clean)


def _source(source: Source | Location, *, images_of_any_kind: bool = False) -> Source:
    if isinstance(source, Source):
        return source
    return open_source(source, images_of_any_kind=images_of_any_kind)


_MOVED = {
    "ClassWise": "Marked(Itself(), FittedPatterns(patterns, epsilon))",
    "SampleWise": "Marked(Itself(), Attacked(path, attack))",
    "Veil": "Marked(Other(key), DrawnPatterns(key, epsilon))",
    "Perturbation": "Cover",
    "class_wise": "protection_of of dsguard.bulk, or Marked(Itself(), FittedPatterns(patterns))",
}


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        msg = f"dsguard.bulk has no {name} any more; it is {_MOVED[name]}, of dsguard.covers"
        raise AttributeError(msg)
    msg = f"module 'dsguard.bulk' has no attribute {name!r}"
    raise AttributeError(msg)
