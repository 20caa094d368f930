"""Train the captioner: the eyes of `clip`, the tongue of `lm`, and new attention between them."""

import argparse
import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import eyes
import machine
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from train_clip import ran, recoloured, renamed, told

from aigc_course import evaluation, losses, models, runtime, scenes, training

MISHEARD = 4  # one caption in so many is fed with a word changed
PALED = 3  # one picture in so many is shown in other hues and manners, and not told
WEIGHT = 0.1  # of the error in what is there, beside the nats of a token
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
| objective | cross-entropy of the caption, one in {misheard} fed with a word changed; and each patch, and the token of the whole, is asked what is there (`scripts/eyes.py`), by layers that are then dropped; one picture in {paled} is shown in other hues and manners, and asked only that; a word that training never shows beside the others is not counted as wrong |
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

**Fails** mostly on the name of a thing, and more on compositions that training never saw. It tells of every picture as
if it were of its world: things, colours and styles that it has not learnt it calls by names that it has. Below,
held-out compositions and what it wrongly said of them.

![Pictures and the captions in which some fact is wrong](../../sheets/captioner.png)
"""  # noqa: E501


class Told:
    """Fills a batch: pictures as bytes, moved a little, a caption of each in either language, and what is there.

    Beside the `tokens` of a caption come those `heard`, which are fed: one in `MISHEARD` has another word in one place,
    so that words are learnt from the picture and not from one another.  `barred` (B, N, 2) are the places and tokens
    with which a caption could only go on to tell of what training never shows together (`eyes.never_met`), were one
    word of it changed; (0, 0) bars nothing.
    """

    def __init__(self, samples, pictures, tokenizer, never):
        self.samples, self.pictures, self.tokenizer, self.never = samples, pictures, tokenizer, never

    def __call__(self, indices, turn):
        chosen, paled = [self.samples[index] for index in indices.tolist()], torch.arange(len(indices)) % PALED == 0
        away = [[] if pale else one_word_away(one.scene.facts) for pale, one in zip(paled, chosen, strict=True)]
        texts = [self.texts(one, f"{turn}/{one.seed}", rest) for one, rest in zip(chosen, away, strict=True)]
        tokens = iter(self.tokenizer([text for row in texts for text in row]).input_ids)
        rows = [[next(tokens) for _ in row] for row in texts]
        heard = [misheard if len(misheard) == len(told) else told for told, misheard, *_ in rows]
        barred = [self.barred(rest, *row) for rest, row in zip(away, rows, strict=True)]
        return {
            "pictures": eyes.shifted(self.pictures[indices], turn * len(self.samples) + indices[0].item()),
            "tokens": self.padded([told for told, *_ in rows]),
            "heard": self.padded(heard),
            "barred": pad_sequence([torch.tensor(row) for row in barred], True),
            "paled": paled,  # and nothing is told of these
            **eyes.told(chosen),
        }

    def texts(self, sample, seed, away):
        """A caption; the same as it is heard; of each scene one word `away`: all told with the same turns."""
        facts, rng = sample.scene.facts, random.Random(f"heard {seed}")
        language, change = rng.choice(scenes.LANGUAGES), rng.choice((renamed, recoloured, restyled))
        heard = change(facts, rng) if rng.randrange(MISHEARD) == 0 else facts
        told = (facts, heard, *away)
        return [scenes.marked_caption(one, random.Random(seed), language) for one in told]

    def barred(self, away, told, _heard, *others):
        """Where and with which token the captions of strange scenes part from the one told, but no others do."""
        parted = {True: set(), False: set()}
        for other, tokens in zip(away, others, strict=True):
            parted[is_strange(other, self.never)].add(parting(told, tokens))
        return [(0, 0), *sorted(parted[True] - parted[False])]

    def padded(self, rows):
        """Rows of tokens as one tensor: (B, L)."""
        return pad_sequence([torch.tensor(row) for row in rows], True, self.tokenizer.pad_token_id)


def parting(told, other):
    """Where two captions first differ, and the other's token there."""
    return next((at, theirs) for at, (own, theirs) in enumerate(zip(told, other, strict=False)) if own != theirs)


def restyled(facts, rng):
    """The facts in another style."""
    return replace(facts, style=rng.choice(scenes.STYLES))


def one_word_away(facts):
    """The facts with one style, name or colour changed, in every way."""
    found = [replace(facts, style=style) for style in scenes.STYLES]
    for index, group in enumerate(facts.groups):
        changed = [replace(group, name=name) for name in scenes.THINGS]
        changed += [replace(group, colour=colour) for colour in scenes.COLOURS]
        before, after = facts.groups[:index], facts.groups[index + 1 :]
        found += [replace(facts, groups=(*before, other, *after)) for other in changed]
    return [other for other in found if other != facts]


def is_strange(facts, never):
    """Whether two words of the facts are a pair that training never shows."""
    names = [group.name for group in facts.groups]
    pairs = {(group.name, group.colour) for group in facts.groups} | set(product(names, [facts.style, *names]))
    return not pairs.isdisjoint(never)


def objective(pad):
    """Nats for each token of the captions, and how wrong it is about what is there."""

    def loss(model, batch):
        order = batch["paled"].argsort(descending=True, stable=True)  # the paled come first
        batch = {name: rows[order] for name, rows in batch.items()}
        captioner, tokens, first = model["captioner"], batch["tokens"], int(batch["paled"].sum())
        looks = batch["pictures"].float() / 127.5 - 1
        seen = captioner.encoder(torch.cat([eyes.disguised(looks[:first]), looks[first:]])).last_hidden_state
        words = captioner.decoder.get_input_embeddings()(batch["heard"][first:, :-1])
        said = captioner(encoder_outputs=(seen[first:],), decoder_inputs_embeds=words).logits.float()
        places, strange = batch["barred"][first:].unbind(2)
        barred = torch.zeros(*tokens[first:].shape, said.shape[-1], dtype=torch.bool, device=said.device)
        barred[torch.arange(len(said), device=said.device)[:, None], places, strange] = True
        said = said.masked_fill(barred[:, 1:], -torch.inf)[:, 1:]
        nats = losses.cross_entropy(said, tokens[first:, 2:], ignore=pad)
        return nats + WEIGHT * model["asked"](seen, batch, first)

    return loss


def asked_of(split, count):
    """The scenes of a split on which it is examined."""
    return scenes.samples(count, split, seed=9)


def examined(model, tokenizer, count):
    """What it reaches on either split, in either language."""
    return {
        (split, language): evaluation.captioning(model, tokenizer, asked_of(split, count), language)
        for split, language in product(("test", "held-out"), scenes.LANGUAGES)
    }


def table(reached):
    """For each split and language: nats above entropy, exact captions, BLEU-4 and CIDEr-D by the grammar's own."""
    rows = []
    for (split, language), found in reached.items():
        ratios = found.bleu / found.grammar_bleu, found.cider / found.grammar_cider
        shown = [f"{found.above:.4f}", f"{found.exact:.3f}", *(f"{ratio:.3f}" for ratio in ratios)]
        rows.append([f"{split}, {language}", *shown])
    return rows


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=22, help="which scenes; no other model is trained on these")
    parser.add_argument("--go-on", action="store_true", help="from the shipped captioner")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw, and fill batches")
    parser.add_argument("--count", type=int, default=500, help="scenes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/captioner"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    model = models.captioner(*(models.load(name, dtype=torch.float32) for name in ("clip", "lm")))
    samples = scenes.samples(args.scenes, "train", args.seed)
    cache = args.folder / f"pictures-{args.seed}.safetensors"
    pictures = training.precomputed(cache, samples, scenes.pictures_as_bytes, args.workers)
    if args.go_on:
        model.load_state_dict(models.load("captioner", dtype=torch.float32).state_dict())
    never = eyes.never_met(samples)
    asked = eyes.Asked(model.encoder.config.hidden_size, never)
    both = nn.ModuleDict({"captioner": model, "asked": asked}).to(runtime.device())
    eyes.write_out_attention(model)
    fill = Told(samples, pictures, tokenizer, never)
    batches = training.Shuffled(len(samples), args.batch, fill, workers=args.workers)
    dials = dict(optimiser=training.muon(both, args.rate), ema=0.998, precision=args.precision)
    loss = objective(tokenizer.pad_token_id)
    folder = machine.begun(args, args.folder / "checkpoint", "captioner")
    history = training.fit(both, batches, loss, args.steps, folder=folder, **dials)
    if not training.is_first():
        return
    rows = "\n".join("| " + " | ".join(row) + " |" for row in table(examined(model, tokenizer, args.count)))
    print(rows)
    recipe = [*(models.recipe_of("captioner") if args.go_on else []), ran(args, history)]
    facts = dict(rows=rows, count=args.count, shift=eyes.SHIFT, misheard=MISHEARD, paled=PALED)
    facts |= dict(parameters=sum(p.numel() for p in model.parameters()))
    models.save(model, "captioner", CARD.format(**facts, **told(recipe)), tokenizer, recipe)


if __name__ == "__main__":
    main()
