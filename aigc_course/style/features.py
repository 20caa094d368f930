"""Frozen networks that look at pictures, and the maps of their named layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aigc_course import models, runtime, scenes
from aigc_course.style.statistics import Maps

VGG_19 = (2, 2, 4, 4, 1)  # convolutions in each block of the trained one; of the last we need the first
VGG = (16, 32, 64, 96)  # channels of our random network; the trained one has 64, 128, 256, 512


class Features(nn.Module):
    """A frozen network cut into named stages: (B, 3, H, W) in [-1, 1] -> {name: (B, C, h, w)}.

    Each layer's maps are divided by one number, so that their root mean square is 1 on drawings: then layers count
    alike in a loss.  In a network of convolutions and ReLU without bias that is the rescaling of weights of He et al.
    2016, "A powerful generative model using random weights".
    """

    def __init__(
        self, stages: dict[str, nn.Module], mean: Sequence[float] = (0, 0, 0), std: Sequence[float] = (1, 1, 1)
    ):
        super().__init__()
        self.stages = nn.ModuleDict(stages).requires_grad_(False).eval()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        self.scale = dict.fromkeys(stages, 1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """The layers, from the picture inwards."""
        return tuple(self.stages)

    def forward(self, pictures: Tensor, last: str | None = None) -> Maps:
        """The maps of all layers, or of those up to `last`."""
        maps, x = {}, (pictures - self.mean) / self.std
        for name, stage in self.stages.items():
            x = stage(x)
            maps[name] = x.float() / self.scale[name]  # statistics want full precision
            if name == last:
                break
        return maps

    def train(self, mode: bool = True) -> Features:
        """It stays as it is, whatever is trained around it."""
        return super().train(False)

    @torch.no_grad()
    def rescale(self, pictures: Tensor) -> Features:
        """Measure the root mean square of each layer on some pictures, and divide by it from now on."""
        self.scale = dict.fromkeys(self.scale, 1.0)
        self.scale = {name: maps.square().mean().sqrt().item() for name, maps in self(pictures).items()}
        return self


@cache
def _drawings() -> Tensor:
    return scenes.pictures(scenes.samples(16, "train", seed=51))


def encoder_features(vae: nn.Module | None = None) -> Features:
    """The encoder of our own autoencoder: "conv_in" at full size, then "down_1" to "down_4", each half the last.

    vae: an `AutoencoderKL`, None for that of `models.load("text-to-image")`.
    """
    encoder = (vae or models.load("text-to-image", dtype=torch.float32).vae).encoder
    stages = {"conv_in": encoder.conv_in} | {f"down_{k}": b for k, b in enumerate(encoder.down_blocks, start=1)}
    some = next(encoder.parameters())
    return Features(stages).to(some).rescale(_drawings().to(some))


def random_features(seed: int = 0, widths: Sequence[int] = VGG) -> Features:
    """A VGG-shaped network that was never trained: He-random weights, no bias, means in place of maxima to pool.

    "relu1_1" at full size to "relu4_1" at an eighth.  He et al. 2016 found that it serves style transfer nearly as
    well as a trained one.
    """
    source, stages, before = runtime.generator(seed), {}, 3
    for number, width in enumerate(widths, start=1):
        inner = [] if number == 1 else [_convolution(before, before, source), nn.ReLU(), nn.AvgPool2d(2)]
        stages[f"relu{number}_1"] = nn.Sequential(*inner, _convolution(before, width, source), nn.ReLU())
        before = width
    return Features(stages).rescale(_drawings())


def vgg_features(download: bool = False) -> Features:
    """The trained VGG-19 of Simonyan & Zisserman 2015, "relu1_1" to "relu5_1", where its weights are on this machine.

    With means in place of maxima to pool, as Gatys et al. advise.  download: only with this is the network touched,
    for 575 MB, once.
    """
    try:
        folder = models.checkpoint_folder("vgg-19", download)
    except FileNotFoundError as error:
        fix = "style.vgg_features(download=True) fetches it, or do without: style.random_features()"
        raise FileNotFoundError(f"{str(error).partition(';')[0]}; {fix}") from None
    weights = load_file(folder / "model.safetensors")
    mean, std = (torch.tensor(each) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    stages, inner = {}, []
    for block, count in enumerate(VGG_19, start=1):
        for number in range(count):
            inner += [nn.AvgPool2d(2)] * (number == 0 and block > 1) + [*_trained(weights), nn.ReLU()]
            if number == 0:
                stages[f"relu{block}_1"], inner = nn.Sequential(*inner), []
    return Features(stages, (2 * mean - 1).tolist(), (2 * std).tolist()).rescale(_drawings())


def _trained(weights: dict[str, Tensor]) -> list[nn.Module]:
    """The next convolution of a VGG's file, which is taken out of it."""
    number = min(int(name.split(".")[1]) for name in weights if name.startswith("features."))
    weight, bias = (weights.pop(f"features.{number}.{part}") for part in ("weight", "bias"))
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return [layer]


def _convolution(before: int, after: int, source: torch.Generator) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate", bias=False)
    nn.init.kaiming_normal_(layer.weight, generator=source)
    return layer
