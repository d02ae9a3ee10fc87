"""The journal of a run: what it does, which shards are done, what became of each image.

It lies beside the destination, in ``<destination>.dsguard``, since it is not to be published: it
has hashes of clean images. A shard is done when its manifest is there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

from dsguard import errors as _errors
from dsguard.datasets.disclosure import LeftOut
from dsguard.datasets.place import JOURNAL, LocalPlace, Place
from dsguard.errors import DsguardError, FormatError, InputError

_SETTINGS, _LOCK, _DONE = "settings.json", "lock", "done"


@dataclass(frozen=True)
class Journal:
    """The journal of one destination."""

    place: Place

    @classmethod
    def of(cls, destination: Place) -> Journal:
        """Return the journal of a destination, whether there is one or not."""
        return cls(destination.beside(JOURNAL))

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
                if not self.place.exists(_SETTINGS):  # nothing was begun; a surrogate may be there
                    self.place.discard(_LOCK)
                    self.place.remove_if_empty()

    def settings(self) -> dict[str, str] | None:
        """Return what the run of this journal was asked to do, None where there was none."""
        if not self.place.exists(_SETTINGS):
            return None
        try:
            content = dict(json.loads(self.place.read(_SETTINGS)))
        except (TypeError, ValueError) as error:
            msg = f"{self.place}/{_SETTINGS} is damaged; start anew with --overwrite"
            raise FormatError(msg) from error
        return {str(name): str(value) for name, value in content.items()}

    def begin(self, settings: dict[str, str]) -> None:
        """Forget earlier runs and note what this one does."""
        self._clear()
        self.place.write(_SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())

    def forget(self) -> None:
        """Remove what was noted of the run; whoever holds the lock removes that."""
        self.place.discard(_SETTINGS)
        self._clear()

    def _clear(self) -> None:
        if self.place.exists(_DONE):
            self.place.discard(_DONE)
        for folder in ("shards", "stamps", "left-out"):
            self.place.clear(folder)

    def write(
        self, number: int, lines: list[str], stamp: str, left_out: dict[str, LeftOut]
    ) -> None:
        """Write the manifest of a shard, which makes it done.

        Before that, what its source was then, and what was left out beside its images.
        """
        self.place.write(_stamp(number), stamp.encode())
        told = {kind: asdict(each) for kind, each in left_out.items()}
        self.place.write(_left_out(number), json.dumps(told).encode())
        self.place.write(_manifest(number), "".join(line + "\n" for line in lines).encode())

    def drop(self, number: int) -> None:
        """Forget a shard."""
        self.place.discard(_manifest(number))

    def done(self) -> set[int]:
        """Return the numbers of the shards that are done."""
        names = self.place.files() if self.place.exists("") else []
        numbers = (
            n.removeprefix("shards/").removesuffix(".jsonl")
            for n in names
            if n.startswith("shards/")
        )
        return {int(number) for number in numbers if number.isdigit()}

    def finish(self, companions: list[str]) -> None:
        """Note that all shards are done, and the files that were copied beside them."""
        self.place.write(_DONE, json.dumps(companions).encode())

    def companions(self) -> list[str]:
        """Return the files that a finished run copied."""
        try:
            return [str(n) for n in json.loads(self.place.read(_DONE) or b"[]")]
        except (OSError, TypeError, ValueError):
            return []

    def is_finished(self) -> bool:
        """Tell whether all shards were done."""
        return self.place.exists(_DONE)

    def is_whole(self) -> bool:
        """Tell whether a run that was finished has the manifests of all its shards."""
        stamps = {name for name in self.place.files() if name.startswith("stamps/")}
        return not self.is_finished() or stamps == {_stamp(number) for number in self.done()}

    def lines(self, number: int) -> list[dict[str, Any]] | None:
        """Return the manifest of a shard, None where it is damaged."""
        try:
            text = self.place.read(_manifest(number)).decode()
            rows = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return None
        whole = all(
            isinstance(row, dict)
            and row.keys() >= _FIELDS
            and all(isinstance(row[name], str) for name in ("name", "file", "status"))
            for row in rows
        )
        return rows if whole else None

    def left_out(self, number: int) -> dict[str, LeftOut]:
        """Return what was left out beside the images of a shard."""
        name = _left_out(number)
        try:
            content = json.loads(self.place.read(name)) if self.place.exists(name) else {}
            return {kind: LeftOut(**each) for kind, each in content.items()}
        except (AttributeError, TypeError, ValueError, RecursionError):
            return {"?": LeftOut(1, name, "is not known: the journal is damaged")}

    def stamp(self, number: int) -> str:
        """Return what the source of a shard was when it was done."""
        name = _stamp(number)
        return self.place.read(name).decode() if self.place.exists(name) else ""


_FIELDS = {"name", "file", "status", "error"}


def told(lines: list[dict[str, Any]]) -> tuple[int, dict[str, DsguardError]]:
    """Return how many images of a manifest are done, and why others are not."""
    failed = {
        row["name"]: getattr(_errors, row["status"], InputError)(row["error"])
        for row in lines
        if row["error"] is not None
    }
    return len(lines) - len(failed), failed


def _stamp(number: int) -> str:
    return f"stamps/{number:05d}"


def _left_out(number: int) -> str:
    return f"left-out/{number:05d}.json"


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
