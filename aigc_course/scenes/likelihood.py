"""How likely each caption of the world is: the exact floor under a language model that has never seen the pictures."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from aigc_course.scenes.captions import paraphrases
from aigc_course.scenes.scene import MIXTURE, Facts, Scene, Thing, unseen
from aigc_course.scenes.vocabulary import BACKGROUNDS, COLOURS, RELATIONS, SIZES, STYLES, THINGS


def surprise(facts: Facts, text: str, language: str = "en") -> float:
    """Nats of surprise, -log p(text), at a full caption of a random scene of the training world.

    p(text) = p(facts) p(text | facts): a full caption states every fact, so no other facts could have led to it.
    Which scenes the splits hold back by lot is not counted, since nobody could learn it; compositions that
    training never sees are.  ValueError where the caption cannot come from these facts.
    """
    told = paraphrases(facts, language)
    if text not in told:
        raise ValueError(f"{text!r} is no full caption of these facts; take one from scenes.caption")
    return -math.log(probability(facts)) - math.log(told[text])


def probability(facts: Facts) -> float:
    """The chance that a random training scene shows these facts (all of them stated), 0 for unseen compositions."""
    if unseen(_like(facts)):
        return 0.0
    task = "pair" if len(facts.groups) == 2 else "single" if facts.groups[0].count == 1 else "count"
    counts = _countable()
    total = sum(MIXTURE[name] * counts[name][0] / counts[name][1] for name in MIXTURE)
    return MIXTURE[task] / counts[task][1] / total


def _like(facts: Facts) -> Scene:
    """Any scene with these facts; where things stand does not matter here."""
    things = [Thing(g.name, g.colour, g.size) for g in facts.groups for _ in range(g.count)]
    return Scene(tuple(things), facts.background, facts.style)


@lru_cache
def _countable() -> dict[str, tuple[int, int]]:
    """For each task: how many different facts training may hold, of how many that the dice can throw."""
    kinds = [(name, colour) for name in THINGS for colour in COLOURS]
    alone = np.array(
        [[not unseen(Scene((Thing(*kind),), style=style)) for kind in kinds] for style in STYLES], dtype=np.int64
    )  # (styles, kinds)
    meet = np.array([[a != b for b in kinds] for a in kinds], dtype=np.int64)
    names = list(THINGS)
    apart = np.array([[not _never_meet(a, b) for b in names] for a in names], dtype=np.int64)
    meet *= apart.repeat(len(COLOURS), 0).repeat(len(COLOURS), 1)
    pairs = int(np.einsum("sa,sb,ab->", alone, alone, meet))
    sizes, places = len(SIZES), len(BACKGROUNDS)
    single, thrown = int(alone.sum()) * sizes * places, alone.size * sizes * places
    in_relation = sizes**2 * places * len(RELATIONS)
    return {
        "single": (single, thrown),
        "pair": (pairs * in_relation, len(kinds) ** 2 * len(STYLES) * in_relation),
        "count": (3 * single, 3 * thrown),
    }


def _never_meet(a: str, b: str) -> bool:
    return (a, b) in unseen(Scene((Thing(a, "red"), Thing(b, "blue", x=0.2))))
