"""Six pictures of a robot: a new word alone, and DreamBooth with and without prior preservation."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from aigc_course import adaptation, evaluation, lora, models, runtime, sampling, scenes

THING, OTHER, TOKEN = "robot", "teapot", "<robot>"
LIKE = "".join(f" {name}" for name in scenes.THINGS)
UNSEEN = ["night", "snow"], ["ink", "watercolour", "points"]  # places and styles that none of the six has
SHIPPED = "dreambooth-robot"  # by train_new_thing.py
COLUMNS = ("thing", "control", "place", "style", "all", "suite", "turned")
WAYS = {  # of which thing six pictures are shown, for how many steps, with a LoRA or not, with a prior or not
    "before the lesson": (None, 0, False, False),
    "a word not taught": (THING, 0, False, False),
    "textual inversion": (THING, 50, False, False),
    "DreamBooth": (THING, 100, True, False),
    "DreamBooth with prior": (THING, 100, True, True),
    "control: the same, of six teapots": (OTHER, 100, True, True),
    "… with prior, for longer (shipped)": (THING, None, True, True),
}


def six(thing):
    """The shipped pictures of a thing, told with our token."""
    folder = runtime.data_dir() / "things" / thing
    return adaptation.own_pictures(folder), adaptation.own_captions(folder, TOKEN)


def memory(pipe, seed, count=24):
    """Pictures of single known things, painted by the model before it learns."""
    drawn = scenes.samples(count, "train", seed=34 + seed, task="single")
    prompts = [scenes.caption(one.scene, random.Random(k)) for k, one in enumerate(drawn)]
    return adaptation.remembered(pipe, prompts, steps=8, seed=1000 * seed)


def taught(thing, steps, changes, keeps, seed):
    """The pipeline after one lesson, as notebook 3.4 gives it."""
    pipe = models.load("text-to-image", dtype=torch.float32)
    if not thing:
        return pipe
    if steps is None:  # trained once, by train_new_thing.py
        with models.storage.quiet():
            pipe.load_textual_inversion(models.folder_of(SHIPPED))
        lora.load(pipe.unet, models.folder_of(SHIPPED))
        return pipe
    prior = memory(pipe, seed) if keeps else None
    adaptation.new_word(pipe, TOKEN, like=LIKE)
    if changes:
        lora.add(pipe.unet, 16, adaptation.DENOISER, generator=runtime.generator(seed))
    if steps:
        own, rate = adaptation.lesson(pipe, *six(thing), seed=seed), 5e-3 if changes else 1e-2
        adaptation.teach(pipe, own, steps, prior, batch=6, learning_rate=rate, seed=seed, progress=False)
    return pipe


def measured(pipe, word, seed, count=8, thing=THING):
    """Identity and fidelity elsewhere; a control; what is left of the suite, and how often others turned into this."""
    judge, parser, asked = evaluation.load_newcomers(), evaluation.load_parser(), adaptation.elsewhere(*UNSEEN)
    words = [scenes.new_caption(one, random.Random(k), thing=word) for k, one in enumerate(asked)]
    painted = sampling.words_to_pictures(pipe, words, steps=8, scale=1.5, seed=100 + 1000 * seed)
    found = adaptation.portraits(judge, parser, painted, asked, thing)
    found["control"] = evaluation.shows(judge, painted, thing=OTHER if thing == THING else THING)
    questions = evaluation.questions(count, "validation", seed=5 + seed)
    others = [scenes.caption(one.scene, random.Random(k)) for k, one in enumerate(questions)]
    known = sampling.words_to_pictures(pipe, others, steps=8, scale=1.5, seed=500 + 1000 * seed)
    found["turned"] = evaluation.shows(judge, known, thing=thing)
    shares = {name: values.float().mean().item() for name, values in found.items()}
    return shares | {"suite": evaluation.examine(parser, known, questions).overall.mean}


def measure(seeds, ways=WAYS):
    """For each way, its figures seed by seed."""
    words = {name: TOKEN if dials[0] else THING for name, dials in ways.items()}
    return {name: [measured(taught(*dials, s), words[name], s) for s in seeds] for name, dials in ways.items()}


def table(seeds: Sequence[int]) -> str:
    """The benchmark of notebook 3.4 as a Markdown table, with 95 % intervals over seeds."""
    heads = ("", "identity", "control: a teapot", "place", "style", "all three", "suite after", "others turned into it")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, found in measure(seeds).items():
        cells = [f"{evaluation.interval(torch.tensor([one[c] for one in found])):.2f}" for c in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    told = "Six pictures; asked in two places and three styles that none of them has; the judges saw no painted one.  "
    longer = sum(run["steps"] for run in models.recipe_of(SHIPPED))
    told += f"The last row is one lesson of {longer:,} steps, by `scripts/train_new_thing.py`."
    return "\n".join([*lines, "", f"{told}  Seeds: {len(seeds)}."])
