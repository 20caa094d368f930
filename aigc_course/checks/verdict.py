"""What every check can say: not tried yet, or correct."""

from __future__ import annotations

from typing import Any


def untried(answer: Any, number: str, hint: str) -> bool:
    """Whether the dots are still there; then say what to put in their place."""
    if answer is None or answer is Ellipsis:
        print(f"○ {number} not tried yet: {hint}")
        return True
    return False


def right(number: str) -> None:
    """Say that the exercise is solved."""
    print(f"● {number} correct")
