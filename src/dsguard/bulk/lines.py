"""Lines of the manifest of a shard: an image each, or a file that cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardResult, ShardSpec
    from dsguard.errors import DsguardError
    from dsguard.formats.base import Rows
    from dsguard.formats.sink import Results

_quoted = json.encoder.encode_basestring_ascii  # `json.dumps` of text, without its detours


def line_of(
    name: str,
    spec: ShardSpec,
    hashes: tuple[str, str] = ("", ""),
    profile: str = "",
    error: DsguardError | None = None,
    file: str = "",
    beside: list[str] | None = None,
) -> str:
    """Return one line of the manifest, JSON."""
    status = spec.task.verb if error is None else type(error).__name__
    told = "null" if error is None else _quoted(error.message)
    return (
        f'{{"name": {_quoted(name)}, "file": {_quoted(file)}, '
        f'"sha256_in": "{hashes[0]}", "sha256_out": "{hashes[1]}", '
        f'"key_id": {_quoted(spec.task.key_name)}, "profile": "{profile}", "status": "{status}", '
        f'"error": {told}' + (f', "beside": {json.dumps(beside)}}}' if beside else "}")
    )


def fail(
    name: str, error: DsguardError, spec: ShardSpec, result: ShardResult, lines: list[str]
) -> None:
    """Note that a file cannot be read."""
    result.failures[name] = error.to_keep()
    result.broken += 1
    lines.append(line_of(name, spec, error=error))


def hashes_of(rows: Rows, results: Results, row: int) -> tuple[str, str]:
    """Return the SHA-256 of what came in and of what goes out: of files, else of pixels."""
    came: Any = rows.files[row] if rows.images is None else rows.images[row].tobytes()
    went: Any = results.files.get(row)
    if went is None and row in results.images:
        went = results.images[row].tobytes()
    return _sha256(came), _sha256(went)


def files_of(lines: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the files that lines of a manifest tell of."""
    files = (name for line in lines for name in (line["file"], *line.get("beside", ())))
    return {name for name in files if name}


def _sha256(data: object) -> str:
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else ""
