# %% [markdown] lang="en"
# # 1.1 From words to a picture
#
# In this notebook a sentence becomes a picture, on your own machine, without the network. First with one call.
# Then we open that call and find four parts: words become numbers, numbers steer a walk that starts in noise, and
# a decoder turns the end of the walk into pixels. At the end you run every part by hand, and your own loop gives
# the same picture as the library's.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# We import the rooms of the course's package by name. The line below says on what this notebook runs.

# %%
import random

import torch

from aigc_course import checks, diffusion, models, plotting, runtime, sampling, scenes

print(runtime.summary())

# %% [markdown] lang="en"
# ## The smallest thing that works
#
# We load a small model that this project trained itself, and ask for one sentence four times. Look for what the
# four pictures share, and for what differs.

# %%
pipe = models.load("text-to-image")
prompt = "a red house in a meadow"
pictures = sampling.words_to_pictures(pipe, [prompt] * 4, seed=1)
plotting.show_images(pictures, [f"seed {seed}" for seed in (1, 2, 3, 4)], alt=f"Four pictures made from the prompt: {prompt}")

# %% [markdown] lang="en"
# Place, colour and thing are in all four; edges are soft, because the model is small. What the words leave open (how
# large, where the windows are) is decided by the **seed**: the noise in which each picture began. The same seed gives the
# same picture again, which we can check.

# %%
again = sampling.words_to_pictures(pipe, [prompt], seed=2)
torch.testing.assert_close(again[0], pictures[1], atol=1e-4, rtol=0)
print("seed 2, drawn again: the same picture")

# %% [markdown] lang="en"
# The model knows a small world of its own, every word of which is drawn by the package `scenes`. These are all its
# things, colours, places and styles.

# %%
rows = [("things", scenes.THINGS), ("colours", scenes.COLOURS), ("places", scenes.BACKGROUNDS), ("styles", scenes.STYLES)]
plotting.show_table([(what, len(words), ", ".join(words)) for what, words in rows], ["what", "how many", "words"])

# %% [markdown] lang="en"
# Sizes (small, large), counts (one to four) and relations (left of, right of, above, below) come on top. Now one
# sentence in every style the model was taught; the first is printed in full. Look at how the sea stays and the hand
# changes.

# %%
styles = scenes.STYLES
asked = [scenes.caption(scenes.Facts((scenes.Group(1, "large", "blue", "boat"),), None, "sea", style), random.Random(4)) for style in styles]
print(asked[0])
plotting.show_images(sampling.words_to_pictures(pipe, asked, seed=5), styles, columns=4, alt="; ".join(asked), scale=0.55)

# %% [markdown] lang="en"
# The same words in Chinese end in the same place: one tokenizer and one text encoder read both languages. Each
# row of the next figure has one prompt in English on the left and in Chinese on the right, with one seed.

# %%
pairs = [("a yellow star at night", "一颗黄色的星星，在夜空下"), ("a red flower in the desert", "一朵红色的花，在沙漠里")]
both = [text for pair in pairs for text in pair]
plotting.show_images(sampling.words_to_pictures(pipe, both, seed=[2, 2, 6, 6]), ["English", "Chinese"] * 2, columns=2, alt="; ".join(both), scale=0.6)

# %% [markdown] lang="en"
# ## What is inside?
#
# Four parts, each of which we can call on its own. Three are trained networks; the tokenizer is a table of pieces. A
# scheduler, which is only arithmetic, says how the denoiser walks its 25 steps.

# %%
inside = """
flowchart LR
    prompt([Prompt<br/>words]) --> tokenizer[Tokenizer<br/>words to numbers]
    tokenizer --> encoder[Text encoder<br/>numbers to meaning]
    seed([Seed<br/>noise]) --> denoiser
    encoder --> denoiser[Denoiser<br/>noise to latent]
    denoiser -->|25 steps| denoiser2[Decoder<br/>latent to pixels]
    denoiser2 --> picture([Picture])
"""
plotting.show_diagram(inside, "Prompt to tokenizer to text encoder to denoiser; a seed gives the denoiser its noise; after 25 steps the decoder makes the picture.")

# %% [markdown] lang="en"
# How large is each network? The table counts the numbers that training set.

# %%
parts = {"text encoder": pipe.text_encoder, "denoiser": pipe.unet, "autoencoder": pipe.vae}
plotting.show_table([(name, f"{sum(p.numel() for p in part.parameters()):,}") for name, part in parts.items()], ["part", "trained numbers"])

# %% [markdown] lang="en"
# ### Words become numbers
#
# The tokenizer cuts a sentence into pieces that it has a number for. Frequent words are one piece.

# %%
ids = pipe.tokenizer(prompt).input_ids
print(list(zip(pipe.tokenizer.convert_ids_to_tokens(ids), ids, strict=True)))

# %% [markdown] lang="en"
# The text encoder turns each piece into a vector that also knows the pieces before it. The sentence is padded to the
# length that the encoder reads. Even the padding does work. The encoder reads from left to right, so at the first
# thing it cannot know yet where that will stand; it was trained to repeat it on the padding, when all has been read.

# %%
text = sampling.encode_words(pipe, [prompt])
print("pictures, tokens, numbers for each token:", tuple(text.shape))

# %% [markdown] lang="en"
# ### Noise becomes a latent
#
# The denoiser does not see pixels. It works on a **latent**, a much smaller block of numbers. Half of its channels say
# how a picture *looks*; the other half say what is *where*: the style, the place, and for each thing a box with its
# name and colour in it (`models.meaning`). We draw one of pure noise, as every picture begins.

# %%
x_T = sampling.start_noise(pipe, [2])
print("latent:", tuple(x_T.shape), "=", x_T.numel(), "numbers, where the picture has", pictures[0].numel())

# %% [markdown] lang="en"
# In training, a clean latent $x_0$ was mixed with noise $\varepsilon$, and the network learnt to tell them apart
# again. With $\bar\alpha_t$ the share of the picture that is left at step $t$ (1 is clean, 0 is noise), the mixture is
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon \tag{1}$$
#
# The next figure shows equation (1) at work on a drawn picture: the same latent with more and more noise.

# %%
scene = scenes.Scene((scenes.Thing("house", "red"),), "meadow", "flat")
x0 = pipe.vae.encode(scenes.pictures([scene], models.PICTURE)).latent_dist.mode()
schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
levels = [0, 200, 500, 800, 999]
x_t = diffusion.add_noise(x0.expand(5, -1, -1, -1), x_T.expand(5, -1, -1, -1), schedule.abar[levels])
plotting.show_strip(sampling.decode(pipe, x_t), [f"t = {t}" for t in levels], "A drawn red house sinks into noise in five steps", scale=0.6)

# %% [markdown] lang="en"
# The walk goes the other way. The network's answer at each step is the *velocity* $v$, from which both ends of (1)
# follow; we keep its guess of $x_0$, and mix it again with a little less noise (Song et al. 2021, the DDIM step):
#
# $$\hat x_0 = \sqrt{\bar\alpha_t}\,x_t - \sqrt{1-\bar\alpha_t}\;v, \qquad
# \hat\varepsilon = \sqrt{1-\bar\alpha_t}\,x_t + \sqrt{\bar\alpha_t}\;v \tag{2}$$
#
# $$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s}\;\hat\varepsilon, \qquad s < t \tag{3}$$
#
# Chapter 2 derives all three lines. Here they are as code, the whole sampler, written by hand.

# %%
def walk(predict, x, times):
    """Equations (2) and (3), from noise down to a clean latent."""
    for t, s in zip(times, [*times[1:], None], strict=True):
        a, b = schedule.abar[t], torch.ones(()) if s is None else schedule.abar[s]
        v = predict(x, t)
        x0, noise = a.sqrt() * x - (1 - a).sqrt() * v, (1 - a).sqrt() * x + a.sqrt() * v
        x = b.sqrt() * x0 + (1 - b).sqrt() * noise
    return x


times = [999 - 40 * k for k in range(25)]
z = walk(sampling.guided(pipe, [prompt]), x_T, times)
print("end of the walk:", tuple(z.shape))

# %% [markdown] lang="en"
# The decoder makes pixels of it. The stock library, given the same noise, must agree with our hand-written loop.

# %%
mine = sampling.decode(pipe, z)
theirs = pipe(prompt, latents=x_T, num_inference_steps=25, guidance_scale=2.0, output_type="pt").images * 2 - 1
torch.testing.assert_close(mine, torch.as_tensor(theirs).cpu(), atol=2e-3, rtol=0)
plotting.show_images([mine[0], pictures[1]], ["our loop", "the first figure, seed 2"])

# %% [markdown] lang="en"
# The two pictures are one. To see the walk itself, we collect what the model expects to find at its end, after
# each step. Above, the expected picture; below, the one channel that says "here is a thing". Look at what is decided
# first, and what last.

# %%
seen = []
sampling.words_to_pictures(pipe, [prompt], seed=2, on_step=seen.append)
chosen = [seen[k] for k in (0, 4, 9, 14, 24)]
expected = torch.cat([s.x0 for s in chosen])
here = expected[:, models.LOOK + 6, None].expand(-1, 3, -1, -1).clamp(0, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
titles = [f"step {s.number}" for s in chosen] + ["a thing is here"] * 5
plotting.show_images(torch.cat([sampling.decode(pipe, expected), 2 * here - 1]), titles, columns=5, scale=0.7, alt="The expected picture sharpens over 25 steps; the place of the house is known from the start")

# %% [markdown] lang="en"
# What is where, and in which colour, comes first, then the edges: from coarse to fine, as noise hides fine things
# longest.

# %% [markdown] lang="en"
# ## One dial: how hard should the words pull?
#
# At each step the network is asked twice: once with the words ($v_c$), once with an empty sentence ($v_u$).
# **Guidance** goes from the second answer towards the first, and beyond it (Ho & Salimans 2022):
#
# $$v = v_u + w\,(v_c - v_u) \tag{4}$$
#
# At $w=0$ the words are ignored, at $w=1$ they count as in training. One seed, five values of $w$:

# %%
scales = [0.0, 1.0, 2.0, 4.0, 12.0]
pulled = [sampling.words_to_pictures(pipe, ["a purple cat in the snow"], scale=w, seed=8)[0] for w in scales]
plotting.show_images(pulled, [f"w = {w:g}" for w in scales], columns=5, alt="A purple cat in the snow at five guidance scales, from ignored to overdone", scale=0.5)

# %% [markdown] lang="en"
# Without the words anything may come; from $w=1$ on they are followed; with too much of them, colours burn and shapes
# break. The course uses $w=2$ unless it says otherwise.

# %% [markdown] lang="en"
# ## Where it fails
#
# A small model has small powers, and we look at them. Counting, sides and who has which colour are three of the six
# tasks of the GenEval benchmark (Ghosh et al. 2023), at which even large models long failed. Check whether all is
# right, and look at the shapes.

# %%
hard = ["three orange fish at sea", "four white stars at night", "a red cat left of a blue house", "a green bird above a yellow car"]
plotting.show_images(sampling.words_to_pictures(pipe, hard, seed=20), hard, columns=4, scale=0.6)

# %% [markdown] lang="en"
# Number, side and colour are as asked; these are what the model settles first. Shapes come last, and some stay rough;
# `data/models/SCORES.md` counts what is missed, also in few steps. Words that the model never met cannot help it at
# all; the package names them.

# %%
wish = "a red elephant riding a bicycle"
print("no picture for:", scenes.unknown_words(wish))
plotting.show_images(sampling.words_to_pictures(pipe, [wish] * 2, seed=30), alt=f"What the model makes of: {wish}")

# %% [markdown] lang="en"
# ## The system around the model
#
# A studio is more than a denoiser. Five diagrams show where the course goes. First, what happens between you and
# the studio that we build in chapter 6.

# %%
studio = """
flowchart LR
    you([You]) -->|prompt| studio[Studio<br/>reads the line]
    studio --> queue[Queue<br/>one job at a time]
    queue --> worker[Worker<br/>runs the models]
    worker --> history([History<br/>pictures and seeds])
    worker -->|preview| you
    history -->|vary, upscale| studio
"""
plotting.show_diagram(studio, "You send a prompt to the studio; jobs queue for one worker; previews come back to you; pictures go to a history, from where they can be varied.")

# %% [markdown] lang="en"
# Second, the loop of fine-tuning, which chapter 3 walks through: the loss compares what the model said with what
# was true, and the optimiser changes what it may change.

# %%
tuning = """
flowchart LR
    data([Pictures<br/>with captions]) --> model[Pretrained model]
    model --> loss[Loss<br/>said against true]
    data --> loss
    loss --> optimiser[Optimiser<br/>AdamW]
    optimiser -->|small steps| model
    model --> check{Better?<br/>on validation}
    check -->|yes| keep([Keep it])
"""
plotting.show_diagram(tuning, "Captioned pictures feed a pretrained model and the loss; the optimiser updates the model in small steps; it is kept if validation improves.")

# %% [markdown] lang="en"
# Third, the path of memory (chapter 4): what a training step must hold at once, and which trick shrinks what.

# %%
memory = """
flowchart LR
    weights[Weights] --> forward[Forward] --> activations[Activations]
    activations --> backward[Backward] --> gradients[Gradients] --> state[Optimiser state]
    half([Half precision]) -.-> weights
    recompute([Checkpointing]) -.-> activations
    lora([LoRA]) -.-> gradients
    quant([8-bit states]) -.-> state
"""
plotting.show_diagram(memory, "Weights, activations, gradients and optimiser state in a training step, each with the technique that shrinks it.")

# %% [markdown] lang="en"
# Fourth, the path of style (chapter 5): a picture's content and another's manner, taken apart and put together.

# %%
style = """
flowchart LR
    content([Content picture]) --> encode[Encoder]
    manner([Style picture]) --> encode
    encode --> mix[Content features<br/>in style statistics]
    mix --> decode[Decoder] --> result([Restyled picture])
    result -.-> losses[Content loss<br/>and style loss]
"""
plotting.show_diagram(style, "A content and a style picture pass an encoder; content features with the style's statistics are decoded; two losses judge the result.")

# %% [markdown] lang="en"
# Fifth, the life of a model: trained once on much, adapted in several ways to little, and updated as the world changes.

# %%
life = """
flowchart LR
    pre[Pre-training<br/>much data, once] --> full[Full<br/>fine-tuning]
    pre --> peft[Parameter-efficient<br/>LoRA, prompts]
    pre --> few[Few-shot<br/>a handful of examples]
    pre --> zero[Zero-shot<br/>words only]
    full --> update[Continual update<br/>new data, no forgetting]
    peft --> update
    few --> update
    zero --> update
    update -->|new version| pre
"""
plotting.show_diagram(life, "Pre-training leads to full, parameter-efficient, few-shot and zero-shot adaptation, then to continual updates and a new version.")

# %% [markdown] lang="en"
# ## Exercises
#
# **1.1.1** (2 minutes) Ask for *two small blue fish at night, as a watercolour*. Any wording that the model knows will do.

# %% tags=["exercise"]
my_prompt = "a watercolour of two small blue fish at night"  # solution
checks.check_prompt(my_prompt)

# %% [markdown] lang="en"
# **1.1.2** (5 minutes) Pictures travel through this course as numbers in $[-1, 1]$; files hold bytes from 0 to 255.
# Write the line that `plotting` uses to get from one to the other, with overshoots clamped.

# %% tags=["exercise"]
def to_bytes(picture):
    return ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)  # solution


checks.check_to_bytes(to_bytes)

# %% [markdown] lang="en"
# **1.1.3** (8 minutes) Write equation (4).

# %% tags=["exercise"]
def guide(uncond, cond, scale):
    return uncond + scale * (cond - uncond)  # solution


checks.check_guidance(guide)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Tokenizer and text encoder make vectors of words; two languages can share them.
# 2. A picture begins as noise in a small latent; the seed decides everything that the words leave open.
# 3. Each step guesses the clean latent and mixes it again with less noise, equations (2) and (3).
# 4. Guidance, equation (4), makes words pull harder than they did in training.
#
# **Next:** 1.2 asks what is known and what is only claimed about such systems, and tests what can be tested.
#
# ### References
#
# - Ho, Jain, Abbeel 2020, *Denoising diffusion probabilistic models*, arXiv 2006.11239.
# - Song, Meng, Ermon 2021, *Denoising diffusion implicit models*, arXiv 2010.02502.
# - Ho, Salimans 2022, *Classifier-free diffusion guidance*, arXiv 2207.12598.
# - Rombach et al. 2022, *High-resolution image synthesis with latent diffusion models*, arXiv 2112.10752.
# - Salimans, Ho 2022, *Progressive distillation for fast sampling of diffusion models*, arXiv 2202.00512 (the velocity).
# - Ghosh, Hajishirzi, Schmidt 2023, *GenEval*, arXiv 2310.11513.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
