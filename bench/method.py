"""The figure of the method, with real pictures: ``python -m bench.method`` draws it.

It is docs/pictures/method.svg.
"""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

import dsguard
from dsguard.covers import Blank, shown
from dsguard.formats import encode_image

from .pictures import crops

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "method.svg"
SIDE = 112
"""Of a picture."""

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 430" role="img"
     font-family="Helvetica, Arial, sans-serif" font-size="14" fill="#1b1f24">
<title>How an image is protected, and restored</title>
<defs>
  <marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
          orient="auto"><path d="M0 0 10 5 0 10z" fill="#57606a"/></marker>
</defs>
<rect width="960" height="430" rx="12" fill="#fff"/>
"""


def pictures() -> dict[str, str]:
    """Return as URLs the pictures of the figure: a clean image, and what becomes of it."""
    clean, key, labels = crops()[1:2], dsguard.DatasetKey(bytes(range(32))), [0]
    done = dsguard.protect_batch(clean, key, labels=labels)
    assert not done.sidecars
    back = dsguard.restore_batch(done.images, key)
    assert (back == clean).all()
    planes = dsguard.inspect(done.images[0]).planes
    found = {
        "clean": clean,
        "cover": shown(Blank(key, labelled=True), clean, labels, 1),
        "low bits": done.images << np.uint8(8 - planes),
        "protected": done.images,
        "restored": back,
    }
    return {name: _url(images[0]) for name, images in found.items()}


def _url(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_image(image)).decode()


def picture(x: int, y: int, url: str, title: str, more: str = "") -> str:
    """Draw a picture with words below it."""
    middle = x + SIDE // 2
    return (
        f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" href="{url}"/>\n'
        + words(middle, y + SIDE + 20, title, "bold")
        + words(middle, y + SIDE + 38, more)
    )


def words(x: int, y: int, text: str, weight: str = "normal") -> str:
    """Write a line around x."""
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-weight="{weight}">{text}</text>\n'


def step(x: int, y: int, width: int, *lines: str, color: str = "#ddf4ff") -> str:
    """Draw a box around y with some lines in it."""
    high = 18 * len(lines) + 14
    top = y - high // 2
    box = f'<rect x="{x}" y="{top}" width="{width}" height="{high}" rx="6" fill="{color}"/>\n'
    texts = (words(x + width // 2, top + 21 + 18 * n, line) for n, line in enumerate(lines))
    return box + "".join(texts)


def arrow(*points: tuple[int, int]) -> str:
    """Draw a line along some points, with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="#57606a" stroke-width="2" '
        'marker-end="url(#end)"/>\n'
    )


def figure() -> str:
    """Return the whole figure."""
    url = pictures()
    key = "#fff8c5"
    return "".join((
        HEAD,
        picture(24, 30, url["clean"], "clean image"),
        picture(24, 262, url["cover"], "cover", "choose what shows"),
        arrow((136, 86), (168, 86)),
        step(168, 86, 128, "compress", "without loss"),
        arrow((296, 86), (328, 86)),
        step(328, 86, 128, "encrypt, with a", "key of the image", color=key),
        arrow((456, 86), (488, 86)),
        picture(488, 30, url["low bits"], "bits like noise"),
        arrow((544, 172), (544, 290)),
        arrow((136, 318), (472, 318)),
        step(472, 318, 144, "put bits into the", "low bits of the cover"),
        arrow((616, 318), (648, 318)),
        picture(648, 262, url["protected"], "protected image", "publish this"),
        arrow((704, 262), (704, 232)),
        step(634, 206, 140, "with the key:", "decrypt, check", color=key),
        arrow((704, 181), (704, 86), (824, 86)),
        picture(824, 30, url["restored"], "restored image", "equal to the last bit"),
        arrow((760, 318), (804, 318)),
        step(804, 318, 136, "without the key:", "the cover,", "and noise", color="#ffebe9"),
        "</svg>\n",
    ))  # fmt: skip


if __name__ == "__main__":
    OUT.write_text(figure())
