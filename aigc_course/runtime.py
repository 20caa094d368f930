"""Where and for how long we run: device, dtype, seeds, threads, the budget, where data/ is, offline or not.

torch is imported inside the functions that need it, so that importing this room costs nothing.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BUDGETS = ("laptop", "gpu")
WORTH = 1.2  # times as fast as float32 has bfloat16 to multiply, as casting costs time, too


def device() -> torch.device:
    """The fastest device this machine offers: the first CUDA card, else the processor."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" in os.environ:  # one of several processes, each with its own card
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda")


def dtype() -> torch.dtype:
    """The number format of models: bfloat16 on a GPU, float32 on a processor."""
    import torch

    return torch.bfloat16 if device().type == "cuda" else torch.float32


@cache
def training_precision() -> str:
    """What `training.fit` calls "bf16" where the device multiplies that format faster than float32, else "fp32".

    Some processors know the format and are slower at it, so it is tried, once: some products, a tenth of a second.
    """
    import torch

    if device().type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has = torch.cpu.get_capabilities()
    if not (has.get("amx_bf16") or has.get("avx512_bf16")):
        return "fp32"
    return "bf16" if _multiplying(torch.float32) > WORTH * _multiplying(torch.bfloat16) else "fp32"


def _multiplying(dtype: torch.dtype, side: int = 768) -> float:
    """Seconds in which two square matrices are multiplied here, the best of five."""
    import torch

    a, seconds = torch.ones(side, side, dtype=dtype), []
    for _ in range(5):
        with stopwatch() as watch:
            a @ a
        seconds.append(watch.seconds)
    return min(seconds)


def generator(seed: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A source of randomness to pass around; on the CPU, one seed gives one noise on every machine."""
    import torch

    return torch.Generator(device).manual_seed(seed)


def seed_everything(seed: int = 0) -> None:
    """Seed the three global generators that libraries use behind our back: Python's, numpy's and torch's."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 - the global one is meant
    torch.manual_seed(seed)


def threads(n: int | None = None) -> int:
    """How many processor threads one torch operation may use; give n to change it."""
    import torch

    if n is not None:
        if n < 1:
            raise ValueError(f"{n} threads cannot compute anything; use 1 or more, or None to only ask")
        torch.set_num_threads(n)
    return torch.get_num_threads()


def budget() -> str:
    """The one dial of the course: "laptop" (2 cores, minutes) or "gpu" (the same cells, larger).

    Set by the environment variable AIGC_BUDGET, otherwise by whether a GPU is there.
    """
    chosen = os.environ.get("AIGC_BUDGET", "").strip().lower()
    if not chosen:
        return "gpu" if device().type == "cuda" else "laptop"
    if chosen not in BUDGETS:
        raise ValueError(f"AIGC_BUDGET is {chosen!r}; set it to 'laptop' or 'gpu', or unset it")
    return chosen


def data_dir() -> Path:
    """The folder with models and scenes: AIGC_DATA if set, else data/ beside the package, else ./data."""
    if named := os.environ.get("AIGC_DATA"):
        if not Path(named).is_dir():
            raise FileNotFoundError(f"AIGC_DATA names {named}, no folder; create it, or unset AIGC_DATA")
        return Path(named)
    candidates = [Path(__file__).resolve().parents[1] / "data", Path.cwd() / "data"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked = " nor ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"no data folder at {looked}; set AIGC_DATA to the data/ of a clone of the course"
    )


def offline() -> bool:
    """True unless the reader asks for the network by name: AIGC_ONLINE=1."""
    return os.environ.get("AIGC_ONLINE") != "1"


def peak_rss() -> int:
    """The most memory this process ever held, in bytes.  It does not fall: measure one thing a process."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage: on Linux that figure also remembers the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def summary() -> str:
    """One line that tells a notebook's reader what the numbers below were measured on."""
    import torch

    place = "cpu" if device().type == "cpu" else torch.cuda.get_device_name()
    parts = [
        f"{budget()} budget",
        f"{place}, {threads()} thread{'s' * (threads() > 1)}",
        str(dtype()).removeprefix("torch."),
        f"torch {torch.__version__.split('+')[0]}",
        "offline" if offline() else "online",
    ]
    return " · ".join(parts)


@dataclass
class Stopwatch:
    """Seconds since `start`, to `stop` or, while it runs, to now."""

    start: float
    stop: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (time.perf_counter() if self.stop is None else self.stop) - self.start


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block: `with runtime.stopwatch() as watch: ...`, then `watch.seconds`."""
    watch = Stopwatch(time.perf_counter())
    try:
        yield watch
    finally:
        watch.stop = time.perf_counter()
