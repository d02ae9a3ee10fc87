"""AES-SIV (RFC 5297) over a whole batch of records of one length.

A library's AES-SIV spends its time on Python objects, one record after another. Here CMAC runs down
the columns of the batch and the CTR keystream is made in one piece, so each AES call of
pycryptodome encrypts one block of *every* record. Few long records, those of large images, go
through CMAC one by one. The bytes are those of ``AES.MODE_SIV``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from Crypto.Cipher import AES

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[Any]

BLOCK = 16
TAG_BYTES = 16

_LONG = 8
"""Blocks per record for each record in the batch from which one CBC call per record is faster: a
call costs the same whether it encrypts one block of a few records or all blocks of one."""


class AesSiv:
    """Deterministic authenticated encryption of batches.

    Parameters
    ----------
    key : bytes
        32, 48 or 64 bytes: the halves are the CMAC and the CTR key (64 bytes for AES-256).

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.keys import AesSiv
    >>> cipher, plain = AesSiv(bytes(range(64))), np.zeros((2, 40), np.uint8)
    >>> facts = [np.ones((2, 4), np.uint8)]
    >>> sealed, tags = cipher.seal(plain, facts)
    >>> opened, genuine = cipher.open(sealed, tags, facts)
    >>> bool((opened == plain).all()), genuine.tolist()
    (True, [True, True])
    """

    def __init__(self, key: bytes) -> None:
        half = len(key) // 2
        self._mac_key = key[:half]
        self._mac = AES.new(self._mac_key, AES.MODE_ECB)
        self._ctr = AES.new(key[half:], AES.MODE_ECB)
        zero = np.frombuffer(self._mac.encrypt(bytes(BLOCK)), np.uint8)
        self._whole = _double(zero[np.newaxis])
        self._padded = _double(self._whole)
        self._start = self._cmac(np.zeros((1, BLOCK), np.uint8))

    def seal(
        self, plain: Bytes, associated: Sequence[Bytes], lengths: Lengths | None = None
    ) -> tuple[Bytes, Bytes]:
        """Encrypt and authenticate.

        Parameters
        ----------
        plain : ndarray of uint8, shape (N, L)
            L may be 0 up.
        associated : sequence of ndarray of uint8, each of shape (N, A)
            Authenticated, not encrypted; A at least 1.
        lengths : ndarray of int, shape (N,), optional
            Bytes in use of each row of `plain`, at least 16; all of them by default.

        Returns
        -------
        sealed : ndarray of uint8, shape (N, L)
            Rubbish beyond the length.
        tags : ndarray of uint8, shape (N, 16)
            The synthetic initialisation vectors.
        """
        tags = self.tags(plain, associated, lengths)
        return self.crypt(plain, tags), tags

    def open(
        self, sealed: Bytes, tags: Bytes, associated: Sequence[Bytes]
    ) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """Decrypt and verify records of one length; arguments and results as those of `seal`.

        Returns
        -------
        plain : ndarray of uint8, shape (N, L)
            All zero where the tag does not fit.
        genuine : ndarray of bool, shape (N,)
        """
        plain = self.crypt(sealed, tags)
        genuine: npt.NDArray[np.bool_] = (self.tags(plain, associated) == tags).all(axis=1)
        plain[~genuine] = 0
        return plain, genuine

    def crypt(self, records: Bytes, tags: Bytes) -> Bytes:
        """Encrypt or decrypt records, without a look at whether their tags fit."""
        return records ^ self._keystream(tags, records.shape[1])

    def tags(
        self, plain: Bytes, associated: Sequence[Bytes], lengths: Lengths | None = None
    ) -> Bytes:
        """Return the tag of each record: RFC 5297 section 2.4, a vector of strings to one block."""
        state = np.repeat(self._start, len(plain), axis=0)
        for part in associated:
            state = _double(state) ^ self._cmac(part)
        if lengths is not None:
            return self._cmac_of_lengths(plain, state, lengths)
        length = plain.shape[1]
        if length >= BLOCK:
            last = plain.copy()
            last[:, -BLOCK:] ^= state
        else:
            last = _double(state)
            last[:, :length] ^= plain
            last[:, length] ^= 0x80
        return self._cmac(last)

    def _cmac_of_lengths(self, plain: Bytes, state: Bytes, lengths: Lengths) -> Bytes:
        """RFC 4493 on rows of their own lengths (16 up), `state` added to the last 16 bytes.

        Rows go through in the order of their lengths, longest first: those that still have a
        block are a slice from the top.
        """
        order = np.argsort(-lengths.astype(np.int64), kind="stable")
        sizes = lengths[order].astype(np.int64)
        count, columns = len(plain), -(-int(sizes.max(initial=BLOCK)) // BLOCK)
        padded = np.zeros((count, (columns + 1) * BLOCK), np.uint8)
        width = min(plain.shape[1], padded.shape[1])
        padded[:, :width] = plain[order, :width]
        at = np.arange(padded.shape[1])
        padded[at >= sizes[:, np.newaxis]] = 0
        rows = np.arange(count)[:, np.newaxis]
        ends = sizes[:, np.newaxis] - BLOCK + np.arange(BLOCK)
        padded[rows, ends] ^= state[order]
        whole = sizes % BLOCK == 0
        padded[rows[~whole, 0], sizes[~whole]] = 0x80
        blocks = -(-sizes // BLOCK)
        last = (blocks[:, np.newaxis] - 1) * BLOCK + np.arange(BLOCK)
        padded[rows, last] ^= np.where(whole[:, np.newaxis], self._whole, self._padded)
        left = np.searchsorted(-blocks, -np.arange(1, columns + 1), side="right")
        parts = padded.view(np.uint64).reshape(count, columns + 1, 2)
        chain = bytearray(count * BLOCK)
        chained = np.frombuffer(chain, np.uint64).reshape(count, 2)
        with memoryview(chain) as view:
            for column, alive in enumerate(left):
                chained[:alive] ^= parts[:alive, column]
                self._mac.encrypt(view[: alive * BLOCK], output=view[: alive * BLOCK])
        tags = np.empty((count, BLOCK), np.uint8)
        tags[order] = chained.view(np.uint8).reshape(count, BLOCK)
        return tags

    def _cmac(self, messages: Bytes) -> Bytes:
        """RFC 4493 on every row of an array of shape (N, L), L at least 1."""
        count, length = messages.shape
        columns = -(-length // BLOCK)
        padded = np.zeros((count, columns * BLOCK), np.uint8)
        padded[:, :length] = messages
        if length % BLOCK == 0:
            padded[:, -BLOCK:] ^= self._whole
        else:
            padded[:, length] = 0x80
            padded[:, -BLOCK:] ^= self._padded
        if columns > _LONG * count:
            return self._cbc_mac(padded)
        blocks = padded.view(np.uint64).reshape(count, columns, 2)
        chain = bytearray(count * BLOCK)
        state = np.frombuffer(chain, np.uint64).reshape(count, 2)
        with memoryview(chain) as view:
            for column in range(columns):
                state ^= blocks[:, column]
                self._mac.encrypt(view, output=view)
        return state.view(np.uint8).reshape(count, BLOCK)

    def _cbc_mac(self, messages: Bytes) -> Bytes:
        """Return the last block of each row's CBC encryption, one row after another."""
        ciphers = (AES.new(self._mac_key, AES.MODE_CBC, iv=bytes(BLOCK)) for _ in messages)
        last = b"".join(
            cipher.encrypt(row.data)[-BLOCK:] for cipher, row in zip(ciphers, messages, strict=True)
        )
        return np.frombuffer(last, np.uint8).reshape(-1, BLOCK)

    def _keystream(self, tags: Bytes, length: int) -> Bytes:
        """Encrypt the counters that follow each tag; bits 31 and 63 cleared, so none carries."""
        count, columns = len(tags), -(-length // BLOCK)
        start = tags.copy()
        start[:, [8, 12]] &= 0x7F
        counters = np.empty((count, columns, 4), ">u4")
        counters[:] = start.view(">u4").reshape(count, 1, 4)
        counters[:, :, 3] += np.arange(columns, dtype=np.uint32)
        stream = bytearray(counters.nbytes)
        if stream:
            self._ctr.encrypt(counters.data.cast("B"), output=stream)
        return np.frombuffer(stream, np.uint8).reshape(count, columns * BLOCK)[:, :length]


def _double(blocks: Bytes) -> Bytes:
    """Multiply each 16-byte row by x in GF(2^128), as CMAC and S2V do."""
    doubled = blocks << np.uint8(1)
    doubled[:, :-1] |= blocks[:, 1:] >> np.uint8(7)
    doubled[:, -1] ^= (blocks[:, 0] >> np.uint8(7)) * np.uint8(0x87)
    return doubled
