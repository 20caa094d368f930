"""What every check can say: not tried yet, of another kind or shape, or correct."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def untried(answer: Any, number: str, hint: str) -> bool:
    """Whether the dots are still there; then say what to put in their place."""
    if answer is None or answer is Ellipsis:
        print(f"○ {number} not tried yet: {hint}")
        return True
    return False


def shaped(answer: Any, like: Tensor) -> None:
    """Insist on a tensor of the same shape."""
    assert isinstance(answer, Tensor), f"return a tensor, not a {type(answer).__name__}"
    wanted, found = tuple(like.shape), tuple(answer.shape)
    assert found == wanted, f"the shape is {found}; keep that of what you were given, {wanted}"


def right(number: str) -> None:
    """Say that the exercise is solved."""
    print(f"● {number} correct")
