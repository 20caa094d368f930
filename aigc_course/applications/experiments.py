"""Virtual experiments: one dial of a model is turned, all else stands still, and a judge counts what comes out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from aigc_course import evaluation, models, plotting, sampling, scenes, style
from aigc_course.scenes import Sample
from aigc_course.studio import telling

STEPS, SCALE = 12, 2.0
WALK = 12  # steps from pure noise, where noise is the dial; less noise takes as many fewer


@dataclass(frozen=True)
class Dial:
    """What is turned: the values of a sweep, the limits of a slider, and what the judge is asked."""

    values: tuple[float, ...]
    limits: tuple[float, float, float]  # least, most, step
    says: str


DIALS = {
    "guidance": Dial((0, 1, 2, 4, 8), (0, 12, 0.5), "pictures that show every fact of their prompt"),
    "steps": Dial((1, 2, 4, 8, 16), (1, 24, 1), "pictures that show every fact of their prompt"),
    "noise": Dial((0.2, 0.4, 0.6, 0.8, 1.0), (0.1, 1, 0.05), "pictures that still show what was drawn"),
    "temperature": Dial((0, 1, 2, 3, 4), (0, 4, 0.1), "captions of which every word is true"),
}


class Cast:
    """The models of the experiments and their judge, each loaded when it is first asked for."""

    def __init__(self, load: Callable[[str], Any] = models.load, judge: Callable[[], Any] = evaluation.load_parser):
        self._load, self._judge, self._here = load, judge, {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._here:
            self._here[name] = self._judge() if name == "judge" else self._load(name)
        return self._here[name]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out at one value: pictures, the words of each, and whether the judge finds it right."""

    dial: str
    value: float
    pictures: tuple[Image.Image, ...]
    words: tuple[str, ...]
    right: tuple[bool, ...]

    @property
    def share(self) -> evaluation.Interval:
        """The share that is right, with its 95 % interval."""
        return evaluation.interval([float(one) for one in self.right])


def subjects(count: int = 8, seed: int = 11) -> list[Sample]:
    """Scenes that the experiments are about: of the test split, in turn one thing, a pair and several of a kind."""
    tasks = ("single", "pair", "count")
    return [scenes.sample(k, "test", seed, tasks[k % len(tasks)]) for k in range(count)]


def measure(
    cast: Cast,
    dial: str,
    value: float,
    about: Sequence[Sample],
    seed: int = 0,
    on_step: Callable[[Any], Any] | None = None,
) -> Outcome:
    """Turn one dial to a value, make something of each scene, and let the judge read it.

    "guidance", "steps": a picture of each scene's caption;  "noise": a drawing, so far noised and walked back without
    a word;  "temperature": a caption of each drawing.  The captions are judged by the scene itself.
    on_step: sees each `sampling.Step`; what it raises ends the experiment.
    """
    check(dial, value)
    if dial == "temperature":
        drawn = scenes.pictures(list(about), models.PICTURE)
        speaker = cast["captioner"], cast["tokenizer"]
        words = [caption(*speaker, one[None], value, seed + k) for k, one in enumerate(drawn)]
        right = [evaluation.agrees(said, one.scene) for said, one in zip(words, about, strict=True)]
        return Outcome(dial, value, _pil(drawn), tuple(words), tuple(right))
    words = [scenes.caption(one.scene, random.Random(0)) for one in about]
    if dial == "noise":
        made = noised_and_back(cast["text-to-image"], scenes.pictures(list(about), models.PICTURE), value, seed)
    else:
        how = {"steps": STEPS, "scale": SCALE} | ({"scale": value} if dial == "guidance" else {"steps": int(value)})
        made = sampling.words_to_pictures(cast["text-to-image"], words, **how, seed=seed, on_step=on_step)
    right = evaluation.score(cast["judge"], made, list(about))["exact"].tolist()
    return Outcome(dial, value, _pil(made), tuple(words), tuple(right))


def check(dial: str, value: float) -> None:
    """Whether there is such a dial, and whether it turns so far."""
    if dial not in DIALS:
        raise ValueError(f"there is no dial {dial!r}; turn one of: {', '.join(DIALS)}")
    least, most, step = DIALS[dial].limits
    if not least <= value <= most:
        raise ValueError(f"{dial} {value} is beyond its ends; choose from {least} to {most}")
    if step == 1 and value != int(value):
        raise ValueError(f"{dial} {value} is no whole number; choose one from {least} to {most}")


def noised_and_back(pipe: Any, pictures: Tensor, noise: float, seed: int = 0) -> Tensor:
    """Pictures sent a share of the way to pure noise, and walked back by the model without a word: (B, 3, H, W)."""
    return style.redraw(pipe, pictures, [""] * len(pictures), noise, WALK, scale=1.0, seed=seed)


def caption(captioner: Any, tokenizer: Any, picture: Tensor, temperature: float, seed: int = 0) -> str:
    """One caption of a picture (1, 3, H, W): the likeliest tokens at 0, else drawn from softmax(logits / T)."""
    if temperature == 0:
        return sampling.pictures_to_words(captioner, tokenizer, picture)[0]
    return telling.caption(captioner, tokenizer, picture, seed, warmth=temperature)


def sweep(
    cast: Cast, dial: str, about: Sequence[Sample], values: Sequence[float] | None = None, seed: int = 0
) -> Iterator[Outcome]:
    """The experiment at each value of the dial, one after another; scenes and seeds stay the same."""
    for value in DIALS[dial].values if values is None else values:
        yield measure(cast, dial, value, about, seed)


def figure(outcomes: Sequence[Outcome], which: int = 0) -> plotting.Figure:
    """One subject at each value, over the value and the share of all subjects that is right."""
    titles = [f"{one.value:g}: {sum(one.right)} of {len(one.right)} right" for one in outcomes]
    dial = outcomes[0].dial
    alt = f"The same picture with {dial} {', '.join(f'{one.value:g}' for one in outcomes)}; {'; '.join(titles)}"
    return plotting.show_images([one.pictures[which] for one in outcomes], titles, columns=len(outcomes), alt=alt)


def _pil(pictures: Tensor) -> tuple[Image.Image, ...]:
    return tuple(plotting.to_pil(one) for one in pictures.detach().cpu())


