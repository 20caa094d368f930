"""Exercises of notebook 6.5: a difference redrawn in pairs, two networks that agree, how many pods."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, untried


def check_redrawn_difference(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 6.5.1: the mean difference of each redraw of pairs."""
    generator = torch.Generator().manual_seed(0)
    before = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 0, 1], dtype=torch.bool)
    after = torch.tensor([1, 1, 1, 0, 1, 1, 1, 1, 0, 1], dtype=torch.bool)
    draws = torch.randint(10, (40, 10), generator=generator)
    got = answer(before.clone(), after.clone(), draws.clone())
    if untried(got, "6.5.1", "replace the dots: subtract, take the rows of each redraw, average"):
        return
    one, two = before.double(), after.double()
    changed = two - one
    assert isinstance(got, Tensor), f"return a tensor, one number for each redraw, not a {type(got).__name__}"
    assert got.ndim == 1, f"one number for each redraw is a row of {len(draws)}; yours has the shape {tuple(got.shape)}"
    assert len(got) == len(draws), f"that averages over the redraws; average within each of the {len(draws)} instead"
    got = got.double()

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    assert not is_like(changed.mean().expand(40)), "that is the same mean forty times; take the rows that draws names"
    assert not is_like(-changed[draws].mean(1)), "a gain must be positive: after minus before"
    assert not is_like(changed[draws].sum(1)), "that is a sum; a share is a mean"
    assert not is_like(changed.abs()[draws].mean(1)), "that counts every change as a gain; a picture lost is -1"
    assert not is_like(changed.clamp(min=0)[draws].mean(1)), "that counts gains alone; subtract what was lost"
    assert not is_like(two[draws].mean(1)), "that is how good the second model is; the first is to be subtracted"
    assert not is_like(changed[draws].std(1)), "that is how far the pairs differ; asked is their mean"
    assert not is_like(two[draws].mean(1) - one.mean()), "the first model must be redrawn too, with the same rows"
    apart = two[draws].mean(1) - one[draws.flip(0)].mean(1), two[draws].mean(1) - one[draws.roll(1, 0)].mean(1)
    assert not any(map(is_like, apart)), "each model got rows of its own: a pair must stay a pair"
    assert is_like(changed[draws].mean(1)), "for the first redraw it is the mean of (after - before) at draws[0]"
    right("6.5.1")


def check_agrees(answer: Callable[[Tensor, Tensor, float], bool]) -> None:
    """Exercise 6.5.2: whether two answers agree to a tolerance, number by number."""
    x, near = torch.linspace(-2, 2, 100).view(4, 25), 1e-4
    got = answer(x, x.clone(), near)
    if untried(got, "6.5.2", "replace the dots: the largest distance of any two numbers, and what it may be"):
        return

    def off(*changes: tuple[int, float]) -> Tensor:
        other = x.clone()
        for place, by in changes:
            other.view(-1)[place] += by
        return other

    def says(mine: Tensor, theirs: Tensor) -> bool:
        return bool(answer(mine.clone(), theirs.clone(), near))

    assert got, "two equal answers agree"
    assert says(x + near / 2, x), "half the tolerance apart is near enough: they need not be equal bit for bit"
    far = off(*((k, 10.0 if k else -10.0) for k in range(100)))
    assert not says(far, x), "ten apart is not near; compare the distance with `near`, and be true where it is small"
    smaller, larger = (says(off((3, by * near)), x) for by in (-5, 5))
    assert larger or not smaller, "one number was smaller, and that went unseen: take the size of the distance"
    assert smaller or not larger, "one number was larger, and that went unseen: take the size of the distance"
    assert not says(off((3, 500 * near), (9, -500 * near)), x), "two errors of opposite sign cancelled out: no sums"
    assert not larger, "one number of a hundred is wrong, and an average hides it: take the largest"
    large = torch.full((4, 25), 1000.0)
    assert not says(large + 50 * near, large), "`near` is absolute here: a large number is no excuse (rtol=0)"
    broken = x.clone()
    broken.view(-1)[7] = torch.nan
    assert not says(broken, x), "an answer that is not a number agrees with nothing; ask that all are near"
    assert not says(x[:, :1], x[:, :1].expand(4, 25)), "shapes that differ are another network's; compare them first"
    right("6.5.2")


def check_pods(answer: Callable[[int, float, float, int, int], int]) -> None:
    """Exercise 6.5.3: how many pods an autoscaler wants."""
    if untried(answer(4, 70, 70, 2, 8), "6.5.3", "replace the dots: scale, round up, stay within the bounds"):
        return

    def is_like(wanted: Callable[[int, float, float, int, int], float]) -> bool:
        return all(answer(*case) == wanted(*case) for case in cases)

    cases = [
        (4, 70, 70, 2, 8),
        (4, 75, 70, 2, 8),
        (4, 105, 70, 2, 8),
        (3, 80, 70, 2, 8),
        (4, 30, 70, 2, 8),
        (4, 62, 70, 2, 8),
        (2, 10, 70, 2, 8),
        (4, 400, 70, 2, 8),
    ]
    got = answer(*cases[2])
    assert got == int(got), f"there are no {got} pods: round up to a whole one"

    def pods(
        now: int, used: float, target: float, least: int, most: int, whole=math.ceil, near=0.1, bounds=(True, True)
    ) -> int:
        wanted = now if abs(used / target - 1) <= near else whole(now * used / target)
        wanted = max(wanted, least) if bounds[0] else wanted
        return min(wanted, most) if bounds[1] else wanted

    assert not is_like(lambda *c: pods(*c, whole=math.floor)), "rounded down, the pods are above the target: round up"
    assert not is_like(lambda *c: pods(*c, whole=round)), "to the nearest may be too few: round up"
    assert not is_like(lambda *c: pods(*c, whole=lambda x: math.floor(x) + 1)), "4 × 105 ÷ 70 is 6 pods and not 7: ceil"
    assert not is_like(lambda n, u, t, a, b: pods(n, t, u, a, b)), "more used must give more pods: used ÷ target"
    assert not is_like(lambda n, u, t, a, b: pods(1, u, t, a, b)), "`used` is the mean of the pods there are: times now"
    assert not is_like(lambda *c: pods(*c, bounds=(False, True))), "a quiet service keeps its `least` pods"
    assert not is_like(lambda *c: pods(*c, bounds=(True, False))), "a flood may not take more than `most` pods"
    assert not is_like(lambda *c: pods(*c, bounds=(False, False))), "the bounds are missing: `least` and `most`"
    assert not is_like(lambda *c: pods(*c, near=0)), "within a tenth of the target nothing changes, or pods come and go"
    assert not is_like(lambda n, u, t, a, b: n), "that never changes anything"
    assert not is_like(lambda n, u, t, a, b: pods(n, u, t, a, b, near=10)), "a tenth is the tolerance, no more"
    step = [max(a, min(b, n + (u > 1.1 * t) - (u < 0.9 * t))) for n, u, t, a, b in cases]
    assert [answer(*case) for case in cases] != step, "one pod at a time is too slow for a flood: scale by the ratio"
    assert is_like(pods), "4 pods at 105 % with a target of 70 % become ceil(4 × 105 ÷ 70) = 6"
    right("6.5.3")
