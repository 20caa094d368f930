"""Model cards as the Hugging Face hub reads them: facts for machines at the head, the same facts for people below.

`huggingface_hub` writes and reads them; its own validation asks the hub, so what can be asked offline is asked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aigc_course import evaluation
from aigc_course.evaluation import Interval

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

FILE, WORLD = "README.md", "drawn scenes"
PARTS = "## Use", "## What it gains and breaks", "## Fails", "## Licence"
NEEDED = "base_model", "language", "library_name", "license", "model_name", "tags"


@dataclass(frozen=True)
class Figure:
    """One figure of a comparison on the same prompts: before, after, and the difference picture by picture."""

    name: str
    before: Interval
    after: Interval
    difference: Interval
    pictures: int

    @property
    def told(self) -> list[str | int]:
        """As a row of a table; a difference that chance may have made is marked."""
        unsure = "" if self.difference.low > 0 or self.difference.high < 0 else "?"
        return [self.name, self.pictures, f"{self.before}", f"{self.after}", f"{self.difference:+.2f}{unsure}"]


def paired(before: Tensor, after: Tensor) -> Interval:
    """The mean of after - before over the same prompts, and its interval: pictures are redrawn as pairs.

    Prompts differ in difficulty much more than two models do; in the difference of a pair that falls away.
    before, after: yes and no, or numbers, (N,).
    """
    if before.shape != after.shape:
        raise ValueError(f"{tuple(before.shape)} and {tuple(after.shape)} answers: ask both models the same prompts")
    return evaluation.interval(after.double() - before.double())


def compare(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[Figure]:
    """A figure for each name that both know: {name: which pictures are right}."""
    return [
        Figure(
            name,
            evaluation.interval(before[name].double()),
            evaluation.interval(after[name].double()),
            paired(before[name], after[name]),
            len(before[name]),
        )
        for name in before
        if name in after
    ]


def write_model_card(
    folder: Path | str,
    name: str,
    about: str,
    use: str,
    figures: Sequence[Figure],
    fails: str,
    licence: str = "CC BY 4.0",
    base: str = "text-to-image",
) -> ModelCard:
    """Write `README.md` into a model's folder and return it.  use: a few lines of Python;  the rest are sentences."""
    from huggingface_hub import ModelCard, ModelCardData

    head = ModelCardData(
        base_model=base,
        language=["en", "zh"],
        library_name="diffusers",
        license=licence.lower().replace(" ", "-"),
        model_name=name,
        tags=["lora", "text-to-image"],
        eval_results=[_result(figure) for figure in figures],
    )
    rows = ["| figure | pictures | before | after | difference |", "| --- | --- | --- | --- | --- |"]
    rows += ["| " + " | ".join(map(str, figure.told)) + " |" for figure in figures]
    table = "\n".join(rows)
    note = "In brackets 95 % intervals of the bootstrap, over pairs for the difference; ? marks what may be chance."
    texts = f"```python\n{use}\n```", f"{table}\n\n{note}", fails, f"Weights and pictures {licence}, code Apache-2.0."
    body = "\n\n".join(f"{part}\n\n{text}" for part, text in zip(PARTS, texts, strict=True))
    card = ModelCard(f"---\n{head.to_yaml()}\n---\n\n# {name}\n\n{about}\n\n{body}\n")
    Path(folder).mkdir(parents=True, exist_ok=True)
    card.save(Path(folder) / FILE)
    return card


def _result(figure: Figure) -> EvalResult:
    """One row for machines, rounded as it is told."""
    from huggingface_hub import EvalResult

    low, high = (round(value, 2) for value in (figure.after.low, figure.after.high))
    more = {"before": round(figure.before.mean, 2), "interval": [low, high], "pictures": figure.pictures}
    return EvalResult(
        "text-to-image", WORLD, WORLD, "share", round(figure.after.mean, 2), metric_name=figure.name, metric_args=more
    )


def read_model_card(folder: Path | str) -> ModelCard:
    """A model's card, checked: facts that are missing, figures out of range or unlike the table, parts left out."""
    from huggingface_hub import ModelCard

    file = Path(folder) / FILE
    if not file.is_file():
        raise ValueError(f"{Path(folder).name} has no {FILE}; write it with applications.write_model_card")
    try:
        card = ModelCard.load(file)
    except Exception as error:  # YAML has many ways to be wrong
        raise ValueError(f"the head of {FILE} cannot be read: {str(error).splitlines()[0]}") from None
    for key in NEEDED:
        if not card.data.get(key):
            raise ValueError(f"the card does not tell {key}; add it to the head")
    if left_out := [part for part in PARTS if part not in card.text]:
        raise ValueError(f"the card has no part {left_out[0]!r}; say it, even in one sentence")
    if not (results := card.data.eval_results):
        raise ValueError("the card tells no figure; measure something, and say it with its interval")
    for result in results:
        _sound(result, card.text)
    return card


def _sound(result: EvalResult, text: str) -> None:
    low, high = (result.metric_args or {}).get("interval", (None, None))
    if low is None:
        raise ValueError(f"{result.metric_name!r} has no interval; a figure without one says nothing")
    if not 0 <= low <= result.metric_value <= high <= 1:
        told = f"{result.metric_name!r} is {result.metric_value} in [{low}, {high}]"
        raise ValueError(f"{told}; a share lies in its interval, and both between 0 and 1")
    if f"| {result.metric_value:.2f} [{low:.2f}, {high:.2f}]" not in text:
        raise ValueError(f"the table tells {result.metric_name!r} otherwise than the head; write the card anew")


def rows_of(figures: Sequence[Figure]) -> tuple[list[list], list[str]]:
    """For `plotting.show_table`: rows and their heads."""
    return [figure.told for figure in figures], ["figure", "pictures", "before", "after", "difference"]


def pairs_needed(difference: float, confidence: float = 0.95) -> int:
    """How many pairs a difference of shares needs until its interval leaves zero, if half of the pairs changed.

    Half the width of a normal interval is z s / √n; answers of -1, 0 and 1 of which half are 0 have s² ≤ 1/2.
    """
    z = torch.distributions.Normal(0, 1).icdf(torch.tensor((1 + confidence) / 2, dtype=torch.float64)).item()
    return -int(-(z**2) * 0.5 // difference**2)
