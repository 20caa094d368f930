"""A thing that the model has never seen, taught from a few pictures: as a new word, or as a low-rank change.

Textual inversion (Gal et al. 2022) learns one row of the text encoder's embedding; DreamBooth (Ruiz et al. 2023)
changes the denoiser, here by a LoRA, and keeps what it knew by pictures of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import diffusion, evaluation, losses, models, runtime, sampling, training
from aigc_course.adaptation.drawings import INSIDE, focus_on_things
from aigc_course.adaptation.drawings import OF_THINGS as CODE
from aigc_course.scenes import Scene, Thing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
CAPTIONS = "captions.json"
PLACE = "{thing}"  # where a caption of the file names the thing
DENOISER = (  # where the lesson's LoRA changes the denoiser: how it looks around, what it makes of it and of the words
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    *("time_emb_proj", "add_embedding.proj"),
)
LATE = 1.5  # as the model was trained: much noise more often
LEARNT = "learned_embeds.safetensors"  # as `pipe.load_textual_inversion(folder)` looks for it


# --- your own pictures --------------------------------------------------------------------------------------


def own_pictures(folder: Path | str, least: int = 3, side: int = models.PICTURE) -> Tensor:
    """All pictures of a folder, in the order of their names, as the models read them: (B, 3, side, side) in [-1, 1].

    Of any size and kind: the middle square is kept, transparent places become white, grey is read as colour.
    """
    files = _files(folder)
    if len(files) < least:
        found = f"{len(files)} picture{'s' * (len(files) != 1)}" if files else "no picture"
        raise ValueError(f"{found} in {Path(folder).name}/: put {least} or more there ({', '.join(SUFFIXES)})")
    return torch.stack([_read(file, side) for file in files])


def _files(folder: Path | str) -> list[Path]:
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {Path(folder).name}: make it, and put your pictures there")
    return sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in SUFFIXES)


def _read(file: Path, side: int) -> Tensor:
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow says of broken files
        raise ValueError(f"{file.name} cannot be read as a picture: save it again as PNG, or take it away") from None
    white = Image.new("RGBA", picture.size, "white")
    square = ImageOps.fit(Image.alpha_composite(white, picture).convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return pixels.view(side, side, 3).permute(2, 0, 1).float() / 127.5 - 1


def own_captions(folder: Path | str, thing: str) -> list[list[str]]:
    """The ways in which `captions.json` tells each picture of a folder, with your word for the thing put in.

    The file is a dictionary: {"1.png": ["a large {thing} at sea", …], …}.  In the order of `own_pictures`.
    """
    files = [file.name for file in _files(folder)]
    try:
        told = dict(json.loads((Path(folder) / CAPTIONS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"there is no {CAPTIONS} in {Path(folder).name}/: write one there") from None
    except (TypeError, ValueError):  # not UTF-8, not JSON, not a dictionary
        raise ValueError(f'{CAPTIONS} is damaged: write {{"1.png": ["a {PLACE} at sea"], …}}') from None
    odd = sorted(told.keys() ^ set(files))
    if odd:
        side = "caption, but no picture" if odd[0] in told else "picture, but no caption"
        raise ValueError(f"{odd[0]} has a {side}: {CAPTIONS} and the folder must name the same files")
    for name, ways in told.items():
        if not isinstance(ways, list) or not ways or not all(isinstance(way, str) and PLACE in way for way in ways):
            raise ValueError(f"the captions of {name} must be a list of sentences that say {PLACE} each")
    return [[way.replace(PLACE, thing) for way in told[name]] for name in files]


# --- a new word ---------------------------------------------------------------------------------------------


def new_word(pipe: Any, token: str, like: str = "") -> int:
    """Freeze the pipeline, and give it a word that is one token, whose row of the embedding alone can learn.

    The row starts at the mean of those of `like`, words that the model knows (of all rows, if there are none);
    its number is returned.  The tokens are as `pipe.load_textual_inversion` would make them.
    """
    tokenizer, encoder = pipe.tokenizer, pipe.text_encoder
    if not token or any(letter.isspace() for letter in token):
        raise ValueError(f"{token!r} cannot be a token: choose a word without spaces, such as '<robot>'")
    if token in tokenizer.get_vocab():
        raise ValueError(
            f"{token!r} is a token already: choose a word that is none, such as '<my-{token.strip('<>')}>'"
        )
    rows = encoder.get_input_embeddings().weight.detach()
    start = rows[tokenizer(like, add_special_tokens=False).input_ids if like else slice(None)].mean(0)
    tokenizer.add_tokens(token)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    row = tokenizer.convert_tokens_to_ids(token)
    encoder.get_input_embeddings().weight.data[row] = start
    for part in (pipe.unet, pipe.vae, encoder):
        part.requires_grad_(False)
    only_row(encoder.get_input_embeddings(), row)
    return row


def only_row(embedding: nn.Embedding, row: int) -> Any:
    """Let one row of an embedding learn, and none of the others: their gradient is set to zero.

    Returns the hook; `hook.remove()` ends it.  No weight decay with it: that moves rows without a gradient, too.
    """
    if not 0 <= row < embedding.num_embeddings:
        raise ValueError(f"there is no row {row} in an embedding of {embedding.num_embeddings}: count from 0")
    mask = torch.zeros(embedding.num_embeddings, 1, device=embedding.weight.device)
    mask[row] = 1
    embedding.weight.requires_grad_(True)
    return embedding.weight.register_hook(lambda gradient: gradient * mask)


def save_token(pipe: Any, token: str, folder: Path | str) -> Path:
    """Write the learnt row of a token as diffusers does, to be read by `pipe.load_textual_inversion(folder)`."""
    from safetensors.torch import save_file

    row = pipe.tokenizer.get_vocab().get(token)
    if row is None:
        raise ValueError(f"this pipeline has no token {token!r}: adaptation.new_word gives it one")
    file = Path(folder) / LEARNT
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = pipe.text_encoder.get_input_embeddings().weight[row].detach().cpu().clone()
    save_file({token: kept}, file.with_suffix(".partial"), {"format": "pt"})
    return file.with_suffix(".partial").replace(file)


# --- the lesson ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lesson:
    """Latents and the ways in which each is told: (N, C, h, w), and N lists of captions."""

    latents: Tensor
    captions: list[list[str]]

    def __post_init__(self):
        if len(self.latents) != len(self.captions):
            raise ValueError(f"{len(self.latents)} latents, but captions for {len(self.captions)}: give each its own")


@torch.no_grad()
def latents_of(pipe: Any, pictures: Tensor) -> Tensor:
    """The latents of pictures, as the denoiser reads them: (B, 3, H, W) -> (B, C, h, w)."""
    pictures = pictures.to(pipe.device, pipe.vae.dtype)
    return pipe.vae.encode(pictures).latent_dist.mode().float() * pipe.vae.config.scaling_factor


def settled(z: Tensor) -> Tensor:
    """Latents of several pictures of one thing, with what they say is there made definite.  (B, C, h, w), the same.

    The encoder has no code for a new thing: it says "half a cat, half a car, perhaps here".  We read off where it is
    surest that something stands, draw a whole box there, as `models.meaning` does, and write in it the mean of the
    codes that it gave over all pictures: one new point between those of the known things.
    """
    told, sure = z[:, models.LOOK :], z[:, models.LOOK + INSIDE]
    inside = sure >= (sure.amax((1, 2), True) + sure.amin((1, 2), True)) / 2  # (B, h, w), nowhere empty
    code = (told[:, CODE:] * inside[:, None]).sum((0, 2, 3)) / inside.sum()
    whole = 0.5 * told[:, :INSIDE].mean((2, 3)).sign()  # style and place, as loud as they are told
    fresh = torch.zeros_like(told)
    fresh[:, :INSIDE] = whole[:, :, None, None]
    for picture, box in zip(fresh, inside, strict=True):
        _fill(picture, box, code)
    return torch.cat([z[:, : models.LOOK], fresh], 1)


def _fill(told: Tensor, inside: Tensor, code: Tensor) -> None:
    """Write one thing into the meaning of one picture: that it is there, where in its box each place is, its code."""
    rows, columns = (_span(inside.sum(axis)) for axis in (1, 0))
    high, wide = rows[1] - rows[0], columns[1] - columns[0]
    down, across = (((torch.arange(n) + 0.5) / n * 2 - 1).to(told) for n in (high, wide))
    box = told[:, slice(*rows), slice(*columns)]
    box[INSIDE], box[INSIDE + 1], box[INSIDE + 2] = 1, across, down[:, None]
    box[CODE:] = code[:, None, None]


def _span(counts: Tensor) -> tuple[int, int]:
    """From where to where a row of counts is at least a third of its largest."""
    much = (counts >= counts.max() / 3).nonzero().flatten().tolist()
    return much[0], much[-1] + 1


def moved(pictures: Tensor, copies: int, generator: torch.Generator, most: int = 16) -> Tensor:
    """Each picture several times, each time moved a little; its edge is drawn out.  (B, …) -> (copies · B, …).

    The thing then has no place of its own to be known by.
    """
    side = pictures.shape[-1]
    wide = F.pad(pictures, (most,) * 4, mode="replicate")
    corners = torch.randint(2 * most + 1, (copies, len(pictures), 2), generator=generator).tolist()
    cut = [wide[i, :, y : y + side, x : x + side] for copy in corners for i, (y, x) in enumerate(copy)]
    return torch.stack(cut)


def lesson(pipe: Any, pictures: Tensor, captions: Sequence[Sequence[str]], copies: int = 8, seed: int = 0) -> Lesson:
    """What a new thing is taught from: its pictures `moved`, as `settled` latents, with the captions of each."""
    if len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures, but captions for {len(captions)}: give each picture its own")
    latents = latents_of(pipe, moved(pictures, copies, runtime.generator(seed)))
    return Lesson(settled(latents), [list(ways) for ways in captions] * copies)


def remembered(pipe: Any, prompts: Sequence[str], steps: int = 10, scale: float = 2.0, seed: int = 0) -> Lesson:
    """What the model knows before the lesson: its own pictures of some prompts, left as latents.

    One time in four it is told nothing with them: guidance starts from the empty prompt, which must be kept, too.
    """
    predict, noise = sampling.guided(pipe, list(prompts), scale), sampling.start_noise(pipe, _seeds(prompts, seed))
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
    return Lesson(sampling.ddim(predict, noise, schedule, steps), [[prompt] * 3 + [""] for prompt in prompts])


def _seeds(prompts: Sequence[str], seed: int) -> list[int]:
    return [seed + k for k in range(len(prompts))]


def lesson_loss(pipe: Any, lesson: Lesson, count: int = 8, seed: int = 0) -> Tensor:
    """The loss of `teach` on the first latents of a lesson, told in their first way, with always the same noise."""
    z, ways = lesson.latents[:count], [ways[0] for ways in lesson.captions[:count]]
    schedule, focus = diffusion.Schedule.from_scheduler(pipe.scheduler), focus_on_things(z)
    how = dict(generator=runtime.generator(seed, pipe.device), gamma=None, focus=focus, late=LATE)
    return losses.denoising(pipe.unet, z, sampling.encode_words(pipe, ways), schedule, **how)


def teach(
    pipe: Any,
    own: Lesson,
    steps: int,
    prior: Lesson | None = None,
    weight: float = 1.0,
    batch: int = 8,
    learning_rate: float = 1e-3,
    seed: int = 0,
    remember: int | None = None,
    **fit: Any,
) -> training.History:
    """Train what can learn in denoiser and text encoder on a lesson; with `prior`, on what is remembered as well.

    The loss is `losses.denoising`, as the model itself was trained, or `losses.prior_preservation` with its weight.
    remember: pictures of `prior` in a step, None: half of `batch`;  fit: what else `training.fit` is told.
    """
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)

    def given(part: dict[str, Tensor]) -> dict[str, Tensor]:
        text = pipe.text_encoder(part["tokens"]).last_hidden_state
        return {"z": part["latents"], "text": text, "focus": focus_on_things(part["latents"])}

    def loss(model: nn.Module, both: dict, generator: torch.Generator) -> Tensor:
        how = dict(schedule=schedule, generator=generator, gamma=None, late=LATE)
        if prior is None:
            return losses.denoising(pipe.unet, **given(both["own"]), **how)
        return losses.prior_preservation(pipe.unet, given(both["own"]), given(both["prior"]), weight, **how)

    parts = nn.ModuleDict({"denoiser": pipe.unet, "text encoder": pipe.text_encoder})
    batches = _Batches(pipe.tokenizer, own, prior, batch, max(1, batch // 2 if remember is None else remember), seed)
    fit = dict(precision=runtime.training_precision(), generator=runtime.generator(seed, pipe.device)) | fit
    return training.fit(parts, batches, loss, steps, learning_rate=learning_rate, **fit)


class _Batches:
    """Batches without end: latents and tokens of the lesson and, if there are any, of what is remembered.

    They keep their place, which is the state of the generator that chooses.
    """

    def __init__(self, tokenizer: Any, own: Lesson, prior: Lesson | None, size: int, remember: int, seed: int):
        self.tokenizer, self.generator, self.seed = tokenizer, runtime.generator(seed), seed
        self.parts = {"own": (own, size)} | ({"prior": (prior, remember)} if prior else {})

    def __iter__(self) -> Iterator[dict]:
        while True:
            yield {name: self._some(*part) for name, part in self.parts.items()}

    def state_dict(self) -> dict[str, Any]:
        of = {name: [len(told.latents), size] for name, (told, size) in self.parts.items()} | {"seed": self.seed}
        return {"generator": self.generator.get_state().tolist(), "of": of}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(torch.tensor(state["generator"], dtype=torch.uint8))

    def _some(self, told: Lesson, size: int) -> dict[str, Tensor]:
        chosen = torch.randint(len(told.latents), (size,), generator=self.generator)
        texts = [self._way(told.captions[i]) for i in chosen.tolist()]
        longest = self.tokenizer.model_max_length
        how = dict(padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        tokens = self.tokenizer(texts, **how)
        return {"latents": told.latents[chosen], "tokens": tokens.input_ids}

    def _way(self, ways: list[str]) -> str:
        return ways[int(torch.randint(len(ways), (), generator=self.generator))]


# --- what was learnt, and what it cost ----------------------------------------------------------------------


def elsewhere(places: Sequence[str], styles: Sequence[str], sizes: Sequence[str] = ("large", "small")) -> list[Scene]:
    """A scene for each size, place and style, to be told by `scenes.new_caption(scene, rng, thing=…)`."""
    every = product(sizes, places, styles)
    return [Scene((Thing("circle", "white", size, 0.5, 0.5),), place, style) for size, place, style in every]


def portraits(
    judge: evaluation.Newcomers, parser: evaluation.Parser, pictures: Tensor, asked: Sequence[Scene], thing: str
) -> dict[str, Tensor]:
    """In which pictures the new thing is seen (identity), and place and style are as asked: bool (B,), and "all".

    The judge of newcomers reads the thing, the parser the rest; neither has a part in the drawing.
    """
    if len(pictures) != len(asked):
        raise ValueError(f"{len(pictures)} pictures of {len(asked)} scenes; give each picture its scene")
    seen = parser.read(pictures)
    found = {
        "thing": evaluation.shows(judge, pictures, thing=thing),
        "place": torch.tensor([a.background == b.background for a, b in zip(seen, asked, strict=True)]),
        "style": torch.tensor([a.style == b.style for a, b in zip(seen, asked, strict=True)]),
    }
    return found | {"all": torch.stack(list(found.values())).all(0)}
