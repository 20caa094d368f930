"""The controls of the form, one for each field of a job that a prompt line can set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.dials import FAST_STEPS, STEPS
from aigc_course.studio.job import LARGEST_SEED, JobSpec
from aigc_course.studio.parameters import PARAMETERS

SHAPES = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "2:1", "1:2")


def _same(value: Any) -> Any:
    return value


def _written(value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Control:
    """One control: how it shows a job's field, and what it makes of it."""

    field: str
    widget: Any
    shown: Callable[[Any], Any] = _same  # from the field's value to the control's
    meant: Callable[[Any], Any] = _same  # and back; text is written into the line as it is

    def __post_init__(self):
        looks.named(self.widget, f"set-{self.field}", _tip(self.field))

    def follow(self, spec: JobSpec) -> None:
        """Show the field of a job."""
        value = self.shown(getattr(spec, self.field))
        if self.field == "ar" and value not in self.widget.options:
            self.widget.options = (*SHAPES, value)
        self.widget.value = value


def _tip(field: str) -> str:
    one = next((one for one in PARAMETERS.values() if one.field == field), None)
    limits = f" (0 to {LARGEST_SEED})" if field == "seed" else ""
    if one is None:
        return "ids of pictures that stand before the words"
    return f"{one.says}{limits}; on the line: --{one.name} {one.example}".strip()


# --- kinds of controls --------------------------------------------------------------------------------------


def slider(words: str, least: float, most: float, step: float, value: float) -> widgets.FloatSlider:
    """A number between two ends."""
    given = dict(description=words, min=least, max=most, step=step, value=value, continuous_update=False)
    return widgets.FloatSlider(**given, readout_format=".0f" if step >= 1 else ".2f", style=looks.LABEL)


def _text(words: str, hint: str) -> widgets.Text:
    return widgets.Text(description=words, placeholder=hint, continuous_update=False, style=looks.LABEL)


def _box(words: str) -> widgets.Checkbox:
    return widgets.Checkbox(description=words, indent=False)


def _optional(field: str, words: str, hint: str) -> Control:
    """A number that may be left open."""
    return Control(field, _text(words, hint), _written, lambda text: text.strip() or None)


def _ids(field: str, words: str) -> Control:
    """Pictures by their ids."""
    return Control(field, _text(words, "ids of pictures"), " ".join, str.strip)


# --- all of them --------------------------------------------------------------------------------------------


def basic() -> list[Control]:
    """The controls that are always seen."""
    shape = widgets.Dropdown(description="Shape", options=SHAPES, style=looks.LABEL)
    return [
        Control("ar", shape, lambda ar: f"{ar[0]}:{ar[1]}", lambda text: tuple(map(int, text.split(":")))),
        _optional("seed", "Seed", "new each time"),
        _optional("steps", "Steps", f"{STEPS}, by quality"),
        Control("stylize", slider("Stylize", 0, 1000, 10, 100)),
        Control("chaos", slider("Chaos", 0, 100, 5, 0)),
        Control("negative", _text("Leave out", "such as: a tree")),
        Control("fast", _box(f"Fast draft, {FAST_STEPS} steps")),
    ]


def further() -> list[Control]:
    """The controls that are folded away."""
    repeat = widgets.BoundedIntText(description="Repeat", min=1, max=40, value=1, style=looks.LABEL)
    return [
        Control("quality", slider("Quality", 0.25, 4, 0.25, 1)),
        Control("weird", slider("Weird", 0, 3000, 50, 0)),
        Control("stop", slider("Stop at %", 10, 100, 5, 100)),
        Control("repeat", repeat),
        Control("tile", _box("Repeats as a tile")),
        _ids("images", "As prompt"),
        Control("iw", slider("Their weight", 0, 3, 0.1, 1)),
        _ids("sref", "As style"),
        Control("sw", slider("Its weight", 0, 1000, 10, 100)),
    ]
