"""Mock-ups of pages drawn from a prompt: what their LoRA learns from, and an exact reader that judges by the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from aigc_course import adaptation, models, plotting, sampling
from aigc_course.adaptation.drawings import INSIDE
from aigc_course.scenes import COLOURS, LANGUAGES, Family
from aigc_course.scenes.mockups import HILL, INK, PAGE, PAINTS, SIDE, SKY, Box, Mockup

CHROMA = 60  # of 255: how far apart red, green and blue of a pixel are where it is no grey
LEAST = 70  # pixels of a part; what is smaller is a speck


# --- what is learnt from ------------------------------------------------------------------------------------


@torch.no_grad()
def family_lesson(pipe: Any, family: Family, facts: Sequence[Any]) -> adaptation.Drawings:
    """Pictures of a family as latents, and what it says of them, in each language, as text states.

    The half of a latent that tells what is where says which box has which colour (`plan`), as for the world's scenes.
    """
    pictures = family.pictures(facts).to(pipe.device, pipe.vae.dtype)
    z = torch.cat([adaptation.latents_of(pipe, some) for some in pictures.split(32)])
    z[:, models.LOOK :] = plan([family.parts(one) for one in facts], z.shape[-1]).to(z)
    told = [family.captions(facts, language) for language in LANGUAGES]
    return adaptation.Drawings(z, torch.stack([_states(pipe, texts) for texts in told], 1))


def _states(pipe: Any, texts: list[str]) -> Tensor:
    return torch.cat([sampling.encode_words(pipe, texts[k : k + 64]) for k in range(0, len(texts), 64)])


def plan(parts: Sequence[Sequence[tuple[Box, str]]], side: int = 16) -> Tensor:
    """Boxes and colours in the code of `models.meaning`: (B, `MEANING`, side, side).

    A box is 1 in the channel `INSIDE`, and the number of its colour stands in binary digits, each -1 or 1, in the last
    channels; style, place and name stay 0.
    """
    told = torch.zeros(len(parts), models.MEANING, side, side)
    for one, boxes in zip(told, parts, strict=True):
        for (left, top, right, bottom), colour in boxes:
            inside = _share(top, bottom, side)[:, None] * _share(left, right, side)
            number = list(COLOURS).index(colour)
            digits = torch.tensor([2.0 * (number >> k & 1) - 1 for k in range(3)])
            one[INSIDE] += inside
            one[-3:] += digits[:, None, None] * inside
    return told


def _share(start: float, stop: float, side: int) -> Tensor:
    """How much of each of `side` places lies between two points of the unit line."""
    places = torch.arange(side) / side
    return ((places + 1 / side).clamp(max=stop) - places.clamp(min=start)).clamp(min=0) * side


# --- the reader ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """What the reader sees: the facts, or None with the reason; and the boxes of parts, by their names."""

    facts: Mockup | None
    boxes: dict[str, Box]
    fault: str = ""


def read_pages(pictures: Tensor) -> list[Page]:
    """Mock-ups as they stand in the pixels, by rule alone, no network: areas of one paint, and their boxes.

    pictures: (B, 3, 128, 128) in [-1, 1].
    """
    if pictures.ndim != 4 or tuple(pictures.shape[1:]) != (3, SIDE, SIDE):
        raise ValueError(f"the reader takes pages (B, 3, {SIDE}, {SIDE}), not {tuple(pictures.shape)}")
    return [_page(plotting.to_array(one[None])[0]) for one in pictures]


def _page(pixels: np.ndarray) -> Page:
    parts = [part for paint in PAINTS for part in _areas(_painted(pixels) == PAINTS.index(paint), paint)]
    greys = _areas(_is_photo(pixels), "photo")
    bars = [part for part in parts if part.wide >= 90 and part.high <= 34]
    panels = [part for part in parts if part.high >= 70 and part.wide <= 44]
    buttons = sorted((p for p in parts if 12 <= p.wide <= 32 and 9 <= p.high <= 26), key=lambda part: part.box[0])
    photos = [part for part in greys if part.wide >= 26 and part.high >= 26]
    boxes = {"bar": bars, "panel": panels, "photo": photos}
    found = {name: some[0].box for name, some in boxes.items() if len(some) == 1}
    found |= {f"button {k + 1}": part.box for k, part in enumerate(buttons)}
    fault = _fault(bars, panels, photos, buttons, parts)
    return Page(None if fault else _facts(bars, panels, photos[0], buttons), found, fault)


@dataclass(frozen=True)
class _Area:
    paint: str
    box: Box

    @property
    def wide(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def high(self) -> float:
        return self.box[3] - self.box[1]


def _painted(pixels: np.ndarray) -> np.ndarray:
    """Which of the paints each pixel is nearest to, -1 where it is grey: (H, W)."""
    rgb = pixels.astype(float)
    paints = np.array([COLOURS[paint] for paint in PAINTS], float)
    nearest = ((rgb[..., None, :] - paints) ** 2).sum(-1).argmin(-1)
    return np.where(np.ptp(rgb, axis=-1) >= CHROMA, nearest, -1)


def _is_photo(pixels: np.ndarray) -> np.ndarray:
    """Pixels that are neither paint, nor page, nor ink: (H, W)."""
    rgb = pixels.astype(float)
    greys = np.array([PAGE, INK, SKY, HILL], float)
    nearest = ((rgb[..., None, :] - greys) ** 2).sum(-1).argmin(-1)
    return (np.ptp(rgb, axis=-1) < CHROMA) & (nearest >= 2)


def _areas(mask: np.ndarray, paint: str) -> list[_Area]:
    """The connected areas of a mask, specks and hairs left out, with the boxes that hold them."""
    labels, _ = ndimage.label(ndimage.binary_opening(mask, np.ones((3, 3))))
    found = []
    for k, place in enumerate(ndimage.find_objects(labels), start=1):
        if (labels[place] == k).sum() >= LEAST:
            down, across = place
            found.append(_Area(paint, (across.start, down.start, across.stop, down.stop)))
    return found


def _fault(bars: list, panels: list, photos: list, buttons: list, parts: list) -> str:
    """Why this is no page of the family, or nothing."""
    if len(bars) > 1 or len(panels) > 1:
        return "more than one bar or panel"
    if len(photos) != 1:
        return f"{len(photos)} photos"
    if not 1 <= len(buttons) <= 3:
        return f"{len(buttons)} buttons"
    if len({button.paint for button in buttons}) > 1:
        return "buttons of several colours"
    if len(bars) + len(panels) + len(buttons) < len(parts):
        return "a painted area that is no part of a page"
    return ""


def _facts(bars: list[_Area], panels: list[_Area], photo: _Area, buttons: list[_Area]) -> Mockup:
    sides = [("left" if p.box[0] + p.box[2] < SIDE else "right", p.paint) for p in panels]
    size = "large" if photo.wide * photo.high > 3000 else "small"
    return Mockup(bars[0].paint if bars else None, sides[0] if sides else None, size, len(buttons), buttons[0].paint)


# --- judged -------------------------------------------------------------------------------------------------


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes: 1 where they are the same, 0 where they do not meet."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


POINTS = ("bar", "panel", "photo", "buttons", "layout", "overlap")


def judge_pages(pictures: Tensor, asked: Sequence[Mockup]) -> dict[str, Tensor]:
    """How far pages are as asked, (B,) for each of `POINTS`: each part right, all of them ("layout"), and "overlap".

    That is the mean `overlap` of each part asked for with the part of its name that is there, 0 where there is none.
    """
    if len(pictures) != len(asked):
        raise ValueError(f"{len(pictures)} pictures of {len(asked)} layouts; give each picture its layout")
    rows = [_judged(page, one) for page, one in zip(read_pages(pictures), asked, strict=True)]
    return {name: torch.tensor([float(row[name]) for row in rows]) for name in POINTS}


def _judged(page: Page, asked: Mockup) -> dict[str, float]:
    seen = page.facts
    told = {
        "bar": seen is not None and seen.bar == asked.bar,
        "panel": seen is not None and seen.panel == asked.panel,
        "photo": seen is not None and seen.photo == asked.photo,
        "buttons": seen is not None and (seen.buttons, seen.colour) == (asked.buttons, asked.colour),
        "layout": seen == asked,
    }
    shared = [overlap(box, page.boxes[name]) if name in page.boxes else 0.0 for name, box in asked.boxes.items()]
    return told | {"overlap": sum(shared) / len(shared)}
