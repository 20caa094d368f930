"""The identities behind guidance and sampling (notebook 2.4)."""

import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from aigc_course import diffusion
from identities import draw


def rows():
    """(name, residual) of each identity."""
    return [
        ("guided score = gradient of log p(z) p(c | z)^w, by autograd", implicit_classifier()),
        ("guided velocity, as noise and as clean picture = guided noise, guided clean picture", any_guess()),
        ("DDIM step = Euler step of x/√ᾱ over √(1-ᾱ)/√ᾱ", euler()),
        ("DDIM step = Euler step of flow matching, scaled", straight()),
        ("flow matching: E[ε - x | z] = (-z - τ score) / (1-τ), Gaussian mixture, by autograd", speed()),
    ]


def implicit_classifier(abar=0.4, w=3.0):
    """Two classes, each a Gaussian on a line."""
    z, means = draw(40).requires_grad_(), torch.tensor([-1.0, 1.5]).double()
    parts = Normal(abar**0.5 * means, (abar * 0.3**2 + 1 - abar) ** 0.5)
    density = MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7]).double()), parts).log_prob(z)
    own = parts.log_prob(z[:, None])[:, 1]
    given = own + torch.tensor(0.7).double().log() - density  # log p(c | z), by Bayes
    (sharpened,) = torch.autograd.grad((density + w * given).sum(), z, retain_graph=True)
    alone, with_words = (torch.autograd.grad(of.sum(), z, retain_graph=True)[0] for of in (density, own))
    return (diffusion.guide(alone, with_words, w) - sharpened).abs().max().item()


def any_guess(w=4.0):
    x_t, nothing, words = draw(3, 9, 2, 3, 3)
    abar = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    guided = diffusion.guide(nothing, words, w)
    return max(
        (turn(x_t, guided, abar) - diffusion.guide(turn(x_t, nothing, abar), turn(x_t, words, abar), w)).abs().max()
        for turn in (diffusion.noise_from_velocity, diffusion.x0_from_velocity)
    ).item()


def _step():
    """x_t and its guess, and where a DDIM step leads: to x_s."""
    x_t, noise = draw(2, 9, 2, 3, 3)
    now = torch.linspace(0.05, 0.8, 9, dtype=torch.float64)
    x0, after = diffusion.predict_x0(x_t, noise, now), now + 0.15
    return x_t, noise, x0, diffusion.add_noise(x0, noise, after), diffusion.rates(now), diffusion.rates(after)


def euler():
    x_t, noise, _, x_s, (signal, spread), (later, less) = _step()
    return (x_s / later - x_t / signal - (less / later - spread / signal) * noise).abs().max().item()


def straight():
    x_t, noise, x0, x_s, (signal, spread), (later, less) = _step()
    tau, sooner = spread / (signal + spread), less / (later + less)
    return (x_s / (later + less) - x_t / (signal + spread) - (sooner - tau) * (noise - x0)).abs().max().item()


def speed(tau=0.35):
    means, width, z = torch.tensor([-2.0, 0.5, 1.5]).double(), 0.3, draw(40).requires_grad_()
    spread = (((1 - tau) * width) ** 2 + tau**2) ** 0.5
    parts = Normal((1 - tau) * means, spread)
    density = MixtureSameFamily(Categorical(torch.ones(3).double()), parts)
    (score,) = torch.autograd.grad(density.log_prob(z).sum(), z)
    chance = parts.log_prob(z[:, None]).softmax(1)  # which part z came from
    off = (z[:, None] - (1 - tau) * means) / spread**2
    noise, clean = tau * off, means + (1 - tau) * width**2 * off  # both expected, given z and the part
    return ((chance * (noise - clean)).sum(1) - (-z - tau * score) / (1 - tau)).abs().max().item()
