"""What the Studio costs: a grid of four, its previews, a cancel, and the memory of a thousand jobs.

    python scripts/bench_studio.py
    python scripts/bench_studio.py --rounds 3 --cancels 10 --jobs 100 --only grid preview

Prints a table in Markdown.  A grid is timed from the submitted line to the last event, pictures saved.  Previews are
paid for in turn: a grid with them, a grid without, on one warm engine.  A cancel is timed from the call, at a random
moment, to the end of the job, the picture reached saved.  The small jobs make one picture of 64 pixels in two steps,
half of them are cancelled at a random moment; memory is the process's, the median of each tenth of the jobs.
"""

import argparse
import random
import statistics
import tempfile
import time

import psutil

from aigc_course import runtime, studio

LINE = "a red house in a meadow --seed 7"
SCREEN = 8  # previews a second


def grids(desk, rounds, steps):
    """A grid without anybody watching, and with somebody, in turn: (seconds, processor seconds) of each."""
    plain, watched = [], []
    for _ in range(rounds):
        plain.append(_seconds(desk, steps))
        stop = desk.listen(lambda event: None, previews=SCREEN)
        watched.append(_seconds(desk, steps))
        stop()
    return plain, watched


def _seconds(desk, steps):
    before = time.process_time()
    with runtime.stopwatch() as watch:
        desk.make(LINE, steps=steps)
    return watch.seconds, time.process_time() - before


def preview_cost(desk):
    """Seconds for one preview of a grid of four."""
    shown = []
    stop = desk.listen(lambda event: shown.append(event.preview) if event.preview else None)
    desk.make(LINE, steps=2)
    stop()
    shown[0]()
    with runtime.stopwatch() as watch:
        for _ in range(20):
            shown[0]()
    return watch.seconds / 20


def cancels(desk, count, steps):
    """From a cancel at any moment, also in the middle of a step, to the job's end: (seconds, processor seconds)."""
    rng, latencies = random.Random(1), []
    length, _ = _seconds(desk, steps)
    while len(latencies) < count:
        (job,) = desk.submit(LINE, steps=steps)
        time.sleep(rng.random() * 0.7 * length)
        before = time.process_time()
        with runtime.stopwatch() as watch:
            working = desk.cancel(job)
            ended = desk.queue.wait(job)
        if working and ended[-1].kind == "cancelled":  # else it was done before
            latencies.append((watch.seconds, time.process_time() - before))
    return latencies


def many(desk, count):
    """Memory over small jobs with random cancels; and that no job, entry or lock went astray."""
    rng, process, held, ends, entries = random.Random(2), psutil.Process(), [], [], []
    stop = desk.listen(lambda event: (entries.extend(event.entries), ends.append(event.kind) if event.ends else None))
    before = len(desk.gallery)
    for _ in range(count):
        (job,) = desk.submit(LINE, count=1, steps=2, width=64, height=64)
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.05)
            desk.cancel(job)
        desk.queue.wait(job, 600)
        held.append(process.memory_info().rss)
    stop()
    names = [entry.id for entry in entries]
    assert len(ends) == count and len(set(names)) == len(names) == len(desk.gallery) - before, "a job or entry is lost"
    tenth = max(1, count // 10)
    medians = [statistics.median(held[start : start + tenth]) for start in range(0, count, tenth)]
    return medians, ends


def row(*cells):
    """One row of the table, as soon as it is known."""
    print("|", " | ".join(cells), "|", flush=True)


def main():
    """Open a Studio in a temporary folder, warm it up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=["grid", "preview", "cancel", "memory"])
    told = parser.parse_args()
    print(runtime.summary(), "\n")
    row("what", "measured", "asked")
    row("---", "---:", "---:")
    with tempfile.TemporaryDirectory() as folder:
        desk = studio.Studio(folder)
        began = time.perf_counter()
        desk.make(LINE, steps=2)
        row("first grid of 2 steps, loading included", f"{time.perf_counter() - began:.2f} s", "")
        cost = preview_cost(desk)
        if "grid" in told.only:
            plain, watched = grids(desk, told.rounds, told.steps)
            seconds, busy = (statistics.median(column) for column in zip(*plain, strict=True))
            row(f"grid of 4, {told.steps} steps", f"{seconds:.2f} s, {busy:.2f} s of processor", "about 2 s")
            pairs = [(b[0] / a[0], b[1] / a[1]) for a, b in zip(plain, watched, strict=True)]
            more, busier = (100 * (statistics.median(column) - 1) for column in zip(*pairs, strict=True))
            row("the same with previews", f"{more:+.1f} %, processor {busier:+.1f} %", "≤ 5 %")
        if "preview" in told.only:
            row("one preview of 4 pictures", f"{1000 * cost:.1f} ms", "")
            row(f"previews at {SCREEN} a second, share of the time", f"{100 * SCREEN * cost:.1f} %", "≤ 5 %")
        if "cancel" in told.only:
            taken = cancels(desk, told.cancels, min(told.steps, 8))
            for name, some in zip(("", ", seconds of processor"), zip(*taken, strict=True), strict=True):
                middle, worst = statistics.median(some), max(some)
                row(f"cancel, median and worst of {len(some)}{name}", f"{middle:.2f} s, {worst:.2f} s", "< 1 s")
        if "memory" in told.only:
            medians, ends = many(desk, told.jobs)
            settled = medians[1:] or medians
            drift = 100 * (settled[-1] / settled[0] - 1)
            said = f"{settled[0] / 2**20:.0f} to {settled[-1] / 2**20:.0f} MiB, {drift:+.1f} %"
            stopped = ends.count("cancelled")
            row(f"memory over {told.jobs} small jobs, {stopped} cancelled", said, "flat ± 5 %")
        row("peak memory", f"{runtime.peak_rss() / 2**30:.2f} GiB", "")
        desk.close()


if __name__ == "__main__":
    main()
