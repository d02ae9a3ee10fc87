"""Requests and answers with images in them: frames, tar, forms; in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dsguard.dmcp import frames
from dsguard.dmcp.access import Refused
from dsguard.dmcp.restoring import Restored, Upload, answered
from dsguard.errors import DsguardError
from dsguard.formats.beside import is_text
from dsguard.formats.names import plain_name
from dsguard.formats.tar import END, members, packed

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

_PIECE = 1 << 20
TAR, FORM = "application/x-tar", "multipart/form-data"


def too_large(most: int) -> Refused:
    """Return the refusal of a request of more than `most` bytes."""
    return Refused(
        413, "too-large", f"a request has at most {most} bytes",
        "send the images, or their ids, in several requests",
    )  # fmt: skip


class Sink(Protocol):
    """A file, or anything else that takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Append."""


async def spooled(request: Request, body: Sink) -> str:
    """Write the body of a request to a file, forms as frames; return its kind.

    How large it may be is for `dsguard.dmcp.middleware` to see to.

    Raises
    ------
    Refused
        If it is of another kind, or a form that cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (frames.CONTENT_TYPE, TAR, FORM):
        raise Refused(
            415, "content-type", f"images cannot be sent as {kind or 'nothing'}",
            f"send {frames.CONTENT_TYPE}, {TAR} or {FORM}",
        )  # fmt: skip
    if kind == FORM:
        try:
            async with request.form(max_files=1000) as form:
                for _, file in form.multi_items():
                    if not isinstance(file, str):
                        await _frame(file, body)
        except (UnicodeError, LookupError, frames.BadFrameError) as error:
            raise Refused(
                400, "damaged", f"the form cannot be read: {error}", "send it in UTF-8"
            ) from error
    else:
        async for piece in request.stream():
            body.write(piece)
    return kind


async def _frame(file: UploadFile, body: Sink) -> None:
    body.write(frames.head(file.filename or "image", "", file.size or 0))
    while piece := await file.read(_PIECE):
        body.write(piece)


def images_of(kind: str, body: BinaryIO, most: int) -> Iterator[Upload]:
    """Yield the images of a request; those of more than `most` bytes with that fault instead.

    An answer that is a tar needs names that are not alike: one that would be that of an earlier
    image, but for the suffix, gets another.

    Raises
    ------
    Refused
        If it is damaged, or has a name with control characters or that leaves its folder.
    """
    try:
        if kind == frames.CONTENT_TYPE:
            yield from _framed(body, most)
        else:
            yield from _unlike(_members(body, most) if kind == TAR else _framed(body, most))
    except (frames.BadFrameError, DsguardError) as error:
        raise Refused(
            400, "damaged", getattr(error, "message", str(error)), "send the images anew"
        ) from error


def _framed(body: BinaryIO, most: int) -> Iterator[Upload]:
    for frame in frames.read(body, most):
        yield Upload(plain_name(frame.name, "the request"), frame.data, frame.status)


def _members(body: BinaryIO, most: int) -> Iterator[Upload]:
    archive = _Sliced(body)
    if archive[0:2] == b"\x1f\x8b":
        raise Refused(
            400, "damaged", "the archive is compressed", "send it as it is: tar without z"
        )
    for member in members(archive):  # type: ignore[arg-type]
        name = plain_name(member.name, "the archive")
        if member.link:
            raise Refused(400, "link", f"{name!r} is a link", "pack the files themselves")
        if member.size > most:
            yield Upload(name, b"", frames.too_large(member.size, most))
        else:
            yield Upload(name, archive[member.data : member.data + member.size])


def _unlike(images: Iterator[Upload]) -> Iterator[Upload]:
    taken: dict[int, int] = {}  # hashes, of less memory than names; and how many came by each
    for image in images:
        name = image.name
        while (known := hash(out := answered(name))) in taken:
            taken[known] += 1
            stem, _, suffix = (image.name if is_text(image.name) else out).rpartition(".")
            name = f"{stem}.{taken[known]}.{suffix}" if stem else f"{out}.{taken[known]}"
        taken[known] = 1
        yield image._replace(name=name)


class _Sliced:
    """A file as bytes that are read when they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        self._file.seek(part.start)
        return self._file.read(part.stop - part.start)


def streamed(kind: str, chunks: Iterator[list[Restored]]) -> tuple[Iterator[bytes], str]:
    """Return the bytes of an answer, and its type."""
    return _answer(kind, chunks), answer_type(kind)


def _answer(kind: str, chunks: Iterator[list[Restored]]) -> Iterator[bytes]:
    for chunk in chunks:
        yield packed_chunk(kind, chunk)
    yield end_of_answer(kind)


def answer_type(kind: str) -> str:
    """Return the type of the answer to a body of some kind."""
    return kind if kind == frames.CONTENT_TYPE else TAR


def end_of_answer(kind: str) -> bytes:
    """Return what an answer ends with."""
    return b"" if kind == frames.CONTENT_TYPE else END


def packed_chunk(kind: str, chunk: list[Restored]) -> bytes:
    """Return a chunk as it is answered to a body of some kind."""
    if kind == frames.CONTENT_TYPE:
        return b"".join(frames.packed(image.name, image.status, image.data) for image in chunk)
    pieces: list[bytes] = []
    for image in chunk:
        if image.status == frames.OK:
            pieces += packed(image.answered, image.data)
        else:
            pieces += packed(f"{image.name or 'request'}.error.txt", image.status.encode())
    return b"".join(pieces)
