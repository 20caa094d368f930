"""Whether a caption is true of a scene, how much of it is told, and how it resembles other captions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from itertools import permutations, zip_longest

import torch
from torch import Tensor

from aigc_course import scenes
from aigc_course.scenes import Facts, Group, Scene


def agrees(caption: str, scene: Scene | Facts) -> bool:
    """Whether all that a caption says is so.  What it leaves out does no harm; what nobody can read does."""
    return any(all(said in (None, true) for said, true in pairs) for pairs in _compared(caption, scene))


def facts_told(caption: str, scene: Scene | Facts) -> float:
    """The share of a scene's facts that a caption states, and rightly: 1 for a true full caption.

    The facts are count, size, colour and name of each kind of thing, their relation, background and style.
    """
    shares = []
    for pairs in _compared(caption, scene):
        told = [said == true for said, true in pairs if true is not None]
        shares.append(sum(told) / len(told))
    return max(shares, default=0.0)


def _compared(caption: str, scene: Scene | Facts) -> list[list[tuple]]:
    """(said, true) for every fact, once for each way to match the caption's things with the scene's."""
    true = scene.facts if isinstance(scene, Scene) else scene
    try:
        said = scenes.read_caption(caption)
    except ValueError:
        return []
    ways = []
    for order in permutations(true.groups):
        things = zip_longest(map(_fields, said.groups), map(_fields, order), fillvalue=_fields(None))
        pairs = [pair for mine, theirs in things for pair in zip(mine, theirs, strict=True)]
        relation = true.relation if order == true.groups else f"not {true.relation}"
        pairs.append((said.relation, true.relation and relation))
        ways.append([*pairs, (said.background, true.background), (said.style, true.style)])
    return ways


def _fields(group: Group | None) -> tuple:
    return astuple(group) if group else (None,) * 4


# --- likeness to other captions -----------------------------------------------------------------------------

LONGEST = 4  # words in the n-grams that are compared
SIGMA = 6.0  # how far lengths may differ


def words(caption: str) -> list[str]:
    """A caption as words in lower case, Chinese as characters; without punctuation."""
    return re.findall(r"[a-z0-9-]+|[\u4e00-\u9fff]", caption.lower())


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 of a set of captions, 0 to 100: how many of their n-grams stand in some reference, and not too short.

    Papineni et al. 2002, computed by sacrebleu on our own `words`.  captions: B;  references: for each as many.
    """
    from sacrebleu.metrics import BLEU

    if not captions or len(captions) != len(references) or len({len(texts) for texts in references}) != 1:
        raise ValueError(f"{len(captions)} captions, {len(references)} lists of references; give each caption as many")
    told, *columns = ([" ".join(words(text)) for text in texts] for texts in (captions, *zip(*references)))
    return BLEU(tokenize="none", force=True).corpus_score(told, columns).score


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
    """CIDEr-D of each caption, 0 to 10: how many of the telling n-grams of its references it holds.  (B,).

    Vedantam et al. 2015, as the COCO server computes it: n-grams that many pictures share count little, repeats
    not at all, and another length costs.  The value depends on the whole set of references: compare only scores of
    one set, and never a small world's with COCO's.  captions: B;  references: for each, one or several.
    """
    if len(captions) != len(references) or not all(references):
        raise ValueError(f"{len(captions)} captions, {len(references)} lists of references; give each at least one")
    told = [[_grams(text) for text in texts] for texts in references]
    frequency = Counter(gram for texts in told for gram in set().union(*texts))
    rarity = {gram: math.log(len(told) / count) for gram, count in frequency.items()}
    unknown = math.log(len(told))

    def weighed(grams: Counter) -> list[dict]:
        return [{g: k * rarity.get(g, unknown) for g, k in grams.items() if len(g) == n} for n in _ORDERS]

    scores = []
    for text, texts in zip(captions, told, strict=True):
        mine = _grams(text)
        each = [_likeness(weighed(mine), weighed(theirs), _length(mine) - _length(theirs)) for theirs in texts]
        scores.append(10 * sum(each) / len(each))
    return torch.tensor(scores)


_ORDERS = range(1, LONGEST + 1)


def _grams(text: str) -> Counter:
    said = words(text)
    return Counter(tuple(said[i : i + n]) for n in _ORDERS for i in range(len(said) - n + 1))


def _length(grams: Counter) -> int:
    """In pairs of neighbours, as the reference implementation has it."""
    return sum(count for gram, count in grams.items() if len(gram) == 2)


def _likeness(mine: list[dict], theirs: list[dict], longer: int) -> float:
    """The mean over n of the clipped cosine of two sets of weighed n-grams, less for another length."""
    total = 0.0
    for a, b in zip(mine, theirs, strict=True):
        norms = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
        shared = sum(min(a[gram], b[gram]) * b[gram] for gram in a.keys() & b.keys())
        total += shared / norms if norms else 0.0
    return total / LONGEST * math.exp(-(longer**2) / (2 * SIGMA**2))
