"""Exercises of notebook 3.4: the loss with a prior, the one row that may learn, the share that is right in all."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course.checks.verdict import right, shaped, untried


def check_prior_loss(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 3.4.1: learn the new, stay what you were, equation (4)."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    prior = 2 * torch.randn(6, 3, 4, 4, generator=generator, dtype=torch.float64)
    weight = 0.3
    got = answer(own, prior, weight)
    if untried(got, "3.4.1", "replace the dots: a mean of squares for each of the two, and the weight on one"):
        return
    new, old = own.square().mean(), prior.square().mean()
    shaped(got, new)

    def is_like(wanted: torch.Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-9)

    assert not is_like(new), "the prior is missing: nothing in this loss keeps what the model knew"
    assert not is_like(old), "the new thing is missing: with this loss nothing is learnt"
    assert not is_like(new + old), "the weight is missing: it says how much the prior counts"
    assert not is_like(weight * new + old), "the weight belongs to the prior, not to the new thing"
    assert not is_like((1 - weight) * new + weight * old), "no mixture: the new thing counts 1, the prior `weight`"
    assert not is_like(new + weight**2 * old), "the weight stands outside the square: weight * (…).square().mean()"
    assert not is_like(new - weight * old), "a minus rewards errors on the prior: add"
    joined = torch.cat([own, weight**0.5 * prior]).square().mean()
    assert not is_like(joined), "one mean over both lets the larger set of pictures count more: take two means"
    assert not is_like(own.abs().mean() + weight * prior.abs().mean()), "squares, not sizes: .square().mean()"
    assert not is_like(own.square().sum() + weight * prior.square().sum()), (
        "means, not sums: else six pictures weigh six"
    )
    assert is_like(new + weight * old), "this is not equation (4): mean of squares + weight times mean of squares"
    right("3.4.1")


def check_one_row(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 3.4.2: the gradient of an embedding of which one row may move, equation (2)."""
    gradient = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given, row = gradient.clone(), 2
    got = answer(given, row)
    if untried(got, "3.4.2", "replace the dots: a gradient of zeros, with one row of the one you were given"):
        return
    assert torch.equal(given, gradient), "the gradient that you were given has changed: start from zeros, or a clone"
    assert not (torch.is_tensor(got) and torch.equal(got, gradient[row])), (
        "that is the row alone; the optimiser wants a gradient for every row, zero for the others"
    )
    shaped(got, gradient)

    def kept(which: object) -> torch.Tensor:
        mask = torch.zeros_like(gradient)
        mask[which] = 1
        return gradient * mask

    assert not torch.equal(got, gradient), "every row still moves: the model would change its old words as well"
    assert got.any(), "no row moves: that of the new word must keep its gradient"
    assert not torch.equal(got, gradient - kept(row)), (
        "the other way round: you stopped the new word and let the others go"
    )
    assert not torch.equal(got, kept((slice(None), row))), "that is a column: a word is a row, gradient[row]"
    assert not torch.equal(got, kept(slice(row + 1))), "the rows before it move, too: only gradient[row] may"
    assert not torch.equal(got, kept(slice(row, None))), "the rows after it move, too: only gradient[row] may"
    assert not torch.equal(got, kept(-1)), "that is the last row; use `row`, wherever it is"
    assert torch.equal(got, kept(row)), "row `row` must be as it was given, and every other row zero"
    right("3.4.2")


def check_all_right(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 3.4.3: the share of pictures in which thing, place and style are right at once."""
    thing, place, style = torch.tensor(
        [
            [1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1],
            [1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1],
            [0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1],
        ]
    ).bool()
    got = answer(thing, place, style)
    if untried(got, "3.4.3", "replace the dots: in which pictures are all three right, and what share is that?"):
        return
    one = torch.as_tensor(got).numel() == 1
    assert one, f"one share is wanted, but {tuple(torch.as_tensor(got).shape)} came: end with .float().mean()"
    got, shares = float(got), [each.double().mean().item() for each in (thing, place, style)]
    every = (thing & place & style).double()

    def is_like(wanted: float) -> bool:
        return abs(got - wanted) < 1e-6

    assert not is_like(every.sum().item()), "that is how many; the share divides by how many pictures there are"
    assert not is_like(shares[0]), "that is the identity alone: a robot in the wrong place counts, too"
    assert not is_like(sum(shares) / 3), (
        "a mean of three shares lets one make up for another: all three, picture by picture"
    )
    product = shares[0] * shares[1] * shares[2]
    assert not is_like(product), "the product holds if the three were independent: look at each picture instead"
    assert not is_like(min(shares)), "the smallest share is only the most that it could be: look at each picture"
    assert not is_like((thing | place | style).double().mean().item()), "one of three is not enough: use &, not |"
    given = every.sum().item() / thing.sum().item()
    assert not is_like(given), "that is the share among pictures that show the thing: divide by all pictures"
    assert is_like(every.mean().item()), (
        "this is not the share of pictures with all three right: (a & b & c), then its mean"
    )
    right("3.4.3")
