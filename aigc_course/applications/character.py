"""A virtual character: one robot in many places and poses, judged by somebody else, and introduced."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import hypot
from typing import Any

import torch
from torch import Tensor

from aigc_course import evaluation, lora, models, sampling, scenes, style
from aigc_course.scenes import Scene, Thing

WHO = "robot"
NAMES = {"en": "Robi", "zh": "罗比"}
STRENGTH = 1.5  # of the LoRA: at 1 a robot in twelve is none
NOISE, STEPS = 0.7, 20  # how much of the sketch is forgotten; steps of a walk from pure noise
HOP = 0.12  # of the picture's height
NEAR = 0.15  # what counts as standing where it was told
_SPOTS = (  # size, x, y of the twelve poses: it comes in from afar, goes to and fro, and jumps
    ("small", 0.22, 0.66), ("small", 0.45, 0.66), ("large", 0.7, 0.62), ("large", 0.35, 0.62), ("large", 0.6, 0.6),
    ("large", 0.3, 0.55), ("large", 0.7, 0.64), ("large", 0.5, 0.4), ("large", 0.3, 0.5), ("large", 0.65, 0.42),
    ("large", 0.4, 0.6), ("large", 0.5, 0.52),
)  # fmt: skip


def poses() -> list[Scene]:
    """Twelve scenes: every place of the world twice, one after another, and where in each the character stands.

    The thing in them only marks the spot; styles are two in which a robot keeps its own colours.
    """
    where = [(place, kind) for kind in ("flat", "watercolour") for place in scenes.BACKGROUNDS]
    return [Scene((Thing("square", "blue", *spot),), *one) for spot, one in zip(_SPOTS, where, strict=True)]


def hopping(scene: Scene, height: float = HOP) -> Scene:
    """The same scene, the character higher up."""
    return replace(scene, things=tuple(replace(t, y=max(0.0, t.y - height)) for t in scene.things))


@contextmanager
def taught(pipe: Any, strength: float = STRENGTH) -> Iterator[Any]:
    """Inside, the pipeline knows the robot (data/models/lora-robot); afterwards it is as it was."""
    if not 0 < strength <= 3:
        raise ValueError(f"strength {strength} of the LoRA is beyond its ends; choose it above 0, up to 3")
    lora.load(pipe.unet, models.folder_of(f"lora-{WHO}"), WHO)
    try:
        lora.combine(pipe.unet, {WHO: strength})
        yield pipe
    finally:
        lora.remove(pipe.unet, WHO)


def told(where: Sequence[Scene], language: str = "en") -> list[str]:
    """The prompt of each scene: "a large robot in a meadow, flat style"."""
    return [scenes.new_caption(one, random.Random(k), language, WHO) for k, one in enumerate(where)]


def drawn_from_words(pipe: Any, where: Sequence[Scene], seed: int = 0, steps: int = STEPS) -> Tensor:
    """The character in each scene, from words alone; it stands where it happens to.  (B, 3, 128, 128)."""
    return sampling.words_to_pictures(pipe, told(where), steps, seed=[seed] * len(where))


def posed(pipe: Any, where: Sequence[Scene], seed: int = 0, steps: int = STEPS, noise: float = NOISE) -> Tensor:
    """The character where each scene says: a blue square is drawn there by rule, forgotten but for `noise`'s rest, and
    drawn again with the robot's words.  (B, 3, 128, 128)."""
    sketches = scenes.pictures(list(where), models.PICTURE)
    return torch.cat(
        [
            style.redraw(pipe, sketch[None], [words], noise, steps, seed=seed)  # one by one: all from the same noise
            for sketch, words in zip(sketches, told(where), strict=True)
        ]
    )


# --- measured by others -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Of each picture: is it the character, is the place the one asked for, does it stand where it was told?"""

    identity: tuple[bool, ...]
    place: tuple[bool, ...]
    spot: tuple[bool, ...]


def judged(newcomers: Any, parser: Any, pictures: Tensor, where: Sequence[Scene]) -> Kept:
    """Two judges that draw nothing: the one of newcomers names the character, the parser reads place and spot."""
    if len(pictures) != len(where):
        raise ValueError(f"{len(pictures)} pictures of {len(where)} scenes; give each picture its scene")
    seen = parser.read(pictures)
    return Kept(
        tuple(evaluation.shows(newcomers, pictures, WHO).tolist()),
        tuple(a.background == b.background for a, b in zip(seen, where, strict=True)),
        tuple(_stands(a, b) for a, b in zip(seen, where, strict=True)),
    )


def _stands(seen: evaluation.Reading, asked: Scene) -> bool:
    (spot,) = asked.things
    return any(hypot(t.x - spot.x, t.y - spot.y) <= NEAR for t in seen.things)


# --- introduced ---------------------------------------------------------------------------------------------


def introductions(captioner: Any, tokenizer: Any, pictures: Tensor, language: str = "en") -> list[tuple[str, str]]:
    """For each picture a sentence about the character, and the caption it was taken from.

    The captioner never learnt the word robot.  What it says of size and place is kept, the name is given by us.
    """
    captions = sampling.pictures_to_words(captioner, tokenizer, pictures, language)
    return [(_introduced(one, language), one) for one in captions]


def _introduced(caption: str, language: str) -> str:
    try:
        said = scenes.read_caption(caption)
    except ValueError:
        return ""
    words, size = scenes.vocabulary.WORDS[language], said.groups[0].size
    place = words["background"][said.background][0] if said.background else ""
    if language == "zh":
        return f"{NAMES['zh']}很{words['size'][size][0]}，在{place}。" if size else f"{NAMES['zh']}在{place}。"
    return f"{NAMES['en']} looks {size}, {place}." if size else f"{NAMES['en']} is {place}."


def places_told(captions: Sequence[str], where: Sequence[Scene]) -> list[bool]:
    """Which captions name the place of their scene; what cannot be read does not."""
    found = []
    for caption, scene in zip(captions, where, strict=True):
        try:
            found.append(scenes.read_caption(caption).background == scene.background)
        except ValueError:
            found.append(False)
    return found
