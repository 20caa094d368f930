"""Makes a picture again from what its file says, and tells whether it is the same, and if not, why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from aigc_course.studio import png
from aigc_course.studio.engine import Engine
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.facts import fingerprint, machine, versions
from aigc_course.studio.job import JobSpec
from aigc_course.studio.savings import distance

CLOSE = 3.0  # steps of 255 that a pixel may differ by in the mean


@dataclass(frozen=True, eq=False)
class Replay:
    """What came of it.

    verdict: "identical", "close" or "different";  reasons: what has changed since, or was never as claimed;
    distance: how far a pixel is away in the mean, in steps of 255;  picture: made now;  before: from the file.
    """

    verdict: str
    reasons: tuple[str, ...]
    distance: float
    picture: Image.Image = field(repr=False)
    before: Image.Image = field(repr=False)

    @property
    def sentence(self) -> str:
        """For a person."""
        told = away(self.distance) if self.distance else "identical, to the last bit"
        return told + (f": {'; '.join(self.reasons)}" if self.reasons else "")


def replay(source: Path | str | bytes, engine: Engine | Any, cancel: threading.Event | None = None) -> Replay:
    """Make the picture of a PNG again with an engine, and compare; `cancel` ends that at the next step."""
    before, recipe = png.opened(source).convert("RGB"), png.read(source)
    if recipe.spec is None or recipe.facts is None:
        raise StudioError("this picture does not say how the Studio made it", "take one that the Studio has saved")
    spec, facts = recipe.spec, recipe.facts
    made = _again(spec, facts.get("reached"), engine, cancel)
    if made is None:
        raise StudioError(f"{spec.action} leaves no picture that could be made again", "take another one")
    picture = made.pictures[recipe.number]
    reasons = (*_changed(facts), *_otherwise(recipe, engine), *_touched(before, facts), *_stopped(facts, made))
    if picture.size != before.size:
        sizes = f"it is {before.size[0]} × {before.size[1]} pixels, and now came {picture.size[0]} × {picture.size[1]}"
        return Replay("different", (*reasons, sizes), 255.0, picture, before)
    far = distance([picture], [before])
    verdict = verdict_of(far)
    if verdict != "identical" and not reasons:
        reasons = ("models, software and machine are as they were; was the text changed?",)
    return Replay(verdict, reasons, far, picture, before)


def replaying(source: Path | str | bytes, engine: Engine | Any) -> Callable[[Any, threading.Event], Iterator[Event]]:
    """The same as a run for the queue, which tells what came of it."""

    def run(spec: Any, cancel: threading.Event) -> Iterator[Event]:
        yield Event("told", answer=replay(source, engine, cancel))

    return run


def verdict_of(distance: float) -> str:
    """A distance in steps of 255, in the mean, as a word."""
    return "identical" if distance == 0 else "close" if distance <= CLOSE else "different"


def away(distance: float) -> str:
    """The verdict on a distance, and the distance."""
    if not distance:
        return verdict_of(distance)
    told = "less than 0.01" if distance < 0.01 else f"{distance:.2g}" if distance < 10 else f"{distance:.0f}"
    return f"{verdict_of(distance)}, {told} of 255 away in the mean"


def _again(spec: JobSpec, reached: int | None, engine: Engine | Any, cancel: threading.Event | None) -> Event | None:
    """The job once more, stopped at the step where it was stopped before."""
    stop = threading.Event()
    for event in engine.run(spec, stop):
        if cancel is not None and cancel.is_set():
            raise StudioError("it was cancelled before it was made again", "replay it once more")
        if event.kind == "made":
            return event
        if event.kind == "step" and event.number == reached:
            stop.set()
    return None


def _changed(facts: dict[str, Any]) -> list[str]:
    """What the picture depended on and is no longer so."""
    said = []
    for name, digest in (facts.get("models") or {}).items():
        if _harmless(name) and fingerprint(name) != digest:
            said.append(f"the model {name} is another one")
    now = versions()
    for name, version in (facts.get("versions") or {}).items():
        if name in now and now[name] != version:
            said.append(f"{name} was {version} and is {now[name]}")
    here = machine()
    differ = [name for name, value in here.items() if facts.get(name, value) != value]
    return said + [f"{name}: {facts[name]} then, {here[name]} now" for name in differ]


def _otherwise(recipe: png.Recipe, engine: Engine | Any) -> list[str]:
    """Another model that draws now, or other savings of memory."""
    said, used = [], recipe.model
    now = getattr(engine, "drawing", used)
    if used not in ("", "upscaler", now):
        said.append(f"it was drawn by the model {used}, and now by {now}; switch the model")
    before, here = recipe.facts.get("savings", ""), getattr(getattr(engine, "savings", None), "sentence", "")
    if before != here and used != "upscaler":
        said.append(f"savings of memory: {before or 'none'} then, {here or 'none'} now")
    return said


def _harmless(name: str) -> bool:
    """A model's name that is no path."""
    return bool(name) and all(c.isalnum() or c in "-_" for c in name)


def _touched(before: Image.Image, facts: dict[str, Any]) -> list[str]:
    if "pixels" in facts and png.pixels_hash(before) != facts["pixels"]:
        return ["the pixels of the file are not those that were saved"]
    return []


def _stopped(facts: dict[str, Any], made: Event) -> list[str]:
    if made.number != facts.get("reached", made.number):
        return [f"it was stopped at step {facts['reached']}, and this time at {made.number}"]
    return []
