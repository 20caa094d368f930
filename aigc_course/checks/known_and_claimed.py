"""Exercises of notebook 1.2: accuracy with padding, the surprise of a sentence, the gradient of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aigc_course.checks.verdict import right, untried

CHANCES = {
    "<s>": {"a": 0.8, "two": 0.2},
    "a": {"red": 0.5, "cat": 0.5},
    "red": {"cat": 0.25, "boat": 0.75},
    "cat": {"</s>": 0.9, "and": 0.1},
    "and": {"a": 1.0},
}


def check_reported_accuracy(answer: Callable[[float, float, int], float]) -> None:
    """Exercise 1.2.1: the accuracy in a report that counts padding, all of it guessed, equation (3)."""
    got = answer(0.6, 10, 40)
    if untried(got, "1.2.1", "replace the dots with equation (3)"):
        return
    got = float(got)

    def is_like(other: float) -> bool:
        return math.isclose(got, other, rel_tol=1e-5)

    assert not is_like(0.6), "nothing changed: the guessed padding must raise the accuracy"
    assert not is_like(0.15), "that counts padding as wrong; the model has learnt to guess all of it"
    assert not is_like(-0.6), "n and L are swapped: real tokens are the smaller part, n / L"
    assert not is_like(0.85), "(1 - accuracy) is the share of errors; you took the accuracy for it"
    assert not is_like(0.1), "that is the share of errors in the report; the accuracy is what is left of 1"
    assert not is_like(0.75), "that is the share of padding alone; some real tokens are right, too"
    assert not is_like(1.35), "more than everything is right: weigh the accuracy of real tokens by n / L"
    assert not is_like(0.8), "real tokens and padding are not equally many: weigh them by n / L and 1 - n / L"
    assert not is_like(0.92), "L is the padded length, with the real tokens in it: divide by L, not by n + L"
    assert not is_like(90), "that is in percent; the course writes shares between 0 and 1"
    assert is_like(0.9), f"for accuracy 0.6, n = 10 and L = 40 you gave {got:.4g}, not equation (3)"
    assert math.isclose(answer(0.5, 8, 8), 0.5, rel_tol=1e-5), "where nothing is padded, L = n, nothing may change"
    right("1.2.1")


def check_sentence_surprise(answer: Callable[[Mapping, Sequence[str]], float]) -> None:
    """Exercise 1.2.2: the surprise in nats of a sentence, one word after the other, equation (1)."""
    sentence = ["<s>", "a", "red", "cat", "</s>"]
    try:
        got = answer(CHANCES, sentence)
    except KeyError as error:
        raise AssertionError(f"no chance is stored under {error}: the word before comes first, chances[a][b]") from None
    if untried(got, "1.2.2", "replace the dots with equation (1), summed over pairs of words"):
        return
    p = [0.8, 0.5, 0.25, 0.9]
    wanted, got = _surprise(p), float(got)

    def is_like(other: float) -> bool:
        return math.isclose(got, other, rel_tol=1e-5)

    assert not is_like(-wanted), "the sign is lost: surprise is minus the logarithm of a chance, never below 0"
    assert not is_like(wanted / math.log(2)), "that is in bits; the course counts in nats: use math.log, not log2"
    assert not is_like(math.prod(p)), "that is the chance of the sentence; its surprise is minus the logarithm"
    assert not is_like(sum(p)), "chances are multiplied, not added: add their logarithms"
    assert not is_like(wanted / 4), "that is the surprise of an average word; the sentence has them all"
    assert not is_like(math.exp(wanted / 4)), "that is the perplexity; equation (1) has no exponential"
    assert not is_like(_surprise(p[:3])), "the end mark is missing: that the sentence stops there is a guess as well"
    assert not is_like(_surprise(p[1:])), "the first word is missing: it follows the mark <s>"
    assert not is_like(-sum(q * math.log(q) for q in p)), "that weighs each word by its chance; a sentence is given"
    assert is_like(wanted), f"for chances {p} you gave {got:.4f}, not equation (1); try one pair by hand"
    got = float(answer(CHANCES, ["<s>", "a", "cat", "and", "a", "red", "cat", "</s>"]))
    wanted = _surprise([0.8, 0.5, 0.1, 1.0, 0.5, 0.25, 0.9])
    assert math.isclose(got, wanted, rel_tol=1e-5), "a longer sentence comes out wrong: go through all of its pairs"
    right("1.2.2")


def _surprise(chances: Sequence[float]) -> float:
    return -sum(map(math.log, chances))


def check_loss_gradient(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Exercise 1.2.3: the gradient of the cross-entropy of a linear model, for all its weights, equation (5)."""
    x, truth = torch.tensor([0.5, -1.0, 2.0]), 1
    weights = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.5], [0.2, 0.1, 0.6], [-0.7, 0.2, 0.1]])
    got = answer(x, weights, truth)
    if untried(got, "1.2.3", "replace the dots with equation (5)"):
        return
    assert isinstance(got, Tensor), f"return a tensor, not a {type(got).__name__}"
    logits = weights @ x
    p, y = logits.softmax(0), one_hot(torch.tensor(truth), 4).float()
    wanted = torch.outer(p - y, x)

    def is_like(other: Tensor) -> bool:
        return got.shape == other.shape and torch.allclose(got.float(), other, atol=1e-5)

    assert not is_like(p - y), "that is the gradient for the scores z; one chain-rule step leads on to the weights"
    assert not is_like(x.expand(4, 3)), "that is the gradient of the model: it knows nothing of the truth"
    assert not is_like(-wanted), "y and p are swapped: a step along that would make the loss smaller, not larger"
    assert not is_like(wanted.T), "rows and columns are swapped: one row for each class, as in `weights`"
    assert not is_like(torch.outer(p, x)), "the truth is missing: subtract y, the one-hot vector"
    assert not is_like(-torch.outer(y, x)), "the model's answer is missing: p is softmax(z)"
    assert not is_like(torch.outer(logits - y, x)), "z are scores, no chances: take softmax of them"
    assert not is_like(torch.outer(logits.sigmoid() - y, x)), "sigmoid treats each class alone; softmax shares out 1"
    assert not is_like(wanted / 4), "the loss of one example is not averaged over its classes"
    assert got.shape == weights.shape, f"the shape is {tuple(got.shape)}; a gradient has its weights' shape, (4, 3)"
    assert is_like(wanted), "that is not equation (5); compare with loss.backward() on the same numbers"
    other = torch.outer(p - one_hot(torch.tensor(3), 4), x)
    assert torch.allclose(answer(x, weights, 3), other, atol=1e-5), "another truth, the same gradient: use `truth` in y"
    sure = answer(x, 1000 * weights, 3)
    assert sure.isfinite().all(), "large scores give NaN: torch.softmax subtracts the largest before exp, so use it"
    right("1.2.3")
