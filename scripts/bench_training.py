"""How fast our training loop is beside others that train the same denoiser on the same machine, taking turns.

    python scripts/bench_training.py
    python scripts/bench_training.py --rounds 8 --steps 20

Same work (latents and text encoded beforehand): `training.fit`, a bare loop of torch, the Trainer of transformers.
As published: a loop over accelerate that encodes pictures and text in every step, as diffusers' text-to-image example
does.  Prints samples per second, the ratio ours / theirs (median and range over rounds), and the share of the
machine's measured peak that our loop reaches.
"""

import argparse
import itertools
import random
import statistics
import tempfile
import time

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments

from aigc_course import diffusion, losses, models, runtime, scenes, training

ASKED = {"bare loop": 1.0, "Trainer": 1.05, "as published": 2.0}  # ours / theirs, at least
WARM = 3  # first steps of each turn, not counted
RATE = 1e-5


class Denoising(nn.Module):
    """The denoiser with its objective inside: every loop calls it, so that every loop does the same."""

    def __init__(self, pipe):
        super().__init__()
        self.unet = pipe.unet.requires_grad_(True)
        self.schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, latents, text):
        return {"loss": losses.denoising(self.unet, latents, text, self.schedule, self.generator)}


class Ends(TrainerCallback):
    """Notes when each step of the Trainer ends."""

    def __init__(self):
        self.at = []

    def on_step_end(self, args, state, control, **_):
        self.at.append(time.perf_counter())


def adamw(model):
    """One optimiser for all: fused AdamW."""
    return torch.optim.AdamW(model.parameters(), RATE, fused=True)


def fit(model, batches, steps, pipe):
    """The course's loop."""
    history = training.fit(
        model, batches, lambda model, batch: model(**batch)["loss"], steps, optimiser=adamw(model), progress=False
    )
    return history.seconds


def bare(model, batches, steps, pipe):
    """The least that trains: forward, backward, clip, step."""
    optimiser, ends = adamw(model), []
    for batch in itertools.islice(itertools.cycle(batches), steps):
        optimiser.zero_grad()
        model(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ends.append(time.perf_counter())
    return ends


def trainer(model, batches, steps, pipe):
    """The Trainer of transformers, with everything switched off that only reports."""
    items = [dict(zip(batch, row, strict=True)) for batch in batches for row in zip(*batch.values(), strict=True)]
    ends = Ends()
    with tempfile.TemporaryDirectory() as folder:
        told = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=len(batches[0]["latents"]), learning_rate=RATE,
            max_grad_norm=1.0, optim="adamw_torch_fused", save_strategy="no", logging_strategy="no", report_to=[],
            disable_tqdm=True, use_cpu=not torch.cuda.is_available(), dataloader_pin_memory=False,
        )  # fmt: skip
        Trainer(model, told, train_dataset=items, callbacks=[ends]).train()
    return ends.at


def published(model, batches, steps, pipe):
    """As the example of diffusers: pictures through the autoencoder and words through the encoder, in every step."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    prepared, optimiser = accelerator.prepare(model, adamw(model))
    ends = []
    for batch in itertools.islice(itertools.cycle(batches), steps):
        with accelerator.accumulate(prepared):
            with torch.no_grad():
                latents = pipe.vae.encode(batch["pictures"]).latent_dist.sample() * pipe.vae.config.scaling_factor
                text = pipe.text_encoder(batch["tokens"]).last_hidden_state
            accelerator.backward(prepared(latents, text)["loss"])
            accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        ends.append(time.perf_counter())
    return ends


@torch.no_grad()
def data(pipe, count, batch):
    """The same scenes twice: as pictures and tokens, and encoded once."""
    drawn = scenes.samples(count)
    told = [scenes.caption(one.scene.facts, random.Random(k)) for k, one in enumerate(drawn)]
    tokens = pipe.tokenizer(told, padding="max_length", return_tensors="pt").input_ids.split(batch)
    pictures = scenes.pictures(drawn, models.PICTURE).split(batch)
    raw = [{"pictures": p, "tokens": t} for p, t in zip(pictures, tokens, strict=True)]
    encoded = [
        {"latents": pipe.vae.encode(p).latent_dist.mode(), "text": pipe.text_encoder(t).last_hidden_state}
        for p, t in zip(pictures, tokens, strict=True)
    ]
    return raw, encoded


def operations(model, batch):
    """Floating-point operations of one step, forward and backward.

    Counted with attention written out: the counter takes the fused one of a CPU for nothing.
    """
    fused = model.unet.attn_processors
    model.unet.set_attn_processor(AttnProcessor())
    with FlopCounterMode(display=False) as counter:
        model(**batch)["loss"].backward()
    model.unet.set_attn_processor(fused)
    model.zero_grad()
    return counter.get_total_flops()


def peak(side=2048, rounds=8):
    """The most operations per second that a product of two matrices reaches here, in the precision of the loops."""
    a, b, best = torch.randn(side, side), torch.randn(side, side), 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        a @ b
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def main():
    """Take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=13, help=f"in each turn, the first {WARM} not counted")
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    if args.steps <= WARM:
        parser.error(f"--steps {args.steps}: the first {WARM} are not counted, so take more")
    print(runtime.summary())
    torch.manual_seed(0)
    pipe = models.load("text-to-image")
    model = Denoising(pipe)
    raw, encoded = data(pipe, 4 * args.batch, args.batch)
    ways = {"training.fit": (fit, encoded), "bare loop": (bare, encoded), "Trainer": (trainer, encoded)}
    ways["as published"] = (published, raw)
    speeds = {name: [] for name in ways}
    for turn in range(args.rounds):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            loop, batches = ways[name]
            model.train()
            ends = loop(model, batches, args.steps, pipe)
            speeds[name].append((args.steps - WARM) * args.batch / (ends[-1] - ends[WARM - 1]))
    print(f"\n{'loop':14} {'samples/s':>9}  {'ours / theirs':>13}  {'range':>12}  asked")
    for name, found in speeds.items():
        ratios = [mine / theirs for mine, theirs in zip(speeds["training.fit"], found, strict=True)]
        speed, ratio, span = (*map(statistics.median, (found, ratios)), f"{min(ratios):.2f} to {max(ratios):.2f}")
        print(f"{name:14} {speed:9.1f}  {ratio:13.3f}  {span:>12}  {ASKED.get(name, '')}")
    done = operations(model, encoded[0]) / args.batch * statistics.median(speeds["training.fit"])
    most = peak()
    print(f"\n{done / 1e9:.0f} of {most / 1e9:.0f} GFLOP/s measured: MFU {done / most:.0%}")


if __name__ == "__main__":
    main()
