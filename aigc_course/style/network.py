"""A feed-forward network that has learnt one style (Johnson et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aigc_course import losses, models, sampling
from aigc_course.style.features import Features
from aigc_course.style.layers import Residual, convolution, larger
from aigc_course.style.statistics import Maps, grams
from aigc_course.style.tiles import TILE, steady, thumbnail, whole


class TransformationNetwork(models.Stored):
    """Picture to picture in one style: (B, 3, H, W) -> the same shape, H and W multiples of four.

    Johnson et al. 2016, narrow: down to a quarter, residual blocks, up again, instance norm after each convolution
    (Ulyanov et al. 2016).  style: the name of what it paints;  grams_of: channels of each layer whose mean Gram matrix
    it keeps, to know what it was trained for;  side: of the first and the last convolution, 9 in the paper;  5 saves
    about a fifth of the time, since these two work at full size.
    """

    reach = 96

    def __init__(
        self,
        widths: tuple[int, int, int] = (16, 32, 48),
        blocks: int = 5,
        style: str = "",
        grams_of: dict[str, int] | None = None,
        side: int = 9,
    ):
        super().__init__(widths=list(widths), blocks=blocks, style=style, side=side)
        one, two, three = widths
        self.layers = nn.Sequential(
            *_normed(convolution(3, one, side)),
            *_normed(convolution(one, two, 3, stride=2)),
            *_normed(convolution(two, three, 3, stride=2)),
            *(Residual(three, normed=True) for _ in range(blocks)),
            *_normed(larger(three, two)),
            *_normed(larger(two, one)),
            convolution(one, 3, side),
        )
        for name, n in (grams_of or {}).items():
            self.register_buffer(f"gram_{name}", torch.zeros(1, n, n))
        self.settings["grams_of"] = dict(grams_of or {})

    def forward(self, pictures: Tensor) -> Tensor:
        """The picture, kept within [-1, 1] by a tanh: Gram matrices grow with the fourth power of what goes beyond."""
        return self.layers(pictures).tanh()

    def remember(self, found: Maps) -> None:
        """Keep the mean Gram matrices of some pictures as what is to be painted.  found: (N, C, C) by layer."""
        self.settings["grams_of"] = {name: each.shape[1] for name, each in found.items()}
        for name, each in found.items():
            self.register_buffer(f"gram_{name}", each.mean(0, keepdim=True))

    def painted(self) -> Maps:
        """The Gram matrices of its style: (1, C, C) by layer."""
        return {name: self.get_buffer(f"gram_{name}").float() for name in self.settings["grams_of"]}


def _normed(layer: nn.Module) -> list[nn.Module]:
    last = layer[-1] if isinstance(layer, nn.Sequential) else layer
    return [layer, nn.InstanceNorm2d(last.out_channels, affine=True), nn.ReLU()]


def repaint(network: TransformationNetwork, content: Tensor, strength: float = 1.0, tile: int = TILE) -> Tensor:
    """The content as the network paints it;  strength: the share of it, mixed with the content pixel by pixel."""
    if whole(content, tile):
        return content.lerp(network(content), strength)
    with steady(network):
        network(thumbnail(content, tile))
        paint = lambda part: part.lerp(network(part), strength)  # noqa: E731 - a line, used once
        return sampling.in_tiles(paint, content, network.reach, tile)


def objective(
    features: Features,
    network: TransformationNetwork,
    content: Tensor,
    weight: float = 10.0,
    smooth: float = 0.02,
    shown_by: str | None = None,
) -> Tensor:
    """Gatys' loss, of the network's weights and not of one picture's pixels.  Johnson et al. 2016, eq. 5.

    What is to be painted are the Gram matrices that the network was told to `remember`.
    """
    made = network(content)
    maps, shown_by = features(made), shown_by or features.names[-2]
    shows = losses.content({shown_by: maps[shown_by]}, {shown_by: features(content, shown_by)[shown_by]})
    paints = losses.style(grams(maps), network.painted())
    return shows + weight * paints + smooth * losses.total_variation(made)
