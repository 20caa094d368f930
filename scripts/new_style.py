"""A drawing style in one file: check it, teach it to the denoiser, judge it before and after, make it ready to propose.

    python scripts/new_style.py data/recipes/lacquer.py              some ten minutes on two cores
    python scripts/new_style.py my_style.py --only-check             seconds: is it a style that can be taught?

The file is run: look into one that is not yours before.  What is left in runs/recipes/lora-<name>: the LoRA, its card,
a picture of what it does, and hashes; what to do with it is said at the end.
"""

import argparse
from pathlib import Path

import torch

from aigc_course import applications, evaluation, lora, models, scenes, style

NEXT = """
Look at {folder}/sheet.png, and read README.md there.  To propose it:
  1. cp {file} data/recipes/   and   cp -r {folder} data/models/
  2. make test
  3. commit both on a branch of your own, and open a pull request with the table above in it.
"""


def checked(file):
    """The recipe and its judge, with what the check saw; SystemExit with one sentence if it is no good."""
    try:
        recipe = applications.load_recipe(file)
        judge = applications.StyleJudge(recipe)
        seen = applications.check_recipe(recipe, judge)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"{recipe.english} ({recipe.chinese}), {recipe.licence}: {recipe.about}")
    print(f"  {1000 * seen.seconds:.1f} ms a picture")
    print(f"  things read: {seen.read}; in plain drawings of the same scenes: {seen.read_flat}")
    print(f"  told from the other styles: {seen.told_apart}", flush=True)
    return recipe, judge


def sheet(recipe, exam, before, after, count=6):
    """Drawn by rule, without and with the LoRA: three rows of one picture."""
    shown = [recipe.pictures(exam.new[:count]), *(answers.new[:count] for answers in (before, after))]
    rows = torch.cat([torch.cat(list(row), 2) for row in shown], 1)
    return style.to_pil(rows[None])


def main():
    """Check, teach, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the recipe")
    parser.add_argument("--only-check", action="store_true", help="stop after the check")
    parser.add_argument("--count", type=int, default=320, help="drawings to learn from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--asked", type=int, default=48, help="prompts of each kind that are judged, before and after")
    parser.add_argument("--look", type=int, default=25, help="sampling steps of these")
    parser.add_argument("--folder", type=Path, default=Path("runs/recipes"), help="where the proposal goes")
    args = parser.parse_args()
    recipe, judge = checked(args.file)
    if args.only_check:
        return
    torch.manual_seed(0)
    pipe, exam = models.load("text-to-image", dtype=torch.float32), applications.Exam(recipe, judge, args.asked)
    before = exam.drawn(pipe, args.look)
    lesson = applications.recipe_lesson(pipe, recipe, scenes.samples(args.count, "train", seed=41))
    history = applications.learn_recipe(pipe, lesson, args.steps, args.batch, args.rate)
    for weight in lora.parameters(pipe.unet, "style"):
        weight.data = weight.data.half().float()  # it is judged as it is stored
    after = exam.drawn(pipe, args.look)
    for weight in lora.parameters(pipe.unet, "style"):
        weight.data = weight.data.half()
    took = dict(count=args.count, steps=args.steps, batch=args.batch, rate=args.rate, minutes=history.seconds[-1] / 60)
    folder, picture = args.folder / recipe.folder, sheet(recipe, exam, before, after)
    args.folder.mkdir(parents=True, exist_ok=True)
    applications.propose(pipe, exam, folder, exam.marks(before), exam.marks(after), picture, **took)
    print((folder / "README.md").read_text(encoding="utf-8").partition("## What it gains and breaks")[2].strip())
    shuffled = exam.marks(after, shuffled=True)
    failing = ", ".join(f"{name} {evaluation.interval(found.float())}" for name, found in shuffled.items())
    print(f"control, each picture judged by another's prompt: {failing}")
    print(NEXT.format(file=args.file, folder=folder))


if __name__ == "__main__":
    main()
