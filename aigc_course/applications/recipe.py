"""A drawing style in one file, as anybody can propose it: read, checked, taught to the denoiser, and judged.

A recipe is a Python file with four names: ENGLISH and CHINESE, what the style is called; LICENCE; and
`paint(art, size, rng)`, which paints a `scenes.styles.Artwork` as an RGB picture of size × size.  Its docstring says in
one sentence what it looks like.  Reading a recipe runs it: look into a stranger's file first.
"""

from __future__ import annotations

import ast
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from aigc_course import adaptation, evaluation, models, scenes
from aigc_course.scenes import Sample, drawing

LICENCES = "CC BY 4.0", "CC0 1.0"
NAMES = "ENGLISH", "CHINESE", "LICENCE", "paint"
KNOWN = *scenes.STYLES, *scenes.NEW_STYLES
SLOW, READABLE, APART = 0.25, 0.6, 0.9  # seconds a picture; share of scenes still read; share told from other styles
LAYER = 3  # of CLIP's four, in which a style is read: of drawings that went through the autoencoder it tells most


@dataclass(frozen=True)
class Recipe:
    """A style as its file tells it."""

    english: str
    chinese: str
    licence: str
    about: str
    paint: Callable[[Any, int, random.Random], Image.Image]
    file: Path

    @property
    def folder(self) -> str:
        """What its LoRA is called."""
        return "lora-" + self.english.replace(" ", "-")

    def pictures(self, samples: Sequence[Sample], size: int = models.PICTURE) -> Tensor:
        """Scenes painted in this style: float32 (B, 3, size, size) in [-1, 1]."""
        pixels = np.stack([np.asarray(self.painted(one, size)) for one in samples])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def painted(self, one: Sample, size: int = models.PICTURE) -> Image.Image:
        """One scene: the same polygons as in any other style."""
        ready = drawing.prepare(one.scene, one.seed)
        return self.paint(ready.art, size, ready.rng)

    def captions(self, samples: Sequence[Sample], language: str) -> list[str]:
        """What such pictures show, in the words of the world but for the style's own name."""
        name = self.english if language == "en" else self.chinese
        rngs = (random.Random(f"{language}/{k}") for k in range(len(samples)))
        return [scenes.new_caption(one, rng, language, style=name) for one, rng in zip(samples, rngs, strict=False)]


# --- reading and checking -----------------------------------------------------------------------------------


def load_recipe(file: Path | str) -> Recipe:
    """Run the file of a recipe and take its four names and its sentence; ValueError says what is missing or wrong."""
    file = Path(file)
    if file.suffix != ".py" or not file.is_file():
        raise ValueError(f"there is no {file.name}; name the .py file of a recipe, such as data/recipes/lacquer.py")
    found = _run(file)
    for name in NAMES:
        if name not in found:
            raise ValueError(f"{file.name} has no {name}; a recipe has {', '.join(NAMES)}, see data/recipes/lacquer.py")
    english, chinese, licence, paint = (found[name] for name in NAMES)
    if not isinstance(english, str) or not english.isascii() or not english.replace(" ", "").isalpha():
        raise ValueError(f"{file.name}: ENGLISH={english!r} must be plain words, such as 'lacquer' or 'cut paper'")
    if english != english.lower().strip() or english in KNOWN:
        raise ValueError(f"{file.name}: ENGLISH={english!r} is taken or not in small letters; the world knows {KNOWN}")
    if not isinstance(chinese, str) or not chinese or not all("一" <= sign <= "鿿" for sign in chinese):
        raise ValueError(f"{file.name}: CHINESE={chinese!r} must be the style's name in Chinese characters")
    if licence not in LICENCES:
        raise ValueError(f"{file.name}: LICENCE={licence!r}; the course can take {' or '.join(LICENCES)}")
    if not callable(paint):
        raise ValueError(f"{file.name}: paint is no function; write def paint(art, size, rng)")
    return Recipe(english, chinese, licence, found["__doc__"].strip().splitlines()[0], paint, file)


def _run(file: Path) -> dict[str, Any]:
    """The names that a file defines."""
    try:
        text = file.read_text(encoding="utf-8")
        if not ast.get_docstring(ast.parse(text)):
            raise ValueError(f"{file.name} does not open with a sentence; say in a docstring what the style looks like")
        found: dict[str, Any] = {"__name__": file.stem}
        exec(compile(text, file.name, "exec"), found)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is no Python: {error}") from None
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(file.name):
            raise
        raise ValueError(f"{file.name} stops with {type(error).__name__}: {error}; run it alone first") from None
    return found


@dataclass(frozen=True)
class Checked:
    """What a check saw: seconds a picture, in which scenes the things are still read, and who is not told apart."""

    seconds: float
    read: evaluation.Interval
    read_flat: evaluation.Interval
    told_apart: evaluation.Interval


def check_recipe(recipe: Recipe, judge: StyleJudge | None = None, count: int = 24) -> Checked:
    """Whether a style can be taught: it paints any size, always the same, in time, readably, and like no other.

    The things must still be read by the judge of newcomers, which sees shapes in colours it was not trained on; the
    style must be told from the twelve others by `StyleJudge`, on drawings that it did not learn from.
    """
    samples = scenes.samples(count, "validation", seed=91)
    _paints(recipe, samples[0])
    began = time.process_time()
    pictures = recipe.pictures(samples)
    seconds = (time.process_time() - began) / count
    if seconds > SLOW:
        raise ValueError(f"{recipe.file.name} takes {seconds:.2f} s a picture; paint in at most {SLOW} s")
    flat = scenes.pictures([Sample(_plain(one.scene), one.seed) for one in samples])
    read, read_flat = (evaluation.interval(things_read(some, samples)) for some in (pictures, flat))
    if read.mean < READABLE * read_flat.mean:
        raise ValueError(
            f"{recipe.file.name}: things are read in {read.mean:.0%} of its pictures, and in {read_flat.mean:.0%} of "
            "plain ones; keep their shapes in view"
        )
    judge = judge or StyleJudge(recipe)
    apart = evaluation.interval(judge.own_accuracy())
    if apart.mean < APART:
        raise ValueError(
            f"{recipe.file.name}: only {apart.mean:.0%} of drawings are told from those in other styles; "
            "make it look like no other"
        )
    return Checked(seconds, read, read_flat, apart)


def _plain(scene: scenes.Scene) -> scenes.Scene:
    return scenes.Scene(scene.things, scene.background, "flat")


def _paints(recipe: Recipe, one: Sample) -> None:
    """One picture at three sizes, and twice: it must depend on the scene, the size and `rng` alone."""
    for size in (64, models.PICTURE, 256):
        try:
            first = recipe.painted(one, size)
            again = recipe.painted(one, size)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ValueError(f"{recipe.file.name} cannot paint {size} pixels ({told}); try it alone") from None
        if not isinstance(first, Image.Image) or first.mode != "RGB" or first.size != (size, size):
            raise ValueError(f"{recipe.file.name}: paint must return an RGB picture of {size} × {size}")
        if np.asarray(first).std((0, 1)).max() < 4:
            raise ValueError(f"{recipe.file.name} paints an empty picture; fill the shapes of art.things")
        if first.tobytes() != again.tobytes():
            raise ValueError(f"{recipe.file.name} paints one scene in two ways; take all chance from rng")


def things_read(pictures: Tensor, samples: Sequence[Sample]) -> Tensor:
    """In which pictures the judge of newcomers finds every thing of its scene: bool (B,)."""
    seen = evaluation.load_newcomers().read(pictures)
    named = [{thing.name for thing in one.scene.things} for one in samples]
    return torch.tensor([names <= set(found.names) for names, found in zip(named, seen, strict=True)])


# --- the judge of the style ---------------------------------------------------------------------------------


class StyleJudge:
    """Tells a recipe's style from the twelve that exist: a linear layer on what CLIP sees, learnt from drawings alone.

    A style is in the texture, so it is read from the mean of all patches after CLIP's third layer; what the last one
    says is of things and nearly the same in every style.
    It has seen no generated picture.  Its own accuracy, on fresh drawings, stands beside every figure it gives.
    """

    def __init__(self, recipe: Recipe, each: int = 12):
        self.recipe, self.clip = recipe, models.load("clip", dtype=torch.float32)
        drawn, labels = self._drawn(each, "train", seed=92)
        textures = self._textures(drawn)
        self.middle, self.spread = textures.mean(0), textures.std(0)
        self.probe = adaptation.linear_probe(self._features(drawn), labels, len(KNOWN) + 1)

    def _drawn(self, each: int, split: str, seed: int) -> tuple[Tensor, Tensor]:
        count = each * (len(KNOWN) + 1)
        told = scenes.samples(count, split, seed)
        parts = [told[each * k : each * (k + 1)] for k in range(len(KNOWN) + 1)]
        drawn = [scenes.pictures([_in_style(one, name) for one in part]) for name, part in zip(scenes.STYLES, parts)]
        rest = zip(scenes.NEW_STYLES, parts[len(scenes.STYLES) :])
        drawn += [scenes.new_pictures(part, style=name) for name, part in rest]
        drawn += [self.recipe.pictures(parts[-1])]
        labels = torch.arange(len(parts)).repeat_interleave(each)
        return _worn(torch.cat(drawn), seed), labels

    @torch.no_grad()
    def _textures(self, pictures: Tensor) -> Tensor:
        """The mean of what CLIP's eyes make of the patches, by `LAYER`: (B, width)."""
        parts = pictures.to(self.clip.device).split(128)
        looked = (self.clip.vision_model(some, output_hidden_states=True) for some in parts)
        return torch.cat([seen.hidden_states[LAYER][:, 1:].mean(1) for seen in looked]).cpu()

    def _features(self, pictures: Tensor) -> Tensor:
        return F.normalize((self._textures(pictures) - self.middle) / self.spread, dim=1)

    @torch.no_grad()
    def own_accuracy(self, each: int = 3) -> Tensor:
        """Whether it is right about fresh drawings, half in the recipe's style: bool (24 · each,)."""
        drawn, labels = self._drawn(each, "validation", seed=93)
        others = ~self.says_so(drawn[labels < len(KNOWN)])
        own = self.says_so(_worn(self.recipe.pictures(scenes.samples(len(others), "validation", 94)), 94))
        return torch.cat([own, others])

    @torch.no_grad()
    def says_so(self, pictures: Tensor) -> Tensor:
        """Which pictures it takes to be in the recipe's style: bool (B,)."""
        return self.probe(self._features(pictures)).argmax(1) == len(KNOWN)


def _worn(pictures: Tensor, seed: int) -> Tensor:
    """Drawings a little blurred and noisy, as generated pictures are."""
    return evaluation.weathered(pictures, torch.Generator().manual_seed(seed))


def _in_style(one: Sample, style: str) -> Sample:
    return Sample(scenes.Scene(one.scene.things, one.scene.background, style), one.seed)
