"""A storyboard: one character in many places, and how much it stays the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from aigc_course import diffusion, evaluation, plotting, sampling, scenes, style
from aigc_course.applications.cutting import cut_out, mask_overlap
from aigc_course.scenes import Facts, Group

WAYS = ("own noise", "one noise", "shared attention", "pasted")


@dataclass(frozen=True)
class Hero:
    """Who is in every frame: what it is, its colour, its size, and how it is painted."""

    name: str
    colour: str
    size: str = "large"
    style: str = "watercolour"

    def __post_init__(self):
        scenes.Scene((scenes.Thing(self.name, self.colour, self.size),), style=self.style)  # it knows what there is

    def at(self, place: str) -> Facts:
        """The facts of a frame with it in a place of the world."""
        return Facts((Group(1, self.size, self.colour, self.name),), None, place, self.style)

    def prompt(self, place: str) -> str:
        """A frame in words; all frames in the same ones but for the place."""
        return scenes.caption(self.at(place), random.Random(1))


def draw_frames(
    pipe: Any,
    hero: Hero,
    places: Sequence[str],
    way: str = "one noise",
    steps: int = 12,
    scale: float = 2.0,
    seed: int = 0,
    judge: Any = None,
) -> Tensor:
    """A frame for each place, (B, 3, H, W), by one of `WAYS`.

    "own noise" is the control: nothing keeps frames together but the words.  "one noise" starts all of them alike.
    "shared attention" also lets each look at the first (`style.shared`, Hertz et al. 2024).  "pasted" draws them from
    one noise, cuts the character out of the first and lays it over the others; a judge must be given, to find it there.
    """
    if not len(places):
        raise ValueError("a storyboard without places has no frames; give at least one place")
    if way not in WAYS:
        raise ValueError(f"no way called {way!r}; use one of: {', '.join(WAYS)}")
    seeds = [seed + k if way == "own noise" else seed for k in range(len(places))]
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
    predict = sampling.guided(pipe, [hero.prompt(place) for place in places], scale)
    with style.shared(pipe.unet) if way == "shared attention" else nullcontext():
        frames = sampling.decode(pipe, sampling.ddim(predict, sampling.start_noise(pipe, seeds), schedule, steps))
    return pasted(judge, frames, hero) if way == "pasted" else frames


def pasted(judge: Any, frames: Tensor, hero: Hero) -> Tensor:
    """Frames with the character of the first one laid over their own, where the judge sees it in the first."""
    if judge is None:
        raise ValueError("to paste a character it must be found: give judge=evaluation.load_parser()")
    found = _found(judge.read(frames[:1])[0], hero)
    if found is None:
        raise ValueError(f"no {hero.name} is seen in the first frame; draw it with another seed")
    alpha = torch.from_numpy(ndimage.gaussian_filter(cut_out(frames[0], found).astype(np.float32), 0.7))
    return torch.lerp(frames, frames[:1].expand_as(frames), alpha)


def _found(reading: Any, hero: Hero) -> Any:
    """The thing in a reading that is most like the character: by name, else the surest; None if there is none."""
    things = sorted(reading.things, key=lambda thing: thing.name != hero.name)
    return things[0] if things else None


@dataclass(frozen=True)
class Identity:
    """How much a character stays the same.

    told: for each frame whether the judge reads its name, colour, size and style, and nothing else;  exact: the place
    too.  Two figures that no network computes: shape, the mean overlap (IoU) of the cut-out characters of every
    two frames, laid on one another;  colour, the mean ΔE2000 between their mean colours.
    """

    told: Tensor
    exact: Tensor
    shape: float
    colour: float


def identity(judge: Any, frames: Tensor, hero: Hero, places: Sequence[str]) -> Identity:
    """Measure a storyboard.  frames: (B, 3, 128, 128), B > 1, in the order of their places."""
    if not 1 < len(frames) == len(places):
        raise ValueError(f"{len(frames)} frames of {len(places)} places; give two or more, each with its place")
    right = evaluation.score(judge, frames, [hero.at(place) for place in places])
    told = torch.stack([right[name] for name in ("thing", "colour", "size", "count", "style")]).all(0)
    things = [_found(reading, hero) for reading in judge.read(frames)]
    masks = [cut_out(one, thing) for one, thing in zip(frames, things, strict=True) if thing]
    colours = [_mean_colour(one, mask) for one, mask in zip(_seen(frames, things), masks, strict=True)]
    if len(masks) < 2:
        return Identity(told, right["exact"], 0.0, 100.0)
    shape = np.mean([mask_overlap(a, b) for a, b in combinations(map(_centred, masks), 2)])
    return Identity(told, right["exact"], float(shape), _apart(colours))


def _seen(frames: Tensor, things: Sequence) -> list[Tensor]:
    return [one for one, thing in zip(frames, things, strict=True) if thing]


def _mean_colour(frame: Tensor, mask: np.ndarray) -> np.ndarray:
    return rgb2lab(plotting.to_array(frame)[0])[mask].mean(0)


def _apart(colours: Sequence[np.ndarray]) -> float:
    return float(np.mean([deltaE_ciede2000(a, b) for a, b in combinations(colours, 2)]))


def _centred(mask: np.ndarray) -> np.ndarray:
    """A mask moved so that its centre of mass is the picture's."""
    y, x = (round(side / 2 - place.mean()) for side, place in zip(mask.shape, np.nonzero(mask), strict=True))
    return np.roll(mask, (y, x), (0, 1))
