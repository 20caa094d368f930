"""What anyone may have written, let through as it should be or refused in a sentence: numbers, texts, ids, JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

PICTURE_ID = re.compile(r"[0-9]{6,9}-[0-9a-f]{8}")  # how the gallery names a picture; a job never holds a path
LONGEST_TEXT = 1000  # characters of a prompt


def number(name: str, value: Any, least: float, most: float, whole: bool) -> None:
    """A number within its limits, of a job's field by name."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} is {value!r:.40}; give {kind} from {least} to {most}")


def tidy(text: Any, name: str = "the text") -> str:
    """Text with white space as single spaces; control characters and half characters are refused, and great length."""
    if not isinstance(text, str):
        raise ValueError(f"{name} is {text!r:.40}; give text")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{name} has {len(text)} characters; shorten it to {LONGEST_TEXT}")
    text = " ".join(text.split())
    odd = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None)
    if odd is not None:
        raise ValueError(f"{name} holds a control character, U+{ord(odd):04X}; delete it")
    return text


def check_id(name: Any) -> str:
    """The id of a picture in a gallery, or a sentence; no path can look like one."""
    if not isinstance(name, str) or not PICTURE_ID.fullmatch(name):
        raise ValueError(f"{name!r:.80} names no picture; use an id of the gallery, such as 000012-0a1b2c3d")
    return name


def parse_json(text: Any, longest: int) -> Any:
    """Strict JSON of limited length: no NaN, no field twice, nothing nested without end."""
    if not isinstance(text, str) or len(text) > longest:
        raise ValueError(f"the JSON is longer than {longest} characters, or no text; it was not made by this course")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the JSON cannot be read ({str(error)[:80]}); was the text changed?") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("a field is there twice")
    return told
