"""Train CLIP: pictures and captions, in two languages, in one space."""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import eyes
import machine
import torch
from torch import nn

from aigc_course import evaluation, losses, models, runtime, scenes, training

KIN = 4  # scenes in a batch that differ from one another in one fact or two
PALED = 3  # one family in so many is shown in other hues: what a thing is must be seen in its shape alone
WEIGHT = 0.5  # of the error in what is there, beside the contrastive nats
CARD = """# clip

A small CLIP: pictures of the course's world and captions in English or Chinese, in one space of {width} numbers.

```python
from transformers import AutoTokenizer, CLIPModel
model = CLIPModel.from_pretrained("data/models/clip")
tokenizer = AutoTokenizer.from_pretrained("data/models/clip")
```

| | |
|---|---|
| class | `CLIPModel`, a ViT and a text encoder of {layers} layers each, {parameters:,} numbers in half precision |
| data | drawn training scenes, each shifted by up to {shift} pixels anew, full captions told anew in each pass, half of them Chinese |
| objective | contrastive, captions of the same facts are left out.  Scenes come by fours that differ in one fact each, so that no fact can be overlooked; and each patch, and the token of the whole, is asked what is there (`scripts/eyes.py`), by layers that are then dropped; one family in {paled} is shown in other hues, and asked only that, so that a shape is known whatever its colour; a word that training never shows beside the others is not counted as wrong |
| training | {shown:,} pictures, Muon, {minutes:.0f} minutes; each run below starts from the one before |
| remade by | `python scripts/train_clip.py`, then again with `--go-on` |
| licence | code Apache-2.0, weights CC BY 4.0 |

{runs}

On {count:,} scenes of the test split:

| | English | Chinese |
|---|---|---|
{rows}

**Fails** on names more than on anything else: of a picture it takes a small or roughly painted thing for one of like
shape. It reads the words of its world and no others. Below, things of the test split with the name that it liked
better.

![Things whose name `clip` got wrong, and the name it preferred](../../sheets/clip.png)
"""  # noqa: E501


def families(count, seed=36):
    """`count` samples of the training split, by families of `KIN`: a scene at random, and others one fact away."""
    return [one for index in range(count // KIN) for one in family(scenes.sample(index, "train", seed))]


def family(sample):
    """A sample and its kin: one with another name, one with another colour, one changed at random."""
    rng, facts = random.Random(sample.seed), sample.scene.facts
    kin = [sample]
    for change in (renamed, recoloured, rng.choice(CHANGES)):
        while True:
            scene = scenes.arrange(change(facts, rng), rng)
            if scenes.split_of(scene) == "train" and scene.facts not in (one.scene.facts for one in kin):
                break
            change = rng.choice([renamed, recoloured])  # some facts allow no other change of a kind
        kin.append(scenes.Sample(scene, rng.getrandbits(31)))
    return kin


def one_group(facts, rng, **fields):
    """The facts with one group of things changed."""
    groups = list(facts.groups)
    which = rng.randrange(len(groups))
    groups[which] = replace(groups[which], **fields)
    return replace(facts, groups=tuple(groups))


def renamed(facts, rng):
    """Another thing in the place of one."""
    return one_group(facts, rng, name=rng.choice(list(scenes.THINGS)))


def recoloured(facts, rng):
    """Another colour for one, or the colours of two exchanged."""
    if len(facts.groups) == 2 and rng.random() < 0.5:
        return swapped(facts)
    return one_group(facts, rng, colour=rng.choice(list(scenes.COLOURS)))


def resized(facts, rng):
    """The other size for one."""
    return one_group(facts, rng, size=rng.choice(list(scenes.SIZES)))


def recounted(facts, rng):
    """Another number of the same, or the pair turned."""
    return turned(facts, rng) if len(facts.groups) == 2 else one_group(facts, rng, count=rng.randint(1, 4))


def turned(facts, rng):
    """Sides exchanged, or beside for above; of one kind, another number."""
    if len(facts.groups) == 1:
        return recounted(facts, rng)
    if rng.random() < 0.5:
        return replace(facts, groups=facts.groups[::-1])
    return replace(facts, relation=rng.choice(scenes.RELATIONS))


def repainted(facts, rng):
    """All of it in another style."""
    return replace(facts, style=rng.choice(scenes.STYLES))


def elsewhere(facts, rng):
    """All of it in another place."""
    return replace(facts, background=rng.choice(scenes.BACKGROUNDS))


CHANGES = renamed, recoloured, resized, recounted, turned, repainted, elsewhere


class Told:
    """Fills a batch with families: pictures, a caption of each in either language, the number of its facts, and what is
    there."""

    def __init__(self, samples, pictures, tokenizer):
        self.samples, self.pictures, self.tokenizer = samples, pictures, tokenizer
        numbers = {}
        self.numbers = torch.tensor([numbers.setdefault(s.scene.facts, len(numbers)) for s in samples])

    def __call__(self, chosen, turn):
        texts, indices = [], (KIN * chosen[:, None] + torch.arange(KIN)).flatten()
        for index in indices.tolist():
            rng = random.Random(f"{turn}/{index}")
            texts.append(scenes.caption(self.samples[index].scene, rng, rng.choice(scenes.LANGUAGES)))
        return {
            "pictures": eyes.shifted(self.pictures[indices], turn * len(self.samples) + indices[0].item()),
            "tokens": self.tokenizer(texts, padding=True, return_tensors="pt").input_ids,
            "scene": self.numbers[indices],
            **eyes.told([self.samples[index] for index in indices.tolist()]),
        }


def objective(model, batch):
    """The contrastive loss of pictures in their own colours, and how wrong it is about what is there."""
    clip, first = model["clip"], len(batch["pictures"]) // PALED // KIN * KIN
    looks = batch["pictures"].float() / 127.5 - 1
    seen = clip.vision_model(torch.cat([eyes.discoloured(looks[:first]), looks[first:]]))
    pictures = clip.visual_projection(seen.pooler_output[first:])
    words = clip.text_projection(clip.text_model(batch["tokens"][first:]).pooler_output)
    scale = clip.logit_scale.clamp(max=4.6).exp()
    scene = batch["scene"][first:]
    together = losses.contrastive(pictures.float(), words.float(), scale, scene[:, None] == scene)  # which caption fits
    return together + WEIGHT * model["asked"](seen.last_hidden_state, batch, first)


@torch.no_grad()
def embedded(model, tokenizer, pictures=None, texts=()):
    """Pictures, or texts, in the shared space, of length 1: (B, D)."""
    device, found = model.device, []
    if pictures is not None:
        found = [model.get_image_features(pixel_values=some.to(device)) for some in pictures.split(128)]
    for start in range(0, len(texts), 512):
        tokens = tokenizer(texts[start : start + 512], padding=True, return_tensors="pt").input_ids.to(device)
        found.append(model.get_text_features(input_ids=tokens))
    found = torch.cat([getattr(one, "pooler_output", one).float().cpu() for one in found])
    return found / found.norm(dim=1, keepdim=True)


def alternatives(facts, what):
    """The facts of one kind of thing, and then the same with one of them changed in each possible way."""
    (group,) = facts.groups
    if what in ("background", "style"):
        options = {"background": scenes.BACKGROUNDS, "style": scenes.STYLES}[what]
        return [facts, *(replace(facts, **{what: one}) for one in options if one != getattr(facts, what))]
    options = {"name": scenes.THINGS, "colour": scenes.COLOURS, "size": scenes.SIZES, "count": range(1, 5)}[what]
    changed = [replace(group, **{what: one}) for one in options if one != getattr(group, what)]
    return [facts, *(replace(facts, groups=(one,)) for one in changed)]


def swapped(facts):
    """A pair of things with their colours exchanged."""
    first, second = facts.groups
    return replace(facts, groups=(replace(first, colour=second.colour), replace(second, colour=first.colour)))


def nearest(model, tokenizer, samples, candidates, language):
    """For each scene, which of its candidate facts its picture is nearest to: (B,) places, 0 for the first."""
    pictures = embedded(model, tokenizer, scenes.pictures(samples, models.PICTURE))
    texts = [scenes.caption(facts, random.Random(k), language) for k, row in enumerate(candidates) for facts in row]
    words = embedded(model, tokenizer, texts=texts).split([len(row) for row in candidates])
    return torch.stack([(of @ picture).argmax() for picture, of in zip(pictures, words, strict=True)])


def chosen_first(*asked):
    """For each scene, whether its picture is nearer to the first of its candidate facts than to all others."""
    return nearest(*asked) == 0


def found_again(model, tokenizer, samples, language):
    """Recall at 1, picture to caption and back, and its ceiling: scenes of the same facts cannot be told apart."""
    facts = [one.scene.facts for one in samples]
    texts = [scenes.caption(each, random.Random(k), language) for k, each in enumerate(facts)]
    pictures = embedded(model, tokenizer, scenes.pictures(samples, models.PICTURE))
    alike = pictures @ embedded(model, tokenizer, texts=texts).T
    own = torch.arange(len(facts))
    ceiling = sum(1 / count for count in (facts.count(each) for each in facts)) / len(facts)
    return (alike.argmax(1) == own).float(), (alike.argmax(0) == own).float(), ceiling


def table(model, tokenizer, count):
    """Every measure in both languages, as rows."""
    single = scenes.samples(count, "test", seed=9, task="single")
    pairs = [one for one in scenes.samples(count, "test", seed=9, task="pair") if swappable(one.scene.facts)]
    mixed, rows = scenes.samples(count, "test", seed=9), []

    def row(name, measure):
        rows.append([name, *(str(measure(language)) for language in scenes.LANGUAGES)])

    for what in ("name", "colour", "size", "count", "background", "style"):
        asked = [alternatives(one.scene.facts, what) for one in single]
        row(f"zero-shot {what}", lambda lang, asked=asked: shares(chosen_first(model, tokenizer, single, asked, lang)))
    asked = [[one.scene.facts, swapped(one.scene.facts)] for one in pairs]
    row("colours of a pair not exchanged", lambda lang: shares(chosen_first(model, tokenizer, pairs, asked, lang)))
    back = {language: found_again(model, tokenizer, mixed, language) for language in scenes.LANGUAGES}
    row(f"R@1 of {count:,}, picture to caption (ceiling {back['en'][2]:.3f})", lambda lang: shares(back[lang][0]))
    row(f"R@1 of {count:,}, caption to picture (ceiling {back['en'][2]:.3f})", lambda lang: shares(back[lang][1]))
    return rows


def swappable(facts):
    """Whether exchanging colours makes another scene."""
    return facts.groups[0].colour != facts.groups[1].colour and swapped(facts).groups[0].name != facts.groups[1].name


def shares(right):
    """The share of right answers, with its interval, in three digits."""
    return f"{evaluation.interval(right.float()):.3f}"


def ran(args, history):
    """What one run was, for the recipe."""
    told = {name: vars(args)[name] for name in ("steps", "batch", "rate", "scenes", "seed", "precision")}
    return told | dict(loss=round(history.smoothed(200)[-1], 4), minutes=history.seconds[-1] / 60)


def told(recipe):
    """The runs of a recipe as a table, and what they come to."""
    rows = ["| run | precision | steps × batch | rate | scenes (seed) | loss | minutes |", "|---" * 7 + "|"]
    row = "| {run} | {precision} | {steps:,} × {batch} | {rate:g} | {scenes:,} ({seed}) | {loss} | {minutes:.0f} |"
    rows += [row.format(run=number, **({"loss": "–"} | run)) for number, run in enumerate(recipe, start=1)]
    shown = sum(run["steps"] * run["batch"] for run in recipe)
    return dict(runs="\n".join(rows), shown=shown, minutes=sum(run["minutes"] for run in recipe))


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=36, help="which scenes; no other model is trained on these")
    parser.add_argument("--go-on", action="store_true", help="start from the shipped weights, not from nothing")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw, and fill batches")
    parser.add_argument("--count", type=int, default=1000, help="scenes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/clip"))
    args = parser.parse_args()
    if args.batch % KIN or not 0 < args.batch <= args.scenes:
        parser.error(f"--batch {args.batch}: whole families fill it, so choose a multiple of {KIN} up to --scenes")
    torch.manual_seed(0)
    tokenizer = models.load("tokenizer")
    samples = families(args.scenes, args.seed)
    cache = args.folder / f"pictures-{args.seed}.safetensors"
    pictures = training.precomputed(cache, samples, scenes.pictures_as_bytes, args.workers)
    clip = models.load("clip", dtype=torch.float32) if args.go_on else models.clip(tokenizer)
    asked = eyes.Asked(clip.config.vision_config.hidden_size, eyes.never_met(samples))
    model = nn.ModuleDict({"clip": clip, "asked": asked}).to(runtime.device())
    eyes.write_out_attention(clip)
    fill = Told(samples, pictures, tokenizer)
    batches = training.Shuffled(len(samples) // KIN, args.batch // KIN, fill, workers=args.workers)
    dials = dict(optimiser=training.muon(model, args.rate), ema=0.998, precision=args.precision)
    folder = machine.begun(args, args.folder / "checkpoint", "clip")
    history = training.fit(model, batches, objective, args.steps, folder=folder, **dials)
    if not training.is_first():
        return
    rows = "\n".join("| " + " | ".join(row) + " |" for row in table(clip, tokenizer, args.count))
    print(rows)
    recipe = [*(models.recipe_of("clip") if args.go_on else []), ran(args, history)]
    facts = dict(rows=rows, width=clip.config.projection_dim, layers=clip.config.vision_config.num_hidden_layers)
    facts |= dict(parameters=sum(p.numel() for p in clip.parameters()), count=args.count, shift=eyes.SHIFT, paled=PALED)
    models.save(clip, "clip", CARD.format(**facts, **told(recipe)), tokenizer, recipe)


if __name__ == "__main__":
    main()
