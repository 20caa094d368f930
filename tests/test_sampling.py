"""The sampling room: equal to the stock pipeline; a picture depends on its words and its seed alone, and on no tile."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from test_models import tiny_pipeline, tiny_upscaler

from aigc_course import diffusion, models, sampling

PROMPTS = ["a red circle", "a blue house at sea"]
CLOSE = dict(rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


def stock(pipe, prompts, steps, scale, seeds, **more):
    """What the library makes of the same noise, in [-1, 1]."""
    latents = sampling.start_noise(pipe, seeds)
    ask = dict(num_inference_steps=steps, guidance_scale=scale, latents=latents, output_type="pt")
    return pipe(prompts, **ask, **more).images * 2 - 1


def knows(x0):
    """A model that knows the answer: the velocity from any x_t towards the picture x0."""

    def predict(x_t, t):
        abar = schedule().abar[t].expand(len(x_t))
        return diffusion.velocity(x0, diffusion.predict_noise(x_t, x0, abar), abar)

    return predict


def schedule():
    return diffusion.Schedule.from_scheduler(models.scheduler())


# --- the library agrees -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 4.0])
@pytest.mark.parametrize("steps", [1, 7])
def test_words_to_pictures_equals_the_stock_pipeline(pipe, steps, scale):
    mine = sampling.words_to_pictures(pipe, PROMPTS, steps, scale, seed=[3, 8])
    torch.testing.assert_close(mine, stock(pipe, PROMPTS, steps, scale, [3, 8]), **CLOSE)


def test_a_negative_prompt_equals_that_of_the_stock_pipeline(pipe):
    predict = sampling.guided(pipe, PROMPTS, 3.0, negative="a red house")
    mine = sampling.decode(pipe, sampling.ddim(predict, sampling.start_noise(pipe, [0, 1]), schedule(), 2))
    theirs = stock(pipe, PROMPTS, 2, 3.0, [0, 1], negative_prompt=["a red house"] * 2)
    torch.testing.assert_close(mine, theirs, **CLOSE)


def test_words_are_encoded_as_the_stock_pipeline_does(pipe):
    theirs, _ = pipe.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
    mine = sampling.encode_words(pipe, PROMPTS)
    assert mine.shape == (2, *models.TEXT)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_the_steps_are_those_of_the_library_for_every_count():
    theirs = models.scheduler()
    for steps in range(1, 1001):
        theirs.set_timesteps(steps)
        expected = theirs.timesteps.tolist()[:steps]  # for 62 counts, 61 among them, it adds a t of -1
        assert [t for t, _ in sampling._times(1000, steps)] == expected, steps


@pytest.mark.parametrize("steps", [3, 7, 25, 1000])
def test_each_step_equals_that_of_the_librarys_scheduler(steps):
    theirs, generator = models.scheduler(), torch.Generator().manual_seed(0)
    theirs.set_timesteps(steps)
    expected = x = torch.randn(2, 1, 2, 2, generator=generator)
    predict = lambda x_t, t: torch.sin(3 * x_t + t)  # noqa: E731
    for t in theirs.timesteps.tolist():
        expected = theirs.step(predict(expected, t), t, expected).prev_sample
    torch.testing.assert_close(sampling.ddim(predict, x, schedule(), steps), expected, **CLOSE)


def test_the_schedule_of_the_cast_is_what_these_steps_assume():
    config = models.scheduler().config
    assert isinstance(models.scheduler(), DDIMScheduler)
    assert (config.timestep_spacing, config.set_alpha_to_one) == ("trailing", True)
    assert (config.prediction_type, config.clip_sample) == ("v_prediction", False)


# --- what a picture depends on ------------------------------------------------------------------------------


def test_a_picture_does_not_depend_on_its_batch(pipe):
    together = sampling.words_to_pictures(pipe, PROMPTS, 2, seed=[3, 8])
    alone = sampling.words_to_pictures(pipe, PROMPTS[1:], 2, seed=[8])
    torch.testing.assert_close(together[1:], alone, **CLOSE)


def test_one_number_counts_up_from_picture_to_picture(pipe):
    counted = sampling.words_to_pictures(pipe, ["a red circle"] * 2, 1, seed=5)
    torch.testing.assert_close(counted, sampling.words_to_pictures(pipe, ["a red circle"] * 2, 1, seed=[5, 6]), **CLOSE)
    assert not torch.allclose(counted[0], counted[1], atol=0.01)


def test_words_and_scale_change_the_velocity(pipe):
    noise = sampling.start_noise(pipe, [0])
    red, blue = (sampling.guided(pipe, [p], 1)(noise, 500) for p in PROMPTS)
    assert not torch.allclose(red, blue, atol=1e-3)
    strong = sampling.guided(pipe, PROMPTS[:1], 4)(noise, 500)
    silent = sampling.guided(pipe, [""], 1)(noise, 500)
    torch.testing.assert_close(strong, diffusion.guide(silent, red, 4), **CLOSE)


def test_no_guidance_asks_the_model_once_for_each_picture(pipe, monkeypatch):
    asked, ask = [], pipe.unet.forward
    monkeypatch.setattr(pipe.unet, "forward", lambda x, *a, **k: asked.append(len(x)) or ask(x, *a, **k))
    for scale in (1, 4):
        sampling.guided(pipe, PROMPTS, scale)(sampling.start_noise(pipe, [0, 1]), 500)
    assert asked == [2, 4]


# --- the walk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5, 25])
def test_a_model_that_knows_the_picture_leads_to_it_in_any_number_of_steps(steps):
    x0, noise = torch.randn(2, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    end = sampling.ddim(knows(x0), noise, schedule(), steps)
    torch.testing.assert_close(end, x0, rtol=0, atol=1e-3)


def test_on_step_sees_each_step_once_and_the_end_of_the_walk():
    x0, noise = torch.randn(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = []
    end = sampling.ddim(knows(x0), noise, schedule(), 4, seen.append)
    assert [(s.number, s.steps, s.t) for s in seen] == [(1, 4, 749), (2, 4, 499), (3, 4, 249), (4, 4, 0)]
    assert torch.equal(seen[-1].x_t, end)
    for step in seen[:-1]:
        torch.testing.assert_close(step.x0, x0, rtol=0, atol=1e-2)
        abar = schedule().abar[step.t].view(1)
        torch.testing.assert_close(step.x_t, diffusion.add_noise(x0, noise, abar), rtol=0, atol=1e-2)


def test_pictures_are_clipped_floats(pipe):
    wild = sampling.decode(pipe, 1e4 * sampling.start_noise(pipe, [0]))
    assert wild.shape == (1, 3, models.PICTURE, models.PICTURE) and wild.dtype == torch.float32
    assert (wild.min(), wild.max()) == (-1, 1)


# --- sentences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        (dict(prompts=[]), r"prompts is \[\]; give a list of at least one"),
        (dict(prompts="a red circle"), "prompts is 'a red circle'; give a list"),
        (dict(prompts=["a red circle " + "at sea " * 20]), "13 tokens longer than 32, all we read"),
        (dict(steps=1001), "1001 sampling steps, but the schedule has 1000; use steps from 1 to 1000"),
        (dict(steps=0), "0 sampling steps"),
        (dict(seed=[1, 2, 3]), "3 seeds for 2 prompts"),
    ],
    ids=["no prompts", "no list", "too long", "too many steps", "no steps", "too many seeds"],
)
def test_a_slip_is_answered_by_one_sentence(pipe, slip, sentence):
    with pytest.raises(ValueError, match=sentence):
        sampling.words_to_pictures(pipe, **{"prompts": PROMPTS} | slip)


def test_a_model_that_predicts_something_else_is_not_walked_with(pipe, monkeypatch):
    theirs = DDIMScheduler.from_config(pipe.scheduler.config, prediction_type="epsilon")
    monkeypatch.setattr(pipe, "scheduler", theirs)
    with pytest.raises(ValueError, match="predicts 'epsilon', no velocity; let it sample itself"):
        sampling.guided(pipe, PROMPTS)


# --- from a small picture to a large one --------------------------------------------------------------------


def noisy_pictures(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


@pytest.mark.parametrize("tile", [3, 7, 16, 100])
@pytest.mark.parametrize("shape", [(2, 3, 24, 24), (1, 3, 33, 17), (1, 3, 1, 50)], ids=["square", "odd", "line"])
def test_a_picture_enlarged_in_tiles_is_the_picture_enlarged_at_once(tile, shape):
    model, pictures = tiny_upscaler(), noisy_pictures(*shape)
    with torch.no_grad():
        whole = model(pictures).clamp(-1, 1)
    large = sampling.upscale(model, pictures, tile)
    assert large.shape == (*shape[:2], 4 * shape[2], 4 * shape[3]) and large.abs().max() <= 1
    torch.testing.assert_close(large, whole, rtol=0, atol=1e-5)


def test_tiles_that_overlap_by_less_than_the_reach_leave_seams():
    model, pictures = tiny_upscaler(), noisy_pictures(1, 3, 24, 24)
    whole = sampling.upscale(model, pictures)
    model.reach -= 1
    assert (sampling.upscale(model, pictures, 8) - whole).abs().max() > 1e-4


def test_lanczos_is_that_of_pillow_on_bytes():
    pictures = 0.5 * noisy_pictures(2, 3, 12, 20)  # Pillow's bytes would clip what overshoots on the way
    large = sampling.lanczos(pictures)
    assert large.shape == (2, 3, 48, 80) and large.dtype == torch.float32
    pixels = ((pictures[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    theirs = np.asarray(Image.fromarray(pixels).resize((80, 48), Image.Resampling.LANCZOS))
    mine = ((large[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(mine - theirs).max() < 2


@pytest.mark.parametrize(
    ("pictures", "tile", "sentence"),
    [
        (torch.zeros(3, 8, 8), 128, r"not \(3, 8, 8\); a single one is pictures\[None\]"),
        (torch.zeros(1, 1, 8, 8), 128, r"only pictures \(B, 3, H, W\) can be enlarged, not \(1, 1, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), 128, r"not \(0, 3, 8, 8\)"),
        (torch.full((1, 3, 8, 8), 255, dtype=torch.uint8), 128, r"these are torch.uint8, 255 to 255; bring bytes"),
        (torch.full((1, 3, 8, 8), 255.0), 128, r"these are torch.float32, 255 to 255"),
        (torch.full((1, 3, 8, 8), float("nan")), 128, r"these are torch.float32, nan to nan"),
        (torch.zeros(1, 3, 8, 8), 0, r"tile=0 pixels cannot be enlarged; use 1 or more"),
    ],
    ids=["no batch", "grey", "empty", "bytes", "beyond", "no number", "no tile"],
)
def test_what_cannot_be_enlarged_is_answered_by_one_sentence(pictures, tile, sentence):
    with pytest.raises(ValueError, match=sentence):
        sampling.upscale(tiny_upscaler(), pictures, tile)
