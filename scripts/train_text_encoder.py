"""Teach the text encoder to read before it is asked to paint: from a caption to its facts, and to what is where."""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import machine
import torch
from torch import nn

from aigc_course import losses, models, runtime, scenes, training
from aigc_course.adaptation import composed

SEED = 13  # scenes that no other model is trained on
QUESTIONS = {  # of the first kind of thing, of the second, of the whole; "none" where a caption does not tell
    "name": (*scenes.THINGS,),
    "colour": (*scenes.COLOURS,),
    "size": (*scenes.SIZES, None),
    "count": (1, 2, 3, 4),
    "second name": (*scenes.THINGS, None),
    "second colour": (*scenes.COLOURS, None),
    "second size": (*scenes.SIZES, None),
    "relation": (*scenes.RELATIONS, None),
    "background": (*scenes.BACKGROUNDS, None),
    "style": (*scenes.STYLES, None),
}
SIDE = 8  # of the map that is asked for
WEIGHT = 20.0  # of the map's squared error beside the nats of the questions
OF_A_THING = 7  # the last channels of the map: the digits of name and colour


def told(facts, rng):
    """A caption as the denoiser hears it: English or Chinese, full or brief; the plain style need not be named."""
    if facts.style == "flat" and rng.random() < 0.6:
        facts = replace(facts, style=None)
    return scenes.caption(facts, rng, rng.choice(scenes.LANGUAGES), rng.choice(["full", "brief"]))


def answers(facts):
    """The number of the right answer to each question."""
    groups = {"": facts.groups[0], "second ": facts.groups[1] if len(facts.groups) == 2 else None}
    found = {where + what: getattr(g, what, None) for where, g in groups.items() for what in ("name", "colour", "size")}
    found |= {"count": facts.groups[0].count, "relation": facts.relation}
    found |= {"background": facts.background, "style": facts.style}
    return [options.index(found[question]) for question, options in QUESTIONS.items()]


class Lesson:
    """Fills a batch: captions, the answers that they give, the map of what is where, and both things in their order."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, samples):
        texts = [told(one.scene.facts, random.Random(one.seed)) for one in samples]
        tokens = self.tokenizer(texts, padding="max_length", max_length=models.TEXT[0], return_tensors="pt").input_ids
        there = [composed(one) for one in samples]
        return {
            "tokens": tokens,
            "answers": torch.tensor([answers(scenes.read_caption(text)) for text in texts]),
            "map": models.meaning(there, SIDE),
            "ends": torch.tensor([told_at_the_end(one.scene) for one in there]),
        }


def told_at_the_end(scene):
    """What the last two tokens, always padding, are to say of the first and of the last thing.

    How far from the middle it stands, in quarters, and the digits of its name and colour; copies have no places.
    """
    rows = []
    for thing in (scene.things[0], scene.things[-1]):
        place = (4 * thing.x - 2, 4 * thing.y - 2) if scene.is_pair else (0.0, 0.0)
        middle = models.meaning([replace(scene, things=(replace(thing, x=0.5, y=0.5),))], SIDE)
        rows.append([*place, *middle[0, -OF_A_THING:, SIDE // 2, SIDE // 2].tolist()])
    return rows


class Map(nn.Module):
    """What is where, asked of the words place by place, as the denoiser's attention will ask: (B, L, D) → (B, C, h, w).

    A causal encoder cannot tell at its first thing on which side that is; a later word has to say so, and to be found.
    """

    def __init__(self, width=models.TEXT[1]):
        super().__init__()
        self.places = nn.Parameter(torch.randn(SIDE * SIDE, width))
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.tell = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, models.MEANING))

    def forward(self, words):
        heard, _ = self.attention(self.places.expand(len(words), -1, -1), words, words, need_weights=False)
        return self.tell(heard).transpose(1, 2).unflatten(2, (SIDE, SIDE))


def answered(model, batch):
    """The logits of each question's answers, from the encoder's last word on the whole caption; the map; both ends."""
    heard = model["encoder"](batch["tokens"])
    logits = model["questions"](heard.pooler_output).float().split([len(options) for options in QUESTIONS.values()], 1)
    return logits, model["map"](heard.last_hidden_state).float(), model["ends"](heard.last_hidden_state[:, -2:]).float()


def objective(model, batch):
    """Nats of surprise at the right answers, summed over the questions, and the squared errors of map and ends."""
    logits, where, ends = answered(model, batch)
    asked = zip(logits, batch["answers"].T, strict=True)
    error = WEIGHT * (where - batch["map"]).square().mean() + (ends - batch["ends"]).square().sum(2).mean()
    return sum(losses.cross_entropy(each, answer) for each, answer in asked) + error


def moved(batch):
    """A batch on the device of the run."""
    return {name: each.to(runtime.device()) for name, each in batch.items()}


@torch.no_grad()
def understood(model, lesson, count=1000):
    """The share of captions of the test split with every question answered rightly."""
    batch = moved(lesson(scenes.samples(count, "test", seed=SEED)))
    found = torch.stack([each.argmax(1) for each in answered(model, batch)[0]], 1)
    return (found == batch["answers"]).all(1).float().mean().item()


@torch.no_grad()
def placed(model, lesson, count=1000):
    """The share of pairs of the test split with both on their side: name and colour told rightly at both middles."""
    pairs = scenes.samples(count, "test", seed=SEED, task="pair")
    batch = moved(lesson(pairs))
    right = (answered(model, batch)[1] * batch["map"])[:, -OF_A_THING:] > 0  # the digits' signs are those of the truth
    things = [one.scene.things for one in map(composed, pairs)]
    there = [[right[k, :, int(SIDE * one.y), int(SIDE * one.x)].all() for one in of] for k, of in enumerate(things)]
    return torch.tensor(there).all(1).float().mean().item()


def main():
    """Train, measure, and keep the encoder for `train_text_to_image.py`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--go-on", action="store_true", help="start from the shipped weights, not from nothing")
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that word captions")
    parser.add_argument("--folder", type=Path, default=Path("runs/text-encoder"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    shipped = models.load("text-to-image", dtype=torch.float32) if args.go_on else None
    encoder = shipped.text_encoder if shipped else models.text_encoder(tokenizer)
    heads = {"questions": nn.Linear(models.TEXT[1], sum(map(len, QUESTIONS.values()))), "map": Map()}
    heads["ends"] = nn.Linear(models.TEXT[1], 2 + OF_A_THING)
    model = nn.ModuleDict({"encoder": encoder} | heads).to(runtime.device())
    lesson = Lesson(tokenizer)
    stream = scenes.SceneStream("train", args.steps * args.batch, args.batch, SEED, make=lesson, workers=args.workers)
    folder = machine.begun(args, args.folder / "checkpoint", "text-to-image", "text_encoder")
    dials = dict(optimiser=training.muon(model, args.rate), folder=folder)
    history = training.fit(model, stream, objective, args.steps, **dials)
    if not training.is_first():
        return
    found = dict(understood=understood(model, lesson), placed=placed(model, lesson))
    print(f"understood in every point: {found['understood']:.3f}; pairs on their sides: {found['placed']:.3f}")
    model["encoder"].save_pretrained(args.folder / "model")
    earlier = [run for run in models.recipe_of("text-to-image") if run["part"] == "text encoder"] if args.go_on else []
    run = dict(part="text encoder", steps=args.steps, batch=args.batch, rate=args.rate, **found)
    recipe = [*earlier, run | dict(minutes=history.seconds[-1] / 60)]
    (args.folder / models.RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
