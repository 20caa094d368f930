"""Pictures in rows and columns, at their own pixels; and the one conversion between tensors and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from aigc_course.plotting import letters
from aigc_course.plotting.figure import CARD, INK, MUTED, Canvas, Figure, finish, page

PAD, GAP, ARROW = 14, 8, 30
TITLE, LINES = 11, 5  # pixels; lines under a picture at most
WIDE, WIDEST = (
    900,
    1120,
)  # pixels of a row with and without titles; browsers shrink what is wider, words and all
SMALLEST = 112  # smaller pictures are drawn with larger pixels, so that one can see them
LOUDEST = 8.0  # pure noise reaches about 5; a float picture in 0..255 goes far beyond


def to_array(images) -> np.ndarray:
    """Pictures of any kind to uint8 (B, H, W, 3): the one place where [-1, 1] becomes 0..255.

    images: float tensor or array (B, C, H, W) or (C, H, W) in [-1, 1], C = 1 or 3; uint8 array (B, H, W, 3)
    or (H, W, 3); a PIL image; or a list of these, of one size.  What is beyond [-1, 1] is clipped.
    """
    if isinstance(images, (list, tuple)):
        arrays = [to_array(image) for image in images]
        sizes = sorted({array.shape[1:3] for array in arrays})
        if len(sizes) != 1:
            raise ValueError(f"pictures of one size are needed, but here are (H, W) = {sizes}; resize them first")
        return np.concatenate(arrays)
    if isinstance(images, Image.Image):
        return np.asarray(images.convert("RGB"))[None]
    if hasattr(images, "detach"):
        images = images.detach().cpu()
        images = images.float() if images.is_floating_point() else images  # numpy has no bfloat16
    images = np.asarray(images)
    return _from_bytes(images) if images.dtype == np.uint8 else _from_floats(images)


def _from_bytes(images: np.ndarray) -> np.ndarray:
    if images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise ValueError(f"uint8 pictures have the shape (B, H, W, 3) or (H, W, 3), but this is {images.shape}")
    return images.reshape(-1, *images.shape[-3:])


def _from_floats(images: np.ndarray) -> np.ndarray:
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"pictures are floats in [-1, 1] or uint8, but this is {images.dtype}; use x / 127.5 - 1")
    if images.ndim not in (3, 4):
        raise ValueError(f"float pictures have the shape (B, C, H, W) or (C, H, W), but this is {images.shape}")
    images = images.reshape(-1, *images.shape[-3:])
    if images.shape[1] not in (1, 3):
        hint = "is this a latent? decode it, or show one channel: z[:, :1]"
        raise ValueError(f"a picture has 1 or 3 channels, but {images.shape} has {images.shape[1]}; {hint}")
    if not np.isfinite(images).all():
        raise ValueError("there are NaN or infinite values in the pictures; look where they first appear")
    if np.abs(images).max(initial=0) > LOUDEST:
        low, high = images.min(), images.max()
        raise ValueError(f"values from {low:.0f} to {high:.0f} are not a picture in [-1, 1]; use x / 127.5 - 1")
    pixels = ((images.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return np.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:])).transpose(0, 2, 3, 1)


def to_pil(image) -> Image.Image:
    """One picture, of any kind that `to_array` takes, to a PIL image, to save or to resize."""
    pixels = to_array(image)
    if len(pixels) != 1:
        raise ValueError(f"to_pil takes one picture, but here are {len(pixels)}; choose one, as in images[0]")
    return Image.fromarray(np.ascontiguousarray(pixels[0]))


def show_images(
    images,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    alt: str | None = None,
    scale: float = 1.0,
) -> Figure:
    """Pictures in a grid, each over its title.

    images: as in `to_array`;  columns: as many as look well, if None;  scale: size on the page, 1 is natural.
    """
    pixels = enlarge(to_array(images), scale)
    count, _, side, _ = pixels.shape
    titles = checked_titles(titles, count)
    columns = columns or _columns(count, ((WIDE if titles else WIDEST) - 2 * PAD + GAP) // (side + GAP))
    return _compose(_Grid(pixels, titles, min(columns, count), GAP), alt or grid_alt(titles, pixels.shape, "Grid"))


def show_strip(images, labels: Sequence[str] | None = None, alt: str | None = None, scale: float = 1.0) -> Figure:
    """As `show_images`, in one row with arrows: a story, such as noise becoming a picture."""
    pixels = enlarge(to_array(images), scale)
    labels = checked_titles(labels, len(pixels))
    return _compose(_Grid(pixels, labels, len(pixels), ARROW), alt or grid_alt(labels, pixels.shape, "Strip"))


def enlarge(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Small pictures get whole multiples of their pixels, so that they stay sharp; then `scale` applies."""
    height, width = pixels.shape[1:3]
    factor = scale * max(1, -(-SMALLEST // max(height, width)))
    if factor == int(factor):
        return pixels.repeat(int(factor), 1).repeat(int(factor), 2)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.LANCZOS)) for each in pixels])


def checked_titles(titles: Sequence[str] | None, count: int) -> list[str]:
    """One string for each picture, or none at all."""
    if titles is not None and (isinstance(titles, str) or len(titles) != count):
        given = "one string" if isinstance(titles, str) else f"{len(titles)} titles"
        raise ValueError(f"{count} pictures need a list of {count} titles, but {given} came")
    return [] if titles is None else [str(title) for title in titles]


def grid_alt(titles: list[str], shape: tuple[int, ...], kind: str) -> str:
    """What a picture grid shows, in words: its titles, or at least how many pictures there are."""
    count = shape[0]
    what = "Picture" if count == 1 else f"{kind} of {count} pictures"
    shown = [title if letters.drawable(title) else f"{i}: {title}" for i, title in enumerate(titles, 1)]
    return f"{what}: {', '.join(shown)}" if any(titles) else f"{what}, without titles"


def _columns(count: int, most: int) -> int:
    """The columns that leave the fewest empty places in a sheet no higher than wide; of equals, the most."""
    least = min(count, most, round(count**0.5 + 0.499))
    return max(range(max(1, least), max(1, min(count, most)) + 1), key=lambda columns: (-(-count % columns), columns))


@dataclass
class _Grid:
    pixels: np.ndarray  # (B, H, W, 3), at the size on the page
    titles: list[str]
    columns: int
    gap: int

    def __post_init__(self):
        count, self.high, self.wide, _ = self.pixels.shape
        shown = [letters.label(title, i) for i, title in enumerate(self.titles, 1)]
        self.lines = [letters.wrap(title, self.wide, TITLE, most=LINES) for title in shown] or [[]] * count
        rows = [self.lines[start : start + self.columns] for start in range(0, count, self.columns)]
        self.under = [letters.height(max(map(len, row)), TITLE) + 3 for row in rows]  # room for each row's titles
        self.tops = [PAD + sum(self.under[:r]) + r * (self.high + GAP) for r in range(len(rows))]

    @property
    def size(self) -> tuple[int, int]:
        width = 2 * PAD + self.columns * self.wide + (self.columns - 1) * self.gap
        return width, round(self.tops[-1] + self.high + self.under[-1] + PAD - 3)

    def corner(self, i: int) -> tuple[int, int]:
        row, column = divmod(i, self.columns)
        return PAD + column * (self.wide + self.gap), round(self.tops[row])


def _compose(grid: _Grid, alt: str) -> Figure:
    """Paste the pixels as they are, then write and draw around them."""
    width, height = grid.size
    sheet = Image.new("RGB", (width, height), CARD)
    canvas = page(width, height)
    for i, picture in enumerate(grid.pixels):
        x, y = grid.corner(i)
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y))
        _write(canvas, grid.lines[i], x + grid.wide / 2, height - y - grid.high - 4)
        if grid.gap == ARROW and i:
            _arrow(canvas, x - ARROW + 7, x - 7, height - y - grid.high / 2)
    canvas.figimage(np.asarray(sheet), zorder=-1)
    return finish(canvas, alt)


def _write(canvas: Canvas, lines: list[str], x: float, top: float) -> None:
    look = {"transform": None, "ha": "center", "va": "top", "color": INK, "parse_math": False}
    for number, line in enumerate(lines):
        canvas.text(x, top - letters.height(number, TITLE), line, font=letters.font(line, TITLE), **look)


def _arrow(canvas: Canvas, start: float, stop: float, y: float) -> None:
    style = {"arrowstyle": "-|>,head_length=4,head_width=2.5", "shrinkA": 0, "shrinkB": 0, "color": MUTED}
    canvas.add_artist(FancyArrowPatch((start, y), (stop, y), transform=None, linewidth=1.3, **style))
