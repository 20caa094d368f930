"""A lesson whose questions are marked fact by fact: words for a picture to be drawn, or words for a picture seen."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from aigc_course import evaluation, plotting, sampling, scenes
from aigc_course.applications.cards import words_of
from aigc_course.evaluation import Reading
from aigc_course.scenes import Facts, Group, Sample, Scene
from aigc_course.studio import unknown

RIGHT, WRONG, UNTOLD = "right", "wrong", "not told"
STEPS = 16


@dataclass(frozen=True)
class Mark:
    """The verdict on one fact.  fact: "thing", "count", "colour", "size", "relation", "background", "style" or "more".

    about: the thing that the fact belongs to, as the question calls it;  sentence: what to say to the learner.
    """

    fact: str
    about: str
    verdict: str
    sentence: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Which fact of the question it is."""
        return self.fact, self.about


# --- marking ------------------------------------------------------------------------------------------------


def mark(found: Reading | Scene | Facts, asked: Facts) -> list[Mark]:
    """Compare what is there with what was asked for, fact by fact; what the question leaves open is not marked.

    found: what a parser read in a picture, a scene whose truth is known, or the facts that a caption tells.  Of a
    thing that is missing nothing else is marked: one slip costs one mark.
    """
    singles = _singles(found)
    owner = [_owner(one, asked.groups) for one in singles]
    marks = []
    for k, group in enumerate(asked.groups):
        marks += _of_group(group, [one for one, of in zip(singles, owner, strict=True) if of == k])
    more = [one for one, of in zip(singles, owner, strict=True) if of is None]
    marks.append(_verdict("more", "", not more, f"{_list(more)} should not be there"))
    if asked.relation and all(m.verdict == RIGHT for m in marks if m.fact == "thing"):
        marks.append(_relation(found, asked))
    for fact in ("background", "style"):
        if (want := getattr(asked, fact)) is not None:
            marks.append(_one(fact, "", getattr(found, fact), want))
    return marks


def _singles(found: Reading | Scene | Facts) -> list[Group]:
    """Every thing by itself."""
    if isinstance(found, Facts):
        return [replace(g, count=1) for g in found.groups for _ in range(g.count)]
    return [Group(1, t.size, t.colour, t.name) for t in found.things]


def _owner(one: Group, groups: Sequence[Group]) -> int | None:
    """The group of the question that a thing belongs to: of its name, best of its colour too; else none."""
    same = [k for k, g in enumerate(groups) if g.name == one.name]
    return max(same, key=lambda k: (groups[k].colour == one.colour, groups[k].size == one.size)) if same else None


def _of_group(group: Group, things: Sequence[Group]) -> list[Mark]:
    about = scenes.THINGS[group.name]
    name = about.one if group.count == 1 else about.many
    marks = [_verdict("thing", name, bool(things), f"there is no {about.one}")]
    if not things:
        return marks
    many = f"{len(things)} {about.one if len(things) == 1 else about.many}"
    wanted = f"there should be {group.count} {name}"
    marks.append(_verdict("count", name, len(things) == group.count, f"{wanted}, not {many}"))
    colours = Counter(one.colour for one in things if one.colour != group.colour)
    wrong = " and ".join(colours)
    marks.append(_verdict("colour", name, not colours, f"the {name} should be {group.colour}, not {wrong}"))
    if group.size:
        marks.append(_one("size", name, next((t.size for t in things if t.size != group.size), group.size), group.size))
    return marks


def _one(fact: str, about: str, got: str | None, want: str) -> Mark:
    """A fact with one value, which may not have been told."""
    place = {"size": f"the {about} should be {want}", "background": f"the place should be “{_way(fact, want)}”"}
    place["style"] = f"the style should be “{_way(fact, want)}”"
    if got is None:
        return Mark(fact, about, UNTOLD, f"{place[fact]}; that is not told")
    known = got if fact == "size" else f"“{_way(fact, got)}”"
    return _verdict(fact, about, got == want, f"{place[fact]}, not {known}")


def _way(fact: str, value: str) -> str:
    """A place or a style in words."""
    return value if fact == "size" else scenes.vocabulary.WORDS["en"][fact][value][0]


def _relation(found: Reading | Scene | Facts, asked: Facts) -> Mark:
    first, second = (scenes.THINGS[g.name].one for g in asked.groups)
    wanted = f"the {first} should be {asked.relation} the {second}"
    if isinstance(found, Facts):
        if found.relation is None:
            return Mark("relation", "", UNTOLD, f"{wanted}; that is not told")
        pair = tuple((g.name, g.colour) for g in found.groups)
        orders = [tuple((g.name, g.colour) for g in asked.groups)]
        if not any(sorted(pair) == sorted(order) for order in orders):  # a colour is wrong: names tell them apart
            pair, orders = tuple(name for name, _ in pair), [tuple(g.name for g in asked.groups)]
        return _verdict("relation", "", pair in orders and found.relation == asked.relation, wanted)
    seen = found if isinstance(found, Reading) else evaluation.parser.reading_of(found)
    return _verdict("relation", "", _stand(seen, asked), wanted)


def _stand(seen: Reading, asked: Facts) -> bool:
    alike = asked.groups[0].name == asked.groups[1].name

    def like(group: Group) -> list:
        return [t for t in seen.things if t.name == group.name and (not alike or t.colour == group.colour)]

    pairs = [(a, b) for a in like(asked.groups[0]) for b in like(asked.groups[1]) if a is not b]
    return any(evaluation.scores.relation(a, b) == asked.relation for a, b in pairs)


def _verdict(fact: str, about: str, fine: bool, sentence: str) -> Mark:
    return Mark(fact, about, RIGHT if fine else WRONG, "" if fine else sentence)


def _list(things: Sequence[Group]) -> str:
    counted = Counter(replace(one, size=None) for one in things)
    return ", ".join(words_of(replace(one, count=min(n, 4))) for one, n in counted.items())


# --- questions and answers ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Marked:
    """An answer with its marks.  notes: what to know besides;  picture: what was drawn for it, or what was shown."""

    picture: Image.Image
    marks: tuple[Mark, ...]
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """What to say, most useful first; praise where nothing is wrong."""
        wrong = [m.sentence for m in self.marks if m.verdict != RIGHT]
        return wrong or ["all of it is right"]

    @property
    def points(self) -> str:
        """So many facts of so many."""
        return f"{sum(m.verdict == RIGHT for m in self.marks)} of {len(self.marks)} facts are right"


def question(facts: Facts) -> str:
    """What the learner is asked to have drawn: "Draw three red cats at sea."."""
    things = [f"a {words_of(g)}".replace("a o", "an o") if g.count == 1 else words_of(g) for g in facts.groups]
    place = f" {_way('background', facts.background)}" if facts.background else ""
    told = f" {facts.relation or 'and'} ".join(things)
    return f"Draw {told}{place}."


def questions(count: int = 6, seed: int = 0) -> list[Facts]:
    """Tasks that grow: one thing and its place, several of a kind, then two things and how they stand."""
    tasks = ("single", "count", "pair")
    drawn = [scenes.sample(k, "test", seed, tasks[min(3 * k // max(count, 1), 2)]).scene.facts for k in range(count)]
    return [replace(f, style=None, groups=tuple(replace(g, size=None) for g in f.groups)) for f in drawn]


def draw_answer(pipe: Any, judge: Any, asked: Facts, prompt: str, seed: int = 0, on_step: Any = None) -> Marked:
    """The learner writes a prompt, the model draws it, the judge marks the picture against the question.

    Each wrong fact says whose it is: the prompt's, if its words already miss it, or the model's.
    """
    told = scenes.read_caption(prompt)
    picture = sampling.words_to_pictures(pipe, [prompt], STEPS, seed=seed, on_step=on_step)
    (seen,) = judge.read(picture)
    mine = {m.key: m.verdict for m in mark(told, asked)}
    marks = tuple(_blamed(m, mine.get(m.key, WRONG)) for m in mark(seen, asked))
    return Marked(plotting.to_pil(picture), marks, notes(prompt))


def _blamed(seen: Mark, words: str) -> Mark:
    if seen.verdict == RIGHT:
        return seen
    whose = "your words ask for it, but the model did not draw it" if words == RIGHT else f"in your words it is {words}"
    return replace(seen, sentence=f"{seen.sentence}: {whose}")


def caption_answer(picture: Image.Image, shown: Scene | Facts, words: str) -> Marked:
    """The learner tells a picture in English or Chinese; the words are read and marked against the picture's truth."""
    facts = shown.facts if isinstance(shown, Scene) else shown
    return Marked(picture, tuple(mark(scenes.read_caption(words), facts)), notes(words))


def notes(words: str) -> tuple[str, ...]:
    """The words that nobody here can read, with the nearest that can be."""
    return tuple(one.sentence for one in unknown(words) if one.word not in ("draw", "paint", "there", "are"))


# --- how good the marks are ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How marks agree with the truth about which facts are wrong.

    precision: of the facts marked wrong, those that are;  recall: of the wrong facts, those that are marked.
    """

    precision: evaluation.Interval
    recall: evaluation.Interval
    facts: int
    wrong: int


def slipped(facts: Facts, rng: random.Random, chance: float = 0.3) -> Facts:
    """Facts of which some are others now, as a learner's may be: each value changes with this chance."""

    def other(value: Any, among: Any) -> Any:
        fresh = [one for one in among if one != value]
        return rng.choice(fresh) if rng.random() < chance else value

    groups = []
    for g in facts.groups:
        count = other(g.count, range(1, 5)) if len(facts.groups) == 1 else 1
        names = [n for n in scenes.THINGS if n not in {x.name for x in facts.groups} or n == g.name]
        groups.append(Group(count, other(g.size, scenes.SIZES), other(g.colour, scenes.COLOURS), other(g.name, names)))
    relation = other(facts.relation, scenes.RELATIONS) if facts.relation else None
    place, style = other(facts.background, scenes.BACKGROUNDS), other(facts.style, scenes.STYLES)
    return Facts(tuple(groups), relation, place, style)


def agreement(given: Sequence[Sequence[Mark]], true: Sequence[Sequence[Mark]]) -> Agreement:
    """Precision and recall of the wrong facts; a fact that is marked by one side only counts as wrong on that side."""
    both = []
    for marks, truth in zip(given, true, strict=True):
        mine, theirs = ({m.key for m in each if m.verdict != RIGHT} for each in (marks, truth))
        keys = {m.key for m in (*marks, *truth)}
        both += [(key in mine, key in theirs) for key in sorted(keys)]
    caught = [float(theirs) for mine, theirs in both if mine] or [0.0]
    found = [float(mine) for mine, theirs in both if theirs] or [0.0]
    return Agreement(evaluation.interval(caught), evaluation.interval(found), len(both), sum(t for _, t in both))


def exam(count: int, seed: int = 0, split: str = "test") -> tuple[list[Sample], list[Facts]]:
    """Fresh drawings, and for each a question with slips: whoever marks should find just these."""
    rng, tasks = random.Random(f"exam/{seed}"), ("single", "pair", "count")
    drawn = [scenes.sample(k, split, 900 + seed, tasks[k % 3]) for k in range(count)]
    drawn = [one for one in drawn if len({g.name for g in one.scene.facts.groups}) == len(one.scene.facts.groups)]
    return drawn, [slipped(one.scene.facts, rng) for one in drawn]


def marks_of_pictures(judge: Any, pictures: torch.Tensor, asked: Sequence[Facts]) -> list[list[Mark]]:
    """The parser's marks: (B, 3, 128, 128), and a question for each."""
    return [mark(seen, facts) for seen, facts in zip(judge.read(pictures), asked, strict=True)]


def true_marks(drawn: Sequence[Sample], asked: Sequence[Facts]) -> list[list[Mark]]:
    """What marks should be, from the scenes themselves."""
    return [mark(one.scene, facts) for one, facts in zip(drawn, asked, strict=True)]


