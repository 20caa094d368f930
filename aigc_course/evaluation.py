"""Measures pictures and captions against the scene that made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import permutations, zip_longest
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import losses, models, runtime, scenes
from aigc_course.scenes import Facts, Group, Sample, Scene

# --- numbers ------------------------------------------------------------------------------------------------


def psnr(pictures: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels:  10 log₁₀(2² / mean squared error); equal pictures: infinite.

    pictures, others: (B, C, H, W) in [-1, 1], a range 2 wide  ->  (B,).
    """
    if pictures.shape != others.shape:
        shapes = f"{tuple(pictures.shape)} and {tuple(others.shape)}"
        raise ValueError(f"pictures of shapes {shapes}: to compare pixel with pixel, bring them to one shape")
    error = (pictures.float() - others.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


@dataclass(frozen=True, repr=False)
class Interval:
    """A mean, and the range in which the mean of all that could have been measured is likely to lie."""

    mean: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval(values: Tensor | Sequence[float], confidence: float = 0.95, seed: int = 0, rounds: int = 2000) -> Interval:
    """How sure a mean is: draw as many values again from those we have, with repeats; see how the mean moves.

    The percentile bootstrap, Efron 1979.  Equal values never move: after n successes and no failure read
    the point as "failures below 3 / n".  values: n numbers, or yes and no.
    """
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu").flatten()
    if not len(values):
        raise ValueError("no values to average; was the list filtered until nothing was left?")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is a share: choose it between 0 and 1, such as 0.95")
    source, n = runtime.generator(seed), len(values)
    means = [values[torch.randint(n, (n,), generator=source)].mean() for _ in range(rounds)]
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    return Interval(values.mean().item(), *torch.stack(means).quantile(ends).tolist())


# --- captions -----------------------------------------------------------------------------------------------


def agrees(caption: str, scene: Scene | Facts) -> bool:
    """Whether all that a caption says is so.  What it leaves out does no harm; what nobody can read does."""
    return any(all(said in (None, true) for said, true in pairs) for pairs in _compared(caption, scene))


def facts_told(caption: str, scene: Scene | Facts) -> float:
    """The share of a scene's facts that a caption states, and rightly: 1 for a true full caption.

    The facts are count, size, colour and name of each kind of thing, their relation, background and style.
    """
    shares = []
    for pairs in _compared(caption, scene):
        told = [said == true for said, true in pairs if true is not None]
        shares.append(sum(told) / len(told))
    return max(shares, default=0.0)


def _compared(caption: str, scene: Scene | Facts) -> list[list[tuple]]:
    """(said, true) for every fact, once for each way to match the caption's things with the scene's."""
    true = scene.facts if isinstance(scene, Scene) else scene
    try:
        said = scenes.read_caption(caption)
    except ValueError:
        return []
    ways = []
    for order in permutations(true.groups):
        things = zip_longest(map(_fields, said.groups), map(_fields, order), fillvalue=_fields(None))
        pairs = [pair for mine, theirs in things for pair in zip(mine, theirs, strict=True)]
        relation = true.relation if order == true.groups else f"not {true.relation}"
        pairs.append((said.relation, true.relation and relation))
        ways.append([*pairs, (said.background, true.background), (said.style, true.style)])
    return ways


def _fields(group: Group | None) -> tuple:
    return astuple(group) if group else (None,) * 4


# --- the parser: a judge that reads pictures ----------------------------------------------------------------

HEADS = {
    "thing": tuple(scenes.THINGS),
    "colour": tuple(scenes.COLOURS),
    "background": scenes.BACKGROUNDS,
    "style": scenes.STYLES,
    "size": tuple(scenes.SIZES),
    "count": (1, 2, 3, 4),
}
STRIDES = (2, 2, 1, 2, 1, 2)


@dataclass(frozen=True)
class Reading:
    """What a picture of one kind of thing shows, or was asked to show; None where nothing was asked."""

    thing: str | None
    colour: str | None
    background: str | None
    style: str | None
    size: str | None
    count: int | None


def reading_of(scene: Scene | Facts | Sample) -> Reading:
    """What a judge without fault reads in a picture of this scene, or of a prompt's facts."""
    scene = scene.scene if isinstance(scene, Sample) else scene
    facts = scene.facts if isinstance(scene, Scene) else scene
    if len(facts.groups) != 1:
        raise ValueError("the parser reads pictures of one kind of thing, no pairs; use 'single' and 'count'")
    group = facts.groups[0]
    return Reading(group.name, group.colour, facts.background, facts.style, group.size, group.count)


class Parser(nn.Module):
    """Reads thing, colour, background, style, size and count from a picture: six convolutions, six questions.

    (B, 3, 64, 64) in [-1, 1]  ->  for each head, logits (B, options).  Its mistakes are in every score that
    it gives: print `own_error(parser)` first.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 64, 96, 128, 192)):
        super().__init__()
        self.widths = tuple(widths)
        sizes = zip((3, *widths), widths, STRIDES, strict=False)
        self.layers = nn.Sequential(*(_layer(*size) for size in sizes))
        self.heads = nn.ModuleDict({head: nn.Linear(2 * widths[-1], len(of)) for head, of in HEADS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """The logits of each head; how much of a feature there is, and how clear it is at its clearest."""
        maps = self.layers(pictures)  # (B, C, 4, 4)
        found = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)  # (B, 2C)
        return {head: linear(found) for head, linear in self.heads.items()}

    @torch.no_grad()
    def read(self, pictures: Tensor) -> list[Reading]:
        """The likeliest answer of each head, for each picture."""
        shape, side = tuple(pictures.shape), models.PICTURE
        if shape[1:] != (3, side, side):
            raise ValueError(f"the parser reads (B, 3, {side}, {side}), not {shape}; resize to {side} pixels")
        training, device = self.training, next(self.parameters()).device
        self.eval()  # else the batch would have a say in the reading
        answers = [self(some.to(device, torch.float32)) for some in pictures.split(256)]
        self.train(training)
        rows = [torch.stack([answer[head].argmax(1) for head in HEADS], 1) for answer in answers]
        return [_named(row) for some in rows for row in some.tolist()]


def _layer(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _named(row: list[int]) -> Reading:
    return Reading(*(of[number] for of, number in zip(HEADS.values(), row, strict=True)))


def score(parser: Parser, pictures: Tensor, scenes: Sequence[Scene | Facts | Sample]) -> dict[str, Tensor]:
    """Which pictures show what was asked, as the parser sees it: for each head, and "exact" for all at once.

    pictures: (B, 3, 64, 64);  scenes: B of them; facts of a prompt that leave something open accept anything
    there.  Gives bool (B,) by name.
    """
    if len(pictures) != len(scenes):
        raise ValueError(f"{len(pictures)} pictures of {len(scenes)} scenes; give each picture its scene")
    pairs = list(zip(parser.read(pictures), map(reading_of, scenes), strict=True))
    rows = torch.tensor([_right(seen, asked) for seen, asked in pairs], dtype=torch.bool).view(-1, len(HEADS))
    return dict(zip(HEADS, rows.unbind(1), strict=True)) | {"exact": rows.all(1)}


def _right(seen: Reading, asked: Reading) -> list[bool]:
    return [wanted in (None, found) for found, wanted in zip(astuple(seen), astuple(asked), strict=True)]


def own_error(parser: Parser, count: int = 500, split: str = "test", task: str = "single") -> dict[str, float]:
    """How often the parser misreads fresh drawings, whose truth we know: a share for each name of `score`.

    Print it before any score that the parser gives: differences smaller than this may be its own.
    """
    drawn = scenes.samples(count, split, seed=78, task=task)
    right = score(parser, scenes.pictures(drawn, models.PICTURE), drawn)
    return {name: 1 - values.float().mean().item() for name, values in right.items()}


# --- the judge's training, and its place in data/models -----------------------------------------------------


def labels(drawn: Sequence[Scene | Sample]) -> Tensor:
    """What the heads should answer, as numbers, in the order of `HEADS`: (B, 6)."""
    rows = [zip(HEADS.values(), astuple(reading_of(scene)), strict=True) for scene in drawn]
    return torch.tensor([[of.index(answer) for of, answer in row] for row in rows])


def reading_loss(parser: Parser, batch: dict[str, Tensor]) -> Tensor:
    """Nats of surprise at the true answers, summed over the heads.  batch: "pictures", and their "labels"."""
    logits = parser(batch["pictures"])
    return sum(losses.cross_entropy(logits[h], batch["labels"][:, k]) for k, h in enumerate(HEADS))


def weathered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture a little blurred and a little noisy, as generated ones are.  (B, 3, H, W) -> the same."""
    blur, noise = torch.rand(2, len(pictures), 1, 1, 1, generator=generator)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    grain = torch.randn(pictures.shape, generator=generator)
    return (pictures.lerp(soft, blur) + 0.1 * noise * grain).clamp(-1, 1)


def save_parser(parser: Parser, folder: Path) -> None:
    """Write the weights and what the heads answer; `models.seal` the folder once its card is there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: v.cpu().contiguous() for n, v in parser.state_dict().items()}, folder / "model.safetensors")
    config = json.dumps({"widths": parser.widths, "heads": HEADS}, indent=1)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8", newline="\n")


def load_parser() -> Parser:
    """The shipped parser, its files checked, ready to read on this machine's device."""
    folder = models.folder_of("parser")
    models.verify(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["heads"] != {head: list(of) for head, of in HEADS.items()}:
        raise ValueError("the parser knows another world's words; train it: python scripts/train_parser.py")
    parser = Parser(config["widths"])
    parser.load_state_dict(load_file(folder / "model.safetensors"))
    return parser.to(runtime.device()).eval()


# --- memorisation -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each picture, which training picture is most like it, and how far that is.  Both (B,)."""

    index: Tensor
    distance: Tensor


def nearest(pictures: Tensor, training_pictures: Tensor, side: int = 16) -> Nearest:
    """Look for copies: the training picture that differs least, when both are shrunk to side × side pixels.

    The distance is the root mean square difference of a pixel; only against that of fresh drawings, which
    cannot be copies, does it tell anything.  pictures: (B, 3, H, W);  training_pictures: (N, 3, H, W).
    """
    mine, theirs = (F.adaptive_avg_pool2d(p.float(), side).flatten(1) for p in (pictures, training_pictures))
    apart = torch.cdist(mine, theirs, compute_mode="donot_use_mm_for_euclid_dist") / mine.shape[1] ** 0.5
    distance, index = apart.min(1)  # apart: (B, N)
    return Nearest(index, distance)
