"""Tell whether networks that learned from drawn pictures know something, or are lucky.

    python -m bench.chance ../shared/data/cifar10.tar.xz --claim sealed-blank --bfloat16

reads the networks that `bench.claims` trained on protected images, asks them about clean ones, and
relabels their answers (`dsguard.evaluation.chance`). Without DATA the page is made from the record.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from dsguard.evaluation import COUNTERMEASURES, Data, own_images
from dsguard.evaluation.chance import Luck, Shares, relabelled
from dsguard.evaluation.presets import PRESETS
from dsguard.evaluation.trainings import Shared, Training
from dsguard.evaluation.trials import Trial
from dsguard.evaluation.versions import Maker
from dsguard.fsp import choose_device
from dsguard.networks.training import classify

from .claims import CLAIMS, ROOT, made_here
from .report import put_into_page

RESULTS = ROOT / "bench" / "results" / "chance.json"


def main() -> None:
    """Ask the networks, relabel their answers, and write the figures and the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "claims")
    parser.add_argument("--claim", choices=CLAIMS, default="sealed-blank")
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--permutations", type=int, default=10_000)
    parser.add_argument("--bfloat16", action="store_true")
    given = parser.parse_args()
    if given.data is not None:
        found = answers(given)
        attacks, as_lucky = relabelled(found, given.permutations)
        figures = {
            "claim": given.claim,
            "recipe": given.preset,
            "permutations": given.permutations,
            "as_lucky": round(as_lucky, 4),
            "attacks": {name: told(luck, found[name]) for name, luck in attacks.items()},
            "command": f"python -m bench.chance {given.data.name} --claim {given.claim}",
            **made_here(),
        }
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    start, end = "<!-- chance: bench/chance.py -->", "<!-- end of chance -->"
    put_into_page(
        start, end, sentence(json.loads(RESULTS.read_text())), ROOT / "docs" / "efficacy.md"
    )


def answers(given: argparse.Namespace) -> dict[str, dict[int, Shares]]:
    """Return what the networks of a study answer to clean test images, by attack and seed.

    Attacks by somebody who has labelled clean images are left out.
    """
    preset = PRESETS[given.preset].computed_in(bfloat16=given.bfloat16 or None)
    data = own_images(
        given.data, preset.train_images, preset.test_images, known_limit=preset.known_images
    )
    folder = given.out / f"{given.preset}-{given.claim}"
    trained = {
        name: sorted(
            _seed(file) for file in folder.glob(f"seed*/{Trial('protected', name).slug}.pt")
        )
        for name, attack in COUNTERMEASURES.items()
        if attack.needs != "labels"
    }
    preset = replace(preset, seeds=tuple(sorted({s for seeds in trained.values() for s in seeds})))
    maker = Maker(data, folder, preset, CLAIMS[given.claim], None, lambda *_: None)
    shared = Shared(maker.versions().of, data, preset, folder, known=maker.known())
    return {
        name: {
            seed: _shares(shared, data, Training(Trial("protected", name), seed)) for seed in seeds
        }
        for name, seeds in trained.items()
        if seeds
    }


def _seed(file: Path) -> int:
    return int(file.parent.name.removeprefix("seed"))


def _shares(shared: Shared, data: Data, training: Training) -> Shares:
    """Return the answers of one network, whose training is done."""
    classes = int(data.test_labels.max()) + 1
    shares = np.zeros((classes, classes))

    def ask(network: nn.Module, images: npt.NDArray[np.uint8]) -> None:
        found = classify(network, images, choose_device())
        np.add.at(shares, (data.test_labels, found), 1 / len(found))

    row = shared.run(training, on_trained=ask)
    assert abs(np.trace(shares) - row.test_accuracy) < 0.005, "the network of the record"
    print(f"{training.trial.against:20} seed {training.seed}  {np.trace(shares):.1%}")
    return shares


def told(luck: Luck, of: dict[int, Shares]) -> dict[str, float]:
    """Return the figures of an attack, rounded."""
    return {"seeds": len(of), **{name: round(each, 4) for name, each in asdict(luck).items()}}


def sentence(found: dict[str, Any]) -> str:
    """Return the figures in words."""
    attacks = found["attacks"]
    luckiest = min(attacks, key=lambda name: attacks[name]["as_high"])
    figures = attacks[luckiest]
    return "\n".join(
        (
            f"Of the {len(attacks)} attacks whose networks are kept, "
            f"*{COUNTERMEASURES[luckiest].title}* is the luckiest: {figures['accuracy']:.1%}, "
            f"and {figures['mean']:.1%} ± {100 * figures['deviation']:.1f} "
            "with relabelled answers.",
            f"In {found['as_lucky']:.0%} of {found['permutations']:,} relabellings some attack is "
            "as lucky.",
        )
    )


if __name__ == "__main__":
    main()
