"""Cards, experiments, the lesson and the character: what is made, how it is judged, and what is refused."""

import random
import re
import time
import zlib
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import apply_teaching
import pytest
import studio_lab
import torch
from fontTools.ttLib import TTFont
from PIL import Image

from aigc_course import evaluation, sampling, scenes, studio
from aigc_course.applications import card_page, card_sheet, cards, character, experiments, hands_on, lesson
from aigc_course.scenes import Facts, Group, Scene, Thing


@pytest.fixture(scope="module")
def judge():
    return evaluation.load_parser()


@pytest.fixture(scope="module")
def deck():
    groups = [f.groups[0] for f in cards.vocabulary(11)]
    return cards.Deck(tuple(cards.Card(g, Image.new("RGB", (128, 128), "teal")) for g in groups))


def drawing(facts, seed=0):
    return scenes.arrange(facts, random.Random(seed))


# --- what a card says ---------------------------------------------------------------------------------------


def test_a_deck_shows_every_thing_once_before_it_shows_any_again_and_no_card_twice():
    asked = [f.groups[0] for f in cards.vocabulary(48)]
    assert {g.name for g in asked[:16]} == set(scenes.THINGS) and {g.colour for g in asked[:8]} == set(scenes.COLOURS)
    assert len({(g.count, g.colour, g.name) for g in asked}) == 48


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_words_of_a_card_are_read_as_its_facts(language):
    for facts in cards.vocabulary(48):
        (read,) = scenes.read_caption(cards.words_of(facts.groups[0], language)).groups
        assert replace(read, size=None) == replace(facts.groups[0], size=None)


def test_chinese_words_come_with_how_they_are_said():
    assert cards.how_said(Group(1, None, "red", "house")) == "hóngsè de fángzi"
    assert cards.how_said(Group(3, None, "blue", "bird")) == "sān zhī lánsè de niǎo"
    for name in scenes.THINGS:
        for colour in scenes.COLOURS:
            assert all(cards.how_said(Group(n, None, colour, name)).split() for n in (1, 2, 3, 4))


def test_the_font_has_every_letter_is_small_and_carries_its_licence():
    file = cards.letters()
    font = TTFont(file)
    assert set(map(ord, cards.LETTERS)) <= set(font.getBestCmap()) and file.stat().st_size <= 40_000
    assert "Noto" not in font["name"].getDebugName(1) and "Open Font License" in font["name"].getDebugName(13)
    assert "SIL OPEN FONT LICENSE" in (file.parent / "OFL.txt").read_text(encoding="utf-8")
    said = "".join(cards.words_of(f.groups[0], "zh") + cards.how_said(f.groups[0]) for f in cards.vocabulary(48))
    assert set(said) <= set(cards.LETTERS)


def test_a_card_that_is_read_otherwise_is_drawn_again_from_another_seed(judge, monkeypatch):
    asked, seeds = cards.vocabulary(3), []

    def paint(pipe, words, steps, seed):
        seeds.append(seed)
        facts = [scenes.read_caption(one) for one in words]
        if len(seeds) == 1:  # the second card, in the first round
            facts[1] = replace(facts[1], groups=(replace(facts[1].groups[0], colour="red"),))
        return scenes.pictures([drawing(f) for f in facts], 128)

    monkeypatch.setattr(sampling, "words_to_pictures", paint)
    tried = []
    made = cards.make_deck(None, judge, asked, on_try=lambda *now: tried.append(now))
    assert made.first == (True, False, True) and tried == [(1, 3), (2, 1)]
    assert [c.group for c in made.cards] == [f.groups[0] for f in asked] and [c.tries for c in made.cards] == [1, 2, 1]
    assert [r.seen for r in made.refused] == ["red tree"] and not set(seeds[0]) & set(seeds[1])


def test_a_card_that_never_comes_out_is_left_out(judge, monkeypatch):
    def paint(pipe, words, steps, seed):
        return scenes.pictures([Scene((Thing("heart", "pink"), Thing("star", "blue", x=0.2, y=0.2)))] * len(words), 128)

    monkeypatch.setattr(sampling, "words_to_pictures", paint)
    made = cards.make_deck(None, judge, cards.vocabulary(2), tries=2)
    assert not made.cards and len(made.refused) == 4 and "pink heart" in made.refused[0].seen


def test_another_reader_must_name_the_card_and_nothing_else():
    card = Group(2, None, "red", "tree")
    assert cards.tells("two large red trees at sea", card) and cards.tells("草地上，两棵红色的大树", card)
    for wrong in ("a red tree", "two blue trees", "two red cats", "a red tree left of a red cat", "a hat", ""):
        assert not cards.tells(wrong, card)


# --- on screen and on paper ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags that are open, links, and text by language."""

    VOID = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.buttons, self.words = [], [], 0, {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        self.buttons += tag == "button"
        if tag not in self.VOID:
            self.open.append((tag, named.get("lang")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        language = next((lang for _, lang in reversed(self.open) if lang), None)
        self.words.setdefault(language, []).append(data.strip())


def test_the_page_is_whole_needs_nothing_from_outside_and_says_its_languages(deck):
    text = card_page.to_html(deck, title="Cats & <dogs>")
    page = Page(text)
    assert not page.open and page.buttons == len(deck.cards) + 1
    assert all(link.startswith("data:") for link in page.links) and "http://" not in text and "https://" not in text
    assert "default-src 'none'" in text and "Cats &amp; &lt;dogs&gt;" in text and "<dogs>" not in text
    assert {cards.words_of(c.group, "zh") for c in deck.cards} <= set(page.words["zh-Hans"])
    assert {cards.words_of(c.group) for c in deck.cards} <= set(page.words["en"])
    assert text.count('aria-pressed="false"') == len(deck.cards) + 1 and "CC BY 4.0" in text


def streams(raw):
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", raw, re.S):
        try:
            yield zlib.decompress(match[1]).decode("latin-1")
        except zlib.error:  # some are not packed
            yield match[1].decode("latin-1")


def printed(raw):
    """All text of a PDF of ours, by its map from glyphs to letters."""
    found = list(streams(raw))
    to_letters = {}
    for one in found:
        for block in re.findall(r"beginbfchar(.*?)endbfchar", one, re.S):
            for glyph, letter in re.findall(r"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
                to_letters[int(glyph, 16)] = bytes.fromhex(letter).decode("utf-16-be")
    assert to_letters
    lines = []
    for one in found:
        for shown in re.findall(r"\(((?:\\.|[^\\)])*)\) Tj", one, re.S):
            plain = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), shown)
            codes = plain.encode("latin-1")
            lines.append("".join(to_letters[a * 256 + b] for a, b in zip(codes[::2], codes[1::2], strict=True)))
    return lines


def test_the_pdf_has_fronts_and_backs_and_its_words_can_be_copied(deck, tmp_path):
    raw = card_sheet.to_pdf(deck, tmp_path / "deck.pdf").read_bytes()
    assert raw.startswith(b"%PDF-") and len(re.findall(rb"/Type /Page\b", raw)) == 4  # 9 and 2 cards, fronts and backs
    lines = printed(raw)
    for card in deck.cards:
        for said in (cards.words_of(card.group), cards.words_of(card.group, "zh"), cards.how_said(card.group)):
            assert lines.count(said) == 1
    assert sum(cards.CREDIT in line for line in lines) == 4 and raw.count(b"/Subtype /Image") >= 1


def test_a_back_lies_behind_its_front_when_the_sheet_is_turned_on_the_long_edge():
    for place in range(9):
        (x, y), (behind, same) = card_sheet._corner(place, False), card_sheet._corner(place, True)
        assert same == y and abs(x + behind + card_sheet.CARD[0] - card_sheet.A4[0]) < 1e-9


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda deck: cards.vocabulary(0), "from 1 to 48"),
        (lambda deck: cards.vocabulary(49), "from 1 to 48"),
        (lambda deck: cards.words_of(deck.cards[0].group, "fr"), "use one of: en, zh"),
        (lambda deck: cards.make_deck(None, None, cards.vocabulary(1), tries=0), "use 1 or more"),
        (lambda deck: card_page.to_html(cards.Deck(())), "has no card"),
        (lambda deck: card_sheet.to_pdf(deck, "x.pdf", title="Кошки"), "lacks"),
        (lambda deck: experiments.check("volume", 1), "turn one of: guidance"),
        (lambda deck: experiments.check("steps", 25), "from 1 to 24"),
        (lambda deck: experiments.check("steps", 1.5), "no whole number"),
        (lambda deck: experiments.check("noise", float("nan")), "beyond its ends"),
        (lambda deck: lesson.draw_answer(None, None, None, "hello there"), "names 0 things"),
        (lambda deck: lesson.caption_answer(None, cards.vocabulary(1)[0], "a cat"), "which colour"),
        (lambda deck: character.judged(None, None, torch.zeros(2, 3, 128, 128), []), "2 pictures of 0 scenes"),
        (lambda deck: character.taught(None, 0).__enter__(), "above 0, up to 3"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(deck, do, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        do(deck)
    assert "\n" not in str(caught.value)


# --- marking ------------------------------------------------------------------------------------------------

CATS = Facts((Group(3, "large", "red", "cat"),), None, "sea", "flat")
PAIR = Facts((Group(1, "large", "red", "cat"), Group(1, "small", "blue", "tree")), "left of", "snow", "ink")


def wrong(marks):
    return {m.fact: m.sentence for m in marks if m.verdict != lesson.RIGHT}


@pytest.mark.parametrize("facts", [CATS, PAIR])
def test_nothing_is_wrong_where_all_is_as_asked(facts):
    assert not wrong(lesson.mark(facts, facts)) and not wrong(lesson.mark(drawing(facts), facts))
    assert len(lesson.mark(facts, facts)) == len({m.key for m in lesson.mark(facts, facts)})


@pytest.mark.parametrize(
    ("change", "fact", "said"),
    [
        (lambda g: replace(g, count=2), "count", "there should be 3 cats, not 2 cats"),
        (lambda g: replace(g, colour="blue"), "colour", "the cats should be red, not blue"),
        (lambda g: replace(g, size="small"), "size", "the cats should be large, not small"),
    ],
)
def test_one_slip_costs_one_mark_and_gets_its_sentence(change, fact, said):
    found = replace(CATS, groups=(change(CATS.groups[0]),))
    assert wrong(lesson.mark(found, CATS)) == {fact: said} == wrong(lesson.mark(drawing(found), CATS))


def test_a_missing_thing_an_extra_one_and_a_wrong_place_are_told_apart():
    dog = replace(CATS, groups=(Group(1, "large", "red", "star"),), background="city")
    found = wrong(lesson.mark(dog, CATS))
    assert found["thing"] == "there is no cat" and found["more"] == "red star should not be there"
    assert "“at sea”, not “in the city”" in found["background"] and set(found) == {"thing", "more", "background"}


def test_a_relation_is_marked_from_either_side_and_by_names_where_a_colour_is_wrong():
    turned = replace(PAIR, groups=PAIR.groups[::-1])
    assert set(wrong(lesson.mark(turned, PAIR))) == {"relation"} == set(wrong(lesson.mark(drawing(turned), PAIR)))
    pink = replace(PAIR, groups=(replace(PAIR.groups[0], colour="pink"), PAIR.groups[1]))
    assert set(wrong(lesson.mark(pink, PAIR))) == {"colour"}
    told = scenes.read_caption("a small blue tree right of a large red cat in the snow, ink style")
    assert not wrong(lesson.mark(told, PAIR))


def test_what_a_caption_leaves_out_is_not_told_and_not_wrong():
    marks = lesson.mark(scenes.read_caption("three red cats"), CATS)
    assert {m.fact for m in marks if m.verdict == lesson.UNTOLD} == {"size", "background", "style"}
    assert not [m for m in marks if m.verdict == lesson.WRONG]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_caption_of_the_grammar_is_marked_right(language):
    rng = random.Random(0)
    for one in scenes.samples(150, "test", seed=3):
        answer = lesson.caption_answer(None, one.scene, scenes.caption(one.scene, rng, language))
        assert answer.sentences == ["all of it is right"]


def test_a_wrong_fact_of_a_drawing_says_whose_it_is(judge, monkeypatch):
    asked = replace(CATS, style=None, groups=(replace(CATS.groups[0], size=None),))
    shown = replace(CATS, groups=(replace(CATS.groups[0], colour="blue"),), background="city")
    monkeypatch.setattr(sampling, "words_to_pictures", lambda *_, **__: scenes.pictures([drawing(shown)], 128))
    marked = lesson.draw_answer(None, judge, asked, "three red cats in the city, with a zebra")
    said = {m.fact: m.sentence for m in marked.marks}
    assert "the model did not draw it" in said["colour"] and "in your words it is wrong" in said["background"]
    assert "zebra" in marked.notes[0] and marked.points == "3 of 5 facts are right"


def test_questions_ask_for_what_they_say():
    for facts in lesson.questions(9, seed=2):
        assert scenes.read_caption(lesson.question(facts)) == facts


def test_agreement_is_whole_for_the_truth_and_falls_for_somebody_elses_marks():
    drawn, asked = lesson.exam(30)
    true = lesson.true_marks(drawn, asked)
    same, other = lesson.agreement(true, true), lesson.agreement(true[1:] + true[:1], true)
    assert same.precision.mean == same.recall.mean == 1 and other.precision.mean < 0.7 and same.wrong > 20
    nothing = lesson.agreement([[replace(m, verdict=lesson.RIGHT) for m in marks] for marks in true], true)
    assert nothing.recall.mean == 0


def test_the_parser_marks_nearly_as_the_truth_does(judge):
    drawn, asked = lesson.exam(30, seed=1)
    marks = lesson.marks_of_pictures(judge, scenes.pictures(drawn, 128), asked)
    found = lesson.agreement(marks, lesson.true_marks(drawn, asked))
    assert found.precision.mean > 0.85 and found.recall.mean > 0.9


# --- experiments --------------------------------------------------------------------------------------------


class Cast(dict):
    """Names of models in place of models."""

    def __missing__(self, name):
        return name


def test_a_dial_turns_alone(judge, monkeypatch):
    asked = []

    def paint(pipe, words, steps, scale, seed, on_step):
        asked.append((pipe, steps, scale, seed))
        return scenes.pictures([one.scene for one in about], 128)

    monkeypatch.setattr(sampling, "words_to_pictures", paint)
    about = experiments.subjects(3)
    steps = list(experiments.sweep(Cast(judge=judge), "steps", about, (1, 4)))
    guided = experiments.measure(Cast(judge=judge), "guidance", 4, about)
    assert [one.value for one in steps] == [1, 4] and all(all(one.right) for one in [*steps, guided])
    assert asked == [("text-to-image", n, s, 0) for n, s in ((1, 2.0), (4, 2.0), (12, 4))]
    assert steps[0].share.mean == 1 and "3 of 3 right" in experiments.figure(steps).alt


def test_captions_are_judged_by_the_scene_and_cold_ones_do_not_depend_on_the_seed(monkeypatch):
    about = experiments.subjects(2)
    said = iter(["a red cat at sea", scenes.caption(about[1].scene, random.Random(0))])
    monkeypatch.setattr(sampling, "pictures_to_words", lambda *_: [next(said)])
    cold = experiments.measure(Cast(), "temperature", 0, about)
    assert cold.right == (evaluation.agrees("a red cat at sea", about[0].scene), True)
    warmth = []
    monkeypatch.setattr(experiments.telling, "caption", lambda *_, warmth: told.append(warmth) or "a red cat")
    told = warmth
    experiments.measure(Cast(), "temperature", 1.5, about)
    assert told == [1.5, 1.5]


# --- the character ------------------------------------------------------------------------------------------


def test_the_twelve_scenes_differ_and_every_place_comes_twice():
    where = character.poses()
    assert len(where) == len({(s.things, s.background, s.style) for s in where}) == 12
    assert all(sum(s.background == place for s in where) == 2 for place in scenes.BACKGROUNDS)
    assert all(a.things[0].y > character.hopping(a).things[0].y for a in where)


def test_the_judges_know_a_drawn_robot_and_no_square(judge):
    where, newcomers = character.poses()[:4], evaluation.load_newcomers()
    robots = character.judged(newcomers, judge, scenes.new_pictures(where, "robot"), where)
    squares = character.judged(newcomers, judge, scenes.pictures(where, 128), where)
    assert all(robots.identity) and all(robots.place) and all(robots.spot) and not any(squares.identity)
    moved = [replace(s, things=(replace(s.things[0], x=1 - s.things[0].x, y=0.2),)) for s in where]
    assert not all(character.judged(newcomers, judge, scenes.new_pictures(where, "robot"), moved).spot)


def test_the_captioners_words_introduce_and_what_cannot_be_read_says_nothing(monkeypatch):
    said = {"en": ["a large blue house in a meadow", "nothing at all"], "zh": ["在草地上，一座红色的大房子", "草地上"]}
    monkeypatch.setattr(sampling, "pictures_to_words", lambda model, words, pictures, language: said[language])
    english, chinese = (character.introductions(None, None, None, one) for one in ("en", "zh"))
    assert [one for one, _ in english] == ["Robi looks large, in a meadow.", ""]
    assert [one for one, _ in chinese] == ["罗比很大，在草地上。", ""]
    assert character.places_told([c for _, c in english], character.poses()[:1] * 2) == [True, False]


# --- hands on -----------------------------------------------------------------------------------------------


@pytest.fixture
def desk():
    desk = studio.Studio(engine=object())
    yield desk
    desk.close()


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def outcome(dial, value, about, on_step=None):
    picture = Image.new("RGB", (16, 16))
    return experiments.Outcome(dial, value, (picture,), ("a <b>red</b> cat",), (True,))


def test_the_newest_value_stops_the_experiment_at_work(desk, monkeypatch):
    began, ended = [], []

    def measure(cast, dial, value, about, on_step):
        began.append(value)
        while value == 8:  # a long walk: only the listener can end it
            try:
                on_step(None)
            except Exception:
                ended.append(value)
                raise
            time.sleep(0.005)
        return outcome(dial, value, about)

    monkeypatch.setattr(experiments, "measure", measure)
    monkeypatch.setattr(hands_on, "PAUSE", 0.01)
    lab = hands_on.Laboratory(Cast(), desk=desk)
    lab.value.value = 8
    until(lambda: began == [8])
    lab.value.value = 4
    until(lambda: "guidance 4" in lab.result.value)
    assert began == [8, 4] and ended == [8] and "finds it right" in lab.status.value
    assert "<b>red" not in lab.result.value + lab.status.value
    lab.close()


def test_the_slider_fits_each_dial_and_a_fault_is_said(desk, monkeypatch):
    lab = hands_on.Laboratory(Cast(), desk=desk)
    for name, dial in experiments.DIALS.items():
        lab.dial.value = name
        assert (lab.value.min, lab.value.max, lab.value.step) == dial.limits and lab.value.value in dial.values

    def measure(*_, **__):
        raise ValueError("no such luck; try again")

    monkeypatch.setattr(experiments, "measure", measure)
    lab.try_it()
    until(lambda: "no such luck" in lab.status.value)
    lab.close()


def test_a_lesson_is_marked_in_both_directions_and_what_is_written_stays_text(desk, judge, monkeypatch):
    monkeypatch.setattr(sampling, "words_to_pictures", lambda *_, **__: scenes.pictures([drawing(CATS)], 128))
    room = hands_on.Classroom(Cast(judge=judge), tasks=[CATS, PAIR], desk=desk)
    assert "three red cats at sea" in room.asked.value
    room.mark()
    assert "write an answer first" in room.status.value
    room.answer.value = "three red cats at sea <img src=x>"
    room.mark()
    until(lambda: "all of it is right" in room.result.value)
    assert "<img src=x>" not in room.result.value + room.status.value
    room.next()
    assert "tree" in room.asked.value and not room.result.value
    room.kind.value = "tell"
    room.answer.value = "a hat"
    room.mark()
    assert "names 0 things" in room.status.value
    room.answer.value = scenes.caption(room.task.scene, random.Random(0), "zh")
    room.mark()
    assert "all of it is right" in room.result.value
    room.close()


def test_saved_without_a_kernel_the_controls_are_a_sentence(desk):
    for made in (hands_on.Laboratory(Cast(), desk=desk), hands_on.Classroom(Cast(), desk=desk)):
        data = made._repr_mimebundle_()
        assert "run this cell" in data["text/plain"] and data["application/vnd.jupyter.widget-view+json"]["model_id"]




# --- in a browser -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not studio_lab.CHROMIUM, reason="no browser; install Chromium (Debian: apt install chromium)")
def test_a_card_turns_by_keyboard_and_the_page_asks_for_nothing(deck, tmp_path):
    file, asked = tmp_path / "deck.html", []
    file.write_text(card_page.to_html(deck), encoding="utf-8")
    with studio_lab.browser() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        page.focus("li button")
        page.keyboard.press("Enter")
        page.wait_for_selector("li button[aria-pressed=true]")
        chinese = page.inner_text("li button:focus")
        assert chinese.splitlines() == [cards.words_of(deck.cards[0].group, "zh"), cards.how_said(deck.cards[0].group)]
        page.keyboard.press("Space")
        page.wait_for_selector("li button[aria-pressed=false]:focus")
        assert page.inner_text("li button:focus") == cards.words_of(deck.cards[0].group)
        page.click("#all")
        turned = "count => document.querySelectorAll('[aria-pressed=true]').length == count"
        page.wait_for_function(turned, arg=len(deck.cards) + 1)
        assert not page.complaints
    assert all(url.startswith(("file:", "data:")) for url in asked)


# --- the bench ----------------------------------------------------------------------------------------------


def test_the_bench_prints_every_figure_beside_its_control(judge, monkeypatch):
    """With a painter that draws by rule whatever it reads, and leaves sketches as they are."""

    def paint(pipe, words, steps, scale=2.0, seed=0, on_step=None):
        try:
            return scenes.pictures([drawing(scenes.read_caption(one)) for one in words], 128)
        except ValueError:  # a robot is no word of the world
            return scenes.pictures(character.poses()[: len(words)], 128)

    monkeypatch.setattr(sampling, "words_to_pictures", paint)
    said = "a red house at sea"
    monkeypatch.setattr(sampling, "pictures_to_words", lambda m, w, pictures, *_: [said] * len(pictures))
    monkeypatch.setattr(character.style, "redraw", lambda pipe, pictures, *_, **__: pictures)
    monkeypatch.setattr(experiments.telling, "caption", lambda *_, warmth: "a red cat")
    monkeypatch.setattr(evaluation, "autoencoded", lambda vae, pictures: pictures)
    monkeypatch.setattr(character, "taught", lambda pipe: nullcontext(pipe))
    cast = Cast({"judge": judge, "text-to-image": SimpleNamespace(vae=None)})
    monkeypatch.setattr(experiments, "Cast", lambda: cast)
    lines = apply_teaching.table(4).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines[2:] if line.startswith("|")]
    assert len(rows) == 21 and "4 cards" in lines[-1]
    figures = {row[0].split(" (")[0]: row for row in (line.strip("|").split("|") for line in lines[2:-2])}
    assert "1.00 [1.00, 1.00]" in figures[" cards: read as told at the first try "][2]
    identity = figures[" character from a sketch: identity, 12 scenes and 2 seeds "]
    assert identity[2].startswith(" 0.00") and "drawn by rule 1.00" in identity[3]
    with pytest.raises(ValueError, match="choose from 4 to 48"):
        apply_teaching.table(0)
