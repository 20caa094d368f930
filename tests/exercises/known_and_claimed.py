"""Answers to the exercises of notebook 1.2."""

import math
from itertools import pairwise

import torch

from aigc_course import checks
from exercises import Exercise


def _reported(accuracy, n, length):
    return 1 - (1 - accuracy) * n / length


REPORTED = {
    "padding ignored": (lambda a, n, length: a, "nothing changed"),
    "padding wrong": (lambda a, n, length: a * n / length, "counts padding as wrong"),
    "swapped": (lambda a, n, length: 1 - (1 - a) * length / n, "n and L are swapped"),
    "accuracy for errors": (lambda a, n, length: 1 - a * n / length, "the share of errors; you took"),
    "errors": (lambda a, n, length: (1 - a) * n / length, "share of errors in the report"),
    "padding alone": (lambda a, n, length: 1 - n / length, "share of padding alone"),
    "not weighed": (lambda a, n, length: a + 1 - n / length, "more than everything"),
    "half and half": (lambda a, n, length: (a + 1) / 2, "not equally many"),
    "n twice": (lambda a, n, length: 1 - (1 - a) * n / (n + length), "not by n + L"),
    "percent": (lambda a, n, length: 100 * _reported(a, n, length), "in percent"),
    "a root": (lambda a, n, length: _reported(a, n, length) ** 0.5, "not equation (3)"),
    "always a quarter": (lambda a, n, length: 1 - (1 - a) * 0.25, "nothing is padded"),
}


def _chances(chances, words):
    return [chances[a][b] for a, b in pairwise(words)]


def _surprise(chances, words):
    return -sum(math.log(p) for p in _chances(chances, words))


SURPRISE = {
    "no minus": (lambda c, w: -_surprise(c, w), "the sign is lost"),
    "bits": (lambda c, w: -sum(math.log2(p) for p in _chances(c, w)), "that is in bits"),
    "the chance": (lambda c, w: math.prod(_chances(c, w)), "the chance of the sentence"),
    "a sum of chances": (lambda c, w: sum(_chances(c, w)), "multiplied, not added"),
    "the average": (lambda c, w: _surprise(c, w) / (len(w) - 1), "an average word"),
    "perplexity": (lambda c, w: math.exp(_surprise(c, w) / (len(w) - 1)), "the perplexity"),
    "no end": (lambda c, w: _surprise(c, w[:-1]), "the end mark is missing"),
    "no beginning": (lambda c, w: _surprise(c, w[1:]), "the first word is missing"),
    "weighed": (lambda c, w: -sum(p * math.log(p) for p in _chances(c, w)), "weighs each word"),
    "backwards": (lambda c, w: -sum(math.log(c[b][a]) for a, b in pairwise(w)), "the word before comes first"),
    "smoothed": (lambda c, w: -sum(math.log(p + 0.01) for p in _chances(c, w)), "try one pair by hand"),
    "five words": (lambda c, w: _surprise(c, w[:5]), "a longer sentence"),
}


def _gradient(x, weights, truth):
    p = (weights @ x).softmax(0)
    p[truth] -= 1
    return p[:, None] * x


def _p(x, weights):
    return (weights @ x).softmax(0)


def _y(weights, truth):
    return torch.eye(len(weights))[truth]


def _naive(x, weights, truth):
    powers = (weights @ x).exp()
    return torch.outer(powers / powers.sum() - _y(weights, truth), x)


GRADIENT = {
    "a number": (lambda x, w, k: 0.5, "return a tensor"),
    "scores alone": (lambda x, w, k: _p(x, w) - _y(w, k), "gradient for the scores"),
    "the model's": (lambda x, w, k: x.repeat(len(w), 1), "gradient of the model"),
    "uphill": (lambda x, w, k: -_gradient(x, w, k), "y and p are swapped"),
    "transposed": (lambda x, w, k: _gradient(x, w, k).T, "rows and columns"),
    "no truth": (lambda x, w, k: torch.outer(_p(x, w), x), "the truth is missing"),
    "no model": (lambda x, w, k: -torch.outer(_y(w, k), x), "the model's answer is missing"),
    "no softmax": (lambda x, w, k: torch.outer(w @ x - _y(w, k), x), "scores, no chances"),
    "sigmoid": (lambda x, w, k: torch.outer((w @ x).sigmoid() - _y(w, k), x), "sigmoid"),
    "averaged": (lambda x, w, k: _gradient(x, w, k) / len(w), "not averaged"),
    "a dot": (lambda x, w, k: _gradient(x, w, k).sum(), "has its weights' shape"),
    "times weights": (lambda x, w, k: (_p(x, w) - _y(w, k))[:, None] * w, "compare with loss.backward()"),
    "fixed truth": (lambda x, w, k: _gradient(x, w, 1), "another truth"),
    "bare exponential": (_naive, "large scores give NaN"),
}

EXERCISES = [
    Exercise(
        "1.2.1",
        checks.check_reported_accuracy,
        lambda a, n, length: ...,
        [_reported, lambda a, n, length: (a * n + length - n) / length],
        REPORTED,
    ),
    Exercise("1.2.2", checks.check_sentence_surprise, lambda c, w: ..., [_surprise], SURPRISE),
    Exercise(
        "1.2.3",
        checks.check_loss_gradient,
        lambda x, w, k: ...,
        [_gradient, lambda x, w, k: torch.outer(_p(x, w) - _y(w, k), x)],
        GRADIENT,
    ),
]
