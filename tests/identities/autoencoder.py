"""The identities behind the autoencoder's and the contrastive loss (notebook 2.2)."""

import numpy as np
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from aigc_course import losses
from identities import draw


def rows():
    """(name, residual) of each identity."""
    return [
        ("KL to N(0, 1), closed form = torch.distributions", kl_of_torch()),
        ("KL to N(0, 1), closed form = quadrature of log q - log p", kl_by_quadrature()),
        ("log p(x) - ELBO = KL(q || posterior), linear autoencoder", elbo_gap()),
        ("InfoNCE: gradient = (rows + columns of p - y) / 2N, chained to the vectors", contrastive_gradient()),
    ]


def kl_of_torch():
    mean, logvar = draw(4, 6), draw(4, 6, seed=1)
    theirs = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    return (losses.gaussian_kl(mean, logvar) - theirs).abs().item()


def kl_by_quadrature():
    """Gauss-Hermite nodes integrate the quadratic log q - log p exactly."""
    mean, logvar = draw(1, 1), draw(1, 1, seed=1)
    nodes, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(8))
    q, z = Normal(mean, (logvar / 2).exp()), mean + (logvar / 2).exp() * nodes  # z: (1, 8)
    integral = (weights / weights.sum() * (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z))).sum()
    return (losses.gaussian_kl(mean, logvar) - integral).abs().item()


def elbo_gap(d=5, k=2, sigma=0.7):
    """x = W z + σ ε has a known log p(x) and posterior; q is any other diagonal Gaussian."""
    w, x, mean, logvar = draw(d, k), draw(d, seed=1), draw(k, seed=2), draw(k, seed=3)
    eye, variance = torch.eye(k, dtype=torch.float64), logvar.exp()
    evidence = MultivariateNormal(torch.zeros(d).double(), w @ w.T + sigma**2 * torch.eye(d).double()).log_prob(x)
    fit = Normal(w @ mean, sigma).log_prob(x).sum() - (w.square() @ variance).sum() / (2 * sigma**2)
    elbo = fit - losses.gaussian_kl(mean[None], logvar[None])
    precision = eye + w.T @ w / sigma**2
    posterior = MultivariateNormal(torch.linalg.solve(precision, w.T @ x) / sigma**2, precision_matrix=precision)
    gap = kl_divergence(MultivariateNormal(mean, torch.diag(variance)), posterior)
    return (evidence - elbo - gap).abs().item()


def contrastive_gradient(n=6, d=4, scale=5.0):
    pictures, words = draw(n, d).requires_grad_(), draw(n, d, seed=1)
    (found,) = torch.autograd.grad(losses.contrastive(pictures, words, scale), pictures)
    x, length = pictures.detach(), pictures.detach().norm(dim=1, keepdim=True)
    u, v = x / length, words / words.norm(dim=1, keepdim=True)
    logits = scale * u @ v.T
    over_logits = (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(n)) / (2 * n)
    over_u = scale * over_logits @ v
    derived = (over_u - u * (u * over_u).sum(1, keepdim=True)) / length  # a unit vector only turns
    return (found - derived).abs().max().item()
