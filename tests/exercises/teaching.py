"""Answers to the exercises of notebook 6.4."""

import torch
from torch.nn import functional as F

from aigc_course import checks
from exercises import Exercise


def _back(place, columns):
    row, column = divmod(place, columns)
    return row * columns + columns - 1 - column


def _back_by_list(place, columns):
    start = place // columns * columns
    return list(range(start, start + columns))[::-1][place - start]


BACK = {
    "front": (lambda p, n: p, "places of the fronts"),
    "both": (lambda p, n: 11 - p, "turns rows as well"),
    "short edge": (lambda p, n: (2 - p // n) * n + p % n, "short edge"),
    "off by one": (lambda p, n: p // n * n + n - p % n, "off by one"),
    "first row": (lambda p, n: n - 1 - p % n, "every row is sent to the first"),
    "row by itself": (lambda p, n: p // n + n - 1 - p % n, "row × columns + column"),
    "moved": (lambda p, n: p // n * n + (p + 2) % n, "moves columns along"),
    "always four": (lambda p, n: p // 4 * 4 + 3 - p % 4, "take the number from `columns`"),
    "float": (lambda p, n: float(_back(p, n)), "a whole number"),
    "by columns": (lambda p, n: p % n * 3 + p // n, "draw a sheet"),
}


def _both(marked, wrong):
    return sum(m and w for m, w in zip(marked, wrong))


def _shares(marked, wrong):
    hit = _both(marked, wrong)
    return hit / sum(marked) if any(marked) else 1.0, hit / sum(wrong) if any(wrong) else 1.0


def _shares_by_tensor(marked, wrong):
    m, w = torch.tensor(marked), torch.tensor(wrong)
    return tuple(w[m].double().mean().item() if m.any() else 1.0 for m, w in ((m, w), (w, m)))


def _f1(marked, wrong):
    p, r = _shares(marked, wrong)
    return (2 * p * r / (p + r),) * 2


def _agree(marked, wrong):
    return (sum(m == w for m, w in zip(marked, wrong)) / len(wrong),) * 2


def _of_right(marked, wrong):
    quiet, fine = [not m for m in marked], [not w for w in wrong]
    return _both(quiet, fine) / sum(quiet), _both(quiet, fine) / sum(fine)


MARKS = {
    "swapped": (lambda m, w: _shares(m, w)[::-1], "swapped"),
    "accuracy": (_agree, "on which both agree"),
    "of all": (lambda m, w: (_both(m, w) / len(m),) * 2, "not by all"),
    "right facts": (_of_right, "counts the facts that are right"),
    "F1": (_f1, "harmonic mean"),
    "counts": (lambda m, w: (sum(m) / sum(w), sum(w) / sum(m)), "marked AND wrong"),
    "hits": (lambda m, w: (_both(m, w),) * 2, "divide them"),
    "precision twice": (lambda m, w: (_shares(m, w)[0],) * 2, "recall divides by"),
    "one number": (lambda m, w: _shares(m, w)[0], "return two numbers"),
    "false alarms": (lambda m, w: (1 - _shares(m, w)[0], 1 - _shares(m, w)[1]), "3 are both"),
    "empty": (lambda m, w: (_both(m, w) / sum(m), _both(m, w) / sum(w)), "divided by zero"),
    "empty is 0": (lambda m, w: (_shares(m, w) if any(m) else (0, 0)), "accuses nobody"),
    "nothing wrong is 0": (lambda m, w: (_shares(m, w) if any(w) else (0, 0)), "nothing is missed"),
}


def _chances(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
    return (logits / temperature).softmax(-1)


def _by_power(logits, temperature):
    raised = (logits - logits.amax(-1, keepdim=True)).exp() ** (1 / temperature if temperature else 1e9)
    return raised / raised.sum(-1, keepdim=True)


CHANCES = {
    "none": (lambda x, t: x.softmax(-1), "does nothing yet"),
    "times": (lambda x, t: (x * t).softmax(-1), "times is colder"),
    "after": (lambda x, t: x.softmax(-1) / t, "divide before the softmax"),
    "logits": (lambda x, t: x / t, "logits still"),
    "exp": (lambda x, t: (x / t).exp(), "divide by their sum"),
    "other axis": (lambda x, t: (x / t).softmax(0), "the last axis"),
    "log": (lambda x, t: (x / t).log_softmax(-1), "log_softmax"),
    "square": (lambda x, t: (x / t**2).softmax(-1), "not by its square"),
    "zero": (lambda x, t: (x / t).softmax(-1), "divides by zero"),
    "uniform at 0": (lambda x, t: (x / t).softmax(-1) if t else torch.full_like(x, 1 / 3), "of all others 0"),
    "a list": (lambda x, t: (x / t).softmax(-1).tolist(), "return a tensor"),
    "noise": (lambda x, t: (x / (1 + t)).softmax(-1), "softmax(logits / 2)"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("6.4.1", checks.check_back_place, _dots, [_back, _back_by_list], BACK),
    Exercise("6.4.2", checks.check_precision_recall, _dots, [_shares, _shares_by_tensor], MARKS),
    Exercise("6.4.3", checks.check_chances, _dots, [_chances, _by_power], CHANCES),
]
