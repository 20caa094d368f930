"""Train words → pictures: a text encoder and a denoiser together, on latents encoded once; ship them as a pipeline."""

import argparse
import dataclasses
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from aigc_course import diffusion, evaluation, losses, models, runtime, scenes, training

TASKS = {"single": 0.86, "pair": 0.07, "count": 0.07}

CARD = """# text-to-image

A small latent-diffusion model: English and Chinese words of the course's picture world → a picture of 64 × 64 pixels.
A stock `StableDiffusionPipeline`; nothing but the library is needed to load it:

```python
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe("a red house in a meadow", guidance_scale=4.0).images[0]
```

| | |
|---|---|
| parts | text encoder (`CLIPTextModel`, 3 layers of 128), denoiser (`UNet2DConditionModel`, 64 and 128 channels), autoencoder (`AutoencoderKL`, 12 × 8 × 8 latent), byte-level BPE tokenizer |
| objective | velocity prediction on a cosine schedule, unweighted, captions left out one time in ten |
| data | {scenes:,} drawn scenes of the training split (seed 1), captions told anew in each pass: two languages, full and brief |
| training | {steps:,} steps of {batch} ({pictures:,} pictures), AdamW, average of weights 0.999; last loss {loss:.4f}; {minutes:.0f} minutes of training |
| reconstruction | PSNR {psnr} dB, encoded and decoded, 256 pictures of the validation split |
| remade by | `make models` (`scripts/train_tokenizer.py`, `train_autoencoder.py`, `train_text_to_image.py`) |
| storage | denoiser and autoencoder in half precision, text encoder in full; hashes in `manifest.json` |
| licence | code Apache-2.0, weights and data CC BY 4.0 |

**Meant for** teaching: it draws the 16 things, 8 colours, 6 places and 8 styles of `aigc_course.scenes`, and nothing else.
**Fails** at the shapes of things, which are still rough patches where place, style and colour are mostly right; at
which colour belongs to which of two things; and at fine detail.  `README.md` of the repository shows 48 pictures with
their prompts, the poor ones among them.
"""  # noqa: E501


def world(count):
    """Samples of the training split, most of them of a single thing."""
    chosen = random.Random(0).choices(list(TASKS), list(TASKS.values()), k=count)
    return [scenes.sample(index, "train", seed=1, task=task) for index, task in enumerate(chosen)]


def encoded(code, samples, cache):
    """Latents of all samples, (N, C, h, w); kept in a file, made only once."""
    if cache.is_file():
        return load_file(cache)["latents"]
    rows = []
    for start in range(0, len(samples), 64):
        rows.append(code.encode(scenes.pictures(samples[start : start + 64], models.PICTURE)).half())
        print(f"\rencoded {start + len(rows[-1]):,} of {len(samples):,}", end="", flush=True)
    print()
    save_file({"latents": torch.cat(rows)}, cache)
    return torch.cat(rows)


class Told:
    """Fills a batch: latents, and a caption for each, told anew in every pass; one in ten says nothing."""

    def __init__(self, samples, latents, tokenizer):
        self.samples, self.latents, self.tokenizer = samples, latents, tokenizer

    def caption(self, index, turn):
        rng = random.Random(f"{turn}/{index}")
        if rng.random() < 0.1:
            return ""
        facts, language = self.samples[index].scene.facts, "en" if rng.random() < 0.65 else "zh"
        if facts.style == "flat" and rng.random() < 0.6:
            facts = dataclasses.replace(facts, style=None)  # no style said: the plain one
        return scenes.caption(facts, rng, language, rng.choice(["full", "brief"]))

    def __call__(self, indices, turn):
        texts = [self.caption(index, turn) for index in indices.tolist()]
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=models.TEXT[0], truncation=True, return_tensors="pt"
        )
        return {"latents": self.latents[indices].float(), "tokens": tokens.input_ids}


def objective(schedule):
    """The squared error of the velocity, given the words; every step counts alike, the noisiest too."""

    def loss(model, batch, generator):
        text = model["text_encoder"](batch["tokens"]).last_hidden_state
        latents = batch["latents"].to(memory_format=torch.channels_last)
        return losses.denoising(model["unet"], latents, text, schedule, generator, gamma=None)

    return loss


@torch.no_grad()
def faithful(vae):
    """PSNR of pictures that went through the autoencoder, with its interval."""
    pictures = scenes.pictures(scenes.samples(256, "validation"), models.PICTURE)
    return evaluation.interval(evaluation.psnr(vae.decode(vae.encode(pictures).latent_dist.mode()).sample, pictures))


def main():
    """Encode the scenes once, train, and ship the pipeline with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3900)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--scenes", type=int, default=42_000, help="pictures whose latents are kept")
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/autoencoder"))
    parser.add_argument("--folder", type=Path, default=Path("runs/text-to-image"))
    args = parser.parse_args()
    torch.manual_seed(0)
    args.folder.mkdir(parents=True, exist_ok=True)
    code, tokenizer = (
        models.PatchCode(**load_file(args.autoencoder / "code.safetensors")),
        models.load("tokenizer"),
    )
    samples = world(args.scenes)
    latents = encoded(code, samples, args.folder / "latents.safetensors")
    model = nn.ModuleDict({"text_encoder": models.text_encoder(tokenizer), "unet": models.denoiser()})
    model = model.to(runtime.device(), memory_format=torch.channels_last)
    batches = training.Shuffled(len(samples), args.batch, Told(samples, latents, tokenizer))
    schedule = diffusion.Schedule.from_scheduler(models.scheduler())
    history = training.fit(
        model,
        batches,
        objective(schedule),
        args.steps,
        learning_rate=args.rate,
        ema=0.999,
        folder=args.folder / "checkpoint",
        save_every=250,
    )
    vae = AutoencoderKL.from_pretrained(args.autoencoder / "model")
    facts = dict(steps=args.steps, batch=args.batch, pictures=args.steps * args.batch, scenes=args.scenes)
    facts |= dict(minutes=history.seconds[-1] / 60, loss=history.smoothed(200)[-1], psnr=faithful(vae))
    pipe = models.pipeline(vae, model["text_encoder"], tokenizer, model["unet"])
    models.save(pipe, "text-to-image", CARD.format(**facts))


if __name__ == "__main__":
    main()
