"""`fit`: the loop itself, one run of it, and what it leaves behind."""

import inspect
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aigc_course.training import checkpoint, team
from aigc_course.training.batches import Feed
from aigc_course.training.precision import narrow
from aigc_course.training.progress import Line, number, words

SCHEDULES = ("cosine", "linear", "constant")


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
        return f"History of {len(self.losses):,} steps in {words(self.seconds[-1])}, last loss {self.last:.4g}"


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

    Under `accelerate launch` or `torchrun` all processes take these steps together: each has an equal share of every
    batch and its own noise, the gradients are averaged, and the first one prints and saves.

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
    random states repeat.  A checkpoint of other settings, batches or frozen weights is refused.  A finished
    run is loaded, not trained again.  The model ends in eval mode.  With
    `on_step` each loss is read at once, and a GPU waits for it; where that raises StopIteration, the run
    ends, in good order.
    """
    if save_every < 1:
        raise ValueError(f"save_every={save_every}: save after every step at most, with save_every=1")
    trained = _trained(model)
    device = next(iter(trained.values())).device
    optimiser = optimiser or _adamw(trained, learning_rate, weight_decay)
    about = _about(optimiser, trained)
    place = device.type + (f" in {team.size()} processes" if team.size() > 1 else "")
    generator = generator or torch.Generator(device).manual_seed(0)
    _together(model, generator)
    frozen = checkpoint.frozen(model) if folder else ""
    settings = _Settings(steps, warmup, accumulate, clip, ema, precision, schedule, about, place, frozen)
    folder = Path(folder).resolve() if folder else None
    feed = Feed(batches, partial(checkpoint.random_state, generator, device) if folder else dict)
    run = _Run(model, _given(loss, generator), feed, optimiser, generator, settings, device, trained)
    if folder:
        team.first_then_others(partial(checkpoint.resume, run, folder))
    with closing(Line(progress and team.is_first())) as line:
        run.walk(line, on_step, folder, save_every)
    if run.averages:
        checkpoint.fill(trained, run.averages)
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
    frozen: str

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
    feed: Feed
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

    def walk(self, line: Line, on_step: Callable[[Step], Any] | None, folder: Path | None, save_every: int) -> None:
        """All steps that are left, until the one who watches has seen enough; saved where there is a folder."""
        enough = False
        while self.step < self.settings.steps and not enough:
            self.advance()
            saving = folder is not None and (self.step % save_every == 0 or self.step == self.settings.steps)
            enough = self.watched(line, on_step, saving)
            if saving or (folder and enough):
                checkpoint.save(self, folder)
        if line.wanted:
            line.show(self.report(ended=True), last=True)

    def advance(self) -> None:
        """One step: set the rate, gather the gradient, clip it, follow it, average the weights."""
        if not self.model.training:
            self.model.train()
        share = rate_at(self.step, self.settings.steps, self.settings.schedule, self.settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = share * group["initial_lr"]
        self.model.zero_grad()
        loss = sum(self.micro_batch() for _ in range(self.settings.accumulate))
        team.average([loss, *(p.grad for p in self.trained.values() if p.grad is not None)])
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.clip or math.inf)
        self.optimiser.step()
        if self.averages:
            self.follow()
        self.waiting.append((loss, norm, time.perf_counter() - self.clock))

    def micro_batch(self) -> Tensor:
        """Add one micro-batch to the gradient; returns its share of the loss."""
        batch = _to(team.share(self.feed.next(), team.rank(), team.size()), self.device)
        with narrow(self.device) if self.settings.precision == "bf16" else nullcontext():
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

    def watched(self, line: Line, on_step: Callable[[Step], Any] | None, saving: bool) -> bool:
        """Read the losses if anybody looks at this step, and show it; whether the one who watches ends the run."""
        showing = line.due()
        if self.cheap or on_step or showing or saving:
            self.settle()
        enough = on_step is not None and team.as_the_first(_is_enough(on_step, self.seen()), self.device)
        if showing:
            line.show(self.report())
        return enough

    def seen(self) -> Step:
        rate = self.optimiser.param_groups[0]["lr"]
        return Step(self.step, self.settings.steps, self.losses[-1], self.norm, rate, self.seconds[-1])

    def report(self, ended: bool = False) -> str:
        """How far, how good, how fast, how long yet."""
        loss = sum(self.losses[-50:]) / len(self.losses[-50:])
        span = ([0.0] + self.seconds)[-101:]
        speed = (len(span) - 1) / max(span[-1] - span[0], 1e-9)
        steps, left = self.settings.steps, self.settings.steps - self.step
        pace = f"loss {loss:.4g} · {number(speed)} steps/s"
        if left and ended:
            return f"ended after step {self.step:,} of {steps:,} in {words(span[-1])} · {pace}"
        if left:
            return f"step {self.step:,}/{steps:,} · {pace} · {words(left / speed)} left"
        resumed = f" · resumed at step {self.loaded:,}" if self.loaded else ""
        return f"{steps:,} steps in {words(span[-1])} · {pace}{resumed}"


def _is_enough(on_step: Callable[[Step], Any], step: Step) -> bool:
    """Show a step to the one who watches, and hear whether to end."""
    try:
        on_step(step)
    except StopIteration:
        return True
    return False


def _trained(model: nn.Module) -> dict[str, Tensor]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}  # shared ones once
    if not trained:
        raise ValueError("nothing in this model can learn: call requires_grad_(True) on the part to train")
    return trained


def _together(model: nn.Module, generator: torch.Generator) -> None:
    """Give all processes the first one's weights, and each noise of its own."""
    if not team.is_first():  # other pictures want other noise
        generator.manual_seed(generator.initial_seed() + team.rank())
    team.same([p.detach() for p in (*model.parameters(), *model.buffers())])


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
        raise ValueError("the optimiser moves parameters that are not in the model: join both in one nn.Module")
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
