"""A flowchart as slots in ranks: every box has one, and so has every arrow in each rank that it passes.

One axis, `along` (u), follows the arrows from rank to rank; the other, `across` (v), runs within a rank.
For "LR" along is x, for "TD" it is y.  Passing arrows hold slots of their own, so none is drawn over a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Row = list["Slot"]


@dataclass(frozen=True)
class Link:
    """What a layout needs to know of an arrow: its ends by name, its label's size along and across (or 0)."""

    tail: str
    head: str
    label: tuple[float, float] = (0.0, 0.0)


@dataclass(eq=False)
class Slot:
    """A place in a rank: of a box (with a `name`), a passing arrow, a label, or a group with no box there."""

    rank: int
    along: float = 0.0  # size
    across: float = 0.0
    name: str | None = None
    group: str | None = None
    u: float = 0.0  # place of the middle
    v: float = 0.0


@dataclass(eq=False)
class Route:
    """An arrow's slots, tail to head; `back` if it runs against the ranks, `lane` ±1 if it ends sideways."""

    slots: Row
    label: Slot | None = None
    back: bool = False
    lane: int = 0


@dataclass
class Layout:
    """Ranks of slots, the routes through them in the order of the links, and what placing them adds."""

    rows: list[Row]
    boxes: dict[str, Slot]
    routes: list[Route]
    frames: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)  # u0, v0, u1, v1
    bands: list[tuple[float, float]] = field(default_factory=list)  # where each rank begins and ends, along
    size: tuple[float, float] = (0.0, 0.0)  # along, across

    @property
    def groups(self) -> list[str]:
        """The groups that hold a box, in order of appearance."""
        return list(dict.fromkeys(box.group for box in self.boxes.values() if box.group))


def fill(sizes: Mapping[str, tuple[float, float]], links: Sequence[Link], home: Mapping[str, str | None]) -> Layout:
    """Give everything a slot, in the author's order.  sizes: boxes (along, across);  home: their groups."""
    turned = turn_back(sizes, links)
    ranks = rank(sizes, links, turned)
    level = _levels(links, ranks)
    boxes = {name: Slot(level[2 * ranks[name]], *sizes[name], name=name, group=home[name]) for name in sizes}
    layout = Layout([[] for _ in level], boxes, [])
    for box in boxes.values():
        layout.rows[box.rank].append(box)
    for i, link in enumerate(links):
        middle = level[_label_rank(link, ranks)] if any(link.label) else None
        layout.routes.append(_route(layout, link, i in turned, middle))
    for group in layout.groups:
        _hold(layout.rows, group)
    return layout


def turn_back(names: Mapping, links: Sequence[Link]) -> set[int]:
    """The links to read backwards so that no cycle is left: those back to a box still being explored."""
    leaving = defaultdict(list)
    for i, link in enumerate(links):
        leaving[link.tail].append(i)
    state, turned = dict.fromkeys(names, "new"), set()

    def explore(name):
        state[name] = "open"
        for i in leaving[name]:
            if state[links[i].head] == "open":
                turned.add(i)
            elif state[links[i].head] == "new":
                explore(links[i].head)
        state[name] = "done"

    entered = {link.head for link in links}
    for name in [*(name for name in names if name not in entered), *names]:
        if state[name] == "new":
            explore(name)
    return turned


def rank(names: Mapping, links: Sequence[Link], turned: set[int]) -> dict[str, int]:
    """How many steps down each box stands: one below its lowest parent; orphans stand next to a child."""
    ends = [(link.head, link.tail) if i in turned else (link.tail, link.head) for i, link in enumerate(links)]
    ranks = dict.fromkeys(names, 0)
    for _ in names:  # no path has more steps than there are boxes
        for tail, head in ends:
            ranks[head] = max(ranks[head], ranks[tail] + 1)
    for name in names:
        children = [ranks[head] for tail, head in ends if tail == name]
        if children and not any(head == name for _, head in ends):
            ranks[name] = min(children) - 1
    return ranks


def _label_rank(link: Link, ranks: Mapping[str, int]) -> int:
    """Count ranks by two.  A label stands in the middle rank its arrow passes, or the odd one between."""
    first, last = sorted((ranks[link.tail], ranks[link.head]))
    return first + last if last == first + 1 else (first + last) // 2 * 2


def _levels(links: Sequence[Link], ranks: Mapping[str, int]) -> dict[int, int]:
    """Number the ranks that hold something: every even one, and the odd ones that a label needs."""
    used = {2 * r for r in ranks.values()} | {_label_rank(link, ranks) for link in links if any(link.label)}
    return {r: i for i, r in enumerate(sorted(used))}


def _route(layout: Layout, link: Link, back: bool, middle: int | None) -> Route:
    """Add a slot in each rank between the two boxes; the one in rank `middle` holds the label."""
    ends = layout.boxes[link.tail], layout.boxes[link.head]
    first, last = sorted(end.rank for end in ends)
    group = ends[0].group if ends[0].group == ends[1].group else None
    passing = [Slot(r, group=group) for r in range(first + 1, last)]
    for slot in passing:
        layout.rows[slot.rank].append(slot)
    label = next((slot for slot in passing if slot.rank == middle), None)
    if label:
        label.along, label.across = link.label
    return Route([ends[0], *(passing[::-1] if back else passing), ends[1]], label, back)


def _hold(rows: list[Row], group: str) -> None:
    """Give a group a slot in each of its ranks where it has none, so that nothing else moves in."""
    ranks = [slot.rank for row in rows for slot in row if slot.group == group]
    for r in range(min(ranks), max(ranks)):
        if not any(slot.group == group for slot in rows[r]):
            rows[r].append(Slot(r, group=group))
