# %% [markdown] lang="en"
# # 2.1 Cross-entropy for captions
#
# Every model that writes is taught by one loss: how surprised is it by the next word? You derive that loss and its
# gradient, and check each line by running it. You learn how low it can fall, which for our captions is known exactly;
# how counting the padding alone can make a report such as "loss 0.75" or "accuracy 85 %"; and what one step of AdamW
# does.
# At the end you see a fluent model with an excellent loss that is wrong about nearly every picture.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# We import the losses, the models, the training loop and the picture world. Formulas are checked in double precision, so
# that rounding cannot hide an error.

# %%
import copy
import math
import random

import numpy as np
import sympy
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from aigc_course import checks, evaluation, losses, models, plotting, runtime, sampling, scenes, training

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The shipped captioner looks at a picture and writes what it sees, one token after the other. Four pictures that it
# has never seen, in English:

# %%
tokenizer = models.load("tokenizer")
captioner = models.load("captioner")
samples = scenes.samples(4, "test", seed=52)
pictures = scenes.pictures(samples, models.PICTURE)
said = {language: sampling.pictures_to_words(captioner, tokenizer, pictures, language) for language in scenes.LANGUAGES}
plotting.show_images(pictures, said["en"], columns=4, scale=1.4)

# %% [markdown] lang="en"
# The same pictures in Chinese, from the same weights: a mark before the caption says which language is wanted. The right
# columns say whether all that was claimed is true of the scene. (On average this small captioner is right in every
# point more than nine times out of ten. What it still mixes up is most often a shape.)

# %%
true = {language: [evaluation.agrees(text, one.scene) for text, one in zip(told, samples)] for language, told in said.items()}
plotting.show_table(list(zip(range(1, 5), said["zh"], true["en"], true["zh"])), ["picture", "in Chinese", "English true", "Chinese true"])

# %% [markdown] lang="en"
# ## A caption is a row of choices
#
# A caption is cut into tokens $w_1\dots w_n$, the last of which is the end mark `</s>`; $w_0$ is the mark `<s>` for the
# beginning, and $x$ is whatever the model is given, here the picture. **Rule: $p(a,b)=p(a)\,p(b\mid a)$, again and again
# (the chain rule of probability), and the log of a product is a sum of logs:**
#
# $$-\ln p(w_1\dots w_n\mid x) = -\sum_{i=1}^{n}\ln p(w_i\mid w_0\dots w_{i-1},\,x) \tag{1}$$
#
# Nothing is lost in (1). A model that looks back by one word, as in 1.2, has to forget; a transformer looks at all
# tokens before. Take the course's language model, which sees no picture at all, and one caption. For each token: the
# chance that the model gave it, and minus the logarithm, its *surprise* in nats.

# %%
lm = models.load("lm")
lm.loss_type = "ForCausalLM"  # what it takes anyway, and would announce
pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
text = scenes.marked_caption(samples[0].scene, random.Random(1), "en")
tokens = tokenizer(text, return_tensors="pt").input_ids
with torch.no_grad():
    logits = lm(tokens[:, :-1]).logits[0].double()
shares = logits.exp() / logits.exp().sum(1, keepdim=True)
chances = [shares[i, token].item() for i, token in enumerate(tokens[0, 1:])]
rows = [(tokenizer.decode(token), chance, -math.log(chance)) for token, chance in zip(tokens[0, 1:], chances)]
plotting.show_table(rows, ["token", "chance", "nats"])

# %% [markdown] lang="en"
# Added up, that is (1). The package's function, torch's and the loss that the library's own class computes must agree.
# The library gives the mean over tokens, so we multiply.

# %%
by_hand, labels = -sum(map(math.log, chances)), tokens[:, 1:]
ours = losses.surprise(logits[None], labels).item()
of_torch = F.cross_entropy(logits, labels[0], reduction="sum").item()
of_transformers = lm(tokens, labels=tokens).loss.item() * labels.numel()
np.testing.assert_allclose([ours, of_torch, of_transformers], by_hand, rtol=1e-5)
print(f"{by_hand:.4f} nats by hand, {ours:.4f} losses.surprise, {of_torch:.4f} torch, {of_transformers:.4f} transformers")

# %% [markdown] lang="en"
# Which of those choices can a picture settle? We ask both models about the same caption, the language being given. Look
# for three kinds of columns: coloured in both rows, dark above only, and pale in both.

# %%
@torch.no_grad()
def ask(tokens, pictures=None):
    """Scores for each token after the language mark, (B, L, V), and these tokens; without pictures, `lm` is asked."""
    read = {"decoder_input_ids": tokens[:, :-1], "decoder_attention_mask": tokens[:, :-1] != pad}
    if pictures is None:
        logits = lm(tokens[:, :-1], attention_mask=tokens[:, :-1] != pad).logits
    else:
        logits = captioner(pixel_values=pictures, **read).logits
    return logits[:, 1:], tokens[:, 2:]


nats = [F.cross_entropy(logits[0], asked[0], reduction="none") for logits, asked in (ask(tokens), ask(tokens, pictures[:1]))]
words = [tokenizer.decode(token).strip() for token in tokens[0, 2:]]
plotting.show_heatmap(torch.stack(nats).round(decimals=2) + 0.0, ["sees nothing", "sees the picture"], words)

# %% [markdown] lang="en"
# Both are surprised where the speaker is free: how to begin, which word to take for the style, the size, the place.
# What the picture alone decides, colour and thing, surprises only the blind one. Style, size and place are partly both,
# so there the blind one is surprised the more. Neither is where grammar decides: after *painting* comes *of*.
#
# ## From scores to surprise, and its gradient
#
# A network gives scores $z_1\dots z_K$, any numbers. Softmax makes shares of them that add up to one, and the loss
# is the surprise at the truth $y$:
#
# $$p_k=\frac{e^{z_k}}{\sum_j e^{z_j}},\qquad \ell = -\ln p_y = \ln\sum_j e^{z_j}-z_y \tag{2}$$
#
# **Rule: the chain rule of calculus on the logarithm of the sum;** the derivative of $z_y$ is one for $k=y$, else zero:
#
# $$\frac{\partial \ell}{\partial z_k}=\frac{e^{z_k}}{\sum_j e^{z_j}}-[k=y] = p_k-y_k \tag{3}$$
#
# That is all that a model ever hears of its mistakes: too much here, too little there. 1.2 used (3); now it is checked
# three times. First by autograd, and by a difference of two losses, nearly as plain as the definition.

# %%
z, truth = torch.randn(6, dtype=torch.float64, generator=runtime.generator(0)).requires_grad_(), 2
(found,) = torch.autograd.grad(F.cross_entropy(z, torch.tensor(truth)), z)
p, y, h = z.detach().softmax(0), torch.eye(6, dtype=torch.float64)[truth], 1e-5
loss = lambda z: z.logsumexp(-1) - z[..., truth]  # noqa: E731
steps = h * torch.eye(6, dtype=torch.float64)
differences = (loss(z.detach() + steps) - loss(z.detach() - steps)) / (2 * h)
print(f"residuals of (3): autograd {(found - (p - y)).abs().max():.1e}, differences {(differences - (p - y)).abs().max():.1e}")

# %% [markdown] lang="en"
# Then with symbols, for three classes, the second being true: sympy differentiates (2), and we subtract (3).

# %%
a, b, c = scores = sympy.symbols("z1:4", real=True)
total = sum(map(sympy.exp, scores))
symbolic = sympy.log(total) - b
gradient = [sympy.exp(each) / total - int(each == b) for each in scores]
print("symbolic zeros of (3):", [sympy.simplify(sympy.diff(symbolic, each) - slope) for each, slope in zip(scores, gradient)])

# %% [markdown] lang="en"
# How does the gradient itself change? **Rule: the quotient rule,** $\partial p_k/\partial z_l=p_k([k=l]-p_l)$. The
# second derivatives do not contain the truth at all, and along any direction $v$ they are a variance, which is never
# negative:
#
# $$H=\mathrm{diag}(p)-p\,p^\top,\qquad v^\top H v=\sum_k p_k v_k^2-\Big(\sum_k p_k v_k\Big)^{\!2}=\mathrm{Var}_p(v)\ge 0 \tag{4}$$
#
# So in its scores the loss is convex: one valley, no traps. (In the weights of a network it is not.)

# %%
H, v = torch.autograd.functional.hessian(loss, z.detach()), torch.randn(6, dtype=torch.float64, generator=runtime.generator(1))
print(f"residual of H: {(H - (p.diag() - p.outer(p))).abs().max():.1e}, of the variance: {v @ H @ v - (p * (v - p @ v) ** 2).sum():.1e}")
print("eigenvalues:", [round(each, 4) + 0.0 for each in torch.linalg.eigvalsh(H).tolist()])
shares = sympy.Matrix([sympy.exp(each) / total for each in scores])
print("symbolic zero:", sympy.simplify(sympy.hessian(symbolic, scores) - sympy.diag(*shares) + shares * shares.T) == sympy.zeros(3))

# %% [markdown] lang="en"
# One eigenvalue is zero: adding the same number to all scores changes nothing. For two classes all of it can be drawn
# over the lead of the true score. Look at what the slope does to a model that is sure and wrong, on the left.

# %%
lead = torch.linspace(-6, 6, 121, dtype=torch.float64)
right = lead.sigmoid()
curves = {"loss": -right.log(), "slope p - y": right - 1, "curvature p (1 - p)": right * (1 - right)}
plotting.show_curves(curves, x=lead, xlabel="score of the truth, less the other score", ylabel="nats")

# %% [markdown] lang="en"
# Wrong and sure: the slope is -1 and no more, so one bad label cannot throw a model off. Right and sure: hardly a slope
# is left, and the loss creeps to zero without ever reaching it.
#
# ## The least that can be had
#
# Often there is no single truth: where the speaker is free, *big* and *large* are both right. Let the truth have shares
# $q$. The mean surprise splits. **Rule: add and subtract $\sum_k q_k\ln q_k$:**
#
# $$\underbrace{-\sum_k q_k\ln p_k}_{\text{cross-entropy}} = \underbrace{-\sum_k q_k\ln q_k}_{H(q)}
# + \underbrace{\sum_k q_k\ln\frac{q_k}{p_k}}_{D(q\,\|\,p)},\qquad D\ge 0 \tag{5}$$
#
# **Rule: $\ln u\le u-1$** (Gibbs' inequality): $-D=\sum q_k\ln\frac{p_k}{q_k}\le\sum q_k\big(\frac{p_k}{q_k}-1\big)=0$,
# and it is zero for $p=q$ only. So the loss is smallest for a model that says the truth, and the least is the entropy.

# %%
p, q = torch.randn(2, 50, 6, dtype=torch.float64, generator=runtime.generator(2)).softmax(-1)
divergence = kl_divergence(Categorical(q), Categorical(p))
print(f"residual of (5): {(-(q * p.log()).sum(1) - Categorical(q).entropy() - divergence).abs().max():.1e}, smallest D {divergence.min():.3f}")

# %% [markdown] lang="en"
# Two words, and a model that gives the first the share $s$. The truth is even in one curve and nine to one in the
# other; the flat lines are their entropies. Look at where each curve touches its line.

# %%
s = torch.linspace(0.02, 0.98, 97, dtype=torch.float64)
curves = {}
for share in (0.5, 0.9):
    curves[f"truth {share}"] = -share * s.log() - (1 - share) * (1 - s).log()
    curves[f"H = {Categorical(torch.tensor([share, 1 - share])).entropy():.3f}"] = curves[f"truth {share}"].min().expand(97)
plotting.show_curves(curves, x=s, xlabel="share s that the model gives to the first word", ylabel="nats")

# %% [markdown] lang="en"
# A shared truth can also be made on purpose. *Label smoothing* (Szegedy et al. 2016) hands a share $\epsilon$ of the
# truth to all classes alike. **Rule: (3) is linear in $y$,** so its gradient needs no new derivation:
#
# $$q_k=(1-\epsilon)\,y_k+\frac{\epsilon}{K},\qquad \frac{\partial\ell}{\partial z_k}=p_k-q_k \tag{6}$$
#
# By (5) the least is now at $p=q$: the best lead of the true score is finite, $\ln(q_y/q_k)$, and the floor is no longer
# zero. Both are printed for the 770 tokens of our vocabulary; so is the residual against torch.

# %%
z, truth, share = torch.randn(20, len(tokenizer), dtype=torch.float64, generator=runtime.generator(3)).requires_grad_(), torch.arange(20), 0.1
(found,) = torch.autograd.grad(F.cross_entropy(z, truth, label_smoothing=share, reduction="sum"), z)
q = (1 - share) * F.one_hot(truth, len(tokenizer)).double() + share / len(tokenizer)
print(f"residual of (6): {(found - (z.softmax(1) - q)).abs().max():.1e}")
print(f"best lead {(q[0, 0] / q[0, 1]).log():.2f}, floor {Categorical(q[0]).entropy():.2f} nats a token")

# %% [markdown] lang="en"
# ## The floor of our captions
#
# For real captions nobody knows $q$. Ours come from a grammar, so both floors are exact. A captioner knows the scene
# $s$; only the way of telling it is open. The language model does not know the scene either, so for it the facts are a
# surprise, too. **Rule: (5) for whole captions, and $p(c)=p(s)\,p(c\mid s)$, as a full caption states all facts:**
#
# $$H(c\mid s)=\mathbb E\big[-\ln p(c\mid s)\big],\qquad -\ln p(c)=-\ln p(s)-\ln p(c\mid s) \tag{7}$$
#
# For the first picture, exactly:

# %%
facts, told = samples[0].scene.facts, scenes.paraphrases(samples[0].scene, "en")
H, worth = scenes.entropy(facts, "en"), -math.log(scenes.probability(facts))
blindly = sum(p * scenes.surprise(facts, way, "en") for way, p in told.items())
print(f"{len(told)} ways to tell the scene, H = {H:.4f} nats; that a random scene has these facts: {worth:.4f} nats")
print(f"residual of (7): {abs(blindly - worth - H):.1e}")

# %% [markdown] lang="en"
# Now two hundred fresh scenes, each told once in each language, and for every caption the surprise that nobody can
# avoid: with the picture, and without.

# %%
fresh = scenes.samples(200, "test", seed=5)
seen = scenes.pictures(fresh, models.PICTURE)
facts, batch, given, blind = [one.scene.facts for one in fresh], {}, {}, {}
for language in scenes.LANGUAGES:
    told = [scenes.caption(each, random.Random(k), language) for k, each in enumerate(facts)]
    batch[language] = tokenizer([f"<{language}>{text}" for text in told], padding=True, return_tensors="pt").input_ids
    given[language] = torch.tensor([-math.log(scenes.paraphrases(each, language)[way]) for each, way in zip(facts, told)])
    blind[language] = torch.tensor([scenes.surprise(each, way, language) for each, way in zip(facts, told)])
n = {language: (tokens[:, 2:] != pad).sum(1).float().mean().item() for language, tokens in batch.items()}
rows = [(language, n[language], given[language].mean().item(), blind[language].mean().item()) for language in n]
plotting.show_table(rows, ["language", "tokens a caption", "least with picture, nats", "without"])

# %% [markdown] lang="en"
# The last two columns differ by $-\ln p(s)$: that many nats a picture is worth, in any language. The columns are per
# caption, because a token is no unit: Chinese needs fewer for the same facts. Per token one often reads the
# **perplexity**, the number of equally likely tokens that would surprise as much. **Rule: the entropy of $K$ equal
# shares is $\ln K$:**
#
# $$\text{perplexity}=e^{\,L},\qquad L=\text{nats for each token} \tag{8}$$
#
# How close do the shipped models come? Their excess is an estimate of $D$ in (5). From each caption we subtract *its
# own* least surprise, $-\ln p(c\mid s)$, the mean of which is the entropy. The brackets are 95 % intervals.

# %%
rows, answers = [], {}
for language, tokens in batch.items():
    for name, least, shown in (("lm", blind, None), ("captioner", given, seen)):
        logits, asked = answers[name, language] = ask(tokens, shown)
        mine = losses.surprise(logits, asked, pad)
        level, above = mine.mean().item() / n[language], evaluation.interval((mine - least[language]) / n[language])
        rows.append((name, language, level, level - above.mean, f"{above:.4f}", math.exp(level)))
equal = losses.cross_entropy(torch.zeros(1, 1, len(tokenizer)), asked[:1, :1]).exp()
print(f"check of (8), all scores equal: perplexity {equal:.1f} of {len(tokenizer)} tokens")
plotting.show_table(rows, ["model", "language", "nats a token", "floor", "above it", "perplexity"])

# %% [markdown] lang="en"
# The two losses cannot be compared with one another, since each has a floor of its own; and none is a measure of the
# captioner, before its floor is known. Only the fifth column can be learnt away: little is left of it in English, a bit
# more in Chinese.

# %% [markdown] lang="en"
# ## Teacher forcing
#
# To learn token $i$ the model must read all tokens before it. It reads the *true* ones, not its own guesses (Williams &
# Zipser 1989), so a whole caption is one batch of questions. **Rule: read $0\dots n-1$, be asked for $1\dots n$:**
#
# $$z_i=f(w_0,\dots,w_{i-1}),\qquad \text{label of place } i:\ w_i \tag{9}$$
#
# What the model reads, and what it should say:

# %%
tokens = tokenizer(text, return_tensors="pt").input_ids
told = [tokenizer.decode(token).strip() for token in tokens[0]]
plotting.show_table([("reads", *told[:-1]), ("should say", *told[1:])], ["place", *map(str, range(1, len(told)))])

# %% [markdown] lang="en"
# A place must not see what it is asked for. The transformer's causal mask hides it: place $i$ looks at earlier places
# only. Two checks on the shipped model: one pass over all places equals as many passes as there are places; and if the
# last token is exchanged, no score before it moves.

# %%
with torch.no_grad():
    at_once = lm(tokens).logits[0]
    in_turn = torch.stack([lm(tokens[:, :i]).logits[0, -1] for i in range(1, tokens.shape[1] + 1)])
    changed = lm(torch.cat([tokens[:, :-1], torch.tensor([[tokenizer.bos_token_id]])], 1)).logits[0]
torch.testing.assert_close(at_once, in_turn, atol=1e-4, rtol=1e-5)
print(f"one pass or {len(in_turn)}: {(at_once - in_turn).abs().max():.1e}; last token exchanged: {(at_once - changed)[:-1].abs().max():.1e}")

# %% [markdown] lang="en"
# The commonest error of all is to be off by one. Two classes of the library lead into it from opposite sides:
# `GPT2LMHeadModel` takes unshifted labels and shifts them inside; `VisionEncoderDecoderModel` takes the labels of (9)
# and makes the inputs from them. First the captioner, ours against the library's own loss; then four ways to line up
# the language model.

# %%
with torch.no_grad():
    theirs = captioner(pixel_values=pictures[:1], labels=tokens[:, 1:]).loss
    ours = losses.cross_entropy(captioner(pixel_values=pictures[:1], decoder_input_ids=tokens[:, :-1]).logits, tokens[:, 1:])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    ways = {"(9) by hand": losses.cross_entropy(lm(tokens[:, :-1]).logits, tokens[:, 1:])}
    ways["labels=tokens"] = lm(tokens, labels=tokens).loss
    ways["shifted by hand and inside"] = lm(tokens[:, :-1], labels=tokens[:, 1:]).loss
    ways["not shifted at all"] = losses.cross_entropy(lm(tokens).logits, tokens)
print(f"captioner, ours and the library's: {ours:.4f}, {theirs:.4f}")
plotting.show_table([(way, nats.item()) for way, nats in ways.items()], ["language model", "nats a token"])

# %% [markdown] lang="en"
# On a trained model a wrong shift is easy to see. While one trains with it, the loss falls happily; we shall do that
# below.
#
# ## Padding
#
# Captions in a batch are filled up with `<pad>` to one length $L$. Nobody wants to learn that. **Rule: a mean over the
# real places only,** with $m_i=1$ there and $0$ at padding:
#
# $$L_\text{real}=\frac{\sum_i m_i\,\ell_i}{\sum_i m_i} \tag{10}$$
#
# What if padding counts? It follows `</s>` and padding, always, so it is soon guessed with certainty. Then every place
# adds nothing to the loss and a hit to the accuracy. **Rule: a mean over $n$ real and $L-n$ other places:**
#
# $$L_\text{report}=L_\text{real}\,\frac nL,\qquad a_\text{report}=1-(1-a_\text{real})\,\frac nL \tag{11}$$
#
# 1.2 used the second half on a bigram model. Here is the shipped captioner on the fresh captions, real tokens only, and
# what it would report if they were padded to $L$: counted out place by place, and by (11).

# %%
logits, asked = answers["captioner", "en"]
each, hit = F.cross_entropy(logits.mT, asked, ignore_index=pad, reduction="none"), (logits.argmax(2) == asked) | (asked == pad)
level, right = losses.cross_entropy(logits, asked, pad).item(), (logits.argmax(2) == asked)[asked != pad].double().mean().item()
rows = [("real", f"{n['en']:.1f}", level, level, right, right)]
for L in (32, 48, 64, 128):
    padded, hits = (F.pad(values.double(), (0, L - asked.shape[1]), value=fill).mean().item() for values, fill in ((each, 0), (hit, 1)))
    rows.append(("padded", str(L), padded, level * n["en"] / L, hits, 1 - (1 - right) * n["en"] / L))
    np.testing.assert_allclose(rows[-1][2::2], rows[-1][3::2], atol=1e-6)
plotting.show_table(rows, ["", "places", "loss", "by (11)", "accuracy", "by (11)"])

# %% [markdown] lang="en"
# The captioner is the same in each row; what (11) assumes, that padding costs nothing, is measured below.
#
# Published figures invite the same question. One captioner of COCO reached about 2.1 nats (facebookresearch/mmf, issue
# 238); another, a weak one at 2.95 nats, had 45 % of its tokens right (OpenNMT-py, issue 898). A caption has about 13
# tokens. At which $L$ does the first report "loss 0.75", and the second "accuracy 85 %"?

# %%
for_loss, for_accuracy = 2.1 * 13 / 0.75, (1 - 0.45) * 13 / (1 - 0.85)
print(f"loss 0.75 at L = {for_loss:.0f}, accuracy 85 % at L = {for_accuracy:.0f}")
lengths = np.arange(13, 129)
reports = {"accuracy": 1 - 0.55 * 13 / lengths, "loss": 2.1 * 13 / lengths, "0.85": np.full(116, 0.85), "0.75": np.full(116, 0.75)}
plotting.show_curves(reports, x=lengths, xlabel="padded to L tokens", ylabel="reported")

# %% [markdown] lang="en"
# Neither number needs a better captioner, only more padding. (No one length gives both, as the two figures were taken
# from two models.) A loss without its rule of counting says nothing: print the masked one, and $n$ beside it.
#
# A mask must reach the gradient, too. **Rule: differentiate (10) with (3);** $m_i$ and their sum are constants:
#
# $$\frac{\partial L_\text{real}}{\partial z_{ik}}=\frac{m_i\,(p_{ik}-y_{ik})}{\sum_j m_j} \tag{12}$$
#
# Each real token pulls alike, in a short caption and in a long one. (The mean of the captions' means would give a token
# of a short caption more.) We check it on a batch of the captioner's own scores.

# %%
z, labels = logits[:4].double().requires_grad_(), asked[:4]
(found,) = torch.autograd.grad(losses.cross_entropy(z, labels, pad), z)
real = (labels != pad)[..., None]
derived = real * (z.softmax(2) - F.one_hot(labels, len(tokenizer))) / real.sum()
print(f"residual of (12): {(found - derived).abs().max():.1e}; largest pull at padding: {found[labels == pad].abs().max():.1e}")

# %% [markdown] lang="en"
# A second trap waits for those who do mask. GPT-2 has no padding token, so many take the end mark for it, and mask every
# label that equals padding. Count what is left to learn from, with a token for padding and without:

# %%
labels = batch["en"][:, 1:]
filled = labels.where(labels != pad, eos)  # as if there were no <pad>
masked = {"own <pad>": labels.where(labels != pad, -100), "padding is </s>": filled.where(filled != eos, -100)}
rows = [(name, len(labels), (left == eos).sum().item()) for name, left in masked.items()]
plotting.show_table(rows, ["batch", "captions", "end marks left as labels"])

# %% [markdown] lang="en"
# In the second row nobody tells the model to stop. What comes of that, and of the other slips, is quickly tried.
#
# ## Train one, rightly and wrongly
#
# First what all runs share: captions of random scenes, and a loss at whichever labels we choose.

# %%
def captions_of(samples):
    """Captions of scenes, in either language, padded to 32 tokens."""
    texts = [scenes.marked_caption(one.scene, random.Random(one.seed)) for one in samples]
    return tokenizer(texts, padding="max_length", return_tensors="pt").input_ids


def objective(labels_of):
    """A loss for `training.fit`: nats at the labels that `labels_of(tokens)` gives, left out where they are -100."""

    def loss(model, tokens):
        read = tokens[:, :-1]
        return losses.cross_entropy(model(read, attention_mask=read != pad).logits, labels_of(tokens))

    return loss


# %% [markdown] lang="en"
# A small GPT-2 of two layers learns to write captions in both languages, without pictures. Its loss cannot pass below
# the mean of the blind floor; the language mark, one of two, is a choice as well and costs $\ln 2$. Look at how near
# the curve comes to the line.

# %%
def rightly(tokens):
    return tokens[:, 1:].where(tokens[:, 1:] != pad, -100)


def learn(labels_of, steps):
    torch.manual_seed(0)
    model = models.language_model(tokenizer, width=64, layers=2)
    stream = scenes.SceneStream("train", 32 * steps, 32, seed=1, make=captions_of)
    return model, training.fit(model, stream, objective(labels_of), steps, learning_rate=5e-3)


small, history = learn(rightly, 500)

# %% [markdown] lang="en"
# The curve, and the floor, computed from the four hundred fresh captions of above; the model is measured on the same.

# %%
everything = torch.cat([F.pad(tokens, (0, 32 - tokens.shape[1]), value=pad) for tokens in batch.values()])
floor = (sum(map(sum, blind.values())) + 400 * math.log(2)).item() / (everything[:, 1:] != pad).sum().item()
with torch.no_grad():
    print(f"fresh captions {objective(rightly)(small, everything):.3f}, their floor {floor:.3f} nats a token")
plotting.show_curves({"training": history.smoothed(20), "floor": [floor] * 500}, xlabel="step", ylabel="nats a token")

# %% [markdown] lang="en"
# The curve flattens out where it must: below the line there is only chance, which nobody can learn. Now the same
# network and data, a shorter run, and four ways to make the labels: the right one and the three slips.

# %%
slips = {
    "right": rightly,
    "padding counted": lambda tokens: tokens[:, 1:],
    "not shifted": lambda tokens: tokens[:, :-1].where(tokens[:, :-1] != pad, -100),
    "end mark masked": lambda tokens: rightly(tokens).where(tokens[:, 1:] != eos, -100),
}
trained = {name: learn(labels_of, 160) for name, labels_of in slips.items()}

# %% [markdown] lang="en"
# To hear them, we let them write. Equation (1) read forwards is a recipe: draw a token by its chance, append it, ask again.

# %%
@torch.no_grad()
def write(model, count):
    """English captions, one token after the other, until the end mark or 32 tokens: (count, 32)."""
    tokens = torch.tensor([[tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("<en>")]]).repeat(count, 1)
    generator = runtime.generator(0)
    while tokens.shape[1] < 32:
        chances = model(tokens, attention_mask=torch.ones_like(tokens)).logits[:, -1].softmax(1)
        drawn = torch.multinomial(chances, 1, generator=generator)
        tokens = torch.cat([tokens, drawn.masked_fill((tokens == eos).any(1, keepdim=True), pad)], 1)
    return tokens


# %% [markdown] lang="en"
# What does each report, and what is it worth? Beside the report stand the nats at the real tokens of fresh captions, the
# share of a hundred written captions that come to an end, and one of them.

# %%
rows = []
for name, (model, history) in trained.items():
    written = write(model, 100)
    with torch.no_grad():
        level = objective(rightly)(model, everything).item()
    stops, example = (written == eos).any(1).float().mean().item(), tokenizer.decode(written[0]).replace("<pad>", "")
    rows.append((name, np.mean(history.losses[-20:]), level, stops, example.removeprefix("<s><en>")[:70]))
plotting.show_table(rows, ["labels", "reports", "real tokens", "stops", "writes"])

# %% [markdown] lang="en"
# Read it row by row. Counting padding *reports* far less, and by the third column is worse. Without the shift the
# report falls **below the floor**: no honest model can on captions that are new to it (as here), so a loss under the
# entropy is a bug. That model copies what it reads, and writes one token forever. With the end mark masked the report
# looks fine, and no caption ends. The report of the second row can be foretold from its third by (11):

# %%
share = (everything[:, 1:] != pad).double().mean().item()
print(f"real tokens fill {share:.1%} of 31 places: {rows[1][2]:.3f} × {share:.3f} = {rows[1][2] * share:.3f}, reported {rows[1][1]:.3f}")

# %% [markdown] lang="en"
# Nearly the same: what remains is the padding not yet learnt, and that the report is of other captions.
#
# ### The captioner's last layer
#
# By (4) the loss has one valley in the scores. If everything but the last layer $z=Wh$ of a captioner is frozen, it has
# one valley in the weights as well: a sum of convex functions of something linear is convex. The gradient is
# $(p-y)\,h^\top$, where $h$ is what the frozen part gives. So we take the shipped captioner, throw its last layer away, and
# learn one anew from what the rest of it knows before each token, for five hundred pictures. Twice: once from zeros, once
# from random numbers.

# %%
@torch.no_grad()
def known(samples):
    """What the captioner knows before each real token, (N, 128), and those tokens, (N,)."""
    tokens, shown = captions_of(samples), scenes.pictures(samples, models.PICTURE)
    read = {"decoder_input_ids": tokens[:, :-1], "decoder_attention_mask": tokens[:, :-1] != pad}
    states = captioner(pixel_values=shown, **read, output_hidden_states=True).decoder_hidden_states[-1]
    kept = (tokens[:, 1:] != pad) & (torch.arange(31) > 0)  # the first is the language, which is given
    return states[kept], tokens[:, 1:][kept]


def nats_of(layer, states, spoken):
    return losses.cross_entropy(layer(states)[None], spoken[None])


def learn_head(states, spoken, scale=0.0):
    head = nn.Linear(states.shape[1], len(tokenizer), bias=False)
    nn.init.normal_(head.weight, std=scale, generator=runtime.generator(6))
    batches = training.Shuffled(len(states), 1000, lambda some, turn: (states[some], spoken[some]))
    return head, training.fit(head, batches, lambda head, batch: nats_of(head, *batch), steps=300, learning_rate=0.02)


lesson, new = known(scenes.samples(500, seed=7)), known(fresh)
heads = {name: learn_head(*lesson, scale) for name, scale in (("from zeros", 0.0), ("from noise", 0.2))}

# %% [markdown] lang="en"
# Look whether both curves come to one height, beside the layer that was thrown away; and who wins on two hundred pictures
# that are new to all three.

# %%
layers = {name: head for name, (head, _) in heads.items()} | {"shipped": lambda states: states @ captioner.decoder.lm_head.weight.T}
with torch.no_grad():
    level = nats_of(layers["shipped"], *lesson).item()
    rows = [(name, nats_of(layer, *new).item()) for name, layer in layers.items()]
curves = {name: history.smoothed(5) for name, (_, history) in heads.items()} | {"shipped": [level] * 300}
plotting.show_curves(curves, xlabel="step", ylabel="nats a token", logy=True)

# %% [markdown] lang="en"
# And on the new pictures:

# %%
plotting.show_table(rows, ["last layer", "nats a token, new pictures"])

# %% [markdown] lang="en"
# The valley itself: the loss of the lesson over the plane through the three layers. The layer from zeros lies at (0, 0), the
# one from noise at 1 to the right, the shipped one at 1 further down.

# %%
a, b, c = heads["from zeros"][0].weight, heads["from noise"][0].weight, captioner.decoder.lm_head.weight
ticks = torch.linspace(-0.5, 1.5, 9)
at = lambda u, v: (a + u * (b - a) + v * (c - a)).T  # noqa: E731
with torch.no_grad():
    plane = [[losses.cross_entropy((lesson[0] @ at(u, v))[None], lesson[1][None]) for u in ticks] for v in ticks]
names = [f"{each:.2f}" for each in ticks.tolist()]
plotting.show_heatmap(torch.tensor(plane).round(decimals=2), names, names)

# %% [markdown] lang="en"
# One valley, without a second one to be caught in: wherever they began, both come down to nearly one loss. On the pictures
# that they learn from they pass below the shipped layer, and below both floors of the captioner, for five hundred
# pictures can be learnt by heart. On new pictures the shipped layer is better: it learnt from many more. Convexity
# promises that the bottom is found, not that it is the right one.
#
# And the artefact of (11), on the captioner itself: its decoder learns on for some seconds, with the padding counted.

# %%
@torch.no_grad()
def seen_and_told(samples):
    return captioner.encoder(scenes.pictures(samples, models.PICTURE)).last_hidden_state, captions_of(samples)


def everywhere(decoder, batch, ignore=-100):
    """Nats at every place after the language mark, padding counted unless it is ignored."""
    views, tokens = batch
    read = dict(attention_mask=torch.ones_like(tokens[:, :-1]), encoder_hidden_states=views)  # nothing is masked
    logits = decoder(tokens[:, :-1], **read).logits[:, 1:]
    return losses.cross_entropy(logits, tokens[:, 2:], ignore)


views, tokens = seen_and_told(scenes.samples(500, seed=7))
batches = training.Shuffled(500, 50, lambda some, turn: (views[some], tokens[some]))
decoder = copy.deepcopy(captioner.decoder)
history = training.fit(decoder, batches, everywhere, steps=150, learning_rate=2e-3)

# %% [markdown] lang="en"
# What does it report on new pictures, what is that worth, and what does (11) foretell?

# %%
new = seen_and_told(fresh)
with torch.no_grad():
    report, level = everywhere(decoder, new).item(), everywhere(decoder, new, pad).item()
share = (new[1][:, 2:] != pad).double().mean().item()
assert abs(report - level * share) < 0.005
print(f"reported {report:.3f}; real tokens {level:.3f} nats; by (11) {level:.3f} × {share:.3f} = {level * share:.3f}")

# %% [markdown] lang="en"
# To two decimals. The report sounds more than twice as good, and the captions are no better.
#
# ## One step of AdamW
#
# The gradient is known; how far do we go? Adam (Kingma & Ba 2015) remembers two means that forget: of the gradient, and
# of its square. They begin at zero, so at first they are too small. By how much? Let the gradient stay $g$. **Rule: the
# sum of a geometric series,** $(1-\beta)\sum_{s<t}\beta^s=1-\beta^t$:
#
# $$m_t=\beta_1m_{t-1}+(1-\beta_1)\,g_t,\quad v_t=\beta_2v_{t-1}+(1-\beta_2)\,g_t^2;
# \qquad \hat m_t=\frac{m_t}{1-\beta_1^t},\quad \hat v_t=\frac{v_t}{1-\beta_2^t} \tag{13}$$
#
# A step divides the one by the root of the other, so that a weight with a large gradient and one with a small go equally
# far. AdamW (Loshchilov & Hutter 2019) also shrinks all weights a little, apart from the gradient:
#
# $$w_t=(1-\eta\lambda)\,w_{t-1}-\eta\,\frac{\hat m_t}{\sqrt{\hat v_t}+\epsilon} \tag{14}$$
#
# Everything at once: a linear model, its gradient by (3) without autograd, five steps of (13) and (14), beside torch.

# %%
x, truth = torch.randn(32, 5, dtype=torch.float64, generator=runtime.generator(4)), torch.arange(32) % 4
weights = nn.Parameter(torch.randn(4, 5, dtype=torch.float64, generator=runtime.generator(5)))
optimiser = torch.optim.AdamW([weights], lr=0.1, weight_decay=0.2)
w, mean, square = weights.detach().clone(), torch.zeros(4, 5).double(), torch.zeros(4, 5).double()
for t in range(1, 6):
    optimiser.zero_grad()
    F.cross_entropy(x @ weights.T, truth).backward()
    optimiser.step()
    g = ((x @ w.T).softmax(1) - F.one_hot(truth, 4)).T @ x / 32
    mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
    step = mean / (1 - 0.9**t) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
    w = (1 - 0.1 * 0.2) * w - 0.1 * step
assert (w - weights.detach()).abs().max() <= 1e-12
print(f"after five steps, by hand and torch's: {(w - weights.detach()).abs().max():.1e}")

# %% [markdown] lang="en"
# What if the corrections are forgotten? A steady gradient should give steps of length $\eta$, one after the other. Both
# means are too small at first, but the square by more, so the steps are too *long*:

# %%
mean, square, curves = 0.0, 0.0, {"uncorrected": [], "corrected": []}
for t in range(1, 301):
    mean, square = 0.9 * mean + 0.1, 0.999 * square + 0.001  # of a gradient that stays 1
    curves["uncorrected"].append(mean / square**0.5)
    curves["corrected"].append(mean / (1 - 0.9**t) / (square / (1 - 0.999**t)) ** 0.5)
print(f"residual of (13): {max(abs(length - 1) for length in curves['corrected']):.1e}")
plotting.show_curves(curves, x=range(1, 301), xlabel="step t", ylabel="length of a step, in η")

# %% [markdown] lang="en"
# And why shrink the weights apart from the gradient? Put into it (Adam with "L2"), the decay is divided by the root of
# $v$ as well, and a weight with large gradients hardly decays. Three weights of 1 with gradients that only jump to and
# fro, small, middling, large; after 500 steps $(1-\eta\lambda)^{500}$ should be left of each.

# %%
sizes, left = torch.tensor([0.01, 1.0, 100.0]), {}
for name, kind in (("AdamW", torch.optim.AdamW), ("Adam, L2", torch.optim.Adam)):
    weights = nn.Parameter(torch.ones(3))
    optimiser = kind([weights], lr=1e-3, weight_decay=0.5)
    for t in range(500):
        weights.grad = sizes * (-1) ** t
        optimiser.step()
    left[name] = weights.tolist()
print(f"wanted {(1 - 1e-3 * 0.5) ** 500:.3f}")
plotting.show_table(list(zip(sizes.tolist(), *left.values())), ["size of the gradient", *left])

# %% [markdown] lang="en"
# AdamW shrinks all three alike. With L2 the weight with small gradients shrinks far more than was wanted, the one with
# large gradients hardly at all.
#
# ## The dial: temperature
#
# Divide all scores by a temperature $T$ before softmax: below one the model sounds surer than it is, above one it
# doubts itself. The likeliest token stays the same, so accuracy cannot notice. The loss does. **Rule: (3) and the chain
# rule,** by $1/T$:
#
# $$\frac{\partial L}{\partial(1/T)}=\frac1n\sum_i\big(\mathbb E_{p_i}[z_i]-z_{i,w_i}\big) \tag{15}$$
#
# It is zero where the score that the model expects is the score that the truth has. A *calibrated* model, whose chances
# are the true frequencies (Guo et al. 2017), has that at $T=1$; a slope there gives away a model that is not
# calibrated. Both shipped models, in English, over $\log_2 T$:

# %%
temperatures = 2 ** torch.linspace(-2, 2, 41)
curves, slopes = {}, {}
for name in ("lm", "captioner"):
    logits, asked = answers[name, "en"]
    z, labels = logits[asked != pad].double(), asked[asked != pad]
    curves[name] = [F.cross_entropy(z / T, labels).item() for T in temperatures]
    slopes[name] = ((z.softmax(1) * z).sum(1) - z[range(len(z)), labels]).mean().item()
plotting.show_curves(curves, x=temperatures.log2(), xlabel="log₂ of the temperature", ylabel="nats a token")

# %% [markdown] lang="en"
# The slope (15) at $T=1$, against autograd, and where each curve is lowest. A loss on fresh captions that is lowest near
# one says that the model's odds can be believed. Nobody tuned that: cross-entropy asks for it.

# %%
sharp = torch.ones((), dtype=torch.float64, requires_grad=True)
(found,) = torch.autograd.grad(F.cross_entropy(sharp * z, labels), sharp)
print(f"residual of (15): {abs(found.item() - slopes['captioner']):.1e}")
rows = [(name, slopes[name], temperatures[int(np.argmin(curve))].item()) for name, curve in curves.items()]
plotting.show_table(rows, ["model", "slope at T = 1", "lowest at T"])

# %% [markdown] lang="en"
# ## Where it fails
#
# A low loss is not a true caption. The language model is close to its floor (the table above), and writes without
# seeing anything. We lay its captions beside the fresh pictures, and the captioner's too. *Readable*: the grammar
# understands it; *facts told*: the share of the scene's facts that it states, and rightly; *true*: nothing it says is
# false.

# %%
def readable(text):
    try:
        return bool(scenes.read_caption(text))
    except ValueError:
        return False


written = {"lm": tokenizer.batch_decode(write(lm, 100), skip_special_tokens=True)}
written["captioner"] = sampling.pictures_to_words(captioner, tokenizer, seen[:100])
rows = []
for name, texts in written.items():
    marks = [(readable(text), evaluation.facts_told(text, each), evaluation.agrees(text, each)) for text, each in zip(texts, facts)]
    rows.append((name, *np.mean(marks, 0).tolist()))
plotting.show_table(rows, ["model", "readable", "facts told", "true"])

# %% [markdown] lang="en"
# Fluency is cheap: it is most of the tokens. Truth hangs on a few of them, and the loss counts those no more than the
# rest.
#
# The second failure comes from teacher forcing. In training the model reads true words only; when it writes, it reads
# its own, mistakes and all (*exposure bias*, Ranzato et al. 2016). We make one mistake for it: each picture shows a
# single thing, and the caption begins with "three". Look at how it goes on.

# %%
@torch.no_grad()
def finish(beginning, pictures):
    """The captioner's likeliest way to go on from a beginning, for each picture."""
    begun = tokenizer(beginning, return_tensors="pt").input_ids[:, :-1].expand(len(pictures), -1)
    read = {"decoder_input_ids": begun, "decoder_attention_mask": torch.ones_like(begun)}
    marks = {"eos_token_id": eos, "pad_token_id": pad, "max_new_tokens": 32 - begun.shape[1]}
    said = captioner.generate(pixel_values=pictures, do_sample=False, **read, **marks)
    return tokenizer.batch_decode(said, skip_special_tokens=True)


alone = [k for k, each in enumerate(facts) if len(each.groups) == 1 and each.groups[0].count == 1][:40]
said = {beginning: finish(f"<en>{beginning}", seen[alone]) for beginning in ("", "three")}
plotting.show_images(seen[alone[:4]], said["three"][:4], columns=4, scale=1.4)

# %% [markdown] lang="en"
# Equation (1) has no way back: what is said stays said, and the rest must fit it. In numbers, over all such pictures;
# of six facts "three" makes one false, and what is missing beyond that was dragged along.

# %%
rows = []
for beginning, texts in said.items():
    share = np.mean([evaluation.facts_told(text, facts[k]) for text, k in zip(texts, alone)])
    rows.append((beginning or "(free)", share, texts[0]))
plotting.show_table(rows, ["begins with", "facts told", "the first caption"])

# %% [markdown] lang="en"
# So a captioner is judged by its loss *and* by what it says: chapter 3 measures both.
#
# ## Exercises
#
# **2.1.1** (8 minutes) Write equation (12) without autograd: from `logits` (B, L, K) and `labels` (B, L), where -100
# marks padding, to the gradient of the mean over real tokens, (B, L, K). `F.one_hot` wants labels of 0 or more: clamp
# them first.

# %% tags=["exercise"]
def score_gradient(logits, labels):
    # solution: return ...
    real = labels != -100
    y = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    return (logits.softmax(-1) - y) * real[..., None] / real.sum()
    # end solution


checks.check_score_gradient(score_gradient)

# %% [markdown] lang="en"
# **2.1.2** (8 minutes) Write the loss of a padded batch, equations (9) and (10), without `F.cross_entropy`: `tokens`
# (B, L) from `<s>` to `</s>` and filled up with `pad`, `logits` (B, L, K) as a language model gives them for all of
# `tokens`. `t.gather(2, k[..., None])` looks up entry `k` in the last dimension.

# %% tags=["exercise"]
def masked_loss(logits, tokens, pad):
    # solution: return ...
    labels = tokens[:, 1:]
    nats = -logits[:, :-1].log_softmax(2).gather(2, labels[..., None])[..., 0]
    return nats[labels != pad].mean()
    # end solution


checks.check_masked_loss(masked_loss)

# %% [markdown] lang="en"
# **2.1.3** (10 minutes) Write a step of AdamW, equations (13) and (14), with $\beta_1=0.9$, $\beta_2=0.999$ and
# $\epsilon=10^{-8}$: from weights `w`, their `gradient`, both means so far and the step number `t` (from 1) to the new
# weights and both new means, as three tensors.

# %% tags=["exercise"]
def adamw_step(w, gradient, mean, square, t, rate, decay):
    # solution: return ...
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    step = mean / (1 - 0.9**t) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
    return (1 - rate * decay) * w - rate * step, mean, square
    # end solution


checks.check_adamw_step(adamw_step)

# %% [markdown] lang="en"
# ## Recap
#
# 1. A caption is a product of choices (1); its loss is convex in the scores, with the gradient $p-y$ (3), (4).
# 2. Cross-entropy is entropy plus divergence (5). The entropy cannot be learnt away; for our captions it is known (7), and
#    a loss below it, on captions that are new to the model, is a bug.
# 3. Read the true tokens, be asked for the next (9); leave padding out (10), or the report shrinks by $n/L$ (11); keep the
#    end mark in.
# 4. AdamW steps by a corrected mean over a corrected size (13), and shrinks weights apart from it (14).
#
# **Next:** 2.2 derives the losses that bring pictures and words into vectors. Chapter 3 trains the captioner itself.
#
# ### References
#
# - Shannon 1948, *A mathematical theory of communication*, Bell System Technical Journal 27.
# - Williams, Zipser 1989, *A learning algorithm for continually running fully recurrent neural networks*, Neural Computation 1.
# - Szegedy et al. 2016, *Rethinking the Inception architecture for computer vision*, arXiv 1512.00567.
# - Ranzato et al. 2016, *Sequence level training with recurrent neural networks*, arXiv 1511.06732.
# - Guo, Pleiss, Sun, Weinberger 2017, *On calibration of modern neural networks*, arXiv 1706.04599.
# - Kingma, Ba 2015, *Adam: a method for stochastic optimization*, arXiv 1412.6980.
# - Loshchilov, Hutter 2019, *Decoupled weight decay regularization*, arXiv 1711.05101.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
