"""Answers to the exercises of notebook 6.3."""

import numpy as np

from aigc_course import checks
from exercises import Exercise


def _rank(values):
    return np.argsort(np.argsort(values))


def _by_rank(own, wanted):
    return np.argsort(wanted)[_rank(own)]


def _by_pairs(own, wanted):
    found = [0] * len(own)
    for i, j in zip(sorted(range(len(own)), key=own.__getitem__), np.argsort(wanted), strict=True):
        found[i] = int(j)
    return found


def _by_counting(own, wanted):
    return [wanted.index(sorted(wanted)[sum(other < mine for other in own)]) for mine in own]


BRAND = {
    "lightness": (lambda o, w: np.array(w)[_by_rank(o, w)], "asked are their indices"),
    "argsort once": (lambda o, w: np.argsort(w)[np.argsort(o)], "take it twice"),
    "backwards": (lambda o, w: np.argsort(w)[_rank(o)[::-1]], "read backwards"),
    "reversed": (lambda o, w: np.argsort(w)[::-1][_rank(o)], "the darkest the lightest"),
    "own sorted": (lambda o, w: np.argsort(w), "an `own` that is sorted"),
    "wanted sorted": (lambda o, w: _rank(o), "a `wanted` that is sorted"),
    "two ranks": (lambda o, w: _rank(w)[_rank(o)], "say how light each is"),
    "other way round": (lambda o, w: _by_rank(w, o), "for each brand colour"),
    "nearest": (lambda o, w: np.abs(np.subtract.outer(o, w)).argmin(1), "taken twice"),
    "from one": (lambda o, w: _by_rank(o, w) + 1, "begin at 0"),
    "as they come": (lambda o, w: list(range(len(o))), "sort both, then pair"),
    "four": (lambda o, w: _by_rank(o, w)[:4], "need five answers"),
}


def _seam(x):
    return np.abs(x[:, -1] - x[:, 0]).mean() / np.abs(np.diff(x, axis=1)).mean()


def _seam_by_loops(x):
    rows, columns = x.shape
    step = sum(abs(row[-1] - row[0]) for row in x) / rows
    usual = sum(abs(row[i + 1] - row[i]) for row in x for i in range(columns - 1)) / (rows * (columns - 1))
    return step / usual


def _wrap(x):
    return x[:, -1] - x[:, 0]


SEAM = {
    "upside down": (lambda x: 1 / _seam(x), "upside down"),
    "step alone": (lambda x: np.abs(_wrap(x)).mean(), "the step alone"),
    "no bars": (lambda x: _wrap(x).mean() / np.diff(x, axis=1).mean(), "steps up and down cancel"),
    "bars of the mean": (lambda x: abs(_wrap(x).mean()) / np.abs(np.diff(x, axis=1)).mean(), "each pixel, then"),
    "squares": (lambda x: np.square(_wrap(x)).mean() / np.square(np.diff(x, axis=1)).mean(), "no squares"),
    "sums": (lambda x: np.abs(_wrap(x)).sum() / np.abs(np.diff(x, axis=1)).sum(), "how many steps"),
    "rows": (lambda x: _seam(x.T), "from top to bottom"),
    "rows inside": (lambda x: np.abs(_wrap(x)).mean() / np.abs(np.diff(x, axis=0)).mean(), "usual steps too"),
    "last two": (lambda x: np.abs(x[:, -1] - x[:, -2]).mean() / np.abs(np.diff(x, axis=1)).mean(), "side by side"),
    "edge inside": (lambda x: np.abs(_wrap(x)).mean() / np.abs(np.roll(x, -1, 1) - x).mean(), "one inside"),
    "largest": (lambda x: np.abs(_wrap(x)).mean() / np.abs(np.diff(x, axis=1)).max(), "not the largest"),
    "each row": (lambda x: np.abs(_wrap(x)) / np.abs(np.diff(x, axis=1)).mean(), "one number"),
    "difference": (lambda x: np.abs(_wrap(x)).mean() - np.abs(np.diff(x, axis=1)).mean(), "it gives 3"),
}


def _off(x):
    return x[1:-1] - (x[:-2] + x[2:]) / 2


def _flicker(x):
    return np.abs(_off(x)).mean()


def _flicker_by_curvature(x):
    return np.abs(np.diff(x, n=2, axis=0)).mean() / 2


FLICKER = {
    "steps": (lambda x: np.abs(np.diff(x, axis=0)).mean(), "an even motion has it too"),
    "no bars": (lambda x: _off(x).mean(), "cancel"),
    "bars of the mean": (lambda x: abs(_off(x).mean()), "each pixel, then"),
    "not halved": (lambda x: np.abs(x[1:-1] - (x[:-2] + x[2:])).mean(), "not halved"),
    "curvature": (lambda x: np.abs(np.diff(x, n=2, axis=0)).mean(), "twice too much"),
    "ring": (lambda x: np.abs(x - (np.roll(x, 1, 0) + np.roll(x, -1, 0)) / 2).mean(), "leave both ends out"),
    "squares": (lambda x: np.square(_off(x)).mean(), "|…|, no squares"),
    "root": (lambda x: np.sqrt(np.square(_off(x)).mean()), "no root"),
    "sum": (lambda x: np.abs(_off(x)).sum(), "a longer clip"),
    "by frames": (lambda x: np.abs(_off(x)).sum() / len(x), "not by that of frames"),
    "looks back": (lambda x: np.abs(x[1:-1] - x[:-2]).mean(), "looks back only"),
    "neighbours alone": (lambda x: np.abs((x[2:] - x[:-2]) / 2).mean(), "itself is missing"),
    "from the mean": (lambda x: np.abs(x - x.mean(0)).mean(), "the whole clip"),
    "each frame": (lambda x: np.abs(_off(x)).mean((1, 2)), "one number"),
    "largest": (lambda x: np.abs(_off(x)).max(), "for frames of one pixel"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("6.3.1", checks.check_brand_for, _dots, [_by_rank, _by_pairs, _by_counting], BRAND),
    Exercise("6.3.2", checks.check_seam_across, _dots, [_seam, _seam_by_loops], SEAM),
    Exercise("6.3.3", checks.check_flicker_of, _dots, [_flicker, _flicker_by_curvature], FLICKER),
]
