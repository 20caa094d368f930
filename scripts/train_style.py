"""Train what chapter 5 ships: AdaIN's decoder, two transformation networks, an image-prompt adapter."""

import argparse
import copy
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import machine
import torch

from aigc_course import adaptation, diffusion, evaluation, models, runtime, sampling, scenes, style, training

KNOWN = (*scenes.STYLES, "chalk", "woodcut", "cut paper")  # painted in lessons; "sepia" is kept for the bench
TEXTURES = ("brick", "gravel", "grass", "hubble", "coffee", "retina")  # arbitrary styles, which nobody can redraw
SCENERY = ("rocket", "coffee", "clock")  # photographs as contents; "cat" and "astronaut" are kept for the notebooks
NETWORKS = ("points", "woodcut")
SEED = 52  # of the lessons' scenes
SIDE = models.PICTURE
SQUARE = 96  # pixels that a step sees of a content; of a style picture it sees all


def painted(samples):
    """Each scene in every known style, the plain one first: uint8 (B, styles, 3, H, W)."""
    rows = []
    for name in KNOWN:
        if name in scenes.STYLES:
            drawn = [replace(one, scene=replace(one.scene, style=name)) for one in samples]
            rows.append(scenes.pictures_as_bytes(drawn))
        else:
            rows.append(((scenes.new_pictures(samples, style=name) + 1) * 127.5).round().byte())
    return torch.stack(rows, 1)


def floats(pixels):
    """Bytes as the cast's numbers."""
    return pixels.float() / 127.5 - 1


class Lesson:
    """A batch: plain contents, style pictures of other scenes, and what should come out, where it can be drawn."""

    def __init__(self, rows, textured=0.15, photographed=0.1):
        self.rows, self.textured, self.photographed = rows, textured, photographed
        self.textures = [style.photograph(name, 2 * SIDE)[0] for name in TEXTURES]
        self.scenery = [style.photograph(name, 2 * SIDE)[0] for name in SCENERY]

    def __call__(self, indices, turn):
        triples = [self.triple(index, random.Random(f"{turn}/{index}")) for index in indices.tolist()]
        return dict(zip(("content", "style", "answer"), map(torch.stack, zip(*triples, strict=True)), strict=True))

    def triple(self, index, rng):
        """Content, style picture, answer: (3, H, W) each; an answer that nobody can draw is NaN."""
        which, other = rng.randrange(len(KNOWN)), rng.randrange(len(self.rows))
        content, manner, answer = floats(self.rows[index, 0]), floats(self.rows[other, which]), None
        if rng.random() < self.photographed:
            content, answer = cut(rng.choice(self.scenery), rng), torch.full_like(content, torch.nan)
        if rng.random() < self.textured:
            manner, answer = cut(rng.choice(self.textures), rng), torch.full_like(content, torch.nan)
        answer = floats(self.rows[index, which]) if answer is None else answer
        both = torch.cat([content, answer])
        shown, told = cut(both.flip(2) if rng.random() < 0.5 else both, rng, SQUARE).chunk(2)
        return shown, manner, told


def cut(picture, rng, side=SIDE):
    """A square somewhere in a picture."""
    top, left = (rng.randint(0, n - side) for n in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def rows_of(args):
    """All scenes of the lessons in all styles, made once and kept."""
    samples = scenes.samples(args.scenes, "train", SEED)
    return training.precomputed(args.folder / f"painted-{args.scenes}.safetensors", samples, painted, args.workers)


# --- the four lessons ---------------------------------------------------------------------------------------


def teach_decoder(args):
    """AdaIN's decoder: every known style, and textures."""
    features, decoder = style.encoder_features(), style.Decoder.shipped("adain") if args.go_on else style.Decoder()
    loss = partial(style.decoder_objective, features)
    batches = training.Shuffled(args.scenes, args.batch, Lesson(rows_of(args)))

    def objective(model, batch):
        return loss(model, batch["content"], batch["style"], batch["answer"], crossed=args.crossed)

    return decoder, fitted(decoder, batches, objective, args, "adain")


def teach_network(args, name):
    """A transformation network: one style, without being told what should come out."""
    kind = style.TransformationNetwork
    features = style.encoder_features()
    network = kind.shipped(f"network-{name}") if args.go_on else kind(style=name, side=5)
    rows = rows_of(args)
    pictures = floats(rows[:64, KNOWN.index(name)]).to(runtime.device())
    with torch.no_grad():
        network.remember(style.grams(features(pictures)))
    batches = training.Shuffled(args.scenes, args.batch, Lesson(rows, textured=0, photographed=0.25))

    def objective(model, batch):
        return style.network_objective(features, model, batch["content"], weight=args.weight)

    return network, fitted(network, batches, objective, args, f"network-{name}")


def teach_adapter(args):
    """The adapter: a style is shown by a picture in it, where the teacher, the denoiser as it was, is told its word."""
    pipe, clip = (models.load(name, dtype=torch.float32) for name in ("text-to-image", "clip"))
    tower = style.eye(clip)
    lesson, teacher = Shown(pipe, tower, rows_of(args)), copy.deepcopy(pipe.unet)
    state = style.new_adapter(pipe.unet, tower.config.projection_dim, runtime.generator(0))
    state = style.load_adapter()[0] if args.go_on else state
    style.put_adapter(pipe.unet, state)
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)

    def objective(unet, batch, generator):
        return style.adapter_objective(unet, batch, schedule, generator, teacher)

    batches = training.Shuffled(args.scenes, args.batch, lesson)
    history = fitted(pipe.unet, batches, objective, args, "adapter", training.muon(pipe.unet, args.rate))
    return (style.adapter_state(pipe.unet), tower), history


class Shown:
    """A batch for the adapter: latents, words with and without style, the vector of another picture in it."""

    def __init__(self, pipe, tower, rows, dropped=0.1):
        samples = scenes.samples(len(rows), "train", SEED)
        styled = {name: floats(rows[:, KNOWN.index(name)]) for name in scenes.STYLES}
        self.z = torch.stack([latents(pipe, samples, *some) for some in styled.items()])  # (styles, N, C, h, w)
        self.vector = torch.stack([style.vectors(tower, some) for some in styled.values()])
        self.text, *self.told = (told(pipe, samples, name) for name in (None, *scenes.STYLES))  # (languages, N, L, D)
        self.nothing, self.dropped = sampling.encode_words(pipe, [""])[0], dropped

    def __call__(self, indices, turn):
        rows = [self.one(index, turn, random.Random(f"{turn}/{index}")) for index in indices.tolist()]
        batch = dict(zip(("z", "text", "told", "vector"), map(torch.stack, zip(*rows, strict=True)), strict=True))
        return batch | dict(focus=adaptation.focus_on_things(batch["z"]))

    def one(self, index, turn, rng):
        """A latent, plain as contents are or already in the wanted style; no words and no picture where dropped."""
        which, other, language = rng.randrange(len(self.z)), rng.randrange(len(self.vector[0])), turn % len(self.text)
        z = self.z[which if rng.random() < 0.4 else 0, index]
        if rng.random() < self.dropped:  # what guidance leaves
            return z, self.nothing, self.nothing, torch.zeros_like(self.vector[0, 0])
        return z, self.text[language, index], self.told[which][language, index], self.vector[which, other]


@torch.no_grad()
def latents(pipe, samples, name, pictures):
    """Latents of scenes drawn in a style, what is where in them written as it is."""
    samples = [replace(one, scene=replace(one.scene, style=name)) for one in samples]
    parts = pictures.to(pipe.device, pipe.vae.dtype).split(32)
    z = torch.cat([pipe.vae.encode(part).latent_dist.mode() for part in parts]).float() * pipe.vae.config.scaling_factor
    z[:, models.LOOK :] = models.meaning(samples, z.shape[-1]).to(z)
    return z


def told(pipe, samples, name):
    """The text encoder's states of captions that tell a style, or none: (languages, B, L, D)."""
    facts = [replace(one.scene.facts, style=name) for one in samples]
    ways = [[scenes.caption(one, random.Random(k), way) for k, one in enumerate(facts)] for way in scenes.LANGUAGES]
    parts = ([way[k : k + 64] for k in range(0, len(way), 64)] for way in ways)
    return torch.stack([torch.cat([sampling.encode_words(pipe, part) for part in way]) for way in parts])


def fitted(model, batches, objective, args, name, optimiser=None):
    """Train, resuming where a checkpoint stands."""
    dials = dict(learning_rate=args.rate, optimiser=optimiser, ema=0.99, precision=args.precision, save_every=50)
    own = {dial: vars(args)[dial] for dial in OWN[args.kind] if dial != "style"}
    dials["folder"] = machine.begun(args, args.folder / name, name, **own)
    return training.fit(model.to(runtime.device()), batches, objective, args.steps, **dials)


# --- what is shipped ----------------------------------------------------------------------------------------

RUN = "{steps:,} steps of {batch}, {optimiser} {rate:g}, {precision}, {minutes:.0f} minutes, last loss {loss:.3f}"
CARDS = {
    "adain": """# adain

The decoder of AdaIN (Huang & Belongie 2017) behind the encoder of `text-to-image`: any picture in the manner of any
other, in one pass.

```python
from aigc_course import style
painted = style.transfer(content, manner)  # PIL, or (B, 3, H, W) in [-1, 1], of any size
```

| | |
|---|---|
| class | `aigc_course.style.Decoder`: maps of the encoder's layer `{layer}` → pixels; {parameters:,} numbers in half precision |
| objective | maps that AdaIN made (content loss), means and spreads of every layer of the encoder (style loss), {crossed:g} × Gatys' style loss there, and, where the world can draw the answer, 3 × the absolute error of its pixels: so it has seen more than AdaIN's authors let theirs see |
| data | {scenes:,} training scenes in plain style as contents; other scenes in {known} as styles, and crops of six photographs ({textures}), a tenth of the contents too are photographs |
| training | {runs} |
| remade by | `python scripts/train_style.py adain`, after `train_text_to_image.py`; it fits no other encoder |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `evaluation.load_parser()`, which had no part in training, on {asked} test contents with other test scenes in
each of the eight drawing styles, 95 % bootstrap intervals: {found}.

**Fails** where a style is not made of local colour and texture, on styles far from those it was shown, on small print
and faces, and by leaving large flat areas restless.  All measures beside the other methods: `data/bench/style.md`.
""",  # noqa: E501
    "network": """# network-{style}

A transformation network (Johnson et al. 2016) for one style, “{style}”.

```python
from aigc_course import style
painted = style.transfer(content, "{style}", method="network")  # PIL, or (B, 3, H, W) in [-1, 1], of any size
```

| | |
|---|---|
| class | `aigc_course.style.TransformationNetwork`: {parameters:,} numbers in half precision |
| objective | Gatys' loss: maps of the encoder of `text-to-image` (content), {weight:g} × mean Gram matrices of 64 pictures in the style, total variation; it is never told what should come out |
| data | {scenes:,} training scenes in plain style, a quarter of the contents photographs |
| training | {runs} |
| remade by | `python scripts/train_style.py network --style "{style}"`, after `train_text_to_image.py` |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `evaluation.{judge}()`, which had no part in training, on {asked} test contents, 95 % bootstrap intervals:
{found}.

**Fails** on every other style: it knows one.  All measures beside the other methods: `data/bench/style.md`.
""",  # noqa: E501
    "adapter": """# adapter

An image-prompt adapter (IP-Adapter, Ye et al. 2023) for the denoiser of `text-to-image`: a picture tells the style.

```python
from diffusers import DiffusionPipeline
from transformers import CLIPImageProcessorPil
pipe = DiffusionPipeline.from_pretrained("data/models/text-to-image")
pipe.register_modules(feature_extractor=CLIPImageProcessorPil.from_pretrained("data/models/adapter/feature_extractor"))
pipe.load_ip_adapter("data/models/adapter", subfolder="", weight_name="ip-adapter.safetensors")
pipe("a large red house in a meadow", ip_adapter_image=picture, guidance_scale=2.0).images[0]
```

| | |
|---|---|
| parts | the vision tower of `clip`, unchanged; its vector as four tokens; keys and values for these in every attention to words: {parameters:,} numbers learnt, in half precision |
| objective | to guess from the picture, and from words without style, what the denoiser itself guesses from words that tell the style: the denoiser is the teacher.  Ye et al. let the adapter guess the noise; but a noisy latent betrays its own style, so that it need hardly look at the picture |
| data | {scenes:,} training scenes in eight styles, six in ten latents in plain style whatever style is asked for; captions in two languages; the style shown by a picture of another scene; one in ten without words and picture, for guidance |
| training | {runs} |
| remade by | `python scripts/train_style.py adapter`, after `train_text_to_image.py`, `train_clip.py` and `train_captioner.py`, whose captioner the judging needs; its defaults may differ from the run above |
| licence | code Apache-2.0, weights CC BY 4.0 |

Judged by `evaluation.load_parser()`, which had no part in training, on {asked} test contents, redrawn
(`style.transfer(…, method="adapter")`), 95 % bootstrap intervals: {found}.

**Fails** on styles that the denoiser cannot draw or that `clip` does not tell apart: it knows the eight of its lesson, and
gives any other picture one of these or a mixture.  Several pictures in one call of the stock pipeline are mixed: its
`ip_adapter_image_embeds` are repeated for each prompt, so give it one picture a call.
""",  # noqa: E501
}


def judged(args, method, which):
    """Style and content of some transfers, as the judges see them: a line for the card."""
    samples, others = scenes.samples(args.asked, "test", seed=54), scenes.samples(args.asked, "test", seed=55)
    names = [which[k % len(which)] for k in range(args.asked)]
    contents = scenes.pictures([replace(one, scene=replace(one.scene, style="flat")) for one in samples])
    if method == "network":
        made = style.transfer(contents, names[0], method=method)
    else:
        manner = [replace(one, scene=replace(one.scene, style=name)) for one, name in zip(others, names, strict=True)]
        made = style.transfer(contents, scenes.pictures(manner), method=method)
    if names[0] in scenes.STYLES:
        seen = evaluation.load_parser().read(made)
        things = [sorted(thing.name for thing in each.things) for each in seen]
    else:
        seen = evaluation.load_newcomers().read(made)
        things = [sorted(each.names) for each in seen]
    right = [each.style == name for each, name in zip(seen, names, strict=True)]
    same = [sorted(t.name for t in one.scene.things) == found for one, found in zip(samples, things, strict=True)]
    return f"style as asked {evaluation.interval(right)}, every thing there {evaluation.interval(same)}"


UNJUDGED = "Trained, and not yet judged: run `python scripts/train_style.py` again.\n"


def ship(args, kind, model, history, folder_name):
    """Write data/models/<name>: weights, card with what the judges say, recipe, hashes."""
    told = {key: vars(args)[key] for key in ("scenes", "steps", "batch", "rate", "precision", *OWN[kind])}
    told |= dict(loss=history.smoothed(50)[-1], minutes=history.seconds[-1] / 60)
    recipe = [*(models.recipe_of(folder_name) if args.go_on else []), told]
    store(kind, model, folder_name, UNJUDGED, recipe)  # judged as it is shipped
    which = [args.style] if kind == "network" else scenes.STYLES
    found = judged(args, kind, which)
    print(f"{folder_name}: {found}", flush=True)
    facts = dict(known=", ".join(KNOWN), textures=", ".join(TEXTURES), asked=args.asked, found=found)
    facts |= dict(parameters=numbers(kind, model), layer=getattr(model, "layer", ""))
    facts |= dict(judge="load_parser" if which[0] in scenes.STYLES else "load_newcomers")
    facts["runs"] = "; then ".join(RUN.format(optimiser=OPTIMISER.get(kind, "AdamW"), **run) for run in recipe)
    store(kind, model, folder_name, CARDS[kind].format(**told, **facts), recipe)


def numbers(kind, model):
    """How many were learnt."""
    if kind == "adapter":
        return sum(value.numel() for part in model[0].values() for value in part.values())
    return sum(p.numel() for p in model.parameters())


def store(kind, model, name, card, recipe):
    """The folder, whole."""
    if kind != "adapter":
        models.save(model, name, card, recipe=recipe)
        model.float()
        return
    models.put_in_place(models.folder_of(name), partial(style.save_adapter, *model), card, recipe)


OWN = {"adain": ("crossed",), "network": ("style", "weight"), "adapter": ()}  # dials that only one lesson has
DEFAULTS = {"adain": (2600, 4, 2e-3), "network": (1200, 4, 2e-3), "adapter": (1200, 16, 6e-3)}  # steps, batch, rate
OPTIMISER = {"adapter": "Muon"}  # the others' is AdamW


def main():
    """Train one, or all one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", choices=[*DEFAULTS, "all"], default="all")
    parser.add_argument("--style", choices=KNOWN, help="of a network; both that are shipped if not given")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--weight", type=float, default=5.0, help="weight of the style loss in a network's lesson")
    parser.add_argument("--crossed", type=float, default=3.0, help="weight of Gatys' style loss in AdaIN's lesson")
    parser.add_argument("--go-on", action="store_true", help="start from what is shipped; name another --folder")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--workers", type=int, default=machine.WORKERS, help="processes that draw")
    parser.add_argument("--asked", type=int, default=64, help="pictures that are judged for the card")
    parser.add_argument("--folder", type=Path, default=Path("runs/style"), help="where checkpoints go")
    args = parser.parse_args()
    if args.style and args.kind != "network":
        parser.error(f"--style {args.style}: only a network has a style of its own: train_style.py network --style …")
    redrawing = ("clip", "captioner") if args.kind in ("adapter", "all") else ()
    for needed in ("text-to-image", "parser", "newcomers", *redrawing):
        models.verify(models.folder_of(needed))  # what lessons and judges use, before they take an hour
    for kind in DEFAULTS if args.kind == "all" else [args.kind]:
        for name in ([args.style] if args.style else NETWORKS) if kind == "network" else [None]:
            torch.manual_seed(0)
            usual = dict(zip(("steps", "batch", "rate"), DEFAULTS[kind], strict=True))
            given = {dial: value for dial, value in vars(args).items() if value is not None}
            own = argparse.Namespace(**usual | given | {"kind": kind, "style": name})
            model, history = {"adain": teach_decoder, "adapter": teach_adapter}.get(kind, teach_network)(
                *([own, name] if kind == "network" else [own])
            )
            if training.is_first():
                ship(own, kind, model, history, f"network-{name}" if name else kind)


if __name__ == "__main__":
    main()
