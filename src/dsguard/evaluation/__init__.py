"""Does protection work? Train on clean, protected and restored images and compare."""

try:
    import torch  # noqa: F401 - only to fail with a clear message where it is missing
except ImportError as error:
    from dsguard.errors import MissingExtraError

    raise MissingExtraError.of("torch", "demo") from error  # noqa: EM101

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
