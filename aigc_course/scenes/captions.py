"""One grammar in two languages: scene → caption, every caption's exact probability, and caption → facts again."""

from __future__ import annotations

import math
import random
import re
from functools import lru_cache
from itertools import product

from aigc_course.scenes.scene import Facts, Group, Scene
from aigc_course.scenes.vocabulary import ALSO_READ, LANGUAGES, THINGS, WORDS

DETAILS = ("full", "brief")
_MIRROR = {"left of": "right of", "above": "below"}

# A phrase is a string, a list (one of these, equally likely) or a tuple (all of these, in order).
Phrase = str | list | tuple


def _sample(phrase: Phrase, rng: random.Random) -> str:
    if isinstance(phrase, str):
        return phrase
    return (
        _sample(rng.choice(phrase), rng)
        if isinstance(phrase, list)
        else "".join(_sample(p, rng) for p in phrase)
    )


def _expand(phrase: Phrase) -> list[tuple[str, float]]:
    """Every string that a phrase can become, with its probability (the same string may occur twice)."""
    if isinstance(phrase, str):
        return [(phrase, 1.0)]
    if isinstance(phrase, list):
        return [(text, p / len(phrase)) for choice in phrase for text, p in _expand(choice)]
    parts = product(*[_expand(p) for p in phrase])
    return [("".join(text for text, _ in row), math.prod(p for _, p in row)) for row in parts]


# --- English ------------------------------------------------------------------------------------------------
def _english_group(group: Group) -> Phrase:
    words, noun = WORDS["en"], THINGS[group.name]
    size = [f"{s} " for s in words["size"][group.size]] if group.size else ""
    if group.count > 1:
        return (words["count"][group.count], " ", size, f"{group.colour} {noun.many}")
    article = "an " if not group.size and group.colour[0] in "aeiou" else "a "
    return (article, size, f"{group.colour} {noun.one}")


def _english_subject(facts: Facts) -> Phrase:
    if len(facts.groups) == 1:
        return _english_group(facts.groups[0])
    first, second = map(_english_group, facts.groups)
    if facts.relation is None:
        return [(first, " and ", second), (second, " and ", first)]
    forward, backward = (
        WORDS["en"]["relation"][facts.relation],
        WORDS["en"]["relation"][_MIRROR[facts.relation]],
    )
    return [(first, " ", forward, " ", second), (second, " ", backward, " ", first)]


def _english(facts: Facts) -> Phrase:
    words, subject = WORDS["en"], _english_subject(facts)
    place = words["background"][facts.background] if facts.background else None
    told = (subject, " ", place) if place else subject
    if not facts.style:
        return [told, (place, ", ", subject)] if place else told
    of, style = (words["style of"][facts.style], " "), (", ", words["style"][facts.style])
    return (
        [(of, told), (told, style), (place, ", ", subject, style)] if place else [(of, told), (told, style)]
    )


# --- Chinese ------------------------------------------------------------------------------------------------
def _chinese_group(group: Group) -> Phrase:
    words, noun = WORDS["zh"], THINGS[group.name]
    number, colour = (words["count"][group.count], noun.measure), words["colour"][group.colour]
    if not group.size:
        return (number, colour, "的", noun.zh)
    size = words["size"][group.size]
    return (number, [(colour, "的", size, noun.zh), (size, "的", colour, noun.zh)])


def _chinese_subject(facts: Facts) -> Phrase:
    if len(facts.groups) == 1:
        return _chinese_group(facts.groups[0])
    first, second = map(_chinese_group, facts.groups)
    if facts.relation is None:
        return [(first, "和", second), (second, "和", first)]
    forward, backward = (
        WORDS["zh"]["relation"][facts.relation],
        WORDS["zh"]["relation"][_MIRROR[facts.relation]],
    )
    return [(first, "在", second, "的", forward), (second, "在", first, "的", backward)]


def _chinese(facts: Facts) -> Phrase:
    words, subject = WORDS["zh"], _chinese_subject(facts)
    place = words["background"][facts.background] if facts.background else None
    told = [("在", place, "，", subject), (subject, "，在", place)] if place else subject
    if not facts.style:
        return told
    style = words["style"][facts.style]
    return [(told, "，", style), (style, "：", told)]


# --- captions -----------------------------------------------------------------------------------------------
def _reduced(facts: Facts) -> list[Facts]:
    """What brief captions state: sizes, place and relation are left out or not; of the styles, only the plain one."""
    sizes = [True, False]
    places = [facts.background, None]
    relations = [facts.relation, None] if facts.relation else [None]
    styles = [facts.style, None] if facts.style == "flat" else [facts.style]
    return [
        Facts(
            facts.groups if size else tuple(Group(g.count, None, g.colour, g.name) for g in facts.groups),
            relation,
            place,
            style,
        )
        for size, place, relation, style in product(sizes, places, relations, styles)
    ]


def _phrase(scene: Scene | Facts, language: str, detail: str) -> Phrase:
    if language not in LANGUAGES:
        raise ValueError(f"no captions in {language!r}; use one of: {', '.join(LANGUAGES)}")
    if detail not in DETAILS:
        raise ValueError(f"no detail called {detail!r}; use one of: {', '.join(DETAILS)}")
    facts = scene.facts if isinstance(scene, Scene) else scene
    tell = _english if language == "en" else _chinese
    return tell(facts) if detail == "full" else [tell(fewer) for fewer in _reduced(facts)]


def caption(scene: Scene | Facts, rng: random.Random, language: str = "en", detail: str = "full") -> str:
    """One caption of a scene, from the grammar.  "full" states every fact; "brief" leaves some out, as people do."""
    return _sample(_phrase(scene, language, detail), rng)


def marked_caption(scene: Scene | Facts, rng: random.Random, language: str | None = None) -> str:
    """A full caption with its language named before it, "<en>a red cat …"; None chooses one at random."""
    language = language or rng.choice(LANGUAGES)
    return f"<{language}>{caption(scene, rng, language)}"


def paraphrases(scene: Scene | Facts, language: str = "en", detail: str = "full") -> dict[str, float]:
    """Every caption that the grammar can give this scene, with its exact probability; they sum to one."""
    found: dict[str, float] = {}
    for text, p in _expand(_phrase(scene, language, detail)):
        found[text] = found.get(text, 0.0) + p
    return found


def entropy(scene: Scene | Facts, language: str = "en", detail: str = "full") -> float:
    """H(caption | scene) in nats: the floor under any captioner's cross-entropy, summed over a caption's tokens."""
    return -sum(p * math.log(p) for p in paraphrases(scene, language, detail).values())


# --- reading ------------------------------------------------------------------------------------------------
@lru_cache
def _lexicon() -> tuple[dict[str, tuple[str, object]], re.Pattern]:
    """(phrase → (what, which), a pattern that finds the longest phrase at each place)."""
    lexicon: dict[str, tuple[str, object]] = {}
    for language in LANGUAGES:
        for table, entries in WORDS[language].items():
            lexicon |= {
                form: (table.replace(" of", ""), name) for name, forms in entries.items() for form in forms
            }
    for table, entries in ALSO_READ.items():
        lexicon |= {
            form: (table, name) for name, forms in entries.items() for form in forms if form not in lexicon
        }
    for name, noun in THINGS.items():
        lexicon |= dict.fromkeys((noun.one, noun.many, noun.zh), ("thing", name))
    latin = sorted((f for f in lexicon if f.isascii()), key=len, reverse=True)
    other = sorted((f for f in lexicon if not f.isascii()), key=len, reverse=True)
    return lexicon, re.compile(rf"\b(?:{'|'.join(map(re.escape, latin))})\b|{'|'.join(other)}", re.IGNORECASE)


def _find(text: str) -> list[tuple[str, object]]:
    lexicon, pattern = _lexicon()
    return [lexicon[match.group().lower()] for match in pattern.finditer(text)]


def read_caption(text: str) -> Facts:
    """The facts that a caption states, in either language; what it leaves out is None.

    Raises ValueError where it names nothing that can be drawn, or more than two kinds of things.
    """
    said: dict[str, object] = {"count": 1}
    groups, relation, background, style = [], None, None, None
    for table, value in _find(text):
        if table == "thing":
            if "colour" not in said:
                raise ValueError(
                    f"{text!r} does not say which colour the {value} has; add one, such as 'a red {value}'"
                )
            groups.append(Group(said["count"], said.get("size"), said["colour"], value))
            said = {"count": 1}
        elif table == "relation":
            relation = value
        elif table == "background":
            background = value
        elif table == "style":
            style = value
        else:
            said[table] = value
    if not 1 <= len(groups) <= 2:
        raise ValueError(
            f"{text!r} names {len(groups)} things; name one kind of thing, or two: {', '.join(THINGS)}"
        )
    return _canonical(groups, relation, background, style)


def _canonical(groups: list[Group], relation, background, style) -> Facts:
    """Facts with a mirrored relation told from the other side; a pair without one is ordered by its words."""
    if relation in ("right of", "below"):
        groups, relation = groups[::-1], {"right of": "left of", "below": "above"}[relation]
    if len(groups) == 2 and relation is None:
        groups = sorted(groups, key=lambda g: (g.name, g.colour))
    return Facts(tuple(groups), relation if len(groups) == 2 else None, background, style)


def unknown_words(text: str) -> list[str]:
    """The words of a prompt that this world has no picture for, in order (small grammar words are not counted)."""
    rest = _lexicon()[1].sub(" ", text)
    fillers = {
        "a",
        "an",
        "the",
        "of",
        "and",
        "in",
        "on",
        "at",
        "to",
        "with",
        "is",
        "style",
        "的",
        "在",
        "和",
        "一",
        "，",
        "：",
    }
    measures = {noun.measure for noun in THINGS.values()}
    return [w for w in re.findall(r"[a-z0-9-]+|[^\x00-\x7f]", rest.lower()) if w not in fillers | measures]
