"""Counts bytes before and after they are spent, then saves them."""

from aigc_course.memory.account import KINDS, Account, Held, Moment
from aigc_course.memory.adam import AdamW4bit, AdamW8bit
from aigc_course.memory.codes import decode, dynamic_levels, encode, normal_levels
from aigc_course.memory.counter import counting
from aigc_course.memory.generating import (
    Large,
    SmallDevice,
    count_call,
    enlarged_twice,
    guided_in_turn,
    in_windows,
    large_in_fresh_process,
    large_picture,
    predict_call,
    seam,
)
from aigc_course.memory.plan import PRECISIONS, Measured, Plan, checkpointing, count, measure, predict
from aigc_course.memory.quantised import Quantised, dequantise, quantise

__all__ = [
    "KINDS",
    "PRECISIONS",
    "Account",
    "AdamW4bit",
    "AdamW8bit",
    "Held",
    "Large",
    "Measured",
    "Moment",
    "Plan",
    "Quantised",
    "SmallDevice",
    "checkpointing",
    "count",
    "count_call",
    "counting",
    "decode",
    "dequantise",
    "dynamic_levels",
    "encode",
    "enlarged_twice",
    "guided_in_turn",
    "in_windows",
    "large_in_fresh_process",
    "large_picture",
    "measure",
    "normal_levels",
    "predict",
    "predict_call",
    "quantise",
    "seam",
]
