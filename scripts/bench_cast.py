"""How well do the shipped models draw one thing?  Scores by the parser, which no generator has met, and controls."""

import argparse
import random

import torch

from aigc_course import evaluation, models, plotting, sampling, scenes

HEADS = ("thing", "colour", "background", "style", "exact")


def drawn(pipe, samples, language, scale):
    """A picture for the full caption of each sample, in batches of 32."""
    rng, found = random.Random(0), []
    for start in range(0, len(samples), 32):
        prompts = [scenes.caption(s.scene, rng, language) for s in samples[start : start + 32]]
        found.append(sampling.words_to_pictures(pipe, prompts, scale=scale, seed=start))
    return torch.cat(found)


def row(name, parser, pictures, samples):
    """One line of the table: each score with its interval."""
    right = evaluation.score(parser, pictures, samples)
    return [name, *[str(evaluation.interval(right[head].float())) for head in HEADS]]


def main():
    """Print the parser's own error, then the scores of seen, held-out and Chinese prompts, then the controls."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=128, help="pictures in each line")
    options.add_argument("--scale", type=float, default=4.0, help="guidance")
    args = options.parse_args()
    parser, pipe = evaluation.load_parser(), models.load("text-to-image")
    own = evaluation.own_error(parser, 500)
    print("the parser's own error:", ", ".join(f"{head} {own[head]:.1%}" for head in HEADS))
    seen, unseen = (scenes.samples(args.count, split, seed=5, task="single") for split in ("test", "held-out"))
    pictures = drawn(pipe, seen, "en", args.scale)
    rows = [
        row("test split, English", parser, pictures, seen),
        row("test split, Chinese", parser, drawn(pipe, seen, "zh", args.scale), seen),
        row("held-out compositions", parser, drawn(pipe, unseen, "en", args.scale), unseen),
        row("control: guidance 1", parser, drawn(pipe, seen, "en", 1.0), seen),
        row("control: shuffled prompts", parser, pictures.roll(1, 0), seen),
        row("control: drawn by rule", parser, scenes.pictures(seen, models.PICTURE), seen),
    ]
    print(plotting.show_table(rows, ["prompts", *HEADS]))


if __name__ == "__main__":
    main()
