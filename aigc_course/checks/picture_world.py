"""Exercises of notebook 1.3: a scene in code, the box of a mask, the entropy of words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from aigc_course import scenes
from aigc_course.checks.verdict import right, untried


def check_scene(scene: scenes.Scene) -> None:
    """Exercise 1.3.1: an ink drawing of a small yellow star above a large blue boat, at night."""
    if untried(scene, "1.3.1", "replace the dots with scenes.Scene((thing, thing), place, style)"):
        return
    assert isinstance(scene, scenes.Scene), f"build a scenes.Scene, not a {type(scene).__name__}"
    assert len(scene.things) == 2, f"the scene holds {len(scene.things)} thing(s); a star and a boat are two"
    by_name = {thing.name: thing for thing in scene.things}
    assert set(by_name) == {"star", "boat"}, f"the things are {', '.join(sorted(by_name))}; wanted: a star and a boat"
    star, boat = by_name["star"], by_name["boat"]
    assert (star.colour, boat.colour) != ("blue", "yellow"), "the two colours are on each other's thing"
    assert star.colour == "yellow", f"the star is {star.colour}; it should be yellow"
    assert boat.colour == "blue", f"the boat is {boat.colour}; it should be blue"
    assert star.size == "small", f"the star is {star.size}; it should be small"
    assert boat.size == "large", f"the boat is {boat.size}; it should be large"
    assert scene.background == "night", f"the place is {scene.background}; it should be night"
    assert scene.style == "ink", f"the style is {scene.style}; it should be ink"
    assert (star.x, star.y) != (boat.x, boat.y), "both stand at one point, so nothing is above; give each its own y"
    assert star.y != boat.y, "they stand side by side; for above, the two y must differ"
    assert star.y < boat.y, "the star is below the boat: y grows downwards, so above means a smaller y"
    assert scene.facts.relation == "above", "they are further apart sideways than in height; bring the two x together"
    right("1.3.1")


def check_box(answer: Callable[[np.ndarray], tuple]) -> None:
    """Exercise 1.3.2: from the pixels of a thing to COCO's box, (left, top, width, height)."""
    mask = np.zeros((12, 20), dtype=bool)
    mask[3:8, 6:16] = True
    mask[3, 6] = False  # corners may be empty
    got = answer(mask)
    if untried(got, "1.3.2", "replace the dots with left, top, width, height"):
        return
    assert isinstance(got, tuple | list | np.ndarray) and len(got) == 4, "return four numbers: left, top, width, height"
    got = tuple(map(int, got))
    assert got != (3, 6, 5, 10), "rows and columns are swapped: left and width come from the columns"
    assert got not in {(6, 3, 15, 7), (6, 3, 16, 8)}, "that is the far corner; COCO wants width and height"
    assert got != (6, 3, 9, 4), "one too narrow: from pixel 6 to pixel 15 there are ten pixels, so add 1"
    assert got != (6, 3, 11, 6), "one too wide: add 1 to the difference once, not twice"
    assert got != (6, 3, 5, 10), "width and height are swapped: width comes from the columns"
    assert got != (0, 0, 20, 12), "that is the whole picture; look only where the mask is True"
    assert got[:2] != (11, 5), "that is the middle; COCO's box begins at its left and top edge"
    assert got == (6, 3, 10, 5), f"for columns 6 to 15 and rows 3 to 7 you gave {got}; wanted (6, 3, 10, 5)"
    point = np.zeros((4, 4), dtype=bool)
    point[2, 1] = True
    got = tuple(map(int, answer(point)))
    assert got == (1, 2, 1, 1), f"a single pixel has a box 1 wide and 1 high, but you gave {got}: use any, not all"
    right("1.3.2")


def check_entropy(answer: Callable[[Counter], float]) -> None:
    """Exercise 1.3.3: the entropy in nats of words with these counts, equation (3)."""
    counts = Counter({"red": 6, "blue": 3, "house": 3})
    got = answer(counts)
    if untried(got, "1.3.3", "replace the dots with equation (3)"):
        return
    p = [0.5, 0.25, 0.25]
    wanted = -sum(q * math.log(q) for q in p)
    got = float(got)

    def is_like(other: float) -> bool:
        return math.isclose(got, other, rel_tol=1e-5)

    assert not is_like(-wanted), "the sign is lost: logarithms of shares are negative, so put a minus before the sum"
    assert not is_like(wanted / math.log(2)), "that is in bits; the course counts in nats: use math.log, not log2"
    assert not is_like(-sum(map(math.log, p))), "each word's surprise counts as often as the word: multiply by p"
    assert not is_like(-sum(map(math.log, p)) / 3), "that averages over different words; weigh each one by its p"
    assert not is_like(math.log(3)), "that is the entropy if all words were equally frequent; use the counts"
    assert not is_like(12 * wanted), "that is the surprise of all the words together; divide by how many there are"
    assert not is_like(-sum(n * math.log(n) for n in counts.values())), "counts are no shares: divide by their sum"
    assert not is_like(math.exp(wanted)), "that is the perplexity; the entropy is its logarithm"
    assert is_like(wanted), f"for counts 6, 3 and 3 you gave {got:.4f}, not equation (3); try two equal counts by hand"
    assert math.isclose(answer(Counter({"a": 5})), 0, abs_tol=1e-9), "one word alone is no surprise: its entropy is 0"
    right("1.3.3")
