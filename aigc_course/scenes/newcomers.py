"""Two things and four styles that the world lacks: nothing of the cast has seen them, so they can be taught.

A new thing is an individual with colours of its own; the styles paint the same polygons as the eight of the world.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from aigc_course.scenes import styles
from aigc_course.scenes.captions import caption
from aigc_course.scenes.datasets import Sample
from aigc_course.scenes.drawing import prepare
from aigc_course.scenes.scene import Scene
from aigc_course.scenes.shapes import Part, arc, box, oval, poly
from aigc_course.scenes.styles import INK, Artwork, Shape
from aigc_course.scenes.vocabulary import SIZES

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Newcomer:
    """What a new thing is called in both languages, and its own colours by tone."""

    en: str
    zh: str
    tones: dict[str, Colour]


NEW_THINGS = {
    "robot": Newcomer(
        "robot",
        "机器人",
        {"body": (72, 168, 168), "dark": (36, 104, 116), "light": (196, 230, 226), "eye": (255, 196, 60), "ink": INK},
    ),
    "teapot": Newcomer(
        "teapot",
        "茶壶",
        {"body": (150, 96, 60), "dark": (98, 58, 38), "light": (214, 172, 132), "eye": (236, 226, 206), "ink": INK},
    ),
}
NEW_STYLES = {"chalk": "粉笔画", "sepia": "老照片", "woodcut": "木刻画", "cut paper": "剪纸"}  # English, Chinese


# --- the things ---------------------------------------------------------------------------------------------
def _robot(rng: random.Random) -> list[Part]:
    lean = rng.uniform(-0.06, 0.06)
    return [
        Part(box(-0.04 + lean, -1.0, 0.04 + lean, -0.75), "ink"),
        Part(oval(lean, -0.98, 0.1, n=12), "eye"),
        Part(box(-0.85, -0.12, -0.6, 0.5), "dark"),
        Part(box(0.6, -0.12, 0.85, 0.5), "dark"),
        Part(box(-0.4, 0.55, -0.1, 1.0), "dark"),
        Part(box(0.1, 0.55, 0.4, 1.0), "dark"),
        Part(box(-0.58, -0.18, 0.58, 0.66), "body"),
        Part(box(-0.34, 0.08, 0.34, 0.42), "light"),
        Part(box(-0.5 + lean, -0.78, 0.5 + lean, -0.22), "body"),
        *[Part(oval(x + lean, -0.52, 0.14, n=14), "eye") for x in (-0.22, 0.22)],
        *[Part(oval(x + lean, -0.52, 0.06, n=10), "ink") for x in (-0.22, 0.22)],
    ]


def _teapot(rng: random.Random) -> list[Part]:
    lift = rng.uniform(-0.05, 0.05)
    ring = np.concatenate([arc(18, -0.25, 0.249) * (0.42, 0.4), arc(18, -0.25, 0.249)[::-1] * (0.26, 0.24)])
    return [
        Part(ring + (0.56, 0.12), "dark"),
        Part(poly((-0.45, 0.3), (-0.85, -0.25 + lift), (-1.0, -0.32 + lift), (-0.94, -0.12), (-0.6, 0.55)), "dark"),
        Part(oval(0, 0.22, 0.68, 0.58)),
        Part(oval(0, 0.28, 0.6, 0.16, 18), "light"),
        Part(box(-0.34, 0.72, 0.34, 0.86), "dark"),
        Part(poly((-0.42, -0.28), (-0.2, -0.5), (0.2, -0.5), (0.42, -0.28)), "dark"),
        Part(oval(0, -0.6, 0.12, n=12), "eye"),
    ]


_DRAWN = {"robot": _robot, "teapot": _teapot}


# --- the styles ---------------------------------------------------------------------------------------------
@lru_cache(maxsize=16)
def _grain(size: int, seed: int) -> np.ndarray:
    """How much chalk stays on each pixel of a rough board, 0 to 1: (size, size, 1)."""
    return np.random.default_rng(seed).uniform(0.45, 1, (size, size, 1)).astype(np.float32)


def _chalk(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Pale lines and rubbed colour on a dark green board."""
    board, white, n = (34, 54, 48), (255, 255, 255), size * styles.OVERSAMPLE
    layer = Image.new("RGB", (n, n))
    draw = ImageDraw.Draw(layer)
    for shape in art.scenery:
        styles.outline(draw, shape, n, max(1, round(0.006 * n)), styles.mix((0, 0, 0), shape.colour, 0.45))
    styles.paint(
        layer, art.things, 0.016, lambda c: styles.mix(c, white, 0.55), lambda c: styles.mix((0, 0, 0), c, 0.55)
    )
    chalk = styles.floats(layer.reduce(styles.OVERSAMPLE)) * _grain(size, rng.randrange(8))
    return styles.finish(chalk + np.array(board, np.float32) * (1 - chalk.max(2, keepdims=True) / 255))


def _flat(art: Artwork, size: int, outline: float) -> Image.Image:
    """The plain drawing from which two of the styles start."""
    n = size * styles.OVERSAMPLE
    canvas = styles.gradient(art.sky, n)
    styles.areas(canvas, art.scenery)
    styles.paint(canvas, art.things, outline, lambda c: styles.mix(c, INK, 0.6))
    return canvas.reduce(styles.OVERSAMPLE)


@lru_cache(maxsize=4)
def _vignette(size: int) -> np.ndarray:
    """How much light reaches each pixel of an old photograph, less in the corners: (size, size)."""
    at = np.linspace(-1, 1, size, dtype=np.float32)
    return 1 - 0.3 * (at[:, None] ** 2 + at**2) ** 1.5


def _sepia(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """An old photograph: brown for dark, cream for light, darker corners; no colour is left."""
    light = _flat(art, size, 0.012).convert("L")
    share = (np.asarray(light, np.float32) / 255 * _vignette(size))[..., None]
    dark, pale = np.array((58, 34, 20), np.float32), np.array((252, 232, 196), np.float32)
    return styles.finish(dark + (pale - dark) * share)


def _woodcut(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Black level lines, thick where it is dark, printed over a thin tint on cream paper."""
    picture, paper, period = styles.floats(_flat(art, size, 0.02)), np.array((246, 236, 212), np.float32), size / 26
    light = picture.mean(2) / 255
    wave = np.abs((np.arange(size)[:, None] + rng.randrange(5)) / period % 1 - 0.5) * 2
    black = np.clip((0.92 - light - 0.55 * wave) * 6, 0, 1)[..., None]
    tint = picture + (paper - picture) * 0.4
    return styles.finish(tint * (1 - black) + np.array(INK, np.float32) * black)


def _paper(art: Artwork, size: int, rng: random.Random) -> Image.Image:
    """Cut paper: pale sheets laid one upon the other, each with its shadow below and to the right."""
    n = 2 * size
    canvas = styles.gradient([styles.mix(c, (255, 255, 255), 0.35) for c in art.sky], n)
    for shape in [*art.scenery, *art.things]:
        shadow = Image.new("L", (n, n))
        ImageDraw.Draw(shadow).polygon(((shape.points + 0.014) * n).ravel().tolist(), fill=150)
        canvas.paste((40, 36, 48), mask=shadow.filter(ImageFilter.BoxBlur(n / 90)))
        styles.areas(canvas, [replace(shape, colour=styles.mix(shape.colour, (255, 250, 240), 0.2))])
    return canvas.reduce(2)


_PAINTERS = {"chalk": _chalk, "sepia": _sepia, "woodcut": _woodcut, "cut paper": _paper}


# --- pictures and captions ----------------------------------------------------------------------------------
def _known(value: str | None, allowed, what: str) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"no new {what} called {value!r}; use one of: {', '.join(allowed)}")


def _placed(name: str, x: float, y: float, size: str, rng: random.Random) -> list[Shape]:
    half, tones = SIZES[size] * rng.uniform(0.94, 1.06), NEW_THINGS[name].tones
    return [Shape(part.points * half + (x, y), tones[part.tone]) for part in _DRAWN[name](rng)]


def draw_new(
    scene: Scene | Sample, thing: str | None = None, style: str | None = None, size: int = 128, seed: int = 0
) -> Image.Image:
    """Paint a scene with a new thing in the place of each of its things, in a new style, or both: RGB, size × size.

    What is not given stays as the scene says.  thing: one of `NEW_THINGS`;  style: one of `NEW_STYLES`.
    """
    _known(thing, NEW_THINGS, "thing")
    _known(style, NEW_STYLES, "style")
    scene, seed = (scene.scene, scene.seed) if isinstance(scene, Sample) else (scene, seed)
    ready = prepare(scene, seed)
    art, rng = ready.art, ready.rng
    if thing:
        shapes = [shape for t in scene.things for shape in _placed(thing, t.x, t.y, t.size, rng)]
        art = replace(art, things=shapes)
    painter = _PAINTERS[style] if style else styles.PAINTERS[scene.style]
    return painter(art, size, rng)


def new_pictures(
    scenes: list[Sample] | list[Scene], thing: str | None = None, style: str | None = None, size: int = 128
) -> torch.Tensor:
    """`draw_new` for a batch: float32 (B, 3, size, size) in [-1, 1]."""
    pixels = np.stack([np.asarray(draw_new(one, thing, style, size)) for one in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def new_caption(
    scene: Scene | Sample,
    rng: random.Random,
    language: str = "en",
    thing: str | None = None,
    style: str | None = None,
) -> str:
    """What `draw_new` shows, in the words of the world's grammar but for the new ones.

    thing: a word of your own for a new thing, or one of `NEW_THINGS` (told in the language asked for); it has no
    colour, as it is an individual.  style: the same for a new style, told as "…, chalk style".
    """
    scene = scene.scene if isinstance(scene, Sample) else scene
    facts, exchange = scene.facts, []
    if thing:
        if len(facts.groups) > 1:
            raise ValueError("a new thing is told alone, or as several of its kind; give a scene of one kind of thing")
        facts = replace(facts, groups=(replace(facts.groups[0], colour="white", name="circle"),))
        word = getattr(NEW_THINGS[thing], language) if thing in NEW_THINGS else thing
        exchange = [("white ", ""), ("白色的", ""), ("circle", word), ("圆形", word)]
    text = caption(replace(facts, style=None) if style else facts, rng, language)
    for plain, new in exchange:
        text = text.replace(plain, new)
    if style and language == "zh":
        return f"{text}，{NEW_STYLES.get(style, style)}"
    return f"{text}, {style} style" if style else text
