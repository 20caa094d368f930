"""Train the tokenizer: byte-pair encoding of English and Chinese captions, shared by every model with words."""

import argparse
import random

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from aigc_course import models, scenes

SPECIAL = ["<pad>", "</s>", "<s>"]  # CLIPTextModel pools at the wrong token where </s> has the number 2
LANGUAGES = [f"<{language}>" for language in scenes.LANGUAGES]  # what a captioner is told to answer in
CARD = """\
# tokenizer

A byte-level byte-pair encoding of the course's English and Chinese captions, shared by every model that reads or
writes words: any text can be written, and comes back unchanged.

| | |
|---|---|
| class | `PreTrainedTokenizerFast`, {size} entries, at most {room} tokens |
| marks | `<pad>` 0, `</s>` 1, `<s>` 2; the last two, `<en>` and `<zh>`, name a language |
| data | captions of 6,000 scenes of the training split, both languages, full and brief |
| measured | {rate:.2f} tokens per English word; longest caption {longest} tokens (printed by the command below) |
| remade by | `python scripts/train_tokenizer.py`, in seconds |
| licence | CC BY 4.0 |

**Meant for** this course's captions.  **Fails** to be short elsewhere:
{strange}.
What is longer than {room} tokens is cut off, and its end is not read.
"""
STRANGE = "an astronaut rides a bicycle", "宇航员骑自行车"


def captions(count):
    """Captions of the training split: both languages, told fully and briefly."""
    rng = random.Random(0)
    kinds = [(language, detail) for language in scenes.LANGUAGES for detail in ("full", "brief")]
    return [scenes.caption(s.scene, rng, *kind) for s in scenes.samples(count) for kind in kinds]


def byte_pairs(texts, size):
    """A byte-level BPE: any text can be written, and read back exactly."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    ends = [(token, number) for number, token in enumerate(SPECIAL)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


def main():
    """Train, print how well words are cut, and ship the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=768, help="entries of the vocabulary")
    args = parser.parse_args()
    texts = captions(6000)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_pairs(texts, args.size),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=models.TEXT[0],
        extra_special_tokens=LANGUAGES,
    )
    lengths = [len(ids) for ids in tokenizer(texts).input_ids]
    english = [(t, n - 2) for t, n in zip(texts, lengths, strict=True) if t.isascii()]
    words = sum(len(t.replace(",", " ,").split()) for t, _ in english)
    rate = sum(n for _, n in english) / words
    print(f"{len(tokenizer)} entries; longest caption {max(lengths)} tokens; {rate:.2f} tokens per English word")
    strange = " and ".join(f"“{text}” takes {len(tokenizer.tokenize(text))} tokens" for text in STRANGE)
    facts = dict(rate=rate, longest=max(lengths), strange=strange)
    card = CARD.format(size=len(tokenizer), room=models.TEXT[0], **facts)
    models.put_in_place(models.folder_of("tokenizer"), tokenizer.save_pretrained, card)


if __name__ == "__main__":
    main()
