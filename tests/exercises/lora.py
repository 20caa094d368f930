"""Answers to the exercises of notebook 3.2."""

from aigc_course import checks
from exercises import Exercise


def _dots(*_):
    return ...


def _beside(x, W, A, B, alpha, strength=None):
    """Equation (1), with another strength."""
    return x @ W.T + (alpha / len(A) if strength is None else strength) * x @ A.T @ B.T


BESIDE = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "summed": (lambda x, *given: x.sum(1), "the shape is"),
    "frozen": (lambda x, W, A, B, a: x @ W.T, "the change is still missing"),
    "change alone": (lambda x, W, A, B, a: a / len(A) * x @ A.T @ B.T, "the change alone"),
    "no strength": (lambda x, W, A, B, a: _beside(x, W, A, B, a, 1), "alpha / rank is missing"),
    "alpha": (lambda x, W, A, B, a: _beside(x, W, A, B, a, a), "divide alpha by the rank"),
    "upside down": (lambda x, W, A, B, a: _beside(x, W, A, B, a, len(A) / a), "upside down"),
    "by the width": (lambda x, W, A, B, a: _beside(x, W, A, B, a, a / A.shape[1]), "the layer's width"),
    "B first": (lambda x, W, A, B, a: x @ W.T + a / len(A) * x @ B @ A, "x meets A first"),
    "W turned": (lambda x, W, A, B, a: x @ W + a / len(A) * x @ A.T @ B.T, "rows of W are outputs"),
    "subtracted": (lambda x, W, A, B, a: _beside(x, W, A, B, -a), "not equation (1)"),
}


def _gradients(G, A, B, alpha, strength=None):
    """Equation (3), with another strength."""
    strength = alpha / len(A) if strength is None else strength
    return strength * B.T @ G, strength * G @ A.T


GRADIENTS = {
    "one": (lambda G, A, B, a: G @ A.T, "return two gradients"),
    "numbers": (lambda G, A, B, a: (1.0, 2.0), "return a tensor"),
    "whole": (lambda G, A, B, a: (G, G), "the shape is"),
    "swapped": (lambda G, A, B, a: _gradients(G, A, B, a)[::-1], "A's gradient comes first"),
    "no strength": (lambda G, A, B, a: _gradients(G, A, B, a, 1), "multiplies both gradients"),
    "alpha": (lambda G, A, B, a: _gradients(G, A, B, a, a), "here as well"),
    "squared": (lambda G, A, B, a: _gradients(G, A, B, a, (a / len(A)) ** 2), "not squared"),
    "downhill": (lambda G, A, B, a: _gradients(G, A, B, -a), "uphill"),
    "G turned": (lambda G, A, B, a: _gradients(G.T, A, B, a), "G stays as it is"),
    "A for itself": (lambda G, A, B, a: (a / len(A) * A @ G, _gradients(G, A, B, a)[1]), "for A:"),
    "B for itself": (lambda G, A, B, a: (_gradients(G, A, B, a)[0], a / len(A) * G @ B), "for B:"),
}


def _merged(W, A, B, alpha, scale):
    return W + scale * alpha / len(A) * B @ A


def _in_place(W, A, B, alpha, scale):
    W += scale * alpha / len(A) * B @ A
    return W


MERGED = {
    "a number": (lambda *given: 0.5, "return a tensor"),
    "a factor": (lambda W, A, *given: A, "the shape is"),
    "in place": (_in_place, "you changed W itself"),
    "change alone": (lambda W, A, B, a, s: s * a / len(A) * B @ A, "add it to W"),
    "taken off": (lambda W, A, B, a, s: _merged(W, A, B, -a, s), "the way back"),
    "no scale": (lambda W, A, B, a, s: _merged(W, A, B, a, 1), "scale is missing"),
    "no strength": (lambda W, A, B, a, s: W + s * B @ A, "alpha / rank is missing"),
    "alpha": (lambda W, A, B, a, s: W + s * a * B @ A, "divide alpha"),
    "turned": (lambda W, A, B, a, s: W + s * a / len(A) * A.T @ B.T, "B comes first"),
    "averaged": (lambda W, A, B, a, s: (1 - s) * W + s * a / len(A) * B @ A, "it is no average"),
    "scale twice": (lambda W, A, B, a, s: _merged(W, s * A, s * B, a, 1), "not each factor"),
    "W": (lambda W, A, B, a, s: W.clone(), "not equation (5)"),
}

EXERCISES = [
    Exercise(
        "3.2.1", checks.check_beside, _dots, [_beside, lambda x, W, A, B, a: x @ (W + a / len(A) * B @ A).T], BESIDE
    ),
    Exercise("3.2.2", checks.check_factor_gradients, _dots, [_gradients], GRADIENTS),
    Exercise(
        "3.2.3",
        checks.check_merged,
        _dots,
        [_merged, lambda W, A, B, a, s: W.addmm(B, A, alpha=s * a / len(A))],
        MERGED,
    ),
]
