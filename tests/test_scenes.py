"""The scenes room: a world whose pictures, captions, boxes and splits are exactly known."""

import collections
import hashlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from aigc_course import scenes
from aigc_course.scenes import Facts, Group, Sample, Scene, Thing, captions, drawing, export

REPOSITORY = Path(scenes.__file__).parents[2]
SHIPPED = REPOSITORY / "data" / "scenes"
CAT = Thing("cat", "red")
HOUSE = Thing("house", "blue", x=0.8)


def pixels(scene, size=64, seed=0):
    return np.asarray(scenes.draw(scene, size, seed)).astype(float)


def random_scenes(count, seed=0):
    """Scenes of all splits in turn."""
    return [scenes.sample(k, scenes.SPLITS[k % 4], seed).scene for k in range(count)]


# ---------------------------------------------------------------------------------------- the world
def test_the_world_is_as_large_as_the_course_says():
    real = set(scenes.THINGS) - set(export.GEOMETRIC)
    assert len(real) >= 8 and len(export.GEOMETRIC) == 6 and set(export.GEOMETRIC) < set(scenes.THINGS)
    assert len(scenes.COLOURS) >= 8 and len(scenes.SIZES) == 2
    assert len(scenes.BACKGROUNDS) >= 5 and len(scenes.STYLES) >= 6


def test_random_scenes_use_every_word_every_count_and_both_relations():
    made = [item.scene for item in scenes.samples(1500)]
    things = [thing for scene in made for thing in scene.things]
    assert {thing.name for thing in things} == set(scenes.THINGS)
    assert {thing.colour for thing in things} == set(scenes.COLOURS)
    assert {thing.size for thing in things} == set(scenes.SIZES)
    assert {scene.background for scene in made} == set(scenes.BACKGROUNDS)
    assert {scene.style for scene in made} == set(scenes.STYLES)
    assert {scene.facts.groups[0].count for scene in made} == {1, 2, 3, 4}
    assert {scene.facts.relation for scene in made} == {None, *scenes.RELATIONS}


@pytest.mark.parametrize(("task", "counts"), [("single", {1}), ("pair", {2}), ("count", {2, 3, 4})])
def test_a_task_asks_for_one_sort_of_scene(task, counts):
    made = [item.scene for item in scenes.samples(60, task=task)]
    assert {len(scene.things) for scene in made} == counts
    assert {scene.is_pair for scene in made} == {task == "pair"}


# ---------------------------------------------------------------------------------------- drawing
FRESH = """
import hashlib
from aigc_course import scenes
drawn = [scenes.draw(item.scene, 96, item.seed).tobytes() for item in scenes.samples(24, "test", 3)]
print(hashlib.sha256(b"".join(drawn)).hexdigest())
"""


def test_fresh_interpreters_draw_the_same_pictures_whatever_their_hash_seed():
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)},
        )
        for seed in ("1", "2")
    ]
    told = {run.communicate()[0].strip() for run in runs}
    here = [scenes.draw(item.scene, 96, item.seed).tobytes() for item in scenes.samples(24, "test", 3)]
    assert told == {hashlib.sha256(b"".join(here)).hexdigest()}


@pytest.mark.parametrize("style", scenes.STYLES)
@pytest.mark.parametrize("size", [16, 37, 128, 512])
def test_a_picture_has_any_size_asked_for(style, size):
    drawn = scenes.draw(Scene((CAT, HOUSE), "city", style), size, 1)
    assert (drawn.size, drawn.mode) == ((size, size), "RGB")
    assert np.asarray(drawn).std() > 10


@pytest.mark.parametrize("style", scenes.STYLES)
def test_a_larger_picture_shows_the_same_scene(style):
    scene = Scene((CAT,), "sea", style)
    shrunk = np.asarray(scenes.draw(scene, 256, 3).reduce(2)).astype(float)
    assert abs(shrunk - pixels(scene, 128, 3)).mean() < 6


def test_a_picture_too_small_to_show_anything_is_refused():
    with pytest.raises(ValueError, match="use size >= 16"):
        scenes.draw(Scene((CAT,)), 15)


def test_equal_seeds_draw_equal_pictures_and_other_seeds_vary_them():
    scene = Scene((CAT, HOUSE), "snow", "watercolour")
    drawn = [scenes.draw(scene, 64, seed).tobytes() for seed in (0, 1, 2, 3, 0)]
    assert len(set(drawn)) == 4 and drawn[0] == drawn[4]


def test_another_seed_leaves_every_thing_at_its_place():
    scene = Scene((Thing("car", "pink", "small", 0.3, 0.4), Thing("tree", "green", "large", 0.7, 0.6)))
    for seed in range(12):
        boxes = scenes.boxes(scene, 100, seed)
        for thing, (left, top, width, height) in zip(scene.things, boxes, strict=True):
            assert abs(left + width / 2 - 100 * thing.x) < 6 and abs(top + height / 2 - 100 * thing.y) < 6


@pytest.mark.parametrize("background", scenes.BACKGROUNDS)
def test_every_two_styles_differ_at_a_glance(background):
    drawn = [pixels(Scene((CAT,), background, style), 96, 3) for style in scenes.STYLES]
    assert min(abs(a - b).mean() for a, b in itertools.combinations(drawn, 2)) > 6


def test_every_two_backgrounds_differ_at_a_glance():
    drawn = [pixels(Scene((CAT,), background), 96, 3) for background in scenes.BACKGROUNDS]
    assert min(abs(a - b).mean() for a, b in itertools.combinations(drawn, 2)) > 6


@pytest.mark.parametrize("style", scenes.STYLES)
def test_every_thing_shows_its_colour_in_every_style_inside_its_mask(style):
    for name in scenes.THINGS:
        red, blue = (Scene((Thing(name, colour),), "snow", style) for colour in ("red", "blue"))
        difference = abs(pixels(red, 64, 1) - pixels(blue, 64, 1)).mean(-1)
        inside = scenes.masks(red, 64, 1)[0]
        assert difference[inside].mean() > max(15, 10 * difference[~inside].mean())


def test_all_colours_can_be_told_apart():
    circles = [Scene((Thing("circle", colour),)) for colour in scenes.COLOURS]
    drawn = [pixels(circle)[scenes.masks(circle, 64)[0]].mean(0) for circle in circles]
    assert min(abs(a - b).max() for a, b in itertools.combinations(drawn, 2)) > 25


# ---------------------------------------------------------------------------------------- masks and boxes
def test_boxes_are_the_bounds_of_the_masks():
    for item in scenes.samples(60, "validation"):
        truth = item.scene, 80, item.seed
        for mask, (left, top, width, height) in zip(scenes.masks(*truth), scenes.boxes(*truth), strict=True):
            assert (left, top, left + width, top + height) == Image.fromarray(mask).getbbox()


def test_pixels_in_the_mask_of_a_red_thing_are_redder_than_the_others():
    for name in scenes.THINGS:
        scene = Scene((Thing(name, "red"),), "city")
        redness = pixels(scene) @ [1, -0.5, -0.5]
        mask = scenes.masks(scene, 64)[0]
        assert redness[mask].mean() > redness[~mask].mean() + 30


def test_masks_are_the_same_shapes_at_every_size():
    scene = Scene((CAT, HOUSE))
    for small, large in zip(scenes.masks(scene, 64), scenes.masks(scene, 256), strict=True):
        shrunk = large.reshape(64, 4, 64, 4).mean((1, 3)) > 0.5
        assert (small & shrunk).sum() > 0.85 * (small | shrunk).sum()


def test_a_nearer_thing_hides_a_farther_one():
    alone = scenes.masks(Scene((CAT,)), 64)[0]
    behind, before = scenes.masks(Scene((CAT, Thing("square", "blue", x=0.6))), 64)
    assert not (behind & before).any() and 0 < behind.sum() < alone.sum()


def test_a_thing_that_is_wholly_hidden_has_an_empty_box():
    scene = Scene((Thing("circle", "red", "small"), Thing("square", "blue", "large")))
    assert not scenes.masks(scene, 64)[0].any()
    assert scenes.boxes(scene, 64)[0] == (0, 0, 0, 0)


# ---------------------------------------------------------------------------------------- scenes
def test_a_scene_survives_json():
    for scene in random_scenes(200):
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"things": None}, "not a scene record"),
        ({"things": [{"name": "cat"}]}, "colour"),
        ({"things": [{"name": "cat", "colour": "red", "age": 3}]}, "age"),
        ({"things": [{"name": "cat", "colour": "red", "x": "left"}]}, "not a scene record"),
        ({"things": [{"name": "dragon", "colour": "red"}]}, "no thing called 'dragon'"),
        ({"things": []}, "1 to 4 things, not 0"),
        ({"background": "moon"}, "no background called 'moon'"),
        ({"style": "baroque"}, "no style called 'baroque'.*flat"),
    ],
)
def test_a_broken_record_is_answered_by_what_is_wrong_with_it(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scene.from_json(Scene((CAT,)).to_json() | change)


@pytest.mark.parametrize("key", ["things", "background", "style"])
def test_a_record_without_a_field_is_answered_by_its_name(key):
    record = Scene((CAT,)).to_json()
    del record[key]
    with pytest.raises(ValueError, match=key):
        Scene.from_json(record)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "unicorn"}, "no thing called 'unicorn'.*house, tree"),
        ({"colour": "mauve"}, "no colour called 'mauve'.*red, orange"),
        ({"size": "huge"}, "no size called 'huge'.*small, large"),
        ({"x": 1.2}, r"keep x and y in \[0, 1\]"),
        ({"y": math.nan}, "outside the picture"),
    ],
)
def test_a_thing_outside_this_world_is_refused_with_the_words_of_this_world(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Thing(**({"name": "cat", "colour": "red"} | arguments))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((CAT,) * 5,), "1 to 4 things, not 5"),
        (((CAT, CAT, HOUSE),), "come in pairs"),
        (((CAT,), "space"), "no background called 'space'"),
        (((CAT,), "sea", "cubist"), "no style called 'cubist'"),
    ],
)
def test_a_scene_that_no_caption_could_tell_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scene(*arguments)


def test_a_pair_has_the_same_facts_from_either_side():
    one, other = Scene((CAT, HOUSE)).facts, Scene((HOUSE, CAT)).facts
    assert one == other and one.relation == "left of"
    assert one.groups == (Group(1, "large", "red", "cat"), Group(1, "large", "blue", "house"))


def test_the_relation_is_that_of_the_wider_gap():
    above = Scene((Thing("cat", "red", y=0.9, x=0.4), Thing("house", "blue", y=0.2, x=0.6))).facts
    assert (above.relation, above.groups[0].name) == ("above", "house")


def test_copies_are_counted():
    facts = Scene((CAT, Thing("cat", "red", x=0.1), Thing("cat", "red", x=0.9))).facts
    assert (facts.groups, facts.relation) == ((Group(3, "large", "red", "cat"),), None)


# ---------------------------------------------------------------------------------------- layouts
def test_arranging_facts_shows_exactly_these_facts():
    rng = random.Random(1)
    for scene in random_scenes(400, seed=1):
        assert scenes.arrange(scene.facts, rng).facts == scene.facts


def test_arranging_fills_in_what_the_facts_leave_open():
    said = scenes.read_caption("a red cat and a blue house")
    made = [scenes.arrange(said, random.Random(seed)) for seed in range(60)]
    assert all(fits(said, scene.facts) for scene in made)
    assert {scene.facts.relation for scene in made} == set(scenes.RELATIONS)
    assert {scene.style for scene in made} == set(scenes.STYLES)


def test_things_lie_inside_the_picture_and_do_not_hide_one_another():
    for k, scene in enumerate(random_scenes(240, seed=2)):
        drawn, masks = drawing.prepare(scene, k).things, scenes.masks(scene, 64, k)
        for shapes, mask in zip(drawn, masks, strict=True):
            points = np.concatenate([shape.points for shape in shapes])
            assert points.min() > -0.03 and points.max() < 1.03
            alone = Image.new("1", (64, 64))
            for shape in shapes:
                ImageDraw.Draw(alone).polygon((shape.points * 64).ravel().tolist(), fill=1)
            assert mask.sum() > 0.9 * np.asarray(alone).sum()


# ---------------------------------------------------------------------------------------- captions
KINDS = list(itertools.product(scenes.LANGUAGES, captions.DETAILS))


def fits(said, facts):
    """Whether all that was said is true: nothing else than the facts, though perhaps less."""

    def same(a, b):
        return (a.count, a.colour, a.name) == (b.count, b.colour, b.name) and a.size in (None, b.size)

    orders = [said.groups] if said.relation else itertools.permutations(said.groups)
    groups = any(len(o) == len(facts.groups) and all(map(same, o, facts.groups)) for o in orders)
    others = ("relation", "background", "style")
    return groups and all(getattr(said, key) in (None, getattr(facts, key)) for key in others)


@pytest.mark.parametrize(("language", "detail"), KINDS)
def test_the_probabilities_of_all_captions_sum_to_one(language, detail):
    for scene in random_scenes(40, seed=3):
        assert math.isclose(sum(scenes.paraphrases(scene, language, detail).values()), 1)


@pytest.mark.parametrize(("language", "detail"), KINDS)
def test_captions_are_drawn_as_often_as_their_probabilities_say(language, detail):
    scene = Scene((Thing("fish", "orange"),), "sea", "flat")
    chances, rng, n = scenes.paraphrases(scene, language, detail), random.Random(4), 4000
    drawn = collections.Counter(scenes.caption(scene, rng, language, detail) for _ in range(n))
    assert set(drawn) <= set(chances)
    chi2 = sum((drawn[text] - n * p) ** 2 / (n * p) for text, p in chances.items())
    free = len(chances) - 1
    assert abs(chi2 - free) < 4 * math.sqrt(2 * free)


def test_the_entropy_of_a_small_grammar_is_the_one_computed_by_hand():
    cat = (Group(1, None, "red", "cat"),)
    assert scenes.entropy(Facts(cat, None, None, None), "zh") == 0  # one way to say it
    # two words for the style, before or after the cat
    assert math.isclose(scenes.entropy(Facts(cat, None, None, "ink"), "zh"), math.log(4))
    # "a pen sketch of …" and "an ink drawing of …" have a chance of 1/4 each, "…, ink style" has 1/2
    assert math.isclose(scenes.entropy(Facts(cat, None, None, "ink"), "en"), 1.5 * math.log(2))


@pytest.mark.parametrize(("language", "detail"), KINDS)
def test_the_entropy_is_the_mean_surprise_of_drawn_captions(language, detail):
    scene, rng = Scene((CAT, HOUSE), "night", "flat"), random.Random(5)
    chances = scenes.paraphrases(scene, language, detail)
    surprise = [-math.log(chances[scenes.caption(scene, rng, language, detail)]) for _ in range(3000)]
    error = np.std(surprise) / math.sqrt(len(surprise))
    assert abs(np.mean(surprise) - scenes.entropy(scene, language, detail)) < max(4 * error, 1e-9)


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_every_full_caption_reads_back_to_exactly_the_facts_of_its_scene(language):
    for scene in random_scenes(200, seed=6):
        for text in scenes.paraphrases(scene, language):
            assert scenes.read_caption(text) == scene.facts, text


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_every_brief_caption_says_nothing_but_the_truth(language):
    for scene in random_scenes(60, seed=7):
        for text in scenes.paraphrases(scene, language, "brief"):
            assert fits(scenes.read_caption(text), scene.facts), text


def test_scenes_of_different_facts_never_share_a_full_caption():
    said = {}
    for scene in random_scenes(250, seed=8):
        for text in (t for language in scenes.LANGUAGES for t in scenes.paraphrases(scene, language)):
            assert said.setdefault(text, scene.facts) == scene.facts, text


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_a_scene_has_several_captions_and_brief_ones_are_shorter(language):
    scene, rng = Scene((CAT, HOUSE), "desert", "neon"), random.Random(9)
    full, brief = ([scenes.caption(scene, rng, language, d) for _ in range(200)] for d in captions.DETAILS)
    assert len(set(full)) >= 5
    assert sum(map(len, brief)) < 0.95 * sum(map(len, full))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A RED CAT", Facts((Group(1, None, "red", "cat"),), None, None, None)),
        ("tiny blue fish under the night sky",
         Facts((Group(1, "small", "blue", "fish"),), None, "night", None)),
        ("three orange boats on the ocean, watercolor style",
         Facts((Group(3, None, "orange", "boat"),), None, "sea", "watercolour")),
        ("a green car below a pink star",
         Facts((Group(1, None, "pink", "star"), Group(1, None, "green", "car")), "above", None, None)),
        ("水彩画：雪地里，两只小小的红色的猫",
         Facts((Group(2, "small", "red", "cat"),), None, "snow", "watercolour")),
    ],
)
def test_people_may_write_the_facts_in_their_own_words(text, facts):
    assert scenes.read_caption(text) == facts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names 0 things"),
        ("a sunny day", "names 0 things; name one kind of thing, or two: house, tree"),
        ("a cat in the snow", "which colour the cat has"),
        ("a red cat, a blue car and a pink star", "names 3 things"),
    ],
)
def test_a_caption_that_cannot_be_drawn_is_refused_with_the_reason(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        scenes.read_caption(text)


def test_words_without_a_picture_are_named_in_order():
    assert scenes.unknown_words("a red dragon in the snow, breathing fire") == ["dragon", "breathing", "fire"]
    assert scenes.unknown_words("一只红色的龙在雪地里") == ["龙"]


def test_no_word_of_a_caption_is_unknown():
    rng = random.Random(10)
    for scene, (language, detail) in itertools.product(random_scenes(60, seed=10), KINDS):
        text = scenes.caption(scene, rng, language, detail)
        assert scenes.unknown_words(text) == [], text


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(("fr",), "use one of: en, zh"), (("en", "long"), "use one of: full, brief")]
)
def test_a_language_or_detail_that_is_not_there_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        scenes.caption(Scene((CAT,)), random.Random(0), *arguments)


# ---------------------------------------------------------------------------------------- splits
@pytest.fixture(scope="module")
def splits():
    counts = {"train": 4000, "validation": 300, "test": 300, "held-out": 1000}
    return {split: [item.scene for item in scenes.samples(n, split, 11)] for split, n in counts.items()}


def test_no_facts_are_in_two_splits(splits):
    facts = [{scene.facts for scene in made} for made in splits.values()]
    assert not any(a & b for a, b in itertools.combinations(facts, 2))


def test_every_scene_belongs_to_the_split_that_it_was_asked_for(splits):
    assert all(scenes.split_of(scene) == split for split, made in splits.items() for scene in made)


def test_only_held_out_scenes_show_a_held_out_composition(splits):
    for split, made in splits.items():
        assert {scenes.held_out(scene) for scene in made} == {split == "held-out"}


def test_every_word_occurs_in_training(splits):
    made = [(thing, scene) for scene in splits["train"] for thing in scene.things]
    assert {thing.name for thing, _ in made} == set(scenes.THINGS)
    assert {thing.colour for thing, _ in made} == set(scenes.COLOURS)
    assert {scene.style for _, scene in made} == set(scenes.STYLES)
    assert {scene.background for _, scene in made} == set(scenes.BACKGROUNDS)


def test_training_misses_a_colour_of_each_thing_and_a_style_of_every_second_one(splits):
    made = [(thing, scene) for scene in splits["train"] for thing in scene.things]
    colours = collections.Counter(name for name, _ in {(thing.name, thing.colour) for thing, _ in made})
    styles = collections.Counter(name for name, _ in {(thing.name, scene.style) for thing, scene in made})
    assert set(colours.values()) == {len(scenes.COLOURS) - 1}
    assert sorted(styles.values()) == [len(scenes.STYLES) - 1] * 8 + [len(scenes.STYLES)] * 8


def test_each_composition_that_training_never_sees_is_named_once():
    assert scenes.unseen(Scene((Thing("cat", "blue"),) * 3)) == []
    assert scenes.unseen(Scene((CAT,) * 3)) == [("cat", "red")]  # 3 · 5 + 1 = 16, and 16 % 8 is red
    assert scenes.unseen(Scene((Thing("boat", "blue"), Thing("car", "blue")))) == [("boat", "car")]
    counts = [len(scenes.unseen(item.scene)) for item in scenes.samples(300, "held-out")]
    assert min(counts) == 1 and max(counts) >= 2


def test_a_pair_of_things_is_held_out_from_either_side():
    boat, car, fish = Thing("boat", "red"), Thing("car", "red", x=0.9), Thing("fish", "red", x=0.9)
    assert scenes.held_out(Scene((boat, car))) and scenes.held_out(Scene((car, boat)))
    assert not scenes.held_out(Scene((boat, fish)))


def test_the_split_of_a_scene_does_not_depend_on_its_layout():
    rng = random.Random(12)
    for scene in random_scenes(100, seed=12):
        assert scenes.split_of(scenes.arrange(scene.facts, rng)) == scenes.split_of(scene)


def test_a_split_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="use one of: train, validation, test, held-out"):
        scenes.random_scene(random.Random(0), "dev")


# ---------------------------------------------------------------------------------------- datasets
def test_a_sample_is_a_function_of_its_number():
    assert scenes.samples(20)[13] == scenes.sample(13)
    assert len({scenes.sample(k).seed for k in range(50)}) == 50
    assert scenes.sample(13, seed=1) != scenes.sample(13)


def test_pictures_are_tensors_between_minus_one_and_one():
    items = scenes.samples(3)
    batch = scenes.pictures(items, 32)
    assert (batch.shape, batch.dtype) == ((3, 3, 32, 32), torch.float32)
    drawn = np.asarray(scenes.draw(items[1].scene, 32, items[1].seed))
    torch.testing.assert_close((batch[1].permute(1, 2, 0) + 1) * 127.5, torch.tensor(drawn).float())
    assert batch.min() >= -1 and batch.max() <= 1


def test_pictures_of_scenes_take_their_seeds_beside_them():
    made = [Scene((CAT,)), Scene((HOUSE,))]
    assert torch.equal(scenes.pictures(made, 32), scenes.pictures(made, 32, [0, 0]))
    assert not torch.equal(scenes.pictures(made, 32), scenes.pictures(made, 32, [1, 0]))
    with pytest.raises(ValueError, match="argument"):
        scenes.pictures(made, 32, [0])


def test_the_order_of_a_stream_does_not_depend_on_its_workers():
    alone, shared = (list(scenes.SceneStream(count=22, batch_size=3, workers=w)) for w in (0, 2))
    assert alone == shared and len(alone) == 7
    assert [item for batch in alone for item in batch] == scenes.samples(21)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_exactly_where_it_stopped(workers):
    stream = scenes.SceneStream(count=40, batch_size=4, seed=2, workers=workers)
    head = list(itertools.islice(stream, 4))
    state = json.loads(json.dumps(stream.state_dict()))
    fresh = scenes.SceneStream(count=40, batch_size=4, seed=2, workers=workers)
    fresh.load_state_dict(state)
    assert head + list(fresh) == [fresh.batch(number) for number in range(10)]


def test_a_stream_that_ended_begins_again():
    stream = scenes.SceneStream(count=6, batch_size=2)
    assert list(stream) == list(stream)
    fresh = scenes.SceneStream(count=6, batch_size=2)
    fresh.load_state_dict(stream.state_dict())
    assert list(fresh) == list(stream)


def test_reading_a_stream_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(scenes.SceneStream(count=4, batch_size=2))
    assert torch.equal(before, torch.get_rng_state())


def test_a_stream_hands_out_what_its_maker_makes():
    stream = scenes.SceneStream(count=4, batch_size=2, make=lambda items: scenes.pictures(items, 16))
    assert [batch.shape for batch in stream] == [(2, 3, 16, 16)] * 2


def test_the_middle_of_a_million_scenes_is_reached_at_once():
    start = time.perf_counter()
    stream = scenes.SceneStream(count=1_000_000, batch_size=32)
    stream.load_state_dict({"position": 30_000})
    assert next(iter(stream)) == stream.batch(30_000) == [scenes.sample(30_000 * 32 + k) for k in range(32)]
    assert time.perf_counter() - start < 1 and len(stream) == 31_250


def test_reading_on_and_on_keeps_no_memory():
    batches = iter(scenes.SceneStream(count=1_000_000, batch_size=32))
    collections.deque(itertools.islice(batches, 150), maxlen=0)  # fills what python keeps for reuse
    tracemalloc.start()
    collections.deque(itertools.islice(batches, 30), maxlen=0)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 100_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 3, "batch_size": 4}, "3 scenes do not fill one batch of 4"),
        ({"batch_size": 0}, "do not fill one batch of 0"),
        ({"split": "dev"}, "no split called 'dev'"),
    ],
)
def test_a_stream_that_could_not_start_is_refused_at_once(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        scenes.SceneStream(**arguments)


@pytest.mark.parametrize("position", [-1, 4])
def test_a_stream_refuses_the_state_of_a_longer_one(position):
    with pytest.raises(ValueError, match="load a state of a stream of this length"):
        scenes.SceneStream(count=6, batch_size=2).load_state_dict({"position": position})


# ---------------------------------------------------------------------------------------- export
@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    chosen = scenes.samples(8, "test") + [Sample(Scene((CAT, HOUSE), "night", "glass"), 5)]
    return chosen, scenes.export_coco(chosen, tmp_path_factory.mktemp("export") / "scenes", 48)


def annotation_file(folder, name):
    return json.loads((folder / "annotations" / f"{name}.json").read_text(encoding="utf-8"))


def test_an_import_brings_back_the_very_samples_of_an_export(exported):
    chosen, folder = exported
    assert scenes.import_coco(folder) == chosen


def test_exported_pictures_are_the_drawn_ones(exported):
    chosen, folder = exported
    for record, item in zip(annotation_file(folder, "captions_en")["images"], chosen, strict=True):
        with Image.open(folder / "images" / record["file_name"]) as picture:
            assert picture.size == (record["width"], record["height"]) == (48, 48)
            assert picture.tobytes() == scenes.draw(item.scene, 48, item.seed).tobytes()


@pytest.mark.parametrize("name", ["captions_en", "captions_zh", "instances"])
def test_exported_files_have_the_official_keys(exported, name):
    content = annotation_file(exported[1], name)
    assert list(content)[:4] == ["info", "licenses", "images", "annotations"]
    assert set(content["info"]) == {"description", "url", "version", "year", "contributor", "date_created"}
    assert [set(licence) for licence in content["licenses"]] == [{"url", "id", "name"}]
    official = {"license", "file_name", "coco_url", "height", "width", "date_captured", "flickr_url", "id"}
    assert all(set(record) == official | {"scene", "seed"} for record in content["images"])
    assert {record["license"] for record in content["images"]} == {content["licenses"][0]["id"]}
    ids = [record["id"] for record in content["annotations"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_a_picture_has_two_to_five_different_captions_that_all_tell_the_truth(exported, language):
    chosen, folder = exported
    told = {number: [] for number in range(1, len(chosen) + 1)}
    for record in annotation_file(folder, f"captions_{language}")["annotations"]:
        told[record["image_id"]].append(record["caption"])
    for item, texts in zip(chosen, told.values(), strict=True):
        assert 2 <= len(texts) == len(set(texts)) <= 5
        assert all(fits(scenes.read_caption(text), item.scene.facts) for text in texts)
        full = scenes.paraphrases(item.scene, language)
        assert sum(text in full for text in texts) >= len(texts) - 1
    assert len({len(texts) for texts in told.values()}) > 1


def test_instances_hold_the_category_box_and_area_of_each_thing(exported):
    chosen, folder = exported
    content = annotation_file(folder, "instances")
    names = {record["id"]: record["name"] for record in content["categories"]}
    assert list(names.values()) == list(scenes.THINGS)
    assert {record["supercategory"] for record in content["categories"]} == {"real", "geometric"}
    for number, item in enumerate(chosen, start=1):
        found = [record for record in content["annotations"] if record["image_id"] == number]
        assert [names[r["category_id"]] for r in found] == [thing.name for thing in item.scene.things]
        assert [tuple(record["bbox"]) for record in found] == scenes.boxes(item.scene, 48, item.seed)
        areas = [int(mask.sum()) for mask in scenes.masks(item.scene, 48, item.seed)]
        assert [record["area"] for record in found] == areas
        assert {record["iscrowd"] for record in found} == {0}


def test_run_lengths_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)
    assert scenes.run_lengths(mask) == {"counts": [2, 1, 1, 2], "size": [2, 3]}
    assert scenes.run_lengths(~mask) == {"counts": [0, 2, 1, 1, 2], "size": [2, 3]}


def test_an_export_never_overwrites_a_folder(exported):
    with pytest.raises(FileExistsError, match="name a new folder"):
        scenes.export_coco(scenes.samples(1), exported[1], 16)
    assert scenes.import_coco(exported[1]) == exported[0]


def test_an_export_fills_an_empty_folder(tmp_path):
    assert len(scenes.import_coco(scenes.export_coco(scenes.samples(2), tmp_path, 16))) == 2


def test_an_export_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_instances", lambda item, size: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scenes.export_coco(scenes.samples(2), tmp_path / "scenes", 16)
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no samples to export"):
        scenes.export_coco([], tmp_path / "scenes")


def test_a_folder_without_scenes_is_not_imported(tmp_path):
    with pytest.raises(FileNotFoundError, match="name a folder that export_coco wrote"):
        scenes.import_coco(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"images": [{"id": 1}]}', '{"images": [{"scene": {}, "seed": 1}]}']
)
def test_a_broken_export_is_answered_by_a_sentence(tmp_path, text):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_en.json").write_text(text)
    with pytest.raises(ValueError, match="not as export_coco wrote it"):
        scenes.import_coco(tmp_path)


# ---------------------------------------------------------------------------------------- what we ship
def test_the_shipped_scenes_are_two_hundred_of_all_splits():
    shipped = scenes.import_coco(SHIPPED)
    found = collections.Counter(scenes.split_of(item.scene) for item in shipped)
    assert found == {"train": 120, "validation": 30, "test": 30, "held-out": 20}
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) < 3_000_000


@pytest.mark.parametrize("style", scenes.STYLES)
def test_shipped_pictures_are_what_the_code_draws_today(style):
    shipped = list(enumerate(scenes.import_coco(SHIPPED), start=1))
    for number, item in [pair for pair in shipped if pair[1].scene.style == style][:3]:
        with Image.open(SHIPPED / "images" / f"{number:06d}.png") as picture:
            same = picture.tobytes() == scenes.draw(item.scene, 128, item.seed).tobytes()
        assert same, (
            f"the code no longer draws picture {number} of data/scenes as shipped; take the change back, "
            "or run `python scripts/build_scenes.py` and train the models again: they know the old drawings"
        )


# --- likelihood ---------------------------------------------------------------------------------------------


def every_single():
    """The facts of every scene of one thing."""
    of = itertools.product(scenes.SIZES, scenes.COLOURS, scenes.THINGS, scenes.BACKGROUNDS, scenes.STYLES)
    return [
        scenes.Facts((scenes.Group(1, size, colour, name),), None, background, style)
        for size, colour, name, background, style in of
    ]


def test_probabilities_of_single_things_sum_to_their_share_of_the_world():
    drawn = [item.scene for item in scenes.samples(4000)]
    share = sum(len(scene.things) == 1 for scene in drawn) / len(drawn)
    assert sum(map(scenes.probability, every_single())) == pytest.approx(share, abs=0.03)


def test_a_composition_that_training_never_sees_has_no_probability():
    for item in scenes.samples(50, "held-out"):
        assert scenes.probability(item.scene.facts) == 0
    assert all(scenes.probability(item.scene.facts) > 0 for item in scenes.samples(50, "test"))


def test_the_mean_inverse_probability_of_pairs_counts_the_pairs():
    """E[1 / p] over what is drawn is the number of facts: pairs are too many to list, not to count."""
    pairs = [item.scene.facts for item in scenes.samples(3000) if item.scene.is_pair]
    inverse = sum(1 / scenes.probability(facts) for facts in pairs) / 3000
    things, colours, styles = len(scenes.THINGS), len(scenes.COLOURS), len(scenes.STYLES)
    thrown = (things * colours) ** 2 * styles * len(scenes.SIZES) ** 2 * len(scenes.BACKGROUNDS) * 2
    assert 0.55 * thrown < inverse < 0.7 * thrown


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_surprise_is_that_of_the_facts_and_of_the_words(language):
    for item in scenes.samples(5):
        told = scenes.paraphrases(item.scene, language)
        facts = item.scene.facts
        mean = sum(p * scenes.surprise(facts, text, language) for text, p in told.items())
        assert mean == pytest.approx(scenes.entropy(item.scene, language) - math.log(scenes.probability(facts)))
    with pytest.raises(ValueError, match="no full caption of these facts"):
        scenes.surprise(facts, "a red cat", language)


def test_a_marked_caption_names_its_language_first():
    scene = scenes.sample(0).scene
    told = [scenes.marked_caption(scene, random.Random(seed)) for seed in range(20)]
    assert {text[:4] for text in told} == {"<en>", "<zh>"}
    for language in scenes.LANGUAGES:
        text = scenes.marked_caption(scene, random.Random(1), language)
        assert text.removeprefix(f"<{language}>") in scenes.paraphrases(scene, language)
