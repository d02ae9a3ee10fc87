"""Everything that waits for a GPU, in pieces: FSP there and here, its speed, and whole trainings.

    python -m bench.gpu ../shared/data/cifar10.tar.xz --out out/gpu             # all, 8 minutes
    python -m bench.gpu ../shared/data/cifar10.tar.xz --out out/gpu --piece paper --minutes 30
    python -m bench.gpu ../shared/data/cifar10.tar.xz --out out/toy --device cpu --toy

Each row of a piece goes to ``gpu.json`` in ``--out`` as soon as it is there, and is not done again;
trainings go on from their last epoch. When the minutes are over it stops. Networks are too small to
fill a GPU, so several are trained at a time, each by a process that does its share of the rows.
With ``--toy`` all of it runs on a few images, to see that it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsguard.api import protect_batch, restore_batch
from dsguard.covers import Given
from dsguard.evaluation import Data, own_images, psnr
from dsguard.evaluation.attacks.base import Labels
from dsguard.evaluation.presets import PRESETS, Preset
from dsguard.evaluation.protection import Protection, Protects
from dsguard.evaluation.study import run_study
from dsguard.evaluation.trials import Trial
from dsguard.fsp import Attack, Surrogate, accuracy, choose_device, fit_surrogate, perturb
from dsguard.kernels.contract import Images
from dsguard.keys import DatasetKey
from dsguard.networks.training import frozen, to_pixels

Row = tuple[str, Callable[[], dict[str, Any]]]
PAPER_EPSILON = 18  # 0.07 of 255


class TimeIsUpError(Exception):
    """The minutes are over; what was done is kept."""


@dataclass(frozen=True)
class Work:
    """What pieces work with."""

    data: Data
    out: Path
    device: str
    toy: bool
    until: float
    share: tuple[int, int] = (0, 1)

    def check(self, *_: object) -> None:
        """Stop where the minutes are over."""
        if time.monotonic() > self.until:
            raise TimeIsUpError

    def preset(self, name: str) -> Preset:
        """Return a preset, or the same with little in it."""
        chosen = PRESETS[name]
        if not self.toy:
            return replace(chosen, seeds=(0,))
        small = {"training": replace(chosen.training, epochs=1), "width": 8, "seeds": (0,)}
        return replace(chosen, surrogate=replace(chosen.surrogate, epochs=1), **small)

    def surrogate(self) -> Surrogate:
        """Return the surrogate of all images, fitted once."""
        file = self.out / "surrogate.pt"
        if file.exists():
            return Surrogate.load(file, self.device)
        preset = self.preset("paper")
        surrogate = fit_surrogate(
            self.data.train_images,
            self.data.train_labels,
            recipe=preset.surrogate,
            width=preset.width,
            device=self.device,
            on_epoch=self.check,
            checkpoint=self.out / "surrogate-training.pt",
        )
        surrogate.save(file)
        return surrogate


@dataclass(frozen=True)
class PaperRecipe:
    """One reading of the paper's recipe, as studies take it in place of a protection.

    Attributes
    ----------
    goal : str
        ``"centroid"`` of another class, as dsguard has it, or one ``"image"`` of it, drawn.
    layer : str
    steps, block : int
        Of the attack; blocks of 1 are pixels.
    """

    goal: str
    layer: str
    steps: int
    block: int
    surrogate: Callable[[], Surrogate]
    data: Data
    needs_surrogate: bool = False

    @property
    def name(self) -> str:
        """As rows have it."""
        return f"{self.goal}, {self.layer}, {self.steps} steps, block {self.block}"

    def settings(self) -> dict[str, Any]:
        """Return all that decides what it makes."""
        return {"recipe": self.name}

    def protect(
        self, images: Images, labels: Labels, key: DatasetKey, *_: object
    ) -> tuple[Images, Images]:
        """Return protected images, and the same restored."""
        attack = Attack(
            PAPER_EPSILON, "sample-wise", self.block, steps=self.steps, layer=self.layer
        )
        surrogate = self.surrogate()
        if self.goal == "image":
            surrogate = replace(surrogate, centroids=self._of_images(surrogate))
        target = perturb(images, labels, surrogate, attack)
        batch = protect_batch(images, key, cover=Given(target), codec="paper")
        return batch.images, restore_batch(batch.images, key, sidecars=batch.sidecars)

    def _of_images(self, surrogate: Surrogate) -> dict[str, Tensor]:
        """Return the features of one image of each class, in place of those of all."""
        rng = np.random.default_rng(0)
        labels = self.data.train_labels
        chosen = [rng.choice(np.flatnonzero(labels == label)) for label in surrogate.classes]
        pixels = to_pixels(self.data.train_images[chosen], surrogate.device)
        with frozen(surrogate.model), torch.no_grad():
            return {self.layer: surrogate.model.features(pixels, self.layer).float()}


def main() -> None:
    """Do as much as the minutes allow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--piece", choices=PIECES, action="append")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=3, help="Trainings at a time.")
    parser.add_argument("--share", type=int, help="Which share of the trainings; usually all.")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    choose_device(given.device)
    given.out.mkdir(parents=True, exist_ok=True)
    limits = (64, 32) if given.toy else (None, None)
    until = time.monotonic() + 60 * given.minutes
    share = (given.share or 0, 1 if given.share is None else given.workers)
    data = own_images(given.data, *limits)
    work = Work(data, given.out, given.device, given.toy, until, share)
    pieces = given.piece or list(PIECES)
    try:
        for piece in pieces:
            if piece not in TRAININGS or given.share is not None:
                do(piece, work)
    except TimeIsUpError:
        print("the minutes are over; the same command goes on from here")
    if given.share is None and set(pieces) & set(TRAININGS):
        work.surrogate()
        side_by_side([piece for piece in pieces if piece in TRAININGS], given, until)


def side_by_side(pieces: list[str], given: argparse.Namespace, until: float) -> None:
    """Let processes do the trainings, each its share, and put together what they found."""
    command = [sys.executable, "-m", "bench.gpu", str(given.data), "--out", str(given.out)]
    command += ["--device", given.device, "--workers", str(given.workers)]
    command += ["--minutes", str(max(0.0, (until - time.monotonic()) / 60))]
    command += [word for piece in pieces for word in ("--piece", piece)]
    command += ["--toy"] if given.toy else []
    shares = [
        subprocess.Popen([*command, "--share", str(number)]) for number in range(given.workers)
    ]
    failed = [share.wait() for share in shares]
    found = read(given.out / "gpu.json")
    for file in sorted(given.out.glob("gpu-*.json")):
        for piece, rows in read(file).items():
            if isinstance(rows, dict):
                found.setdefault(piece, {}).update(rows)
            else:
                found.setdefault(piece, rows)
    write(given.out / "gpu.json", found)
    if any(failed):
        sys.exit("a share failed; what the others found is kept")


def read(file: Path) -> dict[str, Any]:
    """Return the rows that are there already."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write(file: Path, found: dict[str, Any]) -> None:
    """Keep rows."""
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def do(piece: str, work: Work) -> None:
    """Do the rows of a piece that are not there yet, of this share."""
    own, of = work.share
    file = work.out / ("gpu.json" if of == 1 else f"gpu-{own}.json")
    for number, (name, row) in enumerate(PIECES[piece](work)):
        found = read(file) or {"machine": machine(work)}
        rows = found.setdefault(piece, {})
        if number % of != own or name in rows:
            continue
        work.check()
        start = time.monotonic()
        rows[name] = {**row(), "seconds": round(time.monotonic() - start, 1)}
        print(piece, name, json.dumps(rows[name]), flush=True)
        write(file, found)


def equal(work: Work) -> Iterator[Row]:
    """Compare FSP on this device with that on the CPU."""

    def compared(attack: Attack) -> dict[str, Any]:
        surrogate, count = work.surrogate(), 256
        images, labels = work.data.train_images[:count], work.data.train_labels[:count]
        there = perturb(images, labels, surrogate, attack)
        here = perturb(images, labels, surrogate.to("cpu"), attack)
        surrogate.to(work.device)
        return {
            "equal samples": round(float((there == here).mean()), 4),
            "largest difference": int(np.abs(there.astype(np.int16) - here).max()),
            "PSNR to clean, dB: here, there": [
                round(psnr(images, made), 2) for made in (here, there)
            ],
        }

    yield "class-wise", lambda: compared(Attack(16, "class-wise", 4))
    yield "sample-wise, 5 steps", lambda: compared(Attack(16, "sample-wise", 1, steps=5))


def perturbing(work: Work) -> Iterator[Row]:
    """Time the perturbation of all images."""

    def timed(batch_size: int) -> dict[str, Any]:
        surrogate, data = work.surrogate(), work.data
        attack = Attack(16, "sample-wise", 1, batch_size)
        perturb(data.train_images[:batch_size], data.train_labels[:batch_size], surrogate, attack)
        start = time.monotonic()
        perturb(data.train_images, data.train_labels, surrogate, attack)
        return {
            "images": len(data.train_images),
            "seconds, 20 steps": round(time.monotonic() - start, 2),
        }

    for size in (256, 2048):
        yield f"batches of {size}", lambda size=size: timed(size)


def surrogates(work: Work) -> Iterator[Row]:
    """Fit a surrogate to all images, and test it."""

    def fitted() -> dict[str, Any]:
        surrogate, data = work.surrogate(), work.data
        place = torch.device(work.device)
        right = accuracy(surrogate.model, data.test_images, data.test_labels, place)
        return {"test accuracy": round(right, 4)}

    yield "all images", fitted


def paper(work: Work) -> Iterator[Row]:
    """Try readings of the paper's recipe: 38.23 % where clean images give 86.21 %, it says."""
    yield "clean", lambda: trained(work, "paper", _recipe(work), Trial("clean"))
    for goal, layer, steps, block in product(
        ("image", "centroid"), ("layer4", "layer3"), (20, 100), (1, 4)
    ):
        recipe = PaperRecipe(goal, layer, steps, block, work.surrogate, work.data)
        yield recipe.name, lambda of=recipe: trained(work, "paper", of, Trial("protected"))


def _recipe(work: Work) -> PaperRecipe:
    return PaperRecipe("centroid", "layer4", 1, 4, work.surrogate, work.data)


def field(work: Work) -> Iterator[Row]:
    """Return rows of the field's tables, as most of its papers train."""
    exact = Protection("exact", Attack.carried_by("exact", epsilon=16))
    sealed = Protection("sealed", Attack.carried_by("sealed", epsilon=16))
    for name, protection, trial in (
        ("clean", sealed, Trial("clean")),
        ("exact, ε 16", exact, Trial("protected")),
        ("exact, ε 16, undone", exact, Trial("protected", "undone")),
        ("sealed", sealed, Trial("protected")),
        ("sealed, JPEG 10", sealed, Trial("protected", "jpeg")),
        ("clean, JPEG 10", sealed, Trial("clean", "jpeg")),
    ):
        yield name, lambda of=protection, to=trial: trained(work, "field", of, to)


def trained(work: Work, preset: str, protection: Protects, trial: Trial) -> dict[str, Any]:
    """Train one network, and tell its accuracies."""
    named = json.dumps([protection.settings(), trial.slug])
    folder = work.out / f"{preset}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    study = run_study(
        work.data,
        folder,
        work.preset(preset),
        protection,
        trials=[trial],
        device=work.device,
        on_step=work.check,
    )
    row = study.rows[trial][0]
    return {"last": round(row.test_accuracy, 4), "best": round(row.peak_accuracy, 4)}


def machine(work: Work) -> str:
    """Say where and with what."""
    at = torch.device(work.device)
    name = torch.cuda.get_device_name(at) if at.type == "cuda" else platform.machine()
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


PIECES: dict[str, Callable[[Work], Iterator[Row]]] = {
    "equal": equal,
    "perturbing": perturbing,
    "surrogate": surrogates,
    "paper": paper,
    "field": field,
}
TRAININGS = ("paper", "field")


if __name__ == "__main__":
    main()
