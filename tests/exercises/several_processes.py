"""Answers to the exercises of notebook 4.3."""

import torch
from torch.nn import functional as F

from aigc_course import checks
from exercises import Exercise


def _weighted(gradients, counts):
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)


def _by_matrix(gradients, counts):
    shares = torch.tensor(counts) / sum(counts)
    return shares @ torch.stack(gradients)


def _with(weigh):
    """A sum of gradients, each times what `weigh(counts)` says."""
    return lambda gradients, counts: sum(w * g for w, g in zip(weigh(counts), gradients, strict=True))


WEIGHTED = {
    "mean of means": (_with(lambda n: [1 / len(n)] * len(n)), "mean of means"),
    "sum": (_with(lambda n: [1] * len(n)), "that is a sum"),
    "not divided": (_with(lambda n: n), "a mean does not grow"),
    "by ranks": (_with(lambda n: [each / len(n) for each in n]), "not by the number of ranks"),
    "sum by tokens": (_with(lambda n: [1 / sum(n)] * len(n)), "make each a sum again"),
    "divided twice": (_with(lambda n: [1 / each / sum(n) for each in n]), "multiply by the counts"),
    "inverse": (_with(lambda n: [1 / each / sum(1 / other for other in n) for each in n]), "other way round"),
    "by the longest": (_with(lambda n: [each / max(n) for each in n]), "not by the longest share"),
    "softmax": (_with(lambda n: torch.tensor(n).float().softmax(0)), "without exponentials"),
    "the first alone": (lambda gradients, counts: gradients[0], "this is not equation (2)"),
    "a number": (lambda gradients, counts: _weighted(gradients, counts).mean(), "the shape of the weights"),
}


def _part(x, A, a, B, b, rank, p):
    hidden = F.gelu(x @ A.chunk(p, 1)[rank] + a.chunk(p)[rank])
    return hidden @ B.chunk(p)[rank] + (b if rank == 0 else 0)


def _part_by_slices(x, A, a, B, b, rank, p):
    size = len(a) // p
    mine = slice(rank * size, (rank + 1) * size)
    y = F.gelu(x @ A[:, mine] + a[mine]) @ B[mine]
    return y + b if rank == 0 else y


def _split(x, A, a, B, b, rank, p, act=F.gelu, late=lambda y: y, rows=None, own=None):
    own = a.chunk(p)[rank] if own is None else own
    y = act(x @ A.chunk(p, 1)[rank] + own) @ B.chunk(p)[rank if rows is None else rows]
    return late(y) + (b if rank == 0 else 0)


def _whole(x, A, a, B, b, rank, p):
    return F.gelu(x @ A + a) @ B + b


def _cyclic(x, A, a, B, b, rank, p):
    return F.gelu(x @ A[:, rank::p] + a[rank::p]) @ B[rank::p] + (b if rank == 0 else 0)


def _without_gradient(x, A, a, B, b, rank, p):
    return _part(x, A.detach(), a, B, b, rank, p)


PART = {
    "everything": (_whole, "both ranks compute everything: each takes"),
    "everything, b once": (lambda *w: _whole(*w) - (w[4] if w[5] else 0), "only b is added once"),
    "b twice": (lambda *w: _part(*w) + (w[4] if w[5] else 0), "let rank 0 alone add it"),
    "no b": (lambda x, A, a, B, b, *w: _part(x, A, a, B, 0 * b, *w), "b is missing: rank 0"),
    "averaged": (lambda *w: _part(*w) / w[-1], "not averaged"),
    "no a": (lambda x, A, a, *w: _part(x, A, 0 * a, *w), "a is missing: each rank"),
    "no GELU": (lambda *w: _split(*w, act=lambda y: y), "GELU is missing"),
    "GELU last": (lambda *w: _split(*w, act=lambda y: y, late=F.gelu), "not behind the rows"),
    "rows of the other": (lambda *w: _split(*w, rows=1 - w[5]), "columns of the other rank"),
    "always the first of a": (lambda *w: _split(*w, own=w[2].chunk(w[-1])[0]), "the first part of a"),
    "always rank 0": (lambda *w: _part(*w[:5], 0, w[-1]), "write down the shapes"),
    "cyclic": (_cyclic, "uses columns that it does not have"),
    "detached": (_without_gradient, "their gradients are not"),
    "a half of the answer": (lambda *w: _part(*w)[:, :2], "as large as the sum of all"),
}


def _order(rank, stages, m, warm=None):
    warm = min(m, stages - 1 - rank) if warm is None else warm
    steps = [("F", i) for i in range(warm)]
    for i in range(warm, m):
        steps += [("F", i), ("B", i - warm)]
    return steps + [("B", i) for i in range(max(m - warm, 0), m)]


def _by_counting(rank, stages, m):
    """Forward while as many may be kept, else backward."""
    steps, forwards, backwards = [], 0, 0
    while backwards < m:
        if forwards < m and forwards - backwards < stages - rank:
            steps.append(("F", forwards))
            forwards += 1
        else:
            steps.append(("B", backwards))
            backwards += 1
    return steps


def _backward_first(rank, stages, m):
    warm = min(m, stages - 1 - rank)
    steps = [("F", i) for i in range(warm)]
    for i in range(warm, m):
        steps += [("B", i - warm), ("F", i)]
    return steps + [("B", i) for i in range(m - warm, m)]


def _without_rest(rank, stages, m):
    warm = min(m, stages - 1 - rank)
    return [step for step in _order(rank, stages, m) if step[0] == "F" or step[1] < m - warm]


def _youngest_first(rank, stages, m):
    return [("F", i) for i in range(m)] + [("B", i) for i in reversed(range(m))]


def _swapped(rank, stages, m):
    steps = [("F", i) for i in (1, 0, *range(2, m))]
    return steps + [("B", i) for i in range(m)]


def _repeated(rank, stages, m):
    return [("F", 0), *_order(rank, stages, m)]


ORDER = {
    "words": (lambda *w: [("forward" if k == "F" else "back", i) for k, i in _order(*w)], 'write ("F", i)'),
    "from 1": (lambda *w: [(kind, i + 1) for kind, i in _order(*w)], "numbered from 0"),
    "warm-up beyond the batch": (lambda r, p, m: _order(r, p, m, p - 1 - r), "with m forwards at most"),
    "no rest": (_without_rest, "left over come at the end"),
    "forwards again": (_repeated, "where the warm-up stopped"),
    "youngest first": (_youngest_first, "the oldest goes back first"),
    "forwards swapped": (_swapped, "forwards go in order, too"),
    "backward first": (_backward_first, "before the forward of the same"),
    "warm-up by rank": (lambda r, p, m: _order(r, p, m, min(m, r)), "wait for each other for ever"),
    "GPipe": (lambda r, p, m: _order(r, p, m, m), "that is GPipe"),
    "the same everywhere": (lambda r, p, m: _order(r, p, m, min(m, p - 1)), "last stage can turn at once"),
    "one too many": (lambda r, p, m: _order(r, p, m, min(m, p - r)), "one for each stage from here on"),
    "no warm-up": (lambda r, p, m: _order(r, p, m, 0), "warm up longer"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("4.3.1", checks.check_weighted_mean, _dots, [_weighted, _by_matrix], WEIGHTED),
    Exercise("4.3.2", checks.check_part, _dots, [_part, _part_by_slices], PART),
    Exercise("4.3.3", checks.check_order, _dots, [_order, _by_counting], ORDER),
]
