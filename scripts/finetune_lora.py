"""Which layers, what rank: LoRAs and a full fine-tune teach the denoiser one style, under the same short budget."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from train_loras import PLACES

from aigc_course import adaptation, evaluation, lora, models, runtime, scenes

STYLE, STEPS, DRAWINGS, ASKED = "chalk", 50, 128, 16
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
WAYS = {
    "all weights": (0, ()),
    "attention, rank 4": (4, ATTENTION),
    "attention, rank 16": (16, ATTENTION),
    "convolutions, rank 4": (4, ("conv1", "conv2")),
    "step and words, rank 1": (1, PLACES),
    "step and words, rank 4": (4, PLACES),
    "step and words, rank 16": (16, PLACES),
}


@dataclass(frozen=True)
class Outcome:
    """What one way has reached in one run, picture by picture, and what it holds."""

    style: list[bool]
    content: list[bool]
    cost: lora.Cost


def run(pipe, judge, lesson, way: tuple[int, Sequence[str]], seed: int) -> Outcome:
    """Teach a copy of the denoiser, ask it for the style, judge; the pipeline is as it was before."""
    shipped, (rank, targets) = pipe.unet, way
    pipe.unet = copy.deepcopy(shipped).requires_grad_(True)
    try:
        if rank:
            lora.add(pipe.unet, rank, targets, generator=runtime.generator(seed))
        cost, rate = lora.cost(pipe.unet), 3e-3 if rank else 5e-4
        adaptation.learn_drawings(pipe, lesson, STEPS, learning_rate=rate, seed=seed, progress=False)
        if rank:
            lora.merge(pipe.unet)
        return _judged(pipe, judge, seed, cost)
    finally:
        pipe.unet = shipped


def _judged(pipe, judge, seed: int, cost: lora.Cost) -> Outcome:
    asked = scenes.samples(ASKED, "validation", seed=100 + seed, task="single")
    found = adaptation.draw_and_judge(pipe, judge, asked, style=STYLE, seed=seed)
    return Outcome(found.new.tolist(), found.content.tolist(), cost)


def outcomes(seeds: Sequence[int]) -> dict[str, list[Outcome]]:
    """All ways with all seeds; a seed decides the drawings, the start, the noise and the prompts."""
    pipe, judge = models.load("text-to-image", dtype=torch.float32), evaluation.load_newcomers()
    found = {"not taught": [_judged(pipe, judge, seed, lora.cost(pipe.unet)) for seed in seeds]}
    for seed in seeds:
        torch.manual_seed(seed)
        lesson = adaptation.draw_lesson(pipe, scenes.samples(DRAWINGS, "train", seed=100 + seed), style=STYLE)
        for name, way in WAYS.items():
            found.setdefault(name, []).append(run(pipe, judge, lesson, way, seed))
    return found


def _row(name: str, runs: Sequence[Outcome]) -> str:
    style, content = (
        evaluation.interval([value for one in runs for value in getattr(one, part)]) for part in ("style", "content")
    )
    cost = runs[0].cost
    held = "– | –" if name == "not taught" else f"{cost.share:.2%} | {cost.optimiser:,}"
    return f"| {name} | {held} | {style} | {content} |"


def table(seeds: Sequence[int]) -> str:
    """The Markdown table: for each way its share of numbers that learn, its bytes, and what the judge saw."""
    if not len(seeds):
        raise ValueError("no seeds to run; give at least one, such as [0]")
    rows = [_row(name, runs) for name, runs in outcomes(seeds).items()]
    head = "| what learns | share of numbers | optimiser, bytes | read as chalk | with the thing asked for |"
    told = (
        f"Style “{STYLE}”, {STEPS} steps of 16 on {DRAWINGS} drawings, {len(seeds)} seeds, {ASKED} prompts each; in "
        "brackets 95 % intervals (bootstrap over all pictures of a row). Under the same short budget, see whether few "
        "numbers in the right place do as well as many."
    )
    return "\n".join([head, "|---|---:|---:|---|---|", *rows, "", told])
