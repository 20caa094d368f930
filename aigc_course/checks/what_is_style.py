"""Exercises of notebook 5.1: spreads out of a Gram matrix, the manner of a region, the slope of a style loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried


def _maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _near(got: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(got.double(), wanted, rtol=1e-4, atol=1e-6, equal_nan=True)


def check_spread(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 5.1.1: the spread of each channel, from the Gram matrix and the means, equation (4)."""
    rows = 2 * _maps(3, 3, 20) + 1
    mean, gram = rows.mean(2), rows @ rows.mT / 20
    got = answer(gram, mean)
    if untried(got, "5.1.1", "replace the dots: take equation (4), and solve it for the spread"):
        return
    square = gram.diagonal(dim1=1, dim2=2)
    if isinstance(got, Tensor) and got.shape == gram.shape:
        raise AssertionError("that is a number for each two channels; the spread needs the diagonal, c = d, alone")
    shaped(got, mean)
    crossed = gram.diagonal() - mean**2
    assert not _near(got, crossed.sqrt()), "the first axis is the batch; say which axes: diagonal(dim1=1, dim2=2)"
    assert not _near(got, square - mean**2), "that is the variance; the spread is its root"
    assert not _near(got, square.sqrt()), "that is the root mean square; the mean is still in it"
    assert not _near(got, (square - mean).sqrt()), "the mean is squared in (4)"
    assert not _near(got, (square + mean**2).sqrt()), "the square of the mean is taken away, not added"
    assert not _near(got, square.sqrt() - mean), "take the squares apart first, and the root last"
    assert not _near(got, (square - mean**2).sqrt() * (20 / 19) ** 0.5), (
        "a spread over all places is divided by their number, not by one less"
    )
    assert _near(got, (square - mean**2).sqrt()), "G_cc is the mean of squares: what has to go for the variance?"
    right("5.1.1")


def check_masked_gram(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 5.1.2: the Gram matrix of some places, each counted as much as its mask says."""
    maps, mask = _maps(2, 3, 4, 5), _maps(2, 1, 4, 5, seed=1)
    got = answer(maps, mask)
    if untried(got, "5.1.2", "replace the dots: a sum over places as in (1), each times its mask; then divide"):
        return
    rows, weight = maps.flatten(2), mask.flatten(2)  # (B, C, N) and (B, 1, N)
    total = weight.sum(2, keepdim=True)
    raw, plain = (weight * rows) @ rows.mT, rows @ rows.mT / 20
    if isinstance(got, Tensor) and got.shape == (2, 20, 20):
        raise AssertionError("that compares places with places; compare channels: (C, N) @ (N, C)")
    shaped(got, plain)
    assert not _near(got, plain), "the mask has no say yet"
    assert not _near(got, raw), "that is the sum; divide by how much mask there is"
    assert not _near(got, raw / 20), "divide by the sum of the mask, not by all places: a small region would seem faint"
    twice = (weight * rows) @ (weight * rows).mT
    assert not any(_near(got, twice / by) for by in (total, 20, 1)), "the mask counts twice; put it in one factor only"
    assert not _near(got, twice / weight.square().sum(2, keepdim=True)), "that weighs by the mask's square"
    assert not _near(got, raw / total.sum()), "each picture is divided by its own mask, not by that of the batch"
    assert not _near(got, raw / (3 * total)), "do not divide by the channels as well"
    mean = (weight * rows).sum(2, keepdim=True) / total
    assert not _near(got, raw / total - mean @ mean.mT), "that is the covariance; a Gram matrix keeps the means"
    inside = (weight > 0.5).double()
    assert not _near(got, (inside * rows) @ rows.mT / inside.sum(2, keepdim=True)), (
        "the mask may be soft: a place with 0.3 counts 0.3"
    )
    assert _near(got, raw / total), "with a mask of ones it must be equation (1); then change one place's weight"
    right("5.1.2")


def check_mean_slope(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 5.1.3: the gradient, at every place, of a style loss that knows means alone."""
    maps, wanted = _maps(1, 3, 4, 5), torch.tensor([0.1, 0.9, 0.3], dtype=torch.float64).view(1, 3, 1, 1)
    got = answer(maps, wanted)
    if untried(got, "5.1.3", "replace the dots: how does one number of F change the mean of its channel?"):
        return
    off = maps.mean((2, 3), keepdim=True) - wanted
    true = (2 / (3 * 20) * off).expand_as(maps)
    if isinstance(got, Tensor) and got.shape == off.shape:
        raise AssertionError("one slope a channel; each place needs its own, which is the same for all: expand it")
    shaped(got, maps)
    assert not _near(got, -true), "the sign is turned: the slope points uphill, to where the loss grows"
    assert not _near(got, true / 2), "the square's 2 is missing"
    assert not _near(got, true * 20), "each place has but one part in H·W of the mean: divide by the places"
    assert not _near(got, true * 3), "the loss is a mean over channels: divide by C"
    assert not _near(got, true * 60), "two divisions are missing: by the places, and by the channels"
    assert not _near(got, 2 * true), "that is the 4 of equation (7); there F stood in G twice, here it stands once"
    assert not _near(got, 2 / 60 * (maps - wanted)), "every place is moved by how far the mean is off, not by its own"
    assert not _near(got, true * maps), "F itself is not in it: a mean does not ask how large a place is"
    assert not _near(got, true * 60 / 2 * off), "that is the loss of each channel; asked is its slope"
    assert _near(got, true), "let autograd do it: ((maps.mean((2, 3), keepdim=True) - wanted) ** 2).mean()"
    right("5.1.3")
