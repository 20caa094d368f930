"""Mock-ups, processes and diagrams: facts and words that agree, judges that can fail, sentences for what is refused."""

import random

import pytest
import real_mermaid
import torch

from aigc_course import applications, models, scenes
from aigc_course.applications.processes import BOXES, THINGS, VERBS, held_out

FACTS = scenes.MOCKUPS.facts(60, "train", seed=3)


# --- the family ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_a_caption_of_a_mock_up_states_all_of_its_facts(language):
    for seed in range(3):
        captions = scenes.MOCKUPS.captions(FACTS, language, seed)
        assert [scenes.MOCKUPS.read(caption) for caption in captions] == FACTS


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_every_caption_fits_into_what_the_text_encoder_reads(language):
    tokenizer = models.load("tokenizer")
    longest = scenes.Mockup("purple", ("right", "purple"), "small", 3, "purple")
    captions = scenes.MOCKUPS.captions([*FACTS, *[longest] * 8], language)
    assert max(len(tokenizer(caption).input_ids) for caption in captions) <= models.TEXT[0]


def test_no_layout_of_the_test_is_trained_on():
    train, test = (set(scenes.MOCKUPS.facts(800, split, seed=1)) for split in ("train", "test"))
    assert not train & test
    assert scenes.MOCKUPS.facts(5, seed=9) == scenes.MOCKUPS.facts(5, seed=9)


def test_parts_of_a_page_do_not_overlap():
    for facts in FACTS:
        boxes = list(facts.boxes.values())
        assert all(applications.overlap(a, b) == 0 for k, a in enumerate(boxes) for b in boxes[:k])


def test_a_family_refuses_with_a_sentence():
    with pytest.raises(ValueError, match="no split called 'dev'"):
        scenes.MOCKUPS.facts(1, "dev")
    with pytest.raises(ValueError, match="no captions in 'fr'"):
        scenes.MOCKUPS.captions(FACTS[:1], "fr")
    with pytest.raises(ValueError, match="is no mock-up; say a photo"):
        scenes.MOCKUPS.read("a red house in a meadow")
    with pytest.raises(ValueError, match="no 'pink' there"):
        scenes.Mockup("pink", None, "small", 1, "red")
    with pytest.raises(ValueError, match="1 to 3 buttons"):
        scenes.Mockup(None, None, "small", 4, "red")


# --- the reader ---------------------------------------------------------------------------------------------


def test_the_reader_reads_every_drawing():
    found = applications.judge_pages(scenes.MOCKUPS.pictures(FACTS), FACTS)
    assert found["layout"].all() and found["overlap"].min() > 0.9


def test_the_reader_is_not_content_with_another_page():
    found = applications.judge_pages(scenes.MOCKUPS.pictures(FACTS), FACTS[1:] + FACTS[:1])
    assert found["layout"].mean() < 0.1


def test_the_reader_says_what_is_wrong_with_what_is_no_page():
    grey = torch.full((1, 3, 128, 128), 0.9)
    scene = scenes.pictures(scenes.samples(1, "train", seed=1), 128)
    pages = applications.read_pages(torch.cat([grey, scene]))
    assert all(page.facts is None and page.fault for page in pages)
    with pytest.raises(ValueError, match="takes pages"):
        applications.read_pages(torch.zeros(3, 128, 128))
    with pytest.raises(ValueError, match="give each picture its layout"):
        applications.judge_pages(grey, FACTS[:2])


def test_overlap_is_one_of_the_same_and_symmetric():
    rng = random.Random(0)
    for _ in range(200):
        a, b = ((x := rng.uniform(0, 90), y := rng.uniform(0, 90), x + rng.uniform(1, 40), y + 9) for _ in range(2))
        assert applications.overlap(a, a) == pytest.approx(1)
        assert applications.overlap(a, b) == pytest.approx(applications.overlap(b, a))
        assert 0 <= applications.overlap(a, b) < 1


def test_the_plan_of_a_page_says_where_its_colours_are():
    facts = scenes.Mockup("blue", None, "small", 1, "red")
    (told,) = applications.plan([scenes.MOCKUPS.parts(facts)])
    assert told.shape == (models.MEANING, 16, 16)
    assert told[6, 1, 8] == 1 and told[6, 12, 15] == 0
    number = list(scenes.COLOURS).index("blue")
    assert told[-3:, 1, 8].tolist() == [2.0 * (number >> k & 1) - 1 for k in range(3)]


# --- processes ----------------------------------------------------------------------------------------------

PROCESSES = list(applications.random_processes(200, "train", seed=2))


def test_a_written_flowchart_is_the_graph_of_its_process():
    assert all(applications.same_graph(applications.to_mermaid(one), one) for one in PROCESSES)


def test_another_process_has_another_graph():
    pairs = zip(PROCESSES, PROCESSES[1:], strict=False)
    assert not any(applications.same_graph(applications.to_mermaid(one), other) for one, other in pairs)


def test_what_is_no_flowchart_is_neither_readable_nor_right():
    for text in ("", "flowchart TD", "flowchart TD\nA[open", "A --> B", "flowchart TD\nA[x] --> B[x]"):
        assert not applications.readable(text)
        assert not applications.same_graph(text, PROCESSES[0])


def test_a_label_or_an_arrow_that_is_wrong_makes_a_chart_wrong():
    one = applications.Process(("open", applications.Choice("late", ("sign",), ("send",)), "save"))
    chart = applications.to_mermaid(one)
    swapped = chart.replace("|yes|", "|x|").replace("|no|", "|yes|").replace("|x|", "|no|")
    assert applications.same_graph(chart, one)
    assert not applications.same_graph(swapped, one)
    assert not applications.same_graph("\n".join(chart.splitlines()[:-1]), one)
    assert not applications.same_graph(chart.replace("{late}", "[late]"), one)


def test_actions_of_the_test_are_new_in_every_process():
    new = {f"{verb} the {thing}" for verb in VERBS for thing in THINGS if held_out(verb, thing)}
    new |= {VERBS[verb] + THINGS[thing] for verb in VERBS for thing in THINGS if held_out(verb, thing)}
    train, test = (
        [{words for edge in applications.graph_of(one).edges for words in edge[:2]} for one in some]
        for some in (PROCESSES, applications.random_processes(100, "test", seed=2))
    )
    assert not any(words & new for words in train)
    assert all(words & new for words in test)


def test_processes_are_as_long_as_asked_and_end_somewhere():
    some = list(applications.random_processes(40, "test", 1, BOXES + 2, BOXES + 3))
    assert {one.boxes for one in some} <= {BOXES + 2, BOXES + 3}
    with pytest.raises(ValueError, match="ends in a step"):
        applications.Process(("open", applications.Choice("late", ("sign",))))
    with pytest.raises(ValueError, match="no processes in 'fr'"):
        applications.Process(("open",), "fr")


# --- the writer ---------------------------------------------------------------------------------------------


def test_tokens_lose_nothing():
    words, rng = applications.diagram_words(), random.Random(1)
    for one in PROCESSES[:50]:
        for text in (applications.tell_process(one, rng), applications.to_mermaid(one)):
            ids = words(text).input_ids
            assert words.unk_token_id not in ids and words.decode(ids) == text


def test_the_loss_does_not_see_the_description():
    words = applications.diagram_words()
    model, loss = applications.new_diagrammer(words).eval(), applications.diagram_loss(words)
    told, chart = "First open the letter. Finally save the file.", "flowchart TD\nA[open the letter]"
    ids = applications.encode_diagrams(words, [told], [chart])
    counted = []
    model.forward = lambda *args, old=model.forward, **how: counted.append(old(*args, **how)) or counted[-1]
    value = loss(model, ids)
    logits, start = counted[0].logits[0].log_softmax(-1), (ids[0] == words.convert_tokens_to_ids("<mermaid>")).nonzero()
    places = range(int(start), ids.shape[1] - 1)
    torch.testing.assert_close(value, -torch.stack([logits[k, ids[0, k + 1]] for k in places]).mean())


def test_a_writer_begins_as_the_first_layers_of_a_language_model():
    start, words = models.load("lm"), applications.diagram_words()
    model = applications.new_diagrammer(words, start)
    assert torch.equal(model.transformer.h[1].attn.c_attn.weight, start.transformer.h[1].attn.c_attn.weight)
    assert torch.equal(model.transformer.wpe.weight[:8], start.transformer.wpe.weight[:8])


def test_a_word_that_is_not_known_is_refused():
    words = applications.diagram_words()
    with pytest.raises(ValueError, match="'bake' is no word"):
        applications.write_diagrams(applications.new_diagrammer(words), words, ["First bake the letter."])
    with pytest.raises(ValueError, match="leaves no room"):
        applications.write_diagrams(applications.new_diagrammer(words), words, ["First open the letter." * 60])


def test_the_shipped_writer_writes_the_described_chart():
    ways = "If the letter is late, sign the form, otherwise send the form."
    told = [f"First open the letter. {ways} Finally save the file."]
    (chart,) = applications.write_diagrams(models.load("diagrams"), applications.diagram_words(), told)
    choice = applications.Choice("the letter is late", ("sign the form",), ("send the form",))
    assert applications.same_graph(chart, applications.Process(("open the letter", choice, "save the file")))


# --- mermaid itself -----------------------------------------------------------------------------------------


@pytest.mark.skipif(real_mermaid.browser() is None, reason="no browser; install Chromium, or set CHROMIUM")
def test_mermaids_own_parser_reads_the_same_graph_as_ours():
    with real_mermaid.opened() as parser:
        for one in PROCESSES[:20]:
            assert parser.read(applications.to_mermaid(one)).graph == applications.graph_of(one)
        for text in ("flowchart TD\nA[open", "hello", "flowchart TD\nA --> end"):
            verdict = parser.read(text)
            assert verdict.graph is None and verdict.fault


def test_without_a_browser_mermaids_parser_says_what_to_install(monkeypatch):
    monkeypatch.setattr(real_mermaid, "browser", lambda: None)
    with pytest.raises(ValueError, match="install Chromium"), real_mermaid.opened():
        pass
