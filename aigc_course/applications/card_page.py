"""Cards on the screen: one page for a browser, in which each turns over."""

from __future__ import annotations

import base64
from html import escape

from aigc_course.applications.cards import CREDIT, Card, Deck, as_jpeg, both, check_deck, how_said, letters


def to_html(deck: Deck, title: str = "Picture and word") -> str:
    """The deck as one page that needs nothing else: each card is a button that turns over; dark and light; printable.

    What is behind a card is hidden from eyes and screen readers alike until it is turned.
    """
    check_deck(deck, title)
    cards = "\n".join(_card_html(card) for card in deck.cards)
    font = base64.b64encode(letters().read_bytes()).decode()
    return _PAGE.format(title=escape(title), cards=cards, font=font, credit=escape(CREDIT), count=len(deck.cards))


def _card_html(card: Card) -> str:
    url, en, zh = base64.b64encode(as_jpeg(card.picture, 256)).decode(), *map(escape, both(card.group))
    said = escape(how_said(card.group))
    return (
        f'<li><button type="button" aria-pressed="false"><img src="data:image/jpeg;base64,{url}" alt="">'
        f'<span class="side" lang="en">{en}</span>'
        f'<span class="side" lang="zh-Hans" hidden>{zh}<small lang="zh-Latn-pinyin">{said}</small></span></button></li>'
    )


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
