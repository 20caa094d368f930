"""Draws a flowchart: measures words, has the slots placed, paints frames, arrows, boxes and letters."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon

from aigc_course.plotting import letters
from aigc_course.plotting.figure import CARD, INK, MUTED, Figure, finish, page
from aigc_course.plotting.flowchart.arrows import RADII, STUB, Ways
from aigc_course.plotting.flowchart.mermaid import Chart, Edge, Node, parse
from aigc_course.plotting.flowchart.order import order
from aigc_course.plotting.flowchart.places import place
from aigc_course.plotting.flowchart.slots import Layout, Link, Route, Slot, fill

MARGIN = 18
NAME, NOTE, LABEL, TITLE = 13, 11, 11, 11.5  # sizes: first and further lines of a box, labels, group titles
PAINT = {  # fill and border of each shape: a step, a thing, a person or an end, a choice
    "box": ("#e6eff8", "#7da0c4"),
    "round": ("#e8f3ea", "#84b293"),
    "stadium": ("#fbeddc", "#d8a468"),
    "choice": ("#f4ebf7", "#b08fbe"),
}
FRAME = ("#f4f1ea", "#d9d4c8")
ARROW = "#5c6575"


def show_diagram(mermaid: str, alt: str) -> Figure:
    """Draw a flowchart; its source travels with the picture, as text.

    mermaid: "flowchart LR" or "TD"; nodes a[step], a(thing), a([person or end]), a{choice}; arrows --> and
    -.->, with labels as in -->|label|; groups "subgraph title" ... "end".  <br/> begins a smaller line.
    """
    sketch = _Sketch(parse(mermaid))
    return finish(sketch.draw(), ". ".join([alt.strip().rstrip("."), *sketch.untold]), mermaid)


@dataclass(frozen=True)
class _Words:
    """Lines as they will be drawn, and their room."""

    lines: tuple[tuple[str, float, bool], ...]  # text, letter size, bold

    @property
    def wide(self) -> float:
        return max(letters.width(*line) for line in self.lines)

    @property
    def high(self) -> float:
        return sum(letters.height(1, size) for _, size, _ in self.lines)


class _Sketch:
    """A chart on its way to the page: words measured and boxes placed, then everything drawn."""

    def __init__(self, chart: Chart):
        self.chart, self.untold = chart, []
        self.titles = {group: self._tell(group) for group in chart.groups}
        self.words = {name: self._node_words(node) for name, node in chart.nodes.items()}
        self.labels = [self._label_words(edge) for edge in chart.edges]
        self.layout = self._lay_out()
        self.ways = Ways(self.layout, {name: node.shape for name, node in chart.nodes.items()})

    def _turn(self, a: float, b: float) -> tuple[float, float]:
        """From wide and high to along and across, and back."""
        return (a, b) if self.chart.direction == "LR" else (b, a)

    def at(self, u: float, v: float) -> tuple[float, float]:
        """From along and across to x and y on the page, y down."""
        x, y = self._turn(u, v)
        return x + MARGIN, y + MARGIN

    # --- words ----------------------------------------------------------------------------------------------

    def _tell(self, text: str) -> str:
        """The text, or a number if no font can draw it, which the alt text explains."""
        if not letters.drawable(text):
            self.untold.append(f"{len(self.untold) + 1}: {text}")
        return letters.label(text, len(self.untold))

    def _node_words(self, node: Node) -> _Words:
        first, *notes = (self._tell(line) for line in node.lines)
        lines = [(line, NAME, True) for line in letters.wrap(first, 170, NAME, bold=True)]
        lines += [(line, NOTE, False) for note in notes for line in letters.wrap(note, 170, NOTE)]
        return _Words(tuple(lines))

    def _label_words(self, edge: Edge) -> _Words | None:
        if not edge.label:
            return None
        return _Words(tuple((line, LABEL, False) for line in letters.wrap(self._tell(edge.label), 110, LABEL)))

    # --- sizes ----------------------------------------------------------------------------------------------

    def _lay_out(self) -> Layout:
        sizes = {name: self._box_size(node) for name, node in self.chart.nodes.items()}
        links = [
            Link(edge.tail, edge.head, self._turn(words.wide + 10, words.high + 4) if words else (0, 0))
            for edge, words in zip(self.chart.edges, self.labels, strict=True)
        ]
        layout = fill(sizes, links, {name: node.group for name, node in self.chart.nodes.items()})
        order(layout)
        place(layout, {group: self._title_room(group) for group in self.chart.groups})
        return layout

    def _box_size(self, node: Node) -> tuple[float, float]:
        """Room for the words, and, across, for the arrows at the busier side."""
        words, edges = self.words[node.name], self.chart.edges
        wide, high = max(64.0, words.wide + (36 if node.shape == "stadium" else 28)), words.high + 20
        if node.shape == "choice":  # a rhombus holds a rectangle whose shares of width and height sum to 1
            wide = 1.55 * words.wide + 24
            high = words.high / (1 - words.wide / wide) + 6
        along, across = self._turn(wide, high)
        out, into = ([getattr(edge, end) for edge in edges].count(node.name) for end in ("tail", "head"))
        return along, max(across, 14 * (max(out, into) - 1) + 20)

    def _title_room(self, group: str) -> tuple[float, float, float]:
        """Before the first rank, before the first box across, and the least width across."""
        high = letters.height(1, TITLE) + 2
        if self.chart.direction == "LR":
            return 0, high, 0
        return high, 0, letters.width(self.titles[group], TITLE, True) + 28

    # --- painting -------------------------------------------------------------------------------------------

    def draw(self):
        """Paint the frames, then the arrows with their labels, then the boxes."""
        wide, high = (side + 2 * MARGIN for side in self._turn(*self.layout.size))
        canvas = page(wide, high, 2)
        axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(high, 0))
        axes.set_axis_off()
        for group, frame in self.layout.frames.items():
            self._draw_frame(axes, group, frame)
        for edge, route, words in zip(self.chart.edges, self.layout.routes, self.labels, strict=True):
            self._draw_arrow(axes, route, edge.dashed)
            if words and route.label:
                middle = self.at(route.label.u, route.label.v)
                _patch(axes, middle, words.wide + 8, words.high + 2, 5, FRAME[0] if route.label.group else CARD)
                _write(axes, words, middle)
        for name, box in self.layout.boxes.items():
            self._draw_box(axes, self.chart.nodes[name], box)
        return canvas

    def _draw_frame(self, axes: Axes, group: str, frame: tuple[float, float, float, float]) -> None:
        (x0, y0), (x1, y1) = self.at(*frame[:2]), self.at(*frame[2:])
        _patch(axes, ((x0 + x1) / 2, (y0 + y1) / 2), x1 - x0, y1 - y0, 10, *FRAME, zorder=0)
        text = letters.wrap(self.titles[group], x1 - x0 - 24, TITLE, bold=True, most=1)[0]
        x, font = self._title_place(group, text, x0 + 12, x1 - 12), letters.font(text, TITLE, bold=True)
        axes.text(x, y0 + 9, text, va="top", color=MUTED, font=font, parse_math=False, zorder=4)

    def _title_place(self, group: str, text: str, left: float, right: float) -> float:
        """On the left, unless more arrows from above would run through the title there than on the right."""
        if self.chart.direction == "LR":
            return left
        wide = letters.width(text, TITLE, True)
        first = min(slot.rank for row in self.layout.rows for slot in row if slot.group == group)
        ways = [slot.v + MARGIN for route in self.layout.routes for slot in route.slots if slot.rank == first]
        return min(left, right - wide, key=lambda x: sum(x - 8 < way < x + wide + 8 for way in ways))

    def _draw_box(self, axes: Axes, node: Node, box: Slot) -> None:
        (x, y), (wide, high) = self.at(box.u, box.v), self._turn(box.along, box.across)
        colours = PAINT[node.shape]
        if node.shape == "choice":
            corners = [(x - wide / 2, y), (x, y - high / 2), (x + wide / 2, y), (x, y + high / 2)]
            axes.add_patch(Polygon(corners, fc=colours[0], ec=colours[1], lw=1.3, zorder=2, joinstyle="round"))
        else:
            _patch(axes, (x, y), wide, high, min(RADII[node.shape], wide / 2, high / 2), *colours, zorder=2)
        _write(axes, self.words[node.name], (x, y))

    def _draw_arrow(self, axes: Axes, route: Route, dashed: bool) -> None:
        path, (dx, dy) = self.ways.course(route).path(self.at), self._turn(*self.ways.heading(route))
        x, y = path.vertices[-1]
        path.vertices[-1] = x - 0.7 * STUB * dx, y - 0.7 * STUB * dy  # the line ends inside its head
        style = (0, (4, 2.6)) if dashed else "-"
        axes.add_patch(PathPatch(path, fc="none", ec=ARROW, lw=1.4, ls=style, capstyle="butt", zorder=1))
        x0, y0 = x - STUB * dx, y - STUB * dy
        head = [(x, y), (x0 - 3.6 * dy, y0 + 3.6 * dx), (x0 + 3.6 * dy, y0 - 3.6 * dx)]
        axes.add_patch(Polygon(head, fc=ARROW, ec=ARROW, lw=0.6, joinstyle="round", zorder=1))


def _patch(axes: Axes, middle, wide: float, high: float, radius: float, fill: str, line="none", zorder=1.5):
    """A rectangle with round corners."""
    corner = (middle[0] - wide / 2, middle[1] - high / 2)
    style = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(FancyBboxPatch(corner, wide, high, style, fc=fill, ec=line, lw=1.3, zorder=zorder))


def _write(axes: Axes, words: _Words, middle: tuple[float, float]) -> None:
    """Lines of words about a point, names in ink and notes lighter."""
    x, y = middle[0], middle[1] - words.high / 2
    for text, size, bold in words.lines:
        high, look = letters.height(1, size), {"ha": "center", "va": "center_baseline", "parse_math": False}
        colour, font = INK if bold else MUTED, letters.font(text, size, bold)
        axes.text(x, y + high / 2, text, color=colour, font=font, zorder=4, **look)
        y += high
