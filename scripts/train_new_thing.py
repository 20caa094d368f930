"""Train what notebook 3.4 loads: its lesson of six pictures, with prior preservation, ten minutes long."""

import argparse
import random
from pathlib import Path

import machine
import torch
from finetune_new_thing import COLUMNS, LIKE, TOKEN, measured, six
from safetensors.torch import load_file
from train_loras import EVERYWHERE, cost_of, hash_of_base, put_in_place, runs_of

from aigc_course import adaptation, evaluation, lora, models, runtime, scenes, training
from aigc_course.adaptation.new_thing import LEARNT

DIALS = "copies", "remember", "steps", "batch", "prior", "rate", "rank"
CARD = """# dreambooth-{name}

The {name} of `data/things/{name}`, learnt from its six pictures alone: a word, `{token}`, and a LoRA for the denoiser
of `text-to-image`.

```python
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe.load_textual_inversion("data/models/dreambooth-{name}")
pipe.load_lora_weights("data/models/dreambooth-{name}")
pipe("a large {token} in the snow, ink style", guidance_scale=2.0).images[0]
```

| | |
|---|---|
| changes | one row of the text encoder's table; layers whose names end in {ends}; rank {rank}, α = {rank}; {parameters:,} numbers in half precision |
| trained on | six pictures, each moved {copies} times by up to 16 pixels; and {remember:,} pictures of training scenes that the model itself painted before the lesson (prior preservation) |
| training | {runs}; in each step {prior} of the model's own pictures beside |
| remade by | `python scripts/train_new_thing.py {name}`, after `train_text_to_image.py`; its defaults may differ; it fits no other denoiser |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `evaluation.load_newcomers()` and the parser, in two places and three styles that none of the six has, {seeds}
seeds of 12 pictures, 8 steps, guidance 1.5, with 95 % intervals over seeds: {found}.

*Thing*: the judge sees this thing; *control*: it sees the other new thing, which was never taught; *place*, *style*:
as asked; *all*: thing, place and style; *suite*: the six tasks of `evaluation.questions`, of the world's own things,
after the lesson; *turned*: how many of those things have become the new one.

**Fails** where *thing* falls short of 1: six pictures teach colour and rough shape sooner than a face or
an outline, and in other styles the thing may come out as a patch of its colours.
"""  # noqa: E501


def lesson(pipe, name, args):
    """The six pictures, moved; and what the model paints before it learns, which is kept in a file."""
    own = adaptation.lesson(pipe, *six(name), copies=args.copies)
    drawn = scenes.samples(args.remember, "train", seed=34)
    prompts = [scenes.caption(one.scene, random.Random(k)) for k, one in enumerate(drawn)]
    file = args.folder / f"prior-{args.remember}-of-{hash_of_base()[:8]}.safetensors"  # another model paints others

    def painted(prompts):
        starts = range(0, len(prompts), 16)
        return [adaptation.remembered(pipe, prompts[k : k + 16], steps=10, seed=k).latents for k in starts]

    latents = training.made_once(file, lambda: {"latents": torch.cat(painted(prompts))})["latents"]
    return own, adaptation.Lesson(latents, [[prompt] * 3 + [""] for prompt in prompts])


def taught(name, args):
    """The pipeline after the lesson, what can learn in it as it will be shipped, and what it took."""
    pipe = models.load("text-to-image", dtype=torch.float32)
    own, prior = lesson(pipe, name, args)
    row = adaptation.new_word(pipe, TOKEN, like=LIKE)
    if args.go_on:
        folder = models.folder_of(f"dreambooth-{name}")
        pipe.text_encoder.get_input_embeddings().weight.data[row] = load_file(folder / LEARNT)[TOKEN]
        lora.load(pipe.unet, folder)
    else:
        lora.add(pipe.unet, args.rank, EVERYWHERE, generator=runtime.generator(0))
    dials = dict(batch=args.batch, remember=args.prior, learning_rate=args.rate, ema=0.98)
    kept = dict(folder=machine.begun(args, args.folder / name, f"dreambooth-{name}"), save_every=50)
    history = adaptation.teach(pipe, own, args.steps, prior, **dials, **kept)
    table = pipe.text_encoder.get_input_embeddings().weight.data
    for weight in (*lora.parameters(pipe.unet), table[row]):
        weight.data.copy_(weight.data.half())  # it is judged as it is shipped
    return pipe, cost_of(history)


def judged(pipe, seeds, thing):
    """The shares that the card tells."""
    found = [measured(pipe, TOKEN, seed, thing=thing) for seed in range(seeds)]
    told = [f"{column} {evaluation.interval(torch.tensor([one[column] for one in found])):.2f}" for column in COLUMNS]
    return ", ".join(told)


def ship(pipe, name, args, took, found):
    """Write `data/models/dreambooth-<name>`: word and LoRA in half precision, card, recipe, manifest."""
    weights = lora.parameters(pipe.unet)
    for weight in weights:
        weight.data = weight.data.half()
    facts = dict(name=name, token=TOKEN, ends=", ".join(f"`{end}`" for end in EVERYWHERE), found=found)
    told = vars(args) | took | facts | dict(parameters=sum(weight.numel() for weight in weights))
    run = {dial: told[dial] for dial in (*DIALS, *took)} | {"targets": EVERYWHERE}
    recipe = [*(models.recipe_of(f"dreambooth-{name}") if args.go_on else []), run]

    def write(folder):
        adaptation.save_token(pipe, TOKEN, folder)
        lora.save(pipe.unet, folder)

    put_in_place(f"dreambooth-{name}", write, CARD.format(**told, runs=runs_of(recipe)), recipe)


def main():
    """Teach each thing to the denoiser as it is shipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=["robot", "teapot"], help="robot, if none is given")
    parser.add_argument("--copies", type=int, default=32, help="how often each picture is moved")
    parser.add_argument("--remember", type=int, default=320, help="pictures that the model paints before the lesson")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prior", type=int, default=8, help="remembered pictures in a step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3, help="of the pictures that are judged for the card")
    parser.add_argument("--go-on", action="store_true", help="start from what is shipped; name another --folder")
    parser.add_argument("--folder", type=Path, default=Path("runs/new-thing"), help="where checkpoints go")
    args = parser.parse_args()
    evaluation.load_newcomers(), evaluation.load_parser()  # the judges, before the lesson
    for name in args.names or ["robot"]:
        torch.manual_seed(0)
        pipe, took = taught(name, args)
        if not training.is_first():
            continue
        found = judged(pipe, args.seeds, name)
        print(f"{name}: {found}", flush=True)
        ship(pipe, name, args, took, found)


if __name__ == "__main__":
    main()
