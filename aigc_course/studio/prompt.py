"""The prompt line: words, weights and permutations before parameters, read into jobs and written out again."""

from __future__ import annotations

import math
import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aigc_course.studio.claims import PICTURE_ID
from aigc_course.studio.job import LARGEST_SEED, MOST, JobSpec, Part
from aigc_course.studio.marks import DASHES, Mark, PromptError, count, lines, marks_of, strip, text_of, tree, word_of
from aigc_course.studio.parameters import CALLED, PARAMETERS, Parameter, read_parameter

LONGEST_LINE, MOST_JOBS = 4000, 40


# --- from a line to jobs ------------------------------------------------------------------------------------


def parse(line: str, **given: Any) -> list[JobSpec]:
    """The jobs that a line asks for: one, or one for each permutation in braces.

    given: fields that the line does not say, such as count=1;  PromptError points at what cannot be read.
    """
    if not isinstance(line, str):
        raise TypeError(f"a prompt is text, not {type(line).__name__}; write one, such as 'a red house'")
    if len(line) > LONGEST_LINE:
        raise PromptError(f"the line has {len(line)} characters; shorten it to {LONGEST_LINE}", line, LONGEST_LINE)

    def fail(sentence: str, at: int) -> PromptError:
        return PromptError(sentence, line, at)

    _refuse_control(line, fail)
    options, _ = tree(marks_of(line), fail)
    if (ways := count(options[0])) > MOST_JOBS:
        brace = next(at for at, mark in enumerate(line) if mark == "{")
        raise fail(f"the braces make {ways} jobs; leave out choices until there are at most {MOST_JOBS}", brace)
    return list(dict.fromkeys(_job(marks, fail, given) for marks in lines(options[0])))


def _refuse_control(line: str, fail: Callable) -> None:
    for at, char in enumerate(line):
        if unicodedata.category(char) in ("Cc", "Cs") and not char.isspace():
            raise fail(f"U+{ord(char):04X} is a control character; delete it", at)


def _job(marks: list[Mark], fail: Callable, given: dict[str, Any]) -> JobSpec:
    """One line without braces as a job."""
    end = marks[-1].at if marks else 0
    try:
        told = _told(marks, fail)
        if not told["prompt"] and not told["images"] and given.get("action", "imagine") == "imagine":
            raise fail("there is nothing to draw; write a prompt before the parameters, such as 'a red house'", 0)
        return JobSpec(**given | told)
    except PromptError:
        raise
    except ValueError as error:  # what no single parameter is to blame for
        raise fail(str(error), end) from None


def _told(marks: list[Mark], fail: Callable) -> dict[str, Any]:
    """The fields that a line sets."""
    starts = [i for i in range(len(marks)) if starts_parameter(marks, i, fail)]
    head = marks[: starts[0]] if starts else marks
    images, head = images_of(head, fail)
    told: dict[str, Any] = {"prompt": _parts(head, fail), "images": images}
    for start, stop in zip(starts, [*starts[1:], len(marks)]):
        name, value = read_parameter(marks[start:stop], told, fail)
        told[name] = (*told.get(name, ()), value) if name == "loras" else value
    return told


def starts_parameter(marks: list[Mark], i: int, fail: Callable) -> bool:
    """Two hyphens after a space begin a parameter; a long dash, which keyboards make of two hyphens, is pointed out."""
    if i and marks[i - 1].char != " ":
        return False
    if marks[i].means(DASHES) and (word := word_of(marks[i + 1 :])) in CALLED:
        raise fail(f"this is a long dash, not two hyphens; write --{word}", marks[i].at)
    return i + 1 < len(marks) and marks[i].means("-") and marks[i + 1].means("-")


def images_of(marks: list[Mark], fail: Callable) -> tuple[tuple[str, ...], list[Mark]]:
    """The ids of pictures that a line opens with, and what follows."""
    images, marks = [], strip(marks)
    while marks:
        word = marks[: next((i for i, mark in enumerate(marks) if mark.char == " "), len(marks))]
        if any(mark.literal for mark in word) or not PICTURE_ID.fullmatch(text_of(word)):
            break
        images.append(text_of(word))
        if len(images) > MOST:
            raise fail(f"more than {MOST} pictures; leave some out", word[0].at)
        marks = strip(marks[len(word) :])
    return tuple(images), marks


_WEIGHT = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?(?=\s|$)", re.ASCII)


def _parts(marks: list[Mark], fail: Callable) -> tuple[Part, ...]:
    """`a house::2 a tree::1`: words up to two colons, then their weight, 1 where none is written."""
    parts, words, i, colons = [], [], 0, 0
    while i < len(marks):
        if not (marks[i].means(":") and marks[i + 1 : i + 2] and marks[i + 1].means(":")):
            words.append(marks[i])
            i += 1
            continue
        colons = marks[i].at
        if not strip(words):
            raise fail("there are no words before this weight; write some, such as 'a red house::2'", colons)
        found = _WEIGHT.match(text_of(marks[i + 2 :]))
        weight = float(found.group()) if found else 1.0
        if abs(weight) > 100:
            nearest = math.copysign(100, weight)
            raise fail(f"the weight {found.group()[:20]} is beyond 100; the nearest is ::{nearest:g}", colons)
        parts.append(Part(text_of(words), weight))
        i, words = i + 2 + (found.end() if found else 0), []
    if strip(words):
        parts.append(Part(text_of(words)))
    if len(parts) > MOST:
        raise fail(f"the prompt has {len(parts)} weighted parts; use at most {MOST}", colons)
    if parts and not sum(part.weight for part in parts) > 0:
        raise fail("the weights add up to nothing or less; raise this one until their sum is positive", colons)
    return tuple(parts)


# --- from a job to a line -----------------------------------------------------------------------------------


def to_line(spec: JobSpec) -> str:
    """The line that reads as this job, as far as a line can say it: not actions, regions and sizes in pixels."""
    told = [*spec.images, *_written_parts(spec.prompt)]
    for one in PARAMETERS.values():
        value = getattr(spec, one.field)
        if value != getattr(_PLAIN, one.field):
            told += [f"--{one.name} {text}".strip() for text in written(one, value)]
    return " ".join(told)


_PLAIN = JobSpec((Part("x"),))


def _written_parts(parts: tuple[Part, ...]) -> list[str]:
    told = [escape(part.text) + (f"::{_short(part.weight)}" if part.weight != 1 else "::") for part in parts]
    if told and parts[-1].weight == 1:
        told[-1] = told[-1].removesuffix("::")
    return told


def written(one: Parameter, value: Any) -> list[str]:
    """The values that a line gives a parameter, each after its name."""
    if one.name == "ar":
        return [f"{value[0]}:{value[1]}"]
    if one.name == "lora":
        return [f"{lora.name}:{_short(lora.weight)}" for lora in value]
    if one.name == "sref":
        return [" ".join(value)]
    if one.name == "no":
        return [escape(value)]
    return [""] if value is True else [_short(value)]


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")


def escape(text: str) -> str:
    """Words as a line has them: every sign that the grammar would read as its own stands after a backslash."""
    text = re.sub(r"[\\{}]", r"\\\g<0>", text)
    text = re.sub(r":(?=:)|(?<=:):|:$|^:", r"\\:", text)
    text = re.sub(r"(^|\s)(--)", r"\1\\--", text)
    text = re.sub(rf"(^|\s)([{DASHES}])", r"\1\\\2", text)
    return re.sub(r"(?:^|\s)\d{6,9}-[0-9a-f]{8}(?=\s|$)", lambda found: found.group().replace("-", "\\-"), text)


def expand(specs: list[JobSpec] | JobSpec) -> list[JobSpec]:
    """Every job on its own, with a seed, and written out as often as it is to be repeated.

    Jobs without a seed share one, so that what differs between permutations is the words alone; repetitions go on.
    """
    specs = [specs] if isinstance(specs, JobSpec) else list(specs)
    shared = secrets.randbelow(LARGEST_SEED + 1)
    many = []
    for spec in specs:
        first = shared if spec.seed is None else spec.seed
        seeds = [(first + k * spec.count) % (LARGEST_SEED + 1) for k in range(spec.repeat)]
        many += [replace(spec, seed=seed, repeat=1) for seed in seeds]
    return many
