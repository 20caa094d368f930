"""Tunes as sound and as picture: a small additive synthesiser, WAV files, and a piano roll."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aigc_course.music.tune import BAR, HIGHEST, LOWEST, TEMPOS, TONICS, Tune

RATE = 16_000  # samples a second
VOICE = (1.0, 0.45, 0.25, 0.12, 0.06)  # how loud the overtones are


def frequency(pitch: float) -> float:
    """Hertz of a MIDI number; 69 is the A of 440 Hz, twelve steps double it."""
    return 440 * 2 ** ((pitch - 69) / 12)


def play(tune: Tune, rate: int = RATE, voice: Sequence[float] = VOICE, bass: float = 0.25) -> np.ndarray:
    """A tune as samples in [-1, 1], float32 (N,): each note a sum of overtones under an envelope, over a soft tonic."""
    if rate < 4000:
        raise ValueError(f"{rate} samples a second cannot carry a melody; use 4,000 or more")
    eighth = 30 / TEMPOS[tune.tempo]
    sound = np.zeros(int((tune.seconds + 0.5) * rate), np.float32)
    for start, note in zip(tune.starts, tune.notes, strict=True):
        if note.pitch is not None:
            _add(sound, tone(frequency(note.pitch), note.length * eighth, rate, voice), start * eighth * rate)
    for start in range(0, sum(note.length for note in tune.notes), BAR) if bass else ():
        low = frequency(36 + TONICS[tune.key])
        _add(sound, bass * tone(low, BAR * eighth, rate, (1.0, 0.5)), start * eighth * rate)
    return sound / max(1.0, np.abs(sound).max())


def tone(hertz: float, seconds: float, rate: int = RATE, voice: Sequence[float] = VOICE) -> np.ndarray:
    """One note, float32 (N,): overtones below half the rate, a quick attack, a slow fall, silence at both ends."""
    t = np.arange(int(seconds * rate)) / rate
    parts = [loud * np.sin(2 * np.pi * hertz * n * t) for n, loud in enumerate(voice, 1) if hertz * n < rate / 2]
    rise, fall = np.minimum(1, t / 0.01), np.minimum(1, (seconds - t) / 0.05).clip(0)
    return (sum(parts) / sum(voice) * rise * fall * np.exp(-2 * t / max(seconds, 0.2))).astype(np.float32)


def _add(sound: np.ndarray, part: np.ndarray, at: float) -> None:
    start = int(at)
    end = min(len(sound), start + len(part))
    sound[start:end] += part[: end - start]


def to_wav(sound: np.ndarray, rate: int = RATE) -> bytes:
    """Samples in [-1, 1] as a WAV file of one channel, 16 bits."""
    if sound.ndim != 1 or not np.isfinite(sound).all():
        raise ValueError(f"one channel of finite samples is needed, not an array of shape {sound.shape}")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def save(tune: Tune, path: Path | str, rate: int = RATE) -> Path:
    """A tune as a WAV file; returns its path."""
    path = Path(path)
    path.write_bytes(to_wav(play(tune, rate), rate))
    return path


def roll(tune: Tune, across: int = 3, up: int = 2) -> Tensor:
    """A tune as a picture, (3, H, W) in [-1, 1]: time to the right, pitch upwards, bars and the tonic as fine lines."""
    width = sum(note.length for note in tune.notes)
    picture = torch.ones(3, HIGHEST - LOWEST + 1, width)
    picture[:, :, ::BAR] = 0.7
    picture[:, (TONICS[tune.key] - LOWEST) % 12 :: 12] = 0.7
    for start, note in zip(tune.starts, tune.notes, strict=True):
        if note.pitch is not None:
            colour = torch.tensor([-0.6, -0.2, 0.4]).view(3, 1)
            picture[:, note.pitch - LOWEST, start : start + note.length] = colour
    return picture.flip(1).repeat_interleave(up, 1).repeat_interleave(across, 2)
