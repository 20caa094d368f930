"""The part of the fine-tuning benchmark on forgetting: a stream of four styles, learnt in five ways."""

import copy
import math
from collections.abc import Sequence

import torch

from aigc_course import adaptation, evaluation

Numbers = dict[str, tuple[float, float, float]]
SHORT = 60  # steps a stage where each style has names of its own: a quarter of the pictures


def run(stream: Sequence[adaptation.Task], seed: int, **given: int) -> Numbers:
    """Average accuracy, accuracy right after learning, and backward transfer of each method, for one seed.

    Joint training has no matrix: only its average is a number.  given: steps a stage.
    """
    first = adaptation.begin(stream[0], seed=seed, progress=False, **given)
    ways = {name: method() for name, method in adaptation.METHODS.items()}
    found = {name: _measured(copy.deepcopy(first), stream, way, seed, given) for name, way in ways.items()}
    joint = adaptation.jointly(copy.deepcopy(first), stream, seed=seed, progress=False, **given)
    return found | {"joint": (joint.mean().item(), math.nan, math.nan)}


def _measured(model, stream, method, seed, given) -> tuple[float, float, float]:
    matrix = adaptation.follow(model, stream, method, seed=seed, progress=False, **given)
    measures = adaptation.average_accuracy, adaptation.learning_accuracy, adaptation.backward_transfer
    return tuple(measure(matrix) for measure in measures)


def table(seeds: Sequence[int]) -> str:
    """A row for each way to learn: means over seeds with 95 % intervals, for both kinds of stream, as Markdown."""
    drawn = {seed: adaptation.draw_stream(seed=seed) for seed in seeds}
    same = [run(stream, seed) for seed, stream in drawn.items()]
    own = [run(adaptation.with_own_names(stream), seed, steps=SHORT) for seed, stream in drawn.items()]
    lines = [
        "| method | average accuracy | right after learning | backward transfer | average, own names in each style |",
        "|---|---|---|---|---|",
    ]
    for name in same[0]:
        cells = [_cell([found[name][k] for found in same]) for k in range(3)]
        lines.append(f"| {name} | {' | '.join(cells)} | {_cell([found[name][0] for found in own])} |")
    ends = {name: torch.tensor([found[name][0] for found in same]) for name in same[0]}
    gained = {name: evaluation.interval(ends[name] - ends["naive"]) for name in ("replay", "distillation", "EWC")}
    told = ", ".join(f"{name} {gain:+.2f}" for name, gain in gained.items())
    return "\n".join(lines) + (
        f"\n\nFour styles one after the other, test pictures, {len(seeds)} seeds, 95 % bootstrap intervals over seeds. "
        f"Average accuracy over that of naive learning, seed by seed: {told}."
    )


def _cell(values: Sequence[float]) -> str:
    """A mean with its interval, or a dash where there is nothing to measure."""
    return "–" if any(map(math.isnan, values)) else f"{evaluation.interval(values):.2f}"
