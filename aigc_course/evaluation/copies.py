"""Whether a picture was learnt by heart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each picture, which training picture is most like it, and how far that is.  Both (B,)."""

    index: Tensor
    distance: Tensor


def nearest(pictures: Tensor, training_pictures: Tensor, side: int = 16) -> Nearest:
    """Look for copies: the training picture that differs least, when both are shrunk to side × side pixels.

    The distance is the root mean square difference of a pixel; only against that of fresh drawings, which
    cannot be copies, does it tell anything.  pictures: (B, 3, H, W);  training_pictures: (N, 3, H, W).
    """
    mine, theirs = (F.adaptive_avg_pool2d(p.float(), side).flatten(1) for p in (pictures, training_pictures))
    apart = torch.cdist(mine, theirs, compute_mode="donot_use_mm_for_euclid_dist") / mine.shape[1] ** 0.5
    distance, index = apart.min(1)  # apart: (B, N)
    return Nearest(index, distance)
