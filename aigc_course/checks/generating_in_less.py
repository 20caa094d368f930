"""Exercises of notebook 4.4: two parts of one attention, a border that is blended, what stays on a small device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried


def check_merged_parts(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 4.4.1: attention to all keys from attention to each half, equation (5)."""
    draw = torch.Generator().manual_seed(0)
    scores, values = torch.randn(6, 12, generator=draw).double() * 2, torch.randn(12, 5, generator=draw).double()
    parts = slice(0, 4), slice(4, 12)
    (o1, o2) = (scores[:, part].softmax(-1) @ values[part] for part in parts)
    (s1, s2) = (scores[:, part].logsumexp(-1, keepdim=True) for part in parts)
    got = answer(o1, s1, o2, s2)
    if untried(got, "4.4.1", "replace the dots: each part counts by its sum of exponentials, the exponential of s"):
        return
    shaped(got, o1)

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.double(), wanted, rtol=0, atol=1e-6)

    first, second = s1.exp(), s2.exp()
    assert not is_like(o1 + o2), "each part is a mean of values already; the sum of two means is twice too large"
    assert not is_like((o1 + o2) / 2), "the parts do not count alike: one has more keys, and better ones"
    assert not is_like((4 * o1 + 8 * o2) / 12), "the number of keys is not what counts, but the sum of exponentials"
    assert not is_like((s1 * o1 + s2 * o2) / (s1 + s2)), "s is the logarithm of that sum: take its exponential"
    assert not is_like((first * o2 + second * o1) / (first + second)), "the weights are exchanged: o1 goes with s1"
    assert not is_like(first * o1 + second * o2), "the weights must add up to one: divide by both sums together"
    assert not is_like(torch.where(s1 > s2, o1, o2)), "the stronger part does not take all; the other one counts too"
    assert is_like(scores.softmax(-1) @ values), "this is not attention to all keys: write (5) with two parts"
    large = answer(o1, s1 + 1000, o2, s2 + 1000)  # scores that are all larger by the same change nothing
    assert large.isfinite().all(), "exp(1000) overflows: take the larger s off both before the exponential"
    assert torch.allclose(large.double(), got.double(), rtol=0, atol=1e-6), "adding 1000 to all scores changes nothing"
    right("4.4.1")


def check_blended(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Exercise 4.4.2: two tiles that share some columns, blended without a step."""
    overlap, wide, narrow = 8, 20, 14
    dark, light = torch.zeros(3, 6, wide), torch.ones(3, 6, narrow)
    got = answer(dark.clone(), light.clone(), overlap)
    if untried(got, "4.4.2", "replace the dots: a weight that climbs from 0 to 1 over the shared columns"):
        return
    assert isinstance(got, Tensor), f"return a tensor, not a {type(got).__name__}"
    said = f"{wide} and {narrow} columns that share {overlap} are {wide + narrow - overlap} together"
    assert got.shape[-1] != wide + narrow, f"the shared columns are there twice: {said}"
    assert got.shape == (3, 6, wide + narrow - overlap), f"the shape is {tuple(got.shape)}: {said}"
    weight = got[0, 0]
    assert torch.equal(got, weight.expand_as(got)), "all rows have the same weights: they change along the width alone"
    shared = weight[wide - overlap : wide]
    assert (weight[: wide - overlap] == 0).all(), "left of the shared columns there is the left tile alone"
    assert (weight[wide:] == 1).all(), "right of the shared columns there is the right tile alone"
    assert not (shared == 0).all(), "that keeps the left tile and then jumps: let the weight climb over the columns"
    assert not (shared == 1).all(), "that jumps to the right tile at once: let the weight climb over the columns"
    assert not torch.allclose(shared, shared[:1].expand(overlap)), "half and half has two steps: let the weight climb"
    assert (shared.diff() >= -1e-6).all(), "the weight of the right tile falls; near the left tile it must be small"
    assert weight.diff().max() < 1.5 / (overlap - 1), "there is a step left: climb evenly over all shared columns"
    left, across = torch.rand(3, 6, wide), torch.rand(3, 6, narrow)
    both = answer(left.clone(), left[..., -overlap:].clone(), overlap)
    assert torch.allclose(both, left, atol=1e-5), "where both tiles agree nothing may change: the weights add up to one"
    mixed = left[..., -overlap:] + shared * (across[..., :overlap] - left[..., -overlap:])
    found = answer(left, across, overlap)[..., wide - overlap : wide]
    assert torch.allclose(found, mixed, atol=1e-5), "the last columns of the left tile meet the first of the right one"
    right("4.4.2")


def check_kept(answer: Callable[[Sequence[int], int], Sequence[int]]) -> None:
    """Exercise 4.4.3: which layers stay on a small device, counted on five models."""
    models = [([40, 10, 30, 20], 75), ([8, 7, 6, 5, 4], 18), ([9, 2, 2, 2], 13), ([50, 3, 3], 60), ([5, 5, 5], 15)]
    answers = [answer(list(sizes), budget) for sizes, budget in models]
    if untried(answers[0], "4.4.3", "replace the dots: what stays, and the largest of the others as a guest, must fit"):
        return
    for (sizes, budget), kept in zip(models, answers, strict=True):
        case = f"layers of {sizes} bytes on a device of {budget}"
        kept = [int(i) for i in kept]
        assert all(0 <= i < len(sizes) for i in kept), f"{case}: answer with the places of layers, from 0"
        assert len(set(kept)) == len(kept), f"{case}: a layer stays once, but {kept} names one twice"
        held, guests = sum(sizes[i] for i in kept), [n for i, n in enumerate(sizes) if i not in kept]
        assert held <= budget, f"{case}: those that stay take {held} bytes already"
        most, moved = held + max(guests, default=0), sum(guests)
        assert most <= budget, f"{case}: {held} stay, and no room is left for a guest of {max(guests)}"
        best = min(sum(guests) for guests in _possible(sizes, budget))
        assert kept or not best < moved, f"{case}: nothing stays, so all {moved} bytes move each time; {best} would do"
        assert moved <= best, f"{case}: it fits, but {moved} bytes move each time, where {best} would do"
    right("4.4.3")


def _possible(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """The layers that come as guests, for each choice of those that stay which fits."""
    places = range(len(sizes))
    choices = [set(some) for n in range(len(sizes) + 1) for some in combinations(places, n)]
    split = [(sum(sizes[i] for i in kept), [sizes[i] for i in places if i not in kept]) for kept in choices]
    return [guests for held, guests in split if held + max(guests, default=0) <= budget]
