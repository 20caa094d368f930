"""A tune as facts and as words: notes in eighths, eight bars, and what is wrong with words that are no tune."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

MOODS = ("happy", "sad", "calm", "tense")
TEMPOS = {"slow": 72, "medium": 104, "fast": 144}  # quarter notes a minute
KEYS = ("C", "D", "Eb", "F", "G", "A", "Bb")
TONICS = dict(zip(KEYS, (0, 2, 3, 5, 7, 9, 10), strict=True))  # semitones above C
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)  # the minor one is harmonic: its seventh leads home
SCALES = {"happy": MAJOR, "sad": MINOR, "calm": MAJOR, "tense": MINOR}
LENGTHS = (1, 2, 3, 4, 6, 8)  # in eighths
BAR, BARS = 8, 8  # eighths in a bar, bars in a tune
LOWEST, HIGHEST = 48, 84  # MIDI: C3 to C6
PITCHES = {f"p{n}": n for n in range(LOWEST, HIGHEST + 1)}
REST, BARLINE, END = "rest", "|", "<end>"


@dataclass(frozen=True)
class Note:
    """One sound: its pitch as a MIDI number, 60 is middle C, None is silence; its length in eighths."""

    pitch: int | None
    length: int

    def __post_init__(self):
        if self.length not in LENGTHS:
            raise ValueError(f"a note of {self.length} eighths; use one of: {', '.join(map(str, LENGTHS))}")
        if self.pitch is not None and not LOWEST <= self.pitch <= HIGHEST:
            raise ValueError(f"pitch {self.pitch} is outside the voice; keep it in {LOWEST} to {HIGHEST}")


@dataclass(frozen=True)
class Tune:
    """A melody, the mood and the tempo that it was asked for, and its key."""

    mood: str
    tempo: str
    key: str
    notes: tuple[Note, ...]

    def __post_init__(self):
        for what, allowed in (("mood", MOODS), ("tempo", TEMPOS), ("key", KEYS)):
            if (value := getattr(self, what)) not in allowed:
                raise ValueError(f"no {what} called {value!r}; use one of: {', '.join(allowed)}")
        if not self.notes:
            raise ValueError("a tune without notes; give at least one")

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return sum(note.length for note in self.notes) * 30 / TEMPOS[self.tempo]

    @property
    def starts(self) -> list[int]:
        """When each note begins, in eighths."""
        starts = [0]
        for note in self.notes:
            starts.append(starts[-1] + note.length)
        return starts[:-1]


def prompt(mood: str, tempo: str, key: str) -> str:
    """What is said before the first note: "happy fast C"."""
    return f"{mood} {tempo} {key}"


def to_words(tune: Tune) -> str:
    """A tune as words: prompt, then pitch and length of each note, a line after each full bar, an end."""
    words, filled = [prompt(tune.mood, tune.tempo, tune.key)], 0
    for note in tune.notes:
        words += [REST if note.pitch is None else f"p{note.pitch}", f"l{note.length}"]
        filled += note.length
        if filled % BAR == 0:
            words.append(BARLINE)
    return " ".join([*words, END])


@dataclass(frozen=True)
class Heard:
    """What words say: a tune if they are one, and the measures of it that need no ear.

    bars: share of the eight bars that are exactly full; in_key: share of all pitches named that are in the scale of
    the mood asked, in the key asked; home: whether the last note is the tonic; fault: why this is no tune, or "".
    """

    tune: Tune | None
    bars: float
    in_key: float
    home: bool
    fault: str


def listen(words: str) -> Heard:
    """Read words as a tune, as far as they go."""
    mood, tempo, key, *rest = words.split() if len(words.split()) > 2 else ("", "", "")
    if mood not in MOODS or tempo not in TEMPOS or key not in KEYS:
        return Heard(None, 0.0, 0.0, False, "it must begin with a mood, a tempo and a key, as in “happy fast C”")
    own = {(TONICS[key] + step) % 12 for step in SCALES[mood]}
    named = [PITCHES[word] % 12 for word in rest if word in PITCHES]
    in_key = sum(pitch in own for pitch in named) / max(1, len(named))
    notes, bars, fault = _notes(rest)
    if not notes:
        return Heard(None, 0.0, in_key, False, fault or "it has no notes")
    home = notes[-1].pitch is not None and notes[-1].pitch % 12 == TONICS[key]
    full = bars.count(BAR) / max(BARS, len(bars))
    if not fault and bars != [BAR] * BARS:
        fault = f"{bars.count(BAR)} of its {len(bars)} bars are full; a tune has {BARS} full ones"
    return Heard(Tune(mood, tempo, key, tuple(notes)), full, in_key, home, fault)


def _notes(words: list[str]) -> tuple[list[Note], list[int], str]:
    """Notes, eighths between the bar lines, and the first fault, where reading stops."""
    notes, bars, at = [], [0], 0
    while at < len(words) and words[at] != END:
        if words[at] == BARLINE:
            bars.append(0)
            at += 1
            continue
        note = _note(words[at : at + 2])
        if note is None:
            return notes, [n for n in bars if n], f"“{' '.join(words[at : at + 2])}” is no note"
        notes.append(note)
        bars[-1] += note.length
        at += 2
    return notes, [n for n in bars if n], "" if at < len(words) else "it does not end"


def _note(pair: list[str]) -> Note | None:
    lengths = {f"l{n}": n for n in LENGTHS}
    known = len(pair) == 2 and pair[0] in {*PITCHES, REST} and pair[1] in lengths
    return Note(PITCHES.get(pair[0]), lengths[pair[1]]) if known else None


def vocabulary() -> list[str]:
    """Every word that a tune can hold."""
    return [*MOODS, *TEMPOS, *KEYS, BARLINE, END, REST, *PITCHES, *(f"l{n}" for n in LENGTHS)]


def leaps(tune: Tune) -> list[int]:
    """Semitones from each sounding note to the next."""
    pitches = [note.pitch for note in tune.notes if note.pitch is not None]
    return [b - a for a, b in pairwise(pitches)]
