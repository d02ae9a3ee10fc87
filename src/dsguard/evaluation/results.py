"""The results of a study as its folder has them; whoever wrote them, they are figures of trials."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from dsguard.errors import InputError
from dsguard.evaluation.attacks import COUNTERMEASURES
from dsguard.evaluation.comparison import Row
from dsguard.evaluation.trials import VERSIONS, Trial
from dsguard.networks.small import NETWORKS

Results = dict[Trial, dict[int, Row]]
"""By trial and seed."""


def results_in(file: Path) -> Results:
    """Return what the results of an earlier time tell; none where there is no such file.

    Raises
    ------
    InputError
        If they are no results: nothing else of the file is shown or written again.
    """
    if not file.exists():
        return {}
    found: Results = {}
    try:
        for entry in json.loads(file.read_text())["trials"]:
            trial = _trial(entry)
            for number, given in enumerate(entry["seeds"]):
                seed = given.get("seed", number)  # once they had no seed, from 0 on
                _require(type(seed) is int and seed >= 0)
                found.setdefault(trial, {})[seed] = _row(trial.title, given)
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise damaged(file) from error
    check_lengths(found, file)
    return found


def check_lengths(results: Results, file: Path) -> None:
    """Refuse trials whose seeds were not trained equally long.

    Raises
    ------
    InputError
    """
    for rows in results.values():
        if len({len(row.by_epoch) for row in rows.values()}) != 1:
            raise damaged(file)


def damaged(file: Path) -> InputError:
    """Return the error of a file that holds no results."""
    msg = f"{file} is damaged; remove it: the trainings beside it are not done again"
    return InputError(msg)


def _trial(entry: dict[str, Any]) -> Trial:
    trial = Trial(*(entry[field.name] for field in fields(Trial)))
    _require(type(trial.percent) is int and 1 <= trial.percent <= 100)
    _require(trial.version in VERSIONS or (trial.version == "unprotected" and trial.percent < 100))
    _require(trial.against in COUNTERMEASURES and trial.network in NETWORKS)
    return trial


def _row(title: str, given: dict[str, Any]) -> Row:
    train, test, peak = given["train_accuracy"], given["test_accuracy"], given["peak_accuracy"]
    by_epoch = given["by_epoch"]
    _require(type(by_epoch) is list and len(by_epoch) > 0)
    figures = (train, test, peak, *by_epoch)
    _require(all(type(each) in (int, float) and 0 <= each <= 1 for each in figures))
    return Row(title, train, test, peak, tuple(by_epoch))


def _require(good: bool) -> None:
    if not good:
        raise ValueError
