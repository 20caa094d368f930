"""Answers to the exercises of notebook 2.4."""

from aigc_course import checks
from exercises import Exercise


def _ddim(x_t, noise, abar, after, picture=None, rest=None):
    """Equation (4), with other shares."""
    x0 = (x_t - (1 - abar) ** 0.5 * noise) / abar**0.5
    return (after**0.5 if picture is None else picture) * x0 + ((1 - after) ** 0.5 if rest is None else rest) * noise


DDIM = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "averaged": (lambda x, *given: x.mean(), "the shape is"),
    "clean end": (lambda x, e, a, b: _ddim(x, e, a, 1.0), "the clean end of the guess"),
    "no step": (lambda x, e, a, b: _ddim(x, e, a, a), "you are back at x_t"),
    "x_t for x0": (lambda x, e, a, b: b**0.5 * x + (1 - b) ** 0.5 * e, "not x_t itself"),
    "no roots": (lambda x, e, a, b: _ddim(x, e, a, b, b, 1 - b), "the shares are roots"),
    "swapped": (lambda x, e, a, b: _ddim(x, e, a, 1 - b), "not to the noise"),
    "no noise": (lambda x, e, a, b: _ddim(x, e, a, b, rest=0), "is still missing"),
    "not divided": (lambda x, e, a, b: _ddim(x, e, a, b, (a * b) ** 0.5), "lacks its division"),
    "the guess alone": (lambda x, e, a, b: e, "not equation (4)"),
}

CLEAN = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "averaged": (lambda x, *given: x.mean(), "the shape is"),
    "the noise": (lambda z, u, t: z + (1 - t) * u, "the other end"),
    "along the speed": (lambda z, u, t: z + t * u, "go against it"),
    "a unit of time": (lambda z, u, t: z - u, "too far"),
    "the other way's time": (lambda z, u, t: z - (1 - t) * u, "is the way to the noise"),
    "divided": (lambda z, u, t: (z - t * u) / (1 - t), "do not divide"),
    "where it stands": (lambda z, u, t: z, "not the x0"),
}


def _heun(slope, y, now, after, by=0.5):
    first = slope(y, now)
    return y + by * (after - now) * (first + slope(y + (after - now) * first, after))


def _euler(slope, y, now, after):
    return y + (after - now) * slope(y, now)


HEUN = {
    "Euler": (_euler, "that is Euler's step"),
    "the second slope": (
        lambda f, y, s, r: y + (r - s) * f(_euler(f, y, s, r), r),
        "the second slope alone",
    ),
    "no half": (lambda f, y, s, r: _heun(f, y, s, r, by=1), "the mean has a half"),
    "minus": (lambda f, y, s, r: _heun(f, y, s, r, by=-0.5), "negative already"),
    "second at y": (lambda f, y, s, r: y + (r - s) * (f(y, s) + f(y, r)) / 2, "not at y"),
    "old noise": (lambda f, y, s, r: y + (r - s) * (f(y, s) + f(_euler(f, y, s, r), s)) / 2, "not `now`"),
    "midpoint": (lambda f, y, s, r: y + (r - s) * f(y + (r - s) / 2 * f(y, s), (s + r) / 2), "midpoint rule"),
    "stays": (lambda f, y, s, r: y, "not equation (6)"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("2.4.1", checks.check_ddim_step, _dots, [_ddim], DDIM),
    Exercise("2.4.2", checks.check_clean_end, _dots, [lambda z, u, t: z - t * u], CLEAN),
    Exercise("2.4.3", checks.check_heun_step, _dots, [_heun], HEUN),
]
