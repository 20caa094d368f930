"""Finds places for ordered slots: boxes in line with those they are joined to, arrows straight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from aigc_course.plotting.flowchart.slots import Layout, Route, Row, Slot
from aigc_course.plotting.flowchart.springs import rest

BETWEEN = 22  # pixels between neighbouring boxes in a rank
BESIDE = 26  # pixels between an arrow that passes and its neighbours
PAD = 14  # pixels between a frame and its boxes
# Of each group's title: room before its first rank, room before its first box across, least width across.
Rooms = Mapping[str, tuple[float, float, float]]


def place(layout: Layout, titles: Rooms) -> None:
    """Set u and v of every slot, the bands of the ranks, the frames of the groups, the size of the whole."""
    _place_across(layout, titles)
    spans = {group: _span(layout, group) for group in layout.groups}
    _place_along(layout, titles, spans)
    for group, (first, last) in spans.items():
        _, low, _, high = layout.frames[group]
        start, stop = layout.bands[first][0] - PAD - titles[group][0], layout.bands[last][1] + PAD
        layout.frames[group] = (start, low, stop, high)
    _shift(layout)


def _span(layout: Layout, group: str) -> tuple[int, int]:
    ranks = [slot.rank for row in layout.rows for slot in row if slot.group == group]
    return min(ranks), max(ranks)


# --- across ------------------------------------------------------------------------------------------------


def _place_across(layout: Layout, titles: Rooms) -> None:
    slots = [slot for row in layout.rows for slot in row]
    index = {slot: i for i, slot in enumerate(slots)}
    left = {group: len(slots) + 2 * i for i, group in enumerate(layout.groups)}  # and left + 1 is its right border
    springs = [spring for route in layout.routes for spring in _springs(layout, route, index)]
    rods = [rod for row in layout.rows for rod in _rods(row, index, left, titles)]
    for group, border in left.items():
        springs.append((border, border + 1, 0.02))
        rods.append((border, border + 1, titles[group][2]))
    places = rest(len(slots) + 2 * len(left), springs, rods)
    for slot in slots:
        slot.v = places[index[slot]]
    layout.frames = {group: (0, places[border], 0, places[border + 1]) for group, border in left.items()}


def _springs(layout: Layout, route: Route, index: Mapping[Slot, int]) -> list[tuple[int, int, float]]:
    """Boxes pull each other; an arrow's slots hold together, in line with the less busy of its boxes."""
    tail, *passing, head = route.slots
    pulls = [] if route.lane else [(index[tail], index[head], _strength(layout, route))]
    pulls += [(index[one], index[other], 50) for one, other in zip(passing, passing[1:], strict=False)]
    if passing:
        out, into = _degrees(layout.routes)
        ties = (0.05, 0.002) if into[head] > out[tail] else (0.002, 0.05)
        pulls += [(index[tail], index[passing[0]], ties[0]), (index[passing[-1]], index[head], ties[1])]
    return pulls


def _degrees(routes: list[Route]) -> tuple[Counter, Counter]:
    """How many of the arrows leave, and how many enter, each box."""
    return Counter(route.slots[0] for route in routes), Counter(route.slots[-1] for route in routes)


def _strength(layout: Layout, route: Route) -> float:
    """Links of a chain are stiff, so that it runs straight; lone inputs yield; long arrows hardly pull."""
    steps = [r for r in layout.routes if not r.back and _steps(layout, r) == 1]
    if route not in steps:
        return 0.1 / _steps(layout, route) ** 2
    busy = [r for r in steps if not _is_lone(r, steps)]
    out, into = _degrees(busy or steps)
    if out[route.slots[0]] <= 1 and into[route.slots[-1]] <= 1 and route in (busy or steps):
        return 50.0
    return 1.0 if route in busy else 0.2


def _is_lone(route: Route, steps: list[Route]) -> bool:
    """An input or output of a box that has several, and that leads nowhere else."""
    (out, into), (tail, *_, head) = _degrees(steps), route.slots
    lone_input = into[tail] == 0 and out[tail] == 1 and into[head] > 1
    return lone_input or (out[head] == 0 and into[head] == 1 and out[tail] > 1)


def _steps(layout: Layout, route: Route) -> int:
    """How many ranks of boxes an arrow goes down; ranks of labels do not count."""
    first, last = sorted(slot.rank for slot in (route.slots[0], route.slots[-1]))
    return sum(any(slot.name for slot in row) for row in layout.rows[first:last])


def _rods(row: Row, index, left, titles: Rooms) -> list[tuple[int, int, float]]:
    """(a, b, d): place b is at least d beyond place a.  Neighbours stay apart, members inside their frame."""
    rods = []
    for one, other in zip([None, *row], [*row, None], strict=True):
        if one and one.group and not (other and other.group == one.group):
            rods.append((index[one], left[one.group] + 1, one.across / 2 + PAD))
        if other and other.group and not (one and one.group == other.group):
            rods.append((left[other.group], index[other], other.across / 2 + PAD + titles[other.group][1]))
        if one and other:
            rods.append(_between(one, other, index, left))
    return rods


def _between(one: Slot, other: Slot, index, left) -> tuple[int, int, float]:
    """The rod between two neighbours, or between their frames."""
    apart = BETWEEN if one.name and other.name else BESIDE
    if one.group == other.group:
        return index[one], index[other], (one.across + other.across) / 2 + apart
    start, half = (left[one.group] + 1, 0) if one.group else (index[one], one.across / 2)
    stop, other_half = (left[other.group], 0) if other.group else (index[other], other.across / 2)
    return start, stop, half + other_half + apart


# --- along ------------------------------------------------------------------------------------------------


def _place_along(layout: Layout, titles: Rooms, spans: Mapping[str, tuple[int, int]]) -> None:
    """Stack the ranks, with more room where arrows swing far, and where frames begin or end."""
    at, last_rank = 0.0, len(layout.rows) - 1
    for r, row in enumerate(layout.rows):
        opening = max((PAD + titles[group][0] for group, (first, _) in spans.items() if first == r), default=0)
        closing = PAD * any(last == r - 1 for _, last in spans.values())
        at += opening + closing + (_stride(layout, r) if r else 0)
        thick = max(slot.along for slot in row)
        for slot in row:
            slot.u = at + thick / 2
        layout.bands.append((at, at + thick))
        at += thick
    layout.size = (at + PAD * any(last == last_rank for _, last in spans.values()), 0)


def _stride(layout: Layout, r: int) -> float:
    """Room between ranks r - 1 and r: a short way next to a label, a longer one where an arrow swings far."""
    swings = [0.0]
    for route in layout.routes:
        for one, other in zip(route.slots, route.slots[1:], strict=False):
            if {one.rank, other.rank} == {r - 1, r}:
                swings.append(abs(one.v - other.v))
    boxes = all(any(slot.name for slot in row) for row in layout.rows[r - 1 : r + 1])
    return (40 if boxes else 22) + min(36, 0.14 * max(swings))


def _shift(layout: Layout) -> None:
    """Move everything across so that the drawing begins at 0."""
    slots, frames = [slot for row in layout.rows for slot in row], layout.frames
    low = min([slot.v - slot.across / 2 for slot in slots] + [frame[1] for frame in frames.values()])
    high = max([slot.v + slot.across / 2 for slot in slots] + [frame[3] for frame in frames.values()])
    for slot in slots:
        slot.v -= low
    layout.frames = {group: (u0, v0 - low, u1, v1 - low) for group, (u0, v0, u1, v1) in frames.items()}
    layout.size = (layout.size[0], high - low)
