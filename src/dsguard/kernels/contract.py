"""The contract that every set of kernels keeps, to the bit."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.kernels.geometry import Geometry

Images: TypeAlias = npt.NDArray[np.uint8]
"""uint8, C-contiguous, shape (N, H, W, C) of the geometry in use."""

Bytes: TypeAlias = npt.NDArray[np.uint8]
"""uint8, C-contiguous, shape (N, bytes)."""

Lengths: TypeAlias = npt.NDArray[np.uint32]
"""uint32, shape (N,): bytes in use of each row of some Bytes."""

Modes: TypeAlias = npt.NDArray[np.uint8]
"""uint8, shape (N,): block side, pairing and correction of an image of profile exact."""

Mask: TypeAlias = npt.NDArray[np.bool_]

Shape: TypeAlias = tuple[int, int, int]
"""Height, width and channels of an image."""


class Kernels(Protocol):
    """A module with these functions is a set of kernels.

    `transform` to `extract` are codec paper, `encode` to `reveal` codec exact, the rest sealed.
    """

    def transform(
        self, clean: Images, target: Images, geometry: Geometry, out: Images | None = None
    ) -> tuple[Images, Bytes]:
        """Turn clean images into temporary ones that resemble `target`.

        `out`, where given, receives the temporary images and must overlap neither input.

        Returns
        -------
        temporary : Images
        sequences : Bytes
            How to go back; ``geometry.sequence_bytes`` each.
        """
        ...

    def invert(
        self, temporary: Images, sequences: Bytes, geometry: Geometry, out: Images | None = None
    ) -> tuple[Images, Mask]:
        """Undo `transform`.

        Low bits that were replaced in `temporary` stay as they are.

        Returns
        -------
        clean : Images
        malformed : Mask
            True where a Sequence names a block that does not exist; that image is unspecified.
        """
        ...

    def embed(self, images: Images, payloads: Bytes, geometry: Geometry) -> None:
        """Replace low bits of `images`, in place, by payloads of shape (N, bytes) or (bytes,)."""
        ...

    def extract(self, images: Images, size: int, geometry: Geometry) -> Bytes:
        """Read `size` bytes of payload from each image."""
        ...

    def encode(
        self,
        clean: Images,
        target: Images,
        geometry: Geometry,
        block: int,
        *,
        coarse: bool = False,
    ) -> tuple[Images, Bytes, Lengths, Modes]:
        """Turn clean images into temporary ones that resemble `target`; blocks of side `block`.

        With `coarse`, blocks keep their places and every shift has the most frequent size but 0:
        further from the target, and a short Sequence.

        Returns
        -------
        temporary : Images
        sequences : Bytes
        lengths : Lengths
            Of the Sequences.
        modes : Modes
            Block and pairing.
        """
        ...

    def decode(
        self,
        temporary: Images,
        modes: Modes,
        sequences: Bytes,
        lengths: Lengths,
        geometry: Geometry,
    ) -> tuple[Images, Mask]:
        """Undo `encode`; results as those of `invert`."""
        ...

    def hide(
        self, temporary: Images, payloads: Bytes, lengths: Lengths, modes: Modes, geometry: Geometry
    ) -> tuple[Images, Modes, Bytes, Mask]:
        """Hide payloads so that `reveal` gives payload and image back.

        Returns
        -------
        hidden : Images
            The temporary image itself where it cannot hold its payload.
        modes : Modes
            With the correction by green.
        thresholds : Bytes
            Shape (N, 8), values 0 to 15.
        failed : Mask
        """
        ...

    def reveal(
        self, hidden: Images, modes: Modes, thresholds: Bytes, lengths: Lengths, geometry: Geometry
    ) -> tuple[Images, Bytes, Mask]:
        """Undo `hide`, but for the lowest bits of the header samples.

        Returns
        -------
        temporary : Images
        payloads : Bytes
        failed : Mask
            True where an image holds no such payload.
        """
        ...

    def compress(self, images: Images) -> tuple[Bytes, Lengths]:
        """Code images without loss; any sides of 1 and more, 1, 3 or 4 channels.

        Returns
        -------
        data : Bytes
            A stream for each image.
        lengths : Lengths
            Of the streams.
        """
        ...

    def expand(
        self, data: Bytes, lengths: Lengths, shape: tuple[int, int, int]
    ) -> tuple[Images, Mask]:
        """Undo `compress` for images of a shape, (height, width, channels).

        Returns
        -------
        images : Images
        malformed : Mask
            True where a stream is none of an image of this shape; that image is unspecified.
        """
        ...

    def spread(self, images: Images, payloads: Bytes, masks: Bytes) -> None:
        """Move samples of `images`, in place, to the nearest values with a payload in low bits.

        Parameters
        ----------
        images : Images
            Covers of any size.
        payloads : Bytes
            Shape (N, bytes), at most as many as the masks have bits for. Least significant bits
            come first; bits of masks that are left over become 0.
        masks : Bytes
            Shape (H, W, C): the low bits of each sample that carry payload: 2^k - 1, or 2^k - 2
            where bit 0 is kept free, and becomes 0.
        """
        ...

    def gather(self, images: Images, size: int, masks: Bytes) -> Bytes:
        """Read `size` bytes of payload from each image; the inverse of `spread`."""
        ...
