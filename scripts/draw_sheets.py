"""Draw the README's contact sheets: the picture world (things × styles, places × styles), 48 generated pictures."""

import argparse
import random

from aigc_course import models, plotting, runtime, sampling, scenes

MIXTURE = ["single"] * 32 + ["pair"] * 8 + ["count"] * 8  # 48 prompts; their facts are of the test split


def world():
    """Every thing in every style, colours and places in turn; below, every place in every style."""
    names, colours = list(scenes.THINGS), list(scenes.COLOURS)
    rows = [
        scenes.Scene((scenes.Thing(name, colours[(i + j) % 8]),), scenes.BACKGROUNDS[(3 * i + j) % 6], style)
        for i, style in enumerate(scenes.STYLES)
        for j, name in enumerate(names)
    ]
    places = [
        scenes.Scene((scenes.Thing(names[i], colours[(i + j) % 8], "small", 0.5, 0.5),), place, style)
        for i, place in enumerate(scenes.BACKGROUNDS)
        for j, style in enumerate(scenes.STYLES)
    ]
    drawn = [scenes.draw(scene, 128, seed) for seed, scene in enumerate(rows + places)]
    alt = f"The picture world: {len(names)} things in {len(scenes.STYLES)} styles, and {len(scenes.BACKGROUNDS)} places"
    return plotting.show_images(drawn, columns=16, alt=alt, scale=0.75)


def generated():
    """48 prompts of the test split, none chosen by hand, and the picture that the shipped model makes of each."""
    pipe, rng = models.load("text-to-image"), random.Random(0)
    samples = [scenes.sample(index, "test", seed=48, task=task) for index, task in enumerate(MIXTURE)]
    prompts = [scenes.caption(s.scene, rng, detail="brief") for s in samples]
    return plotting.show_images(sampling.words_to_pictures(pipe, prompts, seed=0), prompts, columns=8)


def main():
    """Write both sheets into data/sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", nargs="*", choices=["world", "generated"], help="both, if none is named")
    folder = runtime.data_dir() / "sheets"
    folder.mkdir(exist_ok=True)
    for name in parser.parse_args().sheets or ["world", "generated"]:
        {"world": world, "generated": generated}[name]().save(folder / f"{name}.png")
        print(f"wrote data/sheets/{name}.png")


if __name__ == "__main__":
    main()
