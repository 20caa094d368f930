"""Exercises of notebook 3.5: backward transfer, the distillation loss, a reservoir."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried


def check_backward_transfer(answer: Callable[[Tensor], Tensor | float]) -> None:
    """Exercise 3.5.1: how much later tasks changed earlier ones, equation (2)."""
    matrix = torch.tensor([[0.9, 0.2, 0.1, 0.3], [0.5, 0.8, 0.2, 0.1], [0.4, 0.95, 0.7, 0.4], [0.3, 0.6, 0.55, 0.85]])
    matrix = matrix.double()
    got = answer(matrix.clone())
    if untried(got, "3.5.1", "replace the dots: the last row, the diagonal, and a mean over all tasks but the last"):
        return
    got = torch.as_tensor(got, dtype=torch.float64)
    assert got.numel() == 1, f"that is {got.numel()} numbers; equation (2) is one, a mean over tasks"
    last, own = matrix[-1], matrix.diagonal()
    change = (last - own)[:-1]

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.squeeze(), wanted, atol=1e-6)

    assert not is_like(-change.mean()), "the sign is turned: after minus before, so that forgetting is below 0"
    assert not is_like((last - own).mean()), "the last task cannot be forgotten yet: leave its 0 out of the mean"
    assert not is_like(change.sum()), "that is the sum: divide by the T - 1 tasks that could be forgotten"
    assert not is_like(last.mean()), "that is the average accuracy; compare it with what each task had been"
    assert not is_like((last - matrix[0])[:-1].mean()), "compare with the stage that taught the task, not the first"
    assert not is_like((matrix[:, -1] - own)[:-1].mean()), "rows are stages: take the last row, matrix[-1]"
    best = matrix[:-1].amax(0)
    assert not is_like((last - best)[:-1].mean()), "that is the fall from the best stage; (2) starts from the diagonal"
    assert is_like(change.mean()), "this is not equation (2); work it out by hand for two tasks first"
    right("3.5.1")


def check_distillation(answer: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 3.5.2: T² times the divergence of two softened answers, equation (5)."""
    student, teacher = 2 * torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    T = 3.0
    got = answer(student.clone(), teacher.clone(), T)
    if untried(got, "3.5.2", "replace the dots: soften both, then the divergence of the student from the teacher"):
        return
    shaped(got, student.new_zeros(()))

    def far(p: Tensor, q: Tensor) -> Tensor:
        """KL(p ‖ q) of two tables of log probabilities, one number a row."""
        return (p.exp() * (p - q)).sum(1)

    soft = [(logits / T).log_softmax(1) for logits in (teacher, student)]
    hard = [logits.log_softmax(1) for logits in (teacher, student)]
    wanted = T**2 * far(*soft).mean()

    def is_like(value: Tensor) -> bool:
        return torch.allclose(got, value, atol=1e-6)

    assert not is_like(wanted / T**2), "the factor T² is missing: without it a soft teacher hardly pulls"
    assert not is_like(wanted / T), "T once is not enough: each of the two softmaxes divides the gradient by T"
    assert not is_like(T**2 * far(soft[1], soft[0]).mean()), "the two are swapped: the teacher is what is to be matched"
    assert not is_like(T**2 * far(*hard).mean()), "soften both with T first: softmax(logits / T)"
    assert not is_like(T**2 * far(soft[0], hard[1]).mean()), "soften the student as well, or it can never match"
    assert not is_like(T**2 * far(hard[0], soft[1]).mean()), "soften the teacher as well: its doubts are the point"
    assert not is_like(wanted * len(student)), "that is the sum over pictures; take the mean"
    assert not is_like(wanted / student.shape[1]), "sum over the names: only over the pictures is it a mean"
    crossed = -T**2 * (soft[0].exp() * soft[1]).sum(1).mean()
    assert not is_like(crossed), "that is the cross-entropy: subtract the teacher's own, so that a match costs 0"
    assert not is_like(-wanted), "a divergence is never below 0: turn the sign"
    assert is_like(wanted), "for T = 3 this is not equation (5); with student = teacher it must be 0"
    right("3.5.2")


def check_reservoir(answer: Callable[..., list]) -> None:
    """Exercise 3.5.3: each item that has passed is as likely to be kept as any other, equation (4)."""
    size, count = 3, 8
    got = answer(iter(range(count)), size, random.Random(0))
    if untried(got, "3.5.3", "fill the buffer; then draw one of n places, and keep what falls into the buffer"):
        return
    assert isinstance(got, list), f"return the list of what was kept, not a {type(got).__name__}"
    assert len(got) != count, f"all {count} items were kept; the buffer holds {size}: who gets in takes a place"
    assert len(got) == size, f"{len(got)} items were kept, and there is room for {size}"
    assert set(got) <= set(range(count)), f"{got} was kept, but 0 to {count - 1} came by: keep the items themselves"
    assert len(set(got)) == size, f"{got} was kept: an item came in twice; each passes once"
    short = answer(iter(range(2)), size, random.Random(0))
    assert sorted(short) == [0, 1], f"of two items {short} was kept; while there is room, keep each"
    again = all(
        answer(iter(range(count)), size, random.Random(seed)) == answer(iter(range(count)), size, random.Random(seed))
        for seed in range(20)
    )
    assert again, "the same rng gave two answers: draw from the rng that you were given"
    rng, runs = random.Random(0), 4000
    kept = [item for _ in range(runs) for item in answer(iter(range(count)), size, rng)]
    assert len(kept) == size * runs, f"sometimes not {size} items are kept; each that gets in takes one's place"
    share = [kept.count(item) / runs for item in range(count)]
    assert max(share[:size]) < 1, _same_place(share[:size])
    assert min(share[-size:]) < 1, "only the last items are kept: a queue forgets the first task as the model does"
    assert share[-1] < 1, "the newest item is always in; let the n-th in with probability size / n"
    off = abs(share[-1] - size / (count - 1)) < 0.03 and abs(share[0] - (size - 1) / (count - 1)) < 0.03
    assert not off, "off by one: with the newest among them n have been seen, so the place is one of 0 … n - 1"
    spread = f"first {share[0]:.2f}, last {share[-1]:.2f}, where each should be {size / count:.2f}"
    assert share[-1] - share[0] < 0.06, f"late items are favoured ({spread}): let the n-th in with probability size / n"
    assert share[0] - share[-1] < 0.06, f"early items are favoured ({spread}): let the n-th in with size / n"
    assert max(share) - min(share) < 0.06, f"some are likelier than others: {', '.join(f'{s:.2f}' for s in share)}"
    right("3.5.3")


def _same_place(first: list[float]) -> str:
    if min(first) == max(first) == 1:
        return "the first items never leave: later tasks would not be in the buffer at all"
    return "some of the first items never leave: the place that is emptied must be drawn, too"
