# %% [markdown] lang="en"
# # 1.2 What is known, what is claimed
#
# Much that is written about systems that make pictures from words is wrong, and much cannot be known. Here we sort
# it: what is documented and where, what we can test on this machine, and what nobody outside can say. On the way,
# four small models make a text, a picture, a tune and a film, and a message is hidden in a picture and read back.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import base64
import inspect
import io
import random
import re
import wave
from collections import Counter, defaultdict
from itertools import pairwise

import diffusers
import numpy as np
import torch
import transformers
from IPython.display import HTML, Audio
from PIL import Image

from aigc_course import checks, diffusion, evaluation, models, plotting, runtime, sampling, scenes

print(runtime.summary())

# %% [markdown] lang="en"
# ## The smallest test of a claim
#
# Many a tutorial imports `GPT3LMHeadModel` from the library `transformers`. One line tells whether it is there.

# %%
print("GPT3LMHeadModel:", hasattr(transformers, "GPT3LMHeadModel"), "| GPT2LMHeadModel:", hasattr(transformers, "GPT2LMHeadModel"))

# %% [markdown] lang="en"
# There is a class for GPT-2, whose weights are public, and none for GPT-3, whose weights never were. In this
# notebook each test of a claim ends in the function below, which notes what came out.

# %%
tested = {}


def judge(claim, holds, measured):
    tested[claim] = ("tested true here" if holds else "tested false here", measured)
    print(f"{claim}: {tested[claim][0]} ({measured})")


gpts = [name for name in dir(transformers) if re.fullmatch(r"GPT\d?LMHeadModel", name)]
judge("transformers has GPT3LMHeadModel", "GPT3LMHeadModel" in gpts, f"transformers {transformers.__version__} has {', '.join(gpts)}")

# %% [markdown] lang="en"
# ## A short history, with sources
#
# Each row has the paper or the first-hand source that it rests on. Look at the column *weights*: it decides what
# anyone outside can check.

# %%
columns = ["when", "what", "how it works", "weights", "source"]
history = [
    ("2014-06", "GAN", "one network draws, another tells drawn from real", "code", "Goodfellow et al. 2014, arXiv 1406.2661"),
    ("2018-06", "GPT", "a transformer learns to continue text", "public", "Radford et al. 2018, OpenAI report"),
    ("2019-02", "GPT-2", "the same, larger; tasks by wording alone", "public", "Radford et al. 2019, OpenAI report"),
    ("2020-05", "GPT-3", "larger again; learns from examples in the prompt", "never released", "Brown et al. 2020, arXiv 2005.14165"),
    ("2020-06", "DDPM", "pictures by removing noise, step by step", "public", "Ho et al. 2020, arXiv 2006.11239"),
    ("2021-02", "DALL·E", "a transformer writes a picture as tokens of a discrete autoencoder", "autoencoder only", "Ramesh et al. 2021, arXiv 2102.12092"),
    ("2021-03", "CLIP", "one space for pictures and words", "public", "Radford et al. 2021, arXiv 2103.00020"),
    ("2021-12", "latent diffusion", "DDPM in the small space of an autoencoder", "public", "Rombach et al. 2022, arXiv 2112.10752"),
    ("2022-03", "GPT-3.5", "a successor of GPT-3, tuned to follow instructions; no paper of its own", "never released", "Ouyang et al. 2022 (InstructGPT), arXiv 2203.02155"),
    ("2022-04", "DALL·E 2", "words to a CLIP picture vector, then a diffusion decoder", "never released", "Ramesh et al. 2022, arXiv 2204.06125"),
    ("2022-08", "Midjourney", "not published", "never released", "interview with its founder, The Register, 1 August 2022"),
    ("2022-08", "Stable Diffusion", "latent diffusion with CLIP's text encoder", "public", "CompVis 2022, model card"),
    ("2024-03", "Stable Diffusion 3", "a transformer, trained by flow matching", "public (medium size)", "Esser et al. 2024, arXiv 2403.03206"),
    ("2024-04", "VAR", "autoregressive again: from coarse to fine", "public", "Tian et al. 2024, arXiv 2404.02905"),
]  # fmt: skip
plotting.show_table(history, columns)

# %% [markdown] lang="en"
# An arXiv number begins with year and month, so the table can check part of itself.

# %%
for when, what, *_, source in history:
    for year, month in re.findall(r"arXiv (\d\d)(\d\d)\.", source):
        assert when == f"20{year}-{month}", f"{what}: the number says 20{year}-{month}"
print("every arXiv number agrees with its date")

# %% [markdown] lang="en"
# As a line of time: each line begins in the month of its source in the table.

# %%
months = np.arange(2014, 2025, 1 / 12)
begins = [int(when[:4]) + (int(when[5:]) - 1) / 12 for when, *_ in history]
lines = {row[1]: np.where(months >= begins[k] - 0.01, k + 1.0, np.nan) for k, row in enumerate(history)}
plotting.show_curves(lines, months, "year", "described by then", alt="A stair of systems over the years: " + ", ".join(f"{row[1]} {row[0]}" for row in history))

# %% [markdown] lang="en"
# Since 2018 the steps come quickly. A GAN draws in one go; two other roads lead through this figure. **Autoregressive** models write one token after the other. With words, or
# tokens of a picture, $w_1 \dots w_n$, and a mark $w_0$ for the beginning,
#
# $$-\ln p(w_1 \dots w_n) = -\sum_{i=1}^{n} \ln p(w_i \mid w_0 \dots w_{i-1}) \tag{1}$$
#
# **Diffusion** models begin with noise everywhere and make all of the picture clearer at once, as 1.1 showed. The
# first DALL·E took the first road:

# %%
first_road = """
flowchart LR
    words([Words<br/>256 tokens]) --> transformer[Transformer<br/>one token at a time]
    transformer --> tokens[1024 picture tokens<br/>32 × 32, of 8192 kinds]
    tokens --> decoder[Decoder<br/>of a discrete autoencoder] --> picture([Picture<br/>256 × 256])
"""
plotting.show_diagram(first_road, "DALL-E: 256 word tokens, a transformer writes 1024 picture tokens one by one, the decoder of a discrete autoencoder draws them.")

# %% [markdown] lang="en"
# DALL·E 2 shares the name and took the second road. Its paper also tried an autoregressive *prior* (the first box),
# and kept the diffusion prior, which cost less and looked better (Ramesh et al. 2022).

# %%
second_road = """
flowchart LR
    words([Words]) --> prior[Prior<br/>diffusion]
    prior --> vector[CLIP picture vector] --> decoder[Decoder<br/>diffusion, 64 × 64]
    noise([Noise]) --> decoder
    decoder --> larger[Two upsamplers<br/>diffusion] --> picture([Picture<br/>1024 × 1024])
"""
plotting.show_diagram(second_road, "DALL-E 2: a diffusion prior turns words into a CLIP picture vector, a diffusion decoder draws it small, two diffusion upsamplers enlarge it.")

# %% [markdown] lang="en"
# Noise becomes a picture three times in a row here.
#
# And Midjourney? Its documentation says that version 4 has an architecture designed by its maker and trained on the
# maker's own cluster (*Legacy Features*). In the interview of the table its founder speaks of CLIP, transformers and
# diffusion. Weights, code, sizes, text encoder, sampler and training pictures are not published. Whoever tells you
# more than this guesses, and so would we.
#
# ## One idea, four media
#
# *AIGC*, content generated by AI, is text, picture, sound and film. A small live example of each follows, all four
# made on this machine.
#
# ### Text: a bigram model
#
# The simplest use of (1) looks back by one word only. Shannon did it by hand in 1948. We count, in our captions,
# which word follows which.

# %%
rng = random.Random(0)
told = [["<s>", *evaluation.words(scenes.caption(item.scene, rng)), "</s>"] for item in scenes.samples(2000)]
follow = defaultdict(Counter)
for a, b in (pair for sentence in told for pair in pairwise(sentence)):
    follow[a][b] += 1
print(len(follow), "words; after 'left':", follow["left"].most_common(2), "| after 'in':", follow["in"].most_common(3))

# %% [markdown] lang="en"
# That is the whole model. Its chances $p(w_i \mid w_{i-1})$ as a map: each row is a word, and where it leads.

# %%
rows, onward = ["<s>", "a", "small", "cat", "left", "in", "at"], ["a", "small", "red", "left", "of", "in", "the", "at", "sea", "night"]
chances = np.array([[follow[a][b] / follow[a].total() for b in onward] for a in rows])
plotting.show_heatmap(chances.round(2), rows, onward)

# %% [markdown] lang="en"
# Grammar shows as dark squares. To write, begin at `<s>`, draw a next word by its chance, and go on to the end.

# %%
def write(rng):
    words = ["<s>"]
    while words[-1] != "</s>":
        following = follow[words[-1]]
        words += rng.choices(list(following), list(following.values()))
    return " ".join(words[1:-1])


written = [write(random.Random(seed)) for seed in range(200)]
plotting.show_table([(k, text) for k, text in enumerate(written[:5])], ["seed", "written by the bigram model"])

# %% [markdown] lang="en"
# Each pair of neighbours is fine; the whole often is not, since the model forgot how it began. The reader of
# captions from `scenes` accepts only what makes sense in our world:

# %%
def readable(text):
    try:
        return bool(scenes.read_caption(text))
    except ValueError:
        return False


print(sum(map(readable, written)), "of", len(written), "sentences describe a scene")

# %% [markdown] lang="en"
# GPT is this with a longer memory: a network in place of the table of counts. The course's own, a small GPT-2:

# %%
tokenizer, lm = models.load("tokenizer"), models.load("lm")
begun = tokenizer("<en>", return_tensors="pt").input_ids[:, :-1].expand(200, -1)
torch.manual_seed(0)
ends = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
lm.config.pad_token_id = None  # sentences that have ended are filled up: the library would warn of it
said = lm.generate(begun, attention_mask=torch.ones_like(begun), do_sample=True, max_length=32, **ends)
longer = tokenizer.batch_decode(said, skip_special_tokens=True)
print("\n".join(longer[:4]))
print(sum(map(readable, longer)), "of", len(longer), "sentences describe a scene")

# %% [markdown] lang="en"
# ### Picture: the shipped model
#
# We measure the time as well; the part on costs will use it.

# %%
pipe = models.load("text-to-image")
prompt = "a red house in a meadow"
with runtime.stopwatch() as watch:
    made = sampling.words_to_pictures(pipe, [prompt] * 2, seed=1).cpu()
seconds = watch.seconds / len(made)
plotting.show_images(made, [f"seed {seed}" for seed in (1, 2)], alt=f"Two pictures made from the prompt: {prompt}")

# %% [markdown] lang="en"
# One prompt, two seeds, two pictures.
#
# ### Sound: a chain of notes
#
# Our cast has no music model yet (chapter 6.3 makes one), but the same counting works for notes. We count which note
# follows which in a melody of Beethoven's (1824), as MIDI note numbers (69 is the A of 440 hertz), and let the chain go
# on from there.

# %%
melody = [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62, 64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 62, 60, 60]
after = defaultdict(list)
for a, b in pairwise(melody):
    after[a].append(b)
rng, notes = random.Random(3), [64]
while len(notes) < 9:
    notes.append(rng.choice(after[notes[-1]]))
plotting.show_curves({"Beethoven": melody[:9], "the chain": notes}, xlabel="note", ylabel="MIDI number")

# %% [markdown] lang="en"
# The new tune moves by the same small steps. The note of number $k$ sounds at $440 \cdot 2^{(k-69)/12}$ hertz; each is
# a sine that dies away, written as one byte `rate` times a second.

# %%
rate = 6000
time = np.arange(rate // 5) / rate
sound = np.concatenate([np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * time) * np.exp(-8 * time) for key in notes])
file = io.BytesIO()
with wave.open(file, "wb") as out:
    out.setparams((1, 1, rate, len(sound), "NONE", ""))
    out.writeframes((128 + 120 * sound).astype(np.uint8).tobytes())
Audio(file.getvalue())

# %% [markdown] lang="en"
# Press play: it wanders, for a chain that sees one note at a time has no plan.
#
# ### Film: a walk between two noises
#
# Frames of a film must change little by little. So must the noise they begin in. Two independent noises
# $\varepsilon_a$, $\varepsilon_b$ mixed half and half are *quieter* than noise, and the model never saw that. A walk on
# the sphere keeps the loudness (Shoemake 1985). With $\theta$ the angle between the two,
#
# $$\varepsilon(s) = \frac{\sin((1-s)\,\theta)\;\varepsilon_a + \sin(s\,\theta)\;\varepsilon_b}{\sin\theta} \tag{2}$$

# %%
def slerp(a, b, s):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (torch.sin((1 - s) * theta) * a + torch.sin(s * theta) * b) / torch.sin(theta)


one, other = sampling.start_noise(pipe, [1, 2])
print(f"spread of the noise: {one.std():.2f}; halfway mixed {((one + other) / 2).std():.2f}, on the sphere {slerp(one, other, 0.5).std():.2f}")

# %% [markdown] lang="en"
# Now the frames: one prompt, five noises on the way from one to the other.

# %%
shares = [0, 0.25, 0.5, 0.75, 1]
noises = torch.stack([slerp(one, other, s) for s in shares])
schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
frames = sampling.decode(pipe, sampling.ddim(sampling.guided(pipe, [prompt] * len(shares)), noises, schedule, steps=12))
plotting.show_strip(frames, [f"s = {s:g}" for s in shares], f"Five frames of a film of {prompt}", scale=0.65)

# %% [markdown] lang="en"
# The first frame began in the noise of seed 1, the last in that of seed 2, as the two pictures above did with more
# steps; no seed gives those between. Played back and forth:

# %%
file = io.BytesIO()
reel = [plotting.to_pil(frame).resize((96, 96)) for frame in (*frames, *frames[1:-1].flip(0))]
palette = Image.fromarray(np.hstack(reel)).quantize(128)  # one for all frames, so that no colour jumps
reel = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in reel]
reel[0].save(file, "GIF", save_all=True, append_images=reel[1:], duration=160, loop=0)
HTML(f'<img alt="The five frames, played back and forth" width="128" src="data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}">')

# %% [markdown] lang="en"
# Real video models make all frames together, so that things keep their shape from frame to frame (Ho et al. 2022b). Ours only knows
# single pictures.
#
# ## The claims
#
# Sentences that one can read in articles and tutorials. For each: what is documented, where, and what
# follows. Where it says *test*, we test it below.

# %%
claims = [
    ("Midjourney is a fine-tuned GPT-3.5", "GPT-3.5 writes text and its weights never left OpenAI; the maker calls the architecture its own", "Midjourney documentation, Legacy Features", "documented false"),
    ("Midjourney is a U-Net in a latent space", "nothing is published about it", "nowhere", "unknown"),
    ("DALL·E is GPT-3 with a GAN", "a transformer over tokens of a discrete autoencoder; no GAN", "arXiv 2102.12092", "documented false"),
    ("DALL·E 2 is autoregressive", "its decoder is a diffusion model, and so is the prior that was kept", "arXiv 2204.06125", "test"),
    ("DALL·E 2 is open source", "a paper, no weights; others rebuilt it", "arXiv 2204.06125", "documented false"),
    ("Stable Diffusion's weights are open", "anyone may download them; the licence forbids some uses", "model card, CreativeML Open RAIL-M", "documented true"),
    ("autoregressive picture models are dead", "Parti (2022) and VAR (2024), both later than DALL·E 2, are autoregressive", "arXiv 2206.10789, 2404.02905", "documented false"),
    ("a diffusion model never repeats a training picture", "some were drawn out again, from Stable Diffusion and from Midjourney v4", "arXiv 2301.13188, 2305.08694", "documented false"),
    ("transformers has GPT3LMHeadModel", "GPT-3 was described, not released", "arXiv 2005.14165", "test"),
    ("85 % of tokens right means a good captioner", "depends on whether padding counts", "equation (3)", "test"),
    ("the gradient of the loss is the gradient of the model", "the chain rule has two factors", "Goodfellow et al. 2016, section 6.5", "test"),
    ("a bigger guidance is always better", "it buys agreement with variety", "arXiv 2207.12598", "test"),
    ("the same seed gives the same picture everywhere", "not promised between releases, platforms, devices", "PyTorch notes, Reproducibility", "test"),
    ("an invisible watermark stays in the picture", "each that lives in pixels can be removed", "arXiv 2306.01953", "test"),
]  # fmt: skip
plotting.show_table(claims, ["claim", "documented", "where", "verdict"])

# %% [markdown] lang="en"
# `GPT3LMHeadModel` we have had. The others in turn.
#
# ### "DALL·E 2 is autoregressive"
#
# OpenAI's weights cannot be looked at. But `diffusers` holds a rebuilding after the paper, and Python can ask which
# parts it is made of. Look for a decoder that writes tokens.

# %%
parts = inspect.signature(diffusers.UnCLIPPipeline.__init__).parameters
kinds = {name: getattr(parts[name].annotation, "__name__", str(parts[name].annotation)) for name in ("prior", "decoder", "decoder_scheduler")}
judge("DALL·E 2 is autoregressive", "UNet" not in kinds["decoder"], "rebuilt: " + ", ".join(f"{name}: {kind}" for name, kind in kinds.items()))

# %% [markdown] lang="en"
# The decoder is a U-Net, walked by a scheduler of noise levels: diffusion.
#
# ### "85 % of tokens right means a good captioner"
#
# Captions in a batch are padded to one length $L$. If padding counts, and the model has learnt to guess it, then $n$
# real tokens of which a share $a$ is right become a report of
#
# $$a_\text{report} = 1 - (1-a)\,\frac{n}{L} \tag{3}$$
#
# Our bigram model shall guess each next word of fresh captions. Padding follows `</s>` and padding, always.

# %%
fresh = [["<s>", *evaluation.words(scenes.caption(item.scene, random.Random(k))), "</s>"] for k, item in enumerate(scenes.samples(500, "validation"))]
likeliest = {a: following.most_common(1)[0][0] for a, following in follow.items()} | {"</s>": "<pad>", "<pad>": "<pad>"}


def accuracy(sentences):
    guesses = [likeliest[a] == b for words in sentences for a, b in pairwise(words)]
    return sum(guesses) / len(guesses)


n = sum(len(words) - 1 for words in fresh) / len(fresh)
a = accuracy(fresh)
print(f"{a:.1%} of real tokens right, {n:.1f} tokens a caption")

# %% [markdown] lang="en"
# That is a poor captioner: it never saw a picture. Now the same model with padding to more and more tokens, measured
# and by equation (3).

# %%
lengths = [32, 48, 64, 96, 128]
measured = [accuracy([words + ["<pad>"] * (L + 1 - len(words)) for words in fresh]) for L in lengths]
formula = [1 - (1 - a) * n / L for L in lengths]
np.testing.assert_allclose(measured, formula, atol=1e-12)
plotting.show_curves({"with padding": measured, "real tokens": [a] * 5}, lengths, "padded to L tokens", "share right")

# %% [markdown] lang="en"
# Nothing was learnt, and the report climbs. From (3) follows at which length this model reports 85 %; and a weak COCO
# captioner with 45 % of its tokens right (as reported in OpenNMT-py, issue 898), if a caption is 13 tokens.

# %%
def length_for(report, a, n):
    return n * (1 - a) / (1 - report)


L = length_for(0.85, a, n)
print(f"85 % needs L = {L:.0f} here, and L = {length_for(0.85, 0.45, 13):.0f} for a COCO captioner")
judge("85 % of tokens right means a good captioner", a > 0.85, f"a bigram model without eyes reports it at L = {L:.0f}; without padding {a:.0%}")

# %% [markdown] lang="en"
# So the number alone says nothing. The loss shrinks by the same factor $n/L$. Chapter 2.1 shows the mask that
# leaves padding out.
#
# ### "The gradient of the loss is the gradient of the model"
#
# A model gives scores $z = Wx$; softmax makes chances $p$ of them; the loss compares these with the truth $y$, one-hot:
# $\ell = -\ln p_\text{truth}$. The chain rule has two factors, one of the loss and one of the model:
#
# $$\frac{\partial \ell}{\partial W} = \sum_k \frac{\partial \ell}{\partial z_k}\,\frac{\partial z_k}{\partial W},
# \qquad \frac{\partial \ell}{\partial z_k} = p_k - y_k \tag{4}$$
#
# We let torch compute the two gradients that the claim confuses, for three classes and five inputs.

# %%
g = runtime.generator(0)
x, W, truth = torch.randn(5, generator=g), torch.randn(3, 5, generator=g), torch.tensor(1)


def loss(W):
    return torch.nn.functional.cross_entropy(W @ x, truth)


of_loss, of_model = torch.func.grad(loss)(W), torch.func.jacrev(lambda W: W @ x)(W)
judge("the gradient of the loss is the gradient of the model", of_loss.shape == of_model.shape, f"shapes {tuple(of_loss.shape)} and {tuple(of_model.shape)}")

# %% [markdown] lang="en"
# Not even the shapes agree: the model's gradient has one layer for each score, and knows nothing of the truth.
# Equation (4) joins them, and for this model leaves
#
# $$\frac{\partial \ell}{\partial W} = (p - y)\,x^\top \tag{5}$$

# %%
p_minus_y = torch.softmax(W @ x, 0) - torch.eye(3)[truth]
torch.testing.assert_close(torch.einsum("k,kij->ij", p_minus_y, of_model), of_loss)
torch.testing.assert_close(torch.outer(p_minus_y, x), of_loss)
plotting.show_heatmap(of_loss.round(decimals=2) + 0.0, ["class 0", "class 1, the truth", "class 2"], [f"x{k}" for k in range(5)])

# %% [markdown] lang="en"
# By $p - y$ the row of the truth points against the others, and each of these is as strong as its chance: a class that
# had hardly a chance has a row of nearly zero. That is what the loss adds.
#
# ### "A bigger guidance is always better"
#
# Guidance makes the words pull harder than in training (1.1). We draw four prompts at four scales, and look at the
# first of them.

# %%
prompts = ["a red house in a meadow", "a yellow star at night", "a green tree in a meadow", "a red flower in the desert"]
scales = [1.0, 4.0, 12.0, 30.0]
drawn = [sampling.words_to_pictures(pipe, prompts, steps=12, scale=scale, seed=40) for scale in scales]
plotting.show_images(torch.stack([pictures[0] for pictures in drawn]), [f"w = {scale:g}" for scale in scales], alt=f"{prompts[0]}, at four guidance scales", scale=0.65)

# %% [markdown] lang="en"
# From left to right the words pull harder, and contrast grows. The parser counts, over all four prompts, which of
# thing, colour and place it finds; beside it stands the share of pixels at the very edge of the range, burnt ones.

# %%
parser = evaluation.load_parser()
found = [evaluation.score(parser, pictures, list(map(scenes.read_caption, prompts))) for pictures in drawn]
marks = [np.mean([score[name].float().mean() for name in ("thing", "colour", "background")]) for score in found]
burnt = [(pictures.abs() > 0.98).float().mean().item() for pictures in drawn]
plotting.show_curves({"found": marks, "burnt": burnt}, scales, "guidance scale w", "share")

# %% [markdown] lang="en"
# Four prompts are few; 2.4 measures guidance with sixteen. They are enough to see whether the largest scale wins.

# %%
per_scale = ", ".join(f"{mark:.0%} at w = {scale:g}" for mark, scale in zip(marks, scales))
judge("a bigger guidance is always better", marks[-1] > max(marks[:-1]), f"found {per_scale}; burnt {burnt[0]:.0%} to {burnt[-1]:.0%}")

# %% [markdown] lang="en"
# ### "The same seed gives the same picture everywhere"
#
# On one machine, twice: yes. "Everywhere" we cannot visit, but we can change what differs there: here the
# arithmetic, to the 16-bit numbers in which many graphics cards work, and the number of steps.

# %%
def seeded(steps=12):
    return sampling.words_to_pictures(pipe, [prompt], steps=steps, seed=7)


usual, again = seeded(), seeded()
with torch.autocast(runtime.device().type, torch.bfloat16):
    short = seeded()
same_seed = torch.cat([usual, again, short, seeded(steps=20)])
plotting.show_images(same_seed, ["12 steps", "once more", "16-bit arithmetic", "20 steps"], alt=f"One seed four times: {prompt}")

# %% [markdown] lang="en"
# How far are they from the first, pixel by pixel? Bytes go from 0 to 255.

# %%
apart = [(picture - usual[0]).abs().max().item() * 127.5 for picture in same_seed[1:]]
print("largest difference in bytes:", [round(value, 2) for value in apart])
judge("the same seed gives the same picture everywhere", max(apart) < 1, f"bytes apart: once more {apart[0]:.1f}, 16-bit {apart[1]:.0f}, 20 steps {apart[2]:.0f}")

# %% [markdown] lang="en"
# The seed fixes the noise, and even that only for one kind of generator. To get a picture again, keep model, version,
# sampler, steps, scale, size and number format as well. The Studio of chapter 6 writes them into its files.
#
# ## Strengths and limits
#
# Where these systems help, and where a person must look, in one table; each row says which chapter measures it.

# %%
plotting.show_table(
    [
        ("many variants of one idea, in seconds", "what was asked for may be missing or wrong", "1.1, 6.5"),
        ("a style or a new thing from a few pictures", "what was known before may be forgotten", "3.4, 3.5"),
        ("words as the only tool", "wording changes the result in ways hard to foresee", "3.3"),
        ("runs on a small machine when made small", "quality costs data, memory and time", "4.1 to 4.4"),
        ("plausible at first sight", "plausible is not true: nothing checks facts", "1.3, 6.5"),
    ],
    ["strength", "limit", "chapter"],
)

# %% [markdown] lang="en"
# ## What it costs
#
# We count the trained numbers, the bytes on disk, and use the seconds for a picture from above. How many watts this
# machine draws we do not know; the table assumes 15, a laptop at work.

# %%
numbers = sum(p.numel() for part in (pipe.text_encoder, pipe.unet, pipe.vae) for p in part.parameters())
stored = sum(path.stat().st_size for path in models.folder_of("text-to-image").rglob("*") if path.is_file())
watts = 15
costs = [
    ("trained numbers, millions", numbers / 1e6),
    ("megabytes on disk", stored / 1e6),
    ("seconds for a picture", seconds),
    ("pictures in an hour", 3600 / seconds),
    (f"watt-hours for 1,000 pictures, at {watts} W", 1000 * seconds * watts / 3600),
]
plotting.show_table(costs, ["our model, on this machine", "value"])

# %% [markdown] lang="en"
# Training cost more than any picture. The recipe beside the weights noted its minutes. A minute on a graphics card does
# far more work, so only the minutes on a processor are converted into pictures drawn here:

# %%
minutes = {"processor": 0.0, "graphics card": 0.0}
for run in models.recipe_of("text-to-image"):
    minutes["graphics card" if "NVIDIA" in run.get("machine", "") else "processor"] += run.get("minutes", 0)
print("training, minutes:", {kind: round(spent) for kind, spent in minutes.items()})
print(f"those on a processor are the time of {60 * minutes['processor'] / seconds:,.0f} pictures")
print(f"Stable Diffusion 1's U-Net has 860 million numbers (README of CompVis/stable-diffusion), {860e6 / numbers:.0f} times all of ours")

# %% [markdown] lang="en"
# For large models such figures are rarely published. Luccioni et al. (2023) measured the energy of many public ones
# and found pictures to cost far more than text.
#
# ## Licences
#
# A model is three works with three permissions: code, weights, data. The table says what the owners state; it is no
# legal advice, and licences change, so read the text that comes with your copy.

# %%
licences = [
    ("this course", "Apache-2.0: use, change, sell; keep the notices", "CC BY 4.0: the same, with credit", "drawn by the code"),
    ("Stable Diffusion 1.x", "CreativeML Open RAIL-M", "the same: also for sale, but listed uses are forbidden, and so on for all who get it", "LAION: links to pictures of others"),
    ("CLIP", "MIT: almost anything, keep the notice", "the same", "not released"),
    ("GPT-2", "MIT, with a note on its use", "the same", "not released"),
    ("DALL·E 2, GPT-3.5, Midjourney", "none", "none; terms of a service", "not released"),
]
plotting.show_table(licences, ["system", "code", "weights", "training data"])

# %% [markdown] lang="en"
# *Open weights* (one may download them) is not *open source* (one may also study, change and share all, for any
# purpose). Who owns a generated picture differs from country to country, and is not settled.
#
# ## Misuse
#
# What has been documented, by whom, and what helps a little.

# %%
risks = [
    ("training pictures come out again", "Carlini et al. 2023, arXiv 2301.13188", "remove copies from the data; compare with the nearest training picture"),
    ("stereotypes of people grow stronger", "Bianchi et al. 2023, arXiv 2211.03759", "measure them; say which data was used"),
    ("work of people who did not agree is used", "LAION-5B, Schuhmann et al. 2022, arXiv 2210.08402, is links", "data with a licence, or drawn as ours is"),
    ("false photographs of real people and events", "Mirsky, Lee 2020, arXiv 2004.11138 (survey)", "marks and signed origin, media habits, law"),
]
plotting.show_table(risks, ["risk", "documented by", "what helps"])

# %% [markdown] lang="en"
# ## Watermarks: hide a message, read it back
#
# A watermark is a message in the pixels that the eye does not see. We hide four letters, 32 bits.

# %%
message = "AIGC"
bits = torch.tensor([int(bit) for letter in message.encode() for bit in f"{letter:08b}"])


def letters(bits):
    values = torch.as_tensor(bits).long().view(-1, 8) @ (2 ** torch.arange(7, -1, -1))
    return bytes(values.tolist()).decode("latin-1")


print("".join(map(str, bits.tolist())), "=", letters(bits))

# %% [markdown] lang="en"
# ### In the least bit
#
# Each byte of a picture ends in a bit worth one step of 256. We overwrite these bits with the message, again and
# again until the picture is full; reading takes a vote.

# %%
def hide_least(pixels, bits):
    """pixels: uint8 (H, W, 3);  bits: (N,) of 0 and 1."""
    return (pixels & 254) | np.resize(bits.numpy(), pixels.shape).astype(np.uint8)


def read_least(pixels, count):
    return (pixels & 1).reshape(-1, count).mean(0) > 0.5


pixels = plotting.to_array(made[0])[0]
least = hide_least(pixels, bits)
print("read back:", letters(read_least(least, len(bits))))

# %% [markdown] lang="en"
# ### Spread over the picture
#
# The other way is older than the models (Cox et al. 1997): give each bit a faint pattern $w_k$ of its own, known to
# whoever has the key, and add or subtract it. Ours are pairs of neighbouring squares, one lighter and one darker,
# strewn over the picture by a seed. Reading is a correlation, the mean of picture times pattern:
#
# $$c_k = \frac{\langle x, w_k\rangle}{\langle w_k, w_k\rangle}, \qquad
# x' = x + \sum_k s_k \max(0,\; m - s_k c_k)\,w_k \tag{6}$$
#
# with $s_k = 1$ for a bit of 1 and $-1$ for 0. The sender knows the picture and its own $c_k$, so it adds only what is
# missing: then every $c_k$ has the sign of its bit, with a margin of $m$ or more.

# %%
def patterns(count, key, side=128, block=4):
    """(count, side, side) of -1, 0 and 1: each pair of squares belongs to one bit."""
    g = runtime.generator(key)
    shape = (side // block, side // block // 2)
    sign = torch.randint(2, shape, generator=g) * 2 - 1
    owner = torch.randperm(sign.numel(), generator=g).view(shape) % count
    pairs = torch.stack([sign, -sign], -1).flatten(1)
    mine = owner.repeat_interleave(2, 1) == torch.arange(count)[:, None, None]
    return (mine * pairs).repeat_interleave(block, 1).repeat_interleave(block, 2).float()


w = patterns(len(bits), key=2026)
plotting.show_images(torch.cat([w[:2], w.sum(0, keepdim=True)])[:, None], ["pattern of bit 0", "pattern of bit 1", "all together"])

# %% [markdown] lang="en"
# No two patterns touch, so bits do not disturb each other. Hiding and reading are equation (6), on the mean of the
# three colours.

# %%
def correlate(picture, w):
    """picture: (3, H, W) in [-1, 1];  w: (N, H, W)  ->  (N,)."""
    return torch.einsum("nhw,hw->n", w, picture.mean(0)) / w.abs().sum((1, 2))


def hide_spread(picture, bits, w, m=0.02):
    s = 2 * bits - 1
    missing = (m - s * correlate(picture, w)).clamp(min=0)
    return (picture + torch.einsum("n,nhw->hw", s * missing, w)).clamp(-1, 1)


def floats(pixels):
    """The way back from bytes: (H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 127.5 - 1


spread = plotting.to_array(hide_spread(made[0], bits, w))[0]
print("read back:", letters(correlate(floats(spread), w) > 0))

# %% [markdown] lang="en"
# Does one see it? The picture, both marked ones, and what the second mark added, ten times as strong.

# %%
added = np.clip(127.5 + 10 * (spread.astype(float) - pixels), 0, 255).astype(np.uint8)
plotting.show_images([pixels, least, spread, added], ["unmarked", "least bits", "spread", "added, × 10"])

# %% [markdown] lang="en"
# The least bits nobody can see. The spread mark shows as a faint chequer on the plain sky and grass: for so small a
# picture it must be strong. In decibels, by `evaluation.psnr` (more is more alike, equal pictures are infinite):

# %%
quality = {name: evaluation.psnr(floats(marked)[None], floats(pixels)[None]).item() for name, marked in (("least bits", least), ("spread", spread))}
print({name: f"{value:.1f} dB" for name, value in quality.items()})

# %% [markdown] lang="en"
# ### What survives?
#
# Pictures are saved as JPEG, resized, cut. We do each of these to eight drawn pictures with a mark, and count wrong
# bits: 0 % is a message kept, 50 % is as good as guessing.

# %%
def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


harms = {
    "saved as PNG": lambda image: image,
    "JPEG, quality 90": lambda image: jpeg(image, 90),
    "JPEG, quality 50": lambda image: jpeg(image, 50),
    "halved and enlarged": lambda image: image.resize((64, 64)).resize((128, 128)),
    "brighter by a tenth": lambda image: image.point(lambda value: value * 1.1),
    "moved by 3 pixels": lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, 3)),
}
originals = scenes.pictures(scenes.samples(8, "test"))
print(len(harms), "harms,", len(originals), "pictures")

# %% [markdown] lang="en"
# Each picture gets both marks, suffers each harm, and is read.

# %%
def wrong_bits(harm):
    wrong = []
    for original in originals:
        image = Image.fromarray(hide_least(plotting.to_array(original)[0], bits))
        wrong.append(read_least(np.array(harm(image)), len(bits)) != bits.numpy())
        image = plotting.to_pil(hide_spread(original, bits, w))
        wrong.append(((correlate(floats(harm(image)), w) > 0).long() != bits).numpy())
    return np.mean(wrong[::2]), np.mean(wrong[1::2])


errors = {name: wrong_bits(harm) for name, harm in harms.items()}
plotting.show_table([(name, f"{first:.0%}", f"{second:.0%}") for name, (first, second) in errors.items()], ["harm", "wrong, least bits", "wrong, spread"])

# %% [markdown] lang="en"
# The least bits live only as long as nobody touches the file. The spread mark bears more, as it sits in coarse
# squares that compression keeps; but a move of three pixels makes sender and reader look at different squares.

# %%
assert errors["JPEG, quality 90"][1] < errors["JPEG, quality 90"][0]
worst = max(errors, key=lambda name: errors[name][1])
judge("an invisible watermark stays in the picture", errors[worst][1] < 0.01, f"{worst}: {errors[worst][1]:.0%} of bits wrong")

# %% [markdown] lang="en"
# There is one more trap. Reading always gives *some* letters, also from a picture that was never marked:

# %%
print([letters(correlate(original, w) > 0).encode("unicode_escape").decode() for original in originals[:4]])

# %% [markdown] lang="en"
# So a mark counts only if it says something that chance would not. And a picture *without* a mark proves nothing at
# all. Newer marks are learnt, or sit in the starting noise (Fernandez et al. 2023, Wen et al. 2023); a signed record
# of origin beside the pixels (the C2PA standard) is the other road.
#
# ## The verdicts
#
# The table once more, now with what we measured.

# %%
verdicts = [(claim, *tested.get(claim, (verdict, "not tested here"))) for claim, _, _, verdict in claims]
assert "test" not in {verdict for _, verdict, _ in verdicts}
plotting.show_table(verdicts, ["claim", "verdict", "measured"])

# %% [markdown] lang="en"
# *Unknown* is a verdict, too. It stays until someone publishes.
#
# ## Exercises
#
# **1.2.1** (3 minutes) Write equation (3): the accuracy $a$ of $n$ real tokens, as reported for the padded length $L$.

# %% tags=["exercise"]
def reported(a, n, L):
    return 1 - (1 - a) * n / L  # solution


checks.check_reported_accuracy(reported)

# %% [markdown] lang="en"
# **1.2.2** (6 minutes) Write equation (1) for a bigram model: the surprise in nats of a sentence, a list of words that
# begins with `<s>` and ends with `</s>`. The chance that `b` follows `a` is `chances[a][b]`.

# %% tags=["exercise"]
def surprise(chances, words):
    return -sum(np.log(chances[a][b]) for a, b in pairwise(words))  # solution


checks.check_sentence_surprise(surprise)

# %% [markdown] lang="en"
# **1.2.3** (10 minutes) Write equation (5) without autograd: from input `x` (D,), `weights` (K, D) and the number of
# the true class to the gradient of the cross-entropy, (K, D).

# %% tags=["exercise"]
def gradient(x, weights, truth):
    # solution: return ...
    p = torch.softmax(weights @ x, 0)
    y = torch.eye(len(weights))[truth]
    return torch.outer(p - y, x)
    # end solution


checks.check_loss_gradient(gradient)

# %% [markdown] lang="en"
# ## Recap
#
# 1. GPT and the first DALL·E write tokens; DALL·E 2 and Stable Diffusion remove noise; of Midjourney it is not known.
# 2. Public weights decide what can be checked. What cannot is called unknown.
# 3. A number needs its rule of counting: padding, guidance, seed and number format all change results.
# 4. A watermark can be hidden and read, and lost; without one, nothing is proven.
#
# **Next:** 1.3 opens the world that our pictures come from, where the truth is known to the pixel.
#
# ### References
#
# - Shannon 1948, *A mathematical theory of communication*, Bell System Technical Journal 27.
# - Shoemake 1985, *Animating rotation with quaternion curves*, SIGGRAPH.
# - Cox, Kilian, Leighton, Shamoon 1997, *Secure spread spectrum watermarking for multimedia*, IEEE Trans. Image Processing 6.
# - Goodfellow et al. 2014, *Generative adversarial nets*, arXiv 1406.2661.
# - Goodfellow, Bengio, Courville 2016, *Deep learning*, MIT Press.
# - Radford et al. 2018, *Improving language understanding by generative pre-training*; 2019, *Language models are
#   unsupervised multitask learners*; OpenAI.
# - Brown et al. 2020, *Language models are few-shot learners*, arXiv 2005.14165.
# - Ho, Jain, Abbeel 2020, *Denoising diffusion probabilistic models*, arXiv 2006.11239.
# - Ramesh et al. 2021, *Zero-shot text-to-image generation* (DALL·E), arXiv 2102.12092.
# - Radford et al. 2021, *Learning transferable visual models from natural language supervision* (CLIP), arXiv 2103.00020.
# - Rombach et al. 2022, *High-resolution image synthesis with latent diffusion models*, arXiv 2112.10752.
# - Ouyang et al. 2022, *Training language models to follow instructions with human feedback*, arXiv 2203.02155.
# - Ramesh et al. 2022, *Hierarchical text-conditional image generation with CLIP latents* (DALL·E 2), arXiv 2204.06125.
# - Ho, Salimans 2022, *Classifier-free diffusion guidance*, arXiv 2207.12598; Ho et al. 2022b, *Video diffusion models*,
#   arXiv 2204.03458.
# - Mirsky, Lee 2020, *The creation and detection of deepfakes: a survey*, arXiv 2004.11138.
# - Yu et al. 2022, *Scaling autoregressive models for content-rich text-to-image generation* (Parti), arXiv 2206.10789.
# - Schuhmann et al. 2022, *LAION-5B*, arXiv 2210.08402.
# - Bianchi et al. 2023, *Easily accessible text-to-image generation amplifies demographic stereotypes at large scale*, arXiv 2211.03759.
# - Carlini et al. 2023, *Extracting training data from diffusion models*, arXiv 2301.13188.
# - Webster 2023, *A reproducible extraction of training images from diffusion models*, arXiv 2305.08694.
# - Fernandez et al. 2023, *The stable signature*, arXiv 2303.15435; Wen et al. 2023, *Tree-ring watermarks*, arXiv 2305.20030.
# - Zhao et al. 2023, *Invisible image watermarks are provably removable using generative AI*, arXiv 2306.01953.
# - Luccioni, Jernite, Strubell 2023, *Power hungry processing*, arXiv 2311.16863.
# - Esser et al. 2024, *Scaling rectified flow transformers*, arXiv 2403.03206; Tian et al. 2024, *Visual autoregressive
#   modeling*, arXiv 2404.02905.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
