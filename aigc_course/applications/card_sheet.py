"""Cards on paper: sheets to print on both sides, and to cut."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from aigc_course.applications.cards import CREDIT, Card, Deck, as_jpeg, both, check_deck, how_said, letters

A4, CARD, MARK = (210.0, 297.0), (63.0, 88.0), 5.0  # millimetres: the sheet, a card, a line that shows where to cut
COLUMNS, ROWS = 3, 3


def to_pdf(deck: Deck, file: Path | str, title: str = "Picture and word") -> Path:
    """The deck as A4 sheets of 3 × 3 cards: a page of fronts, then its backs, which fit when turned on the long edge.

    Lines at the margins show where to cut.  Front: picture and English; back: Chinese and how it is said.
    """
    check_deck(deck, title)
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
    (x, y), (en, zh) = _corner(place, back), both(card.group)
    if back:
        _line(pdf, zh, 24, x, y + 34)
        _line(pdf, how_said(card.group), 11, x, y + 48, soft=True)
        return
    side = CARD[0] - 10
    picture = io.BytesIO(as_jpeg(card.picture, 512))
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
