"""A picture in as few bytes as the eye allows, so that a notebook full of pictures stays small."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

PALETTES = (64, 256)
CLOSE = 37.0  # decibels, over the whole picture
NOWHERE_FAR = 26.0  # decibels, in the worst 16 × 16 pixels


def encode(image: Image.Image) -> bytes:
    """PNG bytes, in the smallest palette in which no eye sees the difference, or full colour.  image: RGB."""
    candidates = (_with_palette(image, colours) for colours in PALETTES)
    best = next((small for small in candidates if _looks_alike(image, small)), image)
    buffer = io.BytesIO()
    best.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _looks_alike(image: Image.Image, small: Image.Image) -> bool:
    """Compare through a slight blur: like the eye, it forgives a wrong pixel in noise, no band in the sky."""
    soft = [
        np.asarray(each.convert("RGB").filter(ImageFilter.GaussianBlur(1)), float) for each in (image, small)
    ]
    error = np.square(soft[0] - soft[1]).mean(-1)  # (H, W)
    blocks = np.array(Image.fromarray(error.astype(np.float32)).reduce(16))
    return _decibels(error.mean()) >= CLOSE and _decibels(blocks.max()) >= NOWHERE_FAR


def _decibels(square_error: float) -> float:
    return 10 * np.log10(255**2 / max(square_error, 1e-9))


def _with_palette(image: Image.Image, colours: int) -> Image.Image:
    """Choose colours by weighted k-means (Lloyd 1982): rare colours still count, busy places count less."""
    bins, members, weights = _colour_bins(image)
    palette = _median_cut(bins, weights, colours)
    chosen = np.random.default_rng(0).permutation(len(bins))[:8192]  # enough to place 256 colours
    for _ in range(6):
        nearest = _nearest(bins[chosen], palette)
        total = np.bincount(nearest, weights[chosen], len(palette))[:, None]
        sums = [np.bincount(nearest, weights[chosen] * channel, len(palette)) for channel in bins[chosen].T]
        palette = np.where(total > 0, np.stack(sums, 1) / np.maximum(total, 1e-9), palette)
    largest = bins[np.argsort(np.bincount(members))[-8:]]
    palette[_nearest(largest, palette)] = largest  # plain areas, such as the card, keep their exact colour
    small = Image.fromarray(
        _nearest(bins, palette.round())[members].reshape(image.size[::-1]).astype(np.uint8)
    )
    small.putpalette(palette.round().astype(np.uint8).tobytes())
    return small


def _colour_bins(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of colours alike but for two bits: their means (N, 3), each pixel's bin, each bin's weight."""
    pixels = np.asarray(image).reshape(-1, 3)
    blurred = np.asarray(image.filter(ImageFilter.BoxBlur(2)), float).reshape(-1, 3)
    calm = 1 / (4 + np.abs(pixels - blurred).mean(1))  # an error hides in noise, and shows on a plain wall
    _, members = np.unique((pixels >> 2).astype(np.int64) @ (4096, 64, 1), return_inverse=True)
    count = np.bincount(members)
    bins = np.stack([np.bincount(members, channel) / count for channel in pixels.T], 1)
    return (
        bins,
        members,
        np.sqrt(np.bincount(members, calm)),
    )  # the root keeps one red bird among 30 blue skies


def _median_cut(bins: np.ndarray, weights: np.ndarray, colours: int) -> np.ndarray:
    """A first palette (K, 3): Pillow's, on one line of pixels that holds each bin as often as it weighs."""
    repeats = np.maximum(1, np.round(weights / np.median(weights))).astype(int)
    line = Image.fromarray(np.repeat(bins.round().astype(np.uint8), repeats, axis=0)[None])
    return np.array(line.quantize(colours).getpalette()[: 3 * colours], float).reshape(-1, 3)


def _nearest(bins: np.ndarray, palette: np.ndarray) -> np.ndarray:
    return (np.square(palette).sum(1) - 2 * bins @ palette.T).argmin(1)
