"""Train the parser: the judge that reads things, their colours and sizes, place and style from a picture."""

import argparse
import random
from functools import partial
from pathlib import Path

import machine
import torch

from aigc_course import evaluation, models, runtime, scenes, training

SEED = 77  # no generator trains on scenes of this seed
SPLITS = {"train": 0.6, "validation": 0.1, "held-out": 0.3}  # all but test, which is kept for the own error
MEASURED = [(split, task) for split in ("test", "held-out") for task in ("single", "pair", "count")]

CARD = """\
# Parser

Reads a 128 × 128 picture of this course's world back into its scene: the things, their colours, sizes and places, the
background and the style.  A small convolutional detector with {parameters:,} parameters, the judge behind
`evaluation.score`.  Load it with `evaluation.load_parser()`.

| misread, of {count:,} fresh drawings each | {names} |
|{rules}
{rows}

Trained by `python scripts/train_parser.py --steps {steps} --batch {batch}` on fresh drawings ({minutes:.0f} minutes,
{machine}), with light blur and noise, on scenes of every split but test, of a seed that no generator saw.

**Fails** on small or blurred things, where many things hide the place behind them, and on anything that is not of this
world: it has an answer to every picture. Below, fresh drawings of the test split with what it misreads in them.

![Drawings that the judge misreads, and in what](../../sheets/parser.png)

Licence: CC BY 4.0.
"""


def chosen(lent):
    """A stream has one split, a judge must know all: take only the seed of what it lends."""
    rng = random.Random(lent.seed)
    (split,) = rng.choices(list(SPLITS), SPLITS.values())
    return scenes.sample(lent.seed, split, SEED)


def lesson(lent):
    """A batch: drawings a little the worse for wear, and what there is to read in them."""
    drawn = [chosen(sample) for sample in lent]
    generator = runtime.generator(drawn[0].seed)
    pictures = evaluation.weathered(scenes.pictures(drawn, models.PICTURE), generator)
    return {"pictures": pictures.to(memory_format=torch.channels_last)} | evaluation.labels(drawn)


def table(parser, count):
    """The parser's own error, in per cent, as the rows of its card."""
    rows = []
    for split, task in MEASURED:
        errors = evaluation.own_error(parser, count, split, task)
        rows.append(f"| {split}, {task} | " + " | ".join(f"{error:.1%}" for error in errors.values()) + " |")
    return list(errors), "\n".join(rows)


def card(judge, args, names, rows, minutes):
    """The parser's README."""
    parameters = sum(p.numel() for p in judge.parameters())
    head = dict(names=" | ".join(names), rules="---|" * (len(names) + 1), rows=rows, minutes=minutes)
    head["machine"] = machine.name()
    return CARD.format(parameters=parameters, count=args.count, steps=args.steps, batch=args.batch, **head)


def main():
    """Train it, measure it, ship it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--count", type=int, default=1000, help="drawings on which its own error is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/parser"))
    args = parser.parse_args()
    torch.manual_seed(0)
    judge = evaluation.Parser().to(runtime.device(), memory_format=torch.channels_last)
    count = args.steps * args.batch
    stream = scenes.SceneStream("train", count, args.batch, SEED, make=lesson, workers=args.workers)
    dials = dict(learning_rate=args.rate, weight_decay=0.01, folder=args.folder, save_every=100)
    dials |= dict(ema=0.998, precision=args.precision)
    history = training.fit(judge, stream, evaluation.reading_loss, args.steps, **dials)
    if not training.is_first():
        return
    judge = judge.half().float()  # measured as it is shipped
    names, rows = table(judge, args.count)
    print(f"own error: {', '.join(names)}\n{rows}")
    told = card(judge, args, names, rows, history.seconds[-1] / 60)
    models.put_in_place(models.folder_of("parser"), partial(evaluation.save_parser, judge), told)


if __name__ == "__main__":
    main()
