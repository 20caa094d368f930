"""Builds, saves and loads the cast, stock library classes wherever one fits; `data/models` is checked by hash."""

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
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from aigc_course import runtime

PICTURE = 128  # height and width in pixels of what the cast draws
LATENT = (16, 16, 16)  # channels, height, width of a picture's latent
TEXT = (32, 128)  # tokens a prompt may have, width of their vectors
MANIFEST, RECIPE = "manifest.json", "recipe.json"


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


def autoencoder(widths: tuple[int, ...] = (24, 48, 64, 96), channels: int = LATENT[0]) -> nn.Module:
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


def clip(tokenizer: Any, width: int = 128, layers: int = 4, patch: int = 16) -> nn.Module:
    """A new `CLIPModel`: pictures and words in one space of `width` numbers; a small ViT and a small text encoder."""
    from transformers import CLIPConfig, CLIPModel

    towers = dict(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4)
    text = text_encoder(tokenizer, layers).config.to_dict() | towers
    vision = towers | dict(image_size=PICTURE, patch_size=patch)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))


def captioner(clip: nn.Module, language_model: nn.Module) -> nn.Module:
    """A `VisionEncoderDecoderModel`: the eyes of a CLIP, the tongue of a GPT-2, and new attention between them."""
    from transformers import CLIPVisionModel, GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel

    eyes = CLIPVisionModel(clip.config.vision_config)
    eyes.load_state_dict(clip.vision_model.state_dict())
    config = GPT2Config(**language_model.config.to_dict() | {"add_cross_attention": True, "is_decoder": True})
    tongue = GPT2LMHeadModel(config)
    tongue.load_state_dict(language_model.state_dict(), strict=False)  # all but the attention to pictures
    model = VisionEncoderDecoderModel(encoder=eyes, decoder=tongue)
    model.config.decoder_start_token_id = config.bos_token_id
    model.config.pad_token_id = config.pad_token_id
    return model


def language_model(tokenizer: Any, width: int = 128, layers: int = 4) -> nn.Module:
    """A new `GPT2LMHeadModel` over a tokenizer's vocabulary, for captions of up to `TEXT[0]` tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=TEXT[0],
        n_embd=width,
        n_layer=layers,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return GPT2LMHeadModel(config)


def denoiser(widths: tuple[int, ...] = (64, 128, 160), layers: int = 1) -> nn.Module:
    """A new `UNet2DConditionModel` over our latents; the words reach it in two ways.

    Each token through cross-attention, at every resolution but the finest; and all of them, pooled, beside the step,
    which shifts and scales every block (`addition_embed_type`; Perez et al. 2018): colour, place and style are learned
    much sooner that way.
    """
    from diffusers import UNet2DConditionModel

    n = len(widths) - 1
    return UNet2DConditionModel(
        sample_size=LATENT[1],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * n),
        up_block_types=(*("CrossAttnUpBlock2D",) * n, "UpBlock2D"),
        cross_attention_dim=TEXT[1],
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
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


class Upscaler(nn.Module):
    """Four times as many pixels each way, for pictures of any size: (B, 3, H, W) in [-1, 1] → (B, 3, 4H, 4W).

    Residual convolutions on the small picture (EDSR, Lim et al. 2017); then the features of each place become its
    4 × 4 pixels (Shi et al. 2016), and are added to a bicubic enlargement, which is all that an untrained one makes.
    No layer knows the whole picture: a pixel depends on those at most `reach` small ones away, so that a picture made
    in overlapping tiles is the picture made at once.  (The stock class for this, `Swin2SRForImageSuperResolution`,
    takes several times as long on a processor at the same size.)
    """

    times = 4

    def __init__(self, width: int = 48, blocks: int = 8):
        super().__init__()
        self.settings = {"width": width, "blocks": blocks}
        self.reach = 2 + 2 * blocks  # one for each convolution, of 3 × 3; the bicubic enlargement looks 2 far
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, 3 * self.times**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The enlarged pictures; what goes beyond [-1, 1] is left to be clipped."""
        smooth = F.interpolate(pictures, scale_factor=self.times, mode="bicubic")
        detail = self.last(self.body(self.first(pictures)))  # (B, 48, H, W)
        return smooth + F.pixel_shuffle(detail, self.times)

    def save_pretrained(self, folder: Path | str) -> None:
        """The layout of the stock classes: the weights, and in config.json what builds the network around them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({n: v.cpu().contiguous() for n, v in self.state_dict().items()}, folder / "model.safetensors")
        config = json.dumps({"architectures": [type(self).__name__]} | self.settings, indent=2)
        (folder / "config.json").write_text(config + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def from_pretrained(cls, folder: Path | str, dtype: torch.dtype = torch.float32) -> Upscaler:
        """The network that `save_pretrained` wrote, in the number format asked for."""
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model = cls(config["width"], config["blocks"])
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.to(dtype)


class _Residual(nn.Module):
    """Two convolutions added to what came in, without norms: these would mix places, and shift colours."""

    def __init__(self, width: int):
        super().__init__()
        inner, outer = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(inner, nn.ReLU(), outer)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.layers(maps)


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


def save(model: Any, name: str, card: str, tokenizer: Any = None, recipe: list[dict] | None = None) -> Path:
    """Ship a pipeline, or a model and its tokenizer, as `data/models/<name>`; the folder is returned.

    With it go the model card (Markdown), the recipe (the settings of each run that trained it, one after the other)
    and the manifest.  All weights are stored in half precision and load in full.
    """
    folder, fresh = folder_of(name), folder_of(f"{name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in model.components.values() if hasattr(model, "components") else [model]:
        if isinstance(part, nn.Module):
            part.half()
    with _quiet():
        for part in filter(None, [model, tokenizer]):
            part.save_pretrained(fresh)
    for file in fresh.rglob("config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)  # where it was loaded from, on the machine that trained it
        if "dtype" in config:
            config["dtype"] = "float32"  # else transformers loads the weights as they lie
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    (fresh / "README.md").write_text(card, encoding="utf-8", newline="\n")
    if recipe:
        (fresh / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8", newline="\n")
    seal(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    return fresh.rename(folder)


def recipe_of(name: str) -> list[dict]:
    """The settings of the runs that trained a shipped model, in order; none where it does not tell."""
    file = folder_of(name) / RECIPE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def load(name: str) -> Any:
    """A member of the cast ("text-to-image", "tokenizer", "lm", …), its files checked, on this machine's device."""
    folder = folder_of(name)
    verify(folder)
    with _quiet():
        if name == "tokenizer":
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(folder)
        if (folder / "config.json").is_file():
            return _network(folder)
        from diffusers import DiffusionPipeline

        pipe = DiffusionPipeline.from_pretrained(folder, dtype=runtime.dtype(), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(runtime.device())


def _network(folder: Path) -> nn.Module:
    """A network of the class that its configuration names, ours or one of transformers, ready to be asked."""
    import transformers

    (architecture,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    if architecture == Upscaler.__name__:
        model = Upscaler.from_pretrained(folder, runtime.dtype())
    else:
        kind = getattr(transformers, architecture)
        model = kind.from_pretrained(folder, dtype=runtime.dtype(), local_files_only=True)
    return model.to(runtime.device()).eval()


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
