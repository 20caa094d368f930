"""Notebook 6.4 in figures: cards, experiments, the lesson, the character; each beside what must fail."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch

from aigc_course import evaluation, models, plotting, sampling, scenes
from aigc_course.applications import cards, character, experiments, lesson

Row = tuple[str, str, str, str]
SUBJECTS = 2  # one experiment of a value for so many of `count`


def _share(values: Sequence[bool]) -> str:
    return f"{evaluation.interval([float(one) for one in values])}"


def _cards(cast: experiments.Cast, count: int) -> Iterator[Row]:
    """First tries, and the kept ones read by somebody who did not choose them."""
    asked = cards.vocabulary(count)
    deck = cards.make_deck(cast["text-to-image"], cast["judge"], asked, seed=100)
    pictures = torch.from_numpy(plotting.to_array([c.picture for c in deck.cards])).movedim(3, 1) / 127.5 - 1
    told = [facts.groups[0] for facts in asked]
    kept = {id(c.group): c for c in deck.cards}
    groups = [g for g in told if id(g) in kept]
    shifted = [scenes.Facts((g,), None, None, None) for g in groups[1:] + groups[:1]]
    control = cards.shows(cast["judge"], pictures, shifted)
    yield "cards: read as told at the first try", "", _share(deck.first), f"another card's words {_share(control)}"
    yield f"cards: read as told within {cards.TRIES} tries", "", _share([id(g) in kept for g in told]), ""
    captions = sampling.pictures_to_words(cast["captioner"], cast["tokenizer"], pictures)
    agreed = [cards.tells(one, g) for one, g in zip(captions, groups, strict=True)]
    other = [cards.tells(one, g) for one, g in zip(captions, groups[1:] + groups[:1], strict=True)]
    what = "cards kept: read so by the captioner, which did not choose"
    yield what, "", _share(agreed), f"another card's words {_share(other)}"


def _experiments(cast: experiments.Cast, count: int) -> Iterator[Row]:
    """Every dial at every value; the control of each is its own worst one."""
    about = experiments.subjects(max(1, count // SUBJECTS), seed=12)
    for dial, what in experiments.DIALS.items():
        shares = [(one.value, one.share) for one in experiments.sweep(cast, dial, about)]
        best, worst = (choose(shares, key=lambda one: one[1].mean) for choose in (max, min))
        all_of_it = ", ".join(f"{value:g}: {share.mean:.2f}" for value, share in shares)
        good, bad = (f"{share} at {value:g}" for value, share in (best, worst))
        yield f"{dial}: {what.says} ({all_of_it})", "", f"best {good}", f"worst {bad}"


def _lesson(cast: experiments.Cast, count: int) -> Iterator[Row]:
    """Precision and recall of the wrong facts, against drawings whose truth is known."""
    drawn, asked = lesson.exam(3 * count, seed=5)
    true, judge = lesson.true_marks(drawn, asked), cast["judge"]
    plain = scenes.pictures(drawn, models.PICTURE)
    coded = evaluation.autoencoded(cast["text-to-image"].vae, plain[:count])
    control = lesson.agreement(lesson.marks_of_pictures(judge, plain.roll(1, 0), asked), true)
    for name, pictures in (("drawings", plain), ("drawings through the autoencoder", coded)):
        n = len(pictures)
        found = lesson.agreement(lesson.marks_of_pictures(judge, pictures, asked[:n]), true[:n])
        what = f"marks of {name}: precision ({found.wrong} wrong facts)"
        yield what, "", f"{found.precision}", f"another picture {control.precision}"
        yield f"marks of {name}: recall", "", f"{found.recall}", f"another picture {control.recall}"
    rng, given = random.Random(5), []
    for k, (one, facts) in enumerate(zip(drawn, asked, strict=True)):
        words = scenes.caption(facts, rng, scenes.LANGUAGES[k % 2])
        given.append(lesson.mark(scenes.read_caption(words), one.scene.facts))
    found = lesson.agreement(given, [lesson.mark(f, one.scene.facts) for one, f in zip(drawn, asked, strict=True)])
    yield "marks of captions, en and zh: precision", "", f"{found.precision}", ""
    yield "marks of captions, en and zh: recall", "", f"{found.recall}", ""


def _character(cast: experiments.Cast, count: int) -> Iterator[Row]:
    """One identity in twelve scenes, twice; without the LoRA; and drawn by rule."""
    pipe, judge, newcomers, where = cast["text-to-image"], cast["judge"], evaluation.load_newcomers(), character.poses()
    ways = {"from a sketch": character.posed, "from words alone": character.drawn_from_words}
    before = {name: way(pipe, where, seed=1) for name, way in ways.items()}
    with character.taught(pipe):
        made = {name: [way(pipe, where, seed=seed) for seed in (1, 2)] for name, way in ways.items()}
    kept = {}
    for name, runs in made.items():
        parts = [character.judged(newcomers, judge, pictures, where) for pictures in runs]
        kept[name] = [sum((getattr(one, part) for one in parts), ()) for part in ("identity", "place", "spot")]
    ceiling = character.judged(newcomers, judge, scenes.new_pictures(where, character.WHO), where)
    for name, found in kept.items():
        none = character.judged(newcomers, judge, before[name], where)
        what = (f"{part}, 12 scenes and 2 seeds" for part in ("identity", "place as told", "stands where it was told"))
        without, rule = ([_share(part) for part in (k.identity, k.place, k.spot)] for k in (none, ceiling))
        for part, got, less, most in zip(what, found, without, rule, strict=True):
            yield f"character {name}: {part}", "", _share(got), f"no LoRA {less}; drawn by rule {most}"
    for language in scenes.LANGUAGES:
        speaker = cast["captioner"], cast["tokenizer"]
        said = [one for _, one in character.introductions(*speaker, made["from a sketch"][0], language)]
        fine, other = (_share(character.places_told(said, each)) for each in (where, where[1:] + where[:1]))
        yield f"introductions, {language}: the captioner names the place", "", fine, f"another scene {other}"


def table(count: int = 24) -> str:
    """The Markdown table: figure, what was asked (nothing, in this part), what was reached, and its control."""
    if not 4 <= count <= 48:
        raise ValueError(f"{count} cards and questions: choose from 4 to 48")
    cast = experiments.Cast()
    rows = [row for part in (_cards, _experiments, _lesson, _character) for row in part(cast, count)]
    head = ["| figure | asked | reached | control |", "|---|---|---|---|"]
    told = (
        f"{count} cards, {count // SUBJECTS} scenes a value of each dial, {3 * count} drawings; in brackets 95 % "
        "intervals (bootstrap). Pictures are read by the parser and the judge of newcomers, which draw nothing, and "
        "captions by the grammar; a dial's best and worst are picked on the scenes that measured them. The parser "
        "chose the cards that were kept, so it is not asked about these again."
    )
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows), "", told])


if __name__ == "__main__":
    print(table())
