"""Makes pictures from jobs: the parts of the stock pipelines, one walk, and an honest mechanism for each parameter."""

from __future__ import annotations

import gc
import hashlib
import math
import platform
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import __version__, lora, models, runtime, sampling, style
from aigc_course.studio import canvas, savings, telling, walk, why
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.job import TELLS, JobSpec, Part
from aigc_course.studio.known import unknown
from aigc_course.studio.preview import Preview
from aigc_course.studio.savings import HUB, Reading, Savings

STEPS, FAST_STEPS, TILE = 25, 4, 32  # steps of quality 1 and of --fast; pixels that an upscaler's tile has a side
STRENGTHS = {"vary": 0.8, "img2img": 0.6, "inpaint": 1.0, "pan": 0.8, "zoom": 0.8, "blend": 0.8}
SUBTLE, STRONG = 0.8, 1.0  # how far back towards noise a variation goes
ECHO = 0.02  # of the picture in the noise that a strong variation begins from
MODEL, FAST = "text-to-image", "text-to-image-fast"
MEASURED = dict(steps=2, count=4, stop=100.0)  # how the job is changed that savings are measured on


def steps_of(spec: JobSpec) -> int:
    """How many steps the whole walk has: as asked for, else four with --fast, else by quality."""
    if spec.steps is not None:
        return spec.steps
    return FAST_STEPS if spec.fast else max(1, round(STEPS * spec.quality))


def scale_of(spec: JobSpec) -> float:
    """Guidance: 1 + stylize / 100."""
    return 1 + spec.stylize / 100


def strength_of(spec: JobSpec) -> float:
    """How far back towards noise a given picture is taken, 0 to 1."""
    if spec.strength is not None:
        return spec.strength
    return 1 - 0.3 * spec.iw if spec.action in ("imagine", "branch") else STRENGTHS.get(spec.action, 1.0)


def _unchanged(pictures: Tensor) -> Tensor:
    return pictures


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a walk begins: latents (B, C, h, w), from which share of the way, what is kept, how pictures end."""

    x_t: Tensor
    strength: float
    kept: walk.Kept | None = None
    finish: Callable[[Tensor], Tensor] = _unchanged


class Engine:
    """Owns the models and runs one job at a time, as a generator of events; `Queue` is what calls it.

    load: gives a model of the cast by name;  picture: gives a picture of the gallery by its id;  style: what carries a
    style over, (content, style, strength) → picture;  slices: decode picture by picture, for less memory.
    drawing: the name of the model that draws, one of the cast or a public one;  savings: what is saved with it.
    """

    def __init__(
        self,
        load: Callable[[str], Any] = models.load,
        picture: Callable[[str], Image.Image] | None = None,
        style: Callable[[Image.Image, Image.Image, float], Image.Image] | None = None,
        slices: bool = False,
    ):
        self._load, self.style = load, style or _style_room
        self.drawing, self.savings = MODEL, Savings(decode_one=slices)
        self.picture = picture or _no_gallery
        self.models: dict[str, Any] = {}
        self._previews: dict[str, Preview] = {}

    # --- one job ---

    @torch.no_grad()
    def run(self, spec: JobSpec, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Loading, notes, steps, and at last what was made or told.  When `cancel` is set it ends at the next step,
        with the pictures as the model expected them there."""
        spec = yield from self._worded(spec.seeded())
        yield from self._notes(spec)
        if spec.action in TELLS:
            yield from getattr(self, f"_{spec.action}")(spec, cancel)
        elif spec.action == "upscale":
            yield from self._upscale(spec, cancel)
        else:
            yield from self._draw(spec, cancel)

    def _worded(self, spec: JobSpec) -> Iterator[Event]:
        """A blend without words is given those that the captioner finds for its pictures, all of equal weight."""
        if spec.action != "blend" or spec.prompt:
            return spec
        yield from self.loading("captioner")
        given = [canvas.to_tensor(canvas.fitted(self.picture(one), (models.PICTURE,) * 2)) for one in spec.images]
        eyes, tokenizer = self.model("captioner"), self.model("tokenizer")
        captions = sampling.pictures_to_words(eyes, tokenizer, torch.stack(given))
        yield Event("note", sentence=f"the pictures read as: {' · '.join(captions)}")
        return spec.with_(prompt=tuple(Part(text) for text in captions))

    def _notes(self, spec: JobSpec) -> Iterator[Event]:
        taught = [word for one in spec.loras for word in one.name.split("_")]
        for word in unknown(f"{spec.words} {spec.negative} {spec.then}", taught):
            yield Event("note", sentence=word.sentence)
        if spec.negative and scale_of(spec) == 1:
            yield Event("note", sentence="--no does nothing without guidance; raise --stylize above 0")
        if spec.sw != 100 and not spec.sref:
            yield Event("note", sentence="--sw does nothing without a picture whose style is meant; add --sref")

    def _draw(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        name, pipe = yield from self._opened(spec)
        with walk.circular(pipe, spec.tile), savings.at_work(pipe, name, self.savings):
            start, total, steps = self._walk(pipe, spec, cancel)
            last = max(1, math.ceil(total * spec.stop / 100))
            for step in steps:
                yield self._stepped(pipe, name, step)
                if step.number >= last or (cancel is not None and cancel.is_set()):
                    yield self._made(pipe, name, spec, step, start)
                    return  # cancelled before the first step, there is no picture yet

    @torch.no_grad()
    def explain(self, spec: JobSpec, tile: int = 0, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Make one picture of a grid again and record why it came out so; the answer is an `Explanation`."""
        spec = spec.seeded()
        one = spec.with_(count=1, seed=spec.seeds[tile])
        name, pipe = yield from self._opened(one)
        working = savings.at_work(pipe, name, self.savings)
        with walk.circular(pipe, one.tile), working, why.recording(pipe.unet) as maps:
            start, total, steps = self._walk(pipe, one, cancel)
            seen = []
            for step in steps:
                seen.append(step)
                yield self._stepped(pipe, name, step)
            if len(seen) == total:
                answer = why.explain(pipe, one, start.x_t, seen, maps)
                noisy = tuple(self._preview(pipe, name, answer.x_t.to(start.x_t)))
                yield Event("told", spec=one, answer=replace(answer, noisy=noisy))

    def _opened(self, spec: JobSpec) -> Iterator[Event]:
        """The pipeline that a job is drawn with, its LoRAs on."""
        self._refuse(spec)
        yield from self.loading(self.drawing)
        pipe = self.model(self.drawing)
        self._apply_loras(pipe, spec)
        return self.drawing, pipe

    def _refuse(self, spec: JobSpec) -> None:
        """What does not go together with the savings that are on."""
        if spec.tile and self.savings.bits:
            raise StudioError("--tile needs weights as they come", "leave it out, or keep the weights plain")
        if spec.loras and self.savings.weights == "on disk":
            raise StudioError("a LoRA needs weights in memory", "leave it out, or take the weights from the disk")

    def _walk(
        self, pipe: Any, spec: JobSpec, cancel: threading.Event | None
    ) -> tuple[_Start, int, Iterator[walk.Step]]:
        start = self._start(pipe, spec)
        scheduler, times = walk.timetable(pipe, steps_of(spec), start.strength)
        told = self._told(pipe, spec)
        one_by_one = self.savings.denoise_one
        return start, len(times), walk.walk(pipe, start.x_t, told, scheduler, times, start.kept, cancel, one_by_one)

    def _stepped(self, pipe: Any, name: str, step: walk.Step) -> Event:
        preview = partial(self._preview, pipe, name, step.x0)
        return Event("step", number=step.number, total=step.total, preview=preview)

    def _made(self, pipe: Any, name: str, spec: JobSpec, step: walk.Step, start: _Start) -> Event:
        """The pictures at the step reached: the last x_t, or where it ended early, what the model expected."""
        whole = step.number == step.total
        latents = step.x_t if whole else step.x0
        groups = latents.split(1) if self.savings.decode_one else [latents]
        pictures = torch.cat([start.finish(sampling.decode(pipe, some)) for some in groups])
        made = self._styled(canvas.to_pictures(pictures), spec)
        facts = self._facts(name, spec) | {
            "steps": step.total,
            "reached": step.number,
            "scale": scale_of(spec),
            "sampler": type(pipe.scheduler).__name__,
            **({"savings": said} if (said := self.savings.sentence) else {}),
        }
        return Event("made", spec=spec, pictures=tuple(made), facts=facts, number=step.number, total=step.total)

    def _facts(self, name: str, spec: JobSpec) -> dict[str, Any]:
        used = [name, *(f"lora-{one.name}" for one in spec.loras)]
        some = self.models[name]
        weights = getattr(some, "unet", some)
        return {
            "models": {each: fingerprint(each) for each in used},
            "versions": versions(),
            "device": str(runtime.device()),
            "dtype": str(next(weights.parameters()).dtype).removeprefix("torch."),
            "threads": runtime.threads(),
        }

    # --- models ---

    def loading(self, name: str) -> Iterator[Event]:
        """An event before a model is loaded for the first time."""
        if name not in self.models:
            yield Event("loading", sentence=f"loading the model {name}")

    def model(self, name: str) -> Any:
        """A member of the cast, loaded once."""
        if name not in self.models:
            try:
                some = self._load(HUB[name], source="hub") if name in HUB else self._load(name)
            except ValueError as error:
                fix = "restore data/models as it was cloned"
                raise StudioError(f"the model {name} cannot be used: {error}", fix) from error
            except (FileNotFoundError, ConnectionError) as error:
                said, _, fix = str(error).rpartition("; ")
                raise StudioError(said or str(error), fix or "choose another model") from error
            self.models[name] = savings.fitted(some, self.savings) if name == self.drawing else some
        return self.models[name]

    # --- another model, other savings ---

    def switch(
        self,
        model: str | None = None,
        savings: Savings | None = None,
        download: bool = False,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Draw with another model or other savings from now on; the one before is let go.  The answer is a sentence.

        If it cannot be loaded, all stays as it was.  model: of the cast, or the repository of a public one, which is
        fetched only with `download`.
        """
        before = self.drawing, self.savings
        after = model or self.drawing, savings or self.savings
        if after[0] not in (MODEL, FAST, *HUB):
            raise StudioError(f"there is no model {after[0]!r:.80}", f"choose one of: {', '.join((MODEL, FAST, *HUB))}")
        if after[0] == FAST and not models.folder_of(FAST).is_dir():
            raise StudioError(f"{FAST} is not among the models that are shipped", "add --fast to the line: four steps")
        if download and after[0] in HUB:
            yield Event("loading", sentence=f"fetching {after[0]} from the hub")
            self._fetch(after[0], cancel or threading.Event())
        self._take(*after)
        try:
            yield from self.loading(after[0])
            self.model(after[0])
        except BaseException:
            self._take(*before)
            raise
        said = f"{self.drawing} draws now"
        yield Event("told", answer=f"{said}, with {self.savings.sentence}" if self.savings.sentence else said)

    def _fetch(self, repository: str, cancel: threading.Event) -> None:
        """Beside the worker, which must hear a cancel meanwhile; the hub's client itself cannot be stopped."""
        failed: list[Exception] = []

        def fetch() -> None:
            try:
                models.checkpoint_folder(HUB[repository], download=True)
            except Exception as error:  # no network, a full disk
                failed.append(error)

        fetching = threading.Thread(target=fetch, name="studio-fetch", daemon=True)
        fetching.start()
        while fetching.is_alive() and not cancel.wait(0.05):
            fetching.join(0.05)
        if fetching.is_alive():
            raise StudioError("no longer waited for", "what is being fetched goes on until the kernel is restarted")
        if failed:
            said, _, fix = str(failed[0]).rpartition("; ")
            raise StudioError(said or str(failed[0]), fix or "ask again later") from failed[0]

    def _take(self, model: str, wanted: Savings) -> None:
        """From the next job on; a model whose weights would have to change is let go, and loaded anew when needed."""
        if model != self.drawing or wanted.weights != self.savings.weights:
            self.models.pop(self.drawing, None)
            self.models.pop(model, None)
            gc.collect()
        if model != self.drawing:
            self._previews.clear()
        self.drawing, self.savings = model, wanted

    def measure(self, spec: JobSpec, wanted: Savings, cancel: threading.Event | None = None) -> Iterator[Event]:
        """What each saving gives: the job of a few steps without any, with each alone and with all together.

        The answer is a tuple of `Reading`, as many as there was time for.
        """
        before, each = self.savings, wanted.each()
        rows = [Savings(), *each, *([wanted] if len(each) > 1 else [])]
        readings, first = [], None
        spec = spec.seeded().with_(**MEASURED)
        try:
            for number, one in enumerate(rows, start=1):
                reading, pictures = self._reading(spec, one, first, cancel)
                if reading is None:
                    break
                first = first or pictures
                readings.append(reading)
                yield Event("step", number=number, total=len(rows))
            yield Event("told", answer=tuple(readings))
        finally:
            self._take(self.drawing, before)

    def _reading(
        self, spec: JobSpec, one: Savings, first: Any, cancel: threading.Event | None
    ) -> tuple[Reading | None, Any]:
        self._take(self.drawing, one)
        pipe, begun = self.model(self.drawing), time.perf_counter()
        events, peak = savings.counted(pipe, lambda: [e for e in self._draw(spec, cancel) if e.kind == "made"])
        if not events or events[0].number < events[0].total:
            return None, None
        pictures, seconds = events[0].pictures, time.perf_counter() - begun
        away = savings.distance(pictures, first) if first else 0.0
        return Reading(one, savings.weigh(pipe), peak, seconds, away), pictures

    def _apply_loras(self, pipe: Any, spec: JobSpec) -> None:
        here = lora.names(pipe.unet)
        for one in spec.loras:
            if one.name not in here:
                folder = models.folder_of(f"lora-{one.name}")
                if not folder.is_dir():
                    known = sorted(f.name.removeprefix("lora-") for f in folder.parent.glob("lora-*"))
                    raise StudioError(f"there is no LoRA {one.name!r}", f"use one of: {', '.join(known) or 'none'}")
                lora.load(pipe.unet, folder, one.name)
        if lora.names(pipe.unet):
            lora.combine(pipe.unet, {one.name: one.weight for one in spec.loras})

    def _preview(self, pipe: Any, name: str, x0: Tensor) -> list[Image.Image]:
        with torch.no_grad():  # a listener may ask from anywhere
            if name not in self._previews:
                self._previews[name] = Preview.fit(pipe)
            return self._previews[name](x0)

    # --- words ---

    def _told(self, pipe: Any, spec: JobSpec) -> Callable[[int], walk.Words]:
        """The words of each step: the same at all of them, but in a branch."""
        how = dict(
            scale=scale_of(spec), negative=spec.negative, chaos=spec.chaos / 100, weird=spec.weird / 1500,
            seeds=spec.seeds,
        )  # fmt: skip
        prompts = [part.text for part in spec.prompt] or [""]
        first = walk.words(pipe, prompts, [part.weight for part in spec.prompt] or [1.0], **how)
        if spec.action != "branch":
            return lambda number: first
        then = walk.words(pipe, [spec.then], [1.0], **how)
        return lambda number: first if number <= spec.at else then

    # --- where the walk begins ---

    def _start(self, pipe: Any, spec: JobSpec) -> _Start:
        side = pipe.unet.config.sample_size * pipe.vae_scale_factor
        generators = [runtime.generator(seed) for seed in spec.seeds]
        if spec.action in ("inpaint", "pan", "zoom"):
            return self._on_canvas(pipe, spec, side, generators)
        given = self._given(spec, side)
        strength = strength_of(spec)
        if not given or (strength >= 1 and spec.action != "vary"):  # nothing of a picture would be left
            size = given[0].size if given else _size(spec, side)
            noise = walk.fresh_noise(pipe, generators, size)
            return _Start(noise * getattr(pipe.scheduler, "init_noise_sigma", 1.0), 1.0)
        x0 = self._encoded(pipe, given, generators)
        noise = walk.fresh_noise(pipe, generators, given[0].size)
        if strength >= 1:  # so faint that a new picture comes, so clear that it has something of the old
            return _Start((1 - ECHO**2) ** 0.5 * noise + ECHO * x0, 1.0)
        return _Start(self._renoised(pipe, spec, x0, noise, strength), strength)

    def _given(self, spec: JobSpec, side: int) -> list[Image.Image]:
        """The pictures that a job starts from, at one size."""
        if spec.action in ("vary", "img2img"):
            return [canvas.workable(self.picture(spec.parent), side)]
        size = _size(spec, side)
        return [canvas.fitted(self.picture(one), size) for one in spec.images]

    def _encoded(self, pipe: Any, given: list[Image.Image], generators: list[torch.Generator]) -> Tensor:
        """The latents of one picture for every picture of the grid; several are mixed along the sphere."""
        first, *others = [
            walk.encode(pipe, canvas.to_tensor(one).expand(len(generators), -1, -1, -1), generators) for one in given
        ]
        for number, other in enumerate(others, start=2):
            first = torch.stack([walk.slerp(a, b, 1 / number) for a, b in zip(first, other, strict=True)])
        return first

    def _renoised(self, pipe: Any, spec: JobSpec, x0: Tensor, noise: Tensor, strength: float) -> Tensor:
        scheduler, times = walk.timetable(pipe, steps_of(spec), strength)
        return scheduler.add_noise(x0, noise, times[:1])

    def _on_canvas(self, pipe: Any, spec: JobSpec, side: int, generators: list[torch.Generator]) -> _Start:
        """A walk that paints only where the canvas is new: elsewhere each step is put back to the known picture."""
        parent = self.picture(spec.parent)
        if spec.action == "inpaint":
            laid = canvas.for_inpaint(canvas.workable(parent, side), spec.region, parent.size)
        elif spec.action == "zoom":
            laid = canvas.for_zoom(canvas.workable(parent, side), spec.zoom)
        else:
            window = spec.size(side)[spec.direction in ("up", "down")]
            laid = canvas.for_pan(parent, spec.direction, window, side)
        h, w = laid.picture.shape[-2:]
        x0 = walk.encode(pipe, laid.picture[None]).expand(spec.count, -1, -1, -1)
        noise = walk.fresh_noise(pipe, generators, (w, h))
        kept = walk.Kept(x0, noise, laid.mask.to(x0))
        strength = strength_of(spec)
        x_t = noise if strength >= 1 else self._renoised(pipe, spec, x0, noise, strength)
        return _Start(x_t, strength, kept, laid.finish)

    # --- after the walk ---

    def _styled(self, pictures: list[Image.Image], spec: JobSpec) -> list[Image.Image]:
        for name in spec.sref:
            look, strength = self.picture(name), spec.sw / (spec.sw + 100) if spec.sw else 0.0
            if strength:
                pictures = [self.style(one, look, strength) for one in pictures]
        return pictures

    def _upscale(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        """Four times as many pixels each way, tile by tile; what was not reached when cancelled is enlarged plainly."""
        spec = spec.with_(count=1)
        yield from self.loading("upscaler")
        model, parent = self.model("upscaler"), self.picture(spec.parent)
        small = canvas.to_tensor(parent)[None]
        if max(parent.size) * model.times > 4096:
            raise StudioError(f"the picture is {max(parent.size)} pixels long already", "upscale a smaller one")
        large, reached = sampling.lanczos(small, model.times), 0
        total = math.prod(-(-side // TILE) for side in small.shape[2:])
        enlarge = partial(sampling.upscale, model, tile=max(small.shape))
        tiles = sampling.tile_by_tile(enlarge, small, model.reach, large, TILE)
        while reached < total and not (cancel is not None and cancel.is_set()):
            reached = next(tiles)
            yield Event("step", number=reached, total=total, preview=partial(canvas.to_pictures, large))
        if not reached:
            return
        facts = self._facts("upscaler", spec) | {"steps": total, "reached": reached}
        pictures = tuple(canvas.to_pictures(large))
        yield Event("made", spec=spec, pictures=pictures, facts=facts, number=reached, total=total)

    # --- what is told, not drawn ---

    def _describe(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        for name in ("captioner", "tokenizer"):
            yield from self.loading(name)
        picture = canvas.to_tensor(canvas.fitted(self.picture(spec.parent), (models.PICTURE,) * 2))[None]
        captions = []
        for number, seed in enumerate(spec.seeds, start=1):
            if cancel is not None and cancel.is_set():
                break
            captions.append(telling.caption(self.model("captioner"), self.model("tokenizer"), picture, seed))
            yield Event("step", number=number, total=spec.count)
        yield Event("told", spec=spec, answer=tuple(captions))

    def _shorten(self, spec: JobSpec, cancel: threading.Event | None) -> Iterator[Event]:
        name, pipe = yield from self._opened(spec)
        with savings.at_work(pipe, name, self.savings):
            answer = telling.importance(pipe, spec.words, spec.seed, scale=scale_of(spec))
        yield Event("told", spec=spec, answer=answer)


# --- what a picture depends on ------------------------------------------------------------------------------


def fingerprint(name: str) -> str:
    """Twelve digits of the hash of a model's manifest, which holds the hashes of all its files; "" without one.

    Of a public model, of its commit.
    """
    if name in HUB:
        return models.CHECKPOINTS[HUB[name]].revision[:12]
    file = models.folder_of(name) / models.MANIFEST
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""


def versions() -> dict[str, str]:
    """The software that a picture's bits depend on."""
    import diffusers
    import transformers

    return {
        "course": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }


def _size(spec: JobSpec, side: int) -> tuple[int, int]:
    """Of the pictures, in pixels, if the model can paint so many."""
    w, h = spec.size(side)
    if w * h > 4 * side**2:
        raise StudioError(f"{w} × {h} pixels are too many for this model", f"stay below {2 * side} × {2 * side}")
    return w, h


def _no_gallery(name: str) -> Image.Image:
    raise StudioError(f"there is no gallery to look for {name}", "open a Studio with a folder")


def _style_room(content: Image.Image, look: Image.Image, strength: float) -> Image.Image:
    """The room `style`, as it is shipped."""
    try:
        return style.transfer(content, look, strength)
    except (ValueError, OSError) as error:
        raise StudioError(f"the style cannot be carried over: {error}", "leave out --sref") from error
