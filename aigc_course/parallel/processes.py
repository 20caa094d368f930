"""Runs a function in several fresh processes, from a notebook too, and never leaves one behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aigc_course.parallel import parcel

START = "import sys; from aigc_course.parallel.member import take_part as t; a = sys.argv; "
START += "t(a[1], int(a[2]), int(a[3]), float(a[4]))"
MOMENT = 0.02  # seconds between two looks
SETTLE = 0.3  # seconds in which a death draws others after it; the first one is to be named
SPOKE, SILENT, LOST = range(3)  # causes of an end, the likeliest first
PEER = ("gloo/", "NCCL", "Connection", "Broken pipe")  # words of one that has lost another


def run(worker: Callable | str, processes: int = 2, *args: Any, timeout: float = 60) -> list:
    """Call `worker(*args)` once in each of several processes that can talk; what each returned, by rank.

    worker: a function of a module, or its name, "module:function": a fresh process imports it.  There
        `torch.distributed` is ready: gloo on the processor, nccl where there is a card for each process.
    args and what is returned: plain data, tensors, dataclasses, functions of a module and partials of these.
    A process that dies is told in one sentence (RuntimeError), one too slow likewise (TimeoutError); either way,
    and when the notebook is interrupted or killed, all of them end.
    """
    if processes < 1:
        raise ValueError(f"processes={processes}: ask for at least one")
    if not timeout > 0:
        raise ValueError(f"timeout={timeout}: allow more than 0 seconds")
    worker = _named(worker) if isinstance(worker, str) else worker
    with TemporaryDirectory(prefix="parallel-") as name:
        folder, team = Path(name), []
        parcel.write(folder / "task", (worker, args))
        try:
            for rank in range(processes):
                team.append(_start(folder, rank, processes, timeout))
            _wait(team, folder, timeout)
            return [parcel.read(folder / f"result-{rank}") for rank in range(processes)]
        finally:
            for process in team:
                _end(process)
            _repeat(folder, processes)


def _named(name: str) -> Callable:
    try:
        return parcel.called(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no function {name!r} to import ({error}): write 'module:function'") from None


def _start(folder: Path, rank: int, processes: int, timeout: float) -> subprocess.Popen:
    """A fresh Python that finds the same modules; in a session of its own, so that Ctrl-C is ours alone to hear."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    settings = {
        "PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path),
        "OMP_NUM_THREADS": str(threads),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with (folder / f"out-{rank}").open("wb") as out, (folder / f"err-{rank}").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-c", START, str(folder), str(rank), str(processes), str(timeout)],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def _wait(team: Sequence[subprocess.Popen], folder: Path, timeout: float) -> None:
    """Until all are done; one that failed, or the clock, ends it with a sentence."""
    end = time.monotonic() + timeout
    while not all(_is_done(rank, process, folder) for rank, process in enumerate(team)):
        if any(_has_failed(rank, process, folder) for rank, process in enumerate(team)):
            time.sleep(SETTLE)
            raise RuntimeError(_first_death(team, folder)) from None
        if time.monotonic() > end:
            late = [str(rank) for rank, process in enumerate(team) if not _is_done(rank, process, folder)]
            raise TimeoutError(
                f"no answer from rank {' and '.join(late)} of {len(team)} after {timeout:g} seconds, and all were "
                "ended: allow more with timeout=, or look whether one waits for a message that no other sends"
            )
        time.sleep(MOMENT)


def _is_done(rank: int, process: subprocess.Popen, folder: Path) -> bool:
    return process.poll() == 0 and (folder / f"result-{rank}.json").exists()


def _has_failed(rank: int, process: subprocess.Popen, folder: Path) -> bool:
    return process.poll() is not None and not _is_done(rank, process, folder)


def _first_death(team: Sequence[subprocess.Popen], folder: Path) -> str:
    """Who died first: whoever could say why, else one who could not; the others only lost their peer."""
    told = []
    for rank, process in enumerate(team):
        if _has_failed(rank, process, folder):
            order, sentence = _last_words(rank, process.returncode, folder)
            told.append((order, rank, sentence))
    order, rank, sentence = min(told)
    if order[0] == LOST and any(_is_done(each, process, folder) for each, process in enumerate(team)):
        return f"rank {rank} of {len(team)} waited for one that had returned: all must take part in every exchange"
    return f"rank {rank} of {len(team)} {sentence}" + ("; the others were ended" if len(team) > 1 else "")


def _last_words(rank: int, code: int, folder: Path) -> tuple[tuple[int, float], str]:
    """What a dead process has to say, and its place in the order of deaths."""
    report = folder / f"error-{rank}.json"
    if report.exists():
        told = json.loads(report.read_text(encoding="utf-8"))
        lost = any(word in told["sentence"] for word in PEER)
        return (LOST if lost else SPOKE, told["time"]), told["sentence"]
    if code < 0:
        hint = " (too little memory, perhaps)" if code == -signal.SIGKILL else ""
        return (SILENT, 0.0), f"was killed by {signal.Signals(-code).name}{hint}"
    lines = (folder / f"err-{rank}").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1][:300]}" if lines else ""
    return (SILENT, 0.0), f"ended with code {code} before its work was done{last}"


def _end(process: subprocess.Popen) -> None:
    """Kill a process and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


def _repeat(folder: Path, processes: int) -> None:
    """Print what the processes printed, each line with its rank."""
    for rank in range(processes):
        if (printed := folder / f"out-{rank}").exists():
            for line in printed.read_text(encoding="utf-8", errors="replace").splitlines():
                print(f"[rank {rank}] {line}")
