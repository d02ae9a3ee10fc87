"""The journal of a run: what it does, which shards are done, what became of each image.

It lies beside the destination, in ``<destination>.dsguard``, since it is not to be published: it
has hashes of clean images. A shard is done when its manifest is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dsguard import errors as _errors
from dsguard._atomic import lock_or_raise, make_private
from dsguard._published import JOURNAL, SETTINGS
from dsguard.errors import DsguardError, FormatError, InputError
from dsguard.formats.disclosure import LeftOut
from dsguard.formats.limits import json_lines, load_json
from dsguard.formats.names import JOURNAL_FILES, fault_of, is_hidden
from dsguard.formats.places import LocalPlace, Place

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardResult

_DAMAGE = (ArithmeticError, AttributeError, TypeError, ValueError, RecursionError)
_SETTINGS, _LOCK, _DONE = SETTINGS, "lock", "done"  # the first two are `JOURNAL_FILES`
_INTENDED, _DRAWN, _BEFORE = "companions.json", "drawn.json", "before.json"
_DRAWN_BEFORE = "drawn-before.json"


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
            If there is another run, or `check` refuses the folder.
        """
        self.check()
        if not isinstance(self.place, LocalPlace):
            yield
            return
        self._make_private(self.place)
        self.place.hold()
        try:
            with self.place.lock_file(_LOCK) as file:
                _lock(file, str(self.place))
                self.place.hide_from_git()
                try:
                    yield
                finally:
                    if not self.place.exists(_SETTINGS):  # only a surrogate may have been begun
                        with contextlib.suppress(PermissionError):  # Windows: while it is open
                            self.place.discard(_LOCK)
                        self.place.show_to_git()
                        self.place.clear_scratch()
                        self.place.remove_if_empty()
        finally:
            self.place.release()

    def check(self) -> None:
        """Refuse a folder that is there and is no journal: runs remove and replace files in it.

        Raises
        ------
        InputError
            If it is a link, or has files that no run puts there.
        """
        if isinstance(self.place, LocalPlace) and self.place.path.is_symlink():
            msg = f"{self.place} is a link, and the journal of this run would lie there; remove it"
            raise InputError(msg)
        if isinstance(self.place, LocalPlace) and _is_of_others(self.place.path):
            msg = (
                f"{self.place} belongs to another user, and the journal of this run would lie "
                "there; choose another destination"
            )
            raise InputError(msg)
        names = self.place.files() if self.place.exists("") else []
        seen = [name for name in names if not is_hidden(name)]
        is_one = not set(JOURNAL_FILES).isdisjoint(seen)
        foreign = [name for name in seen if not (is_one and _OWN_FILES.fullmatch(name))]
        if foreign:
            msg = (
                f"{self.place} holds {foreign[0]!r}, which is of no run, and the journal of this "
                "run would lie there; choose another destination"
            )
            raise InputError(msg)

    @staticmethod
    def _make_private(place: LocalPlace) -> None:
        """Let nobody else read the journal, as one of an earlier version lets them."""
        names = place.files() if place.path.exists() else []
        make_private(place.path)
        if sys.platform == "win32":
            return
        for name in names:
            with contextlib.suppress(InputError, OSError), place.open(name) as file:
                os.fchmod(file.fileno(), 0o600)

    def settings(self) -> dict[str, str] | None:
        """Return what the run of this journal was asked to do, None where there was none."""
        if not self.place.exists(_SETTINGS):
            return None
        try:
            content = dict(load_json(self.place.read(_SETTINGS)))
        except (TypeError, ValueError, RecursionError) as error:
            msg = f"{self.place}/{_SETTINGS} is damaged; start anew with --overwrite"
            raise FormatError(msg) from error
        return {str(name): str(value) for name, value in content.items()}

    def begin(self, settings: dict[str, str]) -> None:
        """Forget earlier runs, but for what they have drawn, and note what this one does."""
        if told := self.drawn()[0]:
            self.place.write(_DRAWN_BEFORE, told.encode())
        self._clear()
        self.place.write(_SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())

    def keep_before(self, files: Collection[str]) -> None:
        """Note the files that are in the destination already, and of no run."""
        if files:
            self.place.write(_BEFORE, json.dumps(sorted(files)).encode())

    def drawn(self) -> tuple[str, bool]:
        """Return what a cover has drawn, empty for nothing; and whether it was for this run."""
        for name in (_DRAWN, _DRAWN_BEFORE):
            if self.place.exists(name):
                return self.place.read(name).decode(errors="replace"), name == _DRAWN
        return "", False

    def keep_drawn(self, drawn: str) -> None:
        """Note what a cover has drawn from the whole set.

        Raises
        ------
        InputError
            If it drew something else when the run began.
        """
        is_there = self.place.exists(_DRAWN)
        before = self.place.read(_DRAWN).decode() if is_there else ""
        if before != drawn and (is_there or self.done()):
            msg = (
                "the images that show themselves, or pictures that none may show, would be others "
                "than those of the shards that are done, since images were repaired, added or "
                "removed; begin anew with --overwrite"
            )
            raise InputError(msg)
        if drawn and not is_there:
            self.place.write(_DRAWN, drawn.encode())

    def forget(self) -> None:
        """Remove what was noted of the run; whoever holds the lock removes that."""
        self.place.discard(_SETTINGS)
        if self.place.exists(_DRAWN_BEFORE):
            self.place.discard(_DRAWN_BEFORE)
        self._clear()

    def _clear(self) -> None:
        for name in (_DONE, _INTENDED, _DRAWN, _BEFORE):
            if self.place.exists(name):
                self.place.discard(name)
        for folder in ("shards", "stamps", "beside", "intended"):
            self.place.clear(folder)

    def write(
        self,
        number: int,
        lines: list[str],
        stamp: str,
        result: ShardResult,
        also: list[str],
    ) -> None:
        """Write the manifest of a shard, which makes it done.

        Before that, what its source was then, and what lies beside its images: what was left out,
        is published, or sealed, and which patterns of what is dropped something was like. `also`
        has the files of the shard that are of no image.
        """
        self.place.write(_stamp(number), stamp.encode())
        beside = {
            "left_out": {kind: asdict(each) for kind, each in result.left_out.items()},
            "also": also,
            "sealed_fields": result.sealed_fields,
            "met": sorted(result.met),
            "published": sorted(result.published),
            "digests": [digest.hex() for digest in result.beside_digests],
            "written": result.written,
        }
        self.place.write(_beside(number), json.dumps(beside).encode())
        self.place.write(_manifest(number), "".join(line + "\n" for line in lines).encode())

    def drop(self, number: int) -> None:
        """Forget a shard."""
        self.place.discard(_manifest(number))

    def done(self) -> set[int]:
        """Return the numbers of the shards that are done."""
        names = self.place.files() if self.place.exists("") else []
        found = filter(None, map(_MANIFEST.fullmatch, names))
        return {int(match[1]) for match in found}

    def intend(self, companions: Collection[str]) -> None:
        """Note the files that are to be copied, before they are: a run may be killed meanwhile."""
        names = sorted({*companions, *self.companions()})
        self.place.write(_INTENDED, json.dumps(names).encode())

    def intend_shard(self, number: int, start: int, files: Collection[str]) -> None:
        """Note files that a shard is to write, `start` of which are noted already.

        The manifest, which tells what it wrote, is not there if the run is killed meanwhile.
        """
        name = f"intended/{number:05d}-{start}.json"
        self.place.write(name, json.dumps(sorted(files)).encode())

    def intended(self, but: Collection[int] = ()) -> set[str]:
        """Return the files that shards were to write, of a run that did not come to its end.

        Those of some shards are left out.
        """
        return set[str]().union(*map(self._names_in, self._notes(but)))

    def forget_intended(self, but: Collection[int]) -> None:
        """Remove these notes, but for those of some shards."""
        for note in self._notes(but):
            self.place.discard(note)

    def _notes(self, but: Collection[int]) -> list[str]:
        """Return the files of `intend_shard`, but for those of some shards."""
        names = self.place.files() if self.place.exists("") else []
        found = filter(None, map(_NOTE.fullmatch, names))
        return [match[0] for match in found if int(match[1]) not in but]

    def before(self) -> set[str]:
        """Return the files that were in the destination when the run began, and not of any."""
        return self._names_in(_BEFORE)

    def finish(self, companions: list[str]) -> None:
        """Note that all shards are done, and the files that were copied beside them."""
        self.place.write(_INTENDED, json.dumps(companions).encode())
        self.place.write(_DONE, json.dumps(companions).encode())
        self.place.clear("intended")  # the manifests tell it
        self.place.sync()

    def companions(self) -> list[str]:
        """Return the files that were copied beside the images, or that were to be."""
        return sorted(self._names_in(_DONE) | self._names_in(_INTENDED))

    def _names_in(self, file: str) -> set[str]:
        """Return the names that a file of the journal lists, none of one that is damaged."""
        with contextlib.suppress(OSError, TypeError, ValueError, RecursionError):
            found = set(map(str, load_json(self.place.read(file) or b"[]")))
            return {name for name in found if not fault_of(name)}
        return set()

    def is_finished(self) -> bool:
        """Tell whether all shards were done."""
        return self.place.exists(_DONE)

    def is_cut_short(self) -> bool:
        """Tell whether a run was begun that did not come to its end."""
        is_begun = self.place.exists(_SETTINGS)
        return is_begun and not (self.is_finished() and self.is_whole())

    def is_whole(self) -> bool:
        """Tell whether a run that was finished has the manifests of all its shards."""
        stamps = {name for name in self.place.files() if name.startswith("stamps/")}
        return not self.is_finished() or stamps == {_stamp(number) for number in self.done()}

    def lines(self, number: int) -> list[dict[str, Any]] | None:
        """Return the manifest of a shard, None where it is damaged."""
        try:
            text, rows = self.place.read(_manifest(number)).decode(), []
            for line in json_lines(text):
                rows.append(json.loads(line))
                if not _is_line(rows[-1]):
                    return None
        except (ValueError, RecursionError):
            return None
        return rows

    def left_out(self, number: int) -> dict[str, LeftOut]:
        """Return what was left out beside the images of a shard."""
        try:
            told = self._beside(number).get("left_out", {})
            return {
                str(kind): LeftOut(int(each["count"]), str(each["first"]), str(each["reason"]))
                for kind, each in told.items()
            }
        except (*_DAMAGE, LookupError):
            return {"?": LeftOut(1, _beside(number), "is not known: the journal is damaged")}

    def sealed_fields(self, number: int) -> int:
        """Return how many fields of a shard were sealed."""
        try:
            return int(self._beside(number).get("sealed_fields", 0))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return 0

    def met(self, number: int) -> set[str]:
        """Return the patterns of what is dropped that something in a shard was like."""
        return set(self._listed(number, "met"))

    def published(self, number: int) -> set[str]:
        """Return the kinds of what a shard has beside its images for all to read."""
        return set(self._listed(number, "published"))

    def beside_digests(self, number: int) -> list[bytes] | None:
        """Return digests of the files that a shard has beside images; None if it tells none."""
        try:
            return [bytes.fromhex(digest) for digest in self._beside(number)["digests"]]
        except (*_DAMAGE, LookupError):
            return None

    def written(self, number: int) -> str:
        """Return the stamp of the files of a shard; empty where it is not told."""
        try:
            return str(self._beside(number).get("written", ""))
        except _DAMAGE:
            return ""

    def also(self, number: int) -> list[str]:
        """Return the files of a shard that belong to none of its images."""
        return [name for name in self._listed(number, "also") if not fault_of(name)]

    def _listed(self, number: int, what: str) -> list[str]:
        try:
            return list(map(str, self._beside(number).get(what, ())))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return []

    def _beside(self, number: int) -> dict[str, Any]:
        name = _beside(number)
        return dict(load_json(self.place.read(name))) if self.place.exists(name) else {}

    def stamp(self, number: int) -> str:
        """Return what the source of a shard was when it was done."""
        name = _stamp(number)
        return self.place.read(name).decode(errors="replace") if self.place.exists(name) else ""


def _is_line(row: Any) -> bool:
    """Tell whether this is a line of a manifest, all of whose files are where they may be."""
    if not (
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in ("name", "file", "status"))
        and isinstance(row.get("error", 0), str | None)
        and isinstance(row.get("beside", []), list)
    ):
        return False
    files = [*filter(None, [row["file"]]), *row.get("beside", [])]
    return all(isinstance(name, str) and not fault_of(name) for name in files)


def told(lines: list[dict[str, Any]]) -> tuple[int, dict[str, DsguardError]]:
    """Return how many images of a manifest are done, and why others are not."""
    failed = {
        row["name"]: _kind(row["status"])(row["error"]) for row in lines if row["error"] is not None
    }
    return len(lines) - len(failed), failed


def _kind(status: str) -> type[DsguardError]:
    """Return the class of errors that a manifest names."""
    kind = getattr(_errors, status, None)
    return kind if isinstance(kind, type) and issubclass(kind, DsguardError) else InputError


def _stamp(number: int) -> str:
    return f"stamps/{number:05d}"


def _beside(number: int) -> str:
    return f"beside/{number:05d}.json"


def _manifest(number: int) -> str:
    return f"shards/{number:05d}.jsonl"


_OWN_FILES = re.compile(
    r"settings\.json|lock|surrogate\.(pt|tag)|done|companions\.json|drawn(-before)?\.json"
    r"|before\.json|shards/[^/]*\.jsonl|stamps/\d+|(beside|left-out)/\d+\.json"
    r"|intended/\d+-\d+\.json"
)
"""Files of a journal, of damaged ones as well."""

_MANIFEST = re.compile(r"shards/([0-9]{5}|[1-9][0-9]{5,17})\.jsonl")
_NOTE = re.compile(r"intended/([0-9]{5}|[1-9][0-9]{5,17})-[0-9]+\.json")


def _is_of_others(folder: Path) -> bool:
    """Tell whether a folder is there, and neither ours nor of whom the folder above belongs to."""
    if sys.platform == "win32" or not folder.exists():
        return False
    return folder.stat().st_uid not in (os.geteuid(), folder.parent.stat().st_uid)


def _lock(file: BinaryIO, name: str) -> None:
    try:
        lock_or_raise(file)
    except (BlockingIOError, PermissionError) as error:
        msg = (
            f"another run is writing to this destination (it holds {name}/{_LOCK}); wait for it, "
            "or choose another destination"
        )
        raise InputError(msg) from error
    except OSError as error:
        msg = (
            f"{name}/{_LOCK} cannot be locked ({error.strerror}), so other runs could write there "
            "too; choose a destination on another file system, or mount this one with locks"
        )
        raise InputError(msg) from error
