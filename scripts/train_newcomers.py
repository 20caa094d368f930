"""Train the judge of newcomers: the parser, its first and last layers learnt again with new things and styles."""

import argparse
import random
from functools import partial
from pathlib import Path

import machine
import torch

from aigc_course import evaluation, models, runtime, scenes, training

SEED = 78  # no other model trains on scenes of this seed
CARD = """\
# Newcomers

Tells the two new things and the four new styles (`scenes.NEW_THINGS`, `scenes.NEW_STYLES`) from those of the world:
the judge of what chapter 3 teaches.  The parser, of which {parameters:,} parameters were learnt again: first layers,
the scales of the others, and the last layers.
Load it with `evaluation.load_newcomers()`.

Its own error, on {count:,} fresh drawings each, and on the same after the autoencoder:

| drawn | names misread | style misread | after the autoencoder: names | style |
|---|---|---|---|---|
{rows}

Trained by `python scripts/train_newcomers.py` for {steps:,} steps of {batch} fresh drawings ({minutes:.0f} min), an
eighth of them through the autoencoder, with blur and noise; after `train_parser.py` and `train_text_to_image.py`.

**Fails** most where a style leaves little of a shape: see names in woodcut and sepia, the more so after the
autoencoder.

Licence: CC BY 4.0.
"""


def choice(rng):
    """What is new in a picture: a thing, a style, both or nothing, all alike often."""
    thing = rng.choice([None, rng.choice(list(scenes.NEW_THINGS))])
    return thing, rng.choice([None, rng.choice(list(scenes.NEW_STYLES))])


class Lesson:
    """A batch: drawings with something new in them or not, a little the worse for wear, and what there is to read."""

    def __init__(self, vae):
        self.vae = vae

    def __call__(self, lent):
        rng, parts = random.Random(lent[0].seed), []
        for start in range(0, len(lent), 8):  # eight pictures share what is new in them
            parts.append(drawn_with(lent[start : start + 8], *choice(rng)))
        batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        some = len(lent) // 8
        batch["pictures"][:some] = evaluation.autoencoded(self.vae, batch["pictures"][:some])
        batch["pictures"] = evaluation.weathered(batch["pictures"], runtime.generator(lent[0].seed))
        return batch


def drawn_with(samples, thing, style):
    """Pictures of scenes with a new thing, in a new style, or neither, and the answers."""
    return {"pictures": scenes.new_pictures(samples, thing, style)} | evaluation.new_labels(samples, thing, style)


def misread(judge, samples, pictures, thing, style):
    """The share of pictures in which a name, and in which the style, is not read as drawn."""
    wrong = torch.zeros(2)
    for one, seen in zip(samples, judge.read(pictures), strict=True):
        names = sorted(thing or each.name for each in one.scene.things)
        wrong += torch.tensor([sorted(seen.names) != names, seen.style != (style or one.scene.style)])
    return (wrong / len(samples)).tolist()


def table(judge, vae, count):
    """Its own error as the rows of the card."""
    rows, cases = [], [(None, None), *((t, None) for t in scenes.NEW_THINGS), *((None, s) for s in scenes.NEW_STYLES)]
    for thing, style in cases:
        samples = scenes.samples(count, "test", seed=9, task="single" if thing else None)
        pictures = scenes.new_pictures(samples, thing, style)
        found = [*misread(judge, samples, pictures, thing, style)]
        found += misread(judge, samples, evaluation.autoencoded(vae, pictures), thing, style)
        rows.append(f"| {thing or style or 'nothing new'} | " + " | ".join(f"{share:.1%}" for share in found) + " |")
    return "\n".join(rows)


def main():
    """Train it, measure it, ship it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--count", type=int, default=200, help="drawings on which its own error is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/newcomers"))
    args = parser.parse_args()
    torch.manual_seed(0)
    vae = models.load("text-to-image", dtype=torch.float32).vae.to("cpu")
    judge = evaluation.Newcomers(evaluation.load_parser()).to(runtime.device())
    count, make = args.steps * args.batch, Lesson(vae)
    stream = scenes.SceneStream("train", count, args.batch, SEED, make=make, workers=args.workers)
    dials = dict(learning_rate=args.rate, ema=0.99, precision=args.precision, folder=args.folder / "checkpoint")
    history = training.fit(judge, stream, evaluation.newcomer_loss, args.steps, **dials)
    if not training.is_first():
        return
    judge = judge.half().float()  # measured as it is shipped
    rows = table(judge, vae, args.count)
    print(rows)
    parameters = sum(p.numel() for p in judge.parameters() if p.requires_grad)
    told = CARD.format(rows=rows, parameters=parameters, minutes=history.seconds[-1] / 60, **vars(args))
    models.put_in_place(models.folder_of("newcomers"), partial(evaluation.save_newcomers, judge), told)


if __name__ == "__main__":
    main()
