"""Train the captioner: the eyes of `clip`, the tongue of `lm`, and new attention between them."""

import argparse
import random
from pathlib import Path

import torch

from aigc_course import evaluation, losses, models, runtime, sampling, scenes, training

CARD = """# captioner

Tells what a picture of the course's world shows, in English or Chinese.

```python
from transformers import AutoTokenizer, VisionEncoderDecoderModel
model = VisionEncoderDecoderModel.from_pretrained("data/models/captioner")
tokenizer = AutoTokenizer.from_pretrained("data/models/captioner")
```

| | |
|---|---|
| class | `VisionEncoderDecoderModel` of `clip`'s vision tower and `lm`, {parameters:,} numbers in half precision |
| asked with | pictures in [-1, 1] and the tokens `<s>`, then `<en>` or `<zh>`; `sampling.pictures_to_words` does both |
| data | {scenes:,} drawn training scenes, full captions told anew in each pass, half of them Chinese |
| training | {steps:,} steps of {batch}, Muon, {precision}, {minutes:.0f} minutes |
| remade by | `python scripts/train_captioner.py`, after `train_clip.py` and `train_lm.py` |
| licence | code Apache-2.0, weights CC BY 4.0 |

On {count:,} scenes each.  "Above entropy": its cross-entropy less the exact entropy of the grammar's captions of a
scene, in nats for each token.  "Exact": every fact told, and rightly.  BLEU-4 and CIDEr-D of its captions in units of
what a fresh caption of the grammar reaches against the same five references.

| | above entropy | exact | BLEU-4 ÷ grammar | CIDEr-D ÷ grammar |
|---|---|---|---|---|
{rows}
"""


class Told:
    """Fills a batch: pictures as bytes, and a caption of each in either language, named before it."""

    def __init__(self, samples, pictures, tokenizer):
        self.samples, self.pictures, self.tokenizer = samples, pictures, tokenizer

    def __call__(self, indices, turn):
        texts = [
            scenes.marked_caption(self.samples[index].scene, random.Random(f"{turn}/{index}"))
            for index in indices.tolist()
        ]
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt").input_ids
        return {"pictures": self.pictures[indices], "tokens": tokens}


def objective(pad):
    """Nats for each token, given the picture; the language is given too, and padding is left out."""

    def loss(model, batch):
        tokens, pictures = batch["tokens"], batch["pictures"].float() / 127.5 - 1
        logits = model(pixel_values=pictures, decoder_input_ids=tokens[:, :-1]).logits[:, 1:]
        return losses.cross_entropy(logits.float(), tokens[:, 2:], ignore=pad)

    return loss


@torch.no_grad()
def above_entropy(model, tokenizer, samples, language):
    """Its cross-entropy less the exact entropy, in nats for each token, with the interval."""
    rng = random.Random(9)
    texts = [scenes.marked_caption(one.scene, rng, language) for one in samples]
    tokens = tokenizer(texts, padding=True, return_tensors="pt").input_ids
    least = torch.tensor([scenes.entropy(one.scene, language) for one in samples])
    pictures, each = scenes.pictures(samples, models.PICTURE), []
    for some, seen in zip(tokens.split(64), pictures.split(64), strict=True):
        some = some.to(model.device)
        logits = model(pixel_values=seen.to(model.device), decoder_input_ids=some[:, :-1]).logits[:, 1:]
        each.append(losses.surprise(logits, some[:, 2:], tokenizer.pad_token_id).cpu())
    real = (tokens[:, 2:] != tokenizer.pad_token_id).sum().item()
    return evaluation.interval((torch.cat(each) - least) * len(texts) / real)


def told_well(model, tokenizer, samples, language):
    """Which captions tell every fact; BLEU-4 and CIDEr-D in units of a fresh caption of the grammar's."""
    pictures, rng = scenes.pictures(samples, models.PICTURE), random.Random(10)
    said = [
        text for some in pictures.split(64) for text in sampling.pictures_to_words(model, tokenizer, some, language)
    ]
    references = [[scenes.caption(one.scene, rng, language) for _ in range(5)] for one in samples]
    fresh = [scenes.caption(one.scene, rng, language) for one in samples]
    exact = torch.tensor([evaluation.facts_told(text, one.scene) == 1 for text, one in zip(said, samples, strict=True)])
    bleu = evaluation.bleu(said, references) / evaluation.bleu(fresh, references)
    cider = evaluation.cider(said, references).mean() / evaluation.cider(fresh, references).mean()
    return evaluation.interval(exact.float()), bleu, cider.item()


def table(model, tokenizer, count):
    """For each split and language: nats above entropy, exact captions, BLEU-4 and CIDEr-D by the grammar's own."""
    rows = []
    for split in ("test", "held-out"):
        drawn = scenes.samples(count, split, seed=9)
        for language in scenes.LANGUAGES:
            exact, *ratios = told_well(model, tokenizer, drawn, language)
            above = above_entropy(model, tokenizer, drawn, language)
            rows.append([f"{split}, {language}", f"{above:.4f}", f"{exact:.3f}", *(f"{ratio:.3f}" for ratio in ratios)])
    return rows


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--precision", default=runtime.training_precision(), help="bf16 or fp32")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--count", type=int, default=500, help="scenes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/captioner"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    samples = scenes.samples(args.scenes, "train", 22)
    cache = args.folder / "pictures.safetensors"
    pictures = training.precomputed(cache, samples, scenes.pictures_as_bytes, args.workers)
    model = models.captioner(models.load("clip"), models.load("lm")).to(runtime.device())
    batches = training.Shuffled(len(samples), args.batch, Told(samples, pictures, tokenizer))
    dials = dict(optimiser=training.muon(model, args.rate), ema=0.998, precision=args.precision)
    loss = objective(tokenizer.pad_token_id)
    history = training.fit(model, batches, loss, args.steps, folder=args.folder / "checkpoint", **dials)
    rows = ["| " + " | ".join(row) + " |" for row in table(model, tokenizer, args.count)]
    print("\n".join(rows))
    facts = dict(rows="\n".join(rows), minutes=history.seconds[-1] / 60)
    facts |= dict(parameters=sum(p.numel() for p in model.parameters()))
    models.save(model, "captioner", CARD.format(**vars(args), **facts), tokenizer)


if __name__ == "__main__":
    main()
