"""The parameters of the prompt line: what each is called, what it does to the model, and how its value is read."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aigc_course.studio.claims import PICTURE_ID
from aigc_course.studio.job import LIMITS, LORA_NAME, MOST, LoRA, ratio_near
from aigc_course.studio.marks import Mark, strip, text_of, word_of


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
        Parameter("fast", "fast", "", "four steps in place of 25: a draft"),
        Parameter("quality", "quality", "2", "steps: 25 times this", "q"),
        Parameter("lora", "loras", "chalk:0.8", "a low-rank change beside the weights, by name and strength"),
    )
}  # fmt: skip
CALLED = {name: one for one in PARAMETERS.values() for name in (one.name, one.short) if name} | {
    "aspect": PARAMETERS["ar"]
}
_FLAGS, _REPEATED = ("tile", "fast"), ("lora",)


def read_parameter(marks: list[Mark], told: dict[str, Any], fail: Callable) -> tuple[str, Any]:
    """The field and the value of one parameter with what follows it."""
    at, name = marks[0].at, word_of(marks[2:])
    if name not in CALLED:
        raise fail(_no_such(name), at)
    one, value = CALLED[name], strip(marks[2 + len(name) :])
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
        return one.field, text_of(value)
    text = unicodedata.normalize("NFKC", text_of(value))
    several = one.name == "sref"
    if " " in text and not several:
        second = value[text_of(value).index(" ") + 1].at if " " in text_of(value) else place
        raise fail(f"--{one.name} takes one value; write words before the first parameter", second)
    return one.field, _value(one, text, lambda sentence: fail(sentence, place))


def _no_such(name: str) -> str:
    if not name:
        return "two hyphens begin a parameter; write its name directly after them, such as --ar 3:2"
    near = difflib.get_close_matches(name, [*CALLED], 1, 0.5)
    there = ", ".join(f"--{one}" for one in PARAMETERS)
    fix = f"did you mean --{CALLED[near[0]].name}?" if near else f"there are: {there}"
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
