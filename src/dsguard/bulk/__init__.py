"""Whole datasets, in any format, on one machine or many.

`protect_dataset`, `restore_dataset` and `verify_dataset` are for scripts. Each cuts the dataset
into shards and runs `process_shard` on them, which is all that an engine of your own has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsguard.bulk.run import SHARD_SIZE, Progress, Report, Settings, TooManyErrors, run
from dsguard.bulk.selection import Selection, output_names, select
from dsguard.bulk.shard import ShardResult, ShardSpec, process_shard
from dsguard.bulk.tasks import ClassWise, Perturbation, Protect, Restore, SampleWise, Veil, Verify
from dsguard.bulk.training_set import load_training_set
from dsguard.covers import EPSILON
from dsguard.datasets import Source, open_source
from dsguard.errors import InputError, WorkerError
from dsguard.profiles import DEFAULT, Profile

if TYPE_CHECKING:
    import os

    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey

    Location = str | os.PathLike[str]

__all__ = [
    "SHARD_SIZE",
    "ClassWise",
    "Perturbation",
    "Protect",
    "Report",
    "Restore",
    "SampleWise",
    "Selection",
    "Settings",
    "ShardResult",
    "ShardSpec",
    "TooManyErrors",
    "Veil",
    "Verify",
    "WorkerError",
    "class_wise",
    "load_training_set",
    "output_names",
    "process_shard",
    "protect_dataset",
    "restore_dataset",
    "run",
    "select",
    "verify_dataset",
]


def protect_dataset(
    source: Source | Location,
    destination: Location,
    key: DatasetKey,
    surrogate: Surrogate | None = None,
    *,
    epsilon: int | None = None,
    profile: str | Profile = DEFAULT,
    progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """Protect a dataset with class-wise patterns, or with a veil.

    Parameters
    ----------
    source : Source, path-like or URL
    destination : path-like or URL
        Folder for the protected dataset. Its journal lies beside it, in ``<destination>.dsguard``:
        keep that, and do not publish it.
    key : DatasetKey
    surrogate : Surrogate, optional
        Whose class names are those of the dataset; profile ``"veil"`` takes none.
    epsilon : int, optional
        In grey levels; by default 16.
    profile : str or Profile
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
    """
    chosen = Profile.named(profile)
    task = Protect(key, chosen.name, _perturbation(key, surrogate, epsilon, chosen))
    return run(_source(source), task, destination, Settings(**settings), progress)


def _perturbation(
    key: DatasetKey, surrogate: Surrogate | None, epsilon: int | None, profile: Profile
) -> Perturbation:
    radius = EPSILON if epsilon is None else epsilon
    if not profile.needs_surrogate:
        return Veil(key, radius)
    if surrogate is None:
        msg = f"profile {profile.name} needs a surrogate"
        raise InputError(msg)
    return class_wise(surrogate, radius, profile)


def class_wise(surrogate: Surrogate, epsilon: int, profile: Profile) -> ClassWise:
    """Return the class-wise perturbation of a surrogate, as a profile carries it."""
    names = surrogate.class_names or tuple(str(label) for label in surrogate.classes)
    return ClassWise(surrogate.patterns, names, epsilon, profile.codec.grid)


def restore_dataset(
    source: Source | Location,
    destination: Location,
    key: DatasetKey,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """Restore a dataset; arguments as in `protect_dataset`."""
    return run(_source(source), Restore(key), destination, Settings(**settings), progress)


def verify_dataset(
    source: Source | Location,
    key: DatasetKey,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """See which images of a dataset can still be restored; nothing is written."""
    return run(_source(source), Verify(key), None, Settings(**settings), progress)


def _source(source: Source | Location) -> Source:
    return source if isinstance(source, Source) else open_source(source)
