"""What happens in two dimensions: clouds of points, the arrows that move them, the paths they take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from aigc_course.plotting import letters
from aigc_course.plotting.figure import CARD, INK, MUTED, RULE, SERIES, UNITS, Canvas, Figure, finish, page

SIDE, GAP, TITLE = 190, 14, 26  # of a panel, between panels, for the name above
SHARPNESS = 2
MOST = 5  # panels in a row


def show_plane(
    clouds: Mapping[str, np.ndarray],
    arrows: Mapping[str, tuple] | None = None,
    paths: Mapping[str, np.ndarray] | None = None,
    alt: str | None = None,
) -> Figure:
    """A panel for each cloud of points, all in one square frame, so that panels can be compared.

    clouds: {"name": (N, 2)};  arrows: {"name": (from (M, 2), by (M, 2))}, drawn at one common scale;
    paths: {"name": (K, S, 2)}, K lines of S points.  Arrows and paths go to the panel of their name.
    """
    points = {name: _flat(name, cloud, 2) for name, cloud in clouds.items()}
    if not points:
        raise ValueError('there is no cloud to draw; give a dictionary such as {"data": points}')
    moves = {name: tuple(_flat(name, end, 2) for end in ends) for name, ends in (arrows or {}).items()}
    lines = {name: _flat(name, path, 3) for name, path in (paths or {}).items()}
    lost = [name for name in [*moves, *lines] if name not in points]
    if lost:
        raise ValueError(f"arrows or paths of {lost[0]!r} have no panel; the clouds are {', '.join(points)}")
    edge = 1.05 * max(np.abs(each).max() for each in [*points.values(), *lines.values()])
    columns = min(len(points), MOST)
    canvas = page(columns * (SIDE + GAP) + GAP, -(-len(points) // columns) * (SIDE + TITLE + GAP), SHARPNESS)
    for index, name in enumerate(points):
        row, column = divmod(index, columns)
        axes = _panel(canvas, GAP + column * (SIDE + GAP), TITLE + row * (SIDE + TITLE + GAP), edge)
        axes.scatter(*points[name].T, s=5, color=SERIES[0], alpha=0.5, linewidths=0)
        for line in lines.get(name, ()):
            axes.plot(*line.T, color=SERIES[1], linewidth=0.9, alpha=0.8)
        if name in moves:
            axes.quiver(*moves[name][0].T, *moves[name][1].T, color=MUTED, width=0.006, **_scale(moves, edge))
        shown = letters.label(name, index + 1)
        axes.set_title(shown, color=INK, font=letters.font(shown, 12), pad=6, parse_math=False)
    return finish(canvas, alt or f"{len(points)} panels of points in the plane: {'; '.join(points)}")


def _panel(canvas: Canvas, left: float, top: float, edge: float) -> Axes:
    """A square frame around the origin, its corner so many pixels from that of the page."""
    width, height = canvas.get_size_inches() * UNITS
    place = (left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height)
    axes = canvas.add_axes(place, facecolor=CARD)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), xticks=[], yticks=[])
    axes.spines[:].set_color(RULE)
    return axes


def _flat(name: str, values, dimensions: int) -> np.ndarray:
    """As numbers (N, 2), or (K, S, 2) for paths."""
    values = values.detach().cpu().double().numpy() if hasattr(values, "detach") else values
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != dimensions or numbers.shape[-1] != 2 or not numbers.size:
        wanted = "(N, 2)" if dimensions == 2 else "(K, S, 2)"
        raise ValueError(f"{name!r} has the shape {numbers.shape}; points in the plane are {wanted}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name!r} holds numbers that are not finite; did the walk diverge?")
    return numbers


def _scale(moves: Mapping[str, tuple], edge: float) -> dict:
    """So long that the longest arrow of all panels spans a sixth of one."""
    longest = max(np.hypot(*by.T).max() for _, by in moves.values())
    return dict(angles="xy", scale_units="xy", scale=max(longest, 1e-12) / (edge / 3))
