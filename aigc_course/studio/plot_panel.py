"""The panel X/Y/Z plot: one prompt and one seed, up to three dials, all combinations on one sheet."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
from PIL import Image

from aigc_course.studio import looks
from aigc_course.studio.desk import Studio
from aigc_course.studio.events import Event
from aigc_course.studio.job import JobSpec
from aigc_course.studio.marks import PromptError
from aigc_course.studio.panel import STYLE, Panel
from aigc_course.studio.parameters import PARAMETERS
from aigc_course.studio.sheet import DIALS, MOST_CELLS, WORD, Axis, cells, sheet, single

PLACES = ("X, to the right", "Y, down", "Z, in blocks")
FIRST = (("steps", "2, 4, 8"), ("stylize", "0, 100, 300"), ("", ""))  # what the panel opens with
SAYS = (
    f"Every combination becomes a picture, at most {MOST_CELLS} of them, all with one seed. Values stand between "
    f"commas, as on the prompt line; with “{WORD}” the first value is a word of the prompt, and the others replace it."
)


class PlotPanel(Panel):
    """Turns dials: jobs of one picture each through the queue, and their sheet when the last has ended.

    line: the text whose `value` is the prompt line.
    """

    name = "plot"

    def __init__(self, desk: Studio, say: Callable[[str], Any] | None = None):
        super().__init__(desk, say)
        wide = dict(style={"description_width": "110px"}, layout=widgets.Layout(width="90%"))
        self.line = looks.named(
            widgets.Text(description="Prompt line", value="a red house in a meadow --seed 7", **wide), "plot-line"
        )
        self.dials = [self._dial(place, name) for place, (name, _) in zip(PLACES, FIRST, strict=True)]
        self.values = [self._values(place, text) for place, (_, text) in zip(PLACES, FIRST, strict=True)]
        self.hint, self.sheet = looks.html("", "plot-hint"), looks.html("", "sheet")
        self._axes: list[Axis] = []
        self._jobs: dict[str, int] = {}  # the plot at work: which place of the sheet a job fills
        self._cells: list[JobSpec] = []
        self._pictures: list[Image.Image | None] = []
        self._left = 0
        for one in (self.line, *self.dials, *self.values):
            one.observe(lambda change: self._hint(), "value")
        rows = [looks.row(dial, text) for dial, text in zip(self.dials, self.values, strict=True)]
        buttons = looks.row(
            looks.button("Draw the plot", "plot-draw", self.draw, "one picture for every combination", "primary"),
            looks.button("Cancel the plot", "plot-cancel", self.cancel, "stop; what is drawn by then is shown"),
        )
        about = widgets.HTML(f"<p>{escape(SAYS)}</p>")
        self.box.children = [widgets.HTML(STYLE), about, self.line, *rows, self.hint, buttons, self.status, self.sheet]
        self._hint()

    def _dial(self, place: str, name: str) -> widgets.Dropdown:
        told = {one: f"{one}: {PARAMETERS[one].says}" for one in DIALS if one != WORD} | {
            WORD: f"{WORD}: one for another"
        }
        options = [("nothing", ""), *((re.split("[,;]", text)[0], one) for one, text in told.items())]
        look = dict(style={"description_width": "110px"}, layout=widgets.Layout(width="460px"))
        dial = widgets.Dropdown(options=options, value=name, description=place, **look)
        return looks.named(dial, f"plot-dial-{place[0].lower()}", "the dial that is turned")

    def _values(self, place: str, text: str) -> widgets.Text:
        look = dict(style={"description_width": "70px"}, layout=widgets.Layout(width="320px"))
        return looks.named(
            widgets.Text(description=f"Values {place[0]}", value=text, **look),
            f"plot-values-{place[0].lower()}",
            "values with commas between them",
        )

    # --- callbacks ---

    def read(self) -> tuple[list[Axis], list[JobSpec]]:
        """The dials that are on, and the jobs that they make; ValueError is a sentence."""
        pairs = zip(self.dials, self.values, strict=True)
        axes = [Axis.of(dial.value, text.value) for dial, text in pairs if dial.value]
        if not axes:
            raise ValueError("no dial is turned; choose one for X")
        return axes, cells(single(self.line.value), axes)

    def _hint(self) -> None:
        try:
            axes, jobs = self.read()
            said = f"{' × '.join(str(len(axis.values)) for axis in axes)} = {len(jobs)} pictures"
        except (ValueError, PromptError) as error:
            said = getattr(error, "sentence", str(error))
        self.hint.value = looks.sentence(said, "aigc-quiet")

    def draw(self) -> None:
        """Put the jobs of all combinations into the queue."""
        if self._left:
            self.tell("a plot is being drawn; cancel it, or wait for it")
            return
        try:
            axes, jobs = self.read()
        except (ValueError, PromptError) as error:
            self.tell(getattr(error, "sentence", str(error)))
            return
        with self._lock:
            self._axes, self._cells, self._jobs = axes, jobs, {}
            self._pictures, self._left = [None] * len(jobs), len(jobs)
            self.tell(f"drawing {len(jobs)} pictures")
            for number, spec in enumerate(jobs):
                job = self.ask("plot", spec)
                if job is None:
                    self._left = number
                    break
                self._jobs[job] = number
        if not self._left:
            self._show()

    def cancel(self) -> None:
        """Stop what is left of the plot."""
        if self._left:
            self.stop("plot")
        else:
            self.tell("no plot is being drawn")

    # --- in the worker thread ---

    def heard(self, event: Event, purpose: str | None) -> None:
        """Gather the pictures; when the last job has ended, lay them out."""
        if purpose != "plot" or event.job not in self._jobs:
            return
        if event.kind == "made" and event.number == event.total:
            self._pictures[self._jobs[event.job]] = event.pictures[0]
        if event.ends:
            self._left -= 1
            drawn = sum(one is not None for one in self._pictures)
            self.tell(f"{drawn} of {len(self._cells)} pictures are drawn")
            if not self._left:
                self._show()

    def _show(self) -> None:
        """The sheet as a picture with alt text."""
        if not any(one is not None for one in self._pictures):
            self.sheet.value = ""
            return
        made = sheet(self._pictures, self._axes, self._cells[0])
        self.sheet.value = f'<img src="{looks.picture_url(made.png)}" alt="{escape(made.alt)}">'
