"""Builds, saves and loads the cast: shipped weights, checked by hash, or public checkpoints; stock library classes.

`load("text-to-image")` is the model that the course ships; `load("text-to-image", source="hub")` is a large public one
in the same role, which is never downloaded unless `download=True` asks for it.
"""

from aigc_course.models.cast import (
    LATENT,
    LOOK,
    PICTURE,
    TEXT,
    PatchCode,
    autoencoder,
    captioner,
    clip,
    denoiser,
    language_model,
    pipeline,
    scheduler,
    text_encoder,
)
from aigc_course.models.hub import CHECKPOINTS, Checkpoint, checkpoint_folder
from aigc_course.models.loading import load
from aigc_course.models.meaning import MEANING, meaning
from aigc_course.models.storage import MANIFEST, RECIPE, folder_of, put_in_place, recipe_of, save, seal, verify
from aigc_course.models.stored import Stored
from aigc_course.models.upscaler import Upscaler

__all__ = [
    "CHECKPOINTS",
    "LATENT",
    "LOOK",
    "MANIFEST",
    "MEANING",
    "PICTURE",
    "RECIPE",
    "TEXT",
    "Checkpoint",
    "PatchCode",
    "Stored",
    "Upscaler",
    "autoencoder",
    "captioner",
    "checkpoint_folder",
    "clip",
    "denoiser",
    "folder_of",
    "language_model",
    "load",
    "meaning",
    "pipeline",
    "put_in_place",
    "recipe_of",
    "save",
    "scheduler",
    "seal",
    "text_encoder",
    "verify",
]
