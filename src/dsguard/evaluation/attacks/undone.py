"""An attack on the exact profiles by those who know the method, without key and network."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from dsguard.choices import STRENGTHS
from dsguard.codecs import Exact, restoring
from dsguard.codecs.exact import revealed
from dsguard.covers.patterns import FLAT, GRID, TILE, UNIT, textures
from dsguard.evaluation.attacks.base import Setting
from dsguard.kernels.contract import Images

Floats = npt.NDArray[np.float32]
Signs = npt.NDArray[np.int8]

_COLOURED_KINDS = 12


def patterns_undone(protected: Images, epsilon: int = 16) -> Images:
    """Take class patterns off colour images of the exact profiles.

    What is hidden comes out without a key, and leaves the clean image plus a constant for each cell
    of the pattern. There are few patterns: of 12 kinds, with a sign for each of four units. The
    jumps at the borders of cells tell which it was, and then the sign of each flat tile.

    Parameters
    ----------
    protected : ndarray of uint8, shape (N, H, W, 3)
        Sides are multiples of 8.
    epsilon : int
        Of the pattern, in grey levels.

    Returns
    -------
    ndarray of uint8, shape (N, H, W, 3)
    """
    temporary = revealed(protected).astype(np.float32)
    down = _costs(temporary, epsilon)
    across = _costs(temporary.transpose(0, 2, 1, 3), epsilon).transpose(0, 2, 1, 3, 4, 5)
    signs = _with_flat_tiles(_likeliest(down, across), down, across)
    height, width = (side // GRID for side in temporary.shape[1:3])
    offsets = epsilon * signs.repeat(height, axis=1).repeat(width, axis=2)
    undone: Images = (temporary - offsets).clip(0, 255).astype(np.uint8)
    return undone


def likeliest_undone(images: Images) -> Images:
    """Take patterns off where there are any, of whichever usual radius leaves the least jumps.

    Images that are not protected by an exact profile, and those of other shapes than
    `patterns_undone` takes, are returned as they are.
    """
    height, width, channels = images.shape[1:]
    if channels != 3 or height % (2 * GRID) or width % (2 * GRID):
        return images
    groups = restoring.by_header(restoring.headers(images, {}), None, {})
    ours = [
        members
        for members, header, codec in groups
        if isinstance(codec, Exact) and not codec.in_sidecar(header)
    ]
    if not ours:
        return images
    hidden = np.concatenate(ours)
    found = [patterns_undone(images[hidden], epsilon) for epsilon in STRENGTHS.values()]
    out = images.copy()
    out[hidden] = min(found, key=_borders)
    return out


def undone(given: Setting) -> Setting:
    """Take class patterns off published images of an exact profile; leave all others."""
    return replace(given, images=likeliest_undone(given.images))


def _borders(images: Images) -> float:
    """Return how far samples on both sides of the borders of cells are apart."""
    cell = images.shape[1] // GRID
    first, last = images[:, cell::cell].astype(np.int16), images[:, cell - 1 : -cell : cell]
    return float(np.abs(first - last).mean())


def _costs(images: Floats, epsilon: int) -> Floats:
    """Return what signs of cells, and of those below, leave of the jumps between them.

    A jump is what the rows on both sides do not go on with. A real edge says nothing of the
    pattern, so it costs no more than a wrong sign.

    Returns
    -------
    ndarray of float32, shape (N, 7, 8, 3, 2, 2)
        By the sign of the cell, and of the one below: first -1, then 1.
    """
    cell = images.shape[1] // GRID
    last, first = images[:, cell - 1 : -cell : cell], images[:, cell::cell]
    before, behind = images[:, cell - 2 : -cell : cell], images[:, cell + 1 :: cell]
    jumps = first - last - (last - before + behind - first) / 4
    change = epsilon * np.array([[0, 2], [-2, 0]], np.float32)
    costs = np.minimum(np.abs(jumps[..., None, None] - change), np.float32(2 * epsilon))
    count, rows, width = jumps.shape[:3]
    by_cell: Floats = costs.reshape(count, rows, GRID, width // GRID, -1, 2, 2).sum(axis=3)
    return by_cell


def _of_pairs(costs: Floats, first: Signs, second: Signs) -> Floats:
    """Return the costs of pairs of cells with these signs."""
    row, column = (first > 0).astype(int), (second > 0).astype(int)
    index = np.broadcast_to((2 * row + column)[..., None], (*costs.shape[:-2], 1))
    return np.take_along_axis(costs.reshape(*costs.shape[:-2], 4), index, axis=-1)[..., 0]


def _likeliest(down: Floats, across: Floats) -> Signs:
    """Return for each image the textures that cost least, (N, 8, 8, 3); flat tiles are of no kind.

    Pairs of which one is flat are not looked at.
    """
    textured = ~FLAT[..., None]
    vertical, horizontal = textured[:-1] & textured[1:], textured[:, :-1] & textured[:, 1:]
    made, least = np.zeros((len(down), GRID, GRID, 3), np.int8), np.full(len(down), np.inf)
    for kind, units in product(range(_COLOURED_KINDS), product((-1, 1), repeat=4)):
        by_unit = np.array(units, np.int8).reshape(2, 2).repeat(UNIT, 0).repeat(UNIT, 1)
        signs = textures(kind, 3, 0).transpose(1, 2, 0) * by_unit[..., None]
        cost = (_of_pairs(down, signs[:-1], signs[1:]) * vertical).sum(axis=(1, 2, 3))
        cost += (_of_pairs(across, signs[:, :-1], signs[:, 1:]) * horizontal).sum(axis=(1, 2, 3))
        better = cost < least
        made[better], least[better] = signs, cost[better]
    return made


def _with_flat_tiles(signs: Signs, down: Floats, across: Floats) -> Signs:
    """Return signs with those of flat tiles: each that which costs least beside its neighbours."""
    costs = []
    for sign in (-1, 1):
        tried = np.where(FLAT[..., None], np.int8(sign), signs)
        cost = np.zeros(signs.shape, np.float32)
        vertical = _of_pairs(down, tried[:, :-1], tried[:, 1:])
        horizontal = _of_pairs(across, tried[:, :, :-1], tried[:, :, 1:])
        cost[:, 1:] += vertical
        cost[:, :-1] += vertical
        cost[:, :, 1:] += horizontal
        cost[:, :, :-1] += horizontal
        tiles = cost.reshape(len(signs), GRID // TILE, TILE, GRID // TILE, TILE, 3).sum(axis=(2, 4))
        costs.append(tiles.repeat(TILE, axis=1).repeat(TILE, axis=2))
    flat = np.where(costs[1] < costs[0], 1, -1).astype(np.int8)
    return np.where(FLAT[..., None], flat, signs)
