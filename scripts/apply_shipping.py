"""Notebook 6.5 in figures: a style taught and what it broke, a card, ONNX files, replicas, recipes that are refused."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import bench_ship
import httpx
import psutil
import torch

from aigc_course import applications, evaluation, models, runtime, sampling, scenes, serving

Row = tuple[str, str, str, str]
RECIPE = runtime.data_dir() / "recipes" / "lacquer.py"
NEAR, LESSON, STEPS = 1e-4, 96, 80
SPOILT = {  # what stands in the recipe, and what makes it one that cannot be taken
    '"CC BY 4.0"': '"mine"',
    '"漆画"': '"lacquer"',
    '"lacquer"': '"chalk"',
    "def paint(": "def draw(",
    "from PIL": "from nowhere",
    "Image.new(": "image.new(",
    "board.reduce(styles.OVERSAMPLE)": "board",
    "return board.reduce(styles.OVERSAMPLE)": "return Image.new('RGB', (size, size), GROUND)",
}


# --- a style of one file -------------------------------------------------------------------------------------


def _taught(count: int, folder: Path) -> Iterator[Row]:
    """The exam before and after, with its controls, and the folder that is proposed."""
    recipe = applications.load_recipe(RECIPE)
    judge = applications.StyleJudge(recipe)
    seen = applications.check_recipe(recipe, judge)
    yield "judge of the style, fresh drawings: right", "", f"{seen.told_apart}", ""
    yield "things read in the style's drawings", "", f"{seen.read}", f"plain drawings {seen.read_flat}"
    pipe, exam = models.load("text-to-image", dtype=torch.float32), applications.Exam(recipe, judge, count)
    before = exam.marks(exam.drawn(pipe))
    applications.learn_recipe(
        pipe, applications.recipe_lesson(pipe, recipe, scenes.samples(LESSON, "train", seed=41)), STEPS, progress=False
    )
    answers = exam.drawn(pipe)
    after, shuffled, ceiling = exam.marks(answers), exam.marks(answers, shuffled=True), exam.marks(exam.by_rule(pipe))
    figures = applications.compare(before, after)
    for figure in figures:
        control = f"by rule {_mean(ceiling, figure.name)}, shuffled {_mean(shuffled, figure.name)}"
        told = f"{figure.before} → {figure.after}, in pairs {figure.difference:+.2f}"
        yield f"{STEPS} steps: {figure.name}", "rises" if figure is figures[0] else "", told, control
    applications.propose(pipe, exam, folder, before, after, count=LESSON, steps=STEPS)
    card = applications.read_model_card(folder)
    same = {one.metric_name: one.metric_value for one in card.data.eval_results}
    equal = same == {figure.name: round(figure.after.mean, 2) for figure in figures}
    card.save(folder / "again.md")
    equal = equal and type(card).load(folder / "again.md").content == card.content
    yield "card read back: equal to what was measured and written", "yes", "yes" if equal else "no", _bent(folder, card)


def _mean(found: dict, name: str) -> str:
    return f"{found[name].float().mean():.2f}" if name in found else "–"


def _bent(folder: Path, card) -> str:
    """Whether a card with one figure changed in its head is refused."""
    value = card.data.eval_results[0].metric_value
    bent = card.content.replace(f"value: {value}", f"value: {0.5 if value != 0.5 else 0.4}", 1)
    (folder / "README.md").write_text(bent, encoding="utf-8")
    try:
        applications.read_model_card(folder)
    except ValueError:
        return "one figure changed: refused"
    return "one figure changed: accepted"


def _refused(folder: Path) -> Row:
    text, refused = RECIPE.read_text(encoding="utf-8"), 0
    for old, new in SPOILT.items():
        file = folder / "mine.py"
        file.write_text(text.replace(old, new), encoding="utf-8")
        try:
            applications.check_recipe(applications.load_recipe(file), judge=_Sure(), count=4)
        except ValueError:
            refused += 1
    applications.check_recipe(applications.load_recipe(RECIPE), judge=_Sure())
    return "spoilt recipes refused with a sentence", "all", f"{refused} of {len(SPOILT)}", "the whole one: taken"


class _Sure:
    """A judge of style that is always right: here it is the rest of the check that is tried."""

    def own_accuracy(self):
        return torch.ones(4)


# --- out of torch, out of the notebook -----------------------------------------------------------------------


@torch.no_grad()
def _exported(count: int, folder: Path) -> Iterator[Row]:
    """How far ONNX files are apart from torch; the control is a network whose weights are off by a thousandth."""
    captioner, tokenizer, pipe = (models.load(name) for name in ("captioner", "tokenizer", "text-to-image"))
    pictures = scenes.pictures(scenes.samples(count, "test", seed=73))
    serving.export_captioner(captioner, folder)
    words = sampling.encode_words(pipe, ["a red house"] * 4)
    x_t, t = torch.randn(4, *models.LATENT, generator=runtime.generator(1)), torch.full((4,), 500.0)
    serving.export_denoiser(pipe, folder)
    eyes, denoiser = (serving.Exported(folder / f"{name}.onnx") for name in ("eyes", "denoiser"))
    drawn, looked = denoiser(x_t=x_t, t=t, words=words), eyes(pictures=pictures)
    pairs = {
        "denoiser": (pipe.unet, lambda: pipe.unet(x_t, t, encoder_hidden_states=words).sample, drawn),
        "captioner's eyes": (captioner, lambda: captioner.encoder(pictures).last_hidden_state, looked),
    }
    said = sampling.pictures_to_words(captioner, tokenizer, pictures)
    mine = serving.exported_captions(folder, tokenizer, pictures)
    for name, (network, asked, found) in pairs.items():
        apart = (asked() - found).abs().max().item()
        for weight in network.parameters():
            weight.data *= 1.001
        control = f"weights × 1.001: {(asked() - found).abs().max():.1e}"
        yield f"ONNX: {name}, furthest number", f"≤ {NEAR:g}", f"{apart:.1e}", control
    same = [a.strip() == b for a, b in zip(said, mine, strict=True)]
    turned = [a.strip() == b for a, b in zip(said, mine[1:] + mine[:1], strict=True)]
    agree, control = (f"{evaluation.interval(torch.tensor(values).float())}" for values in (same, turned))
    yield "ONNX: captions word for word torch's", "1", agree, f"another picture's {control}"


def _served(count: int) -> Iterator[Row]:
    """Two replicas under mixed requests, and one of them killed."""
    with serving.replicas(2, {"OMP_NUM_THREADS": "1"}) as running:
        port = int(running.url.rsplit(":", 1)[1])
        answers, _ = asyncio.run(bench_ship.load(port, 10 * count, 4, lambda: sum(running.memory().values()) / 1e6))
        lost, wrong = sum(one[1] == 0 for one in answers), sum(not one[3] for one in answers)
        statuses = ", ".join(f"{status} × {n}" for status, n in sorted(Counter(one[1] for one in answers).items()))
        yield f"two replicas, {len(answers)} mixed requests: lost, wrong status", "0, 0", f"{lost}, {wrong}", statuses
        waits = sorted(one[2] for one in answers if one[0] == "a picture" and one[1] == 200)
        p99 = quantiles(waits, n=100, method="inclusive")[98]
        held = ", ".join(f"{size / 1e6:.0f} MB" for size in running.memory().values())
        yield "a picture of 4 steps: p50, p99", "", f"{median(waits):.2f} s, {p99:.2f} s", f"each replica holds {held}"
        first = running.who(wanted=2)
        psutil.Process(min(first)).kill()
        began, broken = time.monotonic(), 0
        for _ in range(40):
            try:
                httpx.get(f"{running.url}/health", timeout=10).raise_for_status()
            except httpx.HTTPError:
                broken += 1
        second = running.who(90, wanted=2, without=min(first))
        told = f"{len(second - first)} new after {time.monotonic() - began:.1f} s"
        yield "one of two killed: replaced", "yes", told, f"of 40 questions meanwhile lost: {broken}"


def table(count: int = 24) -> str:
    """The Markdown table.  count: prompts of each kind before and after; a tenth of the requests."""
    if count < 3:
        raise ValueError(f"count={count}: the suite asks three kinds of prompts; use 3 or more")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [*_taught(count, place / "lora-lacquer"), _refused(place), *_exported(min(count, 16), place)]
        rows += _served(count)
    head = ["| figure | asked | reached | control |", "|---|---|---|---|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    print(table())
