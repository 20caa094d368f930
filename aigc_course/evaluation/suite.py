"""A suite in the shape of GenEval (Ghosh et al. 2023): six tasks, judged by what a parser finds in the pictures.

The rules are theirs, the networks are not: our judge reads our world alone, so these figures must not stand beside
published ones.  On top come place, style, and "exact": every fact of the prompt, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

from aigc_course import scenes
from aigc_course.evaluation.measures import Interval, interval
from aigc_course.evaluation.parser import Parser, Reading
from aigc_course.evaluation.scores import QUESTIONS, facts_of, relation, right
from aigc_course.scenes import Facts, Sample, Scene

TASKS = ("single thing", "two things", "counting", "colours", "position", "binding")


def passed(seen: Reading, asked: Facts) -> dict[str, bool]:
    """The tasks that a picture of these facts takes part in, and whether it passes.

    As in GenEval, things that nobody asked for do no harm, except in counting; where there are several of a name,
    position looks at the surest one.
    """
    found = {g: [t for t in seen.things if t.name == g.name] for g in asked.groups}
    here = all(found.values())
    bound = here and all(any(t.colour == g.colour for t in things) for g, things in found.items())
    if len(asked.groups) == 2:
        ordered = here and relation(*(things[0] for things in found.values())) == asked.relation
        return {"two things": here, "position": ordered, "binding": bound}
    ((group, things),) = found.items()
    if group.count > 1:
        return {"counting": len(things) == group.count}
    return {"single thing": here, "colours": here and things[0].colour == group.colour}


def questions(count: int, split: str = "test", seed: int = 5) -> list[Sample]:
    """`count` scenes for each of single, pair and count; like pairs ("a red cat and a blue cat") are left out."""
    asked = []
    for task in ("single", "pair", "count"):
        index, found = 0, []
        while len(found) < count:
            one = scenes.sample(index, split, seed, task)
            names = [g.name for g in one.scene.facts.groups]
            found += [one] if len(set(names)) == len(names) else []
            index += 1
        asked += found
    return asked


@dataclass(frozen=True, repr=False)
class Report:
    """What the suite found: for each task or attribute, which of its pictures are right; and what each shows."""

    right: dict[str, Tensor]
    seen: list[Reading]

    @property
    def overall(self) -> Interval:
        """The unweighted mean of the six tasks; its interval redraws the pictures of each task apart."""
        generator = torch.Generator().manual_seed(0)
        values = [self.right[task].double() for task in TASKS]
        means = torch.stack([_redrawn(v, generator) for v in values]).mean(0)
        low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return Interval(sum(v.mean().item() for v in values) / len(values), low, high)

    def of(self, name: str) -> Interval:
        """One row: a task, "background", "style" or "exact"."""
        return interval(self.right[name].float())


def _redrawn(values: Tensor, generator: torch.Generator, rounds: int = 2000) -> Tensor:
    return values[torch.randint(len(values), (rounds, len(values)), generator=generator)].mean(1)


def examine(parser: Parser, pictures: Tensor, asked: Sequence[Sample | Scene | Facts]) -> Report:
    """Judge one picture for each of the `questions`.  pictures: (B, 3, 128, 128)."""
    if len(pictures) != len(asked):
        raise ValueError(f"{len(pictures)} pictures of {len(asked)} scenes; give each picture its scene")
    seen, found = parser.read(pictures), {}
    for reading, facts in zip(seen, map(facts_of, asked), strict=True):
        general = right(reading, facts)
        for name, fine in (passed(reading, facts) | {n: general[n] for n in ("background", "style", "exact")}).items():
            found.setdefault(name, []).append(fine)
    return Report({name: torch.tensor(values) for name, values in found.items()}, seen)


# --- what a score is held against ---------------------------------------------------------------------------


def if_independent(right: dict[str, Tensor], names: Sequence[str] = QUESTIONS[:-1]) -> float:
    """The share of pictures with all of it right, if each were right or wrong on its own: the product of the shares.

    The null model of Okawa et al. 2023: a composition learnt as one beats it, one that falls apart does not reach it.
    """
    return prod(right[name].float().mean().item() for name in names)


def retrieved(library: Sequence[Sample], asked: Sequence[Sample]) -> list[Sample]:
    """The control that no generator may lose to: for each prompt, the training scene that shares most facts with it."""
    return [max(library, key=partial(_shared, one)) for one in asked]


def _shared(one: Sample, other: Sample) -> int:
    """How many facts are the same; another number of kinds costs more than any fact."""
    mine, theirs = one.scene.facts, other.scene.facts
    alike = sum(a == b for a, b in zip(_flat(mine), _flat(theirs), strict=False))
    return alike - 99 * abs(len(mine.groups) - len(theirs.groups))


def _flat(facts: Facts) -> list:
    of_groups = [value for g in facts.groups for value in (g.name, g.colour, g.count, g.size)]
    return [facts.background, facts.style, facts.relation, *of_groups]
