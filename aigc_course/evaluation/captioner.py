"""A captioner against what the grammar allows: its loss and the entropy under it, its accuracy and the ceiling over it.

Beside each figure of the model stands what a speaker without fault would reach: the grammar's own fresh captions.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc_course import losses, models, sampling, scenes
from aigc_course.evaluation.captions import bleu, cider, facts_told
from aigc_course.evaluation.measures import Interval, interval
from aigc_course.scenes import Sample

REFERENCES = 5  # true captions that a caption is held against


@dataclass(frozen=True)
class Captioning:
    """What a captioner reaches in one language; `floor`, `ceiling` and the grammar's own figures beside it.

    nats, floor, above: cross-entropy, its entropy and their difference, for each real token;  accuracy, ceiling: how
    often the likeliest token is the true one, true tokens given;  exact: every fact told, and rightly.
    """

    nats: float
    floor: float
    above: Interval
    accuracy: float
    ceiling: float
    exact: Interval
    bleu: float
    cider: float
    grammar_bleu: float
    grammar_cider: float
    said: tuple[str, ...]


@torch.no_grad()
def captioning(
    model: Any, tokenizer: Any, drawn: Sequence[Sample], language: str = "en", said: Sequence[str] | None = None
) -> Captioning:
    """Examine a captioner on scenes that it has not learnt from.  said: its captions, if it was asked already."""
    rng, pictures = random.Random(9), scenes.pictures(list(drawn), models.PICTURE)
    tokens = tokenizer(
        [scenes.marked_caption(one.scene, rng, language) for one in drawn], padding=True, return_tensors="pt"
    ).input_ids
    each, right, real = _read(model, pictures, tokens, tokenizer.pad_token_id)
    least = torch.tensor([scenes.entropy(one.scene, language) for one in drawn])
    if said is None:
        asked = [sampling.pictures_to_words(model, tokenizer, some, language) for some in pictures.split(64)]
        said = [text for some in asked for text in some]
    references = [[scenes.caption(one.scene, rng, language) for _ in range(REFERENCES)] for one in drawn]
    fresh = [scenes.caption(one.scene, rng, language) for one in drawn]
    exact = torch.tensor([facts_told(text, one.scene) == 1 for text, one in zip(said, drawn, strict=True)])
    return Captioning(
        nats=each.sum().item() / real,
        floor=least.sum().item() / real,
        above=interval((each - least) * len(drawn) / real),
        accuracy=right / real,
        ceiling=accuracy_ceiling(drawn, tokenizer, language),
        exact=interval(exact.float()),
        bleu=bleu(said, references),
        cider=cider(said, references).mean().item(),
        grammar_bleu=bleu(fresh, references),
        grammar_cider=cider(fresh, references).mean().item(),
        said=tuple(said),
    )


def _read(model: Any, pictures: Tensor, tokens: Tensor, pad: int) -> tuple[Tensor, int, int]:
    """The surprise at each caption (B,), in nats; how many tokens were the likeliest; how many there are."""
    each, right = [], 0
    for seen, some in zip(pictures.split(64), tokens.split(64), strict=True):
        some = some.to(model.device)
        read = dict(decoder_input_ids=some[:, :-1], decoder_attention_mask=some[:, :-1] != pad)
        logits = model(pixel_values=seen.to(model.device), **read).logits[:, 1:].float()
        each.append(losses.surprise(logits, some[:, 2:], pad).cpu())
        right += ((logits.argmax(2) == some[:, 2:]) & (some[:, 2:] != pad)).sum().item()
    return torch.cat(each), right, (tokens[:, 2:] != pad).sum().item()


def accuracy_ceiling(drawn: Sequence[Sample], tokenizer: Any, language: str = "en") -> float:
    """The share of tokens that a captioner without fault guesses, if it reads the true ones before: exactly.

    Where several ways of telling go on alike, the likeliest next token is the best guess; its chance is the ceiling.
    """
    hits = tokens = 0.0
    for one in drawn:
        ways = scenes.paraphrases(one.scene, language)
        ended = [(*ids, tokenizer.eos_token_id) for ids in tokenizer(list(ways), add_special_tokens=False).input_ids]
        follows = defaultdict(lambda: defaultdict(float))  # what was said → next token → chance
        for ids, p in zip(ended, ways.values(), strict=True):
            for i, token in enumerate(ids):
                follows[ids[:i]][token] += p
            tokens += p * len(ids)
        hits += sum(max(chances.values()) for chances in follows.values())
    return hits / tokens
