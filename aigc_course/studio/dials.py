"""What a job's dials mean to the walk: how many steps, how much guidance, how far back a given picture is taken."""

from __future__ import annotations

from aigc_course.studio.job import JobSpec

STEPS, FAST_STEPS = 25, 4  # of quality 1, and of --fast
STRENGTHS = {"vary": 0.8, "img2img": 0.6, "inpaint": 1.0, "pan": 0.8, "zoom": 0.8, "blend": 0.8}
SUBTLE, STRONG = 0.8, 1.0  # how far back towards noise a variation goes


def steps_of(spec: JobSpec) -> int:
    """How many steps the whole walk has: as asked for, else four with --fast, else by quality."""
    if spec.steps is not None:
        return spec.steps
    return FAST_STEPS if spec.fast else max(1, round(STEPS * spec.quality))


def scale_of(spec: JobSpec) -> float:
    """Guidance: 1 + stylize / 100."""
    return 1 + spec.stylize / 100


def strength_of(spec: JobSpec) -> float:
    """How far back towards noise a given picture is taken, 0 to 1."""
    if spec.strength is not None:
        return spec.strength
    return 1 - 0.3 * spec.iw if spec.action in ("imagine", "branch") else STRENGTHS.get(spec.action, 1.0)
