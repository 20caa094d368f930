"""Each training objective as a pure function.

Every loss gives one number, averaged over the batch; all but the KL are averaged over the picture too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aigc_course import diffusion

# --- diffusion ----------------------------------------------------------------------------------------------


def noise_prediction(prediction: Tensor, noise: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the guessed noise is from the noise that was added.  Ho et al. 2020, eq. 14.

    prediction, noise: (B, C, H, W);  weight: (B,), one for each picture, or None for all ones.
    """
    return _weighted_square(prediction - noise, weight)


def velocity_prediction(prediction: Tensor, velocity: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the guessed velocity is from `diffusion.velocity`.  Salimans & Ho 2022, section 4.

    prediction, velocity: (B, C, H, W);  weight: (B,), one for each picture, or None for all ones.
    """
    return _weighted_square(prediction - velocity, weight)


def _weighted_square(error: Tensor, weight: Tensor | None) -> Tensor:
    each = error.float().square().flatten(1).mean(1)  # (B,)
    return (each if weight is None else weight * each).mean()


def min_snr_weight(abar: Tensor, gamma: float = 5.0, prediction: str = "velocity") -> Tensor:
    """Stop the nearly clean steps from drowning the rest: weigh an error in x₀ by min(SNR, γ), no more.

    Hang et al. 2023.  Squared, an error in x₀ is SNR times larger as noise and SNR + 1 times as velocity, so
    the weight is min(SNR, γ) / SNR for noise and min(SNR, γ) / (SNR + 1) for velocity.  abar: (B,) -> (B,).
    """
    clipped = diffusion.snr(abar).clamp(max=gamma)
    if prediction == "velocity":
        return clipped * (1 - abar)  # 1 / (SNR + 1) = 1 - ᾱ, which is finite even for a clean picture
    if prediction == "noise":
        return (gamma / diffusion.snr(abar)).clamp(max=1)  # the same fraction, without 0/0 at pure noise
    raise ValueError(f"the model predicts {prediction!r}? use 'noise' or 'velocity': each has its own weight")


def denoising(
    model: Callable,
    z: Tensor,
    text: Tensor,
    schedule: diffusion.Schedule,
    generator: torch.Generator,
    prediction: str = "velocity",
    gamma: float | None = 5.0,
    focus: Tensor | None = None,
    late: float = 1.0,
) -> Tensor:
    """The whole objective of a text-to-picture model: noise latents to random steps, ask, compare.

    Ho et al. 2020, algorithm 1, weighted as in `min_snr_weight` (gamma None: not weighted).
    z: (B, C, h, w) clean latents;  text: (B, L, D) states of the text encoder;  the answer is `.sample`;
    focus: (B, 1 or C, h, w), how much each place, or each of its channels, counts, or None for all alike;
    late: how steps are drawn, see `diffusion.random_steps`.
    """
    if prediction not in TARGETS:
        raise ValueError(f"the model predicts {prediction!r}? use one of {', '.join(map(repr, TARGETS))}")
    t = diffusion.random_steps(schedule, len(z), generator, late).to(z.device)
    noisy, abar = diffusion.noised(z, schedule, t, generator), schedule.at(t)
    guess = model(noisy.x_t, t, encoder_hidden_states=text).sample
    weight = None if gamma is None else min_snr_weight(abar, gamma, prediction)
    error = guess - TARGETS[prediction](noisy, abar)
    return _weighted_square(error if focus is None else error * focus.sqrt(), weight)


def prior_preservation(model: Callable, own: dict, prior: dict, weight: float = 1.0, **how: Any) -> Tensor:
    """Learn your own pictures, and stay what you were on those that you made yourself.  Ruiz et al. 2023, eq. 2.

    Two `denoising` losses, the second times `weight` (λ).  own, prior: what each is given, {"z": …, "text": …}, where
    prior's latents were drawn by the model before the lesson;  how: what both are given, such as the schedule.
    """
    if weight < 0:
        raise ValueError(f"weight={weight} would reward forgetting: choose 0 (no prior) or more")
    return denoising(model, **own, **how) + weight * denoising(model, **prior, **how)


TARGETS = {
    "noise": lambda noisy, abar: noisy.noise,
    "velocity": lambda noisy, abar: diffusion.velocity(noisy.x0, noisy.noise, abar),
}

# --- pictures -----------------------------------------------------------------------------------------------


def reconstruction(x: Tensor, x_hat: Tensor, kind: str = "l1") -> Tensor:
    """How far a copy is from its picture: "l1" forgives few large errors, "l2" blurs to avoid them."""
    error = x_hat - x
    if kind == "l1":
        return error.abs().mean()
    if kind == "l2":
        return error.square().mean()
    raise ValueError(f"there is no reconstruction loss of kind {kind!r}; use 'l1' or 'l2'")


def edges(x: Tensor, x_hat: Tensor) -> Tensor:
    """How far the copy's edges are from the picture's, in differences between neighbouring pixels.

    A blurred line costs little in `reconstruction` and much here.  After the gradient difference loss of
    Mathieu et al. 2016, with the signs of the differences kept.
    """
    error = x_hat - x  # differences are linear: the difference of edges is the edge of the difference
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def gaussian_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Nats by which N(mean, e^logvar) differs from N(0, 1): the sum over a picture, the mean over pictures.

    Kingma & Welling 2014, appendix B.  mean, logvar: (B, ...).
    """
    each = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return each.flatten(1).sum(1).mean()


# --- what is shown, and how it is painted -------------------------------------------------------------------


def content(maps: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """How far what is shown has moved: the mean squared difference of feature maps, place by place.

    Gatys et al. 2016, eq. 1, as a mean.  maps, wanted: (B, C, h, w) by layer, usually one deep layer;  mean of layers.
    """
    return _matched(maps, wanted)


def style(statistics: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """How far the manner has moved: the same of statistics that have forgotten places.

    Gram matrices (B, C, C) for Gatys et al. 2016, eq. 5; means and spreads (B, 2, C) for Huang & Belongie 2017,
    eq. 13; by layer, several of them.
    """
    return _matched(statistics, wanted)


def _matched(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    if not wanted or not wanted.keys() <= found.keys():
        missing = sorted(wanted.keys() - found.keys()) or "all"
        raise ValueError(f"layers to compare are missing ({missing}); there are: {', '.join(found) or 'none'}")
    return sum((found[name] - target).square().mean() for name, target in wanted.items()) / len(wanted)


def total_variation(pictures: Tensor) -> Tensor:
    """How rough pictures are: the mean squared difference between neighbouring pixels, down plus across.

    Johnson et al. 2016, section 3.2, as a mean.  pictures: (B, C, H, W).
    """
    return pictures.diff(dim=-1).square().mean() + pictures.diff(dim=-2).square().mean()


# --- pictures and words -------------------------------------------------------------------------------------


def contrastive(pictures: Tensor, words: Tensor, scale: Tensor | float, same: Tensor | None = None) -> Tensor:
    """How hard it is to tell which caption belongs to which picture, and which picture to which caption.

    Radford et al. 2021, figure 3: cross-entropy over the rows and over the columns of the cosine similarities, times
    `scale`.  pictures, words: (B, D);  same: bool (B, B), where a picture and a caption fit without belonging
    together: these are left out, as neither is wrong.
    """
    pictures, words = (x / x.norm(dim=1, keepdim=True) for x in (pictures, words))
    logits = scale * pictures @ words.T  # (B, B)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    if same is not None:
        logits = logits.masked_fill(same & ~own, float("-inf"))
    return -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean() / 2


# --- what is not to be forgotten ----------------------------------------------------------------------------


def distillation(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """How far a student's answers are from its teacher's:  T² KL(softmax(teacher / T) ‖ softmax(student / T)).

    Hinton et al. 2015; Li & Hoiem 2017, where the teacher is the model before it learnt the next task.
    A higher T lets the teacher's small doubts count; T² keeps the gradient's size.  student, teacher: logits (B, K).
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: choose a number above 0, such as 2")
    wanted, said = (logits.div(temperature).log_softmax(1) for logits in (teacher.detach(), student))
    return temperature**2 * (wanted.exp() * (wanted - said)).sum(1).mean()


def anchored(weights: dict[str, Tensor], anchors: dict[str, Tensor], importance: dict[str, Tensor]) -> Tensor:
    """How far weights have moved that earlier tasks need:  ½ Σ F (θ - θ*)².  Kirkpatrick et al. 2017, eq. 3.

    weights: θ by name;  anchors: θ* after the earlier tasks;  importance: F, such as the diagonal of Fisher's matrix.
    """
    if not importance or importance.keys() != anchors.keys() or not importance.keys() <= weights.keys():
        raise ValueError("weights, anchors and importance must name the same parameters; take all three from one model")
    return sum((importance[name] * (weights[name] - anchors[name]).square()).sum() for name in importance) / 2


# --- words --------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, labels: Tensor, ignore: int = -100) -> Tensor:
    """Nats of surprise for each real token: the mean of -log p(label); masked places count in neither sum.

    logits: (B, L, V), where position i predicts labels[:, i], already shifted;  labels: (B, L).
    """
    real = labels != ignore
    if not real.any():
        raise ValueError(f"every label is {ignore}: nothing to predict; were real tokens masked as padding?")
    return _nats(logits[real], labels[real]).mean()


def surprise(logits: Tensor, labels: Tensor, ignore: int = -100) -> Tensor:
    """Nats of surprise at each whole sequence: the sum of -log p over its real tokens.  (B, L, V), (B, L) -> (B,)."""
    real = labels != ignore
    each = logits.new_zeros(labels.shape)
    each[real] = _nats(logits[real], labels[real])
    return each.sum(1)


def _nats(scores: Tensor, labels: Tensor) -> Tensor:
    """-log p of each label.  (N, V), (N,) -> (N,)."""
    return scores.logsumexp(1) - scores.gather(1, labels[:, None]).squeeze(1)
