"""Does protection work? Train on clean, protected and restored images and compare."""

from dsguard.evaluation.comparison import Row, compare, psnr
from dsguard.evaluation.data import Data, digits, own_images
from dsguard.evaluation.pictures import triptychs
from dsguard.evaluation.report import html_report

__all__ = [
    "Data",
    "Row",
    "compare",
    "digits",
    "html_report",
    "own_images",
    "psnr",
    "triptychs",
]
