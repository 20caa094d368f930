"""One process of a run: meets the others, does its work, leaves its result or one sentence."""

import json
import os
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist

from aigc_course.parallel import parcel


def take_part(folder: str, rank: int, processes: int, timeout: float) -> NoReturn:
    """Work as one of several processes; the first word of this process, and its last."""
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    place, code = Path(folder), 1
    try:
        _meet(place, rank, processes, timeout)
        worker, args = parcel.read(place / "task")
        parcel.write(place / f"result-{rank}", worker(*args))
        code = 0
    except BaseException as error:  # sys.exit too
        told = json.dumps({"sentence": _sentence(error), "time": time.time()})
        (place / f"error-{rank}.json").write_text(told, encoding="utf-8")
    sys.stdout.flush()
    os._exit(code)  # no library may hold us up on the way out


def device() -> torch.device:
    """Where this process computes: its own card if there is one for each process, else the processor."""
    one_each = 0 < dist.get_world_size() <= torch.cuda.device_count()
    return torch.device("cuda", dist.get_rank()) if one_each else torch.device("cpu")


def _meet(folder: Path, rank: int, processes: int, timeout: float) -> None:
    """Find each other through a file: no port to choose, none to be taken."""
    cards = torch.cuda.device_count() >= processes  # one card each: nccl (not tried by this project's tests)
    if cards:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if cards else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=timeout),
    )


def _leave_with_the_parent() -> None:
    """The parent holds the other end of our stdin as long as it lives."""
    sys.stdin.buffer.read()
    os._exit(1)


def _sentence(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"left with sys.exit({'' if error.code is None else error.code!r}) before its work was done"
    words = str(error).strip().splitlines() or [""]
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    where = f" ({Path(ours[-1].filename).name}, line {ours[-1].lineno})" if ours else ""
    return f"raised {type(error).__name__}: {words[0][:300]}{where}"
