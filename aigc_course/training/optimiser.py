"""Muon: a step of equal length along every direction of a weight matrix; AdamW for all that is not a matrix."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aigc_course import runtime

ASIDE = ("embed", "conv_in")  # what reads the input is not rotated: a word, a position and a pixel are no direction
NARROW = 32  # a matrix with fewer rows or columns is left to AdamW
EPS = 1e-8  # of AdamW
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)  # Jordan et al. 2024: quickest to bring singular values near 1
LONG = 1.5  # a matrix so many times as long as wide is made orthogonal by way of its Gram matrix: less to multiply


def muon(model: nn.Module, learning_rate: float = 2e-3, weight_decay: float = 0.01) -> "Muon":
    """Muon over what a model learns: its matrices and convolutions, with AdamW for the rest.

    The rest is embeddings, first layers, biases, norms and anything with fewer than 32 rows or columns.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p for name, p in trained.items() if _is_matrix(name, p)]
    chosen = {id(p) for p in matrices}
    return Muon(matrices, [p for p in trained.values() if id(p) not in chosen], learning_rate, weight_decay)


def _is_matrix(name: str, p: Tensor) -> bool:
    return p.ndim >= 2 and min(p.flatten(1).shape) >= NARROW and not any(word in name for word in ASIDE)


class Muon(torch.optim.Optimizer):
    """Momentum whose singular values are all brought near 1 before each step (Jordan et al. 2024).

    AdamW's step on a matrix is mostly its few strongest directions; here the weak ones move as far.  A step on
    `matrices` (a convolution counts as one, out × rest) has the length that AdamW's would have (Liu et al. 2025:
    0.2 √(longer side)), so that both share a learning rate; `others` are stepped by AdamW, betas 0.9 and 0.99.
    `torch.optim.Muon` does the same for 2-D matrices alone.
    """

    def __init__(
        self,
        matrices: list[Tensor],
        others: list[Tensor] = (),
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ):
        if lr <= 0:
            raise ValueError(f"lr={lr}: choose a learning rate above 0")
        groups = [dict(params=list(matrices), matrix=True), dict(params=list(others), matrix=False)]
        groups = [group for group in groups if group["params"]]
        super().__init__(groups, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Follow the gradients, few kernels for all parameters: a GPU would wait for a kernel of each."""
        if closure is not None:
            raise ValueError("Muon takes no closure: compute the gradient first, then call step()")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                move = _turn if group["matrix"] else _adamw
                move(params, [p.grad for p in params], [self.state[p] for p in params], group)


def _turn(params: list[Tensor], grads: list[Tensor], states: list[dict], group: dict) -> None:
    """One step on matrices; those of one shape are made orthogonal together."""
    for p, state in zip(params, states, strict=True):
        if not state:
            state["momentum"] = torch.zeros_like(p)
    momenta = [state["momentum"] for state in states]
    torch._foreach_mul_(momenta, group["momentum"])
    torch._foreach_add_(momenta, grads)
    ahead = torch._foreach_add(grads, momenta, alpha=group["momentum"])  # Nesterov's
    alike = defaultdict(list)
    for p, one in zip(params, ahead, strict=True):
        alike[one.shape[0], one[0].numel()].append((p, one.flatten(1)))
    for shape, pairs in alike.items():
        moves = orthogonal(torch.stack([one for _, one in pairs])).to(pairs[0][0].dtype)
        moves = [move.view(p.shape) for move, (p, _) in zip(moves, pairs, strict=True)]
        torch._foreach_add_([p for p, _ in pairs], moves, alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """U Vᵀ of each matrix U S Vᵀ, (N, rows, columns), nearly: singular values between 0.7 and 1.2.

    Newton–Schulz: an odd polynomial, applied again and again, moves every singular value towards 1.  Each time the
    matrix is multiplied by a polynomial in its Gram matrix; those of a long matrix are small, and multiplied first.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    if wide.shape[2] >= LONG * wide.shape[1]:
        wide = wide.float()  # in bfloat16 what is lost in a Gram matrix would grow from power to power
        gram = wide @ wide.mT
        product = factor = _factor(gram)
        for _ in range(steps - 1):
            gram = factor @ gram @ factor
            factor = _factor(gram)
            product = factor @ product
        wide = product @ wide
    else:
        wide = wide.bfloat16() if runtime.training_precision() == "bf16" else wide.float()
        for _ in range(steps):
            wide = _factor(wide @ wide.mT) @ wide
    return wide.mT if tall else wide


def _factor(gram: Tensor) -> Tensor:
    """What one turn of Newton–Schulz multiplies a matrix by: a + b G + c G²."""
    a, b, c = NEWTON_SCHULZ
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def _adamw(
    params: list[Tensor], grads: list[Tensor], states: list[dict], group: dict, betas: tuple = (0.9, 0.99)
) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019, algorithm 2), the weights having decayed already."""
    for p, state in zip(params, states, strict=True):
        if not state:
            state |= dict(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
        state["step"] += 1
    means, squares = ([state[key] for state in states] for key in ("mean", "square"))
    torch._foreach_lerp_(means, grads, 1 - betas[0])
    torch._foreach_lerp_(squares, torch._foreach_mul(grads, grads), 1 - betas[1])
    lengths = torch._foreach_div(squares, [1 - betas[1] ** state["step"] for state in states])
    torch._foreach_sqrt_(lengths)
    torch._foreach_add_(lengths, EPS)
    steps = [-group["lr"] / (1 - betas[0] ** state["step"]) for state in states]
    torch._foreach_addcdiv_(params, means, lengths, steps)
