"""One loop that knows nothing of pictures: accumulation, precision, clipping, EMA, progress, exact resume.

`fit(model, batches, loss, steps)` returns a `History`.  A checkpoint is a folder of safetensors and JSON.
"""

import hashlib
import inspect
import json
import math
import os
import platform
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

SCHEDULES = ("cosine", "linear", "constant")
STATE, SUMS = "state.json", "manifest.json"
NEEDED = {"model.safetensors", "optimiser.safetensors", "rng.safetensors", STATE}
FILES = NEEDED | {"ema.safetensors", SUMS}
END = object()


@dataclass(frozen=True, repr=False)
class History:
    """What a training leaves behind: the loss of each step, and the seconds that it took to get there."""

    losses: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def last(self) -> float:
        """The loss of the last step."""
        return self.losses[-1]

    def smoothed(self, window: int = 50) -> tuple[float, ...]:
        """Each loss averaged with those before it, `window` of them in all (fewer at the start)."""
        spans = (self.losses[max(0, end - window) : end] for end in range(1, len(self.losses) + 1))
        return tuple(sum(span) / len(span) for span in spans)

    def __repr__(self) -> str:
        return (
            f"History of {len(self.losses):,} steps in {_words(self.seconds[-1])}, last loss {self.last:.4g}"
        )


@dataclass(frozen=True)
class Step:
    """What `on_step` is shown: step `number` of `steps`, from 1; `norm` is the gradient before clipping."""

    number: int
    steps: int
    loss: float
    norm: float
    learning_rate: float
    seconds: float


def rate_at(step: int, steps: int, schedule: str = "cosine", warmup: float = 0.02) -> float:
    """Climb in a straight line to the full learning rate, then fall to 0: its share at a step, from 0 on.

    Loshchilov & Hutter 2017, eq. 5, without restarts.  warmup: share of the steps spent climbing.
    """
    climb = round(warmup * steps)
    if step < climb:
        return (step + 1) / (climb + 1)
    done = (step - climb) / (steps - climb)
    return {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[schedule]


def fit(
    model: nn.Module,
    batches: Iterable,
    loss: Callable[..., Tensor],
    steps: int,
    *,
    optimiser: torch.optim.Optimizer | None = None,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    warmup: float = 0.02,
    accumulate: int = 1,
    clip: float | None = 1.0,
    ema: float | None = None,
    precision: str = "fp32",
    schedule: str = "cosine",
    generator: torch.Generator | None = None,
    folder: Path | str | None = None,
    save_every: int = 200,
    progress: bool = True,
    on_step: Callable[[Step], Any] | None = None,
) -> History:
    """Follow the gradient for some steps, from where the checkpoint in `folder` stands, if one is there.

    loss: `loss(model, batch)`; if it has a parameter `generator`, it is given the run's `torch.Generator` to
        draw noise from: yours, or one seeded with 0 on the model's device.
    batches: read again when they end.  Tensors (also in dicts, tuples, lists) move to the model's device.
    optimiser: any over the model's parameters, in place of AdamW; the schedule scales its own rates.
    accumulate: micro-batches in a step; their losses count alike.  Where they hold different numbers of
        tokens, that is not the loss of the large batch: chapter 4 weighs them.
    clip: longest gradient; None leaves it alone.  precision: "bf16" runs the loss under autocast.
    ema: average the weights, a ← d a + (1-d) w with d = min(ema, (1+n) / (10+n)) after n steps, and end with
        the averages in the model (of its parameters; buffers stay as they are).

    Resume is exact, loss for loss: every `save_every` steps and at the end we save the weights, optimiser,
    averages, random states (torch, numpy, python, generator) and the place in the data.  Batches that have
    `state_dict` and `load_state_dict` keep their own place, in JSON; others must repeat a pass when the
    random states repeat.  A finished run is loaded, not trained again.  The model ends in eval mode.  With
    `on_step` each loss is read at once, and a GPU waits for it.
    """
    if save_every < 1:
        raise ValueError(f"save_every={save_every}: save after every step at most, with save_every=1")
    trained = _trained(model)
    device = next(iter(trained.values())).device
    optimiser = optimiser or _adamw(trained, learning_rate, weight_decay)
    about = _about(optimiser, trained)
    settings = _Settings(steps, warmup, accumulate, clip, ema, precision, schedule, about, device.type)
    generator = generator or torch.Generator(device).manual_seed(0)
    feed = _Feed(batches, partial(_random_state, generator, device) if folder else dict)
    run = _Run(model, _given(loss, generator), feed, optimiser, generator, settings, device, trained)
    if folder:
        folder = Path(folder).resolve()
        _resume(run, folder)
    line = _Line(progress)
    try:
        while run.step < steps:
            run.advance()
            showing = line.due()
            saving = folder and (run.step % save_every == 0 or run.step == steps)
            if run.cheap or on_step or showing or saving:
                run.settle()
            if on_step:
                on_step(run.seen())
            if showing:
                line.show(run.report())
            if saving:
                _write(folder, _pack(run))
        if progress:
            line.show(run.report(), last=True)
    finally:
        line.close()
    if run.averages:
        _fill(trained, run.averages)
    model.eval()
    return History(tuple(run.losses), tuple(run.seconds))


@dataclass(frozen=True)
class _Settings:
    """Whatever decides the numbers of a run: under other settings a checkpoint belongs to another run."""

    steps: int
    warmup: float
    accumulate: int
    clip: float | None
    ema: float | None
    precision: str
    schedule: str
    optimiser: str
    device: str

    def __post_init__(self):
        for holds, sentence in (
            (self.steps >= 1, f"steps={self.steps}: ask for at least one step"),
            (0 <= self.warmup < 1, f"warmup={self.warmup} is a share of the steps: choose it in [0, 1)"),
            (self.accumulate >= 1, f"accumulate={self.accumulate}: a step needs at least one micro-batch"),
            (self.clip is None or self.clip > 0, f"clip={self.clip}: choose a length above 0, or None"),
            (self.ema is None or 0 < self.ema < 1, f"ema={self.ema}: choose a decay in (0, 1), or None"),
            (self.precision in ("fp32", "bf16"), f"precision={self.precision!r}: choose 'fp32' or 'bf16'"),
            (self.schedule in SCHEDULES, f"schedule={self.schedule!r}: choose one of {', '.join(SCHEDULES)}"),
        ):
            if not holds:
                raise ValueError(sentence)


# One run, and one step of it


@dataclass
class _Run:
    """All that changes while we train, and the one step that changes it."""

    model: nn.Module
    loss: Callable[[nn.Module, Any], Tensor]
    feed: "_Feed"
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    settings: _Settings
    device: torch.device
    trained: dict[str, Tensor]
    averages: dict[str, Tensor] = field(init=False)
    clock: float = field(init=False)  # when the run began, or would have begun had nothing stopped it
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    norm: float = math.nan
    loaded: int = 0
    waiting: list = field(default_factory=list)  # (loss, norm, seconds) of steps not yet read from the device

    def __post_init__(self):
        self.averages = _averages(self.trained, self.settings.ema)
        self.clock = time.perf_counter()

    @property
    def step(self) -> int:
        return len(self.losses) + len(self.waiting)

    @property
    def cheap(self) -> bool:
        """Whether to read the losses now: always on a CPU; on a GPU that means to wait, so rarely."""
        return self.device.type == "cpu" or len(self.waiting) >= 50 or self.step == self.settings.steps

    def advance(self) -> None:
        """One step: set the rate, gather the gradient, clip it, follow it, average the weights."""
        if not self.model.training:
            self.model.train()
        share = rate_at(self.step, self.settings.steps, self.settings.schedule, self.settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = share * group["initial_lr"]
        self.model.zero_grad()
        loss = sum(self.micro_batch() for _ in range(self.settings.accumulate))
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.clip or math.inf)
        self.optimiser.step()
        if self.averages:
            self.follow()
        self.waiting.append((loss, norm, time.perf_counter() - self.clock))

    def micro_batch(self) -> Tensor:
        """Add one micro-batch to the gradient; returns its share of the loss."""
        batch = _to(self.feed.next(), self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            loss = self.loss(self.model, batch)
        if not (torch.is_tensor(loss) and loss.numel() == 1 and loss.requires_grad):
            raise ValueError("the loss must be one number, as a tensor computed from the model's parameters")
        loss = loss / self.settings.accumulate
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averages towards the weights: far at first, so that the start is soon forgotten."""
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        weights = [p.to(a.dtype) for p, a in zip(self.trained.values(), self.averages.values(), strict=True)]
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - decay)

    def settle(self) -> None:
        """Read the losses that wait on the device; stop at the first step that went wrong."""
        waiting, self.waiting = self.waiting, []
        for loss, norm, seconds in waiting:
            self.losses.append(loss.item())
            self.seconds.append(round(seconds, 6))
            self.norm = norm.item()
            if not (math.isfinite(self.losses[-1]) and math.isfinite(self.norm)):
                raise FloatingPointError(
                    f"loss {self.losses[-1]}, gradient {self.norm} at step {len(self.losses)} of "
                    f"{self.settings.steps}: build a new model and train with a lower learning_rate (say, a "
                    "tenth), or look for NaN in the batches; a checkpoint from before this step is kept"
                )

    def seen(self) -> Step:
        rate = self.optimiser.param_groups[0]["lr"]
        return Step(self.step, self.settings.steps, self.losses[-1], self.norm, rate, self.seconds[-1])

    def report(self) -> str:
        """How far, how good, how fast, how long yet."""
        loss = sum(self.losses[-50:]) / len(self.losses[-50:])
        span = ([0.0] + self.seconds)[-101:]
        speed = (len(span) - 1) / max(span[-1] - span[0], 1e-9)
        steps, left = self.settings.steps, self.settings.steps - self.step
        pace = f"loss {loss:.4g} · {_number(speed)} steps/s"
        if left:
            return f"step {self.step:,}/{steps:,} · {pace} · {_words(left / speed)} left"
        resumed = f" · resumed at step {self.loaded:,}" if self.loaded else ""
        return f"{steps:,} steps in {_words(span[-1])} · {pace}{resumed}"


class _Feed:
    """Deals batches without end, and knows its place in them.

    Batches with a state keep their place themselves.  Of all others we count a pass, and remember the random
    states that it began with; to come back, we begin the same pass again and skip what was seen.
    """

    def __init__(self, batches: Iterable, random_state: Callable[[], dict[str, Tensor]]):
        self.batches, self.random_state = batches, random_state
        self.stateful = hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict")
        self.dealt, self.seen, self.start = iter(()), 0, {}

    def next(self) -> Any:
        batch = next(self.dealt, END)
        if batch is END:
            batch = self.new_pass()
        self.seen += 1
        return batch

    def new_pass(self) -> Any:
        self.start = {} if self.stateful else self.random_state()
        self.dealt = iter(self.batches)
        batch = next(self.dealt, END)
        if batch is END:
            ended = f"the batches ended after {self.seen}" if self.seen else "there are no batches"
            raise ValueError(f"{ended}: use a list, a DataLoader or a data set that can be read again")
        self.seen = 0
        return batch

    def place(self) -> dict:
        return {"seen": self.seen} | ({"state": self.batches.state_dict()} if self.stateful else {})

    def return_to(self, place: dict, start: dict[str, Tensor]) -> None:
        """Stand at a place again; the random states have to be those of `start`, where there is one."""
        if self.stateful != ("state" in place):
            raise ValueError("the checkpoint was made with other batches: use those, or a new folder")
        if self.stateful:
            self.batches.load_state_dict(place["state"])
        self.dealt, self.seen, self.start = iter(self.batches), place["seen"], start
        for _ in range(0 if self.stateful else self.seen):
            if next(self.dealt, END) is END:
                raise ValueError("the checkpoint was made with more batches: use those, or a new folder")


def _trained(model: nn.Module) -> dict[str, Tensor]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}  # shared ones once
    if not trained:
        raise ValueError("nothing in this model can learn: call requires_grad_(True) on the part to train")
    return trained


def _adamw(trained: dict[str, Tensor], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    build = partial(torch.optim.AdamW, trained.values(), learning_rate, weight_decay=weight_decay)
    try:
        return build(fused=True)
    except RuntimeError:  # there is no fused kernel for this device
        return build()


def _about(optimiser: torch.optim.Optimizer, trained: dict[str, Tensor]) -> str:
    """Name the optimiser, after noting the rates that its schedule starts from."""
    groups, known = optimiser.param_groups, {id(p) for p in trained.values()}
    if any(p.requires_grad and id(p) not in known for group in groups for p in group["params"]):
        raise ValueError(
            "the optimiser moves parameters that are not in the model: join both in one nn.Module"
        )
    rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
    decays = [group.get("weight_decay", 0.0) for group in groups]
    return f"{type(optimiser).__name__} with learning_rate {rates}, weight_decay {decays}"


def _averages(trained: dict[str, Tensor], ema: float | None) -> dict[str, Tensor]:
    """Copies to average in, of float32 at least: half precision would round the small moves away."""
    if ema is None:
        return {}
    wide = {name: torch.promote_types(p.dtype, torch.float32) for name, p in trained.items()}
    return {name: p.detach().to(wide[name], copy=True) for name, p in trained.items()}


def _given(loss: Callable[..., Tensor], generator: torch.Generator) -> Callable[[nn.Module, Any], Tensor]:
    """The loss as `loss(model, batch)`: one that asks for a generator gets ours."""
    return partial(loss, generator=generator) if "generator" in inspect.signature(loss).parameters else loss


def _to(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _to(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        moved = [_to(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch


# What a checkpoint holds


def _pack(run: _Run) -> dict[str, bytes]:
    """All that the next step depends on, as files."""
    kept = run.optimiser.state_dict()["state"]
    moments = {f"{index}.{key}": value for index, state in kept.items() for key, value in state.items()}
    scalars = {name: moments.pop(name) for name in list(moments) if not torch.is_tensor(moments[name])}
    now, start = _random_state(run.generator, run.device), run.feed.start
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    state = {
        "step": run.step,
        "settings": asdict(run.settings),
        "data": run.feed.place(),
        "optimiser": scalars,
        "versions": versions,
        "losses": run.losses,
        "seconds": run.seconds,
    }
    files = {
        "model.safetensors": _bytes(_tensors(run.model)),
        "optimiser.safetensors": _bytes(moments),
        "rng.safetensors": _bytes(_above(now, "now.") | _above(start, "pass.")),
        STATE: json.dumps(state).encode(),
    }
    if run.averages:
        files["ema.safetensors"] = _bytes(run.averages)
    return files | {SUMS: json.dumps({name: _sum(data) for name, data in files.items()}, indent=1).encode()}


def _resume(run: _Run, folder: Path) -> None:
    """Put the run where its checkpoint was made, if there is one; that of another run is refused."""
    files = _read(folder)
    if not files:
        return
    state = json.loads(files[STATE])
    tensors = {Path(name).stem: safetensors.load(data) for name, data in files.items() if "tensors" in name}
    there, here = (
        _traits(state["settings"], tensors["model"]),
        _traits(asdict(run.settings), _tensors(run.model)),
    )
    _same_run(there, here, folder)
    _fill(_tensors(run.model), tensors["model"])
    _fill(run.averages, tensors.get("ema", {}))
    _fill_optimiser(run.optimiser, tensors["optimiser"], state["optimiser"])
    now, start = _below(tensors["rng"], "now."), _below(tensors["rng"], "pass.")
    _set_random_state(start or now, run.generator, run.device)
    run.feed.return_to(state["data"], start)
    _set_random_state(now, run.generator, run.device)
    run.losses, run.seconds, run.loaded = state["losses"], state["seconds"], state["step"]
    run.clock = time.perf_counter() - run.seconds[-1]


def _above(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _traits(settings: dict, tensors: dict[str, Tensor]) -> dict[str, str]:
    """What all checkpoints of one run have in common."""
    shapes = {f"parameter {name}": f"{tuple(value.shape)} {value.dtype}" for name, value in tensors.items()}
    return {name: repr(value) for name, value in settings.items()} | shapes


def _same_run(there: dict[str, str], here: dict[str, str], folder: Path) -> None:
    differing = [name for name in here | there if there.get(name) != here.get(name)]
    told = "; ".join(f"{name}: {there.get(name)} there, {here.get(name)} here" for name in differing[:3])
    if differing:
        fix = "name another folder, delete this one, or train with what it was made with"
        raise ValueError(f"{folder} holds the checkpoint of another run ({told}): {fix}")


@torch.no_grad()
def _fill(targets: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(values[name])


def _fill_optimiser(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor], scalars: dict) -> None:
    """Give each parameter its moments back, in its own memory layout, which fused kernels rely on."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = {}
    for name, value in (moments | scalars).items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        if torch.is_tensor(value) and value.dim() and value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())  # shared ones appear once


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    whole = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    return safetensors.save(whole, metadata={"format": "pt"})


def _random_state(generator: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Where every source of chance stands: ours, torch's, numpy's and python's."""
    _, words, spare = random.getstate()
    _, keys, place, has_spare, numpy_spare = np.random.get_state()
    state = {
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words),
        "numpy": torch.tensor([*keys.tolist(), place, has_spare]),
        "spare": torch.tensor([math.nan if spare is None else spare, numpy_spare], dtype=torch.float64),
    }
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state()
    return state


def _set_random_state(state: dict[str, Tensor], generator: torch.Generator, device: torch.device) -> None:
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    spare, numpy_spare = state["spare"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(spare) else spare))
    *keys, place, has_spare = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), place, has_spare, numpy_spare))
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"])


# How a checkpoint is kept whole: written beside the old one, then swapped in by name


def _read(folder: Path) -> dict[str, bytes]:
    """The files of the checkpoint, known to be whole; none when there is no checkpoint."""
    _mend(folder)
    files = {name: (folder / name).read_bytes() for name in _ours(folder)}
    if not files:
        return {}
    try:
        sums = dict(json.loads(files[SUMS]))
    except (KeyError, TypeError, ValueError):
        sums = {SUMS: "unreadable"}
    damaged = sorted(name for name in NEEDED | set(sums) if sums.get(name) != _sum(files.get(name, b"")))
    if damaged:
        fix = "delete the folder to train from the start, or put a whole copy back"
        raise ValueError(f"the checkpoint in {folder} is damaged ({', '.join(damaged)}): {fix}")
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Replace the checkpoint; at each moment the old or the new one is whole, at worst under `.previous`."""
    fresh, previous = _beside(folder, ".partial"), _beside(folder, ".previous")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in files.items():
        with open(fresh / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(fresh)
    folder.mkdir(exist_ok=True)
    os.replace(folder, previous)
    os.replace(fresh, folder)
    _sync(folder.parent)
    _retire(previous, folder)


def _mend(folder: Path) -> None:
    """Finish, or take back, a swap that was cut short."""
    previous = _beside(folder, ".previous")
    if not previous.exists():
        return
    if _ours(folder):
        _retire(previous, folder)
    else:
        folder.mkdir(exist_ok=True)
        _retire(folder, previous)
        os.replace(previous, folder)


def _retire(old: Path, new: Path) -> None:
    """Delete a checkpoint, but hand on any file in its folder that is not ours."""
    for file in old.iterdir():
        if file.name not in FILES:
            os.replace(file, new / file.name)
    shutil.rmtree(old)


def _ours(folder: Path) -> list[str]:
    return [name for name in FILES if (folder / name).is_file()]


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(folder: Path) -> None:
    """Ask the disk to keep the names in a folder, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


# The line that says how it goes


class _Line:
    """One line, rewritten four times a second; in a log, which is never rewritten, one each half minute."""

    def __init__(self, wanted: bool):
        self.wanted, self.handle, self.open = wanted, None, False
        self.notebook, self.terminal = hasattr(_shell(), "kernel"), sys.stdout.isatty()
        self.every = 0.25 if self.notebook or self.terminal else 30.0
        self.next = time.perf_counter() + self.every

    def due(self) -> bool:
        return self.wanted and time.perf_counter() >= self.next

    def show(self, text: str, last: bool = False) -> None:
        self.next = time.perf_counter() + self.every
        if self.notebook:
            self.redraw(text)
        elif self.terminal:
            print("\r" + text.ljust(79), end="\n" if last else "", flush=True)
            self.open = not last
        else:
            print(text, flush=True)

    def redraw(self, text: str) -> None:
        from IPython.display import display

        if self.handle is None:
            self.handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": text}, raw=True)

    def close(self) -> None:
        """Leave the line for whatever is printed next, an error perhaps."""
        if self.open:
            print(flush=True)


def _shell() -> Any:
    """The notebook's or console's shell, if there is one; None in a script."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _words(seconds: float) -> str:
    """A length of time as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


class Shuffled:
    """The numbers 0 … count-1, in a new random order in each pass, as batches that `make` fills; keeps its place.

    make: turns (indices, pass number) into a batch.  An unfilled last batch is left out.
    """

    def __init__(self, count: int, batch_size: int, make: Callable[[Tensor, int], Any], seed: int = 0):
        if not 1 <= batch_size <= count:
            raise ValueError(f"batches of {batch_size} cannot be filled from {count} items; use 1 to {count}")
        self.count, self.batch_size, self.make, self.seed = count, batch_size, make, seed
        self.round, self.position = 0, 0

    def __iter__(self):
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.round))
        for batch in order.split(self.batch_size)[self.position : self.count // self.batch_size]:
            self.position += 1
            yield self.make(batch, self.round)
        self.round, self.position = self.round + 1, 0

    def state_dict(self) -> dict[str, int]:
        """The pass and the batches handed out in it."""
        return {"round": self.round, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batch at which `state_dict` was taken."""
        self.round, self.position = state["round"], state["position"]
