# %% [markdown] lang="en"
# # 6.2 Design
#
# Three small jobs that a designer might give to such a system: a mock-up of a page from one line, variations of a
# product, a flowchart of a described process. Each is a complete piece of work. Each has a truth to be measured
# against, a control that has to fail, and a failure that we show.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took. All pictures and
# diagrams are drawn here by the course's own models: CC BY 4.0.

# %% [markdown] lang="en"
# The room `applications` holds the three jobs; `studio` draws the variations.

# %%
import random

import torch

from aigc_course import applications, checks, evaluation, lora, models, plotting, runtime, sampling, scenes, studio
from aigc_course.applications import colours

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# One line of words, one page. Look for the bar, the panel at its side, the photo, the number of buttons, and all the
# colours; none of these four layouts was ever trained on.

# %%
pipe = models.load("text-to-image")
lora.load(pipe.unet, models.folder_of("lora-mockup"), "mockup")
asked = scenes.MOCKUPS.facts(16, "test", seed=5)
told = scenes.MOCKUPS.captions(asked[:8], "en") + scenes.MOCKUPS.captions(asked[8:], "zh")
pages = sampling.words_to_pictures(pipe, told, steps=20, seed=5)
plotting.show_images(pages[:4], told[:4], columns=4, scale=1.5)

# %% [markdown] lang="en"
# These are pages now, where the same model drew houses on meadows before.
#
# ## A family of pictures of its own
#
# How does a new kind of picture come into this world? The room `scenes` has one place for it, the `Family`: facts at
# random, a drawing of them, captions in two languages, and the facts of a caption again. Its file says how to add one.

# %%
print(scenes.Family.__doc__.split(".")[0] + ".\n")
facts = asked[0]
print(facts)
print(*(scenes.MOCKUPS.caption(facts, random.Random(k), language) for k, language in enumerate(scenes.LANGUAGES)), sep="\n")
assert all(scenes.MOCKUPS.read(caption) == one for caption, one in zip(told, asked, strict=True))
plotting.show_images(scenes.MOCKUPS.pictures(asked[:4]), ["drawn by rule"] * 4, columns=4)

# %% [markdown] lang="en"
# These drawings are what the first picture should have been. From some thousand pairs of a drawing and a caption a
# LoRA ([3.2](03.2_lora.ipynb)) has learnt: `scripts/train_mockups.py`. The denoiser plans before it paints: half of
# its latent says what is where ([2.2](02.2_autoencoder_and_contrastive_loss.ipynb)), so the lesson also writes there
# which box has which colour.
#
# ### The judge is a rule
#
# A page is simple enough to be read without a network: areas of one paint, and the boxes around them. First the
# judge's own error: on drawings, and on drawings sent through the autoencoder, which blurs them as it blurs all.

# %%
drawn = scenes.MOCKUPS.pictures(asked)
with torch.no_grad():
    latents = pipe.vae.encode(drawn).latent_dist.mode() * pipe.vae.config.scaling_factor
through = sampling.decode(pipe, latents)
own = {"drawn": applications.judge_pages(drawn, asked), "through the autoencoder": applications.judge_pages(through, asked)}
rows = [[name, *(f"{values.mean():.2f}" for values in found.values())] for name, found in own.items()]
assert own["drawn"]["layout"].all()
plotting.show_table(rows, ["own error: share right", *applications.POINTS])

# %% [markdown] lang="en"
# The last column is geometry. For the box $a$ of a part that was asked for and the box $b$ that is there,
#
# $$\text{overlap}(a,b)=\frac{|a\cap b|}{|a\cup b|}=\frac{|a\cap b|}{|a|+|b|-|a\cap b|} \tag{1}$$
#
# is 1 where they are the same and 0 where they do not meet. By hand for two buttons, one moved by half its width,
# then by the function.

# %%
one, moved = (10, 102, 32, 118), (21, 102, 43, 118)
shared = 11 * 16
by_hand = shared / (22 * 16 + 22 * 16 - shared)
assert by_hand == applications.overlap(one, moved)
print(f"half a button to the side: overlap {by_hand:.3f}")

# %% [markdown] lang="en"
# Now the LoRA's pages, and two controls that must fail: the same pages judged by *another* page's words, and the model
# without the LoRA. "Layout" counts a page only if all of it is right.

# %%
others = asked[1:] + asked[:1]
lora.combine(pipe.unet, {})
without = sampling.words_to_pictures(pipe, told[:4], steps=20, seed=5)
lora.combine(pipe.unet, {"mockup": 1.0})
tried = {
    "with the LoRA": applications.judge_pages(pages, asked),
    "control: another page's words": applications.judge_pages(pages, others),
    "control: without the LoRA": applications.judge_pages(without, asked[:4]),
}
rows = [[name, *(f"{evaluation.interval(values):.2f}" for values in found.values())] for name, found in tried.items()]
assert tried["with the LoRA"]["overlap"].mean() > tried["control: another page's words"]["overlap"].mean()
plotting.show_table(rows, ["share right", *applications.POINTS])

# %% [markdown] lang="en"
# A page is right only where every one of its parts is, so one button too many fails it; that is strict, and the column
# says how far this small model gets. Both controls fall below in layout, and far below in overlap; the column *photo* alone
# proves little, as there are only two sizes and half are right by chance.
#
# **Where it fails.** First pages that the judge turned away, each over its reason; then one that the family cannot
# have: five buttons. No training picture had so many; see whether a page comes of it at all. The captions are printed
# first, in the same order.

# %%
read = applications.read_pages(pages)
wrong = [k for k, (page, one) in enumerate(zip(read, asked, strict=True)) if page.facts != one][:3]
odd = ["page: small photo, five green buttons"]
beyond = sampling.words_to_pictures(pipe, odd, steps=20, seed=1)
titles = [read[k].fault or "another layout" for k in wrong] + ["five buttons: no such page"]
print(*(told[k] for k in wrong), *odd, sep="\n")
plotting.show_images(torch.cat([pages[wrong], beyond]), titles, columns=4, scale=1.5)

# %% [markdown] lang="en"
# "0 buttons" where you see three means that they have run into one, which is too wide for a button.
#
# ## Variations of a product
#
# ### From a sketch
#
# Redrawing (`img2img`, [5.3](05.3_style_by_diffusion.ipynb)) begins not from noise but from a picture taken back
# towards noise: *strength* is how far. Our sketch is a house in a few lines. See how much of it stays.

# %%
desk = studio.Studio()
sketch = scenes.draw(scenes.Scene((scenes.Thing("house", "white", "large", 0.34, 0.6),), "snow", "ink"))
start = desk.gallery.take_in(sketch).id
words = (studio.Part("a watercolour of a red house in a meadow"),)
strengths = [0.3, 0.5, 0.7, 0.9]
jobs = [studio.JobSpec(prompt=words, action="img2img", parent=start, strength=s, count=1, seed=3) for s in strengths]
redrawn = [desk.make(job).pictures[0] for job in jobs]
plotting.show_images([sketch, *redrawn], ["sketch", *(f"strength {s}" for s in strengths)], columns=5)

# %% [markdown] lang="en"
# Two wishes pull against each other: keep the place of the sketch, follow the words. Both can be measured with the
# course's judge of scenes, which had no part in the drawing: how far the house it sees stands from the sketched one
# (in parts of the picture's width), and how many of colour, place and style are as told.

# %%
judge = evaluation.load_parser()
to_tensor = lambda some: torch.from_numpy(plotting.to_array(some).copy()).movedim(3, 1) / 127.5 - 1  # noqa: E731
rows = []
for strength, seen in zip(strengths, judge.read(to_tensor(redrawn)), strict=True):
    house = next((thing for thing in seen.things if thing.name == "house"), None)
    away = "no house seen" if house is None else f"{((house.x - 0.34) ** 2 + (house.y - 0.6) ** 2) ** 0.5:.2f}"
    told_right = (house is not None and house.colour == "red") + (seen.background == "meadow") + (seen.style == "watercolour")
    rows.append([f"{strength}", away, f"{told_right} of 3"])
plotting.show_table(rows, ["strength", "house away from the sketch", "of colour, place, style as told"])

# %% [markdown] lang="en"
# Little strength keeps the sketch and hears little of the words, much strength does the reverse. At 0.3 and 0.5 you and
# I still see the house of the sketch, but the judge may see none: it is outlines with hardly any paint. Further up, the
# new house can lie over the old one, and the judge reads the new one. Which strength is useful, only a try will tell.
#
# ### One part anew
#
# Inpainting paints inside a region and keeps what lies outside. "Keeps" is a claim about pixels, so we count them:
# outside the region and the seam of eight pixels, where new paint fades out, none may differ.

# %%
product = scenes.draw(scenes.Scene((scenes.Thing("car", "blue", "large", 0.5, 0.62),), "city", "flat"))
kept, region = desk.gallery.take_in(product).id, (24, 40, 104, 112)
job = studio.JobSpec(prompt=(studio.Part("a red car in the city, flat style"),), action="inpaint", parent=kept, region=region, count=2, seed=4)
anew = desk.make(job).pictures
before, after = to_tensor([product]), to_tensor(list(anew))
outside = torch.ones(128, 128, dtype=torch.bool)
outside[region[1] - 8 : region[3] + 8, region[0] - 8 : region[2] + 8] = False
changed = ((before - after).abs().amax(1) > 0)[:, outside].sum().item()
assert changed == 0
print(f"{changed} of {2 * int(outside.sum()):,} pixels outside differ")
plotting.show_images([product, *anew], ["before", "anew 1", "anew 2"], columns=3)

# %% [markdown] lang="en"
# ### Another palette, and a batch that is checked
#
# Recolouring moves a picture's own palette onto given colours, lighter to lighter ([6.3](06.3_content.ipynb) derives
# it). The error is the mean $\Delta E_{2000}$ of a pixel to its nearest wanted colour; the control is the error before.

# %%
palette = ["#1d3557", "#457b9d", "#e63946", "#a8dadc", "#f1faee"]
laid = colours.recolour(product, palette)
errors = [colours.colour_error(some, palette) for some in (product, laid)]
assert errors[1] < errors[0]
print(f"colour error before {errors[0]:.1f}, after {errors[1]:.1f}")
plotting.show_images([product, laid], ["as drawn", "in the palette"], columns=2)

# %% [markdown] lang="en"
# A **constrained batch** is drawn and then checked: what the judge does not read as told is thrown away. The share
# accepted says how many must be drawn for one that can be used. Guidance 0 is the control: the words are not heard.

# %%
wanted = scenes.read_caption("stained glass of a small purple mushroom above a large white bird in the snow")
line = ["stained glass of a small purple mushroom above a large white bird in the snow"] * 8
lora.combine(pipe.unet, {})
batch = {scale: sampling.words_to_pictures(pipe, line, steps=12, scale=scale, seed=20) for scale in (2.0, 0.0)}
accepted = {scale: evaluation.score(judge, some, [wanted] * 8)["exact"] for scale, some in batch.items()}
for scale, fine in accepted.items():
    print(f"guidance {scale}: {int(fine.sum())} of {len(fine)} accepted")
plotting.show_images(batch[2.0], ["kept" if fine else "thrown away" for fine in accepted[2.0].tolist()], columns=8, scale=0.75)

# %% [markdown] lang="en"
# **Where it fails.** The judge only asks what it was told to ask: a bird that is kept can still have a crooked wing.
#
# ## Diagrams from a description
#
# The third job has words on both sides. "First …. If …, …, otherwise …" is to become a flowchart, as **mermaid** text,
# which JupyterLab and many other programs draw. The model is the first two layers of the course's `lm`, fine-tuned by
# the caption loss of [2.1](02.1_cross_entropy.ipynb): next token, with everything but the chart left out of the loss.

# %%
writer, words = models.load("diagrams"), applications.diagram_words()
story = "First open the letter. If the letter is late, sign the form, otherwise send the form and save the file. Finally print the bill."
(chart,) = applications.write_diagrams(writer, words, [story])
print(chart)
plotting.show_diagram(chart, "The flowchart that the model wrote of the story above")

# %% [markdown] lang="en"
# In JupyterLab the same text in a Markdown cell, after three backticks and the word `mermaid`, is drawn by mermaid
# itself; so it is here:
#
# ```mermaid
# flowchart TD
# A[describe] --> B{understood}
# B -->|yes| C[draw]
# B -->|no| D[ask again]
# ```
#
# When is such an answer right? Two texts can differ in every letter and draw the same chart. So we compare what is
# drawn: the set of arrows, each as (words, words, label), which does not know what the boxes are called.
#
# $$\text{right}\iff\{(w_i, w_j, \ell)\}_\text{drawn}=\{(w_i, w_j, \ell)\}_\text{described} \tag{2}$$
#
# The description was made from a graph in the first place, so the right side is known. Here by hand, and by the function:

# %%
process = applications.Process(("open the letter", applications.Choice("the letter is late", ("sign the form",)), "print the bill"))
text = applications.to_mermaid(process).replace("A", "first").replace("B", "x7")
by_hand = {("open the letter", "the letter is late", ""), ("the letter is late", "sign the form", "yes"), ("the letter is late", "print the bill", "no"), ("sign the form", "print the bill", "")}
assert applications.read_graph(text).edges == by_hand == applications.graph_of(process).edges
print(text)

# %% [markdown] lang="en"
# Now processes that were never trained on, each with at least one action, a verb with its object, that no training
# process has. *Valid*: it can be read as a flowchart. *Right*: equation (2). The controls: words in another order, and a
# model of the same shape that was not trained.

# %%
tests = list(applications.random_processes(24, "test", seed=7))
said = [applications.tell_process(one, random.Random(k)) for k, one in enumerate(tests)]
untrained = applications.new_diagrammer(words).eval()
mixed = [applications.shuffled(text, random.Random(k)) for k, text in enumerate(said[:8])]
answers = {
    "English": (applications.write_diagrams(writer, words, said[::2]), tests[::2]),
    "Chinese": (applications.write_diagrams(writer, words, said[1::2]), tests[1::2]),
    "control: words in another order": (applications.write_diagrams(writer, words, mixed), tests[:8]),
    "control: untrained": (applications.write_diagrams(untrained, words, said[:2]), tests[:2]),
}
rows = []
for name, (charts, those) in answers.items():
    right = [applications.same_graph(text, one) for text, one in zip(charts, those, strict=True)]
    valid = [applications.readable(text) for text in charts]
    rows.append([name, len(those), f"{evaluation.interval(valid)}", f"{evaluation.interval(right)}"])
plotting.show_table(rows, ["processes never seen", "how many", "valid", "right"])

# %% [markdown] lang="en"
# Note that scrambled words still give valid charts quite often: *valid* alone says little, *right* is what counts. Here
# "valid" is our own reader's word. Mermaid has a parser of its own, and `scripts/apply_design.py` asks that one, in the
# copy that JupyterLab ships.
#
# **Where it fails.** No training process had more than eight boxes. Here are longer ones. See how well it begins, and
# where it loses its way: boxes are mixed, missing or said twice, and often the text is no mermaid any more.

# %%
longer = list(applications.random_processes(6, "test", seed=8, least=10, most=11))
heard = [applications.tell_process(one, random.Random(k)) for k, one in enumerate(longer)]
tries = applications.write_diagrams(writer, words, heard)
fine = [applications.same_graph(text, one) for text, one in zip(tries, longer, strict=True)]
bad = fine.index(False) if False in fine else 0
asked_for, drawn_as = applications.graph_of(longer[bad]).edges, tries[bad]
assert sum(fine) < len(fine)
print(f"{sum(fine)} of {len(fine)} right, of 10 or 11 boxes\n\n{heard[bad]}\n\n{drawn_as}")

# %% [markdown] lang="en"
# It has no sense of length: its places beyond those it met in training were hardly trained. A word that it does not
# know is another matter; there it must not guess, and refuses:

# %%
try:
    applications.write_diagrams(writer, words, ["First bake the letter. Finally save the file."])
except ValueError as error:
    print(error)
desk.close()

# %% [markdown] lang="en"
# ## Exercises
#
# **6.2.1** (5 minutes) Equation (1): the overlap of two boxes (left, top, right, bottom). Mind those that do not meet.

# %% tags=["exercise"]
def overlap(a, b):
    # solution: return ...
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, wide) * max(0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)
    # end solution


checks.check_overlap(overlap)

# %% [markdown] lang="en"
# **6.2.2** (5 minutes) To paint a region anew, the walk needs a mask on the latent: 16 × 16 places, each eight pixels a
# side. `region` is (left, top, right, bottom) in pixels; every place that it touches becomes 1.

# %% tags=["exercise"]
def region_mask(region):
    # solution: return ...
    left, top, right, bottom = region
    mask = torch.zeros(16, 16)
    mask[top // 8 : -(-bottom // 8), left // 8 : -(-right // 8)] = 1
    return mask
    # end solution


checks.check_region_mask(region_mask)

# %% [markdown] lang="en"
# **6.2.3** (8 minutes) Equation (2). A chart is a pair: what each letter says, `{"A": "open", …}`, and arrows
# `[("A", "B", "yes"), …]`. Do two charts say the same?

# %% tags=["exercise"]
def same_chart(one, other):
    # solution: return ...
    first, second = ({(names[a], names[b], label) for a, b, label in arrows} for names, arrows in (one, other))
    return first == second
    # end solution


checks.check_same_chart(same_chart)

# %% [markdown] lang="en"
# ## Recap
#
# 1. A new kind of picture is one file: facts, drawing, captions, reading. A LoRA learns it, a rule judges it (1).
# 2. Redrawing trades the sketch for the words; inpainting keeps every pixel outside; a palette has an error in ΔE.
# 3. A described process becomes mermaid text; it is right when its arrows are the ones described (2).
# 4. Each of the three can look right and be wrong: measure, and show the failures.
#
# **Next:** [6.3](06.3_content.ipynb) makes stories, advertisements, films and music.
#
# ### References
#
# - Hu et al. 2021, *LoRA: low-rank adaptation of large language models*, arXiv 2106.09685.
# - Meng et al. 2021, *SDEdit: guided image synthesis and editing with stochastic differential equations*, arXiv 2108.01073.
# - Lugmayr et al. 2022, *RePaint: inpainting using denoising diffusion probabilistic models*, arXiv 2201.09865.
# - Sharma, Wu, Dalal 2005, *The CIEDE2000 color-difference formula*, Color Research & Application 30.
# - Mermaid, *Flowcharts – basic syntax*, mermaid.js.org.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
