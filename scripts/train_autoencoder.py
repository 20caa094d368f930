"""Train the autoencoder: the encoder learns the best linear code of a picture, the decoder learns to undo it."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from aigc_course import evaluation, losses, models, runtime, scenes, training


def pictures_of(samples):
    """What a batch of the stream is: the drawn pictures, (B, 3, H, W) in [-1, 1]."""
    return scenes.pictures(samples, models.PICTURE)


def patch_code(file):
    """The linear code, measured once on 4,000 training pictures and kept beside the checkpoints."""
    if not file.is_file():
        code = models.PatchCode.fit(pictures_of(scenes.samples(4000, "train", seed=3)))
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(vars(code), file)
    return models.PatchCode(**load_file(file))


def objective(code):
    """Encoder: squared distance to the code.  Decoder: absolute, squared and edge error, from a slightly noisy code."""

    def loss(model, pictures, generator):
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        target = code.encode(pictures)
        noise = torch.randn(target.shape, generator=generator, device=target.device)
        decoded = model.decode(target + 0.05 * noise).sample
        faithful = losses.reconstruction(decoded, pictures, "l1") + 0.5 * losses.reconstruction(decoded, pictures, "l2")
        encoded = model.encode(pictures).latent_dist.mean
        return faithful + 0.5 * losses.edges(decoded, pictures) + (encoded - target).square().mean()

    return loss


def main():
    """Train, measure, and keep the model beside its checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0, help="which scenes")
    parser.add_argument("--go-on", action="store_true", help="start from the shipped weights, not from nothing")
    parser.add_argument("--precision", default=runtime.training_precision(), help="bf16 or fp32")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--folder", type=Path, default=Path("runs/autoencoder"))
    args = parser.parse_args()
    torch.manual_seed(0)
    code = patch_code(args.folder / "code.safetensors")
    model = models.load("text-to-image").vae if args.go_on else models.autoencoder()
    model = model.to(runtime.device(), memory_format=torch.channels_last)
    count = args.steps * args.batch
    stream = scenes.SceneStream("train", count, args.batch, args.seed, make=pictures_of, workers=args.workers)
    history = training.fit(
        model,
        stream,
        objective(code),
        args.steps,
        learning_rate=args.rate,
        ema=0.995,
        precision=args.precision,
        folder=args.folder / "checkpoint",
        save_every=100,
    )
    test = pictures_of(scenes.samples(256, "validation")).to(runtime.device())
    with torch.no_grad():
        decoded = model.decode(model.encode(test).latent_dist.mode()).sample.clamp(-1, 1)
    ways = {"autoencoder": decoded, "linear code and back": code.decode(code.encode(test)).clamp(-1, 1)}
    for name, back in ways.items():
        print(f"validation PSNR, {name}: {evaluation.interval(evaluation.psnr(back, test))} dB")
    model.save_pretrained(args.folder / "model")
    earlier = [run for run in models.recipe_of("text-to-image") if run["part"] == "autoencoder"] if args.go_on else []
    told = {name: vars(args)[name] for name in ("steps", "batch", "rate", "seed", "precision")}
    recipe = [*earlier, dict(part="autoencoder", **told, minutes=history.seconds[-1] / 60)]
    (args.folder / models.RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
