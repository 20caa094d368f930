"""An explanation as HTML: words by what looked at them, what they changed, the first noise, every step."""

from __future__ import annotations

from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aigc_course.studio import canvas, looks
from aigc_course.studio.why import Explanation, few

SOURCES = {  # what a panel shows: notebooks and the numbers of their equations
    "words": (("3.1", (1,)),),
    "change": (("1.1", (4,)), ("2.4", (2, 3))),
    "noise": (("1.1", (1,)), ("2.3", (2,))),
    "steps": (("1.1", (2, 3)), ("2.4", (4,))),
}
MOST_WORDS = 24  # heat maps that are shown, those of the largest share
WARM = np.array([208, 122, 45], np.float32)  # of a place that was looked at
POOLED = (
    "Attention is one of two ways in which words reach this model: all of them together, pooled to one vector, also "
    "shift and scale every block (Perez et al. 2018). No heat map shows that, so a word with a small share may still "
    "decide a colour or a style."
)


def source(key: str) -> str:
    """Where the course explains what a panel shows."""
    told = [
        f"notebook {nb}, equation{'s' * (len(n) > 1)} {' and '.join(f'({k})' for k in n)}" for nb, n in SOURCES[key]
    ]
    return f'<div class="aigc-source">Explained in {"; ".join(told)}.</div>'


def heated(picture: Image.Image, heat: Tensor) -> Image.Image:
    """A picture in grey, warmer where the heat (h, w) is greater, from grey at its least to warm at its most."""
    grey = np.asarray(picture.convert("L").convert("RGB"), np.float32) * 0.6 + 40
    high = (heat.float() - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12)
    large = torch.nn.functional.interpolate(high[None, None], picture.size[::-1], mode="bilinear")[0, 0].numpy()
    share = (0.85 * large.clip(0, 1))[..., None]
    return Image.fromarray((grey * (1 - share) + WARM * share).clip(0, 255).astype(np.uint8))


def place_of(heat: Tensor) -> str:
    """Where the heat is greatest, in words."""
    thirds = torch.nn.functional.adaptive_avg_pool2d(heat.float()[None, None], 3).flatten()
    row, column = divmod(int(thirds.argmax()), 3)
    down, across = ("above", "", "below")[row], ("left", "", "right")[column]
    return " ".join(filter(None, (down, across))) or "in the middle"


def words_html(found: Explanation) -> str:
    """The prompt, each word the warmer the larger its share; then its heat map."""
    most = max(found.shares.max().item(), 1e-12) if found.words else 1.0
    told, maps = [], []
    for word, share in zip(found.words, found.shares.tolist(), strict=True):
        look = f"background: rgba(208, 122, 45, {0.65 * share / most:.2f})"
        told.append(f'<span class="aigc-word" style="{look}">{escape(word)}<small>{share:.0%}</small></span>')
    for k in sorted(found.shares.argsort(descending=True)[:MOST_WORDS].tolist()):
        word, share = found.words[k], found.shares[k].item()
        alt = f"Heat map of “{word}”: {share:.0%} of the attention to words, most of it {place_of(found.heat[k])}"
        maps.append(_figure(heated(found.pictures[-1], found.heat[k]), alt, f"{word}, {share:.0%}"))
    said = (
        "Each place of the picture asks the words at every step. The shares are of all attention to words, in the mean "
        "of steps, layers and heads. Each map has a scale of its own, from grey at its least to warm at its most."
    )
    beside = f"<p>{POOLED}</p>" if found.pooled else ""
    return (
        f"<h4>Which words were looked at, and from where</h4><p>{said}</p><p>{''.join(told)}</p>"
        f'<div class="aigc-heat">{"".join(maps)}</div>{beside}{source("words")}'
    )


def change_html(found: Explanation) -> str:
    """With words, without them, and where their predictions differ, at a few steps."""
    if found.moved is None:
        alone = "Without guidance the model is asked once a step, so there is nothing to compare."
        return f"<h4>What the words changed</h4><p>{alone}</p>{source('change')}"
    steps, total = found.apart, len(found.pictures)
    with_words = [found.pictures[number - 1] for number in steps]
    warm = [heated(picture, found.difference[k - 1]) for picture, k in zip(with_words, steps, strict=True)]
    rows = (
        ("Expected with the words", "expected with the words", with_words),
        ("Expected without them", "expected without words", found.without),
        ("Conditional minus unconditional", "conditional minus unconditional", warm),
    )
    shown = []
    for title, kind, pictures in rows:
        row = []
        for number, picture in zip(steps, pictures, strict=True):
            heat = found.difference[number - 1]
            most = f", most of it {place_of(heat)}, {heat.mean().item():.2f} in the mean" if pictures is warm else ""
            row.append(_figure(picture, f"{kind}, step {number} of {total}{most}", f"step {number}"))
        shown.append(f"<p>{title}:</p><div>{''.join(row)}</div>")
    said = (
        "At each step the model answers twice, with the words and without. Warm is where the answers differ: guidance "
        "goes from the second to the first, and beyond it."
    )
    return (
        f'<h4>What the words changed</h4><p>{said}</p><div class="aigc-change">{"".join(shown)}</div>{source("change")}'
    )


def noise_html(found: Explanation) -> str:
    """The latent at the start, three of its channels as red, green and blue."""
    channels = len(found.noise)
    rough = canvas.to_pictures((found.noise[:3].expand(3, -1, -1) / 3)[None])[0].resize(
        (112, 112), Image.Resampling.NEAREST
    )
    alt = f"The latent that the picture began from: noise of {channels} channels, three of them as colours"
    said = "A picture drawn from words alone begins in noise that the seed alone chose; other words begin here as well."
    return f"<h4>Where it began</h4><p>{said}</p>" + _figure(rough, alt, f"3 of {channels} channels") + source("noise")


def strip_html(found: Explanation) -> str:
    """What was expected, from the first step to the last."""
    shown = [
        _figure(found.pictures[k - 1], f"What the model expected at step {k} of {len(found.pictures)}", f"step {k}")
        for k in few(len(found.pictures))
    ]
    said = "At every step the model guesses the finished picture. This is its guess; move the slider to see each."
    return f'<h4>From noise to picture</h4><p>{said}</p><div class="aigc-strip">{"".join(shown)}</div>{source("steps")}'


def step_html(found: Explanation, number: int) -> str:
    """One step: where the walk stood, what was expected, and where the words pulled."""
    total, picture = len(found.pictures), found.pictures[number - 1]
    shown = []
    if found.noisy:
        alt = f"Where the walk stood after step {number} of {total}, roughly"
        shown.append(_figure(found.noisy[number - 1], alt, f"after step {number} of {total}, roughly", True))
    shown.append(_figure(picture, f"The picture expected at step {number} of {total}", "expected picture", True))
    if found.moved is not None:
        heat = found.difference[number - 1]
        alt = f"Where the words pulled at step {number}: most {place_of(heat)}"
        shown.append(_figure(heated(picture, heat), alt, "where the words pulled", True))
    return "".join(shown)


def _figure(picture: Image.Image, alt: str, caption: str, large: bool = False) -> str:
    made = looks.figure(looks.picture_url(picture, "JPEG"), alt, caption)
    return made.replace("<figure>", '<figure class="aigc-large">', 1) if large else made
