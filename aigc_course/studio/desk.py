"""The Studio without a screen: an engine, a queue and a gallery, and the few calls that a notebook makes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from aigc_course import plotting
from aigc_course.studio import prompt
from aigc_course.studio.engine import Engine
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.job import JobSpec
from aigc_course.studio.queue import Queue
from aigc_course.studio.replaying import Replay, replaying
from aigc_course.studio.savings import Savings


@dataclass(frozen=True, eq=False)
class Made:
    """The pictures of one job, with what they need to be used again; in a notebook it shows itself as a sheet."""

    spec: JobSpec
    pictures: tuple[Image.Image, ...] = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)
    facts: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """What other jobs call these pictures."""
        return tuple(entry.id for entry in self.entries)

    def sheet(self) -> plotting.Figure:
        """The pictures side by side, each over its seed; what was asked for is the alt text."""
        titles = [f"seed {seed}" for seed in self.spec.seeds[: len(self.pictures)]]
        said = self.spec.words or self.spec.action
        return plotting.show_images(list(self.pictures), titles, alt=f"{len(self.pictures)} pictures: {said}")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.sheet()._repr_mimebundle_(include, exclude)


class Studio:
    """Words to pictures and all that follows.  `submit` returns at once; `make` waits and gives what was made.

    folder: where pictures are kept; None, a temporary one.  engine: what makes them.
    """

    def __init__(self, folder: Path | str | None = None, engine: Engine | Any = None):
        self._temporary = None if folder is not None else tempfile.TemporaryDirectory(prefix="studio-")
        self.gallery = Gallery(folder if folder is not None else self._temporary.name)
        self.engine = engine or Engine()
        if isinstance(self.engine, Engine):
            self.engine.picture = self.gallery.picture
        self.queue = Queue(self.engine, self.gallery)

    # --- at once ---

    def read(self, line: str, **given: Any) -> list[JobSpec]:
        """The jobs of a prompt line, permutations and repetitions written out, each with a seed."""
        return prompt.expand(prompt.parse(line, **given))

    def submit(self, asked: str | JobSpec, **given: Any) -> list[str]:
        """The ids of the jobs that a line, or a job, asks for."""
        specs = self.read(asked, **given) if isinstance(asked, str) else prompt.expand(asked.with_(**given))
        return [self.queue.submit(spec) for spec in specs]

    def cancel(self, job: str | None = None) -> bool:
        """Stop a job, or all."""
        return self.queue.cancel(job)

    def listen(self, hear: Callable[[Event], Any], previews: float = 0.0) -> Callable[[], None]:
        """Hear every event; see `Queue.listen`."""
        return self.queue.listen(hear, previews)

    # --- and waiting ---

    def make(self, asked: str | JobSpec, **given: Any) -> Made | list[Made]:
        """What a line or a job makes: one `Made`, or a list of them where there are several jobs."""
        made = [self.outcome(job) for job in self.submit(asked, **given)]
        return made[0] if len(made) == 1 else made

    def outcome(self, job: str) -> Made:
        """Wait for a job that was submitted; what stopped it is raised."""
        events = self._ended(job)
        made = next((event for event in events if event.kind == "made"), None)
        if made is None:
            raise StudioError(events[-1].sentence or "there is no picture", "submit the job again")
        notes = tuple(event.sentence for event in events if event.kind == "note")
        return Made(made.spec, made.pictures, made.entries, made.facts, notes)

    def _ended(self, job: str) -> list[Event]:
        """Until a job has ended; an interrupted wait cancels it, and what failed is raised."""
        try:
            events = self.queue.wait(job)
        except KeyboardInterrupt:
            self.cancel(job)
            raise
        if events[-1].kind == "failed":
            raise StudioError(events[-1].sentence, events[-1].fix)
        return events

    def _answer(self, spec: JobSpec | None, run: Any = None) -> Any:
        events = self._ended(self.queue.submit(spec, run))
        told = next((event for event in events if event.kind == "told"), None)
        if told is None:
            raise StudioError("it was cancelled before there was an answer", "ask again")
        return told.answer

    # --- things done to a picture of the gallery ---

    def about(self, picture: str, **changes: Any) -> JobSpec:
        """The job that a picture was made by, turned to this picture: its words stay, its seed is drawn anew."""
        entry = self.gallery.entry(picture)
        plain = {"images": (), "sref": (), "seed": None, "then": "", "at": 0, "region": None, "direction": None}
        kept = entry.spec or JobSpec(action="img2img", parent=picture)
        plain |= {"strength": None, "stop": 100.0, "repeat": 1, "count": 4, "parent": picture}
        return kept.with_(**plain | {"action": "img2img"} | changes)

    def describe(self, picture: str, seed: int = 0) -> tuple[str, ...]:
        """Four captions of a picture, each drawn anew."""
        return self._answer(JobSpec(action="describe", parent=picture, seed=seed))

    def shorten(self, asked: str, seed: int = 0) -> Any:
        """How much each word of a prompt matters, measured; and a shorter prompt."""
        return self._answer(prompt.parse(asked)[0].with_(action="shorten", seed=seed))

    def why(self, picture: str) -> Any:
        """An `Explanation` of a picture of the gallery; it is made again for that."""
        entry = self.gallery.drawn(picture)
        return self._answer(entry.spec, lambda spec, cancel: self.engine.explain(spec, entry.number, cancel))

    def replay(self, source: Path | str | bytes) -> Replay:
        """Make the picture of a PNG again, in the worker, and compare."""
        return self._answer(None, replaying(source, self.engine))

    def switch(self, model: str | None = None, savings: Savings | None = None, download: bool = False) -> str:
        """Another model or other savings for the jobs that are submitted from now on; at once, the id of a job.

        model: "text-to-image", or the repository of a public one (`studio.HUB`), which is fetched only with `download`.
        """
        return self.queue.submit(None, lambda spec, cancel: self.engine.switch(model, savings, download, cancel))

    def close(self) -> None:
        """End the worker, and delete the temporary folder, if there is one."""
        self.queue.close()
        if self._temporary is not None:
            self._temporary.cleanup()


# --- plain functions, with one Studio for this process ------------------------------------------------------


@lru_cache
def here() -> Studio:
    """The Studio that the plain functions use; it keeps its pictures until the process ends."""
    return Studio()


def imagine(line: str, studio: Studio | None = None, **given: Any) -> Made | list[Made]:
    """Four pictures of a prompt line: `studio.imagine("a red house --ar 3:2 --seed 7 --no tree")`."""
    return (studio or here()).make(line, **given)


def replay(source: Path | str | bytes, studio: Studio | None = None) -> Replay:
    """Make the picture of a PNG again and say whether it is identical, close or different, and why."""
    return (studio or here()).replay(source)
