"""Scenes to pictures: polygons become `Artwork`, a style paints it; boxes and masks of every thing on the side."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from aigc_course.scenes import styles
from aigc_course.scenes.scene import Scene, Thing
from aigc_course.scenes.shapes import scenery, thing_parts
from aigc_course.scenes.vocabulary import COLOURS, SIZES


def _hull_colour(colour: str, rng: random.Random) -> tuple[int, int, int]:
    """The colour's own RGB, a little lighter or darker."""
    shift = rng.uniform(-0.07, 0.07)
    return tuple(round(min(255, max(0, c * (1 + shift)))) for c in COLOURS[colour])


def _tones(rgb: tuple[int, int, int]) -> dict[str, tuple[int, int, int]]:
    return {
        "body": rgb,
        "dark": tuple(round(0.7 * c) for c in rgb),
        "light": tuple(round(c + 0.42 * (255 - c)) for c in rgb),
        "ink": (52, 46, 58),
        "cream": (252, 246, 232),
    }


def _placed(thing: Thing, rng: random.Random) -> list[styles.Shape]:
    """The thing's polygons at its place in the unit picture, in its colour."""
    half = SIZES[thing.size] * rng.uniform(0.94, 1.06)
    tones = _tones(_hull_colour(thing.colour, rng))
    return [
        styles.Shape(part.points * half + (thing.x, thing.y), tones[part.tone])
        for part in thing_parts(thing.name, rng)
    ]


@dataclass(frozen=True)
class Prepared:
    """A scene as polygons: the whole to paint, each thing's own, and the rest of the drawing's chance."""

    art: styles.Artwork
    things: list[list[styles.Shape]]
    rng: random.Random


def prepare(scene: Scene, seed: int) -> Prepared:
    """Fix all that a caption leaves open but for the painter's own chance."""
    rng = random.Random(f"{seed}")
    sky, layers = scenery(scene.background, rng)
    things = [_placed(thing, rng) for thing in scene.things]
    scenery_shapes = [styles.Shape(points, colour) for points, colour in layers]
    return Prepared(
        styles.Artwork(sky, scenery_shapes, [s for shapes in things for s in shapes]), things, rng
    )


def draw(scene: Scene, size: int = 128, seed: int = 0) -> Image.Image:
    """Paint a scene: an RGB picture of size × size pixels, antialiased, the same for the same (scene, size, seed).

    The scene fixes what is where; `seed` varies what a caption does not tell: shapes, shades, the lie of the land.
    """
    if size < 16:
        raise ValueError(f"a picture of {size} pixels is too small to show anything; use size >= 16")
    ready = prepare(scene, seed)
    return styles.PAINTERS[scene.style](ready.art, size, ready.rng)


def masks(scene: Scene, size: int = 128, seed: int = 0) -> list[np.ndarray]:
    """For each thing, in order, the pixels that show it: bool (size, size); nearer things hide farther ones."""
    canvas = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(canvas)
    for index, shapes in enumerate(prepare(scene, seed).things, start=1):
        for shape in shapes:
            pen.polygon((shape.points * size).ravel().tolist(), fill=index)
    owner = np.asarray(canvas)
    return [owner == index for index in range(1, len(scene.things) + 1)]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def boxes(scene: Scene, size: int = 128, seed: int = 0) -> list[tuple[int, int, int, int]]:
    """For each thing its box (left, top, width, height) in pixels, as COCO writes it; all zero if it is hidden."""
    return [_box(mask) for mask in masks(scene, size, seed)]
