"""The mini-Midjourney: one job object, one queue, one worker, controls around functions that already work."""

from aigc_course.studio.desk import Made, Studio, here, imagine, replay
from aigc_course.studio.engine import STRONG, SUBTLE, Engine, fingerprint, scale_of, steps_of, strength_of
from aigc_course.studio.events import ENDS, KINDS, Event, StudioError, progress
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.job import ACTIONS, LIMITS, JobSpec, LoRA, Part, shape_of
from aigc_course.studio.known import Unknown, unknown, vocabulary
from aigc_course.studio.png import Recipe, parameters, read, write
from aigc_course.studio.preview import Preview
from aigc_course.studio.prompt import PARAMETERS, Parameter, PromptError, expand, parse, to_line
from aigc_course.studio.queue import Queue
from aigc_course.studio.replaying import Replay
from aigc_course.studio.telling import Importance, importance
from aigc_course.studio.why import Explanation

__all__ = [
    "ACTIONS",
    "ENDS",
    "KINDS",
    "LIMITS",
    "PARAMETERS",
    "STRONG",
    "SUBTLE",
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
    "Recipe",
    "Replay",
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
