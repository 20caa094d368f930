"""Train the upscaler: a picture of 128 pixels, drawn or as the autoencoder leaves it, becomes one of 512."""

import argparse
import random
import zlib
from functools import partial
from pathlib import Path

import machine
import torch
from torch.nn import functional as F

from aigc_course import evaluation, losses, models, plotting, runtime, sampling, scenes, training

LARGE = models.PICTURE * models.Upscaler.times
SQUARE = 48  # small pixels that a step sees of a picture
CODED = 0.85  # the share of squares that went through the autoencoder
MEANS = 10.0  # weight of the squared error of what is left at the small size, beside the absolute one of pixels
SHOWN = 40  # small pixels of a picture on the sheet

CARD = """# upscaler

Four times as many pixels each way: pictures of 128 pixels, drawn or generated, become pictures of 512.

```python
from aigc_course import models, sampling
large = sampling.upscale(models.load("upscaler"), pictures)  # (B, 3, H, W) -> (B, 3, 4H, 4W), in [-1, 1]
```

| | |
|---|---|
| class | `aigc_course.models.Upscaler`: {blocks} residual blocks of {width} channels, pixel shuffle, on a bicubic enlargement; {parameters:,} numbers in half precision, {megabytes:.2f} MB |
| objective | absolute error of pixels, half of that of edges, and {means:g} times the squared one of what is left at the small size, on squares of {square} small pixels |
| data | scenes of the training split, drawn at 128 and at 512 pixels; {coded:.0%} of the small squares went through the autoencoder of `text-to-image` |
| training | {steps:,} steps in {minutes:.0f} minutes, run by run below; AdamW, cosine to zero, average of weights 0.999 |
| speed | {seconds:.2f} s for a picture of 512 pixels ({machine}) |
| remade by | `python scripts/train_upscaler.py`, after `text-to-image` and `parser` |
| storage | safetensors in half precision; hashes in `manifest.json` |
| licence | code Apache-2.0, weights CC BY 4.0 |

| run | machine | precision | steps × batch | learning rate | scenes (seed) | autoencoded | weight of means | last loss | minutes |
|---|---|---|---|---|---|---|---|---|---|
{runs}

On {count:,} scenes of the test split, with 95 % bootstrap intervals:

{scores}

*PSNR* and *edges*, the share of edges in common, are held against the same scene drawn at 512 pixels.  The judge reads
128 pixels, so large pictures are reduced to that by their mean before it says whether it sees the very scene (*exact*)
and how many nats this surprises it (*surprise*, less is better); *drawn large* is its ceiling.  Pictures made in tiles differ from those made
at once by {seam:.1g} of 255 levels at most.

![What is given, what Lanczos and the upscaler make of it, and the truth](../../sheets/upscaler.png)

*Autoencoded pictures, cut to a thing: given, Lanczos, upscaler, drawn at 512 pixels.  In the first three rows the
upscaler gains the most PSNR on Lanczos, in the last three the least.*

**Fails**, in PSNR, on {worse:.0%} of the autoencoded pictures and on {drawn_worse:.0%} of the drawn ones, where
Lanczos is no worse.  By style it gains least on {style} ({least:+.2f} dB, autoencoded).  It was shown the world of
`aigc_course.scenes` and nothing else: no photographs.
"""  # noqa: E501


class Squares:
    """Fills a batch: of each picture a square somewhere, small, and the same square large."""

    def __init__(self, drawn, coded, large):
        self.drawn, self.coded, self.large, self.n = drawn, coded, large, models.Upscaler.times

    def __call__(self, indices, turn):
        pairs = [self.square(index, random.Random(f"{turn}/{index}")) for index in indices.tolist()]
        small, large = (torch.stack(each) for each in zip(*pairs, strict=True))
        return {"small": small, "large": large}

    def square(self, index, rng):
        """One square of one picture: uint8 (3, S, S) and (3, 4S, 4S)."""
        source = self.coded if rng.random() < CODED else self.drawn
        top, left = (rng.randint(0, models.PICTURE - SQUARE) for _ in range(2))
        return cut(source[index], top, left, SQUARE), cut(self.large[index], *(self.n * x for x in (top, left, SQUARE)))


def cut(pictures, top, left, side):
    """A square of pictures, (..., H, W) -> (..., side, side)."""
    return pictures[..., top : top + side, left : left + side]


def floats(pixels):
    """Bytes as the cast's numbers: (B, 3, H, W) in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def objective(model, batch):
    """The absolute error of the enlarged squares, half of that of their edges, and the squared one of blocks' means.

    The absolute error is least at the median, and where a faint line may be here or there, that is no line.  The mean
    keeps a trace of it, for whoever looks at the picture at its old size.
    """
    small, large = floats(batch["small"]), floats(batch["large"])
    made = model(small.contiguous(memory_format=torch.channels_last)).float()
    means = losses.reconstruction(*(F.avg_pool2d(each, models.Upscaler.times) for each in (large, made)), kind="l2")
    return losses.reconstruction(large, made) + 0.5 * losses.edges(large, made) + MEANS * means


def coded_of(vae, samples):
    """Samples as the autoencoder leaves them, 128 pixels: uint8 (B, 3, H, W)."""
    small = scenes.pictures(samples, models.PICTURE).split(16)
    return torch.cat([((evaluation.autoencoded(vae, some) + 1) * 127.5).round().byte() for some in small])


def pictures_of(args, vae):
    """Each scene three times, made once and kept: drawn small, as the autoencoder leaves that, and drawn large."""
    samples, vae = scenes.samples(args.scenes, "train", args.seed), vae.cpu().float()
    ways = {
        "drawn": partial(scenes.pictures_as_bytes, size=models.PICTURE),
        "coded": partial(coded_of, vae),
        "large": partial(scenes.pictures_as_bytes, size=LARGE),
    }
    weights = torch.cat([p.detach().flatten() for p in vae.parameters()]).numpy()
    mark = f"{args.seed}-{zlib.crc32(weights.tobytes()):08x}"  # another autoencoder leaves other pictures
    kept = {name: args.folder / f"{name}-{mark}.safetensors" for name in ways}
    return {name: training.precomputed(kept[name], samples, make, args.workers) for name, make in ways.items()}


def table(found):
    """The scores of both ways on both kinds of pictures, in Markdown."""
    names = list(next(iter(found.values())))
    rows = [["small pictures", "enlarged by", *names], ["---"] * (2 + len(names))]
    for key, of in found.items():
        rows.append([*key, *(str(evaluation.interval(of[name])) if name in of else "–" for name in names)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def gains(found, given):
    """By how many decibels each of the given pictures is better than by Lanczos: (count,)."""
    return found[given, "upscaler"]["PSNR"] - found[given, "Lanczos"]["PSNR"]


def failures(found, drawn):
    """Where the upscaler is no better than Lanczos, and which style it gains least on."""
    gained, shown = gains(found, "autoencoded"), [one.scene.style for one in drawn]
    means = {style: gained[[each == style for each in shown]].mean().item() for style in dict.fromkeys(shown)}
    style = min(means, key=means.get)
    worse = {given: (gains(found, given) <= 0).float().mean().item() for given in ("autoencoded", "drawn")}
    return dict(worse=worse["autoencoded"], drawn_worse=worse["drawn"], style=style, least=means[style])


def sheet(model, vae, found, drawn):
    """Squares around a thing, given, by Lanczos, by the upscaler and in truth, where most and where least is gained."""
    gained = gains(found, "autoencoded")
    order = gained.argsort(descending=True).tolist()
    shown, titles, n = [], [], model.times
    for index in (order[:3] + order[-3:]) if len(order) > 6 else order:
        one = drawn[index]
        small = evaluation.autoencoded(vae, scenes.pictures([one], models.PICTURE))
        blocks = small.repeat_interleave(n, -1).repeat_interleave(n, -2)
        large = sampling.lanczos(small), sampling.upscale(model, small), scenes.pictures([one], LARGE)
        thing, room = one.scene.things[0], models.PICTURE - SHOWN
        corner = [n * min(max(0, round(x * models.PICTURE - SHOWN / 2)), room) for x in (thing.y, thing.x)]
        shown += [cut(picture[0], *corner, n * SHOWN) for picture in (blocks, *large)]
        titles += ["given", "Lanczos", f"upscaler {gained[index]:+.1f} dB", "drawn"]
    return plotting.show_images(torch.stack(shown), titles, columns=4)


def speed(model):
    """Seconds for one picture of 512 pixels, the best of five."""
    picture, seconds = torch.zeros(1, 3, models.PICTURE, models.PICTURE), []
    for _ in range(5):
        with runtime.stopwatch() as watch:
            sampling.upscale(model, picture)
        seconds.append(watch.seconds)
    return min(seconds)


def ran(args, history):
    """What one run was, for the recipe."""
    told = {name: vars(args)[name] for name in ("steps", "batch", "rate", "scenes", "seed", "precision")}
    told |= dict(square=SQUARE, coded=CODED, means=MEANS, machine=machine.name())
    return told | dict(loss=history.smoothed(200)[-1], minutes=history.seconds[-1] / 60)


def card(model, recipe, found, drawn, levels):
    """The upscaler's README."""
    row = "| {run} | {machine} | {precision} | {steps:,} × {batch} | {rate:g} | {scenes:,} ({seed}) | {coded:.0%}"
    row += " | {means:g} | {loss:.4f} | {minutes:.0f} |"
    runs = "\n".join(row.format(run=number, **{"means": 0} | run) for number, run in enumerate(recipe, start=1))
    parameters = sum(p.numel() for p in model.parameters())
    facts = dict(parameters=parameters, megabytes=2 * parameters / 1e6, machine=recipe[-1]["machine"], seam=levels)
    facts |= {name: sum(run[name] for run in recipe) for name in ("steps", "minutes")}
    facts |= dict(runs=runs, scores=table(found), count=len(drawn), seconds=speed(model))
    facts |= dict(coded=CODED, square=SQUARE, means=MEANS) | failures(found, drawn)
    return CARD.format(**model.settings, **facts)


def main():
    """Draw once, train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--scenes", type=int, default=1200, help="scenes whose pictures are kept, 0.9 MB each")
    parser.add_argument("--seed", type=int, default=31, help="which scenes")
    parser.add_argument("--go-on", action="store_true", help="start from the shipped weights, not from nothing")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--count", type=int, default=256, help="scenes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/upscaler"))
    args = parser.parse_args()
    torch.manual_seed(0)
    vae, judge = models.load("text-to-image", dtype=torch.float32).vae, evaluation.load_parser()
    squares = Squares(**pictures_of(args, vae))
    model = models.load("upscaler", dtype=torch.float32) if args.go_on else models.Upscaler()
    model = model.to(runtime.device(), memory_format=torch.channels_last)
    vae = vae.to(runtime.device())
    batches = training.Shuffled(args.scenes, args.batch, squares)
    dials = dict(learning_rate=args.rate, ema=0.999, precision=args.precision, save_every=250)
    folder = machine.begun(args, args.folder / "checkpoint", "upscaler")
    history = training.fit(model, batches, objective, args.steps, folder=folder, **dials)
    if not training.is_first():
        return
    drawn = scenes.samples(args.count, "test", seed=8)
    found = evaluation.against_lanczos(model, vae, judge, drawn)
    print(table(found))
    sheet(model, vae, found, drawn).save(runtime.data_dir() / "sheets" / "upscaler.png")
    levels = evaluation.seam(model, scenes.pictures(drawn[:8], models.PICTURE)).max().item()
    recipe = [*(models.recipe_of("upscaler") if args.go_on else []), ran(args, history)]
    models.save(model, "upscaler", card(model, recipe, found, drawn, levels), recipe=recipe)


if __name__ == "__main__":
    main()
