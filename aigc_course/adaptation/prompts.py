"""Steers a frozen language model by what stands before its text: examples, or vectors that are learnt."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aigc_course import lora, losses, runtime, scenes

KINDS = ("prompt", "prefix")


class Continued(NamedTuple):
    """Texts, which of them are about the thing wanted, and which can be read: bool (N,) both."""

    texts: list[str]
    same: Tensor
    readable: Tensor


# --- vectors that are learnt --------------------------------------------------------------------------------


def soft_prompt(lm: Any, count: int, kind: str = "prompt", seed: int = 0) -> nn.Module:
    """A copy of a language model, frozen, with `count` vectors before its text that learn, through peft.

    "prompt": in front of the first layer, as if they were words (Lester et al. 2021); they start as random words.
    "prefix": as keys and values in each layer (Li & Liang 2021), twice as many numbers for every layer.
    """
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

    if kind not in KINDS:
        raise ValueError(f"no soft prompt of kind {kind!r}; use one of: {', '.join(KINDS)}")
    window = lm.config.n_positions
    if not 1 <= count < window:
        raise ValueError(f"{count} vectors before the text: use 1 to {window - 1}, as the model reads {window} places")
    words = dict(task_type="CAUSAL_LM", num_virtual_tokens=count)
    sampled = dict(prompt_tuning_init="SAMPLE_VOCAB")
    settings = PromptTuningConfig(**words, **sampled) if kind == "prompt" else PrefixTuningConfig(**words)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an attribute by its older name
        torch.manual_seed(seed)  # peft draws from the global generator
        return get_peft_model(copy.deepcopy(lm), settings)


def ways_to_steer(lm: Any, seed: int = 0) -> dict[str, tuple[nn.Module, float]]:
    """Copies of a language model, each to be trained in another way, and the learning rate that suits it."""
    low, every = copy.deepcopy(lm), copy.deepcopy(lm).requires_grad_(True)
    lora.add(low, 1, ["attn.c_attn"], generator=runtime.generator(seed))
    return {
        "prompt of 4": (soft_prompt(lm, 4, seed=seed), 0.1),
        "prefix of 4": (soft_prompt(lm, 4, "prefix", seed), 0.1),
        "LoRA of rank 1": (low, 0.02),
        "every weight": (every, 1e-3),
    }


def next_token_loss(model: nn.Module, tokens: Tensor, pad: int, given: int = 2) -> Tensor:
    """Nats for each token after the `given` first, padding left out; with or without a soft prompt.

    tokens: (B, L), right-padded.  A learnt prompt has logits of its own, which are left out.
    """
    _fits(model, tokens.shape[1])
    logits = _logits(model, tokens[:, :-1], tokens[:, :-1] != pad)
    return losses.cross_entropy(logits[:, given - 1 :], tokens[:, given:], ignore=pad)


def trained_numbers(model: nn.Module) -> int:
    """How many numbers of a model learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _logits(model: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    """The logits at the text's own places: (B, L, V)."""
    return model(input_ids=tokens, attention_mask=mask.long()).logits[:, -tokens.shape[1] :].float()


def _before(model: nn.Module) -> int:
    """How many places a soft prompt takes."""
    return getattr(getattr(model, "active_peft_config", None), "num_virtual_tokens", 0)


def _fits(model: nn.Module, length: int) -> None:
    window, before = model.config.n_positions, _before(model)
    if length + before > window:
        raise ValueError(
            f"{before + length} places, {before} of them the soft prompt's: the model reads {window}; shorten the text"
        )


# --- examples before the question ---------------------------------------------------------------------------


def in_context(tokenizer: Any, examples: Sequence[str], mark: str = "<en>") -> list[int]:
    """The tokens of examples, each begun with the mark and ended, and of the mark that asks for one more.

    Brown et al. 2020: what is asked is shown, and no weight changes.  Without examples it is the plain beginning.
    """
    begin, end = tokenizer.convert_tokens_to_ids(mark), tokenizer.eos_token_id
    told = [[begin, *tokenizer(text, add_special_tokens=False).input_ids, end] for text in examples]
    tokens = [tokenizer.bos_token_id, *sum(told, []), begin]
    if len(tokens) >= tokenizer.model_max_length:
        most = tokenizer.model_max_length
        raise ValueError(f"{len(examples)} examples fill {len(tokens)} of {most} places; give fewer, or shorter ones")
    return tokens


@torch.no_grad()
def write(
    model: nn.Module,
    tokenizer: Any,
    beginnings: Sequence[Sequence[int]],
    generator: torch.Generator,
    longest: int = 24,
) -> list[str]:
    """One text for each beginning (tokens), drawn token by token from what the model thinks likely.

    A text ends with the end mark, after `longest` tokens, or where the model's window is full.
    """
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    rows, window = [list(one) for one in beginnings], model.config.n_positions - _before(model)
    _fits(model, max(map(len, rows)) + 1)
    open_rows = list(range(len(rows)))
    model.eval()
    for _ in range(longest):
        dice = torch.rand(len(rows), generator=generator)  # one for each, open or not: texts do not depend on others
        last = _next(model, [rows[i] for i in open_rows], pad)
        drawn = (last.softmax(1).cumsum(1) < dice[open_rows, None].to(last)).sum(1).clamp(max=last.shape[1] - 1)
        for i, token in zip(open_rows, drawn.tolist()):
            rows[i].append(token)
        open_rows = [i for i in open_rows if rows[i][-1] != end and len(rows[i]) < window]
        if not open_rows:
            break
    written = [row[len(begun) :] for row, begun in zip(rows, beginnings)]
    return tokenizer.batch_decode(written, skip_special_tokens=True)


def _next(model: nn.Module, rows: list[list[int]], pad: int) -> Tensor:
    """The logits of what follows each row: (B, V)."""
    device, lengths = next(model.parameters()).device, torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad)
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    return _logits(model, tokens.to(device), mask.to(device))[torch.arange(len(rows)), lengths - 1].cpu()


def goes_on(model: nn.Module, tokenizer: Any, wanted: Sequence[str], beginnings: Sequence, seed: int = 0) -> Continued:
    """Whether the model's text after each beginning is about the thing wanted, and whether it can be read at all."""
    texts = write(model, tokenizer, beginnings, runtime.generator(seed), longest=16)
    same = [_stated(text, lambda facts, name=name: facts.groups[0].name == name) for text, name in zip(texts, wanted)]
    return Continued(texts, torch.tensor(same), fitting(texts, bool))


# --- what is taught, and what came of it --------------------------------------------------------------------


def captions_where(
    fits: Callable[[scenes.Facts], bool], count: int, seed: int = 0, split: str = "train", most: int = 100_000
) -> list[str]:
    """English captions of single things whose facts fit, as many as asked for, among the split's first `most`."""
    found = []
    for index in range(most):
        one = scenes.sample(index, split, seed, "single")
        if fits(one.scene.facts):
            found.append(scenes.caption(one.scene, random.Random(one.seed)))
        if len(found) == count:
            return found
    raise ValueError(f"only {len(found)} of {most:,} scenes fit, not {count}: ask for something less rare")


def fitting(texts: Sequence[str], fits: Callable[[scenes.Facts], bool]) -> Tensor:
    """Which texts can be read, and state facts that fit: bool (N,).  Read by the grammar, not by the model."""
    return torch.tensor([_stated(text, fits) for text in texts])


def _stated(text: str, fits: Callable[[scenes.Facts], bool]) -> bool:
    try:
        return bool(fits(scenes.read_caption(text)))
    except ValueError:
        return False
