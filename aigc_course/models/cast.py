"""Builds the networks of the cast, all stock library classes, new and untrained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from aigc_course.models.meaning import MEANING

PICTURE = 128  # height and width in pixels of what the cast draws
LOOK = 16  # channels of a latent that say how a picture looks; the others say what is where
LATENT = (LOOK + MEANING, 16, 16)  # channels, height, width of a picture's latent
TEXT = (32, 128)  # tokens a prompt may have, width of their vectors
GELU = {"clip": "gelu", "gpt2": "gelu_pytorch_tanh"}  # in one kernel; the libraries' own choices take several


@dataclass(frozen=True)
class PatchCode:
    """The best linear code of a picture: the leading principal components of its square patches.

    It is the look of a picture in its latent.  It needs no training; the autoencoder's encoder learns to compute it,
    the decoder to undo it, so a denoiser can be trained on codes before either is ready.  A component of spread s is
    divided by √s: coarse structure stays larger than detail, and a denoiser settles it first.
    mean: (D,);  basis: (D, C);  spread: (C,), D = 3 · patch².
    """

    mean: torch.Tensor
    basis: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def fit(cls, pictures: torch.Tensor, channels: int = LOOK, patch: int = PICTURE // LATENT[1]) -> PatchCode:
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
        hidden_act=GELU["clip"],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def clip(tokenizer: Any, width: int = 128, layers: int = 4, patch: int = 16) -> nn.Module:
    """A new `CLIPModel`: pictures and words in one space of `width` numbers; a small ViT and a small text encoder."""
    from transformers import CLIPConfig, CLIPModel

    towers = dict(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4)
    towers["hidden_act"] = GELU["clip"]
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
        activation_function=GELU["gpt2"],
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
