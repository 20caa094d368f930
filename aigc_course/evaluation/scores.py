"""Whether pictures show what was asked, as a judge reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from aigc_course import models, scenes
from aigc_course.evaluation.parser import Parser, Reading
from aigc_course.scenes import Facts, Group, Sample, Scene, Thing

QUESTIONS = ("thing", "colour", "size", "count", "relation", "background", "style", "exact")


def score(parser: Parser, pictures: Tensor, asked: Sequence[Scene | Facts | Sample]) -> dict[str, Tensor]:
    """Which pictures show what was asked, as the parser sees it: bool (B,) for each of `QUESTIONS`.

    "thing", "colour", "size": the picture holds these, all of them, and no others; "count": as many things;
    "relation": the things asked for stand so; "exact": all of it, each colour and size on its own thing.  Facts
    of a prompt that leave something open accept anything there.  pictures: (B, 3, 128, 128);  asked: B of them.
    """
    if len(pictures) != len(asked):
        raise ValueError(f"{len(pictures)} pictures of {len(asked)} scenes; give each picture its scene")
    rows = [right(seen, facts_of(one)) for seen, one in zip(parser.read(pictures), asked, strict=True)]
    return {name: torch.tensor([row[name] for row in rows], dtype=torch.bool) for name in QUESTIONS}


def facts_of(scene: Scene | Facts | Sample) -> Facts:
    """What is to be judged, in whichever form it comes."""
    scene = scene.scene if isinstance(scene, Sample) else scene
    return scene.facts if isinstance(scene, Scene) else scene


def right(seen: Reading, asked: Facts) -> dict[str, bool]:
    """The answers of `score` for one reading: bool for each of `QUESTIONS`."""
    groups = asked.groups
    found = {
        "thing": {t.name for t in seen.things} == {g.name for g in groups},
        "colour": {t.colour for t in seen.things} == {g.colour for g in groups},
        "size": None in (sizes := {g.size for g in groups}) or {t.size for t in seen.things} == sizes,
        "count": len(seen.things) == sum(g.count for g in groups),
        "relation": asked.relation is None or _stand_so(seen, asked),
        "background": asked.background in (None, seen.background),
        "style": asked.style in (None, seen.style),
    }
    exact = found["background"] and found["style"] and _matches(seen.scene, asked)
    return found | {"exact": exact}


def _stand_so(seen: Reading, asked: Facts) -> bool:
    """Whether two things with the names asked for stand in the relation asked for; colours tell like names apart."""
    first, second = asked.groups
    alike = first.name == second.name

    def like(group: Group) -> list[Thing]:
        return [t for t in seen.things if t.name == group.name and (t.colour == group.colour or not alike)]

    return any(relation(one, other) == asked.relation for one in like(first) for other in like(second))


def relation(one: Thing, other: Thing) -> str | None:
    """How the first stands to the second, "left of" or "above"; None if it is the right or the lower one."""
    facts = Scene((one, other)).facts
    return facts.relation if facts.groups[0] == Group(1, *one.kind) else None


def _matches(scene: Scene | None, asked: Facts) -> bool:
    """Whether a scene's groups are those asked for, in the order of their relation if there is one."""
    if scene is None or len(scene.facts.groups) != len(asked.groups):
        return False
    if asked.relation not in (None, scene.facts.relation):
        return False
    orders = [scene.facts.groups] if asked.relation else permutations(scene.facts.groups)
    return any(all(map(_fits, order, asked.groups)) for order in orders)


def _fits(seen: Group, asked: Group) -> bool:
    same = (seen.count, seen.colour, seen.name) == (asked.count, asked.colour, asked.name)
    return same and asked.size in (None, seen.size)


def own_error(parser: Parser, count: int = 500, split: str = "test", task: str | None = None) -> dict[str, float]:
    """How often the parser misreads fresh drawings, whose truth we know: a share for each of `QUESTIONS`.

    Print it before any score that the parser gives: differences smaller than this may be its own.
    """
    drawn = scenes.samples(count, split, seed=78, task=task)
    found = score(parser, scenes.pictures(drawn, models.PICTURE), drawn)
    return {name: 1 - values.float().mean().item() for name, values in found.items()}
