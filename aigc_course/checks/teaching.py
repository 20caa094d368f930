"""Exercises of notebook 6.4: the back of a card, precision and recall of marks, the temperature of a speaker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried

# --- 6.4.1 --------------------------------------------------------------------------------------------------


def check_back_place(answer: Callable[[int, int], int]) -> None:
    """Exercise 6.4.1: where on the second page the back of a card stands, if the sheet is turned on its long edge."""
    columns, places = 4, range(12)
    got = [_tried(answer, place, columns) for place in places]
    if untried(got[0], "6.4.1", "replace the dots: which row and column is the place, and which column is opposite?"):
        return
    assert all(isinstance(one, int) for one in got), "a place is a whole number: use // and %"
    rows = [divmod(place, columns) for place in places]

    def is_like(wanted: Callable[[int, int], int]) -> bool:
        return got == [wanted(row, column) for row, column in rows]

    assert not is_like(lambda r, c: r * 4 + c), "these are the places of the fronts; turned over, left becomes right"
    assert not is_like(lambda r, c: 11 - (r * 4 + c)), "that turns rows as well: on the long edge a row stays"
    assert not is_like(lambda r, c: (2 - r) * 4 + c), "that is turned on the short edge; on the long one columns change"
    assert not is_like(lambda r, c: r * 4 + 4 - c), "off by one: the first of four lies behind the last, number 3"
    assert not is_like(lambda r, c: 3 - c), "every row is sent to the first: add row × columns again"
    assert not is_like(lambda r, c: r + 3 - c), "a row holds `columns` cards: the place is row × columns + column"
    assert not is_like(lambda r, c: r * 4 + (c + 2) % 4), "that moves columns along; mirrored, 0, 1, 2, 3 is 3, 2, 1, 0"
    three = [_tried(answer, place, 3) for place in range(9)]
    assert not (is_like(lambda r, c: r * 4 + 3 - c) and three != [2, 1, 0, 5, 4, 3, 8, 7, 6]), (
        "for four columns it is right, for three it is not: take the number from `columns`"
    )
    assert is_like(lambda r, c: r * 4 + 3 - c), "draw a sheet of 3 rows of 4, turn it over, see who is behind whom"
    right("6.4.1")


def _tried(answer: Callable[..., Any], *given: Any) -> Any:
    try:
        return answer(*given)
    except ZeroDivisionError:
        raise AssertionError("something is divided by zero: say first what the answer is where there is none") from None


# --- 6.4.2 --------------------------------------------------------------------------------------------------


def check_precision_recall(answer: Callable[[Sequence[bool], Sequence[bool]], tuple[float, float]]) -> None:
    """Exercise 6.4.2: of the marks those that are deserved, of the mistakes those that are marked."""
    marked = [True, True, True, False, False, False, False, True, False, False]
    wrong = [True, False, True, True, False, False, False, True, True, False]
    got = answer(marked, wrong)
    if untried(got, "6.4.2", "replace the dots: count where both are true, and divide twice"):
        return
    assert isinstance(got, (tuple, list)) and len(got) == 2, "return two numbers: precision, recall"
    assert all(math.isfinite(one) for one in got), "precision and recall are shares, and numbers"
    hit, caught, found, other = 3, 3 / 4, 3 / 5, [not one for one in wrong]
    neither = sum(not m and o for m, o in zip(marked, other, strict=True))

    def is_like(one: float, two: float) -> bool:
        return math.isclose(got[0], one, abs_tol=1e-9) and math.isclose(got[1], two, abs_tol=1e-9)

    assert not is_like(found, caught), "they are swapped: precision divides by what is marked, recall by what is wrong"
    assert not is_like(0.7, 0.7), "that is the share of facts on which both agree; easy where few are wrong"
    assert not is_like(hit / 10, hit / 10), "divide by what is marked, and by what is wrong, not by all"
    assert not is_like(neither / 6, neither / 5), "that counts the facts that are right; count the wrong ones"
    assert not is_like(2 / 3, 2 / 3), "that is F1, their harmonic mean; give the two by themselves"
    assert not is_like(4 / 5, 5 / 4), "how often both were counted does not matter: count where marked AND wrong"
    assert not is_like(hit, hit), "these are hits; divide them"
    assert not is_like(caught, caught), "recall divides by the facts that are wrong"
    assert is_like(caught, found), "here 4 facts are marked, 5 are wrong, and 3 are both: 3 / 4 and 3 / 5"
    _insist_on_empty(answer)
    right("6.4.2")


def _insist_on_empty(answer: Callable[..., Any]) -> None:
    nothing, one = [False, False], [True, False]
    assert _tried(answer, nothing, one) == (1, 0), "who marks nothing accuses nobody: precision 1, recall 0"
    assert _tried(answer, one, nothing) == (0, 1), "where nothing is wrong nothing is missed: recall 1, precision 0"


# --- 6.4.3 --------------------------------------------------------------------------------------------------


def check_chances(answer: Callable[[Tensor, float], Tensor]) -> None:
    """Exercise 6.4.3: the chances of the next token at a temperature, the likeliest alone at 0."""
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.5, 3.0, 3.5]], dtype=torch.float64)
    got = answer(logits, 2.0)
    if untried(got, "6.4.3", "replace the dots: divide, then softmax over the tokens"):
        return
    shaped(got, logits)
    got = got.double()

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    plain = logits.softmax(-1)
    assert not is_like(plain), "the temperature does nothing yet: divide the logits by it"
    assert not is_like((logits * 2).softmax(-1)), "times is colder: a high temperature makes all tokens alike, divide"
    assert not is_like(plain / 2), "divide before the softmax: afterwards the chances no longer sum to 1"
    assert not is_like(logits / 2), "these are logits still; softmax makes chances of them"
    assert not is_like((logits / 2).exp()), "divide by their sum, or use softmax: chances sum to 1"
    assert not is_like((logits / 2).softmax(0)), "softmax over the last axis: it is the tokens that share the chance"
    assert not is_like((logits / 2).log_softmax(-1)), "these are logarithms of chances; take softmax, not log_softmax"
    assert not is_like(plain**2 / (plain**2).sum(-1, keepdim=True)), "the power is 1 / T, not T: that is colder, too"
    assert not is_like((logits / 4).softmax(-1)), "divide by the temperature once: not by its square"
    assert is_like((logits / 2).softmax(-1)), "at temperature 2 the chances are softmax(logits / 2) over the tokens"
    coldest = _tried(answer, logits, 0.0)
    assert not coldest.isnan().any(), "at 0 that divides by zero: there the likeliest token has all of the chance"
    assert torch.equal(coldest.double(), torch.tensor([[1.0, 0, 0], [0, 0, 1]]).double()), (
        "at 0 the chance of the likeliest token is 1, of all others 0, in each row"
    )
    right("6.4.3")
