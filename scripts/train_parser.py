"""Train the parser: the judge that reads thing, colour, background, style, size and count from a picture."""

import argparse
import random
from pathlib import Path

import torch

from aigc_course import evaluation, models, runtime, scenes, training

SEED = 77  # no generator trains on scenes of this seed
SPLITS = {"train": 0.6, "validation": 0.1, "held-out": 0.3}  # all but test, which is kept for the own error
TASKS = {"single": 0.65, "count": 0.35}
MEASURED = [("test", "single"), ("test", "count"), ("held-out", "single")]

CARD = """\
# Parser

Reads thing, colour, background, style, size and count from a 64 × 64 picture of this course's world: a small
convolutional network with {parameters:,} parameters, the judge behind `evaluation.score`.  Load it with
`evaluation.load_parser()`.

| misread, of {count:,} fresh drawings each | {names} |
|{rules}
{rows}

Trained by `python scripts/train_parser.py` for {steps:,} steps of {batch} fresh drawings, with light blur and
noise, on scenes of one kind of thing from every split but test.  In pictures of pairs its answers mean
nothing, and it always gives one: a picture that shows no thing at all is read as something too.

Licence: CC BY 4.0.
"""


def chosen(lent):
    """A stream has one split and one task, a judge must know all: take only the seed of what it lends."""
    rng = random.Random(lent.seed)
    split, task = (rng.choices(list(shares), shares.values())[0] for shares in (SPLITS, TASKS))
    return scenes.sample(lent.seed, split, SEED, task)


def lesson(lent):
    """A batch: drawings a little the worse for wear, and what there is to read in them."""
    drawn = [chosen(sample) for sample in lent]
    generator = runtime.generator(drawn[0].seed)
    pictures = evaluation.weathered(scenes.pictures(drawn, models.PICTURE), generator)
    return {"pictures": pictures.to(memory_format=torch.channels_last), "labels": evaluation.labels(drawn)}


def table(parser, count):
    """The parser's own error, in per cent, as the rows of its card."""
    rows = []
    for split, task in MEASURED:
        errors = evaluation.own_error(parser, count, split, task)
        rows.append(f"| {split}, {task} | " + " | ".join(f"{error:.1%}" for error in errors.values()) + " |")
    return list(errors), "\n".join(rows)


def card(judge, args, names, rows):
    """The parser's README."""
    parameters = sum(p.numel() for p in judge.parameters())
    head = dict(names=" | ".join(names), rules="---|" * (len(names) + 1), rows=rows)
    return CARD.format(parameters=parameters, count=args.count, steps=args.steps, batch=args.batch, **head)


def main():
    """Train it, measure it, ship it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--count", type=int, default=1000, help="drawings on which its own error is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/parser"))
    args = parser.parse_args()
    torch.manual_seed(0)
    judge = evaluation.Parser().to(runtime.device(), memory_format=torch.channels_last)
    count = args.steps * args.batch
    stream = scenes.SceneStream("train", count, args.batch, SEED, make=lesson, workers=args.workers)
    dials = dict(learning_rate=args.rate, weight_decay=0.01, folder=args.folder, save_every=100)
    training.fit(judge, stream, evaluation.reading_loss, args.steps, **dials)
    names, rows = table(judge, args.count)
    print(f"own error: {', '.join(names)}\n{rows}")
    folder = models.folder_of("parser")
    evaluation.save_parser(judge, folder)
    (folder / "README.md").write_text(card(judge, args, names, rows), encoding="utf-8", newline="\n")
    models.seal(folder)


if __name__ == "__main__":
    main()
