"""Exercises of notebook 3.3: shares from words, class means, and votes of nearby examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc_course.checks.verdict import right, shaped, untried


def _rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_name_shares(answer: Callable[..., Tensor]) -> None:
    """Exercise 3.3.1: how likely each class is, from cosines, equation (1)."""
    pictures, words, scale = 2 * _rows(5, 0), 3 * _rows(4, 1), 7.0
    got = answer(pictures, words, scale)
    if untried(got, "3.3.1", "replace the dots: make all rows of length one, then the softmax of equation (1)"):
        return
    shaped(got, pictures[:, :4])
    u, v = F.normalize(pictures, dim=1), F.normalize(words, dim=1)

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.double(), wanted, atol=1e-6)

    assert not is_like(u @ v.T), "these are cosines; the shares are the softmax of `scale` times them"
    assert not is_like(scale * u @ v.T), "these are logits; shares add up to one: take the softmax over classes"
    assert not is_like((scale * pictures @ words.T).softmax(1)), "a long vector shouts: make all rows of length one"
    assert not is_like((scale * u @ words.T).softmax(1)), "the words are not of length one yet"
    assert not is_like((scale * pictures @ v.T).softmax(1)), "the pictures are not of length one yet"
    assert not is_like((u @ v.T).softmax(1)), "`scale` is missing: cosines lie so close together that all shares agree"
    assert not is_like((u @ v.T / scale).softmax(1)), "scale is one over the temperature: multiply by it"
    assert not is_like((scale * u @ v.T).softmax(0)), "each picture's shares add up to one: softmax over dimension 1"
    assert not is_like((scale * u @ v.T).log_softmax(1)), "these are logarithms of the shares: softmax, not log_softmax"
    assert is_like((scale * u @ v.T).softmax(1)), "this is not equation (1); print one row, and its sum"
    right("3.3.1")


def check_class_means(answer: Callable[..., Tensor]) -> None:
    """Exercise 3.3.2: one direction for each class, equation (3)."""
    features = F.normalize(_rows(9, 2), dim=1)
    labels = torch.tensor([2, 0, 1, 2, 2, 0, 1, 2, 2])
    got = answer(features, labels, 3)
    if untried(got, "3.3.2", "replace the dots: for each class the mean of its rows, then length one"):
        return
    shaped(got, features[:3])
    means = torch.stack([features[labels == c].mean(0) for c in range(3)])
    sums = torch.stack([features[labels == c].sum(0) for c in range(3)])
    first = torch.stack([features[labels == c][0] for c in range(3)])

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.double(), wanted, atol=1e-6)

    assert not is_like(means), "these are the means; make each of length one, or the classes whose rows agree win"
    assert not is_like(sums), "these are sums: the class with most examples would win; make each of length one"
    assert not is_like(sums / len(labels)), "each class has its own number of examples; and length one is missing"
    assert not is_like(first), "that is each class's first example; take the mean of all its examples"
    everything = F.normalize(features.mean(0, keepdim=True), dim=1).expand(3, -1)
    assert not is_like(everything), "all classes are alike: choose the rows of a class with features[labels == c]"
    assert not is_like(F.normalize(means, dim=0)), "columns have length one here; rows should: dim=1"
    assert not is_like(F.normalize(means, dim=1)[[2, 0, 1]]), "row c belongs to class c, not to the order of the labels"
    assert not is_like(F.normalize(means, p=1, dim=1)), "length is the root of the sum of squares, not of sizes"
    assert is_like(F.normalize(means, dim=1)), "this is not equation (3); try it with one example of each class"
    right("3.3.2")


def check_votes(answer: Callable[..., Tensor]) -> None:
    """Exercise 3.3.3: every example votes for its class, the nearer the louder, equation (5)."""
    queries, keys = F.normalize(_rows(4, 3), dim=1), F.normalize(_rows(7, 4), dim=1)
    labels, beta = torch.tensor([0, 2, 1, 0, 2, 2, 0]), 3.0
    got = answer(queries, keys, labels, 3, beta)
    if untried(got, "3.3.3", "replace the dots: how near is each example, and which class does it vote for?"):
        return
    near, votes = queries @ keys.T, F.one_hot(labels, 3).double()
    assert not (isinstance(got, Tensor) and got.shape == near.shape), (
        "that is one number for each example: add up the examples of each class, with @ the one-hot labels"
    )
    shaped(got, queries[:, :3])

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.double(), wanted, atol=1e-6)

    loud = (-beta * (1 - near)).exp()
    assert not is_like(near @ votes), "these are bare cosines: the vote is exp(-beta · (1 - cosine))"
    assert not is_like((near - 1).exp() @ votes), "beta is missing: it says how fast a vote dies away"
    assert not is_like((beta * (1 - near)).exp() @ votes), "the far examples are the loud ones: the sign of beta"
    assert not is_like((-beta * near).exp() @ votes), "the far examples are the loud ones: 1 - cosine is the distance"
    assert not is_like((beta * near).exp() @ votes), "the 1 is missing: the vote of the very same picture should be one"
    assert not is_like(beta * (near - 1).exp() @ votes), "beta belongs inside the exponential"
    assert not is_like((-beta * (1 - near) @ votes).exp()), "each vote is an exponential; add up afterwards"
    assert not is_like(loud @ votes / votes.sum(0)), "these are means; in equation (5) votes are added up"
    assert not is_like((-beta * (1 - near)).softmax(1) @ votes), "no softmax: far from everything, all votes are small"
    assert is_like(loud @ votes), "this is not equation (5); try it with one query that equals one key"
    right("3.3.3")
