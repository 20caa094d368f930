"""Puts the slots of each rank in an order in which few arrows cross."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product

from aigc_course.plotting.flowchart.slots import Layout, Route, Row, Slot

SWEEPS = 12
TRIED = 4  # arrows back for which both sides are tried


def order(layout: Layout) -> None:
    """Sort each rank by the mean place of neighbours, again and again; open lanes for arrows that run back.

    An arrow back may run on either side of the chart, so all choices are tried, and the fewest crossings win.
    """
    back = [route for route in layout.routes if _runs_beside(layout, route)]
    written = [list(row) for row in layout.rows]
    best, fewest = None, None
    for sides in product((1, -1), repeat=min(len(back), TRIED)):
        layout.rows[:] = _with_sides(written, dict(zip(map(id, back), sides, strict=False)), back)
        _sweep(layout)
        lanes = _open_lanes(layout, back)
        if fewest is None or crossings(layout.rows, lanes) < fewest:
            best, fewest = ([list(row) for row in layout.rows], lanes), crossings(layout.rows, lanes)
    layout.rows[:], layout.routes[:] = best


def crossings(rows: list[Row], routes: list[Route]) -> int:
    """How many pairs of arrows cross between neighbouring ranks."""
    _, below = _neighbours(routes)
    total = 0
    for upper, lower in zip(rows, rows[1:], strict=False):
        places = {slot: i for i, slot in enumerate(lower)}
        ends = [(i, places[slot]) for i, top in enumerate(upper) for slot in below[top]]
        total += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k])
    return total


def _runs_beside(layout: Layout, route: Route) -> bool:
    """An arrow back past other boxes ends sideways; one to the next rank of boxes runs straight to it."""
    ranks = sorted(slot.rank for slot in (route.slots[0], route.slots[-1]))
    return route.back and any(slot.name for row in layout.rows[ranks[0] + 1 : ranks[1]] for slot in row)


def _with_sides(rows: list[Row], sides: Mapping[int, int], back: list[Route]) -> list[Row]:
    """Start arrows back at the chosen ends of their ranks."""
    side = {slot: sides.get(id(route), 1) for route in back for slot in route.slots[1:-1]}
    return [sorted(row, key=lambda slot: side.get(slot, 0)) for row in rows]


def _neighbours(routes: list[Route]) -> tuple[Mapping[Slot, Row], Mapping[Slot, Row]]:
    """The slots in the rank above, and in the rank below, that each slot is joined to."""
    above, below = defaultdict(list), defaultdict(list)
    for route in routes:
        for one, other in zip(route.slots, route.slots[1:], strict=False):
            if one.rank != other.rank:
                upper, lower = sorted((one, other), key=lambda slot: slot.rank)
                below[upper].append(lower)
                above[lower].append(upper)
    return above, below


def _sweep(layout: Layout) -> None:
    """Go down and up through the ranks, and keep the best order seen."""
    rows, (above, below) = layout.rows, _neighbours(layout.routes)
    _sort_all(rows, defaultdict(list), rows)
    best, fewest = [list(row) for row in rows], crossings(rows, layout.routes)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        _sort_all(rows, above if down else below, rows if down else rows[::-1])
        if (now := crossings(rows, layout.routes)) < fewest:
            best, fewest = [list(row) for row in rows], now
    rows[:] = best


def _sort_all(rows: list[Row], near: Mapping[Slot, Row], turn: list[Row]) -> None:
    """Sort each rank by mean place of neighbours, but keep a group together, at its mean place over all."""
    for row in turn:
        wish = {slot: _mean(_share(rows, other) for other in near[slot] or [slot]) for slot in row}
        for group in {slot.group for slot in row if slot.group}:
            centre = _mean(_share(rows, slot) for each in rows for slot in each if slot.group == group)
            wish[group] = centre
        row.sort(key=lambda slot: (wish[slot.group] if slot.group else wish[slot], slot.group or "", wish[slot]))


def _share(rows: list[Row], slot: Slot) -> float:
    """A slot's place in its rank, from 0 to 1."""
    return (rows[slot.rank].index(slot) + 0.5) / len(rows[slot.rank])


def _mean(numbers: Iterator[float]) -> float:
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def _open_lanes(layout: Layout, back: list[Route]) -> list[Route]:
    """The routes; each arrow back has got a slot beside both of its boxes, to leave and enter sideways."""
    lanes = {id(route): _open_lane(layout.rows, route) for route in back}
    return [lanes.get(id(route), route) for route in layout.routes]


def _open_lane(rows: list[Row], route: Route) -> Route:
    tail, *passing, head = route.slots
    middle = (_share(rows, tail) + _share(rows, head)) / 2
    lane = 1 if _mean(_share(rows, slot) for slot in passing) >= middle else -1
    beside = [Slot(box.rank, group=box.group) for box in (tail, head)]
    for slot, box in zip(beside, (tail, head), strict=True):
        row = rows[box.rank]
        row.insert(row.index(box) + (lane > 0), slot)
    return Route([tail, beside[0], *passing, beside[1], head], route.label, True, lane)
