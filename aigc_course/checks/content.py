"""Exercises of notebook 6.3: brand colours by rank of lightness, the seam of a tile, the flicker of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aigc_course.checks.verdict import right, untried


def check_brand_for(answer: Callable[[Sequence[float], Sequence[float]], Sequence[int]]) -> None:
    """Exercise 6.3.1: rank meets rank, equation (1) for as many colours."""
    own, wanted = [70.0, 25.0, 94.0, 51.0, 60.0], [99.0, 5.0, 90.0, 95.0, 40.0]
    got = answer(list(own), list(wanted))
    if untried(got, "6.3.1", "replace the dots: which rank has each own colour, and which brand colour has that rank?"):
        return
    got = np.asarray(got)
    assert got.shape == (5,), f"five own colours need five answers, but these have the shape {got.shape}"

    def is_like(values: object) -> bool:
        return bool(np.allclose(got.astype(float), np.asarray(values, float)))

    own_, wanted_ = np.array(own), np.array(wanted)
    order, rank = np.argsort(own_), np.argsort(np.argsort(own_))
    brand, true = np.argsort(wanted_), np.argsort(wanted_)[rank]
    assert not is_like(wanted_[true]), "those are the brand's lightnesses; asked are their indices in `wanted`"
    assert not is_like(brand[order]), "argsort says which colour is darkest, not how dark a colour is: take it twice"
    assert not is_like(brand[rank[::-1]]), "the ranks are read backwards; keep the order of `own`"
    assert not is_like(brand[::-1][rank]), "that gives the darkest the lightest: light and dark change places"
    assert not is_like(brand), "that is for an `own` that is sorted already; here it comes in any order"
    assert not is_like(rank), "that is for a `wanted` that is sorted already; look the ranks up in its argsort"
    assert not is_like(np.argsort(brand)[rank]), "the ranks of `wanted` say how light each is; its argsort, which is"
    assert not is_like(order[np.argsort(brand)]), "that answers for each brand colour; asked is one for each of `own`"
    nearest = np.abs(own_[:, None] - wanted_).argmin(1)
    assert not is_like(nearest), "the nearest lightness may be taken twice, and others never: rank meets rank"
    assert not is_like(true + 1), "indices begin at 0"
    assert is_like(true), f"for own {own} and wanted {wanted} it is {true.tolist()}: sort both, then pair them"
    right("6.3.1")


def check_seam_across(answer: Callable[[np.ndarray], float]) -> None:
    """Exercise 6.3.2: the seam from left to right, equation (2)."""
    x = np.random.default_rng(0).normal(size=(5, 7)).cumsum(1)
    got = answer(x.copy())
    if untried(got, "6.3.2", "replace the dots: the step from the last column to the first, divided by a usual one"):
        return
    wrap, inside = x[:, -1] - x[:, 0], np.diff(x, axis=1)

    def is_like(value: float) -> bool:
        return bool(np.allclose(got, value))

    usual, true = np.abs(inside).mean(), np.abs(wrap).mean() / np.abs(inside).mean()
    assert np.ndim(got) == 0, f"a seam is one number, but this has the shape {np.shape(got)}: take the mean"
    assert not is_like(1 / true), "upside down: a large step across the edge should give a large number"
    assert not is_like(np.abs(wrap).mean()), "that is the step alone; divide by a usual one"
    signed = wrap.mean() / inside.mean()
    assert not (is_like(signed) or is_like(-signed)), "steps up and down cancel: take |…| before the mean"
    assert not is_like(abs(wrap.mean()) / usual), "|…| must be taken of each pixel, then the mean"
    assert not is_like(np.square(wrap).mean() / np.square(inside).mean()), "equation (2) has |…|, no squares"
    assert not is_like(np.abs(wrap).sum() / np.abs(inside).sum()), "sums count how many steps there are: use means"
    high = np.abs(x[-1] - x[0]).mean() / np.abs(np.diff(x, axis=0)).mean()
    assert not is_like(high), "that is the seam from top to bottom; columns are the last axis"
    assert not is_like(np.abs(wrap).mean() / np.abs(np.diff(x, axis=0)).mean()), "usual steps too go from left to right"
    last = np.abs(x[:, -1] - x[:, -2]).mean()
    assert not is_like(last / usual), "the last two columns lie side by side in the picture; the last meets the first"
    around = np.abs(np.roll(x, -1, 1) - x).mean()
    assert not is_like(np.abs(wrap).mean() / around), "the usual step is one inside: leave the edge itself out of it"
    assert not is_like(np.abs(wrap).mean() / np.abs(inside).max()), "beside the usual step, the mean, not the largest"
    assert is_like(true), "write both means down for a picture of one row, such as [[0, 1, 2, 3]]: it gives 3"
    right("6.3.2")


def check_flicker_of(answer: Callable[[np.ndarray], float]) -> None:
    """Exercise 6.3.3: how far a frame is from the mean of its neighbours, equation (4)."""
    x = np.random.default_rng(1).normal(size=(6, 3, 4)) + np.arange(6)[:, None, None] ** 2
    got = answer(x.copy())
    if untried(got, "6.3.3", "replace the dots: |a frame - the mean of the one before and the one after|, averaged"):
        return
    before, now, after = x[:-2], x[1:-1], x[2:]
    off = now - (before + after) / 2

    def is_like(value: float) -> bool:
        return bool(np.allclose(got, value))

    assert np.ndim(got) == 0, f"flicker is one number, but this has the shape {np.shape(got)}: take the mean of all"
    assert not is_like(np.abs(np.diff(x, axis=0)).mean()), "that is the step onwards: an even motion has it too"
    assert not is_like(off.mean()), "brighter and darker frames cancel: take |…| before the mean"
    assert not is_like(abs(off.mean())), "|…| must be taken of each pixel, then the mean"
    assert not is_like(np.abs(now - (before + after)).mean()), "the neighbours are added but not halved"
    assert not is_like(2 * np.abs(off).mean()), "twice too much: it is the mean of two neighbours that a frame meets"
    ring = np.abs(x - (np.roll(x, 1, 0) + np.roll(x, -1, 0)) / 2).mean()
    assert not is_like(ring), "the first frame is no neighbour of the last one: leave both ends out"
    assert not is_like(np.square(off).mean()), "equation (4) has |…|, no squares"
    assert not is_like(np.sqrt(np.square(off).mean())), "equation (4) has |…|, no squares and no root"
    assert not is_like(np.abs(off).sum()), "that is a sum: a longer clip would flicker more; take the mean"
    assert not is_like(np.abs(off).sum() / len(x)), "divide by the number of pixels compared, not by that of frames"
    assert not is_like(np.abs(now - before).mean()), "that looks back only; the neighbours are before and after"
    assert not is_like(np.abs((after - before) / 2).mean()), "the frame itself is missing"
    still = np.abs(x - x.mean(0)).mean()
    assert not is_like(still), "that is the distance from the mean of the whole clip; a frame has two neighbours"
    assert is_like(np.abs(off).mean()), "for frames of one pixel, 0, 3, 2, it is |3 - (0 + 2) / 2| = 2"
    right("6.3.3")
