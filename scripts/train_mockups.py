"""Train the LoRA that draws mock-ups of pages: a family of pictures beside the world's, taught to the same denoiser."""

import argparse
from functools import partial
from pathlib import Path

import machine
import torch
from train_loras import EVERYWHERE, cost_of, put_in_place, runs_of

from aigc_course import adaptation, evaluation, lora, models, runtime, sampling, scenes, training
from aigc_course.applications import mockups

NAME = "mockup"
CARD = """# lora-mockup

A LoRA for the denoiser of `text-to-image` that teaches it mock-ups of pages, told in English or Chinese:

```python
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe.load_lora_weights("data/models/lora-mockup", adapter_name="mockup")
pipe("{prompt}", guidance_scale=2.0).images[0]
```

Or `lora.load(pipe.unet, "data/models/lora-mockup", "mockup")`.

| | |
|---|---|
| changes | layers whose names end in {ends}; rank {rank}, α = {rank}; {parameters:,} numbers in half precision |
| trained on | {count:,} drawings of the family `scenes.MOCKUPS`, training split, told in two languages |
| training | {runs} |
| remade by | `python scripts/train_mockups.py`, after `train_text_to_image.py`; its defaults may differ; it fits no other denoiser |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `applications.judge_pages`, a rule on pixels, on {asked} layouts that were never trained on, {look} steps,
guidance 2, with 95 % intervals of the bootstrap:

| | {points} |
|---|{dashes}|
{rows}

**Fails** on what its family does not have: other parts, two panels, more than three buttons.  Parts of a page that
differ in colour sometimes swap or mix them.
"""  # noqa: E501


def teach(pipe, args):
    """Draw the lesson, add the LoRA, train it; what it took is returned."""
    drawings = mockups.family_lesson(pipe, scenes.MOCKUPS, scenes.MOCKUPS.facts(args.count, "train", seed=1))
    if args.go_on:
        lora.load(pipe.unet, models.folder_of(f"lora-{NAME}"), NAME)
    else:
        lora.add(pipe.unet, args.rank, EVERYWHERE, name=NAME, generator=runtime.generator(0))
    dials = dict(ema=0.98, folder=machine.begun(args, args.folder, f"lora-{NAME}"), save_every=100)
    history = adaptation.learn_drawings(pipe, drawings, args.steps, args.batch, args.rate, **dials)
    return cost_of(history)


def rows(pipe, count, look):
    """The table of the card: the LoRA in both languages, and what has to fail."""
    asked = scenes.MOCKUPS.facts(count, "test", seed=2)
    told = {language: scenes.MOCKUPS.captions(asked, language) for language in scenes.LANGUAGES}
    mixed = [told["en" if k % 2 else "zh"][k] for k in range(count)]
    tries = {"English": told["en"], "Chinese": told["zh"], "control: words of another layout": [*mixed[1:], mixed[0]]}
    found = {name: judged(pipe, prompts, asked, look) for name, prompts in tries.items()}
    lora.combine(pipe.unet, {})
    found["control: without the LoRA"] = judged(pipe, mixed, asked, look)
    lora.combine(pipe.unet, {NAME: 1.0})
    return found


def judged(pipe, prompts, asked, look):
    """One row: draw in groups, and let the reader look."""
    groups = [prompts[k : k + 16] for k in range(0, len(prompts), 16)]
    drawn = [sampling.words_to_pictures(pipe, some, look, seed=16 * k) for k, some in enumerate(groups)]
    found = mockups.judge_pages(torch.cat(drawn), asked)
    return [f"{evaluation.interval(values)}" for values in found.values()]


def ship(pipe, args, took):
    """Write `data/models/lora-mockup`: the LoRA in half precision, its card, its recipe, its manifest."""
    for weight in lora.parameters(pipe.unet, NAME):
        weight.data = weight.data.half().float()  # it is judged as it is shipped
    found = rows(pipe, args.asked, args.look)
    told = "\n".join(f"| {name} | {' | '.join(cells)} |" for name, cells in found.items())
    print(told, flush=True)
    parameters = sum(weight.numel() for weight in lora.parameters(pipe.unet, NAME))
    for weight in lora.parameters(pipe.unet, NAME):
        weight.data = weight.data.half()
    points = dict(points=" | ".join(mockups.POINTS), dashes="|".join(["---"] * len(mockups.POINTS)))
    facts = vars(args) | took | points | dict(rows=told, parameters=parameters)
    facts |= dict(prompt=scenes.MOCKUPS.captions(scenes.MOCKUPS.facts(1), "en")[0])
    keys = ("count", "steps", "batch", "rate", "rank", "minutes", "loss", "machine")
    run = {key: facts[key] for key in keys} | {"targets": EVERYWHERE}
    recipe = [*(models.recipe_of(f"lora-{NAME}") if args.go_on else []), run]
    card = CARD.format(**facts, ends=", ".join(f"`{end}`" for end in EVERYWHERE), runs=runs_of(recipe))
    put_in_place(f"lora-{NAME}", partial(lora.save, pipe.unet, name=NAME), card, recipe)


def main():
    """Teach, judge, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="drawings to learn from")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--go-on", action="store_true", help="start from what is shipped; name another --folder")
    parser.add_argument("--folder", type=Path, default=Path("runs/mockup"), help="where checkpoints go")
    parser.add_argument("--asked", type=int, default=48, help="pages that are judged for the card, each row")
    parser.add_argument("--look", type=int, default=25, help="sampling steps of these")
    args = parser.parse_args()
    torch.manual_seed(0)
    pipe = models.load("text-to-image", dtype=torch.float32)
    took = teach(pipe, args)
    if training.is_first():
        ship(pipe, args, took)


if __name__ == "__main__":
    main()
