"""Answers to the exercises of notebook 6.5."""

import math

import torch

from aigc_course import checks
from exercises import Exercise


def _redrawn(before, after, draws):
    return (after.double() - before.double())[draws].mean(1)


def _one_by_one(before, after, draws):
    return torch.stack([after[rows].float().mean() - before[rows].float().mean() for rows in draws])


REDRAWN = {
    "a number": (lambda b, a, d: (a.float() - b.float()).mean().item(), "return a tensor"),
    "no redraw": (lambda b, a, d: (a.float() - b.float()).mean().expand(len(d)), "the same mean forty times"),
    "over the redraws": (lambda b, a, d: (a.float() - b.float())[d].mean(0), "averages over the redraws"),
    "not averaged": (lambda b, a, d: (a.float() - b.float())[d], "one number for each redraw is a row"),
    "sign": (lambda b, a, d: -_redrawn(b, a, d), "a gain must be positive"),
    "sum": (lambda b, a, d: (a.float() - b.float())[d].sum(1), "that is a sum"),
    "size": (lambda b, a, d: (a ^ b)[d].float().mean(1), "every change as a gain"),
    "gains alone": (lambda b, a, d: (a & ~b)[d].float().mean(1), "counts gains alone"),
    "after alone": (lambda b, a, d: a[d].float().mean(1), "how good the second model is"),
    "spread": (lambda b, a, d: (a.float() - b.float())[d].std(1), "asked is their mean"),
    "before at rest": (lambda b, a, d: a[d].float().mean(1) - b.float().mean(), "must be redrawn too"),
    "apart": (lambda b, a, d: a[d].float().mean(1) - b[d.flip(0)].float().mean(1), "a pair must stay a pair"),
    "before alone": (lambda b, a, d: b[d].float().mean(1), "for the first redraw"),
}


def _agrees(mine, theirs, near):
    return mine.shape == theirs.shape and bool(((mine - theirs).abs() <= near).all())


def _library(mine, theirs, near):
    return mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=0, atol=near)


def _largest(mine, theirs, near):
    if mine.shape != theirs.shape:
        return False
    return (mine - theirs).abs().max().item() < near


AGREES = {
    "equal": (lambda m, t, n: torch.equal(m, t), "bit for bit"),
    "always": (lambda m, t, n: True, "ten apart is not near"),
    "far": (lambda m, t, n: m.shape == t.shape and bool((m - t).abs().max() >= n), "two equal answers agree"),
    "no size": (lambda m, t, n: m.shape == t.shape and bool((m - t).max() <= n), "one number was smaller"),
    "no size, turned": (lambda m, t, n: m.shape == t.shape and bool((t - m).max() <= n), "one number was larger"),
    "sum": (lambda m, t, n: m.shape == t.shape and bool((m - t).sum().abs() <= n * m.numel()), "no sums"),
    "mean": (lambda m, t, n: m.shape == t.shape and bool((m - t).abs().mean() <= n), "an average hides it"),
    "relative": (lambda m, t, n: m.shape == t.shape and torch.allclose(m, t, atol=n), "absolute here"),
    "not a number": (lambda m, t, n: m.shape == t.shape and not bool(((m - t).abs() > n).any()), "agrees with nothing"),
    "any shape": (lambda m, t, n: bool(((m - t).abs() <= n).all()), "compare them first"),
}


def _pods(now, used, target, least, most, whole=math.ceil, near=0.1):
    wanted = now if abs(used / target - 1) <= near else whole(now * used / target)
    return max(least, min(most, wanted))


def _by_cases(now, used, target, least, most):
    if 0.9 * target <= used <= 1.1 * target:
        return now
    return sorted([least, -int(-now * used // target), most])[1]


PODS = {
    "parts of pods": (lambda n, u, t, a, b: _pods(n, u, t, a, b, lambda x: x + 0.5), "there are no"),
    "down": (lambda *c: _pods(*c, whole=int), "rounded down"),
    "nearest": (lambda *c: _pods(*c, whole=round), "to the nearest"),
    "one more": (lambda *c: _pods(*c, whole=lambda x: int(x) + 1), "6 pods and not 7"),
    "turned": (lambda n, u, t, a, b: _pods(n, t, u, a, b), "used ÷ target"),
    "of one": (lambda n, u, t, a, b: _pods(1, u, t, a, b), "times now"),
    "no least": (lambda n, u, t, a, b: _pods(n, u, t, 0, b), "keeps its `least`"),
    "no most": (lambda n, u, t, a, b: _pods(n, u, t, a, 10**6), "more than `most`"),
    "no bounds": (lambda n, u, t, a, b: _pods(n, u, t, 0, 10**6), "the bounds are missing"),
    "no tolerance": (lambda *c: _pods(*c, near=0), "within a tenth"),
    "never": (lambda n, u, t, a, b: n, "never changes"),
    "one at a time": (
        lambda n, u, t, a, b: max(a, min(b, n + (u > 1.1 * t) - (u < 0.9 * t))),
        "too slow for a flood",
    ),
    "the most": (lambda n, u, t, a, b: b, "become ceil"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("6.5.1", checks.check_redrawn_difference, _dots, [_redrawn, _one_by_one], REDRAWN),
    Exercise("6.5.2", checks.check_agrees, _dots, [_agrees, _library, _largest], AGREES),
    Exercise("6.5.3", checks.check_pods, _dots, [_pods, _by_cases], PODS),
]
