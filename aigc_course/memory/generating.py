"""Pictures in less: a call counted, windows in place of the whole, a device that is too small, a large picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import diffusion, models, runtime, sampling
from aigc_course.memory.account import Account
from aigc_course.memory.counter import counting
from aigc_course.memory.imagined import Imagined, as_if_real
from aigc_course.memory.quantised import quantise

SIDE = 1024  # pixels of the large picture
WAYS = ("enlarged", "windows")


# --- one call, counted --------------------------------------------------------------------------------------


def count_call(model: nn.Module, inputs: tuple, call: Callable[..., Any] | None = None) -> Account:
    """Ask a model once, without gradients, and count every byte: `call(model, *inputs)`, or `model(*inputs)`."""
    with torch.no_grad(), counting(model, inputs) as account:
        (call or _ask)(model, *inputs)
    return account


def predict_call(model: nn.Module, inputs: tuple, call: Callable[..., Any] | None = None) -> Account:
    """The same account without running: on tensors that know their shape and hold no memory, as `predict` does."""
    imagined = Imagined()
    model, inputs = imagined.copy(model), imagined.copy(inputs)
    with imagined.mode, as_if_real(), torch.no_grad(), counting(model, inputs, imagined=imagined) as account:
        (call or _ask)(model, *inputs)
    return account


def _ask(model: nn.Module, *inputs: Any) -> Any:
    return model(*inputs)


# --- pieces in place of the whole ---------------------------------------------------------------------------


def in_windows(predict: Callable[[Tensor, int], Tensor], side: int, step: int) -> Callable[[Tensor, int], Tensor]:
    """A prediction for a large latent, made of predictions for square windows of it; where they overlap, of their mean.

    Bar-Tal et al. 2023, MultiDiffusion.  A window counts most in its middle and next to nothing at its edge.
    predict: (x_t, t) -> velocity;  side: of a window;  step: from one to the next, the last stands at the end.
    """
    if not 1 <= step <= side:
        raise ValueError(f"step={step} leaves gaps between windows of {side}; use one from 1 to {side}")
    ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() * 2 / (side + 1)  # a tent, nowhere zero
    weight = ramp[:, None] * ramp

    def whole(x_t: Tensor, t: int) -> Tensor:
        if min(x_t.shape[-2:]) < side:
            raise ValueError(f"a window of {side} does not fit into {tuple(x_t.shape[-2:])}; use a smaller side")
        total, shares = torch.zeros_like(x_t), x_t.new_zeros(x_t.shape[-2:])
        for top in _starts(x_t.shape[-2], side, step):
            for left in _starts(x_t.shape[-1], side, step):
                place = (..., slice(top, top + side), slice(left, left + side))
                total[place] += predict(x_t[place], t) * weight.to(x_t)
                shares[place] += weight.to(x_t)
        return total / shares

    return whole


def _starts(length: int, side: int, step: int) -> list[int]:
    return sorted({*range(0, length - side, step), length - side})


def guided_in_turn(pipe: Any, prompts: list[str], scale: float = 2.0, negative: str = "") -> Callable:
    """As `sampling.guided`, but the two predictions are made one after the other: half the batch, twice the calls."""
    words = sampling.guided(pipe, prompts, 1)
    nothing = sampling.guided(pipe, [negative] * len(prompts), 1)
    return lambda x_t, t: diffusion.guide(nothing(x_t, t), words(x_t, t), scale)


def seam(tiled: Tensor, whole: Tensor, every: int) -> Tensor:
    """How much more the error of a tiled picture jumps across the borders of tiles than elsewhere, in 255ths: (B,).

    The error is tiled - whole, a jump is its change from a pixel to the next, so that edges that belong to the picture
    do not count.  0 where there is no seam.  tiled, whole: (B, 3, H, W) in [-1, 1];  every: pixels between borders.
    """
    error = (tiled - whole).float() * 127.5
    sides = error.diff(dim=-1).abs().mean((1, 2)), error.diff(dim=-2).abs().mean((1, 3))  # (B, W - 1), (B, H - 1)
    across = [torch.arange(jumps.shape[1]) % every == every - 1 for jumps in sides]
    if not all(borders.any() and not borders.all() for borders in across):
        raise ValueError(f"no borders every {every} pixels within {tuple(tiled.shape[-2:])}; use a smaller `every`")
    at = torch.cat([jumps[:, borders] for jumps, borders in zip(sides, across, strict=True)], 1)
    apart = torch.cat([jumps[:, ~borders] for jumps, borders in zip(sides, across, strict=True)], 1)
    return (at.mean(1) - apart.mean(1)).clamp(min=0)


# --- a device that is too small -----------------------------------------------------------------------------


class SmallDevice:
    """Plays a device with a budget of bytes for weights: a module's come when it is asked and go when it has answered.

    What `enable_sequential_cpu_offload` of diffusers does with a GPU.  resident: bytes of weights on it now;  peak: the
    most there were;  moved: bytes brought to it so far, which are what the saving costs.
    """

    def __init__(self, budget: int):
        self.budget, self.resident, self.peak, self.moved = budget, 0, 0, 0

    @contextmanager
    def running(self, model: nn.Module, file: Path | None = None, keep: Sequence[str] = ()) -> Iterator[SmallDevice]:
        """Within the block the model runs on the device; after it, all is as before.

        file: weights in safetensors, read when needed; None takes them from the model.  keep: paths of modules that
        stay on the device for the whole block, "" is all of the model.
        """
        strangers = set(keep) - {path for path, _ in model.named_modules()}
        if strangers:
            raise ValueError(f"keep names {sorted(strangers)}, no module of this model; see model.named_modules()")
        homes = {path: module for path, module in model.named_modules() if any(_own(module))}
        with ExitStack() as stack:
            lies = stack.enter_context(safe_open(file, "pt")) if file else None
            for path, module in homes.items():
                guest = _Guest(self, path, module, lies)
                stack.callback(guest.home)
                guest.send_away()
                if any(f"{path}.".startswith(f"{kept}." if kept else "") for kept in keep):
                    guest.come()
                else:
                    stack.callback(module.register_forward_pre_hook(guest.come).remove)
                    stack.callback(module.register_forward_hook(guest.leave, always_call=True).remove)
            yield self

    def take(self, size: int, name: str) -> None:
        """Make room, or say what is missing."""
        if self.resident + size > self.budget:
            raise MemoryError(
                f"{name} has {size:,} bytes of weights, but of the device's {self.budget:,} only "
                f"{self.budget - self.resident:,} are free: keep less on it, or give it {self.resident + size:,}"
            )
        self.resident += size
        self.peak, self.moved = max(self.peak, self.resident), self.moved + size


def _own(module: nn.Module) -> list[str]:
    return [name for name, value in module._parameters.items() if value is not None]


class _Guest:
    """The weights of one module, not those of modules within it."""

    def __init__(self, device: SmallDevice, path: str, module: nn.Module, lies: Any):
        self.device, self.path, self.module, self.lies = device, path, module, lies
        self.stored = {name: module._parameters[name] for name in _own(module)}
        self.size = sum(value.nbytes for value in self.stored.values())
        self.here = False

    def come(self, *_: Any) -> None:
        self.device.take(self.size, self.path)
        self.here = True
        for name, stored in self.stored.items():
            value = self.lies.get_tensor(self._key(name)) if self.lies else stored.detach().clone()
            self.module._parameters[name] = nn.Parameter(value.to(stored.dtype), requires_grad=False)

    def leave(self, *_: Any) -> None:
        if self.here:
            self.device.resident -= self.size
            self.send_away()

    def send_away(self) -> None:
        self.here = False
        for name, stored in self.stored.items():
            self.module._parameters[name] = nn.Parameter(stored.detach().to("meta"), requires_grad=False)

    def home(self) -> None:
        self.leave()
        self.module._parameters.update(self.stored)

    def _key(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


# --- a large picture in little memory -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Large:
    """What a fresh process made: the picture as PIL has it, its bytes above the process's own, its seconds.

    own: bytes of the process with all libraries imported and nothing loaded;  above: the most it held, less that.
    """

    picture: Image.Image
    own: int
    above: int
    seconds: float


def large_picture(prompt: str, way: str = "enlarged", steps: int = 8, seed: int = 1, bits: int = 8) -> Tensor:
    """A picture of 1,024 pixels with every saving on: (1, 3, 1024, 1024) in [-1, 1].

    Weights in few bits, guidance one half at a time, attention without scores, and the picture never computed whole.
    way: "enlarged" draws 128 pixels, which is what the model learnt, and enlarges them twice, tile by tile;  "windows"
    draws all 1,024, window by window, each of which hears the same words.
    """
    if way not in WAYS:
        raise ValueError(f"way={way!r}: a large picture is made by {' or '.join(WAYS)}")
    pipe = models.load("text-to-image")
    quantise(pipe.unet, bits)
    latent = pipe.unet.config.sample_size * (SIDE // models.PICTURE if way == "windows" else 1)
    noise = torch.randn(1, models.LATENT[0], latent, latent, generator=runtime.generator(seed)).to(pipe.device)
    schedule, predict = diffusion.Schedule.from_scheduler(pipe.scheduler), guided_in_turn(pipe, [prompt])
    if way == "windows":
        predict = in_windows(predict, 48, 40)
    z = sampling.ddim(predict, noise, schedule, steps)
    pipe.vae.enable_tiling()
    picture = sampling.decode(pipe, z)
    return picture if way == "windows" else enlarged_twice(models.load("upscaler"), picture)


def enlarged_twice(model: nn.Module, pictures: Tensor, strip: int = 64) -> Tensor:
    """Eight times as many pixels each way: the upscaler twice, and each 2 × 2 pixels of that to their mean.

    The second time in strips of so many rows with their surroundings, so that sixteen times as many are never held.
    (B, 3, H, W) -> (B, 3, 8H, 8W).
    """
    middle = sampling.upscale(model, pictures)
    height, reach, rows = middle.shape[-2], model.reach, []
    for top in range(0, height, strip):
        above = min(top, reach)
        seen = sampling.upscale(model, middle[..., top - above : top + strip + reach, :])
        rows.append(F.avg_pool2d(seen[..., model.times * above :, :][..., : model.times * strip, :], 2))
    return torch.cat(rows, -2)


def large_in_fresh_process(**settings: Any) -> Large:
    """`large_picture` in a process of its own, which remembers no other peak; settings as there."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.png"
        program = f"from {__name__} import _work; _work()"
        order = json.dumps(settings | {"file": str(file)})
        ran = subprocess.run(
            [sys.executable, "-c", program, order],
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            last = ran.stderr.strip().splitlines()[-1:] or [f"exit code {ran.returncode}"]
            raise RuntimeError(f"the process that draws stopped: {last[0]}")
        figures = json.loads(ran.stdout.strip().splitlines()[-1])
        with Image.open(file) as picture:
            return Large(picture.convert("RGB"), **figures)


def _work() -> None:
    """The whole life of that process: import, look at itself, draw, say what it took."""
    import psutil
    from diffusers import StableDiffusionPipeline  # noqa: F401 - with all that it imports, before anything is loaded

    from aigc_course import plotting

    settings = json.loads(sys.argv[1])
    file, own, begun = settings.pop("file"), psutil.Process().memory_info().rss, time.perf_counter()
    plotting.to_pil(large_picture(**settings)).save(file)
    print(json.dumps({"own": own, "above": runtime.peak_rss() - own, "seconds": time.perf_counter() - begun}))
