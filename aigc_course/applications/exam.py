"""What a LoRA for a new style gained and broke: the same prompts before and after, with controls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aigc_course import adaptation, evaluation, sampling, scenes
from aigc_course.applications.recipe import Recipe, StyleJudge, things_read
from aigc_course.scenes import Sample

OLD = "thing", "colour", "background", "style"


@dataclass(frozen=True, eq=False)
class Answers:
    """Pictures of the prompts in the new style, and of old prompts."""

    new: Tensor
    old: Tensor


@dataclass(frozen=True)
class Exam:
    """`count` prompts that ask for a recipe's style, in two languages by turns, and as many old ones, of three kinds.

    None is of the training split.  Marks are given by networks that had no part in drawing: `StyleJudge`, the judge of
    newcomers, and the parser.
    """

    recipe: Recipe
    judge: StyleJudge
    count: int = 12
    seed: int = 0

    @cached_property
    def new(self) -> list[Sample]:
        """Scenes of one kind of thing, for prompts in the new style."""
        return scenes.samples(self.count, "validation", seed=500 + self.seed, task="single")

    @cached_property
    def old(self) -> list[Sample]:
        """Questions of the suite, a third each of single things, pairs and counts."""
        each = -(-self.count // 3)
        asked = evaluation.questions(each, "validation", seed=500 + self.seed)
        return [asked[k % 3 * each + k // 3] for k in range(self.count)]

    @property
    def prompts(self) -> tuple[list[str], list[str]]:
        """The new ones and the old ones."""
        languages = [scenes.LANGUAGES[k % 2] for k in range(self.count)]
        new = [self.recipe.captions(self.new, language) for language in scenes.LANGUAGES]
        new = [new[scenes.LANGUAGES.index(language)][k] for k, language in enumerate(languages)]
        return new, [scenes.caption(one.scene.facts, random.Random(k), "en", "full") for k, one in enumerate(self.old)]

    def drawn(self, pipe: Any, steps: int = 8, scale: float = 2.0) -> Answers:
        """What a pipeline, as it stands, answers: the same noise each time."""
        made = (sampling.words_to_pictures(pipe, some, steps, scale, seed=1000 * self.seed) for some in self.prompts)
        return Answers(*(pictures.cpu() for pictures in made))

    @torch.no_grad()
    def by_rule(self, pipe: Any) -> Answers:
        """The ceiling: drawings of the true scenes, sent through the pipeline's autoencoder as its pictures are."""

        def through(pictures: Tensor) -> Tensor:
            z = adaptation.latents_of(pipe, pictures) / pipe.vae.config.scaling_factor
            return pipe.vae.decode(z.to(pipe.vae.dtype)).sample.float().clamp(-1, 1).cpu()

        return Answers(through(self.recipe.pictures(self.new)), through(scenes.pictures(self.old)))

    def marks(self, answers: Answers, shuffled: bool = False) -> dict[str, Tensor]:
        """Which pictures are right in what: bool (count,) each.

        shuffled: each is judged by another's prompt, and must fail.
        """
        new, old = (_turned(some) if shuffled else some for some in (self.new, self.old))
        read = evaluation.score(evaluation.load_parser(), answers.old, old)
        found = {"things in it": things_read(answers.new, new)} | {f"old prompts: {name}": read[name] for name in OLD}
        if shuffled:
            return found
        leak = {"old prompts: in the new style": self.judge.says_so(answers.old)}
        return {"in the new style": self.judge.says_so(answers.new)} | found | leak

    def overall(self, answers: Answers) -> evaluation.Interval:
        """The mean of the suite's six tasks on the old prompts."""
        return evaluation.examine(evaluation.load_parser(), answers.old, self.old).overall


def _turned(some: Sequence[Sample]) -> list[Sample]:
    return [*some[-1:], *some[:-1]]
