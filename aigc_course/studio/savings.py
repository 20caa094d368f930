"""Less memory for the same pictures: which savings are on, how a model is brought to them, and what each has saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from aigc_course import memory, models
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.job import JobSpec

PARTS = ("text_encoder", "unet", "vae")
WEIGHTS = {  # how a pipeline's weights are kept: bits of its parts, and words
    "plain": ({}, "as they come"),
    "8 bits": (dict(unet=8), "denoiser in 8 bits"),
    "8 and 4 bits": (dict(unet=8, text_encoder=4, vae=4), "denoiser in 8 bits, the rest in 4"),
    "on disk": ({}, "denoiser on the disk, read layer by layer"),
}
MEASURED = dict(steps=2, count=4, stop=100.0)  # how the job is changed that savings are measured on
ENDLESS = 2**62  # the budget of a device that refuses nothing
HUB = {one.repository: name for name, one in models.CHECKPOINTS.items() if name.startswith("text-to-image")}


@dataclass(frozen=True)
class Savings:
    """What is saved, all of it honest on a CPU (chapter 4.4).

    denoise_one, decode_one: the denoiser, the decoder sees one picture at a time;  weights: one of `WEIGHTS`.
    """

    denoise_one: bool = False
    decode_one: bool = False
    weights: str = "plain"

    def __post_init__(self):
        if self.weights not in WEIGHTS:
            raise ValueError(f"there are no weights {self.weights!r:.40}; choose one of: {', '.join(WEIGHTS)}")

    def each(self) -> list[Savings]:
        """Those that are on, one by one."""
        plain = Savings()
        on = [one.name for one in fields(self) if getattr(self, one.name) != getattr(plain, one.name)]
        return [replace(plain, **{name: getattr(self, name)}) for name in on]

    @property
    def sentence(self) -> str:
        """In words; "" with none on."""
        told = ["denoising one by one"] * self.denoise_one + ["decoding one by one"] * self.decode_one
        return ", ".join(told + [WEIGHTS[self.weights][1]] * (self.weights != "plain"))

    @property
    def bits(self) -> bool:
        """Whether weights are kept in few bits."""
        return bool(WEIGHTS[self.weights][0])

    def refuse(self, spec: JobSpec) -> None:
        """What of a job does not go together with them."""
        if spec.tile and self.bits:
            raise StudioError("--tile needs weights as they come", "leave it out, or keep the weights plain")
        if spec.loras and self.weights == "on disk":
            raise StudioError("a LoRA needs weights in memory", "leave it out, or take the weights from the disk")


@dataclass(frozen=True, eq=False)
class Reading:
    """What one run took.

    savings: what was on;  weights: bytes that lie in memory between jobs;  peak: the most bytes at once, weights
    included, counted operation by operation;  seconds;  distance: of its pictures from those of the first run, in
    steps of 255 in the mean.
    """

    savings: Savings
    weights: int
    peak: int
    seconds: float
    distance: float


# --- a model brought to its savings -------------------------------------------------------------------------


def fitted(pipe: Any, savings: Savings) -> Any:
    """A pipeline, just loaded, with its weights kept as asked for."""
    for part, bits in WEIGHTS[savings.weights][0].items():
        memory.quantise(getattr(pipe, part), bits)
    if savings.weights == "on disk":
        for module in pipe.unet.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    module._parameters[name] = nn.Parameter(value.detach().to("meta"), requires_grad=False)
    return pipe


@contextmanager
def at_work(pipe: Any, name: str, savings: Savings) -> Iterator[None]:
    """While a job runs: weights on the disk come when their layer is asked and go when it has answered."""
    with ExitStack() as stack:
        if savings.weights == "on disk":
            stack.enter_context(memory.SmallDevice(ENDLESS).running(pipe.unet, file_of(name)))
        yield


def file_of(name: str) -> Path:
    """The denoiser's weights of a model of the cast, or of a public one that is on this machine."""
    folder = models.checkpoint_folder(HUB[name]) if name in HUB else models.folder_of(name)
    return min((folder / "unet").glob("*.safetensors"))


def parts_of(pipe: Any) -> nn.ModuleList:
    """All networks of a pipeline as one model, to be counted."""
    return nn.ModuleList([getattr(pipe, part) for part in PARTS])


def weigh(pipe: Any) -> int:
    """Bytes of weights in memory; those that lie on the disk are none."""
    return sum(value.nbytes for value in parts_of(pipe).parameters() if value.device.type != "meta")


# --- what each has saved ------------------------------------------------------------------------------------


def measure(engine: Any, spec: JobSpec, wanted: Savings, cancel: threading.Event | None = None) -> Iterator[Event]:
    """What each saving gives: a job of a few steps without any, with each alone and with all together.

    engine: an `Engine`, which afterwards saves what it saved before.  The answer is a tuple of `Reading`, as many as
    there was time for.
    """
    before, each = engine.savings, wanted.each()
    rows = [Savings(), *each, *([wanted] if len(each) > 1 else [])]
    readings, first = [], None
    spec = spec.seeded().with_(**MEASURED)
    try:
        for number, one in enumerate(rows, start=1):
            engine.take(engine.drawing, one)
            reading, pictures = _reading(engine, spec, first, cancel)
            if reading is None:
                break
            first = first or pictures
            readings.append(reading)
            yield Event("step", number=number, total=len(rows))
        yield Event("told", answer=tuple(readings))
    finally:
        engine.take(engine.drawing, before)


def _reading(engine: Any, spec: JobSpec, first: Any, cancel: threading.Event | None) -> tuple[Reading | None, Any]:
    """Of one run, and its pictures; None where it was cancelled.  first: the pictures to compare with."""
    pipe, begun = engine.model(engine.drawing), time.perf_counter()
    made, peak = counted(pipe, lambda: [event for event in engine.run(spec, cancel) if event.kind == "made"])
    if not made or made[0].number < made[0].total:
        return None, None
    pictures, seconds = made[0].pictures, time.perf_counter() - begun
    away = distance(pictures, first) if first else 0.0
    return Reading(engine.savings, weigh(pipe), peak, seconds, away), pictures


def distance(ours: Sequence[Image.Image], theirs: Sequence[Image.Image]) -> float:
    """How far pixels are away in the mean, in steps of 255."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean() for a, b in pairs]))


@torch.no_grad()
def counted(pipe: Any, run: Callable[[], Any]) -> tuple[Any, int]:
    """What a function returns, and the most bytes that were held at once meanwhile, weights included."""
    with memory.counting(parts_of(pipe)) as account:
        given = run()
    return given, account.peak
