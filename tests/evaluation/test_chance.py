"""Whether networks are lucky: the share of relabellings is as likely as it says."""

from __future__ import annotations

import numpy as np

from dsguard.evaluation.chance import relabelled


def answers_of(rng, right):
    """Return the shares of 1,000 test images by class and answer; so many answers are right."""
    shares = np.zeros((10, 10))
    bias = rng.dirichlet(np.ones(10), 10)  # each class of images looks like some colours
    for label in range(10):
        found = np.where(rng.random(100) < right, label, rng.choice(10, 100, p=bias[label]))
        np.add.at(shares, (label, found), 1 / 1000)
    return shares


def test_lucky_networks_are_as_frequent_as_it_says():
    rng = np.random.default_rng(0)
    lucky = []
    for _ in range(150):
        names = {"one": (0,), "other": (0,), "several": (0, 1, 2)}
        answers = {
            name: {seed: answers_of(rng, 0.0) for seed in seeds} for name, seeds in names.items()
        }
        _, as_lucky = relabelled(answers, 200)
        lucky.append(as_lucky)
    assert 0.25 < np.mean(np.array(lucky) < 0.5) < 0.75
    assert np.mean(np.array(lucky) <= 0.1) < 0.2  # a tenth, by chance
    assert np.mean(np.array(lucky) <= 0.1) > 0.02


def test_networks_that_know_something_are_found():
    rng = np.random.default_rng(0)
    knows = {seed: answers_of(rng, 0.3) for seed in range(5)}
    guesses = {0: answers_of(rng, 0.0)}
    attacks, as_lucky = relabelled({"knows": knows, "guesses": guesses}, 2000)
    assert attacks["knows"].as_high < 0.01
    assert as_lucky < 0.01
    assert abs(attacks["knows"].mean - 0.1) < 0.02
    assert attacks["guesses"].as_high > 0.02
