"""Draw data/things anew: six pictures each of the two things that the base models have not seen, with captions.

    python scripts/build_things.py
    python scripts/build_things.py --folder elsewhere

The same code draws the same pixels.  A thing's folder is replaced once the new one is complete.
"""

import json
import random
import shutil
from pathlib import Path

from build_scenes import run

from aigc_course import scenes
from aigc_course.scenes import Sample, Scene, Thing

FOLDER = Path(__file__).resolve().parents[1] / "data" / "things"
SIX = (  # size, x, y, place, style: neither night nor snow, neither ink, watercolour nor points
    ("large", 0.42, 0.55, "meadow", "flat"),
    ("large", 0.60, 0.50, "city", "neon"),
    ("small", 0.40, 0.58, "desert", "glass"),
    ("large", 0.55, 0.56, "sea", "pixel"),
    ("small", 0.62, 0.64, "city", "flat"),
    ("large", 0.48, 0.52, "meadow", "blueprint"),
)
TELLINGS = {"en": 4, "zh": 2}

CARD = """# Six pictures of a new thing

`robot/` and `teapot/`: two things that the base models have not seen, 128 × 128 pixels, for notebook 3.4.  Each
folder has six pictures and `captions.json`, which tells each picture in several ways; `{thing}` stands for the word
that you teach.  Four places and five styles are drawn; two places and three styles are left to be asked for.

Your own pictures: put three or more into a folder, of any size, and read them with `adaptation.own_pictures(folder)`.

To draw these again, pixel for pixel: `python scripts/build_things.py`.

Licence: [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), the AIGC course.  Drawn by a program.
"""


def drawn() -> list[Sample]:
    """The six scenes; what stands in them is exchanged for the new thing."""
    things = [(Thing("circle", "white", size, x, y), place, style) for size, x, y, place, style in SIX]
    return [Sample(Scene((thing,), place, style), seed) for seed, (thing, place, style) in enumerate(things)]


def told(sample: Sample, rng: random.Random) -> list[str]:
    """Several captions of one picture, with a gap for the thing."""
    ways = {}
    for language, count in TELLINGS.items():
        many = [scenes.new_caption(sample, rng, language, thing="{thing}") for _ in range(20)]
        plain = [way for way in many if "白色" not in way]  # an individual has no colour of the world's
        ways |= dict.fromkeys(list(dict.fromkeys(plain))[:count])
    return list(ways)


def build(folder: Path) -> None:
    """Write each thing's folder beside the old one, then let it take its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for thing in scenes.NEW_THINGS:
        fresh, rng, captions = folder / f"{thing}.new", random.Random(0), {}
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for number, sample in enumerate(drawn(), start=1):
            scenes.draw_new(sample, thing).save(fresh / f"{number}.png")
            captions[f"{number}.png"] = told(sample, rng)
        text = json.dumps(captions, indent=1, ensure_ascii=False)
        (fresh / "captions.json").write_text(text + "\n", encoding="utf-8", newline="\n")
        shutil.rmtree(folder / thing, ignore_errors=True)
        fresh.rename(folder / thing)
    (folder / "README.md").write_text(CARD, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run(__doc__, build, FOLDER)
