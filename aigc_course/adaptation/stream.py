"""Tasks that come one after the other: what is forgotten, how much, and four ways to learn the next one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor, nn

from aigc_course import losses, runtime, scenes, training

NAMES = tuple(scenes.THINGS)
SIDE = 48  # pixels: a large thing is told apart by eye, and a network of four layers trains in seconds
STEPS, RATE, BATCH = 120, 6e-3, 32

# --- the stream ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Task:
    """What is learnt at one stage, and what it is judged by: pictures (N, 3, H, W) and labels (N,), twice."""

    name: str
    pictures: Tensor
    labels: Tensor
    unseen: Tensor
    truth: Tensor


def draw_stream(
    train: int = 1000, test: int = 200, split: str = "test", seed: int = 0, styles: int = len(scenes.NEW_STYLES)
) -> list[Task]:
    """The first of the four `scenes.NEW_STYLES` as tasks with one question: which thing is this?

    Each picture shows one large thing, 48 × 48; each style has scenes of its own.  split: what the pictures to be
    judged by are taken from, "test" or, to choose a dial, "validation".
    """
    chosen = list(scenes.NEW_STYLES)[:styles]
    return [_drawn(style, train, test, split, 10 * seed + k) for k, style in enumerate(chosen)]


def _drawn(style: str, train: int, test: int, split: str, seed: int) -> Task:
    both = [_large(train, "train", seed), _large(test, split, seed)]
    pictures = [scenes.new_pictures(some, style=style, size=SIDE) for some in both]
    labels = [torch.tensor([NAMES.index(one.scene.things[0].name) for one in some]) for some in both]
    return Task(style, pictures[0], labels[0], pictures[1], labels[1])


def with_own_names(stream: Sequence[Task]) -> list[Task]:
    """The same stream, but each task brings names of its own: of 16 things and four tasks, four things each.

    The harder question of van de Ven & Tolias 2019, "class-incremental": the head is never told which task it is asked.
    """
    share = len(NAMES) // len(stream)
    chosen = [[labels // share == k for labels in (task.labels, task.truth)] for k, task in enumerate(stream)]
    return [
        Task(task.name, task.pictures[one], task.labels[one], task.unseen[two], task.truth[two])
        for task, (one, two) in zip(stream, chosen, strict=True)
    ]


def _large(number: int, split: str, seed: int) -> list[scenes.Sample]:
    """So many scenes of one large thing."""
    drawn = (scenes.sample(index, split, seed, "single") for index in count())
    return list(islice((one for one in drawn if one.scene.things[0].size == "large"), number))


def namer(names: int = len(NAMES), seed: int = 0) -> nn.Sequential:
    """A new network that names the thing in a picture: (B, 3, H, W) -> logits (B, names); 64,000 parameters.

    It normalises within a picture and never over a batch, whose statistics would be those of the last style.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [(3, 16, 5, 2), (16, 32, 3, 2), (32, 64, 3, 2), (64, 64, 3, 1)]
        layers = [layer for size in sizes for layer in _convolution(*size)]
        return nn.Sequential(*layers, _Pooled(), nn.LayerNorm(128), nn.Linear(128, names))


def _convolution(inputs: int, outputs: int, side: int, stride: int) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)
    return layer, nn.GroupNorm(outputs // 4, outputs), nn.ReLU()


class _Pooled(nn.Module):
    """The largest and the mean of each channel: (B, C, h, w) -> (B, 2C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


# --- what is kept of earlier tasks --------------------------------------------------------------------------


class Naive:
    """Keeps nothing: learn the next task as if there had been no other."""

    batch = BATCH

    def remember(self, model: nn.Module, task: Task) -> None:
        """Called after each task."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """What is made small while the next task is learnt.  batch: pictures, labels."""
        return naming(model, batch)


class Replay(Naive):
    """Keeps a few pictures of all tasks, and mixes them into each batch.

    size: pictures kept;  share: how much of a batch of 32 is old.
    """

    def __init__(self, size: int = 160, share: float = 0.25, seed: int = 0):
        if not 0 < share < 1:
            raise ValueError(f"share={share}: a batch needs both old and new pictures; choose between 0 and 1")
        self.kept, self.old = Reservoir(size, runtime.generator(seed)), max(1, round(share * BATCH))
        self.batch = max(1, BATCH - self.old)

    def remember(self, model: nn.Module, task: Task) -> None:
        """Offer the task's pictures to the reservoir."""
        self.kept.add(task.pictures, task.labels)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Surprise at the new pictures and at old ones, in one batch."""
        return naming(model, tuple(map(torch.cat, zip(batch, self.kept.draw(self.old), strict=True))))


class Distillation(Naive):
    """Keeps the model as it was: on the new pictures, answer also as it would (Li & Hoiem 2017)."""

    def __init__(self, strength: float = 0.5, temperature: float = 3.0):
        self.strength, self.temperature, self.teacher = strength, temperature, None

    def remember(self, model: nn.Module, task: Task) -> None:
        """Copy the model, to be the teacher of the next stage."""
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Surprise at the labels, and distance from the teacher's answers to the same pictures."""
        logits, wanted = model(batch[0]), self.teacher(batch[0])
        far = losses.distillation(logits, wanted, self.temperature)
        return losses.cross_entropy(logits, batch[1]) + self.strength * far


class EWC(Naive):
    """Keeps the weights and how much each matters to earlier tasks, and holds those that do (Kirkpatrick et al. 2017).

    The Fisher diagonals of all tasks are added up around the latest weights (Huszár 2018).
    """

    def __init__(self, strength: float = 10.0, examples: int = 200, seed: int = 0):
        self.strength, self.examples, self.generator = strength, examples, runtime.generator(seed)
        self.anchors, self.importance = {}, {}

    def remember(self, model: nn.Module, task: Task) -> None:
        """Note the weights, and add the task's Fisher diagonal."""
        self.anchors = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, new in fisher(model, task.pictures[: self.examples], self.generator).items():
            self.importance[name] = self.importance.get(name, 0) + new

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Surprise at the labels, and the price of moving weights that matter."""
        moved = losses.anchored(dict(model.named_parameters()), self.anchors, self.importance)
        return naming(model, batch) + self.strength * moved


METHODS = {"naive": Naive, "replay": Replay, "distillation": Distillation, "EWC": EWC}


class Reservoir:
    """A few items of a stream, each that has passed as likely to be among them as any other.

    Vitter 1985, algorithm R: the n-th item gets in with probability size / n, in a place drawn by chance.
    """

    def __init__(self, size: int, generator: torch.Generator):
        if size < 1:
            raise ValueError(f"size={size}: a buffer for replay holds at least one picture")
        self.size, self.generator, self.seen = size, generator, 0
        self.items: list[tuple[Tensor, Tensor]] = []

    def add(self, pictures: Tensor, labels: Tensor) -> None:
        """Let pictures (N, 3, H, W) and their labels (N,) pass."""
        for item in zip(pictures, labels, strict=True):
            self.seen += 1
            if len(self.items) < self.size:
                self.items.append(item)
                continue
            place = torch.randint(self.seen, (), generator=self.generator).item()
            if place < self.size:
                self.items[place] = item

    def draw(self, number: int) -> tuple[Tensor, Tensor]:
        """Some items by chance, with repeats: pictures (number, 3, H, W), labels (number,)."""
        if not self.items:
            raise ValueError("the buffer is empty: add the pictures of a finished task before you replay any")
        places = torch.randint(len(self.items), (number,), generator=self.generator).tolist()
        pictures, labels = zip(*(self.items[place] for place in places), strict=True)
        return torch.stack(pictures), torch.stack(labels)


def fisher(model: nn.Module, pictures: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """How much each weight matters: the diagonal of Fisher's matrix, by the name of the parameter.

    The mean over pictures of the squared gradient of ln p(y | x, θ), y drawn from the model's own answer.
    pictures: (N, 3, H, W); the model must treat each picture alone (no batch statistics).
    """
    weights = {name: p.detach() for name, p in model.named_parameters()}
    with torch.no_grad():
        drawn = torch.multinomial(model(pictures).softmax(1), 1, generator=generator)

    def told(weights: dict[str, Tensor], picture: Tensor, label: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, picture[None]).log_softmax(1)[0, label].sum()

    each = torch.func.vmap(torch.func.grad(told), in_dims=(None, 0, 0), chunk_size=50)
    return {name: slope.square().mean(0) for name, slope in each(weights, pictures, drawn).items()}


# --- learning ------------------------------------------------------------------------------------------------


def naming(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Nats of surprise at the true names.  batch: pictures (B, 3, H, W), labels (B,)."""
    return losses.cross_entropy(model(batch[0]), batch[1])


@torch.no_grad()
def accuracy(model: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """Share of pictures whose likeliest name is the true one."""
    return (model(pictures).argmax(1) == labels).double().mean().item()


def begin(task: Task, steps: int = STEPS, names: int = len(NAMES), seed: int = 0, **fit: Any) -> nn.Module:
    """A new `namer` that has learnt one task: where every method starts from.  fit: more of `training.fit`'s dials."""
    model = namer(names, seed)
    _learn(model, task.pictures, task.labels, Naive(), steps, seed, **fit)
    return model


def follow(
    model: nn.Module,
    stream: Sequence[Task],
    method: Naive,
    steps: int = STEPS,
    seed: int = 0,
    on_stage: Callable[[int, nn.Module, Tensor], Any] | None = None,
    **fit: Any,
) -> Tensor:
    """Learn the tasks after the first one by one, from a model that has learnt the first; the model itself changes.

    Gives the matrix (T, T): row i holds the accuracy on each task after stage i, 0 being the model as it came.
    method: a fresh one of `METHODS`;  on_stage: shown the number of the stage, the model and its row, also for 0;
    fit: more dials of `training.fit`, such as progress=False.
    """
    _check(model, stream)
    rows = []
    for stage, task in enumerate(stream):
        if stage:
            _learn(model, task.pictures, task.labels, method, steps, seed + stage, **fit)
        method.remember(model, task)
        rows.append(torch.tensor([accuracy(model, each.unseen, each.truth) for each in stream]))
        if on_stage:
            on_stage(stage, model, rows[-1])
    return torch.stack(rows)


def jointly(model: nn.Module, stream: Sequence[Task], steps: int = STEPS, seed: int = 0, **fit: Any) -> Tensor:
    """Learn all tasks mixed, as if nothing had to be waited for: the ceiling, (T,) accuracies.

    As many steps as `follow` takes in all, from the same model.
    """
    _check(model, stream)
    pictures, labels = (torch.cat([getattr(task, what) for task in stream]) for what in ("pictures", "labels"))
    _learn(model, pictures, labels, Naive(), steps * (len(stream) - 1), seed, **fit)
    return torch.tensor([accuracy(model, task.unseen, task.truth) for task in stream])


def _learn(model, pictures, labels, method, steps, seed, learning_rate=RATE, **fit) -> None:
    batches = training.Shuffled(len(pictures), method.batch, lambda some, _: (pictures[some], labels[some]), seed)
    training.fit(model, batches, method.loss, steps, optimiser=training.muon(model, learning_rate), **fit)


def _check(model: nn.Module, stream: Sequence[Task]) -> None:
    if len(stream) < 2:
        raise ValueError(f"a stream of {len(stream)} task: with fewer than two there is nothing to forget; add one")
    with torch.no_grad():
        names = model(stream[0].unseen[:1]).shape[1]
    for task in stream:
        labels = torch.cat([task.labels, task.truth])
        if labels.min() < 0 or labels.max() >= names:
            raise ValueError(
                f"task {task.name!r} has label {labels.max() if labels.max() >= names else labels.min()}, but the head "
                f"knows 0 to {names - 1}: build the model with names={labels.max() + 1}, or leave the label out"
            )


# --- what a matrix tells -------------------------------------------------------------------------------------


def average_accuracy(matrix: Tensor) -> float:
    """Accuracy at the end, averaged over tasks.  Lopez-Paz & Ranzato 2017, eq. 2.  matrix: (T, T), as from `follow`."""
    return _square(matrix)[-1].mean().item()


def learning_accuracy(matrix: Tensor) -> float:
    """Accuracy on each task right after it was learnt, averaged: how well what is new gets in."""
    return _square(matrix).diagonal().mean().item()


def backward_transfer(matrix: Tensor) -> float:
    """How much later tasks changed earlier ones, averaged over all but the last: below 0 is forgetting.

    Lopez-Paz & Ranzato 2017, eq. 3:  1/(T-1) Σ (R[T, j] - R[j, j]).
    """
    return (_square(matrix)[-1] - matrix.diagonal())[:-1].mean().item()


def _square(matrix: Tensor) -> Tensor:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        shape = tuple(matrix.shape)
        raise ValueError(f"a matrix of shape {shape}: give one row a stage and one column a task, two at least")
    return matrix
