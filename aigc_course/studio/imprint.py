"""What a saved notebook keeps of the Studio: a sheet of the newest pictures, renewed after each job."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any
from uuid import uuid4

from IPython.display import display, update_display
from PIL import Image, ImageOps

from aigc_course import plotting
from aigc_course.plotting.figure import CARD
from aigc_course.studio.gallery import Gallery
from aigc_course.studio.stage import Pace, told

VIEW = "application/vnd.jupyter.widget-view+json"
NEWEST, RENEWED = 8, 0.5  # pictures of the sheet; times a second that it is drawn again, at most
EMPTY = "The Studio, without pictures yet; run this cell to use it"


def contact_sheet(gallery: Gallery, most: int = NEWEST) -> plotting.Figure | None:
    """The newest pictures as one figure with alt text, for where no kernel runs; None where there are none."""
    found = gallery.entries[: -most - 1 : -1]
    if not found:
        return None
    square = (128, 128)
    pictures = [ImageOps.pad(gallery.picture(one.id), square, Image.Resampling.LANCZOS, CARD) for one in found]
    titles = [f"seed {one.seed}" if one.seed is not None else "from a file" for one in found]
    groups = Counter(told(one.spec) if one.spec else "from files" for one in found)
    alt = f"The Studio's newest pictures: {'; '.join(f'{count} × {words}' for words, count in groups.items())}"
    return plotting.show_images(pictures, titles, columns=min(4, len(found)), alt=alt)


class Imprint:
    """Two outputs of a cell: the live controls, and below them the sheet, which the style sheet hides while they live.

    In one output the sheet would never be seen: JupyterLab shows an error in place of controls whose kernel has gone.
    """

    def __init__(self, gallery: Gallery, model: str):
        self.gallery, self.model = gallery, model
        self._name, self._pace, self._displayed = f"aigc-{uuid4().hex}", Pace(), False

    def live(self) -> dict[str, Any]:
        """The controls, as a mime bundle."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model}
        return {VIEW: view, "text/plain": "The Studio; run this cell to use it"}

    def sheet(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The newest pictures, as a mime bundle and its metadata."""
        found = contact_sheet(self.gallery)
        return ({"text/plain": EMPTY}, {}) if found is None else found._repr_mimebundle_()

    def display(self) -> None:
        """Put both into the output of the cell."""
        display(self.live(), raw=True)
        data, metadata = self.sheet()
        display(data, metadata=metadata, raw=True, display_id=self._name)
        self._displayed = True

    def renew(self, rate: float = RENEWED) -> None:
        """Draw the sheet again, where it is displayed, unless that was done within 1 / rate seconds."""
        if self._displayed and self._pace.due("sheet", rate):
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # a picture that is just being deleted
                data, metadata = self.sheet()
                update_display(data, metadata=metadata, raw=True, display_id=self._name)
