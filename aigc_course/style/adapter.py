"""An image-prompt adapter (IP-Adapter, Ye et al. 2023): a picture in the place of style words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aigc_course import diffusion, models

FILE = "ip-adapter.safetensors"
TOKENS = 4  # as many as the layout of `load_ip_adapter` has for one picture
LATE = 1.5  # how steps are drawn in the lesson, as `losses.denoising` has it: style is settled in much noise
State = dict[str, dict[str, Tensor]]  # "image_proj" and "ip_adapter", the two parts of that layout


def new_adapter(unet: nn.Module, vector: int, generator: torch.Generator | None = None) -> State:
    """An untrained adapter: a picture's vector becomes four tokens, and each attention gets keys and values for them.

    These start as copies of those for words.  "image_proj": (B, vector) -> (B, 4, width of the words);  "ip_adapter":
    `to_k_ip` and `to_v_ip` by number of the attention layer, as diffusers counts them.
    """
    width = unet.config.cross_attention_dim
    proj = torch.randn(TOKENS * width, vector, generator=generator) / math.sqrt(vector)
    image_proj = {"proj.weight": proj, "proj.bias": torch.zeros(TOKENS * width)}
    image_proj |= {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    own = {}
    for number, layer in _attentions(unet).items():
        own |= {f"{number}.to_{what}_ip.weight": getattr(layer, f"to_{what}").weight.detach().clone() for what in "kv"}
    return {"image_proj": image_proj, "ip_adapter": own}


def _attentions(unet: nn.Module) -> dict[int, nn.Module]:
    """The layers that read words, by the number that diffusers gives them."""
    names = enumerate(unet.attn_processors)
    return {n: unet.get_submodule(name.removesuffix(".processor")) for n, name in names if "attn2" in name}


def put(unet: nn.Module, state: State) -> list[nn.Parameter]:
    """Put an adapter into a denoiser, as `pipe.load_ip_adapter` does; its parameters are returned, all else frozen."""
    from diffusers.utils import logging

    unet.requires_grad_(False)
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns of a cast that changes nothing
    unet._load_ip_adapter_weights([state])
    logging.set_verbosity(level)
    parts = [unet.encoder_hid_proj, *(layer.processor for layer in _attentions(unet).values())]
    return [p.requires_grad_(True) for part in parts for p in part.parameters()]


def state_of(unet: nn.Module) -> State:
    """The adapter that a denoiser has, in the two parts that `load_ip_adapter` reads."""
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    image_proj = {n.replace("image_embeds", "proj"): v.detach() for n, v in projection.state_dict().items()}
    own = {}
    for number, layer in _attentions(unet).items():
        for what in "kv":
            (linear,) = getattr(layer.processor, f"to_{what}_ip")
            own[f"{number}.to_{what}_ip.weight"] = linear.weight.detach()
    return {"image_proj": image_proj, "ip_adapter": own}


@contextmanager
def adapted(pipe: Any, state: State, scale: float = 1.0) -> Iterator[None]:
    """Inside, a pipeline has the adapter, as strong as its scale; afterwards all is as it was."""
    unet = pipe.unet
    before, kind = dict(unet.attn_processors), unet.config.encoder_hid_dim_type
    put(unet, state)
    pipe.set_ip_adapter_scale(scale)
    try:
        yield
    finally:
        unet.set_attn_processor(before)
        unet.encoder_hid_proj = None
        unet.register_to_config(encoder_hid_dim_type=kind)


def objective(
    unet: nn.Module,
    batch: dict[str, Tensor],
    schedule: diffusion.Schedule,
    generator: torch.Generator,
    teacher: nn.Module,
) -> Tensor:
    """To guess from a picture of a style what the teacher, the denoiser as it was, guesses from the style's word.

    A noisy latent betrays its style long before an eye sees it, so that whoever is asked for its own noise alone, as in
    Ye et al., need not look at the picture; here it is asked for a style that the latent mostly does not have.

    batch: "z" latents in any style;  "told" states of words that tell the wanted style, for the teacher;  "text" of
    those that do not;  "vector" (B, D) of a picture in that style;  "focus" as `losses.denoising` has it.
    """
    t = diffusion.random_steps(schedule, len(batch["z"]), generator, LATE).to(batch["z"].device)
    noisy = diffusion.noised(batch["z"], schedule, t, generator)
    seen = {"image_embeds": [batch["vector"][:, None]]}
    with torch.no_grad():
        wanted = teacher(noisy.x_t, noisy.t, encoder_hidden_states=batch["told"]).sample
    guess = unet(noisy.x_t, noisy.t, encoder_hidden_states=batch["text"], added_cond_kwargs=seen).sample
    return ((guess - wanted).float().square() * batch["focus"]).mean()


# --- the eye ------------------------------------------------------------------------------------------------


def eye(clip: nn.Module | None = None) -> nn.Module:
    """The vision tower of our CLIP, as the stock class with which IP-Adapter reads pictures."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    clip = clip or models.load("clip")
    config = clip.config.vision_config.to_dict() | {"projection_dim": clip.config.projection_dim}
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    tower.vision_model.load_state_dict(clip.vision_model.state_dict())
    tower.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    return tower.to(clip.device).eval()


@torch.no_grad()
def vectors(tower: nn.Module, pictures: Tensor) -> Tensor:
    """What the eye makes of pictures (B, 3, 128, 128): (B, D)."""
    some = next(tower.parameters())
    return torch.cat([tower(pixel_values=part.to(some)).image_embeds for part in pictures.split(64)]).float()


# --- files --------------------------------------------------------------------------------------------------


def save_adapter(state: State, tower: nn.Module, folder: Path) -> None:
    """Write the layout that `pipe.load_ip_adapter(folder, subfolder="", weight_name=FILE)` reads, halved.

    Beside the weights, the eye in `image_encoder/`, and in `feature_extractor/` how a picture is prepared for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halved = {f"{part}.{n}": v.cpu().half().contiguous() for part, of in state.items() for n, v in of.items()}
    save_file(halved, folder / FILE)
    tower.half().save_pretrained(folder / "image_encoder")
    tower.float()
    extractor(tower.config.image_size).save_pretrained(folder / "feature_extractor")


def extractor(side: int) -> Any:
    """Pictures for the eye: `side` pixels, numbers in [-1, 1]."""
    from transformers import CLIPImageProcessorPil

    half = [0.5] * 3
    return CLIPImageProcessorPil(size=side, crop_size=side, image_mean=half, image_std=half)


def load_adapter(name: str = "adapter") -> tuple[State, nn.Module]:
    """The shipped adapter and its eye, their files checked."""
    from transformers import CLIPVisionModelWithProjection

    folder = models.folder_of(name)
    models.verify(folder)
    state: State = {"image_proj": {}, "ip_adapter": {}}
    for key, value in load_file(folder / FILE).items():
        part, _, rest = key.partition(".")
        state[part][rest] = value.float()
    with models.storage.quiet():
        tower = CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder", dtype=torch.float32)
    return state, tower.eval()
