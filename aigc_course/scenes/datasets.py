"""Scenes as training data: sample k of a seed is always the same, so a stream needs no memory and resumes anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from aigc_course.scenes.drawing import draw
from aigc_course.scenes.scene import SPLITS, Scene, random_scene


@dataclass(frozen=True)
class Sample:
    """One item of the world: a scene and the seed of the drawing's free choices."""

    scene: Scene
    seed: int


def sample(index: int, split: str = "train", seed: int = 0, task: str | None = None) -> Sample:
    """Sample number `index` of a split: a function of its arguments alone."""
    rng = random.Random(f"{seed}/{split}/{task}/{index}")
    return Sample(random_scene(rng, split, task), rng.getrandbits(31))


def samples(count: int, split: str = "train", seed: int = 0, task: str | None = None) -> list[Sample]:
    """The first `count` samples of a split."""
    return [sample(index, split, seed, task) for index in range(count)]


def pictures(
    scenes: list[Sample] | list[Scene], size: int = 128, seeds: list[int] | None = None
) -> torch.Tensor:
    """Draw scenes (or samples, which bring their own seeds) as float32 (B, 3, size, size) in [-1, 1]."""
    return pictures_as_bytes(scenes, size, seeds).float() / 127.5 - 1


def pictures_as_bytes(
    scenes: list[Sample] | list[Scene], size: int = 128, seeds: list[int] | None = None
) -> torch.Tensor:
    """The same as uint8, 0 to 255, a quarter of the memory: for pictures that are kept."""
    if seeds is None:
        seeds = [s.seed if isinstance(s, Sample) else 0 for s in scenes]
    drawn = [
        draw(s.scene if isinstance(s, Sample) else s, size, seed)
        for s, seed in zip(scenes, seeds, strict=True)
    ]
    pixels = np.stack([np.asarray(picture) for picture in drawn])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class _Batches(IterableDataset):
    """Batches start, start + 1, …; each worker makes every W-th, so that their order does not depend on W."""

    def __init__(self, stream: SceneStream, start: int):
        self.stream, self.start = stream, start

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(self.start + first, len(self.stream), step):
            yield self.stream.batch(number)


class SceneStream:
    """Batches of freshly made samples, in an order fixed by `seed`, whatever the number of workers.

    make: turns a list of `Sample` into a batch (default: leave the list).  Memory does not grow with `count`.
    `state_dict` holds the position; a stream that loads it goes on with the very next batch.
    """

    def __init__(
        self,
        split: str = "train",
        count: int = 1_000_000,
        batch_size: int = 32,
        seed: int = 0,
        task: str | None = None,
        make: Callable[[list[Sample]], object] | None = None,
        workers: int = 0,
    ):
        if split not in SPLITS:
            raise ValueError(f"no split called {split!r} in this world; use one of: {', '.join(SPLITS)}")
        if batch_size < 1 or count < batch_size:
            raise ValueError(
                f"{count} scenes do not fill one batch of {batch_size}; ask for more scenes or smaller batches"
            )
        self.split, self.count, self.batch_size, self.seed, self.task = split, count, batch_size, seed, task
        self.make, self.workers, self.position = make, workers, 0

    def __len__(self) -> int:
        return self.count // self.batch_size

    def batch(self, number: int) -> object:
        """Batch `number`, made now."""
        indices = range(number * self.batch_size, (number + 1) * self.batch_size)
        made = [sample(index, self.split, self.seed, self.task) for index in indices]
        return self.make(made) if self.make else made

    def __iter__(self) -> Iterator:
        if self.position >= len(self):
            self.position = 0
        own = torch.Generator().manual_seed(0)  # else the loader draws from the global one, and shifts it
        batches = _Batches(self, self.position)
        for batch in DataLoader(batches, batch_size=None, num_workers=self.workers, generator=own):
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: the number of batches handed out in this pass, and what decides them."""
        names = ("split", "count", "batch_size", "seed", "task")
        return {"position": self.position, "of": {name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batch at which `state_dict` was taken."""
        position = state["position"]
        if not 0 <= position <= len(self):
            raise ValueError(f"batch {position} of {len(self)}; load a state of a stream of this length")
        self.position = position
