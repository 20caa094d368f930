"""Answers to the exercises of notebook 6.1."""

import re
import time

import numpy as np

from aigc_course import checks, studio
from exercises import Exercise

# --- 6.1.1 --------------------------------------------------------------------------------------------------

SAID = "--variety takes a whole number from 0 to 100, such as 30"


def _variety(line, chaos=1, weird=10, least=0, most=100, pattern=r"-?[0-9]+", number=int, kept=1, place=1, cover=" "):
    found = re.search(r" --variety +(\S+)", line)
    if not found:
        return studio.parse(line)[0]
    value = found[1]
    if not re.fullmatch(pattern, value) or not least <= number(value) <= most:
        raise studio.PromptError(SAID, line, found.start(place))
    rest = line[found.end() :] if kept else ""
    (job,) = studio.parse(line[: found.start()] + cover * len(found[0]) + rest)
    return job.with_(chaos=chaos * number(value), weird=min(3000, weird * number(value)))


def _by_words(line):
    """Without patterns: the words between spaces and where they stand."""
    before, sign, after = line.partition(" --variety ")
    if not sign:
        (job,) = studio.parse(line)
        return job
    value = after.split(" ")[0]
    at = len(before + sign)
    if value not in map(str, range(101)):
        raise studio.PromptError(SAID, line, at)
    rest = after[len(value) :]
    (job,) = studio.parse(before + " " * len(sign + value) + rest)
    return job.with_(chaos=float(value), weird=float(value) * 10)


def _changed(**how):
    return lambda line: _variety(line, **how)


def _uncovered(line):
    _variety(line)
    return studio.parse(line)[0]


def _a_list(line):
    return [_variety(line)]


def _in_the_words(line):
    return _variety(line, cover="x")


def _needed(line):
    at = line.index(" --variety ")
    return _variety(line) if at else None


def _always(line):
    job = _variety(line)
    return job if "--variety" in line else job.with_(chaos=50.0, weird=500.0)


def _in_the_middle_only(line):
    found = re.search(r" --variety +(\S+) ", line)
    return _variety(line) if found or "--variety" not in line else studio.parse(line.partition(" --variety")[0])[0]


def _plain_error(line):
    try:
        return _variety(line)
    except studio.PromptError as error:
        if SAID in str(error):
            raise ValueError(SAID) from None
        raise


def _at_the_parameter(line):
    try:
        return _variety(line)
    except studio.PromptError as error:
        at = line.index("--variety") if SAID in str(error) else error.at
        raise studio.PromptError(error.sentence, line, at) from None


def _of_the_rest(line):
    try:
        return _variety(line)
    except studio.PromptError as error:
        if SAID in str(error):
            raise studio.PromptError(SAID, line.partition(" --variety")[0] + " " * 40, error.at) from None
        raise


def _swallowed(line):
    try:
        return _variety(line)
    except studio.PromptError as error:
        if SAID in str(error):
            raise
        return studio.parse("a house")[0]


PARAMETER = {
    "not covered": (_uncovered, "cover --variety"),
    "a list": (_a_list, "return a JobSpec, not a list"),
    "covered with letters": (_in_the_words, "the words are"),
    "the rest is lost": (_changed(kept=0), "--seed 7 after the value was lost"),
    "swapped": (_changed(chaos=10, weird=1), "swapped"),
    "no weird": (_changed(weird=0), "weird is not set"),
    "no chaos": (_changed(chaos=0), "chaos is not set"),
    "the same for both": (_changed(weird=1), "weird goes to 3000"),
    "thirty times": (_changed(weird=30), "8 and 80 were asked for"),
    "always there": (_needed, "a line without --variety"),
    "a default of its own": (_always, "nothing may change"),
    "not at the end": (_in_the_middle_only, "it may stand anywhere"),
    "cut out": (_changed(cover=""), "as many spaces"),
    "errors swallowed": (_swallowed, "let it pass"),
    "no top": (_changed(most=10**6), "check the range before"),
    "no bottom": (lambda line: _unbounded(line, "-1"), "the least is 0"),
    "fractions": (lambda line: _unbounded(line, "1.5"), "only whole numbers"),
    "anything": (lambda line: _unbounded(line, "much"), "much is accepted"),
    "ValueError": (_plain_error, "raise a PromptError"),
    "points at the parameter": (_at_the_parameter, "points at the parameter"),
    "points before it": (_changed(place=0), "at its place"),
    "another line": (_of_the_rest, "as it was typed"),
}


def _unbounded(line, value):
    """Right, but that one bad value passes."""
    return _variety(line.replace(f"--variety {value} ", "--variety 0 "))


# --- 6.1.2 --------------------------------------------------------------------------------------------------


def _turned(noise, other, strength, whole=np.pi / 2):
    return np.cos(strength * whole) * noise + np.sin(strength * whole) * other


def _by_complex_numbers(noise, other, strength):
    return ((noise + 1j * other) * np.exp(-1j * strength * np.pi / 2)).real


def _mixed(a, b):
    return lambda noise, other, strength: a(strength) * noise + b(strength) * other


VARIATION = {
    "backwards": (lambda noise, other, s: _turned(other, noise, s), "backwards"),
    "a straight line": (_mixed(lambda s: 1 - s, lambda s: s), "too quiet"),
    "roots": (_mixed(lambda s: (1 - s) ** 0.5, lambda s: s**0.5), "no even turn"),
    "the other root": (_mixed(lambda s: (1 - s * s) ** 0.5, lambda s: s), "too near to it"),
    "radians for strength": (_mixed(np.cos, np.sin), "some of the noise is left"),
    "half a circle": (lambda *given: _turned(*given, whole=np.pi), "half a circle"),
    "degrees": (lambda *given: _turned(*given, whole=90), "in radians"),
    "the noise stays": (_mixed(lambda s: 1, lambda s: np.sin(s * np.pi / 2)), "must get quieter"),
    "added": (_mixed(lambda s: 1, lambda s: s), "too loud"),
    "a mean": (_mixed(lambda s: 0.5, lambda s: 0.5), "times as loud"),
    "minus": (_mixed(lambda s: np.cos(s * np.pi / 2), lambda s: -np.sin(s * np.pi / 2)), "not a turn"),
    "one number": (lambda noise, other, s: float(_turned(noise, other, s).mean()), "the shape is"),
}

# --- 6.1.3 --------------------------------------------------------------------------------------------------


def _timer(seconds):
    begun = {}

    def hear(event):
        if event.kind == "started":
            begun[event.job] = event.at
        if event.ends and event.job in begun:
            seconds[event.job] = event.at - begun.pop(event.job)

    return hear


class _Timer:
    """As an object."""

    def __init__(self, seconds):
        self.seconds, self.log = seconds, {}

    def __call__(self, event):
        self.log.setdefault(event.job, {})[event.kind] = event.at
        told = self.log[event.job]
        if event.kind in studio.ENDS and "started" in told:
            self.seconds[event.job] = told[event.kind] - told["started"]


def _listening(start=("started",), end=studio.ENDS, of=lambda event: event.job, at=lambda event: event.at, known=True):
    def timer(seconds):
        begun = {}

        def hear(event):
            if event.kind in start:
                begun.setdefault(of(event), at(event))
            if event.kind in end and (event.job in begun or not known):
                seconds[event.job] = at(event) - begun[of(event)]

        return hear

    return timer


def _one_start(seconds):
    begun = []

    def hear(event):
        if event.kind == "started":
            begun.append(event.at)
        if event.ends and event.job != "c":
            seconds[event.job] = event.at - begun[0]

    return hear


def _added_up(seconds):
    inner, own = {}, _timer({})
    own = _timer(inner)

    def hear(event):
        own(event)
        if event.ends and event.job in inner:
            seconds[event.job] = sum(inner.values())

    return hear


def _waiting_too(seconds):
    first = {}

    def hear(event):
        first.setdefault(event.job, event.at)
        if event.ends:
            seconds[event.job] = event.at - first[event.job]

    return hear


def _waiting_but_begun(seconds):
    first, begun = {}, set()

    def hear(event):
        first.setdefault(event.job, event.at)
        if event.kind == "started":
            begun.add(event.job)
        if event.ends and event.job in begun:
            seconds[event.job] = event.at - first[event.job]

    return hear


def _as_it_goes(seconds):
    begun = {}

    def hear(event):
        if event.kind == "started":
            begun[event.job] = event.at
        if event.job in begun:
            seconds[event.job] = event.at - begun[event.job]

    return hear


def _by_name(seconds):
    inner = {}
    own = _timer(inner)

    def hear(event):
        own(event)
        seconds.update({f"job {name}": value for name, value in inner.items()})

    return hear


def _off_by_one(seconds):
    inner = {}
    own = _timer(inner)

    def hear(event):
        own(event)
        seconds.update({name: value + 1 for name, value in inner.items()})

    return hear


def _nothing(seconds):
    return lambda event: None


def _measured_now(seconds):
    return _listening(at=lambda event: time.time())(seconds)


LISTENER = {
    "the dictionary": (lambda seconds: seconds, "return the listener"),
    "start not known": (_listening(known=False), "look whether its start is known"),
    "nothing written": (_nothing, "nothing was written"),
    "other keys": (_by_name, "the keys are"),
    "waiting counts": (_waiting_too, "it was never at work"),
    "at every event": (_as_it_goes, "write only when it ends"),
    "from queued": (_waiting_but_begun, "counts the waiting too"),
    "until made": (_listening(end=("made", "cancelled", "failed")), "stops at `made`"),
    "only done": (_listening(end=("done",)), "not for `done`"),
    "without failed": (_listening(end=("done", "cancelled")), "is missing"),
    "added up": (_added_up, "added up"),
    "one start": (_one_start, "one start for all"),
    "the clock of the listener": (_measured_now, "use `event.at`"),
    "off by one": (_off_by_one, "and yours"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("6.1.1", checks.check_parameter, _dots, [_variety, _by_words], PARAMETER),
    Exercise("6.1.2", checks.check_variation, _dots, [_turned, _by_complex_numbers], VARIATION),
    Exercise("6.1.3", checks.check_listener, _dots, [_timer, _Timer], LISTENER),
]
