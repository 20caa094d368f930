"""Answers to the exercises of notebook 4.1."""

from itertools import pairwise

from aigc_course import checks
from exercises import Exercise


def _fixed(numbers, trained, each, state=8, copy=None):
    copy = 4 * (each < 4) if copy is None else copy
    return each * numbers + (each + copy + state) * trained


def _by_terms(numbers, trained, each):
    total = numbers * each + trained * each + 2 * 4 * trained
    return total if each == 4 else total + 4 * trained


FIXED = {
    "×4": (lambda n, t, e: 4 * e * n, "the ×4 rule"),
    "one state": (lambda n, t, e: _fixed(n, t, e, 4), "two states a trained number"),
    "narrow states": (lambda n, t, e: _fixed(n, t, e, 2 * e), "stay in float32"),
    "no states": (lambda n, t, e: _fixed(n, t, e, 0), "states of AdamW are missing"),
    "states of frozen": (lambda n, t, e: _fixed(n, t, e) + 8 * (n - t), "frozen number has no states"),
    "gradients of frozen": (lambda n, t, e: _fixed(n, t, e) + e * (n - t), "has no gradient"),
    "no gradients": (lambda n, t, e: _fixed(n, t, e) - e * t, "gradients are missing"),
    "wide gradients": (lambda n, t, e: _fixed(n, t, e) + (4 - e) * t, "as wide as its weight"),
    "no copy": (lambda n, t, e: _fixed(n, t, e, copy=0), "need a float32 copy"),
    "always a copy": (lambda n, t, e: _fixed(n, t, e, copy=4), "float32 already"),
    "copy of frozen": (lambda n, t, e: _fixed(n, t, e) + 4 * (e < 4) * (n - t), "only numbers that learn"),
    "trained weights alone": (lambda n, t, e: _fixed(t, t, e), "frozen numbers are held too"),
    "weights alone": (lambda n, t, e: e * n, "the four terms"),
}


def _kept(batch, widths):
    return 4 * batch * sum(widths[1:])


def _layer_by_layer(batch, widths):
    total = 0
    for _, out in pairwise(widths):
        total += batch * out * 4
    return total


KEPT = {
    "numbers": (lambda b, w: b * sum(w[1:]), "counts numbers"),
    "one row": (lambda b, w: 4 * sum(w[1:]), "one row"),
    "with the batch": (lambda b, w: 4 * b * sum(w), "leave widths[0] out"),
    "inputs of layers": (lambda b, w: 4 * b * sum(w[:-1]), "the loss keeps something"),
    "no error": (lambda b, w: 4 * b * sum(w[1:-1]), "widths[-1] counts too"),
    "before and after ReLU": (lambda b, w: 4 * b * (2 * sum(w[1:-1]) + w[-1]), "ReLU keeps its output alone"),
    "weights": (lambda b, w: 4 * sum(i * o for i, o in pairwise(w)), "those are the weights"),
    "widest": (lambda b, w: 4 * b * max(w), "not the widest alone"),
    "the answer": (lambda b, w: 4 * b * w[-1], "not equation (3)"),
}


def _alive(lives, moment):
    return sum(size for size, born, died in lives if born <= moment and (died is None or moment < died))


def _peak(lives):
    return max(_alive(lives, born) for _, born, _ in lives)


def _by_events(lives):
    events = [(born, 1, size) for size, born, _ in lives]
    events += [(died, 0, -size) for size, _, died in lives if died is not None]  # frees come first
    total = most = 0
    for _, _, change in sorted(events):
        total += change
        most = max(most, total)
    return most


def _over(lives, alive):
    return max(sum(size for size, *life in lives if alive(m, *life)) for m in range(7))


PEAK = {
    "never freed": (lambda lives: sum(size for size, _, _ in lives), "never frees"),
    "at the end": (lambda lives: _alive(lives, 6), "left at the end"),
    "largest": (lambda lives: max(lives)[0], "the largest tensor"),
    "died is alive": (lambda lives: _over(lives, lambda m, b, d: b <= m and (d is None or m <= d)), "gone already"),
    "None is never": (lambda lives: _over(lives, lambda m, b, d: d is not None and b <= m < d), "not never"),
    "born is not yet": (lambda lives: _over(lives, lambda m, b, d: b < m and (d is None or m < d)), "there already"),
    "the moment": (lambda lives: max(range(7), key=lambda m: _alive(lives, m)), "the moment of the peak"),
    "tensors": (lambda lives: _peak([(1, *life) for _, *life in lives]), "counts tensors"),
    "average": (lambda lives: sum(_alive(lives, m) for m in range(7)) / 7, "the average"),
    "the first moments": (lambda lives: _alive(lives, 2), "each moment's sum"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("4.1.1", checks.check_fixed_bytes, _dots, [_fixed, _by_terms], FIXED),
    Exercise("4.1.2", checks.check_kept_bytes, _dots, [_kept, _layer_by_layer], KEPT),
    Exercise("4.1.3", checks.check_peak, _dots, [_peak, _by_events], PEAK),
]
