"""Chapter 6, content: storyboards, brand colours, sprites, tiles, animation, music, a film, each beside a control."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from aigc_course import evaluation, models, music, plotting, sampling, scenes
from aigc_course.applications import colours, cutting, film, motion, storyboard, tiles, video

PLACES = list(scenes.BACKGROUNDS)
BRANDS = (
    ("#1b2a49", "#2a7f9e", "#e4572e", "#f2b134", "#f7efdc"),
    ("#2d2a4a", "#7b4fa3", "#e26aa5", "#9fd8cb", "#fdf6ec"),
)
FRAMES, FPS, STEPS = 24, 8, 12

Row = tuple[str, str, str, str]  # figure, asked if any, reached, control


def _heroes(count: int) -> list[storyboard.Hero]:
    """So many characters at random, none of a composition that training never saw."""
    rng, found = random.Random(63), []
    while len(found) < count:
        one = scenes.random_scene(rng, "test", "single")
        found += [storyboard.Hero(one.things[0].name, one.things[0].colour, "large", one.style)]
    return found


def storyboards(pipe, judge, count: int) -> list[Row]:
    """Every way, over `count` characters in six places; the control has noise of its own in each frame."""
    found = {way: [] for way in (*storyboard.WAYS, "shuffled")}
    heroes = _heroes(count)
    for seed, hero in enumerate(heroes):
        drawn = {}
        for way in storyboard.WAYS[:3]:
            drawn[way] = storyboard.draw_frames(pipe, hero, PLACES, way, STEPS, seed=seed)
        try:
            drawn["pasted"] = storyboard.pasted(judge, drawn["one noise"], hero)
        except ValueError:  # not seen in the first frame: nothing to paste
            drawn["pasted"] = drawn["one noise"]
        for way, frames in drawn.items():
            found[way].append(storyboard.identity(judge, frames, hero, PLACES))
        found["shuffled"].append(storyboard.identity(judge, drawn["own noise"], heroes[seed - 1], PLACES))
    told = {way: evaluation.interval(torch.cat([one.told for one in each])) for way, each in found.items()}
    shape = {way: evaluation.interval([one.shape for one in each]) for way, each in found.items()}
    colour = {way: evaluation.interval([one.colour for one in each]) for way, each in found.items()}
    rows = []
    for way in storyboard.WAYS[1:]:
        rows += [
            (f"storyboard, {way}: frames as told", "", f"{told[way]}", f"own noise {told['own noise']}"),
            (f"storyboard, {way}: shape, overlap", "", f"{shape[way]}", f"own noise {shape['own noise']}"),
            (f"storyboard, {way}: colour, ΔE2000", "", f"{colour[way]}", f"own noise {colour['own noise']}"),
        ]
    rows.append(("storyboard, own noise: frames as told", "", f"{told['own noise']}", f"shuffled {told['shuffled']}"))
    return rows


def _tensor(pictures) -> Tensor:
    return torch.from_numpy(plotting.to_array(pictures).copy()).movedim(-1, 1) / 127.5 - 1


def _captions(asked) -> list[str]:
    return [scenes.caption(one, random.Random(0)) for one in asked]


def adverts(pipe, judge, count: int) -> list[Row]:
    """`count` products in two brands; the control has the same colours, dark for light."""
    found = [one.scene for one in scenes.samples(count, "test", seed=631, task="single")]
    asked = [replace(scene, style="flat").facts for scene in found]  # posters: in other styles colour is the style
    drawn = sampling.words_to_pictures(pipe, _captions(asked), STEPS, seed=631)
    errors, read = {"before": [], "after": [], "reversed": []}, {"before": [], "after": [], "reversed": []}
    for brand in BRANDS:
        some = {
            "before": [plotting.to_pil(one) for one in drawn],
            "after": [colours.recolour(one, brand) for one in drawn],
            "reversed": [colours.recolour(one, brand, keep_order=False) for one in drawn],
        }
        for name, pictures in some.items():
            errors[name] += [colours.colour_error(one, brand) for one in pictures]
            read[name] += evaluation.score(judge, _tensor(pictures), asked)["thing"].tolist()
    error = {name: evaluation.interval(values) for name, values in errors.items()}
    names = {name: evaluation.interval(values) for name, values in read.items()}
    control = f"as drawn {names['before']}, order reversed {names['reversed']}"
    return [
        ("brand colours: colour error, ΔE2000", "", f"{error['after']}", f"as drawn {error['before']}"),
        ("brand colours: name still read", "", f"{names['after']}", control),
    ]


def sprites(count: int) -> list[Row]:
    """Masks of 6 · `count` drawn things against the truth; the control is the box around the thing."""
    cut, boxed = [], []
    for k, one in enumerate(scenes.samples(6 * count, "validation", seed=632, task="single")):
        scene = scenes.Scene(one.scene.things, one.scene.background, "flat")
        mask = scenes.masks(scene, 128, k)[0]
        rows, columns = np.nonzero(mask)
        box = np.zeros_like(mask)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        cut.append(cutting.mask_overlap(cutting.cut_out(scenes.draw(scene, 128, k), scene.things[0]), mask))
        boxed.append(cutting.mask_overlap(box, mask))
    reached, control = (f"{evaluation.interval(values)}" for values in (cut, boxed))
    return [("sprites: overlap of mask and truth", "", reached, f"box {control}")]


def grounds(pipe, count: int) -> list[Row]:
    """Tiles of `count` scenes with several things; the control is drawn with plain edges."""
    prompts = _captions([one.scene for one in scenes.samples(count, "test", seed=633, task="count")])
    found = [tiles.seam(tiles.draw_tiles(pipe, prompts, seamless, STEPS)).flatten() for seamless in (True, False)]
    told = [f"{evaluation.interval(each)}" for each in found]
    return [("tiles: step across the wrap ÷ step inside", "", told[0], f"plain edges {told[1]}")]


def _path() -> tuple[np.ndarray, Tensor]:
    heights = np.linspace(0.66, 0.34, FRAMES)
    where = [scenes.Scene((scenes.Thing("rocket", "red", "large", 0.5, float(y)),), "night", "flat") for y in heights]
    return heights, _tensor([scenes.draw(one, 128, 4) for one in where])


def animations(pipe, judge, seeds: int = 2) -> list[Row]:
    """Between two pictures, and after a sketch, for a few seeds each."""
    ends = ("a flat drawing of a big red rocket in a meadow", "a flat drawing of a big red rocket at night")
    jerks, flickers, off = {"even shares": [], "even steps": []}, {"one": [], "own": []}, []
    heights, sketch = _path()
    still = motion.still_in(sketch)
    for seed in range(seeds):
        draw = partial(motion.draw_between, pipe, ends, (seed, seed + 50))
        clips = {"even shares": draw(torch.linspace(0, 1, FRAMES)), "even steps": motion.evenly(draw, FRAMES)[1]}
        for name, clip in clips.items():
            jerks[name].append((motion.paces(clip).max() / motion.paces(clip).mean()).item())
        paint = partial(motion.redraw_frames, pipe, sketch, "a watercolour of a big red rocket at night", strength=0.5)
        one = paint(noise=sampling.start_noise(pipe, [seed]))
        own = paint(noise=sampling.start_noise(pipe, list(range(100 * seed, 100 * seed + FRAMES))))
        for name, clip in (("one", one), ("own", own)):
            flickers[name].append(motion.flicker(clip, still))
        things = [reading.things for reading in judge.read(one)]
        off += [abs(found[0].y - y) if found else 0.5 for found, y in zip(things, heights, strict=True)]
    told = {name: f"{evaluation.interval(values)}" for name, values in (jerks | flickers | {"off": off}).items()}
    waits = f"{np.abs(heights - heights.mean()).mean():.2f}"
    played = video.play(video.to_mp4(one, FPS))
    right = len(played.frames) == FRAMES and played.fps == FPS and abs(played.seconds - 3) < 1e-6
    sizes = f"{len(video.to_mp4(one, FPS)):,} bytes"
    return [
        ("animation, between: widest step ÷ mean step", "", told["even steps"], f"even shares {told['even shares']}"),
        ("animation, sketch: flicker in still pixels, of 255", "", told["one"], f"noise of its own {told['own']}"),
        ("animation, sketch: rocket off its path, of the height", "", told["off"], f"waits in the middle {waits}"),
        ("animation: MP4 decoded again, 24 frames, 8 a second, 3 s", "yes", "yes" if right else "no", sizes),
    ]


def tunes(count: int) -> list[Row]:
    """2 · `count` tunes of the composer; random words are the control, and for "new" a copied tune."""
    rng = random.Random(634)
    asked = [(mood, rng.choice(list(music.TEMPOS)), rng.choice(music.KEYS)) for mood in music.MOODS * -(-count // 2)]
    library, ear = list(music.tunes(1000, "train")), music.trained_judge(list(music.tunes(400, "judge")))
    noise = [f"{music.prompt(*one)} {' '.join(rng.choices(music.vocabulary(), k=90))}" for one in asked]
    written = music.write(models.load("composer"), music.tokenizer(), asked, seed=634)
    heard = {name: [music.listen(text) for text in words] for name, words in (("ours", written), ("noise", noise))}
    known = {tune.notes for tune in library}

    def share(name: str, of) -> str:
        return f"{evaluation.interval([float(of(one)) for one in heard[name]])}"

    def mood(one) -> bool:
        return bool(one.tune) and ear.moods([one.tune]) == [one.tune.mood]

    measures = {
        "a whole tune": lambda one: not one.fault,
        "bars full": lambda one: one.bars,
        "in key": lambda one: one.in_key,
        "mood, by a judge of other tunes": mood,
        "new": lambda one: not one.fault and one.tune.notes not in known,
    }
    controls = {name: f"words at random {share('noise', of)}" for name, of in measures.items()}
    heard["copied"] = [music.listen(music.to_words(tune)) for tune in library[: len(asked)]]
    controls["new"] = f"a training tune copied {share('copied', measures['new'])}"
    return [(f"music: {name}", "", share("ours", of), controls[name]) for name, of in measures.items()]


def movie(pipe, judge) -> list[Row]:
    """A film of five scenes with its tune, written, decoded, and read by the judge again."""
    hero, where = storyboard.Hero("cat", "orange"), ["meadow", "city", "snow", "desert", "night"]
    frames = storyboard.draw_frames(pipe, hero, where, "pasted", STEPS, seed=3, judge=judge)
    texts = music.write(models.load("composer"), music.tokenizer(), [("calm", "fast", "F")] * 4, seed=3)
    tune = next(heard.tune for heard in map(music.listen, texts) if not heard.fault)
    shots = [film.Shot(f"A cat: {place}.", frame) for place, frame in zip(where, frames, strict=True)]
    whole = film.make_film("A cat", shots, tune.seconds + 0.5)
    file = video.to_mp4(whole, 12, music.play(tune), quality=30, bits=24_000)
    played = video.play(file)
    apart = abs(played.seconds - played.sound_seconds)
    shown = torch.nn.functional.avg_pool2d(_tensor(list(played.frames)), 2)
    read = {(reading.background, *(thing.kind for thing in reading.things)) for reading in judge.read(shown)}
    seen = sum((place, ("large", "orange", "cat")) in read for place in where)
    codecs = ", ".join(played.codecs)
    return [
        ("film: pictures and sound apart, seconds", "< 0.2", f"{apart:.2f}", f"{codecs}, {len(file):,} bytes"),
        ("film: scenes read again from the file", "5", f"{seen}", f"{len(played.frames)} frames decoded"),
    ]


def table(count: int = 6) -> str:
    """The Markdown table of all that notebook 6.3 makes, over `count` characters, products and patterns."""
    if count < 2:
        raise ValueError(f"count={count} gives no interval; use 2 or more, such as 6")
    pipe, judge = models.load("text-to-image"), evaluation.load_parser()
    rows = [*storyboards(pipe, judge, count), *adverts(pipe, judge, 2 * count), *sprites(count), *grounds(pipe, count)]
    rows += [*animations(pipe, judge), *tunes(count), *movie(pipe, judge)]
    lines = ["| figure | asked | reached | control |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    told = (
        f"{count} characters in six places, {2 * count} products in two brands, {6 * count} drawn things, {count} "
        f"patterns, two clips of 3 seconds each, {4 * -(-count // 2)} tunes. Brackets: 95 % bootstrap intervals. The "
        "judge saw no picture of the generator; shape, colour, seam and flicker are computed from pixels alone."
    )
    return "\n".join([*lines, "", told])


if __name__ == "__main__":
    print(table())
