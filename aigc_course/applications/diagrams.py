"""Described processes to mermaid flowcharts: a fine-tune of the language model, and how its answers are judged."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from aigc_course import losses
from aigc_course.applications.processes import NO, YES, random_processes, read_graph, tell_process, to_mermaid
from aigc_course.models.storage import quiet

PAD, START, END, ASK, UNKNOWN = "<pad>", "<s>", "</s>", "<mermaid>", "<unk>"
LONGEST = 224  # tokens of a description and its flowchart
ARROWS = " --> ", *(f" -->|{word}| " for words in zip(YES.values(), NO.values(), strict=True) for word in words)
PIECES = "|".join([START, END, ASK, "flowchart TD", *(arrow.replace("|", "\\|") for arrow in ARROWS), " ?[A-Za-z]+"])


def diagram_words() -> PreTrainedTokenizerFast:
    """One token for each English word (a space before it belongs to it), Chinese letter, arrow and sign."""
    split = pre_tokenizers.Split(Regex(rf"{PIECES}|[\s\S]"), "isolated")
    rng, seen = random.Random(0), set()
    for one in random_processes(3000):
        for text in (tell_process(one, rng), to_mermaid(one)):
            seen |= {piece for piece, _ in split.pre_tokenize_str(text)}
    words = {word: k for k, word in enumerate([PAD, START, END, ASK, UNKNOWN, *sorted(seen)])}
    plain = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    plain.pre_tokenizer, plain.decoder = split, decoders.Fuse()
    marks = dict(pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN)
    return PreTrainedTokenizerFast(tokenizer_object=plain, clean_up_tokenization_spaces=False, **marks)


def new_diagrammer(
    words: PreTrainedTokenizerFast, start: GPT2LMHeadModel | None = None, layers: int = 2
) -> GPT2LMHeadModel:
    """A GPT-2 for diagrams that begins as the first layers of a language model, `start`, or (None) from chance.

    Its words are others and its texts longer, so their vectors are new, but for the first places.
    """
    ids = dict(pad_token_id=words.pad_token_id, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id)
    shape = dict(n_embd=128, n_layer=layers, n_head=4, n_positions=LONGEST, vocab_size=len(words))
    model = GPT2LMHeadModel(GPT2Config(**shape, **ids, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    if start is not None:
        kept = start.transformer.wpe.weight
        with torch.no_grad():
            model.transformer.wpe.weight[: len(kept)] = kept
        model.transformer.ln_f.load_state_dict(start.transformer.ln_f.state_dict())
        for mine, theirs in zip(model.transformer.h, start.transformer.h, strict=False):
            mine.load_state_dict(theirs.state_dict())
    return model


def encode_diagrams(words: PreTrainedTokenizerFast, told: Sequence[str], drawn: Sequence[str]) -> Tensor:
    """Descriptions, each followed by its flowchart, as ids (B, T), padded on the right."""
    texts = [f"{START}{text}{ASK}{chart}{END}" for text, chart in zip(told, drawn, strict=True)]
    return words(texts, padding=True, return_tensors="pt").input_ids


def diagram_loss(words: PreTrainedTokenizerFast):
    """Nats for each token of the flowchart; the description is given, so it is left out as padding is."""
    ask, pad = words.convert_tokens_to_ids([ASK, PAD])

    def loss(model: GPT2LMHeadModel, tokens: Tensor) -> Tensor:
        given = (tokens == ask).cumsum(1)[:, :-1] == 0
        logits = model(tokens[:, :-1], attention_mask=tokens[:, :-1] != pad).logits
        return losses.cross_entropy(logits.float(), tokens[:, 1:].masked_fill(given, pad), ignore=pad)

    return loss


@torch.no_grad()
def write_diagrams(model: GPT2LMHeadModel, words: PreTrainedTokenizerFast, told: Sequence[str]) -> list[str]:
    """The likeliest flowchart of each description, as mermaid text; it may be none, so judge it.

    A word that is not among the tokens is refused: the model has never seen it.
    """
    ids = [words(f"{START}{text}{ASK}").input_ids for text in told]
    for text, row in zip(told, ids, strict=True):
        if words.unk_token_id in row:
            raise ValueError(f"{_strange(words, text)!r} is no word that it knows: use VERBS, THINGS and STATES")
        if len(row) >= LONGEST:
            raise ValueError(f"a description of {len(row)} tokens leaves no room for its chart; stay below {LONGEST}")
    charts = [""] * len(told)
    for length in sorted({len(row) for row in ids}):  # those of one length together: no padding before a text
        some = [k for k, row in enumerate(ids) if len(row) == length]
        given = torch.tensor([ids[k] for k in some], device=model.device)
        how = dict(attention_mask=torch.ones_like(given), max_length=LONGEST, do_sample=False)
        with quiet():
            made = model.generate(given, pad_token_id=words.pad_token_id, **how)[:, length:]
        for k, row in zip(some, made, strict=True):
            charts[k] = words.decode(row, skip_special_tokens=True)
    return charts


def _strange(words: PreTrainedTokenizerFast, text: str) -> str:
    """The first piece of a text that is no token."""
    pieces = [piece for piece, _ in words.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    return next((piece.strip() for piece in pieces if piece not in words.get_vocab()), "")


# --- judged -------------------------------------------------------------------------------------------------


def readable(chart: str) -> bool:
    """Whether a text is a flowchart as the course reads them; `mermaid.Parser` asks mermaid itself."""
    try:
        return bool(read_graph(chart))
    except ValueError:
        return False


def shuffled(told: str, rng: random.Random) -> str:
    """The words of a description but the first in another order (Chinese: its letters): a control that has to fail."""
    first, *pieces = told.split() if told.isascii() else list(told)
    return (" " if told.isascii() else "").join([first, *rng.sample(pieces, len(pieces))])
