"""Attacks by name: the field's matrix, those that read dsguard's documentation among them."""

from __future__ import annotations

from dsguard.errors import InputError
from dsguard.evaluation.attacks import batches, filters, linear
from dsguard.evaluation.attacks.base import CounterMeasure
from dsguard.evaluation.attacks.disentangled import disentangled
from dsguard.evaluation.attacks.few_labels import few, pseudo_labels, self_supervised
from dsguard.evaluation.attacks.remover import cleaned
from dsguard.evaluation.attacks.undone import undone
from dsguard.kernels.geometry import BLOCK

_ISS = "Liu et al., ICML 2023"
_OWN = "dsguard"

_FEW_LABELS = (
    ("few", "{} % of clean images alone", "usual", few),
    (
        "pseudo-labels",
        "labels guessed from {} % of clean images",
        "Lee, ICML workshops 2013",
        pseudo_labels,
    ),
    (
        "self-supervised",
        "features learned without labels, then {} % of clean images",
        "Gidaris et al., ICLR 2018",
        self_supervised,
    ),
)
"""Attacks by those who have a few labelled clean images: name, title, source, and making."""

COUNTERMEASURES = {
    measure.name: measure
    for measure in (
        CounterMeasure("none", "plain training"),
        CounterMeasure("crop-and-flip", "crop and flip", alter=batches.crop_and_flip),
        CounterMeasure(
            "cutout", "Cutout", "DeVries and Taylor, arXiv 1708.04552", alter=batches.cutout
        ),
        CounterMeasure("cutmix", "CutMix", "Yun et al., ICCV 2019", alter=batches.cutmix),
        CounterMeasure("mixup", "MixUp", "Zhang et al., ICLR 2018", alter=batches.mixup),
        CounterMeasure("resized-crop", "random resized crop", alter=batches.resized_crop),
        CounterMeasure("blur", "Gaussian blur", prepare=filters.blur),
        CounterMeasure("gray", "grayscale", _ISS, prepare=filters.gray),
        CounterMeasure("jpeg", "JPEG 10", _ISS, prepare=filters.jpeg(10)),
        *(
            CounterMeasure(f"jpeg-{quality}", f"JPEG {quality}", _ISS, filters.jpeg(quality))
            for quality in (30, 50, 70, 90)
        ),
        CounterMeasure("bit-depth", "2 bits a sample", _ISS, prepare=filters.bit_depth(2)),
        CounterMeasure("low-pass", "lower half of frequencies", prepare=filters.band(0, 0.5)),
        CounterMeasure("high-pass", "frequencies above a quarter", prepare=filters.band(0.25, 2)),
        *(
            CounterMeasure(
                f"contrast-{sigma}",
                f"local contrast, {sigma} px",
                _OWN,
                prepare=filters.local_contrast(sigma),
            )
            for sigma in (1, 2, 4)
        ),
        *(
            CounterMeasure(
                f"cells-{side}", f"means of {side}×{side} cells", _OWN, prepare=filters.cells(side)
            )
            for side in (4, 8)
        ),
        CounterMeasure(
            "jitter", "bilinear jitter", "COIN, arXiv 2311.18403", alter=batches.jitter()
        ),
        CounterMeasure(
            "ueraser", "UEraser-max", "Qin et al., arXiv 2303.15127", alter=batches.ueraser_max
        ),
        CounterMeasure(
            "class-mean", "class means subtracted", _OWN, prepare=linear.minus_class_mean
        ),
        CounterMeasure(
            "projection",
            "orthogonal projection",
            "Sandoval-Segura et al., NeurIPS 2023",
            prepare=linear.project,
        ),
        CounterMeasure(
            "evened", "cells evened out", _OWN, prepare=filters.evened, part_of="informed"
        ),
        CounterMeasure(
            "informed",
            "cells evened out, projection",
            _OWN,
            prepare=linear.evened_and_projected,
        ),
        CounterMeasure(
            "undone", "patterns undone, by those who know the method", _OWN, prepare=undone
        ),
        CounterMeasure("block-means", "block means removed", _OWN, prepare=filters.block_means),
        CounterMeasure(
            "jigsaw",
            "bag of blocks, without their means",
            _OWN,
            prepare=filters.block_means,
            alter=batches.turned_blocks(BLOCK),
            network="blocks",
        ),
        CounterMeasure(
            "disentangled",
            "drawn anew by an autoencoder, without the part of the class",
            "after D-VAE, ICML 2024",
            prepare=disentangled,
        ),
        CounterMeasure(
            "remover",
            "remover trained on own pairs",
            "after BridgePure, NeurIPS 2025",
            prepare=cleaned,
            needs="pairs",
        ),
        *(
            CounterMeasure(
                f"{name}-{percent}",
                title.format(percent),
                source,
                prepare=attack(percent),
                alter=batches.crop_and_flip,
                needs="labels",
            )
            for name, title, source, attack in _FEW_LABELS
            for percent in (1, 5)
        ),
        CounterMeasure(
            "adversarial",
            "adversarial training",
            "Madry et al., ICLR 2018",
            alter=batches.adversarial(4),
        ),
        CounterMeasure(
            "adversarial-8",
            "adversarial training, ε 8",
            "Madry et al., ICLR 2018",
            alter=batches.adversarial(8),
        ),
    )
}
"""All attacks, by name, from cheap to dear."""


def attack_named(name: str) -> CounterMeasure:
    """Return the attack called `name`.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in COUNTERMEASURES:
        msg = f"there is no counter-measure {name!r}; there are: {', '.join(COUNTERMEASURES)}"
        raise InputError(msg)
    return COUNTERMEASURES[name]
