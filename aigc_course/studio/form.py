"""The prompt line and the form: two views of one job, which agree whatever is changed in either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from aigc_course import models
from aigc_course.studio import looks, rewriting
from aigc_course.studio.engine import FAST_STEPS, STEPS
from aigc_course.studio.job import LARGEST_SEED, JobSpec, LoRA
from aigc_course.studio.known import unknown
from aigc_course.studio.marks import PromptError
from aigc_course.studio.parameters import PARAMETERS
from aigc_course.studio.prompt import parse

SHAPES = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "2:1", "1:2")
WIDE = {"description_width": "84px"}
EXAMPLE = "a red house in a meadow"


@dataclass(frozen=True)
class Control:
    """One control of the form: how it shows a job's field, and what it makes of it."""

    field: str
    widget: Any
    shown: Callable[[Any], Any]  # from the field's value to the control's
    meant: Callable[[Any], Any]  # and back; text is written into the line as it is


def _same(value: Any) -> Any:
    return value


def _number(value: str) -> str | None:
    return value.strip() or None


def _text(words: str, hint: str) -> widgets.Text:
    return widgets.Text(description=words, placeholder=hint, continuous_update=False, style=WIDE)


def _slider(words: str, least: float, most: float, step: float, value: float) -> widgets.FloatSlider:
    given = dict(description=words, min=least, max=most, step=step, value=value, continuous_update=False)
    return widgets.FloatSlider(**given, readout_format=".0f" if step >= 1 else ".2f", style=WIDE)


def _box(words: str) -> widgets.Checkbox:
    return widgets.Checkbox(description=words, indent=False)


def _optional(field: str, words: str, hint: str) -> Control:
    """A number that may be left open."""
    return Control(field, _text(words, hint), lambda value: "" if value is None else str(value), _number)


def _ids(field: str, words: str) -> Control:
    """Pictures by their ids."""
    return Control(field, _text(words, "ids of pictures"), " ".join, str.strip)


def basic() -> list[Control]:
    """The controls that are always seen."""
    shape = widgets.Dropdown(description="Shape", options=SHAPES, style=WIDE)
    return [
        Control("ar", shape, lambda ar: f"{ar[0]}:{ar[1]}", lambda text: tuple(map(int, text.split(":")))),
        _optional("seed", "Seed", "new each time"),
        _optional("steps", "Steps", f"{STEPS}, by quality"),
        Control("stylize", _slider("Stylize", 0, 1000, 10, 100), _same, _same),
        Control("chaos", _slider("Chaos", 0, 100, 5, 0), _same, _same),
        Control("negative", _text("Leave out", "such as: a tree"), _same, _same),
        Control("fast", _box(f"Fast draft, {FAST_STEPS} steps"), _same, _same),
    ]


def further() -> list[Control]:
    """The controls that are folded away."""
    repeat = widgets.BoundedIntText(description="Repeat", min=1, max=40, value=1, style=WIDE)
    return [
        Control("quality", _slider("Quality", 0.25, 4, 0.25, 1), _same, _same),
        Control("weird", _slider("Weird", 0, 3000, 50, 0), _same, _same),
        Control("stop", _slider("Stop at %", 10, 100, 5, 100), _same, _same),
        Control("repeat", repeat, _same, _same),
        Control("tile", _box("Repeats as a tile"), _same, _same),
        _ids("images", "As prompt"),
        Control("iw", _slider("Their weight", 0, 3, 0.1, 1), _same, _same),
        _ids("sref", "As style"),
        Control("sw", _slider("Its weight", 0, 1000, 10, 100), _same, _same),
    ]


def shipped_loras() -> list[str]:
    """Names of the LoRAs in data/models."""
    folders = models.folder_of("x").parent.glob("lora-*")
    return sorted(folder.name.removeprefix("lora-") for folder in folders if folder.is_dir())


class Form:
    """Prompt line and controls over one job.

    The line is the truth: a control rewrites its own parameter in it and leaves the rest as it was typed; what is
    typed moves the controls.  complain: called with an error that a change of a control met.
    """

    def __init__(self, complain: Callable[[Exception], Any], line: str = EXAMPLE):
        self._complain, self._following = complain, False
        self.prompt = self._prompt_line()
        self.hint = looks.html(name="hint")
        self.count = widgets.Dropdown(description="Pictures", options=[1, 2, 3, 4], value=4, style=WIDE)
        looks.named(self.count, "set-count", "how many pictures one job makes, each with a seed of its own")
        self.basic, self.further = basic(), further()
        self.loras = {name: self._lora(name) for name in shipped_loras()}
        for control in self.controls:
            looks.named(control.widget, f"set-{control.field}", _tip(control.field))
            control.widget.observe(lambda change, one=control: self._write(one, change["new"]), "value")
        self.prompt.observe(lambda change: self.read(), "value")
        self.box = self._layout()
        self.prompt.value = line

    @property
    def controls(self) -> list[Control]:
        """Of all fields that a line can say, but LoRAs."""
        return self.basic + self.further

    @property
    def line(self) -> str:
        """As it stands."""
        return self.prompt.value

    @line.setter
    def line(self, line: str) -> None:
        self.prompt.value = line

    @property
    def spec(self) -> JobSpec:
        """The job that prompt and form ask for; the first of them, where braces make several."""
        return self.specs[0]

    @property
    def specs(self) -> list[JobSpec]:
        """All of them; PromptError points at what cannot be read."""
        return parse(self.line, count=self.count.value)

    # --- how it is laid out ---

    def _prompt_line(self) -> widgets.Textarea:
        layout = widgets.Layout(width="100%", height="64px")
        tip = "words first, then parameters, such as: a red house --ar 3:2 --seed 7 --no tree"
        area = widgets.Textarea(description="Prompt", placeholder=tip, layout=layout)
        area.style.description_width = "60px"
        return looks.named(area, "prompt", tip)

    def _lora(self, name: str) -> widgets.FloatSlider:
        slider = _slider(name, -2, 2, 0.1, 0)
        looks.named(slider, f"lora-{name}", f"weight of {name}; 0 leaves it out")
        slider.observe(lambda change: self._write_loras(), "value")
        return slider

    def _layout(self) -> widgets.VBox:
        loras = [looks.heading("LoRAs and their weights"), *self.loras.values()] if self.loras else []
        more = widgets.VBox([one.widget for one in self.further] + loras)
        toggle = looks.named(widgets.ToggleButton(description="More settings"), "more", "show or hide more settings")
        toggle.observe(lambda change: looks.show_if(more, change["new"]), "value")
        looks.show_if(more, False)
        self.more, self.toggle = more, toggle
        shape, *others = [one.widget for one in self.basic]
        children = [looks.heading("Settings"), shape, self.count, *others, toggle, more]
        for child in [*children[1:-2], *more.children]:
            child.layout.width = "auto"
        return looks.named(widgets.VBox(children), "form")

    # --- from the line to the controls ---

    def read(self) -> None:
        """Let the controls follow the line, and say below it what it means."""
        if not self.line.strip():
            self.hint.value = ""
            return
        try:
            specs = self.specs
        except PromptError as error:
            self.hint.value = looks.sentence(error.sentence) + f"<pre>{looks.escape(error.pointer())}</pre>"
            return
        self.hint.value = looks.bullets(_hints(specs))
        self._follow(specs[0])

    def _follow(self, spec: JobSpec) -> None:
        if self._following:
            return
        self._following = True
        try:
            for control in self.controls:
                _show(control, control.shown(getattr(spec, control.field)))
            weights = {one.name: one.weight for one in spec.loras}
            for name, slider in self.loras.items():
                slider.value = weights.get(name, 0.0)
        finally:
            self._following = False

    # --- and from a control to the line ---

    def _write(self, control: Control, value: Any) -> None:
        meant = control.meant(value)
        if control.field == "images":
            self._rewrite(lambda line: rewriting.with_images(line, meant.split()))
        else:
            self._rewrite(lambda line: rewriting.with_field(line, control.field, meant))

    def _write_loras(self) -> None:
        self._rewrite(lambda line: rewriting.with_field(line, "loras", self._chosen_loras()))

    def _chosen_loras(self) -> tuple[LoRA, ...]:
        """Those of the sliders, and those of the line that no slider stands for."""
        others = tuple(one for one in self.spec.loras if one.name not in self.loras)
        given = tuple(LoRA(name, slider.value) for name, slider in self.loras.items() if slider.value)
        return others + given

    def _rewrite(self, change: Callable[[str], str]) -> None:
        if self._following:
            return
        try:
            self.line = change(self.line)
        except ValueError as error:
            self._complain(error)
            self.read()  # the control goes back to what the line says

    def use_words(self, words: str) -> None:
        """Other words, with the parameters as they are."""
        self._rewrite(lambda line: rewriting.with_words(line, words))

    def add_image(self, picture: str) -> None:
        """A picture before the words."""
        self._rewrite(lambda line: rewriting.with_images(line, dict.fromkeys((*self.spec.images, picture))))

    def add_style(self, picture: str) -> None:
        """A picture whose style is carried over."""
        self._rewrite(lambda line: rewriting.with_field(line, "sref", tuple(dict.fromkeys((*self.spec.sref, picture)))))


def _show(control: Control, value: Any) -> None:
    if control.field == "ar" and value not in control.widget.options:
        control.widget.options = (*SHAPES, value)
    control.widget.value = value


def _tip(field: str) -> str:
    one = next((one for one in PARAMETERS.values() if one.field == field), None)
    limits = f" (0 to {LARGEST_SEED})" if field == "seed" else ""
    if one is None:
        return "ids of pictures that stand before the words"
    return f"{one.says}{limits}; on the line: --{one.name} {one.example}".strip()


def _hints(specs: list[JobSpec]) -> list[str]:
    """What a person should know before pressing Generate."""
    said = [f"{len(specs)} jobs, one for each choice in braces"] if len(specs) > 1 else []
    for spec in specs[:1]:
        taught = [word for one in spec.loras for word in one.name.split("_")]
        said += [word.sentence for word in unknown(f"{spec.words} {spec.negative}", taught)]
    return said
