"""What a picture is laid on before it is painted further: fitted sizes, and the canvases of inpaint, pan and zoom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from aigc_course import plotting, style
from aigc_course.studio.job import STRIDE, ratio_near, shape_of

LARGEST, LONGEST = 384, 1024  # pixels of a side that the model is asked to paint on, and of a picture made by panning
FEATHER = 8  # pixels over which new paint fades into what is kept


@dataclass(frozen=True, eq=False)
class Canvas:
    """A window to be painted, and the whole that it is put back into.

    picture: (3, H, W) in [-1, 1], the window;  mask: (h, w), 1 at places of the latent that are painted anew;
    whole, place: the finished picture but for the window, and the window's left and top in it.
    """

    picture: Tensor
    mask: Tensor
    whole: Tensor
    place: tuple[int, int] = (0, 0)

    def finish(self, painted: Tensor) -> Tensor:
        """Put painted windows (B, 3, H, W) back; what was kept is kept to the pixel, but for a seam of 8 pixels."""
        fade = _feathered(self.mask, self.picture.shape[-2:]).to(painted)
        mixed = torch.lerp(self.picture.to(painted), painted, fade)
        left, top = self.place
        whole = self.whole.to(painted).expand(len(painted), -1, -1, -1).clone()
        whole[..., top : top + mixed.shape[-2], left : left + mixed.shape[-1]] = mixed
        return whole


def _feathered(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask in pixels, 1 where new, falling to 0 over the first pixels of what is kept."""
    large = mask.float()[None, None].repeat_interleave(STRIDE, -1).repeat_interleave(STRIDE, -2)
    grown = torch.nn.functional.max_pool2d(large, 2 * FEATHER + 1, 1, FEATHER)
    soft = torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(grown, (FEATHER // 2,) * 4, mode="replicate"), FEATHER + 1, 1
    )
    return torch.maximum(soft * grown, large)[0, 0, : size[0], : size[1]]


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    return style.from_pil(picture.convert("RGB"))[0]


def to_pictures(tensors: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] to pictures of 8 bits."""
    return [plotting.to_pil(one.clamp(-1, 1)) for one in tensors]


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture at exactly this size; what is left over at two sides is cut off."""
    from PIL import ImageOps

    same = picture.size == tuple(size)
    return picture.convert("RGB") if same else ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)


def workable(picture: Image.Image, side: int) -> Image.Image:
    """A parent at a size that the model can paint on: its own where that fits, else reduced to about side² pixels."""
    w, h = picture.size
    if max(w, h) <= max(LARGEST, 2 * side) and not (w % STRIDE or h % STRIDE) and w * h <= 4 * side**2:
        return picture.convert("RGB")
    return fitted(picture, shape_of(ratio_near(w, h), side))


# --- three canvases -----------------------------------------------------------------------------------------


def for_inpaint(picture: Image.Image, region: tuple[int, int, int, int], asked: tuple[int, int]) -> Canvas:
    """The picture with a rectangle to be painted anew; region: in pixels of a picture of the size `asked`."""
    whole = to_tensor(picture)
    h, w = whole.shape[-2] // STRIDE, whole.shape[-1] // STRIDE
    x, y = (side / given for side, given in zip(picture.size, asked, strict=True))
    left, right = int(region[0] * x) // STRIDE, -(-int(region[2] * x) // STRIDE)
    top, bottom = int(region[1] * y) // STRIDE, -(-int(region[3] * y) // STRIDE)
    mask = torch.zeros(h, w)
    mask[top:bottom, left:right] = 1
    if not mask.any():
        raise ValueError(f"the region {region} lies beyond the picture of {asked[0]} × {asked[1]}; move it inside")
    return Canvas(whole, mask, whole)


def for_pan(picture: Image.Image, direction: str, window: int, side: int) -> Canvas:
    """The picture made longer at one side by half a window; the window there is painted, its other half is kept."""
    upright, backward = direction in ("up", "down"), direction in ("left", "up")
    along, across = picture.size[::-1] if upright else picture.size
    if across > LARGEST or along > LONGEST or along % STRIDE or across % STRIDE:
        picture = workable(picture, side)
    kept, axis = to_tensor(picture), -2 if upright else -1
    length = kept.shape[axis]
    window = min(window, length) // (2 * STRIDE) * 2 * STRIDE
    more = window // 2
    edge = kept.narrow(axis, 0 if backward else length - 1, 1)
    new = edge.expand(*[more if i == axis % 3 else n for i, n in enumerate(kept.shape)])
    whole = torch.cat([new, kept] if backward else [kept, new], axis)
    start = 0 if backward else whole.shape[axis] - window
    seen = whole.narrow(axis, start, window)
    mask = torch.zeros(seen.shape[-2] // STRIDE, seen.shape[-1] // STRIDE)
    mask.narrow(axis, 0 if backward else more // STRIDE, more // STRIDE).fill_(1)
    return Canvas(seen, mask, whole, (0, start) if upright else (start, 0))


def for_zoom(picture: Image.Image, times: float) -> Canvas:
    """The picture smaller in the middle of a canvas of its size; what surrounds it is painted."""
    w, h = picture.size
    small = [max(STRIDE, min(side - 2 * STRIDE, round(side / times / (2 * STRIDE)) * 2 * STRIDE)) for side in (w, h)]
    left, top = ((side - less) // 2 // STRIDE * STRIDE for side, less in zip((w, h), small, strict=True))
    middle = to_tensor(picture.resize(small, Image.Resampling.LANCZOS))
    around = (left, w - left - small[0], top, h - top - small[1])
    whole = torch.nn.functional.pad(middle[None], around, mode="replicate")[0]
    mask = torch.ones(h // STRIDE, w // STRIDE)
    mask[top // STRIDE : (top + small[1]) // STRIDE, left // STRIDE : (left + small[0]) // STRIDE] = 0
    return Canvas(whole, mask, whole)
