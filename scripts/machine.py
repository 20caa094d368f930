"""What a recipe takes, and tells, of the machine that it runs on, and what it leaves there for the next time."""

import os

from safetensors.torch import load_file, save_file

from aigc_course import runtime
from aigc_course.training import team

WORKERS = max(1, os.cpu_count() // 2)  # processes that draw; the other cores are for the one that learns


def name() -> str:
    """Processor or graphics card, as a card names it, such as "cpu, 2 threads"."""
    return runtime.summary().split(" · ")[1]


def kept(file, make):
    """The tensors {name: tensor} in a file: made once, by the first of several processes, kept whole or not at all."""

    def once():
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(".partial")
            save_file(make(), fresh)
            fresh.rename(file)

    team.first_then_others(once)
    return load_file(file)
