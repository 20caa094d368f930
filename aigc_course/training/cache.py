"""Rows that are made once, by several processes, and kept in a file: what a run needs in every pass."""

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


def precomputed(file: Path | str, items: Sequence, make: Callable[[Sequence], Tensor], workers: int = 1) -> Tensor:
    """`make(items)` as one tensor, a row for each item: read from `file`, or made by `workers` processes and kept.

    make: turns some of the items into as many rows; it lives at the top of its module, where processes find it.
    """
    file = Path(file)
    team.first_then_others(partial(_kept, file, items, make, workers))
    rows = load_file(file)["rows"]
    if len(rows) != len(items):
        raise ValueError(f"{file} holds {len(rows):,} rows for {len(items):,} items; delete it, or name another file")
    return rows


def _kept(file: Path, items: Sequence, make: Callable[[Sequence], Tensor], workers: int) -> None:
    if not file.is_file():
        rows = _made(items, make, workers)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".partial")
        save_file({"rows": rows}, fresh)
        fresh.rename(file)


def _made(items: Sequence, make: Callable[[Sequence], Tensor], workers: int) -> Tensor:
    some = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    rows = []
    with ProcessPoolExecutor(workers, initializer=runtime.threads, initargs=(1,)) as pool:
        for made in pool.map(partial(_as_numpy, make), some):  # numpy crosses processes without shared memory
            rows.append(torch.from_numpy(made))
            print(f"\rmade {sum(map(len, rows)):,} of {len(items):,}", end="", flush=True)
    print()
    return torch.cat(rows).contiguous()


def _as_numpy(make: Callable[[Sequence], Tensor], items: Sequence) -> Any:
    return make(items).numpy()
