"""What was alive when: the list of all storages of a run, and the sums over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("parameters", "gradients", "optimiser", "activations", "temporary", "data")


@dataclass(frozen=True)
class Moment:
    """Just after one operation.  phase: "start", "forward", "backward", "again" (recomputed) or "optimiser".

    module: the innermost module of the model at work, "" between modules and in the backward pass.
    """

    phase: str
    module: str


@dataclass(eq=False)
class Held:
    """One storage: alive at the moments from `born` up to, not including, `died` (None: to the end)."""

    bytes: int
    born: int
    kind: str
    made: Moment
    died: int | None = None


@dataclass(repr=False, eq=False)
class Account:
    """Every storage that a run held; the index of a moment counts operations.

    parameters, gradients, optimiser: what these words say, however short their life.
    activations: made in the forward pass (or recomputed) and kept for the backward pass.
    temporary: made and soon dropped.  data: the batch, the model's buffers, constants.
    """

    held: list[Held]
    moments: list[Moment]

    @property
    def last(self) -> int:
        """The index of the last moment."""
        return len(self.moments) - 1

    @property
    def timeline(self) -> dict[str, np.ndarray]:
        """Bytes alive at each moment, by kind: {kind: (N,)}, as `plotting.show_curves` takes them."""
        change = {kind: np.zeros(len(self.moments) + 1, np.int64) for kind in KINDS}
        for each in self.held:
            change[each.kind][each.born] += each.bytes
            if each.died is not None:
                change[each.kind][each.died] -= each.bytes
        return {kind: values.cumsum()[:-1] for kind, values in change.items()}

    @property
    def peak(self) -> int:
        """The most bytes alive at once."""
        return int(self._total().max())

    @property
    def peak_at(self) -> int:
        """The index of the first moment at which that many are alive."""
        return int(self._total().argmax())

    @property
    def at_peak(self) -> dict[str, int]:
        """What the peak is made of, by kind; the sum is `peak`."""
        return {kind: int(values[self.peak_at]) for kind, values in self.timeline.items()}

    @property
    def highest(self) -> dict[str, int]:
        """The most that each kind ever held; not all at one moment."""
        return {kind: int(values.max()) for kind, values in self.timeline.items()}

    def modules(self, moment: int | None = None, kind: str = "activations") -> dict[str, int]:
        """Bytes of a kind that are alive at a moment (None: the peak), by the module that made them, largest first."""
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r} of memory; use one of {', '.join(KINDS)}")
        moment = self.peak_at if moment is None else range(len(self.moments))[moment]
        sums: dict[str, int] = {}
        for each in self.held:
            if each.kind == kind and each.born <= moment and (each.died is None or moment < each.died):
                sums[each.made.module] = sums.get(each.made.module, 0) + each.bytes
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def _total(self) -> np.ndarray:
        return sum(self.timeline.values())

    def __repr__(self) -> str:
        parts = ", ".join(f"{kind} {size:,}" for kind, size in self.at_peak.items() if size)
        return f"Account of {len(self.held):,} storages, at most {self.peak:,} bytes at once ({parts})"
