"""Deals batches to a run, and knows the place in them to come back to."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

END = object()


class Feed:
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
