"""Notebook 6.2 in figures: mock-ups, variations of a product, diagrams; each beside what must fail."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import real_mermaid
import torch

from aigc_course import applications, evaluation, lora, models, plotting, sampling, scenes, studio
from aigc_course.applications import colours

Row = tuple[str, str, str, str]
STEPS = 20
PALETTES = (["#1d3557", "#457b9d", "#e63946", "#a8dadc", "#f1faee"], ["#264653", "#2a9d8f", "#e9c46a", "#e76f51"])


def _share(values: Sequence[float]) -> str:
    return f"{evaluation.interval([float(one) for one in values])}"


def _drawn(pipe, prompts: Sequence[str], scale: float = 2.0, seed: int = 0) -> torch.Tensor:
    """A picture for each prompt, eight at a time."""
    groups = range(0, len(prompts), 8)
    return torch.cat([sampling.words_to_pictures(pipe, prompts[k : k + 8], STEPS, scale, seed + k) for k in groups])


def _mockups(pipe, count: int) -> Iterator[Row]:
    """The reader's own error, then pages in both languages, and both controls."""
    asked = scenes.MOCKUPS.facts(count, "test", seed=62)
    drawings = scenes.MOCKUPS.pictures(asked)
    coded = evaluation.autoencoded(pipe.vae, drawings)
    own = [applications.judge_pages(some, asked)["layout"] for some in (drawings, coded)]
    yield "mock-ups: the reader itself, drawings", "", _share(own[0]), f"after the autoencoder {_share(own[1])}"
    other = asked[1:] + asked[:1]
    for language in scenes.LANGUAGES:
        pages = _drawn(pipe, scenes.MOCKUPS.captions(asked, language))
        found, control = (applications.judge_pages(pages, those) for those in (asked, other))
        for point in applications.POINTS:
            told = f"mock-ups, {language}: {'mean overlap of parts' if point == 'overlap' else f'{point} right'}"
            yield told, "", _share(found[point]), f"another page's words {_share(control[point])}"
    lora.combine(pipe.unet, {})
    plain = _drawn(pipe, scenes.MOCKUPS.captions(asked[:8], "en"))
    yield "mock-ups: without the LoRA", "fails", _share(applications.judge_pages(plain, asked[:8])["layout"]), ""


def _products(pipe, count: int) -> Iterator[Row]:
    """Redrawing at three strengths, inpainting, palettes, and what a check lets through."""
    judge, desk = evaluation.load_parser(), studio.Studio(engine=studio.Engine(load=lambda name: pipe))
    some = max(2, count // 6)
    asked = scenes.samples(some, "test", seed=62, task="single")
    try:
        yield from _redrawn(desk, judge, asked)
        yield _inpainted(desk, asked)
    finally:
        desk.close()
    pictures = [plotting.to_pil(one) for one in scenes.pictures(asked, models.PICTURE)]
    for palette in PALETTES:
        laid = [colours.recolour(one, palette) for one in pictures]
        before, after = ([colours.colour_error(one, palette) for one in those] for those in (pictures, laid))
        what = f"palette of {len(palette)}: colour error, ΔE2000"
        yield what, "", f"{evaluation.interval(after):.1f}", f"as drawn {evaluation.interval(before):.1f}"
    pairs = scenes.samples(count // 2, "test", seed=63, task="pair")
    words = [scenes.caption(one.scene, random.Random(k)) for k, one in enumerate(pairs)]
    shares = [evaluation.score(judge, _drawn(pipe, words, scale), pairs)["exact"] for scale in (2.0, 0.0)]
    control = f"guidance 0, no words: {_share(shares[1])}"
    yield "batch of two things: accepted by the parser", "", _share(shares[0]), control


def _tensor(pictures) -> torch.Tensor:
    return torch.from_numpy(plotting.to_array(list(pictures)).copy()).movedim(3, 1) / 127.5 - 1


def _redrawn(desk, judge, asked) -> Iterator[Row]:
    """An ink sketch of each, redrawn in watercolour: what is kept, and what is as told."""
    sketches = [scenes.Scene(one.scene.things, one.scene.background, "ink") for one in asked]
    told = [scenes.Scene(one.scene.things, one.scene.background, "watercolour") for one in asked]
    words = [scenes.caption(one, random.Random(k)) for k, one in enumerate(told)]
    starts = [desk.gallery.take_in(scenes.draw(one)).id for one in sketches]
    first = judge.read(_tensor([scenes.draw(one) for one in sketches]))
    before = _share([page.style == "watercolour" for page in first])
    for strength in (0.3, 0.6, 0.9):
        how = dict(action="img2img", strength=strength, count=1, seed=1, steps=STEPS)
        jobs = [studio.JobSpec(prompt=(studio.Part(w),), parent=s, **how) for w, s in zip(words, starts, strict=True)]
        seen = judge.read(_tensor([desk.make(job).pictures[0] for job in jobs]))
        near = [_near(page.things, one.things[0]) for page, one in zip(seen, sketches, strict=True)]
        style = _share([page.style == "watercolour" for page in seen])
        what = f"sketch redrawn, strength {strength}: thing in its place"
        yield what, "", _share(near), f"style as told {style}; of the sketch {before}"


def _near(things, wanted) -> bool:
    """Whether the thing is seen within an eighth of the picture of where it was sketched."""
    return any(t.name == wanted.name and abs(t.x - wanted.x) + abs(t.y - wanted.y) < 0.125 for t in things)


def _inpainted(desk, asked) -> Row:
    """How many pixels outside the region and its seam differ; the control counts those inside."""
    region, outside, inside = (40, 40, 88, 88), 0, 0
    apart = torch.ones(128, 128, dtype=torch.bool)
    apart[32:96, 32:96] = False
    for one in asked:
        picture = scenes.draw(one.scene)
        job = dict(action="inpaint", parent=desk.gallery.take_in(picture).id, region=region)
        job |= dict(count=1, seed=2, steps=STEPS)
        anew = desk.make(studio.JobSpec(prompt=(studio.Part("a red heart at night"),), **job)).pictures
        differ = (_tensor([picture]) - _tensor(anew)).abs().amax(1)[0] > 0
        outside, inside = outside + int(differ[apart].sum()), inside + int(differ[~apart].sum())
    return "inpainting: pixels outside that differ", "0", f"{outside:,}", f"inside {inside:,}"


def _diagrams(count: int) -> Iterator[Row]:
    """Valid as mermaid's own parser says, right by the graph; longer ones, and two controls."""
    model, words = models.load("diagrams"), applications.diagram_words()
    asked = list(applications.random_processes(4 * count, "test", seed=62))
    longer = list(applications.random_processes(count, "test", 63, 10, 11))
    told = [applications.tell_process(one, random.Random(k)) for k, one in enumerate(asked)]
    beyond = [applications.tell_process(one, random.Random(k)) for k, one in enumerate(longer)]
    mixed = [applications.shuffled(text, random.Random(k)) for k, text in enumerate(told[:count])]
    new = applications.new_diagrammer(words).eval()
    tried = {
        "English": (applications.write_diagrams(model, words, told[::2]), asked[::2]),
        "Chinese": (applications.write_diagrams(model, words, told[1::2]), asked[1::2]),
        "10 or 11 boxes (trained: 8 at most)": (applications.write_diagrams(model, words, beyond), longer),
        "control, words in another order": (applications.write_diagrams(model, words, mixed), asked[:count]),
        "control, untrained": (applications.write_diagrams(new, words, told[:4]), asked[:4]),
    }
    ours = {name: _right(*those) for name, those in tried.items()}
    theirs = _by_mermaid(tried)
    for name, right in ours.items():
        valid = _share([applications.readable(text) for text in tried[name][0]])
        fails = "fails" if name.startswith("control") else ""
        if theirs is None:
            yield f"diagrams, {name}: right", fails, _share(right), f"valid (our reader) {valid}"
            continue
        accepted, same = theirs[name]
        yield f"diagrams, {name}: valid for mermaid's own parser", "", _share(accepted), f"for our reader {valid}"
        yield f"diagrams, {name}: right", fails, _share(right), f"by mermaid's own graph {_share(same)}"


def _right(charts, processes) -> list[bool]:
    return [applications.same_graph(chart, one) for chart, one in zip(charts, processes, strict=True)]


def _by_mermaid(tried) -> dict[str, tuple[list[bool], list[bool]]] | None:
    """For each row, which texts mermaid's parser takes, and which of its graphs are right; None without a browser."""
    if real_mermaid.browser() is None:
        return None
    found = {}
    with real_mermaid.opened() as parser:
        for name, (charts, processes) in tried.items():
            graphs = [verdict.graph for verdict in parser.read_all(charts)]
            same = [graph == applications.graph_of(one) for graph, one in zip(graphs, processes, strict=True)]
            found[name] = [graph is not None for graph in graphs], same
    return found


def table(count: int = 24) -> str:
    """The Markdown table.  count: pages a language; of the other figures fewer or more in proportion."""
    if count < 8:
        raise ValueError(f"count={count} is too few for an interval; use 8 or more")
    pipe = models.load("text-to-image")
    lora.load(pipe.unet, models.folder_of("lora-mockup"), "mockup")
    rows = [*_mockups(pipe, count), *_products(pipe, count), *_diagrams(count)]
    head = ["| figure | asked | reached | control |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    print(table())
