"""Reads the part of mermaid's flowchart language that the course uses; refuses the rest with a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SHAPES = {"([": ("])", "stadium"), "[": ("]", "box"), "(": (")", "round"), "{": ("}", "choice")}
TEXT = r'(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\[\](){}"|]*))'
NODE = re.compile(r"\s*(?P<name>\w+)")
ARROW = re.compile(r'\s*(?P<line>-->|-\.->)\s*(?:\|\s*"?(?P<label>[^|"]*?)"?\s*\|)?')
GROUP = re.compile(rf"subgraph\s+(?:\w+\s*\[{TEXT}\]|(?P<title>[^\[\]]+))$")
SUBSET = 'use nodes a[..], a(..), a([..]), a{..}, edges --> or -.->, labels -->|..|, and "quotes" around brackets'


@dataclass(frozen=True)
class Node:
    """A box: its lines of text, its shape, and the group that it stands in."""

    name: str
    lines: tuple[str, ...]
    shape: str
    group: str | None


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by their names."""

    tail: str
    head: str
    label: str = ""
    dashed: bool = False


@dataclass
class Chart:
    """A flowchart as it is written: "LR" or "TD", nodes and groups in order of appearance."""

    direction: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def parse(source: str) -> Chart:
    """Mermaid text to a chart; what it does not understand is named with its line."""
    lines = [(i, line.strip()) for i, line in enumerate(source.splitlines(), 1)]
    lines = [(i, line) for i, line in lines if line and not line.startswith("%%")]
    opening = re.fullmatch(r"(?:flowchart|graph)\s+(LR|TD|TB)", lines[0][1]) if lines else None
    if not opening:
        raise ValueError("a diagram begins with the line 'flowchart LR' (left to right) or 'flowchart TD' (down)")
    chart, group = Chart("LR" if opening[1] == "LR" else "TD"), None
    for i, line in lines[1:]:
        group = _read_line(chart, group, i, line)
    if group is not None:
        raise ValueError(f"the subgraph {group!r} is never closed; add a line 'end'")
    if not chart.nodes:
        raise ValueError("the diagram has no nodes; add a line such as 'a[words] --> b[picture]'")
    return chart


def _read_line(chart: Chart, group: str | None, i: int, line: str) -> str | None:
    """Take in one line, and tell in which group the next one stands."""
    if line == "end" and group is not None:
        return None
    if line.startswith("subgraph"):
        return _open_group(chart, group, i, line)
    name, at = _read_node(chart, group, i, line, 0)
    while at < len(line):
        arrow = ARROW.match(line, at)
        if not arrow:
            raise ValueError(f"line {i} of the diagram is not understood from {line[at:].strip()!r} on; {SUBSET}")
        head, at = _read_node(chart, group, i, line, arrow.end())
        if head == name:
            raise ValueError(f"line {i} of the diagram has an arrow from {name!r} to itself; leave it out")
        chart.edges.append(Edge(name, head, arrow["label"] or "", arrow["line"] == "-.->"))
        name = head
    return group


def _open_group(chart: Chart, group: str | None, i: int, line: str) -> str:
    found = GROUP.match(line)
    if not found or group is not None:
        why = "a subgraph inside a subgraph is not drawn" if found else "a subgraph needs a title"
        raise ValueError(f"line {i} of the diagram: {why}")
    title = next(text for text in (found["quoted"], found["bare"], found["title"]) if text is not None).strip(' "')
    if title in chart.groups:
        raise ValueError(f"line {i} of the diagram: there is a subgraph {title!r} already; give it another title")
    chart.groups.append(title)
    return title


def _read_node(chart: Chart, group: str | None, i: int, line: str, at: int) -> tuple[str, int]:
    """Take in the node that stands at place `at` of the line; tell its name and the place behind it."""
    found = NODE.match(line, at)
    if not found:
        raise ValueError(f"line {i} of the diagram needs a node at {line[at:]!r}; {SUBSET}")
    name, at = found["name"], found.end()
    text, shape, at = _read_shape(i, line, at)
    known = chart.nodes.get(name)
    if known is None or text is not None:
        words = tuple(part.strip() for part in re.split(r"<br\s*/?>", text if text is not None else name))
        home = known.group if known and known.group else group
        chart.nodes[name] = Node(name, words, shape, home)
    elif known.group is None and group is not None:
        chart.nodes[name] = Node(name, known.lines, known.shape, group)
    return name, len(line) if not line[at:].strip() else at


def _read_shape(i: int, line: str, at: int) -> tuple[str | None, str, int]:
    for opening, (closing, shape) in SHAPES.items():
        if line.startswith(opening, at):
            found = re.compile(TEXT + re.escape(closing)).match(line, at + len(opening))
            if not found:
                raise ValueError(f"line {i} of the diagram is not understood at {line[at:]!r}; {SUBSET}")
            return (found["quoted"] if found["quoted"] is not None else found["bare"]), shape, found.end()
    return None, "box", at
