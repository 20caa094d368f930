"""The worker: order, cancel, listeners that raise, errors as sentences, and no lock that holds for ever."""

import random
import threading
import time
from contextvars import ContextVar

import pytest
from studio_jobs import Stub, picture

from aigc_course import studio
from aigc_course.studio import Event, Gallery, JobSpec, Part, Queue, Studio, StudioError

SPEC = JobSpec((Part("a cat"),), count=1, seed=1)


@pytest.fixture
def worker():
    made = []

    def make(engine=None, gallery=None):
        made.append(Queue(engine or Stub(), gallery))
        return made[-1]

    yield make
    for one in made:
        one.close()


def heard(queue):
    events = []
    queue.listen(events.append)
    return events


def kinds(events, job):
    return [event.kind for event in events if event.job == job]


def test_a_job_is_queued_started_stepped_made_and_done(worker):
    queue = worker()
    events = heard(queue)
    job = queue.submit(SPEC.with_(steps=2))
    ended = queue.wait(job, 10)
    assert kinds(ended, job) == ["queued", "started", "made", "done"]
    assert kinds(events, job) == ["queued", "started", "step", "step", "made", "done"]
    assert "step 1 of 2" in [event.sentence for event in events] and events[-1].memory > 0 and events[-1].ends


def test_jobs_run_in_the_order_they_came(worker):
    engine = Stub()
    queue = worker(engine)
    jobs = [queue.submit(SPEC.with_(seed=k)) for k in range(20)]
    for job in jobs:
        queue.wait(job, 10)
    assert [spec.seed for spec in engine.ran] == list(range(20)) and not queue.pending


def test_cancel_keeps_the_picture_reached(worker):
    queue = worker(Stub(0.01))
    reached = threading.Event()
    queue.listen(lambda event: reached.set() if event.kind == "step" and event.number == 3 else None)
    job = queue.submit(SPEC.with_(steps=200))
    assert reached.wait(10) and queue.cancel(job)
    *_, made, last = queue.wait(job, 10)
    assert made.kind == "made" and made.pictures and 3 <= made.number < 200
    assert last.kind == "cancelled" and f"stopped at step {made.number} of 200" == last.sentence


def test_a_waiting_job_is_cancelled_without_being_begun(worker):
    engine = Stub(0.02)
    queue = worker(engine)
    queue.submit(SPEC.with_(steps=10))
    waiting = queue.submit(SPEC.with_(seed=99))
    assert queue.cancel(waiting)
    assert kinds(queue.wait(waiting, 10), waiting) == ["queued", "cancelled"]
    assert 99 not in [spec.seed for spec in engine.ran]
    assert not queue.cancel(waiting) and not queue.cancel("nothing")


def test_a_listener_that_raises_is_noted_and_the_work_goes_on(worker):
    queue = worker()

    def bad(event):
        raise SystemExit("I am a bad listener") if event.kind == "step" else RuntimeError("I am a bad listener")

    stop = queue.listen(bad)
    events = heard(queue)
    assert queue.wait(queue.submit(SPEC), 10)[-1].kind == "done" and events[-1].kind == "done"
    assert any("bad listener" in line for line in queue.complaints)
    stop()
    queue.complaints.clear()
    queue.wait(queue.submit(SPEC), 10)
    assert not queue.complaints


def test_a_listener_may_submit_and_cancel_but_not_wait(worker):
    queue = worker()
    said, more = [], []

    def busy(event):
        if event.kind == "done" and len(more) < 3:
            more.append(queue.submit(SPEC))
            queue.cancel(more[-1])
            try:
                queue.wait(more[-1])
            except RuntimeError as error:
                said.append(str(error))

    queue.listen(busy)
    queue.wait(queue.submit(SPEC), 10)
    queue.wait(queue.submit(SPEC), 10)
    assert said and "listen for its last event" in said[0]


def test_an_error_is_an_event_with_a_sentence_and_a_next_step(worker):
    class Broken(Stub):
        def run(self, spec, cancel):
            raise {1: KeyError("x"), 2: MemoryError(), 3: StudioError("the door is shut", "open it")}[spec.seed]
            yield

    queue = worker(Broken())
    for seed, sentence, fix in [(1, "x", "details"), (2, "memory", "fewer"), (3, "the door is shut", "open it")]:
        last = queue.wait(queue.submit(SPEC.with_(seed=seed)), 10)[-1]
        assert last.kind == "failed" and sentence in last.sentence and fix in last.fix
    stub = worker()
    last = stub.wait(stub.submit(JobSpec((Part("fail"),))), 10)[-1]
    assert last.sentence == "this job fails, as it was asked to" and "Traceback" in last.details
    assert stub.wait(stub.submit(SPEC), 10)[-1].kind == "done"


def test_listeners_are_called_in_the_context_that_the_queue_was_made_in(worker):
    cell = ContextVar("cell", default="none")
    token = cell.set("the cell that shows the Studio")
    queue = worker()
    cell.reset(token)
    seen = []
    queue.listen(lambda event: seen.append(cell.get()) if event.kind == "step" else None)
    queue.wait(queue.submit(SPEC), 10)
    assert set(seen) == {"the cell that shows the Studio"}


def test_previews_come_as_often_as_asked_and_a_broken_one_harms_nothing(worker):
    queue = worker(Stub(0.01))
    often, seldom, never = [], [], []
    for ear, rate in ((often, 1000), (seldom, 5), (never, 0)):
        queue.listen(lambda event, ear=ear: ear.append(event) if event.kind == "step" else None, previews=rate)
    queue.wait(queue.submit(SPEC.with_(steps=30)), 20)
    shown = [sum(bool(event.pictures) for event in ear) for ear in (often, seldom, never)]
    assert shown[0] >= 20 and 1 <= shown[1] <= shown[0] // 2 and shown[2] == 0

    class Blind(Stub):
        def run(self, spec, cancel):
            yield Event("step", number=1, total=1, preview=lambda: 1 / 0)
            yield Event("made", spec=spec, pictures=(picture(0),), facts={}, number=1, total=1)

    blind = worker(Blind())
    blind.listen(never.append, previews=100)
    never.clear()
    assert blind.wait(blind.submit(SPEC), 10)[-1].kind == "done" and blind.complaints
    assert [event.kind for event in never] == ["queued", "started", "step", "made", "done"]


def test_random_cancels_lose_no_job_repeat_no_entry_and_never_hang(worker, tmp_path):
    gallery = Gallery(tmp_path)
    queue = worker(Stub(0.001), gallery)
    events, rng = heard(queue), random.Random(0)
    jobs, lock = [], threading.Lock()

    def submitter(seed):
        mine = random.Random(seed)
        for _ in range(40):
            job = queue.submit(SPEC.with_(steps=mine.randint(1, 4), seed=mine.randrange(10**6)))
            with lock:
                jobs.append(job)
            if mine.random() < 0.5:
                time.sleep(mine.random() * 0.004)
                queue.cancel(mine.choice(jobs))

    threads = [threading.Thread(target=submitter, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for job in rng.sample(jobs, len(jobs)):
        queue.wait(job, 30)
    ends = [event.kind for event in events if event.ends]
    assert len(ends) == len(jobs) == 120 and {"done", "cancelled"} == set(ends)
    made = [entry.id for event in events for entry in event.entries]
    assert len(set(made)) == len(made) == len(gallery) == len(Gallery(tmp_path)) and not queue.pending


def test_a_full_disk_takes_no_picture_from_whoever_waits(worker, tmp_path, monkeypatch):
    gallery = Gallery(tmp_path)
    monkeypatch.setattr(gallery, "add", lambda *_: (_ for _ in ()).throw(OSError("no space left on the disk")))
    queue = worker(gallery=gallery)
    events = queue.wait(queue.submit(SPEC), 10)
    assert [event.kind for event in events] == ["queued", "started", "note", "made", "done"]
    assert "could not be saved" in events[2].sentence and events[3].pictures


def test_a_closed_queue_cancels_what_is_left_and_takes_no_more():
    queue = Queue(Stub(0.01))
    jobs = [queue.submit(SPEC.with_(steps=100)) for _ in range(3)]
    queue.close()
    assert [queue.wait(job, 5)[-1].kind for job in jobs] == ["cancelled"] * 3
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit(SPEC)


def test_too_many_jobs_are_refused(worker, monkeypatch):
    monkeypatch.setattr("aigc_course.studio.queue.MOST_PENDING", 3)
    queue = worker(Stub(0.05))
    with pytest.raises(StudioError, match="cancel some"):
        for _ in range(5):
            queue.submit(SPEC)
    with pytest.raises(KeyError, match="no job"):
        queue.wait("nothing")
    with pytest.raises(TimeoutError, match="has not ended"):
        queue.wait(queue.pending[-1], 0.001)
    with pytest.raises(ValueError, match="JobSpec"):
        queue.submit(None)


def test_jobs_that_ended_long_ago_are_forgotten(worker, monkeypatch):
    monkeypatch.setattr("aigc_course.studio.queue.REMEMBERED", 5)
    queue = worker()
    for _ in range(30):
        queue.wait(queue.submit(SPEC), 10)
    assert len(queue._jobs) <= 7


def test_a_line_is_made_and_kept_and_a_failure_is_raised(tmp_path):
    desk = Studio(tmp_path, Stub())
    try:
        red, blue = desk.make("a {red, blue} cat --seed 3")
        assert (
            red.spec.words == "a red cat"
            and len(red.ids) == 4
            and red.ids + blue.ids == tuple(entry.id for entry in desk.gallery.entries)
        )
        assert red.sheet().alt == "4 pictures: a red cat"
        with pytest.raises(StudioError, match="as it was asked to"):
            desk.make("fail")
        with pytest.raises(studio.PromptError):
            desk.make("a cat --seed x")
        about = desk.about(red.ids[1], action="vary", strength=studio.SUBTLE)
        assert (about.parent, about.words, about.seed, about.action) == (red.ids[1], "a red cat", None, "vary")
    finally:
        desk.close()


def test_progress_is_told_in_words():
    assert studio.progress(7, 20, None) == "step 7 of 20"
    assert studio.progress(7, 20, 6.2) == "step 7 of 20, about 6 s left"
    assert studio.progress(19, 20, 0.4) == "step 19 of 20, less than a second left"
