"""A deck of picture-word cards in English and Chinese: what each says, drawn, and read by a judge."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import evaluation, plotting, runtime, sampling, scenes
from aigc_course.scenes import Facts, Group

PINYIN = {
    "房子": "fángzi", "树": "shù", "汽车": "qìchē", "船": "chuán", "鱼": "yú", "猫": "māo", "鸟": "niǎo", "花": "huā",
    "蘑菇": "mógu", "火箭": "huǒjiàn", "圆形": "yuánxíng", "方块": "fāngkuài", "三角形": "sānjiǎoxíng",
    "星星": "xīngxing", "心形": "xīnxíng", "十字": "shízì",
    "红色": "hóngsè", "橙色": "chéngsè", "黄色": "huángsè", "绿色": "lǜsè", "蓝色": "lánsè", "紫色": "zǐsè",
    "粉色": "fěnsè", "白色": "báisè", "两": "liǎng", "三": "sān", "四": "sì",
    "座": "zuò", "棵": "kē", "辆": "liàng", "艘": "sōu", "条": "tiáo", "只": "zhī", "朵": "duǒ", "枚": "méi",
    "个": "gè", "颗": "kē",
}  # fmt: skip
LETTERS = "".join(sorted({*map(chr, range(32, 127)), *"的·×–“”…āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜ", *"".join(PINYIN)}))
LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # of the course, and as documents write them
CREDIT = "Words and pictures: aigc-course, its contributors, CC BY 4.0"
TRIES = 3


# --- what a card says ---------------------------------------------------------------------------------------


def words_of(group: Group, language: str = "en") -> str:
    """The words of a card: "red house", "three blue birds"; in Chinese "红色的房子", "三只蓝色的鸟"."""
    if language not in LANGUAGES:
        raise ValueError(f"no cards in {language!r}; use one of: {', '.join(LANGUAGES)}")
    return "".join(_parts(group)) if language == "zh" else _english(group)


def _english(group: Group) -> str:
    noun, count = scenes.THINGS[group.name], group.count
    if count == 1:
        return f"{group.colour} {noun.one}"
    return f"{('two', 'three', 'four')[count - 2]} {group.colour} {noun.many}"


def _parts(group: Group) -> list[str]:
    noun, words = scenes.THINGS[group.name], scenes.vocabulary.WORDS["zh"]
    number = [words["count"][group.count][0], noun.measure] if group.count > 1 else []
    return [*number, words["colour"][group.colour][0], "的", noun.zh]


def both(group: Group) -> Iterator[str]:
    """The words of a card, in English and in Chinese."""
    return (words_of(group, language) for language in LANGUAGES)


def how_said(group: Group) -> str:
    """The Chinese words of a card in Latin letters, with their tones: "hóngsè de fángzi"."""
    return " ".join({"的": "de"}.get(part) or PINYIN[part] for part in _parts(group))


def vocabulary(count: int = 18) -> list[Facts]:
    """What the cards of a deck show: every thing of the world once, then so many of a kind, each with its colour.

    Place and style are drawn, but no card tells them.
    """
    if not 1 <= count <= 48:
        raise ValueError(f"a deck of {count} cards cannot be made; choose from 1 to 48")
    return [_entry(*divmod(index, len(scenes.THINGS))) for index in range(count)]


def _entry(turn: int, k: int) -> Facts:
    """The k-th thing, alone in the first turn and large, two or three of it in the others and small."""
    colours, places = list(scenes.COLOURS), scenes.BACKGROUNDS
    colour = colours[(5 * k + 3 * turn + k // len(colours)) % len(colours)]
    many = 2 + (k + turn) % 2 if turn else 1
    group = Group(many, "small" if turn else "large", colour, list(scenes.THINGS)[k])
    return Facts((group,), None, places[(k + turn) % len(places)], "watercolour" if k % 3 == 1 else "flat")


# --- drawing it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Card:
    """A picture and what it shows."""

    group: Group
    picture: Image.Image
    tries: int = 1


@dataclass(frozen=True, eq=False)
class Refused:
    """A picture that the judge read otherwise."""

    group: Group
    picture: Image.Image
    seen: str


@dataclass(frozen=True, eq=False)
class Deck:
    """The cards that were kept, and what was not: `first` says of each card asked for whether its first picture was."""

    cards: tuple[Card, ...]
    refused: tuple[Refused, ...] = ()
    first: tuple[bool, ...] = ()


def shows(judge: Any, pictures: Tensor, asked: Sequence[Facts]) -> list[bool]:
    """Whether each picture shows what its card says: so many things, of that colour, and nothing else.  (B,)."""
    told = [Facts(tuple(Group(g.count, None, g.colour, g.name) for g in f.groups), None, None, None) for f in asked]
    return evaluation.score(judge, pictures, told)["exact"].tolist()


def tells(caption: str, group: Group) -> bool:
    """Whether a caption names so many things of that colour, and no others: what another reader says of a card."""
    try:
        said = scenes.read_caption(caption).groups
    except ValueError:
        return False
    return [(g.count, g.colour, g.name) for g in said] == [(group.count, group.colour, group.name)]


def make_deck(
    pipe: Any,
    judge: Any,
    asked: Sequence[Facts],
    tries: int = TRIES,
    steps: int = 12,
    seed: int = 0,
    on_try: Callable[[int, int], Any] | None = None,
) -> Deck:
    """Draw each card, keep what the judge reads as told, and draw the others again from another seed.

    on_try: is told the number of the try and how many cards are missing.
    """
    if tries < 1:
        raise ValueError(f"{tries} tries draw nothing; use 1 or more, such as {TRIES}")
    kept, refused, missing, first = {}, [], dict(enumerate(asked)), ()
    for number in range(1, tries + 1):
        if not missing:
            break
        if on_try:
            on_try(number, len(missing))
        pictures = _drawn(pipe, list(missing.values()), steps, [seed + 1000 * number + k for k in missing])
        right = shows(judge, pictures, list(missing.values()))
        first = first or tuple(right)
        for k, picture, fine, seen in zip(list(missing), pictures, right, judge.read(pictures), strict=True):
            group = asked[k].groups[0]
            if fine:
                kept[k] = Card(group, plotting.to_pil(picture), number)
                del missing[k]
            else:
                refused.append(Refused(group, plotting.to_pil(picture), _told(seen)))
    return Deck(tuple(kept[k] for k in sorted(kept)), tuple(refused), first)


def _drawn(pipe: Any, asked: Sequence[Facts], steps: int, seeds: list[int]) -> Tensor:
    """One picture for each card, eight at a time, in the plainest words of the grammar."""
    words = [scenes.caption(facts, random.Random(0)) for facts in asked]
    parts = [slice(k, k + 8) for k in range(0, len(words), 8)]
    return torch.cat([sampling.words_to_pictures(pipe, words[one], steps, seed=seeds[one]) for one in parts])


def _told(seen: evaluation.Reading) -> str:
    """What the judge saw, in a few words."""
    scene = seen.scene
    if scene is None:
        names = ", ".join(f"{t.colour} {t.name}" for t in seen.things) or "nothing"
        return names
    return " and ".join(words_of(g) for g in scene.facts.groups)


# --- what a page and a sheet share ---------------------------------------------------------------------------


def letters() -> Path:
    """The font of the cards: the `LETTERS` of Noto Sans CJK, SIL Open Font License (data/fonts)."""
    return runtime.data_dir() / "fonts" / "letters.otf"


def check_deck(deck: Deck, title: str) -> None:
    """Whether there is something to show, under a title that the cards' letters can write."""
    if not deck.cards:
        raise ValueError("the deck has no card: draw it with more tries, or ask for other words")
    if odd := sorted(set(title) - set(LETTERS)):
        raise ValueError(f"the title has {odd[0]!r}, which the font of the cards lacks; write it in Latin letters")


def as_jpeg(picture: Image.Image, side: int) -> bytes:
    """A picture as the file that a page or a sheet holds."""
    buffer = io.BytesIO()
    picture.resize((side, side), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
