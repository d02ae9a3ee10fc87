"""Inputs that something went wrong with once, of `tests/data/malformed`: it does not again."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from random import Random

import pytest

import dsguard
from dsguard.errors import DsguardError
from tests import MALFORMED
from tests.data.make_malformed import CLEAN, FILES
from tests.fuzz.children import Died, in_child
from tests.fuzz.seeds import Seed, written
from tests.fuzz.trial import MOST_SECONDS, Outcome, try_files

HERE = MALFORMED
CASES = sorted(
    path.name for path in HERE.iterdir() if path.name != "keys" and path.suffix != ".key"
)
REFUSED = {
    "cifar-array-too-large", "cifar-array-without-bytes", "cifar-command", "cifar-deep",
    "cifar-dtype-with-objects", "cifar-memo", "npy-header-nested", "npy-header-open",
    "npy-shape-huge", "npy-shape-negative", "parquet-names-above", "tar-names-above",
    "zip-name-root", "zip-names-above",
}  # fmt: skip
"""Of which nothing is done; in others some images may be good."""
SECRETS = (*FILES, *(image.tobytes() for image in CLEAN))


def seed_of(case: str) -> Seed:
    """Return a case as a dataset: a file where it is one archive or array, else the folder."""
    if (HERE / case).is_file():  # an image
        return Seed(case, "in", {f"in/a/{case}": (HERE / case).read_bytes()})
    files = written(HERE / case, "in", "out", "out.dsguard")
    archives = ("zip", "tar", "npz", "npy", "parquet")
    location = next(iter(files)) if case.startswith(archives) else "in"
    return Seed(case, location, files)


def tried(base: Path, case: str) -> Outcome:
    seed = seed_of(case)
    return try_files(seed.files, seed, Random(case), base, secrets=SECRETS)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return what became of each case, in a process with bounded memory, which some may end."""
    work = partial(tried, tmp_path_factory.mktemp("malformed") / "base")
    return dict(in_child(work, CASES, 3 * MOST_SECONDS))


@pytest.mark.parametrize("case", CASES)
def test_cases(case, outcomes):
    outcome = outcomes[case]
    assert not isinstance(outcome, Died), outcome
    assert outcome.status != "fault", outcome.detail
    if case in REFUSED:
        assert outcome.status == "refused", outcome


@pytest.mark.parametrize("file", sorted((HERE / "keys").iterdir()), ids=lambda path: path.name)
def test_keys(file):
    with contextlib.suppress(DsguardError):
        assert dsguard.DatasetKey.load(file, "a passphrase") == dsguard.DatasetKey(bytes(32))
