"""Answers to the exercises of notebook 4.2."""

from functools import cache, partial

import torch

from aigc_course import adaptation, checks, losses, memory, models
from exercises import Exercise


def _part(nats, real, total, parts):
    return parts * (nats * real).sum() / total


def _by_mean(nats, real, total, parts):
    return nats[real].mean() * (real.sum() / total) * parts


PART = {
    "mean of means": (lambda n, r, t, k: n[r].mean(), "the part's own mean"),
    "no parts": (lambda n, r, t, k: n[r].sum() / t, "multiply by it first"),
    "divided twice": (lambda n, r, t, k: n[r].sum() / t / k, "multiply, not divide"),
    "sum": (lambda n, r, t, k: n[r].sum(), "that is a sum"),
    "mean with padding": (lambda n, r, t, k: n.mean(), "padding is in that mean"),
    "sum with padding": (lambda n, r, t, k: k * n.sum() / t, "padding is in the sum"),
    "over captions": (lambda n, r, t, k: n[r].sum() / len(n), "divides by the captions"),
    "over places": (lambda n, r, t, k: n[r].sum() / n.numel(), "divides by all places"),
    "each caption": (lambda n, r, t, k: k * (n * r).sum(1) / t, "shape"),
    "a number more": (lambda n, r, t, k: k * n[r].sum() / (t + 1), "Σ nats / Σ tokens"),
}


def _coded(x, levels, scale):
    return levels[(x.unsqueeze(-1) / scale.unsqueeze(-1).clamp(min=1e-38) - levels).abs().argmin(-1)]


def _blocks(x, levels, block, size=lambda rows: rows.abs().amax(1, keepdim=True)):
    rows = x.view(-1, block)
    scale = size(rows)
    return (_coded(rows, levels, scale) * scale).flatten()


def _one_by_one(x, levels, block):
    back = torch.empty_like(x)
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        scale = rows.abs().max()
        for i, value in enumerate(rows):
            nearest = levels[((value / scale if scale else value) - levels).abs().argmin()]
            back[start + i] = nearest * scale
    return back


def _by_library(x, levels, block):
    return memory.decode(*memory.encode(x.view(-1, block), levels), levels).flatten()


def _scale(x, block):
    return x.view(-1, block).abs().amax(1, keepdim=True)


def _below(x, levels, block):
    rows, scale = x.view(-1, block), _scale(x, block)
    return (levels[torch.bucketize(rows / scale.clamp(min=1e-38), levels, right=True) - 1] * scale).flatten()


def _nan(x, levels, block):
    rows, scale = x.view(-1, block), _scale(x, block)
    return ((rows / scale - (rows / scale - _coded(rows, levels, scale))) * scale).flatten()


def _interleaved(x, levels, block):
    rows = x.view(block, -1)
    scale = rows.abs().amax(0)
    return (_coded(rows, levels, scale.expand_as(rows)) * scale).flatten()


BACK = {
    "nothing": (lambda x, levels, block: x, "nothing was rounded"),
    "one scale": (lambda x, levels, block: _blocks(x, levels, len(x)), "one scale for all"),
    "signed": (partial(_blocks, size=lambda rows: rows.amax(1, keepdim=True)), "take abs()"),
    "mean": (partial(_blocks, size=lambda rows: rows.abs().mean(1, keepdim=True)), "not the mean"),
    "not scaled back": (lambda x, v, b: _coded(x.view(-1, b), v, _scale(x, b)).flatten(), "on the way back"),
    "codes": (
        lambda x, v, b: (x.view(-1, b, 1) / _scale(x, b)[..., None] - v).abs().argmin(-1).flatten(),
        "those are the codes",
    ),
    "no scale": (lambda x, v, b: _coded(x, v, torch.ones_like(x)), "divide by the block's scale"),
    "below": (_below, "the level below"),
    "interleaved": (_interleaved, "neighbours"),
    "rows": (lambda x, v, b: _blocks(x, v, b).view(-1, b), "the shape"),
    "0/0": (_nan, "0/0 is NaN"),
    "half": (lambda x, v, b: _blocks(x, v, b) / 2, "it should be"),
}


@cache
def _pad():
    return models.load("tokenizer").pad_token_id


def _mean(model, part):
    return adaptation.caption_loss(_pad())(model, part)


def _weighted(model, part, parts):
    tokens = (part["tokens"][:, 2:] != _pad()).sum()
    return parts * _mean(model, part) * tokens / part["all"]


def _fine(model, parts=8, **how):
    return memory.Plan(partial(_weighted, parts=parts), accumulate=parts, **how)


def _checkpointed(model):
    return _fine(model, 3, checkpointing=True, optimiser=memory.AdamW8bit)


def _frozen(model):
    model.encoder.requires_grad_(False)
    return _fine(model)


def _shrunk(model):
    with torch.no_grad():
        model.decoder.transformer.wte.weight.mul_(1.01)
    return _fine(model)


def _fewer(model):
    """Learns from every second row alone."""

    def loss(model, part):
        tokens = part["tokens"][::2]
        words = model.decoder.get_input_embeddings()(tokens[:, :-1])
        logits = model(pixel_values=part["pictures"][::2].float() / 127.5 - 1, decoder_inputs_embeds=words).logits
        return losses.cross_entropy(logits[:, 1:], tokens[:, 2:], ignore=_pad())

    return memory.Plan(loss)


def _other(model):
    model.extra = torch.nn.Linear(2, 2)
    return _fine(model)


FIT = {
    "no plan": (lambda model: 8, "return a memory.Plan"),
    "frozen": (_frozen, "some weights are frozen"),
    "another model": (_other, "another model"),
    "changed weights": (_shrunk, "the weights have changed"),
    "SGD": (lambda model: _fine(model, optimiser=torch.optim.SGD), "another way to learn"),
    "bf16": (lambda model: _fine(model, 4, precision="bf16"), "in fp32"),
    "mean of means": (lambda model: memory.Plan(_mean, accumulate=8), "the mean of the parts' means"),
    "fewer rows": (_fewer, "each token must count once"),
    "too coarse": (lambda model: _fine(model, 2), "MiB of 64"),
}


def _dots(*_):
    return ...


EXERCISES = [
    Exercise("4.2.1", checks.check_part_loss, _dots, [_part, _by_mean], PART),
    Exercise("4.2.2", checks.check_there_and_back, _dots, [_blocks, _one_by_one, _by_library], BACK),
    Exercise("4.2.3", checks.check_small_step, _dots, [_fine, _checkpointed], FIT),
]
