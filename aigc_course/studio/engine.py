"""Makes pictures from jobs: the parts of the stock pipelines, one walk, and an honest mechanism for each parameter."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image

from aigc_course import models, sampling, style
from aigc_course.studio import canvas, png, savings, telling, walk, why
from aigc_course.studio.beginning import Start, begin
from aigc_course.studio.cast import Cast, wear
from aigc_course.studio.dials import scale_of, steps_of
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.facts import facts_of
from aigc_course.studio.job import TELLS, JobSpec, Part
from aigc_course.studio.known import unknown_to
from aigc_course.studio.savings import Savings
from aigc_course.studio.spelling import heard

TILE = 32  # pixels that an upscaler's tile has a side


class Engine(Cast):
    """Owns the models and runs one job at a time, as a generator of events; `Queue` is what calls it.

    load: gives a model of the cast by name;  picture: gives a picture of the gallery by its id;  style: what carries a
    style over, (content, style, strength) → picture;  slices: decode picture by picture, for less memory.
    """

    def __init__(
        self,
        load: Callable[[str], Any] = models.load,
        picture: Callable[[str], Image.Image] | None = None,
        style: Callable[[Image.Image, Image.Image, float], Image.Image] | None = None,
        slices: bool = False,
    ):
        super().__init__(load, Savings(decode_one=slices))
        self.picture, self.style = picture or _no_gallery, style or _style_room

    @torch.no_grad()
    def run(self, spec: JobSpec, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Loading, notes, steps, and at last what was made or told.  When `cancel` is set it ends at the next step,
        with the pictures as the model expected them there."""
        spec = yield from self._worded(spec.seeded())
        yield from _notes(spec)
        if spec.action in TELLS:
            yield from getattr(self, f"_{spec.action}")(spec, cancel)
        elif spec.action == "upscale":
            yield from self._upscale(spec, cancel)
        else:
            yield from self._draw(spec, cancel)

    def _worded(self, spec: JobSpec) -> Generator[Event, None, JobSpec]:
        """A blend without words is given those that the captioner finds for its pictures, all of equal weight."""
        if spec.action != "blend" or spec.prompt:
            return spec
        yield from self.loading("captioner")
        given = torch.cat([telling.seen(self.picture(one)) for one in spec.images])
        captions = sampling.pictures_to_words(self.model("captioner"), self.model("tokenizer"), given)
        yield Event("note", sentence=f"the pictures read as: {' · '.join(captions)}")
        return spec.with_(prompt=tuple(Part(text) for text in captions))

    def measure(self, spec: JobSpec, wanted: Savings, cancel: threading.Event | None = None) -> Iterator[Event]:
        """What each saving gives; see `savings.measure`."""
        return savings.measure(self, spec, wanted, cancel)

    # --- a job that draws ---

    def _draw(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        pipe = yield from self._opened(spec, _texts(spec))
        with walk.circular(pipe, spec.tile), self._saving(pipe):
            start, total, steps = self._walk(pipe, spec, cancel)
            last = max(1, math.ceil(total * spec.stop / 100))
            for step in steps:
                yield self._stepped(pipe, step)
                if step.number >= last or (cancel is not None and cancel.is_set()):
                    yield self._made(pipe, spec, step, start)
                    return  # cancelled before the first step, there is no picture yet

    @torch.no_grad()
    def explain(self, spec: JobSpec, tile: int = 0, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Make one picture of a grid again and record why it came out so; the answer is an `Explanation`."""
        spec = spec.seeded()
        one = spec.with_(count=1, seed=spec.seeds[tile])
        pipe = yield from self._opened(one, _texts(one))
        with walk.circular(pipe, one.tile), self._saving(pipe), why.recording(pipe.unet) as maps:
            start, total, steps = self._walk(pipe, one, cancel)
            seen = []
            for step in steps:
                seen.append(step)
                yield self._stepped(pipe, step)
            if len(seen) == total:
                answer = why.explain(pipe, one, start.x_t, seen, maps)
                noisy = tuple(self.preview(pipe, self.drawing, answer.x_t.to(start.x_t)))
                yield Event("told", spec=one, answer=replace(answer, noisy=noisy))

    def _opened(self, spec: JobSpec, texts: list[str]) -> Generator[Event, None, Any]:
        """The pipeline that draws, the job's LoRAs on.  texts: of which it is noted what has no room."""
        self.savings.refuse(spec)
        yield from self.loading(self.drawing)
        pipe = self.model(self.drawing)
        wear(pipe, spec.loras)
        yield from _unheard(pipe.tokenizer, texts)
        return pipe

    def _saving(self, pipe: Any) -> Any:
        return savings.at_work(pipe, self.drawing, self.savings)

    def _walk(self, pipe: Any, spec: JobSpec, cancel: threading.Event | None) -> tuple[Start, int, Iterator[walk.Step]]:
        """Where it begins, how many steps it has, and these."""
        start = begin(pipe, spec, self.picture)
        scheduler, times = walk.timetable(pipe, steps_of(spec), start.strength)
        told, one_by_one = _told(pipe, spec), self.savings.denoise_one
        return start, len(times), walk.walk(pipe, start.x_t, told, scheduler, times, start.kept, cancel, one_by_one)

    def _stepped(self, pipe: Any, step: walk.Step) -> Event:
        preview = partial(self.preview, pipe, self.drawing, step.x0)
        return Event("step", number=step.number, total=step.total, preview=preview)

    def _made(self, pipe: Any, spec: JobSpec, step: walk.Step, start: Start) -> Event:
        """The pictures at the step reached: the last x_t, or where it ended early, what the model expected."""
        latents = step.x_t if step.number == step.total else step.x0
        groups = latents.split(1) if self.savings.decode_one else [latents]
        pictures = torch.cat([start.finish(sampling.decode(pipe, some)) for some in groups])
        made = self._styled(canvas.to_pictures(pictures), spec)
        used = [self.drawing, *(f"lora-{one.name}" for one in spec.loras)]
        facts = facts_of(used, pipe) | {
            "steps": step.total,
            "reached": step.number,
            "scale": scale_of(spec),
            "sampler": type(pipe.scheduler).__name__,
            **({"savings": said} if (said := self.savings.sentence) else {}),
        }
        return Event("made", spec=spec, pictures=tuple(made), facts=facts, number=step.number, total=step.total)

    def _styled(self, pictures: list[Image.Image], spec: JobSpec) -> list[Image.Image]:
        for name in spec.sref:
            look, strength = self.picture(name), spec.sw / (spec.sw + 100) if spec.sw else 0.0
            if strength:
                pictures = [self.style(one, look, strength) for one in pictures]
        return pictures

    # --- a job that enlarges, or tells ---

    def _upscale(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        """Four times as many pixels each way, tile by tile; what was not reached when cancelled is enlarged plainly."""
        spec = spec.with_(count=1)
        yield from self.loading("upscaler")
        model, parent = self.model("upscaler"), self.picture(spec.parent)
        small = canvas.to_tensor(parent)[None]
        if max(parent.size) * model.times > png.LARGEST_SIDE:
            raise StudioError(f"the picture is {max(parent.size)} pixels long already", "upscale a smaller one")
        large, reached = sampling.lanczos(small, model.times), 0
        total = math.prod(-(-side // TILE) for side in small.shape[2:])
        enlarge = partial(sampling.upscale, model, tile=max(small.shape))
        tiles = sampling.tile_by_tile(enlarge, small, model.reach, large, TILE)
        while reached < total and not (cancel is not None and cancel.is_set()):
            reached = next(tiles)
            yield Event("step", number=reached, total=total, preview=partial(canvas.to_pictures, large))
        if reached:
            facts = facts_of(["upscaler"], model) | {"steps": total, "reached": reached}
            pictures = tuple(canvas.to_pictures(large))
            yield Event("made", spec=spec, pictures=pictures, facts=facts, number=reached, total=total)

    def _describe(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        return telling.captions(self, self.picture(spec.parent), spec.seeds, cancel)

    def _shorten(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        pipe = yield from self._opened(spec, [spec.words])
        with self._saving(pipe):
            answer = telling.importance(pipe, spec.words, spec.seed, scale=scale_of(spec))
        yield Event("told", answer=answer)


# --- words --------------------------------------------------------------------------------------------------


def _texts(spec: JobSpec) -> list[str]:
    """What of a job the text encoder reads, each with a room of its own."""
    return [*(part.text for part in spec.prompt), spec.negative, spec.then]


def _told(pipe: Any, spec: JobSpec) -> Callable[[int], walk.Words]:
    """The words of each step: the same at all of them, but in a branch."""
    how = dict(
        scale=scale_of(spec), negative=spec.negative, chaos=spec.chaos / 100, weird=spec.weird / 1500,
        seeds=spec.seeds,
    )  # fmt: skip
    parts = [(part.text, part.weight) for part in spec.prompt] or [("", 1.0)]
    first = walk.words(pipe, *zip(*parts, strict=True), **how)
    if spec.action != "branch":
        return lambda number: first
    then = walk.words(pipe, [spec.then], [1.0], **how)
    return lambda number: first if number <= spec.at else then


def _notes(spec: JobSpec) -> Iterator[Event]:
    """What of a job will not help."""
    for word in unknown_to(spec):
        yield Event("note", sentence=word.sentence)
    if spec.negative and scale_of(spec) == 1:
        yield Event("note", sentence="--no does nothing without guidance; raise --stylize above 0")
    if spec.sw != 100 and not spec.sref:
        yield Event("note", sentence="--sw does nothing without a picture whose style is meant; add --sref")


def _unheard(tokenizer: Any, texts: list[str]) -> Iterator[Event]:
    """The words that the text encoder has no room for."""
    for _, rest in (heard(tokenizer, text) for text in texts):
        if rest:
            shown = rest if len(rest) <= 120 else f"{rest[:119]}…"
            room = f"the model reads {tokenizer.model_max_length} tokens of a text"
            yield Event("note", sentence=f"“{shown}” is not heard: {room}; shorten it")


# --- where nothing else was given ---------------------------------------------------------------------------


def _no_gallery(name: str) -> Image.Image:
    raise StudioError(f"there is no gallery to look for {name}", "open a Studio with a folder")


def _style_room(content: Image.Image, look: Image.Image, strength: float) -> Image.Image:
    """The room `style`, as it is shipped."""
    try:
        return style.transfer(content, look, strength)
    except (ValueError, OSError) as error:
        raise StudioError(f"the style cannot be carried over: {error}", "leave out --sref") from error
