"""What a recipe takes, and tells, of the machine that it runs on, and what it starts from."""

import hashlib
import json
import os

from aigc_course import models, runtime
from aigc_course.training import team
from aigc_course.training.checkpoint import STATE

WORKERS = max(1, os.cpu_count() // 2)  # processes that draw; the other cores are for the one that learns


def name() -> str:
    """Processor or graphics card, as a card names it, such as "cpu, 2 threads"."""
    return runtime.summary().split(" · ")[1]


def begun(args, checkpoint, name, part="", **dials):
    """The folder of a checkpoint, after a note beside it of where the run starts: the beginning, or what is shipped.

    A checkpoint of a run that started elsewhere is refused: with `--go-on` it would only be loaded again, and without
    it be taken for one from the beginning.  part: the folder of `name` that the run trains, where it has several;
    dials: those of its loss, which the checkpoint itself does not know.
    """
    start = f"the shipped {name}, {_weights(name, part)}" if args.go_on else "the beginning"
    if dials:
        start += f" (with {', '.join(f'{dial} {value:g}' for dial, value in dials.items())})"
    note = checkpoint.with_name(f"{checkpoint.name}.start")

    def write():
        earlier = note.read_text(encoding="utf-8") if note.is_file() else "an unknown place"
        if earlier == start:
            return
        if any((checkpoint.with_name(checkpoint.name + end) / STATE).is_file() for end in ("", ".previous")):
            fix = "name another --folder, leave out what is trained, or delete this one"
            raise SystemExit(f"{checkpoint} is of a run that started from {earlier}, not from {start}: {fix}")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(start, encoding="utf-8", newline="\n")

    team.first_then_others(write)
    return checkpoint


def _weights(name, part):
    """A short name of the weights in a shipped folder, by the hashes of its manifest."""
    sums = json.loads((models.folder_of(name) / models.MANIFEST).read_text(encoding="utf-8"))
    kept = {file: told for file, told in sums.items() if file.startswith(part) and file.endswith(".safetensors")}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:8]
