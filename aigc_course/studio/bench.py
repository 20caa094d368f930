"""One chosen picture, of the grid or of the history, and all that can be done with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.dials import STRENGTHS, STRONG
from aigc_course.studio.gallery import Entry
from aigc_course.studio.job import DIRECTIONS, JobSpec, Part
from aigc_course.studio.prompt import parse, to_line
from aigc_course.studio.stage import alt_of

LONG = {"description_width": "88px"}
WIDTH = "100%"


class Bench:
    """The chosen picture.  board: what it belongs to (`desk`, `ask`, `go_on`, `on`, `say`, `form`, `why`, …)."""

    def __init__(self, board: Any):
        self.board, self.entry, self.caption = board, None, ""
        self.picture, self.about = looks.html(name="bench-picture"), looks.html(name="quiet")
        self.captions = [self._caption(k) for k in (1, 2, 3, 4)]
        left = widgets.VBox([self.picture, self.about], layout=widgets.Layout(flex="1 1 220px", max_width="340px"))
        right = widgets.VBox(self._groups(), layout=widgets.Layout(flex="2 1 300px"))
        columns = looks.row(left, right)
        columns.layout.align_items, columns.layout.grid_gap = "flex-start", "16px"
        self.box = looks.named(widgets.VBox([looks.heading("The chosen picture"), columns]), "bench")
        looks.show_if(self.box, False)

    # --- which picture ---

    def choose(self, picture: str) -> None:
        """Put a picture of the gallery here."""
        self.entry = self.board.desk.gallery.entry(picture)
        self.size = self.board.desk.gallery.picture(picture).size
        self.remix_words.value = self.entry.spec.words if self.entry.spec else ""
        self._fit_region()
        self._forget_captions()
        self._show()
        looks.show_if(self.box, True)

    def close(self) -> None:
        """Put it away."""
        self.entry = None
        looks.show_if(self.box, False)

    def _show(self) -> None:
        entry, gallery = self.entry, self.board.desk.gallery
        url = looks.picture_url(gallery.path(entry.id).read_bytes())
        caption = f"{entry.id} · {self.size[0]} × {self.size[1]} pixels"
        alt = alt_of(entry) + f"; the captioner sees: {self.caption}" * bool(self.caption)
        self.picture.value = looks.figure(url, alt, caption, self._frame())
        self.about.value = looks.sentence(f"Prompt: {to_line(entry.spec)}" if entry.spec else "Taken in from a file.")

    def _frame(self) -> str:
        """The rectangle to be painted anew, over the picture, once it is not the whole."""
        if not self._has_region():
            return ""
        (left, right), (top, bottom), (w, h) = self.across.value, self.down.value, self.size
        place = f"left:{left / w:.2%};top:{top / h:.2%};width:{(right - left) / w:.2%};height:{(bottom - top) / h:.2%}"
        return f'<div class="aigc-region" style="{place}"></div>'

    # --- the controls, group by group ---

    def _groups(self) -> list[Any]:
        on = self.board.on
        use = looks.row(
            on("As image prompt", "use-image", lambda: self._use("add_image"), "begin the next pictures from this one"),
            on("As style", "use-style", lambda: self._use("add_style"), "carry its style over to the next pictures"),
            on("As prompt", "use-prompt", self._use_prompt, "put its prompt and settings into the form"),
            on("Add to blend", "add-to-blend", lambda: self.board.blend.add(self.entry.id), "one of 2 to 5"),
        )
        look = looks.row(
            on("Describe", "describe", self._describe, "four captions by the captioner"),
            looks.button("Why?", "bench-why", lambda: self.board.why(self.entry.id), "what made it so"),
            on("Upscale", "bench-upscale", lambda: self._ask(action="upscale"), "four times as many pixels each way"),
            on("Close", "bench-close", self.close, "put the chosen picture away"),
        )
        return [
            looks.heading("Use it"), use, look, widgets.VBox(self.captions),
            looks.heading("Change it"), self._remix(), self._redraw(),
            looks.heading("Look beyond its edges"), self._pan(), self._zoom(),
            looks.heading("Paint a rectangle anew"), self._inpaint(),
        ]  # fmt: skip

    def _remix(self) -> Any:
        self.remix_words = looks.named(_words("Other words"), "remix-words", "what the variation should show")
        return looks.row(self.remix_words, self.board.on("Remix", "remix", self._do_remix, "vary it with these words"))

    def _redraw(self) -> Any:
        self.strength = _share("How much", 0.05, 1, STRENGTHS["img2img"])
        looks.named(self.strength, "redraw-strength", "how far back to noise: 1 leaves nothing of the picture")
        return looks.row(self.strength, self.board.on("Redraw", "redraw", self._do_redraw, "image to image"))

    def _pan(self) -> Any:
        def pan(way: str) -> Any:
            tip = f"paint on, {way} of the picture" if way in ("left", "right") else f"paint on, {way}wards"
            return self.board.on(f"Pan {way}", f"pan-{way}", partial(self._ask, action="pan", direction=way), tip)

        return looks.row(*map(pan, DIRECTIONS))

    def _zoom(self) -> Any:
        self.zoom = looks.named(_share("Wider view", 1, 2, 1.5), "zoom", "how many times wider the view gets")
        tip = "paint what surrounds the picture"
        return looks.row(self.zoom, self.board.on("Zoom out", "zoom-out", self._do_zoom, tip))

    def _inpaint(self) -> Any:
        self.across = looks.named(_range("Left, right"), "inpaint-across", "left and right edge, in pixels")
        self.down = looks.named(_range("Top, bottom"), "inpaint-down", "upper and lower edge, in pixels")
        for slider in (self.across, self.down):
            slider.observe(lambda change: self.entry and self._show(), "value")
        self.inpaint_words = looks.named(_words("With words"), "inpaint-words", "what to paint; empty: its prompt")
        do = self.board.on("Paint anew", "inpaint", self._do_inpaint, "paint only inside the rectangle")
        return widgets.VBox([self.across, self.down, looks.row(self.inpaint_words, do)])

    def _fit_region(self) -> None:
        """Sliders as long as the picture's sides, over its middle."""
        entry, self.entry = self.entry, None  # no picture is drawn while they move
        for slider, side in ((self.across, self.size[0]), (self.down, self.size[1])):
            slider.value, slider.max = (0, min(side, slider.max)), side
            slider.value = (0, side)
        self.entry = entry

    def _has_region(self) -> bool:
        return (self.across.value, self.down.value) != ((0, self.size[0]), (0, self.size[1]))

    # --- what they do ---

    def _ask(self, **changes: Any) -> None:
        self.board.go_on(self.entry.id, **changes)

    def _use(self, way: str) -> None:
        getattr(self.board.form, way)(self.entry.id)
        self.board.say("It stands in the prompt line now. Press Generate.")

    def _use_prompt(self) -> None:
        if self.entry.spec is None:
            raise ValueError("this picture came from a file and has no prompt here; press Describe for one")
        self.board.form.line = to_line(self.entry.spec)
        self.board.say("Its prompt and settings are in the form now; change something, or press Generate.")

    def _do_remix(self) -> None:
        self._ask(action="vary", strength=STRONG, prompt=_prompt(self.remix_words.value))

    def _do_redraw(self) -> None:
        self._ask(action="img2img", strength=self.strength.value)

    def _do_zoom(self) -> None:
        self._ask(action="zoom", zoom=self.zoom.value)

    def _do_inpaint(self) -> None:
        if not self._has_region():
            raise ValueError("the rectangle is the whole picture; move the two sliders, or press Redraw")
        (left, right), (top, bottom) = self.across.value, self.down.value
        words = self.inpaint_words.value.strip()
        changes = {"prompt": _prompt(words)} if words else {}
        self._ask(action="inpaint", region=(left, top, right, bottom), **changes)

    # --- captions ---

    def _caption(self, k: int) -> widgets.Button:
        """A caption as a button that makes it the prompt."""
        one = self.board.on("", f"caption-{k}", lambda: self._use_caption(k), "make this caption the prompt")
        one.layout.max_width = WIDTH
        looks.show_if(one, False)
        return one

    def _use_caption(self, k: int) -> None:
        self.board.form.use_words(self.captions[k - 1].description)
        self.board.say("The caption is the prompt now. Press Generate.")

    def _forget_captions(self) -> None:
        self.caption = ""
        for one in self.captions:
            looks.show_if(one, False)

    def _describe(self) -> None:
        entry = self.entry
        self.board.ask(JobSpec(action="describe", parent=entry.id), lambda told: self._described(entry, told))

    def _described(self, entry: Entry, told: tuple[str, ...]) -> None:
        """Four captions; unless another picture has been chosen meanwhile."""
        if self.entry is not entry:
            return
        for one, caption in zip(self.captions, told):
            one.description = caption
            looks.show_if(one, True)
        self.caption = told[0]
        self._show()


def _prompt(words: str) -> tuple[Part, ...]:
    return parse(words)[0].prompt


def _words(name: str) -> widgets.Text:
    return widgets.Text(description=name, style=LONG, layout=widgets.Layout(flex="1 1 220px", width="auto"))


def _share(name: str, least: float, most: float, value: float) -> widgets.FloatSlider:
    layout = widgets.Layout(flex="1 1 220px", width="auto")
    given = dict(description=name, min=least, max=most, step=0.05, value=value, style=LONG, layout=layout)
    return widgets.FloatSlider(**given, continuous_update=False)


def _range(name: str) -> widgets.IntRangeSlider:
    layout = widgets.Layout(width="auto")
    given = dict(description=name, min=0, max=128, step=8, value=(0, 128), style=LONG, layout=layout)
    return widgets.IntRangeSlider(**given, continuous_update=False)
