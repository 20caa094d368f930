"""The diffusion room: equal to diffusers, exact at the end points, and every identity to 1e-9 in float64."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from aigc_course import diffusion

STEPS = torch.tensor([0, 1, 250, 500, 900, 999])


@pytest.fixture
def pair():
    """Pictures, noise and ᾱ from nearly clean to nearly gone, in float64."""
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 5, 3, 4, 6, generator=generator, dtype=torch.float64)
    return x0, noise, torch.tensor([0.9999, 0.9, 0.5, 0.1, 0.0001], dtype=torch.float64)


def library(kind, **options):
    return kind(num_train_timesteps=1000, **options)


# --- schedules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (diffusion.Schedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (diffusion.Schedule.linear(), {"beta_schedule": "linear"}),
        (
            diffusion.Schedule.scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
    ],
    ids=["cosine", "linear", "scaled linear"],
)
def test_schedules_agree_with_diffusers(ours, theirs):
    expected = library(DDPMScheduler, **theirs).alphas_cumprod
    torch.testing.assert_close(ours.abar, expected, rtol=1e-4, atol=1e-9)


def test_the_cosine_schedule_of_the_paper_is_met_before_its_last_step():
    times = torch.arange(1, 1001, dtype=torch.float64) / 1000
    f = torch.cos((times + 0.008) / 1.008 * torch.pi / 2) ** 2
    f0 = torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2, dtype=torch.float64)) ** 2
    torch.testing.assert_close(
        diffusion.Schedule.cosine().abar[:-1].double(), (f / f0)[:-1], rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("name", ["cosine", "linear", "scaled_linear"])
def test_a_schedule_falls_from_nearly_clean_to_nearly_noise(name):
    schedule = getattr(diffusion.Schedule, name)()
    assert schedule.T == 1000
    assert schedule.abar[0] > 0.998
    assert 0 < schedule.abar[-1] < 0.005
    assert (schedule.abar.diff() < 0).all()


def test_a_schedule_is_read_from_a_scheduler_bit_for_bit_and_does_not_change_with_it():
    scheduler = library(DDIMScheduler, beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True)
    schedule, before = diffusion.Schedule.from_scheduler(scheduler), scheduler.alphas_cumprod.clone()
    scheduler.alphas_cumprod.zero_()
    assert torch.equal(schedule.abar, before)


def test_betas_given_as_abar_are_refused():
    with pytest.raises(ValueError, match="is it betas"):
        diffusion.Schedule(torch.linspace(1e-4, 0.02, 10))


def test_an_abar_of_integers_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"int64 of shape \(2, 2\)"):
        diffusion.Schedule(torch.ones(2, 2, dtype=torch.int64))


@pytest.mark.parametrize("t", [torch.tensor([1000]), torch.tensor([-1]), torch.tensor([0.5])])
def test_a_step_outside_the_schedule_is_answered_with_its_range(t):
    with pytest.raises(ValueError, match=r"from 0 \(clean\) to 999 \(noisy\)"):
        diffusion.Schedule.cosine().at(t)


# --- the path -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
def test_adding_noise_agrees_with_diffusers(kind):
    scheduler = library(kind)
    x0, noise = torch.randn(2, len(STEPS), 3, 4, 4, generator=torch.Generator().manual_seed(1))
    abar = diffusion.Schedule.from_scheduler(scheduler).at(STEPS)
    torch.testing.assert_close(diffusion.add_noise(x0, noise, abar), scheduler.add_noise(x0, noise, STEPS))


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
def test_velocity_agrees_with_diffusers(kind):
    scheduler = library(kind)
    x0, noise = torch.randn(2, len(STEPS), 3, 4, 4, generator=torch.Generator().manual_seed(2))
    abar = diffusion.Schedule.from_scheduler(scheduler).at(STEPS)
    torch.testing.assert_close(diffusion.velocity(x0, noise, abar), scheduler.get_velocity(x0, noise, STEPS))


def test_a_clean_step_is_the_picture_and_the_last_is_the_noise(pair):
    x0, noise, abar = pair
    assert torch.equal(diffusion.add_noise(x0, noise, torch.ones_like(abar)), x0)
    assert torch.equal(diffusion.add_noise(x0, noise, torch.zeros_like(abar)), noise)


def test_mixing_two_things_of_spread_one_keeps_the_spread(pair):
    x0, noise = torch.randn(2, 1, 1, 300, 300, generator=torch.Generator().manual_seed(3))
    for abar in pair[2].float():
        assert diffusion.add_noise(x0, noise, abar).std() == pytest.approx(1, abs=0.02)


def test_noised_carries_the_picture_the_step_and_the_noise_it_mixed():
    schedule, x0 = diffusion.Schedule.cosine(), torch.rand(len(STEPS), 3, 4, 4)
    noisy = diffusion.noised(x0, schedule, STEPS, torch.Generator().manual_seed(0))
    assert noisy.x0 is x0 and noisy.t is STEPS
    assert torch.equal(noisy.x_t, diffusion.add_noise(x0, noisy.noise, schedule.abar[STEPS]))


def test_noised_repeats_with_its_generator_and_draws_afresh_without():
    schedule, x0 = diffusion.Schedule.cosine(), torch.zeros(len(STEPS), 3, 4, 4)
    generator = torch.Generator().manual_seed(5)
    first, second = (diffusion.noised(x0, schedule, STEPS, generator).noise for _ in range(2))
    again = diffusion.noised(x0, schedule, STEPS, torch.Generator().manual_seed(5)).noise
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_half_precision_picture_stays_so_but_is_mixed_in_float32():
    schedule, x0 = diffusion.Schedule.cosine(), torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16)
    noisy = diffusion.noised(x0, schedule, torch.tensor([0]), torch.Generator().manual_seed(0))
    assert noisy.x_t.dtype == torch.bfloat16
    assert noisy.x_t.float().std() > 0  # in bfloat16, ᾱ at t = 0 would round to 1 and the noise would vanish


# --- the algebra --------------------------------------------------------------------------------------------

ROUND_TRIPS = {
    "x0 from the noise": lambda x0, noise, x_t, v, abar: diffusion.predict_x0(x_t, noise, abar) - x0,
    "noise from x0": lambda x0, noise, x_t, v, abar: diffusion.predict_noise(x_t, x0, abar) - noise,
    "x0 from v": lambda x0, noise, x_t, v, abar: diffusion.x0_from_velocity(x_t, v, abar) - x0,
    "noise from v": lambda x0, noise, x_t, v, abar: diffusion.noise_from_velocity(x_t, v, abar) - noise,
}


@pytest.mark.parametrize("residual", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_every_round_trip_comes_home(residual, pair):
    x0, noise, abar = pair
    x_t, v = diffusion.add_noise(x0, noise, abar), diffusion.velocity(x0, noise, abar)
    assert residual(x0, noise, x_t, v, abar).abs().max() <= 1e-9


def test_velocity_is_the_noise_at_the_clean_end_and_minus_the_picture_at_the_noisy_end(pair):
    x0, noise, abar = pair
    assert torch.equal(diffusion.velocity(x0, noise, torch.ones_like(abar)), noise)
    assert torch.equal(diffusion.velocity(x0, noise, torch.zeros_like(abar)), -x0)


def test_velocity_is_the_tangent_of_the_path(pair):
    x0, noise, _ = pair
    phi = torch.linspace(0.1, 1.4, len(x0), dtype=torch.float64)

    def path(angle):
        return diffusion.add_noise(x0, noise, angle.cos() ** 2)

    tangent = (path(phi + 1e-6) - path(phi - 1e-6)) / 2e-6
    torch.testing.assert_close(diffusion.velocity(x0, noise, phi.cos() ** 2), tangent, rtol=0, atol=1e-8)


def test_velocity_keeps_both_ends_finite(pair):
    x0, noise, _ = pair
    abar = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    x_t, v = diffusion.add_noise(x0, noise, abar), diffusion.velocity(x0, noise, abar)
    assert torch.equal(diffusion.x0_from_velocity(x_t, v, abar), x0)
    assert torch.equal(diffusion.noise_from_velocity(x_t, v, abar), noise)


def test_the_squares_of_the_rates_sum_to_one(pair):
    signal, spread = diffusion.rates(pair[2])
    assert signal.shape == (5, 1, 1, 1)
    torch.testing.assert_close(signal**2 + spread**2, torch.ones(5, 1, 1, 1, dtype=torch.float64))


def test_snr_is_one_halfway_and_runs_from_infinity_to_zero():
    assert diffusion.snr(torch.tensor([1.0, 0.5, 0.0])).tolist() == [float("inf"), 1, 0]


def test_snr_agrees_with_diffusers():
    from diffusers.training_utils import compute_snr

    scheduler = library(DDPMScheduler)
    abar = diffusion.Schedule.from_scheduler(scheduler).at(STEPS)
    torch.testing.assert_close(diffusion.snr(abar), compute_snr(scheduler, STEPS), rtol=1e-4, atol=0)


def test_guidance_of_one_is_the_conditional_prediction(pair):
    uncond, cond, _ = pair
    torch.testing.assert_close(diffusion.guide(uncond, cond, 1), cond)
    assert torch.equal(diffusion.guide(uncond, cond, 0), uncond)


def test_guidance_of_two_goes_as_far_again(pair):
    uncond, cond, _ = pair
    torch.testing.assert_close(diffusion.guide(uncond, cond, 2) - cond, cond - uncond)


# --- what came before ---------------------------------------------------------------------------------------


def test_the_posterior_is_the_step_of_ddpm_in_diffusers(pair):
    x0, noise, _ = pair
    scheduler = library(DDPMScheduler, beta_schedule="linear", clip_sample=False)
    x_t, abar = diffusion.add_noise(x0, noise, torch.full((5,), 0.3).double()), scheduler.alphas_cumprod.double()
    for t in (1, 400, 999):
        mean, variance = diffusion.posterior(x_t, x0, abar[t].expand(5), abar[t - 1].expand(5))
        ours = diffusion.predict_noise(x_t, x0, abar[t].expand(5))
        theirs = scheduler.step(ours, t, x_t, generator=torch.Generator().manual_seed(0)).prev_sample
        drawn = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(mean + variance.sqrt() * drawn, theirs, atol=1e-3, rtol=0)  # theirs is float32


def test_the_best_guess_is_the_mean_in_noise_and_the_picture_itself_when_clean(pair):
    x0, noise, _ = pair
    asked = lambda x_t, abar: diffusion.best_guess(x_t, x0, torch.full((5,), abar).double())  # noqa: E731
    torch.testing.assert_close(asked(noise, 0.0), x0.mean(0, keepdim=True).expand_as(x0))
    torch.testing.assert_close(asked(x0, 1 - 1e-6), x0)


def test_no_other_guess_has_a_smaller_error_than_the_best():
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(6, 2, 1, 1, generator=generator, dtype=torch.float64)
    x0 = data[torch.randint(6, (20_000,), generator=generator)]
    abar = torch.full((len(x0),), 0.5).double()
    x_t = diffusion.add_noise(x0, torch.randn(x0.shape, generator=generator, dtype=torch.float64), abar)
    error = lambda guess: (guess - x0).square().mean()  # noqa: E731
    best = diffusion.best_guess(x_t, data, abar)
    others = (x0.mean(0), x_t, 1.05 * best, best + 0.05, data[torch.cdist(x_t[..., 0, 0], data[..., 0, 0]).argmin(1)])
    assert all(error(best) < error(other) for other in others)
