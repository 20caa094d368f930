"""What a picture depends on beside its job: the models by their hashes, the software by its versions, the machine."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from typing import Any

import torch

from aigc_course import __version__, models, runtime
from aigc_course.studio.savings import HUB


def facts_of(names: Iterable[str], model: Any) -> dict[str, Any]:
    """Of today.  names: of the models that are used;  model: the first of them, a network or a pipeline."""
    weights = getattr(model, "unet", model)
    dtype = str(next(weights.parameters()).dtype).removeprefix("torch.")
    return {"models": {one: fingerprint(one) for one in names}, "versions": versions(), "dtype": dtype} | machine()


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


def machine() -> dict[str, Any]:
    """What of this machine they depend on."""
    return {"device": str(runtime.device()), "threads": runtime.threads()}
