"""Pictures to be named: of a thing that the models have words for, or in a style that they have none for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc_course import models, scenes
from aigc_course.adaptation.prompts import in_context
from aigc_course.scenes.vocabulary import WORDS

PLACES = [phrases[0] for phrases in WORDS["en"]["background"].values()]
NAMES = tuple(name for name in scenes.THINGS if name != "triangle")  # the world shows no model a flat triangle
NAME_TEMPLATES = tuple(f"a large {colour} {{}} {place}, flat style" for colour in scenes.COLOURS for place in PLACES)
STYLE_TEMPLATES = tuple(f"a large {colour} house {place}, {{}} style" for colour in scenes.COLOURS for place in PLACES)


class Asked(NamedTuple):
    """Pictures (N, 3, H, W), the class of each (N,), and what the classes are called."""

    pictures: Tensor
    labels: Tensor
    names: tuple[str, ...]


def name_pictures(each: int, seed: int = 0) -> Asked:
    """A large thing in the flat style, `each` of every known name, of any colour, in any place.

    `NAME_TEMPLATES` tell all of it but the name.  The models have read such captions; the drawings are new.
    """
    rng = random.Random(f"{seed}/names")
    drawn = scenes.pictures([_large(name, rng) for name in NAMES for _ in range(each)], models.PICTURE)
    return Asked(drawn, torch.arange(len(NAMES)).repeat_interleave(each), NAMES)


def _large(name: str, rng: random.Random) -> scenes.Sample:
    while True:
        group = scenes.Group(1, "large", rng.choice(list(scenes.COLOURS)), name)
        scene = scenes.arrange(scenes.Facts((group,), None, rng.choice(scenes.BACKGROUNDS), "flat"), rng)
        if not scenes.held_out(scene):
            return scenes.Sample(scene, rng.getrandbits(31))


def style_pictures(each: int, split: str = "train", seed: int = 0) -> Asked:
    """Single things in the new styles, `each` of every one, every picture of another scene of the split."""
    names = tuple(scenes.NEW_STYLES)
    told = scenes.samples(each * len(names), split, seed, "single")
    parts = [told[each * k : each * (k + 1)] for k in range(len(names))]
    drawn = torch.cat([scenes.new_pictures(part, style=name) for name, part in zip(names, parts)])
    return Asked(drawn, torch.arange(len(names)).repeat_interleave(each), names)


def shown_things(
    tokenizer: Any, things: Sequence[str], examples: int, count: int, seed: int = 0
) -> tuple[list[str], list[list[int]]]:
    """Beginnings for a language model: some captions of one thing, and the mark that asks for one more.

    Gives the thing of each of `count` beginnings, and its tokens.
    """
    rng = random.Random(f"{seed}/shown")
    wanted = [things[k % len(things)] for k in range(count)]
    return wanted, [in_context(tokenizer, [short_caption(name, rng) for _ in range(examples)]) for name in wanted]


def short_caption(name: str, rng: random.Random) -> str:
    """A thing in a size and a colour, so short that three of them fit before a question."""
    colour = rng.choice([colour for colour in scenes.COLOURS if colour[0] not in "aeiou"])
    return f"a {rng.choice(list(scenes.SIZES))} {colour} {name}"
