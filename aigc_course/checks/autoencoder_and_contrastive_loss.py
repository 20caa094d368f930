"""Exercises of notebook 2.2: a drawn code, the closed form of the KL, the contrastive loss."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course.checks.verdict import right, shaped, untried


def check_draw_code(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.2.1: noise, stretched by the standard deviation and moved by the mean, equation (5)."""
    mean, logvar, noise = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = answer(mean, logvar, noise)
    if untried(got, "2.2.1", "replace the dots: stretch the noise, then move it"):
        return
    shaped(got, mean)

    def is_like(wanted: torch.Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-9)

    assert not is_like(mean), "that is the middle of the guess; a draw needs the noise too"
    assert not is_like(mean + noise), "the noise has width 1 still: stretch it by the standard deviation"
    assert not is_like(mean + logvar.exp() * noise), "exp(logvar) is the variance; the standard deviation is its root"
    assert not is_like(mean + logvar * noise), "logvar is a logarithm, and may be negative: exponentiate it"
    assert not is_like(mean + (logvar / 2) * noise), "half of logvar is the log of the width; exponentiate it"
    assert not is_like((logvar / 2).exp() * noise), "the noise is stretched, but not moved: add the mean"
    assert not is_like((mean + noise) * (logvar / 2).exp()), "the mean is not stretched, only the noise is"
    assert not is_like(mean + (-logvar / 2).exp() * noise), "a larger log-variance must widen the draw, not narrow it"
    assert is_like(mean + (logvar / 2).exp() * noise), "this is not mean + standard deviation * noise, equation (5)"
    right("2.2.1")


def check_stay_near(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.2.2: the divergence from N(0, 1), summed over a code, averaged over the batch, equation (4)."""
    mean, logvar = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = answer(mean, logvar)
    if untried(got, "2.2.2", "replace the dots: equation (4), with exp(logvar) for the variance"):
        return
    assert getattr(got, "ndim", 0) == 0, f"the answer has the shape {tuple(got.shape)}; sum a code, average the batch"
    got = float(got)

    def is_like(each: torch.Tensor) -> bool:
        return abs(got - float(each.sum(1).mean())) < 1e-9

    each = 0.5 * (mean**2 + logvar.exp() - 1 - logvar)
    assert not is_like(each / mean.shape[1]), "that is the mean over the code; a divergence adds up over its numbers"
    assert not is_like(each * len(mean)), "that is the sum over the batch; take its mean"
    assert not is_like(2 * each), "one half is missing in front"
    assert not is_like(-each), "the sign is turned: a divergence is never negative"
    assert not is_like(each + 0.5), "the -1 is missing: N(0, 1) itself must cost nothing"
    assert not is_like(0.5 * (mean**2 + logvar - 1 - logvar.exp())), "variance and log-variance have changed places"
    assert not is_like(0.5 * (mean**2 + (logvar / 2).exp() - 1 - logvar)), "it is the variance, not its root"
    assert not is_like(0.5 * (mean + logvar.exp() - 1 - logvar)), "the mean is squared"
    assert not is_like(each - 0.5 * mean**2), "the squared mean is missing: a guess far from 0 must cost"
    assert is_like(each), "this is not equation (4); mean 0 and logvar 0 must cost 0, and mean 1 a half"
    right("2.2.2")


def check_contrast(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.2.3: cross-entropy over rows and over columns, equation (7)."""
    s = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = answer(s)
    if untried(got, "2.2.3", "replace the dots: the diagonals of two log_softmaxes"):
        return
    assert getattr(got, "ndim", 0) == 0, f"the answer has the shape {tuple(got.shape)}; take the mean over the batch"
    got, rows, columns = float(got), s.log_softmax(1), s.log_softmax(0)
    own = rows.diagonal() + columns.diagonal()

    def is_like(wanted: torch.Tensor) -> bool:
        return abs(got - float(wanted)) < 1e-9

    assert not is_like(-rows.diagonal().mean()), "that asks only which caption fits a picture; ask the converse too"
    assert not is_like(-columns.diagonal().mean()), "that asks only which picture fits a caption; ask the converse too"
    assert not is_like(-own.mean()), "two questions, so their mean: divide by 2"
    assert not is_like(-own.sum() / 2), "that is the sum over the batch; divide by N"
    assert not is_like(own.mean() / 2), "the sign is turned: the logarithm of a share is negative, a loss is not"
    assert not is_like(-(rows + columns).mean() / 2), "only the diagonal belongs together; take .diagonal()"
    assert not is_like(-s.diagonal().mean()), "raw scores are not shares: use log_softmax first"
    assert not is_like(-(rows.exp() + columns.exp()).diagonal().mean() / 2), "the logarithm is missing"
    assert is_like(-own.mean() / 2), "this is not equation (7); for two equal scores everywhere it must be ln N"
    right("2.2.3")
