"""AdaIN: any style in one pass (Huang & Belongie 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from aigc_course import losses, models, sampling
from aigc_course.style.features import Features
from aigc_course.style.layers import Residual, convolution, larger
from aigc_course.style.statistics import Moments, adain, all_moments, grams, moments
from aigc_course.style.tiles import TILE, steady, thumbnail, whole


class Decoder(models.Stored):
    """From feature maps back to pixels: (B, C, h, w) -> (B, 3, 4h, 4w), without norms, which would undo the style."""

    reach = 64  # pixels away from a pixel that have a say in it, encoder included

    def __init__(self, channels: int = 48, width: int = 64, blocks: int = 4, layer: str = "down_2"):
        super().__init__(channels=channels, width=width, blocks=blocks, layer=layer)
        self.layer = layer
        self.layers = nn.Sequential(
            convolution(channels, width),
            *(Residual(width, normed=False) for _ in range(blocks)),
            larger(width, width // 2),
            nn.ReLU(),
            Residual(width // 2, normed=False),
            larger(width // 2, width // 4),
            nn.ReLU(),
            convolution(width // 4, 3),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The picture; what goes beyond [-1, 1] is left to be clipped."""
        return self.layers(maps)


def stylise(
    features: Features, decoder: Decoder, content: Tensor, style: Tensor, strength: float = 1.0, tile: int = TILE
) -> Tensor:
    """Content maps with the style's moments, decoded.  strength: the share of the way from the content's own maps.

    Huang & Belongie 2017, eq. 14:  g((1 - α) f(c) + α AdaIN(f(c), f(s))).  Pictures (B, 3, H, W), H and W multiples of
    four;  what is larger than two tiles a side is made in tiles, with the moments and norms of a reduced copy.
    """
    layer = decoder.layer
    painted = moments(features(style, layer)[layer])

    def paint(part: Tensor, own: Moments | None = None) -> Tensor:
        maps = features(part, layer)[layer]
        return decoder(maps.lerp(adain(maps, painted, own), strength))

    if whole(content, tile):
        return paint(content).clamp(-1, 1)
    with steady(features):
        own = moments(features(thumbnail(content, tile), layer)[layer])
        return sampling.in_tiles(lambda part: paint(part, own), content, decoder.reach, tile).clamp_(-1, 1)


def objective(
    features: Features,
    decoder: Decoder,
    content: Tensor,
    style: Tensor,
    answer: Tensor | None = None,
    weight: float = 1.0,
    taught: float = 3.0,
    crossed: float = 0.0,
) -> Tensor:
    """What the decoder is trained for: to show the maps that AdaIN made, with the style's moments in every layer.

    Huang & Belongie 2017, eq. 11 to 13; weight: λ of the style loss.  answer: the picture that should come out, where
    the world can draw it, (B, 3, H, W), NaN where it cannot; taught: how much its pixels count.
    crossed: how much Gatys' style loss counts besides, whose Gram matrices also know which channels go together.
    """
    painted, layer = features(style), decoder.layer
    target = adain(features(content, layer)[layer], moments(painted[layer]))
    made = decoder(target)
    maps = features(made)
    loss = losses.content({layer: maps[layer]}, {layer: target})
    loss = loss + weight * losses.style(all_moments(maps), all_moments(painted))
    if crossed:
        loss = loss + crossed * losses.style(grams(maps), grams(painted))
    if answer is None:
        return loss
    told = answer.isfinite()
    error = (made - answer.nan_to_num()).abs() * told
    return loss + taught * error.sum() / told.sum().clamp(min=1)

