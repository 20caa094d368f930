"""One worker thread owns the models; everything else hands it jobs, and listens."""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from aigc_course.studio.engine import Engine
from aigc_course.studio.events import Event, StudioError, message, progress, trace
from aigc_course.studio.gallery import Entry, Gallery
from aigc_course.studio.job import JobSpec

Listener = Callable[[Event], Any]
Run = Callable[[JobSpec, threading.Event], Iterator[Event]]
MOST_PENDING, REMEMBERED = 400, 200  # jobs that may wait; finished ones whose outcome is kept


@dataclass(eq=False)
class _Job:
    id: str
    spec: JobSpec | None
    run: Run
    cancel: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    events: list[Event] = field(default_factory=list)  # without steps: what `wait` gives


@dataclass(eq=False)
class _Ear:
    """A listener and how often it wants previews; they are made in the worker, at most that often."""

    hear: Listener
    previews: float
    last: float = 0.0

    def wants(self, now: float) -> bool:
        return bool(self.previews) and now - self.last >= 1 / self.previews


class Queue:
    """Jobs in, events out.  `submit` and `cancel` return at once and may be called from any thread, also by listeners.

    Listeners are called in the worker thread, but for "queued", which comes from whoever submits; they should be
    quick.  One that raises is noted in `complaints`, and the work goes on.  Each job's last event is exactly one of
    done, cancelled or failed.
    gallery: keeps what is made, if given;  engine: anything with `run(spec, cancel)` that yields events.
    """

    def __init__(self, engine: Engine | Any, gallery: Gallery | None = None):
        self.engine, self.gallery = engine, gallery
        self.complaints: deque[str] = deque(maxlen=50)
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._jobs: dict[str, _Job] = {}
        self._ears: tuple[_Ear, ...] = ()
        self._closed = False
        self._begun = f"{int(time.time()):x}"
        # In its maker's context: a notebook's kernel then knows which cell the widgets belong to that listeners change,
        # and routes their clicks there; without, to wherever the last message came from, which may be gone.
        context = contextvars.copy_context()
        self._worker = threading.Thread(target=context.run, args=(self._work,), name="studio", daemon=True)
        self._worker.start()

    # --- for everyone ---

    def submit(self, spec: JobSpec | None, run: Run | None = None) -> str:
        """Put a job at the end of the line; its id is returned.

        run: a generator function (spec, cancel) → events, `engine.run` by default; with one of its own a job needs
        no spec.
        """
        if spec is None and run is None:
            raise ValueError("there is no job; give a JobSpec, such as prompt.parse('a red house')[0]")
        spec = spec and spec.seeded()
        with self._lock:
            if self._closed:
                raise RuntimeError("this Studio is closed; open another one")
            if sum(not job.finished.is_set() for job in self._jobs.values()) >= MOST_PENDING:
                raise StudioError(f"{MOST_PENDING} jobs are waiting already", "cancel some, or wait for them")
            job = _Job(f"{self._begun}-{next(self._numbers)}", spec, run or self.engine.run)
            self._jobs[job.id] = job
            self._forget()
        self._tell(job, Event("queued", sentence="waiting"))
        self._waiting.put(job)
        return job.id

    def cancel(self, job: str | None = None) -> bool:
        """Stop one job, waiting or at work, or all of them (None); whether there was one to stop."""
        with self._lock:
            chosen = [one for one in self._jobs.values() if job in (None, one.id) and not one.finished.is_set()]
        for one in chosen:
            one.cancel.set()
        return bool(chosen)

    def wait(self, job: str, timeout: float | None = None) -> list[Event]:
        """Until a job has ended: what it said, without steps.  Listeners cannot wait: the worker calls them."""
        if threading.current_thread() is self._worker:
            raise RuntimeError("a listener cannot wait for a job: it would wait for itself; listen for its last event")
        found = self._jobs.get(job)
        if found is None:
            raise KeyError(f"no job {job!r:.60} is known; those finished long ago are forgotten")
        if not found.finished.wait(timeout):
            raise TimeoutError(f"job {job} has not ended within {timeout} s; wait longer, or cancel it")
        return list(found.events)

    def listen(self, hear: Listener, previews: float = 0.0) -> Callable[[], None]:
        """Call `hear` with each event from now on; what is returned ends that.

        previews: how many times a second, at most, a step event comes with rough pictures.
        """
        ear = _Ear(hear, previews)
        with self._lock:
            self._ears = (*self._ears, ear)

        def stop() -> None:
            with self._lock:
                self._ears = tuple(one for one in self._ears if one is not ear)

        return stop

    @property
    def pending(self) -> list[str]:
        """The jobs that have not ended, in order."""
        with self._lock:
            return [job.id for job in self._jobs.values() if not job.finished.is_set()]

    def close(self, timeout: float | None = 10.0) -> None:
        """Cancel what is left and end the worker."""
        with self._lock:
            self._closed = True
        self.cancel()
        self._waiting.put(None)
        if threading.current_thread() is not self._worker:
            self._worker.join(timeout)

    # --- the worker ---

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                last = self._cancelled(job) if job.cancel.is_set() else self._do(job)
            except BaseException as error:  # whatever a job does, the worker lives, and says so
                last = _failed(error)
            self._end(job, last)

    def _do(self, job: _Job) -> Event:
        self._tell(job, Event("started"))
        clock = _Clock()
        made = told = False
        with closing(job.run(job.spec, job.cancel)) as events:
            for event in events:
                if event.kind == "step":
                    left = clock.left(event.number, event.total)
                    event = replace(event, seconds_left=left, sentence=progress(event.number, event.total, left))
                if event.kind == "made":
                    made = event
                    event = replace(event, entries=self._kept(event, job))
                told = told or event.kind == "told"
                self._tell(job, event)
        if job.cancel.is_set() and not (told or (made and made.number == made.total)):
            return self._cancelled(job, made)
        return Event("done", sentence="done")

    def _kept(self, made: Event, job: _Job) -> tuple[Entry, ...]:
        if self.gallery is None:
            return ()
        try:
            return tuple(self.gallery.add(made.pictures, made.spec, made.facts, job.id))
        except OSError as error:  # a full disk takes no picture from whoever waits for it
            self._tell(job, Event("note", sentence=f"the pictures could not be saved: {error}; make room on the disk"))
            return ()

    def _cancelled(self, job: _Job, made: Event | bool = False) -> Event:
        if not made:
            return Event("cancelled", sentence="cancelled before there was a picture")
        sentence = f"stopped at step {made.number} of {made.total}"
        return Event("cancelled", number=made.number, total=made.total, sentence=sentence)

    def _end(self, job: _Job, last: Event) -> None:
        last = replace(last, memory=held())
        job.events.append(self._named(job, last))  # before `finished`: whoever waits must find it
        job.finished.set()
        self._call(job.events[-1])

    def _named(self, job: _Job, event: Event) -> Event:
        return replace(event, job=job.id, spec=event.spec or job.spec)

    def _tell(self, job: _Job, event: Event) -> None:
        event = self._named(job, event)
        if event.kind != "step":
            job.events.append(event)
        self._call(event)

    def _call(self, event: Event) -> None:
        shown = None
        for ear in self._ears:
            wanted = event.kind == "step" and event.preview is not None and ear.wants(time.monotonic())
            if wanted:
                ear.last = time.monotonic()
                shown = shown or self._with_preview(event)
            try:
                ear.hear(shown if wanted else event)
            except BaseException as error:  # also SystemExit: a listener's fault is never the job's, nor the worker's
                self.complaints.append(f"{getattr(ear.hear, '__name__', 'a listener')} raised {error!r:.200}")

    def _with_preview(self, event: Event) -> Event:
        try:
            return replace(event, pictures=tuple(event.preview()))
        except Exception as error:
            self.complaints.append(f"a preview raised {error!r:.200}")
            return event

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.finished.is_set()]
        for old in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._jobs[old]


class _Clock:
    """Seconds left, from a mean of the last steps' times that forgets slowly."""

    def __init__(self):
        self.last, self.mean = time.monotonic(), None

    def left(self, number: int, total: int) -> float | None:
        now = time.monotonic()
        taken, self.last = now - self.last, now
        if number == 1:  # its time holds the loading of models
            return None
        self.mean = taken if self.mean is None else 0.7 * self.mean + 0.3 * taken
        return self.mean * (total - number)


def _failed(error: BaseException) -> Event:
    """The last event of a job that raised."""
    if isinstance(error, StudioError):
        return Event("failed", sentence=error.sentence, fix=error.fix)
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "out of memory" in str(error):
        fix = "make fewer or smaller pictures at once, or restart the kernel"
        told = StudioError("there is not enough memory", fix)
    elif isinstance(error, ValueError):
        told = StudioError.of(error, "change the job and submit it again")
    else:
        told = StudioError(message(error), "see the details below")
    return Event("failed", sentence=told.sentence[:500], fix=told.fix, details=trace(error))


def held() -> int:
    """Bytes of memory that this process holds."""
    import psutil

    return psutil.Process().memory_info().rss
