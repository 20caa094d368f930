"""Prompt learning over seeds: labels used against accuracy, and what steers a frozen language model."""

from collections.abc import Sequence

import torch

from aigc_course import adaptation, evaluation, models, runtime, scenes, training

SHOTS = (1, 2, 4, 8, 16)
POOL, TEST = 24, 16  # pictures of each class to draw examples from, and to be asked about


def right(logits, labels):
    """The share of pictures whose likeliest class is the true one."""
    return (logits.argmax(1) == labels).float().mean().item()


def answers(clip, tokenizer, pool, test, templates, seed, tune=True):
    """Accuracy by method and labels of each class, for one draw of pictures and examples."""
    scale, classes = clip.logit_scale.exp().item(), len(pool.names)
    known, asked = (adaptation.embed_pictures(clip, some.pictures) for some in (pool, test))
    words = adaptation.zero_shot(asked, adaptation.embed_classes(clip, tokenizer, pool.names, templates), scale)
    found = {("words alone", 0): right(words, test.labels)}
    for each in SHOTS:
        chosen = adaptation.draw_examples(pool.labels, each, runtime.generator(seed))
        few = known[chosen], pool.labels[chosen]
        learnt = adaptation.LearntWords(clip, tokenizer, pool.names)
        adaptation.learn_words(learnt, *few, scale, steps=60, progress=False)
        by = adaptation.few_shot_logits(asked, *few, classes, words, alpha=each)
        with torch.no_grad():
            by["learnt words"] = adaptation.zero_shot(asked, learnt(), scale)
        found |= {(name, each): right(logits, test.labels) for name, logits in by.items()}
    probe = adaptation.linear_probe(known, pool.labels, classes)
    found["linear probe", "all"] = right(probe(asked), test.labels)
    if tune:
        model = adaptation.fine_tune(clip, pool.pictures, pool.labels, probe, steps=40, seed=seed, progress=False)
        with torch.no_grad():
            found["full fine-tuning", "all"] = right(model(test.pictures), test.labels)
    return found


def steered(lm, tokenizer, seed, steps=100, count=100):
    """For each way to make the model write about cats alone: numbers trained, and the share that it does."""
    pad, start = tokenizer.pad_token_id, [adaptation.in_context(tokenizer, [])] * count

    def about_cats(facts):
        return facts.groups[0].name == "cat"

    texts = adaptation.captions_where(about_cats, 200, seed=100 + seed)
    tokens = tokenizer([f"<en>{text}" for text in texts], padding=True, return_tensors="pt").input_ids
    ways = {"nothing": (lm, None)} | adaptation.ways_to_steer(lm, seed)
    found = {}
    for name, (model, rate) in ways.items():
        if rate:
            batches = training.Shuffled(len(tokens), 16, lambda i, _: tokens[i], seed)
            training.fit(model, batches, _loss(pad), steps, learning_rate=rate, progress=False)
        written = adaptation.write(model, tokenizer, start, runtime.generator(seed))
        share = adaptation.fitting(written, about_cats).float().mean().item()
        found[name] = (adaptation.trained_numbers(model) if rate else 0, share)
    return found


def _loss(pad):
    return lambda model, tokens: adaptation.next_token_loss(model, tokens, pad)


def shown(lm, tokenizer, examples, seed, count=160):
    """How often the frozen model goes on about the thing of its examples, and how often it writes a caption at all."""
    wanted, beginnings = adaptation.shown_things(tokenizer, list(scenes.THINGS), examples, count, seed)
    found = adaptation.goes_on(lm, tokenizer, wanted, beginnings, seed)
    return found.same.float().mean().item(), found.readable.float().mean().item()


def _mean(values):
    """The mean of one measurement for each seed, with its interval where there are several."""
    return f"{evaluation.interval(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def _rows(runs, header):
    """A Markdown table of means over seeds, with intervals."""
    shots = ["0", *map(str, SHOTS), "all"]
    lines = [f"| {header} | " + " | ".join(shots) + " |", "|---" * (len(shots) + 1) + "|"]
    for method in dict.fromkeys(name for name, _ in runs[0]):
        cells = []
        for each in (0, *SHOTS, "all"):
            values = [run[method, each] for run in runs if (method, each) in run]
            cells.append(_mean(values) if values else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def table(seeds: Sequence[int]) -> str:
    """Tables in Markdown: names and new styles by labels used; a language model steered, and shown examples."""
    clip, tokenizer, lm = (models.load(name) for name in ("clip", "tokenizer", "lm"))
    names, styles, steering, context = [], [], [], []
    for seed in seeds:
        pool, test = (adaptation.name_pictures(each, 2 * seed + k) for k, each in enumerate((POOL, TEST)))
        names.append(answers(clip, tokenizer, pool, test, adaptation.NAME_TEMPLATES, seed))
        pool = adaptation.style_pictures(2 * POOL, "train", 500 + seed)
        test = adaptation.style_pictures(2 * TEST, "test", 500 + seed)
        styles.append(answers(clip, tokenizer, pool, test, adaptation.STYLE_TEMPLATES, seed))
        steering.append(steered(lm, tokenizer, seed))
        context.append({examples: shown(lm, tokenizer, examples, seed) for examples in (0, 1, 2)})
    lines = _rows(names, f"{len(adaptation.NAMES)} known names: accuracy by labels of each")
    lines += ["", *_rows(styles, "4 new styles: accuracy by labels of each"), ""]
    lines += ["| made to write about cats by | numbers trained | share about cats |", "|---|---|---|"]
    for name in steering[0]:
        share = _mean([run[name][1] for run in steering])
        lines.append(f"| {name} | {steering[0][name][0]:,} | {share} |")
    lines += ["", "| examples shown | writes about their thing | writes a caption |", "|---|---|---|"]
    for examples in context[0]:
        same, whole = (_mean([run[examples][k] for run in context]) for k in (0, 1))
        lines.append(f"| {examples} | {same} | {whole} |")
    lines += [
        "",
        f"Means over {len(seeds)} seeds, each with pictures and examples of its own, and 95 % bootstrap intervals "
        f"(chance: 1 in {len(adaptation.NAMES)} names, 1 in 4 styles, 1 in 16 things). Where there are words, words do "
        "it; where there are none, a few labels must.",
    ]
    return "\n".join(lines)
