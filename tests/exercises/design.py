"""Answers to the exercises of notebook 6.2."""

import torch

from aigc_course import applications, checks
from exercises import Exercise


def _sides(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])


def _area(a):
    return (a[2] - a[0]) * (a[3] - a[1])


def _shared(a, b):
    wide, high = _sides(a, b)
    return max(0, wide) * max(0, high)


def _overlap(a, b):
    return _shared(a, b) / (_area(a) + _area(b) - _shared(a, b))


def _around(a, b):
    return (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))


def _uncut(a, b):
    wide, high = _sides(a, b)
    return wide * high / (_area(a) + _area(b) - wide * high)


def _cut_after(a, b):
    wide, high = _sides(a, b)
    return max(0, wide * high) / (_area(a) + _area(b) - wide * high)


def _wide_alone(a, b):
    wide, high = _sides(a, b)
    shared = abs(wide) * max(0, high) if high < 2 else max(0, wide) * max(0, high) + (2 if wide < 0 else 0)
    return shared / (_area(a) + _area(b) - shared)


OVERLAP = {
    "pixels": (_shared, "the shared area in pixels"),
    "sum below": (lambda a, b: _shared(a, b) / (_area(a) + _area(b)), "counted twice below"),
    "first box": (lambda a, b: _shared(a, b) / _area(a), "the first box alone"),
    "second box": (lambda a, b: _shared(a, b) / _area(b), "divided by one box alone"),
    "box around": (lambda a, b: _shared(a, b) / 30, "the box around both"),
    "upside down": (lambda a, b: (_area(a) + _area(b) - _shared(a, b)) / max(1e-9, _shared(a, b)), "upside down"),
    "Dice": (lambda a, b: 2 * _shared(a, b) / (_area(a) + _area(b)), "Dice's measure"),
    "negative": (_uncut, "a negative width is 0"),
    "cut after": (_cut_after, "two negative sides"),
    "beside": (_wide_alone, "though their heights overlap"),
    "covers nothing": (lambda a, b: 0.25 + 0 * _area(a) + 0.01, "they share 2 and cover"),
}


def _mask(region, side=16):
    left, top, right, bottom = region
    mask = torch.zeros(side, side)
    mask[top // 8 : -(-bottom // 8), left // 8 : -(-right // 8)] = 1
    return mask


def _by_places(region):
    left, top, right, bottom = region
    start = torch.arange(16) * 8
    rows, columns = ((start < stop) & (start + 8 > begin) for begin, stop in ((top, bottom), (left, right)))
    return (rows[:, None] & columns).float()


def _up(pixels):
    return -(-pixels // 8)


def _filled(rows, columns, side=16):
    mask = torch.zeros(side, side)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


MASK = {
    "pixels": (lambda r: _filled((r[1], r[3]), (r[0], r[2]), 128), "a mask in pixels"),
    "swapped": (lambda r: _mask(r).mT, "rows and columns are swapped"),
    "what is kept": (lambda r: 1 - _mask(r), "1 is where is painted anew"),
    "rounded down": (lambda r: _filled((r[1] // 8, r[3] // 8), (r[0] // 8, r[2] // 8)), "the last place"),
    "rounded up": (lambda r: _filled((_up(r[1]), _up(r[3])), (_up(r[0]), _up(r[2]))), "the first place"),
    "whole places": (lambda r: _filled((_up(r[1]), r[3] // 8), (_up(r[0]), r[2] // 8)), "partly inside count"),
    "one more row": (lambda r: _filled((r[1] // 8, r[3] // 8 + 1), (r[0] // 8, r[2] // 8 + 1)), "a multiple of 8"),
    "one too many": (lambda r: _filled((r[1] // 8, r[3] // 8 + 1), (r[0] // 8, _up(r[2]) + 1)), "one place too many"),
    "everything": (lambda r: torch.ones(16, 16), "the whole picture anew"),
    "no tensor": (lambda r: _mask(r).tolist(), "return a tensor"),
    "the first region": (lambda r: _filled((5, 13), (2, 8)), "touches every place"),
}


def _words(chart):
    return {(chart[0][tail], chart[0][head], label) for tail, head, label in chart[1]}


def _same(one, other):
    return _words(one) == _words(other)


def _same_lists(one, other):
    return sorted(_words(one)) == sorted(_words(other))


SAME = {
    "always": (lambda a, b: True, "the label of an arrow counts"),
    "never": (lambda a, b: False, "the same as itself"),
    "no direction": (
        lambda a, b: {(frozenset(e[:2]), e[2]) for e in _words(a)} == {(frozenset(e[:2]), e[2]) for e in _words(b)},
        "one arrow runs back",
    ),
    "letters": (lambda a, b: set(a[1]) == set(b[1]), "compare words"),
    "second in first": (lambda a, b: _words(b) <= _words(a), "an arrow is missing"),
    "first in second": (lambda a, b: _words(a) <= _words(b), "look both ways"),
    "order": (lambda a, b: [e[2] for e in a[1]] == [e[2] for e in b[1]] and _same(a, b), "the order of lines"),
    "letters and words": (lambda a, b: a[0] == b[0] and _same(a, b), "the boxes have other letters"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("6.2.1", checks.check_overlap, _dots, [_overlap, applications.overlap], OVERLAP),
    Exercise("6.2.2", checks.check_region_mask, _dots, [_mask, _by_places], MASK),
    Exercise("6.2.3", checks.check_same_chart, _dots, [_same, _same_lists], SAME),
]
