"""Pictures that show what protection does to images."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsguard.errors import MissingExtraError
from dsguard.kernels.contract import Images

if TYPE_CHECKING:
    from dsguard.evaluation.comparison import Row

_GAP = 6
_TITLE_HEIGHT = 26
_CELL = 96


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
            tile = Image.fromarray(np.squeeze(images[row])).convert("RGB")
            tile = tile.resize((cell_width, cell_height), Image.Resampling.NEAREST)
            sheet.paste(tile, (left, _TITLE_HEIGHT + row * (cell_height + _GAP)))
    return sheet


def check_plots() -> None:
    """See that curves can be drawn, before the trainings that they are of.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError.of("matplotlib", "demo")  # noqa: EM101


def curves(rows: Sequence[Row]) -> Image.Image:
    """Plot the test accuracy after each epoch, a line for each row.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    check_plots()
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with style.context("default"):  # not that of a matplotlibrc in the current folder
        figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="test accuracy, %", ylim=(0, 100))
        for number, row in enumerate(rows):
            line = ("-", "--", ":", "-.")[number // 10 % 4]  # colours come back after ten
            epochs = range(1, len(row.by_epoch) + 1)
            width = 5 - 4 * number / len(rows)  # a line that lies on another does not hide it
            tests = [100 * test for test in row.by_epoch]
            axes.plot(epochs, tests, line, label=row.name, linewidth=width)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize="small")
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return Image.open(file)
