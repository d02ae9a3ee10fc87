"""Training of classifiers on batches of uint8 images: surrogates, and the models of evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard._atomic import write_whole
from dsguard.errors import InputError, raise_if_of_machine
from dsguard.kernels.contract import Images
from dsguard.networks.stored import looked_through

Alter = Callable[[nn.Module, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(network, pixels, class probabilities, generator) to (pixels, class probabilities)."""

_HELD_ON_DEVICE = 8 << 30
"""Bytes of images that are moved to an accelerator whole, once, rather than batch by batch."""


@dataclass(frozen=True)
class Recipe:
    """How to train a classifier.

    Attributes
    ----------
    epochs : int
    batch_size : int
    learning_rate : float
        Of Adam the peak of a one-cycle schedule; of SGD at the start.
    augment : bool
        Random crops after padding by an eighth of the side, and horizontal flips.
    seed : int
        Of weights, order and augmentation.
    bfloat16 : bool or None
        Compute in bfloat16 where that is safe; None does so on CUDA. Recent server CPUs gain by
        it, others lose.
    optimizer : str
        ``"adam"``, or ``"sgd"`` with momentum 0.9, whose learning rate falls to a tenth after two
        thirds of the epochs, and again after five sixths.
    weight_decay : float
    """

    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 0.01
    augment: bool = False
    seed: int = 0
    bfloat16: bool | None = None
    optimizer: str = "adam"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            msg = "epochs and batch_size are 1 or more, learning_rate is above 0"
            raise InputError(msg)
        if self.optimizer not in ("adam", "sgd"):
            msg = f"optimizer is adam or sgd, not {self.optimizer!r}"
            raise InputError(msg)


def choose_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, by default CUDA where there is one, else the CPU.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(chosen)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        msg = f"torch has no device {chosen!r} here; give another, such as cpu or cuda"
        raise InputError(msg) from error
    return device


def gpu_name() -> str | None:
    """Return the name of the GPU that is used where no device is asked for; None without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def default_width(device: torch.device) -> int:
    """Return the width of a network that trains in reasonable time on `device`."""
    return 64 if device.type == "cuda" else 16


def train(
    model: nn.Module,
    images: Images,
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    device: torch.device,
    on_epoch: Callable[[int], float | None] | None = None,
    checkpoint: Path | None = None,
    alter: Alter | None = None,
) -> list[float | None]:
    """Train `model` in place.

    Parameters
    ----------
    model : Module
        Takes pixels in 0..1, returns logits.
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
        Class numbers from 0.
    recipe : Recipe
    device : torch.device
    on_epoch : callable, optional
        Called with the number of epochs done after each of them.
    checkpoint : Path, optional
        Everything that the training is made of goes there after every epoch, and a training that
        finds such a file goes on from it.
    alter : callable, optional
        Changes each batch after augmentation: (network, pixels, class probabilities, generator) to
        (pixels, class probabilities).

    Returns
    -------
    list
        What `on_epoch` returned, by epoch.
    """
    place(model, device).train()
    order = torch.Generator().manual_seed(recipe.seed)
    optimizer, schedule = _optimizer(model, recipe, -(-len(images) // recipe.batch_size))
    pool, answers = _held(images, labels, device)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    history: list[float | None] = []
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, parts, order)
    for epoch in range(len(history), recipe.epochs):
        permutation = torch.randperm(len(images), generator=order)
        for picked in torch.split(permutation, recipe.batch_size):
            batch = picked.to(pool.device)
            pixels, wanted = as_pixels(pool[batch].to(device)), answers[batch].to(device)
            if recipe.augment:
                pixels = crop_and_flip(pixels, order)
            with precision(device, recipe.bfloat16):
                if alter is not None:
                    pixels, wanted = alter(model, pixels, wanted, order)
                logits = model(pixels).float()
            unused = logits.shape[1] - wanted.shape[1]
            loss = functional.cross_entropy(logits, functional.pad(wanted, (0, unused)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        history.append(on_epoch(epoch + 1) if on_epoch is not None else None)
        if checkpoint is not None:
            _store(checkpoint, parts, order, history)
    model.eval()
    return history


def _optimizer(
    model: nn.Module, recipe: Recipe, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return an optimizer, and the schedule of its learning rate, by steps."""
    rate, steps = recipe.learning_rate, recipe.epochs * steps_per_epoch
    decay = recipe.weight_decay
    if recipe.optimizer == "adam":
        adam = torch.optim.Adam(model.parameters(), rate, weight_decay=decay)
        return adam, torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps)
    sgd = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=decay)
    falls = [steps * 2 // 3, steps * 5 // 6]
    return sgd, torch.optim.lr_scheduler.MultiStepLR(sgd, falls)


def _held(
    images: Images, labels: npt.NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return images and class probabilities, on the device where they fit there."""
    pool = torch.from_numpy(images)
    answers = functional.one_hot(torch.from_numpy(labels)).float()
    if device.type == "cpu" or images.nbytes > _HELD_ON_DEVICE:
        return pool, answers
    return pool.to(device), answers.to(device)


def _store(
    path: Path, parts: dict[str, Any], order: torch.Generator, history: list[float | None]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    save_whole({**state, "order": order.get_state(), "history": history}, path)


def save_whole(content: dict[str, Any], path: Path) -> None:
    """Write a file of torch, whole or not at all; what was learned of images is for its owner."""
    try:
        with write_whole(path, private=True) as file:
            torch.save(content, file)
    except RuntimeError as error:
        # torch closes its archive whatever comes, and complains if it was interrupted within.
        if isinstance(error.__context__, KeyboardInterrupt | SystemExit | OSError):
            raise error.__context__ from None
        raise


def load_whole(path: Path) -> Any:
    """Read a file of torch that `save_whole` wrote; it takes no more memory than twice its size.

    Raises
    ------
    FileNotFoundError
    Exception
        Of nearly any kind, if it is damaged.
    """
    with path.open("rb") as file:
        looked_at = looked_through(file)
    return torch.load(looked_at, map_location="cpu", weights_only=True)


def _resume(path: Path, parts: dict[str, Any], order: torch.Generator) -> list[float | None]:
    try:
        content = load_whole(path)
        for name, part in parts.items():
            part.load_state_dict(content[name])
        order.set_state(content["order"])
        history: list[float | None] = content["history"]
        if type(history) is not list or not {*map(type, history)} <= {float, type(None)}:
            msg = "its history is no list of accuracies"
            raise ValueError(msg)
        return history
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # damaged bytes make torch raise nearly anything
        raise_if_of_machine(error, str(path))
        msg = f"{path} is damaged, or of another training; remove it, and its training starts over"
        raise InputError(msg) from error


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to `device`, its convolutions in the layout that is fastest there."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def accuracy(
    model: nn.Module, images: Images, labels: npt.NDArray[np.int64], device: torch.device
) -> float:
    """Return the fraction of `images` that `model` classifies as `labels` says."""
    return float((classify(model, images, device) == labels).mean())


def classify(model: nn.Module, images: Images, device: torch.device) -> npt.NDArray[np.int64]:
    """Return the classes that `model` takes images to be of, (N,)."""
    with frozen(model), torch.no_grad(), precision(device):
        found = [
            model(to_pixels(images[start : start + 512], device)).argmax(1).cpu()
            for start in range(0, len(images), 512)
        ]
    classes: npt.NDArray[np.int64] = torch.cat(found).numpy()
    return classes


def to_pixels(images: Images, device: torch.device) -> Tensor:
    """Return uint8 images (N, H, W, C) as pixels in 0..1, (N, C, H, W), without alpha."""
    return as_pixels(torch.from_numpy(np.ascontiguousarray(images[..., :3])).to(device))


def as_pixels(images: Tensor) -> Tensor:
    """Return a uint8 tensor (N, H, W, C) as pixels in 0..1, (N, C, H, W), without alpha."""
    return images[..., :3].permute(0, 3, 1, 2).float().div(255)


def precision(
    device: torch.device, bfloat16: bool | None = None
) -> contextlib.AbstractContextManager[None]:
    """Return the context in which networks run: by default bfloat16 on CUDA alone."""
    enabled = device.type == "cuda" if bfloat16 is None else bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put a model to evaluation mode without weight gradients, and back again in any event."""
    was_training = model.training
    needed = [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for parameter, flag in zip(model.parameters(), needed, strict=True):
            parameter.requires_grad_(flag)


def crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Crop each image at random after padding, and flip half of them."""
    count, _, height, width = pixels.shape
    pad = max(1, min(height, width) // 8)
    padded = functional.pad(pixels, (pad, pad, pad, pad))
    top, left = (
        torch.randint(0, 2 * pad + 1, (count, 1, 1), generator=generator).to(pixels.device)
        for _ in range(2)
    )
    flip = (torch.rand(count, 1, generator=generator) < 0.5).to(pixels.device)
    rows = top + torch.arange(height, device=pixels.device)[None, :, None]
    across = torch.arange(width, device=pixels.device)[None]
    columns = left + torch.where(flip, width - 1 - across, across)[:, None, :]
    number = torch.arange(count, device=pixels.device)[:, None, None]
    return padded[number, :, rows, columns].permute(0, 3, 1, 2)
