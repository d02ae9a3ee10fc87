"""How much protection shows, by ε: PSNR and SSIM of protected images against the clean ones.

    python -m bench.visibility ../shared/data/cifar10.tar.xz \
        --out bench/results/efficacy/visibility.json

protects 500 training images with the patterns that each ε takes, drawn without a network, and with
a veil. What networks learn from such images is in the studies beside the results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dsguard
from dsguard.covers import DrawnPatterns, Itself, Marked, Other
from dsguard.evaluation import own_images
from dsguard.profiles import Profile

from .choices import KEY, distance
from .efficacy import RADII

COUNT = 500


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data = own_images(options.data, COUNT, COUNT)
    images, labels = data.train_images, data.train_labels
    covers = {
        f"{profile}, ε {radius}": (profile, Marked(Itself(), DrawnPatterns(KEY, radius)))
        for profile, radius in RADII
    }
    covers["veil, ε 16"] = ("veil", Marked(Other(KEY), DrawnPatterns(KEY, 16)))
    found = {}
    for name, (profile, cover) in covers.items():
        codec = Profile.named(profile).codec
        batch = dsguard.protect_batch(images, KEY, cover=cover, labels=labels, codec=codec)
        found[name] = distance(batch.images, images)
        print(f"{name:16} {found[name]['psnr']:5.1f} dB  SSIM {found[name]['ssim']:.2f}")
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
