"""Mock-ups of pages: a bar above, a panel at a side, a photo, buttons; a family beside the world's scenes."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from PIL import Image, ImageDraw

from aigc_course.scenes.families import Family
from aigc_course.scenes.vocabulary import COLOURS

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of a page of 128
SIDE, MARGIN = 128, 6
PAINTS = ("red", "orange", "yellow", "green", "blue", "purple")  # of the world's colours
PAGE, INK, SKY, HILL = (250, 249, 246), (84, 88, 98), (190, 196, 204), (134, 142, 152)
PANELS, PHOTOS, MOST = ("left", "right"), ("small", "large"), 3
OVERSAMPLE = 4


@dataclass(frozen=True)
class Mockup:
    """What a page shows: the colours of its bar and panel (None: there is none), its photo and its buttons."""

    bar: str | None
    panel: tuple[str, str] | None  # side and colour
    photo: str
    buttons: int
    colour: str  # of the buttons

    def __post_init__(self):
        side, panel = self.panel or (PANELS[0], PAINTS[0])
        for value, known in ((self.bar or PAINTS[0], PAINTS), (panel, PAINTS), (self.colour, PAINTS), (side, PANELS)):
            if value not in known:
                raise ValueError(f"a mock-up has no {value!r} there; use one of: {', '.join(known)}")
        if self.photo not in PHOTOS or self.buttons not in range(1, MOST + 1):
            raise ValueError(f"a mock-up has a small or large photo and 1 to {MOST} buttons, not {self}")

    @property
    def boxes(self) -> dict[str, Box]:
        """Where each part stands; buttons are counted from the left: button 1, button 2 …"""
        top = 28 if self.bar else MARGIN
        side = self.panel[0] if self.panel else None
        left, right = (40 if side == "left" else MARGIN), (88 if side == "right" else SIDE - MARGIN)
        found: dict[str, Box] = {"bar": (MARGIN, MARGIN, SIDE - MARGIN, 22)} if self.bar else {}
        if side:
            start = MARGIN if side == "left" else 94
            found["panel"] = (start, top, start + 28, SIDE - MARGIN)
        found["photo"] = (left, top, right, 92) if self.photo == "large" else (left, top, left + 40, top + 40)
        for k in range(self.buttons):
            found[f"button {k + 1}"] = (left + 28 * k, 102, left + 28 * k + 22, 118)
        return found


def _sample(rng: random.Random) -> Mockup:
    bar = rng.choice(PAINTS) if rng.random() < 0.75 else None
    panel = (rng.choice(PANELS), rng.choice(PAINTS)) if rng.random() < 0.75 else None
    return Mockup(bar, panel, rng.choice(PHOTOS), rng.randint(1, MOST), rng.choice(PAINTS))


def _parts(facts: Mockup) -> list[tuple[Box, str]]:
    """Every part's box in the unit square, and its colour; a photo counts as white."""
    paints = {"bar": facts.bar, "panel": facts.panel and facts.panel[1], "photo": "white"}
    boxes = facts.boxes.items()
    return [(tuple(side / SIDE for side in box), paints.get(name, facts.colour)) for name, box in boxes]


# --- drawing ------------------------------------------------------------------------------------------------


def _draw(facts: Mockup, size: int = SIDE) -> Image.Image:
    """The page, RGB, size × size; the lines beside a small photo stand for text."""
    wide = size * OVERSAMPLE
    canvas, scale = Image.new("RGB", (wide, wide), PAGE), wide / SIDE
    draw, boxes = ImageDraw.Draw(canvas), facts.boxes
    paints = {"bar": facts.bar, "panel": facts.panel and facts.panel[1]}
    for name, box in boxes.items():
        corners = [side * scale for side in box]
        if name == "photo":
            _photo(draw, corners)
        else:
            draw.rounded_rectangle(corners, 4 * scale, COLOURS[paints.get(name, facts.colour)])
    if facts.photo == "small":
        _lines(draw, boxes["photo"], scale, right=88 if facts.panel and facts.panel[0] == "right" else SIDE - MARGIN)
    return canvas.reduce(OVERSAMPLE)


def _photo(draw: ImageDraw.ImageDraw, corners: list[float]) -> None:
    """What stands for a photo in every mock-up: hills under a sun, in greys."""
    left, top, right, bottom = corners
    wide, high = right - left, bottom - top
    draw.rectangle(corners, SKY)
    hills = [(0, 1), (0, 0.75), (0.3, 0.4), (0.55, 0.75), (0.75, 0.55), (1, 0.85), (1, 1)]
    draw.polygon([(left + x * wide, top + y * high) for x, y in hills], HILL)
    sun = min(wide, high) * 0.11
    x, y = left + 0.75 * wide, top + 0.25 * high
    draw.ellipse((x - sun, y - sun, x + sun, y + sun), PAGE)


def _lines(draw: ImageDraw.ImageDraw, photo: Box, scale: float, right: float) -> None:
    for k in range(4):
        end = right - (14 if k == 3 else 2)
        y = photo[1] + 6 + 8 * k
        draw.rectangle([side * scale for side in (photo[2] + 6, y, end, y + 3)], INK)


# --- words --------------------------------------------------------------------------------------------------

NUMBERS = {"en": ("one", "two", "three"), "zh": ("一", "两", "三")}
ZH = {"red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色"}
ZH_SIDES, ZH_PHOTOS = {"left": "左侧", "right": "右侧"}, {"small": "小图", "large": "大图"}
OPENINGS = {"en": ("page: ", "a page, "), "zh": ("界面：", "界面，")}


def _caption(facts: Mockup, rng: random.Random, language: str = "en") -> str:
    """All facts in the order in which a page is read; what is not there is not said."""
    parts = (_english if language == "en" else _chinese)(facts, rng)
    return rng.choice(OPENINGS[language]) + (", " if language == "en" else "，").join(parts)


def _english(facts: Mockup, rng: random.Random) -> list[str]:
    side, paint = facts.panel or (None, None)
    panel = rng.choice([f"{paint} panel {side}", f"{side} {paint} panel"])
    number, ending = NUMBERS["en"][facts.buttons - 1], "s" if facts.buttons > 1 else ""
    parts = [facts.bar and f"{facts.bar} bar", facts.panel and panel, f"{facts.photo} photo"]
    return [*filter(None, parts), f"{number} {facts.colour} button{ending}"]


def _chinese(facts: Mockup, rng: random.Random) -> list[str]:
    bar = facts.bar and rng.choice(["上方", "上面"]) + ZH[facts.bar]
    panel = facts.panel and ZH_SIDES[facts.panel[0]] + ZH[facts.panel[1]]
    number = NUMBERS["zh"][facts.buttons - 1]
    return [*filter(None, [bar, panel, ZH_PHOTOS[facts.photo]]), f"{number}个{ZH[facts.colour]}按钮"]


_COLOUR = "(?:" + "|".join([*PAINTS, *ZH.values()]) + ")"
_BAR = re.compile(rf"({_COLOUR}) bar|上[方面]({_COLOUR})")
_PANEL = re.compile(rf"({_COLOUR}) panel (left|right)|(left|right) ({_COLOUR}) panel|([左右])侧({_COLOUR})")
_PHOTO = re.compile(r"(small|large) photo|([小大])图")
_BUTTONS = re.compile(rf"(one|two|three) ({_COLOUR}) buttons?|([一两三])个({_COLOUR})按钮")


def _read(text: str) -> Mockup:
    """The facts that a caption states, in either language."""
    photo, buttons = _PHOTO.search(text), _BUTTONS.search(text)
    if not photo or not buttons:
        raise ValueError(f"{text!r} is no mock-up; say a photo and buttons: 'page: small photo, two red buttons'")
    number, paint = filter(None, buttons.groups())
    bar, panel = _BAR.search(text), _PANEL.search(text)
    size = {"小": "small", "大": "large"}.get(photo[2], photo[1])
    counted = [*NUMBERS["en"], *NUMBERS["zh"]].index(number) % MOST + 1
    told = bar and next(filter(None, bar.groups()))
    return Mockup(told and _plain(told), panel and _side(panel), size, counted, _plain(paint))


def _side(found: re.Match) -> tuple[str, str]:
    words = [*filter(None, found.groups())]
    sides = {"left": "left", "right": "right", "左": "left", "右": "right"}
    (side,), (paint,) = [w for w in words if w in sides], [w for w in words if w not in sides]
    return sides[side], _plain(paint)


def _plain(paint: str) -> str:
    """A colour by its English name."""
    return {zh: en for en, zh in ZH.items()}.get(paint, paint)


MOCKUPS = Family("mockups", _sample, _draw, _caption, _read, _parts)
