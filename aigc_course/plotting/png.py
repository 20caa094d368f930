"""A picture in as few bytes as the eye allows, so that a notebook full of pictures stays small."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

PALETTES = (64, 256)
CLOSE = 35.0  # decibels, over the whole picture
NOWHERE_FAR = 24.0  # decibels, in the worst 16 × 16 pixels


def encode(image: Image.Image) -> bytes:
    """PNG bytes, in the smallest palette in which no eye sees the difference, or full colour.  image: RGB."""
    bins, soft = _bins(image), _soften(image)
    candidates = (_paint(bins, _palette(bins, colours), image.size) for colours in PALETTES)
    best = next((small for small in candidates if _looks_alike(soft, _soften(small))), image)
    buffer = io.BytesIO()
    best.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _soften(image: Image.Image) -> np.ndarray:
    """As the eye does: it forgives a wrong pixel in noise, but no band in the sky."""
    return np.asarray(image.convert("RGB").filter(ImageFilter.GaussianBlur(1)), np.float32)


def _looks_alike(soft: np.ndarray, other: np.ndarray) -> bool:
    error = np.square(soft - other).mean(-1)  # (H, W)
    blocks = np.asarray(Image.fromarray(error).reduce(16))
    return bool(_decibels(error.mean()) >= CLOSE and _decibels(blocks.max()) >= NOWHERE_FAR)


def _decibels(square_error: float) -> float:
    return 10 * np.log10(255**2 / max(square_error, 1e-9))


@dataclass
class _Bins:
    """The colours of a picture, those alike but for two bits taken together."""

    colours: np.ndarray  # (N, 3), their means
    weights: np.ndarray  # (N,)
    counts: np.ndarray  # (N,), pixels
    members: np.ndarray  # (H * W,), the bin of each pixel


def _bins(image: Image.Image) -> _Bins:
    """Rare colours weigh more than their pixels, and busy places less: errors hide in noise, not on a plain wall."""
    pixels = np.asarray(image).reshape(-1, 3)
    blurred = np.asarray(image.filter(ImageFilter.BoxBlur(2)), np.float32).reshape(-1, 3)
    calm = 1 / (4 + np.abs(pixels - blurred).mean(1))
    codes = (pixels >> 2).astype(np.int32) @ np.array([4096, 64, 1], np.int32)
    counts = np.bincount(codes, minlength=64**3)
    used = np.flatnonzero(counts)
    numbers = np.zeros(64**3, np.int32)
    numbers[used] = np.arange(len(used))
    sums = [np.bincount(codes, channel, 64**3)[used] for channel in pixels.T]
    weights = np.sqrt(np.bincount(codes, calm, 64**3)[used])  # the root keeps one red bird among 30 blue skies
    return _Bins(np.stack(sums, 1) / counts[used, None], weights, counts[used], numbers[codes])


def _palette(bins: _Bins, size: int) -> np.ndarray:
    """Colours (K, 3) by weighted k-means (Lloyd 1982), from Pillow's median cut as a first guess."""
    palette = _median_cut(bins, size)
    chosen = np.random.default_rng(0).permutation(len(bins.colours))[:8192]  # enough to place 256 colours
    colours, weights = bins.colours[chosen], bins.weights[chosen]
    for _ in range(6):
        nearest = _nearest(colours, palette)
        total = np.bincount(nearest, weights, len(palette))[:, None]
        sums = [np.bincount(nearest, weights * channel, len(palette)) for channel in colours.T]
        palette = np.where(total > 0, np.stack(sums, 1) / np.maximum(total, 1e-9), palette)
    largest = bins.colours[np.argsort(bins.counts)[-8:]]
    palette[_nearest(largest, palette)] = largest  # plain areas, such as the card, keep their exact colour
    return palette.round()


def _median_cut(bins: _Bins, size: int) -> np.ndarray:
    """Pillow's palette for one line of pixels that holds each bin as often as it weighs."""
    repeats = np.maximum(1, np.round(bins.weights / np.median(bins.weights))).astype(int)
    line = Image.fromarray(np.repeat(bins.colours.round().astype(np.uint8), repeats, axis=0)[None])
    return np.array(line.quantize(size).getpalette()[: 3 * size], float).reshape(-1, 3)


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    return (np.square(palette).sum(1) - 2 * colours @ palette.T).argmin(1)


def _paint(bins: _Bins, palette: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The picture again, each pixel with the number of its colour."""
    numbers = _nearest(bins.colours, palette).astype(np.uint8)[bins.members]
    small = Image.fromarray(numbers.reshape(size[::-1]))
    small.putpalette(palette.astype(np.uint8).tobytes())
    return small
