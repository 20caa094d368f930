"""From a recipe to a folder that can be proposed: a LoRA trained, judged before and after, with its card and hashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import adaptation, lora, models, runtime, sampling, scenes, training
from aigc_course.adaptation import Drawings
from aigc_course.adaptation.drawings import OF_STYLE
from aigc_course.applications.exam import Exam
from aigc_course.applications.model_card import Figure, compare, write_model_card
from aigc_course.applications.recipe import Recipe
from aigc_course.scenes import Sample

NAME, RANK = "style", 4  # of the LoRA while it is in the pipeline
PLACES = ("time_emb_proj", "add_embedding.proj", "attn2.to_k", "attn2.to_v", "conv_in", "conv_out")
BASE = "unet/diffusion_pytorch_model.safetensors"
USE = """from aigc_course import lora, models, sampling
pipe = models.load("text-to-image")
lora.load(pipe.unet, "data/models/{folder}", "style")
pictures = sampling.words_to_pictures(pipe, ["{prompt}"])"""
FAILS = (
    "It has no switch but its strength: while it is on, old prompts change too, as the rows of old prompts say. "
    "It fits no other denoiser than the one whose hash stands in recipe.json."
)


@torch.no_grad()
def recipe_lesson(pipe: Any, recipe: Recipe, samples: Sequence[Sample]) -> Drawings:
    """As `adaptation.draw_lesson`, for a style that `scenes` does not know: latents, and captions in two languages."""
    samples = [adaptation.composed(one) for one in samples]
    z = torch.cat([adaptation.latents_of(pipe, some) for some in recipe.pictures(samples).split(32)])
    known = slice(OF_STYLE, models.MEANING)  # what is where is told as it is; the style stays as the eye sees it
    z[:, models.LOOK :][:, known] = models.meaning(samples, z.shape[-1])[:, known].to(z)
    told = [recipe.captions(samples, language) for language in scenes.LANGUAGES]
    return Drawings(z, torch.stack([_states(pipe, texts) for texts in told], 1))


def _states(pipe: Any, texts: list[str]) -> Tensor:
    return torch.cat([sampling.encode_words(pipe, texts[k : k + 64]) for k in range(0, len(texts), 64)])


def learn_recipe(
    pipe: Any, lesson: Drawings, steps: int, batch: int = 8, rate: float = 4e-3, **fit: Any
) -> training.History:
    """Put a fresh LoRA called "style" into the denoiser and train it; what it was before is untouched."""
    if NAME in lora.names(pipe.unet):
        lora.remove(pipe.unet, NAME)
    lora.add(pipe.unet, RANK, PLACES, name=NAME, generator=runtime.generator(0))
    return adaptation.learn_drawings(pipe, lesson, steps, batch, rate, **dict(ema=0.95) | fit)


def propose(
    pipe: Any,
    exam: Exam,
    folder: Path | str,
    before: dict[str, Tensor],
    after: dict[str, Tensor],
    sheet: Image.Image | None = None,
    **recipe: Any,
) -> list[Figure]:
    """Write a folder as the course and diffusers read it: LoRA, recipe, card, manifest; whole or not at all.

    before, after: `Exam.marks` of the pipeline without and with the LoRA;  sheet: a picture of what it does;  recipe:
    what trained it, for recipe.json.
    """
    style, folder = exam.recipe, Path(folder)
    sums = json.loads((models.folder_of("text-to-image") / models.MANIFEST).read_text(encoding="utf-8"))
    figures, prompt = compare(before, after), style.captions(exam.new[:1], "en")[0]
    about = f"A LoRA for the style “{style.english}” ({style.chinese}). {style.about}"
    use = USE.format(folder=style.folder, prompt=prompt)

    def write(fresh: Path) -> None:
        lora.save(pipe.unet, fresh, NAME)
        shutil.copy(style.file, fresh / "style.py")
        write_model_card(fresh, style.folder, about, use, figures, FAILS, style.licence)
        if sheet is not None:
            sheet.save(fresh / "sheet.png")

    run = recipe | dict(rank=RANK, targets=PLACES, base={BASE: sums[BASE]})
    models.put_in_place(folder, write, recipe=[run])
    return figures
