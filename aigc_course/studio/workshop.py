"""What takes several pictures, a whole line or a file: blend, shorten, replay; and which model draws."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.cast import MODEL
from aigc_course.studio.job import JobSpec
from aigc_course.studio.replaying import Replay, replaying
from aigc_course.studio.savings import HUB, Savings
from aigc_course.studio.stage import alt_of
from aigc_course.studio.telling import Importance

FEWEST, MOST = 2, 5  # pictures of a blend
LEAN = Savings(denoise_one=True, decode_one=True)


class Blend:
    """A tray of chosen pictures, and their mixture."""

    def __init__(self, board: Any):
        self.board, self.chosen = board, []
        self.tray = looks.html(name="blend-tray")
        start = board.on("Blend", "blend", self._blend, "one picture out of all of these")
        clear = board.on("Empty the tray", "blend-clear", self._clear, "take all pictures out")
        self.box = widgets.VBox([looks.heading("Blend"), self.tray, looks.row(start, clear)])
        self._show()

    def add(self, picture: str) -> None:
        """One more picture, if it is not there yet."""
        if picture not in self.chosen and len(self.chosen) == MOST:
            raise ValueError(f"the tray holds {MOST} pictures, which is the most; blend them, or empty it")
        self.chosen = [*dict.fromkeys([*self.chosen, picture])]
        self._show()
        self.board.say(f"In the tray: {len(self.chosen)} of {FEWEST} to {MOST} pictures; see “Words and files”.")

    def _clear(self) -> None:
        self.chosen = []
        self._show()

    def _show(self) -> None:
        if not self.chosen:
            text = f"Choose {FEWEST} to {MOST} pictures with “More …” or in the history, and press “Add to blend”."
            self.tray.value = looks.sentence(text, "aigc-quiet")
            return
        self.tray.value = f'<div class="aigc-tray">{"".join(map(self._small, self.chosen))}</div>'

    def _small(self, picture: str) -> str:
        gallery = self.board.desk.gallery
        shown = gallery.picture(picture)
        shown.thumbnail((96, 96))
        return looks.figure(looks.picture_url(shown, "JPEG"), alt_of(gallery.entry(picture)), picture.partition("-")[0])

    def _blend(self) -> None:
        if len(self.chosen) < FEWEST:
            there = f"in the tray are {len(self.chosen)}"
            raise ValueError(f"a blend takes {FEWEST} to {MOST} pictures, and {there}; add more")
        self.board.ask(JobSpec(action="blend", images=tuple(self.chosen), count=self.board.form.count.value))


class Shorten:
    """How much each word of the prompt line matters."""

    def __init__(self, board: Any):
        self.board, self.shorter = board, ""
        self.result = looks.html(name="shorten-result")
        ask = board.on("Weigh the words", "shorten", self._shorten, "measure how much each word moves the picture")
        self.use = board.on("Use the shorter prompt", "use-shorter", self._use, "leave the idle words out")
        looks.show_if(self.use, False)
        self.box = widgets.VBox([looks.heading("Shorten the prompt"), looks.row(ask), self.result, self.use])

    def _shorten(self) -> None:
        self.board.ask(self.board.form.spec.with_(action="shorten"), self._told)

    def _told(self, found: Importance) -> None:
        rows = [_bar(word, share) for word, share in zip(found.words, found.shares, strict=True)]
        shorter = looks.sentence(f"Shorter: {found.shorter}")
        self.result.value = f'<div class="aigc-bars">{"".join(rows)}</div>{shorter}'
        self.shorter = found.shorter
        looks.show_if(self.use, bool(found.shorter))

    def _use(self) -> None:
        self.board.form.use_words(self.shorter)
        self.board.say("The shorter prompt is in the line. Press Generate.")


def _bar(word: str, share: float) -> str:
    bar = f'<span class="aigc-bar" style="width:{min(1.0, max(0.0, share)):.0%}"></span>'
    return f"<span>{looks.escape(word)}</span>{bar}<span>{share:.0%}</span>"


class Files:
    """A PNG from the reader's disk: made again, or taken in as material."""

    def __init__(self, board: Any):
        self.board = board
        self.upload = widgets.FileUpload(accept=".png", multiple=False, description="Choose a PNG")
        looks.named(self.upload, "upload", "a picture that the Studio has saved, or any PNG")
        self.result = looks.html(name="replay-result")
        again = board.on("Replay it", "replay", self._replay, "make it again from what it says, and compare")
        take = board.on("Take it in", "take-in", self._take_in, "keep it in the history, to be varied or blended")
        self.box = widgets.VBox([looks.heading("A picture file"), looks.row(self.upload, again, take), self.result])

    def _given(self) -> bytes:
        found = uploaded(self.upload.value)
        if not found:
            raise ValueError("there is no file yet; press “Choose a PNG”")
        return found[-1][1]

    def _replay(self) -> None:
        self.board.ask(None, self._told, replaying(self._given(), self.board.desk.engine))

    def _told(self, found: Replay) -> None:
        pair = [looks.figure(looks.picture_url(found.before), "the picture of the file", "from the file")]
        pair.append(looks.figure(looks.picture_url(found.picture), "the picture made again", "made now"))
        said = looks.sentence(f"{found.sentence}.")
        self.board.say(f"The picture made again is {found.sentence}.")
        self.result.value = f'{said}<div class="aigc-pair">{"".join(pair)}</div>'

    def _take_in(self) -> None:
        entry = self.board.desk.gallery.take_in(self._given())
        self.board.history.show()
        self.board.choose(entry.id)
        self.board.say("It is in the history now, and chosen.")


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Names and bytes of a FileUpload, whose value is a dictionary in version 7 of ipywidgets, and a tuple in 8."""
    if isinstance(value, dict):
        return [(str(name), bytes(one["content"])) for name, one in value.items()]
    return [(str(one["name"]), bytes(one["content"])) for one in value]


class Machine:
    """Which model draws, and whether memory is saved: two controls that follow the engine."""

    def __init__(self, board: Any):
        self.board, self._following = board, False
        options = [("tiny", MODEL), *((f"hub: {one}", one) for one in HUB)]
        self.model = widgets.Dropdown(description="Model", options=options, style=looks.LABEL)
        looks.named(self.model, "model", "which model draws from now on; nothing is downloaded here")
        self.lean = widgets.Checkbox(description="Low memory", indent=False)
        looks.named(self.lean, "low-memory", "denoise and decode one picture at a time: less memory, more time")
        self.model.observe(lambda change: self._switch(model=change["new"]), "value")
        self.lean.observe(lambda change: self._switch(savings=LEAN if change["new"] else Savings()), "value")
        self.follow()

    def _switch(self, **what: Any) -> None:
        if not self._following:
            self.board.attempt(lambda: self.board.join(self.board.desk.switch(**what), self.board.say))

    def follow(self) -> None:
        """As the engine is now, also after a switch that failed."""
        engine, self._following = self.board.desk.engine, True
        try:
            drawing = getattr(engine, "drawing", MODEL)
            if drawing in [value for _, value in self.model.options]:
                self.model.value = drawing
            self.lean.value = getattr(engine, "savings", Savings()) != Savings()
        finally:
            self._following = False
