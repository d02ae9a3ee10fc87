"""The journal of a run: what it does, which shards are done, what became of each image.

It lies beside the destination, in ``<destination>.dsguard``, since it is not to be published: it
has hashes of clean images. A shard is done when its manifest is there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from dsguard import errors as _errors
from dsguard.datasets.place import LocalPlace, Place
from dsguard.errors import DsguardError, FormatError, InputError

SUFFIX = ".dsguard"
_SETTINGS, _LOCK, _DONE = "settings.json", "lock", "done"


@dataclass(frozen=True)
class Journal:
    """The journal of one destination."""

    place: Place

    @classmethod
    def of(cls, destination: Place) -> Journal:
        """Return the journal of a destination, whether there is one or not."""
        return cls(destination.beside(SUFFIX))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs away from the destination; it ends with the process, however that ends.

        There is no lock for places that fsspec reaches.

        Raises
        ------
        InputError
            If there is another run.
        """
        if not isinstance(self.place, LocalPlace):
            yield
            return
        self.place.path.mkdir(parents=True, exist_ok=True)
        with (self.place.path / _LOCK).open("w") as file:
            _lock(file, str(self.place))
            try:
                yield
            finally:
                if not self.place.exists(_SETTINGS):  # nothing was begun
                    shutil.rmtree(self.place.path)

    def settings(self) -> dict[str, str] | None:
        """Return what the run of this journal was asked to do, None where there was none."""
        if not self.place.exists(_SETTINGS):
            return None
        try:
            content = json.loads(self.place.read(_SETTINGS))
        except ValueError as error:
            msg = f"{self.place}/{_SETTINGS} is damaged; start anew with --overwrite"
            raise FormatError(msg) from error
        return {str(name): str(value) for name, value in content.items()}

    def begin(self, settings: dict[str, str]) -> None:
        """Forget earlier runs and note what this one does."""
        for name in self.place.files():
            if name.startswith("shards/") or name == _DONE:
                self.place.discard(name)
        self.place.write(_SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())

    def write(self, number: int, lines: list[str]) -> None:
        """Write the manifest of a shard, which makes it done."""
        self.place.write(_manifest(number), "".join(line + "\n" for line in lines).encode())

    def done(self) -> set[int]:
        """Return the numbers of the shards that are done."""
        names = self.place.files() if self.place.exists("") else []
        numbers = (n.removeprefix("shards/").removesuffix(".jsonl") for n in names if "/" in n)
        return {int(number) for number in numbers if number.isdigit()}

    def finish(self) -> None:
        """Note that all shards are done."""
        self.place.write(_DONE, b"")

    def is_finished(self) -> bool:
        """Tell whether all shards were done."""
        return self.place.exists(_DONE)

    def failures(self, number: int) -> tuple[int, dict[str, DsguardError]]:
        """Return how many images of a shard are done, and why others are not."""
        done, failed = 0, {}
        for line in self.place.read(_manifest(number)).decode().splitlines():
            row = json.loads(line)
            if row["error"] is None:
                done += 1
            else:
                kind = getattr(_errors, row["status"], InputError)
                failed[row["name"]] = kind(row["error"])
        return done, failed


def _manifest(number: int) -> str:
    return f"shards/{number:05d}.jsonl"


def _lock(file: IO[str], name: str) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this platform
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        msg = (
            f"another run is writing to this destination (it holds {name}/{_LOCK}); wait for it, "
            "or choose another destination"
        )
        raise InputError(msg) from error
