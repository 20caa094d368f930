"""What students may answer to each exercise: the open stub, right answers, and likely slips with their sentences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exercise:
    """One exercise: its check, the stub as it stands in the notebook, right answers, slips as name: (answer, said)."""

    number: str
    check: Callable
    stub: Any
    solved: list
    slips: dict[str, tuple[Any, str]]
