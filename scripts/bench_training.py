"""How fast our training loop is beside others that train the same denoiser on the same machine, taking turns.

    python scripts/bench_training.py            writes data/bench/training.md; leave both cores to it
    python scripts/bench_training.py --rounds 8 --samples 640

Same work (latents and text encoded beforehand): `training.fit`, a bare loop of torch, the Trainer of transformers.
As published: a loop over accelerate that encodes pictures and text in every step, as diffusers' text-to-image example
does.  Beside them `training.fit` on a compiled denoiser, where there is g++.  In float32, and in mixed precision where
the machine is faster at that; in large steps and in small ones, where what a loop adds to the work weighs more.  Prints
samples per second, the ratio ours / theirs (median and range over rounds), and the share of the machine's measured peak
that our loop reaches.
"""

import argparse
import itertools
import random
import shutil
import statistics
import tempfile
import time
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments

from aigc_course import diffusion, losses, models, runtime, scenes, training

COMPILED = "training.fit, compiled"
ASKED = {"bare loop": 1.0, "Trainer": 1.05, "as published": 2.0}  # ours / theirs, at least
WARM = 3  # first steps of each turn, not counted
RATE = 1e-5
LAST, FIRST = torch.channels_last, torch.contiguous_format
HEAD = """# How fast the loop is

Written by `python scripts/bench_training.py`.  {machine}.

The denoiser of `text-to-image`.  Medians over {rounds} turns of {samples} samples each, after {warm} steps that are not
counted; ratios are taken within each turn.  *Bare loop* and *Trainer* do the same work on the same model, laid out
channels last, with latents and text encoded beforehand; *as published* leaves the layout as it is, and encodes pictures
and text in every step.  *Compiled* is `training.fit` on a denoiser that went through `torch.compile`, as
`train_text_to_image.py --compile` does it: the one way here that makes the step itself cheaper; the others would gain
by it, too, and do not use it.  Compiling took place before the clock.{half}

| precision | batch | loop | samples/s | ms a step | ours / theirs (range) | ours, compiled / theirs (range) | asked |
|---|---|---|---|---|---|---|---|
{rows}

{shares}

The loops alone, on 200 small tensors and next to no work: {added}.  So much of the differences above is the loop's own;
the rest is the machine's.

One step of an optimiser on the denoiser's {matrices} matrices, taking turns: {stepped}.
`training.Muon` is {ratio} times as fast as that of torch, for which convolutions are flattened beforehand.
"""

HALF = """  In bf16 the others take PyTorch's autocast as it
is, and `training.fit` keeps attention and group norm in float32 (`training.precision`)."""


class Denoising(nn.Module):
    """The denoiser with its objective inside: every loop calls it, so that every loop does the same."""

    def __init__(self, unet, scheduler):
        super().__init__()
        self.unet = unet.requires_grad_(True)
        self.schedule = diffusion.Schedule.from_scheduler(scheduler)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, latents, text):
        return {"loss": losses.denoising(self.unet, latents, text, self.schedule, self.generator)}


class Tiny(nn.Module):
    """Two hundred small tensors and next to no work: what a step takes then is the loop's own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(100))

    def forward(self, latents, text):
        return {"loss": sum(layer(latents).square().mean() for layer in self.layers)}


class Ends(TrainerCallback):
    """Notes when each step of the Trainer ends."""

    def __init__(self):
        self.at = []

    def on_step_end(self, args, state, control, **_):
        self.at.append(time.perf_counter())


def adamw(model):
    """One optimiser for all: fused AdamW."""
    return torch.optim.AdamW(model.parameters(), RATE, fused=True)


def fit(model, batches, steps, pipe, precision):
    """The course's loop."""
    dials = dict(optimiser=adamw(model), precision=precision, progress=False)
    return training.fit(model, batches, lambda model, batch: model(**batch)["loss"], steps, **dials).seconds


def bare(model, batches, steps, pipe, precision):
    """The least that trains: forward, backward, clip, step."""
    optimiser, ends, device = adamw(model), [], runtime.device().type
    for batch in itertools.islice(itertools.cycle(batches), steps):
        optimiser.zero_grad()
        with torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext():
            loss = model(**batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ends.append(time.perf_counter())
    return ends


def trainer(model, batches, steps, pipe, precision):
    """The Trainer of transformers, with everything switched off that only reports."""
    items = [dict(zip(batch, row, strict=True)) for batch in batches for row in zip(*batch.values(), strict=True)]
    ends = Ends()
    with tempfile.TemporaryDirectory() as folder:
        told = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=len(batches[0]["latents"]), learning_rate=RATE,
            max_grad_norm=1.0, optim="adamw_torch_fused", save_strategy="no", logging_strategy="no", report_to=[],
            disable_tqdm=True, use_cpu=not torch.cuda.is_available(), dataloader_pin_memory=False,
            bf16=precision == "bf16",
        )  # fmt: skip
        Trainer(model, told, train_dataset=items, callbacks=[ends]).train()
    return ends.at


def published(model, batches, steps, pipe, precision):
    """As the example of diffusers: pictures through the autoencoder and words through the encoder, in every step."""
    half = precision == "bf16"
    AcceleratorState._reset_state(reset_partial_state=True)  # it keeps the precision of the first turn
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="bf16" if half else "no")
    dtype = torch.bfloat16 if half else torch.float32  # the frozen parts are cast whole
    vae, encoder = (deepcopy(part).to(dtype) for part in (pipe.vae, pipe.text_encoder))
    prepared, optimiser = accelerator.prepare(model, adamw(model))
    ends = []
    for batch in itertools.islice(itertools.cycle(batches), steps):
        with accelerator.accumulate(prepared):
            with torch.no_grad():
                latents = vae.encode(batch["pictures"].to(dtype)).latent_dist.sample() * vae.config.scaling_factor
                text = encoder(batch["tokens"]).last_hidden_state
            accelerator.backward(prepared(latents, text)["loss"])
            accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        ends.append(time.perf_counter())
    return ends


SAME = {"training.fit": fit, "bare loop": bare, "Trainer": trainer}


@torch.no_grad()
def data(pipe, count, batch):
    """The same scenes twice: as pictures and tokens, and encoded once."""
    drawn = scenes.samples(count)
    told = [scenes.caption(one.scene.facts, random.Random(k)) for k, one in enumerate(drawn)]
    tokens = pipe.tokenizer(told, padding="max_length", return_tensors="pt").input_ids.to(pipe.device).split(batch)
    pictures = scenes.pictures(drawn, models.PICTURE).to(pipe.device).split(batch)
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


def waited():
    """Until a GPU has done what it was given: it takes its orders ahead of time."""
    if runtime.device().type == "cuda":
        torch.cuda.synchronize()


def peak(dtype, side=2048, rounds=8):
    """The most operations per second that a product of two matrices reaches here."""
    a, b = (torch.randn(side, side, dtype=dtype, device=runtime.device()) for _ in range(2))
    best = 0.0
    for _ in range(rounds):
        waited()
        began = time.perf_counter()
        a @ b
        waited()
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def compiled_anew(pipe, encoded, precision):
    """A copy of the model that torch.compile has been through, in the first of some steps; None without a compiler."""
    if not shutil.which("g++"):
        print("no row of the compiled model: torch.compile needs g++ (sudo apt install g++)")
        return None
    model = Denoising(deepcopy(pipe.unet), pipe.scheduler).to(memory_format=LAST).train()
    torch.compiler.reset()
    model.unet.compile()
    fit(model, encoded, WARM, pipe, precision)
    return model


def turns(args, pipe, raw, encoded, precision, compiled):
    """Samples per second of each loop in each turn."""
    ways = {name: (loop, encoded, LAST) for name, loop in SAME.items()} | {"as published": (published, raw, FIRST)}
    ways |= {COMPILED: (fit, encoded, LAST)} if compiled else {}
    size = len(encoded[0]["latents"])
    speeds, steps = {name: [] for name in ways}, WARM + args.samples // size
    for turn in range(args.rounds):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            loop, batches, layout = ways[name]
            if name == COMPILED:
                model = compiled
            else:  # anew: accelerate leaves its wrapping on a model
                model = Denoising(pipe.unet, pipe.scheduler).to(memory_format=layout).train()
            ends = loop(model, batches, steps, pipe, precision)
            speeds[name].append((steps - WARM) * size / (ends[-1] - ends[WARM - 1]))
    return speeds


def added(loops, steps=300, rounds=4):
    """Milliseconds that a step of each loop takes where there is next to nothing to do, at the least of some turns."""
    batches, least = [{name: torch.randn(4, 4, device=runtime.device()) for name in ("latents", "text")}], {}
    for name, loop in list(loops.items()) * rounds:
        ends = loop(Tiny().to(runtime.device()), batches, steps, None, "fp32")
        taken = statistics.median(after - before for before, after in itertools.pairwise(ends[50:]))
        least[name] = min(1000 * taken, least.get(name, 1000 * taken))
    return least


def stepped(unet, rounds=5):
    """Seconds that a step of each optimiser takes on a denoiser's matrices, in each turn; and how many these are."""
    flat = [p.detach().flatten(1) for p in training.muon(unet).param_groups[0]["params"]]
    ways = {
        "training.Muon": training.Muon,
        "torch.optim.Muon": partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw"),
        "AdamW, fused": partial(torch.optim.AdamW, fused=True),
    }
    steps = {}
    for name, way in ways.items():
        matrices = [nn.Parameter(one.clone()) for one in flat]
        for p in matrices:
            p.grad = torch.randn_like(p)
        steps[name] = way(matrices, lr=RATE).step
        steps[name]()
    taken = {name: [] for name in ways}
    for name in list(ways) * rounds:
        waited()
        began = time.perf_counter()
        steps[name]()
        waited()
        taken[name].append(time.perf_counter() - began)
    return taken, len(flat)


def compared(ours, theirs):
    """The ratio of two loops' speeds: the median of all turns, and the range."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"


def rows_of(speeds, precision, batch):
    """The table's rows: the speed of each loop, and how many times faster ours is."""
    for name, found in speeds.items():
        speed, shown = statistics.median(found), "– | – | –"
        if name in ASKED:
            ours = (compared(speeds[way], found) if way in speeds else "–" for way in ("training.fit", COMPILED))
            shown = " | ".join([*ours, f"≥ {ASKED[name]:.2f}"])
        yield f"| {precision} | {batch} | {name} | {speed:.1f} | {1000 * batch / speed:.0f} | {shown} |"


def main():
    """Take turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=256, help=f"in each turn, after {WARM} steps that do not count")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32, 64], help="64 is the recipe's")
    args = parser.parse_args()
    if args.samples < max(args.batches):
        parser.error(f"--samples {args.samples}: less than a step of {max(args.batches)}, so take more")
    torch.manual_seed(0)
    pipe, rows, shares = models.load("text-to-image", dtype=torch.float32), [], []
    for precision in dict.fromkeys(["fp32", runtime.training_precision()]):
        most = peak(torch.bfloat16 if precision == "bf16" else torch.float32)
        for batch in args.batches:
            raw, encoded = data(pipe, 4 * batch, batch)
            each = operations(Denoising(pipe.unet, pipe.scheduler), encoded[0]) / batch
            speeds = turns(args, pipe, raw, encoded, precision, compiled_anew(pipe, encoded, precision))
            rows += rows_of(speeds, precision, batch)
            done = each * statistics.median(speeds["training.fit"])
            told = f"{done / 1e9:.0f} of {most / 1e9:.0f} GFLOP/s measured, {done / most:.0%}."
            shares.append(f"MFU in {precision}, batch {batch}: {told}")
    own = ", ".join(f"{name} {taken:.2f} ms a step" for name, taken in added(SAME).items())
    taken, matrices = stepped(pipe.unet)
    half = runtime.training_precision() == "bf16"
    told = dict(half=HALF if half else "", rows="\n".join(rows), shares="\n".join(shares), added=own, matrices=matrices)
    told["stepped"] = ", ".join(f"{name} {1000 * statistics.median(each):.0f} ms" for name, each in taken.items())
    told["ratio"] = compared(taken["torch.optim.Muon"], taken["training.Muon"])
    text = HEAD.format(machine=runtime.summary(), warm=WARM, rounds=args.rounds, samples=args.samples, **told)
    print(text)
    (runtime.data_dir() / "bench" / "training.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
