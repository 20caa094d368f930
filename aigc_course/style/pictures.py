"""Any picture to the numbers of the course and back; and photographs that need no network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 16  # pixels a side must have: less holds neither content nor style
PHOTOGRAPHS = {  # name: (file in scikit-image's wheel, who gave it to everyone)
    "astronaut": ("astronaut.png", "NASA, public domain"),
    "brick": ("brick.png", "CC0Textures, CC0"),
    "cat": ("chelsea.png", "Stefan van der Walt, CC0"),
    "clock": ("clock_motion.png", "Stefan van der Walt, public domain"),
    "coffee": ("coffee.png", "Rachel Michetti, CC0"),
    "grass": ("grass.png", "public domain or CC0, see skimage.data.grass"),
    "gravel": ("gravel.png", "CC0Textures, CC0"),
    "hubble": ("hubble_deep_field.jpg", "NASA, public domain"),
    "man with camera": ("camera.png", "Lav Varshney, CC0"),
    "retina": ("retina.jpg", "Mikael Häggström, CC0"),
    "rocket": ("rocket.jpg", "SpaceX, public domain"),
}


def photograph(name: str, side: int | None = None) -> Tensor:
    """A real photograph, or a close view of a surface, from scikit-image's own files: (1, 3, H, W) in [-1, 1].

    name: one of `PHOTOGRAPHS`, all in the public domain or CC0;  side: pixels of the shorter side, None as it lies.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"no photograph called {name!r}; use one of: {', '.join(PHOTOGRAPHS)}")
    found = importlib.util.find_spec("skimage")
    if found is None:
        raise FileNotFoundError("the photographs lie in scikit-image, which is not installed: pip install scikit-image")
    with Image.open(Path(found.submodule_search_locations[0]) / "data" / PHOTOGRAPHS[name][0]) as opened:
        picture = opened.convert("RGB")
    if side:
        times = side / min(picture.size)
        picture = picture.resize([max(side, round(times * n)) for n in picture.size], Image.Resampling.LANCZOS)
    return from_pil(picture)


def from_pil(picture: Image.Image) -> Tensor:
    """A PIL picture of any kind as (1, 3, H, W) in [-1, 1].

    It is turned as its camera was held; what is transparent lies on white; of a moving one the first frame is taken;
    grey, also with 16 bits, becomes three equal colours.
    """
    if getattr(picture, "n_frames", 1) > 1:
        picture.seek(0)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        return _from_deep(np.asarray(picture, dtype=np.float32), picture.mode)
    if picture.has_transparency_data:
        above = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def _from_deep(grey: np.ndarray, mode: str) -> Tensor:
    """Grey numbers beyond a byte, (H, W): 16 bits where they need them, else [0, 1] or a byte."""
    top = 65535 if mode.startswith("I") and grey.max() > 255 else 1 if mode == "F" and grey.max() <= 1 else 255
    return torch.from_numpy(grey / top * 2 - 1).clamp(-1, 1).expand(1, 3, *grey.shape).contiguous()


def to_pil(pictures: Tensor) -> Image.Image:
    """The first of some pictures (B, 3, H, W) in [-1, 1] as PIL's RGB."""
    rows = pictures[0].detach().split(256, dim=1)  # a strip at a time: a large picture is not copied whole
    bytes_ = [row.cpu().float().add(1).mul_(127.5).round_().clamp_(0, 255).byte().permute(1, 2, 0) for row in rows]
    return Image.fromarray(torch.cat(bytes_).contiguous().numpy())


def as_pictures(given: Tensor | Image.Image, what: str = "content") -> Tensor:
    """Pictures in either form as float32 (B, 3, H, W) in [-1, 1]; what cannot be one is refused in a sentence."""
    if isinstance(given, Image.Image):
        given = from_pil(given)
    if not isinstance(given, Tensor):
        raise TypeError(f"{what} is a {type(given).__name__}: give a PIL picture, or a tensor (B, 3, H, W) in [-1, 1]")
    shape = tuple(given.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape:
        raise ValueError(f"{what} has the shape {shape}: give (B, 3, H, W), or (B, 1, H, W) for grey; no alpha")
    if min(shape[2:]) < SMALLEST:
        size = f"{shape[3]} × {shape[2]} pixels"
        raise ValueError(f"{what} of {size} is too small to show anything: give at least {SMALLEST} × {SMALLEST}")
    if not given.is_floating_point() or not (-1.001 <= given.min() and given.max() <= 1.001):
        found = f"{given.dtype}, {given.min().item():.4g} to {given.max().item():.4g}"
        raise ValueError(f"{what} lies in [-1, 1], but this is {found}: bring bytes there with pictures / 127.5 - 1")
    return given.float().expand(-1, 3, -1, -1)


def within(pictures: Tensor, longest: int) -> Tensor:
    """Pictures reduced, if need be, so that no side is longer than `longest`; the aspect is kept."""
    times = longest / max(pictures.shape[2:])
    if times >= 1:
        return pictures
    return resized(pictures, [max(SMALLEST, round(times * n)) for n in pictures.shape[2:]])


def resized(pictures: Tensor, size: list[int] | tuple[int, int]) -> Tensor:
    """Pictures of another height and width, smoothed where they shrink."""
    return F.interpolate(pictures, size=tuple(size), mode="bicubic", antialias=True).clamp(-1, 1)
