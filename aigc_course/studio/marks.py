"""A line as characters that know where they stood, what its braces stand for, and errors that point at one of them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

DEEPEST = 6  # braces in braces
SEPARATORS, DASHES = ",，、", "—–−"


class PromptError(ValueError):
    """What is wrong with a line, where, and how to mend it.

    sentence: one sentence;  at: the character it points to, from 0;  line: as it was typed.
    """

    def __init__(self, sentence: str, line: str, at: int):
        self.sentence, self.line, self.at = sentence, line, max(0, min(at, len(line)))
        super().__init__(f"{sentence}\n{self.pointer()}")

    def pointer(self, around: int = 36) -> str:
        """The line, or what surrounds the place, and a caret under the character."""
        start, stop = max(0, self.at - around), self.at + around
        before, shown = self.line[start : self.at], self.line[start:stop]
        cut = ("…" if start else "", "…" if stop < len(self.line) else "")
        return f"{cut[0]}{_seen(shown)}{cut[1]}\n{' ' * (len(cut[0]) + _width(_seen(before)))}^"


def _seen(text: str) -> str:
    """Nothing that moves the cursor: a caret must stand under its character."""
    return "".join(c if unicodedata.category(c)[0] not in "CM" and c != "\t" else "·" for c in text)


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


# --- characters that know where they stood ------------------------------------------------------------------


class Mark(NamedTuple):
    """A character of a line, and where it stood."""

    char: str
    at: int
    literal: bool  # written after a backslash: no sign of the grammar

    def means(self, signs: str) -> bool:
        return not self.literal and self.char in signs


def marks_of(line: str) -> list[Mark]:
    """The characters of a line; all spaces are alike, and what a backslash made a plain sign is marked."""
    marks, at = [], 0
    while at < len(line):
        escaped = line[at] == "\\" and at + 1 < len(line) and line[at + 1] in "\\{}-:" + SEPARATORS + DASHES
        char = line[at + escaped]
        marks.append(Mark(" " if char.isspace() else char, at, escaped))
        at += 1 + escaped
    return marks


def text_of(marks: list[Mark]) -> str:
    """The characters as text again."""
    return "".join(mark.char for mark in marks)


def strip(marks: list) -> list:
    """Without the spaces at both ends; what is no mark, but a group in braces, is no space."""
    kept = [i for i, mark in enumerate(marks) if not (isinstance(mark, Mark) and mark.char == " ")]
    return marks[kept[0] : kept[-1] + 1] if kept else []


def word_of(marks: list[Mark]) -> str:
    """What stands before the first space, in small letters."""
    return text_of(marks).partition(" ")[0].lower()


# --- permutations -------------------------------------------------------------------------------------------


def tree(marks: list[Mark], fail: Callable, depth: int = 0, at: int = 0, opened: int = -1) -> tuple[list, int]:
    """Options of a level, each a list of marks and of groups (lists of options), and where the level ended."""
    options = [[]]
    while at < len(marks):
        item = marks[at]
        if item.means("{"):
            if depth == DEEPEST:
                raise fail(f"braces are nested more than {DEEPEST} deep; write some of them out", item.at)
            group, at = tree(marks, fail, depth + 1, at + 1, item.at)
            options[-1].append(group)
        elif item.means("}"):
            if not depth:
                raise fail("this brace closes nothing; delete it, or write \\} for the sign itself", item.at)
            if not any(options):
                raise fail("there is nothing between these braces; write choices, such as {red, blue}", opened)
            return [strip(option) for option in options], at
        elif depth and item.means(SEPARATORS):
            options.append([])
        else:
            options[-1].append(item)
        at += 1
    if depth:
        raise fail("this brace is never closed; add }, or write \\{ for the sign itself", opened)
    return options, at


def count(option: list) -> int:
    """How many lines a tree stands for."""
    return math.prod(sum(map(count, item)) for item in option if isinstance(item, list))


def lines(option: list) -> Iterator[list[Mark]]:
    """Every line that a tree stands for, the last brace changing fastest."""
    choices = [[[item]] if isinstance(item, Mark) else [x for each in item for x in lines(each)] for item in option]
    for chosen in product(*choices):
        yield [mark for part in chosen for mark in part]
