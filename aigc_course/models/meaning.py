"""The half of a latent that says what is where: a scene's facts, written on the grid of its latent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aigc_course import scenes
from aigc_course.scenes import Sample, Scene, Thing

OF_A_PICTURE = {"style": (scenes.STYLES, 3), "background": (scenes.BACKGROUNDS, 3)}
OF_A_THING = {"name": (tuple(scenes.THINGS), 4), "colour": (tuple(scenes.COLOURS), 3)}
MEANING = sum(n for _, n in (OF_A_PICTURE | OF_A_THING).values()) + 3  # channels: 16
EVERYWHERE = 0.5  # what is told at every place need not be loud


def meaning(drawn: Sequence[Scene | Sample], side: int = 16) -> Tensor:
    """What is where in each scene: (B, `MEANING`, side, side), to be denoised together with how it looks.

    Words are numbered, and a number is told by its binary digits, each -1 or 1 ("analog bits", Chen et al. 2023).
    Channels 0-5 tell style and background at every place.  The others are 0 but inside the box of a thing: 6 is 1
    there, 7 and 8 run from -1 to 1 across and down the box, 9-15 tell name and colour.  A denoiser settles these few
    large numbers first, and paints the look where they say: joint diffusion of a picture and its features (Kouzelis
    et al. 2025), where the features are the known truth of the world.
    """
    return torch.stack([_of(one.scene if isinstance(one, Sample) else one, side) for one in drawn])


def _of(scene: Scene, side: int) -> Tensor:
    told = torch.zeros(MEANING, side, side)
    whole = [EVERYWHERE * bit for name, of in OF_A_PICTURE.items() for bit in _bits(getattr(scene, name), *of)]
    told[: len(whole)] = torch.tensor(whole)[:, None, None]
    for thing in scene.things:
        inside, across, down = _box(thing, side)
        bits = [bit for name, of in OF_A_THING.items() for bit in _bits(getattr(thing, name), *of)]
        planes = torch.stack([torch.ones_like(across), across, down, *(torch.full_like(across, bit) for bit in bits)])
        told[len(whole) :] = torch.lerp(told[len(whole) :], planes, inside)  # a later thing hides an earlier one
    return told


def _bits(word: str, words: Sequence[str], count: int) -> list[float]:
    """The number of a word in binary, the last digit first, as -1 and 1."""
    return [2.0 * (words.index(word) >> k & 1) - 1 for k in range(count)]


def _box(thing: Thing, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The share of each place that lies in a thing's box, and how far across and down the box its middle is."""
    half, middles = scenes.SIZES[thing.size], (torch.arange(side) + 0.5) / side
    shares = [((half + 0.5 / side - (middles - at).abs()) * side).clamp(0, 1) for at in (thing.x, thing.y)]
    across, down = (((middles - at) / half).clamp(-1, 1) for at in (thing.x, thing.y))
    return shares[1][:, None] * shares[0], across.expand(side, side), down[:, None].expand(side, side)
