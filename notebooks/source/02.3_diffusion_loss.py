# %% [markdown] lang="en"
# # 2.3 The diffusion loss
#
# Why does "guess the noise" make a picture? In this notebook the loss of a diffusion model is derived from the
# likelihood of the data, one line at a time, and each line is executed. At the end you train a small diffusion model
# in the plane, beside the best that is possible, and another on tiny pictures, and learn how far the course's own model
# may be from the best.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# We import the rooms that hold the path (`diffusion`), the losses and the loop. Formulas are checked in double
# precision, so that rounding cannot hide an error.

# %%
import math
import random

import numpy as np
import sympy
import torch
from diffusers import UNet2DModel
from torch import nn

from aigc_course import checks, diffusion, losses, models, plotting, runtime, sampling, scenes, training

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The trained model of the course looks at a noisy latent and says what clean picture it expects. Above, what it is
# given; below, its guess. Look at how a guess turns from a blur into a picture as the noise goes.

# %%
pipe = models.load("text-to-image")
schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
scene = scenes.Scene((scenes.Thing("boat", "orange"),), "sea", "flat")
z = pipe.vae.encode(scenes.pictures([scene], models.PICTURE)).latent_dist.mode().detach()
t = torch.tensor([999, 800, 600, 400, 200])
noisy = diffusion.noised(z.expand(5, -1, -1, -1), schedule, t, runtime.generator(0))
with torch.no_grad():
    text = sampling.encode_words(pipe, ["an orange boat at sea"] * 5)
    guess = diffusion.x0_from_velocity(noisy.x_t, pipe.unet(noisy.x_t, t, encoder_hidden_states=text).sample, schedule.at(t))
titles = [f"t = {k}" for k in t.tolist()] + ["guess"] * 5
plotting.show_images(sampling.decode(pipe, torch.cat([noisy.x_t, guess])), titles, columns=5, scale=0.6)

# %% [markdown] lang="en"
# Everything the model knows is in that second row. The question of this notebook: which loss teaches it, and why?
#
# ## The way into noise
#
# A clean picture $x_0$ becomes noisier step by step, $x_1,\dots,x_T$. One step shrinks it a little and adds a little
# noise; how much, $\beta_t$, is fixed beforehand (the *schedule*), and $\alpha_t=1-\beta_t$ (Ho et al. 2020, eq. 2).
# $\mathcal N(x;m,vI)$ is the density at $x$ of a Gaussian with mean $m$ and variance $v$ in every number:
#
# $$q(x_t \mid x_{t-1}) = \mathcal N\!\left(x_t;\ \sqrt{\alpha_t}\,x_{t-1},\ \beta_t I\right) \tag{1}$$
#
# **Rule: a sum of independent Gaussians is Gaussian; means are shifted, variances add.** Put (1) into itself:
# $x_t=\sqrt{\alpha_t\alpha_{t-1}}\,x_{t-2}+\sqrt{\alpha_t\beta_{t-1}+\beta_t}\;\varepsilon$, and the new variance is
# $1-\alpha_t\alpha_{t-1}$. By induction, with $\bar\alpha_t=\prod_{s\le t}\alpha_s$, we jump there at once:
#
# $$q(x_t \mid x_0) = \mathcal N\!\left(x_t;\ \sqrt{\bar\alpha_t}\,x_0,\ (1-\bar\alpha_t) I\right) \tag{2}$$
#
# In one line, with noise $\varepsilon\sim\mathcal N(0,I)$: $x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon$.
# (Code counts from 0: `abar[0]` is $\bar\alpha_1$, and step 999 of the library is our $t=1000$.)
#
# We follow mean and variance through a thousand steps of (1), and compare with (2).

# %%
beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
abar, mean, variance = (1 - beta).cumprod(0), torch.ones(1).double(), torch.zeros(1).double()
for b in beta:
    mean, variance = (1 - b).sqrt() * mean, (1 - b) * variance + b
print(f"residuals of (2): {(mean - abar[-1].sqrt()).abs().item():.1e}, {(variance - (1 - abar[-1])).abs().item():.1e}")

# %% [markdown] lang="en"
# How fast a picture fades is a choice. Three schedules: how much of a picture's variance, $\bar\alpha_t$, is left at $t$?

# %%
makes = {"linear": diffusion.Schedule.linear, "Stable Diffusion": diffusion.Schedule.scaled_linear, "cosine, ours": diffusion.Schedule.cosine}
plotting.show_curves({name: make().abar for name, make in makes.items()}, xlabel="t", ylabel="ᾱ")

# %% [markdown] lang="en"
# The cosine keeps more for longer, so that fewer steps are spent on pure noise. Equations (1) to (11) hold for all three.
# The same with points instead of formulas. A spiral walks step by step, and we look in on it twice; the third panel
# jumps to $t=100$ in one line.

# %%
def spiral(n, generator):
    """Points (n, 2, 1, 1) on two arms; two channels, so that the package takes them for pictures of one pixel."""
    turn = 0.5 + 2.5 * torch.rand(n, generator=generator)
    arm = torch.where(torch.rand(n, generator=generator) < 0.5, 1.0, -1.0)
    points = 0.8 * turn[:, None] * torch.stack([(2 * turn).cos(), (2 * turn).sin()], 1) * arm[:, None]
    return (points + 0.03 * torch.randn(n, 2, generator=generator))[:, :, None, None]


generator = runtime.generator(0)
x0 = spiral(300, generator)
x, clouds = x0, {"t = 0": x0.flatten(1)}
for t, b in enumerate(beta.float(), start=1):
    x = (1 - b).sqrt() * x + b.sqrt() * torch.randn(x.shape, generator=generator)
    if t in (100, 999):
        clouds[f"t = {t}, walked"] = x.flatten(1)
    if t == 100:
        clouds["t = 100, jumped"] = diffusion.add_noise(x0, torch.randn(x0.shape, generator=generator), abar[[99]].float()).flatten(1)
plotting.show_plane(clouds)

# %% [markdown] lang="en"
# Walked and jumped clouds look alike, and at the end the spiral is forgotten. Training needs only the jump.
#
# ## One step back, if both ends are known
#
# **Rule: Bayes.** $q(x_{t-1}\mid x_t,x_0)\propto q(x_t\mid x_{t-1})\,q(x_{t-1}\mid x_0)$. As functions of $x_{t-1}$ both are
# Gaussians: by (1) with mean $x_t/\sqrt{\alpha_t}$ and precision (one over the variance) $\alpha_t/\beta_t$; by (2) with
# mean $\sqrt{\bar\alpha_{t-1}}\,x_0$ and precision $1/(1-\bar\alpha_{t-1})$. **Rule: in a product precisions add, and
# means are averaged by them.** With $\alpha_t(1-\bar\alpha_{t-1})+\beta_t=1-\bar\alpha_t$, the variance $\tilde\beta_t$
# and the mean $\tilde\mu_t$ are
#
# $$\tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\,\beta_t,\qquad
# \tilde\mu_t = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}\,x_0
# + \frac{\sqrt{\alpha_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t \tag{3}$$
#
# A proof, with symbols instead of numbers: the log of the product, minus the log of the Gaussian (3), must not
# depend on $x_{t-1}$ (here `y`). So its derivative must be zero, as a formula.

# %%
y, xt, x_0, a, B = sympy.symbols("y x_t x_0 alpha Abar", positive=True)  # Abar: ᾱ one step earlier
product = -((xt - sympy.sqrt(a) * y) ** 2) / (2 * (1 - a)) - (y - sympy.sqrt(B) * x_0) ** 2 / (2 * (1 - B))
wide = (1 - B) / (1 - a * B) * (1 - a)
middle = (sympy.sqrt(B) * (1 - a) * x_0 + sympy.sqrt(a) * (1 - B) * xt) / (1 - a * B)
print("symbolic zero of (3):", sympy.simplify(sympy.diff(product + (y - middle) ** 2 / (2 * wide), y)))

# %% [markdown] lang="en"
# The package's function says the same with numbers, for every step of the schedule at once.

# %%
before, at = abar[:-1], abar[1:]
ends = torch.randn(2, 999, 1, 1, 1, generator=generator, dtype=torch.float64)
mu, tilde = diffusion.posterior(ends[1], ends[0], at, before)
alpha = at / before
precision = alpha / (1 - alpha) + 1 / (1 - before)
weighed = (alpha.sqrt() / (1 - alpha) * ends[1].flatten() + before.sqrt() / (1 - before) * ends[0].flatten()) / precision
print(f"residuals of (3), all 999 steps: {(tilde.flatten() - 1 / precision).abs().max():.1e}, {(mu.flatten() - weighed).abs().max():.1e}")

# %% [markdown] lang="en"
# ## From likelihood to a sum of small steps
#
# A model with weights $\theta$ walks back; a whole path $x_0,\dots,x_T$, written $x_{0:T}$, has the density
# $p_\theta(x_{0:T})=p(x_T)\prod_{t=1}^T p_\theta(x_{t-1}\mid x_t)$. The likelihood of a picture is the integral over all
# paths that end in it; we multiply and divide by $q(x_{1:T}\mid x_0)$, so that it becomes a mean under $q$. **Rule: Jensen, $-\ln \mathbb E[\,\cdot\,]\le\mathbb E[-\ln\,\cdot\,]$.**
#
# $$-\ln p_\theta(x_0) = -\ln \mathbb E_{q}\!\left[\frac{p_\theta(x_{0:T})}{q(x_{1:T}\mid x_0)}\right]
# \le \mathbb E_q\!\left[-\ln\frac{p_\theta(x_{0:T})}{q(x_{1:T}\mid x_0)}\right] = L \tag{4}$$
#
# To split $L$ by steps, $q$ must be told backwards too. As $x_t$ depends on $x_0$ only through $x_{t-1}$, Bayes gives
# $q(x_t\mid x_{t-1})=q(x_{t-1}\mid x_t,x_0)\,q(x_t\mid x_0)/q(x_{t-1}\mid x_0)$ for $t\ge2$. **Rule: Bayes in each factor;
# in the sum of logs neighbours cancel.**
#
# $$\ln q(x_{1:T}\mid x_0) = \sum_{t=1}^{T}\ln q(x_t\mid x_{t-1})
# = \ln q(x_T\mid x_0) + \sum_{t=2}^{T}\ln q(x_{t-1}\mid x_t, x_0) \tag{5}$$
#
# Equation (5) holds for each single path, so one random path can disprove it. We draw one and add up both sides.

# %%
def log_normal(x, mean, variance):
    return -0.5 * ((x - mean) ** 2 / variance + variance.log() + math.log(2 * math.pi))


path = [torch.randn((), generator=generator, dtype=torch.float64)]
for b in beta:
    path.append((1 - b).sqrt() * path[-1] + b.sqrt() * torch.randn((), generator=generator, dtype=torch.float64))
path = torch.stack(path)
forwards = log_normal(path[1:], (1 - beta).sqrt() * path[:-1], beta).sum()
mu, tilde = diffusion.posterior(path[2:].view(-1, 1, 1, 1), path[0].expand(999, 1, 1, 1), at, before)
backwards = log_normal(path[-1], abar[-1].sqrt() * path[0], 1 - abar[-1]) + log_normal(path[1:-1], mu.flatten(), tilde.flatten()).sum()
print(f"forwards {forwards:.6f}, backwards {backwards:.6f}, residual {(forwards - backwards).abs():.1e}")

# %% [markdown] lang="en"
# Put (5) into (4), with **the log of a product is a sum of logs**. The mean of $\ln(q/p)$ under $q$ is the
# Kullback–Leibler divergence $D(q\,\|\,p)$ (2.1, equation 5), so each pair of factors becomes one; what it is
# conditioned on is still averaged over:
#
# $$L = \mathbb E_q\Big[\underbrace{D\big(q(x_T\mid x_0)\,\|\,p(x_T)\big)}_{L_T}
# + \sum_{t=2}^{T}\underbrace{D\big(q(x_{t-1}\mid x_t,x_0)\,\|\,p_\theta(x_{t-1}\mid x_t)\big)}_{L_{t-1}}
# \;\underbrace{-\ln p_\theta(x_0\mid x_1)}_{L_0}\Big] \tag{6}$$
#
# The first term has nothing to learn. In the others, choose for $p_\theta$ a Gaussian with the variance of (3) and the
# mean of (3) at the network's guess $\hat x_0$. **Rule: the divergence of two Gaussians of one width** is
# $|\mu_1-\mu_2|^2/2\sigma^2$, so
#
# $$L_{t-1} = \frac{1}{2\tilde\beta_t}\left|\tilde\mu_t(x_t,x_0)-\tilde\mu_t(x_t,\hat x_0)\right|^2 \tag{7}$$
#
# Equations (7) to (10) hold for each $x_t$; the loss is their mean. The rule, checked against the library:

# %%
m1, m2, s = (torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(3))
ours = (m1 - m2) ** 2 / (2 * s.exp() ** 2)
theirs = torch.distributions.kl_divergence(torch.distributions.Normal(m1, s.exp()), torch.distributions.Normal(m2, s.exp()))
print(f"residual of the rule behind (7): {(ours - theirs).abs().max():.1e}")

# %% [markdown] lang="en"
# ## The same loss in three costumes
#
# In (7) only $x_0$ differs, so the means differ by its coefficient in (3). With $\mathrm{SNR}(t)=\bar\alpha_t/(1-\bar\alpha_t)$
# that coefficient, squared and halved over $\tilde\beta_t$, becomes a difference (Kingma et al. 2021):
#
# $$L_{t-1} = \tfrac12\big(\mathrm{SNR}(t-1)-\mathrm{SNR}(t)\big)\,|x_0-\hat x_0|^2 \tag{8}$$
#
# **Rule: solve the line below (2) for the other unknown.** $x_0-\hat x_0=-\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}\,(\varepsilon-\hat\varepsilon)$, so
#
# $$L_{t-1} = \frac{\beta_t^2}{2\tilde\beta_t\,\alpha_t(1-\bar\alpha_t)}\,|\varepsilon-\hat\varepsilon|^2 \tag{9}$$
#
# Both again as symbols: the squared coefficient of $x_0$ in (3), over $2\tilde\beta$, minus the factor of (8); and the
# factor of (9) minus that of (8) over the SNR.

# %%
snr = lambda x: x / (1 - x)  # noqa: E731
factor = (snr(B) - snr(a * B)) / 2
print("symbolic zero of (8):", sympy.simplify((sympy.sqrt(B) * (1 - a) / (1 - a * B)) ** 2 / (2 * wide) - factor))
print("symbolic zero of (9):", sympy.simplify((1 - a) ** 2 / (2 * wide * a * (1 - a * B)) - factor / snr(a * B)))

# %% [markdown] lang="en"
# A third costume: the **velocity** $v=\sqrt{\bar\alpha}\,\varepsilon-\sqrt{1-\bar\alpha}\,x_0$ (Salimans & Ho 2022).
# **Rule: for a fixed $x_t$, errors in $x_0$, $\varepsilon$ and $v$ are multiples of one another**, by (2):
#
# $$|\varepsilon-\hat\varepsilon|^2=\mathrm{SNR}\,|x_0-\hat x_0|^2,\qquad
# |v-\hat v|^2=(\mathrm{SNR}+1)\,|x_0-\hat x_0|^2 \tag{10}$$
#
# As symbols: replace the noise by what (2) makes of it, for the true and for the guessed picture.

# %%
A, guessed = sympy.symbols("A guessed", positive=True)
eps = lambda picture: (xt - sympy.sqrt(A) * picture) / sympy.sqrt(1 - A)  # noqa: E731
velocity = lambda picture: sympy.sqrt(A) * eps(picture) - sympy.sqrt(1 - A) * picture  # noqa: E731
ratio = (velocity(x_0) - velocity(guessed)) ** 2 / (x_0 - guessed) ** 2
same = (eps(x_0) - eps(guessed)) ** 2 / (x_0 - guessed) ** 2
print("symbolic zeros of (10):", sympy.simplify(same - snr(A)), sympy.simplify(ratio - (snr(A) + 1)))

# %% [markdown] lang="en"
# So every loss is a squared error of $x_0$ with some weight, and a recipe is a choice of weight. The likelihood (8)
# weighs most where hardly any noise is left. "Simple" noise prediction drops the factor of (9); velocity grades by (10);
# min-SNR (Hang et al. 2023) stops at $\gamma$:
#
# $$w_{\text{noise}}=\mathrm{SNR},\qquad w_{v}=\mathrm{SNR}+1,\qquad w_{\min}=\min(\mathrm{SNR},\gamma) \tag{11}$$
#
# How much each recipe cares about an error in $x_0$, from nearly clean (left) to noise (right):

# %%
levels = schedule.abar.double()[5:-5]  # the outermost steps run off the page
weights = {
    "likelihood (8)": (diffusion.snr(levels[:-1]) - diffusion.snr(levels[1:])) / 2,
    "noise": diffusion.snr(levels)[1:],
    "velocity": diffusion.snr(levels)[1:] + 1,
    "min-SNR, γ = 5": diffusion.snr(levels)[1:].clamp(max=5),
}
plotting.show_curves(weights, x=range(6, 995), xlabel="t", ylabel="weight of an error in x₀", logy=True)

# %% [markdown] lang="en"
# (The noise curve hides: behind velocity on the left, behind min-SNR on the right.) Near noise, the noise loss hardly
# cares what the picture is; the velocity loss still does, with weight one. That is why this course predicts $v$. The
# package's min-SNR weight for a velocity loss, times the factor of (10), is the last curve:

# %%
mine = losses.min_snr_weight(levels, gamma=5.0, prediction="velocity") * (diffusion.snr(levels) + 1)
torch.testing.assert_close(mine, diffusion.snr(levels).clamp(max=5))
print("losses.min_snr_weight agrees with (11)")

# %% [markdown] lang="en"
# ## The best guess, and the arrow it draws
#
# A squared error is smallest at the mean: the best guess is $\mathbb E[x_0\mid x_t]$, and no network can do better. For
# finite data it is a weighted mean, by Bayes and (2):
#
# $$\hat x_0^\star(x_t) = \sum_i w_i\,x^{(i)},\qquad w_i\propto
# \exp\!\left(-\frac{|x_t-\sqrt{\bar\alpha_t}\,x^{(i)}|^2}{2(1-\bar\alpha_t)}\right) \tag{12}$$
#
# **Rule: differentiate the log of the mixture** $q(x_t)=\frac1N\sum_i q(x_t\mid x^{(i)})$. The direction in which noisy
# data become likelier is called the **score**. Here it is $\sum_i w_i\,\nabla\ln q(x_t\mid x^{(i)})
# =-\sum_i w_i\,\frac{x_t-\sqrt{\bar\alpha_t}\,x^{(i)}}{1-\bar\alpha_t}$, and each numerator is $\sqrt{1-\bar\alpha_t}$ times the
# noise that $x^{(i)}$ implies. So the score is the expected noise with the sign turned (Tweedie's formula; Song et al. 2021):
#
# $$\nabla_{x_t}\ln q(x_t) = -\frac{\mathbb E[\varepsilon\mid x_t]}{\sqrt{1-\bar\alpha_t}} \tag{13}$$
#
# Autograd takes the left side, (12) gives the right.

# %%
data = spiral(200, generator).double()
here = torch.randn(20, 2, 1, 1, generator=generator, dtype=torch.float64).requires_grad_()
level = torch.full((20,), 0.7, dtype=torch.float64)
mixture = -(torch.cdist(here.flatten(1), 0.7**0.5 * data.flatten(1)) ** 2) / (2 * 0.3)
(left,) = torch.autograd.grad(mixture.logsumexp(1).sum(), here)
right = -diffusion.predict_noise(here, diffusion.best_guess(here, data, level), level) / 0.3**0.5
print(f"residual of (13): {(left - right).abs().max():.1e}")

# %% [markdown] lang="en"
# The exact field of the spiral, at three amounts of noise: arrows from $x_t$ to the best guess. Look at where they point.

# %%
grid = torch.cartesian_prod(*[torch.linspace(-2.6, 2.6, 9)] * 2)[:, :, None, None]
data = spiral(2000, runtime.generator(1))
clouds, arrows = {}, {}
for share in (0.1, 0.6, 0.95):
    level, name = torch.tensor([share]), f"ᾱ = {share}"
    clouds[name] = diffusion.add_noise(data[:120], torch.randn(120, 2, 1, 1, generator=generator), level).flatten(1)
    arrows[name] = grid.flatten(1), (diffusion.best_guess(grid, data, level) - grid).flatten(1)
plotting.show_plane(clouds, arrows, alt="Arrows to the best guess: to the middle in much noise, to the nearest arm in little")

# %% [markdown] lang="en"
# In much noise all arrows point to the middle, the mean of everything; in little noise, to the nearest arm. Guessing well
# at every level is all a sampler needs.
#
# ## How tight is the bound?
#
# For Gaussian data of variance $s^2$ all of (6) has a closed form. **Rule: the variance of one Gaussian seen through
# another; precisions add:** $\mathrm{Var}(x_0\mid x_t)=1/(\mathrm{SNR}(t)+s^{-2})$, the mean of $|x_0-\hat x_0|^2$ in (8). The
# exact value of the mean of $-\ln p(x_0)$ is the entropy $H=\frac12\ln2\pi es^2$. For the last step $p(x_0\mid x_1)$ is that
# same Gaussian, so that $L_0-H$ is half the log of a quotient of variances:
#
# $$L - H = L_T + \sum_{t=2}^{T}\frac{\mathrm{SNR}(t-1)-\mathrm{SNR}(t)}{2\,(\mathrm{SNR}(t)+s^{-2})}
# + \tfrac12\ln\frac{\mathrm{Var}(x_0\mid x_1)}{s^2} \tag{14}$$

# %%
def gap(T, s=2.0):
    """Equation (14), for T steps of one size in ln SNR, from 12 (hardly any noise) to -12 (hardly any picture)."""
    snr = torch.linspace(12, -12, T, dtype=torch.float64).exp()
    end = snr[-1] / (1 + snr[-1])
    L_T = (end * s**2 - end - (1 - end).log()) / 2
    return (L_T + ((snr[:-1] - snr[1:]) / 2 / (snr[1:] + s**-2)).sum() - ((snr[0] + s**-2) * s**2).log() / 2).item()


steps = [100, 300, 1000, 3000]
gaps = [gap(T) for T in steps]
slope = np.polyfit(np.log(steps), np.log(gaps), 1)[0]
print("slope of the gap in a log-log plot:", round(slope, 3))
assert abs(slope + 1) < 0.05
plotting.show_table(list(zip(steps, gaps, strict=True)), ["steps T", "nats above the exact value"])

# %% [markdown] lang="en"
# Ten times the steps, a tenth of the gap: the bound becomes exact as $1/T$; the table's third row says what a thousand
# steps lose, in nats per number of the data. Does (14) tell the truth about (4)? Walk many paths, add up the logs of
# (4) on each, and compare:

# %%
def walked_gap(T, s=2.0, n=50_000):
    """Equation (4) by Monte Carlo, less the entropy: its mean over n paths, and the standard error."""
    snr, g = torch.linspace(12, -12, T, dtype=torch.float64).exp(), runtime.generator(8)
    levels, draw = snr / (1 + snr), lambda: torch.randn(n, generator=g, dtype=torch.float64)
    guess = lambda x, a: a.sqrt() * s**2 * x / (a * s**2 + 1 - a)  # noqa: E731  E[x0 | x_t]
    x0, a = s * draw(), levels[0]
    x = a.sqrt() * x0 + (1 - a).sqrt() * draw()
    nats = log_normal(x, a.sqrt() * x0, 1 - a) - log_normal(x0, guess(x, a), 1 / (snr[0] + s**-2))
    for after in levels[1:]:
        step = after / a
        later = step.sqrt() * x + (1 - step).sqrt() * draw()
        ends = later.view(-1, 1, 1, 1), guess(later, after).view(-1, 1, 1, 1)
        mean, wide = (each.flatten() for each in diffusion.posterior(*ends, after.expand(n), a.expand(n)))
        nats += log_normal(later, step.sqrt() * x, 1 - step) - log_normal(x, mean, wide)
        x, a = later, after
    nats -= log_normal(x, 0.0, torch.ones(()).double()) + 0.5 * math.log(2 * math.pi * math.e * s**2)
    return nats.mean().item(), nats.std().item() / n**0.5


mean, error = walked_gap(50)
print(f"(4), walked: {mean:.4f} ± {error:.4f} nats above the exact value; by (14): {gap(50):.4f}")

# %% [markdown] lang="en"
# They agree within the error of chance.
#
# ## Train one
#
# A small network learns the spiral with the velocity loss. Watch its loss beside the floor, which (12) over many points
# approaches from above: the error of the best possible guess, in the same units by (10).

# %%
class Field(nn.Module):
    """(x_t, t) → velocity, for points: a few layers on waves of the place and of the time."""

    def __init__(self, width=128):
        super().__init__()
        hidden = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.SiLU())]
        self.net = nn.Sequential(nn.Linear(3 + 2 * 3 * 6, width), nn.SiLU(), *hidden, nn.Linear(width, 2))

    def forward(self, x_t, t):
        place = torch.cat([x_t.flatten(1), t[:, None] / 1000], 1)  # (B, 3)
        waves = (place[:, :, None] * 2.0 ** torch.arange(6)).flatten(1)
        return self.net(torch.cat([place, waves.sin(), waves.cos()], 1))[:, :, None, None]


def velocity_loss(model, batch, generator):
    t = torch.randint(schedule.T, (len(batch),), generator=generator)
    noisy = diffusion.noised(batch, schedule, t, generator)
    return losses.velocity_prediction(model(noisy.x_t, t), diffusion.velocity(noisy.x0, noisy.noise, schedule.at(t)))


torch.manual_seed(0)
field = Field()
points = spiral(200_000, runtime.generator(2)).split(1000)
history = training.fit(field, points, velocity_loss, steps=2000, learning_rate=2e-3, ema=0.99)

# %% [markdown] lang="en"
# The floor, nearly: the same loss for the best guess over ten thousand points, measured on fresh ones.

# %%
class Best:
    """The best guess (12) over known data, asked like a network."""

    def __init__(self, data):
        self.data = data

    def __call__(self, x_t, t):
        x0 = diffusion.best_guess(x_t, self.data, schedule.at(t))
        return diffusion.velocity(x0, diffusion.predict_noise(x_t, x0, schedule.at(t)), schedule.at(t))


fresh = spiral(5000, runtime.generator(3))
with torch.no_grad():
    trained, floor = (velocity_loss(m, fresh, runtime.generator(4)).item() for m in (field, Best(spiral(10_000, runtime.generator(5)))))
print(f"trained {trained:.4f}, floor {floor:.4f}, excess {trained / floor - 1:.1%}")
plotting.show_curves({"training": history.smoothed(), "floor": [floor] * 2000}, xlabel="step", ylabel="velocity loss")

# %% [markdown] lang="en"
# Most of the loss cannot be learnt away: it is the noise that no guess can foresee. What counts is the excess. (The
# curve is that of the raw weights; the number is that of their running mean, `ema`.) The field that was learnt, drawn
# like the exact one above; look where the two differ.

# %%
clouds, arrows = {}, {}
for share in (0.1, 0.6, 0.95):
    t = int((schedule.abar - share).abs().argmin())
    level, name = schedule.abar[[t]], f"learnt, ᾱ = {share}"
    clouds[name] = diffusion.add_noise(data[:120], torch.randn(120, 2, 1, 1, generator=generator), level).flatten(1)
    with torch.no_grad():
        guess = diffusion.x0_from_velocity(grid, field(grid, torch.full((len(grid),), t)), level.expand(len(grid)))
    arrows[name] = grid.flatten(1), (guess - grid).flatten(1)
plotting.show_plane(clouds, arrows, alt="The learnt arrows: as the exact ones where there are data, astray where there are none")

# %% [markdown] lang="en"
# Where data are, the arrows agree; outside, nobody taught the network anything. Does the walk of 1.1, which 2.4 derives
# (from each guess, mix picture and noise again, a little cleaner), end on the spiral when it follows the learnt field?
# We follow three hundred points, and the paths of a few.

# %%
seen = []
with torch.no_grad():
    start = torch.randn(300, 2, 1, 1, generator=runtime.generator(6))
    end = sampling.ddim(lambda x, t: field(x, torch.full((len(x),), t)), start, schedule, steps=50, on_step=seen.append)
paths = torch.stack([start] + [step.x_t for step in seen], 1)[:12].flatten(2)
plotting.show_plane({"noise": start.flatten(1), "walked": end.flatten(1), "data": fresh[:300].flatten(1)}, paths={"walked": paths})

# %% [markdown] lang="en"
# The walked cloud lies on the arms, with a few strays between them. The model never saw a likelihood; it guessed, and (13)
# turned its guesses into a direction.
#
# ### From points to pictures
#
# For the loss a point and a picture are the same: $8\times8\times3=192$ numbers instead of two. The pictures show one thing
# each, of any name and colour, in any place: drawn at 32 × 32, and averaged over squares of 4 × 4.

# %%
def tiny(count, seed):
    """Pictures (count, 3, 8, 8) of one thing each."""
    rng = random.Random(seed)
    words = [[rng.choice(list(of)) for of in (scenes.THINGS, scenes.COLOURS, scenes.BACKGROUNDS)] for _ in range(count)]
    drawn = [scenes.Scene((scenes.Thing(name, colour),), place) for name, colour, place in words]
    return nn.functional.avg_pool2d(scenes.pictures(drawn, 32, seeds=range(count)), 4)


album = tiny(4000, seed=1)
plotting.show_images(album[:7], columns=7, alt="Seven tiny pictures: blots of a colour before a sky")

# %% [markdown] lang="en"
# A U-Net, small and of the kind that the course uses, makes the guesses. The steps are Muon's (Jordan et al. 2024), with
# which many models of the course were trained.

# %%
class TinyDenoiser(UNet2DModel):
    """The library's U-Net without words, 8 × 8 and 4 × 4 places, attention at the latter; (x_t, t) → velocity."""

    def __init__(self):
        super().__init__(8, 3, 3, down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
                         block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8)  # fmt: skip

    def forward(self, x_t, t):
        return super().forward(x_t, t).sample


torch.manual_seed(0)
denoiser = TinyDenoiser()
batches = training.Shuffled(len(album), 64, lambda indices, turn: album[indices])
optimiser = training.muon(denoiser, 3e-3)
history = training.fit(denoiser, batches, velocity_loss, steps=300, optimiser=optimiser, ema=0.99)

# %% [markdown] lang="en"
# Each row below is one walk, and shows the guess on the way; the last column is the picture of the album that is nearest
# to its end.

# %%
steps = []
with torch.no_grad():
    start = torch.randn(3, 3, 8, 8, generator=runtime.generator(7))
    end = sampling.ddim(lambda x, t: denoiser(x, torch.full((len(x),), t)), start, schedule, steps=40, on_step=steps.append)
nearest = album[torch.cdist(end.flatten(1), album.flatten(1)).argmin(1)]
shown = {"noise": start} | {f"guess, step {k}": steps[k - 1].x0 for k in (1, 8, 16, 24)} | {"walked": end, "nearest": nearest}
titles = [*shown] + [" "] * 14
plotting.show_images(torch.stack(list(shown.values()), 1).flatten(0, 1), titles, columns=7, alt="Three walks from noise to a tiny picture")

# %% [markdown] lang="en"
# First a mottle, by about step 8 the mean of all, then a place and a blot in it. After so short a training not every
# walk finds a thing of one colour: compare with the nearest picture of the album. How good is the network? We ask fresh
# pictures for the loss at a few times: of the network, and of the best guess (12) over the album, which can only
# remember.

# %%
@torch.no_grad()
def loss_at(model, z, t):
    at = torch.full((len(z),), t)
    noisy = diffusion.noised(z, schedule, at, runtime.generator(t))
    return losses.velocity_prediction(model(noisy.x_t, at), diffusion.velocity(z, noisy.noise, schedule.at(at))).item()


unseen = tiny(500, seed=2)
table = [(t, loss_at(denoiser, unseen, t), loss_at(Best(album), unseen, t)) for t in (200, 500, 800, 950)]
plotting.show_table(table, ["t", "network", "album"])

# %% [markdown] lang="en"
# The world of these pictures is small: 16 × 8 × 6 kinds, each several times in the album. So whoever remembers the album
# guesses well, and what the network has above it, it could still learn. For the pictures of the course nobody can
# remember enough, as we see now.
#
# ## How far is the course's model from the best?
#
# For latents of pictures the floor is not known, but two sides of it are. The best guess over a set, asked about *its own*
# pictures, remembers: no honest model is below that. Asked about *fresh* pictures, it knows too little: a good model is
# below that. Between the two lies the floor. The model is asked without words here, as the set is.

# %%
drawn = [sample.scene for sample in scenes.samples(700, "train", seed=8)]
with torch.no_grad():
    known = torch.cat([pipe.vae.encode(scenes.pictures(part, models.PICTURE)).latent_dist.mode() for part in (drawn[k : k + 50] for k in range(0, 700, 50))])
own, unseen, known = known[:64], known[-64:], known[:-64]
nothing = sampling.encode_words(pipe, [""])


def network(x_t, at):
    return pipe.unet(x_t, at, encoder_hidden_states=nothing.expand(len(x_t), -1, -1)).sample


times = [50, 200, 350, 500, 650, 800, 900, 970]
curves = {"remembers": [loss_at(Best(known), own, t) for t in times], "set, fresh": [loss_at(Best(known), unseen, t) for t in times]}
curves["model"] = [loss_at(network, unseen, t) for t in times]
table = [(t, *(curves[name][k] for name in ("remembers", "model", "set, fresh"))) for k, t in enumerate(times)]
excess = [(*row, max(0.0, row[2] - row[3]), row[2] - row[1]) for row in table]
plotting.show_table(excess, ["t", "remembers", "model", "set, fresh", "excess, at least", "at most"])

# %% [markdown] lang="en"
# The model and the set, asked about the same fresh pictures, as a figure:

# %%
plotting.show_curves({name: curves[name] for name in ("set, fresh", "model")}, x=times, xlabel="t", ylabel="velocity loss", logy=True)

# %% [markdown] lang="en"
# In little noise the model does far better on fresh pictures than the set, because it has learnt rules and not pictures. In
# much noise only the mean is left, which a set gives well: where the table's fifth column is above zero, the model is
# certainly not the best. The best guess there is a blur, and must be:

# %%
late = diffusion.noised(z, schedule, torch.tensor([999]), runtime.generator(0))
with torch.no_grad():
    guesses = [diffusion.x0_from_velocity(late.x_t, network(late.x_t, late.t), schedule.at(late.t)), known.mean(0, keepdim=True)]
plotting.show_images(sampling.decode(pipe, torch.cat(guesses)), ["the model's guess from pure noise", "the mean of all latents"], alt="Two blurs that look alike")

# %% [markdown] lang="en"
# This is no failure of the model but the shape of the loss: the mean of all pictures is the best answer to pure noise.
# It is also why one step is not enough, and why 2.4 walks.
#
# ## Exercises
#
# **2.3.1** (4 minutes) Write the jump (the line below equation (2)) as a function: from a clean tensor, noise of its shape
# and $\bar\alpha$, a number, to $x_t$.

# %% tags=["exercise"]
def jump(x0, noise, abar):
    return abar**0.5 * x0 + (1 - abar) ** 0.5 * noise  # solution


checks.check_jump(jump)

# %% [markdown] lang="en"
# **2.3.2** (8 minutes) Write the mean of equation (3), from both ends and from $\bar\alpha_t$ (`abar`) and
# $\bar\alpha_{t-1}$ (`before`), as numbers. Recall that $\alpha_t=\bar\alpha_t/\bar\alpha_{t-1}$.

# %% tags=["exercise"]
def posterior_mean(x_t, x0, abar, before):
    alpha = abar / before
    return (before**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - before) * x_t) / (1 - abar)  # solution


checks.check_posterior_mean(posterior_mean)

# %% [markdown] lang="en"
# **2.3.3** (10 minutes) A network guesses *noise*. By which weight must its squared error be multiplied, so that by (10) it
# counts $\min(\mathrm{SNR},\gamma)\,|x_0-\hat x_0|^2$? `abar` is $\bar\alpha$, `gamma` is $\gamma$; both are numbers, and so is
# the weight.

# %% tags=["exercise"]
def noise_weight(abar, gamma):
    snr = abar / (1 - abar)
    return min(snr, gamma) / snr  # solution


checks.check_noise_weight(noise_weight)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Noise can be added in one jump (2), and one step back is a known Gaussian if both ends are known (3).
# 2. The likelihood bound (4) splits into steps (6), each a squared error with a weight (8); noise, velocity and min-SNR are
#    other weights of the same error (11).
# 3. The best guess is a mean (12), and its arrow is the score (13).
# 4. The bound is exact as 1/T (14); what a trained model can still improve is its excess over the floor.
#
# **Next:** 2.4 walks along these arrows, bends them with words, and takes fewer and fewer steps.
#
# ### References
#
# - Ho, Jain, Abbeel 2020, *Denoising diffusion probabilistic models*, arXiv 2006.11239.
# - Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*, kellerjordan.github.io/posts/muon.
# - Kingma, Salimans, Poole, Ho 2021, *Variational diffusion models*, arXiv 2107.00630.
# - Salimans, Ho 2022, *Progressive distillation for fast sampling of diffusion models*, arXiv 2202.00512.
# - Hang et al. 2023, *Efficient diffusion training via min-SNR weighting strategy*, arXiv 2303.09556.
# - Song et al. 2021, *Score-based generative modeling through stochastic differential equations*, arXiv 2011.13456.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
