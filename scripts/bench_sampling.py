"""How long a grid of four pictures takes, by number of steps, with the course's sampler and with the stock pipeline.

    python scripts/bench_sampling.py
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
    """Load, warm up, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(runtime.summary())
    began = time.perf_counter()
    pipe = models.load("text-to-image")
    print(f"loading, hashes checked: {time.perf_counter() - began:.1f} s")
    pipe.set_progress_bar_config(disable=True)
    for way in (ours, stock):
        way(pipe, 2)
    print("steps  ours, s  stock, s  stock / ours  asked, s")
    for steps in (50, 25, 8, 4, 1):
        taken = [(seconds(ours, pipe, steps), seconds(stock, pipe, steps)) for _ in range(rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*taken, strict=True))
        ratio = statistics.median(b / a for a, b in taken)
        print(f"{steps:5}  {mine:7.2f}  {theirs:8.2f}  {ratio:12.2f}  {ASKED.get(steps, ''):>8}")
    print(f"peak memory: {runtime.peak_rss() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
