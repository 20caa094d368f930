"""What a run needs in every pass: made once, by several processes where that is quicker, and kept in a file."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aigc_course import runtime
from aigc_course.training import team

CHUNK = 256  # items that a process takes at a time


def made_once(file: Path | str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in `file`: made by the first of several processes if there is none, and kept whole or not at all."""
    file = Path(file)
    team.first_then_others(partial(_keep, file, make))
    return load_file(file)


def _keep(file: Path, make: Callable[[], dict[str, Tensor]]) -> None:
    if not file.is_file():
        made, fresh = make(), file.with_name(f"{file.name}.partial")
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(made, fresh)
        fresh.replace(file)


def precomputed(file: Path | str, items: Sequence, make: Callable[[Sequence], Tensor], workers: int = 1) -> Tensor:
    """`make(items)` as one tensor, a row for each item: read from `file`, or made by `workers` processes and kept.

    make: turns some of the items into as many rows; it lives at the top of its module, where processes find it.
    workers: 0 makes them in this process.
    """
    if not len(items):
        raise ValueError(f"there are no items to make {file} of: give at least one")
    rows = made_once(file, lambda: {"rows": _made(items, make, workers)})["rows"]
    if len(rows) != len(items):
        raise ValueError(f"{file} holds {len(rows):,} rows for {len(items):,} items; delete it, or name another file")
    return rows


def _made(items: Sequence, make: Callable[[Sequence], Tensor], workers: int) -> Tensor:
    some = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    if not workers:
        return torch.cat([make(few) for few in some]).contiguous()
    rows = []
    with ProcessPoolExecutor(workers, initializer=runtime.threads, initargs=(1,)) as pool:
        for made in pool.map(partial(_as_numpy, make), some):  # numpy crosses processes without shared memory
            rows.append(torch.from_numpy(made))
            print(f"\rmade {sum(map(len, rows)):,} of {len(items):,}", end="", flush=True)
    print()
    return torch.cat(rows).contiguous()


def _as_numpy(make: Callable[[Sequence], Tensor], items: Sequence) -> Any:
    return make(items).numpy()
