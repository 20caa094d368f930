"""What happens now, in words and pictures; and the four pictures that came last, each with its buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.events import Event
from aigc_course.studio.gallery import Entry
from aigc_course.studio.job import JobSpec

READY = "Ready. Write a prompt and press Generate."
SCREEN, SPOKEN = 8.0, 1.0  # updates a second, at most: of what is seen, and of what a screen reader is given
NAMED = 3  # waiting jobs that are listed by their words


def told(spec: JobSpec | None) -> str:
    """A job in a few words."""
    if spec is None:
        return "something without a prompt"
    words = f"“{spec.words}”" if spec.words else ""
    doing = "" if spec.action == "imagine" else spec.action
    return " ".join(part for part in (doing, words) if part) or "a picture"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


class Pace:
    """Lets something through at most so many times a second, for each name."""

    def __init__(self):
        self._last: dict[str, float] = {}

    def due(self, name: str, rate: float) -> bool:
        """Whether it is time again; if so, the clock of that name starts anew."""
        now = time.monotonic()
        if now - self._last.get(name, -1e9) < 1 / rate:
            return False
        self._last[name] = now
        return True


class Now:
    """The line that says what happens, its bar, the queue, and rough pictures while they come.

    pending: the jobs that have not ended;  known: HTML of the hints below the prompt, which need not be said twice.
    """

    def __init__(self, pending: Callable[[], Sequence[str]], known: Callable[[], str]):
        self._pending, self._known, self._pace = pending, known, Pace()
        self._waiting: dict[str, JobSpec | None] = {}
        self._began, self._notes = 0.0, []
        self.status = looks.html(looks.status(READY), "status")
        self.bar = looks.named(widgets.IntProgress(min=0, max=1, value=0), "progress")
        self.bar.layout.width = "100%"
        self.queue, self.notes = looks.html(name="queue"), looks.html(name="notes")
        self.details, self.preview = looks.html(name="details"), looks.html(name="preview")
        left = widgets.VBox([self.status, self.bar, self.queue, self.notes, self.details])
        left.layout.flex = "1 1 320px"
        self.box = looks.named(widgets.HBox([left, self.preview]), "now")

    # --- sentences from anywhere ---

    def say(self, text: str, pointer: str = "", wrong: bool = False, details: str = "") -> None:
        """A sentence into the live region, with a line and its caret, or with details to be unfolded."""
        self.status.value = looks.status(text, pointer, wrong)
        self.details.value = looks.fold("Details", details)

    def fail(self, sentence: str, fix: str = "", details: str = "") -> None:
        """What went wrong, and the next step."""
        self.say(f"{_upper(sentence)}." + f" Next: {fix}." * bool(fix), "", True, details)

    # --- events; called in the worker's thread, and for "queued" in the submitter's ---

    def hear(self, event: Event) -> None:
        """Show one event."""
        getattr(self, f"_{event.kind}", lambda event: None)(event)
        if event.kind != "step":
            self._show_queue()

    def _queued(self, event: Event) -> None:
        self._waiting[event.job] = event.spec

    def _loading(self, event: Event) -> None:
        self.say(f"{_upper(event.sentence)} …")

    def _started(self, event: Event) -> None:
        self._began, self._notes = event.at, []
        self.notes.value = self.preview.value = ""
        self.bar.max, self.bar.value = 1, 0
        self.say(f"Working on {told(event.spec)} …" if event.spec else "Working …")

    def _step(self, event: Event) -> None:
        if event.pictures:
            where = f"as expected at step {event.number} of {event.total}"
            self.preview.value = looks.rough(event.pictures, [f"preview {k}, {where}" for k in (1, 2, 3, 4)])
        if event.number == event.total or self._pace.due("bar", SCREEN):
            self.bar.max, self.bar.value = event.total, event.number
        if event.number == event.total:
            self.say(f"Step {event.number} of {event.total}; finishing …")
        elif self._pace.due("spoken", SPOKEN):
            self.say(f"{_upper(event.sentence)}.")

    def _note(self, event: Event) -> None:
        if looks.escape(event.sentence) not in self._known():
            self._notes.append(event.sentence)
        self.notes.value = looks.bullets(self._notes)

    def _done(self, event: Event) -> None:
        self.bar.value = self.bar.max
        if event.spec is not None:  # else what it told stands there
            self.say(f"Done: {told(event.spec)}, in {event.at - self._began:.1f} s.")

    def _cancelled(self, event: Event) -> None:
        kept = "; the picture reached is kept" if event.number else ""
        self.say(f"{_upper(event.sentence)}{kept}.")

    def _failed(self, event: Event) -> None:
        self.fail(event.sentence, event.fix, event.details)

    def _show_queue(self) -> None:
        pending = list(self._pending())
        self._waiting = {job: self._waiting.get(job) for job in pending}
        behind = [told(self._waiting[job]) for job in pending[1:]]
        if not behind:
            self.queue.value = ""
            return
        more = f" and {len(behind) - NAMED} more" if len(behind) > NAMED else ""
        self.queue.value = looks.sentence(f"{len(behind)} waiting: {', '.join(behind[:NAMED])}{more}")


# --- the grid -----------------------------------------------------------------------------------------------


class Tile:
    """One place of the grid: a picture with its seed, and what can be done with it."""

    def __init__(self, number: int, do: Callable[[str, str], Any]):
        self.number, self.id, self._do = number, None, do
        self.picture = looks.html(_empty(number), "tile-picture")
        self.buttons = [self._button(*one) for one in TILE_BUTTONS]
        self.box = looks.named(widgets.VBox([self.picture, looks.row(*self.buttons)]), f"tile-{number}")
        self.box.add_class("aigc-tile")
        self.show(None)

    def _button(self, words: str, name: str, action: str, tip: str) -> widgets.Button:
        return looks.button(words, name, lambda: self._do(action, self.id), tip.format(self.number))

    def show(self, entry: Entry | None, picture: bytes = b"") -> None:
        """A picture of the gallery, or nothing."""
        self.id = entry and entry.id
        for button in self.buttons:
            button.disabled = entry is None
        if entry is None:
            self.picture.value = _empty(self.number)
            return
        seed = "" if entry.seed is None else f" · seed {entry.seed}"
        self.picture.value = looks.figure(looks.picture_url(picture), alt_of(entry), f"{self.number}{seed}")


TILE_BUTTONS = (
    ("Vary subtle", "vary-subtle", "subtle", "make four pictures close to picture {}"),
    ("Vary strong", "vary-strong", "strong", "make four new pictures with an echo of picture {}"),
    ("Upscale", "upscale", "upscale", "four times as many pixels each way, for picture {}"),
    ("Why?", "tile-why", "why", "why picture {} came out so: words, noise, steps"),
    ("More", "choose", "choose", "everything else that can be done with picture {}"),
)


def alt_of(entry: Entry) -> str:
    """What a picture shows, as far as its job says it."""
    if entry.spec is None:
        return f"picture {int(entry.id[:-9])}, taken in from a file"
    return f"{told(entry.spec)}, picture {entry.number + 1} of {entry.spec.count}, seed {entry.seed}"


def _empty(number: int) -> str:
    return f'<div class="aigc-empty">{number} · {looks.SOON}</div>'


class Grid:
    """Two by two tiles."""

    def __init__(self, do: Callable[[str, str], Any], path: Callable[[str], Path]):
        self._path = path
        self.tiles = [Tile(number, do) for number in (1, 2, 3, 4)]
        self.box = looks.named(widgets.VBox([tile.box for tile in self.tiles]), "grid")

    def show(self, entries: Sequence[Entry]) -> None:
        """Up to four pictures of the gallery."""
        for k, tile in enumerate(self.tiles):
            entry = entries[k] if k < len(entries) else None
            tile.show(entry, self._path(entry.id).read_bytes() if entry else b"")
            looks.show_if(tile.box, k < max(1, len(entries)))
