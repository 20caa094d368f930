"""What the Studio says while it works: one small kind of message, for the screen, the history and the tests alike."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from aigc_course.studio.job import JobSpec

KINDS = ("queued", "loading", "started", "note", "step", "made", "told", "done", "cancelled", "failed")
ENDS = ("done", "cancelled", "failed")  # exactly one of these is the last event of a job


@dataclass(frozen=True, eq=False)
class Event:
    """One message of a job.

    kind: one of `KINDS`;  job: its id;  number of total: steps;  sentence: for a person;  fix: what to do next, where
    something failed.  preview: a function that gives the pictures as the model expects them now, quick and rough.
    pictures, facts: what was made and how;  entries: where the gallery keeps it;  answer: what was told:
    captions, weighed words, an explanation, readings;  seconds_left: a guess;  details: the traceback of an error;
    memory: bytes held at the end.
    """

    kind: str
    job: str = ""
    spec: JobSpec | None = None
    number: int = 0
    total: int = 0
    sentence: str = ""
    fix: str = ""
    preview: Callable[[], list[Image.Image]] | None = field(default=None, repr=False)
    pictures: tuple[Image.Image, ...] = field(default=(), repr=False)
    facts: dict[str, Any] | None = None
    entries: tuple = ()
    answer: Any = None
    seconds_left: float | None = None
    details: str = field(default="", repr=False)
    memory: int = 0
    at: float = field(default_factory=time.time)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"there is no event {self.kind!r}; use one of: {', '.join(KINDS)}")

    @property
    def ends(self) -> bool:
        """Whether nothing more will be heard of this job."""
        return self.kind in ENDS


class StudioError(Exception):
    """What stopped a job, as a sentence, and what to do next."""

    def __init__(self, sentence: str, fix: str):
        self.sentence, self.fix = sentence, fix
        super().__init__(f"{sentence}; {fix}")

    @classmethod
    def of(cls, error: BaseException, fix: str) -> StudioError:
        """Of an error, which here says "what is wrong; what to do".  fix: for one that only says the first."""
        sentence, _, own = message(error).rpartition("; ")
        return cls(sentence, own) if sentence else cls(own, fix)


def message(error: BaseException) -> str:
    """What an error says, on one line; the name of its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def trace(error: BaseException) -> str:
    """Where it was raised, for a fold; the end of it, if it is long."""
    return "".join(traceback.format_exception(error))[-4000:]


def progress(number: int, total: int, seconds_left: float | None) -> str:
    """Where a job stands, in words."""
    if seconds_left is None:
        return f"step {number} of {total}"
    left = "less than a second" if seconds_left < 1 else f"about {seconds_left:.0f} s"
    return f"step {number} of {total}, {left} left"
