"""Exercises of notebook 2.3: the jump into noise, the mean one step back, a weight for guessed noise."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course import diffusion, losses
from aigc_course.checks.verdict import right, shaped, untried


def check_jump(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.3.1: from a clean tensor to step t at once, equation (2)."""
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    abar = 0.3
    got = answer(x0, noise, abar)
    if untried(got, "2.3.1", "replace the dots with equation (2): a share of x0 and a share of noise"):
        return
    shaped(got, x0)

    def is_like(picture: float, rest: float) -> bool:
        return torch.allclose(got, picture * x0 + rest * noise, atol=1e-6)

    root, spread = abar**0.5, (1 - abar) ** 0.5
    assert not is_like(abar, 1 - abar), "these are variances; a mean and a deviation are their roots: abar**0.5"
    assert not is_like(spread, root), "the two are swapped: abar is the share of the picture, 1 - abar of the noise"
    assert not is_like(root, 1 - abar), "the noise's share needs its root, too: (1 - abar) ** 0.5"
    assert not is_like(root, 1 - root), "1 - √abar is not √(1 - abar): take the root last"
    assert not is_like(1, spread), "the picture must fade while noise comes: multiply x0 by abar**0.5"
    assert not is_like(root, -spread), "the noise is added, not taken away"
    assert not is_like(root, 1), "all of the noise is too much: its share is (1 - abar) ** 0.5"
    assert is_like(root, spread), "at abar = 0.3 this is not equation (2); try abar = 1 and abar = 0 by hand"
    right("2.3.1")


def check_posterior_mean(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.3.2: the mean of x one step earlier, if both ends are known, equation (3)."""
    x0, x_t = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    abar, before = 0.45, 0.6
    got = answer(x_t, x0, abar, before)
    if untried(got, "2.3.2", "replace the dots with the mean of equation (3)"):
        return
    shaped(got, x0)
    alpha = abar / before
    clean, noisy = before**0.5 * (1 - alpha) / (1 - abar), alpha**0.5 * (1 - before) / (1 - abar)

    def is_like(of_x0: float, of_x_t: float) -> bool:
        return torch.allclose(got, of_x0 * x0 + of_x_t * x_t, atol=1e-6)

    assert not is_like(noisy, clean), "x0 and x_t have each other's coefficient"
    assert not is_like(clean * (1 - abar), noisy * (1 - abar)), "divide both terms by 1 - abar"
    assert not is_like(clean / before**0.5, noisy), "x0 lacks the root of `before`"
    assert not is_like(clean, noisy / alpha**0.5), "x_t lacks the root of alpha"
    assert not is_like(clean * (1 - abar) / (1 - before), noisy * (1 - abar) / (1 - before)), (
        "you divided by 1 - before; the sum of both precisions gives 1 - abar"
    )
    assert not is_like(before**0.5 * (1 - abar) / (1 - abar), noisy), "beta is 1 - alpha, not 1 - abar"
    assert not is_like((abar**0.5) * (1 - alpha) / (1 - abar), noisy), "x0 is weighed by the root of before, not abar's"
    assert not is_like(clean, alpha**0.5 * before / (1 - abar)), (
        "x_t is weighed by 1 - before, not before: by how noisy the step before is"
    )
    assert not is_like(clean, alpha**0.5), "x_t also counts by how noisy the step before is: times 1 - before"
    wanted, _ = diffusion.posterior(x_t, x0, torch.full((3,), abar).double(), torch.full((3,), before).double())
    assert torch.allclose(got, wanted, atol=1e-5), "for abar = 0.45 and before = 0.6 this is not equation (3)"
    right("2.3.2")


def check_noise_weight(answer: Callable[[float, float], float]) -> None:
    """Exercise 2.3.3: the weight of min-SNR for a network that guesses noise."""
    got = answer(0.9, 5.0)
    if untried(got, "2.3.3", "replace the dots with a weight made of snr and gamma"):
        return
    got, snr = float(got), 0.9 / 0.1

    def is_like(other: float) -> bool:
        return abs(got - other) < 1e-6

    assert not is_like(min(snr, 5)), "that weighs an error in x0; an error in noise is SNR times larger: divide by snr"
    assert not is_like(5 / (snr + 1)), "that is the weight for velocity; noise lacks the + 1 of equation (10)"
    assert not is_like(max(snr, 5) / snr), "max lets the nearly clean steps through; min stops them at gamma"
    assert not is_like(snr / 5), "the fraction is upside down"
    assert not is_like(5 * snr), "divide by snr, do not multiply: the error of noise is already the larger one"
    assert is_like(5 / snr), f"at abar = 0.9 and gamma = 5 you gave {got:.4f}; wanted min(9, 5) / 9"
    noisy = float(answer(0.2, 5.0))
    assert abs(noisy - 1) < 1e-6, f"below gamma nothing is stopped: at abar = 0.2 the weight is 1, not {noisy:.4f}"
    wanted = losses.min_snr_weight(torch.tensor([0.97]), 2.0, "noise").item()
    assert abs(float(answer(0.97, 2.0)) - wanted) < 1e-5, "gamma = 2 gives something else; use the argument gamma"
    right("2.3.3")
