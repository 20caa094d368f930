"""Exercises of notebook 3.2: a layer with a low-rank change, the gradients of its two factors, and the merge."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried

SIDE, RANK, ALPHA = 6, 2, 5.0  # a square layer, so that a swapped product has the right shape and is caught by value


def _layer() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs (4, in), W (out, in), A (r, in) and B (out, r), in double precision."""
    generator = torch.Generator().manual_seed(0)
    sizes = (4, SIDE), (SIDE, SIDE), (RANK, SIDE), (SIDE, RANK)
    return tuple(torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)


def _like(got: Tensor) -> Callable[[Tensor], bool]:
    return lambda wanted: torch.allclose(got.to(wanted), wanted, atol=1e-6)


def check_beside(answer: Callable[..., Tensor]) -> None:
    """Exercise 3.2.1: what a layer answers with a low-rank change beside it, equation (1)."""
    x, W, A, B = _layer()
    got = answer(x, W, A, B, ALPHA)
    if untried(got, "3.2.1", "replace the dots: the frozen layer, plus what goes through A, then B"):
        return
    shaped(got, x)
    plain, through = x @ W.T, x @ A.T @ B.T
    is_like = _like(got)
    assert not is_like(plain), "that is the frozen layer alone: the change is still missing"
    assert not is_like(ALPHA / RANK * through), "that is the change alone: the frozen layer still answers, add x @ W.T"
    assert not is_like(plain + through), "the strength alpha / rank is missing; the rank is len(A)"
    assert not is_like(plain + ALPHA * through), "divide alpha by the rank, len(A): a larger rank is not louder"
    assert not is_like(plain + RANK / ALPHA * through), "upside down: the strength is alpha / rank"
    assert not is_like(plain + ALPHA / SIDE * through), "len(A) is the rank; the layer's width does not count"
    assert not is_like(plain + ALPHA / RANK * x @ B @ A), "x meets A first: through A.T down to the rank, then B.T up"
    assert not is_like(x @ W + ALPHA / RANK * through), "rows of W are outputs, as in nn.Linear: x @ W.T"
    assert is_like(plain + ALPHA / RANK * through), "this is not equation (1); write the shapes beside each product"
    right("3.2.1")


def check_factor_gradients(answer: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Exercise 3.2.2: the gradients of A and B from that of the whole matrix, equation (3)."""
    _, G, A, B = _layer()
    got = answer(G, A, B, ALPHA)
    if untried(got, "3.2.2", "replace the dots: G times the other factor, for each; return A's first, then B's"):
        return
    assert isinstance(got, (tuple, list)) and len(got) == 2, "return two gradients: that of A, then that of B"
    if untried(got[0], "3.2.2", "one of the two is open still") or untried(got[1], "3.2.2", "one of the two is open"):
        return
    strength, of_a, of_b = ALPHA / RANK, B.T @ G, G @ A.T
    swapped = all(isinstance(g, Tensor) and g.shape == w.shape for g, w in zip(got, (B, A), strict=True))
    assert not swapped, "A's gradient comes first and has the shape of A"
    for gradient, like in zip(got, (A, B), strict=True):
        shaped(gradient, like)
    a, b = (_like(each) for each in got)
    assert not (a(of_a) and b(of_b)), "the strength alpha / rank multiplies BA, so it multiplies both gradients"
    assert not (a(ALPHA * of_a) and b(ALPHA * of_b)), "divide alpha by the rank, len(A), here as well"
    assert not (a(strength**2 * of_a) and b(strength**2 * of_b)), "the strength comes once, not squared"
    assert not (a(-strength * of_a) and b(-strength * of_b)), "the gradient points uphill: the step brings the minus"
    assert not (a(strength * B.T @ G.T) or b(strength * G.T @ A.T)), "G stays as it is: only the factors are turned"
    assert a(strength * of_a), "for A: every row of B tells how much each output is moved; start with B.T @ G"
    assert b(strength * of_b), "for B: G times what A gives, G @ A.T"
    right("3.2.2")


def check_merged(answer: Callable[..., Tensor]) -> None:
    """Exercise 3.2.3: one matrix instead of three, equation (5)."""
    _, W, A, B = _layer()
    scale, given = 0.3, W.clone()
    got = answer(W, A, B, ALPHA, scale)
    if untried(got, "3.2.3", "replace the dots: W plus the change, written out as a matrix"):
        return
    shaped(got, W)
    assert torch.equal(W, given), "you changed W itself, and could not go back: return a new matrix"
    strength, is_like = ALPHA / RANK, _like(got)
    assert not is_like(scale * strength * B @ A), "that is the change alone: add it to W"
    assert not is_like(W - scale * strength * B @ A), "the change is added; taking it off is the way back"
    assert not is_like(W + strength * B @ A), "scale is missing: this LoRA is used at a part of its strength"
    assert not is_like(W + scale * B @ A), "alpha / rank is missing; the rank is len(A)"
    assert not is_like(W + scale * ALPHA * B @ A), "divide alpha by the rank, len(A)"
    assert not is_like(W + scale * strength * A.T @ B.T), "turned: a weight is (out, in), so B comes first"
    assert not is_like((1 - scale) * W + scale * strength * B @ A), "W stays whole, at any scale: it is no average"
    assert not is_like(W + scale**2 * strength * B @ A), "the scale multiplies the product once, not each factor"
    assert is_like(W + scale * strength * B @ A), "this is not equation (5); try scale = 0, which must give W"
    right("3.2.3")
