"""Does protection work? Train on clean, protected and restored images and compare."""

import dsguard.networks  # noqa: F401 - says that torch is missing, and how to get it
from dsguard.evaluation.attacks import COUNTERMEASURES, CounterMeasure
from dsguard.evaluation.comparison import Row, cautions, learn, psnr
from dsguard.evaluation.data import Data, digits, own_images
from dsguard.evaluation.pictures import curves, triptychs
from dsguard.evaluation.report import html_report
from dsguard.evaluation.trials import Trial, matrix
from dsguard.networks.small import NETWORKS, build_network

__all__ = [
    "COUNTERMEASURES",
    "NETWORKS",
    "CounterMeasure",
    "Data",
    "Row",
    "Trial",
    "build_network",
    "cautions",
    "curves",
    "digits",
    "html_report",
    "learn",
    "matrix",
    "own_images",
    "psnr",
    "triptychs",
]
