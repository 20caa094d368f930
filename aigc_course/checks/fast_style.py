"""Exercises of notebook 5.2: a mixture of styles, what the decoder is trained for, pictures that are right in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aigc_course import losses, style
from aigc_course.checks.verdict import right, shaped, untried


def check_mixed_styles(answer: Callable[[Tensor, list, list[float]], Tensor]) -> None:
    """Exercise 5.2.1: AdaIN with the weighted mean of several styles, equation (8)."""
    draw = torch.Generator().manual_seed(0)
    content = torch.randn(2, 3, 5, 4, generator=draw).double() * 3 + 1
    styles = [style.moments(torch.randn(1, 3, 6, 6, generator=draw).double() * s + m) for s, m in ((0.5, 2), (4, -1))]
    weights, own = [3.0, 1.0], style.moments(content)
    got = answer(content.clone(), list(styles), list(weights))
    if untried(got, "5.2.1", "replace the dots: the weighted mean of the means, and of the deviations, put into (4)"):
        return
    shaped(got, content)
    (first, second), normed = styles, (content - own.mean) / own.std

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.double(), wanted, rtol=0, atol=1e-6)

    def mean(power: float = 1, shares: Sequence[float] = (0.75, 0.25)) -> tuple[Tensor, Tensor]:
        deviation = sum(w * each.std**power for w, each in zip(shares, styles, strict=True)) ** (1 / power)
        return sum(w * each.mean for w, each in zip(shares, styles, strict=True)), deviation

    mu, sigma = mean()
    assert not is_like(content), "that is the content as it came; give it the mean and the deviation of the mixture"
    assert not is_like(normed), "that takes the content's moments off and puts none on: times σ, plus μ"
    sums = mean(shares=weights)
    assert not is_like(sums[1] * normed + sums[0]), "these weights add up to 4: divide by their sum"
    plain = mean(shares=(0.5, 0.5))
    assert not is_like(plain[1] * normed + plain[0]), "all styles count alike there; use the weights"
    swapped = mean(shares=(0.25, 0.75))
    assert not is_like(swapped[1] * normed + swapped[0]), "the weights stand at the wrong styles: first to first"
    assert not is_like(mean(2)[1] * normed + mu), "that mixes variances; (8) mixes deviations, as the maps do"
    assert not is_like(sigma * (content - own.mean) + mu), "divide by the content's own deviation first"
    assert not is_like(sigma * content / own.std + mu), "take the content's own mean off first"
    assert not is_like(sigma * normed), "the mean of the mixture is missing: plus μ at the end"
    assert not is_like(normed + mu), "the deviation of the mixture is missing: times σ"
    assert not is_like(mu * normed + sigma), "mean and deviation are exchanged: times σ, plus μ"
    assert not is_like(sigma**2 * (content - own.mean) / own.std**2 + mu), "that scales by variances; take deviations"
    assert not is_like(first.std * normed + first.mean), "that is the style with the largest weight alone; mix them"
    assert not is_like(second.std * normed + second.mean), "that is the last style alone; mix them"
    assert is_like(sigma * normed + mu), "the result must have the mixture's mean and deviation, channel by channel"
    right("5.2.1")


def check_loss_of_decoder(answer: Callable[[dict, dict, Tensor, str, float], Tensor]) -> None:
    """Exercise 5.2.2: the decoder's loss, equation (6)."""
    draw = torch.Generator().manual_seed(0)
    shapes, layer, weight = {"near": (3, 8, 8), "far": (5, 4, 4)}, "far", 10.0

    def some(size: float, shift: float) -> dict[str, Tensor]:
        return {name: torch.randn(2, *of, generator=draw).double() * size + shift for name, of in shapes.items()}

    maps, manner, own = some(1.0, 0.2), some(2.0, -0.5), some(0.7, 1.0)[layer]
    got = answer(dict(maps), dict(manner), own.clone(), layer, weight)
    if untried(got, "5.2.2", "replace the dots: AdaIN's target, the content loss against it, plus the style loss"):
        return
    assert isinstance(got, Tensor) and got.numel() == 1, "a loss is one number, as a tensor"

    def shows(target: Tensor, found: Tensor = maps[layer]) -> Tensor:
        return losses.content({layer: found}, {layer: target})

    def is_like(wanted: Tensor) -> bool:
        return abs(float(got) - float(wanted)) < 1e-6 * max(1.0, abs(float(wanted)))

    target = style.adain(own, style.moments(manner[layer]))
    moments, theirs = style.all_moments(maps), style.all_moments(manner)
    content, paints = shows(target), losses.style(moments, theirs)
    one = losses.style({layer: moments[layer]}, {layer: theirs[layer]})
    means = losses.style(*({name: each[:, :1] for name, each in of.items()} for of in (moments, theirs)))
    gram = losses.style(style.grams(maps), style.grams(manner))
    assert not is_like(content), "that is the content loss alone; the style loss is missing"
    assert not is_like(weight * paints), "that is the style loss alone; the content loss is missing"
    assert not is_like(content + paints), "the style loss counts `weight` times"
    assert not is_like(weight * content + paints), "`weight` stands at the wrong loss: the style's is multiplied"
    assert not is_like(weight * (content + paints)), "`weight` multiplies the style loss only"
    assert not is_like(shows(own) + weight * paints), "compare with the target t of AdaIN, not with the content's maps"
    assert not is_like(shows(manner[layer]) + weight * paints), "places in the style picture say nothing; take t"
    assert not is_like(shows(style.adain(manner[layer], style.moments(own))) + weight * paints), (
        "content and style are exchanged in AdaIN: the content's maps get the style's moments"
    )
    assert not is_like(shows(target, style.adain(own, style.moments(maps[layer]))) + weight * paints), (
        "the target is made from the content's maps and the style's moments; the made picture's maps stay as they are"
    )
    assert not is_like(content + weight * one), "the style loss has all layers, not that of AdaIN alone"
    assert not is_like(content + weight * len(shapes) * paints), "`losses.style` is a mean of layers already; no sum"
    assert not is_like(content + weight * means), "the deviations are missing: style is mean and deviation"
    assert not is_like(content + weight * gram), "those are Gram matrices, as in (9); here moments are compared"
    assert is_like(content + weight * paints), "build it from `losses.content` with t, and `losses.style` of moments"
    right("5.2.2")


class _Thing(NamedTuple):
    name: str
    colour: str


class _Seen(NamedTuple):
    things: tuple[_Thing, ...]
    style: str


def _of(words: str, style: str = "flat") -> _Seen:
    """ "red star, blue boat" as something seen."""
    return _Seen(tuple(_Thing(*pair.split()[::-1]) for pair in words.split(", ") if pair), style)


_CASES = (  # what is read, what the content holds, the style asked for
    (_of("red star, blue boat", "ink"), _of("red star, blue boat"), "ink"),
    (_of("green tree", "glass"), _of("green tree"), "glass"),
    (_of("green tree, green tree", "neon"), _of("green tree, green tree"), "neon"),
    (_of("blue boat, red star", "neon"), _of("red star, blue boat"), "neon"),  # in another order
    (_of("blue boat, green tree", "ink"), _of("green tree, blue boat"), "ink"),
    (_of("grey tree", "glass"), _of("green tree"), "glass"),  # a style has its own colours
    (_of("red star", "ink"), _of("red star, red star"), "ink"),  # one is lost
    (_of("red star, red star", "ink"), _of("red star"), "ink"),  # one is too many
    (_of("red star, blue boat, red star", "ink"), _of("red star, blue boat, blue boat"), "ink"),  # another twice
    (_of("red star, blue boat", "glass"), _of("blue boat"), "glass"),  # a thing that is not there
    (_of("red star", "neon"), _of("red star, blue boat"), "neon"),  # one is not found
    (_of("blue boat", "ink"), _of("green tree, blue boat"), "ink"),
    (_of("", "glass"), _of("green tree"), "glass"),  # nothing is read
    (_of("red star", "neon"), _of("red star"), "ink"),  # another style
    (_of("red star", "flat"), _of("red star"), "glass"),
    (_of("blue boat", "neon"), _of("green tree"), "glass"),  # all wrong
    (_of("green tree", "flat"), _of("blue boat"), "ink"),
)  # chosen so that each likely slip gives another share


def check_share_right(answer: Callable[[list, list, list[str]], float]) -> None:
    """Exercise 5.2.3: the share of pictures whose style and things are both right."""
    seen, contents, names = (list(column) for column in zip(*_CASES, strict=True))
    got = answer(list(seen), list(contents), list(names))
    if untried(got, "5.2.3", "replace the dots: style and things of each picture, then the share that has both"):
        return

    def names_of(one: _Seen) -> list[str]:
        return [thing.name for thing in one.things]

    def share(same: Callable[[_Seen, _Seen], bool], styled: Callable[[str, str], bool] = str.__eq__) -> float:
        return sum(styled(one.style, name) and same(one, other) for one, other, name in _CASES) / len(_CASES)

    def same(one: _Seen, other: _Seen) -> bool:
        return Counter(names_of(one)) == Counter(names_of(other))

    def is_like(wanted: float) -> bool:
        return abs(float(got) - wanted) < 1e-6

    true, styles = share(same), share(lambda *_: True)
    things = share(same, lambda *_: True)
    assert not is_like(true * len(_CASES)), "that counts pictures; divide by how many there are"
    assert not is_like(styles), "that asks for the style only; the things must be right as well"
    assert not is_like(things), "that asks for the things only; the style must be right as well"
    assert not is_like(styles * things), "the product of two shares is not the share of both; look at each picture"
    assert not is_like(styles + things - true), "that is the share with one or the other; both must be right"
    assert not is_like((styles + things) / 2), "that is the mean of two shares; both must be right in one picture"
    assert not is_like(share(lambda a, b: names_of(a) == names_of(b))), "things have no order: sort their names first"
    assert not is_like(share(lambda a, b: {*names_of(a)} == {*names_of(b)})), (
        "a set forgets how often a thing is there: compare sorted lists, or counts"
    )
    assert not is_like(share(lambda a, b: len(a.things) == len(b.things))), "as many things are not the same things"
    assert not is_like(share(lambda a, b: {*names_of(b)} <= {*names_of(a)})), "other things must not be there"
    assert not is_like(share(lambda a, b: {*names_of(a)} <= {*names_of(b)})), "every thing of the content must be there"
    assert not is_like(share(lambda a, b: Counter(a.things) == Counter(b.things))), (
        "a style has colours of its own: compare the names of things, not all that is known of them"
    )
    assert not is_like(1 - true), "that is the share of the wrong ones"
    assert is_like(true), f"of these {len(_CASES)} pictures {round(true * len(_CASES))} are right in both"
    right("5.2.3")
