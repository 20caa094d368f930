"""How long a grid of four pictures takes, by number of steps, with the course's sampler and with the stock pipeline.

    python scripts/bench_sampling.py            writes data/bench/sampling.md; leave both cores to it
    python scripts/bench_sampling.py --rounds 9

The two are run in turn; seconds are medians over rounds.  Prints, too, how long loading takes and the peak memory.
"""

import argparse
import statistics
import time

import torch

from aigc_course import models, runtime, sampling

PROMPTS = ["a red house in a meadow", "a blue boat at sea", "a yellow star at night", "a green tree in the snow"]
ASKED = {25: 3.0, 4: 0.5}  # seconds on two cores
HEAD = """# How long a grid of four pictures takes

Written by `python scripts/bench_sampling.py`.  {machine}.

Seconds for four pictures of four prompts, guidance 2, medians of {rounds} rounds; the course's sampler and the stock
pipeline take turns, the ratio is taken in each round.

| steps | asked, s | ours, s | stock, s | stock / ours |
|---|---|---|---|---|
{rows}

Loading, hashes checked: {loading:.1f} s.  Peak memory of all this: {peak:.2f} GiB.
"""


def ours(pipe, steps):
    """The course's own walk."""
    return sampling.words_to_pictures(pipe, PROMPTS, steps=steps)


def stock(pipe, steps):
    """The library's pipeline, as it is called by its users."""
    return pipe(PROMPTS, num_inference_steps=steps, guidance_scale=2.0, output_type="pt").images


def seconds(way, pipe, steps):
    """How long one grid takes."""
    began = time.perf_counter()
    way(pipe, steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main():
    """Load, warm up, take turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    pipe = models.load("text-to-image")
    loading = time.perf_counter() - began
    pipe.set_progress_bar_config(disable=True)
    for way in (ours, stock):
        way(pipe, 2)
    rows = []
    for steps in (50, 25, 8, 4, 1):
        taken = [(seconds(ours, pipe, steps), seconds(stock, pipe, steps)) for _ in range(rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*taken, strict=True))
        ratio = statistics.median(b / a for a, b in taken)
        asked = f"≤ {ASKED[steps]}" if steps in ASKED else "–"
        rows.append(f"| {steps} | {asked} | {mine:.2f} | {theirs:.2f} | {ratio:.2f} |")
    facts = dict(machine=runtime.summary(), rounds=rounds, loading=loading, peak=runtime.peak_rss() / 2**30)
    text = HEAD.format(rows="\n".join(rows), **facts)
    print(text)
    (runtime.data_dir() / "bench" / "sampling.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
