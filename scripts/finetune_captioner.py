"""What pretrained halves are worth: a captioner from 100, 1,000 and 10,000 labelled pictures, or from nothing.

Tried, to get more out of 2,000 labelled pictures in the same time (one seed, 200 validation scenes, seconds of one
core; "joint × 3": the new attention at three times the rate, batches of 32 captions of like length, little padding):

    recipe                                                     seconds    exact scene
    as below, 100 steps                                          31         0.11
    as below, 100 steps, what the eyes see whitened              33         0.03
    joint × 3, 160 steps                                         26         0.49
    joint × 6, at half the rate, in bfloat16, 160 steps          23         0.39
    joint × 3, begun from a ridge of words on patches, 160       27         0.49
    joint × 3, all but joint, words and norms frozen             23         0.48
    joint × 3, batches of 16, 300 steps                          31         0.50
    joint × 3, the place of each patch added, 300 steps          46         0.53
    joint × 3, half the patches a step, pairs twice as often     48         0.47
    joint × 3, 420 steps                                         66         0.54

Quicker steps meet the same end: of test scenes the last of these tells nine in ten single things exactly, half of those
with several of a kind, and one pair in seven.  A linear probe on these labels hardly reads pairs from what the frozen
eyes say of a whole picture, either (the first name 0.36, the relation 0.62; names of scenes of one kind 0.93), nor from
a patch where it lies.  The shipped captioner's eyes were trained with it, on thirty times as many scenes and more.
"""

import torch

from aigc_course import adaptation, evaluation, models, scenes, training

SIZES = (100, 1_000, 10_000)
STEPS, BATCH, RATE = 250, 64, 4e-3


def learnt(halves, size, seed, pool, tokenizer):
    """A captioner that has learnt from `size` labelled pictures: tongue and joint alone, or all of it from nothing."""
    torch.manual_seed(seed)
    samples, pictures, views = ([one[k] for k in chosen(size, seed, len(pool[0]))] for one in pool)
    if halves == "pretrained":
        model, looked = models.captioner(models.load("clip"), models.load("lm")), torch.stack(views)
        model.encoder.requires_grad_(False)
    else:
        model = models.captioner(models.clip(tokenizer), models.language_model(tokenizer))
        looked = torch.stack(pictures)
    labelled = adaptation.Labelled(tokenizer, looked, adaptation.told(samples))
    batches = training.Shuffled(size, min(BATCH, size), labelled, seed)
    loss = adaptation.caption_loss(tokenizer.pad_token_id)
    training.fit(model, batches, loss, STEPS, optimiser=training.muon(model, RATE), ema=0.95)
    return model


def chosen(size, seed, count):
    """Which of the pictures are labelled."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:size].tolist()


def measure(seeds, sizes=SIZES, count=200):
    """One row for each pair of halves and number of pictures: the test's figures, by seed."""
    tokenizer = models.load("tokenizer")
    samples = scenes.samples(max(sizes), "train", seed=63)
    pictures = scenes.pictures_as_bytes(samples)
    pool = samples, pictures, adaptation.seen(models.captioner(models.load("clip"), models.load("lm")), pictures)
    rows = []
    for halves in ("pretrained", "random"):
        for size in sizes:
            row = dict(halves=halves, pictures=size, exact=[], above=[])
            for seed in seeds:
                model = learnt(halves, size, seed, pool, tokenizer)
                found = evaluation.captioning(model, tokenizer, scenes.samples(count, "test", seed=64))
                row["exact"].append(round(found.exact.mean, 4))
                row["above"].append(round(found.above.mean, 4))
            rows.append(row)
    return rows


def table(rows):
    """The rows in Markdown, each figure with its interval over seeds."""
    lines = ["| halves | labelled pictures | exact scene | nats a token above entropy |", "|---|---|---|---|"]
    for row in rows:
        exact, above = (evaluation.interval(torch.tensor(row[name])) for name in ("exact", "above"))
        lines.append(f"| {row['halves']} | {row['pictures']:,} | {exact:.2f} | {above:.3f} |")
    return "\n".join(lines)
