"""Experiments and the lesson as controls in a notebook; what they start is a job of the Studio's queue."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as widgets

from aigc_course import scenes
from aigc_course.applications import experiments, lesson
from aigc_course.scenes import Facts, Sample
from aigc_course.studio import Event, Studio, here, looks
from aigc_course.studio.panel import STYLE, Panel

PAUSE = 0.25  # seconds that a dial must rest before it counts


class _Stopped(Exception):
    """Raised between two steps of a walk that nobody waits for any more."""


class _Shown(Panel):
    """A panel that shows itself; saved without a kernel, it is a sentence."""

    title = ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        told = f"{self.title}: run this cell to use it; what it does is measured in the figures below"
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": told}

    def _job(self, make: Callable[[Callable[[Any], None]], Any]) -> Any:
        """A job of the queue: `make` is given what ends a walk as soon as the job is cancelled."""

        def run(spec: None, cancel: threading.Event) -> Iterator[Event]:
            def look(_: Any) -> None:
                if cancel.is_set():
                    raise _Stopped

            try:
                answer = make(look)
            except _Stopped:
                return
            except ValueError as error:  # what somebody wrote cannot be read: no fault of the program
                answer = str(error)
            yield Event("told", answer=answer)

        return run


class Laboratory(_Shown):
    """One scene, one dial: the newest value is tried, an experiment at work for an older one is stopped.

    cast: the models;  about: scenes to choose from.
    """

    name, title = "laboratory", "The laboratory"

    def __init__(self, cast: experiments.Cast, about: Sequence[Sample] | None = None, desk: Studio | None = None):
        super().__init__(desk or here())
        self.cast, self.about, self._rest = cast, list(about or experiments.subjects()), None
        wide = dict(style={"description_width": "90px"}, layout=widgets.Layout(width="480px"))
        self.dial = widgets.Dropdown(options=list(experiments.DIALS), description="Dial", **wide)
        self.value = widgets.FloatSlider(description="Value", continuous_update=False, **wide)
        captions = [scenes.caption(one.scene, _first()) for one in self.about]
        self.subject = widgets.Dropdown(options=[(c, k) for k, c in enumerate(captions)], description="Scene", **wide)
        self.result = looks.html("", "experiment")
        stop = looks.button("Stop", "experiment-stop", lambda: self.stop("experiment"), "end the experiment at work")
        self.box.children = [
            widgets.HTML(STYLE), looks.heading("Turn one dial; a picture takes about a second"),
            self.dial, self.value, self.subject, looks.row(stop), self.status, self.result,
        ]  # fmt: skip
        self._fit()
        self.dial.observe(lambda _: self._fit(), "value")
        for one in (self.value, self.subject):
            one.observe(lambda _: self._turned(), "value")

    def _fit(self) -> None:
        """The slider gets the limits of the chosen dial."""
        dial = experiments.DIALS[self.dial.value]
        least, most, step = dial.limits
        with self.value.hold_trait_notifications():
            self.value.min, self.value.max, self.value.step = min(least, self.value.min), most, step
            self.value.min, self.value.value = least, dial.values[len(dial.values) // 2]

    def _turned(self) -> None:
        """Wait until the hand rests."""
        if self._rest:
            self._rest.cancel()
        self._rest = threading.Timer(PAUSE, self.try_it)
        self._rest.daemon = True
        self._rest.start()

    def try_it(self) -> None:
        """One experiment at what the controls say, instead of the one at work."""
        self.stop("experiment")
        dial, value, one = self.dial.value, self.value.value, self.about[self.subject.value]
        make = lambda look: experiments.measure(self.cast, dial, value, [one], on_step=look)  # noqa: E731
        if self.ask("experiment", None, self._job(make)):
            self.tell("at work")

    def heard(self, event: Event, purpose: str | None) -> None:
        """The picture and the verdict."""
        if purpose != "experiment" or event.kind != "told":
            return
        if isinstance(event.answer, str):
            self.tell(event.answer)
            return
        made = event.answer
        verdict = "the judge finds it right" if made.right[0] else "the judge finds something wrong"
        alt = f"What came out with {made.dial} {made.value:g} of: {made.words[0]}"
        shown = looks.figure(looks.picture_url(made.pictures[0]), alt, f"{made.dial} {made.value:g}")
        self.result.value = shown.replace("<figure>", '<figure class="aigc-large">', 1)
        self.tell(f"{made.words[0]}: {verdict}")

    def close(self) -> None:
        """Let the dial and the ear rest."""
        if self._rest:
            self._rest.cancel()
        self.stop("experiment")
        super().close()


class Classroom(_Shown):
    """Questions one after another: words for a picture to be drawn, or words for a picture that is shown."""

    name, title = "classroom", "The lesson"

    def __init__(
        self,
        cast: experiments.Cast,
        tasks: Sequence[Facts] | None = None,
        shown: Sequence[Sample] | None = None,
        desk: Studio | None = None,
    ):
        super().__init__(desk or here())
        self.cast, self.number = cast, 0
        self.tasks = list(tasks or lesson.questions())
        self.shown = list(shown or experiments.subjects(len(self.tasks), seed=21))
        kinds = [("Words for a picture: the model draws it", "draw"), ("A picture: tell it in words", "tell")]
        self.kind = widgets.Dropdown(options=kinds, description="Kind", layout=widgets.Layout(width="480px"))
        self.asked, self.result = looks.html("", "question"), looks.html("", "marks")
        box = widgets.Text(description="Answer", placeholder="a red cat at sea", layout=widgets.Layout(width="90%"))
        self.answer = looks.named(box, "answer")
        self.box.children = [
            widgets.HTML(STYLE), self.kind, self.asked, self.answer,
            looks.row(
                looks.button("Mark it", "mark", self.mark, "have the answer marked, fact by fact", "primary"),
                looks.button("Next question", "next", self.next, "leave this one"),
            ),
            self.status, self.result,
        ]  # fmt: skip
        self.kind.observe(lambda _: self.ask_it(), "value")
        self.ask_it()

    @property
    def task(self) -> Facts | Sample:
        """What is asked now."""
        among = self.tasks if self.kind.value == "draw" else self.shown
        return among[self.number % len(among)]

    def ask_it(self) -> None:
        """The question; a picture to be told is drawn by rule, so that its truth is known."""
        self.answer.value = self.result.value = ""
        if self.kind.value == "draw":
            self.asked.value = looks.sentence(lesson.question(self.task))
            return
        url = looks.picture_url(scenes.draw(self.task.scene, seed=self.task.seed))
        said = "Say in English or Chinese what there is, how many, in which colour and size, where, and in which style."
        self.asked.value = looks.figure(url, "The picture to be told in words") + looks.sentence(said)

    def next(self) -> None:
        """The next question."""
        self.stop("answer")
        self.number += 1
        self.ask_it()

    def mark(self) -> None:
        """Mark what is written; a drawing waits in the queue."""
        words, task = self.answer.value.strip(), self.task
        if not words:
            self.tell("write an answer first, such as: a red cat at sea")
        elif self.kind.value == "draw":
            self.stop("answer")
            if self.ask("answer", None, self._job(lambda look: self._draw(task, words, look))):
                self.tell("drawing your words")
        else:
            try:
                self._show(lesson.caption_answer(scenes.draw(task.scene, seed=task.seed), task.scene, words))
            except ValueError as error:
                self.tell(str(error))

    def _draw(self, task: Facts, words: str, look: Callable[[Any], None]) -> lesson.Marked:
        return lesson.draw_answer(self.cast["text-to-image"], self.cast["judge"], task, words, on_step=look)

    def heard(self, event: Event, purpose: str | None) -> None:
        """The marks of a drawing."""
        if purpose == "answer" and event.kind == "told":
            self.tell(event.answer) if isinstance(event.answer, str) else self._show(event.answer)

    def _show(self, marked: lesson.Marked) -> None:
        picture = ""
        if self.kind.value == "draw":
            picture = looks.figure(looks.picture_url(marked.picture), f"What the model drew for: {self.answer.value}")
        self.result.value = picture + looks.bullets([*marked.sentences, *marked.notes])
        self.tell(f"{marked.points}.")


def _first() -> random.Random:
    """The plainest of the grammar's words."""
    return random.Random(0)


