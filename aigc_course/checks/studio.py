"""Exercises of notebook 6.1: a parameter of the prompt line, a rule of variation, a listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aigc_course import studio
from aigc_course.checks.verdict import right, untried

# --- 6.1.1 --------------------------------------------------------------------------------------------------


def check_parameter(answer: Callable[[str], Any]) -> None:
    """Exercise 6.1.1: `--variety v` sets chaos to v and weird to 10 v, and points at a value that it cannot read."""
    line = "a red house --variety 8 --seed 7"
    try:
        job = answer(line)
    except studio.PromptError as error:
        raise AssertionError(f"{line!r} is refused ({error.sentence}): cover --variety and its value first") from None
    if untried(job, "6.1.1", "replace the dots: find the value, cover it with spaces, parse the rest, set two fields"):
        return
    assert isinstance(job, studio.JobSpec), f"return a JobSpec, not a {type(job).__name__}: parse gives a list of them"
    assert job.words == "a red house", f"the words are {job.words!r} now; cover the parameter, and nothing else"
    assert job.seed == 7, "--seed 7 after the value was lost; cover the parameter alone, not all that follows"
    _insist_on_fields(job)
    _insist_on_places(answer)
    _insist_on_limits(answer)
    right("6.1.1")


def _insist_on_fields(job: studio.JobSpec) -> None:
    both = job.chaos, job.weird
    assert both != (80, 8), "chaos and weird are swapped: chaos is v, weird ten times that"
    assert both != (8, 0), "weird is not set: it is ten times the value"
    assert both != (0, 80), "chaos is not set: it is the value itself"
    assert both != (8, 8), "weird goes to 3000 where chaos goes to 100: it is ten times the value"
    assert both == (8, 80), f"--variety 8 gave chaos {both[0]:g} and weird {both[1]:g}; 8 and 80 were asked for"


def _insist_on_places(answer: Callable[[str], Any]) -> None:
    """Elsewhere on the line: without the parameter, at the end, and with an error behind it."""
    plain = _job(answer, "a red house --seed 7", "a line without --variety is an ordinary job; parse it and return it")
    assert plain == studio.parse("a red house --seed 7")[0], "without --variety nothing may change: both fields stay 0"
    last = _job(answer, "a house --seed 7 --variety 100", "--variety may stand last, and 100 is allowed")
    assert (last.seed, last.chaos) == (7, 100), "at the end of the line --variety was not read; it may stand anywhere"
    none = _job(answer, "a house --variety 0 --seed 7", "0 is allowed")
    assert none.chaos == 0, "--variety 0 is allowed and sets both to nothing"
    line = "a house --variety 30 --seed seven"
    error = _refused(answer, line, "--seed seven is no number; leave that error to studio.parse and let it pass")
    assert error.at == line.index("seven"), (
        f"in {line!r} the caret for 'seven' stands at character {error.at}, not {line.index('seven')}: "
        "put as many spaces as you take characters away"
    )


def _insist_on_limits(answer: Callable[[str], Any]) -> None:
    for value in ("101", "-1", "1.5", "much", "nan"):
        line = f"a house --variety {value} --seed 7"
        said = {
            "101": "--variety 101 is accepted; the most is 100",
            "-1": "--variety -1 is accepted; the least is 0",
            "1.5": "--variety 1.5 is accepted; only whole numbers are",
        }.get(value, f"--variety {value} is accepted, and it is no number")
        error = _refused(answer, line, said)
        flag, place = line.index("--variety"), line.index(value)
        assert error.at != flag, "the caret points at the parameter; it is the value that is wrong: `found.start(1)`"
        assert error.at == place, f"the caret for {value!r} stands at character {error.at}, not at its place {place}"
        assert error.line == line, "give PromptError the line as it was typed, so that the caret stands under it"


def _job(answer: Callable[[str], Any], line: str, said: str) -> studio.JobSpec:
    try:
        return answer(line)
    except Exception as error:
        raise AssertionError(f"{line!r} ended in {type(error).__name__}: {said}") from None


def _refused(answer: Callable[[str], Any], line: str, said: str) -> studio.PromptError:
    try:
        answer(line)
    except studio.PromptError as error:
        return error
    except Exception as error:
        if "chaos is" in str(error):
            said = f"{line!r} was refused by the job, which knows no places; check the range before you set fields"
            raise AssertionError(said) from None
        kind = type(error).__name__
        raise AssertionError(f"{line!r} ended in {kind}; raise a PromptError: it alone knows the place") from None
    raise AssertionError(said)


# --- 6.1.2 --------------------------------------------------------------------------------------------------


def check_variation(answer: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> None:
    """Exercise 6.1.2: from one noise to another on a quarter of a circle."""
    noise, other = np.random.default_rng(0).standard_normal((2, 4, 16, 16))
    got = {share: answer(noise, other, share) for share in (0.0, 0.3, 0.5, 1.0)}
    if untried(got[0.3], "6.1.2", "replace the dots: a cosine of the one noise and a sine of the other"):
        return
    shape = np.shape(got[0.3])
    assert shape == noise.shape, f"the shape is {shape}; keep that of the noise, {noise.shape}"

    def is_like(a: Callable[[float], float], b: Callable[[float], float]) -> bool:
        return all(np.allclose(value, a(s) * noise + b(s) * other, atol=1e-4) for s, value in got.items())

    quarter = np.pi / 2
    circle, sine = (lambda s: np.cos(s * quarter)), (lambda s: np.sin(s * quarter))
    assert not is_like(sine, circle), "it runs backwards: strength 0 is the noise itself"
    assert not is_like(lambda s: 1 - s, lambda s: s), "on the straight line noise gets too quiet: go on the circle"
    assert not is_like(lambda s: (1 - s) ** 0.5, lambda s: s**0.5), "loud enough, but no even turn: use the angle"
    assert not is_like(lambda s: (1 - s**2) ** 0.5, lambda s: s), "loud enough, but ½ is too near to it: use the angle"
    assert not is_like(np.cos, np.sin), "at strength 1 some of the noise is left: a quarter of a circle is π / 2"
    half = np.pi
    assert not is_like(lambda s: np.cos(s * half), lambda s: np.sin(s * half)), "π is half a circle: a quarter is π / 2"
    degrees = 90
    turn = (lambda s: np.cos(s * degrees)), (lambda s: np.sin(s * degrees))
    assert not is_like(*turn), "cos and sin count in radians: 90 degrees are π / 2"
    assert not is_like(lambda s: 1, sine), "the old noise must get quieter as the other gets louder"
    assert not is_like(lambda s: 1, lambda s: s), "noise plus noise is too loud: its part must fall as the other rises"
    loud = float(np.std(got[0.5]))
    assert abs(loud - 1) < 0.1, f"at strength ½ the noise is {loud:.2f} times as loud as it should be"
    assert is_like(circle, sine), "this is not a turn by strength · π / 2: cos times the noise, sin times the other"
    right("6.1.2")


# --- 6.1.3 --------------------------------------------------------------------------------------------------

_TOLD = (  # kind, job, time: one is done, one cancelled at work, one before it began, one fails, one goes on
    ("queued", "a", 0), ("queued", "b", 1), ("started", "a", 2), ("queued", "c", 3), ("step", "a", 4), ("made", "a", 8),
    ("done", "a", 9), ("started", "b", 10), ("queued", "d", 11), ("step", "b", 12), ("cancelled", "b", 14),
    ("cancelled", "c", 15), ("started", "d", 16), ("failed", "d", 21), ("queued", "e", 22), ("started", "e", 23),
)  # fmt: skip
_SECONDS = {"a": 7, "b": 4, "d": 5}


def check_listener(answer: Callable[[dict], Any]) -> None:
    """Exercise 6.1.3: how long each job was at work."""
    seconds: dict[str, float] = {}
    hear = answer(seconds)
    if untried(hear, "6.1.3", "replace the dots: remember when a job started; at its end write down the difference"):
        return
    assert callable(hear), f"return the listener, a function of one event, not a {type(hear).__name__}"
    for kind, job, at in _TOLD:
        try:
            hear(studio.Event(kind, job=job, at=float(at)))
        except Exception as error:
            said = "a job that is cancelled while it waits never starts; look whether its start is known"
            raise AssertionError(f"{type(error).__name__} at {kind!r} of job {job!r}: {said}") from None
    _insist_on_seconds({job: round(value, 6) for job, value in seconds.items()})
    right("6.1.3")


def _insist_on_seconds(got: dict[str, float]) -> None:
    assert got, "nothing was written; put the difference into `seconds` under `event.job`"
    assert set(got) <= set("abcde"), f"the keys are {sorted(map(str, got))[:3]}; write under `event.job`"
    assert "c" not in got, "job 'c' was cancelled while it waited; it was never at work"
    assert "e" not in got, "job 'e' is still at work; write only when it ends"
    assert got.get("a") != 9, "that counts the waiting too; begin at `started`, not at `queued`"
    assert got.get("a") != 6, "that stops at `made`; the last event is the one with `event.ends`"
    assert got != {"a": 7}, "cancelled and failed jobs end too: ask `event.ends`, not for `done`"
    assert {"b", "d"} <= set(got), "a cancelled or a failed job is missing; both have `event.ends`"
    assert got["d"] != 16, "the times are added up; each job has its own"
    assert got["d"] != 19, "one start for all jobs is not enough; keep one for each `event.job`"
    assert min(got.values()) >= 0.5, "use `event.at`, when it happened, not the clock when you hear of it"
    assert got == _SECONDS, f"the seconds at work are {_SECONDS}, and yours {got}"
