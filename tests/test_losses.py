"""The losses room: equal to torch and diffusers, zero where they should be, and honest about padding."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.distributions import Normal, kl_divergence

from aigc_course import diffusion, losses

ABAR = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.001], dtype=torch.float64)


@pytest.fixture
def two():
    return torch.randn(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(0))


# --- diffusion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [losses.noise_prediction, losses.velocity_prediction])
def test_an_unweighted_prediction_loss_is_torchs_mean_square(loss, two):
    torch.testing.assert_close(loss(*two), F.mse_loss(*two))


@pytest.mark.parametrize("loss", [losses.noise_prediction, losses.velocity_prediction])
def test_weights_count_pictures_not_pixels(loss, two):
    weight = torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0])
    expected = 2 * F.mse_loss(two[0, 2], two[1, 2]) / 5
    torch.testing.assert_close(loss(*two, weight), expected)


def test_noise_and_velocity_weights_grade_the_same_error_alike():
    """An error of 1 in x0 is √SNR as noise, √(SNR+1) as velocity; weighted, each must cost min(SNR, γ)."""
    snr = diffusion.snr(ABAR)
    noise, velocity = (losses.min_snr_weight(ABAR, 5.0, kind) for kind in ("noise", "velocity"))
    torch.testing.assert_close(noise * snr, snr.clamp(max=5))
    torch.testing.assert_close(velocity * (snr + 1), snr.clamp(max=5))


def test_that_error_really_grows_by_these_factors():
    """The premise of the test above, taken from the algebra and not from the formula."""
    x0 = torch.zeros(5, 1, 1, 1, dtype=torch.float64)
    x_t, wrong = torch.zeros_like(x0), x0 + 1
    noise = diffusion.predict_noise(x_t, wrong, ABAR) - diffusion.predict_noise(x_t, x0, ABAR)
    torch.testing.assert_close(noise.square().flatten(), diffusion.snr(ABAR))
    _, spread = diffusion.rates(ABAR)
    velocity = -wrong / spread  # x0 = √ᾱ x_t - √(1-ᾱ) v solved for v, at x_t = 0
    torch.testing.assert_close(diffusion.x0_from_velocity(x_t, velocity, ABAR), wrong)
    torch.testing.assert_close(velocity.square().flatten(), diffusion.snr(ABAR) + 1)


@pytest.mark.parametrize(("kind", "ends"), [("noise", [0, 1]), ("velocity", [0, 0])])
def test_min_snr_weights_stay_finite_at_both_ends(kind, ends):
    weights = losses.min_snr_weight(torch.tensor([1.0, 0.0]), 5.0, kind)
    assert weights.tolist() == ends


def test_noisy_steps_keep_the_whole_noise_loss():
    noisy = ABAR[diffusion.snr(ABAR) <= 5]
    assert losses.min_snr_weight(noisy, 5.0, "noise").tolist() == [1, 1, 1]


def test_an_unknown_prediction_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="'noise' or 'velocity'"):
        losses.min_snr_weight(ABAR, prediction="epsilon")
    with pytest.raises(ValueError, match="'noise', 'velocity'"):
        losses.denoising(None, torch.zeros(1), None, None, None, prediction="epsilon")


class Oracle:
    """A model that knows the clean latents, and so can answer with the exact noise or velocity."""

    def __init__(self, z, schedule, prediction, error=0.0):
        self.z, self.schedule, self.prediction, self.error = z, schedule, prediction, error

    def __call__(self, x_t, t, encoder_hidden_states):
        self.t, self.text, abar = t, encoder_hidden_states, self.schedule.at(t)
        noise = diffusion.predict_noise(x_t, self.z, abar)
        answer = noise if self.prediction == "noise" else diffusion.velocity(self.z, noise, abar)
        return SimpleNamespace(sample=answer + self.error)


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    z, text = torch.randn(64, 4, 2, 2, generator=generator), torch.randn(64, 7, 8, generator=generator)
    return z, text, diffusion.Schedule.scaled_linear(), generator


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_denoising_costs_nothing_for_a_model_that_knows_the_answer(prediction, task):
    z, text, schedule, generator = task
    oracle = Oracle(z, schedule, prediction)
    assert losses.denoising(oracle, z, text, schedule, generator, prediction) < 1e-8
    assert oracle.text is text


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_denoising_weighs_a_constant_error_by_min_snr(prediction, task):
    z, text, schedule, generator = task
    oracle = Oracle(z, schedule, prediction, error=1.0)
    loss = losses.denoising(oracle, z, text, schedule, generator, prediction)
    torch.testing.assert_close(loss, losses.min_snr_weight(schedule.at(oracle.t), 5.0, prediction).mean())


def test_denoising_without_gamma_is_not_weighted(task):
    z, text, schedule, generator = task
    loss = losses.denoising(
        Oracle(z, schedule, "noise", error=2.0), z, text, schedule, generator, "noise", gamma=None
    )
    torch.testing.assert_close(loss, torch.tensor(4.0))


def test_denoising_counts_each_place_as_much_as_focus_says(task):
    z, text, schedule, generator = task
    error = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    focus = torch.tensor([[2.0, 0.0], [1.0, 1.0]]).expand(len(z), 1, 2, 2)
    oracle = Oracle(z, schedule, "noise", error=error)
    loss = losses.denoising(oracle, z, text, schedule, generator, "noise", gamma=None, focus=focus)
    torch.testing.assert_close(loss, torch.tensor((2 * 1 + 0 * 4 + 9 + 16) / 4))


def test_denoising_visits_the_whole_schedule_and_repeats_with_its_generator(task):
    z, text, schedule, _ = task
    oracle = Oracle(z, schedule, "noise")
    losses.denoising(oracle, z, text, schedule, torch.Generator().manual_seed(3), "noise")
    first = oracle.t
    losses.denoising(oracle, z, text, schedule, torch.Generator().manual_seed(3), "noise")
    assert torch.equal(first, oracle.t)
    assert first.min() < 100 and first.max() > 900


def test_denoising_draws_late_steps_in_proportion_to_their_number():
    z, text, schedule = torch.randn(2000, 1, 2, 2), torch.randn(2000, 1, 8), diffusion.Schedule.scaled_linear()
    oracle = Oracle(z, schedule, "noise")
    losses.denoising(oracle, z, text, schedule, torch.Generator().manual_seed(3), "noise", late=2)
    share = (oracle.t >= schedule.T / 2).double().mean().item()
    assert share == pytest.approx(0.75, abs=0.03)  # the integral of 2t over [1/2, 1], three standard errors


def test_a_draw_that_a_gpu_rounds_up_to_one_takes_the_last_step(task, monkeypatch):
    z, text, schedule, generator = task
    oracle = Oracle(z, schedule, "noise")
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count))
    losses.denoising(oracle, z, text, schedule, generator, "noise", late=1.5)
    assert (oracle.t == schedule.T - 1).all()


@pytest.mark.parametrize("late", [0, -1])
def test_denoising_answers_a_senseless_law_of_steps(late, task):
    z, text, schedule, _ = task
    with pytest.raises(ValueError, match="1 draws every step alike"):
        losses.denoising(Oracle(z, schedule, "noise"), z, text, schedule, torch.Generator(), late=late)


def test_denoising_agrees_with_the_training_step_of_diffusers(task):
    z, text, _, _ = task
    scheduler = DDPMScheduler(prediction_type="v_prediction")
    schedule = diffusion.Schedule.from_scheduler(scheduler)
    mine = losses.denoising(
        lambda x_t, t, encoder_hidden_states: SimpleNamespace(sample=x_t.tanh()),
        z, text, schedule, torch.Generator().manual_seed(1), gamma=None,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    t = (1000 * torch.rand(len(z), generator=generator)).long()
    noise = torch.randn(z.shape, generator=generator)
    answer = scheduler.add_noise(z, noise, t).tanh()
    torch.testing.assert_close(mine, F.mse_loss(answer, scheduler.get_velocity(z, noise, t)))


# --- pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "torchs"), [("l1", F.l1_loss), ("l2", F.mse_loss)])
def test_reconstruction_is_torchs(kind, torchs, two):
    torch.testing.assert_close(losses.reconstruction(*two, kind), torchs(*two))


def test_an_unknown_reconstruction_is_answered_with_the_choices(two):
    with pytest.raises(ValueError, match="'l1' or 'l2'"):
        losses.reconstruction(*two, kind="L3")


def test_edges_agree_with_a_convolution(two):
    error = (two[1] - two[0]).reshape(-1, 1, 4, 6)
    across = F.conv2d(error, torch.tensor([[[[-1.0, 1.0]]]]))
    down = F.conv2d(error, torch.tensor([[[[-1.0], [1.0]]]]))
    torch.testing.assert_close(losses.edges(*two), across.abs().mean() + down.abs().mean())


def test_edges_do_not_see_brightness_but_see_blur():
    line = torch.zeros(1, 1, 8, 8)
    line[..., 4] = 1
    blurred = F.avg_pool2d(line, 3, stride=1, padding=1)
    assert losses.edges(line, line + 0.5) == 0
    assert losses.edges(line, blurred) > losses.reconstruction(line, blurred)


def test_gaussian_kl_is_torchs_summed_over_a_picture_and_averaged_over_pictures(two):
    mean, logvar = two.double()
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(torch.zeros_like(mean), 1.0))
    torch.testing.assert_close(losses.gaussian_kl(mean, logvar), expected.sum((1, 2, 3)).mean())


def test_gaussian_kl_is_the_autoencoders_of_diffusers(two):
    theirs = DiagonalGaussianDistribution(torch.cat(list(two), dim=1)).kl().mean()
    torch.testing.assert_close(losses.gaussian_kl(*two), theirs)


def test_gaussian_kl_is_zero_only_for_the_standard_normal():
    zero = torch.zeros(2, 4)
    assert losses.gaussian_kl(zero, zero) == 0
    assert losses.gaussian_kl(zero + 0.1, zero) > 0
    assert losses.gaussian_kl(zero, zero - 0.1) > 0


# --- pictures and words -------------------------------------------------------------------------------------


@pytest.fixture
def matched():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 5, generator=generator)


def test_the_contrastive_loss_is_cross_entropy_over_rows_and_columns(matched):
    logits = 7 * F.cosine_similarity(matched[0][:, None], matched[1][None], dim=2)
    own = torch.arange(6)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(losses.contrastive(*matched, 7.0), expected)


def test_pairs_that_fit_anyway_are_left_out(matched):
    assert losses.contrastive(*matched, 3.0, torch.ones(6, 6, dtype=torch.bool)) == 0
    same = torch.zeros(6, 6, dtype=torch.bool)
    same[0, 1] = True
    logits = 3 * F.normalize(matched[0], dim=1) @ F.normalize(matched[1], dim=1).T
    logits[0, 1] = -1e9
    own = torch.arange(6)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(losses.contrastive(*matched, 3.0, same), expected)


# --- words --------------------------------------------------------------------------------------------------


@pytest.fixture
def captions():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 11, generator=generator, dtype=torch.float64)
    labels = torch.randint(11, (3, 5), generator=generator)
    labels[0, 2:], labels[2, 4:] = -100, -100
    return logits, labels


def test_cross_entropy_is_torchs_with_padding_masked(captions):
    logits, labels = captions
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    torch.testing.assert_close(losses.cross_entropy(logits, labels), expected)


def test_the_gradient_of_cross_entropy_is_p_minus_y_over_the_real_tokens(captions):
    logits, labels = captions
    real = labels != -100
    losses.cross_entropy(logits.requires_grad_(), labels).backward()
    expected = (logits.softmax(-1) - F.one_hot(labels.clamp(min=0), 11)) / real.sum() * real[..., None]
    torch.testing.assert_close(logits.grad, expected.detach())


def test_more_padding_does_not_change_the_loss(captions):
    logits, labels = captions
    longer = torch.cat([logits, torch.randn(3, 9, 11, dtype=torch.float64)], dim=1)
    padded = F.pad(labels, (0, 9), value=-100)
    torch.testing.assert_close(losses.cross_entropy(longer, padded), losses.cross_entropy(logits, labels))


def test_another_padding_mark_can_be_named(captions):
    logits, labels = captions
    marked = labels.masked_fill(labels == -100, 99)
    torch.testing.assert_close(
        losses.cross_entropy(logits, marked, ignore=99), losses.cross_entropy(logits, labels)
    )


def test_huge_logits_do_not_overflow():
    logits = torch.tensor([[[1e4, 0.0]]])
    assert losses.cross_entropy(logits, torch.tensor([[0]])) == 0
    assert losses.cross_entropy(logits, torch.tensor([[1]])) == 1e4


def test_nothing_but_padding_is_answered_with_a_sentence(captions):
    logits, labels = captions
    with pytest.raises(ValueError, match="every label is -100"):
        losses.cross_entropy(logits, torch.full_like(labels, -100))


def test_the_surprise_at_a_sequence_is_the_sum_over_its_real_tokens(captions):
    logits, labels = captions
    each = losses.surprise(logits, labels)
    assert each.shape == (len(labels),)
    torch.testing.assert_close(each.sum() / (labels != -100).sum(), losses.cross_entropy(logits, labels))
