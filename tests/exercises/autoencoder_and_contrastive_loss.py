"""Answers to the exercises of notebook 2.2."""

from aigc_course import checks
from exercises import Exercise

DRAW = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "averaged": (lambda x, *given: x.mean(), "the shape is"),
    "the mean": (lambda m, v, e: m, "the middle of the guess"),
    "width 1": (lambda m, v, e: m + e, "width 1 still"),
    "variance": (lambda m, v, e: m + v.exp() * e, "its root"),
    "log": (lambda m, v, e: m + v * e, "is a logarithm"),
    "half the log": (lambda m, v, e: m + v / 2 * e, "half of logvar"),
    "no mean": (lambda m, v, e: (v / 2).exp() * e, "not moved"),
    "mean stretched": (lambda m, v, e: (m + e) * (v / 2).exp(), "the mean is not stretched"),
    "narrowed": (lambda m, v, e: m + (-v / 2).exp() * e, "must widen"),
    "the noise": (lambda m, v, e: e, "not mean + standard deviation"),
}


def _near(m, v, each=None):
    return (0.5 * (m**2 + v.exp() - 1 - v) if each is None else each).sum(1).mean()


NEAR = {
    "not reduced": (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v), "the answer has the shape"),
    "mean over all": (lambda m, v: (0.5 * (m**2 + v.exp() - 1 - v)).mean(), "the mean over the code"),
    "sum over all": (lambda m, v: (0.5 * (m**2 + v.exp() - 1 - v)).sum(), "the sum over the batch"),
    "no half": (lambda m, v: 2 * _near(m, v), "one half is missing"),
    "sign": (lambda m, v: -_near(m, v), "the sign is turned"),
    "no one": (lambda m, v: _near(m, v, 0.5 * (m**2 + v.exp() - v)), "the -1 is missing"),
    "exchanged": (lambda m, v: _near(m, v, 0.5 * (m**2 + v - 1 - v.exp())), "have changed places"),
    "width": (lambda m, v: _near(m, v, 0.5 * (m**2 + (v / 2).exp() - 1 - v)), "not its root"),
    "mean not squared": (lambda m, v: _near(m, v, 0.5 * (m + v.exp() - 1 - v)), "the mean is squared"),
    "no mean": (lambda m, v: _near(m, v, 0.5 * (v.exp() - 1 - v)), "the squared mean is missing"),
    "no log": (lambda m, v: _near(m, v, 0.5 * (m**2 + v.exp() - 1)), "not equation (4)"),
}


def _own(s):
    return s.log_softmax(1).diagonal() + s.log_softmax(0).diagonal()


CONTRAST = {
    "not reduced": (lambda s: -_own(s) / 2, "the answer has the shape"),
    "rows": (lambda s: -s.log_softmax(1).diagonal().mean(), "which caption fits a picture"),
    "columns": (lambda s: -s.log_softmax(0).diagonal().mean(), "which picture fits a caption"),
    "no half": (lambda s: -_own(s).mean(), "divide by 2"),
    "sum": (lambda s: -_own(s).sum() / 2, "divide by N"),
    "sign": (lambda s: _own(s).mean() / 2, "a loss is not"),
    "all places": (lambda s: -(s.log_softmax(1) + s.log_softmax(0)).mean() / 2, "take .diagonal()"),
    "scores": (lambda s: -s.diagonal().mean(), "raw scores"),
    "shares": (lambda s: -(s.softmax(1) + s.softmax(0)).diagonal().mean() / 2, "the logarithm is missing"),
    "one softmax": (lambda s: -s.flatten().log_softmax(0).view_as(s).diagonal().mean(), "not equation (7)"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("2.2.1", checks.check_draw_code, _dots, [lambda m, v, e: m + v.exp().sqrt() * e], DRAW),
    Exercise("2.2.2", checks.check_stay_near, _dots, [_near, lambda m, v: float(_near(m, v))], NEAR),
    Exercise("2.2.3", checks.check_contrast, _dots, [lambda s: -_own(s).mean() / 2], CONTRAST),
]
