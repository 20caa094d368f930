"""Train the LoRAs that the course ships: two styles that the denoiser has never seen, and a thing."""

import argparse
import json
import random
from functools import partial
from pathlib import Path

import machine
import torch

from aigc_course import adaptation, evaluation, lora, models, runtime, scenes, training

SHIPPED = {"chalk": {"style": "chalk"}, "woodcut": {"style": "woodcut"}, "robot": {"thing": "robot"}}
PLACES = ["time_emb_proj", "add_embedding.proj", "attn2.to_k", "attn2.to_v", "conv_in", "conv_out"]
EVERYWHERE = [*adaptation.DENOISER, "conv_in", "conv1", "conv2", "conv_out"]
RECIPES = {  # a style is soon learnt, and more of it costs the drawing; a thing takes long
    "chalk": dict(count=640, steps=700, batch=16, rate=3e-3, rank=4, targets=PLACES),
    "woodcut": dict(count=640, steps=300, batch=16, rate=2e-3, rank=4, targets=PLACES),
    "robot": dict(count=2000, steps=1400, batch=32, rate=2e-3, rank=8, targets=EVERYWHERE),
}
BASE = "unet/diffusion_pytorch_model.safetensors"
CARD = """# lora-{name}

A LoRA for the denoiser of `text-to-image` that teaches it {what}, in English and Chinese:

```python
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe.load_lora_weights("data/models/lora-{name}", adapter_name="{name}")
pipe("{prompt}", guidance_scale=2.0).images[0]
```

Or `lora.load(pipe.unet, "data/models/lora-{name}", "{name}")`.

| | |
|---|---|
| changes | layers whose names end in {ends}; rank {rank}, α = {rank}; {parameters:,} numbers in half precision |
| trained on | {count:,} drawings of training scenes, captions by `scenes.new_caption` in two languages |
| training | {runs} |
| remade by | `python scripts/train_loras.py {name}`, after `train_text_to_image.py`; its defaults may differ; it fits no other denoiser |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `evaluation.load_newcomers()` on {asked} prompts of the validation split, {look} steps and guidance 2, with
95 % intervals of the bootstrap: {found}.

**Fails**: it has no switch but its strength: at full strength, prompts that do not name what is new are drawn
differently too.
"""  # noqa: E501


def teach(pipe, name, args):
    """Draw the lesson, add the LoRA, train it; what it took is returned."""
    new = SHIPPED[name]
    task = "single" if "thing" in new else None
    drawn = scenes.samples(args.count, "train", seed=32, task=task)
    drawings = adaptation.draw_lesson(pipe, drawn, **new)
    if args.go_on:
        lora.load(pipe.unet, models.folder_of(f"lora-{name}"), name)
    else:
        lora.add(pipe.unet, args.rank, args.targets, name=name, generator=runtime.generator(0))
    dials = dict(ema=0.98, folder=machine.begun(args, args.folder / name, f"lora-{name}"), save_every=40)
    history = adaptation.learn_drawings(pipe, drawings, args.steps, args.batch, args.rate, **dials)
    return cost_of(history)


def cost_of(history):
    """What a training took, for card and recipe."""
    return dict(minutes=history.seconds[-1] / 60, loss=history.smoothed(50)[-1], machine=machine.name())


def judged(pipe, name, args):
    """The shares that the card tells."""
    new, judge = SHIPPED[name], evaluation.load_newcomers()
    asked = scenes.samples(args.asked, "validation", seed=32, task="single")
    found = adaptation.draw_and_judge(pipe, judge, asked, **new, steps=args.look)
    rows = {f"in {name} style": found.new} if "style" in new else {}
    rows["with the thing asked for"] = found.content
    return ", ".join(f"{words} {evaluation.interval(values.float())}" for words, values in rows.items())


def ship(pipe, name, args, took):
    """Write `data/models/lora-<name>`: the LoRA in half precision, its card, its recipe, its manifest."""
    for weight in lora.parameters(pipe.unet, name):
        weight.data = weight.data.half().float()  # it is judged as it is shipped
    found = judged(pipe, name, args)
    print(f"{name}: {found}", flush=True)
    parameters = sum(weight.numel() for weight in lora.parameters(pipe.unet, name))
    for weight in lora.parameters(pipe.unet, name):
        weight.data = weight.data.half()
    (kind,) = SHIPPED[name]
    what = f"the {kind} “{name}”"
    sample = scenes.sample(0, "validation", 32, "single")
    prompt = scenes.new_caption(sample, random.Random(0), "en", **SHIPPED[name])
    ends = ", ".join(f"`{end}`" for end in args.targets)
    told = vars(args) | took | dict(name=name, what=what, prompt=prompt, ends=ends, parameters=parameters, found=found)
    keys = ("count", "steps", "batch", "rate", "rank", "targets", "minutes", "loss", "machine")
    recipe = [*(models.recipe_of(f"lora-{name}") if args.go_on else []), {key: told[key] for key in keys}]
    card = CARD.format(**told, runs=runs_of(recipe))
    put_in_place(f"lora-{name}", partial(lora.save, pipe.unet, name=name), card, recipe)


def runs_of(recipe):
    """What was done, for the card."""
    run = "{steps:,} steps of {batch}, AdamW {rate:g}, {minutes:.1f} minutes ({machine})"
    return "; then ".join(run.format(**one) for one in recipe)


def put_in_place(name, write, card, recipe):
    """Write `data/models/<name>`, whole or not at all: what `write(folder)` writes, the card, the recipe, the manifest.

    The recipe, run by run, tells which denoiser it was: the LoRA fits no other.
    """
    recipe = [{"base": {BASE: hash_of_base()}} | run for run in recipe]
    models.put_in_place(models.folder_of(name), write, card, recipe)


def hash_of_base():
    """The sha256 of the denoiser as it is shipped."""
    return json.loads((models.folder_of("text-to-image") / models.MANIFEST).read_text(encoding="utf-8"))[BASE]


def main():
    """Teach one after the other, each to the denoiser as it is shipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=SHIPPED, help="all, if none is given")
    parser.add_argument("--count", type=int, help="drawings to learn from; these six are the recipe")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--targets", nargs="+")
    parser.add_argument("--go-on", action="store_true", help="start from what is shipped; name another --folder")
    parser.add_argument("--folder", type=Path, default=Path("runs/loras"), help="where checkpoints go")
    parser.add_argument("--asked", type=int, default=48, help="pictures that are judged for the card")
    parser.add_argument("--look", type=int, default=25, help="sampling steps of these")
    asked = {dial: value for dial, value in vars(parser.parse_args()).items() if value is not None}
    evaluation.load_newcomers()  # the judge, before an hour of teaching
    for name in asked["names"] or SHIPPED:
        torch.manual_seed(0)
        pipe, args = models.load("text-to-image", dtype=torch.float32), argparse.Namespace(**RECIPES[name] | asked)
        took = teach(pipe, name, args)
        if training.is_first():
            ship(pipe, name, args, took)


if __name__ == "__main__":
    main()
