"""Answers to the exercises of notebook 5.3."""

import torch
from torch.nn import functional as F

from aigc_course import checks
from exercises import Exercise


def _mixed(z, noise, level):
    return level**0.5 * z + (1 - level) ** 0.5 * noise


def _place(abar, strength):
    return int(strength * len(abar)) - 1


def _start(z, noise, abar, strength):
    return _mixed(z, noise, abar[_place(abar, strength)])


def _by_tensor(z, noise, abar, strength):
    kept = torch.tensor(abar, dtype=z.dtype)[_place(abar, strength)].sqrt()
    return kept * z + (1 - kept**2).sqrt() * noise


def _share(z, noise, level):
    return level * z + (1 - level) * noise


START = {
    "strength as level": (lambda z, n, a, s: _mixed(z, n, s), "a place on the list"),
    "rest of the strength": (lambda z, n, a, s: _mixed(z, n, 1 - s), "1 - strength is no level"),
    "wrong end": (lambda z, n, a, s: _mixed(z, n, a[_place(a, 1 - s)]), "from the noisy end"),
    "off by one": (lambda z, n, a, s: _mixed(z, n, a[int(s * len(a))]), "one too far"),
    "swapped": (lambda z, n, a, s: _mixed(n, z, a[_place(a, s)]), "roots are swapped"),
    "no roots": (lambda z, n, a, s: _share(z, n, a[_place(a, s)]), "shares are roots"),
    "picture not faded": (lambda z, n, a, s: z + (1 - a[_place(a, s)]) ** 0.5 * n, "must fade"),
    "no noise": (lambda z, n, a, s: a[_place(a, s)] ** 0.5 * z, "noise is missing"),
    "plain sum": (lambda z, n, a, s: z + n, "too loud"),
    "the noise alone": (lambda z, n, a, s: n, "this is not (1)"),
}


def _like(tokens, reference):
    spread = reference.std(0, correction=0) / tokens.std(0, correction=0)
    return (tokens - tokens.mean(0)) * spread + reference.mean(0)


def _attend(q, k, v, root=True, dim=1):
    return (q @ k.mT / (q.shape[1] ** 0.5 if root else 1)).softmax(dim) @ v


def _both(a, b):
    return torch.cat([a, b])


def _looked(own, reference, **how):
    (q, k, v), (ref_q, ref_k, ref_v) = own, reference
    return _attend(_like(q, ref_q), _both(_like(k, ref_k), ref_k), _both(v, ref_v), **how)


def _by_torch(own, reference):
    (q, k, v), (ref_q, ref_k, ref_v) = own, reference
    keys, values = torch.cat([ref_k, _like(k, ref_k)]), torch.cat([ref_v, v])  # the order does not matter
    return F.scaled_dot_product_attention(_like(q, ref_q)[None], keys[None], values[None])[0]


def _split(own, reference):
    (q, k, v), (ref_q, ref_k, ref_v) = own, reference
    q = _like(q, ref_q)
    return _attend(q, _like(k, ref_k), v) + _attend(q, ref_k, ref_v)


SHARED = {
    "plain": (lambda o, r: _attend(*o), "plain attention"),
    "not normalised": (lambda o, r: _attend(o[0], _both(o[1], r[1]), _both(o[2], r[2])), "normalise first"),
    "queries alone normalised": (
        lambda o, r: _attend(_like(o[0], r[0]), _both(o[1], r[1]), _both(o[2], r[2])),
        "own keys are normalised as well",
    ),
    "keys alone normalised": (
        lambda o, r: _attend(o[0], _both(_like(o[1], r[1]), r[1]), _both(o[2], r[2])),
        "queries are normalised as well",
    ),
    "reference alone": (lambda o, r: _attend(_like(o[0], r[0]), r[1], r[2]), "the reference alone"),
    "own alone": (lambda o, r: _attend(_like(o[0], r[0]), _like(o[1], r[1]), o[2]), "not appended yet"),
    "values normalised": (lambda o, r: _looked((o[0], o[1], _like(o[2], r[2])), r), "values stay"),
    "queries by keys": (lambda o, r: _looked(o, (r[1], r[1], r[2])), "queries are compared with queries"),
    "wrong way": (
        lambda o, r: _attend(o[0], _both(o[1], _like(r[1], o[1])), _both(o[2], r[2])),
        "the picture takes the reference's moments",
    ),
    "no root": (lambda o, r: _looked(o, r, root=False), "root of d"),
    "other softmax": (lambda o, r: _looked(o, r, dim=0), "softmax(1)"),
    "two softmaxes": (_split, "one softmax over all keys"),
    "means alone": (
        lambda o, r: _attend(o[0] - o[0].mean(0) + r[0].mean(0), _both(_like(o[1], r[1]), r[1]), _both(o[2], r[2])),
        "check the shapes",
    ),
}


def _answered(q, words, picture, scale):
    return _attend(q, *words) + scale * _attend(q, *picture)


def _scaled_values(q, words, picture, scale):
    return F.scaled_dot_product_attention(q, *words) + F.scaled_dot_product_attention(q, picture[0], scale * picture[1])


DECOUPLED = {
    "one softmax": (lambda q, w, p, s: _attend(q, *map(_both, w, p)), "makes them compete"),
    "one softmax, weighed": (
        lambda q, w, p, s: _attend(q, _both(w[0], p[0]), _both(w[1], s * p[1])),
        "still in one softmax",
    ),
    "words alone": (lambda q, w, p, s: _attend(q, *w), "the picture is missing"),
    "picture alone": (lambda q, w, p, s: s * _attend(q, *p), "the words are missing"),
    "no scale": (lambda q, w, p, s: _attend(q, *w) + _attend(q, *p), "the scale is missing"),
    "blend": (lambda q, w, p, s: (1 - s) * _attend(q, *w) + s * _attend(q, *p), "keep their full weight"),
    "scaled words": (lambda q, w, p, s: s * _attend(q, *w) + _attend(q, *p), "not to that of the words"),
    "scaled sum": (lambda q, w, p, s: s * (_attend(q, *w) + _attend(q, *p)), "the picture's answer alone"),
    "scaled scores": (lambda q, w, p, s: _attend(q, *w) + _attend(q, s * p[0], p[1]), "inside the softmax"),
    "no root": (
        lambda q, w, p, s: _attend(q, *w, root=False) + s * _attend(q, *p, root=False),
        "root of d",
    ),
    "minus": (lambda q, w, p, s: _attend(q, *w) - s * _attend(q, *p), "this is not (6)"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("5.3.1", checks.check_redrawing_start, _dots, [_start, _by_tensor], START),
    Exercise("5.3.2", checks.check_shared_attention, _dots, [_looked, _by_torch], SHARED),
    Exercise("5.3.3", checks.check_decoupled_attention, _dots, [_answered, _scaled_values], DECOUPLED),
]
