# %% [markdown] lang="en"
# # 4.2 Training in less
#
# The last notebook said what a training step holds. This one takes it away piece by piece: activations, gradients,
# optimiser states, weights. Each trick is predicted, counted and timed, and each has to say what it did to the gradient:
# nothing at all, or by how much it moved.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_course import adaptation, checks, lora, losses, memory, models, plotting, runtime, scenes, training

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The job is a fine-tune of the captioner of chapter 3: one step on 32 pictures with a caption each. The captions are of
# different length, which will matter. Here they are sorted by it, as many loaders do to save padding.

# %%
captioner, tokenizer = models.load("captioner"), models.load("tokenizer")
captioner.decoder.config.use_cache = False  # a cache is for generating
drawn = scenes.samples(32, "train", seed=42)
batch = adaptation.Labelled(tokenizer, scenes.pictures_as_bytes(drawn), adaptation.told(drawn))(torch.arange(32), 0)
real = (batch["tokens"][:, 2:] != tokenizer.pad_token_id).sum(1)  # tokens to predict, of each caption
batch = {key: each[real.argsort()] for key, each in batch.items()} | {"all": real.sum()}
print("tokens of each caption:", real.sort().values.tolist(), " together", batch["all"].item())

# %% [markdown] lang="en"
# A *plan* says how a step is taken. The plain one has nothing but a loss; the other cuts the batch into four parts.

# %%
mean = adaptation.caption_loss(tokenizer.pad_token_id)  # nats a token, as in 3.1


def weighted(model, part, parts):
    """A part's share of the loss of the whole batch; equation (2) below."""
    tokens = (part["tokens"][:, 2:] != tokenizer.pad_token_id).sum()
    return parts * mean(model, part) * tokens / part["all"]


plain = memory.Plan(mean)
cut = memory.Plan(partial(weighted, parts=4), accumulate=4)
print(*(f"{name}: {plan.accumulate} part(s), {plan.precision}" for name, plan in {"plain": plain, "cut": cut}.items()), sep="\n")

# %% [markdown] lang="en"
# Below is the end of this notebook, before any explanation: the same step, plain and with the tricks of this chapter.
# Each row is counted while it runs (`memory.count`). Look at the last column.

# %%
small = replace(cut, checkpointing=True, optimiser=memory.AdamW8bit)
base = deepcopy(captioner)
memory.quantise(base, 4)
targets = ["q_proj", "v_proj", "c_attn"]
lora.add(base, 8, targets, generator=runtime.generator(0))
jobs = {"plain": (captioner, plain), "small, all weights learn": (captioner, small), "small, LoRA on 4 bits": (base, replace(small, precision="bf16"))}
counted = {name: memory.count(model, batch, plan) for name, (model, plan) in jobs.items()}
most = counted["plain"].peak
assert most > 5 * counted["small, all weights learn"].peak
plotting.show_table([[name, each.peak, each.peak / 2**20, most / each.peak] for name, each in counted.items()], ["step", "bytes at the peak", "MiB", "times less"])

# %% [markdown] lang="en"
# The second row trains the same weights on the same batch, with the same gradient, in a fifth of the memory or less. The
# third trains fewer weights. The first two can be known beforehand: `memory.predict` runs the step on tensors without
# numbers.

# %%
for name in list(jobs)[:2]:
    size = memory.predict(jobs[name][0], batch, jobs[name][1]).peak
    assert abs(size / counted[name].peak - 1) < 1e-3
    print(f"{name}: predicted {size:,} bytes, {size / counted[name].peak - 1:+.4%} off the count")

# %% [markdown] lang="en"
# What is each peak made of? Numbers are MiB.

# %%
shares = np.array([[each.at_peak[kind] for kind in memory.KINDS] for each in counted.values()]) / 2**20
plotting.show_heatmap(shares.round(1), list(counted), memory.KINDS)

# %% [markdown] lang="en"
# Nearly everything in the first row is activations, so most tricks are about these. Once they are small, the weights, their
# gradients and the optimiser's states stand out, and the others are about them. Now one by one.
#
# ## A way to judge a trick
#
# Three questions to every trick: how many bytes, how many seconds, how far is the gradient from that of the plain step?
# For the last we take the relative difference $\lVert g-g_{\text{plain}}\rVert / \lVert g_{\text{plain}}\rVert$. The function
# listens at the optimiser's door: what arrives there is the gradient.

# %%
results = {}


def tried(name, plan, model=captioner, account=None):
    def watched(parameters):
        def listen(*_):
            if not kept:
                kept.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))

        optimiser = plan.optimiser(parameters)
        optimiser.register_step_pre_hook(listen)
        return optimiser

    kept = []
    seconds = min(memory.measure(model, batch, replace(plan, optimiser=watched)).seconds for _ in range(2))
    results[name] = account or memory.count(model, batch, plan), seconds, kept[0]


tried("plain", plain, account=counted["plain"])
print(f"{len(results['plain'][2]):,} numbers in the gradient")

# %% [markdown] lang="en"
# And a table of what was tried, with the plain step as the measure of all. Seconds are those of a second step on this
# machine, after one to warm up, the better of two; they waver all the same.

# %%
def off(gradient, true):
    return ((gradient - true).norm() / true.norm()).item()


def table(*names):
    account, seconds, gradient = results["plain"]
    rows = [[n, a.peak / 2**20, account.peak / a.peak, s / seconds, off(g, gradient) if g.shape == gradient.shape else "other weights"] for n, (a, s, g) in results.items() if n in names]
    return plotting.show_table(rows, ["step", "MiB", "times less", "seconds ÷ plain", "gradient off by"])


table("plain")

# %% [markdown] lang="en"
# ## Accumulation: a large batch in small parts
#
# Gradients add up. So cut the batch into $K$ parts, run forward and backward on each, let `.grad` collect, and step once. Only one
# part's activations are alive at a time. But what has to be added up? The loss of the batch is the mean over its tokens. With
# $n_k$ tokens in part $k$ and $N=\sum_k n_k$ in all,
#
# $$L=\frac1N\sum_{k=1}^{K}\sum_{i=1}^{n_k}\ell_{ki},\qquad L_k=\frac1{n_k}\sum_{i=1}^{n_k}\ell_{ki} \tag{1}$$
#
# where $L_k$ is what the loss function returns for part $k$. Put $\sum_i\ell_{ki}=n_kL_k$ into the left side:
#
# $$L=\sum_{k=1}^{K}\frac{n_k}{N}\,L_k,\qquad \nabla L=\sum_{k=1}^{K}\frac{n_k}{N}\,\nabla L_k \tag{2}$$
#
# The usual loop divides each $L_k$ by $K$ instead, and so takes the mean of means:
#
# $$\tilde L=\sum_k\frac1K L_k=\frac1N\sum_k\sum_i\frac{N}{K\,n_k}\,\ell_{ki} \tag{3}$$
#
# A token counts $N/(Kn_k)$ times there, more in a part with few tokens. (2) and (3) agree only if all $n_k$ are equal.

# %%
n = real.sort().values.view(4, 8).sum(1)  # tokens of each of four parts
rows = [[k + 1, int(n[k]), float(n[k] / n.sum()), 1 / 4, float(n.sum() / 4 / n[k])] for k in range(4)]
plotting.show_table(rows, ["part", "tokens", "weight by (2)", "weight by (3)", "a token counts in (3)"])

# %% [markdown] lang="en"
# `weighted` above is equation (2), times $K$, since the loop divides by it. Look at the last column: which of the two has
# the gradient of the large batch?

# %%
tried("accumulate 4, mean of means", replace(plain, accumulate=4))
tried("accumulate 4, weighted", cut)
assert off(results["accumulate 4, weighted"][2], results["plain"][2]) < 1e-6
assert off(results["accumulate 4, mean of means"][2], results["plain"][2]) > 1e-2
table("plain", "accumulate 4, mean of means", "accumulate 4, weighted")

# %% [markdown] lang="en"
# The weighted sum is right to the last digits of float32. The mean of means is off by a good part of the gradient's own length. This
# slip was in widely used training libraries for years, and was found in 2024 because two runs that should be equal were not. Sorting
# makes it large; here is the same with captions in random order, and the loss itself instead of its gradient.

# %%
def batch_loss(rows, parts, loss):
    with torch.no_grad():
        picked = [{"pictures": batch["pictures"][i], "tokens": batch["tokens"][i], "all": batch["all"]} for i in rows.chunk(parts)]
        return sum(loss(captioner, each).item() for each in picked) / parts


orders = {"sorted by length": torch.arange(32), "in random order": torch.randperm(32, generator=runtime.generator(1))}
rows = [[name, batch_loss(i, 1, mean), batch_loss(i, 4, mean), batch_loss(i, 4, cut.loss)] for name, i in orders.items()]
plotting.show_table(rows, ["captions", "whole batch", "mean of means", "weighted"])

# %% [markdown] lang="en"
# The weighted loss is that of the whole batch in either order; the mean of means depends on who stands beside whom.
#
# ### The dial: the number of parts

# %%
peaks = {1: results["plain"][0].peak, 4: results["accumulate 4, weighted"][0].peak}
for k in (2, 8):
    peaks[k] = memory.count(captioner, batch, memory.Plan(partial(weighted, parts=k), accumulate=k)).peak
fixed = 16 * sum(p.numel() for p in captioner.parameters())  # equation (2) of 4.1
lines = {"counted": [peaks[k] / 2**20 for k in (1, 2, 4, 8)], "16 bytes a weight": [fixed / 2**20] * 4}
plotting.show_curves(lines, x=[1, 2, 4, 8], xlabel="parts", ylabel="MiB at the peak")

# %% [markdown] lang="en"
# Activations fall as $1/K$, down to what does not depend on the batch: weights, gradients, states. The gradients now live
# through the whole step, since they collect.
#
# ## Checkpointing: forget, and compute again
#
# The backward pass needs what the forward pass saw. Instead of keeping all of it, keep what enters each *block*, and run the block
# forward once more when its turn comes. The same numbers come out of the same operations, so the gradient is not merely close.

# %%
tried("checkpointing", replace(plain, checkpointing=True))
assert torch.equal(results["checkpointing"][2], results["plain"][2])
table("plain", "checkpointing")

# %% [markdown] lang="en"
# The difference is exactly zero. The price is one more forward pass. Counted in products, that is about a third of a
# step; the fourth column says what it is by the clock.
#
# ### The dial: how long is a block?
#
# A chain of $n$ equal layers, each of which keeps $a$ bytes, cut into blocks of $k$ layers. Alive at once are the inputs of $n/k$
# blocks, and the inside of the one that is computed again:
#
# $$\text{bytes}(k)\approx a\left(\frac nk+k\right),\qquad \frac{d}{dk}=0\ \Rightarrow\ k=\sqrt n \tag{4}$$
#
# So a hundred layers cost about as much as twenty. First the chain, here with 4 layers in blocks of 2, to see its shape:

# %%
def chain(n, k, width=64):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(n)]
    return nn.Sequential(*(nn.Sequential(*layers[i : i + k]) for i in range(0, n, k)))


def square(model, x):
    return model(x).square().mean()


print(chain(4, 2, 8))

# %% [markdown] lang="en"
# Now 36 layers in blocks of every length, counted.

# %%
layers, x = 36, torch.randn(256, 64, generator=runtime.generator(0))
ks, held = [1, 2, 3, 4, 6, 9, 12, 18, 36], []
for k in ks:
    model = chain(layers, k)
    with memory.checkpointing(model, list(model)):
        held.append(memory.count(model, x, memory.Plan(square), 1).highest["activations"] / x.nbytes)
unchecked = memory.count(model, x, memory.Plan(square), 1).highest["activations"] / x.nbytes
assert held.index(min(held)) == ks.index(6)
lines = {"counted": held, "n/k + k": [layers / k + k for k in ks], "not checkpointed": [unchecked] * len(ks)}
plotting.show_curves(lines, x=ks, xlabel="layers in a block", ylabel="layers' worth of activations")

# %% [markdown] lang="en"
# The curve of (4) lies on that of the count, which shows as the wider band beneath; the lowest point is at the root of
# 36. Both ends are useless: blocks of one layer keep everything, and one block of all layers computes everything again
# to keep everything.
#
# ### Which part of a model?
#
# The captioner has eyes and a tongue. One may checkpoint either. `memory.checkpointing` takes the blocks by name.

# %%
eyes, tongue = list(captioner.encoder.encoder.layers), list(captioner.decoder.transformer.h)
rows = []
for name, blocks in {"eyes": eyes, "tongue": tongue, "both": eyes + tongue}.items():
    with memory.checkpointing(captioner, blocks):
        rows.append([name, len(blocks), memory.count(captioner, batch, plain).peak / 2**20])
plotting.show_table(rows, ["checkpointed", "blocks", "MiB at the peak"])

# %% [markdown] lang="en"
# Checkpoint where activations are many: here in the eyes, which look at 64 places and a summary, where a caption has some
# twenty tokens.
#
# ## Half precision
#
# Two formats of 16 bits, cut differently. Compare the last two columns.

# %%
formats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
rows = [[name, f.bits, f.eps, f.max, f.smallest_normal * f.eps] for name, f in ((name, torch.finfo(t)) for name, t in formats.items())]
plotting.show_table(rows, ["format", "bits", "next number after 1, minus 1", "largest", "smallest above 0"])

# %% [markdown] lang="en"
# bfloat16 keeps the range of float32 and has three significant digits at best. float16 has one digit more, and hardly any room below
# $10^{-7}$. `autocast` multiplies matrices in the narrow format and keeps the weights wide. First bfloat16:

# %%
tried("bf16", replace(plain, precision="bf16"))
table("plain", "bf16")

# %% [markdown] lang="en"
# Less memory, and a gradient that moved by some percent, as each number on the way is rounded to two or three digits.
# The fourth column says whether it is faster on this processor; on a GPU it usually is.
#
# ### Underflow
#
# Now float16, on eight of the captions. The gradient of a mean over $N$ tokens is $1/N$ of that of a token, and on the way down it is spread
# over many numbers. How small do they get? The curve counts parameters' gradients by their power of ten, in float32.

# %%
few = {key: each[::4] if each.ndim else each for key, each in batch.items()}


def backward(dtype=None, scale=1.0):
    """Gradients of each parameter on eight captions."""
    model = deepcopy(captioner).train()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        loss = mean(model, few)
    (scale * loss).backward()
    return {name: p.grad / scale for name, p in model.named_parameters() if p.grad is not None}


wide = backward()
print(f"{len(wide)} tensors of gradients")

# %%
def flat(gradients):
    return torch.cat([each.flatten() for each in gradients.values()])


powers = flat(wide)[flat(wide) != 0].abs().log10()
edges = torch.arange(-12, 0.5, 0.5)
share = torch.histc(powers, len(edges), -12, 0.5) / len(powers)
plotting.show_curves({"gradients": share * 100}, x=edges + 0.25, xlabel="power of ten", ylabel="percent of all numbers")

# %% [markdown] lang="en"
# Some lie to the left of float16's smallest number, and these become zero. The remedy is **loss scaling**: multiply the loss by
# $s$, so that by the chain rule every gradient is $s$ times as large; divide by $s$ in float32 before the step. With $s=2^{16}$ the curve
# moves nearly five powers to the right. Look at the zeros: the share of numbers that are 0 now and were not in float32.

# %%
narrow = {"bf16": backward(torch.bfloat16)} | {f"fp16, scale 2^{k}": backward(torch.float16, 2.0**k) for k in (0, 8, 16)}
alive = flat(wide) != 0
zeros = {name: (flat(each)[alive] == 0).double().mean().item() for name, each in narrow.items()}
assert zeros["fp16, scale 2^0"] > 100 * zeros["fp16, scale 2^16"]
rows = [[name, f"{zeros[name]:.4%}", off(flat(each), flat(wide))] for name, each in narrow.items()]
others = off(results["plain"][2], flat(wide))
assert others > 5 * rows[0][2]
plotting.show_table([*rows, ["float32, on all 32 captions", "", others]], ["", "zeros", "gradient off by"])

# %% [markdown] lang="en"
# bfloat16 loses nothing to zero and is off further: it has fewer digits. float16 without a scale loses a part of the gradient; with one it
# is the more exact of the two. The last row puts all this in its place: which captions are in the batch moves the gradient far more than any
# rounding. Which layers suffer? One point for each weight matrix, from the eyes to the words.

# %%
matrices = [name for name, p in captioner.named_parameters() if p.ndim == 2 and name in wide]
lines = {how: [off(narrow[how][name], wide[name]) for name in matrices] for how in ("bf16", "fp16, scale 2^0", "fp16, scale 2^16")}
plotting.show_curves(lines, xlabel="weight matrix", ylabel="gradient off by", logy=True)

# %% [markdown] lang="en"
# Without a scale, float16 is off further than with one in nearly every matrix, not in one alone: what vanished above is
# missing below.
#
# ### When training stalls
#
# A few percent of zeros do no great harm. More do. Our example is the simplest autoencoder: two matrices that learn to copy patches of pictures, with
# a mean over all pixels. A larger batch has a larger $N$, so its gradients are smaller by the same factor; scales below 1 show what
# that does. We train with each scale, and skip a step whose gradient is not finite.

# %%
patches = nn.functional.unfold(scenes.pictures(drawn[:4], 128), 8, stride=8).mT.reshape(-1, 192)


def copy_once(model, optimiser, scale, dtype):
    model.zero_grad()
    with torch.autocast("cpu", dtype):
        guess = model(patches)
    loss = (guess.float() - patches).square().mean()
    (scale * loss).backward()
    for p in model.parameters():
        p.grad /= scale
    if all(p.grad.isfinite().all() for p in model.parameters()):
        optimiser.step()
    return loss.item()


print(f"{len(patches):,} patches; the loss is a mean over {patches.numel():,} numbers")

# %%
def copied(scale, dtype=torch.float16, steps=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(192, 32), nn.Linear(32, 192))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    return [copy_once(model, optimiser, scale, dtype) for _ in range(steps)][-1]


scales = [-14, -10, -6, 0, 8, 16, 24]
lines = {"fp16": [copied(2.0**k) for k in scales], "bf16, no scale": [copied(1.0, torch.bfloat16)] * len(scales)}
assert lines["fp16"][0] > 1.5 * lines["fp16"][3] and lines["fp16"][-1] > 1.5 * lines["fp16"][3]
plotting.show_curves(lines, x=scales, xlabel="scale, power of two", ylabel="loss after training")

# %% [markdown] lang="en"
# A valley with a wide floor. On the left the gradients vanish and the model stays what it was. On the right they overflow, no step
# is taken, and it stays as well. Nobody knows the floor beforehand, so a `GradScaler` looks for it: after an overflow it skips the step
# and halves the scale; after many good steps it tries the double. We start it much too high.

# %%
model = nn.Linear(192, 192)
optimiser, tries = torch.optim.SGD(model.parameters(), 0.01), []
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=1000)
for _ in range(20):
    tries.append(int(np.log2(scaler.get_scale())))
    with torch.autocast("cpu", torch.float16):
        guess = model(patches)
    optimiser.zero_grad()
    scaler.scale((guess.float() - patches).square().mean()).backward()
    scaler.step(optimiser)
    scaler.update()
print("power of two of the scale, step by step:", tries)
assert tries[0] > tries[-1] == tries[-2]

# %% [markdown] lang="en"
# It comes down step by step until nothing overflows, and stays there.
#
# ### What wide weights are for
#
# Why not keep the weights in 16 bits, too? Because a step is small beside the weight. We add 0.0001 to 1, a thousand times:

# %%
print({name: sum([torch.tensor(1e-4, dtype=t)] * 1000, start=torch.tensor(1.0, dtype=t)).item() for name, t in formats.items()})

# %% [markdown] lang="en"
# In both narrow formats the sum rounds back to 1 each time. AdamW moves a weight by about its rate, so we can say which share of the
# captioner's weights would not move at all at a given rate:

# %%
weights = torch.cat([p.detach().flatten() for p in captioner.parameters()])
rates = [1e-2, 1e-3, 1e-4, 1e-5]
stuck = np.array([[(weights.to(t) + torch.tensor(rate, dtype=t) == weights.to(t)).double().mean() for rate in rates] for t in formats.values()])
assert stuck[1, 2] > 0.5 > 0.1 > stuck[0, 2]
plotting.show_heatmap((stuck * 100).round(), list(formats), [f"{rate:g}" for rate in rates])

# %% [markdown] lang="en"
# Percent of weights that stay where they are. At rates of a fine-tune, most weights in bfloat16 never learn. Hence **master
# weights**: float32 where the step is taken, narrow copies where matrices are multiplied. It is what autocast does here.
#
# ## Optimiser states in 8 and 4 bits
#
# AdamW keeps two float32 averages a weight, $m$ of gradients and $v$ of their squares. **Block-wise quantisation**: cut them into blocks of
# neighbours, divide each block by its largest size, and store for each number the code of the nearest of a few *levels*.

# %%
def into_codes(x, levels, block):
    rows = x.view(-1, block)
    scale = rows.abs().amax(1, keepdim=True)
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.bucketize((rows / scale.clamp(min=1e-38)).contiguous(), middles), scale


print("codes", into_codes(torch.tensor([0.3, -0.1, 0.6, 0.0]), torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]), 4)[0].tolist())

# %% [markdown] lang="en"
# Five levels, four numbers: 0.3 is half of the largest, 0.6, so it gets the code of level 0.5, which is 3. Back: look the level up, and
# multiply by the scale. The package's `encode` and `decode` must give the same.

# %%
def out_of_codes(codes, scale, levels):
    return (levels[codes] * scale).flatten()


levels = memory.dynamic_levels()
x = torch.randn(1024, generator=runtime.generator(0))
codes, scale = into_codes(x, levels, 256)
theirs = memory.decode(*memory.encode(x.view(-1, 256), levels), levels).flatten()
torch.testing.assert_close(out_of_codes(codes, scale, levels), theirs)
print(f"{4 * len(x):,} bytes become {len(x):,} of codes and {4 * scale.numel()} of scales; off by {off(theirs, x):.2%}")

# %% [markdown] lang="en"
# Which levels? Equal steps are the obvious choice. Averages of gradients span many powers of ten, though, as the curve above showed. The
# *dynamic* levels are dense near zero: half as many in each smaller power of ten. The code map, for numbers above zero:

# %%
equal = torch.linspace(0, 1, 128)[1:]
plotting.show_curves({"equal steps": equal, "dynamic": levels[levels > 0][:127]}, xlabel="code", ylabel="level", logy=True)

# %% [markdown] lang="en"
# Both have as many codes. Equal steps have next to none below a hundredth. What does that do to real averages? We take those of
# the captioner after three steps. For each number we ask by what share of itself it has changed, and take the median. *To zero* is the share of numbers
# that were not zero and are now.

# %%
model = deepcopy(captioner).train()
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
for rows in torch.arange(24).view(3, 8):
    optimiser.zero_grad()
    mean(model, {"pictures": batch["pictures"][rows], "tokens": batch["tokens"][rows]}).backward()
    optimiser.step()
states = [each for each in optimiser.state.values() if each["exp_avg"].numel() % 256 == 0]
kept = {name: torch.cat([each[key].flatten() for each in states]) for name, key in {"m": "exp_avg", "v": "exp_avg_sq"}.items()}
print({name: f"{len(values):,} numbers" for name, values in kept.items()})

# %%
maps = {"equal steps": torch.arange(-127, 128) / 127, "dynamic": levels}
rows = []
for name, values in kept.items():
    for how, block in (("equal steps", len(values)), ("equal steps", 256), ("dynamic", 256)):
        back, some = out_of_codes(*into_codes(values, maps[how], block), maps[how]), values != 0
        changed = ((back - values).abs() / values.abs())[some].median().item()
        rows.append([name, how, "all" if block > 256 else block, f"{changed:.1%}", f"{(back[some] == 0).double().mean():.1%}"])
plotting.show_table(rows, ["average", "levels", "numbers in a block", "a number is off by", "to zero"])

# %% [markdown] lang="en"
# Blocks help most; the dynamic levels then remove nearly all zeros that remain, above all in $v$. There the zeros
# matter most: AdamW moves a weight by $m/(\sqrt v+10^{-8})$ times its rate. Here is the largest such move, with $v$ as
# it is, in equal steps, and in levels without a zero, as the package's `AdamW8bit` has them.

# %%
unsigned = memory.dynamic_levels(signed=False)
unsigned[0] = unsigned[1] / 2
squares = {"float32": kept["v"]} | {how: out_of_codes(*into_codes(kept["v"], by, 256), by) for how, by in {"equal steps": torch.arange(256) / 255, "dynamic, no zero": unsigned}.items()}
rows = [[how, (kept["m"] / (v.sqrt() + 1e-8)).abs().max().item()] for how, v in squares.items()]
assert rows[1][1] > 100 * rows[0][1] and rows[2][1] < 10 * rows[0][1]
plotting.show_table(rows, ["v in", "largest move, in learning rates"])

# %% [markdown] lang="en"
# One zero in the wrong place, and a weight is thrown out of the model. Now the bytes, and the gradient, which no optimiser can change:

# %%
tried("8-bit AdamW", replace(plain, optimiser=memory.AdamW8bit))
tried("4-bit AdamW", replace(plain, optimiser=memory.AdamW4bit))
table("plain", "8-bit AdamW", "4-bit AdamW")

# %% [markdown] lang="en"
# The peak hardly moves, as it is made of activations: a trick is worth what its share of the peak is. And the training? A small language
# model learns captions from nothing, with each of the three. Look at how far the curves lie apart.

# %%
told = [text for one in adaptation.told(scenes.samples(480, "train", seed=7), ways=1) for text in one]
tokens = tokenizer(told, padding=True, return_tensors="pt").input_ids.split(16)
config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=96, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
print(f"{len(tokens)} batches of {tokens[0].shape[0]} captions")

# %%


def nats(model, tokens):
    words = model.get_input_embeddings()(tokens[:, :-1])
    return losses.cross_entropy(model(inputs_embeds=words).logits, tokens[:, 1:], ignore=tokenizer.pad_token_id)


def learnt(make):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    optimiser = make(model.parameters(), lr=3e-3)
    history = training.fit(model, tokens, nats, 60, optimiser=optimiser, progress=False)
    held = sum(x.nbytes for state in optimiser.state.values() for x in state.values() if torch.is_tensor(x))
    return history.smoothed(10), held / sum(p.numel() for p in model.parameters())


runs = {name: learnt(make) for name, make in {"32 bits": torch.optim.AdamW, "8 bits": memory.AdamW8bit, "4 bits": memory.AdamW4bit}.items()}
plotting.show_curves({name: curve for name, (curve, _) in runs.items()}, xlabel="step", ylabel="nats a token")

# %%
rows = [[name, each, curve[-1], f"{curve[-1] / runs['32 bits'][0][-1] - 1:+.1%}"] for name, (curve, each) in runs.items()]
assert runs["8 bits"][1] < 2.2 and abs(runs["8 bits"][0][-1] / runs["32 bits"][0][-1] - 1) < 0.02
plotting.show_table(rows, ["states in", "bytes a weight", "last loss", "against 32 bits"])

# %% [markdown] lang="en"
# With 8 bits the curve lies on that of 32, which shows as the wider band beneath. With 4 bits it is behind in this
# short training from nothing, where averages change fastest; whether that is a good trade has to be measured on the job
# at hand.
#
# ## Fewer weights that learn
#
# What does not learn needs no gradient and no state. Does it also need no activations? Three ways: freeze the eyes; LoRA in all attention
# layers (3.2); the same LoRA on a base of 4 bits, where each weight is a code that is decoded when it is needed, and dropped again.

# %%
frozen, adapted = deepcopy(captioner), deepcopy(captioner)
frozen.encoder.requires_grad_(False)
lora.add(adapted, 8, targets, generator=runtime.generator(0))
for name, model in {"eyes frozen": frozen, "LoRA": adapted, "LoRA on 4 bits": base}.items():
    tried(name, plain, model)
ways = ["plain", "eyes frozen", "LoRA", "LoRA on 4 bits"]
held = {name: results[name][0].highest for name in ways}
assert held["LoRA"]["activations"] > 0.6 * held["plain"]["activations"] > held["eyes frozen"]["activations"]
shares = np.array([[held[name][kind] for kind in memory.KINDS[:4]] for name in ways]) / 2**20
plotting.show_heatmap(shares.round(1), ways, memory.KINDS[:4])

# %% [markdown] lang="en"
# The most MiB that each kind ever held. LoRA cuts gradients and states to almost nothing, and most activations stay: there is a LoRA in the first
# layer, so the gradient has to travel all the way down. Freezing the *first* part of a model cuts its activations
# altogether, because nothing below needs a gradient. A base of 4 bits cuts the weights. So LoRA wants checkpointing or accumulation beside it.
#
# Is the gradient of the LoRA still right on a rounded base?

# %%
eight = deepcopy(captioner)
memory.quantise(eight, 8)
lora.add(eight, 8, targets, generator=runtime.generator(0))
tried("LoRA on 8 bits", plain, eight)
rows = [[name, off(results[name][2], results["LoRA"][2])] for name in ("LoRA on 8 bits", "LoRA on 4 bits")]
assert rows[0][1] < rows[1][1]
plotting.show_table(rows, ["", "gradient off that of LoRA on 32 bits by"])

# %% [markdown] lang="en"
# It is the gradient of another model, one whose weights were rounded. In 8 bits that model is close; in 4 bits it is not. LoRA makes up for some of
# that, since it learns *beside* the rounded weights. But do not expect the same steps.
#
# ## All together
#
# Every trick of this notebook, then two combinations.

# %%
for name, (model, plan) in list(jobs.items())[1:]:
    tried(name, plan, model, counted[name])
assert off(results["small, all weights learn"][2], results["plain"][2]) < 1e-6
table(*results)

# %% [markdown] lang="en"
# Accumulation and checkpointing leave the gradient as it is, 8-bit states change what is done with it, bf16 and a quantised base
# change the gradient. Take them in this order, and stop when it fits.
#
# ## Where it fails
#
# **Saving what is small.** With one picture there are few activations, and the peak lies where gradients and states are. Checkpointing then costs time and saves
# next to nothing.

# %%
one = {key: each[:1] if each.ndim else each for key, each in batch.items()}
found = [memory.count(captioner, one, replace(plain, checkpointing=on)).peak / 2**20 for on in (False, True)]
assert found[1] > 0.9 * found[0]
print(f"one picture: plain {found[0]:.1f} MiB, with checkpointing {found[1]:.1f} MiB")

# %% [markdown] lang="en"
# **Statistics over the batch.** Accumulation needs rows that do not see each other. BatchNorm takes mean and deviation over the batch at hand, so a part
# of it is another function. GroupNorm looks at each row alone. All parts are equal here:

# %%
x, rows = torch.randn(16, 8, generator=runtime.generator(0)), []
for norm in (nn.BatchNorm1d(8), nn.GroupNorm(2, 8)):
    torch.manual_seed(0)
    model, found = nn.Sequential(nn.Linear(8, 8), norm, nn.Tanh(), nn.Linear(8, 1)), []
    for parts in (1, 4):
        model.zero_grad()
        sum(square(model, part) / parts for part in x.chunk(parts)).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    rows.append([type(norm).__name__, off(found[1], found[0])])
assert rows[0][1] > 1e-2 and rows[1][1] < 1e-5
plotting.show_table(rows, ["norm", "gradient of 4 parts off by"])

# %% [markdown] lang="en"
# **An outlier in a block.** One large number sets the scale for its neighbours. We put one that is a thousand times larger into 1,024 numbers,
# and look at the error of the *others*.

# %%
x = torch.randn(1024, generator=runtime.generator(0))
struck = x.clone()
struck[0] = 1000.0
four = {"4 bits, equal steps": torch.arange(-7, 8) / 7, "4 bits, dynamic": memory.dynamic_levels(4), "8 bits, dynamic": levels}
rows = [[name, block, *(off(out_of_codes(*into_codes(y, by, block), by)[1:], y[1:]) for y in (x, struck))] for name, by in four.items() for block in (1024, 64)]
plotting.show_table(rows, ["levels", "numbers in a block", "others off by", "with an outlier"])

# %% [markdown] lang="en"
# One block of all numbers loses nearly everything in 4 bits. Small blocks lose only the outlier's neighbours. That is what blocks are for, and why
# 4 bits use smaller ones.
#
# ## Exercises
#
# **4.2.1** (6 minutes) Equation (2). A part of a batch has the nats of each place, `nats` $(B, L)$, and `real` $(B, L)$, true where a token is not
# padding. The batch has `total` real tokens in all, and is cut into `parts`. The loop will divide what you return by `parts`.

# %% tags=["exercise"]
def part_loss(nats, real, total, parts):
    return parts * (nats * real).sum() / total  # solution


checks.check_part_loss(part_loss)

# %% [markdown] lang="en"
# **4.2.2** (10 minutes) Into codes and back. `x` is flat, its length a multiple of `block`; `levels` are sorted, from -1 to 1. Return what `x` becomes: each block by its
# own scale, each number at the nearest level. Mind a block of zeros.

# %% tags=["exercise"]
def there_and_back(x, levels, block):
    # solution: return ...
    rows = x.view(-1, block)
    scale = rows.abs().amax(1, keepdim=True)
    distance = (rows / scale.clamp(min=1e-38)).unsqueeze(-1) - levels  # (blocks, block, levels)
    return (levels[distance.abs().argmin(-1)] * scale).flatten()
    # end solution


checks.check_there_and_back(there_and_back)

# %% [markdown] lang="en"
# **4.2.3** (12 minutes) Fit it into 64 MiB. The batch is larger now: 48 pictures with captions from short to long,
# which take several times as much with the plain plan. Return a `memory.Plan` for the captioner whose counted peak is
# at most 64 MiB, and whose gradient is that of the whole batch. All weights learn, by AdamW in any number of bits, in
# fp32. `mean`, `weighted` and `partial` from above are at hand.

# %% tags=["exercise"]
def step_in_64(model):
    return memory.Plan(partial(weighted, parts=8), accumulate=8)  # solution


checks.check_small_step(step_in_64)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Accumulation is exact if parts are weighted by their tokens (2); the mean of means is another loss (3).
# 2. Checkpointing is exact to the bit and costs one forward pass; blocks of $\sqrt n$ layers keep least (4).
# 3. bf16 rounds and never vanishes, fp16 needs a loss scale; weights and steps stay in float32.
# 4. States take a quarter in 8 bits; LoRA cuts states, not activations. What a trick saves is its share of the peak.
#
# **Next:** 4.3 takes the same step on several processes at once, and shows that it is the same.
#
# ### References
#
# - Chen et al. 2016, *Training deep nets with sublinear memory cost*, arXiv 1604.06174.
# - Micikevicius et al. 2018, *Mixed precision training*, arXiv 1710.03740.
# - Dettmers et al. 2022, *8-bit optimizers via block-wise quantization*, arXiv 2110.02861.
# - Li, Chen & Zhu 2023, *Memory efficient optimizers with 4-bit states*, arXiv 2309.01507.
# - Dettmers et al. 2023, *QLoRA: efficient finetuning of quantized LLMs*, arXiv 2305.14314.
# - Hugging Face 2024, *Fixing gradient accumulation*, huggingface.co/blog/gradient_accumulation.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
