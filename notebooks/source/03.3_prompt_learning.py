# %% [markdown] lang="en"
# # 3.3 Prompt learning
#
# A trained model can be given a new task without touching its weights: by words, by a few labelled examples, or by
# vectors that are learnt and stand where words would stand. You will name pictures with no label at all, find out
# what such words can and cannot do, count how many labels replace them, and steer a frozen language model with a
# handful of numbers.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# We import the room that holds this chapter's methods, `adaptation`; `lora` and `training` are there to compare with.

# %%
import copy
import random

import torch
from torch.nn import functional as F

from aigc_course import adaptation, checks, evaluation, losses, models, plotting, runtime, scenes, training

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# Four styles that the shipped `clip` has never seen. Under each picture stand two guesses of it, frozen as it is:
# from the style's name alone, and after four examples of each style. Look at how often each is right.

# %%
clip, tokenizer = models.load("clip").requires_grad_(False), models.load("tokenizer")
scale = clip.logit_scale.exp().item()
style_pool, style_test = adaptation.style_pictures(48, "train", 500), adaptation.style_pictures(32, "test", 501)
seen_pool, seen_test = (adaptation.embed_pictures(clip, one.pictures) for one in (style_pool, style_test))
style_words = adaptation.embed_classes(clip, tokenizer, style_pool.names, adaptation.STYLE_TEMPLATES)
told = adaptation.zero_shot(seen_test, style_words, scale)
few = adaptation.draw_examples(style_pool.labels, 4, runtime.generator(0))
shown = seen_test @ adaptation.prototypes(seen_pool[few], style_pool.labels[few], 4).T

# %%
rights = [(logits.argmax(1) == style_test.labels).float().mean() for logits in (told, shown)]
print(f"right among all {len(told)} pictures: words {rights[0]:.2f}, examples {rights[1]:.2f}")
some, names = [4, 36, 67, 100, 5, 40, 70, 110], style_test.names
titles = [f"words: {names[told[k].argmax()]} · examples: {names[shown[k].argmax()]}" for k in some]
alt = "Eight pictures, two in each of the styles chalk, sepia, woodcut and cut paper, with two guesses under each"
plotting.show_images(style_test.pictures[some], titles, columns=4, scale=0.9, alt=alt)

# %% [markdown] lang="en"
# The columns are chalk, sepia, woodcut and cut paper; above them stand the shares for all pictures. From words the
# guesses have little to do with the pictures: the model never learnt what these words mean. From four examples they
# have, though not always. Why, and what if the model *does* know the words? We begin there.
#
# ## No label: words
#
# `clip` puts pictures and captions into one space (2.2). So a classifier is a list of captions: the caption that lies
# nearest names the picture. Here are three new drawings and three captions; look for the largest number of each row.

# %%
facts = [scenes.read_caption(f"a large red {name} in a meadow, flat style") for name in ("cat", "house", "fish")]
pictures = scenes.pictures([scenes.arrange(one, random.Random(1)) for one in facts], models.PICTURE)
captions = [f"a large red {name} in a meadow, flat style" for name in ("cat", "house", "fish")]
u, v = adaptation.embed_pictures(clip, pictures), adaptation.embed_words(clip, tokenizer, captions)
plotting.show_heatmap((u @ v.T).round(decimals=2) + 0.0, ["cat", "house", "fish"], ["“cat”", "“house”", "“fish”"])

# %% [markdown] lang="en"
# Each number is a cosine: both vectors have length one. Length is left out on purpose, as the training loss divided
# by it, so it was never taught to mean anything. To get shares that add up to one, the cosines $u\cdot v_c$ are
# stretched by the *scale* $\kappa$ (one over the temperature) that the model learnt with its weights:
#
# $$p(c\mid u)=\frac{e^{\kappa\,u\cdot v_c}}{\sum_k e^{\kappa\,u\cdot v_k}},\qquad |u|=|v_c|=1 \tag{1}$$
#
# The library computes the same logits from the same picture and words:

# %%
tokens = tokenizer(captions, padding=True, return_tensors="pt").input_ids
theirs = clip(input_ids=tokens, pixel_values=pictures).logits_per_image
mine = adaptation.zero_shot(u, v[:, None], scale)
torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
print("equation (1) agrees with transformers; shares of the first picture:", [f"{p:.3f}" for p in mine.softmax(1)[0]])

# %% [markdown] lang="en"
# ### The dial: temperature
#
# Does the scale change which name wins? No: it stretches all logits alike. It changes how sure the model is. We ask
# about sixteen drawings of each of fifteen known names (all but the triangle, of which the training world has no flat
# drawing), and turn the scale: the curve is the surprise at the true name.

# %%
name_pool, name_test = adaptation.name_pictures(24, 0), adaptation.name_pictures(16, 1)
known, asked = (adaptation.embed_pictures(clip, one.pictures) for one in (name_pool, name_test))


def right(logits, labels=name_test.labels):
    return (logits.argmax(1) == labels).float()


one_way = adaptation.embed_classes(clip, tokenizer, name_test.names, ["a large red {} in a meadow, flat style"])
scales = [2, 5, 10, 20, 40, 80, 160, 320]
logits = [adaptation.zero_shot(asked, one_way, s) for s in scales]
assert len({right(one).mean().item() for one in logits}) == 1  # the scale moves no decision
surprise = [losses.cross_entropy(one, name_test.labels).item() for one in logits]
curves = {"surprise at the true name": surprise, "blind guess": [torch.tensor(15.0).log().item()] * len(scales)}
plotting.show_curves(curves, x=torch.tensor(scales).log2(), xlabel=f"log₂ of the scale (learnt: {scale:.0f})", ylabel="nats")

# %% [markdown] lang="en"
# At the left all shares are nearly equal and say nothing; at the right every mistake is made with full confidence and
# costs more. The valley in between is where shares mean what they say. The learnt scale suits the questions of the
# training, and need not be at the bottom for ours.
#
# ### How one asks
#
# The captions above say "red" and "in a meadow", and the pictures are of all colours, in all places. Does it matter?
# The same question, asked in six ways. The last two use 48 sentences for each name, one for each colour and place:
# their *mean direction* (Radford et al. 2021), or, **by the rule of total probability**, the sum of their shares:
#
# $$p(c\mid u)\propto\frac1T\sum_{t=1}^{T} e^{\kappa\,u\cdot v_{c,t}} \tag{2}$$

# %%
wordings = ["{}", "a {}", "a flat drawing of a {}", "a large red {} in a meadow, flat style"]
every = adaptation.embed_classes(clip, tokenizer, name_test.names, adaptation.NAME_TEMPLATES)
ways = {w: adaptation.embed_classes(clip, tokenizer, name_test.names, [w]) for w in wordings}
ways |= {"48 sentences, mean direction": adaptation.averaged(every), "48 sentences, equation (2)": every}
rows = [(name, f"{evaluation.interval(right(adaptation.zero_shot(asked, words, scale))):.2f}") for name, words in ways.items()]
plotting.show_table(rows, ["asked as", "right among 15 names"])

# %% [markdown] lang="en"
# The same frozen model, the same pictures: only the question has changed. This model has only read captions, which do
# not begin with the bare name of a thing: one article is worth nearly all. Averaged over every colour and place, the
# sentences differ in nothing but the name, and the last errors go, or nearly all of them. That is prompt *engineering*,
# and its gain has to be measured every time.
#
# ## When there are no words
#
# What does the model see in the names of the new styles? Look at the pieces, and at which words the world does not
# know. A script that the tokenizer never met falls into bytes, and soon is too long.

# %%
for text in ("a red cat, chalk style", "a red cat, ink style", "рыжий кот"):
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
    print(f"{text}: {len(pieces)} tokens, unknown: {scenes.unknown_words(text)}\n   {' '.join(pieces)}")
print(f"styles, zero-shot: {evaluation.interval(right(told, style_test.labels)):.2f}, chance is 0.25")

# %% [markdown] lang="en"
# The pieces of "chalk" exist, but no picture was ever beside them. No wording helps here: what is missing is not the
# right question but the meaning. Labels must bring it.
#
# ## A few labels
#
# All methods below keep the towers frozen: a picture is its vector $u$, and only vectors are compared.
#
# **Prototypes** (Snell et al. 2017): the mean direction of a class's examples takes the place of its words.
#
# $$w_c=\frac{m_c}{|m_c|},\quad m_c=\frac1{n_c}\sum_{i:\,y_i=c}u_i,\qquad \text{score}_c=u\cdot w_c \tag{3}$$
#
# **Linear probe**: weights are learnt, with a pull towards zero so that few examples have one best answer.
#
# $$\min_{W,b}\ \frac1N\sum_i-\ln\mathrm{softmax}(Wu_i+b)_{y_i}+\frac\lambda2\big(|W|^2+|b|^2\big) \tag{4}$$
#
# (The package measures $u$ in tenths, so that weights may stay small.)
#
# **Cache** (Tip-Adapter, Zhang et al. 2022): every example votes for its own class, the nearer the louder; the words
# may vote too, with the weight $\alpha$. Nothing is trained.
#
# $$\text{score}_c=\sum_{i:\,y_i=c} e^{-\beta\,(1-u\cdot u_i)}+\alpha\,p_{\text{words}}(c\mid u) \tag{5}$$
#
# By hand on the smallest case, two examples and one query, then the package:

# %%
examples, query = F.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0]]), dim=1), torch.tensor([[0.8, 0.6]])
by_hand = (-5.5 * (1 - query @ examples.T)).exp()  # one example of each class: its vote is the class's
torch.testing.assert_close(adaptation.cached(query, examples, torch.tensor([0, 1]), 2), by_hand)
print("votes:", [f"{vote:.3f}" for vote in by_hand[0]], "cosines:", [f"{c:.3f}" for c in (query @ examples.T)[0]])

# %% [markdown] lang="en"
# **Learnt words** (CoOp, Zhou et al. 2022): four vectors stand where the words of the sentence stood, before each
# name, and are moved until labelled pictures find their class. The gradient goes through the text tower; its weights
# stay. For the known names, with four labels each, beside the wordings above:

# %%
few = adaptation.draw_examples(name_pool.labels, 4, runtime.generator(0))
words = adaptation.LearntWords(clip, tokenizer, name_pool.names, count=4)
adaptation.learn_words(words, known[few], name_pool.labels[few], scale)
with torch.no_grad():
    learnt = right(adaptation.zero_shot(asked, words(), scale))
print(f"{words.vectors.numel()} numbers learnt from {len(few)} pictures: {evaluation.interval(learnt):.2f} right")

# %% [markdown] lang="en"
# Compare it with the rows "{}" and "a {}" above: the machine has found a better beginning than a bare one, though it
# cannot be read aloud.
#
# ## Labels used against accuracy
#
# Now the table of this notebook, for the four new styles and for the known names. For 1, 2, 4, 8 and 16 labels of
# each class we draw the examples five times; brackets hold the 95 % interval over these draws. α grows with the
# number of examples, β is that of the paper: neither was tuned on the test pictures.

# %%
def answers(pool, test, features, queries, words, each, seed):
    """Accuracy of each way to use `each` labels of every class."""
    chosen, classes = adaptation.draw_examples(pool.labels, each, runtime.generator(seed)), len(pool.names)
    keys, labels = features[chosen], pool.labels[chosen]
    found = adaptation.few_shot_logits(queries, keys, labels, classes, words, alpha=each)
    return {name: right(logits, test.labels).mean().item() for name, logits in found.items()}


def by_labels(*given):
    return {each: [answers(*given, each, seed) for seed in range(5)] for each in (1, 2, 4, 8, 16)}


name_told = adaptation.zero_shot(asked, every, scale)
of_styles = by_labels(style_pool, style_test, seen_pool, seen_test, told)
of_names = by_labels(name_pool, name_test, known, asked, name_told)

# %% [markdown] lang="en"
# Learnt words for the styles, in the same way (each draw trains for a moment):

# %%
def learnt_words(each, seed):
    chosen = adaptation.draw_examples(style_pool.labels, each, runtime.generator(seed))
    words = adaptation.LearntWords(clip, tokenizer, style_pool.names)
    adaptation.learn_words(words, seen_pool[chosen], style_pool.labels[chosen], scale, steps=40, progress=False)
    with torch.no_grad():
        return right(adaptation.zero_shot(seen_test, words(), scale), style_test.labels).mean().item()


for each, draws in of_styles.items():
    for seed, found in enumerate(draws):
        found["learnt words"] = learnt_words(each, seed)
    print(f"{each} label{'s' * (each > 1)}: {evaluation.interval([found['learnt words'] for found in draws]):.2f}")

# %% [markdown] lang="en"
# And the top line: *full fine-tuning* of the vision tower with a last layer, on all labels of the pool. The layer
# starts as the probe that all labels give (Kumar et al. 2022), which is measured too.

# %%
def with_all(pool, test, features, queries):
    probe = adaptation.linear_probe(features, pool.labels, len(pool.names))
    model = adaptation.fine_tune(clip, pool.pictures, pool.labels, probe, steps=40)
    with torch.no_grad():
        tuned = torch.cat([model(some) for some in test.pictures.split(64)])
    trained = [probe.weight.numel() + probe.bias.numel(), adaptation.trained_numbers(model)]
    return [right(logits, test.labels) for logits in (probe(queries), tuned)], trained


style_all, style_numbers = with_all(style_pool, style_test, seen_pool, seen_test)
name_all, name_numbers = with_all(name_pool, name_test, known, asked)

# %% [markdown] lang="en"
# First the styles, for which the model has no words. Read each row from left to right. (Where nothing is drawn, in
# the first row and the last, brackets are over test pictures.)

# %%
def as_table(title, pool, found, told, all_labels, labels):
    shots = list(found)
    rows = [["words alone", f"{evaluation.interval(right(told, labels)):.2f}", *[""] * len(shots), ""]]
    for name in found[1][0]:
        cells = [f"{evaluation.interval([draw[name] for draw in found[each]]):.2f}" for each in shots]
        rows.append([name, "", *cells, f"{all_labels[0].mean():.2f}" if name == "linear probe" else ""])
    rows.append(["full fine-tuning", "", *[""] * len(shots), f"{evaluation.interval(all_labels[1]):.2f}"])
    return plotting.show_table(rows, [title, "0", *map(str, shots), f"all {len(pool.labels)}"])


as_table("new styles", style_pool, of_styles, told, style_all, style_test.labels)

# %% [markdown] lang="en"
# Then the names, which it has words for:

# %%
as_table("known names", name_pool, of_names, name_told, name_all, name_test.labels)

# %% [markdown] lang="en"
# The same as a figure, for prototypes and probe of both questions, with the words as level lines:

# %%
def mean(found, name):
    return [sum(draw[name] for draw in draws) / len(draws) for draws in found.values()]


curves = {
    "styles, probe": mean(of_styles, "linear probe"),
    "styles, prototypes": mean(of_styles, "prototypes"),
    "styles, words": [right(told, style_test.labels).mean().item()] * 5,
    "names, words": [right(name_told).mean().item()] * 5,
    "names, probe": mean(of_names, "linear probe"),
    "names, prototypes": mean(of_names, "prototypes"),
}
plotting.show_curves(curves, x=[0, 1, 2, 3, 4], xlabel="log₂ of the labels of each class", ylabel="share right")

# %% [markdown] lang="en"
# Two opposite stories. For the new styles words are worth nothing, and one label of each is worth a lot. For known
# names words are worth many labels, and examples start far below: a picture's vector holds colour, place
# and style beside the name, and one example cannot say which of these was meant. A word can. Letting the words vote
# beside the cache is a matter of trust: with this α they help where they know something, and drown the examples where
# they only guess with confidence. So α has to be earned, on labels that were set aside for it.
#
# What was trained for it? The two last columns count:

# %%
rows = [("words, prototypes, cache", 0, 0), ("learnt words", words.vectors.numel(), words.vectors.numel())]
rows += [("linear probe", style_numbers[0], name_numbers[0]), ("full fine-tuning", style_numbers[1], name_numbers[1])]
plotting.show_table(rows, ["way", "numbers trained, styles", "numbers trained, names"])

# %% [markdown] lang="en"
# Full fine-tuning trains hundreds to thousands of times as many numbers as a probe. Where a probe is nearly perfect, it
# has little to win; with a few hundred labels it can also lose, by learning the pool by heart. The last columns of the
# tables say which it was here.
#
# ### Where it fails
#
# One example of each name, and the pictures that it gets wrong: under each picture stands what it was taken
# for. Compare with the example of that name, in the row below.

# %%
one = adaptation.draw_examples(name_pool.labels, 1, runtime.generator(0))
guess = (asked @ adaptation.prototypes(known[one], name_pool.labels[one], 15).T).argmax(1)
wrong = (guess != name_test.labels).nonzero().flatten()[::30][:5]
taken = torch.cat([name_test.pictures[wrong], name_pool.pictures[one][guess[wrong]]])
titles = [f"taken for: {name_pool.names[k]}" for k in guess[wrong]]
alt = "Pictures that one example named wrongly, and below each the example that it was taken for"
plotting.show_images(taken, titles + ["the example"] * len(wrong), columns=len(wrong), scale=0.8, alt=alt)

# %% [markdown] lang="en"
# Mostly place or colour agree, and not the thing: the nearest picture is the one that *looks* alike.
#
# ### What they refuse
#
# Bad input gets one sentence: one class only, no examples, a class without one, features of another model, a script
# that does not fit.

# %%
cases = {
    "one class": lambda: adaptation.prototypes(known[:4], torch.zeros(4, dtype=torch.long), 2),
    "nothing": lambda: adaptation.linear_probe(known[:0], name_pool.labels[:0], 15),
    "a class without": lambda: adaptation.prototypes(known[:48], name_pool.labels[:48], 3),
    "another model": lambda: adaptation.cached(asked[:, :64], known, name_pool.labels, 15),
    "a long script": lambda: adaptation.embed_words(clip, tokenizer, ["рыжий кот на зелёном лугу"]),
}
for name, ask in cases.items():
    try:
        ask()
    except ValueError as error:
        print(f"{name}: {error}")

# %% [markdown] lang="en"
# ## Vectors before a language model
#
# The course's `lm` writes captions. We want captions about cats only. A beginning cannot ask for it: the model writes
# from left to right, and size, colour and style come before the thing. What about vectors before the text that no
# word has?
#
# **Prompt tuning** (Lester et al. 2021) learns $k$ vectors $P$ in front of the embedded text, all weights $\theta$
# frozen:
#
# $$\min_{P}\ -\sum_j\ln p_\theta\big(x_j\mid P,\,x_{<j}\big) \tag{6}$$
#
# **Prefix tuning** (Li & Liang 2021) gives every layer $k$ learnt keys and values to attend to, instead of the first
# layer only. Both through the `peft` library; for comparison a LoRA of rank one (3.2), and every weight. First the
# model as it is, and its prompt: the loss of (6) for vectors that are words must be the loss of these words.

# %%
lm, pad = models.load("lm").requires_grad_(True), tokenizer.pad_token_id
start = [adaptation.in_context(tokenizer, [])] * 100
words, tokens = tokenizer("a red", add_special_tokens=False).input_ids, tokenizer(["a cat at sea"], return_tensors="pt").input_ids
model = adaptation.soft_prompt(lm, len(words))
model.prompt_encoder.default.embedding.weight.data[:] = lm.transformer.wte.weight[words]
spoken = torch.cat([torch.tensor([words]), tokens], 1)
with torch.no_grad():
    by_words = adaptation.next_token_loss(lm, spoken, pad, given=2 + len(words))
    torch.testing.assert_close(adaptation.next_token_loss(model, tokens, pad), by_words)
print(f"a prompt of two words costs what the words cost: {by_words:.4f} nats a token")

# %% [markdown] lang="en"
# Now train on two hundred captions about cats. Watch where each loss begins, and where it gets to.

# %%
def about_cats(facts):
    return facts.groups[0].name == "cat"


texts = adaptation.captions_where(about_cats, 200, seed=3)
lesson = tokenizer([f"<en>{text}" for text in texts], padding=True, return_tensors="pt").input_ids
ways = adaptation.ways_to_steer(lm)
curves = {}
for name, (model, rate) in ways.items():
    batches = training.Shuffled(len(lesson), 16, lambda chosen, _: lesson[chosen])
    loss = lambda model, batch: adaptation.next_token_loss(model, batch, pad)  # noqa: E731
    curves[name] = training.fit(model, batches, loss, steps=100, learning_rate=rate).smoothed(20)
plotting.show_curves(curves, xlabel="step", ylabel="nats a token")

# %% [markdown] lang="en"
# Vectors in front move every word to a later place. Prompt and prefix begin above the model alone, and have to win that
# back first. Each model then writes a hundred captions. The grammar reads them, not the model: which share is about a cat, and which
# can be read at all?

# %%
rows = []
for name, model in {"as it was": lm, **{name: model for name, (model, _) in ways.items()}}.items():
    written = adaptation.write(model, tokenizer, start, runtime.generator(1))
    numbers = 0 if model is lm else adaptation.trained_numbers(model)
    shares = [f"{evaluation.interval(adaptation.fitting(written, fits)):.2f}" for fits in (about_cats, bool)]
    rows.append((name, numbers, *shares, written[0]))
plotting.show_table(rows, ["model", "numbers trained", "about cats", "readable", "its first"])

# %% [markdown] lang="en"
# The prompt in front of the first layer learns least: at a hundred steps it is far behind. Prompt tuning is known to
# need a large model and patience (Lester et al. 2021 find it level with full fine-tuning only at billions of
# weights); a prefix, which speaks to every layer, does much of the job, and a LoRA nearly all of it, with a small share
# of the numbers. All but the last leave the model itself as it was: take the vectors away, and it writes what it wrote.

# %%
before = adaptation.write(lm, tokenizer, start[:3], runtime.generator(1))
inside = adaptation.write(ways["prefix of 4"][0].get_base_model(), tokenizer, start[:3], runtime.generator(1))
assert inside == before
print("the untouched model, and the one without its prefix, write the same three captions; the first:", before[0])

# %% [markdown] lang="en"
# ## Examples before the question
#
# Large language models need no vectors: they are *shown* some examples and go on in kind (Brown et al. 2020). We show
# ours one or two short captions about one thing, then the mark that begins another. All sixteen names take part, the
# triangle too: chance is one in sixteen.

# %%
things = list(scenes.THINGS)


def goes_on(model, examples, things=things):
    """The share of 160 texts about the thing of their examples, the share of those that can be read, and one text."""
    found = adaptation.goes_on(model, tokenizer, *adaptation.shown_things(tokenizer, things, examples, 160))
    return *[f"{evaluation.interval(shares):.2f}" for shares in (found.same, found.readable)], found.texts[1]


plotting.show_table([(n, *goes_on(lm, n)) for n in (0, 1, 2)], ["examples shown", "about their thing", "readable", "one text"])

# %% [markdown] lang="en"
# Examples do not help; they do harm. The more is shown, the fewer texts can be read at all. Ours has only ever read
# single captions, never one after another, and everything after an end mark is a place where it has never been.
# Longer shows do not even fit:

# %%
try:
    adaptation.in_context(tokenizer, ["a small red mushroom at night, ink style"] * 4)
except ValueError as error:
    print(error)

# %% [markdown] lang="en"
# Is that truly the reason? Then training on *pairs* about one thing must bring the skill. We do it with twelve things
# in pairs; the other four come alone, so that they are not forgotten. If it learns to copy, it copies these four as
# well.

# %%
paired, alone = [t for k, t in enumerate(things) if k % 4 != 2], things[2::4]
_, pairs = adaptation.shown_things(tokenizer, paired, 2, 600, seed=1)
_, singles = adaptation.shown_things(tokenizer, alone, 1, 200, seed=1)
rows = [torch.tensor(row[:-1]) for row in pairs + singles]  # without the mark that asks for more
lesson = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
pupil = copy.deepcopy(lm)
batches = training.Shuffled(len(lesson), 16, lambda chosen, _: lesson[chosen])
training.fit(pupil, batches, loss, steps=160, optimiser=training.muon(pupil, 4e-3))
rows = [(name, *goes_on(pupil, 1, some)) for name, some in {"came in pairs": paired, "came alone": alone}.items()]
plotting.show_table(rows, ["things that", "about their thing", "readable", "one text"])

# %% [markdown] lang="en"
# What came in pairs is gone on with; compare the second row. Where it stays low, the pupil has not learnt "go on with
# the same thing" but a list of things to go on with. General in-context learning does not come from the
# architecture alone.
#
# ## Exercises
#
# **3.3.1** (4 minutes) Equation (1): shares (B, C) from picture vectors (B, D) and word vectors (C, D) that are *not*
# of length one yet. `F.normalize(x, dim=1)` makes rows of length one.

# %% tags=["exercise"]
def name_shares(pictures, words, scale):
    cosines = F.normalize(pictures, dim=1) @ F.normalize(words, dim=1).T  # solution
    return (scale * cosines).softmax(1)  # solution


checks.check_name_shares(name_shares)

# %% [markdown] lang="en"
# **3.3.2** (6 minutes) Equation (3): one direction of length one for each class, (C, D), from features (N, D) and
# labels (N,).

# %% tags=["exercise"]
def class_means(features, labels, classes):
    means = torch.stack([features[labels == c].mean(0) for c in range(classes)])  # solution
    return F.normalize(means, dim=1)  # solution


checks.check_class_means(class_means)

# %% [markdown] lang="en"
# **3.3.3** (8 minutes) Equation (5) without words: the votes (B, C) of labelled keys (N, D) for queries (B, D).
# `F.one_hot(labels, classes)` has a one in each row, at its class.

# %% tags=["exercise"]
def votes(queries, keys, labels, classes, beta):
    near = (-beta * (1 - queries @ keys.T)).exp()  # solution
    return near @ F.one_hot(labels, classes).to(near)  # solution


checks.check_votes(votes)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Captions make a classifier without labels (1); how they are worded can matter more than anything else (2).
# 2. Where the words have no meaning for the model, a few labels bring it: prototypes (3), a probe (4), votes (5), learnt words.
# 3. Vectors before the text steer a frozen model (6); here those that reach every layer steer far better.
# 4. Examples in the context help a model only if it has learnt from such contexts.
#
# **Next:** 3.4 teaches the painter a new thing, from six pictures.
#
# ### References
#
# - Radford et al. 2021, *Learning transferable visual models from natural language supervision*, arXiv 2103.00020.
# - Snell, Swersky, Zemel 2017, *Prototypical networks for few-shot learning*, arXiv 1703.05175.
# - Zhang et al. 2022, *Tip-Adapter: training-free adaption of CLIP for few-shot classification*, arXiv 2207.09519.
# - Zhou, Yang, Loy, Liu 2022, *Learning to prompt for vision-language models*, arXiv 2109.01134.
# - Kumar, Raghunathan, Jones, Ma, Liang 2022, *Fine-tuning can distort pretrained features and underperform out-of-distribution*, arXiv 2202.10054.
# - Lester, Al-Rfou, Constant 2021, *The power of scale for parameter-efficient prompt tuning*, arXiv 2104.08691.
# - Li, Liang 2021, *Prefix-tuning: optimizing continuous prompts for generation*, arXiv 2101.00190.
# - Brown et al. 2020, *Language models are few-shot learners*, arXiv 2005.14165.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
