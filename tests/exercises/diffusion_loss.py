"""Answers to the exercises of notebook 2.3."""

from aigc_course import checks
from exercises import Exercise


def _mixed(picture, rest):
    return lambda x0, noise, abar: picture(abar) * x0 + rest(abar) * noise


def _root(share):
    return share**0.5


def _spread(share):
    return (1 - share) ** 0.5


JUMP = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "averaged": (lambda x, *given: x.mean(), "the shape is"),
    "no roots": (_mixed(lambda a: a, lambda a: 1 - a), "these are variances"),
    "swapped": (_mixed(_spread, _root), "the two are swapped"),
    "one root": (_mixed(_root, lambda a: 1 - a), "needs its root, too"),
    "root first": (_mixed(_root, lambda a: 1 - a**0.5), "take the root last"),
    "the picture stays": (_mixed(lambda a: 1, _spread), "the picture must fade"),
    "minus": (_mixed(_root, lambda a: -_spread(a)), "added, not taken away"),
    "all the noise": (_mixed(_root, lambda a: 1), "all of the noise is too much"),
    "the picture alone": (lambda x0, noise, abar: abar**0.5 * x0, "not equation (2)"),
}


def _posterior(x_t, x0, abar, before, clean=None, noisy=None, by=None):
    alpha = abar / before
    clean = before**0.5 * (1 - alpha) if clean is None else clean
    noisy = alpha**0.5 * (1 - before) if noisy is None else noisy
    return (clean * x0 + noisy * x_t) / (1 - abar if by is None else by)


POSTERIOR = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "averaged": (lambda x, *given: x.mean(), "the shape is"),
    "swapped": (lambda x, x0, a, b: _posterior(x0, x, a, b), "each other's coefficient"),
    "not divided": (lambda x, x0, a, b: _posterior(x, x0, a, b, by=1), "divide both terms"),
    "no root of before": (lambda x, x0, a, b: _posterior(x, x0, a, b, clean=1 - a / b), "lacks the root of `before`"),
    "no root of alpha": (lambda x, x0, a, b: _posterior(x, x0, a, b, noisy=1 - b), "lacks the root of alpha"),
    "divided by before": (lambda x, x0, a, b: _posterior(x, x0, a, b, by=1 - b), "you divided by 1 - before"),
    "beta from abar": (lambda x, x0, a, b: _posterior(x, x0, a, b, clean=b**0.5 * (1 - a)), "beta is 1 - alpha"),
    "root of abar": (lambda x, x0, a, b: _posterior(x, x0, a, b, clean=a**0.5 * (1 - a / b)), "not abar's"),
    "x_t uncounted": (
        lambda x, x0, a, b: _posterior(x, x0, a, b, noisy=(a / b) ** 0.5 * (1 - a)),
        "times 1 - before",
    ),
    "before for 1 - before": (lambda x, x0, a, b: _posterior(x, x0, a, b, noisy=(a / b) ** 0.5 * b), "not before"),
    "the middle": (lambda x, x0, a, b: (x + x0) / 2, "not equation (3)"),
}


def _snr(abar):
    return abar / (1 - abar)


WEIGHT = {
    "of x0": (lambda a, g: min(_snr(a), g), "divide by snr"),
    "of velocity": (lambda a, g: min(_snr(a), g) / (_snr(a) + 1), "the weight for velocity"),
    "max": (lambda a, g: max(_snr(a), g) / _snr(a), "max lets"),
    "upside down": (lambda a, g: _snr(a) / min(_snr(a), g), "upside down"),
    "multiplied": (lambda a, g: min(_snr(a), g) * _snr(a), "do not multiply"),
    "a tenth": (lambda a, g: 0.1, "wanted min(9, 5) / 9"),
    "never stopped": (lambda a, g: g / _snr(a), "below gamma nothing is stopped"),
    "always five": (lambda a, g: min(_snr(a), 5.0) / _snr(a), "use the argument gamma"),
}

EXERCISES = [
    Exercise("2.3.1", checks.check_jump, lambda *_: ..., [_mixed(_root, _spread)], JUMP),
    Exercise("2.3.2", checks.check_posterior_mean, lambda *_: ..., [_posterior], POSTERIOR),
    Exercise("2.3.3", checks.check_noise_weight, lambda *_: ..., [lambda a, g: min(1, g / _snr(a))], WEIGHT),
]
