"""Brand colours: a picture's palette is moved to given colours, in a space in which distances are those of the eye."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from aigc_course import plotting

Colour = str | Sequence[float]
SOFTNESS = 8.0  # ΔE within which a pixel belongs to two colours of a palette


def brand(colours: Sequence[Colour]) -> np.ndarray:
    """Colours as CIELAB (K, 3): "#d42c30", or red, green and blue from 0 to 255; at least two."""
    if len(colours) < 2:
        raise ValueError(f"{len(colours)} brand colour cannot draw anything on anything; give two or more")
    return rgb2lab(np.array([_srgb(one) for one in colours]) / 255)


def _srgb(colour: Colour) -> list[float]:
    if isinstance(colour, str):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise ValueError(f"{colour!r} is no sRGB colour; write it as in '#d42c30'")
        return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    numbers = np.asarray(colour, float).ravel()
    if len(numbers) != 3 or not np.isfinite(numbers).all() or not (0 <= numbers.min() and numbers.max() <= 255):
        raise ValueError(f"{colour!r} is no sRGB colour; give red, green and blue from 0 to 255")
    return numbers.tolist()


def palette(picture: object, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours that a picture is best told by, k-means of its pixels, from dark to light.

    Gives CIELAB (K, 3) and the share of pixels of each, (K,); K is `count`, or fewer where there are no more colours.
    """
    pixels = rgb2lab(plotting.to_array(picture)[0]).reshape(-1, 3)
    centres = clusters(pixels, count)
    shares = np.bincount(_apart_in_lab(pixels, centres).argmin(1), minlength=len(centres)) / len(pixels)
    order = np.argsort(centres[:, 0], kind="stable")
    return centres[order], shares[order]


def clusters(pixels: np.ndarray, count: int, rounds: int = 10) -> np.ndarray:
    """k-means (Lloyd 1982) of colours (N, 3): at most `count` centres, (K, 3), each its own members' mean.

    It begins with colours that lie as far apart as can be, so that a small thing gets a centre of its own.
    """
    centres = pixels[_apart_in_lab(pixels, pixels.mean(0, keepdims=True)).argmin(0)]
    while len(centres) < count and (far := _apart_in_lab(pixels, centres).min(1)).max() > 1:
        centres = np.vstack([centres, pixels[far.argmax()]])
    for _ in range(rounds):
        nearest = _apart_in_lab(pixels, centres).argmin(1)
        members = np.bincount(nearest, minlength=len(centres))[:, None]
        sums = np.stack([np.bincount(nearest, one, len(centres)) for one in pixels.T], 1)
        centres = np.where(members, sums / np.maximum(members, 1), centres)  # one without members stays
    return centres


def _apart_in_lab(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Plain distances, (N, K): near enough to ΔE2000 to sort pixels by, and much faster."""
    squares = (pixels**2).sum(1)[:, None] - 2 * pixels @ centres.T + (centres**2).sum(1)
    return np.sqrt(squares.clip(0))


def matched(own: np.ndarray, wanted: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
    """For each colour of a picture, from dark to light, its brand colour, so that lighter is never darker: (K, 3).

    Every brand colour is used.  As many of each: rank by rank.  Of more ways than one the nearest, by ΔE2000, is taken.
    own (K, 3), wanted (M, 3) with M <= K: CIELAB;  shares (K,): how much each own colour counts.
    """
    if len(own) < len(wanted):
        raise ValueError(f"a picture of {len(own)} colours cannot take on {len(wanted)} brand colours; give fewer")
    wanted = wanted[np.argsort(wanted[:, 0], kind="stable")]
    far = np.stack([deltaE_ciede2000(own, np.broadcast_to(one, own.shape)) for one in wanted], 1)  # (K, M)
    cost = far * (1 if shares is None else shares[:, None])
    cuts = combinations(range(1, len(own)), len(wanted) - 1)  # where the next brand colour begins
    ways = [(np.arange(len(own)) >= np.array(cut)[:, None]).sum(0) for cut in cuts]
    return wanted[min(ways, key=lambda way: cost[np.arange(len(own)), way].sum())]


def recolour(
    picture: object, colours: Sequence[Colour], count: int = 10, detail: float = 0.3, keep_order: bool = True
) -> Image.Image:
    """A picture in brand colours: each colour of its palette moves to its brand colour and takes its pixels along.

    A pixel between two colours of the palette moves between their two moves.  count: of the palette;  detail: the share
    of its own distance from its palette colour that a pixel keeps, 1 all and 0 none;  keep_order: False is a control,
    light and dark change places.
    """
    wanted = brand(colours)
    pixels = rgb2lab(plotting.to_array(picture)[0])
    own, weights = palette(picture, max(count, len(wanted)))
    targets = matched(own, wanted, weights)[:: 1 if keep_order else -1]
    shares = _shares(pixels, own)
    moved = shares @ targets + detail * (pixels - shares @ own)
    return Image.fromarray((lab2rgb(moved).clip(0, 1) * 255).round().astype(np.uint8))


def _shares(pixels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How much each pixel belongs to each colour, (H, W, K): one where only one is near."""
    far = np.linalg.norm(pixels[:, :, None] - own, axis=-1)
    near = np.exp(-(far - far.min(-1, keepdims=True)) / SOFTNESS * 2)
    return near / near.sum(-1, keepdims=True)


def colour_error(picture: object, colours: Sequence[Colour]) -> float:
    """The mean over pixels of ΔE2000 to the nearest brand colour: below 1 no eye sees it, 10 is another shade.

    Sharma et al. 2005, as scikit-image computes it.
    """
    return float(_apart(picture, brand(colours)).min(0).mean())


def coverage(picture: object, colours: Sequence[Colour]) -> np.ndarray:
    """The share of pixels nearest to each brand colour, (K,): a picture in one of them alone is no use."""
    nearest = _apart(picture, brand(colours)).argmin(0)
    return np.bincount(nearest.ravel(), minlength=len(colours)) / nearest.size


def _apart(picture: object, wanted: np.ndarray) -> np.ndarray:
    """ΔE2000 of each pixel to each colour, (K, H, W)."""
    pixels = rgb2lab(plotting.to_array(picture)[0])
    return np.stack([deltaE_ciede2000(pixels, np.broadcast_to(one, pixels.shape)) for one in wanted])
