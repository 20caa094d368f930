"""Exercises of notebook 5.3: where redrawing starts, attention shared with a reference, a picture as a prompt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried

Three = tuple[Tensor, Tensor, Tensor]


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_redrawing_start(answer: Callable[..., Tensor]) -> None:
    """Exercise 5.3.1: the noisy latent from which a content is redrawn, equation (1)."""
    z, noise = _random(2, 2, 3, 4, 4)
    abar, strength = [0.95, 0.8, 0.55, 0.3, 0.02], 0.6
    got = answer(z, noise, abar, strength)
    if untried(got, "5.3.1", "replace the dots: find the level on the list, then equation (1)"):
        return
    shaped(got, z)

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    def mixed(level: float, picture: Tensor = z, other: Tensor = noise) -> Tensor:
        return level**0.5 * picture + (1 - level) ** 0.5 * other

    level = abar[2]
    assert not is_like(mixed(strength)), "the strength is a place on the list, not a level: look ᾱ up in abar"
    assert not is_like(mixed(1 - strength)), "1 - strength is no level of this schedule: look ᾱ up in abar"
    assert not is_like(mixed(abar[1])), "that counts from the noisy end; strength 1 must give the last of the list"
    assert not is_like(mixed(abar[3])), "one too far: the list is counted from 0, so subtract 1 from the index"
    assert not is_like(mixed(level, noise, z)), "the roots are swapped: at abar near 1 the picture must be left"
    assert not is_like(level * z + (1 - level) * noise), "the shares are roots, abar**0.5 and (1 - abar) ** 0.5"
    assert not is_like(z + (1 - level) ** 0.5 * noise), "the picture must fade while noise comes: abar**0.5 * z"
    assert not is_like(level**0.5 * z), "the noise is missing; a faded picture is none that the denoiser has seen"
    assert not is_like(z + noise), "mix the two by their shares; a plain sum is too loud"
    assert is_like(mixed(level)), "at strength 0.6 of five levels this is not (1): the third, and its two roots"
    right("5.3.1")


def check_shared_attention(answer: Callable[[Three, Three], Tensor]) -> None:
    """Exercise 5.3.2: a picture that attends to a reference too, equations (4) and (5)."""
    q, k, v = own = tuple(_random(3, 5, 4))
    ref_q, ref_k, ref_v = reference = tuple(1.5 * _random(3, 7, 4, seed=1) + _random(3, 1, 1, seed=2))
    got = answer(own, reference)
    if untried(got, "5.3.2", "replace the dots: like() for queries and keys, then attention to both sets of keys"):
        return
    shaped(got, v)

    def like(tokens: Tensor, model: Tensor, spread: bool = True) -> Tensor:
        ratio = model.std(0, correction=0) / tokens.std(0, correction=0) if spread else 1
        return (tokens - tokens.mean(0)) * ratio + model.mean(0)

    def attended(q: Tensor, k: Tensor, v: Tensor, root: bool = True, dim: int = 1) -> Tensor:
        return (q @ k.mT / (q.shape[1] ** 0.5 if root else 1)).softmax(dim) @ v

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    normed, keyed = like(q, ref_q), like(k, ref_k)
    keys, values = torch.cat([keyed, ref_k]), torch.cat([v, ref_v])
    assert not is_like(attended(q, k, v)), "that is plain attention: the reference is not looked at"
    assert not is_like(attended(q, torch.cat([k, ref_k]), values)), "normalise first: queries and keys by like(), (5)"
    assert not is_like(attended(normed, torch.cat([k, ref_k]), values)), "the own keys are normalised as well, by ref_k"
    assert not is_like(attended(q, keys, values)), "the queries are normalised as well, by the reference's queries"
    assert not is_like(attended(normed, ref_k, ref_v)), "that looks at the reference alone; append it to the own keys"
    assert not is_like(attended(normed, keyed, v)), "the reference's keys and values are not appended yet: torch.cat"
    assert not is_like(attended(normed, keys, torch.cat([like(v, ref_v), ref_v]))), "values stay as they are in (4)"
    assert not is_like(attended(like(q, ref_k), keys, values)), "queries are compared with queries: like(q, ref_q)"
    backwards = torch.cat([k, like(ref_k, k)])
    assert not is_like(attended(q, backwards, values)), "the picture takes the reference's moments, not it ours"
    assert not is_like(attended(normed, keys, values, root=False)), "divide the scores by the root of d, q.shape[1]"
    assert not is_like(attended(normed, keys, values, dim=0)), "each query's weights add up to one: softmax(1)"
    both = attended(normed, keyed, v) + attended(normed, ref_k, ref_v)
    assert not is_like(both), "one softmax over all keys; two would give each set a weight of one"
    assert is_like(attended(normed, keys, values)), "this is not (4); check the shapes: 5 queries, 5 + 7 keys"
    right("5.3.2")


def check_decoupled_attention(answer: Callable[..., Tensor]) -> None:
    """Exercise 5.3.3: words and a picture answer the same query, equation (6)."""
    q, scale = _random(5, 8), 0.4
    words, picture = tuple(_random(2, 6, 8, seed=1)), tuple(_random(2, 4, 8, seed=2))
    got = answer(q, words, picture, scale)
    if untried(got, "5.3.3", "replace the dots: attention to the words, plus scale times attention to the picture"):
        return
    shaped(got, q)

    def attended(keys: Tensor, values: Tensor, times: float = 8**-0.5) -> Tensor:
        return (times * q @ keys.mT).softmax(1) @ values

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got, wanted, atol=1e-6)

    told, seen = attended(*words), attended(*picture)
    joined = [torch.cat(pair) for pair in zip(words, picture, strict=True)]
    weighed = [words[0], words[1]], [picture[0], scale * picture[1]]
    assert not is_like(attended(*joined)), "one softmax over both makes them compete; (6) has one for each"
    one = attended(*(torch.cat(pair) for pair in zip(*weighed, strict=True)))
    assert not is_like(one), "weighed, but still in one softmax; (6) has one for each"
    assert not is_like(told), "the picture is missing"
    assert not is_like(scale * seen), "the words are missing"
    assert not is_like(told + seen), "the scale is missing: at 0 the old model must come back"
    blend = (1 - scale) * told + scale * seen
    assert not is_like(blend), "the words keep their full weight; only the picture is scaled"
    assert not is_like(scale * told + seen), "the scale belongs to the picture's answer, not to that of the words"
    assert not is_like(scale * (told + seen)), "the scale belongs to the picture's answer alone"
    inside = told + attended(scale * picture[0], picture[1])
    assert not is_like(inside), "scale the answer; inside the softmax it only makes the attention more even"
    loud = attended(*words, 1.0) + scale * attended(*picture, 1.0)
    assert not is_like(loud), "divide the scores by the root of d, q.shape[1]"
    assert is_like(told + scale * seen), "this is not (6); write both attentions down, each with its own softmax"
    right("5.3.3")
