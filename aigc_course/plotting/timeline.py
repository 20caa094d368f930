"""What was done when: a row for each who worked, a box for each piece of work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aigc_course.plotting import letters
from aigc_course.plotting.figure import CARD, INK, MUTED, RULE, SERIES, Canvas, Figure, finish, page

WIDTH, ROW, BOX = 640, 30, 0.78  # of the page, of a row, and how much of the row a box fills
TOP, BOTTOM = 34, 44  # for the names of kinds above, for the axis below
SHARPNESS = 2

Work = tuple[str, str, float, float]


def show_timeline(rows: Mapping[str, Sequence[Work]], xlabel: str = "seconds", alt: str | None = None) -> Figure:
    """Who was busy when, and with what; the card between the boxes is idle time.

    rows: {"who": [(kind, label, start, end), ...]}, all on one clock.  A kind has one colour, named above; a label
    stands in its box where it fits.
    """
    boxes = [box for each in rows.values() for box in each]
    if not boxes:
        raise ValueError('there is nothing to draw; give {"rank 0": [("forward", "0", start, end)]}')
    if wrong := [box for box in boxes if not (box[2] <= box[3] and math.isfinite(box[2]) and math.isfinite(box[3]))]:
        raise ValueError(f"{wrong[0]} is no piece of work: (kind, label, start, end) with start <= end, both finite")
    kinds = list(dict.fromkeys(box[0] for box in boxes))
    first, last = min(box[2] for box in boxes), max(box[3] for box in boxes)
    canvas = page(WIDTH, TOP + ROW * len(rows) + BOTTOM, SHARPNESS)
    axes = _axes(canvas, rows, first, last, xlabel)
    for row, work in enumerate(rows.values()):
        _draw(axes, row, work, kinds)
    _name_kinds(axes, kinds)
    return finish(canvas, alt or _alt(rows, first, last, xlabel))


def _axes(canvas: Canvas, rows: Mapping, first: float, last: float, xlabel: str) -> Axes:
    names = [letters.label(name, i) for i, name in enumerate(rows, 1)]
    left, height = 20 + max(letters.width(name, 12) for name in names), TOP + ROW * len(rows) + BOTTOM
    box = (left / WIDTH, BOTTOM / height, (WIDTH - left - 16) / WIDTH, ROW * len(rows) / height)
    room = (last - first or 1) * 0.005
    axes = canvas.add_axes(box, facecolor=CARD, xlim=(first - room, last + room), ylim=(len(rows) - 0.5, -0.5))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.hlines([i + 0.5 for i in range(len(rows) - 1)], first, last, color=RULE, linewidth=0.8)
    axes.tick_params(axis="x", colors=MUTED, labelsize=10.5, length=3)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_yticks(range(len(rows)), names, font=letters.font("".join(names), 12), color=INK)
    axes.set_xlabel(xlabel, color=INK, font=letters.font(xlabel, 11.5), parse_math=False)
    return axes


def _draw(axes: Axes, row: int, work: Sequence[Work], kinds: Sequence[str]) -> None:
    pixels = axes.bbox.width / SHARPNESS / (axes.get_xlim()[1] - axes.get_xlim()[0])
    for kind, label, start, end in work:
        colour = SERIES[kinds.index(kind) % len(SERIES)]
        axes.barh(row, end - start, BOX, start, color=colour, edgecolor=CARD, linewidth=0.8)
        if label and letters.drawable(label) and letters.width(label, 11) + 4 < pixels * (end - start):
            look = {"ha": "center", "va": "center", "parse_math": False}
            axes.text((start + end) / 2, row, label, color="white", font=letters.font(label, 11), **look)


def _name_kinds(axes: Axes, kinds: Sequence[str]) -> None:
    """Each kind in its colour, side by side above the rows."""
    place = 0.0
    for i, kind in enumerate(kinds):
        shown, colour = letters.label(kind, i + 1), SERIES[i % len(SERIES)]
        look = {"textcoords": "offset pixels", "xycoords": "axes fraction", "va": "bottom", "parse_math": False}
        axes.annotate(shown, (0, 1), (place, 8 * SHARPNESS), color=colour, font=letters.font(shown, 12, True), **look)
        place += (letters.width(shown, 12, True) + 18) * SHARPNESS


def _alt(rows: Mapping[str, Sequence[Work]], first: float, last: float, xlabel: str) -> str:
    """The chart in words: how often each did what, and for what share of the time it did nothing."""

    def story(name: str, work: Sequence[Work]) -> str:
        counts = ", ".join(f"{count} × {kind}" for kind, count in Counter(box[0] for box in work).items())
        idle = 1 - sum(end - start for *_, start, end in work) / (last - first or 1)
        return f"{name}: {counts or 'nothing'}, idle {max(idle, 0):.0%}"

    stories = "; ".join(story(name, work) for name, work in rows.items())
    return f"Timeline of {len(rows)} rows over {last - first:.3g} {xlabel or 'units'}. {stories}"
