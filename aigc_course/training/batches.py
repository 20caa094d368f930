"""Deals batches to a run, and knows the place in them to come back to."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from aigc_course import runtime

END = object()


class Feed:
    """Deals batches without end, and knows its place in them.

    Batches with a state keep their place themselves, and say under "of" in it what they are batches of.  Of all
    others we count a pass, and remember the random states that it began with; to come back, we begin the same
    pass again and skip what was seen.
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
            there, here = _of(place["state"]), _of(self.batches.state_dict())
            if there != here:
                told = f"the checkpoint was made with other batches ({there} there, {here} here)"
                raise ValueError(f"{told}: use those, name another folder, or delete this one")
            self.batches.load_state_dict(place["state"])
        self.dealt, self.seen, self.start = iter(self.batches), place["seen"], start
        for _ in range(0 if self.stateful else self.seen):
            if next(self.dealt, END) is END:
                raise ValueError("the checkpoint was made with more batches: use those, or a new folder")


def _of(state: Any) -> Any:
    return state.get("of") if isinstance(state, dict) else None


class Shuffled:
    """The numbers 0 … count-1, in a new random order in each pass, as batches that `make` fills; keeps its place.

    make: turns (indices, pass number) into a batch.  An unfilled last batch is left out.
    workers: processes that make batches ahead, in the same order; 0: each is made when it is asked for.
    """

    def __init__(
        self, count: int, batch_size: int, make: Callable[[Tensor, int], Any], seed: int = 0, workers: int = 0
    ):
        if not 1 <= batch_size <= count:
            raise ValueError(f"batches of {batch_size} cannot be filled from {count} items; use 1 to {count}")
        self.count, self.batch_size, self.make, self.seed = count, batch_size, make, seed
        self.workers, self.round, self.position = workers, 0, 0

    def __iter__(self):
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.round))
        left = order.split(self.batch_size)[self.position : self.count // self.batch_size]
        own = torch.Generator().manual_seed(0)  # else the loader draws from the global one, and shifts it
        how = dict(batch_size=None, num_workers=self.workers, generator=own)
        for batch in DataLoader(left, collate_fn=self._filled, **how):
            self.position += 1
            yield batch
        self.round, self.position = self.round + 1, 0

    def _filled(self, indices: Tensor) -> Any:
        return self.make(indices, self.round)

    def state_dict(self) -> dict[str, Any]:
        """The pass and the batches handed out in it, and what decides their order."""
        of = {"count": self.count, "batch_size": self.batch_size, "seed": self.seed}
        return {"round": self.round, "position": self.position, "of": of}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batch at which `state_dict` was taken."""
        self.round, self.position = state["round"], state["position"]


class Pool:
    """Batches drawn at random from all that a stream has made so far: for a GPU, which learns faster than CPUs draw.

    stream: batches that are dicts of tensors, read by a thread until `room` rows are there, which stay on the device;
    on a GPU they take half of its free memory at most, and the pool is full sooner.
    What is there at a step depends on how fast it is made: no two runs are alike, and a resumed one fills a new pool.
    """

    def __init__(self, stream: Iterable[dict[str, Tensor]], batch_size: int, room: int, seed: int = 0):
        if not 1 <= batch_size <= room:
            raise ValueError(f"a pool with room for {room} rows holds no batch of {batch_size}: make it larger")
        self.stream, self.batch_size, self.room = stream, batch_size, room
        self.generator, self.rows, self.filled, self.failed = runtime.generator(seed), {}, 0, None
        self.filling = Thread(target=self._watched_filling, daemon=True)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self.filling.ident is None:  # who asks again shares what is there
            self.filling.start()
        while True:
            while self.filled < self.batch_size and not self.failed:
                time.sleep(0.01)
            if self.failed:
                raise self.failed
            chosen = torch.randint(self.filled, (self.batch_size,), generator=self.generator).to(runtime.device())
            yield {name: rows[chosen] for name, rows in self.rows.items()}

    def _watched_filling(self) -> None:
        try:
            self._fill()
            if self.filled < self.batch_size:
                raise ValueError(f"the stream ended after {self.filled} rows, fewer than a batch of {self.batch_size}")
        except Exception as failed:  # the thread that asks for batches tells it
            self.failed = failed

    def _fill(self) -> None:
        for batch in self.stream:
            if not self.rows:
                self.room = min(self.room, max(self.batch_size, _affordable(batch, _free())))
            count = min(len(next(iter(batch.values()))), self.room - self.filled)
            for name, made in batch.items():
                if name not in self.rows:
                    self.rows[name] = made.new_empty((self.room, *made.shape[1:]), device=runtime.device())
                self.rows[name][self.filled : self.filled + count] = made[:count].to(runtime.device())
            self.filled += count
            if self.filled == self.room:
                return

    def state_dict(self) -> dict:
        """No place, since it has none; what its batches are drawn from, and how."""
        stream = _of(self.stream.state_dict()) if hasattr(self.stream, "state_dict") else None
        return {"of": {"batch_size": self.batch_size, "seed": self.generator.initial_seed(), "stream": stream}}

    def load_state_dict(self, state: dict) -> None:
        """Start anew."""


def _affordable(batch: dict[str, Tensor], free: int) -> int:
    """How many rows like those of a batch fit in half of the free bytes."""
    return free // 2 // sum(rows[0].nbytes for rows in batch.values())


def _free() -> int:
    """The free bytes of a GPU; of a processor's memory, which pages, no end."""
    return torch.cuda.mem_get_info()[0] if runtime.device().type == "cuda" else sys.maxsize
