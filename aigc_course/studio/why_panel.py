"""The panel "Why this picture?": words by what looked at them, what they changed, the first noise, and every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks, png
from aigc_course.studio.desk import Studio
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.explaining import change_html, noise_html, step_html, strip_html, words_html
from aigc_course.studio.gallery import Entry
from aigc_course.studio.job import LIMITS, JobSpec
from aigc_course.studio.panel import STYLE, Panel
from aigc_course.studio.replaying import away
from aigc_course.studio.savings import distance
from aigc_course.studio.why import Explanation


class WhyPanel(Panel):
    """Makes a picture of the gallery again and shows why it came out so; `show(id)` returns at once."""

    name = "why"

    def __init__(self, desk: Studio, say: Callable[[str], Any] | None = None):
        super().__init__(desk, say)
        self.entry: Entry | None = None
        self.found: Explanation | None = None
        self._parts = {
            key: looks.html("", f"why-{key}") for key in ("head", "words", "change", "noise", "strip", "now")
        }
        wide = dict(style={"description_width": "150px"}, layout=widgets.Layout(width="480px"))
        self.step = looks.named(
            widgets.IntSlider(description="Step", min=1, max=1, **wide), "why-step", "a step of the walk"
        )
        self.at = looks.named(
            widgets.IntSlider(description="Branch after step", min=0, max=1, **wide),
            "why-at",
            "the step after which the new words are read",
        )
        self.then = looks.named(widgets.Text(description="New prompt", **wide), "why-then", "the words from there on")
        self.button = looks.button(
            "Branch", "why-branch", self.branch, "draw it again, with the new words from that step on"
        )
        self._branching = widgets.VBox([self.at, self.then, looks.row(self.button)])
        self._more = widgets.VBox(
            [*(self._parts[key] for key in ("words", "change", "noise", "strip")), self.step, self._parts["now"]]
        )
        self.step.observe(lambda change: self._scrubbed(), "value")
        self.box.children = [widgets.HTML(STYLE), self.status, self._parts["head"], self._more, self._branching]
        self._parts["head"].value = "<p>Choose a picture and press Why: it is made once more, and watched.</p>"
        self._open(False)

    def show(self, picture: str) -> None:
        """Explain a picture of the gallery, by its id."""
        try:
            entry = self.desk.gallery.drawn(picture)
        except (StudioError, ValueError) as error:
            self.tell(str(error))
            return
        self.stop("why")
        self.entry, self.found = entry, None
        self._open(False)
        alt = f"The picture that is explained: {entry.spec.words or entry.spec.action}"
        shown = looks.picture_url(self.desk.gallery.picture(entry.id))
        self._parts["head"].value = looks.figure(shown, alt, f"{entry.id}, seed {entry.seed}")
        if self.ask("why", entry.spec, lambda spec, cancel: self._run(entry, spec, cancel)):
            self.tell("the picture is made once more, and watched; this takes a little longer than drawing it")

    def _run(self, entry: Entry, spec: JobSpec, cancel: Any) -> Iterator[Event]:
        """In the worker: as `desk.why`, then what its answer is worth."""
        for event in self.desk.engine.explain(spec, entry.number, cancel):
            if event.kind == "told":
                yield Event("note", sentence=self._again(entry, event.answer))
                event = replace(event, answer=(entry.id, event.answer))
            yield event

    def _again(self, entry: Entry, found: Explanation) -> str:
        """Whether it came out as it was kept: what is explained is the new one."""
        used = png.read(self.desk.gallery.path(entry.id)).model
        now = getattr(self.desk.engine, "drawing", used)
        if used and used != now:
            return f"it was drawn by {used}, and is explained by {now}, which would draw the last step below"
        before, after = self.desk.gallery.picture(entry.id), found.pictures[-1]
        if before.size != after.size or entry.spec.sref or entry.spec.stop < 100:
            return "what is explained is the walk; what was done to its picture afterwards is not shown"
        return f"made once more and watched, it came out {away(distance([before], [after]))}"

    # --- in the worker thread: only traits are set ---

    def heard(self, event: Event, purpose: str | None) -> None:
        """Fill in the answer; say what became of a branch."""
        if purpose == "why" and event.kind == "note":
            self.tell(event.sentence)
        if purpose == "why" and event.kind == "told" and self.entry and event.answer[0] == self.entry.id:
            self._fill(event.answer[1])
        if purpose == "why" and event.kind == "cancelled":
            self.tell("cancelled before there was an explanation")
        if purpose == "branch" and event.kind == "made" and event.entries:
            self.tell(f"the branch is in the gallery as {event.entries[0].id}")

    def _fill(self, found: Explanation) -> None:
        self.found = found
        for key, made in (("words", words_html), ("change", change_html), ("noise", noise_html), ("strip", strip_html)):
            self._parts[key].value = made(found)
        total = len(found.pictures)
        self.step.max = self.at.max = total
        self.step.value, self.at.value = total, max(1, total // 2)
        self._scrubbed()
        self._open(True)

    def _open(self, shown: bool) -> None:
        looks.show_if(self._more, shown)
        looks.show_if(self._branching, shown and self._branches())

    # --- callbacks ---

    def _scrubbed(self) -> None:
        if self.found is not None:
            self._parts["now"].value = step_html(self.found, min(self.step.value, len(self.found.pictures)))

    def _branches(self) -> bool:
        """Whether the same walk can be begun again from the job alone."""
        return self.entry is not None and self.entry.spec.action in ("imagine", "branch")

    def branch(self) -> None:
        """Draw the same picture, with other words from a step on."""
        if self.found is None or not self._branches():
            self.tell("choose a picture that was drawn from words")
            return
        spec, at = self.entry.spec, self.at.value
        if spec.action == "branch" and at > spec.at:
            self.tell(f"this picture is a branch already; branch it at step {spec.at} or before")
            return
        changes = dict(
            action="branch", then=self.then.value, at=min(at, LIMITS["at"][1]), count=1, seed=self.entry.seed
        )
        try:
            asked = spec.with_(**changes)
        except ValueError as error:
            self.tell(str(error))
            return
        if self.ask("branch", asked):
            self.tell(f"branching after step {at}: {asked.then}")
