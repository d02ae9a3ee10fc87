"""What would a user pick instead? stego-lsb of PyPI, on the payload of a 32×32×3 image.

It neither transforms, nor seals, nor restores; what is compared is embedding bits into an image in
memory. It is also timed on its own natural input. Stegano needs an older Pillow than dsguard.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from stego_lsb.bit_manipulation import lsb_deinterleave_bytes, lsb_interleave_bytes
from stego_lsb.LSBSteg import hide_message_in_image

from dsguard.kernels import native
from dsguard.kernels.geometry import Geometry

from .conftest import setup

GROUP = "embed the 371 bytes of a 32×32×3 image"
COUNT = 50


@pytest.mark.benchmark(group=GROUP)
def bench_dsguard(measure):
    s = setup()
    images = s.temporary.copy()
    measure(
        lambda: native.embed(images, s.payloads, s.geometry), len(images), name="dsguard, native"
    )


@pytest.mark.benchmark(group=GROUP)
def bench_stego_lsb_bytes(measure):
    """Call the inner function of stego-lsb, NumPy on bytes: the fastest way through it."""
    s = setup()
    images = [image.tobytes() for image in s.temporary[:COUNT]]
    payloads = [payload.tobytes() for payload in s.payloads[:COUNT]]
    out = measure(
        lambda: [lsb_interleave_bytes(i, p, 1) for i, p in zip(images, payloads, strict=True)],
        COUNT,
        name="stego-lsb, inner function",
    )
    assert lsb_deinterleave_bytes(out[0], 8 * len(payloads[0]), 1) == payloads[0]


@pytest.mark.benchmark(group=GROUP)
def bench_stego_lsb_image(measure):
    s = setup()
    payload = s.payloads[0].tobytes()
    images = [Image.fromarray(image) for image in s.temporary[:COUNT]]
    measure(
        lambda: [hide_message_in_image(image, payload, 1) for image in images],
        COUNT,
        name="stego-lsb, images",
    )


@pytest.mark.benchmark(group="the peers' natural inputs")
def bench_stego_lsb_natural(measure):
    """One large carrier: 10 MB, 1 MB of payload, as its own self-test."""
    rng = np.random.default_rng(0)
    carrier, payload = rng.bytes(10_000_000), rng.bytes(1_000_000)
    measure(
        lambda: lsb_interleave_bytes(carrier, payload, 1, truncate=True),
        1,
        name="stego-lsb, 1 MB into 10 MB",
        payload_bytes=len(payload),
    )


@pytest.mark.benchmark(group="the peers' natural inputs")
def bench_dsguard_natural(measure):
    """Spread the same megabyte over the bit plane of one large image."""
    geometry = Geometry(1668, 2000, 3, 1)
    image = np.zeros((1, 1668, 2000, 3), np.uint8)
    payload = np.frombuffer(np.random.default_rng(0).bytes(1_000_000), np.uint8)
    measure(
        lambda: native.embed(image, payload, geometry),
        1,
        name="dsguard, 1 MB into 10 MB",
        payload_bytes=len(payload),
    )
