"""The mini-Midjourney: one job object, one queue, one worker, controls around functions that already work."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aigc_course.studio.desk import Made, Studio, here, imagine, replay
from aigc_course.studio.dials import STRONG, SUBTLE, scale_of, steps_of, strength_of
from aigc_course.studio.engine import Engine
from aigc_course.studio.events import ENDS, KINDS, Event, StudioError, progress
from aigc_course.studio.facts import fingerprint
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.job import ACTIONS, LIMITS, JobSpec, LoRA, Part, shape_of
from aigc_course.studio.known import Unknown, unknown, vocabulary
from aigc_course.studio.marks import PromptError
from aigc_course.studio.parameters import PARAMETERS, Parameter
from aigc_course.studio.png import Recipe, parameters, read, write
from aigc_course.studio.preview import Preview
from aigc_course.studio.prompt import expand, parse, to_line
from aigc_course.studio.queue import Queue
from aigc_course.studio.replaying import Replay
from aigc_course.studio.savings import HUB, WEIGHTS, Reading, Savings
from aigc_course.studio.sheet import plot
from aigc_course.studio.telling import Importance, importance
from aigc_course.studio.why import Explanation

if TYPE_CHECKING:  # so that whoever reads imports, people or programs, sees these as well
    from aigc_course.studio.board import Board as Board
    from aigc_course.studio.board import show as show
    from aigc_course.studio.panels import MemoryPanel as MemoryPanel
    from aigc_course.studio.panels import PlotPanel as PlotPanel
    from aigc_course.studio.panels import WhyPanel as WhyPanel

_FRONTS = {"Board": "board", "show": "board", "MemoryPanel": "panels", "PlotPanel": "panels", "WhyPanel": "panels"}


def __getattr__(name: str) -> Any:
    """What needs ipywidgets is imported when it is asked for: the rest works without."""
    if name not in _FRONTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FRONTS[name]}"), name)


__all__ = [
    "ACTIONS",
    "ENDS",
    "HUB",
    "KINDS",
    "LIMITS",
    "PARAMETERS",
    "STRONG",
    "SUBTLE",
    "WEIGHTS",
    "Engine",
    "Entry",
    "Event",
    "Explanation",
    "Gallery",
    "Importance",
    "JobSpec",
    "LoRA",
    "Made",
    "Parameter",
    "Part",
    "Preview",
    "PromptError",
    "Queue",
    "Reading",
    "Recipe",
    "Replay",
    "Savings",
    "Studio",
    "StudioError",
    "Unknown",
    "expand",
    "fingerprint",
    "here",
    "imagine",
    "importance",
    "parameters",
    "parse",
    "plot",
    "progress",
    "read",
    "replay",
    "scale_of",
    "shape_of",
    "steps_of",
    "strength_of",
    "to_line",
    "unknown",
    "vocabulary",
    "write",
]
