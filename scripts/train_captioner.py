"""Train the captioner: the eyes of `clip`, the tongue of `lm`, and new attention between them."""

import argparse
import random
from pathlib import Path

import torch
from torch import nn
from train_clip import SHIFT, SIDE, ran, shifted, told

from aigc_course import adaptation, evaluation, models, runtime, scenes, training

WEIGHT = 1.0  # of the error in what is where, beside the nats of a token
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
| data | drawn training scenes, each shifted by up to {shift} pixels anew, full captions told anew in each pass, half of them Chinese |
| objective | cross-entropy of the caption; and each patch is asked what is there (`models.meaning`), by a layer that is then dropped |
| training | {shown:,} pictures, Muon, {minutes:.0f} minutes; each run below starts from the one before |
| remade by | `python scripts/train_captioner.py`, after `train_clip.py` and `train_lm.py`; then again with `--go-on` |
| licence | code Apache-2.0, weights CC BY 4.0 |

{runs}

On {count:,} scenes each.  "Above entropy": its cross-entropy less the exact entropy of the grammar's captions of a
scene, in nats for each token.  "Exact": every fact told, and rightly.  BLEU-4 and CIDEr-D of its captions in units of
what a fresh caption of the grammar reaches against the same five references.

| | above entropy | exact | BLEU-4 ÷ grammar | CIDEr-D ÷ grammar |
|---|---|---|---|---|
{rows}
"""  # noqa: E501


class Told:
    """Fills a batch: pictures as bytes, moved a little, a caption of each in either language, and what is where."""

    def __init__(self, samples, pictures, tokenizer):
        self.samples, self.pictures, self.tokenizer = samples, pictures, tokenizer

    def __call__(self, indices, turn):
        chosen = [self.samples[index] for index in indices.tolist()]
        texts = [scenes.marked_caption(one.scene, random.Random(f"{turn}/{one.seed}")) for one in chosen]
        return {
            "pictures": shifted(self.pictures[indices], turn * len(self.samples) + indices[0].item()),
            "tokens": self.tokenizer(texts, padding=True, return_tensors="pt").input_ids,
            "where": models.meaning(chosen, SIDE),
        }


def objective(pad):
    """Nats for each token of the captions, and the squared error of what each patch says is there."""
    told = adaptation.caption_loss(pad)

    def loss(model, batch):
        seen = model["captioner"].encoder(batch["pictures"].float() / 127.5 - 1).last_hidden_state
        where = model["where"](seen[:, 1:]).float().transpose(1, 2).unflatten(2, (SIDE, SIDE))
        error = (where - batch["where"]).square().mean()
        return told(model["captioner"], batch | {"pictures": seen}) + WEIGHT * error

    return loss


def table(model, tokenizer, count):
    """For each split and language: nats above entropy, exact captions, BLEU-4 and CIDEr-D by the grammar's own."""
    rows = []
    for split in ("test", "held-out"):
        drawn = scenes.samples(count, split, seed=9)
        for language in scenes.LANGUAGES:
            found = evaluation.captioning(model, tokenizer, drawn, language)
            ratios = found.bleu / found.grammar_bleu, found.cider / found.grammar_cider
            shown = [f"{found.above:.4f}", f"{found.exact:.3f}", *(f"{ratio:.3f}" for ratio in ratios)]
            rows.append([f"{split}, {language}", *shown])
    return rows


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=22, help="which scenes; no other model is trained on these")
    parser.add_argument("--go-on", action="store_true", help="from the shipped captioner, with the eyes of `clip`")
    parser.add_argument("--precision", default=runtime.training_precision(), help="bf16 or fp32")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--count", type=int, default=500, help="scenes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/captioner"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    samples = scenes.samples(args.scenes, "train", args.seed)
    cache = args.folder / f"pictures-{args.seed}.safetensors"
    pictures = training.precomputed(cache, samples, scenes.pictures_as_bytes, args.workers)
    model = models.captioner(models.load("clip"), models.load("lm"))
    if args.go_on:
        model.decoder.load_state_dict(models.load("captioner").decoder.state_dict())
    asked = nn.Linear(model.encoder.config.hidden_size, models.MEANING)
    both = nn.ModuleDict({"captioner": model, "where": asked}).to(runtime.device())
    batches = training.Shuffled(len(samples), args.batch, Told(samples, pictures, tokenizer))
    dials = dict(optimiser=training.muon(both, args.rate), ema=0.998, precision=args.precision)
    loss = objective(tokenizer.pad_token_id)
    history = training.fit(both, batches, loss, args.steps, folder=args.folder / "checkpoint", **dials)
    if not training.is_first():
        return
    rows = "\n".join("| " + " | ".join(row) + " |" for row in table(model, tokenizer, args.count))
    print(rows)
    recipe = [*(models.recipe_of("captioner") if args.go_on else []), ran(args, history)]
    facts = dict(rows=rows, count=args.count, shift=SHIFT, parameters=sum(p.numel() for p in model.parameters()))
    models.save(model, "captioner", CARD.format(**facts, **told(recipe)), tokenizer, recipe)


if __name__ == "__main__":
    main()
