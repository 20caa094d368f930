"""How fast the picture world is drawn, and how large it is.

    python scripts/bench_scenes.py
    python scripts/bench_scenes.py --count 2000 --size 256

Pictures per second of one processor core (its own time: what else the machine does is not counted).
"""

import argparse
import time
from dataclasses import replace

from aigc_course import scenes
from aigc_course.scenes import Facts, Group, Sample

ASKED = 300  # pictures per second and core, of 128 pixels, over the mixture of styles


def speed(items: list[Sample], size: int) -> float:
    """Pictures per second and core, after a warm-up that fills the caches of paper, panes and dots."""
    for item in items:
        scenes.draw(item.scene, size, item.seed)
    start = time.process_time()
    for item in items:
        scenes.draw(item.scene, size, item.seed)
    return len(items) / (time.process_time() - start)


def captions_of_the_world(language: str) -> int:
    """How many different full captions there are.

    No two scenes of different facts share one, and every scene of one sort has equally many: so we count the
    facts of each sort (one thing, two to four copies, pairs) and the paraphrases of one scene of each.
    """
    cat, car = Group(1, "small", "red", "cat"), Group(1, "small", "blue", "car")
    kinds = len(scenes.COLOURS) * len(scenes.THINGS)
    sized, places = kinds * len(scenes.SIZES), len(scenes.BACKGROUNDS) * len(scenes.STYLES)
    pairs = sized * (kinds - 1) * len(scenes.SIZES) * len(scenes.RELATIONS)
    sorts = [((cat,), None, sized), ((replace(cat, count=2),), None, 3 * sized), ((cat, car), "above", pairs)]
    told = [len(scenes.paraphrases(Facts(g, relation, "sea", "ink"), language)) for g, relation, _ in sorts]
    return sum(n * facts * places for n, (_, _, facts) in zip(told, sorts, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400, help="pictures to draw for each line")
    parser.add_argument("--size", type=int, default=128, help="their height in pixels")
    chosen = parser.parse_args()
    mixture = scenes.samples(chosen.count)
    for style in scenes.STYLES:
        painted = [Sample(replace(item.scene, style=style), item.seed) for item in mixture]
        print(f"{style:12} {speed(painted, chosen.size):6.0f} pictures/s/core")
    print(f"{'mixture':12} {speed(mixture, chosen.size):6.0f} pictures/s/core (asked at 128 pixels: {ASKED})")
    for language in scenes.LANGUAGES:
        print(f"{captions_of_the_world(language):,} different full captions ({language})")
