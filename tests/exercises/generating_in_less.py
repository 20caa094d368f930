"""Answers to the exercises of notebook 4.4."""

from itertools import combinations

import torch

from aigc_course import checks
from exercises import Exercise


def _merged(o1, s1, o2, s2):
    share = torch.sigmoid(s1 - s2)
    return share * o1 + (1 - share) * o2


def _by_the_larger(o1, s1, o2, s2):
    most = torch.maximum(s1, s2)
    first, second = (s1 - most).exp(), (s2 - most).exp()
    return (first * o1 + second * o2) / (first + second)


MERGED = {
    "sum": (lambda a, s, b, r: a + b, "twice too large"),
    "mean": (lambda a, s, b, r: (a + b) / 2, "do not count alike"),
    "by keys": (lambda a, s, b, r: (4 * a + 8 * b) / 12, "number of keys"),
    "no exponential": (lambda a, s, b, r: (s * a + r * b) / (s + r), "take its exponential"),
    "exchanged": (lambda a, s, b, r: _merged(b, s, a, r), "exchanged"),
    "not divided": (lambda a, s, b, r: s.exp() * a + r.exp() * b, "add up to one"),
    "winner": (lambda a, s, b, r: torch.where(s > r, a, b), "does not take all"),
    "overflow": (lambda a, s, b, r: (s.exp() * a + r.exp() * b) / (s.exp() + r.exp()), "overflows"),
    "squares": (lambda a, s, b, r: _merged(a, 2 * s, b, 2 * r), "not attention to all keys"),
    "one number": (lambda a, s, b, r: _merged(a, s, b, r).mean(), "keep that of what you were given"),
}


def _blended(left, right, overlap, weight=None):
    weight = torch.linspace(0, 1, overlap) if weight is None else weight
    shared = (1 - weight) * left[..., -overlap:] + weight * right[..., :overlap]
    return torch.cat([left[..., :-overlap], shared, right[..., overlap:]], -1)


def _inside(left, right, overlap):
    return _blended(left, right, overlap, torch.arange(1, overlap + 1) / (overlap + 1))


def _by_columns(left, right, overlap):
    whole = torch.cat([left, right[..., overlap:]], -1)
    for x in range(overlap):
        at = left.shape[-1] - overlap + x
        whole[..., at] = left[..., at] * (1 - x / overlap) + right[..., x] * (x / overlap)
    return whole


def _down_the_rows(left, right, overlap):
    weight = torch.linspace(0, 1, left.shape[-2])[:, None]
    shared = (1 - weight) * left[..., -overlap:] + weight * right[..., :overlap]
    return torch.cat([left[..., :-overlap], shared, right[..., overlap:]], -1)


BLENDED = {
    "put side by side": (lambda a, b, n: torch.cat([a, b], -1), "are there twice"),
    "shared alone": (lambda a, b, n: _blended(a, b, n)[..., :n], "the shape is"),
    "left kept": (lambda a, b, n: torch.cat([a, b[..., n:]], -1), "keeps the left tile"),
    "right at once": (lambda a, b, n: torch.cat([a[..., :-n], b], -1), "at once"),
    "half and half": (lambda a, b, n: _blended(a, b, n, torch.full((n,), 0.5)), "two steps"),
    "falling": (lambda a, b, n: _blended(a, b, n, torch.linspace(1, 0, n)), "falls"),
    "down the rows": (_down_the_rows, "along the width alone"),
    "in two columns": (lambda a, b, n: _blended(a, b, n, torch.linspace(-3, 4, n).clamp(0, 1)), "a step left"),
    "left not weighed": (
        lambda a, b, n: torch.cat(
            [a[..., :-n], a[..., -n:] + torch.linspace(0, 1, n) * b[..., :n], b[..., n:]], -1
        ),
        "where both tiles agree",
    ),
    "none": (lambda a, b, n: "blended", "return a tensor"),
}


def _fits(sizes, budget, kept):
    guests = [n for i, n in enumerate(sizes) if i not in kept]
    return sum(sizes[i] for i in kept) + max(guests, default=0) <= budget


def _kept(sizes, budget):
    choices = [c for n in range(len(sizes) + 1) for c in combinations(range(len(sizes)), n)]
    return max((c for c in choices if _fits(sizes, budget, c)), key=lambda c: sum(sizes[i] for i in c))


def _by_bits(sizes, budget):
    best = []
    for mask in range(2 ** len(sizes)):
        kept = [i for i in range(len(sizes)) if mask >> i & 1]
        if _fits(sizes, budget, kept) and sum(sizes[i] for i in kept) > sum(sizes[i] for i in best):
            best = kept
    return best


def _filled(sizes, budget):
    """As many as go in, one after the other, without a thought for guests."""
    kept, free = [], budget
    for i, size in enumerate(sizes):
        if size <= free:
            kept, free = [*kept, i], free - size
    return kept


def _greedy(sizes, budget, largest_first):
    kept = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i] if largest_first else sizes[i]):
        if _fits(sizes, budget, [*kept, i]):
            kept.append(i)
    return kept


KEPT = {
    "all": (lambda sizes, budget: list(range(len(sizes))), "take 100 bytes already"),
    "none": (lambda sizes, budget: [], "nothing stays"),
    "filled up": (_filled, "no room is left"),
    "smallest first": (lambda sizes, budget: _greedy(sizes, budget, False), "where 60 would do"),
    "largest first": (lambda sizes, budget: _greedy(sizes, budget, True), "where 20 would do"),
    "twice": (lambda sizes, budget: [*_kept(sizes, budget)] * 2, "names one twice"),
    "sizes": (lambda sizes, budget: [sizes[i] for i in _kept(sizes, budget)], "the places of layers"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("4.4.1", checks.check_merged_parts, _dots, [_merged, _by_the_larger], MERGED),
    Exercise("4.4.2", checks.check_blended, _dots, [_blended, _inside, _by_columns], BLENDED),
    Exercise("4.4.3", checks.check_kept, _dots, [_kept, _by_bits], KEPT),
]
