"""Names pictures from words alone, or from a few labelled examples, over the frozen features of a CLIP.

Features are rows of length one.  A class is a number from 0 to C - 1; every classifier gives logits (B, C).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import losses, runtime, training

SHARP = 10.0  # cosines lie close together: logits of a probe are this many times as far apart


# --- pictures and words in one space ------------------------------------------------------------------------


@torch.no_grad()
def embed_pictures(clip: Any, pictures: Tensor) -> Tensor:
    """Where a CLIP puts pictures, (B, 3, H, W) in [-1, 1], in its space: (B, D), rows of length one."""
    if pictures.ndim != 4 or not len(pictures):
        raise ValueError(f"pictures of shape {tuple(pictures.shape)}: give (B, 3, H, W) with at least one picture")
    parts = [clip.get_image_features(pixel_values=some.to(clip.device, clip.dtype)) for some in pictures.split(64)]
    return F.normalize(torch.cat([_vectors(part) for part in parts]), dim=1)


@torch.no_grad()
def embed_words(clip: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Where a CLIP puts texts: (B, D), rows of length one.  Texts longer than it reads are refused."""
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts={texts!r}: give a list of at least one, such as ['a red cat']")
    parts = []
    for start in range(0, len(texts), 256):
        tokens = _tokens(tokenizer, texts[start : start + 256])
        parts.append(_vectors(clip.get_text_features(input_ids=tokens.to(clip.device))))
    return F.normalize(torch.cat(parts), dim=1)


def embed_classes(clip: Any, tokenizer: Any, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Each class told in every template, such as "a large red {} in a meadow": (C, T, D)."""
    for template in templates or [""]:
        if "{}" not in template:
            raise ValueError(f"the template {template!r} has no place for a name: write {{}} where it belongs")
    if isinstance(names, str) or not len(names):
        raise ValueError(f"names={names!r}: give a list of classes, such as ['cat', 'house']")
    texts = [template.format(name) for name in names for template in templates]
    return embed_words(clip, tokenizer, texts).unflatten(0, (len(names), len(templates)))


def _vectors(found: Any) -> Tensor:
    """The tensor in what transformers returns, which was once the tensor itself."""
    return getattr(found, "pooler_output", found).float()


def _tokens(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    longest, rows = tokenizer.model_max_length, [tokenizer(text, verbose=False).input_ids for text in texts]
    for text, row in zip(texts, rows):
        if len(row) > longest:
            raise ValueError(
                f"{text!r} becomes {len(row)} tokens, and the model reads {longest}; shorten it, "
                "and avoid words of another script, which are spelt byte by byte"
            )
    return tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt").input_ids


# --- no label -----------------------------------------------------------------------------------------------


def zero_shot(pictures: Tensor, words: Tensor, scale: float | Tensor) -> Tensor:
    """Which class's words fit best: ln of the mean over its T sentences of exp(scale · cosine), (B, C).

    Radford et al. 2021 for T = 1; for more, the law of total probability: a sentence says more than the name, and one
    that gets the rest right counts most.  pictures: (B, D);  words: (C, T, D), as `embed_classes` gives them.
    """
    if words.ndim != 3 or words.shape[2] != pictures.shape[-1]:
        shapes = f"{tuple(pictures.shape)} and {tuple(words.shape)}"
        raise ValueError(f"pictures and words of shapes {shapes}: give (B, D) and (C, T, D) from the same model")
    fit = scale * torch.einsum("bd,ctd->bct", pictures, words)
    return fit.logsumexp(2) - torch.tensor(float(words.shape[1])).log()


def averaged(words: Tensor) -> Tensor:
    """A class's sentences as one, their mean direction (Radford et al. 2021, 3.1.4): (C, T, D) -> (C, 1, D)."""
    return F.normalize(words.mean(1, keepdim=True), dim=2)


# --- a few labels -------------------------------------------------------------------------------------------


def draw_examples(labels: Tensor, each: int, generator: torch.Generator) -> Tensor:
    """The places of `each` examples of every class that occurs in labels (N,), drawn without repeats: (C · each,)."""
    if each < 1:
        raise ValueError(f"each={each}: draw at least one example of a class; without any, use zero_shot")
    chosen = []
    for number in labels.unique().tolist():
        places = (labels == number).nonzero().flatten()
        if len(places) < each:
            raise ValueError(f"class {number} has {len(places)} examples, fewer than {each}: draw fewer or label more")
        chosen.append(places[torch.randperm(len(places), generator=generator)[:each]])
    return torch.cat(chosen)


def prototypes(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean direction of each class's examples; the nearest one wins: queries @ prototypes.T.  (C, D).

    Snell et al. 2017, eq. 1, with cosines for distances.  features: (N, D);  labels: (N,).
    """
    _check(features, labels, classes)
    sums = F.one_hot(labels, classes).to(features).T @ features
    return F.normalize(sums, dim=1)


def linear_probe(features: Tensor, labels: Tensor, classes: int, decay: float = 0.01) -> nn.Linear:
    """Logistic regression on frozen features, to its optimum (L-BFGS), as a layer (N, D) -> (N, C).

    decay: half of it times the squared weights is added to the mean loss, so that few examples have one best answer.
    """
    _check(features, labels, classes)
    probe = nn.Linear(features.shape[1], classes, device=features.device)
    for p in probe.parameters():
        nn.init.zeros_(p)
    optimiser = torch.optim.LBFGS(probe.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        size = sum(p.square().sum() for p in probe.parameters())
        loss = losses.cross_entropy(SHARP * probe(features), labels) + decay / 2 * size
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        for p in probe.parameters():
            p.mul_(SHARP)
    return probe.requires_grad_(False)


def cached(
    queries: Tensor,
    keys: Tensor,
    labels: Tensor,
    classes: int,
    zero_shot: Tensor | float = 0.0,
    alpha: float = 1.0,
    beta: float = 5.5,
) -> Tensor:
    """Each example votes for its class by how near it is, and the words have their say: (B, C).

    Tip-Adapter, Zhang et al. 2022, eq. 4 and 5, without training:  exp(-β (1 - q·kᵀ)) onehot + α · zero-shot.
    queries: (B, D);  keys: (N, D) with labels (N,);  zero_shot: (B, C), logits or shares.
    """
    _check(keys, labels, classes)
    if queries.shape[-1] != keys.shape[1]:
        wide = f"{queries.shape[-1]} numbers each, the examples {keys.shape[1]}"
        raise ValueError(f"queries have {wide}: embed both with the same model")
    near = (-beta * (1 - queries @ keys.T)).exp()  # (B, N), 1 is the very same
    return near @ F.one_hot(labels, classes).to(near) + alpha * zero_shot


def few_shot_logits(
    queries: Tensor, keys: Tensor, labels: Tensor, classes: int, words: Tensor, alpha: float
) -> dict[str, Tensor]:
    """What each of these ways says of the queries, by its name: (B, C) each.

    words: the zero-shot logits of the queries (B, C), whose shares have the weight alpha beside the cache.
    """
    return {
        "prototypes": queries @ prototypes(keys, labels, classes).T,
        "linear probe": linear_probe(keys, labels, classes)(queries),
        "cache": cached(queries, keys, labels, classes),
        "cache and words": cached(queries, keys, labels, classes, words.softmax(1), alpha),
    }


def _check(features: Tensor, labels: Tensor, classes: int) -> None:
    """Say why these examples cannot teach `classes` classes apart."""
    if not len(labels):
        raise ValueError("there are no examples to learn from: give at least one of each class, or use zero_shot")
    if len(features) != len(labels) or labels.ndim != 1:
        shapes = f"{tuple(features.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"features and labels of shapes {shapes}: give (N, …) and (N,), one label for each example")
    if labels.is_floating_point() or not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels are whole numbers from 0 to {classes - 1}, one class each; number the classes anew")
    found = labels.unique()
    if len(found) == 1:
        raise ValueError(f"all examples are of class {int(found)}: to tell it from others, give some of another class")
    missing = sorted(set(range(classes)) - set(found.tolist()))
    if missing:
        raise ValueError(f"class {missing[0]} has no example: label one, or leave the class out of the question")
    if not features.isfinite().all():
        raise ValueError("some features are not finite: look for NaN in the pictures that were embedded")


# --- words that are learnt ----------------------------------------------------------------------------------


class LearntWords(nn.Module):
    """A few vectors in front of each class's words, learnt from labelled pictures; both towers stay frozen.

    CoOp, Zhou et al. 2022: "v₁ … v_M name".  shared: the same vectors for all classes, else each has its own.
    Gives the classes' directions, (C, 1, D), for `zero_shot`.
    """

    def __init__(self, clip: Any, tokenizer: Any, names: Sequence[str], count: int = 4, shared: bool = True):
        super().__init__()
        room = f"{tokenizer.pad_token} " * count
        self.tokens = _tokens(tokenizer, [f"{room}{name}" for name in names]).to(clip.device)
        self.clip = [copy.deepcopy(clip).requires_grad_(False)]  # in a list: its weights are not ours to train
        start = clip.text_model.embeddings.token_embedding.weight.detach().mean(0)
        self.vectors = nn.Parameter(start.repeat(1 if shared else len(names), count, 1))

    def forward(self) -> Tensor:
        (clip,), count = self.clip, self.vectors.shape[1]

        def replace(_layer: nn.Module, _given: tuple, found: Tensor) -> Tensor:
            return torch.cat([found[:, :1], self.vectors.expand(len(found), -1, -1), found[:, 1 + count :]], 1)

        hook = clip.text_model.embeddings.token_embedding.register_forward_hook(replace)
        try:
            return F.normalize(_vectors(clip.get_text_features(input_ids=self.tokens)), dim=1)[:, None]
        finally:
            hook.remove()


def learn_words(
    words: LearntWords,
    features: Tensor,
    labels: Tensor,
    scale: float,
    steps: int = 100,
    learning_rate: float = 0.02,
    progress: bool = True,
) -> training.History:
    """Move the vectors until the labelled pictures choose their own class, all examples in each step."""
    _check(features, labels, len(words.tokens))

    def loss(model: LearntWords, batch: tuple[Tensor, Tensor]) -> Tensor:
        return losses.cross_entropy(zero_shot(batch[0], model(), scale), batch[1])

    return training.fit(words, [(features, labels)], loss, steps, learning_rate=learning_rate, progress=progress)


# --- everything is trained ----------------------------------------------------------------------------------


class Classifier(nn.Module):
    """A CLIP's eyes and a last layer: (B, 3, H, W) in [-1, 1] -> logits (B, C)."""

    def __init__(self, clip: Any, last: nn.Linear):
        super().__init__()
        self.eyes, self.projection = clip.vision_model, clip.visual_projection
        self.last = last

    def forward(self, pictures: Tensor) -> Tensor:
        return self.last(F.normalize(self.projection(self.eyes(pictures).pooler_output), dim=1))


def fine_tune(
    clip: Any,
    pictures: Tensor,
    labels: Tensor,
    probe: nn.Linear,
    steps: int = 60,
    batch: int = 32,
    learning_rate: float = 1e-4,
    seed: int = 0,
    progress: bool = True,
) -> Classifier:
    """Train a copy of the eyes, and the last layer from where a probe left it (Kumar et al. 2022); the CLIP stays.

    pictures: (N, 3, H, W) with labels (N,);  probe: `linear_probe` of the same pictures' features.
    """
    _check(pictures, labels, probe.out_features)
    model = copy.deepcopy(Classifier(clip, probe)).requires_grad_(True).train()
    batches = training.Shuffled(len(labels), min(batch, len(labels)), lambda i, _: (pictures[i], labels[i]), seed)

    def loss(model: Classifier, batch: tuple[Tensor, Tensor]) -> Tensor:
        return losses.cross_entropy(model(batch[0]), batch[1])

    generator = runtime.generator(seed, next(model.parameters()).device)
    fitted = dict(learning_rate=learning_rate, warmup=0.1, generator=generator, progress=progress)
    training.fit(model, batches, loss, steps, **fitted)
    return model
