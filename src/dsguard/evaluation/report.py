"""A report of one page that needs no other file: what a network learns, and from which images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from dsguard.errors import MissingExtraError
from dsguard.evaluation.attacks import attack_named
from dsguard.evaluation.pictures import curves, tile
from dsguard.evaluation.trials import Trial, worst
from dsguard.kernels.contract import Images

if TYPE_CHECKING:
    from dsguard.evaluation.comparison import Row

Rows = Mapping[Trial, "Row"]

_SHOWN = 8
"""Images of each version."""

_CLEAN = ("clean", "restored")
"""Versions that are drawn as they are; others carry these, under a key that may be known."""

_QUALITY = 90
"""Of JPEG, in which protected images carry nothing any more."""


@dataclass(frozen=True)
class _Conclusion:
    """Test accuracies after training on one version: as it is, and under the worst attack."""

    version: str
    plain: float
    learned: float
    attacks: int
    worst: str


@dataclass(frozen=True)
class _Cell:
    accuracy: float
    worst: bool = False


@dataclass(frozen=True)
class _Line:
    title: str
    cells: list[_Cell | None]


@dataclass(frozen=True)
class _Table:
    title: str
    corner: str
    columns: list[str]
    rows: list[_Line]
    note: str = ""


def html_report(
    title: str,
    summary: str,
    rows: Rows,
    versions: Mapping[str, Images],
    facts: Mapping[str, str],
    settings: Mapping[str, object] | None = None,
) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    title, summary : str
    rows : mapping of Trial to Row
        In the order of the tables. The first has the clean images.
    versions : mapping of str to ndarray of uint8, shape (N, H, W, C)
        Versions of the same images to show side by side, under their names. Those called
        ``"clean"`` and ``"restored"`` are drawn as they are, and the page says so. All others are
        drawn lossy, so that nothing is restored from the page.
    facts : mapping of str to str
        Measurements to list; ``"Caution"`` is said beside the figures.
    settings : mapping of str to object, optional
        All that decides the figures, folded up at the end.

    Raises
    ------
    MissingExtraError
        Without matplotlib or jinja2.
    """
    try:
        from jinja2 import Environment, FileSystemLoader
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("jinja2", "demo") from error  # noqa: EM101
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
    )
    conclusions = _conclusions(rows)
    lines = _drawn(rows)
    return pages.get_template("report.html").render(
        title=title,
        summary=summary,
        conclusions=conclusions,
        caution=facts.get("Caution", ""),
        shown={
            name: _pictures(images, is_clean=name in _CLEAN) for name, images in versions.items()
        },
        clean=[name for name in _CLEAN if name in versions],
        most_shown=_SHOWN,
        tables=[_main_table(rows), *_partial_table(rows)],
        curve=_address(curves(*lines), "svg+xml"),
        curve_dark=_address(curves(*lines, dark=True), "svg+xml"),
        facts=facts,
        settings=dict(_flat(settings or {})),
        rows=rows.values(),
        percent=lambda accuracy: f"{accuracy:.1%}",
    )


def _of(rows: Rows, version: str) -> dict[str, float]:
    """Return the test accuracies of a version, all protected, by attack; of ResNet-18 alone."""
    return {
        trial.against: row.test_accuracy
        for trial, row in rows.items()
        if trial == Trial(version, trial.against)
    }


def _versions(rows: Rows) -> list[str]:
    return list(dict.fromkeys(trial.version for trial in rows if trial.percent == 100))


def _worst(rows: Rows) -> list[Trial]:
    """Return the attack that makes most of each protected version, where any was tried."""
    return [
        Trial(version, worst(learned))
        for version in _versions(rows)
        if version not in ("clean", "restored") and len(learned := _of(rows, version)) > 1
    ]


def _conclusions(rows: Rows) -> list[_Conclusion]:
    worst_of = {trial.version: trial for trial in _worst(rows)}
    found = []
    for version in _versions(rows):
        learned, most = _of(rows, version), worst_of.get(version, Trial(version))
        if "none" in learned:
            attacks = len(learned) - 1 if version in worst_of else 0
            way = "" if most.against == "none" else most.way
            plain = learned["none"]
            found.append(_Conclusion(version, plain, learned[most.against], attacks, way))
    return found


def _main_table(rows: Rows) -> _Table:
    """Return a row for each way of training, and a column for each version."""
    versions, most = _versions(rows), _worst(rows)
    whole = [trial for trial in rows if trial.percent == 100]
    ways = list(dict.fromkeys((trial.against, trial.network) for trial in whole))
    lines = []
    for against, network in ways:
        trials = [Trial(version, against, network) for version in versions]
        cells = [_Cell(rows[t].test_accuracy, t in most) if t in rows else None for t in trials]
        lines.append(_Line(trials[0].way, cells))
    notes = ["The worst attack on each protected version is marked."] if most else []
    if any(attack_named(against).needs == "labels" for against, _ in ways):
        notes.append(
            "Who has labelled clean images of their own learns from these as well; such attacks "
            "are told, and not taken for the worst."
        )
    return _Table(
        "What is learned", "the trainer takes the images", versions, lines, " ".join(notes)
    )


def _partial_table(rows: Rows) -> Iterable[_Table]:
    """Yield the table of trials where only some of the images are protected."""
    partial = dict.fromkeys((t.percent, t.against) for t in rows if t.percent < 100)
    lines = []
    for percent, against in partial:
        trials = [Trial(v, against, percent=percent) for v in ("protected", "unprotected")]
        cells = [_Cell(rows[t].test_accuracy) if t in rows else None for t in trials]
        lines.append(_Line(f"{percent} % protected, {trials[0].way}", cells))
    if lines:
        columns = ["trained on all", "on the others alone"]
        yield _Table("Where only some images are protected", "images", columns, lines)


def _drawn(rows: Rows) -> tuple[list[Row], list[Row]]:
    """Return the rows whose curves have a name, and the others."""
    most = _worst(rows)
    named = [t for t in rows if t == Trial(t.version) or t in most]
    return [rows[t] for t in named], [row for t, row in rows.items() if t not in named]


def _flat(settings: Mapping[str, object], within: str = "") -> Iterable[tuple[str, object]]:
    """Yield settings in settings under names like ``training.epochs``."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _pictures(images: Images, *, is_clean: bool) -> list[str]:
    kind = "png" if is_clean else "jpeg"
    return [_address(_file(tile(image), kind), kind) for image in images[:_SHOWN]]


def _file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=_QUALITY)  # of no effect on PNG
    return file.getvalue()


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
