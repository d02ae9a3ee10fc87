"""Surrogates of whole datasets: loaded where there is one, else fitted to a part of the images."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.bulk.checks import check_private
from dsguard.bulk.selection import Selection, classes_in, select, wanted_names
from dsguard.errors import InputError
from dsguard.formats.load import load_training_set
from dsguard.formats.names import some_of
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    from dsguard.bulk.journal import Journal
    from dsguard.formats import Source
    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey

MOST_IMAGES = 50_000
"""Images that a surrogate is fitted to."""

EPOCHS = 15


def dataset_surrogate(
    source: Source,
    path: Path | None = None,
    *,
    selection: Selection | None = None,
    epochs: int = EPOCHS,
    device: str | None = None,
    on_start: Callable[[int], None] = lambda images: None,
    on_step: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Surrogate:
    """Return the surrogate of a dataset.

    Parameters
    ----------
    source : Source
    path : Path, optional
        Where it is kept: loaded from there if it exists, else fitted and written there.
    selection : Selection, optional
        The images that are meant.
    epochs : int
        Of the training of a new one.
    device : str, optional
        As torch names it.
    on_start : callable, optional
        Called with the number of images before a new one is trained.
    on_step : callable, optional
        Called with the name of a step, the rounds done, and their number.

    Raises
    ------
    InputError
        If the dataset has no images or one class only, or classes that the surrogate at `path` was
        not trained on; or if a new one would lie in what is published.

    Examples
    --------
    >>> from dsguard.bulk import dataset_surrogate
    >>> surrogate = dataset_surrogate("photos", "surrogate.pt", epochs=2)  # doctest: +SKIP
    """
    from dsguard.covers.pattern_fitting import ROUNDS
    from dsguard.fsp import Recipe, Surrogate, fit_surrogate

    if path is not None and path.is_file():
        surrogate = Surrogate.load(path, device)
        unknown = sorted(classes_in(source, selection) - set(surrogate.class_names))
        if unknown:
            msg = f"the surrogate {path} was not trained on the class(es): {some_of(unknown)}"
            raise InputError(msg)
        return surrogate
    if path is not None:
        check_private(path, "surrogate")
    chosen = select(wanted_names(source, selection), MOST_IMAGES)
    if not chosen:
        msg = f"{source} holds no images; expected class folders with image files"
        raise InputError(msg)
    images, classes = load_training_set(source, chosen)
    known = sorted(set(classes))
    check_classes(known)
    on_start(len(images))
    surrogate = fit_surrogate(
        images,
        [known.index(name) for name in classes],
        recipe=Recipe(epochs=epochs),
        device=device,
        class_names=known,
        on_epoch=lambda done: on_step("epochs", done, epochs),
        on_round=lambda done: on_step("patterns", done, ROUNDS),
    )
    if path is not None:
        surrogate.save(path)
    return surrogate


def check_classes(known: Collection[str]) -> None:
    """Raise InputError where there are fewer than two classes."""
    if len(known) < 2:
        msg = (
            "protection needs at least two classes: put the images of each class in a folder of "
            "its own, or give labels as the format has them"
        )
        raise InputError(msg)


def kept(journal: Journal, key: DatasetKey) -> bytes | None:
    """Return the file of the surrogate that a journal has; refuse one of no run with this key.

    Raises
    ------
    InputError
        If its code is another: it could leave images nearly as they are.
    """
    place = journal.place
    if not place.exists(SURROGATE):
        return None
    data = place.read(SURROGATE)
    told = place.read(_TAG) if place.exists(_TAG) else b""
    if not hmac.compare_digest(told, _code(data, key)):
        msg = (
            f"{place}/{SURROGATE} was made by no run with this key; remove it, or name it if you "
            "know where it comes from: --surrogate"
        )
        raise InputError(msg)
    return data


def keep(journal: Journal, key: DatasetKey, data: bytes) -> None:
    """Write the file of a surrogate to a journal, with the code that `kept` wants."""
    journal.place.write(SURROGATE, data)
    journal.place.write(_TAG, _code(data, key))


SURROGATE, _TAG = "surrogate.pt", "surrogate.tag"


def _code(data: bytes, key: DatasetKey) -> bytes:
    return hmac.new(randomness(key, 32, b"surrogate"), data, "sha256").hexdigest().encode()
