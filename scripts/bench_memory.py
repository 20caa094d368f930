"""How many bytes a training step takes with each way of saving: predicted, counted, allocated, and what it does to it.

    python scripts/bench_memory.py              every configuration, on one core; writes data/bench/memory.md
    python scripts/bench_memory.py --quick      three of them, printed only

Each configuration is measured in a process of its own: a copy of one that has loaded the models and taken no step.
Predicted: `memory.predict`, on tensors without numbers.  Counted: `memory.count`.  Allocator and process:
`memory.measure`.  Gradients: the relative difference to those of the plain step in float32, in which all weights learn,
of the same trained weights (quantised base: to the same LoRA over the base before).  Sharded: FSDP2 over 2 processes
and gloo; predicted in one process that only believes to have a peer.  There the columns tell what the first process
holds after a step (parameters, gradients, states); the peak, with the buffers of the messages, is told below.
Where gradients are "nan", the loss at scale 65,536 was too large for float16: a `GradScaler` skips such a step.
"""

import argparse
import importlib.util
import multiprocessing
import os
import platform
import random
import statistics
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from accelerate.commands.estimate import estimate_training_usage
from accelerate.utils.modeling import calculate_maximum_sizes
from torch.nn import functional as F

from aigc_course import diffusion, lora, losses, memory, models, parallel, runtime, scenes, training
from aigc_course.parallel import parcel

FILE = Path("bench/memory.md")  # below the data folder
MIB = 2**20
STEPS, CAPTIONS, RATE = 150, 16, 2e-3  # of the small training that compares optimisers
SEEDS = range(3)
TRICKS = {
    "plain": {},
    "checkpointing": dict(checkpointing=True),
    "accumulate 2": dict(accumulate=2),
    "accumulate 4": dict(accumulate=4),
    "accumulate 8": dict(accumulate=8),
    "bf16": dict(precision="bf16"),
    "fp16 + scaler": dict(precision="fp16"),
    "8-bit Adam": dict(optimiser=memory.AdamW8bit),
    "4-bit Adam": dict(optimiser=memory.AdamW4bit),
    "frozen part": dict(weights="frozen"),
    "LoRA": dict(weights="lora"),
    "8-bit base + LoRA": dict(weights=8),
    "4-bit base + LoRA": dict(weights=4),
    "sharded": dict(sharded=True, optimiser=partial(torch.optim.AdamW, foreach=False)),
}
EACH = [name for name in TRICKS if name not in ("accumulate 2", "accumulate 8")]
LESS = "checkpointing, accumulate {}, bf16"
ALL = "4-bit base + LoRA, 8-bit Adam, " + LESS
ASKED = {
    "denoiser": {
        4: [*EACH, LESS.format(4), "8-bit Adam, " + LESS.format(4), "4-bit Adam, " + LESS.format(4)]
        + ["8-bit base + LoRA, checkpointing", "sharded, checkpointing", ALL.format(4)],
        1: ["plain", "8-bit Adam"],
        16: ["plain", ALL.format(8)],
    },
    "captioner": {
        4: [*EACH, LESS.format(4), "8-bit Adam, " + LESS.format(4), ALL.format(4)],
        1: ["plain"],
        16: ["plain", "checkpointing", ALL.format(8)],
    },
    "autoencoder": {
        2: ["plain", "checkpointing", "accumulate 2", "bf16", "fp16 + scaler", "8-bit Adam", "4-bit Adam"]
        + ["frozen part", "LoRA", "4-bit base + LoRA", LESS.format(2), ALL.format(2)],
        1: ["plain"],
    },
}
QUICK = [("captioner", 2, "plain"), ("captioner", 2, "8-bit Adam, bf16"), ("captioner", 2, "4-bit base + LoRA")]
FROZEN = {
    "denoiser": ("conv_in", "time_embedding", "down_blocks"),
    "captioner": ("encoder",),
    "autoencoder": ("encoder", "quant_conv"),
}
TARGETS = {
    "denoiser": ["to_q", "to_k", "to_v", "to_out.0"],
    "captioner": ["attn.c_attn", "crossattention.c_attn", "q_attn", "c_proj"],
    "autoencoder": ["conv1", "conv2"],
}


@dataclass(frozen=True, eq=False)
class Job:
    """A model, rows of real data, and its loss."""

    model: torch.nn.Module
    rows: tuple
    loss: object

    def batch(self, n):
        """The first n rows."""
        return tuple(each[:n] for each in self.rows)


def denoising(model, batch):
    """The noise was drawn before, so that parts of a batch have that of the whole."""
    x_t, t, text, target = batch
    return F.mse_loss(model(x_t, t, encoder_hidden_states=text).sample, target)


def captioning(model, batch):
    """Captions were cut to one length, so that every token counts alike."""
    pictures, words = batch
    logits = model(pixel_values=pictures, decoder_input_ids=words[:, :-1], use_cache=False).logits
    return losses.cross_entropy(logits, words[:, 1:])


def copying(model, batch):
    """Absolute error of the copies."""
    return losses.reconstruction(batch[0], model.decode(model.encode(batch[0]).latent_dist.mean).sample)


LOSSES = {"denoiser": denoising, "captioner": captioning, "autoencoder": copying}


def load(name):
    """One of the three models, all of whose weights learn."""
    if name == "captioner":
        return models.load("captioner").requires_grad_(True)
    pipe = models.load("text-to-image")
    return (pipe.unet if name == "denoiser" else pipe.vae).requires_grad_(True)


@torch.no_grad()
def data(pipe, count=16):
    """Pictures and captions of the first scenes, as each of the models reads them."""
    drawn, draw = scenes.samples(count), runtime.generator(0)
    told = [scenes.caption(one.scene.facts, random.Random(k)) for k, one in enumerate(drawn)]
    pictures = scenes.pictures(drawn, models.PICTURE)
    words = pipe.tokenizer(told, padding=True, return_tensors="pt")
    words = words.input_ids[:, : words.attention_mask.sum(1).min()]
    tokens = pipe.tokenizer(told, padding="max_length", max_length=models.TEXT[0], return_tensors="pt").input_ids
    z = pipe.vae.encode(pictures).latent_dist.mode() * pipe.vae.config.scaling_factor
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
    t = torch.randint(schedule.T, (count,), generator=draw)
    noisy = diffusion.noised(z, schedule, t, draw)
    target = losses.TARGETS["velocity"](noisy, schedule.at(t))
    text = pipe.text_encoder(tokens).last_hidden_state
    return {"denoiser": (noisy.x_t, t, text, target), "captioner": (pictures, words), "autoencoder": (pictures,)}


# --- one configuration --------------------------------------------------------------------------------------


def tricks_of(label):
    """The settings that a label names."""
    made = {}
    for each in label.split(", "):
        made |= TRICKS[each]
    return made


def prepared(name, model, weights):
    """A copy of the model in which only some weights learn."""
    model = deepcopy(model)
    if weights == "frozen":
        for part in FROZEN[name]:
            model.get_submodule(part).requires_grad_(False)
    elif weights != "all":
        if weights != "lora":
            memory.quantise(model, weights)
        lora.add(model, 4, TARGETS[name], generator=runtime.generator(0))
        draw = runtime.generator(1)
        for p in lora.parameters(model)[1::2]:  # B, which is 0 at first, and A would have no gradient
            torch.nn.init.normal_(p, std=0.02, generator=draw)
    return model


def gradients(model, batch, plan):
    """What the first step finds, by the names of the parameters."""
    kept = []

    def keeping(weights):
        kept.extend(weights)
        return torch.optim.SGD(weights, lr=0.0)

    memory.count(model, batch, replace(plan, optimiser=keeping), steps=1)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    return {name: p.grad for name, p in zip(names, kept, strict=True) if p.grad is not None}


@cache
def reference(name, job, rows, low_rank):
    """The gradients of the plain step, in which everything learns, with a LoRA in the model or without."""

    def found():
        model = prepared(name, job.model, "lora" if low_rank else "all").requires_grad_(True)
        return gradients(model, job.batch(rows), memory.Plan(job.loss))

    return apart(found)


def apart_by(found, expected):
    """The relative difference of gradients, over all of `found`."""
    pairs = [(found[name], expected[name]) for name in found]
    off = sum((a - b).double().square().sum() for a, b in pairs) / sum(b.double().square().sum() for _, b in pairs)
    return off.sqrt().item()


def examined(name, job, rows, label, expected):
    """All columns of one configuration."""
    how = tricks_of(label)
    model, batch = prepared(name, job.model, how.pop("weights", "all")), job.batch(rows)
    plan = memory.Plan(job.loss, **how)
    seen = memory.measure(model, batch, plan)
    counted, predicted = memory.count(model, batch, plan), memory.predict(model, batch, plan)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return dict(
        predicted=predicted.peak,
        counted=counted.peak,
        allocator=seen.allocator,
        process=seen.process,
        seconds=seen.seconds,
        gradients=apart_by(gradients(model, batch, plan), expected),
        states=counted.highest["optimiser"] / trained,
        accelerate=usual_estimate(model, plan.precision),
    )


def usual_estimate(model, precision):
    """What `accelerate estimate-memory` says of a model with these weights."""
    told = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[precision]
    parts = estimate_training_usage(calculate_maximum_sizes(model)[0], told)
    return parts["step"]


# --- sharded over two processes -----------------------------------------------------------------------------


def split_in_two(model, row):
    """A model of which this process keeps its part, as `parallel` cuts it."""
    from torch.distributed.fsdp import fully_shard

    for block in parallel.blocks(model):
        fully_shard(block, mesh=row)
    return fully_shard(model, mesh=row)


def count_a_share(asked):
    """In one of two processes that really talk: the peak, the seconds of a step and the whole gradient, by label."""
    found = []
    for name, batch, label in asked:
        how, took = tricks_of(label), []
        how.pop("sharded")
        mine = tuple(each.clone() for each in parallel.share(batch, dist.get_rank(), dist.get_world_size()))
        plan, row = memory.Plan(LOSSES[name], **how), dist.init_device_mesh("cpu", (2,))

        def make(name=name, row=row):
            return split_in_two(load(name), row)

        account = memory.count(make, mine, plan)
        model = make()
        for _ in range(2):
            began = time.perf_counter()
            with memory.checkpointing(model) if plan.checkpointing else runtime.stopwatch():
                model.zero_grad()
                plan.loss(model, mine).backward()
            took.append(time.perf_counter() - began)
        whole = {n: p.grad.full_tensor() for n, p in model.named_parameters() if p.grad is not None}
        found.append((held(account), account.peak, took[-1], whole if dist.get_rank() == 0 else {}))
    return found


def held(account):
    """Bytes that stay after the last step."""
    return sum(int(account.timeline[kind][-1]) for kind in ("parameters", "gradients", "optimiser"))


def predict_a_share(model, batch, plan):
    """What the first of two processes holds, and its peak, in one that has no peer and no numbers."""
    from torch._guards import active_fake_mode
    from torch._subclasses.fake_tensor import FakeCopyMode
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    mine, row = parallel.share(batch, 0, 2), dist.init_device_mesh("cpu", (2,))

    def make():
        with FakeCopyMode(active_fake_mode()):
            copied = deepcopy(model)
        return split_in_two(copied, row)

    account = memory.predict(make, tuple(each.clone() for each in mine), plan)
    return held(account), account.peak


def sharded(asked, jobs):
    """The columns of all sharded configurations."""
    given = [(name, jobs[name].batch(rows), label) for name, rows, label in asked]
    shares = parallel.run("bench_memory:count_a_share", 2, given, timeout=600)
    made = {}
    for key, (name, batch, label), (stays, peak, seconds, whole) in zip(asked, given, shares[0], strict=True):
        expected = reference(name, jobs[name], key[1], low_rank=False)
        how = {k: v for k, v in tricks_of(label).items() if k != "sharded"}
        predicted, highest = apart(predict_a_share, jobs[name].model, batch, memory.Plan(LOSSES[name], **how))
        made[key] = dict(
            predicted=predicted,
            counted=stays,
            peaks=(highest, peak),
            allocator=None,
            process=None,
            seconds=seconds,
            gradients=apart_by(whole, expected),
            states=None,
            accelerate=usual_estimate(jobs[name].model, "fp32"),
        )
    return made


# --- does a small optimiser learn as well? ------------------------------------------------------------------


def captions(count, split):
    """Real captions in both languages, as rows of tokens."""
    told = [scenes.marked_caption(one.scene, random.Random(one.seed)) for one in scenes.samples(count, split)]
    return models.load("tokenizer")(told, padding=True, return_tensors="pt").input_ids


def learnt(optimiser, seed, train, test):
    """The surprise, in nats for each token, at captions that were kept back, after a short training from nothing."""
    torch.manual_seed(seed)
    tokenizer = models.load("tokenizer")
    model = models.language_model(tokenizer, layers=2)

    def loss(model, rows):
        given, pad = rows[:, :-1], tokenizer.pad_token_id
        return losses.cross_entropy(model(given, attention_mask=given != pad).logits, rows[:, 1:], ignore=pad)

    batches = training.Shuffled(len(train), CAPTIONS, lambda chosen, _: train[chosen], seed)
    states = optimiser(model.parameters(), lr=RATE)
    training.fit(model, batches, loss, STEPS, optimiser=states, progress=False)
    held = sum(x.nbytes for state in states.state.values() for x in state.values() if torch.is_tensor(x))
    with torch.no_grad():
        return loss(model, test).item(), held / sum(p.numel() for p in model.parameters())


def optimisers():
    """Those to compare; that of bitsandbytes too, where it is installed."""
    made = {"AdamW": partial(torch.optim.AdamW, fused=True), "8-bit Adam": memory.AdamW8bit}
    made["4-bit Adam"] = memory.AdamW4bit
    if importlib.util.find_spec("bitsandbytes"):
        made["8-bit Adam, bitsandbytes"] = library
    return made


def library(weights, lr):
    """The library's own, with the decay of the others."""
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(weights, lr=lr, weight_decay=0.01)


def compared():
    """For each optimiser: bytes a weight, and held-out losses by seed."""
    train, test = apart(captions, 2000, "train"), apart(captions, 256, "test")
    runs = {n: [apart(learnt, each, seed, train, test) for seed in SEEDS] for n, each in optimisers().items()}
    return {name: (each[0][1], [loss for loss, _ in each]) for name, each in runs.items()}


# --- the report ---------------------------------------------------------------------------------------------


def apart(function, *args):
    """What a function returns in a process of its own, a copy of this one."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        process = multiprocessing.get_context("fork").Process(target=lambda: parcel.write(answer, function(*args)))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{function.__name__}{args[:1]} ended without an answer: see what it printed")
        return parcel.read(answer)


HEADS = ["model", "batch", "tricks", "predicted, MiB", "counted, MiB", "error", "allocator, MiB", "error"]
HEADS += ["process, MiB", "seconds", "gradients off by", "states, B a weight", "accelerate, MiB"]


def line(key, found):
    """A row of the table."""
    name, rows, label = key
    mib = {k: "–" if found[k] is None else f"{found[k] / MIB:.2f}" for k in ("predicted", "counted", "allocator")}
    return [
        name,
        rows,
        label,
        mib["predicted"],
        mib["counted"],
        f"{found['predicted'] / found['counted'] - 1:+.4%}",
        mib["allocator"],
        "–" if found["allocator"] is None else f"{found['allocator'] / found['counted'] - 1:+.1%}",
        "–" if found["process"] is None else f"{found['process'] / MIB:.0f}",
        f"{found['seconds']:.2f}",
        f"{found['gradients']:.1e}",
        "–" if found["states"] is None else f"{found['states']:.3f}",
        f"{found['accelerate'] / MIB:.1f}",
    ]


def markdown(heads, rows):
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, each)) + " |" for each in lines)


def summary(found, learning):
    """What is asked, and what was reached."""
    predicted = max(found.items(), key=lambda item: abs(item[1]["predicted"] / item[1]["counted"] - 1))
    real = {key: each for key, each in found.items() if each["allocator"]}
    scratch = {key: each["allocator"] / each["counted"] - 1 for key, each in real.items()}
    worst = max(scratch, key=lambda key: abs(scratch[key]), default=None)
    over = sorted((key for key in scratch if abs(scratch[key]) > 0.1), key=scratch.get)
    rows = [
        [
            "prediction off the counted peak, worst of all",
            "≤ 0.1 %",
            f"{abs(predicted[1]['predicted'] / predicted[1]['counted'] - 1):.4%}",
        ],
        [
            "allocator off the counted peak, worst (configurations over 10 %)",
            "≤ 10 %",
            f"{scratch[worst]:+.1%}, {', '.join(map(str, worst))} ({len(over)} of {len(scratch)})" if scratch else "–",
        ],
    ]
    for (name, batch, label), each in found.items():
        plain = found.get((name, batch, "plain"))
        if label.startswith(ALL[:20]) and "checkpointing" in label and plain:
            rows.append(
                [f"all tricks together below plain float32, {name}, batch {batch}", "≥ 5 ×",
                 f"{plain['counted'] / each['counted']:.1f} × ({plain['counted'] / MIB:.1f} → "
                 f"{each['counted'] / MIB:.1f} MiB)"]
            )
    for name in ("denoiser", "captioner", "autoencoder"):
        states = [each["states"] for key, each in found.items() if key[0] == name and key[2] == "8-bit Adam"]
        if states:
            rows.append([f"8-bit Adam, bytes a weight for both states, {name}", "≤ 2.1", f"{states[0]:.3f}"])
    if learning:
        _, base = learning["AdamW"]
        for name, (_, each) in learning.items():
            ratios = [mine / theirs - 1 for mine, theirs in zip(each, base, strict=True)]
            if name != "AdamW":
                asked = "within 1 %" if name.startswith("8-bit") else "–"
                spread = ", ".join(f"{ratio:+.2%}" for ratio in ratios)
                rows.append([f"{name}: loss beside AdamW's", asked, f"{statistics.mean(ratios):+.2%} ({spread})"])
    return rows, over, scratch


def report(found, learning, took):
    """The whole file."""
    rows, over, scratch = summary(found, learning)
    libraries = ", ".join(f"{each} {version(each)}" for each in ("torch", "diffusers", "transformers", "accelerate"))
    parts = [
        "# Bytes of a training step\n",
        f"Remade by `python scripts/bench_memory.py`.  {machine()}; Python {platform.python_version()}, {libraries}.",
        f"{len(found)} configurations in {took:.0f} s of processor time on one core.\n",
        "## Asked and reached\n",
        markdown(["", "asked", "reached"], rows) + "\n",
    ]
    if learning:
        told = [[n, f"{size:.3f}", *(f"{x:.4f}" for x in each)] for n, (size, each) in learning.items()]
        seeds = [f"loss, seed {seed}" for seed in SEEDS]
        parts += [
            "## Optimisers with small states\n",
            f"A new GPT-2 of two layers, {STEPS} steps of {CAPTIONS} captions; nats for each token of 256 others.\n",
            markdown(["optimiser", "states, bytes a weight", *seeds], told) + "\n",
        ]
    parts += ["## Every configuration\n", __doc__.split("\n\n")[2] + "\n"]
    parts += [
        "“accelerate” is what `accelerate estimate-memory` says of the model's weights in the precision of the loss; "
        "it knows no batch and no trick.\n",
        markdown(HEADS, [line(key, each) for key, each in found.items()]),
    ]
    if over:
        parts.append("\nKernels of the processor take scratch that no count of storages sees: "
                     + "; ".join(f"{', '.join(map(str, key))}: {scratch[key]:+.1%}" for key in over) + ".")
    peaks = {key: each["peaks"] for key, each in found.items() if "peaks" in each}
    told = [f"{', '.join(map(str, key))}: {a / MIB:.2f} predicted, {b / MIB:.2f} MiB counted ({a / b - 1:+.1%})"
            for key, (a, b) in peaks.items()]
    parts += ["\nThe peak of the first of two sharded processes, whose messages gloo copies unseen: " + "; ".join(told)
              + "."] if told else []
    return "\n".join(parts) + "\n"


def machine():
    """The processor, and how many cores of it."""
    model = [x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")] if Path(
        "/proc/cpuinfo").exists() else []
    return f"{model[0] if model else platform.processor()}, {multiprocessing.cpu_count()} cores, one used"


def main():
    """Measure each configuration, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three configurations, and no file")
    parser.add_argument("--only", help="configurations whose name contains this, and no file")
    args = parser.parse_args()
    runtime.threads(1)
    began = processor_time()
    print(runtime.summary())
    pipe = models.load("text-to-image")
    loaded = {"denoiser": pipe.unet, "autoencoder": pipe.vae, "captioner": models.load("captioner")}
    rows = apart(data, pipe)
    jobs = {n: Job(model.requires_grad_(True), rows[n], LOSSES[n]) for n, model in loaded.items()}
    asked = [(n, size, label) for n, sizes in ASKED.items() for size, labels in sizes.items() for label in labels]
    if args.only:
        asked = [key for key in asked if args.only in " ".join(map(str, key))]
    asked = QUICK if args.quick else asked
    shared = [key for key in asked if "sharded" in key[2]]
    found = {}
    for key in asked:
        if key not in shared:
            expected = reference(key[0], jobs[key[0]], key[1], "LoRA" in key[2])
            found[key] = apart(examined, key[0], jobs[key[0]], *key[1:], expected)
            print(" | ".join(map(str, line(key, found[key]))), flush=True)
    if shared:
        for key, each in sharded(shared, jobs).items():
            found[key] = each
            print(" | ".join(map(str, line(key, each))), flush=True)
    learning = {} if args.quick or args.only else compared()
    told = report(found, learning, processor_time() - began)
    print(told)
    if not (args.quick or args.only):
        file = runtime.data_dir() / FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(told, encoding="utf-8", newline="\n")


def processor_time():
    """Seconds of processor time, of this process and those it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
