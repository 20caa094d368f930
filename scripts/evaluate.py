"""Measure the cast against the truth of its world: each figure beside what was asked, and data/models/SCORES.md."""

import argparse
import random

import torch
import train_captioner
import train_clip
import train_lm
import train_text_to_image

from aigc_course import adaptation, evaluation, models, plotting, runtime, sampling, scenes

SCORES = """# Scores of the cast

Written by `make evaluate`, {count} scenes of one thing, of two and of several for each row, seeds: {seeds} (1 in
fewer steps and at guidance 1), 25 steps, guidance {scale:g}.  Brackets: 95 % bootstrap intervals.  All prompts are full
captions, of the test split or, where said, of compositions that training never saw.  The judge is `parser`, which saw
other scenes than any generator and no picture of theirs; its own error stands first.  The six tasks follow GenEval's
rules, with our judge and our world: do not compare them with published figures.

| model | figure | asked | reached |
|---|---|---|---|
{rows}

Lanczos leaves the judge hardly anything to miss, so there the upscaler cannot gain.  *Distances* to pictures that were
taught are of pixels, after both were shrunk to 16 × 16, in units of those of new drawings of what the prompt tells
(prompts that were taught: those that tell all); a *copy* is what the autoencoder makes of a picture that was taught.

## Words → pictures, task by task

{tasks}

Controls: *shuffled* judges each picture by another prompt and has to fail; *retrieval* answers each prompt with the
best-fitting of {library:,} training pictures; *drawn by rule* shows the judge true drawings of the same scenes, few
enough that a model may come out a hair above; *guidance 1* is for comparison and need not fail.

## By distance from training

How many compositions of a prompt training never saw, and the share of pictures right in every fact; "if independent"
is the product of the shares of each fact alone.

{distances}

![Pictures with every fact right, chosen at random](../sheets/successes.png)

*Right in every fact.*

![Pictures with some fact wrong, chosen at random](../sheets/failures.png)

*Wrong in the fact that stands in brackets.*  Failures of the other models: `data/sheets/parser.png`, `clip.png`,
`captioner.png` and `upscaler.png`, with the cards.
"""


def painted(pipe, asked, language, scale, seed, steps):
    """A picture for the full caption of each scene, and the captions."""
    rng = random.Random(seed)
    prompts = [scenes.caption(one.scene, rng, language) for one in asked]
    return by_batches(pipe, prompts, steps, scale, seed), prompts


def by_batches(pipe, prompts, steps, scale, seed):
    """A picture for each prompt, 32 at a time."""
    found = [
        sampling.words_to_pictures(pipe, prompts[k : k + 32], steps, scale, seed=100_000 * seed + k)
        for k in range(0, len(prompts), 32)
    ]
    return torch.cat(found).cpu()


class Row:
    """One way to answer the questions: its pictures over all seeds, and what the judge finds in them."""

    def __init__(self, name, judge, pictures, asked, prompts=()):
        self.name, self.pictures, self.asked, self.prompts = name, pictures, asked, prompts
        self.report = evaluation.examine(judge, pictures, asked)
        print(f"{name}: overall {self.report.overall}, exact {self.report.of('exact')}", flush=True)

    def cells(self):
        """The row of the table."""
        columns = [*evaluation.TASKS, "background", "style", "exact"]
        return [self.name, str(self.report.overall), *(f"{self.report.of(name).mean:.2f}" for name in columns)]


def rows_of(pipe, judge, args):
    """Every row of the table of tasks, by a short key."""
    seen, unseen = (evaluation.questions(args.count, split) for split in ("test", "held-out"))
    library = scenes.samples(args.library, "train", seed=1)
    found = {}

    def by_model(key, name, asked, language="en", scale=args.scale, seeds=args.seeds, steps=25):
        made = [painted(pipe, asked, language, scale, seed, steps) for seed in range(seeds)]
        pictures, prompts = torch.cat([p for p, _ in made]), [text for _, texts in made for text in texts]
        found[key] = Row(name, judge, pictures, asked * seeds, prompts)

    by_model("en", "test split, English", seen)
    by_model("zh", "test split, Chinese", seen, "zh")
    by_model("held-out", "held-out compositions", unseen)
    by_model("4 steps", "test split, 4 steps", seen, seeds=1, steps=4)
    by_model("1 step", "test split, 1 step", seen, seeds=1, steps=1)
    by_model("guidance 1", "control: guidance 1", seen, scale=1.0, seeds=1)
    found["shuffled"] = Row("control: shuffled", judge, shuffled(found["en"]), found["en"].asked)
    nearest = evaluation.retrieved(library, seen)
    found["retrieval"] = Row("control: retrieval", judge, scenes.pictures(nearest, models.PICTURE), seen)
    found["ceiling"] = Row("control: drawn by rule", judge, scenes.pictures(seen, models.PICTURE), seen)
    return found


def shuffled(row):
    """Its pictures, each moved to the next prompt of the same kind of scene."""
    order = list(range(len(row.asked)))
    kinds = {}
    for index, one in enumerate(row.asked):
        kinds.setdefault((one.scene.is_pair, len(one.scene.things) > 1), []).append(index)
    for indices in kinds.values():
        for here, there in zip(indices, indices[1:] + indices[:1], strict=True):
            order[here] = there
    return row.pictures[order]


def few(rows):
    """Rows of what is left of the six tasks in few steps, as a share of what 25 steps reach."""
    best = rows["en"].report.overall.mean
    asked = {"4 steps": "≥ 0.90", "1 step": "≥ 0.70"}
    return [
        ["text-to-image", f"six tasks in {key} ÷ in 25", least, f"{rows[key].report.overall.mean / best:.2f}"]
        for key, least in asked.items()
    ]


def distances(row):
    """The table of exact pictures by the number of unseen compositions."""
    pairs = zip(row.report.seen, row.asked, strict=True)
    found = [evaluation.right(reading, one.scene.facts) for reading, one in pairs]
    right, table = {name: torch.tensor([each[name] for each in found]) for name in evaluation.QUESTIONS}, []
    far = torch.tensor([min(2, len(scenes.unseen(one.scene))) for one in row.asked])
    for step in far.unique().tolist():
        of = {name: values[far == step] for name, values in right.items()}
        exact = evaluation.interval(of["exact"].float())
        table.append([step, len(of["exact"]), exact, f"{evaluation.if_independent(of):.2f}"])
    return table


def taught(count):
    """Of the first `count` samples of the denoiser's last run those of which something was said, and what it was."""
    run = [run for run in models.recipe_of("text-to-image") if run["part"] == "denoiser"][-1]
    lent = scenes.samples(min(count, run["scenes"]), "train", run["seed"])
    drawn = [train_text_to_image.chosen(one, run["seed"], run["tasks"]) for one in lent]
    return [(one, text) for one in drawn if (text := train_text_to_image.heard(one))]


def memorised(pipe, row, args):
    """Rows of how far generated pictures are from those taught, in units of how far fresh drawings are.

    For prompts of the test split the nearest counts; for a prompt that was taught, and tells all, its own picture.  A
    copy is what comes out of the autoencoder for a picture that was taught.
    """
    pairs, count = taught(args.library), len(row.asked) // args.seeds
    own = scenes.pictures([one for one, _ in pairs], models.PICTURE)
    whole = [k for k, (one, text) in enumerate(pairs) if scenes.read_caption(text) == one.scene.facts][: 3 * args.count]
    made = by_batches(pipe, [pairs[k][1] for k in whole], 25, args.scale, 0)
    copies = torch.cat([evaluation.autoencoded(pipe.vae, some) for some in own[whole].split(16)])
    again = [scenes.Sample(scenes.arrange(pairs[k][0].scene.facts, random.Random(k)), k) for k in whole]
    nearby = f"the nearest of {len(own):,} pictures it was taught with"
    rows = []
    for name, distance, pictures, others, where in (
        (nearby, nearest, row.pictures[:count], row.asked[:count], own),
        ("the picture it was taught with for the very prompt", to_its_own, made, again, own[whole]),
    ):
        drawn = scenes.pictures([adaptation.composed(one) for one in others], models.PICTURE)
        mine, copied, other = (distance(p, where).median().item() for p in (pictures, copies, drawn))
        asked = f"≈ 1 (copies: {copied / other:.2f})"
        rows.append(["text-to-image", f"distance to {name} ÷ that of fresh drawings", asked, f"{mine / other:.2f}"])
    return rows


def nearest(pictures, others):
    """How far each picture is from the nearest of the others."""
    return evaluation.nearest(pictures, others).distance


def to_its_own(pictures, others):
    """How far each picture is from the one in its place."""
    return torch.cat([nearest(*pair) for pair in zip(pictures.split(1), others.split(1), strict=True)])


def autoencoder(pipe, judge, count):
    """PSNR, and whether the judge still reads the scene, after the autoencoder."""
    drawn = scenes.samples(count, "test", seed=6)
    pictures = scenes.pictures(drawn, models.PICTURE)
    with torch.no_grad():
        back = torch.cat([evaluation.autoencoded(pipe.vae, p) for p in pictures.split(16)])
    read = evaluation.score(judge, back, drawn)["exact"]
    return evaluation.interval(evaluation.psnr(back, pictures)), evaluation.interval(read.float())


def loaded(name):
    """A model in full precision, so that a score does not depend on the machine."""
    return models.load(name, dtype=torch.float32)


def absent(name):
    """Whether a model has not been trained yet; says so."""
    missing = not models.folder_of(name).is_dir()
    if missing:
        print(f"{name}: skipped, there is no data/models/{name}; train it with: python scripts/train_{name}.py")
    return missing


def readers(count):
    """Rows of the models that read and write, by the measures of their own recipes, English / Chinese."""
    tokenizer, rows = models.load("tokenizer"), []
    if not absent("clip"):
        asked = {"zero-shot": "≥ 0.98", "colours": "≥ 0.95", "R@1": "the ceiling"}
        clip = loaded("clip")
        failures_of_clip(clip, tokenizer, count)
        for name, *both in train_clip.table(clip, tokenizer, count):
            rows.append(["clip", name, asked[name.split()[0]], " / ".join(both)])
    if not absent("lm"):
        above = [row[-1] for row in train_lm.table(loaded("lm"), tokenizer, count)]
        rows.append(["lm", "nats a token above the grammar's", "≤ 0.02", " / ".join(above)])
    if not absent("captioner"):
        reached = train_captioner.examined(loaded("captioner"), tokenizer, count)
        failures_of_captioner(reached["held-out", "en"].said)
        found = train_captioner.table(reached)
        for (en, zh), split, exact in ((found[:2], "test split", "≥ 0.98"), (found[2:], "held-out", "≥ 0.95")):
            measures = {"nats a token above entropy": "≤ 0.02", "exact scene": exact}
            measures |= {"BLEU-4 ÷ grammar's": "≥ 0.97", "CIDEr-D ÷ grammar's": "≥ 0.97"}
            for k, (name, asked) in enumerate(measures.items(), start=1):
                rows.append(["captioner", f"{name}, {split}", asked, f"{en[k]} / {zh[k]}"])
    return rows


def renewed(rows):
    """SCORES.md with the rows of some models in place of theirs; all else stays as it was measured."""
    file, models_of = runtime.data_dir() / "models" / "SCORES.md", {row[0] for row in rows}
    if not rows:
        raise SystemExit("none of these models is there, so SCORES.md stays as it is")
    lines, fresh = file.read_text(encoding="utf-8").splitlines(), markdown(rows).splitlines()
    own = [number for number, line in enumerate(lines) if line.split(" | ")[0].removeprefix("| ") in models_of]
    text = "\n".join([*lines[: own[0]], *fresh, *lines[own[-1] + 1 :]]) + "\n"
    file.write_text(text, encoding="utf-8", newline="\n")


def upscaler(pipe, judge, count):
    """Rows of what the upscaler gains on Lanczos, picture by picture, and of the seams that it leaves."""
    if absent("upscaler"):
        return []
    model, drawn = loaded("upscaler"), scenes.samples(count, "test", seed=8)
    found, rows = evaluation.against_lanczos(model, pipe.vae, judge, drawn), []
    for given, name, figure, asked in (
        ("autoencoded", "PSNR", "PSNR in dB", "> 0"),
        ("drawn", "PSNR", "PSNR in dB", "> 0"),
        ("autoencoded", "edges", "share of edges in place", "> 0"),
        ("autoencoded", "exact", "exact scene, as the judge reads it", "> 0"),
        ("autoencoded", "surprise", "the judge's surprise in nats", "< 0"),
    ):
        ours, theirs = (found[given, way][name] for way in ("upscaler", "Lanczos"))
        reached = f"{evaluation.interval(ours - theirs)} ({ours.mean():.2f}, Lanczos {theirs.mean():.2f})"
        rows.append(["upscaler", f"{figure}, {given} pictures, less that of Lanczos", asked, reached])
    step = evaluation.seam(model, scenes.pictures(drawn[:8], models.PICTURE)).max()
    return [*rows, ["upscaler", "largest step between tiles, of 255", "< 1", f"{step:.1g}"]]


def sheet(name, pictures, titles, count=24):
    """Some of the pictures with their titles, chosen at random, in data/sheets."""
    if titles:
        chosen = random.Random(0).sample(range(len(titles)), min(count, len(titles)))
        folder = runtime.data_dir() / "sheets"
        folder.mkdir(exist_ok=True)
        shown = plotting.show_images(pictures[chosen], [titles[i] for i in chosen], columns=8)
        shown.save(folder / f"{name}.png")


def drawn_sheet(name, samples, titles):
    """A sheet of some scenes, drawn by rule, if there are any."""
    if samples:
        sheet(name, scenes.pictures(samples, models.PICTURE), titles, count=8)


def wrong(found, i):
    """The facts that the judge misses in picture i, in words."""
    return ", ".join(name for name, right in found.items() if name != "exact" and not right[i])


def painted_sheets(judge, row):
    """Pictures with every fact right under their prompts; and those with some wrong, which are named."""
    right = row.report.right["exact"].tolist()
    fine, poor = ([i for i, each in enumerate(right) if each == keep] for keep in (True, False))
    sheet("successes", row.pictures[fine], [row.prompts[i] for i in fine])
    found = evaluation.score(judge, row.pictures[poor], [row.asked[i] for i in poor])
    sheet("failures", row.pictures[poor], [f"({wrong(found, k)}) {row.prompts[i]}" for k, i in enumerate(poor)])


def failures_of_parser(judge, count):
    """Drawings that the judge misreads, and in what."""
    drawn = scenes.samples(count, "test", seed=78)
    found, rng = evaluation.score(judge, scenes.pictures(drawn, models.PICTURE), drawn), random.Random(0)
    poor = [i for i, right in enumerate(found["exact"].tolist()) if not right]
    told = [f"{scenes.caption(drawn[i].scene, rng, detail='brief')} ({wrong(found, i)})" for i in poor]
    drawn_sheet("parser", [drawn[i] for i in poor], told)


def failures_of_clip(clip, tokenizer, count):
    """Drawings whose thing CLIP takes for another, and for which."""
    drawn = scenes.samples(count, "test", seed=9, task="single")
    asked = [train_clip.alternatives(one.scene.facts, "name") for one in drawn]
    chosen = train_clip.nearest(clip, tokenizer, drawn, asked, "en").tolist()
    poor = [i for i, k in enumerate(chosen) if k]
    names = [[asked[i][k].groups[0].name for k in (0, chosen[i])] for i in poor]
    drawn_sheet("clip", [drawn[i] for i in poor], [f"{name}, taken for {other}" for name, other in names])


def failures_of_captioner(said):
    """Drawings of compositions that training never saw, and captions with some fact wrong."""
    told = zip(train_captioner.asked_of("held-out", len(said)), said, strict=True)
    poor = [(one, text) for one, text in told if evaluation.facts_told(text, one.scene) < 1]
    drawn_sheet("captioner", [one for one, _ in poor], [f"“{text}”" for _, text in poor])


def markdown(rows):
    """Rows of cells as the rows of a Markdown table."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main():
    """All of it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=64, help="scenes of each kind: one thing, two, several")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--scale", type=float, default=2.0, help="guidance")
    options.add_argument("--library", type=int, default=4000, help="training pictures to retrieve from")
    options.add_argument("--only", nargs="+", choices=("readers", "upscaler"), help="these alone; other rows stay")
    args = options.parse_args()
    judge, pipe = evaluation.load_parser(), loaded("text-to-image")
    parts = {
        "readers": lambda: readers(8 * args.count),
        "upscaler": lambda: upscaler(pipe, judge, 4 * args.count),
    }
    if args.only:
        for rows in (parts[name]() for name in args.only):
            renewed(rows)
            print(plotting.show_table(rows, ["model", "figure", "asked", "reached"]))
        return
    own = evaluation.own_error(judge, 1000)
    print("the judge's own error:", ", ".join(f"{name} {share:.1%}" for name, share in own.items()))
    psnr, read = autoencoder(pipe, judge, 4 * args.count)
    rows = rows_of(pipe, judge, args)
    en, zh, held = (rows[key].report for key in ("en", "zh", "held-out"))
    table = [
        ["parser", "exact scene, fresh drawings", "≥ 0.995", f"{1 - own['exact']:.3f}"],
        ["parser", "exact scene, after the autoencoder", "≥ 0.99", read],
        ["autoencoder", "PSNR in dB", "≥ 28", psnr],
        ["text-to-image", "six tasks, seen", "≥ 0.90", en.overall],
        ["text-to-image", "six tasks, held-out", "≥ 0.80", held.overall],
        ["text-to-image", "style", "≥ 0.95", en.of("style")],
        ["text-to-image", "six tasks, Chinese - English", "within 0.02", f"{zh.overall.mean - en.overall.mean:+.3f}"],
        *few(rows),
        *memorised(pipe, rows["en"], args),
        *parts["readers"](),
        *parts["upscaler"](),
    ]
    heads = ["prompts", "overall", *evaluation.TASKS, "background", "style", "exact"]
    tasks = [heads, ["---"] * len(heads), *(row.cells() for row in rows.values())]
    far = [["unseen", "pictures", "exact", "if independent"], ["---"] * 4]
    far += distances(rows["en"]) + distances(rows["held-out"])
    told = dict(rows=markdown(table), tasks=markdown(tasks), distances=markdown(far)) | vars(args)
    (runtime.data_dir() / "models" / "SCORES.md").write_text(SCORES.format(**told), encoding="utf-8", newline="\n")
    painted_sheets(judge, rows["en"])
    failures_of_parser(judge, 1500)
    print(plotting.show_table(table, ["model", "figure", "asked", "reached"]))


if __name__ == "__main__":
    main()
