"""One signature for every way to paint a content in another style."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import losses, models, runtime
from aigc_course.style import adapter, redrawing
from aigc_course.style.adaptive import Decoder, stylise
from aigc_course.style.features import Features, encoder_features
from aigc_course.style.network import TransformationNetwork, repaint
from aigc_course.style.optimising import gatys
from aigc_course.style.pictures import as_pictures, resized, to_pil, within
from aigc_course.style.statistics import grams
from aigc_course.style.tiles import fitted

TRIES = 3  # how often a picture is redrawn at most until the captioner finds in it what was told
LONGEST = 512  # pixels of a style picture that are looked at: its statistics are those of the reduced one
Picture = Tensor | Image.Image


@torch.no_grad()
def transfer(
    content: Picture, style: Picture | str, strength: float = 1.0, method: str = "adain", **how: Any
) -> Picture:
    """What the content shows, painted as the style is: in the form of the content, PIL or (B, 3, H, W) in [-1, 1].

    content, style: of any size and aspect; one style for all contents, one for each, or several for one.
    "network" and "lora" know only the styles they were trained for: give the name of one; a picture stands for the
    nearest network, or for "chalk".
    strength: 0 gives the content back, 1 is all the method can; each method's own function says what lies between.
    method: one of `METHODS`;  how: what its function is told besides.

    "adain" and "network" work at the content's own size, in tiles where it is large: then they hold at most three
    copies of it in float32, 36 bytes a pixel, and 124 MB for a tile, however large.  "gatys" takes up to 512 × 512
    pixels.  The others draw at the denoiser's 128 × 128 pixels, and enlarge that.
    """
    if method not in METHODS:
        raise ValueError(f"no method called {method!r}; use one of: {', '.join(METHODS)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength}: choose it in [0, 1], where 0 leaves the content as it is")
    shown = as_pictures(content).to(runtime.device())
    if isinstance(style, str):
        if method not in NAMED:
            raise ValueError(f"{method!r} needs a style picture, not {style!r}; names are for {', '.join(NAMED)}")
    else:
        style = within(as_pictures(style, "style"), LONGEST).to(runtime.device())
        count = max(len(style), len(shown))
        if {len(style), len(shown)} - {1, count}:
            raise ValueError(f"{len(style)} styles for {len(shown)} contents: give one for all, or one for each")
        style, shown = (each.expand(count, -1, -1, -1) for each in (style, shown))
    made = METHODS[method](shown, style, strength, **how) if strength else shown
    return to_pil(made) if isinstance(content, Image.Image) else made.to(content.device)


# --- the models, loaded once --------------------------------------------------------------------------------


@cache
def pipeline() -> Any:
    """The denoiser and all that belongs to it."""
    return models.load("text-to-image", dtype=torch.float32)


@cache
def features() -> Features:
    """The layers of our own encoder."""
    return encoder_features(pipeline().vae)


@cache
def _loaded(kind: Any, name: str) -> Any:
    return kind.shipped(name)


@cache
def _model(name: str) -> Any:
    return models.load(name)


@cache
def _adapter() -> tuple[adapter.State, Any]:
    return adapter.load_adapter()


def trained(prefix: str) -> list[str]:
    """What is shipped of a family, without the family's name: `lora-chalk` is "chalk"."""
    folders = models.folder_of(prefix).parent.glob(f"{prefix}*/{models.MANIFEST}")
    return sorted(file.parent.name.removeprefix(prefix) for file in folders)


# --- one function for each method ---------------------------------------------------------------------------


def _adain(content: Tensor, style: Tensor, strength: float, tile: int = 256) -> Tensor:
    height, width = content.shape[2:]
    decoder = _loaded(Decoder, "adain")
    made = stylise(features(), decoder, fitted(content), fitted(style), strength, tile)
    return made[..., :height, :width]


def _network(content: Tensor, style: Tensor | str, strength: float, tile: int = 256) -> Tensor:
    height, width = content.shape[2:]
    name = style if isinstance(style, str) else nearest_network(style)
    if name not in trained("network-"):
        raise ValueError(f"no network was trained for {name!r}; there are: {', '.join(trained('network-')) or 'none'}")
    network = _loaded(TransformationNetwork, f"network-{name}")
    return repaint(network, fitted(content), strength, tile)[..., :height, :width]


def nearest_network(style: Tensor) -> str:
    """The shipped network whose style is most like a picture's: least style loss against what it was trained for."""
    found = grams(features()(style[:1]))
    networks = {name: _loaded(TransformationNetwork, f"network-{name}") for name in trained("network-")}
    if not networks:
        raise ValueError("no transformation network is shipped; train one: python scripts/train_style.py network")
    return min(networks, key=lambda name: losses.style(found, networks[name].painted()).item())


def _gatys(content: Tensor, style: Tensor, strength: float, weight: float = 3.0, **how: Any) -> Tensor:
    height, width = content.shape[2:]
    with torch.enable_grad():
        made = gatys(features(), fitted(content), fitted(style), weight * strength**4, **how)
    return made[..., :height, :width]


def _redrawn(content: Tensor, words: Any, draw: Any, tries: int = 1, seed: int = 0) -> Tensor:
    """Drawn at the denoiser's size, and enlarged to the content's.

    words: what is shown, in place of the captioner;  draw: (contents, facts, their numbers, seed) → pictures;  tries:
    how often to draw at most: one in which the captioner does not find the things told is drawn from another seed.
    """
    small = redrawing.canvas(content)
    if words is None:
        facts = redrawing.told(_model("captioner"), _model("tokenizer"), small)
    else:
        facts = [redrawing.facts_in(text) for text in ([words] * len(small) if isinstance(words, str) else words)]
    made = draw(small, facts, range(len(small)), seed)
    for number in range(1, tries):
        wrong = _misread(made, facts)
        if not wrong:
            break
        wanted = [facts[k] for k in wrong]
        again = draw(small[wrong], wanted, wrong, seed + 1000 * number)
        for place in set(range(len(wrong))) - set(_misread(again, wanted)):
            made[wrong[place]] = again[place]
    return made if made.shape == content.shape else resized(made, content.shape[2:])


def _misread(made: Tensor, facts: list) -> list[int]:
    """Where the captioner names other things than were told."""
    read = redrawing.told(_model("captioner"), _model("tokenizer"), made)
    pairs = zip(read, facts, strict=True)
    return [k for k, (its, wanted) in enumerate(pairs) if wanted and redrawing.things(its) != redrawing.things(wanted)]


def _read(style: Tensor) -> list[tuple[Any, str]]:
    """What each style picture shows, and the word for its style."""
    facts = redrawing.told(_model("captioner"), _model("tokenizer"), style)
    names = redrawing.named(_model("clip"), _model("tokenizer"), style, facts)
    return list(zip(facts, names, strict=True))


def _sdedit(
    content: Tensor, style: Tensor, strength: float, words: Any = None, tries: int = TRIES, seed: int = 0, **how: Any
) -> Tensor:
    names = [name for _, name in _read(style)]

    def draw(small: Tensor, facts: list, which: Sequence[int], seed: int) -> Tensor:
        return redrawing.by_words(pipeline(), small, facts, [names[k] for k in which], strength, seed=seed, **how)

    return _redrawn(content, words, draw, tries, seed)


def _lora(
    content: Tensor, style: Tensor | str, strength: float, words: Any = None, seed: int = 0, **how: Any
) -> Tensor:
    name = style if isinstance(style, str) else "chalk"

    def draw(small: Tensor, facts: list, which: Sequence[int], seed: int) -> Tensor:
        return redrawing.by_lora(pipeline(), small, facts, name, strength, seed=seed, **how)

    return _redrawn(content, words, draw, seed=seed)


def _shared(
    content: Tensor, style: Tensor, strength: float, words: Any = None, tries: int = TRIES, seed: int = 0, **how: Any
) -> Tensor:
    seen = _read(style)

    def draw(small: Tensor, facts: list, which: Sequence[int], seed: int) -> Tensor:
        manner, its = resized(style, small.shape[2:])[list(which)], [seen[k] for k in which]
        return redrawing.by_sharing(pipeline(), small, facts, manner, its, strength, seed=seed, **how)

    return _redrawn(content, words, draw, tries, seed)


def _by_adapter(
    content: Tensor, style: Tensor, strength: float, words: Any = None, seed: int = 0, **how: Any
) -> Tensor:
    state, tower = _adapter()

    def draw(small: Tensor, facts: list, which: Sequence[int], seed: int) -> Tensor:
        return redrawing.by_picture(pipeline(), small, facts, style, state, tower, strength, seed=seed, **how)

    return _redrawn(content, words, draw, seed=seed)


METHODS = {
    "adain": _adain,
    "network": _network,
    "gatys": _gatys,
    "sdedit": _sdedit,
    "lora": _lora,
    "shared": _shared,
    "adapter": _by_adapter,
}
NAMED = ("network", "lora")  # methods that take the name of a style
