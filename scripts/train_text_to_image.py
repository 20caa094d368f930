"""Train words → pictures: a text encoder and a denoiser together, on latents of fresh drawings; ship a pipeline."""

import argparse
import json
import random
from operator import itemgetter
from pathlib import Path

import machine
import torch
from diffusers import AutoencoderKL
from torch import nn
from train_autoencoder import patch_code
from train_text_encoder import OF_A_THING, told
from transformers import CLIPTextModel

from aigc_course import diffusion, evaluation, losses, models, runtime, scenes, training
from aigc_course.adaptation import composed

TASKS = {"single": 0.25, "count": 0.3, "pair": 0.45}
FOCUS = 4.0  # how much more a place inside the box of a thing counts than scenery
OF_MEANING = 4.0  # how much more a channel counts that tells what is there than one that tells how it looks
LATE = 1.5  # steps are drawn as T·u^(1/LATE): what a thing is, is decided where there is much noise
INNER = 0.3  # of the error of what the inner blocks answer, beside the denoiser's own
PARTS = ("autoencoder", "text encoder", "denoiser")

CARD = """# text-to-image

A small latent-diffusion model: English and Chinese words of the course's picture world → a picture of 128 × 128 pixels.
A stock `StableDiffusionPipeline`; nothing but the library is needed to load it:

```python
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe("a red house in a meadow", guidance_scale=2.0).images[0]
```

| | |
|---|---|
| parts | text encoder (`CLIPTextModel`, 3 layers of 128), denoiser (`UNet2DConditionModel`; 64, 128 and 160 channels; words by cross-attention and, pooled, beside the step), autoencoder (`AutoencoderKL`), byte-level BPE tokenizer |
| latent | 32 channels of 16 × 16: sixteen say how the picture looks (a linear code of its patches), sixteen what is where (style, place, and for each thing its box, name and colour; `models.meaning`).  Both are denoised together; the decoder reads both |
| objective | velocity prediction on a cosine schedule; places inside the boxes of things count more than scenery (*focus*), channels that say what is there more than the others (*meaning*); steps are drawn as T·u^(1/*late*), so that 2 favours much noise.  In the later runs the inner blocks are also asked where each of their places lies and what is there, by layers that are then dropped |
| data | drawn scenes of the training split with their annotations (what is where), things moved to a few places (`adaptation.composed`); captions told anew in each pass: two languages, full and brief |
| training | text encoder: {read:,} captions in {reading:.0f} minutes, with the facts they state and the map of what is where for answers (of the test split {understood:.1%} understood in every point, {placed:.1%} of pairs with both on their side); denoiser, and the text encoder with it: {pictures:,} pictures in {minutes:.0f} minutes, run by run below; Muon and cosine to zero, average of weights 0.999 |
| autoencoder | {drawn:,} pictures and parts of pictures ({drawing}); PSNR {psnr} dB, encoded and decoded, 256 of the validation split |
| remade by | `make models` (`scripts/train_tokenizer.py`, `train_autoencoder.py`, `train_text_encoder.py`, `train_text_to_image.py`) |
| storage | half precision; hashes in `manifest.json` |
| licence | code Apache-2.0, weights and data CC BY 4.0 |

| run | machine | precision | steps × batch | optimiser, rate | scenes (seed) | one thing, several, two | focus | meaning | inner | late | last loss | sides | minutes |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
{runs}

*Inner*: the weight of what the inner blocks are asked.  *Sides*: how surely the two of a pair stand where the words
say in the guess from pure noise, 1 at best.

**Tried on the way**: the text encoder is causal, so what its first thing is told of comes later.  Later steps (*late*
2.5 to 12), *meaning* 4 and *inner* 0.3 did not bring the sides; asking the last two tokens of the text encoder, which
are always padding, for the two things did.  For the autoencoder, in half a minute on an H200: AdamW 0.0005 29.68 dB,
Muon 0.0003 29.91, Muon 0.001 30.43 (256 validation pictures); from nothing, 250 steps of 24: AdamW 0.0005 21.1 dB,
Muon 0.001 23.0.

**Meant for** teaching: it draws the 16 things, 8 colours, 6 places and 8 styles of `aigc_course.scenes`, and nothing else.
**Fails** where a word is not of that world, and where the look does not follow what the latent says is there: see the
failures in `data/models/SCORES.md`.  `README.md` of the repository shows 48 pictures with their prompts, the poor ones
among them.
"""  # noqa: E501


def chosen(lent, seed, tasks=TASKS):
    """A sample of the training split for one that a stream lends; tasks: how often each comes."""
    (task,) = random.Random(lent.seed).choices(list(tasks), tasks.values())
    return composed(scenes.sample(lent.seed, "train", seed, task))


def heard(sample):
    """What a lesson says of a sample; of one in ten nothing, for guidance."""
    rng = random.Random(sample.seed)
    return "" if rng.random() < 0.1 else told(sample.scene.facts, rng)


def latents_of(code, samples):
    """How the samples look when drawn, and what is where in them: (B, C, h, w) in half precision."""
    look = code.encode(scenes.pictures(samples, models.PICTURE))
    return torch.cat([look, models.meaning(samples)], 1).half()


def focus(samples, side=models.LATENT[1]):
    """How much each place of a latent counts, (N, 1, h, w), 1 on average: more inside the boxes of things.

    Scenery and the grain of a style fill most of a picture, and are half chance: things would be learnt last.
    """
    places, rows = (torch.arange(side) + 0.5) / side, torch.ones(len(samples), 1, side, side)
    for row, sample in zip(rows, samples, strict=True):
        for thing in sample.scene.things:
            across, down = ((places - at).abs() < scenes.SIZES[thing.size] + 0.5 / side for at in (thing.x, thing.y))
            row[0, down.nonzero(), across.nonzero().T] = FOCUS
    return rows / rows.mean()


class Lesson:
    """Fills a batch with fresh drawings: their latents, and what is said of each."""

    def __init__(self, code, tokenizer, seed):
        self.code, self.tokenizer, self.seed = code, tokenizer, seed

    def __call__(self, lent):
        drawn = [chosen(one, self.seed) for one in lent]
        texts = [heard(one) for one in drawn]
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=models.TEXT[0], truncation=True, return_tensors="pt"
        )
        return {"latents": latents_of(self.code, drawn), "focus": focus(drawn), "tokens": tokens.input_ids}


def supply(args, code, tokenizer):
    """Batches without end: on a CPU each is drawn for its step; a GPU is faster than that, and meets them again."""
    lesson, count = Lesson(code, tokenizer, args.seed), max(args.steps * args.batch, args.scenes)
    stream = scenes.SceneStream("train", count, args.batch, args.seed, make=lesson, workers=args.workers)
    return stream if runtime.device().type == "cpu" else training.Pool(stream, args.batch, args.scenes, args.seed)


class Inner(nn.Module):
    """Asks the inner blocks of a denoiser where each of their places lies, and what is there; dropped after training.

    A convolution treats left and right alike, and learns very late to know them apart by the edges of the picture.
    """

    def __init__(self, unet):
        super().__init__()
        blocks = [*unet.down_blocks[1:], unet.mid_block, unet.up_blocks[0]]
        inner = [block.attentions[0] for block in blocks]
        self.heads = nn.ModuleList(nn.Conv2d(one.config.in_channels, 2 + models.MEANING, 1) for one in inner)
        self.heard = {}
        for number, one in enumerate(inner):
            one.register_forward_hook(lambda _, asked, out, number=number: self.heard.update({number: out[0]}))

    def forward(self, latents):
        """The mean squared error of all answers, for the clean latents (B, C, h, w) of the last pass."""
        truth = latents[:, models.LOOK :]
        side = truth.shape[-1]
        across = torch.linspace(-1, 1, side, device=truth.device).expand(len(truth), 1, side, side)
        truth = torch.cat([across, across.mT, truth], 1)
        errors = []
        for number, head in enumerate(self.heads):
            answer = head(self.heard[number]).float()
            wanted = nn.functional.adaptive_avg_pool2d(truth, answer.shape[-2:])
            errors.append((answer - wanted).square().mean())
        return sum(errors) / len(errors)


def objective(schedule, late=LATE):
    """The squared error of the velocity, given the words, and that of the inner blocks' answers."""
    counts = [1.0] * models.LOOK + [OF_MEANING] * models.MEANING
    channels = (torch.tensor(counts, device=runtime.device()) * len(counts) / sum(counts)).view(-1, 1, 1)

    def loss(model, batch, generator):
        text = model["text_encoder"](batch["tokens"]).last_hidden_state
        latents = batch["latents"].float().contiguous(memory_format=torch.channels_last)
        dials = dict(gamma=None, focus=batch["focus"] * channels, late=late)
        own = losses.denoising(model["unet"], latents, text, schedule, generator, **dials)
        return own + INNER * model["inner"](latents)

    return loss


@torch.no_grad()
def sides(unet, text_encoder, tokenizer, count=128):
    """How surely the two of a pair stand on their sides in the guess from pure noise: 1 wholly, 0 not at all.

    The difference of name and colour between the two places, along the true difference; mean over validation pairs.
    """
    pairs = [composed(one) for one in scenes.samples(count, "validation", task="pair")]
    texts = [scenes.caption(one.scene, random.Random(k), scenes.LANGUAGES[k % 2]) for k, one in enumerate(pairs)]
    tokens = tokenizer(texts, padding="max_length", max_length=models.TEXT[0], return_tensors="pt").input_ids
    schedule, device = diffusion.Schedule.from_scheduler(models.scheduler()), unet.device
    noise, last = torch.randn(count, *models.LATENT, generator=torch.Generator().manual_seed(0)), schedule.T - 1
    words, t = text_encoder(tokens.to(device)).last_hidden_state, torch.full((count,), last, device=device)
    velocity = unet(noise.to(device), t, encoder_hidden_states=words).sample.cpu()
    guess = diffusion.x0_from_velocity(noise, velocity, schedule.abar[last].cpu().expand(count))[:, models.LOOK :]
    found = []
    for one, guessed, true in zip(pairs, guess, models.meaning(pairs), strict=True):
        at = [(int(true.shape[1] * thing.y), int(true.shape[2] * thing.x)) for thing in one.scene.things]
        mine, real = (where[-OF_A_THING:, *at[0]] - where[-OF_A_THING:, *at[1]] for where in (guessed, true))
        found.append(mine @ real / (real @ real))
    return torch.stack(found).mean().item()


@torch.no_grad()
def faithful(vae):
    """PSNR of pictures that went through the autoencoder, with its interval."""
    pictures = scenes.pictures(scenes.samples(256, "validation"), models.PICTURE).to(vae.device)
    return evaluation.interval(evaluation.psnr(vae.decode(vae.encode(pictures).latent_dist.mode()).sample, pictures))


def ran(args, history, found, shown):
    """What one run was, for the recipe."""
    run = {name: vars(args)[name] for name in ("steps", "batch", "rate", "seed", "precision")}
    run["scenes"] = shown
    run |= dict(tasks=TASKS, focus=FOCUS, meaning=OF_MEANING, inner=INNER, late=args.late, optimiser="Muon")
    run |= dict(loss=history.smoothed(200)[-1], minutes=history.seconds[-1] / 60, sides=round(found, 2))
    return dict(part="denoiser", machine=machine.name(), **run)


def card(recipe, vae):
    """The pipeline's README."""
    row = "| {run} | {machine} | {precision} | {steps:,} × {batch} | {optimiser} {rate:g} | {scenes:,} ({seed})"
    row += " | {shares} | {focus:g} | {meaning:g} | {inner:g} | {late:g} | {loss:.4f} | {sides} | {minutes:.0f} |"
    parts = {part: [run for run in recipe if run["part"] == part] for part in PARTS}
    pictures, minutes = ({p: sum(map(of, runs)) for p, runs in parts.items()} for of in (seen, itemgetter("minutes")))
    usual = {"meaning": 1, "inner": 0, "sides": "–"}  # of the runs before there was such a dial
    runs = [
        row.format(run=number, shares=", ".join(f"{share:.0%}" for share in run["tasks"].values()), **run)
        for number, run in enumerate((usual | run for run in parts["denoiser"]), start=1)
    ]
    facts = dict(pictures=pictures["denoiser"], minutes=minutes["denoiser"], psnr=faithful(vae))
    facts |= dict(drawn=pictures["autoencoder"], drawing=drawing(parts["autoencoder"]))
    facts |= dict(read=pictures["text encoder"], reading=minutes["text encoder"])
    facts |= {name: parts["text encoder"][-1][name] for name in ("understood", "placed")}
    return CARD.format(runs="\n".join(runs), **facts)


def drawing(runs):
    """The runs of the autoencoder, in words."""
    told = "{steps:,} × {batch}, {optimiser} {rate:g}, {minutes:.0f} minutes on {machine}{shipped}"
    alone = ", the decoder alone shipped: chapter 5's networks were taught on the maps of the encoder before"
    usual = {"optimiser": "AdamW", "machine": "cpu", "shipped": ""}
    return "; ".join(told.format(**usual | run | ({"shipped": alone} if "shipped" in run else {})) for run in runs)


def seen(run):
    """How many pictures a run has shown its model."""
    return run["steps"] * run["batch"]


def main():
    """Train, and ship the pipeline with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--scenes", type=int, default=800_000, help="on a GPU: at most so many are kept and met again")
    parser.add_argument("--seed", type=int, default=1, help="which scenes")
    parser.add_argument("--go-on", action="store_true", help="from the shipped pipeline, not from --text-encoder")
    parser.add_argument("--renew", action="store_true", help="only ship the decoder of --autoencoder")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--compile", action="store_true", help="minutes, then faster steps (needs g++)")
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/autoencoder"))
    parser.add_argument("--text-encoder", type=Path, default=Path("runs/text-encoder"))
    parser.add_argument("--late", type=float, default=LATE, help="1 draws every step alike; more, where noise is much")
    parser.add_argument("--folder", type=Path, default=Path("runs/text-to-image"))
    args = parser.parse_args()
    if args.renew:
        return renew(args.autoencoder)
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    vae, text_encoder, unet, earlier = start(args)
    model = nn.ModuleDict({"text_encoder": text_encoder, "unet": unet, "inner": Inner(unet)})
    model = model.to(runtime.device(), memory_format=torch.channels_last)
    if args.compile:
        model["unet"].compile()
    batches = supply(args, patch_code(args.autoencoder / "code.safetensors"), tokenizer)
    loss = objective(diffusion.Schedule.from_scheduler(models.scheduler()), args.late)
    history = training.fit(
        model,
        batches,
        loss,
        args.steps,
        optimiser=training.muon(model, args.rate),
        ema=0.999,
        precision=args.precision,
        folder=machine.begun(args, args.folder / "checkpoint", "text-to-image", "unet", late=args.late),
        save_every=250 if runtime.device().type == "cpu" else 2000,
    )
    if not training.is_first():
        return
    found = sides(model["unet"], model["text_encoder"], tokenizer)
    print(f"pairs on their sides, from pure noise: {found:.2f} of 1")
    shown = getattr(batches, "filled", args.steps * args.batch)
    recipe = [*earlier, ran(args, history, found, shown)]
    pipe = models.pipeline(vae, model["text_encoder"], tokenizer, model["unet"])
    models.save(pipe, "text-to-image", card(recipe, vae), recipe=recipe)


def renew(folder):
    """Ship the pipeline with another decoder; the encoder stays, since chapter 5's networks were taught on its maps."""
    pipe, earlier = models.load("text-to-image", dtype=torch.float32), models.recipe_of("text-to-image")
    *runs, last = recipe_in(folder)
    recipe = [*runs, last | {"shipped": "decoder"}, *(run for run in earlier if run["part"] != "autoencoder")]
    made, vae = AutoencoderKL.from_pretrained(folder / "model").to(runtime.device()), pipe.vae
    vae.decoder, vae.post_quant_conv = made.decoder, made.post_quant_conv
    renewed = models.pipeline(vae, pipe.text_encoder, models.load("tokenizer"), pipe.unet)
    models.save(renewed, "text-to-image", card(recipe, vae), recipe=recipe)


def recipe_in(folder):
    """The runs that a folder tells of."""
    return json.loads((folder / models.RECIPE).read_text(encoding="utf-8"))


def start(args):
    """Autoencoder, text encoder and denoiser to start from, in full precision, and the runs that made them."""
    if args.go_on:
        pipe = models.load("text-to-image", dtype=torch.float32)
        return pipe.vae, pipe.text_encoder, pipe.unet, models.recipe_of("text-to-image")
    folders = args.autoencoder, args.text_encoder
    recipe = [run for folder in folders for run in recipe_in(folder)]
    vae = AutoencoderKL.from_pretrained(args.autoencoder / "model")
    return vae, CLIPTextModel.from_pretrained(args.text_encoder / "model"), models.denoiser(), recipe


if __name__ == "__main__":
    main()
