"""The parser: a judge that reads a picture of the world back into things, place and style."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import losses, models, runtime, scenes
from aigc_course.scenes import Sample, Scene, Thing

OF_A_THING = {"name": tuple(scenes.THINGS), "colour": tuple(scenes.COLOURS), "size": tuple(scenes.SIZES)}
OF_A_PICTURE = {"background": scenes.BACKGROUNDS, "style": scenes.STYLES}
STRIDE = 8  # pixels a cell is wide
APART = 2  # cells around the centre of a thing in which no other can have its own
MOST = 6  # things found in a picture, the surest first
SURE = 0.0  # logit: a centre less likely than one half is none


@dataclass(frozen=True)
class Reading:
    """What a picture shows: its things, the surest first, its background and its style."""

    things: tuple[Thing, ...]
    background: str
    style: str

    @property
    def scene(self) -> Scene | None:
        """The scene that was read, or None where no scene holds such things."""
        try:
            return Scene(self.things, self.background, self.style)
        except ValueError:
            return None


def reading_of(scene: Scene | Sample) -> Reading:
    """What a judge without fault reads in a picture of this scene."""
    scene = scene.scene if isinstance(scene, Sample) else scene
    return Reading(scene.things, scene.background, scene.style)


class Parser(nn.Module):
    """Finds the centre of each thing on a grid of cells and names what stands there; then names place and style.

    A detector by centres (Zhou et al. 2019), with whole cells for places.  (B, 3, H, W) in [-1, 1] -> "centre"
    (B, 1, h, w), "name" (B, 16, h, w), "colour" (B, 8, h, w), "size" (B, 2, h, w), "background" (B, 6), "style"
    (B, 8): logits; h = H / 8.  Its mistakes are in every score that it gives: print `own_error(parser)` first.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 96), blocks: int = 5):
        super().__init__()
        self.settings = {"widths": tuple(widths), "blocks": blocks}
        wide = widths[-1]
        stem = [_layer(before, after, stride=2) for before, after in zip((3, *widths), widths, strict=False)]
        self.body = nn.Sequential(*stem, *(_Block(wide, 1 + i % 2) for i in range(blocks)))
        self.cells = nn.ModuleDict({name: nn.Conv2d(wide, len(of), 1) for name, of in OF_A_THING.items()})
        self.cells["centre"] = nn.Conv2d(wide, 1, 1)
        nn.init.constant_(self.cells["centre"].bias, -4.0)  # most cells hold no centre
        self.whole = nn.ModuleDict({name: nn.Linear(2 * wide, len(of)) for name, of in OF_A_PICTURE.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """The logits of each question."""
        maps = self.body(pictures)  # (B, C, h, w)
        found = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)  # (B, 2C)
        answers = {name: ask(maps) for name, ask in self.cells.items()}
        return answers | {name: ask(found) for name, ask in self.whole.items()}

    @torch.no_grad()
    def read(self, pictures: Tensor) -> list[Reading]:
        """What each picture shows, in the likeliest reading."""
        shape, side = tuple(pictures.shape), models.PICTURE
        if shape[1:] != (3, side, side):
            raise ValueError(f"the parser reads (B, 3, {side}, {side}), not {shape}; resize to {side} pixels")
        training, device = self.training, next(self.parameters()).device
        self.eval()  # else the batch would have a say in the reading
        readings = [one for some in pictures.split(64) for one in _readings(self(some.to(device, torch.float32)))]
        self.train(training)
        return readings


def _layer(before: int, after: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class _Block(nn.Module):
    """Two convolutions added to what came in (He et al. 2016); the first may look further."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.layers = nn.Sequential(_layer(width, width, dilation=dilation), *_layer(width, width)[:-1])

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(maps + self.layers(maps))


def _readings(answers: dict[str, Tensor]) -> list[Reading]:
    sure = answers["centre"]  # (B, 1, h, w), logits: their sigmoids would tie at 1
    highest = F.max_pool2d(sure, 2 * APART + 1, stride=1, padding=APART)
    peaks = (sure == highest) & (sure > SURE)
    side = sure.shape[-1]
    named = {name: answers[name].argmax(1).flatten(1) for name in OF_A_THING}  # (B, h·w)
    whole = {name: answers[name].argmax(1) for name in OF_A_PICTURE}
    readings = []
    for i, (peak, value) in enumerate(zip(peaks.flatten(1), sure.flatten(1), strict=True)):
        cells = sorted(peak.nonzero().flatten().tolist(), key=lambda cell: -value[cell])[:MOST]
        things = []
        for cell in cells:
            name, colour, size = (of[named[what][i, cell]] for what, of in OF_A_THING.items())
            row, column = divmod(cell, side)
            things.append(Thing(name, colour, size, (column + 0.5) / side, (row + 0.5) / side))
        readings.append(Reading(tuple(things), *(of[whole[what][i]] for what, of in OF_A_PICTURE.items())))
    return readings


# --- its training, and its place in data/models -------------------------------------------------------------


def labels(drawn: Sequence[Scene | Sample], side: int = models.PICTURE // STRIDE) -> dict[str, Tensor]:
    """What the parser should answer.

    "centre" (B, h, w): 1 in the cell of each centre, -1 ("either will do") in the eight around it, else 0;
    "name", "colour", "size" (B, h, w): the number of the answer in these nine cells, else -100; "background",
    "style" (B,).
    """
    count = len(drawn)
    found = {name: torch.full((count, side, side), -100) for name in OF_A_THING}
    found["centre"] = torch.zeros(count, side, side)
    for i, reading in enumerate(map(reading_of, drawn)):
        for thing in reading.things:
            row, column = (min(side - 1, int(side * place)) for place in (thing.y, thing.x))
            near = (i, slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2))
            for what, of in OF_A_THING.items():
                found[what][near] = of.index(getattr(thing, what))
            found["centre"][near] = -1
            found["centre"][i, row, column] = 1
    readings = [reading_of(one) for one in drawn]
    return found | {
        name: torch.tensor([of.index(getattr(one, name)) for one in readings]) for name, of in OF_A_PICTURE.items()
    }


def reading_loss(parser: Parser, batch: dict[str, Tensor]) -> Tensor:
    """Nats of surprise at the true answers, summed over the questions.  batch: "pictures", and their `labels`.

    A centre is one cell of hundreds, so the question "is one here?" is summed over a picture, not averaged.
    """
    answers = parser(batch["pictures"])
    told = batch["centre"] >= 0
    centre = F.binary_cross_entropy_with_logits(answers["centre"][:, 0][told], batch["centre"][told], reduction="sum")
    loss = centre / len(batch["pictures"])
    for name in OF_A_THING:
        loss = loss + losses.cross_entropy(answers[name].movedim(1, -1), batch[name])
    for name in OF_A_PICTURE:
        loss = loss + losses.cross_entropy(answers[name], batch[name])
    return loss


def weathered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture a little blurred and a little noisy, as generated ones are.  (B, 3, H, W) -> the same."""
    blur, noise = torch.rand(2, len(pictures), 1, 1, 1, generator=generator)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    grain = torch.randn(pictures.shape, generator=generator)
    return (pictures.lerp(soft, blur) + 0.1 * noise * grain).clamp(-1, 1)


def save_parser(parser: Parser, folder: Path) -> None:
    """Write the weights, halved, and what can be answered: for `models.put_in_place`."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {n: v.cpu().contiguous() for n, v in parser.state_dict().items()}
    kept = {n: v.half() if v.is_floating_point() else v for n, v in kept.items()}
    save_file(kept, folder / "model.safetensors")
    config = json.dumps(parser.settings | {"answers": OF_A_THING | OF_A_PICTURE}, indent=1)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8", newline="\n")


def load_parser() -> Parser:
    """The shipped parser, its files checked, ready to read on this machine's device."""
    folder = models.folder_of("parser")
    models.verify(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.pop("answers") != {name: list(of) for name, of in (OF_A_THING | OF_A_PICTURE).items()}:
        raise ValueError("the parser knows another world's words; train it: python scripts/train_parser.py")
    parser = Parser(**config)
    parser.load_state_dict(load_file(folder / "model.safetensors"))
    return parser.to(runtime.device(), memory_format=torch.channels_last).eval()
