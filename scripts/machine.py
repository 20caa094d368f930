"""What a recipe takes, and tells, of the machine that it runs on."""

import os

from aigc_course import runtime

WORKERS = max(1, os.cpu_count() // 2)  # processes that draw; the other cores are for the one that learns


def name() -> str:
    """Processor or graphics card, as a card names it, such as "cpu, 2 threads"."""
    return runtime.summary().split(" · ")[1]
