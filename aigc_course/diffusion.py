"""The noising path and the algebra on it.

A picture x0 and noise ε are mixed:  x_t = √ᾱ x₀ + √(1-ᾱ) ε.  With ᾱ, any two of x_t, x₀, ε, v give the rest.
Everywhere, abar has the shape (B,), one value for each picture; pictures and latents are (B, C, H, W).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """How clean a picture still is at each step: ᾱ falls from about 1 at t = 0 to about 0 at t = T - 1.

    abar: (T,), float32 or float64.
    """

    abar: Tensor

    def __post_init__(self):
        if self.abar.ndim != 1 or not self.abar.is_floating_point():
            shape = tuple(self.abar.shape)
            raise ValueError(f"abar is {self.abar.dtype} of shape {shape}; give floats of shape (T,)")
        if self.abar.max() > 1 or self.abar.min() < 0 or (self.abar.diff() > 0).any():
            raise ValueError("abar must fall within [0, 1] as t grows; is it betas, or in reverse order?")

    @classmethod
    def from_betas(cls, betas: Tensor) -> Schedule:
        """From the variance added at each step:  ᾱ_t = Π (1 - β_s).  Ho et al. 2020, eq. 4.  betas: (T,)."""
        return cls((1 - betas.double()).cumprod(0).float())

    @classmethod
    def cosine(cls, T: int = 1000) -> Schedule:
        """Noise comes evenly over the path, not most at its start.  Nichol & Dhariwal 2021, eq. 17."""
        times = torch.arange(T + 1, dtype=torch.float64) / T
        f = torch.cos((times + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls.from_betas((1 - f[1:] / f[:-1]).clamp(max=0.999))

    @classmethod
    def linear(cls, T: int = 1000, start: float = 1e-4, end: float = 0.02) -> Schedule:
        """β grows evenly.  Ho et al. 2020, section 4."""
        return cls.from_betas(torch.linspace(start, end, T, dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, T: int = 1000, start: float = 0.00085, end: float = 0.012) -> Schedule:
        """√β grows evenly: the schedule of Stable Diffusion.  Rombach et al. 2022, in their released code."""
        return cls.from_betas(torch.linspace(start**0.5, end**0.5, T, dtype=torch.float64) ** 2)

    @classmethod
    def from_scheduler(cls, scheduler) -> Schedule:
        """The path of a diffusers scheduler, so that training and sampling walk the same one."""
        return cls(scheduler.alphas_cumprod.detach().cpu().clone())

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.abar)

    def at(self, t: Tensor) -> Tensor:
        """ᾱ at steps t.  t: integers (B,), 0 clean .. T-1 noisy  ->  (B,), on the device of t."""
        if t.is_floating_point() or t.min() < 0 or t.max() >= self.T:
            raise ValueError(f"t must be integers from 0 (clean) to {self.T - 1} (noisy), got {t.tolist()}")
        return self.abar.to(t.device)[t]


def random_steps(schedule: Schedule, count: int, generator: torch.Generator, late: float = 1.0) -> Tensor:
    """Steps to learn from, t = T u^(1/late) with u even in [0, 1): late 1 draws all alike, 2 in proportion to t.

    Large steps are those of much noise.  (count,) whole numbers on the generator's device.
    """
    if late <= 0:
        raise ValueError(f"late={late}: choose a number above 0; 1 draws every step alike")
    even = torch.rand(count, generator=generator, device=generator.device)
    return (schedule.T * even ** (1 / late)).long().clamp(max=schedule.T - 1)  # a GPU may round a power up to 1


@dataclass(frozen=True, eq=False)
class Noised:
    """What travels from the path to a loss: the noisy picture, its step, and the two that were mixed."""

    x_t: Tensor
    t: Tensor
    noise: Tensor
    x0: Tensor


def add_noise(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Jump straight from a clean picture to step t:  x_t = √ᾱ x₀ + √(1-ᾱ) ε.

    Ho et al. 2020, eq. 4.  x0, noise: (B, C, H, W) in [-1, 1];  abar: (B,), 1 is clean, 0 is pure noise.
    """
    abar = abar.view(-1, 1, 1, 1)
    return abar.sqrt() * x0 + (1 - abar).sqrt() * noise


def noised(x0: Tensor, schedule: Schedule, t: Tensor, generator: torch.Generator) -> Noised:
    """Draw fresh noise and jump to steps t.  x0: (B, C, H, W);  t: (B,), 0 clean .. T-1 noisy.

    The noise is drawn where the generator lives, so a CPU generator gives the same noise on every machine.
    """
    noise = torch.randn(x0.shape, generator=generator, device=generator.device).to(x0)
    x_t = add_noise(x0, noise, schedule.at(t.to(x0.device)))
    return Noised(x_t.to(x0.dtype), t, noise, x0)


def predict_x0(x_t: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """The clean picture that this noise implies:  x₀ = (x_t - √(1-ᾱ) ε) / √ᾱ.  Ho et al. 2020, eq. 15.

    Errors in the noise grow by √((1-ᾱ)/ᾱ): near pure noise this is a wild guess, at ᾱ = 0 there is none.
    """
    signal, spread = rates(abar)
    return (x_t - spread * noise) / signal


def predict_noise(x_t: Tensor, x0: Tensor, abar: Tensor) -> Tensor:
    """The noise that this clean picture implies:  ε = (x_t - √ᾱ x₀) / √(1-ᾱ).

    `predict_x0` solved for the noise, with the mirror image of its weakness: at ᾱ = 1 there is no answer.
    """
    signal, spread = rates(abar)
    return (x_t - signal * x0) / spread


def velocity(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """The direction in which the picture turns into noise:  v = √ᾱ ε - √(1-ᾱ) x₀.

    Salimans & Ho 2022, section 4.  With ᾱ = cos² φ it is dx_t/dφ: the path is a circle, v is its tangent.
    """
    signal, spread = rates(abar)
    return signal * noise - spread * x0


def x0_from_velocity(x_t: Tensor, v: Tensor, abar: Tensor) -> Tensor:
    """Turn back to the clean end of the circle:  x₀ = √ᾱ x_t - √(1-ᾱ) v.  No division: safe at every t."""
    signal, spread = rates(abar)
    return signal * x_t - spread * v


def noise_from_velocity(x_t: Tensor, v: Tensor, abar: Tensor) -> Tensor:
    """Turn on to the noisy end of the circle:  ε = √(1-ᾱ) x_t + √ᾱ v.  No division: safe at every t."""
    signal, spread = rates(abar)
    return spread * x_t + signal * v


def rates(abar: Tensor) -> tuple[Tensor, Tensor]:
    """How much picture and how much noise:  √ᾱ and √(1-ᾱ), each (B, 1, 1, 1); their squares sum to 1."""
    abar = abar.view(-1, 1, 1, 1)
    return abar.sqrt(), (1 - abar).sqrt()


def posterior(x_t: Tensor, x0: Tensor, abar: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Where x was one step earlier, if both ends are known: mean (B, C, H, W) and variance (B, 1, 1, 1).

    q(x_{t-1} | x_t, x₀), Ho et al. 2020, eqs. 6 and 7.  abar, before: (B,), ᾱ at t and at t - 1.
    """
    abar, before = abar.view(-1, 1, 1, 1), before.view(-1, 1, 1, 1)
    alpha = abar / before
    towards = before.sqrt() * (1 - alpha) / (1 - abar)
    mean = towards * x0 + alpha.sqrt() * (1 - before) / (1 - abar) * x_t
    return mean, (1 - alpha) * (1 - before) / (1 - abar)


def best_guess(x_t: Tensor, data: Tensor, abar: Tensor) -> Tensor:
    """The x₀ that no other guess beats in squared error, where x₀ is one of the `data`, each as likely: E[x₀ | x_t].

    A mean of the data, weighed by how well each explains x_t:  softmax(-|x_t - √ᾱ x|² / 2(1-ᾱ)).  Of a training set
    it is what a network would say that remembers all and nothing else.  x_t: (B, C, H, W);  data: (N, C, H, W).
    """
    signal, points = abar.sqrt().view(-1, 1), data.flatten(1)
    fit = signal * x_t.flatten(1) @ points.T - signal.square() / 2 * points.square().sum(1)  # (B, N)
    return ((fit / (1 - abar).view(-1, 1)).softmax(1) @ points).view(x_t.shape)


def snr(abar: Tensor) -> Tensor:
    """Signal-to-noise ratio:  ᾱ / (1-ᾱ), from infinity (clean) to 0 (noise).  Kingma et al. 2021, eq. 2."""
    return abar / (1 - abar)


def guide(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """Go further in the direction in which the words pull; scale 1 is no guidance, 0 is no words.

    Ho & Salimans 2022, eq. 6, where w = scale - 1.  uncond, cond: two predictions of one shape.
    """
    return uncond + scale * (cond - uncond)
