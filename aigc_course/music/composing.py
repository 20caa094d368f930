"""Tunes by rule: the data of this room, as drawing is the data of the picture world."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from aigc_course.music.tune import BARS, HIGHEST, KEYS, LOWEST, MOODS, SCALES, TEMPOS, TONICS, Note, Tune

SPLITS = ("train", "test", "judge")  # the judge's tunes are in neither of the others
FORMS = ("aabaaaba", "ababcaba", "aabbccaa", "abcbabca", "abacabac")  # which motif each bar repeats
CHORDS = ((0, 4, 5, 3, 0, 4, 3, 0), (0, 3, 4, 0, 5, 3, 4, 0), (0, 5, 3, 4, 0, 5, 4, 0), (0, 1, 4, 0, 3, 0, 4, 0))


@dataclass(frozen=True)
class Manner:
    """How a mood moves: rhythms of a bar in eighths, steps of the scale, middle of the voice, share of rests."""

    rhythms: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]
    centre: int
    rests: float = 0.0


MANNERS = {
    "happy": Manner(((2, 1, 1, 2, 2), (1, 1, 2, 1, 1, 2), (3, 1, 2, 2), (2, 2, 2, 1, 1)), (1, 1, 2, -1, 2, -2), 70),
    "sad": Manner(((4, 2, 2), (3, 1, 4), (2, 2, 4), (4, 4)), (-1, -1, -1, 1, -2, 0), 60, 0.08),
    "calm": Manner(((4, 4), (6, 2), (4, 2, 2), (8,)), (1, -1, 1, -1, 0, 2), 65),
    "tense": Manner(((1, 1, 1, 1, 1, 3), (1, 2, 1, 1, 2, 1), (3, 3, 2)), (0, 4, -3, 0, 5, -5), 62, 0.15),
}


def compose(rng: random.Random, mood: str | None = None, tempo: str | None = None, key: str | None = None) -> Tune:
    """One tune by rule: eight bars of two or three motifs, first beats on the bar's chord, the last note at home.

    What is None is drawn.  A fast tune joins pairs of eighths, as players do.
    """
    mood, tempo, key = mood or rng.choice(MOODS), tempo or rng.choice(list(TEMPOS)), key or rng.choice(KEYS)
    if mood not in MANNERS:
        raise ValueError(f"no mood called {mood!r}; use one of: {', '.join(MOODS)}")
    manner = MANNERS[mood]
    form, chords = rng.choice(FORMS), rng.choice(CHORDS)
    motifs = {name: _motif(manner, rng, tempo) for name in sorted(set(form))}
    notes: list[Note] = []
    for bar, (name, chord) in enumerate(zip(form, chords, strict=True)):
        notes += _close(mood, key, manner) if bar == BARS - 1 else _bar(motifs[name], chord, mood, key, manner)
    return Tune(mood, tempo, key, tuple(notes))


def _motif(manner: Manner, rng: random.Random, tempo: str) -> list[tuple[int, int | None]]:
    """One bar: (length, degrees above the chord's root, or None for silence)."""
    rhythm = rng.choice(manner.rhythms)
    degree, motif = rng.choice((0, 2, 4)), []
    for index, length in enumerate(_joined(rhythm) if tempo == "fast" else rhythm):
        silent = index > 0 and rng.random() < manner.rests
        motif.append((length, None if silent else degree))
        degree = max(-5, min(9, degree + rng.choice(manner.steps)))
    return motif


def _joined(rhythm: tuple[int, ...]) -> list[int]:
    """Each pair of eighths as one quarter."""
    joined: list[int] = []
    for length in rhythm:
        joined = [*joined[:-1], 2] if length == 1 and joined[-1:] == [1] else [*joined, length]
    return joined


def _bar(motif, chord: int, mood: str, key: str, manner: Manner) -> list[Note]:
    return [Note(None if up is None else _pitch(chord + up, mood, key, manner), length) for length, up in motif]


def _close(mood: str, key: str, manner: Manner) -> list[Note]:
    """Dominant, leading note, home."""
    return [Note(_pitch(degree, mood, key, manner), length) for degree, length in ((4, 2), (6, 2), (7, 4))]


def _pitch(degree: int, mood: str, key: str, manner: Manner) -> int:
    """A degree of the scale as a MIDI number, in the octaves around the mood's centre."""
    root = manner.centre - (manner.centre - TONICS[key]) % 12
    octave, step = divmod(degree, 7)
    pitch = root + 12 * octave + SCALES[mood][step]
    while pitch > HIGHEST:
        pitch -= 12
    while pitch < LOWEST:
        pitch += 12
    return pitch


def tunes(count: int, split: str = "train", seed: int = 0) -> Iterator[Tune]:
    """So many random tunes of a split; the same for the same seed."""
    if split not in SPLITS:
        raise ValueError(f"no split called {split!r}; use one of: {', '.join(SPLITS)}")
    for index in range(count):
        yield compose(random.Random(f"{split}/{seed}/{index}"))
