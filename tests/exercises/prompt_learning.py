"""Answers to the exercises of notebook 3.3."""

import torch
from torch.nn import functional as F

from aigc_course import adaptation, checks
from exercises import Exercise


def unit(x):
    return F.normalize(x, dim=1)


def _shares(u, v, s):
    return (s * unit(u) @ unit(v).T).softmax(1)


def _shares_by_zero_shot(u, v, s):
    return adaptation.zero_shot(unit(u), unit(v)[:, None], s).softmax(1)


SHARES = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "one picture": (lambda u, v, s: _shares(u, v, s)[0], "the shape is"),
    "cosines": (lambda u, v, s: unit(u) @ unit(v).T, "these are cosines"),
    "logits": (lambda u, v, s: s * unit(u) @ unit(v).T, "these are logits"),
    "no length": (lambda u, v, s: (s * u @ v.T).softmax(1), "a long vector shouts"),
    "words as they are": (lambda u, v, s: (s * unit(u) @ v.T).softmax(1), "the words are not of length one"),
    "pictures as they are": (lambda u, v, s: (s * u @ unit(v).T).softmax(1), "the pictures are not of length one"),
    "no scale": (lambda u, v, s: _shares(u, v, 1), "`scale` is missing"),
    "divided": (lambda u, v, s: _shares(u, v, 1 / s), "one over the temperature"),
    "over pictures": (lambda u, v, s: (s * unit(u) @ unit(v).T).softmax(0), "softmax over dimension 1"),
    "logarithms": (lambda u, v, s: _shares(u, v, s).log(), "logarithms of the shares"),
    "hardest choice": (lambda u, v, s: (_shares(u, v, s) > 0.5).double(), "not equation (1)"),
}


def _means(f, labels, classes):
    return torch.stack([f[labels == c].mean(0) for c in range(classes)])


def _one_hot_means(f, labels, classes):
    return unit(F.one_hot(labels, classes).to(f).T @ f)


MEANS = {
    "a list": (lambda f, y, c: list(_means(f, y, c)), "return a tensor"),
    "one mean": (lambda f, y, c: f.mean(0), "the shape is"),
    "not of length one": (_means, "these are the means"),
    "sums": (lambda f, y, c: F.one_hot(y, c).to(f).T @ f, "these are sums"),
    "one count for all": (lambda f, y, c: F.one_hot(y, c).to(f).T @ f / len(y), "its own number of examples"),
    "first example": (lambda f, y, c: torch.stack([f[y == k][0] for k in range(c)]), "each class's first example"),
    "mean of all": (lambda f, y, c: unit(f.mean(0, keepdim=True).repeat(c, 1)), "all classes are alike"),
    "columns": (lambda f, y, c: F.normalize(_means(f, y, c), dim=0), "columns have length one"),
    "order of labels": (
        lambda f, y, c: unit(_means(f, y, c))[list(dict.fromkeys(y.tolist()))],
        "not to the order of the labels",
    ),
    "another length": (lambda f, y, c: F.normalize(_means(f, y, c), p=1, dim=1), "the root of the sum of squares"),
    "turned round": (lambda f, y, c: -unit(_means(f, y, c)), "not equation (3)"),
}


def _loud(q, k, beta):
    return (-beta * (1 - q @ k.T)).exp()


def _votes(q, k, y, c, beta):
    return _loud(q, k, beta) @ F.one_hot(y, c).to(q)


def _votes_by_loop(q, k, y, c, beta):
    return torch.stack([_loud(q, k, beta)[:, y == j].sum(1) for j in range(c)], 1)


VOTES = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "each example": (lambda q, k, y, c, b: _loud(q, k, b), "one number for each example"),
    "transposed": (lambda q, k, y, c, b: _votes(q, k, y, c, b).T, "the shape is"),
    "cosines": (lambda q, k, y, c, b: q @ k.T @ F.one_hot(y, c).to(q), "bare cosines"),
    "no beta": (lambda q, k, y, c, b: _votes(q, k, y, c, 1), "beta is missing"),
    "sign": (lambda q, k, y, c, b: _votes(q, k, y, c, -b), "the sign of beta"),
    "cosine as distance": (
        lambda q, k, y, c, b: (-b * q @ k.T).exp() @ F.one_hot(y, c).to(q),
        "1 - cosine is the distance",
    ),
    "no one": (lambda q, k, y, c, b: (b * q @ k.T).exp() @ F.one_hot(y, c).to(q), "the 1 is missing"),
    "beta outside": (lambda q, k, y, c, b: b * _votes(q, k, y, c, 1), "belongs inside"),
    "exponential last": (
        lambda q, k, y, c, b: (-b * (1 - q @ k.T) @ F.one_hot(y, c).to(q)).exp(),
        "add up afterwards",
    ),
    "means": (lambda q, k, y, c, b: _votes(q, k, y, c, b) / y.bincount(minlength=c), "these are means"),
    "softmax": (lambda q, k, y, c, b: _loud(q, k, b).log().softmax(1) @ F.one_hot(y, c).to(q), "no softmax"),
    "nearest alone": (
        lambda q, k, y, c, b: F.one_hot(y, c).to(q)[(q @ k.T).argmax(1)],
        "not equation (5)",
    ),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("3.3.1", checks.check_name_shares, _dots, [_shares, _shares_by_zero_shot], SHARES),
    Exercise("3.3.2", checks.check_class_means, _dots, [_one_hot_means, adaptation.prototypes], MEANS),
    Exercise("3.3.3", checks.check_votes, _dots, [_votes, _votes_by_loop], VOTES),
]
