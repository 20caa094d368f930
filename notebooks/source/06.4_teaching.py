# %% [markdown] lang="en"
# # 6.4 Teaching and entertainment
#
# A model that draws from words can teach words; a judge that reads pictures can mark them. This notebook makes four small things with both: a deck
# of picture-word cards in two languages, a laboratory whose dials are the model's own, a lesson that marks itself fact by fact, and a character that stays itself in
# twelve scenes. Each is measured by somebody who did not make it, and each fails somewhere in plain sight.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import random
import tempfile
from pathlib import Path

import torch

from aigc_course import checks, evaluation, plotting, runtime, sampling, scenes
from aigc_course.applications import card_page, card_sheet, cards, character, experiments, hands_on, lesson, video

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# `experiments.Cast` holds the shipped models and loads each when it is first asked for; `"judge"` is the parser, which reads pictures and draws none. A card needs a picture that
# shows *exactly* its words: a learner who is shown two cats over the word *cat* learns something wrong. So each card is drawn, read by the judge, and drawn again where it is read otherwise.

# %%
cast = experiments.Cast()
deck = cards.make_deck(cast["text-to-image"], cast["judge"], cards.vocabulary(18), seed=4)
titles = [cards.words_of(card.group) for card in deck.cards]
plotting.show_images([card.picture for card in deck.cards], titles, columns=6, scale=0.75)

# %% [markdown] lang="en"
# ## A deck of cards
#
# The judge has passed every card, and yet look at the purple tree: something like a second one stands below it, and the
# judge counts one. Now look at whether any card needs a second try, and at the control: the same pictures, held against
# the words of another card.

# %%
held = torch.from_numpy(plotting.to_array([card.picture for card in deck.cards])).movedim(3, 1) / 127.5 - 1
others = [scenes.Facts((card.group,), None, None, None) for card in deck.cards[1:] + deck.cards[:1]]
swapped = cards.shows(cast["judge"], held, others)
rows = [["right at the first try", evaluation.interval(deck.first)], ["kept", len(deck.cards)]]
plotting.show_table([*rows, ["read as another card", evaluation.interval(swapped)]], ["cards", "share or number"])

# %% [markdown] lang="en"
# The kept cards are right *by the parser*, because the parser chose them: asking it again would prove nothing. So another reader is asked, one that had no say: the captioner of
# [3.1](03.1_captioner.ipynb). We count its captions that tell the number, the colour and the thing.

# %%
captions = sampling.pictures_to_words(cast["captioner"], cast["tokenizer"], held)
agrees = [cards.tells(said, card.group) for said, card in zip(captions, deck.cards)]
print("the captioner reads a kept card as told:", evaluation.interval(agrees))

# %% [markdown] lang="en"
# ### Where it fails
#
# What the eye hardly finds, the model draws badly: four small white things in the snow, in dots of paint. Eight such
# cards, one try each. First those that were refused, with what was asked for and what the judge saw; then some that
# were kept. Look at the shapes of these as well: a judge asks for number, colour and name, not for good shapes, so a
# rough card is kept.

# %%
white = [scenes.Facts((scenes.Group(4, "small", "white", name),), None, "snow", "points") for name in list(scenes.THINGS)[:8]]
hard = cards.make_deck(cast["text-to-image"], cast["judge"], white, tries=1, seed=2)
print(f"refused: {len(hard.refused)} of {len(white)}")
refused = [(one.picture, f"{cards.words_of(one.group)}? {one.seen}") for one in hard.refused]
kept = [(one.picture, f"{cards.words_of(one.group)}: kept") for one in hard.cards]
pictures, titles = zip(*(refused + kept)[:6])
plotting.show_images(pictures, titles, columns=6, scale=0.75)

# %% [markdown] lang="en"
# This world has sixteen things. A deck about anything else needs another model, and a judge that knows it; without a judge, a person has to look at each card.
#
# ### On paper and on screen
#
# The same deck as A4 sheets (`to_pdf`: fronts in English, backs in Chinese with how they are said, marks where to cut) and as one page for a browser (`to_html`: a card is a button, so Tab, Space and Enter turn it,
# and a screen reader reads the side that is up). Neither needs anything else: the few Chinese letters travel inside. Put the path of a folder of yours in place of the temporary one to keep them.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "deck.html").write_text(card_page.to_html(deck), encoding="utf-8")
card_sheet.to_pdf(deck, folder / "deck.pdf")
for file in sorted(folder.iterdir()):
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")
print(*[f"{cards.words_of(c.group)} · {cards.words_of(c.group, 'zh')} · {cards.how_said(c.group)}" for c in deck.cards[:4]], sep="\n")

# %% [markdown] lang="en"
# A back must lie behind its front when the sheet comes out of the printer turned on its long edge; where that is, is exercise 6.4.1. Words and pictures are CC BY 4.0; the letters are a part of Noto Sans CJK
# (SIL Open Font License, `data/fonts`).
#
# ## Virtual experiments
#
# An experiment turns one dial and leaves all else alone. Run the next cell and turn one: *guidance* $w$ and *steps* of [2.4](02.4_guidance_and_sampling.ipynb), the *noise* that a drawing is sent through, the
# *temperature* of the captioner. A value counts when your hand rests; a newer value stops the experiment at work.

# %%
hands_on.Laboratory(cast)

# %% [markdown] lang="en"
# Below, every dial is turned once for all, on six scenes, and the judge counts. First **guidance**. Look at both ends.

# %%
about = experiments.subjects(6)
guidance = list(experiments.sweep(cast, "guidance", about))
experiments.figure(guidance)

# %% [markdown] lang="en"
# At $w=0$ no word is heard; far up, contrast grows, and the judge may read pictures worse again. Now **steps**, from
# one to sixteen.

# %%
steps = list(experiments.sweep(cast, "steps", about))
experiments.figure(steps)

# %% [markdown] lang="en"
# One step is a guess at the mean of all pictures that fit; a few are nearly as good as many. Next, **noise**: a drawing goes a share of the way to pure noise, and the model walks it back *without a word*. How much
# of the drawing survives?

# %%
noise = list(experiments.sweep(cast, "noise", about))
experiments.figure(noise, which=2)

# %% [markdown] lang="en"
# A little noise takes nothing but edges; at the far end another scene comes back, made up by the model. In between is where variations, img2img and style transfer live ([5.3](05.3_style_by_diffusion.ipynb)).
#
# Last, **temperature** $T$. A speaker that has scores $s_i$ for its next token draws it with the chance
#
# $$p_i = \frac{e^{s_i/T}}{\sum_j e^{s_j/T}} \tag{1}$$
#
# so that $T\to 0$ takes the likeliest each time, and a large $T$ makes all tokens alike. One picture, five
# temperatures; � is a byte that ends up as no letter, because tokens are bytes, or several in a row:

# %%
speech = list(experiments.sweep(cast, "temperature", about))
plotting.show_table([[f"{one.value:g}", one.words[1]] for one in speech], ["temperature", "what the captioner says of the same picture"])

# %% [markdown] lang="en"
# All four dials side by side: the share that the judge finds right at each of five values, from the lowest to the highest.

# %%
dials = {one[0].dial: [outcome.share.mean for outcome in one] for one in (guidance, steps, noise, speech)}
assert dials["noise"][0] > dials["noise"][-1] and dials["temperature"][0] > dials["temperature"][-1]
plotting.show_heatmap(torch.tensor(list(dials.values())), list(dials), ["lowest", "low", "middle", "high", "highest"])

# %% [markdown] lang="en"
# Two dials have a best value inside, or a plateau; two only destroy. Temperature takes little up to 1, and everything from 3 on. Six scenes are few: the bench (`scripts/apply_teaching.py`) takes more, and prints intervals.
#
# ## A lesson that marks itself
#
# The learner is asked to have something drawn. The judge reads the picture, and each fact of the question gets a mark; a wrong fact gets a sentence. `mark` compares facts with facts, so it does not
# care whether they come from a picture, a caption or a known scene. Look at whose fault the sentence says it is.

# %%
asked = scenes.read_caption("three red cats at sea")
print(lesson.question(asked))
marked = lesson.draw_answer(cast["text-to-image"], cast["judge"], asked, "two red cats on the beach", seed=3)
print(marked.points, *marked.sentences, *marked.notes, sep="\n· ")
plotting.show_images([marked.picture], ["two red cats on the beach"])

# %% [markdown] lang="en"
# A slip of the learner's words, as here, and a slip of the model are told apart, because the words are marked as well:
# by the grammar, before anything is drawn. *Beach* is no word of this world; the note offers the nearest spelling,
# which is no help here, and if the place is right all the same, that was luck.
#
# The other way round, a picture is shown and the learner tells it, in English or Chinese:

# %%
(seen,) = scenes.samples(1, "test", seed=9, task="pair")
picture = scenes.draw(seen.scene, seed=seen.seed)
for words in (scenes.caption(seen.scene, random.Random(0)), scenes.caption(lesson.slipped(seen.scene.facts, random.Random(4)), random.Random(0), "zh")):
    print(words, *lesson.caption_answer(picture, seen.scene, words).sentences, sep="\n· ")
plotting.show_images([picture], ["tell me"])

# %% [markdown] lang="en"
# Both as controls; run the cell to take the lesson yourself.

# %%
hands_on.Classroom(cast)

# %% [markdown] lang="en"
# ### Are the marks right?
#
# A mark that is wrong teaches something wrong. So we take drawings whose truth we know, and questions in which some facts were exchanged; the wrong facts are known, and the marks are held against them:
#
# $$\text{precision} = \frac{\text{marked and wrong}}{\text{marked}}, \qquad \text{recall} = \frac{\text{marked and wrong}}{\text{wrong}} \tag{2}$$
#
# The control reads *another* picture than the one in question: it marks without having looked.

# %%
drawn, questions = lesson.exam(90)
true, pictures = lesson.true_marks(drawn, questions), scenes.pictures(drawn)
rows = []
for name, shown in {"the parser": pictures, "control: another picture": pictures.roll(1, 0)}.items():
    given = lesson.marks_of_pictures(cast["judge"], shown, questions)
    found = lesson.agreement(given, true)
    rows.append([name, found.wrong, found.precision, found.recall])
plotting.show_table(rows, ["who marks", "wrong facts", "precision", "recall"])

# %% [markdown] lang="en"
# The control's precision is about the share of facts that are wrong anyway: who accuses at random is right that often.
#
# ### Where it fails
#
# The reader of words knows one small grammar. A child who writes these has said something true, and gets a refusal or a mark that it does not deserve.

# %%
for words in ("a crimson kitty by the shore", "the cat is red", "red cats, three of them, at sea"):
    try:
        said = lesson.caption_answer(picture, asked, words).sentences
    except ValueError as error:
        said = [f"refused: {error}"]
    print(words, *said, sep="\n· ")

# %% [markdown] lang="en"
# The parser errs as well, once a picture is hard to see. The same drawings as from a thumbnail: sixteen pixels are made one, and that is enlarged again. Shown are some that it then marked otherwise than the truth does.

# %%
unclear = sampling.lanczos(torch.nn.functional.avg_pool2d(pictures, 4))
given = lesson.marks_of_pictures(cast["judge"], unclear, questions)
missed = [k for k in range(len(drawn)) if {m.key: m.verdict for m in given[k]} != {m.key: m.verdict for m in true[k]}]
print(f"{len(missed)} of {len(drawn)} drawings were marked otherwise; the judge says of the first three:")
print(*[mark.sentence for k in missed[:3] for mark in given[k] if mark not in true[k]], sep="\n")
both = torch.stack([pictures[missed], unclear[missed]], 1).flatten(0, 1)[:6]
plotting.show_images(both, ["drawn", "what the judge saw"] * (len(both) // 2), columns=6)

# %% [markdown] lang="en"
# ## A virtual character
#
# A character is somebody whom you know again. Ours is the robot of [3.2](03.2_lora.ipynb): the base model has never seen one, and the LoRA `data/models/lora-robot` adds it. `character.poses()` are
# twelve scenes, every place of the world twice, with a spot where it shall stand. A blue square is drawn on the spot by rule, partly forgotten in noise, and drawn again with the robot's words. Look at whether it is the same one everywhere.

# %%
where = character.poses()
with character.taught(cast["text-to-image"]) as pipe:
    robi = character.posed(pipe, where, seed=1)
    above = character.posed(pipe, [character.hopping(one) for one in where], seed=1)
plotting.show_images(robi, [one.background for one in where], columns=6, scale=0.75)

# %% [markdown] lang="en"
# By eye it is one robot, and a rough one: the body and its colours mostly stay; eyes, arms and legs come and go.
#
# Who says that it is the robot? The judge of newcomers, which was taught *drawn* robots and never saw a painted one. Beside it, the same sketches without the LoRA, and the ceiling: robots drawn by rule.

# %%
newcomers = evaluation.load_newcomers()
sets = {"with the LoRA": robi, "control: without it": character.posed(cast["text-to-image"], where, seed=1), "ceiling: drawn by rule": scenes.new_pictures(where, "robot")}
rows = []
for name, pictures in sets.items():
    kept = character.judged(newcomers, cast["judge"], pictures, where)
    rows.append([name, *map(evaluation.interval, (kept.identity, kept.place, kept.spot))])
plotting.show_table(rows, ["twelve scenes", "is the robot", "place as told", "stands where told"])

# %% [markdown] lang="en"
# **Animated.** In each scene the square of the sketch stands, then hops, and the robot is drawn over it: twenty-four
# pictures, one after another, as a GIF. `to_gif` gives all frames one palette, or the colours would flicker. The figure
# shows three of the twelve scenes; look at how much of the hop is left.

# %%
frames = torch.stack([robi, above], 1).flatten(0, 1)
(folder / "robi.gif").write_bytes(video.to_gif(frames, fps=3, colours=128, side=192))
print(f"robi.gif: {len(frames)} pictures, {(folder / 'robi.gif').stat().st_size / 1000:.0f} kB")
plotting.show_strip(frames[6:12], ["told to stand", "told to hop"] * 3, scale=0.75)

# %% [markdown] lang="en"
# The sketch hops; the redrawn robot hardly does: so much of the sketch was forgotten in noise.
#
# **Introduced.** The captioner looks at each picture. Of what it says we keep size and place, and put the name that the
# character has; the last column is what it really said. A caption that cannot be read introduces nobody.

# %%
rows = []
for language in scenes.LANGUAGES:
    met = character.introductions(cast["captioner"], cast["tokenizer"], robi, language)
    print(f"{language}: place named rightly {evaluation.interval(character.places_told([said for _, said in met], where))}")
    rows += [[told or "– (no readable caption)", said] for told, said in met[:3]]
plotting.show_table(rows, ["introduction", "what the captioner said"])

# %% [markdown] lang="en"
# ### Where it fails
#
# The last column is the failure. The captioner has no word for a robot, so it names whatever of its sixteen things comes nearest, now this, now that. It sees *where* rightly and *who* wrongly, and it
# cannot say that it does not know. A character needs every model around it to have met it: to draw it, a LoRA was
# enough; to be told about, the captioner would need one as well. Counted here is what it says in Chinese.

# %%
names = [scenes.read_caption(said).groups[0].name if told else "(no readable caption)" for told, said in met]
counted = sorted({name: names.count(name) for name in names}.items(), key=lambda one: -one[1])
plotting.show_table([list(one) for one in counted], ["what the captioner calls the robot", "times of 12"])

# %% [markdown] lang="en"
# ## Exercises
#
# **6.4.1** (6 minutes) **The back of a card.** Cards are printed row by row, `columns` in each, numbered from 0. The sheet is turned on its long edge, so left becomes right. At which place of the second page must the back of the card at `place` stand?

# %% tags=["exercise"]
def back_place(place, columns):
    row = place // columns  # solution
    return row * columns + columns - 1 - place % columns  # solution


checks.check_back_place(back_place)

# %% [markdown] lang="en"
# **6.4.2** (8 minutes) **Mark the marks**, equation (2). Both lists say of each fact yes or no: was it `marked`, is it `wrong`? Return precision and recall. Where nothing is marked nobody is accused, and precision is 1; where nothing is wrong, recall is 1.

# %% tags=["exercise"]
def precision_recall(marked, wrong):
    # solution: return ...
    hits = sum(m and w for m, w in zip(marked, wrong))
    precision = hits / sum(marked) if any(marked) else 1.0
    return precision, hits / sum(wrong) if any(wrong) else 1.0
    # end solution


checks.check_precision_recall(precision_recall)

# %% [markdown] lang="en"
# **6.4.3** (6 minutes) **Temperature**, equation (1). Scores of the next token are given, (B, V). Return the chances; at `temperature` 0 the likeliest token of each row has all of it.

# %% tags=["exercise"]
def chances(logits, temperature):
    # solution: return ...
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
    return (logits / temperature).softmax(-1)
    # end solution


checks.check_chances(chances)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Draw, read, keep or draw again: a judge keeps out the errors that it sees, and no others. Who chose may not be asked how good the choice is.
# 2. One dial at a time, same scenes, same seeds: then what changes is the dial's doing.
# 3. Marks are claims: they have a precision and a recall (2), and a control that did not look.
# 4. A character lives only in models that have met it.
#
# **Next:** [6.5](06.5_shipping.ipynb) takes your own model out of the notebook.
#
# ### References
#
# - Hu et al. 2022, *LoRA: low-rank adaptation of large language models*, arXiv 2106.09685.
# - Meng et al. 2022, *SDEdit: guided image synthesis and editing with stochastic differential equations*, arXiv 2108.01073.
# - Ruiz et al. 2023, *DreamBooth: fine tuning text-to-image diffusion models for subject-driven generation*, arXiv 2208.12242.
# - Ackley, Hinton, Sejnowski 1985, *A learning algorithm for Boltzmann machines*, Cognitive Science 9 (the temperature of equation (1)).
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
