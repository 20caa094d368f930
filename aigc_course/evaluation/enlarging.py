"""How much of what an enlarged picture should show is there: pixels, edges, and what the judge reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import models, sampling, scenes
from aigc_course.evaluation.measures import psnr
from aigc_course.evaluation.parser import Parser, labels, reading_loss
from aigc_course.evaluation.scores import score
from aigc_course.scenes import Sample


def edges_shared(pictures: Tensor, others: Tensor) -> Tensor:
    """The share of the edges of two pictures that they have in common, in place, strength and sign: 1 if all.

    Jaccard's index of the differences g between neighbouring pixels:  Σ common / (Σ|g| + Σ|g'| - Σ common), where what
    is common to g and g' is the smaller one, or nothing if they have other signs.  No network has a say.  A blurred
    edge climbs as far as a sharp one, but elsewhere, and shares little with it.  (B, C, H, W), twice  ->  (B,).
    """
    mine, theirs = (torch.cat([p.diff(dim=-1).flatten(1), p.diff(dim=-2).flatten(1)], 1) for p in (pictures, others))
    common = (torch.minimum(mine.abs(), theirs.abs()) * (mine * theirs > 0)).sum(1)
    return common / (mine.abs().sum(1) + theirs.abs().sum(1) - common)


def enlarged(judge: Parser, pictures: Tensor, truth: Tensor, drawn: Sequence[Sample]) -> dict[str, Tensor]:
    """How good enlarged pictures of these scenes are, held against the truth, drawn as large: (B,) for each measure.

    "PSNR" in decibels and "edges", as `edges_shared` has it, see each pixel.  "exact" and "surprise", whether the judge
    reads the very scene and how many nats it is surprised by it, see less: it was taught pictures of 128 pixels and
    no larger ones, so that a large picture is brought to its size first, each block of pixels to its mean.  That is
    fair, as the same is done to whatever is compared and as no judge is asked about what it never saw; but all
    ways to enlarge that are right on average over a block read alike.  So the judge tells whether enlarging has mended
    or harmed what the small picture showed, and only the other two whether there is more detail.
    """
    small = F.avg_pool2d(pictures, pictures.shape[-1] // models.PICTURE)
    return {
        "PSNR": psnr(pictures, truth),
        "edges": edges_shared(pictures, truth),
        "exact": score(judge, small, drawn)["exact"].float(),
        "surprise": torch.stack([_surprise(judge, *pair) for pair in zip(small, drawn, strict=True)]),
    }


@torch.no_grad()
def _surprise(judge: Parser, picture: Tensor, one: Sample) -> Tensor:
    """Nats of surprise of the judge at what a picture shows: one number."""
    device = next(judge.parameters()).device
    batch = {"pictures": picture[None]} | labels([one])
    return reading_loss(judge, {name: value.to(device) for name, value in batch.items()}).cpu()


def against_lanczos(
    model: nn.Module, vae: nn.Module, judge: Parser, drawn: Sequence[Sample]
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """What `enlarged` finds of the upscaler's pictures of some scenes, and of Lanczos's.

    Keys are (which small pictures, which way to enlarge them): "drawn" or "autoencoded", "upscaler" or "Lanczos".  The
    ceiling is in ("none", "drawn large"): the judge's answers for the truth itself.
    """
    ways = {"upscaler": partial(sampling.upscale, model), "Lanczos": sampling.lanczos}
    found = {(given, way): [] for given in ("drawn", "autoencoded") for way in ways}
    ceiling = found["none", "drawn large"] = []
    for some in (drawn[start : start + 8] for start in range(0, len(drawn), 8)):
        small, truth = (scenes.pictures(some, times * models.PICTURE) for times in (1, model.times))
        given = {"drawn": small, "autoencoded": autoencoded(vae, small)}
        for which, way in product(given, ways):
            found[which, way].append(enlarged(judge, ways[way](given[which]), truth, some))
        best = enlarged(judge, truth, truth, some)
        ceiling.append({name: best[name] for name in ("exact", "surprise")})
    return {key: {name: torch.cat([one[name] for one in parts]) for name in parts[0]} for key, parts in found.items()}


@torch.no_grad()
def autoencoded(vae: nn.Module, pictures: Tensor) -> Tensor:
    """Pictures that went through the autoencoder and back, as those that are generated do: (B, 3, H, W), on the CPU."""
    latents = vae.encode(pictures.to(vae.device, vae.dtype)).latent_dist.mode()
    return vae.decode(latents).sample.float().cpu().clamp(-1, 1)


def seam(model: nn.Module, pictures: Tensor, tile: int = 48) -> Tensor:
    """The most by which pictures made in squares differ from those made at once, in 255ths of the range: (B,).

    A seam that can be seen is a step of one or more.
    """
    whole = sampling.upscale(model, pictures, tile=max(pictures.shape[-2:]))
    return (sampling.upscale(model, pictures, tile) - whole).abs().flatten(1).amax(1) * 127.5
