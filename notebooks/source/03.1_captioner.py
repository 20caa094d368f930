# %% [markdown] lang="en"
# # 3.1 A captioner from two pretrained halves
#
# A model that describes pictures is rarely trained from nothing. One half that can see and one half that can write
# are taken ready made, and only what joins them is new. You do that here: data, labels, training with validation and
# early stopping, a test that is looked at once, saving, and loading in plain `transformers`. You see what
# pretraining is worth in labelled pictures, and compare ways to write. At the end stands the function behind `/describe`.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %% [markdown] lang="en"
# The imports. `adaptation` holds what this chapter reuses.

# %%
import json
import math
import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from aigc_course import (
    adaptation,
    checks,
    coco,
    evaluation,
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
# The shipped captioner has the same two halves. It learnt from many more pictures, eyes and all, and was also asked what
# is where in them (`data/models/captioner/README.md`). Four pictures that it has never seen, and what it says of them:

# %%
tokenizer, shipped = models.load("tokenizer"), models.load("captioner")
four = scenes.samples(4, "test", seed=61)
plotting.show_images(look := scenes.pictures(four, models.PICTURE), sampling.pictures_to_words(shipped, tokenizer, look), columns=4, scale=1.4)

# %% [markdown] lang="en"
# ## Two halves
#
# The eyes come from `clip`, which was trained to tell which caption belongs to which picture (2.2). It cuts a picture
# into 64 patches and answers with a vector for each, and one for the whole. The tongue is `lm`, a GPT-2 that has read
# captions and never seen a picture (2.1). The model named in many introductions, GPT-3.5, is closed: nobody outside
# can take its weights and train them, so an open model of the GPT family stands in for it, here as everywhere.

# %%
clip, lm = models.load("clip"), models.load("lm")
with torch.no_grad():
    print("the eyes:", tuple(clip.vision_model(look).last_hidden_state.shape), "(pictures, 1 + patches, width)")
begun = tokenizer("<en>", return_tensors="pt").input_ids[:, :-1]
marks = dict(attention_mask=torch.ones_like(begun), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
torch.manual_seed(0)
said = [lm.generate(begun, do_sample=True, max_length=32, **marks)[0] for _ in range(3)]
print("the tongue:", *tokenizer.batch_decode(said, skip_special_tokens=True), sep="\n  ")

# %% [markdown] lang="en"
# Fluent, and about nothing. To tell the tongue what the eyes see, each of its layers gets one more step, in which every
# word so far asks all patches: **cross-attention** (Vaswani et al. 2017). With $h$ the states of the words, $v$ those of
# the patches, and matrices $Q$, $K$, $V$ that are learnt:
#
# $$h \leftarrow h + \mathrm{softmax}\!\Big(\frac{(hQ)(vK)^\top}{\sqrt{d}}\Big)\,vV \tag{1}$$
#
# `VisionEncoderDecoderModel` is that joint. `models.captioner` builds one, copies both halves into it, and leaves (1) at
# its random start. How much of the whole is new?

# %%
student = models.captioner(clip, lm)
count = {"eyes": 0, "tongue": 0, "new, between them": 0}
for name, p in student.named_parameters():
    count["eyes" if name.startswith("encoder") else "new, between them" if "cross" in name else "tongue"] += p.numel()
plotting.show_table([(name, n, n / sum(count.values())) for name, n in count.items()], ["part", "numbers", "share"])

# %% [markdown] lang="en"
# ## Data
#
# Labelled pictures come in the layout of COCO: a file of captions, several for each picture, and a folder of images. The
# loader of 1.3 reads ours and the official one alike, so COCO could be put in the place of our drawings.

# %%
folder = runtime.data_dir() / "scenes"
labelled = coco.read_captions(folder / "annotations" / "captions_en.json", folder / "images")
plotting.show_images([coco.picture(one.path) for one in labelled[:4]], [one.captions[0] for one in labelled[:4]], columns=4, scale=1.4)

# %% [markdown] lang="en"
# Two hundred pictures are a sample to look at, too few to learn from. So we draw two thousand, hold 200 others back for
# validation and 200 for the test, and let the grammar tell each in five ways. Captions here are full: they state every
# fact, so that each can be marked.
#
# Who labels may choose what. Pictures of two kinds of thing are harder, and rare (three in ten); in the training set we
# make them every second one. Validation and test stay as the world is.

# %%
drawn = {split: scenes.samples(size, split, seed=65) for split, size in {"train": 3600, "validation": 200, "test": 200}.items()}
kinds = {n: [one for one in drawn["train"] if len(one.scene.facts.groups) == n][:1000] for n in (1, 2)}
drawn["train"] = [one for both in zip(kinds[1], kinds[2]) for one in both]
pictures = {split: scenes.pictures_as_bytes(some) for split, some in drawn.items()}
captions = {split: adaptation.told(some) for split, some in drawn.items()}
plotting.show_table([(split, len(pictures[split]), captions[split][0][0]) for split in drawn], ["split", "pictures", "the first caption"])

# %% [markdown] lang="en"
# ## Labels
#
# A batch of captions becomes one table of tokens: `<s>`, the language, the words, `</s>`, and padding up to the longest.
# The model reads a row without its last token and is asked for the same row without its first: at each place, for the
# *next* token. Two places are not asked: the language, which we choose, and padding, which nobody says.
#
# $$\mathcal L=-\frac1n\sum_{i:\,w_{i+1}\text{ is asked}}\ln p(w_{i+1}\mid w_0\dots w_i,\,\text{picture}) \tag{2}$$
#
# Our tokenizer has a padding token of its own. GPT-2's has none, and the usual way out, to pad with `</s>` and mask it,
# also masks the true end: such a model never learns to stop.

# %%
batch = tokenizer([captions["train"][0][0], captions["train"][1][0]], padding=True, return_tensors="pt").input_ids
pad = tokenizer.pad_token_id
labels = batch[:, 1:].clone()
labels[:, 0], labels[labels == pad] = -100, -100  # the language is given; padding is not asked
rows = [(tokenizer.decode(read), "" if ask == -100 else tokenizer.decode(ask)) for read, ask in zip(batch[0, :-1], labels[0])]
plotting.show_table(rows[:6], ["read", "asked for"])

# %% [markdown] lang="en"
# The library agrees: given the same labels, the model's own loss is (2), and so is the package's function.

# %%
few = scenes.pictures(drawn["train"][:2], models.PICTURE)
with torch.no_grad():
    read = dict(decoder_input_ids=batch[:, :-1], decoder_attention_mask=batch[:, :-1] != pad)
    answer = student(pixel_values=few, **read, labels=labels)
ours = adaptation.caption_loss(pad)(student, {"pictures": pictures["train"][:2], "tokens": batch})
by_hand = F.cross_entropy(answer.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
torch.testing.assert_close(torch.stack([ours, by_hand]), answer.loss.expand(2))
print(f"{ours.item():.4f} ours, {by_hand.item():.4f} torch, {answer.loss.item():.4f} transformers")

# %% [markdown] lang="en"
# ## Training, with an eye on the rest
#
# The eyes can already see, so we leave them alone (*freeze* them). Then they give the same answer for a picture in
# every pass, and looking once is enough: their answers are kept, and each step costs the tongue only.

# %%
student.encoder.requires_grad_(False)
with runtime.stopwatch() as watch:
    views = {split: adaptation.seen(student, some) for split, some in pictures.items()}
print(f"{tuple(views['train'].shape)} numbers in {watch.seconds:.0f} s; every pass from now on without the eyes")

# %% [markdown] lang="en"
# The loss on pictures that are not learnt from tells when to stop. `validate` measures it, always on the same captions;
# `Watch` does so after each epoch (or fifteen steps, where an epoch is shorter), keeps the best weights, and ends the
# run once nothing was gained `patience` times. That is *early stopping* (Prechelt 1998).

# %%
@torch.no_grad()
def validate(model):
    """Nats a token on the validation pictures."""
    return caption_loss(model.eval(), adaptation.Labelled(tokenizer, views["validation"], captions["validation"])(torch.arange(200), 0)).item()


class Watch:
    """After each epoch: is it better than ever?  If not for long, enough."""

    def __init__(self, model, epoch, patience=3):
        self.model, self.epoch, self.patience, self.seen, self.best = model, epoch, patience, [], {}

    def __call__(self, step):
        if step.number % self.epoch == 0:
            self.seen.append(validate(self.model))
            if self.seen[-1] == min(self.seen):
                self.best = {name: p.clone() for name, p in self.model.decoder.state_dict().items()}
            elif len(self.seen) - self.seen.index(min(self.seen)) > self.patience:
                raise StopIteration


caption_loss = adaptation.by_length(pad)
print(f"before the first step: {validate(student):.2f} nats a token")

# %% [markdown] lang="en"
# Before the first step the loss is that of a tongue that sees nothing. Now the run: batches of 64, the optimiser Muon
# (2.3), a rate that climbs, then falls along a cosine. Look at the training loss: from the first epoch to the
# second nearly half of it goes; the rest comes slower.
#
# Some things serve speed alone. GPT-2 draws new weights with a deviation of 0.02, right for its own width of 768; in a
# tongue 128 wide, $Q$, $K$ and $V$ of (1) then begin so faint that every patch is looked at alike. `awaken` draws them at
# $1/\sqrt{128}$. `by_length` reads the shorter half of a batch apart, with less padding. On a CPU,
# attention over so few patches and words is quicker written out than in PyTorch's fused kernel; and where the processor
# multiplies bfloat16 (4.2) faster, which `training_precision` tries, matrices are multiplied in that.

# %%
def learn(model, number, steps, batch=64, rate=6e-3):
    """Train the tongue on the first so many labelled pictures; the validation loss of each epoch is returned."""
    adaptation.awaken(model)
    batches = training.Shuffled(number, batch, adaptation.Labelled(tokenizer, views["train"][:number], captions["train"][:number]))
    keep = Watch(model, epoch=max(15, number // 64))
    dials = dict(optimiser=training.muon(model, rate), precision=runtime.training_precision(), on_step=keep)
    if runtime.device().type == "cpu":
        model.set_attn_implementation("eager")
    history = training.fit(model, batches, caption_loss, steps, **dials)
    model.decoder.load_state_dict(keep.best)
    return history, keep.seen


torch.manual_seed(0)
history, validation = learn(student, 2000, 260)
epochs = [history.losses[end - 31 : end] for end in range(31, len(history.losses) + 1, 31)]
curves = {"training": [sum(some) / 31 for some in epochs], "validation": validation}
plotting.show_curves(curves, x=range(1, len(epochs) + 1), xlabel="epoch", ylabel="nats a token")

# %% [markdown] lang="en"
# Does early stopping ever stop? With two thousand pictures hardly. With a hundred, even fewer steps see each picture
# many times over: the training loss goes on falling, while the loss on fresh pictures soon gains nothing more.

# %%
torch.manual_seed(0)
hasty = models.captioner(clip, lm)
hasty.encoder.requires_grad_(False)
history, validation = learn(hasty, 100, 150, batch=32)
training_loss = [sum(history.losses[end - 15 : end]) / 15 for end in range(15, len(history.losses) + 1, 15)]
curves, measured = {"training": training_loss, "validation": validation}, range(15, 15 * len(validation) + 1, 15)
plotting.show_curves(curves, x=measured, xlabel="step", ylabel="nats a token")

# %% [markdown] lang="en"
# ## The test, once
#
# The validation pictures have had a say in what we kept, so they flatter. The test pictures had none. The last row
# shows what the grammar itself reaches. Two of its figures no captioner can beat: the exact entropy under the loss, and
# the *ceiling* of the accuracy. Where several ways of telling go on alike, even a speaker who knows all can only guess
# the likeliest:
#
# $$\text{ceiling}=\frac{\sum_i \mathbb E\big[\max_w p(w\mid w_0\dots w_i,\,\text{scene})\big]}{\mathbb E[n]} \tag{3}$$

# %%
def row(name, model, language="en"):
    """Its figures on the test pictures, as one row."""
    found = evaluation.captioning(model, tokenizer, drawn["test"], language)
    measures = [found.nats, found.above.mean, found.accuracy, found.exact.mean, found.bleu, found.cider]
    return [name, *(f"{value:.3f}" if value < 1 else f"{value:.1f}" for value in measures)], found


columns = ["captioner", "nats a token", "above entropy", "token accuracy", "exact scene", "BLEU-4", "CIDEr-D"]
rows, found = {}, {}
for name, model in (("100 pictures", hasty), ("2,000 pictures", student), ("shipped", shipped)):
    rows[name], found[name] = row(name, model)
best = found["shipped"]
limit = ["the grammar itself", f"{best.floor:.3f}", "0", f"{best.ceiling:.3f}", "1", f"{best.grammar_bleu:.1f}", f"{best.grammar_cider:.1f}"]
plotting.show_table([*rows.values(), limit], columns)

# %% [markdown] lang="en"
# *Exact scene* is the column to believe: every fact told, and rightly. The others are mostly grammar, which the tongue
# knew before. BLEU and CIDEr count words in common with five true captions; a fresh caption of the grammar is the oracle
# there, and a captioner can pass it by always saying the likeliest thing. Our CIDEr must not stand beside COCO's: its
# weights come from the set of captions at hand.
#
# The intervals of the exact share, from 200 pictures each:

# %%
plotting.show_table([(name, str(each.exact), str(each.above)) for name, each in found.items()], ["captioner", "exact scene", "nats above entropy"])

# %% [markdown] lang="en"
# ## What pretraining is worth
#
# The same question with two dials: how many labelled pictures, and whether the halves are ready made or random. Every
# run takes 400 steps, with attention as GPT-2 draws it and pictures as the world is. That takes longer than a notebook should: `python scripts/bench_finetuning.py`
# measures it, with more than one seed, and leaves its figures in the repository; we draw them.

# %%
runs = json.loads((runtime.data_dir() / "finetuning.json").read_text(encoding="utf-8"))["captioner"]
curves = {f"{halves} halves": [sum(run["exact"]) / len(run["exact"]) for run in runs if run["halves"] == halves] for halves in ("pretrained", "random")}
sizes = [math.log10(run["pictures"]) for run in runs if run["halves"] == "random"]
plotting.show_curves(curves, x=sizes, xlabel="labelled pictures, as powers of ten", ylabel="exact scene")

# %% [markdown] lang="en"
# The same runs in numbers, each with its interval over seeds.

# %%
rows = [(run["halves"], run["pictures"], *(str(evaluation.interval(run[what])) for what in ("exact", "above"))) for run in runs]
plotting.show_table(rows, ["halves", "labelled pictures", "exact scene", "nats above entropy"])

# %% [markdown] lang="en"
# With random halves the same steps go into learning what a picture is and what a sentence is: hardly a scene is told
# rightly, however many labels there are. With pretrained ones a thousand labels do all that ten thousand do in the same
# steps: so few steps see each of ten thousand pictures two or three times. Only the chances of words, the last column,
# are better with more. A hundred are too few for both: the joint itself (1) has to be learnt from something.
#
# ## Where it fails
#
# The first mistakes of the 2,000-picture model on the test pictures. Mostly it is a name, or two of a kind told one by
# one; read the captions for what is right in them.

# %%
said = found["2,000 pictures"].said
wrong = [k for k, text in enumerate(said) if evaluation.facts_told(text, drawn["test"][k].scene) < 1][:4]
shown = scenes.pictures([drawn["test"][k] for k in wrong], models.PICTURE)
plotting.show_images(shown, [said[k] for k in wrong], columns=2, scale=2)

# %% [markdown] lang="en"
# Which facts are they? For each kind of fact, the share of pictures of which it is told rightly; a caption of which the
# grammar can make no sense tells nothing.

# %%
def facts_in(told):
    """The facts of a caption or of a scene by kind, or nothing."""
    try:
        facts = scenes.read_caption(told) if isinstance(told, str) else told.scene.facts
    except ValueError:
        return {}
    of_things = {what: [getattr(g, what) for g in facts.groups] for what in ("count", "size", "colour", "name")}
    return of_things | {what: getattr(facts, what) for what in ("relation", "background", "style")}


def facts_right(texts):
    pairs = [(facts_in(text), facts_in(one)) for text, one in zip(texts, drawn["test"])]
    return {what: sum(told.get(what, "nothing") == true[what] for told, true in pairs) / len(pairs) for what in pairs[0][1]}


shares = {name: facts_right(each.said) for name, each in found.items()}
plotting.show_heatmap(torch.tensor([list(each.values()) for each in shares.values()]), list(shares), list(shares["shipped"]))

# %% [markdown] lang="en"
# With enough pictures names are the hardest, and the place is nearly never wrong; after a hundred it often is.
#
# ## Ways to write
#
# The model gives a chance to every next token; someone has to choose. *Greedy* takes the likeliest. *Beam search* keeps
# several beginnings and ends with the likeliest whole caption. *Sampling* draws by chance, and a temperature below one
# makes the draw more careful. The same captioner, four ways:

# %%
def write(model, seen, language="en", **how):
    """Captions of pictures, written in some way."""
    begun = tokenizer(f"<{language}>", return_tensors="pt").input_ids[:, :-1].expand(len(seen), -1)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": pad, "max_new_tokens": 30}
    read = {"decoder_input_ids": begun, "decoder_attention_mask": torch.ones_like(begun)}
    return tokenizer.batch_decode(model.generate(pixel_values=seen, **read, **ends, **how), skip_special_tokens=True)


ways = {"greedy": dict(do_sample=False), "4 beams": dict(num_beams=4, do_sample=False), "sampled": dict(do_sample=True), "sampled, T = 0.5": dict(do_sample=True, temperature=0.5)}
some, rows = scenes.pictures(drawn["test"][:100], models.PICTURE), []
for name, how in ways.items():
    with runtime.stopwatch() as watch:
        texts = write(shipped, some, **how)
    exact = [evaluation.facts_told(text, one.scene) == 1 for text, one in zip(texts, drawn["test"])]
    rows.append((name, sum(exact) / 100, len({text.split()[0] for text in texts}), watch.seconds))
plotting.show_table(rows, ["way", "exact scene", "different first words", "seconds for 100"])

# %% [markdown] lang="en"
# Beams cost more and gain little or nothing here: when facts decide, the likeliest word is seldom a mistake that a
# longer view would mend. Sampling brings variety, and few errors more, if any. `/describe` will offer greedy, and
# four samples for those who want a choice. The language is one token at the start:

# %%
told = write(shipped, look, "zh", do_sample=False)
print(*(f"{k}: {text}" for k, text in enumerate(told, start=1)), sep="\n")
plotting.show_images(look, told, columns=4, scale=1.4)

# %% [markdown] lang="en"
# ## Saved, and loaded without the course
#
# The captioner is stock classes, so plain `transformers` loads it: no line of the package is needed to use it.

# %%
with tempfile.TemporaryDirectory() as place, models.storage.quiet():
    student.save_pretrained(place)
    tokenizer.save_pretrained(place)
    again, words = VisionEncoderDecoderModel.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    size = sum(file.stat().st_size for file in Path(place).iterdir())
same = sampling.pictures_to_words(again, words, look) == sampling.pictures_to_words(student, tokenizer, look)
print(f"{size / 2**20:.1f} MiB, the same captions: {same}")

# %% [markdown] lang="en"
# ## The same on real photographs
#
# With a GPU and COCO on disk the method stays. What changes are the halves, their tokenizer (with a padding token
# added) and the source of `pictures` and `captions` in the section *Data*; the columns that need the grammar fall away.
# Public halves are fetched by `models.load` only if you ask for it by name:
#
# ```python
# halves = models.load("clip", source="hub", download=True), models.load("lm", source="hub", download=True)
# labelled = coco.read_captions("annotations/captions_train2017.json", "train2017")
# ```
#
# A ready-made captioner in the same role is `models.load("captioner", source="hub", download=True)`. Its captions of
# photographs are judged by people or by n-grams, as nobody knows the scene; the column *exact scene* exists only here.
#
# ## Exercises
#
# **3.1.1** (6 minutes) Make the labels of equation (2) from `tokens` (B, L), which start with `<s>` and the language and are
# filled up with `pad`: (B, L - 1), the next token at each place, and -100 where nothing is asked. Leave `tokens` as they are.

# %% tags=["exercise"]
def make_labels(tokens, pad):
    # solution: return ...
    labels = tokens[:, 1:].clone()
    labels[:, 0] = -100
    labels[labels == pad] = -100
    return labels
    # end solution


checks.check_labels(make_labels)

# %% [markdown] lang="en"
# **3.1.2** (8 minutes) Early stopping: given the validation losses seen so far, say whether to stop: true
# once the last `patience` losses have all failed to beat the best one before them.

# %% tags=["exercise"]
def enough(seen, patience):
    # solution: return ...
    return len(seen) > patience and min(seen[-patience:]) >= min(seen[:-patience])
    # end solution


checks.check_enough(enough)

# %% [markdown] lang="en"
# **3.1.3** (8 minutes) Token accuracy: the share of asked places (labels that are not -100) at which the likeliest token is
# the true one. `logits` (B, L, V), `labels` (B, L); a number.

# %% tags=["exercise"]
def token_accuracy(logits, labels):
    # solution: return ...
    asked = labels != -100
    return (logits.argmax(-1) == labels)[asked].float().mean().item()
    # end solution


checks.check_token_accuracy(token_accuracy)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Eyes from a contrastive model, a tongue from a language model: only the attention (1) between them is new.
# 2. Ask for the next token, leave out padding and what was given (2); pad with a token of its own.
# 3. Frozen eyes look once; validation decides when to stop; the test is looked at once.
# 4. Loss and accuracy have limits that the grammar gives exactly (3); for n-grams it is only a yardstick. Whether a
#    caption is *true* is another question.
#
# **Next:** 3.2 changes a model by a small part of its numbers.
#
# ### References
#
# - Vaswani et al. 2017, *Attention is all you need*, arXiv 1706.03762.
# - Rothe, Narayan, Severyn 2020, *Leveraging pre-trained checkpoints for sequence generation tasks*, arXiv 1907.12461.
# - Prechelt 1998, *Early stopping, but when?*, in Neural Networks: Tricks of the Trade.
# - Vinyals et al. 2015, *Show and tell: a neural image caption generator*, arXiv 1411.4555.
# - Papineni et al. 2002, *BLEU*, ACL; Vedantam et al. 2015, *CIDEr*, arXiv 1411.5726.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
