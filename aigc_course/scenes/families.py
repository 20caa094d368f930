"""Other kinds of pictures beside the world's scenes: the extension point of this room.

How to add one, in a file of its own (`mockups.py` is an example):

1. a frozen dataclass of facts, everything that a picture of the kind says and a prompt can ask for;
2. five functions: `sample(rng)` gives facts at random, `draw(facts, size)` the picture, `caption(facts, rng, language)`
   one of the ways to say it, in each of `LANGUAGES`, `read(text)` the facts that such a caption states, and
   `parts(facts)` what stands where: a box (left, top, right, bottom in a unit square) and one of `COLOURS` for each;
3. one `Family` of them, exported by `scenes/__init__.py`.

Nothing else has to know: `facts` splits it, `pictures` makes batches, and `applications.family_lesson`, from which a
LoRA learns (`scripts/train_mockups.py`), takes any family.  Two rules keep it honest: `read(caption(facts, …)) ==
facts` for all facts, and a caption fits into the `models.TEXT` tokens that the text encoder reads.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from aigc_course.scenes.vocabulary import LANGUAGES

SPLITS = ("train", "test")
HELD_OUT = 6  # one in so many facts is never trained on


@dataclass(frozen=True)
class Family:
    """One kind of picture whose truth we know.  Its functions are described above."""

    name: str
    sample: Callable[[random.Random], Any]
    draw: Callable[[Any, int], Image.Image]
    caption: Callable[[Any, random.Random, str], str]
    read: Callable[[str], Any]
    parts: Callable[[Any], Sequence[tuple[tuple[float, float, float, float], str]]]

    def split_of(self, facts: Any) -> str:
        """By a hash of the facts, so that no layout of the test is ever trained on."""
        digest = hashlib.sha256(f"{self.name}/{facts!r}".encode()).digest()
        return "test" if digest[0] % HELD_OUT == 0 else "train"

    def facts(self, count: int, split: str = "train", seed: int = 0) -> list[Any]:
        """So many random facts of a split; the same for the same seed."""
        if split not in SPLITS:
            raise ValueError(f"no split called {split!r} in a family; use one of: {', '.join(SPLITS)}")
        rng, found = random.Random(f"{self.name}/{split}/{seed}"), []
        while len(found) < count:
            one = self.sample(rng)
            if self.split_of(one) == split:
                found.append(one)
        return found

    def pictures(self, facts: Sequence[Any], size: int = 128) -> torch.Tensor:
        """Drawn: float32 (B, 3, size, size) in [-1, 1]."""
        pixels = np.stack([np.asarray(self.draw(one, size).convert("RGB")) for one in facts])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def captions(self, facts: Sequence[Any], language: str = "en", seed: int = 0) -> list[str]:
        """A caption of each; which of its ways, the seed decides."""
        if language not in LANGUAGES:
            raise ValueError(f"no captions in {language!r}; use one of: {', '.join(LANGUAGES)}")
        rngs = (random.Random(f"{seed}/{language}/{k}") for k in range(len(facts)))
        return [self.caption(one, rng, language) for one, rng in zip(facts, rngs, strict=False)]
