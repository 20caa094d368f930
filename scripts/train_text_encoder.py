"""Teach the text encoder to read before it is asked to paint: from a caption to the facts that it states."""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from aigc_course import losses, models, runtime, scenes, training

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


def told(facts, rng):
    """A caption as the denoiser hears it: English or Chinese, full or brief; the plain style need not be named."""
    if facts.style == "flat" and rng.random() < 0.6:
        facts = replace(facts, style=None)
    return scenes.caption(facts, rng, "en" if rng.random() < 0.65 else "zh", rng.choice(["full", "brief"]))


def answers(facts):
    """The number of the right answer to each question."""
    groups = {"": facts.groups[0], "second ": facts.groups[1] if len(facts.groups) == 2 else None}
    found = {where + what: getattr(g, what, None) for where, g in groups.items() for what in ("name", "colour", "size")}
    found |= {"count": facts.groups[0].count, "relation": facts.relation}
    found |= {"background": facts.background, "style": facts.style}
    return [options.index(found[question]) for question, options in QUESTIONS.items()]


class Lesson:
    """Fills a batch: captions, and the answers that they give."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, samples):
        texts = [told(one.scene.facts, random.Random(one.seed)) for one in samples]
        tokens = self.tokenizer(texts, padding="max_length", max_length=models.TEXT[0], return_tensors="pt").input_ids
        return {"tokens": tokens, "answers": torch.tensor([answers(scenes.read_caption(text)) for text in texts])}


def scores(model, batch):
    """For each question, the logits of its answers, from the encoder's last word on the whole caption."""
    heard = model["encoder"](batch["tokens"]).pooler_output
    return model["questions"](heard).float().split([len(options) for options in QUESTIONS.values()], 1)


def objective(model, batch):
    """Nats of surprise at the right answers, summed over the questions."""
    asked = zip(scores(model, batch), batch["answers"].T, strict=True)
    return sum(losses.cross_entropy(each, answer) for each, answer in asked)


@torch.no_grad()
def understood(model, lesson, count=1000):
    """The share of captions of the test split with every question answered rightly."""
    batch = lesson(scenes.samples(count, "test", seed=SEED))
    found = torch.stack([each.argmax(1) for each in scores(model, batch)], 1)
    return (found == batch["answers"]).all(1).float().mean().item()


def main():
    """Train, measure, and keep the encoder for `train_text_to_image.py`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--folder", type=Path, default=Path("runs/text-encoder"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    heads = nn.Linear(models.TEXT[1], sum(map(len, QUESTIONS.values())))
    model = nn.ModuleDict({"encoder": models.text_encoder(tokenizer), "questions": heads}).to(runtime.device())
    lesson = Lesson(tokenizer)
    stream = scenes.SceneStream("train", args.steps * args.batch, args.batch, SEED, make=lesson)
    dials = dict(learning_rate=args.rate, weight_decay=0.01, folder=args.folder / "checkpoint")
    history = training.fit(model, stream, objective, args.steps, **dials)
    share = understood(model, lesson)
    print(f"captions of the test split understood in every point: {share:.3f}")
    model["encoder"].save_pretrained(args.folder / "model")
    run = dict(part="text encoder", steps=args.steps, batch=args.batch, rate=args.rate, understood=share)
    recipe = [run | dict(minutes=history.seconds[-1] / 60)]
    (args.folder / models.RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
