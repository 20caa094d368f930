"""Counts bytes before and after they are spent, then saves them."""

from aigc_course.memory.account import KINDS, Account, Held, Moment
from aigc_course.memory.counter import counting
from aigc_course.memory.plan import PRECISIONS, Measured, Plan, checkpointing, count, measure, predict

__all__ = [
    "KINDS",
    "PRECISIONS",
    "Account",
    "Held",
    "Measured",
    "Moment",
    "Plan",
    "checkpointing",
    "count",
    "counting",
    "measure",
    "predict",
]
