"""Exercises of notebook 4.1: bytes that do not depend on the batch, activations of an MLP, the peak of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aigc_course.checks.verdict import right, untried

Life = tuple[int, int, int | None]


def check_fixed_bytes(answer: Callable[[int, int, int], float]) -> None:
    """Exercise 4.1.1: weights, gradients and AdamW in mixed settings."""
    numbers, trained, widths = 1000, 300, (1, 2, 4)
    got = [answer(numbers, trained, each) for each in widths]
    if untried(got[0], "4.1.1", "replace the dots: weights, gradients, states, and a copy where weights are narrow"):
        return

    def is_like(wanted: Callable[[int, int], float]) -> bool:
        return all(abs(found - wanted(each, 4 * (each < 4))) < 1e-6 for found, each in zip(got, widths, strict=True))

    def filled(each: int, copy: int, state: int = 8) -> int:
        return each * numbers + (each + copy + state) * trained

    assert not is_like(lambda e, c: 4 * e * numbers), "that is the ×4 rule; here not every number learns"
    assert not is_like(lambda e, c: filled(e, c, 4)), "AdamW keeps two states a trained number, m and v, not one"
    assert not is_like(lambda e, c: filled(e, c, 2 * e)), "the states stay in float32, whatever the weights are"
    assert not is_like(lambda e, c: filled(e, c, 0)), "the two states of AdamW are missing"
    assert not is_like(lambda e, c: filled(e, c) + 8 * 700), "a frozen number has no states: 8 bytes a trained one"
    assert not is_like(lambda e, c: filled(e, c) + e * 700), "a frozen number has no gradient"
    assert not is_like(lambda e, c: filled(e, c) - e * trained), "the gradients are missing: one a trained number"
    assert not is_like(lambda e, c: filled(4, c) + (e - 4) * numbers), "a gradient is as wide as its weight here"
    assert not is_like(lambda e, c: filled(e, 0)), "narrow weights need a float32 copy of each trained number"
    assert not is_like(lambda e, c: filled(e, 4)), "weights of 4 bytes are float32 already: no copy of them"
    assert not is_like(lambda e, c: filled(e, c) + c * 700), "only numbers that learn need the float32 copy"
    assert not is_like(lambda e, c: filled(e, c) - e * 700), "frozen numbers are held too: all weights, e bytes each"
    assert is_like(filled), "write the four terms down for 1,000 weights of 2 bytes of which 300 learn: 6,200 in all"
    right("4.1.1")


def check_kept_bytes(answer: Callable[[int, Sequence[int]], float]) -> None:
    """Exercise 4.1.2: the activations of an MLP, equation (3)."""
    batch, widths = 32, [8, 16, 24, 4]
    got = answer(batch, widths)
    if untried(got, "4.1.2", "replace the dots: which tensors does autograd keep, and how many numbers have they?"):
        return
    hidden, out = sum(widths[1:-1]), widths[-1]

    def is_like(numbers: float, each: int = 4) -> bool:
        return abs(got - each * numbers) < 1e-6

    assert not is_like(batch * (hidden + out), 1), "that counts numbers; a float32 has 4 bytes"
    assert not is_like(hidden + out), "that is one row; the batch has more"
    assert not is_like(batch * sum(widths)), "the batch itself is data: it was there before, leave widths[0] out"
    assert not is_like(batch * sum(widths[:-1])), "the batch is data; the loss keeps something as wide as its answer"
    assert not is_like(batch * hidden), "the loss keeps its error, as wide as the answer: widths[-1] counts too"
    assert not is_like(batch * (2 * hidden + out)), "ReLU keeps its output alone, which is the next layer's input"
    weights = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    assert not is_like(weights), "those are the weights; activations have one row for each row of the batch"
    assert not is_like(batch * max(widths)), "all layers are kept until the backward pass, not the widest alone"
    assert is_like(batch * (hidden + out)), "this is not equation (3); draw the layers and mark what is kept"
    right("4.1.2")


def check_peak(answer: Callable[[list[Life]], float]) -> None:
    """Exercise 4.1.3: the most bytes alive at once, equation (4)."""
    lives = [(100, 0, None), (50, 1, 4), (70, 2, 3), (30, 3, None), (95, 4, 6), (20, 5, 6)]
    got = answer(lives)
    if untried(got, "4.1.3", "replace the dots: for each moment the sum of what is alive, and the largest of these"):
        return

    closed = [(size, born, 99 if died is None else died) for size, born, died in lives]

    def sums(alive: Callable[[int, int, int], bool]) -> list[int]:
        return [sum(size for size, born, died in closed if alive(m, born, died)) for m in range(7)]

    true = sums(lambda m, born, died: born <= m < died)
    assert got != sum(size for size, _, _ in lives), "that never frees anything: add what is alive at one moment only"
    assert got != true[-1], "that is what is left at the end; the peak came before"
    assert got != max(size for size, _, _ in lives), "that is the largest tensor; others are alive beside it"
    assert got != max(sums(lambda m, born, died: born <= m <= died)), "at `died` it is gone already: m < died"
    assert got != max(sums(lambda m, born, died: born <= m < died < 99)), "None means alive to the end, not never"
    assert got != max(sums(lambda m, born, died: born < m < died)), "at `born` it is there already: born <= m"
    assert got != true.index(max(true)), "that is the moment of the peak; asked are its bytes"
    many = max(sum(born <= m < died for _, born, died in closed) for m in range(7))
    assert got != many, "that counts tensors; add their bytes"
    assert abs(got - sum(true) / 7) > 1e-6, "that is the average; a machine must hold the largest"
    assert got == max(true), f"with {lives} it is {max(true)} at moment 5: write down each moment's sum"
    right("4.1.3")
