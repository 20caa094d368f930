"""Exercises of notebook 4.3: gradients of unequal shares, a pair of layers split in two, the order of 1F1B."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc_course.checks.verdict import right, untried

Order = list[tuple[str, int]]


def check_weighted_mean(answer: Callable[[list[Tensor], list[int]], Tensor]) -> None:
    """Exercise 4.3.1: one gradient from those of ranks with different numbers of tokens, equation (2)."""
    gradients, counts = [torch.tensor([3.0, -1.0]), torch.tensor([-2.0, 4.0]), torch.tensor([0.5, 0.5])], [6, 1, 3]
    got = answer([each.clone() for each in gradients], list(counts))
    if untried(got, "4.3.1", "replace the dots: each gradient counts as often as its rank has tokens"):
        return
    assert got.shape == (2,), f"a gradient has the shape of the weights, here (2,), not {tuple(got.shape)}"

    def is_like(weights: Sequence[float]) -> bool:
        wanted = sum(weight * each for weight, each in zip(weights, gradients, strict=True))
        return torch.allclose(got, wanted, atol=1e-5)

    n, k = sum(counts), len(counts)
    inverse = [1 / count for count in counts]
    assert not is_like([1 / k] * k), "that is the mean of means: a token of a short share counts more than others"
    assert not is_like([1.0] * k), "that is a sum: the more ranks, the longer the step"
    assert not is_like(counts), "divide by the tokens of all ranks: a mean does not grow with them"
    assert not is_like([count / k for count in counts]), "divide by the tokens of all ranks, not by the number of ranks"
    assert not is_like([1 / n] * k), "these gradients are of means already: make each a sum again, times its tokens"
    assert not is_like([each / n for each in inverse]), "multiply by the counts: each gradient is of a mean, not a sum"
    assert not is_like([each / sum(inverse) for each in inverse]), "the other way round: more tokens, more weight"
    assert not is_like([count / max(counts) for count in counts]), "divide by all tokens, not by the longest share"
    assert not is_like(torch.tensor(counts).float().softmax(0)), "shares are counts ÷ their sum, without exponentials"
    assert is_like([count / n for count in counts]), "this is not equation (2): Σ n_r g_r ÷ Σ n_r"
    right("4.3.1")


def check_part(answer: Callable[..., Tensor]) -> None:
    """Exercise 4.3.2: what one rank computes of two layers that are split by columns, then by rows, equation (5)."""
    draw = torch.Generator().manual_seed(0)
    x, *values = (torch.randn(*s, generator=draw).double() for s in ((3, 4), (4, 8), (8,), (8, 5), (5,)))
    weights = [each.clone().requires_grad_() for each in values]
    parts = [answer(x, *weights, rank, 2) for rank in range(2)]
    if untried(parts[0], "4.3.2", "replace the dots: columns of A and their part of a, then the rows of B"):
        return
    for part in parts:
        assert part.shape == (3, 5), f"each part is as large as the sum of all, (3, 5), not {tuple(part.shape)}"
    _check_sum(sum(parts), x, *values)
    for rank, part in enumerate(parts):
        used = _gradients(part.sum(), weights)[0]
        other = used[:, 4:] if rank == 0 else used[:, :4]
        assert not other.any(), f"rank {rank} of p uses columns that it does not have: its own begin at rank · h ÷ p"
    mine, theirs = (_gradients(y.square().sum(), weights) for y in (sum(parts), _pair(x, *weights)))
    same = all(torch.allclose(one, other) for one, other in zip(mine, theirs, strict=True))
    assert same, "the values are right, their gradients are not: use the given tensors themselves, without detach"
    right("4.3.2")


def _pair(x: Tensor, A: Tensor, a: Tensor, B: Tensor, b: Tensor) -> Tensor:
    return F.gelu(x @ A + a) @ B + b


def _gradients(y: Tensor, weights: Sequence[Tensor]) -> Sequence[Tensor]:
    """Zeros where a weight was not used."""
    if not y.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    return torch.autograd.grad(y, weights, retain_graph=True, allow_unused=True, materialize_grads=True)


def _check_sum(got: Tensor, x: Tensor, A: Tensor, a: Tensor, B: Tensor, b: Tensor) -> None:
    whole = _pair(x, A, a, B, b)

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted)

    assert not is_like(whole * 2), "both ranks compute everything: each takes a half of the columns and of the rows"
    assert not is_like(whole * 2 - b), "both ranks compute everything: only b is added once"
    assert not is_like(whole + b), "the sum has b once for each rank: let rank 0 alone add it"
    assert not is_like(whole - b), "b is missing: rank 0 adds it"
    assert not is_like(whole / 2), "the parts are summed, not averaged: do not divide"
    assert not is_like(_pair(x, A, 0 * a, B, b)), "a is missing: each rank adds its part of it"
    assert not is_like((x @ A + a) @ B + b), "GELU is missing between the two layers"
    halves = (slice(0, 4), slice(4, 8))
    late = sum(F.gelu((x @ A[:, h] + a[h]) @ B[h]) for h in halves) + b
    assert not is_like(late), "GELU stands between the layers, on the columns that a rank has, not behind the rows"
    crossed = _pair(x, A, a, torch.cat([B[4:], B[:4]]), b)
    assert not is_like(crossed), "these rows of B belong to the columns of the other rank: take the same numbers"
    shifted = _pair(x, A, torch.cat([a[:4], a[:4]]), B, b)
    assert not is_like(shifted), "every rank adds the first part of a: take the numbers of its own columns"
    assert is_like(whole), "the parts do not add up to gelu(x A + a) B + b: write down the shapes of what each rank has"


def check_order(answer: Callable[[int, int, int], Order]) -> None:
    """Exercise 4.3.3: what a stage of a 1F1B pipeline does, in order."""
    for stages, micro_batches in ((2, 4), (4, 8), (4, 2)):
        orders = [answer(rank, stages, micro_batches) for rank in range(stages)]
        if untried(orders[0], "4.3.3", "replace the dots: forwards to warm up, then one forward, one backward in turn"):
            return
        for rank, order in enumerate(orders):
            _check_steps(order, micro_batches, f"with {stages} stages and {micro_batches} micro-batches, rank {rank}")
        _check_together(orders, micro_batches)
    right("4.3.3")


def _check_steps(order: Order, m: int, who: str) -> None:
    """Each forward and each backward once, in their order."""
    forwards, backwards = ([number for kind, number in order if kind == each] for each in "FB")
    assert len(forwards) + len(backwards) == len(order), 'write ("F", i) for a forward and ("B", i) for a backward'
    assert 0 in forwards or m not in forwards, "micro-batches are numbered from 0"
    assert max(forwards, default=0) < m, f"{who}: there is no micro-batch {m}; warm up with m forwards at most"
    assert sorted(backwards) == list(range(m)), f"{who} needs each backward once: those left over come at the end"
    assert sorted(forwards) == list(range(m)), f"{who} needs each forward once: go on where the warm-up stopped"
    assert backwards == list(range(m)), "the oldest goes back first, as it was first to come: backwards 0, 1, 2, …"
    assert forwards == list(range(m)), "forwards go in order, too, as the stage before sends them: 0, 1, 2, …"
    early = [i for i in range(m) if order.index(("B", i)) < order.index(("F", i))]
    assert not early, f"{who}: a backward stands before the forward of the same micro-batch"


def _check_together(orders: Sequence[Order], m: int) -> None:
    """No deadlock, as few in flight as can be, and no more idle time than needed."""
    p, turns, kept = len(orders), _turns(orders), [_most_kept(order) for order in orders]
    assert turns, "ranks wait for each other for ever: the first stage waits longest for a backward and warms up most"
    assert m <= p or kept != [m] * p, f"every rank keeps all {m} micro-batches: that is GPipe, turn back sooner"
    assert m < p or kept != [p] * p, "the last stage can turn at once: its warm-up is shorter than that of the first"
    for rank, found in enumerate(kept):
        most = min(m, p - rank)
        will_do = f"{most} will do, one for each stage from here on"
        assert found <= most, f"rank {rank} of {p} keeps {found} micro-batches at once: {will_do}"
    fewest = 2 * (m + p - 1)
    assert turns <= fewest, f"{p} stages and {m} micro-batches take {turns} turns, {fewest} will do: warm up longer"


def _most_kept(order: Order) -> int:
    return max(accumulate((1 if kind == "F" else -1 for kind, _ in order), initial=0))


def _turns(orders: Sequence[Order]) -> int:
    """How many turns all take, if each forward and each backward takes one; 0 if they come to a halt."""
    done: set[tuple[str, int, int]] = set()
    left, turns = [list(order) for order in orders], 0
    while any(left):
        ready = [rank for rank, order in enumerate(left) if order and _has_come(*order[0], rank, len(orders), done)]
        if not ready:
            return 0
        turns += 1
        done |= {(*left[rank].pop(0), rank) for rank in ready}
    return turns


def _has_come(kind: str, number: int, rank: int, stages: int, done: set) -> bool:
    """Whether the neighbouring stage has sent what a step needs; the ends of the pipeline need nobody."""
    giver = rank - 1 if kind == "F" else rank + 1
    return not 0 <= giver < stages or (kind, number, giver) in done
