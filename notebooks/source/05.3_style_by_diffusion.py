# %% [markdown] lang="en"
# # 5.3 Style by diffusion
#
# The methods of 5.1 and 5.2 push statistics around. A denoiser can do something else: it *draws*, and we only have to say
# in which manner. Four ways to say it are derived, written by hand and measured here: noise and words (SDEdit), a few learnt numbers (LoRA),
# looking at a reference (shared attention), and reading one (an image-prompt adapter). At the end one table holds every method of the
# chapter, and we open the Studio's `--sref` and `--sw`.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import time
from dataclasses import replace

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from transformers import CLIPImageProcessorPil

from aigc_course import (
    checks,
    diffusion,
    evaluation,
    losses,
    models,
    plotting,
    runtime,
    sampling,
    scenes,
    studio,
    style,
)

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The first picture gives the content, the second the style. Look at what each method takes from the one and from the
# other. The network and the LoRA cannot look at pictures: each knows one style, *points* and *chalk*.

# %%
def drawn(samples, names):
    """Scenes of the world, each drawn in a style: (B, 3, 128, 128)."""
    return scenes.pictures([replace(one, scene=replace(one.scene, style=n)) for one, n in zip(samples, names, strict=True)])


MANNERS = ["ink", "watercolour", "pixel", "glass", "points", "neon", "blueprint"]
pipe, shown, painted = style.pipeline(), scenes.samples(6, "test", 92), scenes.samples(6, "test", 93)
contents, looks = drawn(shown, ["flat"] * 6), drawn(painted, MANNERS[:6])
look = looks[5:]
ways = {"AdaIN": "adain", "noise and words": "sdedit", "shared attention": "shared", "adapter": "adapter"}
made = [style.transfer(contents[5:], look, method=method) for method in ways.values()]
made += [style.transfer(contents[5:], name, method=method) for name, method in (("points", "network"), ("chalk", "lora"))]
plotting.show_images(torch.cat([contents[5:], look, *made]), ["content", "style", *ways, "network: points", "LoRA: chalk"], columns=4, scale=0.5)

# %% [markdown] lang="en"
# AdaIN and the network keep the lines of the content and change what statistics can change. The denoiser's pictures are redrawn:
# other lines, and where it knows the manner, more of it. Why is that, and can it be dialled?
#
# ## Noise and words: SDEdit
#
# Encode the content, add noise for a part of the way, and let the denoiser walk the rest with a prompt that tells the
# style (Meng et al. 2022). A strength $s$ of $T$ steps starts at
#
# $$x_t=\sqrt{\bar\alpha_t}\,z+\sqrt{1-\bar\alpha_t}\,\varepsilon,\qquad t = sT-1 \tag{1}$$
#
# and then walks as in equation (4) of 2.4. That is the whole method, and one can write it down:

# %%
schedule, hop = diffusion.Schedule.from_scheduler(pipe.scheduler), 100  # ten steps of a hundred
abar = torch.cat([schedule.abar, torch.ones(1)])  # abar[-1] is the clean end


@torch.no_grad()
def redrawn(picture, prompt, strength):
    source, times = runtime.generator(0), range(schedule.T - 1, 0, -hop)
    z = pipe.vae.encode(picture).latent_dist.sample(source) * pipe.vae.config.scaling_factor
    times = times[len(times) - int(len(times) * strength) :]
    x_t = diffusion.add_noise(z, torch.randn(z.shape, generator=source), abar[times[0]])
    predict = sampling.guided(pipe, [prompt], scale=2.0)
    for t in times:
        v = predict(x_t, t)
        ends = [of(x_t, v, abar[t]) for of in (diffusion.x0_from_velocity, diffusion.noise_from_velocity)]
        x_t = diffusion.add_noise(*ends, abar[t - hop])
    return sampling.decode(pipe, x_t)


cats, prompt = contents[3:4], "two large orange cats at night, neon"
mine = redrawn(cats, prompt, 0.7)
plotting.show_images(torch.cat([cats, mine]), ["content", "by hand, s = 0.7"], scale=0.75)

# %% [markdown] lang="en"
# `style.redraw` does it with diffusers' own `StableDiffusionImg2ImgPipeline`. Does the library agree?

# %%
theirs = style.redraw(pipe, cats, [prompt], noise=0.7, steps=10)
torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-2)
print(f"largest difference of a pixel: {(mine - theirs).abs().max():.1e}")

# %% [markdown] lang="en"
# ### What survives the noise?
#
# Suppose that two pictures $a$ and $b$ could have been the start. Someone shows us $x_t$, and we must say which it was. **Rule
# (Neyman & Pearson): nobody does better than the likelihood ratio.** Both densities are Gaussians of the same width, so only the
# direction from $a$ to $b$ matters. Along it lie two bells, $\sqrt{\bar\alpha_t}\,\lVert a-b\rVert$ apart and
# $\sqrt{1-\bar\alpha_t}$ wide, and the best judge, who splits them in the middle, is right with the probability
#
# $$P=\Phi\Big(\tfrac12\sqrt{\tfrac{\bar\alpha_t}{1-\bar\alpha_t}}\;\lVert a-b\rVert\Big) \tag{2}$$
#
# where $\Phi$ is the share of a standard Gaussian below a number. We let such a judge look a thousand times.

# %%
@torch.no_grad()
def encoded(pictures):
    return pipe.vae.encode(pictures).latent_dist.mode() * pipe.vae.config.scaling_factor


a, b = encoded(contents[4:6]).split(1)
rows = []
for t in (700, 900, 950, 990):
    signal, spread = (float(each) for each in diffusion.rates(schedule.abar[t].view(1)))
    along = ((b - a) / (b - a).norm()).flatten()
    seen = (signal * a.flatten() + spread * torch.randn(1000, a.numel(), generator=runtime.generator(t))) @ along
    right = (seen < signal * ((a + b) / 2).flatten() @ along).float().mean()
    rows.append([t, right.item(), torch.special.ndtr(signal / spread * (b - a).norm() / 2).item()])
assert all(abs(found - told) < 0.05 for _, found, told in rows)
plotting.show_table(rows, ["t", "judge is right", "by (2)"])

# %% [markdown] lang="en"
# So noise erases differences by their *length* in the latent: short ones first. How long are those that matter to us? Style: the same
# scene in two manners. Content: two scenes in one manner. A detail: one latent place of 256, changed as much
# as two scenes differ there. Look at where each curve leaves the top. (At $s=1$ all is noise, and every judge guesses.)

# %%
z = {name: encoded(drawn(shown, [name] * 6)) for name in ("flat", "ink", "neon")}
lengths = {f"style, flat or {name}": (z[name] - z["flat"]).flatten(1).norm(dim=1).mean() for name in ("ink", "neon")}
lengths["two contents"] = torch.pdist(z["flat"].flatten(1)).mean()
assert 0.3 < lengths["style, flat or neon"] / lengths["two contents"] < 3
lengths["a detail"] = lengths["two contents"] / 16
s = np.linspace(0.02, 0.98, 49)
level = schedule.abar[(torch.from_numpy(s) * schedule.T).long() - 1]
curves = {name: torch.special.ndtr((level / (1 - level)).sqrt() * d / 2) for name, d in lengths.items()}
plotting.show_curves(curves, x=s, xlabel="strength s", ylabel="best judge is right")

# %% [markdown] lang="en"
# Details go early. But style and content are differences of about the same length, so **no strength erases the one and keeps the
# other**: the dial trades them. And both are still in $x_t$ at strengths where an eye sees nothing but noise. Noise alone therefore does
# not remove the old style; it makes room, and the words must fill it.
#
# ### The dial
#
# The prompt tells which things there are, and how many, but not where. Look at when neon arrives, and at when the cats leave their places.

# %%
strengths = [0.3, 0.5, 0.7, 0.8, 0.9, 1.0]
strip = [style.redraw(pipe, cats, [prompt], s, steps=20) for s in strengths]
plotting.show_strip(torch.cat([cats, *strip]), ["content", *(f"s = {s}" for s in strengths)], scale=0.5)

# %% [markdown] lang="en"
# The same for six contents, each told another style, and judged by the parser, which no method was trained with: is
# it the style asked for, are the things right, and do they stand where they stood?

# %%
parser, newcomers = evaluation.load_parser(), evaluation.load_newcomers()
facts = [replace(one.scene.facts, style=None) for one in shown]


def read(made, new=False):
    """Style and things of each picture, by the judge of the world's styles or by that of the new ones."""
    if new:
        return [(one.style, sorted(one.names)) for one in newcomers.read(made)]
    return [(one.style, sorted(t.name for t in one.things)) for one in parser.read(made)]


def judged(made, names):
    """Is it the style, are these the things of the content?  Two lists of yes and no."""
    asked = [(n, sorted(t.name for t in one.scene.things)) for n, one in zip(names, shown, strict=False)]
    pairs = list(zip(read(made, names[0] in scenes.NEW_STYLES), asked, strict=True))
    return [[a[k] == b[k] for a, b in pairs] for k in (0, 1)]


print("of the contents themselves:", *(np.mean(each).item() for each in judged(contents, ["flat"] * 6)))

# %% [markdown] lang="en"
# The judge reads the contents themselves without fault, or nearly. Now the dial.

# %%
def in_place(made):
    """Does each thing of the content have one within a tenth of the picture, on average?"""
    for seen, one in zip(parser.read(made), shown, strict=True):
        far = [min((abs(complex(t.x - o.x, t.y - o.y)) for o in seen.things), default=1.0) for t in one.scene.things]
        yield sum(far) / len(far) < 0.1


told = [style.worded(*pair) for pair in zip(facts, MANNERS[:6], strict=True)]
levels = [0.3, 0.6, 0.8, 0.9, 1.0]
made = [style.redraw(pipe, contents, told, s, steps=12) for s in levels]
found = [[*judged(each, MANNERS[:6]), list(in_place(each))] for each in made]
shares = {name: [np.mean(each[k]) for each in found] for k, name in enumerate(["style", "things", "places"])}
plotting.show_curves(shares, x=levels, xlabel="strength s", ylabel="share of six pictures")

# %% [markdown] lang="en"
# The style comes early and the things stay, because both are told; one that is misread at a low strength lies between two manners.
# What the noise takes is what nobody told: where things are. `style.NOISE` is the strength at which `style.transfer` redraws: high, so that
# every manner has room, and paid for in places.
#
# ## A few learnt numbers: a LoRA
#
# Words name only styles that the denoiser knows. It has never seen *chalk*; `data/models/lora-chalk` teaches it, as in 3.2, by a change
# of low rank beside the weights. Its weight $w$ is a dial of its own:
#
# $$W' = W + w\,\Delta W,\qquad \Delta W=\tfrac{\alpha}{r}BA \tag{3}$$
#
# The content is noised equally in all pictures; only $w$ differs.

# %%
weights = [0.0, 0.4, 0.7, 1.0, 1.5]
how = dict(name="chalk", steps=12)
strip = [style.by_lora(pipe, contents[1:2], facts[1:2], strength=w, **how) for w in weights]
plotting.show_strip(torch.cat([contents[1:2], *strip]), ["content", *(f"w = {w}" for w in weights)], scale=0.5)

# %% [markdown] lang="en"
# The ground darkens to a board, then pale strokes come in; beyond 1, where the LoRA was never trained, the drawing suffers. A judge
# that was trained on drawings of the new styles reads six contents. Look at what each step of $w$ buys, and at what it costs.

# %%
rows = []
for w in (0.0, 0.5, 1.0):
    styles, things = judged(style.by_lora(pipe, contents, facts, strength=w, **how), ["chalk"] * 6)
    rows.append([w, np.mean(styles), np.mean(things)])
plotting.show_table(rows, ["w", "read as chalk", "things right"])

# %% [markdown] lang="en"
# A LoRA needs drawings of its style and minutes of training, and no picture afterwards. The next two need a picture, and no training
# for its style.
#
# ## Looking: shared attention
#
# In self-attention each place of a picture asks all others of the *same* picture. Draw the reference in the same batch, and let
# each place ask the reference's places too (StyleAligned, Hertz et al. 2024):
#
# $$\text{softmax}\Big(\frac{\hat Q\,[\hat K;\,K_r]^\top}{\sqrt d}\Big)\,[V;\,V_r] \tag{4}$$
#
# with keys and values of the reference (index $r$) appended to the own ones. The hats are the trick of the paper. Queries fit the keys of
# their own picture best, so the reference may be ignored. **Rule: AdaIN (5.2), over tokens:** queries and keys get the reference's moments first,
#
# $$\hat Q=\sigma(Q_r)\,\frac{Q-\mu(Q)}{\sigma(Q)}+\mu(Q_r),\qquad \hat K \text{ likewise} \tag{5}$$
#
# Small enough to print: three tokens of a picture and three of a reference, whose keys lie elsewhere. Rows are the
# own queries; the last three columns are the reference.

# %%
def like(tokens, reference):
    """AdaIN over tokens: (N, d), (M, d) -> (N, d)."""
    spread = reference.std(0, correction=0) / tokens.std(0, correction=0)
    return (tokens - tokens.mean(0)) * spread + reference.mean(0)


own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # queries and keys at once
reference = torch.tensor([[-2.0, -3.0], [-3.0, -2.0], [-3.0, -3.0]])
normed = like(own, reference)
seen = {name: (q @ torch.cat([q, reference]).mT / 2**0.5).softmax(1) for name, q in (("plain", own), ("normalised", normed))}
names = [f"{name}, query {k}" for name in seen for k in (1, 2, 3)]
plotting.show_heatmap((100 * torch.cat(list(seen.values()))).round(), names, ["own 1", "own 2", "own 3", "ref 1", "ref 2", "ref 3"])

# %% [markdown] lang="en"
# Percent of attention. In the upper half hardly anything goes to the reference. In the lower half queries and keys were
# moved to where the reference's are, and it gets its share.
#
# The same on a real layer of the denoiser: 64 tokens, several heads. The scores are computed by diffusers'
# own `get_attention_scores`, the moments by `style.adain`; then we ask the room, and diffusers about the reference.

# %%
layer = pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1
x = torch.randn(2, 64, layer.to_q.in_features, generator=runtime.generator(0)) * torch.tensor([1.0, 2.0]).view(2, 1, 1)
q, k, v = (to(x) for to in (layer.to_q, layer.to_k, layer.to_v))  # the first of two pictures is the reference


def moved(tokens):
    ref, its = (each.mT[:, :, :, None] for each in (tokens[:1], tokens[1:]))  # as maps: (1, C, N, 1)
    return style.adain(its, style.moments(ref))[..., 0].mT


q_hat, keys, values = moved(q), torch.cat([moved(k), k[:1]], 1), torch.cat([v[1:], v[:1]], 1)
q_hat, keys, values = (layer.head_to_batch_dim(each) for each in (q_hat, keys, values))
mine = layer.to_out[0](layer.batch_to_head_dim(layer.get_attention_scores(q_hat, keys) @ values))
theirs = style.SharedAttention(share=1.0, groups=1)(layer, x)
torch.testing.assert_close(mine, theirs[1:])
torch.testing.assert_close(theirs[:1], AttnProcessor2_0()(layer, x[:1]))
print("equations (4) and (5), diffusers' scores and the room agree; the reference is as it was")

# %% [markdown] lang="en"
# How much do the denoiser's layers look at the reference while they draw? A hook keeps what each self-attention is given, with
# the reference first and the content second, half-way in the noise. The last two columns are shares of attention that go to the reference.

# %%
given = {}
names = [n.removesuffix(".processor") for n in pipe.unet.attn_processors if "attn1" in n]
hooks = [pipe.unet.get_submodule(n).register_forward_pre_hook(lambda m, a, n=n: given.update({n: a[0]})) for n in names]
x_t = diffusion.noised(encoded(torch.cat([look, contents[5:]])), schedule, torch.tensor([500, 500]), runtime.generator(0)).x_t
with torch.no_grad():
    pipe.unet(x_t, 500, encoder_hidden_states=sampling.encode_words(pipe, ["three red boats, neon", "a star above a cat"]))
for hook in hooks:
    hook.remove()
print({n: tuple(each.shape) for n, each in given.items()})

# %%
def looked(name, normalise):
    """The share of attention that the content gives to the reference."""
    layer, x = pipe.unet.get_submodule(name), given[name]
    q, k = layer.to_q(x), layer.to_k(x)
    q, own = (moved(q), moved(k)) if normalise else (q[1:], k[1:])
    scores = layer.get_attention_scores(*(layer.head_to_batch_dim(each) for each in (q, torch.cat([own, k[:1]], 1))))
    return scores[..., own.shape[1] :].sum(2).mean().item()


rows = [[n.partition(".transformer")[0], given[n].shape[1], looked(n, False), looked(n, True)] for n in names]
plotting.show_table(rows, ["layer", "places", "plain", "normalised"])

# %% [markdown] lang="en"
# The reference is looked at, in this denoiser even without the normalisation: in a small world keys are alike. With it, about half of the
# attention goes there. Whether its *style* comes over is another question, and depends on where a denoiser keeps style. We
# try: four contents, two references, with sharing and without, with the word for the style and without. The style loss is that of 5.1, in a random
# network that no method used.

# %%
fixed = style.random_features(seed=1)


@torch.no_grad()
def style_loss(made, painted):
    """Distance of the Gram matrices in the fixed network."""
    return losses.style(*(style.grams(fixed(each)) for each in (made, painted.expand_as(made)))).item()


print(f"{style_loss(look, look):.0f} from itself, {style_loss(contents[5:], look):.2f} from the content to the style picture")

# %% [markdown] lang="en"
# First nothing told and nothing shared, then one of them, then both. The reference is the neon picture from above.

# %%
rows, sheet = [], []
for name in ("neon", "blueprint"):
    reference, its = drawn(painted[5:], [name]), replace(painted[5].scene.facts, style=None)
    for word in (None, name):
        prompts = [style.worded(its, name), *(style.worded(each, word) for each in facts[:4])]
        for part in (0.0, 1.0):
            with style.shared(pipe.unet, part):
                made = style.redraw(pipe, torch.cat([reference, contents[:4]]), prompts, steps=8)[1:]
            rows.append([name, "told" if word else "not told", "shared" if part else "alone"])
            rows[-1] += [np.mean(judged(made, [name] * 4)[0]), style_loss(made, reference)]
            sheet += [made[:2]] if name == "neon" else []
titles = [" · ".join(row[1:3]) for row in rows[:4] for _ in range(2)]
plotting.show_images(torch.cat(sheet), titles, columns=4, scale=0.6)

# %%
with_word, without = ([row[3] for row in rows if row[1] == word] for word in ("told", "not told"))
assert sum(with_word) > sum(without)
plotting.show_table(rows, ["reference", "the word", "attention", "read as it", "style loss"])

# %% [markdown] lang="en"
# Compare rows in pairs. In this denoiser the word does nearly everything, and sharing moves light and colour at most. Its
# attention sits on 64 places and fewer, while strokes are made by convolutions on more; in the large models of the paper attention reaches up to
# thousands of places, and there sharing does carry strokes. So `method="shared"` tells the word too, as the authors do; what is
# shared is at best *which* neon. A method can be right in every equation and still have little to hold on to.

# %% [markdown] lang="en"
# ## Reading: an image-prompt adapter
#
# Words enter the denoiser by cross-attention: places ask, tokens answer. An image-prompt adapter (IP-Adapter, Ye et al. 2023) lets a
# picture answer as well. CLIP's eye makes a vector of it, one small layer makes four tokens of the vector, and each attention gets a second
# pair of keys and values for these. The two answers are **added**:
#
# $$Z=\text{softmax}\Big(\frac{QK^\top}{\sqrt d}\Big)V+\lambda\,\text{softmax}\Big(\frac{QK'^\top}{\sqrt d}\Big)V' \tag{6}$$
#
# This is called *decoupled*: each softmax adds up to one by itself, so four tokens need not fight against thirty-two, and $\lambda$ is a clean
# dial with the old model at 0. We write it on a layer of the denoiser with random keys and values, and ask diffusers.

# %%
layer = pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2
width, (x, words, tokens) = layer.to_q.out_features, (torch.randn(2, n, d, generator=runtime.generator(n)) for n, d in ((64, 128), (32, 128), (4, 128)))
torch.manual_seed(0)
adapter = IPAdapterAttnProcessor2_0(width, 128, num_tokens=(4,), scale=0.6)


def answer(keys, values):
    q, k, v = (layer.head_to_batch_dim(each) for each in (layer.to_q(x), keys, values))
    return layer.batch_to_head_dim(layer.get_attention_scores(q, k) @ v)


told, shown_too = answer(layer.to_k(words), layer.to_v(words)), answer(adapter.to_k_ip[0](tokens), adapter.to_v_ip[0](tokens))
torch.testing.assert_close(layer.to_out[0](told + 0.6 * shown_too), adapter(layer, x, (words, [tokens])))
print("equation (6) agrees with diffusers")

# %% [markdown] lang="en"
# The shipped adapter, `data/models/adapter`, was trained with everything frozen but the small layer and the $K'$ and $V'$. Its teacher is
# the denoiser as it was. The teacher is told the manner by its word; the adapter sees *another* scene in that manner, no word tells it, and it must
# guess what the teacher guesses. Ye et al. let it guess the noise, as any denoiser does. But by (2) a noisy latent betrays its own manner, so that the
# picture need hardly be looked at; therefore most latents of our lesson are plain, whatever manner is asked for.
#
# It is stored as IP-Adapters are, so the stock pipeline loads it. Look at what $\lambda$ does; the words are the same in all.

# %%
stock, folder = models.load("text-to-image"), models.folder_of("adapter")
stock.register_modules(feature_extractor=CLIPImageProcessorPil.from_pretrained(folder / "feature_extractor"))
with models.storage.quiet():  # it warns of a cast that changes nothing
    stock.load_ip_adapter(folder, subfolder="", weight_name="ip-adapter.safetensors")
strengths, asked = [0.0, 0.25, 0.5, 0.75, 1.0], dict(guidance_scale=2.0, num_inference_steps=12, output_type="pt")
strip = []
for strength in strengths:
    stock.set_ip_adapter_scale(strength)
    told = dict(ip_adapter_image=style.to_pil(look), generator=runtime.generator(1))
    strip.append(stock("a large red house in a meadow", **told, **asked).images * 2 - 1)
plotting.show_strip(torch.cat([look, *strip]), ["style", *(f"λ = {each}" for each in strengths)], scale=0.5)

# %% [markdown] lang="en"
# At 0 it is the model as it was. Six contents redrawn, each with a style picture of its own, say how much of the manner arrives; the six
# manners are among those that the adapter was trained with.

# %%
rows = []
for strength in (0.01, 0.5, 1.0):
    made = style.transfer(contents, looks, strength, "adapter", steps=10)
    styles, things = judged(made, MANNERS[:6])
    rows.append([strength, np.mean(styles), np.mean(things), style_loss(made, looks)])
assert rows[-1][1] > max(0.5, rows[0][1]), "the picture does not bring its style"
plotting.show_table(rows, ["λ", "style", "things", "style loss"])

# %% [markdown] lang="en"
# Compare the last row with the dial above at $s=0.8$, where words name the manner. Here no word does, and the manners arrive all the same: the picture
# has taken the place of the word. It has also taken its limits. The teacher knew eight manners, so the adapter tells these apart; that of the paper was
# trained on ten million pictures with their captions. And what CLIP's eye does not tell apart, or the denoiser cannot draw, no adapter brings over.
#
# ## Three kinds of reference
#
# People call three things a style reference: an artist's **manner**, a **scene** whose mood they want, a **palette** without any picture in it.
# And they give photographs. One content, four references; look along the rows for what each method takes.

# %%
palette = torch.tensor([scenes.COLOURS[name] for name in ("purple", "pink", "yellow", "orange")]) / 127.5 - 1
palette = palette.T.repeat_interleave(32, 1)[None, :, None].expand(1, 3, 128, 128)
night = drawn([replace(painted[3], scene=replace(painted[3].scene, background="night"))], ["flat"])
kinds = {"manner": looks[3:4], "scene": night, "palette": palette, "photo": style.photograph("hubble", 128)[..., :128, :128]}
ways = {"AdaIN": dict(method="adain")} | {name: dict(method=m, steps=8) for name, m in (("words", "sdedit"), ("adapter", "adapter"))}
rows = {kind: [ref, *(style.transfer(contents[2:3], ref, **how) for how in ways.values())] for kind, ref in kinds.items()}
titles = [title for kind in kinds for title in (kind, *ways)]
plotting.show_images(torch.cat([each for row in rows.values() for each in row]), titles, columns=4, scale=0.45)

# %% [markdown] lang="en"
# The same in a table. The word is the one that CLIP finds nearest; a word must be found, whatever the picture is. The other columns are
# distances of the mean colour to that of the reference.

# %%
seen = style.told(models.load("captioner"), models.load("tokenizer"), torch.cat(list(kinds.values())))
words = style.named(models.load("clip"), models.load("tokenizer"), torch.cat(list(kinds.values())), seen)
far = lambda a, b: (a.mean((2, 3)) - b.mean((2, 3))).norm().item()  # noqa: E731
table = [[kind, word, far(contents[2:3], row[0]), *(far(made, row[0]) for made in row[1:])] for (kind, row), word in zip(rows.items(), words, strict=True)]
plotting.show_table(table, ["reference", "CLIP's word", "content", *ways])

# %% [markdown] lang="en"
# A manner of this world has a word, and the denoiser draws it, if CLIP finds the right one. A scene or a palette has no word among
# the eight: what is drawn is *some* manner, which meets this light and these colours by luck. The adapter has only what its lesson taught it to tell apart. Moments, which know nothing, carry colours from anything. Which
# method is right is a question about the reference.
#
# ## Where it fails
#
# **It knows the words, not the picture.** At a high strength, what is shown comes from the prompt. The same cats with right words, with
# wrong ones, and with the style alone:

# %%
said = {"right words": "two large orange cats at night", "wrong words": "two large blue cars at night", "the style alone": ""}
wrong = [style.redraw(pipe, cats, [f"{words}, neon".strip(", ")], steps=12) for words in said.values()]
plotting.show_images(torch.cat([cats, *wrong]), ["content", *said], scale=0.6)

# %% [markdown] lang="en"
# Wrong words put other things there, and the cats are gone. With the style alone something of their colour stays in their places, and is no
# cat. Whoever misreads the content, redraws the misreading.
#
# **A photograph as content.**
# The denoiser knows one world. What becomes of a picture from another? The second picture is what the autoencoder alone makes of the photograph; then
# the captioner tells what it sees, and we redraw it in ink.

# %%
photo = style.photograph("cat", 128)[..., :128, :128]
seen = style.told(models.load("captioner"), models.load("tokenizer"), photo)
with torch.no_grad():
    copy = sampling.decode(pipe, encoded(photo))
steps = [style.redraw(pipe, photo, [style.worded(each, "ink") for each in seen], s, steps=12) for s in (0.3, 0.6, 0.92)]
by_adain = style.transfer(photo, drawn(painted[:1], ["ink"]))
print(style.worded(seen[0]))
titles = ["photograph", "autoencoder", "s = 0.3", "s = 0.6", "s = 0.92", "AdaIN"]
plotting.show_images(torch.cat([photo, copy, *steps, by_adain]), titles, columns=6, scale=0.6)

# %% [markdown] lang="en"
# The words are wrong, since the captioner must choose among sixteen things, and the denoiser draws what they say. Even at a low strength
# little of the photograph stands, at a high one nothing. The ink comes, but on something else. AdaIN changes the colours and breaks
# nothing. With a public checkpoint, trained on photographs, the same functions draw: `models.load("text-to-image", source="hub")`, where its weights are on the machine.
#
# ## `--sref` and `--sw`
#
# Midjourney does not publish what its `--sref` does. Our Studio does: it draws the pictures from the words first, and then carries the reference's style
# over by `style.transfer` with its default, AdaIN, at the strength
#
# $$\alpha=\frac{sw}{sw+100} \tag{7}$$
#
# so that `--sw` runs from 0 to 1000 and 100 is half-way. Is that so? We ask the engine for drafts with one seed.

# %%
engine = studio.Engine(load={"text-to-image": pipe}.get, picture=lambda name: style.to_pil(look))
amounts, pictures = [0, 25, 100, 300, 1000], []
for sw in amounts:
    (spec,) = studio.parse(f"a large red house in a meadow --sref 000012-0a1b2c3d --sw {sw} --steps 10 --seed 1", count=1)
    pictures += [event.pictures[0] for event in engine.run(spec) if event.kind == "made"]
for sw, picture in zip(amounts, pictures, strict=True):
    mine = style.transfer(pictures[0], style.to_pil(look), sw / (sw + 100))
    assert np.array_equal(np.asarray(mine), np.asarray(picture))
pictures = [np.asarray(each) for each in (style.to_pil(look), *pictures)]
plotting.show_strip(pictures, ["--sref", *(f"--sw {sw}" for sw in amounts)], scale=0.5)

# %% [markdown] lang="en"
# The Studio agrees with (7). AdaIN takes any reference, leaves every thing in its place, has nothing to redraw, and its dial goes one
# way. The last is measured: the mean style loss of six pairs.

# %%
fall = [np.mean([style_loss(style.transfer(c, r, sw / (sw + 100)), r) for c, r in zip(contents.split(1), looks.split(1), strict=True)]) for sw in amounts]
assert all(a > b for a, b in zip(fall, fall[1:], strict=False)), "the dial is not monotone"
plotting.show_table(list(zip(amounts, [sw / (sw + 100) for sw in amounts], fall, strict=True)), ["--sw", "α by (7)", "style loss"])

# %% [markdown] lang="en"
# ## All methods of the chapter
#
# Six contents with six style pictures, by every method; the transformation network and the LoRA in the one style they know, Gatys on two
# pairs and with fewer evaluations than it wants, because it takes so long. With six pictures, even six right ones prove little. **Wilson's
# interval** for $k$ of $n$ says how little, with $z=1.96$:
#
# $$\frac{k+z^2/2\ \pm\ z\sqrt{k(n-k)/n+z^2/4}}{n+z^2} \tag{8}$$
#
# (The bootstrap of the other tables would call six of six certain: it can only redraw what it has seen.)

# %%
def share(hits, z=1.96):
    """Wilson 1927: a share and the interval that it leaves open."""
    k, n = sum(hits), len(hits)
    middle, wide = k + z**2 / 2, z * (k * (n - k) / n + z**2 / 4) ** 0.5
    return f"{k / n:.2f} [{(middle - wide) / (n + z**2):.2f}, {(middle + wide) / (n + z**2):.2f}]"


print(share([True] * 6), share([True] * 600))

# %% [markdown] lang="en"
# A row: what comes out of a method, how long one picture took, and what had to be there before.

# %%
def tried(name, needs, names, method=None, word=None, **how):
    """A row of the table.  No method: `how` holds what is to be judged."""
    drawing = scenes.new_pictures if names[0] in scenes.NEW_STYLES else None
    some, count = painted[: len(names)], len(names)
    looks = drawing(some, style=names[0]) if drawing else drawn(some, names)
    begun = time.perf_counter()
    made = how["made"] if method is None else style.transfer(contents[:count], word or looks, method=method, **how)
    seconds = "" if method is None else f"{(time.perf_counter() - begun) / count:.2g}"
    return [name, count, *(share(each) for each in judged(made, names)), style_loss(made, looks), seconds, needs]


six = MANNERS[:6]
rows = [tried("control: the content", "", six, made=contents), tried("control: the style picture", "", six, made=looks)]
rows += [tried("drawn by rule", "the scene itself", six, made=drawn(shown, six))]
rows += [tried("Gatys, 40 evaluations", "a picture", MANNERS[:2], "gatys", steps=40)]
rows += [tried("AdaIN", "a picture; one training for all", six, "adain")]
rows += [tried("network: points", "a training for each style", ["points"] * 6, "network", "points")]
print(f"{len(rows)} rows without the denoiser")

# %% [markdown] lang="en"
# And the methods of this notebook. All of them ask the captioner for words about the content.

# %%
rows += [tried("noise and words", "a word that the model knows", six, "sdedit", steps=12)]
rows += [tried("LoRA: chalk", "drawings, a training for each style", ["chalk"] * 6, "lora", "chalk", steps=12)]
rows += [tried("shared attention", "a picture and a word", six, "shared", steps=12)]
rows += [tried("adapter", "a picture; one training for all", six, "adapter", steps=12)]
plotting.show_table(rows, ["method", "pairs", "style", "things", "style loss", "seconds", "needs"])

# %% [markdown] lang="en"
# Both controls fail where they must: the content has the wrong style, the style picture the wrong things. Then read the columns against
# one another, the drawing by rule first: its style is right, and its style loss is what the right answer has, since Gram matrices count the colours of a
# background as style. So a low style loss is not a style that a judge recognises, and a style that is recognised may stand on the wrong things. What is fast was trained before; what needs no
# training needs time, or a word. Intervals of six are wide: the full table, over 210 pairs, with colours and content losses, is in `data/bench/style.md`,
# written by `python scripts/bench_style.py`.
#
# ## Exercises
#
# **5.3.1** (5 minutes) Equation (1): where does the redrawing of a latent `z` start? `abar` is a list of ᾱ from almost clean to almost pure noise, and
# the strength 1 takes its last, 0.5 that half-way: the index is `int(strength * len(abar)) - 1`.

# %% tags=["exercise"]
def start_of(z, noise, abar, strength):
    level = abar[int(strength * len(abar)) - 1]  # solution
    return level**0.5 * z + (1 - level) ** 0.5 * noise  # solution


checks.check_redrawing_start(start_of)

# %% [markdown] lang="en"
# **5.3.2** (8 minutes) Equations (4) and (5) for one head: `own` holds queries, keys and values of a picture, (N, d) each, and `reference` those of
# the reference, (M, d) each. `like(tokens, reference)` from above is (5).

# %% tags=["exercise"]
def look_at(own, reference):
    # solution: return ...
    q, k, v = own
    ref_q, ref_k, ref_v = reference
    q, k = like(q, ref_q), like(k, ref_k)
    weights = (q @ torch.cat([k, ref_k]).mT / q.shape[1] ** 0.5).softmax(1)
    return weights @ torch.cat([v, ref_v])
    # end solution


checks.check_shared_attention(look_at)

# %% [markdown] lang="en"
# **5.3.3** (6 minutes) Equation (6) for one head: a query `q` (N, d), keys and values `words` of the text, (L, d) each, and `picture` of the
# style picture's tokens, (4, d) each.

# %% tags=["exercise"]
def answered(q, words, picture, scale):
    # solution: return ...
    def attend(keys, values):
        return (q @ keys.mT / q.shape[1] ** 0.5).softmax(1) @ values

    return attend(*words) + scale * attend(*picture)
    # end solution


checks.check_decoupled_attention(answered)

# %% [markdown] lang="en"
# ## Recap
#
# 1. SDEdit noises the content and walks back with other words (1); noise erases differences by their length (2), so style and content are traded.
# 2. A LoRA teaches a style that no word names (3); its weight is a dial, and each style costs a training.
# 3. Shared attention appends the reference's keys and values (4), made comparable by AdaIN (5); it gives what a denoiser's attention holds.
# 4. An adapter adds a second answer (6) and is trained once; the Studio's `--sref` is AdaIN, and `--sw` its share (7).
#
# **Next:** 6.1 puts all of this behind one line of text.
#
# ### References
#
# - Meng et al. 2022, *SDEdit: guided image synthesis and editing with stochastic differential equations*, arXiv 2108.01073.
# - Hertz et al. 2024, *Style aligned image generation via shared attention*, arXiv 2312.02133.
# - Ye et al. 2023, *IP-Adapter: text compatible image prompt adapter*, arXiv 2308.06721.
# - Wang et al. 2024, *InstantStyle: free lunch towards style-preserving in text-to-image generation*, arXiv 2404.02733.
# - Wilson 1927, *Probable inference, the law of succession, and statistical inference*, J. Am. Stat. Assoc. 22.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
