"""What the Studio's panels share: jobs of their own in the queue, an ear that knows these, and a line of status."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.desk import Studio
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.job import JobSpec

STYLE = """<style>
.aigc-panel { color: var(--jp-ui-font-color1, CanvasText); max-width: 1000px; }
.aigc-panel .widget-html-content { line-height: 1.45; }
.aigc-panel .aigc-heading { font-weight: 600; }
.aigc-panel h4 { margin: 12px 0 2px; font-size: 14px; }
.aigc-panel p { margin: 2px 0 6px; line-height: 1.45; }
.aigc-panel figure { display: inline-block; margin: 0 8px 8px 0; vertical-align: top; width: 120px; }
.aigc-panel figure img { display: block; width: 100%; border-radius: 4px; background: var(--jp-layout-color2, #8881); }
.aigc-panel figure.aigc-large { width: 200px; }
.aigc-panel figcaption { font-size: 12px; padding-top: 2px; white-space: normal;
  color: var(--jp-ui-font-color2, GrayText); }
.aigc-panel .aigc-source { font-size: 12px; color: var(--jp-ui-font-color2, GrayText); }
.aigc-panel .aigc-word { display: inline-block; padding: 1px 5px; margin: 1px 2px; border-radius: 3px; }
.aigc-panel .aigc-word small { color: var(--jp-ui-font-color2, GrayText); padding-left: 4px; }
.aigc-panel .aigc-sheet img { max-width: 100%; }
.aigc-panel table { border-collapse: collapse; font-size: 13px; }
.aigc-panel th, .aigc-panel td { padding: 3px 10px 3px 0; text-align: right; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid var(--jp-border-color2, #8886); }
.aigc-panel th:first-child, .aigc-panel td:first-child, .aigc-panel td:last-child, .aigc-panel th:last-child
  { text-align: left; }
.aigc-panel .jupyter-button { width: auto; flex: 0 0 auto; padding: 0 10px; }
</style>"""


class Panel:
    """A box of controls over a Studio.  Callbacks hand jobs to the queue; what comes back is heard in the worker.

    desk: a `Studio`;  say: puts a plain sentence into a line that is read aloud politely, from any thread; None, the
    panel's own line is that.
    """

    name = ""

    def __init__(self, desk: Studio, say: Callable[[str], Any] | None = None):
        self.desk, self._say = desk, say
        self._own: dict[str, str] = {}  # the panel's jobs that have not ended, and what they are for
        self._lock = threading.RLock()
        self.status = looks.html("", "panel-status")
        self.box = looks.named(widgets.VBox(), "panel")
        looks.named(self.box, self.name)
        self._stop = desk.listen(self._hear)

    def close(self) -> None:
        """Stop listening."""
        self._stop()

    # --- said ---

    def tell(self, sentence: str) -> None:
        """A sentence for a person."""
        self.status.value = f"<p>{escape(sentence)}</p>" if self._say else looks.status(sentence)
        if self._say:
            self._say(sentence)

    # --- asked ---

    def ask(self, purpose: str, spec: JobSpec | None, run: Any = None) -> str | None:
        """Put a job into the queue; None, with a sentence, where it takes no more."""
        with self._lock:  # the worker may be done with it before we know its id
            try:
                job = self.desk.queue.submit(spec, run)
            except (StudioError, RuntimeError, ValueError) as error:
                self.tell(str(error))
                return None
            self._own[job] = purpose
            return job

    def stop(self, purpose: str) -> None:
        """Cancel the panel's own jobs of a kind."""
        for job, what in list(self._own.items()):
            if what == purpose:
                self.desk.cancel(job)

    # --- heard, in the worker thread ---

    def _hear(self, event: Event) -> None:
        with self._lock:
            purpose = self._own.get(event.job)
            if event.ends:
                self._own.pop(event.job, None)
        self.heard(event, purpose)
        if purpose and event.kind == "failed":
            self.tell(f"{event.sentence}; {event.fix}")

    def heard(self, event: Event, purpose: str | None) -> None:
        """What to do about an event; purpose: of the panel's own job, else None."""
