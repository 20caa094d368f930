"""The layers that our decoder and our transformation network are built of."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(before: int, after: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that continues a picture beyond its edge: zeros there would draw a frame."""
    return nn.Conv2d(before, after, side, stride, padding=side // 2, padding_mode="replicate")


def larger(before: int, after: int) -> nn.Sequential:
    """Twice as many pixels each way: repeated, then mixed.  A transposed convolution leaves a chessboard pattern."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution(before, after))


class Residual(nn.Module):
    """Two convolutions added to what came in (He et al. 2016), each normed picture by picture or not."""

    def __init__(self, width: int, normed: bool):
        super().__init__()
        norm = (lambda: [nn.InstanceNorm2d(width, affine=True)]) if normed else list
        first, second = convolution(width, width), convolution(width, width)
        self.layers = nn.Sequential(first, *norm(), nn.ReLU(), second, *norm())

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)
