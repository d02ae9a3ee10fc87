"""Attacks by those who have a few labelled clean images, and take the published labels for lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dsguard.evaluation.attacks.base import Labels, Prepare, Setting, known_of
from dsguard.evaluation.attacks.batches import quarter_turns
from dsguard.kernels.contract import Images
from dsguard.networks.training import classify


def few(percent: int) -> Prepare:
    """Return training on the attacker's few images alone: what the published ones have to beat.

    Parameters
    ----------
    percent : int
        How many images the attacker has, of as many as are published.
    """

    def alone(given: Setting) -> Setting:
        images, labels = _few(given, percent)
        return replace(given, images=images, labels=labels)

    return alone


def pseudo_labels(percent: int) -> Prepare:
    """Return training on the published images under labels that the few clean images teach.

    A network learns the few images, tells the classes of the published ones, and both together
    teach the next (Lee, ICML workshops 2013). Published labels are not looked at.
    """

    def relabelled(given: Setting) -> Setting:
        images, labels = _few(given, percent)
        labeller = given.learn(images, labels)
        guessed = classify(labeller, given.images, next(labeller.parameters()).device)
        return replace(
            given,
            images=np.concatenate([images, given.images]),
            labels=np.concatenate([labels, guessed]),
        )

    return relabelled


def self_supervised(percent: int) -> Prepare:
    """Return training on the few images, with features that the published images teach.

    A network learns which way up the published images are (Gidaris et al., ICLR 2018), and goes on
    from there. Published labels are not looked at.
    """

    def begun(given: Setting) -> Setting:
        images, labels = _few(given, percent)
        turns = np.arange(len(given.images)) % 4
        begin = given.learn(given.images, turns, quarter_turns)
        return replace(given, images=images, labels=labels, begin=begin)

    return begun


def _few(given: Setting, percent: int) -> tuple[Images, Labels]:
    """Return so many of the attacker's images, in turn from each class, each class at least once.

    They are repeated until they are as many as the published ones: a trainer with fewer images
    has time for more epochs.
    """
    known = known_of(given)
    nth = np.empty(len(known.labels), int)
    classes = np.unique(known.labels)
    for label in classes:
        own = np.flatnonzero(known.labels == label)
        nth[own] = np.arange(len(own))
    count = max(len(classes), len(given.images) * percent // 100)
    chosen = np.argsort(nth, kind="stable")[:count]
    again = np.resize(chosen, max(len(chosen), len(given.images)))
    return known.images[again], known.labels[again]
