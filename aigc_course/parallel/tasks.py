"""Small trainings of the course's own models, whole and importable, for any number of processes."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import models, runtime
from aigc_course.parallel.ways import Task

TOKENS = 16  # in each row; a row without padding counts as every other


def token_loss(answer: Any, tokens: Tensor) -> Tensor:
    """Nats for each next token: the answer is a model's, or logits (B, T, V); tokens: (B, T)."""
    logits = getattr(answer, "logits", answer)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def squared_error(answer: Any, targets: Tensor) -> Tensor:
    """The mean square of what is wrong; the answer is a model's `sample`, or a tensor."""
    return F.mse_loss(getattr(answer, "sample", answer), targets)


def language_task(width: int = 32, layers: int = 4, batch: int = 8, **dials: Any) -> Task:
    """A GPT-2 of the course's kind learns rows of tokens."""
    tokens = _tokens(batch)
    return Task(partial(language_model, width, layers), tokens, tokens, token_loss, **dials)


def picture_task(width: int = 32, layers: int = 2, batch: int = 4, **dials: Any) -> Task:
    """A captioner of the course's kind learns rows of tokens for pictures (of noise)."""
    tokens, side = _tokens(batch), models.PICTURE
    pictures = torch.randn(batch, 3, side, side, generator=runtime.generator(1))
    inputs = {"pixel_values": pictures, "decoder_input_ids": tokens, "use_cache": False}
    return Task(partial(captioner, width, layers), inputs, tokens, token_loss, **dials)


def denoising_task(widths: tuple[int, ...] = (16, 32), batch: int = 4, **dials: Any) -> Task:
    """A U-Net of the course's kind learns to name the noise; the noise is drawn before the batch is dealt out."""
    draw = runtime.generator(1)
    z, noise = torch.randn(2, batch, *models.LATENT, generator=draw)
    text = torch.randn(batch, *models.TEXT, generator=draw)
    inputs = {"sample": z + noise, "timestep": torch.arange(batch), "encoder_hidden_states": text}
    return Task(partial(models.denoiser, tuple(widths)), inputs, noise, squared_error, **dials)


def tower_task(width: int = 512, layers: int = 8, batch: int = 512, **dials: Any) -> Task:
    """Equal layers, one on another, learn rows of numbers: what a pipeline likes best, as its stages cost the same."""
    x, targets = torch.randn(2, batch, width, generator=runtime.generator(0))
    return Task(partial(tower, width, layers), x, targets, squared_error, **dials)


def tower(width: int, layers: int) -> nn.Module:
    """New layers, each as wide as all others."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(layers)))


def language_model(width: int, layers: int) -> nn.Module:
    """A new, small GPT-2 over the course's tokens."""
    return models.language_model(models.load("tokenizer"), width, layers)


def captioner(width: int, layers: int) -> nn.Module:
    """A new, small captioner over the course's tokens."""
    eyes = models.clip(models.load("tokenizer"), width, layers)
    return models.captioner(eyes, language_model(width, layers))


def _tokens(batch: int) -> Tensor:
    return torch.randint(4, 64, (batch, TOKENS), generator=runtime.generator(0))
