"""Frames to files that others can play: GIF by Pillow, MP4 with a sound track by PyAV; and both read again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from aigc_course import plotting

PICTURE_CODECS = ("libx264", "mpeg4")  # H.264 where the wheel has it
SOUND_CODECS = ("aac", "mp3")


def _pixels(frames: Tensor | Sequence[Any]) -> np.ndarray:
    """Frames of any kind as uint8 (N, H, W, 3)."""
    if not len(frames):
        raise ValueError("there are no frames to write; give at least one")
    return plotting.to_array(frames)


def _rate(fps: float) -> None:
    if not 0 < fps <= 120:
        raise ValueError(f"{fps} frames a second cannot be played; use 1 to 120, such as 8")


def to_gif(frames: Tensor | Sequence[Any], fps: float = 8, colours: int = 64, side: int | None = None) -> bytes:
    """An endless GIF of frames of one size; they share one palette of `colours`, or their ground would flicker.

    side: pixels to which each is enlarged first.
    """
    _rate(fps)
    pictures = [Image.fromarray(one) for one in _pixels(frames)]
    if side:
        pictures = [one.resize((side, side), Image.Resampling.LANCZOS) for one in pictures]
    palette = Image.fromarray(np.concatenate([np.asarray(one) for one in pictures])).quantize(colours)
    first, *rest = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
    return file.getvalue()


def to_mp4(
    frames: Tensor | Sequence[Any],
    fps: int = 8,
    sound: np.ndarray | None = None,
    rate: int = 16_000,
    quality: int = 26,
    bits: int = 32_000,
) -> bytes:
    """An MP4 of frames of one even size, and of sound if given: samples in [-1, 1], one channel, `rate` a second.

    quality: of H.264, 18 is hardly told from the frames, 35 is small;  bits: of the sound, each second.
    """
    import av

    _rate(fps)
    pixels = _pixels(frames)
    _check_even(pixels)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        pictures = _add_pictures(out, pixels, fps, quality)
        heard = None if sound is None else _add_sound(out, rate, bits)
        for one in pixels:
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="rgb24")))
        out.mux(pictures.encode(None))
        if heard is not None:
            _encode_sound(out, heard, sound, rate)
    return file.getvalue()


def _check_even(pixels: np.ndarray) -> None:
    height, width = pixels.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 stores colours by 2 × 2 pixels, so {width} × {height} cannot be written; crop to even")


def _coder(names: Sequence[str]) -> str:
    import av

    there = [name for name in names if name in av.codecs_available]
    if not there:
        raise ValueError(f"this PyAV has none of the codecs {', '.join(names)}; install a wheel of av from PyPI")
    return there[0]


def _add_pictures(out: Any, pixels: np.ndarray, fps: int, quality: int) -> Any:
    stream = out.add_stream(_coder(PICTURE_CODECS), rate=fps)
    stream.height, stream.width = pixels.shape[1:3]
    stream.pix_fmt = "yuv420p"
    if stream.codec.name == "libx264":
        stream.options = {"crf": str(quality), "preset": "slow", "threads": "1"}
    return stream


def _add_sound(out: Any, rate: int, bits: int) -> Any:
    stream = out.add_stream(_coder(SOUND_CODECS), rate=rate)
    stream.layout, stream.bit_rate = "mono", bits
    return stream


def _encode_sound(out: Any, stream: Any, sound: np.ndarray, rate: int) -> None:
    import av

    if sound.ndim != 1 or not np.isfinite(sound).all():
        raise ValueError(f"one channel of finite samples is needed, not an array of shape {sound.shape}")
    frame = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    how = dict(format=stream.format.name, layout="mono", rate=rate, frame_size=stream.frame_size or 1024)
    cut = av.AudioResampler(**how)  # into the lengths that the codec takes
    for some in [*cut.resample(frame), *cut.resample(None)]:
        out.mux(stream.encode(some))
    out.mux(stream.encode(None))


def to_mp3(sound: np.ndarray, rate: int = 16_000, bits: int = 24_000) -> bytes:
    """Samples in [-1, 1] as a small MP3 that every browser plays."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=rate)
        stream.layout, stream.bit_rate = "mono", bits
        _encode_sound(out, stream, sound, rate)
    return file.getvalue()


@dataclass(frozen=True, eq=False)
class Played:
    """What a player finds in a file: its frames uint8 (N, H, W, 3), its sound (S,), and what it says of them."""

    frames: np.ndarray
    fps: float
    sound: np.ndarray
    rate: int
    codecs: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the pictures last."""
        return len(self.frames) / self.fps

    @property
    def sound_seconds(self) -> float:
        """How long the sound lasts; 0 where there is none."""
        return len(self.sound) / self.rate if self.rate else 0.0


def play(file: bytes) -> Played:
    """Decode a whole MP4, GIF or MP3, as a player does."""
    import av

    try:
        with av.open(io.BytesIO(file)) as source:
            kinds = {stream.type: stream for stream in source.streams}
            pictures, sounds = [], []
            for frame in source.decode(*kinds.values()):
                if isinstance(frame, av.VideoFrame):
                    pictures.append(frame.to_ndarray(format="rgb24"))
                else:
                    sounds.append(frame.to_ndarray()[0])
            fps = float(kinds["video"].average_rate) if "video" in kinds else 1.0
            rate = kinds["audio"].rate if "audio" in kinds else 0
            codecs = tuple(stream.codec_context.name for stream in source.streams)
    except av.FFmpegError as error:
        raise ValueError(f"no player can read this file ({error.strerror}); write it again") from None
    shape = (0, 0, 0, 3)
    return Played(
        np.stack(pictures) if pictures else np.zeros(shape, np.uint8),
        fps,
        np.concatenate(sounds) if sounds else np.zeros(0, np.float32),
        rate,
        codecs,
    )
