"""A captioner from labelled pictures: the batches, the loss, and eyes that look once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aigc_course import losses, scenes
from aigc_course.scenes import Sample


class Labelled:
    """Fills a batch from pictures and what people say of them: one caption of each, another in each pass.

    pictures: uint8 (N, 3, H, W), or what the eyes made of them (N, L, D);  captions: for each picture one or more,
    each beginning with the mark of its language, as in "<en>a red cat".
    """

    def __init__(self, tokenizer: Any, pictures: Tensor, captions: Sequence[Sequence[str]]):
        if len(pictures) != len(captions):
            raise ValueError(f"{len(pictures)} pictures, captions of {len(captions)}; give each picture its own")
        silent = [number for number, told in enumerate(captions) if not told]
        if silent:
            raise ValueError(f"picture {silent[0]} has no caption: leave out those without, or write one")
        self.tokenizer, self.pictures, self.captions = tokenizer, pictures, captions

    def __call__(self, indices: Tensor, turn: int) -> dict[str, Tensor]:
        texts = [random.Random(f"{turn}/{index}").choice(self.captions[index]) for index in indices.tolist()]
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt").input_ids
        return {"pictures": self.pictures[indices], "tokens": tokens}


def told(drawn: Sequence[Sample], language: str = "en", ways: int = 5) -> list[list[str]]:
    """Each scene in several ways, the language named before: labels for `Labelled`, the same for the same scene."""
    return [
        [scenes.marked_caption(one.scene, random.Random(f"{one.seed}/{way}"), language) for way in range(ways)]
        for one in drawn
    ]


def awaken(captioner: Any) -> None:
    """Draws questions, keys and values of the new attention at 1 / √width, as of a linear layer: it soon finds its way.

    GPT-2 draws all weights at 0.02, which is right for its own width of 768 and over; in a narrow tongue the attention
    that no pretraining has widened begins nearly blind.
    """
    for block in captioner.decoder.transformer.h:
        for layer in (block.crossattention.q_attn, block.crossattention.c_attn):
            nn.init.normal_(layer.weight, std=layer.weight.shape[0] ** -0.5)


def caption_loss(pad: int) -> Callable[[nn.Module, dict], Tensor]:
    """Nats for each token of a `Labelled` batch, given the picture and the language; padding is left out."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        tokens = batch["tokens"]
        words = model.decoder.get_input_embeddings()(tokens[:, :-1])  # padding comes last, where no word looks: no mask
        logits = model(**_looked(batch["pictures"]), decoder_inputs_embeds=words).logits[:, 1:]
        return losses.cross_entropy(logits.float(), tokens[:, 2:], ignore=pad)

    return loss


def by_length(pad: int, parts: int = 2) -> Callable[[nn.Module, dict], Tensor]:
    """`caption_loss`, the shorter captions of a batch read apart from the longer: less padding, a fifth less work."""
    of_part = caption_loss(pad)

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        tokens, pictures = batch["tokens"], batch["pictures"]
        lengths = (tokens != pad).sum(1)
        nats = [
            of_part(model, {"pictures": pictures[rows], "tokens": tokens[rows, : lengths[rows].max()]})
            * (lengths[rows] - 2).sum()  # <s> and the language are given
            for rows in lengths.argsort().chunk(parts)
        ]
        return sum(nats) / (lengths - 2).sum()

    return loss


def _looked(pictures: Tensor) -> dict[str, Any]:
    """Pictures as a `VisionEncoderDecoderModel` takes them: bytes to be looked at, or what was seen already."""
    if pictures.ndim == 4:
        return {"pixel_values": pictures.float() / 127.5 - 1}
    from transformers.modeling_outputs import BaseModelOutput

    return {"encoder_outputs": BaseModelOutput(pictures)}


@torch.no_grad()
def seen(model: Any, pictures: Tensor) -> Tensor:
    """What frozen eyes make of pictures, uint8 (N, 3, H, W): (N, L, D), computed once for all passes."""
    looks = [model.encoder(some.to(model.device).float() / 127.5 - 1).last_hidden_state for some in pictures.split(128)]
    return torch.cat(looks)
