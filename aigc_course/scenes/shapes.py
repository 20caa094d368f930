"""How each thing and each background is built: lists of polygons with a tone, varied by a random generator."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Part:
    """A polygon (N, 2) in the thing's own square [-1, 1]², y down, and the tone it is painted in.

    Tones: body, dark, light (shades of the thing's colour), ink (near black), cream (near white).
    """

    points: np.ndarray
    tone: str = "body"


@lru_cache(maxsize=64)
def arc(n: int, start: float, stop: float) -> np.ndarray:
    """n points (n, 2) on a part of the unit circle."""
    angle = 2 * math.pi * np.linspace(start, stop, n, endpoint=stop - start < 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def oval(
    x: float, y: float, rx: float, ry: float | None = None, n: int = 22, start: float = 0.0, stop: float = 1.0
) -> np.ndarray:
    """An ellipse, or a piece of one, around (x, y): (n, 2)."""
    return arc(n, start, stop) * (rx, rx if ry is None else ry) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A rectangle: (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def poly(*points: tuple[float, float]) -> np.ndarray:
    """Corners as an array (N, 2)."""
    return np.array(points, dtype=float)


def _turn(points: np.ndarray, degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return points @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])


# --- things -------------------------------------------------------------------------------------------------
def _house(rng):
    eave, peak, door = rng.uniform(-0.25, -0.1), rng.uniform(-1.0, -0.85), rng.choice([-0.35, 0.0, 0.3])
    window = 0.42 if door <= 0 else -0.42
    chimney = rng.choice([-0.5, 0.5])
    return [
        Part(box(chimney - 0.12, -0.9, chimney + 0.12, -0.3), "dark"),
        Part(box(-0.75, eave, 0.75, 0.95)),
        Part(poly((-1.0, eave + 0.03), (0, peak), (1.0, eave + 0.03)), "dark"),
        Part(box(door - 0.18, 0.38, door + 0.18, 0.95), "ink"),
        Part(box(window - 0.2, 0.12, window + 0.2, 0.5), "cream"),
    ]


def _tree(rng):
    if rng.random() < 0.5:  # a fir: three tiers
        w = rng.uniform(0.75, 0.9)
        tiers = [
            Part(poly((-w * k, y), (0, y - 0.85), (w * k, y)), t)
            for k, y, t in [(1, 0.55, "dark"), (0.8, 0.15, "body"), (0.58, -0.2, "light")]
        ]
        return [Part(box(-0.14, 0.5, 0.14, 1.0), "ink"), *tiers]
    lean = rng.uniform(-0.08, 0.08)
    crowns = [
        (-0.38, -0.1, 0.46, "dark"),
        (0.4, -0.12, 0.45, "dark"),
        (lean, -0.4, 0.56, "body"),
        (lean - 0.18, -0.55, 0.2, "light"),
    ]
    return [
        Part(poly((-0.2, 1.0), (-0.1, 0.0), (0.1, 0.0), (0.2, 1.0)), "ink"),
        *[Part(oval(x, y, r), t) for x, y, r, t in crowns],
    ]


def _car(rng):
    side, roof = rng.choice([-1, 1]), rng.uniform(-0.62, -0.5)
    cabin = poly((-0.55, 0.02), (-0.35, roof), (0.35, roof), (0.62, 0.02))
    glass = poly((-0.4, -0.02), (-0.26, roof + 0.12), (0.28, roof + 0.12), (0.46, -0.02))
    body = poly((-1.0, 0.12), (-0.9, -0.05), (0.8, -0.05), (1.0, 0.15), (1.0, 0.52), (-1.0, 0.52))
    parts = [Part(cabin, "dark"), Part(glass, "cream"), Part(body), Part(box(-1.0, 0.3, 1.0, 0.4), "light")]
    wheels = [Part(oval(x, 0.52, r), t) for x in (-0.55, 0.55) for r, t in ((0.28, "ink"), (0.12, "cream"))]
    return [Part(p.points * (side, 1), p.tone) for p in parts + wheels]


def _boat(rng):
    side, top = rng.choice([-1, 1]), rng.uniform(-1.0, -0.9)
    parts = [
        Part(box(-0.05, top, 0.03, 0.35), "ink"),
        Part(poly((0.1, top + 0.06), (0.1, 0.28), (0.8, 0.28)), "light"),
        Part(poly((-0.12, top + 0.2), (-0.12, 0.28), (-0.62, 0.28)), "cream"),
        Part(poly((-1.0, 0.38), (1.0, 0.38), (0.66, 0.92), (-0.62, 0.92))),
        Part(poly((-0.93, 0.5), (0.93, 0.5), (0.86, 0.62), (-0.83, 0.62)), "dark"),
    ]
    return [Part(p.points * (side, 1), p.tone) for p in parts]


def _fish(rng):
    side, fat = rng.choice([-1, 1]), rng.uniform(0.42, 0.54)
    parts = [
        Part(poly((0.5, 0), (1.0, -0.5), (0.88, 0), (1.0, 0.5)), "dark"),
        Part(poly((-0.25, -fat + 0.08), (0.05, -fat - 0.28), (0.35, -fat + 0.2)), "dark"),
        Part(oval(-0.15, 0, 0.82, fat)),
        Part(oval(-0.1, fat * 0.45, 0.5, fat * 0.35), "light"),
        Part(poly((0.0, -0.02), (0.3, -0.16), (0.3, 0.18)), "dark"),
        Part(oval(-0.58, -0.12, 0.15, n=14), "cream"),
        Part(oval(-0.61, -0.12, 0.075, n=10), "ink"),
    ]
    return [Part(p.points * (side, 1), p.tone) for p in parts]


def _cat(rng):
    side, tilt = rng.choice([-1, 1]), rng.uniform(-0.05, 0.05)
    parts = [
        Part(oval(0.68, 0.42, 0.3, 0.42, 16, -0.25, 0.3), "dark"),
        Part(oval(0.12, 0.5, 0.6, 0.5)),
        Part(oval(0.05, 0.62, 0.3, 0.36, 16), "light"),
        Part(poly((-0.62, -0.45), (-0.6, -1.0), (-0.2, -0.72)), "dark"),
        Part(poly((0.42, -0.45), (0.4, -1.0), (0.02, -0.72)), "dark"),
        Part(oval(-0.1, -0.36, 0.56, 0.46)),
        *[Part(oval(-0.1 + x, -0.42 + tilt, 0.085, 0.12, 12), "ink") for x in (-0.22, 0.22)],
        Part(poly((-0.18, -0.22), (-0.02, -0.22), (-0.1, -0.12)), "cream"),
    ]
    return [Part(p.points * (side, 1), p.tone) for p in parts]


def _bird(rng):
    side, wing = rng.choice([-1, 1]), rng.uniform(-0.85, -0.6)
    parts = [
        Part(poly((0.45, 0.1), (1.0, -0.2), (0.95, 0.3)), "dark"),
        Part(oval(0.02, 0.18, 0.66, 0.46)),
        Part(oval(-0.05, 0.36, 0.42, 0.25, 16), "light"),
        Part(oval(-0.52, -0.22, 0.36)),
        Part(poly((-0.84, -0.3), (-1.05, -0.12), (-0.82, -0.08)), "ink"),
        Part(oval(-0.6, -0.28, 0.08, n=10), "ink"),
        Part(poly((-0.25, 0.12), (0.3, wing), (0.55, 0.15)), "dark"),
        *[Part(box(x - 0.04, 0.58, x + 0.04, 0.95), "ink") for x in (-0.12, 0.14)],
    ]
    return [Part(p.points * (side, 1), p.tone) for p in parts]


def _flower(rng):
    n, start = rng.choice([5, 6]), rng.uniform(0, 60)
    bend = rng.choice([-1, 1])
    petals = [_turn(oval(0, -0.38, 0.25, 0.3, 16), start + 360 * k / n) + (0, -0.3) for k in range(n)]
    return [
        Part(poly((-0.06, 0.2), (0.06, 0.2), (0.05 + 0.1 * bend, 1.0), (-0.05 + 0.1 * bend, 1.0)), "ink"),
        Part(poly((0.02, 0.8), (0.25 * bend, 0.5), (0.5 * bend, 0.5), (0.3 * bend, 0.75)), "dark"),
        *[Part(p) for p in petals],
        Part(oval(0, -0.3, 0.24), "cream"),
        Part(oval(0, -0.3, 0.12, n=14), "dark"),
    ]


def _mushroom(rng):
    wide = rng.uniform(0.85, 1.0)
    cap = np.concatenate(
        [oval(0, 0.05, wide, 0.9, 20, 0.5, 1.0), poly((wide, 0.05), (0.5, 0.2), (-0.5, 0.2))]
    )
    spots = [(-0.42, -0.22, 0.15), (0.08, -0.5, 0.17), (0.5, -0.16, 0.13)]
    return [
        Part(poly((-0.24, 0.1), (0.24, 0.1), (0.36, 0.9), (0, 1.0), (-0.36, 0.9)), "cream"),
        Part(cap),
        Part(poly((-wide, 0.05), (wide, 0.05), (0.5, 0.22), (-0.5, 0.22)), "dark"),
        *[Part(oval(x * wide, y, r, n=12), "cream") for x, y, r in spots],
    ]


def _rocket(rng):
    tilt, flame = rng.uniform(-18, 18), rng.uniform(0.8, 1.0)
    right = [(0.0, -1.0), (0.2, -0.72), (0.31, -0.4), (0.34, 0.0), (0.3, 0.5)]
    hull = np.array(right + [(-x, y) for x, y in right[:0:-1]])
    parts = [
        Part(poly((-0.2, 0.5), (0, flame), (0.2, 0.5)), "cream"),
        Part(poly((-0.28, 0.05), (-0.68, 0.68), (-0.26, 0.5)), "dark"),
        Part(poly((0.28, 0.05), (0.68, 0.68), (0.26, 0.5)), "dark"),
        Part(hull),
        Part(poly((-0.22, -0.68), (0, -1.0), (0.22, -0.68)), "dark"),
        Part(oval(0, -0.28, 0.2, n=16), "ink"),
        Part(oval(0, -0.28, 0.13, n=14), "cream"),
    ]
    return [Part(_turn(p.points, tilt), p.tone) for p in parts]


def _circle(rng):
    return [Part(oval(0, 0, 0.9, n=36)), Part(oval(-0.3, -0.35, 0.22, n=16), "light")]


def _square(rng):
    turn = rng.uniform(-10, 10)
    return [
        Part(_turn(p, turn), t)
        for p, t in [(box(-0.8, -0.8, 0.8, 0.8), "body"), (box(-0.6, -0.6, 0.6, -0.38), "light")]
    ]


def _triangle(rng):
    turn = rng.uniform(-8, 8)
    outer, inner = (
        poly((0, -0.95), (0.98, 0.8), (-0.98, 0.8)),
        poly((-0.05, -0.45), (0.1, -0.18), (-0.42, 0.45), (-0.55, 0.45)),
    )
    return [Part(_turn(outer, turn)), Part(_turn(inner, turn), "light")]


def _star(rng):
    turn, waist = rng.uniform(-14, 14), rng.uniform(0.42, 0.48)
    spokes = [
        (math.sin(math.pi * k / 5) * r, -math.cos(math.pi * k / 5) * r)
        for k in range(10)
        for r in [(1.0, waist)[k % 2]]
    ]
    return [Part(_turn(np.array(spokes), turn)), Part(_turn(oval(-0.1, -0.2, 0.14, n=12), turn), "light")]


def _heart(rng):
    t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    x, y = 16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    turn = rng.uniform(-12, 12)
    outer = np.stack([x / 17, (y - 2.5) / 16], axis=1)
    return [Part(_turn(outer, turn)), Part(_turn(oval(-0.42, -0.42, 0.17, 0.14, 12), turn), "light")]


def _cross(rng):
    turn, arm = rng.uniform(-12, 12), rng.uniform(0.26, 0.34)
    quarter = poly((-arm, -0.92), (arm, -0.92), (arm, -arm))
    outer = np.concatenate([_turn(quarter, angle) for angle in (0, 90, 180, 270)])
    return [Part(_turn(outer, turn)), Part(_turn(oval(0, 0, 0.16, n=12), turn), "light")]


DRAWN = {
    "house": _house,
    "tree": _tree,
    "car": _car,
    "boat": _boat,
    "fish": _fish,
    "cat": _cat,
    "bird": _bird,
    "flower": _flower,
    "mushroom": _mushroom,
    "rocket": _rocket,
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
}


def thing_parts(name: str, rng: random.Random) -> list[Part]:
    """The polygons of one thing, back to front, with the shape varied by `rng`."""
    return DRAWN[name](rng)


# --- backgrounds --------------------------------------------------------------------------------------------
def _ridge(base: float, height: float, waves: int, rng: random.Random) -> np.ndarray:
    """A hilly horizon as a polygon that reaches the lower edge; unit picture coordinates."""
    x = np.linspace(0, 1, 17)
    y = sum(
        rng.uniform(0.3, 1) / k * np.sin(2 * math.pi * (k * waves / 2 * x + rng.random())) for k in (1, 2)
    )
    return np.concatenate([np.stack([x, base - height * y], 1), [(1, 1), (0, 1)]])


def _meadow(rng):
    horizon = rng.uniform(0.52, 0.66)
    sun = (rng.choice([rng.uniform(0.08, 0.3), rng.uniform(0.7, 0.92)]), rng.uniform(0.1, 0.2))
    tufts = [
        (x := rng.random(), y := rng.uniform(0.75, 0.97))
        and poly((x - 0.02, y), (x, y - 0.05), (x + 0.02, y))
        for _ in range(5)
    ]
    return ((188, 222, 240), (232, 243, 236)), [
        (oval(*sun, 0.07), (252, 232, 160)),
        (_ridge(horizon - 0.06, 0.04, 2, rng), (176, 208, 158)),
        (_ridge(horizon + 0.06, 0.03, 3, rng), (148, 192, 128)),
        *[(t, (118, 168, 104)) for t in tufts],
    ]


def _sea(rng):
    horizon = rng.uniform(0.42, 0.56)
    x = np.linspace(0, 1, 33)
    bands = []
    for k, colour in enumerate([(120, 178, 200), (98, 160, 188), (78, 142, 174)]):
        y = horizon + 0.17 * k + 0.012 * k * np.sin(2 * math.pi * (5 - k) * x + rng.uniform(0, 6))
        bands.append((np.concatenate([np.stack([x, y], 1), [(1, 1), (0, 1)]]), colour))
    return ((206, 228, 236), (240, 240, 228)), bands


def _night(rng):
    moon = (rng.choice([rng.uniform(0.1, 0.28), rng.uniform(0.72, 0.9)]), rng.uniform(0.1, 0.22))
    stars = [oval(rng.random(), rng.uniform(0.02, 0.72), rng.uniform(0.006, 0.013), n=6) for _ in range(14)]
    return ((24, 28, 66), (62, 64, 112)), [
        *[(s, (226, 226, 240)) for s in stars],
        (oval(*moon, 0.075), (240, 236, 210)),
        (oval(moon[0] + 0.03, moon[1] - 0.015, 0.06), (34, 38, 78)),
        (_ridge(rng.uniform(0.82, 0.9), 0.04, 3, rng), (22, 26, 48)),
    ]


def _desert(rng):
    horizon, cactus = rng.uniform(0.55, 0.66), rng.choice([rng.uniform(0.08, 0.16), rng.uniform(0.84, 0.92)])
    h = horizon + 0.06
    return ((244, 222, 186), (250, 236, 208)), [
        (oval(rng.uniform(0.3, 0.7), horizon - 0.02, 0.13), (250, 206, 150)),
        (_ridge(horizon, 0.05, 2, rng), (226, 190, 138)),
        (box(cactus - 0.016, h - 0.17, cactus + 0.016, h), (124, 146, 106)),
        (
            poly(
                (cactus, h - 0.08),
                (cactus + 0.05, h - 0.08),
                (cactus + 0.05, h - 0.13),
                (cactus + 0.03, h - 0.13),
                (cactus + 0.03, h - 0.1),
                (cactus, h - 0.1),
            ),
            (124, 146, 106),
        ),
        (_ridge(horizon + 0.17, 0.05, 2, rng), (210, 170, 116)),
    ]


def _snow(rng):
    horizon = rng.uniform(0.56, 0.66)
    peaks = [
        (x, rng.uniform(0.2, 0.3), rng.uniform(0.16, 0.24))
        for x in (rng.uniform(0.05, 0.3), rng.uniform(0.65, 0.95))
    ]
    layers = []
    for x, h, w in peaks:
        layers += [
            (poly((x - w, horizon + 0.05), (x, horizon - h), (x + w, horizon + 0.05)), (164, 182, 204))
        ]
        layers += [
            (
                poly((x - w * 0.3, horizon - h * 0.64), (x, horizon - h), (x + w * 0.3, horizon - h * 0.64)),
                (244, 248, 252),
            )
        ]
    flakes = [(oval(rng.random(), rng.uniform(0.02, 0.6), 0.011, n=8), (255, 255, 255)) for _ in range(12)]
    return ((190, 206, 224), (222, 230, 238)), [
        *layers,
        (_ridge(horizon + 0.03, 0.02, 2, rng), (226, 236, 244)),
        *flakes,
    ]


def _city(rng):
    ground, layers, x = rng.uniform(0.72, 0.8), [], -0.04
    while x < 1:
        w, top = rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.48)
        grey = rng.choice([(168, 166, 178), (152, 152, 168), (184, 178, 184)])
        layers.append((box(x, top, x + w, ground + 0.02), grey))
        windows = [(x + w * fx, top + 0.06 + 0.13 * row) for fx in (0.3, 0.7) for row in range(2)]
        layers += [(box(wx - 0.018, wy, wx + 0.018, wy + 0.045), (236, 224, 178)) for wx, wy in windows]
        x += w + rng.uniform(0.0, 0.03)
    road = [(box(0, ground, 1, 1), (122, 122, 132))]
    dashes = [(box(0.25 * k + 0.04, 0.9, 0.25 * k + 0.17, 0.92), (232, 228, 214)) for k in range(4)]
    return ((222, 214, 222), (242, 230, 222)), layers + road + dashes


PAINTED = {"meadow": _meadow, "sea": _sea, "night": _night, "desert": _desert, "snow": _snow, "city": _city}


def scenery(background: str, rng: random.Random) -> tuple[tuple, list[tuple[np.ndarray, tuple]]]:
    """((sky colour above, below), [(polygon in unit picture coordinates, colour), ...]) of one background."""
    return PAINTED[background](rng)
