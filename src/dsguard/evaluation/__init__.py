"""Does protection work? Train on clean, protected and restored images and compare."""

from dsguard.evaluation.comparison import Row, compare, psnr
from dsguard.evaluation.pictures import triptychs
from dsguard.evaluation.report import html_report

__all__ = ["Row", "compare", "html_report", "psnr", "triptychs"]
