"""What eyes are asked while they learn: what is there, whatever its colours and the company it keeps."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import models, scenes

SIDE = 8  # patches on each side of a picture
SHIFT = 4  # pixels by which a picture may be moved, across and down
PLACE = 5.0  # weight of the squared error in a patch's place within its thing, beside nats
HEAVY = 3.0  # questions of a patch that those of the whole weigh, together
NAMES, COLOURS, STYLES = tuple(scenes.THINGS), tuple(scenes.COLOURS), scenes.STYLES
GROUP = {"name": NAMES, "colour": COLOURS, "size": tuple(scenes.SIZES)}
WHOLE = {
    "style": STYLES,
    "background": scenes.BACKGROUNDS,
    "count": (1, 2, 3, 4),
    "relation": (None, *scenes.RELATIONS),
}
WHOLE |= {f"{which} {what}": words for which in ("first", "second") for what, words in GROUP.items()}
OF_COLOURS = ("style", "background", "colour")  # what cannot be told of a picture in other hues
OF_A_PATCH = [len(NAMES), len(COLOURS), 3]  # numbers said of each patch; 3 of place
BITS = slice(0, 3), slice(9, 13), slice(13, 16)  # style, name, colour in `models.meaning`
TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def write_out_attention(model: nn.Module) -> None:
    """On a CPU, attention in plain operations: of so few tokens it learns 1.6 times as fast as PyTorch's fused one."""
    if model.device.type == "cpu":
        model.set_attn_implementation("eager")


def shifted(pictures: Tensor, seed: int) -> Tensor:
    """Each picture moved by up to `SHIFT` pixels across and down, its edges drawn out: uint8 (B, 3, H, W)."""
    height, width = pictures.shape[2:]
    wide = F.pad(pictures.float(), [SHIFT] * 4, mode="replicate").byte()
    moves = torch.randint(2 * SHIFT + 1, (len(pictures), 2), generator=torch.Generator().manual_seed(seed)).tolist()
    return torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(wide, moves, strict=True)])


def discoloured(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1], each with its hues turned by some angle and paled, to grey at most; as bright as it was."""
    angle, strength = 2 * torch.pi * torch.rand(len(pictures)), torch.rand(len(pictures))
    turn = torch.eye(3).repeat(len(pictures), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = strength * angle.cos()
    turn[:, 2, 1] = strength * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    return torch.einsum("bij,bjhw->bihw", (TO_YIQ.inverse() @ turn @ TO_YIQ).to(pictures), pictures).clamp(-1, 1)


def disguised(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] in other hues; four in five in another manner too, one that any of them may be drawn in.

    Who has learnt that a fish is never of glass looks at the glass, not at the fish.  A manner that comes with
    everything leaves the shape alone to look at.  They are plain operations on pixels, not the drawing styles; `blocks`
    comes near to “pixel”, `outlines` to “blueprint” and “neon”.
    """
    manners = (lambda same: same, blocks, outlines, torch.neg, scratched)
    parts = discoloured(pictures).tensor_split(len(manners))
    return torch.cat([manner(part) for manner, part in zip(manners, parts, strict=True)])


def blocks(pictures: Tensor) -> Tensor:
    """Coarse as seen through a sieve, of 2 to 6 pixels to a block."""
    side = pictures.shape[-1]
    coarse = F.interpolate(pictures, size=side // int(torch.randint(2, 7, ())), mode="area")
    return F.interpolate(coarse, size=side, mode="nearest")


def outlines(pictures: Tensor) -> Tensor:
    """Edges alone, light on dark: how far the brightest lies above the darkest, in each three by three pixels."""
    return (F.max_pool2d(pictures, 3, 1, 1) + F.max_pool2d(-pictures, 3, 1, 1)).clamp(max=2) - 1


def scratched(pictures: Tensor, lines: int = 12) -> Tensor:
    """Straight lines drawn across, 1 to 3 pixels wide, each of a grey of its own."""
    side = torch.linspace(-1, 1, pictures.shape[-1], device=pictures.device)
    for angle, off, width, grey in torch.rand(lines, 4, len(pictures), 1, 1, device=pictures.device):
        far = (side * (torch.pi * angle).cos() + side[:, None] * (torch.pi * angle).sin() + 2 * off - 1).abs()
        on = far[:, None] < (1 + 2 * width[:, None]) / pictures.shape[-1]
        pictures = torch.where(on, 2 * grey[:, None] - 1, pictures)
    return pictures


def never_met(samples: Sequence[scenes.Sample]) -> set[tuple[str, str]]:
    """The pairs of a thing and a colour, a style or another thing that no sample holds.

    In training, a word that never comes with another is known to be wrong without a look, and who learns that cannot
    see the two together.  So it is not counted among the wrong answers: a known bias is taken out of the loss, as by
    logit adjustment (Menon et al. 2021).
    """
    met = {(name, name) for name in NAMES}
    for one in samples:
        names = [thing.name for thing in one.scene.things]
        met |= {(thing.name, thing.colour) for thing in one.scene.things}
        met |= set(product(names, [one.scene.style, *names]))
    return set(product(NAMES, COLOURS + STYLES + NAMES)) - met


class Asked(nn.Module):
    """The layers that say what is there, and how wrong they are: one asks each patch, one the token of the whole.

    Both are dropped when the eyes are trained.  never: pairs of words that are not held against each other.
    """

    def __init__(self, width: int, never: set[tuple[str, str]]):
        super().__init__()
        self.patch, self.whole = nn.Linear(width, sum(OF_A_PATCH)), nn.Linear(width, sum(map(len, WHOLE.values())))
        for what, words in (("colour", COLOURS), ("style", STYLES), ("name", NAMES)):
            table = torch.tensor([[(name, word) in never for word in words] for name in NAMES]).float()
            self.register_buffer(f"never_{what}", table, persistent=False)

    def forward(self, seen: Tensor, batch: dict[str, Tensor], plain: int = 0) -> Tensor:
        """Nats, and squared errors, of what is said of pictures by their (B, 1 + 64, width) tokens.

        batch: "where" and "facts", as `told` gives them.  Of the pictures before the `plain`-th, which show no true
        colours, no colour, background or style is asked.
        """
        true = torch.arange(len(seen), device=seen.device) >= plain
        return self.of_patches(seen[:, 1:], batch["where"], true) + self.of_wholes(seen[:, 0], batch["facts"], true)

    def of_patches(self, seen: Tensor, where: Tensor, true: Tensor) -> Tensor:
        """Which thing is in each patch, its colour, and how far the patch is from the thing's middle."""
        name, colour, place = self.patch(seen).float().split(OF_A_PATCH, 2)
        told = where.flatten(2).transpose(1, 2)
        inside = told[..., 6] > 0.5
        is_style, is_name, is_colour = (number(told[..., bits]) for bits in BITS)
        company = (F.one_hot(is_name, len(NAMES)) * inside[..., None]).amax(1).float()  # (B, 16): who is there
        strange = self.never_colour.T[is_colour] + self.never_style.T[is_style] + (company @ self.never_name)[:, None]
        name, colour = barred(name, strange), barred(colour, self.never_colour[is_name])
        nats = surprise(name, is_name, inside) + surprise(colour, is_colour, inside & true[:, None])
        return nats + PLACE * (place - told[..., 6:9]).square().mean()

    def of_wholes(self, seen: Tensor, facts: Tensor, true: Tensor) -> Tensor:
        """What a full caption tells: the mean over its questions, as heavy as `HEAVY` of them."""
        said = dict(
            zip(WHOLE, self.whole(seen).float().split([len(words) for words in WHOLE.values()], 1), strict=True)
        )
        is_ = dict(zip(WHOLE, facts.T, strict=True))
        for own, other in (("first", "second"), ("second", "first")):
            name, colour = is_[f"{own} name"].clamp(min=0), is_[f"{own} colour"].clamp(min=0)
            company = self.never_name[is_[f"{other} name"]] * (is_[f"{other} name"] >= 0)[:, None]
            strange = self.never_colour.T[colour] + self.never_style.T[is_["style"]] + company
            said[f"{own} name"] = barred(said[f"{own} name"], strange)
            said[f"{own} colour"] = barred(said[f"{own} colour"], self.never_colour[name])
            said["style"] = barred(said["style"], self.never_style[name] * (is_[f"{own} name"] >= 0)[:, None])
        nats = []
        for what, answer in is_.items():
            asked = (answer >= 0) & (true | (what.split()[-1] not in OF_COLOURS))
            nats.append(surprise(said[what], answer, asked))
        return HEAVY * torch.stack(nats).mean()


def told(samples: Sequence[scenes.Sample]) -> dict[str, Tensor]:
    """The answers: what is "where", `models.meaning`; and the "facts", (B, 10) as `WHOLE` numbers them, or -1."""
    return {
        "where": models.meaning(samples, SIDE),
        "facts": torch.tensor([_numbered(one.scene.facts) for one in samples]),
    }


def _numbered(facts: scenes.Facts) -> list[int]:
    first, *second = facts.groups
    found = {"style": facts.style, "background": facts.background, "count": first.count, "relation": facts.relation}
    for which, group in zip(("first", "second"), (first, *second), strict=False):
        found |= {f"{which} {what}": getattr(group, what) for what in ("name", "colour", "size")}
    return [words.index(found[what]) if what in found else -1 for what, words in WHOLE.items()]


def surprise(said: Tensor, answer: Tensor, asked: Tensor) -> Tensor:
    """Mean nats of the answers where it is asked, or 0 where it never is."""
    return F.cross_entropy(said[asked], answer[asked], reduction="sum") / asked.sum().clamp(min=1)


def number(bits: Tensor) -> Tensor:
    """The number that the signs of (..., N) tell, the last digit first: `models.meaning` writes words so."""
    return ((bits > 0).long() << torch.arange(bits.shape[-1], device=bits.device)).sum(-1)


def barred(said: Tensor, never: Tensor) -> Tensor:
    """What is said, without the words that never come with what is there."""
    return said.masked_fill(never > 0, -torch.inf)
