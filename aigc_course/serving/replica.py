"""The service as one of several equal processes: what each runs, and a supervisor of this machine that keeps them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import psutil
from fastapi import FastAPI, Request

from aigc_course.serving.service import Limits, service

APP, SETTING, WHO = "aigc_course.serving.replica:create", "AIGC_LIMIT_", "x-replica"


def limits_from(settings: Mapping[str, str]) -> Limits:
    """Limits as a deployment sets them: AIGC_LIMIT_WAITING, AIGC_LIMIT_SECONDS …, one for each field of `Limits`."""
    kinds = {SETTING + field.name.upper(): field for field in fields(Limits)}
    if unknown := sorted(name for name in settings if name.startswith(SETTING) and name not in kinds):
        raise ValueError(f"no limit is called {unknown[0]}; there are: {', '.join(kinds)}")
    given = {}
    for name, field in kinds.items():
        kind = type(field.default)
        try:
            given |= {field.name: kind(settings[name])} if name in settings else {}
        except ValueError:
            raise ValueError(f"{name}={settings[name]!r} is no number, such as {field.default}") from None
        if given.get(field.name, 1) <= 0:
            raise ValueError(f"{name}={settings[name]!r}: a limit is larger than 0, such as {field.default}")
    return Limits(**given)


def create() -> FastAPI:
    """The application of one replica, for `uvicorn --factory aigc_course.serving.replica:create --workers 2`.

    Its limits come from the environment.  Every answer names the process that gave it, in the header `x-replica`.
    """
    app = service(limits=limits_from(os.environ))

    @app.middleware("http")
    async def told(request: Request, call_next):
        response = await call_next(request)
        response.headers[WHO] = str(os.getpid())
        return response

    return app


@dataclass(frozen=True)
class Running:
    """A service that answers on loopback, and the process that supervises it."""

    url: str
    process: subprocess.Popen

    def who(self, seconds: float = 30, wanted: int = 1, without: int = 0) -> set[int]:
        """Ask until so many processes have answered, `without` not among them: their ids, or fewer when time is up."""
        ends, seen = time.monotonic() + seconds, set()
        while len(seen) < wanted and time.monotonic() < ends:
            try:
                seen |= {int(httpx.get(f"{self.url}/health", timeout=10).headers[WHO])} - {without}
            except httpx.HTTPError:
                time.sleep(0.1)
        return seen

    def memory(self) -> dict[int, int]:
        """Bytes resident in each process of the service that is no supervisor."""
        held = {}
        for each in psutil.Process(self.process.pid).children(recursive=True):
            if (size := each.memory_info().rss) > 100 * 2**20:  # the interpreter's own small helpers are no replicas
                held[each.pid] = size
        return held


@contextmanager
def replicas(count: int = 2, settings: Mapping[str, str] | None = None, seconds: float = 120) -> Iterator[Running]:
    """`count` processes behind one port of this machine, kept alive by uvicorn; all are ended when the block is left.

    settings: the environment that they get besides this one.  A process that dies is replaced; what it was at work on
    is lost, and whoever asked has to ask again.
    """
    if count < 1:
        raise ValueError(f"count={count}: a service has at least one replica")
    command = [sys.executable, "-m", "uvicorn", "--factory", APP, "--port", "0", "--workers", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as file:
            environment = os.environ | dict(settings or {})
            process = subprocess.Popen([*command, "--no-access-log"], env=environment, stdout=file, stderr=file)
        try:
            running = Running(_address(log, process, seconds), process)
            running.who(seconds, count)
            yield running
        finally:
            _end(process)


def _address(log: Path, process: subprocess.Popen, seconds: float) -> str:
    """Where uvicorn says that it listens: port 0 lets the system choose a free one."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        if found := re.search(r"running on (http://[\w.:]+)", log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    last = log.read_text(encoding="utf-8").strip().splitlines()[-1:] or ["no word from it"]
    raise RuntimeError(f"the service did not start ({last[0]}); run it alone: uvicorn --factory {APP}")


def _end(process: subprocess.Popen, seconds: float = 20) -> None:
    """Ask the supervisor to end all, and see to it."""
    if process.poll() is not None:
        return
    all_of_them = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(all_of_them, timeout=5)
    for one in alive:
        one.kill()
