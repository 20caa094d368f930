"""How alike two pictures are, and how sure a mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aigc_course import runtime


def psnr(pictures: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels:  10 log₁₀(2² / mean squared error); equal pictures: infinite.

    pictures, others: (B, C, H, W) in [-1, 1], a range 2 wide  ->  (B,).
    """
    if pictures.shape != others.shape:
        shapes = f"{tuple(pictures.shape)} and {tuple(others.shape)}"
        raise ValueError(f"pictures of shapes {shapes}: to compare pixel with pixel, bring them to one shape")
    error = (pictures.float() - others.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


@dataclass(frozen=True, repr=False)
class Interval:
    """A mean, and the range in which the mean of all that could have been measured is likely to lie."""

    mean: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self:.2f}"

    def __format__(self, form: str) -> str:
        return "{0:{3}} [{1:{3}}, {2:{3}}]".format(self.mean, self.low, self.high, form or ".2f")


def interval(values: Tensor | Sequence[float], confidence: float = 0.95, seed: int = 0, rounds: int = 2000) -> Interval:
    """How sure a mean is: draw as many values again from those we have, with repeats; see how the mean moves.

    The percentile bootstrap, Efron 1979.  Equal values never move: after n successes and no failure read
    the point as "failures below 3 / n".  values: n numbers, or yes and no.
    """
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu").flatten()
    if not len(values):
        raise ValueError("no values to average; was the list filtered until nothing was left?")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is a share: choose it between 0 and 1, such as 0.95")
    source, n = runtime.generator(seed), len(values)
    means = [values[torch.randint(n, (n,), generator=source)].mean() for _ in range(rounds)]
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    return Interval(values.mean().item(), *torch.stack(means).quantile(ends).tolist())
