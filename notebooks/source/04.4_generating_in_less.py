# %% [markdown] lang="en"
# # 4.4 Generating in less
#
# Drawing needs no gradients, so the bytes lie elsewhere than in training: in the weights, in the scores of attention, in
# the large maps of the decoder. Each can be made smaller. This notebook takes them one by one, counts what each saving
# saves and what it costs, and then draws 1,024 pixels in a process that grows by no more than 300 MB.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import random
from collections import Counter
from copy import deepcopy

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor
from torch import nn
from torch.nn import functional as F

from aigc_course import checks, diffusion, evaluation, memory, models, plotting, runtime, sampling, scenes

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# A fresh process imports the libraries, notes its size, draws, and tells how far it grew. Left the whole picture, reduced;
# right a part of it at its own pixels.

# %%
large = memory.large_in_fresh_process(prompt="a red house in a meadow", way="enlarged")


def whole_and_part(picture, side=224, at=(470, 430)):
    """A large picture reduced to that side, and a part of that side."""
    return [picture.resize((side, side)), picture.crop((*at, at[0] + side, at[1] + side))]


print(f"{large.picture.size} pixels in {large.above / 1e6:.0f} MB above the {large.own / 1e6:.0f} MB of Python and its libraries")
assert large.above <= 300e6
plotting.show_images(whole_and_part(large.picture), ["1,024 pixels, reduced", "a part, as it is"])

# %% [markdown] lang="en"
# The shapes are those of a picture of 128 pixels, for which the model was trained; the larger size has soft edges and nothing
# new. At the end we come back to what such a picture can show and what it cannot.
#
# ## Where the bytes are
#
# Each of the three networks is asked once, without gradients. `memory.count_call` counts as in 4.1, `memory.predict_call` knows the
# same without running, so we may ask about 1,024 pixels before we can afford them.

# %%
pipe = models.load("text-to-image")
draw = runtime.generator(0)


def asked(side, batch=1):
    """What a denoiser is asked: latents of that side, the time, words."""
    return torch.randn(batch, 32, side, side, generator=draw), torch.tensor(500), torch.randn(batch, 32, 128, generator=draw)


def denoise(unet, x, t, words):
    return unet(x, t, encoder_hidden_states=words).sample


def decode(vae, z):
    return vae.decode(z).sample


print([tuple(x.shape) for x in asked(16)])

# %% [markdown] lang="en"
# Two ways to weigh: the bytes of the weights, and what a call adds to what was there before it.

# %%
def weigh(*networks):
    """MiB of weights."""
    return sum(p.nbytes for network in networks for p in network.parameters()) / 2**20


def beside(account):
    """MiB at the peak that were not there before the call."""
    return (account.peak - sum(int(line[0]) for line in account.timeline.values())) / 2**20


print(f"{weigh(pipe.unet):.1f} MiB, and {beside(memory.count_call(pipe.unet, asked(16), denoise)):.2f} MiB beside them")

# %% [markdown] lang="en"
# The three networks at both sizes. At 1,024 pixels nothing is run.

# %%
words = pipe.tokenizer("a red house in a meadow", padding="max_length", return_tensors="pt").input_ids
jobs = [
    ("text encoder", pipe.text_encoder, [(words,)] * 2, None),
    ("denoiser", pipe.unet, [asked(16), asked(128)], denoise),
    ("decoder", pipe.vae, [asked(16)[:1], asked(128)[:1]], decode),
]
foreseen = {name: memory.predict_call(model, inputs[1], call) for name, model, inputs, call in jobs}
counted = {name: memory.count_call(model, inputs[0], call) for name, model, inputs, call in jobs}
assert memory.predict_call(pipe.vae, jobs[-1][2][0], decode).peak == counted["decoder"].peak
rows = [[name, weigh(model), beside(counted[name]), beside(foreseen[name])] for name, model, *_ in jobs]
plotting.show_table(rows, ["network", "weights, MiB", "beside them, 128 pixels", "beside them, 1,024 pixels"])

# %% [markdown] lang="en"
# At 128 pixels the weights are most of it. At 1,024 the decoder alone takes many times as much as all weights together.
# There is no one remedy: weights, attention and maps each need their own.
#
# ## Attention
#
# One query $q$ looks at keys $k_j$ with values $v_j$. With scores $s_j=q\cdot k_j/\sqrt d$ its answer is
#
# $$o=\frac{\sum_j e^{s_j}\,v_j}{\sum_j e^{s_j}} \tag{1}$$
#
# Written with tensors, all scores of all queries are there at once: $4hL^2$ bytes for $h$ heads and $L$ places. Must they
# be? **Rule: multiply above and below by the same $e^{-m}$.**
#
# $$o=\frac{a}{l},\qquad l=\sum_j e^{s_j-m},\qquad a=\sum_j e^{s_j-m}\,v_j \tag{2}$$
#
# for any $m$; with the largest score nothing overflows. These are sums, and sums can be made in parts. Let the keys come
# in chunks. A chunk may bring a larger score, $m'=\max(m,\max_j s_j)$, and then what we have is brought to the new $m'$:
#
# $$l'=e^{m-m'}\,l+\sum_{j} e^{s_j-m'},\qquad a'=e^{m-m'}\,a+\sum_{j} e^{s_j-m'}\,v_j \tag{3}$$
#
# This is the **online softmax** (Milakov & Gimelshein 2018). Three small things are kept, $m$, $l$ and $a$, and scores for one chunk
# of $C$ keys: $4hLC$ bytes. Line by line:

# %%
def eager(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v  # scores: (B, heads, L, L)


def online(q, k, v, chunk=64):
    m, total, a = torch.tensor(-torch.inf), 0.0, 0.0  # total: l in the equations
    for keys, values in zip(k.split(chunk, -2), v.split(chunk, -2), strict=True):
        s = q @ keys.mT / q.shape[-1] ** 0.5  # (B, heads, L, chunk)
        new = torch.maximum(m, s.amax(-1, keepdim=True))
        shrink, p = (m - new).exp(), (s - new).exp()
        total, a, m = shrink * total + p.sum(-1, keepdim=True), shrink * a + p @ values, new  # equation (3)
    return a / total


q, k, v = torch.randn(3, 1, 4, 1000, 32, generator=draw)
apart = {"online": online(q, k, v), "SDPA": F.scaled_dot_product_attention(q, k, v)}
apart = {name: (o - eager(q, k, v)).abs().max().item() for name, o in apart.items()}
assert max(apart.values()) < 1e-6
print({name: f"{far:.0e} away from eager" for name, far in apart.items()})

# %% [markdown] lang="en"
# The same numbers. PyTorch's `scaled_dot_product_attention` (**SDPA**) does this within one kernel, for chunks of queries as
# well (FlashAttention, Dao et al. 2022). The older remedy is **slicing**: one head after the other, each with all its scores. All three
# counted:

# %%
def attend(_, q, k, v, how):
    return how(q, k, v)


def sliced(q, k, v):
    return torch.stack([eager(*head) for head in zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True)], 1)


def seconds(run, *inputs):
    """The best of three."""
    taken = []
    for _ in range(3):
        with runtime.stopwatch() as watch, torch.no_grad():
            run(*inputs)
        taken.append(watch.seconds)
    return min(taken)


hows = {"eager": eager, "sliced": sliced, "online": online, "SDPA": F.scaled_dot_product_attention}
q, k, v = torch.randn(3, 1, 4, 2000, 32, generator=draw)
rows = [[how, beside(memory.count_call(nn.Identity(), (q, k, v, run), attend)), seconds(run, q, k, v)] for how, run in hows.items()]
assert rows[0][1] > rows[1][1] > rows[2][1] > rows[3][1]
plotting.show_table(rows, ["attention, 4 heads, 2,000 places", "MiB", "seconds"])

# %% [markdown] lang="en"
# Now in the denoiser, by diffusers' own processors; `pipe.enable_attention_slicing("max")` sets the second. MiB beside the weights for
# pictures of three sizes, the larger two predicted:

# %%
processors = {"eager": AttnProcessor(), "sliced": SlicedAttnProcessor(1), "SDPA": AttnProcessor2_0()}
sides, need = (16, 64, 128), {}
for name, processor in processors.items():
    pipe.unet.set_attn_processor(processor)
    need[name] = [beside(memory.count_call(pipe.unet, asked(16), denoise))]
    need[name] += [beside(memory.predict_call(pipe.unet, asked(side), denoise)) for side in sides[1:]]
assert need["eager"][-1] > need["sliced"][-1] > need["SDPA"][-1]
plotting.show_table([[name, *mib] for name, mib in need.items()], ["MiB", *[f"{8 * side} pixels" for side in sides]])

# %% [markdown] lang="en"
# Small pictures do not care. At 1,024 pixels eager attention takes many times the bytes of the weights, slicing takes a part of that,
# and SDPA least. Does slicing at least win time in the denoiser? Seconds of one call, the best of three:

# %%
rows = []
for name, processor in processors.items():
    pipe.unet.set_attn_processor(processor)
    rows.append([name, *(seconds(denoise, pipe.unet, *asked(side)) for side in (16, 64))])
plotting.show_table(rows, ["seconds", "128 pixels", "512 pixels"])

# %% [markdown] lang="en"
# Slicing was made to save memory against eager attention, and does. Against SDPA, which is on unless somebody turns it
# off, it takes more memory. In time, too, sliced attention on its own loses to SDPA (the table before); in a whole
# denoiser of small pictures, where convolutions take most of the time, the two are close. There is nothing to win. Old
# advice turns it on, the library's own documentation warns of it: `enable_attention_slicing()` is the first thing to
# *remove* from an old script.
#
# ## The decoder
#
# The decoder knows nothing of $L^2$; its maps are simply large, and the last ones have the picture's own size. Two savings:
# **slicing** decodes a batch one picture after the other, **tiling** decodes a picture one square after the other.

# %%
vae = pipe.vae
z = torch.randn(8, 32, 16, 16, generator=draw)
at_once, all_at_once = decode(vae, z[:2]).detach(), beside(memory.predict_call(vae, (z,), decode))
vae.enable_slicing()
torch.testing.assert_close(decode(vae, z[:2]).detach(), at_once, rtol=1e-4, atol=1e-5)
print(f"eight pictures: {all_at_once:.1f} MiB at once, {beside(memory.predict_call(vae, (z,), decode)):.1f} MiB one by one")
vae.disable_slicing()

# %% [markdown] lang="en"
# Slicing is exact. Tiling is not: at the edge of a tile the convolutions see zeros in place of the neighbours, and each tile has
# norms of its own. So tiles overlap, and the shared pixels are blended. How well? We say what a **seam** is. With $e$ the
# difference between the tiled picture and the one decoded at once, in 255ths, and $B$ the pairs of neighbours across a border:
#
# $$\text{seam}=\max\Big(0,\ \operatorname*{mean}_{(i,j)\in B}|e_i-e_j|-\operatorname*{mean}_{(i,j)\notin B}|e_i-e_j|\Big) \tag{4}$$
#
# Edges that belong to the picture cancel in $e$. Without tiles (4) is zero, and a step of one level along all borders gives about one. The dial is
# the overlap, as a share of a tile.

# %%
one = scenes.Scene((scenes.Thing("house", "red", "large", 0.4, 0.55), scenes.Thing("star", "yellow", "small", 0.8, 0.3)), "sea", "flat")
with torch.no_grad():
    z = vae.encode(scenes.pictures([one], 256)).latent_dist.mode() * vae.config.scaling_factor
whole = sampling.decode(pipe, z)


def tiles(tile, overlap):
    """From now on decode in squares of so many places of the latent."""
    vae.enable_tiling()
    vae.tile_latent_min_size, vae.tile_sample_min_size, vae.tile_overlap_factor = tile, 8 * tile, overlap
    return 8 * tile - int(8 * tile * overlap)  # pixels from border to border


print(f"{tuple(z.shape)} becomes {tuple(whole.shape)}; tiles of 64 pixels that share a quarter have a border every {tiles(8, 0.25)}")

# %% [markdown] lang="en"
# Three overlaps. Look at the seam, and at what it costs.

# %%
tiled, rows = {}, []
for overlap in (0.0, 0.25, 0.5):
    every = tiles(8, overlap)
    with runtime.stopwatch() as watch:
        tiled[overlap] = sampling.decode(pipe, z)
    rows.append([overlap, memory.seam(tiled[overlap], whole, every).item(), evaluation.psnr(tiled[overlap], whole).item(), watch.seconds])
vae.disable_tiling()
assert memory.seam(whole, whole, 64) == 0 and rows[0][1] > 4 * max(rows[1][1], rows[2][1])
plotting.show_table(rows, ["overlap", "seam, of 255", "PSNR to the whole, dB", "seconds"])

# %% [markdown] lang="en"
# A quarter takes nearly all of the seam away. Half costs more time, as shared pixels are decoded several times, and gains little. PSNR
# moves by little more than a decibel a time; look at why. The second picture has a grid (all show the same part); the third and fourth are the errors without and with overlap, eight times as
# strong.

# %%
shown = [whole, tiled[0.0], (tiled[0.0] - whole) * 8, (tiled[0.25] - whole) * 8]
plotting.show_images(torch.cat(shown)[..., 104:232, 64:192], ["at once", "tiles, no overlap", "its error × 8", "error × 8, overlap ¼"])

# %% [markdown] lang="en"
# With a quarter of overlap the grid is nearly gone. What stays is soft: places of slightly other brightness, since a norm over a tile sees
# only the tile. Overlap hides borders, and does not make the tiles agree. What do tiles save? Predicted for one picture of 384 pixels,
# without overlap:

# %%
z, rows = torch.randn(1, 32, 48, 48, generator=draw), []
for tile in (16, 32, 48):
    tiles(tile, 0.0)
    rows.append([f"{8 * tile} pixels" if tile < 48 else "no tiles", beside(memory.predict_call(vae, (z,), decode))])
tiles(16, 0.25), vae.disable_tiling()
assert rows[0][1] < rows[1][1] < rows[2][1]
plotting.show_table(rows, ["tile", "MiB beside the weights"])

# %% [markdown] lang="en"
# The tile sets the memory; what still grows with the picture is the picture itself. A tile need not be smaller than what the decoder was
# trained on, which is what the library takes if it is not told otherwise: `pipe.vae.enable_tiling()`.
#
# ## Weights in few bits
#
# `memory.quantise` of 4.2 keeps weights in 8 or 4 bits, and each layer decodes its own while it works. Is the model still the
# same? PSNR says how far its pictures move, the judge of 1.3 says whether they still show what was asked. Twelve prompts, the
# same seeds for all.

# %%
parser = evaluation.load_parser()
wanted = evaluation.questions(4, "validation")
prompts = [scenes.caption(q.scene.facts, random.Random(k), "en", "full") for k, q in enumerate(wanted)]
pipe.unet.set_attn_processor(AttnProcessor2_0())


print("\n".join(prompts[::4]))

# %% [markdown] lang="en"
# Two helpers: one draws the twelve and has them judged, the other puts networks in few bits, always from the full ones.

# %%
def judged(steps=8):
    with runtime.stopwatch() as watch:
        pictures = sampling.words_to_pictures(pipe, prompts, steps)
    found = evaluation.examine(parser, pictures, wanted)
    return pictures, [f"{found.overall}", f"{found.of('exact')}", watch.seconds / len(prompts)]


def in_bits(**bits):
    """The pipeline with some networks in so many bits, the others as they came."""
    for name, network in full.items():
        setattr(pipe, name, deepcopy(network) if name in bits else network)
        if name in bits:
            memory.quantise(getattr(pipe, name), bits[name])
    return weigh(*(getattr(pipe, name) for name in full))


full = {name: getattr(pipe, name) for name in ("text_encoder", "unet", "vae")}
plain, scores = judged()
table, drawn = [["float32", in_bits(), "", *scores]], {"float32": plain}
print(f"float32: {table[0][1]:.1f} MiB, six tasks {table[0][3]}, exact {table[0][4]}")

# %% [markdown] lang="en"
# First the denoiser alone, in 8 and in 4 bits, then all three networks in 4, and at last a mixture: 8 bits for the
# denoiser and 4 for the other two. *Six tasks* is the mean over those of 1.1 (`data/models/SCORES.md` names them),
# *exact* the share of pictures with everything right. The last column is one call of the denoiser, the best of three;
# it wavers with what else the machine does.

# %%
choices = {
    "8 bits": dict(unet=8),
    "4 bits": dict(unet=4),
    "4 bits everywhere": dict(unet=4, vae=4, text_encoder=4),
    "8 bits, the others 4": dict(unet=8, vae=4, text_encoder=4),
}
for name, bits in choices.items():
    size, (drawn[name], scores) = in_bits(**bits), judged()
    table.append([name, size, evaluation.psnr(drawn[name], plain).mean().item(), *scores])
spent = []
for bits in ({}, *choices.values()):
    in_bits(**bits)
    spent.append(seconds(denoise, pipe.unet, *asked(16)))
in_bits()
mib, near = ([row[k] for row in table[1:]] for k in (1, 2))
assert mib[0] > mib[1] > mib[3] > mib[2] and near[0] > near[3] > max(near[1:3])
rows = [[*row[:-1], each] for row, each in zip(table, spent, strict=True)]
plotting.show_table(rows, ["weights", "MiB", "PSNR, dB", "six tasks", "exact", "seconds of a call"])

# %% [markdown] lang="en"
# Eight bits hardly move a picture. Four bits in the denoiser move it so far that the judge sees it: what is rounded wrongly is used
# again at each step. The mixture is smaller than that, and nearer to float32. The brackets are wide, twelve pictures cannot tell
# small losses; PSNR can, as it compares picture with picture. And time is lost, not won: see the seconds of a call.
# Decoding weights is work. The two pictures that four bits moved most:

# %%
most = evaluation.psnr(drawn["4 bits everywhere"], plain).argsort()[:2]
titles, pairs = [""] * len(drawn) + list(drawn), torch.stack([pictures[most] for pictures in drawn.values()], 1)
alt = f"Two pictures, a row each, drawn with weights in {', '.join(drawn)}"
plotting.show_images(pairs.flatten(0, 1), titles, columns=len(drawn), alt=alt, scale=0.75)

# %% [markdown] lang="en"
# And their differences to float32, four times as strong; grey is no difference.

# %%
away = torch.stack([(drawn[name] - plain)[most] * 4 for name in choices], 1).flatten(0, 1)
titles, alt = [""] * len(choices) + list(choices), f"Their differences to float32, with weights in {', '.join(choices)}"
plotting.show_images(away.clamp(-1, 1), titles, columns=len(choices), alt=alt, scale=0.75)

# %% [markdown] lang="en"
# ## A device that is too small
#
# Weights need not all be on the device. A layer's weights come when it is asked and go when it has answered: **sequential
# offload**. `memory.SmallDevice` plays such a device, with a budget in bytes. Weights are read from the file, layer by layer. One call of
# the denoiser, with more and more of it kept on the device:

# %%
file = models.folder_of("text-to-image") / "unet" / "diffusion_pytorch_model.safetensors"
inputs, rows = asked(16), []
with torch.no_grad():
    expected = denoise(pipe.unet, *inputs)
for keep in ([], ["mid_block"], ["mid_block", "up_blocks"], [""]):
    device = memory.SmallDevice(budget=2**26)
    with runtime.stopwatch() as watch, torch.no_grad(), device.running(pipe.unet, file, keep):
        before = device.moved
        torch.testing.assert_close(denoise(pipe.unet, *inputs), expected, rtol=0, atol=0)
    rows.append([" ".join(keep) if keep != [""] else "all", device.peak / 2**20, (device.moved - before) / 2**20, watch.seconds])
plotting.show_table([[row[0] or "nothing", *row[1:]] for row in rows], ["kept", "MiB on the device", "MiB moved in the call", "seconds"])

# %% [markdown] lang="en"
# The answer is the same to the last bit. With nothing kept, the device needs room for its largest layer alone; the price is that
# all weights move again at each step of the walk. What if even that layer does not fit?

# %%
largest = memory.SmallDevice(2**26)
with torch.no_grad(), largest.running(pipe.unet, file):
    denoise(pipe.unet, *inputs)
try:
    with torch.no_grad(), memory.SmallDevice(largest.peak - 1).running(pipe.unet, file):
        denoise(pipe.unet, *inputs)
except MemoryError as error:
    print(error)

# %% [markdown] lang="en"
# One byte too few, and it says so. With a GPU the real thing is one line, `pipe.enable_sequential_cpu_offload()`. Without one the
# library refuses:

# %%
def offloaded():
    real = models.load("text-to-image")
    real.enable_sequential_cpu_offload()
    torch.cuda.reset_peak_memory_stats()
    real("a red house in a meadow", num_inference_steps=4)
    return f"on the GPU: {torch.cuda.max_memory_allocated() / 2**20:.1f} MiB at most"


try:
    print(offloaded())
except RuntimeError as error:
    print(error)

# %% [markdown] lang="en"
# ## Fewer steps
#
# Steps cost time. Do they cost memory? The walk is counted for 2 and for 4 steps, and judged for 8, 4 and 1.

# %%
schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
noise, predict = sampling.start_noise(pipe, [1]), sampling.guided(pipe, prompts[:1])
held = {n: memory.count_call(pipe.unet, (noise, n), lambda _, x, n: sampling.ddim(predict, x, schedule, n)).peak for n in (2, 4)}
assert len(set(held.values())) == 1
rows = [[n, *judged(n)[1]] for n in (8, 4, 1)]
print(held)
plotting.show_table(rows, ["steps", "six tasks", "exact", "seconds a picture"])

# %% [markdown] lang="en"
# To the byte the same: a step forgets the one before it. Steps buy accuracy with time, and the first few buy the most.
# A good part of the seconds is text and decoding, which no step count changes. Fewer steps save memory only in an
# indirect way: time won here can be spent on smaller tiles and offload.
#
# ## 1,024 pixels
#
# Now everything together. What would each choice take at 1,024 pixels, predicted? Denoising a latent of 128 × 128, from the plainest way to
# **windows**: the velocity is predicted for overlapping squares of the latent, and where they overlap their weighted mean is
# taken (MultiDiffusion, Bar-Tal et al. 2023).

# %%
def windowed(unet, x, t, words):
    return memory.in_windows(lambda part, t: denoise(unet, part, t, words), 48, 40)(x, t)


pipe.unet.set_attn_processor(processors["eager"])
rows = [["eager, both halves of guidance at once", beside(memory.predict_call(pipe.unet, asked(128, 2), denoise))]]
pipe.unet.set_attn_processor(processors["SDPA"])
rows.append(["SDPA", beside(memory.predict_call(pipe.unet, asked(128, 2), denoise))])
rows.append(["and one half at a time", need["SDPA"][-1]])
rows.append(["and in windows", beside(memory.predict_call(pipe.unet, asked(128), windowed))])
assert all(more[1] > less[1] for more, less in zip(rows[:-1], rows[1:], strict=True))
plotting.show_table(rows, ["denoising 1,024 pixels", "MiB beside the weights"])

# %% [markdown] lang="en"
# Each line takes less than the one above it. The decoder, at once, was in the first table of this notebook; in tiles it stays small. `memory.large_picture`
# has all of it on, and 8-bit weights. Two ways to use it: **windows** draws all 1,024 pixels, with the same words heard by each window.
# **Enlarged** draws the 128 pixels that the model knows, and lets the upscaler of the cast work tile by tile.

# %%
sky = memory.large_in_fresh_process(prompt="a yellow star at night", way="windows", steps=3)
assert sky.above <= 300e6
ways = {"enlarged": large, "windows": sky}
rows = [[way, each.own / 1e6, each.above / 1e6, each.seconds] for way, each in ways.items()]
plotting.show_table(rows, ["way", "MB of Python and libraries", "MB above", "seconds"])

# %% [markdown] lang="en"
# Both stay below 300 MB: measured from outside, by the operating system. Again the whole and a part of it:

# %%
plotting.show_images(whole_and_part(sky.picture), ["a yellow star at night, in windows", "a part, as it is"])

# %% [markdown] lang="en"
# A sky full of stars, not all of them good ones. They stand in rows and columns, and dark bands cross the picture: the
# windows show through. We asked for one. The judge reads 128 pixels: the enlarged picture reduced to these, and the
# other one in 64 squares. What does it find, over all squares?

# %%
def found_in(squares):
    return Counter(f"{t.colour} {t.name}" for reading in parser.read(squares) for t in reading.things).most_common(3)


enlarged, windows = (torch.from_numpy(np.array(each.picture)).permute(2, 0, 1)[None] / 127.5 - 1 for each in ways.values())
print("enlarged:", found_in(F.avg_pool2d(enlarged, 8)))
print("windows:", found_in(windows.unfold(2, 128, 128).unfold(3, 128, 128).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)))

# %% [markdown] lang="en"
# This is what a model trained at 128 pixels can do at 1,024. Windows draw real detail and many things, of which none
# knows of the others: good for a pattern, wrong for "a star"; even a sky shows the grid. Enlarging keeps the facts and
# adds none: edges are soft, and a house eight times as large has no more bricks. A model for large pictures has to be
# trained on them.
#
# ## Where it fails
#
# Three pieces of advice that do not hold here, each with its figure or table above. **Slicing attention** takes more
# than what is on by default. **Tiles without overlap** leave a grid. **Four bits everywhere** loses facts; the mixture,
# for a few MiB more, loses hardly any. The third as a question to the judge: which prompts were drawn right in every
# point in float32, and not any more? Above float32, below four bits; under each what the judge sees.

# %%
exact = {name: evaluation.examine(parser, drawn[name], wanted).right["exact"] for name in ("float32", "4 bits everywhere")}
lost = (exact["float32"] & ~exact["4 bits everywhere"]).nonzero().flatten().tolist()
print(f"{len(lost)} of {sum(exact['float32'])} lost: {[prompts[k] for k in lost]}")
chosen = (lost or most.tolist())[:3]
both = torch.cat([drawn[name][chosen] for name in exact])
seen = [", ".join([*(f"{t.colour} {t.name}" for t in one.things), one.background, one.style]) for one in parser.read(both)]
plotting.show_images(both, seen, columns=len(chosen))

# %% [markdown] lang="en"
# A lost fact costs more than a moved pixel. A saving is only as good as the measure it was checked by: bytes alone would have
# chosen four bits everywhere.
#
# ## Exercises
#
# **4.4.1** (6 minutes) Attention to some keys gave `o1`, to the others `o2`, each a finished softmax. With them come $s_1$ and
# $s_2$, the logarithms of their sums of exponentials, `(L, 1)`. Attention to all keys is
#
# $$o=\frac{e^{s_1}o_1+e^{s_2}o_2}{e^{s_1}+e^{s_2}} \tag{5}$$
#
# This is how devices share a long attention. Mind that $s$ may be as large as a thousand.

# %% tags=["exercise"]
def merged(o1, s1, o2, s2):
    share = torch.sigmoid(s1 - s2)  # solution
    return share * o1 + (1 - share) * o2  # solution


checks.check_merged_parts(merged)

# %% [markdown] lang="en"
# **4.4.2** (6 minutes) Two tiles `(C, H, W)`. The last `overlap` columns of `left` and the first of `right` show the same place. Make one
# picture of them, without a step anywhere.

# %% tags=["exercise"]
def blended(left, right, overlap):
    # solution: return ...
    weight = torch.linspace(0, 1, overlap)
    shared = (1 - weight) * left[..., -overlap:] + weight * right[..., :overlap]
    return torch.cat([left[..., :-overlap], shared, right[..., overlap:]], -1)
    # end solution


checks.check_blended(blended)

# %% [markdown] lang="en"
# **4.4.3** (10 minutes) Layers of `sizes` bytes run one after the other on a device of `budget` bytes. Some stay; each of the others comes
# as a guest, alone, when it is asked. Which places `[0, 3, …]` should stay so that it fits and the fewest bytes move? There are few layers:
# you may try all choices.

# %% tags=["exercise"]
def kept(sizes, budget):
    # solution: return ...
    def fits(mask):
        guests = [size for i, size in enumerate(sizes) if not mask >> i & 1]
        return sum(sizes) - sum(guests) + max(guests, default=0) <= budget

    best = max(filter(fits, range(2 ** len(sizes))), key=lambda mask: sum(s for i, s in enumerate(sizes) if mask >> i & 1))
    return [i for i in range(len(sizes)) if best >> i & 1]
    # end solution


checks.check_kept(kept)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Softmax can be made in chunks (1–3); SDPA does so, and slicing loses against it in bytes.
# 2. Tiles set the decoder's memory; overlap pays for the seam (4) with time. Slicing a batch is exact.
# 3. Eight bits are nearly free in quality, four move pictures; offload trades bytes on the device for bytes moved,
#    exactly.
# 4. Steps cost time and no memory; 1,024 pixels fit into 300 MB, and what they show is what 128 pixels taught.
#
# **Next:** 5.1 asks what a style is.
#
# ### References
#
# - Milakov, Gimelshein 2018, *Online normalizer calculation for softmax*, arXiv 1805.02867.
# - Dao et al. 2022, *FlashAttention: fast and memory-efficient exact attention with IO-awareness*, arXiv 2205.14135.
# - Dettmers et al. 2022, *LLM.int8(): 8-bit matrix multiplication for transformers at scale*, arXiv 2208.07339.
# - Dettmers et al. 2023, *QLoRA: efficient finetuning of quantized LLMs*, arXiv 2305.14314.
# - Bar-Tal et al. 2023, *MultiDiffusion: fusing diffusion paths for controlled image generation*, arXiv 2302.08113.
# - Hugging Face, *diffusers*, "Reduce memory usage": slicing, tiling, offload.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
