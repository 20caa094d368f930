"""A silent film: a story in scenes, title cards, cross-fades, and a tune as long as the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from aigc_course import plotting

PAPER, LETTERS = (247, 241, 226), (44, 40, 52)
NEARER = 1.15  # how much larger a scene is at its end than at its beginning


@dataclass(frozen=True)
class Shot:
    """One scene of a story: what its title card says, and its picture (3, H, W) in [-1, 1]."""

    title: str
    picture: Tensor


def title_card(text: str, side: int = 256) -> Tensor:
    """Words in a frame, as silent films had them: (3, side, side); they are broken into lines that fit."""
    if not text.strip():
        raise ValueError("a title card without words; give it a sentence")
    card = Image.new("RGB", (side, side), LETTERS)
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(max(8, side // 13))
    near, far = side // 20, side - side // 20
    pen.rectangle((near, near, far, far), outline=PAPER, width=max(1, side // 128))
    lines = _lines(text, lambda words: pen.textlength(words, font=font), 0.78 * side)
    look = dict(font=font, fill=PAPER, anchor="mm", align="center", spacing=side // 24)
    pen.multiline_text((side / 2, side / 2), "\n".join(lines), **look)
    return torch.from_numpy(np.array(card)).permute(2, 0, 1).float() / 127.5 - 1


def _lines(text: str, width_of, room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def nearer(picture: Tensor, count: int, times: float = NEARER, side: int = 256) -> Tensor:
    """A still picture that comes slowly nearer: (3, H, W) -> (count, 3, side, side)."""
    sizes = torch.linspace(1, times, count)
    turns = torch.zeros(count, 2, 3)
    turns[:, 0, 0] = turns[:, 1, 1] = 1 / sizes
    grid = F.affine_grid(turns, [count, 3, side, side], align_corners=False)
    small = F.interpolate(picture[None], size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
    return F.grid_sample(small.expand(count, -1, -1, -1), grid, "bilinear", "border", align_corners=False)


def cross_fade(parts: Sequence[Tensor], overlap: int) -> Tensor:
    """Parts of a film one after another, the last `overlap` frames of each mixed with the first of the next.

    (N, 3, H, W) each; together they have overlap · (parts - 1) frames less.
    """
    if not parts:
        raise ValueError("there are no frames to join; give at least one part")
    sizes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(sizes) > 1:
        raise ValueError(f"the parts of a film have one size, but these have {sizes}; resize them first")
    if overlap < 0 or any(len(part) <= overlap for part in parts):
        raise ValueError(f"a fade of {overlap} frames needs parts of more; make the fade shorter or the parts longer")
    film, shares = parts[0], (torch.arange(overlap) + 1).view(-1, 1, 1, 1) / (overlap + 1)
    for part in parts[1:]:
        mixed = torch.lerp(film[len(film) - overlap :], part[:overlap], shares)
        film = torch.cat([film[: len(film) - overlap], mixed, part[overlap:]])
    return film


def make_film(
    name: str, shots: Sequence[Shot], seconds: float, fps: int = 12, side: int = 256, fade: float = 0.3
) -> Tensor:
    """All frames of a film that lasts `seconds`, (N, 3, side, side): its name, each shot after its card, an end.

    Cards and scenes share the time that there is: a scene lasts 1.6 times as long as a card.
    """
    if not shots:
        raise ValueError("a film without scenes; give at least one Shot")
    total, overlap = round(seconds * fps), round(fade * fps)
    weights = [1.0, *(weight for _ in shots for weight in (1.0, 1.6)), 1.0]
    counts = _shared(total + overlap * (len(weights) - 1), weights)
    if min(counts) <= overlap:
        raise ValueError(f"{seconds:.1f} s are too few for {len(shots)} scenes with their cards; ask for more seconds")
    cards = [title_card(text, side) for text in (name, *(shot.title for shot in shots), "The end")]
    told = [card.expand(n, -1, -1, -1) for card, n in zip(cards, [counts[0], *counts[1::2]], strict=True)]
    shown = [nearer(shot.picture, n, side=side) for shot, n in zip(shots, counts[2:-1:2], strict=True)]
    middle = [part for pair in zip(told[1:-1], shown, strict=True) for part in pair]
    return cross_fade([told[0], *middle, told[-1]], overlap)


def _shared(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers whose sum is `total`, as near to the weights as can be."""
    ends = np.round(np.cumsum([0, *weights]) / sum(weights) * total).astype(int)
    return np.diff(ends).tolist()


def contact_sheet(frames: Tensor | np.ndarray, count: int = 12, scale: float = 0.5) -> plotting.Figure:
    """Some frames of a film, evenly spaced, for readers that cannot play it."""
    pixels = plotting.to_array(frames)
    chosen = np.linspace(0, len(pixels) - 1, min(count, len(pixels))).round().astype(int)
    return plotting.show_images(pixels[chosen], columns=6, scale=scale, alt=f"{len(chosen)} frames of a film, in order")
