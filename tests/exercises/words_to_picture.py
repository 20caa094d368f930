"""Answers to the exercises of notebook 1.1."""

import torch

from aigc_course import checks
from exercises import Exercise

PROMPT = {
    "a number": (3, "text in quotes"),
    "an unknown word": ("two small blue herrings at night, watercolour style", "never learnt the word 'herrings'"),
    "nothing to draw": ("at night", "names 0 things"),
    "no colour": ("two small fish at night, watercolour style", "which colour"),
    "another thing": ("two small blue cats at night, watercolour style", "asks for a cat"),
    "another colour": ("two small red fish at night, watercolour style", "would be red"),
    "one fish": ("a small blue fish at night, watercolour style", "asks for 1 fish"),
    "no size": ("two blue fish at night, watercolour style", "not said"),
    "large": ("two large blue fish at night, watercolour style", "the size is large"),
    "another place": ("two small blue fish at sea, watercolour style", "the place is sea"),
    "no style": ("two small blue fish at night", "the style is not said"),
    "two kinds": ("a small blue fish and a small blue cat at night, watercolour style", "two different things"),
}
BYTES = {
    "a number": (lambda p: 7, "return a tensor"),
    "no conversion": (lambda p: (p + 1) * 127.5, "the numbers are float32"),
    "half the range": (lambda p: ((p + 1) / 2 * 127.5).round().to(torch.uint8), "halve it"),
    "no shift": (lambda p: (p * 255).round().clamp(0, 255).to(torch.uint8), "shift by 1 before"),
    "scaled to 256": (lambda p: ((p + 1) * 128).long().to(torch.uint8), "256 does not fit"),
    "not rounded": (lambda p: ((p + 1) * 127.5).clamp(0, 255).to(torch.uint8), "cuts off"),
    "not clamped": (lambda p: ((p + 1) * 127.5).round().to(torch.int16).to(torch.uint8), "clamp to"),
    "upside down": (lambda p: ((1 - p) * 127.5).round().clamp(0, 255).to(torch.uint8), "expected 0, 128, 255"),
}
GUIDANCE = {
    "started from cond": (lambda u, c, w: c + w * (c - u), "one step too far"),
    "swapped": (lambda u, c, w: c + w * (u - c), "swapped"),
    "wrong direction": (lambda u, c, w: u + w * (u - c), "away from the words"),
    "no difference": (lambda u, c, w: u + w * c, "add the difference"),
    "the push alone": (lambda u, c, w: w * (c - u), "add it to `uncond`"),
    "a louder answer": (lambda u, c, w: w * c, "makes the prediction larger"),
    "no scale": (lambda u, c, w: c, "`scale` is not used"),
    "an average": (lambda u, c, w: (u + c) / 2, "not equation (4)"),
    "only right at 3": (lambda u, c, w: u + 3 * (c - u), "at scale 1 nothing"),
}

EXERCISES = [
    Exercise(
        "1.1.1",
        checks.check_prompt,
        ...,
        [
            "a watercolour of two small blue fish at night",
            "在夜空下，两条小的蓝色的鱼，水彩画",
            "Two tiny blue fish under the night sky, watercolor",
        ],
        PROMPT,
    ),
    Exercise(
        "1.1.2",
        checks.check_to_bytes,
        lambda p: ...,
        [
            lambda p: ((p + 1) * 127.5).round().clamp(0, 255).to(torch.uint8),
            lambda p: ((p.clamp(-1, 1) + 1) / 2 * 255 + 0.5).to(torch.uint8),
        ],
        BYTES,
    ),
    Exercise(
        "1.1.3",
        checks.check_guidance,
        lambda u, c, w: ...,
        [lambda u, c, w: u + w * (c - u), lambda u, c, w: (1 - w) * u + w * c],
        GUIDANCE,
    ),
]
