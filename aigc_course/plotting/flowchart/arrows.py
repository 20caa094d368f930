"""The ways of arrows through a placed flowchart: where they touch boxes, and how they bend in between."""

from __future__ import annotations

import math
from collections import defaultdict

from matplotlib.path import Path

from aigc_course.plotting.flowchart.slots import Layout, Route, Slot

Point = tuple[float, float]
RADII = {"box": 6.0, "round": 15.0, "stadium": math.inf, "choice": 0.0}  # of corners, at most half a side
PORTS = 18  # pixels between arrows that share a side of a box
IN_LINE = 10  # pixels by which two boxes may miss each other and still be joined by a straight arrow
STUB = 8  # pixels that need no straight piece of their own: the length of an arrowhead


class Course:
    """A path written down in along and across."""

    def __init__(self, start: Point):
        self.points, self.codes = [start], [Path.MOVETO]

    def go(self, stop: Point) -> None:
        """Straight on, if there is a way to go."""
        if stop != self.points[-1]:
            self.points.append(stop)
            self.codes.append(Path.LINETO)

    def swing(self, stop: Point) -> None:
        """An S from here to there that begins and ends along."""
        (u0, v0), (u1, v1) = self.points[-1], stop
        middle = (u0 + u1) / 2
        self.points += [(middle, v0), (middle, v1), stop]
        self.codes += [Path.CURVE4] * 3

    def turn(self, corner: Point, stop: Point) -> None:
        """A round corner."""
        self.points += [corner, stop]
        self.codes += [Path.CURVE3] * 2

    def path(self, at) -> Path:
        """The path on the page, by a function from (along, across) to (x, y)."""
        return Path([at(*point) for point in self.points], self.codes)


class Ways:
    """All arrows of a layout.  shapes: of the boxes, by name."""

    def __init__(self, layout: Layout, shapes: dict[str, str]):
        self.layout, self.shapes, self.ports = layout, shapes, _ports(layout)

    def course(self, route: Route) -> Course:
        """Curves between ranks, and straight on through each rank, beside its boxes."""
        return self._beside(route) if route.lane else self._down(route)

    def heading(self, route: Route) -> Point:
        """The last direction of an arrow, along and across."""
        if route.lane:
            return 0, -route.lane
        return math.copysign(1, route.slots[-1].rank - route.slots[0].rank), 0

    def _down(self, route: Route) -> Course:
        """From the side of a box that faces the other box to the side that faces back."""
        (tail, *passing, head), sign = route.slots, int(self.heading(route)[0])
        start, stop = self._exit(route, 0), self._exit(route, -1)
        course, out, into = Course(start), self._band(tail, sign)[1], self._band(head, sign)[0]
        if abs(out - start[0]) > STUB:
            course.go((out, start[1]))  # out of the rank before bending: its other boxes may be thicker
        for slot in passing:
            self._pass(course, slot, sign)
        course.swing((into, stop[1]) if abs(into - stop[0]) > STUB else stop)
        course.go(stop)
        return course

    def _beside(self, route: Route) -> Course:
        """Out of a box sideways, back along a lane, and into the other box from the same side."""
        tail, first, *passing, last, head = route.slots
        sign = 1 if head.rank > tail.rank else -1
        course = Course((tail.u, tail.v + route.lane * tail.across / 2))
        course.turn((tail.u, first.v), (self._band(first, sign)[1], first.v))
        for slot in passing:
            self._pass(course, slot, sign)
        course.swing((self._band(last, sign)[0], last.v))
        course.turn((head.u, last.v), (head.u, head.v + route.lane * head.across / 2))
        return course

    def _pass(self, course: Course, slot: Slot, sign: int) -> None:
        into, out = self._band(slot, sign)
        course.swing((into, slot.v))
        course.go((out, slot.v))

    def _band(self, slot: Slot, sign: int) -> Point:
        """Where an arrow comes into and goes out of a slot's rank, along."""
        return self.layout.bands[slot.rank][::sign]

    def _exit(self, route: Route, end: int) -> Point:
        """Where an arrow touches the border of its first (0) or last (-1) box."""
        box, near = route.slots[end], route.slots[1 if end == 0 else -2]
        offset = self.ports[box, route]
        return box.u + math.copysign(self._depth(box, offset), near.rank - box.rank), box.v + offset

    def _depth(self, box: Slot, offset: float) -> float:
        """How far the border is from the middle of a box, along, at a distance from the middle across."""
        shape = self.shapes[box.name]
        if shape == "choice":
            return box.along / 2 * (1 - 2 * abs(offset) / box.across)
        radius = min(RADII[shape], box.along / 2, box.across / 2)
        past = max(0.0, abs(offset) - (box.across / 2 - radius))
        return box.along / 2 - radius + math.sqrt(max(0.0, radius**2 - past**2))


def _ports(layout: Layout) -> dict[tuple[Slot, Route], float]:
    """How far from the middle of its box's side each end of each arrow stands, so that arrows keep apart."""
    sides = defaultdict(list)
    for route in layout.routes:
        for box, near in ((route.slots[0], route.slots[1]), (route.slots[-1], route.slots[-2])):
            if near.rank != box.rank:
                sides[box, near.rank > box.rank].append((near, route))
    ports = {}
    for (box, _), ends in sides.items():
        ends.sort(key=lambda end: end[0].v)
        for (_, route), offset in zip(ends, _offsets(box, [near for near, _ in ends]), strict=True):
            ports[box, route] = offset
    return ports


def _offsets(box: Slot, near: list[Slot]) -> list[float]:
    """Evenly spaced about the middle; or about the one arrow that can run straight, which then does."""
    straight = [i for i, slot in enumerate(near) if abs(slot.v - box.v) < IN_LINE]
    step = min(PORTS, (box.across - 16) / max(1, len(near) - 1))
    middle, lean = (len(near) - 1) / 2, 0.0
    if len(straight) == 1:
        middle = straight[0]
        lean = (near[middle].v - box.v) / (2 if near[middle].name else 1)  # two boxes meet halfway
    room = box.across / 2 - 8
    lean = min(max(lean, middle * step - room), room - (len(near) - 1 - middle) * step)
    return [(i - middle) * step + lean for i in range(len(near))]
