"""The panel Memory and model: which model draws, what is saved with it, and a meter of what each saving gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from aigc_course import models, runtime
from aigc_course.studio import looks, prompt
from aigc_course.studio.cast import MODEL
from aigc_course.studio.desk import Studio
from aigc_course.studio.events import Event
from aigc_course.studio.panel import STYLE, Panel
from aigc_course.studio.queue import held
from aigc_course.studio.replaying import away
from aigc_course.studio.savings import HUB, MEASURED, WEIGHTS, Reading, Savings

PUBLIC = "hub"
TINY = ("tiny: ships with the course", MODEL)
LINE = "a red house in a meadow --seed 7"  # what is drawn when savings are measured
MIB = 2**20


def meter_html(readings: Sequence[Reading]) -> str:
    """Readings as a table: bytes, seconds, and what became of the pictures."""
    if not readings:
        return "<p>It was cancelled before there was a reading.</p>"
    first = readings[0]
    names = ("saving", "weights at rest, MiB", "most at once, MiB", "less at once", "seconds", "pictures")
    rows = []
    for k, one in enumerate(readings):
        told = away(one.distance) if k else "to compare with"
        less = f"{1 - one.peak / first.peak:.0%}" if k else ""
        cells = (f"{one.weights / MIB:.1f}", f"{one.peak / MIB:.1f}", less, f"{one.seconds:.1f}", told)
        together = k and k == len(readings) - 1 and len(one.savings.each()) > 1
        name = "all together" if together else one.savings.sentence or "none"
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(c)}</td>" for c in cells)}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    said = (
        f"Counted operation by operation while {MEASURED['count']} pictures were drawn in {MEASURED['steps']} steps: "
        "all tensors alive at once, weights included (notebook 4.1, equation (4)). Notebook 4.4 tells of each saving."
    )
    return f"<p>{said}</p><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


class MemoryPanel(Panel):
    """Hands `desk.switch` and measurements to the queue; says after every job what the whole process holds."""

    name = "memory"

    def __init__(self, desk: Studio, say: Callable[[str], Any] | None = None):
        super().__init__(desk, say)
        wide = dict(style={"description_width": "80px"}, layout=widgets.Layout(width="420px"))
        public = [TINY, ("hub: a public model by its name", PUBLIC)]
        self.model = looks.named(widgets.Dropdown(options=public, description="Model", **wide), "memory-model")
        self.hub = looks.named(
            widgets.Text(description="Hub id", placeholder=f"such as {min(HUB)}", **wide), "memory-hub", "owner/name"
        )
        self.denoise = self._check("Denoise one by one", "the denoiser sees one picture at a time, once with the words")
        self.decode = self._check("Decode one by one", "the decoder sees one picture at a time")
        kept = [(words, name) for name, (_, words) in WEIGHTS.items()]
        self.weights = looks.named(widgets.Dropdown(options=kept, description="Weights", **wide), "memory-weights")
        self.state = looks.html("", "memory-state")
        self.meter, self.rss = looks.html("", "meter"), looks.html("", "rss")
        self._most, self._seen = 0, None
        self.box.children = [
            widgets.HTML(STYLE), looks.heading("Model"), self.state, self.model, self.hub,
            looks.row(
                looks.button("Use this model", "memory-use", self.use, "nothing is ever fetched by this button"),
                looks.button("Download and use", "memory-download", self.download, "fetch the model named above"),
            ),
            looks.heading("Low memory"), looks.row(self.denoise, self.decode), self.weights,
            looks.row(
                looks.button("Save memory so", "memory-apply", self.apply, "from the next job on"),
                looks.button("Measure", "memory-measure", self.measure, "draw a few steps with each saving, and count"),
            ),
            self.status, self.rss, self.meter,
        ]  # fmt: skip
        self._follow()
        self._held(held())

    def _check(self, words: str, tip: str) -> widgets.Checkbox:
        return looks.named(widgets.Checkbox(description=words, indent=False), f"memory-{words.split()[0].lower()}", tip)

    # --- callbacks ---

    @property
    def wanted(self) -> Savings:
        """What the controls say."""
        return Savings(self.denoise.value, self.decode.value, self.weights.value)

    def _chosen(self) -> str | None:
        """The model that is meant, or None with a sentence."""
        if self.model.value != PUBLIC:
            return self.model.value
        name = self.hub.value.strip()
        if name in HUB:
            return name
        asked = f"the course does not know the files of {name:.80}" if name else "no public model is named"
        self.tell(f"{asked}; write one of: {', '.join(HUB)}")
        return None

    def use(self) -> None:
        """Draw with the model from now on; what is not on this machine is said, and not fetched."""
        name = self._chosen()
        if name in HUB and (missing := _missing(name)):
            self.tell(missing)
        elif name:
            self._switch(model=name)

    def download(self) -> None:
        """Fetch the public model that is named, then draw with it."""
        if self.model.value != PUBLIC:
            self.tell("this model ships with the course; there is nothing to fetch")
        elif name := self._chosen():
            self._switch(model=name, download=True)

    def apply(self) -> None:
        """Save memory as the controls say."""
        self._switch(savings=self.wanted)

    def _switch(self, **asked: Any) -> None:
        if self.ask("switch", None, lambda spec, cancel: self.desk.engine.switch(**asked, cancel=cancel)):
            self.tell("waiting for the jobs before it")

    def measure(self) -> None:
        """Draw the same pictures with each saving, and count."""
        if not self.wanted.each():
            self.tell("no saving is chosen; tick one, or choose other weights")
            return
        spec, wanted = prompt.parse(LINE)[0], self.wanted
        if self.ask("measure", spec, lambda spec, cancel: self.desk.engine.measure(spec, wanted, cancel)):
            self.tell("measuring; the same pictures are drawn once for each saving")

    # --- in the worker thread ---

    def heard(self, event: Event, purpose: str | None) -> None:
        """Answers of the panel's jobs; after any job, what the process holds."""
        if event.kind == "loading" and purpose:
            self.tell(event.sentence)
        if event.kind == "step" and purpose == "measure":
            self.tell(f"{event.number} of {event.total} readings")
        if event.kind == "told" and purpose == "switch":
            self.tell(event.answer)
        if event.kind == "told" and purpose == "measure":
            self.meter.value = meter_html(event.answer)
            self.tell("measured")
        if event.ends:
            self._held(event.memory)
            self._follow()

    def _held(self, now: int) -> None:
        """The live line."""
        self._most = max(self._most, now)
        said = (
            f"This process holds {now / MIB:.0f} MiB after the last job; at most after any it was "
            f"{self._most / MIB:.0f} MiB, and at any moment {runtime.peak_rss() / MIB:.0f} MiB. "
            "Most of it is Python and its libraries; what a saving frees is given back to the system late, or never."
        )
        self.rss.value = looks.sentence(said, "aigc-quiet")

    def _follow(self) -> None:
        """The controls as the engine is, when it was switched: another panel or a cell may have done it."""
        engine, plain = self.desk.engine, (MODEL, Savings())
        now = getattr(engine, "drawing", plain[0]), getattr(engine, "savings", plain[1])
        if now == self._seen:
            return
        self._seen, (drawing, savings) = now, now
        self.state.value = looks.sentence(f"{drawing} draws, saving {savings.sentence or 'nothing'}", "aigc-quiet")
        self.model.value = PUBLIC if drawing in HUB else drawing
        if drawing in HUB:
            self.hub.value = drawing
        self.denoise.value, self.decode.value = savings.denoise_one, savings.decode_one
        self.weights.value = savings.weights


def _missing(repository: str) -> str:
    """What would be fetched, in a sentence; "" if it is here."""
    role = HUB[repository]
    try:
        models.checkpoint_folder(role)
    except FileNotFoundError:
        files = len(models.CHECKPOINTS[role].files)
        return (
            f"{repository} is not whole on this machine, and nothing was fetched; “Download and use” would fetch from "
            f"the hub what is missing of its {files} files: denoiser, text encoder and autoencoder in half precision"
        )
    return ""
