"""The evaluation room: each measure against a library, a known answer, or a control that must fail."""

import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import evaluate
import pytest
import torch
import train_parser
import train_upscaler
from skimage.metrics import peak_signal_noise_ratio
from test_models import tiny_upscaler
from torch.nn import functional as F

from aigc_course import evaluation, models, runtime, scenes, training
from aigc_course.scenes import Sample, Scene, Thing

CAT = Scene((Thing("cat", "red", "small"),), "sea", "ink")
PAIR = Scene((Thing("cat", "red", x=0.2), Thing("house", "blue", "small", x=0.8)), "snow", "neon")
THREE = Scene(tuple(Thing("boat", "white", x=x) for x in (0.2, 0.5, 0.8)), "night", "glass")


def random_pictures(count, seed=0, side=16):
    return torch.rand(count, 3, side, side, generator=runtime.generator(seed)) * 2 - 1


# --- numbers ------------------------------------------------------------------------------------------------


def test_psnr_is_that_of_scikit_image():
    pictures, others = random_pictures(3), random_pictures(3, seed=1)
    others[1] = pictures[1] + 0.01
    pairs = zip(pictures.double().numpy(), others.double().numpy())
    expected = torch.tensor([peak_signal_noise_ratio(a, b, data_range=2) for a, b in pairs]).float()
    torch.testing.assert_close(evaluation.psnr(pictures, others), expected, rtol=1e-4, atol=0)


def test_equal_pictures_have_infinite_psnr_and_other_shapes_none():
    pictures = random_pictures(2)
    assert evaluation.psnr(pictures, pictures).isinf().all()
    with pytest.raises(ValueError, match=r"shapes \(2, 3, 16, 16\) and \(1, 3, 16, 16\): to compare"):
        evaluation.psnr(pictures, pictures[:1])


def test_an_interval_has_the_width_that_theory_gives_a_mean():
    values = torch.arange(1000) < 900
    found = evaluation.interval(values)
    half = 1.96 * (0.9 * 0.1 / 1000) ** 0.5
    assert found.mean == pytest.approx(0.9)
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=0.003)


def test_about_nine_in_ten_intervals_of_ninety_per_cent_hold_the_true_mean():
    draws = torch.randn(100, 40, generator=runtime.generator(3))
    found = [evaluation.interval(row, confidence=0.9, rounds=100) for row in draws]
    assert 0.82 < sum(i.low <= 0 <= i.high for i in found) / len(found) < 0.96


def test_an_interval_prints_in_two_digits_and_repeats_with_its_seed():
    values = [0, 1, 1, 1, 0, 1, 1, 1]
    assert str(evaluation.interval([True] * 9)) == "1.00 [1.00, 1.00]"
    found = evaluation.Interval(0.934, 0.9, 0.951)
    assert f"{found}" == str(found) == "0.93 [0.90, 0.95]" and f"{found:.3f}" == "0.934 [0.900, 0.951]"
    assert evaluation.interval(values, seed=1) == evaluation.interval(values, seed=1)


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [(dict(values=[]), "no values to average"), (dict(values=[1], confidence=95), "confidence=95 is a")],
    ids=["no values", "per cent"],
)
def test_an_interval_of_nothing_is_answered_by_one_sentence(slip, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluation.interval(**slip)


# --- captions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_every_full_caption_tells_every_fact_of_its_scene(language):
    for scene in (CAT, PAIR, THREE):
        for caption in scenes.paraphrases(scene, language):
            assert evaluation.agrees(caption, scene) and evaluation.facts_told(caption, scene) == 1, caption


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_a_brief_caption_agrees_though_it_tells_less(language):
    for scene in (CAT, PAIR, THREE):
        told = [evaluation.facts_told(c, scene) for c in scenes.paraphrases(scene, language, "brief")]
        assert all(evaluation.agrees(c, scene) for c in scenes.paraphrases(scene, language, "brief"))
        assert min(told) < 0.9


@pytest.mark.parametrize(
    "other",
    [
        replace(CAT, background="snow"),
        replace(CAT, style="neon"),
        replace(CAT, things=(Thing("cat", "blue", "small"),)),
        replace(CAT, things=(Thing("cat", "red", "large"),)),
        replace(CAT, things=(Thing("fish", "red", "small"),)),
        replace(CAT, things=CAT.things * 2),
    ],
    ids=["background", "style", "colour", "size", "name", "count"],
)
def test_one_wrong_fact_of_six_is_a_disagreement(other):
    caption = scenes.caption(other, random.Random(0))
    assert not evaluation.agrees(caption, CAT)
    assert evaluation.facts_told(caption, CAT) == pytest.approx(5 / 6)


def test_a_relation_may_be_told_from_either_side_but_not_turned_round():
    right = ["a red cat left of a blue house", "a blue house to the right of a red cat"]
    wrong = [
        "a red cat over a blue house",
        "a blue house left of a red cat",
        "a red cat right of a blue house",
    ]
    assert [evaluation.agrees(caption, PAIR) for caption in right + wrong] == [True] * 2 + [False] * 3
    assert [evaluation.facts_told(c, PAIR) for c in right + wrong] == pytest.approx([7 / 11] * 2 + [6 / 11] * 3)


def test_one_thing_of_a_pair_agrees_and_a_thing_too_many_does_not():
    assert evaluation.agrees("a small blue house in the snow", PAIR)
    assert evaluation.facts_told("a small blue house in the snow", PAIR) == pytest.approx(5 / 11)
    assert not evaluation.agrees("a red cat and a blue house at sea", CAT)
    assert not evaluation.agrees("a red house in the snow", PAIR)


@pytest.mark.parametrize("caption", ["", "colourless green ideas", "a cat", "red cat, blue cat, white cat"])
def test_a_caption_that_cannot_be_read_agrees_with_nothing(caption):
    assert not evaluation.agrees(caption, CAT)
    assert evaluation.facts_told(caption, CAT) == 0


def test_the_facts_of_a_prompt_are_a_truth_too():
    facts = scenes.read_caption("a red cat at sea")
    assert evaluation.agrees("一只红色的猫，在大海上", facts)
    assert evaluation.facts_told("a red cat in the snow", facts) == pytest.approx(3 / 4)


def test_words_are_words_and_chinese_characters():
    assert evaluation.words("A red cat, 8-bit: at sea") == ["a", "red", "cat", "8-bit", "at", "sea"]
    assert evaluation.words("一只红色的猫，在海上") == list("一只红色的猫在海上")


def test_bleu_is_what_a_hand_computes():
    same = ["a red cat in the snow", "夜空下的一只红色的猫"]
    assert evaluation.bleu(same, [[text] for text in same]) == pytest.approx(100)
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours; as long as the reference
    by_hand = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert evaluation.bleu(["a Blue cat in the snow."], [["a red cat in the snow"]]) == pytest.approx(by_hand)
    short = evaluation.bleu(["a red cat in"], [["a red cat in the snow"]])
    assert short == pytest.approx(100 * math.exp(1 - 6 / 4))
    two = [["a red cat in the snow", "a blue cat in the snow"]]
    assert evaluation.bleu(["a blue cat in the snow"], two) == pytest.approx(100)
    for references in ([["a"]], [["a"], ["b", "c"]]):
        with pytest.raises(ValueError, match="give each caption as many"):
            evaluation.bleu(["a", "b"], references)


def test_cider_is_what_a_hand_computes():
    """Two pictures.  "red cat" against "red cat" and against "red car", whose only rare word is another."""
    references = [["red cat"], ["red car"]]
    # n = 1: "red" is in both pictures and weighs log(2/2) = 0; "cat" weighs log 2, and so does "red cat".
    # So the cosine is 1 for n = 1 and 2; there is nothing for n = 3 and 4: (1 + 1 + 0 + 0) / 4 of 10.
    torch.testing.assert_close(evaluation.cider(["red cat", "red cat"], references), torch.tensor([5.0, 0.0]))
    # A repeat is clipped: "cat cat" has weights 2 log 2 for "cat", log 2 for "cat cat"; against "red cat" n = 1 gives
    # min(2, 1) · 1 / (2 · 1) = 1/2, n = 2 gives 0; both have one pair of neighbours, so there is no penalty.
    torch.testing.assert_close(evaluation.cider(["cat cat", "red car"], references), torch.tensor([10 * 0.5 / 4, 5.0]))
    # A longer caption: one pair more costs exp(-1 / 72); "x" and "cat x" weigh log 2, unknown as they are.
    longer = 10 / 4 * (2 * 2**-0.5) * math.exp(-1 / 72)
    torch.testing.assert_close(evaluation.cider(["red cat x", "red car"], references)[0], torch.tensor(longer))


def test_cider_is_the_mean_over_references_and_the_captions_own_order_does_not_matter():
    references = [["a red cat", "one red cat at sea"], ["a blue house"], ["two fish"]]
    both = evaluation.cider(["a red cat", "a blue house", "two fish"], references)
    one = evaluation.cider(["a red cat", "a blue house", "two fish"], [["a red cat"], *references[1:]])
    assert both[0] < one[0] and both[1] > 5
    turned = evaluation.cider(["two fish", "a red cat", "a blue house"], [references[2], *references[:2]])
    torch.testing.assert_close(turned, both[[2, 0, 1]])
    with pytest.raises(ValueError, match="2 captions, 1 lists of references"):
        evaluation.cider(["a", "b"], [["a"]])


# --- the parser ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lessons():
    """Drawings of each kind of scene, few enough to be learnt by heart."""
    drawn = [item for task in ("single", "pair", "count") for item in scenes.samples(6, task=task)]
    return drawn, scenes.pictures(drawn, models.PICTURE)


def taught(pictures, labels):
    """A narrow parser after a few seconds of school."""
    torch.manual_seed(0)
    parser, batch = evaluation.Parser((12, 24, 48), 2), {"pictures": pictures} | labels
    training.fit(parser, [batch], evaluation.reading_loss, 80, learning_rate=5e-3, progress=False)
    return parser


@pytest.fixture(scope="module")
def scholar(lessons):
    drawn, pictures = lessons
    return taught(pictures, evaluation.labels(drawn))


def seen_in(scene):
    """What a judge without fault reads."""
    return evaluation.reading_of(scene)


def test_a_picture_is_read_back_as_its_own_scene():
    for item in scenes.samples(200):
        assert seen_in(item).scene == item.scene
        assert all(evaluation.right(seen_in(item), item.scene.facts).values())


def test_labels_stand_where_the_things_are():
    found = evaluation.labels([CAT, PAIR])
    assert (found["centre"] == 1).sum((1, 2)).tolist() == [1, 2]
    assert found["centre"][0, 8, 8] == 1 and (found["centre"][0, 7:10, 7:10] == -1).sum() == 8
    row, column = (found["centre"][1] == 1).nonzero()[0].tolist()
    assert (row, column) == (8, 3) and found["name"][1, 8, 3] == list(scenes.THINGS).index("cat")
    assert (found["colour"][1] >= 0).sum() == 18 and found["background"].tolist() == [1, 4]


def test_the_parser_is_small_and_answers_every_question():
    parser = evaluation.Parser()
    assert 5e5 < sum(p.numel() for p in parser.parameters()) < 1e6
    answers = parser(torch.zeros(2, 3, 128, 128))
    assert {name: tuple(of.shape[1:]) for name, of in answers.items()} == {
        **{"name": (16, 16, 16), "colour": (8, 16, 16), "size": (2, 16, 16), "centre": (1, 16, 16)},
        **{"background": (6,), "style": (8,)},
    }


def test_the_parser_learns_a_few_pictures_by_heart(scholar, lessons):
    drawn, pictures = lessons
    found = evaluation.score(scholar, pictures, drawn)
    assert list(found) == list(evaluation.QUESTIONS)
    assert found["exact"].dtype == torch.bool and found["exact"].float().mean() > 0.9


def test_the_control_taught_with_other_pictures_labels_reads_no_better_than_chance(lessons):
    drawn, pictures = lessons
    order = torch.randperm(len(drawn), generator=runtime.generator(1))
    control = taught(pictures, {name: of[order] for name, of in evaluation.labels(drawn).items()})
    found = evaluation.score(control, pictures, drawn)
    assert found["exact"].float().mean() < 0.15 and found["thing"].float().mean() < 0.35


HOUSE_ABOVE = Scene((Thing("house", "blue", y=0.2), Thing("cat", "red", y=0.8)), "snow", "neon")


@pytest.mark.parametrize(
    ("shown", "asked", "wrong"),
    [
        (CAT, "an ink drawing of a small red cat at sea", ""),
        (CAT, "a red cat", ""),
        (CAT, "a large red cat", "size"),
        (CAT, "a red house at sea", "thing"),
        (CAT, "a blue cat at night", "colour background"),
        (CAT, "two red cats, pixel style", "count style"),
        (THREE, "three white boats at night", ""),
        (THREE, "a white boat", "count"),
        (PAIR, "a red cat left of a blue house", ""),
        (PAIR, "a blue house to the right of a red cat, neon style", ""),
        (PAIR, "a blue house and a red cat", ""),
        (PAIR, "a blue house left of a red cat", "relation"),
        (PAIR, "a red cat above a blue house", "relation"),
        (HOUSE_ABOVE, "a red cat below a blue house", ""),
        (PAIR, "a blue cat left of a red house", ""),  # every word is there, on the other thing: only "exact" sees it
        (PAIR, "a red cat left of a red house", "colour"),
        (PAIR, "a red cat", "thing colour count"),
        (CAT, "a red cat left of a blue house", "thing colour count relation"),
    ],
)
def test_a_score_names_what_is_wrong_and_nothing_else(shown, asked, wrong):
    found = evaluation.right(seen_in(shown), scenes.read_caption(asked))
    assert {name for name, fine in found.items() if not fine and name != "exact"} == set(wrong.split())
    swapped = asked == "a blue cat left of a red house"
    assert found["exact"] == (not wrong and not swapped)


def test_like_things_are_told_apart_by_their_colours():
    cats = Scene((Thing("cat", "red", x=0.2), Thing("cat", "blue", x=0.8)))
    assert evaluation.right(seen_in(cats), scenes.read_caption("a red cat left of a blue cat"))["exact"]
    assert not evaluation.right(seen_in(cats), scenes.read_caption("a blue cat left of a red cat"))["relation"]


def test_things_that_no_scene_holds_are_still_a_reading():
    crowd = evaluation.Reading((*PAIR.things, *CAT.things), "snow", "neon")
    assert crowd.scene is None and not evaluation.right(crowd, PAIR.facts)["exact"]
    empty = evaluation.Reading((), "snow", "neon")
    assert empty.scene is None
    assert {n for n, fine in evaluation.right(empty, PAIR.facts).items() if fine} == {"background", "style"}


def test_a_reading_does_not_depend_on_the_batch_or_the_mode_and_leaves_no_trace(scholar, lessons):
    pictures = lessons[1]
    expected = scholar.read(pictures)
    before = {name: value.clone() for name, value in scholar.state_dict().items()}
    scholar.train()
    alone = [scholar.read(picture[None])[0] for picture in pictures[:4]]
    assert scholar.training and alone == expected[:4]
    scholar.eval()
    assert all(torch.equal(value, before[name]) for name, value in scholar.state_dict().items())


def test_the_own_error_of_a_judge_that_always_says_the_same_is_that_of_chance():
    stubborn = SimpleNamespace(read=lambda pictures: [seen_in(CAT)] * len(pictures))
    error = evaluation.own_error(stubborn, 80, task="single")
    for name, chance in {"thing": 1 / 16, "colour": 1 / 8, "size": 1 / 2, "background": 1 / 6, "style": 1 / 8}.items():
        assert error[name] == pytest.approx(1 - chance, abs=0.16)
    assert error["count"] == 0 and error["exact"] > 0.95


def test_the_own_error_is_measured_on_the_test_split():
    seen = []
    judge = SimpleNamespace(read=lambda pictures: seen.append(pictures) or [seen_in(CAT)] * len(pictures))
    evaluation.own_error(judge, 4)
    expected = scenes.samples(4, "test", seed=78)
    assert torch.equal(seen[0], scenes.pictures(expected, models.PICTURE))


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        (lambda p, x: p.read(torch.zeros(1, 3, 64, 64)), "reads .B, 3, 128, 128., not .1, 3, 64, 64."),
        (lambda p, x: evaluation.score(p, x, [CAT]), "18 pictures of 1 scenes; give each picture its scene"),
    ],
    ids=["another size", "scenes missing"],
)
def test_what_the_parser_cannot_read_is_answered_by_one_sentence(scholar, lessons, slip, sentence):
    with pytest.raises(ValueError, match=sentence):
        slip(scholar, lessons[1])


@pytest.fixture
def shipped(scholar, tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    folder = models.folder_of("parser")
    evaluation.save_parser(scholar, folder)
    models.seal(folder)
    return folder


def test_a_saved_parser_reads_as_before(shipped, scholar, lessons):
    loaded = evaluation.load_parser()
    pictures = lessons[1][:4]
    assert not loaded.training and loaded.read(pictures) == scholar.read(pictures)


def test_a_damaged_parser_is_not_loaded(shipped):
    (shipped / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"parser/config.json is damaged"):
        evaluation.load_parser()


def test_a_parser_of_another_world_is_not_loaded(shipped):
    config = json.loads((shipped / "config.json").read_text())
    config["answers"]["name"][0] = "castle"
    (shipped / "config.json").write_text(json.dumps(config))
    models.seal(shipped)
    with pytest.raises(ValueError, match="another world's words; train it: python scripts/train_parser.py"):
        evaluation.load_parser()


def test_weathering_is_slight_and_repeats_with_its_generator():
    clean = scenes.pictures([CAT] * 8, models.PICTURE)
    worn = evaluation.weathered(clean, runtime.generator(0))
    assert torch.equal(worn, evaluation.weathered(clean, runtime.generator(0)))
    assert worn.shape == clean.shape and worn.abs().max() <= 1
    assert not torch.equal(worn[0], worn[1])
    assert 15 < evaluation.psnr(worn, clean).median() < 40


def test_the_judge_is_taught_every_split_but_the_one_that_measures_it():
    recipe = train_parser
    taught = [recipe.chosen(lent) for lent in scenes.samples(300, seed=recipe.SEED)]
    assert {scenes.split_of(item.scene) for item in taught} == set(scenes.SPLITS) - {"test"}
    assert {len(item.scene.things) for item in taught} == {1, 2, 3, 4} and any(item.scene.is_pair for item in taught)
    batch = recipe.lesson(taught[:4])
    assert batch["pictures"].shape == (4, 3, 128, 128) and batch["centre"].shape == (4, 16, 16)


# --- the suite ----------------------------------------------------------------------------------------------


def judge_of(shown):
    """A judge that sees these scenes, whatever the pictures are."""
    return SimpleNamespace(read=lambda pictures: [seen_in(scene) for scene in shown])


@pytest.mark.parametrize(
    ("shown", "asked", "fails"),
    [
        (CAT, "a red cat", ""),
        (CAT, "a blue cat", "colours"),
        (CAT, "a red house", "single thing, colours"),
        (PAIR, "a red cat", ""),  # a house too many does no harm
        (THREE, "three white boats", ""),
        (THREE, "two white boats", "counting"),
        (THREE, "four white boats", "counting"),
        (PAIR, "a red cat left of a blue house", ""),
        (PAIR, "a blue cat left of a red house", "binding"),
        (PAIR, "a blue house left of a red cat", "position"),
        (PAIR, "a red cat above a blue house", "position"),
        (PAIR, "a red cat left of a blue boat", "two things, position, binding"),
        (HOUSE_ABOVE, "a blue house above a red cat", ""),
    ],
)
def test_the_six_tasks_follow_the_rules_of_geneval(shown, asked, fails):
    found = evaluation.passed(seen_in(shown), scenes.read_caption(asked))
    assert ", ".join(task for task, fine in found.items() if not fine) == fails


def test_what_was_drawn_by_rule_passes_everything_and_what_was_shuffled_does_not():
    asked = evaluation.questions(20)
    picture = torch.zeros(60, 1)
    perfect = evaluation.examine(judge_of(asked), picture, asked)
    assert {name: (len(v), v.float().mean().item()) for name, v in perfect.right.items()} == {
        **dict.fromkeys(evaluation.TASKS, (20, 1.0)),
        **dict.fromkeys(("background", "style", "exact"), (60, 1.0)),
    }
    assert perfect.overall.mean == perfect.overall.low == 1
    shuffled = evaluation.examine(judge_of(asked[1:] + asked[:1]), picture, asked)
    assert shuffled.overall.mean < 0.3 and shuffled.of("exact").mean == 0


def test_the_overall_score_is_the_mean_of_tasks_not_of_pictures():
    found = {task: torch.tensor([1.0] * 10) for task in evaluation.TASKS}
    found["counting"] = torch.tensor([0.0] * 90)
    overall = evaluation.Report(found, []).overall
    assert overall.mean == pytest.approx(5 / 6) and overall.low == pytest.approx(5 / 6)


def test_questions_are_of_the_split_and_hold_no_two_things_of_one_name():
    for split in ("test", "held-out"):
        asked = evaluation.questions(15, split)
        assert {scenes.split_of(one.scene) for one in asked} == {split} and len(asked) == 45
        names = [[g.name for g in one.scene.facts.groups] for one in asked]
        assert all(len(set(of)) == len(of) for of in names)


def test_the_retrieved_scene_shares_the_most_facts():
    library = [Sample(scene, 0) for scene in (CAT, PAIR, THREE)]
    near = replace(CAT, style="glass")
    assert evaluation.retrieved(library, [Sample(near, 1), Sample(HOUSE_ABOVE, 1)]) == library[:2]


def test_the_null_model_is_the_product_of_the_shares():
    found = {"thing": torch.tensor([1, 0]), "colour": torch.tensor([1, 1]), "style": torch.tensor([0, 1])}
    assert evaluation.if_independent(found, ("thing", "colour", "style")) == 0.25


def test_the_shuffled_control_gives_each_prompt_the_picture_of_another_of_its_kind():
    asked = evaluation.questions(5)
    pictures = torch.arange(15)
    moved = evaluate.shuffled(SimpleNamespace(asked=asked, pictures=pictures))
    assert sorted(moved.tolist()) == list(range(15)) and not (moved == pictures).any()
    assert torch.equal(moved // 5, pictures // 5)  # one thing, two, several: never mixed


def test_the_table_by_distance_counts_every_picture_once():
    asked = scenes.samples(20, "held-out") + scenes.samples(10, "test")
    report = evaluation.examine(judge_of(asked), torch.zeros(30, 1), asked)
    table = evaluate.distances(SimpleNamespace(asked=asked, report=report))
    assert [step for step, *_ in table] == [0, 1, 2] and sum(count for _, count, *_ in table) == 30
    assert {exact.mean for *_, exact, _ in table} == {1.0} and {null for *_, null in table} == {"1.00"}


# --- memorisation -------------------------------------------------------------------------------------------


def test_a_copy_is_found_and_a_fresh_picture_is_not_taken_for_one():
    training_pictures = random_pictures(50, side=64)
    copies = training_pictures[[7, 3]] + 0.01
    found = evaluation.nearest(torch.cat([copies, random_pictures(1, seed=9, side=64)]), training_pictures)
    assert found.index[:2].tolist() == [7, 3]
    torch.testing.assert_close(found.distance[:2], torch.full((2,), 0.01), rtol=1e-2, atol=0)
    assert found.distance[2] > 0.1


def test_an_exact_copy_is_at_no_distance_at_all_at_any_size():
    training_pictures = scenes.pictures([CAT, PAIR, THREE], 64)
    found = evaluation.nearest(scenes.pictures([THREE, CAT], 64), training_pictures)
    assert found.index.tolist() == [2, 0] and found.distance.tolist() == [0, 0]
    larger = evaluation.nearest(scenes.pictures([THREE, CAT], 128), training_pictures)
    assert larger.index.tolist() == [2, 0] and 0 < larger.distance.max() < 0.2


# --- enlarging ----------------------------------------------------------------------------------------------


def test_equal_pictures_share_all_edges_and_a_negative_or_an_empty_one_none():
    pictures = random_pictures(2)
    assert evaluation.edges_shared(pictures, pictures).tolist() == [1, 1]
    assert evaluation.edges_shared(pictures, -pictures).tolist() == [0, 0]
    assert evaluation.edges_shared(pictures, torch.zeros_like(pictures)).tolist() == [0, 0]


def test_the_share_of_edges_is_what_a_hand_computes():
    steps = torch.tensor([[0.0, 1, 1, 4], [0.0, 0, 1, 3]])[:, None, None]  # g = 1 0 3 and 0 1 2: in common 2 of 5
    assert evaluation.edges_shared(steps[:1], steps[1:]).item() == pytest.approx(2 / 5)


def test_the_more_a_picture_is_blurred_the_fewer_edges_it_shares():
    pictures = scenes.pictures([CAT, PAIR], 128)
    shares = [evaluation.edges_shared(F.avg_pool2d(pictures, n, 1, n // 2), pictures) for n in (1, 3, 5, 9)]
    assert (torch.stack(shares).diff(dim=0) < -0.02).all() and (shares[1] < 0.7).all()


def test_the_truth_is_the_best_of_all_enlargements(scholar, lessons):
    drawn = lessons[0][:3]
    truth = scenes.pictures(drawn, 512)
    found, soft = (evaluation.enlarged(scholar, p, truth, drawn) for p in (truth, F.avg_pool2d(truth, 9, 1, 4)))
    assert found["PSNR"].isinf().all() and (found["edges"] == 1).all()
    assert (soft["PSNR"] < 40).all() and (soft["edges"] < 0.6).all() and soft["surprise"].mean() > 0
    assert {values.shape for values in (*found.values(), *soft.values())} == {(3,)}


def test_the_judge_is_surprised_by_another_scene(scholar, lessons):
    drawn, pictures = lessons[0][:3], scenes.pictures(lessons[0][:3], 512)
    shown = pictures, pictures.roll(1, 0)
    own, other = (evaluation.enlarged(scholar, p, pictures, drawn)["surprise"] for p in shown)
    assert (own + 1 < other).all()


def test_an_untrained_upscaler_is_about_as_good_as_lanczos_and_the_autoencoder_costs_both(scholar):
    vae, model = models.autoencoder(widths=(8, 8, 8, 8)).eval(), models.Upscaler(width=8, blocks=1)
    found = evaluation.against_lanczos(model, vae, scholar, [Sample(CAT, 1), Sample(PAIR, 2)])
    assert len(found) == 5 and set(found["none", "drawn large"]) == {"exact", "surprise"}
    means = {key: of["PSNR"].mean() for key, of in found.items() if "PSNR" in of}
    assert abs(means["drawn", "upscaler"] - means["drawn", "Lanczos"]) < 1
    assert means["drawn", "Lanczos"] > means["autoencoded", "Lanczos"] + 3
    assert {len(values) for of in found.values() for values in of.values()} == {2}


def test_a_seam_is_measured_where_tiles_overlap_too_little():
    model, pictures = tiny_upscaler(), random_pictures(2, side=40)
    assert evaluation.seam(model, pictures, tile=16).max() < 0.01
    model.reach = 0
    assert (evaluation.seam(model, pictures, tile=16) > 1).all()


def test_the_upscaler_is_taught_the_same_square_small_and_large_and_squares_differ_from_pass_to_pass():
    lesson = train_upscaler
    drawn, large = (scenes.pictures_as_bytes([CAT, PAIR] * 2, side) for side in (128, 512))
    squares = lesson.Squares(drawn, drawn, large)
    batch = squares(torch.arange(4), 0)
    small, large = (lesson.floats(batch[name]) for name in ("small", "large"))
    assert small.shape == (4, 3, 48, 48) and large.shape == (4, 3, 192, 192)
    assert evaluation.psnr(F.avg_pool2d(large, 4), small).min() > 22
    assert torch.equal(squares(torch.arange(4), 0)["small"], batch["small"])
    assert not torch.equal(squares(torch.arange(4), 1)["small"], batch["small"])


def test_the_card_of_the_upscaler_tells_where_lanczos_is_better_and_the_style_that_gains_least():
    drawn = [Sample(CAT, 0), Sample(PAIR, 0), Sample(PAIR, 1), Sample(THREE, 0)]
    ours = {given: torch.tensor(values) for given, values in (("drawn", [3.0] * 4), ("autoencoded", [4.0, 1, 3, 3]))}
    found = {(given, "upscaler"): {"PSNR": values} for given, values in ours.items()}
    found |= {(given, "Lanczos"): {"PSNR": torch.full((4,), 2.0)} for given in ours}
    told = train_upscaler.failures(found, drawn)
    assert told == dict(worse=0.25, drawn_worse=0.0, style="neon", least=0.0)


def test_an_upscaler_that_is_not_there_is_skipped_with_a_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    assert evaluate.upscaler(None, None, 4) == []
    assert "skipped, there is no data/models/upscaler; train it with" in capsys.readouterr().out


def test_readers_that_are_not_there_are_skipped_each_with_a_reason(tmp_path, monkeypatch, capsys):
    tokenizer = models.load("tokenizer")
    monkeypatch.setattr(models, "load", lambda name: tokenizer)
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    assert evaluate.readers(4) == []
    told = capsys.readouterr().out
    assert all(f"{name}: skipped" in told for name in ("clip", "lm", "captioner"))


def test_rows_that_are_measured_anew_replace_their_own_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "SCORES.md"
    head = "# Scores\n\n| model | figure |\n|---|---|\n| parser | clip 1 |\n"
    tail = "| upscaler | 4 |\n\n| clip-like | 5 |\n"
    file.write_text(f"{head}| clip | 2 |\n| lm | 3 |\n{tail}", encoding="utf-8")
    evaluate.renewed([["clip", 20], ["clip", 21], ["lm", 30]])
    assert file.read_text(encoding="utf-8") == f"{head}| clip | 20 |\n| clip | 21 |\n| lm | 30 |\n{tail}"
