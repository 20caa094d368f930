"""Train the autoencoder: the encoder learns how a picture looks and what it shows, the decoder to paint both again."""

import argparse
import json
import random
from functools import partial
from pathlib import Path

import machine
import torch

from aigc_course import evaluation, losses, models, runtime, scenes, training

CELL = models.PICTURE // models.LATENT[1]  # pixels that one place of a latent stands for
WINDOW = 10  # places across a part that is trained on; every fourth batch is of whole pictures
SPREAD = 1.2  # the most noise on the look that the decoder is given


def pictures_of(samples):
    """The drawn pictures, (B, 3, H, W) in [-1, 1]."""
    return scenes.pictures(samples, models.PICTURE)


def patch_code(file):
    """The linear code, measured once on 4,000 training pictures and kept beside the checkpoints."""

    def measured():
        return vars(models.PatchCode.fit(pictures_of(scenes.samples(4000, "train", seed=3))))

    return models.PatchCode(**training.made_once(file, measured))


def lesson(code, samples):
    """A batch of pictures and latents: parts around a thing, or, one time in four, a quarter as many whole ones."""
    whole = samples[0].seed % 4 == 0
    samples = samples[: len(samples) // 4] if whole else samples
    pictures = pictures_of(samples)
    latents = torch.cat([code.encode(pictures), models.meaning(samples)], 1)
    if whole:
        return {"pictures": pictures, "latents": latents}
    parts = [part(*rows, sample) for *rows, sample in zip(pictures, latents, samples, strict=True)]
    pictures, latents = map(torch.stack, zip(*parts, strict=True))
    return {"pictures": pictures, "latents": latents}


def part(picture, latent, sample):
    """A window of a picture, and of its latent, with one of its things somewhere inside."""
    rng, side = random.Random(sample.seed), models.LATENT[1]
    thing = rng.choice(sample.scene.things)
    down, across = (
        min(max(round(at * side - WINDOW / 2 + rng.uniform(-2, 2)), 0), side - WINDOW) for at in (thing.y, thing.x)
    )
    window = [slice(start, start + WINDOW) for start in (down, across)]
    pixels = [slice(CELL * one.start, CELL * one.stop) for one in window]
    return picture[:, pixels[0], pixels[1]], latent[:, window[0], window[1]]


def objective(model, batch, generator):
    """Encoder: squared distance to the latent.  Decoder: absolute, squared and edge error of what it paints.

    One half of a batch is decoded from what the encoder says, the other from the true latent with noise on the look,
    more or less of it: as a denoiser leaves it, so that the decoder learns to trust the meaning where the look is vague
    (as Zheng et al. 2025 train the decoder of a representation autoencoder).
    """
    pictures = batch["pictures"].contiguous(memory_format=torch.channels_last)
    encoded = model.encode(pictures).latent_dist.mean
    n, k = len(pictures) // 2, models.LOOK
    noise = torch.randn(batch["latents"][n:].shape, generator=generator, device=generator.device).to(encoded)
    much = torch.rand(len(noise), 1, 1, 1, generator=generator, device=generator.device).to(encoded)
    noise[:, :k] *= SPREAD * much.square()
    noise[:, k:] *= 0.1
    decoded = model.decode(torch.cat([encoded[:n].detach(), batch["latents"][n:] + noise])).sample
    faithful = losses.reconstruction(decoded, pictures, "l1") + 0.5 * losses.reconstruction(decoded, pictures, "l2")
    return faithful + 0.5 * losses.edges(decoded, pictures) + (encoded - batch["latents"]).square().mean()


def measured(model, code, count=64):
    """Prints PSNR on the validation split: encoded and decoded, and from the true latent with noise on its look."""
    drawn = scenes.samples(count, "validation")
    pictures, what = pictures_of(drawn), models.meaning(drawn)
    look = code.encode(pictures)
    linear = code.decode(look)
    pictures, what, look, linear = (x.to(runtime.device()) for x in (pictures, what, look, linear))
    with torch.no_grad():
        encoded = model.encode(pictures).latent_dist.mode()
        ways = {"encoded and decoded": model.decode(encoded).sample, "linear code and back": linear}
        for spread in (0.0, 0.5, 1.0):
            noisy = look + spread * torch.randn(look.shape, generator=runtime.generator(0)).to(look)
            for name, told in (("true meaning", what), ("no meaning", torch.zeros_like(what))):
                ways[f"noise {spread}, {name}"] = model.decode(torch.cat([noisy, told], 1)).sample
    for name, back in ways.items():
        print(f"validation PSNR, {name}: {evaluation.interval(evaluation.psnr(back.clamp(-1, 1), pictures))} dB")
    share = ((encoded[:, models.LOOK :] - what).square().mean() / what.square().mean()).item()
    print(f"meaning as encoded: squared error {share:.3f} of its square")


def main():
    """Train, measure, and keep the model beside its checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=24, help="parts of pictures; of whole ones, a quarter as many")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0, help="which scenes")
    parser.add_argument("--go-on", action="store_true", help="start from the shipped weights, not from nothing")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--folder", type=Path, default=Path("runs/autoencoder"))
    args = parser.parse_args()
    if args.batch < 4:
        parser.error(f"--batch {args.batch}: a quarter of it are whole pictures, so take 4 or more")
    torch.manual_seed(0)
    code = patch_code(args.folder / "code.safetensors")
    model = models.load("text-to-image", dtype=torch.float32).vae if args.go_on else models.autoencoder()
    model = model.to(runtime.device(), memory_format=torch.channels_last)
    count, make = args.steps * args.batch, partial(lesson, code)
    stream = scenes.SceneStream("train", count, args.batch, args.seed, make=make, workers=args.workers)
    history = training.fit(
        model,
        stream,
        objective,
        args.steps,
        optimiser=training.muon(model, args.rate),
        ema=0.999,
        precision=args.precision,
        folder=machine.begun(args, args.folder / "checkpoint", "text-to-image", "vae"),
        save_every=max(100, args.steps // 20),
    )
    if not training.is_first():
        return
    measured(model, code)
    model.save_pretrained(args.folder / "model")
    earlier = [run for run in models.recipe_of("text-to-image") if run["part"] == "autoencoder"] if args.go_on else []
    told = {name: vars(args)[name] for name in ("steps", "batch", "rate", "seed", "precision")}
    told |= dict(machine=machine.name(), minutes=history.seconds[-1] / 60)
    recipe = [*earlier, dict(part="autoencoder", optimiser="Muon", **told)]
    (args.folder / models.RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
