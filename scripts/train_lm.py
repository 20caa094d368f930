"""Train the language model: captions in two languages should surprise it as much as they must, and no more."""

import argparse
import random
from pathlib import Path

import machine
import torch

from aigc_course import evaluation, losses, models, runtime, scenes, training

CARD = """# lm

A small GPT-2 that writes captions of the course's picture world, in English or Chinese, one token after the other.

```python
from transformers import AutoTokenizer, GPT2LMHeadModel
model = GPT2LMHeadModel.from_pretrained("data/models/lm")
tokenizer = AutoTokenizer.from_pretrained("data/models/lm")
```

| | |
|---|---|
| class | `GPT2LMHeadModel`, {layers} layers of {width}, {parameters:,} numbers in half precision |
| data | full captions of {captions:,} random training scenes, half of them Chinese, each told once |
| training | {steps:,} steps of {batch}, Muon, {precision}, {minutes:.0f} minutes |
| remade by | `python scripts/train_lm.py` |
| licence | code Apache-2.0, weights CC BY 4.0 |

How surprised it is by {count:,} captions of the test split, in nats for each token, beside the least that anyone can be
who knows the grammar and the odds of every scene (`scenes.surprise`):

| language | model | grammar | above it |
|---|---|---|---|
{rows}

**Fails** on all that is no caption of this world: other words are cut into bytes, and whatever the beginning is, it
goes on as a caption would. It knows no picture: what it writes is likely, not true.
"""


class Told:
    """Fills a batch: a full caption of each scene, in either language, named before it: "<en>a red cat …"."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, samples):
        texts = [scenes.marked_caption(one.scene, random.Random(one.seed)) for one in samples]
        return self.tokenizer(texts, padding=True, return_tensors="pt").input_ids


def objective(pad):
    """Nats for each token after the first, padding left out."""

    def loss(model, tokens):
        logits = model(tokens[:, :-1], attention_mask=tokens[:, :-1] != pad).logits
        return losses.cross_entropy(logits.float(), tokens[:, 1:], ignore=pad)

    return loss


@torch.no_grad()
def table(model, tokenizer, count):
    """For each language: the model's nats for each token, the grammar's, and the interval of their difference."""
    rows, drawn = [], scenes.samples(count, "test", seed=9)
    for language in scenes.LANGUAGES:
        rng, facts = random.Random(9), [one.scene.facts for one in drawn]
        texts = [scenes.caption(each, rng, language) for each in facts]
        least = torch.tensor([scenes.surprise(*pair, language) for pair in zip(facts, texts, strict=True)])
        tagged = [f"<{language}>{text}" for text in texts]
        tokens = tokenizer(tagged, padding=True, return_tensors="pt").input_ids.to(model.device)
        pad = tokenizer.pad_token_id
        logits = torch.cat([model(some, attention_mask=some != pad).logits.float() for some in tokens.split(256)])
        asked = tokens[:, 2:]  # <s> and the language are given
        mine = losses.surprise(logits[:, 1:-1], asked, pad).cpu()
        scale = len(texts) / (asked != pad).sum().item()
        above = evaluation.interval((mine - least) * scale)
        rows.append([language, f"{mine.mean() * scale:.4f}", f"{least.mean() * scale:.4f}", f"{above:.4f}"])
    return rows


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--count", type=int, default=2000, help="captions on which it is measured")
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that word captions")
    parser.add_argument("--folder", type=Path, default=Path("runs/lm"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    model = models.language_model(tokenizer).to(runtime.device())
    count, make = args.steps * args.batch, Told(tokenizer)
    stream = scenes.SceneStream("train", count, args.batch, seed=11, make=make, workers=args.workers)
    dials = dict(optimiser=training.muon(model, args.rate), ema=0.998, precision=args.precision)
    history = training.fit(model, stream, objective(tokenizer.pad_token_id), args.steps, folder=args.folder, **dials)
    if not training.is_first():
        return
    rows = table(model, tokenizer, args.count)
    facts = dict(layers=model.config.n_layer, width=model.config.n_embd, minutes=history.seconds[-1] / 60)
    facts |= dict(captions=count, parameters=sum(p.numel() for p in model.parameters()))
    facts |= dict(rows="\n".join("| " + " | ".join(row) + " |" for row in rows)) | vars(args)
    print(facts["rows"])
    models.save(model, "lm", CARD.format(**facts), tokenizer)


if __name__ == "__main__":
    main()
