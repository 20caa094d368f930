"""Exercises of notebook 2.4: a DDIM step, the clean end of a flow, a step of Heun's method."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course.checks.verdict import right, shaped, untried


def check_ddim_step(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.4.1: mix both ends of a guess again, a little cleaner, equation (4)."""
    x_t, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    abar, after = 0.3, 0.6
    got = answer(x_t, noise, abar, after)
    if untried(got, "2.4.1", "replace the dots: the guessed clean picture first, then equation (4)"):
        return
    shaped(got, x_t)
    x0 = (x_t - (1 - abar) ** 0.5 * noise) / abar**0.5

    def is_like(wanted: torch.Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    assert not is_like(x0), "that is the clean end of the guess; mix it with the noise again, at `after`"
    assert not is_like(abar**0.5 * x0 + (1 - abar) ** 0.5 * noise), "you are back at x_t: mix with `after`, not `abar`"
    assert not is_like(after**0.5 * x_t + (1 - after) ** 0.5 * noise), "mix the guess of x0, not x_t itself"
    assert not is_like(after * x0 + (1 - after) * noise), "the shares are roots: after**0.5 and (1 - after) ** 0.5"
    assert not is_like((1 - after) ** 0.5 * x0 + after**0.5 * noise), "`after` belongs to the picture, not to the noise"
    assert not is_like(after**0.5 * x0), "the noise is still missing: a step leads to x_s, not to its picture"
    undivided = after**0.5 * (x_t - (1 - abar) ** 0.5 * noise) + (1 - after) ** 0.5 * noise
    assert not is_like(undivided), "the guessed x0 lacks its division by the root of abar"
    assert is_like(after**0.5 * x0 + (1 - after) ** 0.5 * noise), "from abar = 0.3 to 0.6 this is not equation (4)"
    right("2.4.1")


def check_clean_end(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 2.4.2: the picture at the end of a straight road, equation (7)."""
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tau = 0.7
    z, speed = (1 - tau) * x0 + tau * noise, noise - x0
    got = answer(z, speed, tau)
    if untried(got, "2.4.2", "replace the dots: how far back from z does the road lead, and which way?"):
        return
    shaped(got, z)

    def is_like(wanted: torch.Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    assert not is_like(noise), "that is the other end, the noise; the picture lies at time 0"
    assert not is_like(z + tau * speed), "the speed points to the noise: go against it"
    assert not is_like(z - speed), "a whole unit of time is too far: from tau back to 0 it is only tau"
    assert not is_like(z - (1 - tau) * speed), "1 - tau is the way to the noise; to the picture it is tau"
    assert not is_like((z - tau * speed) / (1 - tau)), "do not divide: on this road the speed is that of z itself"
    assert is_like(x0), "at tau = 0.7 this is not the x0 of equation (7); try tau = 0 and tau = 1 by hand"
    right("2.4.2")


def check_heun_step(answer: Callable[..., float]) -> None:
    """Exercise 2.4.3: one step with the mean of two slopes, equation (6)."""

    def slope(y: float, sigma: float) -> float:
        return sigma * y**2 + 0.3 * y  # bends in both of its arguments

    y, now, after = 0.8, 2.0, 1.5
    got = answer(slope, y, now, after)
    if untried(got, "2.4.3", "replace the dots: Euler's step, the slope at its end, then the mean of both slopes"):
        return
    got, width, first = float(got), after - now, slope(y, now)
    there = y + width * first
    second = slope(there, after)

    def is_like(wanted: float) -> bool:
        return abs(got - wanted) < 1e-9

    assert not is_like(there), "that is Euler's step; ask again at its end, and use the mean of both slopes"
    assert not is_like(y + width * second), "that uses the second slope alone; Heun takes the mean of both"
    assert not is_like(y + width * (first + second)), "that goes two steps; the mean has a half: (first + second) / 2"
    assert not is_like(y - width * (first + second) / 2), "after - now is negative already, as the noise falls: add"
    assert not is_like(y + width * (first + slope(y, after)) / 2), "ask for the second slope at Euler's end, not at y"
    assert not is_like(y + width * (first + slope(there, now)) / 2), "at Euler's end the noise is `after`, not `now`"
    middle = slope(y + width / 2 * first, (now + after) / 2)
    assert not is_like(y + width * middle), "that is the midpoint rule: as good, but not equation (6)"
    assert is_like(y + width * (first + second) / 2), "this is not equation (6); write both slopes down first"
    right("2.4.3")
