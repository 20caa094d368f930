"""Loads a member of the cast: the small one that is shipped, or the public checkpoint in the same role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_course import runtime
from aigc_course.models.hub import checkpoint_folder
from aigc_course.models.storage import folder_of, quiet, verify
from aigc_course.models.upscaler import Upscaler

ALSO = {"text-to-image-fast": "text-to-image"}  # roles that another member of the cast has too


def load(name: str, source: str = "tiny", download: bool = False, dtype: torch.dtype | None = None) -> Any:
    """A member of the cast ("text-to-image", "tokenizer", "lm", …), ready to be asked, on this machine's device.

    source: "tiny" is the one that the course ships, its files checked; "hub" is the public checkpoint in the same
        role (`models.CHECKPOINTS`).  The tiny "text-to-image" is good in few steps too, so "text-to-image-fast" names
        the same one.
    download: only with this is the network touched, and only for the files that this machine does not have.
    dtype: the number format, None for that of `runtime.dtype`; what is to be trained further wants `torch.float32`.
    """
    dtype = dtype or runtime.dtype()
    if source == "hub":
        return _opened(checkpoint_folder(name, download), dtype)
    if source != "tiny":
        raise ValueError(f"source={source!r}: choose 'tiny' (shipped with the course) or 'hub' (public checkpoints)")
    if download:
        raise ValueError("the tiny models are in data/models already; to download a public one, add source='hub'")
    folder = folder_of(ALSO.get(name, name))
    verify(folder)
    return _opened(folder, dtype)


def _opened(folder: Path, dtype: torch.dtype) -> Any:
    """Whatever a folder holds: a pipeline, a network or, where there is neither, a tokenizer."""
    with quiet():
        if (folder / "model_index.json").is_file():
            return _pipeline(folder, dtype)
        if (folder / "config.json").is_file():
            return _network(folder, dtype)
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def _pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """A pipeline of diffusers, of the class that its index names; half-precision files where it has no others.

    A safety checker is left where it lies: it reads pictures through torchvision, which the course does without.
    """
    from diffusers import DiffusionPipeline

    half = "fp16" if any(folder.glob("unet/*.fp16.safetensors")) else None
    without = dict(safety_checker=None, feature_extractor=None)
    pipe = DiffusionPipeline.from_pretrained(
        folder, dtype=dtype, variant=half, use_safetensors=True, local_files_only=True, **without
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(runtime.device())


def _network(folder: Path, dtype: torch.dtype) -> nn.Module:
    """A network of the class that its configuration names, ours or one of transformers, ready to be asked."""
    import transformers

    (architecture,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    if architecture == Upscaler.__name__:
        model = Upscaler.from_pretrained(folder, dtype)
    else:
        kind = getattr(transformers, architecture)
        model = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True)
    return model.to(runtime.device()).eval()
