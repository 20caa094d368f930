"""The evaluation room: each measure against a library, a known answer, or a control that must fail."""

import importlib.util
import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from aigc_course import evaluation, models, runtime, scenes, training
from aigc_course.scenes import Scene, Thing

CAT = Scene((Thing("cat", "red", "small"),), "sea", "ink")
PAIR = Scene((Thing("cat", "red", x=0.2), Thing("house", "blue", "small", x=0.8)), "snow", "neon")
THREE = Scene(tuple(Thing("boat", "white", x=x) for x in (0.2, 0.5, 0.8)), "night", "glass")
NARROW = (12, 24, 24, 32, 32, 40)


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
    assert f"{evaluation.Interval(0.934, 0.9, 0.951)}" == "0.93 [0.90, 0.95]"
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


# --- the parser ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lessons():
    """Drawings of single things and of several, few enough to be learnt by heart."""
    drawn = scenes.samples(14, task="single") + scenes.samples(10, task="count")
    return drawn, scenes.pictures(drawn, models.PICTURE)


def taught(pictures, labels):
    """A narrow parser after a minute of school, or a second or two."""
    torch.manual_seed(0)
    parser, batch = evaluation.Parser(NARROW), {"pictures": pictures, "labels": labels}
    training.fit(parser, [batch], evaluation.reading_loss, 60, learning_rate=5e-3, progress=False)
    return parser


@pytest.fixture(scope="module")
def scholar(lessons):
    drawn, pictures = lessons
    return taught(pictures, evaluation.labels(drawn))


def test_the_heads_can_answer_all_that_the_world_can_ask():
    heads = evaluation.HEADS
    assert [len(of) for of in heads.values()] == [16, 8, 6, 8, 2, 4]
    for item in scenes.samples(300, task="single") + scenes.samples(100, task="count"):
        reading = evaluation.reading_of(item)
        assert all(getattr(reading, head) in heads[head] for head in heads)
    assert set(evaluation.Reading.__dataclass_fields__) == set(heads)


def test_the_parser_is_small_enough_for_a_laptop():
    assert 3e5 < sum(p.numel() for p in evaluation.Parser().parameters()) < 6e5
    logits = evaluation.Parser()(torch.zeros(2, 3, models.PICTURE, models.PICTURE))
    assert {head: tuple(of.shape) for head, of in logits.items()} == {
        head: (2, len(of)) for head, of in evaluation.HEADS.items()
    }


def test_the_parser_learns_a_few_pictures_by_heart(scholar, lessons):
    drawn, pictures = lessons
    right = evaluation.score(scholar, pictures, drawn)
    assert list(right) == [*evaluation.HEADS, "exact"]
    assert right["exact"].dtype == torch.bool and right["exact"].float().mean() > 0.9
    assert scholar.read(pictures[:1]) == [evaluation.reading_of(drawn[0])] or not right["exact"][0]


def test_the_control_taught_with_other_pictures_labels_reads_no_better_than_chance(lessons):
    drawn, pictures = lessons
    order = torch.randperm(len(drawn), generator=runtime.generator(1))
    control = taught(pictures, evaluation.labels(drawn)[order])
    right = evaluation.score(control, pictures, drawn)
    assert right["exact"].float().mean() < 0.15
    assert right["thing"].float().mean() < 0.3 and right["colour"].float().mean() < 0.4


def test_a_score_turns_false_where_and_only_where_the_scene_is_another(scholar, lessons):
    drawn, pictures = lessons
    seen = scholar.read(pictures)
    asked = [Scene((Thing(r.thing, r.colour, r.size),) * r.count, r.background, r.style) for r in seen]
    assert evaluation.score(scholar, pictures, asked)["exact"].all()
    asked[0] = replace(asked[0], background=next(b for b in scenes.BACKGROUNDS if b != seen[0].background))
    right = evaluation.score(scholar, pictures, asked)
    assert {name for name, values in right.items() if not values.all()} == {"background", "exact"}
    assert right["exact"].tolist() == [False] + [True] * (len(drawn) - 1)


def test_what_a_prompt_leaves_open_counts_as_right(scholar, lessons):
    picture = lessons[1][:1]
    (seen,) = scholar.read(picture)
    facts = scenes.Facts((scenes.Group(seen.count, None, seen.colour, seen.thing),), None, None, None)
    assert evaluation.score(scholar, picture, [facts])["exact"].all()


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
    stubborn = SimpleNamespace(read=lambda pictures: [evaluation.reading_of(CAT)] * len(pictures))
    error = evaluation.own_error(stubborn, 80)
    for head, of in evaluation.HEADS.items():
        chance = 1 / len(of) if head != "count" else 0  # CAT is single, and so is the task
        assert error[head] == pytest.approx(1 - chance if chance else 0, abs=0.16)
    assert error["exact"] > 0.95


def test_the_own_error_is_measured_on_the_test_split(monkeypatch):
    seen = []
    monkeypatch.setattr(evaluation, "score", lambda parser, pictures, drawn: seen.extend(drawn) or {})
    evaluation.own_error(None, 8)
    assert {scenes.split_of(item.scene) for item in seen} == {"test"} and len(seen) == 8


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        (lambda p, x: p.read(torch.zeros(1, 3, 128, 128)), "reads .B, 3, 64, 64., not .1, 3, 128, 128."),
        (lambda p, x: evaluation.score(p, x, [CAT]), "24 pictures of 1 scenes; give each picture its scene"),
        (lambda p, x: evaluation.score(p, x[:1], [PAIR]), "pictures of one kind of thing, no pairs"),
    ],
    ids=["another size", "scenes missing", "a pair"],
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
    config["heads"]["thing"][0] = "castle"
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
    path = Path(__file__).parents[1] / "scripts" / "train_parser.py"
    spec = importlib.util.spec_from_file_location("train_parser", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    taught = [script.chosen(lent) for lent in scenes.samples(300, seed=script.SEED)]
    assert {scenes.split_of(item.scene) for item in taught} == set(scenes.SPLITS) - {"test"}
    assert {len(item.scene.things) for item in taught} == {1, 2, 3, 4}
    assert not any(item.scene.is_pair for item in taught)
    batch = script.lesson(taught[:4])
    assert batch["pictures"].shape == (4, 3, 64, 64) and batch["labels"].shape == (4, 6)


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
