"""Answers to the exercises of notebook 1.3."""

import math

import numpy as np

from aigc_course import checks
from aigc_course.scenes import Scene, Thing
from exercises import Exercise

STAR, BOAT = Thing("star", "yellow", "small", 0.5, 0.2), Thing("boat", "blue", "large", 0.5, 0.7)


def _scene(star=STAR, boat=BOAT, place="night", style="ink"):
    return Scene((star, boat), place, style)


def _star(colour="yellow", size="small", x=0.5, y=0.2):
    return Thing("star", colour, size, x, y)


def _boat(colour="blue", size="large", x=0.5, y=0.7):
    return Thing("boat", colour, size, x, y)


SCENE = {
    "a sentence": ("a small yellow star above a large blue boat", "build a scenes.Scene"),
    "the star alone": (Scene((STAR,), "night", "ink"), "a star and a boat are two"),
    "another thing": (_scene(boat=Thing("fish", "blue", "large", 0.5, 0.7)), "the things are fish, star"),
    "colours swapped": (_scene(_star("blue"), _boat("yellow")), "on each other's thing"),
    "a red star": (_scene(_star("red")), "the star is red"),
    "a red boat": (_scene(boat=_boat("red")), "the boat is red"),
    "a large star": (_scene(_star(size="large")), "the star is large"),
    "a small boat": (_scene(boat=_boat(size="small")), "the boat is small"),
    "another place": (_scene(place="sea"), "the place is sea"),
    "another style": (_scene(style="flat"), "the style is flat"),
    "places left open": (_scene(_star(y=0.5), _boat(y=0.5)), "both stand at one point"),
    "side by side": (_scene(_star(x=0.2, y=0.5), _boat(x=0.8, y=0.5)), "stand side by side"),
    "upside down": (_scene(_star(y=0.8), _boat(y=0.3)), "y grows downwards"),
    "too far aside": (_scene(_star(x=0.1), _boat(x=0.9, y=0.5)), "further apart sideways"),
}


def _ends(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1], rows[-1]


def _box(mask, more=1):
    left, top, last, bottom = _ends(mask)
    return left, top, last - left + more, bottom - top + more


def _swapped(mask):
    left, top, width, height = _box(mask)
    return top, left, height, width


def _turned(mask):
    left, top, width, height = _box(mask)
    return left, top, height, width


def _middle(mask):
    left, top, width, height = _box(mask)
    return left + width // 2, top + height // 2, width, height


def _only_large(mask):
    return _box(mask) if mask.sum() > 1 else (0, 0, 0, 0)


BOX = {
    "one number": (lambda m: m.sum(), "return four numbers"),
    "rows and columns": (_swapped, "rows and columns are swapped"),
    "corners": (_ends, "the far corner"),
    "no plus one": (lambda m: _box(m, 0), "one too narrow"),
    "plus two": (lambda m: _box(m, 2), "one too wide"),
    "height before width": (_turned, "width and height are swapped"),
    "the whole picture": (lambda m: (0, 0, *m.shape[::-1]), "the whole picture"),
    "the middle": (_middle, "that is the middle"),
    "inner corner": (lambda m: (7, 4, 9, 4), "wanted (6, 3, 10, 5)"),
    "a single pixel": (_only_large, "a single pixel has a box"),
}


def _shares(counts):
    return [n / sum(counts.values()) for n in counts.values()]


def _entropy(counts):
    return -sum(p * math.log(p) for p in _shares(counts))


ENTROPY = {
    "no minus": (lambda c: -_entropy(c), "the sign is lost"),
    "bits": (lambda c: _entropy(c) / math.log(2), "that is in bits"),
    "no weight": (lambda c: -sum(map(math.log, _shares(c))), "multiply by p"),
    "plain average": (lambda c: -sum(map(math.log, _shares(c))) / len(c), "averages over different words"),
    "all alike": (lambda c: math.log(len(c)), "equally frequent"),
    "the sum": (lambda c: sum(c.values()) * _entropy(c), "all the words together"),
    "counts for shares": (lambda c: -sum(n * math.log(n) for n in c.values()), "counts are no shares"),
    "perplexity": (lambda c: math.exp(_entropy(c)), "that is the perplexity"),
    "collisions": (lambda c: 1 - sum(p * p for p in _shares(c)), "not equation (3)"),
    "shares of twelve": (lambda c: -sum(n / 12 * math.log(n / 12) for n in c.values()), "one word alone"),
}

EXERCISES = [
    Exercise("1.3.1", checks.check_scene, ..., [_scene(), Scene((BOAT, STAR), "night", "ink")], SCENE),
    Exercise("1.3.2", checks.check_box, lambda m: ..., [_box, lambda m: list(_box(m))], BOX),
    Exercise("1.3.3", checks.check_entropy, lambda c: ..., [_entropy], ENTROPY),
]
