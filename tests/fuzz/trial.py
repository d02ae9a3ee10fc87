"""One mutated dataset, read and protected, verified or restored; and what must hold then."""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dsguard.bulk import Report, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import DsguardError
from dsguard.formats import open_source
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import KEY, Files, Seed, clean_pixels, write

MOST_MEMORY = 512 << 20
MOST_SECONDS = 20  # of CPU time: other work on the machine ends no run


class HangError(BaseException):
    """A dataset took too long; no handler of errors may take it for one."""


@dataclass(frozen=True)
class Outcome:
    """What became of a dataset.

    Attributes
    ----------
    status : {"done", "some failed", "refused", "fault"}
    detail : str
        The message, or what must not be: an exception of another kind with its traceback, a file
        outside of the destination, a clean picture in it, a wrong image, memory.
    """

    status: str
    detail: str = ""

    @property
    def cause(self) -> str:
        """What faults of one cause have in common: the exception and where it was raised."""
        lines = self.detail.rstrip().splitlines()
        places = [line.split(", in ")[0] for line in lines if "/dsguard/" in line]
        return (
            f"{lines[-1].split(':')[0]} {places[-1].rpartition('/dsguard/')[2] if places else ''}"
        )


def try_mutated(seed: Seed, number: int, random_seed: int, base: Path) -> Outcome:
    """Mutate a dataset below an empty folder, and try it."""
    rng = Random(f"{random_seed}/{seed.kind}/{number}")
    return try_files(mutated(seed.files, rng), seed, rng, base)


def try_files(
    files: Files, seed: Seed, rng: Random, base: Path, secrets: Sequence[bytes] = ()
) -> Outcome:
    """Work on a dataset; the folders above it are watched, and `secrets` must not be published."""
    root = base / "a" / "b"
    shutil.rmtree(base, ignore_errors=True)
    root.mkdir(parents=True)
    for keep in (base / "keep", base / "a" / "keep", root / "keep"):
        keep.write_bytes(b"not to be touched")
    write(files, root)
    before = _facts(base)
    memory = _memory_before()
    outcome = _worked_on(root, seed, rng)
    if outcome.status != "fault":
        is_whole = outcome.status == "done"
        wrong = _broken_promise(base, before, root, files, seed, secrets, is_whole=is_whole)
        outcome = Outcome("fault", wrong) if wrong else outcome
    taken = peak_memory() - memory
    if taken > MOST_MEMORY:
        outcome = Outcome("fault", f"memory: {taken >> 20} MiB in {seed.kind}")
    return outcome


def _worked_on(root: Path, seed: Seed, rng: Random) -> Outcome:
    try:
        with _limited_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = _done(root, seed, rng)
    except DsguardError as error:
        return _refused(error)
    except (Exception, HangError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            return Outcome("refused", str(error))  # the command line tells what the system says
        return Outcome("fault", traceback.format_exc())
    refused = next(filter(_is_memory, report.failures.values()), None)
    if refused is not None:
        return _refused(refused)
    return Outcome("some failed" if report.failed else "done")


def _refused(error: DsguardError) -> Outcome:
    if _is_memory(error):
        return Outcome("fault", f"memory: {error.message}")
    return Outcome("refused", error.message)


def _is_memory(error: BaseException | None) -> bool:
    """Tell whether a refusal is of memory that was asked for and not there."""
    if error is None or isinstance(error, MemoryError) or not isinstance(error, DsguardError):
        return isinstance(error, MemoryError)
    if _is_memory(error.__cause__):
        return True
    told = error.message.lower()
    return any(word in told for word in ("unable to allocate", "cannot allocate", "malloc of size"))


def _done(root: Path, seed: Seed, rng: Random) -> Report:
    source = open_source(root / seed.location)
    source.names()
    source.left_out()
    source.companions()
    if not seed.is_protected:
        again = (root / "out.dsguard" / "done").exists()
        return protect_dataset(
            source, root / "out", KEY, profile="veil", epsilon=40, overwrite=again
        )
    if seed.kind != "journal" and rng.random() < 0.3:
        return verify_dataset(source, KEY)
    return restore_dataset(source, root / "out", KEY, overwrite=rng.random() < 0.5)


# ---- What must hold ----


def _broken_promise(
    base: Path,
    before: dict[str, tuple[int, int]],
    root: Path,
    files: Files,
    seed: Seed,
    secrets: Sequence[bytes],
    *,
    is_whole: bool,
) -> str:
    after = _facts(base)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if changed:
        return f"escape: {sorted(changed)[:3]}"
    if seed.is_protected:
        return _wrong_image(root, files, is_whole=is_whole)
    return _clean_picture(root, seed, secrets or _secrets(seed))


def _facts(base: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of all files that no run may change."""
    found: dict[str, tuple[int, int]] = {}
    own = (f"{base}/a/b/out", f"{base}/a/b/out.dsguard")
    for folder, folders, names in os.walk(base):
        folders[:] = [name for name in folders if f"{folder}/{name}" not in own]
        for name in names:
            status = os.lstat(f"{folder}/{name}")
            found[f"{folder}/{name}"] = (status.st_size, status.st_mtime_ns)
    return found


def _wrong_image(root: Path, files: Files, *, is_whole: bool) -> str:
    """Tell of a restored image that is none of the clean ones; what failed is black in arrays.

    A protected array beside an image that fails is copied as it came: of what is read as a folder
    of images, arrays are no part.
    """
    out = root / "out"
    if not out.is_dir():
        return ""
    with contextlib.suppress(DsguardError, OSError):
        for name, _, image in open_source(out).read():
            if isinstance(image, DsguardError) or not image.any():
                continue
            if (out / name).is_file() and (out / name).read_bytes() == files.get(f"out/{name}"):
                continue  # it lay there before
            if not is_whole and _is_copy_of_array(out, name, files):
                continue
            if image.tobytes() not in clean_pixels():
                return f"wrong image: {name}"
    return ""


def _is_copy_of_array(out: Path, name: str, files: Files) -> bool:
    """Tell whether an image lies in a file of arrays that is one of the input."""
    arrays = (out / f"{name.partition('/')[0]}{suffix}" for suffix in (".npy", ".npz"))
    return any(each.is_file() and each.read_bytes() in files.values() for each in arrays)


def _clean_picture(root: Path, seed: Seed, secrets: Sequence[bytes]) -> str:
    """Tell of a clean image file, or of clean pixels, that were published in whatever form."""
    for path in (root / "out").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if any(secret in data for secret in secrets) or _in_text(data, secrets):
                return f"clean picture: in {path.suffix or path.name} from {seed.kind}"
    return ""


def _in_text(data: bytes, secrets: Sequence[bytes]) -> bool:
    """Tell whether text has a secret in base64, in hexadecimal or as numbers."""
    for secret in secrets:
        start = secret[:48]  # of a length that ends with a character of base64
        forms = (base64.b64encode(start), start.hex().encode(), ",".join(map(str, start)).encode())
        if any(form in data for form in forms):
            return True
    return False


def _secrets(seed: Seed) -> list[bytes]:
    return [*clean_pixels(), *(data for data in seed.files.values() if _is_image(data))]


def _is_image(data: bytes) -> bool:
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"RIFF", b"P6"))


# ---- Time and memory ----


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _hang(*_: object) -> None:
    raise HangError


def _memory_before() -> int:
    """Forget the peak of memory so far; return what is in use."""
    with contextlib.suppress(OSError):  # another system: the peak of the process has to do
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """Return the most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
