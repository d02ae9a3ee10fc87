"""Requests and answers with images in them: frames, tar, forms; in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from dsguard.datasets.images import with_suffix
from dsguard.datasets.source import safe_name
from dsguard.datasets.tar import END, members, packed
from dsguard.dmcp import frames
from dsguard.dmcp.access import Refused
from dsguard.errors import DsguardError

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from dsguard.dmcp.restoring import Restored
    from dsguard.dmcp.settings import Settings

TAR, FORM = "application/x-tar", "multipart/form-data"


def too_large(most: int) -> Refused:
    """Return the refusal of a request of more than `most` bytes."""
    return Refused(
        413, "too-large", f"a request has at most {most} bytes",
        "send the images in several requests",
    )  # fmt: skip


async def spooled(request: Request, body: BinaryIO, most: int) -> str:
    """Write the body of a request to a file, forms as frames; return its kind.

    Raises
    ------
    Refused
        If it is of another kind, or larger than `most` bytes.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (frames.CONTENT_TYPE, TAR, FORM):
        raise Refused(
            415, "content-type", f"images cannot be sent as {kind or 'nothing'}",
            f"send {frames.CONTENT_TYPE}, {TAR} or {FORM}",
        )  # fmt: skip
    if kind == FORM:
        async with request.form(max_files=1000) as form:
            for _, file in form.multi_items():
                if not isinstance(file, str):
                    await _frame(file, body)
    else:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large(most)
            body.write(piece)
    body.seek(0)
    return kind


async def _frame(file: UploadFile, body: BinaryIO) -> None:
    body.write(frames.packed(file.filename or "", "", await file.read()))


def images_of(kind: str, body: BinaryIO, settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield names and image files of a request.

    Raises
    ------
    Refused
        If it is damaged, or has a name that leaves its folder.
    """
    try:
        if kind == TAR:
            yield from _members(body, settings.image_bytes)
        else:
            for frame in frames.read(body, settings.image_bytes):
                yield frame.name, frame.data
    except (frames.BadFrameError, DsguardError) as error:
        raise Refused(
            400, "damaged", getattr(error, "message", str(error)), "send the images anew"
        ) from error


def _members(body: BinaryIO, most: int) -> Iterator[tuple[str, bytes]]:
    archive = _Sliced(body)
    for member in members(archive):  # type: ignore[arg-type]
        name = safe_name(member.name, "the archive")
        if member.link:
            raise Refused(400, "link", f"{name!r} is a link", "pack the files themselves")
        if member.size > most:
            raise Refused(
                413, "too-large", f"{name!r} has {member.size} bytes; {most} are allowed",
                "leave it out",
            )  # fmt: skip
        yield name, archive[member.data : member.data + member.size]


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
    if kind == frames.CONTENT_TYPE:
        return _as_frames(chunks), frames.CONTENT_TYPE
    return _as_tar(chunks), TAR


def _as_frames(chunks: Iterator[list[Restored]]) -> Iterator[bytes]:
    for chunk in chunks:
        yield b"".join(frames.packed(*image) for image in chunk)


def _as_tar(chunks: Iterator[list[Restored]]) -> Iterator[bytes]:
    for chunk in chunks:
        pieces: list[bytes] = []
        for image in chunk:
            if image.status == frames.OK:
                pieces += packed(with_suffix(image.name, ".png"), image.data)
            else:
                pieces += packed(f"{image.name or 'request'}.error.txt", image.status.encode())
        yield b"".join(pieces)
    yield END
