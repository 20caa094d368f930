"""Content: storyboards, brand colours, sprites, tiles, motion, files, film."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_course import evaluation, scenes
from aigc_course.applications import colours, cutting, film, motion, storyboard, tiles, video
from aigc_course.evaluation import Reading
from aigc_course.scenes import Scene, Thing

BRAND = ["#1b2a49", "#2a7f9e", "#e4572e", "#f2b134", "#f7efdc"]


def drawn(*scene):
    pixels = [np.array(scenes.draw(one, 128, 3)) for one in scene]
    return torch.from_numpy(np.stack(pixels)).movedim(-1, 1) / 127.5 - 1


def in_places(*things):
    return [Scene((thing,), place, "flat") for thing, place in zip(things, scenes.BACKGROUNDS, strict=False)]


class Oracle:
    """A judge that knows which scenes it is shown."""

    def __init__(self, where):
        self.where = where

    def read(self, pictures):
        return [Reading(one.things, one.background, one.style) for one in self.where[: len(pictures)]]


# --- a storyboard -------------------------------------------------------------------------------------------


def test_one_character_drawn_alike_in_other_spots_is_found_the_same():
    where = [Scene((Thing("cat", "orange", "large", 0.5 + 0.05 * k, 0.5),), "snow", "flat") for k in range(3)]
    hero = storyboard.Hero("cat", "orange", style="flat")
    found = storyboard.identity(Oracle(where), drawn(*where), hero, [one.background for one in where])
    assert found.told.all() and found.exact.all()
    assert found.shape > 0.8 and found.colour < 4


def test_other_characters_are_found_out_by_all_three_figures():
    where = in_places(Thing("cat", "orange"), Thing("rocket", "blue"), Thing("fish", "red"))
    hero = storyboard.Hero("cat", "orange", style="flat")
    found = storyboard.identity(Oracle(where), drawn(*where), hero, [one.background for one in where])
    assert found.told.tolist() == [True, False, False]
    assert found.shape < 0.8 and found.colour > 15


def test_a_pasted_character_has_the_first_frames_pixels_and_the_rest_is_left_alone():
    where = in_places(Thing("star", "yellow"), Thing("star", "yellow"))
    frames = drawn(*where)
    laid = storyboard.pasted(Oracle(where), frames, storyboard.Hero("star", "yellow", style="flat"))
    torch.testing.assert_close(laid[0], frames[0])
    torch.testing.assert_close(laid[1, :, 64, 64], frames[0, :, 64, 64])
    torch.testing.assert_close(laid[1, :, :20], frames[1, :, :20])


def test_frames_of_one_hero_are_told_in_the_same_words_but_for_the_place():
    hero = storyboard.Hero("cat", "orange")
    told = [storyboard.Hero.prompt(hero, place) for place in scenes.BACKGROUNDS]
    assert len({words.split(" cat ")[0] for words in told}) == 1 and len(set(told)) == len(scenes.BACKGROUNDS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: storyboard.draw_frames(None, storyboard.Hero("cat", "red"), []), "at least one place"),
        (lambda: storyboard.draw_frames(None, storyboard.Hero("cat", "red"), ["sea"], "by magic"), "one of: own noise"),
        (lambda: storyboard.Hero("unicorn", "red"), "unicorn"),
        (lambda: storyboard.pasted(None, torch.zeros(2, 3, 128, 128), storyboard.Hero("cat", "red")), "judge"),
        (lambda: storyboard.identity(None, torch.zeros(1, 3, 128, 128), None, ["sea"]), "two or more"),
        (lambda: colours.brand(["#12345g", "#000000"]), "no sRGB colour"),
        (lambda: colours.brand([(0, 0, 256), (0, 0, 0)]), "from 0 to 255"),
        (lambda: colours.brand([(0, 0, float("nan")), (0, 0, 0)]), "from 0 to 255"),
        (lambda: colours.brand(["#000000"]), "two or more"),
        (lambda: colours.recolour(Image.new("RGB", (32, 32), "red"), BRAND), "give fewer"),
        (lambda: cutting.cut_out(torch.zeros(2, 3, 64, 64), Thing("cat", "red")), "one picture"),
        (lambda: cutting.sprite(torch.zeros(3, 64, 64), np.zeros((64, 64), bool)), "nothing to cut out"),
        (lambda: cutting.sprite_sheet([]), "at least one sprite"),
        (lambda: cutting.mask_overlap(np.zeros((2, 2), bool), np.zeros((3, 2), bool)), "one size"),
        (lambda: tiles.seam(torch.zeros(3, 8, 8)), "(B, C, H, W)"),
        (lambda: tiles.seam(torch.zeros(1, 3, 8, 8)), "no steps inside"),
        (lambda: motion.flicker(torch.zeros(2, 3, 8, 8)), "3 frames"),
        (lambda: motion.flicker(torch.zeros(3, 3, 8, 8), torch.zeros(8, 8, dtype=bool)), "no pixel is still"),
        (lambda: motion.evenly(None, 1), "2 or more"),
        (lambda: video.to_mp4([], 8), "no frames"),
        (lambda: video.to_gif(torch.zeros(0, 3, 8, 8)), "no frames"),
        (lambda: video.to_mp4([Image.new("RGB", (8, 8)), Image.new("RGB", (16, 8))]), "one size"),
        (lambda: video.to_mp4(torch.zeros(2, 3, 15, 16)), "16 × 15"),
        (lambda: video.to_mp4(torch.zeros(2, 3, 16, 16), 0), "1 to 120"),
        (lambda: video.to_mp4(torch.zeros(2, 3, 16, 16), 8, np.full(9, np.nan)), "finite samples"),
        (lambda: video.to_mp4(torch.zeros(2, 3, 16, 16), 8, np.zeros((2, 99))), "one channel"),
        (lambda: video.play(b"no film"), "no player"),
        (lambda: film.title_card("  "), "a sentence"),
        (lambda: film.cross_fade([], 2), "no frames"),
        (lambda: film.cross_fade([torch.zeros(4, 3, 8, 8), torch.zeros(4, 3, 8, 6)], 2), "one size"),
        (lambda: film.cross_fade([torch.zeros(2, 3, 8, 8)] * 2, 2), "shorter"),
        (lambda: film.make_film("x", [], 5), "at least one Shot"),
        (lambda: film.make_film("x", [film.Shot("y", torch.zeros(3, 32, 32))], 0.5), "more seconds"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(given, said):
    with pytest.raises(ValueError) as caught:
        given()
    assert said in str(caught.value) and "\n" not in str(caught.value)


# --- brand colours ------------------------------------------------------------------------------------------


def test_as_many_colours_are_matched_rank_by_rank():
    own, wanted = colours.brand(["#101010", "#606060", "#f0f0f0"]), colours.brand(["#ffeeaa", "#002244", "#3388aa"])
    np.testing.assert_allclose(colours.matched(own, wanted), wanted[[1, 2, 0]])


def test_more_colours_than_the_brand_keep_their_order_and_use_all_of_it():
    rng = np.random.default_rng(0)
    for _ in range(20):
        own = np.column_stack([np.sort(rng.uniform(0, 100, 8)), rng.uniform(-50, 50, (8, 2))])
        found = colours.matched(own, colours.brand(BRAND), rng.uniform(0, 1, 8))
        assert (np.diff(found[:, 0]) >= 0).all()
        assert len(np.unique(found[:, 0])) == len(BRAND)


def test_a_picture_of_the_brands_own_colours_stays_as_it_is():
    stripes = np.zeros((40, 40, 3), np.uint8)
    for k, one in enumerate(BRAND):
        stripes[8 * k : 8 * k + 8] = [int(one[i : i + 2], 16) for i in (1, 3, 5)]
    assert colours.colour_error(stripes, BRAND) < 0.01
    assert np.abs(np.asarray(colours.recolour(stripes, BRAND, count=5), int) - stripes).max() <= 6


def test_colours_come_much_nearer_to_the_brand_and_light_stays_light():
    picture = scenes.draw(Scene((Thing("boat", "orange"),), "sea", "flat"), 128, 1)
    before, after = colours.colour_error(picture, BRAND), colours.colour_error(colours.recolour(picture, BRAND), BRAND)
    assert after < before / 3
    grey = [np.asarray(one.convert("L"), float).ravel() for one in (picture, colours.recolour(picture, BRAND))]
    turned = np.asarray(colours.recolour(picture, BRAND, keep_order=False).convert("L"), float).ravel()
    assert np.corrcoef(grey)[0, 1] > 0.8 > np.corrcoef(grey[0], turned)[0, 1]


def test_coverage_is_a_share_of_each_colour():
    half = np.zeros((10, 10, 3), np.uint8)
    half[5:] = 255
    np.testing.assert_allclose(colours.coverage(half, ["#000000", "#ffffff", "#ff0000"]), [0.5, 0.5, 0])


# --- sprites ------------------------------------------------------------------------------------------------


def test_things_are_cut_out_better_than_by_their_boxes():
    rng, cut, boxed = random.Random(3), [], []
    for k in range(8):
        scene = scenes.random_scene(rng, "test", "single")
        scene = Scene(scene.things, scene.background, "flat")
        mask, found = scenes.masks(scene, 128, k)[0], cutting.cut_out(scenes.draw(scene, 128, k), scene.things[0])
        box = np.zeros_like(mask)
        rows, columns = np.nonzero(mask)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        cut.append(cutting.mask_overlap(found, mask))
        boxed.append(cutting.mask_overlap(box, mask))
    assert np.mean(cut) > 0.75 and np.mean(cut) > np.mean(boxed) + 0.1


def test_a_sprite_is_square_and_its_ground_is_clear():
    scene = Scene((Thing("heart", "red"),), "snow", "flat")
    mask = scenes.masks(scene, 128, 1)[0]
    one = cutting.sprite(scenes.draw(scene, 128, 1), mask)
    alpha = np.asarray(one)[..., 3]
    assert one.mode == "RGBA" and one.size[0] == one.size[1]
    assert max(alpha[0].max(), alpha[:, -1].max()) < 64 and alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 255


def test_a_sheet_has_a_cell_for_each_sprite():
    sheet = cutting.sprite_sheet([Image.new("RGBA", (9, 9), "red")] * 5, columns=4, side=16)
    assert sheet.size == (64, 32)
    assert sheet.getpixel((8, 24))[3] == 255 and sheet.getpixel((24, 24))[3] == 0


# --- tiles --------------------------------------------------------------------------------------------------


def test_a_wave_that_closes_has_no_seam_and_a_ramp_has_one():
    places = torch.arange(16) / 16 * 2 * torch.pi
    wave = (places.sin()[:, None] + places.sin()).expand(1, 3, 16, 16)
    ramp = torch.arange(16.0).expand(1, 3, 16, 16) + torch.arange(16.0)[:, None]
    torch.testing.assert_close(tiles.seam(wave), torch.ones(1, 2), atol=0.6, rtol=0)
    torch.testing.assert_close(tiles.seam(ramp), torch.full((1, 2), 15.0))


def test_a_tile_laid_out_is_itself_everywhere():
    x = torch.rand(1, 3, 4, 5)
    assert torch.equal(tiles.laid(x)[..., 4:, 5:], x)


# --- motion -------------------------------------------------------------------------------------------------


def test_the_way_between_two_noises_is_as_loud_as_they_are():
    a, b = torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    way = motion.between(a, b, [0, 0.25, 0.5, 1])
    torch.testing.assert_close(way[[0, 3]], torch.stack([a, b]))
    torch.testing.assert_close(way.std((1, 2, 3)), torch.ones(4), atol=0.02, rtol=0)


def test_even_steps_are_evener_than_even_shares_and_nothing_is_drawn_twice():
    asked = []

    def jump(shares):
        asked.extend(shares.tolist())
        return torch.sigmoid(60 * (shares - 0.5))[:, None, None, None].expand(-1, 3, 8, 8)

    shares, frames = motion.evenly(jump, 24)
    assert len(frames) == len(asked) == len(set(asked)) == 24 and (shares.diff() > 0).all()
    torch.testing.assert_close(frames, jump(shares))
    assert motion.paces(frames).max() < motion.paces(jump(torch.linspace(0, 1, 24))).max() / 2


def test_a_fade_does_not_flicker_and_a_flash_does():
    fade = torch.linspace(-1, 1, 9)[:, None, None, None].expand(9, 3, 4, 4).clone()
    assert motion.flicker(fade) < 1e-4
    fade[4] += 0.2
    assert motion.flicker(fade) > 4


def test_flicker_is_looked_for_where_nothing_moves():
    frames = torch.zeros(5, 3, 4, 4)
    frames[::2, :, :2] = 1
    still = motion.still_in(frames)
    assert still.tolist() == [[False] * 4] * 2 + [[True] * 4] * 2
    assert motion.flicker(frames, still) == 0 < motion.flicker(frames)


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip():
    return torch.linspace(-1, 1, 24)[:, None, None, None].expand(24, 3, 32, 48)


def test_an_mp4_is_read_as_it_was_written(clip):
    sound = 0.3 * np.sin(np.arange(48_000) / 16_000 * 440 * 2 * np.pi)
    played = video.play(video.to_mp4(clip, 8, sound, 16_000))
    assert played.frames.shape == (24, 32, 48, 3) and played.fps == 8 and played.rate == 16_000
    assert abs(played.seconds - 3) < 1e-9 and abs(played.sound_seconds - 3) < 0.1
    assert np.abs(played.frames.astype(float).mean((1, 2, 3)) - np.linspace(0, 255, 24)).max() < 6
    spectrum = np.abs(np.fft.rfft(played.sound))
    assert abs(spectrum.argmax() / played.sound_seconds - 440) < 2


def test_a_film_without_sound_has_none(clip):
    played = video.play(video.to_mp4(clip, 8))
    assert played.sound_seconds == 0 and len(played.codecs) == 1


def test_a_gif_is_read_as_it_was_written(clip):
    played = video.play(video.to_gif(clip, 10))
    assert played.frames.shape == (24, 32, 48, 3) and played.fps == 10


def test_the_frames_of_a_gif_share_their_colours_so_what_stands_still_does_not_flicker():
    ramp = torch.linspace(-1, 1, 96).expand(3, 32, 96)
    frames = torch.stack([ramp.clone(), ramp.clone()])
    frames[1, :, :, :16] = torch.rand(3, 32, 16, generator=torch.Generator().manual_seed(0))
    first, second = video.play(video.to_gif(frames, 4, colours=16, side=96)).frames
    assert first.shape == (96, 96, 3) and (first[:, 20:] == second[:, 20:]).all() and (first != second).any()


def test_an_mp3_lasts_as_long_as_its_sound():
    played = video.play(video.to_mp3(np.zeros(32_000), 16_000))
    assert abs(played.sound_seconds - 2) < 0.1 and not len(played.frames)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_a_file_is_refused(clip, share):
    whole = video.to_mp4(clip, 8)
    with pytest.raises(ValueError, match="no player"):
        video.play(whole[: int(share * len(whole))])


# --- film ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "fps", "shots"), [(8, 12, 2), (13.3, 12, 5), (20, 8, 5)])
def test_a_film_lasts_as_long_as_asked(seconds, fps, shots):
    told = [film.Shot("a cat", torch.zeros(3, 32, 32))] * shots
    assert len(film.make_film("x", told, seconds, fps, side=32)) == round(seconds * fps)


def test_a_fade_begins_with_one_part_and_ends_with_the_other():
    faded = film.cross_fade([torch.zeros(4, 3, 2, 2), torch.ones(5, 3, 2, 2)], 2)[:, 0, 0, 0]
    torch.testing.assert_close(faded, torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1, 1]))


def test_a_picture_comes_nearer_and_keeps_its_middle():
    picture = torch.zeros(3, 64, 64)
    picture[:, 24:40, 24:40] = 1
    grown = film.nearer(picture, 5, side=64).gt(0.5).sum((1, 2, 3))
    assert (grown.diff() >= 0).all() and grown[-1] > 1.2 * grown[0]


def test_long_words_stay_inside_their_card():
    card = film.title_card("It had heard of a city far away, and one day it went to see it", 128)
    empty = film.title_card(".", 128)
    assert card.shape == (3, 128, 128) and card[:, 20:100].max() > 0.5
    torch.testing.assert_close(card[:, :, :10], empty[:, :, :10])
    torch.testing.assert_close(card[:, :, -10:], empty[:, :, -10:])


def test_the_judge_is_asked_about_what_players_show():
    where = in_places(Thing("cat", "orange", "large"))
    shots = [film.Shot("A cat.", drawn(*where)[0])]
    played = video.play(video.to_mp4(film.make_film("Cat", shots, 3, side=128), 12))
    middle = torch.from_numpy(played.frames[20].copy()).movedim(-1, 0)[None] / 127.5 - 1
    assert [thing.name for thing in evaluation.load_parser().read(middle)[0].things] == ["cat"]
