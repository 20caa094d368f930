"""A new style or thing, taught from drawings: what the lesson holds, what learns from it, how it is judged."""

import random
from types import SimpleNamespace

import pytest
import torch
from test_models import tiny_pipeline

from aigc_course import adaptation, lora, models, sampling, scenes
from aigc_course.adaptation import drawings as room

SINGLE = [adaptation.composed(one) for one in scenes.samples(4, "train", seed=3, task="single")]
LOOK = models.LOOK


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@torch.no_grad()
def eye(pipe, thing=None, style=None):
    """What the autoencoder alone makes of the drawings."""
    return (
        pipe.vae.encode(scenes.new_pictures(SINGLE, thing, style)).latent_dist.mode() * pipe.vae.config.scaling_factor
    )


# --- the lesson ---------------------------------------------------------------------------------------------


def test_of_a_style_the_lesson_tells_what_is_where_and_leaves_the_look_and_the_style_to_the_eye(pipe):
    z, seen = adaptation.draw_lesson(pipe, SINGLE, style="chalk").latents, eye(pipe, style="chalk")
    own = LOOK + room.OF_STYLE
    torch.testing.assert_close(z[:, :own], seen[:, :own])
    torch.testing.assert_close(z[:, own:], models.meaning(SINGLE)[:, room.OF_STYLE :])


def test_of_a_thing_the_lesson_tells_its_box_and_leaves_name_and_colour_to_the_eye(pipe):
    z, seen = adaptation.draw_lesson(pipe, SINGLE, thing="robot").latents, eye(pipe, thing="robot")
    named = LOOK + room.OF_THINGS
    torch.testing.assert_close(z[:, :LOOK], seen[:, :LOOK])
    torch.testing.assert_close(z[:, LOOK:named], models.meaning(SINGLE)[:, : room.OF_THINGS])
    torch.testing.assert_close(z[:, named:], seen[:, named:])


def test_a_lesson_shows_things_where_the_denoiser_knows_them(pipe):
    strewn = scenes.samples(6, "train", seed=3)
    assert [adaptation.composed(one) for one in strewn] != strewn
    both = strewn, [*map(adaptation.composed, strewn)]
    lessons = [adaptation.draw_lesson(pipe, some, style="chalk") for some in both]
    assert torch.equal(lessons[0].latents, lessons[1].latents)


def test_the_channels_of_style_box_and_thing_are_those_of_the_meaning():
    flat, ink = (
        models.meaning([scenes.Scene((scenes.Thing("cat", "red"),), "snow", style)])[0] for style in ("flat", "ink")
    )
    assert (flat != ink).any((1, 2)).nonzero().max() < room.OF_STYLE
    cat, dog = (
        models.meaning([scenes.Scene((scenes.Thing(name, colour),), "snow", "flat")])[0]
        for name, colour in (("cat", "red"), ("fish", "blue"))
    )
    assert (cat != dog).any((1, 2)).nonzero().min() == room.OF_THINGS
    assert cat[room.INSIDE].max() == 1 and cat[room.INSIDE].min() == 0


def test_each_picture_is_told_in_both_languages_and_a_batch_takes_them_in_turn(pipe):
    lesson = adaptation.draw_lesson(pipe, SINGLE, style="sepia", seed=2)
    told = [
        scenes.new_caption(SINGLE[1], random.Random(f"2/{language}/1"), language, style="sepia")
        for language in scenes.LANGUAGES
    ]
    torch.testing.assert_close(lesson.text[1], sampling.encode_words(pipe, told))
    assert len(set(told)) == 2
    for turn in (0, 1):
        latents, text = lesson.batch(torch.tensor([0, 1]), turn)
        assert torch.equal(latents, lesson.latents[:2])
        assert torch.equal(text, torch.stack([lesson.text[0, turn], lesson.text[1, 1 - turn]]))


def test_a_place_inside_a_thing_and_a_channel_that_tells_what_is_there_count_four_times_as_much():
    z = torch.cat([torch.zeros(1, LOOK, 16, 16), models.meaning(SINGLE[:1])], 1)
    weight, inside = adaptation.focus_on_things(z), models.meaning(SINGLE[:1])[0, room.INSIDE]
    assert weight.shape == z.shape and weight.mean() == pytest.approx(1)
    assert (weight[0, 0][inside == 1].min() / weight[0, 0][inside == 0].max()).item() == pytest.approx(4)
    torch.testing.assert_close(weight[:, LOOK:], 4 * weight[:, :1].expand(-1, models.MEANING, -1, -1))


@pytest.mark.parametrize(
    ("samples", "new", "sentence"),
    [
        ([], {"style": "chalk"}, "no scenes to draw: give some"),
        (SINGLE, {}, "nothing new to teach: name a thing, a style, or both"),
        (SINGLE, {"style": "neon"}, "no new style called 'neon'"),
        (SINGLE, {"thing": "cat"}, "no new thing called 'cat'"),
        (scenes.samples(4, task="pair"), {"thing": "robot"}, "give a scene of one kind of thing"),
    ],
)
def test_a_lesson_that_cannot_be_drawn_gets_one_sentence(pipe, samples, new, sentence):
    with pytest.raises(ValueError, match=sentence):
        adaptation.draw_lesson(pipe, samples, **new)


# --- learning, and judging ----------------------------------------------------------------------------------


def test_only_the_lora_learns_and_the_same_seed_gives_the_same_lora():
    found = []
    for _ in range(2):
        pipe = tiny_pipeline()
        lesson = adaptation.draw_lesson(pipe, SINGLE, style="chalk")
        before = {name: value.clone() for name, value in pipe.unet.named_parameters()}
        lora.add(pipe.unet, 2, ["conv1"], generator=torch.Generator().manual_seed(0))
        history = adaptation.learn_drawings(pipe, lesson, 3, seed=5, progress=False)
        after = dict(pipe.unet.named_parameters())
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert len(history.losses) == 3 and any(weight.any() for weight in lora.parameters(pipe.unet)[1::2])
        found.append(lora.state(pipe.unet))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


class Fixed:
    """A judge that says what it was told to."""

    def __init__(self, *seen):
        self.seen = [SimpleNamespace(names=names, style=style) for names, style in seen]

    def read(self, pictures):
        assert len(pictures) == len(self.seen) and pictures.shape[1:] == (3, 128, 128)
        return self.seen


def test_pictures_are_judged_for_what_is_new_and_for_what_the_words_name(pipe):
    name = SINGLE[0].scene.things[0].name
    judge = Fixed((("robot", name), "chalk"), ((), "chalk"))
    style = adaptation.draw_and_judge(pipe, judge, [SINGLE[0]] * 2, style="chalk", steps=1)
    assert style.new.tolist() == [True, True] and style.content.tolist() == [True, False]
    thing = adaptation.draw_and_judge(pipe, judge, [SINGLE[0]] * 2, thing="robot", steps=1)
    assert thing.new.tolist() == thing.content.tolist() == [True, False]
    both = adaptation.draw_and_judge(pipe, judge, [SINGLE[0]] * 2, "robot", "sepia", steps=1)
    assert both.new.tolist() == [False, False] and both.content.tolist() == [True, False]
