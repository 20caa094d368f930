"""A search for good dials that prunes poor trials early, and that goes on after it was killed."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_course import training
from aigc_course.adaptation import stream

if TYPE_CHECKING:
    import optuna

STEPS, EVERY = 48, 12  # of a trial, and between two looks at it
SETTINGS = dict(pictures=400, kept=100, seed=0)


def search(file: Path | str, trials: int, name: str = "replay", **settings: int) -> optuna.Study:
    """Look for the learning rate and the share of old pictures with which replay learns a second style best.

    The study is kept in an SQLite file and goes on from there until `trials` are finished, pruned ones included.
    A trial that was running when the process died is marked failed, and its dials are tried again: so let only one
    process at a time work on a file.  settings: pictures a style, pictures kept, seed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = SETTINGS | settings
    study = _opened(Path(file), name, settings)
    _clear_up(study)
    left = trials - len(finished(study))
    if left > 0:
        study.sampler = optuna.samplers.TPESampler(seed=settings["seed"] + len(study.trials), n_startup_trials=5)
        study.optimize(_Objective(**settings), n_trials=left)
    return study


def _opened(file: Path, name: str, settings: dict[str, int]) -> optuna.Study:
    import optuna

    if file.is_file() and file.read_bytes()[:15] not in (b"", b"SQLite format 3"):
        raise ValueError(f"{file.name} is no study: give the path of an SQLite file, or of one that is not there yet")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=EVERY + 1)
    study = optuna.create_study(
        storage=f"sqlite:///{file}", study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )
    before = study.user_attrs.get("settings")
    if before not in (None, settings):
        raise ValueError(f"the study {name!r} was begun with {before}, not {settings}: use those, or another name")
    study.set_user_attr("settings", settings)
    return study


def load_study(file: Path | str, name: str = "replay") -> optuna.Study:
    """Read a study, and change nothing in it."""
    import optuna

    file = Path(file)
    if not file.is_file():
        raise ValueError(f"there is no file {file.name}: begin the study with adaptation.search")
    known = optuna.get_all_study_names(f"sqlite:///{file}")
    if name not in known:
        raise ValueError(f"{file.name} holds no study {name!r}; it has: {', '.join(known) or 'none'}")
    return optuna.load_study(study_name=name, storage=f"sqlite:///{file}")


def _clear_up(study: optuna.Study) -> None:
    """Mark what a dead process left running as failed, and put its dials first in the queue."""
    from optuna.trial import TrialState

    for stale in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(stale.number, state=TrialState.FAIL)
        study.enqueue_trial(stale.params, user_attrs={"again": stale.number})


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end, complete or pruned."""
    return [trial for trial in study.get_trials() if trial.state.name in ("COMPLETE", "PRUNED")]


class _Objective:
    """Learn a second style with a trial's dials; the mean accuracy on both, on validation pictures."""

    def __init__(self, pictures: int, kept: int, seed: int):
        self.tasks = stream.draw_stream(pictures, 150, "validation", seed, styles=2)
        self.model, self.kept, self.seed = stream.begin(self.tasks[0], 60, seed=seed, progress=False), kept, seed

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        rate = trial.suggest_float("learning_rate", 5e-4, 5e-2, log=True)
        method = stream.Replay(self.kept, trial.suggest_float("share", 0.05, 0.95), self.seed)
        model = copy.deepcopy(self.model)

        def look(step: training.Step) -> None:
            if step.number % EVERY == 0:
                trial.report(sum(stream.accuracy(model, t.unseen, t.truth) for t in self.tasks) / 2, step.number)
                if step.number < step.steps and trial.should_prune():
                    raise optuna.TrialPruned

        dials = dict(learning_rate=rate, progress=False, on_step=look)
        matrix = stream.follow(model, self.tasks, method, STEPS, self.seed, **dials)
        return stream.average_accuracy(matrix)


def search_and_kill(file: Path | str, trials: int, after: int, seconds: float = 120, **settings: Any) -> int:
    """Run `search` in a process of its own and kill it in the middle of a trial, once `after` trials are finished.

    SIGKILL where there is one: no farewell, nothing is put away.  Gives the exit status, -9 on Linux.
    """
    study = search(file, 0, **settings)
    call = f"from aigc_course import adaptation; adaptation.search({str(file)!r}, {trials}, **{settings!r})"
    process = subprocess.Popen([sys.executable, "-c", call])
    try:
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            if len(finished(study)) >= after and _under_way(study.trials[-1]):
                break
            time.sleep(0.05)
    finally:
        process.kill()
    return process.wait()


def _under_way(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial has begun to learn, and has not come to an end."""
    return trial.state.name == "RUNNING" and bool(trial.intermediate_values)
