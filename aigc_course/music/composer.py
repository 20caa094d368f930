"""The composer: a small GPT-2 that writes tunes as the language model writes captions; and a judge of mood."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, pstdev

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from aigc_course.models.storage import quiet
from aigc_course.music.tune import END, MOODS, TONICS, Tune, leaps, prompt, vocabulary

LONGEST = 224  # tokens; the longest tune by rule has fewer
PAD, START = "<pad>", "<s>"


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word of `vocabulary`; the pad is a token of its own."""
    words = {word: index for index, word in enumerate([PAD, START, *vocabulary()])}
    plain = Tokenizer(models.WordLevel(words, unk_token=PAD))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=PAD, bos_token=START, eos_token=END)


def new_composer(words: PreTrainedTokenizerFast, width: int = 96, layers: int = 4, heads: int = 4) -> GPT2LMHeadModel:
    """An untrained GPT-2 for tunes."""
    ids = dict(pad_token_id=words.pad_token_id, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id)
    shape = dict(n_embd=width, n_layer=layers, n_head=heads, n_positions=LONGEST, vocab_size=len(words))
    drop = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2LMHeadModel(GPT2Config(**shape, **ids, **drop))


def encode(words: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Texts as ids, (B, T), a start before each, padded on the right."""
    return words([f"{START} {text}" for text in texts], padding=True, return_tensors="pt").input_ids


@torch.no_grad()
def write(
    model: GPT2LMHeadModel,
    words: PreTrainedTokenizerFast,
    asked: Sequence[tuple[str, str, str]],
    temperature: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """One tune for each (mood, tempo, key), as words; temperature 0 takes the likeliest word each time.

    Read them with `listen`: a model may write what is no tune.
    """
    if temperature < 0:
        raise ValueError(f"temperature {temperature} is below 0; 0 is the likeliest tune, 1 samples as trained")
    ids = encode(words, [prompt(*each) for each in asked]).to(model.device)
    how = dict(do_sample=True, temperature=temperature, top_k=0) if temperature else dict(do_sample=False)
    mask = torch.ones_like(ids)
    with quiet(), torch.random.fork_rng():  # what follows an end is padding, and generate would warn of it
        torch.manual_seed(seed)
        made = model.generate(ids, attention_mask=mask, max_length=LONGEST, pad_token_id=words.pad_token_id, **how)
    return [words.decode(row[1:][row[1:] != words.pad_token_id]) for row in made]


# --- the judge of mood --------------------------------------------------------------------------------------


def traits(tune: Tune) -> Tensor:
    """What a listener could say of a tune without its label, (9,): density, height, leaps, silence, and its scale.

    The key counts as heard (the tune ends on it); mood and tempo as they were asked are not looked at.
    """
    sounding = [note for note in tune.notes if note.pitch is not None] or list(tune.notes)
    sounding = [note.pitch for note in tune.notes if note.pitch is not None] or [60]
    steps, lengths = leaps(tune) or [0], [note.length for note in tune.notes]
    minor = [sum((pitch - TONICS[tune.key]) % 12 == up for pitch in sounding) / len(sounding) for up in (3, 8)]
    return torch.tensor(
        [
            8 * len(lengths) / sum(lengths),
            mean(sounding) / 12 - 5,
            pstdev(sounding) / 6,
            mean(abs(step) for step in steps) / 4,
            pstdev(lengths) / 2,
            4 * minor[0],
            4 * minor[1],
            2 * mean(step > 0 for step in steps),
            4 * mean(note.pitch is None for note in tune.notes),
        ]
    )


class Judge(nn.Module):
    """Hears a mood: one hidden layer on `traits`, trained on tunes that no composer saw."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, width), nn.Tanh(), nn.Linear(width, len(MOODS)))

    def forward(self, heard: Tensor) -> Tensor:
        """Scores of the moods, (B, 4), of traits (B, 9)."""
        return self.layers(heard)

    @torch.no_grad()
    def moods(self, tunes: Sequence[Tune]) -> list[str]:
        """The mood that each tune sounds like."""
        return [MOODS[index] for index in self(torch.stack([traits(tune) for tune in tunes])).argmax(1).tolist()]


def trained_judge(tunes: Sequence[Tune], steps: int = 400, seed: int = 0) -> Judge:
    """A judge taught on some tunes, in a few seconds."""
    if len({tune.mood for tune in tunes}) < len(MOODS):
        raise ValueError(f"the judge must hear every mood; give it tunes of all of: {', '.join(MOODS)}")
    torch.manual_seed(seed)
    judge, heard = Judge(), torch.stack([traits(tune) for tune in tunes])
    wanted = torch.tensor([MOODS.index(tune.mood) for tune in tunes])
    optimiser = torch.optim.AdamW(judge.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(judge(heard), wanted).backward()
        optimiser.step()
    return judge.eval()
