"""What every drawing returns, a finished PNG with alt text; and the page, colours and units all share."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from PIL import Image

from aigc_course.plotting import png

CARD = "#fcfbf8"  # opaque: a figure looks the same on a light page and on a dark one
INK = "#2f3542"
MUTED = "#6a7180"
RULE = "#dcd8cf"
SERIES = ("#3a6ea5", "#d07a2d", "#4a9468", "#b9526b", "#7a67ac", "#36929b", "#a58a2a", "#747b88")
UNITS = 72  # matplotlib's points to the inch: at this many dots to the inch, sizes are pixels of the page


@dataclass(frozen=True)
class Figure:
    """A closed picture.  As the last line of a cell it is shown once, its alt text in the cell's metadata.

    It keeps bytes and no drawing, so no backend can draw it a second time, crop it or drop the alt text.
    Drawings finer than the page (`sharpness` 2) are shown at half their size, crisp on dense screens.
    """

    png: bytes = field(repr=False)
    alt: str
    source: str = field(default="", repr=False)
    sharpness: int = field(default=1, repr=False)

    @property
    def image(self) -> Image.Image:
        """The pixels, as an RGB picture."""
        return Image.open(io.BytesIO(self.png)).convert("RGB")

    def save(self, path: str | Path) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png)

    def _repr_mimebundle_(self, include=None, exclude=None):
        width, height = (side // self.sharpness for side in self.image.size)
        words = f"{self.alt}\n\n{self.source}".strip()
        metadata = {"alt": self.alt, "width": width, "height": height}
        return {"image/png": self.png, "text/plain": words}, {"image/png": metadata}


def page(width: float, height: float, sharpness: int = 1) -> Canvas:
    """An empty card of width × height pixels, on which font sizes and line widths are in pixels too."""
    return Canvas(figsize=(math.ceil(width) / UNITS, math.ceil(height) / UNITS), dpi=UNITS * sharpness, facecolor=CARD)


def finish(canvas: Canvas, alt: str, source: str = "") -> Figure:
    """Draw once, encode, and let the canvas go."""
    if not alt.strip():
        raise ValueError("a figure needs alt text: one sentence for a reader who cannot see it")
    agg = FigureCanvasAgg(canvas)
    agg.draw()
    pixels = Image.fromarray(np.asarray(agg.buffer_rgba())[..., :3].copy())
    return Figure(png.encode(pixels), alt.strip(), source.strip(), round(canvas.dpi / UNITS))
