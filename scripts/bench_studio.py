"""What the Studio costs: a grid of four, its previews, a cancel, the memory of a thousand jobs; data/bench/studio.md.

    python scripts/bench_studio.py
    python scripts/bench_studio.py --rounds 1 --cancels 5 --jobs 50 --prompts 1

With small counts, or a part of the figures (--only), nothing is written.
"""

import argparse
import platform
import random
import statistics
import tempfile
import threading
import time
from importlib.metadata import version

import numpy as np
import psutil

from aigc_course import runtime, studio

FILE = "bench/studio.md"
WORDS = "a red house in a meadow"
LINE = f"{WORDS} --seed 7"
PROMPTS = [
    "a red house in a meadow", "a blue boat at sea", "a yellow star at night", "a green tree in the snow",
    "two birds", "一座红色的房子", "an orange cat left of a blue car", "a purple flower in a garden",
]  # fmt: skip
STEPS, SCREEN = 25, 8  # of a grid; previews a second, as the Studio's front asks for
HEAD = """# The Studio, measured

Written by `python scripts/bench_studio.py`.  {machine}; Python {python}, {libraries}.

| what | measured | asked |
| --- | ---: | ---: |
"""
FOOT = """
*A grid* is timed from the submitted line to its pictures in a listener's hands, saved; with the front open, from the
click on Generate to the picture in the fourth tile.  *Previews* are paid for in turn: a grid that nobody watches, then
one that is watched, on one warm engine; the figure is the median ratio of pairs, their order turned each time.
*A cancel* comes at a random moment of a grid and is timed from the call to the job's end, the pictures reached decoded
and saved.  *Small jobs* are one picture of 64 pixels in two steps, submitted one to five at a time; half of them are
cancelled at a random moment.  Memory is the resident set of the process, a median for each tenth of the jobs; the first
tenth counts as warming up.  *Seconds of processor* are those of all threads of the process: on a busy machine they tell
more than the clock's.
"""


# --- a grid, and its previews -------------------------------------------------------------------------------


def timed(action):
    """Seconds of the clock and of the processor that an action takes."""
    busy = time.process_time()
    with runtime.stopwatch() as watch:
        action()
    return watch.seconds, time.process_time() - busy


def grid(desk, steps=STEPS):
    """Words to four pictures that a listener holds."""
    shown = []
    stop = desk.listen(lambda event: shown.extend(event.pictures) if event.kind == "made" else None)
    taken = timed(lambda: desk.make(LINE, steps=steps))
    stop()
    assert len(shown) == 4, "the grid was not shown"
    return taken


def watched(desk, steps=STEPS):
    """The same with previews that are encoded as a screen would."""
    seen = []
    stop = desk.listen(lambda event: seen.append(len(event.pictures)) if event.kind == "step" else None, SCREEN)
    taken = grid(desk, steps)
    stop()
    assert sum(map(bool, seen)) > 2 or steps < 8, "there were no previews"
    return taken


def in_turn(ways, rounds):
    """(seconds, processor seconds) of each way, round by round, every other round backwards."""
    found = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            found[name].append(ways[name]())
    return found


def overhead(plain, more):
    """The median of ratios in pairs, by the clock and by the processor, as per cents on top."""
    pairs = zip(plain, more, strict=True)
    ratios = zip(*[(b[0] / a[0], b[1] / a[1]) for a, b in pairs], strict=True)
    return [100 * (statistics.median(column) - 1) for column in ratios]


def grids(desk, told):
    """Rows: a grid, what previews add, what the whole front adds."""
    front = Front(desk)
    ways = {"plain": lambda: grid(desk), "previews": lambda: watched(desk), "front": front.grid}
    found = in_turn(ways, told.rounds)
    for name, said in (("plain", "a grid of 4, from submit to pictures"), ("front", "from click to shown")):
        seconds, busy = (statistics.median(column) for column in zip(*found[name], strict=True))
        yield f"{said}, {STEPS} steps", f"{seconds:.2f} s, {busy:.2f} s of processor", ""
    for name, said, asked in (
        ("previews", f"{SCREEN} previews a second", "≤ 5 %"),
        ("front", "the whole front: previews, pictures and history as HTML", ""),
    ):
        clock, busy = overhead(found["plain"], found[name])
        yield f"{said}, on top of the grid", f"{busy:+.1f} % of processor, {clock:+.1f} % of the clock", asked


def previews(desk, _):
    """Row: what the previews cost by themselves."""
    shown = []
    stop = desk.listen(lambda event: shown.append(event.preview) if event.preview else None)
    desk.make(LINE, steps=2)
    stop()
    costs = [timed(shown[0])[1] for _ in range(40)]
    cost = statistics.median(costs)
    share = f"{1000 * cost:.1f} ms, {100 * SCREEN * cost:.1f} % at {SCREEN} a second"
    yield "one preview of 4 pictures", share, "≤ 5 %"


# --- cancel -------------------------------------------------------------------------------------------------


def cancels(desk, told):
    """Rows: from a cancel at any moment, also in the middle of a step, to the job's end."""
    rng, found = random.Random(1), []
    length, _ = grid(desk)
    while len(found) < told.cancels:
        (job,) = desk.submit(LINE, steps=STEPS)
        time.sleep(rng.random() * 0.8 * length)
        ended = []
        taken = timed(lambda job=job, ended=ended: (desk.cancel(job), ended.extend(desk.queue.wait(job, 600))))
        if ended[-1].kind == "cancelled":  # else it was done before
            found.append(taken)
    for name, some in zip(("", ", seconds of processor"), zip(*found, strict=True), strict=True):
        said = f"{statistics.median(some):.2f} s, worst {max(some):.2f} s"
        yield f"a cancel, median of {len(found)}{name}", said, "< 1 s"


# --- a thousand jobs ----------------------------------------------------------------------------------------


def burst(desk, rng, count):
    """Some small jobs at once, half of them cancelled at a random moment: their ids, all ended."""
    jobs = [desk.submit(f"{WORDS} --seed {rng.randrange(10**6)}", **SMALL)[0] for _ in range(count)]
    for job in jobs:
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.05)
            desk.cancel(job)
    for job in jobs:
        desk.queue.wait(job, 600)  # a deadlock ends here, as an error
    return jobs


SMALL = dict(count=1, steps=2, width=64, height=64)


def memory(desk, told):
    """Rows: memory over small jobs with random cancels; and that no job, entry or lock went astray."""
    rng, process, held, jobs, heard = random.Random(2), psutil.Process(), [], [], []
    stop = desk.listen(lambda event: heard.append((event.job, event.kind, event.entries)))
    before = len(desk.gallery)
    while len(jobs) < told.jobs:
        some = burst(desk, rng, min(rng.randint(1, 5), told.jobs - len(jobs)))
        jobs += some
        held += [process.memory_info().rss] * len(some)
        if len(jobs) // 100 > (len(jobs) - len(some)) // 100:
            print(f"    {len(jobs)} jobs, {held[-1] / 2**20:.0f} MiB", flush=True)
    stop()
    tenth = max(1, told.jobs // 10)
    medians = [statistics.median(held[start : start + tenth]) / 2**20 for start in range(0, told.jobs, tenth)]
    settled = medians[1:] or medians
    drift = [100 * (part / settled[0] - 1) for part in settled]
    ends = [kind for _, kind, _ in heard if kind in studio.ENDS]
    said = f"{settled[0]:.0f} to {settled[-1]:.0f} MiB, {drift[-1]:+.1f} % (at most {max(drift, key=abs):+.1f} %)"
    yield f"memory over {len(jobs)} small jobs, {ends.count('cancelled')} of them cancelled", said, "flat ± 5 %"
    yield "jobs without exactly one end; with an error", f"{astray(jobs, heard)}; {ends.count('failed')}", "0; 0"
    lost, twice = entries(desk, heard, before)
    yield "history entries lost; there twice", f"{lost}; {twice}", "0; 0"


def astray(jobs, heard):
    """How many jobs did not end, or ended more than once."""
    ends = [job for job, kind, _ in heard if kind in studio.ENDS]
    return sum(ends.count(job) != 1 for job in jobs)


def entries(desk, heard, before):
    """Of what listeners were told: missing in the gallery as another process reads it; there more than once."""
    told = [entry.id for _, _, some in heard for entry in some]
    disk = studio.Gallery(desk.gallery.folder)
    lines = (disk.folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    assert not disk.complaints, disk.complaints[:3]
    lost = len(set(told) - {entry.id for entry in disk.entries}) + abs(len(disk) - before - len(set(told)))
    return lost, len(told) - len(set(told)) + len(lines) - len(disk)


# --- the stock pipeline -------------------------------------------------------------------------------------


def same(desk, told):
    """Row: how many pictures are, bit by bit, those of the stock pipeline with the same prompts and seeds."""
    pipe, equal, worst = desk.engine.model("text-to-image"), [], 0
    pipe.set_progress_bar_config(disable=True)
    for number, words in enumerate(PROMPTS[: told.prompts]):
        mine = studio.imagine(f"{words} --seed {100 * number}", desk, steps=STEPS).pictures
        generators = [runtime.generator(100 * number + k) for k in range(4)]
        how = dict(num_inference_steps=STEPS, guidance_scale=2.0, generator=generators)
        theirs = pipe([words] * 4, **how).images
        for a, b in zip(mine, theirs, strict=True):
            gap = np.abs(np.asarray(a, int) - np.asarray(b, int)).max()
            equal.append(gap == 0)
            worst = max(worst, gap)
    said = f"{sum(equal)} of {len(equal)}, greatest difference {worst} of 255"
    yield f"`studio.imagine` and the stock pipeline, {STEPS} steps: identical pictures", said, "all"


# --- the front ----------------------------------------------------------------------------------------------


class Front:
    """The widgets of the Studio, worked as a hand would, by the names of their classes; open only while in use."""

    def __init__(self, desk):
        self.desk, self.seeds = desk, random.Random(3)

    def grid(self):
        """Seconds from a click on Generate to the picture in the fourth tile."""
        board = studio.Board(self.desk)
        find(board.box, "aigc-prompt").value = f"{WORDS} --seed {self.seeds.randrange(10**6)}"
        shown = threading.Event()
        find(find(board.box, "aigc-tile-4"), "aigc-tile-picture").observe(lambda change: shown.set(), "value")

        def wait():
            find(board.box, "aigc-generate").click()
            assert shown.wait(600), "the fourth picture was not shown"

        taken = timed(wait)
        self.settle()
        board.close()
        return taken

    def settle(self):
        """Until nothing is at work."""
        for job in self.desk.queue.pending:
            self.desk.queue.wait(job, 600)


def find(box, name):
    """The first widget of a class, depth first."""
    if name in box._dom_classes:
        return box
    inner = (find(child, name) for child in getattr(box, "children", ()))
    return next((found for found in inner if found is not None), None)


# --- all of it ----------------------------------------------------------------------------------------------

ROWS = {"grid": grids, "previews": previews, "cancel": cancels, "memory": memory, "same": same}


def first(desk):
    """Row: what someone waits for who has just opened the notebook."""
    seconds, _ = timed(lambda: desk.make(LINE, steps=2))
    yield "the first grid, of 2 steps, models loaded for it", f"{seconds:.2f} s", ""


def measured(told):
    """All rows asked for, printed as soon as they are known."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        desk = studio.Studio(folder)
        try:
            for part in (first, *(ROWS[name] for name in told.only)):
                for row in part(desk, told) if part is not first else part(desk):
                    rows.append("| " + " | ".join(row) + " |")
                    print(rows[-1], flush=True)
        finally:
            desk.close()
    rows.append(f"| peak memory of all this | {runtime.peak_rss() / 2**30:.2f} GiB | |")
    return rows


def main():
    """Open a Studio in a temporary folder, measure, print, and write where everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="grids of each kind")
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="grids set beside the stock pipeline's")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=ROWS)
    told = parser.parse_args()
    print(runtime.summary(), "\n", flush=True)
    rows = measured(told)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "ipywidgets"))
    head = HEAD.format(machine=runtime.summary(), python=platform.python_version(), libraries=libraries)
    text = head + "\n".join(rows) + "\n" + FOOT
    if vars(told) == vars(parser.parse_args([])):
        file = runtime.data_dir() / FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    print("\n" + text)


if __name__ == "__main__":
    main()
