"""Processes whose flowchart we know: told in English or Chinese by a small grammar, written down as mermaid."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from aigc_course.plotting.flowchart.mermaid import parse
from aigc_course.scenes import LANGUAGES

VERBS = {
    "check": "检查", "send": "发送", "print": "打印", "open": "打开", "sign": "签署", "copy": "复制",
    "pack": "包装", "read": "阅读", "save": "保存", "weigh": "称量", "show": "展示", "sort": "整理",
}  # fmt: skip
THINGS = {
    "letter": "信件", "form": "表格", "order": "订单", "report": "报告", "parcel": "包裹", "bill": "账单",
    "picture": "图片", "model": "模型", "file": "文件", "ticket": "车票", "recipe": "食谱", "sample": "样品",
}  # fmt: skip
STATES = {
    "ready": "好了", "late": "迟了", "wrong": "错了", "new": "是新的", "small": "很小", "heavy": "很重",
    "missing": "丢了", "old": "是旧的",
}  # fmt: skip
YES, NO = {"en": "yes", "zh": "是"}, {"en": "no", "zh": "否"}
SPLITS = ("train", "test")
BOXES = 8  # steps and choices of the longest process that is trained on


@dataclass(frozen=True)
class Choice:
    """If something holds, some steps, otherwise others (none: straight on)."""

    condition: str
    then: tuple[str, ...]
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Process:
    """Steps and choices, one after the other, in one language."""

    parts: tuple[str | Choice, ...]
    language: str = "en"

    def __post_init__(self):
        if self.language not in LANGUAGES:
            raise ValueError(f"no processes in {self.language!r}; use one of: {', '.join(LANGUAGES)}")
        if not self.parts or (isinstance(self.parts[-1], Choice) and not self.parts[-1].otherwise):
            raise ValueError("a process ends in a step, or in a choice with both its ways: where else would “no” go?")

    @property
    def boxes(self) -> int:
        """How many boxes its flowchart has."""
        return sum(1 if isinstance(p, str) else 1 + len(p.then) + len(p.otherwise) for p in self.parts)


# --- as a graph ---------------------------------------------------------------------------------------------

Edge = tuple[str, str, str]  # from, to, label


@dataclass(frozen=True)
class Graph:
    """What a flowchart says, however it is written: arrows between labels, and which labels are choices."""

    edges: frozenset[Edge]
    choices: frozenset[str]


def graph_of(process: Process) -> Graph:
    """The arrows that a process means."""
    conditions = frozenset(part.condition for part in process.parts if isinstance(part, Choice))
    return Graph(frozenset(_arrows(process)), conditions)


def _arrows(process: Process) -> list[Edge]:
    """In the order in which the process is told: each box is reached before it is left."""
    edges, ends = [], []
    for part in process.parts:
        first = part if isinstance(part, str) else part.condition
        edges += [(tail, first, label) for tail, label in ends]
        ends = [(part, "")] if isinstance(part, str) else _through(part, process.language, edges)
    return edges


def _through(choice: Choice, language: str, edges: list[Edge]) -> list[tuple[str, str]]:
    """Adds the arrows inside a choice; where its ways end, with the label of the arrow that leaves there."""
    ends = []
    for steps, label in ((choice.then, YES[language]), (choice.otherwise, NO[language])):
        at = (choice.condition, label)
        for step in steps:
            edges.append((at[0], step, at[1]))
            at = (step, "")
        ends.append(at)
    return ends


def read_graph(mermaid: str) -> Graph:
    """The arrows that a flowchart draws; ValueError where it is none that the course reads."""
    chart = parse(mermaid)
    words = {name: " ".join(node.lines) for name, node in chart.nodes.items()}
    if len(set(words.values())) < len(words):
        raise ValueError("two boxes say the same; a process names each step once")
    edges = frozenset((words[edge.tail], words[edge.head], edge.label) for edge in chart.edges)
    return Graph(edges, frozenset(words[name] for name, node in chart.nodes.items() if node.shape == "choice"))


def same_graph(mermaid: str, process: Process) -> bool:
    """Whether a text is a flowchart, and of this process: every arrow, every label, no other."""
    try:
        return read_graph(mermaid) == graph_of(process)
    except ValueError:
        return False


def to_mermaid(process: Process) -> str:
    """The flowchart as one writes it: a letter for each box, its words where it comes first."""
    whole = graph_of(process)
    letters: dict[str, str] = {}

    def box(words: str) -> str:
        if words in letters:
            return letters[words]
        letters[words] = chr(ord("A") + len(letters))
        return letters[words] + (f"{{{words}}}" if words in whole.choices else f"[{words}]")

    lines = [f"{box(tail)} -->{f'|{label}|' if label else ''} {box(head)}" for tail, head, label in _arrows(process)]
    return "\n".join(["flowchart TD", *(lines or [box(process.parts[0])])])


# --- in words -----------------------------------------------------------------------------------------------


_SAID = {  # first, then, last; one step; a choice, and what else; between steps, between sentences
    "en": {
        "first": ["First "], "then": ["Then ", "Next ", "After that "], "last": ["Finally "], "step": "{0}{1}.",
        "choice": "If {0}, {1}{2}.", "otherwise": ", otherwise {0}", "and": " and ", "space": " ",
    },
    "zh": {
        "first": ["首先"], "then": ["然后", "接着", "再"], "last": ["最后"], "step": "{0}{1}。",
        "choice": "如果{0}，就{1}{2}。", "otherwise": "，否则{0}", "and": "，再", "space": "",
    },
}  # fmt: skip


def tell_process(process: Process, rng: random.Random) -> str:
    """One way to say it."""
    said, told = _SAID[process.language], []
    for k, part in enumerate(process.parts):
        when = "first" if k == 0 else "last" if k == len(process.parts) - 1 else "then"
        start = said[when][0] if when != "then" else rng.choice(said[when])
        if isinstance(part, str):
            told.append(said["step"].format(start, part))
        else:
            other = said["otherwise"].format(said["and"].join(part.otherwise)) if part.otherwise else ""
            told.append(said["choice"].format(part.condition, said["and"].join(part.then), other))
    return said["space"].join(told)


# --- at random ----------------------------------------------------------------------------------------------


def random_processes(
    count: int, split: str = "train", seed: int = 0, least: int = 2, most: int = BOXES
) -> Iterator[Process]:
    """So many random processes of `least` to `most` boxes, both languages by turns; the same for the same seed.

    Split by their actions: of the 144 pairs of a verb and a thing, each fourth is never trained on, and every
    process of the test has at least one of these.
    """
    if split not in SPLITS:
        raise ValueError(f"no split called {split!r}; use one of: {', '.join(SPLITS)}")
    rng, made = random.Random(f"processes/{split}/{seed}"), 0
    while made < count:
        one = _random(rng, split, LANGUAGES[made % 2], rng.randint(least, most))
        if one and least <= one.boxes <= most:
            made += 1
            yield one


def held_out(verb: str, thing: str) -> bool:
    """Whether this action is kept for the test."""
    return (list(VERBS).index(verb) + list(THINGS).index(thing)) % 4 == 3


def _random(rng: random.Random, split: str, language: str, boxes: int) -> Process | None:
    """A process of about so many boxes, or None where chance has led nowhere."""
    pairs = [(verb, thing) for verb in VERBS for thing in THINGS]
    pairs = [pair for pair in pairs if split == "test" or not held_out(*pair)]
    chosen = iter(rng.sample(pairs, boxes + 4))
    conditions = iter(rng.sample([(thing, state) for thing in THINGS for state in STATES], 4))
    parts, used = [], []

    def step() -> str:
        used.append(next(chosen))
        return action(*used[-1], language)

    while (left := boxes - sum(1 if isinstance(p, str) else 1 + len(p.then) + len(p.otherwise) for p in parts)) > 0:
        if left < 3 or rng.random() < 0.55 or sum(isinstance(p, Choice) for p in parts) > 1:
            parts.append(step())
            continue
        then = tuple(step() for _ in range(rng.choice([1, 1, 2])))
        otherwise = tuple(step() for _ in range(rng.choice([0, 1, 1, 2] if left > 3 else [0, 1])))
        parts.append(Choice(condition(*next(conditions), language), then, otherwise))
    ends_open = isinstance(parts[-1], Choice) and not parts[-1].otherwise
    wanted = split == "train" or any(held_out(*pair) for pair in used)
    return Process(tuple(parts), language) if wanted and not ends_open else None


def action(verb: str, thing: str, language: str) -> str:
    """What a step says."""
    return f"{verb} the {thing}" if language == "en" else VERBS[verb] + THINGS[thing]


def condition(thing: str, state: str, language: str) -> str:
    """What a choice asks."""
    return f"the {thing} is {state}" if language == "en" else THINGS[thing] + STATES[state]
