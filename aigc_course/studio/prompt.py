"""The prompt line: words, weights and permutations before parameters, read into jobs and written out again."""

from __future__ import annotations

import difflib
import math
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from aigc_course.studio.job import LARGEST_SEED, LIMITS, LORA_NAME, MOST, PICTURE_ID, JobSpec, LoRA, Part, ratio_near

LONGEST_LINE, MOST_JOBS, DEEPEST = 4000, 40, 6
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


# --- the parameters -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One parameter of the line: the field of a job that it sets, an example, and what it does to the model."""

    name: str
    field: str
    example: str
    says: str
    short: str = ""

    @property
    def limits(self) -> tuple[float, float, bool] | None:
        """Least, most, whole; None for what is no number."""
        return LIMITS.get(self.field)


PARAMETERS = {
    one.name: one
    for one in (
        Parameter("ar", "ar", "3:2", "the latent's width and height, near the number of places it was trained on"),
        Parameter("seed", "seed", "7", "the starting noise of the first picture; each next picture counts up by one"),
        Parameter("no", "negative", "tree", "the prompt that guidance moves away from, instead of an empty one"),
        Parameter("chaos", "chaos", "50", "noise on each picture's words, most at the start: they differ more", "c"),
        Parameter("stylize", "stylize", "250", "guidance: scale 1 + stylize / 100, so 100 is scale 2", "s"),
        Parameter("weird", "weird", "800", "one odd direction is added to the words, the same for all pictures", "w"),
        Parameter("tile", "tile", "", "convolutions see the opposite edge beyond an edge, so that the picture repeats"),
        Parameter("iw", "iw", "1.5", "a picture as prompt: noise covers 1 - 0.3 iw of the way, so more keeps more"),
        Parameter("sref", "sref", "000012-0a1b2c3d", "pictures whose style is carried over to the finished ones"),
        Parameter("sw", "sw", "300", "how far towards that style: sw / (sw + 100)"),
        Parameter("stop", "stop", "60", "the walk ends after that percentage of its steps, with the expected picture"),
        Parameter("repeat", "repeat", "3", "as many jobs, each with seeds of its own", "r"),
        Parameter("steps", "steps", "40", "how many steps the walk takes, whatever quality says"),
        Parameter("fast", "fast", "", "the model that was taught to walk in four steps"),
        Parameter("quality", "quality", "2", "steps: 25 times this", "q"),
        Parameter("lora", "loras", "chalk:0.8", "a low-rank change beside the weights, by name and strength"),
    )
}  # fmt: skip
_CALLED = {name: one for one in PARAMETERS.values() for name in (one.name, one.short) if name} | {
    "aspect": PARAMETERS["ar"]
}
_FLAGS, _REPEATED = ("tile", "fast"), ("lora",)


# --- characters that know where they stood ------------------------------------------------------------------


class _Mark(NamedTuple):
    char: str
    at: int
    literal: bool  # written after a backslash: no sign of the grammar

    def means(self, signs: str) -> bool:
        return not self.literal and self.char in signs


def _marks(line: str) -> list[_Mark]:
    marks, at = [], 0
    while at < len(line):
        escaped = line[at] == "\\" and at + 1 < len(line) and line[at + 1] in "\\{}-:" + SEPARATORS + DASHES
        char = line[at + escaped]
        marks.append(_Mark(" " if char.isspace() else char, at, escaped))
        at += 1 + escaped
    return marks


def _text(marks: list[_Mark]) -> str:
    return "".join(mark.char for mark in marks)


def _strip(marks: list) -> list:
    """Without the spaces at both ends; what is no mark, but a group in braces, is no space."""
    kept = [i for i, mark in enumerate(marks) if not (isinstance(mark, _Mark) and mark.char == " ")]
    return marks[kept[0] : kept[-1] + 1] if kept else []


# --- permutations -------------------------------------------------------------------------------------------


def _tree(marks: list[_Mark], fail: Callable, depth: int = 0, at: int = 0, opened: int = -1) -> tuple[list, int]:
    """Options of a level, each a list of marks and of groups (lists of options), and where the level ended."""
    options = [[]]
    while at < len(marks):
        item = marks[at]
        if item.means("{"):
            if depth == DEEPEST:
                raise fail(f"braces are nested more than {DEEPEST} deep; write some of them out", item.at)
            group, at = _tree(marks, fail, depth + 1, at + 1, item.at)
            options[-1].append(group)
        elif item.means("}"):
            if not depth:
                raise fail("this brace closes nothing; delete it, or write \\} for the sign itself", item.at)
            if not any(options):
                raise fail("there is nothing between these braces; write choices, such as {red, blue}", opened)
            return [_strip(option) for option in options], at
        elif depth and item.means(SEPARATORS):
            options.append([])
        else:
            options[-1].append(item)
        at += 1
    if depth:
        raise fail("this brace is never closed; add }, or write \\{ for the sign itself", opened)
    return options, at


def _ways(option: list) -> int:
    return math.prod(sum(map(_ways, item)) for item in option if isinstance(item, list))


def _expand(option: list) -> Iterator[list[_Mark]]:
    """Every line that a tree stands for, the last brace changing fastest."""
    choices = [[[item]] if isinstance(item, _Mark) else [x for each in item for x in _expand(each)] for item in option]
    for chosen in product(*choices):
        yield [mark for part in chosen for mark in part]


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
    options, _ = _tree(_marks(line), fail)
    if (ways := _ways(options[0])) > MOST_JOBS:
        brace = next(at for at, mark in enumerate(line) if mark == "{")
        raise fail(f"the braces make {ways} jobs; leave out choices until there are at most {MOST_JOBS}", brace)
    return list(dict.fromkeys(_job(marks, fail, given) for marks in _expand(options[0])))


def _refuse_control(line: str, fail: Callable) -> None:
    for at, char in enumerate(line):
        if unicodedata.category(char) in ("Cc", "Cs") and not char.isspace():
            raise fail(f"U+{ord(char):04X} is a control character; delete it", at)


def _job(marks: list[_Mark], fail: Callable, given: dict[str, Any]) -> JobSpec:
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


def _told(marks: list[_Mark], fail: Callable) -> dict[str, Any]:
    """The fields that a line sets."""
    starts = [i for i in range(len(marks)) if _starts_parameter(marks, i, fail)]
    head = marks[: starts[0]] if starts else marks
    images, head = _images(head, fail)
    told: dict[str, Any] = {"prompt": _parts(head, fail), "images": images}
    for start, stop in zip(starts, [*starts[1:], len(marks)]):
        name, value = _read_parameter(marks[start:stop], told, fail)
        told[name] = (*told.get(name, ()), value) if name == "loras" else value
    return told


def _starts_parameter(marks: list[_Mark], i: int, fail: Callable) -> bool:
    """Two hyphens after a space begin a parameter; a long dash, which keyboards make of two hyphens, is pointed out."""
    if i and marks[i - 1].char != " ":
        return False
    if marks[i].means(DASHES) and (word := _word(marks[i + 1 :])) in _CALLED:
        raise fail(f"this is a long dash, not two hyphens; write --{word}", marks[i].at)
    return i + 1 < len(marks) and marks[i].means("-") and marks[i + 1].means("-")


def _word(marks: list[_Mark]) -> str:
    return _text(marks).partition(" ")[0].lower()


def _images(marks: list[_Mark], fail: Callable) -> tuple[tuple[str, ...], list[_Mark]]:
    """The ids of pictures that a line opens with, and what follows."""
    images, marks = [], _strip(marks)
    while marks:
        word = marks[: next((i for i, mark in enumerate(marks) if mark.char == " "), len(marks))]
        if any(mark.literal for mark in word) or not PICTURE_ID.fullmatch(_text(word)):
            break
        images.append(_text(word))
        if len(images) > MOST:
            raise fail(f"more than {MOST} pictures; leave some out", word[0].at)
        marks = _strip(marks[len(word) :])
    return tuple(images), marks


_WEIGHT = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?(?=\s|$)", re.ASCII)


def _parts(marks: list[_Mark], fail: Callable) -> tuple[Part, ...]:
    """`a house::2 a tree::1`: words up to two colons, then their weight, 1 where none is written."""
    parts, words, i, colons = [], [], 0, 0
    while i < len(marks):
        if not (marks[i].means(":") and marks[i + 1 : i + 2] and marks[i + 1].means(":")):
            words.append(marks[i])
            i += 1
            continue
        colons = marks[i].at
        if not _strip(words):
            raise fail("there are no words before this weight; write some, such as 'a red house::2'", colons)
        found = _WEIGHT.match(_text(marks[i + 2 :]))
        weight = float(found.group()) if found else 1.0
        if abs(weight) > 100:
            nearest = math.copysign(100, weight)
            raise fail(f"the weight {found.group()[:20]} is beyond 100; the nearest is ::{nearest:g}", colons)
        parts.append(Part(_text(words), weight))
        i, words = i + 2 + (found.end() if found else 0), []
    if _strip(words):
        parts.append(Part(_text(words)))
    if len(parts) > MOST:
        raise fail(f"the prompt has {len(parts)} weighted parts; use at most {MOST}", colons)
    if parts and not sum(part.weight for part in parts) > 0:
        raise fail("the weights add up to nothing or less; raise this one until their sum is positive", colons)
    return tuple(parts)


def _read_parameter(marks: list[_Mark], told: dict[str, Any], fail: Callable) -> tuple[str, Any]:
    """The field and the value of one parameter with what follows it."""
    at, name = marks[0].at, _word(marks[2:])
    if name not in _CALLED:
        raise fail(_no_such(name), at)
    one, value = _CALLED[name], _strip(marks[2 + len(name) :])
    if one.field in told and one.name not in _REPEATED:
        raise fail(f"--{one.name} is given twice; delete one of the two", at)
    place = value[0].at if value else at
    if one.name in _FLAGS:
        if value:
            raise fail(f"--{one.name} takes no value; write words before the first parameter", place)
        return one.field, True
    if not value:
        raise fail(f"--{one.name} needs a value, such as --{one.name} {one.example}", at)
    if one.name == "no":
        return one.field, _text(value)
    text = unicodedata.normalize("NFKC", _text(value))
    several = one.name == "sref"
    if " " in text and not several:
        second = value[_text(value).index(" ") + 1].at if " " in _text(value) else place
        raise fail(f"--{one.name} takes one value; write words before the first parameter", second)
    return one.field, _value(one, text, lambda sentence: fail(sentence, place))


def _no_such(name: str) -> str:
    if not name:
        return "two hyphens begin a parameter; write its name directly after them, such as --ar 3:2"
    near = difflib.get_close_matches(name, [*_CALLED], 1, 0.5)
    there = ", ".join(f"--{one}" for one in PARAMETERS)
    fix = f"did you mean --{_CALLED[near[0]].name}?" if near else f"there are: {there}"
    return f"there is no parameter --{name[:40]}; {fix}"


def _value(one: Parameter, text: str, fail: Callable) -> Any:
    if one.name == "ar":
        return _ratio(text, fail)
    if one.name == "lora":
        return _lora(text, fail)
    if one.name == "sref":
        names = text.split()
        strange = next((name for name in names if not PICTURE_ID.fullmatch(name)), None)
        if strange or len(names) > MOST:
            odd = (strange or text)[:40]
            raise fail(f"--sref takes up to {MOST} pictures by their id, such as {one.example}, not {odd}")
        return tuple(names)
    return _figure(one, text, fail)


def _ratio(text: str, fail: Callable) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4}):(\d{1,4})", text, re.ASCII)
    if not found or "0" in (found[1].lstrip("0") or "0", found[2].lstrip("0") or "0"):
        raise fail(f"--ar takes width:height in whole numbers, such as --ar 3:2, not {text[:20]}")
    w, h = int(found[1]), int(found[2])
    if max(w, h) > 99:
        w, h = ratio_near(w, h)
        raise fail(f"--ar takes numbers up to 99; the nearest is --ar {w}:{h}")
    if not 1 / 4 <= w / h <= 4:
        raise fail(f"--ar {w}:{h} is too narrow for this model; the nearest is --ar {'4:1' if w > h else '1:4'}")
    return w, h


def _lora(text: str, fail: Callable) -> LoRA:
    name, _, weight = text.partition(":")
    if not LORA_NAME.fullmatch(name):
        raise fail(f"--lora takes a name and a strength, such as --lora chalk:0.8, not {text[:40]}")
    value = _float(weight or "1")
    if value is None or not -2 <= value <= 2:
        raise fail(f"the strength of a LoRA is a number from -2 to 2, such as --lora {name}:1, not {weight[:20]}")
    return LoRA(name, value)


def _float(text: str) -> float | None:
    """A number in ordinary spelling; `float` alone would take "nan", "1_0" and other scripts' digits."""
    return float(text) if len(text) < 32 and re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text, re.ASCII) else None


def _figure(one: Parameter, text: str, fail: Callable) -> float | int:
    least, most, whole = one.limits
    value, kind = _float(text), "a whole number" if whole else "a number"
    if value is None or (whole and (not math.isfinite(value) or value != int(value))):
        example = f"--{one.name} {one.example}"
        raise fail(f"--{one.name} takes {kind} from {least} to {most}, such as {example}, not {text[:20]}")
    if not least <= value <= most:
        nearest = least if value < least else most
        asked = f"--{one.name} {text[:20]}"
        raise fail(f"{asked} is out of range, {least} to {most}; the nearest is --{one.name} {nearest}")
    return int(value) if whole else value


# --- from a job to a line -----------------------------------------------------------------------------------


def to_line(spec: JobSpec) -> str:
    """The line that reads as this job, as far as a line can say it: not actions, regions and sizes in pixels."""
    told = [*spec.images, *_written_parts(spec.prompt)]
    for one in PARAMETERS.values():
        value = getattr(spec, one.field)
        if value != getattr(_PLAIN, one.field):
            told += [f"--{one.name} {text}".strip() for text in _written(one, value)]
    return " ".join(told)


_PLAIN = JobSpec((Part("x"),))


def _written_parts(parts: tuple[Part, ...]) -> list[str]:
    told = [_escape(part.text) + (f"::{_short(part.weight)}" if part.weight != 1 else "::") for part in parts]
    if told and parts[-1].weight == 1:
        told[-1] = told[-1].removesuffix("::")
    return told


def _written(one: Parameter, value: Any) -> list[str]:
    if one.name == "ar":
        return [f"{value[0]}:{value[1]}"]
    if one.name == "lora":
        return [f"{lora.name}:{_short(lora.weight)}" for lora in value]
    if one.name == "sref":
        return [" ".join(value)]
    if one.name == "no":
        return [_escape(value)]
    return [""] if value is True else [_short(value)]


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")


def _escape(text: str) -> str:
    """Every sign that the grammar would read as its own stands after a backslash."""
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
