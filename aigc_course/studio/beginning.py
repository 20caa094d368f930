"""Where a walk begins: in pure noise, at a picture taken back towards noise, or on a canvas that is partly new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import runtime
from aigc_course.studio import canvas, walk
from aigc_course.studio.dials import steps_of, strength_of
from aigc_course.studio.events import StudioError
from aigc_course.studio.job import JobSpec

ECHO = 0.02  # of the picture in the noise that a strong variation begins from
Find = Callable[[str], Image.Image]  # a picture of the gallery by its id


def _unchanged(pictures: Tensor) -> Tensor:
    return pictures


@dataclass(frozen=True, eq=False)
class Start:
    """Latents (B, C, h, w), from which share of the way, what is kept, and how pictures are finished."""

    x_t: Tensor
    strength: float
    kept: walk.Kept | None = None
    finish: Callable[[Tensor], Tensor] = _unchanged


def begin(pipe: Any, spec: JobSpec, find: Find) -> Start:
    """The start of a job's walk."""
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    generators = [runtime.generator(seed) for seed in spec.seeds]
    if spec.action in ("inpaint", "pan", "zoom"):
        return _on_canvas(pipe, spec, _laid(spec, find(spec.parent), side), generators)
    given, strength = _given(spec, side, find), strength_of(spec)
    if not given or (strength >= 1 and spec.action != "vary"):  # nothing of a picture would be left
        noise = walk.fresh_noise(pipe, generators, given[0].size if given else _size(spec, side))
        return Start(noise * getattr(pipe.scheduler, "init_noise_sigma", 1.0), 1.0)
    x0 = _encoded(pipe, given, generators)  # its draws come before those of the noise, as in diffusers' img2img
    noise = walk.fresh_noise(pipe, generators, given[0].size)
    if strength >= 1:  # so faint that a new picture comes, so clear that it has something of the old
        return Start((1 - ECHO**2) ** 0.5 * noise + ECHO * x0, 1.0)
    return Start(_renoised(pipe, spec, x0, noise, strength), strength)


def _given(spec: JobSpec, side: int, find: Find) -> list[Image.Image]:
    """The pictures that a job starts from, at one size."""
    if spec.action in ("vary", "img2img"):
        return [canvas.workable(find(spec.parent), side)]
    size = _size(spec, side)
    return [canvas.fitted(find(one), size) for one in spec.images]


def _size(spec: JobSpec, side: int) -> tuple[int, int]:
    """Of the pictures, in pixels, if the model can paint so many."""
    w, h = spec.size(side)
    if w * h > 4 * side**2:
        raise StudioError(f"{w} × {h} pixels are too many for this model", f"stay below {2 * side} × {2 * side}")
    return w, h


def _encoded(pipe: Any, given: list[Image.Image], generators: list[torch.Generator]) -> Tensor:
    """The latents of one picture for every picture of the grid; several are mixed along the sphere."""
    first, *others = [
        walk.encode(pipe, canvas.to_tensor(one).expand(len(generators), -1, -1, -1), generators) for one in given
    ]
    for number, other in enumerate(others, start=2):
        first = torch.stack([walk.slerp(a, b, 1 / number) for a, b in zip(first, other, strict=True)])
    return first


def _renoised(pipe: Any, spec: JobSpec, x0: Tensor, noise: Tensor, strength: float) -> Tensor:
    scheduler, times = walk.timetable(pipe, steps_of(spec), strength)
    return scheduler.add_noise(x0, noise, times[:1])


def _laid(spec: JobSpec, parent: Image.Image, side: int) -> canvas.Canvas:
    """The canvas of an action that keeps a part of its parent."""
    if spec.action == "inpaint":
        return canvas.for_inpaint(canvas.workable(parent, side), spec.region, parent.size)
    if spec.action == "zoom":
        return canvas.for_zoom(canvas.workable(parent, side), spec.zoom)
    window = spec.size(side)[spec.direction in ("up", "down")]
    return canvas.for_pan(parent, spec.direction, window, side)


def _on_canvas(pipe: Any, spec: JobSpec, laid: canvas.Canvas, generators: list[torch.Generator]) -> Start:
    """A walk that paints only where the canvas is new: elsewhere each step is put back to the known picture."""
    h, w = laid.picture.shape[-2:]
    x0 = walk.encode(pipe, laid.picture[None]).expand(spec.count, -1, -1, -1)
    noise, strength = walk.fresh_noise(pipe, generators, (w, h)), strength_of(spec)
    x_t = noise if strength >= 1 else _renoised(pipe, spec, x0, noise, strength)
    return Start(x_t, strength, walk.Kept(x0, noise, laid.mask.to(x0)), laid.finish)
