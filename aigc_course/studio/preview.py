"""A quick, rough look at a latent: the best linear map to pixels, measured once on a few drawings."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import scenes
from aigc_course.studio import canvas, walk


class Preview:
    """Clean latents to small pictures in about a millisecond: each place becomes its own pixels, by one matrix.

    The autoencoder's decoder takes as long as a step or two of the walk; this map takes none of it to speak of, as
    the previews of the well-known interfaces do.  matrix: (C + 1, 3 · p · p), p × p pixels for each place.
    """

    def __init__(self, matrix: Tensor, pixels: int):
        self.matrix, self.pixels = matrix, pixels

    @classmethod
    @torch.no_grad()
    def fit(cls, pipe: Any, drawings: int = 12, pixels: int = 4) -> Preview:
        """Least squares from the latents of drawings to their pixels."""
        side = pipe.unet.config.sample_size * pipe.vae_scale_factor
        drawn = scenes.pictures(scenes.samples(drawings), side)
        z = torch.cat([walk.encode(pipe, some) for some in drawn.split(8)]).float().cpu()
        small = torch.nn.functional.interpolate(drawn, scale_factor=pixels / pipe.vae_scale_factor, mode="area")
        patches = torch.nn.functional.pixel_unshuffle(small, pixels)  # (B, 3 p p, h, w)
        x, y = _rows(z), patches.permute(0, 2, 3, 1).flatten(0, 2)
        return cls(torch.linalg.lstsq(x, y).solution, pixels)

    @torch.no_grad()
    def __call__(self, x0: Tensor) -> list[Image.Image]:
        """(B, C, h, w) to pictures of h · p × w · p pixels."""
        b, _, h, w = x0.shape
        patches = (_rows(x0.float().cpu()) @ self.matrix).view(b, h, w, -1).permute(0, 3, 1, 2)
        return canvas.to_pictures(torch.nn.functional.pixel_shuffle(patches, self.pixels))


def _rows(z: Tensor) -> Tensor:
    """Each place of each latent, and a 1: (B · h · w, C + 1)."""
    rows = z.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
