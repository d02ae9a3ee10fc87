"""Pictures that show what protection does to images."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsguard.errors import InputError, MissingExtraError
from dsguard.kernels.contract import Images

if TYPE_CHECKING:
    from dsguard.evaluation.comparison import Row

_GAP = 6
_TITLE_HEIGHT = 26
_CELL = 96
_MOST_SETTINGS = 1 << 20


def triptychs(versions: Mapping[str, Images], rows: int = 6) -> Image.Image:
    """Draw versions of the same images side by side.

    Parameters
    ----------
    versions : mapping of str to ndarray of uint8, shape (N, H, W, C)
        One column each, in this order, under its name.
    rows : int
        How many of the images to show, from the first on.

    Returns
    -------
    PIL.Image.Image
    """
    count = min(rows, *(len(images) for images in versions.values()))
    height, width = next(iter(versions.values())).shape[1:3]
    scale = max(1, round(_CELL / max(height, width)))
    cell_height, cell_width = height * scale, width * scale
    size = (
        len(versions) * (cell_width + _GAP) + _GAP,
        _TITLE_HEIGHT + count * (cell_height + _GAP),
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, (name, images) in enumerate(versions.items()):
        left = _GAP + column * (cell_width + _GAP)
        draw.text((left + cell_width // 2, 13), name, "black", font, anchor="mm")
        for row in range(count):
            shown = tile(images[row]).resize((cell_width, cell_height), Image.Resampling.NEAREST)
            sheet.paste(shown, (left, _TITLE_HEIGHT + row * (cell_height + _GAP)))
    return sheet


def tile(image: Images) -> Image.Image:
    """Return an image, shape (H, W, C), as one in RGB."""
    return Image.fromarray(np.squeeze(image)).convert("RGB")


def check_plots() -> None:
    """See that curves can be drawn, before the trainings that they are of.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    InputError
        If the current folder has a ``matplotlibrc`` that matplotlib cannot read.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError.of("matplotlib", "demo")  # noqa: EM101
    settings = Path("matplotlibrc")
    if settings.exists() and not settings.is_dir() and not _is_short_text(settings):
        msg = "the current folder has a matplotlibrc that is no text; work in another folder"
        raise InputError(msg)


def _is_short_text(path: Path) -> bool:
    """Tell whether a file is a regular one with a little text, as matplotlib reads it."""
    if not path.is_file() or path.stat().st_size > _MOST_SETTINGS:
        return False
    try:
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True


def curves(named: Sequence[Row], others: Sequence[Row] = (), *, dark: bool = False) -> bytes:
    """Plot the test accuracy after each epoch, a line for each row.

    Parameters
    ----------
    named : sequence of Row
        Lines with a colour and a name.
    others : sequence of Row
        Thin lines behind these.
    dark : bool
        Draw for a dark page. The ground is transparent.

    Returns
    -------
    bytes
        An SVG file.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    check_plots()
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Not the style of a matplotlibrc in the current folder; and the same file each time.
    fixed = {"svg.hashsalt": "dsguard", "font.size": 11}
    with style.context(["default", *(["dark_background"] if dark else []), fixed]):
        figure = Figure(figsize=(6, 4.2), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="test accuracy, %", ylim=(0, 100))
        for number, row in enumerate(named):
            line = ("-", "--", ":", "-.")[number // 10 % 4]  # colours come back after ten
            width = 5 - 3.5 * number / len(named)  # a line that lies on another does not hide it
            axes.plot(*_points(row), line, label=row.name, linewidth=width)
        for number, row in enumerate(others):
            label = f"{len(others)} others" if number == 0 else None
            axes.plot(*_points(row), color="gray", linewidth=0.5, zorder=1, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if named or others:
            figure.legend(loc="outside lower left", ncols=2, fontsize="small", frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _points(row: Row) -> tuple[range, list[float]]:
    return range(1, len(row.by_epoch) + 1), [100 * test for test in row.by_epoch]
