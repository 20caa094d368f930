"""All pictures of the gallery, newest first, page by page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks
from aigc_course.studio.events import StudioError
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.stage import Pace, alt_of

PAGE, THUMB, KEPT = 12, 112, 240  # pictures of a page; pixels of a small picture; small pictures that are remembered


class History:
    """Pages of small pictures; what is on disk is what is shown, also after a restart.

    on: makes a button of words, name, what it does, tip;  choose: called with the id of a picture.
    """

    def __init__(self, gallery: Gallery, on: Callable[..., widgets.Button], choose: Callable[[str], Any]):
        self.gallery, self.page, self._choose, self._pace = gallery, 0, choose, Pace()
        self._thumbs: OrderedDict[str, str] = OrderedDict()
        self._shown: list[Entry] = []
        self.pictures = [looks.html(name="thumb-picture") for _ in range(PAGE)]
        self.picks = [on("", f"pick-{k + 1}", lambda k=k: self._pick(k), "choose this picture") for k in range(PAGE)]
        both = zip(self.pictures, self.picks, strict=True)
        self.places = [self._place(k, picture, pick) for k, (picture, pick) in enumerate(both, start=1)]
        self.newer = on("Newer", "newer", lambda: self.turn(-1), "the page of newer pictures")
        self.older = on("Older", "older", lambda: self.turn(1), "the page of older pictures")
        self.where = looks.html(name="page")
        again = on("Read the folder again", "refresh", self.reload, "look for pictures that came from elsewhere")
        sheet = looks.named(widgets.VBox(self.places), "history-pictures")
        self.box = looks.named(widgets.VBox([looks.row(self.newer, self.older, again, self.where), sheet]), "history")
        self.show()

    def _place(self, number: int, picture: Any, pick: Any) -> Any:
        pick.layout.width = "100%"
        return looks.named(looks.named(widgets.VBox([picture, pick]), f"thumb-{number}"), "thumb")

    # --- paging ---

    def turn(self, pages: int) -> None:
        """To older pages, or to newer ones."""
        self.page += pages
        self.show()

    def reload(self) -> None:
        """Read the folder again, as when another notebook writes to it."""
        self.gallery.refresh()
        self.show()

    def follow(self, busy: bool) -> None:
        """After a job: at once if nothing waits, else at most once a second."""
        if self._pace.due("jobs", 1.0) or not busy:
            self.show()

    def show(self) -> None:
        """The page as it is now."""
        entries = self.gallery.entries[::-1]
        last = max(0, (len(entries) - 1) // PAGE)
        self.page = min(max(0, self.page), last)
        self._shown = entries[self.page * PAGE : (self.page + 1) * PAGE]
        for k in range(PAGE):
            self._fill(k, self._shown[k] if k < len(self._shown) else None)
        self.newer.disabled, self.older.disabled = self.page == 0, self.page == last
        said = f"page {self.page + 1} of {last + 1}, {len(entries)} pictures" if entries else "no pictures yet"
        self.where.value = looks.sentence(said, "aigc-quiet")

    def _fill(self, k: int, entry: Entry | None) -> None:
        looks.show_if(self.places[k], entry is not None)
        if entry is None:
            self.pictures[k].value = ""
            return
        self.picks[k].description = f"Choose {int(entry.id[:-9])}"
        self.pictures[k].value = self._thumb(entry)

    def _thumb(self, entry: Entry) -> str:
        """A small picture as HTML, made once."""
        if entry.id not in self._thumbs:
            self._thumbs[entry.id] = self._drawn(entry)
            while len(self._thumbs) > KEPT:
                self._thumbs.popitem(last=False)
        return self._thumbs[entry.id]

    def _drawn(self, entry: Entry) -> str:
        try:
            picture = self.gallery.picture(entry.id)
        except (ValueError, OSError, StudioError) as error:
            return looks.sentence(f"it cannot be shown: {error}", "aigc-quiet")
        picture.thumbnail((2 * THUMB, 2 * THUMB))
        words = entry.spec.words if entry.spec else "from a file"
        return looks.figure(looks.picture_url(picture, "JPEG"), alt_of(entry), words)

    def _pick(self, k: int) -> None:
        if k < len(self._shown):
            self._choose(self._shown[k].id)
