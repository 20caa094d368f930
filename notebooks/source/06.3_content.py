# %% [markdown] lang="en"
# # 6.3 Content
#
# What do people publish that such models made? Storyboards, advertisements, game pictures, short animations, music, films. We make one of each, small but complete,
# and each gets a figure that says whether it is any good, and each but the film a control that must do worse and a
# case in which it fails. Everything shown here, pictures, tunes and film,
# is made by this course's own models; like their weights it is CC BY 4.0.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from IPython.display import Audio, Video
from PIL import Image

from aigc_course import checks, evaluation, models, music, plotting, runtime, sampling, scenes
from aigc_course.applications import colours, cutting, film, motion, storyboard, tiles, video

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# One cat, six places, one cat. A story needs a character that is the same in every frame. Our world has words for a cat, its colour, its size and its style, so we fix these four and change the place alone.

# %%
pipe, judge, places = models.load("text-to-image"), evaluation.load_parser(), list(scenes.BACKGROUNDS)
hero = storyboard.Hero("cat", "orange", "large", "watercolour")
boards = {way: storyboard.draw_frames(pipe, hero, places, way, seed=3, judge=judge) for way in storyboard.WAYS}
print(hero.prompt("meadow"), "·", hero.prompt("sea"), "· …")
plotting.show_images(boards["pasted"], places, columns=6, scale=0.6)

# %% [markdown] lang="en"
# It is one cat, in shape and shade. Words alone do not do that, as we now measure.
#
# ## A storyboard
#
# `draw_frames` knows four ways. **Own noise**: each frame from noise of its own, nothing but the words in common; this is the control. **One noise**: all frames begin alike.
# **Shared attention**: they also look at the first frame ([5.3](05.3_style_by_diffusion.ipynb)). **Pasted**: drawn from one noise, then the cat of the first frame is cut out and laid over
# the others, where a cat much like it stands already. Top: own noise, below: one noise.

# %%
both = torch.cat([boards["own noise"], boards["one noise"]])
plotting.show_images(both, columns=6, scale=0.5, alt="The cat in six places: above from noise of its own each, below from one noise")

# %% [markdown] lang="en"
# How much of a character stays the same? Three figures:
#
# - **told**: in how many frames the course's judge reads the name, colour, size and style that were told, and nothing else. It did not draw them.
# - **shape**: the cut-out cats of every two frames are laid on one another, and their *overlap* is what both cover divided by what either covers: 1 for equal shapes.
# - **colour**: how far their mean colours are apart, in ΔE2000, the distance of colours as eyes see it. About 1 is just visible.
#
# The last two are geometry and colour science, no network's opinion. Besides own noise there is a control that must fail: six *other* things in the six places, as if the actors had been mixed up.

# %%
others = [storyboard.Hero(name, colour) for name, colour in zip(scenes.THINGS, scenes.COLOURS, strict=False)][:6]
prompts = [other.prompt(place) for other, place in zip(others, places, strict=True)]
boards["shuffled actors"] = sampling.words_to_pictures(pipe, prompts, steps=12, seed=3)
found = {way: storyboard.identity(judge, frames, hero, places) for way, frames in boards.items()}
rows = [[way, f"{int(one.told.sum())} of 6", one.shape, one.colour] for way, one in found.items()]
plotting.show_table(rows, ["way", "as told", "shape, overlap", "colour, ΔE2000"])

# %% [markdown] lang="en"
# The judge is easily content: nearly any orange cat will do for it, whichever way it was drawn. Shape and colour are
# stricter. Of this one cat: one noise helps the shape, as it decides where and how the cat sits, and not the colour;
# shared attention helps both; pasting wins, above all in colour, which is no surprise, since it copies. Over six
# characters (`data/bench/applications.md`) the three ways keep the shape about equally well, and only pasting clearly
# keeps the colour. Mixed actors are found out by every column.

# %%
best = max((way for way in storyboard.WAYS), key=lambda way: found[way].shape - found[way].colour / 10)
print("kept for the film:", best)
assert int(found["shuffled actors"].told.sum()) == 0 and found[best].colour < found["own noise"].colour

# %% [markdown] lang="en"
# **Where it fails.** Pasting copies the cut and its faults. Where the cut takes a piece of the first frame's ground
# along, that piece lies in every frame. Here is a small fish; look at its edge at night.

# %%
small = storyboard.Hero("fish", "orange", "small", "watercolour")
frames = storyboard.draw_frames(pipe, small, places, "pasted", seed=5, judge=judge)
told = storyboard.identity(judge, frames, small, places).told
titles = [f"{place}{'' if fine else ': not as told'}" for place, fine in zip(places, told.tolist(), strict=True)]
plotting.show_images(frames, titles, columns=6, scale=0.6)

# %% [markdown] lang="en"
# A pale rim of the meadow's sky goes with the fish; the night shows it best. In the first figure the cat carries a pale
# scrap at its left side into the night and the city. A frame that the judge does not read as told would be marked; of
# rims and scraps it has no notion, so one has to look. A storyboard artist would cut again; we would draw again, with
# another seed.
#
# ## Advertisements in brand colours
#
# A brand has a few fixed colours, given as sRGB. A picture in other colours is moved to them, in **CIELAB**, where equal distances look about equally far. The picture's own palette is found by
# k-means; each of its colours gets a brand colour, and takes its pixels along. Which gets which? Shapes live from light and dark more than from hue, so the rule is: **what is lighter stays
# lighter**. With lightness $L$, palette $p_i$ and brand colours $b_{m(i)}$:
#
# $$L(p_i) \le L(p_j) \;\Rightarrow\; L(b_{m(i)}) \le L(b_{m(j)}),\qquad \text{and of all such } m \text{ the one with the least } \sum_i n_i\,\Delta E(p_i, b_{m(i)}) \tag{1}$$
#
# where $n_i$ is the share of pixels of $p_i$. The smallest example: three greys, three brand colours.

# %%
brand = ["#1b2a49", "#2a7f9e", "#e4572e", "#f2b134", "#f7efdc"]
greys = colours.brand([(200, 200, 200), (20, 20, 20), (120, 120, 120)])
order = np.sort(greys[:, 0])
pairs = colours.matched(greys[np.argsort(greys[:, 0])], colours.brand(brand[:3]))
plotting.show_table([[a, b] for a, b in zip(order, pairs[:, 0], strict=True)], ["lightness of the grey", "lightness of its brand colour"])

# %% [markdown] lang="en"
# Now eight products. First row as drawn, second in brand colours, third the control: the same colours, dark for light.

# %%
products = [("car", "red", "city"), ("house", "yellow", "snow"), ("boat", "orange", "sea"), ("fish", "orange", "sea"), ("flower", "pink", "meadow"), ("mushroom", "red", "meadow"), ("rocket", "white", "night"), ("tree", "green", "desert")]
asked = [(storyboard.Hero(name, colour, style="flat"), place) for name, colour, place in products]
drawn = sampling.words_to_pictures(pipe, [one.prompt(place) for one, place in asked], steps=12, seed=1)
variants = {"as drawn": [plotting.to_pil(one) for one in drawn]}
variants["brand colours"] = [colours.recolour(one, brand) for one in drawn]
variants["control: order reversed"] = [colours.recolour(one, brand, keep_order=False) for one in drawn]
plotting.show_images([one for row in variants.values() for one in row], columns=8, scale=0.4, alt="Eight products: as drawn, in five brand colours, and in the same colours with dark and light exchanged")

# %% [markdown] lang="en"
# Two figures: the **colour error**, the mean ΔE2000 of a pixel to its nearest brand colour, and how often the judge still **reads** the thing's name. Colours were changed on purpose, so it is not asked about them.
# So few pictures say little, so a second brand counts as well.

# %%
def names_read(pictures):
    tensors = torch.stack([torch.from_numpy(plotting.to_array(one)[0].copy()).movedim(-1, 0) / 127.5 - 1 for one in pictures])
    return evaluation.score(judge, tensors, [one.at(place) for one, place in asked])["thing"]


rows, brands = [], [brand, ["#2d2a4a", "#7b4fa3", "#e26aa5", "#9fd8cb", "#fdf6ec"]]
for name, how in {"as drawn": None, "brand colours": True, "control: order reversed": False}.items():
    made = [(one if how is None else colours.recolour(one, it, keep_order=how), it) for it in brands for one in drawn]
    right = sum(int(names_read([one for one, it in made if it is this]).sum()) for this in brands)
    rows.append([name, np.mean([colours.colour_error(one, it) for one, it in made]), f"{right} of {len(made)}"])
assert rows[1][1] < rows[0][1] / 2
plotting.show_table(rows, ["variant", "colour error, ΔE2000", "name read"])

# %% [markdown] lang="en"
# The error falls to what is hardly seen. The judge never saw such colours, so it reads fewer names than in the pictures as drawn; compare it with the control, where only light and dark changed places. **Where it fails:** a brand whose colours are equally light. Rule (1) has nothing to hold on to.

# %%
pastel = ["#f4b6c2", "#b8d8ba", "#a9cfe8", "#e3c9a8", "#d7c3e8"]
print("lightness:", colours.brand(pastel)[:, 0].round())
washed = [colours.recolour(one, pastel) for one in drawn]
print(f"names read: {int(names_read(washed).sum())} of {len(washed)}; colour error {np.mean([colours.colour_error(one, pastel) for one in washed]):.1f}")
plotting.show_images(washed, columns=8, scale=0.4, alt="The eight products in five pastel colours of one lightness")

# %% [markdown] lang="en"
# The colours are right and the pictures are pale: a colour error alone would have called that a success.
#
# ## Sprites
#
# A game wants things without background. `cut_out` learns the colours of what is surely background (far from the thing) and of what is surely thing (near its middle), gives each pixel to the nearer,
# and repeats; Rother et al. (2004) do the same with more care. The judge says where the thing is. How good is it? Of *drawn* scenes we know the true mask. Control: the box around the thing.

# %%
truth = [scenes.samples(1, "test", seed=k, task="single")[0].scene for k in range(24)]
truth = [scenes.Scene(scene.things, scene.background, "flat") for scene in truth]
rows = {"cut out": [], "control: its box": []}
for k, scene in enumerate(truth):
    picture, mask = scenes.draw(scene, 128, k), scenes.masks(scene, 128, k)[0]
    left, top, width, height = scenes.boxes(scene, 128, k)[0]
    box = np.zeros_like(mask)
    box[top : top + height, left : left + width] = True
    rows["cut out"].append(cutting.mask_overlap(cutting.cut_out(picture, scene.things[0]), mask))
    rows["control: its box"].append(cutting.mask_overlap(box, mask))
plotting.show_table([[name, f"{evaluation.interval(values)}", min(values)] for name, values in rows.items()], ["mask", "overlap with the truth", "worst"])

# %% [markdown] lang="en"
# It is much better than a box, and not perfect. **Where it fails:** the worst three, each beside what was cut out, on grey.

# %%
worst = np.argsort(rows["cut out"])[:3]
grey, shown = Image.new("RGBA", (128, 128), (200, 200, 200, 255)), []
for k in worst:
    picture = scenes.draw(truth[k], 128, int(k))
    mask = Image.fromarray((cutting.cut_out(picture, truth[k].things[0]) * 255).astype(np.uint8))
    shown += [picture, Image.composite(picture, grey.convert("RGB"), mask)]
titles = [text for k in worst for text in (f"overlap {rows['cut out'][k]:.2f}", "cut out")]
plotting.show_images(shown, titles, columns=6, scale=0.6)

# %% [markdown] lang="en"
# Cutting by colour goes wrong where a strip of the ground is taken for the thing (the sky beside the cross); and the
# smaller a thing is, the more a rim of ground around it counts. Now eight things by the model, cut out and packed into
# the sheet that a game engine reads. It has an alpha channel; a chequered ground shows it.

# %%
cast = [storyboard.Hero(*kind.split(), style="flat") for kind in ("cat orange", "bird blue", "fish red", "mushroom red", "car yellow", "boat purple", "star yellow", "heart pink")]
drawn = sampling.words_to_pictures(pipe, [one.prompt("snow") for one in cast], steps=12, seed=5)
seen = [reading.things for reading in judge.read(drawn)]
sprites = [cutting.sprite(one, cutting.cut_out(one, things[0])) for one, things in zip(drawn, seen, strict=True) if things]
sheet = cutting.sprite_sheet(sprites, columns=8, side=64)
chequered = Image.fromarray(((np.indices((64, 512)) // 8).sum(0) % 2 * 40 + 180).astype(np.uint8)).convert("RGBA")
plotting.show_images([Image.alpha_composite(chequered, sheet)], alt=f"A sprite sheet of {len(sprites)} things on a chequered ground")

# %% [markdown] lang="en"
# ## Seamless tiles
#
# A ground that repeats must not show where. `--tile` of the Studio lets every convolution see the opposite edge beyond an edge, so the model never knows where the picture ends. The **seam** is the mean step
# between the rows that meet, divided by the usual step between neighbouring rows:
#
# $$\text{seam} = \frac{\operatorname{mean}\,|x_{H-1}-x_0|}{\operatorname{mean}_{r}\,|x_{r+1}-x_r|} \tag{2}$$
#
# and the same for columns. 1 cannot be told apart. Each picture is laid two by two; below with plain edges, the control.

# %%
patterns = ["three small pink hearts, pointillist style", "four small white stars at night", "four small red mushrooms on the grass, pixel style", "a flat drawing of four small orange fish at sea"]
tiled = {name: tiles.draw_tiles(pipe, patterns, name == "seamless") for name in ("seamless", "plain edges")}
plotting.show_images(torch.cat([tiles.laid(one) for one in tiled.values()]), columns=4, scale=0.3, alt="Four patterns laid two by two: above seamless, below with plain edges")

# %%
rows = [[name, *tiles.seam(one).mean(0).tolist(), tiles.seam(one).max().item()] for name, one in tiled.items()]
assert rows[0][3] < rows[1][3]
plotting.show_table(rows, ["edges", "seam, top to bottom", "seam, left to right", "the worst"])

# %% [markdown] lang="en"
# The lines across the ground are gone; what the figure still finds is where things lie across an edge, on a ground with
# hardly any steps. **Where it fails:** the grass and the sea. Both have a sky above them, and on a ring there is no
# above: the model draws one even ground. It is seamless, and no meadow and no sea. Sometimes the number is wrong as
# well: count the hearts and the stars.
#
# ## Three seconds of animation
#
# First way: **between two pictures**. Noises are mixed along the sphere, so that each mixture is as loud as noise must be (`walk.slerp`), words along a line:
#
# $$\operatorname{slerp}(a,b;s)=\frac{\sin((1-s)\theta)\,a+\sin(s\theta)\,b}{\sin\theta},\qquad \cos\theta=\frac{a\cdot b}{|a||b|} \tag{3}$$
#
# With even shares $s$, little happens for long, and then all at once: the model knows meadows and nights and nothing between them. `evenly` draws a few frames and puts the others where the steps are wide. Both have 24 frames, 3 seconds at 8 a second.

# %%
ends = ("a flat drawing of a big red rocket in a meadow", "a flat drawing of a big red rocket at night")
draw = partial(motion.draw_between, pipe, ends, (3, 4))
clips = {"even shares": draw(torch.linspace(0, 1, 24))}
shares, clips["evener steps"] = motion.evenly(draw, 24)
plotting.show_curves({name: motion.paces(clip) for name, clip in clips.items()}, xlabel="frame", ylabel="step to the next, of 255")

# %%
some = torch.cat([clip[::4] for clip in clips.values()])
plotting.show_images(some, columns=6, scale=0.45, alt="Every fourth frame from a meadow to a night: above with even shares, which jumps, below with evener steps")

# %% [markdown] lang="en"
# The widest step is less than half of what it was: the steps are evener, and still not even.
#
# Second way: **frame by frame after a sketch**. The motion is drawn by rule: a rocket rises. Each frame is taken half way to noise and drawn again as a watercolour. If each frame gets noise of its own, brush strokes dance; if
# all get *one* noise, they stay. **Flicker** is how far a frame is from the mean of its neighbours, so that a fade or an even motion costs little:
#
# $$\text{flicker}=\operatorname{mean}_t\,\left|x_t-\tfrac12(x_{t-1}+x_{t+1})\right| \tag{4}$$
#
# in 255ths; and we know the pixels that are still in the sketch, where all of it is flicker.

# %%
heights = np.linspace(0.66, 0.34, 24)
path = [scenes.Scene((scenes.Thing("rocket", "red", "large", 0.5, float(y)),), "night", "flat") for y in heights]
sketch = torch.stack([torch.from_numpy(np.array(scenes.draw(one, 128, 4))).movedim(-1, 0) / 127.5 - 1 for one in path])
paint = partial(motion.redraw_frames, pipe, sketch, "a watercolour of a big red rocket at night", strength=0.5)
clips["one noise"] = paint(noise=sampling.start_noise(pipe, [2]))
clips["control: own noise"] = paint(noise=sampling.start_noise(pipe, list(range(24))))
some = torch.cat([clip[::5] for clip in (sketch, clips["one noise"], clips["control: own noise"])])
plotting.show_images(some, columns=5, scale=0.4, alt="A rising rocket: the sketch, painted from one noise, painted from noise of its own each frame")

# %%
still, rows = motion.still_in(sketch), []
for name, clip in {"the sketch": sketch, **dict(list(clips.items())[2:])}.items():
    things = [reading.things for reading in judge.read(clip)]
    off = np.mean([abs(found[0].y - y) if found else 0.5 for found, y in zip(things, heights, strict=True)])
    alone = sum(len(found) == 1 and found[0].name == "rocket" for found in things)
    rows.append([name, motion.flicker(clip), motion.flicker(clip, still), off, f"{alone} of 24"])
assert rows[1][2] < rows[2][2] / 3
plotting.show_table(rows, ["clip", "flicker", "in still pixels", "rocket off its path, of the height", "one rocket read"])

# %% [markdown] lang="en"
# Both follow the sketch; only one noise is calm. **Where it fails:** one noise hangs in front of the picture like a dirty pane, and the rocket changes its face as it flies past it. Video models therefore let frames attend to one another, as our
# shared attention did.
#
# Files that others can play: GIF by Pillow, MP4 by PyAV, H.264 where it is there. A file is only written when it can be read, so we decode both again.

# %%
files = {"GIF": video.to_gif(clips["one noise"], 8), "MP4": video.to_mp4(clips["one noise"], 8)}
rows = []
for name, file in files.items():
    played = video.play(file)
    assert played.frames.shape == (24, 128, 128, 3)
    off = np.abs(played.frames - plotting.to_array(clips["one noise"]).astype(float)).mean()
    rows.append([name, ", ".join(played.codecs), len(file), len(played.frames), played.seconds, off])
plotting.show_table(rows, ["file", "codec", "bytes", "frames read", "seconds", "off by, of 255"])

# %% [markdown] lang="en"
# The GIF is many times as large. It has no more than 64 colours in all, and knows of motion only what did not change;
# and it counts time in hundredths, so that 8 a second is not quite met.
#
# ## Music
#
# A melody is a sentence: pitch, length, pitch, length, bar line. The **composer** is a GPT-2 of half a million weights, trained with the caption loss on tunes made by rule (its card has all figures). Mood, tempo and key are the prompt.
# We let it write twelve tunes and measure what needs no ear: is it a whole tune, are bars full, are notes in the scale; and the mood, as heard by a judge trained on *other* tunes, that is not told what was asked. Controls: notes at random, and a tune by rule, copied.

# %%
rng = random.Random(0)
wanted = [(mood, rng.choice(list(music.TEMPOS)), rng.choice(music.KEYS)) for mood in music.MOODS for _ in range(3)]
written = music.write(models.load("composer"), music.tokenizer(), wanted, seed=1)
library = list(music.tunes(300, "train"))
asked_again = [next(tune for tune in library if tune.mood == mood) for mood, _, _ in wanted]
random_words = [f"{music.prompt(*one)} {' '.join(rng.choices(music.vocabulary(), k=90))}" for one in wanted]
texts = {"composer": written, "control: words at random": random_words, "control: a tune copied": [music.to_words(one) for one in asked_again]}
print(written[0][:110], "…")

# %%
ear = music.trained_judge(list(music.tunes(300, "judge")))
known = {tune.notes for tune in library}
rows = []
for name, words in texts.items():
    heard = [music.listen(text) for text in words]
    whole = [one for one in heard if not one.fault]
    moods = [ear.moods([one.tune])[0] == one.tune.mood if one.tune else False for one in heard]
    new = [not one.fault and one.tune.notes not in known for one in heard]
    rows.append([name, f"{len(whole)} of {len(heard)}", np.mean([one.bars for one in heard]), np.mean([one.in_key for one in heard]), f"{sum(moods)} of {len(heard)}", f"{sum(new)} of {len(heard)}"])
plotting.show_table(rows, ["words", "a whole tune", "bars full", "in key", "mood heard", "new"])

# %% [markdown] lang="en"
# Random words are no music, and a copy is not new; the composer's are both, mostly. **Where it fails:** it can only be
# one voice of eight bars, and when it is heated up it stammers, and what it writes is not always a tune. The same
# prompt at temperature 2:

# %%
hot = music.write(models.load("composer"), music.tokenizer(), [("calm", "fast", "F")] * 4, temperature=2.0, seed=1)
print(*(music.listen(text).fault or "a tune" for text in hot), sep="\n")

# %% [markdown] lang="en"
# A calm one for our film, as a piano roll: time to the right, pitch upwards; grey lines: bars, and the tonic.

# %%
candidates = music.write(models.load("composer"), music.tokenizer(), [("calm", "fast", "F")] * 4, seed=3)
tune = next(heard.tune for heard in map(music.listen, candidates) if not heard.fault and ear.moods([heard.tune]) == ["calm"])
plotting.show_images(music.roll(tune)[None], [f"{tune.mood}, {tune.tempo}, in {tune.key}: {tune.seconds:.1f} s"], scale=2)

# %% [markdown] lang="en"
# And heard, its first half: an MP3 of 16 kilobits a second. The whole comes with the film.

# %%
folder = Path(tempfile.mkdtemp())
heard = music.play(tune, 16_000)
(folder / "tune.mp3").write_bytes(video.to_mp3(heard[: len(heard) // 2], 16_000, bits=16_000))
Audio(filename=folder / "tune.mp3")

# %% [markdown] lang="en"
# ## Exercises
#
# **6.3.1** (6 minutes) Rule (1) for as many brand colours as palette colours: `own` and `wanted` are lists of lightnesses, in any order. Which brand colour does each palette colour get? Return for each of `own` the *index* into `wanted`,
# so that rank meets rank.

# %% tags=["exercise"]
def brand_for(own, wanted):
    # solution: return ...
    dark_to_light = np.argsort(wanted)
    rank = np.argsort(np.argsort(own))
    return dark_to_light[rank]
    # end solution


checks.check_brand_for(brand_for)

# %% [markdown] lang="en"
# **6.3.2** (6 minutes) Equation (2) for one channel `x`, an array `(H, W)`: the seam from *left to right*, between the last column and the first.

# %% tags=["exercise"]
def seam_across(x):
    step = np.abs(x[:, -1] - x[:, 0]).mean()  # solution
    usual = np.abs(np.diff(x, axis=1)).mean()  # solution
    return step / usual  # solution


checks.check_seam_across(seam_across)

# %% [markdown] lang="en"
# **6.3.3** (6 minutes) Equation (4): the flicker of `frames`, an array `(N, H, W)`. The first frame and the last have only one neighbour; leave them out.

# %% tags=["exercise"]
def flicker_of(frames):
    middle = (frames[:-2] + frames[2:]) / 2  # solution
    return np.abs(frames[1:-1] - middle).mean()  # solution


checks.check_flicker_of(flicker_of)

# %% [markdown] lang="en"
# ## Recap
#
# 1. A character stays the same if frames begin from one noise and its pixels are copied; words alone fix its name and not its face.
# 2. A palette moves to brand colours by rank of lightness (1); a tile is seamless if convolutions see round the edge (2).
# 3. Noises are mixed along the sphere (3), shares by the steps they make; one noise for all frames keeps flicker (4) low.
# 4. A figure needs a control that does worse; each piece but the film has one, and a case in which it fails itself.
#
# **Next:** [6.4](06.4_teaching.ipynb) takes the same models into a classroom.
#
# ### References
#
# - Hertz et al. 2024, *Style aligned image generation via shared attention*, arXiv 2312.02133.
# - Sharma, Wu, Dalal 2005, *The CIEDE2000 color-difference formula*, Color Research & Application 30.
# - Rother, Kolmogorov, Blake 2004, *GrabCut*, ACM Transactions on Graphics 23.
# - Shoemake 1985, *Animating rotation with quaternion curves*, SIGGRAPH: slerp.
# - Meng et al. 2022, *SDEdit*, arXiv 2108.01073.
#
# ## Last: a silent film of five scenes, with its tune
#
# All of it together. A story of five lines; each becomes a title card and a frame of the storyboard, enlarged by the
# course's upscaler. The composer's tune says how long the film is. One MP4 holds both.

# %%
story = {
    "meadow": "A cat woke up in a meadow.", "city": "It had heard of a city, and went to see it.", "snow": "The road led through the snow,",
    "desert": "and through the sand,", "night": "and by night it was home.",
}  # fmt: skip
chosen = boards[best][[places.index(place) for place in story]]
large = sampling.upscale(models.load("upscaler"), chosen)
shots = [film.Shot(text, picture) for text, picture in zip(story.values(), large, strict=True)]
frames = film.make_film("The cat that went to see the city", shots, tune.seconds + 0.5, side=192)
film.contact_sheet(frames, scale=0.38)

# %% [markdown] lang="en"
# Written, and decoded again. Do the pictures and the sound last equally long, and does the judge still read the five scenes in what a player shows?

# %%
movie = video.to_mp4(frames, 12, music.play(tune, 16_000), 16_000, quality=36, bits=12_000)
played = video.play(movie)
print(f"{len(movie):,} bytes, {', '.join(played.codecs)}; pictures {played.seconds:.2f} s, sound {played.sound_seconds:.2f} s")
assert len(played.frames) == len(frames) and abs(played.seconds - played.sound_seconds) < 0.2
small = [Image.fromarray(one).resize((128, 128), Image.Resampling.BOX) for one in played.frames]
tensors = torch.stack([torch.from_numpy(np.array(one)).movedim(-1, 0) / 127.5 - 1 for one in small])
read = [(reading.background, [(thing.colour, thing.name) for thing in reading.things]) for reading in judge.read(tensors)]
print("frames in which it reads an orange cat there:", {place: read.count((place, [("orange", "cat")])) for place in story})
Video(data=movie, embed=True, mimetype="video/mp4", width=288)

# %% [markdown] lang="en"
# If your viewer cannot play it, the sheet above has its frames and the player before the exercises the first half of
# its sound. The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
