"""Answers to the exercises of notebook 3.5."""

import random
from collections import deque

from torch.nn import functional as F

from aigc_course import checks
from exercises import Exercise

BACKWARD = {
    "four numbers": (lambda R: R[-1] - R.diagonal(), "equation (2) is one"),
    "before minus after": (lambda R: (R.diagonal() - R[-1])[:-1].mean(), "the sign is turned"),
    "with the last task": (lambda R: (R[-1] - R.diagonal()).mean(), "leave its 0 out"),
    "a sum": (lambda R: (R[-1] - R.diagonal()).sum(), "that is the sum"),
    "average accuracy": (lambda R: R[-1].mean(), "the average accuracy"),
    "since the first stage": (lambda R: (R[-1] - R[0])[:-1].mean(), "not the first"),
    "last column": (lambda R: (R[:, -1] - R.diagonal())[:-1].mean(), "rows are stages"),
    "since the best stage": (lambda R: (R[-1] - R[:-1].amax(0))[:-1].mean(), "from the best stage"),
    "nothing": (lambda R: 0.0, "not equation (2)"),
}


def _kl(p, q):
    return (p.exp() * (p - q)).sum(1)


def _distil(student, teacher, T, to_teacher=None, to_student=None, times=2):
    p, q = (teacher / (to_teacher or T)).log_softmax(1), (student / (to_student or T)).log_softmax(1)
    return T**times * _kl(p, q).mean()


def _library(student, teacher, T):
    return T * T * F.kl_div((student / T).log_softmax(1), (teacher / T).softmax(1), reduction="batchmean")


DISTIL = {
    "a number": (lambda s, t, T: 0.5, "return a tensor"),
    "one for each picture": (lambda s, t, T: _kl(t.log_softmax(1), s.log_softmax(1)), "the shape is"),
    "no T²": (lambda s, t, T: _distil(s, t, T, times=0), "is missing"),
    "T once": (lambda s, t, T: _distil(s, t, T, times=1), "T once"),
    "swapped": (lambda s, t, T: _distil(t, s, T), "the two are swapped"),
    "not softened": (lambda s, t, T: _distil(s, t, T, 1, 1), "soften both"),
    "hard student": (lambda s, t, T: _distil(s, t, T, to_student=1), "soften the student"),
    "hard teacher": (lambda s, t, T: _distil(s, t, T, to_teacher=1), "soften the teacher"),
    "summed": (lambda s, t, T: _distil(s, t, T) * len(s), "the sum over pictures"),
    "mean over names": (lambda s, t, T: _distil(s, t, T) / s.shape[1], "sum over the names"),
    "cross-entropy": (
        lambda s, t, T: -(T**2) * ((t / T).softmax(1) * (s / T).log_softmax(1)).sum(1).mean(),
        "that is the cross-entropy",
    ),
    "turned": (lambda s, t, T: -_distil(s, t, T), "never below 0"),
    "squares": (lambda s, t, T: (s - t).square().mean(), "not equation (5)"),
}


def _reservoir(items, size, rng, place=lambda n, size, rng: rng.randrange(n)):
    kept = []
    for n, item in enumerate(items, start=1):
        if len(kept) < size:
            kept.append(item)
        elif (to := place(n, size, rng)) < size:
            kept[to] = item
    return kept


def _with(place):
    return lambda items, size, rng: _reservoir(items, size, rng, place)


def _by_chance(items, size, rng):
    """The same rule in another spelling: first whether, then where."""
    kept = []
    for n, item in enumerate(items, start=1):
        if n <= size:
            kept.append(item)
        elif rng.random() < size / n:
            kept[rng.randrange(size)] = item
    return kept


def _unfilled(items, size, rng):
    """Takes part in the lottery before the buffer is full."""
    kept = []
    for n, item in enumerate(items, start=1):
        if n == 1 or (n > 2 and len(kept) < size):
            kept.append(item)
        elif (to := rng.randrange(n)) < len(kept):
            kept[to] = item
    return kept


RESERVOIR = {
    "a tuple": (lambda items, size, rng: tuple(_reservoir(items, size, rng)), "not a tuple"),
    "all": (lambda items, size, rng: list(items), "were kept; the buffer holds"),
    "too few": (lambda items, size, rng: _reservoir(items, size - 1, rng), "there is room for 3"),
    "places, not items": (lambda items, size, rng: [item + 100 for item in _reservoir(items, size, rng)], "came by"),
    "one three times": (lambda items, size, rng: 3 * _reservoir(items, 1, rng), "an item came in twice"),
    "not filled": (_unfilled, "while there is room"),
    "another source": (_with(lambda n, size, rng: random.randrange(n)), "that you were given"),
    "the first": (_with(lambda n, size, rng: size), "the first items never leave"),
    "one place": (_with(lambda n, size, rng: 0 if rng.random() < size / n else size), "must be drawn, too"),
    "a queue": (lambda items, size, rng: list(deque(items, size)), "only the last items"),
    "always in": (_with(lambda n, size, rng: rng.randrange(size)), "always in"),
    "off by one": (_with(lambda n, size, rng: rng.randrange(n - 1)), "off by one"),
    "a fixed chance": (_with(lambda n, size, rng: rng.randrange(2 * size - 1)), "late items are favoured"),
    "too rarely": (_with(lambda n, size, rng: rng.randrange(3 * n)), "early items are favoured"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise(
        "3.5.1",
        checks.check_backward_transfer,
        _dots,
        [lambda R: (R[-1] - R.diagonal())[:-1].mean(), lambda R: sum(R[-1, j] - R[j, j] for j in range(3)) / 3],
        BACKWARD,
    ),
    Exercise("3.5.2", checks.check_distillation, _dots, [_distil, _library], DISTIL),
    Exercise("3.5.3", checks.check_reservoir, _dots, [_reservoir, _by_chance], RESERVOIR),
]
