"""Attacks on protected images by trainers without the key: each a file or a function, by name."""

from dsguard.evaluation.attacks.base import CounterMeasure, Known, Setting
from dsguard.evaluation.attacks.filters import block_means_removed
from dsguard.evaluation.attacks.named import COUNTERMEASURES, attack_named
from dsguard.evaluation.attacks.remover import remover
from dsguard.evaluation.attacks.undone import likeliest_undone, patterns_undone

__all__ = [
    "COUNTERMEASURES",
    "CounterMeasure",
    "Known",
    "Setting",
    "attack_named",
    "block_means_removed",
    "likeliest_undone",
    "patterns_undone",
    "remover",
]
