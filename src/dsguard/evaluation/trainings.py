"""The trainings of a study, one after the other or side by side in processes of their own."""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dsguard._atomic import temporary_subfolder
from dsguard._parallel.processes import Workers
from dsguard._parallel.threads import thread_count
from dsguard.evaluation.attacks import Known
from dsguard.evaluation.comparison import OnTrained, Row, learn
from dsguard.evaluation.data import Data
from dsguard.evaluation.presets import Preset
from dsguard.evaluation.trials import Trial
from dsguard.kernels.contract import Images

_LOOKS_EVERY = 0.5  # seconds, at how far the trainings are


@dataclass(frozen=True)
class Training:
    """A trial with one seed.

    Attributes
    ----------
    trial : Trial
    seed : int
        Of weights, order and the key.
    """

    trial: Trial
    seed: int = 0

    def checkpoint(self, out: Path) -> Path:
        """Return where it is kept after every epoch."""
        return out / f"seed{self.seed}" / f"{self.trial.slug}.pt"


@dataclass(frozen=True)
class Shared:
    """The things that all trainings of a study share.

    Attributes
    ----------
    versions : callable
        Returns the training images of a seed, arrays of uint8 of shape (N, H, W, C), by the names
        that trials have for them.
    data : Data
    preset : Preset
    out : Path, optional
        Where checkpoints are kept.
    device : str, optional
    known : Known, optional
        Images of an attacker's own.
    """

    versions: Callable[[int], Mapping[str, Images]]
    data: Data
    preset: Preset
    out: Path | None = None
    device: str | None = None
    known: Known | None = None

    def epochs(self, training: Training) -> int:
        """Return how many epochs a training has."""
        return training.trial.epochs(self.preset.training, len(self.data.train_images))

    def run(
        self,
        training: Training,
        on_epoch: Callable[[], None] | None = None,
        on_trained: OnTrained | None = None,
    ) -> Row:
        """Do a training, or what is left of it."""
        trial, data = training.trial, self.data
        images, labels = trial.training_set(self.versions(training.seed), data.train_labels)
        return learn(
            trial.title,
            images,
            labels,
            data.test_images,
            data.test_labels,
            recipe=replace(self.preset.training, seed=training.seed, epochs=self.epochs(training)),
            against=trial.against,
            network=trial.network,
            width=self.preset.width,
            device=self.device,
            on_epoch=on_epoch,
            checkpoint=None if self.out is None else training.checkpoint(self.out),
            known=self.known,
            on_trained=on_trained,
        )


def run_all(
    trainings: Sequence[Training],
    shared: Shared,
    workers: int,
    on_epoch: Callable[[int, int], None],
) -> dict[Training, Row]:
    """Do trainings, so many at a time.

    Side by side each has its share of the cores, or of one accelerator.

    Parameters
    ----------
    trainings : sequence of Training
    shared : Shared
    workers : int
    on_epoch : callable
        Called with (epochs done, of how many) now and then, of all trainings together.

    Returns
    -------
    dict of Training to Row
    """
    epochs = [shared.epochs(training) for training in trainings]
    total = sum(epochs)
    if min(workers, len(trainings)) > 1:
        return _side_by_side(trainings, shared, workers, lambda done: on_epoch(done, total))
    rows, done = {}, 0

    def after_epoch() -> None:
        nonlocal done
        done += 1
        on_epoch(done, total)

    for number, training in enumerate(trainings):
        done = sum(epochs[:number])  # those of an earlier time are not heard of
        rows[training] = shared.run(training, after_epoch)
    return rows


def _side_by_side(
    trainings: Sequence[Training], shared: Shared, workers: int, tell: Callable[[int], None]
) -> dict[Training, Row]:
    workers = min(workers, len(trainings))
    threads = max(1, thread_count(None) // workers)
    with temporary_subfolder("trainings") as folder:  # where nobody else can put a pickle
        with (folder / "shared").open("wb") as file:
            pickle.dump(shared, file)  # once, not once for each
        board = _Board.new(folder, len(trainings))
        pool = Workers(workers, __name__, "torch._dynamo")  # which optimizers import at last
        try:
            futures = [
                pool.submit(_run_one, folder, number, training, threads)
                for number, training in enumerate(trainings)
            ]
            waiting = True
            while waiting:
                done, rest = wait(futures, _LOOKS_EVERY, FIRST_EXCEPTION)
                for future in done:
                    future.result()  # which raises what went wrong
                tell(board.done())
                waiting = bool(rest)
        finally:
            pool.stop(at_once=True)  # every epoch is kept: little is lost
        return {t: future.result() for t, future in zip(trainings, futures, strict=True)}


def _run_one(folder: Path, number: int, training: Training, threads: int) -> Row:
    """Do one training, in a process of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which leaves no half of a file
    torch.set_num_threads(threads)
    shared: Shared = pickle.loads((folder / "shared").read_bytes())
    board = _Board(folder)
    row = shared.run(training, lambda: board.count(number))
    board.finish(number, shared.epochs(training))
    return row


class _Board:
    """How many epochs each training has done, in a file that all can see."""

    def __init__(self, folder: Path) -> None:
        self._epochs = np.memmap(folder / "board", np.int32, "r+")

    @classmethod
    def new(cls, folder: Path, trainings: int) -> _Board:
        np.zeros(trainings, np.int32).tofile(folder / "board")
        return cls(folder)

    def done(self) -> int:
        return int(self._epochs.sum())

    def count(self, number: int) -> None:
        self._epochs[number] += 1

    def finish(self, number: int, epochs: int) -> None:
        self._epochs[number] = epochs  # with those of an earlier time
