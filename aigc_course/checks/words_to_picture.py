"""Exercises of notebook 1.1: a prompt, bytes of a picture, guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aigc_course import diffusion, scenes
from aigc_course.checks.verdict import right, untried


def check_prompt(prompt: str) -> None:
    """Exercise 1.1.1: a prompt that asks for two small blue fish at night, in watercolour."""
    if untried(prompt, "1.1.1", "replace the dots with a prompt in quotes"):
        return
    assert isinstance(prompt, str), f"a prompt is text in quotes, not a {type(prompt).__name__}"
    lost = scenes.unknown_words(prompt)
    assert not lost, f"the model never learnt the word {lost[0]!r}; the table of words above shows what it knows"
    try:
        facts = scenes.read_caption(prompt)
    except ValueError as error:
        raise AssertionError(str(error)) from None
    assert len(facts.groups) == 1, "that asks for two different things; only fish are wanted"
    fish = facts.groups[0]
    assert fish.name == "fish", f"that asks for a {fish.name}; the picture should show fish"
    assert fish.colour == "blue", f"the fish would be {fish.colour}; they should be blue"
    assert fish.count == 2, f"that asks for {fish.count} fish; say how many: two"
    assert fish.size == "small", f"the size is {fish.size or 'not said'}; they should be small"
    assert facts.background == "night", f"the place is {facts.background or 'not said'}; it should be night"
    assert facts.style == "watercolour", f"the style is {facts.style or 'not said'}; it should be watercolour"
    right("1.1.1")


def check_to_bytes(answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Exercise 1.1.2: a picture in [-1, 1] to bytes 0 to 255."""
    levels = torch.arange(256)
    picture = (levels.float() / 127.5 - 1).view(1, 16, 16)
    got = answer(picture)
    if untried(got, "1.1.2", "replace the dots with one line: shift, scale, round, convert"):
        return
    assert isinstance(got, torch.Tensor), f"return a tensor, not a {type(got).__name__}"
    assert got.dtype == torch.uint8, (
        f"the numbers are {str(got.dtype)[6:]}; bytes are torch.uint8: end with .to(torch.uint8)"
    )
    got, (low, middle, high) = got.flatten().long(), got.flatten()[[0, 128, 255]].tolist()
    close = (got - levels).abs().max() <= 1
    assert torch.equal(got, levels) or not close, (
        "some levels are one off: .to(torch.uint8) cuts off, so .round() first"
    )
    assert high not in (127, 128), (
        f"white came out as {high}: the range [-1, 1] is two wide, so halve it or double the scale"
    )
    assert middle != 1, "mid grey came out as 1 and all below it as 0: shift by 1 before you scale"
    assert not low == high == 0, "white came out as 0: 256 does not fit into a byte; scale to 255"
    assert close, f"black, grey, white became {low}, {middle}, {high}; expected 0, 128, 255"
    over = answer(torch.tensor([[[-1.2, 1.2]]])).flatten().tolist()
    assert over == [0, 255], (
        f"a decoder may overshoot: -1.2 and 1.2 became {over[0]} and {over[1]}; clamp to [0, 255] first"
    )
    right("1.1.2")


def check_guidance(answer: Callable[..., torch.Tensor]) -> None:
    """Exercise 1.1.3: the guided prediction from the one without and the one with words."""
    uncond, cond = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    got = answer(uncond, cond, 3.0)
    if untried(got, "1.1.3", "replace the dots with equation (4)"):
        return

    def is_like(other: torch.Tensor) -> bool:
        return got.shape == other.shape and torch.allclose(got, other, atol=1e-5)

    assert not is_like(cond + 3 * (cond - uncond)), (
        "you started from `cond`, which goes one step too far; start from `uncond`"
    )
    assert not is_like(cond + 3 * (uncond - cond)), "`uncond` and `cond` are swapped: this walks away from the words"
    assert not is_like(uncond + 3 * (uncond - cond)), "the difference points away from the words: it is cond - uncond"
    assert not is_like(uncond + 3 * cond), "add the difference cond - uncond, not `cond` itself"
    assert not is_like(3 * (cond - uncond)), "that is the push alone; add it to `uncond`"
    assert not is_like(3 * cond), "that only makes the prediction larger; it must leave what both share as it is"
    assert not is_like(cond), "`scale` is not used: at scale 3 the words should pull three times as hard"
    assert is_like(diffusion.guide(uncond, cond, 3.0)), (
        "at scale 3 this is not equation (4); try scale = 0 and scale = 1 by hand"
    )
    assert torch.allclose(answer(uncond, cond, 1.0), cond, atol=1e-5), (
        "at scale 1 nothing should change: the answer is `cond`"
    )
    right("1.1.3")
