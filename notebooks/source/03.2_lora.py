# %% [markdown] lang="en"
# # 3.2 LoRA
#
# A model that was trained for hours learns a new style and a new thing in minutes, by changing a few numbers beside its
# weights instead of the weights. We write such a change by hand, derive how it learns, and show what it saves, what it
# does not save, and what it breaks. At the end two small files are mixed like paints.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import copy
import random
import tempfile
import warnings
from functools import partial

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import set_peft_model_state_dict
from torch import nn

from aigc_course import (
    adaptation,
    checks,
    evaluation,
    lora,
    losses,
    memory,
    models,
    plotting,
    runtime,
    sampling,
    scenes,
    training,
)

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# `scenes` can draw things and styles that the denoiser has never seen. One of each was taught in advance: the style
# *chalk* and the thing *robot*, as `data/models/lora-chalk` and `data/models/lora-robot`. One prompt, one seed; only the strengths
# of the two differ.

# %%
pipe = models.load("text-to-image")
for name in ("chalk", "robot"):
    models.verify(models.folder_of(f"lora-{name}"))
    lora.load(pipe.unet, models.folder_of(f"lora-{name}"), name)


def drawn(prompts, scales, seed=0, steps=10):
    """Pictures of some prompts with the LoRAs at these strengths."""
    lora.combine(pipe.unet, scales)
    return sampling.words_to_pictures(pipe, prompts, steps, seed=seed)


mixes = [{}, {"robot": 1}, {"chalk": 1}, {"chalk": 1, "robot": 1}]
four = torch.cat([drawn(["a large robot in a meadow, chalk style"], mix, seed=6) for mix in mixes])
plotting.show_images(four, ["the model alone", "+ robot", "+ chalk", "+ both"])

# %% [markdown] lang="en"
# The model alone guesses what the words might mean. With both changes, the board is dark and a robot stands on it, in
# strokes. Further down it is counted how often a judge agrees.
# How large are the two files?

# %%
sizes = {n: models.folder_of(n).joinpath(lora.UNET[0]).stat().st_size for n in ("lora-chalk", "lora-robot")}
whole = models.folder_of("text-to-image").joinpath("unet", "diffusion_pytorch_model.safetensors").stat().st_size
plotting.show_table([[n, size, size / whole] for n, size in [*sizes.items(), ("denoiser", whole)]], ["file", "bytes", "of the denoiser"])

# %% [markdown] lang="en"
# ## One layer by hand
#
# A linear layer has a matrix $W$ with as many rows as outputs and as many columns as inputs. Freeze it. Put a second road
# beside it that goes through a narrow gate of $r$ numbers (Hu et al. 2021):
#
# $$y = Wx + \frac{\alpha}{r}\,B A x,\qquad A: r\times\text{in},\quad B: \text{out}\times r \tag{1}$$
#
# $r$ is the *rank*, $\alpha$ a fixed number. Only $A$ and $B$ learn. This is all of it:

# %%
class Beside(nn.Module):
    """A frozen linear layer and a change of low rank beside it."""

    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.strength = layer.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + self.strength * x @ self.A.T @ self.B.T


torch.manual_seed(0)
layer, x = nn.Linear(128, 128, bias=False), torch.randn(256, 128)
print(f"changed before the first step: {(Beside(layer, 4, 4)(x) - layer(x)).abs().max():.0f}")

# %% [markdown] lang="en"
# **Rule: count the numbers.** The matrix has $\text{in}\cdot\text{out}$, its change
#
# $$\frac{r\,(\text{in}+\text{out})}{\text{in}\cdot\text{out}} \tag{2}$$
#
# times as many. Look at how the share falls when the layer grows and the rank does not.

# %%
rows = [[side, *(r * 2 * side / side**2 for r in (1, 4, 16))] for side in (128, 1024, 8192)]
plotting.show_table(rows, ["in = out", "r = 1", "r = 4", "r = 16"])

# %% [markdown] lang="en"
# In our narrow layers a LoRA of rank 16 is a quarter of the matrix, in a large language model it is next to nothing. The
# saving is a matter of width.
#
# ### How it learns
#
# Let $G=\partial L/\partial W'$ be the gradient that the whole matrix $W'=W+\frac\alpha r BA$ would have. **Rule: the product
# rule, $dW'=\frac\alpha r(dB\,A+B\,dA)$, and $dL=\langle G,dW'\rangle$.**
#
# $$\frac{\partial L}{\partial A}=\frac{\alpha}{r}\,B^\top G,\qquad \frac{\partial L}{\partial B}=\frac{\alpha}{r}\,G A^\top \tag{3}$$
#
# We ask autograd, in double precision.

# %%
W, A, B, answer = (torch.randn(size, dtype=torch.float64) for size in ((7, 5), (2, 5), (7, 2), (30, 7)))
inputs, alpha, r = torch.randn(30, 5, dtype=torch.float64), 3.0, 2
merged, A, B = (W + alpha / r * B @ A).requires_grad_(), A.requires_grad_(), B.requires_grad_()
(G,) = torch.autograd.grad((inputs @ merged.T - answer).square().mean(), merged)
error = (inputs @ W.T + alpha / r * inputs @ A.T @ B.T - answer).square().mean()
of_a, of_b = torch.autograd.grad(error, (A, B))
print(f"residual of (3): {(of_a - alpha / r * B.T @ G).abs().max():.1e}, {(of_b - alpha / r * G @ A.T).abs().max():.1e}")

# %% [markdown] lang="en"
# Equation (3) says why $B$ starts at zero and $A$ must not. With $B=0$ the model begins as it was, $A$ stands still for one
# step, and $B$ moves at once. With both at zero both gradients are zero for ever. With neither, the model starts spoilt. Three
# starts on a layer that must learn a change of rank two:

# %%
change = torch.randn(128, 2) @ torch.randn(2, 128) / 128**0.5


def miss(beside, x):
    return (beside(x) - layer(x) - x @ change.T).square().mean()


curves = {}
for start in ("B zero", "both zero", "both random"):
    torch.manual_seed(1)
    beside = Beside(layer, 2, 2)
    beside.A.data *= start != "both zero"
    beside.B.data += torch.randn(128, 2) * (start == "both random")
    curves[start] = training.fit(beside, [x], miss, 120, learning_rate=1e-2, progress=False).losses
plotting.show_curves(curves, xlabel="step", ylabel="squared error", logy=True)

# %% [markdown] lang="en"
# The flat line is the start from which nothing is ever learnt. The start with both random has first to undo what it spoilt.
#
# ### What does α/r mean?
#
# It is a plain strength: twice the α, twice the change. It matters when we turn the *rank*. AdamW's first step moves every
# number of $B$ by the learning rate $\eta$, whatever the size of its gradient (notebook 2.1). **Rule: a sum of $r$ rows of
# random sign and equal length grows as $\sqrt r$.** So
#
# $$\lVert\Delta W\rVert \propto \frac{\alpha}{r}\,\eta\,\sqrt r \tag{4}$$
#
# Three habits: α equal to the rank; one α for all ranks; and $\alpha\propto\sqrt r$ (Kalajdzievski 2023). How long is the change
# after one step, against rank 1?

# %%
def first_step(rank, alpha):
    torch.manual_seed(0)
    beside = Beside(layer, rank, alpha)
    training.fit(beside, [x], miss, 1, learning_rate=1e-3, clip=None, progress=False)
    return (beside.strength * beside.B @ beside.A).norm().item()


ranks = [1, 4, 16, 64]
habits = {"α = r": lambda r: r, "α = 1": lambda r: 1, "α = √r": lambda r: r**0.5}
lengths = {name: [first_step(r, of(r)) / first_step(1, 1) for r in ranks] for name, of in habits.items()}
plotting.show_table([[r, *(each[k] for each in lengths.values())] for k, r in enumerate(ranks)], ["rank", *lengths])

# %% [markdown] lang="en"
# A larger rank with α = r is louder, with a fixed α quieter; with the root it is as loud. The course takes α = r (below
# it is twice r once, so that a forgotten α/r would show); whoever compares ranks should know that the step changes too.
#
# ### One matrix again
#
# When training is over the second road costs time for nothing. **Rule: a sum of linear maps is one linear map.**
#
# $$W' = W + s\,\frac{\alpha}{r}\,B A \tag{5}$$
#
# with $s$ the scale at which the LoRA is used. The room `lora` does the same for all layers of a model, with a hook instead
# of a wrapper, so that the names of the weights stay what they were. On the captioner:

# %%
captioner, tokenizer = models.load("captioner"), models.load("tokenizer")
tongue = ["attn.c_attn", "crossattention.q_attn", "crossattention.c_attn", "mlp.c_fc"]
plain = copy.deepcopy(captioner)
paths = lora.add(captioner, 4, tongue, alpha=8, generator=runtime.generator(0))
for weight in lora.parameters(captioner):
    nn.init.normal_(weight, std=0.05, generator=runtime.generator(weight.numel()))
print(f"{len(paths)} layers changed, the first is {paths[0]}")

# %% [markdown] lang="en"
# Three ways to the same answer: our LoRA beside the layers, peft's with the same $A$ and $B$, and ours merged.

# %%
config = LoraConfig(r=4, lora_alpha=8, target_modules=paths, fan_in_fan_out=True)
theirs = inject_adapter_in_model(config, copy.deepcopy(plain))
set_peft_model_state_dict(theirs, lora.state(captioner))
told = dict(pixel_values=torch.randn(2, 3, 128, 128, dtype=torch.float64), decoder_input_ids=torch.arange(5, 15).view(2, 5))
with torch.no_grad():
    ours, peft, before = (model.double()(**told).logits for model in (captioner, theirs, plain))
    lora.merge(captioner)
    merged = captioner(**told).logits
torch.testing.assert_close(ours, peft, rtol=1e-6, atol=1e-6)
torch.testing.assert_close(ours, merged, rtol=1e-6, atol=1e-6)
print(f"peft agrees, merged agrees; the LoRA moves the logits by up to {(ours - before).abs().max():.2f}")

# %% [markdown] lang="en"
# ## What it saves, and what not
#
# `lora.cost` counts what stands in memory while AdamW trains: gradients and two more numbers for each number that learns.
# The activations are another matter: gradients must still travel through the frozen layers. `memory.predict` counts those,
# without taking a step (chapter 4 shows how). For the denoiser and a batch of 16:

# %%
def denoiser(rank=0, targets=()):
    unet = models.denoiser()
    if rank:
        lora.add(unet, rank, targets)
    return unet


attention = ["to_q", "to_k", "to_v", "to_out.0"]
kinds = {"all weights": (), "LoRA 4, attention": (4, attention), "LoRA 4, convolutions": (4, ["conv1", "conv2"])}
costs = {name: lora.cost(denoiser(*kind)) for name, kind in kinds.items()}
rows = [[name, cost.trained, f"{cost.share:.2%}", cost.gradients / 2**20, cost.optimiser / 2**20] for name, cost in costs.items()]
plotting.show_table(rows, ["what learns", "numbers", "share", "gradients, MiB", "optimiser, MiB"])

# %% [markdown] lang="en"
# Gradients and the optimiser shrink to almost nothing. And the activations, the last column here?

# %%
def activations(kind, checkpointing=False):
    batch = lambda: (torch.zeros(16, *models.LATENT), torch.zeros(16, *models.TEXT))  # noqa: E731
    loss = lambda unet, batch: unet(batch[0], 500, encoder_hidden_states=batch[1]).sample.square().mean()  # noqa: E731
    return memory.predict(partial(denoiser, *kind), batch, memory.Plan(loss, checkpointing=checkpointing), steps=1).highest["activations"]


kept = {name: activations(kind) for name, kind in kinds.items()}
assert min(kept.values()) > kept["all weights"] / 2, "a LoRA alone has cut the activations?"
kept["LoRA 4, attention, checkpointed"] = activations(kinds["LoRA 4, attention"], checkpointing=True)
plotting.show_table([[name, size / 2**20] for name, size in kept.items()], ["what learns", "activations, MiB"])

# %% [markdown] lang="en"
# They shrink a little: a frozen layer need not keep its input, which only its own gradient would ask for. Most of them stay.
# What cuts them is checkpointing, which computes them twice. "LoRA needs a third of the memory" is true for large models with
# small batches, where it is the optimiser that fills the card.
#
# ## Rank and place: a captioner learns a word
#
# The captioner has never seen chalk, nor the word. We draw labelled pictures in chalk and let its tongue learn, with the
# eyes frozen, so that they look only once. First what it says before:

# %%
tokenizer.padding_side = "right"


def labelled(count, split, seed):
    """What the eyes see in chalk pictures, and what to say of them in English: (N, L, D), (N, T)."""
    samples = scenes.samples(count, split, seed, "single")
    texts = ["<en>" + scenes.new_caption(one, random.Random(k), style="chalk") for k, one in enumerate(samples)]
    with torch.no_grad():
        seen = plain.float().encoder(scenes.new_pictures(samples, style="chalk")).last_hidden_state
    return seen, tokenizer(texts, padding=True, return_tensors="pt").input_ids, samples


seen, tokens, _ = labelled(320, "train", seed=1)
test_seen, test_tokens, test = labelled(48, "validation", seed=1)
pictures = scenes.new_pictures(test[:4], style="chalk")
plotting.show_images(pictures, sampling.pictures_to_words(plain, tokenizer, pictures))

# %% [markdown] lang="en"
# It names some style that it knows. For *chalk* it has not even a token: it must learn to spell it, letter by letter, and
# when. Five ways to teach it: all numbers of the tongue, and LoRAs at three places: the attention to the picture, four
# inner layers of each block (`tongue`, above), and these with the last one, `lm_head`, which chooses the token. *Nats*
# is the surprise for each token of fresh captions.

# %%
def nats(model, batch):
    seen, told = batch
    given = told[:, :-1]
    asked = dict(decoder_input_ids=given, decoder_attention_mask=given != tokenizer.pad_token_id)
    logits = model(encoder_outputs=(seen,), **asked).logits[:, 1:]
    return losses.cross_entropy(logits, told[:, 2:], ignore=tokenizer.pad_token_id)


with torch.no_grad():
    print(f"before any lesson: {nats(plain, (test_seen, test_tokens)):.2f} nats for each token of a chalk caption")

# %% [markdown] lang="en"
# One row is one training. Nothing else differs but what may learn, and the rate: 0.01 for a LoRA, 0.002 for all weights.

# %%
def taught(rank=0, targets=(), steps=80):
    model = copy.deepcopy(plain).requires_grad_(False)
    model.decoder.requires_grad_(True)
    if rank:
        lora.add(model, rank, targets, generator=runtime.generator(0))
    batches = training.Shuffled(len(seen), 16, lambda indices, turn: (seen[indices], tokens[indices]))
    training.fit(model, batches, nats, steps, learning_rate=1e-2 if rank else 2e-3, progress=False)
    return model


looking = ["crossattention.q_attn", "crossattention.c_attn"]
students = {"all of the tongue": taught()}
students |= {"rank 16, attention to the picture": taught(16, looking), "rank 16, four inner layers": taught(16, tongue)}
students |= {f"rank {r}, four inner layers and the last": taught(r, [*tongue, "lm_head"]) for r in (1, 4)}
print(f"{len(students)} students")

# %% [markdown] lang="en"
# Look down the last three columns, then at what they cost.

# %%
def grade(model):
    with torch.no_grad():
        surprise = nats(model, (test_seen, test_tokens)).item()
    said = sampling.pictures_to_words(model, tokenizer, scenes.new_pictures(test[:24], style="chalk"))
    named = [one.scene.things[0].name in text for text, one in zip(said, test, strict=False)]
    return surprise, sum("chalk" in text for text in said) / 24, sum(named) / 24


rows = [[name, f"{lora.cost(model).share:.2%}", lora.cost(model).optimiser, *grade(model)] for name, model in students.items()]
plotting.show_table(rows, ["what learns", "share", "optimiser, bytes", "nats", "says chalk", "names the thing"])

# %% [markdown] lang="en"
# The place matters at least as much as the rank. What the thing is was never the trouble, only the name of the style.
# The inner layers alone are less surprised than the attention alone, but the letters of a word are chosen by the last
# layer: where that may change, rank 4 learns to spell with fewer numbers; rank 1 hardly does. The table is one seed and
# two dozen pictures; the denoiser's own table, over several seeds and with intervals, is printed by
# `python scripts/bench_finetuning.py`.
#
# ## A style for the denoiser
#
# The same for pictures. `adaptation.draw_lesson` draws scenes in chalk, encodes them, and writes captions in both
# languages. Half of a latent of this model says what is where; that half is filled in from the known scene, so that
# only the look must be learnt. We train a rank-4 change of a few places for a short while. Watch the loss.

# %%
ends = ["time_emb_proj", "add_embedding.proj", "attn2.to_k", "attn2.to_v", "conv_in", "conv_out"]
lesson = adaptation.draw_lesson(pipe, scenes.samples(160, "train", seed=1), style="chalk")
lora.add(pipe.unet, 4, ends, name="mine", generator=runtime.generator(0))
lora.combine(pipe.unet, {"mine": 1})
history = adaptation.learn_drawings(pipe, lesson, steps=50)
plotting.show_curves({"loss": history.smoothed(10)}, xlabel="step", ylabel="error of the velocity")

# %% [markdown] lang="en"
# So much for a minute. The shipped LoRA (`scripts/train_loras.py`) changes the same layers and took more drawings and steps; from here
# on we use it. The judge (`evaluation.load_newcomers`) knows all new things and styles; it was trained on drawings and has seen no generated picture.

# %%
judge, asked = evaluation.load_newcomers(), scenes.samples(10, "validation", seed=5, task="single")
found = {"drawn by rule": scenes.new_pictures(asked[:4], style="chalk")}
rows = []
for name, scales in {"the model alone": {}, "a minute's LoRA": {"mine": 1}, "the shipped LoRA": {"chalk": 1}}.items():
    lora.combine(pipe.unet, scales)
    result = adaptation.draw_and_judge(pipe, judge, asked, style="chalk")
    found[name] = result.pictures[:4]
    rows.append([name, result.new.float().mean().item(), result.content.float().mean().item()])
plotting.show_images(torch.cat(list(found.values())), [f"{name}" for name in found for _ in range(4)], columns=4, scale=0.75)

# %%
plotting.show_table(rows, ["10 prompts", "read as chalk", "with the thing asked for"])

# %% [markdown] lang="en"
# The board gets dark soon; with more lessons come the strokes, and the judge is surer of the style. The things stay what they are.
# The lesson shows them where this denoiser knows things to stand (`adaptation.composed`); some come twice all the same. Ten
# prompts are few; the card of `lora-chalk` has more.
#
# ## Two at once
#
# Style and thing were learnt apart and never met. Changes are sums, so they can be added with weights:
#
# $$W' = W + s_1\Delta W_1 + s_2\Delta W_2 \tag{6}$$
#
# `lora.combine` sets the scales, in diffusers it is `set_adapters`. Down: more chalk; across: more robot.

# %%
strengths = [(chalk, robot) for chalk in (0, 0.5, 1) for robot in (0, 0.5, 1, 1.5)]
prompt = ["a large robot in a meadow, chalk style"]
grid = torch.cat([drawn(prompt, {"chalk": chalk, "robot": robot}, seed=6) for chalk, robot in strengths])
plotting.show_images(grid, [f"chalk {chalk} · robot {robot}" for chalk, robot in strengths], columns=4)

# %% [markdown] lang="en"
# Nothing in (6) promises that two changes leave each other alone; they share layers. A dozen fresh prompts ask for
# both. Each LoRA answers alone, then both together; the last row is the test: does the style survive the thing, and the
# thing the style?

# %%
rows, robots = [], scenes.samples(12, "validation", seed=6, task="single")
for name, scales in {"chalk": {"chalk": 1}, "robot": {"robot": 1}, "both": {"chalk": 1, "robot": 1}}.items():
    lora.combine(pipe.unet, scales)
    result = adaptation.draw_and_judge(pipe, judge, robots, thing="robot", style="chalk")
    rows.append([name, result.new.float().mean().item(), result.content.float().mean().item()])
plotting.show_table(rows, ["LoRAs at work", "read as chalk", "with a robot"])

# %% [markdown] lang="en"
# Adding needs no training of the pair. Compare the last row with the two above: here the style pays for the company,
# and the thing pays little or nothing. The library reads the same files and mixes in the same way (and warns that one
# adapter is already there):

# %%
stock = models.load("text-to-image")
with models.storage.quiet(), warnings.catch_warnings(record=True) as told:  # peft tells that there are two now, as we want it
    for name in ("chalk", "robot"):
        stock.load_lora_weights(models.folder_of(f"lora-{name}"), adapter_name=name)
stock.set_adapters(["chalk", "robot"], [0.7, 0.4])
lora.combine(pipe.unet, {"chalk": 0.7, "robot": 0.4})
z, words = torch.randn(2, *models.LATENT), sampling.encode_words(pipe, prompt * 2)
with torch.no_grad():
    ours, theirs = (unet(z, 500, encoder_hidden_states=words).sample for unet in (pipe.unet, stock.unet))
torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
print(f"lora.combine agrees with set_adapters ({len(told)} warning: two adapters in one model)")

# %% [markdown] lang="en"
# ## Where it fails
#
# **The wrong base.** A LoRA is a difference, and means nothing beside other weights. Shapes that do not fit are refused with
# a sentence; a base with the same shapes and other weights nobody can refuse: the pictures are then just bad.

# %%
with tempfile.TemporaryDirectory() as folder:
    lora.save(pipe.unet, folder, "chalk")
    try:
        lora.load(models.denoiser((32, 64)), folder)
    except ValueError as error:
        print(error)

# %% [markdown] lang="en"
# **Too strong.** Raising the scale moves the weights on in a straight line, away from where the LoRA was trained. Look
# at where the drawing gives way.

# %%
strong = [0, 0.5, 1, 1.5, 2, 3]
row = torch.cat([drawn(["a large red house in a meadow, chalk style"], {"chalk": s}, seed=1) for s in strong])
plotting.show_images(row, [f"scale {s}" for s in strong], scale=0.75)

# %% [markdown] lang="en"
# **Forgetting.** The frozen weights forget nothing: at scale 0 the model is what it was, bit for bit. At work, the LoRA takes
# part in every picture, asked or not. Old prompts, without the new word, judged by the parser of the course:

# %%
parser, old = evaluation.load_parser(), evaluation.questions(12, "validation")[:12]
prompts = [scenes.caption(one.scene.facts, random.Random(k), "en", "full") for k, one in enumerate(old)]
rows, shown = [], []
for name, scales in {"no LoRA": {}, "chalk": {"chalk": 1}, "robot": {"robot": 1}}.items():
    pictures = drawn(prompts, scales, seed=7, steps=8)
    report = evaluation.examine(parser, pictures, old)
    rows.append([name, *(report.of(task).mean for task in ("single thing", "colours", "background", "style"))])
    shown.append(pictures[:4])
plotting.show_images(torch.cat(shown), [name for name, *_ in rows for _ in range(4)], columns=4, scale=0.75)

# %%
plotting.show_table(rows, ["at work", "thing", "colour", "background", "style"])

# %% [markdown] lang="en"
# What was taught leaks into prompts that do not ask for it: under chalk the old styles and most places go, and some
# things and colours with them; under robot most things go, and their colours. Switched off, all is as before;
# a full fine-tune has no such switch. Notebook 3.4 keeps old pictures in the lesson against this.
#
# ## Exercises
#
# **3.2.1** (4 minutes) Equation (1) for a batch: `x` has the shape (N, in), `W` (out, in), `A` (r, in), `B` (out, r).

# %% tags=["exercise"]
def beside(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * x @ A.T @ B.T  # solution


checks.check_beside(beside)

# %% [markdown] lang="en"
# **3.2.2** (8 minutes) Equation (3): from the gradient `G` of the whole matrix, (out, in), the gradients of `A` and of `B`, in
# this order.

# %% tags=["exercise"]
def factor_gradients(G, A, B, alpha):
    strength = alpha / len(A)  # solution
    return strength * B.T @ G, strength * G @ A.T  # solution


checks.check_factor_gradients(factor_gradients)

# %% [markdown] lang="en"
# **3.2.3** (4 minutes) Equation (5): one new matrix for a LoRA that is used at some `scale`.

# %% tags=["exercise"]
def merged_weight(W, A, B, alpha, scale):
    return W + scale * alpha / len(A) * B @ A  # solution


checks.check_merged(merged_weight)

# %% [markdown] lang="en"
# ## Recap
#
# 1. A LoRA is a second road of rank $r$ beside a frozen layer (1); its share falls as layers widen (2).
# 2. $B$ starts at zero so that nothing changes, $A$ must not (3); α/r is a strength, and decides how loud a rank is (4).
# 3. It saves gradients and optimiser states, but few activations; merged (5) it costs nothing at all.
# 4. LoRAs add up with weights (6), leak into what nobody asked for, and can be switched off.
#
# **Next:** 3.3 leaves all weights alone, and learns the prompt.
#
# ### References
#
# - Hu et al. 2021, *LoRA: low-rank adaptation of large language models*, arXiv 2106.09685.
# - Kalajdzievski 2023, *A rank stabilization scaling factor for fine-tuning with LoRA*, arXiv 2312.03732.
# - Biderman et al. 2024, *LoRA learns less and forgets less*, arXiv 2405.09673.
# - Frenkel et al. 2024, *Implicit style-content separation using B-LoRA*, arXiv 2403.14572.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
