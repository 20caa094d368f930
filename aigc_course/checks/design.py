"""Exercises of notebook 6.2: how far boxes overlap, the mask of a region, when two flowcharts say the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aigc_course.checks.verdict import right, shaped, untried

Box = tuple[float, float, float, float]
Chart = tuple[dict[str, str], list[tuple[str, str, str]]]


def check_overlap(answer: Callable[[Box, Box], float]) -> None:
    """Exercise 6.2.1: intersection over union of two boxes."""
    one, other, apart, inside = (0, 0, 4, 2), (2, 1, 6, 5), (10, 0, 12, 2), (1, 0, 3, 2)
    got = answer(one, other)
    if untried(got, "6.2.1", "replace the dots: the area that both share, over the area that either covers"):
        return

    def is_like(wanted: float) -> bool:
        return abs(got - wanted) < 1e-6

    assert not is_like(2.0), "that is the shared area in pixels; divide it by the area that either covers"
    assert not is_like(2 / 24), "the shared part is counted twice below the line: take it off once"
    assert not is_like(2 / 8), "divided by the first box alone; a huge second box would then cost nothing"
    assert not is_like(2 / 16), "divided by one box alone; use the area that either covers"
    assert not is_like(2 / 30), "below the line stands the box around both; use what they cover: a + b - shared"
    assert not is_like(22 / 2), "upside down: shared area above the line"
    assert not is_like(4 / 24), "that is twice the shared over the sum, Dice's measure; asked is shared over union"
    assert is_like(2 / 22), "for (0, 0, 4, 2) and (2, 1, 6, 5) they share 2 and cover 8 + 16 - 2 = 22"
    far = answer(one, apart)
    assert far >= 0, "boxes that do not meet share nothing: a negative width is 0"
    assert abs(far) < 1e-6, "boxes beside one another share nothing, though their heights overlap"
    both = answer((0, 0, 1, 1), (5, 5, 7, 7))
    assert abs(both) < 1e-6, "two negative sides make a positive area: cut each side off at 0 before you multiply"
    assert abs(answer(one, inside) - 0.5) < 1e-6, "a box inside another shares all of itself: here 4 of 8"
    right("6.2.1")


def check_region_mask(answer: Callable[[Box], Tensor]) -> None:
    """Exercise 6.2.2: which places of the latent a region of the picture touches."""
    region = (20, 40, 61, 104)
    got = answer(region)
    if untried(got, "6.2.2", "replace the dots: rows and columns of the latent, eight pixels each, as slices"):
        return
    wanted = torch.zeros(16, 16)
    wanted[5:13, 2:8] = 1
    if isinstance(got, Tensor):
        assert tuple(got.shape) != (128, 128), "that is a mask in pixels; a place of the latent has eight a side"
    shaped(got, wanted)
    got = got.float()

    def filled(rows: slice, columns: slice) -> Tensor:
        mask = torch.zeros(16, 16)
        mask[rows, columns] = 1
        return mask

    assert not torch.equal(got, wanted.mT), "rows and columns are swapped: the first number of a region is its left"
    assert not torch.equal(got, 1 - wanted), "1 is where is painted anew, 0 where the picture is kept"
    assert not torch.equal(got, filled(slice(5, 13), slice(2, 7))), "the last place is partly inside: it counts too"
    assert not torch.equal(got, filled(slice(5, 13), slice(3, 8))), "the first place is partly inside: round down"
    assert not torch.equal(got, filled(slice(5, 13), slice(3, 7))), "places that are partly inside count too"
    assert not torch.equal(got, filled(slice(5, 14), slice(2, 8))), "104 is a multiple of 8: no further row is touched"
    assert not torch.equal(got, filled(slice(5, 14), slice(2, 9))), "one place too many at the right and the bottom"
    assert not torch.equal(got, torch.ones(16, 16)), "that paints the whole picture anew"
    assert torch.equal(got, wanted), "for (20, 40, 61, 104): columns 2 to 7, rows 5 to 12"
    assert torch.equal(answer((0, 0, 128, 128)).float(), torch.ones(16, 16)), "the whole picture touches every place"
    assert torch.equal(answer((8, 0, 16, 8)).float(), filled(slice(0, 1), slice(1, 2))), "(8, 0, 16, 8) is one place"
    right("6.2.2")


def check_same_chart(answer: Callable[[Chart, Chart], bool]) -> None:
    """Exercise 6.2.3: whether two flowcharts say the same, whatever their boxes are called."""
    one = ({"A": "open", "B": "late?", "C": "send", "D": "sign"}, [("A", "B", ""), ("B", "C", "yes"), ("B", "D", "no")])
    renamed = (
        {"x": "sign", "y": "send", "z": "late?", "A": "open"},
        [("z", "x", "no"), ("A", "z", ""), ("z", "y", "yes")],
    )
    got = answer(one, renamed)
    if untried(got, "6.2.3", "replace the dots: the arrows of both as sets of (words, words, label)"):
        return
    assert answer(one, one), "a chart says the same as itself"
    swapped = (one[0], [("A", "B", ""), ("B", "C", "no"), ("B", "D", "yes")])
    assert not answer(one, swapped), "“yes” and “no” are swapped there: the label of an arrow counts"
    back = (one[0], [("B", "A", ""), ("B", "C", "yes"), ("B", "D", "no")])
    assert not answer(one, back), "one arrow runs back there: from and to are not the same"
    other = ({**one[0], "D": "burn"}, one[1])
    assert not answer(one, other), "another word stands in a box there: compare words, not the letters of boxes"
    assert not answer(one, (one[0], one[1][:2])), "an arrow is missing there: all of the first have to be in the second"
    more = (one[0], [*one[1], ("C", "D", "")])
    assert not answer(one, more), "there is one arrow more there: look both ways"
    ordered = (one[0], one[1][::-1])
    assert answer(one, ordered), "the same arrows in another order: the order of lines says nothing"
    assert got, "the boxes have other letters there, but the same words: it is the same chart"
    right("6.2.3")
