# %% [markdown] lang="en"
# # 2.2 The autoencoder's and the contrastive loss
#
# Two losses make the two spaces that the course's models think in. One squeezes a picture into a short code from which
# it can be drawn again; the other lays pictures and words side by side, so that what belongs together lies together. You
# derive both, check each line by running it, train both on two cores, and see what happens when their one dial is turned
# too far.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# We import the losses, the training loop and the picture world. Formulas are checked in double precision, so that
# rounding cannot hide an error.

# %%
import math

import numpy as np
import sympy
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn
from torch.distributions import Laplace, Normal
from torch.nn import functional as F

from aigc_course import checks, evaluation, losses, models, plotting, runtime, scenes, training

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The shipped autoencoder turns a picture of 128 × 128 × 3 numbers into a code of 16 × 16 × 32, and back: sixteen
# channels for the look, and sixteen that it was taught to fill with what is where. Look for what the copy lost: first
# the pictures, then three channels of the look, then the copies.

# %%
vae = models.load("text-to-image").vae
things = [("house", "red", "meadow", "flat"), ("fish", "orange", "sea", "watercolour"), ("car", "yellow", "city", "glass")]
drawn = [scenes.Scene((scenes.Thing(name, colour),), place, style) for name, colour, place, style in things]
pictures = scenes.pictures(drawn, models.PICTURE)
with torch.no_grad():
    code = vae.encode(pictures).latent_dist.mode()
    copies = vae.decode(code).sample
channels = F.interpolate((code[:, :3] / 3).clamp(-1, 1), scale_factor=8)
rows = ["picture"] * 3 + ["its code, 3 of 32 channels"] * 3 + ["copy"] * 3
plotting.show_images(torch.cat([pictures, channels, copies.clamp(-1, 1)]), rows, columns=3, scale=0.8)

# %% [markdown] lang="en"
# One number for what was lost is the peak signal-to-noise ratio; another is how many numbers were saved.

# %%
print(f"{pictures[0].numel() / code[0].numel():.0f} times fewer numbers, PSNR {evaluation.psnr(copies, pictures).mean():.1f} dB")

# %% [markdown] lang="en"
# ## From likelihood to "copy well, and stay near"
#
# Let a picture $x$ be drawn from a code $z$: first $z\sim\mathcal N(0,I)$, then $x\sim p(x\mid z)$. Its likelihood is an
# integral over all codes, so the encoder offers a guess $q(z\mid x)$ where to look. **Rule: Jensen, and the log of a
# product is a sum of logs** (Kingma & Welling 2014, eq. 3):
#
# $$-\ln p(x) \le \underbrace{\mathbb E_{q}\!\left[-\ln p(x\mid z)\right]}_{\text{copy well}}
# + \underbrace{D\big(q(z\mid x)\,\|\,\mathcal N(0, I)\big)}_{\text{stay near}} = L \tag{1}$$
#
# How much is given away? **Rule: Bayes, $p(x)\,p(z\mid x)=p(x\mid z)\,p(z)$, inside the logarithm:**
#
# $$L - (-\ln p(x)) = D\big(q(z\mid x)\,\|\,p(z\mid x)\big) \ge 0 \tag{2}$$
#
# In one dimension all of it can be computed: $x = 2z + 0.7\,\varepsilon$, and we saw $x=1.5$. Each curve is the bound for
# guesses $q$ of one width; look at where the best one touches the exact value.

# %%
w, sigma, x = 2.0, 0.7, torch.tensor(1.5, dtype=torch.float64)
exact = -Normal(torch.zeros((), dtype=torch.float64), math.hypot(w, sigma)).log_prob(x).item()
posterior = Normal(w * x / (w**2 + sigma**2), sigma / math.hypot(w, sigma))


def bound(mean, width):
    """Equation (1) for q = N(mean, width²): the expectation of a square is the square of the mean plus the variance."""
    copy = -Normal(w * mean, sigma).log_prob(x) + (w * width) ** 2 / (2 * sigma**2)
    return copy + 0.5 * (mean**2 + width**2 - 1 - 2 * math.log(width))


means = torch.linspace(0.2, 1.2, 101, dtype=torch.float64)
best = posterior.scale.item()
curves = {f"width {width:.2f}": bound(means, width) for width in (best / 2, best, 2 * best)}
plotting.show_curves(curves | {"exact": [exact] * 101}, x=means, xlabel="mean of the guess q", ylabel="nats")

# %% [markdown] lang="en"
# Only the true posterior touches: right width and right mean. Away from it, (2) must hold to the last digit:

# %%
q = Normal(*torch.tensor([0.9, 0.5], dtype=torch.float64))
gap = torch.distributions.kl_divergence(q, posterior)
print(f"residual of (2): {abs(bound(q.loc, 0.5) - exact - gap):.1e}")

# %% [markdown] lang="en"
# ## "Copy well" is a squared error, or an absolute one
#
# **Rule: the log of a density.** If $p(x\mid z)$ is a Gaussian of width $\sigma$ around the decoded $\hat x$, or a Laplace
# distribution of scale $b$, then up to a constant
#
# $$-\ln p(x\mid z)=\frac{|x-\hat x|^2}{2\sigma^2}+\text{const},\qquad -\ln p(x\mid z)=\frac{|x-\hat x|_1}{b}+\text{const} \tag{3}$$
#
# So a squared loss believes in errors of one size, an absolute loss forgives a few large ones. To get rid of the
# constants, we compare *differences* between two copies, against `torch.distributions`.

# %%
truth, one, two = torch.randn(3, 50, dtype=torch.float64, generator=runtime.generator(0))
for name, p, power in (("squared", lambda m: Normal(m, 0.7), 2), ("absolute", lambda m: Laplace(m, 0.7), 1)):
    theirs = (p(two).log_prob(truth) - p(one).log_prob(truth)).sum()
    ours = ((one - truth).abs() ** power - (two - truth).abs() ** power).sum() / (0.7 if power == 1 else 2 * 0.7**2)
    print(f"residual of (3), {name}: {(ours - theirs).abs():.1e}")

# %% [markdown] lang="en"
# ## "Stay near" in closed form
#
# The encoder's guess is $q=\mathcal N(\mu,\sigma^2)$, in every number of the code alike. **Rule: linearity of the
# expectation, with $\mathbb E_q[z^2]=\mu^2+\sigma^2$ and $\mathbb E_q[(z-\mu)^2]=\sigma^2$:**
#
# $$D\big(\mathcal N(\mu,\sigma^2)\,\|\,\mathcal N(0,1)\big)=\mathbb E_q[\ln q-\ln p]
# =\tfrac12\left(\mu^2+\sigma^2-1-\ln\sigma^2\right) \tag{4}$$
#
# A proof with symbols: sympy integrates the left side over the whole line, and we subtract the right.

# %%
z, mu = sympy.symbols("z mu", real=True)
s = sympy.symbols("sigma", positive=True)
density = sympy.exp(-((z - mu) ** 2) / (2 * s**2)) / (s * sympy.sqrt(2 * sympy.pi))
inside = density * (-((z - mu) ** 2) / (2 * s**2) - sympy.log(s) + z**2 / 2)
left = sympy.integrate(inside.expand(), (z, -sympy.oo, sympy.oo))
print("symbolic zero of (4):", sympy.simplify(left - (mu**2 + s**2 - 1 - sympy.log(s**2)) / 2))

# %% [markdown] lang="en"
# The package's function, and that of the diffusers library, which sums over a picture as ours does:

# %%
mean, logvar = torch.randn(2, 5, 4, 8, 8, dtype=torch.float64, generator=runtime.generator(1))
theirs = DiagonalGaussianDistribution(torch.cat([mean, logvar], 1)).kl().mean()
torch.testing.assert_close(losses.gaussian_kl(mean, logvar), theirs)
print("losses.gaussian_kl agrees with diffusers")

# %% [markdown] lang="en"
# Why not simply draw codes and average $\ln q-\ln p$? It works, and slowly: a hundred times the draws, a tenth of the
# error. We measure that slope.

# %%
ours = losses.gaussian_kl(torch.tensor([[0.8]]), torch.tensor([[math.log(0.25)]])).item()
counts, q, p = [10, 100, 1000, 10_000], Normal(0.8, 0.5), Normal(0.0, 1.0)
torch.manual_seed(0)
errors = []
for n in counts:
    draws = q.sample((300, n))
    errors.append(((q.log_prob(draws) - p.log_prob(draws)).mean(1) - ours).square().mean().sqrt().item())
print("slope:", round(np.polyfit(np.log(counts), np.log(errors), 1)[0], 2))
plotting.show_table(list(zip(counts, errors, strict=True)), ["codes drawn", "typical error of Monte Carlo, nats"])

# %% [markdown] lang="en"
# The closed form has no error at all, and no noise in its gradient. "Copy well" has no closed form, as the decoder is a
# network, so there one code is drawn for each picture. To learn through the draw, it is written as a fixed noise,
# moved and stretched. **Rule: $\mu+\sigma\varepsilon$ has mean $\mu$ and variance $\sigma^2$** (the *reparametrisation*):
#
# $$z=\mu+\sigma\,\varepsilon,\quad \varepsilon\sim\mathcal N(0,1)
# \quad\Rightarrow\quad \frac{\partial z}{\partial\mu}=1,\quad \frac{\partial z}{\partial\ln\sigma^2}=\tfrac12\sigma\varepsilon \tag{5}$$
#
# The pull of (4) itself, with the chain rule: towards $\mu=0$, and towards $\sigma=1$. Autograd takes the left sides.

# %%
mean, logvar = torch.randn(2, 1, 6, dtype=torch.float64, generator=runtime.generator(2)).requires_grad_()
eps = torch.randn(1, 6, dtype=torch.float64, generator=runtime.generator(3))
(dz,) = torch.autograd.grad((mean + (logvar / 2).exp() * eps).sum(), logvar, retain_graph=True)
d_mean, d_logvar = torch.autograd.grad(losses.gaussian_kl(mean, logvar), (mean, logvar))
print(f"residual of (5): {(dz - (logvar / 2).exp() * eps / 2).abs().max():.1e}")
print(f"residual of the pull: {max((d_mean - mean).abs().max(), (d_logvar - (logvar.exp() - 1) / 2).abs().max()):.1e}")

# %% [markdown] lang="en"
# ## Train one, with a code of two numbers
#
# A code of two numbers can be drawn on paper. Our data are silhouettes of four things of the world; the network is a few
# layers each way; the loss is (1) with a weight $\beta$ on "stay near" (Higgins et al. 2017). First, the data.

# %%
def silhouettes(names, count):
    """The shapes of things, (count, 1, 24, 24) in [-1, 1]; each drawing varies a little."""
    drawn = [scenes.Scene((scenes.Thing(names[k % len(names)], "red"),), "meadow", "flat") for k in range(count)]
    masks = torch.stack([torch.from_numpy(scenes.masks(scene, 96, seed=k)[0]) for k, scene in enumerate(drawn)])
    return F.avg_pool2d(masks[:, None, 24:72, 24:72].float(), 2) * 2 - 1


shapes = silhouettes(["star", "heart", "house", "fish"], 1000)
plotting.show_images(shapes[:8], columns=8, scale=0.8)

# %% [markdown] lang="en"
# The network, and its loss: (3) with $\sigma=1$ and (4), weighed by $\beta$.

# %%
class TwoNumbers(nn.Module):
    """A silhouette to the mean and the log-variance of a code of two numbers, and back."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(576, 256), nn.SiLU(), nn.Linear(256, 64), nn.SiLU(), nn.Linear(64, 4))
        layers = [nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 576)]
        self.decode = nn.Sequential(*layers, nn.Unflatten(1, (1, 24, 24)))


def variational(beta):
    def loss(model, batch, generator):
        mean, logvar = model.encode(batch).chunk(2, 1)
        code = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=generator)
        return 288 * losses.reconstruction(batch, model.decode(code), "l2") + beta * losses.gaussian_kl(mean, logvar)

    return loss


trained = {}
for beta in (0.1, 5, 50, 500):
    torch.manual_seed(0)
    trained[beta] = TwoNumbers()
    training.fit(trained[beta], shapes.split(100), variational(beta), steps=1000, learning_rate=2e-3)

# %% [markdown] lang="en"
# The same pictures, four weights. Where did each network put the thousand codes? (One panel each; a code is a point.)

# %%
with torch.no_grad():
    codes = {beta: model.encode(shapes).chunk(2, 1) for beta, model in trained.items()}
plotting.show_plane({f"β = {beta}": mean for beta, (mean, _) in codes.items()})

# %% [markdown] lang="en"
# With hardly any pull the codes lie far out and scattered; with more they gather around the middle; with too much of it
# they all become one point. Now the decoder's side: draw codes from $\mathcal N(0,I)$, as (1) promises, and
# decode them. One row for each $\beta$, the same codes in each.

# %%
dice = torch.randn(9, 2, generator=runtime.generator(1))
with torch.no_grad():
    drawings = torch.cat([model.decode(dice) for model in trained.values()]).clamp(-1, 1)
titles = [f"β = {beta}" if k == 0 else " " for beta in trained for k in range(9)]
plotting.show_images(drawings, titles, columns=9, scale=0.6, alt="Silhouettes drawn from random codes: one row for each weight")

# %% [markdown] lang="en"
# Too light a pull: the dice miss some of the shapes, and land between others. Too heavy: one blur for all. In numbers,
# the error of a copy and the KL, which is the "stay near" of (1):

# %%
rows = []
for beta, (mean, logvar) in codes.items():
    back = trained[beta].decode(mean).detach()
    rows.append((beta, (back - shapes).square().mean().item(), losses.gaussian_kl(mean, logvar).item()))
plotting.show_table(rows, ["β", "squared error of a copy", "KL, nats"])

# %% [markdown] lang="en"
# A KL of nearly nothing says that the code tells nothing: **posterior collapse**. When must it come? Make everything
# linear: one direction of the data with variance $s^2$, decoded as $wz$ with Gaussian error $\sigma$. Dividing the loss by
# $\beta$ shows that a weight on "stay near" is the same as an error $\beta\sigma^2$ instead of $\sigma^2$. With the best
# $q$, by (2), the bound is the likelihood of $\mathcal N(0, w^2+\beta\sigma^2)$. **Rule: its derivative is zero at the best $w$,**
#
# $$\frac{d}{dw}\left[\tfrac12\ln(w^2+\beta\sigma^2)+\frac{s^2}{2(w^2+\beta\sigma^2)}\right]=0
# \quad\Rightarrow\quad w^2=\max(0,\ s^2-\beta\sigma^2) \tag{6}$$
#
# A direction is used only while its variance is above $\beta\sigma^2$ (Lucas et al. 2019). sympy puts (6) into the derivative:

# %%
W, S, V = sympy.symbols("w s v", positive=True)  # v: β σ²
slope = sympy.diff(sympy.log(W**2 + V) / 2 + S**2 / (2 * (W**2 + V)), W)
print("symbolic zero of (6):", sympy.simplify(slope.subs(W, sympy.sqrt(S**2 - V))))

# %% [markdown] lang="en"
# That is a prediction about our networks too: near collapse a decoder is nearly linear, so it must come when $\beta$ (with
# $\sigma=1$) passes the largest variance of any direction of the silhouettes. We compute it, and train on both sides.

# %%
edge = torch.linalg.eigvalsh(torch.cov(shapes.flatten(1).T.double(), correction=0))[-1].item()
rows = []
for share in (0.6, 0.8, 1.2):
    torch.manual_seed(0)
    model = TwoNumbers()
    training.fit(model, shapes.split(100), variational(share * edge), steps=600, learning_rate=2e-3)
    rows.append((f"{share} × {edge:.0f}", losses.gaussian_kl(*model.encode(shapes).chunk(2, 1)).item()))
plotting.show_table(rows, ["β", "KL, nats"])

# %% [markdown] lang="en"
# Below the edge the code lives, above it the code is dead: one eigenvalue told it beforehand.
#
# ## Why the shipped autoencoder draws nothing by itself
#
# Large autoencoders for latent diffusion choose $\beta$ tiny: they want copies, and leave the drawing to a diffusion model
# (Rombach et al. 2022). The course's own has no pull at all; its codes only have the right scale. Codes rolled with
# dice show it; beside them, halfway between two pictures, by code and by pixel.

# %%
dice = torch.randn(2, *models.LATENT, generator=runtime.generator(0))
with torch.no_grad():
    halfway = vae.decode(code[:2].mean(0, keepdim=True)).sample
    rolled = vae.decode(dice).sample
shown = torch.cat([rolled, halfway, pictures[:2].mean(0, keepdim=True)]).clamp(-1, 1)
plotting.show_images(shown, ["rolled code", "rolled code", "halfway, code", "halfway, pixels"])

# %% [markdown] lang="en"
# Rolled codes are rags, not pictures, and halfway is a double exposure either way. The code of this autoencoder is a
# faithful shorthand and no more. To *draw* codes one needs to know where pictures lie: the loss of 2.3.
#
# ## Pictures beside words
#
# The second loss copies nothing. A batch holds $N$ pictures and their $N$ captions; each becomes a vector of length one,
# $u_i$ and $v_j$, and $s_{ij}=\kappa\,u_i\cdot v_j$ says how well they fit ($\kappa$ is the *scale*, one over the
# temperature). Which caption belongs to picture $i$? That is a question with $N$ answers, and so is its converse
# (Radford et al. 2021):
#
# $$L=-\frac1{2N}\sum_{i}\Big(\ln p_{i\cdot}(i)+\ln p_{\cdot i}(i)\Big),\qquad
# p_{i\cdot}(j)=\frac{e^{s_{ij}}}{\sum_k e^{s_{ik}}},\quad p_{\cdot j}(i)=\frac{e^{s_{ij}}}{\sum_k e^{s_{kj}}} \tag{7}$$
#
# By hand for a batch of three, then the function, then the library's:

# %%
u, v = (F.normalize(torch.randn(3, 4, dtype=torch.float64, generator=runtime.generator(k)), dim=1) for k in (4, 5))
s = 5.0 * u @ v.T
rows, columns = (s.exp() / s.exp().sum(k, keepdim=True) for k in (1, 0))
by_hand = -(rows.diagonal().log() + columns.diagonal().log()).sum() / (2 * 3)
torch.testing.assert_close(losses.contrastive(u, v, 5.0), by_hand)
library = (F.cross_entropy(s, torch.arange(3)) + F.cross_entropy(s.T, torch.arange(3))) / 2
torch.testing.assert_close(library, by_hand)
print(f"by hand, losses.contrastive and torch agree: {by_hand:.4f} nats")

# %% [markdown] lang="en"
# Its gradient. **Rule: the gradient of a cross-entropy by its scores is $p-y$,** once for rows, once for columns:
#
# $$\frac{\partial L}{\partial s_{ij}}=\frac{1}{2N}\Big(p_{i\cdot}(j)+p_{\cdot j}(i)-2\,[i=j]\Big) \tag{8}$$
#
# and through a length kept at one, **by the quotient rule**, only what is at right angles to $u$ gets through, so that
# vectors turn and do not grow:
#
# $$\frac{\partial L}{\partial x}=\frac{1}{|x|}\big(I-uu^\top\big)\frac{\partial L}{\partial u},\qquad u=\frac{x}{|x|} \tag{9}$$

# %%
s.requires_grad_()
(found,) = torch.autograd.grad((F.cross_entropy(s, torch.arange(3)) + F.cross_entropy(s.T, torch.arange(3))) / 2, s)
print(f"residual of (8): {(found - (rows + columns - 2 * torch.eye(3)) / 6).abs().max():.1e}")
x = torch.randn(3, 4, dtype=torch.float64, generator=runtime.generator(6)).requires_grad_()
(over_x,) = torch.autograd.grad(losses.contrastive(x, v, 5.0), x)
u, length = F.normalize(x.detach(), dim=1), x.detach().norm(dim=1, keepdim=True)
s = 5.0 * u @ v.T
over_u = (s.softmax(1) + s.softmax(0) - 2 * torch.eye(3)) @ (5.0 * v) / 6  # (8), and the chain rule
derived = (over_u - u * (u * over_u).sum(1, keepdim=True)) / length
print(f"residual of (9): {(over_x - derived).abs().max():.1e}")

# %% [markdown] lang="en"
# ## Train it
#
# Pictures of one thing in one of eight colours, 32 pixels wide, and captions in words. The picture side is a small
# convolution, the word side the sum of one vector for each word; κ is learnt too. Two captions of one colour and thing
# both fit: they are not counted as wrong (`same`). As in 1.3, each thing misses one colour: the training sees every
# thing and every colour, but not these pairs.

# %%
def single(k):
    """Scene k: each colour of each thing in turn, large, on some background, in the plain style."""
    name, colour = list(scenes.THINGS)[k % 16], list(scenes.COLOURS)[k // 16 % 8]
    return scenes.Scene((scenes.Thing(name, colour),), list(scenes.BACKGROUNDS)[k % 5], "flat")


def new_pair(scene):
    """Whether its thing and its colour never meet in training."""
    return any(missed in scenes.COLOURS for _, missed in scenes.unseen(scene))


told = [scene for scene in map(single, range(1024)) if not new_pair(scene)]
seen = scenes.pictures(told, 32, seeds=list(range(len(told))))
names = torch.tensor([[list(scenes.THINGS).index(t.name), 16 + list(scenes.COLOURS).index(t.colour)] for (t,) in (s.things for s in told)])
print(f"{len(told)} pictures, {len(names.unique(dim=0))} pairs of thing and colour, {len(names.unique())} words")
plotting.show_images(seen[:8], [f"{s.things[0].colour} {s.things[0].name}" for s in told[:8]], columns=8, scale=0.75)

# %% [markdown] lang="en"
# The two towers, and batches of sixty-four. Watch the loss beside $\ln 64$, which is what
# guessing blindly costs.

# %%
class TwoTowers(nn.Module):
    """Pictures (B, 3, 32, 32) and pairs of words (B, 2) to vectors of 32 numbers."""

    def __init__(self, width=32):
        super().__init__()
        layers = [(3, 24), (24, 48), (48, 64)]
        body = [part for a, b in layers for part in (nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(4, b), nn.SiLU())]
        self.pictures = nn.Sequential(*body, nn.Flatten(), nn.Linear(64 * 16, width))
        self.words = nn.EmbeddingBag(24, width, mode="sum")
        self.scale = nn.Parameter(torch.tensor(2.0))


def batch_of(indices, turn):
    told = names[indices]
    return seen[indices], told, (told[:, None] == told[None]).all(2)


def objective(model, batch):
    seen, told, same = batch
    return losses.contrastive(model.pictures(seen), model.words(told), model.scale.exp(), same)


torch.manual_seed(0)
towers = TwoTowers()
history = training.fit(towers, training.Shuffled(len(seen), 64, batch_of), objective, steps=400, learning_rate=3e-3)
plotting.show_curves({"training": history.smoothed(20), "blind": [math.log(64)] * 400}, xlabel="step", ylabel="nats")

# %% [markdown] lang="en"
# Eight new drawings against eight captions, by the cosine of their vectors. Two of the eight, the red cat and the pink
# flower, are compositions that the training never saw. Look for the diagonal.

# %%
asked = [("red", "cat"), ("blue", "cat"), ("red", "house"), ("pink", "flower"), ("green", "flower"), ("yellow", "star"), ("pink", "star"), ("blue", "fish")]


def told_by(colour, name):
    return torch.tensor([[list(scenes.THINGS).index(name), 16 + list(scenes.COLOURS).index(colour)]])


fresh = scenes.pictures([scenes.Scene((scenes.Thing(name, colour),), "snow", "flat") for colour, name in asked], 32)
with torch.no_grad():
    u, v = F.normalize(towers.pictures(fresh), dim=1), F.normalize(towers.words(torch.cat([told_by(*pair) for pair in asked])), dim=1)
words = [" ".join(pair) for pair in asked]
plotting.show_heatmap((u @ v.T).round(decimals=2) + 0.0, words, words)

# %% [markdown] lang="en"
# Next to each true caption, the likely mistakes are those that share a word: same colour, or same thing. That is a
# classifier nobody trained as one, and it is how the course's tiny CLIP will choose among captions in chapter 3.
#
# ## The dial: temperature
#
# By (8) each wrong caption pushes with the weight $p_{i\cdot}(j)$. The scale decides how that push is shared out. **Rule: in
# the quotient of two softmax shares the sum cancels:**
#
# $$\frac{p_{i\cdot}(j)}{p_{i\cdot}(k)} = e^{\kappa\,(u_i\cdot v_j-u_i\cdot v_k)} \tag{10}$$
#
# Small $\kappa$: all wrong captions push alike; large $\kappa$: only the nearest one does (Wang & Liu 2021). Measured on
# one batch of ours: which share of all the pushing do the nearest, the second and the third wrong caption have?

# %%
with torch.no_grad():
    u, v = F.normalize(towers.pictures(seen[:64]), dim=1), F.normalize(towers.words(names[:64]), dim=1)
scales = [1, 2, 5, 10, 20, 50, 100]
wrong = (u @ v.T).masked_fill((names[:64, None] == names[None, :64]).all(2), -math.inf)
push = torch.stack([(scale * wrong).softmax(1).sort(1, descending=True).values.mean(0) for scale in scales])
p, kappa = (10 * (u @ v.T).double()).softmax(1), 10
print(f"residual of (10): {(p[0, 1] / p[0, 2] - (kappa * (u[0].double() @ (v[1] - v[2]).double())).exp()).abs():.1e}")
shares = {"nearest": push[:, 0], "second": push[:, 1], "third": push[:, 2]}
plotting.show_curves(shares, x=scales, xlabel="scale κ", ylabel="share of the push")

# %% [markdown] lang="en"
# What does it do to learning? Four pairs of towers with the scale fixed, and the pair that learnt its own, choose the
# caption of new drawings among all 128: of compositions that were trained, and of those that were left out.

# %%
every = torch.cartesian_prod(torch.arange(16), torch.arange(16, 24))
test = [single(k) for k in range(1024)]
shown = scenes.pictures(test, 32, seeds=[10_000 + k for k in range(len(test))])
answers = torch.cat([told_by(scene.things[0].colour, scene.things[0].name) for scene in test])
left_out = torch.tensor([new_pair(scene) for scene in test])


@torch.no_grad()
def right(model):
    found = (model.pictures(shown) @ F.normalize(model.words(every), dim=1).T).argmax(1)
    hit = (every[found] == answers).all(1).float()
    return hit[~left_out].mean().item(), hit[left_out].mean().item()


rows = [(f"{towers.scale.exp():.1f}, learnt in 400 steps", *right(towers))]
for scale in (1, 5, 20, 100):
    torch.manual_seed(0)
    fixed = TwoTowers()
    fixed.scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=False)
    training.fit(fixed, training.Shuffled(len(seen), 64, batch_of), objective, steps=100, learning_rate=3e-3)
    rows.append((f"{scale}, 100 steps", *right(fixed)))
plotting.show_table(rows, ["κ", "right among 128, trained", "left out"])

# %% [markdown] lang="en"
# At 1 all mistakes push nearly alike, at 100 the nearest pushes most, and in the same hundred steps both learn the
# trained pairs a little less well than the scales between. The right column matters more: both words of each pair were
# trained, only never together. What it lacks of the column before it is lost in putting known parts together in a new
# way, and no loss on trained pairs can show that.
#
# ## What the loss knows: information
#
# How low can (7) fall? **Rule: the best score is $s_{ij}=\ln p(v_j\mid u_i)-\ln p(v_j)$, and $N$ candidates cannot tell more
# than $\ln N$** (van den Oord et al. 2018). With the mutual information $I(u;v)$, the nats that pictures tell about words:
#
# $$\ln N - L \;\le\; \min\big(I(u;v),\ \ln N\big) \tag{11}$$
#
# For two Gaussians with correlation $\rho$ in each of $d$ directions $I=-\frac d2\ln(1-\rho^2)$, and the best score is known.
# We put it into the package's cross-entropy and enlarge the batch.

# %%
rho, d, sizes = 0.9, 4, [2, 8, 32, 128, 512]
truth, told_nats = -d / 2 * math.log(1 - rho**2), []
for n in sizes:
    x, noise = torch.randn(2, 4096 // n * 4, n, d, generator=runtime.generator(n))
    y = rho * x + (1 - rho**2) ** 0.5 * noise
    best = Normal(rho * x[:, :, None], (1 - rho**2) ** 0.5).log_prob(y[:, None]).sum(-1) - Normal(0.0, 1.0).log_prob(y).sum(-1)[:, None]
    told_nats.append(math.log(n) - losses.cross_entropy(best, torch.arange(n).expand(len(best), n)).item())
curves = {"ln N - L": told_nats, "I(u; v)": [truth] * len(sizes), "ln N": [math.log(n) for n in sizes]}
plotting.show_curves(curves, x=np.log2(sizes), xlabel="log₂ of the batch N", ylabel="nats")

# %% [markdown] lang="en"
# A small batch asks an easy question and cannot learn what only a hard one teaches: one reason for batches as large as
# CLIP's 32,768.
#
# ## Where it fails
#
# The word side here is a *sum* of words: "a red cat and a blue house" and "a blue cat and a red house" are the same
# vector, whatever the pictures show. We check it, up to rounding.

# %%
one = torch.cat([told_by("red", "cat"), told_by("blue", "house")], 1)
other = torch.cat([told_by("blue", "cat"), told_by("red", "house")], 1)
print(f"largest difference of the two captions: {(towers.words(one) - towers.words(other)).abs().max():.1e}")

# %% [markdown] lang="en"
# Large CLIPs read words in order, and still mix up who has which colour (Thrush et al. 2022). Yuksekgonul et al. (2023)
# suspect why: to tell random captions apart, nobody needs the order of words. The course's own `clip` was therefore
# trained on batches in which scenes come by fours that differ in one fact or two; chapter 3 uses it.
#
# ## Exercises
#
# **2.2.1** (4 minutes) Draw a code from the encoder's guess, equation (5): its mean, its *log-variance*, and the noise.

# %% tags=["exercise"]
def draw_code(mean, logvar, noise):
    return mean + (logvar / 2).exp() * noise  # solution


checks.check_draw_code(draw_code)

# %% [markdown] lang="en"
# **2.2.2** (6 minutes) Write equation (4) for a batch: sum over the numbers of each code, mean over the batch. `mean` and
# `logvar` have the shape (B, D).

# %% tags=["exercise"]
def stay_near(mean, logvar):
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1).mean()  # solution


checks.check_stay_near(stay_near)

# %% [markdown] lang="en"
# **2.2.3** (10 minutes) Write equation (7) from the scores `s` of shape (N, N): rows are pictures, columns are captions.
# `s.log_softmax(k)` gives logarithms of shares that add up to one along dimension k.

# %% tags=["exercise"]
def contrast(s):
    return -(s.log_softmax(1).diagonal() + s.log_softmax(0).diagonal()).mean() / 2  # solution


checks.check_contrast(contrast)

# %% [markdown] lang="en"
# ## Recap
#
# 1. The bound (1) is "copy well" plus "stay near"; what it gives away is how wrong the encoder's guess is (2).
# 2. A squared or an absolute error is a choice of noise (3); the KL has a closed form (4); a draw is written as moved noise (5).
# 3. Too heavy a KL kills a direction when β passes its variance (6); too light a one leaves codes that dice cannot draw.
# 4. The contrastive loss (7) is a question with N answers, both ways; its scale decides which mistakes count (10), and its
#    batch how much it can know (11).
#
# **Next:** 2.3 derives the loss that learns where pictures lie among all codes.
#
# ### References
#
# - Kingma, Welling 2014, *Auto-encoding variational Bayes*, arXiv 1312.6114.
# - Higgins et al. 2017, *β-VAE: learning basic visual concepts with a constrained variational framework*, ICLR.
# - Lucas, Tucker, Grosse, Norouzi 2019, *Don't blame the ELBO!*, arXiv 1911.02469.
# - Rombach et al. 2022, *High-resolution image synthesis with latent diffusion models*, arXiv 2112.10752.
# - Radford et al. 2021, *Learning transferable visual models from natural language supervision*, arXiv 2103.00020.
# - van den Oord, Li, Vinyals 2018, *Representation learning with contrastive predictive coding*, arXiv 1807.03748.
# - Wang, Liu 2021, *Understanding the behaviour of contrastive loss*, arXiv 2012.09740.
# - Thrush et al. 2022, *Winoground*, arXiv 2204.03162.
# - Yuksekgonul et al. 2023, *When and why vision-language models behave like bags-of-words*, arXiv 2210.01936.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
