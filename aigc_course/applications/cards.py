"""A deck of picture-word cards in English and Chinese: drawn, read by a judge, printed as PDF, turned over in HTML."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
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
A4, CARD, MARK = (210.0, 297.0), (63.0, 88.0), 5.0  # millimetres: the sheet, a card, a line that shows where to cut
COLUMNS, ROWS = 3, 3
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


# --- on screen ----------------------------------------------------------------------------------------------


def letters() -> Path:
    """The font of the cards: the `LETTERS` of Noto Sans CJK, SIL Open Font License (data/fonts)."""
    return runtime.data_dir() / "fonts" / "letters.otf"


def to_html(deck: Deck, title: str = "Picture and word") -> str:
    """The deck as one page that needs nothing else: each card is a button that turns over; dark and light; printable.

    What is behind a card is hidden from eyes and screen readers alike until it is turned.
    """
    _check(deck, title)
    cards = "\n".join(_card_html(card) for card in deck.cards)
    font = base64.b64encode(letters().read_bytes()).decode()
    return _PAGE.format(title=escape(title), cards=cards, font=font, credit=escape(CREDIT), count=len(deck.cards))


def _check(deck: Deck, title: str) -> None:
    if not deck.cards:
        raise ValueError("the deck has no card: draw it with more tries, or ask for other words")
    if odd := sorted(set(title) - set(LETTERS)):
        raise ValueError(f"the title has {odd[0]!r}, which the font of the cards lacks; write it in Latin letters")


def _card_html(card: Card) -> str:
    url, en, zh = base64.b64encode(_jpeg(card.picture, 256)).decode(), *map(escape, _both(card.group))
    said = escape(how_said(card.group))
    return (
        f'<li><button type="button" aria-pressed="false"><img src="data:image/jpeg;base64,{url}" alt="">'
        f'<span class="side" lang="en">{en}</span>'
        f'<span class="side" lang="zh-Hans" hidden>{zh}<small lang="zh-Latn-pinyin">{said}</small></span></button></li>'
    )


def _jpeg(picture: Image.Image, side: int) -> bytes:
    buffer = io.BytesIO()
    picture.resize((side, side), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _both(group: Group) -> Iterator[str]:
    return (words_of(group, language) for language in LANGUAGES)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
@font-face {{ font-family: "Course Letters"; src: url(data:font/otf;base64,{font}) format("opentype"); }}
:root {{ color-scheme: light dark; --ink: #2f3542; --soft: #5d6472; --card: #fff; --page: #f3f1ec; --line: #d8d4ca;
  --edge: #3a6ea5; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #eceae4; --soft: #b4b8c0; --card: #262a31; --page: #181b20;
  --line: #434954; --edge: #8fb8e6; }} }}
body {{ margin: 0 auto; max-width: 1000px; padding: 24px 16px; background: var(--page); color: var(--ink);
  font: 18px/1.4 "Course Letters", system-ui, sans-serif; }}
h1 {{ font-size: 26px; font-weight: 600; margin: 0 0 4px; }}
p {{ margin: 0 0 16px; color: var(--soft); font-size: 15px; }}
ul {{ list-style: none; margin: 0; padding: 0; display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }}
button {{ font: inherit; color: inherit; cursor: pointer; }}
li button {{ width: 100%; height: 100%; padding: 12px; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card); transition: transform 0.18s; }}
li button.turning {{ transform: rotateY(90deg); }}
li button[aria-pressed="true"] {{ border-color: var(--edge); box-shadow: inset 0 0 0 1px var(--edge); }}
button:focus-visible {{ outline: 3px solid var(--edge); outline-offset: 2px; }}
#all {{ padding: 8px 16px; margin: 0 0 16px; border: 1px solid var(--edge); border-radius: 8px;
  background: var(--card); }}
img {{ display: block; width: 100%; aspect-ratio: 1; border-radius: 8px; }}
.side {{ display: block; min-height: 58px; padding-top: 10px; font-size: 21px; }}
.side[hidden] {{ display: none; }}
.side small {{ display: block; font-size: 15px; color: var(--soft); }}
@media (prefers-reduced-motion: reduce) {{ li button {{ transition: none; }} }}
@media print {{ #all {{ display: none; }} li {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{count} cards. A card turns over when you click it, or press Space or Enter on it.</p>
<button type="button" id="all" aria-pressed="false">Turn all cards</button>
<ul>
{cards}
</ul>
</main>
<footer><p>{credit}. Letters: a part of Noto Sans CJK, © Adobe, SIL Open Font License 1.1.</p></footer>
<script>
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
function show(button, back) {{
  button.setAttribute("aria-pressed", back);
  const [front, other] = button.querySelectorAll(".side");
  front.hidden = back;
  other.hidden = !back;
}}
function turn(button, back) {{
  if (calm) return show(button, back);
  button.classList.add("turning");
  setTimeout(() => {{ show(button, back); button.classList.remove("turning"); }}, 160);
}}
const cards = document.querySelectorAll("li button"), all = document.getElementById("all");
for (const one of cards) one.onclick = () => turn(one, one.getAttribute("aria-pressed") == "false");
all.onclick = () => {{
  const back = all.getAttribute("aria-pressed") == "false";
  all.setAttribute("aria-pressed", back);
  for (const one of cards) turn(one, back);
}};
</script>
</body>
</html>
"""


# --- on paper -----------------------------------------------------------------------------------------------


def to_pdf(deck: Deck, file: Path | str, title: str = "Picture and word") -> Path:
    """The deck as A4 sheets of 3 × 3 cards: a page of fronts, then its backs, which fit when turned on the long edge.

    Lines at the margins show where to cut.  Front: picture and English; back: Chinese and how it is said.
    """
    _check(deck, title)
    pdf = _sheet(title)
    for start in range(0, len(deck.cards), COLUMNS * ROWS):
        some = deck.cards[start : start + COLUMNS * ROWS]
        for back in (False, True):
            pdf.add_page()
            _cutting_lines(pdf)
            for place, card in enumerate(some):
                _print(pdf, card, place, back)
            _small_print(pdf, "backs, in Chinese" if back else "fronts, in English")
    file = Path(file)
    pdf.output(str(file))
    return file


def _sheet(title: str) -> Any:
    from fpdf import FPDF

    pdf = FPDF(unit="mm", format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.add_font("letters", fname=str(letters()))
    pdf.set_title(title)
    pdf.set_lang("en")
    pdf.set_author("aigc-course, its contributors")
    pdf.set_subject(CREDIT)
    return pdf


def _corner(place: int, back: bool) -> tuple[float, float]:
    """Left and top of a card, in millimetres; a back lies where its front does when the sheet is turned."""
    row, column = divmod(place, COLUMNS)
    column = COLUMNS - 1 - column if back else column
    left, top = (A4[0] - COLUMNS * CARD[0]) / 2, (A4[1] - ROWS * CARD[1]) / 2
    return left + column * CARD[0], top + row * CARD[1]


def _cutting_lines(pdf: Any) -> None:
    (left, top), width, height = _corner(0, False), COLUMNS * CARD[0], ROWS * CARD[1]
    pdf.set_draw_color(120)
    pdf.set_line_width(0.1)
    for k in range(COLUMNS + 1):
        x = left + k * CARD[0]
        pdf.line(x, top - MARK - 1, x, top - 1)
        pdf.line(x, top + height + 1, x, top + height + MARK + 1)
    for k in range(ROWS + 1):
        y = top + k * CARD[1]
        pdf.line(left - MARK - 1, y, left - 1, y)
        pdf.line(left + width + 1, y, left + width + MARK + 1, y)


def _print(pdf: Any, card: Card, place: int, back: bool) -> None:
    """One side of one card."""
    (x, y), (en, zh) = _corner(place, back), _both(card.group)
    if back:
        _line(pdf, zh, 24, x, y + 34)
        _line(pdf, how_said(card.group), 11, x, y + 48, soft=True)
        return
    side = CARD[0] - 10
    picture = io.BytesIO(_jpeg(card.picture, 512))
    pdf.image(picture, x + 5, y + 6, side, side, alt_text=f"Picture of: {en}")
    _line(pdf, en, 16, x, y + 68)


def _line(pdf: Any, words: str, points: float, x: float, y: float, soft: bool = False) -> None:
    """A line of words in the middle of a card, smaller where it would be too wide."""
    pdf.set_text_color(*(93, 100, 114) if soft else (47, 53, 66))
    pdf.set_font("letters", size=points)
    wide = pdf.get_string_width(words)
    if wide > CARD[0] - 8:
        pdf.set_font_size(points * (CARD[0] - 8) / wide)
    pdf.set_xy(x, y)
    pdf.cell(CARD[0], 10, words, align="C")


def _small_print(pdf: Any, side: str) -> None:
    pdf.set_font("letters", size=7)
    pdf.set_text_color(93, 100, 114)
    pdf.set_xy(0, A4[1] - 9)
    pdf.cell(A4[0], 4, f"{side} · print both sides at 100 %, turn on the long edge · {CREDIT}", align="C")
