"""The eight ways to paint: each takes the same polygons and returns a picture; its parameters stand in `LOOKS`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

OVERSAMPLE = 3  # pictures are drawn this many times larger, then averaged: the antialiasing
INK = (44, 40, 52)


@dataclass(frozen=True)
class Shape:
    """A filled polygon (N, 2) in unit picture coordinates."""

    points: np.ndarray
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Artwork:
    """What is to be painted: a sky gradient, the scenery on it, then the things, back to front."""

    sky: tuple[tuple, tuple]
    scenery: list[Shape]
    things: list[Shape] = field(default_factory=list)


LOOKS = {  # the known parameters of each style; lengths are shares of the picture's height
    "flat": {"outline": 0.008},
    "ink": {"outline": 0.016, "paper": (250, 246, 234), "wash": 0.34, "hatch": 1 / 16},
    "watercolour": {
        "wobble": 0.012,
        "paper": (252, 250, 244),
        "margin": 0.055,
        "wash": 0.2,
        "clouds": 0.09,
        "rim": 0.9,
    },
    "pixel": {"grid": 32, "levels": 10},
    "glass": {"cells": 4, "lead": 0.012, "variation": 0.2},
    "points": {
        "spacing": 1 / 32,
        "radius": 0.0145,
        "shift": (16, 0, -16),
        "paper": (246, 240, 226),
        "bare": 0.4,
    },
    "neon": {"outline": 0.017, "dim": 0.16, "glow": 0.035, "ground": (16, 12, 30)},
    "blueprint": {"outline": 0.012, "ground": (30, 74, 140), "grid": 1 / 8, "tint": 0.3},
}


# --- helpers ------------------------------------------------------------------------------------------------
@lru_cache(maxsize=1024)
def mix(a, b, share: float) -> tuple[int, int, int]:
    """Colour a with a `share` of colour b in it."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


@lru_cache(maxsize=64)
def _column(sky: tuple, size: int) -> Image.Image:
    top, bottom = np.array(sky, dtype=np.float32)
    column = top + (bottom - top) * np.linspace(0, 1, 24, dtype=np.float32)[:, None]
    return Image.fromarray(column.round().astype(np.uint8)[:, None]).resize((1, size), Image.Resampling.BILINEAR)


def gradient(sky, size: int) -> Image.Image:
    """A sky: one colour above running into another below."""
    return _column(tuple(sky), size).resize((size, size), Image.Resampling.NEAREST)


def _polygon(draw: ImageDraw.ImageDraw, shape: Shape, size: int, fill) -> None:
    draw.polygon((shape.points * size).ravel().tolist(), fill=fill)


def outline(draw: ImageDraw.ImageDraw, shape: Shape, size: int, pixels: int, fill) -> None:
    """Draw the edge of a shape, so many pixels wide."""
    path = (shape.points * size).ravel().tolist()
    path += path[:4]  # once around, and over the first corner again
    sharp = pixels > 3 and len(shape.points) < 12  # the corners of a fine polygon need no rounding
    draw.line(path, fill=fill, width=pixels, joint="curve" if sharp else None)


def areas(canvas: Image.Image, shapes: list[Shape]) -> None:
    """Fill each shape with its own colour."""
    draw = ImageDraw.Draw(canvas)
    for shape in shapes:
        _polygon(draw, shape, canvas.width, shape.colour)


def paint(canvas: Image.Image, shapes: list[Shape], width: float, line, fill=None) -> None:
    """Fill and outline one shape after the other, so that nearer ones cover the lines of farther ones.

    width: of the outline, as a share of the picture.  line, fill: functions from the shape's colour to the one painted.
    """
    draw, pixels = ImageDraw.Draw(canvas), max(1, round(width * canvas.width))
    for shape in shapes:
        _polygon(draw, shape, canvas.width, fill(shape.colour) if fill else shape.colour)
        outline(draw, shape, canvas.width, pixels, line(shape.colour))


def floats(picture: Image.Image) -> np.ndarray:
    """Bytes to float32, (H, W, 3), 0 to 255."""
    return np.asarray(picture).astype(np.float32)


@lru_cache(maxsize=8)
def _sheet(colour: tuple, size: int) -> np.ndarray:
    """One colour all over: float32 (size, size, 3).  Arithmetic with it is ten times as fast as with (3,)."""
    return np.full((size, size, 3), colour, dtype=np.float32)


def _thrice(plane: np.ndarray) -> np.ndarray:
    """The same number for red, green and blue: (H, W, 1) to (H, W, 3)."""
    return np.ascontiguousarray(np.broadcast_to(plane, (*plane.shape[:2], 3)))


def finish(picture: np.ndarray) -> Image.Image:
    """Numbers to a picture, those beyond 0 and 255 cut off."""
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _noise(size: int, cells: int, seed: int) -> np.ndarray:
    """A smooth random field (size, size, 1) in [-1, 1] with about `cells` bumps a side."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))[..., None]


# --- styles -------------------------------------------------------------------------------------------------
def flat(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Plain areas of colour, each thing with a fine outline of its own darker shade."""
    canvas = gradient(art.sky, size * OVERSAMPLE)
    areas(canvas, art.scenery)
    paint(canvas, art.things, LOOKS["flat"]["outline"], lambda c: mix(c, INK, 0.45))
    return canvas.reduce(OVERSAMPLE)


@lru_cache(maxsize=8)
def _hatching(size: int, period: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (x + y) % max(2, round(size * period)) < max(1, size // 128)


def ink(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Black pen lines on cream paper over a thin wash of colour; dark places are hatched."""
    look = LOOKS["ink"]
    canvas = gradient([mix(c, look["paper"], 0.6) for c in art.sky], size * OVERSAMPLE)
    paper, grey = look["paper"], mix(INK, look["paper"], 0.35)
    paint(canvas, art.scenery, look["outline"] * 0.35, lambda c: grey, lambda c: mix(c, paper, 0.5))
    paint(canvas, art.things, look["outline"], lambda c: INK, lambda c: mix(c, paper, look["wash"]))
    picture = canvas.reduce(OVERSAMPLE)
    dark = np.asarray(picture.convert("L")) < 135
    picture.paste(INK, mask=Image.fromarray(_hatching(size, look["hatch"]) & dark))
    return picture


@lru_cache(maxsize=64)
def _paper(size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One sheet of paper: where each pixel's paint comes from (flat index), how thin it is, what stays bare."""
    look = LOOKS["watercolour"]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    wobble = look["wobble"] * size
    rows = (y + wobble * _noise(size, 14, seed)[..., 0]).round().clip(0, size - 1)
    columns = (x + wobble * _noise(size, 14, seed + 16)[..., 0]).round().clip(0, size - 1)
    edge = np.minimum(np.minimum(x, size - 1 - x), np.minimum(y, size - 1 - y))[..., None] / size
    bare = ((look["margin"] + 0.025 * _noise(size, 10, seed + 48) - edge) * size / 2).clip(0, 1)
    thin = look["wash"] + look["clouds"] * _noise(size, 6, seed + 32)
    return (rows * size + columns).astype(np.intp), _thrice(thin), _thrice(bare)


def watercolour(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Wobbly washes with darker rims, pigment clouds, and a margin of bare paper."""
    look = LOOKS["watercolour"]
    source, thin, bare = _paper(size, rng.randrange(16))
    canvas = gradient(art.sky, size * 2)
    areas(canvas, art.scenery)
    areas(canvas, art.things)
    wet = Image.fromarray(np.asarray(canvas.reduce(2)).reshape(-1, 3).take(source, axis=0))
    soft = wet.filter(ImageFilter.BoxBlur(size / 80))
    rim = _thrice(floats(ImageChops.difference(wet, soft).convert("L"))[..., None])
    picture = floats(Image.blend(wet, soft, 0.35))
    paper = _sheet(look["paper"], size)
    picture += (paper - picture) * thin - look["rim"] * rim
    return finish(picture + (paper - picture) * bare)


def pixel(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """A 32 × 32 sprite: few levels of colour, dark outline, hard squares."""
    look = LOOKS["pixel"]
    canvas = gradient(art.sky, look["grid"] * 6)
    areas(canvas, art.scenery)
    paint(canvas, art.things, 0.014, lambda c: mix(c, INK, 0.5))
    step = 255 / look["levels"]
    small = finish(np.round(floats(canvas.reduce(6)) / step) * step)
    return small.resize((size, size), Image.Resampling.NEAREST)


@lru_cache(maxsize=32)
def _panes(size: int, count: int, seed: int) -> tuple[Image.Image, Image.Image]:
    """A Voronoi mosaic of about count² panes: (how bright each pane is, where the leads run)."""
    look, rng = LOOKS["glass"], np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(count + 2), np.arange(count + 2)), -1).reshape(-1, 2) - 0.5
    seeds = (grid + rng.uniform(-0.36, 0.36, grid.shape)) * size / count
    panes, at = rng.uniform(1 - look["variation"], 1, len(seeds)) * 255, np.arange(size) + 0.5
    bright, lead = np.empty((size, size), np.uint8), np.empty((size, size), bool)
    for row, y in enumerate(at):  # a row at a time: all distances at once would fill the memory
        distance = np.hypot(at[:, None] - seeds[:, 0], y - seeds[:, 1])
        first, second = np.partition(distance, 1, axis=1)[:, :2].T
        bright[row], lead[row] = panes[distance.argmin(1)], second - first < look["lead"] * size
    return Image.merge("RGB", [Image.fromarray(bright)] * 3), Image.fromarray(lead)


def _lead(canvas: Image.Image, shapes: list[Shape], width: float, colour) -> None:
    draw, pixels = ImageDraw.Draw(canvas), max(1, round(width * canvas.width))
    for shape in shapes:
        _polygon(draw, shape, canvas.width, shape.colour)
        if np.ptp(shape.points, axis=0).max() > 0.1:  # small details are painted on, not leaded
            outline(draw, shape, canvas.width, pixels, colour)


def glass(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Bright panes between black leads, which run around every large form and cut the background at random."""
    look, black = LOOKS["glass"], (30, 28, 36)
    canvas = gradient(art.sky, size * 2)
    _lead(canvas, art.scenery, look["lead"], black)
    bright, leads = _panes(size * 2, look["cells"], rng.randrange(16))
    canvas = ImageChops.multiply(canvas, bright)
    canvas.paste(black, mask=leads)
    _lead(canvas, art.things, look["lead"] * 1.4, black)
    vivid = (floats(canvas.reduce(2)) - 128) * 1.2 + 132
    return finish(vivid)


@lru_cache(maxsize=8)
def _dots(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A hexagonal lattice: (dot of each pixel, its cover there, flat index of each dot's centre, its shift of tone)."""
    look = LOOKS["points"]
    step, n = look["spacing"] * size, round(1 / look["spacing"])
    r, c = np.divmod(np.arange(n * n), n)
    centres = np.stack([(c + 0.5 * (r % 2) + 0.25) * step, (r + 0.5) * step], 1)
    y, x = np.mgrid[:size, :size] + 0.5
    row = (y / step).astype(int).clip(0, n - 1)
    column = np.round(x / step - 0.25 - 0.5 * (row % 2)).astype(int).clip(0, n - 1)
    dot = row * n + column
    distance = np.hypot(x - centres[dot, 0], y - centres[dot, 1])
    cover = _thrice((look["radius"] * size - distance + 0.5).clip(0, 1).astype(np.float32)[..., None])
    at = centres.clip(0, size - 1).astype(int)
    shift = np.array(look["shift"], dtype=np.float32) * (1 - 2 * ((c + r // 2) % 2))[:, None]
    return dot, cover, at[:, 1] * size + at[:, 0], shift


def points(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Dots of pure colour, warm and cool in turn, over a thin ground."""
    look = LOOKS["points"]
    canvas = gradient(art.sky, size * 2)
    areas(canvas, art.scenery)
    areas(canvas, art.things)
    small = canvas.reduce(2)
    picture, mixed = floats(small), floats(small.filter(ImageFilter.BoxBlur(size / 128)))
    dot, cover, at, shift = _dots(size)
    colour = (mixed.reshape(-1, 3)[at] - 128) * 1.25 + 128 + shift
    ground = picture + (_sheet(look["paper"], size) - picture) * look["bare"]
    return finish(ground + (colour.take(dot, axis=0) - ground) * cover)


def neon(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Glowing tubes along every outline, on a dark wall that keeps a hint of the place."""
    look = LOOKS["neon"]
    ground, dim = look["ground"], look["dim"]
    wall = gradient([mix(ground, c, dim) for c in art.sky], size * 2)
    paint(wall, art.scenery, 0.006, lambda c: mix(ground, c, 0.5), lambda c: mix(ground, c, dim * 1.6))
    tubes = Image.new("RGB", wall.size)
    paint(
        tubes,
        art.things,
        look["outline"],
        lambda c: mix(c, (255, 255, 255), 0.1),
        lambda c: mix(c, (0, 0, 0), 0.7),
    )
    lit = tubes.reduce(2)
    glow = lit.filter(ImageFilter.BoxBlur(look["glow"] * size)).filter(
        ImageFilter.BoxBlur(look["glow"] * size / 2)
    )
    brightest = ImageChops.lighter(ImageChops.lighter(*lit.split()[:2]), lit.getchannel(2))
    cover = floats(Image.merge("RGB", [brightest] * 3)) / 255
    return finish(floats(wall.reduce(2)) * (1 - cover) + floats(lit) * 1.1 + 0.9 * floats(glow))


def blueprint(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Coloured pencil with white outlines on blue drafting paper, over a fine grid."""
    look, white = LOOKS["blueprint"], (255, 255, 255)
    canvas = Image.new("RGB", (size * OVERSAMPLE,) * 2, look["ground"])
    draw, pale = ImageDraw.Draw(canvas), mix(look["ground"], white, 0.18)
    for k in range(round(1 / look["grid"])):
        at = round((k + 0.5) * look["grid"] * canvas.width)
        draw.line([(at, 0), (at, canvas.width)], fill=pale, width=OVERSAMPLE)
        draw.line([(0, at), (canvas.width, at)], fill=pale, width=OVERSAMPLE)
    for shape in art.scenery:
        outline(
            draw,
            shape,
            canvas.width,
            max(1, round(0.007 * canvas.width)),
            mix(mix(look["ground"], white, 0.5), shape.colour, 0.3),
        )
    paint(
        canvas,
        art.things,
        look["outline"],
        lambda c: mix(c, white, 0.6),
        lambda c: mix(c, look["ground"], look["tint"]),
    )
    return canvas.reduce(OVERSAMPLE)


PAINTERS = {
    "flat": flat,
    "ink": ink,
    "watercolour": watercolour,
    "pixel": pixel,
    "glass": glass,
    "points": points,
    "neon": neon,
    "blueprint": blueprint,
}
