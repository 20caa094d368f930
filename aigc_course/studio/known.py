"""The words that the picture world has, and for a word that it lacks, the nearest that it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from aigc_course import scenes
from aigc_course.scenes.vocabulary import ALSO_READ, WORDS
from aigc_course.studio.job import JobSpec


@dataclass(frozen=True)
class Unknown:
    """A word that nothing can be drawn for, where it first stands in the prompt, and the nearest known ones."""

    word: str
    at: int
    near: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For the person who wrote it."""
        return f"“{self.word}” is no word of this world; it may be ignored, or try: {', '.join(self.near)}"


@lru_cache
def vocabulary() -> tuple[str, ...]:
    """Every word and phrase that a prompt can use, in both languages."""
    phrases = [form for noun in scenes.THINGS.values() for form in (noun.one, noun.many, noun.zh)]
    for table in [*WORDS["en"].values(), *WORDS["zh"].values(), *ALSO_READ.values()]:
        phrases += [form for forms in table.values() for form in forms]
    return tuple(dict.fromkeys(phrases))


@lru_cache
def _single_words() -> tuple[str, ...]:
    words = [word for phrase in vocabulary() if phrase.isascii() for word in phrase.split() if len(word) > 2]
    return tuple(dict.fromkeys(words))


def unknown(text: str, also: Sequence[str] = (), most: int = 3) -> list[Unknown]:
    """What a prompt says that has no picture, in order, each once.  also: words that a LoRA has taught."""
    found, low = {}, text.lower()
    for word in _joined(scenes.unknown_words(text), low):
        if word not in found and word not in also:
            edges = (r"(?<![a-z0-9-])", r"(?![a-z0-9-])") if word.isascii() else ("", "")
            stands = re.search(re.escape(word).join(edges), low)
            found[word] = Unknown(word, stands.start() if stands else 0, _near(word, most))
    return list(found.values())


def unknown_to(spec: JobSpec) -> list[Unknown]:
    """All that a job says and that has no picture, but for what its LoRAs have taught."""
    taught = [word for one in spec.loras for word in one.name.split("_")]
    return unknown(f"{spec.words} {spec.negative} {spec.then}", taught)


def _joined(words: list[str], text: str) -> list[str]:
    """Chinese comes character by character; those that stand side by side are one word again."""
    joined: list[str] = []
    for word in words:
        if joined and not word.isascii() and not joined[-1].isascii() and joined[-1] + word in text:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _near(word: str, most: int) -> tuple[str, ...]:
    """Alike in spelling, or sharing a character; where nothing is, the first things that can be drawn."""
    if word.isascii():
        near = difflib.get_close_matches(word, _single_words(), most, 0.6)
        return tuple(near or [noun.one for noun in scenes.THINGS.values()][:most])
    shared = [form for form in vocabulary() if not form.isascii() and set(form) & set(word)]
    return tuple((shared or [noun.zh for noun in scenes.THINGS.values()])[:most])
