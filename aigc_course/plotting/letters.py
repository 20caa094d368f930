"""Words in pictures: measured, wrapped, and drawn only in letters that an installed font has."""

from __future__ import annotations

import re
from functools import lru_cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

LATIN = "DejaVu Sans"  # comes with matplotlib, so it is always there
CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Heiti SC", "SimHei", "Arial Unicode MS", "Noto Sans CJK JP", "Noto Serif CJK SC", "SimSun",
)  # fmt: skip
LINE_HEIGHT = 1.3


@lru_cache
def families() -> list[str]:
    """Font families in the order in which each letter looks for one that has it."""
    installed = {font.name for font in fontManager.ttflist}
    return [LATIN, *(name for name in CHINESE if name in installed)]


def drawable(text: str) -> bool:
    """Whether every letter is in some installed font: a missing one would be drawn as an empty box."""
    return all(letter.isspace() or any(_has(family, letter) for family in families()) for letter in text)


def label(text: str, index: int) -> str:
    """The text where it can be drawn, else its number, which the alt text explains."""
    return text if drawable(text) else str(index)


@lru_cache(maxsize=4096)
def _has(family: str, letter: str) -> bool:
    font = get_font(findfont(FontProperties(family=family), fallback_to_default=True))
    return font.get_char_index(ord(letter)) != 0


def font(text: str, size: float, bold: bool = False) -> FontProperties:
    """The typeface for a text, at a size in pixels of the page; bold only in Latin, which has it."""
    if all(letter.isspace() or _has(LATIN, letter) for letter in text):
        return FontProperties(family=LATIN, size=size, weight="bold" if bold else "normal")
    return FontProperties(family=families(), size=size)


@lru_cache(maxsize=4096)
def width(text: str, size: float, bold: bool = False) -> float:
    """How many pixels one line of text takes."""
    return RendererAgg(1, 1, 72).get_text_width_height_descent(text, font(text, size, bold), ismath=False)[0]


def height(lines: int, size: float) -> float:
    """How many pixels some lines of text take."""
    return lines * size * LINE_HEIGHT


def wrap(text: str, room: float, size: float, bold: bool = False, most: int = 3) -> list[str]:
    """Lines no wider than `room` pixels, at most `most` of them; what is cut off is marked by an ellipsis.

    Breaks at spaces and between Chinese characters, and inside a word only where the word alone is too wide.
    """
    lines = [""]
    for piece in re.findall(r"\s+|[\u2e80-\uffef]|[^\s\u2e80-\uffef]+", text.strip()):
        for part in [piece] if width(piece, size, bold) <= room else piece:
            if lines[-1] and width(lines[-1] + part.rstrip(), size, bold) > room:
                lines.append("")
            lines[-1] += part if lines[-1] else part.lstrip()
    lines = [line.rstrip() for line in lines]
    return lines if len(lines) <= most else [*lines[: most - 1], _cut(lines[most - 1], room, size, bold)]


def _cut(line: str, room: float, size: float, bold: bool) -> str:
    while line and width(line + "…", size, bold) > room:
        line = line[:-1]
    return line.rstrip() + "…"
