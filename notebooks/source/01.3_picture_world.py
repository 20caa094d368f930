# %% [markdown] lang="en"
# # 1.3 The picture world
#
# To say how good a picture is, one must know what it should show. This course draws its own pictures, so the truth
# is known to the pixel. Here we meet that world: scenes, captions in two languages, the splits, the judge and the
# judge's own error, and the file format in which such data travels.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from aigc_course import checks, coco, evaluation, plotting, runtime, scenes

print(runtime.summary())

# %% [markdown] lang="en"
# ## A scene and its picture
#
# A scene is a few facts. The last two numbers of a thing are its centre: x to the right, y down, each from 0 to 1. Look
# at what the facts fix, and at what only the seed of the drawing changes.

# %%
scene = scenes.Scene((scenes.Thing("cat", "yellow", "large", 0.28, 0.6), scenes.Thing("tree", "green", "large", 0.74, 0.6)), "meadow", "flat")
plotting.show_images(scenes.pictures([scene] * 4, seeds=[1, 2, 3, 4]), [f"seed {k}" for k in (1, 2, 3, 4)], alt="One scene, a yellow cat left of a green tree, drawn with four seeds")

# %% [markdown] lang="en"
# Words and places stay; shades, shapes and the lie of the land change. Now the truth that a photograph does not
# bring with it: for each thing its box (left, top, width, height) and its mask.

# %%
masks = torch.from_numpy(np.stack(scenes.masks(scene, seed=1))).float()[:, None].expand(-1, 3, -1, -1) * 2 - 1
print("boxes:", scenes.boxes(scene, seed=1))
plotting.show_images(masks, ["mask of the cat", "mask of the tree"])

# %% [markdown] lang="en"
# White pixels show the thing. Every thing once, all in one place and style:

# %%
things = [scenes.Scene((scenes.Thing(name, list(scenes.COLOURS)[k % 8]),), "snow") for k, name in enumerate(scenes.THINGS)]
plotting.show_images(scenes.pictures(things, 64), list(scenes.THINGS), columns=8)

# %% [markdown] lang="en"
# Sixteen things, the colours in turn. One boat in every place, and then in every style:

# %%
boat = (scenes.Thing("boat", "orange"),)
places = [scenes.Scene(boat, place) for place in scenes.BACKGROUNDS]
manners = [scenes.Scene(boat, "sea", style) for style in scenes.STYLES]
plotting.show_images(scenes.pictures(places + manners, 96), [*scenes.BACKGROUNDS, *scenes.STYLES], columns=7)

# %% [markdown] lang="en"
# The thing stays while its place and the hand change. That independence is what later scores rely on.
#
# ## Captions from one grammar
#
# The same facts can be told in many ways. Look for what the captions share.

# %%
rng = random.Random(0)
plotting.show_table([(language, scenes.caption(scene, rng, language)) for language in scenes.LANGUAGES for _ in range(3)], ["language", "caption"])

# %% [markdown] lang="en"
# As the grammar is ours, the chance $p(c \mid s)$ of each caption $c$ of a scene $s$ is known, and with it the entropy
#
# $$H(c \mid s) = -\sum_c p(c \mid s)\,\ln p(c \mid s) \tag{1}$$
#
# in nats. No captioner can have a lower cross-entropy on this scene, not even a perfect one.

# %%
for language in scenes.LANGUAGES:
    told = scenes.paraphrases(scene, language)
    print(language, len(told), "captions, their chances sum to", round(sum(told.values()), 9), "entropy", round(scenes.entropy(scene, language), 3), "nats")

# %% [markdown] lang="en"
# A language model that sees no picture must guess the facts $f$ as well. Its surprise at a caption is
#
# $$-\ln p(c) = -\ln p(f) - \ln p(c \mid f) \tag{2}$$

# %%
text = scenes.caption(scene, random.Random(1))
print(text, "| p(facts) =", f"{scenes.probability(scene.facts):.2e}", "| surprise =", f"{scenes.surprise(scene.facts, text):.2f} nats")

# %% [markdown] lang="en"
# The way back, from caption to facts, must lose nothing. We read every caption of this scene again.

# %%
for language in scenes.LANGUAGES:
    assert all(scenes.read_caption(text) == scene.facts for text in scenes.paraphrases(scene, language))
print(scenes.read_caption("一只黄色的猫在一棵绿色的树的左边"))

# %% [markdown] lang="en"
# What a caption leaves open comes back as `None`.
#
# ## Splits by rule
#
# A scene's split follows from its facts alone, so no caption is in two splits. Some *compositions* never occur in
# training though each of their words does: a model that only remembers must fail on them. Dark squares are held out.

# %%
colours = list(scenes.COLOURS)
by_colour = [[(name, c) in scenes.unseen(scenes.Scene((scenes.Thing(name, c),))) for c in colours] for name in scenes.THINGS]
plotting.show_heatmap(np.array(by_colour, float), list(scenes.THINGS), colours, alt="Thing by colour: each thing misses one colour, 1 is held out")

# %% [markdown] lang="en"
# Each thing misses one colour. The same for styles:

# %%
by_style = [[(name, s) in scenes.unseen(scenes.Scene((scenes.Thing(name, "red"),), style=s)) for s in scenes.STYLES] for name in scenes.THINGS]
plotting.show_heatmap(np.array(by_style, float), list(scenes.THINGS), list(scenes.STYLES), alt="Thing by style: every second thing misses one style, 1 is held out")

# %% [markdown] lang="en"
# Every second thing misses one style. Some pairs of things never meet, either.
#
# ## The judge, and its own error
#
# A small network, the parser, reads pictures back into facts. Before any score that it gives, we print how often it
# misreads a hundred fresh drawings, whose truth we know.

# %%
parser = evaluation.load_parser()
plotting.show_table([(name, share) for name, share in evaluation.own_error(parser, 100).items()], ["question", "share misread"])

# %% [markdown] lang="en"
# None of a hundred does not mean never: with 0 of 100 the true share may still be about 3 %, and a difference of scores
# below that may be the judge's own. Where does it err? We look for drawings that it misreads, among several of one
# kind.

# %%
drawn = scenes.samples(400, "test", seed=5, task="count")
seen = evaluation.score(parser, scenes.pictures(drawn), drawn)
wrong = [k for k, exact in enumerate(seen["exact"].tolist()) if not exact]
print(len(wrong), "of", len(drawn), "misread")
shown = (wrong or [0])[:4]
plotting.show_images(scenes.pictures([drawn[k] for k in shown]), [scenes.caption(drawn[k].scene, random.Random(0)) for k in shown], columns=4, scale=1.4)

# %% [markdown] lang="en"
# The titles are the truth. What the parser answered for the same pictures:

# %%
for reading in parser.read(scenes.pictures([drawn[k] for k in shown])):
    print([" ".join(thing.kind) for thing in reading.things], reading.background, reading.style)

# %% [markdown] lang="en"
# It counts rightly here, and takes one small thing for another.
#
# ## The COCO format
#
# Captioned pictures travel in COCO's JSON layout. One function reads our set and anyone's.

# %%
folder = runtime.data_dir() / "scenes"
ours = coco.read_captions(folder / "annotations" / "captions_en.json", folder / "images")
plotting.show_table([(name, value) for name, value in coco.statistics(ours).items()], ["our set", "value"])

# %% [markdown] lang="en"
# The next file is written by hand in the official layout: keys we do not use, captions in any order.

# %%
images = [{"id": 7, "file_name": "a.jpg", "height": 480, "width": 640, "license": 4, "extra": True}, {"id": 3, "file_name": "b.jpg", "height": 0, "width": 0}]
notes = [{"id": 1, "image_id": 3, "caption": "Two dogs asleep. "}, {"id": 2, "image_id": 7, "caption": "A bus."}, {"id": 3, "image_id": 3, "caption": "Dogs on a sofa."}]
file = Path(tempfile.mkdtemp()) / "captions.json"
file.write_text(json.dumps({"info": {}, "images": images, "annotations": notes}), encoding="utf-8")
for captioned in coco.read_captions(file):
    print(captioned)

# %% [markdown] lang="en"
# Pictures keep the file's order, and an unknown size is `None`. Broken files are refused whole, with a sentence.

# %%
broken = [{"images": images}, {"images": images, "annotations": [{"image_id": 3}]}, {"images": images, "annotations": [{"image_id": 9, "caption": "?"}]}]
for content in broken:
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        coco.read_captions(file)
    except ValueError as error:
        print(str(error).replace(str(file), file.name))

# %% [markdown] lang="en"
# ### How much do captions say?
#
# COCO's captions were written by people, five for each picture (Chen et al. 2015); ours come from a grammar. We set
# the words of a few real captions beside as many of ours. Words with shares $p_w$ have the unigram entropy
#
# $$H = -\sum_w p_w \ln p_w \tag{3}$$

# %%
real = json.loads((runtime.data_dir() / "coco" / "words_val2017.json").read_text(encoding="utf-8"))
told = random.Random(0).sample([text for captioned in ours for text in captioned.captions], real["captions"])
bags = {"COCO": Counter(real["words"]), "ours": Counter(word for text in told for word in evaluation.words(text))}
rows = [(name, bag.total() / len(told), len(bag), stats.entropy(list(bag.values()))) for name, bag in bags.items()]
plotting.show_table(rows, [f"{len(told)} captions", "words a caption", "different words", "nats a word"])

# %% [markdown] lang="en"
# The captions are about as long, but people use several times the words. How often the commonest words occur:

# %%
shares = {name: [n / bag.total() for _, n in bag.most_common()] for name, bag in bags.items()}
plotting.show_curves(shares, xlabel="word, by rank", ylabel="share of all words", logy=True)

# %% [markdown] lang="en"
# COCO's curve has a long tail of words that occur once or twice; ours stops where our vocabulary does. A small model can
# learn our language completely, while people's words have no such end: that is why this course has its own.

# %% [markdown] lang="en"
# For ours we know more: the exact surprise, equation (2), averaged over fresh scenes, beside the unigram figure.

# %%
fresh = [item.scene.facts for item in scenes.samples(300)]
full = [scenes.caption(facts, rng) for facts in fresh]
exact = np.mean([scenes.surprise(facts, text) for facts, text in zip(fresh, full, strict=True)])
words = Counter(word for text in full for word in evaluation.words(text))
print(f"exact {exact:.1f} nats a caption; unigram {stats.entropy(list(words.values())) * words.total() / len(full):.1f}")

# %% [markdown] lang="en"
# The unigram figure is higher: it guesses each word alone, while grammar makes many words follow from those before.
#
# ## Exercises
#
# **1.3.1** (3 minutes) Write the scene of *a small yellow star above a large blue boat at night*, drawn in ink.

# %% tags=["exercise"]
my_scene = scenes.Scene((scenes.Thing("star", "yellow", "small", 0.5, 0.2), scenes.Thing("boat", "blue", "large", 0.5, 0.7)), "night", "ink")  # solution
checks.check_scene(my_scene)

# %% [markdown] lang="en"
# **1.3.2** (6 minutes) From a mask, bool (height, width), to COCO's box: left, top, width, height.

# %% tags=["exercise"]
def box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1  # solution


checks.check_box(box)

# %% [markdown] lang="en"
# **1.3.3** (8 minutes) Write equation (3) for a `Counter` of words, in nats.

# %% tags=["exercise"]
def entropy(counts):
    p = np.array(list(counts.values())) / sum(counts.values())
    return -(p * np.log(p)).sum()  # solution


checks.check_entropy(entropy)

# %% [markdown] lang="en"
# ## Recap
#
# 1. A scene is facts; its picture, boxes and masks follow from them and a seed.
# 2. One grammar tells the facts in two languages, and gives each caption's exact probability.
# 3. Splits follow a rule; held-out compositions ask whether a model combines or only remembers.
# 4. The judge errs too: print its own error before its scores.
#
# **Next:** 2.1 derives the loss of a captioner, and uses the exact entropy as its floor.
#
# ### References
#
# - Lin et al. 2014, *Microsoft COCO: common objects in context*, arXiv 1405.0312.
# - Chen et al. 2015, *Microsoft COCO captions: data collection and evaluation server*, arXiv 1504.00325.
# - Okawa et al. 2023, *Compositional abilities emerge multiplicatively*, arXiv 2310.09336.
# - Zhou, Wang, Krähenbühl 2019, *Objects as points*, arXiv 1904.07850 (the parser's way to find things).
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
