"""Builds, saves and loads the cast, all stock library classes; weights in `data/models` are checked by hash."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_course import runtime

PICTURE = 64  # height and width in pixels of what the cast draws
LATENT = (12, 8, 8)  # channels, height, width of a picture's latent
TEXT = (32, 128)  # tokens a prompt may have, width of their vectors
MANIFEST = "manifest.json"


# --- the cast -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PatchCode:
    """The best linear code of a picture: the leading principal components of its square patches.

    It needs no training; the autoencoder's encoder learns to compute it, the decoder to undo it, so a denoiser can
    be trained on codes before either is ready.  A component of spread s is divided by √s: coarse structure stays
    larger than detail, and a denoiser settles it first.  mean: (D,);  basis: (D, C);  spread: (C,), D = 3 · patch².
    """

    mean: torch.Tensor
    basis: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def fit(cls, pictures: torch.Tensor, channels: int = LATENT[0], patch: int = PICTURE // LATENT[1]) -> PatchCode:
        """Measure the code on pictures (B, 3, H, W); a few thousand are plenty."""
        rows = _patches(pictures, patch).flatten(0, 2).double()
        mean = rows.mean(0)
        variance, vectors = torch.linalg.eigh(torch.cov((rows - mean).T))
        basis, root = vectors.flip(1)[:, :channels], variance.flip(0)[:channels].sqrt()
        basis = basis * basis.sum(0).sign()  # eigenvectors have no sign of their own: brighter is positive
        return cls(mean.float(), basis.float().contiguous(), (root.sqrt() * root.mean().sqrt()).float())

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] → (B, C, h, w)."""
        patch = math.isqrt(len(self.mean) // 3)
        code = (_patches(pictures, patch) - self.mean) @ self.basis / self.spread  # (B, h, w, C)
        return code.permute(0, 3, 1, 2).contiguous()

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """The linear way back, to the mean of all pictures with this code: (B, C, h, w) → (B, 3, H, W)."""
        patch, (b, _, h, w) = math.isqrt(len(self.mean) // 3), code.shape
        rows = (code.permute(0, 2, 3, 1) * self.spread) @ self.basis.T + self.mean
        grid = rows.view(b, h, w, 3, patch, patch).permute(0, 3, 1, 4, 2, 5)
        return grid.reshape(b, 3, h * patch, w * patch)


def _patches(pictures: torch.Tensor, patch: int) -> torch.Tensor:
    b, c, h, w = pictures.shape
    grid = pictures.view(b, c, h // patch, patch, w // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(b, h // patch, w // patch, c * patch * patch)


def autoencoder(widths: tuple[int, ...] = (16, 32, 64, 128), channels: int = LATENT[0]) -> nn.Module:
    """A new `AutoencoderKL`: each width after the first halves the picture; `channels` is the latent's depth.

    Its posterior is narrow from the start (σ = 0.05): the latent is a code, and only a little noisy.
    """
    from diffusers import AutoencoderKL

    n = len(widths)
    model = AutoencoderKL(
        sample_size=PICTURE,
        block_out_channels=widths,
        latent_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        model.quant_conv.weight[channels:] = 0
        model.quant_conv.bias[channels:] = 2 * math.log(0.05)
    return model


def text_encoder(tokenizer: Any, layers: int = 3) -> nn.Module:
    """A new `CLIPTextModel` of the width that the denoiser reads, for a tokenizer's vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    tokens, width = TEXT
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def denoiser(widths: tuple[int, ...] = (64, 128), layers: int = 1) -> nn.Module:
    """A new `UNet2DConditionModel` over our latents, with cross-attention to the text at every resolution."""
    from diffusers import UNet2DConditionModel

    n = len(widths)
    return UNet2DConditionModel(
        sample_size=LATENT[1],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D",) * n,
        up_block_types=("CrossAttnUpBlock2D",) * n,
        cross_attention_dim=TEXT[1],
        attention_head_dim=4,  # diffusers' old name for the number of heads
        norm_num_groups=16,
    )


def scheduler() -> Any:
    """The noise schedule of the cast: cosine, v-prediction, sampled by DDIM from the last step down."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def pipeline(vae: nn.Module, text: nn.Module, tokenizer: Any, unet: nn.Module) -> Any:
    """The parts as one stock `StableDiffusionPipeline`."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


# --- save, load ---------------------------------------------------------------------------------------------
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _contents(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)


def folder_of(name: str) -> Path:
    """Where the weights of one member of the cast lie."""
    return runtime.data_dir() / "models" / name


def seal(folder: Path) -> None:
    """Write the manifest of a model's folder: the sha256 of each of its files."""
    sums = {file: _digest(folder / file) for file in _contents(folder)}
    (folder / MANIFEST).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8", newline="\n")


def verify(folder: Path) -> None:
    """Compare a model's files with its manifest; ValueError names the first file that is damaged or missing."""
    try:
        sums = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = sorted(f.parent.name for f in folder.parent.glob(f"*/{MANIFEST}"))
        raise ValueError(
            f"no model called {folder.name!r} in {folder.parent.name}/; there are: {', '.join(known) or 'none'}"
        ) from None
    except (TypeError, ValueError):  # not UTF-8, not JSON, not a dictionary
        raise ValueError(
            f"{folder.name}/{MANIFEST} is damaged; restore it with: git checkout -- data/models/{folder.name}"
        ) from None
    for file, expected in sums.items():
        if not (folder / file).is_file() or _digest(folder / file) != expected:
            state = "damaged" if (folder / file).is_file() else "missing"
            raise ValueError(
                f"{folder.name}/{file} is {state}; restore it with: git checkout -- data/models/{folder.name}"
            )


def save(pipe: Any, name: str, card: str) -> Path:
    """Ship a pipeline as `data/models/<name>`: weights, model card (Markdown) and manifest; the folder is returned.

    Denoiser and autoencoder are stored in half precision and load in full; the text encoder stays as it is, since
    transformers loads weights in the precision in which they lie.
    """
    folder, fresh = folder_of(name), folder_of(f"{name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    pipe.unet.half()
    pipe.vae.half()
    pipe.save_pretrained(fresh)
    (fresh / "README.md").write_text(card, encoding="utf-8", newline="\n")
    seal(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    return fresh.rename(folder)


def load(name: str) -> Any:
    """A member of the cast ("text-to-image", "tokenizer"), its files checked, on this machine's device."""
    folder = folder_of(name)
    verify(folder)
    with _quiet():
        if name == "tokenizer":
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(folder)
        from diffusers import DiffusionPipeline

        pipe = DiffusionPipeline.from_pretrained(folder, dtype=runtime.dtype(), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(runtime.device())


@contextmanager
def _quiet():
    """No bars for loads of a second, no advice to install torchvision, which the course does without."""
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    level = transformers.get_verbosity()
    transformers.set_verbosity_error()
    shown = [library for library in (diffusers, transformers) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        transformers.set_verbosity(level)
        for library in shown:
            library.enable_progress_bar()
