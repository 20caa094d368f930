"""Answers to the exercises of notebook 5.1."""

import torch

from aigc_course import checks
from exercises import Exercise


def _squares(gram):
    return gram.diagonal(dim1=1, dim2=2)


def _spread(gram, mean):
    return (_squares(gram) - mean**2).sqrt()


def _from_covariance(gram, mean):
    return (gram - mean[:, :, None] * mean[:, None]).diagonal(dim1=1, dim2=2) ** 0.5


def _by_einsum(gram, mean):
    return torch.sqrt(torch.einsum("bcc->bc", gram) - mean.square())


SPREADS = {
    "a matrix": (lambda g, m: (g - m[:, :, None] * m[:, None]).abs().sqrt(), "needs the diagonal"),
    "the batch": (lambda g, m: (g.diagonal() - m**2).sqrt(), "first axis is the batch"),
    "no root": (lambda g, m: _squares(g) - m**2, "that is the variance"),
    "no mean": (lambda g, m: _squares(g).sqrt(), "root mean square"),
    "mean not squared": (lambda g, m: (_squares(g) - m).sqrt(), "mean is squared"),
    "added": (lambda g, m: (_squares(g) + m**2).sqrt(), "not added"),
    "root first": (lambda g, m: _squares(g).sqrt() - m, "the root last"),
    "one less": (lambda g, m: _spread(g, m) * (20 / 19) ** 0.5, "not by one less"),
    "means": (lambda g, m: m, "what has to go"),
}


def _rows(maps, mask):
    return maps.flatten(2), mask.flatten(2)


def _masked(maps, mask):
    rows, weight = _rows(maps, mask)
    return (weight * rows) @ rows.mT / weight.sum(2, keepdim=True)


def _masked_by_einsum(maps, mask):
    return torch.einsum("bhw,bchw,bdhw->bcd", mask[:, 0], maps, maps) / mask.sum((2, 3))[..., None]


def _by_roots(maps, mask):
    rows = (maps * mask.sqrt()).flatten(2)
    return rows @ rows.mT / mask.sum((1, 2, 3)).view(-1, 1, 1)


def _sum(maps, mask):
    return _masked(maps, mask) * mask.sum((2, 3))[..., None]


def _of_masked_maps(maps, mask, by):
    rows = (maps * mask).flatten(2)
    return rows @ rows.mT / by


def _places(maps, mask):
    rows, weight = _rows(maps, mask)
    return (weight * rows).mT @ rows / weight.sum(2, keepdim=True)


def _covariance(maps, mask):
    rows, weight = _rows(maps, mask)
    mean = (weight * rows).sum(2, keepdim=True) / weight.sum(2, keepdim=True)
    return _masked(maps, mask) - mean @ mean.mT


MASKED = {
    "no mask": (lambda f, m: _masked(f, torch.ones_like(m)), "has no say"),
    "places": (_places, "compares places with places"),
    "sum": (_sum, "that is the sum"),
    "all places": (lambda f, m: _sum(f, m) / 20, "not by all places"),
    "twice": (lambda f, m: _of_masked_maps(f, m, m.sum((2, 3))[..., None]), "counts twice"),
    "square": (lambda f, m: _of_masked_maps(f, m, m.square().sum((2, 3))[..., None]), "mask's square"),
    "one mask for all": (lambda f, m: _sum(f, m) / m.sum(), "its own mask"),
    "channels": (lambda f, m: _masked(f, m) / 3, "by the channels"),
    "covariance": (_covariance, "keeps the means"),
    "hard": (lambda f, m: _masked(f, (m > 0.5).double()), "may be soft"),
    "other side": (lambda f, m: _masked(f, 1 - m), "with a mask of ones"),
}


def _off(maps, wanted):
    return maps.mean((2, 3), keepdim=True) - wanted


def _mean_slope(maps, wanted):
    _, channels, height, width = maps.shape
    return (2 * _off(maps, wanted) / (channels * height * width)).expand_as(maps)


def _by_autograd(maps, wanted):
    maps = maps.clone().requires_grad_()
    return torch.autograd.grad(_off(maps, wanted).square().mean(), maps)[0]


def _times(factor, sign=1):
    return lambda maps, wanted: sign * factor * _mean_slope(maps, wanted)


SLOPES = {
    "one a channel": (lambda f, w: 2 * _off(f, w) / 60, "expand it"),
    "downhill": (_times(1, -1), "sign is turned"),
    "no two": (_times(0.5), "square's 2"),
    "no places": (_times(20), "divide by the places"),
    "no channels": (_times(3), "divide by C"),
    "no division": (_times(60), "two divisions"),
    "four": (_times(2), "here it stands once"),
    "own distance": (lambda f, w: 2 / 60 * (f - w), "not by its own"),
    "times F": (lambda f, w: _mean_slope(f, w) * f, "F itself is not in it"),
    "the loss": (lambda f, w: _off(f, w).square().expand_as(f), "asked is its slope"),
    "absolute": (lambda f, w: _mean_slope(f, w).abs(), "let autograd do it"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("5.1.1", checks.check_spread, _dots, [_spread, _from_covariance, _by_einsum], SPREADS),
    Exercise("5.1.2", checks.check_masked_gram, _dots, [_masked, _masked_by_einsum, _by_roots], MASKED),
    Exercise("5.1.3", checks.check_mean_slope, _dots, [_mean_slope, _by_autograd], SLOPES),
]
