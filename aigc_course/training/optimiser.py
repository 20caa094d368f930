"""Muon: a step of equal length along every direction of a weight matrix; AdamW for all that is not a matrix."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ASIDE = ("embed", "conv_in")  # what reads the input is not rotated: a word, a position and a pixel are no direction
NARROW = 32  # a matrix with fewer rows or columns is left to AdamW
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)  # Jordan et al. 2024: quickest to bring singular values near 1


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
        """Follow the gradients; those of AdamW's parameters element by element."""
        if closure is not None:
            raise ValueError("Muon takes no closure: compute the gradient first, then call step()")
        for group in self.param_groups:
            move = _turn if group["matrix"] else _adamw
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    move(p, self.state[p], group)


def _turn(p: Tensor, state: dict, group: dict) -> None:
    """One step on a matrix."""
    if not state:
        state["momentum"] = torch.zeros_like(p)
    state["momentum"].mul_(group["momentum"]).add_(p.grad)
    ahead = p.grad.add(state["momentum"], alpha=group["momentum"]).flatten(1)  # Nesterov's
    length = 0.2 * max(ahead.shape) ** 0.5
    p.sub_(orthogonal(ahead).to(p.dtype).view(p.shape), alpha=group["lr"] * length)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """U Vᵀ of a matrix U S Vᵀ, (rows, columns), nearly: singular values come out between 0.7 and 1.2, in bfloat16.

    Newton–Schulz: an odd polynomial, applied again and again, moves every singular value towards 1.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix.bfloat16() if matrix.shape[0] <= matrix.shape[1] else matrix.bfloat16().T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


def _adamw(p: Tensor, state: dict, group: dict, betas: tuple = (0.9, 0.99), eps: float = 1e-8) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019, algorithm 2), the weights having decayed already."""
    if not state:
        state |= dict(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
    state["step"] += 1
    state["mean"].lerp_(p.grad, 1 - betas[0])
    state["square"].lerp_(p.grad.square(), 1 - betas[1])
    mean, square = (state[key] / (1 - beta ** state["step"]) for key, beta in zip(("mean", "square"), betas))
    p.addcdiv_(mean, square.sqrt().add_(eps), value=-group["lr"])
