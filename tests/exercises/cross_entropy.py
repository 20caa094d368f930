"""Answers to the exercises of notebook 2.1."""

import math

import torch
from torch.nn import functional as F

from aigc_course import checks, losses
from exercises import Exercise


def _parts(z, labels):
    """p, y and the mask, as shapes that multiply."""
    real = (labels != -100)[..., None]
    return z.softmax(-1), F.one_hot(labels.clamp(min=0), z.shape[-1]) * real, real


def _gradient(z, labels):
    p, y, real = _parts(z, labels)
    return (p - y) * real / real.sum()


def _by_autograd(z, labels):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(losses.cross_entropy(z, labels), z)[0]


def _other(change):
    """A wrong gradient, from p, y and the mask."""
    return lambda z, labels: change(*_parts(z, labels))


def _with_scores(turn):
    """The gradient with something else in place of softmax."""

    def answer(z, labels):
        _, y, real = _parts(z, labels)
        return (turn(z) - y) * real / real.sum()

    return answer


def _pads_as_class(z, labels):
    return (z.softmax(-1) - F.one_hot(labels.clamp(min=0), z.shape[-1])) / (labels != -100).sum()


GRADIENT = {
    "summed": (lambda z, t: _gradient(z, t).sum(0), "the shape is"),
    "pads a class": (_pads_as_class, "-100 is no class"),
    "no mask": (_other(lambda p, y, m: (p - y) / m.sum()), "p is still standing there"),
    "sign": (_other(lambda p, y, m: (y - p) * m / m.sum()), "swapped"),
    "no truth": (_other(lambda p, y, m: p * m / m.sum()), "the truth is missing"),
    "sum": (_other(lambda p, y, m: (p - y) * m), "a mean over the real tokens"),
    "all places": (_other(lambda p, y, m: (p - y) * m / m.numel()), "divided by all places"),
    "captions": (_other(lambda p, y, m: (p - y) * m / len(m)), "divided by the captions"),
    "mean of means": (_other(lambda p, y, m: (p - y) * m / m.sum(1, keepdim=True) / len(m)), "weighs each caption"),
    "over classes": (lambda z, t: _gradient(z, t) / z.shape[-1], "not averaged over the classes"),
    "wrong softmax": (_with_scores(lambda z: z.softmax(1)), "the last dimension"),
    "scores": (_with_scores(lambda z: z), "scores are no chances"),
    "logarithm": (_with_scores(lambda z: z.log_softmax(-1)), "not its logarithm"),
    "sigmoid": (_with_scores(lambda z: z.sigmoid()), "sigmoid treats each class alone"),
    "half": (lambda z, t: _gradient(z, t) / 2, "not equation (12)"),
}


def _loss(z, w, pad):
    return losses.cross_entropy(z[:, :-1], w[:, 1:], ignore=pad)


def _nats(z, labels):
    return F.cross_entropy(z.mT, labels, reduction="none")


def _reduced(change):
    """A wrong mean, from the nats at each place, the mask and the labels."""

    def answer(z, w, pad):
        return change(_nats(z[:, :-1], w[:, 1:]), w[:, 1:] != pad, w[:, 1:])

    return answer


LOSS = {
    "not reduced": (_reduced(lambda e, m, w: e * m), "the answer has the shape"),
    "unshifted": (lambda z, w, pad: losses.cross_entropy(z, w, ignore=pad), "shift by one"),
    "both cut": (lambda z, w, pad: losses.cross_entropy(z[:, 1:], w[:, 1:], ignore=pad), "cut the *last* scores"),
    "wrong way": (lambda z, w, pad: losses.cross_entropy(z[:, 1:], w[:, :-1], ignore=pad), "the wrong way"),
    "pads": (_reduced(lambda e, m, w: e.mean()), "padding is counted"),
    "all places": (_reduced(lambda e, m, w: (e * m).mean()), "still shares the mean"),
    "inputs' mask": (lambda z, w, pad: _nats(z[:, :-1], w[:, 1:])[w[:, :-1] != pad].mean(), "looks at what is read"),
    "end masked": (_reduced(lambda e, m, w: e[m & (w != 1)].mean()), "the end mark is a real token"),
    "mean of means": (_reduced(lambda e, m, w: ((e * m).sum(1) / m.sum(1)).mean()), "a mean of means"),
    "sum": (_reduced(lambda e, m, w: e[m].sum()), "that is the sum"),
    "by caption": (_reduced(lambda e, m, w: (e * m).sum(1).mean()), "nats for each caption"),
    "start counted": (_reduced(lambda e, m, w: e[m].sum() / (m.sum() + len(m))), "never asked for"),
    "sign": (lambda z, w, pad: -_loss(z, w, pad), "the sign is turned"),
    "bits": (lambda z, w, pad: _loss(z, w, pad) / math.log(2), "in bits"),
    "chance": (_reduced(lambda e, m, w: (-e).exp()[m].mean()), "the mean chance"),
    "perplexity": (lambda z, w, pad: _loss(z, w, pad).exp(), "that is the perplexity"),
    "pad is 0": (lambda z, w, pad: _loss(z, w, 0), "use `pad`, not 0"),
    "scores": (lambda z, w, pad: -z[:, :-1].gather(2, w[:, 1:, None]).mean(), "not equation (10)"),
}


def _adamw(w, g, m, v, t, rate, decay, **other):
    """AdamW, with any of its parts replaced."""
    m, v = other.get("mean", 0.9 * m + 0.1 * g), other.get("square", 0.999 * v + 0.001 * g**2)
    top, root = m / (1 - 0.9**t), (v / (1 - 0.999**t)).sqrt()
    parts = dict(m=m, v=v, top=top, root=root, g=g, t=t)
    ratio = other["ratio"](**parts) if "ratio" in other else top / (root + 1e-8)
    return w * other.get("shrink", 1 - rate * decay) - rate * ratio, m, v


def _ratio(change):
    """AdamW whose step has another direction."""
    return lambda *given: _adamw(*given, ratio=change)


def _state(turn):
    """AdamW that keeps something else: `turn` changes what is returned for (w, m, v) at step t."""
    return lambda *given: turn(*_adamw(*given), given[4])


def _in_place(w, g, m, v, t, rate, decay):
    """AdamW that writes over what it is given, as optimisers do."""
    m.mul_(0.9).add_(0.1 * g)
    v.mul_(0.999).add_(0.001 * g**2)
    step = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w.mul_(1 - rate * decay).sub_(rate * step), m, v


def _of_torch(w, g, m, v, t, rate, decay):
    """The library's step, from the same state."""
    p = torch.nn.Parameter(w.clone())
    optimiser = torch.optim.AdamW([p], lr=rate, weight_decay=decay)
    p.grad = g.clone()
    optimiser.state[p] = dict(step=torch.tensor(float(t - 1)), exp_avg=m.clone(), exp_avg_sq=v.clone())
    optimiser.step()
    return p.detach(), optimiser.state[p]["exp_avg"], optimiser.state[p]["exp_avg_sq"]


def _l2(w, g, m, v, t, rate, decay):
    return _adamw(w, g + decay * w, m, v, t, rate, 0.0)


def _decays_last(w, g, m, v, t, rate, decay):
    moved, m, v = _adamw(w, g, m, v, t, rate, 0.0)
    return moved * (1 - rate * decay), m, v


STEP = {
    "weights alone": (lambda *given: _adamw(*given)[0], "return three tensors"),
    "mean reversed": (lambda *a: _adamw(*a, mean=0.1 * a[2] + 0.9 * a[1]), "not the reverse"),
    "heavy ball": (lambda *a: _adamw(*a, mean=0.9 * a[2] + a[1]), "with the weight 0.1"),
    "L2": (_l2, "Adam with L2"),
    "mean corrected": (_state(lambda w, m, v, t: (w, m / (1 - 0.9**t), v)), "keep the mean uncorrected"),
    "mean kept": (lambda *a: _adamw(*a, mean=a[2]), "the mean is not that"),
    "not squared": (lambda *a: _adamw(*a, square=0.999 * a[3] + 0.001 * a[1]), "*squared* gradient"),
    "mean squared": (
        lambda *a: _adamw(*a, square=0.999 * a[3] + 0.001 * (0.9 * a[2] + 0.1 * a[1]) ** 2),
        "not the mean",
    ),
    "one beta": (lambda *a: _adamw(*a, square=0.9 * a[3] + 0.1 * a[1] ** 2), "forgets more slowly"),
    "square corrected": (_state(lambda w, m, v, t: (w, m, v / (1 - 0.999**t))), "keep the square uncorrected"),
    "square kept": (lambda *a: _adamw(*a, square=a[3]), "the square is not that"),
    "no correction": (_ratio(lambda m, v, **_: m / (v.sqrt() + 1e-8)), "both moments began at 0"),
    "mean only": (_ratio(lambda top, v, **_: top / (v.sqrt() + 1e-8)), "the square needs its correction"),
    "square only": (_ratio(lambda m, root, **_: m / (root + 1e-8)), "the mean needs its correction"),
    "t from 0": (
        _ratio(lambda m, v, t, **_: m / (1 - 0.9 ** (t + 1)) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)),
        "t counts from 1",
    ),
    "no root": (_ratio(lambda top, root, **_: top / (root**2 + 1e-8)), "the *root*"),
    "under the root": (_ratio(lambda top, root, **_: top / (root**2 + 1e-8).sqrt()), "not under it"),
    "no decay": (lambda *a: _adamw(*a, shrink=1), "the decay is missing"),
    "decay alone": (lambda *a: _adamw(*a, shrink=1 - a[6]), "multiplied by the rate"),
    "uphill": (_ratio(lambda top, root, **_: -top / (root + 1e-8)), "up the hill"),
    "last gradient": (_ratio(lambda g, root, **_: g / (root + 1e-8)), "not along the last one"),
    "decays last": (_decays_last, "the *old* weights"),
    "plain": (_ratio(lambda top, **_: top), "torch.optim.AdamW"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("2.1.1", checks.check_score_gradient, _dots, [_gradient, _by_autograd], GRADIENT),
    Exercise("2.1.2", checks.check_masked_loss, _dots, [_loss, lambda *given: float(_loss(*given))], LOSS),
    Exercise("2.1.3", checks.check_adamw_step, _dots, [_adamw, _of_torch, _in_place], STEP),
]
