"""Exercises of notebook 3.1: labels of a caption, when to stop, and accuracy by token."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course.checks.verdict import right, untried

PAD, GIVEN = 9, 7  # in the examples: padding, and the mark of the language
TOKENS = torch.tensor([[1, GIVEN, 4, 5, 2, PAD], [1, GIVEN, 3, 2, PAD, PAD], [1, GIVEN, 6, 6, 6, 2]])


def check_labels(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 3.1.1: from tokens to what is asked at each place, equation (2)."""
    tokens = TOKENS.clone()
    got = answer(tokens, PAD)
    if untried(got, "3.1.1", "return the tokens without the first, with -100 where nothing is asked"):
        return
    wanted = TOKENS[:, 1:].masked_fill(TOKENS[:, 1:] == PAD, -100)
    wanted[:, 0] = -100
    assert isinstance(got, torch.Tensor), f"return a tensor, not a {type(got).__name__}"
    assert got.shape != TOKENS.shape, "the labels are one shorter: the first token is read and never asked for"
    assert got.shape == wanted.shape, f"the shape is {tuple(got.shape)}, not {tuple(wanted.shape)}: (B, L - 1)"
    assert torch.equal(tokens, TOKENS), "you changed the tokens that you were given: work on a clone"
    assert not torch.equal(got, TOKENS[:, :-1]), "these are the tokens that are read; the labels are the next ones"
    assert not (got == PAD).any(), "padding is still asked for: nobody says it, so put -100 there"
    assert not (got[:, 0] == GIVEN).any(), "the language is given, not guessed: the first label is -100"
    assert (got == 2).sum() == 3, "the end mark must be learnt, or captions never end: mask padding alone"
    assert torch.equal(got, wanted), "some label is not the next token; compare with tokens[:, 1:] by hand"
    right("3.1.1")


def check_enough(answer: Callable[[list[float], int], bool]) -> None:
    """Exercise 3.1.2: early stopping with patience."""
    got = answer([3.0, 2.0, 2.5, 2.4], 2)
    if untried(got, "3.1.2", "compare the smallest of the last `patience` losses with the smallest before them"):
        return
    assert not answer([3.0, 2.0, 2.1], 3), "with no more losses than patience there is nothing to stop yet"
    assert not answer([3.0, 2.5, 2.9, 2.4], 2), "the last loss is the best of all: go on"
    assert not answer([3.0, 2.0, 2.5], 2), "only one loss has failed since the best, and patience is 2: go on"
    assert not answer([3.0, 2.6, 2.5, 2.4, 2.3], 2), "it gets better with every epoch: go on"
    assert not answer([2.0, 1.0, 0.9, 1.2], 2), "the best is among the last two: go on"
    assert answer([3.0, 2.0, 2.5, 2.6], 2), "two losses in a row have not beaten 2.0, and patience is 2: stop"
    assert got, "falling again is not enough: 2.4 has not beaten the 2.0 before: stop"
    assert answer([3.0, 2.0, 2.0, 2.0], 2), "to equal the best is not to beat it: stop"
    right("3.1.2")


def check_token_accuracy(answer: Callable[..., float]) -> None:
    """Exercise 3.1.3: the share of asked places where the likeliest token is the true one."""
    labels = torch.tensor([[2, 0, 1, -100], [1, -100, -100, -100]])
    logits = torch.nn.functional.one_hot(torch.tensor([[2, 1, 1, 0], [0, 0, 0, 0]]), 3).float()
    got = answer(logits, labels)
    if untried(got, "3.1.3", "compare logits.argmax(-1) with the labels, where these are not -100"):
        return
    got = float(got)

    def is_like(other: float) -> bool:
        return abs(got - other) < 1e-6

    assert not is_like(2), "that is how many are right; divide by how many were asked"
    assert not is_like(2 / 8), "masked places count as wrong here: divide by the asked places alone"
    assert not is_like(6 / 8), "masked places count as right here: leave them out of both sums"
    assert not is_like((2 / 3 + 0) / 2), "that is the mean over captions; every token counts alike, so pool them"
    assert not is_like(1 / 2 + 0.25) and got <= 1, "a share is at most 1"
    assert is_like(2 / 4), f"of four asked places two are right, so 0.5, not {got:.3f}"
    right("3.1.3")
