"""Exercises of notebook 4.2: a part's share of the loss, numbers in blocks of codes, a step in 64 MiB."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from aigc_course import adaptation, memory, models, runtime, scenes
from aigc_course.checks.verdict import right, shaped, untried

ROOM = 64 * 2**20


def check_part_loss(answer: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> None:
    """Exercise 4.2.1: what a part of a batch adds, so that the mean over parts is the mean over tokens."""
    nats = torch.rand(6, 5, generator=runtime.generator(0)) + 0.5
    real = torch.arange(5) < torch.tensor([5, 5, 4, 2, 1, 1])[:, None]
    total, parts, tokens = real.sum(), 3, [each.sum() for each in real.split(2)]
    got = [answer(*part, total, parts) for part in zip(nats.split(2), real.split(2), strict=True)]
    if untried(got[0], "4.2.1", "replace the dots: the part's nats at real tokens, over all tokens, times the parts"):
        return
    for each in got:
        shaped(each, torch.tensor(0.0))
    sums = [(n * r).sum() for n, r in zip(nats.split(2), real.split(2), strict=True)]

    def is_like(wanted: list) -> bool:
        return all(abs(float(a) - float(b)) < 1e-5 for a, b in zip(got, wanted, strict=True))

    means = [s / n for s, n in zip(sums, tokens, strict=True)]
    assert not is_like(means), "that is the part's own mean: short parts then count as much as long ones"
    assert not is_like([s / total for s in sums]), "the plan divides by the number of parts: multiply by it first"
    assert not is_like([s / total / parts for s in sums]), "the plan divides by the parts already: multiply, not divide"
    assert not is_like(sums), "that is a sum: divide it by the tokens of the whole batch"
    assert not is_like([n.mean() for n in nats.split(2)]), "padding is in that mean: leave out what is not real"
    padded = [parts * n.sum() / total for n in nats.split(2)]
    assert not is_like(padded), "padding is in the sum: multiply by `real` before you add up"
    rows = [parts * s / len(nats) for s in sums]
    assert not is_like(rows), "that divides by the captions; equation (2) divides by tokens"
    places = [parts * s / nats.numel() for s in sums]
    assert not is_like(places), "that divides by all places; only real tokens count in N"
    assert is_like([parts * s / total for s in sums]), "the mean over the parts must be Σ nats / Σ tokens, equation (2)"
    right("4.2.1")


def check_there_and_back(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Exercise 4.2.2: into codes and out of them again, block by block."""
    levels, block = torch.tensor([-1.0, -0.4, -0.1, 0.0, 0.1, 0.4, 1.0]), 4
    x = torch.tensor([0.1, -0.3, 0.24, -0.5, 30.0, 2.0, -9.0, 16.0, -0.02, -0.008, 0.001, 0.004])
    got = answer(x.clone(), levels, block)
    if untried(got, "4.2.2", "replace the dots: a scale for each block, the nearest level, and back"):
        return
    shaped(got, x)

    def coded(rows: Tensor, scale: Tensor) -> Tensor:
        return (levels[(rows[..., None] / scale[..., None] - levels).abs().argmin(-1)] * scale).view(-1)

    def is_like(wanted: Tensor) -> bool:
        return torch.allclose(got.float(), wanted.float(), atol=1e-6)

    rows = x.view(-1, block)
    size = rows.abs().amax(1, keepdim=True)
    true = coded(rows, size)
    assert not is_like(x), "nothing was rounded: only values level × scale can come back"
    assert not is_like(coded(x[None], x.abs().max())), "one scale for all: small blocks are lost; take one a block"
    signed = coded(rows, rows.amax(1, keepdim=True))
    assert not is_like(signed), "the scale is the largest size: take abs() before the maximum, blocks can be negative"
    average = coded(rows, rows.abs().mean(1, keepdim=True))
    assert not is_like(average), "the scale is the largest size, not the mean: what is larger would be cut off"
    assert not is_like(true.view(-1, block).div(size).view(-1)), "multiply by the scale again on the way back"
    codes = (rows[..., None] / size[..., None] - levels).abs().argmin(-1).view(-1)
    assert not is_like(codes), "those are the codes; look their levels up and multiply by the scale"
    assert not is_like(coded(rows, torch.ones_like(size))), "divide by the block's scale before you look for a level"
    low = torch.bucketize(rows / size, levels, right=True) - 1
    assert not is_like((levels[low] * size).view(-1)), "that takes the level below; take the nearest one"
    across = x.view(block, -1)
    turned = coded(across.T, across.abs().amax(0)[:, None]).view(-1, block).T.reshape(-1)
    assert not is_like(turned), "a block is `block` neighbours: view(-1, block), and the maximum over its last axis"
    assert is_like(true), f"for the first block, {rows[0].tolist()}, it should be {true[:block].tolist()}"
    still = answer(torch.zeros(block), levels, block)
    assert still.isfinite().all(), "a block of zeros has the scale 0 and 0/0 is NaN: keep the divisor above 0"
    assert not still.any(), "a block of zeros must come back as zeros"
    right("4.2.2")


def check_small_step(answer: Callable[[nn.Module], memory.Plan]) -> None:
    """Exercise 4.2.3: the captioner's step on 48 pictures in 64 MiB, with the gradient that it had."""
    captioner, batch, mean = _captioning()
    model = deepcopy(captioner)
    plan = answer(model)
    if untried(plan, "4.2.3", "replace the dots: return a memory.Plan; its loss weighs tokens, and it is cut finely"):
        return
    assert isinstance(plan, memory.Plan), f"return a memory.Plan, not a {type(plan).__name__}"
    ours, theirs = (dict(each.named_parameters()) for each in (captioner, model))
    assert ours.keys() == theirs.keys(), "this is another model now: keep its weights, all of them and no others"
    assert all(p.requires_grad for p in theirs.values()), "some weights are frozen; asked is a step in which all learn"
    assert all(torch.equal(p, theirs[n]) for n, p in ours.items()), "the weights have changed: leave them as they are"
    made = type(plan.optimiser([nn.Parameter(torch.zeros(1))]))
    adamw = torch.optim.AdamW, memory.AdamW8bit, memory.AdamW4bit
    assert issubclass(made, adamw), f"{made.__name__} is another way to learn: use AdamW, in 32, 8 or 4 bits"
    assert plan.precision == "fp32", f"{plan.precision} moves the gradient; it can be done without, in fp32"
    whole = _gradient(captioner, batch, memory.Plan(mean))
    off = _distance(_gradient(model, batch, plan), whole)
    if off > 1e-4 and plan.accumulate > 1:
        naive = _gradient(captioner, batch, memory.Plan(mean, accumulate=plan.accumulate))
        alike = abs(off - _distance(naive, whole)) < 1e-4
        assert not alike, f"the mean of the parts' means moves the gradient by {off:.0%}: weigh by tokens, equation (2)"
    assert off < 1e-4, f"the gradient is {off:.1%} off that of the whole batch: each token must count once, and alike"
    peak = memory.count(model, batch, plan).peak
    hint = "cut the batch finer, checkpoint, or keep the states in fewer bits"
    assert peak <= ROOM, f"this takes {peak / 2**20:.1f} MiB of 64: {hint}"
    right("4.2.3")


def _captioning() -> tuple[nn.Module, dict, Callable]:
    """The shipped captioner, 48 pictures with captions from short to long, and its loss."""
    captioner, tokenizer = models.load("captioner"), models.load("tokenizer")
    captioner.decoder.config.use_cache = False
    drawn = scenes.samples(48, "train", seed=43)
    labelled = adaptation.Labelled(tokenizer, scenes.pictures_as_bytes(drawn), adaptation.told(drawn))
    batch = labelled(torch.arange(48), 0)
    real = (batch["tokens"][:, 2:] != tokenizer.pad_token_id).sum(1)
    batch = {key: each[real.argsort()] for key, each in batch.items()} | {"all": real.sum()}
    return captioner, batch, adaptation.caption_loss(tokenizer.pad_token_id)


def _distance(found: Tensor, whole: Tensor) -> float:
    """How far a gradient is from that of the whole batch, as a share of the latter."""
    return ((found - whole).norm() / whole.norm()).item()


def _gradient(model: nn.Module, batch: dict, plan: memory.Plan) -> Tensor:
    """What reaches the optimiser in one step of the plan."""
    kept = []

    def watched(parameters: list[Tensor]) -> torch.optim.Optimizer:
        def keep(*_: object) -> None:
            kept.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))

        optimiser = plan.optimiser(parameters)
        optimiser.register_step_pre_hook(keep)
        return optimiser

    memory.measure(model, batch, replace(plan, optimiser=watched), 1)
    return kept[0]
