"""Numbers as lines and as shades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from aigc_course.plotting import letters
from aigc_course.plotting.figure import CARD, INK, MUTED, RULE, SERIES, Canvas, Figure, finish, page

SHARPNESS = 2
NAME = 12  # letter size of the names of curves
WIDTH = 1.8  # of a curve; where later curves cover it, it is wider
SHADES = LinearSegmentedColormap.from_list("shades", ["#f4f1ea", "#bcd3e6", "#6d9dc5", "#2f5f94", "#1d3a63"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#a5562a", "#e3b48b", "#f4f1ea", "#8fb4d6", "#2f5f94"])


def show_curves(
    curves: Mapping[str, Sequence[float]],
    x: Sequence[float] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    logy: bool = False,
    alt: str | None = None,
) -> Figure:
    """Lines over a common x, each named at its right end.

    curves: {"name": (N,)};  x: (N,), or 0, 1, 2, ... if None;  gaps (NaN) stay gaps.
    """
    values = {name: _numbers(name, each, logy) for name, each in curves.items()}
    if not values:
        raise ValueError('there is no curve to draw; give a dictionary such as {"loss": history.losses}')
    places = {name: _places(name, each, x) for name, each in values.items()}
    names = [letters.wrap(letters.label(name, i), 200, NAME, most=1)[0] for i, name in enumerate(values, 1)]
    canvas = page(640, 300, SHARPNESS)
    axes = _axes(canvas, max(letters.width(name, NAME) for name in names), xlabel, ylabel)
    beneath = _beneath([np.log(each) if logy else each for each in values.values()])
    for colour, (covered, width), (name, each) in zip(_colours(len(values)), beneath, values.items(), strict=True):
        axes.plot(places[name], np.where(covered, each, np.nan), color=colour, linewidth=width, solid_capstyle="butt")
        axes.plot(places[name], each, color=colour, linewidth=WIDTH, solid_capstyle="round")
    _tick(axes, np.unique(np.concatenate(list(places.values()))))
    if logy:
        _plain_decades(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    _name_ends(axes, names, [each[np.isfinite(each)][-1] for each in values.values()])
    return finish(canvas, alt or _curves_alt(values, places, xlabel, ylabel))


def _numbers(name: str, values, logy: bool = False) -> np.ndarray:
    values = values.detach().cpu().double().numpy() if hasattr(values, "detach") else values
    numbers = np.array(values, dtype=float)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"curve {name!r} has the shape {numbers.shape}; give a flat list of one number or more")
    if logy:
        numbers[numbers <= 0] = np.nan  # a logarithm has no place for them
    if not np.isfinite(numbers).any():
        kind = "positive and finite; is logy wanted?" if logy else "finite; did the training diverge?"
        raise ValueError(f"curve {name!r} holds no number that is {kind}")
    return numbers


def _places(name: str, values: np.ndarray, x) -> np.ndarray:
    if x is None:
        return np.arange(len(values), dtype=float)
    places = _numbers("x", x)
    if len(places) != len(values):
        raise ValueError(f"curve {name!r} has {len(values)} values for {len(places)} places x; give as many of each")
    return places


def _tick(axes: Axes, places: np.ndarray) -> None:
    """At the places themselves where they are few and apart; else at round numbers, whole ones among whole places."""
    apart = np.diff(places).min(initial=np.inf) >= np.ptp(places) / 14
    if len(places) <= 8 and apart:
        axes.set_xticks(places, [f"{x:,.0f}" if x % 1 == 0 or abs(x) > 99 else f"{x:.3g}" for x in places])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool((places % 1 == 0).all())))


def _plain_decades(axes: Axes) -> None:
    """A logarithmic scale: 1, 2, 5, 10 where it spans few decades, and powers of ten where many."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 1000:
        narrow = high / low < 5
        axes.yaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_locator(NullLocator())


def _beneath(heights: Sequence[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """Where each curve is covered by later ones, if mostly so, and how wide it must be there to be seen."""
    near = np.ptp(np.concatenate([each[np.isfinite(each)] for each in heights])) / 100
    found = []
    for i, each in enumerate(heights):
        over = np.zeros(len(each))
        for later in heights[i + 1 :]:
            common = slice(min(len(each), len(later)))
            close = np.abs(each[common] - later[common]) <= near
            over[common] += close * (close.mean() >= 0.5)
        found.append((over > 0, WIDTH + 2.0 * over.max()))
    return found


def _colours(count: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(count)]


def _axes(canvas: Canvas, room: float, xlabel: str, ylabel: str) -> Axes:
    """Two thin axes, quiet rules, and room on the right for names."""
    axes = canvas.add_axes((0.11, 0.17, 0.85 - room / 640, 0.75), facecolor=CARD)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=10.5, length=3, which="both")
    axes.margins(x=0.01)
    for text, write in ((xlabel, axes.set_xlabel), (ylabel, axes.set_ylabel)):
        shown = text if letters.drawable(text) else ""
        write(shown, color=INK, font=letters.font(shown, 11.5), parse_math=False)
    return axes


def _name_ends(axes: Axes, names: Sequence[str], last: Sequence[float]) -> None:
    """Write each curve's name at the height of its last point, moved apart where names would touch."""
    axes.figure.draw_without_rendering()  # fixes the limits
    heights = [axes.transData.transform((0, y))[1] for y in last]
    edge = axes.transAxes.transform((1, 0))[0] + 6 * SHARPNESS
    look = {"transform": None, "va": "center", "ha": "left", "parse_math": False}
    for name, colour, y in zip(names, _colours(len(names)), spread(heights, 15 * SHARPNESS), strict=True):
        axes.text(edge, y, name, color=colour, font=letters.font(name, NAME), **look)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move labels apart to at least `gap`, as little as can be: those that touch gather about their mean."""
    order = np.argsort(heights, kind="stable")
    blocks: list[list[float]] = []  # each: the sum of wished places of its bottom label, and how many labels
    for i in order:
        blocks.append([heights[i], 1])
        while len(blocks) > 1 and _top(blocks[-2], gap) > _bottom(blocks[-1]):
            total, count = blocks.pop()
            blocks[-1][0] += total - count * blocks[-1][1] * gap
            blocks[-1][1] += count
    placed = [_bottom(block) + gap * k for block in blocks for k in range(int(block[1]))]
    return [place for _, place in sorted(zip(order.tolist(), placed, strict=True))]


def _bottom(block: list[float]) -> float:
    return block[0] / block[1]


def _top(block: list[float], gap: float) -> float:
    return _bottom(block) + gap * block[1]


def _curves_alt(values: Mapping, places: Mapping, xlabel: str, ylabel: str) -> str:
    """The chart in words: what is drawn over what, and where each curve begins and ends."""

    def story(name):
        finite = np.isfinite(values[name])
        ys, xs = values[name][finite], places[name][finite]
        return f"{name} from {ys[0]:.3g} to {ys[-1]:.3g} between {xs[0]:.4g} and {xs[-1]:.4g}"

    stories = [f"{'' if letters.drawable(n) else f'{i}: '}{story(n)}" for i, n in enumerate(values, 1)]
    return f"Line chart of {ylabel or 'values'} over {xlabel or 'index'}: {'; '.join(stories)}"


def show_heatmap(matrix, rows: Sequence[str], columns: Sequence[str], alt: str | None = None) -> Figure:
    """A table of shades, darker for more, with its numbers where they fit.  matrix: (R, C), finite."""
    matrix = matrix.detach().cpu().float().numpy() if hasattr(matrix, "detach") else np.asarray(matrix, float)
    if matrix.shape != (len(rows), len(columns)):
        given = f"{len(rows)} row names and {len(columns)} column names"
        raise ValueError(f"a matrix of shape {matrix.shape} does not fit {given}")
    side = 46 if max(matrix.shape) <= 12 else max(14, 560 // max(matrix.shape))
    left = 24 + max(letters.width(name, 11) for name in _shown(rows))
    tilt = max(letters.width(name, 11) for name in _shown(columns)) > side - 6
    top = 24 + (0.75 * max(letters.width(name, 11) for name in _shown(columns)) if tilt else 14)
    width, height = left + side * len(columns) + 24, top + side * len(rows) + 14
    canvas = page(width, height, SHARPNESS)
    box = (left / width, 14 / height, side * len(columns) / width, side * len(rows) / height)
    _shade(canvas.add_axes(box), matrix, rows, columns, tilt, side >= 30)
    return finish(canvas, alt or _heatmap_alt(matrix, rows, columns))


def _shown(names: Sequence[str]) -> list[str]:
    return [letters.label(str(name), i) for i, name in enumerate(names, 1)]


def _shade(axes: Axes, matrix: np.ndarray, rows, columns, tilt: bool, numbers: bool) -> None:
    low, high = matrix.min(), matrix.max()
    shades, dark = SHADES, low + 0.55 * (high - low)
    if low < 0 < high:  # palest at zero, dark at both ends
        shades, high = SIGNED, abs(matrix).max()
        low, dark = -high, 0.7 * high
    axes.imshow(matrix, cmap=shades, vmin=low, vmax=high if high > low else low + 1, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=CARD, linewidth=2)
    axes.tick_params(which="both", length=0, top=False, labeltop=True, labelbottom=False)
    turn = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if tilt else {}
    axes.set_xticks(
        range(len(columns)), _shown(columns), font=letters.font("".join(_shown(columns)), 11), color=INK, **turn
    )
    axes.set_yticks(range(len(rows)), _shown(rows), font=letters.font("".join(_shown(rows)), 11), color=INK)
    for (r, c), value in np.ndenumerate(matrix) if numbers else ():
        colour = "white" if (abs(value) if shades is SIGNED else value) > dark else INK
        number = f"{value:.3g}"
        axes.text(c, r, number, ha="center", va="center", color=colour, font=letters.font(number, 11))


def _heatmap_alt(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> str:
    r, c = np.unravel_index(matrix.argmax(), matrix.shape)
    across = f"rows {', '.join(map(str, rows))}; columns {', '.join(map(str, columns))}"
    span = f"from {matrix.min():.3g} to {matrix.max():.3g}, the largest at {rows[r]}, {columns[c]}"
    return f"Heat map of {len(rows)} by {len(columns)} values {span}; {across}"
