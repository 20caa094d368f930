"""The identities behind the diffusion loss (notebook 2.3)."""

import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from aigc_course import diffusion
from identities import draw

ABAR = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)  # Ho et al. 2020, section 4
BEFORE, AT = ABAR[:-1], ABAR[1:]  # ᾱ at t - 1 and at t, for 999 steps
ALPHA, BETA = AT / BEFORE, 1 - AT / BEFORE


def relative(found, wanted):
    return ((found - wanted).abs() / wanted.abs()).max().item()


def rows():
    """(name, residual) of each identity."""
    return [
        ("q(x_t | x0) by 1,000 single steps = in one jump", many_steps()),
        ("q(x_{t-1} | x_t, x0) = product of two Gaussians, all 999 t", product_of_gaussians()),
        ("log q(x_1..x_T | x0) forwards = backwards, sampled paths", telescope()),
        ("KL of two Gaussians, closed form = torch.distributions", kl()),
        ("L_{t-1} = β² / (2 σ² α (1-ᾱ)) |ε - ε̂|², all 999 t", noise_form()),
        ("L_{t-1} = (SNR(t-1) - SNR(t)) / 2 |x0 - x̂0|², all 999 t", snr_form()),
        ("|v - v̂|² = (SNR + 1) |x0 - x̂0|²; |ε - ε̂|² = SNR |x0 - x̂0|²", velocity_form()),
        ("x0 = √ᾱ x_t - √(1-ᾱ) v, and ε = √(1-ᾱ) x_t + √ᾱ v", from_velocity()),
        ("bound - entropy of Gaussian data = KL of whole paths, 8 steps", bound_gap()),
        ("score = -E[ε | x_t] / √(1-ᾱ), Gaussian mixture, by autograd", score()),
        ("the best guess turns the score of finite data into E[x0 | x_t]", score_of_data()),
    ]


def many_steps():
    mean, variance = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for beta in torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64):
        mean, variance = (1 - beta).sqrt() * mean, (1 - beta) * variance + beta
    return max((mean - ABAR[-1].sqrt()).abs().item(), (variance - (1 - ABAR[-1])).abs().item())


def product_of_gaussians():
    """q(x_t | x_{t-1}) as a function of x_{t-1} times q(x_{t-1} | x0): precisions add, means are weighed by them."""
    x0, x_t = draw(999, 1, 1, 1), draw(999, 1, 1, 1, seed=1)
    mean, variance = (each.flatten() for each in diffusion.posterior(x_t, x0, AT, BEFORE))
    precision = ALPHA / BETA + 1 / (1 - BEFORE)
    product = (ALPHA.sqrt() / BETA * x_t.flatten() + BEFORE.sqrt() / (1 - BEFORE) * x0.flatten()) / precision
    return max((mean - product).abs().max().item(), (variance - 1 / precision).abs().max().item())


def telescope(T=1000):
    x, forwards, path = draw(1, seed=2), 0.0, []
    x0, betas = x, torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    for t, beta in enumerate(betas):
        step = Normal((1 - beta).sqrt() * x, beta.sqrt())
        x = step.mean + step.stddev * draw(1, seed=10 + t)
        forwards = forwards + step.log_prob(x)
        path.append(x)
    later, earlier = torch.stack(path[1:]).view(-1, 1, 1, 1), torch.stack(path[:-1]).flatten()
    mean, variance = diffusion.posterior(later, x0.expand(T - 1).view(-1, 1, 1, 1), AT, BEFORE)
    backwards = Normal(ABAR[-1].sqrt() * x0, (1 - ABAR[-1]).sqrt()).log_prob(x)
    backwards = backwards + Normal(mean.flatten(), variance.flatten().sqrt()).log_prob(earlier).sum()
    return ((forwards - backwards).abs() / forwards.abs()).item()


def kl():
    (m1, m2), (s1, s2) = draw(2, 50), draw(2, 50, seed=1).exp()
    closed = (s2 / s1).log() + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5
    return (closed - kl_divergence(Normal(m1, s1), Normal(m2, s2))).abs().max().item()


def _term():
    """L_{t-1} of a wrong guess, as the distance of two posterior means; with both guesses, of x0 and of the noise."""
    x0, noise, guess = draw(3, 999, 1, 1, 1)
    x_t = diffusion.add_noise(x0, noise, AT)
    said = diffusion.predict_x0(x_t, guess, AT)
    (mean, variance), (other, _) = (diffusion.posterior(x_t, each, AT, BEFORE) for each in (x0, said))
    term = (mean - other).square() / (2 * variance)
    return term.flatten(), (x0 - said).flatten(), (noise - guess).flatten(), variance.flatten()


def noise_form():
    term, _, off, variance = _term()
    return relative(BETA.square() / (2 * variance * ALPHA * (1 - AT)) * off.square(), term)


def snr_form():
    term, off, _, _ = _term()
    return relative((diffusion.snr(BEFORE) - diffusion.snr(AT)) / 2 * off.square(), term)


def from_velocity():
    x0, noise = draw(2, 999, 1, 1, 1)
    x_t, v = diffusion.add_noise(x0, noise, AT), diffusion.velocity(x0, noise, AT)
    ends = diffusion.x0_from_velocity(x_t, v, AT) - x0, diffusion.noise_from_velocity(x_t, v, AT) - noise
    return max(off.abs().max().item() for off in ends)


def bound_gap(T=8, s=2.0):
    """Equation (14) of 2.3 against the joint Gaussians of x_0 … x_T, of the data and of the best model."""
    snr = torch.linspace(4, -4, T, dtype=torch.float64).exp()
    abar, left = snr / (1 + snr), 1 / (snr + s**-2)  # left: Var(x0 | x_t)
    end = (abar[-1] * s**2 - abar[-1] - (1 - abar[-1]).log()) / 2
    told = end + ((snr[:-1] - snr[1:]) / 2 * left[1:]).sum() + (left[0] / s**2).log() / 2
    steps = torch.cat([abar[:1], abar[1:] / abar[:-1]])
    there, back = torch.zeros(2, T + 1, T + 1, dtype=torch.float64)  # each row: x_t as a mixture of T + 1 fresh noises
    there[0, 0], back[T, T] = s, 1
    for t in range(1, T + 1):
        there[t] = steps[t - 1].sqrt() * there[t - 1]
        there[t, t] = (1 - steps[t - 1]).sqrt()
    for t in range(T, 0, -1):
        guess = abar[t - 1].sqrt() * left[t - 1] / (1 - abar[t - 1])  # E[x0 | x_t = 1]
        mean, variance = guess, left[0]
        if t > 1:
            ends = torch.ones(1, 1, 1, 1, dtype=torch.float64), guess.view(1, 1, 1, 1)
            mean, variance = (e.squeeze() for e in diffusion.posterior(*ends, abar[[t - 1]], abar[[t - 2]]))
        back[t - 1] = mean * back[t]
        back[t - 1, t - 1] = variance.sqrt()
    nothing = torch.zeros(T + 1, dtype=torch.float64)
    q, p = (MultivariateNormal(nothing, covariance_matrix=rows @ rows.T) for rows in (there, back))
    return (kl_divergence(q, p) - told).abs().item()


def velocity_form():
    x0, noise, x_hat = draw(3, 999, 1, 1, 1)
    x_t, ratio = diffusion.add_noise(x0, noise, AT), diffusion.snr(AT).view(-1, 1, 1, 1)
    noise_hat, off = diffusion.predict_noise(x_t, x_hat, AT), (x0 - x_hat).square()
    v_off = diffusion.velocity(x0, noise, AT) - diffusion.velocity(x_hat, noise_hat, AT)
    return max(relative(v_off.square(), (ratio + 1) * off), relative((noise - noise_hat).square(), ratio * off))


def score(abar=0.4):
    means, width = torch.tensor([-2.0, 0.5, 1.5]).double(), 0.3
    x = draw(40).requires_grad_()
    spread = (abar * width**2 + 1 - abar) ** 0.5
    parts = Normal(abar**0.5 * means, spread)
    density = MixtureSameFamily(Categorical(torch.ones(3).double()), parts)
    (found,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    chance = parts.log_prob(x[:, None]).softmax(1)  # which part x came from
    noise = (1 - abar) ** 0.5 * (x[:, None] - abar**0.5 * means) / spread**2  # E[ε | x, part]
    return (found + (chance * noise).sum(1) / (1 - abar) ** 0.5).abs().max().item()


def score_of_data(abar=0.4):
    data, x = draw(7, 2, 1, 1), draw(9, 2, 1, 1, seed=1).requires_grad_()
    squares = torch.cdist(x.flatten(1), abar**0.5 * data.flatten(1)).square()
    (found,) = torch.autograd.grad((-squares / (2 * (1 - abar))).logsumexp(1).sum(), x)
    guess = diffusion.best_guess(x, data, torch.full((9,), abar, dtype=torch.float64))
    noise = diffusion.predict_noise(x, guess, torch.full((9,), abar, dtype=torch.float64))
    return (found + noise / (1 - abar) ** 0.5).abs().max().item()
