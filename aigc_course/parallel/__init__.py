"""The same step on several processes: data, tensor, pipeline, sharded."""

from aigc_course.parallel.pipeline import Span, bubble, chain, in_flight
from aigc_course.parallel.processes import run
from aigc_course.parallel.split import blocks
from aigc_course.parallel.tasks import (
    denoising_task,
    language_task,
    picture_task,
    squared_error,
    token_loss,
    tower_task,
)
from aigc_course.parallel.ways import WAYS, Task, Trained, alone, difference, train, train_each
from aigc_course.training import share

__all__ = [
    "WAYS",
    "Span",
    "Task",
    "Trained",
    "alone",
    "blocks",
    "bubble",
    "chain",
    "denoising_task",
    "difference",
    "in_flight",
    "language_task",
    "picture_task",
    "run",
    "share",
    "squared_error",
    "token_loss",
    "tower_task",
    "train",
    "train_each",
]
