"""Changes one thing in a prompt line, and leaves the rest as it was typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aigc_course.studio.job import JobSpec, Part
from aigc_course.studio.marks import Mark, PromptError, marks_of, strip, word_of
from aigc_course.studio.parameters import CALLED, PARAMETERS, Parameter
from aigc_course.studio.prompt import escape, images_of, starts_parameter, written

_OF_FIELD = {one.field: one for one in PARAMETERS.values()}
_PLAIN = JobSpec((Part("x"),))


def with_field(line: str, field: str, value: Any) -> str:
    """The line with one field of a job set: `with_field("a cat --ar 3:2", "ar", (1, 1))` is "a cat".

    A default is not written.  value: as a `JobSpec` has it, or text, which is written as it is.
    """
    one = _OF_FIELD[field]
    if isinstance(value, str) and field != "negative":
        texts = [value] if value.strip() else []
    else:
        texts = [] if value == getattr(_PLAIN, field) else written(one, value)
    return _with(line, one, [f"--{one.name} {text}".strip() for text in texts])


def with_words(line: str, words: str) -> str:
    """The line with other words; its pictures and parameters stay."""
    images, _, tail = _three(line)
    return _joined([*images, escape(words), tail])


def with_images(line: str, images: Iterable[str]) -> str:
    """The line with other pictures before its words."""
    _, words, tail = _three(line)
    return _joined([*images, words, tail])


def _with(line: str, one: Parameter, new: list[str]) -> str:
    """The new parameters stand where the first of the old ones stood, or at the end."""
    marks, starts = _scanned(line)
    kept, place = [line[: marks[starts[0]].at] if starts else line], None
    for start, stop in zip(starts, [*starts[1:], len(marks)]):
        if CALLED.get(word_of(marks[start + 2 : stop])) is not one:
            kept.append(line[marks[start].at : marks[stop].at if stop < len(marks) else None])
        elif place is None:
            place = len(kept)
    place = len(kept) if place is None else place
    return _joined([*kept[:place], *new, *kept[place:]])


def _three(line: str) -> tuple[tuple[str, ...], str, str]:
    """The ids of pictures, the words and the parameters of a line, all as they were typed."""
    marks, starts = _scanned(line)
    head = marks[: starts[0]] if starts else marks
    images, words = images_of(head, lambda sentence, at: PromptError(sentence, line, at))
    stop = marks[starts[0]].at if starts else len(line)
    words = strip(words)
    return images, line[words[0].at : stop] if words else "", line[stop:]


def _scanned(line: str) -> tuple[list[Mark], list[int]]:
    """The characters of a line, and where parameters start in it."""

    def fail(sentence: str, at: int) -> PromptError:
        return PromptError(sentence, line, at)

    marks = marks_of(line)
    starts = [i for i in range(len(marks)) if starts_parameter(marks, i, fail)]
    depth = 0
    for i, mark in enumerate(marks):
        depth += mark.means("{") - mark.means("}")
        if depth and i in starts:
            raise fail("a parameter stands in braces; change it in the line itself", mark.at)
    return marks, starts


def _joined(parts: list[str]) -> str:
    return " ".join(part.strip() for part in parts if part.strip())
