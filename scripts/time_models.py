"""How long `make models` took, by its log: each stage, and all of them by the clock.

    python scripts/time_models.py            the last thing that make models does; writes data/bench/models.md

A stage that was stopped counts with each stretch until it was done; trained anew, only with those of the last time.  A
stretch that was killed left no line of its end, so it is not counted, and said.
"""

import os
import re
from collections import Counter
from datetime import datetime, timedelta
from itertools import chain
from operator import itemgetter
from pathlib import Path

import machine

from aigc_course import runtime

LOG = Path(__file__).resolve().parents[1] / "runs/made/log"
LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (\w+) (begins|is done|stopped)$", re.MULTILINE)
HEAD = """# How long `make models` takes

Written by `python scripts/time_models.py`, the last step of `make models`, from the lines that each stage leaves in
`runs/made/log`.  {machine} a stage, {cores} cores.  A stage is all that its script does: draw and encode its scenes,
train, measure, write the card.

| stage | minutes |
|---|---|
{rows}
| **all, one after another** | **{alone:.0f}** |
| **all, by the clock** | **{clock:.0f}** |

{hours:.1f} hours by the clock.{lost}
"""


def stretches(log):
    """The stretches (stage, began, ended) in which stages ran, and how many more have no end in the log."""
    begun, found, done, lost = {}, {}, set(), 0
    for time, stage, what in LINE.findall(log):
        now = datetime.fromisoformat(time)
        if what == "begins":
            lost += stage in begun
            begun[stage] = now
            if stage in done:  # trained anew
                done.remove(stage)
                del found[stage]
        elif stage in begun:
            found.setdefault(stage, []).append((stage, begun.pop(stage), now))
            done |= {stage} if what == "is done" else set()
    return sorted(chain(*found.values()), key=itemgetter(1)), lost + len(begun)


def minutes_each(found):
    """The minutes of each stage, in the order in which they first began."""
    minutes = Counter()
    for stage, began, ended in found:
        minutes[stage] += (ended - began) / timedelta(minutes=1)
    return minutes


def minutes_by_the_clock(found):
    """Minutes in which at least one stage ran."""
    total, until = timedelta(), datetime.min
    for _, began, ended in found:
        total += max(ended - max(began, until), timedelta())
        until = max(ended, until)
    return total / timedelta(minutes=1)


def main():
    """Add up, print, write."""
    if not LOG.is_file():
        raise SystemExit("no stage has left a line in runs/made/log yet; run: make models")
    found, lost = stretches(LOG.read_text(encoding="utf-8"))
    each, clock = minutes_each(found), minutes_by_the_clock(found)
    told = dict(machine=machine.name(), cores=os.cpu_count(), alone=each.total(), clock=clock, hours=clock / 60)
    told["rows"] = "\n".join(f"| {stage} | {minutes:.1f} |" for stage, minutes in each.items())
    told["lost"] = f"  {lost} more stretches were killed, and are not counted." if lost else ""
    text = HEAD.format(**told)
    print(text)
    (runtime.data_dir() / "bench" / "models.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
