"""Exercises of notebook 2.1: the gradient of a padded batch, its loss, a step of AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aigc_course.checks.verdict import right, untried


def check_score_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 2.1.1: the gradient of the masked cross-entropy for every score of a padded batch, equation (12)."""
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[3, 1, 4, 2], [2, 4, -100, -100]])
    got = answer(logits, labels)
    if untried(got, "2.1.1", "replace the dots with equation (12): p - y, zero at padding, shared by the real tokens"):
        return
    assert isinstance(got, Tensor), f"return a tensor, not a {type(got).__name__}"
    assert got.shape == logits.shape, f"the shape is {tuple(got.shape)}; one number for each score: (2, 4, 5)"
    real = (labels != -100)[..., None]
    p, y = logits.softmax(-1), one_hot(labels.clamp(min=0), 5) * real
    off, n = (p - y) * real, int(real.sum())

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-7)

    assert not is_like((p - one_hot(labels.clamp(min=0), 5)) / n), "-100 is no class: padding has no truth to push to"
    assert not is_like((p - y) / n), "where the label is -100 the gradient is 0, but p is still standing there"
    assert not is_like(-off / n), "p and y are swapped: a step against that would make the loss larger"
    assert not is_like(p * real / n), "the truth is missing: subtract y, the one-hot vector"
    assert not is_like(off), "the loss is a mean over the real tokens: divide by how many there are"
    assert not is_like(off / labels.numel()), "you divided by all places, padding too; only real tokens share the loss"
    assert not is_like(off / len(labels)), "you divided by the captions; equation (12) divides by the real tokens"
    assert not is_like(off / real.sum(1, keepdim=True) / len(labels)), (
        "that weighs each caption alike, so that tokens of short ones count more; each token counts alike"
    )
    assert not is_like(off / n / logits.shape[-1]), "one token's loss is not averaged over the classes"
    assert not is_like((logits.softmax(1) - y) * real / n), "softmax shares out 1 over the classes, the last dimension"
    assert not is_like((logits - y) * real / n), "scores are no chances: take softmax of them"
    assert not is_like((p.log() - y) * real / n), "p, not its logarithm: softmax without log"
    assert not is_like((logits.sigmoid() - y) * real / n), "sigmoid treats each class alone; softmax shares out 1"
    assert is_like(off / n), "this is not equation (12); compare with loss.backward() on the same numbers"
    right("2.1.1")


def check_masked_loss(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Exercise 2.1.2: nats for each real token, from tokens that are not shifted yet, equations (9) and (10)."""
    tokens = torch.tensor([[2, 4, 5, 3, 1, 0, 0], [2, 3, 1, 0, 0, 0, 0], [2, 5, 4, 4, 3, 5, 1]])
    logits = 2 * torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = answer(logits, tokens, 0)
    if untried(got, "2.1.2", "replace the dots: line up, look up -log p of each token, average over the real ones"):
        return
    assert getattr(got, "ndim", 0) == 0, f"the answer has the shape {tuple(got.shape)}; the loss is one number"
    got, asked = float(got), tokens[:, 1:]
    nats, real = _nats(logits[:, :-1], asked), asked != 0
    total, n = float((nats * real).sum()), int(real.sum())

    def is_like(wanted: Tensor | float) -> bool:
        return math.isclose(got, float(wanted), rel_tol=1e-6)

    unshifted = _nats(logits, tokens)
    assert not is_like(unshifted[tokens != 0].mean()), "each place is asked for the token that it reads: shift by one"
    assert not is_like(unshifted[:, 1:][real].mean()), "cut the *last* scores and the *first* token, so that they shift"
    assert not is_like(_nats(logits[:, 1:], tokens[:, :-1])[tokens[:, :-1] != 0].mean()), (
        "shifted the wrong way: place i should foretell token i + 1, not remember token i - 1"
    )
    assert not is_like(nats.mean()), "padding is counted: leave out places whose label is `pad`"
    assert not is_like(total / real.numel()), "padding costs nothing, and still shares the mean: divide by real tokens"
    assert not is_like(nats[tokens[:, :-1] != 0].mean()), (
        "the mask looks at what is read; what is asked decides, or the padding after the end mark counts"
    )
    assert not is_like(nats[real & (asked != 1)].mean()), "the end mark is a real token: that a caption stops is learnt"
    assert not is_like(((nats * real).sum(1) / real.sum(1)).mean()), (
        "that is a mean of means: tokens of short captions count more; sum over the batch first"
    )
    assert not is_like(total), "that is the sum; divide it by the number of real tokens"
    assert not is_like(total / len(tokens)), "that is nats for each caption; divide by the real tokens"
    assert not is_like(total / int((tokens != 0).sum())), "<s> is never asked for, so it shares no mean: count labels"
    assert not is_like(-total / n), "the sign is turned: surprise is minus a logarithm, never below 0"
    assert not is_like(total / n / math.log(2)), "that is in bits; the course counts in nats: log, not log2"
    assert not is_like((-nats).exp()[real].mean()), "that is the mean chance of the tokens; its logarithm is missing"
    assert not is_like(math.exp(total / n)), "that is the perplexity; the loss is its logarithm"
    assert is_like(total / n), "this is not equation (10); with all scores equal it must give ln 6 here"
    again, other = answer(logits, tokens.where(tokens != 0, 3), 3), asked.where(asked != 0, 3)
    wanted = _nats(logits[:, :-1], other)[other != 3].mean()
    assert math.isclose(float(again), float(wanted), rel_tol=1e-6), "with another padding it fails: use `pad`, not 0"
    right("2.1.2")


def _nats(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1)


T, RATE, DECAY = 3, 0.1, 0.2  # of the step that exercise 2.1.3 tries
Slips = dict[str, Tensor]  # what is said to a wrong answer, and that answer


def check_adamw_step(answer: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
    """Exercise 2.1.3: both moments, then the step, equations (13) and (14)."""
    w, g, m = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = m.square() + 0.5 * g.square()
    got = answer(w.clone(), g.clone(), m.clone(), v.clone(), T, RATE, DECAY)  # steps in place are right, too
    if untried(got, "2.1.3", "replace the dots: both moments, both corrections, then the step of equation (14)"):
        return
    assert isinstance(got, tuple | list) and len(got) == 3, "return three tensors: the weights, mean and square"
    mean, square = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    _compare(got[1], _mean_slips(w, g, m, mean))
    assert _same(got[1], mean), "the mean is not that of equation (13): 0.9 of the old one and 0.1 of the gradient"
    _compare(got[2], _square_slips(g, v, mean, square))
    assert _same(got[2], square), "the square is not that of equation (13): 0.999 of the old one, 0.001 of gradient²"
    _compare(got[0], _step_slips(w, g, mean, square))
    step = _moved(w, mean / (1 - 0.9**T), (square / (1 - 0.999**T)).sqrt() + 1e-8)
    assert _same(got[0], step), "the weights are not those of equation (14); compare with torch.optim.AdamW"
    right("2.1.3")


def _compare(got: Tensor, slips: Slips) -> None:
    for sentence, wrong in slips.items():
        assert not _same(got, wrong), sentence


def _same(got: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(got, wanted, rtol=0, atol=1e-12)


def _moved(w: Tensor, top: Tensor, bottom: Tensor | int, shrink: float = 1 - RATE * DECAY) -> Tensor:
    return shrink * w - RATE * top / bottom


def _mean_slips(w: Tensor, g: Tensor, m: Tensor, mean: Tensor) -> Slips:
    return {
        "the old mean weighs 0.9 and the new gradient 0.1, not the reverse": 0.1 * m + 0.9 * g,
        "the new gradient enters the mean with the weight 0.1": 0.9 * m + g,
        "decay is in the gradient: that is Adam with L2; AdamW decays apart": 0.9 * m + 0.1 * (g + DECAY * w),
        "keep the mean uncorrected; the correction is for the step alone": mean / (1 - 0.9**T),
    }


def _square_slips(g: Tensor, v: Tensor, mean: Tensor, square: Tensor) -> Slips:
    return {
        "the second moment is of the *squared* gradient": 0.999 * v + 0.001 * g,
        "square the gradient, not the mean": 0.999 * v + 0.001 * mean**2,
        "the square forgets more slowly: 0.999 and 0.001": 0.9 * v + 0.1 * g**2,
        "keep the square uncorrected; the correction is for the step alone": square / (1 - 0.999**T),
    }


def _step_slips(w: Tensor, g: Tensor, mean: Tensor, square: Tensor) -> Slips:
    m_hat, root = mean / (1 - 0.9**T), (square / (1 - 0.999**T)).sqrt()
    late, early = (mean / (1 - 0.9**k) / ((square / (1 - 0.999**k)).sqrt() + 1e-8) for k in (T + 1, T - 1))
    return {
        "both moments began at 0: divide each by 1 - beta**t": _moved(w, mean, square.sqrt() + 1e-8),
        "the square needs its correction too: by 1 - 0.999**t": _moved(w, m_hat, square.sqrt() + 1e-8),
        "the mean needs its correction too: divide by 1 - 0.9**t": _moved(w, mean, root + 1e-8),
        "t counts from 1 and is used as it is, not t + 1": _moved(w, late, 1),
        "t counts from 1 and is used as it is, not t - 1": _moved(w, early, 1),
        "divide by the *root* of the second moment": _moved(w, m_hat, root**2 + 1e-8),
        "1e-8 stands beside the root, not under it": _moved(w, m_hat, (root**2 + 1e-8).sqrt()),
        "the decay is missing: the weights shrink by 1 - rate * decay": _moved(w, m_hat, root + 1e-8, 1),
        "the decay is multiplied by the rate as well": _moved(w, m_hat, root + 1e-8, 1 - DECAY),
        "the step goes up the hill: subtract it": _moved(w, -m_hat, root + 1e-8),
        "step along the mean of gradients, not along the last one": _moved(w, g, root + 1e-8),
        "the *old* weights shrink, before they are moved": (1 - RATE * DECAY) * (w - RATE * m_hat / (root + 1e-8)),
    }
