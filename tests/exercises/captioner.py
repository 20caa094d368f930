"""Answers to the exercises of notebook 3.1."""


from aigc_course import checks
from exercises import Exercise


def _labels(tokens, pad):
    labels = tokens[:, 1:].clone()
    labels[:, 0] = -100
    labels[labels == pad] = -100
    return labels


def _in_place(tokens, pad):
    labels = tokens[:, 1:]
    labels[:, 0] = -100
    labels[labels == pad] = -100
    return labels


def _no_end(tokens, pad):
    labels = _labels(tokens, pad)
    labels[labels == 2] = -100
    return labels


LABELS = {
    "a list": (lambda t, pad: _labels(t, pad).tolist(), "return a tensor"),
    "as long": (lambda t, pad: t.masked_fill(t == pad, -100), "one shorter"),
    "too short": (lambda t, pad: _labels(t, pad)[:, 1:], "(B, L - 1)"),
    "in place": (_in_place, "work on a clone"),
    "what is read": (lambda t, pad: t[:, :-1].clone(), "tokens that are read"),
    "padding asked": (lambda t, pad: t[:, 1:].clone(), "padding is still asked for"),
    "language asked": (lambda t, pad: t[:, 1:].masked_fill(t[:, 1:] == pad, -100), "the first label is -100"),
    "no end": (_no_end, "captions never end"),
    "backwards": (lambda t, pad: _labels(t.flip(0), pad), "not the next"),
}


def _enough(losses, patience):
    return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])


def _counted(losses, patience):
    return len(losses) - 1 - losses.index(min(losses)) >= patience


ENOUGH = {
    "never": (lambda losses, patience: False, "patience is 2: stop"),
    "always": (lambda losses, patience: True, "nothing to stop yet"),
    "worse than the one before": (
        lambda losses, patience: len(losses) > patience and losses[-1] > losses[-2],
        "only one loss has failed",
    ),
    "worse than some time ago": (
        lambda losses, patience: len(losses) > patience and losses[-1] >= losses[-1 - patience],
        "the best is among the last two",
    ),
    "turned": (
        lambda losses, patience: len(losses) > patience and min(losses[-patience:]) < min(losses[:-patience]),
        "the last loss is the best of all",
    ),
    "equal is better": (
        lambda losses, patience: len(losses) > patience and min(losses[-patience:]) > min(losses[:-patience]),
        "to equal the best",
    ),
    "rising all the time": (
        lambda losses, patience: len(losses) > patience
        and min(losses[-patience:]) >= min(losses[:-patience])
        and losses[-1] >= losses[-2],
        "falling again is not enough",
    ),
}


def _accuracy(logits, labels):
    asked = labels != -100
    return (logits.argmax(-1) == labels)[asked].float().mean().item()


def _pooled(logits, labels):
    hits = (logits.argmax(-1) == labels) & (labels != -100)
    return hits.sum() / (labels != -100).sum()


ACCURACY = {
    "a count": (lambda z, y: (z.argmax(-1) == y).sum(), "how many are right"),
    "over all places": (lambda z, y: (z.argmax(-1) == y).float().mean(), "count as wrong"),
    "masked are right": (lambda z, y: ((z.argmax(-1) == y) | (y == -100)).float().mean(), "count as right"),
    "by caption": (
        lambda z, y: sum(_accuracy(a[None], b[None]) for a, b in zip(z, y, strict=True)) / len(z),
        "the mean over captions",
    ),
    "in per cent": (lambda z, y: 100 * _accuracy(z, y), "at most 1"),
    "all or nothing": (lambda z, y: (z.argmax(-1) == y)[y != -100].all(), "two are right"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("3.1.1", checks.check_labels, _dots, [_labels], LABELS),
    Exercise("3.1.2", checks.check_enough, _dots, [_enough, _counted], ENOUGH),
    Exercise("3.1.3", checks.check_token_accuracy, _dots, [_accuracy, _pooled], ACCURACY),
]
