"""A report of one page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from dsguard.evaluation.comparison import Row

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem;
    margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
  th, td { padding: .4rem .8rem; text-align: right; border-bottom: 1px solid #8884; }
  th:first-child, td:first-child { text-align: left; }
  img { max-width: 100%; image-rendering: pixelated; background: #fff; }
  dt { font-weight: 600; } dd { margin: 0 0 .4rem; }
</style>
<h1>$title</h1>
<p>$summary</p>
<table>
<tr><th>A network trained on images that are</th><th>train accuracy</th><th>test accuracy</th>
<th>best test accuracy of any epoch</th></tr>
$rows
</table>
<p>Test images are clean and were seen by no network.</p>
$pictures
<h2>How this was made</h2>
<dl>$facts</dl>
</html>
""")


def html_report(
    title: str,
    summary: str,
    rows: Sequence[Row],
    pictures: Mapping[str, Image.Image],
    facts: Mapping[str, str],
) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    title, summary : str
    rows : sequence of Row
    pictures : mapping of str to PIL.Image.Image
        Embedded in the page, each under its caption.
    facts : mapping of str to str
        Settings and measurements to list below the pictures.
    """
    cells = "\n".join(
        f"<tr><td>{html.escape(row.name)}</td><td>{row.train_accuracy:.1%}</td>"
        f"<td>{row.test_accuracy:.1%}</td><td>{row.peak_accuracy:.1%}</td></tr>"
        for row in rows
    )
    listed = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    return _PAGE.substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        rows=cells,
        pictures="\n".join(_figure(caption, image) for caption, image in pictures.items()),
        facts=listed,
    )


def _figure(caption: str, image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "png")
    data, text = base64.b64encode(file.getvalue()).decode(), html.escape(caption)
    return f'<h2>{text}</h2>\n<img src="data:image/png;base64,{data}" alt="{text}">'
