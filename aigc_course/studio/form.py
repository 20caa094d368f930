"""The prompt line and the form: two views of one job, which agree whatever is changed in either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks, rewriting
from aigc_course.studio.cast import shipped_loras
from aigc_course.studio.controls import Control, basic, further, slider
from aigc_course.studio.job import JobSpec, LoRA
from aigc_course.studio.known import unknown_to
from aigc_course.studio.marks import PromptError
from aigc_course.studio.prompt import parse

EXAMPLE = "a red house in a meadow"


class Form:
    """Prompt line and controls over one job.

    The line is the truth: a control rewrites its own parameter in it and leaves the rest as it was typed; what is
    typed moves the controls.  complain: called with an error that a change of a control met.
    """

    def __init__(self, complain: Callable[[Exception], Any], line: str = EXAMPLE):
        self._complain, self._following = complain, False
        self.prompt = _prompt_line()
        self.hint = looks.html(name="hint")
        self.count = widgets.Dropdown(description="Pictures", options=[1, 2, 3, 4], value=4, style=looks.LABEL)
        looks.named(self.count, "set-count", "how many pictures one job makes, each with a seed of its own")
        self.basic, self.further = basic(), further()
        for control in self.controls:
            control.widget.observe(lambda change, one=control: self._write(one, change["new"]), "value")
        self.loras = {name: self._lora(name) for name in shipped_loras()}
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

    def _lora(self, name: str) -> widgets.FloatSlider:
        weight = looks.named(slider(name, -2, 2, 0.1, 0), f"lora-{name}", f"weight of {name}; 0 leaves it out")
        weight.observe(lambda change: self._write_loras(), "value")
        return weight

    def _layout(self) -> widgets.VBox:
        loras = [looks.heading("LoRAs and their weights"), *self.loras.values()] if self.loras else []
        self.more = widgets.VBox([one.widget for one in self.further] + loras)
        looks.show_if(self.more, False)
        toggle = looks.named(widgets.ToggleButton(description="More settings"), "more", "show or hide more settings")
        toggle.observe(lambda change: looks.show_if(self.more, change["new"]), "value")
        shape, *others = [one.widget for one in self.basic]
        for child in [shape, self.count, *others, *self.more.children]:
            child.layout.width = "auto"
        children = [looks.heading("Settings"), shape, self.count, *others, toggle, self.more]
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
        several = [f"{len(specs)} jobs, one for each choice in braces"] if len(specs) > 1 else []
        self.hint.value = looks.bullets(several + [word.sentence for word in unknown_to(specs[0])])
        self._follow(specs[0])

    def _follow(self, spec: JobSpec) -> None:
        if self._following:
            return
        self._following = True
        try:
            for control in self.controls:
                control.follow(spec)
            weights = {one.name: one.weight for one in spec.loras}
            for name, weight in self.loras.items():
                weight.value = weights.get(name, 0.0)
        finally:
            self._following = False

    # --- and from a control to the line ---

    def _write(self, control: Control, value: Any) -> None:
        if control.field == "images":
            self._rewrite(lambda line: rewriting.with_images(line, control.meant(value).split()))
        else:
            self._rewrite(lambda line: rewriting.with_field(line, control.field, control.meant(value)))

    def _write_loras(self) -> None:
        self._rewrite(lambda line: rewriting.with_field(line, "loras", self._chosen_loras()))

    def _chosen_loras(self) -> tuple[LoRA, ...]:
        """Those of the sliders, and those of the line that no slider stands for."""
        others = tuple(one for one in self.spec.loras if one.name not in self.loras)
        return others + tuple(LoRA(name, weight.value) for name, weight in self.loras.items() if weight.value)

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


def _prompt_line() -> widgets.Textarea:
    layout = widgets.Layout(width="100%", height="64px")
    tip = "words first, then parameters, such as: a red house --ar 3:2 --seed 7 --no tree"
    area = widgets.Textarea(description="Prompt", placeholder=tip, layout=layout, style={"description_width": "60px"})
    return looks.named(area, "prompt", tip)
