"""Sprites: a thing is cut free from its background, gets an alpha channel, and is packed into a sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

from aigc_course import plotting, scenes
from aigc_course.applications.colours import clusters
from aigc_course.scenes import Thing

INSIDE, OUTSIDE = 0.35, 1.25  # in half heights of a thing: nearer is surely thing, farther is surely background
ROUNDS = 3  # the colours of the thing are learnt again from what was cut


def cut_out(picture: object, thing: Thing) -> np.ndarray:
    """Which pixels show a thing whose place and size are known: bool (H, W).

    Rother et al. 2004 ("GrabCut") in small: k-means colours (CIELAB) of what is surely background and of what is surely
    thing; a pixel goes to the nearer one, its neighbours have a say; then the thing's colours are learnt again from it.
    picture: one, of any kind that `plotting.to_array` takes;  thing: as a judge reads it, or the truth.
    """
    pixels = plotting.to_array(picture)
    if len(pixels) != 1:
        raise ValueError(f"a thing is cut out of one picture, not of {len(pixels)}; choose one, as in pictures[0]")
    colours = rgb2lab(pixels[0])
    far = _distance(thing, colours.shape[0])
    behind, mask = clusters(colours[far > OUTSIDE], 12), far < INSIDE
    for _ in range(ROUNDS):
        odds = _nearest(colours, behind) - _nearest(colours, clusters(colours[mask], 6))
        found = ndimage.binary_fill_holes((ndimage.gaussian_filter(odds, 0.7) > 0) & (far < OUTSIDE))
        mask = _middle_piece(found, far) if found.any() else far < INSIDE
    return mask


def _distance(thing: Thing, side: int) -> np.ndarray:
    """How far each pixel is from the thing's centre, in half heights of it, by the larger coordinate: (H, W)."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return np.maximum(abs(x - thing.x), abs(y - thing.y)) / scenes.SIZES[thing.size]


def _nearest(colours: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.linalg.norm(colours[:, :, None] - centres, axis=-1).min(-1)


def _middle_piece(mask: np.ndarray, far: np.ndarray) -> np.ndarray:
    """The connected piece that has most in the middle."""
    pieces, count = ndimage.label(mask)
    weights = ndimage.sum(np.exp(-2 * far**2), pieces, range(1, count + 1))
    return pieces == 1 + int(np.argmax(weights))


def mask_overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks: 1 if they are the same, 0 if they share no pixel."""
    if mask.shape != truth.shape:
        raise ValueError(f"masks of {mask.shape} and {truth.shape} pixels cannot be compared; bring them to one size")
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 1.0


def sprite(picture: object, mask: np.ndarray, side: int | None = None) -> Image.Image:
    """The pixels under a mask as RGBA, cropped to a square around them; a fine soft edge, nothing behind.

    side: pixels of the square, None as large as the thing.
    """
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to cut out; look for the thing first")
    pixels = plotting.to_array(picture)[0]
    alpha = ndimage.gaussian_filter(mask.astype(np.float32), 0.6) * ndimage.binary_dilation(mask)
    whole = Image.fromarray(np.dstack([pixels, (alpha * 255).round().astype(np.uint8)]), "RGBA")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    half = max(np.ptp(rows), np.ptp(columns)) // 2 + 2
    x, y = (columns[0] + columns[-1] + 1) // 2, (rows[0] + rows[-1] + 1) // 2
    cut = whole.crop((x - half, y - half, x + half, y + half))
    return cut.resize((side, side), Image.Resampling.LANCZOS) if side else cut


def sprite_sheet(sprites: Sequence[Image.Image], columns: int = 4, side: int = 64) -> Image.Image:
    """Sprites in the cells of one RGBA picture, from left to right and top to bottom, as game engines read them."""
    if not len(sprites):
        raise ValueError("a sprite sheet needs at least one sprite")
    rows = -(-len(sprites) // columns)
    sheet = Image.new("RGBA", (columns * side, rows * side), (0, 0, 0, 0))
    for number, one in enumerate(sprites):
        row, column = divmod(number, columns)
        sheet.paste(one.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS), (column * side, row * side))
    return sheet
