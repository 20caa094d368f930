"""Answers to the exercises of notebook 3.4."""

import torch

from aigc_course import checks
from exercises import Exercise


def _mean(x):
    return x.square().mean()


def _joined(own, prior, weight):
    every = [own.square(), weight * prior.square()]
    return sum(x.sum() for x in every) / sum(x.numel() for x in every)


PRIOR = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "not averaged": (lambda own, *given: own.square(), "the shape is"),
    "no prior": (lambda own, prior, weight: _mean(own), "the prior is missing"),
    "prior alone": (lambda own, prior, weight: _mean(prior), "the new thing is missing"),
    "no weight": (lambda own, prior, weight: _mean(own) + _mean(prior), "the weight is missing"),
    "weight on the new": (lambda own, prior, weight: weight * _mean(own) + _mean(prior), "belongs to the prior"),
    "mixture": (lambda own, prior, weight: (1 - weight) * _mean(own) + weight * _mean(prior), "no mixture"),
    "weight squared": (lambda own, prior, weight: _mean(own) + _mean(weight * prior), "outside the square"),
    "minus": (lambda own, prior, weight: _mean(own) - weight * _mean(prior), "a minus rewards"),
    "one mean": (_joined, "one mean over both"),
    "sizes": (lambda own, prior, weight: own.abs().mean() + weight * prior.abs().mean(), "squares, not sizes"),
    "sums": (lambda own, prior, weight: own.square().sum() + weight * prior.square().sum(), "means, not sums"),
    "roots": (lambda own, prior, weight: _mean(own).sqrt() + weight * _mean(prior).sqrt(), "not equation (4)"),
}


def _prior(own, prior, weight):
    return _mean(own) + weight * _mean(prior)


def _kept(gradient, which):
    mask = torch.zeros_like(gradient)
    mask[which] = 1
    return gradient * mask


def _copied(gradient, row):
    only = torch.zeros_like(gradient)
    only[row] = gradient[row]
    return only


def _in_place(gradient, row):
    gradient[torch.arange(len(gradient)) != row] = 0
    return gradient


ROW = {
    "in place": (_in_place, "has changed"),
    "a number": (lambda g, row: 0.5, "return a tensor"),
    "the row alone": (lambda g, row: g[row], "that is the row alone"),
    "two rows": (lambda g, row: g[:row], "the shape is"),
    "all rows": (lambda g, row: g.clone(), "every row still moves"),
    "no row": (lambda g, row: 0 * g, "no row moves"),
    "the others": (lambda g, row: g - _kept(g, row), "the other way round"),
    "a column": (lambda g, row: _kept(g, (slice(None), row)), "that is a column"),
    "rows before": (lambda g, row: _kept(g, slice(row + 1)), "the rows before it"),
    "rows after": (lambda g, row: _kept(g, slice(row, None)), "the rows after it"),
    "the last": (lambda g, row: _kept(g, -1), "that is the last row"),
    "stronger": (lambda g, row: 2 * _kept(g, row), "as it was given"),
}


def _share(*each):
    every = torch.stack(each).all(0)
    return every.float().mean()


ALL = {
    "one by one": (lambda a, b, c: a & b & c, "one share is wanted"),
    "how many": (lambda a, b, c: (a & b & c).sum(), "that is how many"),
    "identity": (lambda a, b, c: a.float().mean(), "the identity alone"),
    "mean of shares": (lambda a, b, c: torch.stack([a, b, c]).float().mean(), "a mean of three shares"),
    "product": (
        lambda a, b, c: a.float().mean() * b.float().mean() * c.float().mean(),
        "if the three were independent",
    ),
    "smallest": (lambda a, b, c: torch.stack([a, b, c]).double().mean(1).min(), "the smallest share"),
    "any": (lambda a, b, c: (a | b | c).float().mean(), "one of three is not enough"),
    "among things": (lambda a, b, c: (b & c)[a].float().mean(), "divide by all pictures"),
    "place and style": (lambda a, b, c: (b & c).double().mean(), "not the share of pictures"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("3.4.1", checks.check_prior_loss, _dots, [_prior], PRIOR),
    Exercise("3.4.2", checks.check_one_row, _dots, [_copied, _kept], ROW),
    Exercise("3.4.3", checks.check_all_right, _dots, [_share, lambda a, b, c: (a & b & c).sum() / len(a)], ALL),
]
