"""Pictures that show what protection does to images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsguard.kernels.contract import Images

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
