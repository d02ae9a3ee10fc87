"""The key of ``dsguard protect``, kept by a platform before anything is protected under it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.cli.console import errors, load_key, printable, warn_of_repository
from dsguard.cli.options import was_given
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.cli.choices import Choices
    from dsguard.dmcp.client import Client
    from dsguard.keys import DatasetKey


def deposited_key(dataset: str, url: str | None, choices: Choices) -> DatasetKey:
    """Return the key of a dataset, which the platform has; a new one is made and deposited.

    The file of a new key is written first and stays, whatever happens then; where the platform has
    not taken it, it is to be named. A file that is not named may be of whoever gave the images. A
    dry run makes and deposits nothing.

    Raises
    ------
    DsguardError
        If the platform does not take it; or has the dataset already, and its key is not here.
    """
    from dsguard.bulk.checks import check_private
    from dsguard.cli.dmcp.connection import connected
    from dsguard.dmcp.login import login_for
    from dsguard.dmcp.names import check_dataset_name
    from dsguard.keys import DatasetKey

    path = key_file(check_dataset_name(dataset), choices)
    with connected(*login_for(url)) as client:
        there = _versions(client, dataset)
        if path.exists():
            check_private(path, "key", choices.source, choices.destination)
            key = load_key(path)
            if key.key_id not in there and not _is_named():
                msg = (
                    f"{path} is here, and its key {key.key_id} is not on the platform; if it is "
                    f"yours, name it, --key {path}: whoever has it can restore what it protects"
                )
                raise InputError(msg)
        elif there:
            msg = (
                f"{dataset} is on the platform already, and there is no key at {path}: give the "
                "key that its images are protected with, --key FILE; or make one more for it, "
                f"dsguard keygen {path}"
            )
            raise InputError(msg)
        else:
            key = DatasetKey.generate() if choices.dry_run else _made(path, choices)
        if key.key_id not in there and not choices.dry_run:
            version = client.deposit(dataset, key)["version"]
            _say(f"deposited key {key.key_id} as version {version} of {dataset}", choices)
    return key


def key_file(dataset: str, choices: Choices) -> Path:
    """Return where the key is, or is made; a key of the environment is that of another dataset."""
    named = choices.key_path if _is_named() else None
    return named or Path(f"{dataset}.key")


def _is_named() -> bool:
    """Tell whether the command names a key."""
    return was_given("key_path")


def tell_what_to_publish(
    dataset: str | None, choices: Choices, *, has_image_keys: bool = True
) -> None:
    """Say which of all that is there now others may have, and how it comes back."""
    from dsguard.formats.places import without_password

    there, key = str(choices.destination), choices.key_path
    quoted = shlex.quote(there)
    if dataset is not None:
        key = key_file(dataset, choices)
        how = (
            f"dsguard restore {quoted} restored --dataset {dataset}"
            if has_image_keys
            else f"dsguard dmcp restore {dataset} {quoted} restored"
        )
        then = (
            f"who wants it asks: dsguard dmcp request {dataset}\n"
            f"you answer: dsguard dmcp requests, then dsguard dmcp answer NUMBER --accept\n"
            f"then they restore: {how}"
        )
    else:
        against = shlex.quote(without_password(choices.source))
        then = (
            f"see that it comes back: dsguard verify {quoted} --key {shlex.quote(str(key))} "
            f"--against {against}" + _read_as(choices)
        )
    _say(f"publish {there}; keep to yourself {key} and {_journal_of(there)}\n{then}", choices)


def _read_as(choices: Choices) -> str:
    """Return the option that both sets were named to be read with, if there is one."""
    same = choices.out_format in ("auto", choices.in_format)
    return f" --in-format {choices.in_format}" if choices.in_format != "auto" and same else ""


def _journal_of(destination: str) -> str:
    """Return where the journal lies: beside the folder that a link leads to."""
    from dsguard.bulk.journal import Journal
    from dsguard.formats.places import LocalPlace, place_of

    usual, journal = f"{destination.rstrip('/')}.dsguard", Journal.of(place_of(destination)).place
    is_there = not isinstance(journal, LocalPlace) or (
        Path(usual).exists() and Path(usual).samefile(journal.path)
    )
    return usual if is_there else str(journal)


def _versions(client: Client, dataset: str) -> set[str]:
    """Return the ids of the keys that the platform has of a dataset of ours."""
    from dsguard.dmcp.connection import RefusedError

    try:
        return {str(row["key_id"]) for row in client.key_versions(dataset)}
    except RefusedError as refusal:
        if refusal.code == "no-dataset":
            return set()
        raise


def _made(path: Path, choices: Choices) -> DatasetKey:
    """Make a key where it is published with nothing."""
    from dsguard._published import repository_of
    from dsguard.bulk.checks import check_private
    from dsguard.keys import DatasetKey, passphrase_of_environment

    check_private(path, "key", choices.source, choices.destination)
    repository = repository_of(path)
    if repository is not None and not _is_named():
        msg = (
            f"the key would lie in the git repository {repository}, and be committed with it; give "
            "--key a place outside of it"
        )
        raise InputError(msg)
    key = DatasetKey.generate()
    key.save(path, passphrase_of_environment())
    _say(f"made key {key.key_id} in {path}: keep it safe and secret", choices)
    warn_of_repository(path)
    return key


def _say(text: str, choices: Choices) -> None:
    """Say something beside the result, which goes to stdout."""
    if not choices.quiet:
        for line in text.splitlines():
            errors.print(printable(line), highlight=False, markup=False, soft_wrap=True)
