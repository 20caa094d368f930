"""Answers to the exercises of notebook 5.2."""

from collections import Counter

from aigc_course import checks, losses, style
from exercises import Exercise


def _weighed(weights, values):
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


def _mixed(content, styles, weights, power=1, own=None):
    own = own or style.moments(content)
    mean = _weighed(weights, [each.mean for each in styles])
    std = _weighed(weights, [each.std**power for each in styles]) ** (1 / power)
    return std * (content - own.mean) / own.std + mean


def _mixed_maps(content, styles, weights):
    total = sum(weights)
    return sum(w / total * style.adain(content, each) for w, each in zip(weights, styles, strict=True))


def _normed(content):
    own = style.moments(content)
    return (content - own.mean) / own.std


def _mean(styles, weights):
    return style.Moments(*(_weighed(weights, part) for part in zip(*styles, strict=True)))


def _varied(c, s, w):
    own, mixed = style.moments(c), _mean(s, w)
    return mixed.std**2 * (c - own.mean) / own.std**2 + mixed.mean


MIXED = {
    "nothing": (lambda c, s, w: c, "content as it came"),
    "instance norm": (lambda c, s, w: _normed(c), "puts none on"),
    "weights as they are": (
        lambda c, s, w: sum(k * style.adain(c, each) for k, each in zip(w, s, strict=True)),
        "divide by their sum",
    ),
    "no weights": (lambda c, s, w: _mixed(c, s, [1] * len(s)), "use the weights"),
    "weights turned": (lambda c, s, w: _mixed(c, s, w[::-1]), "wrong styles"),
    "variances": (lambda c, s, w: _mixed(c, s, w, 2), "mixes variances"),
    "own deviation kept": (
        lambda c, s, w: _mean(s, w).std * (c - style.moments(c).mean) + _mean(s, w).mean,
        "own deviation first",
    ),
    "own mean kept": (
        lambda c, s, w: _mean(s, w).std * c / style.moments(c).std + _mean(s, w).mean,
        "own mean off first",
    ),
    "no mean": (lambda c, s, w: _mean(s, w).std * _normed(c), "plus μ at the end"),
    "no deviation": (lambda c, s, w: _normed(c) + _mean(s, w).mean, "times σ"),
    "exchanged": (lambda c, s, w: _mean(s, w).mean * _normed(c) + _mean(s, w).std, "exchanged"),
    "scaled by variances": (_varied, "scales by variances"),
    "the strongest": (lambda c, s, w: style.adain(c, s[0]), "largest weight alone"),
    "the last": (lambda c, s, w: style.adain(c, s[-1]), "last style alone"),
    "moments of all places": (lambda c, s, w: _mean(s, w).std * (c - c.mean()) / c.std() + _mean(s, w).mean, "channel"),
}


def _loss(maps, manner, own, layer, weight, target=None, times=1, moments=style.all_moments):
    target = style.adain(own, style.moments(manner[layer])) if target is None else target
    shows = times * losses.content({layer: maps[layer]}, {layer: target})
    return shows + weight * losses.style(moments(maps), moments(manner))


def _by_hand(maps, manner, own, layer, weight):
    (mean, std), (ours, spread) = style.moments(manner[layer]), style.moments(own)
    shows = (maps[layer] - (std * (own - ours) / spread + mean)).square().mean()
    each = [
        (found - wanted).square().mean()
        for name in maps
        for found, wanted in zip(style.moments(maps[name]), style.moments(manner[name]), strict=True)
    ]
    return shows + weight * sum(each) / len(each)


def _means(maps):
    return {name: style.moments(each).mean for name, each in maps.items()}


LOSS = {
    "content alone": (lambda m, s, o, at, w: _loss(m, s, o, at, 0), "content loss alone"),
    "style alone": (lambda m, s, o, at, w: _loss(m, s, o, at, w, times=0), "style loss alone"),
    "no weight": (lambda m, s, o, at, w: _loss(m, s, o, at, 1), "counts `weight` times"),
    "weight on content": (lambda m, s, o, at, w: _loss(m, s, o, at, 1, times=w), "wrong loss"),
    "weight on both": (lambda m, s, o, at, w: w * _loss(m, s, o, at, 1), "style loss only"),
    "the content's maps": (lambda m, s, o, at, w: _loss(m, s, o, at, w, o), "not with the content's maps"),
    "the style's maps": (lambda m, s, o, at, w: _loss(m, s, o, at, w, s[at]), "say nothing"),
    "AdaIN turned": (
        lambda m, s, o, at, w: _loss(m, s, o, at, w, style.adain(s[at], style.moments(o))),
        "exchanged in AdaIN",
    ),
    "made maps in AdaIN": (
        lambda m, s, o, at, w: _loss(m | {at: style.adain(o, style.moments(m[at]))}, s, o, at, 0)
        + w * losses.style(style.all_moments(m), style.all_moments(s)),
        "stay as they are",
    ),
    "one layer": (
        lambda m, s, o, at, w: _loss(m, s, o, at, w, moments=lambda maps: style.all_moments({at: maps[at]})),
        "all layers",
    ),
    "a sum of layers": (lambda m, s, o, at, w: _loss(m, s, o, at, len(m) * w), "mean of layers already"),
    "means alone": (lambda m, s, o, at, w: _loss(m, s, o, at, w, moments=_means), "deviations are missing"),
    "Gram matrices": (lambda m, s, o, at, w: _loss(m, s, o, at, w, moments=style.grams), "Gram matrices"),
    "absolute errors": (
        lambda m, s, o, at, w: (m[at] - style.adain(o, style.moments(s[at]))).abs().mean()
        + w * losses.style(style.all_moments(m), style.all_moments(s)),
        "build it from",
    ),
}


def _names(one):
    return [thing.name for thing in one.things]


def _share(seen, contents, names, same=None, styled=True):
    same = same or (lambda one, other: sorted(_names(one)) == sorted(_names(other)))
    triples = list(zip(seen, contents, names, strict=True))
    right = [same(one, other) and (not styled or one.style == name) for one, other, name in triples]
    return sum(right) / len(right)


def _counted(seen, contents, names):
    right = 0
    for k in range(len(seen)):
        counts = Counter(map(str, _names(seen[k])))
        counts.subtract(_names(contents[k]))
        right += seen[k].style == names[k] and not any(counts.values())
    return right / len(names)


def _both(*given):
    return _share(*given, same=lambda *_: True), _share(*given, styled=False)


SHARE = {
    "count": (lambda *g: len(g[0]) * _share(*g), "counts pictures"),
    "style alone": (lambda *g: _both(*g)[0], "style only"),
    "things alone": (lambda *g: _both(*g)[1], "things only"),
    "product": (lambda *g: _both(*g)[0] * _both(*g)[1], "product of two shares"),
    "one or the other": (lambda *g: sum(_both(*g)) - _share(*g), "one or the other"),
    "mean of shares": (lambda *g: sum(_both(*g)) / 2, "mean of two shares"),
    "in order": (lambda *g: _share(*g, same=lambda a, b: _names(a) == _names(b)), "no order"),
    "sets": (lambda *g: _share(*g, same=lambda a, b: {*_names(a)} == {*_names(b)}), "a set forgets"),
    "lengths": (lambda *g: _share(*g, same=lambda a, b: len(a.things) == len(b.things)), "as many things"),
    "all of them": (lambda *g: _share(*g, same=lambda a, b: {*_names(b)} <= {*_names(a)}), "must not be there"),
    "no others": (lambda *g: _share(*g, same=lambda a, b: {*_names(a)} <= {*_names(b)}), "must be there"),
    "colours": (lambda *g: _share(*g, same=lambda a, b: sorted(a.things) == sorted(b.things)), "names of things"),
    "wrong ones": (lambda *g: 1 - _share(*g), "the wrong ones"),
    "none": (lambda *g: 0.0, "are right in both"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("5.2.1", checks.check_mixed_styles, _dots, [_mixed, _mixed_maps], MIXED),
    Exercise("5.2.2", checks.check_loss_of_decoder, _dots, [_loss, _by_hand], LOSS),
    Exercise("5.2.3", checks.check_share_right, _dots, [_share, _counted], SHARE),
]
