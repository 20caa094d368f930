"""One prompt, one seed, up to three dials: every combination drawn, on one sheet with the values at its edges."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from aigc_course.plotting import Figure, letters
from aigc_course.plotting.figure import CARD, INK, MUTED, RULE, finish, page
from aigc_course.studio import prompt
from aigc_course.studio.desk import Studio, here
from aigc_course.studio.events import StudioError
from aigc_course.studio.job import JobSpec, Part
from aigc_course.studio.marks import PromptError
from aigc_course.studio.parameters import PARAMETERS

MOST_CELLS = 36
WORD = "word"  # the axis whose first value is a word of the prompt, and whose others stand in its place
DIALS = (WORD, *(one.name for one in PARAMETERS.values() if one.example and one.name != "repeat"))
SIDE, GAP, PAD, LETTER, ROOM = 128, 6, 14, 12, 900  # pixels: of a cell at most, and of all cells of a row


@dataclass(frozen=True)
class Axis:
    """A dial and its values, as they are written on the prompt line.

    name: one of `DIALS`, a parameter without its hyphens, or "word", for which the first value is a word of the prompt.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self):
        if self.name not in DIALS:
            raise ValueError(f"there is no dial {self.name!r:.40}; choose one of: {', '.join(DIALS)}")
        if not self.values or not all(self.values):
            raise ValueError(f"{self.name} has no values; write some, with commas between them")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name} has a value twice; name each once")

    @classmethod
    def of(cls, name: str, values: str | Iterable[Any]) -> Axis:
        """Values as a list, or as text with commas: `Axis.of("steps", "4, 8, 16")`."""
        some = re.split(r"[,，、]", values) if isinstance(values, str) else values
        return cls(name, tuple(str(one).strip() for one in some))

    def turned(self, spec: JobSpec, value: str) -> JobSpec:
        """The job with this dial at a value."""
        if self.name == WORD:
            return spec.with_(prompt=tuple(Part(self._instead(p.text, value), p.weight) for p in spec.prompt))
        try:
            (read,) = prompt.parse(f"x --{self.name} {value}")
        except (PromptError, ValueError) as error:
            said = getattr(error, "sentence", f"{value!r:.40} is not one value")
            raise ValueError(f"{self.name}: {said}") from None
        field = PARAMETERS[self.name].field
        change = {field: getattr(read, field)}
        if read != JobSpec((Part("x"),)).with_(**change):
            raise ValueError(f"{self.name}: {value!r:.40} sets more than this dial; give one value")
        return spec.with_(**change)

    def _instead(self, text: str, value: str) -> str:
        return re.sub(self._pattern(), lambda _: value, text)

    def _pattern(self) -> str:
        edge = r"\b" if self.values[0].isascii() else ""
        return f"{edge}{re.escape(self.values[0])}{edge}"

    def refuse(self, spec: JobSpec) -> None:
        """Say it if the word to be replaced is not there."""
        if self.name == WORD and not re.search(self._pattern(), spec.words):
            said = f"the prompt has no word {self.values[0]!r:.40}"
            raise ValueError(f"{said}; begin the values with a word of it, those that replace it follow")


def cells(spec: JobSpec, axes: Sequence[Axis]) -> list[JobSpec]:
    """A job of one picture for every combination, all with one seed; the first axis turns fastest."""
    many = int(np.prod([len(axis.values) for axis in axes]))
    if many > MOST_CELLS:
        raise ValueError(f"that makes {many} pictures; leave out values until there are at most {MOST_CELLS}")
    if len({axis.name for axis in axes}) < len(axes):
        raise ValueError("a dial is on two axes; choose another one for one of them")
    plain = spec.seeded().with_(count=1, repeat=1)
    for axis in axes:
        axis.refuse(plain)
    found = []
    for values in itertools.product(*(axis.values for axis in reversed(axes))):
        one = plain
        for axis, value in zip(reversed(axes), values, strict=True):
            one = axis.turned(one, value)
        found.append(one)
    return found


def plot(studio: Studio | None, line: str | JobSpec, x: Any = None, y: Any = None, z: Any = None) -> Figure:
    """Draw a prompt line for all values of up to three dials, and wait: `studio.plot(desk, line, x=("steps", [4, 8]))`.

    studio: None is the one that the plain functions use;  x, y, z: (dial, values); "word" replaces its first value.
    """
    studio = studio or here()
    spec = single(line) if isinstance(line, str) else line
    axes = [Axis.of(*axis) for axis in (x, y, z) if axis is not None]
    if not axes:
        raise ValueError("there is no dial to turn; give one, such as x=('steps', [4, 8, 16])")
    jobs = cells(spec, axes)
    made = [made.pictures[0] for made in _all(studio, jobs)]
    return sheet(made, axes, jobs[0])


def single(line: str) -> JobSpec:
    """The one job of a line."""
    specs = prompt.parse(line)
    if len(specs) > 1:
        raise ValueError("the braces make several prompts; leave them out, and turn the dial 'word' instead")
    return specs[0]


def _all(studio: Studio, jobs: list[JobSpec]) -> list[Any]:
    """All of them in the queue at once; if one fails or the wait is interrupted, those behind it are cancelled."""
    waiting = [studio.queue.submit(one) for one in jobs]
    try:
        return [studio.outcome(job) for job in waiting]
    except (StudioError, KeyboardInterrupt):
        for job in waiting:
            studio.cancel(job)
        raise


# --- the sheet ----------------------------------------------------------------------------------------------


def sheet(pictures: Sequence[Image.Image | None], axes: Sequence[Axis], spec: JobSpec) -> Figure:
    """The pictures of `cells` in their order, None where one is missing; x to the right, y down, z in blocks."""
    across, down, deep = ([axis.values for axis in axes] + [("",)] * 3)[:3]
    side = min(SIDE, (ROOM - GAP * len(across)) // len(across))
    left, top, head = _margins(axes, side)
    block = head + len(down) * (side + GAP)
    width = PAD + left + len(across) * (side + GAP) - GAP + PAD
    height = PAD + top + len(deep) * (block + GAP) - 2 * GAP + PAD
    paper, canvas = Image.new("RGB", (round(width), round(height)), CARD), page(width, height)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, len(across))
        layer, row = divmod(row, len(down))
        place = (
            round(PAD + left + column * (side + GAP)),
            round(PAD + top + layer * (block + GAP) + head + row * (side + GAP)),
        )
        shown = Image.new("RGB", (side, side), RULE) if picture is None else _inside(picture, side)
        paper.paste(shown, place)
    _edges(canvas, axes, (left, top, head, block, side), height)
    canvas.figimage(np.asarray(paper), zorder=-1)
    return finish(canvas, _alt(axes, spec, pictures))


def _inside(picture: Image.Image, side: int) -> Image.Image:
    return ImageOps.pad(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS, CARD)


def _margins(axes: Sequence[Axis], side: int) -> tuple[float, float, float]:
    """Room for the values of y at the left, of x above, and of z above each block."""
    names = axes[1].values if len(axes) > 1 else ()
    lines = [line for name in (axes[1].name, *names) for line in _lines(name, 120)] if names else []
    left = max((letters.width(line, LETTER) for line in lines), default=-8) + 8
    most = max(len(_lines(value, side)) for value in axes[0].values)
    top = letters.height(1 + most, LETTER) + 4
    return left, top, letters.height(1, LETTER) + 4 if len(axes) > 2 else 0


def _lines(text: str, room: float, number: int = 1) -> list[str]:
    return letters.wrap(text if letters.drawable(text) else f"value {number}", room, LETTER)


def _edges(canvas: Any, axes: Sequence[Axis], places: tuple, height: float) -> None:
    left, top, head, block, side = places

    def write(text: str, x: float, y: float, ha: str, colour: str = INK, room: float = side, index: int = 0) -> None:
        for number, line in enumerate(_lines(text, room, index + 1)):
            look = {"transform": None, "va": "top", "parse_math": False, "font": letters.font(line, LETTER)}
            canvas.text(x, height - y - letters.height(number, LETTER), line, ha=ha, color=colour, **look)

    write(axes[0].name, PAD + left, PAD, "left", MUTED, ROOM)
    for column, value in enumerate(axes[0].values):
        middle = PAD + left + column * (side + GAP) + side / 2
        write(value, middle, PAD + letters.height(1, LETTER), "center", index=column)
    for layer, deep in enumerate(axes[2].values if len(axes) > 2 else [""]):
        begin = PAD + top + layer * (block + GAP)
        if deep:
            write(f"{axes[2].name} {deep}", PAD + left, begin, "left", room=ROOM, index=layer)
        for row, value in enumerate(axes[1].values if len(axes) > 1 else []):
            write(
                value,
                PAD + left - 8,
                begin + head + row * (side + GAP) + side / 2 - LETTER,
                "right",
                room=120,
                index=row,
            )
    if len(axes) > 1:
        write(axes[1].name, PAD + left - 8, PAD + letters.height(1, LETTER), "right", MUTED, 120)


def _alt(axes: Sequence[Axis], spec: JobSpec, pictures: Sequence[Any]) -> str:
    told = [f"{where} {a.name} {', '.join(a.values)}" for where, a in zip(("columns", "rows", "blocks"), axes)]
    missing = sum(one is None for one in pictures)
    lost = f"; {missing} missing" if missing else ""
    return f"{len(pictures)} pictures of one seed, {spec.words}: {'; '.join(told)}{lost}"
