"""Train from a protected set, with its key and without.

    python examples/train_from_protected.py

The files are protected once. With the key the loader restores each image when it is asked for, so
that no clean copy lies on the disk. Without it a network learns from the pictures that show.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dsguard
from dsguard.formats import decode_image, encode_image
from dsguard.integrations.torch import RestoredDataset

EPOCHS = 6
torch.manual_seed(0)


def main() -> None:
    """Print how many of the clean test images each of both networks knows."""
    digits = load_digits()
    images = np.kron(digits.images, np.ones((1, 4, 4)))  # 8 x 8 pixels of 0 to 16, to 32 x 32
    images = np.ascontiguousarray((images[..., None] * 15).astype(np.uint8))
    labels = digits.target
    test_images, test_labels = images[1200:], labels[1200:]

    key = dsguard.DatasetKey.generate()
    batch = dsguard.protect_batch(images[:1200], key, labels=labels[:1200])
    files = [
        encode_image(image, sidecar=batch.sidecars.get(number, b""))
        for number, image in enumerate(batch.images)
    ]
    pairs = list(zip(files, labels[:1200].tolist(), strict=True))

    with_key = RestoredDataset(pairs, key, transform=as_tensor)
    pictures = torch.stack([as_tensor(decode_image(file)) for file in files])
    without = TensorDataset(pictures, torch.from_numpy(labels[:1200]))
    for name, data in (("with the key", with_key), ("without it", without)):
        network = trained(DataLoader(data, batch_size=64, shuffle=True))
        print(f"{name}: {accuracy(network, test_images, test_labels):.1%} of the test images")


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """Return an image, (H, W, C) of 0 to 255, as (C, H, W) of 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255


def trained(loader: DataLoader) -> nn.Module:
    """Return a small network, trained."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 5 * 5, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for pixels, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(pixels), labels).backward()
            optimizer.step()
    return network


def accuracy(network: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return how many of clean images a network knows, 0 to 1."""
    with torch.no_grad():
        found = network(torch.stack([as_tensor(image) for image in images])).argmax(dim=1)
    return float((found.numpy() == labels).mean())


if __name__ == "__main__":
    main()
