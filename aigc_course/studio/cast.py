"""The models that are loaded: which of them draws, what memory is saved with it, and how that is changed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import lora, models
from aigc_course.studio.events import Event, StudioError
from aigc_course.studio.job import LoRA
from aigc_course.studio.preview import Preview
from aigc_course.studio.savings import HUB, Savings, fitted

MODEL = "text-to-image"


class Cast:
    """Each model is loaded once, when it is needed.

    load: gives a model of the cast by name;  drawing: the name of the one that draws, of the cast or a public one;
    savings: what is saved with it.
    """

    def __init__(self, load: Callable[..., Any], savings: Savings):
        self._load, self.drawing, self.savings = load, MODEL, savings
        self.models: dict[str, Any] = {}
        self._previews: dict[str, Preview] = {}

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
                raise StudioError.of(error, "choose another model") from error
            self.models[name] = fitted(some, self.savings) if name == self.drawing else some
        return self.models[name]

    def preview(self, pipe: Any, name: str, x0: Tensor) -> list[Image.Image]:
        """Latents as small, rough pictures; a listener may ask from anywhere."""
        with torch.no_grad():
            if name not in self._previews:
                self._previews[name] = Preview.fit(pipe)
            return self._previews[name](x0)

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
        model = model or self.drawing
        _refuse_unknown(model)
        if download and model in HUB:
            yield Event("loading", sentence=f"fetching {model} from the hub")
            _fetch(model, cancel or threading.Event())
        self.take(model, savings or self.savings)
        try:
            yield from self.loading(model)
            self.model(model)
        except BaseException:
            self.take(*before)
            raise
        said = f"{self.drawing} draws now"
        yield Event("told", answer=f"{said}, with {self.savings.sentence}" if self.savings.sentence else said)

    def take(self, model: str, savings: Savings) -> None:
        """From the next job on; a model whose weights would have to change is let go, and loaded anew when needed."""
        if model != self.drawing or savings.weights != self.savings.weights:
            self.models.pop(self.drawing, None)
            self.models.pop(model, None)
            gc.collect()
        if model != self.drawing:
            self._previews.clear()
        self.drawing, self.savings = model, savings


def _refuse_unknown(model: str) -> None:
    known = (MODEL, *HUB)
    if model not in known:
        raise StudioError(f"there is no model {model!r:.80}", f"choose one of: {', '.join(known)}")


def _fetch(repository: str, cancel: threading.Event) -> None:
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
        raise StudioError.of(failed[0], "ask again later") from failed[0]


def wear(pipe: Any, loras: Sequence[LoRA]) -> None:
    """Put the LoRAs of a job on, and take those of earlier jobs off."""
    here = lora.names(pipe.unet)
    for one in loras:
        if one.name not in here:
            folder = models.folder_of(f"lora-{one.name}")
            if not folder.is_dir():
                known = ", ".join(shipped_loras())
                raise StudioError(f"there is no LoRA {one.name!r}", f"use one of: {known or 'none'}")
            lora.load(pipe.unet, folder, one.name)
    if lora.names(pipe.unet):
        lora.combine(pipe.unet, {one.name: one.weight for one in loras})


def shipped_loras() -> list[str]:
    """Names of the LoRAs in data/models."""
    folders = models.folder_of("x").parent.glob("lora-*")
    return sorted(folder.name.removeprefix("lora-") for folder in folders if folder.is_dir())
