"""The judge of what was taught: the parser, its first and last layers learnt again with new things and styles."""

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
from aigc_course.evaluation.parser import APART, MOST, STRIDE, SURE, Parser, labels, load_parser
from aigc_course.scenes import Sample

NAMES = (*scenes.THINGS, *scenes.NEW_THINGS)
STYLES = (*scenes.STYLES, *scenes.NEW_STYLES)
FOLDER = "newcomers"


@dataclass(frozen=True)
class Seen:
    """What a picture shows: the names of its things, the surest first, and its style; new ones may be among them."""

    names: tuple[str, ...]
    style: str


class Newcomers(nn.Module):
    """Reads names and styles with those of `scenes.NEW_THINGS` and `scenes.NEW_STYLES` among them.

    Of the parser's body only the first layers, which meet a style, and the scales of the others are learnt again; and
    so is what asks it for centres, names and style.
    (B, 3, H, W) in [-1, 1] -> logits "centre" (B, 1, h, w), "name" (B, 18, h, w), "style" (B, 12); h = H / 8.
    """

    def __init__(self, parser: Parser):
        super().__init__()
        widths, self.body = parser.settings["widths"], parser.body.requires_grad_(False)
        for layer in [*self.body[: len(widths)], *(m for m in self.body.modules() if isinstance(m, nn.BatchNorm2d))]:
            layer.requires_grad_(True)
        wide = widths[-1]
        self.centre, self.name = (nn.Conv2d(wide, count, 1) for count in (1, len(NAMES)))
        self.style = nn.Linear(2 * wide, len(STYLES))
        nn.init.constant_(self.centre.bias, -4.0)  # most cells hold no centre

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """The logits of each question."""
        maps = self.body.eval()(pictures)  # (B, C, h, w); the statistics of batches stay those of the parser
        whole = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return {"centre": self.centre(maps), "name": self.name(maps), "style": self.style(whole)}

    @torch.no_grad()
    def read(self, pictures: Tensor) -> list[Seen]:
        """What each picture (B, 3, 128, 128) shows, in the likeliest reading."""
        device = next(self.parameters()).device
        return [one for some in pictures.split(64) for one in _seen(self(some.to(device, torch.float32)))]


def _seen(answers: dict[str, Tensor]) -> list[Seen]:
    sure = answers["centre"]
    peaks = (sure == F.max_pool2d(sure, 2 * APART + 1, stride=1, padding=APART)) & (sure > SURE)
    named, seen = answers["name"].argmax(1).flatten(1), []
    for i, (peak, value) in enumerate(zip(peaks.flatten(1), sure.flatten(1), strict=True)):
        cells = sorted(peak.nonzero().flatten().tolist(), key=lambda cell, of=value: -of[cell])[:MOST]
        style = STYLES[answers["style"][i].argmax()]
        seen.append(Seen(tuple(NAMES[named[i, cell]] for cell in cells), style))
    return seen


def shows(judge: Newcomers, pictures: Tensor, thing: str | None = None, style: str | None = None) -> Tensor:
    """Which pictures show a thing, new or known, and are drawn in a style: bool (B,).  None asks for nothing."""
    for value, known, what in ((thing, NAMES, "thing"), (style, STYLES, "style")):
        if value not in (None, *known):
            raise ValueError(f"the judge knows no {what} called {value!r}; use one of: {', '.join(known)}")
    seen = judge.read(pictures)
    return torch.tensor([thing in (None, *one.names) and style in (None, one.style) for one in seen])


# --- its training, and its place in data/models -------------------------------------------------------------


def new_labels(
    drawn: Sequence[Sample], thing: str | None, style: str | None, side: int = models.PICTURE // STRIDE
) -> dict[str, Tensor]:
    """What the judge should answer of `scenes.new_pictures(drawn, thing, style)`, as `labels` gives it."""
    found = {name: value for name, value in labels(drawn, side).items() if name in ("centre", "name", "style")}
    if thing:
        found["name"] = found["name"].where(found["name"] < 0, NAMES.index(thing))
    if style:
        found["style"] = torch.full_like(found["style"], STYLES.index(style))
    return found


def newcomer_loss(judge: Newcomers, batch: dict[str, Tensor]) -> Tensor:
    """Nats of surprise at the true answers, summed over the three questions; as `reading_loss` counts them."""
    answers, told = judge(batch["pictures"]), batch["centre"] >= 0
    centre = F.binary_cross_entropy_with_logits(answers["centre"][:, 0][told], batch["centre"][told], reduction="sum")
    name = losses.cross_entropy(answers["name"].movedim(1, -1), batch["name"])
    return centre / len(batch["pictures"]) + name + losses.cross_entropy(answers["style"], batch["style"])


def save_newcomers(judge: Newcomers, folder: Path) -> None:
    """Write what was learnt again, halved, and what it can answer: for `models.put_in_place`."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {n: p.detach().cpu().half().contiguous() for n, p in judge.named_parameters() if p.requires_grad}
    save_file(kept, folder / "model.safetensors")
    config = json.dumps({"names": NAMES, "styles": STYLES}, indent=1)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8", newline="\n")


def load_newcomers() -> Newcomers:
    """The shipped judge of newcomers, its files checked, ready to read on this machine's device."""
    folder = models.folder_of(FOLDER)
    models.verify(folder)
    if json.loads((folder / "config.json").read_text(encoding="utf-8")) != {"names": [*NAMES], "styles": [*STYLES]}:
        raise ValueError("this judge knows other newcomers; train it: python scripts/train_newcomers.py")
    judge = Newcomers(load_parser().to("cpu"))
    judge.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    return judge.to(runtime.device()).eval()
