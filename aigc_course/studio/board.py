"""The whole Studio in one cell of a notebook: prompt, form, live pictures, grid, history and tools."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.bench import Bench
from aigc_course.studio.desk import Studio, here
from aigc_course.studio.dials import STRONG, SUBTLE
from aigc_course.studio.events import Event, StudioError, trace
from aigc_course.studio.form import EXAMPLE, Form
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.history import History
from aigc_course.studio.imprint import Imprint
from aigc_course.studio.job import JobSpec
from aigc_course.studio.marks import PromptError
from aigc_course.studio.prompt import to_line
from aigc_course.studio.stage import SCREEN, Grid, Now
from aigc_course.studio.tabs import Tabs
from aigc_course.studio.workshop import Blend, Files, Machine, Shorten


def show(where: Studio | Path | str | None = None) -> Board:
    """The Studio as controls; as the last line of a cell it is shown.

    where: a `Studio`; or a folder for its pictures, which are found there again after a restart; None: the Studio of
    the plain functions, whose pictures are gone when the kernel ends.  Asked again, the same controls are shown.
    """
    desk = _studio_of(Path(where).resolve()) if isinstance(where, (str, Path)) else where or here()
    return _OPEN.get(desk) or Board(desk)


_studio_of = lru_cache(Studio)  # a cell that is run again must not load the models again
_OPEN: WeakKeyDictionary[Studio, Board] = WeakKeyDictionary()


class Board:
    """Controls around one `Studio`: everything that they do is a job for its queue, or a cancel.

    Events come from the worker's thread, clicks from another; both set traits under one lock, and nothing waits.
    Saved in a notebook it is a sheet of the newest pictures.
    """

    def __init__(self, desk: Studio):
        self.desk, self._lock = desk, threading.RLock()
        self._asked: dict[str, Callable[[Any], Any] | None] = {}
        self._unheard: set[str] = set()  # jobs whose end has not come here yet
        self.form = Form(self._explain, _last_line(desk.gallery))
        self.now = Now(lambda: desk.queue.pending, lambda: self.form.hint.value)
        self.grid = Grid(self._do_to_tile, desk.gallery.path)
        self.bench = Bench(self)
        self.history = History(desk.gallery, self.on, self.choose)
        self.blend, self.shorten, self.files, self.machine = Blend(self), Shorten(self), Files(self), Machine(self)
        self.tabs = Tabs(self)
        self.box = self._layout()
        self.imprint = Imprint(desk.gallery, self.box.model_id)
        if last := _last_grid(desk.gallery):
            self.grid.show(last)
        self._stop = desk.listen(self._hear, previews=SCREEN)
        _OPEN[desk] = self

    def _layout(self) -> widgets.VBox:
        tip = "make pictures; a job at work is not disturbed"
        generate = self.on("Generate", "generate", self.generate, tip, "primary")
        cancel = self.on("Cancel", "cancel", self.cancel, "stop the job at work and keep the picture it reached")
        self.cancel_all = self.on("Cancel all", "cancel-all", lambda: self.cancel(True), "stop what waits, too")
        looks.show_if(self.cancel_all, False)
        self.form.more.children += (self.machine.model, self.machine.lean)
        for one in (self.machine.model, self.machine.lean):
            one.layout.width = "auto"
        stage = widgets.VBox([self.grid.box, self.bench.box])
        columns = looks.named(widgets.VBox([self.form.box, stage]), "columns")
        top = [self.form.prompt, looks.row(generate, cancel, self.cancel_all), self.form.hint, self.now.box]
        children = [widgets.HTML(looks.STYLE), *top, columns, self.tabs.box]
        return looks.named(widgets.VBox(children), "studio")

    # --- what parts of the board use ---

    def on(self, words: str, name: str, do: Callable[[], Any], tip: str = "", kind: str = "") -> widgets.Button:
        """A button; what goes wrong in what it does is said, with a next step."""
        return looks.button(words, name, lambda: self.attempt(do), tip, kind)

    def attempt(self, do: Callable[[], Any], alone: bool = True) -> None:
        """Do something that may raise.  alone: no event is shown meanwhile; not so where a panel, which has a lock of
        its own, is asked for something."""
        with self._lock if alone else nullcontext():
            try:
                do()
            except Exception as error:
                self._explain(error)

    def say(self, sentence: str) -> None:
        """A sentence into the status line, from any thread."""
        with self._lock:
            self.now.say(sentence)

    def ask(self, asked: str | JobSpec | None, then: Callable[[Any], Any] | None = None, run: Any = None) -> None:
        """Submit a line or a job; then: called with what it tells, in the worker's thread."""
        with self._lock:  # the worker's events wait until the job is known here
            if run is not None:
                self.join(self.desk.queue.submit(asked, run), then)
                return
            given = {"count": self.form.count.value} if isinstance(asked, str) else {}
            for job in self.desk.submit(asked, **given):
                self.join(job, then)

    def go_on(self, picture: str, **changes: Any) -> None:
        """Submit a job about a picture of the gallery, for as many pictures as the form says."""
        self.ask(self.desk.about(picture, count=self.form.count.value, **changes))

    def join(self, job: str, then: Callable[[Any], Any] | None = None) -> None:
        """Take a job for one of this board's: its pictures go to the grid, and what it tells to `then`."""
        self._asked[job] = then

    def _explain(self, error: Exception) -> None:
        """What went wrong, as a sentence with a next step; a place in the line is pointed at."""
        if isinstance(error, PromptError):
            self.form.hint.value = ""  # it would say the same
            self.now.say(f"{error.sentence}.", error.pointer(), wrong=True)
        elif isinstance(error, StudioError):
            self.now.fail(error.sentence, error.fix)
        elif isinstance(error, (ValueError, RuntimeError)):
            self.now.fail(str(error))
        else:
            self.now.fail("that did not work", "see the details", trace(error))

    # --- clicks ---

    def generate(self) -> None:
        """Submit what prompt and form say."""
        self.ask(self.form.line)

    def cancel(self, everything: bool = False) -> None:
        """Stop the job at work, or all."""
        pending = self.desk.queue.pending
        if not pending:
            self.now.say("There is nothing to cancel.")
        elif self.desk.cancel(None if everything else pending[0]):
            self.now.say("Stopping after this step …")

    def choose(self, picture: str) -> None:
        """Open the bench with a picture of the gallery."""
        with self._lock:
            self.bench.choose(picture)
            self.now.say(f"Picture {int(picture[:-9])} is chosen; see “The chosen picture” below the grid.")

    def why(self, picture: str) -> None:
        """Open the panel that explains a picture."""
        self.attempt(lambda: self.tabs.open("why").show(picture), alone=False)

    def _do_to_tile(self, action: str, picture: str | None) -> None:
        self.attempt(lambda: self._on_tile(action, picture), alone=action != "why")

    def _on_tile(self, action: str, picture: str | None) -> None:
        if picture is None:
            raise ValueError("there is no picture in this place yet; press Generate")
        if action in ("choose", "why"):
            getattr(self, action)(picture)
        elif action == "upscale":
            self.go_on(picture, action="upscale")
        else:
            self.go_on(picture, action="vary", strength=SUBTLE if action == "subtle" else STRONG)

    # --- events ---

    def _hear(self, event: Event) -> None:
        with self._lock:
            self.now.hear(event)
            self._unheard.add(event.job)
            if event.kind != "step":
                looks.show_if(self.cancel_all, len(self.desk.queue.pending) > 1)
            if event.job in self._asked:
                self._answered(event)
            if event.ends:
                self.history.follow(bool(self.desk.queue.pending))
                self.machine.follow()
                if not self.desk.queue.pending:
                    self.imprint.renew()
                self._asked.pop(event.job, None)
                self._unheard.discard(event.job)

    def _answered(self, event: Event) -> None:
        """Of a job that was asked for here."""
        then = self._asked[event.job]
        if event.kind == "made" and event.entries:
            self.grid.show(event.entries)
        if event.kind == "told" and then is not None:
            then(event.answer)

    # --- its life ---

    def wait(self, seconds: float = 600.0) -> None:
        """Until all jobs have ended and are shown; a notebook that runs by itself waits so, a person need not."""
        end = time.monotonic() + seconds
        while self._unheard:
            if time.monotonic() > end:
                left = len(self._unheard)
                raise TimeoutError(f"{left} jobs have not ended within {seconds} s; wait longer, or cancel them")
            time.sleep(0.005)
        self.imprint.renew(rate=1e9)  # from the cell that waits: what the worker sends belongs to an earlier one

    def close(self) -> None:
        """Hear nothing more; the Studio itself stays open."""
        self._stop()
        self.tabs.close()
        if _OPEN.get(self.desk) is self:
            del _OPEN[self.desk]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """The live controls, and for where no kernel runs the newest pictures with their alt text."""
        data, metadata = self.imprint.sheet()
        return self.imprint.live() | data, metadata

    def _ipython_display_(self) -> None:
        self.imprint.display()


# --- where the last session ended -----------------------------------------------------------------------------


def _last_grid(gallery: Gallery) -> Sequence[Entry]:
    """The pictures of the job that made the newest one."""
    entries = gallery.entries
    job = entries[-1].job if entries else ""
    return [one for one in entries[-4:] if one.job == job] if job else entries[-1:]


def _last_line(gallery: Gallery) -> str:
    """The prompt of the newest drawn picture, with a free seed; so nothing is lost with the kernel."""
    spec = next((one.spec for one in reversed(gallery.entries) if one.spec and one.spec.prompt), None)
    return to_line(spec.with_(seed=None)) if spec else EXAMPLE
